//! The reference storage keeps the contract that it states.

use prost::Message as _;
use raft_core::{
    ConfState, Entry, Fetch, HardState, InitialState, MemoryStorage, Storage, StorageError,
};

use crate::hand::{entries, entry, snapshot, voters};

/// Entries 3 to 6, of terms 1, 1, 2 and 3, behind the compacted entry 2 of term 1.
fn storage() -> MemoryStorage {
    let storage = MemoryStorage::with_conf_state(voters(&[1]));
    storage.append(&entries(1, &[1, 1, 1, 1, 2, 3])).expect("entries from 1 on");
    storage.compact(2).expect("entries up to 2");
    storage
}

fn all(storage: &MemoryStorage) -> Vec<(u64, u64)> {
    let (first, last) = bounds(storage);
    if first > last {
        return Vec::new();
    }
    let log = storage.entries(first, last + 1, u64::MAX, Fetch::Scan).expect("all there is");
    log.iter().map(|e| (e.index, e.term)).collect()
}

fn bounds(storage: &MemoryStorage) -> (u64, u64) {
    (storage.first_index().expect("in memory"), storage.last_index().expect("in memory"))
}

#[test]
fn an_empty_log_ends_before_it_begins() {
    let storage = MemoryStorage::new();
    assert_eq!(bounds(&storage), (1, 0));
    assert_eq!(storage.term(0).expect("the entry before the first"), 0);
    assert!(matches!(storage.term(1), Err(StorageError::Unavailable)));
    assert_eq!(storage.initial_state().expect("in memory"), InitialState::default());
}

#[test]
fn terms_are_known_from_the_entry_before_the_first_to_the_last() {
    let storage = storage();
    assert!(matches!(storage.term(1), Err(StorageError::Compacted)));
    let terms: Vec<u64> = (2..=6).map(|i| storage.term(i).expect("in the log")).collect();
    assert_eq!(terms, [1, 1, 1, 2, 3]);
    for beyond in [7, u64::MAX] {
        assert!(matches!(storage.term(beyond), Err(StorageError::Unavailable)));
    }
}

#[test]
fn entries_are_read_between_the_first_and_the_last_and_up_to_a_size() {
    let storage = storage();
    let read = |low, high, max| storage.entries(low, high, max, Fetch::Apply);
    assert!(matches!(read(2, 4, u64::MAX), Err(StorageError::Compacted)));
    assert!(matches!(read(0, 4, u64::MAX), Err(StorageError::Compacted)));
    assert!(matches!(read(3, 8, u64::MAX), Err(StorageError::Unavailable)));
    assert!(matches!(read(7, 8, u64::MAX), Err(StorageError::Unavailable)));
    assert!(matches!(read(3, u64::MAX, u64::MAX), Err(StorageError::Unavailable)));
    for (low, high) in [(4, 4), (5, 4), (7, 7)] {
        assert!(matches!(read(low, high, u64::MAX), Err(StorageError::Unavailable)));
    }
    let one = entry(1, 3, "x").encoded_len() as u64;
    let count = |max| read(3, 7, max).expect("in the log").len();
    let counts = [0, 1, one, 2 * one - 1, 2 * one, 4 * one - 1, 4 * one, u64::MAX].map(count);
    assert_eq!(counts, [1, 1, 1, 1, 2, 3, 4, 4]);
    assert_eq!(read(4, 6, u64::MAX).expect("in the log"), entries(4, &[1, 2]));
}

#[test]
fn an_append_replaces_what_is_at_its_indexes_and_behind() {
    let cases: [(u64, &[u64], &[u64]); 6] = [
        (7, &[3], &[1, 1, 2, 3, 3]),
        (5, &[4], &[1, 1, 4]),
        (3, &[4, 4], &[4, 4]),
        (3, &[1, 1, 2, 3], &[1, 1, 2, 3]),
        // What was compacted stays compacted.
        (1, &[1, 1, 5], &[5]),
        (1, &[1, 1], &[1, 1, 2, 3]),
    ];
    for (first, terms, left) in cases {
        let storage = storage();
        storage.append(&entries(first, terms)).expect("entries without a gap");
        let terms: Vec<u64> = all(&storage).iter().map(|(_, term)| *term).collect();
        assert_eq!(terms, left, "{terms:?} from {first} on");
        assert_eq!(storage.first_index().expect("in memory"), 3);
    }
    storage().append(&[]).expect("nothing");
}

#[test]
fn an_append_leaves_no_gap() {
    let storage = storage();
    let before = all(&storage);
    let gaps: [&[Entry]; 5] = [
        &entries(8, &[3]),
        &entries(u64::MAX, &[3]),
        &[entry(3, 7, ""), entry(3, 9, "")],
        &[entry(3, 7, ""), entry(3, 7, "")],
        &[entry(3, u64::MAX, ""), entry(3, 0, "")],
    ];
    for gap in gaps {
        assert!(matches!(storage.append(gap), Err(StorageError::Contract { .. })), "{gap:?}");
        assert_eq!(all(&storage), before);
    }
}

#[test]
fn what_is_compacted_is_gone_but_for_its_last_term() {
    let storage = storage();
    for gone in [0, 1, 2] {
        assert!(matches!(storage.compact(gone), Err(StorageError::Compacted)));
    }
    for beyond in [7, u64::MAX] {
        assert!(matches!(storage.compact(beyond), Err(StorageError::Unavailable)));
    }
    assert_eq!(bounds(&storage), (3, 6));
    storage.compact(5).expect("entries up to 5");
    assert_eq!((bounds(&storage), storage.term(5).expect("known")), ((6, 6), 2));
    storage.compact(6).expect("all entries");
    assert_eq!((bounds(&storage), storage.term(6).expect("known")), ((7, 6), 3));
    storage.append(&entries(7, &[3])).expect("behind what was compacted");
    assert_eq!(all(&storage), [(7, 3)]);
}

#[test]
fn a_snapshot_is_made_of_what_is_in_the_log_and_is_newer_than_the_last() {
    let storage = storage();
    assert!(matches!(storage.create_snapshot(1, None, "".into()), Err(StorageError::Compacted)));
    assert!(matches!(storage.create_snapshot(7, None, "".into()), Err(StorageError::Unavailable)));
    let made = storage.create_snapshot(5, Some(voters(&[1, 2])), "five".into());
    let made = made.expect("entry 5 is there");
    assert_eq!((made.index(), made.term(), made.data.as_ref()), (5, 2, b"five".as_slice()));
    assert_eq!(storage.snapshot(5, 9).expect("the newest"), made);
    for old in [3, 5] {
        assert!(matches!(
            storage.create_snapshot(old, None, "".into()),
            Err(StorageError::SnapshotOutOfDate)
        ));
    }
    assert_eq!(made.conf_state(), voters(&[1, 2]));
    // The stored configuration is another matter; without one given it is the snapshot's, too.
    assert_eq!(storage.initial_state().expect("in memory").conf_state, voters(&[1]));
    let next = storage.create_snapshot(6, None, "six".into()).expect("entry 6 is there");
    assert_eq!(next.conf_state(), voters(&[1]));
    // Nothing is compacted.
    assert_eq!(bounds(&storage), (3, 6));
    assert!(matches!(storage.snapshot(7, 9), Err(StorageError::SnapshotTemporarilyUnavailable)));
}

#[test]
fn a_snapshot_from_elsewhere_replaces_the_log_unless_it_is_old() {
    let storage = storage();
    storage.apply_snapshot(snapshot(4, 9, voters(&[1, 2]))).expect("a first snapshot");
    assert_eq!((bounds(&storage), storage.term(4).expect("known")), ((5, 4), 9));
    let conf_state = storage.initial_state().expect("in memory").conf_state;
    assert_eq!(conf_state, voters(&[1, 2]));
    for old in [3, 0] {
        let refused = storage.apply_snapshot(snapshot(old, 9, voters(&[7])));
        assert!(matches!(refused, Err(StorageError::SnapshotOutOfDate)), "{old}");
    }
    storage.apply_snapshot(snapshot(4, 9, voters(&[1, 2]))).expect("the same, since it was lost");
    storage.append(&entries(5, &[9])).expect("behind the snapshot");
    storage.apply_snapshot(snapshot(u64::MAX - 2, 9, voters(&[1]))).expect("a newer one");
    assert_eq!(bounds(&storage), (u64::MAX - 1, u64::MAX - 2));
    for endless in [u64::MAX - 1, u64::MAX] {
        let refused = storage.apply_snapshot(snapshot(endless, 9, voters(&[1])));
        assert!(matches!(refused, Err(StorageError::Contract { .. })));
    }
}

#[test]
fn a_snapshot_of_index_0_brings_a_configuration_to_a_new_log() {
    let storage = MemoryStorage::new();
    storage.apply_snapshot(snapshot(0, 0, voters(&[1, 2, 3]))).expect("a configuration");
    let state = storage.initial_state().expect("in memory");
    assert_eq!(state.conf_state, voters(&[1, 2, 3]));
    assert_eq!(bounds(&storage), (1, 0));
    let node = crate::hand::Node::new(&crate::hand::config(1), storage);
    assert_eq!(node.members(), "voters=(1 2 3)");
}

#[test]
fn clones_are_handles_of_one_log() {
    let (storage, other) = (MemoryStorage::new(), MemoryStorage::new());
    let handle = storage.clone();
    handle.append(&entries(1, &[1])).expect("entry 1");
    handle.set_hard_state(HardState { term: 3, vote: 1, commit: 1 });
    handle.set_conf_state(ConfState { learners: vec![4], ..voters(&[1]) });
    let state = storage.initial_state().expect("in memory");
    assert_eq!((state.hard_state.term, state.conf_state.learners), (3, vec![4]));
    assert_eq!((bounds(&storage), bounds(&other)), ((1, 1), (1, 0)));
}
