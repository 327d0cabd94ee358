//! Recovery: from the files of a directory to the exact state that was acknowledged.
//!
//! The path, one function a step; nothing here writes a byte:
//!
//! 1. [`crate::dir`]: the lock, the identity, HEAD, the names.
//! 2. [`load_segment`]: each segment's header, by majority of its three copies.
//! 3. [`find_newest`]: H, the newest segment whose first batch is valid. Younger ones must be
//!    provably unstarted.
//! 4. [`prove`]: H is scanned to P, its first bad frame; on the way every promise is collected.
//! 5. [`judge_tail`]: torn or damaged? Only a promise above P makes it damage.
//! 6. [`judge_head`]: do the segments that HEAD and SEAL name exist?
//! 7. [`walk_back`]: older segments, each cut where its successor's Base says.
//! 8. [`replay`]: the state, batch by batch, every batch judged by [`crate::rules`].
//! 9. [`judge_marks`]: the copies of term and vote in the marks.
//!
//! What is readable but not proven durable is then written again by [`crate::era`].

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use raft_vfs::{Access, Vfs, VfsFile, VfsFileExt};

use crate::dir::{Ident, Names};
use crate::error::{Acked, Corrupt, CorruptKind, Error, LostRange, Result};
use crate::format::{
    Base, Control, FIRST_FRAME, HeaderFault, Mark, PAGE, SegmentHeader, VERSION, get,
};
use crate::options::{Options, Verify, VoteRule};
use crate::paths::{Paths, io_error};
use crate::report::{Discarded, RecoveryReport, Tail};
use crate::rules::{Broken, Change, check};
use crate::scan::{Beyond, Check, Frame, Scanner, Step, Stop, StopReason, look_ahead};
use crate::segment::{ClosedSegment, Cut, SegmentId, scan_to_cut};
use crate::state::LogState;
use crate::types::HardState;
use crate::view::Span;

/// Logs up to this size are read whole when [`Verify::Auto`] opens them.
const AUTO_FULL_BYTES: u64 = 256 << 20;

/// A segment file with what its first three pages say.
#[derive(Debug)]
pub(crate) struct SegmentFile<F> {
    pub(crate) seq: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: F,
    pub(crate) len: u64,
    /// The majority of the three copies; `None` if there is none.
    pub(crate) header: Option<SegmentHeader>,
    /// The valid mark pages that belong to this header.
    pub(crate) marks: Vec<Mark>,
}

impl<F> SegmentFile<F> {
    /// The newest mark.
    fn newest_mark(&self) -> Option<&Mark> {
        self.marks.iter().max_by_key(|m| m.mark_no)
    }
}

/// The newest segment that was started, scanned.
#[derive(Debug)]
pub(crate) struct Newest<F> {
    pub(crate) segment: SegmentFile<F>,
    pub(crate) header: SegmentHeader,
    pub(crate) base: Base,
    /// Where the scan stopped, and why.
    pub(crate) stop: Stop,
    /// Last valid batch.
    pub(crate) last: Cut,
    /// The segment that its SEAL names.
    pub(crate) sealed: Option<(u64, u32)>,
    /// The last batch that a promise covers; none: the whole segment is unproven.
    pub(crate) proven: Option<Cut>,
    /// Batches behind that.
    pub(crate) unproven: u64,
    /// Segments below this are garbage.
    pub(crate) floor_seq: u64,
    /// Whether a promise covers the segment's first batch.
    pub(crate) start_proven: bool,
}

/// The log as of the last proven batch: what the next segment's Base will say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CutPoint {
    pub(crate) segment: u64,
    pub(crate) salt: u32,
    pub(crate) cut: Cut,
    pub(crate) first_index: u64,
    pub(crate) base_term: Option<u64>,
    pub(crate) next_index: u64,
    pub(crate) last_term: u64,
}

/// What the unproven batches amount to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Carry {
    /// How many there are.
    pub(crate) batches: u64,
    /// Lowest index they wrote or truncated.
    pub(crate) low: Option<u64>,
    /// Whether one of them reset the log.
    pub(crate) reset: bool,
}

/// The outcome of recovery.
#[derive(Debug)]
pub(crate) struct Recovered<V: Vfs> {
    pub(crate) state: LogState<V>,
    pub(crate) newest: Option<Newest<V::File>>,
    pub(crate) cut: CutPoint,
    pub(crate) carry: Carry,
    /// Segments of the log, oldest first, the newest included.
    pub(crate) walk: Vec<u64>,
    /// Segments younger than the newest: published, never started.
    pub(crate) young: Vec<u64>,
    /// Highest era seen anywhere.
    pub(crate) era: u64,
    /// Highest segment number seen anywhere.
    pub(crate) highest: u64,
}

/// One pass over a directory.
pub(crate) struct Recovery<'a, V: Vfs> {
    pub(crate) vfs: &'a V,
    pub(crate) paths: &'a Paths,
    pub(crate) options: &'a Options,
    pub(crate) ident: &'a Ident,
    pub(crate) names: &'a Names,
    pub(crate) report: &'a mut RecoveryReport,
    /// Somebody may be writing meanwhile.
    pub(crate) live: bool,
}

/// Steps 2 to 9.
pub(crate) fn recover<V: Vfs>(mut r: Recovery<'_, V>) -> Result<Recovered<V>> {
    let mut segments = BTreeMap::new();
    let mut total = 0;
    for &seq in &r.names.segments {
        let s = load_segment(r.vfs, r.paths, seq)?;
        total += s.len;
        segments.insert(seq, s);
    }
    let era = segments.values().filter_map(|s| s.header).map(|h| h.era);
    let era = era.fold(r.ident.head.era, u64::max);
    let full = match r.options.verify {
        Verify::Auto => total <= AUTO_FULL_BYTES,
        Verify::Tail => false,
        Verify::Full => true,
    };
    let mut young = Vec::new();
    let found = find_newest(&mut r, &mut segments, &mut young)?;
    let highest = r.names.highest().max(r.ident.head.start_seq);
    let Some((segment, header)) = found else {
        judge_head(&r, None, &segments, &young)?;
        let state = LogState::empty(r.options.initial_index);
        r.report.certain = r.ident.head.start_seq == 0;
        let out = empty_log(state, young, era, highest);
        return judge_empty_marks(&mut r, &segments, out);
    };
    let newest = prove_and_judge(&mut r, segment, header, &young)?;
    judge_head(&r, Some(&newest), &segments, &young)?;
    let older = walk_back(&mut r, &newest, &mut segments, full)?;
    let mut walk: Vec<u64> = older.iter().map(|s| s.seq).collect();
    walk.push(newest.segment.seq);
    let (mut state, cut, carry) = replay(&r, &newest, older)?;
    let youngsters = young.iter().filter_map(|n| segments.get(n));
    judge_marks(&mut r, Some(&newest), youngsters, &mut state.hard_state)?;
    r.report.segments = walk.len();
    let highest = highest.max(newest.sealed.map_or(0, |(n, _)| n));
    Ok(Recovered { state, newest: Some(newest), cut, carry, walk, young, era, highest })
}

/// The log of a directory in which nothing was ever started.
fn empty_log<V: Vfs>(state: LogState<V>, young: Vec<u64>, era: u64, highest: u64) -> Recovered<V> {
    let at = state.view.first_index;
    let cut = CutPoint {
        segment: 0,
        salt: 0,
        cut: Cut { batch_seq: 0, chain: 0, end: 0 },
        first_index: at,
        base_term: None,
        next_index: at,
        last_term: 0,
    };
    let carry = Carry::default();
    Recovered { state, newest: None, cut, carry, walk: Vec::new(), young, era, highest }
}

/// A vote may survive in a mark although the batch that gave it, the log's first, is torn.
fn judge_empty_marks<V: Vfs>(
    r: &mut Recovery<'_, V>,
    segments: &BTreeMap<u64, SegmentFile<V::File>>,
    mut out: Recovered<V>,
) -> Result<Recovered<V>> {
    let young = out.young.iter().filter_map(|n| segments.get(n));
    judge_marks::<V>(r, None, young, &mut out.state.hard_state)?;
    Ok(out)
}

/// Step 2: opens a segment and reads its header and marks.
pub(crate) fn load_segment<V: Vfs>(
    vfs: &V,
    paths: &Paths,
    seq: u64,
) -> Result<SegmentFile<V::File>> {
    load_segment_at(vfs, paths.segment(seq), seq)
}

/// The same for a file anywhere.
pub(crate) fn load_segment_at<V: Vfs>(
    vfs: &V,
    path: PathBuf,
    seq: u64,
) -> Result<SegmentFile<V::File>> {
    let file = vfs.open(&path, Access::Read).map_err(|e| io_error("open", &path, None, e))?;
    let len = file.len().map_err(|e| io_error("stat", &path, None, e))?;
    let mut raw = vec![0; FIRST_FRAME as usize];
    file.read_up_to_at(&mut raw, 0).map_err(|e| io_error("read", &path, Some(0), e))?;
    let page0 = SegmentHeader::decode(&get(&raw, 0));
    let unsupported = |what, found| {
        Err(Error::Unsupported { path: path.clone(), what, found, expected: VERSION.into() })
    };
    match page0 {
        Err(HeaderFault::Version(v)) => return unsupported("format version", v),
        Err(HeaderFault::Incompat(b)) => return unsupported("feature bits", b),
        _ => {}
    }
    let mut marks = Vec::with_capacity(2);
    for page in [1_u32, 2] {
        let at = u64::from(page) * PAGE;
        marks.extend(Mark::decode(&get(&raw, at as usize), page));
    }
    let copies: Vec<_> = page0.ok().into_iter().chain(marks.iter().map(|m| m.header)).collect();
    let header = majority(&copies);
    // A mark of an earlier life of the file promises nothing about this one.
    marks.retain(|m| Some(m.header) == header);
    Ok(SegmentFile { seq, path, file, len, header, marks })
}

/// A lost write can leave a valid header of the file's earlier life, so one copy against another
/// decides nothing.
fn majority(copies: &[SegmentHeader]) -> Option<SegmentHeader> {
    let first = *copies.first()?;
    if copies.iter().all(|c| *c == first) {
        return Some(first);
    }
    copies.iter().find(|c| copies.iter().filter(|d| d == c).count() >= 2).copied()
}

/// Checks that a segment is what its name says and belongs to this log.
fn header_of<F>(r: &Recovery<'_, impl Vfs>, s: &SegmentFile<F>) -> Result<SegmentHeader> {
    let corrupt = |kind, expected: String, found: String| {
        Error::from(Corrupt {
            kind,
            path: s.path.clone(),
            offset: 0,
            batch_seq: 0,
            expected,
            found,
            lost: None,
            acked: Acked::Possible,
            advice: "restore this file from a copy, or open degraded to read what is sound",
        })
    };
    let Some(h) = s.header else {
        let expected = "a header in page 0 or in a mark page, two of them alike".into();
        return Err(corrupt(CorruptKind::Header, expected, format!("none in {} bytes", s.len)));
    };
    let uuid = r.ident.page.wal_uuid;
    if h.wal_uuid != uuid {
        return Err(Error::IdentityMismatch {
            path: s.path.clone(),
            what: "log uuid",
            expected: hex(&uuid),
            found: hex(&h.wal_uuid),
        });
    }
    if h.seq != s.seq {
        let (expected, found) = (format!("segment {}", s.seq), format!("segment {}", h.seq));
        return Err(corrupt(CorruptKind::Name, expected, found));
    }
    Ok(h)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// Step 3: the newest segment whose first batch is valid, taken out of `segments`.
fn find_newest<V: Vfs>(
    r: &mut Recovery<'_, V>,
    segments: &mut BTreeMap<u64, SegmentFile<V::File>>,
    young: &mut Vec<u64>,
) -> Result<Option<(SegmentFile<V::File>, SegmentHeader)>> {
    let numbers: Vec<u64> = segments.keys().rev().copied().collect();
    for seq in numbers {
        let Some(s) = segments.get(&seq) else { continue };
        let header = header_of(r, s)?;
        let fault = |e| io_error("read", &s.path, Some(FIRST_FRAME), e);
        let mut scanner = Scanner::new(&s.file, header.salt, s.len, Check::Full);
        let stop = match scanner.step().map_err(fault)? {
            Step::Frame if scanner.frame().base().is_some_and(|b| b.era == header.era) => {
                return Ok(segments.remove(&seq).map(|s| (s, header)));
            }
            Step::Frame => None,
            Step::Stop(stop) => Some(stop),
        };
        refuse_unsupported(&s.path, stop.as_ref())?;
        let marked = s.marks.iter().find(|m| m.durable_to > FIRST_FRAME);
        let ahead = look_ahead(&s.file, header.salt, s.len, FIRST_FRAME, FIRST_FRAME, None);
        let ahead = ahead.map_err(fault)?;
        r.report.scanned_bytes += s.len;
        let promised = marked.map(|m| m.durable_to).or(ahead.promise.map(|p| p.durable_to));
        if let Some(to) = promised {
            let found = stop.map_or("another era's batch".into(), |s| s.found);
            return Err(Corrupt {
                kind: CorruptKind::SegmentStart,
                path: s.path.clone(),
                offset: FIRST_FRAME,
                batch_seq: 0,
                expected: format!("the segment's first batch, durable up to {to}"),
                found,
                lost: None,
                acked: Acked::Proven,
                advice: DEGRADED,
            }
            .into());
        }
        if ahead.nonzero_end > FIRST_FRAME {
            r.report.note(
                &s.path,
                "its first batch is torn; nothing in it was acknowledged for certain",
            );
        }
        young.push(seq);
    }
    Ok(None)
}

const DEGRADED: &str =
    "open degraded to read what is sound, then refill from a peer or restore the file from a copy";

fn refuse_unsupported(path: &std::path::Path, stop: Option<&Stop>) -> Result<()> {
    match stop {
        Some(Stop { reason: StopReason::Unsupported, header: Some(h), .. }) => {
            Err(Error::Unsupported {
                path: path.to_owned(),
                what: "frame codec or stream",
                found: u64::from(h.codec.max(h.stream)),
                expected: 0,
            })
        }
        _ => Ok(()),
    }
}

/// Step 4: scans the newest segment up to its first bad frame and finds out how much is proven.
fn prove<V: Vfs>(
    r: &mut Recovery<'_, V>,
    segment: SegmentFile<V::File>,
    header: SegmentHeader,
) -> Result<Newest<V::File>> {
    let fault = |e| io_error("read", &segment.path, None, e);
    let mut scanner = Scanner::new(&segment.file, header.salt, segment.len, Check::Full);
    let mut promised = segment.marks.iter().map(|m| m.durable_to).max().unwrap_or(0);
    let mut proven = None;
    // Only the un-synced window is held: a batch leaves it as soon as a promise covers it.
    let mut open: VecDeque<Cut> = VecDeque::new();
    let (mut base, mut last, mut sealed, mut floor_seq) = (None, None, None, 0);
    let stop = loop {
        match scanner.step().map_err(fault)? {
            Step::Frame => {
                let f = scanner.frame();
                let cut = cut_of(f);
                promised = promised.max(f.header.durable_to);
                floor_seq = floor_seq.max(floor_of(f, segment.seq));
                base = base.or_else(|| f.base().copied());
                last = Some(cut);
                open.push_back(cut);
                while open.front().is_some_and(|c| c.end <= promised) {
                    proven = open.pop_front();
                }
                if let Some(next) = f.seal() {
                    sealed = Some(next);
                    break Stop {
                        offset: f.end,
                        reason: StopReason::End,
                        header: None,
                        expected: "nothing behind SEAL".into(),
                        found: "the end of the segment".into(),
                    };
                }
            }
            Step::Stop(stop) => break stop,
        }
    };
    r.report.scanned_bytes += stop.offset;
    refuse_unsupported(&segment.path, Some(&stop))?;
    let (Some(base), Some(last)) = (base, last) else {
        // The first frame was valid when the segment was chosen; it is not any more.
        let what = "the first batch changed while it was read";
        return Err(Error::Busy { path: segment.path, what });
    };
    Ok(Newest {
        header,
        base,
        last,
        sealed,
        proven,
        unproven: open.len() as u64,
        floor_seq,
        start_proven: proven.is_some(),
        stop,
        segment,
    })
}

fn cut_of(f: &Frame) -> Cut {
    Cut { batch_seq: f.header.batch_seq, chain: f.header.header_crc, end: f.end }
}

/// The highest floor that a frame of segment `seq` sets.
fn floor_of(f: &Frame, seq: u64) -> u64 {
    let floor = |c: &Control| match c {
        Control::Base(b) => b.floor_seq,
        Control::Compact { floor_seq, .. } => *floor_seq,
        Control::Reset(_) => seq,
        _ => 0,
    };
    f.controls.iter().map(|(_, c)| floor(c)).max().unwrap_or(0)
}

/// Steps 4 and 5. Under a live writer the evidence may be younger than the look at P: then P is
/// read again, and only a P that is still bad is damage.
fn prove_and_judge<V: Vfs>(
    r: &mut Recovery<'_, V>,
    mut segment: SegmentFile<V::File>,
    mut header: SegmentHeader,
    young: &[u64],
) -> Result<Newest<V::File>> {
    let mut seen = None;
    loop {
        let seq = segment.seq;
        let newest = prove(r, segment, header)?;
        match judge_tail(r, &newest, young) {
            Err(Error::Corrupt(_)) if r.live && seen != Some(newest.stop.offset) => {
                seen = Some(newest.stop.offset);
                segment = load_segment(r.vfs, r.paths, seq)?;
                header = header_of(r, &segment)?;
            }
            Err(e) => return Err(e),
            Ok(()) => return Ok(newest),
        }
    }
}

/// Step 5: whether the end of the newest segment is torn or damaged.
fn judge_tail<V: Vfs>(r: &mut Recovery<'_, V>, n: &Newest<V::File>, young: &[u64]) -> Result<()> {
    if n.sealed.is_some() {
        (r.report.tail, r.report.certain) = (Tail::Sealed, young.is_empty());
        return Ok(());
    }
    let p = n.stop.offset;
    let beyond = look_beyond(n)?;
    let marked = n.segment.marks.iter().filter(|m| m.durable_to > p).max_by_key(|m| m.durable_to);
    let promise = marked
        .map(|m| ("a mark page", m.durable_to))
        .or(beyond.promise.map(|q| ("a later batch", q.durable_to)));
    if let Some((who, durable_to)) = promise {
        return Err(lost_batch(n, who, durable_to).into());
    }
    let clean = n.segment.marks.iter().any(|m| m.clean && m.durable_to == p) && young.is_empty();
    r.report.certain = clean;
    r.report.tail = match (&n.stop, clean) {
        (_, true) => Tail::Clean,
        (Stop { header: Some(h), reason: StopReason::Body, .. }, _) => {
            Tail::Torn { first_index: h.first_index, entries: h.n_entries }
        }
        _ if beyond.nonzero_end == p => Tail::Blank,
        _ => Tail::Unknown,
    };
    if beyond.nonzero_end > p {
        r.report.discarded = Some(Discarded {
            path: n.segment.path.clone(),
            offset: p,
            bytes: beyond.nonzero_end - p,
            crc: beyond.crc,
        });
    }
    Ok(())
}

/// The look-ahead behind P.
pub(crate) fn look_beyond<F: VfsFile>(n: &Newest<F>) -> Result<Beyond> {
    let (p, expected) = (n.stop.offset, n.last.batch_seq.wrapping_add(1));
    look_ahead(&n.segment.file, n.header.salt, n.segment.len, p, p, Some(expected))
        .map_err(|e| io_error("read", &n.segment.path, Some(p), e))
}

/// The error for a durable batch that is bad: names what its header, if readable, says it held.
fn lost_batch<F>(n: &Newest<F>, who: &str, durable_to: u64) -> Corrupt {
    let named = n.stop.header.filter(|h| h.n_entries > 0 && h.batch_seq == n.last.batch_seq + 1);
    Corrupt {
        kind: CorruptKind::Batch,
        path: n.segment.path.clone(),
        offset: n.stop.offset,
        batch_seq: n.last.batch_seq.wrapping_add(1),
        expected: format!("{}, as {who} promises durability up to {durable_to}", n.stop.expected),
        found: n.stop.found.clone(),
        lost: named.map(|h| LostRange { first: h.first_index, last: None, term: None }),
        acked: Acked::Proven,
        advice: DEGRADED,
    }
}

/// Step 6: the segments that HEAD and SEAL speak of must exist.
fn judge_head<V: Vfs>(
    r: &Recovery<'_, V>,
    newest: Option<&Newest<V::File>>,
    segments: &BTreeMap<u64, SegmentFile<V::File>>,
    young: &[u64],
) -> Result<()> {
    let h_seq = newest.map_or(0, |n| n.segment.seq);
    let there = |seq: u64| seq == h_seq || segments.contains_key(&seq) || young.contains(&seq);
    if let Some((next, salt)) = newest.and_then(|n| n.sealed) {
        if !there(next) {
            return Err(missing(r.paths, next, &format!("segment {h_seq} is closed and names it")));
        }
        let header = segments.get(&next).and_then(|s| s.header);
        if header.is_some_and(|h| h.salt != salt) {
            return Err(Corrupt {
                kind: CorruptKind::Succession,
                path: r.paths.segment(next),
                offset: 0,
                batch_seq: 0,
                expected: format!("salt {salt:08x}, as segment {h_seq} names it"),
                found: "another salt".into(),
                lost: None,
                acked: Acked::Possible,
                advice: DEGRADED,
            }
            .into());
        }
    }
    let head = r.ident.head;
    if head.start_seq > h_seq {
        for seq in [head.start_seq, head.live_seq, head.proven_seq] {
            if seq != 0 && !there(seq) {
                return Err(missing(r.paths, seq, "IDENT says that it was in use"));
            }
        }
    }
    Ok(())
}

pub(crate) fn missing(paths: &Paths, seq: u64, why: &str) -> Error {
    Corrupt {
        kind: CorruptKind::MissingSegment,
        path: paths.segment(seq),
        offset: 0,
        batch_seq: 0,
        expected: format!("a file, because {why}"),
        found: "no such file".into(),
        lost: None,
        acked: Acked::Possible,
        advice: "put the file back from a copy; without it what it held is lost",
    }
    .into()
}

/// Step 7: the older segments of the log, oldest first.
fn walk_back<V: Vfs>(
    r: &mut Recovery<'_, V>,
    newest: &Newest<V::File>,
    segments: &mut BTreeMap<u64, SegmentFile<V::File>>,
    full: bool,
) -> Result<Vec<Arc<ClosedSegment<V>>>> {
    let mut older = VecDeque::new();
    let mut base = newest.base;
    let mut successor = newest.segment.seq;
    while base.prev_segment != 0 && base.prev_segment >= newest.floor_seq {
        let seq = base.prev_segment;
        let Some(s) = segments.remove(&seq) else {
            return Err(missing(r.paths, seq, &format!("segment {successor} was built on it")));
        };
        if seq >= successor {
            return Err(succession(
                &s.path,
                format!("a segment below {successor}"),
                seq.to_string(),
            ));
        }
        let (closed, its_base) = closed_segment(r, &s, &base, full)?;
        older.push_front(Arc::new(closed));
        (base, successor) = (its_base, seq);
    }
    Ok(older.into())
}

fn succession(path: &std::path::Path, expected: String, found: String) -> Error {
    Corrupt {
        kind: CorruptKind::Succession,
        path: path.to_owned(),
        offset: FIRST_FRAME,
        batch_seq: 0,
        expected,
        found,
        lost: None,
        acked: Acked::Proven,
        advice: DEGRADED,
    }
    .into()
}

/// One step of the walk: `s` as its successor's `base` cut it, and its own Base.
fn closed_segment<V: Vfs>(
    r: &mut Recovery<'_, V>,
    s: &SegmentFile<V::File>,
    base: &Base,
    full: bool,
) -> Result<(ClosedSegment<V>, Base)> {
    let header = header_of(r, s)?;
    if header.salt != base.prev_salt {
        let expected = format!("salt {:08x}, as its successor names it", base.prev_salt);
        return Err(succession(&s.path, expected, format!("salt {:08x}", header.salt)));
    }
    let its_base = first_base(s, &header, base)?;
    let id = SegmentId {
        path: s.path.clone(),
        seq: s.seq,
        salt: header.salt,
        cut: Cut { batch_seq: base.prev_batch_seq, chain: base.prev_chain, end: base.prev_end },
        start_next: its_base.next_index,
    };
    let mode = r.options.read_mode;
    let index_path = r.paths.index(s.seq);
    let uuid = &r.ident.page.wal_uuid;
    let by_file = ClosedSegment::with_index_file(r.vfs, id.clone(), mode, index_path, uuid)
        .filter(|_| s.len >= base.prev_end);
    if let Some(closed) = by_file {
        if full {
            scan_to_cut(&s.file, &id, Check::Full)?;
            r.report.scanned_bytes += base.prev_end;
        } else {
            r.report.indexed += 1;
        }
        return Ok((closed, its_base));
    }
    let index = scan_to_cut(&s.file, &id, Check::Full)?;
    r.report.scanned_bytes += base.prev_end;
    Ok((ClosedSegment::in_memory(r.vfs.clone(), id, mode, index), its_base))
}

/// The Base record in a closed segment's first batch.
fn first_base<F: VfsFile>(
    s: &SegmentFile<F>,
    header: &SegmentHeader,
    successor: &Base,
) -> Result<Base> {
    let fault = |e| io_error("read", &s.path, Some(FIRST_FRAME), e);
    let mut scanner = Scanner::new(&s.file, header.salt, s.len, Check::Full);
    let (expected, found) = match scanner.step().map_err(fault)? {
        Step::Frame => match scanner.frame().base() {
            Some(b) if b.era == header.era => return Ok(*b),
            _ => ("the segment's first batch, of its own era".into(), "another batch".into()),
        },
        Step::Stop(stop) => (stop.expected, stop.found),
    };
    Err(Corrupt {
        kind: CorruptKind::SegmentStart,
        path: s.path.clone(),
        offset: FIRST_FRAME,
        batch_seq: 0,
        expected,
        found,
        lost: Some(LostRange {
            first: successor.first_index,
            last: successor.next_index.checked_sub(1),
            term: None,
        }),
        acked: Acked::Proven,
        advice: DEGRADED,
    }
    .into())
}

/// The log as the newest segment found it: older segments' entries, each cut by all younger ones.
fn view_before<V: Vfs>(
    newest: &Newest<V::File>,
    older: Vec<Arc<ClosedSegment<V>>>,
) -> Result<LogState<V>> {
    let base = &newest.base;
    let mut state = LogState::empty(base.next_index);
    let view = &mut state.view;
    view.first_index = base.first_index;
    view.base_term = base.base_term;
    view.last_term = base.last_term;
    let (mut upper, mut minimum) = (base.next_index, u64::MAX);
    for segment in older.into_iter().rev() {
        let (lo, hi) = (segment.first(), segment.next().min(minimum));
        let (low, reset) = (segment.low(), segment.had_reset());
        if lo < hi {
            if hi != upper {
                let lost = LostRange { first: hi, last: upper.checked_sub(1), term: None };
                return Err(gap(&segment.path, segment.cut.end, lost));
            }
            upper = lo;
            view.spans.push_front(Span { segment, lo, hi });
        }
        if reset {
            break;
        }
        minimum = minimum.min(low);
    }
    Ok(state)
}

fn gap(path: &std::path::Path, offset: u64, lost: LostRange) -> Error {
    Corrupt {
        kind: CorruptKind::Gap,
        path: path.to_owned(),
        offset,
        batch_seq: 0,
        expected: "entries without a gap".into(),
        found: format!("no segment with {lost}"),
        lost: Some(lost),
        acked: Acked::Proven,
        advice: DEGRADED,
    }
    .into()
}

/// Step 8: applies the newest segment's batches to what stood before it. Also says what the state
/// was at the last proven batch and what the unproven ones changed.
fn replay<V: Vfs>(
    recovery: &Recovery<'_, V>,
    newest: &Newest<V::File>,
    older: Vec<Arc<ClosedSegment<V>>>,
) -> Result<(LogState<V>, CutPoint, Carry)> {
    let s = &newest.segment;
    let fault = |e| io_error("read", &s.path, None, e);
    let mut state = view_before(newest, older)?;
    let b = &newest.base;
    let mut cut = CutPoint {
        segment: b.prev_segment,
        salt: b.prev_salt,
        cut: Cut { batch_seq: b.prev_batch_seq, chain: b.prev_chain, end: b.prev_end },
        first_index: b.first_index,
        base_term: b.base_term,
        next_index: b.next_index,
        last_term: b.last_term,
    };
    let proven_end = newest.proven.map_or(0, |c| c.end);
    let mut carry = Carry { batches: newest.unproven, ..Carry::default() };
    let mut scanner = Scanner::new(&s.file, newest.header.salt, newest.last.end, Check::Structure);
    while scanner.position() < newest.last.end {
        if let Step::Stop(_) = scanner.step().map_err(fault)? {
            let what = "a batch changed while it was read";
            return Err(Error::Busy { path: s.path.clone(), what });
        }
        let f = scanner.frame();
        apply(recovery, &mut state, f, s)?;
        if f.end > proven_end {
            note_unproven(&mut carry, f);
        }
        if Some(cut_of(f)) == newest.proven {
            let v = &state.view;
            cut = CutPoint {
                segment: s.seq,
                salt: newest.header.salt,
                cut: cut_of(f),
                first_index: v.first_index,
                base_term: v.base_term,
                next_index: v.next_index,
                last_term: v.last_term,
            };
        }
    }
    let v = &state.view;
    if v.covered_from() > v.first_index {
        let lost =
            LostRange { first: v.first_index, last: v.covered_from().checked_sub(1), term: None };
        return Err(gap(&s.path, FIRST_FRAME, lost));
    }
    Ok((state, cut, carry))
}

/// Applies one replayed batch, judged by the same rules as when it was appended.
fn apply<V: Vfs, F>(
    r: &Recovery<'_, V>,
    state: &mut LogState<V>,
    f: &Frame,
    s: &SegmentFile<F>,
) -> Result<()> {
    let change = Change {
        controls: &f.controls,
        first_index: f.header.first_index,
        count: f.offsets.len() as u64,
        runs: &f.runs,
    };
    match check(state, &change, r.options.vote_rule) {
        Ok(()) => state.apply(&change, &f.offsets, s.seq),
        Err(Broken::Read(e)) => Err(e),
        Err(Broken::Rule(rule)) => Err(Corrupt {
            kind: CorruptKind::Rule,
            path: s.path.clone(),
            offset: f.offset,
            batch_seq: f.header.batch_seq,
            expected: "a batch that keeps the rules of the log".into(),
            found: rule.to_string(),
            lost: None,
            acked: Acked::Possible,
            advice: "keep this directory and report it: intact batches must keep the rules",
        }
        .into()),
    }
}

fn note_unproven(carry: &mut Carry, f: &Frame) {
    let mut touch = |index: u64| carry.low = Some(carry.low.map_or(index, |l| l.min(index)));
    for (_, c) in &f.controls {
        match c {
            Control::Truncate(from) => touch(*from),
            Control::Reset(_) => carry.reset = true,
            _ => {}
        }
    }
    if !f.offsets.is_empty() {
        touch(f.header.first_index);
    }
}

/// Step 9: the newest mark of the newest segment and of each unstarted one repeats term and vote.
/// A copy of a state that the log holds must not be newer than the log's; a copy of one that was
/// torn raises it, because a vote that may have been given is never forgotten.
fn judge_marks<'s, V: Vfs>(
    r: &mut Recovery<'_, V>,
    newest: Option<&Newest<V::File>>,
    young: impl Iterator<Item = &'s SegmentFile<V::File>>,
    hs: &mut HardState,
) -> Result<()>
where
    V::File: 's,
{
    let own = newest.and_then(|n| Some((&n.segment.path, n.segment.newest_mark()?, n.stop.offset)));
    let young = young.filter_map(|s| Some((&s.path, s.newest_mark()?, 0)));
    for (path, mark, p) in own.into_iter().chain(young) {
        if mark.state_off == 0 {
            continue;
        }
        let (term, vote) = (mark.term, mark.vote);
        let newer = term > hs.term || (term == hs.term && vote != 0 && hs.vote == 0);
        let conflict = term == hs.term && vote != 0 && hs.vote != 0 && vote != hs.vote;
        let conflict = conflict && r.options.vote_rule == VoteRule::OncePerTerm;
        if conflict || (newer && mark.state_off < p) {
            return Err(Corrupt {
                kind: CorruptKind::State,
                path: path.clone(),
                offset: mark.state_off,
                batch_seq: 0,
                expected: format!("term {term} vote {vote}, as a mark page repeats it, or newer"),
                found: format!("term {} vote {}", hs.term, hs.vote),
                lost: None,
                acked: Acked::Proven,
                advice: "a vote may be forgotten: rebuild this node as a new member, or restore the file",
            }
            .into());
        }
        if newer {
            (hs.term, hs.vote) = (term, vote);
            r.report.state_raised = true;
        }
    }
    Ok(())
}
