//! A moving view of a file: whole records in memory, never the whole file.

use std::io;

use raft_vfs::{VfsFile, VfsFileExt};

/// What the first refill reads, unless a record needs more: a look at a segment's beginning is all
/// that many windows are for.
const FIRST_CHUNK: u64 = 64 << 10;
/// What each further one reads, four times as much as the one before, at most.
const CHUNK_MAX: u64 = 1 << 20;

/// Buffered reading at explicit offsets, bounded by `end`.
#[derive(Debug)]
pub(crate) struct Window<'f, F> {
    file: &'f F,
    end: u64,
    start: u64,
    chunk: u64,
    buf: Vec<u8>,
    /// Bytes that came from the file.
    read: u64,
}

impl<'f, F: VfsFile> Window<'f, F> {
    /// A window on `file` up to offset `end`.
    pub(crate) fn new(file: &'f F, end: u64) -> Self {
        Self { file, end, start: 0, chunk: FIRST_CHUNK, buf: Vec::new(), read: 0 }
    }

    /// Bytes `[at, at + len)`.
    ///
    /// # Errors
    /// `UnexpectedEof` if that is not all before the end: nothing is allocated for it.
    pub(crate) fn bytes(&mut self, at: u64, len: u64) -> io::Result<&[u8]> {
        let stop = at.checked_add(len).filter(|&stop| stop <= self.end);
        let stop = stop.ok_or(io::ErrorKind::UnexpectedEof)?;
        if at < self.start || stop > self.start + self.buf.len() as u64 {
            let want = len.max(self.chunk).min(self.end - at);
            self.chunk = (self.chunk * 4).min(CHUNK_MAX);
            self.buf.resize(want as usize, 0);
            self.start = at;
            let got = self.file.read_up_to_at(&mut self.buf, at);
            self.buf.truncate(*got.as_ref().unwrap_or(&0));
            self.read += self.buf.len() as u64;
            if (got? as u64) < len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let from = (at - self.start) as usize;
        Ok(&self.buf[from..from + len as usize])
    }

    /// A fixed-size block at `at`.
    pub(crate) fn block<const N: usize>(&mut self, at: u64) -> io::Result<[u8; N]> {
        Ok(crate::format::get(self.bytes(at, N as u64)?, 0))
    }

    /// How many bytes were read from the file so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read
    }

    /// The offset nothing is read beyond.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }
}
