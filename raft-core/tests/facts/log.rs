//! The log: what matches, what is replaced, what is durable, what is committed (facts 23 to 32).

use prost::Message as _;
use raft_core::{Config, Entry, LOCAL_APPEND_THREAD, Message, MessageType, Storage};

use crate::hand::{
    Group, Node, Threaded, ack, append, config, entries, entry, granted, heartbeat, install,
    message, of, only, reject, snapshot, stored, vote, voters,
};
use MessageType::{Append, HeartbeatResponse, Snapshot, StorageAppendResponse, VoteResponse};

// 23
#[test]
fn the_term_of_the_last_compacted_entry_is_still_known() {
    let storage = stored(voters(&[1, 2, 3]), &[1, 1, 2, 2, 2]);
    let mut hard_state = storage.initial_state().expect("in memory").hard_state;
    hard_state.commit = 5;
    storage.set_hard_state(hard_state);
    storage.compact(4).expect("entries up to 4");
    let mut node = Node::new(&config(1), storage).lead();
    // Behind the last compacted entry there is still an append to be made.
    let sent = node.take(reject(2, 3, 5, (4, 2)));
    let m = only(sent);
    assert_eq!((m.kind(), m.index, m.log_term, m.entries.len()), (Some(Append), 4, 2, 2));
    // Before it there is not.
    node.storage.create_snapshot(5, None, "s".into()).expect("a snapshot");
    let sent = node.take(reject(3, 3, 5, (3, 2)));
    assert_eq!(only(sent).kind(), Some(Snapshot));
}

// 23
#[test]
fn with_a_snapshot_under_way_the_log_begins_behind_it() {
    let mut node = Node::with_log(&[1, 2, 3], &[1; 5]);
    node.raw.step(install(2, 2, snapshot(9, 2, voters(&[1, 2, 3])))).expect("a snapshot");
    assert_eq!((node.last(), node.commit()), (9, 9));
    node.raw.step(append(2, 2, (9, 2), entries(10, &[2]), 9)).expect("an append");
    assert_eq!(node.last(), 10);
    // What the disk still has of older entries does not count.
    node.raw.step(append(2, 2, (12, 2), vec![], 9)).expect("an append");
    let sent = node.run();
    let rejected = sent.iter().find(|m| m.reject).expect("a rejection");
    assert_eq!((rejected.reject_hint, rejected.log_term), (10, 2));
    assert_eq!(node.terms(), [2]);
}

// 24
#[test]
fn what_is_to_be_written_hides_what_it_replaces() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 1, 1, 1]);
    node.raw.step(append(2, 2, (1, 1), entries(2, &[2]), 0)).expect("an append");
    assert_eq!(node.last(), 2, "entries 3 and 4 are still on disk");
    // A candidate with those entries has the shorter log now.
    node.raw.step(vote(3, 3, (4, 1))).expect("a vote request");
    let sent = node.run();
    assert!(of(&sent, VoteResponse)[0].reject);
    assert_eq!(node.terms(), [1, 2]);
    // Nor do they come back.
    let answer = only(node.take(append(2, 3, (3, 1), vec![], 0)));
    assert_eq!((answer.reject, answer.reject_hint), (true, 1), "at 2 the term is later than 1");
}

// 25
#[test]
fn an_append_goes_behind_or_in_place_of_what_waits_to_be_written() {
    let written = |appends: &[(u64, &[u64])]| {
        let mut node = Node::with_log(&[1, 2, 3], &[1, 1]);
        for (prev, terms) in appends {
            let prev_term = if *prev <= 2 { 1 } else { 2 };
            let term = 2 + terms[0];
            let m = append(2, term, (*prev, prev_term), entries(prev + 1, terms), 0);
            node.raw.step(m).expect("an append");
        }
        let ready = node.raw.ready().expect("work");
        ready.entries.iter().map(|e| (e.index, e.term)).collect::<Vec<_>>()
    };
    assert_eq!(written(&[(2, &[2, 2]), (4, &[2])]), [(3, 2), (4, 2), (5, 2)], "behind");
    assert_eq!(written(&[(2, &[2, 2]), (3, &[3])]), [(3, 2), (4, 3)], "inside");
    assert_eq!(written(&[(2, &[2, 2]), (2, &[3])]), [(3, 3)], "in place of all");
    assert_eq!(written(&[(2, &[2, 2]), (1, &[3, 3])]), [(2, 3), (3, 3)], "and of what is on disk");
}

fn threaded(terms: &[u64]) -> Threaded {
    Threaded::new(&config(1), stored(voters(&[1, 2, 3]), terms))
}

fn queued(node: &Threaded) -> Vec<(u64, u64)> {
    let newest = node.writes.back().expect("work for the append thread");
    newest.entries.iter().map(|e| (e.index, e.term)).collect()
}

// 25
#[test]
fn what_replaces_entries_that_are_being_written_is_written_too() {
    let mut node = threaded(&[]);
    node.take(append(2, 1, (0, 0), entries(1, &[1, 1, 1]), 0));
    assert_eq!(queued(&node), [(1, 1), (2, 1), (3, 1)]);
    // Inside of what is being written.
    node.take(append(3, 2, (1, 1), entries(2, &[2]), 0));
    assert_eq!(queued(&node), [(2, 2)]);
    // All of it.
    node.take(append(2, 3, (0, 0), entries(1, &[3, 3]), 0));
    assert_eq!(queued(&node), [(1, 3), (2, 3)]);
    // Behind it: only what is new.
    node.take(append(2, 3, (2, 3), entries(3, &[3]), 0));
    assert_eq!(queued(&node), [(3, 3)]);
    node.write_all();
    let log = node.storage.entries(1, 4, u64::MAX, raft_core::Fetch::Scan).expect("in memory");
    assert_eq!(log.iter().map(|e| e.term).collect::<Vec<_>>(), [3, 3, 3]);
}

fn written(term: u64, (index, log_term): (u64, u64)) -> Message {
    let from = LOCAL_APPEND_THREAD;
    Message { index, log_term, ..message(StorageAppendResponse, from, term) }
}

// 26: with asynchronous writes only what is durable is applied, so that is where it shows.
#[test]
fn an_acknowledgement_of_another_entry_makes_nothing_durable() {
    let mut node = threaded(&[]);
    node.take(append(2, 2, (0, 0), entries(1, &[1, 1, 2]), 3));
    // They are written, and nobody says so but for the test.
    node.write();
    for other in [(3, 1), (4, 2), (9, 9), (0, 0), (u64::MAX, 2)] {
        node.raw.step_local(written(2, other)).expect("an answer");
        assert_eq!(node.apply_all(), [], "{other:?}");
    }
    node.raw.step_local(written(2, (2, 1))).expect("an answer");
    assert_eq!(node.apply_all(), [1, 2]);
    node.raw.step_local(written(2, (3, 2))).expect("an answer");
    assert_eq!(node.apply_all(), [3]);
}

// 27
#[test]
fn an_acknowledgement_of_an_earlier_term_says_nothing_of_the_same_entry_written_again() {
    let mut node = threaded(&[]);
    node.take(append(2, 1, (0, 0), entries(1, &[1, 1]), 0));
    let first = node.write();
    node.take(append(3, 2, (1, 1), entries(2, &[2]), 0));
    // The entry of before comes back, and is yet to be written, behind the one in between.
    node.take(append(2, 3, (1, 1), entries(2, &[1, 3]), 0));
    let others = node.hear(first);
    assert_eq!(of(&others, MessageType::AppendResponse).len(), 1);
    node.take(heartbeat(2, 3, 2));
    assert_eq!(node.apply_all(), [], "entry 2 is not durable");
    node.write_all();
    assert_eq!(node.apply_all(), [1, 2]);
}

// 27: or an acknowledgement that does not count would be the last.
#[test]
fn whatever_is_written_while_entries_are_not_durable_acknowledges_them() {
    let mut node = threaded(&[]);
    node.take(append(2, 1, (0, 0), entries(1, &[1, 1]), 0));
    // Only a commit index, only a term, only an answer.
    for m in [heartbeat(2, 1, 1), heartbeat(3, 2, 1), append(3, 2, (2, 1), vec![], 1)] {
        node.take(m);
        let newest = node.writes.back().expect("work for the append thread");
        assert_eq!(newest.entries, []);
        let acks = of(&newest.responses, StorageAppendResponse);
        assert_eq!(acks.iter().map(|m| (m.index, m.log_term)).collect::<Vec<_>>(), [(2, 1)]);
        assert_eq!(acks[0].term, node.raw.basic_status().hard_state.term);
    }
}

/// How many entries each append to node 2 has, of a log with entries of these payload sizes.
fn batches(max_size_per_msg: u64, durable: &[usize], fresh: &[usize]) -> Vec<usize> {
    let of_size = |(size, index): (&usize, u64)| Entry {
        data: vec![b'x'; *size].into(),
        ..entry(1, index, "")
    };
    let storage = stored(voters(&[1, 2, 3]), &[1]);
    storage.append(&durable.iter().zip(1..).map(of_size).collect::<Vec<_>>()).expect("a log");
    let mut node = Node::new(&Config { max_size_per_msg, ..config(1) }, storage).lead();
    for size in fresh {
        node.raw.propose(vec![b'x'; *size]).expect("a leader");
    }
    // Nothing of that is written yet.
    node.raw.step(ack(2, 2, 0)).expect("a probe's answer");
    node.raw.step(reject(2, 2, durable.len() as u64, (0, 0))).expect("a rejection");
    node.raw.step(ack(2, 2, 0)).expect("a probe's answer");
    let sent = node.run();
    let to_two = of(&sent, Append).into_iter().filter(|m| m.to == 2 && !m.entries.is_empty());
    to_two.map(|m| m.entries.len()).collect()
}

// 28
#[test]
fn a_message_has_at_least_one_entry_and_no_more_than_its_limit_after_that() {
    let big = entry(2, 1, "");
    let one = Entry { data: vec![0; 100].into(), ..big }.encoded_len() as u64;
    // The first append is a probe with as much as goes.
    assert_eq!(batches(3 * one, &[100; 6], &[])[0], 3);
    assert_eq!(batches(3 * one - 1, &[100; 6], &[])[0], 2);
    assert_eq!(batches(one, &[100; 6], &[])[0], 1);
    assert_eq!(batches(1, &[100; 6], &[])[0], 1);
    assert_eq!(batches(0, &[100; 6], &[])[0], 1);
    assert_eq!(batches(u64::MAX, &[100; 6], &[100; 2])[0], 9, "and the leader's empty one");
}

// 28
#[test]
fn an_oversized_entry_that_is_not_durable_yet_is_not_put_behind_durable_ones() {
    assert_eq!(batches(400, &[100, 100], &[5_000])[0], 3, "with the leader's empty one");
    assert_eq!(batches(400, &[100, 100], &[100])[0], 4);
    // Where the durable ones fill the message already, none is added, however small.
    assert_eq!(batches(210, &[100, 100], &[0])[0], 1);
}

// 29
#[test]
fn a_delayed_append_that_agrees_cuts_nothing_off() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 1, 1, 1, 1]);
    let answer = only(node.take(append(2, 2, (1, 1), entries(2, &[1]), 0)));
    assert_eq!((answer.reject, answer.index), (false, 2), "no more than it was about");
    assert_eq!(node.last(), 5);
    node.take(append(2, 2, (2, 1), vec![], 0));
    assert_eq!(node.terms(), [1; 5]);
}

// 29
#[test]
fn an_append_replaces_from_the_first_entry_that_differs() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 1, 2, 2, 2]);
    let answer = only(node.take(append(2, 3, (1, 1), entries(2, &[1, 3]), 0)));
    assert_eq!((answer.reject, answer.index), (false, 3));
    assert_eq!(node.terms(), [1, 1, 3]);
}

// 29
#[test]
fn the_commit_index_goes_no_further_than_the_message_vouches_for_the_log() {
    for (prev, sent, leaders, expected) in
        [(1, 1, 9, 2), (1, 2, 2, 2), (1, 0, 3, 1), (0, 0, 9, 0), (3, 2, 5, 5), (3, 2, 4, 4)]
    {
        // Entries 4 and 5 may be another leader's.
        let mut node = Node::with_log(&[1, 2, 3], &[1, 1, 1, 1, 1]);
        let prev_term = u64::from(prev > 0);
        let terms = vec![1; sent];
        node.take(append(2, 2, (prev, prev_term), entries(prev + 1, &terms), leaders));
        assert_eq!(node.commit(), expected, "prev {prev}, {sent} entries, commit {leaders}");
    }
}

// 29
#[test]
fn the_commit_index_never_falls() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 1, 1]);
    node.take(append(2, 1, (3, 1), vec![], 3));
    node.take(append(2, 1, (3, 1), vec![], 1));
    node.take(heartbeat(2, 1, 0));
    assert_eq!(node.commit(), 3);
}

// 29: where the entry before the first is committed, its term is not even asked.
#[test]
fn an_append_that_contradicts_committed_entries_changes_nothing() {
    let committed = || {
        let mut node = Node::with_log(&[1, 2, 3], &[1, 1, 1]);
        node.take(append(2, 1, (3, 1), vec![], 3));
        node
    };
    for m in [
        append(3, 2, (0, 0), entries(1, &[2, 2, 2]), 3),
        append(3, 2, (1, 1), entries(2, &[2]), 3),
        append(3, 2, (2, 2), entries(3, &[2]), 3),
        append(3, 2, (3, 2), entries(4, &[2]), 4),
    ] {
        let mut node = committed();
        // An answer or an error: what is committed stays.
        let _ = node.raw.step(m);
        node.run();
        assert_eq!((node.terms(), node.commit(), node.last()), (vec![1; 3], 3, 3));
    }
}

// 30
#[test]
fn an_append_behind_an_entry_before_the_commit_index_is_answered_with_that() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 1, 1, 1]);
    node.take(append(2, 1, (4, 1), vec![], 3));
    for m in [
        append(2, 1, (1, 1), entries(2, &[1, 1, 1, 1]), 4),
        append(2, 1, (2, 7), vec![], 4),
        append(2, 1, (0, 0), entries(1, &[1]), 0),
    ] {
        let answer = only(node.take(m));
        assert_eq!((answer.reject, answer.index), (false, 3));
        assert_eq!((node.last(), node.commit()), (4, 3));
    }
}

// 31
#[test]
fn a_rejection_names_the_highest_entry_at_which_the_logs_may_agree() {
    let cases: [(&[u64], _, _); 7] = [
        // own log, probed (index, term), hint (index, term)
        (&[1, 1, 4, 4], (6, 3), (2, 1)),
        (&[1, 1, 4, 4], (6, 4), (4, 4)),
        (&[1, 1, 4, 4], (6, 5), (4, 4)),
        (&[1, 1, 4, 4], (3, 2), (2, 1)),
        (&[4, 4, 4], (3, 2), (0, 0)),
        (&[2, 2, 2], (3, 1), (0, 0)),
        (&[], (3, 1), (0, 0)),
    ];
    for (log, probed, hint) in cases {
        let mut node = Node::with_log(&[1, 2, 3], log);
        let answer = only(node.take(append(2, 6, probed, vec![], 0)));
        assert_eq!((answer.reject, answer.index), (true, probed.0));
        assert_eq!((answer.reject_hint, answer.log_term), hint, "{log:?} probed at {probed:?}");
    }
}

// 31
#[test]
fn a_leader_probes_next_at_the_highest_entry_at_which_the_logs_may_agree() {
    let cases: [(&[u64], _, _); 6] = [
        // own log, hint (index, term), where it probes next
        (&[1, 3, 3, 3, 3, 3], (4, 1), 1),
        (&[1, 3, 3, 3, 3, 3], (4, 3), 4),
        (&[1, 3, 3, 3, 3, 3], (4, 2), 1),
        (&[5, 5, 5, 5, 5, 5], (3, 4), 0),
        // A follower of before terms were told: one entry back from what it names.
        (&[1, 3, 3, 3, 3, 3], (4, 0), 4),
        (&[1, 1, 1, 2, 2, 2], (3, 2), 3),
    ];
    for (log, hint, next) in cases {
        let mut node = Node::with_log(&[1, 2, 3], log).lead();
        let m = only(node.take(reject(2, node.term(), 6, hint)));
        assert_eq!((m.kind(), m.index), (Some(Append), next), "{log:?} hinted at {hint:?}");
    }
}

// 31
#[test]
fn a_divergence_of_many_entries_in_few_terms_is_found_in_few_rounds() {
    let long = |term, count| [&[1][..], &vec![term; count]].concat();
    let mut group = Group::of(vec![
        Node::with_log(&[1, 2], &long(5, 200)),
        Node::new(&config(2), stored(voters(&[1, 2]), &long(3, 150))),
    ]);
    group.node(1).raw.campaign().expect("a campaign");
    let sent = group.settle();
    let rejections = sent.iter().filter(|m| m.kind() == Some(MessageType::AppendResponse));
    assert_eq!(rejections.filter(|m| m.reject).count(), 1);
    assert_eq!(group.node(2).terms(), group.node(1).terms());
}

// 32
#[test]
fn entries_of_earlier_terms_are_committed_only_with_one_of_the_own() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 2, 2]).lead();
    assert_eq!(node.last(), 4);
    node.take(ack(2, 3, 2));
    node.take(ack(3, 3, 3));
    assert_eq!(node.commit(), 0, "a majority has entry 3, of term 2");
    node.take(ack(2, 3, 4));
    assert_eq!(node.commit(), 4);
}

// 32: the leader's own copy counts when it is durable.
#[test]
fn a_leader_counts_its_own_copy_only_once_it_is_durable() {
    let mut node = threaded(&[]);
    node.raw.campaign().expect("a campaign");
    node.write_all();
    node.take(granted(VoteResponse, 2, 1));
    node.take(ack(2, 1, 0));
    node.take(ack(2, 1, 1));
    assert_eq!(node.raw.basic_status().hard_state.commit, 0);
    node.write_all();
    assert_eq!(node.raw.basic_status().hard_state.commit, 1);
}

// 32
#[test]
fn followers_with_durable_copies_commit_what_the_leader_has_not_written_yet() {
    let mut node = threaded(&[]);
    node.raw.campaign().expect("a campaign");
    node.write_all();
    node.take(granted(VoteResponse, 2, 1));
    node.take(ack(2, 1, 1));
    node.take(ack(3, 1, 1));
    assert_eq!(node.raw.basic_status().hard_state.commit, 1);
    assert_eq!(node.apply_all(), [], "but it does not apply it before");
    node.write_all();
    assert_eq!(node.apply_all(), [1]);
}

// 31, 58
#[test]
fn a_rejection_of_another_probe_is_old_news() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 1, 1]).lead();
    node.take(message(HeartbeatResponse, 2, 2));
    assert_eq!(node.take(reject(2, 2, 2, (0, 0))), []);
    assert!(node.progress(2).starts_with("StateProbe match=0 next=4"));
}
