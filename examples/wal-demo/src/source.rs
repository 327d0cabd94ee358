//! The etcd log as the saves it was written by.
//!
//! etcd saves entries first and the hard state behind them, and a snapshot marker by itself. Its
//! format has no brackets around a save, so a crash can keep the first half of one. Here the
//! records are grouped again, and each group becomes one atomic batch of the native log.

use std::collections::VecDeque;
use std::path::Path;

use bytes::Bytes;
use etcd_reader::{Effect, ReadOptions, Reader, RecordKind};
use raft_vfs::OsVfs;

use crate::Error;

/// A group is cut once its payloads exceed this; etcd writes no larger one in ordinary work.
const SAVE_BYTES_MAX: usize = 4 << 20;

/// One atomic step of the source: entries and the hard state behind them, or a marker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Save {
    /// The records, in physical order; those that repeat what is in force are left out.
    pub records: Vec<RecordKind>,
    /// The marker stands for a snapshot that was received: the log begins anew behind it.
    pub resets: bool,
}

/// Reads a log save by save, in constant memory.
#[derive(Debug)]
pub struct Saves {
    reader: Reader<OsVfs>,
    /// What was read of the save that is not complete yet.
    pending: Save,
    /// Payload bytes in `pending`.
    bytes: usize,
    /// Complete saves that were not handed out yet: two at most.
    ready: VecDeque<Save>,
    /// One past the last index of the log as replayed so far.
    next_index: u64,
    /// The log's first segments were removed, and no entry was read yet.
    late: bool,
    metadata: Option<Bytes>,
    hard_state: Option<RecordKind>,
    finished: bool,
}

impl Saves {
    /// Finds the etcd log at `path` and begins to read it.
    ///
    /// # Errors
    /// [`Error::Source`] if there is none or it cannot be listed.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let reader = Reader::open(OsVfs, path, ReadOptions::default())?;
        Ok(Self {
            late: reader.layout().segments.first().is_some_and(|s| s.seq > 0),
            reader,
            pending: Save::default(),
            bytes: 0,
            ready: VecDeque::new(),
            next_index: 1,
            metadata: None,
            hard_state: None,
            finished: false,
        })
    }

    /// Whether the log's first segments were removed, and no entry was read yet.
    pub fn starts_late(&self) -> bool {
        self.late
    }

    /// The next save; `None` behind the last one. Blocks on reads.
    ///
    /// # Errors
    /// [`Error::Source`] at the first damage: nothing behind it can be trusted.
    pub fn next_save(&mut self) -> Result<Option<Save>, Error> {
        loop {
            if let Some(save) = self.ready.pop_front() {
                return Ok(Some(save));
            }
            if self.finished {
                let rest = std::mem::take(&mut self.pending);
                return Ok((!rest.records.is_empty()).then_some(rest));
            }
            match self.reader.records().next().transpose()? {
                Some(record) => self.push(record.kind, record.effect),
                None => self.finished = true,
            }
        }
    }

    /// What is pending is a save.
    fn complete(&mut self) {
        self.bytes = 0;
        self.ready.push_back(std::mem::take(&mut self.pending));
    }

    /// What is pending is a save if it has entries.
    fn complete_entries(&mut self) {
        if self.last_pending().is_some() {
            self.complete();
        }
    }

    /// Index of the last pending entry.
    fn last_pending(&self) -> Option<u64> {
        self.pending.records.iter().rev().find_map(|r| match r {
            RecordKind::Entry(e) => Some(e.index),
            _ => None,
        })
    }

    fn push(&mut self, record: RecordKind, effect: Effect) {
        match &record {
            RecordKind::Crc(_) => {}
            RecordKind::Metadata(data) => {
                if self.metadata.as_ref() == Some(data) {
                    return;
                }
                self.metadata = Some(data.clone());
                self.pending.records.push(record);
            }
            RecordKind::Entry(entry) => {
                let last = self.last_pending();
                let follows = last.is_none_or(|l| l.checked_add(1) == Some(entry.index));
                if !follows || self.bytes > SAVE_BYTES_MAX {
                    self.complete_entries();
                }
                self.bytes += entry.data.len();
                self.late = false;
                self.next_index = entry.index.saturating_add(1);
                self.pending.records.push(record);
            }
            RecordKind::HardState(state) => {
                // Every segment begins with a copy of the hard state in force.
                if self.hard_state.as_ref() == Some(&record) && self.pending.records.is_empty() {
                    return;
                }
                self.hard_state = Some(record.clone());
                let fits = state.commit < self.next_index && !self.late;
                if !fits {
                    // Versions before 3.5 save the hard state of a received snapshot before its
                    // marker, and a log whose first segments were removed begins with a commit
                    // index below its first entry: what makes it right comes next.
                    self.complete_entries();
                }
                self.pending.records.push(record);
                if fits {
                    self.complete();
                }
            }
            RecordKind::Snapshot(marker) => {
                self.complete_entries();
                if effect == Effect::Reset {
                    self.next_index = marker.index.saturating_add(1);
                    self.late = false;
                    self.pending.resets = true;
                }
                self.pending.records.push(record);
                if !self.late {
                    self.complete();
                }
            }
        }
    }
}
