//! Messages, entries and states as they travel and as they are stored: etcd's protobuf types, by
//! number.
//!
//! The field numbers are raftpb's, so a cluster, a log or a snapshot of etcd's reads the same. Two
//! fields are our own, with numbers that etcd skips as unknown: [`Message::priority`] and
//! [`Message::request_snapshot`].

use bytes::Bytes;

/// What an [`Entry`] carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum EntryType {
    /// A command of the state machine, or nothing: a leader begins its term with an empty entry.
    Normal = 0,
    /// A [`ConfChange`].
    ConfChange = 1,
    /// A [`ConfChangeV2`]; without data the empty one, which leaves a joint configuration.
    ConfChangeV2 = 2,
}

/// An entry of the replicated log.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Entry {
    /// What the data is. Absent means [`EntryType::Normal`]; presence counts in the encoded size.
    #[prost(enumeration = "EntryType", optional, tag = "1")]
    pub entry_type: Option<i32>,
    /// The term of the leader that made the entry.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The place in the log; the first is 1.
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// The payload. Never copied between socket, log and state machine.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// What a [`Message`] asks or answers. Local ones never travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum MessageType {
    /// Local: start an election.
    Hup = 0,
    /// Local: send heartbeats.
    Beat = 1,
    /// Entries to be appended by the leader; forwarded to it with term 0.
    Propose = 2,
    /// Entries behind `(index, log_term)`, and the leader's commit index.
    Append = 3,
    /// Acknowledges up to `index`, or rejects it with a hint.
    AppendResponse = 4,
    /// Asks for a vote; `(index, log_term)` is the candidate's last entry.
    Vote = 5,
    /// Grants or rejects a vote.
    VoteResponse = 6,
    /// The leader's snapshot, in place of entries that it no longer has.
    Snapshot = 7,
    /// The leader is alive; carries the commit index and the count of reads.
    Heartbeat = 8,
    /// Answers a heartbeat, with its context.
    HeartbeatResponse = 9,
    /// Local: a message to `from` could not be delivered.
    Unreachable = 10,
    /// Local: the snapshot for `from` was delivered, or (`reject`) was not.
    SnapshotStatus = 11,
    /// Local: the leader is to see whether it still hears from a quorum.
    CheckQuorum = 12,
    /// Asks the leader to hand over to `from`.
    TransferLeader = 13,
    /// Tells a follower to campaign at once.
    TimeoutNow = 14,
    /// Asks for a read index; forwarded to the leader with term 0.
    ReadIndex = 15,
    /// Answers with the read index.
    ReadIndexResponse = 16,
    /// Asks whether a vote would be given.
    PreVote = 17,
    /// Says whether a vote would be given.
    PreVoteResponse = 18,
    /// Local: to the append thread, see [`crate::LOCAL_APPEND_THREAD`].
    StorageAppend = 19,
    /// Local: from the append thread.
    StorageAppendResponse = 20,
    /// Local: to the apply thread, see [`crate::LOCAL_APPLY_THREAD`].
    StorageApply = 21,
    /// Local: from the apply thread.
    StorageApplyResponse = 22,
    /// Local: a follower is to forget its leader. (etcd accepts it from the network; we do not.)
    ForgetLeader = 23,
}

impl MessageType {
    /// Whether such a message only ever comes from the node itself, or from its storage threads.
    pub fn is_local(self) -> bool {
        matches!(
            self,
            Self::Hup
                | Self::Beat
                | Self::Unreachable
                | Self::SnapshotStatus
                | Self::CheckQuorum
                | Self::StorageAppend
                | Self::StorageAppendResponse
                | Self::StorageApply
                | Self::StorageApplyResponse
                | Self::ForgetLeader
        )
    }

    /// Whether such a message answers another one. From a node that the configuration does not
    /// know it is refused.
    pub fn is_response(self) -> bool {
        matches!(
            self,
            Self::AppendResponse
                | Self::VoteResponse
                | Self::HeartbeatResponse
                | Self::Unreachable
                | Self::ReadIndexResponse
                | Self::PreVoteResponse
                | Self::StorageAppendResponse
                | Self::StorageApplyResponse
        )
    }
}

/// What nodes, and a node and its storage threads, say to each other.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Message {
    /// A [`MessageType`]; [`Message::kind`] checks it.
    #[prost(enumeration = "MessageType", tag = "1")]
    pub msg_type: i32,
    /// The receiver.
    #[prost(uint64, tag = "2")]
    pub to: u64,
    /// The sender.
    #[prost(uint64, tag = "3")]
    pub from: u64,
    /// The sender's term, or that of the campaign; 0 for local messages, proposals and reads.
    #[prost(uint64, tag = "4")]
    pub term: u64,
    /// The term of the entry at `index`.
    #[prost(uint64, tag = "5")]
    pub log_term: u64,
    /// An index; which, the type says.
    #[prost(uint64, tag = "6")]
    pub index: u64,
    /// Entries behind `index`.
    #[prost(message, repeated, tag = "7")]
    pub entries: Vec<Entry>,
    /// The sender's commit index, as far as it concerns the receiver.
    #[prost(uint64, tag = "8")]
    pub commit: u64,
    /// The snapshot of [`MessageType::Snapshot`] and of the storage messages.
    #[prost(message, optional, boxed, tag = "9")]
    pub snapshot: Option<Box<Snapshot>>,
    /// Whether what was asked is refused.
    #[prost(bool, tag = "10")]
    pub reject: bool,
    /// Of a rejected append: the highest index at which the logs may agree.
    #[prost(uint64, tag = "11")]
    pub reject_hint: u64,
    /// Of a vote: whether it is forced by a transfer. Of a heartbeat: the count of reads.
    #[prost(bytes = "bytes", tag = "12")]
    pub context: Bytes,
    /// Of [`MessageType::StorageAppend`]: the vote of the hard state.
    #[prost(uint64, tag = "13")]
    pub vote: u64,
    /// Of storage messages: what to deliver once the work is done.
    #[prost(message, repeated, tag = "14")]
    pub responses: Vec<Message>,
    /// Our own: the candidate's priority, see [`crate::Config::priority`].
    #[prost(sint64, tag = "1001")]
    pub priority: i64,
    /// Our own: of a rejected append, the follower wants a snapshot of at least this index.
    #[prost(uint64, tag = "1002")]
    pub request_snapshot: u64,
}

impl Message {
    /// The type, or `None` for a number that is not known.
    pub fn kind(&self) -> Option<MessageType> {
        MessageType::try_from(self.msg_type).ok()
    }
}

/// What must be on disk before a node answers for it (the paper's figure 2, persistent state).
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct HardState {
    /// The latest term that the node has seen.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The candidate that got the node's vote in `term`; 0 none.
    #[prost(uint64, tag = "2")]
    pub vote: u64,
    /// The commit index, as a hint: it may lag behind.
    #[prost(uint64, tag = "3")]
    pub commit: u64,
}

/// The members of a configuration; of a joint one, of both halves.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ConfState {
    /// Voters; while joint, those of the configuration to come.
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub voters: Vec<u64>,
    /// Members without a vote.
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub learners: Vec<u64>,
    /// While joint: the voters of the configuration that is left.
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub voters_outgoing: Vec<u64>,
    /// While joint: voters that become learners when it is left.
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub learners_next: Vec<u64>,
    /// While joint: whether the leader leaves it by itself.
    #[prost(bool, tag = "5")]
    pub auto_leave: bool,
}

impl ConfState {
    /// Whether both say the same, in whatever order their lists are.
    pub fn equivalent(&self, other: &Self) -> bool {
        let sorted = |state: &Self| {
            let mut state = state.clone();
            state.voters.sort_unstable();
            state.learners.sort_unstable();
            state.voters_outgoing.sort_unstable();
            state.learners_next.sort_unstable();
            state
        };
        sorted(self) == sorted(other)
    }
}

/// What a snapshot is of.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct SnapshotMetadata {
    /// The configuration at `index`.
    #[prost(message, optional, tag = "1")]
    pub conf_state: Option<ConfState>,
    /// The last index that the snapshot covers.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// The term of that index.
    #[prost(uint64, tag = "3")]
    pub term: u64,
}

/// The state machine as of an index. The data may be a mere reference, if the transport streams
/// what it refers to.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Snapshot {
    /// The application's bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// What it is of.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<SnapshotMetadata>,
}

impl Snapshot {
    /// The last index that it covers; 0 for an empty one.
    pub fn index(&self) -> u64 {
        self.metadata.as_ref().map_or(0, |m| m.index)
    }

    /// The term of [`Snapshot::index`].
    pub fn term(&self) -> u64 {
        self.metadata.as_ref().map_or(0, |m| m.term)
    }

    /// The configuration at [`Snapshot::index`].
    pub fn conf_state(&self) -> ConfState {
        self.metadata.as_ref().and_then(|m| m.conf_state.clone()).unwrap_or_default()
    }

    /// Whether it is no snapshot at all.
    pub fn is_empty(&self) -> bool {
        self.index() == 0
    }
}

/// What a configuration change does to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ConfChangeType {
    /// Makes it a voter.
    AddNode = 0,
    /// Removes it.
    RemoveNode = 1,
    /// Nothing to Raft: for the application.
    UpdateNode = 2,
    /// Makes it a learner.
    AddLearnerNode = 3,
}

/// A change of one node (etcd's first kind).
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ConfChange {
    /// For the application.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// A [`ConfChangeType`]; absent means the first. Presence counts in the encoded size.
    #[prost(enumeration = "ConfChangeType", optional, tag = "2")]
    pub change_type: Option<i32>,
    /// Whom it concerns.
    #[prost(uint64, tag = "3")]
    pub node_id: u64,
    /// For the application.
    #[prost(bytes = "bytes", tag = "4")]
    pub context: Bytes,
}

/// One of the changes of a [`ConfChangeV2`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct ConfChangeSingle {
    /// A [`ConfChangeType`]; absent means the first. Presence counts in the encoded size.
    #[prost(enumeration = "ConfChangeType", optional, tag = "1")]
    pub change_type: Option<i32>,
    /// Whom it concerns.
    #[prost(uint64, tag = "2")]
    pub node_id: u64,
}

/// How a [`ConfChangeV2`] passes through a joint configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ConfChangeTransition {
    /// Not at all if one change is all there is, else as [`ConfChangeTransition::JointImplicit`].
    Auto = 0,
    /// Joint, left by the leader itself.
    JointImplicit = 1,
    /// Joint, until somebody proposes the empty change.
    JointExplicit = 2,
}

/// Changes of any number of nodes at once, by joint consensus where there are several (thesis,
/// section 4.3).
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ConfChangeV2 {
    /// A [`ConfChangeTransition`]; absent means the first. Presence counts in the encoded size.
    #[prost(enumeration = "ConfChangeTransition", optional, tag = "1")]
    pub transition: Option<i32>,
    /// The changes; none leaves a joint configuration.
    #[prost(message, repeated, tag = "2")]
    pub changes: Vec<ConfChangeSingle>,
    /// For the application.
    #[prost(bytes = "bytes", tag = "3")]
    pub context: Bytes,
}

impl ConfChange {
    /// The change `change_type` of `node_id`, with nothing for the application.
    pub fn new(change_type: ConfChangeType, node_id: u64) -> Self {
        Self { change_type: Some(change_type as i32), node_id, ..Self::default() }
    }
}

impl ConfChangeSingle {
    /// The change `change_type` of `node_id`.
    pub fn new(change_type: ConfChangeType, node_id: u64) -> Self {
        Self { change_type: Some(change_type as i32), node_id }
    }

    /// The type, or `None` for a number that is not known.
    pub fn kind(&self) -> Option<ConfChangeType> {
        self.change_type.map_or(Some(ConfChangeType::AddNode), |n| n.try_into().ok())
    }
}

impl ConfChangeV2 {
    /// Several changes, with nothing for the application. None at all, with
    /// [`ConfChangeTransition::Auto`], leaves a joint configuration.
    pub fn new(transition: ConfChangeTransition, changes: Vec<ConfChangeSingle>) -> Self {
        Self { transition: Some(transition as i32), changes, ..Self::default() }
    }

    /// Whether transition and types are known.
    pub fn is_known(&self) -> bool {
        let transition = self.transition.is_none_or(ConfChangeTransition::is_valid);
        transition && self.changes.iter().all(|c| c.kind().is_some())
    }

    /// Whether it goes through a joint configuration, and if so whether that is left by the leader
    /// itself.
    pub fn enters_joint(&self) -> Option<bool> {
        match self.transition() {
            ConfChangeTransition::Auto if self.changes.len() <= 1 => None,
            ConfChangeTransition::Auto | ConfChangeTransition::JointImplicit => Some(true),
            ConfChangeTransition::JointExplicit => Some(false),
        }
    }

    /// Whether it leaves a joint configuration: there is nothing in it but perhaps a context.
    pub fn leaves_joint(&self) -> bool {
        self.transition.unwrap_or(0) == 0 && self.changes.is_empty()
    }
}

impl From<ConfChange> for ConfChangeV2 {
    fn from(change: ConfChange) -> Self {
        let single = ConfChangeSingle { change_type: change.change_type, node_id: change.node_id };
        Self { transition: None, changes: vec![single], context: change.context }
    }
}
