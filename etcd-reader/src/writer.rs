//! Writes etcd's log and snapshot files. For tests and tools: whoever wants a durable log wants
//! `raft-wal`.
//!
//! The bytes are those of etcd 3.5 (all scalar fields written, zero or not), the order of records
//! is etcd's: checksum, metadata and an empty marker in a new log; checksum, metadata and the hard
//! state in each later segment. Nothing is synced but by [`Writer::sync`].

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};
use prost::Message;
use prost::encoding::encode_varint;
use raft_vfs::{Vfs, VfsFile, VfsFileExt};

use crate::frame::{LengthWord, padding, record_type};
use crate::layout::{SegmentName, SnapName};
use crate::types::{ConfState, Entry, EntryKind, HardState, Marker};
use crate::{Error, proto};

/// Writes one log, in the framing of etcd.
#[derive(Debug)]
pub struct Writer<V: Vfs> {
    vfs: V,
    dir: PathBuf,
    metadata: Bytes,
    file: V::File,
    path: PathBuf,
    offset: u64,
    seq: u64,
    crc: u32,
    last: u64,
    hard_state: Option<HardState>,
}

impl<V: Vfs> Writer<V> {
    /// Begins a log in the existing, empty directory `dir`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(vfs: V, dir: &Path, metadata: &[u8]) -> Result<Self, Error> {
        let path = dir.join(SegmentName::new(0, 0).name);
        let file = vfs.create_excl(&path).map_err(|e| Error::io("create", &path, e))?;
        let mut writer = Self {
            vfs,
            dir: dir.to_path_buf(),
            metadata: Bytes::copy_from_slice(metadata),
            file,
            path,
            offset: 0,
            seq: 0,
            crc: 0,
            last: 0,
            hard_state: None,
        };
        writer.head()?;
        writer.marker(&Marker::default())?;
        Ok(writer)
    }

    /// Appends an entry; an index at or before the last one overwrites.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn entry(&mut self, entry: &Entry) -> Result<(), Error> {
        let kind = match entry.kind {
            EntryKind::Normal => 0,
            EntryKind::ConfChange => 1,
            EntryKind::ConfChangeV2 => 2,
        };
        let wire = proto::Entry {
            kind: Some(kind),
            term: Some(entry.term),
            index: Some(entry.index),
            data: Some(entry.data.clone()).filter(|data| !data.is_empty()),
        };
        self.record(record_type::ENTRY, Some(&wire.encode_to_vec()))?;
        self.last = entry.index;
        Ok(())
    }

    /// Appends a hard state.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn hard_state(&mut self, state: HardState) -> Result<(), Error> {
        let HardState { term, vote, commit } = state;
        let wire = proto::HardState { term: Some(term), vote: Some(vote), commit: Some(commit) };
        self.record(record_type::HARD_STATE, Some(&wire.encode_to_vec()))?;
        self.hard_state = Some(state);
        Ok(())
    }

    /// Appends a snapshot marker.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn marker(&mut self, marker: &Marker) -> Result<(), Error> {
        let wire = proto::Marker {
            index: Some(marker.index),
            term: Some(marker.term),
            conf_state: marker.conf_state.as_ref().map(Into::into),
        };
        self.record(record_type::SNAPSHOT, Some(&wire.encode_to_vec()))?;
        self.last = self.last.max(marker.index);
        Ok(())
    }

    /// Closes the segment and begins the next one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn cut(&mut self) -> Result<(), Error> {
        let name = SegmentName::new(self.seq + 1, self.last + 1);
        let path = self.dir.join(&name.name);
        self.file = self.vfs.create_excl(&path).map_err(|e| Error::io("create", &path, e))?;
        (self.path, self.seq, self.offset) = (path, name.seq, 0);
        self.head()?;
        self.hard_state.map_or(Ok(()), |state| self.hard_state(state))
    }

    /// Extends the segment with zeros to `len` bytes, as etcd prepares its segments.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn extend(&mut self, len: u64) -> Result<(), Error> {
        let len = len.max(self.offset);
        self.file.truncate(len).map_err(|e| Error::io("extend", &self.path, e))
    }

    /// Makes the segment durable.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<(), Error> {
        let synced = self.file.sync_data().and_then(|()| self.vfs.sync_dir(&self.dir));
        synced.map_err(|e| Error::io("sync", &self.path, e))
    }

    /// Name of the segment being written and the offset at which the next record goes.
    pub fn position(&self) -> (&Path, u64) {
        (&self.path, self.offset)
    }

    fn head(&mut self) -> Result<(), Error> {
        self.record(record_type::CRC, None)?;
        let metadata = self.metadata.clone();
        self.record(record_type::METADATA, Some(&metadata))
    }

    fn record(&mut self, kind: u64, data: Option<&[u8]>) -> Result<(), Error> {
        self.crc = data.map_or(self.crc, |data| crc32c_append(self.crc, data));
        let frame = frame(kind, self.crc, data);
        let written = self.file.write_all_at(&frame, self.offset);
        written.map_err(|e| Error::io("write", &self.path, e))?;
        self.offset += frame.len() as u64;
        Ok(())
    }
}

/// One frame: length word, record, padding. `crc` is the rolling checksum including `data`.
pub fn frame(kind: u64, crc: u32, data: Option<&[u8]>) -> Vec<u8> {
    let mut record = vec![0x08];
    encode_varint(kind, &mut record);
    record.push(0x10);
    encode_varint(u64::from(crc), &mut record);
    if let Some(data) = data {
        record.push(0x1a);
        encode_varint(data.len() as u64, &mut record);
        record.extend_from_slice(data);
    }
    let len = record.len() as u64;
    let mut frame = LengthWord::for_record(len).to_le_bytes().to_vec();
    frame.append(&mut record);
    frame.resize(frame.len() + padding(len) as usize, 0);
    frame
}

/// Writes a snapshot file into the existing directory `dir`, under its final name as etcd does.
///
/// # Errors
/// [`Error::Io`], `AlreadyExists` among others.
pub fn write_snap<V: Vfs>(
    vfs: &V,
    dir: &Path,
    (term, index): (u64, u64),
    conf_state: &ConfState,
    data: &[u8],
) -> Result<(), Error> {
    let metadata = proto::SnapshotMetadata {
        conf_state: Some(conf_state.into()),
        index: Some(index),
        term: Some(term),
    };
    let data = Some(Bytes::copy_from_slice(data));
    let inner = proto::Snapshot { data, metadata: Some(metadata) }.encode_to_vec();
    let outer = proto::SnapFile { crc: Some(crc32c(&inner)), data: Some(inner.into()) };
    let path = dir.join(SnapName::new(term, index).name);
    let write = || -> io::Result<()> {
        let file = vfs.create_excl(&path)?;
        file.write_all_at(&outer.encode_to_vec(), 0)?;
        file.sync_data()?;
        vfs.sync_dir(dir)
    };
    write().map_err(|e| Error::io("write", &path, e))
}
