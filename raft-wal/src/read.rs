//! Reading entries.

use raft_vfs::Vfs;

use crate::error::{Error, Result};
use crate::segment::{Budget, RecordReader, bad_record, entry_in};
use crate::types::Entry;
use crate::view::Place;
use crate::wal::Wal;

impl<V: Vfs> Wal<V> {
    /// The term of `index`: of an entry, or of the one before the first where a snapshot stands
    /// there (etcd's `Storage.Term`). `None` for that one if no term is known.
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::Unavailable`], or a read error.
    pub fn term(&self, index: u64) -> Result<Option<u64>> {
        let view = &self.state.view;
        if index.checked_add(1) == Some(view.first_index) {
            return Ok(view.base_term);
        }
        self.check_index(index)?;
        view.term(index)
    }

    fn check_index(&self, index: u64) -> Result<()> {
        let view = &self.state.view;
        if index < view.first_index {
            return Err(Error::Compacted { index, first_index: view.first_index });
        }
        if index >= view.next_index {
            return Err(Error::Unavailable { index, next_index: view.next_index });
        }
        if let Some(cause) = &self.poison
            && index >= self.unsynced_low
        {
            return Err(Error::Poisoned { cause: cause.clone() });
        }
        Ok(())
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
        if low >= high {
            return Ok(Vec::new());
        }
        self.check_index(low)?;
        self.check_index(high - 1)?;
        let mut out = Vec::with_capacity((high - low).min(1024) as usize);
        let mut budget = Budget::new(max_bytes);
        let mut at = low;
        while at < high && !budget.exhausted {
            match self.state.view.place(at) {
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

    /// One entry.
    ///
    /// # Errors
    /// As [`Wal::entries`].
    pub fn entry(&self, index: u64) -> Result<Entry> {
        let mut one = self.entries(index, index.saturating_add(1), u64::MAX)?;
        one.pop().ok_or(Error::Unavailable { index, next_index: self.next_index() })
    }

    /// Reads from the newest segment: from memory where it is still there, else from the file.
    fn read_tail(
        &self,
        low: u64,
        high: u64,
        budget: &mut Budget,
        out: &mut Vec<Entry>,
    ) -> Result<()> {
        let inherited = self.start.as_ref().and_then(|s| s.inherited.as_ref());
        let (file, path, salt, end) = match (&self.writer, inherited) {
            (Some(w), _) => (&w.file, &w.path, w.header.salt, w.written()),
            (None, Some(i)) => (&i.file, &i.path, i.salt, i.end),
            (None, None) => return Err(Error::Unavailable { index: low, next_index: low }),
        };
        let mut reader = RecordReader::file(file, end);
        for index in low..high {
            let at = self.state.view.tail.offset(index);
            let at = at.ok_or(Error::Unavailable { index, next_index: self.next_index() })?;
            let cached = self.cache.find(at).and_then(|(b, from)| entry_in(b, salt, index, from));
            let entry = match cached {
                Some(e) => Some(e),
                None => reader
                    .entry(salt, index, at)
                    .map_err(|e| crate::paths::io_error("read", path, Some(at), e))?,
            };
            let Some(entry) = entry else {
                return Err(bad_record(path, index, at, 0, "a record with its checksum").into());
            };
            if !budget.take(&entry) {
                return Ok(());
            }
            out.push(entry);
        }
        Ok(())
    }
}
