//! `shell`: a shell in a guest.

use super::args::GuestArgs;
use super::interface::{Global, Subcommand};
use crate::base::error::Result;
use crate::run::single;

/// Open a shell in a guest, or run the commands on standard input there
#[derive(Debug, clap::Args)]
#[command(after_help = "\
On a terminal `exit` powers the guest off and Ctrl-A X ends QEMU at once;
Ctrl-A Ctrl-A sends one Ctrl-A. From a file or a pipe the shell ends with its
input, and the exit status is that of the shell.
Example: cargo xtask shell --kernel 5.4 --append trace_event=sched
         echo 'uname -r; exit 3' | cargo xtask shell")]
pub(super) struct Args {
    #[command(flatten)]
    guest: GuestArgs,
}

impl Subcommand for Args {
    const NAME: &'static str = "shell";

    fn run(self, global: &Global) -> Result<u8> {
        let (kernel, guest_options) = self.guest.split()?;
        single::shell(&global.workspace()?, kernel.as_deref(), guest_options)
    }
}
