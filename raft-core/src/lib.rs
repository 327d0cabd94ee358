//! The Raft consensus state machine of etcd, without I/O, clock or threads.
//!
//! [`RawNode`] is one member of a Raft group. It behaves as etcd's raft library of v3.7 does,
//! message for message; what it needs from outside it is told (ticks, messages, proposals), and
//! what it wants done it hands out as a [`Ready`]. Messages are etcd's by number, payloads are
//! shared and never copied.
//!
//! Where etcd panics this returns an [`Error`]: no message of a peer, no stored state and no answer
//! of a storage can bring a node down, and a call that ends in an error has changed nothing.
//!
//! # Start
//!
//! A new cluster: every member begins with an empty storage that knows the first configuration, or
//! is told it by [`RawNode::bootstrap`]. A node that joins later begins with an empty storage and
//! learns of the configuration from its leader. A node that was there before begins with what it
//! stored, and with [`Config::applied`], the last index that its state machine has applied durably.
//! The configuration in [`InitialState::conf_state`] must be the one *at that index*: the node
//! takes changes behind it from the log as they are applied again.
//!
//! # Duties of the caller
//!
//! 1. Call [`RawNode::tick`] at even intervals, such as every 100 ms.
//! 2. Give it every message of a peer ([`RawNode::step`]), from a transport that knows who sent it.
//! 3. Whenever [`RawNode::has_ready`], take [`RawNode::ready`] and do what it says, **in its
//!    order**: write and sync, then send, then apply, then [`RawNode::advance`].
//! 4. When a committed entry is a configuration change, call [`RawNode::apply_conf_change`], and
//!    store the configuration that it returns together with the applied index.
//! 5. Tell what became of snapshots ([`RawNode::report_snapshot`]) and of members that cannot be
//!    reached ([`RawNode::report_unreachable`]).
//! 6. Compact the storage now and then, never beyond what is applied.
//! 7. Stop a node whose storage failed a write or a sync. What it promised is in doubt.
//!
//! # A loop with synchronous writes
//!
//! ```
//! use raft_core::{Config, ConfState, EntryType, MemoryStorage, RawNode};
//!
//! let members = ConfState { voters: vec![1], ..Default::default() };
//! let storage = MemoryStorage::with_conf_state(members);
//! let mut node = RawNode::new(&Config::new(1), storage.clone())?;
//! let mut state_machine = Vec::new();
//!
//! node.campaign()?; // or tick until the election timeout has passed
//! let mut proposed = false;
//! loop {
//!     if !proposed && node.basic_status().soft_state.leader == 1 {
//!         node.propose("x = 1")?;
//!         proposed = true;
//!     }
//!     if !node.has_ready() {
//!         break; // wait for a tick, a message or a proposal
//!     }
//!     let mut ready = node.ready()?;
//!     if let Some(snapshot) = ready.snapshot.clone() {
//!         storage.apply_snapshot(snapshot)?;
//!     }
//!     storage.append(&ready.entries)?;
//!     if let Some(hard_state) = ready.hard_state {
//!         storage.set_hard_state(hard_state);
//!     }
//!     // A storage on disk syncs here. Only now may messages leave.
//!     for message in ready.messages.drain(..) {
//!         println!("to {}: {message:?}", message.to);
//!     }
//!     for entry in ready.committed_entries.drain(..) {
//!         match entry.entry_type() {
//!             EntryType::Normal if entry.data.is_empty() => {} // a leader began its term
//!             EntryType::Normal => state_machine.push(entry.data),
//!             EntryType::ConfChange | EntryType::ConfChangeV2 => {
//!                 if let Some(change) = entry.conf_change()?
//!                     && let Some(members) = node.apply_conf_change(entry.index, &change)?
//!                 {
//!                     storage.set_conf_state(members); // with the applied index
//!                 }
//!             }
//!         }
//!     }
//!     node.advance(ready)?;
//! }
//! assert_eq!(state_machine, ["x = 1"]);
//!
//! // A restart goes on from there, and does not apply again what was applied.
//! let applied = node.basic_status().applied;
//! let again = RawNode::new(&Config { applied, ..Config::new(1) }, storage)?;
//! assert_eq!(again.basic_status().hard_state.commit, 2);
//! # Ok::<(), raft_core::Error>(())
//! ```
//!
//! # A loop with asynchronous writes
//!
//! With [`Config::async_storage_writes`] entries go to disk and to the followers side by side. What
//! is to be written and applied comes as messages, with what is to be said afterwards inside.
//!
//! ```
//! use raft_core::{Config, ConfState, LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD};
//! use raft_core::{HardState, MemoryStorage, RawNode};
//!
//! let members = ConfState { voters: vec![1], ..Default::default() };
//! let storage = MemoryStorage::with_conf_state(members);
//! let config = Config { async_storage_writes: true, ..Config::new(1) };
//! let mut node = RawNode::new(&config, storage.clone())?;
//! let mut applied = 0;
//!
//! node.campaign()?;
//! while node.has_ready() {
//!     let ready = node.ready()?;
//!     for message in ready.messages {
//!         match message.to {
//!             LOCAL_APPEND_THREAD => {
//!                 // On a thread of its own, in order: snapshot, entries, hard state. If there are
//!                 // responses, sync before they are delivered.
//!                 if let Some(snapshot) = message.snapshot {
//!                     storage.apply_snapshot(*snapshot)?; // and give it to the state machine
//!                 }
//!                 storage.append(&message.entries)?;
//!                 if message.term != 0 {
//!                     let (term, vote, commit) = (message.term, message.vote, message.commit);
//!                     storage.set_hard_state(HardState { term, vote, commit });
//!                 }
//!             }
//!             // For configuration changes call apply_conf_change before the responses.
//!             LOCAL_APPLY_THREAD => applied += message.entries.len(),
//!             _peer => { /* send at once */ }
//!         }
//!         for response in message.responses {
//!             if response.to == 1 {
//!                 node.step_local(response)?;
//!             } // else send it to its peer
//!         }
//!     }
//! }
//! assert_eq!(applied, 1); // the entry with which the leader begins its term
//! # Ok::<(), raft_core::Error>(())
//! ```
//!
//! # Reads
//!
//! A read that sees every acknowledged write asks for an index ([`RawNode::read_index`]) and is
//! served once the state machine has applied that index. How the leader makes sure that it still
//! leads is [`ReadOnlyOption`].
//!
//! # A log with a hole
//!
//! A node whose disk lost entries that it may have acknowledged is started with
//! [`Config::damaged`]. It follows, but neither votes nor campaigns nor acknowledges, until a
//! snapshot of the leader covers the hole, for which it asks, or the caller has put the same
//! entries back ([`RawNode::mark_whole`]): so nothing that was committed with its help is
//! forgotten.

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
