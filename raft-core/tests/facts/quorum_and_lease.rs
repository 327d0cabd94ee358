//! The check of the quorum, and leases (facts 15 to 17, 21 and 22).

use raft_core::{
    ConfChangeType, Config, Error, MemoryStorage, MessageType, RawNode, ReadOnlyOption, Role,
};

use crate::hand::{
    Node, ack, change, changes, config, heartbeat, message, of, only, pre_vote, reject, stored,
    vote, voters,
};
use MessageType::{Heartbeat, HeartbeatResponse, ReadIndexResponse, VoteResponse};

fn checked(ids: &[u64]) -> Node {
    let config = Config { check_quorum: true, ..config(1) };
    Node::new(&config, MemoryStorage::with_conf_state(voters(ids)))
}

// 15
#[test]
fn a_leader_that_hears_from_a_quorum_leads_on() {
    let mut node = checked(&[1, 2, 3, 4, 5]).lead();
    for _ in 0..5 {
        node.take(message(HeartbeatResponse, 2, 1));
        node.take(message(HeartbeatResponse, 4, 1));
        node.tick(10);
        assert_eq!(node.role(), Role::Leader);
    }
}

// 15: each window is judged by itself.
#[test]
fn what_was_heard_before_the_last_check_does_not_count() {
    let mut node = checked(&[1, 2, 3]).lead();
    node.take(message(HeartbeatResponse, 2, 1));
    node.tick(10);
    assert_eq!(node.role(), Role::Leader);
    assert!(node.progress(2).contains("inactive"));
    assert!(!node.progress(1).contains("inactive"), "a leader is active for itself");
    node.tick(10);
    assert_eq!(node.role(), Role::Follower);
}

// 15, 16
#[test]
fn a_leader_that_hears_from_a_minority_steps_down_in_its_term() {
    let mut node = checked(&[1, 2, 3, 4, 5]).lead();
    node.take(message(HeartbeatResponse, 2, 1));
    node.tick(9);
    assert_eq!(node.role(), Role::Leader);
    node.tick(1);
    assert_eq!((node.role(), node.term(), node.leader()), (Role::Follower, 1, 0));
    assert_eq!(node.vote(), 1, "nor does it vote for another in it");
}

// 15
#[test]
fn learners_do_not_make_a_quorum() {
    let members = raft_core::ConfState { learners: vec![4, 5], ..voters(&[1, 2, 3]) };
    let config = Config { check_quorum: true, ..config(1) };
    let mut node = Node::new(&config, MemoryStorage::with_conf_state(members)).lead();
    node.take(message(HeartbeatResponse, 4, 1));
    node.take(message(HeartbeatResponse, 5, 1));
    node.tick(10);
    assert_eq!(node.role(), Role::Follower);
}

// 15
#[test]
fn in_a_joint_configuration_the_leader_must_hear_from_both_halves() {
    let members = raft_core::ConfState { voters_outgoing: vec![1, 4, 5], ..voters(&[1, 2, 3]) };
    for (heard, role) in [([2, 3], Role::Follower), ([2, 4], Role::Leader)] {
        let config = Config { check_quorum: true, ..config(1) };
        let storage = MemoryStorage::with_conf_state(members.clone());
        let mut node = Node::new(&config, storage).lead();
        for from in heard {
            node.take(message(HeartbeatResponse, from, 1));
        }
        node.tick(10);
        assert_eq!(node.role(), role);
    }
}

// 15
#[test]
fn members_that_join_do_not_depose_the_leader_before_they_could_speak() {
    let mut node = checked(&[1]).lead();
    node.tick(9);
    for id in [2, 3] {
        let joining = changes(&[change(ConfChangeType::AddNode, id)]);
        node.raw.apply_conf_change(1, &joining).expect("a change that fits");
    }
    assert!(!node.progress(2).contains("inactive"));
    node.tick(1);
    assert_eq!(node.role(), Role::Leader);
    node.tick(10);
    assert_eq!(node.role(), Role::Follower, "now they could have");
}

// 16
#[test]
fn the_quorum_is_checked_each_election_tick_and_not_each_drawn_timeout() {
    let mut node = checked(&[1, 2, 3]).lead();
    node.raw.set_randomized_election_timeout(1_000);
    node.tick(10);
    assert_eq!(node.role(), Role::Follower);
}

// 16
#[test]
fn without_the_check_a_leader_leads_whatever_it_hears() {
    let mut node = Node::one_of(&[1, 2, 3]).lead();
    node.tick(100);
    assert_eq!(node.role(), Role::Leader);
}

// 17
#[test]
fn every_answer_of_the_term_shows_that_a_member_is_alive() {
    let answers =
        [ack(2, 1, 0), ack(2, 1, 1), reject(2, 1, 9, (3, 1)), message(HeartbeatResponse, 2, 1)];
    for answer in answers {
        let mut node = checked(&[1, 2, 3]).lead();
        assert!(node.progress(2).contains("inactive"));
        node.take(answer);
        assert!(!node.progress(2).contains("inactive"));
        node.tick(10);
        assert_eq!(node.role(), Role::Leader);
    }
}

// 17
#[test]
fn a_vote_that_comes_late_does_not_show_it() {
    let mut node = checked(&[1, 2, 3]).lead();
    node.take(message(VoteResponse, 2, 1));
    assert!(node.progress(2).contains("inactive"));
}

// 21
#[test]
fn leases_need_the_check_of_the_quorum() {
    let bad = Config { read_only_option: ReadOnlyOption::LeaseBased, ..config(1) };
    let made = RawNode::new(&bad, MemoryStorage::with_conf_state(voters(&[1])));
    assert!(matches!(made.err(), Some(Error::Config(_))));
}

fn leased() -> Node {
    let read_only_option = ReadOnlyOption::LeaseBased;
    let config = Config { check_quorum: true, read_only_option, ..config(1) };
    Node::new(&config, MemoryStorage::with_conf_state(voters(&[1, 2, 3])))
}

// 21
#[test]
fn a_leased_read_is_answered_at_once_and_by_nobodys_leave() {
    let mut node = leased().lead();
    node.take(ack(2, 1, 1));
    node.raw.read_index("r").expect("a leader");
    let sent = node.run();
    assert_eq!(of(&sent, Heartbeat).len(), 0);
    assert_eq!((node.reads[0].index, node.reads[0].context.as_ref()), (1, b"r".as_slice()));

    let asked = raft_core::Message {
        entries: vec![crate::hand::entry(0, 0, "s")],
        ..message(MessageType::ReadIndex, 3, 0)
    };
    let answer = only(node.take(asked));
    assert_eq!((answer.kind(), answer.to, answer.index), (Some(ReadIndexResponse), 3, 1));
}

// 21: etcd answers at once, though the other may have been elected in spite of the lease.
#[test]
fn once_somebody_was_told_to_campaign_reads_take_a_round_of_heartbeats() {
    let mut node = leased().lead();
    node.take(ack(2, 1, 1));
    node.raw.transfer_leader(2).expect("a leader");
    node.run();
    for ticks in [0, 10] {
        // Also after the transfer was given up: what was sent may still arrive.
        node.take(ack(3, 1, 1));
        node.tick(ticks);
        node.raw.read_index("r").expect("a leader");
        assert_eq!(of(&node.run(), Heartbeat).len(), 2);
        assert_eq!(node.reads, []);
    }
    let context = 2_u64.to_le_bytes().to_vec().into();
    node.take(raft_core::Message { context, ..message(HeartbeatResponse, 3, 1) });
    assert_eq!(node.reads.len(), 2);
}

// 21
#[test]
fn a_lease_is_not_given_up_by_forgetting_the_leader() {
    let mut node = leased();
    node.take(heartbeat(2, 1, 0));
    node.raw.forget_leader().expect("nothing happens");
    assert_eq!(node.leader(), 2);

    let mut node = checked(&[1, 2, 3]);
    node.take(heartbeat(2, 1, 0));
    node.raw.forget_leader().expect("it may");
    assert_eq!((node.leader(), node.term()), (0, 1));
    // And then votes, in the same term too.
    assert!(!only(node.take(vote(3, 1, (0, 0)))).reject);
}

// 21
#[test]
fn forgetting_the_leader_is_nothing_to_leaders_and_candidates() {
    let mut node = Node::one_of(&[1, 2, 3]);
    node.raw.campaign().expect("a campaign");
    node.raw.forget_leader().expect("nothing happens");
    assert_eq!(node.role(), Role::Candidate);
    let mut node = Node::one_of(&[1, 2, 3]).lead();
    node.raw.forget_leader().expect("nothing happens");
    assert_eq!((node.role(), node.leader()), (Role::Leader, 1));
}

// 22: without the option as in etcd.
#[test]
fn a_restarted_node_votes_at_once_unless_it_counts_a_lease_from_its_start() {
    for (lease_from_boot, requests) in [(false, 0), (true, 1)] {
        let config = Config { check_quorum: true, lease_from_boot, ..config(1) };
        for request in [vote(3, 2, (1, 1)), pre_vote(3, 2, (1, 1))] {
            let mut node = Node::new(&config, stored(voters(&[1, 2, 3]), &[1]));
            node.raw.set_randomized_election_timeout(1_000);
            node.tick(9);
            assert_eq!(node.take(request.clone()).len(), 1 - requests);
            node.raw.set_randomized_election_timeout(1_000);
            node.tick(1);
            assert!(!only(node.take(request)).reject);
        }
    }
}

// 22
#[test]
fn the_lease_from_the_start_holds_up_neither_the_own_campaign_nor_a_forced_one() {
    let config = Config { check_quorum: true, lease_from_boot: true, ..config(1) };
    let mut node = Node::new(&config, stored(voters(&[1, 2, 3]), &[1]));
    let forced =
        raft_core::Message { context: b"CampaignTransfer".as_slice().into(), ..vote(3, 2, (1, 1)) };
    assert!(!only(node.take(forced)).reject);
    let mut node = Node::new(&config, stored(voters(&[1, 2, 3]), &[1]));
    node.tick(20);
    assert_eq!(node.role(), Role::Candidate);
}
