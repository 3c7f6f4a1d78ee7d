//! Stored results against snapshots.
fn main() {}
