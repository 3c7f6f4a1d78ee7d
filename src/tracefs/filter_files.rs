//! The kernel's function filter files: their meaning, and checked changes to them.

use crate::error::{Error, Result};
use crate::tracefs::filter::{FunctionFilter, Functions};
use crate::tracefs::{Instance, Mode, Tracefs};

const AVAILABLE: &str = "available_filter_functions";

/// One of the four files that choose functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterFile {
    /// Functions to trace; empty means all.
    Function,
    /// Functions not to trace.
    Notrace,
    /// Functions whose call graph is traced; empty means all.
    Graph,
    /// Functions whose call graph is left out.
    GraphNotrace,
}

impl FilterFile {
    /// The file's name in the tracing directory.
    pub fn name(self) -> &'static str {
        match self {
            FilterFile::Function => "set_ftrace_filter",
            FilterFile::Notrace => "set_ftrace_notrace",
            FilterFile::Graph => "set_graph_function",
            FilterFile::GraphNotrace => "set_graph_notrace",
        }
    }

    fn empty_means_all(self) -> bool {
        matches!(self, FilterFile::Function | FilterFile::Graph)
    }

    fn takes_modules_and_numbers(self) -> bool {
        matches!(self, FilterFile::Function | FilterFile::Notrace)
    }

    /// Parses patterns for this file; those with a module come last, as the kernel requires.
    ///
    /// # Errors
    /// A pattern is malformed, or of a kind that this file does not take. Exit code 2.
    pub fn parse(self, patterns: &[String]) -> Result<Vec<FunctionFilter>> {
        let mut filters = Vec::new();
        for pattern in patterns {
            let filter = FunctionFilter::parse(pattern)?;
            if !self.takes_modules_and_numbers() && (filter.has_module() || filter.is_line_number()) {
                return Err(Error::usage(format!("{} does not accept '{pattern}'", self.name()))
                    .help("the graph filters take names and globs, without ':mod:' and line numbers"));
            }
            filters.push(filter);
        }
        filters.sort_by_key(FunctionFilter::has_module);
        Ok(filters)
    }
}

/// A change to a filter file.
#[derive(Clone, Debug)]
pub enum FilterChange {
    /// Replace its entries by these patterns.
    Set(Vec<String>),
    /// Keep its entries and add these patterns.
    Add(Vec<String>),
    /// Remove these patterns.
    Remove(Vec<String>),
    /// Remove all entries.
    Clear,
}

/// Checks that every filter selects a function, or waits for a module that is not loaded.
///
/// The list of functions is read once, and only when there is a filter.
///
/// # Errors
/// A filter selects nothing (exit code 2, with the nearest names), or the list cannot be read.
pub fn check<'a>(tracefs: &Tracefs, filters: impl IntoIterator<Item = &'a FunctionFilter>) -> Result<()> {
    let mut filters = filters.into_iter().peekable();
    if filters.peek().is_none() {
        return Ok(());
    }
    let text = tracefs.top().read(AVAILABLE)?;
    let functions = Functions::parse(&text);
    filters.try_for_each(|filter| functions.check(filter))
}

/// The texts to write for these filters.
pub fn texts(filters: &[FunctionFilter]) -> Vec<String> {
    filters.iter().map(|filter| filter.text().to_string()).collect()
}

/// Applies a change to a filter file of an instance, after checking it.
///
/// # Errors
/// A pattern matches nothing; the removal would leave the filter empty, which means every function; the
/// kernel refuses. Nothing is changed in the first two cases.
pub fn change(tracefs: &Tracefs, instance: &Instance, file: FilterFile, change: &FilterChange) -> Result<()> {
    let name = file.name();
    match change {
        FilterChange::Clear => instance.truncate(name),
        FilterChange::Set(patterns) => {
            let filters = file.parse(patterns)?;
            check(tracefs, &filters)?;
            instance.write_lines(name, &texts(&filters), Mode::Replace)
        }
        FilterChange::Add(patterns) => {
            let filters = file.parse(patterns)?;
            check(tracefs, &filters)?;
            instance.write_lines(name, &texts(&filters), Mode::Append)
        }
        FilterChange::Remove(patterns) => {
            let filters = file.parse(patterns)?;
            check_removal(file, &filters, &instance.read(name)?)?;
            let lines: Vec<String> = filters.iter().map(|filter| format!("!{}", filter.text())).collect();
            instance.write_lines(name, &lines, Mode::Append)
        }
    }
}

/// Checks that each filter removes an entry, and that the filter does not become empty by accident.
fn check_removal(file: FilterFile, filters: &[FunctionFilter], content: &str) -> Result<()> {
    let entries: Vec<&str> =
        content.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    for filter in filters {
        if !entries.iter().any(|entry| filter.covers(entry)) {
            let error = Error::usage(format!("'{}' is not in {}", filter.text(), file.name()));
            return Err(match entries.is_empty() {
                true => error
                    .help("it is empty; 'snaptrace filter --notrace --add' excludes a function from tracing"),
                false => error.help("'snaptrace filter' shows its entries"),
            });
        }
    }
    if file.empty_means_all() && entries.iter().all(|entry| filters.iter().any(|filter| filter.covers(entry)))
    {
        return Err(Error::usage(format!(
            "removing this would leave {} empty, which means every function",
            file.name()
        ))
        .help("choose other functions with 'snaptrace filter --set', or every function with '--clear'"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removal(patterns: &[&str], content: &str) -> Result<()> {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        check_removal(FilterFile::Function, &FilterFile::Function.parse(&patterns)?, content)
    }

    #[test]
    fn filters_with_a_module_go_last() {
        let patterns = ["write*:mod:ext4", "__kmalloc", "*:mod:fuse", "kfree"].map(String::from);
        let filters = FilterFile::Function.parse(&patterns).unwrap();
        assert_eq!(texts(&filters), ["__kmalloc", "kfree", "write*:mod:ext4", "*:mod:fuse"]);
    }

    #[test]
    fn the_graph_filters_take_names_and_globs_only() {
        for pattern in ["write*:mod:ext4", "12"] {
            let error = FilterFile::Graph.parse(&[pattern.to_string()]).unwrap_err();
            assert!(error.to_string().starts_with("set_graph_function does not accept"), "{error}");
        }
        assert_eq!(FilterFile::Graph.parse(&["vfs_*".to_string()]).unwrap().len(), 1);
    }

    #[test]
    fn what_is_removed_must_be_there() {
        assert!(removal(&["a"], "a\nb\n").is_ok());
        assert!(removal(&["write*:mod:ext4"], "a\nwrite*:mod:ext4\n").is_ok());
        assert!(removal(&["c"], "a\nb\n").unwrap_err().to_string().contains("is not in set_ftrace_filter"));
        let error = removal(&["a"], "#### all functions enabled ####\n").unwrap_err();
        assert!(error.to_string().contains("it is empty"), "{error}");
    }

    #[test]
    fn a_filter_is_not_emptied_by_accident() {
        assert!(removal(&["*"], "a\nb\n").unwrap_err().to_string().contains("every function"));
        assert!(removal(&["a", "b"], "a\nb\n").is_err());
        let all = FilterFile::Notrace.parse(&["*".to_string()]).unwrap();
        assert!(check_removal(FilterFile::Notrace, &all, "a\nb\n").is_ok());
    }
}
