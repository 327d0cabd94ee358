//! The node as its driver sees it.

use bytes::Bytes;
use prost::Message as _;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::log::payload_size;
use crate::message::{
    ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType,
    HardState, Message, MessageType, Snapshot,
};
use crate::raft::{Raft, SoftState, conf_change_entry, decode_conf_change};
use crate::ready::Ready;
use crate::status::{BasicStatus, Status};
use crate::storage::{Fetch, Storage};
use crate::{LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD};

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

/// Vectors of up to this many elements are kept from one `Ready` to the next.
const KEPT_CAPACITY: usize = 1024;

/// What an [`RawNode::advance`] says is done.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    number: u64,
    /// The leader's term, and how many of its own appends were written in it.
    own_appends: (u64, usize),
    /// Of the log and the term when it was handed out.
    written: Option<Written>,
    /// Last index, encoded and payload bytes of what was to be applied.
    applied: Option<(u64, u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    term: u64,
    /// Last index and term; 0 for no entries.
    last: (u64, u64),
    /// The index of the snapshot.
    snapshot: Option<u64>,
}

/// One member of a Raft group: feed it ticks, messages and proposals, do what its [`Ready`] says.
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
    spare: Vec<Entry>,
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
            spare: Vec::new(),
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
        if self.raft.log.last_index() != 0 || self.raft.term != 0 || members.voters.is_joint() {
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

    /// Switches to the configuration that a committed change leads to, and returns it: it must be
    /// stored with the applied index. To be called for every change that is applied, in order; the
    /// application that decides against one does not call it. While a snapshot has come in that is
    /// not stored yet, its configuration is in force already and a change before it does nothing.
    ///
    /// # Errors
    /// [`Error::ConfChange`], and nothing changed: the change does not fit the configuration.
    pub fn apply_conf_change(&mut self, change: &ConfChangeV2) -> Result<ConfState> {
        let applied = self.raft.apply_conf_change(change);
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
            // Of an application that sends one by itself.
            MessageType::Snapshot => self.raft.term == 0,
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
        let own = from == self.raft.id() && kind.is_response() && !kind.is_local();
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

    /// Whether [`RawNode::ready`] has something to say.
    pub fn has_ready(&self) -> bool {
        let raft = &self.raft;
        let hard_state = raft.hard_state();
        raft.soft_state() != self.last_soft_state
            || (hard_state != HardState::default() && hard_state != self.last_hard_state)
            || raft.log.unstable.next_snapshot().is_some()
            || !raft.msgs.is_empty()
            || !raft.msgs_after_append.is_empty()
            || raft.log.unstable.has_next_entries()
            || raft.log.has_next_committed(self.applies_unstable())
            || !raft.read_states.is_empty()
            || raft.read_error.is_some()
    }

    /// Whether entries may be applied before they are known to be durable here: in one `Ready` they
    /// are written first.
    fn applies_unstable(&self) -> bool {
        !self.raft.config.async_storage_writes
    }

    /// Everything that is to be done now, see [`Ready`]. May be empty.
    ///
    /// # Errors
    /// [`Error::ReadyOutstanding`] if the last was not given back; [`Error::Storage`] if committed
    /// entries, or since the last call entries to be sent, could not be read: nothing is handed out
    /// then, and the next call tries again.
    pub fn ready(&mut self) -> Result<Ready> {
        if self.outstanding.is_some() {
            return Err(Error::ReadyOutstanding);
        }
        if let Some(e) = self.raft.read_error.take() {
            return Err(Error::Storage(e));
        }
        let committed_entries = match self.raft.log.next_committed(self.applies_unstable()) {
            // They come when they are there; everything else need not wait.
            Err(e) if e.is_temporary() => {
                self.raft.log.set_apply_away(true);
                Vec::new()
            }
            read => read?,
        };
        let unstable = self.applies_unstable();
        let applying_bytes = self.raft.log.accept_applying(&committed_entries, unstable);
        let mut ready = self.collect(committed_entries);
        if self.raft.config.async_storage_writes {
            self.address_storage(&mut ready);
        } else {
            self.hold_back(&mut ready, applying_bytes);
        }
        self.raft.log.unstable.accept();
        self.checked(Ok(()))?;
        Ok(ready)
    }

    fn collect(&mut self, committed_entries: Vec<Entry>) -> Ready {
        let raft = &mut self.raft;
        let (soft_state, hard_state) = (raft.soft_state(), raft.hard_state());
        let mut entries = std::mem::take(&mut self.spare);
        entries.extend(raft.log.unstable.next_entries().cloned());
        let must_sync = !entries.is_empty()
            || hard_state.term != self.last_hard_state.term
            || hard_state.vote != self.last_hard_state.vote;
        let changed = hard_state != HardState::default() && hard_state != self.last_hard_state;
        self.readies += 1;
        let ready = Ready {
            soft_state: (soft_state != self.last_soft_state).then_some(soft_state),
            hard_state: changed.then_some(hard_state),
            read_states: std::mem::take(&mut raft.read_states),
            entries,
            snapshot: raft.log.unstable.next_snapshot().cloned(),
            committed_entries,
            messages: std::mem::take(&mut raft.msgs),
            must_sync,
            number: self.readies,
        };
        self.last_soft_state = soft_state;
        if changed {
            self.last_hard_state = hard_state;
        }
        ready
    }

    /// What must hold of the log when the writes of a `Ready` are acknowledged; `None` if nothing
    /// depends on them.
    fn written(&self, ready: &Ready) -> Option<Written> {
        let log = &self.raft.log;
        let entries = log.unstable.has_entries();
        if !entries && ready.snapshot.is_none() {
            return None;
        }
        // Also of a write without entries: an acknowledgement that is overtaken by a change of term
        // does not count, and then no other would come.
        let last = if entries { (log.last_index(), log.last_term()) } else { (0, 0) };
        let snapshot = ready.snapshot.as_ref().map(Snapshot::index);
        Some(Written { term: self.raft.term, last, snapshot })
    }

    /// Asynchronous writes: work for the storage threads, with what is to be said when it is done.
    fn address_storage(&mut self, ready: &mut Ready) {
        let written = self.written(ready);
        let (me, after) = (self.raft.id(), std::mem::take(&mut self.raft.msgs_after_append));
        if !ready.entries.is_empty()
            || ready.hard_state.is_some()
            || ready.snapshot.is_some()
            || !after.is_empty()
        {
            let mut append = local(MessageType::StorageAppend, me, LOCAL_APPEND_THREAD);
            append.entries.clone_from(&ready.entries);
            append.snapshot = ready.snapshot.clone().map(Box::new);
            if let Some(hard_state) = ready.hard_state {
                (append.term, append.vote) = (hard_state.term, hard_state.vote);
                append.commit = hard_state.commit;
            }
            append.responses = after;
            append.responses.extend(written.map(|w| {
                let answer = local(MessageType::StorageAppendResponse, LOCAL_APPEND_THREAD, me);
                let (index, log_term) = w.last;
                let snapshot = ready.snapshot.clone().map(Box::new);
                Message { term: w.term, index, log_term, snapshot, ..answer }
            }));
            ready.messages.push(append);
        }
        if !ready.committed_entries.is_empty() {
            let mut apply = local(MessageType::StorageApply, me, LOCAL_APPLY_THREAD);
            apply.entries.clone_from(&ready.committed_entries);
            let mut answer = local(MessageType::StorageApplyResponse, LOCAL_APPLY_THREAD, me);
            answer.entries.clone_from(&ready.committed_entries);
            apply.responses.push(answer);
            ready.messages.push(apply);
        }
    }

    /// Synchronous writes: promises to peers go out with this `Ready`, whose driver writes first;
    /// those to itself wait for [`RawNode::advance`].
    fn hold_back(&mut self, ready: &mut Ready, applying_bytes: u64) {
        let written = self.written(ready);
        let (me, after) = (self.raft.id(), &mut self.raft.msgs_after_append);
        if ready.messages.is_empty() && after.iter().all(|m| m.to != me) {
            std::mem::swap(&mut ready.messages, after);
        } else {
            for message in after.drain(..) {
                let own = message.to == me;
                if own { &mut self.own_votes } else { &mut ready.messages }.push(message);
            }
        }
        let committed = &ready.committed_entries;
        let applied =
            committed.last().map(|last| (last.index, applying_bytes, payload_size(committed)));
        let own_appends = (self.raft.term, self.raft.own_appends.len());
        let number = ready.number;
        self.outstanding = Some(Outstanding { number, own_appends, written, applied });
    }

    /// Says that everything in `ready` is done: written, sent and applied. Only with synchronous
    /// storage writes.
    ///
    /// # Errors
    /// [`Error::NoReadyOutstanding`] if this is not the last `Ready`, or storage writes are
    /// asynchronous.
    pub fn advance(&mut self, ready: Ready) -> Result<()> {
        let Some(done) = self.outstanding.take_if(|o| o.number == ready.number) else {
            return Err(Error::NoReadyOutstanding);
        };
        self.reuse(ready);
        let mut outcome = Ok(());
        // Promises first: while the entries are still at hand, their terms are.
        for mut vote in std::mem::take(&mut self.own_votes) {
            let stepped = self.raft.step(&mut vote);
            outcome = outcome.and(stepped);
        }
        let (term, count) = done.own_appends;
        self.raft.own_appends_written(term, count);
        if let Some(written) = done.written {
            self.raft.written(written.term, written.last, written.snapshot);
        }
        if let Some((index, encoded, payload)) = done.applied {
            self.raft.applied(index, encoded, payload);
        }
        self.checked(outcome)
    }

    /// Keeps vectors for the next time.
    fn reuse(&mut self, ready: Ready) {
        let Ready { mut entries, mut committed_entries, mut messages, .. } = ready;
        if self.raft.msgs.capacity() == 0 && messages.capacity() <= KEPT_CAPACITY {
            messages.clear();
            self.raft.msgs = messages;
        }
        entries.clear();
        committed_entries.clear();
        let larger = if entries.capacity() < committed_entries.capacity() {
            committed_entries
        } else {
            entries
        };
        if larger.capacity() <= KEPT_CAPACITY {
            self.spare = larger;
        }
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

fn local(kind: MessageType, from: u64, to: u64) -> Message {
    Message { msg_type: kind as i32, from, to, ..Message::default() }
}
