//! `kernel`: obtains kernels, lists them, and removes them from the cache.

use std::path::PathBuf;

use clap::ValueEnum;

use super::interface::{Global, Subcommand};
use crate::base::error::{Error, Result};
use crate::base::ui;
use crate::kernel::{self, Kernel, Request};
use crate::matrix::Record;

/// Obtain, verify, configure and build kernels
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Example: cargo xtask kernel 5.4 --source ~/src/linux
         cargo xtask kernel add mine ~/src/linux/arch/x86/boot/bzImage")]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Names of kernels; without one, all that are missing
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Build from a local tree, git work tree or tarball
    #[arg(long, value_name = "PATH")]
    source: Option<PathBuf>,
    /// The compiler, such as gcc-12
    #[arg(long, value_name = "COMPILER")]
    cc: Option<String>,
    /// Take the newest version that Debian has, not the recorded one; needs Debian's apt
    #[arg(long, requires = "names", conflicts_with_all = ["source", "cc"])]
    newest: bool,
    /// Record the newest versions that Debian has, with their digests, in kernels.toml; without a name
    /// those of all its kernels
    #[arg(long, conflicts_with_all = ["source", "cc", "menuconfig", "newest"])]
    repin: bool,
    /// Open the configuration menu, and print the changes as a fragment
    #[arg(long)]
    menuconfig: bool,
    /// Show the matrix and what is cached
    #[arg(long, conflicts_with_all = ["source", "cc", "menuconfig", "clean"])]
    list: bool,
    /// Empty the cache, or remove the kernels named
    #[arg(long, conflicts_with_all = ["source", "cc", "menuconfig"])]
    clean: bool,
    /// Format of the list
    #[arg(long, value_enum, default_value = "text", requires = "list")]
    format: ListFormat,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Give a name to a kernel of your own
    Add {
        /// The name
        #[arg(value_name = "NAME")]
        name: String,
        /// An image, an object or source tree, a linux-image package, an
        /// installed release, or `running`
        #[arg(value_name = "PATH")]
        path: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ListFormat {
    /// A table
    Text,
    /// One JSON array
    Json,
}

impl Subcommand for Args {
    const NAME: &'static str = "kernel";

    fn run(self, global: &Global) -> Result<u8> {
        let workspace = global.workspace()?;
        if let Some(Action::Add { name, path }) = &self.action {
            print(&kernel::add(&workspace, name, path)?);
            return Ok(0);
        }
        if self.clean {
            return kernel::clean(&workspace, &self.names).map(|()| 0);
        }
        let matrix = workspace.matrix()?;
        let mut records: Vec<&Record> = Vec::new();
        for name in &self.names {
            records.push(matrix.find(name)?);
        }
        if self.list {
            kernel::list(&workspace, matches!(self.format, ListFormat::Json))?;
            return Ok(0);
        }
        if self.repin {
            if records.is_empty() {
                records =
                    matrix.records().iter().filter(|record| !record.source.suites().is_empty()).collect();
            }
            for record in records {
                ui::print(format_args!("{}\n", kernel::repin(&workspace, record)?));
            }
            return Ok(0);
        }
        let request = Request { source: self.source, cc: self.cc, newest: self.newest };
        if records.is_empty() {
            records = matrix.usual().collect();
        }
        if (request.source.is_some() || self.menuconfig) && self.names.len() != 1 {
            return Err(Error::new("--source and --menuconfig need the name of one kernel")
                .help("for example: cargo xtask kernel 5.4 --source PATH"));
        }
        let mut worst: Option<Error> = None;
        for record in records {
            if self.menuconfig {
                kernel::menuconfig(&workspace, record, &request)?;
                continue;
            }
            match kernel::obtain(&workspace, record, &request) {
                Ok(kernel) => print(&kernel),
                Err(error) if self.names.len() == 1 => return Err(error),
                Err(error) => {
                    ui::print_error(format_args!("{}: {error}\n", record.name));
                    worst = Some(error);
                }
            }
        }
        Ok(worst.map_or(0, |error| error.exit_code()))
    }
}

fn print(kernel: &Kernel) {
    ui::print(format_args!("{}: {} ({})\n", kernel.name, kernel.release, kernel.provenance));
    for note in &kernel.notes {
        ui::print(format_args!("{}: {note}\n", kernel.name));
    }
}
