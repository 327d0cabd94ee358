//! Valid batches that break the rules of the log: an open refuses them, and a degraded opening
//! takes what they did for lost.

use raft_wal::error::{Corrupt, CorruptKind};
use raft_wal::{Batch, Degraded, Status, plan_repair};

use crate::craft::{CODEC, DATA, FIRST_INDEX, craft, put};
use crate::judge::holds;
use crate::log::{AtRest, DIR, Writing, entries, frames, segment, started, state};
use crate::{expect_lost, lost, lost_from, refusal, ten_batches};

/// Every index within the bounds is there, and right, or lost; beyond them there is nothing.
#[track_caller]
fn expect_whole(log: &AtRest) -> Degraded<raft_vfs::SimVfs> {
    let g = log.degraded();
    let (first, next) = (g.first_index(), g.next_index());
    assert!(first <= next && next < 1000, "[{first}, {next})");
    for index in first..next {
        let is_lost = g.lost().iter().any(|r| holds(r, index));
        match g.entries(index, index + 1, 1) {
            Ok(found) if index < log.model.first => assert_eq!((found.len(), is_lost), (1, false)),
            Ok(found) => assert_eq!((found.first(), is_lost), (log.model.entry(index), false)),
            Err(e) => assert!(is_lost, "index {index} is neither there nor lost: {e}"),
        }
    }
    for index in [next, next + 1, u64::MAX - 1] {
        assert!(g.entries(index, index + 1, 1).is_err(), "index {index}");
    }
    for range in g.lost() {
        assert!(range.last.is_none_or(|last| last < next), "{range} in [{first}, {next})");
    }
    g
}

/// The open and the degraded opening say the same of a batch.
#[track_caller]
fn expect_broken(log: &AtRest, offset: u64) -> Degraded<raft_vfs::SimVfs> {
    let said = |c: &Corrupt| (c.kind, c.path.clone(), c.offset, c.found.clone());
    let refused = refusal(log);
    assert_eq!((refused.kind, refused.offset), (CorruptKind::Rule, offset), "{refused}");
    let g = expect_whole(log);
    assert_eq!(g.problems().iter().map(said).collect::<Vec<_>>(), [said(&refused)]);
    assert_eq!(log.verify().status, Status::Corrupt);
    g
}

#[test]
fn indexes_that_a_valid_batch_leaves_out_are_lost() {
    let log = ten_batches().close();
    // Entries 11 and 12 become 12 and 13; 13 and 14 follow.
    let place = craft(&log.disk, 1, 5, |f| put(f, FIRST_INDEX, 12));
    let g = expect_broken(&log, place.offset);
    // Whatever it was to do, it may have done to all that was not committed.
    assert_eq!(g.lost(), [lost(6, 12)]);
    assert!(!g.hard_state_is_certain());
}

#[test]
fn a_last_batch_that_overlaps_is_lost_with_all_that_it_may_have_replaced() {
    let log = ten_batches().close();
    let place = craft(&log.disk, 1, 9, |f| put(f, FIRST_INDEX, 18));
    let g = expect_broken(&log, place.offset);
    assert_eq!((g.lost()[0].first, g.next_index()), (6, 19));
    assert_eq!(g.lost().last().and_then(|r| r.last), None);
}

#[test]
fn a_bad_batch_whose_header_places_it_outside_the_log_says_no_more_than_an_unreadable_one() {
    // The log is [1, 19) where the last batch stands, and 5 is committed.
    for first_index in [0, 20, 1 << 42, u64::MAX - 2] {
        for last in [true, false] {
            let mut w = ten_batches();
            if !last {
                w.put(&entries(21..23, 3));
            }
            let log = w.close();
            let place = craft(&log.disk, 1, 9, |f| put(f, FIRST_INDEX, first_index));
            log.flip(1, place.end - 9);
            let refused = refusal(&log);
            assert_eq!((refused.kind, refused.offset), (CorruptKind::Batch, place.offset));
            assert_eq!(refused.lost.map(|l| l.first), Some(19), "{first_index}: {refused}");
            let g = expect_whole(&log);
            let expected = if last { lost_from(6) } else { lost(6, 20) };
            assert_eq!(g.lost(), [expected], "{first_index}");
        }
    }
}

#[test]
fn a_hard_state_that_breaks_the_rules_is_not_taken_over() {
    for (at, number) in [(DATA, 1), (DATA + 8, 9), (DATA + 16, 4), (DATA + 16, 900)] {
        let mut w = ten_batches();
        w.put(&Batch::of_hard_state(state(3, 2, 7)));
        w.put(&Batch::of_hard_state(state(3, 2, 8)));
        let log = w.close();
        // The first one stands before its batch's entries, these alone.
        let place = craft(&log.disk, 1, 11, |f| put(f, at, number));
        let g = expect_broken(&log, place.offset);
        assert_eq!(g.hard_state(), state(3, 2, 7));
        assert!(!g.hard_state_is_certain());
    }
}

#[test]
fn a_compaction_beyond_the_log_is_not_believed_behind_damage_either() {
    let mut w = ten_batches();
    w.put(&Batch { compact: Some(4), ..Batch::default() });
    w.put(&entries(21..23, 3));
    let log = w.close();
    let before = craft(&log.disk, 1, 10, |f| put(f, DATA, u64::MAX - 100)).offset - 9;
    log.flip(1, before);
    let g = expect_whole(&log);
    assert!(g.problems().iter().any(|p| p.kind == CorruptKind::Rule), "{:?}", g.problems());
}

#[test]
fn a_segment_that_begins_where_the_log_does_not_end_is_a_gap() {
    let mut w = Writing::new();
    w.put(&entries(1..2, 1).with_hard_state(state(1, 1, 1)));
    w.fill_segment(1);
    let next = w.model.next();
    w.put_each(next..next + 3, 1);
    let log = w.close();
    // `next_index` in the Base of the second segment; the batch's own entry follows on.
    let at = DATA + 48;
    craft(&log.disk, 2, 0, |f| {
        let before = u64::from_le_bytes(f[at..at + 8].try_into().unwrap());
        put(f, at, before + 1);
        put(f, FIRST_INDEX, before + 1);
    });
    assert_eq!(refusal(&log).kind, CorruptKind::Gap);
    let g = log.degraded();
    assert!(g.problems().iter().any(|p| p.kind == CorruptKind::Gap), "{:?}", g.problems());
    assert!(g.lost().iter().any(|r| holds(r, 2)), "{:?}", g.lost());
    assert_eq!(g.entries(1, 2, 1).unwrap(), log.model.entries[..1]);
}

#[test]
fn a_segment_of_another_era_than_its_first_batch_was_never_started() {
    let mut w = Writing::new();
    w.put_each(1..3, 1);
    let mut w = w.restart();
    w.put(&entries(3..4, 1));
    let log = w.abandon();
    let newest = *started(&log.disk).last().unwrap();
    craft(&log.disk, newest, 0, |f| {
        let era = u64::from_le_bytes(f[DATA + 72..DATA + 80].try_into().unwrap());
        put(f, DATA + 72, era + 1);
    });
    // Nothing says that the era was begun, for whom there is no such batch.
    log.disk.mutate(segment(newest), |b| b[4096..12288].fill(0));
    let end = frames(&log.disk, newest)[0].end as usize;
    log.disk.mutate(segment(newest), |b| b[end..].fill(0));
    let fork = AtRest { disk: log.disk.fork(), ..log.clone() };
    let next = fork.open().unwrap().next_index();
    let g = log.degraded();
    assert_eq!((g.next_index(), g.lost(), g.problems().len()), (next, &[][..], 0));
}

#[test]
fn a_first_segment_that_names_a_batch_before_it_is_not_well_formed() {
    let mut w = Writing::new();
    w.put_each(1..3, 1);
    let log = w.close();
    craft(&log.disk, 1, 0, |f| {
        put(f, DATA + 16, 7);
        // The batch's own number agrees.
        put(f, 8, 8);
    });
    assert_eq!(refusal(&log).kind, CorruptKind::SegmentStart);
}

#[test]
fn a_segment_whose_base_has_another_term_of_the_last_entry_breaks_a_rule() {
    let mut w = Writing::new();
    w.put_each(1..3, 3);
    w.fill_segment(3);
    let log = w.close();
    assert!(log.open().is_ok());
    craft(&log.disk, 2, 0, |f| put(f, DATA + 56, 2));
    let refused = refusal(&log);
    assert_eq!((refused.kind, &refused.path), (CorruptKind::Rule, &segment(2)), "{refused}");
    let v = log.verify();
    assert_eq!(v.status, Status::Corrupt);
    // No batch is to blame, and yet the log is not called sound.
    let g = log.degraded();
    assert_eq!(g.problems(), [refused]);
    assert_eq!((g.lost(), g.lost().first()), (&v.lost[..], Some(&lost_from(1))));
    assert!(!g.hard_state_is_certain());
}

#[test]
fn damage_is_damage_although_a_later_batch_needs_a_newer_reader() {
    let log = ten_batches().close();
    craft(&log.disk, 1, 8, |f| f[CODEC] = 1);
    assert!(matches!(log.open(), Err(raft_wal::Error::Unsupported { .. })));
    log.harm_body(1, 0);
    let refused = refusal(&log);
    let v = log.verify();
    assert_eq!((v.status, v.problems.first()), (Status::Corrupt, Some(&refused)));
}

#[test]
fn a_mark_does_not_make_a_vote_certain_where_intact_batches_break_the_rules() {
    for broken in [false, true] {
        let mut w = ten_batches();
        w.put(&Batch::of_hard_state(state(4, 1, 5)));
        w.put(&entries(21..23, 4));
        w.put(&entries(23..25, 4));
        let log = w.close();
        if broken {
            craft(&log.disk, 1, 12, |f| put(f, FIRST_INDEX, 24));
        }
        log.harm_body(1, 10);
        let plan = plan_repair(log.disk.clone(), DIR, &log.options).unwrap();
        assert_eq!(plan.outline().damage[0].kind, CorruptKind::Batch);
        assert_eq!(plan.hard_state_is_certain(), !broken, "{plan}");
    }
}

#[test]
fn rules_ask_nothing_of_a_sound_log_that_it_does_not_keep() {
    let mut w = ten_batches();
    w.put(&Batch { truncate: Some(15), ..Batch::default() });
    w.put(&entries(15..17, 4).with_hard_state(state(4, 3, 15)));
    w.put(&Batch { compact: Some(4), ..Batch::default() });
    let mut w = w.restart();
    w.put(&entries(16..18, 5));
    expect_lost(&w.close(), &[], &[]);
    let mut w = ten_batches();
    w.fill_segment(3);
    expect_lost(&w.abandon(), &[], &[]);
}
