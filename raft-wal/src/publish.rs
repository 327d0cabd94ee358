//! Making a segment and giving it its live name.

use std::path::Path;
use std::sync::Arc;

use raft_vfs::{Vfs, VfsFile, VfsFileExt};

use crate::error::{Error, Result};
use crate::format::{Mark, PAGE, SegmentHeader};
use crate::paths::{io_error, is_no_space};
use crate::wal::{Published, Wal};

/// Capacity of the first segment of a process; each further one is four times as large, up to the
/// configured size, so that a crash loop does not cost a full segment a start.
const FIRST_CAPACITY: u64 = 4 << 20;

impl<V: Vfs> Wal<V> {
    /// Capacity of the next ordinary segment.
    pub(crate) fn next_capacity(&self) -> u64 {
        let grown = FIRST_CAPACITY << (2 * self.published.min(8));
        self.options.segment_bytes.min(grown)
    }

    /// Makes a segment of `capacity` bytes: zeros, header and marks under a temporary name, sync,
    /// rename, directory sync. A live name therefore always has a durable header.
    ///
    /// Blocks for two syncs and the writing of the whole file.
    ///
    /// # Errors
    /// [`Error::NoSpace`] or [`Error::Io`] with nothing changed that matters; after a failed
    /// directory sync the log is poisoned.
    pub(crate) fn publish(&mut self, capacity: u64) -> Result<Published<V::File>> {
        let seq = self.highest.checked_add(1).ok_or(Error::TooLarge {
            what: "the number of the next segment",
            size: u64::MAX,
            max: u64::MAX - 1,
        })?;
        let spare = self.paths.spare(seq);
        let (path, made) = (self.paths.segment(seq), self.prepare(&spare, seq, capacity));
        let (file, header) = match made {
            Ok(made) => made,
            Err(e) => {
                // Best effort: what is left goes with the next open.
                let _ = self.vfs.remove(&spare);
                return Err(e);
            }
        };
        self.vfs.rename(&spare, &path).map_err(|e| space_or_io("rename", &spare, e))?;
        // The number is taken from here on, whatever happens to the name.
        self.highest = seq;
        self.files.insert(seq);
        if let Err(e) = self.vfs.sync_dir(&self.paths.wal) {
            let wal = self.paths.wal.clone();
            if is_out_of_descriptors(&e) {
                // No sync began. The segment stays unstarted and is dead with the next one.
                return Err(io_error("sync directory", &wal, None, e));
            }
            return Err(self.poison("sync directory", &wal, &e));
        }
        self.published = self.published.saturating_add(1);
        Ok(Published { file, path, header })
    }

    fn prepare(&self, spare: &Path, seq: u64, capacity: u64) -> Result<(V::File, SegmentHeader)> {
        let fault = |op, e| space_or_io(op, spare, e);
        match self.vfs.remove(spare) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fault("remove", e)),
            _ => {}
        }
        let file = self.vfs.create_excl(spare).map_err(|e| fault("create", e))?;
        zero_fill(&file, capacity).map_err(|e| fault("write", e))?;
        let salt = self.vfs.random().map_err(|e| fault("random number for", e))?;
        let header = SegmentHeader {
            salt: salt as u32,
            wal_uuid: self.ident.page.wal_uuid,
            seq,
            capacity,
            created_ms: self.vfs.unix_millis(),
            align: self.options.align,
            era: self.era,
            era_nonce: self.era_nonce,
        };
        file.write_all_at(&header.encode(), 0).map_err(|e| fault("write", e))?;
        for page in [1_u32, 2] {
            let mark = Mark::blank(header).encode(page);
            file.write_all_at(&mark, u64::from(page) * PAGE).map_err(|e| fault("write", e))?;
        }
        file.sync_data().map_err(|e| fault("sync", e))?;
        Ok((file, header))
    }
}

/// Writes zeros, so that no later append allocates blocks or converts extents: that is 1.5 to 2
/// times the price of a sync.
fn zero_fill<F: VfsFile>(file: &F, capacity: u64) -> std::io::Result<()> {
    const STEP: u64 = 1 << 20;
    let zeros = vec![0; capacity.min(STEP) as usize];
    let mut at = 0;
    while at < capacity {
        let n = (capacity - at).min(STEP);
        file.write_all_at(&zeros[..n as usize], at)?;
        at += n;
    }
    Ok(())
}

/// Whether a directory could not even be opened to be synced.
fn is_out_of_descriptors(e: &std::io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(e.raw_os_error(), Some(ENFILE | EMFILE))
}

/// Tells a full disk from other errors.
pub(crate) fn space_or_io(op: &'static str, path: &Path, e: std::io::Error) -> Error {
    if is_no_space(&e) {
        Error::NoSpace { what: "the next segment", source: Arc::new(e) }
    } else {
        io_error(op, path, None, e)
    }
}
