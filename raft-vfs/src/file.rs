//! What can be done with an open file.

use std::fmt::Debug;
use std::io::{self, IoSlice};

/// Identity of a file below its names: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
}

/// An open file. All methods take `&self`: positions are explicit and calls may run in parallel.
#[expect(clippy::len_without_is_empty, reason = "a length that may fail; nobody asks for empty")]
pub trait VfsFile: Debug + Send + Sync + 'static {
    /// The mapping type of the file system.
    type Map;

    /// Reads at `offset`; may return fewer bytes than asked, 0 at the end of the file.
    ///
    /// # Errors
    /// The operating system's error.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at `offset`; may write fewer bytes than asked. Durable after [`VfsFile::sync_data`].
    ///
    /// # Errors
    /// The operating system's error.
    #[track_caller]
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;

    /// Writes several buffers one after another at `offset` in one call; may write fewer bytes.
    ///
    /// # Errors
    /// The operating system's error.
    #[track_caller]
    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Makes contents and length durable (`fdatasync`). Blocks until the disk says so.
    ///
    /// # Errors
    /// The operating system's error. After one, the state of every byte written since the last
    /// success is unknown for good: a second call that succeeds proves nothing (Rebello et al.,
    /// USENIX ATC 2020).
    #[track_caller]
    fn sync_data(&self) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// The operating system's error.
    fn len(&self) -> io::Result<u64>;

    /// Cuts or extends (with zeros) the file to `len` bytes. Durable after [`VfsFile::sync_data`].
    ///
    /// # Errors
    /// The operating system's error.
    #[track_caller]
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Device and inode.
    ///
    /// # Errors
    /// The operating system's error.
    fn id(&self) -> io::Result<FileId>;

    /// Maps the first `len` bytes, read-only.
    ///
    /// Only for a file that nobody will shorten below `len` or rewrite while the map lives; see
    /// the argument in the module that implements it.
    ///
    /// # Errors
    /// `InvalidInput` if the file is shorter than `len` or `len` is 0, else the system's error.
    fn map(&self, len: u64) -> io::Result<Self::Map>;
}

/// Whole reads and writes on top of [`VfsFile`]: `EINTR` and short counts are continued, every
/// other error is returned at once.
pub trait VfsFileExt: VfsFile {
    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends first, else the system's error.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if self.read_up_to_at(buf, offset)? == buf.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Reads until `buf` is full or the file ends; returns how much was read.
    ///
    /// # Errors
    /// The system's error.
    fn read_up_to_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    /// Writes all of `buf` at `offset`.
    ///
    /// # Errors
    /// `WriteZero` if the file takes no more, else the system's error. Part of `buf` may have
    /// been written.
    #[track_caller]
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            match self.write_at(&buf[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Writes all of `bufs`, one after another, at `offset`.
    ///
    /// # Errors
    /// As [`VfsFileExt::write_all_at`].
    #[track_caller]
    fn write_all_vectored_at(&self, mut bufs: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        /// The least `IOV_MAX` a POSIX system may have in practice.
        const IOV_MAX: usize = 1024;
        let mut at = offset;
        IoSlice::advance_slices(&mut bufs, 0);
        while !bufs.is_empty() {
            let batch = &bufs[..bufs.len().min(IOV_MAX)];
            match self.write_vectored_at(batch, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    at += n as u64;
                    IoSlice::advance_slices(&mut bufs, n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl<F: VfsFile> VfsFileExt for F {}
