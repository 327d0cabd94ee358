//! What a log holds, in plain types: absent protobuf fields have become their defaults.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::{Effect, proto};

/// What an entry's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A command of the application, or the empty entry of a new leader.
    Normal,
    /// A protobuf `ConfChange`.
    ConfChange,
    /// A protobuf `ConfChangeV2`; empty when it leaves a joint configuration.
    ConfChangeV2,
}

impl EntryKind {
    /// The stable name: `normal`, `conf_change` or `conf_change_v2`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::ConfChange => "conf_change",
            Self::ConfChangeV2 => "conf_change_v2",
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One Raft log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position in the log, from 1.
    pub index: u64,
    /// Term of the leader that proposed it, from 1.
    pub term: u64,
    /// What `data` is.
    pub kind: EntryKind,
    /// The payload; shares the read buffer.
    pub data: Bytes,
}

/// Raft's persistent state besides the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// Current term.
    pub term: u64,
    /// Node voted for in `term`, 0 for none.
    pub vote: u64,
    /// Highest index known to be committed.
    pub commit: u64,
}

/// The members of a cluster, as a snapshot records them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfState {
    /// Voters (of the incoming configuration, if joint).
    pub voters: Vec<u64>,
    /// Learners.
    pub learners: Vec<u64>,
    /// Voters of the outgoing configuration; empty unless joint.
    pub voters_outgoing: Vec<u64>,
    /// Nodes that become learners when the joint configuration is left.
    pub learners_next: Vec<u64>,
    /// Whether a joint configuration is left without being asked to.
    pub auto_leave: bool,
}

impl ConfState {
    /// Reads a protobuf `ConfState`, as Raft libraries store it.
    ///
    /// # Errors
    /// A sentence that says why it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        proto::ConfState::decode(bytes).map(Into::into).map_err(|e| e.to_string())
    }
}

/// A snapshot marker: "there is a snapshot of everything up to here". The data is elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// Index of the last entry the snapshot covers, 0 in the marker of a new log.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// The members at that point; etcd writes them since 3.5.
    pub conf_state: Option<ConfState>,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// Opaque bytes that name node and cluster; the same in each segment.
    Metadata(Bytes),
    /// A log entry.
    Entry(Entry),
    /// The hard state from here on.
    HardState(HardState),
    /// A snapshot marker.
    Snapshot(Marker),
    /// The rolling checksum carried over from the previous segment.
    Crc(u32),
}

impl RecordKind {
    /// The stable name: `metadata`, `entry`, `hard_state`, `snapshot` or `crc`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Metadata(_) => "metadata",
            Self::Entry(_) => "entry",
            Self::HardState(_) => "hard_state",
            Self::Snapshot(_) => "snapshot",
            Self::Crc(_) => "crc",
        }
    }
}

/// One record whose checksum holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Name of the file.
    pub segment: Arc<str>,
    /// Place of the file among the log's files, from 0.
    pub segment_number: u32,
    /// Where the record's length word stands, in bytes from the start of the file.
    pub offset: u64,
    /// Length word, record and padding together, in bytes.
    pub frame_len: u64,
    /// The rolling checksum before this record.
    pub seed: u32,
    /// The rolling checksum including this record.
    pub crc: u32,
    /// What the record says.
    pub kind: RecordKind,
    /// What it does to the log that is being replayed.
    pub effect: Effect,
}
