//! Applies writes, permanently or until a session restores them.

use super::control_files::{Undo, Write};
use crate::error::Result;
use crate::restore::session::Session;
use crate::tracefs::Instance;

/// Where writes go.
pub(crate) enum To<'t> {
    /// To an instance, permanently.
    Instance(&'t Instance),
    /// To a session, which restores them.
    Session(&'t mut Session),
}

/// Makes the writes one after the other.
///
/// # Errors
/// The kernel refuses a value. The values before it are set, those after it are not.
pub(crate) fn apply(writes: &[Write], to: To<'_>) -> Result<()> {
    match to {
        To::Instance(instance) => {
            let mut writes = writes.iter();
            writes.try_for_each(|Write { file, values, mode, .. }| instance.write_lines(file, values, *mode))
        }
        To::Session(session) => writes.iter().try_for_each(|Write { file, values, undo, .. }| match undo {
            Undo::Before => session.write(file, values),
            Undo::Append(undo) => session.append(file, values, undo.clone()),
        }),
    }
}
