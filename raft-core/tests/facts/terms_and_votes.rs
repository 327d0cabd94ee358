//! Terms and votes (facts 1 to 14).

use raft_core::{
    ConfChangeType, HardState, LOCAL_APPEND_THREAD, MemoryStorage, Message, MessageType, RawNode,
    Role,
};

use crate::hand::{
    Node, Threaded, ack, append, change, changes, config, entries, entry, granted, heartbeat,
    install, message, of, only, pre_vote, refused, snapshot, stored, vote, voters,
};
use MessageType::{
    Append, AppendResponse, Heartbeat, HeartbeatResponse, PreVote, PreVoteResponse, Propose,
    ReadIndex, TimeoutNow, Vote, VoteResponse,
};

fn follower_of_two_in_term_three() -> Node {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 3]);
    node.take(heartbeat(2, 3, 0));
    node
}

fn with_lease() -> Node {
    let config = raft_core::Config { check_quorum: true, ..config(1) };
    let mut node = Node::new(&config, stored(voters(&[1, 2, 3]), &[1]));
    node.take(heartbeat(2, 1, 0));
    node
}

// 1
#[test]
fn proposals_and_reads_travel_without_a_term_and_are_not_judged_by_one() {
    let mut node = follower_of_two_in_term_three();
    let sent = node.propose("a");
    assert_eq!((only(sent.clone()).term, only(sent).to), (0, 2));
    node.raw.read_index("r").expect("there is a leader");
    assert_eq!(only(node.run()).term, 0);

    let mut leader = Node::with_log(&[1, 2, 3], &[7]).lead();
    let proposal = Message { entries: vec![entry(0, 0, "b")], ..message(Propose, 3, 0) };
    let sent = leader.take(proposal);
    assert_eq!(leader.last(), 3);
    assert_eq!(leader.term(), 8);
    assert_eq!(of(&sent, Append).len(), 0, "both followers are being probed already");
    let read = Message { entries: vec![entry(0, 0, "r")], ..message(ReadIndex, 3, 0) };
    leader.take(read);
    assert_eq!(leader.raw.status().postponed_reads, 1);
}

// 2
#[test]
fn a_candidate_of_a_higher_term_gets_no_answer_while_a_leader_is_heard() {
    for request in [vote(3, 9, (9, 9)), pre_vote(3, 9, (9, 9))] {
        let mut node = with_lease();
        node.tick(9);
        assert_eq!(node.take(request.clone()), [], "{request:?}");
        assert_eq!((node.term(), node.leader()), (1, 2));
        // The tenth tick is the end of the lease.
        node.raw.set_randomized_election_timeout(1_000);
        node.tick(1);
        assert!(!only(node.take(request)).reject);
    }
}

// 2
#[test]
fn a_campaign_forced_by_a_transfer_is_answered_within_the_lease() {
    let mut node = with_lease();
    let forced = Message { context: b"CampaignTransfer".as_slice().into(), ..vote(3, 2, (9, 9)) };
    let answer = only(node.take(forced));
    assert_eq!((answer.kind(), answer.reject, answer.term), (Some(VoteResponse), false, 2));

    let mut node = with_lease();
    let other = Message { context: b"SomethingElse".as_slice().into(), ..vote(3, 2, (9, 9)) };
    assert_eq!(node.take(other), []);
}

// 2
#[test]
fn the_lease_is_none_without_check_quorum_or_without_a_leader() {
    let mut node = follower_of_two_in_term_three();
    assert!(!only(node.take(vote(3, 9, (9, 9)))).reject);

    let with_quorum = raft_core::Config { check_quorum: true, ..config(1) };
    let mut node = Node::new(&with_quorum, stored(voters(&[1, 2, 3]), &[1]));
    assert!(!only(node.take(vote(3, 9, (9, 9)))).reject);
}

// 2: only votes are held up.
#[test]
fn within_the_lease_a_leader_of_a_higher_term_is_followed() {
    let mut node = with_lease();
    node.take(heartbeat(3, 5, 0));
    assert_eq!((node.term(), node.leader()), (5, 3));
}

// 3
#[test]
fn a_pre_vote_changes_no_term_whatever_comes_of_it() {
    let mut node = follower_of_two_in_term_three();
    let answer = only(node.take(pre_vote(3, 4, (2, 3))));
    assert_eq!((answer.reject, answer.term), (false, 4));
    let answer = only(node.take(pre_vote(3, 4, (1, 1))));
    assert_eq!((answer.reject, answer.term), (true, 3));
    assert_eq!((node.term(), node.vote(), node.leader()), (3, 0, 2));
}

// 3
#[test]
fn a_pre_vote_that_is_refused_in_a_higher_term_ends_the_campaign_and_a_granted_one_does_not() {
    let config = raft_core::Config { pre_vote: true, ..config(1) };
    let mut node = Node::new(&config, stored(voters(&[1, 2, 3, 4, 5]), &[3]));
    node.raw.campaign().expect("a campaign");
    node.run();
    assert_eq!((node.role(), node.term()), (Role::PreCandidate, 3));
    node.take(granted(PreVoteResponse, 2, 4));
    assert_eq!((node.role(), node.term()), (Role::PreCandidate, 3));
    node.take(refused(PreVoteResponse, 3, 6));
    assert_eq!((node.role(), node.term(), node.leader()), (Role::Follower, 6, 0));
}

// 4
#[test]
fn of_messages_of_a_higher_term_only_those_of_a_leader_make_it_one() {
    let leaders = [
        append(3, 5, (0, 0), vec![], 0),
        heartbeat(3, 5, 0),
        install(3, 5, snapshot(9, 4, voters(&[1, 2, 3]))),
    ];
    for m in leaders {
        let mut node = follower_of_two_in_term_three();
        node.take(m);
        assert_eq!((node.term(), node.leader(), node.role()), (5, 3, Role::Follower));
    }
    for kind in [AppendResponse, HeartbeatResponse, Vote, VoteResponse] {
        let mut node = follower_of_two_in_term_three();
        node.take(message(kind, 3, 5));
        assert_eq!((node.term(), node.leader(), node.role()), (5, 0, Role::Follower), "{kind:?}");
    }
}

// 4
#[test]
fn a_leader_that_hears_of_a_higher_term_follows() {
    for m in [ack(3, 5, 0), heartbeat(3, 5, 0), vote(3, 5, (0, 0))] {
        let mut node = Node::one_of(&[1, 2, 3]).lead();
        let leader = if m.kind() == Some(Heartbeat) { 3 } else { 0 };
        node.take(m);
        assert_eq!((node.role(), node.term(), node.leader()), (Role::Follower, 5, leader));
    }
}

// 5
#[test]
fn an_old_leader_is_told_the_term_where_its_followers_could_not_depose_it() {
    for (check_quorum, pre_vote, told) in
        [(true, false, true), (false, true, true), (false, false, false)]
    {
        for m in [append(2, 2, (0, 0), vec![], 0), heartbeat(2, 2, 0)] {
            let config = raft_core::Config { check_quorum, pre_vote, ..config(1) };
            let mut node = Node::new(&config, stored(voters(&[1, 2, 3]), &[1, 3]));
            let sent = node.take(m);
            if told {
                let answer = only(sent);
                assert_eq!((answer.kind(), answer.to), (Some(AppendResponse), 2));
                assert_eq!((answer.term, answer.index, answer.reject), (3, 0, false));
            } else {
                assert_eq!(sent, []);
            }
            assert_eq!((node.leader(), node.commit()), (0, 0));
        }
    }
}

// 5
#[test]
fn a_pre_vote_of_an_old_term_is_refused_aloud_and_a_vote_in_silence() {
    let mut node = follower_of_two_in_term_three();
    let answer = only(node.take(pre_vote(3, 2, (9, 9))));
    assert_eq!((answer.kind(), answer.reject, answer.term), (Some(PreVoteResponse), true, 3));
    assert_eq!(node.take(vote(3, 2, (9, 9))), []);
    assert_eq!((node.term(), node.vote()), (3, 0));
}

// 5
#[test]
fn messages_of_an_old_term_do_nothing() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 3]).lead();
    let old = [
        ack(2, 3, 3),
        message(HeartbeatResponse, 2, 3),
        message(TimeoutNow, 2, 3),
        granted(VoteResponse, 2, 3),
        append(2, 3, (2, 3), entries(3, &[3]), 3),
        install(2, 3, snapshot(9, 3, voters(&[2, 3]))),
    ];
    let before = node.raw.status();
    for m in old {
        assert_eq!(node.take(m), []);
        assert_eq!(node.raw.status(), before);
    }
}

// 5
#[test]
fn a_snapshot_that_was_written_in_an_old_term_is_written_and_entries_may_not_be() {
    let mut node = Threaded::new(&config(1), stored(voters(&[1, 2, 3]), &[1]));
    node.take(install(2, 2, snapshot(9, 2, voters(&[1, 2, 3]))));
    node.take(append(2, 2, (9, 2), entries(10, &[2]), 10));
    let of_term_two = [node.write(), node.write()];
    node.take(heartbeat(3, 3, 0));
    for promises in of_term_two {
        node.hear(promises);
    }
    assert_eq!(node.raw.basic_status().applied, 9);
    assert_eq!(node.apply_all(), []);
    node.write_all();
    assert_eq!(node.apply_all(), [10], "the write of the new term has acknowledged it again");
}

// 6
#[test]
fn a_vote_is_given_again_to_the_same_candidate_and_to_no_other() {
    let mut node = Node::one_of(&[1, 2, 3]);
    assert!(!only(node.take(vote(2, 1, (0, 0)))).reject);
    assert!(!only(node.take(vote(2, 1, (0, 0)))).reject);
    assert!(only(node.take(vote(3, 1, (0, 0)))).reject);
    assert_eq!(node.vote(), 2);
    // The next term is another question.
    assert!(!only(node.take(vote(3, 2, (0, 0)))).reject);
    assert_eq!(node.vote(), 3);
}

// 6
#[test]
fn who_knows_the_leader_of_a_term_votes_for_nobody_else_in_it() {
    let mut node = Node::one_of(&[1, 2, 3]);
    node.take(heartbeat(2, 1, 0));
    assert_eq!((node.vote(), node.leader()), (0, 2));
    assert!(only(node.take(vote(3, 1, (9, 9)))).reject);
    assert_eq!(node.vote(), 0);
    // A pre-vote for this term neither; for one to come it is free.
    assert!(only(node.take(pre_vote(3, 1, (9, 9)))).reject);
    assert!(!only(node.take(pre_vote(3, 2, (9, 9)))).reject);
}

// 7
#[test]
fn a_candidate_must_have_a_last_entry_of_a_later_term_or_as_long_a_log_of_the_same() {
    let cases = [
        ((3, 3), true),
        ((4, 3), true),
        ((2, 3), false),
        ((1, 4), true),
        ((9, 2), false),
        ((0, 0), false),
    ];
    for request in [vote as fn(_, _, _) -> _, pre_vote] {
        for (last, yes) in cases {
            let mut node = Node::with_log(&[1, 2, 3], &[1, 2, 3]);
            assert_eq!(only(node.take(request(2, 4, last))).reject, !yes, "{last:?}");
        }
    }
}

// 7
#[test]
fn it_is_the_last_entry_that_counts_durable_or_not_and_not_the_committed_one() {
    let mut node = Node::one_of(&[1, 2, 3]);
    // Nothing is written yet, and nothing committed.
    node.raw.step(append(2, 1, (0, 0), entries(1, &[1, 1]), 0)).expect("an append");
    node.raw.step(vote(3, 2, (1, 1))).expect("a vote request");
    let sent = node.run();
    assert!(of(&sent, VoteResponse)[0].reject);
}

// 8
#[test]
fn a_vote_given_puts_the_own_campaign_off_and_a_pre_vote_given_does_not() {
    for (request, campaigns) in [(vote(2, 1, (0, 0)), false), (pre_vote(2, 1, (0, 0)), true)] {
        let mut node = Node::one_of(&[1, 2, 3]);
        node.raw.set_randomized_election_timeout(10);
        node.tick(9);
        assert!(!only(node.take(request)).reject);
        node.raw.set_randomized_election_timeout(10);
        node.tick(1);
        assert_eq!(node.role() == Role::Candidate, campaigns);
    }
}

// 8: also where the term does not change.
#[test]
fn a_vote_given_within_the_term_puts_the_own_campaign_off() {
    let mut node = Node::with_log(&[1, 2, 3], &[1]);
    node.raw.set_randomized_election_timeout(10);
    node.tick(9);
    assert!(!only(node.take(vote(2, 1, (1, 1)))).reject);
    node.tick(9);
    assert_eq!(node.role(), Role::Follower);
    node.tick(1);
    assert_eq!(node.role(), Role::Candidate);
}

// 8
#[test]
fn a_refusal_carries_the_own_term_and_a_grant_that_of_the_campaign() {
    let mut node = Node::with_log(&[1, 2, 3], &[1, 5]);
    assert_eq!(only(node.take(pre_vote(2, 9, (0, 0)))).term, 5);
    assert_eq!(only(node.take(pre_vote(2, 9, (9, 9)))).term, 9);
    assert_eq!(only(node.take(vote(2, 9, (0, 0)))).term, 9, "the vote made it its own");
}

// 9
#[test]
fn a_learner_votes_when_it_is_asked() {
    let members = raft_core::ConfState { learners: vec![1], ..voters(&[2, 3]) };
    let mut node = Node::new(&config(1), stored(members, &[1]));
    assert!(!only(node.take(vote(2, 2, (1, 1)))).reject);
    assert!(!only(node.take(pre_vote(3, 3, (1, 1)))).reject);
}

// 10
#[test]
fn who_asks_before_it_campaigns_keeps_term_vote_and_timeout_and_forgets_its_leader() {
    let config = raft_core::Config { pre_vote: true, ..config(1) };
    let mut node = Node::new(&config, MemoryStorage::with_conf_state(voters(&[1, 2, 3])));
    node.take(vote(2, 1, (0, 0)));
    node.take(heartbeat(2, 1, 0));
    node.raw.set_randomized_election_timeout(25);
    let sent = node.tick(25);
    let requests = of(&sent, PreVote);
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|m| m.term == 2), "for the term to come");
    assert_eq!((node.role(), node.term(), node.vote()), (Role::PreCandidate, 1, 2));
    assert_eq!(node.leader(), 0);
    // The timeout was not drawn again: a drawn one is below 20.
    assert_eq!(node.tick(24), []);
    assert_eq!(of(&node.tick(1), PreVote).len(), 2);
}

// 10
#[test]
fn a_candidate_enters_the_next_term_and_votes_for_itself() {
    let mut node = Node::with_log(&[1, 2, 3], &[4]);
    node.raw.campaign().expect("a campaign");
    let sent = node.run();
    assert_eq!((node.role(), node.term(), node.vote()), (Role::Candidate, 5, 1));
    let requests = of(&sent, Vote);
    assert_eq!(requests.iter().map(|m| (m.to, m.term)).collect::<Vec<_>>(), [(2, 5), (3, 5)]);
    assert!(requests.iter().all(|m| (m.index, m.log_term) == (1, 4)));
}

// 11
#[test]
fn a_lone_node_leads_only_when_its_own_vote_is_durable() {
    let mut node = Node::one_of(&[1]);
    node.raw.campaign().expect("a campaign");
    assert_eq!(node.role(), Role::Candidate);
    let ready = node.raw.ready().expect("work");
    assert!(ready.must_sync);
    assert_eq!(ready.hard_state, Some(HardState { term: 1, vote: 1, commit: 0 }));
    assert_eq!(node.role(), Role::Candidate);
    node.raw.advance(ready).expect("the Ready just handed out");
    assert_eq!(node.role(), Role::Leader);
}

/// A node whose storage threads answer when the test says so, in pre-election.
fn asynchronous(pre_vote: bool, ids: &[u64]) -> RawNode<MemoryStorage> {
    let config = raft_core::Config { async_storage_writes: true, pre_vote, ..config(1) };
    let storage = MemoryStorage::with_conf_state(voters(ids));
    RawNode::new(&config, storage).expect("a node that may start")
}

/// What the append thread is to deliver once it has written.
fn promises(node: &mut RawNode<MemoryStorage>) -> Vec<Message> {
    let ready = node.ready().expect("work");
    let to_disk = ready.messages.into_iter().find(|m| m.to == LOCAL_APPEND_THREAD);
    to_disk.expect("something to write").responses
}

fn role(node: &RawNode<MemoryStorage>) -> Role {
    node.basic_status().soft_state.role
}

// 11
#[test]
fn the_own_vote_counts_when_the_append_thread_has_answered() {
    let mut node = asynchronous(false, &[1, 2, 3]);
    node.campaign().expect("a campaign");
    let own = promises(&mut node);
    node.step(granted(VoteResponse, 2, 1)).expect("a vote");
    assert_eq!(role(&node), Role::Candidate);
    for m in own {
        node.step_local(m).expect("an answer of the append thread");
    }
    assert_eq!(role(&node), Role::Leader);
}

// 11
#[test]
fn an_own_pre_vote_that_comes_late_is_no_vote() {
    let mut node = asynchronous(true, &[1, 2, 3]);
    node.campaign().expect("a campaign");
    let own = promises(&mut node);
    node.step(granted(PreVoteResponse, 2, 1)).expect("a vote");
    node.step(granted(PreVoteResponse, 3, 1)).expect("a vote");
    assert_eq!(role(&node), Role::Candidate);
    for m in own {
        node.step_local(m).expect("an answer of the append thread");
    }
    assert_eq!(role(&node), Role::Candidate);
    // Of three votes one is in: the own one is not durable yet.
    node.step(granted(VoteResponse, 2, 1)).expect("a vote");
    assert_eq!(role(&node), Role::Candidate);
}

// 11
#[test]
fn an_own_vote_that_comes_after_the_election_is_lost_is_no_vote() {
    let mut node = asynchronous(false, &[1, 2, 3]);
    node.campaign().expect("a campaign");
    let own = promises(&mut node);
    node.step(heartbeat(2, 1, 0)).expect("a heartbeat");
    for m in own {
        node.step_local(m).expect("an answer of the append thread");
    }
    assert_eq!(node.basic_status().soft_state.leader, 2);
}

// 12
#[test]
fn the_first_answer_of_a_node_counts_and_the_election_is_lost_as_soon_as_it_is() {
    let mut node = Node::one_of(&[1, 2, 3, 4, 5]);
    node.raw.campaign().expect("a campaign");
    node.run();
    node.take(refused(VoteResponse, 2, 1));
    node.take(granted(VoteResponse, 2, 1));
    node.take(granted(VoteResponse, 3, 1));
    assert_eq!(node.role(), Role::Candidate, "1 and 3 are for it, 2 stays against");
    node.take(refused(VoteResponse, 4, 1));
    assert_eq!(node.role(), Role::Candidate);
    node.take(refused(VoteResponse, 5, 1));
    assert_eq!((node.role(), node.term(), node.leader()), (Role::Follower, 1, 0));
}

// 12
#[test]
fn an_election_in_a_joint_configuration_is_won_in_both_halves() {
    let members = raft_core::ConfState { voters_outgoing: vec![1, 4, 5], ..voters(&[1, 2, 3]) };
    let mut node = Node::new(&config(1), MemoryStorage::with_conf_state(members));
    node.raw.campaign().expect("a campaign");
    let sent = node.run();
    assert_eq!(of(&sent, Vote).len(), 4);
    node.take(granted(VoteResponse, 2, 1));
    node.take(granted(VoteResponse, 3, 1));
    assert_eq!(node.role(), Role::Candidate);
    node.take(granted(VoteResponse, 4, 1));
    assert_eq!(node.role(), Role::Leader);
}

// 12
#[test]
fn the_votes_of_learners_and_strangers_do_not_count() {
    let members = raft_core::ConfState { learners: vec![4, 5], ..voters(&[1, 2, 3]) };
    let mut node = Node::new(&config(1), MemoryStorage::with_conf_state(members));
    node.raw.campaign().expect("a campaign");
    node.run();
    node.take(granted(VoteResponse, 4, 1));
    node.take(granted(VoteResponse, 5, 1));
    assert!(node.raw.step(granted(VoteResponse, 9, 1)).is_err());
    assert_eq!(node.role(), Role::Candidate);
}

// 13
#[test]
fn nobody_campaigns_before_a_committed_change_is_applied() {
    for position in [2, 5] {
        let storage = stored(voters(&[1, 2, 3]), &[1; 5]);
        let joining = changes(&[change(ConfChangeType::AddNode, 4)]);
        let data = prost::Message::encode_to_vec(&joining).into();
        let kind = Some(raft_core::EntryType::ConfChangeV2 as i32);
        let mut log = entries(1, &[1; 5]);
        log[position - 1] =
            raft_core::Entry { entry_type: kind, data, ..log[position - 1].clone() };
        storage.append(&log).expect("entries from 1 on");
        storage.set_hard_state(HardState { term: 1, vote: 0, commit: 5 });
        // Entries are looked through a page at a time: here one entry a page.
        let config = raft_core::Config { max_committed_size_per_ready: 1, ..config(1) };
        let mut node = Node::new(&config, storage);
        node.raw.set_randomized_election_timeout(10);
        for _ in 0..10 {
            node.raw.tick().expect("a tick");
        }
        node.raw.campaign().expect("nothing happens");
        node.raw.step(message(TimeoutNow, 2, 1)).expect("nothing happens");
        assert_eq!((node.role(), node.term()), (Role::Follower, 1));
        node.run();
        assert_eq!(node.members(), "voters=(1 2 3 4)");
        node.raw.campaign().expect("a campaign");
        assert_eq!((node.role(), node.term()), (Role::Candidate, 2));
    }
}

// 13
#[test]
fn nobody_campaigns_before_a_snapshot_is_installed() {
    let mut node = Node::one_of(&[1, 2, 3]);
    node.raw.step(install(2, 1, snapshot(9, 1, voters(&[1, 2, 3])))).expect("a snapshot");
    node.raw.campaign().expect("nothing happens");
    assert_eq!(node.role(), Role::Follower);
    let ready = node.raw.ready().expect("work");
    node.write(&ready);
    node.raw.campaign().expect("nothing happens");
    assert_eq!(node.role(), Role::Follower, "it is being written");
    node.raw.advance(ready).expect("the Ready just handed out");
    node.raw.campaign().expect("a campaign");
    assert_eq!(node.role(), Role::Candidate);
}

// 13
#[test]
fn learners_and_strangers_do_not_campaign() {
    let learner = raft_core::ConfState { learners: vec![1], ..voters(&[2, 3]) };
    for members in [learner, voters(&[2, 3])] {
        let mut node = Node::new(&config(1), stored(members, &[1]));
        assert_eq!(node.tick(100), []);
        node.raw.campaign().expect("nothing happens");
        node.take(message(TimeoutNow, 2, 1));
        assert_eq!((node.role(), node.term()), (Role::Follower, 1));
    }
}

// 14
#[test]
fn a_vote_in_a_higher_term_draws_the_timeout_again_and_a_word_of_the_leader_does_not() {
    let mut node = Node::one_of(&[1, 2, 3]);
    node.take(heartbeat(2, 1, 0));
    node.raw.set_randomized_election_timeout(1_000);
    node.take(heartbeat(2, 1, 0));
    node.tick(20);
    assert_eq!(node.role(), Role::Follower);
    node.take(vote(3, 2, (0, 0)));
    node.tick(20);
    assert_eq!(node.role(), Role::Candidate, "a drawn timeout is below 20");
}

// 14
#[test]
fn a_timeout_that_comes_when_the_node_may_not_campaign_strikes_when_it_may() {
    let learner = raft_core::ConfState { learners: vec![1], ..voters(&[2, 3]) };
    let mut node = Node::new(&config(1), MemoryStorage::with_conf_state(learner));
    node.tick(100);
    let joining = changes(&[change(ConfChangeType::AddNode, 1)]);
    node.raw.apply_conf_change(1, &joining).expect("a change that fits");
    node.tick(1);
    assert_eq!(node.role(), Role::Candidate);
    // And then it waits for another timeout, from zero.
    let term = node.term();
    node.tick(9);
    assert_eq!(node.term(), term);
}
