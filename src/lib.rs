//! A front-end for ftrace: it sets up the kernel's function tracers through tracefs, with checks
//! before every change, and shows what they recorded.
//!
//! The `snaptrace` command is [`cli::run`]; each of its subcommands is a call of one module here.
//! Only [`tracefs`] opens files of the tracing directory. Recordings are read by [`trace_dat`] and
//! printed by [`report`], which are pure, as are [`event`], [`ring_buffer`] and [`filter`].

#![forbid(unsafe_code)]

pub mod bytes;
pub mod check;
pub mod cli;
pub mod command;
pub mod control;
pub mod error;
pub mod event;
pub mod filter;
pub mod filter_files;
pub mod list;
pub mod options;
pub mod report;
pub mod ring_buffer;
pub mod start;
pub mod stat;
pub mod trace_dat;
pub mod tracefs;
pub mod tracers;

pub use error::{Error, Result};
