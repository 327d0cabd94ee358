//! What every kind of log is to the commands: a sequence of items and a verdict.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
pub use etcd_reader::ConfState;

/// Where a record stands. Absent for what is not a record but a result, as the state after replay
/// of a log whose reader does not say where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name.
    pub segment: Arc<str>,
    /// Offset in it, in bytes.
    pub offset: u64,
    /// Size on disk, with framing and padding, in bytes; 0 if it is not known.
    pub len: u64,
}

/// One thing in a log.
#[derive(Clone, Debug)]
pub enum Item {
    /// A record.
    Record(Option<Place>, Record),
    /// A snapshot file.
    SnapshotFile {
        /// The file's name.
        name: String,
        /// Term of the last entry covered.
        term: u64,
        /// Index of the last entry covered.
        index: u64,
        /// The members at that point.
        conf_state: Option<ConfState>,
        /// The application's data.
        data: Bytes,
    },
    /// Something is wrong here.
    Problem(Problem),
}

/// What a record says.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are Raft's own words")]
pub enum Record {
    /// Opaque bytes that name node and cluster.
    Metadata(Bytes),
    /// A log entry.
    Entry { term: u64, index: u64, kind: &'static str, data: Bytes },
    /// The hard state from here on.
    HardState { term: u64, vote: u64, commit: u64 },
    /// A snapshot marker. Where the conf state is not etcd's, `opaque` has its bytes.
    Snapshot { term: u64, index: u64, conf_state: Option<ConfState>, opaque: Option<Bytes> },
    /// The checksum carried over from the previous segment (etcd).
    Crc(u32),
    /// A segment begins (native).
    Segment { seq: u64, first_index: Option<u64>, era: u64, capacity: u64 },
    /// Where the segment's predecessor ends (native).
    Base { prev_segment: u64, prev_end: u64, first_index: u64, next_index: u64, reason: String },
    /// A keyed value; empty deletes (native).
    Blob { key: Bytes, value: Bytes },
    /// Entries from here on go (native).
    Truncate { from: u64 },
    /// The log is emptied and begins behind `index` (native).
    Reset { index: Option<u64>, term: Option<u64> },
    /// Entries up to `index` may be gone (native).
    Compact { index: Option<u64>, term: Option<u64> },
    /// The segment is closed (native).
    Seal { next_segment: u64 },
    /// What follows in this segment is not part of the log: segment `by` begins before it, or, if
    /// there is none, a batch before it cannot be read (native).
    Dead { by: Option<u64> },
}

impl Record {
    /// The stable name of its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Metadata(_) => "metadata",
            Self::Entry { .. } => "entry",
            Self::HardState { .. } => "hard_state",
            Self::Snapshot { .. } => "snapshot",
            Self::Crc(_) => "crc",
            Self::Segment { .. } => "segment",
            Self::Base { .. } => "base",
            Self::Blob { .. } => "blob",
            Self::Truncate { .. } => "truncate",
            Self::Reset { .. } => "reset",
            Self::Compact { .. } => "compact",
            Self::Seal { .. } => "seal",
            Self::Dead { .. } => "dead",
        }
    }
}

/// One thing that is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file's name.
    pub segment: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// The problem's stable name.
    pub kind: String,
    /// What would have been right.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// What it means.
    pub message: String,
}

/// One thing worth knowing about a log that is no damage.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    /// The file's name.
    pub segment: String,
    /// What it means.
    pub message: String,
}

/// What all problems together make of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing is wrong.
    Intact,
    /// A crash cut the last write short; nothing acknowledged is missing.
    TornTail,
    /// The last record was being written while it was read.
    LiveTail,
    /// Something is damaged or missing.
    Corrupt,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Intact => "intact",
            Self::TornTail => "torn tail",
            Self::LiveTail => "live tail",
            Self::Corrupt => "corrupt",
        })
    }
}

/// What is to be said of a log once it was read.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// All problems in a word.
    pub status: Status,
    /// The problems.
    pub problems: Vec<Problem>,
    /// What is no problem.
    pub notes: Vec<Note>,
    /// First and last index of the log after replay.
    pub range: Option<(u64, u64)>,
    /// Term, vote and commit after replay.
    pub hard_state: Option<(u64, u64, u64)>,
}

/// A file of a log.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Why a log cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is none of a known kind.
    NotALog(String),
    /// The operating system refused.
    Io(String),
    /// Somebody else is using it.
    Busy(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::NotALog(message) | Self::Io(message) | Self::Busy(message)) = self;
        f.write_str(message)
    }
}

/// Why reading stopped before the end.
#[derive(Debug)]
pub enum Stop {
    /// The log could not be read.
    Source(Failure),
    /// Whoever was handed the items could not take any more.
    Output(io::Error),
}

impl From<Failure> for Stop {
    fn from(e: Failure) -> Self {
        Self::Source(e)
    }
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Self::Output(e)
    }
}

/// Takes items one by one.
pub type Visit<'a> = dyn FnMut(&Item) -> io::Result<()> + 'a;

/// A log, ready to be read from beginning to end.
pub trait Source {
    /// Which software wrote it: `etcd` or `raft-wal`.
    fn format(&self) -> &'static str;

    /// The files that hold records, in log order.
    fn files(&self) -> &[LogFile];

    /// Hands every item to `visit`, in order, and then says what is to be said of the whole.
    /// Blocks on reads. To be called once.
    ///
    /// # Errors
    /// [`Stop`]; damage is none but an [`Item::Problem`] or part of the verdict.
    fn read(&mut self, visit: &mut Visit<'_>) -> Result<Verdict, Stop>;
}
