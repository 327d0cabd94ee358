//! Random batches that keep the rules of the log, and a few that break one.

use bytes::Bytes;
use fastrand::Rng;
use raft_wal::{Batch, Entry, EntryKind, HardState, Reset, SnapshotMark};

use super::model::Model;

/// Makes batches for a log that stands as a model says.
#[derive(Debug)]
pub(crate) struct Batches {
    /// Makes every payload one of its kind.
    uid: u64,
    /// Bytes that payloads are sometimes cut from: what is on the disk already.
    pub(crate) lure: Vec<u8>,
}

const KINDS: [EntryKind; 6] = [
    EntryKind::Normal,
    EntryKind::ConfChange,
    EntryKind::ConfChangeV2,
    EntryKind::App3,
    EntryKind::App4,
    EntryKind::App5,
];

impl Batches {
    pub(crate) fn new() -> Self {
        Self { uid: 0, lure: Vec::new() }
    }

    /// A batch of at least one part.
    pub(crate) fn random(&mut self, rng: &mut Rng, log: &Model) -> Batch {
        let mut batch = Batch::default();
        let mut after = log.clone();
        if rng.u8(..100) < 6 {
            batch.reset = Some(reset(rng, log));
        } else if rng.u8(..100) < 12 {
            batch.compact = Some(compaction(rng, log));
        }
        after.apply(&batch);
        let floor = lowest_cut(&after);
        let mut at = after.next();
        if batch.reset.is_none() && floor < at && rng.u8(..100) < 15 {
            at = rng.u64(floor..=at);
            if rng.bool() {
                batch.truncate = Some(at);
            }
        }
        if rng.u8(..100) < 70 {
            let term = after.term(at.wrapping_sub(1)).unwrap_or(0).max(log.hard_state.term);
            batch.entries = self.entries(rng, at, term);
        } else if at < after.next() {
            batch.truncate = Some(at);
        }
        let next = at + batch.entries.len() as u64;
        after.apply(&Batch { entries: batch.entries.clone(), ..cut(batch.truncate) });
        let commit = log.hard_state.commit;
        if rng.u8(..100) < 40 || (commit != 0 && commit >= next) {
            batch.hard_state = Some(hard_state(rng, &log.hard_state, next, batch.reset.is_some()));
        }
        if rng.u8(..100) < 8 {
            batch.snapshot = snapshot(rng, &after);
        }
        if rng.u8(..100) < 4 {
            let len = if rng.u8(..4) == 0 { 1500 } else { rng.usize(..60) };
            batch.metadata = Some(self.payload(rng, len));
        }
        if rng.u8(..100) < 8 {
            batch.blobs = (0..rng.usize(1..4)).map(|_| self.blob(rng)).collect();
        }
        if batch.is_empty() {
            batch.entries = self.entries(rng, at, after.last_term().unwrap_or(0));
        }
        batch
    }

    /// Entries from `first` on; terms from `term` on.
    pub(crate) fn entries(&mut self, rng: &mut Rng, first: u64, mut term: u64) -> Vec<Entry> {
        let mut entries = Vec::new();
        for index in first..first + rng.u64(1..4) {
            term += u64::from(rng.u8(..16) == 0);
            let len = match rng.u16(..200) {
                0..120 => rng.usize(..120),
                120..160 => rng.usize(120..700),
                160..198 => rng.usize(700..3072),
                // Too large for a segment of 16 or 24 KiB.
                _ => rng.usize(14_000..40_000),
            };
            let kind = KINDS[rng.usize(..KINDS.len())];
            entries.push(Entry { index, term, kind, data: self.payload(rng, len) });
        }
        entries
    }

    fn payload(&mut self, rng: &mut Rng, len: usize) -> Bytes {
        self.uid += 1;
        let mut data = vec![0; len];
        match rng.u8(..4) {
            0 => {}
            1 if self.lure.len() > len => {
                let at = rng.usize(..self.lure.len() - len) & !7;
                data.copy_from_slice(&self.lure[at..at + len]);
            }
            _ => rng.fill(&mut data),
        }
        let uid = self.uid.to_le_bytes();
        let stamp = len.min(uid.len());
        data[..stamp].copy_from_slice(&uid[..stamp]);
        data.into()
    }

    fn blob(&mut self, rng: &mut Rng) -> (Bytes, Bytes) {
        let key = Bytes::from(vec![b'k', rng.u8(b'0'..b'6')]);
        let len = if rng.u8(..3) == 0 { 0 } else { rng.usize(1..200) };
        (key, self.payload(rng, len))
    }
}

/// The lowest index from which on entries may be cut.
fn lowest_cut(log: &Model) -> u64 {
    let commit = log.hard_state.commit;
    let committed = if commit == 0 { 0 } else { commit + 1 };
    let marked = log.snapshot.as_ref().map_or(0, |s| s.index + 1);
    log.first.max(committed).max(marked)
}

fn cut(truncate: Option<u64>) -> Batch {
    Batch { truncate, ..Batch::default() }
}

fn reset(rng: &mut Rng, log: &Model) -> Reset {
    let first_index = match rng.u8(..4) {
        0 => log.next(),
        1 => rng.u64(log.first.saturating_sub(5)..=log.next()),
        _ => log.next() + rng.u64(1..20),
    };
    let marked = log.snapshot.as_ref().filter(|s| s.index + 1 == first_index).map(|s| s.term);
    let known = first_index > 0 && rng.u8(..5) > 0;
    let base_term = known.then_some(marked.unwrap_or(log.hard_state.term));
    Reset { first_index, base_term }
}

fn compaction(rng: &mut Rng, log: &Model) -> u64 {
    let committed = (log.hard_state.commit + 1).clamp(log.first, log.next());
    let most = if rng.u8(..8) == 0 { log.next() } else { committed };
    rng.u64(log.first..=most)
}

/// A hard state that may follow `old` where the log ends before `next`.
fn hard_state(rng: &mut Rng, old: &HardState, next: u64, reset: bool) -> HardState {
    let term = old.term + u64::from(rng.u8(..3) == 0);
    let keeps_vote = term == old.term && old.vote != 0;
    let vote = if keeps_vote { old.vote } else { rng.u64(..4) };
    let last = next.saturating_sub(1);
    let commit = if reset {
        if rng.bool() { last } else { last.min(old.commit) }
    } else if rng.bool() {
        old.commit
    } else {
        rng.u64(old.commit.min(last)..=last)
    };
    HardState { term, vote, commit }
}

/// A marker for an index of the log as the batch leaves it.
fn snapshot(rng: &mut Rng, after: &Model) -> Option<SnapshotMark> {
    let lowest = after.first.saturating_sub(1).max(after.snapshot.as_ref().map_or(0, |s| s.index));
    let last = after.next().checked_sub(1)?;
    let index = (lowest <= last).then(|| rng.u64(lowest..=last))?;
    let mut file_hash = [0; 32];
    rng.fill(&mut file_hash);
    Some(SnapshotMark {
        index,
        term: after.term(index)?,
        file_len: rng.u64(..1 << 40),
        file_hash,
        conf_state: (0..rng.u8(..40)).collect::<Vec<_>>().into(),
    })
}

/// A batch that breaks a rule of a log that stands as `log` says.
pub(crate) fn forbidden(rng: &mut Rng, log: &Model) -> Batch {
    let HardState { term, vote, commit } = log.hard_state;
    let state = |term, vote, commit| Batch::of_hard_state(HardState { term, vote, commit });
    let entry = |index, term| {
        Batch::of_entries(vec![Entry {
            index,
            term,
            kind: EntryKind::Normal,
            data: Bytes::from_static(b"never"),
        }])
    };
    match rng.u8(..8) {
        0 => Batch::default(),
        1 => entry(log.next() + 1, u64::MAX),
        2 => entry(u64::MAX, 1),
        3 if term > 0 => state(term - 1, vote, commit),
        4 if vote > 0 => state(term, vote + 1, commit),
        5 if commit > 0 => state(term, vote, commit - 1),
        6 if commit >= log.first && commit > 0 => entry(commit, u64::MAX),
        _ => state(term + 1, vote, log.next().max(1)),
    }
}
