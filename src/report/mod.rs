//! The text of a recording, as `report` prints it; opens no file.

pub mod about;
mod arguments;
mod binary_print;
mod call;
mod columns;
mod comms;
mod config;
mod fields;
mod futex;
mod graph;
mod handler;
mod handlers;
mod line;
mod lines;
pub mod merged;
pub mod passes;
mod plan;
mod printer;
mod selection;
mod text;
mod threads;
mod wakeups;
mod whole;
mod whole_report;

pub use config::{Config, Returns, Style};
pub use whole_report::report;
