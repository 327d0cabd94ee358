//! The demonstration itself: it succeeds on every log we have, and notices a log that is wrong.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use raft_vfs::OsVfs;
use raft_wal::{Batch, Entry, EntryKind, Options, Wal};

use crate::common::{Run, demo, small};

/// Imports the small directory into `dir` and leaves the log there.
fn imported(dir: &Path) {
    demo(&["--kills", "0", "--dir", dir.to_str().unwrap()]).succeeded();
}

#[test]
fn the_small_log_is_imported_under_kills_and_equals_its_source() {
    let Run { stdout, .. } = demo(&["--kills", "4", "--seed", "7"]).succeeded();
    let kills = stdout.lines().filter(|l| l.starts_with("kill ")).count();
    assert_eq!(kills, 4, "{stdout}");
    assert_eq!(stdout.matches("  equal to the source after ").count(), kills + 1, "{stdout}");
    assert_eq!(stdout.matches("$ wal-dump ").count(), 4, "{stdout}");
    let mut last = stdout.lines().rev();
    assert_eq!(
        last.next().unwrap().split_once(", digest").unwrap().0,
        "wal-dump finds the same log in both: 294 entries and 3 other records"
    );
    assert_eq!(last.next(), Some("every term, kind, payload, conf state and metadata too."));
    assert_eq!(
        last.next(),
        Some(
            "The whole log is in after 4 kills, and equals its source: 294 entries 1..=294, hard \
             state term 5 vote 8e9e05c52164694d commit 293, marker 267 (term 5);"
        )
    );
}

#[test]
fn an_import_goes_on_where_an_earlier_run_left_it() {
    let dir = tempfile::tempdir().unwrap();
    imported(dir.path());
    let again = demo(&["--dir", dir.path().to_str().unwrap()]).succeeded();
    assert!(again.stdout.contains("found 134 saves from an earlier run"), "{}", again.stdout);
    assert!(again.stdout.contains("is in after 0 kills"), "{}", again.stdout);
}

#[test]
fn a_damaged_native_log_makes_it_fail_by_name() {
    let dir = tempfile::tempdir().unwrap();
    imported(dir.path());
    let segment = dir.path().join("wal/00000000000000000001.seg");
    let whole = fs::read(&segment).unwrap();
    let used = whole.iter().rposition(|&b| b != 0).unwrap();
    let first_frame = raft_wal::format::FIRST_FRAME as usize;
    for offset in [first_frame + 4, first_frame.midpoint(used), used - 100] {
        let mut damaged = whole.clone();
        damaged[offset] ^= 0x10;
        fs::write(&segment, &damaged).unwrap();
        let run = demo(&["--dir", dir.path().to_str().unwrap()]).failed();
        assert!(run.stderr.contains("corrupt"), "offset {offset}: {}", run.stderr);
        assert!(run.stderr.contains("00000000000000000001.seg"), "{}", run.stderr);
    }
    fs::write(&segment, &whole).unwrap();
    demo(&["--dir", dir.path().to_str().unwrap()]).succeeded();
}

#[test]
fn an_intact_log_that_is_not_the_source_makes_it_fail_by_name() {
    let dir = tempfile::tempdir().unwrap();
    imported(dir.path());
    let options = Options::new().segment_bytes(24 << 10);
    let (mut wal, _) = Wal::open(OsVfs, dir.path(), &options).unwrap();
    // The last entry is not committed, so that a log may replace it.
    let last = wal.entry(294).unwrap();
    let other = Entry { data: Bytes::from_static(b"something else"), ..last };
    assert_eq!(other.kind, EntryKind::Normal);
    wal.append(&Batch::of_entries(vec![other])).unwrap();
    wal.close().unwrap();
    let run = demo(&["--dir", dir.path().to_str().unwrap()]).failed();
    assert!(run.stderr.contains("DIFFERENT: entry 294"), "{}", run.stderr);
}

#[test]
fn a_log_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut wal, _) = Wal::open(OsVfs, dir.path(), &Options::new()).unwrap();
    let entry =
        Entry { index: 1, term: 1, kind: EntryKind::Normal, data: Bytes::from_static(b"mine") };
    wal.append(&Batch::of_entries(vec![entry])).unwrap();
    wal.close().unwrap();
    let run = demo(&["--dir", dir.path().to_str().unwrap()]).failed();
    assert!(run.stderr.contains("no position of an import"), "{}", run.stderr);
}

#[test]
fn a_damaged_source_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let wal = dir.path().join("wal");
    crate::common::copy_dir(&small().join("member/wal"), &wal);
    let second = wal.join("0000000000000001-0000000000000055.wal");
    let mut bytes = fs::read(&second).unwrap();
    bytes[4000] ^= 1;
    fs::write(&second, bytes).unwrap();
    let run = demo(&[dir.path().to_str().unwrap()]).failed();
    assert!(run.stderr.contains("source: 0000000000000001-0000000000000055.wal"), "{}", run.stderr);
}

#[test]
fn every_real_etcd_log_at_hand_is_imported_and_equals_its_source() {
    let shared = crate::common::workspace().join("../shared/etcd-data");
    let Ok(dirs) = fs::read_dir(&shared) else {
        eprintln!("skipped: no {}", shared.display());
        return;
    };
    for dir in dirs {
        let dir = dir.unwrap().path();
        let run = demo(&[dir.to_str().unwrap(), "--kills", "5"]).succeeded();
        assert!(run.stdout.contains("is in after 5 kills, and equals its source"), "{dir:?}");
    }
}
