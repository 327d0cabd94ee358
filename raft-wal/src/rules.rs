//! The rules of the log: what a batch may do to it. One function judges a batch before it is
//! written and again when it is replayed.

use crate::error::{Error, Reject, Result};
use crate::format::{Control, Run};
use crate::options::VoteRule;
use crate::planted::{Bug, planted};
use crate::types::{HardState, Reset, SnapshotMark};

/// One batch, as far as the rules look: its control records, and index and terms of its entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) controls: &'a [(u64, Control)],
    pub(crate) first_index: u64,
    pub(crate) count: u64,
    pub(crate) runs: &'a [Run],
}

/// What a batch is judged against: the log before it. What is not known is not asked.
pub(crate) trait Before {
    /// First and next index.
    fn bounds(&self) -> (u64, u64);
    /// Term of the index before the first.
    fn base_term(&self) -> Option<u64>;
    /// Term of the last entry; the base term of an empty log.
    fn last_term(&self) -> Option<u64>;
    /// Term of `index`.
    fn term(&self, index: u64) -> Result<Option<u64>>;
    /// The hard state in force.
    fn hard_state(&self) -> HardState;
    /// The snapshot marker in force.
    fn snapshot(&self) -> Option<&SnapshotMark>;
}

/// The outcome of the rules: refused for a reason, or not even decidable because of a read error.
pub(crate) type Verdict = Result<(), Broken>;

/// Why a batch cannot be applied.
#[derive(Debug)]
pub(crate) enum Broken {
    /// It breaks a rule.
    Rule(Reject),
    /// The log could not be read to find out.
    Read(Error),
}

impl From<Reject> for Broken {
    fn from(r: Reject) -> Self {
        Self::Rule(r)
    }
}

impl From<Error> for Broken {
    fn from(e: Error) -> Self {
        Self::Read(e)
    }
}

impl From<Broken> for Error {
    fn from(b: Broken) -> Self {
        match b {
            Broken::Rule(r) => Error::Rejected(r),
            Broken::Read(e) => e,
        }
    }
}

/// The log's bounds while a batch is judged record by record.
struct Cursor {
    first: u64,
    next: u64,
    base_term: Option<u64>,
    /// Whether `next` was moved, so that terms below it come from the log only up to `next`.
    reset: bool,
}

/// Judges `change` against `log`. Does not change anything.
pub(crate) fn check(log: &impl Before, change: &Change<'_>, votes: VoteRule) -> Verdict {
    let (first, next) = log.bounds();
    let mut at = Cursor { first, next, base_term: log.base_term(), reset: false };
    let mut hard_state = log.hard_state();
    for (_, control) in change.controls {
        match control {
            Control::Compact { first_index, base_term, .. } => {
                compact(log, &mut at, *first_index, *base_term)?;
            }
            Control::Reset(r) => {
                reset(log, change, r)?;
                at = Cursor {
                    first: r.first_index,
                    next: r.first_index,
                    base_term: r.base_term,
                    reset: true,
                };
            }
            Control::Truncate(from) => {
                truncate(log, &mut at, *from, hard_state.commit)?;
            }
            Control::State(new) => {
                state(&hard_state, new, at.reset, votes)?;
                hard_state = *new;
            }
            // A marker is judged last: it may name an entry that its own batch brings.
            _ => {}
        }
    }
    entries(log, &mut at, change)?;
    for (_, control) in change.controls {
        if let Control::Snap(mark) = control {
            snapshot(log, &at, mark, change)?;
        }
    }
    // An empty log that begins at 0 has no last index; commit 0 then means "nothing".
    if hard_state.commit != 0 && hard_state.commit >= at.next {
        return Err(
            Reject::CommitBeyondLog { commit: hard_state.commit, next_index: at.next }.into()
        );
    }
    Ok(())
}

fn compact(log: &impl Before, at: &mut Cursor, index: u64, base_term: Option<u64>) -> Verdict {
    if index < at.first || index > at.next {
        return Err(
            Reject::CompactRange { index, first_index: at.first, next_index: at.next }.into()
        );
    }
    if index > at.first {
        let expected = log.term(index - 1)?;
        // Entries that an older compaction removed the files of are not there to be asked.
        if expected.is_some() && expected != base_term {
            return Err(Reject::BaseTerm { index, expected, found: base_term }.into());
        }
        at.base_term = base_term;
    }
    at.first = index;
    Ok(())
}

fn snapshot(log: &impl Before, at: &Cursor, mark: &SnapshotMark, change: &Change<'_>) -> Verdict {
    let Some(after) = mark.index.checked_add(1) else {
        return Err(Reject::IndexOverflow(mark.index).into());
    };
    if after > at.next {
        return Err(Reject::SnapshotBeyondLog { index: mark.index, next_index: at.next }.into());
    }
    let expected = if after < at.first {
        // What the log gave up cannot be asked; older markers are repeated long after that.
        None
    } else if after == at.first {
        at.base_term
    } else if change.count > 0 && mark.index >= change.first_index {
        change.runs.iter().rev().find(|r| r.index <= mark.index).map(|r| r.term)
    } else if at.reset {
        None
    } else {
        log.term(mark.index)?
    };
    if let Some(expected) = expected.filter(|&t| t != mark.term) {
        let (index, found) = (mark.index, mark.term);
        return Err(Reject::SnapshotTerm { index, expected, found }.into());
    }
    match log.snapshot() {
        Some(s) if s.index > mark.index && !at.reset => {
            Err(Reject::SnapshotOld { current: s.index, found: mark.index }.into())
        }
        _ => Ok(()),
    }
}

/// Nothing stands before index 0. A reset keeps an older marker below the new log, where every
/// later segment repeats it: right before the first index it must agree with the base term.
fn reset(log: &impl Before, change: &Change<'_>, r: &Reset) -> Verdict {
    if let Some(found) = r.base_term.filter(|_| r.first_index == 0) {
        return Err(Reject::BaseTerm { index: 0, expected: None, found: Some(found) }.into());
    }
    let brought = change.controls.iter().any(|(_, c)| matches!(c, Control::Snap(_)));
    let kept = log.snapshot().filter(|m| !brought && m.index + 1 == r.first_index);
    match (kept, r.base_term) {
        (Some(m), Some(found)) if m.term != found => {
            Err(Reject::SnapshotTerm { index: m.index, expected: m.term, found }.into())
        }
        _ => Ok(()),
    }
}

fn truncate(log: &impl Before, at: &mut Cursor, from: u64, commit: u64) -> Verdict {
    if at.reset {
        return Err(Reject::ResetWithOther.into());
    }
    if from < at.first || from > at.next {
        let (first_index, next_index) = (at.first, at.next);
        return Err(Reject::TruncateRange { from, first_index, next_index }.into());
    }
    if commit != 0 && from <= commit && !planted(Bug::CommittedTruncated) {
        return Err(Reject::TruncateCommitted { from, commit }.into());
    }
    // The marker is repeated in every segment, where it must name an entry or the base.
    if let Some(mark) = log.snapshot().filter(|m| from <= m.index) {
        return Err(Reject::TruncateSnapshot { from, index: mark.index }.into());
    }
    if from > at.first {
        // The new last term is needed to apply this, and may have to be read: better now, while a
        // failure changes nothing.
        log.term(from - 1)?;
    }
    at.next = from;
    Ok(())
}

fn state(old: &HardState, new: &HardState, reset: bool, votes: VoteRule) -> Verdict {
    if new.term < old.term {
        return Err(Reject::Term { current: old.term, found: new.term }.into());
    }
    let changed = new.term == old.term && old.vote != 0 && new.vote != old.vote;
    if changed && votes == VoteRule::OncePerTerm {
        return Err(Reject::Vote { term: new.term, current: old.vote, found: new.vote }.into());
    }
    if new.commit < old.commit && !reset && !planted(Bug::CommitFalls) {
        return Err(Reject::CommitFalls { current: old.commit, found: new.commit }.into());
    }
    Ok(())
}

fn entries(log: &impl Before, at: &mut Cursor, change: &Change<'_>) -> Verdict {
    if change.count == 0 {
        return Ok(());
    }
    if change.first_index != at.next {
        return Err(Reject::Index { expected: at.next, found: change.first_index }.into());
    }
    let end = change.first_index.checked_add(change.count);
    let end = end.ok_or(Reject::IndexOverflow(u64::MAX))?;
    let mut before = if at.next == at.first {
        at.base_term
    } else if at.next == log.bounds().1 {
        log.last_term()
    } else {
        log.term(at.next - 1)?
    };
    for run in change.runs {
        if let Some(before) = before.filter(|&t| t > run.term) {
            return Err(Reject::EntryTerm { index: run.index, before, found: run.term }.into());
        }
        before = Some(run.term);
    }
    at.next = end;
    Ok(())
}
