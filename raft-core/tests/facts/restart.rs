//! Restarts: what a node goes on from (facts 73 to 78).

use raft_core::{Config, Error, HardState, MemoryStorage, MessageType, RawNode, Role};

use crate::hand::{
    Group, Node, Threaded, append, config, entries, heartbeat, of, only, snapshot, snapshotted,
    stored, vote, voters,
};

fn committed(terms: &[u64], hard_state: HardState) -> MemoryStorage {
    let storage = stored(voters(&[1, 2, 3]), terms);
    storage.set_hard_state(hard_state);
    storage
}

fn indexes(node: &Node) -> Vec<u64> {
    node.applied.iter().map(|e| e.index).collect()
}

// 73
#[test]
fn a_restarted_node_follows_nobody_in_the_term_and_with_the_vote_it_had() {
    let hard_state = HardState { term: 7, vote: 1, commit: 2 };
    let mut node = Node::new(&config(1), committed(&[1, 2, 2], hard_state));
    assert_eq!(node.raw.basic_status().hard_state, hard_state);
    assert_eq!((node.role(), node.leader()), (Role::Follower, 0));
    // The vote binds across the restart.
    assert!(only(node.take(vote(2, 7, (9, 9)))).reject);
}

// 73
#[test]
fn a_leader_that_restarts_is_none() {
    let mut node = Node::one_of(&[1]).lead();
    node.propose("a");
    node.restart(&config(1));
    assert_eq!((node.role(), node.term(), node.commit()), (Role::Follower, 1, 2));
    node.elect();
    assert_eq!(node.term(), 2);
}

// 73, 77
#[test]
fn what_is_committed_is_applied_again_from_the_applied_index_on() {
    for (applied, expected) in [(0, vec![1, 2, 3]), (1, vec![2, 3]), (3, vec![])] {
        let storage = committed(&[1; 5], HardState { term: 1, vote: 0, commit: 3 });
        let mut node = Node::new(&Config { applied, ..config(1) }, storage);
        assert_eq!(node.raw.basic_status().applied, applied);
        node.run();
        assert_eq!(indexes(&node), expected);
    }
}

// 73
#[test]
fn behind_a_snapshot_the_first_entry_applied_is_the_one_after_it() {
    let storage = snapshotted(voters(&[1, 2, 3]), 10, 2);
    storage.append(&entries(11, &[2, 2])).expect("entries behind the snapshot");
    storage.set_hard_state(HardState { term: 2, vote: 0, commit: 11 });
    let mut node = Node::new(&config(1), storage);
    assert_eq!(node.raw.basic_status().applied, 10);
    node.run();
    assert_eq!(indexes(&node), [11]);
    assert_eq!((node.commit(), node.last()), (11, 12));
}

// 73
#[test]
fn without_a_hard_state_what_the_snapshot_covers_is_committed() {
    let storage = MemoryStorage::new();
    storage.apply_snapshot(snapshot(4, 1, voters(&[1]))).expect("a first snapshot");
    let node = Node::new(&config(1), storage);
    assert_eq!((node.commit(), node.last(), node.term()), (4, 4, 0));
}

/// The error of a node that must not start: what, its value, and the bounds of it.
fn refused(config: &Config, storage: MemoryStorage) -> (&'static str, u64, u64, u64) {
    match RawNode::new(config, storage).err() {
        Some(Error::StoredState { what, value, low, high }) => (what, value, low, high),
        other => panic!("refused for what is stored, not {other:?}"),
    }
}

// 73, 75
#[test]
fn a_commit_index_beyond_the_log_is_refused() {
    let storage = committed(&[1; 3], HardState { term: 1, vote: 0, commit: 4 });
    assert_eq!(refused(&config(1), storage), ("commit index", 4, 0, 3));
}

// 73: it is a hint, and may lag behind; etcd stops the process.
#[test]
fn a_commit_index_before_the_snapshot_is_raised_to_it() {
    let storage = snapshotted(voters(&[1]), 10, 2);
    storage.set_hard_state(HardState { term: 2, vote: 0, commit: 9 });
    let node = Node::new(&config(1), storage);
    assert_eq!((node.commit(), node.term()), (10, 2));
}

// 74
#[test]
fn an_applied_index_before_the_snapshot_or_beyond_the_commit_index_is_refused() {
    let at = |applied| Config { applied, ..config(1) };
    let refusal = refused(&at(9), snapshotted(voters(&[1]), 10, 2));
    assert_eq!(refusal, ("applied index", 9, 10, 10));
    let storage = committed(&[1; 5], HardState { term: 1, vote: 0, commit: 3 });
    assert_eq!(refused(&at(4), storage), ("applied index", 4, 0, 3));
}

// 75
#[test]
fn a_running_follower_whose_disk_forgot_entries_refuses_the_leaders_commit_and_tells_a_gap() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 1]);
    let before = node.raw.status();
    let beyond = node.raw.step(heartbeat(2, 1, 3));
    assert!(matches!(beyond, Err(Error::CommitBeyondLog { from: 2, commit: 3, last: 2 })));
    assert_eq!(node.raw.status(), before);
    // An append tells the leader where the log ends, so that it can send what is missing.
    let answer = only(node.take(append(2, 1, (5, 1), vec![], 5)));
    assert_eq!((answer.reject, answer.reject_hint), (true, 2));
    node.take(append(2, 1, (2, 1), entries(3, &[1, 1, 1]), 5));
    assert_eq!(node.commit(), 5);
}

// 77
#[test]
fn two_nodes_that_start_from_the_same_state_do_the_same() {
    let make = || {
        let storage = committed(&[1, 2, 2, 3], HardState { term: 3, vote: 2, commit: 3 });
        Node::new(&Config { applied: 1, ..config(1) }, storage)
    };
    let (mut a, mut b) = (make(), make());
    assert_eq!(a.raw.status(), b.raw.status());
    for _ in 0..200 {
        assert_eq!(a.tick(1), b.tick(1));
        assert_eq!(a.raw.status(), b.raw.status());
    }
    assert_eq!(a.applied, b.applied);
}

// 73 to 77, with a whole group.
#[test]
fn a_group_that_loses_power_goes_on_with_everything_it_had_committed() {
    let mut group = Group::new(3, config);
    group.campaign(1);
    for data in ["a", "b", "c"] {
        group.node(1).raw.propose(data).expect("a leader");
    }
    group.settle();
    for node in &mut group.nodes {
        let id = node.id();
        let applied = node.raw.basic_status().applied;
        node.restart(&Config { applied, ..config(id) });
        assert_eq!((node.role(), node.commit()), (Role::Follower, applied));
    }
    group.campaign(2);
    group.node(2).raw.propose("d").expect("a leader");
    group.settle();
    for node in &group.nodes {
        assert_eq!(node.applied_data(), [b"a", b"b", b"c", b"d"]);
    }
}

// 48, 77: what was not written when the power went was promised to nobody.
#[test]
fn an_append_that_was_not_written_when_the_power_went_was_acknowledged_to_nobody() {
    let mut node = Threaded::new(&config(1), MemoryStorage::with_conf_state(voters(&[1, 2, 3])));
    let sent = node.take(append(2, 1, (0, 0), entries(1, &[1, 1]), 0));
    assert_eq!(of(&sent, MessageType::AppendResponse).len(), 0);
    let mut again = Threaded::new(&config(1), node.storage.clone());
    assert_eq!(again.raw.basic_status().last_index, 0);
    again.take(append(2, 1, (2, 1), vec![], 0));
    let answer = only(again.write_all());
    assert_eq!((answer.reject, answer.reject_hint), (true, 0));
}
