//! The operating system's file system, counted: how often it was asked to sync, and how many bytes
//! were written. On request a sync does nothing, to see what else an append costs, or sleeps for a
//! fixed time, as on a disk that nobody else uses.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use raft_vfs::{Access, DirEntry, FileId, LockError, OsFile, OsLock, OsMap, OsVfs, Vfs, VfsFile};

#[derive(Debug, Default)]
struct Counters {
    syncs: AtomicU64,
    bytes: AtomicU64,
}

/// A file system that counts. Clones share the counters.
#[derive(Clone, Debug)]
pub struct Counting {
    inner: OsVfs,
    sync: Sync,
    counters: Arc<Counters>,
}

/// What a sync does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sync {
    Real,
    Nothing,
    Sleep(Duration),
}

impl Counting {
    /// Every call is the operating system's.
    pub fn new() -> Self {
        Self { inner: OsVfs, sync: Sync::Real, counters: Arc::default() }
    }

    /// Syncs are counted and not done.
    pub fn without_syncs() -> Self {
        Self { sync: Sync::Nothing, ..Self::new() }
    }

    /// Syncs are not done, but their thread sleeps for `latency` (and what the timer adds).
    pub fn with_sync_latency(latency: Duration) -> Self {
        Self { sync: Sync::Sleep(latency), ..Self::new() }
    }

    /// How many syncs of files and directories there were.
    pub fn syncs(&self) -> u64 {
        self.counters.syncs.load(Ordering::Relaxed)
    }

    /// How many bytes were written.
    pub fn bytes(&self) -> u64 {
        self.counters.bytes.load(Ordering::Relaxed)
    }

    fn file(&self, inner: OsFile) -> CountingFile {
        let Self { sync, counters, .. } = self.clone();
        CountingFile { inner, sync, counters }
    }
}

impl Counters {
    fn sync(&self, how: Sync, real: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        match how {
            Sync::Real => return real(),
            Sync::Nothing => {}
            Sync::Sleep(latency) => thread::sleep(latency),
        }
        Ok(())
    }
}

impl Default for Counting {
    fn default() -> Self {
        Self::new()
    }
}

/// An open file that counts.
#[derive(Debug)]
pub struct CountingFile {
    inner: OsFile,
    sync: Sync,
    counters: Arc<Counters>,
}

impl CountingFile {
    fn count_bytes(&self, written: io::Result<usize>) -> io::Result<usize> {
        written.inspect(|&n| {
            self.counters.bytes.fetch_add(n as u64, Ordering::Relaxed);
        })
    }
}

impl Vfs for Counting {
    type File = CountingFile;
    type Map = OsMap;
    type Lock = OsLock;

    fn open(&self, path: &Path, access: Access) -> io::Result<CountingFile> {
        Ok(self.file(self.inner.open(path, access)?))
    }

    fn create_excl(&self, path: &Path) -> io::Result<CountingFile> {
        Ok(self.file(self.inner.create_excl(path)?))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.counters.sync(self.sync, || self.inner.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> Result<OsLock, LockError> {
        self.inner.lock(path)
    }

    fn unix_millis(&self) -> u64 {
        self.inner.unix_millis()
    }

    fn random(&self) -> io::Result<u64> {
        self.inner.random()
    }
}

impl VfsFile for CountingFile {
    type Map = OsMap;

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.count_bytes(self.inner.write_at(buf, offset))
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.count_bytes(self.inner.write_vectored_at(bufs, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.counters.sync(self.sync, || self.inner.sync_data())
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.inner.truncate(len)
    }

    fn id(&self) -> io::Result<FileId> {
        self.inner.id()
    }

    fn map(&self, len: u64) -> io::Result<OsMap> {
        self.inner.map(len)
    }
}
