//! Reading entries. One implementation serves the open log, a read-only opening and a degraded one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_vfs::{Vfs, VfsFile};

use crate::cache::TailCache;
use crate::error::{Error, Result};
use crate::paths::io_error;
use crate::pins::Pin;
use crate::planted::{Bug, planted};
use crate::segment::{Budget, ClosedSegment, RecordReader, bad_record};
use crate::types::Entry;
use crate::view::{LogView, Place};
use crate::wal::Wal;

/// The newest segment, as far as it can be read.
#[derive(Debug)]
pub(crate) struct TailSource<'a, F> {
    pub(crate) file: &'a F,
    pub(crate) path: &'a Path,
    pub(crate) salt: u32,
    /// Nothing is read at or beyond this offset.
    pub(crate) end: u64,
    pub(crate) cache: Option<&'a TailCache>,
}

/// A log that can be read.
#[derive(Debug)]
pub(crate) struct Reading<'a, V: Vfs> {
    pub(crate) view: &'a LogView<V>,
    pub(crate) tail: Option<TailSource<'a, V::File>>,
    /// From this index on entries are in doubt, and why.
    pub(crate) doubt: Option<(u64, &'a Arc<str>)>,
}

impl<V: Vfs> Reading<'_, V> {
    pub(crate) fn term(&self, index: u64) -> Result<Option<u64>> {
        if index.checked_add(1) == Some(self.view.first_index) {
            return Ok(self.view.base_term);
        }
        self.check_index(index)?;
        self.view.term(index)
    }

    fn check_index(&self, index: u64) -> Result<()> {
        let view = self.view;
        if index < view.first_index {
            return Err(Error::Compacted { index, first_index: view.first_index });
        }
        if index >= view.next_index {
            return Err(Error::Unavailable { index, next_index: view.next_index });
        }
        match self.doubt {
            Some((from, cause)) if index >= from && !planted(Bug::DoubtReadable) => {
                Err(Error::Poisoned { cause: cause.clone() })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>> {
        if low >= high {
            return Ok(Vec::new());
        }
        self.check_index(low)?;
        self.check_index(high - 1)?;
        let mut out = Vec::with_capacity((high - low).min(1024) as usize);
        let mut budget = Budget::new(max_bytes);
        let mut at = low;
        while at < high && !budget.exhausted {
            match self.view.place(at) {
                Some(Place::Closed(segment, hi)) => {
                    let stop = hi.min(high);
                    segment.read(at, stop, &mut budget, &mut out)?;
                    at = stop;
                }
                Some(Place::Tail) => {
                    self.read_tail(at, high, &mut budget, &mut out)?;
                    at = high;
                }
                // Recovery proved that every index is somewhere.
                None => return Err(Error::Unavailable { index: at, next_index: at }),
            }
        }
        Ok(out)
    }

    pub(crate) fn entry(&self, index: u64) -> Result<Entry> {
        let mut one = self.entries(index, index.saturating_add(1), u64::MAX)?;
        one.pop().ok_or(Error::Unavailable { index, next_index: self.view.next_index })
    }

    /// Reads from the newest segment: from memory where it is still there, else from the file.
    fn read_tail(
        &self,
        low: u64,
        high: u64,
        budget: &mut Budget,
        out: &mut Vec<Entry>,
    ) -> Result<()> {
        let none = |index| Error::Unavailable { index, next_index: self.view.next_index };
        let tail = self.tail.as_ref().ok_or(none(low))?;
        let end = self.view.tail.offset(high).map_or(tail.end, |next| next.min(tail.end));
        let mut reader = RecordReader::file(tail.file, end);
        for index in low..high {
            let at = self.view.tail.offset(index).ok_or(none(index))?;
            let entry = match tail.cache.and_then(|c| c.entry(tail.salt, index, at)) {
                Some(e) => Some(e),
                None => reader
                    .entry(tail.salt, index, at)
                    .map_err(|e| io_error("read", tail.path, Some(at), e))?,
            };
            let Some(entry) = entry else {
                let expected = "a record with its checksum";
                return Err(bad_record(tail.path, index, at, 0, expected).into());
            };
            if !budget.take(&entry) {
                return Ok(());
            }
            out.push(entry);
        }
        Ok(())
    }
}

/// Part of what a read asked for, which can be read without the log: it goes on meanwhile.
#[derive(Debug)]
pub(crate) enum Piece<V: Vfs> {
    /// In a closed segment.
    Closed { segment: Arc<ClosedSegment<V>>, low: u64, high: u64, pin: Pin },
    /// In the newest segment, still in memory.
    Held(Vec<Entry>),
    /// In the newest segment, on disk. Index and offset of each.
    File { tail: TailFile<V::File>, at: Vec<(u64, u64)>, pin: Pin },
}

/// The newest segment's file.
#[derive(Debug)]
pub(crate) struct TailFile<F> {
    file: Arc<F>,
    path: PathBuf,
    salt: u32,
    end: u64,
}

/// How many entries of the newest segment a piece has at most.
const PIECE: u64 = 1024;

impl<V: Vfs> Piece<V> {
    /// Reads what the budget allows.
    pub(crate) fn read(self, budget: &mut Budget, out: &mut Vec<Entry>) -> Result<()> {
        match self {
            Self::Closed { segment, low, high, pin: _pin } => segment.read(low, high, budget, out),
            Self::Held(entries) => {
                out.extend(entries.into_iter().take_while(|e| budget.take(e)));
                Ok(())
            }
            Self::File { tail, at, pin: _pin } => {
                let mut reader = RecordReader::file(&*tail.file, tail.end);
                for (index, at) in at {
                    let read = reader.entry(tail.salt, index, at);
                    let read = read.map_err(|e| io_error("read", &tail.path, Some(at), e))?;
                    let Some(entry) = read else {
                        let expected = "a record with its checksum";
                        return Err(bad_record(&tail.path, index, at, 0, expected).into());
                    };
                    if !budget.take(&entry) {
                        break;
                    }
                    out.push(entry);
                }
                Ok(())
            }
        }
    }
}

impl<V: Vfs> Wal<V> {
    /// The first piece of `[low, high)`, and where it ends.
    pub(crate) fn piece(&self, low: u64, high: u64, max_bytes: u64) -> Result<(Piece<V>, u64)> {
        let reading = self.reading();
        reading.check_index(low)?;
        reading.check_index(high - 1)?;
        let view = &self.state.view;
        match view.place(low) {
            Some(Place::Closed(segment, hi)) => {
                let (segment, high) = (segment.clone(), hi.min(high));
                let pin = Pin::new(segment.life());
                Ok((Piece::Closed { segment, low, high, pin }, high))
            }
            Some(Place::Tail) => {
                self.tail_piece(low, high.min(low.saturating_add(PIECE)), max_bytes)
            }
            None => Err(Error::Unavailable { index: low, next_index: low }),
        }
    }

    fn tail_piece(&self, low: u64, high: u64, max_bytes: u64) -> Result<(Piece<V>, u64)> {
        let none = |index| Error::Unavailable { index, next_index: self.state.view.next_index };
        let (seq, tail) = self.tail_file().ok_or(none(low))?;
        let mut held = Vec::new();
        let mut at = Vec::new();
        let mut budget = Budget::new(max_bytes);
        let mut index = low;
        while index < high {
            let offset = self.state.view.tail.offset(index).ok_or(none(index))?;
            let cache = self.writer.is_some().then_some(&self.cache);
            match cache.and_then(|c| c.entry(tail.salt, index, offset)) {
                Some(_) if !at.is_empty() => break,
                Some(entry) => {
                    let fits = budget.take(&entry);
                    held.push(entry);
                    if !fits {
                        index += 1;
                        break;
                    }
                }
                None if !held.is_empty() => break,
                None => at.push((index, offset)),
            }
            index += 1;
        }
        if at.is_empty() {
            return Ok((Piece::Held(held), index));
        }
        let pin = self.files.get(&seq).map(Pin::new).ok_or(none(low))?;
        Ok((Piece::File { tail, at, pin }, index))
    }

    fn tail_file(&self) -> Option<(u64, TailFile<V::File>)> {
        if let Some(w) = &self.writer {
            let (file, path) = (w.file.clone(), w.path.clone());
            let (salt, end) = (w.header.salt, w.written());
            return Some((w.header.seq, TailFile { file, path, salt, end }));
        }
        let i = self.start.as_ref()?.inherited.as_ref()?;
        let (file, path) = (i.file.clone(), i.path.clone());
        Some((i.seq, TailFile { file, path, salt: i.salt, end: i.end }))
    }

    fn reading(&self) -> Reading<'_, V> {
        let inherited = self.start.as_ref().and_then(|s| s.inherited.as_ref());
        let tail = match (&self.writer, inherited) {
            (Some(w), _) => Some(TailSource {
                file: &*w.file,
                path: &w.path,
                salt: w.header.salt,
                end: w.written(),
                cache: Some(&self.cache),
            }),
            (None, Some(i)) => Some(i.source()),
            (None, None) => None,
        };
        let doubt =
            self.poison.as_ref().map(|cause| (self.unsynced_low.min(self.in_flight_low), cause));
        Reading { view: &self.state.view, tail, doubt }
    }

    /// The term of `index`: of an entry, or of the one before the first where a snapshot stands
    /// there (etcd's `Storage.Term`). `None` for that one if no term is known.
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::Unavailable`], or a read error.
    pub fn term(&self, index: u64) -> Result<Option<u64>> {
        self.reading().term(index)
    }

    /// Entries `[low, high)`, as many as fit `max_bytes` of payload, and at least one. Every entry
    /// that is read from a file is checked against its checksum, index and place on this read.
    /// Payloads are shared, not copied.
    ///
    /// # Errors
    /// [`Error::Compacted`] if `low` is below the log, [`Error::Unavailable`] if `high` is beyond
    /// it, [`Error::Corrupt`] or [`Error::Io`] for entries that cannot be read; others stay
    /// readable. [`Error::Poisoned`] for entries that were not durable when the log failed.
    pub fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>> {
        self.reading().entries(low, high, max_bytes)
    }

    /// One entry.
    ///
    /// # Errors
    /// As [`Wal::entries`].
    pub fn entry(&self, index: u64) -> Result<Entry> {
        self.reading().entry(index)
    }
}

impl<F: VfsFile> crate::wal::Inherited<F> {
    /// The segment, for reading.
    pub(crate) fn source(&self) -> TailSource<'_, F> {
        let Self { file, path, salt, end, .. } = self;
        TailSource { file, path, salt: *salt, end: *end, cache: None }
    }
}
