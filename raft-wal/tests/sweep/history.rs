//! Writing a log step by step, and remembering what it was after each: the state behind every
//! frame, and every content that a file ever had.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use raft_vfs::SimVfs;
use raft_vfs::sim::KeepAll;
use raft_wal::{Batch, Entry, EntryKind, HardState, Options, Wal};

use crate::chart::{File, segment_number};
use crate::page::Page;
use crate::reader::Reader;
use crate::support::model::Model;
use crate::support::sim::{DIR, path, read_all};

/// A log that is being written, with the model of it.
pub(crate) struct History<'p> {
    page: &'p Page,
    options: Options,
    pub(crate) disk: SimVfs,
    wal: Option<Wal<SimVfs>>,
    /// The log after each batch; the first one is the empty log.
    pub(crate) states: Vec<Model>,
    /// Which of these stands behind the frame that ends there: segment and offset.
    pub(crate) behind: BTreeMap<(u64, usize), usize>,
    /// What each file was, in order.
    contents: BTreeMap<String, Vec<Vec<u8>>>,
    /// Time, as the log is told.
    now: Duration,
}

impl<'p> History<'p> {
    /// A new log on a disk of its own.
    pub(crate) fn begin(page: &'p Page, seed: u64, options: &Options) -> Self {
        let mut history = Self {
            page,
            options: options.clone(),
            disk: SimVfs::new(seed),
            wal: None,
            states: vec![Model::new(1)],
            behind: BTreeMap::new(),
            contents: BTreeMap::new(),
            now: Duration::ZERO,
        };
        history.open();
        history
    }

    fn open(&mut self) {
        let opened = Wal::open(self.disk.clone(), DIR, &self.options);
        let (wal, report) = opened.unwrap_or_else(|e| panic!("refused: {e}"));
        assert_eq!(read_all(&wal).unwrap(), *self.log(), "{report}");
        self.wal = Some(wal);
        self.remember();
    }

    /// The process dies and another one starts; what was written is there.
    pub(crate) fn restart(&mut self) {
        self.wal = None;
        self.open();
    }

    /// The log as it should be.
    pub(crate) fn log(&self) -> &Model {
        self.states.last().expect("there is the empty log")
    }

    pub(crate) fn wal(&mut self) -> &mut Wal<SimVfs> {
        self.wal.as_mut().expect("the log is open")
    }

    /// Appends and writes, without a sync.
    pub(crate) fn put(&mut self, batch: &Batch) {
        let mut after = self.log().clone();
        after.apply(batch);
        self.states.push(after);
        self.wal().append(batch).unwrap();
        self.wal().write_through().unwrap();
        self.remember();
    }

    /// Appends and syncs.
    pub(crate) fn save(&mut self, batch: &Batch) {
        self.put(batch);
        self.wal().sync().unwrap();
        self.remember();
    }

    /// Saves entries at the end of the log until it is in segment `number` of those there are.
    pub(crate) fn fill_until(&mut self, segments: usize, term: u64, size: usize) {
        while self.started() < segments {
            let next = self.log().next();
            self.save(&entries(next, 1, term, size));
        }
    }

    /// How many segments were started so far.
    fn started(&self) -> usize {
        let mut numbers: Vec<u64> = self.behind.keys().map(|&(seq, _)| seq).collect();
        numbers.dedup();
        numbers.len()
    }

    /// The log is idle for long enough to write a mark.
    pub(crate) fn idle(&mut self) {
        for _ in 0..2 {
            self.now += Duration::from_secs(1);
            let now = self.now;
            self.wal().step_mark(now).unwrap();
        }
        self.remember();
    }

    /// One of the log's background duties.
    pub(crate) fn step(&mut self, step: impl FnOnce(&mut Wal<SimVfs>)) {
        step(self.wal());
        self.remember();
    }

    /// Gives up every entry below `index`, and the segments that held no others.
    pub(crate) fn compact(&mut self, index: u64) {
        let mut after = self.log().clone();
        after.apply(&Batch { compact: Some(index), ..Batch::default() });
        self.states.push(after);
        self.step(|wal| wal.compact_to(index).unwrap());
    }

    /// The log is closed; no process has it.
    pub(crate) fn close(&mut self) {
        self.wal.take().expect("the log is open").close().unwrap();
        self.remember();
    }

    /// The process dies in the middle of the last flush: its last frame is torn.
    pub(crate) fn tear(&mut self) {
        self.wal = None;
        let (&(seq, end), _) = self.behind.last_key_value().expect("a frame");
        let name = format!("wal/{seq:020}.seg");
        self.disk.mutate(path(&name), |b| b[end - 24..end].fill(0));
        self.behind.remove(&(seq, end));
        self.states.pop();
    }

    /// Takes note of what is new on the disk.
    fn remember(&mut self) {
        for at in self.disk.paths() {
            let Ok(name) = at.strip_prefix(DIR) else { continue };
            let name = name.to_string_lossy().into_owned();
            let bytes = self.disk.read_file(&at).unwrap_or_default();
            let known = self.contents.entry(name.clone()).or_default();
            if known.last() == Some(&bytes) {
                continue;
            }
            known.push(bytes.clone());
            if let Some(seq) = segment_number(&name) {
                self.remember_frames(seq, &bytes);
            }
        }
    }

    /// New frames hold the log as it is now. What closes or pads a segment changes nothing.
    fn remember_frames(&mut self, seq: u64, bytes: &[u8]) {
        let mut before = self.states.len() - 1;
        let passive = self.page.flags["SEAL"] | self.page.flags["PAD"];
        let reader = Reader { page: self.page };
        for f in reader.segment(bytes).frames {
            let now = if f.flags & passive != 0 { before } else { self.states.len() - 1 };
            before = *self.behind.entry((seq, f.end)).or_insert(now);
        }
    }

    /// What is on the disk once everything has got there, and what it was before.
    pub(crate) fn files(&mut self) -> Vec<File> {
        self.wal = None;
        self.disk = self.disk.power_cut(&mut KeepAll);
        let mut files = Vec::new();
        let gone = self.earlier_lives();
        for at in self.disk.paths() {
            let Ok(name) = at.strip_prefix(DIR) else { continue };
            let name = name.to_string_lossy().into_owned();
            let bytes = self.disk.read_file(&at).unwrap_or_default();
            let mut older = self.contents.remove(&name).unwrap_or_default();
            if segment_number(&name).is_some() {
                older.extend(gone.iter().filter(|life| life.len() == bytes.len()).cloned());
            }
            older.retain(|old| *old != bytes);
            files.push(File { name, bytes, older });
        }
        files
    }

    /// What segments that are gone held at last: later ones may be the same files.
    fn earlier_lives(&self) -> Vec<Vec<u8>> {
        let contents = self.contents.iter().filter(|(name, _)| segment_number(name).is_some());
        let gone = contents.filter(|(name, _)| self.disk.read_file(path(name)).is_none());
        gone.filter_map(|(_, contents)| contents.last().cloned()).collect()
    }
}

/// An entry of `size` bytes that can be told from every other.
pub(crate) fn entry(index: u64, term: u64, size: usize) -> Entry {
    let data: Vec<u8> =
        (0..size).map(|i| (index as usize * 37 + term as usize * 5 + i) as u8).collect();
    Entry { index, term, kind: EntryKind::Normal, data: data.into() }
}

/// `count` entries from index `first` on.
pub(crate) fn entries(first: u64, count: u64, term: u64, size: usize) -> Batch {
    Batch::of_entries((first..first + count).map(|i| entry(i, term, size)).collect())
}

/// A hard state.
pub(crate) fn state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term, vote, commit }
}

/// Keyed values.
pub(crate) fn values(pairs: &[(&'static str, &'static str)]) -> Batch {
    let pair = |&(k, v): &(&'static str, &'static str)| (Bytes::from(k), Bytes::from(v));
    Batch { blobs: pairs.iter().map(pair).collect(), ..Batch::default() }
}
