//! What may be said of a damaged log whose true contents are known.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use raft_vfs::SimVfs;
use raft_wal::error::{CorruptKind, LostRange};
use raft_wal::{Degraded, Entry, Error, Status};

use crate::log::{AtRest, bytes};
use crate::model::Model;

/// Entries that were committed at some time. Raft never changes them, so they may be shown even
/// where the batch that let go of them is lost.
pub(crate) type Committed = BTreeMap<u64, Entry>;

/// Whether a lost range holds an index.
pub(crate) fn holds(range: &LostRange, index: u64) -> bool {
    range.first <= index && range.last.is_none_or(|last| index <= last)
}

/// The lost range that the error of a read names, if it is the error for that.
pub(crate) fn lost_range(error: &Error) -> Option<LostRange> {
    match error {
        Error::Corrupt(c) => c.lost,
        _ => None,
    }
}

/// Opens, opens degraded and verifies a damaged log; says what is wrong with the answers. The
/// damage must leave evidence: a promise on disk for everything that the model holds.
pub(crate) fn judge(
    log: &AtRest,
    harmed: &BTreeSet<PathBuf>,
    committed: &Committed,
) -> Result<Verdict, String> {
    let before = bytes(&log.disk);
    let fork = AtRest { disk: log.disk.fork(), ..log.clone() };
    let refused = match fork.open() {
        Ok(wal) => {
            drop(wal);
            None
        }
        Err(e) => Some(e),
    };
    if refused.is_some() && bytes(&fork.disk) != before {
        return Err("the refused open changed the disk".into());
    }
    let verdict = judge_degraded(log, refused.as_ref(), committed)?;
    judge_verify(log, refused.as_ref(), harmed)?;
    if bytes(&log.disk) != before {
        return Err("looking at the log changed the disk".into());
    }
    match refused {
        Some(e) => named(&e, harmed).map(|()| verdict),
        None if verdict.lost > 0 => Err("entries are lost and yet the log opens".into()),
        None => Ok(Verdict { lost: 0, ..verdict }),
    }
}

/// How much was lost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) refused: bool,
    pub(crate) sound: usize,
    pub(crate) lost: usize,
    pub(crate) certain: bool,
}

fn judge_degraded(
    log: &AtRest,
    refused: Option<&Error>,
    committed: &Committed,
) -> Result<Verdict, String> {
    let g = log.degraded();
    let model = &log.model;
    if !matches!(log.open(), Err(Error::Locked { .. })) {
        return Err("the directory is not locked".into());
    }
    let mut verdict = Verdict { refused: refused.is_some(), ..Verdict::default() };
    let low = g.first_index().min(model.first).saturating_sub(2);
    let low = low.max(model.first.saturating_sub(200));
    for index in low..g.next_index().max(model.next()) + 2 {
        match g.entries(index, index + 1, u64::MAX) {
            Ok(found) => {
                verdict.sound += 1;
                sound(&g, index, &found, model, committed)?;
            }
            Err(e) => verdict.lost += usize::from(missing(&g, index, &e, model)?),
        }
    }
    ordered(g.lost())?;
    verdict.certain = g.hard_state_is_certain();
    if verdict.certain && g.hard_state() != model.hard_state {
        let (said, is) = (g.hard_state(), model.hard_state);
        return Err(format!("certain of {said:?} where it is {is:?}"));
    }
    match (refused, g.problems().is_empty()) {
        (Some(e), true) => Err(format!("no problem is named, but the open says: {e}")),
        (None, false) => Err(format!("the log opens, but: {}", g.problems()[0])),
        (None, true) if !verdict.certain => Err("the log opens, but its state is doubted".into()),
        _ => Ok(verdict),
    }
}

/// Judges an entry that is said to be sound.
fn sound(
    g: &Degraded<SimVfs>,
    index: u64,
    found: &[Entry],
    model: &Model,
    committed: &Committed,
) -> Result<(), String> {
    let [entry] = found else { return Err(format!("{} entries at {index}", found.len())) };
    if g.term(index) != Some(entry.term) {
        return Err(format!("entry {index} has term {}, not {:?}", entry.term, g.term(index)));
    }
    let right = match model.entry(index) {
        Some(e) => Some(e),
        // The batch that let go of it may be lost.
        None if index < model.first => committed.get(&index),
        None => None,
    };
    if right != Some(entry) {
        let term = right.map(|e| e.term);
        return Err(format!("entry {index} of term {} where {term:?} is right", entry.term));
    }
    Ok(())
}

/// Judges the error for an index that cannot be read. Says whether the log held an entry there.
fn missing(g: &Degraded<SimVfs>, index: u64, error: &Error, model: &Model) -> Result<bool, String> {
    let held = model.entry(index).is_some();
    let range = g.lost().iter().find(|r| holds(r, index));
    match (error, range) {
        (Error::Corrupt(_), Some(range)) if lost_range(error) == Some(*range) => Ok(held),
        (Error::Corrupt(c), _) => Err(format!("entry {index} is in {range:?}, the error: {c}")),
        // Behind the end that is known an index can be said to be lost only if there was one.
        (Error::Unavailable { .. }, Some(r)) if r.last.is_none() => Ok(held),
        (Error::Compacted { .. } | Error::Unavailable { .. }, None) if !held => Ok(false),
        _ => Err(format!("entry {index} is lost without a word: {error}; {:?}", g.lost())),
    }
}

fn ordered(lost: &[LostRange]) -> Result<(), String> {
    let sane = lost.iter().all(|r| r.last.is_none_or(|last| r.first <= last));
    let apart = lost.windows(2).all(|w| w[0].last.is_some_and(|last| last < w[1].first));
    if sane && apart { Ok(()) } else { Err(format!("lost ranges in disorder: {lost:?}")) }
}

fn judge_verify(
    log: &AtRest,
    refused: Option<&Error>,
    harmed: &BTreeSet<PathBuf>,
) -> Result<(), String> {
    let v = match raft_wal::verify(log.disk.clone(), crate::log::DIR, &log.options) {
        Ok(v) => v,
        Err(e) if refused.is_some() && !matches!(refused, Some(Error::Corrupt(_))) => {
            return named(&e, harmed);
        }
        Err(e) => return Err(format!("verify: {e}")),
    };
    let corrupt = v.status == Status::Corrupt;
    if corrupt != refused.is_some() {
        return Err(format!("verify says {:?}, the open {refused:?}", v.status));
    }
    match v.problems.into_iter().next() {
        Some(p) => named(&p.into(), harmed),
        None if corrupt => Err("verify names no problem".into()),
        None => Ok(()),
    }
}

/// Whether an error names a damaged file. Of a log that went on in segments which are all gone,
/// only an older number may be known.
fn named(error: &Error, harmed: &BTreeSet<PathBuf>) -> Result<(), String> {
    let path = match error {
        Error::Corrupt(c) => &c.path,
        Error::IdentityMismatch { path, .. }
        | Error::Unsupported { path, .. }
        | Error::Io { path, .. } => path,
        e => return Err(format!("not an error of damage: {e}")),
    };
    let is_missing = matches!(error, Error::Corrupt(c) if c.kind == CorruptKind::MissingSegment);
    let right = harmed.contains(path) || (is_missing && harmed.iter().any(|h| path < h));
    if right { Ok(()) } else { Err(format!("a sound file is named: {error}")) }
}
