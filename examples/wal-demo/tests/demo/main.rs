//! The demonstration, run as a user runs it.

#![allow(clippy::disallowed_methods, reason = "sources are built and logs damaged by hand")]

mod common;
mod runs;
mod sources;
