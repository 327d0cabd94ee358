//! What is in the directory, usable or not.

use std::ffi::OsString;
use std::path::PathBuf;

use raft_vfs::{FileKind, Vfs};

use crate::dir::{Pin, SnapDir};
use crate::error::{CorruptKind, Error, Result, corrupt, hex, io_error};
use crate::file::{SnapFile, SnapInfo};
use crate::names::{SnapId, SnapName};
use crate::reader::SnapReader;

/// A snapshot that cannot be used, and why.
#[derive(Clone, Debug)]
pub struct Unusable {
    /// Which one, by its name.
    pub id: SnapId,
    /// The file.
    pub path: PathBuf,
    /// What is wrong: damage, another node's file, a newer version, no regular file, or a system
    /// call that failed.
    pub error: Error,
}

/// Everything in a snapshot directory.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Snapshots whose header, footer and length are sound, newest first.
    pub usable: Vec<SnapInfo>,
    /// Snapshots that are not, newest first by their names.
    pub unusable: Vec<Unusable>,
    /// Transfers that are not complete.
    pub parts: Vec<SnapId>,
    /// Temporary files.
    pub temporary: Vec<SnapName>,
    /// Files that were quarantined.
    pub broken: Vec<SnapName>,
    /// What is not ours: left alone.
    pub foreign: Vec<OsString>,
}

/// Names, without a look into the files.
#[derive(Default)]
struct Names {
    /// Newest first.
    snapshots: Vec<SnapId>,
    rest: Listing,
}

impl<V: Vfs> SnapDir<V> {
    /// Lists the directory and checks header, footer and length of every snapshot; their data are
    /// checked by [`SnapDir::verify`], and by whoever reads them.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be listed. What is wrong with a file is in the list.
    pub fn list(&self) -> Result<Listing> {
        let Names { snapshots, rest: mut listing } = self.names()?;
        for id in snapshots {
            match SnapFile::open(&self.shared, id) {
                Ok(file) => listing.usable.push(file.info),
                // It was removed since, or moved away.
                Err(Error::NotFound { .. }) => {}
                Err(error) => {
                    let path = self.path_of(id);
                    listing.unusable.push(Unusable { id, path, error });
                }
            }
        }
        Ok(listing)
    }

    /// The newest snapshot whose header, footer and length are sound; `None` if there is none.
    /// Newer ones that are damaged or foreign are passed over: [`SnapDir::list`] names them.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be listed, or a newer file not be read: that says
    /// nothing against the file, and is no reason to go back to an older one.
    pub fn newest_usable(&self) -> Result<Option<SnapInfo>> {
        for id in self.names()?.snapshots {
            match SnapFile::open(&self.shared, id) {
                Ok(file) => return Ok(Some(file.info)),
                Err(e @ Error::Io { .. }) => return Err(e),
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// The snapshot of this index and term, its header, footer and length checked.
    ///
    /// # Errors
    /// [`Error::NotFound`]; whatever is wrong with the file.
    pub fn find(&self, id: SnapId) -> Result<SnapInfo> {
        Ok(SnapFile::open(&self.shared, id)?.info)
    }

    /// Keeps a snapshot from being removed by [`SnapDir::retain`], as a reader does; for who needs
    /// it from one reading to the next.
    ///
    /// # Errors
    /// As [`SnapDir::reader`].
    pub fn pin(&self, info: &SnapInfo) -> Result<Pin<V>> {
        self.open_pinned(info).map(|(_, pin)| pin)
    }

    /// Opens a snapshot for reading. It is pinned as long as the reader lives.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it was removed; whatever is wrong with the file by now.
    pub fn reader(&self, info: &SnapInfo) -> Result<SnapReader<V>> {
        let (file, pin) = self.open_pinned(info)?;
        SnapReader::new(file, pin)
    }

    /// Reads all of a snapshot and compares every checksum and the hash of the data. Holds one
    /// chunk in memory.
    ///
    /// # Errors
    /// The first thing that is wrong with the file.
    pub fn verify(&self, info: &SnapInfo) -> Result<()> {
        let (file, _pin) = self.open_pinned(info)?;
        file.verify()
    }

    /// Pins first, so that the file cannot go between the two.
    fn open_pinned(&self, info: &SnapInfo) -> Result<(SnapFile<V>, Pin<V>)> {
        let pin = Pin::new(&self.shared, info.id())?;
        let file = SnapFile::open(&self.shared, info.id())?;
        if file.info.file_hash == info.file_hash {
            return Ok((file, pin));
        }
        let [expected, found] = [info.file_hash, file.info.file_hash].map(|h| hex(&h));
        let at = file.layout.offset(file.layout.chunks);
        Err(corrupt(CorruptKind::FileHash, &file.path, at, expected, found))
    }

    fn names(&self) -> Result<Names> {
        let dir = &self.shared.dir;
        let entries = self.shared.vfs.list(dir).map_err(|e| io_error("list", dir, None, e))?;
        let mut names = Names::default();
        let rest = &mut names.rest;
        for entry in entries {
            let parsed = entry.name.to_str().and_then(SnapName::parse);
            match parsed {
                // Opening says what it is, if it is no file.
                Some(SnapName::Snapshot(id)) => names.snapshots.push(id),
                Some(SnapName::Part(id)) if entry.kind == FileKind::File => rest.parts.push(id),
                Some(name @ SnapName::Temporary(..)) if entry.kind == FileKind::File => {
                    rest.temporary.push(name);
                }
                Some(name @ SnapName::Broken(..)) => rest.broken.push(name),
                _ => rest.foreign.push(entry.name),
            }
        }
        names.snapshots.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }
}
