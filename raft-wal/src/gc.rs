//! Removing what is no longer needed, and never before what replaces it is durable. Segments of
//! the ordinary size become spares for later ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_vfs::{Access, Vfs, VfsFile};

use crate::dir::Names;
use crate::error::Result;
use crate::format::PAGE;
use crate::paths::{Paths, io_error};
use crate::planted::{Bug, planted};
use crate::types::Batch;
use crate::wal::Wal;
use crate::writer::SegmentWriter;

/// How much of a dead tail stays: what was given up there is evidence, and Base has the checksum
/// of its first MiB.
const DEAD_TAIL_KEPT: u64 = 1 << 20;

/// A closed segment whose file goes on behind the cut.
#[derive(Clone, Debug)]
pub(crate) struct DeadTail {
    pub(crate) seq: u64,
    pub(crate) path: PathBuf,
    /// Where the live part ends.
    pub(crate) end: u64,
}

impl DeadTail {
    /// The tail of a file of `len` bytes, if it is long enough to be worth a call.
    pub(crate) fn of(seq: u64, path: &Path, end: u64, len: u64) -> Option<Self> {
        let keep = Self::keep(end);
        (len > keep).then(|| Self { seq, path: path.to_owned(), end })
    }

    fn keep(end: u64) -> u64 {
        if planted(Bug::TailCutTooShort) {
            return end / PAGE * PAGE;
        }
        end.next_multiple_of(PAGE).saturating_add(DEAD_TAIL_KEPT)
    }
}

/// Segments on their way out.
#[derive(Debug)]
pub(crate) struct Removal<V: Vfs> {
    vfs: V,
    paths: Paths,
    /// Oldest first; and whether this handle made the file and nobody uses it, so that it may be
    /// written again.
    segments: Vec<(u64, bool)>,
    /// Size of a spare, and how many are wanted.
    spare_bytes: u64,
    spares_wanted: usize,
}

/// What came of a [`Removal`].
#[derive(Debug)]
pub(crate) struct RemovalEnd {
    gone: Vec<u64>,
    spares: Vec<PathBuf>,
    removed: usize,
    failed: Option<crate::error::Error>,
    synced: std::io::Result<()>,
}

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
        let floor = first_live.unwrap_or(newest) + u64::from(planted(Bug::FloorTooHigh));
        floor.max(self.state.floor_seq)
    }

    /// Removes segments that are below the floor or were stepped over, oldest first, and cuts off
    /// dead tails. Some removed segments of the ordinary size are kept to be written again
    /// ([`crate::Options::spare_segments`]). Returns how many names went. Blocks for up to two
    /// syncs and a directory sync; does nothing if there is nothing.
    ///
    /// The compaction is durable, and so is a promise that covers this process's first batch,
    /// before the first file goes: until then a crash may fall back on what is removed here. What
    /// a [`crate::Backup`] or a read in progress holds on to stays for a later call.
    ///
    /// # Errors
    /// [`crate::Error::Poisoned`]; [`crate::Error::Io`] if a file could not be removed.
    pub fn step_gc(&mut self) -> Result<usize> {
        let Some(removal) = self.begin_removal()? else { return Ok(0) };
        let end = removal.run();
        self.end_removal(end)
    }

    /// Whether there is something to remove.
    pub(crate) fn wants_removal(&self) -> bool {
        let garbage = !self.garbage().is_empty() || !self.dead_tails.is_empty();
        self.writer.is_some() && garbage && self.poison.is_none()
    }

    /// Makes durable and promised what stands for the garbage, and takes the garbage. `None` if
    /// there is none.
    pub(crate) fn begin_removal(&mut self) -> Result<Option<Removal<V>>> {
        self.healthy()?;
        if !self.wants_removal() {
            return Ok(None);
        }
        self.sync_writer()?;
        if !planted(Bug::RemovedBeforePromise) {
            self.promise()?;
        }
        self.release_tails();
        let garbage = self.garbage();
        Ok(self.removal(&garbage))
    }

    /// The removal of `garbage`; its segments are no duty of anybody else from here on.
    fn removal(&mut self, garbage: &[u64]) -> Option<Removal<V>> {
        if garbage.is_empty() {
            return None;
        }
        self.unindexed.retain(|s| !garbage.contains(&s.seq));
        self.gone_below = self.state.floor_seq;
        let unused = |seq: &u64| {
            // What an earlier handle mapped may be held without this one knowing.
            let own = *seq > self.highest_found;
            own && self.files.get(seq).is_some_and(|l| Arc::strong_count(l) == 1)
                || planted(Bug::UsedFileRecycled)
        };
        Some(Removal {
            vfs: self.vfs.clone(),
            paths: self.paths.clone(),
            segments: garbage.iter().map(|seq| (*seq, unused(seq))).collect(),
            spare_bytes: self.options.segment_bytes,
            spares_wanted: (self.options.spare_segments as usize).saturating_sub(self.spares.len()),
        })
    }

    pub(crate) fn end_removal(&mut self, end: RemovalEnd) -> Result<usize> {
        for seq in &end.gone {
            self.files.remove(seq);
            self.extents.remove(seq);
        }
        if let Err(e) = end.synced {
            let wal = self.paths.wal.clone();
            return Err(self.poison("sync directory", &wal, &e));
        }
        self.spares.extend(end.spares);
        let floor = self.state.floor_seq;
        self.walk.retain(|&seq| seq >= floor);
        match end.failed {
            Some(e) => Err(e),
            None => Ok(end.removed),
        }
    }

    /// Segments that exist, are not part of the log, and that nobody relies on.
    fn garbage(&self) -> Vec<u64> {
        let current = self.walk.last().copied().unwrap_or(0);
        let waiting = self.next.as_ref().map(|n| n.header.seq);
        let live = |seq: u64| {
            seq == current
                || seq > current && self.writer.is_none()
                || Some(seq) == waiting
                || (seq >= self.state.floor_seq && self.walk.contains(&seq))
        };
        let unpinned =
            self.files.iter().filter(|(_, life)| !life.is_pinned() || planted(Bug::PinsIgnored));
        unpinned.map(|(&seq, _)| seq).filter(|&seq| !live(seq)).collect()
    }

    /// Cuts off what lies dead behind the live part of closed segments, so that a process which
    /// starts again and again costs its data and not a segment each time. Best effort: what
    /// cannot be cut stays.
    fn release_tails(&mut self) {
        for tail in std::mem::take(&mut self.dead_tails) {
            let keep = DeadTail::keep(tail.end);
            let cut = |file: V::File| {
                if file.len()? > keep { file.truncate(keep) } else { Ok(()) }
            };
            let live = self.walk.contains(&tail.seq) && tail.seq >= self.state.floor_seq;
            if live {
                let _ = self.vfs.open(&tail.path, Access::ReadWrite).and_then(cut);
            }
        }
    }

    /// After a successful open: temporary files, dead segments, dead tails, orphan index files.
    pub(crate) fn clean_up(&mut self, names: &Names) -> Result<usize> {
        let mut removed = 0;
        for path in &names.temporary {
            // Spares too: after a crash in a rename, one may be a second name of a live segment.
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
            self.release_tails();
            let garbage = self.garbage();
            if let Some(removal) = self.removal(&garbage) {
                let end = removal.run();
                removed += self.end_removal(end)?;
            }
        }
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
}

impl<V: Vfs> Removal<V> {
    /// Removes or renames, oldest first, up to the first failure. Blocks for a directory sync.
    pub(crate) fn run(self) -> RemovalEnd {
        let mut end = RemovalEnd {
            gone: Vec::new(),
            spares: Vec::new(),
            removed: 0,
            failed: None,
            synced: Ok(()),
        };
        for &(seq, unused) in &self.segments {
            if let Err(e) = self.remove(seq, unused, &mut end) {
                end.failed = Some(e);
                break;
            }
            end.gone.push(seq);
        }
        if end.removed > 0 {
            // Only behind this may a spare's header be written: until then a crash may bring the
            // old name back.
            end.synced = self.vfs.sync_dir(&self.paths.wal);
        }
        end
    }

    fn remove(&self, seq: u64, unused: bool, end: &mut RemovalEnd) -> Result<()> {
        end.removed += remove_if_there(&self.vfs, &self.paths.index(seq))?;
        let path = self.paths.segment(seq);
        if unused && end.spares.len() < self.spares_wanted && self.is_ordinary(&path) {
            let spare = self.paths.spare(seq);
            // A name that an earlier process left may be another one of this very file, and a
            // rename between two names of one file does nothing.
            remove_if_there(&self.vfs, &spare)?;
            self.vfs.rename(&path, &spare).map_err(|e| io_error("rename", &path, None, e))?;
            end.removed += 1;
            end.spares.push(spare);
            return Ok(());
        }
        end.removed += remove_if_there(&self.vfs, &path)?;
        Ok(())
    }

    fn is_ordinary(&self, path: &Path) -> bool {
        let len = self.vfs.open(path, Access::Read).and_then(|file| file.len());
        len.is_ok_and(|len| len == self.spare_bytes)
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
