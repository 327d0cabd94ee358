//! The operating system's files.
//!
//! Nothing here has state, except the list of held locks. Every open carries `O_NOFOLLOW` (a
//! symbolic link planted under a file's name is refused, not followed), `O_CLOEXEC` and
//! `O_NONBLOCK` (a FIFO under a file's name must not make the opener wait for a peer; regular
//! files ignore the flag), and is refused unless `fstat` says that it is a regular file.

#![expect(clippy::disallowed_methods, reason = "this module is what the rule sends callers to")]

#[cfg(not(unix))]
compile_error!("raft-vfs supports Unix only: it relies on fsync of directories and on flock");

mod lock;
mod mmap;

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};

pub use self::lock::OsLock;
pub use self::mmap::OsMap;
use crate::{Access, DirEntry, FileId, FileKind, LockError, Vfs, VfsFile};

/// Mode of every new file, whatever the umask.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Mode of every new directory, whatever the umask.
const DIR_MODE: Mode = Mode::RWXU;

/// The operating system's file system. Unix only.
///
/// `sync_data` is `fdatasync`; `sync_dir` opens the directory and calls `fsync`. On Apple systems
/// both become `F_FULLFSYNC`, since there plain `fsync` does not reach the disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsVfs;

/// An open regular file.
#[derive(Debug)]
pub struct OsFile {
    file: File,
}

impl Vfs for OsVfs {
    type File = OsFile;
    type Map = OsMap;
    type Lock = OsLock;

    fn open(&self, path: &Path, access: Access) -> io::Result<OsFile> {
        let rights = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        let flags = rights | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(e) => return Err(not_regular(path).unwrap_or_else(|| e.into())),
        };
        if file_type(&rustix::fs::fstat(&file)?) != FileType::RegularFile {
            return Err(not_a_file());
        }
        Ok(OsFile { file })
    }

    fn create_excl(&self, path: &Path) -> io::Result<OsFile> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, FILE_MODE)?);
        if let Err(e) = set_file_mode(&file) {
            // The caller is told that there is no file: leave none. It is ours, O_EXCL says so.
            let _ = rustix::fs::unlink(path);
            return Err(e);
        }
        Ok(OsFile { file })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        rustix::fs::mkdir(path, DIR_MODE)?;
        if let Err(e) = set_dir_mode(path) {
            let _ = rustix::fs::rmdir(path);
            return Err(e);
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(rustix::fs::rename(from, to)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::unlink(path)?)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let kind = match entry.file_type() {
                Ok(t) if t.is_file() => FileKind::File,
                Ok(t) if t.is_dir() => FileKind::Dir,
                Ok(_) => FileKind::Other,
                // File systems without d_type are asked per name; the name may be gone by then.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            entries.push(DirEntry { name: entry.file_name(), kind });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        File::from(rustix::fs::open(dir, flags, Mode::empty())?).sync_all()
    }

    fn lock(&self, path: &Path) -> Result<OsLock, LockError> {
        OsLock::acquire(*self, path)
    }

    fn unix_millis(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn random(&self) -> io::Result<u64> {
        getrandom::u64().map_err(|e| match e.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::other(e.to_string()),
        })
    }
}

impl VfsFile for OsFile {
    type Map = OsMap;

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(buf, offset)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.file, bufs, offset)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(file_id(&rustix::fs::fstat(&self.file)?))
    }

    fn map(&self, len: u64) -> io::Result<OsMap> {
        OsMap::new(&self.file, len)
    }
}

/// The error for a name that is there but is not a regular file, if `path` is one.
///
/// `open` answers such names with `ELOOP`, `EISDIR` or `ENXIO`, depending on what they are; the
/// caller gets one error for all.
fn not_regular(path: &Path) -> Option<io::Error> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    (file_type(&stat) != FileType::RegularFile).then(not_a_file)
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

#[allow(
    clippy::cast_sign_loss,
    clippy::unnecessary_cast,
    clippy::cast_lossless,
    reason = "the field types differ between Unix systems"
)]
fn file_id(stat: &Stat) -> FileId {
    FileId { dev: stat.st_dev as u64, ino: stat.st_ino as u64 }
}

/// Undoes what the umask took. Untouched if the mode is right: some file systems have fixed modes.
fn set_file_mode(file: &File) -> io::Result<()> {
    let mode = Mode::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
    if mode & Mode::from_raw_mode(0o777) != FILE_MODE {
        rustix::fs::fchmod(file, FILE_MODE)?;
    }
    Ok(())
}

/// As [`set_file_mode`], by path: a directory without owner rights cannot be opened. The
/// set-group-id bit that a parent hands down stays.
fn set_dir_mode(path: &Path) -> io::Result<()> {
    let permissions = Mode::from_raw_mode(0o777);
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    if mode & permissions != DIR_MODE {
        rustix::fs::chmodat(CWD, path, mode.difference(permissions) | DIR_MODE, AtFlags::empty())?;
    }
    Ok(())
}
