//! A log beside its model, for tests that go one way on purpose.

use bytes::Bytes;
use raft_vfs::SimVfs;
use raft_wal::error::Corrupt;
use raft_wal::inspect::Segment;
use raft_wal::scan::{Frame, Step};
use raft_wal::{Batch, Entry, EntryKind, Error, HardState, Options, RecoveryReport, Ticket, Wal};

use super::model::Model;
use super::oracle::Issued;
use super::sim::{open, read_all, segment_path};

/// Small segments, everything else as it is by default.
pub(crate) fn small() -> Options {
    Options::new().segment_bytes(16 << 10)
}

pub(crate) fn entry(index: u64, term: u64, len: usize) -> Entry {
    let data: Vec<u8> = (0..len).map(|i| (index as usize * 37 + term as usize + i) as u8).collect();
    Entry { index, term, kind: EntryKind::Normal, data: data.into() }
}

pub(crate) fn entries(first: u64, count: u64, term: u64, len: usize) -> Batch {
    Batch::of_entries((first..first + count).map(|i| entry(i, term, len)).collect())
}

pub(crate) fn state(term: u64, vote: u64, commit: u64) -> Batch {
    Batch::of_hard_state(HardState { term, vote, commit })
}

pub(crate) fn blob(key: &str, value: &[u8]) -> Batch {
    let pair = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value));
    Batch { blobs: vec![pair], ..Batch::default() }
}

pub(crate) fn compact(index: u64) -> Batch {
    Batch { compact: Some(index), ..Batch::default() }
}

pub(crate) fn truncate(from: u64) -> Batch {
    Batch { truncate: Some(from), ..Batch::default() }
}

/// A log, open for writing, and the model of it.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) disk: SimVfs,
    pub(crate) options: Options,
    pub(crate) wal: Wal<SimVfs>,
    pub(crate) issued: Issued,
    pub(crate) report: RecoveryReport,
}

impl Lab {
    /// A new log on a new disk.
    pub(crate) fn new(options: Options) -> Self {
        Self::on(SimVfs::new(7), options)
    }

    /// The log on `disk`, which must open.
    pub(crate) fn on(disk: SimVfs, options: Options) -> Self {
        let (wal, report) = open(&disk, &options).unwrap();
        let issued = Issued::after(read_all(&wal).unwrap());
        Self { disk, options, wal, issued, report }
    }

    pub(crate) fn log(&self) -> &Model {
        self.issued.last()
    }

    /// Appends.
    pub(crate) fn put(&mut self, batch: &Batch) -> Ticket {
        let mut after = self.log().clone();
        after.apply(batch);
        self.issued.states.push(after);
        self.wal.append(batch).unwrap()
    }

    /// Appends entries at the end, of the current term.
    pub(crate) fn add(&mut self, count: u64, len: usize) -> Ticket {
        let term = self.log().hard_state.term.max(self.log().last_term().unwrap_or(0));
        let next = self.log().next();
        self.put(&entries(next, count, term, len))
    }

    /// Appends and syncs.
    pub(crate) fn add_synced(&mut self, count: u64, len: usize) {
        self.add(count, len);
        self.sync();
    }

    pub(crate) fn sync(&mut self) {
        self.wal.sync().unwrap();
        self.issued.acked = self.issued.states.len() - 1;
    }

    /// Appends entries until the log is in another segment; returns its number.
    pub(crate) fn rotate(&mut self) -> u64 {
        let newest = |lab: &Self| super::sim::segments(&lab.disk).pop();
        let before = newest(self);
        while newest(self) == before || newest(self).is_none() {
            self.add(1, 700);
        }
        // The next segment may only have been published; one more batch that does not fit is in it.
        let published = newest(self).unwrap();
        while frames(&self.disk, published).is_empty() {
            self.add_synced(1, 700);
        }
        published
    }

    /// The process ends; what is in the page cache stays.
    pub(crate) fn die(self) -> (SimVfs, Issued) {
        (self.disk, self.issued)
    }

    /// The log is closed.
    pub(crate) fn close(self) -> (SimVfs, Issued) {
        self.wal.close().unwrap();
        let acked = self.issued.states.len() - 1;
        (self.disk, Issued { acked, ..self.issued })
    }

    /// Ends this process without a close and starts another on the same disk.
    pub(crate) fn restart(self) -> Self {
        let (disk, options) = (self.disk, self.options);
        drop(self.wal);
        Self::on(disk, options)
    }
}

/// Opens a copy of a disk, which must not be refused, and reads all of it.
pub(crate) fn recover(disk: &SimVfs, options: &Options) -> (Model, RecoveryReport) {
    let (wal, report) = match open(&disk.fork(), options) {
        Ok(opened) => opened,
        Err(e) => panic!("refused: {e}"),
    };
    (read_all(&wal).unwrap(), report)
}

/// Opens a copy of a disk, which must be legal after a crash.
pub(crate) fn judge(disk: &SimVfs, options: &Options, issued: &Issued) -> (Model, RecoveryReport) {
    let (got, report) = recover(disk, options);
    if let Err(why) = issued.legal(&got) {
        panic!("{why}");
    }
    (got, report)
}

/// Opens a copy of a disk, which must be refused as damaged and not be touched.
pub(crate) fn refused(disk: &SimVfs, options: &Options) -> Corrupt {
    let fork = disk.fork();
    let before = fork.fingerprint();
    let error = match open(&fork, options) {
        Ok((wal, report)) => panic!("opened: {report}; {:?}", read_all(&wal)),
        Err(error) => error,
    };
    assert_eq!(fork.fingerprint(), before, "a refused open changes nothing");
    match error {
        Error::Corrupt(c) => *c,
        other => panic!("another error: {other}"),
    }
}

/// The frames of a segment, as far as they follow one another.
pub(crate) fn frames(disk: &SimVfs, seq: u64) -> Vec<Frame> {
    let Ok(segment) = Segment::open(&disk.fork(), &segment_path(seq)) else { return Vec::new() };
    let Some(mut scanner) = segment.scanner() else { return Vec::new() };
    let mut all = Vec::new();
    while let Ok(Step::Frame) = scanner.step() {
        all.push(scanner.frame().clone());
    }
    all
}

/// Overwrites bytes of a file, durable at once.
pub(crate) fn write(disk: &SimVfs, path: impl AsRef<std::path::Path>, at: u64, new: &[u8]) {
    let at = at as usize;
    assert!(disk.mutate(path, |bytes| bytes[at..at + new.len()].copy_from_slice(new)));
}

/// Flips one bit of a file.
pub(crate) fn flip(disk: &SimVfs, path: impl AsRef<std::path::Path>, at: u64) {
    assert!(disk.mutate(path, |bytes| bytes[at as usize] ^= 1 << (at % 8)));
}
