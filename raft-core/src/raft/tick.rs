//! Time: the only clock is how often the node is ticked.

use super::{NONE, Raft, Role};
use crate::error::Result;
use crate::message::MessageType;
use crate::storage::Storage;

impl<S: Storage> Raft<S> {
    /// One tick. Errors of the storage are kept for the next [`crate::RawNode::ready`].
    pub(crate) fn tick(&mut self) -> Result<()> {
        self.log.set_apply_away(false);
        match self.role {
            Role::Leader => {
                self.tick_leader();
                Ok(())
            }
            _ => self.tick_election(),
        }
    }

    fn tick_election(&mut self) -> Result<()> {
        self.election_elapsed = self.election_elapsed.saturating_add(1);
        if self.election_elapsed >= self.config.election_tick {
            self.booting = false;
        }
        if self.election_elapsed >= self.randomized_timeout && self.is_promotable() {
            self.election_elapsed = 0;
            return self.step_self(MessageType::Hup);
        }
        Ok(())
    }

    fn tick_leader(&mut self) {
        self.heartbeat_elapsed = self.heartbeat_elapsed.saturating_add(1);
        self.election_elapsed = self.election_elapsed.saturating_add(1);
        if self.election_elapsed >= self.config.election_tick {
            self.election_elapsed = 0;
            if self.config.check_quorum {
                self.check_quorum();
            }
            // Who has not caught up in an election timeout will not.
            if self.is_leader() && self.lead_transferee != NONE {
                self.abort_transfer();
            }
        }
        if self.is_leader() && self.heartbeat_elapsed >= self.config.heartbeat_tick {
            self.heartbeat_elapsed = 0;
            self.broadcast_heartbeat();
        }
    }
}
