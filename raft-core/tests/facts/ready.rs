//! What is handed out, when, and what waits for the disk (facts 43 to 57).

use prost::Message as _;
use raft_core::{
    Config, Entry, EntryType, Error, HardState, LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD,
    MemoryStorage, Message, MessageType, Peer, Role,
};

use crate::hand::{
    Node, Threaded, ack, append, config, entries, entry, granted, heartbeat, install, of, only,
    snapshot, stored, vote, voters,
};
use MessageType::{
    Append, AppendResponse, Heartbeat, HeartbeatResponse, StorageAppend, StorageAppendResponse,
    StorageApply, StorageApplyResponse, Vote, VoteResponse,
};

fn threaded(ids: &[u64]) -> Threaded {
    Threaded::new(&config(1), MemoryStorage::with_conf_state(voters(ids)))
}

// 43
#[test]
fn there_is_no_second_ready_before_the_first_is_given_back() {
    let mut node = Node::one_of(&[1]);
    node.raw.campaign().expect("a campaign");
    let ready = node.raw.ready().expect("work");
    assert!(matches!(node.raw.ready(), Err(Error::ReadyOutstanding)));
    let copy = ready.clone();
    node.raw.advance(ready).expect("the Ready just handed out");
    assert!(matches!(node.raw.advance(copy), Err(Error::NoReadyOutstanding)));
    assert_eq!(node.role(), Role::Leader);
}

// 43
#[test]
fn a_promise_is_in_the_ready_whose_writes_it_depends_on() {
    let mut node = Node::one_of(&[1, 2, 3]);
    node.raw.step(append(2, 1, (0, 0), entries(1, &[1, 1]), 0)).expect("an append");
    let ready = node.raw.ready().expect("work");
    assert_eq!(ready.entries.len(), 2);
    assert_eq!(ready.hard_state, Some(HardState { term: 1, vote: 0, commit: 0 }));
    assert_eq!(only(ready.messages).index, 2);
}

// 44
#[test]
fn entries_terms_and_votes_must_be_synced_and_a_commit_index_alone_need_not() {
    let mut node = Node::one_of(&[1, 2, 3]);
    let synced = |node: &mut Node, m: Message| {
        node.raw.step(m).expect("a message that is taken");
        let ready = node.raw.ready().expect("work");
        let synced = (ready.must_sync, ready.needs_sync());
        node.write(&ready);
        node.apply(&ready);
        node.raw.advance(ready).expect("the Ready just handed out");
        synced
    };
    assert_eq!(synced(&mut node, append(2, 1, (0, 0), entries(1, &[1]), 0)), (true, true));
    assert_eq!(synced(&mut node, heartbeat(2, 1, 1)), (false, false), "commit");
    assert_eq!(synced(&mut node, heartbeat(2, 1, 1)), (false, false), "nothing");
    assert_eq!(synced(&mut node, heartbeat(2, 2, 1)), (true, true), "term");
    assert_eq!(synced(&mut node, vote(3, 3, (1, 1))), (true, true), "vote and term");
    // etcd's word for a snapshot alone; what its acknowledgement depends on is the other word.
    let m = install(3, 3, snapshot(9, 3, voters(&[1, 2, 3])));
    assert_eq!(synced(&mut node, m), (false, true), "snapshot");
}

// 44
#[test]
fn a_vote_given_in_the_term_must_be_synced() {
    let mut node = Node::with_log(&[1, 2, 3], &[1]);
    node.raw.step(vote(2, 1, (1, 1))).expect("a vote request");
    let ready = node.raw.ready().expect("work");
    assert!(ready.must_sync);
    assert_eq!(ready.hard_state, Some(HardState { term: 1, vote: 2, commit: 0 }));
}

// 45
#[test]
fn a_hard_state_is_handed_out_when_it_changed_and_an_empty_one_never() {
    let mut node = Node::one_of(&[1, 2, 3]);
    assert!(!node.raw.has_ready());
    let ready = node.raw.ready().expect("nothing");
    assert_eq!(ready.hard_state, None);
    node.raw.advance(ready).expect("the Ready just handed out");

    node.take(heartbeat(2, 1, 0));
    node.raw.step(heartbeat(2, 1, 0)).expect("a heartbeat");
    let ready = node.raw.ready().expect("work");
    assert_eq!((ready.hard_state, ready.soft_state), (None, None));
    node.raw.advance(ready).expect("the Ready just handed out");

    node.raw.step(vote(3, 4, (0, 0))).expect("a vote request");
    let ready = node.raw.ready().expect("work");
    assert_eq!(ready.hard_state, Some(HardState { term: 4, vote: 3, commit: 0 }));
    assert_eq!(ready.soft_state.map(|s| s.leader), Some(0));
}

// 45
#[test]
fn a_restarted_node_does_not_write_what_it_has_just_read() {
    let node = Node::with_log(&[1, 2, 3], &[1, 2]);
    assert!(!node.raw.has_ready());
}

// 45, 76
#[test]
fn a_bootstrapped_node_hands_out_its_first_hard_state_and_its_members() {
    let mut node = Node::new(&config(1), MemoryStorage::new());
    let peers = [1, 2, 3].map(|id| Peer { id, context: format!("at {id}").into() });
    node.raw.bootstrap(&peers).expect("an empty storage");
    assert_eq!(node.members(), "voters=(1 2 3)", "it may campaign before it has applied them");
    let ready = node.raw.ready().expect("work");
    assert_eq!(ready.hard_state, Some(HardState { term: 1, vote: 0, commit: 3 }));
    assert_eq!(ready.entries.iter().map(|e| e.index).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(ready.entries.iter().all(|e| e.entry_type() == EntryType::ConfChange));
    assert_eq!(ready.committed_entries, ready.entries);
    node.write(&ready);
    node.apply(&ready);
    assert_eq!(node.members(), "voters=(1 2 3)", "applied twice is applied once");
    node.raw.advance(ready).expect("the Ready just handed out");
    assert_eq!((node.raw.basic_status().applied, node.term()), (3, 1));
    node.elect();
    assert_eq!((node.term(), node.last()), (2, 4));
}

// 76
#[test]
fn only_an_empty_node_is_bootstrapped() {
    let peer = |id| Peer { id, context: "".into() };
    let mut node = Node::with_log(&[1], &[1]);
    assert!(matches!(node.raw.bootstrap(&[peer(1)]), Err(Error::Refused(_))));
    for peers in [vec![], vec![peer(1), peer(1)], vec![peer(0)], vec![peer(u64::MAX)]] {
        let mut node = Node::new(&config(1), MemoryStorage::new());
        assert!(matches!(node.raw.bootstrap(&peers), Err(Error::Refused(_))));
        assert!(!node.raw.has_ready());
    }
}

// 46
#[test]
fn work_for_the_append_thread_has_a_whole_hard_state_or_none() {
    let mut node = threaded(&[1, 2, 3]);
    node.take(append(2, 1, (0, 0), entries(1, &[1]), 0));
    let work = node.writes.pop_front().expect("a write");
    assert_eq!((work.kind(), work.from, work.to), (Some(StorageAppend), 1, LOCAL_APPEND_THREAD));
    assert_eq!((work.term, work.vote, work.commit), (1, 0, 0));
    assert_eq!(work.entries.len(), 1);
    let answers: Vec<_> = work.responses.iter().map(|m| m.kind().expect("known")).collect();
    assert_eq!(answers, [AppendResponse, StorageAppendResponse]);
    let acknowledgement = &work.responses[1];
    assert_eq!((acknowledgement.from, acknowledgement.to), (LOCAL_APPEND_THREAD, 1));
    assert_eq!((acknowledgement.index, acknowledgement.log_term), (1, 1));
    // The commit index alone changes: term and vote come with it.
    node.take(vote(3, 2, (1, 1)));
    node.take(heartbeat(3, 2, 1));
    let work = node.writes.pop_back().expect("a write");
    assert_eq!((work.term, work.vote, work.commit), (2, 3, 1));
    // Nothing of it changes: none of it comes.
    node.take(append(3, 2, (1, 1), entries(2, &[2]), 1));
    let work = node.writes.pop_back().expect("a write");
    assert_eq!((work.term, work.vote, work.commit), (0, 0, 0));
}

// 46, 55
#[test]
fn promises_alone_go_through_the_append_thread_too() {
    let mut node = threaded(&[1, 2, 3]);
    node.take(append(2, 1, (0, 0), entries(1, &[1]), 0));
    node.write_all();
    node.raw.step(append(2, 1, (7, 1), vec![], 0)).expect("an append");
    assert!(node.raw.has_ready());
    assert_eq!(node.run(), []);
    let work = node.writes.pop_front().expect("a write of nothing");
    assert_eq!((work.entries.len(), work.snapshot, work.term), (0, None, 0));
    assert!(only(work.responses).reject);
}

// 46
#[test]
fn work_for_the_threads_comes_last_and_writing_before_applying() {
    let mut node = threaded(&[1]);
    node.raw.campaign().expect("a campaign");
    node.write_all();
    node.apply_all();
    node.raw.propose("a").expect("a leader");
    node.run();
    for promise in node.write() {
        node.raw.step_local(promise).expect("a promise to itself");
    }
    node.raw.propose("b").expect("a leader");
    let ready = node.raw.ready().expect("work");
    assert_eq!((ready.entries[0].index, ready.committed_entries[0].index), (3, 2));
    let to: Vec<u64> = ready.messages.iter().map(|m| m.to).collect();
    assert_eq!(to, [LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD]);
    let work = &ready.messages[1];
    assert_eq!((work.kind(), work.term), (Some(StorageApply), 0));
    let answer = only(work.responses.clone());
    assert_eq!((answer.kind(), answer.from), (Some(StorageApplyResponse), LOCAL_APPLY_THREAD));
    assert_eq!(answer.entries, work.entries);
}

// 46
#[test]
fn with_asynchronous_writes_there_is_no_advance() {
    let mut node = threaded(&[1]);
    node.raw.campaign().expect("a campaign");
    let ready = node.raw.ready().expect("work");
    assert!(matches!(node.raw.advance(ready), Err(Error::NoReadyOutstanding)));
    node.raw.ready().expect("as often as one likes");
}

// 47
#[test]
fn answers_about_log_and_votes_wait_for_the_disk_and_everything_else_goes_at_once() {
    let mut node = threaded(&[1, 2, 3]);
    assert_eq!(node.take(append(2, 1, (0, 0), entries(1, &[1]), 0)), []);
    assert_eq!(node.take(append(2, 1, (5, 1), vec![], 0)), [], "nor a rejection");
    assert_eq!(only(node.take(heartbeat(2, 1, 0))).kind(), Some(HeartbeatResponse));
    assert_eq!(node.take(vote(3, 2, (1, 1))), []);
    assert_eq!(node.take(crate::hand::pre_vote(3, 3, (0, 0))), [], "nor a refusal");
    let said: Vec<_> =
        node.write_all().iter().map(|m| (m.kind().expect("known"), m.reject)).collect();
    let expected = [
        (AppendResponse, false),
        (AppendResponse, true),
        (VoteResponse, false),
        (MessageType::PreVoteResponse, true),
    ];
    assert_eq!(said, expected);
}

// 47
#[test]
fn with_synchronous_writes_heartbeats_are_answered_before_appends() {
    let mut node = Node::one_of(&[1, 2, 3]);
    node.raw.step(append(2, 1, (0, 0), entries(1, &[1]), 0)).expect("an append");
    node.raw.step(heartbeat(2, 1, 0)).expect("a heartbeat");
    let sent: Vec<_> = node.run().iter().map(|m| m.kind().expect("known")).collect();
    assert_eq!(sent, [HeartbeatResponse, AppendResponse]);
}

// 47
#[test]
fn a_leader_sends_what_it_has_not_written_yet() {
    let mut node = threaded(&[1, 2, 3]);
    node.raw.campaign().expect("a campaign");
    node.write_all();
    let sent = node.take(granted(VoteResponse, 2, 1));
    assert_eq!(of(&sent, Append).len(), 2);
    assert_eq!(node.writes.len(), 1);
}

// 48
#[test]
fn a_candidate_asks_before_its_term_is_durable_and_may_forget_it_in_a_crash() {
    let mut node = threaded(&[1, 2, 3]);
    node.raw.campaign().expect("a campaign");
    assert_eq!(of(&node.run(), Vote).len(), 2);
    let raised = node.writes.front().expect("a write");
    assert_eq!((raised.term, raised.vote), (1, 1));
    assert_eq!(only(raised.responses.clone()).kind(), Some(VoteResponse), "the own vote waits");
    // The crash: what was not written is gone, and with it the vote, which nobody has counted.
    let again = Threaded::new(&config(1), node.storage.clone());
    let remembered = again.raw.basic_status().hard_state;
    assert_eq!((remembered.term, remembered.vote), (0, 0));
}

// 49
#[test]
fn entries_are_applied_before_they_are_durable_only_if_one_ready_does_both() {
    let m = || append(2, 1, (0, 0), entries(1, &[1, 1]), 2);
    let mut node = Node::one_of(&[1, 2, 3]);
    node.raw.step(m()).expect("an append");
    let ready = node.raw.ready().expect("work");
    assert_eq!(ready.committed_entries, ready.entries);

    let mut node = threaded(&[1, 2, 3]);
    node.take(m());
    assert_eq!(node.applies.len(), 0);
    node.write_all();
    assert_eq!(node.apply_all(), [1, 2]);
}

fn size_of_one() -> u64 {
    entry(1, 1, "x").encoded_len() as u64
}

fn committed(max: u64, count: usize) -> Threaded {
    let storage = stored(voters(&[1, 2, 3]), &vec![1; count]);
    storage.set_hard_state(HardState { term: 1, vote: 0, commit: count as u64 });
    let max_committed_size_per_ready = max;
    Threaded::new(&Config { max_committed_size_per_ready, ..config(1) }, storage)
}

// 50
#[test]
fn no_more_is_handed_out_for_application_than_the_limit_until_some_is_applied() {
    let mut node = committed(2 * size_of_one(), 7);
    node.run();
    assert_eq!(node.applies.len(), 1, "the batch fills the limit");
    let batch = node.applies.pop_front().expect("a batch");
    assert_eq!(batch.entries.len(), 2);
    assert!(!node.raw.has_ready());
    node.hear(batch.responses);
    assert_eq!(node.applies.front().map(|m| m.entries[0].index), Some(3));
    assert_eq!(node.apply_all(), [3, 4, 5, 6, 7]);
    assert_eq!(node.raw.basic_status().applied, 7);
}

// 50
#[test]
fn a_batch_that_was_cut_short_waits_to_be_applied_even_with_some_room_left() {
    // Room for one and a half.
    let mut node = committed(size_of_one() * 3 / 2, 3);
    node.run();
    assert_eq!(node.applies.len(), 1);
    assert!(!node.raw.has_ready());
    assert_eq!(node.apply_all(), [1, 2, 3]);
}

// 50
#[test]
fn batches_that_fit_the_limit_together_need_not_wait_for_each_other() {
    let storage = stored(voters(&[1, 2, 3]), &[1; 4]);
    let max_committed_size_per_ready = 3 * size_of_one();
    let config = Config { max_committed_size_per_ready, ..config(1) };
    let mut node = Threaded::new(&config, storage);
    node.take(append(2, 1, (4, 1), vec![], 1));
    node.take(append(2, 1, (4, 1), vec![], 2));
    assert_eq!(node.applies.len(), 2);
    node.take(append(2, 1, (4, 1), vec![], 4));
    assert_eq!(node.applies.len(), 3, "one more, for which there is room");
    assert_eq!(node.applies[2].entries.len(), 1);
    assert_eq!(node.apply_all(), [1, 2, 3, 4]);
}

// 50
#[test]
fn an_entry_larger_than_the_limit_is_handed_out_alone() {
    let mut node = Node::one_of(&[1, 2, 3]);
    node.raw = raft_core::RawNode::new(
        &Config { max_committed_size_per_ready: 10, ..config(1) },
        node.storage.clone(),
    )
    .expect("a node that may start");
    let large = Entry { data: vec![0; 1_000].into(), ..entry(1, 1, "") };
    node.raw.step(append(2, 1, (0, 0), vec![large, entry(1, 2, "x")], 2)).expect("an append");
    let ready = node.raw.ready().expect("work");
    assert_eq!(ready.committed_entries.len(), 1);
    node.write(&ready);
    node.raw.advance(ready).expect("the Ready just handed out");
    assert_eq!(node.raw.ready().expect("work").committed_entries.len(), 1);
}

// 51
#[test]
fn a_limit_of_zero_means_one_entry_at_a_time() {
    for applied in [0, 1] {
        let storage = stored(voters(&[1]), &[1; 3]);
        storage.set_hard_state(HardState { term: 1, vote: 0, commit: 3 });
        let zero = Config { max_size_per_msg: 0, max_committed_size_per_ready: 0, ..config(1) };
        let mut node = Node::new(&Config { applied, ..zero }, storage);
        let mut batches = Vec::new();
        while node.raw.has_ready() {
            let ready = node.raw.ready().expect("work");
            batches.push(ready.committed_entries.len());
            node.raw.advance(ready).expect("the Ready just handed out");
        }
        assert_eq!(batches, vec![1; 3 - usize::try_from(applied).expect("small")]);
    }
}

// 52
#[test]
fn a_snapshot_comes_alone_and_everything_behind_it_when_it_is_durable() {
    let mut node = Threaded::new(&config(1), stored(voters(&[1, 2, 3]), &[1]));
    node.take(install(2, 2, snapshot(9, 2, voters(&[1, 2, 3]))));
    node.take(append(2, 2, (9, 2), entries(10, &[2]), 10));
    assert_eq!(node.writes.iter().map(|m| m.snapshot.is_some()).collect::<Vec<_>>(), [true, false]);
    assert_eq!(node.applies.len(), 0);
    assert_eq!(node.raw.basic_status().applied, 0);
    let first = node.write();
    node.hear(first);
    assert_eq!(node.raw.basic_status().applied, 9);
    node.write_all();
    assert_eq!(node.apply_all(), [10]);
}

// 52
#[test]
fn a_snapshot_comes_without_entries_and_its_index_is_applied_when_it_is_durable() {
    let mut node = Node::with_log(&[1, 2, 3], &[1]);
    node.raw.step(append(2, 2, (1, 1), entries(2, &[2]), 0)).expect("an append");
    node.raw.step(install(2, 2, snapshot(9, 2, voters(&[1, 2, 3])))).expect("a snapshot");
    let ready = node.raw.ready().expect("work");
    assert_eq!(ready.snapshot.as_ref().map(raft_core::Snapshot::index), Some(9));
    assert_eq!((ready.entries.len(), ready.committed_entries.len()), (0, 0));
    node.write(&ready);
    node.raw.advance(ready).expect("the Ready just handed out");
    assert_eq!((node.raw.basic_status().applied, node.commit()), (9, 9));
}

// 52
#[test]
fn an_acknowledgement_of_an_older_snapshot_does_not_count_for_a_newer() {
    let mut node = threaded(&[1, 2, 3]);
    node.take(install(2, 1, snapshot(5, 1, voters(&[1, 2, 3]))));
    let first = node.write();
    node.take(install(2, 1, snapshot(9, 1, voters(&[1, 2, 3]))));
    node.hear(first);
    assert!(node.raw.basic_status().applied <= 5);
    node.raw.campaign().expect("nothing happens");
    assert_eq!(node.raw.basic_status().soft_state.role, Role::Follower);
    node.write_all();
    assert_eq!(node.raw.basic_status().applied, 9);
}

// 53
#[test]
fn a_snapshot_of_what_is_committed_is_answered_with_the_commit_index() {
    for index in [2, 3] {
        let mut node = Node::with_log(&[1, 2, 3], &[1; 4]);
        node.take(append(2, 1, (4, 1), vec![], 3));
        let answer = only(node.take(install(2, 1, snapshot(index, 1, voters(&[1, 2])))));
        assert_eq!((answer.index, answer.reject), (3, false));
        assert_eq!((node.terms(), node.members().as_str()), (vec![1; 4], "voters=(1 2 3)"));
    }
}

// 53
#[test]
fn a_snapshot_that_ends_inside_of_the_log_only_commits() {
    let mut node = Node::with_log(&[1, 2, 3], &[1; 4]);
    let answer = only(node.take(install(2, 1, snapshot(3, 1, voters(&[1, 2])))));
    assert_eq!((answer.index, answer.reject), (3, false));
    assert_eq!((node.terms(), node.commit()), (vec![1; 4], 3));
    assert_eq!(node.members(), "voters=(1 2 3)");
}

// 53
#[test]
fn a_snapshot_of_another_term_at_its_index_replaces_the_log_and_the_members() {
    let mut node = Node::with_log(&[1, 2, 3], &[1; 4]);
    let answer = only(node.take(install(2, 2, snapshot(3, 2, voters(&[1, 2])))));
    assert_eq!((answer.index, answer.reject), (3, false));
    assert_eq!((node.last(), node.commit(), node.terms()), (3, 3, vec![]));
    assert_eq!(node.members(), "voters=(1 2)");
}

// 53
#[test]
fn a_candidate_that_is_sent_a_snapshot_follows_its_sender() {
    let mut node = Node::one_of(&[1, 2, 3]);
    node.raw.campaign().expect("a campaign");
    node.run();
    node.take(install(2, 1, snapshot(3, 1, voters(&[1, 2, 3]))));
    assert_eq!((node.role(), node.leader(), node.last()), (Role::Follower, 2, 3));
}

// 54
#[test]
fn what_a_lone_node_writes_is_committed_as_it_is_given_back_and_applied_in_the_next_ready() {
    let mut node = Node::one_of(&[1]).lead();
    node.raw.propose("a").expect("a leader");
    let ready = node.raw.ready().expect("work");
    assert_eq!((ready.entries.len(), ready.committed_entries.len()), (1, 0));
    assert_eq!(node.commit(), 1);
    node.write(&ready);
    node.raw.advance(ready).expect("the Ready just handed out");
    assert_eq!(node.commit(), 2);
    let ready = node.raw.ready().expect("work");
    assert_eq!((ready.entries.len(), ready.committed_entries.len()), (0, 1));
    assert!(!ready.must_sync);
}

// 54
#[test]
fn what_was_written_in_an_earlier_term_is_not_counted_when_it_is_given_back() {
    let mut node = Node::one_of(&[1]).lead();
    node.raw.propose("a").expect("a leader");
    let ready = node.raw.ready().expect("work");
    node.raw.step(heartbeat(2, 5, 0)).expect("a heartbeat");
    node.write(&ready);
    node.raw.advance(ready).expect("the Ready just handed out");
    assert_eq!((node.commit(), node.leader()), (1, 2));
    // It is written again, or acknowledged again, with the next Ready.
    node.run();
    assert_eq!(node.terms(), [1, 1]);
    assert!(!node.raw.has_ready());
}

// 54
#[test]
fn what_a_leader_wrote_in_an_earlier_term_does_not_count_for_what_it_appends_in_a_later_one() {
    let mut node = Node::one_of(&[1, 2, 3]).lead();
    node.raw.propose("a").expect("a leader");
    let ready = node.raw.ready().expect("work");
    // Deposed, and elected again by the others, before that is given back.
    node.raw.step(heartbeat(2, 5, 0)).expect("a heartbeat");
    node.raw.campaign().expect("a campaign");
    for from in [2, 3] {
        let _ = node.raw.step(granted(VoteResponse, from, 6));
    }
    assert_eq!((node.role(), node.last()), (Role::Leader, 3));
    node.write(&ready);
    node.raw.advance(ready).expect("the Ready just handed out");
    node.raw.step(ack(2, 6, 3)).expect("an acknowledgement");
    assert_eq!(node.commit(), 0, "entry 3 is on one disk only");
    node.run();
    assert_eq!(node.commit(), 3);
}

// 55
#[test]
fn a_promise_alone_is_a_reason_for_a_ready() {
    let mut node = Node::with_log(&[1, 2, 3], &[1]);
    node.take(heartbeat(2, 1, 0));
    node.raw.step(append(2, 1, (7, 1), vec![], 0)).expect("an append");
    assert!(node.raw.has_ready());
    let ready = node.raw.ready().expect("work");
    assert_eq!((ready.hard_state, ready.soft_state, ready.entries.len()), (None, None, 0));
    assert!(only(ready.messages).reject);
}

// 56: a Ready is accepted as it is handed out; looking whether there is one changes nothing.
#[test]
fn looking_for_work_changes_nothing() {
    let mut node = Node::one_of(&[1, 2, 3]);
    node.raw.step(append(2, 1, (0, 0), entries(1, &[1]), 1)).expect("an append");
    let before = node.raw.status();
    assert!((0..10).all(|_| node.raw.has_ready()));
    assert_eq!(node.raw.status(), before);
    assert_eq!(node.run().len(), 1);
    assert!((0..10).all(|_| !node.raw.has_ready()));
}

// 57
#[test]
fn an_answered_read_is_handed_out_once_even_before_the_ready_is_given_back() {
    let mut node = Node::one_of(&[1]).lead();
    node.raw.read_index("r").expect("a leader");
    let ready = node.raw.ready().expect("work");
    assert_eq!(ready.read_states.len(), 1);
    node.raw.read_index("s").expect("a leader");
    node.raw.advance(ready).expect("the Ready just handed out");
    let ready = node.raw.ready().expect("work");
    assert_eq!(ready.read_states.len(), 1);
    assert_eq!(ready.read_states[0].context.as_ref(), b"s");
}

// 43, 46
#[test]
fn heartbeats_are_not_held_back_by_a_slow_disk() {
    let mut node = threaded(&[1, 2, 3]);
    node.raw.campaign().expect("a campaign");
    node.write_all();
    node.take(granted(VoteResponse, 2, 1));
    node.take(ack(2, 1, 1));
    node.raw.tick().expect("a tick");
    assert_eq!(of(&node.run(), Heartbeat).len(), 2);
}
