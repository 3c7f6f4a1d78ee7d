//! Functions of the kernel that print formats call, as trace-cmd's plug-ins for scsi, jbd2 and
//! xen print them.

use std::io::Write;

/// A function that trace-cmd has a plug-in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PluginFunction {
    /// `scsi_trace_parse_cdb(p, bytes, size)`: a SCSI command in words.
    ScsiCommand {
        /// Imitates two mistakes of trace-cmd: a 32-bit number with the highest bit set is sign-extended,
        /// and 256 blocks of a short command count as 0.
        as_trace_cmd: bool,
    },
    /// `jbd2_dev_to_name(device)`: the device's numbers.
    Device,
    /// `xen_hypercall_name(number)`: the hypercall's name in brackets, or nothing.
    XenHypercall,
    /// A plain number.
    Plain,
}

impl PluginFunction {
    /// Appends the text for a number.
    pub fn number(self, value: u64, out: &mut Vec<u8>) {
        let _ = match self {
            PluginFunction::ScsiCommand { .. } => Ok(()),
            PluginFunction::Plain => write!(out, "{}", value as i64),
            PluginFunction::Device => write!(out, "{}:{}", value as u32 >> 20, value & 0xfffff),
            PluginFunction::XenHypercall => match hypercall(value) {
                "" => Ok(()),
                name => write!(out, "({name})"),
            },
        };
    }

    /// Appends the text for bytes; `None` when there are too few. Missing bytes count as 0.
    pub fn bytes(self, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let PluginFunction::ScsiCommand { as_trace_cmd } = self else { return Some(()) };
        let mut command = ScsiCommand { bytes, as_trace_cmd, short: false };
        command.print(out);
        (!command.short).then_some(())
    }
}

/// A command descriptor block, see the standards SPC and SBC.
struct ScsiCommand<'a> {
    bytes: &'a [u8],
    as_trace_cmd: bool,
    short: bool,
}

impl ScsiCommand<'_> {
    fn print(&mut self, out: &mut Vec<u8>) {
        let operation = self.number(0, 1);
        let _ = match operation {
            // READ and WRITE, by the size of the command.
            0x08 | 0x0a => {
                let lba = self.number(1, 3) & 0x1f_ffff;
                let blocks = match self.number(4, 1) {
                    0 if !self.as_trace_cmd => 256,
                    blocks => blocks,
                };
                write!(out, "lba={lba} txlen={blocks}")
            }
            // Also VERIFY and WRITE SAME.
            0x28 | 0x2a | 0x2f | 0x41 => {
                self.blocks(2, 4, 7, 2, 1, out);
                self.unmap(operation == 0x41, 1, out)
            }
            0xa8 | 0xaa | 0xaf => {
                self.blocks(2, 4, 6, 4, 1, out);
                Ok(())
            }
            0x88 | 0x8a | 0x8f | 0x93 => {
                self.blocks(2, 8, 10, 4, 1, out);
                self.unmap(operation == 0x93, 1, out)
            }
            // UNMAP: a header of 8 bytes, then descriptors of 16 bytes.
            0x42 => {
                let size = self.number(7, 2) as u32;
                let regions = if self.as_trace_cmd { size.wrapping_sub(8) } else { size.saturating_sub(8) };
                write!(out, "regions={}", regions / 16)
            }
            // SERVICE ACTION IN
            0x9e => {
                let name = match self.number(1, 1) & 0x1f {
                    0x10 => "READ_CAPACITY_16",
                    0x12 => "GET_LBA_STATUS",
                    _ => return out.extend_from_slice(b"UNKNOWN"),
                };
                write!(out, "{name} lba={} alloc_len={}", self.number(2, 8), self.number(10, 4) as u32)
            }
            // Commands of variable length.
            0x7f => {
                let action = self.number(8, 2);
                let name = match action {
                    0x09 => "READ",
                    0x0a => "VERIFY",
                    0x0b => "WRITE",
                    0x0d => "WRITE_SAME",
                    _ => return out.push(b'-'),
                };
                let _ = write!(out, "{name}_32 ");
                self.blocks(12, 8, 28, 4, 10, out);
                let _ = write!(out, " ei_lbrt={}", self.number(20, 4) as u32);
                self.unmap(action == 0x0d, 10, out)
            }
            _ => return out.push(b'-'),
        };
    }

    /// Appends the first block, the number of blocks, and their protection.
    fn blocks(
        &mut self,
        lba: usize,
        lba_size: usize,
        length: usize,
        length_size: usize,
        flags: usize,
        out: &mut Vec<u8>,
    ) {
        let (lba, length) = (self.number(lba, lba_size), self.number(length, length_size));
        let _ = write!(out, "lba={lba} txlen={length} protect={}", self.number(flags, 1) >> 5);
    }

    fn unmap(&mut self, wanted: bool, flags: usize, out: &mut Vec<u8>) -> std::io::Result<()> {
        if wanted { write!(out, " unmap={}", self.number(flags, 1) >> 3 & 1) } else { Ok(()) }
    }

    /// A big-endian number.
    fn number(&mut self, at: usize, size: usize) -> u64 {
        let Some(bytes) = self.bytes.get(at..at + size) else {
            self.short = true;
            return 0;
        };
        let number = bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let low_is_negative = size >= 4 && number >> 31 & 1 != 0;
        if self.as_trace_cmd && low_is_negative { number | 0xffff_ffff_0000_0000 } else { number }
    }
}

/// Xen's name of a hypercall; empty when there is none.
fn hypercall(number: u64) -> &'static str {
    const NAMES: [&str; 35] = [
        "set_trap_table",
        "mmu_update",
        "set_gdt",
        "stack_switch",
        "set_callbacks",
        "fpu_taskswitch",
        "sched_op_compat",
        "dom0_op",
        "set_debugreg",
        "get_debugreg",
        "update_descriptor",
        "",
        "memory_op",
        "multicall",
        "update_va_mapping",
        "set_timer_op",
        "event_channel_op_compat",
        "xen_version",
        "console_io",
        "physdev_op_compat",
        "grant_table_op",
        "vm_assist",
        "update_va_mapping_otherdomain",
        "iret",
        "vcpu_op",
        "set_segment_base",
        "mmuext_op",
        "acm_op",
        "nmi_op",
        "sched_op",
        "callback_op",
        "xenoprof_op",
        "event_channel_op",
        "physdev_op",
        "hvm_op",
    ];
    const ARCHITECTURE: [&str; 8] =
        ["arch_0", "arch_1", "arch_2", "arch_3", "arch_4", "arch_5", "arch_6", "arch_7"];
    let index = usize::try_from(number).unwrap_or(usize::MAX);
    let special = index.checked_sub(48).and_then(|index| ARCHITECTURE.get(index));
    NAMES.get(index).or(special).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scsi(as_trace_cmd: bool, bytes: &[u8]) -> (String, bool) {
        let mut out = Vec::new();
        let whole = PluginFunction::ScsiCommand { as_trace_cmd }.bytes(bytes, &mut out).is_some();
        (String::from_utf8(out).unwrap(), whole)
    }

    #[test]
    fn scsi_commands_say_what_they_ask_for() {
        let read_10 = [0x28, 0x40, 0x80, 0, 0, 1, 0, 0, 8, 0];
        assert_eq!(scsi(false, &read_10), ("lba=2147483649 txlen=8 protect=2".into(), true));
        assert_eq!(scsi(true, &read_10), ("lba=18446744071562067969 txlen=8 protect=2".into(), true));
        assert_eq!(scsi(false, &[8, 0xff, 0, 2, 0, 0]), ("lba=2031618 txlen=256".into(), true));
        assert_eq!(scsi(true, &[8, 0xff, 0, 2, 0, 0]), ("lba=2031618 txlen=0".into(), true));
        assert_eq!(
            scsi(false, &[0x41, 8, 0, 0, 0, 1, 0, 0, 2, 0]),
            ("lba=1 txlen=2 protect=0 unmap=1".into(), true)
        );
        let capacity = [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 32, 0, 0];
        assert_eq!(scsi(false, &capacity), ("READ_CAPACITY_16 lba=5 alloc_len=32".into(), true));
        assert_eq!(scsi(false, &[0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0]), ("regions=2".into(), true));
        assert_eq!(scsi(false, &[0x12, 0]), ("-".into(), true));
    }

    #[test]
    fn a_command_that_is_cut_says_so() {
        assert_eq!(scsi(false, &[0x28, 0, 0]), ("lba=0 txlen=0 protect=0".into(), false));
        assert_eq!(scsi(false, &[]), ("-".into(), false));
    }

    #[test]
    fn numbers_have_names() {
        let text = |function: PluginFunction, value| {
            let mut out = Vec::new();
            function.number(value, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(PluginFunction::Device, 0x80_0001), "8:1");
        assert_eq!(text(PluginFunction::XenHypercall, 23), "(iret)");
        assert_eq!(text(PluginFunction::XenHypercall, 49), "(arch_1)");
        assert_eq!(text(PluginFunction::XenHypercall, 11), "");
        assert_eq!(text(PluginFunction::XenHypercall, u64::MAX), "");
    }
}
