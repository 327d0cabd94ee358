//! The thesis: leadership transfer (3.10), membership (chapter 4), reads (6.4), pre-vote (9.6).

use raft_core::{
    ConfChangeTransition, ConfChangeType, ConfState, Config, MemoryStorage, MessageType,
    ReadOnlyOption, Role,
};

use crate::hand::{Group, Node, ack, change, changes, config, granted, of, stored, voters};
use ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
use MessageType::{Append, PreVote, TimeoutNow, Vote, VoteResponse};

fn careful(id: u64) -> Config {
    Config { check_quorum: true, pre_vote: true, ..config(id) }
}

fn propose(group: &mut Group, id: u64, data: &'static str) {
    group.node(id).raw.propose(data).expect("a leader");
    group.settle();
}

fn reconfigure(group: &mut Group, id: u64, singles: &[(ConfChangeType, u64)]) {
    let singles: Vec<_> = singles.iter().map(|(kind, node)| change(*kind, *node)).collect();
    group.node(id).raw.propose_conf_change(&changes(&singles)).expect("a leader");
    group.settle();
    group.tick(id, 2);
}

/// A node that is to join: it begins where the log does, with the first members.
fn newcomer(id: u64, first: &[u64]) -> Node {
    Node::new(&config(id), MemoryStorage::with_conf_state(voters(first)))
}

// Section 3.10.

#[test]
fn a_transfer_stops_requests_brings_the_target_up_to_date_and_makes_it_campaign() {
    let mut group = Group::new(3, careful);
    group.campaign(1);
    group.isolate(3);
    for _ in 0..5 {
        propose(&mut group, 1, "a");
    }
    group.heal();
    // The third lags; the request comes by way of a follower.
    group.node(2).raw.transfer_leader(3).expect("a leader is known");
    let request = group.node(2).run().remove(0);
    group.node(1).raw.step(request).expect("a request");
    assert!(group.node(1).raw.propose("b").is_err());
    assert_eq!(group.node(3).role(), Role::Follower);
    let mut sent = group.settle();
    group.node(1).raw.tick().expect("a tick");
    sent.extend(group.settle());
    let place = |kind| sent.iter().position(|m| m.to == 3 && m.kind() == Some(kind));
    assert!(place(Append) < place(TimeoutNow));
    assert_eq!((group.node(3).role(), group.node(3).term()), (Role::Leader, 2));
    assert_eq!(group.node(1).leader(), 3);
    propose(&mut group, 3, "c");
    assert!(group.see(1).applied_data().ends_with(&[b"c"]));
}

#[test]
fn who_takes_over_has_everything_that_was_committed_before() {
    for target in [2, 3, 4, 5] {
        let mut group = Group::new(5, config);
        group.campaign(1);
        propose(&mut group, 1, "a");
        group.node(1).raw.transfer_leader(target).expect("a leader");
        group.settle();
        assert_eq!(group.node(target).role(), Role::Leader);
        assert_eq!(group.see(target).applied_data(), [b"a"]);
    }
}

#[test]
fn a_transfer_that_fails_ends_and_the_leader_goes_on() {
    let mut group = Group::new(3, careful);
    group.campaign(1);
    group.lost = vec![TimeoutNow];
    group.node(1).raw.transfer_leader(2).expect("a leader");
    group.tick(1, 11);
    group.heal();
    assert_eq!((group.node(1).role(), group.node(1).term()), (Role::Leader, 1));
    propose(&mut group, 1, "a");
    assert_eq!(group.see(3).applied_data(), [b"a"]);
}

// Section 4.1.

#[test]
fn one_server_at_a_time_joins_and_leaves_without_a_joint_configuration() {
    let mut group = Group::new(3, config);
    group.nodes.push(newcomer(4, &[1, 2, 3]));
    group.campaign(1);
    reconfigure(&mut group, 1, &[(AddNode, 4)]);
    assert!(group.nodes.iter().all(|node| node.members() == "voters=(1 2 3 4)"));
    reconfigure(&mut group, 1, &[(RemoveNode, 2)]);
    for id in [1, 3, 4] {
        assert_eq!(group.see(id).members(), "voters=(1 3 4)");
    }
}

#[test]
fn the_majority_is_that_of_the_new_configuration_once_it_is_applied() {
    let mut group = Group::new(3, config);
    group.nodes.push(newcomer(4, &[1, 2, 3]));
    group.nodes.push(newcomer(5, &[1, 2, 3]));
    group.campaign(1);
    reconfigure(&mut group, 1, &[(AddNode, 4)]);
    reconfigure(&mut group, 1, &[(AddNode, 5)]);
    let commit = group.node(1).commit();
    group.isolate(4);
    group.isolate(5);
    propose(&mut group, 1, "a");
    assert_eq!(group.node(1).commit(), commit + 1, "three of five");
    group.isolate(3);
    propose(&mut group, 1, "b");
    assert_eq!(group.node(1).commit(), commit + 1, "two of five");
}

// The flaw of single changes that was found after the thesis, and its remedy.
#[test]
fn a_leader_makes_no_change_before_an_entry_of_its_term_is_committed() {
    let mut node = Node::with_log(&[1, 2, 3], &[1]).lead();
    node.raw.propose_conf_change(&changes(&[change(AddNode, 4)])).expect("a leader");
    node.run();
    node.take(ack(2, 2, 3));
    assert_eq!(node.members(), "voters=(1 2 3)", "an empty entry took its place");
    node.raw.propose_conf_change(&changes(&[change(AddNode, 4)])).expect("a leader");
    node.run();
    node.take(ack(2, 2, 4));
    assert_eq!(node.members(), "voters=(1 2 3 4)");
}

// Section 4.2.1.

#[test]
fn a_new_server_catches_up_without_a_vote_before_it_counts() {
    let mut group = Group::new(2, config);
    group.nodes.push(newcomer(3, &[1, 2]));
    group.campaign(1);
    for _ in 0..50 {
        propose(&mut group, 1, "a");
    }
    reconfigure(&mut group, 1, &[(AddLearnerNode, 3)]);
    assert_eq!(group.node(3).commit(), group.node(1).commit());
    // It counts neither for a commit nor for an election.
    group.isolate(2);
    let commit = group.node(1).commit();
    propose(&mut group, 1, "b");
    assert_eq!((group.node(1).commit(), group.node(3).last()), (commit, commit + 1));
    group.tick(3, 100);
    assert_eq!(group.node(3).term(), group.node(1).term());
    group.heal();
    group.tick(1, 2);
    reconfigure(&mut group, 1, &[(AddNode, 3)]);
    group.isolate(2);
    let commit = group.node(1).commit();
    propose(&mut group, 1, "c");
    assert_eq!(group.node(1).commit(), commit + 1);
}

#[test]
fn a_candidate_asks_voters_only() {
    let members = ConfState { learners: vec![3, 4], ..voters(&[1, 2]) };
    let mut node = Node::new(&config(1), MemoryStorage::with_conf_state(members));
    node.raw.campaign().expect("a campaign");
    assert_eq!(of(&node.run(), Vote).iter().map(|m| m.to).collect::<Vec<_>>(), [2]);
}

// Section 4.2.2.

#[test]
fn a_leader_removes_itself_commits_that_without_its_own_vote_and_steps_down() {
    let mut group = Group::new(3, |id| Config { step_down_on_removal: true, ..config(id) });
    group.campaign(1);
    reconfigure(&mut group, 1, &[(RemoveNode, 1)]);
    assert_eq!(group.node(1).role(), Role::Follower);
    group.tick(1, 50);
    assert_eq!(group.node(1).term(), 1, "and does not campaign any more");
    group.tick(2, 20);
    assert_eq!(group.node(2).role(), Role::Leader);
    assert_eq!(group.node(2).members(), "voters=(2 3)");
    propose(&mut group, 2, "a");
    assert_eq!(group.see(3).applied_data(), [b"a"]);
}

// Sections 4.2.3 and 9.6.

#[test]
fn a_server_that_was_removed_or_cut_off_does_not_disturb_the_rest() {
    let mut group = Group::new(3, careful);
    group.campaign(1);
    group.isolate(3);
    // It does not know that it is removed, and campaigns again and again.
    group.node(1).raw.propose_conf_change(&changes(&[change(RemoveNode, 3)])).expect("a leader");
    group.settle();
    group.tick(3, 100);
    group.heal();
    for _ in 0..50 {
        group.tick(3, 1);
        group.tick(1, 1);
    }
    assert_eq!((group.node(1).role(), group.node(1).term()), (Role::Leader, 1));
    assert_eq!((group.node(2).leader(), group.node(3).term()), (1, 1));
}

#[test]
fn who_comes_back_with_pre_vote_has_raised_no_term_and_without_it_has() {
    for (pre_vote, term) in [(true, 1), (false, 2)] {
        let mut group = Group::new(3, |id| Config { pre_vote, ..config(id) });
        group.campaign(1);
        group.isolate(3);
        group.node(3).raw.set_randomized_election_timeout(10);
        group.tick(3, 10);
        assert_eq!(group.node(3).term(), term);
    }
}

#[test]
fn a_pre_vote_is_won_before_a_term_is_entered() {
    let config = Config { pre_vote: true, ..config(1) };
    let mut node = Node::new(&config, stored(voters(&[1, 2, 3]), &[4]));
    node.raw.campaign().expect("a campaign");
    let asked = node.run();
    assert_eq!((of(&asked, PreVote).len(), of(&asked, Vote).len(), node.term()), (2, 0, 4));
    let asked = node.take(granted(MessageType::PreVoteResponse, 2, 5));
    assert_eq!((of(&asked, Vote).len(), node.term(), node.role()), (2, 5, Role::Candidate));
    node.take(granted(VoteResponse, 3, 5));
    assert_eq!(node.role(), Role::Leader);
}

#[test]
fn without_a_leader_pre_votes_are_won_and_a_leader_is_elected() {
    let mut group = Group::new(3, careful);
    group.campaign(1);
    group.isolate(1);
    for _ in 0..40 {
        group.tick(2, 1);
        group.tick(3, 1);
    }
    let leader = group.node(2).leader();
    assert!(leader == 2 || leader == 3);
    group.tick(1, 20);
    assert_ne!(group.node(1).role(), Role::Leader, "it has noticed that it is alone");
    group.heal();
    group.tick(leader, 3);
    assert_eq!(group.node(1).leader(), leader);
}

// Section 4.3.

#[test]
fn while_joint_neither_majority_alone_elects_or_commits() {
    let members = || ConfState { voters_outgoing: vec![1, 4, 5], ..voters(&[1, 2, 3]) };
    let ids = [1, 2, 3, 4, 5];
    let make = |id| Node::new(&config(id), MemoryStorage::with_conf_state(members()));
    for (away, works) in [([2, 3], false), ([4, 5], false), ([3, 5], true), ([2, 4], true)] {
        let mut group = Group::of(ids.map(make).into());
        for id in away {
            group.isolate(id);
        }
        group.campaign(1);
        assert_eq!(group.node(1).role() == Role::Leader, works, "without {away:?}");
        group.heal();
        group.campaign(1);
        for id in away {
            group.isolate(id);
        }
        let commit = group.node(1).commit();
        propose(&mut group, 1, "a");
        assert_eq!(group.node(1).commit() > commit, works, "without {away:?}");
    }
}

#[test]
fn any_server_of_either_half_may_lead_a_joint_configuration() {
    let members = || ConfState { voters_outgoing: vec![1, 2, 3], ..voters(&[3, 4, 5]) };
    let make = |id| Node::new(&config(id), MemoryStorage::with_conf_state(members()));
    for leader in [1, 3, 5] {
        let mut group = Group::of([1, 2, 3, 4, 5].map(make).into());
        group.campaign(leader);
        assert_eq!(group.node(leader).role(), Role::Leader);
        propose(&mut group, leader, "a");
        assert!(group.nodes.iter().all(|node| node.applied_data() == [b"a"]));
    }
}

#[test]
fn a_change_of_many_goes_through_the_joint_configuration_to_the_new_one() {
    let mut group = Group::new(3, config);
    for id in [4, 5] {
        group.nodes.push(newcomer(id, &[1, 2, 3]));
    }
    group.campaign(1);
    reconfigure(&mut group, 1, &[(AddNode, 4), (AddNode, 5), (RemoveNode, 2), (RemoveNode, 3)]);
    for id in [1, 4, 5] {
        assert_eq!(group.see(id).members(), "voters=(1 4 5)");
    }
    propose(&mut group, 1, "a");
    assert_eq!(group.see(5).applied_data(), [b"a"]);
}

#[test]
fn a_joint_configuration_is_left_by_the_next_leader_if_the_first_one_fails() {
    let mut group = Group::new(3, config);
    group.campaign(1);
    let mut change = changes(&[change(AddLearnerNode, 4)]);
    change.set_transition(ConfChangeTransition::JointImplicit);
    group.node(1).raw.propose_conf_change(&change).expect("a leader");
    // The change is committed and applied; the entry that leaves it stays with the first.
    for _ in 0..3 {
        let sent: Vec<_> = group.nodes.iter_mut().flat_map(Node::run).collect();
        for m in sent {
            let leaving = m.entries.iter().any(|e| e.data.is_empty() && e.index > 2);
            if !leaving && m.to != 4 {
                let _ = group.node(m.to).raw.step(m);
            }
        }
    }
    group.isolate(1);
    group.node(1).run();
    for id in [2, 3] {
        group.node(id).run();
    }
    group.campaign(2);
    group.tick(2, 2);
    assert_eq!(group.node(2).role(), Role::Leader);
    assert_eq!(group.node(2).members(), "voters=(1 2 3) learners=(4)");
}

// Section 6.4.

#[test]
fn a_read_sees_every_write_that_was_acknowledged_before_it() {
    let mut group = Group::new(3, config);
    group.campaign(1);
    propose(&mut group, 1, "a");
    for id in [1, 2, 3] {
        group.node(id).raw.read_index(format!("at {id}")).expect("a leader is known");
    }
    group.settle();
    let commit = group.node(1).commit();
    for node in &group.nodes {
        assert_eq!(node.reads.len(), 1);
        assert!(node.reads[0].index >= commit);
        assert_eq!(node.raw.basic_status().applied, commit);
    }
}

#[test]
fn a_leader_that_cannot_reach_a_quorum_answers_no_read_and_a_lease_outlives_it_for_a_timeout() {
    let mut group = Group::new(3, careful);
    group.campaign(1);
    group.isolate(1);
    group.node(1).raw.read_index("r").expect("a leader");
    group.tick(1, 9);
    assert_eq!(group.see(1).reads, []);

    let leased = |id| Config { read_only_option: ReadOnlyOption::LeaseBased, ..careful(id) };
    let mut group = Group::new(3, leased);
    group.campaign(1);
    group.tick(1, 10);
    group.isolate(1);
    group.node(1).raw.read_index("r").expect("a leader");
    group.settle();
    assert_eq!(group.see(1).reads.len(), 1);
    // Nobody else can have been elected yet; then it notices.
    group.tick(1, 20);
    assert_eq!(group.node(1).role(), Role::Follower);
    assert!(group.node(1).raw.read_index("s").is_err());
}

#[test]
fn a_new_leader_reads_only_what_its_own_term_has_committed() {
    let mut group = Group::new(3, config);
    group.campaign(1);
    // The first commits an entry; the others do not learn that it is committed.
    group.node(1).raw.propose("a").expect("a leader");
    let sent = group.node(1).run();
    for m in sent {
        let id = m.to;
        let answers = group.node(id).take(m);
        for answer in answers {
            group.node(1).take(answer);
        }
    }
    assert_eq!((group.node(1).commit(), group.node(2).commit()), (2, 1));
    group.isolate(1);
    group.lost = vec![MessageType::AppendResponse];
    group.campaign(2);
    assert_eq!((group.node(2).role(), group.node(2).commit()), (Role::Leader, 1));
    group.node(2).raw.read_index("r").expect("a leader");
    group.tick(2, 1);
    assert_eq!(group.see(2).reads, [], "index 1 would miss the acknowledged write");
    group.lost.clear();
    group.tick(2, 2);
    assert_eq!(group.see(2).reads.len(), 1);
    assert!(group.see(2).reads[0].index >= 2);
}
