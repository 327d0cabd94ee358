//! Section 8 of `docs/FORMAT.md`, "what a batch may do", in the plainest terms.

use std::collections::BTreeMap;

use raft_wal::{Batch, HardState, SnapshotMark};

use crate::support::model::Model;

const SMALL_MAX: usize = 64 << 10;

/// Whether `batch` may be appended to a log that stands as `log` says.
pub(super) fn lawful(log: &Model, batch: &Batch) -> bool {
    if batch.is_empty() || !small(log, batch) || !dense(batch) {
        return false;
    }
    let mut at = log.clone();
    begins(log, &mut at, batch)
        && truncates(log, &mut at, batch)
        && entries(&mut at, batch)
        && batch.hard_state.is_none_or(|new| state(log.hard_state, new, batch.reset.is_some()))
        && batch.snapshot.as_ref().is_none_or(|mark| snapshot(log, &at, batch, mark))
        && committed(&at, batch.hard_state.unwrap_or(log.hard_state).commit)
}

/// Sizes and numbers of what is not entries.
fn small(log: &Model, batch: &Batch) -> bool {
    let of = |key: &[u8], value: &[u8]| 1 + key.len() + value.len();
    let mut live: BTreeMap<_, _> = log.blobs.clone();
    for (key, value) in &batch.blobs {
        if key.is_empty() || key.len() > 255 || of(key, value) > SMALL_MAX {
            return false;
        }
        live.insert(key.clone(), value.clone());
    }
    live.retain(|_, value| !value.is_empty());
    batch.metadata.as_ref().is_none_or(|m| m.len() <= SMALL_MAX)
        && batch.snapshot.as_ref().is_none_or(|s| s.conf_state.len() <= SMALL_MAX)
        && live.len() <= 32
        && (batch.blobs.is_empty()
            || live.iter().map(|(k, v)| of(k, v)).sum::<usize>() <= SMALL_MAX)
}

/// Entries follow each other, and none has the last number there is.
fn dense(batch: &Batch) -> bool {
    let indexes = batch.entries.iter().map(|e| e.index);
    let follows = |a: &u64, b: &u64| a.checked_add(1) == Some(*b);
    indexes.clone().is_sorted_by(follows) && indexes.last() != Some(u64::MAX)
}

/// Compact and Reset: where the log begins.
fn begins(log: &Model, at: &mut Model, batch: &Batch) -> bool {
    if let Some(index) = batch.compact {
        if index < log.first || index > log.next() {
            return false;
        }
        at.apply(&Batch { compact: Some(index), ..Batch::default() });
    }
    if let Some(reset) = batch.reset {
        if batch.compact.is_some() || batch.truncate.is_some() || reset.first_index == u64::MAX {
            return false;
        }
        if reset.first_index == 0 && reset.base_term.is_some() {
            return false;
        }
        let kept = log.snapshot.as_ref().filter(|_| batch.snapshot.is_none());
        let before = kept.filter(|mark| mark.index.checked_add(1) == Some(reset.first_index));
        if let (Some(mark), Some(term)) = (before, reset.base_term)
            && mark.term != term
        {
            return false;
        }
        at.apply(&Batch { reset: Some(reset), ..Batch::default() });
    }
    true
}

/// Truncate, asked for or implied by entries that overwrite.
fn truncates(log: &Model, at: &mut Model, batch: &Batch) -> bool {
    let mut from = batch.truncate;
    if let Some(first) = batch.entries.first().map(|e| e.index)
        && batch.reset.is_none()
        && first < from.unwrap_or(log.next())
    {
        from = Some(first);
    }
    let Some(from) = from.filter(|&from| from != log.next()) else { return true };
    let commit = log.hard_state.commit;
    let marked = log.snapshot.as_ref().is_some_and(|mark| from <= mark.index);
    if from < at.first || from > at.next() || (commit != 0 && from <= commit) || marked {
        return false;
    }
    at.apply(&Batch { truncate: Some(from), ..Batch::default() });
    true
}

/// Entries at the end, with terms that do not fall.
fn entries(at: &mut Model, batch: &Batch) -> bool {
    let Some(first) = batch.entries.first() else { return true };
    let before = at.last_term().unwrap_or(0);
    let terms = batch.entries.iter().map(|e| e.term);
    if first.index != at.next() || first.term < before || !terms.is_sorted() {
        return false;
    }
    at.entries.extend(batch.entries.iter().cloned());
    true
}

fn state(old: HardState, new: HardState, reset: bool) -> bool {
    let one_vote = new.term > old.term || old.vote == 0 || new.vote == old.vote;
    new.term >= old.term && one_vote && (reset || new.commit >= old.commit)
}

fn snapshot(log: &Model, at: &Model, batch: &Batch, mark: &SnapshotMark) -> bool {
    let older = log.snapshot.as_ref().is_some_and(|old| old.index > mark.index);
    let after = mark.index.checked_add(1);
    let within = after.is_some_and(|after| after <= at.next());
    within
        && at.term(mark.index).is_none_or(|term| term == mark.term)
        && (!older || batch.reset.is_some())
}

fn committed(at: &Model, commit: u64) -> bool {
    commit == 0 || commit < at.next()
}
