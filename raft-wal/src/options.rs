//! How a log is opened.

use crate::error::{Error, Result};
use crate::format::FIRST_FRAME;

/// What to do with a tail that may or may not have been durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TailPolicy {
    /// Cut it as after a crash and say so in the report. After a power cut of a whole rack every
    /// node is in this state, so refusing would silence the cluster.
    #[default]
    Accept,
    /// Refuse to open: [`Error::AmbiguousTail`].
    RefuseAmbiguous,
}

/// How much an open reads. What an open does not read is checked by each read of it, and by the
/// scrub ([`crate::Wal::step_scrub`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// [`Verify::Full`] for logs whose segment files take at most 256 MiB, else [`Verify::Tail`].
    #[default]
    Auto,
    /// The newest segment, and of closed ones the header and the first batch; all of them only
    /// where the index file is missing or stale. Damage in the rest is found by who reads it.
    Tail,
    /// Every live byte: an open refuses whatever is damaged.
    Full,
}

/// How closed segments are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// Through a read-only mapping, without copying.
    #[default]
    Map,
    /// With `pread` into owned buffers: a disk that fails under a mapping raises SIGBUS, one that
    /// fails under `pread` returns an error.
    Pread,
}

/// Whether a vote may change within its term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VoteRule {
    /// Raft's rule: one vote a term. A second one is refused on append and is damage on disk.
    #[default]
    OncePerTerm,
    /// Not checked: for logs taken over from tools that do not keep the rule.
    Unchecked,
}

/// Whose log it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: u64,
    /// The node in it.
    pub node_id: u64,
}

/// Options of a log. The defaults are right for a Raft node; every size is in bytes.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) create: bool,
    pub(crate) identity: Option<Identity>,
    pub(crate) initial_index: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) max_entry_bytes: u64,
    pub(crate) max_batch_bytes: u64,
    pub(crate) max_unsynced_bytes: u64,
    pub(crate) tail_cache_bytes: u64,
    pub(crate) spare_segments: u64,
    pub(crate) scrub_bytes_per_second: u64,
    pub(crate) align: u64,
    pub(crate) tail_policy: TailPolicy,
    pub(crate) verify: Verify,
    pub(crate) read_mode: ReadMode,
    pub(crate) vote_rule: VoteRule,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create: true,
            identity: None,
            initial_index: 1,
            segment_bytes: 64 << 20,
            max_entry_bytes: 16 << 20,
            max_batch_bytes: 64 << 20,
            max_unsynced_bytes: 8 << 20,
            tail_cache_bytes: 8 << 20,
            spare_segments: 2,
            scrub_bytes_per_second: 16 << 10,
            align: 1,
            tail_policy: TailPolicy::default(),
            verify: Verify::default(),
            read_mode: ReadMode::default(),
            vote_rule: VoteRule::default(),
        }
    }
}

/// The smallest segment: header, marks, and room for a few batches.
pub(crate) const MIN_SEGMENT_BYTES: u64 = FIRST_FRAME + 4096;
/// The largest segment: an offset in units of 8 bytes fits 32 bits.
pub(crate) const MAX_SEGMENT_BYTES: u64 = 1 << 32;
/// The largest payload that the record header can express.
pub(crate) const MAX_ENTRY_BYTES: u64 = (1 << 28) - 1;

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a log is created where there is none (default: yes).
    pub fn create(mut self, yes: bool) -> Self {
        self.create = yes;
        self
    }

    /// Whose log it must be. A new log is stamped with it; an existing one is checked against it.
    /// Without it a new log belongs to cluster 0, node 0, and nothing is checked.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// First index of a log that never held anything (default 1; some Rafts begin at 0).
    pub fn initial_index(mut self, index: u64) -> Self {
        self.initial_index = index;
        self
    }

    /// Capacity of a segment (default 64 MiB; 16 KiB to 4 GiB; rounded up to 4 KiB). A batch that
    /// does not fit gets a segment of its own.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Largest payload of an entry (default 16 MiB, below 256 MiB).
    pub fn max_entry_bytes(mut self, bytes: u64) -> Self {
        self.max_entry_bytes = bytes;
        self
    }

    /// Largest batch, headers included (default 64 MiB, at most 1 GiB).
    pub fn max_batch_bytes(mut self, bytes: u64) -> Self {
        self.max_batch_bytes = bytes;
        self
    }

    /// How much may be appended without a sync before an append forces one (default 8 MiB). This
    /// bounds what a recovery has to write again.
    pub fn max_unsynced_bytes(mut self, bytes: u64) -> Self {
        self.max_unsynced_bytes = bytes;
        self
    }

    /// How much of the newest part of the log is kept in memory for reading (default 8 MiB).
    /// Payloads of 4 KiB and more are not copied for that: as long as they are kept, so is the
    /// whole allocation that an entry's [`Bytes`](bytes::Bytes) is a part of.
    pub fn tail_cache_bytes(mut self, bytes: u64) -> Self {
        self.tail_cache_bytes = bytes;
        self
    }

    /// How many removed segments are kept to be written again (default 2, at most 16), which saves
    /// later ones the zeroing. 0 for file systems that never write in place, where it saves
    /// nothing.
    pub fn spare_segments(mut self, count: u64) -> Self {
        self.spare_segments = count;
        self
    }

    /// How fast the live log is read again to find damage while it can still be mended (default
    /// 16 KiB/s; 0 is never). The default reads 1.3 GiB a day, which is a whole log of the usual
    /// size, in pieces of 1 MiB, one a minute, which no append notices. [`crate::SharedWal`] does
    /// it by itself; see [`crate::Wal::step_scrub`].
    pub fn scrub_bytes_per_second(mut self, bytes: u64) -> Self {
        self.scrub_bytes_per_second = bytes;
        self
    }

    /// For disks that may damage synced bytes beside bytes being written: every flush group is
    /// padded to this boundary, 512 or 4096, so that no acknowledged sector is written again.
    /// Default 1: powersafe overwrite is assumed.
    pub fn align(mut self, bytes: u64) -> Self {
        self.align = bytes;
        self
    }

    /// What to do with an ambiguous tail.
    pub fn tail_policy(mut self, policy: TailPolicy) -> Self {
        self.tail_policy = policy;
        self
    }

    /// How much an open reads.
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// How closed segments are read.
    pub fn read_mode(mut self, mode: ReadMode) -> Self {
        self.read_mode = mode;
        self
    }

    /// Whether a vote may change within its term.
    pub fn vote_rule(mut self, rule: VoteRule) -> Self {
        self.vote_rule = rule;
        self
    }

    /// Checks every bound and rounds what is rounded.
    pub(crate) fn validated(&self) -> Result<Self> {
        let bad = |option, found, expected| Err(Error::Option { option, found, expected });
        let mut o = self.clone();
        if !(MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&o.segment_bytes) {
            return bad("segment_bytes", o.segment_bytes, "16 KiB to 4 GiB");
        }
        o.segment_bytes = o.segment_bytes.next_multiple_of(4096);
        if o.max_entry_bytes > MAX_ENTRY_BYTES {
            return bad("max_entry_bytes", o.max_entry_bytes, "less than 256 MiB");
        }
        if !(4096..=1 << 30).contains(&o.max_batch_bytes) {
            return bad("max_batch_bytes", o.max_batch_bytes, "4 KiB to 1 GiB");
        }
        if o.max_unsynced_bytes > 1 << 30 {
            return bad("max_unsynced_bytes", o.max_unsynced_bytes, "at most 1 GiB");
        }
        if o.spare_segments > 16 {
            return bad("spare_segments", o.spare_segments, "at most 16");
        }
        if ![1, 512, 4096].contains(&o.align) {
            return bad("align", o.align, "1, 512 or 4096");
        }
        if o.initial_index == u64::MAX {
            return bad("initial_index", o.initial_index, "less than u64::MAX");
        }
        Ok(o)
    }
}
