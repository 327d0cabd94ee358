//! A storage that can be told to err, and to break its contract.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use raft_core::{
    DamagedRange, Entry, Fetch, InitialState, MemoryStorage, Snapshot, SnapshotMetadata, Storage,
    StorageError,
};

/// What is wrong with the next answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fault {
    #[default]
    Nothing,
    Compacted,
    Unavailable,
    Later,
    Broken,
    /// No entry where there is one; a snapshot of nothing.
    Empty,
    /// One entry, though more would fit.
    Short,
    /// More than asked for.
    Long,
    /// Entries of other indexes; a snapshot without end.
    Elsewhere,
}

pub(super) const FAULTS: [Fault; 9] = [
    Fault::Nothing,
    Fault::Compacted,
    Fault::Unavailable,
    Fault::Later,
    Fault::Broken,
    Fault::Empty,
    Fault::Short,
    Fault::Long,
    Fault::Elsewhere,
];

#[derive(Clone, Debug)]
pub(super) struct Faulty {
    pub(super) log: MemoryStorage,
    pub(super) fault: Rc<Cell<Fault>>,
    /// How many answers are wrong.
    pub(super) left: Rc<Cell<u8>>,
    /// Entries that cannot be read.
    pub(super) lost: Rc<Cell<Option<DamagedRange>>>,
}

impl Faulty {
    pub(super) fn new(log: MemoryStorage) -> Self {
        Self { log, fault: Rc::default(), left: Rc::default(), lost: Rc::default() }
    }

    fn fault(&self) -> Fault {
        match self.left.get().checked_sub(1) {
            None => Fault::Nothing,
            Some(left) => {
                self.left.set(left);
                self.fault.get()
            }
        }
    }

    /// The error, or the other wrong answer.
    fn judge(&self) -> Result<Fault, StorageError> {
        match self.fault() {
            Fault::Compacted => Err(StorageError::Compacted),
            Fault::Unavailable => Err(StorageError::Unavailable),
            Fault::Later => Err(StorageError::LogTemporarilyUnavailable),
            Fault::Broken => Err(StorageError::other(io::Error::other("a broken disk"))),
            other => Ok(other),
        }
    }

    fn readable(&self, low: u64, high: u64) -> Result<(), StorageError> {
        match self.lost.get() {
            Some(lost) if low <= lost.high && high >= lost.low => {
                Err(StorageError::other(io::Error::other("a lost range")))
            }
            _ => Ok(()),
        }
    }
}

impl Storage for Faulty {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.judge()?;
        self.log.initial_state()
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_bytes: u64,
        purpose: Fetch,
    ) -> Result<Vec<Entry>, StorageError> {
        let fault = self.judge()?;
        self.readable(low, high - 1)?;
        let mut entries = self.log.entries(low, high, max_bytes, purpose)?;
        match fault {
            Fault::Empty => entries.clear(),
            Fault::Short => entries.truncate(1),
            Fault::Long => entries.extend(entries.clone()),
            Fault::Elsewhere => {
                if let Some(entry) = entries.last_mut() {
                    entry.index ^= 1;
                }
            }
            _ => {}
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<u64, StorageError> {
        self.judge()?;
        self.readable(index, index)?;
        self.log.term(index)
    }

    fn first_index(&self) -> Result<u64, StorageError> {
        match self.judge()? {
            Fault::Empty => Ok(0),
            Fault::Elsewhere => Ok(u64::MAX),
            _ => self.log.first_index(),
        }
    }

    fn last_index(&self) -> Result<u64, StorageError> {
        match self.judge()? {
            Fault::Empty => Ok(0),
            Fault::Elsewhere => Ok(u64::MAX),
            _ => self.log.last_index(),
        }
    }

    fn snapshot(&self, at_least: u64, to: u64) -> Result<Snapshot, StorageError> {
        match self.judge()? {
            Fault::Empty => Ok(Snapshot::default()),
            Fault::Elsewhere => {
                let metadata = SnapshotMetadata { index: u64::MAX, ..SnapshotMetadata::default() };
                Ok(Snapshot { metadata: Some(metadata), ..Snapshot::default() })
            }
            _ => self.log.snapshot(at_least, to),
        }
    }
}
