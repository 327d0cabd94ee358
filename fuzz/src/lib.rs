//! Fuzz targets of the workspace, their mutators, and the inputs they have met.
//!
//! A target is a function of bytes that panics where a promise is broken. `libfuzzer/` makes
//! programs of them; `tests/replay.rs` runs them over the kept inputs in `corpus/` on any
//! toolchain. Checksums are never switched off: the mutators repair them instead, which leads to
//! everything behind them, and leaves them as they are in a quarter of all mutations.

#![forbid(unsafe_code)]

pub mod corpus;
pub mod image;
pub mod mutate;
pub mod native;
mod slice_file;
pub mod targets;

/// The model and the oracle of raft-wal's own tests: they share nothing with the log but the types
/// of its interface.
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../raft-wal/tests/support"]
mod support {
    pub(crate) mod model;
    pub(crate) mod oracle;
    pub(crate) mod sim;
}
