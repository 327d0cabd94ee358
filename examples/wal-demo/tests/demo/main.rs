//! The demonstration, run as a user runs it.

#![allow(clippy::disallowed_methods, reason = "sources are built and logs damaged by hand")]

mod common;
mod liars;
mod readme;
mod runs;
mod sources;
mod tidy;
