//! Step 8: the state of the log, batch by batch.

use std::path::Path;
use std::sync::Arc;

use raft_vfs::Vfs;

use super::segment_file::SegmentFile;
use super::tail::{Newest, cut_of};
use super::{DEGRADED, Recovery};
use crate::error::{Acked, Corrupt, CorruptKind, Error, LostRange, Reject, Result};
use crate::format::{Base, Control, FIRST_FRAME};
use crate::paths::io_error;
use crate::planted::{Bug, planted};
use crate::rules::{Broken, Change, check};
use crate::scan::{Check, Frame, Scanner, Step};
use crate::segment::{ClosedSegment, Cut};
use crate::state::LogState;
use crate::view::Span;

/// The log as of the last proven batch: what the next segment's Base will say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CutPoint {
    pub(crate) segment: u64,
    pub(crate) salt: u32,
    pub(crate) cut: Cut,
    pub(crate) first_index: u64,
    pub(crate) base_term: Option<u64>,
    pub(crate) next_index: u64,
    pub(crate) last_term: Option<u64>,
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

/// Term of the entry before the first; before index 0 there is none, whatever the record says.
fn base_term(base: &Base) -> Option<u64> {
    base.base_term.filter(|_| base.first_index > 0)
}

/// Term of the last entry at the cut; 0 in the record also stands for one that was not known.
fn last_term(base: &Base) -> Option<u64> {
    if base.next_index == base.first_index {
        return base_term(base);
    }
    Some(base.last_term).filter(|&term| term != 0)
}

/// The log as the newest segment found it: older segments' entries, each cut by all younger ones.
/// With `full`, what the Base says of entries that are at hand is held against them.
fn view_before<V: Vfs>(
    newest: &Newest<V::File>,
    older: Vec<Arc<ClosedSegment<V>>>,
    full: bool,
) -> Result<LogState<V>> {
    let base = &newest.base;
    let mut state = LogState::empty(base.next_index);
    let view = &mut state.view;
    view.first_index = base.first_index;
    view.base_term = base_term(base);
    view.last_term = last_term(base);
    let (mut upper, mut minimum) = (base.next_index, u64::MAX);
    let told = [(base.first_index, base.base_term), (base.next_index, view.last_term)];
    let mut at_hand = Vec::new();
    for segment in older.into_iter().rev() {
        let (lo, hi) = (segment.first(), segment.next().min(minimum));
        let (low, reset) = (segment.low(), segment.had_reset());
        if lo < hi {
            if hi != upper {
                let lost = LostRange { first: hi, last: upper.checked_sub(1), term: None };
                return Err(gap(&segment.path, segment.cut.end, lost));
            }
            upper = lo;
            for (after, term) in told {
                let index = after.checked_sub(1).filter(|i| (lo..hi).contains(i));
                at_hand.extend(index.zip(term).map(|told| (segment.clone(), told)));
            }
            // What was compacted away is not asked for, here no more than while it was written.
            let lo = lo.max(base.first_index);
            if lo < hi {
                view.spans.push_front(Span { segment, lo, hi });
            }
        }
        if reset {
            break;
        }
        if !planted(Bug::TruncationForgotten) {
            minimum = minimum.min(low);
        }
    }
    for (segment, (index, told)) in at_hand.into_iter().filter(|_| full) {
        let found = segment.term(index)?;
        if found != Some(told) {
            return Err(other_term(&newest.segment.path, index, told, found));
        }
    }
    Ok(state)
}

fn other_term(path: &Path, index: u64, told: u64, found: Option<u64>) -> Error {
    let reject =
        Reject::BaseTerm { index: index.saturating_add(1), expected: found, found: Some(told) };
    broken_rule(path, FIRST_FRAME, 0, &reject).into()
}

fn broken_rule(path: &Path, offset: u64, batch_seq: u64, rule: &Reject) -> Corrupt {
    Corrupt {
        kind: CorruptKind::Rule,
        path: path.to_owned(),
        offset,
        batch_seq,
        expected: "a batch that keeps the rules of the log".into(),
        found: rule.to_string(),
        lost: None,
        acked: Acked::Possible,
        advice: "keep this directory and report it: intact batches must keep the rules",
    }
}

fn gap(path: &Path, offset: u64, lost: LostRange) -> Error {
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
pub(super) fn replay<V: Vfs>(
    recovery: &Recovery<'_, V>,
    newest: &Newest<V::File>,
    older: Vec<Arc<ClosedSegment<V>>>,
    full: bool,
) -> Result<(LogState<V>, CutPoint, Carry)> {
    let (mut state, cut, carry) = replay_batches(recovery, newest, older, full)?;
    let v = &state.view;
    if v.covered_from() > v.first_index {
        let lost =
            LostRange { first: v.first_index, last: v.covered_from().checked_sub(1), term: None };
        return Err(gap(&newest.segment.path, FIRST_FRAME, lost));
    }
    state.view.settle()?;
    Ok((state, cut, carry))
}

/// The same without asking whether all entries are there.
pub(super) fn replay_batches<V: Vfs>(
    recovery: &Recovery<'_, V>,
    newest: &Newest<V::File>,
    older: Vec<Arc<ClosedSegment<V>>>,
    full: bool,
) -> Result<(LogState<V>, CutPoint, Carry)> {
    let s = &newest.segment;
    let fault = |e| io_error("read", &s.path, None, e);
    let mut state = view_before(newest, older, full)?;
    let b = &newest.base;
    let mut cut = CutPoint {
        segment: b.prev_segment,
        salt: b.prev_salt,
        cut: Cut { batch_seq: b.prev_batch_seq, chain: b.prev_chain, end: b.prev_end },
        first_index: b.first_index,
        base_term: base_term(b),
        next_index: b.next_index,
        last_term: last_term(b),
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
        Err(Broken::Rule(rule)) => {
            Err(broken_rule(&s.path, f.offset, f.header.batch_seq, &rule).into())
        }
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
