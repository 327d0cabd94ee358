//! Why a proposal or a read was dropped: each reason is reached.

use prost::Message as _;
use raft_core::{
    ConfChange, ConfChangeTransition, ConfChangeType, ConfChangeV2, Config, DropReason, Entry,
    EntryType, Error, Message, MessageType, ReadDropReason, ReadOnlyOption, Result,
};

use crate::hand::{
    Node, ack, change, changes, config, entry, heartbeat, message, snapshotted, voters,
};

fn reason(result: Result<()>) -> DropReason {
    match result {
        Err(Error::ProposalDropped(reason)) => reason,
        other => panic!("dropped, and not {other:?}"),
    }
}

/// Nothing changed, and nothing is to be done.
fn unchanged(node: &mut Node, call: impl FnOnce(&mut Node) -> Result<()>) -> DropReason {
    node.run();
    let before = node.raw.status();
    let reason = reason(call(node));
    assert_eq!(node.raw.status(), before);
    assert!(!node.raw.has_ready());
    reason
}

fn leader() -> Node {
    Node::one_of(&[1, 2, 3]).lead()
}

#[test]
fn no_leader() {
    let mut node = Node::one_of(&[1, 2, 3]);
    assert_eq!(unchanged(&mut node, |n| n.raw.propose("a")), DropReason::NoLeader);
    node.raw.campaign().expect("a campaign");
    assert_eq!(unchanged(&mut node, |n| n.raw.propose("a")), DropReason::NoLeader);
    let config = Config { pre_vote: true, ..config(1) };
    let mut node =
        Node::new(&config, raft_core::MemoryStorage::with_conf_state(voters(&[1, 2, 3])));
    node.raw.campaign().expect("a campaign");
    assert_eq!(unchanged(&mut node, |n| n.raw.propose("a")), DropReason::NoLeader);
}

#[test]
fn not_forwarded() {
    let config = Config { disable_proposal_forwarding: true, ..config(1) };
    let mut node =
        Node::new(&config, raft_core::MemoryStorage::with_conf_state(voters(&[1, 2, 3])));
    node.take(heartbeat(2, 1, 0));
    assert_eq!(unchanged(&mut node, |n| n.raw.propose("a")), DropReason::NotForwarded);
    let change = changes(&[change(ConfChangeType::AddNode, 4)]);
    let reason = unchanged(&mut node, |n| n.raw.propose_conf_change(&change));
    assert_eq!(reason, DropReason::NotForwarded);
}

#[test]
fn transferring() {
    let mut node = leader();
    node.raw.transfer_leader(2).expect("a leader");
    assert_eq!(unchanged(&mut node, |n| n.raw.propose("a")), DropReason::Transferring);
}

#[test]
fn not_member() {
    let config = Config { step_down_on_removal: false, ..config(1) };
    let mut node =
        Node::new(&config, raft_core::MemoryStorage::with_conf_state(voters(&[1, 2, 3]))).lead();
    let leaving = changes(&[change(ConfChangeType::RemoveNode, 1)]);
    node.raw.apply_conf_change(1, &leaving).expect("a change that fits");
    assert_eq!(unchanged(&mut node, |n| n.raw.propose("a")), DropReason::NotMember);
}

#[test]
fn too_much_uncommitted() {
    let config = Config { max_uncommitted_size: 4, ..config(1) };
    let mut node =
        Node::new(&config, raft_core::MemoryStorage::with_conf_state(voters(&[1, 2, 3]))).lead();
    node.propose("four");
    assert_eq!(unchanged(&mut node, |n| n.raw.propose("a")), DropReason::TooMuchUncommitted);
    // The same limit holds for what others forward.
    let forwarded =
        Message { entries: vec![entry(0, 0, "a")], ..message(MessageType::Propose, 3, 0) };
    let reason = unchanged(&mut node, |n| n.raw.step(forwarded));
    assert_eq!(reason, DropReason::TooMuchUncommitted);
}

#[test]
fn empty() {
    let mut node = leader();
    assert_eq!(unchanged(&mut node, |n| n.raw.propose_batch([])), DropReason::Empty);
    let forwarded = message(MessageType::Propose, 3, 0);
    assert_eq!(unchanged(&mut node, |n| n.raw.step(forwarded)), DropReason::Empty);
}

#[test]
fn malformed_conf_change() {
    let mut unknown_type = changes(&[change(ConfChangeType::AddNode, 4)]);
    unknown_type.changes[0].change_type = Some(9);
    let unknown_transition = ConfChangeV2 { transition: Some(9), ..ConfChangeV2::default() };
    let mut leaders = [leader(), Node::one_of(&[1, 2, 3])];
    leaders[1].take(heartbeat(2, 1, 0));
    for node in &mut leaders {
        for change in [&unknown_type, &unknown_transition] {
            let reason = unchanged(node, |n| n.raw.propose_conf_change(change));
            assert_eq!(reason, DropReason::MalformedConfChange);
        }
        let first = ConfChange { change_type: Some(-1), ..ConfChange::default() };
        let reason = unchanged(node, |n| n.raw.propose_conf_change_v1(&first));
        assert_eq!(reason, DropReason::MalformedConfChange);
    }
    // Forwarded: with an entry before it that is sound.
    let known = changes(&[change(ConfChangeType::AddNode, 4)]).encode_to_vec();
    let bytes = [
        (EntryType::ConfChange as i32, vec![0xff]),
        (EntryType::ConfChangeV2 as i32, known[..known.len() - 1].to_vec()),
        (3, known.clone()),
        (-1, vec![]),
    ];
    for (kind, data) in bytes {
        let bad = Entry { entry_type: Some(kind), data: data.into(), ..Entry::default() };
        let entries = vec![entry(0, 0, "a"), bad];
        let forwarded = Message { entries, ..message(MessageType::Propose, 3, 0) };
        let reason = unchanged(&mut leaders[0], |n| n.raw.step(forwarded));
        assert_eq!(reason, DropReason::MalformedConfChange);
    }
    let _ = ConfChangeTransition::Auto;
}

#[test]
fn log_full() {
    let storage = snapshotted(voters(&[1, 2, 3]), u64::MAX - 5, 1);
    let mut node = Node::new(&config(1), storage).lead();
    node.propose("a");
    node.propose("b");
    let full = unchanged(&mut node, |n| n.raw.propose("c"));
    assert_eq!((full, node.last()), (DropReason::LogFull, u64::MAX - 2));
}

fn read(node: &mut Node) -> Option<ReadDropReason> {
    let before = node.raw.status();
    match node.raw.read_index("r") {
        Ok(()) => None,
        Err(Error::ReadDropped(reason)) => {
            assert_eq!(node.raw.status(), before);
            Some(reason)
        }
        Err(other) => panic!("dropped, and not {other:?}"),
    }
}

#[test]
fn a_read_without_a_leader() {
    assert_eq!(read(&mut Node::one_of(&[1, 2, 3])), Some(ReadDropReason::NoLeader));
}

#[test]
fn too_many_reads_before_the_first_commit_of_a_term() {
    let config = Config { max_postponed_reads: 2, ..config(1) };
    let storage = raft_core::MemoryStorage::with_conf_state(voters(&[1, 2, 3]));
    let mut node = Node::new(&config, storage).lead();
    let asked = [read(&mut node), read(&mut node), read(&mut node)];
    assert_eq!(asked, [None, None, Some(ReadDropReason::TooManyPostponed)]);
    // Others' reads have the same bound.
    let other =
        Message { entries: vec![entry(0, 0, "r")], ..message(MessageType::ReadIndex, 3, 0) };
    let dropped = node.raw.step(other);
    assert!(matches!(dropped, Err(Error::ReadDropped(ReadDropReason::TooManyPostponed))));
    node.take(ack(2, 1, 1));
    assert_eq!(node.raw.status().postponed_reads, 0);
}

#[test]
fn too_many_reads_without_a_quorums_word() {
    let config = Config { max_postponed_reads: 2, ..config(1) };
    let storage = raft_core::MemoryStorage::with_conf_state(voters(&[1, 2, 3]));
    let mut node = Node::new(&config, storage).lead();
    node.take(ack(2, 1, 1));
    let asked = [read(&mut node), read(&mut node), read(&mut node)];
    assert_eq!(asked, [None, None, Some(ReadDropReason::TooManyUnconfirmed)]);
    let context = 1_u64.to_le_bytes().to_vec().into();
    node.take(Message { context, ..message(MessageType::HeartbeatResponse, 2, 1) });
    assert_eq!([read(&mut node), read(&mut node)], [None, asked[2]], "one was answered");

    // Leases do not wait, so that nothing piles up.
    let leased = Config {
        read_only_option: ReadOnlyOption::LeaseBased,
        check_quorum: true,
        ..config.clone()
    };
    let storage = raft_core::MemoryStorage::with_conf_state(voters(&[1, 2, 3]));
    let mut node = Node::new(&leased, storage).lead();
    node.take(ack(2, 1, 1));
    assert!((0..10).all(|_| read(&mut node).is_none()));
}
