//! What an open gave, as text: the expected results that stand beside the fixtures.

use std::fmt::Write as _;
use std::path::Path;

use raft_vfs::Vfs;
use raft_wal::error::{Corrupt, LostRange};
use raft_wal::format::crc;
use raft_wal::{Degraded, Entry, Error, HardState, RecoveryReport, Wal};

/// Everything a log holds, one thing a line.
pub(crate) fn contents<V: Vfs>(wal: &Wal<V>) -> String {
    let mut out = String::new();
    let identity = wal.identity();
    let _ = writeln!(out, "uuid {}", hex(&identity.wal_uuid));
    let _ = writeln!(out, "cluster {} node {}", identity.cluster_id, identity.node_id);
    let (first, next) = (wal.first_index(), wal.next_index());
    let _ = writeln!(out, "log [{first}, {next})");
    if let Some(before) = first.checked_sub(1) {
        let _ = writeln!(out, "base term {}", or_dash(wal.term(before).unwrap()));
    }
    let hs = wal.hard_state();
    let _ = writeln!(out, "hard state term {} vote {} commit {}", hs.term, hs.vote, hs.commit);
    if let Some(s) = wal.snapshot() {
        let _ = writeln!(
            out,
            "snapshot index {} term {} file_len {} file_hash {} conf_state {}",
            s.index,
            s.term,
            s.file_len,
            hex(&s.file_hash),
            hex(&s.conf_state)
        );
    }
    if let Some(m) = wal.metadata() {
        let _ = writeln!(out, "metadata {}", hex(m));
    }
    for (key, value) in wal.blobs() {
        let _ = writeln!(out, "blob {} = {}", hex(key), hex(value));
    }
    for e in wal.entries(first, next, u64::MAX).unwrap() {
        let _ = writeln!(out, "{}", entry(&e));
    }
    out
}

/// What recovery says of itself, without what depends on the machine.
pub(crate) fn report(dir: &Path, r: &RecoveryReport) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "era {} tail {} certain {}", r.era, r.tail, r.certain);
    let _ = writeln!(
        out,
        "carried {} recovered_durable {} state_raised {}",
        r.carried, r.recovered_durable, r.state_raised
    );
    let _ = writeln!(out, "segments {} removed {}", r.segments, r.removed);
    if let Some(d) = &r.discarded {
        let path = relative(dir, &d.path);
        let _ = writeln!(out, "gave up {path}+{} {} bytes crc {:08x}", d.offset, d.bytes, d.crc);
    }
    for note in &r.notes {
        let _ = writeln!(out, "note {}: {}", relative(dir, &note.path), note.what);
    }
    out
}

/// An error's kind and place. The wording is not part of it.
pub(crate) fn error(dir: &Path, e: &Error) -> String {
    match e {
        Error::Corrupt(c) => corrupt(dir, c),
        Error::IdentMissing { found, .. } => format!("error ident missing, found {found}\n"),
        Error::IdentityMismatch { path, what, expected, found } => {
            let path = relative(dir, path);
            format!("error identity mismatch {path}: {what} {found}, expected {expected}\n")
        }
        Error::Unsupported { path, what, found, .. } => {
            format!("error unsupported {}: {what} {found}\n", relative(dir, path))
        }
        other => panic!("no fixture is expected to fail like this: {other}"),
    }
}

fn corrupt(dir: &Path, c: &Corrupt) -> String {
    let path = relative(dir, &c.path);
    let mut out = format!("error corrupt {}\nat {path}+{}\n", c.kind, c.offset);
    let _ = writeln!(out, "batch {} acked {:?}", c.batch_seq, c.acked);
    let lost = |l: &LostRange| l.to_string();
    let _ = writeln!(out, "lost {}", c.lost.as_ref().map_or("-".into(), lost));
    assert!(!c.advice.is_empty() && !c.expected.is_empty() && !c.found.is_empty(), "{c}");
    out
}

/// What a degraded opening names as lost, and the entries that it still reads.
pub(crate) fn degraded<V: Vfs>(log: &Degraded<V>) -> String {
    let mut out = String::new();
    let (first, next) = (log.first_index(), log.next_index());
    let _ = writeln!(out, "degraded [{first}, {next})");
    let (hs, certain) = (log.hard_state(), log.hard_state_is_certain());
    let HardState { term, vote, commit } = hs;
    let _ = writeln!(out, "hard state term {term} vote {vote} commit {commit} certain {certain}");
    for lost in log.lost() {
        let _ = writeln!(out, "lost {lost}");
    }
    for index in first..next {
        for e in log.entries(index, index + 1, u64::MAX).unwrap_or_default() {
            let _ = writeln!(out, "{}", entry(&e));
        }
    }
    out
}

fn entry(e: &Entry) -> String {
    let (len, sum) = (e.data.len(), crc(0, &e.data));
    format!("entry {} term {} {:?} len {len} crc {sum:08x}", e.index, e.term, e.kind)
}

fn relative(dir: &Path, path: &Path) -> String {
    path.strip_prefix(dir).unwrap_or(path).display().to_string()
}

fn or_dash(v: Option<u64>) -> String {
    v.map_or("-".into(), |v| v.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}
