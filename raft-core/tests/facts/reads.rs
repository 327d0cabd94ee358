//! Reads without writing to the log (facts 69 to 72).

use raft_core::{
    ConfState, Error, MemoryStorage, Message, MessageType, Peer, ReadDropReason, ReadState, Role,
};

use crate::hand::{Group, Node, ack, config, entry, heartbeat, message, of, only, stored, voters};
use MessageType::{Heartbeat, HeartbeatResponse, ReadIndex, ReadIndexResponse};

/// Leads 1, 2 and 3, with an entry of its term committed.
fn leader() -> Node {
    let mut node = Node::one_of(&[1, 2, 3]).lead();
    node.take(ack(2, 1, 1));
    node
}

fn read(node: &mut Node, context: &'static str) -> Vec<Message> {
    node.raw.read_index(context).expect("a leader, known or own");
    node.run()
}

fn asked_by(from: u64, context: &'static str) -> Message {
    Message { entries: vec![entry(0, 0, context)], ..message(ReadIndex, from, 0) }
}

/// The answer to a heartbeat with this count in it.
fn confirm(from: u64, term: u64, count: u64) -> Message {
    let context = count.to_le_bytes().to_vec().into();
    Message { context, ..message(HeartbeatResponse, from, term) }
}

fn answered(node: &Node) -> Vec<(u64, &[u8])> {
    node.reads.iter().map(|r: &ReadState| (r.index, r.context.as_ref())).collect()
}

// 69
#[test]
fn a_new_leader_answers_no_read_before_an_entry_of_its_term_is_committed() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 1]).lead();
    assert_eq!(of(&read(&mut node, "r"), Heartbeat).len(), 0);
    node.take(asked_by(3, "s"));
    node.take(confirm(2, 2, 9));
    assert_eq!(node.raw.status().postponed_reads, 2);
    node.take(ack(2, 2, 2));
    assert_eq!(node.raw.status().postponed_reads, 2, "of the term before");
    let sent = node.take(ack(2, 2, 3));
    assert_eq!(node.raw.status().postponed_reads, 0);
    assert!(!of(&sent, Heartbeat).is_empty(), "now a quorum is asked");
    assert_eq!(answered(&node), []);
    let sent = node.take(confirm(2, 2, 2));
    assert_eq!(answered(&node), [(3, b"r".as_slice())]);
    let answer = of(&sent, ReadIndexResponse)[0];
    assert_eq!((answer.to, answer.index, answer.entries[0].data.as_ref()), (3, 3, b"s".as_slice()));
}

// 69
#[test]
fn a_first_commit_by_a_smaller_quorum_lets_the_reads_go_too() {
    let mut node = Node::one_of(&[1, 2, 3, 4]).lead();
    read(&mut node, "r");
    node.take(ack(2, 1, 1));
    assert_eq!((node.commit(), node.raw.status().postponed_reads), (0, 1));
    let leaving = raft_core::ConfChangeSingle::new(raft_core::ConfChangeType::RemoveNode, 4);
    node.raw.apply_conf_change(1, &crate::hand::changes(&[leaving])).expect("a change that fits");
    assert_eq!((node.commit(), node.raw.status().postponed_reads), (1, 0));
    assert!(!of(&node.run(), Heartbeat).is_empty());
}

// 69
#[test]
fn a_leader_of_the_first_term_after_a_bootstrap_may_answer_at_once() {
    let mut node = Node::new(&config(1), MemoryStorage::new());
    node.raw.bootstrap(&[Peer { id: 1, context: "".into() }]).expect("an empty storage");
    node.run();
    node.raw.campaign().expect("a campaign");
    node.run();
    assert_eq!((node.role(), node.term()), (Role::Leader, 2));
    read(&mut node, "r");
    assert_eq!(answered(&node), [(2, b"r".as_slice())]);
}

// 69: a first snapshot of term 1 and a leader of term 1.
#[test]
fn what_a_first_snapshot_covers_counts_as_committed_in_its_term() {
    let storage = MemoryStorage::new();
    let first = crate::hand::snapshot(5, 1, voters(&[1, 2, 3]));
    storage.apply_snapshot(first).expect("a first snapshot");
    let mut node = Node::new(&config(1), storage).lead();
    assert_eq!((node.term(), node.commit()), (1, 5));
    assert_eq!(of(&read(&mut node, "r"), Heartbeat).len(), 2);
    node.take(confirm(2, 1, 1));
    assert_eq!(answered(&node), [(5, b"r".as_slice())]);
}

// 70
#[test]
fn a_read_is_confirmed_by_a_quorum_of_answers_that_carry_its_count() {
    let mut node = leader();
    let sent = read(&mut node, "r");
    let rounds = of(&sent, Heartbeat);
    assert_eq!(rounds.len(), 2);
    assert!(rounds.iter().all(|m| m.context.as_ref() == 1_u64.to_le_bytes()));
    assert_eq!(answered(&node), []);
    node.take(message(HeartbeatResponse, 2, 1));
    assert_eq!(answered(&node), [], "an answer to an earlier heartbeat");
    node.take(confirm(2, 1, 1));
    assert_eq!(answered(&node), [(1, b"r".as_slice())]);
}

// 70
#[test]
fn the_index_of_a_read_is_the_commit_index_when_it_came() {
    let mut node = leader();
    read(&mut node, "r");
    node.propose("a");
    node.take(ack(2, 1, 2));
    read(&mut node, "s");
    node.take(confirm(3, 1, 2));
    assert_eq!(answered(&node), [(1, b"r".as_slice()), (2, b"s".as_slice())]);
}

// 70
#[test]
fn an_answer_confirms_all_reads_up_to_its_count_and_none_after() {
    let mut node = leader();
    for context in ["a", "b", "c"] {
        read(&mut node, context);
    }
    node.take(confirm(3, 1, 2));
    assert_eq!(node.reads.len(), 2);
    assert_eq!(node.raw.status().unconfirmed_reads, 1);
    node.take(confirm(2, 1, 1));
    assert_eq!(node.reads.len(), 2, "an old answer");
    let sent = read(&mut node, "d");
    assert_eq!(of(&sent, Heartbeat)[0].context.as_ref(), 4_u64.to_le_bytes());
    node.take(confirm(2, 1, 4));
    assert_eq!(node.reads.len(), 4);
}

// 70
#[test]
fn each_request_is_answered_also_where_contexts_are_the_same() {
    let mut node = leader();
    read(&mut node, "same");
    read(&mut node, "same");
    node.take(confirm(2, 1, 1));
    assert_eq!(node.reads.len(), 1, "the answer to the first round says nothing of the second");
    node.take(confirm(2, 1, 2));
    assert_eq!(node.reads.len(), 2);
}

// 70
#[test]
fn a_lost_round_is_made_good_by_the_next_heartbeat_and_no_read_means_no_context() {
    let mut node = leader();
    assert!(of(&node.tick(1), Heartbeat).iter().all(|m| m.context.is_empty()));
    read(&mut node, "r");
    let sent = node.tick(1);
    assert!(of(&sent, Heartbeat).iter().all(|m| m.context.as_ref() == 1_u64.to_le_bytes()));
    node.take(confirm(2, 1, 1));
    assert!(of(&node.tick(1), Heartbeat).iter().all(|m| m.context.is_empty()));
}

// 70
#[test]
fn a_follower_answers_a_heartbeat_with_its_context() {
    let mut node = Node::one_of(&[1, 2, 3]);
    let asked = Message { context: b"12345678".as_slice().into(), ..heartbeat(2, 1, 0) };
    assert_eq!(only(node.take(asked)).context.as_ref(), b"12345678");
}

// 70
#[test]
fn in_a_joint_configuration_both_halves_confirm_a_read_and_learners_do_not() {
    let members =
        ConfState { voters_outgoing: vec![1, 4, 5], learners: vec![6, 7], ..voters(&[1, 2, 3]) };
    let mut node = Node::new(&config(1), MemoryStorage::with_conf_state(members)).lead();
    node.take(ack(2, 1, 1));
    node.take(ack(4, 1, 1));
    read(&mut node, "r");
    for from in [6, 7, 2, 3] {
        node.take(confirm(from, 1, 1));
        assert_eq!(answered(&node), [], "{from}");
    }
    node.take(confirm(5, 1, 1));
    assert_eq!(node.reads.len(), 1);
}

// 70
#[test]
fn a_lone_voter_needs_nobody() {
    let members = ConfState { learners: vec![2], ..voters(&[1]) };
    let mut node = Node::new(&config(1), MemoryStorage::with_conf_state(members)).lead();
    read(&mut node, "r");
    assert_eq!(answered(&node), [(1, b"r".as_slice())]);
    let answer = node.take(asked_by(2, "s"));
    assert_eq!(of(&answer, ReadIndexResponse)[0].index, 1);
}

// 70
#[test]
fn a_lone_voter_that_is_not_the_leader_has_to_be_asked() {
    let config = raft_core::Config { step_down_on_removal: false, ..config(1) };
    let storage = MemoryStorage::with_conf_state(voters(&[1, 2]));
    let mut node = Node::new(&config, storage).lead();
    node.take(ack(2, 1, 1));
    let leaving = raft_core::ConfChangeSingle::new(raft_core::ConfChangeType::RemoveNode, 1);
    node.raw.apply_conf_change(1, &crate::hand::changes(&[leaving])).expect("a change that fits");
    assert_eq!((node.role(), node.members().as_str()), (Role::Leader, "voters=(2)"));
    read(&mut node, "r");
    assert_eq!(answered(&node), []);
    node.take(confirm(2, 1, 1));
    assert_eq!(answered(&node), [(1, b"r".as_slice())]);
}

// 70
#[test]
fn an_answer_with_a_count_that_was_never_sent_confirms_no_later_read() {
    let mut node = leader();
    node.take(confirm(2, 1, u64::MAX));
    read(&mut node, "r");
    node.take(confirm(2, 1, 0));
    assert_eq!(answered(&node), []);
}

// 71
#[test]
fn reads_that_were_not_confirmed_die_with_the_leadership() {
    let mut node = leader();
    read(&mut node, "r");
    node.take(heartbeat(2, 2, 1));
    assert_eq!(node.raw.status().unconfirmed_reads, 0);
    node.elect();
    node.take(ack(2, 3, node.last()));
    node.take(confirm(2, 3, 1));
    assert_eq!(answered(&node), []);
}

// 71
#[test]
fn reads_that_wait_for_a_first_commit_outlive_the_leadership() {
    let mut node = Node::one_of(&[1, 2, 3]).lead();
    read(&mut node, "r");
    node.take(heartbeat(2, 2, 0));
    assert_eq!(node.raw.status().postponed_reads, 1);
    node.elect();
    node.take(ack(2, 3, node.last()));
    node.take(confirm(2, 3, 1));
    // By an index of the later leadership, which is not too low for the earlier request.
    assert_eq!(answered(&node), [(node.commit(), b"r".as_slice())]);
}

// 71
#[test]
fn without_a_leader_a_read_is_dropped_with_that_reason() {
    let mut node = Node::one_of(&[1, 2, 3]);
    let dropped = node.raw.read_index("r");
    assert!(matches!(dropped, Err(Error::ReadDropped(ReadDropReason::NoLeader))));
    node.raw.campaign().expect("a campaign");
    let dropped = node.raw.read_index("r");
    assert!(matches!(dropped, Err(Error::ReadDropped(ReadDropReason::NoLeader))));
}

// 72
#[test]
fn a_read_and_its_answer_have_exactly_one_entry() {
    let mut node = leader();
    let mut follower = Node::one_of(&[1, 2, 3]);
    follower.take(heartbeat(2, 1, 0));
    for count in [0, 2] {
        let entries = vec![entry(0, 0, "r"); count];
        let asked = Message { entries: entries.clone(), ..message(ReadIndex, 3, 0) };
        assert!(matches!(node.raw.step(asked), Err(Error::Malformed { .. })));
        let answer = Message { entries, ..message(ReadIndexResponse, 2, 1) };
        assert!(matches!(follower.raw.step(answer), Err(Error::Malformed { .. })));
    }
    assert!(!node.raw.has_ready() && !follower.raw.has_ready());
}

// 72
#[test]
fn an_own_read_is_answered_by_a_read_state_and_anothers_by_a_message() {
    let mut group = Group::new(3, config);
    group.campaign(1);
    group.node(1).raw.read_index("at the leader").expect("a leader");
    group.node(3).raw.read_index("at a follower").expect("a leader is known");
    group.settle();
    assert_eq!(answered(group.see(1)), [(1, b"at the leader".as_slice())]);
    assert_eq!(answered(group.see(2)), []);
    assert_eq!(answered(group.see(3)), [(1, b"at a follower".as_slice())]);
}

// 72
#[test]
fn a_learner_asks_too_and_a_candidate_takes_no_answer() {
    let members = ConfState { learners: vec![1], ..voters(&[2, 3]) };
    let mut node = Node::new(&config(1), stored(members, &[1]));
    node.take(heartbeat(2, 1, 0));
    assert_eq!(only(read(&mut node, "r")).to, 2);
    let answer =
        Message { index: 1, entries: vec![entry(0, 0, "r")], ..message(ReadIndexResponse, 2, 1) };
    node.take(answer.clone());
    assert_eq!(answered(&node), [(1, b"r".as_slice())]);

    let mut node = Node::one_of(&[1, 2, 3]);
    node.raw.campaign().expect("a campaign");
    node.run();
    node.take(answer);
    assert_eq!(node.reads, []);
}
