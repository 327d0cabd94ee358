//! Clusters in one thread: simulated network and clock, crashes and restarts, and every rule of
//! Raft checked after every event.
//!
//! A seed is a run. [`Options`] draws what the cluster is and how lucky it is; a [`Queue`] holds
//! what is going to happen, by time; a [`Cluster`] lets it happen, event by event, and is the
//! driver of its nodes, as the documentation of [`raft_core::Ready`] has it. Everything that nodes
//! say and write passes through a [`Checker`], which knows all that was said before. When the
//! events are over the network is healed, and the cluster has to get quiet with one leader, equal
//! logs, and proposals and reads that arrive.
//!
//! What a node keeps is behind [`Store`]: [`MemoryStore`] is the reference in memory with the
//! faults of a disk, and a real storage on a simulated disk takes its place by the same trait.
//!
//! A seed that fails is run once more with a [`Trace`] of its last events, and is replayed by
//! `RAFT_SIM_SEED=n cargo test -p sim random_clusters -- --nocapture`. That the checker can fail is
//! shown by bugs planted in the driver, the disk and the network, see [`Plant`].

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
