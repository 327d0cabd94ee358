//! The log on real files, in real processes: killed, starved of space and descriptors, opened
//! twice, read while it is written, and given directories and numbers that nobody should give it.
//!
//! Everything happens in the system's directory for temporary files; `TMPDIR` moves it.

#![allow(clippy::disallowed_methods, reason = "the tests arrange real files behind the log's back")]

mod bounds;
mod bounds_read;
mod child;
mod dirs;
mod kill;
mod limits;
mod live;
mod lock;
mod names;
mod workload;

/// The reference and the oracle that the tests on the simulated disk have too.
#[path = "../support"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod support {
    pub(crate) mod model;
    pub(crate) mod oracle;
}
