//! The kernel's `events/header_page`: the places of the parts of a sub-buffer.

/// The place of a part in a sub-buffer, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Offset in the sub-buffer.
    pub offset: usize,
    /// Its size, if the text states it.
    pub size: Option<usize>,
}

/// The place of a part, such as `timestamp`, `commit` or `data`, according to `header_page`; `None` when
/// that does not name the part, or states no offset.
///
/// `commit` has the size of the kernel's long, and `data` ends at the end of the sub-buffer.
///
/// ```
/// use trace_dat::header_page::{Part, part};
/// let text = "\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n";
/// assert_eq!(part(text, "commit"), Some(Part { offset: 8, size: Some(8) }));
/// assert_eq!(part(text, "data"), None);
/// ```
pub fn part(header_page: &str, name: &str) -> Option<Part> {
    let line = header_page.lines().find(|line| {
        let declaration = line.split(';').next().unwrap_or_default();
        declaration.split_whitespace().last() == Some(name)
    })?;
    let number =
        |key: &str| line.split(';').find_map(|part| part.trim().strip_prefix(key)?.trim().parse().ok());
    Some(Part { offset: number("offset:")?, size: number("size:") })
}
