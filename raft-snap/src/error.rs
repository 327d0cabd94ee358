//! Everything that can go wrong, with the place, what was expected, what was found, and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of a snapshot operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a snapshot operation failed.
///
/// Inside an [`io::Error`] (of [`SnapReader`](crate::SnapReader) and
/// [`SnapWriter`](crate::SnapWriter)) it is found again with [`Error::of`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed. Nothing is known to be damaged.
    #[error("{op} {path}{at}: {source}; try again, or see to the disk", path = path.display(), at = At(*offset))]
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
    /// No room. No snapshot became visible, and none was lost.
    #[error("no space for {path}: {source}; free space and try again", path = path.display())]
    NoSpace {
        /// The file that did not fit.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// Damage. The file was not changed.
    #[error(transparent)]
    Corrupt(Box<Corrupt>),
    /// The snapshot is of another node or cluster.
    #[error("{path}: {what} is {found}, expected {expected}: this is a snapshot of another node; move the file away, and check the data directory of this node", path = path.display())]
    IdentityMismatch {
        /// The file.
        path: PathBuf,
        /// Which identity differs.
        what: &'static str,
        /// What the options demand.
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
    /// There is no such snapshot (any more).
    #[error("{path} does not exist: list the snapshots again", path = path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// A name of ours leads to something that is not a regular file. It was not touched.
    #[error("{path} is not a regular file: snapshots are never followed through links; remove it", path = path.display())]
    NotAFile {
        /// The name.
        path: PathBuf,
    },
    /// There is a usable snapshot of this index and term already, with another conf state. It was
    /// kept, and the new one discarded.
    #[error("{path} exists, with a conf state of {found} bytes that is not the given one of {expected} bytes: one index and term has one conf state; find out which of the two is wrong", path = path.display())]
    Conflict {
        /// The file that exists.
        path: PathBuf,
        /// Length of the conf state given.
        expected: usize,
        /// Length of the conf state in the file.
        found: usize,
    },
    /// A complete transfer is not what was announced. It was discarded.
    #[error("{path}: the data received has SHA-256 {found}, announced was {expected}: the transfer was discarded; receive it again, or from another node", path = path.display())]
    NotAsAnnounced {
        /// The file that was received into.
        path: PathBuf,
        /// The hash announced.
        expected: String,
        /// The hash of what came.
        found: String,
    },
    /// The same snapshot is being received already, by this process.
    #[error("{path} is being received already: drop the other receiver first", path = path.display())]
    Busy {
        /// The file that is received into.
        path: PathBuf,
    },
    /// An earlier write or sync of this file failed, and the file was given up.
    #[error("{path} was given up: {cause}; begin again", path = path.display())]
    GivenUp {
        /// The file.
        path: PathBuf,
        /// What failed.
        cause: Arc<str>,
    },
    /// A sync of the directory failed. What names it holds after a crash is in doubt.
    #[error(
        "the snapshot directory is poisoned: {cause}: nothing is written through this handle any more; open the directory again"
    )]
    Poisoned {
        /// What failed first.
        cause: Arc<str>,
    },
    /// The directory was opened for reading only.
    #[error("{dir} was opened read-only: open it for writing", dir = dir.display())]
    ReadOnly {
        /// The directory.
        dir: PathBuf,
    },
    /// An argument cannot be right. Nothing was changed.
    #[error("refused: {0}")]
    Rejected(#[from] Reject),
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
    /// The header is not readable.
    Header,
    /// The file's name is not what its header says: it was renamed, or swapped with another one.
    Name,
    /// The file has not the length that its footer demands.
    Length,
    /// No valid footer at the end of the file: it was cut short, or its end is damaged.
    Footer,
    /// A chunk does not have its length or its checksum.
    Chunk,
    /// The chunks are valid, and the hash of their data is not the footer's.
    DataHash,
    /// The file is not the one that was asked for, although it has its name.
    FileHash,
}

impl fmt::Display for CorruptKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Name => "file name",
            Self::Length => "file length",
            Self::Footer => "footer",
            Self::Chunk => "chunk",
            Self::DataHash => "data hash",
            Self::FileHash => "file hash",
        })
    }
}

/// Damage: where, what was expected and found, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Corrupt {
    /// What kind.
    pub kind: CorruptKind,
    /// The file.
    pub path: PathBuf,
    /// Where in the file.
    pub offset: u64,
    /// What should have been there.
    pub expected: String,
    /// What was there.
    pub found: String,
    /// What the operator can do next.
    pub advice: &'static str,
}

/// What can be done about any damaged snapshot.
const ADVICE: &str =
    "quarantine the file, and use an older snapshot, or one from another node or a backup";

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, path, offset, expected, found, advice } = self;
        let path = path.display();
        write!(f, "corrupt {kind} in {path}+{offset}: expected {expected}, found {found}; {advice}")
    }
}

impl std::error::Error for Corrupt {}

/// Which argument cannot be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// `u64::MAX` is not an index.
    #[error("index {0} is not an index: nothing can follow it")]
    Index(u64),
    /// The conf state is too long.
    #[error("a conf state of {len} bytes, the maximum is {max}")]
    ConfState {
        /// Its length.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// The length of an announced transfer's chunks is out of bounds.
    #[error("chunks of {found} bytes, expected {min} to {max}")]
    ChunkLen {
        /// The length given.
        found: u32,
        /// The least.
        min: u32,
        /// The most.
        max: u32,
    },
    /// More data than a file may have with chunks of this length.
    #[error(
        "{len} bytes of data in chunks of {chunk_len}: more than {max} chunks; use longer ones"
    )]
    TooLong {
        /// Length of the data.
        len: u64,
        /// Length of a chunk.
        chunk_len: u32,
        /// Most chunks of a file.
        max: u32,
    },
    /// A chunk does not follow the one before it.
    #[error("chunk {found} where chunk {expected} was expected: go on from there")]
    ChunkOrder {
        /// The chunk that would have been right.
        expected: u32,
        /// The one given.
        found: u32,
    },
    /// A chunk has not the length that the announcement gives it.
    #[error("chunk {chunk} has {found} bytes, expected {expected}: send it as it was announced")]
    ChunkSize {
        /// Which chunk.
        chunk: u32,
        /// The length that would have been right.
        expected: usize,
        /// The length given.
        found: usize,
    },
    /// A chunk was damaged on its way, or is of another snapshot or place.
    #[error(
        "chunk {chunk} came with checksum {found:08x}, its own is {expected:08x}: send it again"
    )]
    ChunkSum {
        /// Which chunk.
        chunk: u32,
        /// The checksum of what came.
        expected: u32,
        /// The one that came with it.
        found: u32,
    },
    /// All chunks are there already, or the snapshot has not so many.
    #[error("chunk {found} of a snapshot of {chunks} chunks")]
    NoSuchChunk {
        /// The chunk asked for.
        found: u32,
        /// How many there are.
        chunks: u32,
    },
    /// A transfer was finished before all chunks were there.
    #[error("{received} of {chunks} chunks are there: receive the others first")]
    Incomplete {
        /// How many came.
        received: u32,
        /// How many there are.
        chunks: u32,
    },
    /// A position before the beginning, or beyond what 64 bits hold.
    #[error("seek to a position before the beginning or beyond 2^64")]
    Seek,
    /// Only a snapshot file can be quarantined.
    #[error("the name is not one of a snapshot file")]
    Name,
}

impl Error {
    /// The error inside an [`io::Error`] that a reader or writer of this crate returned.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Whether the file itself is damaged, as opposed to unreadable, foreign or gone.
    pub const fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt(_))
    }

    fn io_kind(&self) -> io::ErrorKind {
        match self {
            // Whoever reads or writes a stream would try again, and hear of another error.
            Self::Io { source, .. } if source.kind() == io::ErrorKind::Interrupted => {
                io::ErrorKind::Other
            }
            Self::Io { source, .. } | Self::NoSpace { source, .. } => source.kind(),
            Self::NotFound { .. } => io::ErrorKind::NotFound,
            Self::Rejected(_) | Self::Option { .. } => io::ErrorKind::InvalidInput,
            Self::Busy { .. } => io::ErrorKind::ResourceBusy,
            Self::Conflict { .. } => io::ErrorKind::AlreadyExists,
            Self::ReadOnly { .. } => io::ErrorKind::PermissionDenied,
            Self::Unsupported { .. } => io::ErrorKind::Unsupported,
            Self::GivenUp { .. } | Self::Poisoned { .. } => io::ErrorKind::Other,
            Self::Corrupt(_)
            | Self::IdentityMismatch { .. }
            | Self::NotAFile { .. }
            | Self::NotAsAnnounced { .. } => io::ErrorKind::InvalidData,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(error.io_kind(), error)
    }
}

/// Damage of `kind` at a place.
pub(crate) fn corrupt(
    kind: CorruptKind,
    path: &Path,
    offset: u64,
    expected: impl fmt::Display,
    found: impl fmt::Display,
) -> Error {
    Error::Corrupt(Box::new(Corrupt {
        kind,
        path: path.to_owned(),
        offset,
        expected: expected.to_string(),
        found: found.to_string(),
        advice: ADVICE,
    }))
}

/// Wraps a system error with what was tried and where; a full disk is told apart.
pub(crate) fn io_error(
    op: &'static str,
    path: &Path,
    offset: Option<u64>,
    source: io::Error,
) -> Error {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
    let (path, kind) = (path.to_owned(), source.kind());
    let source = Arc::new(source);
    match kind {
        StorageFull | QuotaExceeded | FileTooLarge | WriteZero => Error::NoSpace { path, source },
        _ => Error::Io { op, path, offset, source },
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
        text
    })
}
