//! The active configuration, and what a leader and a candidate know of its members.

use crate::ids::{IdMap, IdSet};
use crate::inflights::Inflights;
use crate::message::ConfState;
use crate::progress::Progress;
use crate::quorum::{JointConfig, VoteResult};
use std::fmt;

/// What a leader knows of each member, by id.
pub type ProgressMap = IdMap<Progress>;

/// Who is a member, and who of them has a vote.
///
/// `Display` is one line: `voters=(1 2)&&(1 3) learners=(4)`, ids in hexadecimal.
///
/// Invariant: `learners` has no voter of either half; `learners_next` has only outgoing voters;
/// unless joint, `learners_next` is empty and `auto_leave` is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackerConfig {
    /// Who decides.
    pub voters: JointConfig,
    /// Members without a vote.
    pub learners: IdSet,
    /// Outgoing voters that become learners when the joint configuration is left: until then they
    /// could not be both.
    pub learners_next: IdSet,
    /// Whether the leader leaves the joint configuration by itself.
    pub auto_leave: bool,
}

impl TrackerConfig {
    /// The configuration as it goes into snapshots.
    pub fn conf_state(&self) -> ConfState {
        ConfState {
            voters: self.voters.incoming.iter().collect(),
            learners: self.learners.iter().collect(),
            voters_outgoing: self.voters.outgoing.iter().collect(),
            learners_next: self.learners_next.iter().collect(),
            auto_leave: self.auto_leave,
        }
    }
}

impl fmt::Display for TrackerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("voters=")?;
        write_ids(f, self.voters.incoming.as_slice())?;
        if self.voters.is_joint() {
            f.write_str("&&")?;
            write_ids(f, self.voters.outgoing.as_slice())?;
        }
        if !self.learners.is_empty() {
            f.write_str(" learners=")?;
            write_ids(f, self.learners.as_slice())?;
        }
        if !self.learners_next.is_empty() {
            f.write_str(" learners_next=")?;
            write_ids(f, self.learners_next.as_slice())?;
        }
        if self.auto_leave {
            f.write_str(" autoleave")?;
        }
        Ok(())
    }
}

fn write_ids(f: &mut fmt::Formatter<'_>, ids: &[u64]) -> fmt::Result {
    f.write_str("(")?;
    for (nth, id) in ids.iter().enumerate() {
        let space = if nth == 0 { "" } else { " " };
        write!(f, "{space}{id:x}")?;
    }
    f.write_str(")")
}

/// The configuration with the progress of its members and the votes of an election.
#[derive(Clone, Debug)]
pub struct Tracker {
    /// Who is a member.
    pub config: TrackerConfig,
    /// What is known of each. Invariant: it has exactly the members of `config`.
    pub progress: ProgressMap,
    /// Who voted what in the current campaign.
    votes: IdMap<bool>,
    max_inflight: usize,
    max_inflight_bytes: u64,
}

impl Tracker {
    /// Of no members. At most `max_inflight` appends are to be under way to each that comes, with
    /// about `max_inflight_bytes` of payload, 0 for any.
    pub fn new(max_inflight: usize, max_inflight_bytes: u64) -> Self {
        Self {
            config: TrackerConfig::default(),
            progress: ProgressMap::new(),
            votes: IdMap::new(),
            max_inflight,
            max_inflight_bytes,
        }
    }

    /// An empty window of the configured size.
    pub fn new_inflights(&self) -> Inflights {
        Inflights::new(self.max_inflight, self.max_inflight_bytes)
    }

    /// Whether `id` is the only voter and decides alone.
    pub fn is_lone_voter(&self, id: u64) -> bool {
        self.config.voters.is_singleton() && self.config.voters.contains(id)
    }

    /// All voters, ascending.
    pub fn voters(&self) -> impl Iterator<Item = u64> {
        self.config.voters.ids()
    }

    /// All learners, ascending.
    pub fn learners(&self) -> impl ExactSizeIterator<Item = u64> + Clone {
        self.config.learners.iter()
    }

    /// The highest index that is known to be on a quorum.
    pub fn committed(&self) -> u64 {
        self.config.voters.committed_index(|id| self.progress.get(id).map(|member| member.matched))
    }

    /// Whether a quorum was heard from since the last check.
    pub fn quorum_active(&self) -> bool {
        let heard = |id| Some(self.progress.get(id).is_some_and(|member| member.recent_active));
        self.config.voters.vote_result(heard) == VoteResult::Won
    }

    /// Forgets all votes.
    pub fn reset_votes(&mut self) {
        self.votes.clear();
    }

    /// Notes a vote. The first of each node counts; whatever it says later is not heard.
    pub fn record_vote(&mut self, id: u64, granted: bool) {
        if !self.votes.contains(id) {
            self.votes.insert(id, granted);
        }
    }

    /// How many voters granted their vote and how many refused it, and what follows.
    pub fn tally_votes(&self) -> (usize, usize, VoteResult) {
        let votes = |id| self.votes.get(id).copied();
        let (mut granted, mut rejected) = (0, 0);
        for vote in self.voters().filter_map(votes) {
            if vote {
                granted += 1;
            } else {
                rejected += 1;
            }
        }
        (granted, rejected, self.config.voters.vote_result(votes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Voters 1 2 3, learner 4.
    fn tracker() -> Tracker {
        let mut tracker = Tracker::new(8, 0);
        tracker.config.voters.incoming = (1..=3).collect();
        tracker.config.learners.insert(4);
        for id in 1..=4 {
            let mut member = Progress::new(0, 1, tracker.new_inflights());
            member.is_learner = id == 4;
            tracker.progress.insert(id, member);
        }
        tracker
    }

    #[test]
    fn the_first_vote_of_a_node_counts_and_a_learners_does_not() {
        let mut tracker = tracker();
        tracker.record_vote(4, true);
        tracker.record_vote(9, true);
        tracker.record_vote(1, true);
        tracker.record_vote(2, false);
        tracker.record_vote(2, true);
        assert_eq!(tracker.tally_votes(), (1, 1, VoteResult::Pending));
        tracker.record_vote(3, true);
        assert_eq!(tracker.tally_votes(), (2, 1, VoteResult::Won));
        tracker.reset_votes();
        assert_eq!(tracker.tally_votes(), (0, 0, VoteResult::Pending));
    }

    #[test]
    fn a_quorum_of_voters_is_active_whatever_the_learners_are() {
        let mut tracker = tracker();
        let mut heard = |id: u64| {
            tracker.progress.get_mut(id).expect("a member").recent_active = true;
            tracker.quorum_active()
        };
        assert!(!heard(4));
        assert!(!heard(1));
        assert!(heard(3));
    }

    #[test]
    fn what_a_majority_of_voters_has_is_committed() {
        let mut tracker = tracker();
        for (id, matched) in [(1, 9), (2, 5), (3, 3), (4, 9)] {
            tracker.progress.get_mut(id).expect("a member").matched = matched;
        }
        assert_eq!(tracker.committed(), 5);
        tracker.config.voters.outgoing = [3].into_iter().collect();
        assert_eq!(tracker.committed(), 3);
    }

    #[test]
    fn the_line_for_people_leaves_out_what_is_empty() {
        let mut config = TrackerConfig::default();
        assert_eq!(config.to_string(), "voters=()");
        config.voters.incoming = [1, 26].into_iter().collect();
        assert_eq!(config.to_string(), "voters=(1 1a)");
        config.voters.outgoing = [1, 3].into_iter().collect();
        config.learners.insert(4);
        config.learners_next.insert(3);
        config.auto_leave = true;
        let line = "voters=(1 1a)&&(1 3) learners=(4) learners_next=(3) autoleave";
        assert_eq!(config.to_string(), line);
    }
}
