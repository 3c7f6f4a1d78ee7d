//! The `snaptrace` command.
fn main() {}
