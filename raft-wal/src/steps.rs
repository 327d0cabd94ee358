//! Background duties as explicit steps. Whoever has a thread calls them; none is needed for
//! safety, and each says what it blocks for.

use std::sync::Arc;
use std::time::Duration;

use raft_vfs::{Vfs, VfsFile, VfsFileExt};

use crate::error::{Error, Result};
use crate::format::{IndexHead, crc};
use crate::index::SegmentIndex;
use crate::paths::io_error;
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
        if self.next.is_some() || !self.writer.as_ref().is_some_and(SegmentWriter::half_full) {
            return Ok(false);
        }
        let capacity = self.next_capacity();
        self.next = Some(self.publish(capacity)?);
        Ok(true)
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
    /// one. Reads that segment once and blocks for one sync.
    ///
    /// The file is made by scanning the segment as a recovery would, so it cannot say anything
    /// else than a scan. It is a cache: a write error leaves the segment without one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Io`] if the segment itself cannot be read.
    pub fn step_index(&mut self) -> Result<bool> {
        let Some(segment) = self.unindexed.pop_front() else { return Ok(false) };
        let index = segment.scan()?;
        if self.write_index(&segment, &index).is_err() {
            let _ = self.vfs.remove(&self.paths.index_tmp(segment.seq));
            return Ok(true);
        }
        let (path, uuid) = (self.paths.index(segment.seq), &self.ident.page.wal_uuid);
        let mode = self.options.read_mode;
        let light = ClosedSegment::with_index_file(&self.vfs, segment.id(), mode, path, uuid);
        if let Some(light) = light.map(Arc::new) {
            for span in &mut self.state.view.spans {
                if span.segment.seq == segment.seq {
                    span.segment = light.clone();
                }
            }
        }
        Ok(true)
    }

    fn write_index(&self, segment: &ClosedSegment<V>, index: &SegmentIndex) -> Result<()> {
        let mut tables = Vec::with_capacity(index.offsets.len() * 4 + index.runs.len() * 16 + 4);
        for offset in &index.offsets {
            tables.extend_from_slice(&offset.to_le_bytes());
        }
        tables.resize(tables.len().next_multiple_of(8), 0);
        for run in &index.runs {
            tables.extend_from_slice(&run.index.to_le_bytes());
            tables.extend_from_slice(&run.term.to_le_bytes());
        }
        let head = IndexHead {
            wal_uuid: self.ident.page.wal_uuid,
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
        let tmp = self.paths.index_tmp(segment.seq);
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
        let path = self.paths.index(segment.seq);
        self.vfs.rename(&tmp, &path).map_err(|e| fault("rename", e))
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
        Ok(())
    }
}
