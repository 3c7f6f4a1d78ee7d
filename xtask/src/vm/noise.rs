//! Noise: influences of the host on a guest that make runs with equal inputs differ. Lists the known sources,
//! by the QEMU options that enable them.

/// A source of noise that tests of repeated runs enable on purpose; the harness has to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// The host's time on the kernel command line.
    HostTime,
    /// A processor with RDRAND.
    Rdrand,
    /// virtio-serial with notifications handled by another thread of QEMU.
    Ioeventfd,
    /// A socket instead of a file behind the results port.
    Socket,
}

/// The options that are known to let noise in, each with the reason, in QEMU's order.
///
/// `options` are those of [`crate::vm::Machine::options`].
pub fn suspects(options: &str) -> Vec<String> {
    let words: Vec<&str> = options.split_whitespace().collect();
    let values =
        |flag: &'static str| words.windows(2).filter(move |pair| pair[0] == flag).map(|pair| pair[1]);
    let mut found = Vec::new();
    for cpu in values("-cpu").filter(|cpu| *cpu != "qemu64") {
        found.push(format!("-cpu {cpu}: RDRAND gives the guest random numbers of the host"));
    }
    for cpus in values("-smp").filter(|cpus| *cpus != "1") {
        found.push(format!("-smp {cpus}: the host decides in which order several CPUs run"));
    }
    if values("-icount").next().is_none() {
        found.push("no -icount: time in the guest is the host's".into());
    }
    if !values("-rtc").any(|rtc| rtc.contains("base=") && rtc.contains("clock=vm")) {
        found.push("no -rtc base=…,clock=vm: the guest's date is the host's".into());
    }
    for device in values("-device").filter(|device| device.starts_with("virtio-")) {
        if !device.contains("ioeventfd=off") {
            found.push(format!(
                "-device {device}: without ioeventfd=off another thread answers the guest, when the host lets it"
            ));
        }
    }
    for chardev in values("-chardev") {
        let backend = chardev.split(',').next().unwrap_or_default();
        if backend != "file" {
            found.push(format!(
                "-chardev {chardev}: the reader of a {backend} decides when the guest may write; a file has none"
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: &str = "-machine pc -accel tcg -cpu qemu64 -smp 1 -icount shift=4,sleep=off \
        -rtc base=2020-01-01,clock=vm -chardev file,id=console,path=console.log \
        -device virtio-serial-pci,ioeventfd=off -device virtserialport,chardev=results";

    #[test]
    fn an_exact_machine_has_no_suspect() {
        assert_eq!(suspects(EXACT), Vec::<String>::new());
    }

    #[test]
    fn each_source_is_named_by_its_option() {
        for (from, to, named) in [
            ("-cpu qemu64", "-cpu qemu64,+rdrand", "-cpu qemu64,+rdrand: RDRAND"),
            ("-smp 1", "-smp 2", "-smp 2: "),
            ("-icount shift=4,sleep=off", "", "no -icount: "),
            ("base=2020-01-01,", "", "no -rtc base="),
            (",ioeventfd=off", "", "-device virtio-serial-pci: without ioeventfd=off"),
            ("file,id=console", "socket,id=console", "-chardev socket,id=console,path=console.log: "),
        ] {
            let found = suspects(&EXACT.replace(from, to));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(named), "{found:?}");
        }
    }
}
