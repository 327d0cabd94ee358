//! Recovery: from the files of a directory to the exact state that was acknowledged.
//!
//! The path, one function a step; nothing here writes a byte:
//!
//! 1. `dir`: the lock, the identity, HEAD, the names.
//! 2. `load_segment`: each segment's header, by majority of its three copies.
//! 3. `find_newest`: H, the newest segment whose first batch is valid. Younger ones must be
//!    provably unstarted.
//! 4. `prove`: H is scanned to P, its first bad frame; on the way every promise is collected.
//! 5. `judge_tail`: torn or damaged? Only a promise above P makes it damage.
//! 6. `judge_head`: do the segments that HEAD and SEAL name exist?
//! 7. `walk_back`: older segments, each cut where its successor's Base says.
//! 8. `replay`: the state, batch by batch, every batch judged by `rules`.
//! 9. `judge_marks`: the copies of term and vote in the marks.
//!
//! What is readable but not proven durable is then written again by `era`.

mod prefix;
mod replay;
mod segment_file;
mod tail;
mod walk;

use std::collections::BTreeMap;

use raft_vfs::{Vfs, VfsFile, VfsFileExt};

use self::replay::replay;
use self::segment_file::header_of;
use self::tail::prove_and_judge;
use self::walk::{Older, walk_back};
use crate::dir::{Ident, Names};
use crate::error::{Acked, Corrupt, CorruptKind, Error, LostRange, Result};
use crate::format::{FIRST_FRAME, PAGE, SegmentHeader};
use crate::gc::DeadTail;
use crate::options::{Options, Verify, VoteRule};
use crate::paths::{Paths, io_error};
use crate::pins::Extent;
use crate::planted::{Bug, planted};
use crate::report::{Discarded, RecoveryReport};
use crate::scan::{Check, Scanner, Step, Stop, StopReason, look_ahead};
use crate::segment::Cut;
use crate::state::LogState;
use crate::types::HardState;

pub(crate) use self::prefix::{Bound, recover_prefix};
pub(crate) use self::replay::{Carry, CutPoint};
pub(crate) use self::segment_file::{SegmentFile, SegmentInfo, load_segment, load_segment_at};
pub(crate) use self::tail::{Newest, is_placed};

/// Logs up to this size are read whole when [`Verify::Auto`] opens them.
const AUTO_FULL_BYTES: u64 = 256 << 20;

/// The outcome of recovery.
#[derive(Debug)]
pub(crate) struct Recovered<V: Vfs> {
    pub(crate) state: LogState<V>,
    pub(crate) newest: Option<Newest<V::File>>,
    pub(crate) cut: CutPoint,
    pub(crate) carry: Carry,
    /// Segments of the log, oldest first, the newest included.
    pub(crate) walk: Vec<u64>,
    /// What of each but the newest is part of the log.
    pub(crate) extents: BTreeMap<u64, Extent>,
    /// Segments younger than the newest: published, never started.
    pub(crate) young: Vec<u64>,
    /// Where files of closed segments go on behind the cut.
    pub(crate) dead_tails: Vec<DeadTail>,
    /// Highest era seen anywhere.
    pub(crate) era: u64,
    /// Highest segment number seen anywhere.
    pub(crate) highest: u64,
}

/// Segments younger than the newest started one.
#[derive(Debug, Default)]
struct Young {
    numbers: Vec<u64>,
    /// One of them has bytes where its first batch would be.
    begun: bool,
}

/// Every segment in the directory, or why it could not be read.
pub(crate) type Segments = BTreeMap<u64, Result<SegmentInfo>>;

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
    let mut segments = Segments::new();
    let mut total: u64 = 0;
    for &seq in &r.names.segments {
        // A file that is dead may be unreadable; the error is whose who needs it.
        let s = load_segment(r.vfs, r.paths, seq);
        if let Ok(s) = &s {
            total = s.len.saturating_add(total);
            note_bad_pages(r.report, s);
        }
        segments.insert(seq, s);
    }
    let era = segments.values().flatten().filter_map(|s| s.header).map(|h| h.era);
    let era = era.fold(r.ident.head.era, u64::max);
    let full = match r.options.verify {
        Verify::Auto => total <= AUTO_FULL_BYTES,
        Verify::Tail => false,
        Verify::Full => true,
    };
    let mut young = Young::default();
    let found = find_newest(&mut r, &mut segments, &mut young)?;
    let highest = r.names.highest().max(r.ident.head.start_seq);
    let Some((segment, header)) = found else {
        judge_head(&r, None, &segments, &young)?;
        let state = LogState::empty(r.options.initial_index);
        r.report.certain = r.ident.head.start_seq == 0 && !was_begun(&segments, &young);
        let out = empty_log(state, young.numbers, era, highest);
        return judge_empty_marks(&mut r, &segments, out);
    };
    let newest = prove_and_judge(&mut r, segment, header, &young)?;
    judge_head(&r, Some(&newest), &segments, &young)?;
    let Older { segments: older, dead_tails } = walk_back(&mut r, &newest, &mut segments, full)?;
    let mut walk: Vec<u64> = older.iter().map(|s| s.seq).collect();
    walk.push(newest.segment.seq);
    let extents = older.iter().map(|s| (s.seq, s.id().into())).collect();
    let (mut state, cut, carry) = replay(&r, &newest, older, full)?;
    let youngsters = young.numbers.iter().filter_map(|n| segments.get(n)?.as_ref().ok());
    judge_marks(&mut r, Some(&newest), youngsters, &mut state.hard_state)?;
    r.report.segments = walk.len();
    let highest = highest.max(newest.sealed.map_or(0, |(n, _)| n));
    Ok(Recovered {
        state,
        newest: Some(newest),
        cut,
        carry,
        walk,
        extents,
        young: young.numbers,
        dead_tails,
        era,
        highest,
    })
}

/// Whether anything says that one of the unstarted segments held a batch: bytes where its first
/// batch would be, or a mark that repeats a hard state.
fn was_begun(segments: &Segments, young: &Young) -> bool {
    let marks = segments.values().flatten().flat_map(|s| &s.marks);
    young.begun || marks.into_iter().any(|m| m.state_off != 0)
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
        last_term: None,
    };
    let carry = Carry::default();
    Recovered {
        state,
        newest: None,
        cut,
        carry,
        walk: Vec::new(),
        extents: BTreeMap::new(),
        young,
        dead_tails: Vec::new(),
        era,
        highest,
    }
}

/// A vote may survive in a mark although the batch that gave it, the log's first, is torn.
fn judge_empty_marks<V: Vfs>(
    r: &mut Recovery<'_, V>,
    segments: &Segments,
    mut out: Recovered<V>,
) -> Result<Recovered<V>> {
    let young = out.young.iter().filter_map(|n| segments.get(n)?.as_ref().ok());
    judge_marks(r, None, young, &mut out.state.hard_state)?;
    Ok(out)
}

/// A bad copy of the header is harmless as long as there are others, but somebody should know.
fn note_bad_pages(report: &mut RecoveryReport, s: &SegmentInfo) {
    if s.header.is_none() {
        return;
    }
    for &page in &s.bad_pages {
        let what = if page == 0 { "header page" } else { "mark page" };
        report.note(&s.path, format!("{what} {page} is not valid; another copy of the header is"));
    }
}

/// A segment has its whole length before it has its name, and the newest is never shortened.
fn refuse_short(s: &SegmentInfo, header: &SegmentHeader) -> Result<()> {
    if s.len >= header.capacity || planted(Bug::ShortIsWhole) {
        return Ok(());
    }
    Err(Corrupt {
        kind: CorruptKind::Length,
        path: s.path.clone(),
        offset: s.len,
        batch_seq: 0,
        expected: format!("{} bytes", header.capacity),
        found: format!("{} bytes", s.len),
        lost: None,
        acked: Acked::Possible,
        advice: DEGRADED,
    }
    .into())
}

/// Step 3: the newest segment whose first batch is valid, taken out of `segments`.
fn find_newest<V: Vfs>(
    r: &mut Recovery<'_, V>,
    segments: &mut Segments,
    young: &mut Young,
) -> Result<Option<(SegmentFile<V::File>, SegmentHeader)>> {
    let numbers: Vec<u64> = segments.keys().rev().copied().collect();
    let start = r.ident.head.start_seq;
    for seq in numbers {
        if seq < start && !r.names.segments.contains(&start) {
            // Before anything is said against an older segment, which was cut behind its end as
            // soon as the one that is missing was durable.
            return Err(missing(r.paths, start, HEAD_SAYS, None));
        }
        let Some(info) = segments.remove(&seq) else { continue };
        let info = info?;
        let header = header_of(r, &info)?;
        refuse_short(&info, &header)?;
        let s = info.open(r.vfs)?;
        let fault = |e| io_error("read", &s.path, Some(FIRST_FRAME), e);
        let mut scanner = Scanner::new(&s.file, header.salt, s.len, Check::Full);
        let stop = match scanner.step().map_err(fault)? {
            Step::Frame if scanner.frame().base().is_some_and(|b| b.era == header.era) => {
                return Ok(Some((s, header)));
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
        if let Some(to) = promised.filter(|_| !planted(Bug::BadStartIsBlank)) {
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
        if !is_blank(&s.file).map_err(fault)? {
            young.begun = true;
            r.report.discarded.get_or_insert(Discarded {
                segment: seq,
                path: s.path.clone(),
                offset: FIRST_FRAME,
                bytes: ahead.nonzero_end - FIRST_FRAME,
                crc: ahead.crc,
            });
            r.report.note(
                &s.path,
                "its first batch is torn; nothing in it was acknowledged for certain",
            );
        }
        young.numbers.push(seq);
        segments.insert(seq, Ok(s.info));
    }
    Ok(None)
}

/// Whether nothing stands where a segment's first batch begins. What lies behind that page may be
/// of an earlier life of the file.
fn is_blank<F: VfsFile>(file: &F) -> std::io::Result<bool> {
    let mut page = [0; PAGE as usize];
    let got = file.read_up_to_at(&mut page, FIRST_FRAME)?;
    Ok(page[..got].iter().all(|&b| b == 0))
}

const DEGRADED: &str =
    "open degraded to read what is sound, then refill from a peer or restore the file from a copy";

/// A frame that a newer version wrote is not damage.
pub(crate) fn refuse_unsupported(path: &std::path::Path, stop: Option<&Stop>) -> Result<()> {
    match stop {
        Some(Stop { reason: StopReason::Unsupported, header: Some(h), .. }) => {
            Err(Error::Unsupported {
                path: path.to_owned(),
                what: "frame codec, stream or record kind",
                found: Some(u64::from(h.codec.max(h.stream))).filter(|&n| n != 0).unwrap_or(15),
                expected: 0,
            })
        }
        _ => Ok(()),
    }
}

const HEAD_SAYS: &str = "IDENT says that the log went on there, or in what replaced it";

/// Step 6: the segments that HEAD and SEAL speak of must exist.
fn judge_head<V: Vfs>(
    r: &Recovery<'_, V>,
    newest: Option<&Newest<V::File>>,
    segments: &Segments,
    young: &Young,
) -> Result<()> {
    let h_seq = newest.map_or(0, |n| n.segment.seq);
    let there =
        |seq: u64| seq == h_seq || segments.contains_key(&seq) || young.numbers.contains(&seq);
    let head = r.ident.head;
    if head.start_seq > h_seq && !planted(Bug::HeadIgnored) {
        for seq in [head.start_seq, head.live_seq, head.proven_seq] {
            if seq != 0 && !there(seq) {
                return Err(missing(r.paths, seq, HEAD_SAYS, None));
            }
        }
    }
    if let Some((next, salt)) = newest.and_then(|n| n.sealed) {
        if !there(next) && !planted(Bug::SealIgnored) {
            let why = format!("segment {h_seq} is closed and names it");
            return Err(missing(r.paths, next, &why, newest.map(|n| (n.next_index, None))));
        }
        let header = segments.get(&next).and_then(|s| s.as_ref().ok()?.header);
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
    Ok(())
}

/// The error for a segment that must exist; `lost` are the indexes that it may have held.
fn missing(paths: &Paths, seq: u64, why: &str, lost: Option<(u64, Option<u64>)>) -> Error {
    Corrupt {
        kind: CorruptKind::MissingSegment,
        path: paths.segment(seq),
        offset: 0,
        batch_seq: 0,
        expected: format!("a file, because {why}"),
        found: "no such file".into(),
        lost: lost.map(|(first, last)| LostRange { first, last, term: None }),
        acked: Acked::Possible,
        advice: "put the file back from a copy; without it what it held is lost",
    }
    .into()
}

/// Step 9: the newest mark of the newest segment and of each unstarted one repeats term and vote.
/// A copy of a state that the log holds must not be newer than the log's; a copy of one that was
/// torn raises it, because a vote that may have been given is never forgotten.
fn judge_marks<'s, V: Vfs>(
    r: &mut Recovery<'_, V>,
    newest: Option<&Newest<V::File>>,
    young: impl Iterator<Item = &'s SegmentInfo>,
    hs: &mut HardState,
) -> Result<()> {
    let own = newest.map(|n| (&n.segment.info, n.stop.offset));
    for (s, p) in own.into_iter().chain(young.map(|s| (s, 0))) {
        let Some(mark) = s.newest_mark() else { continue };
        if mark.state_off == 0 {
            continue;
        }
        let (term, vote) = (mark.term, mark.vote);
        let once = r.options.vote_rule == VoteRule::OncePerTerm;
        let newer = term > hs.term || (once && term == hs.term && vote != 0 && hs.vote == 0);
        let both = term == hs.term && vote != 0 && hs.vote != 0;
        let conflict = once && both && vote != hs.vote;
        if conflict || (newer && mark.state_off < p && !planted(Bug::LostStateAccepted)) {
            return Err(Corrupt {
                kind: CorruptKind::State,
                path: s.path.clone(),
                offset: mark.state_off.min(s.len),
                batch_seq: 0,
                expected: format!("term {term} vote {vote}, as a mark page repeats it, or newer"),
                found: format!("term {} vote {}", hs.term, hs.vote),
                lost: None,
                acked: Acked::Proven,
                advice: "a vote may be forgotten: rebuild this node as a new member, or restore the file",
            }
            .into());
        }
        if newer && !planted(Bug::VoteCopyIgnored) {
            (hs.term, hs.vote) = (term, vote);
            r.report.state_raised = true;
        }
    }
    Ok(())
}
