//! The tests of the tracer: one program, a module for each part of it.

#![allow(clippy::unwrap_used, reason = "helpers of tests, where a panic is the report")]

mod cli;
mod files;
mod fixture;
mod formats;
mod hostile;
mod properties;
mod record;
mod recordings;
mod report;
mod samples;
mod stream;
