//! Directories written by etcd itself, record by record against what another reader found in
//! them. Skipped where they are not at hand.

#![allow(clippy::disallowed_methods, reason = "tests prepare real files")]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use common::{Everything, copy_dir, read, segments, shared_dirs};
use etcd_reader::{ConfState, NoteKind, ReadOptions, Record, RecordKind, Replay, SnapFile, Status};
use raft_vfs::OsVfs;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn sha256_8(data: &[u8]) -> String {
    hex(&Sha256::digest(data)[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        write!(text, "{b:02x}").unwrap();
        text
    })
}

/// The conf state as the other reader prints it: without its empty lists.
fn conf_state(conf: &ConfState) -> Value {
    let mut value = json!({ "auto_leave": conf.auto_leave });
    for (name, list) in [
        ("voters", &conf.voters),
        ("learners", &conf.learners),
        ("voters_outgoing", &conf.voters_outgoing),
        ("learners_next", &conf.learners_next),
    ] {
        if !list.is_empty() {
            value[name] = json!(list);
        }
    }
    value
}

fn as_expected(record: &Record, n: usize) -> Value {
    let mut value = match &record.kind {
        RecordKind::Crc(_) => json!({ "type": "crc" }),
        RecordKind::Metadata(data) => json!({ "type": "metadata", "hex": hex(data) }),
        RecordKind::HardState(s) => json!({
            "type": "state", "term": s.term, "vote": format!("{:x}", s.vote), "commit": s.commit,
        }),
        RecordKind::Snapshot(m) => {
            let mut value = json!({ "type": "snapshot", "term": m.term, "index": m.index });
            if let Some(conf) = &m.conf_state {
                value["conf_state"] = conf_state(conf);
            }
            value
        }
        RecordKind::Entry(e) => json!({
            "type": "entry", "term": e.term, "index": e.index,
            "entry_type": match e.kind.as_str() {
                "normal" => "EntryNormal",
                "conf_change" => "EntryConfChange",
                _ => "EntryConfChangeV2",
            },
            "data_len": e.data.len(), "data_sha256_8": sha256_8(&e.data),
        }),
    };
    value["crc"] = json!(record.crc);
    value["n"] = json!(n);
    value
}

fn snap_as_expected(snap: &SnapFile) -> Value {
    json!({
        "type": "snapfile", "name": snap.name, "term": snap.term, "index": snap.index,
        "conf_state": conf_state(snap.conf_state.as_ref().unwrap()),
        "data_len": snap.data.len(), "data_sha256_8": sha256_8(&snap.data),
    })
}

#[track_caller]
fn check(dir: &Path, everything: &Everything) {
    assert_eq!(everything.status(), Status::Intact, "{} {:#?}", dir.display(), everything.findings);
    let text = fs::read_to_string(dir.join("expected.jsonl")).unwrap();
    let expected: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|v: &Value| v["type"] != "end")
        .collect();
    let records = everything.records.iter().zip(1..).map(|(r, n)| as_expected(r, n));
    let found: Vec<Value> = records.chain(everything.snaps.iter().map(snap_as_expected)).collect();
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{}", dir.display());
    }
    assert_eq!(found.len(), expected.len(), "{}", dir.display());
}

#[test]
fn every_record_of_real_logs_is_read_as_another_reader_reads_it() {
    for dir in shared_dirs() {
        check(&dir, &read(&dir));
    }
}

#[test]
fn the_zero_tail_of_a_running_server_changes_nothing() {
    for dir in shared_dirs() {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&dir, copy.path());
        let last = segments(&copy.path().join("wal")).pop().unwrap();
        fs::OpenOptions::new().write(true).open(&last).unwrap().set_len(64_000_000).unwrap();
        check(&dir, &read(copy.path()));
    }
}

#[test]
fn the_layout_of_a_data_directory_changes_nothing() {
    for dir in shared_dirs() {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&dir, &copy.path().join("member"));
        check(&dir, &read(copy.path()));
    }
}

#[test]
fn a_wal_directory_or_a_file_of_its_own_is_read_as_part_of_the_whole() {
    for dir in shared_dirs() {
        let whole = read(&dir);
        let wal = read(&dir.join("wal"));
        assert_eq!(wal.status(), Status::Intact, "{:#?}", wal.findings);
        assert_eq!(wal.records, whole.records);
        assert_eq!(wal.snaps, []);

        let mut apart = Vec::new();
        for path in segments(&dir.join("wal")) {
            let one = read(&path);
            assert_eq!(one.status(), Status::Intact, "{} {:#?}", path.display(), one.findings);
            apart.extend(one.records.into_iter().map(|r| r.kind));
        }
        assert_eq!(apart, whole.records.into_iter().map(|r| r.kind).collect::<Vec<_>>());

        for snap in &whole.snaps {
            let one = read(&dir.join("snap").join(&snap.name));
            assert_eq!(
                (one.status(), &one.snaps[..]),
                (Status::Intact, std::slice::from_ref(snap))
            );
        }
    }
}

#[test]
fn the_replayed_log_is_that_of_a_plain_map() {
    for dir in shared_dirs() {
        let everything = read(&dir);
        let mut map = std::collections::BTreeMap::new();
        for record in &everything.records {
            if let RecordKind::Entry(entry) = &record.kind {
                map.retain(|&index, _| index < entry.index);
                map.insert(entry.index, entry.clone());
            }
        }
        let mut replay = Replay::read(OsVfs, &dir, ReadOptions::default()).unwrap();
        let refs = replay.entries().to_vec();
        let fetched: Vec<_> = refs.iter().map(|r| replay.fetch(r).unwrap()).collect();
        assert_eq!(fetched, map.into_values().collect::<Vec<_>>());
        // All of these directories have a snapshot file to start from: the newest one.
        assert_eq!(replay.snap(), everything.snaps.last());
    }
}

#[test]
fn two_votes_in_a_term_are_noted_but_no_damage() {
    for dir in shared_dirs().iter().filter(|d| d.ends_with("wal-3.5-six-segments")) {
        let notes = read(dir).findings;
        let votes = notes.notes().iter().filter(|n| n.kind == NoteKind::VoteChanged).count();
        assert!(votes > 1, "{notes:#?}");
    }
}
