//! On real files.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use raft_vfs::OsVfs;
use raft_wal::{Batch, Entry, EntryKind, Error, HardState, Options, Wal, plan_repair};

fn options() -> Options {
    Options::new().segment_bytes(64 << 10)
}

fn entry(index: u64) -> Entry {
    let data = format!("entry number {index}").into();
    Entry { index, term: 1, kind: EntryKind::Normal, data }
}

#[test]
fn a_damaged_log_on_real_files_is_repaired_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let (mut wal, _) = Wal::open(OsVfs, &log, &options()).unwrap();
    for index in 1..=20 {
        let hard_state = HardState { term: 1, vote: 1, commit: index - 1 };
        let batch = Batch::of_entries(vec![entry(index)]).with_hard_state(hard_state);
        let ticket = wal.append(&batch).unwrap();
        wal.wait(ticket).unwrap();
    }
    wal.close().unwrap();
    let segment = log.join(format!("wal/{:020}.seg", 1));
    let mut bytes = fs::read(&segment).unwrap();
    let text = b"entry number 12";
    let at = bytes.windows(text.len()).position(|w| w == text).unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    assert!(matches!(Wal::open(OsVfs, &log, &options()), Err(Error::Corrupt(_))));

    let plan = plan_repair(OsVfs, &log, &options()).unwrap();
    assert_eq!(fs::read(&segment).unwrap(), bytes, "a plan changes nothing");
    assert!(!log.join("quarantine").exists());
    let report = plan.execute().unwrap();
    let copy = &report.outline.copies[0];
    assert_eq!(fs::read(&copy.to).unwrap(), bytes);
    assert_eq!(fs::read(&segment).unwrap(), bytes, "the damaged file stays as it is");
    let mode = |p: &std::path::Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&log.join("quarantine")), mode(&copy.to)), (0o700, 0o600));

    let (mut wal, opened) = Wal::open(OsVfs, &log, &options()).unwrap();
    assert!(opened.certain);
    assert_eq!((wal.first_index(), wal.next_index()), (1, 12));
    assert_eq!(wal.hard_state(), HardState { term: 1, vote: 1, commit: 10 });
    let ticket = wal.append(&Batch::of_entries(vec![entry(12)])).unwrap();
    wal.wait(ticket).unwrap();
    wal.close().unwrap();
    let (wal, _) = Wal::open(OsVfs, &log, &options()).unwrap();
    let expected: Vec<_> = (1..=12).map(entry).collect();
    assert_eq!(wal.entries(1, 13, u64::MAX).unwrap(), expected);
}

#[test]
fn a_quarantine_that_is_a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (log, elsewhere) = (dir.path().join("log"), dir.path().join("elsewhere"));
    drop(Wal::open(OsVfs, &log, &options()).unwrap());
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, log.join("quarantine")).unwrap();
    let error = plan_repair(OsVfs, &log, &options()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}
