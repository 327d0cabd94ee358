//! Random batches that keep the rules of the log, and reading everything back.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;
use fastrand::Rng;
use raft_vfs::OsVfs;
use raft_wal::{
    Batch, Entry, EntryKind, Error, HardState, Options, ReadOnly, RecoveryReport, Reset, Result,
    SnapshotMark, Wal,
};

use crate::support::model::Model;

/// A log that would grow beyond this many entries is compacted instead.
const ENTRIES_MAX: u64 = 400;

/// The next batch of a history: depends on nothing but the generator and the log as it is.
pub(crate) fn random_batch(rng: &mut Rng, log: &Model) -> Batch {
    let mut batch = Batch::default();
    let mut state = log.hard_state;
    if rng.u8(..) < 24 {
        state = HardState { term: state.term + rng.u64(1..3), vote: rng.u64(..4), ..state };
    } else if state.vote == 0 && rng.bool() {
        state.vote = rng.u64(1..4);
    }
    let marked = log.snapshot.as_ref().map_or(0, |s| s.index + 1);
    let first_open = (state.commit + 1).max(log.first).max(marked);
    match rng.u8(..100) {
        _ if log.next() - log.first > ENTRIES_MAX => {
            batch.compact = Some(log.next() - rng.u64(..ENTRIES_MAX / 2));
        }
        0..=57 => batch.entries = entries(rng, log.next(), state.term),
        58..=67 if first_open <= log.next() => {
            let from = rng.u64(first_open..=log.next());
            batch.entries = entries(rng, from, state.term);
        }
        68..=73 if first_open <= log.next() => {
            let from = rng.u64(first_open..=log.next());
            batch.truncate = Some(from);
            if rng.bool() {
                batch.entries = entries(rng, from, state.term);
            }
        }
        74..=78 => batch.compact = Some(rng.u64(log.first..=log.next())),
        81 if rng.bool() => install(rng, log, &mut batch, &mut state),
        85..=90 => {
            let key = Bytes::from(vec![b'a' + rng.u8(..8)]);
            let len = rng.usize(..300);
            batch.blobs.push((key, random_bytes(rng, len)));
        }
        91..=92 => batch.metadata = Some(random_bytes(rng, 40)),
        93..=94 if log.last_term().is_some() => batch.snapshot = Some(marker(log)),
        _ => {}
    }
    let mut after = log.clone();
    after.apply(&batch);
    if rng.u8(..) < 90 && after.next() > state.commit + 1 {
        state.commit = rng.u64(state.commit..after.next());
    }
    if state != log.hard_state || batch.is_empty() {
        batch.hard_state = Some(state);
    }
    batch
}

/// A snapshot from the leader: the log is replaced and moves up, or (rarely) down.
fn install(rng: &mut Rng, log: &Model, batch: &mut Batch, state: &mut HardState) {
    let last = match rng.u8(..4) {
        0 => log.next() / 2 + 1,
        _ => log.next() + rng.u64(..50),
    };
    let term = state.term;
    let mark = SnapshotMark { index: last, term, file_len: 9, ..SnapshotMark::default() };
    batch.snapshot = Some(mark);
    batch.reset = Some(Reset { first_index: last + 1, base_term: Some(term) });
    state.commit = last;
    batch.hard_state = Some(*state);
    if rng.bool() {
        batch.entries = entries(rng, last + 1, term);
    }
}

/// A marker for the last entry.
fn marker(log: &Model) -> SnapshotMark {
    let (index, term) = (log.next() - 1, log.last_term().unwrap_or_default());
    let conf_state = Bytes::from_static(b"voters 1 2 3");
    SnapshotMark { index, term, file_len: index, file_hash: [7; 32], conf_state }
}

fn entries(rng: &mut Rng, first: u64, term: u64) -> Vec<Entry> {
    let count = if rng.u8(..8) == 0 { rng.u64(1..40) } else { rng.u64(1..4) };
    (first..first + count)
        .map(|index| {
            let len = match rng.u8(..64) {
                0 => 0,
                1 => rng.usize(..100_000),
                2..=6 => rng.usize(..8192),
                _ => rng.usize(..512),
            };
            let kind = EntryKind::from_number(rng.u8(..6)).expect("six kinds");
            Entry { index, term, kind, data: random_bytes(rng, len) }
        })
        .collect()
}

fn random_bytes(rng: &mut Rng, len: usize) -> Bytes {
    let mut data = vec![0; len];
    rng.fill(&mut data);
    data.into()
}

/// An entry of a given size whose bytes follow from its index.
pub(crate) fn entry(index: u64, term: u64, len: usize) -> Entry {
    let mut data = vec![0; len];
    Rng::with_seed(index).fill(&mut data);
    Entry { index, term, kind: EntryKind::Normal, data: data.into() }
}

pub(crate) fn open(dir: &Path, options: &Options) -> Result<(Wal<OsVfs>, RecoveryReport)> {
    Wal::open(OsVfs, dir, options)
}

/// Reads everything from a log, whichever way it was opened.
macro_rules! read_everything {
    ($log:expr) => {{
        let log = $log;
        let (first, next) = (log.first_index(), log.next_index());
        let entries = log.entries(first, next, u64::MAX)?;
        assert_eq!(entries.len() as u64, next - first, "entries are dense");
        for (e, index) in entries.iter().zip(first..) {
            assert_eq!(e.index, index, "entries are in order");
            assert_eq!(log.term(index)?, Some(e.term), "the term of {index}");
        }
        let base_term = match first.checked_sub(1) {
            Some(before) => log.term(before)?,
            None => None,
        };
        Ok(Model {
            first,
            base_term,
            entries,
            hard_state: log.hard_state(),
            snapshot: log.snapshot().cloned(),
            metadata: log.metadata().cloned(),
            blobs: log.blobs().map(|(k, v)| (k.clone(), v.clone())).collect(),
        })
    }};
}

/// Everything that an open log holds.
pub(crate) fn read_all(wal: &Wal<OsVfs>) -> Result<Model> {
    read_everything!(wal)
}

/// Opens the log read-only and reads everything.
pub(crate) fn look(dir: &Path, options: &Options) -> Result<(Model, RecoveryReport)> {
    let (log, report) = ReadOnly::open(OsVfs, dir, options)?;
    let model: Result<Model> = read_everything!(&log);
    Ok((model?, report))
}

/// A number that tells states apart across processes.
pub(crate) fn number_of(log: &Model) -> u64 {
    let mut h = DefaultHasher::new();
    digest(log).hash(&mut h);
    h.finish()
}

/// What tells states apart across processes, and in what they differ.
pub(crate) fn digest(log: &Model) -> String {
    fn of(part: impl std::hash::Hash) -> u64 {
        let mut h = DefaultHasher::new();
        part.hash(&mut h);
        h.finish() & 0xffff_ffff
    }
    let entries = log.entries.iter().map(|e| of((e.index, e.term, e.kind, &e.data)));
    let entries = entries.fold(0, |sum: u64, one| sum.rotate_left(5) ^ one);
    let marker = log.snapshot.as_ref();
    let marker = marker.map(|s| (s.index, s.term, s.file_len, s.file_hash, &s.conf_state));
    format!(
        "from {} base {:?} {:?} entries {} ({entries:x}) metadata {:x} values {:x} marker {:?} \
         {:x}",
        log.first,
        log.base_term,
        log.hard_state,
        log.entries.len(),
        of(&log.metadata),
        of(&log.blobs),
        marker.map(|m| m.0),
        of(marker),
    )
}

/// Panics unless the error's text has every piece: what, where, expected, found, what to do.
pub(crate) fn assert_says(e: &Error, pieces: &[&str]) {
    let text = e.to_string();
    for piece in pieces {
        assert!(text.contains(piece), "{piece:?} is not in: {text}");
    }
}

/// Writes a line past the test harness, which keeps to itself what a passing test prints.
pub(crate) fn announce(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
