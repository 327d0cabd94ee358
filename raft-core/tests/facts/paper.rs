//! The paper's figure 2 and sections 5 to 8, a rule a test.

use raft_core::{Config, MemoryStorage, Message, MessageType, Role};

use crate::hand::{
    Group, Node, ack, append, config, entries, entry, granted, heartbeat, install, message, of,
    only, refused, snapshot, stored, vote, voters,
};
use MessageType::{Append, AppendResponse, Heartbeat, Vote, VoteResponse};

/// Node 1 of five.
fn one_of_five() -> Node {
    Node::one_of(&[1, 2, 3, 4, 5])
}

fn group(logs: &[&[u64]]) -> Group {
    let ids: Vec<u64> = (1..=logs.len() as u64).collect();
    let nodes =
        ids.iter().zip(logs).map(|(id, log)| Node::new(&config(*id), stored(voters(&ids), log)));
    Group::of(nodes.collect())
}

// Figure 2, state.

#[test]
fn a_node_begins_in_term_0_with_nothing_voted_committed_or_applied_as_a_follower() {
    let node = one_of_five();
    assert_eq!((node.term(), node.vote(), node.commit(), node.last()), (0, 0, 0, 0));
    assert_eq!((node.raw.basic_status().applied, node.role()), (0, Role::Follower));
}

#[test]
fn term_and_vote_are_to_be_stored_before_any_message_that_depends_on_them() {
    let mut node = one_of_five();
    node.raw.step(vote(2, 3, (0, 0))).expect("a vote request");
    let ready = node.raw.ready().expect("work");
    let state = ready.hard_state.expect("a new term and vote");
    assert_eq!((state.term, state.vote, ready.must_sync), (3, 2, true));
    assert_eq!(of(&ready.messages, VoteResponse).len(), 1);
}

#[test]
fn a_new_leader_sends_to_everybody_from_the_end_of_its_log_and_knows_of_no_match() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 1]).lead();
    for id in [2, 3] {
        assert!(node.progress(id).starts_with("StateProbe match=0 next=3"));
    }
    // Once more, after another leader was followed.
    node.take(ack(2, 2, 3));
    node.take(heartbeat(3, 5, 0));
    node.elect();
    assert!(node.progress(2).starts_with("StateProbe match=0 next=4"));
}

// Figure 2, AppendEntries.

#[test]
fn an_append_of_an_old_term_is_not_taken() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 3]);
    assert_eq!(node.take(append(2, 2, (1, 1), entries(2, &[2]), 2)), []);
    assert_eq!((node.terms(), node.commit(), node.leader()), (vec![1, 3], 0, 0));
}

#[test]
fn an_append_is_rejected_where_the_entry_before_it_is_missing_or_of_another_term() {
    for (before, rejected) in
        [((0, 0), false), ((1, 1), false), ((2, 2), false), ((2, 1), true), ((3, 3), true)]
    {
        let mut node = Node::with_log(&[1, 2, 3], &[1, 2]);
        let answer = only(node.take(append(2, 3, before, vec![], 0)));
        assert_eq!((answer.reject, answer.index), (rejected, before.0), "{before:?}");
    }
}

#[test]
fn an_entry_that_conflicts_goes_with_all_behind_it_and_what_is_new_is_appended() {
    let cases: [(_, &[u64], &[u64], &[u64]); 6] = [
        ((2, 2), &[3], &[1, 2, 3], &[3]),
        ((1, 1), &[3, 4], &[1, 3, 4], &[3, 4]),
        ((0, 0), &[1], &[1, 2], &[]),
        ((0, 0), &[3], &[3], &[3]),
        ((0, 0), &[1, 2, 3], &[1, 2, 3], &[3]),
        ((0, 0), &[1, 3], &[1, 3], &[3]),
    ];
    for (before, sent, log, written) in cases {
        let mut node = Node::with_log(&[1, 2, 3], &[1, 2]);
        let m = append(2, 4, before, entries(before.0 + 1, sent), 0);
        node.raw.step(m).expect("an append");
        let ready = node.raw.ready().expect("work");
        assert_eq!(ready.entries.iter().map(|e| e.term).collect::<Vec<_>>(), written);
        node.write(&ready);
        assert_eq!(node.terms(), log, "{before:?} {sent:?}");
    }
}

#[test]
fn a_follower_commits_what_the_leader_has_up_to_the_last_new_entry() {
    let mut node = one_of_five();
    node.take(append(2, 1, (0, 0), entries(1, &[1, 1]), 5));
    assert_eq!(node.commit(), 2);
}

// Figure 2, RequestVote.

#[test]
fn a_vote_is_given_to_the_first_that_asks_in_a_term() {
    for (voted, asks, given) in
        [(0, 2, true), (0, 3, true), (2, 2, true), (3, 3, true), (2, 3, false), (3, 2, false)]
    {
        let storage = MemoryStorage::with_conf_state(voters(&[1, 2, 3]));
        storage.set_hard_state(raft_core::HardState { term: 1, vote: voted, commit: 0 });
        let mut node = Node::new(&config(1), storage);
        assert_eq!(only(node.take(vote(asks, 1, (0, 0)))).reject, !given);
    }
}

// Figure 2, rules for all servers.

#[test]
fn what_is_committed_is_applied_in_the_order_of_the_log_and_once() {
    let mut node = one_of_five();
    node.take(append(2, 1, (0, 0), entries(1, &[1; 6]), 2));
    node.take(heartbeat(2, 1, 5));
    node.take(heartbeat(2, 1, 5));
    node.take(append(2, 1, (6, 1), vec![], 6));
    assert_eq!(node.applied.iter().map(|e| e.index).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn whoever_hears_of_a_later_term_enters_it_as_a_follower() {
    let follower = one_of_five;
    let candidate = || {
        let mut node = one_of_five();
        node.raw.campaign().expect("a campaign");
        node.run();
        node
    };
    let leader = || one_of_five().lead();
    for make in [follower as fn() -> Node, candidate, leader] {
        for kind in [Append, AppendResponse, Heartbeat, Vote, VoteResponse] {
            let mut node = make();
            node.take(message(kind, 2, 7));
            assert_eq!((node.term(), node.role()), (7, Role::Follower));
        }
    }
}

// Section 5.2.

#[test]
fn a_leader_sends_heartbeats_all_the_time() {
    let mut node = Node::one_of(&[1, 2, 3]).lead();
    for _ in 0..30 {
        let sent = node.tick(1);
        let to: Vec<u64> = of(&sent, Heartbeat).iter().map(|m| m.to).collect();
        assert_eq!(to, [2, 3]);
    }
}

#[test]
fn a_follower_or_candidate_that_hears_nothing_campaigns_in_the_next_term() {
    let mut node = Node::one_of(&[1, 2, 3]);
    for term in 1..10 {
        let sent = node.tick(20);
        assert!(node.term() >= term && node.vote() == 1);
        assert_eq!(node.role(), Role::Candidate);
        let requests = of(&sent, Vote);
        assert!(requests.len() >= 2 && requests.iter().any(|m| m.to == 3));
    }
}

#[test]
fn a_follower_that_hears_from_its_leader_does_not_campaign() {
    let mut node = Node::one_of(&[1, 2, 3]);
    for turn in 0..20 {
        node.tick(9);
        let word = match turn % 3 {
            0 => heartbeat(2, 1, 0),
            1 => append(2, 1, (0, 0), vec![], 0),
            _ => append(2, 1, (9, 1), vec![], 0),
        };
        node.take(word);
        assert_eq!(node.role(), Role::Follower);
    }
}

#[test]
fn a_candidate_leads_with_the_votes_of_a_majority_and_not_before() {
    for (size, votes, leads) in [
        (1, 0, true),
        (2, 0, false),
        (2, 1, true),
        (3, 1, true),
        (4, 1, false),
        (4, 2, true),
        (5, 1, false),
        (5, 2, true),
        (7, 2, false),
        (7, 3, true),
    ] {
        let ids: Vec<u64> = (1..=size).collect();
        let mut node = Node::one_of(&ids);
        node.raw.campaign().expect("a campaign");
        node.run();
        for from in 2..2 + votes {
            node.take(granted(VoteResponse, from, 1));
        }
        assert_eq!(node.role() == Role::Leader, leads, "{votes} votes of {size} and the own");
        assert_eq!(node.term(), 1);
    }
}

#[test]
fn a_candidate_that_is_refused_by_a_majority_waits_for_the_next_term() {
    let mut node = one_of_five();
    node.raw.campaign().expect("a campaign");
    node.run();
    for from in [2, 3, 4] {
        node.take(refused(VoteResponse, from, 1));
    }
    assert_eq!((node.role(), node.term()), (Role::Follower, 1));
}

#[test]
fn a_candidate_that_hears_from_a_leader_of_its_term_follows_it() {
    for word in [
        append(3, 1, (0, 0), vec![], 0),
        heartbeat(3, 1, 0),
        install(3, 1, snapshot(5, 1, voters(&[1, 2, 3, 4, 5]))),
    ] {
        let mut node = one_of_five();
        node.raw.campaign().expect("a campaign");
        node.run();
        node.take(word);
        assert_eq!((node.role(), node.leader(), node.vote()), (Role::Follower, 3, 1));
    }
}

#[test]
fn a_candidate_does_not_heed_a_leader_of_an_old_term() {
    let mut node = Node::with_log(&[1, 2, 3], &[4]);
    node.raw.campaign().expect("a campaign");
    node.run();
    node.take(heartbeat(2, 4, 0));
    assert_eq!((node.role(), node.term()), (Role::Candidate, 5));
}

#[test]
fn random_timeouts_make_split_votes_rare() {
    let conflicts = (0..200).filter(|seed| {
        let fires = |id: u64| {
            let config = Config { seed: *seed, ..config(id) };
            let mut node = Node::new(&config, MemoryStorage::with_conf_state(voters(&[1, 2, 3])));
            (1..=20).find(|_| {
                node.tick(1);
                node.role() == Role::Candidate
            })
        };
        let mut first: Vec<_> = [1, 2, 3].map(fires).into();
        first.sort_unstable();
        first[0] == first[1]
    });
    let conflicts = conflicts.count();
    println!("{conflicts} of 200 elections have two first candidates");
    assert!((1..80).contains(&conflicts));
}

#[test]
fn in_a_group_that_nobody_disturbs_there_is_one_leader_whom_all_follow() {
    for size in [1, 2, 3, 5] {
        let mut group = Group::new(size, config);
        for _ in 0..40 {
            for id in 1..=size {
                group.tick(id, 1);
            }
        }
        let leaders = group.roles().iter().filter(|role| **role == Role::Leader).count();
        assert_eq!(leaders, 1);
        let leader = group.nodes[0].leader();
        assert!(group.nodes.iter().all(|node| node.leader() == leader));
    }
}

// Section 5.3.

#[test]
fn a_leader_appends_a_command_to_its_log_and_sends_it_to_everybody() {
    let mut node = Node::one_of(&[1, 2, 3]).lead();
    node.take(ack(2, 1, 1));
    node.take(ack(3, 1, 1));
    let sent = node.propose("a");
    assert_eq!(node.last(), 2);
    for (m, to) in of(&sent, Append).iter().zip([2, 3]) {
        assert_eq!((m.to, m.index, m.log_term, m.commit), (to, 1, 1, 1));
        assert_eq!(m.entries, [entry(1, 2, "a")]);
    }
}

#[test]
fn an_entry_is_committed_when_a_majority_has_it() {
    for (size, acks, commits) in
        [(1, 0, true), (2, 1, true), (3, 0, false), (3, 1, true), (5, 1, false), (5, 2, true)]
    {
        let ids: Vec<u64> = (1..=size).collect();
        let mut node = Node::one_of(&ids).lead();
        for from in 2..2 + acks {
            node.take(ack(from, 1, 1));
        }
        assert_eq!(node.commit() == 1, commits, "{acks} of {size}");
    }
}

#[test]
fn the_leader_tells_what_is_committed_and_followers_apply_it() {
    let mut group = Group::new(3, config);
    group.campaign(1);
    group.node(1).raw.propose("a").expect("a leader");
    group.node(1).raw.propose("b").expect("a leader");
    group.settle();
    for node in &group.nodes {
        assert_eq!((node.commit(), node.applied_data()), (3, vec![b"a".as_slice(), b"b"]));
    }
}

#[test]
fn with_an_entry_all_entries_before_it_are_committed() {
    for log in [&[][..], &[2], &[1, 2], &[1]] {
        let mut node = Node::with_log(&[1, 2, 3], log).lead();
        node.propose("a");
        node.take(ack(2, node.term(), node.last()));
        assert_eq!(node.commit(), log.len() as u64 + 2);
        assert_eq!(node.applied.len(), log.len() + 2);
    }
}

// Figure 7.
#[test]
fn a_leader_brings_every_followers_log_to_its_own() {
    let leader: &[u64] = &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    let followers: [&[u64]; 6] = [
        &[1, 1, 1, 4, 4, 5, 5, 6, 6],
        &[1, 1, 1, 4],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        &[1, 1, 1, 4, 4, 4, 4],
        &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ];
    for follower in followers {
        // The third has a log that lets the first lead in term 8, and is away otherwise.
        let mut group = group(&[leader, follower, &[]]);
        let later = raft_core::HardState { term: 7, vote: 0, commit: 0 };
        for id in [1, 2] {
            group.node(id).storage.set_hard_state(later);
            group.node(id).restart(&config(id));
        }
        group.campaign(1);
        assert_eq!((group.node(1).role(), group.node(1).term()), (Role::Leader, 8));
        group.tick(1, 2);
        assert_eq!(group.node(2).terms(), [leader, &[8]].concat(), "from {follower:?}");
        assert_eq!(group.node(3).terms(), [leader, &[8]].concat());
    }
}

#[test]
fn a_leader_never_overwrites_its_own_log() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 1, 2]).lead();
    for m in [append(2, 3, (1, 1), entries(2, &[3]), 3), append(2, 2, (0, 0), entries(1, &[2]), 1)]
    {
        let _ = node.raw.step(m);
        node.run();
        assert_eq!((node.terms(), node.role()), (vec![1, 1, 2, 3], Role::Leader));
    }
}

// Section 5.4.

#[test]
fn a_candidate_says_where_its_log_ends() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 1, 2]);
    node.raw.campaign().expect("a campaign");
    for m in of(&node.run(), Vote) {
        assert_eq!((m.term, m.index, m.log_term), (3, 3, 2));
    }
}

#[test]
fn who_has_not_all_that_is_committed_cannot_be_elected() {
    let mut group = Group::new(3, config);
    group.campaign(1);
    group.isolate(3);
    group.node(1).raw.propose("a").expect("a leader");
    group.settle();
    group.heal();
    group.isolate(1);
    group.campaign(3);
    assert_ne!(group.node(3).role(), Role::Leader, "the second has more");
    group.campaign(2);
    assert_eq!(group.node(2).role(), Role::Leader);
    assert_eq!(group.see(3).applied_data(), [b"a"]);
}

/// Figure 8 up to (c): the first leads in term 4 and has brought its entry of term 2 to a majority.
fn figure_8() -> Group {
    let mut group = group(&[&[1, 2], &[1, 2], &[1], &[1], &[1, 3]]);
    let later = raft_core::HardState { term: 3, vote: 5, commit: 0 };
    for id in 1..=4 {
        group.node(id).storage.set_hard_state(later);
        group.node(id).restart(&config(id));
    }
    group.isolate(5);
    // The first comes back as leader of term 4, but what it appends then stays with it.
    group.lost = vec![Append];
    group.campaign(1);
    assert_eq!((group.node(1).role(), group.node(1).term()), (Role::Leader, 4));
    group.lost.clear();
    group.isolate(4);
    for id in [2, 3] {
        let m = Message { to: id, ..append(1, 4, (1, 1), entries(2, &[2]), 0) };
        group.node(id).take(m);
        group.node(1).raw.step(ack(id, 4, 2)).expect("an acknowledgement");
    }
    group
}

// Section 5.4.2, figure 8 (d).
#[test]
fn an_entry_of_an_old_term_is_not_committed_by_being_on_a_majority() {
    let mut group = figure_8();
    group.node(1).run();
    assert_eq!(group.node(1).commit(), 0);
    assert_eq!(group.node(3).terms(), [1, 2], "though a majority has it");
    // So the fifth may replace it.
    group.heal();
    group.isolate(1);
    group.campaign(5);
    if group.node(5).role() != Role::Leader {
        // The first campaign told it the term.
        group.campaign(5);
    }
    assert_eq!(group.node(5).role(), Role::Leader);
    let term = group.node(5).term();
    for id in 2..=5 {
        assert_eq!(group.node(id).terms(), [1, 3, term]);
    }
}

// Section 5.4.2, figure 8 (e).
#[test]
fn with_an_entry_of_the_own_term_it_is() {
    let mut group = figure_8();
    group.settle();
    group.tick(1, 2);
    assert_eq!(group.node(1).commit(), 3);
    group.heal();
    group.isolate(1);
    for _ in 0..2 {
        group.campaign(5);
    }
    assert_ne!(group.node(5).role(), Role::Leader, "two of the others have more");
}

// Section 5.5.

#[test]
fn a_request_that_comes_twice_does_no_harm() {
    let mut node = one_of_five();
    let m = append(2, 1, (0, 0), entries(1, &[1, 1]), 1);
    let answer = |sent: Vec<Message>| {
        let answer = only(sent);
        (answer.reject, answer.index)
    };
    assert_eq!(answer(node.take(m.clone())), (false, 2));
    // Now entry 1 is committed, so that this alone is acknowledged.
    assert_eq!(answer(node.take(m)), (false, 1));
    assert_eq!((node.terms(), node.commit()), (vec![1, 1], 1));
    let asked = vote(3, 2, (2, 1));
    assert_eq!(node.take(asked.clone()), node.take(asked));
}

#[test]
fn a_leader_tries_again_until_a_follower_that_was_away_has_everything() {
    let mut group = Group::new(3, config);
    group.campaign(1);
    group.isolate(3);
    for _ in 0..20 {
        group.node(1).raw.propose("a").expect("a leader");
        group.settle();
    }
    group.tick(1, 5);
    assert_eq!(group.node(3).last(), 1);
    group.heal();
    group.tick(1, 3);
    assert_eq!((group.node(3).last(), group.node(3).commit()), (21, 21));
}

// Section 6.

#[test]
fn a_server_that_hears_from_a_leader_does_not_help_to_depose_it() {
    let checked = |id| Config { check_quorum: true, ..config(id) };
    let mut group = Group::new(3, checked);
    group.campaign(1);
    group.isolate(3);
    for _ in 0..5 {
        group.tick(3, 20);
        group.tick(1, 1);
    }
    group.node(3).raw.campaign().expect("a campaign");
    let requests = group.node(3).run();
    for m in requests.into_iter().filter(|m| m.to != 3) {
        let to = m.to;
        assert_eq!(group.node(to).take(m), []);
    }
    assert_eq!((group.node(1).role(), group.node(2).leader()), (Role::Leader, 1));
}

// Section 7.

#[test]
fn a_follower_that_needs_what_was_compacted_is_sent_a_snapshot_and_then_the_log() {
    let mut group = Group::new(3, config);
    group.campaign(1);
    group.isolate(3);
    for data in ["a", "b", "c"] {
        group.node(1).raw.propose(data).expect("a leader");
    }
    group.settle();
    let leader = group.node(1);
    leader.storage.create_snapshot(3, None, "ab".into()).expect("a snapshot");
    leader.storage.compact(3).expect("entries up to 3");
    // What is under way to the third is lost, and the leader learns of it.
    leader.raw.report_unreachable(3).expect("a leader");
    group.heal();
    let mut sent = Vec::new();
    for _ in 0..3 {
        group.node(1).raw.tick().expect("a tick");
        sent.extend(group.settle());
    }
    assert_eq!(of(&sent, MessageType::Snapshot).len(), 1);
    assert_eq!((group.node(3).last(), group.node(3).commit()), (4, 4));
    assert_eq!(group.see(3).applied_data(), [b"c"], "behind the snapshot");
    assert!(group.node(1).progress(3).starts_with("StateReplicate match=4"));
}

#[test]
fn a_snapshot_of_a_prefix_of_the_log_leaves_what_follows_it() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 1, 1, 2]);
    node.take(install(2, 2, snapshot(2, 1, voters(&[1, 2, 3]))));
    assert_eq!((node.terms(), node.commit()), (vec![1, 1, 1, 2], 2));
}

#[test]
fn a_snapshot_that_the_log_does_not_contain_replaces_all_of_it() {
    for (index, term) in [(3, 2), (9, 2)] {
        let mut node = Node::with_log(&[1, 2, 3], &[1, 1, 1, 1]);
        node.take(install(2, 2, snapshot(index, term, voters(&[1, 2, 3]))));
        assert_eq!((node.last(), node.commit(), node.terms()), (index, index, vec![]));
    }
}

#[test]
fn a_snapshot_of_an_old_term_is_not_taken() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 3]);
    assert_eq!(node.take(install(2, 2, snapshot(9, 2, voters(&[1, 2, 3])))), []);
    assert_eq!(node.last(), 2);
}

// Section 8.

#[test]
fn a_leader_begins_its_term_with_an_empty_entry() {
    let mut node = Node::with_log(&[1, 2, 3], &[1]);
    node.raw.campaign().expect("a campaign");
    node.run();
    let sent = node.take(granted(VoteResponse, 2, 2));
    assert_eq!(node.terms(), [1, 2]);
    for m in of(&sent, Append) {
        assert_eq!((m.index, m.log_term), (1, 1));
        assert_eq!(m.entries, [entry(2, 2, "")]);
    }
}

#[test]
fn a_leader_that_was_replaced_answers_no_read() {
    let mut group = Group::new(3, config);
    group.campaign(1);
    group.isolate(1);
    group.campaign(2);
    group.node(2).raw.propose("a").expect("a leader");
    group.settle();
    assert_eq!(group.node(1).role(), Role::Leader, "it does not know better");
    group.node(1).raw.read_index("stale").expect("it takes itself for a leader");
    group.tick(1, 5);
    assert_eq!(group.see(1).reads, []);
    group.heal();
    group.tick(2, 2);
    assert_eq!((group.node(1).role(), group.see(1).reads.len()), (Role::Follower, 0));
}
