//! What a node hands out for others to do.

use crate::message::{Entry, HardState, Message, Snapshot};
use crate::raft::{ReadState, SoftState};

/// Work, in the order in which it is to be done.
///
/// With synchronous storage writes ([`crate::Config::async_storage_writes`] off):
///
/// 1. Write `snapshot`, `entries` and `hard_state`, as one atomic batch if the storage can, and
///    make them durable. Storage that is not atomic writes them in this order. Where only a
///    commit index changed ([`Ready::needs_sync`] is false) it need not be synced by itself; but it
///    is durable no later than the next entries or hard state that are, and than what the state
///    machine makes durable. (A log in which one change of the members follows another must be
///    found together with a commit index that covers the first; and a node does not start if it
///    has applied what is not committed.)
///    Entries replace whatever is at their indexes and behind.
/// 2. Send `messages`, in order. None may leave before 1 is done.
/// 3. Give `snapshot`, then `committed_entries`, to the state machine; for each configuration
///    change call [`crate::RawNode::apply_conf_change`] or decide against it.
/// 4. Answer the reads of `read_states` that the state machine has reached.
/// 5. Give the whole back: [`crate::RawNode::advance`].
///
/// With asynchronous ones everything to be written and applied is in `messages`, addressed to
/// [`crate::LOCAL_APPEND_THREAD`] and [`crate::LOCAL_APPLY_THREAD`]; the other fields only inform.
/// There is no `advance`. Messages to peers may be sent at once, those to a storage thread are done
/// in order, and when one is done its `responses` are delivered: to peers by the transport, to the
/// node itself by [`crate::RawNode::step_local`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ready {
    /// Set if leader or role changed. For information.
    pub soft_state: Option<SoftState>,
    /// Set if term, vote or commit index changed since they were last handed out.
    pub hard_state: Option<HardState>,
    /// Reads that may be served once their index is applied.
    pub read_states: Vec<ReadState>,
    /// To be written.
    pub entries: Vec<Entry>,
    /// To be written, before entries: it replaces the log.
    pub snapshot: Option<Snapshot>,
    /// To be applied. Each is handed out once in the life of a node.
    pub committed_entries: Vec<Entry>,
    /// To be sent, to peers and (asynchronous) to the storage threads.
    pub messages: Vec<Message>,
    /// Whether term, vote or entries are to be written: etcd's `MustSync`. A snapshot must be
    /// durable before messages leave, too, whatever this says: see [`Ready::needs_sync`].
    pub must_sync: bool,
    pub(crate) number: u64,
}

impl Ready {
    /// Whether what is to be written must be durable before messages leave.
    pub fn needs_sync(&self) -> bool {
        self.must_sync || self.snapshot.is_some()
    }
}
