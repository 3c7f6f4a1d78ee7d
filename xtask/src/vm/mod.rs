//! The virtual machine: turns a plain description into a QEMU process, and its output into frames.
//!
//! Architecture invariant: this room builds nothing and knows no kernel by name. It gets an image, an
//! initramfs and words for the command line.

pub mod accel;
pub mod console;
mod gdb;
mod input;
mod machine;
pub mod memory;
pub mod noise;
mod relay;
mod watch;

pub use gdb::Gdb;
pub use machine::{
    Accel, Boot, COMMAND_LINE_LIMIT, CONSOLE, Deadlines, Exactness, MOST_CPUS, Machine, QEMU_LOG, RESULTS,
    check_command_line, command_line,
};
pub use noise::Noise;
pub use relay::{TerminalEnd, boot_interactive};
pub use watch::{Cut, Ended, Taken, boot};
