//! Helpers shared by the tests: reading a log into vectors, and building small ones.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "a module of test binaries")]
#![allow(clippy::disallowed_methods, reason = "tests prepare and damage real files")]

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use etcd_reader::writer::Writer;
use etcd_reader::{
    Entry, EntryKind, Findings, HardState, Marker, Problem, ProblemKind, ReadOptions, Reader,
    Record, SnapFile, Status, Step,
};
use raft_vfs::OsVfs;

/// Everything a log holds.
#[derive(Debug)]
pub struct Everything {
    pub records: Vec<Record>,
    pub snaps: Vec<SnapFile>,
    pub findings: Findings,
}

impl Everything {
    pub fn kinds(&self) -> Vec<ProblemKind> {
        self.findings.problems().iter().map(|p| p.kind).collect()
    }

    pub fn status(&self) -> Status {
        self.findings.status()
    }

    /// The only problem there is.
    #[track_caller]
    pub fn only_problem(&self) -> &Problem {
        assert_eq!(self.findings.problems().len(), 1, "{:#?}", self.findings.problems());
        &self.findings.problems()[0]
    }
}

/// Reads a log without stopping at damage.
pub fn read(path: &Path) -> Everything {
    let mut reader = Reader::open(OsVfs, path, ReadOptions::default()).unwrap();
    let (mut records, mut snaps) = (Vec::new(), Vec::new());
    while let Some(step) = reader.step().unwrap() {
        match step {
            Step::Record(record) => records.push(record),
            Step::SnapFile(snap) => snaps.push(snap),
            Step::Problem(_) => {}
        }
    }
    Everything { records, snaps, findings: reader.findings().clone() }
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

/// The small log that ships with the project.
pub fn small() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/small")
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
            // Not fs::copy: it would carry over that the source is read-only.
            fs::write(&target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// The segments in a wal directory, in order.
pub fn segments(wal: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(wal).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "wal"));
    paths.sort();
    paths
}

pub fn entry(term: u64, index: u64) -> Entry {
    let data = Bytes::from(format!("payload of {term}/{index}"));
    Entry { index, term, kind: EntryKind::Normal, data }
}

pub fn state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term, vote, commit }
}

pub fn marker(term: u64, index: u64) -> Marker {
    Marker { index, term, conf_state: None }
}

/// A log in a directory of its own, written as `build` says.
pub fn log(build: impl FnOnce(&mut Writer<OsVfs>)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(OsVfs, dir.path(), b"metadata").unwrap();
    build(&mut writer);
    dir
}

/// A log of one segment: entries 1 to `n` of term 1, each followed by a hard state.
pub fn plain_log(n: u64) -> tempfile::TempDir {
    log(|w| {
        for index in 1..=n {
            w.entry(&entry(1, index)).unwrap();
            w.hard_state(state(1, 1, index)).unwrap();
        }
    })
}

/// Changes bytes of a file in place.
pub fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}
