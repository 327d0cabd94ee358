//! What is in the log and not known to be on disk: the newest entries, and a snapshot that came in.
//!
//! It shadows the storage: where both have an index, the storage's entry is about to be replaced.

use std::collections::VecDeque;

use crate::message::{Entry, Snapshot};

/// Invariants: entry `i` has the index `offset + i`; `offset <= offset_in_progress <= end`; with a
/// snapshot, `offset > snapshot.index`. `in_progress` parts are being written, the rest is not yet.
#[derive(Debug)]
pub(crate) struct Unstable {
    snapshot: Option<Snapshot>,
    snapshot_in_progress: bool,
    entries: VecDeque<Entry>,
    offset: u64,
    offset_in_progress: u64,
}

impl Unstable {
    /// Nothing is unstable; the next entry has the index `offset`.
    pub(crate) fn new(offset: u64) -> Self {
        Self {
            snapshot: None,
            snapshot_in_progress: false,
            entries: VecDeque::new(),
            offset,
            offset_in_progress: offset,
        }
    }

    /// The first index that is not stable.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// One past the last index.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.entries.len() as u64
    }

    pub(crate) fn offset_in_progress(&self) -> u64 {
        self.offset_in_progress
    }

    /// The snapshot that is to be written or being written.
    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// The snapshot that is to be written and not being written.
    pub(crate) fn next_snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref().filter(|_| !self.snapshot_in_progress)
    }

    pub(crate) fn get(&self, index: u64) -> Option<&Entry> {
        self.entries.get(index.checked_sub(self.offset)? as usize)
    }

    pub(crate) fn last(&self) -> Option<&Entry> {
        self.entries.back()
    }

    /// Entries `[low, high)`, which the caller knows to be there.
    pub(crate) fn range(&self, low: u64, high: u64) -> impl Iterator<Item = &Entry> {
        let low = low.saturating_sub(self.offset) as usize;
        let high = (high.saturating_sub(self.offset) as usize).min(self.entries.len());
        self.entries.range(low.min(high)..high)
    }

    /// Entries that are to be written and not being written.
    pub(crate) fn next_entries(&self) -> impl Iterator<Item = &Entry> {
        self.range(self.offset_in_progress, self.end())
    }

    pub(crate) fn has_next_entries(&self) -> bool {
        self.offset_in_progress < self.end()
    }

    pub(crate) fn has_entries(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Everything that was to be written is being written.
    pub(crate) fn accept(&mut self) {
        self.offset_in_progress = self.end();
        self.snapshot_in_progress = self.snapshot.is_some();
    }

    /// Entries up to `index`, of which the last has `term`, are on disk. Returns whether that was
    /// so: what was replaced meanwhile is not what was written.
    pub(crate) fn stable_to(&mut self, index: u64, term: u64) -> bool {
        if self.get(index).is_none_or(|e| e.term != term) {
            return false;
        }
        self.entries.drain(..=(index - self.offset) as usize);
        self.offset = index + 1;
        self.offset_in_progress = self.offset_in_progress.max(self.offset);
        true
    }

    /// The snapshot of `index` is on disk.
    pub(crate) fn snapshot_stable(&mut self, index: u64) {
        if self.snapshot.as_ref().is_some_and(|s| s.index() == index) {
            self.snapshot = None;
            self.snapshot_in_progress = false;
        }
    }

    /// Replaces everything by a snapshot. Its index has a successor.
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        *self = Self::new(snapshot.index() + 1);
        self.snapshot = Some(snapshot);
    }

    /// Appends entries in place of whatever is at their indexes and behind. They are contiguous and
    /// leave no gap.
    pub(crate) fn truncate_and_append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let mut entries = entries.into_iter();
        let Some(entry) = entries.next() else { return };
        let first = entry.index;
        debug_assert!(first <= self.end(), "a gap before {first}, the log ends at {}", self.end());
        if first <= self.offset {
            // Storage has entries from `first` on: the next write replaces them.
            self.entries.clear();
            self.offset = first;
            self.offset_in_progress = first;
        } else {
            self.entries.truncate((first - self.offset) as usize);
            // What is being written from `first` on is not what is in the log any more.
            self.offset_in_progress = self.offset_in_progress.min(first);
        }
        self.entries.push_back(entry);
        self.entries.extend(entries);
    }
}
