//! A front-end for ftrace.
