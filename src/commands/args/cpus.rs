//! Lists of CPU numbers.

/// The numbers of CPUs on the command line.
#[derive(Debug, Clone)]
pub(in crate::commands) struct CpuList(pub Vec<u32>);

/// Parses numbers and ranges, such as `0,2-3`.
pub(in crate::commands) fn cpu_list(text: &str) -> Result<CpuList, String> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) if first <= last && last < 1 << 16 => cpus.extend(first..=last),
            _ => return Err(format!("'{part}' is neither a CPU's number nor a range such as 2-3")),
        }
    }
    Ok(CpuList(cpus))
}
