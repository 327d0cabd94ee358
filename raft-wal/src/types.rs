//! What a log stores: entries, the hard state, snapshot markers, and the batch that holds them.

use bytes::Bytes;

/// What an entry is. The log stores the kind and never looks inside the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EntryKind {
    /// A command of the state machine (etcd's `EntryNormal`).
    Normal = 0,
    /// A membership change, first form (etcd's `EntryConfChange`).
    ConfChange = 1,
    /// A membership change, second form (etcd's `EntryConfChangeV2`).
    ConfChangeV2 = 2,
    /// Left to the application.
    App3 = 3,
    /// Left to the application.
    App4 = 4,
    /// Left to the application.
    App5 = 5,
}

impl EntryKind {
    /// The kind that has this number in the format, if any has.
    pub const fn from_number(n: u8) -> Option<Self> {
        Some(match n {
            0 => Self::Normal,
            1 => Self::ConfChange,
            2 => Self::ConfChangeV2,
            3 => Self::App3,
            4 => Self::App4,
            5 => Self::App5,
            _ => return None,
        })
    }
}

/// One log entry. `data` is shared, never copied: an entry read from a closed segment points into
/// its mapping, one read from the tail into the buffer it was written from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position in the log. `u64::MAX` is not an index.
    pub index: u64,
    /// Term of the leader that created it.
    pub term: u64,
    /// What it is.
    pub kind: EntryKind,
    /// The payload.
    pub data: Bytes,
}

/// Raft's persistent state besides the log (Raft section 5.2, etcd's `HardState`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HardState {
    /// Current term; never falls.
    pub term: u64,
    /// Who got this node's vote in `term`; 0 is nobody. Given once in a term.
    pub vote: u64,
    /// Highest index known committed; within the log.
    pub commit: u64,
}

/// A marker that a snapshot file exists: the log's half of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotMark {
    /// Last index the snapshot covers.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Length of the snapshot file in bytes.
    pub file_len: u64,
    /// Hash of the whole snapshot file; what hash is the caller's business.
    pub file_hash: [u8; 32],
    /// The membership at `index`, opaque here; at most 64 KiB.
    pub conf_state: Bytes,
}

/// Empties the log and moves it: afterwards it is `[first_index, first_index)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Index that the next entry will have.
    pub first_index: u64,
    /// Term of `first_index - 1`, if there is such an entry behind a snapshot.
    pub base_term: Option<u64>,
}

/// One atomic change of the log: all of it survives a crash, or none.
///
/// This is one Raft `Ready`: entries, hard state and snapshot marker together. Parts take effect
/// in this order: compact, snapshot, reset, truncate, hard state, entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Entries with consecutive indexes, the first of them at most one past the last. If it is
    /// lower, everything from it on is truncated first, as Raft's conflict rule has it.
    pub entries: Vec<Entry>,
    /// Entries from this index on go away, whether new ones come or not.
    pub truncate: Option<u64>,
    /// The new hard state.
    pub hard_state: Option<HardState>,
    /// A snapshot file that is durable by now.
    pub snapshot: Option<SnapshotMark>,
    /// The log is replaced: a snapshot was installed, or everything was purged.
    pub reset: Option<Reset>,
    /// Entries below this index are no longer needed.
    pub compact: Option<u64>,
    /// Replaces the log's metadata record (etcd: node and cluster id); at most 64 KiB.
    pub metadata: Option<Bytes>,
    /// Small keyed values; an empty value deletes the key. At most 32 live keys and 64 KiB.
    pub blobs: Vec<(Bytes, Bytes)>,
}

impl Batch {
    /// A batch of entries alone.
    pub fn of_entries(entries: Vec<Entry>) -> Self {
        Self { entries, ..Self::default() }
    }

    /// A batch of a hard state alone.
    pub fn of_hard_state(hard_state: HardState) -> Self {
        Self { hard_state: Some(hard_state), ..Self::default() }
    }

    /// Adds a hard state.
    pub fn with_hard_state(mut self, hard_state: HardState) -> Self {
        self.hard_state = Some(hard_state);
        self
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

/// Names a batch in the order of appending. Later batches have greater tickets. It speaks of the
/// handle that gave it: another opening of the log may give the number of a lost batch again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

impl Ticket {
    /// The batch number in the log.
    pub const fn batch_seq(self) -> u64 {
        self.0
    }
}

/// How far the log is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// The last durable batch; 0 before the first.
    pub batch_seq: u64,
    /// Last index of the log as of that batch.
    pub last_index: u64,
    /// Term of the last entry as of that batch.
    pub term: u64,
}
