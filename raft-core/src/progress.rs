//! What a leader knows of a follower's log, and how it sends to it.

use crate::inflights::Inflights;
use std::fmt;

/// How a leader sends entries to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProgressState {
    /// One append at a time, until the place is found from which the logs agree.
    Probe,
    /// Ahead of the answers, as far as the window allows.
    Replicate,
    /// Not at all: it needs a snapshot first, which is under way.
    Snapshot,
}

impl fmt::Display for ProgressState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Probe => "StateProbe",
            Self::Replicate => "StateReplicate",
            Self::Snapshot => "StateSnapshot",
        })
    }
}

/// A leader's view of one member, itself included.
///
/// Invariant: `matched < next`; in [`ProgressState::Snapshot`] `next` is behind the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The highest index up to which its log is known to be the leader's.
    pub(crate) matched: u64,
    /// The index of the next entry to send. All below is sent or under way.
    pub(crate) next: u64,
    /// The highest commit index in any message under way to it. It does not tell what arrived, only
    /// whether another message could help.
    pub(crate) sent_commit: u64,
    pub(crate) state: ProgressState,
    /// In [`ProgressState::Snapshot`] the index of the snapshot under way, else 0.
    pub(crate) pending_snapshot: u64,
    /// Whether it was heard from since the last check of the quorum.
    pub(crate) recent_active: bool,
    /// Whether appends wait: for the answer to a probe, or for room in the window. A heartbeat's
    /// answer lets one go.
    pub(crate) msg_app_flow_paused: bool,
    pub(crate) is_learner: bool,
    /// Used in [`ProgressState::Replicate`] only.
    pub(crate) inflights: Inflights,
    /// The index of the snapshot that the follower itself asked for; 0 none.
    pub(crate) pending_request_snapshot: u64,
}

impl Progress {
    /// Of a member of whom nothing is known but that it has the entries up to `matched`; `next`
    /// must be above that.
    pub fn new(matched: u64, next: u64, inflights: Inflights) -> Self {
        debug_assert!(matched < next);
        Self {
            matched,
            next: next.max(matched.saturating_add(1)),
            sent_commit: 0,
            state: ProgressState::Probe,
            pending_snapshot: 0,
            recent_active: false,
            msg_app_flow_paused: false,
            is_learner: false,
            inflights,
            pending_request_snapshot: 0,
        }
    }

    /// Enters `state`, with nothing under way.
    pub(crate) fn reset_state(&mut self, state: ProgressState) {
        self.state = state;
        self.msg_app_flow_paused = false;
        self.pending_snapshot = 0;
        self.inflights.reset();
    }

    /// Forgets what an earlier role or term has taught, but not whether it is a learner.
    pub(crate) fn restart(&mut self, matched: u64, next: u64) {
        self.reset_state(ProgressState::Probe);
        self.matched = matched;
        self.next = next.max(matched + 1);
        self.sent_commit = 0;
        self.recent_active = false;
        self.pending_request_snapshot = 0;
    }

    /// Probes from behind what is known to match; after a snapshot, from behind that.
    pub(crate) fn become_probe(&mut self) {
        // Outside of the state for it, the pending snapshot is 0.
        self.next = self.matched.max(self.pending_snapshot) + 1;
        self.reset_state(ProgressState::Probe);
        self.sent_commit = self.sent_commit.min(self.next - 1);
    }

    /// Sends ahead from behind what is known to match.
    pub(crate) fn become_replicate(&mut self) {
        self.reset_state(ProgressState::Replicate);
        self.next = self.matched + 1;
    }

    /// Waits for the snapshot of `index` to arrive.
    pub(crate) fn become_snapshot(&mut self, index: u64) {
        self.reset_state(ProgressState::Snapshot);
        self.pending_snapshot = index;
        // One that was asked for may be of less than what matches.
        self.next = index.max(self.matched) + 1;
        self.sent_commit = index;
    }

    /// Notes that an append with `entries` entries and `bytes` of payload was sent. Not to be
    /// called in [`ProgressState::Snapshot`].
    pub(crate) fn sent_entries(&mut self, entries: usize, bytes: u64) {
        match self.state {
            ProgressState::Replicate => {
                if entries > 0 {
                    self.next += entries as u64;
                    self.inflights.add(self.next - 1, bytes);
                }
                self.msg_app_flow_paused = self.inflights.full();
            }
            // An empty probe does not pause: what an answer would tell may be needed sooner.
            ProgressState::Probe => self.msg_app_flow_paused |= entries > 0,
            ProgressState::Snapshot => {
                debug_assert!(false, "an append was sent while a snapshot is under way");
            }
        }
    }

    /// Notes that `commit` was sent.
    pub(crate) fn sent_commit(&mut self, commit: u64) {
        self.sent_commit = commit;
    }

    /// Whether sending the commit index `index` could raise that of the follower, once all that is
    /// under way arrives.
    pub(crate) fn can_bump_commit(&self, index: u64) -> bool {
        index > self.sent_commit && self.sent_commit < self.next - 1
    }

    /// Takes an acknowledgement of `index`; false if it is old news.
    pub(crate) fn maybe_update(&mut self, index: u64) -> bool {
        if index <= self.matched {
            return false;
        }
        self.matched = index;
        self.next = self.next.max(index + 1);
        self.msg_app_flow_paused = false;
        true
    }

    /// Whether the rejection of an append behind `rejected` is old news.
    pub(crate) fn is_old_rejection(&self, rejected: u64) -> bool {
        match self.state {
            ProgressState::Replicate => rejected <= self.matched,
            // A probe asks with the entry before `next`: an answer about another one is late.
            ProgressState::Probe | ProgressState::Snapshot => rejected != self.next - 1,
        }
    }

    /// Takes the rejection of an append behind `rejected`, from a follower whose log may agree up
    /// to `hint`; false if it is old news. Otherwise `next` is where to try.
    pub(crate) fn maybe_decr_to(&mut self, rejected: u64, hint: u64) -> bool {
        if self.is_old_rejection(rejected) {
            return false;
        }
        if self.state == ProgressState::Replicate {
            // Something on the way was lost; what was acknowledged stays so.
            self.next = self.matched + 1;
        } else {
            self.next = rejected.min(hint.saturating_add(1)).max(self.matched + 1);
            self.msg_app_flow_paused = false;
        }
        self.sent_commit = self.sent_commit.min(self.next - 1);
        true
    }

    /// Whether appends with entries have to wait.
    pub(crate) fn is_paused(&self) -> bool {
        self.msg_app_flow_paused || self.state == ProgressState::Snapshot
    }
}

/// A copy of what a leader knows of a member, for people and metrics.
///
/// `Display` is one line: `StateReplicate match=4 next=5 inflight=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each shown by itself")]
pub struct ProgressStatus {
    /// The highest index up to which its log is known to be the leader's.
    pub matched: u64,
    /// The index of the next entry to send.
    pub next: u64,
    /// How entries are sent.
    pub state: ProgressState,
    /// Whether it has no vote.
    pub is_learner: bool,
    /// Whether appends with entries wait for an answer.
    pub paused: bool,
    /// The index of the snapshot under way to it; 0 none.
    pub pending_snapshot: u64,
    /// Whether it was heard from since the last check of the quorum.
    pub recent_active: bool,
    /// How many appends are under way.
    pub inflight: usize,
    /// Whether the window is full.
    pub inflight_full: bool,
}

impl From<&Progress> for ProgressStatus {
    fn from(progress: &Progress) -> Self {
        Self {
            matched: progress.matched,
            next: progress.next,
            state: progress.state,
            is_learner: progress.is_learner,
            paused: progress.is_paused(),
            pending_snapshot: progress.pending_snapshot,
            recent_active: progress.recent_active,
            inflight: progress.inflights.count(),
            inflight_full: progress.inflights.full(),
        }
    }
}

impl fmt::Display for ProgressStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} match={} next={}", self.state, self.matched, self.next)?;
        if self.is_learner {
            f.write_str(" learner")?;
        }
        if self.paused {
            f.write_str(" paused")?;
        }
        if self.pending_snapshot > 0 {
            write!(f, " pendingSnap={}", self.pending_snapshot)?;
        }
        if !self.recent_active {
            f.write_str(" inactive")?;
        }
        if self.inflight > 0 {
            write!(f, " inflight={}", self.inflight)?;
            if self.inflight_full {
                f.write_str("[full]")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(matched: u64, next: u64) -> Progress {
        Progress::new(matched, next, Inflights::new(2, 0))
    }

    #[test]
    fn a_probe_with_entries_pauses_and_an_empty_one_does_not() {
        let mut member = progress(0, 1);
        member.sent_entries(0, 0);
        assert!(!member.is_paused());
        member.sent_entries(3, 30);
        assert!(member.is_paused());
        member.sent_entries(0, 0);
        assert!(member.is_paused());
        assert_eq!((member.next, member.inflights.count()), (1, 0));
    }

    #[test]
    fn replication_runs_ahead_until_the_window_is_full() {
        let mut member = progress(4, 5);
        member.become_replicate();
        member.sent_entries(2, 20);
        assert_eq!((member.next, member.is_paused()), (7, false));
        member.sent_entries(1, 10);
        assert_eq!((member.next, member.is_paused()), (8, true));
        assert!(member.maybe_update(6));
        member.inflights.free_le(6);
        assert_eq!((member.matched, member.next, member.is_paused()), (6, 8, false));
    }

    #[test]
    fn a_snapshot_pauses_whatever_happens() {
        let mut member = progress(1, 2);
        member.become_snapshot(10);
        assert_eq!((member.next, member.pending_snapshot), (11, 10));
        assert!(member.is_paused());
        assert!(member.maybe_update(5));
        assert!(member.is_paused());
        assert_eq!((member.matched, member.next), (5, 11));
    }

    #[test]
    fn after_a_snapshot_the_probe_is_behind_it_and_after_replication_behind_the_match() {
        let mut member = progress(1, 2);
        member.become_snapshot(10);
        member.become_probe();
        assert_eq!((member.state, member.next), (ProgressState::Probe, 11));
        assert_eq!(member.pending_snapshot, 0);

        let mut member = progress(1, 2);
        member.become_replicate();
        member.sent_entries(5, 5);
        member.sent_commit(6);
        member.become_probe();
        assert_eq!((member.next, member.sent_commit, member.inflights.count()), (2, 1, 0));
    }

    #[test]
    fn an_old_acknowledgement_changes_nothing() {
        let mut member = progress(5, 6);
        member.sent_entries(1, 1);
        let before = member.clone();
        assert!(!member.maybe_update(5));
        assert!(!member.maybe_update(3));
        assert_eq!(member, before);
    }

    #[test]
    fn a_rejection_moves_next_to_the_hint_but_not_below_the_match() {
        // state, match, next, rejected, hint -> next, or old news
        let cases = [
            (ProgressState::Replicate, 5, 10, 5, 5, None),
            (ProgressState::Replicate, 5, 10, 4, 4, None),
            (ProgressState::Replicate, 5, 10, 9, 9, Some(6)),
            (ProgressState::Probe, 0, 10, 5, 5, None),
            (ProgressState::Probe, 0, 10, 9, 9, Some(9)),
            (ProgressState::Probe, 0, 2, 1, 1, Some(1)),
            (ProgressState::Probe, 0, 1, 0, 0, Some(1)),
            (ProgressState::Probe, 0, 10, 9, 2, Some(3)),
            (ProgressState::Probe, 0, 10, 9, 0, Some(1)),
            (ProgressState::Probe, 4, 10, 9, 1, Some(5)),
            (ProgressState::Probe, 4, 10, 9, u64::MAX, Some(9)),
        ];
        for (state, matched, next, rejected, hint, expected) in cases {
            let mut member = progress(matched, next);
            member.state = state;
            let moved = member.maybe_decr_to(rejected, hint).then_some(member.next);
            assert_eq!(moved, expected, "{:?}", (state, matched, next, rejected, hint));
        }
    }

    #[test]
    fn a_commit_is_sent_only_if_it_can_help() {
        let mut member = progress(5, 6);
        member.become_replicate();
        member.sent_commit(3);
        assert!(member.can_bump_commit(4));
        assert!(!member.can_bump_commit(3));
        // What it has is all committed for it already: more cannot be.
        member.sent_commit(5);
        assert!(!member.can_bump_commit(9));
        member.sent_entries(2, 0);
        assert!(member.can_bump_commit(9));
    }

    #[test]
    fn a_commit_that_was_sent_with_what_was_lost_is_sent_again() {
        let mut member = progress(2, 3);
        member.become_replicate();
        member.sent_entries(7, 0);
        member.sent_commit(9);
        assert!(!member.can_bump_commit(9));
        assert!(member.maybe_decr_to(9, 2));
        assert_eq!(member.sent_commit, 2);
        member.sent_entries(7, 0);
        assert!(member.can_bump_commit(9));

        let mut member = progress(2, 10);
        member.sent_commit(9);
        assert!(member.maybe_decr_to(9, 4));
        assert_eq!((member.next, member.sent_commit), (5, 4));
    }

    #[test]
    fn the_line_for_people_leaves_out_what_is_usual() {
        let mut member = progress(1, 2);
        member.recent_active = true;
        assert_eq!(ProgressStatus::from(&member).to_string(), "StateProbe match=1 next=2");
        member.become_replicate();
        member.sent_entries(1, 1);
        member.sent_entries(1, 1);
        member.recent_active = false;
        member.is_learner = true;
        assert_eq!(
            ProgressStatus::from(&member).to_string(),
            "StateReplicate match=1 next=4 learner paused inactive inflight=2[full]"
        );
        member.become_snapshot(7);
        assert_eq!(
            ProgressStatus::from(&member).to_string(),
            "StateSnapshot match=1 next=8 learner paused pendingSnap=7 inactive"
        );
    }
}
