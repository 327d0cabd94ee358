//! Making a segment and giving it its live name, and recycling old ones for it.
//!
//! The work is a job of its own ([`Publishing`]) that knows all it needs, so that it can be done
//! while the log goes on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_vfs::{Access, Vfs, VfsFile, VfsFileExt};

use crate::error::{Error, Result};
use crate::format::{FIRST_FRAME, Mark, PAGE, SegmentHeader, get_u32};
use crate::paths::{Paths, io_error, is_no_space};
use crate::planted::{Bug, planted};
use crate::wal::{Published, Wal};

/// Capacity of the first segment of a process; each further one is four times as large, up to the
/// configured size, so that a crash loop does not cost a full segment a start.
const FIRST_CAPACITY: u64 = 4 << 20;
/// What is zeroed at once.
const STEP: u64 = 1 << 20;

/// A segment on its way to its live name.
#[derive(Debug)]
pub(crate) struct Publishing<V: Vfs> {
    vfs: V,
    /// The directory.
    wal: PathBuf,
    /// The temporary name: of the new file, or of the one that is recycled.
    spare: PathBuf,
    recycles: bool,
    path: PathBuf,
    /// Its salt is drawn when the header is written.
    header: SegmentHeader,
    /// Sync while zeroing, so that the syncs of the log need not wait for all of it.
    pub(crate) gentle: bool,
}

/// Why a segment was not published.
#[derive(Debug)]
enum Stage {
    /// The name is not taken: nothing happened.
    Before(Error),
    /// The name may be there, and nothing is known to be lost.
    Named(Error),
    /// Nothing is known of the directory any more.
    DirSync(io::Error),
}

/// What came of a [`Publishing`].
#[derive(Debug)]
pub(crate) struct PublishEnd<F> {
    seq: u64,
    made: std::result::Result<Published<F>, Stage>,
}

impl<V: Vfs> Wal<V> {
    /// Capacity of the next ordinary segment.
    pub(crate) fn next_capacity(&self) -> u64 {
        if !self.spares.is_empty() {
            return self.options.segment_bytes;
        }
        let grown = FIRST_CAPACITY << (2 * self.published.min(8));
        self.options.segment_bytes.min(grown)
    }

    /// Makes a segment of `capacity` bytes: zeros (or a recycled file), header and marks under a
    /// temporary name, sync, rename, directory sync. A live name therefore always has a durable
    /// header.
    ///
    /// Blocks for two syncs and the writing of the whole file.
    ///
    /// # Errors
    /// [`Error::NumbersEnd`], [`Error::NoSpace`] or [`Error::Io`] with nothing changed that
    /// matters; after a failed directory sync the log is poisoned.
    pub(crate) fn publish(&mut self, capacity: u64) -> Result<Published<V::File>> {
        let end = self.begin_publish(capacity)?.run();
        self.end_publish(end)
    }

    /// Takes the next number, and a spare file if there is one of that size.
    pub(crate) fn begin_publish(&mut self, capacity: u64) -> Result<Publishing<V>> {
        let seq = number_above(&self.paths, self.highest)?;
        self.highest = seq;
        self.publishing = true;
        let spare = if capacity == self.options.segment_bytes { self.spares.pop() } else { None };
        let header = SegmentHeader {
            salt: 0,
            wal_uuid: self.ident.page.wal_uuid,
            seq,
            capacity,
            created_ms: self.vfs.unix_millis(),
            align: self.options.align,
            era: self.era,
            era_nonce: self.era_nonce,
            reused: false,
        };
        Ok(Publishing {
            vfs: self.vfs.clone(),
            wal: self.paths.wal.clone(),
            recycles: spare.is_some(),
            spare: spare.unwrap_or_else(|| self.paths.spare(seq)),
            path: self.paths.segment(seq),
            header,
            gentle: false,
        })
    }

    /// The segment has its name, or the log knows why not.
    pub(crate) fn end_publish(&mut self, end: PublishEnd<V::File>) -> Result<Published<V::File>> {
        self.publishing = false;
        if matches!(end.made, Err(Stage::Before(_))) && self.highest == end.seq {
            self.highest -= 1;
        } else {
            // The number is taken, whatever happened to the name.
            self.files.insert(end.seq, Arc::default());
        }
        match end.made {
            Ok(published) => {
                self.published = self.published.saturating_add(1);
                Ok(published)
            }
            Err(Stage::Before(e) | Stage::Named(e)) => Err(e),
            Err(Stage::DirSync(e)) => {
                let wal = self.paths.wal.clone();
                Err(self.poison("sync directory", &wal, &e))
            }
        }
    }
}

impl<V: Vfs> Publishing<V> {
    /// Does the work. Blocks for two syncs, and for zeroing the file if it is new.
    pub(crate) fn run(mut self) -> PublishEnd<V::File> {
        let seq = self.header.seq;
        let made = self.make();
        PublishEnd { seq, made }
    }

    fn make(&mut self) -> std::result::Result<Published<V::File>, Stage> {
        let file = match self.prepare() {
            Ok(file) => file,
            Err(e) => {
                // Best effort: what is left goes with the next open.
                let _ = self.vfs.remove(&self.spare);
                return Err(Stage::Before(e));
            }
        };
        let renamed = self.vfs.rename(&self.spare, &self.path);
        renamed.map_err(|e| Stage::Named(space_or_io("rename", &self.spare, e)))?;
        match self.vfs.sync_dir(&self.wal) {
            Ok(()) => Ok(Published { file, path: self.path.clone(), header: self.header }),
            // No sync began. The segment stays unstarted and is dead with the next one.
            Err(e) if is_out_of_descriptors(&e) => {
                Err(Stage::Named(io_error("sync directory", &self.wal, None, e)))
            }
            Err(e) => Err(Stage::DirSync(e)),
        }
    }

    /// A file of the right size with header and blank marks, synced, under the temporary name.
    fn prepare(&mut self) -> Result<V::File> {
        let (file, old_salt) = match self.recycle()? {
            Some(recycled) => {
                self.header.reused = true;
                recycled
            }
            None => (self.create()?, 0),
        };
        let spare = &self.spare;
        let fault = |op, e| space_or_io(op, spare, e);
        // Frames of the file's earlier life are valid under its old salt alone.
        loop {
            let drawn = self.vfs.random().map_err(|e| fault("random number for", e))?;
            let kept = planted(Bug::SaltKept) && old_salt != 0;
            self.header.salt = if kept { old_salt } else { drawn as u32 };
            if self.header.salt != old_salt || kept {
                break;
            }
        }
        file.write_all_at(&self.header.encode(), 0).map_err(|e| fault("write", e))?;
        for page in [1_u32, 2] {
            let mark = Mark::blank(self.header).encode(page);
            file.write_all_at(&mark, u64::from(page) * PAGE).map_err(|e| fault("write", e))?;
        }
        file.sync_data().map_err(|e| fault("sync", e))?;
        Ok(file)
    }

    /// The spare file with the salt of its earlier life; `None` if there is none of this size.
    fn recycle(&self) -> Result<Option<(V::File, u32)>> {
        if !self.recycles {
            return Ok(None);
        }
        let Ok(file) = self.vfs.open(&self.spare, Access::ReadWrite) else { return Ok(None) };
        let fault = |op, e| io_error(op, &self.spare, None, e);
        if file.len().map_err(|e| fault("look at", e))? != self.header.capacity {
            return Ok(None);
        }
        let mut old = [0; SegmentHeader::LEN];
        file.read_exact_at(&mut old, 0).map_err(|e| fault("read", e))?;
        // What is not begun must look so: the first page of frames is blank again.
        let blank = [0; PAGE as usize];
        file.write_all_at(&blank, FIRST_FRAME).map_err(|e| fault("write", e))?;
        Ok(Some((file, get_u32(&old, 20))))
    }

    fn create(&self) -> Result<V::File> {
        let fault = |op, e| space_or_io(op, &self.spare, e);
        match self.vfs.remove(&self.spare) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fault("remove", e)),
            _ => {}
        }
        let file = self.vfs.create_excl(&self.spare).map_err(|e| fault("create", e))?;
        self.zero_fill(&file).map_err(|e| fault("write", e))?;
        Ok(file)
    }

    /// Writes zeros, so that no later append allocates blocks or converts extents: that is 1.5 to
    /// 2 times the price of a sync.
    fn zero_fill(&self, file: &V::File) -> io::Result<()> {
        let capacity = self.header.capacity;
        let zeros = vec![0; capacity.min(STEP) as usize];
        let mut at = 0;
        while at < capacity {
            let n = (capacity - at).min(STEP);
            file.write_all_at(&zeros[..n as usize], at)?;
            at += n;
            if self.gentle && at < capacity {
                file.sync_data()?;
            }
        }
        Ok(())
    }
}

/// The number of the segment that follows all others.
///
/// # Errors
/// [`Error::NumbersEnd`] if `highest`, which some file or record names, is the last there can be.
pub(crate) fn number_above(paths: &Paths, highest: u64) -> Result<u64> {
    let next = highest.checked_add(1);
    next.ok_or_else(|| Error::NumbersEnd { dir: paths.dir.clone(), highest })
}

/// Whether a directory could not even be opened to be synced.
pub(crate) fn is_out_of_descriptors(e: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(e.raw_os_error(), Some(ENFILE | EMFILE))
}

/// Tells a full disk from other errors.
fn space_or_io(op: &'static str, path: &Path, e: io::Error) -> Error {
    if is_no_space(&e) {
        Error::NoSpace { what: "the next segment", source: Arc::new(e) }
    } else {
        io_error(op, path, None, e)
    }
}
