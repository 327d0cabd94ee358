//! Random histories that Raft could have had: what is committed never changes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use raft_vfs::SimVfs;
use raft_wal::{Batch, HardState, MARK_IDLE, Options, Reset, SnapshotMark};

use crate::judge::Committed;
use crate::log::{AtRest, Writing, sized};
use crate::model::Model;

/// A log at rest in which a promise covers everything, with what was ever committed and the disk
/// as it was at some time before the end.
pub(crate) struct History {
    pub(crate) log: AtRest,
    pub(crate) committed: Committed,
    pub(crate) earlier: SimVfs,
}

/// The history of a seed.
pub(crate) fn random(rng: &mut Rng) -> History {
    let options = Options::new()
        .segment_bytes([16, 20, 24][rng.usize(..3)] << 10)
        .align([1, 1, 1, 512][rng.usize(..4)]);
    let mut w = Writing::with(options, [1, 1, 1, 0, 50][rng.usize(..5)]);
    let mut committed = BTreeMap::new();
    let mut earlier = w.disk.fork();
    let mut now = Duration::ZERO;
    for _ in 0..rng.usize(1..5) {
        for _ in 0..rng.usize(1..30) {
            let batch = batch(rng, &w.model);
            let ticket = w.wal.append(&batch).expect("the batch keeps the rules");
            w.model.apply(&batch);
            note(&mut committed, &w.model);
            now += Duration::from_millis(1);
            let done = match rng.u8(..20) {
                0..10 => w.wal.wait(ticket),
                10 => w.wal.step_publish().map(drop),
                11 => w.wal.step_index().map(drop),
                12 => w.wal.step_gc().map(drop),
                13 => w.wal.step_all(now),
                14 => w.wal.write_through(),
                _ => Ok(()),
            };
            done.expect("nothing fails");
            if rng.u8(..20) == 0 {
                earlier = w.disk.fork();
            }
        }
        w.wal.write_through().expect("nothing fails");
        w = w.restart();
    }
    let log = if rng.bool() {
        w.close()
    } else {
        w.wal.sync().expect("nothing fails");
        for _ in 0..2 {
            now += 2 * MARK_IDLE;
            w.wal.step_mark(now).expect("nothing fails");
        }
        w.abandon()
    };
    History { log, committed, earlier }
}

fn note(committed: &mut Committed, log: &Model) {
    let commit = log.hard_state.commit;
    let entries = log.entries.iter().filter(|e| commit != 0 && e.index <= commit);
    committed.extend(entries.map(|e| (e.index, e.clone())));
}

/// A batch that a Raft node could append.
fn batch(rng: &mut Rng, log: &Model) -> Batch {
    let old = log.hard_state;
    let mut batch = Batch::default();
    let free = if old.commit == 0 { log.first } else { old.commit + 1 };
    if rng.u8(..30) == 0 {
        return install(rng, log);
    }
    let mut at = log.next();
    if rng.u8(..8) == 0 {
        at = rng.u64(free.max(log.first)..=at);
        batch.truncate = Some(at);
    }
    let term = old.term + u64::from(rng.u8(..6) == 0);
    let count = if rng.u8(..4) == 0 { 0 } else { rng.u64(1..5) };
    let len =
        |rng: &mut Rng| [rng.usize(..50), rng.usize(..300), rng.usize(..2500)][rng.usize(..3)];
    batch.entries = (at..at + count).map(|i| sized(i, term.max(1), len(rng))).collect();
    let next = at + count;
    if rng.u8(..3) > 0 || term != old.term {
        let commit =
            if rng.bool() { old.commit } else { rng.u64(old.commit..next.max(old.commit + 1)) };
        let commit = if commit >= next { old.commit } else { commit };
        let vote = if term == old.term && old.vote != 0 { old.vote } else { rng.u64(..4) };
        batch.hard_state = Some(HardState { term, vote, commit });
    }
    let mark = log.snapshot.as_ref().map_or(0, |s| s.index);
    if rng.u8(..10) == 0 && old.commit > mark && old.commit >= log.first {
        batch.snapshot = Some(marker(old.commit, log.term(old.commit).unwrap_or(0)));
    }
    if rng.u8(..12) == 0 && mark > log.first {
        batch.compact = Some(rng.u64(log.first..=mark));
    }
    if rng.u8(..12) == 0 {
        let key = Bytes::from(vec![b'a' + rng.u8(..4)]);
        batch.blobs = vec![(key, vec![rng.u8(..); rng.usize(..60)].into())];
    }
    if batch.is_empty() {
        batch.metadata = Some(Bytes::from_static(b"meta"));
    }
    batch
}

/// A snapshot from a leader, ahead of everything that is committed here.
fn install(rng: &mut Rng, log: &Model) -> Batch {
    let old = log.hard_state;
    let index = rng.u64((old.commit + 1).max(log.first)..log.next() + 30);
    let term = old.term.max(log.last_term().unwrap_or(0)) + 1;
    Batch {
        reset: Some(Reset { first_index: index + 1, base_term: Some(term) }),
        snapshot: Some(marker(index, term)),
        hard_state: Some(HardState { term, vote: 0, commit: index }),
        ..Batch::default()
    }
}

fn marker(index: u64, term: u64) -> SnapshotMark {
    SnapshotMark { index, term, ..SnapshotMark::default() }
}
