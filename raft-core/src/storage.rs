//! What the state machine asks of the log's owner, and nothing else: etcd's `Storage` contract.

use std::error::Error as StdError;
use std::sync::Arc;

use crate::message::{ConfState, Entry, HardState, Snapshot};

/// What a node remembers of itself when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitialState {
    /// The hard state last written; the default for a node that never wrote one.
    pub hard_state: HardState,
    /// The configuration as of [`crate::Config::applied`]: not the newest in the log, and that of
    /// the snapshot only if nothing was applied after it.
    pub conf_state: ConfState,
}

/// Why entries are read. A storage that reads them in the background keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fetch {
    /// To be sent to a follower; [`crate::RawNode::on_entries_fetched`] takes the sending up again.
    Append {
        /// The follower.
        to: u64,
    },
    /// To be applied.
    Apply,
    /// To find configuration changes that are committed and not applied.
    Scan,
}

/// The log as the storage has it, its snapshot, and what must survive a crash.
///
/// The storage holds a contiguous log of entries `[first_index, last_index]` behind a snapshot, of
/// which it knows at least index and term: those of `first_index - 1`. An empty log has
/// `last_index = first_index - 1`. Who owns the storage writes to it what a
/// [`crate::Ready`] (or a message to the append thread) says, in that order, and compacts it up to
/// an index that was applied, never beyond; the state machine only reads. Methods are called
/// between two calls of the node, so answers may change then and only then.
///
/// An answer that breaks the contract is met with [`StorageError::Contract`], not with a panic.
pub trait Storage {
    /// What the node starts from. Called once.
    ///
    /// # Errors
    /// Whatever keeps it from being read; the node then does not start.
    fn initial_state(&self) -> Result<InitialState, StorageError>;

    /// Entries `[low, high)` in order, at least one, and no more after their encoded sizes exceed
    /// `max_bytes`. The caller keeps `low < high <= last_index + 1`.
    ///
    /// # Errors
    /// [`StorageError::Compacted`] if `low < first_index`; [`StorageError::Unavailable`] if
    /// `high > last_index + 1`; [`StorageError::LogTemporarilyUnavailable`] if they are being read
    /// in the background.
    fn entries(
        &self,
        low: u64,
        high: u64,
        max_bytes: u64,
        purpose: Fetch,
    ) -> Result<Vec<Entry>, StorageError>;

    /// The term of the entry at `index`, within `[first_index - 1, last_index]`.
    ///
    /// # Errors
    /// [`StorageError::Compacted`] below, [`StorageError::Unavailable`] above.
    fn term(&self, index: u64) -> Result<u64, StorageError>;

    /// The first index that [`Storage::entries`] has. Called often: keep it at hand.
    ///
    /// # Errors
    /// Whatever keeps it from being known.
    fn first_index(&self) -> Result<u64, StorageError>;

    /// The last index of the log. Called when the node starts.
    ///
    /// # Errors
    /// Whatever keeps it from being known.
    fn last_index(&self) -> Result<u64, StorageError>;

    /// The newest snapshot, to be sent to `to`, of at least the index `at_least`.
    ///
    /// # Errors
    /// [`StorageError::SnapshotTemporarilyUnavailable`] while there is none such; it is asked for
    /// again later.
    fn snapshot(&self, at_least: u64, to: u64) -> Result<Snapshot, StorageError>;
}

/// Why a storage does not answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The entries are gone; a snapshot has taken their place.
    #[error("requested index is unavailable due to compaction")]
    Compacted,
    /// There is no such entry (yet).
    #[error("requested entry at index is unavailable")]
    Unavailable,
    /// A snapshot is older than the one that is there.
    #[error("requested index is older than the existing snapshot")]
    SnapshotOutOfDate,
    /// A snapshot is being made.
    #[error("snapshot is temporarily unavailable")]
    SnapshotTemporarilyUnavailable,
    /// Entries are being read in the background.
    #[error("log is temporarily unavailable")]
    LogTemporarilyUnavailable,
    /// The storage gave an answer that its contract excludes.
    #[error("the storage breaks its contract at index {index}: {what}")]
    Contract {
        /// What is wrong.
        what: &'static str,
        /// Where.
        index: u64,
    },
    /// Anything else: an I/O error, damage.
    #[error(transparent)]
    Other(Arc<dyn StdError + Send + Sync>),
}

impl StorageError {
    /// Wraps the storage's own error.
    pub fn other(error: impl StdError + Send + Sync + 'static) -> Self {
        Self::Other(Arc::new(error))
    }

    /// Whether the same question may be answered later, without anybody mending anything.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::SnapshotTemporarilyUnavailable | Self::LogTemporarilyUnavailable)
    }
}

impl<S: Storage + ?Sized> Storage for &S {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        (**self).initial_state()
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_bytes: u64,
        purpose: Fetch,
    ) -> Result<Vec<Entry>, StorageError> {
        (**self).entries(low, high, max_bytes, purpose)
    }

    fn term(&self, index: u64) -> Result<u64, StorageError> {
        (**self).term(index)
    }

    fn first_index(&self) -> Result<u64, StorageError> {
        (**self).first_index()
    }

    fn last_index(&self) -> Result<u64, StorageError> {
        (**self).last_index()
    }

    fn snapshot(&self, at_least: u64, to: u64) -> Result<Snapshot, StorageError> {
        (**self).snapshot(at_least, to)
    }
}
