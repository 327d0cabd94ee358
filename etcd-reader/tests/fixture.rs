//! The small data directory that ships with the project, and how it came to be.
//!
//! It is what an etcd member of a three-node cluster could have left behind: membership changes,
//! elections, a suffix overwritten by a new leader, a joint configuration, own snapshots with
//! their markers, and closed segments. `ETCD_FIXTURE_REWRITE=1` writes it anew.

#![allow(clippy::disallowed_methods, reason = "the fixture is made of real files")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use common::{read, small};
use etcd_reader::writer::{Writer, write_snap};
use etcd_reader::{
    ConfState, Effect, Entry, EntryKind, Marker, NoteKind, ReadOptions, RecordKind, Replay, Status,
};
use raft_vfs::OsVfs;

const NODES: [u64; 3] = [0x8e9e_05c5_2164_694d, 0x91bc_3c39_8fb3_c146, 0xfd42_2379_fda5_0e48];
const LEARNER: u64 = 0xa1d3_0c2f_77e6_41b0;

/// Appends one protobuf field: a number, or bytes.
fn number(message: &mut Vec<u8>, field: u32, value: u64) {
    prost::encoding::uint64::encode(field, &value, message);
}

fn bytes(message: &mut Vec<u8>, field: u32, value: &[u8]) {
    prost::encoding::bytes::encode(field, &value.to_vec(), message);
}

/// `InternalRaftRequest` with a put.
fn put(id: u64, key: &str, value: &[u8]) -> Bytes {
    let (mut header, mut put, mut request) = (Vec::new(), Vec::new(), Vec::new());
    number(&mut header, 1, id);
    bytes(&mut put, 1, key.as_bytes());
    bytes(&mut put, 2, value);
    bytes(&mut request, 100, &header);
    bytes(&mut request, 4, &put);
    request.into()
}

/// `ConfChange`: 0 adds a voter, 3 a learner.
fn conf_change(id: u64, kind: u64, node: u64) -> Bytes {
    let mut message = Vec::new();
    number(&mut message, 1, id);
    number(&mut message, 2, kind);
    number(&mut message, 3, node);
    bytes(&mut message, 4, format!("{{\"id\":{node},\"peerURLs\":[]}}").as_bytes());
    message.into()
}

/// `ConfChangeV2` that turns the learner into a voter in place of the third node.
fn swap() -> Bytes {
    let mut message = Vec::new();
    number(&mut message, 1, 1);
    for (kind, node) in [(0, LEARNER), (1, NODES[2])] {
        let mut single = Vec::new();
        number(&mut single, 1, kind);
        number(&mut single, 2, node);
        bytes(&mut message, 2, &single);
    }
    message.into()
}

/// A node that writes its log as etcd does.
struct Node {
    writer: Writer<OsVfs>,
    snap: PathBuf,
    term: u64,
    vote: u64,
    last: u64,
    commit: u64,
    /// State of the generator of sizes and values.
    seed: u64,
}

impl Node {
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.seed >> 33
    }

    fn append(&mut self, kind: EntryKind, data: Bytes) {
        self.last += 1;
        let entry = Entry { index: self.last, term: self.term, kind, data };
        self.writer.entry(&entry).unwrap();
    }

    fn state(&mut self) {
        let state = common::state(self.term, self.vote, self.commit);
        self.writer.hard_state(state).unwrap();
    }

    /// A new term: vote, then the leader's empty entry.
    fn elect(&mut self, vote: u64) {
        self.term += 1;
        self.vote = vote;
        self.state();
        self.append(EntryKind::Normal, Bytes::new());
        self.state();
    }

    /// Writes `n` puts in batches of one to four, each committed with the next batch.
    fn puts(&mut self, n: u64) {
        let mut left = n;
        while left > 0 {
            let batch = (1 + self.random() % 4).min(left);
            let committed = self.last;
            for _ in 0..batch {
                let size = self.random() % 90;
                let value: Vec<u8> = (0..size).map(|_| self.random() as u8).collect();
                let key = format!("key-{}", self.random() % 50);
                let request = put(self.last + 1, &key, &value);
                self.append(EntryKind::Normal, request);
            }
            self.commit = committed;
            self.state();
            left -= batch;
        }
    }

    /// A snapshot of what is committed: first the file, then the marker.
    fn snapshot(&mut self, conf_state: ConfState) {
        let (term, index) = (self.term, self.commit);
        let data = format!("{{\"members\":{:?},\"index\":{index}}}", conf_state.voters);
        write_snap(&OsVfs, &self.snap, (term, index), &conf_state, data.as_bytes()).unwrap();
        let marker = Marker { index, term, conf_state: Some(conf_state) };
        self.writer.marker(&marker).unwrap();
    }
}

fn voters(ids: &[u64]) -> ConfState {
    ConfState { voters: ids.to_vec(), ..ConfState::default() }
}

/// Writes the data directory.
fn generate(dir: &Path) {
    let (wal, snap) = (dir.join("member/wal"), dir.join("member/snap"));
    fs::create_dir_all(&wal).unwrap();
    fs::create_dir_all(&snap).unwrap();
    let mut metadata = Vec::new();
    number(&mut metadata, 1, NODES[0]);
    number(&mut metadata, 2, 0xcdf8_181e_3a8c_04b1);
    let writer = Writer::create(OsVfs, &wal, &metadata).unwrap();
    let mut node = Node { writer, snap, term: 1, vote: 0, last: 0, commit: 0, seed: 42 };

    for (id, peer) in (1..).zip(NODES) {
        node.append(EntryKind::ConfChange, conf_change(id, 0, peer));
    }
    node.commit = 3;
    node.state();
    node.elect(NODES[0]);
    node.puts(60);
    node.snapshot(voters(&NODES));
    node.puts(20);
    node.writer.cut().unwrap();

    // Term 2 goes on without being committed; the leader of term 4 replaces what it left.
    node.puts(12);
    let committed = node.commit;
    for _ in 0..5 {
        node.append(EntryKind::Normal, put(0, "lost", b"never committed"));
    }
    node.state();
    node.term += 1;
    node.last = committed;
    node.elect(NODES[1]);
    node.puts(40);
    node.append(EntryKind::ConfChange, conf_change(4, 3, LEARNER));
    node.puts(20);
    node.snapshot(ConfState { learners: vec![LEARNER], ..voters(&NODES) });
    node.writer.cut().unwrap();

    node.append(EntryKind::ConfChangeV2, swap());
    node.puts(10);
    node.snapshot(ConfState {
        voters_outgoing: NODES.to_vec(),
        auto_leave: true,
        ..voters(&[NODES[0], NODES[1], LEARNER])
    });
    node.append(EntryKind::ConfChangeV2, Bytes::new());
    node.puts(30);
    node.elect(NODES[0]);
    node.puts(40);
    node.writer.cut().unwrap();

    node.puts(30);
    node.snapshot(voters(&[NODES[0], NODES[1], LEARNER]));
    node.puts(25);
}

/// All files below `dir`, by path.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn the_small_directory_is_what_the_generator_writes() {
    let small = small();
    if std::env::var_os("ETCD_FIXTURE_REWRITE").is_some() {
        let _ = fs::remove_dir_all(&small);
        generate(&small);
    }
    let again = tempfile::tempdir().unwrap();
    generate(again.path());
    let strip = |dir: &Path, files: BTreeMap<PathBuf, Vec<u8>>| -> BTreeMap<PathBuf, Vec<u8>> {
        files.into_iter().map(|(p, b)| (p.strip_prefix(dir).unwrap().to_owned(), b)).collect()
    };
    let shipped = strip(&small, contents(&small));
    let written = strip(again.path(), contents(again.path()));
    assert!(shipped.keys().eq(written.keys()), "{:?}", shipped.keys());
    for (path, bytes) in &written {
        assert!(shipped[path] == *bytes, "{} differs", path.display());
    }
    assert!(shipped.values().map(Vec::len).sum::<usize>() < 150 * 1024);
}

#[test]
fn the_small_directory_holds_one_of_everything() {
    let all = read(&small());
    assert_eq!(all.status(), Status::Intact, "{:#?}", all.findings);
    let count = |f: &dyn Fn(&RecordKind) -> bool| all.records.iter().filter(|r| f(&r.kind)).count();
    assert_eq!(count(&|k| matches!(k, RecordKind::Crc(_))), 4);
    assert_eq!(count(&|k| matches!(k, RecordKind::Metadata(_))), 4);
    assert_eq!(count(&|k| matches!(k, RecordKind::Snapshot(m) if m.index > 0)), 4);
    for kind in [EntryKind::Normal, EntryKind::ConfChange, EntryKind::ConfChangeV2] {
        assert!(count(&|k| matches!(k, RecordKind::Entry(e) if e.kind == kind)) >= 2, "{kind}");
    }
    assert!(all.records.iter().any(|r| matches!(r.effect, Effect::Overwrite { .. })));
    assert_eq!(all.snaps.len(), 4);
    let votes = |n: &&etcd_reader::Note| n.kind != NoteKind::MarkerWithoutFile;
    assert_eq!(all.findings.notes().iter().filter(votes).count(), 0, "{:#?}", all.findings);

    let replay = Replay::read(OsVfs, &small(), ReadOptions::default()).unwrap();
    let indexes: Vec<_> = replay.entries().iter().map(|e| e.index).collect();
    assert_eq!(indexes, (1..=*indexes.last().unwrap()).collect::<Vec<_>>());
    assert_eq!(replay.snap(), all.snaps.last());
}
