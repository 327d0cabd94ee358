//! Elections (paper, section 5.2 and 5.4.1; thesis, sections 4.2.3 and 9.6).

use bytes::Bytes;

use super::{NONE, Raft, Role};
use crate::error::{Error, Result};
use crate::log::MAX_INDEX;
use crate::message::{Entry, EntryType, Message, MessageType};
use crate::quorum::VoteResult;
use crate::storage::{Fetch, Storage};

/// The context of a vote request that a transfer forces: nobody's lease holds it up.
pub(super) const TRANSFER: &[u8] = b"CampaignTransfer";

/// How a node came to campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Campaign {
    /// To learn whether it would win.
    PreElection,
    /// It would win, or does not ask.
    Election,
    /// The leader hands over.
    Transfer,
}

impl<S: Storage> Raft<S> {
    /// Whether the node could campaign in the term after `term`: there must be one, and room for
    /// the entry with which a leader begins.
    pub(super) fn check_campaign(&self, term: u64) -> Result<()> {
        // The greatest term of all is refused from everybody, also from oneself.
        if term >= u64::MAX - 1 {
            return Err(Error::Exhausted { what: "term", value: term });
        }
        if self.log.last_index() >= MAX_INDEX {
            return Err(Error::Exhausted { what: "index", value: self.log.last_index() });
        }
        Ok(())
    }

    /// Whether a configuration change is committed and not applied: until it is, the node does not
    /// know whose votes count.
    pub(super) fn has_unapplied_conf_change(&self) -> Result<bool> {
        let (mut low, high) = (self.log.applied() + 1, self.log.committed() + 1);
        let page = self.log.max_applying_bytes();
        while low < high {
            let entries = self.log.slice(low, high, page, Fetch::Scan)?;
            if entries.iter().any(is_conf_change) {
                return Ok(true);
            }
            low += entries.len() as u64;
        }
        Ok(false)
    }

    /// Campaigns, unless the node leads or cannot. `blocked` is what
    /// [`Raft::has_unapplied_conf_change`] says.
    pub(super) fn hup(&mut self, campaign: Campaign, blocked: bool) {
        if !self.is_leader() && self.is_promotable() && !blocked {
            self.campaign(campaign);
        }
    }

    pub(super) fn campaign(&mut self, campaign: Campaign) {
        let (request, response, term) = if campaign == Campaign::PreElection {
            self.become_pre_candidate();
            let (request, response) = (MessageType::PreVote, MessageType::PreVoteResponse);
            (request, response, self.term.saturating_add(1))
        } else {
            self.become_candidate();
            (MessageType::Vote, MessageType::VoteResponse, self.term)
        };
        let context = match campaign {
            Campaign::Transfer => Bytes::from_static(TRANSFER),
            Campaign::PreElection | Campaign::Election => Bytes::new(),
        };
        let (index, log_term) = (self.log.last_index(), self.log.last_term());
        let voters: Vec<u64> = self.tracker.voters().collect();
        for to in voters {
            let message = if to == self.id() {
                // Counts once it is durable, as everybody's.
                Message { to, term, ..Message::default() }
            } else {
                let (context, priority) = (context.clone(), self.config.priority);
                Message { to, term, log_term, index, context, priority, ..Message::default() }
            };
            self.send(if to == self.id() { response } else { request }, message);
        }
    }

    /// Whether the node would not know better than to keep its leader: it hears from one.
    pub(super) fn in_lease(&self) -> bool {
        self.config.check_quorum
            && (self.leader != NONE || self.booting)
            && self.election_elapsed < self.config.election_tick
    }

    /// Answers a candidate whose term is not below the own.
    pub(super) fn answer_candidate(&mut self, kind: MessageType, m: &Message) {
        let pre = kind == MessageType::PreVote;
        let response = if pre { MessageType::PreVoteResponse } else { MessageType::VoteResponse };
        let (to, from) = (m.from, self.id());
        if self.would_vote(pre, m) {
            // The term of the campaign, not the own: a pre-candidate's is one ahead of anybody's.
            self.send(response, Message { to, from, term: m.term, ..Message::default() });
            if !pre {
                self.election_elapsed = 0;
                self.vote = m.from;
            }
        } else {
            let (term, reject) = (self.term, true);
            self.send(response, Message { to, from, term, reject, ..Message::default() });
        }
    }

    /// Whether the node itself would be the better leader: by priority, with a log as good. Not if
    /// it could not be one, nor where the leader has chosen.
    fn outranks(&self, m: &Message) -> bool {
        let ahead = m.log_term > self.log.last_term() || m.index > self.log.last_index();
        m.priority < self.config.priority && !ahead && self.is_promotable() && m.context != TRANSFER
    }

    fn would_vote(&self, pre: bool, m: &Message) -> bool {
        let free = self.vote == m.from
            || (self.vote == NONE && self.leader == NONE)
            || (pre && m.term > self.term);
        free && !self.outranks(m)
            && self.damaged.is_none()
            && self.log.is_up_to_date(m.index, m.log_term)
    }

    /// A vote for, or against, the campaign of this node.
    pub(super) fn handle_vote_response(&mut self, m: &Message) {
        self.tracker.record_vote(m.from, !m.reject);
        let (_, _, result) = self.tracker.tally_votes();
        match result {
            VoteResult::Won if self.role == Role::PreCandidate => {
                self.campaign(Campaign::Election);
            }
            VoteResult::Won => {
                self.become_leader();
                self.broadcast_append();
            }
            VoteResult::Lost => self.become_follower(self.term, NONE),
            VoteResult::Pending => {}
        }
    }
}

pub(super) fn is_conf_change(entry: &Entry) -> bool {
    entry.entry_type() != EntryType::Normal
}
