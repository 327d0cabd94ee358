//! What a crash in the middle of the last write leaves, and what only looks like it.

#![allow(clippy::disallowed_methods, reason = "tests damage real files")]

mod common;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use common::{edit, entry, log, plain_log, read, segments, state};
use etcd_reader::{Entry, EntryKind, ProblemKind, ReadOptions, Reader, Record, Status};
use raft_vfs::OsVfs;

const SEGMENT: usize = 64_000;

/// A log whose last entry has `payload`, in a segment prepared as etcd does, and that entry's
/// record.
fn log_with(payload: Vec<u8>) -> (tempfile::TempDir, Record) {
    let dir = log(|w| {
        for index in 1..=5 {
            w.entry(&entry(1, index)).unwrap();
            w.hard_state(state(1, 1, index)).unwrap();
        }
        let data = Bytes::from(payload);
        w.entry(&Entry { index: 6, term: 1, kind: EntryKind::Normal, data }).unwrap();
        w.extend(SEGMENT as u64).unwrap();
    });
    let all = read(dir.path());
    assert_eq!(all.status(), Status::Intact);
    let last = all.records.last().unwrap().clone();
    (dir, last)
}

fn file(dir: &Path) -> std::path::PathBuf {
    segments(dir).pop().unwrap()
}

/// etcd writes pages of 4096 bytes; a crash leaves a prefix of them, and the zeros the segment
/// was prepared with.
#[test]
fn a_prefix_in_whole_sectors_is_torn() {
    let (dir, last) = log_with(vec![7; 20_000]);
    let before = read(dir.path()).records.len();
    let whole = fs::read(file(dir.path())).unwrap();
    let end = (last.offset + last.frame_len) as usize;
    let first_cut = (last.offset as usize + 8).next_multiple_of(512);
    for cut in (first_cut..end).step_by(512) {
        let mut bytes = whole.clone();
        bytes[cut..].fill(0);
        fs::write(file(dir.path()), &bytes).unwrap();
        let all = read(dir.path());
        assert_eq!(all.only_problem().kind, ProblemKind::TornTail, "cut at {cut}");
        assert_eq!(all.only_problem().offset, last.offset);
        assert_eq!(all.status(), Status::TornTail);
        assert_eq!(all.records.len(), before - 1);
    }
}

#[test]
fn a_file_that_ends_inside_the_last_record_is_torn() {
    let (dir, last) = log_with(vec![7; 3000]);
    let whole = fs::read(file(dir.path())).unwrap();
    let end = last.offset + last.frame_len;
    for cut in (last.offset + 8..end).step_by(8) {
        fs::write(file(dir.path()), &whole[..cut as usize]).unwrap();
        assert_eq!(read(dir.path()).status(), Status::TornTail, "cut at {cut}");
    }
}

#[test]
fn importers_get_everything_before_a_torn_record_and_no_error() {
    let (dir, last) = log_with(vec![7; 20_000]);
    edit(&file(dir.path()), |bytes| bytes.truncate(last.offset as usize + 4096));
    let mut reader = Reader::open(OsVfs, dir.path(), ReadOptions::default()).unwrap();
    let records: Result<Vec<_>, _> = reader.records().collect();
    assert_eq!(records.unwrap().len(), 3 + 10);
    assert_eq!(reader.status(), Status::TornTail);
}

/// The value holds a sector of zeros; one bit elsewhere in it is flipped. etcd takes the record
/// for torn, `Repair` cuts it off, and an acknowledged entry is gone.
#[test]
fn a_damaged_record_with_zeros_in_it_is_not_torn() {
    let mut payload = vec![7; 4096];
    payload[1000..3000].fill(0);
    let (dir, last) = log_with(payload);
    edit(&file(dir.path()), |bytes| bytes[last.offset as usize + 200] ^= 1);
    let all = read(dir.path());
    let problem = all.only_problem();
    assert_eq!(problem.kind, ProblemKind::CrcMismatch);
    assert!(problem.message.contains("etcd would take it for torn"), "{problem}");
    assert_eq!(all.status(), Status::Corrupt);
}

/// A length that was damaged to reach beyond the file looks like a record whose end is missing.
/// etcd answers "unexpected EOF" and cuts the log there.
#[test]
fn a_length_beyond_the_file_is_not_torn() {
    let dir = plain_log(10);
    let at = read(dir.path()).records[5].offset as usize;
    for byte in 1..6 {
        edit(&file(dir.path()), |bytes| bytes[at + byte] ^= 0x40);
        let all = read(dir.path());
        assert_eq!(all.only_problem().kind, ProblemKind::BadLength, "byte {byte}");
        edit(&file(dir.path()), |bytes| bytes[at + byte] ^= 0x40);
    }
}

/// A sector that never arrived, while later ones did: perhaps a crash, perhaps lost data. Nothing
/// in the format tells, so it is not passed over.
#[test]
fn a_hole_inside_the_last_record_is_not_torn() {
    let (dir, last) = log_with(vec![7; 20_000]);
    let hole = (last.offset as usize + 8192).next_multiple_of(512);
    edit(&file(dir.path()), |bytes| bytes[hole..hole + 512].fill(0));
    assert_eq!(read(dir.path()).kinds(), [ProblemKind::CrcMismatch]);
}

#[test]
fn a_broken_record_with_another_behind_it_is_not_torn() {
    let dir = plain_log(10);
    let records = read(dir.path()).records;
    let at = records[records.len() - 2].offset as usize;
    edit(&file(dir.path()), |bytes| bytes[at + 30] ^= 1);
    assert_eq!(read(dir.path()).status(), Status::Corrupt);
}

/// A segment gets its name when its head is on disk.
#[test]
fn the_head_of_a_segment_is_never_torn() {
    let dir = plain_log(1);
    let head_end = read(dir.path()).records[2].offset;
    let whole = fs::read(file(dir.path())).unwrap();
    for cut in (0..=head_end).step_by(8) {
        fs::write(file(dir.path()), &whole[..cut as usize]).unwrap();
        let status = read(dir.path()).status();
        let expected = if cut == head_end { Status::Intact } else { Status::Corrupt };
        assert_eq!(status, expected, "cut at {cut}");
    }
}
