//! Zero, `u64::MAX` and everything else that is too low, too high or too large in a batch: refused
//! with the rule and both numbers, or taken and given back. A refusal changes nothing, neither in
//! the handle nor on disk.

use bytes::Bytes;
use raft_vfs::OsVfs;
use raft_wal::{Batch, Entry, Error, HardState, Options, Reset, SnapshotMark, Wal};
use tempfile::TempDir;

use crate::support::model::Model;
use crate::workload::{assert_says, entry, look, open, read_all};

const MAX: u64 = u64::MAX;

/// A log, and what it must hold. The handle is dropped before its directory.
pub(crate) struct Pair {
    pub(crate) wal: Wal<OsVfs>,
    pub(crate) temp: TempDir,
    pub(crate) options: Options,
    pub(crate) log: Model,
}

impl Pair {
    pub(crate) fn new(options: Options) -> Self {
        let temp = tempfile::tempdir().expect("a directory");
        let (wal, _) = open(temp.path(), &options).expect("a new log");
        let log = Model::new(wal.first_index());
        Self { wal, temp, options, log }
    }

    /// The batch is taken, acknowledged, and there.
    pub(crate) fn take(&mut self, batch: &Batch) {
        let ticket = self.wal.append(batch).unwrap_or_else(|e| panic!("{e}: {batch:?}"));
        self.wal.wait(ticket).expect("the disk works");
        self.log.apply(batch);
        assert_eq!(read_all(&self.wal).expect("it is readable"), self.log);
    }

    /// The batch is refused, with all the pieces in the text, and nothing is changed by that.
    pub(crate) fn refuse(&mut self, batch: &Batch, pieces: &[&str]) -> Error {
        let e = self.wal.append(batch).expect_err("it breaks a rule");
        assert!(matches!(e, Error::Rejected(_) | Error::TooLarge { .. }), "{e:?}");
        assert_says(&e, pieces);
        assert_eq!(self.wal.poisoned(), None, "{e}");
        assert_eq!(read_all(&self.wal).expect("it is readable"), self.log, "{e}");
        let seen = look(self.temp.path(), &self.options).expect("it is readable").0;
        assert_eq!(seen, self.log, "{e}");
        e
    }

    /// A process that ends without a close, and the next one.
    pub(crate) fn reopen(self) -> Self {
        let Self { wal, temp, options, log } = self;
        drop(wal);
        let (wal, report) = open(temp.path(), &options).expect("the log opens");
        assert_eq!(read_all(&wal).expect("it is readable"), log, "{report}");
        Self { wal, temp, options, log }
    }
}

pub(crate) fn small() -> Options {
    Options::new().segment_bytes(16 << 10)
}

fn state(term: u64, vote: u64, commit: u64) -> Batch {
    Batch::of_hard_state(HardState { term, vote, commit })
}

fn at(index: u64, term: u64) -> Batch {
    Batch::of_entries(vec![entry(index, term, 20)])
}

fn run(indexes_and_terms: &[(u64, u64)]) -> Batch {
    Batch::of_entries(indexes_and_terms.iter().map(|&(i, t)| entry(i, t, 20)).collect())
}

fn truncate(from: u64) -> Batch {
    Batch { truncate: Some(from), ..Batch::default() }
}

fn compact(to: u64) -> Batch {
    Batch { compact: Some(to), ..Batch::default() }
}

fn reset(first_index: u64, base_term: Option<u64>) -> Batch {
    Batch { reset: Some(Reset { first_index, base_term }), ..Batch::default() }
}

fn mark(index: u64, term: u64) -> Batch {
    let snapshot = SnapshotMark { index, term, file_len: MAX, ..SnapshotMark::default() };
    Batch { snapshot: Some(snapshot), ..Batch::default() }
}

/// Entries [3, 10) of term 3; term 5 with a vote for 2; committed to 6; a marker at 4.
fn ordinary() -> Pair {
    let mut pair = Pair::new(small());
    pair.take(&Batch::of_entries((1..10).map(|i| entry(i, 3, 20)).collect()));
    pair.take(&state(5, 2, 6));
    pair.take(&mark(4, 3));
    pair.take(&compact(3));
    pair
}

#[test]
fn an_index_that_does_not_follow_is_refused() {
    let mut pair = ordinary();
    pair.refuse(&Batch::default(), &["empty"]);
    let range = "outside the log [3, 10)";
    pair.refuse(&at(0, 9), &["from 0", range]);
    pair.refuse(&at(2, 9), &["from 2", range]);
    pair.refuse(&at(6, 9), &["from 6", "committed", "commit is 6"]);
    pair.refuse(&at(11, 9), &["index 11", "10 was expected"]);
    pair.refuse(&at(MAX - 1, 9), &["index 18446744073709551614", "10 was expected"]);
    pair.refuse(&at(MAX, 9), &["18446744073709551615", "no room for the next"]);
    pair.refuse(&run(&[(10, 9), (12, 9)]), &["index 12", "11 was expected"]);
    pair.refuse(&run(&[(10, 9), (10, 9)]), &["index 10", "11 was expected"]);
    pair.refuse(&run(&[(10, 9), (9, 9)]), &["index 9", "11 was expected"]);
    pair.refuse(&run(&[(10, 9), (MAX, 9)]), &["18446744073709551615", "no room"]);
    pair.refuse(&run(&[(10, 9), (0, 9)]), &["index 0", "11 was expected"]);
    pair.take(&at(10, 3));
    pair.reopen();
}

#[test]
fn a_term_that_falls_is_refused() {
    let mut pair = ordinary();
    pair.refuse(&at(10, 2), &["entry 10", "term 2", "below term 3"]);
    pair.refuse(&at(10, 0), &["entry 10", "term 0", "below term 3"]);
    pair.refuse(&at(7, 2), &["entry 7", "term 2", "below term 3"]);
    pair.refuse(&run(&[(10, 4), (11, 3)]), &["entry 11", "term 3", "below term 4"]);
    pair.refuse(&run(&[(10, MAX), (11, MAX - 1)]), &["entry 11", "18446744073709551615"]);
    pair.refuse(&state(4, 2, 6), &["term 4", "current term 5"]);
    pair.refuse(&state(0, 0, 6), &["term 0", "current term 5"]);
    pair.refuse(&at(10, 3).with_hard_state(HardState::default()), &["term 0"]);
    pair.take(&run(&[(10, 3), (11, 3), (12, MAX)]));
    pair.refuse(&at(13, MAX - 1), &["entry 13", "below term 18446744073709551615"]);
    pair.reopen();
}

#[test]
fn a_second_vote_in_a_term_and_a_commit_that_falls_or_outruns_the_log_are_refused() {
    let mut pair = ordinary();
    pair.refuse(&state(5, 3, 6), &["vote for 3", "term 5", "vote for 2"]);
    pair.refuse(&state(5, 0, 6), &["vote for 0", "term 5", "vote for 2"]);
    pair.refuse(&state(5, MAX, 6), &["vote for 18446744073709551615"]);
    pair.refuse(&state(5, 2, 5), &["commit 5", "current commit 6"]);
    pair.refuse(&state(6, 0, 0), &["commit 0", "current commit 6"]);
    pair.refuse(&state(5, 2, 10), &["commit 10", "ends before 10"]);
    pair.refuse(&state(5, 2, MAX), &["commit 18446744073709551615", "ends before 10"]);
    pair.refuse(
        &at(10, 3).with_hard_state(HardState { term: 5, vote: 2, commit: 11 }),
        &["commit 11", "ends before 11"],
    );
    pair.take(&at(10, 3).with_hard_state(HardState { term: 5, vote: 2, commit: 10 }));
    pair.take(&state(MAX, MAX, 10));
    pair.refuse(&state(MAX, 0, 10), &["vote for 0"]);
    pair.refuse(&state(0, MAX, 10), &["term 0", "current term 18446744073709551615"]);
    pair.reopen();
}

#[test]
fn a_cut_outside_the_log_or_through_what_must_stay_is_refused() {
    let mut pair = ordinary();
    for from in [0, 1, 2, 11, MAX - 1, MAX] {
        let from_text = format!("from {from}");
        pair.refuse(&truncate(from), &["truncation", &from_text, "outside the log [3, 10)"]);
    }
    for from in [3, 4, 6] {
        pair.refuse(&truncate(from), &["truncation", "committed", "commit is 6"]);
    }
    for to in [0, 1, 2, 11, MAX - 1, MAX] {
        let to_text = format!("to {to}");
        pair.refuse(&compact(to), &["compaction", &to_text, "outside the log [3, 10]"]);
    }
    let e = pair.wal.compact_to(0).unwrap_err();
    assert_says(&e, &["compaction to 0", "[3, 10]"]);
    let e = pair.wal.compact_to(MAX).unwrap_err();
    assert_says(&e, &["compaction to 18446744073709551615", "[3, 10]"]);
    pair.refuse(&reset(MAX, None), &["18446744073709551615", "no room"]);
    pair.refuse(&reset(0, Some(3)), &["base term Some(3) before index 0"]);
    pair.refuse(&Batch { truncate: Some(8), ..reset(20, None) }, &["reset", "truncate"]);
    pair.refuse(&Batch { compact: Some(8), ..reset(20, None) }, &["reset", "compact"]);
    pair.refuse(&reset(6, Some(3)), &["commit 6", "ends before 6"]);
    // Of all that was refused, nothing is left behind: the log can be cut where it may.
    pair.take(&truncate(10));
    pair.take(&truncate(7));
    pair.take(&compact(7));
    pair.reopen();
}

#[test]
fn a_marker_that_names_no_entry_of_the_log_or_an_older_one_is_refused() {
    let mut pair = ordinary();
    pair.refuse(&mark(10, 3), &["marker 10", "ends before 10"]);
    pair.refuse(&mark(MAX - 1, 3), &["marker 18446744073709551614", "ends before 10"]);
    pair.refuse(&mark(MAX, 3), &["18446744073709551615", "no room"]);
    pair.refuse(&mark(3, 3), &["marker 3", "older", "current one, 4"]);
    pair.refuse(&mark(0, 0), &["marker 0", "older", "current one, 4"]);
    for term in [0, 2, 4, MAX] {
        let found = format!("has term {term}");
        pair.refuse(&mark(7, term), &["marker 7", &found, "term 3 there"]);
    }
    pair.refuse(&Batch { snapshot: mark(19, 4).snapshot, ..reset(20, Some(5)) }, &["marker 19"]);
    pair.take(&mark(9, 3));
    pair.refuse(&truncate(9), &["truncation from 9", "snapshot marker 9"]);
    pair.refuse(&at(8, 9), &["truncation from 8", "snapshot marker 9"]);
    pair.reopen();
}

#[test]
fn keyed_values_metadata_and_conf_states_are_taken_up_to_their_bounds_and_not_beyond() {
    let mut pair = Pair::new(small());
    let bytes = |len: usize| Bytes::from(vec![0x5a; len]);
    let blob = |key: usize, value: usize| Batch {
        blobs: vec![(bytes(key), bytes(value))],
        ..Batch::default()
    };
    let many = |n: u8| Batch {
        blobs: (0..n).map(|i| (Bytes::from(vec![i + 1]), bytes(1))).collect(),
        ..Batch::default()
    };
    let metadata = |len| Batch { metadata: Some(bytes(len)), ..Batch::default() };
    let conf_state = |len| {
        let snapshot = mark(0, 0).snapshot.map(|s| SnapshotMark { conf_state: bytes(len), ..s });
        Batch { snapshot, ..Batch::default() }
    };
    pair.refuse(&blob(0, 1), &["key", "0 bytes", "1 to 255"]);
    pair.refuse(&blob(256, 1), &["key", "256 bytes", "1 to 255"]);
    pair.refuse(&blob(1, 64 << 10), &["keyed value", "65538 bytes", "maximum is 65536"]);
    pair.refuse(&many(33), &["32", "keys"]);
    pair.refuse(&metadata((64 << 10) + 1), &["metadata", "65537 bytes", "maximum is 65536"]);
    pair.refuse(&conf_state((64 << 10) + 1), &["conf state", "65537", "maximum is 65536"]);
    pair.take(&blob(255, 1));
    pair.take(&blob(255, 0));
    pair.take(&many(32));
    pair.refuse(&blob(2, 1), &["32", "keys"]);
    pair.take(&Batch {
        blobs: (1..=32).map(|i| (Bytes::from(vec![i]), Bytes::new())).collect(),
        ..blob(1, (64 << 10) - 2)
    });
    assert_eq!(pair.log.blobs.len(), 0, "the keys of the batch end with that of the large value");
    pair.take(&blob(1, (64 << 10) - 2));
    pair.refuse(&blob(2, 1), &["live keyed values", "maximum is 65536"]);
    pair.take(&metadata(0));
    pair.take(&metadata(64 << 10));
    pair.take(&conf_state(0));
    pair.take(&conf_state(64 << 10));
    // All of it is repeated wherever a segment begins.
    for i in 1..40 {
        pair.take(&Batch::of_entries(vec![entry(i, 1, 5000)]));
    }
    pair.reopen().reopen();
}

#[test]
fn a_log_that_begins_at_index_zero_takes_zero_everywhere() {
    let mut pair = Pair::new(small().initial_index(0));
    assert_eq!((pair.wal.first_index(), pair.wal.next_index()), (0, 0));
    assert_eq!(pair.wal.last_index(), None);
    pair.refuse(&at(1, 0), &["index 1", "0 was expected"]);
    pair.refuse(&truncate(1), &["from 1", "[0, 0)"]);
    pair.refuse(&compact(1), &["to 1", "[0, 0]"]);
    pair.refuse(&mark(0, 0), &["marker 0", "ends before 0"]);
    pair.take(&state(0, 0, 0));
    pair.refuse(&state(0, 0, 1), &["commit 1", "ends before 0"]);
    pair.take(&truncate(0).with_hard_state(HardState::default()));
    pair.take(&compact(0));
    pair.take(&at(0, 0));
    assert_eq!(pair.wal.last_index(), Some(0));
    assert_eq!(pair.wal.term(0).unwrap(), Some(0));
    pair.take(&truncate(0));
    pair = pair.reopen();
    pair.take(&Batch::of_entries(vec![Entry { data: Bytes::new(), ..entry(0, 0, 0) }]));
    pair.take(&mark(0, 0));
    pair = pair.reopen();
    pair.refuse(&truncate(0), &["from 0", "marker 0"]);
    pair.take(&compact(1));
    assert_eq!((pair.wal.first_index(), pair.wal.next_index()), (1, 1));
    assert_eq!(pair.wal.term(0).unwrap(), Some(0), "the term before the first entry is kept");
    pair = pair.reopen();
    pair.take(&reset(0, None));
    assert_eq!(pair.log.snapshot, None);
    pair = pair.reopen();
    pair.take(&at(0, MAX));
    pair.reopen();
}

#[test]
fn a_log_at_the_end_of_the_indexes_takes_the_last_one_and_nothing_behind_it() {
    let mut pair = Pair::new(small().initial_index(MAX - 1));
    pair.refuse(&at(MAX, 1), &["18446744073709551615", "no room"]);
    pair.refuse(&run(&[(MAX - 1, 1), (MAX, 1)]), &["18446744073709551615", "no room"]);
    pair.take(&at(MAX - 1, 1));
    assert_eq!((pair.wal.next_index(), pair.wal.last_index()), (MAX, Some(MAX - 1)));
    pair = pair.reopen();
    pair.refuse(&at(MAX, 1), &["18446744073709551615", "no room"]);
    pair.refuse(&state(1, 0, MAX), &["commit 18446744073709551615"]);
    pair.refuse(&mark(MAX, 1), &["18446744073709551615", "no room"]);
    pair.take(&at(MAX - 1, 2));
    pair.take(&state(2, 0, MAX - 1));
    pair.take(&mark(MAX - 1, 2));
    pair.refuse(&truncate(MAX - 1), &["from 18446744073709551614", "committed"]);
    pair.take(&truncate(MAX).with_hard_state(HardState { term: 2, vote: 0, commit: MAX - 1 }));
    pair = pair.reopen();
    pair.take(&compact(MAX));
    assert_eq!((pair.wal.first_index(), pair.wal.next_index()), (MAX, MAX));
    assert_eq!(pair.wal.term(MAX - 1).unwrap(), Some(2));
    pair = pair.reopen();
    pair.refuse(&at(MAX, 2), &["18446744073709551615", "no room"]);
    pair.take(&compact(MAX).with_hard_state(HardState { term: 3, vote: 1, commit: MAX - 1 }));
    pair = pair.reopen();
    // A snapshot may move it anywhere, down to zero and up again.
    for first in [0, MAX - 1, 1, MAX - 1] {
        let commit = first.saturating_sub(1);
        let moved = reset(first, (first > 0).then_some(3));
        pair.take(&moved.with_hard_state(HardState { term: 3, vote: 1, commit }));
        pair.take(&at(first, 3));
        pair = pair.reopen();
    }
}

#[test]
fn a_reset_may_bring_entries_marker_and_state_at_both_ends_of_the_indexes() {
    let mut pair = Pair::new(small());
    for (first, term) in [(MAX - 1, MAX), (1, MAX), (0, MAX)] {
        let batch = Batch {
            entries: vec![entry(first, MAX, 30)],
            snapshot: first.checked_sub(1).and_then(|i| mark(i, term).snapshot),
            hard_state: Some(HardState { term: MAX, vote: MAX, commit: first }),
            ..reset(first, first.checked_sub(1).map(|_| term))
        };
        pair.take(&batch);
        pair = pair.reopen();
        if let Some(before) = first.checked_sub(1) {
            assert_eq!(pair.wal.term(before).unwrap(), Some(term));
        }
    }
}
