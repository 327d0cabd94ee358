//! Every kind of damage to the bytes has its name.

#![allow(clippy::disallowed_methods, reason = "tests damage real files")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{
    Everything, copy_dir, edit, entry, log, marker, plain_log, read, segments, small, state,
};
use etcd_reader::{Error, ProblemKind, ReadOptions, Reader, RecordKind, Status};
use raft_vfs::OsVfs;

fn only_segment(dir: &Path) -> PathBuf {
    segments(dir).pop().unwrap()
}

/// Damages one segment of a plain log of ten entries at the frame of entry `index`; `change` gets
/// the file and the frame's offset.
fn damaged(index: u64, change: impl FnOnce(&mut Vec<u8>, usize)) -> (Everything, Everything) {
    let dir = plain_log(10);
    let before = read(dir.path());
    let at = offset_of(&before, index);
    edit(&only_segment(dir.path()), |bytes| change(bytes, at));
    (before, read(dir.path()))
}

/// Where entry `index` stands.
fn offset_of(all: &Everything, index: u64) -> usize {
    let is = |k: &RecordKind| matches!(k, RecordKind::Entry(e) if e.index == index);
    all.records.iter().find(|r| is(&r.kind)).unwrap().offset as usize
}

fn entries(all: &Everything) -> Vec<u64> {
    let index = |k: &RecordKind| match k {
        RecordKind::Entry(e) => Some(e.index),
        _ => None,
    };
    all.records.iter().filter_map(|r| index(&r.kind)).collect()
}

/// etcd takes a zero length for the end of the log; opened for writing, it then writes zeros over
/// everything behind it.
#[test]
fn a_zeroed_length_in_the_middle_hides_nothing() {
    let (before, after) = damaged(4, |bytes, at| bytes[at..at + 8].fill(0));
    let problem = after.only_problem();
    assert_eq!(problem.kind, ProblemKind::ZeroedLength);
    assert_eq!(problem.offset as usize, offset_of(&before, 4));
    // The record behind the length proves itself, so that not even that one is lost.
    assert_eq!(after.records, before.records);
}

#[test]
fn a_zeroed_record_is_named_and_what_follows_is_found() {
    let (_, after) = damaged(4, |bytes, at| bytes[at..at + 24].fill(0));
    assert_eq!(after.kinds(), [ProblemKind::ZeroedLength, ProblemKind::IndexGap]);
    // Entry 4 is gone; its hard state, whose checksum builds on it, cannot be verified.
    assert_eq!(entries(&after), [1, 2, 3, 5, 6, 7, 8, 9, 10]);
}

#[test]
fn a_length_that_disagrees_with_its_record_is_named() {
    for wrong in [1_u8, 8, 0x40, 0xff] {
        let (before, after) = damaged(4, |bytes, at| bytes[at] ^= wrong);
        assert_eq!(after.only_problem().kind, ProblemKind::BadLength, "{wrong}");
        assert_eq!(after.records, before.records);
    }
}

#[test]
fn a_length_of_petabytes_is_refused_before_memory_is_asked_for() {
    let (before, after) = damaged(4, |bytes, at| bytes[at + 6] = 0x2f);
    assert_eq!(after.only_problem().kind, ProblemKind::BadLength);
    assert_eq!(after.records, before.records);
}

#[test]
fn wrong_padding_bits_are_named() {
    for flip in [0x01, 0x02, 0x08, 0x40, 0x80] {
        let (before, after) = damaged(4, |bytes, at| bytes[at + 7] ^= flip);
        assert_eq!(after.only_problem().kind, ProblemKind::BadPaddingBits, "{flip:#x}");
        assert_eq!(after.records, before.records);
    }
}

#[test]
fn padding_that_is_not_zero_is_named() {
    let (before, after) = damaged(4, |bytes, _| {
        // The metadata: 18 bytes, 6 of padding.
        assert_eq!(bytes[16..24], [18, 0, 0, 0, 0, 0, 0, 0x86]);
        bytes[24 + 18] = 1;
    });
    assert_eq!(after.only_problem().kind, ProblemKind::NonzeroPadding);
    assert_eq!(after.records, before.records);
}

#[test]
fn a_damaged_payload_is_named_and_not_shown() {
    let (_, after) = damaged(4, |bytes, at| bytes[at + 28] ^= 1);
    assert_eq!(after.kinds(), [ProblemKind::CrcMismatch, ProblemKind::IndexGap]);
    assert!(after.findings.problems()[0].message.contains("the data is damaged"));
    assert_eq!(entries(&after), [1, 2, 3, 5, 6, 7, 8, 9, 10]);
}

#[test]
fn a_damaged_checksum_does_not_cost_the_record() {
    let (before, after) = damaged(4, |bytes, at| bytes[at + 11] ^= 1);
    let problem = after.only_problem();
    assert_eq!(problem.kind, ProblemKind::CrcMismatch);
    assert!(problem.message.contains("the stored checksum is not"), "{problem}");
    let kinds = |all: &Everything| all.records.iter().map(|r| r.kind.clone()).collect::<Vec<_>>();
    assert_eq!(kinds(&after), kinds(&before));
}

#[test]
fn a_damaged_record_head_is_named() {
    let (_, after) = damaged(4, |bytes, at| bytes[at + 8] = 0x0b);
    assert_eq!(after.kinds(), [ProblemKind::UnreadableRecord, ProblemKind::IndexGap]);
    assert_eq!(entries(&after), [1, 2, 3, 5, 6, 7, 8, 9, 10]);
}

/// etcd accepts every one of these: a hard state read as an entry replaces an entry by an empty
/// one, and an entry read as a hard state disappears.
#[test]
fn a_record_of_the_wrong_type_is_named() {
    for wrong in [1_u8, 3, 4, 5] {
        let (_, after) = damaged(4, |bytes, at| bytes[at + 9] = wrong);
        assert_eq!(after.status(), Status::Corrupt, "type {wrong}: {:#?}", after.findings);
        assert!(!entries(&after).contains(&4));
    }
    let (_, after) = damaged(4, |bytes, at| bytes[at + 9] = 9);
    assert_eq!(after.kinds(), [ProblemKind::UnknownType, ProblemKind::IndexGap]);

    // A hard state {1, 1, 4} as an entry would be a conf change at 4 of term 1.
    let dir = log(|w| {
        for index in 1..=9 {
            w.entry(&entry(1, index)).unwrap();
        }
        w.hard_state(state(1, 1, 4)).unwrap();
        w.hard_state(state(1, 1, 6)).unwrap();
        w.entry(&entry(1, 10)).unwrap();
    });
    let at = read(dir.path()).records.iter().rev().nth(2).unwrap().offset as usize;
    edit(&only_segment(dir.path()), |bytes| bytes[at + 9] = 2);
    let all = read(dir.path());
    assert_eq!(all.status(), Status::Corrupt, "{:#?}", all.findings);
}

#[test]
fn a_marker_of_the_wrong_type_is_named() {
    for wrong in [1_u8, 2, 3, 4] {
        let dir = log(|w| {
            for index in 1..=9 {
                w.entry(&entry(1, index)).unwrap();
            }
            w.hard_state(state(1, 1, 9)).unwrap();
            w.marker(&marker(1, 4)).unwrap();
        });
        let at = read(dir.path()).records.last().unwrap().offset as usize;
        edit(&only_segment(dir.path()), |bytes| bytes[at + 9] = wrong);
        assert_eq!(read(dir.path()).status(), Status::Corrupt, "type {wrong}");
    }
}

#[test]
fn bytes_behind_the_end_are_named() {
    let dir = plain_log(10);
    edit(&only_segment(dir.path()), |bytes| {
        bytes.resize(20_000, 0);
        bytes[15_000] = 7;
    });
    let all = read(dir.path());
    assert_eq!(all.only_problem().kind, ProblemKind::DataAfterEnd);
}

#[test]
fn a_zero_tail_of_any_length_is_no_problem() {
    for len in [1, 7, 8, 4096, 64_000_000] {
        let dir = plain_log(10);
        let path = only_segment(dir.path());
        let end = fs::metadata(&path).unwrap().len();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(end + len).unwrap();
        assert_eq!(read(dir.path()).status(), Status::Intact, "{len}");
    }
}

#[test]
fn a_missing_segment_is_named_wherever_it_was() {
    for missing in 0..3 {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&small(), copy.path());
        let wal = copy.path().join("member/wal");
        fs::remove_file(&segments(&wal)[missing]).unwrap();
        let all = read(copy.path());
        if missing == 0 {
            // etcd removes old segments itself: there is a snapshot to start from.
            assert_eq!(all.status(), Status::Intact, "{:#?}", all.findings);
            continue;
        }
        assert_eq!(all.kinds()[0], ProblemKind::MissingSegment, "{:#?}", all.findings);
        assert!(all.kinds().contains(&ProblemKind::IndexGap), "{:#?}", all.findings);
    }
}

#[test]
fn a_missing_beginning_without_a_snapshot_is_named() {
    let dir = log(|w| {
        for index in 1..=3 {
            w.entry(&entry(1, index)).unwrap();
            w.cut().unwrap();
        }
    });
    fs::remove_file(&segments(dir.path())[0]).unwrap();
    assert_eq!(read(dir.path()).kinds(), [ProblemKind::MissingSegment]);
}

#[test]
fn a_missing_beginning_of_a_log_named_for_index_zero_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("0000000000000002-0000000000000000.wal"), [0; 8]).unwrap();
    assert!(read(dir.path()).kinds().contains(&ProblemKind::MissingSegment));
}

#[test]
fn a_segment_cut_at_a_record_breaks_the_chain() {
    let dir = log(|w| {
        for index in 1..=3 {
            w.entry(&entry(1, index)).unwrap();
        }
        w.cut().unwrap();
        w.entry(&entry(1, 4)).unwrap();
    });
    let at = offset_of(&read(dir.path()), 3);
    edit(&segments(dir.path())[0], |bytes| bytes.truncate(at));
    let all = read(dir.path());
    let expected =
        [ProblemKind::SegmentNameMismatch, ProblemKind::CrcChainBroken, ProblemKind::IndexGap];
    assert_eq!(all.kinds(), expected, "{:#?}", all.findings);
}

#[test]
fn a_closed_segment_is_never_torn() {
    let dir = log(|w| {
        for index in 1..=3 {
            w.entry(&entry(1, index)).unwrap();
        }
        w.cut().unwrap();
        w.entry(&entry(1, 4)).unwrap();
    });
    let at = offset_of(&read(dir.path()), 3);
    edit(&segments(dir.path())[0], |bytes| bytes.truncate(at + 16));
    assert_eq!(read(dir.path()).status(), Status::Corrupt);
}

#[test]
fn segments_of_two_logs_do_not_mix() {
    let build = |metadata: &'static [u8]| {
        let dir = tempfile::tempdir().unwrap();
        let mut w = etcd_reader::writer::Writer::create(OsVfs, dir.path(), metadata).unwrap();
        w.entry(&entry(1, 1)).unwrap();
        w.cut().unwrap();
        w.entry(&entry(1, 2)).unwrap();
        dir
    };
    let (one, two) = (build(b"node one"), build(b"node two"));
    let name = segments(one.path())[1].clone();
    fs::copy(&segments(two.path())[1], &name).unwrap();
    let kinds = read(one.path()).kinds();
    assert_eq!(kinds, [ProblemKind::CrcChainBroken, ProblemKind::MetadataConflict]);
}

#[test]
fn a_renamed_segment_is_named() {
    let dir = log(|w| {
        for index in 1..=3 {
            w.entry(&entry(1, index)).unwrap();
        }
        w.cut().unwrap();
        w.entry(&entry(1, 4)).unwrap();
    });
    let second = segments(dir.path())[1].clone();
    for wrong in [1, 3, 5] {
        let name = dir.path().join(format!("{:016x}-{wrong:016x}.wal", 1));
        fs::rename(&second, &name).unwrap();
        assert_eq!(read(dir.path()).kinds(), [ProblemKind::SegmentNameMismatch], "{wrong}");
        fs::rename(&name, &second).unwrap();
    }
}

#[test]
fn a_segment_without_records_is_named() {
    let dir = log(|w| w.cut().unwrap());
    let path = segments(dir.path())[1].clone();
    let checksum_only = fs::read(&path).unwrap()[..16].to_vec();
    for content in [vec![], vec![0; 64], checksum_only] {
        fs::write(&path, content).unwrap();
        assert_eq!(read(dir.path()).kinds(), [ProblemKind::EmptySegment]);
    }
}

#[test]
fn a_segment_without_its_head_is_named() {
    let (_, after) = {
        let dir = plain_log(5);
        let before = read(dir.path());
        edit(&only_segment(dir.path()), |bytes| drop(bytes.drain(..16)));
        (before, read(dir.path()))
    };
    assert_eq!(after.kinds()[0], ProblemKind::MisplacedRecord);
    assert_eq!(entries(&after), [1, 2, 3, 4, 5]);
}

#[test]
fn garbage_from_end_to_end_is_corrupt_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("0000000000000000-0000000000000000.wal");
    let mut seed = 1_u64;
    let garbage: Vec<u8> = (0..300_000)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        })
        .collect();
    fs::write(&name, garbage).unwrap();
    let all = read(dir.path());
    assert_eq!((all.status(), all.records.len()), (Status::Corrupt, 0));
}

#[test]
fn damage_in_snapshot_files_is_named() {
    let damage = |change: &dyn Fn(&Path)| {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&small(), copy.path());
        let snap = copy.path().join("member/snap");
        change(&snap.join("0000000000000002-000000000000003e.snap"));
        let all = read(copy.path());
        assert_eq!(all.snaps.len(), 3);
        all.only_problem().kind
    };
    let flip = |path: &Path| edit(path, |bytes| bytes[20] ^= 1);
    assert_eq!(damage(&flip), ProblemKind::SnapFileCrcMismatch);
    let cut = |path: &Path| edit(path, |bytes| bytes.truncate(50));
    assert_eq!(damage(&cut), ProblemKind::SnapFileUnreadable);
    let empty = |path: &Path| edit(path, Vec::clear);
    assert_eq!(damage(&empty), ProblemKind::SnapFileUnreadable);
    let rename = |path: &Path| {
        fs::rename(path, path.with_file_name("0000000000000002-000000000000003f.snap")).unwrap();
    };
    assert_eq!(damage(&rename), ProblemKind::SnapFileNameMismatch);
}

#[test]
fn what_is_no_file_is_named_and_not_followed() {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(&small(), copy.path());
    let wal = copy.path().join("member/wal");
    let third = segments(&wal)[2].clone();
    let aside = copy.path().join("aside");
    fs::rename(&third, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &third).unwrap();
    let kinds = read(copy.path()).kinds();
    assert_eq!(kinds[..2], [ProblemKind::NotAFile, ProblemKind::MissingSegment]);
}

#[test]
fn etcds_leftovers_are_no_part_of_the_log() {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(&small(), copy.path());
    let wal = copy.path().join("member/wal");
    for name in ["0.tmp", "1.tmp", "0000000000000003-00000000000000f0.wal.broken"] {
        fs::write(wal.join(name), b"anything").unwrap();
    }
    fs::write(copy.path().join("member/snap/db"), b"anything").unwrap();
    let all = read(copy.path());
    assert_eq!(all.status(), Status::Intact);
    assert_eq!(all.records, read(&small()).records);
}

#[test]
fn what_is_no_etcd_directory_is_refused_with_what_was_expected() {
    let empty = tempfile::tempdir().unwrap();
    let open = |path: &Path| Reader::open(OsVfs, path, ReadOptions::default()).map(drop);
    let message = open(empty.path()).unwrap_err().to_string();
    assert!(message.contains("member/wal") && message.contains("an empty directory"), "{message}");

    fs::create_dir_all(empty.path().join("member/wal")).unwrap();
    assert!(matches!(open(empty.path()), Err(Error::NotEtcd { .. })));
    fs::write(empty.path().join("file"), b"").unwrap();
    assert!(matches!(open(&empty.path().join("file")), Err(Error::NotEtcd { .. })));
    assert!(matches!(open(&empty.path().join("nothing")), Err(Error::Io { .. })));
}
