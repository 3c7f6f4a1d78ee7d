//! The kernel's `events/header_page`: where the parts of a sub-buffer stand.

/// A part of a sub-buffer; both in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Offset in the sub-buffer.
    pub offset: usize,
    /// Its size, where the text tells it.
    pub size: Option<usize>,
}

/// What `header_page` says of a part, such as `timestamp`, `commit` or `data`; `None` when it does not
/// name it, or gives it no offset.
///
/// `commit` is a long of the kernel, and `data` ends where the sub-buffer does.
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
