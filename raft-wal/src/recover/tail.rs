//! Steps 4 and 5: where the newest segment ends, how much of it is proven, and whether its end is
//! torn or damaged.

use std::collections::VecDeque;

use raft_vfs::{Vfs, VfsFile};

use super::segment_file::{SegmentFile, SegmentInfo, header_of, load_segment};
use super::{DEGRADED, Recovery, Young, refuse_unsupported};
use crate::error::{Acked, Corrupt, CorruptKind, Error, LostRange, Result};
use crate::format::{Base, Control, FIRST_FRAME, FrameHeader, SegmentHeader, flags};
use crate::paths::io_error;
use crate::planted::{Bug, planted};
use crate::report::{Discarded, Tail};
use crate::scan::{Beyond, Check, Frame, Scanner, Step, Stop, StopReason, look_ahead};
use crate::segment::Cut;

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
    /// Where the log begins, and where it goes on behind the last valid batch.
    pub(crate) first_index: u64,
    pub(crate) next_index: u64,
}

/// Step 4: scans the newest segment up to its first bad frame and finds out how much is proven.
pub(super) fn prove<V: Vfs>(
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
    let (mut first_index, mut next_index) = (0, 0);
    let stop = loop {
        match scanner.step().map_err(fault)? {
            Step::Frame => {
                let f = scanner.frame();
                let cut = cut_of(f);
                promised = promised.max(f.header.durable_to);
                floor_seq = floor_seq.max(floor_of(f, segment.seq));
                (first_index, next_index) = bounds_after(f, first_index);
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
    refuse_floor(&segment, floor_seq)?;
    let (Some(base), Some(last)) = (base, last) else {
        // The first frame was valid when the segment was chosen; it is not any more.
        let what = "the first batch changed while it was read";
        return Err(Error::Busy { path: segment.path.clone(), what });
    };
    Ok(Newest {
        header,
        base,
        last,
        sealed,
        proven,
        unproven: open.len() as u64,
        floor_seq,
        first_index,
        next_index,
        stop,
        segment,
    })
}

pub(super) fn cut_of(f: &Frame) -> Cut {
    Cut { batch_seq: f.header.batch_seq, chain: f.header.header_crc, end: f.end }
}

/// Segments below the floor are removed, so a floor above the segment that sets it would be the end
/// of the log.
fn refuse_floor(s: &SegmentInfo, floor_seq: u64) -> Result<()> {
    if floor_seq <= s.seq {
        return Ok(());
    }
    Err(Corrupt {
        kind: CorruptKind::Rule,
        path: s.path.clone(),
        offset: FIRST_FRAME,
        batch_seq: 0,
        expected: format!("a floor of at most {}, this segment's number", s.seq),
        found: format!("floor {floor_seq}"),
        lost: None,
        acked: Acked::Possible,
        advice: "keep this directory and report it: intact batches must keep the rules",
    }
    .into())
}

/// The log's first and next index after this batch.
fn bounds_after(f: &Frame, mut first_index: u64) -> (u64, u64) {
    for (_, c) in &f.controls {
        match c {
            Control::Base(b) => first_index = b.first_index,
            Control::Compact { first_index: to, .. } => first_index = first_index.max(*to),
            Control::Reset(r) => first_index = r.first_index,
            _ => {}
        }
    }
    (first_index, f.header.first_index.saturating_add(f.offsets.len() as u64))
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
pub(super) fn prove_and_judge<V: Vfs>(
    r: &mut Recovery<'_, V>,
    mut segment: SegmentFile<V::File>,
    mut header: SegmentHeader,
    young: &Young,
) -> Result<Newest<V::File>> {
    let mut seen = None;
    loop {
        let seq = segment.seq;
        let newest = prove(r, segment, header)?;
        match judge_tail(r, &newest, young) {
            Err(Error::Corrupt(_)) if r.live && seen != Some(newest.stop.offset) => {
                seen = Some(newest.stop.offset);
                segment = load_segment(r.vfs, r.paths, seq)?.open(r.vfs)?;
                header = header_of(r, &segment)?;
            }
            Err(e) => return Err(e),
            Ok(()) => return Ok(newest),
        }
    }
}

/// Step 5: whether the end of the newest segment is torn or damaged.
fn judge_tail<V: Vfs>(r: &mut Recovery<'_, V>, n: &Newest<V::File>, young: &Young) -> Result<()> {
    if n.sealed.is_some() {
        // The first group of the next segment has no promise anywhere yet.
        (r.report.tail, r.report.certain) = (Tail::Sealed, false);
        return Ok(());
    }
    let p = n.stop.offset;
    // A younger segment that was begun, or that IDENT says was about to be, may have held more.
    let began = young.begun || r.ident.head.start_seq > n.segment.seq;
    let marked = n.segment.marks.iter().filter(|m| m.durable_to > p).max_by_key(|m| m.durable_to);
    let marked = marked.filter(|_| !planted(Bug::MarksIgnored));
    let anywhere = planted(Bug::CleanAnywhere);
    let closed = n.segment.marks.iter().any(|m| m.clean && (m.durable_to == p || anywhere));
    if closed && !began && (marked.is_none() || anywhere) {
        // Nothing was written after the mark that says so: what stands beyond is nobody's.
        (r.report.tail, r.report.certain) = (Tail::Clean, true);
        return Ok(());
    }
    let beyond = look_beyond(n)?;
    let promise = marked
        .map(|m| ("a mark page", m.durable_to))
        .or(beyond.promise.map(|q| ("a later batch", q.durable_to)));
    if let Some((who, durable_to)) = promise.filter(|_| !planted(Bug::PromisesIgnored)) {
        return Err(lost_batch(n, who, durable_to).into());
    }
    r.report.certain = false;
    // Behind a header of zeros in a file that is used again stands what it held before.
    let nothing = n.header.reused && n.stop.reason == StopReason::Blank;
    let end = if nothing { p } else { beyond.nonzero_end };
    r.report.tail = match &n.stop {
        Stop { header: Some(h), reason: StopReason::Body, .. } => {
            Tail::Torn { first_index: h.first_index, entries: h.n_entries }
        }
        _ if end == p => Tail::Blank,
        _ => Tail::Unknown,
    };
    if end > p {
        r.report.discarded = Some(Discarded {
            segment: n.segment.seq,
            path: n.segment.path.clone(),
            offset: p,
            bytes: end - p,
            crc: beyond.crc,
        });
    }
    Ok(())
}

/// The look-ahead behind P.
fn look_beyond<F: VfsFile>(n: &Newest<F>) -> Result<Beyond> {
    let (p, expected) = (n.stop.offset, n.last.batch_seq.wrapping_add(1));
    look_ahead(&n.segment.file, n.header.salt, n.segment.len, p, p, Some(expected))
        .map_err(|e| io_error("read", &n.segment.path, Some(p), e))
}

/// Whether the header of a bad batch places it where the rules let one stand in a log of these
/// bounds: within it, at its end, or anywhere behind a reset.
pub(crate) fn is_placed(h: &FrameHeader, first_index: u64, next_index: u64) -> bool {
    h.has(flags::RESET) || (first_index..=next_index).contains(&h.first_index)
}

/// The error for a durable batch that is bad: names what its header, if readable, says it held.
fn lost_batch<F>(n: &Newest<F>, who: &str, durable_to: u64) -> Corrupt {
    let is_next = |h: &FrameHeader| {
        h.batch_seq == n.last.batch_seq.wrapping_add(1) && is_placed(h, n.first_index, n.next_index)
    };
    let named = n.stop.header.filter(|h| h.n_entries > 0 && is_next(h));
    Corrupt {
        kind: CorruptKind::Batch,
        path: n.segment.path.clone(),
        offset: n.stop.offset,
        batch_seq: n.last.batch_seq.wrapping_add(1),
        expected: format!("{}, as {who} promises durability up to {durable_to}", n.stop.expected),
        found: n.stop.found.clone(),
        lost: Some(LostRange {
            first: named.map_or(n.next_index, |h| h.first_index),
            last: None,
            term: None,
        }),
        acked: Acked::Proven,
        advice: DEGRADED,
    }
}
