//! The state of a node and the four roles it can have (paper, figure 4). What a node does in them
//! is in the modules below, a topic each.

mod election;
mod follow;
mod membership;
mod propose;
mod reads;
mod replicate;
mod step;
mod storage_work;
mod tick;
mod transfer;

use std::collections::VecDeque;
use std::fmt;

use crate::confchange;
use crate::config::{Config, DamagedRange};
use crate::error::{Error, Result};
use crate::ids::IdMap;
use crate::log::Log;
use crate::message::{ConfState, Entry, HardState, Message, MessageType};
use crate::storage::{Storage, StorageError};
use crate::tracker::Tracker;
use reads::ReadOnly;

pub(crate) use membership::{conf_change_entry, decode_conf_change};
pub use reads::ReadState;

/// No node.
pub(crate) const NONE: u64 = 0;

/// What a node is to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks for votes.
    Candidate,
    /// Decides the order of entries.
    Leader,
    /// Asks whether it would get votes.
    PreCandidate,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Follower => "StateFollower",
            Self::Candidate => "StateCandidate",
            Self::Leader => "StateLeader",
            Self::PreCandidate => "StatePreCandidate",
        })
    }
}

/// The volatile part of a node's state: worth knowing, not worth keeping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SoftState {
    /// The leader, as far as the node knows; 0 none.
    pub leader: u64,
    /// The node's role.
    pub role: Role,
}

/// A node: what it remembers and what it is about to say.
pub(crate) struct Raft<S> {
    pub(crate) config: Config,
    pub(crate) term: u64,
    pub(crate) vote: u64,
    pub(crate) log: Log<S>,
    pub(crate) tracker: Tracker,
    pub(crate) role: Role,
    pub(crate) leader: u64,
    /// To whom the leader hands over.
    pub(crate) lead_transferee: u64,
    /// Leader: somebody was told to campaign whatever leases say.
    lease_spent: bool,
    /// May be sent at once.
    pub(crate) msgs: Vec<Message>,
    /// May be sent once everything in the log, and the hard state, is durable.
    pub(crate) msgs_after_append: Vec<Message>,
    /// Leader, synchronous storage writes: the last indexes of its own appends, which count for it
    /// once they are durable.
    pub(crate) own_appends: Vec<u64>,
    /// With [`Config::batch_append`]: encoded bytes of the entries in the last append for each.
    queued_bytes: IdMap<u64>,
    /// Memory for entries that are to be sent.
    spare_entries: Vec<Entry>,
    /// Leader: the index of the newest configuration change that may not be applied yet.
    pub(crate) pending_conf_index: u64,
    /// Leader: an index from which on entries are of its own term.
    term_start: u64,
    /// Leader: payload bytes of proposals not yet applied.
    pub(crate) uncommitted_size: u64,
    pub(crate) reads: ReadOnly,
    /// Requests that wait for the leader's first commit.
    pub(crate) postponed_reads: VecDeque<Message>,
    pub(crate) read_states: Vec<ReadState>,
    /// Ticks since the last word of a leader, or (leader) since the last look at the quorum.
    pub(crate) election_elapsed: u32,
    heartbeat_elapsed: u32,
    pub(crate) randomized_timeout: u32,
    rng: fastrand::Rng,
    /// While it lasts, the node has just started and knows of no leader.
    booting: bool,
    pub(crate) damaged: Option<DamagedRange>,
    /// The commit index that was stored: a damaged log may not reach it.
    stored_commit: u64,
    /// The index of the last snapshot that came in: its members are in force since.
    restored: u64,
    /// The follower asked for a snapshot of at least this index; 0 for none.
    request_snapshot: u64,
    /// The storage could not be read for a message that was to be sent.
    pub(crate) read_error: Option<StorageError>,
}

impl<S: Storage> Raft<S> {
    /// A follower as the storage remembers it, and the hard state that is stored.
    pub(crate) fn new(config: &Config, storage: S) -> Result<(Self, HardState)> {
        config.validate()?;
        let initial = storage.initial_state()?;
        let max_applying = match config.max_committed_size_per_ready {
            0 => config.max_size_per_msg,
            bytes => bytes,
        };
        let mut log = Log::new(storage, max_applying, config.damaged.is_some())?;
        let hard_state = check_stored(&mut log, initial.hard_state, config)?;
        let mut raft = Self {
            term: hard_state.term,
            vote: hard_state.vote,
            tracker: Tracker::new(config.max_inflight_msgs, config.max_inflight_bytes),
            role: Role::Follower,
            leader: NONE,
            lead_transferee: NONE,
            lease_spent: false,
            msgs: Vec::new(),
            msgs_after_append: Vec::new(),
            own_appends: Vec::new(),
            queued_bytes: IdMap::new(),
            spare_entries: Vec::new(),
            pending_conf_index: 0,
            term_start: 0,
            uncommitted_size: 0,
            reads: ReadOnly::default(),
            postponed_reads: VecDeque::new(),
            read_states: Vec::new(),
            election_elapsed: 0,
            heartbeat_elapsed: 0,
            randomized_timeout: 0,
            // Nodes with the same seed must not draw the same: they would campaign in step for
            // ever.
            rng: fastrand::Rng::with_seed(
                config.seed ^ config.id.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            ),
            booting: config.lease_from_boot,
            damaged: config.damaged,
            stored_commit: initial.hard_state.commit,
            restored: 0,
            request_snapshot: 0,
            read_error: None,
            config: config.clone(),
            log,
        };
        raft.restore_members(&initial.conf_state)?;
        raft.become_follower(raft.term, NONE);
        Ok((raft, initial.hard_state))
    }

    fn restore_members(&mut self, conf_state: &ConfState) -> Result<()> {
        let last = self.log.last_index();
        let (config, progress) = confchange::restore(&self.tracker, last, conf_state)?;
        self.switch_to(config, progress);
        Ok(())
    }

    pub(crate) fn id(&self) -> u64 {
        self.config.id
    }

    pub(crate) fn hard_state(&self) -> HardState {
        // A damaged log may not reach what is known to be committed; that must not be forgotten.
        let known = if self.damaged.is_some() { self.stored_commit } else { 0 };
        let commit = self.log.committed().max(known);
        HardState { term: self.term, vote: self.vote, commit }
    }

    pub(crate) fn soft_state(&self) -> SoftState {
        SoftState { leader: self.leader, role: self.role }
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }

    /// Whether the node may become a leader: a voter, and not in the middle of a snapshot.
    fn is_promotable(&self) -> bool {
        let member = self.tracker.progress.get(self.id()).is_some_and(|p| !p.is_learner);
        member && self.log.unstable.snapshot().is_none() && self.damaged.is_none()
    }

    /// Leaves whatever was of the old role, and if it is another one of the old term.
    fn reset(&mut self, term: u64) {
        if self.term != term {
            self.term = term;
            self.vote = NONE;
        }
        self.leader = NONE;
        self.lead_transferee = NONE;
        self.lease_spent = false;
        self.election_elapsed = 0;
        self.heartbeat_elapsed = 0;
        let (low, high) = self.config.election_range();
        self.randomized_timeout = self.rng.u32(low..high);
        self.own_appends.clear();
        self.pending_conf_index = 0;
        self.uncommitted_size = 0;
        self.reads = ReadOnly::default();
        self.tracker.reset_votes();
        let (me, last) = (self.id(), self.log.last_index());
        for (id, progress) in self.tracker.progress.iter_mut() {
            progress.restart(if id == me { last } else { 0 }, last + 1);
        }
    }

    pub(crate) fn become_follower(&mut self, term: u64, leader: u64) {
        self.reset(term);
        self.role = Role::Follower;
        self.leader = leader;
        self.trace("follower");
    }

    /// Asks without disturbing: term, vote and timers stay (thesis, section 9.6).
    fn become_pre_candidate(&mut self) {
        self.tracker.reset_votes();
        self.leader = NONE;
        self.role = Role::PreCandidate;
        self.trace("pre-candidate");
    }

    /// The caller has seen that the term has a successor.
    fn become_candidate(&mut self) {
        self.reset(self.term.saturating_add(1));
        self.vote = self.id();
        self.role = Role::Candidate;
        self.trace("candidate");
    }

    /// Begins the term with an empty entry: only with an entry of its own term can a leader commit
    /// those before (paper, sections 5.4.2 and 8).
    fn become_leader(&mut self) {
        let last = self.log.last_index();
        // Only a bootstrapped log ends in the leader's own term before the leader has spoken.
        self.term_start = if self.log.last_term() == self.term { last } else { last + 1 };
        self.reset(self.term);
        self.leader = self.id();
        self.role = Role::Leader;
        if let Some(progress) = self.tracker.progress.get_mut(self.config.id) {
            progress.become_replicate();
            progress.recent_active = true;
        }
        // A change may be among the entries that are not applied yet. It is cheaper to wait until
        // they are than to look.
        self.pending_conf_index = last;
        self.booting = false;
        self.request_snapshot = 0;
        self.append_empty_entry();
        self.trace("leader");
    }

    /// Queues a message to be sent, with the sender and, where the type travels with one, the term.
    fn send(&mut self, kind: MessageType, mut message: Message) {
        message.msg_type = kind as i32;
        if message.from == NONE {
            message.from = self.id();
        }
        match kind {
            MessageType::Vote
            | MessageType::VoteResponse
            | MessageType::PreVote
            | MessageType::PreVoteResponse => {
                debug_assert!(message.term != 0 || message.reject, "a vote is of a term");
            }
            // Forwarded as they are: the leader's term is not the sender's business.
            MessageType::Propose | MessageType::ReadIndex => message.term = 0,
            _ => message.term = self.term,
        }
        match kind {
            // Each is a promise about what is on disk, even a rejection: it tells a term.
            MessageType::AppendResponse
            | MessageType::VoteResponse
            | MessageType::PreVoteResponse => self.msgs_after_append.push(message),
            _ => {
                debug_assert!(message.to != self.id(), "only promises are made to oneself");
                self.msgs.push(message);
            }
        }
    }

    #[cfg(feature = "tracing")]
    fn trace(&self, what: &'static str) {
        let (id, term, leader) = (self.id(), self.term, self.leader);
        let (last, commit) = (self.log.last_index(), self.log.committed());
        tracing::info!(id, term, leader, last, commit, "{what}");
    }

    #[cfg(not(feature = "tracing"))]
    #[expect(clippy::unused_self, reason = "the other half of the feature uses it")]
    fn trace(&self, _what: &'static str) {}

    /// What must hold between two calls.
    pub(crate) fn check_invariants(&self) -> Result<()> {
        self.log.check_invariants()?;
        confchange::check(&self.tracker.config, &self.tracker.progress)?;
        let last = self.log.last_index();
        let me = self.tracker.progress.get(self.id());
        let rules = [
            (self.role != Role::Leader || self.leader == self.id(), "a leader follows another"),
            (
                self.role != Role::Candidate || self.vote == self.id(),
                "a candidate votes for another",
            ),
            (
                !matches!(self.role, Role::Candidate | Role::PreCandidate) || self.leader == NONE,
                "a candidate has a leader",
            ),
            (
                self.lead_transferee == NONE || self.is_leader(),
                "leadership is transferred by a node that does not lead",
            ),
            (
                self.tracker.progress.iter().all(|(_, p)| p.matched < p.next),
                "progress: what matches is not below what comes next",
            ),
            (
                !self.is_leader() || self.tracker.progress.iter().all(|(_, p)| p.matched <= last),
                "progress: what matches is above the last index",
            ),
            (
                !self.is_leader() || me.is_none_or(|p| p.recent_active),
                "a leader does not take itself for active",
            ),
            (
                // A log that was bootstrapped by a snapshot begins in a term that nobody has seen.
                self.term == 0 || self.log.last_term() <= self.term,
                "the last entry is of a term to come",
            ),
            (
                self.damaged.is_none() || matches!(self.role, Role::Follower),
                "a node with a damaged log is not a follower",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(Error::Invariant(rule)),
            None => Ok(()),
        }
    }
}

/// The hard state and the applied index must be possible for the log. Returns the hard state to go
/// on with: what a crash between the writes of one [`crate::Ready`] leaves out of it is made good.
fn check_stored<S: Storage>(
    log: &mut Log<S>,
    stored: HardState,
    config: &Config,
) -> Result<HardState> {
    let refuse = |what, value, low, high| Err(Error::StoredState { what, value, low, high });
    let (base, last) = (log.committed(), log.last_index());
    let known = config.damaged.map_or(last, |d| d.high.max(last));
    if stored.commit > known {
        return refuse("commit index", stored.commit, base, known);
    }
    if stored.term == u64::MAX || log.last_term() == u64::MAX {
        return refuse("term", u64::MAX, 0, u64::MAX - 1);
    }
    // What is compacted, or in a snapshot, was committed.
    log.commit_to(stored.commit.min(last));
    let mut hard_state = stored;
    // Entries of a term without its hard state: nothing was promised in that term yet, a vote
    // neither. A snapshot alone, with no hard state, is how a cluster may begin.
    let begins = stored == HardState::default() && last == base;
    if stored.term < log.last_term() && !begins {
        hard_state = HardState { term: log.last_term(), ..HardState::default() };
    }
    hard_state.commit = log.committed();
    if config.applied > 0 {
        if config.applied < base || config.applied > log.committed() {
            return refuse("applied index", config.applied, base, log.committed());
        }
        log.applied_to(config.applied, 0);
    }
    if let Some(damaged) = config.damaged {
        // What is applied is not needed any more: a log without it is compacted, not damaged.
        if damaged.low <= log.applied() {
            return refuse("first damaged index", damaged.low, log.applied() + 1, u64::MAX);
        }
        log.set_hole(damaged.low);
    }
    Ok(hard_state)
}
