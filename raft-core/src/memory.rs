//! The reference storage: everything in memory, for tests and for logs that need not survive.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use prost::Message as _;

use crate::log::MAX_INDEX;
use crate::message::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
use crate::storage::{Fetch, InitialState, Storage, StorageError};

/// A log in memory (etcd's `MemoryStorage`). Clones are handles of the same log, so that its owner
/// writes while a node reads.
///
/// ```
/// use raft_core::{ConfState, Entry, Fetch, MemoryStorage, Storage};
///
/// let members = ConfState { voters: vec![1], ..Default::default() };
/// let storage = MemoryStorage::with_conf_state(members);
/// storage.append(&[Entry { term: 1, index: 1, ..Default::default() }])?;
/// assert_eq!(storage.entries(1, 2, u64::MAX, Fetch::Apply)?.len(), 1);
/// # Ok::<(), raft_core::StorageError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    inner: Arc<Mutex<Inner>>,
}

/// Invariant: entry `i` of `entries` has the index `base_index + 1 + i`.
#[derive(Debug, Default)]
struct Inner {
    hard_state: HardState,
    /// What [`MemoryStorage::set_conf_state`] said since the snapshot came; else the snapshot's.
    conf_state: Option<ConfState>,
    snapshot: Snapshot,
    /// Of the last compacted entry; at least the snapshot's.
    base_index: u64,
    base_term: u64,
    entries: VecDeque<Entry>,
}

impl Inner {
    fn first(&self) -> u64 {
        self.base_index + 1
    }

    fn last(&self) -> u64 {
        self.base_index + self.entries.len() as u64
    }

    fn conf_state(&self) -> ConfState {
        self.conf_state.clone().unwrap_or_else(|| self.snapshot.conf_state())
    }

    fn term(&self, index: u64) -> Result<u64, StorageError> {
        if index < self.base_index {
            return Err(StorageError::Compacted);
        }
        if index == self.base_index {
            return Ok(self.base_term);
        }
        let at = (index - self.base_index - 1) as usize;
        self.entries.get(at).map(|e| e.term).ok_or(StorageError::Unavailable)
    }
}

impl MemoryStorage {
    /// An empty log without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty log of a node whose configuration is known.
    pub fn with_conf_state(conf_state: ConfState) -> Self {
        let storage = Self::new();
        storage.set_conf_state(conf_state);
        storage
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is whole before its guard goes: a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the hard state.
    pub fn set_hard_state(&self, hard_state: HardState) {
        self.lock().hard_state = hard_state;
    }

    /// Replaces the configuration that [`Storage::initial_state`] gives: it must be the one at the
    /// index up to which a restarted node will say that it has applied.
    pub fn set_conf_state(&self, conf_state: ConfState) {
        self.lock().conf_state = Some(conf_state);
    }

    /// Appends entries, in place of whatever is at their indexes and behind. Those that were
    /// compacted already are skipped.
    ///
    /// # Errors
    /// [`StorageError::Contract`] if they are not contiguous, or would leave a gap.
    pub fn append(&self, entries: &[Entry]) -> Result<(), StorageError> {
        let mut inner = self.lock();
        let gap = entries.windows(2).find(|w| w[0].index.checked_add(1) != Some(w[1].index));
        if let Some(pair) = gap {
            let what = "entries are not contiguous";
            return Err(StorageError::Contract { what, index: pair[1].index });
        }
        if let Some(last) = entries.last().filter(|e| e.index > MAX_INDEX) {
            let what = "the index has no successor";
            return Err(StorageError::Contract { what, index: last.index });
        }
        let skipped = entries.partition_point(|e| e.index <= inner.base_index);
        let Some(first) = entries.get(skipped) else { return Ok(()) };
        if first.index > inner.last() + 1 {
            let what = "entries are missing before the first appended";
            return Err(StorageError::Contract { what, index: first.index });
        }
        let keep = (first.index - inner.first()) as usize;
        inner.entries.truncate(keep);
        inner.entries.extend(entries[skipped..].iter().cloned());
        Ok(())
    }

    /// Gives up entries up to and including `index`, which must have been applied.
    ///
    /// # Errors
    /// [`StorageError::Compacted`] if they are gone already; [`StorageError::Unavailable`] beyond
    /// the log.
    pub fn compact(&self, index: u64) -> Result<(), StorageError> {
        let mut inner = self.lock();
        if index <= inner.base_index {
            return Err(StorageError::Compacted);
        }
        inner.base_term = inner.term(index)?;
        let gone = (index - inner.base_index) as usize;
        inner.entries.drain(..gone);
        inner.base_index = index;
        Ok(())
    }

    /// Makes a snapshot as of `index`, which must have been applied. Compacts nothing. The
    /// configuration is the one at `index`; without one, the one that is stored.
    ///
    /// # Errors
    /// [`StorageError::SnapshotOutOfDate`] if there is one of that index or a later one;
    /// [`StorageError::Unavailable`] beyond the log; [`StorageError::Compacted`] before it.
    pub fn create_snapshot(
        &self,
        index: u64,
        conf_state: Option<ConfState>,
        data: Bytes,
    ) -> Result<Snapshot, StorageError> {
        let mut inner = self.lock();
        if index <= inner.snapshot.index() {
            return Err(StorageError::SnapshotOutOfDate);
        }
        let term = inner.term(index)?;
        let conf_state = Some(conf_state.unwrap_or_else(|| inner.conf_state()));
        let metadata = Some(SnapshotMetadata { conf_state, index, term });
        inner.snapshot = Snapshot { data, metadata };
        Ok(inner.snapshot.clone())
    }

    /// Replaces everything by a snapshot: the log is empty behind it. One of the index that is
    /// there may take its place: a node asks for that when its state machine has lost it. One of
    /// index 0 brings a configuration only.
    ///
    /// # Errors
    /// [`StorageError::SnapshotOutOfDate`] if there is one of a later index;
    /// [`StorageError::Contract`] if its index has no successor.
    pub fn apply_snapshot(&self, snapshot: Snapshot) -> Result<(), StorageError> {
        if snapshot.index() > MAX_INDEX {
            let what = "the index has no successor";
            return Err(StorageError::Contract { what, index: snapshot.index() });
        }
        let mut inner = self.lock();
        if inner.snapshot.index() > snapshot.index() {
            return Err(StorageError::SnapshotOutOfDate);
        }
        inner.entries.clear();
        inner.base_index = snapshot.index();
        inner.base_term = snapshot.term();
        inner.conf_state = None;
        inner.snapshot = snapshot;
        Ok(())
    }
}

impl Storage for MemoryStorage {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        let inner = self.lock();
        Ok(InitialState { hard_state: inner.hard_state, conf_state: inner.conf_state() })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_bytes: u64,
        _purpose: Fetch,
    ) -> Result<Vec<Entry>, StorageError> {
        let inner = self.lock();
        if low <= inner.base_index {
            return Err(StorageError::Compacted);
        }
        if high > inner.last() + 1 || low >= high {
            return Err(StorageError::Unavailable);
        }
        let range = (low - inner.first()) as usize..(high - inner.first()) as usize;
        let mut bytes = 0;
        let mut out = Vec::with_capacity(range.len().min(1024));
        for entry in inner.entries.range(range) {
            bytes += entry.encoded_len() as u64;
            if bytes > max_bytes && !out.is_empty() {
                break;
            }
            out.push(entry.clone());
        }
        Ok(out)
    }

    fn term(&self, index: u64) -> Result<u64, StorageError> {
        self.lock().term(index)
    }

    fn first_index(&self) -> Result<u64, StorageError> {
        Ok(self.lock().first())
    }

    fn last_index(&self) -> Result<u64, StorageError> {
        Ok(self.lock().last())
    }

    fn snapshot(&self, at_least: u64, _to: u64) -> Result<Snapshot, StorageError> {
        let inner = self.lock();
        if inner.snapshot.is_empty() || inner.snapshot.index() < at_least {
            return Err(StorageError::SnapshotTemporarilyUnavailable);
        }
        Ok(inner.snapshot.clone())
    }
}
