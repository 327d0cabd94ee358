//! The names in a log directory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;

/// The files of one log.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) dir: PathBuf,
    pub(crate) wal: PathBuf,
    pub(crate) ident: PathBuf,
    pub(crate) ident_tmp: PathBuf,
    pub(crate) lock: PathBuf,
}

/// A name in `wal/` that this software gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WalName {
    /// `{seq:020}.seg`
    Segment(u64),
    /// `{seq:020}.idx`
    Index(u64),
    /// `{seq:020}.idx.tmp`
    IndexTmp(u64),
    /// `spare-{n}.tmp`
    Spare(u64),
}

impl WalName {
    /// Reads a file name; `None` if it is nobody's business here.
    pub fn parse(name: &str) -> Option<Self> {
        fn number(s: &str, width: usize) -> Option<u64> {
            let digits = s.len() == width && s.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| s.parse().ok())?
        }
        if let Some(n) = name.strip_prefix("spare-").and_then(|n| n.strip_suffix(".tmp")) {
            return number(n, n.len().max(1)).map(Self::Spare);
        }
        let (stem, ending) = name.split_once('.')?;
        let seq = number(stem, 20)?;
        match ending {
            "seg" => Some(Self::Segment(seq)),
            "idx" => Some(Self::Index(seq)),
            "idx.tmp" => Some(Self::IndexTmp(seq)),
            _ => None,
        }
    }
}

impl Paths {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            wal: dir.join("wal"),
            ident: dir.join("IDENT"),
            ident_tmp: dir.join("IDENT.tmp"),
            lock: dir.join("LOCK"),
        }
    }

    pub(crate) fn segment(&self, seq: u64) -> PathBuf {
        self.wal.join(format!("{seq:020}.seg"))
    }

    pub(crate) fn index(&self, seq: u64) -> PathBuf {
        self.wal.join(format!("{seq:020}.idx"))
    }

    pub(crate) fn index_tmp(&self, seq: u64) -> PathBuf {
        self.wal.join(format!("{seq:020}.idx.tmp"))
    }

    pub(crate) fn spare(&self, n: u64) -> PathBuf {
        self.wal.join(format!("spare-{n}.tmp"))
    }
}

/// Wraps a system error with what was tried and where.
pub(crate) fn io_error(
    op: &'static str,
    path: &Path,
    offset: Option<u64>,
    source: io::Error,
) -> Error {
    Error::Io { op, path: path.to_owned(), offset, source: Arc::new(source) }
}

/// Whether an error means that there is no room.
pub(crate) fn is_no_space(e: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
    matches!(e.kind(), StorageFull | QuotaExceeded | FileTooLarge | WriteZero)
}
