//! What a repair promises, one thing at a time.

use raft_vfs::SimVfs;
use raft_vfs::sim::Fault;
use raft_wal::error::{Acked, LostRange};
use raft_wal::format::{BaseReason, PAGE};
use raft_wal::{Batch, Entry, Error, RepairPolicy, SnapshotMark, plan_repair};

use crate::judge::{execute, plan, read};
use crate::support::lab::{Lab, entries, flip, frames, small, state, write};
use crate::support::sim::{DIR, open, path, segment_path};

/// Eight batches of one entry each; the fifth is damaged, and a mark promises all of them.
fn damaged() -> SimVfs {
    let mut lab = Lab::new(small());
    lab.put(&state(3, 2, 0));
    for _ in 0..8 {
        lab.add_synced(1, 40);
    }
    let (disk, _) = lab.close();
    let bad = &frames(&disk, 1)[5];
    flip(&disk, segment_path(1), bad.end - 20);
    disk
}

#[test]
fn a_plan_says_where_the_log_is_cut_and_what_that_costs() {
    let disk = damaged();
    let planned = plan(&disk, &small()).unwrap();
    let cut = planned.outline().cut.clone().unwrap();
    assert_eq!((cut.kept.segment, cut.kept.batch_seq), (1, 5));
    assert_eq!((cut.kept.first_index, cut.kept.next_index), (1, 5));
    let lost = LostRange { first: 5, last: Some(8), term: Some(3) };
    assert_eq!((cut.given_up.entries, cut.given_up.acked), (Some(lost), Acked::Proven));
    assert_eq!(cut.given_up.count(), Some(4));
    let text = planned.to_string();
    for part in
        ["damage: corrupt batch", "quarantine/", "keep: up to batch 5", "give up: 4 entries"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_plan_holds_the_lock_until_it_is_dropped_or_executed() {
    let disk = damaged();
    let planned = plan(&disk, &small()).unwrap();
    assert!(matches!(plan_repair(disk.clone(), DIR, &small()), Err(Error::Locked { .. })));
    drop(planned);
    execute(plan(&disk, &small()).unwrap()).unwrap();
    open(&disk, &small()).unwrap();
}

#[test]
fn a_repair_notes_the_bytes_that_it_gave_up_in_the_segment_that_it_starts() {
    let disk = damaged();
    let report = execute(plan(&disk, &small()).unwrap()).unwrap();
    let cut = report.outline.cut.unwrap();
    let start = frames(&disk, report.segment.unwrap()).swap_remove(0);
    let base = start.base().unwrap();
    assert_eq!((base.reason, base.prev_segment), (BaseReason::Repair, 1));
    assert_eq!((base.prev_batch_seq, base.prev_end), (cut.kept.batch_seq, cut.kept.offset));
    assert_eq!((base.disc_segment, base.disc_from), (1, cut.kept.offset));
    assert!(base.disc_len > 0);
}

/// A log in which the batch with the last vote, of term 4, is lost; a later batch promises it.
fn without_vote() -> SimVfs {
    let mut lab = Lab::new(small());
    lab.put(&state(3, 2, 0));
    lab.add_synced(1, 40);
    lab.put(&state(4, 1, 0));
    lab.sync();
    lab.add_synced(1, 40);
    let (disk, _) = lab.close();
    let all = frames(&disk, 1);
    flip(&disk, segment_path(1), all[all.len() - 2].offset + 25);
    disk
}

#[test]
fn a_vote_that_may_be_lost_must_be_accepted_and_nothing_is_changed_before() {
    let disk = without_vote();
    // Neither mark is left to repeat it.
    write(&disk, segment_path(1), PAGE, &vec![0; 2 * PAGE as usize]);
    let before = crate::log::bytes(&disk);
    let planned = plan(&disk, &small()).unwrap();
    assert!(!planned.hard_state_is_certain());
    assert!(planned.to_string().contains("WARNING"), "{planned}");
    assert!(matches!(planned.execute(), Err(Error::VoteInDoubt { term: 3, vote: 2, .. })));
    assert_eq!(crate::log::bytes(&disk), before);
    let planned = plan(&disk, &small()).unwrap().policy(RepairPolicy::AcceptLostVote);
    planned.execute().unwrap();
    let got = read(&disk, &small()).unwrap();
    assert_eq!((got.hard_state.term, got.hard_state.vote), (3, 2));
}

#[test]
fn a_vote_that_a_mark_repeats_is_certain_although_its_batch_is_lost() {
    let disk = without_vote();
    let planned = plan(&disk, &small()).unwrap();
    assert!(planned.hard_state_is_certain(), "{planned}");
    planned.execute().unwrap();
    let got = read(&disk, &small()).unwrap();
    assert_eq!((got.hard_state.term, got.hard_state.vote), (4, 1));
    assert_eq!(got.next(), 2);
}

#[test]
fn a_copy_never_takes_a_name_that_is_there() {
    let disk = damaged();
    let name = |n: u32| path(&format!("quarantine/{:020}.seg.{n}", 1));
    disk.write_file(name(1), b"an older copy");
    disk.write_file(path(&format!("quarantine/{:020}.seg.2.part", 1)), b"an unfinished one");
    let whole = disk.read_file(segment_path(1)).unwrap();
    execute(plan(&disk, &small()).unwrap()).unwrap();
    assert_eq!(disk.read_file(name(1)).unwrap(), b"an older copy");
    assert_eq!(disk.read_file(name(2)), None);
    assert_eq!(disk.read_file(name(3)).unwrap(), whole);
    assert_eq!(disk.durable_file(name(3)).unwrap(), whole);
}

#[test]
fn without_room_for_the_copy_nothing_is_repaired() {
    let disk = damaged();
    let before = crate::log::bytes(&disk);
    let planned = plan(&disk, &small()).unwrap();
    disk.fail_next(raft_vfs::sim::Op::Write, Fault::Enospc);
    assert!(matches!(execute(planned), Err(Error::NoSpace { .. })));
    assert_eq!(crate::log::bytes(&disk), before);
    execute(plan(&disk, &small()).unwrap()).unwrap();
}

#[test]
fn damage_in_a_closed_segment_gives_up_everything_younger_and_sets_it_aside() {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    lab.rotate();
    let first_of_second = lab.log().next();
    lab.rotate();
    let (disk, _) = lab.close();
    let bad = &frames(&disk, 2)[3];
    flip(&disk, segment_path(2), bad.end - 20);
    let report = execute(plan(&disk, &small()).unwrap()).unwrap();
    let cut = report.outline.cut.unwrap();
    assert_eq!((cut.kept.segment, cut.kept.first_index), (2, 1));
    assert!(cut.kept.next_index > first_of_second - 1);
    let aside: Vec<_> = report.outline.copies.iter().map(|c| (&c.from, c.is_damaged)).collect();
    assert_eq!(aside, [(&segment_path(2), true), (&segment_path(3), false)]);
    assert!(cut.kept.hard_state_is_certain, "segment 3 repeats the vote");
    open(&disk, &small()).unwrap();
}

#[test]
fn what_a_repair_gave_up_stays_away_when_the_repaired_log_is_damaged_again() {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    lab.rotate();
    lab.rotate();
    let (disk, _) = lab.close();
    let bad = &frames(&disk, 1)[2];
    flip(&disk, segment_path(1), bad.end - 20);
    let report = execute(plan(&disk, &small()).unwrap()).unwrap();
    let kept = report.outline.cut.unwrap().kept;
    // The segment that stepped over 2 and 3 is lost: neither comes back.
    disk.delete(segment_path(report.segment.unwrap()));
    let planned = plan(&disk, &small()).unwrap();
    let again = planned.outline().cut.clone().unwrap().kept;
    assert_eq!((again.segment, again.offset), (1, kept.offset));
    assert_eq!((again.first_index, again.next_index), (kept.first_index, kept.next_index));
    execute(planned).unwrap();
    assert_eq!(read(&disk, &small()).unwrap().next(), kept.next_index);
}

/// Two segments; the second begins with a marker and three more entries.
fn with_marker() -> (SimVfs, u64) {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    lab.rotate();
    let index = lab.log().next() - 1;
    let mark = SnapshotMark { index, term: 1, ..SnapshotMark::default() };
    lab.put(&Batch { snapshot: Some(mark), ..state(1, 1, index) });
    for _ in 0..3 {
        lab.add_synced(1, 40);
    }
    (lab.close().0, index)
}

#[test]
fn damage_in_front_of_a_snapshot_marker_costs_only_what_the_snapshot_holds() {
    let (disk, mark) = with_marker();
    let bad = &frames(&disk, 1)[2];
    flip(&disk, segment_path(1), bad.end - 20);
    let planned = plan(&disk, &small()).unwrap();
    let cut = planned.outline().cut.clone().unwrap();
    assert_eq!((cut.kept.first_index, cut.kept.next_index), (mark + 1, mark + 4));
    assert_eq!((cut.given_up.count(), cut.kept.hard_state_is_certain), (Some(0), true));
    let covered = LostRange { first: 1, last: Some(mark), term: None };
    assert_eq!(cut.given_up.covered, Some(covered));
    planned.execute().unwrap();
    let got = read(&disk, &small()).unwrap();
    assert_eq!((got.first, got.next(), got.hard_state.commit), (mark + 1, mark + 4, mark));
}

#[test]
fn a_log_of_which_only_a_marker_is_left_goes_on_behind_it() {
    let (disk, mark) = with_marker();
    disk.delete(segment_path(1));
    let all = frames(&disk, 2);
    flip(&disk, segment_path(2), all[all.len() - 3].end - 20);
    let planned = plan(&disk, &small()).unwrap();
    let cut = planned.outline().cut.clone().unwrap();
    assert_eq!((cut.kept.first_index, cut.kept.next_index), (mark + 1, mark + 1));
    assert_eq!(cut.kept.snapshot.as_ref().map(|s| s.index), Some(mark));
    assert_eq!(cut.given_up.count(), Some(3));
    execute(planned).unwrap();
    let got = read(&disk, &small()).unwrap();
    assert_eq!((got.first, got.hard_state.commit), (mark + 1, mark));
}

#[test]
fn kept_entries_that_a_lost_batch_may_have_replaced_are_named() {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    lab.put(&entries(1, 4, 1, 40));
    lab.sync();
    // A new leader replaces 3 and 4; that batch is lost.
    lab.put(&state(2, 0, 2));
    let replaces: Vec<Entry> = entries(3, 3, 2, 40).entries;
    lab.put(&Batch::of_entries(replaces));
    lab.sync();
    lab.add_synced(1, 40);
    let (disk, _) = lab.close();
    let all = frames(&disk, 1);
    flip(&disk, segment_path(1), all[3].end - 20);
    let cut = plan(&disk, &small()).unwrap().outline().cut.clone().unwrap();
    assert_eq!((cut.kept.next_index, cut.kept.hard_state.commit), (5, 2));
    let outdated = LostRange { first: 3, last: Some(4), term: Some(1) };
    assert_eq!(cut.given_up.outdated, [outdated]);
}

#[test]
fn a_log_whose_directory_of_segments_is_gone_goes_on_empty() {
    let mut lab = Lab::new(small());
    lab.add_synced(3, 40);
    let ident = lab.close().0.read_file(path("IDENT")).unwrap();
    let disk = SimVfs::new(8);
    disk.write_file(path("IDENT"), &ident);
    assert!(disk.paths().iter().all(|p| !p.starts_with(path("wal"))));
    let report = execute(plan(&disk, &small()).unwrap()).unwrap();
    assert_eq!(report.segment, Some(2), "IDENT knows of segment 1");
    assert_eq!(read(&disk, &small()).unwrap().entries.len(), 0);
}

#[test]
fn a_log_that_no_segment_can_follow_is_not_planned() {
    let mut lab = Lab::new(small());
    lab.add_synced(3, 40);
    let (disk, _) = lab.close();
    disk.write_file(segment_path(u64::MAX), b"");
    match plan(&disk, &small()) {
        Err(e @ Error::NumbersEnd { highest: u64::MAX, .. }) => {
            assert!(e.to_string().contains("no number is higher"), "{e}");
        }
        other => panic!("{other:?}"),
    }
}
