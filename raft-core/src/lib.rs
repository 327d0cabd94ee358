//! The Raft consensus state machine of etcd, without I/O, clock or threads.

#![forbid(unsafe_code)]

pub mod confchange;
mod config;
pub mod describe;
mod error;
pub mod ids;
mod inflights;
mod log;
mod memory;
mod message;
pub mod progress;
pub mod quorum;
mod raft;
mod raw_node;
mod ready;
mod status;
mod storage;
pub mod tracker;
mod unstable;

pub use confchange::ConfChangeError;
pub use config::{Config, DamagedRange, ReadOnlyOption};
pub use error::{DropReason, Error, ReadDropReason, Result};
pub use inflights::Inflights;
pub use memory::MemoryStorage;

pub use message::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
    Entry, EntryType, HardState, Message, MessageType, Snapshot, SnapshotMetadata,
};
pub use raft::{ReadState, Role, SoftState};
pub use raw_node::{Peer, RawNode, SnapshotStatus};
pub use ready::Ready;
pub use status::{BasicStatus, Status};
pub use storage::{Fetch, InitialState, Storage, StorageError};

/// The receiver of [`MessageType::StorageAppend`]: whoever writes log and hard state.
pub const LOCAL_APPEND_THREAD: u64 = u64::MAX;
/// The receiver of [`MessageType::StorageApply`]: whoever applies committed entries.
pub const LOCAL_APPLY_THREAD: u64 = u64::MAX - 1;
