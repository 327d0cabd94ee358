//! The file-system seam under the log and the snapshot files.
//!
//! Everything above this crate reaches files only through [`Vfs`] and [`VfsFile`]. There are two
//! implementations: [`OsVfs`], which is the operating system and nothing else, and (feature `sim`)
//! `SimVfs`, a disk in memory that keeps a live and a durable image of every file and directory
//! and, on a crash, loses whatever a real disk is allowed to lose. Both are chosen at compile
//! time by a type parameter, so the seam costs nothing in production.
//!
//! The operations are the few that a log needs; each says when it is durable. Nothing here
//! buffers, retries or interprets: an error is the operating system's, unchanged.

#![deny(unsafe_code)]

mod file;
mod os;
#[cfg(feature = "sim")]
pub mod sim;

use std::ffi::OsString;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

pub use file::{FileId, VfsFile, VfsFileExt};
pub use os::{OsFile, OsLock, OsMap, OsVfs};
#[cfg(feature = "sim")]
pub use sim::SimVfs;

/// How an existing file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads only.
    Read,
    /// Reads and writes.
    ReadWrite,
}

/// What a directory entry is. Symbolic links are never followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// Anything else: symbolic link, FIFO, socket, device.
    Other,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, without its directory.
    pub name: OsString,
    /// What it is.
    pub kind: FileKind,
}

/// Why a directory lock was not granted.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another handle, in this process or another one, holds the lock.
    #[error("{path} is locked by {holder}", path = path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as far as can be told ("this process" or "another process").
        holder: &'static str,
    },
    /// The lock file could not be opened or locked.
    #[error("cannot lock {path}: {source}", path = path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

/// A file system, as far as a durable log needs one.
///
/// Paths are whole paths. No operation on a file follows a symbolic link in the last component,
/// and none opens anything but a regular file; a directory that is listed or synced may be given
/// as a link to it. New files get mode 0600, new directories 0700.
///
/// Every method that changes something, or makes it durable, knows its caller (`#[track_caller]`),
/// so that tests can tell which lines of a program have been crashed at.
pub trait Vfs: Clone + Debug + Send + Sync + 'static {
    /// An open file.
    type File: VfsFile<Map = Self::Map>;
    /// A read-only mapping of the beginning of a file.
    type Map: AsRef<[u8]> + Debug + Send + Sync + 'static;
    /// A held directory lock; dropping it releases the lock.
    type Lock: Debug + Send + Sync + 'static;

    /// Opens an existing regular file.
    ///
    /// # Errors
    /// `NotFound` if there is none; `InvalidInput` if the name is not a regular file (a FIFO is
    /// refused without blocking); otherwise the operating system's error.
    fn open(&self, path: &Path, access: Access) -> io::Result<Self::File>;

    /// Creates a file that must not exist, open for reading and writing. The name is durable only
    /// after [`Vfs::sync_dir`] of its directory.
    ///
    /// # Errors
    /// `AlreadyExists`, or the operating system's error.
    #[track_caller]
    fn create_excl(&self, path: &Path) -> io::Result<Self::File>;

    /// Creates one directory that must not exist. Durable after [`Vfs::sync_dir`] of its parent.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound` without a parent, or the operating system's error.
    #[track_caller]
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames a file, replacing `to` if it exists. Durable after [`Vfs::sync_dir`].
    ///
    /// # Errors
    /// The operating system's error.
    #[track_caller]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Durable after [`Vfs::sync_dir`]. Open handles and maps stay usable.
    ///
    /// # Errors
    /// The operating system's error.
    #[track_caller]
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Lists a directory, sorted by name, without `.` and `..`.
    ///
    /// # Errors
    /// The operating system's error; `NotADirectory` where it is one of those.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Makes every name change in `dir` durable. Blocks until the disk says so.
    ///
    /// # Errors
    /// The operating system's error. After one, nothing is known of the directory's durability,
    /// and calling again proves nothing.
    #[track_caller]
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock that the file `path` stands for, creating the file if need be.
    /// Never waits. A lock dies with its process.
    ///
    /// # Errors
    /// [`LockError::Held`] if anybody holds it, this process included, under whatever path.
    #[track_caller]
    fn lock(&self, path: &Path) -> Result<Self::Lock, LockError>;

    /// Wall-clock milliseconds since 1970, for information only: no decision depends on it.
    fn unix_millis(&self) -> u64;

    /// A random number, for salts and nonces.
    ///
    /// # Errors
    /// The operating system's error if it has no randomness to give.
    fn random(&self) -> io::Result<u64>;
}
