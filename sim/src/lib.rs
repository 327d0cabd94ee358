//! Clusters in one thread: simulated network and clock, crashes and restarts, and every rule of
//! Raft checked after every event.

#![forbid(unsafe_code)]

mod act;
mod checker;
mod cluster;
mod drive;
mod harness;
mod machine;
mod network;
mod node;
mod options;
mod plant;
mod queue;
mod settle;
mod shadow;
mod stats;
mod store;
mod trace;

pub use checker::{Checked, Checker, Violation};
pub use cluster::Cluster;
pub use harness::{Failure, Plan, run, run_many};
pub use machine::{Image, Machine};
pub use options::{NetworkOptions, Options, Plant, Weights};
pub use queue::{Queue, TICK, Time};
pub use shadow::Shadow;
pub use stats::Stats;
pub use store::{Batch, MemoryStore, Store};
pub use trace::Trace;
