//! Metadata, keyed values, and the mark of a close.

use std::path::Path;

use bytes::Bytes;
use raft_vfs::SimVfs;
use raft_vfs::sim::{Call, KeepAll, KeepNothing, Op, RandomCrash};
use raft_wal::format::{Mark, PAGE};
use raft_wal::{Batch, Error, Tail};

use crate::support::lab::{
    Lab, blob, compact, entries, flip, frames, judge, recover, small, state,
};
use crate::support::sim::segment_path;

fn metadata(bytes: &[u8]) -> Batch {
    Batch { metadata: Some(Bytes::copy_from_slice(bytes)), ..Batch::default() }
}

#[test]
fn values_and_metadata_survive_rotation_removal_carry_and_reset_and_deleted_ones_stay_away() {
    let mut lab = Lab::new(small());
    lab.put(&metadata(b"node 7"));
    lab.put(&blob("kept", &[1; 300]));
    lab.put(&blob("gone", &[2; 300]));
    lab.rotate();
    lab.put(&blob("gone", b""));
    lab.put(&metadata(b"node 7, again"));
    lab.rotate();
    lab.sync();
    lab.put(&compact(lab.log().next()));
    lab.wal.step_gc().unwrap();
    // Un-synced changes are carried, deletions too.
    lab.put(&blob("late", &[3; 20]));
    lab.put(&blob("kept", b""));
    lab.wal.write_through().unwrap();
    let last = lab.log().clone();
    let disk = lab.disk.power_cut(&mut KeepAll);
    let lab = Lab::on(disk, small());
    assert!(lab.report.carried > 0);
    assert_eq!(last.difference(lab.log()), None);
    assert_eq!(lab.wal.blob(b"gone"), None);
    assert_eq!(lab.wal.blob(b"kept"), None);
    assert_eq!(lab.wal.blob(b"late").map(Bytes::len), Some(20));
    let mut lab = Lab::on(lab.disk.power_cut(&mut KeepNothing), small());
    assert_eq!(last.difference(lab.log()), None);
    let next = lab.log().next() + 10;
    let reset = raft_wal::Reset { first_index: next, base_term: Some(9) };
    lab.put(&Batch { reset: Some(reset), ..state(9, 0, next - 1) });
    lab.sync();
    let (got, _) = judge(&lab.disk.power_cut(&mut KeepNothing), &small(), &lab.issued);
    assert_eq!(got.metadata.as_deref(), Some(&b"node 7, again"[..]));
    assert_eq!(got.blobs.len(), 1);
}

/// Whatever is accepted is read back, up to the very limits; what is refused changes nothing.
#[test]
fn the_largest_metadata_and_values_that_are_accepted_are_read_back() {
    let sizes = [0, 1, 255, 4096, 65_000, 65_270, 65_275, 65_280, 65_536, 65_537, 70_000, 73_728];
    let mut accepted = 0;
    for size in sizes {
        for key in ["k", &"k".repeat(255)] {
            for batch in [blob(key, &vec![7; size]), metadata(&vec![8; size])] {
                let mut lab = Lab::new(small());
                lab.add_synced(1, 10);
                let before = lab.log().clone();
                match lab.wal.append(&batch) {
                    Ok(_) => {
                        accepted += 1;
                        let mut after = before;
                        after.apply(&batch);
                        lab.wal.sync().unwrap();
                        let cut = lab.disk.power_cut(&mut KeepNothing);
                        assert_eq!(after.difference(&recover(&cut, &small()).0), None, "{size}");
                        // Repeated at the start of the next segment, with a carry beside it.
                        let mut next = Lab::on(cut, small());
                        next.add_synced(1, 10);
                        let last = next.log().clone();
                        let (got, _) = recover(&next.disk, &small());
                        assert_eq!(last.difference(&got), None);
                    }
                    Err(Error::TooLarge { .. }) => {
                        let (got, _) = recover(&lab.disk, &small());
                        assert_eq!(before.difference(&got), None);
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
    assert!(accepted > 20, "{accepted} accepted");
}

#[test]
fn thirty_two_keys_of_two_kilobytes_fit_and_one_more_is_refused() {
    let mut lab = Lab::new(small());
    for n in 0..32 {
        lab.put(&blob(&format!("key {n}"), &[n; 1900]));
    }
    let full = lab.wal.append(&blob("one more", b"x"));
    assert!(matches!(full, Err(Error::Rejected(_))), "{full:?}");
    let large = lab.wal.append(&blob("key 1", &vec![0; 60_000]));
    assert!(matches!(large, Err(Error::TooLarge { .. })), "{large:?}");
    lab.put(&blob("key 3", b""));
    lab.put(&blob("one more", b"x"));
    lab.sync();
    for seed in 0..20 {
        judge(&lab.disk.power_cut(&mut RandomCrash::new(seed)), &small(), &lab.issued);
    }
}

#[test]
fn a_closed_log_is_clean_and_certain_and_opening_it_writes_no_segment() {
    let mut lab = Lab::new(small());
    lab.put(&state(3, 1, 0));
    for _ in 0..3 {
        lab.rotate();
    }
    let (disk, issued) = lab.close();
    for cut in [disk.power_cut(&mut KeepNothing), disk] {
        cut.set_trace(true);
        let lab = Lab::on(cut.clone(), small());
        let report = &lab.report;
        assert_eq!((report.tail, report.certain, report.carried), (Tail::Clean, true, 0));
        assert_eq!(report.discarded, None);
        assert_eq!(issued.last().difference(lab.log()), None);
        // Index files may be made again; a power cut may take the names of theirs.
        let index = |path: &Path| path.to_string_lossy().contains("idx");
        let calls = cut.take_trace();
        let writes = calls.iter().filter(|c| [Op::Write, Op::Create, Op::Rename].contains(&c.op));
        assert_eq!(writes.filter(|c| !index(&c.path)).collect::<Vec<_>>(), Vec::<&Call>::new());
        lab.wal.close().unwrap();
        let (_, report) = recover(&cut, &small());
        assert_eq!(report.tail, Tail::Clean, "closed twice, nothing appended");
    }
}

/// The page of the newest mark of a segment.
fn newest_mark(disk: &SimVfs, seq: u64) -> (u64, Mark) {
    let bytes = disk.read_file(segment_path(seq)).unwrap();
    let page = |page: u64| {
        let at = (page * PAGE) as usize;
        let raw = bytes[at..at + Mark::LEN].try_into().unwrap();
        Some((page * PAGE, Mark::decode(raw, page as u32)?))
    };
    [page(1), page(2)].into_iter().flatten().max_by_key(|(_, m)| m.mark_no).unwrap()
}

#[test]
fn a_damaged_mark_of_a_close_costs_certainty_and_nothing_else() {
    let mut lab = Lab::new(small());
    lab.put(&state(3, 1, 0));
    lab.add_synced(3, 100);
    let (disk, issued) = lab.close();
    let (at, mark) = newest_mark(&disk, 1);
    assert!(mark.clean);
    for byte in 0..Mark::LEN as u64 {
        let damaged = disk.fork();
        flip(&damaged, segment_path(1), at + byte);
        let (got, report) = recover(&damaged, &small());
        assert_eq!(issued.last().difference(&got), None);
        assert!(!report.certain && report.tail != Tail::Clean, "byte {byte}: {report}");
    }
}

#[test]
fn damage_in_front_of_the_mark_of_a_close_is_proven() {
    let mut lab = Lab::new(small());
    lab.add_synced(3, 100);
    let (disk, _) = lab.close();
    let last = frames(&disk, 1).pop().unwrap();
    for at in last.offset..last.end {
        let damaged = disk.fork();
        flip(&damaged, segment_path(1), at);
        let corrupt = crate::support::lab::refused(&damaged, &small());
        assert_eq!(corrupt.path, segment_path(1));
        assert_eq!(corrupt.offset, last.offset);
    }
}

#[test]
fn a_log_that_goes_on_after_a_close_is_no_longer_clean() {
    let mut lab = Lab::new(small());
    lab.add_synced(1, 100);
    let (disk, _) = lab.close();
    let mut lab = Lab::on(disk, small());
    assert!(lab.report.certain);
    // A published segment in which nothing was begun does not make it uncertain.
    lab.put(&entries(2, 1, 0, 50));
    lab.sync();
    let (_, report) = judge(&lab.disk.power_cut(&mut KeepNothing), &small(), &lab.issued);
    assert!(!report.certain, "{report}");
}
