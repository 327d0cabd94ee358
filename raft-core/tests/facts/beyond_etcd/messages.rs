//! Messages that no sound peer sends: a typed error, and nothing changed.

use raft_core::{
    ConfState, Config, DamagedRange, Entry, Error, HardState, LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD, MemoryStorage, Message, MessageType, Role, Snapshot,
};

use crate::hand::{
    Node, ack, append, config, entries, entry, granted, heartbeat, install, message, reject,
    snapshot, stored, vote, voters,
};
use MessageType as T;

const ALL: [T; 24] = [
    T::Hup,
    T::Beat,
    T::Propose,
    T::Append,
    T::AppendResponse,
    T::Vote,
    T::VoteResponse,
    T::Snapshot,
    T::Heartbeat,
    T::HeartbeatResponse,
    T::Unreachable,
    T::SnapshotStatus,
    T::CheckQuorum,
    T::TransferLeader,
    T::TimeoutNow,
    T::ReadIndex,
    T::ReadIndexResponse,
    T::PreVote,
    T::PreVoteResponse,
    T::StorageAppend,
    T::StorageAppendResponse,
    T::StorageApply,
    T::StorageApplyResponse,
    T::ForgetLeader,
];

/// A name, and how to make a node that is so.
type Part = (&'static str, fn() -> Node);

/// Nodes in every role and in some special states, each in term 3 with five entries and nothing
/// left to do.
fn cast() -> Vec<Part> {
    fn node(change: impl Fn(&mut Config)) -> Node {
        with_members(change, voters(&[1, 2, 3]))
    }
    fn with_members(change: impl Fn(&mut Config), members: ConfState) -> Node {
        let mut config = config(1);
        change(&mut config);
        let storage = stored(members, &[1, 1, 2, 2, 2]);
        storage.set_hard_state(HardState { term: 2, vote: 0, commit: 3 });
        let mut node = Node::new(&config, storage);
        node.run();
        node
    }
    vec![
        ("follower", || {
            let mut node = node(|_| {});
            node.take(heartbeat(2, 3, 0));
            node
        }),
        ("lost follower", || {
            let mut node = node(|c| c.check_quorum = true);
            node.take(vote(2, 3, (9, 9)));
            node
        }),
        ("pre-candidate", || {
            let mut node = node(|c| c.pre_vote = true);
            node.take(heartbeat(2, 3, 0));
            node.raw.campaign().expect("a campaign");
            node.run();
            node
        }),
        ("candidate", || {
            let mut node = node(|_| {});
            node.raw.campaign().expect("a campaign");
            node.run();
            node
        }),
        ("leader", || {
            let mut node = node(|_| {}).lead();
            node.take(ack(2, 3, 4));
            node.raw.read_index("r").expect("a leader");
            node.raw.transfer_leader(3).expect("a leader");
            node.run();
            node
        }),
        ("leader in a joint configuration", || {
            let members = ConfState {
                voters_outgoing: vec![1, 4],
                learners: vec![5],
                learners_next: vec![4],
                auto_leave: true,
                ..voters(&[1, 2, 3])
            };
            let mut node = with_members(|c| c.batch_append = true, members).lead();
            node.take(ack(2, 3, 6));
            node
        }),
        ("damaged follower", || {
            let mut node = node(|c| c.damaged = Some(DamagedRange { low: 4, high: 5 }));
            node.take(heartbeat(2, 3, 0));
            node
        }),
        ("follower that wants a snapshot", || {
            let mut node = node(|_| {});
            node.take(heartbeat(2, 3, 0));
            node.raw.request_snapshot(2).expect("a follower");
            node.run();
            node
        }),
        ("newborn", || Node::new(&config(1), MemoryStorage::with_conf_state(voters(&[1, 2, 3])))),
    ]
}

/// Steps a message that must be refused, at every member of the cast, and nothing changes.
fn refused(m: &Message, expected: impl Fn(&Error) -> bool) {
    for (name, make) in cast() {
        refused_by(name, &mut make(), m, &expected);
    }
}

fn refused_by(name: &str, node: &mut Node, m: &Message, expected: impl Fn(&Error) -> bool) {
    let before = node.raw.status();
    match node.raw.step(m.clone()) {
        Err(error) if expected(&error) => {}
        other => panic!("{name}: {other:?} for {m:?}"),
    }
    assert_eq!(node.raw.status(), before, "{name}: {m:?}");
    assert!(!node.raw.has_ready(), "{name}: {m:?}");
}

fn local(e: &Error) -> bool {
    matches!(e, Error::LocalMessage { .. })
}

fn malformed(e: &Error) -> bool {
    matches!(e, Error::Malformed { .. })
}

fn follower() -> Node {
    cast()[0].1()
}

fn leader() -> Node {
    cast()[4].1()
}

#[test]
fn local_messages_are_refused_from_the_network_forget_leader_too() {
    let of_the_node = [
        T::Hup,
        T::Beat,
        T::Unreachable,
        T::SnapshotStatus,
        T::CheckQuorum,
        T::StorageAppend,
        T::StorageAppendResponse,
        T::StorageApply,
        T::StorageApplyResponse,
        T::ForgetLeader,
    ];
    for kind in of_the_node {
        for term in [0, 2, 3, 9] {
            refused(&message(kind, 2, term), local);
        }
    }
    let is_local: Vec<T> = ALL.into_iter().filter(|kind| kind.is_local()).collect();
    assert_eq!(is_local, of_the_node);
}

#[test]
fn nobody_else_speaks_for_the_storage_threads_or_for_nobody() {
    for from in [LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, 0] {
        for kind in ALL {
            refused(&message(kind, from, 3), local);
        }
    }
}

#[test]
fn nobody_else_speaks_for_the_node_itself() {
    // What it has forwarded may come back to it.
    let forwarded = [T::Propose, T::ReadIndex, T::TransferLeader];
    for kind in ALL.into_iter().filter(|kind| !forwarded.contains(kind)) {
        refused(&message(kind, 1, 3), |e| local(e) || malformed(e));
    }
    let mut node = leader();
    let read = Message { entries: vec![entry(0, 0, "r")], ..message(T::ReadIndex, 1, 0) };
    node.take(read);
    assert_eq!(node.raw.status().postponed_reads, 2);
}

#[test]
fn the_node_itself_hears_by_its_own_way_only_what_it_or_its_threads_say() {
    let mut node = follower();
    let before = node.raw.status();
    for from in [0, 1, 2, LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD] {
        for kind in ALL {
            let known = matches!(
                (kind, from),
                (T::StorageAppendResponse, LOCAL_APPEND_THREAD)
                    | (T::StorageApplyResponse, LOCAL_APPLY_THREAD)
                    | (
                        T::AppendResponse
                            | T::VoteResponse
                            | T::PreVoteResponse
                            | T::HeartbeatResponse
                            | T::ReadIndexResponse,
                        1,
                    )
            );
            if !known {
                let stepped = node.raw.step_local(message(kind, from, 3));
                assert!(stepped.as_ref().is_err_and(local), "{kind:?} from {from}: {stepped:?}");
            }
        }
    }
    let unknown = Message { msg_type: 99, ..message(T::Hup, LOCAL_APPEND_THREAD, 0) };
    assert!(matches!(node.raw.step_local(unknown), Err(Error::UnknownMessage { .. })));
    assert_eq!(node.raw.status(), before);
}

#[test]
fn types_that_are_not_known_are_refused() {
    for msg_type in [-1, 24, 99, i32::MAX, i32::MIN] {
        let m = Message { msg_type, ..message(T::Hup, 2, 3) };
        refused(
            &m,
            |e| matches!(e, Error::UnknownMessage { msg_type: n, from: 2 } if *n == msg_type),
        );
    }
}

#[test]
fn answers_of_strangers_are_refused_and_their_requests_are_not() {
    let answers = [
        T::AppendResponse,
        T::VoteResponse,
        T::PreVoteResponse,
        T::HeartbeatResponse,
        T::ReadIndexResponse,
    ];
    for kind in answers {
        refused(&message(kind, 77, 3), |e| matches!(e, Error::PeerNotFound { from: 77, .. }));
    }
    // A candidate may know of a configuration that this node does not know yet.
    let mut node = follower();
    node.take(vote(77, 9, (9, 9)));
    assert_eq!((node.term(), node.vote()), (9, 77));
}

#[test]
fn a_message_that_has_no_term_but_must_have_one_is_refused() {
    for (name, make) in cast().into_iter().filter(|(name, _)| *name != "newborn") {
        for kind in ALL.into_iter().filter(|kind| !kind.is_local()) {
            for reject in [false, true] {
                let may = matches!(kind, T::Propose | T::ReadIndex)
                    || kind == T::PreVoteResponse && reject;
                if !may && kind != T::VoteResponse {
                    let m = Message { reject, ..message(kind, 2, 0) };
                    refused_by(name, &mut make(), &m, malformed);
                }
            }
        }
    }
}

#[test]
fn the_term_never_falls_whatever_a_message_says() {
    for (name, make) in cast() {
        for kind in ALL {
            for term in [0, 1, 2] {
                for reject in [false, true] {
                    let mut node = make();
                    let before = node.term();
                    let _ = node.raw.step(Message { reject, ..message(kind, 2, term) });
                    node.run();
                    assert!(node.term() >= before, "{name}: {kind:?} of term {term}");
                }
            }
        }
    }
}

#[test]
fn a_term_without_a_successor_is_refused() {
    let forwarded = [T::Propose, T::ReadIndex];
    for kind in ALL.into_iter().filter(|k| !k.is_local() && !forwarded.contains(k)) {
        refused(&message(kind, 2, u64::MAX), |e| {
            matches!(e, Error::Exhausted { what: "term", value: u64::MAX })
        });
    }
}

#[test]
fn a_forwarded_request_with_a_term_is_refused() {
    for kind in [T::Propose, T::ReadIndex] {
        for term in [1, 3, 4, u64::MAX] {
            let m = Message { entries: vec![entry(0, 0, "a")], ..message(kind, 2, term) };
            refused(&m, malformed);
        }
    }
}

#[test]
fn the_last_term_but_one_is_followed_and_not_campaigned_beyond() {
    let mut node = follower();
    node.take(heartbeat(2, u64::MAX - 1, 0));
    assert_eq!(node.term(), u64::MAX - 1);
    // No message could carry the next one.
    let last = node.raw.campaign();
    assert!(matches!(last, Err(Error::Exhausted { what: "term", .. })));
    assert_eq!((node.role(), node.term()), (Role::Follower, u64::MAX - 1));
}

#[test]
fn a_commit_index_beyond_the_log_is_refused() {
    for commit in [6, u64::MAX] {
        let m = heartbeat(2, 3, commit);
        refused_by("follower", &mut follower(), &m, |e| {
            matches!(e, Error::CommitBeyondLog { from: 2, last: 5, .. })
        });
    }
    // In an append it goes no further than the entries.
    let mut node = follower();
    node.take(append(2, 3, (5, 2), vec![], u64::MAX));
    assert_eq!(node.commit(), 5);
}

#[test]
fn a_contradiction_with_a_committed_entry_is_refused() {
    let m = append(2, 3, (3, 1), entries(4, &[3]), 3);
    refused_by("follower", &mut follower(), &m, |e| {
        matches!(e, Error::CommittedConflict { from: 2, index: 3, committed: 3 })
    });
}

#[test]
fn entries_with_gaps_or_falling_or_future_terms_are_refused() {
    let bad: [Vec<Entry>; 8] = [
        entries(7, &[3]),
        entries(5, &[3]),
        entries(0, &[3]),
        vec![entry(3, 6, ""), entry(3, 8, "")],
        vec![entry(3, 6, ""), entry(3, 6, "")],
        entries(6, &[3, 2]),
        entries(6, &[1]),
        entries(6, &[4]),
    ];
    for entries in bad {
        let m = append(2, 3, (5, 2), entries, 3);
        refused_by("follower", &mut follower(), &m, malformed);
    }
}

#[test]
fn entries_without_a_place_are_refused() {
    for (index, entries) in [
        (u64::MAX, vec![entry(3, u64::MAX, "")]),
        (u64::MAX, vec![entry(3, 0, "")]),
        (u64::MAX - 1, vec![entry(3, u64::MAX, "")]),
    ] {
        let m = append(2, 3, (index, 2), entries, 3);
        refused_by("follower", &mut follower(), &m, malformed);
    }
    // Without entries it is a probe like others.
    let mut node = follower();
    assert!(node.take(append(2, 3, (u64::MAX, 2), vec![], 3))[0].reject);
}

#[test]
fn another_leader_of_the_own_term_is_refused() {
    for m in [append(2, 3, (0, 0), vec![], 0), heartbeat(2, 3, 0)] {
        refused_by("leader", &mut leader(), &m, malformed);
    }
    // A snapshot is ignored, as in etcd.
    let mut node = leader();
    let before = node.raw.status();
    let _ = node.raw.step(install(2, 3, snapshot(99, 3, voters(&[1, 2, 3]))));
    assert_eq!(node.raw.status(), before);
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_refused() {
    for index in [7, u64::MAX - 1, u64::MAX] {
        refused_by("leader", &mut leader(), &ack(2, 3, index), malformed);
    }
    // A rejection of something odd is old news at most, and its hints are only hints.
    for index in [0, 6, 7, u64::MAX] {
        for hint in [(0, 0), (u64::MAX, 0), (u64::MAX, u64::MAX), (3, u64::MAX), (u64::MAX, 1)] {
            let mut node = leader();
            node.take(reject(2, 3, index, hint));
            node.take(reject(3, 3, index, hint));
            assert_eq!((node.role(), node.last(), node.term()), (Role::Leader, 6, 3));
        }
    }
}

#[test]
fn snapshots_of_nothing_of_a_term_to_come_or_of_impossible_members_are_refused() {
    let members = || voters(&[1, 2, 3]);
    let mut node = follower();
    let none = message(T::Snapshot, 2, 3);
    refused_by("follower", &mut node, &none, malformed);
    refused_by("follower", &mut node, &install(2, 3, snapshot(9, 4, members())), malformed);
    for index in [u64::MAX, u64::MAX - 1] {
        refused_by("follower", &mut node, &install(2, 3, snapshot(index, 3, members())), malformed);
    }
    for bad in [voters(&[1, 1]), voters(&[0, 1]), voters(&[u64::MAX])] {
        let m = install(2, 3, snapshot(9, 3, bad));
        refused_by("follower", &mut node, &m, |e| matches!(e, Error::ConfChange(_)));
    }
    // One of nothing, or of nobody, is no contradiction: it is not installed.
    for empty in [Snapshot::default(), snapshot(9, 3, ConfState::default())] {
        assert_eq!(node.take(install(2, 3, empty))[0].index, 3);
        assert_eq!((node.last(), node.members().as_str()), (5, "voters=(1 2 3)"));
    }
}

#[test]
fn a_count_of_reads_has_eight_bytes_or_none() {
    for length in [1, 7, 9, 100] {
        let context = vec![0; length].into();
        let m = Message { context, ..message(T::HeartbeatResponse, 2, 3) };
        refused_by("leader", &mut leader(), &m, malformed);
    }
}

/// Values that fields are set to, one pair of fields at a time.
fn variants(of: T) -> Vec<Message> {
    type Set = fn(&mut Message);
    let term: [Set; 5] = [
        |m| m.term = 2,
        |m| m.term = 4,
        |m| m.term = 0,
        |m| m.term = u64::MAX - 1,
        |m| m.term = u64::MAX,
    ];
    let fields: [&[Set]; 12] = [
        &[|m| m.from = 3, |m| m.from = 9, |m| m.from = u64::MAX - 2],
        &[|m| m.log_term = 2, |m| m.log_term = 3, |m| m.log_term = u64::MAX],
        &[
            |m| m.index = 3,
            |m| m.index = 5,
            |m| m.index = 6,
            |m| m.index = u64::MAX - 1,
            |m| m.index = u64::MAX,
        ],
        &[
            |m| m.entries = entries(m.index.wrapping_add(1), &[3]),
            |m| m.entries = entries(4, &[2, 2]),
            |m| m.entries = vec![Entry::default()],
            |m| m.entries = vec![entry(u64::MAX, u64::MAX, "x")],
            |m| {
                m.entries = vec![Entry { entry_type: Some(2), ..Entry::default() }];
            },
            |m| {
                m.entries =
                    vec![Entry { entry_type: Some(77), data: "x".into(), ..Entry::default() }];
            },
        ],
        &[|m| m.commit = 5, |m| m.commit = 6, |m| m.commit = u64::MAX],
        &[
            |m| m.snapshot = Some(Box::new(snapshot(4, 2, voters(&[1, 2])))),
            |m| m.snapshot = Some(Box::new(snapshot(9, 3, voters(&[1, 2])))),
            |m| m.snapshot = Some(Box::new(snapshot(u64::MAX - 2, u64::MAX, voters(&[1])))),
            |m| m.snapshot = Some(Box::new(snapshot(u64::MAX, 3, voters(&[1])))),
            |m| m.snapshot = Some(Box::default()),
        ],
        &[|m| m.reject = true],
        &[|m| m.reject_hint = 4, |m| m.reject_hint = u64::MAX],
        &[
            |m| m.context = vec![0xff; 8].into(),
            |m| m.context = b"CampaignTransfer".as_slice().into(),
            |m| m.context = vec![1; 9].into(),
        ],
        &[|m| m.vote = u64::MAX],
        &[|m| m.priority = i64::MAX, |m| m.priority = i64::MIN],
        &[|m| m.request_snapshot = 1, |m| m.request_snapshot = u64::MAX],
    ];
    let term: &[Set] = &term;
    let fields: Vec<&[Set]> = std::iter::once(term).chain(fields).collect();
    let mut all = vec![message(of, 2, 3)];
    for (i, first) in fields.iter().enumerate() {
        for a in *first {
            let mut one = message(of, 2, 3);
            a(&mut one);
            for b in fields[i + 1..].iter().copied().flatten() {
                let mut two = one.clone();
                b(&mut two);
                all.push(two);
            }
            all.push(one);
        }
    }
    all
}

#[test]
fn whatever_a_peer_says_a_node_goes_on_or_says_why_not_and_is_as_before() {
    let (mut refused, mut taken) = (0, 0);
    for (name, make) in cast() {
        let mut node = make();
        let before = node.raw.status();
        for kind in ALL {
            for m in variants(kind) {
                if let Err(error) = node.raw.step(m.clone()) {
                    assert!(!matches!(error, Error::Invariant(_)), "{name}: {error} by {m:?}");
                    assert_eq!(node.raw.status(), before, "{name}: {m:?}");
                    assert!(!node.raw.has_ready(), "{name}: {m:?}");
                    refused += 1;
                    continue;
                }
                taken += 1;
                live_on(&mut node);
                node = make();
            }
        }
    }
    println!("{refused} messages refused, {taken} taken");
    assert!(refused > 10_000 && taken > 10_000);
}

/// The node does what its driver does, and a campaign, and a proposal.
fn live_on(node: &mut Node) {
    node.raw.check_invariants().expect("a possible state");
    finish(node);
    for _ in 0..3 {
        node.raw.tick().expect("a tick");
        finish(node);
    }
    let _ = node.raw.propose("a");
    let _ = node.raw.campaign();
    finish(node);
    let _ = node.raw.step(granted(T::VoteResponse, 2, node.term()));
    finish(node);
}

fn finish(node: &mut Node) {
    for _ in 0..20 {
        if !node.raw.has_ready() {
            return;
        }
        let ready = node.raw.ready().expect("a storage in memory");
        node.write(&ready);
        // Changes that peers made up are for the application to refuse.
        node.raw.advance(ready).expect("the Ready just handed out");
    }
}
