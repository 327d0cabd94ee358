//! What is wrong with a log, by name.

use std::fmt;

/// The kinds of damage, each with a stable name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The last write is incomplete: the last record's end, or the hard state behind the last
    /// entries, was never written.
    TornTail,
    /// A length word that is impossible or disagrees with the record behind it.
    BadLength,
    /// A length word of zero with data behind it: etcd takes this for the end of the log.
    ZeroedLength,
    /// The length word's padding or reserved bits do not fit its length.
    BadPaddingBits,
    /// Padding that is not zero.
    NonzeroPadding,
    /// Bytes behind the end of the log that are no records.
    DataAfterEnd,
    /// A record longer than the configured maximum.
    RecordTooLarge,
    /// The outer protobuf record cannot be read.
    UnreadableRecord,
    /// The protobuf message inside a record cannot be read.
    UnreadableData,
    /// A record type that etcd does not have.
    UnknownType,
    /// Data that does not fit the record's type.
    WrongType,
    /// A record where etcd never writes one of its type, or a segment without its head.
    MisplacedRecord,
    /// A record's checksum does not hold.
    CrcMismatch,
    /// A segment does not continue the checksum of the one before it.
    CrcChainBroken,
    /// A segment that must have existed is not there.
    MissingSegment,
    /// A segment that ends before its first two records, checksum and metadata.
    EmptySegment,
    /// A segment's name does not fit its contents or its neighbours.
    SegmentNameMismatch,
    /// A name of a segment or snapshot that is a symbolic link, a FIFO or the like.
    NotAFile,
    /// The metadata differs between segments.
    MetadataConflict,
    /// Entries are missing between two others.
    IndexGap,
    /// An entry replaces one that was committed.
    CommittedOverwritten,
    /// An entry that Raft cannot have written: index or term zero.
    BadEntry,
    /// A hard state that Raft cannot have written: term zero.
    BadHardState,
    /// An entry kind that etcd does not have.
    UnknownEntryKind,
    /// A term smaller than one before it.
    TermWentBack,
    /// A commit index smaller than one before it.
    CommitWentBack,
    /// The commit index points beyond the last entry: committed entries are lost.
    CommitBeyondLog,
    /// A snapshot marker disagrees with a committed entry.
    SnapshotMismatch,
    /// A snapshot file's checksum does not hold.
    SnapFileCrcMismatch,
    /// A snapshot file cannot be read.
    SnapFileUnreadable,
    /// A snapshot file's name does not fit its contents.
    SnapFileNameMismatch,
    /// There were more problems than are kept.
    MoreProblems,
}

impl ProblemKind {
    /// The stable name, in lower case with underscores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TornTail => "torn_tail",
            Self::BadLength => "bad_length",
            Self::ZeroedLength => "zeroed_length",
            Self::BadPaddingBits => "bad_padding_bits",
            Self::NonzeroPadding => "nonzero_padding",
            Self::DataAfterEnd => "data_after_end",
            Self::RecordTooLarge => "record_too_large",
            Self::UnreadableRecord => "unreadable_record",
            Self::UnreadableData => "unreadable_data",
            Self::UnknownType => "unknown_type",
            Self::WrongType => "wrong_type",
            Self::MisplacedRecord => "misplaced_record",
            Self::CrcMismatch => "crc_mismatch",
            Self::CrcChainBroken => "crc_chain_broken",
            Self::MissingSegment => "missing_segment",
            Self::EmptySegment => "empty_segment",
            Self::SegmentNameMismatch => "segment_name_mismatch",
            Self::NotAFile => "not_a_file",
            Self::MetadataConflict => "metadata_conflict",
            Self::IndexGap => "index_gap",
            Self::CommittedOverwritten => "committed_overwritten",
            Self::BadEntry => "bad_entry",
            Self::BadHardState => "bad_hard_state",
            Self::UnknownEntryKind => "unknown_entry_kind",
            Self::TermWentBack => "term_went_back",
            Self::CommitWentBack => "commit_went_back",
            Self::CommitBeyondLog => "commit_beyond_log",
            Self::SnapshotMismatch => "snapshot_mismatch",
            Self::SnapFileCrcMismatch => "snap_file_crc_mismatch",
            Self::SnapFileUnreadable => "snap_file_unreadable",
            Self::SnapFileNameMismatch => "snap_file_name_mismatch",
            Self::MoreProblems => "more_problems",
        }
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Name of the segment or snapshot file.
    pub segment: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What it is.
    pub kind: ProblemKind,
    /// What would have been right.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// What it means, in a sentence.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, offset, kind, expected, found, message } = self;
        write!(f, "{segment}:{offset}: {kind}: {message} (expected {expected}, found {found})")
    }
}

/// The kinds of things worth knowing that are no damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoteKind {
    /// Two votes in one term. Raft forbids it, etcd's log does not check it.
    VoteChanged,
    /// Entries that were overwritten, and that etcd would bring back if it started from this log
    /// (etcd#22442). They are not in the log as this crate replays it.
    GhostSuffix,
    /// An entry was written again with its own term.
    SameTermOverwrite,
    /// A closed segment has zeros at its end, where etcd would have cut it.
    ZeroTailInClosedSegment,
    /// The log's first segments have been removed, as etcd does after a snapshot.
    StartsLate,
    /// A marker in the log without its snapshot file (etcd keeps the last few, and newer
    /// versions write none).
    MarkerWithoutFile,
    /// A snapshot file without a marker in the log.
    SnapFileWithoutMarker,
    /// A file that is none of the log's.
    IgnoredFile,
    /// The last segment was being written to.
    Live,
}

impl NoteKind {
    /// The stable name, in lower case with underscores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VoteChanged => "vote_changed",
            Self::GhostSuffix => "ghost_suffix",
            Self::SameTermOverwrite => "same_term_overwrite",
            Self::ZeroTailInClosedSegment => "zero_tail_in_closed_segment",
            Self::StartsLate => "starts_late",
            Self::MarkerWithoutFile => "marker_without_file",
            Self::SnapFileWithoutMarker => "snap_file_without_marker",
            Self::IgnoredFile => "ignored_file",
            Self::Live => "live",
        }
    }
}

impl fmt::Display for NoteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing worth knowing that is no damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Name of the file.
    pub segment: String,
    /// Where in the file, in bytes; 0 if it is about the file as a whole.
    pub offset: u64,
    /// What it is.
    pub kind: NoteKind,
    /// What it means, in a sentence.
    pub message: String,
}

/// What all findings together make of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing is wrong.
    Intact,
    /// Nothing but the last record's end is missing: a crash during the last write.
    TornTail,
    /// The last record was being written while it was read.
    LiveTail,
    /// Something is damaged or missing.
    Corrupt,
}

impl Status {
    /// The stable name, in lower case with underscores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intact => "intact",
            Self::TornTail => "torn_tail",
            Self::LiveTail => "live_tail",
            Self::Corrupt => "corrupt",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Everything found so far. Bounded: a log that is garbage from end to end costs no more memory
/// than [`Findings::MAX`] problems and as many notes.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    problems: Vec<Problem>,
    notes: Vec<Note>,
    live: bool,
}

impl Findings {
    /// How many problems are kept, and how many notes.
    pub const MAX: usize = 1000;

    /// The problems in the order they were found. If there were more than [`Findings::MAX`], the
    /// last one is [`ProblemKind::MoreProblems`].
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The notes in the order they were made, the first [`Findings::MAX`].
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// What all problems together make of the log.
    pub fn status(&self) -> Status {
        if self.problems.iter().any(|p| p.kind != ProblemKind::TornTail) {
            Status::Corrupt
        } else if self.live {
            Status::LiveTail
        } else if self.problems.is_empty() {
            Status::Intact
        } else {
            Status::TornTail
        }
    }

    /// Adds a problem.
    pub(crate) fn problem(&mut self, problem: Problem) {
        match self.problems.len() {
            n if n < Self::MAX => self.problems.push(problem),
            Self::MAX => self.problems.push(Problem {
                kind: ProblemKind::MoreProblems,
                expected: format!("at most {} problems", Self::MAX),
                found: "more".to_owned(),
                message: "problems from here on are not listed".to_owned(),
                ..problem
            }),
            _ => {}
        }
    }

    /// Adds a note.
    pub(crate) fn note(&mut self, segment: &str, offset: u64, kind: NoteKind, message: String) {
        if self.notes.len() < Self::MAX {
            self.notes.push(Note { segment: segment.to_owned(), offset, kind, message });
        }
    }

    /// Records that the last record was being written while it was read.
    pub(crate) fn set_live(&mut self) {
        self.live = true;
    }
}
