//! Logs that etcd leaves behind in less ordinary lives are imported right, too.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use etcd_reader::writer::Writer;
use etcd_reader::{ConfState, Entry, EntryKind, HardState, Marker};
use raft_vfs::OsVfs;

use crate::common::{Run, demo, small};

fn entry(index: u64, term: u64) -> Entry {
    let data = Bytes::from(format!("{term}/{index}"));
    Entry { index, term, kind: EntryKind::Normal, data }
}

fn state(term: u64, commit: u64) -> HardState {
    HardState { term, vote: 1, commit }
}

fn marker(index: u64, term: u64) -> Marker {
    let conf_state = Some(ConfState { voters: vec![1, 2, 3], ..ConfState::default() });
    Marker { index, term, conf_state }
}

/// Writes a log with `write` and imports it under a few kills.
fn import(write: impl FnOnce(&mut Writer<OsVfs>)) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let wal = dir.path().join("wal");
    fs::create_dir(&wal).unwrap();
    let mut writer = Writer::create(OsVfs, &wal, b"metadata").unwrap();
    write(&mut writer);
    drop(writer);
    import_dir(dir.path())
}

fn import_dir(dir: &Path) -> Run {
    demo(&[dir.to_str().unwrap(), "--kills", "3", "--seed", "5"]).succeeded()
}

#[track_caller]
fn equal(run: &Run, what: &str) {
    let line = format!("equals its source: {what}");
    assert!(run.stdout.contains(&line), "expected {line}\n{}", run.stdout);
}

#[test]
fn a_log_whose_first_segments_were_removed_begins_where_they_ended() {
    let dir = tempfile::tempdir().unwrap();
    let wal = dir.path().join("wal");
    crate::common::copy_dir(&small().join("member/wal"), &wal);
    fs::remove_file(wal.join("0000000000000000-0000000000000000.wal")).unwrap();
    equal(&import_dir(dir.path()), "210 entries 85..=294");
    fs::remove_file(wal.join("0000000000000001-0000000000000055.wal")).unwrap();
    equal(&import_dir(dir.path()), "138 entries 157..=294");
}

#[test]
fn a_received_snapshot_replaces_the_log_whichever_way_etcd_wrote_it() {
    // Since 3.5: the marker, then the hard state.
    let run = import(|w| {
        (1..=4).for_each(|i| w.entry(&entry(i, 1)).unwrap());
        w.hard_state(state(1, 2)).unwrap();
        w.marker(&marker(10, 3)).unwrap();
        w.hard_state(state(3, 10)).unwrap();
        w.entry(&entry(11, 3)).unwrap();
        w.hard_state(state(3, 11)).unwrap();
    });
    equal(&run, "1 entries 11..=11, hard state term 3 vote 1 commit 11, marker 10 (term 3)");
    // Before: the other way round.
    let run = import(|w| {
        (1..=4).for_each(|i| w.entry(&entry(i, 1)).unwrap());
        w.hard_state(state(1, 2)).unwrap();
        w.hard_state(state(3, 10)).unwrap();
        w.marker(&marker(10, 3)).unwrap();
    });
    equal(&run, "no entries, hard state term 3 vote 1 commit 10, marker 10 (term 3)");
}

#[test]
fn a_log_that_was_overwritten_from_its_first_entry_on_is_imported_as_it_ended() {
    let run = import(|w| {
        w.hard_state(state(1, 0)).unwrap();
        (1..=9).for_each(|i| w.entry(&entry(i, 1)).unwrap());
        w.hard_state(state(1, 0)).unwrap();
        (1..=3).for_each(|i| w.entry(&entry(i, 2)).unwrap());
        (2..=5).for_each(|i| w.entry(&entry(i, 4)).unwrap());
        w.hard_state(state(4, 5)).unwrap();
    });
    equal(&run, "5 entries 1..=5, hard state term 4 vote 1 commit 5, marker 0 (term 0)");
}

#[test]
fn a_log_that_ends_with_entries_and_no_hard_state_keeps_them() {
    let run = import(|w| {
        w.hard_state(state(1, 0)).unwrap();
        (1..=3).for_each(|i| w.entry(&entry(i, 1)).unwrap());
    });
    equal(&run, "3 entries 1..=3, hard state term 1 vote 1 commit 0");
}

#[test]
fn a_log_without_entries_is_imported() {
    equal(&import(|_| {}), "no entries, hard state term 0 vote 0 commit 0, marker 0 (term 0)");
}
