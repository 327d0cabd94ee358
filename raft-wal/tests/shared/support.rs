//! Batches of one entry, told from each other by what is in them.

use raft_wal::{Batch, Entry, EntryKind};

/// An entry whose payload says who wrote it, as number `n` of its own.
pub(crate) fn entry(index: u64, writer: u64, n: u64, len: usize) -> Entry {
    let mut data = vec![writer as u8; len.max(16)];
    data[..8].copy_from_slice(&writer.to_le_bytes());
    data[8..16].copy_from_slice(&n.to_le_bytes());
    Entry { index, term: 1, kind: EntryKind::Normal, data: data.into() }
}

/// Who wrote an entry, and as which of its own.
pub(crate) fn author(entry: &Entry) -> (u64, u64) {
    let word = |at: usize| u64::from_le_bytes(entry.data[at..at + 8].try_into().unwrap());
    (word(0), word(8))
}

pub(crate) fn batch(entry: Entry) -> Batch {
    Batch::of_entries(vec![entry])
}
