//! Configuration changes (facts 33 to 42).

use prost::Message as _;
use raft_core::{
    ConfChange, ConfChangeError, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
    Config, DropReason, EntryType, Error, MemoryStorage, Message, MessageType, Role,
};

use crate::hand::{
    Group, Node, ack, change, changes, config, decoded, heartbeat, install, message, of, only,
    snapshot, voters,
};
use ConfChangeType::{AddLearnerNode, AddNode, RemoveNode, UpdateNode};
use MessageType::Append;

fn joint(transition: ConfChangeTransition, singles: &[(ConfChangeType, u64)]) -> ConfChangeV2 {
    let singles: Vec<_> = singles.iter().map(|(kind, id)| change(*kind, *id)).collect();
    let mut change = changes(&singles);
    change.set_transition(transition);
    change
}

/// Leads 1, 2 and 3, and has applied everything.
fn leader_with(config: &Config) -> Node {
    let mut node = Node::new(config, MemoryStorage::with_conf_state(voters(&[1, 2, 3]))).lead();
    node.take(ack(2, 1, 1));
    assert_eq!(node.raw.basic_status().applied, 1);
    node
}

fn leader() -> Node {
    leader_with(&config(1))
}

/// Proposes a change, and lets 2 acknowledge it: it is applied then.
fn make(node: &mut Node, change: &ConfChangeV2) {
    node.raw.propose_conf_change(change).expect("a leader");
    node.run();
    node.take(ack(2, node.term(), node.last()));
}

/// What the log has at `index`: the type of the entry, and how long its data is.
fn kind_at(node: &Node, index: u64) -> (EntryType, usize) {
    let found = raft_core::Storage::entries(
        &node.storage,
        index,
        index + 1,
        u64::MAX,
        raft_core::Fetch::Scan,
    );
    let found = found.expect("in memory");
    (found[0].entry_type(), found[0].data.len())
}

// 33
#[test]
fn the_leader_leaves_a_joint_configuration_by_itself_if_the_change_said_so() {
    for transition in [ConfChangeTransition::Auto, ConfChangeTransition::JointImplicit] {
        let mut node = leader();
        make(&mut node, &joint(transition, &[(AddNode, 4), (RemoveNode, 3)]));
        assert_eq!(node.members(), "voters=(1 2 4)&&(1 2 3) autoleave");
        assert_eq!(node.last(), 3);
        assert_eq!(kind_at(&node, 3), (EntryType::ConfChangeV2, 0));
        node.take(ack(2, 1, 3));
        assert_eq!(node.members(), "voters=(1 2 4)");
    }
}

// 33
#[test]
fn a_joint_configuration_of_the_explicit_kind_lasts_until_somebody_leaves_it() {
    let mut node = leader();
    make(&mut node, &joint(ConfChangeTransition::JointExplicit, &[(AddNode, 4)]));
    assert_eq!(node.members(), "voters=(1 2 3 4)&&(1 2 3)");
    node.propose("a");
    node.take(ack(2, 1, 3));
    assert_eq!(node.last(), 3);
    node.take(ack(3, 1, 3));
    make(&mut node, &ConfChangeV2::default());
    node.take(ack(3, 1, 4));
    assert_eq!(node.members(), "voters=(1 2 3 4)");
}

// 33
#[test]
fn a_single_change_goes_through_no_joint_configuration_unless_it_asks_to() {
    let mut node = leader();
    make(&mut node, &joint(ConfChangeTransition::Auto, &[(AddNode, 4)]));
    assert_eq!(node.members(), "voters=(1 2 3 4)");
    let mut node = leader();
    make(&mut node, &joint(ConfChangeTransition::JointImplicit, &[(AddNode, 4)]));
    assert_eq!(node.members(), "voters=(1 2 3 4)&&(1 2 3) autoleave");
}

// 33
#[test]
fn a_transfer_puts_off_the_leaving_until_more_is_applied() {
    let mut node = leader();
    let change = joint(ConfChangeTransition::JointImplicit, &[(AddLearnerNode, 4)]);
    node.raw.propose_conf_change(&change).expect("a leader");
    node.propose("a");
    node.raw.transfer_leader(3).expect("a leader");
    node.take(ack(2, 1, 2));
    assert_eq!(node.members(), "voters=(1 2 3)&&(1 2 3) learners=(4) autoleave");
    assert_eq!(node.last(), 3, "nothing is proposed while leadership is transferred");
    node.tick(10);
    assert_eq!(node.last(), 3);
    node.take(ack(2, 1, 3));
    assert_eq!(node.last(), 4);
    assert_eq!(kind_at(&node, 4), (EntryType::ConfChangeV2, 0));
}

// 33
#[test]
fn the_limit_of_uncommitted_bytes_does_not_keep_a_leader_from_leaving() {
    let mut node = leader_with(&Config { max_uncommitted_size: 64, ..config(1) });
    let change = joint(ConfChangeTransition::JointImplicit, &[(AddLearnerNode, 4)]);
    node.raw.propose_conf_change(&change).expect("a leader");
    let rest = usize::try_from(64 - node.raw.status().uncommitted_size).expect("small");
    node.raw.propose(vec![b'x'; rest]).expect("up to the limit");
    assert!(node.raw.propose("y").is_err());
    node.run();
    node.take(ack(2, 1, 2));
    assert_eq!(kind_at(&node, 4), (EntryType::ConfChangeV2, 0));
}

// 33
#[test]
fn a_new_leader_leaves_what_the_old_one_could_not() {
    let members =
        ConfState { voters_outgoing: vec![1, 2, 3], auto_leave: true, ..voters(&[1, 2, 3, 4]) };
    let mut node = Node::new(&config(1), MemoryStorage::with_conf_state(members)).lead();
    assert_eq!(node.last(), 1);
    node.take(ack(2, 1, 1));
    node.take(ack(3, 1, 1));
    assert_eq!(kind_at(&node, 2), (EntryType::ConfChangeV2, 0));
}

// 34
#[test]
fn while_a_change_is_not_applied_another_becomes_an_empty_entry_and_no_error() {
    let mut node = leader();
    let first = changes(&[change(AddNode, 4)]);
    node.raw.propose_conf_change(&first).expect("a leader");
    node.raw.propose_conf_change(&changes(&[change(AddNode, 5)])).expect("a leader");
    node.run();
    assert_eq!(kind_at(&node, 2).0, EntryType::ConfChangeV2);
    assert_eq!(kind_at(&node, 3), (EntryType::Normal, 0));
    // Committed is not yet applied.
    node.raw.step(ack(2, 1, 3)).expect("an acknowledgement");
    node.raw.propose_conf_change(&changes(&[change(AddNode, 6)])).expect("a leader");
    node.run();
    assert_eq!(kind_at(&node, 4), (EntryType::Normal, 0));
    assert_eq!(node.members(), "voters=(1 2 3 4)");
    make(&mut node, &changes(&[change(AddNode, 7)]));
    assert_eq!(kind_at(&node, 5).0, EntryType::ConfChangeV2);
}

// 34: also in one proposal.
#[test]
fn of_several_changes_proposed_at_once_the_first_is_taken() {
    let mut node = leader();
    let entry = |id| {
        let mut entry = raft_core::Entry {
            data: changes(&[change(AddNode, id)]).encode_to_vec().into(),
            ..raft_core::Entry::default()
        };
        entry.set_entry_type(EntryType::ConfChangeV2);
        entry
    };
    let proposal =
        Message { entries: vec![entry(4), entry(5)], ..message(MessageType::Propose, 2, 0) };
    node.take(proposal);
    assert_eq!(kind_at(&node, 2).0, EntryType::ConfChangeV2);
    assert_eq!(kind_at(&node, 3), (EntryType::Normal, 0));
}

// 34
#[test]
fn in_a_joint_configuration_only_leaving_it_is_a_change_and_outside_leaving_is_none() {
    let mut node = leader();
    make(&mut node, &ConfChangeV2::default());
    assert_eq!(kind_at(&node, 2), (EntryType::Normal, 0));
    make(&mut node, &joint(ConfChangeTransition::JointExplicit, &[(AddLearnerNode, 4)]));
    make(&mut node, &changes(&[change(AddNode, 5)]));
    assert_eq!(kind_at(&node, 4), (EntryType::Normal, 0));
    make(&mut node, &ConfChangeV2::default());
    assert_eq!(node.members(), "voters=(1 2 3) learners=(4)");
}

// 34
#[test]
fn without_validation_changes_are_taken_as_they_come() {
    let mut node = leader_with(&Config { disable_conf_change_validation: true, ..config(1) });
    for id in [4, 5] {
        node.raw.propose_conf_change(&changes(&[change(AddNode, id)])).expect("a leader");
    }
    node.raw.propose_conf_change(&ConfChangeV2::default()).expect("a leader");
    node.run();
    assert_eq!([2, 3, 4].map(|index| kind_at(&node, index).0), [EntryType::ConfChangeV2; 3]);
}

// 34
#[test]
fn a_new_leader_takes_no_change_before_it_has_applied_what_it_found() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 1]).lead();
    node.raw.propose_conf_change(&changes(&[change(AddNode, 4)])).expect("a leader");
    node.run();
    assert_eq!(kind_at(&node, 4), (EntryType::Normal, 0));
    node.take(ack(2, 2, 4));
    make(&mut node, &changes(&[change(AddNode, 4)]));
    assert_eq!(kind_at(&node, 5).0, EntryType::ConfChangeV2);
}

// 34
#[test]
fn a_refused_change_takes_no_room_for_the_next() {
    let mut node = leader();
    // Refused: there is nothing to leave. The change behind it is judged by what is applied.
    node.raw.propose_conf_change(&ConfChangeV2::default()).expect("a leader");
    node.raw.propose_conf_change(&changes(&[change(AddNode, 4)])).expect("a leader");
    node.run();
    assert_eq!(kind_at(&node, 3).0, EntryType::ConfChangeV2);
}

// 35
#[test]
fn a_configuration_holds_from_when_it_is_applied_and_not_before() {
    let mut node = leader();
    node.raw.propose_conf_change(&changes(&[change(AddNode, 4)])).expect("a leader");
    node.raw.step(ack(2, 1, 2)).expect("an acknowledgement");
    node.raw.step(ack(1, 1, 2)).expect_err("from itself only by the storage");
    let ready = node.raw.ready().expect("work");
    assert_eq!(node.members(), "voters=(1 2 3)");
    node.write(&ready);
    node.raw.advance(ready).expect("the Ready just handed out");
    let ready = node.raw.ready().expect("work");
    assert!(decoded(&ready.committed_entries[0]).is_some());
    assert_eq!(node.members(), "voters=(1 2 3)", "handed out is not applied");
    // An application that decides against the change does not say that it has applied it.
    node.raw.advance(ready).expect("the Ready just handed out");
    assert_eq!(node.members(), "voters=(1 2 3)");
    assert_eq!(node.raw.basic_status().applied, 2);
}

// 35
#[test]
fn a_change_of_node_0_and_an_update_change_nothing() {
    let mut node = leader();
    for none in [change(RemoveNode, 0), change(AddNode, 0), change(UpdateNode, 2)] {
        let members = node.raw.apply_conf_change(1, &changes(&[none])).expect("nothing to do");
        assert_eq!(members, Some(voters(&[1, 2, 3])));
    }
}

// 35: the apply thread is slow, and a snapshot has come in meanwhile.
#[test]
fn a_change_that_a_snapshot_has_overtaken_is_not_applied_on_top_of_it() {
    let mut node = leader();
    node.take(heartbeat(2, 2, 1));
    node.take(install(2, 2, snapshot(9, 2, voters(&[1, 2]))));
    let joining = changes(&[change(AddNode, 4)]);
    for index in [2, 9] {
        let applied = node.raw.apply_conf_change(index, &joining).expect("no error");
        assert_eq!((applied, node.members().as_str()), (None, "voters=(1 2)"));
    }
    let applied = node.raw.apply_conf_change(10, &joining).expect("a change that fits");
    assert_eq!(applied, Some(voters(&[1, 2, 4])));
}

// 35
#[test]
fn a_change_of_the_first_kind_means_the_same() {
    let mut node = leader();
    let mut first = ConfChange { node_id: 4, ..ConfChange::default() };
    first.set_change_type(AddLearnerNode);
    node.raw.propose_conf_change_v1(&first).expect("a leader");
    node.run();
    assert_eq!(kind_at(&node, 2).0, EntryType::ConfChange);
    node.take(ack(2, 1, 2));
    assert_eq!(node.members(), "voters=(1 2 3) learners=(4)");
}

// 36
#[test]
fn a_smaller_quorum_commits_what_it_already_has_and_everybody_is_told() {
    let storage = MemoryStorage::with_conf_state(voters(&[1, 2, 3, 4]));
    let mut node = Node::new(&config(1), storage).lead();
    for from in [2, 3] {
        node.take(ack(from, 1, 1));
    }
    node.propose("a");
    node.take(ack(2, 1, 2));
    assert_eq!(node.commit(), 1);
    node.raw.apply_conf_change(1, &changes(&[change(RemoveNode, 4)])).expect("a change that fits");
    assert_eq!(node.commit(), 2);
    let sent = node.run();
    let told = of(&sent, Append);
    assert_eq!(told.iter().map(|m| (m.to, m.commit)).collect::<Vec<_>>(), [(2, 2), (3, 2)]);
}

// 36
#[test]
fn a_member_that_joins_is_probed_at_the_end_of_the_log_at_once() {
    let mut node = leader();
    node.propose("a");
    node.take(ack(2, 1, 2));
    node.raw.apply_conf_change(1, &changes(&[change(AddLearnerNode, 4)])).expect("a change");
    let sent = node.run();
    let m = of(&sent, Append).into_iter().find(|m| m.to == 4).expect("a probe");
    assert_eq!((m.index, m.entries.len()), (1, 1));
    assert_eq!(node.progress(4), "StateProbe match=0 next=2 learner paused");
    assert!(of(&sent, Append).iter().all(|m| !m.entries.is_empty()), "no empty ones");
}

// 36
#[test]
fn a_member_of_an_empty_log_is_probed_from_its_beginning() {
    let storage = MemoryStorage::with_conf_state(voters(&[1]));
    let mut node = Node::new(&config(1), storage);
    node.raw.apply_conf_change(1, &changes(&[change(AddNode, 2)])).expect("a change");
    node.raw.apply_conf_change(1, &changes(&[change(AddNode, 3)])).expect("a change");
    node.elect();
    assert!(node.progress(2).starts_with("StateProbe match=0 next=1"));
}

// 37
#[test]
fn a_removed_leader_leads_on_without_counting_itself_unless_it_steps_down() {
    let mut node = leader();
    make(&mut node, &changes(&[change(RemoveNode, 1)]));
    assert_eq!((node.role(), node.members().as_str()), (Role::Leader, "voters=(2 3)"));
    let dropped = node.raw.propose("a");
    assert!(matches!(dropped, Err(Error::ProposalDropped(DropReason::NotMember))));
    assert!(!of(&node.tick(1), MessageType::Heartbeat).is_empty());

    let mut node = leader_with(&Config { step_down_on_removal: true, ..config(1) });
    make(&mut node, &changes(&[change(RemoveNode, 1)]));
    assert_eq!((node.role(), node.term(), node.leader()), (Role::Follower, 1, 0));
    assert_eq!(node.tick(100), []);
}

// 37: what it had appended before is committed by the others alone.
#[test]
fn a_leader_that_is_leaving_commits_by_the_votes_of_those_who_stay() {
    let mut node = leader_with(&Config { step_down_on_removal: false, ..config(1) });
    node.raw.propose_conf_change(&changes(&[change(RemoveNode, 1)])).expect("a leader");
    node.propose("a");
    node.take(ack(2, 1, 2));
    assert_eq!(node.members(), "voters=(2 3)");
    node.take(ack(2, 1, 3));
    assert_eq!(node.commit(), 2, "one of two, and the leader is none of them");
    node.take(ack(3, 1, 3));
    assert_eq!(node.commit(), 3);
}

// 37
#[test]
fn a_demoted_leader_takes_proposals_on_unless_it_steps_down() {
    for (step_down_on_removal, role) in [(false, Role::Leader), (true, Role::Follower)] {
        let mut node = leader_with(&Config { step_down_on_removal, ..config(1) });
        make(&mut node, &changes(&[change(AddLearnerNode, 1)]));
        assert_eq!((node.role(), node.term()), (role, 1));
        assert_eq!(node.members(), "voters=(2 3) learners=(1)");
        assert_eq!(node.raw.propose("a").is_ok(), role == Role::Leader);
    }
}

// 38
#[test]
fn a_voter_that_is_demoted_stays_one_until_the_joint_configuration_is_left() {
    let mut node = leader();
    let demotion = [(AddLearnerNode, 3), (AddNode, 4)];
    make(&mut node, &joint(ConfChangeTransition::JointExplicit, &demotion));
    assert_eq!(node.members(), "voters=(1 2 4)&&(1 2 3) learners_next=(3)");
    assert!(!node.progress(3).contains("learner"));
    // Its vote counts in the outgoing half.
    node.propose("a");
    node.take(ack(4, 1, 3));
    assert_eq!(node.commit(), 2);
    node.take(ack(3, 1, 3));
    assert_eq!(node.commit(), 3);
    make(&mut node, &ConfChangeV2::default());
    node.take(ack(3, 1, 4));
    assert_eq!(node.members(), "voters=(1 2 4) learners=(3)");
    assert!(node.progress(3).contains("learner"));
}

// 38
#[test]
fn who_is_leaving_is_sent_entries_until_the_joint_configuration_is_left() {
    let mut node = leader();
    make(&mut node, &joint(ConfChangeTransition::JointExplicit, &[(RemoveNode, 3)]));
    assert_eq!(node.members(), "voters=(1 2)&&(1 2 3)");
    assert_ne!(node.progress(3), "");
    make(&mut node, &ConfChangeV2::default());
    assert_eq!(node.members(), "voters=(1 2)");
    assert_eq!(node.progress(3), "");
    assert!(node.raw.step(ack(3, 1, 3)).is_err());
}

// 38
#[test]
fn in_a_joint_configuration_both_halves_commit() {
    let mut node = leader();
    let to = [(RemoveNode, 2), (RemoveNode, 3), (AddNode, 4), (AddNode, 5)];
    make(&mut node, &joint(ConfChangeTransition::JointExplicit, &to));
    node.propose("a");
    node.take(ack(2, 1, 3));
    node.take(ack(3, 1, 3));
    assert_eq!(node.commit(), 2);
    node.take(ack(4, 1, 3));
    assert_eq!(node.commit(), 3);
}

// 39
#[test]
fn a_change_that_does_not_fit_is_refused_and_changes_nothing() {
    let mut node = leader();
    let everybody = [(RemoveNode, 1), (RemoveNode, 2), (RemoveNode, 3)];
    let mut unknown = changes(&[change(AddNode, 4)]);
    unknown.changes[0].change_type = Some(77);
    let cases = [
        (joint(ConfChangeTransition::Auto, &everybody), ConfChangeError::NoVoters),
        (ConfChangeV2::default(), ConfChangeError::NotJoint),
        (changes(&[change(AddNode, u64::MAX)]), ConfChangeError::ReservedId(u64::MAX)),
    ];
    let before = node.raw.status();
    node.raw.apply_conf_change(1, &unknown).expect_err("a type that is not known");
    assert_eq!(node.raw.status(), before);
    for (change, expected) in cases {
        match node.raw.apply_conf_change(1, &change) {
            Err(Error::ConfChange(found)) => assert_eq!(found, expected),
            other => panic!("{expected:?} expected, but {other:?}"),
        }
        assert_eq!(node.raw.status(), before);
    }
    make(&mut node, &joint(ConfChangeTransition::JointExplicit, &[(AddLearnerNode, 4)]));
    let before = node.raw.status();
    let joint_again = joint(ConfChangeTransition::JointExplicit, &[(AddLearnerNode, 5)]);
    for (change, expected) in [
        (changes(&[change(AddNode, 5)]), ConfChangeError::SimpleInJoint),
        (joint_again, ConfChangeError::AlreadyJoint),
    ] {
        match node.raw.apply_conf_change(1, &change) {
            Err(Error::ConfChange(found)) => assert_eq!(found, expected),
            other => panic!("{expected:?} expected, but {other:?}"),
        }
        assert_eq!(node.raw.status(), before);
    }
}

// 39
#[test]
fn a_configuration_without_voters_is_not_entered_jointly() {
    let mut node = Node::new(&config(1), MemoryStorage::new());
    let first = joint(ConfChangeTransition::JointExplicit, &[(AddNode, 1)]);
    let refused = node.raw.apply_conf_change(1, &first);
    assert!(matches!(refused, Err(Error::ConfChange(ConfChangeError::JointFromNothing))));
    node.raw.apply_conf_change(1, &changes(&[change(AddNode, 1)])).expect("a first voter");
    assert_eq!(node.members(), "voters=(1)");
}

// 40, 41
#[test]
fn a_stored_configuration_comes_back_whatever_the_order_of_its_lists() {
    let both = ConfState {
        voters: vec![3, 1, 2],
        voters_outgoing: vec![6, 1, 2, 4],
        learners: vec![7, 5],
        learners_next: vec![6, 4],
        auto_leave: true,
    };
    let line = "voters=(1 2 3)&&(1 2 4 6) learners=(5 7) learners_next=(4 6) autoleave";
    let node = Node::new(&config(1), MemoryStorage::with_conf_state(both.clone()));
    assert_eq!(node.members(), line);
    // And so it does by a snapshot.
    let mut node = Node::one_of(&[1, 2]);
    node.take(install(2, 1, snapshot(7, 1, both)));
    assert_eq!(node.members(), line);
}

// 40
#[test]
fn a_snapshot_that_leaves_the_node_out_is_not_installed() {
    let mut node = Node::with_log(&[1, 2, 3], &[1]);
    let answer = only(node.take(install(2, 1, snapshot(9, 1, voters(&[2, 3])))));
    assert_eq!((answer.index, answer.reject), (0, false));
    assert_eq!((node.last(), node.commit(), node.members().as_str()), (1, 0, "voters=(1 2 3)"));
    // As a learner, or as one that is being removed, it is among the members.
    let as_learner = ConfState { learners: vec![1], ..voters(&[2, 3]) };
    let leaving = ConfState { voters_outgoing: vec![1, 2], ..voters(&[2, 3]) };
    for members in [as_learner, leaving] {
        let mut node = Node::with_log(&[1, 2, 3], &[1]);
        node.take(install(2, 1, snapshot(9, 1, members)));
        assert_eq!(node.last(), 9);
    }
}

// 42
#[test]
fn a_restarted_node_has_the_configuration_of_what_it_has_applied() {
    let mut node = leader();
    make(&mut node, &joint(ConfChangeTransition::JointExplicit, &[(AddLearnerNode, 4)]));
    node.raw.propose_conf_change(&ConfChangeV2::default()).expect("a leader");
    node.run();
    let applied = node.raw.basic_status().applied;
    assert_eq!((applied, node.last()), (2, 3));
    node.applied.clear();
    node.restart(&Config { applied, ..config(1) });
    assert_eq!(node.members(), "voters=(1 2 3)&&(1 2 3) learners=(4)");
    assert_eq!(node.raw.basic_status().applied, 2);
    // What is committed later is applied later.
    node.take(heartbeat(2, 2, 3));
    assert_eq!(node.applied.iter().map(|e| e.index).collect::<Vec<_>>(), [3]);
    assert_eq!(node.members(), "voters=(1 2 3) learners=(4)");
}

// 33 to 38, with nodes that talk to each other.
#[test]
fn three_nodes_are_replaced_by_three_others_one_by_one_and_all_at_once() {
    let config = |id| Config { step_down_on_removal: true, ..config(id) };
    let mut group = Group::new(3, config);
    for id in [4, 5, 6] {
        // They begin where the log does: with the first three.
        let storage = MemoryStorage::with_conf_state(voters(&[1, 2, 3]));
        group.nodes.push(Node::new(&config(id), storage));
    }
    group.campaign(1);
    group.node(1).raw.propose("a").expect("a leader");
    let all = [(AddNode, 4), (AddNode, 5), (AddNode, 6)];
    let all = [all, [(RemoveNode, 1), (RemoveNode, 2), (RemoveNode, 3)]].concat();
    let change = joint(ConfChangeTransition::Auto, &all);
    group.node(1).raw.propose_conf_change(&change).expect("a leader");
    group.settle();
    group.tick(1, 3);
    assert_eq!(group.node(1).role(), Role::Follower, "it has stepped down");
    group.campaign(5);
    assert_eq!(group.node(5).role(), Role::Leader);
    assert_eq!(group.node(4).members(), "voters=(4 5 6)");
    group.node(5).raw.propose("b").expect("a leader");
    group.settle();
    assert_eq!(group.see(6).applied_data(), group.see(5).applied_data());
    assert!(group.node(4).applied_data().ends_with(&[b"b"]));
}
