//! `setup`: installs what this host lacks.

use std::path::Path;

use super::interface::{Global, Subcommand};
use crate::base::error::Result;
use crate::base::workspace::Workspace;
use crate::fetch::{host_packages, tools, trace_cmd};
use crate::kernel;

/// Install what this host lacks
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: cargo xtask --yes setup")]
pub(super) struct Args {}

impl Subcommand for Args {
    const NAME: &'static str = "setup";

    fn run(self, global: &Global) -> Result<u8> {
        setup(&global.workspace()?).map(|()| 0)
    }
}

/// Obtains what is missing: QEMU, busybox and trace-cmd into the cache, build tools with apt.
///
/// # Errors
/// Something is still missing.
fn setup(workspace: &Workspace) -> Result<()> {
    let host = &workspace.host;
    let say = |tool: &str, version: &str, path: &Path| {
        let version = if version.is_empty() { String::new() } else { format!(" {version}") };
        host.ui.say(format!("{tool}{version} at {}", path.display()));
    };
    let qemu = tools::qemu(host)?;
    say("QEMU", &qemu.version, &qemu.program);
    say("busybox", "", &tools::busybox(host)?);
    say("trace-cmd", trace_cmd::VERSION, &trace_cmd::get(host)?.program);
    say("trace-cmd", trace_cmd::VERSION_WITH_ZLIB, &trace_cmd::with_zlib(host)?);
    for record in workspace.matrix()?.usual() {
        let what = format!("building {}", record.name);
        host_packages::need_packages(host, &what, &kernel::build_tools(record))?;
    }
    Ok(())
}
