//! Where the entries of one segment are: an offset each, and their terms in runs.

use crate::format::Run;
use crate::scan::Frame;

/// The entries of one segment as its frames leave them, with what the segment did to older ones.
///
/// Invariant: entry `first + i` is at `offsets[i] * 8`; runs are ascending, the first at `first`
/// unless there are no entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentIndex {
    pub(crate) first: u64,
    pub(crate) offsets: Vec<u32>,
    pub(crate) runs: Vec<Run>,
    /// Lowest index written, truncated or reset to; `u64::MAX` if none. Older segments' entries
    /// end below it.
    pub(crate) low: u64,
    /// A Reset was applied: older segments hold nothing.
    pub(crate) had_reset: bool,
}

impl SegmentIndex {
    /// An empty segment at the end of a log whose next index is `next`.
    pub(crate) fn new(next: u64) -> Self {
        Self { first: next, offsets: Vec::new(), runs: Vec::new(), low: u64::MAX, had_reset: false }
    }

    /// One past the last entry.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.offsets.len() as u64
    }

    /// Entries from `from` on go, here and in older segments.
    pub(crate) fn truncate(&mut self, from: u64) {
        self.low = self.low.min(from);
        if from <= self.first {
            self.offsets.clear();
            self.runs.clear();
            self.first = from;
        } else if from < self.next() {
            self.offsets.truncate((from - self.first) as usize);
            while self.runs.last().is_some_and(|r| r.index >= from) {
                self.runs.pop();
            }
        }
    }

    /// The log is emptied and continues at `first`.
    pub(crate) fn reset(&mut self, first: u64) {
        self.offsets.clear();
        self.runs.clear();
        self.first = first;
        self.low = self.low.min(first);
        self.had_reset = true;
    }

    /// Entries are added at the end.
    pub(crate) fn push(&mut self, first: u64, offsets: &[u32], runs: &[Run]) {
        if offsets.is_empty() {
            return;
        }
        debug_assert_eq!(first, self.next(), "entries are dense");
        self.low = self.low.min(first);
        self.offsets.extend_from_slice(offsets);
        for run in runs {
            if self.runs.last().is_none_or(|last| last.term != run.term) {
                self.runs.push(*run);
            }
        }
    }

    /// Takes over what a scanned frame does. `false` if its entries do not follow.
    pub(crate) fn apply(&mut self, frame: &Frame) -> bool {
        use crate::format::Control;
        for (_, c) in &frame.controls {
            match c {
                Control::Reset(r) => self.reset(r.first_index),
                Control::Truncate(from) if *from > self.next() => return false,
                Control::Truncate(from) => self.truncate(*from),
                _ => {}
            }
        }
        if frame.header.first_index != self.next() && !frame.offsets.is_empty() {
            return false;
        }
        self.push(frame.header.first_index, &frame.offsets, &frame.runs);
        true
    }

    /// Offset of an entry.
    pub(crate) fn offset(&self, index: u64) -> Option<u64> {
        let i = index.checked_sub(self.first)?;
        self.offsets.get(usize::try_from(i).ok()?).map(|&o| u64::from(o) * 8)
    }

    /// Term of an entry.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        if index < self.first || index >= self.next() {
            return None;
        }
        let after = self.runs.partition_point(|r| r.index <= index);
        self.runs.get(after.checked_sub(1)?).map(|r| r.term)
    }
}
