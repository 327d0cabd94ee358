//! Removing what is no longer needed, and never before what replaces it is durable.

use std::path::Path;

use raft_vfs::Vfs;

use crate::dir::Names;
use crate::error::Result;
use crate::paths::io_error;
use crate::types::Batch;
use crate::wal::Wal;
use crate::writer::SegmentWriter;

impl<V: Vfs> Wal<V> {
    /// Gives up every entry below `index` and removes the segments that only held such entries.
    /// Blocks for two syncs and a directory sync.
    ///
    /// # Errors
    /// As [`Wal::append`]; [`crate::Error::Io`] if a file could not be removed, which harms
    /// nothing and is tried again by the next call.
    pub fn compact_to(&mut self, index: u64) -> Result<()> {
        self.append(&Batch { compact: Some(index), ..Batch::default() })?;
        self.step_gc()?;
        Ok(())
    }

    /// The oldest segment that still matters once the log begins at `index`.
    pub(crate) fn floor_for(&self, index: u64) -> u64 {
        let spans = &self.state.view.spans;
        let first_live = spans.iter().find(|s| s.hi > index).map(|s| s.segment.seq);
        let newest = self.walk.last().copied().unwrap_or(0);
        first_live.unwrap_or(newest).max(self.state.floor_seq)
    }

    /// Removes segments that are below the floor or were stepped over, oldest first. Returns how
    /// many. Blocks for up to two syncs and a directory sync; does nothing if there is nothing.
    ///
    /// The compaction is durable, and so is a promise that covers this process's first batch,
    /// before the first file goes: until then a crash may fall back on what is removed here.
    ///
    /// # Errors
    /// [`crate::Error::Poisoned`]; [`crate::Error::Io`] if a file could not be removed.
    pub fn step_gc(&mut self) -> Result<usize> {
        self.healthy()?;
        if self.writer.is_none() || self.garbage().is_empty() {
            return Ok(0);
        }
        self.sync_writer()?;
        self.promise()?;
        let garbage = self.garbage();
        let removed = self.remove_segments(&garbage)?;
        let floor = self.state.floor_seq;
        self.walk.retain(|&seq| seq >= floor);
        Ok(removed)
    }

    /// Segments that exist and are not part of the log.
    fn garbage(&self) -> Vec<u64> {
        let current = self.walk.last().copied().unwrap_or(0);
        let waiting = self.next.as_ref().map(|n| n.header.seq);
        let live = |seq: u64| {
            seq == current
                || seq > current && self.writer.is_none()
                || Some(seq) == waiting
                || (seq >= self.state.floor_seq && self.walk.contains(&seq))
        };
        self.files.iter().copied().filter(|&seq| !live(seq)).collect()
    }

    fn remove_segments(&mut self, seqs: &[u64]) -> Result<usize> {
        let mut removed = 0;
        for &seq in seqs {
            self.unindexed.retain(|s| s.seq != seq);
            remove_if_there(&self.vfs, &self.paths.index(seq))?;
            removed += remove_if_there(&self.vfs, &self.paths.segment(seq))?;
            self.files.remove(&seq);
        }
        self.sync_wal_dir(removed)?;
        Ok(removed)
    }

    fn sync_wal_dir(&mut self, removed: usize) -> Result<()> {
        if removed == 0 {
            return Ok(());
        }
        let wal = self.paths.wal.clone();
        let synced = self.vfs.sync_dir(&wal);
        synced.map_err(|e| self.poison("sync directory", &wal, &e))
    }

    /// After a successful open: temporary files, dead segments, orphan index files.
    pub(crate) fn clean_up(&mut self, names: &Names) -> Result<usize> {
        let mut removed = 0;
        for path in &names.temporary {
            removed += remove_if_there(&self.vfs, path)?;
        }
        let live = |seq: u64| self.walk.contains(&seq);
        let orphans: Vec<_> = names.indexes.iter().copied().filter(|&seq| !live(seq)).collect();
        for seq in orphans {
            removed += remove_if_there(&self.vfs, &self.paths.index(seq))?;
        }
        self.sync_wal_dir(removed)?;
        // Only what this process promised is known to be durable: a promise that was found may be
        // in the cache alone, and until it is on disk the next crash may fall back on what it
        // replaces.
        let proven = self.writer.as_ref().is_some_and(SegmentWriter::start_is_proven);
        if proven {
            let garbage = self.garbage();
            removed += self.remove_segments(&garbage)?;
        }
        Ok(removed)
    }
}

/// Removes a file that may be gone already.
fn remove_if_there<V: Vfs>(vfs: &V, path: &Path) -> Result<usize> {
    match vfs.remove(path) {
        Ok(()) => Ok(1),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(io_error("remove", path, None, e)),
    }
}
