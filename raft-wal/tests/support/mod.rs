//! What the tests of the log share: an independent model of it, the oracle that says which states
//! a crash may leave, random batches, and the driver of random histories on a simulated disk.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod batches;
pub(crate) mod damage;
pub(crate) mod history;
pub(crate) mod hook;
pub(crate) mod lab;
pub(crate) mod model;
pub(crate) mod operations;
pub(crate) mod oracle;
pub(crate) mod sim;
pub(crate) mod tally;
