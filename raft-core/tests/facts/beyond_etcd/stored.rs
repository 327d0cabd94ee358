//! Stored state that cannot be: a typed error of the constructor, and never a panic.

use raft_core::{
    ConfChangeError, ConfState, Config, DamagedRange, Error, HardState, MemoryStorage, RawNode,
    StorageError,
};

use super::odd::{Odd, broken};
use crate::hand::{Node, config, entries, snapshotted, stored, voters};

fn refusal(config: &Config, storage: impl raft_core::Storage) -> Error {
    match RawNode::new(config, storage) {
        Err(error) => error,
        Ok(_) => panic!("the node must not start"),
    }
}

fn what(error: Error) -> (&'static str, u64) {
    match error {
        Error::StoredState { what, value, .. } => (what, value),
        other => panic!("refused for what is stored, not {other:?}"),
    }
}

#[test]
fn a_commit_index_beyond_the_log() {
    let storage = stored(voters(&[1]), &[1, 1]);
    for commit in [3, u64::MAX] {
        storage.set_hard_state(HardState { term: 1, vote: 0, commit });
        assert_eq!(what(refusal(&config(1), storage.clone())), ("commit index", commit));
    }
}

#[test]
fn an_applied_index_past_the_commit_index_or_below_the_snapshot() {
    let storage = stored(voters(&[1]), &[1, 1]);
    storage.set_hard_state(HardState { term: 1, vote: 0, commit: 1 });
    for applied in [2, 9, u64::MAX] {
        let error = refusal(&Config { applied, ..config(1) }, storage.clone());
        assert_eq!(what(error), ("applied index", applied));
    }
    let storage = snapshotted(voters(&[1]), 7, 1);
    let error = refusal(&Config { applied: 6, ..config(1) }, storage);
    assert_eq!(what(error), ("applied index", 6));
}

#[test]
fn a_term_that_nothing_can_follow() {
    let storage = stored(voters(&[1]), &[1]);
    storage.set_hard_state(HardState { term: u64::MAX, vote: 0, commit: 0 });
    assert_eq!(what(refusal(&config(1), storage)), ("term", u64::MAX));
    let storage = stored(voters(&[1]), &[u64::MAX]);
    assert_eq!(what(refusal(&config(1), storage)), ("term", u64::MAX));
}

// A power cut between the writes of one Ready.
#[test]
fn entries_whose_hard_state_was_not_written_any_more_are_no_contradiction() {
    let storage = stored(voters(&[1, 2, 3]), &[1, 5]);
    storage.set_hard_state(HardState { term: 4, vote: 2, commit: 1 });
    let mut node = Node::new(&config(1), storage);
    // Nothing was promised in that term: the vote was of the one before.
    let made_good = HardState { term: 5, vote: 0, commit: 1 };
    assert_eq!(node.raw.basic_status().hard_state, made_good);
    let ready = node.raw.ready().expect("the hard state");
    assert_eq!((ready.hard_state, ready.must_sync), (Some(made_good), true));

    let storage = MemoryStorage::with_conf_state(voters(&[1, 2, 3]));
    storage.append(&entries(1, &[1, 5])).expect("entries from 1 on");
    let node = Node::new(&config(1), storage);
    assert_eq!(node.raw.basic_status().hard_state, HardState { term: 5, vote: 0, commit: 0 });
}

#[test]
fn bounds_of_the_log_that_cannot_be() {
    for (first, last, value) in [
        (Some(0), None, 0),
        (Some(0), Some(0), 0),
        (Some(9), Some(5), 9),
        (Some(u64::MAX), Some(3), u64::MAX),
        (None, Some(u64::MAX), 1),
        (Some(u64::MAX), Some(u64::MAX), u64::MAX),
    ] {
        let odd = Odd::new(stored(voters(&[1]), &[1, 1, 1]));
        odd.first.set(first);
        odd.last.set(last);
        assert_eq!(what(refusal(&config(1), odd)), ("first index", value), "{first:?} {last:?}");
    }
}

#[test]
fn configurations_that_no_change_leads_to() {
    let state = |voters: &[u64], outgoing: &[u64], learners: &[u64], next: &[u64]| ConfState {
        voters: voters.to_vec(),
        voters_outgoing: outgoing.to_vec(),
        learners: learners.to_vec(),
        learners_next: next.to_vec(),
        auto_leave: false,
    };
    let cases = [
        state(&[1, 2, 2], &[], &[], &[]),
        state(&[1, 0], &[], &[], &[]),
        state(&[1, u64::MAX], &[], &[], &[]),
        state(&[1, u64::MAX - 1], &[], &[], &[]),
        state(&[1, 2], &[], &[2], &[]),
        state(&[1, 2], &[], &[], &[3]),
        state(&[1, 2], &[1, 3], &[], &[4]),
        state(&[1, 2], &[1, 3], &[3], &[]),
        state(&[1, 2], &[1, 3], &[], &[2]),
        state(&[], &[1], &[], &[]),
        state(&[], &[], &[1], &[]),
        ConfState { auto_leave: true, ..voters(&[1, 2]) },
    ];
    for members in cases {
        let storage = MemoryStorage::with_conf_state(members.clone());
        let error = refusal(&config(1), storage);
        assert!(matches!(error, Error::ConfChange(_)), "{members:?}: {error:?}");
    }
    let storage = MemoryStorage::with_conf_state(state(&[1, 2], &[], &[2], &[]));
    let error = refusal(&config(1), storage);
    assert!(matches!(error, Error::ConfChange(ConfChangeError::Unreachable { .. })));
}

#[test]
fn a_damaged_range_of_what_is_applied() {
    let storage = stored(voters(&[1]), &[1; 5]);
    storage.set_hard_state(HardState { term: 1, vote: 0, commit: 4 });
    let with = |low, high| {
        let damaged = Some(DamagedRange { low, high });
        Config { applied: 3, damaged, ..config(1) }
    };
    for (low, high) in [(2, 3), (3, 3), (1, 9), (3, u64::MAX - 2)] {
        let error = refusal(&with(low, high), storage.clone());
        assert!(error.to_string().contains("where [4, "), "what is possible: {error}");
        assert_eq!(what(error), ("first damaged index", low), "{low} to {high}");
    }
    for (low, high) in [(4, 4), (4, 5), (5, 9), (4, u64::MAX - 2)] {
        assert!(RawNode::new(&with(low, high), storage.clone()).is_ok(), "{low} to {high}");
    }
}

#[test]
fn a_storage_that_cannot_be_read() {
    let odd = Odd::new(stored(voters(&[1]), &[1]));
    *odd.initial.borrow_mut() = Some(broken());
    let error = refusal(&config(1), odd.clone());
    assert!(matches!(error, Error::Storage(StorageError::Other(_))));
    assert!(error.to_string().contains("the disk is on fire"));
    odd.mend();
    *odd.term.borrow_mut() = Some(Err(broken()));
    assert!(matches!(refusal(&config(1), odd.clone()), Error::Storage(StorageError::Other(_))));
    odd.mend();
    assert!(RawNode::new(&config(1), odd).is_ok());
}

#[test]
fn numbers_near_their_end_are_no_reason_to_panic() {
    // A term that no candidate can follow: the node starts, and does not campaign.
    let storage = stored(voters(&[1]), &[1]);
    storage.set_hard_state(HardState { term: u64::MAX - 1, vote: 0, commit: 0 });
    let mut node = RawNode::new(&config(1), storage).expect("a term is a term");
    assert!(matches!(node.campaign(), Err(Error::Exhausted { what: "term", .. })));
    for _ in 0..100 {
        let _ = node.tick();
    }
    assert_eq!(node.basic_status().hard_state.term, u64::MAX - 1);

    // An index behind which there is room for one entry: the leader's own.
    let storage = snapshotted(voters(&[1]), u64::MAX - 3, 1);
    let mut node = Node::new(&config(1), storage).lead();
    assert_eq!(node.commit(), u64::MAX - 2);
    assert!(matches!(node.raw.propose("a"), Err(Error::ProposalDropped(_))));
    node.tick(100);
}
