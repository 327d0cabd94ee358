//! What can go wrong. Nothing here is a panic, and after an error the node's state is what it was
//! before the call; but that a tick has passed, that a configuration change was proposed though
//! there was no room for it, and that [`crate::RawNode::ready`] tells of an unreadable entry once.

use crate::confchange::ConfChangeError;
use crate::message::MessageType;
use crate::storage::StorageError;

/// The result of most calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call did nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A knob has a value that cannot be.
    #[error("configuration: {0}")]
    Config(&'static str),
    /// What the storage gave to start from contradicts itself. The node must not start: something
    /// that it may have acknowledged is gone, or the caller says that it applied what it cannot
    /// have.
    #[error("stored state: {what}: {value} where [{low}, {high}] is possible")]
    StoredState {
        /// Which part.
        what: &'static str,
        /// What it is.
        value: u64,
        /// The least that it can be.
        low: u64,
        /// The most that it can be.
        high: u64,
    },
    /// The storage could not be read. The call may be repeated.
    #[error("storage: {0}")]
    Storage(#[from] StorageError),
    /// Such a message never comes from a peer.
    #[error("{kind:?} is local: refused from node {from}")]
    LocalMessage {
        /// Its type.
        kind: MessageType,
        /// Who sent it.
        from: u64,
    },
    /// A response from a node that the configuration does not have.
    #[error("{kind:?} from node {from}, which is no member")]
    PeerNotFound {
        /// Its type.
        kind: MessageType,
        /// Who sent it.
        from: u64,
    },
    /// A message type that is not known.
    #[error("message type {msg_type} from node {from} is unknown")]
    UnknownMessage {
        /// Its number.
        msg_type: i32,
        /// Who sent it.
        from: u64,
    },
    /// A message that no sound node sends.
    #[error("{kind:?} from node {from}: {what} (index {index})")]
    Malformed {
        /// Its type.
        kind: MessageType,
        /// Who sent it.
        from: u64,
        /// What is wrong with it.
        what: &'static str,
        /// The index concerned.
        index: u64,
    },
    /// The leader has another entry where this node has committed one: two leaders of a term, or a
    /// disk that forgot. Stop the node and look.
    #[error("node {from} has another entry {index}, but everything up to {committed} is committed")]
    CommittedConflict {
        /// Who sent it.
        from: u64,
        /// The entry that differs.
        index: u64,
        /// The commit index here.
        committed: u64,
    },
    /// The leader says that entries are committed which this node acknowledged and does not have:
    /// its disk forgot them.
    #[error("node {from} has committed {commit}, but the log ends at {last}: entries were lost")]
    CommitBeyondLog {
        /// Who sent it.
        from: u64,
        /// Its commit index.
        commit: u64,
        /// The last index here.
        last: u64,
    },
    /// A proposal went nowhere.
    #[error("proposal dropped: {0}")]
    ProposalDropped(#[from] DropReason),
    /// A request for a read index went nowhere.
    #[error("read dropped: {0}")]
    ReadDropped(ReadDropReason),
    /// A configuration change cannot be applied.
    #[error("configuration change: {0}")]
    ConfChange(#[from] ConfChangeError),
    /// The last [`crate::Ready`] was not given back.
    #[error("a Ready is outstanding: call advance first")]
    ReadyOutstanding,
    /// There is no such [`crate::Ready`] to advance past.
    #[error("no Ready is outstanding: it was advanced already, or storage writes are asynchronous")]
    NoReadyOutstanding,
    /// The call is not for a node in this state.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// No term or index is left above this one: a peer, or the storage, gave a number near 2^64.
    #[error("{what} {value} has no successor")]
    Exhausted {
        /// Term, or index.
        what: &'static str,
        /// How far it got.
        value: u64,
    },
    /// [`crate::Config::check_invariants`] found the node in a state that must not be. A bug.
    #[error("invariant broken: {0}")]
    Invariant(&'static str),
}

/// Why a proposal was dropped. It may be repeated, elsewhere or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DropReason {
    /// There is no leader.
    #[error("there is no leader")]
    NoLeader,
    /// The node is not the leader and does not forward.
    #[error("this node is not the leader and forwards nothing")]
    NotForwarded,
    /// The leader is handing over.
    #[error("leadership is being transferred")]
    Transferring,
    /// The leader is no member any more.
    #[error("the leader has been removed from the configuration")]
    NotMember,
    /// Too much is not committed yet, see [`crate::Config::max_uncommitted_size`].
    #[error("too many bytes are uncommitted")]
    TooMuchUncommitted,
    /// There is nothing in it.
    #[error("there is no entry in it")]
    Empty,
    /// A configuration change that cannot be decoded, or has a type or transition unknown.
    #[error("the configuration change is malformed")]
    MalformedConfChange,
    /// Indexes are used up.
    #[error("no index is left")]
    LogFull,
}

/// Why a request for a read index was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ReadDropReason {
    /// There is no leader.
    #[error("there is no leader")]
    NoLeader,
    /// Too many wait for the leader's first commit, see [`crate::Config::max_postponed_reads`].
    #[error("too many reads wait for the first commit of the term")]
    TooManyPostponed,
    /// Too many wait for a quorum's word, see [`crate::Config::max_postponed_reads`].
    #[error("too many reads wait for a quorum")]
    TooManyUnconfirmed,
}
