//! What recovery found and did.

use std::fmt;
use std::path::PathBuf;

use crate::types::HardState;

/// How the log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing was ever written.
    Empty,
    /// The log was closed; nothing is missing.
    Clean,
    /// The newest segment was full and closed; the next one was not begun.
    Sealed,
    /// Zeros follow the last batch.
    Blank,
    /// The batch after the last good one is torn; its header says what it held.
    Torn {
        /// Index of its first entry.
        first_index: u64,
        /// How many entries it had.
        entries: u32,
    },
    /// Bytes follow the last good batch that are not even a header.
    Unknown,
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty"),
            Self::Clean => f.write_str("clean"),
            Self::Sealed => f.write_str("sealed"),
            Self::Blank => f.write_str("blank"),
            Self::Torn { first_index, entries } => {
                write!(f, "torn batch of {entries} entries from index {first_index}")
            }
            Self::Unknown => f.write_str("torn"),
        }
    }
}

/// Bytes behind the last good batch that were given up. They stay where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// Number of the segment.
    pub segment: u64,
    /// Its file.
    pub path: PathBuf,
    /// Where they begin.
    pub offset: u64,
    /// How many there are, up to the last that is not zero.
    pub bytes: u64,
    /// CRC-32 of the first 1 MiB of them.
    pub crc: u32,
}

/// Something odd that did not stand in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file.
    pub path: PathBuf,
    /// What is odd.
    pub what: String,
}

/// What an open found in the directory, and what it wrote.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "independent findings, each named")]
pub struct RecoveryReport {
    /// The log was made by this open (or by an earlier one that did not finish).
    pub created: bool,
    /// Number of this process lifetime; the one that the next append writes under.
    pub era: u64,
    /// First index of the log.
    pub first_index: u64,
    /// One past the last index.
    pub next_index: u64,
    /// The hard state.
    pub hard_state: HardState,
    /// How the log ended.
    pub tail: Tail,
    /// Whether it is certain that nothing acknowledged is missing behind the end. It is not after
    /// an ordinary crash: a batch that was acknowledged in the last moment and then damaged cannot
    /// be told from one that was never finished.
    pub certain: bool,
    /// Batches that were readable but not proven durable, and were written again.
    pub carried: u64,
    /// Whether all that was recovered is durable. If not (no space), the node must neither vote
    /// nor acknowledge until [`crate::Wal::recovered_durable`] says so.
    pub recovered_durable: bool,
    /// Term and vote were taken from a copy, because the batch that held them was torn.
    pub state_raised: bool,
    /// What was given up.
    pub discarded: Option<Discarded>,
    /// Segments that make up the log.
    pub segments: usize,
    /// Of these, how many were trusted to their index files instead of being read.
    pub indexed: usize,
    /// Bytes of segments that were read.
    pub scanned_bytes: u64,
    /// Files removed after success: temporary files, dead segments, orphan index files.
    pub removed: usize,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// Everything odd.
    pub notes: Vec<Note>,
}

impl RecoveryReport {
    pub(crate) fn new() -> Self {
        Self {
            created: false,
            era: 0,
            first_index: 0,
            next_index: 0,
            hard_state: HardState::default(),
            tail: Tail::Empty,
            certain: true,
            carried: 0,
            recovered_durable: true,
            state_raised: false,
            discarded: None,
            segments: 0,
            indexed: 0,
            scanned_bytes: 0,
            removed: 0,
            micros: 0,
            notes: Vec::new(),
        }
    }

    /// Whether bytes behind the last good batch were given up: what a crash in the middle of a
    /// write leaves. What stands behind the mark of a closed log is no batch.
    pub fn is_torn(&self) -> bool {
        self.discarded.is_some() && self.tail != Tail::Clean
    }

    pub(crate) fn note(&mut self, path: impl Into<PathBuf>, what: impl Into<String>) {
        self.notes.push(Note { path: path.into(), what: what.into() });
    }
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HardState { term, vote, commit } = self.hard_state;
        write!(
            f,
            "log [{}, {}) term {term} vote {vote} commit {commit}; tail {}{}; {} segments ({} by \
             index file), {} bytes read, {} us",
            self.first_index,
            self.next_index,
            self.tail,
            if self.certain { "" } else { " (uncertain)" },
            self.segments,
            self.indexed,
            self.scanned_bytes,
            self.micros,
        )?;
        if self.carried > 0 {
            write!(f, "; {} unproven batches written again", self.carried)?;
        }
        if let Some(d) = &self.discarded {
            let (bytes, path, at) = (d.bytes, d.path.display(), d.offset);
            write!(f, "; gave up {bytes} bytes at {path}+{at} (crc {:08x})", d.crc)?;
        }
        if !self.recovered_durable {
            f.write_str("; NOT durable yet: no space")?;
        }
        for note in &self.notes {
            write!(f, "; note: {}: {}", note.path.display(), note.what)?;
        }
        Ok(())
    }
}
