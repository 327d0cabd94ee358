//! A storage that answers as a test says.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use raft_core::{Entry, Fetch, InitialState, MemoryStorage, Snapshot, Storage, StorageError};

type Entries = Box<dyn Fn(u64, u64, Fetch) -> Option<Result<Vec<Entry>, StorageError>>>;

/// Answers as the log in memory does, where it is not told otherwise.
#[derive(Clone, Default)]
pub(super) struct Odd(Rc<Inner>);

#[derive(Default)]
pub(super) struct Inner {
    pub(super) memory: MemoryStorage,
    pub(super) first: Cell<Option<u64>>,
    pub(super) last: Cell<Option<u64>>,
    pub(super) term: RefCell<Option<Result<u64, StorageError>>>,
    pub(super) entries: RefCell<Option<Entries>>,
    pub(super) snapshot: RefCell<Option<Result<Snapshot, StorageError>>>,
    pub(super) initial: RefCell<Option<StorageError>>,
    /// What was asked, in order.
    pub(super) calls: RefCell<Vec<&'static str>>,
}

impl Odd {
    pub(super) fn new(memory: MemoryStorage) -> Self {
        Self(Rc::new(Inner { memory, ..Inner::default() }))
    }

    /// From now on entries are read so; `None` as from memory.
    pub(super) fn read_by(
        &self,
        read: impl Fn(u64, u64, Fetch) -> Option<Result<Vec<Entry>, StorageError>> + 'static,
    ) {
        *self.0.entries.borrow_mut() = Some(Box::new(read));
    }

    /// From now on everything is as in memory.
    pub(super) fn mend(&self) {
        self.0.first.set(None);
        self.0.last.set(None);
        *self.0.term.borrow_mut() = None;
        *self.0.entries.borrow_mut() = None;
        *self.0.snapshot.borrow_mut() = None;
        *self.0.initial.borrow_mut() = None;
    }
}

impl std::ops::Deref for Odd {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// An error as of a disk.
pub(super) fn broken() -> StorageError {
    StorageError::other(std::io::Error::other("the disk is on fire"))
}

impl Storage for Odd {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.calls.borrow_mut().push("initial_state");
        self.initial.borrow().clone().map_or_else(|| self.memory.initial_state(), Err)
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_bytes: u64,
        purpose: Fetch,
    ) -> Result<Vec<Entry>, StorageError> {
        self.calls.borrow_mut().push("entries");
        let told = self.entries.borrow().as_ref().and_then(|read| read(low, high, purpose));
        told.unwrap_or_else(|| self.memory.entries(low, high, max_bytes, purpose))
    }

    fn term(&self, index: u64) -> Result<u64, StorageError> {
        self.calls.borrow_mut().push("term");
        self.term.borrow().clone().unwrap_or_else(|| self.memory.term(index))
    }

    fn first_index(&self) -> Result<u64, StorageError> {
        self.calls.borrow_mut().push("first_index");
        self.first.get().map_or_else(|| self.memory.first_index(), Ok)
    }

    fn last_index(&self) -> Result<u64, StorageError> {
        self.calls.borrow_mut().push("last_index");
        self.last.get().map_or_else(|| self.memory.last_index(), Ok)
    }

    fn snapshot(&self, at_least: u64, to: u64) -> Result<Snapshot, StorageError> {
        self.calls.borrow_mut().push("snapshot");
        let told = self.snapshot.borrow().clone();
        told.unwrap_or_else(|| self.memory.snapshot(at_least, to))
    }
}
