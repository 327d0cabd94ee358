//! Bytes as a file that fails the run when somebody reads where nobody may.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};

use raft_vfs::{FileId, VfsFile};

/// A read-only file over bytes. A read that touches anything at or beyond `bound` panics: whoever
/// was given that bound must not even ask.
#[derive(Debug)]
pub(crate) struct SliceFile {
    bytes: Vec<u8>,
    bound: u64,
    /// Bytes read so far.
    read: AtomicU64,
}

impl SliceFile {
    /// All of `bytes`, of which only those below `bound` may be read.
    pub(crate) fn new(bytes: Vec<u8>, bound: u64) -> Self {
        Self { bytes, bound, read: AtomicU64::new(0) }
    }

    /// How many bytes were read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl VfsFile for SliceFile {
    type Map = Vec<u8>;

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset.checked_add(buf.len() as u64);
        let within = end.is_some_and(|end| end <= self.bound);
        assert!(within, "a read of {} bytes at {offset} of {}", buf.len(), self.bound);
        let from = (offset as usize).min(self.bytes.len());
        let n = buf.len().min(self.bytes.len() - from);
        buf[..n].copy_from_slice(&self.bytes[from..from + n]);
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        read_only()
    }

    fn write_vectored_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
        read_only()
    }

    fn sync_data(&self) -> io::Result<()> {
        read_only()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        read_only()
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(FileId { dev: 0, ino: 0 })
    }

    fn map(&self, len: u64) -> io::Result<Vec<u8>> {
        let len = usize::try_from(len).ok().filter(|&n| n <= self.bytes.len());
        len.map(|n| self.bytes[..n].to_vec()).ok_or(io::ErrorKind::InvalidInput.into())
    }
}
