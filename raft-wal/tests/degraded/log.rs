//! A log on a simulated disk, every batch acknowledged on its own, and where its batches stand.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use raft_vfs::SimVfs;
use raft_wal::format::FrameHeader;
use raft_wal::inspect::Segment;
use raft_wal::scan::Step;
use raft_wal::{Batch, Degraded, Entry, EntryKind, HardState, Options, Verification, Wal, verify};

use crate::model::Model;

/// Where the log is.
pub(crate) const DIR: &str = "/log";

pub(crate) fn segment(seq: u64) -> PathBuf {
    format!("{DIR}/wal/{seq:020}.seg").into()
}

pub(crate) fn ident() -> PathBuf {
    format!("{DIR}/IDENT").into()
}

/// An entry whose payload no other entry of the test has.
pub(crate) fn entry(index: u64, term: u64) -> Entry {
    sized(index, term, 40)
}

/// The same with a payload of `len` bytes.
pub(crate) fn sized(index: u64, term: u64, len: usize) -> Entry {
    let data: Bytes = format!("{index}/{term};").bytes().cycle().take(len).collect();
    Entry { index, term, kind: EntryKind::Normal, data }
}

/// A batch of entries `range` of one term.
pub(crate) fn entries(range: std::ops::Range<u64>, term: u64) -> Batch {
    Batch::of_entries(range.map(|i| entry(i, term)).collect())
}

pub(crate) fn state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term, vote, commit }
}

/// One valid batch on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) end: u64,
    pub(crate) header: FrameHeader,
}

/// The batches of a segment, as far as they are valid.
pub(crate) fn frames(disk: &SimVfs, seq: u64) -> Vec<Place> {
    let segment = Segment::open(disk, &segment(seq)).expect("the segment opens");
    let mut scanner = segment.scanner().expect("it has a header");
    let mut places = Vec::new();
    while scanner.step().expect("it can be read") == Step::Frame {
        let f = scanner.frame();
        places.push(Place { offset: f.offset, end: f.end, header: f.header });
    }
    places
}

/// Numbers of the segments in which something was written, ascending.
pub(crate) fn started(disk: &SimVfs) -> Vec<u64> {
    let number = |p: PathBuf| p.file_name()?.to_str()?.strip_suffix(".seg")?.parse().ok();
    let all = disk.paths().into_iter().filter_map(number);
    all.filter(|&seq| !frames(disk, seq).is_empty()).collect()
}

/// Every byte of every file.
pub(crate) fn bytes(disk: &SimVfs) -> BTreeMap<PathBuf, Vec<u8>> {
    disk.paths().into_iter().map(|p| (p.clone(), disk.read_file(&p).unwrap_or_default())).collect()
}

/// A log being written.
pub(crate) struct Writing {
    pub(crate) disk: SimVfs,
    pub(crate) wal: Wal<SimVfs>,
    pub(crate) model: Model,
    options: Options,
}

/// A log that nobody has open, and what it holds.
#[derive(Clone)]
pub(crate) struct AtRest {
    pub(crate) disk: SimVfs,
    pub(crate) model: Model,
    pub(crate) options: Options,
}

impl Writing {
    /// A new log in segments of 16 KiB.
    pub(crate) fn new() -> Self {
        Self::with(Options::new().segment_bytes(16 << 10), 1)
    }

    pub(crate) fn with(options: Options, first: u64) -> Self {
        let disk = SimVfs::new(first);
        let options = options.initial_index(first);
        let (wal, _) = Wal::open(disk.clone(), DIR, &options).expect("a new log opens");
        Self { disk, wal, model: Model::new(first), options }
    }

    /// Appends a batch and waits until it is acknowledged.
    pub(crate) fn put(&mut self, batch: &Batch) {
        let ticket = self.wal.append(batch).expect("the batch keeps the rules");
        self.wal.wait(ticket).expect("nothing fails");
        self.model.apply(batch);
    }

    /// One batch for each index of `range`, all of one term.
    pub(crate) fn put_each(&mut self, range: std::ops::Range<u64>, term: u64) {
        for index in range {
            self.put(&entries(index..index + 1, term));
        }
    }

    /// Large entries until a batch stands in a segment that was not there before.
    pub(crate) fn fill_segment(&mut self, term: u64) {
        let before = started(&self.disk).len();
        while started(&self.disk).len() == before {
            let next = self.wal.next_index();
            self.put(&Batch::of_entries(vec![sized(next, term, 700)]));
        }
    }

    /// Ends the process and starts another.
    pub(crate) fn restart(self) -> Self {
        let Self { disk, wal, model, options } = self;
        drop(wal);
        let (wal, _) = Wal::open(disk.clone(), DIR, &options).expect("a sound log opens");
        Self { disk, wal, model, options }
    }

    /// Ends the process without a word.
    pub(crate) fn abandon(self) -> AtRest {
        AtRest { disk: self.disk, model: self.model, options: self.options }
    }

    /// Closes the log.
    pub(crate) fn close(self) -> AtRest {
        self.wal.close().expect("nothing fails");
        AtRest { disk: self.disk, model: self.model, options: self.options }
    }
}

impl AtRest {
    pub(crate) fn open(&self) -> Result<Wal<SimVfs>, raft_wal::Error> {
        Wal::open(self.disk.clone(), DIR, &self.options).map(|(wal, _)| wal)
    }

    pub(crate) fn degraded(&self) -> Degraded<SimVfs> {
        let opened = Wal::open_degraded(self.disk.clone(), DIR, &self.options);
        opened.expect("a damaged log opens degraded")
    }

    pub(crate) fn verify(&self) -> Verification {
        verify(self.disk.clone(), DIR, &self.options).expect("a damaged log can be judged")
    }

    /// Flips a bit at an offset of a segment.
    pub(crate) fn flip(&self, seq: u64, at: u64) {
        let flipped = self.disk.mutate(segment(seq), |b| b[at as usize] ^= 0x10);
        assert!(flipped, "segment {seq} is there");
    }

    /// Damages the body of the `n`-th batch of a segment; its header stays readable.
    pub(crate) fn harm_body(&self, seq: u64, n: usize) -> Place {
        let place = frames(&self.disk, seq)[n];
        self.flip(seq, place.end - 9);
        place
    }

    /// The same of several batches.
    pub(crate) fn harm_bodies<const N: usize>(&self, seq: u64, which: [usize; N]) -> [Place; N] {
        let all = frames(&self.disk, seq);
        which.map(|n| {
            self.flip(seq, all[n].end - 9);
            all[n]
        })
    }

    /// Damages the header of the `n`-th batch of a segment.
    pub(crate) fn harm_header(&self, seq: u64, n: usize) -> Place {
        let place = frames(&self.disk, seq)[n];
        self.flip(seq, place.offset + 25);
        place
    }
}
