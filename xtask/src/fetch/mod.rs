//! Fetches downloads and packages, and unpacks tools from them.

pub mod apt;
pub mod archive;
pub mod chromium;
pub mod control;
pub mod download;
pub mod host_packages;
mod package_manager;
pub mod tools;
pub mod trace_cmd;
