//! Files and folders of the host that are put into a guest.

use std::fmt;
use std::path::PathBuf;

/// A file or folder, and its place in the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The file or folder of the host.
    pub host: PathBuf,
    /// Its absolute path in the guest; without one it is in `/extra`, under its own name.
    pub guest: Option<String>,
}

/// Where files put into the archive could not be seen: the guest mounts other file systems there.
const MOUNTED: [&str; 4] = ["dev", "proc", "sys", "tmp"];

impl std::str::FromStr for Put {
    type Err = String;

    /// `PATH[:GUEST]`. What follows a colon is a guest path if it is absolute, else part of the name.
    fn from_str(text: &str) -> Result<Put, String> {
        let (host, guest) = match text.rsplit_once(':') {
            Some((host, guest)) if guest.starts_with('/') => (host, Some(guest.to_owned())),
            _ => (text, None),
        };
        if host.is_empty() {
            return Err(format!("{text} is not PATH[:GUEST]"));
        }
        let put = Put { host: host.into(), guest };
        match put.guest {
            Some(_) => put.place().map(|_| put),
            None => Ok(put),
        }
    }
}

impl fmt::Display for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.guest {
            Some(guest) => write!(f, "{}:{guest}", self.host.display()),
            None => write!(f, "{}", self.host.display()),
        }
    }
}

/// A file or folder for `/extra`.
impl From<PathBuf> for Put {
    fn from(host: PathBuf) -> Put {
        Put { host, guest: None }
    }
}

impl Put {
    /// The path in the guest without its leading slash.
    ///
    /// # Errors
    /// There is no such place, or what is put there could not be seen; says why.
    pub fn place(&self) -> Result<String, String> {
        let Some(guest) = &self.guest else {
            // The name of `.` is that of the folder it stands for.
            let host = self.host.canonicalize().unwrap_or_else(|_| self.host.clone());
            let name = self.host.file_name().or(host.file_name());
            let name = name.ok_or("it has no name: give it a place, as in PATH:/PLACE")?;
            let name = name.to_str().ok_or("its name is none that an initramfs can have")?;
            return Ok(format!("extra/{name}"));
        };
        let parts: Vec<&str> = guest.split('/').filter(|part| !part.is_empty()).collect();
        if parts.is_empty() || parts.iter().any(|part| [".", ".."].contains(part)) {
            return Err(format!("{guest} is no place in the guest"));
        }
        if MOUNTED.contains(&parts[0]) {
            return Err(format!("{guest} could not be seen: the guest mounts another file system there"));
        }
        Ok(parts.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_follows_the_last_colon() {
        let put = |text: &str| text.parse::<Put>();
        let place = |text: &str| put(text).and_then(|put| put.place());
        assert_eq!(place("a/b").as_deref(), Ok("extra/b"));
        assert_eq!(place("a/b:/place//x").as_deref(), Ok("place/x"));
        assert_eq!(put("a:b").unwrap().host, PathBuf::from("a:b"));
        assert_eq!(put("a:b:/c").unwrap().to_string(), "a:b:/c");
        assert_eq!(put("a:b").unwrap().to_string(), "a:b");
        for text in ["", ":/x", "a:/", "a:/x/../y", "a:/proc/x", "a:/dev"] {
            assert!(put(text).is_err(), "{text}");
        }
        assert!(place("/").unwrap_err().contains("it has no name"));
    }
}
