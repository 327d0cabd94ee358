//! raft-wal directories, through the program itself.

#![allow(clippy::disallowed_methods, reason = "tests prepare and damage real files")]

mod common;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use common::{bytes, edit, files, json, of_type, run};
use raft_vfs::OsVfs;
use raft_wal::{Batch, Entry, EntryKind, HardState, Options, SnapshotMark, Wal};
use serde_json::json;

fn options() -> Options {
    Options::new().segment_bytes(64 * 1024)
}

fn entry(term: u64, index: u64, size: usize) -> Entry {
    let data = Bytes::from(format!("{term}/{index} ").repeat(size));
    Entry { index, term, kind: EntryKind::Normal, data }
}

fn save(wal: &mut Wal<OsVfs>, batch: &Batch) {
    let ticket = wal.append(batch).unwrap();
    wal.wait(ticket).unwrap();
}

fn state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term, vote, commit }
}

/// A log of several segments and two lifetimes: overwritten suffix, marker, blob, compaction.
/// The second lifetime is not closed.
fn make(dir: &Path) {
    let (mut wal, _) = Wal::open(OsVfs, dir, &options()).unwrap();
    let metadata = Some(Bytes::from_static(b"node 1"));
    save(&mut wal, &Batch { metadata, ..Batch::default() });
    let blobs = vec![(Bytes::from_static(b"vote"), Bytes::from_static(b"\x01\x02"))];
    save(&mut wal, &Batch { blobs, ..Batch::default() });
    for first in (1..=100).step_by(5) {
        let entries = (first..first + 5).map(|i| entry(1, i, 400)).collect();
        save(&mut wal, &Batch::of_entries(entries).with_hard_state(state(1, 7, first)));
    }
    wal.close().unwrap();

    let (mut wal, _) = Wal::open(OsVfs, dir, &options()).unwrap();
    let entries = (98..=110).map(|i| entry(2, i, 400)).collect();
    save(&mut wal, &Batch::of_entries(entries).with_hard_state(state(2, 8, 105)));
    // The conf state as protobuf: voters 7 and 8, no auto leave.
    let conf_state = Bytes::from_static(&[0x08, 7, 0x08, 8, 0x28, 0]);
    let mark = SnapshotMark { index: 104, term: 2, conf_state, ..SnapshotMark::default() };
    save(&mut wal, &Batch { snapshot: Some(mark), ..Batch::default() });
    save(&mut wal, &Batch { compact: Some(3), ..Batch::default() });
    save(&mut wal, &Batch { truncate: Some(110), ..Batch::default() });
}

fn indexes(lines: &[serde_json::Value]) -> Vec<(u64, u64)> {
    let number = |v: &serde_json::Value| v.as_u64().unwrap();
    of_type(lines, "entry").iter().map(|e| (number(&e["term"]), number(&e["index"]))).collect()
}

#[test]
fn a_dump_shows_every_record_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let (code, lines) = json(&["dump"], dir.path());
    let end = lines.last().unwrap();
    assert_eq!((code, &end["status"]), (0, &json!("intact")), "{end}");
    assert_eq!(end["records"], lines.len() - 1);
    assert_eq!((&end["first_index"], &end["last_index"]), (&json!(3), &json!(109)));

    let segments = files(&dir.path().join("wal"), ".seg");
    let names: Vec<_> = of_type(&lines, "segment").iter().map(|s| s["name"].clone()).collect();
    let there: Vec<_> = segments.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
    let begun = &there[..names.len()];
    assert_eq!(names, begun);
    assert!(names.len() >= 3);

    // Every entry that was ever written, in the order of writing; a new segment may repeat some.
    let all = indexes(&lines);
    for wanted in (1..=100).map(|i| (1, i)).chain((98..=110).map(|i| (2, i))) {
        assert!(all.contains(&wanted), "{wanted:?}");
    }
    for line in of_type(&lines, "entry") {
        let (term, index) = (line["term"].as_u64().unwrap(), line["index"].as_u64().unwrap());
        assert_eq!(bytes(&line["data"]), entry(term, index, 400).data);
        assert_eq!(line["data_len"], bytes(&line["data"]).len());
        let name = line["segment"].as_str().unwrap();
        assert!(there.contains(&name));
        assert!(line["offset"].as_u64().unwrap() >= 12288);
    }
    assert_eq!(bytes(&of_type(&lines, "metadata")[0]["data"]), b"node 1");
    let blob = of_type(&lines, "blob")[0];
    assert_eq!((blob["key"].as_str(), bytes(&blob["value"])), (Some("vote"), vec![1, 2]));
    assert_eq!(of_type(&lines, "truncate").last().unwrap()["from"], 110);
    let compact = of_type(&lines, "compact");
    assert!(compact.iter().any(|c| c["index"] == 2 && c["term"] == 1), "{compact:?}");
    let snapshot = of_type(&lines, "snapshot")[0];
    assert_eq!(snapshot["conf_state"]["voters"], json!([7, 8]));
    assert_eq!(snapshot["conf_state"]["learners"], json!([]));
}

#[test]
fn an_effective_dump_is_what_recovery_hands_to_raft() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let (code, lines) = json(&["dump", "--effective"], dir.path());
    assert_eq!(code, 0);
    let expected: Vec<_> = (3..=97).map(|i| (1, i)).chain((98..=109).map(|i| (2, i))).collect();
    assert_eq!(indexes(&lines), expected);
    let state = of_type(&lines, "hard_state");
    assert_eq!(state, [&json!({ "type": "hard_state", "term": 2, "vote": 8, "commit": 105 })]);
    assert_eq!(of_type(&lines, "snapshot").len(), 1);
    assert_eq!(of_type(&lines, "blob").len(), 1);
    assert_eq!(lines.last().unwrap()["entries"], expected.len());
}

#[test]
fn an_intact_log_verifies_with_0_also_while_it_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    assert_eq!(json(&["verify"], dir.path()).0, 0);
    let (mut wal, _) = Wal::open(OsVfs, dir.path(), &options()).unwrap();
    save(&mut wal, &Batch::of_entries(vec![entry(3, 110, 1)]));
    for command in [&["verify"][..], &["dump"], &["dump", "--effective"], &["stat"]] {
        assert_eq!(run(command, dir.path()).0, 0, "{command:?}");
    }
    wal.close().unwrap();
}

#[test]
fn damage_of_what_was_durable_ends_with_3_and_names_its_place() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let first = files(&dir.path().join("wal"), ".seg")[0].clone();
    edit(&first, |bytes| bytes[20_000] ^= 1);
    for command in [&["dump"][..], &["verify"], &["stat"], &["dump", "--effective"]] {
        let (code, lines) = json(command, dir.path());
        assert_eq!(code, 3, "{command:?}");
        let Some(end) = lines.last().filter(|l| l["type"] == "end") else { continue };
        assert_eq!(end["status"], "corrupt");
        let problem = &end["problems"][0];
        assert_eq!(problem["segment"], first.file_name().unwrap().to_str().unwrap());
        let at = problem["offset"].as_u64().unwrap();
        assert!((12288..=20_000).contains(&at), "{problem}");
        assert!(!problem["message"].as_str().unwrap().is_empty());
    }
    // What is readable behind the damage is shown, marked as not part of the log.
    let (_, lines) = json(&["dump"], dir.path());
    assert!(of_type(&lines, "dead").iter().any(|d| d["by"].is_null()));
    assert!(indexes(&lines).contains(&(2, 110)));
}

#[test]
fn a_torn_last_batch_ends_verify_with_2_and_dump_with_0() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    // The last batch, whose durability no later one promises.
    let (_, lines) = json(&["dump"], dir.path());
    let last = of_type(&lines, "truncate").pop().unwrap();
    let path = dir.path().join("wal").join(last["segment"].as_str().unwrap());
    let at = last["offset"].as_u64().unwrap() as usize;
    edit(&path, |bytes| bytes[at] ^= 1);
    let (code, verdict) = json(&["verify"], dir.path());
    assert_eq!((code, &verdict[0]["status"]), (2, &json!("torn_tail")), "{verdict:?}");
    assert_eq!(verdict[0]["problems"][0]["kind"], "torn_tail");
    assert_eq!(run(&["dump"], dir.path()).0, 0);
    let (_, lines) = json(&["dump", "--effective"], dir.path());
    assert_eq!(indexes(&lines).last(), Some(&(2, 110)));
}

#[test]
fn a_torn_first_batch_is_torn_to_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let (mut wal, _) = Wal::open(OsVfs, dir.path(), &options()).unwrap();
    save(&mut wal, &Batch::of_entries(vec![entry(1, 1, 10)]));
    drop(wal);
    edit(&files(&dir.path().join("wal"), "1.seg")[0], |bytes| bytes[12288 + 60] ^= 1);
    let (code, verdict) = json(&["verify"], dir.path());
    assert_eq!((code, &verdict[0]["status"]), (2, &json!("torn_tail")), "{verdict:?}");
    for command in [&["dump"][..], &["dump", "--effective"], &["stat"]] {
        let (code, lines) = json(command, dir.path());
        assert_eq!((code, &lines.last().unwrap()["status"]), (0, &json!("torn_tail")), "{lines:?}");
    }
}

#[test]
fn one_segment_or_the_wal_directory_is_enough_to_look_at() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let (_, whole) = json(&["dump"], dir.path());
    let wal = dir.path().join("wal");
    assert_eq!(json(&["dump"], &wal).1, whole);

    let mut apart = Vec::new();
    for path in files(&wal, ".seg") {
        let (code, mut lines) = json(&["dump"], &path);
        assert_eq!(code, 0);
        lines.pop();
        apart.extend(lines);
    }
    let without_dead = |lines: &[serde_json::Value]| -> Vec<_> {
        lines.iter().filter(|l| l["type"] != "dead" && l["type"] != "end").cloned().collect()
    };
    assert_eq!(without_dead(&apart), without_dead(&whole));
    assert_eq!(run(&["dump", "--effective"], &files(&wal, ".seg")[0]).0, 1);
}

#[test]
fn a_log_that_lost_its_identity_is_corrupt_and_still_shown() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    fs::remove_file(dir.path().join("IDENT")).unwrap();
    let (code, lines) = json(&["dump"], dir.path());
    assert_eq!(code, 3);
    assert_eq!(lines.last().unwrap()["problems"][0]["kind"], "ident_missing");
    assert!(!of_type(&lines, "entry").is_empty());
}

#[test]
fn stat_counts_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let (_, lines) = json(&["dump"], dir.path());
    let (code, stat) = json(&["stat"], dir.path());
    assert_eq!(code, 0);
    assert_eq!(stat[0]["entries"], of_type(&lines, "entry").len());
    assert_eq!(stat[0]["format"], "raft-wal");
    let (code, output) = run(&["stat"], dir.path());
    assert_eq!(code, 0);
    assert!(String::from_utf8(output.stdout).unwrap().contains(".seg"));
}
