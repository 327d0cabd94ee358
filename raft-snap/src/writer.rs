//! Writing a snapshot of one's own as a stream.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use raft_vfs::Vfs;

use crate::building::{Building, new_header, temporary_name};
use crate::dir::{Claim, SnapDir};
use crate::error::{Error, Result, io_error};
use crate::file::{SnapInfo, SnapMeta};

/// Writes a snapshot. Nothing is visible before [`SnapWriter::finish`] has returned; dropped
/// before, or after an error, it leaves nothing behind. Holds one chunk in memory.
///
/// Errors are [`Error`] inside [`io::Error`], and final: begin again with a new writer.
#[derive(Debug)]
pub struct SnapWriter<V: Vfs> {
    /// `None` once something failed.
    building: Option<Building<V>>,
    /// The next chunk, as far as it is there; never full between two calls.
    buf: Vec<u8>,
    chunk_len: usize,
    path: PathBuf,
    cause: Option<Arc<str>>,
}

impl<V: Vfs> SnapDir<V> {
    /// Begins a snapshot.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the conf state is too long or the index is none; [`Error::Io`] and
    /// [`Error::NoSpace`] if the file cannot be made; [`Error::Poisoned`], [`Error::ReadOnly`].
    pub fn writer(&self, meta: &SnapMeta) -> Result<SnapWriter<V>> {
        let shared = &self.shared;
        let chunk_len = shared.writable()?.chunk_bytes;
        let header = new_header(shared, meta, chunk_len, None)?;
        let claim = Claim::new(shared, temporary_name(shared, &header)?)?;
        let path = claim.path();
        let mut buf = Vec::new();
        let room = buf.try_reserve_exact(chunk_len as usize);
        room.map_err(|_| io_error("buffer", &path, None, io::ErrorKind::OutOfMemory.into()))?;
        let building = Some(Building::create(shared, claim, header, true)?);
        Ok(SnapWriter { building, buf, chunk_len: chunk_len as usize, path, cause: None })
    }
}

impl<V: Vfs> SnapWriter<V> {
    /// Makes the snapshot durable and visible, in this order: last chunk and footer, sync of the
    /// file, rename, sync of the directory. When this returns `Ok`, it survives any crash.
    ///
    /// If there is a sound snapshot of this index and term already, that one is kept and this one
    /// discarded; then what is returned describes the one that was kept. A damaged one is
    /// quarantined first.
    ///
    /// # Errors
    /// Whatever failed; no snapshot is visible that was not before. [`Error::Conflict`] if the
    /// existing one has another conf state. [`Error::Poisoned`] if the directory's sync failed:
    /// then a crash may bring the snapshot back, whole.
    pub fn finish(mut self) -> Result<SnapInfo> {
        let buf = std::mem::take(&mut self.buf);
        if !buf.is_empty() {
            self.push(&buf)?;
        }
        drop(buf);
        let building = self.building.take().ok_or_else(|| self.given_up())?;
        building.complete()?.publish()
    }

    /// Length of the data so far.
    pub fn data_len(&self) -> u64 {
        let written = self.building.as_ref().map_or(0, Building::data_len);
        written + self.buf.len() as u64
    }

    fn push(&mut self, chunk: &[u8]) -> Result<()> {
        let Some(building) = &mut self.building else { return Err(self.given_up()) };
        building.push(chunk).inspect_err(|e| {
            self.cause = Some(e.to_string().into());
            self.building = None;
        })
    }

    fn given_up(&self) -> Error {
        let cause = self.cause.clone().unwrap_or_else(|| "an earlier write failed".into());
        Error::GivenUp { path: self.path.clone(), cause }
    }
}

impl<V: Vfs> Write for SnapWriter<V> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.building.is_none() {
            return Err(self.given_up().into());
        }
        if self.buf.is_empty() && data.len() >= self.chunk_len {
            self.push(&data[..self.chunk_len])?;
            return Ok(self.chunk_len);
        }
        let count = data.len().min(self.chunk_len - self.buf.len());
        self.buf.extend_from_slice(&data[..count]);
        if self.buf.len() == self.chunk_len {
            let mut buf = std::mem::take(&mut self.buf);
            let pushed = self.push(&buf);
            buf.clear();
            self.buf = buf;
            pushed?;
        }
        Ok(count)
    }

    /// Does nothing: before [`SnapWriter::finish`] nothing is durable, nor needs to be.
    fn flush(&mut self) -> io::Result<()> {
        if self.building.is_none() { Err(self.given_up().into()) } else { Ok(()) }
    }
}
