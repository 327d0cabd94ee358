//! What a message does: whether it can be, whose term counts (paper, section 5.1), who handles it.
//!
//! All reading that can fail, and all judging, is done by [`Raft::examine`] before anything
//! changes: a message that ends in an error has done nothing.

use super::election::{Campaign, TRANSFER};
use super::{NONE, Raft, Role};
use crate::confchange;
use crate::error::{Error, Result};
use crate::log::{AppendPlan, MAX_INDEX};
use crate::message::{Message, MessageType};
use crate::progress::Progress;
use crate::storage::Storage;
use crate::tracker::{ProgressMap, Tracker, TrackerConfig};

/// What had to be found out about a message before it is taken.
pub(super) enum Examined {
    /// Nothing.
    Plain,
    /// [`MessageType::Hup`], [`MessageType::TimeoutNow`]: whether a configuration change is not
    /// applied yet.
    Campaign { blocked: bool },
    /// [`MessageType::Append`].
    Append(AppendPlan),
    /// [`MessageType::AppendResponse`]: from where on to probe.
    Probe { hint: u64 },
    /// [`MessageType::Snapshot`]: whether the log reaches it, and the members it brings.
    Snapshot { reached: bool, members: Box<(TrackerConfig, ProgressMap)> },
    /// [`MessageType::Heartbeat`]: how far it may commit.
    Heartbeat { commit: u64 },
}

impl<S: Storage> Raft<S> {
    /// Takes a message of any kind, from a peer or from the node itself. What it holds may be taken
    /// out of it.
    pub(crate) fn step(&mut self, m: &mut Message) -> Result<()> {
        let Some(kind) = m.kind() else {
            return Err(Error::UnknownMessage { msg_type: m.msg_type, from: m.from });
        };
        let examined = self.examine(kind, m)?;
        if m.term > self.term {
            if !self.enter_term(kind, m) {
                return Ok(());
            }
        } else if m.term != 0 && m.term < self.term {
            self.answer_old_term(kind, m);
            return Ok(());
        }
        self.dispatch(kind, m, examined)
    }

    /// A message that the node sends itself.
    pub(super) fn step_self(&mut self, kind: MessageType) -> Result<()> {
        self.step(&mut Message { msg_type: kind as i32, from: self.id(), ..Message::default() })
    }

    /// Judges a message, without changing anything.
    fn examine(&self, kind: MessageType, m: &Message) -> Result<Examined> {
        if m.term == u64::MAX {
            return Err(Error::Exhausted { what: "term", value: m.term });
        }
        if m.term != 0 && m.term < self.term {
            return Ok(Examined::Plain);
        }
        let same_term_leader = self.is_leader() && m.term <= self.term;
        match kind {
            MessageType::Append | MessageType::Heartbeat if same_term_leader => {
                Err(malformed(kind, m, "another leader of the same term", m.index))
            }
            // An application may send one by itself, from any member.
            MessageType::Snapshot if same_term_leader => Ok(Examined::Plain),
            MessageType::Append => self.examine_append(m),
            MessageType::Heartbeat => self.examine_heartbeat(m),
            MessageType::Snapshot => self.examine_snapshot(m),
            MessageType::AppendResponse if same_term_leader => self.examine_append_response(m),
            MessageType::Hup | MessageType::TimeoutNow
                if !same_term_leader && self.is_promotable() =>
            {
                self.check_campaign(self.term.max(m.term))?;
                let blocked = self.has_unapplied_conf_change()?;
                Ok(Examined::Campaign { blocked })
            }
            MessageType::HeartbeatResponse if !matches!(m.context.len(), 0 | 8) => {
                Err(malformed(kind, m, "the context is no count of reads", m.index))
            }
            MessageType::ReadIndex | MessageType::ReadIndexResponse if m.entries.len() != 1 => {
                Err(malformed(kind, m, "a read has exactly one entry", m.index))
            }
            MessageType::StorageApplyResponse
                if m.entries.last().is_some_and(|e| e.index > self.log.applying()) =>
            {
                Err(malformed(kind, m, "what is applied was not handed out", m.index))
            }
            MessageType::StorageAppendResponse if m.term > self.term => {
                Err(malformed(kind, m, "what is written was not handed out", m.index))
            }
            _ => Ok(Examined::Plain),
        }
    }

    fn examine_append(&self, m: &Message) -> Result<Examined> {
        let kind = MessageType::Append;
        let (mut index, mut term) = (m.index, m.log_term);
        for entry in &m.entries {
            if index >= MAX_INDEX || entry.index != index + 1 {
                return Err(malformed(kind, m, "entries are not contiguous", entry.index));
            }
            if entry.term < term || entry.term > m.term {
                return Err(malformed(kind, m, "terms of entries fall, or are to come", index));
            }
            (index, term) = (entry.index, entry.term);
        }
        if self.damaged.is_some() {
            return Ok(Examined::Plain);
        }
        let plan = self.log.plan_append(m.from, (m.index, m.log_term), &m.entries)?;
        Ok(Examined::Append(plan))
    }

    fn examine_heartbeat(&self, m: &Message) -> Result<Examined> {
        let last = self.log.last_index();
        if m.commit > last && self.damaged.is_none() {
            return Err(Error::CommitBeyondLog { from: m.from, commit: m.commit, last });
        }
        let commit = if self.damaged.is_some() { 0 } else { m.commit };
        Ok(Examined::Heartbeat { commit })
    }

    fn examine_snapshot(&self, m: &Message) -> Result<Examined> {
        let kind = MessageType::Snapshot;
        let Some(snapshot) = m.snapshot.as_deref() else {
            return Err(malformed(kind, m, "there is no snapshot in it", m.index));
        };
        let (index, term) = (snapshot.index(), snapshot.term());
        if index > MAX_INDEX {
            return Err(malformed(kind, m, "the index has no successor", index));
        }
        if term > m.term {
            return Err(malformed(kind, m, "the term is to come", index));
        }
        if index < self.log.committed() {
            return Ok(Examined::Plain);
        }
        let empty = Tracker::new(self.config.max_inflight_msgs, self.config.max_inflight_bytes);
        let members = confchange::restore(&empty, index, &snapshot.conf_state())?;
        let reached = self.damaged.is_none() && self.log.matches(index, term)?;
        Ok(Examined::Snapshot { reached, members: Box::new(members) })
    }

    fn examine_append_response(&self, m: &Message) -> Result<Examined> {
        let last = self.log.last_index();
        if !m.reject && m.index > last {
            let what = "acknowledges what was never sent";
            return Err(malformed(MessageType::AppendResponse, m, what, m.index));
        }
        let old = |progress: &Progress| progress.is_old_rejection(m.index);
        if m.reject && self.tracker.progress.get(m.from).is_none_or(old) {
            return Ok(Examined::Probe { hint: m.reject_hint });
        }
        // The follower's log has the hinted term at the hint: where ours is higher the two cannot
        // agree. So a term is skipped at a time, not an entry (paper, end of section 5.3).
        let hint = if m.reject && m.log_term > 0 {
            let from = m.reject_hint.min(last);
            if from < m.reject_hint {
                m.reject_hint
            } else {
                self.log.find_conflict_by_term(from, m.log_term)?.0
            }
        } else {
            m.reject_hint
        };
        Ok(Examined::Probe { hint })
    }

    /// A message of a higher term. Returns whether it is to be handled.
    fn enter_term(&mut self, kind: MessageType, m: &Message) -> bool {
        match kind {
            MessageType::Vote | MessageType::PreVote => {
                // Whoever hears from a leader does not help to depose it (thesis, section 4.2.3).
                if m.context != TRANSFER && self.in_lease() {
                    return false;
                }
                if kind == MessageType::Vote {
                    self.become_follower(m.term, NONE);
                }
            }
            // The term was only asked about.
            MessageType::PreVoteResponse if !m.reject => {}
            MessageType::Append | MessageType::Heartbeat | MessageType::Snapshot => {
                self.become_follower(m.term, m.from);
            }
            _ => self.become_follower(m.term, NONE),
        }
        true
    }

    /// A message of a lower term does nothing, but its sender may have to learn of the higher one.
    fn answer_old_term(&mut self, kind: MessageType, m: &Message) {
        let to = m.from;
        match kind {
            MessageType::Append | MessageType::Heartbeat
                if self.config.check_quorum || self.config.pre_vote =>
            {
                // A leader whose followers have moved on, because of this node: it would never hear
                // of the term, since with these options this node's campaigns are ignored.
                self.send(MessageType::AppendResponse, Message { to, ..Message::default() });
            }
            MessageType::PreVote => {
                let (term, reject) = (self.term, true);
                let answer = Message { to, term, reject, ..Message::default() };
                self.send(MessageType::PreVoteResponse, answer);
            }
            // Entries of an earlier term may have been replaced since, by others of the same index
            // and term; a snapshot stays what it is.
            MessageType::StorageAppendResponse => self.append_written(m),
            _ => {}
        }
    }

    fn dispatch(&mut self, kind: MessageType, m: &mut Message, examined: Examined) -> Result<()> {
        match (kind, examined) {
            (MessageType::Hup, Examined::Campaign { blocked }) => {
                let pre = self.config.pre_vote;
                self.hup(if pre { Campaign::PreElection } else { Campaign::Election }, blocked);
            }
            // Candidates campaign already.
            (MessageType::TimeoutNow, Examined::Campaign { blocked })
                if self.role == Role::Follower =>
            {
                self.hup(Campaign::Transfer, blocked);
            }
            (MessageType::Vote | MessageType::PreVote, _) => self.answer_candidate(kind, m),
            (MessageType::VoteResponse, _) if self.role == Role::Candidate => {
                self.handle_vote_response(m);
            }
            (MessageType::PreVoteResponse, _) if self.role == Role::PreCandidate => {
                self.handle_vote_response(m);
            }
            (MessageType::Append | MessageType::Heartbeat | MessageType::Snapshot, _)
                if self.is_leader() => {}
            (MessageType::Append, examined) => self.handle_append(m, examined),
            (MessageType::Heartbeat, Examined::Heartbeat { commit }) => {
                self.handle_heartbeat(m, commit);
            }
            (MessageType::Snapshot, examined) => self.handle_snapshot(m, examined),
            (MessageType::StorageAppendResponse, _) => self.append_written(m),
            (MessageType::StorageApplyResponse, _) => self.entries_applied(m),
            (MessageType::Propose, _) => return self.handle_proposal(m),
            (MessageType::ReadIndex, _) => return self.handle_read_index(m),
            (MessageType::ReadIndexResponse, _) => self.handle_read_index_response(m),
            (MessageType::TransferLeader, _) => self.handle_transfer(m),
            (MessageType::ForgetLeader, _) => self.handle_forget_leader(),
            (kind, examined) if self.is_leader() => self.dispatch_leader(kind, m, examined),
            _ => {}
        }
        Ok(())
    }

    /// What only a leader listens to.
    fn dispatch_leader(&mut self, kind: MessageType, m: &Message, examined: Examined) {
        match (kind, examined) {
            (MessageType::Beat, _) => self.broadcast_heartbeat(),
            (MessageType::CheckQuorum, _) => self.check_quorum(),
            (MessageType::AppendResponse, Examined::Probe { hint }) => {
                self.handle_append_response(m, hint);
            }
            (MessageType::HeartbeatResponse, _) => self.handle_heartbeat_response(m),
            (MessageType::SnapshotStatus, _) => self.handle_snapshot_status(m),
            (MessageType::Unreachable, _) => self.handle_unreachable(m),
            _ => {}
        }
    }
}

fn malformed(kind: MessageType, m: &Message, what: &'static str, index: u64) -> Error {
    Error::Malformed { kind, from: m.from, what, index }
}
