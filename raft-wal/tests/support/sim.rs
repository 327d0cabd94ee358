//! Logs on a simulated disk: opening them, and reading everything there is to read.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use raft_vfs::SimVfs;
use raft_vfs::sim::is_crashed;
use raft_wal::{Error, Options, RecoveryReport, Wal};

use super::model::Model;

/// Where the log is.
pub(crate) const DIR: &str = "/data/log";

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

pub(crate) fn segment_path(seq: u64) -> PathBuf {
    path(&format!("wal/{seq:020}.seg"))
}

pub(crate) fn index_path(seq: u64) -> PathBuf {
    path(&format!("wal/{seq:020}.idx"))
}

/// Numbers of the files in `wal/` whose names end so.
fn numbers(disk: &SimVfs, ending: &str) -> Vec<u64> {
    let number = |p: PathBuf| {
        let stem = p.file_name()?.to_str()?.strip_suffix(ending)?;
        if stem.len() == 20 { stem.parse().ok() } else { None }
    };
    disk.paths().into_iter().filter(|p| p.starts_with(DIR)).filter_map(number).collect()
}

/// Numbers of the segment files, ascending.
pub(crate) fn segments(disk: &SimVfs) -> Vec<u64> {
    numbers(disk, ".seg")
}

/// Numbers of the index files, ascending.
pub(crate) fn indexes(disk: &SimVfs) -> Vec<u64> {
    numbers(disk, ".idx")
}

pub(crate) fn open(
    disk: &SimVfs,
    options: &Options,
) -> Result<(Wal<SimVfs>, RecoveryReport), Error> {
    Wal::open(disk.clone(), DIR, options)
}

/// Whether the error is that of a simulated process which is dead.
pub(crate) fn is_death(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if is_crashed(source))
}

/// Everything that the log can be asked for, in several ways that must agree.
pub(crate) fn read_all(wal: &Wal<SimVfs>) -> Result<Model, Error> {
    let (first, next) = (wal.first_index(), wal.next_index());
    let entries = wal.entries(first, next, u64::MAX)?;
    assert_eq!(entries.len() as u64, next - first, "entries are dense");
    for (entry, index) in entries.iter().zip(first..) {
        assert_eq!(entry.index, index, "entries are in order");
        assert_eq!(wal.term(index)?, Some(entry.term), "the term of {index}");
    }
    assert_eq!(wal.last_index(), next.checked_sub(1));
    let base_term = match first.checked_sub(1) {
        Some(before) => wal.term(before)?,
        None => None,
    };
    if let Some(below) = first.checked_sub(2) {
        assert!(matches!(wal.term(below), Err(Error::Compacted { .. })));
    }
    assert!(matches!(wal.entry(next), Err(Error::Unavailable { .. })));
    Ok(Model {
        first,
        base_term,
        entries,
        hard_state: wal.hard_state(),
        snapshot: wal.snapshot().cloned(),
        metadata: wal.metadata().cloned(),
        blobs: wal.blobs().map(|(k, v)| (k.clone(), v.clone())).collect(),
    })
}

/// Writes a line past the test harness, which would keep it to itself when the test passes.
pub(crate) fn announce(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
