//! From one configuration to the next: the changes of a committed entry, checked and applied.
//!
//! A [`Changer`] looks at a [`Tracker`] and gives what it would become; it changes nothing itself.
//! Every node applies the same changes to the same configuration, so whatever is refused here is
//! refused on all of them alike.

use crate::LOCAL_APPLY_THREAD;
use crate::message::{ConfChangeSingle, ConfChangeType, ConfState};
use crate::progress::Progress;
use crate::quorum::MajorityConfig;
use crate::tracker::{ProgressMap, Tracker, TrackerConfig};

/// Why a configuration cannot be changed so, or is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfChangeError {
    /// A joint configuration has to be left before another is entered.
    #[error("config is already joint")]
    AlreadyJoint,
    /// The first voters come from a snapshot or a bootstrap, not through a joint configuration.
    #[error("can't make a zero-voter config joint")]
    JointFromNothing,
    /// There is no joint configuration to leave.
    #[error("can't leave a non-joint config")]
    NotJoint,
    /// While joint, there is nothing to do but to leave.
    #[error("can't apply simple config change in joint config")]
    SimpleInJoint,
    /// Two majorities might not meet: that takes a joint configuration.
    #[error("more than one voter changed without entering joint config")]
    ManyVoters,
    /// Nobody would be left to decide anything.
    #[error("removed all voters")]
    NoVoters,
    /// The kind of change has a number that is not known.
    #[error("unexpected conf type {0}")]
    UnknownType(i32),
    /// A transition that is not known.
    #[error("unexpected conf change transition {0}")]
    UnknownTransition(i32),
    /// The id is that of a storage thread of the node itself.
    #[error("node id {0:#x} is reserved for a storage thread")]
    ReservedId(u64),
    /// A stored configuration is none that changes could have led to.
    #[error("no changes lead to the stored configuration {stored:?}, but to {reached:?}")]
    Unreachable {
        /// What was to be restored.
        stored: Box<ConfState>,
        /// What came of it.
        reached: Box<ConfState>,
    },
    /// A member without progress.
    #[error("no progress for {0}")]
    NoProgress(u64),
    /// A learner to be that is no outgoing voter.
    #[error("{0} is in LearnersNext, but not Voters[1]")]
    NextIsNoVoter(u64),
    /// A learner to be that is one already.
    #[error("{0} is in LearnersNext, but is already marked as learner")]
    NextIsLearner(u64),
    /// A learner that is an outgoing voter.
    #[error("{0} is in Learners and Voters[1]")]
    LearnerIsOutgoing(u64),
    /// A learner that is an incoming voter.
    #[error("{0} is in Learners and Voters[0]")]
    LearnerIsIncoming(u64),
    /// A learner whose progress says otherwise.
    #[error("{0} is in Learners, but is not marked as learner")]
    LearnerNotMarked(u64),
    /// Learners to be outside of a joint configuration.
    #[error("cfg.LearnersNext must be nil when not joint")]
    NextWithoutJoint,
    /// To be left by itself, but not joint.
    #[error("AutoLeave must be false when not joint")]
    AutoLeaveWithoutJoint,
}

/// What a change leads to.
type Next = Result<(TrackerConfig, ProgressMap), ConfChangeError>;

/// Works out the configuration behind a change.
#[derive(Clone, Copy, Debug)]
pub struct Changer<'a> {
    tracker: &'a Tracker,
    last_index: u64,
}

impl<'a> Changer<'a> {
    /// From the configuration of `tracker`. Members that are new are first sent the entry at
    /// `last_index`: mostly they reject it, and say what they need.
    pub const fn new(tracker: &'a Tracker, last_index: u64) -> Self {
        Self { tracker, last_index }
    }

    /// Changes at most one voter, and any number of learners.
    ///
    /// # Errors
    /// If the configuration is joint, if more than one voter changes, or none would be left.
    pub fn simple(&self, changes: &[ConfChangeSingle]) -> Next {
        let mut draft = self.draft()?;
        if draft.config.voters.is_joint() {
            return Err(ConfChangeError::SimpleInJoint);
        }
        draft.apply(changes)?;
        let before = &self.tracker.config.voters.incoming;
        if differing(before, &draft.config.voters.incoming) > 1 {
            return Err(ConfChangeError::ManyVoters);
        }
        draft.finish()
    }

    /// Enters the joint configuration of the current one and of the one that `changes` lead to.
    ///
    /// # Errors
    /// If the configuration is joint already or has no voters, or none would be left.
    pub fn enter_joint(&self, auto_leave: bool, changes: &[ConfChangeSingle]) -> Next {
        let mut draft = self.draft()?;
        if draft.config.voters.is_joint() {
            return Err(ConfChangeError::AlreadyJoint);
        }
        if draft.config.voters.incoming.is_empty() {
            return Err(ConfChangeError::JointFromNothing);
        }
        draft.config.voters.outgoing = draft.config.voters.incoming.clone();
        draft.config.auto_leave = auto_leave;
        draft.apply(changes)?;
        draft.finish()
    }

    /// Leaves a joint configuration: its incoming half remains.
    ///
    /// # Errors
    /// If it is not joint.
    pub fn leave_joint(&self) -> Next {
        let mut draft = self.draft()?;
        if !draft.config.voters.is_joint() {
            return Err(ConfChangeError::NotJoint);
        }
        draft.leave();
        draft.finish()
    }

    fn draft(&self) -> Result<Draft<'a>, ConfChangeError> {
        let Tracker { config, progress, .. } = self.tracker;
        check(config, progress)?;
        Ok(Draft { changer: *self, config: config.clone(), progress: progress.clone() })
    }
}

/// Brings an empty `tracker` to the configuration `stored`, as the changes would have that once led
/// to it.
///
/// # Errors
/// If no changes could have: a learner that is a voter too, joint without voters, an id twice.
pub fn restore(tracker: &Tracker, last_index: u64, stored: &ConfState) -> Next {
    let mut tracker = tracker.clone();
    // In order, so that members are added at the end.
    let given = stored;
    let mut stored = given.clone();
    stored.voters.sort_unstable();
    stored.learners.sort_unstable();
    stored.voters_outgoing.sort_unstable();
    stored.learners_next.sort_unstable();
    let single =
        |change_type: ConfChangeType| move |id: &u64| ConfChangeSingle::new(change_type, *id);
    let add = single(ConfChangeType::AddNode);
    let add_learner = single(ConfChangeType::AddLearnerNode);
    let incoming = stored.voters.iter().map(add);
    // A learner to be is a learner at once, unless it is an outgoing voter: as it was then.
    let learners = stored.learners.iter().chain(&stored.learners_next).map(add_learner);
    let incoming = incoming.chain(learners);

    // At once, though each alone would be a change: what they lead to is the same.
    let all = |tracker: &mut Tracker, changes: &[ConfChangeSingle]| {
        if !changes.is_empty() {
            let mut draft = Changer::new(tracker, last_index).draft()?;
            draft.apply(changes)?;
            (tracker.config, tracker.progress) = draft.finish()?;
        }
        Ok::<(), ConfChangeError>(())
    };
    if stored.voters_outgoing.is_empty() {
        all(&mut tracker, &incoming.collect::<Vec<_>>())?;
    } else {
        all(&mut tracker, &stored.voters_outgoing.iter().map(add).collect::<Vec<_>>())?;
        let remove = stored.voters_outgoing.iter().map(single(ConfChangeType::RemoveNode));
        let changes: Vec<_> = remove.chain(incoming).collect();
        (tracker.config, tracker.progress) =
            Changer::new(&tracker, last_index).enter_joint(stored.auto_leave, &changes)?;
    }
    let reached = tracker.config.conf_state();
    if !reached.equivalent(&stored) {
        let stored = Box::new(given.clone());
        return Err(ConfChangeError::Unreachable { stored, reached: Box::new(reached) });
    }
    Ok((tracker.config, tracker.progress))
}

/// A configuration while it is changed.
struct Draft<'a> {
    changer: Changer<'a>,
    config: TrackerConfig,
    progress: ProgressMap,
}

impl Draft<'_> {
    fn apply(&mut self, changes: &[ConfChangeSingle]) -> Result<(), ConfChangeError> {
        for change in changes {
            let id = change.node_id;
            // The application has put 0 in place of the id: it does not want the change.
            if id == 0 {
                continue;
            }
            if id >= LOCAL_APPLY_THREAD {
                return Err(ConfChangeError::ReservedId(id));
            }
            match change.kind() {
                Some(ConfChangeType::AddNode) => self.make_voter(id),
                Some(ConfChangeType::AddLearnerNode) => self.make_learner(id),
                Some(ConfChangeType::RemoveNode) => self.remove(id),
                Some(ConfChangeType::UpdateNode) => {}
                None => {
                    let number = change.change_type.unwrap_or(0);
                    return Err(ConfChangeError::UnknownType(number));
                }
            }
        }
        if self.config.voters.incoming.is_empty() {
            return Err(ConfChangeError::NoVoters);
        }
        Ok(())
    }

    fn make_voter(&mut self, id: u64) {
        self.config.learners.remove(id);
        self.config.learners_next.remove(id);
        self.config.voters.incoming.insert(id);
        match self.progress.get_mut(id) {
            Some(member) => member.is_learner = false,
            None => self.add_progress(id, false),
        }
    }

    fn make_learner(&mut self, id: u64) {
        self.config.voters.incoming.remove(id);
        let outgoing = self.config.voters.outgoing.contains(id);
        if outgoing {
            // It still has a vote, in the outgoing half.
            self.config.learners_next.insert(id);
        } else {
            self.config.learners.insert(id);
        }
        match self.progress.get_mut(id) {
            Some(member) => member.is_learner = !outgoing,
            None => self.add_progress(id, !outgoing),
        }
    }

    fn remove(&mut self, id: u64) {
        self.config.voters.incoming.remove(id);
        self.config.learners.remove(id);
        self.config.learners_next.remove(id);
        // An outgoing voter is sent entries until the joint configuration is left.
        if !self.config.voters.outgoing.contains(id) {
            self.progress.remove(id);
        }
    }

    fn leave(&mut self) {
        for id in std::mem::take(&mut self.config.learners_next).iter() {
            self.config.learners.insert(id);
            if let Some(member) = self.progress.get_mut(id) {
                member.is_learner = true;
            }
        }
        for id in std::mem::take(&mut self.config.voters.outgoing).iter() {
            if !self.config.voters.incoming.contains(id) && !self.config.learners.contains(id) {
                self.progress.remove(id);
            }
        }
        self.config.auto_leave = false;
    }

    fn add_progress(&mut self, id: u64, is_learner: bool) {
        let Changer { tracker, last_index } = self.changer;
        let mut member = Progress::new(0, last_index.max(1), tracker.new_inflights());
        member.is_learner = is_learner;
        // As if just heard from: otherwise a leader that adds members could lose its quorum at
        // the next check, before they had a chance to say anything.
        member.recent_active = true;
        self.progress.insert(id, member);
    }

    fn finish(self) -> Next {
        check(&self.config, &self.progress)?;
        Ok((self.config, self.progress))
    }
}

/// How many voters are in one of the two only.
fn differing(a: &MajorityConfig, b: &MajorityConfig) -> usize {
    let only =
        |a: &MajorityConfig, b: &MajorityConfig| a.iter().filter(|id| !b.contains(*id)).count();
    only(a, b) + only(b, a)
}

/// Whether configuration and progress fit together.
///
/// # Errors
/// Names the member that does not, and how.
pub fn check(config: &TrackerConfig, progress: &ProgressMap) -> Result<(), ConfChangeError> {
    let TrackerConfig { voters, learners, learners_next, auto_leave } = config;
    let marked = |id| progress.get(id).is_some_and(|member| member.is_learner);

    for id in voters.ids().chain(learners.iter()).chain(learners_next.iter()) {
        if !progress.contains(id) {
            return Err(ConfChangeError::NoProgress(id));
        }
    }
    for id in learners_next.iter() {
        if !voters.is_joint() {
            return Err(ConfChangeError::NextWithoutJoint);
        }
        if !voters.outgoing.contains(id) {
            return Err(ConfChangeError::NextIsNoVoter(id));
        }
        if marked(id) {
            return Err(ConfChangeError::NextIsLearner(id));
        }
    }
    for id in learners.iter() {
        if voters.outgoing.contains(id) {
            return Err(ConfChangeError::LearnerIsOutgoing(id));
        }
        if voters.incoming.contains(id) {
            return Err(ConfChangeError::LearnerIsIncoming(id));
        }
        if !marked(id) {
            return Err(ConfChangeError::LearnerNotMarked(id));
        }
    }
    if *auto_leave && !voters.is_joint() {
        return Err(ConfChangeError::AutoLeaveWithoutJoint);
    }
    Ok(())
}
