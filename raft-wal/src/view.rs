//! The log as a whole: which index is in which segment, and where the log begins and ends.

use std::collections::VecDeque;
use std::sync::Arc;

use raft_vfs::Vfs;

use crate::error::Result;
use crate::format::Run;
use crate::index::SegmentIndex;
use crate::segment::ClosedSegment;
use crate::types::Reset;

/// The entries `[lo, hi)` of a closed segment that are still live.
#[derive(Clone, Debug)]
pub(crate) struct Span<V: Vfs> {
    pub(crate) segment: Arc<ClosedSegment<V>>,
    pub(crate) lo: u64,
    pub(crate) hi: u64,
}

/// Where an entry is.
pub(crate) enum Place<'a, V: Vfs> {
    /// In a closed segment; live up to (excluding) the index given.
    Closed(&'a Arc<ClosedSegment<V>>, u64),
    /// In the newest segment.
    Tail,
}

/// The log from `first_index` to `next_index`.
///
/// Invariants: spans are not empty, ascending and adjacent; the last ends where the tail's entries
/// begin, if the tail has any, else at `next_index`. All of `[first_index, next_index)` is covered
/// once recovery is over.
#[derive(Clone, Debug)]
pub(crate) struct LogView<V: Vfs> {
    pub(crate) first_index: u64,
    pub(crate) next_index: u64,
    /// Term of `first_index - 1`, where there is such an entry.
    pub(crate) base_term: Option<u64>,
    /// Term of the last entry; the base term of an empty log. `None` where there is none, or where
    /// the entry was in a segment that a later compaction let go of: recovery passes through such
    /// states, but never ends in one.
    pub(crate) last_term: Option<u64>,
    pub(crate) spans: VecDeque<Span<V>>,
    /// The newest segment.
    pub(crate) tail: SegmentIndex,
}

impl<V: Vfs> LogView<V> {
    /// An empty log that begins at `first`.
    pub(crate) fn empty(first: u64) -> Self {
        Self {
            first_index: first,
            next_index: first,
            base_term: None,
            last_term: None,
            spans: VecDeque::new(),
            tail: SegmentIndex::new(first),
        }
    }

    /// Where `index` is, if it is in a segment at all.
    pub(crate) fn place(&self, index: u64) -> Option<Place<'_, V>> {
        if index >= self.next_index {
            return None;
        }
        if index >= self.tail.first && !self.tail.offsets.is_empty() {
            return Some(Place::Tail);
        }
        let at = self.spans.partition_point(|s| s.hi <= index);
        let span = self.spans.get(at).filter(|s| s.lo <= index)?;
        Some(Place::Closed(&span.segment, span.hi))
    }

    /// The term of `index`: of an entry, or of the one just before the first. `None` where the log
    /// does not know.
    pub(crate) fn term(&self, index: u64) -> Result<Option<u64>> {
        if index.checked_add(1) == Some(self.first_index) {
            return Ok(self.base_term);
        }
        let is_last = index.checked_add(1) == Some(self.next_index);
        if is_last && self.next_index > self.first_index && self.last_term.is_some() {
            return Ok(self.last_term);
        }
        match self.place(index) {
            Some(Place::Tail) => Ok(self.tail.term(index)),
            Some(Place::Closed(segment, _)) => segment.term(index),
            None => Ok(None),
        }
    }

    /// The lowest index from which on every entry is there.
    pub(crate) fn covered_from(&self) -> u64 {
        match self.spans.front() {
            Some(span) => span.lo,
            None if !self.tail.offsets.is_empty() => self.tail.first,
            None => self.next_index,
        }
    }

    /// Entries below `first` are no longer part of the log.
    pub(crate) fn compact(&mut self, first: u64, base_term: Option<u64>) {
        if first <= self.first_index {
            return;
        }
        self.first_index = first;
        self.base_term = base_term;
        while self.spans.front().is_some_and(|s| s.hi <= first) {
            self.spans.pop_front();
        }
        if first == self.next_index {
            self.last_term = base_term;
        }
    }

    /// After recovery every entry is there: the last one's term is known or can be looked up.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if self.last_term.is_none()
            && let Some(last) = self.next_index.checked_sub(1)
        {
            self.last_term = self.term(last)?;
        }
        Ok(())
    }

    /// The log is emptied and moved.
    pub(crate) fn reset(&mut self, r: &Reset) {
        self.spans.clear();
        self.tail.reset(r.first_index);
        self.first_index = r.first_index;
        self.next_index = r.first_index;
        self.base_term = r.base_term;
        self.last_term = r.base_term;
    }

    /// Entries from `from` on go.
    pub(crate) fn truncate(&mut self, from: u64) -> Result<()> {
        let last_term = match from.checked_sub(1) {
            Some(last) if from > self.first_index => self.term(last)?,
            _ => self.base_term,
        };
        while self.spans.back().is_some_and(|s| s.lo >= from) {
            self.spans.pop_back();
        }
        if let Some(span) = self.spans.back_mut() {
            span.hi = span.hi.min(from);
        }
        self.tail.truncate(from);
        self.next_index = from;
        self.last_term = last_term;
        Ok(())
    }

    /// Entries are added.
    pub(crate) fn push(&mut self, first: u64, offsets: &[u32], runs: &[Run]) {
        if let Some(run) = runs.last() {
            self.tail.push(first, offsets, runs);
            self.next_index = self.tail.next();
            self.last_term = Some(run.term);
        }
    }

    /// The newest segment is closed and a new one begins.
    pub(crate) fn close_tail(&mut self, segment: Arc<ClosedSegment<V>>) {
        let (lo, hi) = (self.tail.first.max(self.first_index), self.tail.next());
        if lo < hi {
            self.spans.push_back(Span { segment, lo, hi });
        }
        self.tail = SegmentIndex::new(self.next_index);
    }
}
