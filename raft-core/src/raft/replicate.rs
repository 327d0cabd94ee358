//! The leader's side of replication: what is sent to whom, and what is committed (paper, sections
//! 5.3 and 5.4.2; thesis, section 10.2.1).

use std::mem;

use super::{NONE, Raft};
use crate::log::payload_size;
use crate::message::{Entry, Message, MessageType};
use crate::progress::ProgressState;
use crate::storage::{Fetch, Storage, StorageError};

impl<S: Storage> Raft<S> {
    /// Sends entries, or at least the commit index, to everybody who may be sent to.
    pub(super) fn broadcast_append(&mut self) {
        self.for_each_peer(|raft, to| {
            raft.send_append(to);
        });
    }

    /// Calls `f` for every member but the node itself.
    pub(super) fn for_each_peer(&mut self, mut f: impl FnMut(&mut Self, u64)) {
        // By position: members do not change meanwhile, and a copy of their ids would be made for
        // every append.
        for at in 0..self.tracker.progress.len() {
            if let Some(id) = self.tracker.progress.id_at(at)
                && id != self.config.id
            {
                f(self, id);
            }
        }
    }

    /// Sends an append to `to`, unless it is paused; without entries if there are none to send.
    pub(crate) fn send_append(&mut self, to: u64) {
        self.maybe_send_append(to, true);
    }

    /// Sends entries to `to` as long as there are some and it may be sent to.
    pub(crate) fn send_appends(&mut self, to: u64) {
        while self.maybe_send_append(to, false) {}
    }

    /// Sends an append to `to` if it may be sent to; one without entries only if `empty` says so.
    /// Returns whether something was sent.
    pub(super) fn maybe_send_append(&mut self, to: u64, empty: bool) -> bool {
        let Some(progress) = self.tracker.progress.get(to) else { return false };
        if progress.is_paused() {
            return false;
        }
        let next = progress.next;
        // With a full window only an empty append goes out: its answer tells what arrived.
        let full = progress.state == ProgressState::Replicate && progress.inflights.full();
        let log_term = match self.log.term(next - 1) {
            Ok(term) => term,
            Err(e) => return self.append_unreadable(to, e),
        };
        if !empty && (full || next > self.log.last_index()) {
            return false;
        }
        let max = self.config.max_size_per_msg;
        let mut entries = mem::take(&mut self.spare_entries);
        let mut encoded = 0;
        if !full {
            match self.log.entries(&mut entries, next, max, Fetch::Append { to }) {
                Ok(bytes) => encoded = bytes,
                Err(e) => return self.append_unreadable(to, e),
            }
        }
        let (count, bytes, commit) = (entries.len(), payload_size(&entries), self.log.committed());
        self.queue_append(to, (next - 1, log_term), entries, encoded);
        if let Some(progress) = self.tracker.progress.get_mut(to) {
            progress.sent_entries(count, bytes);
            progress.sent_commit(commit);
        }
        true
    }

    /// Queues an append of `entries`, of `encoded` bytes, behind `(index, log_term)`.
    fn queue_append(
        &mut self,
        to: u64,
        (index, log_term): (u64, u64),
        mut entries: Vec<Entry>,
        encoded: u64,
    ) {
        let commit = self.log.committed();
        if self.config.batch_append {
            if self.lengthen_append(to, index, &mut entries, encoded) {
                self.spare_entries = entries;
                return;
            }
            self.queued_bytes.insert(to, encoded);
        }
        let append = Message { to, log_term, index, entries, commit, ..Message::default() };
        self.send(MessageType::Append, append);
    }

    /// Moves entries into an append to `to` that waits to be sent and ends at `index`, if together
    /// they are not too large.
    fn lengthen_append(
        &mut self,
        to: u64,
        index: u64,
        entries: &mut Vec<Entry>,
        encoded: u64,
    ) -> bool {
        let commit = self.log.committed();
        let max = self.config.max_size_per_msg;
        let queued = self.msgs.iter_mut().rev().find(|m| m.to == to);
        let Some(queued) = queued.filter(|m| m.msg_type == MessageType::Append as i32) else {
            return false;
        };
        if queued.entries.is_empty() || queued.index + queued.entries.len() as u64 != index {
            return false;
        }
        // An append that waits is the last that was queued for its receiver.
        let Some(bytes) = self.queued_bytes.get_mut(to) else { return false };
        if bytes.saturating_add(encoded) > max {
            return false;
        }
        *bytes += encoded;
        queued.entries.append(entries);
        queued.commit = commit;
        true
    }

    /// The entries for `to`, or the term before them, cannot be read.
    fn append_unreadable(&mut self, to: u64, error: StorageError) -> bool {
        match error {
            StorageError::Compacted | StorageError::Unavailable => self.maybe_send_snapshot(to, 0),
            // The application says when they are there.
            StorageError::LogTemporarilyUnavailable => false,
            other => {
                self.read_error = Some(other);
                false
            }
        }
    }

    /// Sends a snapshot of at least `at_least` to `to` if it is alive and there is one. Returns
    /// whether it was sent.
    fn maybe_send_snapshot(&mut self, to: u64, at_least: u64) -> bool {
        let Some(progress) = self.tracker.progress.get_mut(to) else { return false };
        if !progress.recent_active {
            return false;
        }
        let snapshot = match self.log.snapshot(at_least, to) {
            Ok(snapshot) => snapshot,
            Err(e) => {
                if !e.is_temporary() {
                    self.read_error = Some(e);
                }
                return false;
            }
        };
        progress.become_snapshot(snapshot.index());
        progress.pending_request_snapshot = 0;
        let snapshot = Some(Box::new(snapshot));
        self.send(MessageType::Snapshot, Message { to, snapshot, ..Message::default() });
        true
    }

    pub(super) fn broadcast_heartbeat(&mut self) {
        let context = self.reads.context();
        self.for_each_peer(|raft, to| {
            let Some(progress) = raft.tracker.progress.get_mut(to) else { return };
            // Never beyond what matches: the follower might commit entries that differ from ours.
            let commit = progress.matched.min(raft.log.committed());
            progress.sent_commit(commit);
            let context = context.clone();
            let heartbeat = Message { to, commit, context, ..Message::default() };
            raft.send(MessageType::Heartbeat, heartbeat);
        });
    }

    /// Commits what a quorum has, if it is of the own term: entries of earlier terms are committed
    /// by those behind them (paper, section 5.4.2). Returns whether anything was.
    pub(super) fn maybe_commit(&mut self) -> bool {
        let index = self.tracker.committed();
        if index <= self.log.committed() || index < self.term_start || index > self.log.last_index()
        {
            return false;
        }
        self.log.commit_to(index);
        true
    }

    /// `hint` is the highest index at which a log that rejects may agree with ours.
    pub(super) fn handle_append_response(&mut self, m: &Message, hint: u64) {
        let Some(progress) = self.tracker.progress.get_mut(m.from) else { return };
        progress.recent_active = true;
        if m.reject && m.request_snapshot != 0 {
            progress.pending_request_snapshot = m.request_snapshot;
            let under_way = progress.state == ProgressState::Snapshot
                && progress.pending_snapshot >= m.request_snapshot;
            if !under_way {
                self.maybe_send_snapshot(m.from, m.request_snapshot);
            }
        } else if m.reject {
            if progress.maybe_decr_to(m.index, hint) {
                if progress.state == ProgressState::Replicate {
                    progress.become_probe();
                }
                self.send_append(m.from);
            }
        } else {
            self.acknowledged(m.from, m.index);
        }
    }

    /// The first `count` of the leader's own appends, handed out in `term`, are durable.
    pub(crate) fn own_appends_written(&mut self, term: u64, count: usize) {
        // In another role or term there are others, or none.
        if term != self.term || !self.is_leader() {
            return;
        }
        let mut appends = mem::take(&mut self.own_appends);
        let count = count.min(appends.len());
        // Where nobody is to be told what each of them commits, the last is enough.
        let skip = if self.tracker.progress.len() == 1 { count.saturating_sub(1) } else { 0 };
        for index in appends.drain(..count).skip(skip) {
            self.acknowledged(self.id(), index);
        }
        self.own_appends = appends;
    }

    /// `from` has everything up to `index`.
    fn acknowledged(&mut self, from: u64, index: u64) {
        let Some(progress) = self.tracker.progress.get_mut(from) else { return };
        progress.pending_request_snapshot = 0;
        let news = progress.maybe_update(index);
        // A probe that brings no news still tells that the logs match; so does a snapshot that was
        // asked for though the log reached it.
        let confirms = progress.matched == index
            && match progress.state {
                ProgressState::Probe => true,
                ProgressState::Snapshot => progress.pending_snapshot <= index,
                ProgressState::Replicate => false,
            };
        if !(news || confirms) {
            return;
        }
        match progress.state {
            ProgressState::Probe => progress.become_replicate(),
            ProgressState::Replicate => progress.inflights.free_le(index),
            // Whatever snapshot it was, the log goes on from there.
            ProgressState::Snapshot => {
                if self.log.first_index().is_ok_and(|first| progress.matched + 1 >= first) {
                    progress.become_probe();
                    progress.become_replicate();
                }
            }
        }
        let can_bump = progress.can_bump_commit(self.log.committed());
        if index > self.log.committed() && self.maybe_commit() {
            self.release_postponed_reads();
            self.broadcast_append();
        } else if from != self.id() && can_bump {
            self.send_append(from);
        }
        if from == self.id() {
            return;
        }
        // The window has room again, or the size limit made several messages of what waits.
        self.send_appends(from);
        if from == self.lead_transferee
            && self.tracker.progress.get(from).is_some_and(|p| p.matched == self.log.last_index())
        {
            self.send_timeout_now(from);
        }
    }

    pub(super) fn handle_heartbeat_response(&mut self, m: &Message) {
        let last = self.log.last_index();
        let Some(progress) = self.tracker.progress.get_mut(m.from) else { return };
        progress.recent_active = true;
        progress.msg_app_flow_paused = false;
        let wanted = progress.pending_request_snapshot;
        let behind = progress.matched < last || progress.state == ProgressState::Probe;
        let to_send = wanted != 0 && progress.state != ProgressState::Snapshot;
        // One that does not want it any more takes an append; one that still does says so again.
        let sent = to_send && self.maybe_send_snapshot(m.from, wanted);
        if !sent && behind {
            self.send_append(m.from);
        }
        self.handle_read_ack(m);
    }

    pub(super) fn handle_snapshot_status(&mut self, m: &Message) {
        let Some(progress) = self.tracker.progress.get_mut(m.from) else { return };
        if progress.state != ProgressState::Snapshot {
            return;
        }
        if m.reject {
            progress.pending_snapshot = 0;
        }
        progress.become_probe();
        // It has to install what came, or to come back: its next answer to a heartbeat tells.
        progress.msg_app_flow_paused = true;
    }

    pub(super) fn handle_unreachable(&mut self, m: &Message) {
        let Some(progress) = self.tracker.progress.get_mut(m.from) else { return };
        // Of what was sent ahead something is lost, most likely.
        if progress.state == ProgressState::Replicate {
            progress.become_probe();
        }
    }

    /// Steps down unless a quorum was heard from since the last time.
    pub(super) fn check_quorum(&mut self) {
        if !self.is_leader() {
            return;
        }
        if !self.tracker.quorum_active() {
            self.become_follower(self.term, NONE);
        }
        let me = self.id();
        for (id, progress) in self.tracker.progress.iter_mut() {
            if id != me {
                progress.recent_active = false;
            }
        }
    }
}
