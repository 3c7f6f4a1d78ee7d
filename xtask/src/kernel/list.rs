//! Lists the matrix with its cached kernels; empties the cache.

use serde::Serialize;

use super::entry::Kernel;
use super::names;
use super::own;
use crate::base::error::{Context, Result};
use crate::base::ui::{out, outln};
use crate::base::workspace::Workspace;
use crate::matrix::Record;

/// One kernel of the list.
#[derive(Debug, Serialize)]
struct ListRow<'a> {
    name: &'a str,
    about: &'a str,
    /// Whether it comes as a package, without a build.
    ready_made: bool,
    /// Whether it is used only if named.
    by_name_only: bool,
    cached: bool,
    release: Option<String>,
    version: Option<String>,
    compiler: Option<String>,
    /// Bytes on the disk.
    size: Option<u64>,
    provenance: Option<String>,
    notes: Vec<String>,
}

/// Prints the matrix with its cached kernels to standard output: a table, or one JSON array.
///
/// # Errors
/// The matrix or an entry of the cache cannot be read.
pub fn list(workspace: &Workspace, json: bool) -> Result<()> {
    let matrix = workspace.matrix()?;
    let mut lines = Vec::new();
    for record in matrix.records() {
        lines.push(ListRow::new(record, names::cached(workspace, record)?)?);
    }
    let added = own::all_added(workspace)?;
    for record in &added {
        lines.push(ListRow::new(record, own::cached(workspace, record)?)?);
    }
    if json {
        let text =
            serde_json::to_string_pretty(&lines).context(|| "cannot write the list as JSON".to_owned())?;
        outln!("{text}");
    } else {
        out!("{}", table(&lines));
    }
    Ok(())
}

impl<'a> ListRow<'a> {
    fn new(record: &'a Record, kernel: Option<Kernel>) -> Result<ListRow<'a>> {
        let size = kernel.as_ref().map(|kernel| size(&kernel.dir)).transpose()?;
        let of = |field: fn(&Kernel) -> &String| kernel.as_ref().map(|kernel| field(kernel).clone());
        Ok(ListRow {
            name: &record.name,
            about: &record.about,
            ready_made: record.is_ready_made(),
            by_name_only: record.is_by_name_only(),
            cached: kernel.is_some(),
            release: of(|kernel| &kernel.release),
            version: of(|kernel| &kernel.version),
            compiler: of(|kernel| &kernel.compiler),
            provenance: of(|kernel| &kernel.provenance),
            notes: kernel.map(|kernel| kernel.notes).unwrap_or_default(),
            size,
        })
    }
}

fn table(lines: &[ListRow<'_>]) -> String {
    let width = lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for line in lines {
        text += &format!("{:width$}  {}\n", line.name, line.about);
        let state = match (&line.release, &line.compiler, line.size) {
            (Some(release), Some(compiler), Some(size)) => {
                format!("cached: {release}, {compiler}, {}", indicatif::HumanBytes(size))
            }
            _ => "not cached".to_owned(),
        };
        for more in [Some(&state), line.provenance.as_ref()].into_iter().flatten().chain(&line.notes) {
            text += &format!("{:width$}  {more}\n", "");
        }
    }
    text
}

fn size(folder: &std::path::Path) -> Result<u64> {
    let mut bytes = 0;
    for item in walkdir::WalkDir::new(folder) {
        let meta = item.and_then(|item| item.metadata());
        bytes += meta.context(|| format!("cannot read {}", folder.display()))?.len();
    }
    Ok(bytes)
}

/// Empties the cache, or removes only the named kernels.
///
/// # Errors
/// A name is unknown, another command uses the cache, or a file cannot be removed.
pub fn clean(workspace: &Workspace, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return workspace.host.cache.clean();
    }
    let matrix = workspace.matrix()?;
    let mut bound = Vec::new();
    let mut added = Vec::new();
    for name in names {
        match own::added(workspace, name)? {
            Some(record) => added.push(record),
            None => bound.push(matrix.find(name)?),
        }
    }
    let _locks = workspace.host.cache.lock_all()?;
    added.iter().try_for_each(|record| own::forget(workspace, record))?;
    bound.iter().try_for_each(|record| names::forget(workspace, &record.name))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The list as JSON: one kernel, not cached.
    pub fn sample() -> serde_json::Value {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-configs/kernels.toml");
        let matrix = crate::matrix::Matrix::load(&path).unwrap();
        serde_json::to_value([ListRow::new(matrix.find("5.4").unwrap(), None).unwrap()]).unwrap()
    }

    #[test]
    fn the_table_says_what_is_cached() {
        let line = |name, release: Option<&str>| ListRow {
            name,
            about: "a kernel",
            ready_made: false,
            by_name_only: false,
            cached: release.is_some(),
            release: release.map(str::to_owned),
            version: None,
            compiler: release.map(|_| "gcc 12.2.0".to_owned()),
            size: release.map(|_| 2048),
            provenance: release.map(|_| "kernel.org 5.4.302".to_owned()),
            notes: Vec::new(),
        };
        assert_eq!(
            table(&[line("5.4", Some("5.4.302")), line("debian-6.1", None)]),
            "5.4         a kernel\n            cached: 5.4.302, gcc 12.2.0, 2.00 KiB\n            \
             kernel.org 5.4.302\ndebian-6.1  a kernel\n            not cached\n"
        );
    }
}
