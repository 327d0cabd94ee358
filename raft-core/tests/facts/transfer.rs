//! Leadership transfer (facts 18 to 20).

use raft_core::{
    ConfChangeType, ConfState, Config, DropReason, Error, MemoryStorage, Message, MessageType, Role,
};

use crate::hand::{
    Group, Node, ack, change, changes, config, granted, heartbeat, message, of, only, stored,
    voters,
};
use MessageType::{Append, HeartbeatResponse, PreVote, TimeoutNow, TransferLeader, Vote};

/// Leads 2 and 3, of which 2 has everything, and learner 4.
fn leader() -> Node {
    let members = ConfState { learners: vec![4], ..voters(&[1, 2, 3]) };
    let mut node = Node::new(&config(1), MemoryStorage::with_conf_state(members)).lead();
    node.take(ack(2, 1, 1));
    node
}

fn transferee(node: &Node) -> u64 {
    node.raw.basic_status().lead_transferee
}

fn transfer(node: &mut Node, to: u64) -> Vec<Message> {
    node.raw.transfer_leader(to).expect("asked or ignored");
    node.run()
}

// 18
#[test]
fn leadership_goes_neither_to_learners_nor_to_strangers_nor_to_the_leader() {
    for to in [0, u64::MAX] {
        assert!(matches!(leader().raw.transfer_leader(to), Err(Error::Refused(_))), "no node");
    }
    for to in [4, 9, 1] {
        let mut node = leader();
        assert_eq!(transfer(&mut node, to), []);
        assert_eq!(transferee(&node), 0);
        node.propose("a");
    }
}

// 18
#[test]
fn who_has_the_whole_log_is_told_to_campaign_at_once() {
    let mut node = leader();
    let m = only(transfer(&mut node, 2));
    assert_eq!((m.kind(), m.to, m.term), (Some(TimeoutNow), 2, 1));
    assert_eq!(transferee(&node), 2);
}

// 18
#[test]
fn who_lags_is_told_to_campaign_when_it_has_the_whole_log() {
    let mut node = leader();
    node.propose("a");
    node.propose("b");
    node.take(message(HeartbeatResponse, 3, 1));
    assert_eq!(of(&transfer(&mut node, 3), TimeoutNow).len(), 0);
    assert_eq!(of(&node.take(ack(3, 1, 2)), TimeoutNow).len(), 0);
    assert_eq!(of(&node.take(ack(2, 1, 3)), TimeoutNow).len(), 0, "the wrong one");
    let sent = node.take(ack(3, 1, 3));
    assert_eq!(of(&sent, TimeoutNow)[0].to, 3);
}

// 18
#[test]
fn who_lags_is_sent_what_it_lacks_at_once() {
    let mut node = leader();
    node.propose("a");
    node.take(ack(3, 1, 1));
    // The window is open: everything is under way, and the transfer asks for an answer.
    let sent = transfer(&mut node, 3);
    assert_eq!(of(&sent, Append).iter().map(|m| m.to).collect::<Vec<_>>(), [3]);
}

// 18
#[test]
fn while_leadership_is_transferred_proposals_are_dropped() {
    let mut node = leader();
    transfer(&mut node, 3);
    let dropped = node.raw.propose("a");
    assert!(matches!(dropped, Err(Error::ProposalDropped(DropReason::Transferring))));
    assert_eq!(node.last(), 1);
}

// 18
#[test]
fn a_transfer_is_given_up_after_an_election_tick() {
    let mut node = leader();
    node.tick(7);
    transfer(&mut node, 3);
    node.tick(9);
    assert_eq!(transferee(&node), 3, "the time runs from the request");
    node.tick(1);
    assert_eq!((transferee(&node), node.role()), (0, Role::Leader));
    node.propose("a");
}

// 18
#[test]
fn the_same_target_again_does_not_prolong_the_transfer_and_another_replaces_it() {
    let mut node = leader();
    transfer(&mut node, 3);
    node.tick(5);
    assert_eq!(transfer(&mut node, 3), []);
    node.tick(5);
    assert_eq!(transferee(&node), 0);

    let mut node = leader();
    transfer(&mut node, 3);
    node.tick(5);
    assert_eq!(only(transfer(&mut node, 2)).to, 2);
    node.tick(9);
    assert_eq!(transferee(&node), 2);
    // The one that was meant before is not told any more.
    assert_eq!(of(&node.take(ack(3, 1, 1)), TimeoutNow).len(), 0);
    // The leader itself as a target takes the request back.
    transfer(&mut node, 1);
    assert_eq!(transferee(&node), 0);
}

// 18
#[test]
fn a_leader_that_follows_another_has_nobody_to_hand_over_to() {
    let mut node = leader();
    transfer(&mut node, 3);
    node.take(heartbeat(2, 2, 0));
    assert_eq!(transferee(&node), 0);
}

// 18
#[test]
fn a_follower_passes_the_request_on_and_who_has_no_leader_drops_it() {
    let mut node = Node::one_of(&[1, 2, 3]);
    assert_eq!(transfer(&mut node, 3), []);
    node.take(heartbeat(2, 1, 0));
    let m = only(transfer(&mut node, 3));
    assert_eq!((m.kind(), m.to, m.from), (Some(TransferLeader), 2, 3));

    let mut leader = leader();
    let sent = leader.take(message(TransferLeader, 2, 1));
    assert_eq!(only(sent).kind(), Some(TimeoutNow));
}

// 19
#[test]
fn who_is_told_campaigns_at_once_without_asking_first_and_says_that_it_is_forced() {
    let config = Config { pre_vote: true, check_quorum: true, ..config(1) };
    let mut node = Node::new(&config, stored(voters(&[1, 2, 3]), &[1]));
    node.take(heartbeat(2, 1, 0));
    let sent = node.take(message(TimeoutNow, 2, 1));
    assert_eq!(of(&sent, PreVote).len(), 0);
    let requests = of(&sent, Vote);
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|m| m.context.as_ref() == b"CampaignTransfer"));
    assert_eq!((node.role(), node.term()), (Role::Candidate, 2));
}

// 19
#[test]
fn a_campaign_of_its_own_is_not_forced() {
    let mut node = Node::one_of(&[1, 2, 3]);
    node.raw.campaign().expect("a campaign");
    assert!(of(&node.run(), Vote).iter().all(|m| m.context.is_empty()));
}

// 19
#[test]
fn candidates_and_leaders_are_not_told_to_campaign() {
    let mut node = Node::one_of(&[1, 2, 3]);
    node.raw.campaign().expect("a campaign");
    node.run();
    assert_eq!(node.take(message(TimeoutNow, 2, 1)), []);
    assert_eq!((node.role(), node.term()), (Role::Candidate, 1));
    node.take(granted(MessageType::VoteResponse, 2, 1));
    assert_eq!(node.take(message(TimeoutNow, 2, 1)), []);
    assert_eq!((node.role(), node.term()), (Role::Leader, 1));
}

// 19
#[test]
fn a_transfer_succeeds_within_everybodys_lease() {
    let make = |id| Config { pre_vote: true, check_quorum: true, ..config(id) };
    let mut group = Group::new(3, make);
    group.campaign(1);
    group.node(1).raw.transfer_leader(3).expect("a leader");
    group.settle();
    assert_eq!(group.roles(), [Role::Follower, Role::Follower, Role::Leader]);
    assert!(group.nodes.iter().all(|node| (node.term(), node.leader()) == (2, 3)));
}

// 19
#[test]
fn a_transfer_to_who_does_not_answer_leaves_the_leader_leading() {
    let mut group = Group::new(3, config);
    group.campaign(1);
    group.isolate(3);
    group.node(1).raw.transfer_leader(3).expect("a leader");
    group.tick(1, 10);
    assert_eq!(group.node(1).role(), Role::Leader);
    group.node(1).raw.propose("a").expect("the transfer is over");
    group.settle();
    assert_eq!(group.node(2).applied_data(), [b"a"]);
}

// 20
#[test]
fn a_target_that_is_removed_or_demoted_ends_the_transfer() {
    for kind in [ConfChangeType::RemoveNode, ConfChangeType::AddLearnerNode] {
        let mut node = leader();
        transfer(&mut node, 3);
        node.raw.apply_conf_change(1, &changes(&[change(kind, 3)])).expect("a change that fits");
        assert_eq!(transferee(&node), 0);
        node.propose("a");
    }
}

// 20
#[test]
fn a_change_of_another_member_does_not_end_it() {
    let mut node = leader();
    transfer(&mut node, 3);
    let leaving = changes(&[change(ConfChangeType::RemoveNode, 2)]);
    node.raw.apply_conf_change(1, &leaving).expect("a change that fits");
    assert_eq!(transferee(&node), 3);
}
