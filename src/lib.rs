//! A front-end for ftrace: it sets up the kernel's function tracers through tracefs, with checks
//! before every change, shows what they recorded, and records it to trace.dat files.
//!
//! The `snaptrace` command is [`cli::run`]; each of its subcommands is a call of one module here.
//! Only [`tracefs`] opens files of the tracing directory. Recordings are read by [`trace_dat`] and
//! printed by [`report`], which are pure, as are [`event`], [`ring_buffer`] and [`filter`].

#![forbid(unsafe_code)]

pub mod bytes;
pub mod check;
pub mod check_events;
pub mod cli;
pub mod command;
pub mod control;
mod date;
pub mod drain;
pub mod dump;
pub mod error;
pub mod event;
pub mod events;
pub mod extract;
pub mod filter;
pub mod filter_files;
pub mod hist;
pub mod journal;
pub mod list;
mod live;
pub mod metadata;
pub mod options;
pub mod output;
pub mod profile;
mod progress;
pub mod record;
pub mod recording;
pub mod report;
pub mod ring_buffer;
pub mod session;
pub mod set;
pub mod snapshot;
pub mod split;
pub mod start;
pub mod stat;
pub mod stream;
pub mod sub_buffer;
pub mod trace;
pub mod trace_dat;
pub mod tracefs;
pub mod tracers;

pub use error::{Error, Result};
