//! An etcd directory, whatever is in it.

use std::path::Path;

use etcd_reader::writer::Writer;
use etcd_reader::{
    Error, Findings, Marker, ProblemKind, ReadOptions, Reader, Record, RecordKind, Replay,
    SnapFile, Status, Step,
};
use raft_vfs::SimVfs;

use super::dump;
use crate::image::Image;

const DIR: &str = "/etcd";

/// The disk that an input stands for, with the log in `/etcd`.
pub fn disk_of_etcd(data: &[u8]) -> SimVfs {
    let disk = SimVfs::new(1);
    Image::parse(data).plant(&disk, DIR);
    disk
}

/// Input: an [`Image`].
///
/// Asserts:
///
/// - reading ends, without a panic, after a number of steps that the size bounds, and says the same
///   twice; nothing on the disk changes;
/// - the strict iterator gives the records that the lenient one gives, up to the first problem;
/// - replay keeps entries in the order of their indexes, each of them one that was read, and each
///   readable again;
/// - a log without a problem, written again record by record, reads back equal;
/// - `wal-dump` prints valid JSON whatever it meets, and its verdict is the reader's.
///
/// # Panics
/// If any of that does not hold.
pub fn etcd_dir(data: &[u8]) {
    let disk = disk_of_etcd(data);
    let before = disk.fingerprint();
    let len = |path| disk.read_file(path).map_or(0, |bytes| bytes.len());
    let bytes: usize = disk.paths().iter().map(len).sum();

    let all = read(&disk, bytes);
    let again = read(&disk, bytes);
    assert_eq!(all.is_ok(), again.is_ok(), "two readings differ");
    if let (Ok(all), Ok(again)) = (&all, &again) {
        assert!(all == again, "two readings differ");
        strict(&disk, all);
        replay(&disk, all);
        if all.findings.status() == Status::Intact {
            write_again(all);
        }
    }
    let status = all.as_ref().ok().map(|all| all.findings.status().as_str());
    dump::check(&disk, DIR, status, data);
    assert_eq!(disk.fingerprint(), before, "reading changed the disk");
}

/// Everything a log holds.
#[derive(Debug)]
struct Everything {
    records: Vec<Record>,
    snaps: Vec<SnapFile>,
    findings: Findings,
}

impl PartialEq for Everything {
    fn eq(&self, other: &Self) -> bool {
        let same = self.findings.problems() == other.findings.problems();
        same && (&self.records, &self.snaps) == (&other.records, &other.snaps)
    }
}

fn read(disk: &SimVfs, bytes: usize) -> Result<Everything, Error> {
    let mut reader = Reader::open(disk.clone(), Path::new(DIR), ReadOptions::default())?;
    let (mut records, mut snaps, mut steps) = (Vec::new(), Vec::new(), 0);
    while let Some(step) = reader.step()? {
        match step {
            Step::Record(record) => records.push(record),
            Step::SnapFile(snap) => snaps.push(snap),
            Step::Problem(problem) => assert!(!problem.message.is_empty()),
        }
        steps += 1;
        // A record takes 12 bytes at least; each may have a few problems.
        assert!(steps <= Findings::MAX + bytes + 64, "{steps} steps over {bytes} bytes");
    }
    assert!(reader.step()?.is_none(), "a step behind the end");
    Ok(Everything { records, snaps, findings: reader.findings().clone() })
}

fn strict(disk: &SimVfs, all: &Everything) {
    let reader = Reader::open(disk.clone(), Path::new(DIR), ReadOptions::default());
    let mut reader = reader.expect("it opened before");
    let mut given = all.records.iter();
    for record in reader.records() {
        match record {
            Ok(record) => assert_eq!(Some(&record), given.next(), "another record"),
            Err(Error::Damaged(_)) => {
                assert_eq!(all.findings.status(), Status::Corrupt);
                return;
            }
            Err(e) => panic!("the lenient reader got through: {e}"),
        }
    }
    assert_eq!(given.next(), None, "fewer records");
    let damage = |p: &etcd_reader::Problem| p.kind != ProblemKind::TornTail;
    assert!(!all.findings.problems().iter().any(damage), "the strict reader passed over damage");
}

fn replay(disk: &SimVfs, all: &Everything) {
    let replay = Replay::read(disk.clone(), Path::new(DIR), ReadOptions::default());
    let mut replay = replay.expect("the reader got through");
    let entries = replay.entries().to_vec();
    assert!(entries.is_sorted_by(|a, b| a.index < b.index), "entries out of order");
    for e in &entries {
        let read =
            all.records.iter().find(|r| (r.segment_number, r.offset) == (e.segment, e.offset));
        let fetched = replay.fetch(e).expect("nothing changed meanwhile");
        match read.map(|r| &r.kind) {
            Some(RecordKind::Entry(entry)) => assert_eq!(*entry, fetched),
            other => panic!("replay has {e:?}, the reader {other:?}"),
        }
    }
}

/// The records of an intact log, written by the writer.
fn write_again(all: &Everything) {
    let disk = SimVfs::new(2);
    raft_vfs::Vfs::create_dir(&disk, Path::new(DIR)).expect("a sound disk");
    let metadata = all.records.iter().find_map(|r| match &r.kind {
        RecordKind::Metadata(m) => Some(m.clone()),
        _ => None,
    });
    let metadata = metadata.unwrap_or_default();
    let mut w = Writer::create(disk.clone(), Path::new(DIR), &metadata).expect("a sound disk");
    let told = |all: &Everything| -> Vec<RecordKind> {
        let kinds = all.records.iter().map(|r| r.kind.clone());
        let empty =
            |k: &RecordKind| matches!(k, RecordKind::Snapshot(m) if *m == Marker::default());
        let told = |k: &RecordKind| match k {
            RecordKind::Crc(_) | RecordKind::Metadata(_) => false,
            other => !empty(other),
        };
        kinds.filter(told).collect()
    };
    for kind in told(all) {
        let written = match kind {
            RecordKind::Entry(e) => w.entry(&e),
            RecordKind::HardState(s) => w.hard_state(s),
            RecordKind::Snapshot(m) => w.marker(&m),
            RecordKind::Crc(_) | RecordKind::Metadata(_) => Ok(()),
        };
        written.expect("a sound disk");
    }
    w.sync().expect("a sound disk");
    let again = read(&disk, usize::MAX / 2).expect("just written");
    assert_eq!(told(all), told(&again), "written again, the log reads otherwise");
}
