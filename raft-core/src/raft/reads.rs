//! Linearizable reads without writing to the log (thesis, section 6.4).
//!
//! A read is answered with an index: a state machine that has applied it has everything that was
//! acknowledged before the read began. The leader notes its commit index and makes sure, by a round
//! of heartbeats, that it still led then. Heartbeats carry how many reads there have been so far;
//! whoever answers with that count has confirmed all of them.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{NONE, Raft, Role};
use crate::config::ReadOnlyOption;
use crate::error::{Error, ReadDropReason, Result};
use crate::ids::IdMap;
use crate::message::{Message, MessageType};
use crate::storage::Storage;

/// A read may be served from a state machine that has applied `index`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadState {
    /// What must be applied first.
    pub index: u64,
    /// What the caller gave to tell its reads apart.
    pub context: Bytes,
}

/// Reads that wait for a quorum. Lives as long as a leader leads.
#[derive(Debug, Default)]
pub(crate) struct ReadOnly {
    /// Requests, and the commit index when each came.
    waiting: VecDeque<(Message, u64)>,
    /// How many were confirmed; the count of the last that waits is this plus their number.
    confirmed: u64,
    /// The highest count that each member has answered.
    acks: IdMap<u64>,
}

impl ReadOnly {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn count(&self) -> u64 {
        self.confirmed + self.waiting.len() as u64
    }

    /// What heartbeats carry while reads wait: the count, eight bytes, the lowest first.
    pub(super) fn context(&self) -> Bytes {
        if self.waiting.is_empty() {
            return Bytes::new();
        }
        Bytes::copy_from_slice(&self.count().to_le_bytes())
    }

    fn add(&mut self, request: Message, index: u64) {
        self.waiting.push_back((request, index));
    }

    fn ack(&mut self, id: u64, count: u64) {
        // Nobody can have seen a count that was never sent.
        let count = count.min(self.count());
        match self.acks.get_mut(id) {
            Some(highest) => *highest = count.max(*highest),
            None => {
                self.acks.insert(id, count);
            }
        }
    }

    /// The next read of the first `count` ones.
    fn confirm(&mut self, count: u64) -> Option<(Message, u64)> {
        if self.confirmed >= count {
            return None;
        }
        let read = self.waiting.pop_front()?;
        self.confirmed += 1;
        Some(read)
    }
}

impl<S: Storage> Raft<S> {
    pub(super) fn handle_read_index(&mut self, m: &mut Message) -> Result<()> {
        match self.role {
            Role::Leader => self.lead_read(std::mem::take(m)),
            Role::Follower if self.leader != NONE => {
                m.to = self.leader;
                self.send(MessageType::ReadIndex, std::mem::take(m));
                Ok(())
            }
            _ => Err(Error::ReadDropped(ReadDropReason::NoLeader)),
        }
    }

    fn lead_read(&mut self, m: Message) -> Result<()> {
        // Until then an earlier leader may have committed more than is known here; even if that was
        // this node, alone, before a restart.
        if !self.committed_in_term() {
            if self.postponed_reads.len() >= self.config.max_postponed_reads {
                return Err(Error::ReadDropped(ReadDropReason::TooManyPostponed));
            }
            self.postponed_reads.push_back(m);
            return Ok(());
        }
        if self.reads.len() >= self.config.max_postponed_reads {
            return Err(Error::ReadDropped(ReadDropReason::TooManyUnconfirmed));
        }
        self.begin_read(m);
        Ok(())
    }

    fn begin_read(&mut self, m: Message) {
        let index = self.log.committed();
        // Who was told to campaign may have been elected in spite of the lease.
        let leased = self.config.read_only_option == ReadOnlyOption::LeaseBased
            && self.lead_transferee == NONE
            && !self.lease_spent;
        if leased || self.tracker.is_lone_voter(self.id()) {
            self.answer_read(m, index);
            return;
        }
        self.reads.add(m, index);
        self.reads.ack(self.config.id, self.reads.count());
        self.broadcast_heartbeat();
        // The leader alone may be a quorum: nobody's answer would confirm anything.
        self.confirm_reads();
    }

    /// Whether an entry of the leader's own term is committed.
    fn committed_in_term(&self) -> bool {
        self.log.committed() >= self.term_start
    }

    /// Takes up the reads that waited for the leader's first commit.
    pub(super) fn release_postponed_reads(&mut self) {
        if self.committed_in_term() {
            for m in std::mem::take(&mut self.postponed_reads) {
                self.begin_read(m);
            }
        }
    }

    /// A member has answered a heartbeat: reads up to the count in it have its word.
    pub(super) fn handle_read_ack(&mut self, m: &Message) {
        let Ok(count) = <[u8; 8]>::try_from(m.context.as_ref()) else { return };
        self.reads.ack(m.from, u64::from_le_bytes(count));
        self.confirm_reads();
    }

    /// Answers the reads that a quorum has confirmed.
    pub(super) fn confirm_reads(&mut self) {
        let reads = &self.reads;
        let confirmed =
            self.tracker.config.voters.committed_index(|id| reads.acks.get(id).copied());
        while let Some((request, index)) = self.reads.confirm(confirmed) {
            self.answer_read(request, index);
        }
    }

    fn answer_read(&mut self, mut m: Message, index: u64) {
        if m.from == NONE || m.from == self.id() {
            let context = m.entries.pop().map_or_else(Bytes::new, |e| e.data);
            self.read_states.push(ReadState { index, context });
            return;
        }
        let answer = Message { to: m.from, index, entries: m.entries, ..Message::default() };
        self.send(MessageType::ReadIndexResponse, answer);
    }

    pub(super) fn handle_read_index_response(&mut self, m: &mut Message) {
        if self.role == Role::Follower {
            let context = m.entries.pop().map_or_else(Bytes::new, |e| e.data);
            self.read_states.push(ReadState { index: m.index, context });
        }
    }
}
