//! A node that has lost a range of its log: it takes no part in decisions until it is whole.

use raft_core::{Config, DamagedRange, HardState, Message, MessageType, Role};

use crate::hand::{
    Group, Node, append, config, entries, heartbeat, install, message, of, only, pre_vote,
    snapshot, stored, vote, voters,
};
use MessageType::{AppendResponse, HeartbeatResponse, TimeoutNow};

/// Node 1 with five entries of term 1, all committed, of which 3 and 4 are lost.
fn damaged() -> Node {
    let storage = stored(voters(&[1, 2, 3]), &[1; 5]);
    storage.set_hard_state(HardState { term: 1, vote: 0, commit: 5 });
    let damaged = Some(DamagedRange { low: 3, high: 4 });
    let mut node = Node::new(&Config { damaged, ..config(1) }, storage);
    node.run();
    assert!(node.raw.is_damaged() && node.raw.status().damaged);
    node
}

fn applied(node: &Node) -> Vec<u64> {
    node.applied.iter().map(|e| e.index).collect()
}

#[test]
fn it_gives_no_vote_and_no_pre_vote_to_whomever() {
    for request in [vote(2, 9, (99, 9)), pre_vote(2, 9, (99, 9))] {
        let mut node = damaged();
        assert!(only(node.take(request)).reject);
        assert_eq!(node.vote(), 0);
    }
}

#[test]
fn it_does_not_campaign() {
    let mut node = damaged();
    assert_eq!(node.tick(100), []);
    node.raw.campaign().expect("nothing happens");
    node.take(message(TimeoutNow, 2, 1));
    assert_eq!((node.role(), node.term()), (Role::Follower, 1));
}

#[test]
fn it_acknowledges_no_append_and_asks_for_a_snapshot_instead() {
    let mut node = damaged();
    let appends = [
        append(2, 1, (5, 1), entries(6, &[1]), 5),
        append(2, 1, (2, 1), entries(3, &[1, 1]), 5),
        append(2, 1, (5, 1), vec![], 5),
    ];
    for m in appends {
        let answer = only(node.take(m));
        assert_eq!((answer.kind(), answer.reject), (Some(AppendResponse), true));
        // All that it may have acknowledged, behind the hole too.
        assert_eq!((answer.reject_hint, answer.request_snapshot), (2, 5));
        assert_eq!(node.last(), 5);
    }
}

#[test]
fn it_applies_nothing_from_the_hole_on() {
    let mut node = damaged();
    assert_eq!(applied(&node), [1, 2]);
    node.take(heartbeat(2, 1, 5));
    assert_eq!(applied(&node), [1, 2]);
}

#[test]
fn it_takes_no_leaders_commit_index_for_its_own() {
    let storage = stored(voters(&[1, 2, 3]), &[1; 5]);
    let damaged = Some(DamagedRange { low: 3, high: 5 });
    let mut node = Node::new(&Config { damaged, ..config(1) }, storage);
    // Not even one beyond the log is an error: it knows that it has lost something.
    for commit in [2, 5, 9] {
        node.take(heartbeat(2, 1, commit));
        assert_eq!((node.commit(), node.leader()), (0, 2));
    }
}

#[test]
fn its_answers_to_heartbeats_confirm_no_read_and_ask_for_a_snapshot() {
    let mut node = damaged();
    let beat = Message { context: vec![1; 8].into(), ..heartbeat(2, 1, 0) };
    let sent = node.take(beat);
    assert_eq!(of(&sent, HeartbeatResponse)[0].context.as_ref(), b"");
    assert_eq!(of(&sent, AppendResponse)[0].request_snapshot, 5);
}

#[test]
fn a_quorum_for_a_read_does_not_count_it() {
    let storage = stored(voters(&[1, 2, 3]), &[]);
    storage.append(&entries(1, &[1; 5])).expect("entries from 1 on");
    storage.set_hard_state(HardState { term: 1, vote: 0, commit: 5 });
    let damaged = Some(DamagedRange { low: 3, high: 5 });
    let hurt = Node::new(&Config { damaged, ..config(3) }, storage);
    let whole = |id| Node::new(&config(id), stored(voters(&[1, 2, 3]), &[1; 5]));
    let mut group = Group::of(vec![whole(1), whole(2), hurt]);
    group.campaign(1);
    assert_eq!(group.node(1).role(), Role::Leader);
    group.isolate(2);
    group.node(1).raw.read_index("r").expect("a leader");
    group.settle();
    group.tick(1, 3);
    assert_eq!(group.see(1).reads, []);
    group.heal();
    group.tick(1, 1);
    assert_eq!(group.see(1).reads.len(), 1);
}

#[test]
fn a_snapshot_of_all_that_it_may_have_acknowledged_heals_it() {
    for (index, heals) in [(2, false), (3, false), (4, false), (5, true), (9, true)] {
        let mut node = damaged();
        let answer = only(node.take(install(2, 1, snapshot(index, 1, voters(&[1, 2, 3])))));
        assert_eq!(node.raw.is_damaged(), !heals, "{index}");
        assert_eq!(answer.reject, !heals);
        if heals {
            assert_eq!((answer.index, node.last()), (index, index));
            assert_eq!(node.raw.basic_status().applied, index);
            let answer = only(node.take(append(2, 1, (index, 1), entries(index + 1, &[1]), 9)));
            assert_eq!((answer.reject, answer.index), (false, index + 1));
            assert!(!only(node.take(vote(3, 2, (99, 9)))).reject);
        }
    }
}

#[test]
fn a_snapshot_that_covers_less_heals_nothing_even_if_it_is_ahead_of_the_commit_index() {
    for (index, heals) in [(2, false), (3, false), (4, false), (5, true)] {
        let storage = stored(voters(&[1, 2, 3]), &[1; 5]);
        storage.set_hard_state(HardState { term: 1, vote: 0, commit: 1 });
        let damaged = Some(DamagedRange { low: 3, high: 4 });
        let mut node = Node::new(&Config { damaged, ..config(1) }, storage);
        let answer = only(node.take(install(2, 1, snapshot(index, 1, voters(&[1, 2, 3])))));
        assert_eq!((node.raw.is_damaged(), answer.reject), (!heals, !heals), "{index}");
        assert_eq!(node.commit(), if heals { 5 } else { 1 });
    }
}

#[test]
fn a_range_that_is_whole_again_heals_it() {
    let mut node = damaged();
    node.raw.mark_whole().expect("a possible state");
    assert!(!node.raw.is_damaged());
    node.run();
    assert_eq!(applied(&node), [1, 2, 3, 4, 5]);
    let answer = only(node.take(append(2, 1, (5, 1), entries(6, &[1]), 5)));
    assert_eq!((answer.reject, answer.index), (false, 6));
    assert!(!only(node.take(vote(3, 2, (99, 9)))).reject);
    node.raw.campaign().expect("a campaign");
    assert_eq!(node.role(), Role::Candidate);
}

#[test]
fn a_range_that_cannot_be_read_is_not_whole() {
    // The end of the log is lost: entries 4 and 5, and what is committed goes up to 5.
    let storage = stored(voters(&[1, 2, 3]), &[1; 3]);
    storage.set_hard_state(HardState { term: 1, vote: 0, commit: 5 });
    let damaged = Some(DamagedRange { low: 4, high: 5 });
    let mut node = Node::new(&Config { damaged, ..config(1) }, storage);
    node.run();
    assert_eq!(
        (applied(&node), node.commit()),
        (vec![1, 2, 3], 5),
        "what is known is not forgotten"
    );
    let asked = only(node.take(append(2, 1, (3, 1), entries(4, &[1, 1]), 5)));
    assert_eq!((asked.reject, asked.request_snapshot), (true, 5));
    node.raw.mark_whole().expect_err("it is not");
    assert!(node.raw.is_damaged());
    // The owner of the storage finds them again.
    node.storage.append(&entries(4, &[1, 1])).expect("behind the third");
    node.raw.mark_whole().expect("now it is");
    assert!(!node.raw.is_damaged());
    node.run();
    assert_eq!((applied(&node), node.commit(), node.last()), (vec![1, 2, 3, 4, 5], 5, 5));
}

#[test]
fn the_group_brings_it_back() {
    let storage = stored(voters(&[1, 2, 3]), &[1; 5]);
    storage.set_hard_state(HardState { term: 1, vote: 0, commit: 5 });
    let damaged = Some(DamagedRange { low: 3, high: 4 });
    let hurt = Node::new(&Config { damaged, ..config(3) }, storage);
    let whole = |id| Node::new(&config(id), stored(voters(&[1, 2, 3]), &[1; 5]));
    let mut group = Group::of(vec![whole(1), whole(2), hurt]);
    group.campaign(1);
    let commit = group.node(1).commit();
    assert_eq!(commit, 6, "without it");
    group.node(1).storage.create_snapshot(commit, None, "s".into()).expect("a snapshot");
    group.tick(1, 3);
    assert!(!group.node(3).raw.is_damaged());
    group.node(1).raw.propose("a").expect("a leader");
    group.settle();
    group.tick(1, 1);
    assert_eq!(group.node(3).commit(), 7);
    assert!(group.see(3).applied_data().ends_with(&[b"a"]));
}
