//! What a log means: overwritten suffixes, snapshot markers, and what contradicts Raft.

#![allow(clippy::disallowed_methods, reason = "tests prepare real files")]

mod common;

use std::path::Path;

use common::{Everything, entry, log, marker, plain_log, read, state};
use etcd_reader::{
    Effect, Error, NoteKind, ProblemKind, ReadOptions, Reader, RecordKind, Replay, Status,
};
use raft_vfs::OsVfs;

/// Whether it is noted that etcd would bring back the entries `first` to `last`.
fn names_ghosts(all: &Everything, first: u64, last: u64) -> bool {
    let range = format!("entries {first} to {last} ");
    let notes = all.findings.notes();
    notes.iter().any(|n| n.kind == NoteKind::GhostSuffix && n.message.contains(&range))
}

/// The replayed log as (term, index).
fn replayed(path: &Path) -> Vec<(u64, u64)> {
    let replay = Replay::read(OsVfs, path, ReadOptions::default()).unwrap();
    replay.entries().iter().map(|e| (e.term, e.index)).collect()
}

/// etcd#22442. Entries 1/1 to 5/1; a new leader overwrites 3 and 4; a snapshot of 4 is taken.
/// etcd replays from the snapshot, skips the overwriting entries because they are not behind it,
/// and with them their truncation: 5/1 comes back, and the node claims a longer log than it has.
#[test]
fn an_overwritten_entry_behind_the_snapshot_does_not_come_back() {
    let dir = log(|w| {
        for index in 1..=5 {
            w.entry(&entry(1, index)).unwrap();
        }
        w.hard_state(state(1, 1, 2)).unwrap();
        w.entry(&entry(2, 3)).unwrap();
        w.entry(&entry(2, 4)).unwrap();
        w.hard_state(state(2, 2, 4)).unwrap();
        w.marker(&marker(2, 4)).unwrap();
    });
    let all = read(dir.path());
    assert_eq!(all.status(), Status::Intact, "{:#?}", all.findings);
    assert_eq!(replayed(dir.path()), [(1, 1), (1, 2), (2, 3), (2, 4)]);
    let effects: Vec<_> = all.records.iter().map(|r| r.effect).collect();
    assert!(effects.contains(&Effect::Overwrite { last: 5 }));
    assert!(names_ghosts(&all, 5, 5), "{:#?}", all.findings);
}

#[test]
fn an_overwritten_entry_that_was_written_anew_is_no_ghost() {
    let dir = log(|w| {
        for index in 1..=5 {
            w.entry(&entry(1, index)).unwrap();
        }
        w.hard_state(state(2, 2, 2)).unwrap();
        for index in 3..=5 {
            w.entry(&entry(2, index)).unwrap();
        }
        w.hard_state(state(2, 2, 4)).unwrap();
        w.marker(&marker(2, 4)).unwrap();
    });
    assert!(read(dir.path()).findings.notes().is_empty());
}

/// The second half of etcd#22442: a snapshot received from a leader replaces the whole log, but
/// only a marker is written; what stood behind its index must not come back either.
#[test]
fn a_received_snapshot_drops_the_whole_log() {
    let dir = log(|w| {
        for index in 1..=20 {
            w.entry(&entry(1, index)).unwrap();
        }
        w.hard_state(state(1, 1, 5)).unwrap();
        w.marker(&marker(3, 10)).unwrap();
        w.hard_state(state(3, 0, 10)).unwrap();
    });
    let all = read(dir.path());
    assert_eq!(all.status(), Status::Intact, "{:#?}", all.findings);
    assert_eq!(replayed(dir.path()), []);
    assert!(names_ghosts(&all, 11, 20), "{:#?}", all.findings);
}

#[test]
fn a_received_snapshot_beyond_the_log_begins_it_anew() {
    let dir = log(|w| {
        w.entry(&entry(1, 1)).unwrap();
        w.hard_state(state(1, 1, 1)).unwrap();
        w.marker(&marker(7, 100)).unwrap();
        w.hard_state(state(7, 0, 100)).unwrap();
        w.cut().unwrap();
        w.entry(&entry(7, 101)).unwrap();
    });
    let all = read(dir.path());
    assert_eq!(all.status(), Status::Intact, "{:#?}", all.findings);
    assert_eq!(replayed(dir.path()), [(7, 101)]);
}

#[test]
fn a_snapshot_of_ones_own_keeps_the_log() {
    let dir = log(|w| {
        for index in 1..=20 {
            w.entry(&entry(1, index)).unwrap();
        }
        w.hard_state(state(1, 1, 15)).unwrap();
        w.marker(&marker(1, 10)).unwrap();
    });
    assert_eq!(read(dir.path()).status(), Status::Intact);
    assert_eq!(replayed(dir.path()).len(), 20);
}

/// etcd up to 3.4 saves the hard state before the marker of a received snapshot (etcd#10219).
#[test]
fn a_commit_index_that_the_next_marker_makes_good_is_no_problem() {
    let dir = log(|w| {
        w.entry(&entry(1, 1)).unwrap();
        w.hard_state(state(3, 0, 10)).unwrap();
        w.marker(&marker(3, 10)).unwrap();
        w.entry(&entry(3, 11)).unwrap();
    });
    let all = read(dir.path());
    assert_eq!(all.status(), Status::Intact, "{:#?}", all.findings);
}

#[test]
fn a_commit_index_beyond_the_log_is_named() {
    let dir = log(|w| {
        w.entry(&entry(1, 1)).unwrap();
        w.hard_state(state(1, 1, 99)).unwrap();
    });
    let all = read(dir.path());
    let problem = all.only_problem();
    assert_eq!(problem.kind, ProblemKind::CommitBeyondLog);
    assert_eq!(problem.found, "99");
    assert_eq!(all.status(), Status::Corrupt);
}

#[test]
fn entries_that_catch_up_with_the_commit_index_do_not_excuse_it() {
    let dir = log(|w| {
        w.entry(&entry(1, 1)).unwrap();
        w.hard_state(state(1, 1, 2)).unwrap();
        w.entry(&entry(1, 2)).unwrap();
    });
    assert_eq!(read(dir.path()).kinds(), [ProblemKind::CommitBeyondLog]);
}

#[test]
fn missing_entries_are_named() {
    let dir = log(|w| {
        for index in [1, 2, 7, 8] {
            w.entry(&entry(1, index)).unwrap();
        }
    });
    let all = read(dir.path());
    let problem = all.only_problem();
    assert_eq!(problem.kind, ProblemKind::IndexGap);
    assert!(problem.found.contains("entries 3 to 6 are missing"), "{problem}");
    // What is there is shown; the gap shows in the indexes.
    assert_eq!(replayed(dir.path()).len(), 4);
}

#[test]
fn an_entry_in_place_of_a_committed_one_is_named() {
    let dir = log(|w| {
        for index in 1..=5 {
            w.entry(&entry(1, index)).unwrap();
        }
        w.hard_state(state(1, 1, 4)).unwrap();
        w.entry(&entry(2, 4)).unwrap();
        w.hard_state(state(2, 2, 4)).unwrap();
    });
    assert_eq!(read(dir.path()).kinds(), [ProblemKind::CommittedOverwritten]);
}

#[test]
fn numbers_that_only_grow_may_not_shrink() {
    let term_of_state = log(|w| {
        w.entry(&entry(1, 1)).unwrap();
        w.hard_state(state(3, 1, 1)).unwrap();
        w.hard_state(state(2, 1, 1)).unwrap();
    });
    assert_eq!(read(term_of_state.path()).kinds(), [ProblemKind::TermWentBack]);

    let commit = log(|w| {
        w.entry(&entry(1, 1)).unwrap();
        w.hard_state(state(1, 1, 1)).unwrap();
        w.hard_state(state(1, 1, 0)).unwrap();
    });
    assert_eq!(read(commit.path()).kinds(), [ProblemKind::CommitWentBack]);

    let term_of_entry = log(|w| {
        w.entry(&entry(2, 1)).unwrap();
        w.entry(&entry(1, 2)).unwrap();
    });
    assert_eq!(read(term_of_entry.path()).kinds(), [ProblemKind::TermWentBack]);

    let state_behind_entry = log(|w| {
        w.entry(&entry(2, 1)).unwrap();
        w.hard_state(state(1, 1, 0)).unwrap();
    });
    assert_eq!(read(state_behind_entry.path()).kinds(), [ProblemKind::TermWentBack]);
}

#[test]
fn a_new_leader_may_bring_older_terms_than_those_it_overwrites() {
    let dir = log(|w| {
        w.entry(&entry(1, 1)).unwrap();
        w.entry(&entry(4, 2)).unwrap();
        w.hard_state(state(4, 1, 1)).unwrap();
        w.hard_state(state(5, 2, 1)).unwrap();
        w.entry(&entry(3, 2)).unwrap();
        w.entry(&entry(5, 3)).unwrap();
    });
    assert_eq!(read(dir.path()).status(), Status::Intact);
    assert_eq!(replayed(dir.path()), [(1, 1), (3, 2), (5, 3)]);
}

#[test]
fn a_marker_that_disagrees_with_a_committed_entry_is_named() {
    let dir = log(|w| {
        for index in 1..=5 {
            w.entry(&entry(1, index)).unwrap();
        }
        w.hard_state(state(2, 1, 5)).unwrap();
        w.marker(&marker(2, 3)).unwrap();
    });
    assert_eq!(read(dir.path()).kinds(), [ProblemKind::SnapshotMismatch]);
}

#[test]
fn entries_and_states_that_raft_never_writes_are_named() {
    let zero_term = log(|w| w.entry(&entry(0, 1)).unwrap());
    assert_eq!(read(zero_term.path()).kinds(), [ProblemKind::BadEntry]);
    let zero_index = log(|w| w.entry(&entry(1, 0)).unwrap());
    assert_eq!(read(zero_index.path()).kinds(), [ProblemKind::BadEntry]);
    let zero_state = log(|w| w.hard_state(state(0, 0, 0)).unwrap());
    assert_eq!(read(zero_state.path()).kinds(), [ProblemKind::BadHardState]);
}

#[test]
fn the_largest_numbers_are_numbers_like_others() {
    let dir = log(|w| {
        w.marker(&marker(u64::MAX, u64::MAX - 1)).unwrap();
        w.entry(&entry(u64::MAX, u64::MAX)).unwrap();
        w.hard_state(state(u64::MAX, u64::MAX, u64::MAX)).unwrap();
    });
    let all = read(dir.path());
    assert_eq!(all.status(), Status::Intact, "{:#?}", all.findings);
    assert_eq!(replayed(dir.path()), [(u64::MAX, u64::MAX)]);

    let gap = log(|w| {
        w.entry(&entry(1, 1)).unwrap();
        w.entry(&entry(1, u64::MAX)).unwrap();
        w.entry(&entry(1, 1)).unwrap();
    });
    assert_eq!(read(gap.path()).kinds(), [ProblemKind::IndexGap]);
}

/// A crash between two pages of one write; or the last hard state read as an entry, which no
/// checksum shows.
#[test]
fn entries_of_a_new_term_without_its_hard_state_are_a_torn_write() {
    let dir = log(|w| {
        w.entry(&entry(1, 1)).unwrap();
        w.hard_state(state(1, 1, 1)).unwrap();
        w.entry(&entry(2, 2)).unwrap();
        w.entry(&entry(2, 3)).unwrap();
    });
    let all = read(dir.path());
    assert_eq!(all.only_problem().kind, ProblemKind::TornTail);
    assert_eq!(all.only_problem().offset, all.records[all.records.len() - 2].offset);
    assert_eq!(all.status(), Status::TornTail);
}

#[test]
fn the_strict_iterator_stops_at_the_first_damage() {
    let dir = log(|w| {
        for index in [1, 2, 7, 8] {
            w.entry(&entry(1, index)).unwrap();
        }
    });
    let mut reader = Reader::open(OsVfs, dir.path(), ReadOptions::default()).unwrap();
    let results: Vec<_> = reader.records().collect();
    let entries = results
        .iter()
        .filter(|r| matches!(r, Ok(r) if matches!(r.kind, RecordKind::Entry(_))))
        .count();
    assert_eq!(entries, 2);
    assert!(
        matches!(results.last(), Some(Err(Error::Damaged(p))) if p.kind == ProblemKind::IndexGap),
        "{results:?}"
    );
}

#[test]
fn a_fetched_payload_is_verified_again() {
    let dir = plain_log(3);
    let mut replay = Replay::read(OsVfs, dir.path(), ReadOptions::default()).unwrap();
    let second = replay.entries()[1];
    assert_eq!(replay.fetch(&second).unwrap(), entry(1, 2));
    let path = dir.path().join(&replay.layout().segments[0].name);
    common::edit(&path, |bytes| bytes[second.offset as usize + 30] ^= 1);
    assert!(matches!(replay.fetch(&second), Err(Error::Changed { index: 2, .. })));
}

#[test]
fn an_entry_whose_stored_checksum_is_damaged_can_be_fetched() {
    let dir = plain_log(3);
    let before = Replay::read(OsVfs, dir.path(), ReadOptions::default()).unwrap();
    let second = before.entries()[1];
    let path = dir.path().join(&before.layout().segments[0].name);
    common::edit(&path, |bytes| bytes[second.offset as usize + 11] ^= 1);
    let mut replay = Replay::read(OsVfs, dir.path(), ReadOptions::default()).unwrap();
    assert_eq!(replay.findings().problems().len(), 1, "{:#?}", replay.findings());
    let fetch = |e| replay.fetch(&e).unwrap();
    let all: Vec<_> = before.entries().iter().copied().map(fetch).collect();
    assert_eq!(all, [entry(1, 1), entry(1, 2), entry(1, 3)]);
}
