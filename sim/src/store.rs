//! Where a node keeps its log: what [`raft_core::Storage`] reads, and what the cluster writes to
//! it.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use fastrand::Rng;
use raft_core::{
    ConfState, DamagedRange, Entry, Fetch, HardState, InitialState, MemoryStorage, Snapshot,
    SnapshotMetadata, Storage, StorageError,
};

/// What is written at once, all or nothing.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    /// Replaces the log.
    pub snapshot: Option<&'a Snapshot>,
    /// In place of whatever is at their indexes and behind.
    pub entries: &'a [Entry],
    /// Term, vote and commit index.
    pub hard_state: Option<HardState>,
    /// Whether it must be durable when the call returns.
    pub sync: bool,
}

/// The storage of a node, which outlives the node. Clones are handles of the same one.
pub trait Store: Storage + Clone {
    /// Writes a batch.
    ///
    /// # Errors
    /// The storage's: the cluster takes any for a broken rule.
    fn write(&self, batch: &Batch<'_>) -> Result<(), StorageError>;

    /// The power is cut: what was not durable may be lost.
    fn crash(&self, rng: &mut Rng);

    /// The state machine is durable as of an index where the configuration was this one.
    fn set_conf_state(&self, conf_state: ConfState);

    /// Keeps a snapshot of an applied index, unless there is a later one.
    ///
    /// # Errors
    /// As [`Store::write`].
    fn keep_snapshot(
        &self,
        index: u64,
        conf_state: ConfState,
        data: Bytes,
    ) -> Result<(), StorageError>;

    /// Gives up entries up to and including `index`, of which there is a snapshot.
    ///
    /// # Errors
    /// As [`Store::write`].
    fn compact(&self, index: u64) -> Result<(), StorageError>;

    /// The newest snapshot, if there is one.
    fn newest_snapshot(&self) -> Option<Snapshot>;

    /// Term, vote and commit index that a crash would leave.
    fn durable(&self) -> HardState;

    /// Entries that are lost. A snapshot beyond them mends that.
    fn damaged(&self) -> Option<DamagedRange>;

    /// Loses entries, or (`None`) has them back.
    fn damage(&self, range: Option<DamagedRange>);

    /// Ids of peers for whom entries were asked for and could not be given at once, since the last
    /// call.
    fn take_fetches(&self) -> Vec<u64>;

    /// Entries from here on are gone, and nobody says so: for a disk that lies.
    fn lose_from(&mut self, index: u64);

    /// From now on there is no delay and no excuse.
    fn calm(&self);
}

#[derive(Debug, Default)]
struct Extra {
    /// The hard state that was last made durable.
    durable: HardState,
    damaged: Option<DamagedRange>,
    /// One in so many reads for a peer has to be fetched first; 0 none.
    fetch_one_in: u32,
    fetches: Vec<u64>,
    /// A bug: entries behind those that are written stay.
    keeps_tail: bool,
    rng: Rng,
}

/// [`MemoryStorage`], with what a disk adds: writes that may be lost, ranges that are, reads that
/// take their time.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    log: MemoryStorage,
    extra: Rc<RefCell<Extra>>,
}

impl MemoryStore {
    /// An empty log. One in `fetch_one_in` reads for a peer has to be fetched first; 0 none.
    pub fn new(fetch_one_in: u32, rng: Rng) -> Self {
        let extra = Extra { fetch_one_in, rng, ..Extra::default() };
        Self { log: MemoryStorage::new(), extra: Rc::new(RefCell::new(extra)) }
    }

    /// One with a bug: a write of entries leaves those behind them where they are.
    pub fn keeping_tails(self) -> Self {
        self.extra.borrow_mut().keeps_tail = true;
        self
    }

    fn tail(&self, behind: Option<&Entry>) -> Vec<Entry> {
        let (Some(entry), Ok(last)) = (behind, self.log.last_index()) else { return Vec::new() };
        if !self.extra.borrow().keeps_tail || entry.index >= last {
            return Vec::new();
        }
        self.log.entries(entry.index + 1, last + 1, u64::MAX, Fetch::Scan).unwrap_or_default()
    }

    /// Entries in a lost range are not to be had.
    fn whole(&self, low: u64, high: u64) -> Result<(), StorageError> {
        match self.extra.borrow().damaged {
            Some(hole) if low <= hole.high && high >= hole.low => {
                Err(StorageError::other(std::io::Error::other("read of a lost range")))
            }
            _ => Ok(()),
        }
    }
}

impl Store for MemoryStore {
    fn write(&self, batch: &Batch<'_>) -> Result<(), StorageError> {
        if let Some(snapshot) = batch.snapshot {
            match self.log.apply_snapshot(snapshot.clone()) {
                // One that was asked for may be the one that is there.
                Err(StorageError::SnapshotOutOfDate)
                    if self.newest_snapshot().as_ref() == Some(snapshot) => {}
                outcome => outcome?,
            }
            self.extra.borrow_mut().damaged = None;
        }
        let tail = self.tail(batch.entries.last());
        self.log.append(batch.entries)?;
        self.log.append(&tail)?;
        if let Some(hard_state) = batch.hard_state {
            self.log.set_hard_state(hard_state);
        }
        if batch.sync {
            self.extra.borrow_mut().durable = self.log.initial_state()?.hard_state;
        }
        Ok(())
    }

    fn crash(&self, rng: &mut Rng) {
        let mut extra = self.extra.borrow_mut();
        extra.fetches.clear();
        if rng.bool() {
            self.log.set_hard_state(extra.durable);
        } else if let Ok(initial) = self.log.initial_state() {
            extra.durable = initial.hard_state;
        }
    }

    fn set_conf_state(&self, conf_state: ConfState) {
        self.log.set_conf_state(conf_state);
    }

    fn keep_snapshot(
        &self,
        index: u64,
        conf_state: ConfState,
        data: Bytes,
    ) -> Result<(), StorageError> {
        match self.log.create_snapshot(index, Some(conf_state), data) {
            Ok(_) | Err(StorageError::SnapshotOutOfDate) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn compact(&self, index: u64) -> Result<(), StorageError> {
        match self.log.compact(index) {
            Ok(()) | Err(StorageError::Compacted) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn newest_snapshot(&self) -> Option<Snapshot> {
        self.log.snapshot(1, 0).ok()
    }

    fn durable(&self) -> HardState {
        self.extra.borrow().durable
    }

    fn damaged(&self) -> Option<DamagedRange> {
        self.extra.borrow().damaged
    }

    fn damage(&self, range: Option<DamagedRange>) {
        self.extra.borrow_mut().damaged = range;
    }

    fn take_fetches(&self) -> Vec<u64> {
        std::mem::take(&mut self.extra.borrow_mut().fetches)
    }

    fn lose_from(&mut self, index: u64) {
        // There is no other way to make such a log shorter than to write it again.
        let log = MemoryStorage::new();
        let again = || -> Result<(), StorageError> {
            let first = self.log.first_index()?;
            let initial = self.log.initial_state()?;
            if first > 1 {
                let conf_state = Some(initial.conf_state.clone());
                let (index, term) = (first - 1, self.log.term(first - 1)?);
                let metadata = Some(SnapshotMetadata { conf_state, index, term });
                log.apply_snapshot(Snapshot { metadata, ..Snapshot::default() })?;
            }
            if first < index {
                log.append(&self.log.entries(first, index, u64::MAX, Fetch::Scan)?)?;
            }
            if let Some(newest) = self.newest_snapshot() {
                if newest.index() >= first {
                    log.create_snapshot(newest.index(), newest.conf_state().into(), newest.data)?;
                } else {
                    log.apply_snapshot(newest)?;
                }
            }
            log.set_hard_state(initial.hard_state);
            log.set_conf_state(initial.conf_state);
            Ok(())
        };
        if again().is_ok() {
            self.log = log;
        }
    }

    fn calm(&self) {
        self.extra.borrow_mut().fetch_one_in = 0;
    }
}

impl Storage for MemoryStore {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.log.initial_state()
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_bytes: u64,
        purpose: Fetch,
    ) -> Result<Vec<Entry>, StorageError> {
        self.whole(low, high.saturating_sub(1))?;
        if let Fetch::Append { to } = purpose {
            let extra = &mut *self.extra.borrow_mut();
            if extra.fetch_one_in > 0 && extra.rng.u32(..extra.fetch_one_in) == 0 {
                extra.fetches.push(to);
                return Err(StorageError::LogTemporarilyUnavailable);
            }
        }
        self.log.entries(low, high, max_bytes, purpose)
    }

    fn term(&self, index: u64) -> Result<u64, StorageError> {
        self.whole(index, index)?;
        self.log.term(index)
    }

    fn first_index(&self) -> Result<u64, StorageError> {
        self.log.first_index()
    }

    fn last_index(&self) -> Result<u64, StorageError> {
        self.log.last_index()
    }

    fn snapshot(&self, at_least: u64, to: u64) -> Result<Snapshot, StorageError> {
        // A snapshot of nothing is none.
        self.log.snapshot(at_least.max(1), to)
    }
}
