//! Knobs that etcd does not have, and what knobs must fulfil together.

use raft_core::{
    ConfState, Config, DamagedRange, Error, MemoryStorage, Message, MessageType, RawNode,
    ReadOnlyOption, Role,
};

use crate::hand::{
    Node, ack, append, config, entries, message, of, only, pre_vote, reject, stored, vote, voters,
};
use MessageType::{Append, AppendResponse, HeartbeatResponse, Snapshot};

/// After how many ticks without a word the node campaigns, again and again.
fn timeouts(config: &Config, count: usize) -> Vec<usize> {
    let mut node = Node::new(config, stored(voters(&[1, 2, 3]), &[1]));
    let mut ticks = vec![0];
    while ticks.len() <= count {
        let term = node.term();
        node.tick(1);
        if let Some(last) = ticks.last_mut() {
            *last += 1;
        }
        if node.term() != term {
            ticks.push(0);
        }
    }
    ticks.pop();
    ticks
}

#[test]
fn the_same_seed_gives_the_same_timeouts_and_another_seed_gives_others() {
    let seeded = |seed| timeouts(&Config { seed, ..config(1) }, 50);
    assert_eq!(seeded(7), seeded(7));
    let different: std::collections::BTreeSet<Vec<usize>> = (0..20).map(seeded).collect();
    assert_eq!(different.len(), 20);
}

#[test]
fn nodes_with_the_same_seed_draw_different_timeouts() {
    let of = |id| {
        let config = Config { seed: 7, id, ..config(id) };
        timeouts(&config, 50)
    };
    assert_ne!(of(1), of(2));
}

#[test]
fn timeouts_are_drawn_from_the_whole_range_and_from_nothing_else() {
    let drawn: std::collections::BTreeSet<usize> =
        timeouts(&config(1), 2_000).into_iter().collect();
    assert_eq!(drawn, (10..20).collect());
    let chosen = Config { min_election_tick: 12, max_election_tick: 15, ..config(1) };
    let drawn: std::collections::BTreeSet<usize> = timeouts(&chosen, 500).into_iter().collect();
    assert_eq!(drawn, (12..15).collect());
}

#[test]
fn knobs_that_do_not_go_together_are_refused_by_name() {
    let good = Config { check_quorum: true, ..config(1) };
    let damaged = |low, high| Some(DamagedRange { low, high });
    let cases = [
        (Config { id: 0, ..good.clone() }, "id"),
        (Config { id: u64::MAX, ..good.clone() }, "id"),
        (Config { id: u64::MAX - 1, ..good.clone() }, "id"),
        (Config { heartbeat_tick: 0, ..good.clone() }, "heartbeat_tick"),
        (Config { election_tick: 1, ..good.clone() }, "election_tick"),
        (Config { election_tick: 5, heartbeat_tick: 5, ..good.clone() }, "election_tick"),
        (Config { min_election_tick: 10, ..good.clone() }, "min_election_tick"),
        (Config { max_election_tick: 10, ..good.clone() }, "max_election_tick"),
        (
            Config { min_election_tick: 12, max_election_tick: 12, ..good.clone() },
            "max_election_tick",
        ),
        (
            Config { min_election_tick: 9, max_election_tick: 12, ..good.clone() },
            "min_election_tick",
        ),
        (Config { max_inflight_msgs: 0, ..good.clone() }, "max_inflight_msgs"),
        (Config { max_inflight_bytes: 1, ..good.clone() }, "max_inflight_bytes"),
        (Config { max_postponed_reads: 0, ..good.clone() }, "max_postponed_reads"),
        (Config { lease_from_boot: true, check_quorum: false, ..good.clone() }, "lease_from_boot"),
        (Config { damaged: damaged(0, 3), ..good.clone() }, "damaged"),
        (Config { damaged: damaged(4, 3), ..good.clone() }, "damaged"),
        (
            Config {
                read_only_option: ReadOnlyOption::LeaseBased,
                check_quorum: false,
                ..good.clone()
            },
            "check_quorum",
        ),
    ];
    for (bad, word) in cases {
        let storage = MemoryStorage::with_conf_state(voters(&[1]));
        match RawNode::new(&bad, storage).err() {
            Some(Error::Config(rule)) => assert!(rule.contains(word), "{rule} names {word}"),
            other => panic!("{word}: refused, and not {other:?}"),
        }
    }
    let storage = MemoryStorage::with_conf_state(voters(&[1]));
    assert!(RawNode::new(&good, storage).is_ok());
}

#[test]
fn numbers_at_their_ends_are_knobs_like_others() {
    let large = Config {
        election_tick: u32::MAX,
        heartbeat_tick: u32::MAX - 1,
        max_size_per_msg: u64::MAX,
        max_committed_size_per_ready: u64::MAX,
        max_uncommitted_size: u64::MAX,
        max_inflight_msgs: usize::MAX,
        max_inflight_bytes: u64::MAX,
        max_postponed_reads: usize::MAX,
        priority: i64::MIN,
        seed: u64::MAX,
        ..config(1)
    };
    // The range above the largest election tick is empty: that is said, not met with a panic.
    let storage = MemoryStorage::with_conf_state(voters(&[1]));
    assert!(matches!(RawNode::new(&large, storage).err(), Some(Error::Config(_))));
    let large = Config { election_tick: u32::MAX / 2, heartbeat_tick: 1_000, ..large };
    let storage = MemoryStorage::with_conf_state(voters(&[1]));
    let mut node = Node::new(&large, storage).lead();
    node.propose("a");
    assert_eq!(node.applied_data(), [b"a"]);
}

// Priorities.

fn candidate(priority: i64, request: Message) -> Message {
    Message { priority, ..request }
}

fn ranked(priority: i64, members: ConfState) -> Node {
    Node::new(&Config { priority, ..config(1) }, stored(members, &[1, 1]))
}

#[test]
fn between_equal_logs_a_voter_refuses_a_lower_priority() {
    for request in [vote as fn(_, _, _) -> _, pre_vote] {
        for (priority, last, yes) in [
            (4, (2, 1), false),
            (5, (2, 1), true),
            (6, (2, 1), true),
            // A better log counts more than a rank, a worse one is worse.
            (4, (3, 1), true),
            (4, (2, 2), true),
            (9, (1, 1), false),
        ] {
            let mut node = ranked(5, voters(&[1, 2, 3]));
            let answer = only(node.take(candidate(priority, request(2, 3, last))));
            assert_eq!(answer.reject, !yes, "{priority} {last:?}");
        }
    }
}

#[test]
fn a_rank_counts_only_of_who_could_lead_and_not_against_the_leaders_choice() {
    let learner = ConfState { learners: vec![1], ..voters(&[2, 3]) };
    let mut node = ranked(5, learner);
    assert!(!only(node.take(candidate(0, vote(2, 3, (2, 1))))).reject);
    let mut node = ranked(5, voters(&[1, 2, 3]));
    let context = b"CampaignTransfer".as_slice().into();
    let chosen = Message { context, ..candidate(0, vote(2, 3, (2, 1))) };
    assert!(!only(node.take(chosen)).reject);
}

#[test]
fn a_candidate_says_its_priority_and_it_can_be_changed() {
    let config = Config { priority: -3, ..config(1) };
    let mut node = Node::new(&config, MemoryStorage::with_conf_state(voters(&[1, 2])));
    node.raw.campaign().expect("a campaign");
    assert_eq!(only(node.run()).priority, -3);
    node.raw.set_priority(8);
    node.raw.campaign().expect("a campaign");
    assert_eq!(only(node.run()).priority, 8);
    let request = candidate(7, vote(2, 9, (0, 0)));
    assert!(only(node.take(request)).reject);
}

// Appends that wait are lengthened.

fn appends_of_three_proposals(batch_append: bool, max_size_per_msg: u64) -> Vec<usize> {
    let config = Config { batch_append, max_size_per_msg, ..config(1) };
    let storage = MemoryStorage::with_conf_state(voters(&[1, 2]));
    let mut node = Node::new(&config, storage).lead();
    node.take(ack(2, 1, 1));
    for data in ["a", "b", "c"] {
        node.raw.propose(data).expect("a leader");
    }
    let sent = node.run();
    let sent = of(&sent, Append);
    assert!(sent.iter().all(|m| m.entries.iter().zip(m.index + 1..).all(|(e, i)| e.index == i)));
    sent.iter().map(|m| m.entries.len()).collect()
}

#[test]
fn appends_that_wait_to_be_sent_are_lengthened_up_to_the_limit_of_a_message() {
    assert_eq!(appends_of_three_proposals(false, 1 << 20), [1, 1, 1]);
    assert_eq!(appends_of_three_proposals(true, 1 << 20), [3]);
    let one = prost::Message::encoded_len(&crate::hand::entry(1, 1, "a")) as u64;
    assert_eq!(appends_of_three_proposals(true, 2 * one), [2, 1]);
    assert_eq!(appends_of_three_proposals(true, 0), [1, 1, 1]);
}

#[test]
fn a_lengthened_append_is_acknowledged_as_a_whole() {
    let config = Config { batch_append: true, ..config(1) };
    let storage = MemoryStorage::with_conf_state(voters(&[1, 2]));
    let mut node = Node::new(&config, storage).lead();
    node.take(ack(2, 1, 1));
    for data in ["a", "b", "c"] {
        node.raw.propose(data).expect("a leader");
    }
    node.run();
    node.take(ack(2, 1, 4));
    assert_eq!(node.progress(2), "StateReplicate match=4 next=5");
    assert_eq!(node.applied_data(), [b"a", b"b", b"c"]);
}

// Snapshots that a follower asks for.

#[test]
fn a_follower_that_asks_for_a_snapshot_gets_one_and_acknowledges_nothing_before() {
    let mut leader = Node::with_log(&[1, 2, 3], &[1; 4]).lead();
    leader.take(ack(2, 2, 5));
    leader.storage.create_snapshot(5, None, "s".into()).expect("a snapshot");
    let mut follower = Node::new(&config(2), stored(voters(&[1, 2, 3]), &[1; 4]));
    follower.take(Message { to: 2, ..append(1, 2, (4, 1), entries(5, &[2]), 5) });

    follower.raw.request_snapshot(3).expect("a follower");
    let asked = only(follower.run());
    assert_eq!((asked.kind(), asked.reject), (Some(AppendResponse), true));
    assert_eq!(asked.request_snapshot, 5, "all that it may have acknowledged");
    let next = Message { to: 2, ..append(1, 2, (5, 2), vec![], 5) };
    let asked_again = only(follower.take(next));
    assert!(asked_again.reject, "no append is acknowledged");

    let sent = leader.take(Message { to: 1, ..asked });
    let m = of(&sent, Snapshot)[0].clone();
    let acknowledged = of(&follower.take(m), AppendResponse)[0].clone();
    assert_eq!((acknowledged.index, acknowledged.reject), (5, false));
    assert_eq!(follower.raw.basic_status().applied, 5);
    leader.take(acknowledged);
    assert!(leader.progress(2).starts_with("StateReplicate match=5"));
}

#[test]
fn a_snapshot_that_is_not_there_yet_is_sent_when_it_is() {
    let mut leader = Node::with_log(&[1, 2, 3], &[1; 4]).lead();
    leader.take(ack(2, 2, 5));
    leader.storage.create_snapshot(2, None, "old".into()).expect("a snapshot");
    let asked = Message { request_snapshot: 4, ..reject(2, 2, 5, (5, 2)) };
    assert_eq!(of(&leader.take(asked), Snapshot).len(), 0, "it covers too little");
    leader.storage.create_snapshot(4, None, "new".into()).expect("a snapshot");
    let sent = leader.take(message(HeartbeatResponse, 2, 2));
    assert_eq!(of(&sent, Snapshot)[0].snapshot.as_ref().map(|s| s.index()), Some(4));
}

#[test]
fn a_leader_has_nobody_to_ask_for_a_snapshot() {
    let mut node = Node::one_of(&[1, 2, 3]).lead();
    assert!(matches!(node.raw.request_snapshot(1), Err(Error::Refused(_))));
    assert_eq!(node.role(), Role::Leader);
}

// The checker.

#[test]
fn the_state_of_a_sound_node_is_possible() {
    let mut node = Node::one_of(&[1, 2, 3]);
    node.raw.check_invariants().expect("a follower");
    node.raw.campaign().expect("a campaign");
    node.raw.check_invariants().expect("a candidate");
    node.elect();
    node.raw.check_invariants().expect("a leader");
}
