//! Looking at a damaged log: everything that is wrong with it, and what is still sound.
//!
//! Recovery stops at the first damage. A survey goes on: it scans each segment past its bad
//! frames and replays what is left, keeping account (`ledger`) of what a lost batch may have
//! changed. An entry counts as sound only if no lost batch can have replaced it: a batch whose
//! header is unreadable may have truncated anything above the commit index.

mod ledger;

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::path::PathBuf;

use bytes::Bytes;
use raft_vfs::{Vfs, VfsFile};

use self::ledger::{Block, Ledger};
use crate::dir::{Ident, Names};
use crate::error::{Acked, Corrupt, CorruptKind, Error, LostRange, Result};
use crate::format::{Base, Control, FIRST_FRAME};
use crate::options::VoteRule;
use crate::paths::{Paths, io_error};
use crate::recover::{SegmentFile, SegmentInfo, load_segment, refuse_unsupported};
use crate::rules::Broken;
use crate::scan::{Check, Frame, Scanner, Step, Stop, look_ahead};
use crate::segment::{Budget, Cut, RecordReader, bad_record};
use crate::types::{Entry, HardState, SnapshotMark};

/// How many problems are kept; the rest is counted.
const PROBLEMS_MAX: usize = 1000;

/// What a survey found.
#[derive(Debug)]
pub(crate) struct Survey<V: Vfs> {
    vfs: V,
    segments: BTreeMap<u64, SegmentInfo>,
    ledger: Ledger,
    problems: Vec<Corrupt>,
    /// Problems beyond those kept.
    uncounted: u64,
    /// Files that are not what they should be; told of where the log needs them.
    unusable: BTreeMap<u64, Fault>,
    /// Whether one term has one vote.
    votes: VoteRule,
}

/// What is wrong with a file.
#[derive(Debug)]
struct Fault {
    kind: CorruptKind,
    path: PathBuf,
    /// Expected and found.
    what: [String; 2],
}

/// A segment of the walk and where its successor cut it, if that is known.
struct Leg {
    seq: u64,
    cut: Option<Cut>,
}

/// Surveys the log of a directory.
///
/// # Errors
/// Only those of reading, and [`Error::Unsupported`]; damage is what it looks for.
pub(crate) fn survey<V: Vfs>(
    vfs: &V,
    paths: &Paths,
    ident: &Ident,
    names: &Names,
    votes: VoteRule,
) -> Result<Survey<V>> {
    let mut s = Survey {
        vfs: vfs.clone(),
        segments: BTreeMap::new(),
        ledger: Ledger::new(),
        problems: Vec::new(),
        uncounted: 0,
        unusable: BTreeMap::new(),
        votes,
    };
    for &seq in &names.segments {
        s.load(load_segment(vfs, paths, seq)?, ident);
    }
    let legs = s.walk(paths, ident)?;
    for (i, leg) in legs.iter().enumerate() {
        s.replay(leg, i + 1 == legs.len())?;
    }
    s.ledger.close();
    s.raise_to_marks();
    Ok(s)
}

impl<V: Vfs> Survey<V> {
    fn problem(&mut self, kind: CorruptKind, path: PathBuf, offset: u64, what: [String; 2]) {
        let [expected, found] = what;
        let advice = "refill what is lost from a peer, or restore the file from a copy";
        let (batch_seq, lost, acked) = (0, None, Acked::Proven);
        if self.problems.len() < PROBLEMS_MAX {
            let c = Corrupt { kind, path, offset, batch_seq, expected, found, lost, acked, advice };
            self.problems.push(c);
        } else {
            self.uncounted += 1;
        }
        self.ledger.problem = self.problems.len().saturating_sub(1);
    }

    /// Takes a segment in, unless it cannot belong to the log.
    fn load(&mut self, f: SegmentInfo, ident: &Ident) {
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
                self.unusable.insert(f.seq, Fault { kind, path: f.path, what });
            }
            None => {
                self.segments.insert(f.seq, f);
            }
        }
    }

    /// Complains of the files with these numbers that are not what they should be; says whether
    /// there are any.
    fn complain_of_unusable(&mut self, numbers: impl RangeBounds<u64>) -> bool {
        let numbers: Vec<u64> = self.unusable.range(numbers).map(|(&seq, _)| seq).collect();
        for seq in &numbers {
            if let Some(Fault { kind, path, what }) = self.unusable.remove(seq) {
                self.problem(kind, path, 0, what);
            }
        }
        !numbers.is_empty()
    }

    /// The segments of the log, oldest first, as far as Base records tell; where one is missing
    /// or its first batch is bad, the next older file is taken.
    fn walk(&mut self, paths: &Paths, ident: &Ident) -> Result<Vec<Leg>> {
        let mut legs = Vec::new();
        let (mut floor, mut cut, mut salt) = (0, None, None);
        let mut at = self.newest(paths, ident)?;
        while let Some(seq) = at {
            let other = |f: &&SegmentInfo| salt.is_none() || f.header.map(|h| h.salt) == salt;
            let Some(info) = self.segments.get(&seq).filter(other) else {
                self.missing(paths, seq, "a file that the log stands on");
                (at, cut, salt) = (self.older(seq, floor), None, None);
                continue;
            };
            let (base, its_floor) = first_batch(&info.open(&self.vfs)?)?;
            // Recovery reads the floors of the newest one alone.
            if its_floor > seq && legs.is_empty() {
                let what = [format!("a floor of at most {seq}"), format!("floor {its_floor}")];
                let path = info.path.clone();
                self.problem(CorruptKind::Rule, path, FIRST_FRAME, what);
            } else if its_floor <= seq {
                floor = floor.max(its_floor);
            }
            legs.push(Leg { seq, cut });
            (at, cut, salt) = match base {
                Some(b) if b.prev_segment == 0 || b.prev_segment < floor => (None, None, None),
                Some(b) if b.prev_segment < seq => {
                    let (batch_seq, chain) = (b.prev_batch_seq, b.prev_chain);
                    let c = Cut { batch_seq, chain, end: b.prev_end };
                    (Some(b.prev_segment), Some(c), Some(b.prev_salt))
                }
                _ => (self.older(seq, floor), None, None),
            };
        }
        legs.reverse();
        Ok(legs)
    }

    /// The next older file, where nothing says which one it was.
    fn older(&mut self, than: u64, floor: u64) -> Option<u64> {
        let mut range = self.segments.range(floor.min(than)..than);
        let older = range.next_back().map(|(&seq, _)| seq);
        self.complain_of_unusable(older.unwrap_or(floor).min(than)..than);
        older
    }

    /// The newest segment in which anything was written, and a complaint about each file that HEAD
    /// or SEAL says must exist.
    fn newest(&mut self, paths: &Paths, ident: &Ident) -> Result<Option<u64>> {
        let mut newest = None;
        for (&seq, info) in self.segments.iter().rev() {
            if has_frames(&info.open(&self.vfs)?)? {
                newest = Some(seq);
                break;
            }
        }
        let h_seq = newest.unwrap_or(0);
        let head = ident.head;
        let mut wanted = Vec::new();
        if head.start_seq > h_seq {
            wanted.extend([head.start_seq, head.live_seq, head.proven_seq]);
        }
        if let Some(info) = newest.and_then(|n| self.segments.get(&n)) {
            wanted.extend(sealed_next(&info.open(&self.vfs)?)?);
        }
        for seq in wanted {
            if seq != 0 && !self.segments.contains_key(&seq) {
                self.missing(paths, seq, "a file that was in use");
                self.ledger.open_end = true;
            }
        }
        self.ledger.open_end |= self.complain_of_unusable(h_seq.saturating_add(1)..);
        // If what HEAD names is gone, the newest that is left may have been cut behind its end.
        if head.start_seq <= h_seq || self.segments.contains_key(&head.start_seq) {
            self.complain_of_short(h_seq);
        }
        Ok(newest)
    }

    /// A segment that should be there is not, or is another one; said once.
    fn missing(&mut self, paths: &Paths, seq: u64, expected: &str) {
        let path = paths.segment(seq);
        self.complain_of_unusable(seq..=seq);
        if let Some(at) = self.problems.iter().position(|p| p.path == path) {
            self.ledger.problem = at;
        } else if self.segments.contains_key(&seq) {
            let what = [expected.to_owned(), "another file under its name".into()];
            self.problem(CorruptKind::Succession, path, 0, what);
        } else {
            let what = [expected.to_owned(), "no such file".into()];
            self.problem(CorruptKind::MissingSegment, path, 0, what);
        }
    }

    /// The newest segment and those behind it have their whole length, as `recover` demands.
    fn complain_of_short(&mut self, newest: u64) {
        let mut short = Vec::new();
        for info in self.segments.range(newest..).map(|(_, info)| info) {
            if let Some(h) = info.header.filter(|h| info.len < h.capacity) {
                short.push((info.path.clone(), info.len, h.capacity));
            }
        }
        for (path, len, capacity) in short {
            let what = [format!("{capacity} bytes"), format!("{len} bytes")];
            self.problem(CorruptKind::Length, path, len, what);
            self.ledger.open_end = true;
        }
    }

    /// Replays one segment, past its bad frames.
    fn replay(&mut self, leg: &Leg, is_last: bool) -> Result<()> {
        let Some(info) = self.segments.get(&leg.seq) else { return Ok(()) };
        let f = info.open(&self.vfs)?;
        let fault = |e| io_error("read", &f.path, None, e);
        let Some(header) = f.header else { return Ok(()) };
        let promised = promised_end(&f)?;
        let due = leg.cut.map_or(promised, |c| c.end);
        let end = leg.cut.map_or(f.len, |c| c.end.min(f.len));
        let mut scanner = Scanner::new(&f.file, header.salt, end, Check::Full);
        loop {
            let stop = match scanner.step().map_err(fault)? {
                Step::Frame => {
                    let frame = scanner.frame();
                    self.take(&f.info, frame, is_last)?;
                    if frame.seal().is_some() || leg.cut.is_some_and(|c| c.end == frame.end) {
                        return Ok(());
                    }
                    continue;
                }
                Step::Stop(stop) => stop,
            };
            if stop.offset >= due {
                return Ok(());
            }
            refuse_unsupported(&f.path, Some(&stop))?;
            self.bad_frame(&f.info, &stop, due);
            let from = stop.offset + 8;
            self.ledger.pending.get_or_insert((f.seq, stop));
            // The frame at the end of what is promised is the one that promises it.
            if scanner.seek(from).map_err(fault)?.is_none_or(|n| n > due) {
                if is_last {
                    self.ledger.lose_end(f.seq, due);
                }
                return Ok(());
            }
        }
    }

    /// Takes a valid frame into the account; one that breaks a rule counts as lost.
    fn take(&mut self, f: &SegmentInfo, frame: &Frame, is_last: bool) -> Result<()> {
        if is_strange(f, frame) {
            let what = ["the segment's first batch, of its own era".into(), "another's".into()];
            self.problem(CorruptKind::SegmentStart, f.path.clone(), frame.offset, what);
            self.ledger.distrust();
            return Ok(());
        }
        if self.ledger.contradicts(frame) {
            let what = ["entries up to where the segment begins".into(), "another end".into()];
            self.problem(CorruptKind::Gap, f.path.clone(), frame.offset, what);
            self.ledger.distrust();
        }
        let explained = self.ledger.pending.is_some() || self.ledger.is_broken();
        if !explained && !self.ledger.follows(frame) {
            let known = self.problems.iter().any(|p| p.kind == CorruptKind::MissingSegment);
            if !known {
                let what = ["the batch after the last one".into(), "another one".into()];
                self.problem(CorruptKind::Succession, f.path.clone(), frame.offset, what);
            }
            self.ledger.hard_state_certain = false;
        }
        self.ledger.bridge(frame, is_last);
        match self.ledger.judge(frame, is_last, self.votes) {
            Ok(()) => self.ledger.apply(frame, f.seq),
            Err(Broken::Read(e)) => return Err(e),
            Err(Broken::Rule(rule)) => {
                let what = ["a batch that keeps the rules of the log".into(), rule.to_string()];
                self.problem(CorruptKind::Rule, f.path.clone(), frame.offset, what);
                self.ledger.distrust();
            }
        }
        Ok(())
    }

    fn bad_frame(&mut self, f: &SegmentInfo, stop: &Stop, durable_to: u64) {
        let expected = format!("{}, durable up to {durable_to}", stop.expected);
        let kind =
            if stop.offset == FIRST_FRAME { CorruptKind::SegmentStart } else { CorruptKind::Batch };
        self.problem(kind, f.path.clone(), stop.offset, [expected, stop.found.clone()]);
        self.ledger.hard_state_certain = false;
    }

    /// The marks of every segment repeat term and vote; a node never goes back behind one.
    fn raise_to_marks(&mut self) {
        let hs = &mut self.ledger.hard_state;
        for m in self.segments.values().flat_map(|f| &f.marks) {
            if m.state_off != 0 && (m.term, m.vote != 0) > (hs.term, hs.vote != 0) {
                (hs.term, hs.vote) = (m.term, m.vote);
            }
        }
    }

    /// Takes over why recovery refuses the log, where the survey came upon nothing: recovery holds
    /// more against each other than is asked here, and what it refuses is not sound.
    pub(crate) fn take_over(&mut self, refused: &Corrupt) {
        if self.problems.is_empty() {
            self.problems.push(refused.clone());
            self.ledger.doubt(refused.kind != CorruptKind::State);
        }
    }

    /// Everything that is wrong.
    pub(crate) fn problems(&self) -> &[Corrupt] {
        &self.problems
    }

    /// How many more problems there are than are kept.
    pub(crate) fn more_problems(&self) -> u64 {
        self.uncounted
    }

    /// The lost ranges, oldest first.
    pub(crate) fn lost_ranges(&self) -> Vec<LostRange> {
        self.ledger.lost_ranges()
    }

    pub(crate) fn bounds(&self) -> (u64, u64) {
        (self.ledger.first_index, self.ledger.next_index)
    }

    pub(crate) fn hard_state(&self) -> (HardState, bool) {
        (self.ledger.hard_state, self.ledger.hard_state_certain)
    }

    pub(crate) fn snapshot(&self) -> Option<&SnapshotMark> {
        self.ledger.snapshot.as_ref()
    }

    pub(crate) fn metadata(&self) -> Option<&Bytes> {
        self.ledger.metadata.as_ref()
    }

    pub(crate) fn blobs(&self) -> &BTreeMap<Bytes, Bytes> {
        &self.ledger.blobs
    }

    /// Term of a sound entry; `None` if it is lost or not in the log.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        match self.ledger.block(index) {
            Some(Block::Sound { index: i, .. }) if index >= self.ledger.first_index => {
                i.term(index)
            }
            _ => None,
        }
    }

    /// Reads sound entries `[low, high)`.
    pub(crate) fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>> {
        let (first_index, next_index) = self.bounds();
        let (mut out, mut budget) = (Vec::new(), Budget::new(max_bytes));
        let mut open: Option<SegmentFile<V::File>> = None;
        for index in low..high {
            if index < first_index {
                return Err(Error::Compacted { index, first_index });
            }
            let unavailable = Error::Unavailable { index, next_index };
            let (seq, table) = match self.ledger.block(index).ok_or(unavailable.clone())? {
                Block::Sound { seq, index } => (*seq, index),
                Block::Lost { problem, .. } => return Err(self.is_lost(index, *problem)),
            };
            if open.as_ref().is_none_or(|f| f.seq != seq) {
                let info = self.segments.get(&seq).ok_or(unavailable.clone())?;
                open = Some(info.open(&self.vfs)?);
            }
            let (Some(f), Some(at)) = (&open, table.offset(index)) else { return Err(unavailable) };
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

    /// The error for an index in a lost range: the problem that took it, and the range.
    fn is_lost(&self, index: u64, problem: usize) -> Error {
        let holds = |r: &LostRange| r.first <= index && r.last.is_none_or(|last| index <= last);
        let lost = self.lost_ranges().into_iter().find(holds);
        match self.problems.get(problem) {
            Some(p) => Corrupt { kind: CorruptKind::Gap, lost, ..p.clone() }.into(),
            None => bad_record(&PathBuf::new(), index, 0, 0, "an entry").into(),
        }
    }
}

/// Whether a batch begins a segment of another era than that of `f`.
fn is_strange(f: &SegmentInfo, frame: &Frame) -> bool {
    frame.base().is_some_and(|b| f.header.is_none_or(|h| h.era != b.era))
}

/// Whether anything was written behind the marks.
fn has_frames<F: VfsFile>(f: &SegmentFile<F>) -> Result<bool> {
    let Some(h) = f.header else { return Ok(false) };
    if f.marks.iter().any(|m| m.durable_to > FIRST_FRAME) {
        return Ok(true);
    }
    let mut scanner = Scanner::new(&f.file, h.salt, f.len, Check::Full);
    let first = scanner.seek(FIRST_FRAME);
    // A frame behind a bad first one counts if it promises that the first was durable.
    match first.map_err(|e| io_error("read", &f.path, Some(FIRST_FRAME), e))? {
        Some(FIRST_FRAME) if !is_strange(&f.info, scanner.frame()) => Ok(true),
        _ => Ok(promised_end(f)? > FIRST_FRAME),
    }
}

/// How far any promise in the segment reaches.
pub(crate) fn promised_end<F: VfsFile>(f: &SegmentFile<F>) -> Result<u64> {
    let Some(h) = f.header else { return Ok(0) };
    let marked = f.marks.iter().map(|m| m.durable_to).max().unwrap_or(0);
    let ahead = look_ahead(&f.file, h.salt, f.len, FIRST_FRAME, FIRST_FRAME, None);
    let ahead = ahead.map_err(|e| io_error("read", &f.path, Some(FIRST_FRAME), e))?;
    Ok(marked.max(ahead.promise.map_or(0, |p| p.durable_to)))
}

/// The Base of a segment, if its first batch is sound, and the highest floor its batches set,
/// those behind a bad one included.
fn first_batch<F: VfsFile>(f: &SegmentFile<F>) -> Result<(Option<Base>, u64)> {
    let (mut base, mut floor) = (None, 0);
    each_frame(f, |frame| {
        base = base.or_else(|| frame.base().filter(|_| !is_strange(f, frame)).copied());
        for (_, c) in &frame.controls {
            floor = floor.max(match c {
                Control::Base(b) => b.floor_seq,
                Control::Compact { floor_seq, .. } => *floor_seq,
                Control::Reset(_) => f.seq,
                _ => 0,
            });
        }
    })?;
    Ok((base, floor))
}

/// The segment that a SEAL at the end of this one names.
fn sealed_next<F: VfsFile>(f: &SegmentFile<F>) -> Result<Option<u64>> {
    let mut next = None;
    each_frame(f, |frame| next = next.or(frame.seal().map(|(seq, _)| seq)))?;
    Ok(next)
}

/// Every valid frame of a segment, past bad ones.
pub(crate) fn each_frame<F: VfsFile>(
    f: &SegmentFile<F>,
    mut take: impl FnMut(&Frame),
) -> Result<()> {
    let Some(h) = f.header else { return Ok(()) };
    let fault = |e| io_error("read", &f.path, None, e);
    let mut scanner = Scanner::new(&f.file, h.salt, f.len, Check::Full);
    loop {
        match scanner.step().map_err(fault)? {
            Step::Frame => take(scanner.frame()),
            Step::Stop(stop) => {
                if scanner.seek(stop.offset.saturating_add(8)).map_err(fault)?.is_none() {
                    return Ok(());
                }
            }
        }
    }
}
