//! `filter`: shows and changes which functions are traced.

use std::io;

use clap::ArgGroup;

use super::args::instance::InstanceArgs;
use super::interface::{Kernel, Subcommand};
use crate::error::Result;
use crate::tracefs::filter_files::{self, FilterChange, FilterFile};

/// Show or change which functions are traced
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("change"),
    group = ArgGroup::new("file"),
    after_help = "PATTERN is a name, a glob such as 'dev_attr_*', or PATTERN:mod:MODULE. The
filter is printed, after a change as it is then.

Example:
  snaptrace filter --set 'dev_attr_*'
  snaptrace filter --add __kmalloc 'write*:mod:ext4'
  snaptrace filter --remove __kmalloc"
)]
pub(super) struct Args {
    /// Trace these functions only
    #[arg(long, group = "change", value_name = "PATTERN", num_args = 1..)]
    set: Vec<String>,
    /// Trace these functions too
    #[arg(long, group = "change", value_name = "PATTERN", num_args = 1..)]
    add: Vec<String>,
    /// Remove these functions from the filter
    #[arg(long, group = "change", value_name = "PATTERN", num_args = 1..)]
    remove: Vec<String>,
    /// Empty the filter
    #[arg(long, group = "change")]
    clear: bool,
    /// Change the filter of functions that are not traced
    #[arg(long, group = "file")]
    notrace: bool,
    /// Change the filter of functions whose graph is traced
    #[arg(long, group = "file")]
    graph: bool,
    /// Change the filter of functions whose graph is not traced
    #[arg(long, group = "file")]
    graph_notrace: bool,
    #[command(flatten)]
    instance: InstanceArgs,
}

impl Subcommand for Args {
    const NAME: &'static str = "filter";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        let tracefs = kernel.tracefs()?;
        let instance = self.instance.of(&tracefs)?;
        let file = self.file();
        if let Some(change) = self.change() {
            filter_files::change(&tracefs, &instance, file, &change)?;
        }
        instance.copy(file.name(), &mut io::stdout().lock())?;
        Ok(0)
    }
}

impl Args {
    fn file(&self) -> FilterFile {
        match (self.notrace, self.graph, self.graph_notrace) {
            (true, _, _) => FilterFile::Notrace,
            (_, true, _) => FilterFile::Graph,
            (_, _, true) => FilterFile::GraphNotrace,
            _ => FilterFile::Function,
        }
    }

    fn change(self) -> Option<FilterChange> {
        if !self.set.is_empty() {
            Some(FilterChange::Set(self.set))
        } else if !self.add.is_empty() {
            Some(FilterChange::Add(self.add))
        } else if !self.remove.is_empty() {
            Some(FilterChange::Remove(self.remove))
        } else {
            self.clear.then_some(FilterChange::Clear)
        }
    }
}
