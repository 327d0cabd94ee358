//! Looking at a damaged log: everything that is wrong with it, and what is still sound.
//!
//! Recovery stops at the first damage. A survey goes on: it scans each segment past its bad
//! frames and replays what is left, keeping account of what a lost batch may have changed. An
//! entry counts as sound only if no lost batch can have replaced it: a batch whose header is
//! unreadable may have truncated anything above the commit index.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use raft_vfs::{Vfs, VfsFile};

use crate::dir::{Ident, Names};
use crate::error::{Acked, Corrupt, CorruptKind, Error, LostRange, Result};
use crate::format::{Base, Control, FIRST_FRAME, FRAME_HEADER_LEN, FrameHeader, flags};
use crate::index::SegmentIndex;
use crate::inspect::next_frame;
use crate::paths::{Paths, io_error};
use crate::recover::{SegmentFile, load_segment, refuse_unsupported};
use crate::scan::{Check, Frame, Scanner, Step, Stop, look_ahead};
use crate::segment::{Budget, Cut, RecordReader, bad_record};
use crate::types::{Entry, HardState, SnapshotMark};

/// A stretch of the log.
#[derive(Debug)]
enum Block {
    /// Entries of segment number `seq` that nothing can have replaced.
    Sound { seq: u64, index: SegmentIndex },
    /// Indexes `[lo, hi)` whose entries are gone.
    Lost { lo: u64, hi: u64 },
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

/// What a survey found.
#[derive(Debug)]
pub(crate) struct Survey<V: Vfs> {
    segments: BTreeMap<u64, SegmentFile<V::File>>,
    /// The log, oldest first; adjacent and without overlap.
    blocks: Vec<Block>,
    pub(crate) problems: Vec<Corrupt>,
    pub(crate) first_index: u64,
    pub(crate) next_index: u64,
    pub(crate) hard_state: HardState,
    /// Whether no batch is lost that may have held a newer hard state.
    pub(crate) hard_state_certain: bool,
    /// Whether the log may have gone on behind its last sound batch.
    pub(crate) open_end: bool,
    pub(crate) snapshot: Option<SnapshotMark>,
    pub(crate) metadata: Option<Bytes>,
    pub(crate) blobs: BTreeMap<Bytes, Bytes>,
    last: Option<Cut>,
    /// The first bad frame since the last sound one.
    pending: Option<Stop>,
    /// Numbers of files that are not what they should be.
    unusable: Vec<u64>,
}

/// A segment of the walk and where its successor cut it, if that is known.
struct Leg {
    seq: u64,
    cut: Option<Cut>,
}

/// Surveys the log of a directory.
///
/// # Errors
/// Only those of reading; damage is what it looks for.
pub(crate) fn survey<V: Vfs>(
    vfs: &V,
    paths: &Paths,
    ident: &Ident,
    names: &Names,
) -> Result<Survey<V>> {
    let mut s = Survey {
        segments: BTreeMap::new(),
        blocks: Vec::new(),
        problems: Vec::new(),
        first_index: 0,
        next_index: 0,
        hard_state: HardState::default(),
        hard_state_certain: true,
        open_end: false,
        snapshot: None,
        metadata: None,
        blobs: BTreeMap::new(),
        last: None,
        pending: None,
        unusable: Vec::new(),
    };
    for &seq in &names.segments {
        s.load(load_segment(vfs, paths, seq)?, ident);
    }
    let legs = s.walk(paths, ident)?;
    for (i, leg) in legs.iter().enumerate() {
        s.replay(leg, i + 1 == legs.len())?;
    }
    if s.open_end {
        s.lose_open_end();
    }
    s.raise_to_marks();
    Ok(s)
}

impl<V: Vfs> Survey<V> {
    fn problem(&mut self, kind: CorruptKind, path: PathBuf, offset: u64, what: [String; 2]) {
        let [expected, found] = what;
        let advice = "refill what is lost from a peer, or restore the file from a copy";
        let (batch_seq, lost, acked) = (0, None, Acked::Proven);
        let c = Corrupt { kind, path, offset, batch_seq, expected, found, lost, acked, advice };
        self.problems.push(c);
    }

    /// Takes a segment in, unless it cannot belong to the log.
    fn load(&mut self, f: SegmentFile<V::File>, ident: &Ident) {
        let expected = || "a header in page 0 or in a mark page, two of them alike".to_owned();
        let fault = match f.header {
            None => Some((CorruptKind::Header, [expected(), "none".into()])),
            Some(h) if h.wal_uuid != ident.page.wal_uuid => {
                Some((CorruptKind::Header, ["this log's uuid".into(), "another log's".into()]))
            }
            Some(h) if h.seq != f.seq => {
                let what = [format!("segment {}", f.seq), format!("segment {}", h.seq)];
                Some((CorruptKind::Name, what))
            }
            Some(_) => None,
        };
        match fault {
            Some((kind, what)) => {
                self.unusable.push(f.seq);
                self.problem(kind, f.path, 0, what);
            }
            None => {
                self.segments.insert(f.seq, f);
            }
        }
    }

    /// The segments of the log, oldest first, as far as Base records tell; where one is missing
    /// or its first batch is bad, the next older file is taken.
    fn walk(&mut self, paths: &Paths, ident: &Ident) -> Result<Vec<Leg>> {
        let mut legs = Vec::new();
        let (mut floor, mut cut) = (0, None);
        let mut at = self.newest(paths, ident)?;
        while let Some(seq) = at {
            let Some(f) = self.segments.get(&seq) else {
                self.missing(paths, seq, "a file that the log stands on");
                self.hard_state_certain = false;
                (at, cut) = (self.older(seq, floor), None);
                continue;
            };
            let (base, its_floor) = first_batch(f)?;
            floor = floor.max(its_floor);
            legs.push(Leg { seq, cut });
            (at, cut) = match base {
                Some(b) if b.prev_segment == 0 || b.prev_segment < floor => (None, None),
                Some(b) if b.prev_segment < seq => {
                    let c =
                        Cut { batch_seq: b.prev_batch_seq, chain: b.prev_chain, end: b.prev_end };
                    (Some(b.prev_segment), Some(c))
                }
                _ => (self.older(seq, floor), None),
            };
        }
        legs.reverse();
        Ok(legs)
    }

    fn older(&self, than: u64, floor: u64) -> Option<u64> {
        self.segments.range(floor..than).next_back().map(|(&seq, _)| seq)
    }

    /// The newest segment in which anything was written, and a complaint about each file that HEAD
    /// or SEAL says must exist.
    fn newest(&mut self, paths: &Paths, ident: &Ident) -> Result<Option<u64>> {
        let mut newest = None;
        for (&seq, f) in self.segments.iter().rev() {
            if has_frames(f)? {
                newest = Some(seq);
                break;
            }
        }
        let head = ident.head;
        let mut wanted = Vec::new();
        if head.start_seq > newest.unwrap_or(0) {
            wanted.extend([head.start_seq, head.live_seq, head.proven_seq]);
        }
        if let Some(f) = newest.and_then(|n| self.segments.get(&n)) {
            wanted.extend(sealed_next(f)?);
        }
        for seq in wanted {
            if seq != 0 && !self.segments.contains_key(&seq) {
                self.missing(paths, seq, "a file that was in use");
                self.end_is_open();
            }
        }
        if self.unusable.iter().any(|&seq| seq > newest.unwrap_or(0)) {
            self.end_is_open();
        }
        self.complain_of_short(newest.unwrap_or(0));
        Ok(newest)
    }

    /// A segment that should be there is not; said once.
    fn missing(&mut self, paths: &Paths, seq: u64, expected: &str) {
        let path = paths.segment(seq);
        if !self.problems.iter().any(|p| p.path == path) {
            let what = [expected.to_owned(), "no such file".into()];
            self.problem(CorruptKind::MissingSegment, path, 0, what);
        }
    }

    /// The newest segment and those behind it have their whole length; see `refuse_short`.
    fn complain_of_short(&mut self, newest: u64) {
        let mut short = Vec::new();
        for f in self.segments.range(newest..).map(|(_, f)| f) {
            if let Some(h) = f.header.filter(|h| f.len < h.capacity) {
                short.push((f.path.clone(), f.len, h.capacity));
            }
        }
        for (path, len, capacity) in short {
            let what = [format!("{capacity} bytes"), format!("{len} bytes")];
            self.problem(CorruptKind::Length, path, len, what);
            self.end_is_open();
        }
    }

    /// The log may have gone on behind what is readable.
    fn end_is_open(&mut self) {
        self.hard_state_certain = false;
        self.open_end = true;
    }

    /// Replays one segment, past its bad frames.
    fn replay(&mut self, leg: &Leg, is_last: bool) -> Result<()> {
        let Some(f) = self.segments.remove(&leg.seq) else { return Ok(()) };
        let result = self.replay_file(&f, leg, is_last);
        self.segments.insert(leg.seq, f);
        result
    }

    fn replay_file(&mut self, f: &SegmentFile<V::File>, leg: &Leg, is_last: bool) -> Result<()> {
        let fault = |e| io_error("read", &f.path, None, e);
        let Some(header) = f.header else { return Ok(()) };
        let promised = promised_end(f)?;
        let end = leg.cut.map_or(f.len, |c| c.end.min(f.len));
        let mut scanner = Scanner::new(&f.file, header.salt, end, Check::Full);
        loop {
            match scanner.step().map_err(fault)? {
                Step::Frame => {
                    let frame = scanner.frame();
                    self.bridge(frame);
                    self.apply(frame, leg.seq);
                    if frame.seal().is_some() || leg.cut.is_some_and(|c| c.end == frame.end) {
                        break;
                    }
                }
                Step::Stop(stop) => {
                    let due = leg.cut.map_or(promised, |c| c.end);
                    if stop.offset >= due {
                        break;
                    }
                    refuse_unsupported(&f.path, Some(&stop))?;
                    self.bad_frame(f, &stop, due);
                    let next = next_frame(&f.file, header.salt, end, stop.offset + 8);
                    let next = next.map_err(fault)?.filter(|&n| n < due.max(promised));
                    self.pending.get_or_insert(stop);
                    if let Some(n) = next {
                        scanner.resume_at(n);
                        continue;
                    }
                    if is_last {
                        self.lose_end(due);
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    fn bad_frame(&mut self, f: &SegmentFile<V::File>, stop: &Stop, durable_to: u64) {
        let expected = format!("{}, durable up to {durable_to}", stop.expected);
        let kind =
            if stop.offset == FIRST_FRAME { CorruptKind::SegmentStart } else { CorruptKind::Batch };
        self.problem(kind, f.path.clone(), stop.offset, [expected, stop.found.clone()]);
        self.hard_state_certain = false;
    }

    /// Accounts for the batches between the last sound one and `next`.
    fn bridge(&mut self, next: &Frame) {
        let bad = self.pending.take();
        let follows = self.last.is_none_or(|l| {
            (l.batch_seq.wrapping_add(1), l.chain) == (next.header.batch_seq, next.header.chain)
        });
        let base = next.base();
        if self.last.is_none() {
            if let Some(b) = base {
                self.first_index = b.first_index;
                self.next_index = b.next_index;
                self.lost(b.first_index, b.next_index);
            } else {
                self.next_index = next.header.first_index;
                self.first_index = self.next_index;
            }
        } else if !follows {
            let resumes_at = base.map_or(next.header.first_index, |b| b.next_index);
            let named = bad.and_then(|s| s.header).filter(|h| self.names_the_gap(h, next));
            match named {
                Some(h) => self.lose_named(&h),
                None => self.lose_unknown(resumes_at),
            }
        }
        self.last = Some(Cut {
            batch_seq: next.header.batch_seq,
            chain: next.header.header_crc,
            end: next.end,
        });
    }

    /// Whether the readable header of a bad batch accounts for everything before `next`.
    fn names_the_gap(&self, h: &FrameHeader, next: &Frame) -> bool {
        let last = self.last.map_or(0, |l| l.batch_seq);
        h.batch_seq == last.wrapping_add(1)
            && next.header.batch_seq == h.batch_seq.wrapping_add(1)
            && next.header.chain == h.header_crc
    }

    /// A lost batch whose header is readable: what it replaced and held is known exactly.
    fn lose_named(&mut self, h: &FrameHeader) {
        if h.has(flags::RESET) {
            self.truncate(0);
            self.first_index = h.first_index;
        }
        self.truncate(h.first_index);
        let end = h.first_index.saturating_add(u64::from(h.n_entries));
        self.lost(h.first_index, end);
        self.next_index = end;
    }

    /// Lost batches of which nothing is known but that the log went on at `resumes_at`.
    fn lose_unknown(&mut self, resumes_at: u64) {
        let safe = self.hard_state.commit.saturating_add(1).min(self.next_index).min(resumes_at);
        self.truncate(safe);
        self.lost(safe, resumes_at);
        self.next_index = resumes_at;
    }

    /// The end of the log is lost, up to `due` in the newest segment. If that is one batch whose
    /// header is readable, it is known what is lost; else anything may be.
    fn lose_end(&mut self, due: u64) {
        let named = self.pending.take().and_then(|s| Some((s.offset, s.header?)));
        let named = named.filter(|(offset, h)| {
            let end = offset + FRAME_HEADER_LEN + u64::from(h.body_len);
            let next = self.last.is_some_and(|l| l.batch_seq.wrapping_add(1) == h.batch_seq);
            next && end == due
        });
        match named {
            Some((_, h)) => self.lose_named(&h),
            None => self.end_is_open(),
        }
    }

    /// What is lost behind the end may have replaced everything above the commit index.
    fn lose_open_end(&mut self) {
        let was = self.next_index;
        self.lose_unknown(was);
    }

    fn lost(&mut self, lo: u64, hi: u64) {
        if lo < hi {
            self.blocks.push(Block::Lost { lo, hi });
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

    /// Replays a sound batch.
    fn apply(&mut self, frame: &Frame, seq: u64) {
        if frame.base().is_some() {
            self.metadata = None;
            self.blobs.clear();
        }
        for (_, c) in &frame.controls {
            match c {
                Control::Metadata(m) => self.metadata = Some(m.clone()),
                Control::Blob { key, value } if value.is_empty() => {
                    self.blobs.remove(key);
                }
                Control::Blob { key, value } => {
                    self.blobs.insert(key.clone(), value.clone());
                }
                Control::Compact { first_index, .. } => self.compact(*first_index),
                Control::Snap(m) => self.snapshot = Some(m.clone()),
                Control::Reset(r) => {
                    self.blocks.clear();
                    (self.first_index, self.next_index) = (r.first_index, r.first_index);
                }
                Control::Truncate(from) => self.truncate(*from),
                Control::State(s) => {
                    self.hard_state = *s;
                    self.hard_state_certain = true;
                }
                Control::Base(_) | Control::Seal { .. } => {}
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
        self.next_index = first + frame.offsets.len() as u64;
    }

    fn compact(&mut self, first: u64) {
        self.first_index = self.first_index.max(first);
        self.blocks.retain(|b| b.hi() > first);
        if let Some(Block::Lost { lo, .. }) = self.blocks.first_mut() {
            *lo = (*lo).max(first);
        }
    }

    /// The marks of every segment repeat term and vote; a node never goes back behind one.
    fn raise_to_marks(&mut self) {
        for m in self.segments.values().flat_map(|f| &f.marks) {
            let newer = (m.term, m.vote != 0) > (self.hard_state.term, self.hard_state.vote != 0);
            if m.state_off != 0 && newer {
                (self.hard_state.term, self.hard_state.vote) = (m.term, m.vote);
            }
        }
    }

    /// The lost ranges, oldest first.
    pub(crate) fn lost_ranges(&self) -> Vec<LostRange> {
        let mut out: Vec<LostRange> = Vec::new();
        for b in &self.blocks {
            let Block::Lost { lo, hi } = b else { continue };
            match out.last_mut() {
                Some(r) if r.last.and_then(|l| l.checked_add(1)) == Some(*lo) => {
                    r.last = hi.checked_sub(1);
                }
                _ => out.push(LostRange { first: *lo, last: hi.checked_sub(1), term: None }),
            }
        }
        if self.open_end {
            match out.last_mut() {
                Some(r) if r.last.and_then(|l| l.checked_add(1)) == Some(self.next_index) => {
                    r.last = None;
                }
                _ => out.push(LostRange { first: self.next_index, last: None, term: None }),
            }
        }
        out
    }

    fn block(&self, index: u64) -> Option<&Block> {
        let at = self.blocks.partition_point(|b| b.hi() <= index);
        self.blocks.get(at).filter(|b| b.lo() <= index)
    }

    /// Term of a sound entry; `None` if it is lost or not in the log.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        match self.block(index) {
            Some(Block::Sound { index: i, .. }) if index >= self.first_index => i.term(index),
            _ => None,
        }
    }

    /// Reads sound entries `[low, high)`.
    pub(crate) fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>> {
        let mut out = Vec::new();
        let mut budget = Budget::new(max_bytes);
        for index in low..high {
            if index < self.first_index {
                return Err(Error::Compacted { index, first_index: self.first_index });
            }
            let unavailable = Error::Unavailable { index, next_index: self.next_index };
            let Block::Sound { seq, index: table } = self.block(index).ok_or(unavailable)? else {
                return Err(self.is_lost(index));
            };
            let f = self.segments.get(seq).filter(|f| f.header.is_some());
            let (Some(f), Some(at)) = (f, table.offset(index)) else {
                return Err(self.is_lost(index));
            };
            let salt = f.header.map_or(0, |h| h.salt);
            let read = RecordReader::file(&f.file, f.len).entry(salt, index, at);
            let read = read.map_err(|e| io_error("read", &f.path, Some(at), e))?;
            let entry = read.ok_or_else(|| bad_record(&f.path, index, at, 0, "the entry"))?;
            if !budget.take(&entry) {
                break;
            }
            out.push(entry);
        }
        Ok(out)
    }

    /// The error for an index in a lost range: that of the problem which took it.
    fn is_lost(&self, index: u64) -> Error {
        let lost = self
            .lost_ranges()
            .into_iter()
            .find(|r| r.first <= index && r.last.is_none_or(|last| index <= last));
        let mut c = self
            .problems
            .first()
            .cloned()
            .unwrap_or_else(|| bad_record(&PathBuf::new(), index, 0, 0, "an entry"));
        c.kind = CorruptKind::Gap;
        c.lost = lost;
        c.into()
    }
}

/// Whether anything was written behind the marks.
fn has_frames<F: VfsFile>(f: &SegmentFile<F>) -> Result<bool> {
    let Some(h) = f.header else { return Ok(false) };
    if f.marks.iter().any(|m| m.durable_to > FIRST_FRAME) {
        return Ok(true);
    }
    let first = next_frame(&f.file, h.salt, f.len, FIRST_FRAME);
    let first = first.map_err(|e| io_error("read", &f.path, Some(FIRST_FRAME), e))?;
    // A frame behind a bad first one counts if it promises that the first was durable.
    match first {
        Some(FIRST_FRAME) => Ok(true),
        Some(_) => Ok(promised_end(f)? > FIRST_FRAME),
        None => Ok(false),
    }
}

/// How far any promise in the segment reaches.
fn promised_end<F: VfsFile>(f: &SegmentFile<F>) -> Result<u64> {
    let Some(h) = f.header else { return Ok(0) };
    let marked = f.marks.iter().map(|m| m.durable_to).max().unwrap_or(0);
    let ahead = look_ahead(&f.file, h.salt, f.len, FIRST_FRAME, FIRST_FRAME, None);
    let ahead = ahead.map_err(|e| io_error("read", &f.path, Some(FIRST_FRAME), e))?;
    Ok(marked.max(ahead.promise.map_or(0, |p| p.durable_to)))
}

/// The Base of a segment, if its first batch is sound, and the highest floor its batches set.
fn first_batch<F: VfsFile>(f: &SegmentFile<F>) -> Result<(Option<Base>, u64)> {
    let Some(h) = f.header else { return Ok((None, 0)) };
    let mut scanner = Scanner::new(&f.file, h.salt, f.len, Check::Full);
    let (mut base, mut floor) = (None, 0);
    while scanner.step().map_err(|e| io_error("read", &f.path, None, e))? == Step::Frame {
        let frame = scanner.frame();
        base = base.or_else(|| frame.base().copied());
        for (_, c) in &frame.controls {
            floor = floor.max(match c {
                Control::Base(b) => b.floor_seq,
                Control::Compact { floor_seq, .. } => *floor_seq,
                Control::Reset(_) => f.seq,
                _ => 0,
            });
        }
    }
    Ok((base, floor))
}

/// The segment that a SEAL at the end of this one names.
fn sealed_next<F: VfsFile>(f: &SegmentFile<F>) -> Result<Option<u64>> {
    let Some(h) = f.header else { return Ok(None) };
    let mut scanner = Scanner::new(&f.file, h.salt, f.len, Check::Structure);
    loop {
        match scanner.step().map_err(|e| io_error("read", &f.path, None, e))? {
            Step::Frame => {
                if let Some((next, _)) = scanner.frame().seal() {
                    return Ok(Some(next));
                }
            }
            Step::Stop(_) => return Ok(None),
        }
    }
}
