//! Runs the real program and reads what it prints.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "a module of test binaries")]
#![allow(clippy::disallowed_methods, reason = "tests prepare and damage real files")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The program, with arguments.
pub fn wal_dump(args: &[&str], path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wal-dump"));
    command.args(args).arg(path);
    command
}

/// Runs it to its end: exit code and output.
pub fn run(args: &[&str], path: &Path) -> (i32, Output) {
    let output = wal_dump(args, path).output().unwrap();
    (output.status.code().unwrap(), output)
}

/// The JSON lines that it prints, and the exit code.
pub fn json(args: &[&str], path: &Path) -> (i32, Vec<Value>) {
    let args = [args, &["--format", "json"]].concat();
    let (code, output) = run(&args, path);
    let text = String::from_utf8(output.stdout).unwrap();
    (code, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// The lines of a kind.
pub fn of_type<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

pub fn bytes(base64: &Value) -> Vec<u8> {
    STANDARD.decode(base64.as_str().unwrap()).unwrap()
}

/// The small etcd directory that ships with the project.
pub fn small() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../etcd-reader/tests/fixtures/small")
}

/// The directories of real etcd data beside the workspace; none if they are not there.
pub fn shared_dirs() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/etcd-data");
    let Ok(entries) = fs::read_dir(&root) else {
        println!("skipped: no {}", root.display());
        return Vec::new();
    };
    let mut dirs: Vec<_> = entries.map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    dirs.sort();
    dirs
}

/// Copies a directory with all that is in it.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::write(&target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// A copy of a directory, to be damaged.
pub fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir, copy.path());
    copy
}

/// The files in `dir` whose names end in `ending`, in order.
pub fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.to_str().unwrap().ends_with(ending));
    paths.sort();
    paths
}

/// Changes bytes of a file in place.
pub fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}
