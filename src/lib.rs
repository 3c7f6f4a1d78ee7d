//! A front-end for ftrace: it sets up the kernel's function tracers through tracefs, with checks
//! before every change, shows what they recorded, and records it to trace.dat files.
//!
//! The `snaptrace` command is [`commands::run`]; each of its subcommands is a file of [`commands`].
//! Only [`tracefs`] opens files of the tracing directory. Recordings are read by [`trace_dat`] and
//! printed by [`report`], which are pure, as is [`tracefs::filter`].

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

pub mod analysis;
pub mod capture;
pub mod commands;
pub mod error;
pub mod report;
pub mod restore;
pub mod setup;
pub mod tracefs;
mod unreadable;

pub use error::{Error, Result};
pub use tracefs::filter;
