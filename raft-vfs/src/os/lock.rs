//! The exclusive lock on a lock file: `flock` between processes, a list of held files within one.
//!
//! The only module that uses fs2. Its methods are called by full path, because the standard
//! library has since got methods of the same names with other meanings.
//!
//! `flock` alone tells two handles of one process apart on local file systems. Where a network
//! file system turns it into a POSIX lock it does not: there a second lock in the same process
//! succeeds, and closing *any* descriptor of the file loses the lock. Hence the list, and hence a
//! held file is never even opened again.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD};

use super::{OsFile, OsVfs, file_id};
use crate::{Access, FileId, LockError, Vfs as _, VfsFile as _};

/// Lock files held by this process.
static HELD: LazyLock<Mutex<HashSet<FileId>>> = LazyLock::new(Mutex::default);

/// A panic elsewhere cannot leave the set half-changed: every change is one insert or remove.
fn held() -> MutexGuard<'static, HashSet<FileId>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A held lock. Released when dropped, and by the end of the process however it ends. The lock
/// file stays; whoever removes it by hand while the lock is held lets a second owner in.
#[derive(Debug)]
pub struct OsLock {
    /// `None` only while it is dropped.
    file: Option<LockedFile>,
    id: FileId,
}

impl Drop for OsLock {
    fn drop(&mut self) {
        // Both under the registry's mutex: once the file is closed, a new lock file may get the
        // inode of one that was removed meanwhile, and must not be taken for it.
        let mut held = held();
        self.file = None;
        held.remove(&self.id);
    }
}

impl OsLock {
    /// Takes the lock or says who has it.
    pub(super) fn acquire(vfs: OsVfs, path: &Path) -> Result<Self, LockError> {
        let io_error = |source| LockError::Io { path: path.to_path_buf(), source };
        let busy = |holder| LockError::Held { path: path.to_path_buf(), holder };
        let mut held = held();
        let seen = id_of_name(path).map_err(io_error)?;
        if seen.is_some_and(|id| held.contains(&id)) {
            return Err(busy("this process"));
        }
        let file = open_or_create(vfs, path).map_err(io_error)?;
        let id = file.id().map_err(io_error)?;
        if held.contains(&id) {
            return Err(busy("this process"));
        }
        if let Err(e) = fs2::FileExt::try_lock_exclusive(&file.file) {
            let contended = e.kind() == fs2::lock_contended_error().kind();
            return Err(if contended { busy("another process") } else { io_error(e) });
        }
        let file = LockedFile { file };
        // Between open and flock the former owner may have removed the file: a lock on a file
        // without a name excludes nobody.
        if id_of_name(path).map_err(io_error)? != Some(id) {
            return Err(busy("another process"));
        }
        held.insert(id);
        Ok(Self { file: Some(file), id })
    }
}

/// Identity of the file that `path` names, if it names one.
fn id_of_name(path: &Path) -> io::Result<Option<FileId>> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(file_id(&stat))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn open_or_create(vfs: OsVfs, path: &Path) -> io::Result<OsFile> {
    match vfs.create_excl(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => vfs.open(path, Access::ReadWrite),
        created => created,
    }
}

/// An open file with the `flock` taken.
#[derive(Debug)]
struct LockedFile {
    file: OsFile,
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread is just forking has the descriptor
        // until its exec, and with it the lock. Unlocking ends it for all descriptors.
        let _ = fs2::FileExt::unlock(&self.file.file);
    }
}
