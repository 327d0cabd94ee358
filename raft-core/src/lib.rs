//! The Raft consensus state machine of etcd, without I/O, clock or threads.

pub mod confchange;
pub mod describe;
pub mod ids;
mod inflights;
mod message;
pub mod progress;
pub mod quorum;
pub mod tracker;

pub use inflights::Inflights;

pub use message::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
    Entry, EntryType, HardState, Message, MessageType, Snapshot, SnapshotMetadata,
};

/// The receiver of [`MessageType::StorageAppend`]: whoever writes log and hard state.
pub const LOCAL_APPEND_THREAD: u64 = u64::MAX;
/// The receiver of [`MessageType::StorageApply`]: whoever applies committed entries.
pub const LOCAL_APPLY_THREAD: u64 = u64::MAX - 1;
