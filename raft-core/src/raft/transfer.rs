//! Leadership transfer (thesis, section 3.10).

use super::{NONE, Raft, Role};
use crate::message::{Message, MessageType};
use crate::storage::Storage;

impl<S: Storage> Raft<S> {
    /// `from` is to lead. A follower tells the leader; who campaigns ignores it.
    pub(super) fn handle_transfer(&mut self, m: &mut Message) {
        match self.role {
            Role::Leader => self.transfer_to(m.from),
            Role::Follower if self.leader != NONE => {
                m.to = self.leader;
                self.send(MessageType::TransferLeader, std::mem::take(m));
            }
            _ => {}
        }
    }

    fn transfer_to(&mut self, to: u64) {
        let Some(progress) = self.tracker.progress.get(to) else { return };
        let caught_up = progress.matched == self.log.last_index();
        if progress.is_learner || self.lead_transferee == to {
            return;
        }
        // Another target replaces the one before, even if it is the leader itself.
        self.abort_transfer();
        if to == self.id() {
            return;
        }
        // It has one election timeout to be done in.
        self.election_elapsed = 0;
        self.lead_transferee = to;
        if caught_up {
            self.send_timeout_now(to);
        } else {
            self.send_append(to);
        }
    }

    pub(super) fn send_timeout_now(&mut self, to: u64) {
        self.lease_spent = true;
        self.send(MessageType::TimeoutNow, Message { to, ..Message::default() });
    }

    pub(super) fn abort_transfer(&mut self) {
        self.lead_transferee = NONE;
    }
}
