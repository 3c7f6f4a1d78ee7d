//! A front-end for ftrace: it sets up the kernel's function tracers through tracefs, with checks
//! before every change, and shows what they recorded.
//!
//! The `snaptrace` command is [`cli::run`]; each of its subcommands is a call of one module here.
//! Only [`tracefs`] opens files of the tracing directory; [`filter`] is pure.

#![forbid(unsafe_code)]

pub mod check;
pub mod cli;
pub mod command;
pub mod control;
pub mod error;
pub mod filter;
pub mod filter_files;
pub mod list;
pub mod options;
pub mod start;
pub mod stat;
pub mod tracefs;
pub mod tracers;

pub use error::{Error, Result};
