//! Batches, and logs full of them.

use std::path::Path;

use bytes::Bytes;
use raft_vfs::OsVfs;
use raft_wal::{Batch, Entry, EntryKind, Options, Wal};

use crate::Outcome;

/// Entries of `len` bytes each from `first` on, as many as `payloads` has room for. Each has bytes
/// of its own and none is copied, as after a network read.
pub fn batch(first: u64, payloads: &Bytes, len: u64) -> Batch {
    let entry = |(index, at): (u64, usize)| {
        let data = payloads.slice(at..at + len as usize);
        Entry { index, term: 1, kind: EntryKind::Normal, data }
    };
    let places = (0..payloads.len()).step_by(len as usize);
    Batch::of_entries((first..).zip(places).map(entry).collect())
}

/// Bytes that do not compress.
pub fn payload(len: u64) -> Bytes {
    let mut bytes = vec![0; len as usize];
    fastrand::Rng::with_seed(len).fill(&mut bytes);
    bytes.into()
}

/// Bytes that such a batch takes in a segment: a frame header of 48, and 16 and a multiple of 8
/// for each entry.
pub fn frame_len(count: u64, len: u64) -> u64 {
    48 + count * (16 + len).next_multiple_of(8)
}

/// Makes a log of about `total` bytes of entries of `len` bytes, in batches of 64, and closes it
/// properly. Returns how many entries it holds.
///
/// # Errors
/// The log's.
pub fn log(dir: &Path, total: u64, len: u64) -> Outcome<u64> {
    let (mut wal, _) = Wal::open(OsVfs, dir, &Options::new())?;
    let payloads = payload(64 * len);
    let batches = total / frame_len(64, len);
    for i in 0..batches {
        // No segment is prepared ahead: it would be a file of zeros that is no part of the log.
        wal.append(&batch(1 + i * 64, &payloads, len))?;
    }
    wal.close()?;
    Ok(batches * 64)
}
