//! Runs `decoder.py`, if the machine has a Python for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::sim::announce;

/// Whether there is a `python3`; says so if there is not.
pub(crate) fn is_there() -> bool {
    let there = Command::new("python3").arg("--version").output().is_ok_and(|o| o.status.success());
    if !there {
        announce("no python3 on this machine: the decoder written from docs/FORMAT.md did not run");
    }
    there
}

/// What the decoder prints of each directory, without the lines that only inform.
pub(crate) fn decode(dirs: &[PathBuf]) -> Vec<Vec<String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/naive/decoder.py");
    let ran = Command::new("python3").arg(script).args(dirs).output().expect("python3 runs");
    assert!(ran.status.success(), "the decoder failed: {}", String::from_utf8_lossy(&ran.stderr));
    let text = String::from_utf8(ran.stdout).expect("the decoder prints ASCII");
    let mut logs: Vec<Vec<String>> = Vec::new();
    for line in text.lines() {
        if line.starts_with("{\"dir\"") {
            logs.push(Vec::new());
        } else if !line.starts_with("{\"info\"") {
            logs.last_mut().expect("a directory's name comes first").push(line.to_owned());
        }
    }
    assert_eq!(logs.len(), dirs.len());
    logs
}
