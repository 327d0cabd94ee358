//! The follower's side of replication (paper, sections 5.3 and 7).

use std::mem;

use super::step::Examined;
use super::{NONE, Raft, Role};
use crate::error::Result;
use crate::log::AppendPlan;
use crate::message::{Message, MessageType, Snapshot};
use crate::storage::Storage;
use crate::tracker::{ProgressMap, TrackerConfig};

impl<S: Storage> Raft<S> {
    /// A message of the term's leader: whoever campaigned in it has lost.
    fn heed(&mut self, m: &Message) {
        if self.role != Role::Follower {
            self.become_follower(self.term, m.from);
        }
        self.election_elapsed = 0;
        self.booting = false;
        self.leader = m.from;
    }

    pub(super) fn handle_append(&mut self, m: &mut Message, examined: Examined) {
        self.heed(m);
        if self.wants_snapshot() {
            self.ask_for_snapshot();
            return;
        }
        let Examined::Append(plan) = examined else { return };
        let to = m.from;
        let answer = match plan {
            AppendPlan::Stale => Message { to, index: self.log.committed(), ..Message::default() },
            AppendPlan::Match { skip, last } => {
                let before = match skip.checked_sub(1).and_then(|i| m.entries.get(i)) {
                    Some(entry) => entry.term,
                    None => m.log_term,
                };
                self.log.append(m.entries.drain(skip..), Some(before));
                // Beyond the last entry of the message the logs may differ.
                self.log.commit_to(m.commit.min(last));
                Message { to, index: last, ..Message::default() }
            }
            AppendPlan::Mismatch { hint, hint_term } => Message {
                to,
                index: m.index,
                reject: true,
                reject_hint: hint,
                log_term: hint_term,
                ..Message::default()
            },
        };
        self.send(MessageType::AppendResponse, answer);
    }

    pub(super) fn handle_heartbeat(&mut self, m: &mut Message, commit: u64) {
        self.heed(m);
        self.log.commit_to(commit);
        // What a damaged node says does not count, not even towards a read's quorum.
        let context =
            if self.damaged.is_none() { mem::take(&mut m.context) } else { bytes::Bytes::new() };
        let answer = Message { to: m.from, context, ..Message::default() };
        self.send(MessageType::HeartbeatResponse, answer);
        // A leader that takes this node for caught up sends it nothing to be answered.
        self.ask_for_snapshot();
    }

    pub(super) fn handle_snapshot(&mut self, m: &mut Message, examined: Examined) {
        self.heed(m);
        let to = m.from;
        let restored = match (m.snapshot.take(), examined) {
            (Some(snapshot), Examined::Snapshot { reached, members }) => {
                self.restore(*snapshot, reached, *members)
            }
            _ => false,
        };
        if !restored && self.wants_snapshot() {
            self.ask_for_snapshot();
            return;
        }
        let index = if restored { self.log.last_index() } else { self.log.committed() };
        self.send(MessageType::AppendResponse, Message { to, index, ..Message::default() });
    }

    /// Replaces log and members by the snapshot's, unless the log is ahead of it. Returns whether
    /// that was done.
    fn restore(
        &mut self,
        snapshot: Snapshot,
        reached: bool,
        (config, progress): (TrackerConfig, ProgressMap),
    ) -> bool {
        let index = snapshot.index();
        // A snapshot that was asked for may be of what is committed already: it mends that. It
        // takes the place of the whole log, so it must cover all that was acknowledged.
        let wanted = self.snapshot_wanted();
        let useful = match wanted {
            Some(at_least) => index >= at_least,
            None => index > self.log.committed(),
        };
        if !useful {
            return false;
        }
        // One that does not have this node among its members must not make it forget that it is
        // one. Learners to be are outgoing voters as long as they are no learners.
        if !progress.contains(self.id()) {
            return false;
        }
        if reached && wanted.is_none() {
            // The log has all of it: only the news that it is committed is new.
            self.log.commit_to(index);
            return false;
        }
        self.log.restore(snapshot);
        self.restored = index;
        self.damaged = None;
        self.request_snapshot = 0;
        self.switch_to(config, progress);
        true
    }

    /// The least index of the snapshot that the node needs or has asked for: never below the last
    /// index, up to which it may have acknowledged.
    fn snapshot_wanted(&self) -> Option<u64> {
        let damaged = self.damaged.map(|d| d.high);
        let wanted = damaged.max(Some(self.request_snapshot).filter(|index| *index != 0));
        wanted.map(|index| index.max(self.log.last_index()))
    }

    pub(crate) fn wants_snapshot(&self) -> bool {
        self.snapshot_wanted().is_some()
    }

    /// Asks the leader for a snapshot instead of entries.
    pub(crate) fn ask_for_snapshot(&mut self) {
        let Some(at_least) = self.snapshot_wanted() else { return };
        if self.leader == NONE || self.is_leader() {
            return;
        }
        let below = self.damaged.map_or(self.log.committed(), |d| d.low - 1);
        let answer = Message {
            to: self.leader,
            index: below,
            reject: true,
            reject_hint: below,
            request_snapshot: at_least,
            ..Message::default()
        };
        self.send(MessageType::AppendResponse, answer);
    }

    /// Notes that the application wants a snapshot of at least `index`.
    pub(crate) fn request_snapshot(&mut self, index: u64) {
        self.request_snapshot = index.max(1);
        self.ask_for_snapshot();
    }

    /// The lost range is there again: if that is so, the node takes part as before.
    pub(crate) fn mark_whole(&mut self) -> Result<()> {
        let Some(damaged) = self.damaged else { return Ok(()) };
        for index in damaged.low..=damaged.high {
            self.log.storage().term(index)?;
        }
        self.log.refilled(self.stored_commit)?;
        self.damaged = None;
        if self.log.last_term() > self.term {
            self.become_follower(self.log.last_term(), NONE);
        }
        Ok(())
    }

    pub(super) fn handle_forget_leader(&mut self) {
        // A lease that others rely on must not be given up.
        let leased = self.config.read_only_option == crate::config::ReadOnlyOption::LeaseBased;
        if self.role == Role::Follower && !leased {
            self.leader = NONE;
        }
    }
}
