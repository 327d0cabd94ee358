//! Configuration changes: what may be proposed, and the switch when one is applied (thesis, chapter
//! 4; etcd switches at application, not at append).

use bytes::Bytes;
use prost::Message as _;

use super::{NONE, Raft};
use crate::confchange::{Changer, ConfChangeError};
use crate::error::{DropReason, Error, Result};
use crate::message::{
    ConfChange, ConfChangeTransition, ConfChangeV2, ConfState, Entry, EntryType, Message,
    MessageType,
};
use crate::storage::Storage;
use crate::tracker::{ProgressMap, TrackerConfig};

impl<S: Storage> Raft<S> {
    /// Puts an empty entry in the place of each change that may not be proposed now. Returns where
    /// the last that may is going to be.
    pub(super) fn judge_conf_changes(&self, entries: &mut [Entry]) -> Result<Option<u64>> {
        let mut pending = None;
        let first = self.log.last_index() + 1;
        for (entry, index) in entries.iter_mut().zip(first..) {
            let Some(change) = decode_conf_change(entry)? else { continue };
            let newest = pending.unwrap_or(self.pending_conf_index);
            let unapplied = newest > self.log.applied();
            let joint = self.tracker.config.voters.is_joint();
            let wants_leave = change.changes.is_empty();
            let refused = unapplied || (joint != wants_leave);
            if refused && !self.config.disable_conf_change_validation {
                let entry_type = Some(EntryType::Normal as i32);
                *entry = Entry { entry_type, ..Entry::default() };
            } else {
                pending = Some(index);
            }
        }
        Ok(pending)
    }

    /// A leader leaves a joint configuration by itself once it is applied, if the change said so.
    pub(super) fn leave_joint_if_due(&mut self) {
        let due = self.tracker.config.auto_leave
            && self.is_leader()
            && self.log.applied() >= self.pending_conf_index;
        if !due {
            return;
        }
        let entry_type = Some(EntryType::ConfChangeV2 as i32);
        let entries = vec![Entry { entry_type, ..Entry::default() }];
        let from = self.id();
        // Whatever keeps it from being proposed now, it is tried again when more is applied.
        let _ = self.step(&mut Message {
            msg_type: MessageType::Propose as i32,
            from,
            entries,
            ..Message::default()
        });
    }

    /// Applies the change at `index`, unless a snapshot has brought what it leads to, and perhaps
    /// more.
    pub(crate) fn apply_conf_change_at(
        &mut self,
        index: u64,
        change: &ConfChangeV2,
    ) -> Result<Option<ConfState>> {
        if index <= self.restored {
            return Ok(None);
        }
        self.apply_conf_change(change).map(Some)
    }

    /// Applies a change and returns what the configuration is then.
    pub(crate) fn apply_conf_change(&mut self, change: &ConfChangeV2) -> Result<ConfState> {
        if let Some(n) = change.transition.filter(|n| !ConfChangeTransition::is_valid(*n)) {
            return Err(ConfChangeError::UnknownTransition(n).into());
        }
        let changer = Changer::new(&self.tracker, self.log.last_index());
        let (config, progress) = if change.leaves_joint() {
            changer.leave_joint()?
        } else if let Some(auto_leave) = change.enters_joint() {
            changer.enter_joint(auto_leave, &change.changes)?
        } else {
            changer.simple(&change.changes)?
        };
        Ok(self.switch_to(config, progress))
    }

    /// Takes a configuration over.
    pub(super) fn switch_to(&mut self, config: TrackerConfig, progress: ProgressMap) -> ConfState {
        self.tracker.config = config;
        self.tracker.progress = progress;
        let conf_state = self.tracker.config.conf_state();
        let me = self.tracker.progress.get(self.id());
        let member = me.is_some_and(|p| !p.is_learner);
        if !self.is_leader() {
            return conf_state;
        }
        if !member {
            if self.config.step_down_on_removal {
                self.become_follower(self.term, NONE);
            }
            return conf_state;
        }
        if conf_state.voters.is_empty() {
            return conf_state;
        }
        // A quorum may be smaller than before.
        if self.maybe_commit() {
            self.release_postponed_reads();
            self.broadcast_append();
        } else {
            self.for_each_peer(|raft, to| {
                raft.maybe_send_append(to, false);
            });
        }
        self.confirm_reads();
        if self.lead_transferee != NONE
            && !self.tracker.config.voters.contains(self.lead_transferee)
        {
            self.abort_transfer();
        }
        conf_state
    }
}

impl Entry {
    /// The configuration change that the entry carries, of either kind; `None` if it carries none.
    ///
    /// # Errors
    /// [`DropReason::MalformedConfChange`] if it cannot be decoded, or has numbers that are not
    /// known.
    pub fn conf_change(&self) -> Result<Option<ConfChangeV2>> {
        decode_conf_change(self)
    }
}

/// The change in an entry; `None` for an entry of another type.
pub(crate) fn decode_conf_change(entry: &Entry) -> Result<Option<ConfChangeV2>> {
    let malformed = || Error::from(DropReason::MalformedConfChange);
    let kind = entry.entry_type.map_or(Ok(EntryType::Normal), EntryType::try_from);
    let change = match kind.map_err(|_| malformed())? {
        EntryType::Normal => return Ok(None),
        EntryType::ConfChange => {
            ConfChange::decode(entry.data.clone()).map_err(|_| malformed())?.into()
        }
        EntryType::ConfChangeV2 => {
            ConfChangeV2::decode(entry.data.clone()).map_err(|_| malformed())?
        }
    };
    if change.is_known() { Ok(Some(change)) } else { Err(malformed()) }
}

/// A change as an entry.
pub(crate) fn conf_change_entry(entry_type: EntryType, data: Bytes) -> Entry {
    Entry { entry_type: Some(entry_type as i32), data, ..Entry::default() }
}
