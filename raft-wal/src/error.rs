//! Everything that can go wrong, with the place, what was expected, what was found, and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The result of a log operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a log operation failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed. Nothing is known to be damaged; nothing was truncated.
    #[error("{op} {path}{at}: {source}", path = path.display(), at = At(*offset))]
    Io {
        /// What was tried.
        op: &'static str,
        /// On which file.
        path: PathBuf,
        /// At which offset, where there is one.
        offset: Option<u64>,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// Another handle holds the directory.
    #[error("{path} is locked by {holder}: one process at a time may write a log; stop the other one, or open it read-only", path = path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as far as can be told.
        holder: &'static str,
    },
    /// A read-only opener could not get a stable look at a log that is being changed.
    #[error("{path}: {what}: the log is changing under the reader; try again", path = path.display())]
    Busy {
        /// The file that moved.
        path: PathBuf,
        /// What was seen.
        what: &'static str,
    },
    /// There is no log here and none was to be created.
    #[error("{dir} holds no log: expected a file IDENT and a directory wal; open with create to make a new log", dir = dir.display())]
    NoLog {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory belongs to somebody else: it holds no log, but other files.
    #[error("{dir} is not a log directory: it holds no IDENT but \"{found}\"; name an empty directory or a log", dir = dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// One name that was found.
        found: String,
    },
    /// There are segments but the file that says whose they are is gone.
    #[error("{dir}/IDENT is missing although wal/ holds \"{found}\": the log's identity was lost; restore IDENT from a backup of this directory, or salvage", dir = dir.display())]
    IdentMissing {
        /// The directory.
        dir: PathBuf,
        /// One segment that was found.
        found: String,
    },
    /// The log belongs to another node or cluster.
    #[error("{path}: {what} is {found}, expected {expected}: this is the log of another node; check the data directory of this node", path = path.display())]
    IdentityMismatch {
        /// The file that says so.
        path: PathBuf,
        /// Which identity differs.
        what: &'static str,
        /// What the options or the log's IDENT demand.
        expected: String,
        /// What the file says.
        found: String,
    },
    /// The file was written by a version that this one does not understand. It is not damaged.
    #[error("{path}: {what} {found} is not supported (this version knows {expected}): use a newer version of this software", path = path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is unknown.
        what: &'static str,
        /// What was found.
        found: u64,
        /// What is known.
        expected: u64,
    },
    /// Damage, proven. The log was not changed.
    #[error(transparent)]
    Corrupt(Box<Corrupt>),
    /// The tail is torn and nothing proves that it was never durable; the policy is to refuse.
    #[error("{path}+{offset}: the tail ends in {bytes} bytes that are not a valid batch and no promise says whether they were durable (batch {batch_seq}): open with TailPolicy::Accept to go on as after a crash", path = path.display())]
    AmbiguousTail {
        /// The segment.
        path: PathBuf,
        /// Where its valid part ends.
        offset: u64,
        /// The batch number expected there.
        batch_seq: u64,
        /// How many bytes are given up.
        bytes: u64,
    },
    /// An earlier write or sync failed. What was not durable then is in doubt until a reopen.
    #[error(
        "the log is poisoned: {cause}: batches that were not durable are in doubt; reopen the log"
    )]
    Poisoned {
        /// What failed first.
        cause: Arc<str>,
    },
    /// The handle was closed.
    #[error("the log was closed by this process: open it again")]
    Closed,
    /// No room, and no byte of the batch was written: free space and append again.
    #[error("no space for {what}: {source}: nothing was written; free space and try again")]
    NoSpace {
        /// What there was no room for.
        what: &'static str,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// Something is above a configured maximum. Nothing was written.
    #[error("{what} is {size} bytes, the maximum is {max}: split it or raise the option")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The bound.
        max: u64,
    },
    /// A file or a record has the highest segment number there is, so no segment can follow it.
    /// Nothing was written.
    #[error("{dir}: segment {highest} is in use, and no number is higher, so the log cannot go on: numbers grow by one a segment, so this one was never given; restore the directory from a copy", dir = dir.display())]
    NumbersEnd {
        /// The directory.
        dir: PathBuf,
        /// The highest number.
        highest: u64,
    },
    /// The batch breaks a rule of the log. Nothing was written.
    #[error("batch refused: {0}")]
    Rejected(Reject),
    /// The index was compacted away (etcd's `ErrCompacted`).
    #[error("index {index} was compacted: the log begins at {first_index}")]
    Compacted {
        /// What was asked.
        index: u64,
        /// Where the log begins.
        first_index: u64,
    },
    /// The index is not in the log yet (etcd's `ErrUnavailable`).
    #[error("index {index} is not in the log: it ends before {next_index}")]
    Unavailable {
        /// What was asked.
        index: u64,
        /// One past the last index.
        next_index: u64,
    },
    /// A repair would forget a vote: damage took a batch that may have held a newer term or vote.
    /// Nothing was changed.
    #[error("{dir}: term {term} vote {vote} is the newest that is readable, and a newer vote may be lost: a node that forgets a vote can vote twice, and two leaders can be elected; add the node to its cluster as a new member, or repair with RepairPolicy::AcceptLostVote", dir = dir.display())]
    VoteInDoubt {
        /// The log's directory.
        dir: PathBuf,
        /// The newest readable term.
        term: u64,
        /// The vote in it.
        vote: u64,
    },
    /// An option has a value that cannot work.
    #[error("option {option}: {found} is out of range: expected {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// The value.
        found: u64,
        /// The bounds.
        expected: &'static str,
    },
}

/// Shows ` at N` where there is an offset.
struct At(Option<u64>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |n| write!(f, " at {n}"))
    }
}

/// What kind of damage was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CorruptKind {
    /// Both copies of the identity are unreadable.
    Ident,
    /// No copy of a segment's header is readable, or copies differ without a majority.
    Header,
    /// A segment is shorter than it was made.
    Length,
    /// A file's name is not what its header says.
    Name,
    /// A segment's first batch is bad although something durable stood behind it.
    SegmentStart,
    /// A batch is bad although it was durable.
    Batch,
    /// A segment that must exist does not.
    MissingSegment,
    /// A segment is not the one its successor was built on.
    Succession,
    /// The hard state is older than a durable copy of it, or two votes were given in one term.
    State,
    /// A batch is intact but breaks a rule of the log.
    Rule,
    /// Indexes between the first and the last are in no segment.
    Gap,
    /// A record that was asked for does not have its checksum.
    Record,
}

impl fmt::Display for CorruptKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ident => "identity",
            Self::Header => "segment header",
            Self::Length => "segment length",
            Self::Name => "segment name",
            Self::SegmentStart => "segment start",
            Self::Batch => "batch",
            Self::MissingSegment => "missing segment",
            Self::Succession => "segment succession",
            Self::State => "hard state",
            Self::Rule => "log rule",
            Self::Gap => "gap",
            Self::Record => "record",
        })
    }
}

/// Whether what is damaged had been acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acked {
    /// A promise on disk says that it was durable.
    Proven,
    /// It may have been.
    Possible,
}

/// Indexes that damage took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LostRange {
    /// First lost index.
    pub first: u64,
    /// Last lost index, where it is known; `None` means that everything from `first` on is lost.
    pub last: Option<u64>,
    /// Term of the last lost entry, where it is known.
    pub term: Option<u64>,
}

impl fmt::Display for LostRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last {
            Some(last) => write!(f, "indexes {}..={last}", self.first)?,
            None => write!(f, "indexes from {} on", self.first)?,
        }
        self.term.map_or(Ok(()), |t| write!(f, " (term {t})"))
    }
}

/// Damage: where, what, how it is known, what it cost, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Corrupt {
    /// What kind.
    pub kind: CorruptKind,
    /// The file.
    pub path: PathBuf,
    /// Where in the file.
    pub offset: u64,
    /// The batch number expected there; 0 where there is none.
    pub batch_seq: u64,
    /// What should have been there.
    pub expected: String,
    /// What was there.
    pub found: String,
    /// The indexes that are lost, as far as can be told.
    pub lost: Option<LostRange>,
    /// Whether they had been acknowledged.
    pub acked: Acked,
    /// What the operator can do next.
    pub advice: &'static str,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "corrupt {} in {}+{}: expected {}, found {}",
            self.kind,
            self.path.display(),
            self.offset,
            self.expected,
            self.found
        )?;
        if let Some(lost) = &self.lost {
            write!(f, "; lost {lost}")?;
        }
        match self.acked {
            Acked::Proven => f.write_str("; it had been durable")?,
            Acked::Possible => f.write_str("; it may have been durable")?,
        }
        write!(f, "; {}", self.advice)
    }
}

impl std::error::Error for Corrupt {}

impl From<Corrupt> for Error {
    fn from(c: Corrupt) -> Self {
        Self::Corrupt(Box::new(c))
    }
}

/// Which rule of the log a batch breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// An entry does not follow the one before it.
    #[error("entry index {found} where {expected} was expected")]
    Index {
        /// The index that would have been right.
        expected: u64,
        /// The one given.
        found: u64,
    },
    /// `u64::MAX` is not an index, and nothing can follow it.
    #[error("index {0} leaves no room for the next one")]
    IndexOverflow(u64),
    /// An entry's term is lower than that of the entry before it.
    #[error("entry {index} has term {found}, below term {before} of the entry before it")]
    EntryTerm {
        /// The entry.
        index: u64,
        /// The term before it.
        before: u64,
        /// Its term.
        found: u64,
    },
    /// The truncation point is outside the log.
    #[error("truncation from {from} is outside the log [{first_index}, {next_index})")]
    TruncateRange {
        /// The point.
        from: u64,
        /// Where the log begins.
        first_index: u64,
        /// Where it ends.
        next_index: u64,
    },
    /// The truncation would remove committed entries.
    #[error("truncation from {from} would remove committed entries (commit is {commit})")]
    TruncateCommitted {
        /// The point.
        from: u64,
        /// The commit index.
        commit: u64,
    },
    /// The truncation would remove the entry that the snapshot marker names.
    #[error("truncation from {from} would remove the entry of the snapshot marker {index}")]
    TruncateSnapshot {
        /// The point.
        from: u64,
        /// The marker's index.
        index: u64,
    },
    /// A batch cannot both reset the log and truncate or compact it.
    #[error("a reset leaves nothing to truncate or compact")]
    ResetWithOther,
    /// The hard state's term falls.
    #[error("term {found} is below the current term {current}")]
    Term {
        /// The term in force.
        current: u64,
        /// The one given.
        found: u64,
    },
    /// The vote changes inside a term.
    #[error("vote for {found} in term {term}, which already has a vote for {current}")]
    Vote {
        /// The term.
        term: u64,
        /// The vote in force.
        current: u64,
        /// The one given.
        found: u64,
    },
    /// The commit index falls.
    #[error("commit {found} is below the current commit {current}")]
    CommitFalls {
        /// The commit in force.
        current: u64,
        /// The one given.
        found: u64,
    },
    /// The commit index is not in the log.
    #[error("commit {commit} is beyond the log, which ends before {next_index}")]
    CommitBeyondLog {
        /// The commit index.
        commit: u64,
        /// Where the log ends after this batch.
        next_index: u64,
    },
    /// The compaction point is outside the log.
    #[error("compaction to {index} is outside the log [{first_index}, {next_index}]")]
    CompactRange {
        /// The point.
        index: u64,
        /// Where the log begins.
        first_index: u64,
        /// Where it ends.
        next_index: u64,
    },
    /// The base term of a compaction is not the term of the entry before it, or a reset to index 0
    /// has one.
    #[error("base term {found:?} before index {index} where the log has {expected:?}")]
    BaseTerm {
        /// The first index.
        index: u64,
        /// What the log has.
        expected: Option<u64>,
        /// What was given.
        found: Option<u64>,
    },
    /// The snapshot marker is beyond the log.
    #[error("snapshot marker {index} is beyond the log, which ends before {next_index}")]
    SnapshotBeyondLog {
        /// The marker's index.
        index: u64,
        /// Where the log ends.
        next_index: u64,
    },
    /// The snapshot marker has not the term that the log has at its index.
    #[error("snapshot marker {index} has term {found}, the log has term {expected} there")]
    SnapshotTerm {
        /// The marker's index.
        index: u64,
        /// The log's term.
        expected: u64,
        /// The marker's term.
        found: u64,
    },
    /// The snapshot marker is older than the one in force.
    #[error("snapshot marker {found} is older than the current one, {current}")]
    SnapshotOld {
        /// The index of the marker in force.
        current: u64,
        /// The one given.
        found: u64,
    },
    /// More than 32 live blob keys.
    #[error("more than {0} live blob keys")]
    BlobKeys(usize),
    /// A blob key is empty or longer than 255 bytes.
    #[error("a blob key has {0} bytes, expected 1 to 255")]
    BlobKey(usize),
}
