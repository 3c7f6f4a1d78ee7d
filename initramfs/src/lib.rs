//! What guest and host share.
