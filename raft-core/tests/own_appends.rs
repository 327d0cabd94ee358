//! A leader counts itself for what was written, and for nothing that it appended since.

use raft_core::{ConfState, Config, MemoryStorage, RawNode, Ready};

/// A lone voter that leads, with everything done.
fn leader() -> (RawNode<MemoryStorage>, MemoryStorage) {
    let voters = ConfState { voters: vec![1], ..ConfState::default() };
    let storage = MemoryStorage::with_conf_state(voters);
    let mut node = RawNode::new(&Config::new(1), storage.clone()).expect("a new log");
    node.campaign().expect("a sound log");
    while node.has_ready() {
        let ready = node.ready().expect("memory");
        write(&storage, &ready);
        node.advance(ready).expect("the one handed out");
    }
    (node, storage)
}

fn write(storage: &MemoryStorage, ready: &Ready) {
    storage.append(&ready.entries).expect("entries in order");
    storage.set_hard_state(ready.hard_state.unwrap_or_default());
}

fn payloads(entries: &[raft_core::Entry]) -> Vec<&[u8]> {
    entries.iter().map(|entry| entry.data.as_ref()).collect()
}

#[test]
fn a_proposal_made_while_a_ready_is_out_is_not_committed_when_that_comes_back() {
    let (mut node, storage) = leader();
    node.propose("first").expect("it leads");
    let ready = node.ready().expect("memory");
    node.propose("second").expect("it leads");
    write(&storage, &ready);
    node.advance(ready).expect("the one handed out");

    let ready = node.ready().expect("memory");
    assert_eq!(payloads(&ready.committed_entries), [b"first".as_slice()]);
    assert_eq!(payloads(&ready.entries), [b"second".as_slice()]);
    write(&storage, &ready);
    node.advance(ready).expect("the one handed out");

    let ready = node.ready().expect("memory");
    assert_eq!(payloads(&ready.committed_entries), [b"second".as_slice()]);
}

#[test]
fn all_proposals_of_a_ready_are_committed_when_it_comes_back() {
    let (mut node, storage) = leader();
    for payload in ["a", "b", "c"] {
        node.propose(payload).expect("it leads");
    }
    let ready = node.ready().expect("memory");
    write(&storage, &ready);
    node.advance(ready).expect("the one handed out");
    let ready = node.ready().expect("memory");
    assert_eq!(payloads(&ready.committed_entries), [b"a", b"b", b"c"]);
}
