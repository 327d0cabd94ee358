//! The node as its driver sees it.

mod work;

use bytes::Bytes;
use prost::Message as _;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::message::{
    ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType,
    HardState, Message, MessageType,
};
use crate::raft::{Raft, SoftState, conf_change_entry, decode_conf_change};
use crate::status::{BasicStatus, Status};
use crate::storage::{Fetch, Storage};
use crate::{LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD};
use work::Outstanding;

/// A member with which a cluster begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its id.
    pub id: u64,
    /// For the application, in the entry that adds it.
    pub context: Bytes,
}

/// How the sending of a snapshot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SnapshotStatus {
    /// It arrived.
    Finish,
    /// It did not; it may be sent again.
    Failure,
}

/// One member of a Raft group: feed it ticks, messages and proposals, do what its
/// [`crate::Ready`] says.
///
/// It does no I/O, has no clock and no thread. See the crate's documentation for the loop around
/// it.
pub struct RawNode<S> {
    raft: Raft<S>,
    last_soft_state: SoftState,
    last_hard_state: HardState,
    /// Synchronous storage writes: the `Ready` that was not given back yet.
    outstanding: Option<Outstanding>,
    /// Synchronous storage writes: votes for itself, which wait for [`RawNode::advance`].
    own_votes: Vec<Message>,
    readies: u64,
    /// Memory for the entries of the next `Ready`.
    spare_entries: Vec<Entry>,
    spare_committed: Vec<Entry>,
}

impl<S: Storage> RawNode<S> {
    /// A follower that goes on from what `storage` has, in the term it had. Reads hard state,
    /// configuration and the bounds of the log, and nothing else.
    ///
    /// # Errors
    /// [`Error::Config`] for knobs that do not go together; [`Error::StoredState`] and
    /// [`Error::ConfChange`] if what is stored cannot be: the node must not start then;
    /// [`Error::Storage`] if it could not be read.
    pub fn new(config: &Config, storage: S) -> Result<Self> {
        let (raft, stored) = Raft::new(config, storage)?;
        let last_soft_state = raft.soft_state();
        // What had to be made good is written with the first `Ready`; what is merely implied by the
        // log need not be.
        let made_good = stored.term != raft.term;
        let last_hard_state = if made_good { stored } else { raft.hard_state() };
        Ok(Self {
            raft,
            last_soft_state,
            last_hard_state,
            outstanding: None,
            own_votes: Vec::new(),
            readies: 0,
            spare_entries: Vec::new(),
            spare_committed: Vec::new(),
        })
    }

    /// Begins a new cluster: every node of `peers` is called once, on an empty storage, with the
    /// same peers. Entries that add them are committed at once, and handed out to be applied like
    /// any others.
    ///
    /// # Errors
    /// [`Error::Refused`] if the storage is not empty or no peer is given; [`Error::ConfChange`] if
    /// an id cannot be one.
    pub fn bootstrap(&mut self, peers: &[Peer]) -> Result<()> {
        if peers.is_empty() {
            return Err(Error::Refused("a cluster needs at least one peer"));
        }
        let members = &self.raft.tracker.config;
        let empty = self.raft.log.last_index() == 0 && self.raft.term == 0;
        if !empty || members.voters.is_joint() || self.raft.damaged.is_some() {
            return Err(Error::Refused("only a node with nothing in its storage is bootstrapped"));
        }
        let mut seen = Vec::with_capacity(peers.len());
        for peer in peers {
            if peer.id == 0 || peer.id >= LOCAL_APPLY_THREAD || seen.contains(&peer.id) {
                return Err(Error::Refused("a peer's id is 0, reserved, or given twice"));
            }
            seen.push(peer.id);
        }
        self.raft.become_follower(1, 0);
        let entries = peers.iter().zip(1..).map(|(peer, index)| {
            let add = ConfChange::new(ConfChangeType::AddNode, peer.id);
            let change = ConfChange { context: peer.context.clone(), ..add };
            let entry = conf_change_entry(EntryType::ConfChange, change.encode_to_vec().into());
            Entry { term: 1, index, ..entry }
        });
        self.raft.log.append(entries, Some(0));
        self.raft.log.commit_to(peers.len() as u64);
        // Known at once, so that the node can campaign before it has applied them.
        for peer in peers {
            let changes = vec![ConfChangeSingle::new(ConfChangeType::AddNode, peer.id)];
            self.raft.apply_conf_change(&ConfChangeV2 { changes, ..Default::default() })?;
        }
        // The first hard state handed out is to say all of this.
        self.last_hard_state = HardState::default();
        self.checked(Ok(()))
    }

    fn checked<T>(&self, result: Result<T>) -> Result<T> {
        if self.raft.config.check_invariants {
            self.raft.check_invariants()?;
        }
        result
    }

    fn step_own(&mut self, kind: MessageType, message: Message) -> Result<()> {
        let stepped = self.raft.step(&mut Message { msg_type: kind as i32, ..message });
        self.checked(stepped)
    }

    /// Lets one tick pass.
    ///
    /// # Errors
    /// [`Error::Storage`] if the log could not be read to campaign; it is tried again after another
    /// election timeout. [`Error::Exhausted`] if no term is left.
    pub fn tick(&mut self) -> Result<()> {
        let ticked = self.raft.tick();
        self.checked(ticked)
    }

    /// Campaigns without waiting for the timeout. Nothing happens on a leader, a learner, or while
    /// a configuration change or a snapshot is not applied.
    ///
    /// # Errors
    /// As [`RawNode::tick`].
    pub fn campaign(&mut self) -> Result<()> {
        self.step_own(MessageType::Hup, Message::default())
    }

    /// Proposes an entry. It may get lost on the way, or with the leader: that it was accepted says
    /// nothing, only that it is applied does.
    ///
    /// # Errors
    /// [`Error::ProposalDropped`] with the reason.
    pub fn propose(&mut self, data: impl Into<Bytes>) -> Result<()> {
        self.propose_entries(&mut [Entry { data: data.into(), ..Entry::default() }])
    }

    /// Proposes several entries, all or none.
    ///
    /// # Errors
    /// As [`RawNode::propose`].
    pub fn propose_batch(&mut self, data: impl IntoIterator<Item = Bytes>) -> Result<()> {
        let entries = data.into_iter().map(|data| Entry { data, ..Entry::default() });
        self.propose_entries(&mut entries.collect::<Vec<_>>())
    }

    fn propose_entries(&mut self, entries: &mut [Entry]) -> Result<()> {
        let proposed = self.raft.propose(entries);
        self.checked(proposed)
    }

    /// Proposes a configuration change. One that cannot be made now (another is not applied yet,
    /// joint or not) is accepted and takes its place in the log as an empty entry.
    ///
    /// # Errors
    /// As [`RawNode::propose`].
    pub fn propose_conf_change(&mut self, change: &ConfChangeV2) -> Result<()> {
        let data = change.encode_to_vec().into();
        self.propose_change(conf_change_entry(EntryType::ConfChangeV2, data))
    }

    /// Proposes a configuration change of the first kind.
    ///
    /// # Errors
    /// As [`RawNode::propose`].
    pub fn propose_conf_change_v1(&mut self, change: &ConfChange) -> Result<()> {
        let data = change.encode_to_vec().into();
        self.propose_change(conf_change_entry(EntryType::ConfChange, data))
    }

    fn propose_change(&mut self, entry: Entry) -> Result<()> {
        // A follower that forwards it would learn too late that nobody can read it.
        decode_conf_change(&entry)?;
        self.propose_entries(&mut [entry])
    }

    /// Switches to the configuration that the committed change at `index` leads to, and returns it:
    /// it must be stored with the applied index. To be called for every change that is applied, in
    /// order; the application that decides against one does not call it.
    ///
    /// `None` if a snapshot has come in meanwhile that covers the change: its configuration is in
    /// force already, and nothing is to be stored.
    ///
    /// # Errors
    /// [`Error::ConfChange`], and nothing changed: the change does not fit the configuration.
    pub fn apply_conf_change(
        &mut self,
        index: u64,
        change: &ConfChangeV2,
    ) -> Result<Option<ConfState>> {
        let applied = self.raft.apply_conf_change_at(index, change);
        self.checked(applied)
    }

    /// Takes a message of a peer.
    ///
    /// # Errors
    /// Those of a message that no sound peer sends: [`Error::LocalMessage`], [`Error::Malformed`],
    /// [`Error::UnknownMessage`], [`Error::PeerNotFound`], [`Error::CommittedConflict`],
    /// [`Error::CommitBeyondLog`], [`Error::Exhausted`], [`Error::ConfChange`]; of a forwarded
    /// request that is dropped: [`Error::ProposalDropped`], [`Error::ReadDropped`]; and
    /// [`Error::Storage`]. Nothing has changed then.
    pub fn step(&mut self, mut m: Message) -> Result<()> {
        let from = m.from;
        let Some(kind) = m.kind() else {
            return Err(Error::UnknownMessage { msg_type: m.msg_type, from });
        };
        if kind.is_local() || from == 0 || from >= LOCAL_APPLY_THREAD {
            return Err(Error::LocalMessage { kind, from });
        }
        let malformed = |what| Err(Error::Malformed { kind, from, what, index: m.index });
        if m.to != 0 && m.to != self.raft.id() {
            return malformed("it is addressed to another node");
        }
        // What a node forwards can come back to it: its origin may lead by now.
        let forwarded = matches!(
            kind,
            MessageType::Propose | MessageType::ReadIndex | MessageType::TransferLeader
        );
        if from == self.raft.id() && !forwarded {
            return malformed("it says that it is of this node itself");
        }
        let without_term = match kind {
            MessageType::Propose | MessageType::ReadIndex => true,
            // A node that never heard of a term refuses in its own.
            MessageType::PreVoteResponse => m.reject,
            _ => false,
        };
        if m.term == 0 && !without_term {
            return malformed("it has no term");
        }
        if m.term != 0 && matches!(kind, MessageType::Propose | MessageType::ReadIndex) {
            return malformed("a forwarded request is of no term");
        }
        if kind.is_response() && !self.raft.tracker.progress.contains(from) {
            return Err(Error::PeerNotFound { kind, from });
        }
        let stepped = self.raft.step(&mut m);
        self.checked(stepped)
    }

    /// Takes what the node's own storage threads answer, and what the node says to itself: a
    /// response found in a message to a storage thread and addressed to this node.
    ///
    /// # Errors
    /// [`Error::LocalMessage`] for any other message; [`Error::Malformed`] for an answer to what
    /// this node, in this life, never handed out.
    pub fn step_local(&mut self, mut m: Message) -> Result<()> {
        let from = m.from;
        let Some(kind) = m.kind() else {
            return Err(Error::UnknownMessage { msg_type: m.msg_type, from });
        };
        let of_storage = match kind {
            MessageType::StorageAppendResponse => from == LOCAL_APPEND_THREAD,
            MessageType::StorageApplyResponse => from == LOCAL_APPLY_THREAD,
            _ => false,
        };
        // Only promises are made to oneself.
        let promise = matches!(
            kind,
            MessageType::AppendResponse | MessageType::VoteResponse | MessageType::PreVoteResponse
        );
        // And it is kept.
        let kept = kind != MessageType::AppendResponse || !m.reject;
        let own = from == self.raft.id() && promise && kept;
        if !of_storage && !own {
            return Err(Error::LocalMessage { kind, from });
        }
        if own && !self.raft.tracker.progress.contains(from) {
            // It was removed meanwhile: its own word counts for nothing any more.
            return Ok(());
        }
        let stepped = self.raft.step(&mut m);
        self.checked(stepped)
    }

    /// Asks for a read index. The answer comes as a [`crate::ReadState`] with the same context, or
    /// not at all: ask again after a while, with another context.
    ///
    /// # Errors
    /// [`Error::ReadDropped`] with the reason.
    pub fn read_index(&mut self, context: impl Into<Bytes>) -> Result<()> {
        let (from, data) = (self.raft.id(), context.into());
        let entries = vec![Entry { data, ..Entry::default() }];
        self.step_own(MessageType::ReadIndex, Message { from, entries, ..Message::default() })
    }

    /// Asks that `to` lead. The leader tries for one election timeout, in which it drops proposals.
    ///
    /// # Errors
    /// [`Error::Refused`] for what is no node's id.
    pub fn transfer_leader(&mut self, to: u64) -> Result<()> {
        if to == 0 || to >= LOCAL_APPLY_THREAD {
            return Err(Error::Refused("leadership is transferred to a node"));
        }
        self.step_own(MessageType::TransferLeader, Message { from: to, ..Message::default() })
    }

    /// Makes a follower forget its leader, so that it would vote for another in the same term
    /// without waiting. Not with lease-based reads, which rely on its word.
    ///
    /// # Errors
    /// Only [`Error::Invariant`].
    pub fn forget_leader(&mut self) -> Result<()> {
        self.step_own(MessageType::ForgetLeader, Message::default())
    }

    /// Says that a message to `id` could not be delivered.
    ///
    /// # Errors
    /// Only [`Error::Invariant`].
    pub fn report_unreachable(&mut self, id: u64) -> Result<()> {
        self.step_own(MessageType::Unreachable, Message { from: id, ..Message::default() })
    }

    /// Says how the sending of a snapshot to `id` ended. Must be called: without it the leader
    /// sends nothing to `id` but heartbeats, until it answers an append.
    ///
    /// # Errors
    /// Only [`Error::Invariant`].
    pub fn report_snapshot(&mut self, id: u64, status: SnapshotStatus) -> Result<()> {
        let reject = status == SnapshotStatus::Failure;
        self.step_own(
            MessageType::SnapshotStatus,
            Message { from: id, reject, ..Message::default() },
        )
    }

    /// Asks the leader for a snapshot of at least `index` though the log reaches further: the state
    /// machine has lost something. It takes the place of the whole log, so one below the last index
    /// will not do. Until it comes no append is acknowledged: ask on one node at a time, since a
    /// quorum that waits commits nothing, and no snapshot then reaches its last index.
    ///
    /// # Errors
    /// [`Error::Refused`] on a leader, and for an index beyond the log.
    pub fn request_snapshot(&mut self, index: u64) -> Result<()> {
        if self.raft.is_leader() {
            return Err(Error::Refused("a leader has nobody to ask for a snapshot"));
        }
        if index > self.raft.log.last_index() {
            return Err(Error::Refused("a snapshot beyond the log comes without being asked for"));
        }
        self.raft.request_snapshot(index);
        self.checked(Ok(()))
    }

    /// The range of [`Config::damaged`] is in the storage again, durable, entry for entry: the node
    /// takes part as before.
    ///
    /// # Errors
    /// [`Error::Storage`] if it is not, and the node stays damaged.
    pub fn mark_whole(&mut self) -> Result<()> {
        let whole = self.raft.mark_whole();
        self.checked(whole)
    }

    /// Whether the node knows of a hole in its log, see [`Config::damaged`].
    pub fn is_damaged(&self) -> bool {
        self.raft.damaged.is_some()
    }

    /// Takes up what stopped because the storage said
    /// [`crate::StorageError::LogTemporarilyUnavailable`]: sending, or application. A tick takes up
    /// application, too, and another election timeout a campaign.
    ///
    /// # Errors
    /// Only [`Error::Invariant`].
    pub fn on_entries_fetched(&mut self, purpose: Fetch) -> Result<()> {
        match purpose {
            Fetch::Append { to } if self.raft.is_leader() && to != self.raft.id() => {
                self.raft.send_appends(to);
            }
            Fetch::Apply => self.raft.log.set_apply_away(false),
            Fetch::Append { .. } | Fetch::Scan => {}
        }
        self.checked(Ok(()))
    }

    /// Sets the priority, see [`Config::priority`].
    pub fn set_priority(&mut self, priority: i64) {
        self.raft.config.priority = priority;
    }

    /// Sets the election timeout until it is drawn again: for tests that decide who campaigns.
    pub fn set_randomized_election_timeout(&mut self, ticks: u32) {
        self.raft.randomized_timeout = ticks;
    }

    /// What is known of the node, and if it leads, of everybody.
    pub fn status(&self) -> Status {
        Status::of(&self.raft)
    }

    /// The part of [`RawNode::status`] that costs no allocation.
    pub fn basic_status(&self) -> BasicStatus {
        BasicStatus::of(&self.raft)
    }

    /// The storage.
    pub fn storage(&self) -> &S {
        self.raft.log.storage()
    }

    /// Whether the node is in a possible state, as [`Config::check_invariants`] asks after every
    /// call.
    ///
    /// # Errors
    /// [`Error::Invariant`] or [`Error::ConfChange`] with the rule that is broken.
    pub fn check_invariants(&self) -> Result<()> {
        self.raft.check_invariants()
    }
}
