//! The account of a damaged log: what is sound, what is lost, and what that leaves uncertain.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::{LostRange, Reject, Result};
use crate::format::{Base, Control, FRAME_HEADER_LEN, FrameHeader, flags};
use crate::index::SegmentIndex;
use crate::options::VoteRule;
use crate::recover::is_placed;
use crate::rules::{Before, Change, Verdict, check};
use crate::scan::{Frame, Stop};
use crate::segment::Cut;
use crate::types::{HardState, SnapshotMark};

/// A stretch of the log.
#[derive(Debug)]
pub(super) enum Block {
    /// Entries of segment number `seq` that nothing can have replaced.
    Sound { seq: u64, index: SegmentIndex },
    /// Indexes `[lo, hi)` whose entries are gone, by the problem with this number.
    Lost { lo: u64, hi: u64, problem: usize },
}

impl Block {
    fn lo(&self) -> u64 {
        match self {
            Self::Sound { index, .. } => index.first,
            Self::Lost { lo, .. } => *lo,
        }
    }

    fn hi(&self) -> u64 {
        match self {
            Self::Sound { index, .. } => index.next(),
            Self::Lost { hi, .. } => *hi,
        }
    }
}

/// What the sound batches amount to, and what the lost ones may have changed.
///
/// Invariant: blocks are ascending, adjacent and without overlap.
#[derive(Debug)]
pub(super) struct Ledger {
    blocks: Vec<Block>,
    pub(super) first_index: u64,
    pub(super) next_index: u64,
    pub(super) hard_state: HardState,
    pub(super) hard_state_certain: bool,
    /// The log may have gone on behind its last sound batch.
    pub(super) open_end: bool,
    pub(super) snapshot: Option<SnapshotMark>,
    pub(super) metadata: Option<Bytes>,
    pub(super) blobs: BTreeMap<Bytes, Bytes>,
    last: Option<Cut>,
    /// The last batch broke a rule: what it did is not known.
    broken: bool,
    /// The hard state by which the rules judge the newest segment, as long as every batch of it was
    /// sound. Without it only places are judged.
    strict: Option<HardState>,
    /// The first bad frame since the last sound one, and the number of its segment.
    pub(super) pending: Option<(u64, Stop)>,
    /// The problem that what is lost next is put down to.
    pub(super) problem: usize,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            blocks: Vec::new(),
            first_index: 0,
            next_index: 0,
            hard_state: HardState::default(),
            hard_state_certain: true,
            open_end: false,
            snapshot: None,
            metadata: None,
            blobs: BTreeMap::new(),
            last: None,
            broken: false,
            strict: None,
            pending: None,
            problem: 0,
        }
    }

    /// Whether `frame` is the next batch after the last sound one.
    pub(super) fn follows(&self, frame: &Frame) -> bool {
        let h = &frame.header;
        self.last.is_none_or(|l| (l.batch_seq.wrapping_add(1), l.chain) == (h.batch_seq, h.chain))
    }

    /// Whether `frame` is the next batch and yet begins a segment where the log does not end.
    pub(super) fn contradicts(&self, frame: &Frame) -> bool {
        let elsewhere = |b: &Base| b.next_index != self.next_index;
        let exact = self.last.is_some() && !self.broken && self.pending.is_none();
        exact && self.follows(frame) && frame.base().is_some_and(elsewhere)
    }

    /// A batch broke a rule: what it did is as unknown as if it were unreadable.
    pub(super) fn distrust(&mut self) {
        (self.broken, self.hard_state_certain) = (true, false);
    }

    /// Whether the last batch broke a rule.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Accounts for the batches between the last sound one and `next`, which is to be judged next.
    /// With `newest`, `next` is of the newest segment.
    pub(super) fn bridge(&mut self, next: &Frame, newest: bool) {
        let bad = self.pending.take();
        let broken = std::mem::take(&mut self.broken);
        let base = next.base();
        let resumes_at = base.map_or(next.header.first_index, |b| b.next_index);
        if self.last.is_none() {
            self.first_index = base.map_or(0, |b| b.first_index);
            self.next_index = resumes_at;
            self.lost(self.first_index, resumes_at);
        } else if broken {
            self.lose_unknown(resumes_at);
        } else if !self.follows(next) {
            self.strict = None;
            match bad.and_then(|(_, s)| s.header).filter(|h| self.names_the_gap(h, next)) {
                Some(h) => self.lose_named(&h),
                None => self.lose_unknown(resumes_at),
            }
        }
        let h = &next.header;
        self.last = Some(Cut { batch_seq: h.batch_seq, chain: h.header_crc, end: next.end });
        if broken {
            self.strict = None;
        }
        if let Some(b) = base {
            self.strict = newest.then(HardState::default);
            self.begin(b);
        }
    }

    /// A segment's first batch repeats everything that is live.
    fn begin(&mut self, b: &Base) {
        self.metadata = None;
        self.blobs.clear();
        self.snapshot = None;
        if b.first_index < self.first_index {
            self.lower_first(b.first_index);
        }
        self.compact(b.first_index);
    }

    /// Judges a bridged batch, as recovery would. Of what follows a lost batch only the places are
    /// judged: the rest is not known. Of closed segments (without `newest`) recovery asks for less.
    pub(super) fn judge(&self, frame: &Frame, newest: bool, votes: VoteRule) -> Verdict {
        if !newest {
            return self.judge_entries(frame);
        }
        let change = Change {
            controls: &frame.controls,
            first_index: frame.header.first_index,
            count: frame.offsets.len() as u64,
            runs: if self.strict.is_some() { &frame.runs } else { &[] },
        };
        check(self, &change, if self.strict.is_some() { votes } else { VoteRule::Unchecked })
    }

    /// Whether the readable header of a bad batch accounts for everything before `next`.
    fn names_the_gap(&self, h: &FrameHeader, next: &Frame) -> bool {
        self.is_next(h)
            && next.header.batch_seq == h.batch_seq.wrapping_add(1)
            && next.header.chain == h.header_crc
    }

    /// Whether a header is that of the batch after the last one, and places it where the rules let
    /// a batch stand. Otherwise it says no more than an unreadable one.
    fn is_next(&self, h: &FrameHeader) -> bool {
        is_placed(h, self.first_index, self.next_index)
            && self.last.is_some_and(|l| l.batch_seq.wrapping_add(1) == h.batch_seq)
    }

    /// A lost batch whose header is readable: what it replaced and held is known exactly.
    fn lose_named(&mut self, h: &FrameHeader) {
        if h.has(flags::RESET) {
            self.blocks.clear();
            self.first_index = h.first_index;
        }
        self.truncate(h.first_index);
        let end = h.first_index.saturating_add(u64::from(h.n_entries));
        self.lost(h.first_index, end);
        self.next_index = end;
    }

    /// Lost batches of which nothing is known but that the log went on at `resumes_at`.
    fn lose_unknown(&mut self, resumes_at: u64) {
        if resumes_at < self.first_index {
            // A reset to below the beginning is among what is lost.
            self.blocks.clear();
            (self.first_index, self.next_index) = (0, 0);
        }
        let committed = match self.hard_state.commit {
            0 => 0,
            commit => commit.saturating_add(1),
        };
        let safe = committed.max(self.first_index).min(self.next_index).min(resumes_at);
        self.truncate(safe);
        self.lost(safe, resumes_at);
        self.next_index = resumes_at;
    }

    /// Whether a batch of a closed segment goes on where the log ends.
    fn judge_entries(&self, frame: &Frame) -> Verdict {
        let mut next = self.next_index;
        for (_, c) in &frame.controls {
            match c {
                Control::Reset(r) => next = r.first_index,
                Control::Truncate(from) if *from > next => {
                    let (from, first_index) = (*from, self.first_index);
                    return Err(
                        Reject::TruncateRange { from, first_index, next_index: next }.into()
                    );
                }
                Control::Truncate(from) => next = *from,
                _ => {}
            }
        }
        let found = frame.header.first_index;
        if !frame.offsets.is_empty() && found != next {
            return Err(Reject::Index { expected: next, found }.into());
        }
        Ok(())
    }

    /// The end of the log is lost, up to `due` in the newest segment, number `seq`. If that is one
    /// batch whose header is readable, it is known what is lost; else anything may be.
    pub(super) fn lose_end(&mut self, seq: u64, due: u64) {
        let here = self.pending.take().filter(|(of, _)| *of == seq);
        let named = here.filter(|_| !self.broken).and_then(|(_, s)| Some((s.offset, s.header?)));
        let named = named.filter(|(offset, h)| {
            self.is_next(h) && offset + FRAME_HEADER_LEN + u64::from(h.body_len) == due
        });
        match named {
            Some((_, h)) => self.lose_named(&h),
            None => self.open_end = true,
        }
    }

    /// What is lost behind the end may have replaced everything above the commit index, and may
    /// have held a newer hard state.
    pub(super) fn close(&mut self) {
        self.open_end |= self.broken;
        if self.open_end {
            self.lose_unknown(self.next_index);
            self.hard_state_certain = false;
        }
    }

    /// Something is wrong that no batch could be blamed for: with `entries`, what is not committed
    /// may be lost, and in any case a vote may be.
    pub(super) fn doubt(&mut self, entries: bool) {
        self.open_end |= entries;
        self.hard_state_certain = false;
        self.close();
    }

    fn lost(&mut self, lo: u64, hi: u64) {
        if lo < hi {
            self.blocks.push(Block::Lost { lo, hi, problem: self.problem });
        }
    }

    fn truncate(&mut self, from: u64) {
        while self.blocks.last().is_some_and(|b| b.lo() >= from) {
            self.blocks.pop();
        }
        match self.blocks.last_mut() {
            Some(Block::Sound { index, .. }) => index.truncate(from),
            Some(Block::Lost { hi, .. }) => *hi = (*hi).min(from),
            None => {}
        }
        self.next_index = self.next_index.min(from);
    }

    /// Applies a sound batch, as recovery would.
    pub(super) fn apply(&mut self, frame: &Frame, seq: u64) {
        let brought = frame.controls.iter().any(|(_, c)| matches!(c, Control::Snap(_)));
        for (_, c) in &frame.controls {
            self.apply_control(c);
            if let Control::Reset(r) = c
                && !brought
                && self.snapshot.as_ref().is_some_and(|s| s.index >= r.first_index)
            {
                self.snapshot = None;
            }
        }
        let first = frame.header.first_index;
        if frame.offsets.is_empty() {
            return;
        }
        if let Some(Block::Sound { seq: s, index }) = self.blocks.last_mut()
            && *s == seq
            && index.next() == first
        {
            index.push(first, &frame.offsets, &frame.runs);
        } else {
            let mut index = SegmentIndex::new(first);
            index.push(first, &frame.offsets, &frame.runs);
            self.blocks.push(Block::Sound { seq, index });
        }
        self.next_index = first.saturating_add(frame.offsets.len() as u64);
    }

    fn apply_control(&mut self, c: &Control) {
        match c {
            Control::Metadata(m) => self.metadata = Some(m.clone()),
            Control::Blob { key, value } if value.is_empty() => {
                self.blobs.remove(key);
            }
            Control::Blob { key, value } => {
                self.blobs.insert(key.clone(), value.clone());
            }
            // One beyond the log counts nowhere: in the newest segment it breaks a rule.
            Control::Compact { first_index, .. } => {
                self.compact((*first_index).min(self.next_index));
            }
            Control::Snap(m) => self.snapshot = Some(m.clone()),
            Control::Reset(r) => {
                self.blocks.clear();
                (self.first_index, self.next_index) = (r.first_index, r.first_index);
            }
            Control::Truncate(from) => self.truncate(*from),
            Control::State(s) => {
                self.hard_state = *s;
                self.hard_state_certain = true;
                self.strict = self.strict.map(|_| *s);
            }
            Control::Base(_) | Control::Seal { .. } => {}
        }
    }

    /// The log begins lower than was known; what is there is not known either.
    fn lower_first(&mut self, first: u64) {
        let problem = self.problem;
        let hi = self.first_index.min(self.blocks.first().map_or(self.next_index, Block::lo));
        if first < hi {
            self.blocks.insert(0, Block::Lost { lo: first, hi, problem });
        }
        self.first_index = first;
    }

    fn compact(&mut self, first: u64) {
        self.first_index = self.first_index.max(first);
        self.blocks.retain(|b| b.hi() > first);
        if let Some(Block::Lost { lo, .. }) = self.blocks.first_mut() {
            *lo = (*lo).max(first);
        }
    }

    /// The lost ranges, oldest first.
    pub(super) fn lost_ranges(&self) -> Vec<LostRange> {
        let mut out: Vec<LostRange> = Vec::new();
        let mut add = |first: u64, last: Option<u64>| match out.last_mut() {
            Some(r) if r.last.and_then(|l| l.checked_add(1)) == Some(first) => r.last = last,
            _ => out.push(LostRange { first, last, term: None }),
        };
        for b in &self.blocks {
            if let Block::Lost { lo, hi, .. } = b {
                add(*lo, hi.checked_sub(1));
            }
        }
        if self.open_end {
            add(self.next_index, None);
        }
        out
    }

    /// The term of a sound entry, where the rules may ask for it.
    fn known_term(&self, index: u64) -> Option<u64> {
        self.strict?;
        match self.block(index)? {
            Block::Sound { index: table, .. } => table.term(index),
            Block::Lost { .. } => None,
        }
    }

    /// The stretch that holds `index`.
    pub(super) fn block(&self, index: u64) -> Option<&Block> {
        let at = self.blocks.partition_point(|b| b.hi() <= index);
        self.blocks.get(at).filter(|b| b.lo() <= index)
    }
}

/// As far as the log before a batch is known. Behind what is lost that is only where it ends.
impl Before for Ledger {
    fn bounds(&self) -> (u64, u64) {
        (self.strict.map_or(0, |_| self.first_index), self.next_index)
    }

    fn base_term(&self) -> Option<u64> {
        None
    }

    fn last_term(&self) -> Option<u64> {
        self.next_index.checked_sub(1).and_then(|last| self.known_term(last))
    }

    fn term(&self, index: u64) -> Result<Option<u64>> {
        Ok(self.known_term(index))
    }

    fn hard_state(&self) -> HardState {
        self.strict.unwrap_or_default()
    }

    fn snapshot(&self) -> Option<&SnapshotMark> {
        self.snapshot.as_ref().filter(|_| self.strict.is_some())
    }
}
