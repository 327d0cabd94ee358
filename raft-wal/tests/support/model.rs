//! The reference: what a log holds after a series of batches, in the plainest terms. It knows
//! nothing of files, and shares nothing with the log but the types of its interface.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use raft_wal::{Batch, Entry, HardState, SnapshotMark};

/// Everything that a log can be asked for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) first: u64,
    /// Term of `first - 1`.
    pub(crate) base_term: Option<u64>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) hard_state: HardState,
    pub(crate) snapshot: Option<SnapshotMark>,
    pub(crate) metadata: Option<Bytes>,
    pub(crate) blobs: BTreeMap<Bytes, Bytes>,
}

impl Model {
    /// A log that never held anything.
    pub(crate) fn new(first: u64) -> Self {
        Self {
            first,
            base_term: None,
            entries: Vec::new(),
            hard_state: HardState::default(),
            snapshot: None,
            metadata: None,
            blobs: BTreeMap::new(),
        }
    }

    /// One past the last index.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(crate) fn entry(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// Term of an entry or of the one before the first.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        let before = index.checked_add(1) == Some(self.first);
        if before { self.base_term } else { self.entry(index).map(|e| e.term) }
    }

    /// Term of the last entry, or of the one before the first.
    pub(crate) fn last_term(&self) -> Option<u64> {
        self.entries.last().map(|e| e.term).or(self.base_term)
    }

    fn cut(&mut self, from: u64) {
        self.entries.truncate(from.saturating_sub(self.first) as usize);
    }

    /// Applies a batch that keeps the rules.
    pub(crate) fn apply(&mut self, batch: &Batch) {
        if let Some(index) = batch.compact {
            self.base_term = index.checked_sub(1).and_then(|before| self.term(before));
            self.entries.drain(..(index - self.first) as usize);
            self.first = index;
        }
        if let Some(reset) = batch.reset {
            self.entries.clear();
            (self.first, self.base_term) = (reset.first_index, reset.base_term);
            // A marker at or above the new beginning speaks of a log that was given up.
            self.snapshot = self.snapshot.take().filter(|s| s.index < reset.first_index);
        }
        if let Some(mark) = &batch.snapshot {
            self.snapshot = Some(mark.clone());
        }
        if let Some(from) = batch.truncate {
            self.cut(from);
        }
        if let Some(first) = batch.entries.first() {
            self.cut(first.index);
        }
        self.entries.extend(batch.entries.iter().cloned());
        self.hard_state = batch.hard_state.unwrap_or(self.hard_state);
        self.metadata = batch.metadata.clone().or(self.metadata.take());
        for (key, value) in &batch.blobs {
            if value.is_empty() {
                self.blobs.remove(key);
            } else {
                self.blobs.insert(key.clone(), value.clone());
            }
        }
    }

    /// Whether the logs are equal, term and vote aside.
    pub(crate) fn is_but_for_vote(&self, other: &Self) -> bool {
        let mut same = other.clone();
        same.hard_state.term = self.hard_state.term;
        same.hard_state.vote = self.hard_state.vote;
        same == *self
    }

    /// The first thing in which two logs differ.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let entry = |m: &Self, i| m.entry(i).map(|e| (e.term, e.kind, e.data.len()));
        let indexes = self.first.min(other.first)..self.next().max(other.next());
        let mut differing = indexes.filter(|&i| self.entry(i) != other.entry(i));
        if (self.first, self.next()) != (other.first, other.next()) {
            Some(format!("{self:?} against {other:?}"))
        } else if let Some(i) = differing.next() {
            Some(format!("entry {i}: {:?} against {:?}", entry(self, i), entry(other, i)))
        } else if self != other {
            Some(format!("{self:?} against {other:?}"))
        } else {
            None
        }
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HardState { term, vote, commit } = self.hard_state;
        let snapshot = self.snapshot.as_ref().map(|s| (s.index, s.term));
        let metadata = self.metadata.as_ref().map(Bytes::len);
        write!(f, "[{}, {}) base {:?}", self.first, self.next(), self.base_term)?;
        write!(f, " state {term}/{vote}/{commit} snapshot {snapshot:?} metadata {metadata:?}")?;
        f.debug_map().entries(self.blobs.iter().map(|(k, v)| (k, v.len()))).finish()
    }
}
