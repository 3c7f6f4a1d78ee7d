//! Debian's control paragraphs, as apt and dpkg write them; pure.
//!
//! A paragraph is lines of `Name: value`. A line that begins with a space continues the value; an empty line
//! ends the paragraph (Debian's policy, 5.1).

/// A paragraph: of a package, mostly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paragraph<'a>(&'a str);

/// The paragraphs of a text, in order.
pub fn paragraphs(text: &str) -> impl Iterator<Item = Paragraph<'_>> {
    text.split("\n\n").map(str::trim_end).filter(|text| !text.trim().is_empty()).map(Paragraph)
}

impl<'a> Paragraph<'a> {
    /// Its text, without the empty line at its end.
    pub fn text(&self) -> &'a str {
        self.0
    }

    /// The value of a field; only its first line if there are several.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_name_and_paragraph() {
        let text = "Package: a\nVersion:1:2-3 \nDescription: short\n Package: long\n .\n\n\n\
            Package-Type: deb\nDepends: b (>= 1),\n c\n\n";
        let all: Vec<Paragraph<'_>> = paragraphs(text).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].field("Package"), all[0].field("Version")), (Some("a"), Some("1:2-3")));
        assert_eq!(all[0].field("Description"), Some("short"));
        assert_eq!((all[1].field("Package"), all[1].field("Version")), (None, None));
        assert_eq!(all[1].field("Depends"), Some("b (>= 1),"));
        assert!(all[1].text().ends_with("\n c"));
        assert_eq!(paragraphs("\n\n \n\n").count(), 0);
    }
}
