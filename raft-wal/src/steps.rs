//! Background duties as explicit steps. Whoever has a thread calls them; none is needed for
//! safety, and each says what it blocks for.

use std::sync::Arc;
use std::time::Duration;

use raft_vfs::{Vfs, VfsFile, VfsFileExt};

use crate::error::{Error, Result};
use crate::format::{IndexHead, crc};
use crate::index::SegmentIndex;
use crate::options::ReadMode;
use crate::paths::{Paths, io_error};
use crate::pins::Pin;
use crate::segment::ClosedSegment;
use crate::wal::Wal;
use crate::writer::SegmentWriter;

/// How long a log is idle before a mark repeats its promise.
pub const MARK_IDLE: Duration = Duration::from_millis(5);

impl<V: Vfs> Wal<V> {
    /// Publishes the next segment ahead of need: once the current one is half full. Returns
    /// whether it did. Blocks for the writing of a whole segment and two syncs.
    ///
    /// # Errors
    /// [`Error::NoSpace`] or [`Error::Io`] harm nothing: an append that needs the segment tries
    /// again. [`Error::Poisoned`].
    pub fn step_publish(&mut self) -> Result<bool> {
        self.healthy()?;
        if !self.wants_next() {
            return Ok(false);
        }
        let capacity = self.next_capacity();
        self.next = Some(self.publish(capacity)?);
        Ok(true)
    }

    /// Whether it is time to publish the next segment.
    pub(crate) fn wants_next(&self) -> bool {
        let half_full = self.writer.as_ref().is_some_and(SegmentWriter::half_full);
        half_full && self.next.is_none() && !self.publishing && self.poison.is_none()
    }

    /// Whether a mark would say more than the last one, once the log is idle.
    pub(crate) fn mark_is_due(&self) -> bool {
        self.busy || self.writer.as_ref().is_some_and(SegmentWriter::mark_is_stale)
    }

    /// After [`MARK_IDLE`] without an append, repeats the promise of what is durable in a mark
    /// page, so that a crash from then on is certain to have lost nothing. `now` is any monotonic
    /// clock. Returns whether it wrote. Does not sync.
    ///
    /// # Errors
    /// [`Error::Poisoned`].
    pub fn step_mark(&mut self, now: Duration) -> Result<bool> {
        self.healthy()?;
        if std::mem::take(&mut self.busy) {
            self.busy_at = now;
            return Ok(false);
        }
        let Some(writer) = &mut self.writer else { return Ok(false) };
        if now.saturating_sub(self.busy_at) < MARK_IDLE || !writer.mark_is_stale() {
            return Ok(false);
        }
        if let Err(e) = writer.write_mark(false) {
            let path = writer.path.clone();
            return Err(self.poison("write a mark of", &path, &e));
        }
        Ok(true)
    }

    /// Writes the index file of the oldest closed segment that has none. Returns whether there was
    /// one. Blocks for one sync, and reads the segment once if this process did not write it.
    ///
    /// The file says what a scan of the segment gives; debug builds compare. It is a cache: a write
    /// error leaves the segment without one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Io`] if the segment itself cannot be read.
    pub fn step_index(&mut self) -> Result<bool> {
        let Some(indexing) = self.begin_index() else { return Ok(false) };
        let end = indexing.run()?;
        self.end_index(end);
        Ok(true)
    }

    /// Takes the oldest closed segment without an index file; it stays where it is meanwhile.
    pub(crate) fn begin_index(&mut self) -> Option<Indexing<V>> {
        let segment = self.unindexed.pop_front()?;
        Some(Indexing {
            vfs: self.vfs.clone(),
            paths: self.paths.clone(),
            wal_uuid: self.ident.page.wal_uuid,
            mode: self.options.read_mode,
            _pin: Pin::new(segment.life()),
            segment,
        })
    }

    /// The segment stands on its index file from here on.
    pub(crate) fn end_index(&mut self, light: Option<ClosedSegment<V>>) {
        let Some(light) = light.map(Arc::new) else { return };
        for span in &mut self.state.view.spans {
            if span.segment.seq == light.seq {
                span.segment = light.clone();
            }
        }
    }

    /// Runs every duty once: what a thread without better plans calls now and then.
    ///
    /// # Errors
    /// The first one's; [`Error::NoSpace`] from publishing is not reported, an append will.
    pub fn step_all(&mut self, now: Duration) -> Result<()> {
        match self.step_publish() {
            Err(Error::NoSpace { .. }) | Ok(_) => {}
            Err(e) => return Err(e),
        }
        while self.step_index()? {}
        self.step_mark(now)?;
        self.step_gc()?;
        self.step_scrub_if_due(now)
    }
}

/// The making of an index file.
#[derive(Debug)]
pub(crate) struct Indexing<V: Vfs> {
    vfs: V,
    paths: Paths,
    wal_uuid: [u8; 16],
    mode: ReadMode,
    segment: Arc<ClosedSegment<V>>,
    _pin: Pin,
}

impl<V: Vfs> Indexing<V> {
    /// Reads the segment and writes the file. Blocks for one sync. Returns the segment as it
    /// stands on its index file; `None` if that could not be written.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Io`] if the segment cannot be read.
    pub(crate) fn run(self) -> Result<Option<ClosedSegment<V>>> {
        let index = self.segment.scan()?;
        if self.write(&index).is_err() {
            let _ = self.vfs.remove(&self.paths.index_tmp(self.segment.seq));
            return Ok(None);
        }
        let path = self.paths.index(self.segment.seq);
        let id = self.segment.id();
        Ok(ClosedSegment::with_index_file(&self.vfs, id, self.mode, path, &self.wal_uuid))
    }

    fn write(&self, index: &SegmentIndex) -> Result<()> {
        let (head, tables) = self.tables(index);
        let tmp = self.paths.index_tmp(self.segment.seq);
        let fault = |op, e| io_error(op, &tmp, None, e);
        match self.vfs.remove(&tmp) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fault("remove", e)),
            _ => {}
        }
        let file = self.vfs.create_excl(&tmp).map_err(|e| fault("create", e))?;
        let written = file
            .write_all_at(&head.encode(), 0)
            .and_then(|()| file.write_all_at(&tables, IndexHead::LEN as u64))
            .and_then(|()| file.sync_data());
        written.map_err(|e| fault("write", e))?;
        let path = self.paths.index(self.segment.seq);
        self.vfs.rename(&tmp, &path).map_err(|e| fault("rename", e))
    }

    fn tables(&self, index: &SegmentIndex) -> (IndexHead, Vec<u8>) {
        let mut tables = Vec::with_capacity(index.offsets.len() * 4 + index.runs.len() * 16 + 4);
        for offset in &index.offsets {
            tables.extend_from_slice(&offset.to_le_bytes());
        }
        tables.resize(tables.len().next_multiple_of(8), 0);
        for run in &index.runs {
            tables.extend_from_slice(&run.index.to_le_bytes());
            tables.extend_from_slice(&run.term.to_le_bytes());
        }
        let segment = &self.segment;
        let head = IndexHead {
            wal_uuid: self.wal_uuid,
            seq: segment.seq,
            salt: segment.salt,
            cut_batch_seq: segment.cut.batch_seq,
            cut_chain: segment.cut.chain,
            cut_end: segment.cut.end,
            first: index.first,
            n: index.offsets.len() as u64,
            low: index.low,
            runs: index.runs.len() as u32,
            had_reset: index.had_reset,
            tables_crc: crc(segment.salt, &tables),
        };
        (head, tables)
    }
}
