//! Why reading stopped.

use std::io;
use std::path::{Path, PathBuf};

use crate::Problem;

/// Why a directory cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused; nothing is known of the file's contents.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried: "open", "read", "list".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A segment was there when the directory was listed and is gone: etcd removes old segments
    /// while it runs.
    #[error("{path} was removed while the log was being read: read it again",
        path = path.display())]
    Vanished {
        /// The segment.
        path: PathBuf,
    },
    /// The path is not an etcd directory or file.
    #[error(
        "{path} is not an etcd log: expected a data directory with member/wal, a directory with \
         wal/, a directory of *.wal files, or one .wal or .snap file; found {found}",
        path = path.display()
    )]
    NotEtcd {
        /// The path.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// The log is damaged ([`Reader::records`](crate::Reader::records) stops at the first damage).
    #[error("{0}")]
    Damaged(Box<Problem>),
    /// An entry is no longer where the replay saw it: somebody changed the file in between.
    #[error("{path} changed while it was being read: no entry {term}/{index} at {offset} any more",
        path = path.display())]
    Changed {
        /// The segment.
        path: PathBuf,
        /// Where the entry was.
        offset: u64,
        /// Its term.
        term: u64,
        /// Its index.
        index: u64,
    },
}

impl Error {
    /// Wraps an operating system error.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_path_buf(), source }
    }
}
