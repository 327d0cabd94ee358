//! Damaged logs: what is lost is named exactly, what is sound is read and right, nothing stale is
//! ever taken for sound, and looking changes nothing.
//!
//! `RAFT_WAL_SEED=S` replays one random history.

mod craft;
mod harm;
mod history;
mod judge;
mod log;
#[path = "../support/model.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod model;
mod random;
mod real;
mod rules;

use std::collections::BTreeSet;
use std::path::PathBuf;

use bytes::Bytes;
use raft_wal::error::{Corrupt, CorruptKind, LostRange};
use raft_wal::{Batch, Error, Options, Reset, SnapshotMark, Status, Tail, Verify, Wal};

use self::judge::{judge, lost_range};
use self::log::{
    AtRest, DIR, Writing, bytes, entries, frames, ident, segment, sized, started, state,
};

fn lost(first: u64, last: u64) -> LostRange {
    LostRange { first, last: Some(last), term: None }
}

fn lost_from(first: u64) -> LostRange {
    LostRange { first, last: None, term: None }
}

/// Everything said of a damaged log holds against its model, and exactly `expected` is lost.
#[track_caller]
fn expect_lost(log: &AtRest, expected: &[LostRange], harmed: &[PathBuf]) {
    let harmed: BTreeSet<_> = harmed.iter().cloned().collect();
    let committed = log.model.entries.iter().map(|e| (e.index, e.clone())).collect();
    let verdict = judge(log, &harmed, &committed).unwrap();
    let g = log.degraded();
    assert_eq!(g.lost(), expected);
    assert_eq!(log.verify().lost, expected);
    assert_eq!(verdict.refused, !expected.is_empty());
    for range in expected {
        let Some(last) = range.last else { continue };
        for index in range.first..=last {
            assert_eq!(lost_range(&g.entries(index, index + 1, 1).unwrap_err()), Some(*range));
            assert_eq!(g.term(index), None);
        }
    }
    let first = log.model.first;
    let sound = |i: &u64| !expected.iter().any(|r| r.first <= *i && r.last.is_none_or(|l| *i <= l));
    for index in (first..log.model.next()).filter(sound) {
        let found = g.entries(index, index + 1, 1).unwrap();
        assert_eq!(found.first(), log.model.entry(index));
    }
}

/// The error of an open that is refused as corrupt.
#[track_caller]
fn refusal(log: &AtRest) -> Corrupt {
    let fork = AtRest { disk: log.disk.fork(), ..log.clone() };
    match fork.open() {
        Err(Error::Corrupt(c)) => *c,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

/// Ten batches of two entries each, the fourth with a hard state.
fn ten_batches() -> Writing {
    let mut w = Writing::new();
    for n in 0..10 {
        let mut batch = entries(1 + 2 * n..3 + 2 * n, 1 + n / 4);
        batch.hard_state = (n == 3).then(|| state(1, 2, 5));
        w.put(&batch);
    }
    w
}

#[test]
fn a_sound_log_opened_degraded_has_lost_nothing_and_is_read_like_any_other() {
    let log = ten_batches().close();
    expect_lost(&log, &[], &[]);
    let g = log.degraded();
    assert_eq!((g.first_index(), g.next_index()), (1, 21));
    assert_eq!(g.entries(1, 21, u64::MAX).unwrap(), log.model.entries);
    assert_eq!(g.entries(3, 21, 0).unwrap(), log.model.entries[2..3]);
    assert!(g.hard_state_is_certain());
    drop(g);
    assert_eq!(log.verify().status, Status::Intact);
}

#[test]
fn a_bad_batch_whose_header_is_readable_costs_exactly_its_own_entries() {
    for n in 1..9 {
        let log = ten_batches().close();
        let place = log.harm_body(1, n);
        let first = place.header.first_index;
        expect_lost(&log, &[lost(first, first + 1)], &[segment(1)]);
        let c = refusal(&log);
        assert_eq!((c.kind, c.path, c.offset), (CorruptKind::Batch, segment(1), place.offset));
        assert_eq!(c.batch_seq, place.header.batch_seq);
        assert_eq!(c.lost.map(|l| l.first), Some(first));
    }
}

#[test]
fn the_last_batch_is_lost_alone_if_nothing_says_that_more_followed() {
    let log = ten_batches().close();
    log.harm_body(1, 9);
    expect_lost(&log, &[lost(19, 20)], &[segment(1)]);
    assert!(!log.degraded().hard_state_is_certain());
}

#[test]
fn a_bad_batch_that_nothing_is_known_of_may_have_replaced_everything_above_the_commit_index() {
    let log = ten_batches().close();
    // Commit is 5 from the fourth batch on, which ends with entry 8.
    let place = log.harm_header(1, 6);
    expect_lost(&log, &[lost(6, 14)], &[segment(1)]);
    assert_eq!(refusal(&log).offset, place.offset);
    // Before it, nothing was known to be committed.
    let log = ten_batches().close();
    log.harm_header(1, 2);
    expect_lost(&log, &[lost(1, 6)], &[segment(1)]);
}

#[test]
fn each_of_several_bad_batches_is_named_with_its_own_place() {
    let log = ten_batches().close();
    let places = log.harm_bodies(1, [2, 5, 7]);
    expect_lost(&log, &[lost(5, 6), lost(11, 12), lost(15, 16)], &[segment(1)]);
    let g = log.degraded();
    let named: Vec<_> = g.problems().iter().map(|p| p.offset).collect();
    assert_eq!(named, places.map(|p| p.offset));
    for place in places {
        let index = place.header.first_index;
        let Err(Error::Corrupt(c)) = g.entries(index, index + 1, 1) else { panic!() };
        assert_eq!(c.offset, place.offset);
    }
}

#[test]
fn two_bad_batches_in_a_row_are_one_loss() {
    let log = ten_batches().close();
    log.harm_bodies(1, [6, 7]);
    // The second header is readable, but what it stands on is not known.
    let g = log.degraded();
    assert_eq!(g.lost().len(), 1);
    assert!(g.lost()[0].first <= 13 && g.lost()[0].last == Some(16), "{:?}", g.lost());
    drop(g);
    let committed = log.model.entries.iter().map(|e| (e.index, e.clone())).collect();
    judge(&log, &[segment(1)].into(), &committed).unwrap();
}

#[test]
fn a_hard_state_is_certain_again_once_a_sound_one_follows_the_damage() {
    let mut w = ten_batches();
    w.put(&Batch::of_hard_state(state(3, 2, 9)));
    let log = w.close();
    log.harm_body(1, 5);
    let g = log.degraded();
    assert!(g.hard_state_is_certain());
    assert_eq!(g.hard_state(), state(3, 2, 9));
    drop(g);

    let log = ten_batches().close();
    log.harm_body(1, 5);
    let g = log.degraded();
    assert!(!g.hard_state_is_certain(), "the bad batch may have held a state");
    assert_eq!(g.hard_state(), state(1, 2, 5), "the newest that is readable");
}

#[test]
fn a_vote_whose_batch_is_lost_is_read_from_the_copy_in_the_marks() {
    let mut w = ten_batches();
    w.put(&Batch::of_hard_state(state(7, 3, 5)));
    w.put_each(21..24, 7);
    let log = w.close();
    log.harm_body(1, 10);
    let g = log.degraded();
    assert_eq!((g.hard_state().term, g.hard_state().vote), (7, 3));
    assert!(!g.hard_state_is_certain());
}

#[test]
fn a_bad_first_batch_of_the_log_costs_what_stood_before_the_second() {
    for header in [false, true] {
        let log = ten_batches().close();
        if header {
            log.harm_header(1, 0)
        } else {
            log.harm_body(1, 0)
        };
        let c = refusal(&log);
        assert_eq!((c.kind, c.offset), (CorruptKind::SegmentStart, 12_288));
        let g = log.degraded();
        assert_eq!(g.lost().len(), 1);
        assert!(g.lost()[0].first <= 1 && g.lost()[0].last == Some(2), "{:?}", g.lost());
        assert_eq!(g.entries(3, 21, u64::MAX).unwrap(), log.model.entries[2..]);
    }
}

/// Three segments with a committed beginning; says where the second and third begin.
fn three_segments() -> (AtRest, u64, u64) {
    let mut w = Writing::new();
    w.put(&entries(1..4, 1).with_hard_state(state(1, 1, 2)));
    w.fill_segment(1);
    let second = w.model.next() - 1;
    w.fill_segment(2);
    let third = w.model.next() - 1;
    w.put_each(third + 1..third + 4, 2);
    let log = w.close();
    assert_eq!(started(&log.disk), [1, 2, 3]);
    (log, second, third)
}

#[test]
fn a_bad_first_batch_of_a_later_segment_costs_exactly_its_entries() {
    let (log, second, third) = three_segments();
    log.harm_body(3, 0);
    expect_lost(&log, &[lost(third, third)], &[segment(3)]);
    assert_eq!(refusal(&log).kind, CorruptKind::SegmentStart);

    let (log, ..) = three_segments();
    log.harm_body(2, 0);
    expect_lost(&log, &[lost(second, second)], &[segment(2)]);
}

#[test]
fn a_bad_header_of_a_segment_is_repaired_from_its_copies_and_noted() {
    let (log, ..) = three_segments();
    for (seq, page) in [(1, 0), (2, 1), (3, 0), (3, 1), (3, 2)] {
        let fork = AtRest { disk: log.disk.fork(), ..log.clone() };
        fork.flip(seq, page * 4096 + 30);
        expect_lost(&fork, &[], &[]);
        let report = fork.verify().report.expect("it is sound");
        assert!(report.notes.iter().any(|n| n.path == segment(seq)), "{seq} {page}: {report}");
    }
}

#[test]
fn a_file_that_the_log_let_go_of_may_be_anything() {
    let (log, _, third) = three_segments();
    let mut wal = log.open().unwrap();
    wal.append(&Batch::of_hard_state(state(2, 1, third + 3))).unwrap();
    wal.compact_to(third + 1).unwrap();
    wal.step_gc().unwrap();
    wal.close().unwrap();
    assert!(log.disk.read_file(segment(1)).is_none(), "it was removed");
    log.disk.write_file(segment(1), b"of a crash in its removal");
    let next = log.open().unwrap().next_index();
    let g = log.degraded();
    assert_eq!((g.next_index(), g.lost(), g.problems()), (next, &[][..], &[][..]));
}

#[test]
fn a_segment_without_any_header_is_lost_as_a_whole() {
    let (log, _, third) = three_segments();
    let forget = |log: &AtRest, seq| log.disk.mutate(segment(seq), |b| b[..12_288].fill(0));
    let fork = AtRest { disk: log.disk.fork(), ..log.clone() };
    forget(&fork, 2);
    let c = refusal(&fork);
    assert_eq!((c.kind, c.path), (CorruptKind::Header, segment(2)));
    expect_lost(&fork, &[lost(3, third - 1)], &[segment(2)]);

    forget(&log, 3);
    let c = refusal(&log);
    assert_eq!((c.kind, c.path), (CorruptKind::Header, segment(3)));
    let g = log.degraded();
    assert!(g.lost().last().is_some_and(|r| r.last.is_none()), "{:?}", g.lost());
    assert!(!g.hard_state_is_certain());
    assert_eq!(g.entries(1, 3, u64::MAX).unwrap(), log.model.entries[..2], "committed before it");
}

#[test]
fn a_missing_segment_is_named_and_bounded_by_its_neighbours() {
    let (log, second, third) = three_segments();
    let without = |seq| {
        let fork = AtRest { disk: log.disk.fork(), ..log.clone() };
        fork.disk.delete(segment(seq));
        let c = refusal(&fork);
        assert_eq!((c.kind, c.path), (CorruptKind::MissingSegment, segment(seq)));
        fork
    };
    expect_lost(&without(1), &[lost(1, second - 1)], &[segment(1)]);
    // What the second segment may have replaced begins above the commit index.
    expect_lost(&without(2), &[lost(3, third - 1)], &[segment(2)]);

    // So does what the newest may have.
    let g = without(3).degraded();
    assert_eq!((g.lost(), g.next_index()), (&[lost_from(3)][..], third));
    assert!(!g.hard_state_is_certain());
    assert_eq!(g.entries(1, 3, u64::MAX).unwrap(), log.model.entries[..2]);
}

#[test]
fn a_segment_that_only_ident_knows_of_is_missed_and_its_vote_with_it() {
    let mut w = ten_batches().restart();
    w.put(&entries(21..23, 5).with_hard_state(state(5, 2, 5)));
    let log = w.close();
    log.disk.delete(segment(2));
    let c = refusal(&log);
    assert_eq!((c.kind, c.path), (CorruptKind::MissingSegment, segment(2)));
    let g = log.degraded();
    assert_eq!(g.lost(), [lost_from(6)], "it may have replaced what was not committed");
    assert_eq!(g.hard_state(), state(1, 2, 5));
    assert!(!g.hard_state_is_certain());
    assert_eq!(g.entries(1, 6, u64::MAX).unwrap(), log.model.entries[..5]);
}

#[test]
fn entries_that_a_lost_batch_may_have_truncated_are_not_sound() {
    // A truncation alone, a conflict, and one behind which the log has grown long again.
    let mut alone = ten_batches();
    alone.put(&Batch { truncate: Some(11), ..Batch::default() });
    let mut conflict = ten_batches();
    conflict.put(&entries(11..13, 4));
    for w in [alone, conflict] {
        let mut w = w;
        let next = w.model.next();
        w.put_each(next..next + 12, 4);
        let log = w.close();
        let exact = AtRest { disk: log.disk.fork(), ..log.clone() };
        log.harm_header(1, 10);
        expect_lost(&log, &[lost(6, next - 1)], &[segment(1)]);
        // With a readable header nothing is guessed.
        exact.harm_body(1, 10);
        let gone: Vec<_> = (next > 11).then(|| lost(11, next - 1)).into_iter().collect();
        assert_eq!(exact.degraded().lost(), gone);
        let committed = log.model.entries.iter().map(|e| (e.index, e.clone())).collect();
        judge(&exact, &[segment(1)].into(), &committed).unwrap();
    }
}

#[test]
fn entries_before_a_lost_reset_are_not_taken_for_the_new_log() {
    for header in [false, true] {
        let mut w = ten_batches();
        let committed = w.model.entries[..5].iter().map(|e| (e.index, e.clone())).collect();
        w.put(&Batch {
            reset: Some(Reset { first_index: 10, base_term: Some(4) }),
            hard_state: Some(state(4, 0, 9)),
            ..Batch::default()
        });
        w.put_each(10..16, 4);
        let log = w.close();
        if header {
            log.harm_header(1, 10)
        } else {
            log.harm_body(1, 10)
        };
        judge(&log, &[segment(1)].into(), &committed).unwrap();
        let g = log.degraded();
        for index in 6..10 {
            assert!(g.entries(index, index + 1, 1).is_err(), "{index}");
        }
        assert_eq!(g.entries(10, 16, u64::MAX).unwrap(), log.model.entries);
    }
}

#[test]
fn what_else_a_log_holds_is_shown_as_far_as_sound_batches_say_it() {
    let key = |k: &'static str| Bytes::from_static(k.as_bytes());
    let mark = |index, term| SnapshotMark { index, term, ..SnapshotMark::default() };
    let mut w = ten_batches();
    w.put(&Batch {
        metadata: Some(key("who")),
        blobs: vec![(key("a"), key("1")), (key("b"), key("2"))],
        snapshot: Some(mark(5, 1)),
        ..Batch::default()
    });
    w.put(&Batch { blobs: vec![(key("a"), key(""))], ..Batch::default() });
    w.put_each(21..23, 4);
    let log = w.close();
    log.harm_body(1, 12);
    let g = log.degraded();
    assert_eq!(g.lost(), [lost(21, 21)]);
    assert_eq!(g.snapshot(), log.model.snapshot.as_ref());
    assert_eq!(g.metadata(), log.model.metadata.as_ref());
    assert!(g.blobs().eq(&log.model.blobs));

    // A reset to below a marker gives the marker up.
    let mut w = Writing::new();
    w.put_each(1..7, 1);
    w.put(&Batch { snapshot: Some(mark(5, 1)), ..Batch::default() });
    w.put(&Batch { reset: Some(Reset { first_index: 3, base_term: Some(1) }), ..Batch::default() });
    w.put_each(3..6, 2);
    let log = w.close();
    log.harm_body(1, 9);
    assert_eq!(log.model.snapshot, None);
    assert_eq!(log.degraded().snapshot(), None);
}

#[test]
fn damage_in_a_closed_segment_is_found_by_a_full_open_and_otherwise_by_the_read() {
    let (log, second, third) = three_segments();
    let place = log.harm_body(2, 1);
    let bad = place.header.first_index;
    assert!(second < bad && bad < third);
    expect_lost(&log, &[lost(bad, bad)], &[segment(2)]);
    let c = refusal(&log);
    assert_eq!((c.kind, c.path, c.offset), (CorruptKind::Batch, segment(2), place.offset));

    let fork = log.disk.fork();
    let options = log.options.clone().verify(Verify::Tail);
    let (wal, report) = Wal::open(fork, DIR, &options).expect("the index file hides it");
    assert_eq!(report.indexed, 2);
    for e in &log.model.entries {
        match wal.entry(e.index) {
            Ok(found) => assert_eq!(found, *e),
            Err(Error::Corrupt(c)) => {
                assert_eq!(e.index, bad);
                assert_eq!((c.kind, c.path), (CorruptKind::Record, segment(2)));
                assert_eq!(c.lost.map(|l| (l.first, l.last)), Some((bad, Some(bad))));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(matches!(wal.entry(bad), Err(Error::Corrupt(_))));
}

#[test]
fn a_torn_tail_is_not_damage() {
    let log = ten_batches().abandon();
    // Nothing promises the last batch yet.
    let place = log.harm_body(1, 9);
    let g = log.degraded();
    assert_eq!((g.lost(), g.problems().len(), g.next_index()), (&[][..], 0, 19));
    assert!(g.hard_state_is_certain());
    drop(g);
    let v = log.verify();
    assert_eq!(v.status, Status::TornTail);
    let (_, report) = Wal::open(log.disk.fork(), DIR, &log.options).unwrap();
    assert_eq!(report.tail, Tail::Torn { first_index: 19, entries: 2 });
    assert_eq!(report.discarded.map(|d| d.offset), Some(place.offset));
    assert!(!report.certain);
}

#[test]
fn a_degraded_log_is_locked_against_every_writer_until_it_is_dropped() {
    let log = ten_batches().close();
    log.harm_body(1, 4);
    let g = log.degraded();
    assert!(matches!(log.open(), Err(Error::Locked { .. })));
    let again = Wal::open_degraded(log.disk.clone(), DIR, &log.options);
    assert!(matches!(again, Err(Error::Locked { .. })));
    assert_eq!(log.verify().status, Status::Corrupt, "looking takes no lock");
    drop(g);
    assert!(matches!(log.open(), Err(Error::Corrupt(_))));
}

#[test]
fn a_directory_without_a_readable_identity_cannot_be_opened_degraded() {
    let log = ten_batches().close();
    let before = bytes(&log.disk);
    let none = Wal::open_degraded(log.disk.clone(), "/nothing", &Options::new());
    assert!(matches!(none, Err(Error::NoLog { .. })));
    assert_eq!(bytes(&log.disk), before);
    log.disk.mutate(ident(), |b| b[..8192].fill(7));
    match Wal::open_degraded(log.disk.clone(), DIR, &log.options) {
        Err(Error::Corrupt(c)) => assert_eq!((c.kind, c.path), (CorruptKind::Ident, ident())),
        other => panic!("{other:?}"),
    }
    log.disk.delete(ident());
    let missing = Wal::open_degraded(log.disk.clone(), DIR, &log.options);
    assert!(matches!(missing, Err(Error::IdentMissing { .. })));
}

#[test]
fn a_range_that_reaches_into_a_loss_is_refused_and_one_beside_it_is_not() {
    let log = ten_batches().close();
    log.harm_body(1, 4);
    let g = log.degraded();
    assert_eq!(g.entries(1, 9, u64::MAX).unwrap(), log.model.entries[..8]);
    assert_eq!(g.entries(11, 21, u64::MAX).unwrap(), log.model.entries[10..]);
    assert_eq!(lost_range(&g.entries(1, 21, u64::MAX).unwrap_err()), Some(lost(9, 10)));
    assert!(matches!(g.entries(0, 3, 1), Err(Error::Compacted { .. })));
    assert!(matches!(g.entries(20, 22, 1000), Err(Error::Unavailable { .. })));
    assert_eq!(g.entries(5, 5, 1).unwrap(), []);
}

#[test]
fn damage_below_a_compaction_is_no_loss() {
    let mut w = Writing::new();
    w.put(&entries(1..4, 1).with_hard_state(state(1, 1, 3)));
    w.fill_segment(1);
    let next = w.model.next();
    w.put(&Batch { hard_state: Some(state(1, 1, next - 1)), ..Batch::default() });
    // The second segment still needs its beginning; the compaction removes no file.
    w.put(&Batch { compact: Some(4), ..Batch::default() });
    w.put_each(next..next + 3, 1);
    let log = w.close();
    log.harm_body(1, 0);
    let g = log.degraded();
    assert_eq!(g.first_index(), 4);
    assert!(g.lost().iter().all(|r| r.first >= 4), "{:?}", g.lost());
    assert_eq!(g.entries(4, next + 3, u64::MAX).unwrap(), log.model.entries);
}

#[test]
fn a_segment_that_was_removed_for_good_is_not_missed_behind_other_damage() {
    let mut w = Writing::new();
    w.put(&entries(1..2, 1));
    w.fill_segment(1);
    w.fill_segment(1);
    let next = w.model.next();
    w.put_each(next..next + 3, 1);
    w.put(&Batch { compact: Some(next), ..Batch::default() });
    w.wal.step_gc().unwrap();
    w.put_each(next + 3..next + 6, 1);
    let log = w.close();
    assert_eq!(started(&log.disk), [3]);
    log.harm_body(3, 2);
    expect_lost(&log, &[lost(next + 1, next + 1)], &[segment(3)]);
    let v = log.verify();
    assert!(v.problems.iter().all(|p| p.path == segment(3)), "{:?}", v.problems);
}

#[test]
fn index_zero_is_an_index_like_any_other() {
    let mut w = Writing::with(Options::new().segment_bytes(16 << 10), 0);
    w.put(&entries(0..1, 1));
    // Commit 0 may mean that nothing is committed: this may replace entry 0.
    w.put(&entries(0..1, 2));
    w.put_each(1..4, 2);
    let log = w.close();
    log.harm_header(1, 1);
    expect_lost(&log, &[lost(0, 0)], &[segment(1)]);
}

#[test]
fn a_shortened_segment_is_damage_wherever_it_ends() {
    let log = ten_batches().close();
    let places = frames(&log.disk, 1);
    for cut in [places[9].end, places[9].offset, places[5].offset + 20, 12_288, 9000, 4096, 0] {
        let fork = AtRest { disk: log.disk.fork(), ..log.clone() };
        fork.disk.mutate(segment(1), |b| b.truncate(cut as usize));
        assert_eq!(refusal(&fork).path, segment(1), "cut at {cut}");
        let g = fork.degraded();
        for e in &log.model.entries {
            if let Ok(found) = g.entries(e.index, e.index + 1, 1) {
                assert_eq!(found.first(), Some(e));
            }
        }
        assert!(!g.hard_state_is_certain());
    }
}

#[test]
fn a_large_loss_is_surveyed_in_time() {
    let mut w = Writing::with(Options::new().segment_bytes(4 << 20), 1);
    for first in (1..16_000).step_by(2) {
        w.wal.append(&Batch::of_entries(vec![sized(first, 1, 60)])).unwrap();
        w.wal.append(&Batch::of_entries(vec![sized(first + 1, 1, 60)])).unwrap();
    }
    let log = w.close();
    let places = frames(&log.disk, 1);
    let bad: Vec<u64> = places.iter().skip(1).step_by(2).map(|p| p.end - 9).collect();
    log.disk.mutate(segment(1), |b| bad.iter().for_each(|&at| b[at as usize] ^= 1));
    let begun = std::time::Instant::now();
    let g = log.degraded();
    let took = begun.elapsed();
    assert!(took.as_millis() < 1000, "{took:?} for {} bad batches", bad.len());
    assert_eq!(g.entries(3, 4, 1).unwrap(), [sized(3, 1, 60)]);
    assert!(g.entries(2, 3, 1).is_err());
}

#[test]
fn a_segment_whose_dead_tail_was_cut_is_not_blamed_for_the_loss_of_its_successor() {
    let mut w = Writing::with(Options::new().segment_bytes((1 << 20) + (32 << 10)), 1);
    w.put_each(1..3, 1);
    let mut w = w.restart();
    w.put(&Batch::of_entries(vec![sized(3, 1, 600_000)]));
    w.wal.step_gc().unwrap();
    assert!(w.wal.step_publish().unwrap());
    let log = w.abandon();
    let len = |seq| log.disk.read_file(segment(seq)).unwrap().len();
    assert!(len(1) < len(2) && len(2) == len(3) && started(&log.disk) == [1, 2]);
    log.disk.delete(segment(2));
    // An unstarted segment behind the one that is gone changes nothing.
    for unstarted in [true, false] {
        if !unstarted {
            log.disk.delete(segment(3));
        }
        let refused = refusal(&log);
        assert_eq!((refused.kind, refused.path), (CorruptKind::MissingSegment, segment(2)));
        let g = log.degraded();
        assert!(g.problems().iter().all(|p| p.path == segment(2)), "{:?}", g.problems());
        assert_eq!(g.lost().last().and_then(|r| r.last), None);
        assert!(!g.hard_state_is_certain());
    }
}
