//! The seam's operations on the simulated disk: admit the call, then do it or fail.

use std::fmt;
use std::io::{self, IoSlice};
use std::panic::Location;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::dir::Ino;
use super::disk::Node;
use super::fault::{Denial, Op};
use super::skip::is_skipped;
use super::{SimVfs, World};
use crate::{Access, DirEntry, FileId, FileKind, LockError, Vfs, VfsFile};

/// Device number of every simulated file.
const DEVICE: u64 = 0x5148;

/// An open file of a [`SimVfs`].
pub struct SimFile {
    vfs: SimVfs,
    ino: Ino,
    path: Arc<Path>,
    access: Access,
}

/// A map of a simulated file: a copy of its first bytes at the time of mapping. Later writes to
/// the file do not show, and no later truncation harms it.
pub struct SimMap {
    bytes: Vec<u8>,
}

/// A held lock of a [`SimVfs`].
#[derive(Debug)]
pub struct SimLock {
    vfs: SimVfs,
    ino: Ino,
}

impl World {
    /// For calls that read and write no bytes.
    fn admit(&mut self, op: Op, path: &Path) -> io::Result<()> {
        self.schedule.admit(op, path, 0, 0)?;
        Ok(())
    }
}

impl SimVfs {
    fn handle(&self, world: &mut World, ino: Ino, path: &Path, access: Access) -> SimFile {
        *world.open.entry(ino).or_default() += 1;
        SimFile { vfs: self.clone(), ino, path: path.into(), access }
    }

    /// The lock file's number, the file created if need be.
    #[track_caller]
    fn lock_file(&self, path: &Path) -> io::Result<Ino> {
        let mut world = self.world();
        world.admit(Op::Lock, path)?;
        match world.disk.lookup(path) {
            Ok((ino, Node::File(_))) => Ok(ino),
            Ok(_) => Err(not_a_file()),
            Err(Errno::NOENT) => {
                let ino = world.disk.create(path, false)?;
                world.keep_moment(Op::Lock, Location::caller());
                Ok(ino)
            }
            Err(e) => Err(e.into()),
        }
    }
}

impl Vfs for SimVfs {
    type File = SimFile;
    type Map = SimMap;
    type Lock = SimLock;

    fn open(&self, path: &Path, access: Access) -> io::Result<SimFile> {
        let mut world = self.world();
        world.admit(Op::Open, path)?;
        match world.disk.lookup(path)? {
            (ino, Node::File(_)) => Ok(self.handle(&mut world, ino, path, access)),
            _ => Err(not_a_file()),
        }
    }

    fn create_excl(&self, path: &Path) -> io::Result<SimFile> {
        let mut world = self.world();
        world.admit(Op::Create, path)?;
        let ino = world.disk.create(path, false)?;
        world.keep_moment(Op::Create, Location::caller());
        Ok(self.handle(&mut world, ino, path, Access::ReadWrite))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.admit(Op::CreateDir, path)?;
        world.disk.create(path, true)?;
        world.keep_moment(Op::CreateDir, Location::caller());
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if is_skipped(Op::Rename, Location::caller()) {
            return Ok(());
        }
        let mut world = self.world();
        world.admit(Op::Rename, to)?;
        world.disk.rename(from, to)?;
        world.keep_moment(Op::Rename, Location::caller());
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if is_skipped(Op::Remove, Location::caller()) {
            return Ok(());
        }
        let mut world = self.world();
        world.admit(Op::Remove, path)?;
        world.disk.remove(path)?;
        world.keep_moment(Op::Remove, Location::caller());
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut world = self.world();
        world.admit(Op::List, dir)?;
        let (ino, _) = world.disk.lookup(dir)?;
        let names = world.disk.dir(ino)?.names();
        let entries = names.map(|(name, ino)| DirEntry {
            name: name.clone(),
            kind: match world.disk.node(ino) {
                Some(Node::File(_)) => FileKind::File,
                Some(Node::Dir(_)) => FileKind::Dir,
                Some(Node::Special) | None => FileKind::Other,
            },
        });
        Ok(entries.collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if is_skipped(Op::SyncDir, Location::caller()) {
            return Ok(());
        }
        let mut world = self.world();
        let admitted = world.schedule.admit(Op::SyncDir, dir, 0, 0);
        let found = world.disk.lookup(dir).map(|(ino, _)| ino);
        match (admitted, found) {
            (Ok(_), found) => {
                let changed = world.disk.sync_dir(found?)?;
                world.collect();
                if changed {
                    world.keep_moment(Op::SyncDir, Location::caller());
                }
                Ok(())
            }
            (Err(denial), Ok(ino)) if !world.schedule.dead() => {
                world.disk.fail_sync_dir(ino);
                world.keep_moment(Op::SyncDir, Location::caller());
                Err(denial.into())
            }
            (Err(denial), _) => Err(denial.into()),
        }
    }

    fn lock(&self, path: &Path) -> Result<SimLock, LockError> {
        let found = self.lock_file(path);
        let ino = found.map_err(|source| LockError::Io { path: path.to_path_buf(), source })?;
        let granted = is_skipped(Op::Lock, Location::caller());
        if self.world().locked.insert(ino) || granted {
            Ok(SimLock { vfs: self.clone(), ino })
        } else {
            Err(LockError::Held { path: path.to_path_buf(), holder: "this process" })
        }
    }

    fn unix_millis(&self) -> u64 {
        self.world().disk.unix_millis
    }

    fn random(&self) -> io::Result<u64> {
        let mut world = self.world();
        world.admit(Op::Random, Path::new(""))?;
        Ok(world.disk.salts.u64(..))
    }
}

impl SimFile {
    fn writable(&self) -> io::Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::Read => Err(Errno::BADF.into()),
        }
    }

    #[track_caller]
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if is_skipped(Op::Write, Location::caller()) {
            return Ok(bytes.len());
        }
        let mut world = self.vfs.world();
        let admitted = world.schedule.admit(Op::Write, &self.path, offset, bytes.len() as u64);
        let (count, died) = match admitted {
            Ok(extent) => (extent.of(bytes.len()), None),
            Err(Denial::Crash) => (world.disk.torn_count(bytes.len()), Some(Denial::Crash)),
            Err(denial) => return Err(denial.into()),
        };
        self.writable()?;
        let World { disk, open, .. } = &mut *world;
        let written = disk.write(self.ino, offset, &bytes[..count], |ino| open.contains_key(&ino));
        if let Some(denial) = died {
            return Err(denial.into());
        }
        let written = written?;
        world.keep_moment(Op::Write, Location::caller());
        Ok(written)
    }
}

impl VfsFile for SimFile {
    type Map = SimMap;

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut world = self.vfs.world();
        let extent = world.schedule.admit(Op::Read, &self.path, offset, buf.len() as u64)?;
        let count = extent.of(buf.len());
        Ok(world.disk.file(self.ino)?.read(offset, &mut buf[..count]))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.write(buf, offset)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let parts: Vec<&[u8]> = bufs.iter().map(|buf| &**buf).collect();
        self.write(&parts.concat(), offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        if is_skipped(Op::SyncData, Location::caller()) {
            return Ok(());
        }
        let mut world = self.vfs.world();
        match world.schedule.admit(Op::SyncData, &self.path, 0, 0) {
            Ok(_) => {
                if world.disk.sync_file(self.ino)? {
                    world.keep_moment(Op::SyncData, Location::caller());
                }
                Ok(())
            }
            Err(denial) => {
                if !world.schedule.dead() {
                    world.disk.fail_sync_file(self.ino);
                    world.keep_moment(Op::SyncData, Location::caller());
                }
                Err(denial.into())
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        let mut world = self.vfs.world();
        world.admit(Op::Stat, &self.path)?;
        Ok(world.disk.file(self.ino)?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        if is_skipped(Op::Truncate, Location::caller()) {
            return Ok(());
        }
        let mut world = self.vfs.world();
        world.schedule.admit(Op::Truncate, &self.path, 0, len)?;
        if self.access == Access::Read {
            return Err(Errno::INVAL.into());
        }
        let World { disk, open, .. } = &mut *world;
        disk.truncate(self.ino, len, |ino| open.contains_key(&ino))?;
        world.keep_moment(Op::Truncate, Location::caller());
        Ok(())
    }

    fn id(&self) -> io::Result<FileId> {
        let mut world = self.vfs.world();
        world.admit(Op::Stat, &self.path)?;
        Ok(FileId { dev: DEVICE, ino: self.ino })
    }

    fn map(&self, len: u64) -> io::Result<SimMap> {
        let mut world = self.vfs.world();
        world.schedule.admit(Op::Map, &self.path, 0, len)?;
        let file = world.disk.file(self.ino)?;
        let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if len == 0 {
            return invalid("an empty map");
        }
        if file.len() < len {
            return invalid("the file is shorter than the map");
        }
        Ok(SimMap { bytes: file.live().bytes(0..len) })
    }
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut world = self.vfs.world();
        if let Some(count) = world.open.get_mut(&self.ino) {
            *count -= 1;
            if *count == 0 {
                world.open.remove(&self.ino);
            }
        }
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.vfs.world().locked.remove(&self.ino);
    }
}

impl AsRef<[u8]> for SimMap {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile")
            .field("path", &self.path)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SimMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimMap").field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}
