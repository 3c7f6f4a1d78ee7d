//! Arguments that several commands share.

pub(super) mod files;
pub(super) mod live;
pub(super) mod record;
pub(super) mod traced;
