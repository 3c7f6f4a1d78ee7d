//! The futex system call, as trace-cmd's plug-in prints it.

use std::io::Write;

const PRIVATE: u64 = 128;
const CLOCK_REALTIME: u64 = 256;

/// An argument that is printed after the address, in this order. For some operations `utime` holds a
/// number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Argument {
    /// Printed in hexadecimal: the expected value.
    Expected,
    /// How many to wake.
    Count,
    Timeout,
    /// How many to requeue.
    SecondCount,
    SecondAddress,
    Third,
}

/// Appends the text of a futex call, whose fields `value` returns. `None`, with nothing appended, when
/// a field or the operation is unknown.
pub(super) fn futex(value: impl Fn(&str) -> Option<u64>, out: &mut Vec<u8>) -> Option<()> {
    use Argument::*;
    let fields = ["op", "uaddr", "val", "utime", "uaddr2", "val3"];
    let [operation, address, first, time, second, third] = fields.map(value);
    let operation = operation?;
    let (name, arguments): (&str, &[Argument]) = match operation & !(PRIVATE | CLOCK_REALTIME) {
        0 => ("WAIT", &[Expected, Timeout]),
        1 => ("WAKE", &[Count]),
        2 => ("FD", &[Count]),
        3 => ("REQUEUE", &[Count, SecondCount, SecondAddress]),
        4 => ("CMP_REQUEUE", &[Count, SecondCount, SecondAddress, Third]),
        5 => ("WAKE_OP", &[Count, SecondCount, SecondAddress, Third]),
        6 => ("LOCK_PI", &[Timeout]),
        7 => ("UNLOCK_PI", &[]),
        8 => ("TRYLOCK_PI", &[]),
        9 => ("WAIT_BITSET", &[Expected, Timeout, Third]),
        10 => ("WAKE_BITSET", &[Count, Third]),
        11 => ("WAIT_REQUEUE_PI", &[Expected, Timeout, SecondAddress, Third]),
        12 => ("CMP_REQUEUE_PI", &[Count, SecondCount, SecondAddress, Third]),
        _ => return None,
    };
    let (address, first, time, second, third) = (address?, first?, time?, second?, third?);
    let private = if operation & PRIVATE != 0 { "|FUTEX_PRIVATE_FLAG" } else { "" };
    let clock = if operation & CLOCK_REALTIME != 0 { "|FUTEX_CLOCK_REALTIME" } else { "" };
    let _ = write!(out, "op=FUTEX_{name}{private}{clock} uaddr=0x{address:08x}");
    for argument in arguments {
        let _ = match argument {
            Expected => write!(out, " val=0x{first:08x}"),
            Count => write!(out, " val={first}"),
            Timeout => write!(out, " utime=0x{time:08x}"),
            SecondCount => write!(out, " val2={time}"),
            SecondAddress => write!(out, " uaddr2=0x{second:08x}"),
            Third => write!(out, " val3=0x{third:08x}"),
        };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(operation: u64) -> Option<String> {
        let mut out = Vec::new();
        let value = |name: &str| {
            Some(match name {
                "op" => operation,
                "uaddr" => 0x7f00_0000_1000,
                "val" => 18,
                "utime" => 20,
                "uaddr2" => 0x2000,
                "val3" => 3,
                _ => return None,
            })
        };
        futex(value, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn operations_show_the_arguments_that_they_have() {
        assert_eq!(
            text(128).unwrap(),
            "op=FUTEX_WAIT|FUTEX_PRIVATE_FLAG uaddr=0x7f0000001000 val=0x00000012 utime=0x00000014"
        );
        assert_eq!(text(1).unwrap(), "op=FUTEX_WAKE uaddr=0x7f0000001000 val=18");
        assert_eq!(
            text(256 | 4).unwrap(),
            "op=FUTEX_CMP_REQUEUE|FUTEX_CLOCK_REALTIME uaddr=0x7f0000001000 val=18 val2=20 \
             uaddr2=0x00002000 val3=0x00000003"
        );
        assert_eq!(text(13), None);
        assert_eq!(text(u64::MAX), None);
    }
}
