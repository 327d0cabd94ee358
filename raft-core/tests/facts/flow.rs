//! How a leader sends to a follower, and how much (facts 58 to 68).

use raft_core::{Config, DropReason, Error, MemoryStorage, Message, MessageType, SnapshotStatus};

use crate::hand::{Node, ack, config, message, of, only, reject, snapshotted, stored, voters};
use MessageType::{Append, Heartbeat, HeartbeatResponse, Snapshot};

fn alive(from: u64, node: &Node) -> Message {
    message(HeartbeatResponse, from, node.term())
}

/// Leads 1, 2 and 3; 2 has everything and is sent to ahead of its answers.
fn leader_with(config: &Config) -> Node {
    let mut node = Node::new(config, MemoryStorage::with_conf_state(voters(&[1, 2, 3]))).lead();
    node.take(ack(2, 1, 1));
    assert!(node.progress(2).starts_with("StateReplicate match=1 next=2"));
    node
}

fn leader() -> Node {
    leader_with(&config(1))
}

fn to(id: u64, sent: &[Message]) -> Vec<&Message> {
    of(sent, Append).into_iter().filter(|m| m.to == id).collect()
}

// 58
#[test]
fn a_probe_is_one_append_until_it_is_answered() {
    let mut node = leader();
    assert_eq!(node.progress(3), "StateProbe match=0 next=1 paused inactive");
    for _ in 0..5 {
        let sent = node.propose("a");
        assert_eq!(to(3, &sent), Vec::<&Message>::new());
        assert_eq!(to(2, &sent).len(), 1);
    }
    // An answer, even one that says nothing, lets one more go.
    let sent = node.take(alive(3, &node));
    assert_eq!(to(3, &sent).len(), 1);
    assert_eq!(to(3, &sent)[0].entries.len(), 6);
    assert_eq!(to(3, &node.propose("b")), Vec::<&Message>::new());
}

// 58
#[test]
fn a_probe_without_entries_does_not_pause() {
    let storage = stored(voters(&[1, 2, 3]), &[1]);
    let mut node = Node::new(&config(1), storage).lead();
    node.take(ack(2, 2, 2));
    node.raw.report_unreachable(2).expect("nothing to do");
    let sent = node.take(alive(2, &node));
    let probe = to(2, &sent)[0];
    assert_eq!((probe.index, probe.entries.len()), (2, 0));
    assert_eq!(node.progress(2), "StateProbe match=2 next=3");
    assert_eq!(to(2, &node.propose("a")).len(), 1);
}

// 58
#[test]
fn a_heartbeats_answer_brings_an_append_to_who_lags_or_is_probed_and_to_nobody_else() {
    let mut node = leader();
    assert_eq!(node.take(alive(2, &node)), []);
    node.propose("a");
    assert_eq!(to(2, &node.take(alive(2, &node))).len(), 1);
    node.take(ack(2, 1, 2));
    assert_eq!(node.take(alive(2, &node)), []);
}

// 59
#[test]
fn in_replication_appends_run_ahead_of_the_answers_until_the_window_is_full() {
    let mut node = leader_with(&Config { max_inflight_msgs: 3, ..config(1) });
    let sent: Vec<_> = ["a", "b", "c", "d"].map(|data| to(2, &node.propose(data)).len()).into();
    assert_eq!(sent, [1, 1, 1, 0]);
    assert_eq!(node.progress(2), "StateReplicate match=1 next=5 paused inflight=3[full]");
    // The window is full, and stays so: one append without entries asks what has arrived.
    let sent = node.take(alive(2, &node));
    let m = to(2, &sent)[0];
    assert_eq!((m.index, m.entries.len()), (4, 0));
    assert_eq!(to(2, &node.propose("e")), Vec::<&Message>::new());
    assert_eq!(to(2, &node.take(alive(2, &node))).len(), 1);
    // Each answer makes room for as many as it acknowledges.
    let sent = node.take(ack(2, 1, 3));
    assert_eq!(to(2, &sent).len(), 1, "what waited goes in one");
    assert_eq!(to(2, &sent)[0].entries.len(), 2);
    assert_eq!(node.progress(2), "StateReplicate match=3 next=7 inflight=2");
}

// 60
#[test]
fn an_acknowledgement_that_brings_no_news_is_dropped_unless_it_ends_a_probe() {
    let mut node = leader();
    node.propose("a");
    let before = node.progress(2);
    assert_eq!(node.take(ack(2, 1, 1)), []);
    assert_eq!(node.take(ack(2, 1, 0)), []);
    assert_eq!(node.progress(2), before);
    node.raw.report_unreachable(2).expect("nothing to do");
    assert_eq!(node.progress(2), "StateProbe match=1 next=2");
    let sent = node.take(ack(2, 1, 1));
    assert_eq!(to(2, &sent).len(), 1, "and what was lost goes again");
    assert_eq!(node.progress(2), "StateReplicate match=1 next=3 inflight=1");
}

/// Leads with a log that begins behind a snapshot of index 10, and has sent it to 2.
fn sending_a_snapshot() -> Node {
    let mut node = Node::new(&config(1), snapshotted(voters(&[1, 2, 3]), 10, 1)).lead();
    node.take(ack(3, 2, 11));
    node.propose("a");
    let sent = node.take(reject(2, 2, 10, (0, 0)));
    assert_eq!(only(sent).kind(), Some(Snapshot));
    assert_eq!(node.progress(2), "StateSnapshot match=0 next=11 paused pendingSnap=10");
    node
}

// 61
#[test]
fn a_snapshot_under_way_stops_appends_until_the_log_is_reached_by_whatever_means() {
    for (index, replicates) in [(9, false), (10, true), (11, true)] {
        let mut node = sending_a_snapshot();
        assert_eq!(node.propose("b").iter().filter(|m| m.to == 2).count(), 0);
        node.take(alive(2, &node));
        assert!(node.progress(2).starts_with("StateSnapshot"));
        // It came from elsewhere, and is another one than what was sent.
        node.take(ack(2, 2, index));
        assert_eq!(node.progress(2).starts_with("StateReplicate"), replicates, "{index}");
    }
}

// 61
#[test]
fn a_snapshot_that_is_reported_leads_to_a_probe_behind_it_and_a_lost_one_to_the_old_place() {
    for (status, next) in [(SnapshotStatus::Finish, 11), (SnapshotStatus::Failure, 1)] {
        let mut node = sending_a_snapshot();
        node.raw.report_snapshot(2, status).expect("a leader");
        assert_eq!(node.run(), [], "it waits for a heartbeat's answer");
        assert_eq!(node.progress(2), format!("StateProbe match=0 next={next} paused"));
        let sent = node.take(alive(2, &node));
        assert_eq!(sent[0].kind(), Some(if next == 1 { Snapshot } else { Append }));
    }
}

// 61
#[test]
fn reports_about_who_is_sent_no_snapshot_or_is_unknown_change_nothing() {
    let mut node = leader();
    for id in [2, 9, 0, u64::MAX] {
        let before = node.raw.status();
        node.raw.report_snapshot(id, SnapshotStatus::Failure).expect("nothing to do");
        assert_eq!(node.raw.status(), before);
    }
    for id in [3, 9, 0, u64::MAX] {
        let before = node.raw.status();
        node.raw.report_unreachable(id).expect("nothing to do");
        assert_eq!(node.raw.status(), before);
    }
}

// 62
#[test]
fn a_rejection_in_replication_ends_it_unless_it_is_old() {
    let mut node = leader();
    node.propose("a");
    node.propose("b");
    node.take(ack(2, 1, 2));
    let before = node.progress(2);
    for old in [1, 2] {
        assert_eq!(node.take(reject(2, 1, old, (old, 1))), []);
        assert_eq!(node.progress(2), before);
    }
    let sent = node.take(reject(2, 1, 3, (0, 0)));
    assert_eq!(to(2, &sent)[0].index, 2, "what was acknowledged stays so");
    assert_eq!(node.progress(2), "StateProbe match=2 next=3 paused");
}

// 62
#[test]
fn a_rejected_probe_goes_back_to_the_hint_and_one_of_another_index_is_old() {
    let mut node = Node::with_log(&[1, 2, 3], &[1; 9]).lead();
    for old in [7, 8, 10, u64::MAX] {
        assert_eq!(node.take(reject(2, 2, old, (0, 0))), []);
    }
    assert_eq!(to(2, &node.take(reject(2, 2, 9, (4, 1))))[0].index, 4);
    assert_eq!(to(2, &node.take(reject(2, 2, 4, (9, 1))))[0].index, 3, "back in any case");
    assert_eq!(to(2, &node.take(reject(2, 2, 3, (0, 0))))[0].index, 0);
}

// 63
#[test]
fn a_snapshot_is_sent_when_it_is_made_and_only_to_who_was_heard_from() {
    let storage = stored(voters(&[1, 2, 3]), &[1; 5]);
    storage.set_hard_state(raft_core::HardState { term: 1, vote: 0, commit: 5 });
    storage.compact(5).expect("entries up to 5");
    let config = Config { check_quorum: true, ..config(1) };
    let mut node = Node::new(&config, storage).lead();
    node.take(ack(3, 2, 6));
    // There is none yet.
    assert_eq!(node.take(reject(2, 2, 5, (0, 0))), []);
    node.tick(10);
    assert_eq!(node.progress(2), "StateProbe match=0 next=1 inactive");
    node.storage.create_snapshot(5, None, "s".into()).expect("a snapshot");
    node.take(ack(3, 2, 6));
    assert_eq!(of(&node.propose("a"), Snapshot).len(), 0, "2 may be gone");
    // Its next word brings it.
    let sent = node.take(alive(2, &node));
    assert_eq!(only(sent).snapshot.map(|s| s.index()), Some(5));
}

// 64
#[test]
fn a_commit_is_told_to_everybody_who_may_be_sent_to() {
    let mut node = leader();
    node.take(ack(3, 1, 1));
    node.propose("a");
    let sent = node.take(ack(2, 1, 2));
    let told: Vec<_> = of(&sent, Append).iter().map(|m| (m.to, m.commit)).collect();
    assert_eq!(told, [(2, 2), (3, 2)]);
    assert!(of(&sent, Append).iter().all(|m| m.entries.is_empty()));
}

// 64
#[test]
fn a_commit_is_told_later_only_to_who_has_not_been_told() {
    let mut node = leader();
    node.propose("a");
    node.take(ack(2, 1, 2));
    // 3 was paused then: its acknowledgement brings what it lacks, with the commit index.
    let sent = node.take(ack(3, 1, 1));
    assert_eq!(to(3, &sent).iter().map(|m| m.commit).collect::<Vec<_>>(), [2]);
    assert_eq!(node.take(ack(3, 1, 2)), [], "it knows");
}

// 64
#[test]
fn who_is_told_nothing_new_by_a_commit_index_is_not_sent_one() {
    let mut node = leader();
    node.take(ack(3, 1, 1));
    for _ in 0..3 {
        node.propose("a");
    }
    node.take(ack(2, 1, 4));
    // The newest index is under way to 3: its acknowledgements need no answer.
    for index in 2..=4 {
        assert_eq!(node.take(ack(3, 1, index)), [], "{index}");
    }
}

// 64
#[test]
fn an_acknowledgement_lets_go_as_many_messages_as_there_is_room_for() {
    let config = Config { max_size_per_msg: 0, max_inflight_msgs: 3, ..config(1) };
    let mut node = Node::new(&config, stored(voters(&[1, 2, 3]), &[1; 9])).lead();
    node.take(reject(2, 2, 9, (0, 0)));
    let sent = node.take(ack(2, 2, 1));
    assert_eq!(to(2, &sent).iter().map(|m| m.index).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(to(2, &sent).iter().all(|m| m.entries.len() == 1));
}

// 65
#[test]
fn a_heartbeat_never_commits_more_than_is_known_to_match() {
    let mut node = leader();
    node.propose("a");
    node.take(ack(2, 1, 2));
    let sent = node.tick(1);
    let told: Vec<_> = of(&sent, Heartbeat).iter().map(|m| (m.to, m.commit)).collect();
    assert_eq!(told, [(2, 2), (3, 0)]);
    assert!(of(&sent, Heartbeat).iter().all(|m| m.context.is_empty()));
}

// 65
#[test]
fn after_a_heartbeat_with_less_the_commit_index_is_told_again() {
    let mut node = leader();
    node.take(ack(3, 1, 1));
    node.propose("a");
    node.take(ack(2, 1, 2));
    // The append with commit 2 to node 3 is lost, as far as anybody knows.
    assert_eq!(of(&node.tick(1), Heartbeat)[1].commit, 1);
    let sent = node.take(ack(3, 1, 2));
    assert_eq!(to(3, &sent).iter().map(|m| m.commit).collect::<Vec<_>>(), [2]);
}

// 65
#[test]
fn everybody_is_sent_a_heartbeat_each_heartbeat_tick_learners_too() {
    let members = raft_core::ConfState { learners: vec![3], ..voters(&[1, 2]) };
    let config = Config { heartbeat_tick: 3, ..config(1) };
    let mut node = Node::new(&config, MemoryStorage::with_conf_state(members)).lead();
    for _ in 0..3 {
        assert_eq!(of(&node.tick(2), Heartbeat).len(), 0);
        assert_eq!(of(&node.tick(1), Heartbeat).len(), 2);
    }
}

// 66
#[test]
fn the_window_of_bytes_counts_payload_and_is_exceeded_by_one_message_at_most() {
    let limits = Config { max_inflight_bytes: 100, max_size_per_msg: 100, ..config(1) };
    let mut node = leader_with(&limits);
    let mut send = |size: usize| {
        node.raw.propose(vec![b'x'; size]).expect("a leader");
        to(2, &node.run()).len()
    };
    assert_eq!([send(60), send(39), send(90), send(1)], [1, 1, 1, 0], "60 + 39 < 100");
    // The first is acknowledged: 129 bytes are still under way.
    let sent = node.take(ack(2, 1, 2));
    assert!(to(2, &sent).iter().all(|m| m.entries.is_empty()), "only that it is committed");
    let sent = node.take(ack(2, 1, 4));
    assert_eq!(to(2, &sent).iter().map(|m| m.entries.len()).collect::<Vec<_>>(), [1]);
}

// 67
#[test]
fn who_cannot_be_reached_is_probed_again_and_nothing_else_changes() {
    let mut node = leader();
    node.propose("a");
    node.raw.report_unreachable(2).expect("a leader");
    assert_eq!(node.progress(2), "StateProbe match=1 next=2");
    assert_eq!(node.run(), []);
    let mut node = sending_a_snapshot();
    let before = node.progress(2);
    node.raw.report_unreachable(2).expect("nothing to do");
    assert_eq!(node.progress(2), before);
}

// 68
#[test]
fn proposals_beyond_the_limit_are_dropped_but_a_first_and_empty_ones_are_not() {
    let mut node = leader_with(&Config { max_uncommitted_size: 10, ..config(1) });
    node.propose("far more than ten bytes");
    let dropped = node.raw.propose("a");
    assert!(matches!(dropped, Err(Error::ProposalDropped(DropReason::TooMuchUncommitted))));
    node.propose("");
    node.take(ack(2, 1, 3));
    assert_eq!(node.raw.status().uncommitted_size, 0);
    node.propose("four");
    node.propose("sixsix");
    assert!(node.raw.propose("1").is_err());
    assert_eq!(node.last(), 5);
}

// 68
#[test]
fn what_counts_as_uncommitted_is_what_is_not_applied_and_a_new_term_begins_at_zero() {
    let mut node = leader_with(&Config { max_uncommitted_size: 1_000, ..config(1) });
    node.propose("12345");
    node.raw.step(ack(2, 1, 2)).expect("an acknowledgement");
    let ready = node.raw.ready().expect("work");
    assert_eq!(ready.committed_entries.len(), 1);
    assert_eq!(node.raw.status().uncommitted_size, 5, "committed, and not applied");
    node.write(&ready);
    node.raw.advance(ready).expect("the Ready just handed out");
    assert_eq!(node.raw.status().uncommitted_size, 0);

    node.propose("12345");
    node.take(crate::hand::heartbeat(3, 2, 0));
    assert_eq!(node.raw.status().uncommitted_size, 0);
    node.elect();
    node.propose("123");
    // Entries of the term before count down too, but not below nothing.
    node.take(ack(2, 3, 4));
    assert_eq!(node.raw.status().uncommitted_size, 0);
}

// 68
#[test]
fn proposals_at_once_are_taken_all_or_none() {
    let mut node = leader_with(&Config { max_uncommitted_size: 10, ..config(1) });
    node.propose("12345");
    let batch = ["123", "456"].map(bytes::Bytes::from);
    assert!(node.raw.propose_batch(batch).is_err());
    assert_eq!(node.last(), 2);
    let batch = ["123", "45"].map(bytes::Bytes::from);
    node.raw.propose_batch(batch).expect("just fits");
    assert_eq!(node.last(), 4);
}
