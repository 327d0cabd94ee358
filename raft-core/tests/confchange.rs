//! Configuration changes: what is refused, and that no sequence of them breaks a configuration.

use proptest::prelude::*;
use raft_core::confchange::{Changer, ConfChangeError, check, restore};
use raft_core::tracker::{ProgressMap, Tracker, TrackerConfig};
use raft_core::{ConfChangeSingle, ConfChangeType, ConfState, LOCAL_APPLY_THREAD};

fn change(change_type: ConfChangeType, node_id: u64) -> ConfChangeSingle {
    ConfChangeSingle::new(change_type, node_id)
}

fn voter(id: u64) -> ConfChangeSingle {
    change(ConfChangeType::AddNode, id)
}

fn learner(id: u64) -> ConfChangeSingle {
    change(ConfChangeType::AddLearnerNode, id)
}

fn removed(id: u64) -> ConfChangeSingle {
    change(ConfChangeType::RemoveNode, id)
}

fn tracker(voters: &[u64], learners: &[u64]) -> Tracker {
    let state =
        ConfState { voters: voters.to_vec(), learners: learners.to_vec(), ..ConfState::default() };
    let mut tracker = Tracker::new(8, 0);
    let restored = restore(&tracker, 10, &state).expect("a sound configuration");
    (tracker.config, tracker.progress) = restored;
    tracker
}

/// The error of it, or what the configuration became.
fn outcome(
    next: Result<(TrackerConfig, ProgressMap), ConfChangeError>,
) -> Result<String, ConfChangeError> {
    next.map(|(config, _)| config.to_string())
}

#[test]
fn a_simple_change_concerns_one_voter_and_any_number_of_learners() {
    let tracker = tracker(&[1, 2, 3], &[4]);
    let simple = |changes: &[_]| outcome(Changer::new(&tracker, 10).simple(changes));
    let grown = simple(&[voter(4), learner(5), learner(6)]);
    assert_eq!(grown.as_deref(), Ok("voters=(1 2 3 4) learners=(5 6)"));
    assert_eq!(simple(&[voter(5), voter(6)]), Err(ConfChangeError::ManyVoters));
    assert_eq!(simple(&[removed(1), voter(5)]), Err(ConfChangeError::ManyVoters));
    // It is the result that counts.
    assert_eq!(simple(&[voter(5), removed(5)]).as_deref(), Ok("voters=(1 2 3) learners=(4)"));
}

#[test]
fn the_last_voter_stays() {
    let tracker = tracker(&[1], &[2]);
    let changer = Changer::new(&tracker, 10);
    for changes in [[removed(1), removed(9)], [learner(1), removed(2)]] {
        assert_eq!(outcome(changer.simple(&changes)), Err(ConfChangeError::NoVoters));
        assert_eq!(outcome(changer.enter_joint(true, &changes)), Err(ConfChangeError::NoVoters));
    }
}

#[test]
fn while_joint_there_is_nothing_to_do_but_to_leave() {
    let mut tracker = tracker(&[1, 2, 3], &[]);
    assert_eq!(outcome(Changer::new(&tracker, 10).leave_joint()), Err(ConfChangeError::NotJoint));
    let entered = Changer::new(&tracker, 10).enter_joint(false, &[removed(1), voter(4)]);
    (tracker.config, tracker.progress) = entered.expect("not joint");
    assert_eq!(tracker.config.to_string(), "voters=(2 3 4)&&(1 2 3)");

    let changer = Changer::new(&tracker, 10);
    assert_eq!(outcome(changer.simple(&[voter(5)])), Err(ConfChangeError::SimpleInJoint));
    assert_eq!(outcome(changer.enter_joint(false, &[])), Err(ConfChangeError::AlreadyJoint));
    assert_eq!(outcome(changer.leave_joint()).as_deref(), Ok("voters=(2 3 4)"));
}

#[test]
fn a_demoted_voter_votes_on_until_the_joint_configuration_is_left() {
    let mut tracker = tracker(&[1, 2, 3], &[]);
    let entered = Changer::new(&tracker, 10).enter_joint(true, &[learner(3)]);
    (tracker.config, tracker.progress) = entered.expect("not joint");
    let line = "voters=(1 2)&&(1 2 3) learners_next=(3) autoleave";
    assert_eq!(tracker.config.to_string(), line);
    let left = outcome(Changer::new(&tracker, 10).leave_joint());
    assert_eq!(left.as_deref(), Ok("voters=(1 2) learners=(3)"));
}

#[test]
fn a_change_of_node_0_is_none_and_one_of_a_storage_thread_or_of_unknown_kind_is_refused() {
    let tracker = tracker(&[1], &[]);
    let simple = |changes: &[_]| outcome(Changer::new(&tracker, 10).simple(changes));
    assert_eq!(simple(&[removed(0), voter(0)]).as_deref(), Ok("voters=(1)"));
    for id in [LOCAL_APPLY_THREAD, u64::MAX] {
        assert_eq!(simple(&[learner(id)]), Err(ConfChangeError::ReservedId(id)));
    }
    let unknown = ConfChangeSingle { change_type: Some(7), node_id: 2 };
    assert_eq!(simple(&[unknown]), Err(ConfChangeError::UnknownType(7)));
}

#[test]
fn a_configuration_that_no_changes_lead_to_is_not_restored() {
    let state = |voters: &[u64], learners: &[u64], outgoing: &[u64], next: &[u64]| ConfState {
        voters: voters.to_vec(),
        learners: learners.to_vec(),
        voters_outgoing: outgoing.to_vec(),
        learners_next: next.to_vec(),
        auto_leave: false,
    };
    let broken = [
        state(&[1, 2], &[2], &[], &[]),
        state(&[1, 1], &[], &[], &[]),
        state(&[], &[1], &[], &[]),
        state(&[1], &[], &[], &[2]),
        state(&[1], &[2], &[2], &[]),
        state(&[], &[], &[1], &[]),
        state(&[0], &[], &[], &[]),
        ConfState { auto_leave: true, ..state(&[1], &[], &[], &[]) },
    ];
    for state in broken {
        assert!(restore(&Tracker::new(8, 0), 10, &state).is_err(), "{state:?}");
    }
    let none = restore(&Tracker::new(8, 0), 10, &ConfState::default());
    assert_eq!(outcome(none).as_deref(), Ok("voters=()"));
}

#[derive(Clone, Debug)]
enum Step {
    Simple(Vec<ConfChangeSingle>),
    Enter(bool, Vec<ConfChangeSingle>),
    Leave,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let single = (0..4_i32, 0..7_u64)
        .prop_map(|(n, node_id)| ConfChangeSingle { change_type: Some(n), node_id });
    let some = prop::collection::vec(single, 0..5);
    let step = prop_oneof![
        3 => some.clone().prop_map(Step::Simple),
        2 => (any::<bool>(), some).prop_map(|(leave, changes)| Step::Enter(leave, changes)),
        2 => Just(Step::Leave),
    ];
    prop::collection::vec(step, 1..30)
}

/// Any majority of the one and any majority of the other have a node in common.
fn meet(a: &TrackerConfig, b: &TrackerConfig) -> bool {
    let quorums = |config: &TrackerConfig| {
        let halves = [config.voters.incoming.clone(), config.voters.outgoing.clone()];
        (0_u32..1 << 7).filter(move |set| {
            halves.iter().all(|half| {
                let there = half.iter().filter(|id| set >> id & 1 == 1).count();
                half.is_empty() || there * 2 > half.len()
            })
        })
    };
    quorums(a).all(|one| quorums(b).all(|other| one & other != 0))
}

proptest! {
    #[test]
    fn whatever_is_accepted_is_sound_meets_its_predecessor_and_can_be_restored(steps in steps()) {
        let mut tracker = tracker(&[1], &[]);
        for (last_index, step) in (1..).zip(&steps) {
            let changer = Changer::new(&tracker, last_index);
            let next = match step {
                Step::Simple(changes) => changer.simple(changes),
                Step::Enter(auto_leave, changes) => changer.enter_joint(*auto_leave, changes),
                Step::Leave => changer.leave_joint(),
            };
            let Ok((config, progress)) = next else { continue };

            prop_assert_eq!(check(&config, &progress), Ok(()));
            let members = config.voters.ids().chain(config.learners.iter());
            let mut members: Vec<u64> = members.collect();
            members.sort_unstable();
            prop_assert_eq!(progress.ids().collect::<Vec<_>>(), members);
            prop_assert!(meet(&tracker.config, &config), "{} and {}", tracker.config, config);

            let restored = restore(&Tracker::new(8, 0), last_index, &config.conf_state());
            prop_assert_eq!(&restored.expect("it was reached by changes").0, &config);
            (tracker.config, tracker.progress) = (config, progress);
        }
    }
}
