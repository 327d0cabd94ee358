//! Reading a snapshot: as a stream, at any position, or chunk by chunk.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use raft_vfs::Vfs;
use sha2::{Digest as _, Sha256};

use crate::dir::Pin;
use crate::error::{Reject, Result};
use crate::file::{ChunkBuf, SnapFile, SnapInfo};

/// Reads the data of a snapshot. Every byte was checked against its chunk's checksum when it was
/// read from the file; who reads from the beginning to the end has also checked the hash of all of
/// it: the last chunk is not handed out otherwise. Holds one chunk in memory, and a pin.
///
/// Errors are [`crate::Error`] inside [`io::Error`]. After one, reading again tries again.
#[derive(Debug)]
pub struct SnapReader<V: Vfs> {
    file: SnapFile<V>,
    buf: ChunkBuf,
    /// The chunk in `buf`.
    current: Option<u32>,
    position: u64,
    /// The hash of all chunks before `hashed`.
    hasher: Sha256,
    hashed: u32,
    _pin: Pin<V>,
}

impl<V: Vfs> SnapReader<V> {
    pub(crate) fn new(file: SnapFile<V>, pin: Pin<V>) -> Result<Self> {
        if file.layout.chunks == 0 {
            file.check_hash(Sha256::new())?;
        }
        Ok(Self {
            file,
            buf: ChunkBuf::default(),
            current: None,
            position: 0,
            hasher: Sha256::new(),
            hashed: 0,
            _pin: pin,
        })
    }

    /// What is read.
    pub fn info(&self) -> &SnapInfo {
        &self.file.info
    }

    /// The data of one chunk, for who sends them: see
    /// [`Receiver::put`](crate::Receiver::put). Blocks for a read.
    ///
    /// # Errors
    /// [`Reject::NoSuchChunk`]; whatever is wrong with the chunk.
    pub fn chunk(&self, chunk: u32) -> Result<Bytes> {
        let chunks = self.file.layout.chunks;
        if chunk >= chunks {
            return Err(Reject::NoSuchChunk { found: chunk, chunks }.into());
        }
        let mut buf = ChunkBuf::default();
        self.file.read_chunk(chunk, &mut buf)?;
        Ok(buf.into_data())
    }

    /// Puts a chunk, which must exist, into the buffer.
    fn load(&mut self, chunk: u32) -> Result<()> {
        if self.current == Some(chunk) {
            return Ok(());
        }
        self.current = None;
        self.file.read_chunk(chunk, &mut self.buf)?;
        if self.hashed == chunk {
            let mut hasher = self.hasher.clone();
            hasher.update(self.buf.data());
            if chunk + 1 == self.file.layout.chunks {
                self.file.check_hash(hasher.clone())?;
            }
            (self.hasher, self.hashed) = (hasher, chunk + 1);
        }
        self.current = Some(chunk);
        Ok(())
    }
}

impl<V: Vfs> Read for SnapReader<V> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let layout = self.file.layout;
        if out.is_empty() || self.position >= layout.data_len {
            return Ok(0);
        }
        let chunk_len = u64::from(layout.chunk_len);
        let (chunk, at) = (self.position / chunk_len, self.position % chunk_len);
        self.load(u32::try_from(chunk).expect("a position in the data is in one of its chunks"))?;
        let there = &self.buf.data()[at as usize..];
        let count = there.len().min(out.len());
        out[..count].copy_from_slice(&there[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl<V: Vfs> Seek for SnapReader<V> {
    /// Positions behind the end are allowed; there is nothing to read there.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.file.layout.data_len.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        let position = to.ok_or_else(|| crate::Error::from(Reject::Seek))?;
        self.position = position;
        Ok(position)
    }
}
