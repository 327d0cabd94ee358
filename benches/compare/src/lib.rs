//! Two Raft state machines in the same hands.
//!
//! A [`Node`] is one of them with its storage in memory and a state machine that only looks at what
//! it is given. [`Cluster`] and [`IdleGroups`] drive either kind in the same way, in one thread, so
//! that what differs between two measurements is the state machines.

mod applied;
mod cases;
mod cluster;
mod idle;
mod of_core;
mod of_tikv;

pub use applied::Applied;
pub use cases::{CASES, Case, Driven};
pub use cluster::{Cluster, Node, Options, Proposing};
pub use idle::IdleGroups;
pub use of_core::CoreNode;
pub use of_tikv::TikvNode;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Bytes in a proposal.
pub const PAYLOAD: usize = 128;

/// The time that this thread has had a processor, from a beginning on.
#[derive(Clone, Copy, Debug)]
pub struct CpuTimer {
    begun: Duration,
}

impl CpuTimer {
    /// Begins now.
    pub fn start() -> Self {
        Self { begun: now() }
    }

    /// How long it was since.
    pub fn elapsed(self) -> Duration {
        now().saturating_sub(self.begun)
    }
}

fn now() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).expect("the time of a thread is not negative")
}
