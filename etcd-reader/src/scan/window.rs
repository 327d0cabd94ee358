//! Reads a file through one bounded buffer.

use bytes::{Bytes, BytesMut};
use raft_vfs::{VfsFile, VfsFileExt};
use std::io;

/// How much is read at once, in bytes.
pub(super) const CHUNK: u64 = 256 * 1024;

/// A file and the part of it that was read last. Slices share the buffer and keep it alive.
#[derive(Debug)]
pub(crate) struct Window<F> {
    file: F,
    /// The file's length when it was opened; what is appended later is not looked at.
    len: u64,
    /// Offset of `buffer` in the file.
    start: u64,
    buffer: Bytes,
    /// Offset of the last byte that is not zero, once it was searched for, and from where.
    last_nonzero: Option<(u64, Option<u64>)>,
}

impl<F: VfsFile> Window<F> {
    /// Wraps an open file.
    pub(crate) fn new(file: F) -> io::Result<Self> {
        let len = file.len()?;
        Ok(Self { file, len, start: 0, buffer: Bytes::new(), last_nonzero: None })
    }

    /// The file's length when it was opened.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The bytes at `offset`, `len` of them or as many as the file has. The caller has bounded
    /// `len`.
    pub(crate) fn bytes(&mut self, offset: u64, len: u64) -> io::Result<Bytes> {
        let end = offset.saturating_add(len).min(self.len);
        if end <= offset {
            return Ok(Bytes::new());
        }
        if offset < self.start || end > self.start + self.buffer.len() as u64 {
            self.fill(offset, (end - offset).max(CHUNK).min(self.len - offset))?;
        }
        let from = (offset - self.start) as usize;
        let to = ((end - self.start) as usize).min(self.buffer.len());
        Ok(self.buffer.slice(from.min(to)..to))
    }

    /// The eight bytes at `offset` as a number; the caller has checked that they are there.
    pub(crate) fn word(&mut self, offset: u64) -> io::Result<u64> {
        let bytes = self.bytes(offset, 8)?;
        let mut word = [0; 8];
        // A file that was cut since it was opened reads as zeros, as does one that never grew.
        word[..bytes.len()].copy_from_slice(&bytes);
        Ok(u64::from_le_bytes(word))
    }

    /// Offset of the last byte at or behind `from` that is not zero.
    pub(crate) fn last_nonzero(&mut self, from: u64) -> io::Result<Option<u64>> {
        if let Some((searched, last)) = self.last_nonzero
            && (searched <= from || last.is_some_and(|l| l >= from))
        {
            return Ok(last.filter(|&l| l >= from));
        }
        let last = self.search_nonzero(from)?;
        self.last_nonzero = Some((from, last));
        Ok(last)
    }

    /// Searches backwards from the end, so that a long zero tail is read once and nothing else.
    fn search_nonzero(&self, from: u64) -> io::Result<Option<u64>> {
        let mut buffer = vec![0; CHUNK.min(self.len.saturating_sub(from)) as usize];
        let mut end = self.len;
        while end > from {
            let start = end.saturating_sub(CHUNK).max(from);
            let part = &mut buffer[..(end - start) as usize];
            let got = self.file.read_up_to_at(part, start)?;
            if let Some(at) = last_nonzero_in(&part[..got]) {
                return Ok(Some(start + at as u64));
            }
            end = start;
        }
        Ok(None)
    }

    /// Whether the file's length or the bytes at `offset` are not what they were.
    pub(crate) fn changed(&mut self, offset: u64, len: u64) -> io::Result<bool> {
        let before = self.bytes(offset, len)?;
        let mut now = BytesMut::zeroed(before.len());
        let got = self.file.read_up_to_at(&mut now, offset)?;
        Ok(self.file.len()? != self.len || now[..got] != before)
    }

    fn fill(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let mut buffer = BytesMut::zeroed(len as usize);
        let got = self.file.read_up_to_at(&mut buffer, offset)?;
        buffer.truncate(got);
        self.buffer = buffer.freeze();
        self.start = offset;
        Ok(())
    }
}

/// Where the last byte stands that is not zero. Whole blocks are compared first: a log's zero
/// tail is tens of megabytes long.
fn last_nonzero_in(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 4096;
    let blocks = bytes.chunks(BLOCK);
    let (at, block) =
        blocks.enumerate().rev().find(|(_, b)| b.iter().fold(0, |all, &byte| all | byte) != 0)?;
    block.iter().rposition(|&b| b != 0).map(|i| at * BLOCK + i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_nonzero_byte_is_found_wherever_it_is() {
        assert_eq!(last_nonzero_in(&[]), None);
        assert_eq!(last_nonzero_in(&[0; 10_000]), None);
        for at in [0, 1, 4095, 4096, 8191, 9_999] {
            let mut bytes = vec![0; 10_000];
            bytes[at] = 1;
            bytes[0] |= 1;
            assert_eq!(last_nonzero_in(&bytes), Some(at));
        }
    }
}
