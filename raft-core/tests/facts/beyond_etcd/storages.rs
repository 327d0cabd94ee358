//! A storage that answers wrongly, late, or not at all.

use raft_core::{
    Config, Entry, Error, Fetch, HardState, Message, MessageType, RawNode, Ready, Role, Snapshot,
    StorageError,
};

use super::odd::{Odd, broken};
use crate::hand::{
    ack, append, config, entries, entry, granted, heartbeat, message, of, reject, snapshot, stored,
    voters,
};
use MessageType::{Append, HeartbeatResponse, VoteResponse};

/// Node 1 with a log of five entries, of which so many are committed.
fn start(commit: u64) -> (RawNode<Odd>, Odd) {
    let memory = stored(voters(&[1, 2, 3]), &[1; 5]);
    memory.set_hard_state(HardState { term: 1, vote: 0, commit });
    let odd = Odd::new(memory);
    (RawNode::new(&config(1), odd.clone()).expect("a node that may start"), odd)
}

fn finish(node: &mut RawNode<Odd>, odd: &Odd, ready: Ready) {
    odd.memory.append(&ready.entries).expect("entries without a gap");
    node.advance(ready).expect("the Ready just handed out");
}

fn run(node: &mut RawNode<Odd>, odd: &Odd) -> Vec<Message> {
    let mut sent = Vec::new();
    while node.has_ready() {
        let mut ready = node.ready().expect("a storage that can be read");
        sent.append(&mut ready.messages);
        finish(node, odd, ready);
    }
    sent
}

fn lead() -> (RawNode<Odd>, Odd) {
    let (mut node, odd) = start(0);
    node.campaign().expect("a campaign");
    run(&mut node, &odd);
    node.step(granted(VoteResponse, 2, 2)).expect("a vote");
    run(&mut node, &odd);
    assert_eq!(node.basic_status().soft_state.role, Role::Leader);
    (node, odd)
}

// Fact 77.
#[test]
fn a_start_reads_the_stored_state_and_the_bounds_of_the_log_and_nothing_else() {
    let (_, odd) = start(3);
    let mut calls = odd.calls.take();
    calls.sort_unstable();
    assert_eq!(calls, ["first_index", "initial_state", "last_index", "term"]);
}

// Fact 77.
#[test]
fn what_is_appended_sent_acknowledged_and_applied_is_at_hand() {
    let (mut node, odd) = lead();
    node.step(ack(2, 2, 6)).expect("an acknowledgement");
    run(&mut node, &odd);
    odd.calls.take();
    for index in 7..20 {
        node.propose("a").expect("a leader");
        run(&mut node, &odd);
        node.step(ack(2, 2, index)).expect("an acknowledgement");
        run(&mut node, &odd);
    }
    assert_eq!(node.basic_status().applied, 19);
    let calls = odd.calls.take();
    assert!(calls.iter().all(|call| *call == "first_index"), "{calls:?}");
}

fn contract(result: Result<impl Sized, Error>) -> &'static str {
    match result.map(|_| ()) {
        Err(Error::Storage(StorageError::Contract { what, .. })) => what,
        other => panic!("a breach of the contract, and not {other:?}"),
    }
}

#[test]
fn entries_that_were_not_asked_for_are_a_breach_of_the_contract() {
    let answers: [fn(u64, u64) -> Vec<Entry>; 6] = [
        |_, _| vec![],
        |low, high| entries(low, &vec![1; (high - low + 1) as usize]),
        |low, _| entries(low + 1, &[1]),
        |low, _| entries(low - 1, &[1, 1]),
        |low, _| vec![entry(1, low, "x"), entry(1, low + 2, "x")],
        |_, _| vec![entry(1, u64::MAX, "x")],
    ];
    for answer in answers {
        let (mut node, odd) = start(3);
        odd.read_by(move |low, high, _| Some(Ok(answer(low, high))));
        let before = node.status();
        contract(node.ready());
        assert_eq!(node.status(), before);
        // Nothing was handed out, so everything is when it can be.
        odd.mend();
        assert_eq!(node.ready().expect("it can").committed_entries.len(), 3);
    }
}

#[test]
fn fewer_entries_than_asked_for_are_a_page() {
    let (mut node, odd) = start(3);
    odd.read_by(|low, _, _| Some(Ok(entries(low, &[1]))));
    for _ in 0..3 {
        let ready = node.ready().expect("a page");
        assert_eq!(ready.committed_entries.len(), 1);
        finish(&mut node, &odd, ready);
    }
    assert!(!node.has_ready());
}

#[test]
fn committed_entries_that_cannot_be_read_are_an_error_of_ready_and_tried_again() {
    let (mut node, odd) = start(3);
    odd.read_by(|_, _, _| Some(Err(broken())));
    for _ in 0..3 {
        assert!(matches!(node.ready(), Err(Error::Storage(StorageError::Other(_)))));
        assert!(node.has_ready());
    }
    odd.mend();
    let ready = node.ready().expect("it can be read");
    assert_eq!(ready.committed_entries.len(), 3);
}

#[test]
fn entries_that_are_gone_before_they_are_applied_are_an_error() {
    let (mut node, odd) = start(3);
    odd.memory.compact(2).expect("entries up to 2, too early");
    assert!(matches!(node.ready(), Err(Error::Storage(StorageError::Compacted))));
}

#[test]
fn committed_entries_that_are_being_read_do_not_hold_up_anything_else() {
    let (mut node, odd) = start(3);
    odd.read_by(|_, _, purpose| {
        assert_eq!(purpose, Fetch::Apply);
        Some(Err(StorageError::LogTemporarilyUnavailable))
    });
    node.step(heartbeat(2, 1, 3)).expect("a heartbeat");
    let ready = node.ready().expect("everything else");
    assert_eq!((ready.committed_entries.len(), ready.messages.len()), (0, 1));
    finish(&mut node, &odd, ready);
    assert_eq!(node.basic_status().applied, 0);
    odd.mend();
    // A driver that asks as long as there is work does not turn in circles meanwhile.
    assert!(!node.has_ready());
    node.on_entries_fetched(Fetch::Append { to: 2 }).expect("another matter");
    assert!(!node.has_ready());
    node.on_entries_fetched(Fetch::Apply).expect("they are there");
    assert_eq!(node.ready().expect("it can be read").committed_entries.len(), 3);
}

#[test]
fn a_tick_asks_again_for_committed_entries_that_were_being_read() {
    let (mut node, odd) = start(3);
    odd.read_by(|_, _, _| Some(Err(StorageError::LogTemporarilyUnavailable)));
    run(&mut node, &odd);
    odd.mend();
    node.tick().expect("a tick");
    assert_eq!(node.ready().expect("it can be read").committed_entries.len(), 3);
}

#[test]
fn entries_to_be_sent_that_are_being_read_are_sent_when_they_are_there() {
    let (mut node, odd) = lead();
    let wanted = Fetch::Append { to: 2 };
    odd.read_by(move |_, _, purpose| {
        (purpose == wanted).then_some(Err(StorageError::LogTemporarilyUnavailable))
    });
    node.step(reject(2, 2, 5, (1, 1))).expect("a rejection");
    assert_eq!(run(&mut node, &odd), []);
    node.on_entries_fetched(wanted).expect("still not");
    assert_eq!(run(&mut node, &odd), []);
    odd.mend();
    for other in [Fetch::Apply, Fetch::Scan, Fetch::Append { to: 9 }, Fetch::Append { to: 1 }] {
        node.on_entries_fetched(other).expect("nothing to do");
        assert_eq!(run(&mut node, &odd), []);
    }
    node.on_entries_fetched(wanted).expect("now");
    let sent = run(&mut node, &odd);
    assert_eq!(
        sent.iter().map(|m| (m.to, m.index, m.entries.len())).collect::<Vec<_>>(),
        [(2, 1, 5)]
    );
}

#[test]
fn entries_to_be_sent_that_cannot_be_read_are_an_error_of_the_next_ready() {
    let (mut node, odd) = lead();
    odd.read_by(|_, _, _| Some(Err(broken())));
    node.step(reject(2, 2, 5, (1, 1))).expect("a rejection");
    assert!(node.has_ready());
    assert!(matches!(node.ready(), Err(Error::Storage(StorageError::Other(_)))));
    assert!(!node.has_ready());
    odd.mend();
    // The follower's next word has them sent.
    node.step(message(HeartbeatResponse, 2, 2)).expect("a heartbeat's answer");
    assert_eq!(of(&run(&mut node, &odd), Append)[0].entries.len(), 5);
}

#[test]
fn wrong_entries_are_not_sent() {
    let (mut node, odd) = lead();
    odd.read_by(|low, _, _| Some(Ok(entries(low + 1, &[1]))));
    node.step(reject(2, 2, 5, (1, 1))).expect("a rejection");
    contract(node.ready());
    assert_eq!(run(&mut node, &odd), []);
}

#[test]
fn a_message_for_which_a_term_cannot_be_read_is_not_taken() {
    let (mut node, odd) = start(1);
    run(&mut node, &odd);
    *odd.term.borrow_mut() = Some(Err(broken()));
    let before = node.status();
    for m in [append(2, 9, (3, 1), vec![], 5), append(2, 1, (2, 1), entries(3, &[1]), 5)] {
        assert!(matches!(node.step(m), Err(Error::Storage(StorageError::Other(_)))));
        assert_eq!(node.status(), before);
        assert!(!node.has_ready());
    }
    odd.mend();
    node.step(append(2, 9, (3, 1), vec![], 3)).expect("it can be read");
    assert_eq!(node.basic_status().hard_state.commit, 3);
}

#[test]
fn a_campaign_that_cannot_look_for_changes_is_tried_again() {
    let (mut node, odd) = start(3);
    odd.read_by(|_, _, purpose| {
        assert_eq!(purpose, Fetch::Scan);
        Some(Err(broken()))
    });
    node.set_randomized_election_timeout(10);
    let ticked: Vec<bool> = (0..30).map(|_| node.tick().is_err()).collect();
    assert_eq!(ticked.iter().filter(|failed| **failed).count(), 3, "once a timeout");
    assert_eq!(node.basic_status().soft_state.role, Role::Follower);
    assert!(matches!(node.campaign(), Err(Error::Storage(_))));
    odd.mend();
    node.campaign().expect("it can look");
    assert_eq!(node.basic_status().soft_state.role, Role::Candidate);
}

/// A leader of whose log entries up to 4 are gone, when 2 turns out to need them.
fn needing_a_snapshot(answer: Result<Snapshot, StorageError>) -> (RawNode<Odd>, Odd) {
    let (mut node, odd) = lead();
    node.step(ack(3, 2, 6)).expect("an acknowledgement");
    run(&mut node, &odd);
    odd.memory.compact(4).expect("entries up to 4");
    *odd.snapshot.borrow_mut() = Some(answer);
    node.step(reject(2, 2, 5, (1, 1))).expect("a rejection");
    (node, odd)
}

#[test]
fn a_snapshot_that_is_being_made_is_asked_for_again_at_the_next_word_of_the_follower() {
    let (mut node, odd) = needing_a_snapshot(Err(StorageError::SnapshotTemporarilyUnavailable));
    assert_eq!(run(&mut node, &odd), []);
    *odd.snapshot.borrow_mut() = Some(Ok(snapshot(5, 1, voters(&[1, 2, 3]))));
    node.step(message(HeartbeatResponse, 2, 2)).expect("a heartbeat's answer");
    let sent = run(&mut node, &odd);
    let snapshots = of(&sent, MessageType::Snapshot);
    assert_eq!(snapshots[0].snapshot.as_ref().map(|s| s.index()), Some(5));
}

#[test]
fn a_snapshot_of_nothing_or_of_too_much_is_a_breach_of_the_contract_and_not_sent() {
    let members = || voters(&[1, 2, 3]);
    for bad in [
        Snapshot::default(),
        snapshot(0, 0, members()),
        snapshot(7, 2, members()),
        snapshot(u64::MAX, 1, members()),
    ] {
        let (mut node, odd) = needing_a_snapshot(Ok(bad));
        contract(node.ready());
        assert_eq!(run(&mut node, &odd), []);
    }
    let (mut node, odd) = needing_a_snapshot(Err(broken()));
    assert!(matches!(node.ready(), Err(Error::Storage(StorageError::Other(_)))));
    assert_eq!(run(&mut node, &odd), []);
}

#[test]
fn with_asynchronous_writes_the_same_errors_come_by_ready() {
    let memory = stored(voters(&[1, 2, 3]), &[1; 5]);
    memory.set_hard_state(HardState { term: 1, vote: 0, commit: 3 });
    let odd = Odd::new(memory);
    let config = Config { async_storage_writes: true, ..config(1) };
    let mut node = RawNode::new(&config, odd.clone()).expect("a node that may start");
    odd.read_by(|_, _, _| Some(Err(broken())));
    assert!(matches!(node.ready(), Err(Error::Storage(_))));
    odd.mend();
    assert_eq!(node.ready().expect("it can be read").committed_entries.len(), 3);
    assert!(!node.has_ready());
}
