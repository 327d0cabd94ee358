//! What a node tells of itself.

use crate::message::HardState;
use crate::progress::ProgressStatus;
use crate::raft::{Raft, SoftState};
use crate::storage::Storage;
use crate::tracker::TrackerConfig;

/// A node at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BasicStatus {
    /// Who it is.
    pub id: u64,
    /// Term, vote and commit index, durable or not.
    pub hard_state: HardState,
    /// Its leader and its role.
    pub soft_state: SoftState,
    /// The last index that is applied.
    pub applied: u64,
    /// The last index of its log, durable or not.
    pub last_index: u64,
    /// To whom it is handing over; 0 nobody.
    pub lead_transferee: u64,
}

impl BasicStatus {
    pub(crate) fn of<S: Storage>(raft: &Raft<S>) -> Self {
        Self {
            id: raft.id(),
            hard_state: raft.hard_state(),
            soft_state: raft.soft_state(),
            applied: raft.log.applied(),
            last_index: raft.log.last_index(),
            lead_transferee: raft.lead_transferee,
        }
    }
}

/// A node in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// At a glance.
    pub basic: BasicStatus,
    /// The configuration that is applied.
    pub config: TrackerConfig,
    /// Of a leader: what it knows of every member, itself too, by id. Of others: nothing.
    pub progress: Vec<(u64, ProgressStatus)>,
    /// Of a leader: payload bytes proposed and not applied.
    pub uncommitted_size: u64,
    /// Reads that wait for the leader's first commit.
    pub postponed_reads: usize,
    /// Reads that wait for a quorum.
    pub unconfirmed_reads: usize,
    /// Whether the log has a hole, see [`crate::Config::damaged`].
    pub damaged: bool,
}

impl Status {
    pub(crate) fn of<S: Storage>(raft: &Raft<S>) -> Self {
        let members = raft.tracker.progress.iter();
        let progress = if raft.is_leader() {
            members.map(|(id, progress)| (id, ProgressStatus::from(progress))).collect()
        } else {
            Vec::new()
        };
        Self {
            basic: BasicStatus::of(raft),
            config: raft.tracker.config.clone(),
            progress,
            uncommitted_size: raft.uncommitted_size,
            postponed_reads: raft.postponed_reads.len(),
            unconfirmed_reads: raft.reads.len(),
            damaged: raft.damaged.is_some(),
        }
    }
}
