//! Nodes driven by hand: a test says which messages arrive, and when.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use prost::Message as _;
use raft_core::{
    ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Config, Entry,
    EntryType, HardState, LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, MemoryStorage, Message,
    MessageType, RawNode, ReadState, Ready, Role, Snapshot, SnapshotMetadata, Storage,
};

/// The knobs that most tests begin with: no pre-vote, no check of the quorum, every step checked.
pub(crate) fn config(id: u64) -> Config {
    Config { pre_vote: false, check_quorum: false, check_invariants: true, ..Config::new(id) }
}

pub(crate) fn voters(ids: &[u64]) -> ConfState {
    ConfState { voters: ids.to_vec(), ..ConfState::default() }
}

pub(crate) fn entry(term: u64, index: u64, data: &'static str) -> Entry {
    Entry { term, index, data: Bytes::from_static(data.as_bytes()), ..Entry::default() }
}

/// Entries of these terms, the first of them at `first`.
pub(crate) fn entries(first: u64, terms: &[u64]) -> Vec<Entry> {
    let at = |nth: usize| first.wrapping_add(nth as u64);
    terms.iter().enumerate().map(|(nth, term)| entry(*term, at(nth), "x")).collect()
}

/// A storage with entries of these terms from index 1 on; hard state in the last of them.
pub(crate) fn stored(members: ConfState, terms: &[u64]) -> MemoryStorage {
    let storage = MemoryStorage::with_conf_state(members);
    storage.append(&entries(1, terms)).expect("entries from 1 on");
    if let Some(term) = terms.last() {
        storage.set_hard_state(HardState { term: *term, vote: 0, commit: 0 });
    }
    storage
}

/// A storage that begins with a snapshot and has nothing behind it.
pub(crate) fn snapshotted(members: ConfState, index: u64, term: u64) -> MemoryStorage {
    let storage = MemoryStorage::new();
    storage.apply_snapshot(snapshot(index, term, members)).expect("a first snapshot");
    storage.set_hard_state(HardState { term, vote: 0, commit: index });
    storage
}

pub(crate) fn snapshot(index: u64, term: u64, members: ConfState) -> Snapshot {
    let metadata = Some(SnapshotMetadata { conf_state: Some(members), index, term });
    Snapshot { data: Bytes::from_static(b"state"), metadata }
}

pub(crate) fn change(kind: ConfChangeType, node_id: u64) -> ConfChangeSingle {
    let mut single = ConfChangeSingle { node_id, ..ConfChangeSingle::default() };
    single.set_change_type(kind);
    single
}

/// A change of several nodes, with the transition that the number of them asks for.
pub(crate) fn changes(changes: &[ConfChangeSingle]) -> ConfChangeV2 {
    ConfChangeV2 { changes: changes.to_vec(), ..ConfChangeV2::default() }
}

// Messages to be stepped, by who sent them and their term.

pub(crate) fn message(kind: MessageType, from: u64, term: u64) -> Message {
    Message { msg_type: kind as i32, to: 1, from, term, ..Message::default() }
}

pub(crate) fn append(
    from: u64,
    term: u64,
    (index, log_term): (u64, u64),
    entries: Vec<Entry>,
    commit: u64,
) -> Message {
    Message { index, log_term, entries, commit, ..message(MessageType::Append, from, term) }
}

pub(crate) fn ack(from: u64, term: u64, index: u64) -> Message {
    Message { index, ..message(MessageType::AppendResponse, from, term) }
}

/// The rejection of an append behind `index`.
pub(crate) fn reject(from: u64, term: u64, index: u64, hint: (u64, u64)) -> Message {
    let (reject_hint, log_term) = hint;
    Message { reject: true, reject_hint, log_term, ..ack(from, term, index) }
}

/// A request for a vote by a candidate whose last entry is `last`.
pub(crate) fn vote(from: u64, term: u64, last: (u64, u64)) -> Message {
    Message { index: last.0, log_term: last.1, ..message(MessageType::Vote, from, term) }
}

pub(crate) fn pre_vote(from: u64, term: u64, last: (u64, u64)) -> Message {
    Message { msg_type: MessageType::PreVote as i32, ..vote(from, term, last) }
}

pub(crate) fn granted(kind: MessageType, from: u64, term: u64) -> Message {
    message(kind, from, term)
}

pub(crate) fn refused(kind: MessageType, from: u64, term: u64) -> Message {
    Message { reject: true, ..message(kind, from, term) }
}

pub(crate) fn heartbeat(from: u64, term: u64, commit: u64) -> Message {
    Message { commit, ..message(MessageType::Heartbeat, from, term) }
}

pub(crate) fn install(from: u64, term: u64, snapshot: Snapshot) -> Message {
    Message { snapshot: Some(Box::new(snapshot)), ..message(MessageType::Snapshot, from, term) }
}

/// The messages of one type, in order.
pub(crate) fn of(messages: &[Message], kind: MessageType) -> Vec<&Message> {
    messages.iter().filter(|m| m.kind() == Some(kind)).collect()
}

/// The only message that there is.
pub(crate) fn only(messages: Vec<Message>) -> Message {
    assert_eq!(messages.len(), 1, "exactly one message in {messages:?}");
    messages.into_iter().next().expect("just counted")
}

/// The change in a committed entry, as an application reads it.
pub(crate) fn decoded(entry: &Entry) -> Option<ConfChangeV2> {
    match entry.entry_type() {
        EntryType::Normal => None,
        EntryType::ConfChange => {
            Some(ConfChange::decode(entry.data.clone()).expect("a stored change").into())
        }
        EntryType::ConfChangeV2 => {
            Some(ConfChangeV2::decode(entry.data.clone()).expect("a stored change"))
        }
    }
}

/// A node with its disk and its application.
pub(crate) struct Node {
    pub(crate) raw: RawNode<MemoryStorage>,
    pub(crate) storage: MemoryStorage,
    /// What was handed out to be applied.
    pub(crate) applied: Vec<Entry>,
    pub(crate) reads: Vec<ReadState>,
}

impl Node {
    pub(crate) fn new(config: &Config, storage: MemoryStorage) -> Self {
        let raw = RawNode::new(config, storage.clone()).expect("a node that may start");
        Self { raw, storage, applied: Vec::new(), reads: Vec::new() }
    }

    /// Node 1 of `ids`, with nothing in its log.
    pub(crate) fn one_of(ids: &[u64]) -> Self {
        Self::new(&config(1), MemoryStorage::with_conf_state(voters(ids)))
    }

    /// Node 1 of `ids` in the term and with the entries of `terms`.
    pub(crate) fn with_log(ids: &[u64], terms: &[u64]) -> Self {
        Self::new(&config(1), stored(voters(ids), terms))
    }

    /// Makes it lead by the votes of all voters; what it sends on the way is lost.
    pub(crate) fn lead(mut self) -> Self {
        self.elect();
        self
    }

    pub(crate) fn elect(&mut self) {
        self.raw.campaign().expect("a campaign");
        self.run();
        for from in self.voters() {
            // Those after the majority come too late to count, as ever.
            if self.role() == Role::PreCandidate && from != self.id() {
                self.take(granted(MessageType::PreVoteResponse, from, self.term() + 1));
            }
        }
        for from in self.voters() {
            if self.role() == Role::Candidate && from != self.id() {
                self.take(granted(MessageType::VoteResponse, from, self.term()));
            }
        }
        assert_eq!(self.role(), Role::Leader);
    }

    pub(crate) fn id(&self) -> u64 {
        self.raw.basic_status().id
    }

    pub(crate) fn role(&self) -> Role {
        self.raw.basic_status().soft_state.role
    }

    pub(crate) fn leader(&self) -> u64 {
        self.raw.basic_status().soft_state.leader
    }

    pub(crate) fn term(&self) -> u64 {
        self.raw.basic_status().hard_state.term
    }

    pub(crate) fn vote(&self) -> u64 {
        self.raw.basic_status().hard_state.vote
    }

    pub(crate) fn commit(&self) -> u64 {
        self.raw.basic_status().hard_state.commit
    }

    pub(crate) fn last(&self) -> u64 {
        self.raw.basic_status().last_index
    }

    pub(crate) fn voters(&self) -> Vec<u64> {
        self.raw.status().config.voters.ids().collect()
    }

    /// The configuration as one line.
    pub(crate) fn members(&self) -> String {
        self.raw.status().config.to_string()
    }

    /// What a leader knows of `id`, as one line; empty for a stranger.
    pub(crate) fn progress(&self, id: u64) -> String {
        let progress = self.raw.status().progress;
        progress.iter().find(|(of, _)| *of == id).map_or(String::new(), |(_, p)| p.to_string())
    }

    /// The terms of all entries that are on disk.
    pub(crate) fn terms(&self) -> Vec<u64> {
        let first = self.storage.first_index().expect("in memory");
        let last = self.storage.last_index().expect("in memory");
        (first..=last).map(|index| self.storage.term(index).expect("in memory")).collect()
    }

    /// What was applied for the application: neither changes nor the empty entries of leaders.
    pub(crate) fn applied_data(&self) -> Vec<&[u8]> {
        let ordinary = self.applied.iter().filter(|e| e.entry_type() == EntryType::Normal);
        ordinary.map(|e| e.data.as_ref()).filter(|data| !data.is_empty()).collect()
    }

    /// Steps a message that must be taken, does all work, and returns what is sent.
    pub(crate) fn take(&mut self, m: Message) -> Vec<Message> {
        let said = format!("{m:?}");
        self.raw.step(m).unwrap_or_else(|e| panic!("{said}: {e}"));
        self.run()
    }

    pub(crate) fn propose(&mut self, data: &'static str) -> Vec<Message> {
        self.raw.propose(data).expect("a proposal that is accepted");
        self.run()
    }

    pub(crate) fn tick(&mut self, times: usize) -> Vec<Message> {
        let mut sent = Vec::new();
        for _ in 0..times {
            self.raw.tick().expect("a tick");
            sent.extend(self.run());
        }
        sent
    }

    /// Does all work there is, in the order that [`Ready`] says. Returns what is sent to others.
    pub(crate) fn run(&mut self) -> Vec<Message> {
        let mut sent = Vec::new();
        while self.raw.has_ready() {
            let mut ready = self.raw.ready().expect("a storage in memory");
            sent.append(&mut ready.messages);
            self.write(&ready);
            self.apply(&ready);
            self.raw.advance(ready).expect("the Ready just handed out");
        }
        sent
    }

    /// The first of a driver's duties.
    pub(crate) fn write(&mut self, ready: &Ready) {
        if let Some(snapshot) = &ready.snapshot {
            self.storage.apply_snapshot(snapshot.clone()).expect("a newer snapshot");
        }
        self.storage.append(&ready.entries).expect("entries without a gap");
        if let Some(hard_state) = ready.hard_state {
            self.storage.set_hard_state(hard_state);
        }
    }

    /// The third of a driver's duties.
    pub(crate) fn apply(&mut self, ready: &Ready) {
        for entry in &ready.committed_entries {
            if let Some(change) = decoded(entry) {
                let applied = self.raw.apply_conf_change(entry.index, &change);
                if let Some(members) = applied.expect("a change that fits") {
                    self.storage.set_conf_state(members);
                }
            }
            self.applied.push(entry.clone());
        }
        self.reads.extend(ready.read_states.iter().cloned());
    }

    /// The node dies and starts again from its disk, having applied `applied`.
    pub(crate) fn restart(&mut self, config: &Config) {
        self.raw = RawNode::new(config, self.storage.clone()).expect("a node that may restart");
    }
}

/// A node with asynchronous storage writes: its threads work when the test says so.
pub(crate) struct Threaded {
    pub(crate) raw: RawNode<MemoryStorage>,
    pub(crate) storage: MemoryStorage,
    /// Work for the append thread, oldest first.
    pub(crate) writes: VecDeque<Message>,
    /// Work for the apply thread, oldest first.
    pub(crate) applies: VecDeque<Message>,
}

impl Threaded {
    pub(crate) fn new(config: &Config, storage: MemoryStorage) -> Self {
        let config = Config { async_storage_writes: true, ..config.clone() };
        let raw = RawNode::new(&config, storage.clone()).expect("a node that may start");
        Self { raw, storage, writes: VecDeque::new(), applies: VecDeque::new() }
    }

    /// Takes all work; that of the threads waits. Returns what is sent to others at once.
    pub(crate) fn run(&mut self) -> Vec<Message> {
        let mut sent = Vec::new();
        while self.raw.has_ready() {
            for m in self.raw.ready().expect("a storage in memory").messages {
                match m.to {
                    LOCAL_APPEND_THREAD => self.writes.push_back(m),
                    LOCAL_APPLY_THREAD => self.applies.push_back(m),
                    _ => sent.push(m),
                }
            }
        }
        sent
    }

    pub(crate) fn take(&mut self, m: Message) -> Vec<Message> {
        self.raw.step(m).expect("a message that is taken");
        self.run()
    }

    /// The append thread does its oldest work. Returns what may be said now, to whomever.
    pub(crate) fn write(&mut self) -> Vec<Message> {
        let m = self.writes.pop_front().expect("work for the append thread");
        if let Some(snapshot) = m.snapshot {
            self.storage.apply_snapshot(*snapshot).expect("a newer snapshot");
        }
        self.storage.append(&m.entries).expect("entries without a gap");
        if m.term != 0 {
            let (term, vote, commit) = (m.term, m.vote, m.commit);
            self.storage.set_hard_state(HardState { term, vote, commit });
        }
        m.responses
    }

    /// The append thread does all its work, and everybody hears of it. Returns what others hear.
    pub(crate) fn write_all(&mut self) -> Vec<Message> {
        let mut sent = self.run();
        while !self.writes.is_empty() {
            let promises = self.write();
            sent.extend(self.hear(promises));
        }
        sent
    }

    /// The apply thread does all its work. Returns what it was to apply.
    pub(crate) fn apply_all(&mut self) -> Vec<u64> {
        let mut applied = Vec::new();
        self.run();
        while let Some(m) = self.applies.pop_front() {
            applied.extend(m.entries.iter().map(|e| e.index));
            self.hear(m.responses);
        }
        applied
    }

    /// Delivers what the node says to itself, and what its threads say. Returns the rest.
    pub(crate) fn hear(&mut self, promises: Vec<Message>) -> Vec<Message> {
        let me = self.raw.basic_status().id;
        let mut sent = Vec::new();
        for m in promises {
            if m.to == me {
                self.raw.step_local(m).expect("a promise to itself");
            } else {
                sent.push(m);
            }
        }
        sent.extend(self.run());
        sent
    }
}

/// A few nodes and the wires between them.
pub(crate) struct Group {
    pub(crate) nodes: Vec<Node>,
    /// Wires on which everything is lost, by sender and receiver.
    cut: BTreeSet<(u64, u64)>,
    /// Types of which everything is lost.
    pub(crate) lost: Vec<MessageType>,
}

impl Group {
    /// Nodes 1 to `size`, all voters.
    pub(crate) fn new(size: u64, make: impl Fn(u64) -> Config) -> Self {
        let ids: Vec<u64> = (1..=size).collect();
        let nodes = ids
            .iter()
            .map(|id| Node::new(&make(*id), MemoryStorage::with_conf_state(voters(&ids))));
        Self::of(nodes.collect())
    }

    pub(crate) fn of(nodes: Vec<Node>) -> Self {
        Self { nodes, cut: BTreeSet::new(), lost: Vec::new() }
    }

    pub(crate) fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.iter_mut().find(|n| n.id() == id).expect("a node of the group")
    }

    pub(crate) fn see(&self, id: u64) -> &Node {
        self.nodes.iter().find(|n| n.id() == id).expect("a node of the group")
    }

    /// Cuts all wires of `id`.
    pub(crate) fn isolate(&mut self, id: u64) {
        let others: Vec<u64> = self.nodes.iter().map(Node::id).filter(|n| *n != id).collect();
        self.cut.extend(others.iter().flat_map(|other| [(id, *other), (*other, id)]));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.lost.clear();
    }

    /// Delivers until nobody has anything to say. Returns what was sent, lost or not.
    pub(crate) fn settle(&mut self) -> Vec<Message> {
        let mut all = Vec::new();
        for _ in 0..1_000 {
            let sent: Vec<Message> = self.nodes.iter_mut().flat_map(Node::run).collect();
            if sent.is_empty() {
                return all;
            }
            for m in &sent {
                self.deliver(m);
            }
            all.extend(sent);
        }
        panic!("the nodes do not stop talking");
    }

    fn deliver(&mut self, m: &Message) {
        let lost = m.kind().is_some_and(|kind| self.lost.contains(&kind));
        if lost || self.cut.contains(&(m.from, m.to)) {
            return;
        }
        if let Some(node) = self.nodes.iter_mut().find(|n| n.id() == m.to) {
            // A proposal that is dropped on arrival is one of the things that happen.
            let _ = node.raw.step(m.clone());
        }
    }

    /// `id` campaigns, and everything that follows happens.
    pub(crate) fn campaign(&mut self, id: u64) {
        self.node(id).raw.campaign().expect("a campaign");
        self.settle();
    }

    /// Lets `id` tick, and everything that follows happen after each tick.
    pub(crate) fn tick(&mut self, id: u64, times: usize) {
        for _ in 0..times {
            self.node(id).raw.tick().expect("a tick");
            self.settle();
        }
    }

    pub(crate) fn roles(&self) -> Vec<Role> {
        self.nodes.iter().map(Node::role).collect()
    }
}
