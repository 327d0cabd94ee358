//! Batches out of the bytes of an input: mostly such as may be appended, some not.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use raft_wal::{Batch, Entry, EntryKind, HardState, Reset, SnapshotMark};

use crate::support::model::Model;

const KINDS: [EntryKind; 6] = [
    EntryKind::Normal,
    EntryKind::ConfChange,
    EntryKind::ConfChangeV2,
    EntryKind::App3,
    EntryKind::App4,
    EntryKind::App5,
];

/// A number at or near `base`; seldom any other.
fn near(u: &mut Unstructured<'_>, base: u64) -> Result<u64> {
    Ok(match u.int_in_range(0..=15_u8)? {
        0..8 => base,
        8 | 9 => base.saturating_add(1),
        10 | 11 => base.saturating_sub(1),
        12 => base.saturating_add(u.int_in_range(0..=20)?),
        13 => base.saturating_sub(u.int_in_range(0..=20)?),
        14 => [0, 1, u64::MAX - 1, u64::MAX, 1 << 40][u.choose_index(5)?],
        _ => u.arbitrary()?,
    })
}

/// A number from `low` to `high`; one time in sixteen any number near them.
fn within(u: &mut Unstructured<'_>, low: u64, high: u64) -> Result<u64> {
    if low > high || u.ratio(1, 16)? {
        return near(u, low);
    }
    // Logs are short; what matters is near the ends.
    u.int_in_range(low.max(high.saturating_sub(255))..=high)
}

/// A batch for a log that stands as `log` says.
pub(super) fn batch(u: &mut Unstructured<'_>, log: &Model) -> Result<Batch> {
    let mut batch = Batch::default();
    let parts: u16 = u.arbitrary()?;
    let has = |bit: u16| parts >> bit & 1 == 1;
    let next = log.next();
    // Two bits each for what is rarer.
    if has(0) && has(1) && has(2) {
        batch.reset = Some(reset(u, log)?);
    } else if has(3) && has(4) {
        batch.compact = Some(within(u, log.first, next)?);
    }
    let first = batch.reset.map_or(next, |r| r.first_index);
    let mut at = first;
    if has(5) && has(6) {
        at = within(u, lowest_cut(log), next)?;
        batch.truncate = has(7).then_some(at);
    }
    if !has(8) || batch.truncate.is_none() {
        batch.entries = entries(u, log, at)?;
    }
    let end = batch.entries.last().map_or(at, |e| e.index.saturating_add(1));
    if has(9) {
        batch.hard_state = Some(hard_state(u, log.hard_state, end)?);
    }
    if has(10) && has(11) {
        batch.snapshot = Some(snapshot(u, log, &batch)?);
    }
    if has(12) && has(13) {
        batch.metadata = Some(payload(u, 0)?);
    }
    if has(14) && has(15) {
        for _ in 0..u.int_in_range(1..=3)? {
            let key = vec![b'k'; usize::from(u.int_in_range(0..=3_u8)?)];
            let key = [&key[..], &[u.int_in_range(b'0'..=b'9')?]].concat();
            let key = if u.ratio(1, 64)? { Vec::new() } else { key };
            let value = if u.ratio(1, 3)? { Bytes::new() } else { payload(u, 1)? };
            batch.blobs.push((key.into(), value));
        }
    }
    Ok(batch)
}

/// The lowest index from which on entries may be cut.
fn lowest_cut(log: &Model) -> u64 {
    let behind = |index: u64| if index == 0 { 0 } else { index.saturating_add(1) };
    let marked = log.snapshot.as_ref().map_or(0, |s| s.index.saturating_add(1));
    log.first.max(behind(log.hard_state.commit)).max(marked)
}

fn reset(u: &mut Unstructured<'_>, log: &Model) -> Result<Reset> {
    let first_index = near(u, log.next())?;
    let marked = log.snapshot.as_ref().map_or(log.hard_state.term, |s| s.term);
    // Nothing stands before index 0 that could have a term.
    let known = first_index > 0 && u.arbitrary()?;
    let base_term = if known { Some(near(u, marked)?) } else { None };
    Ok(Reset { first_index, base_term })
}

fn entries(u: &mut Unstructured<'_>, log: &Model, first: u64) -> Result<Vec<Entry>> {
    let known = first.checked_sub(1).and_then(|before| log.term(before));
    let mut term = known.unwrap_or(0).max(log.hard_state.term);
    let mut entries = Vec::new();
    for n in 0..u.int_in_range(0..=4_u64)? {
        term = if u.ratio(1, 8)? { near(u, term)? } else { term };
        let index = first.saturating_add(n);
        let index = if u.ratio(1, 100)? { near(u, index)? } else { index };
        let kind = KINDS[u.choose_index(KINDS.len())?];
        entries.push(Entry { index, term, kind, data: payload(u, index)? });
    }
    Ok(entries)
}

/// A few bytes of the input over and over, so that long payloads cost little of it.
fn payload(u: &mut Unstructured<'_>, stamp: u64) -> Result<Bytes> {
    let len = match u.int_in_range(0..=31_u8)? {
        0..4 => 0,
        4..20 => u.int_in_range(1..=120_usize)?,
        20..27 => u.int_in_range(120..=900)?,
        27..31 => u.int_in_range(900..=3500)?,
        _ => u.int_in_range(12_000..=40_000)?,
    };
    let pattern = [stamp, u.arbitrary()?].map(u64::to_le_bytes).concat();
    Ok(pattern.into_iter().cycle().take(len).collect::<Vec<_>>().into())
}

fn hard_state(u: &mut Unstructured<'_>, old: HardState, end: u64) -> Result<HardState> {
    let term = if u.ratio(1, 2)? { old.term } else { near(u, old.term.saturating_add(1))? };
    let keeps = term == old.term && old.vote != 0 && !u.ratio(1, 16)?;
    let vote = if keeps { old.vote } else { u.int_in_range(0..=3)? };
    let commit = within(u, old.commit, end.saturating_sub(1))?;
    Ok(HardState { term, vote, commit })
}

fn snapshot(u: &mut Unstructured<'_>, log: &Model, batch: &Batch) -> Result<SnapshotMark> {
    let lowest = log.snapshot.as_ref().map_or(log.first.saturating_sub(1), |s| s.index);
    let last = batch.entries.last().map_or(log.next().saturating_sub(1), |e| e.index);
    let index = within(u, lowest, last)?;
    let brought = batch.entries.iter().find(|e| e.index == index).map(|e| e.term);
    let term = near(u, brought.or(log.term(index)).unwrap_or(0))?;
    Ok(SnapshotMark {
        index,
        term,
        file_len: u.arbitrary()?,
        file_hash: [u.arbitrary()?; 32],
        conf_state: payload(u, 2)?,
    })
}
