//! Proposals: entries that the leader appends, and others forward to it.

use std::mem;

use super::{NONE, Raft, Role};
use crate::error::{DropReason, Result};
use crate::log::{MAX_INDEX, payload_size};
use crate::message::{Entry, Message, MessageType};
use crate::storage::Storage;

impl<S: Storage> Raft<S> {
    pub(super) fn handle_proposal(&mut self, m: &mut Message) -> Result<()> {
        self.propose_for(m.from, &mut m.entries)
    }

    /// Proposes entries of the node's own application, and leaves empty ones behind.
    pub(crate) fn propose(&mut self, entries: &mut [Entry]) -> Result<()> {
        self.propose_for(self.id(), entries)
    }

    fn propose_for(&mut self, from: u64, entries: &mut [Entry]) -> Result<()> {
        if entries.is_empty() {
            return Err(DropReason::Empty.into());
        }
        match self.role {
            Role::Leader => self.lead_proposal(entries),
            Role::Follower if self.leader != NONE => self.forward(from, entries),
            _ => Err(DropReason::NoLeader.into()),
        }
    }

    fn forward(&mut self, from: u64, entries: &mut [Entry]) -> Result<()> {
        if self.config.disable_proposal_forwarding {
            return Err(DropReason::NotForwarded.into());
        }
        let entries = entries.iter_mut().map(mem::take).collect();
        let to = self.leader;
        self.send(MessageType::Propose, Message { to, from, entries, ..Message::default() });
        Ok(())
    }

    fn lead_proposal(&mut self, entries: &mut [Entry]) -> Result<()> {
        if !self.tracker.progress.contains(self.id()) {
            return Err(DropReason::NotMember.into());
        }
        if self.lead_transferee != NONE {
            return Err(DropReason::Transferring.into());
        }
        if MAX_INDEX - self.log.last_index() < entries.len() as u64 {
            return Err(DropReason::LogFull.into());
        }
        // A change counts as pending from here on, even if there is no room for it: as in etcd.
        let pending = self.judge_conf_changes(entries)?;
        self.pending_conf_index = pending.unwrap_or(self.pending_conf_index);
        let bytes = payload_size(entries);
        if !self.has_room_for(bytes) {
            return Err(DropReason::TooMuchUncommitted.into());
        }
        self.append_entries(entries, bytes);
        self.broadcast_append();
        Ok(())
    }

    /// Whether so many bytes of payload may be added. A first proposal always may, and so may empty
    /// ones: those the leader itself must be able to make.
    fn has_room_for(&self, bytes: u64) -> bool {
        let (max, now) = (self.config.max_uncommitted_size, self.uncommitted_size);
        max == 0 || bytes == 0 || now == 0 || now.saturating_add(bytes) <= max
    }

    /// The entry with which a leader begins its term.
    pub(super) fn append_empty_entry(&mut self) {
        self.append_entries(&mut [Entry::default()], 0);
    }

    fn append_entries(&mut self, entries: &mut [Entry], bytes: u64) {
        let before = self.log.last_index();
        for (entry, index) in entries.iter_mut().zip(before + 1..) {
            entry.term = self.term;
            entry.index = index;
        }
        self.uncommitted_size = self.uncommitted_size.saturating_add(bytes);
        let before = Some(self.log.last_term());
        self.log.append(entries.iter_mut().map(mem::take), before);
        // The leader counts itself once the entries are durable here, as it counts the others.
        let (to, index) = (self.id(), self.log.last_index());
        if self.config.async_storage_writes {
            self.send(MessageType::AppendResponse, Message { to, index, ..Message::default() });
        } else {
            self.own_appends.push(index);
        }
    }
}
