//! etcd directories, through the program itself.

#![allow(clippy::disallowed_methods, reason = "tests prepare and damage real files")]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use common::{bytes, copy_dir, copy_of, edit, files, json, of_type, run, shared_dirs, small};
use etcd_reader::writer::Writer;
use etcd_reader::{Entry, EntryKind};
use raft_vfs::OsVfs;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        write!(text, "{b:02x}").unwrap();
        text
    })
}

fn sha256_8(data: &[u8]) -> String {
    hex(&Sha256::digest(data)[..8])
}

/// A line of the other reader's output, as `wal-dump` prints it; `None` for its last.
fn translate(mut line: Value) -> Option<Value> {
    let object = line.as_object_mut().unwrap();
    object.remove("n");
    let crc = object.remove("crc");
    let kind = object["type"].as_str().unwrap().to_owned();
    match kind.as_str() {
        "end" => return None,
        "crc" => {
            object.insert("crc".into(), crc.unwrap());
        }
        "state" => {
            object["type"] = "hard_state".into();
            let vote = u64::from_str_radix(object["vote"].as_str().unwrap(), 16).unwrap();
            object["vote"] = vote.into();
        }
        "entry" => {
            let kind = match object["entry_type"].as_str().unwrap() {
                "EntryNormal" => "normal",
                "EntryConfChange" => "conf_change",
                "EntryConfChangeV2" => "conf_change_v2",
                other => panic!("{other}"),
            };
            object["entry_type"] = kind.into();
        }
        "snapfile" => object["type"] = "snapshot_file".into(),
        _ => {}
    }
    if ["snapshot", "snapfile"].contains(&kind.as_str()) {
        let conf = object.entry("conf_state").or_insert(Value::Null);
        if let Some(conf) = conf.as_object_mut() {
            for list in ["voters", "learners", "voters_outgoing", "learners_next"] {
                conf.entry(list).or_insert(json!([]));
            }
        }
    }
    Some(line)
}

/// A line of ours without its place, and with hashes where the other reader has them.
fn comparable(mut line: Value) -> Value {
    let object = line.as_object_mut().unwrap();
    let is_record = object["type"] != "snapshot_file";
    assert_eq!(object.remove("segment").is_some_and(|s| s.is_string()), is_record);
    assert_eq!(object.remove("offset").is_some_and(|o| o.is_u64()), is_record);
    match object["type"].as_str().unwrap() {
        "metadata" => {
            let data = bytes(&object.remove("data").unwrap());
            object.insert("hex".into(), hex(&data).into());
        }
        "entry" => {
            let data = bytes(&object.remove("data").unwrap());
            assert_eq!(object["data_len"], data.len());
            object.insert("data_sha256_8".into(), sha256_8(&data).into());
        }
        "snapshot_file" => {
            let hash = object.remove("data_sha256").unwrap();
            object.insert("data_sha256_8".into(), hash.as_str().unwrap()[..16].into());
        }
        _ => {}
    }
    line
}

/// Dumps `path` and compares it with what another reader found in `dir`.
fn check(dir: &Path, path: &Path) {
    let text = fs::read_to_string(dir.join("expected.jsonl")).unwrap();
    let expected = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let expected: Vec<Value> = expected.filter_map(translate).collect();
    let (code, mut lines) = json(&["dump"], path);
    let end = lines.pop().unwrap();
    let entries = of_type(&lines, "entry").len();
    assert_eq!(code, 0, "{}", dir.display());
    assert_eq!(end["type"], "end");
    assert_eq!(end["status"], "intact", "{end}");
    assert_eq!(end["records"], lines.len());
    assert_eq!(end["entries"], entries);
    assert_eq!(end["problems"], json!([]));
    assert_eq!(lines.len(), expected.len(), "{}", dir.display());
    for (found, expected) in lines.into_iter().zip(expected) {
        assert_eq!(comparable(found), expected, "{}", dir.display());
    }
}

#[test]
fn a_dump_of_real_logs_is_what_another_reader_finds() {
    for dir in shared_dirs() {
        check(&dir, &dir);
    }
}

#[test]
fn a_dump_of_a_running_servers_directory_is_the_same() {
    for dir in shared_dirs() {
        let copy = copy_of(&dir);
        let last = files(&copy.path().join("wal"), ".wal").pop().unwrap();
        fs::OpenOptions::new().write(true).open(&last).unwrap().set_len(64_000_000).unwrap();
        check(&dir, copy.path());
    }
}

#[test]
fn a_dump_of_a_data_directory_is_the_same() {
    for dir in shared_dirs() {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&dir, &copy.path().join("member"));
        check(&dir, copy.path());
    }
}

#[test]
fn an_effective_dump_is_the_log_without_what_was_overwritten() {
    for dir in shared_dirs().into_iter().chain([small()]) {
        let (_, all) = json(&["dump"], &dir);
        let mut map = BTreeMap::new();
        for entry in of_type(&all, "entry") {
            let index = entry["index"].as_u64().unwrap();
            map.retain(|&i, _| i < index);
            map.insert(index, entry.clone());
        }
        let (code, lines) = json(&["dump", "--effective"], &dir);
        assert_eq!(code, 0);
        let entries: Vec<_> = of_type(&lines, "entry").into_iter().cloned().collect();
        assert_eq!(entries, map.into_values().collect::<Vec<_>>());
        let states = of_type(&lines, "hard_state");
        assert_eq!(states, [*of_type(&all, "hard_state").last().unwrap()]);
        let files = of_type(&lines, "snapshot_file");
        assert_eq!(files, [*of_type(&all, "snapshot_file").last().unwrap()]);
        let end = lines.last().unwrap();
        assert_eq!(end["entries"], entries.len());
        assert_eq!(end["records"], lines.len() - 1);
    }
}

#[test]
fn a_segment_or_a_snapshot_file_of_its_own_is_shown() {
    let member = small().join("member");
    let (_, whole) = json(&["dump"], &small());
    let mut apart = Vec::new();
    for path in files(&member.join("wal"), ".wal") {
        let (code, mut lines) = json(&["dump"], &path);
        assert_eq!(code, 0);
        lines.pop();
        apart.extend(lines);
    }
    for path in files(&member.join("snap"), ".snap") {
        let (code, mut lines) = json(&["dump"], &path);
        assert_eq!(code, 0);
        lines.pop();
        apart.extend(lines);
    }
    assert_eq!(apart, whole[..whole.len() - 1]);
}

#[test]
fn damage_ends_dump_and_verify_with_3_and_is_named_in_both() {
    let copy = copy_of(&small());
    let second = files(&copy.path().join("member/wal"), ".wal")[1].clone();
    edit(&second, |bytes| bytes[4000..4008].fill(0xff));
    for command in ["dump", "verify"] {
        let (code, lines) = json(&[command], copy.path());
        assert_eq!(code, 3, "{command}");
        let end = lines.last().unwrap();
        assert_eq!(end["status"], "corrupt");
        let problem = &end["problems"][0];
        assert_eq!(problem["segment"], second.file_name().unwrap().to_str().unwrap());
        assert!(problem["offset"].as_u64().unwrap() <= 4000);
        for field in ["kind", "expected", "found", "message"] {
            assert!(!problem[field].as_str().unwrap().is_empty(), "{field}");
        }
        let (code, output) = run(&[command], copy.path());
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(code, 3);
        assert_eq!(text.matches("PROBLEM").count(), end["problems"].as_array().unwrap().len());
        assert!(text.lines().last().unwrap().starts_with("corrupt: "));
    }
    assert_eq!(run(&["dump", "--effective"], copy.path()).0, 3);
    assert_eq!(run(&["stat"], copy.path()).0, 3);
}

#[test]
fn a_torn_tail_ends_verify_with_2_and_dump_with_0() {
    let copy = copy_of(&small());
    let last = files(&copy.path().join("member/wal"), ".wal").pop().unwrap();
    edit(&last, |bytes| bytes.truncate(bytes.len() - 8));
    let (code, lines) = json(&["verify"], copy.path());
    assert_eq!((code, &lines[0]["status"]), (2, &json!("torn_tail")));
    assert_eq!(lines[0]["problems"][0]["kind"], "torn_tail");
    let (code, lines) = json(&["dump"], copy.path());
    assert_eq!((code, &lines.last().unwrap()["status"]), (0, &json!("torn_tail")));
}

#[test]
fn stat_counts_what_is_there() {
    let (code, lines) = json(&["stat"], &small());
    let (_, all) = json(&["dump"], &small());
    assert_eq!((code, lines.len()), (0, 1));
    let stat = &lines[0];
    let entries = of_type(&all, "entry");
    assert_eq!(stat["kinds"]["entry"], entries.len());
    assert_eq!(stat["kinds"]["hard_state"], of_type(&all, "hard_state").len());
    let payload: u64 = entries.iter().map(|e| e["data_len"].as_u64().unwrap()).sum();
    assert_eq!(stat["payload_bytes"], payload);
    let first = entries[0]["index"].as_u64().unwrap();
    let last = entries.last().unwrap()["index"].as_u64().unwrap();
    let overwritten = entries.len() as u64 - (last - first + 1);
    assert_eq!(stat["overwritten"], overwritten);
    assert!(overwritten > 0);
    for segment in stat["segments"].as_array().unwrap() {
        assert_eq!(segment["bytes"], segment["used"], "no gaps in a segment: {segment}");
    }
    let sizes = stat["payload_sizes"].as_array().unwrap();
    let sum: u64 = sizes.iter().map(|s| s["entries"].as_u64().unwrap()).sum();
    assert_eq!(sum, entries.len() as u64);
}

#[test]
fn stat_counts_entries_that_go_from_end_to_end_of_the_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(OsVfs, dir.path(), b"").unwrap();
    for index in [1, u64::MAX, 1, u64::MAX, 0] {
        let data = ::bytes::Bytes::new();
        writer.entry(&Entry { index, term: 1, kind: EntryKind::Normal, data }).unwrap();
    }
    let (code, lines) = json(&["stat"], dir.path());
    assert_eq!((code, &lines[0]["overwritten"]), (3, &json!(u64::MAX)), "{lines:?}");
}

#[test]
fn nothing_in_a_log_reaches_the_terminal_unescaped() {
    let dir = tempfile::tempdir().unwrap();
    let name = "\u{1b}[31mred\n.txt";
    copy_dir(&small(), dir.path());
    fs::write(dir.path().join("member/wal").join(name), b"").unwrap();
    for command in ["dump", "verify", "stat"] {
        let (code, output) = run(&[command], dir.path());
        assert_eq!(code, 0);
        let odd = |b: &u8| (b.is_ascii_control() && *b != b'\n') || !b.is_ascii();
        assert_eq!(output.stdout.iter().find(|b| odd(b)), None, "{command}");
        assert_eq!(command == "verify", output.stdout.windows(3).any(|w| w == b"red"));
    }
}
