//! `wal-dump`, in every way it can be called.

use std::ffi::OsString;

use raft_vfs::SimVfs;
use serde_json::Value;

const FOR_PROGRAMS: [&[&str]; 4] = [
    &["verify", "--format", "json"],
    &["stat", "--format", "json"],
    &["dump", "--format", "json"],
    &["dump", "--effective", "--format", "json"],
];

const FOR_PEOPLE: [&[&str]; 4] = [&["verify"], &["stat"], &["dump"], &["dump", "--effective"]];

/// Asserts that a call ends with a documented exit code; that JSON is valid line by line and ends
/// with its `end` line exactly where there is a verdict; that text for people holds no control
/// characters; and that the verdict is `status`, if there is one. Which calls are made depends on
/// the input: parsing a command line takes longer than reading a small log.
///
/// # Panics
/// If any of that does not hold.
pub(super) fn check(disk: &SimVfs, dir: &str, status: Option<&str>, input: &[u8]) {
    let pick = input.iter().map(|&b| usize::from(b)).sum::<usize>();
    for call in [FOR_PROGRAMS[pick % 4], FOR_PEOPLE[pick / 4 % 4]] {
        let (code, out) = run(disk, call, dir);
        let judged = [0, 2, 3].contains(&code);
        assert!(judged || [1, 4, 5].contains(&code), "{call:?}: exit code {code}");
        // Of several damages it may name one that it cannot get past.
        let refuses = status.is_none_or(|s| s == "corrupt");
        assert!(judged || refuses, "{call:?}: exit code {code}, the library: {status:?}");
        let text = String::from_utf8(out).expect("what is printed is text");
        if call.contains(&"json") {
            json(call, code, &text, status);
        } else {
            let stray = text.chars().find(|c| c.is_control() && *c != '\n');
            assert_eq!(stray, None, "{call:?}: a control character for people");
        }
    }
}

fn run(disk: &SimVfs, call: &[&str], dir: &str) -> (u8, Vec<u8>) {
    let args = ["wal-dump"].iter().chain(call).chain([&dir]).map(OsString::from);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = wal_dump::run_on(disk, args, &mut out, &mut err);
    assert_eq!([1, 4, 5].contains(&code), !err.is_empty(), "{call:?}: a message if it failed");
    (code, out)
}

fn json(call: &[&str], code: u8, text: &str, status: Option<&str>) {
    let parse = |line| serde_json::from_str::<Value>(line);
    let lines: Result<Vec<Value>, _> = text.lines().map(parse).collect();
    let lines = lines.unwrap_or_else(|e| panic!("{call:?}: not JSON: {e}"));
    let ends = lines.iter().filter(|line| line["type"] == "end" || line["type"] == "stat").count();
    assert_eq!(ends, usize::from([0, 2, 3].contains(&code)), "{call:?}, exit code {code}: ends");
    if let Some(last) = lines.last().filter(|_| ends == 1) {
        let said = last["status"].as_str();
        assert!(said.is_some(), "{call:?}: an end without a status");
        assert_eq!(code == 3, said == Some("corrupt"), "{call:?}: exit code {code}, {said:?}");
        assert!(status.is_none() || said == status, "{call:?}: {said:?}, the library {status:?}");
        let problems = last["problems"].as_array().map(Vec::len);
        let problems = problems.or(last["problems"].as_u64().map(|n| n as usize));
        let damaged = said == Some("corrupt");
        assert!(!damaged || problems > Some(0), "{call:?}: corrupt, and no problem is named");
    }
}
