//! The newest part of the log: what is not known to be on disk, entries and a snapshot that came
//! in, and before it entries that are, but are not applied, and so are about to be read.
//!
//! It shadows the storage: where both have an index, the storage's entry is about to be replaced.

use std::collections::VecDeque;

use crate::message::{Entry, Snapshot};

/// Invariants: entry `i` has the index `base + i`; `base <= offset <= offset_in_progress <= end`;
/// with a snapshot, `base > snapshot.index`. Entries from `offset` on are unstable; `in_progress`
/// parts are being written, the rest is not yet.
#[derive(Debug)]
pub(crate) struct Unstable {
    snapshot: Option<Snapshot>,
    snapshot_in_progress: bool,
    entries: VecDeque<Entry>,
    base: u64,
    offset: u64,
    offset_in_progress: u64,
    /// Payload bytes of the entries before `offset`.
    stable_bytes: u64,
}

impl Unstable {
    /// Nothing is unstable; the next entry has the index `offset`.
    pub(crate) fn new(offset: u64) -> Self {
        Self {
            snapshot: None,
            snapshot_in_progress: false,
            entries: VecDeque::new(),
            base: offset,
            offset,
            offset_in_progress: offset,
            stable_bytes: 0,
        }
    }

    /// The first index that is here.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// The first index that is not stable.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// One past the last index.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
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
        self.entries.get(index.checked_sub(self.base)? as usize)
    }

    pub(crate) fn last(&self) -> Option<&Entry> {
        self.entries.back()
    }

    /// Entries `[low, high)`, which the caller knows to be there, in two parts.
    pub(crate) fn range(&self, low: u64, high: u64) -> [&[Entry]; 2] {
        let (front, back) = self.entries.as_slices();
        let part = |part: &'_ [Entry], begin: u64| {
            let at = |index: u64| (index.saturating_sub(begin) as usize).min(part.len());
            at(low)..at(high).max(at(low))
        };
        let middle = self.base + front.len() as u64;
        [&front[part(front, self.base)], &back[part(back, middle)]]
    }

    /// Entries that are to be written and not being written, in two parts.
    pub(crate) fn next_entries(&self) -> [&[Entry]; 2] {
        self.range(self.offset_in_progress, self.end())
    }

    pub(crate) fn has_next_entries(&self) -> bool {
        self.offset_in_progress < self.end()
    }

    pub(crate) fn has_entries(&self) -> bool {
        self.offset < self.end()
    }

    /// Everything that was to be written is being written.
    pub(crate) fn accept(&mut self) {
        self.offset_in_progress = self.end();
        self.snapshot_in_progress = self.snapshot.is_some();
    }

    /// Entries up to `index`, of which the last has `term`, are on disk, if that is so: what was
    /// replaced meanwhile is not what was written.
    pub(crate) fn stable_to(&mut self, index: u64, term: u64) {
        if index < self.offset || self.get(index).is_none_or(|e| e.term != term) {
            return;
        }
        self.stable_bytes += payload_size(self.range(self.offset, index + 1).into_iter().flatten());
        self.offset = index + 1;
        self.offset_in_progress = self.offset_in_progress.max(self.offset);
    }

    /// Forgets stable entries up to `index`, and the oldest others that are more than `max_bytes`
    /// of payload. Returns the term of the last that was forgotten.
    pub(crate) fn forget(&mut self, index: u64, max_bytes: u64) -> Option<u64> {
        let mut term = None;
        while self.base < self.offset && (self.base <= index || self.stable_bytes > max_bytes) {
            let entry = self.entries.pop_front()?;
            self.base += 1;
            self.stable_bytes -= entry.data.len() as u64;
            term = Some(entry.term);
        }
        term
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
        if first < self.base {
            self.entries.clear();
            self.base = first;
        } else {
            self.entries.truncate((first - self.base) as usize);
        }
        if first < self.offset {
            // Storage has entries from `first` on: the next write replaces them.
            self.offset = first;
            self.stable_bytes = payload_size(&self.entries);
        }
        // What is being written from `first` on is not what is in the log any more.
        self.offset_in_progress = self.offset_in_progress.min(first);
        self.entries.push_back(entry);
        self.entries.extend(entries);
    }
}

fn payload_size<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> u64 {
    entries.into_iter().map(|entry| entry.data.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries `low..=high` of a term, 10 bytes each.
    fn entries(low: u64, high: u64, term: u64) -> Vec<Entry> {
        let data = bytes::Bytes::from_static(&[7; 10]);
        let entry = |index| Entry { term, index, data: data.clone(), ..Entry::default() };
        (low..=high).map(entry).collect()
    }

    /// Entries 1 to 6, of which 1 to 4 are stable.
    fn four_stable() -> Unstable {
        let mut log = Unstable::new(1);
        log.truncate_and_append(entries(1, 6, 1));
        log.accept();
        log.stable_to(4, 1);
        log
    }

    fn indexes(parts: [&[Entry]; 2]) -> Vec<u64> {
        parts.into_iter().flatten().map(|entry| entry.index).collect()
    }

    #[test]
    fn what_is_stable_stays_at_hand_until_it_is_applied() {
        let mut log = four_stable();
        assert_eq!((log.base(), log.offset()), (1, 5));
        assert_eq!(indexes(log.range(2, 6)), [2, 3, 4, 5]);
        assert_eq!(log.forget(3, u64::MAX), Some(1));
        assert_eq!((log.base(), log.get(3)), (4, None));
        assert_eq!(log.forget(6, u64::MAX), Some(1));
        // What is not on disk is never forgotten.
        assert_eq!((log.base(), log.offset(), log.end()), (5, 5, 7));
        assert_eq!(log.forget(6, 0), None);
    }

    #[test]
    fn no_more_stable_entries_than_the_limit_stay_at_hand() {
        let mut log = four_stable();
        assert_eq!(log.forget(0, 20), Some(1));
        assert_eq!(indexes(log.range(0, 9)), [3, 4, 5, 6]);
        assert_eq!(log.forget(0, 19), Some(1));
        assert_eq!(log.forget(0, 9), Some(1));
        assert_eq!((log.base(), log.end()), (5, 7));
    }

    #[test]
    fn replaced_entries_are_unstable_again_and_count_no_more() {
        let mut log = four_stable();
        log.truncate_and_append(entries(3, 4, 2));
        assert_eq!((log.base(), log.offset(), log.end()), (1, 3, 5));
        assert_eq!(indexes(log.next_entries()), [3, 4]);
        assert_eq!(log.forget(0, 20), None);
        // The writes that are under way were of what is gone.
        log.stable_to(4, 1);
        assert_eq!(log.offset(), 3);
        log.truncate_and_append(entries(1, 1, 3));
        assert_eq!((log.base(), log.offset(), log.end()), (1, 1, 2));
    }

    #[test]
    fn a_range_is_whole_wherever_the_ring_wraps() {
        let mut log = Unstable::new(1);
        for index in 1..200 {
            log.truncate_and_append(entries(index, index, 1));
            log.stable_to(index, 1);
            log.forget(index.saturating_sub(5), u64::MAX);
            let low = index.saturating_sub(4).max(1);
            assert_eq!(indexes(log.range(low, index + 1)), (low..=index).collect::<Vec<_>>());
            assert_eq!(indexes(log.range(index, index + 1)), [index]);
        }
    }
}
