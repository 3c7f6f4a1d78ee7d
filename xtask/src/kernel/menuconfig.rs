//! Kconfig's menu for a record's configuration, and the changes as a fragment.

use std::io::IsTerminal;
use std::process::Command;

use super::build::Request;
use super::build::{self, Job, ObjectTree};
use crate::base::cache;
use crate::base::error::{Context, Error, Result};
use crate::base::ui::out;
use crate::base::workspace::Workspace;
use crate::fetch::host_packages;
use crate::kernel::{config, names};
use crate::matrix::Record;

/// Opens `make menuconfig` on a record's configuration and prints what was changed as a
/// fragment. The fragments themselves stay as they are.
///
/// # Errors
/// The kernel is not built here, there is no terminal, or the source cannot be obtained or
/// configured.
pub fn menuconfig(workspace: &Workspace, record: &Record, request: &Request) -> Result<()> {
    let failed = || format!("cannot open the configuration menu of {}", record.name);
    if record.is_ready_made() {
        return Err(Error::new(failed())
            .because("it is a ready-made package of Debian")
            .help("kernels that are built here have a menu, such as 5.4"));
    }
    if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        return Err(Error::new(failed())
            .because("standard input or output is not a terminal")
            .help("run it in a terminal, without redirection"));
    }
    let ncurses = [("/usr/include/ncurses.h", "libncurses-dev")];
    host_packages::need_packages(&workspace.host, "the configuration menu", &ncurses)?;
    let last = names::bound(workspace, &record.name)?.map(|(_, manifest)| manifest);
    let given = build::given(workspace, record, request, last.as_ref())?;
    let tools = build::toolchain(workspace, record, request.cc.as_deref())?;

    let name = format!("menuconfig-{}", record.name);
    let _lock = workspace.host.cache.lock(&workspace.host.ui, &name)?;
    let scratch = workspace.host.cache.folder("build")?.join(&name);
    let log = workspace.host.cache.folder("logs")?.join(format!("{name}.log"));
    let job = Job { record, given: &given, tools: &tools, scratch: &scratch, log: &log };
    let objects = ObjectTree::configured(workspace, &job)?;
    let before = objects.config()?;
    // xshell gives its commands no standard input, which a menu needs.
    let status = Command::new("make").args(objects.arguments()).arg("menuconfig").status();
    let status = status.context(failed)?;
    if !status.success() {
        return Err(Error::new(failed()).because(format!("make menuconfig failed: {status}")));
    }
    let fragment = config::difference(&before, &objects.config()?);
    cache::remove(&scratch)?;
    cache::remove(&log)?;
    if fragment.is_empty() {
        workspace.host.ui.say("nothing was changed");
    } else {
        workspace.host.ui.say("what was changed, as lines for a fragment in kernel-configs/:");
        out!("{fragment}");
    }
    Ok(())
}
