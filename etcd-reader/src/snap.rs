//! Snapshot files: one protobuf message, a CRC-32C and a `raftpb.Snapshot`.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use crc32c::crc32c;
use prost::Message;
use raft_vfs::{Access, Vfs, VfsFile, VfsFileExt};

use crate::layout::SnapName;
use crate::problem::{Problem, ProblemKind};
use crate::types::ConfState;
use crate::{Error, proto};

/// A snapshot file whose checksum holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapFile {
    /// The file's name.
    pub name: String,
    /// Term of the last entry covered.
    pub term: u64,
    /// Index of the last entry covered.
    pub index: u64,
    /// The members at that point.
    pub conf_state: Option<ConfState>,
    /// The application's data: for etcd its membership store, for others the whole state.
    pub data: Bytes,
}

/// Reads a snapshot file whole; the inner result says what is wrong with it.
///
/// A file longer than `max` bytes is refused before anything is allocated.
pub(crate) fn read<V: Vfs>(
    vfs: &V,
    dir: &Path,
    name: &SnapName,
    max: u64,
) -> Result<Result<SnapFile, Problem>, Error> {
    let path = dir.join(&name.name);
    let file = vfs.open(&path, Access::Read).map_err(|e| Error::io("open", &path, e))?;
    let read_error = |e| Error::io("read", &path, e);
    let len = file.len().map_err(read_error)?;
    if len > max {
        let (expected, found) = (format!("at most {max} bytes"), len.to_string());
        let message = "the file is longer than this reader was told to accept";
        return Ok(Err(problem(name, ProblemKind::RecordTooLarge, expected, found, message)));
    }
    let mut buffer = BytesMut::zeroed(len as usize);
    let got = file.read_up_to_at(&mut buffer, 0).map_err(read_error)?;
    buffer.truncate(got);
    Ok(decode(name, buffer.freeze()))
}

fn problem(
    name: &SnapName,
    kind: ProblemKind,
    expected: String,
    found: String,
    message: &str,
) -> Problem {
    let (segment, message) = (name.name.clone(), message.to_owned());
    Problem { segment, offset: 0, kind, expected, found, message }
}

fn decode(name: &SnapName, bytes: Bytes) -> Result<SnapFile, Problem> {
    let unreadable = |found: String| {
        let expected = "a checksum and a snapshot in protobuf".to_owned();
        let message = "the snapshot file cannot be read; etcd falls back to the one before it";
        problem(name, ProblemKind::SnapFileUnreadable, expected, found, message)
    };
    let outer = proto::SnapFile::decode(bytes).map_err(|e| unreadable(e.to_string()))?;
    let (stored, data) = (outer.crc.unwrap_or(0), outer.data.unwrap_or_default());
    if stored == 0 || data.is_empty() {
        return Err(unreadable("no checksum or no data".to_owned()));
    }
    let computed = crc32c(&data);
    if computed != stored {
        return Err(problem(
            name,
            ProblemKind::SnapFileCrcMismatch,
            format!("{stored:#010x}"),
            format!("{computed:#010x}"),
            "the snapshot file is damaged; etcd falls back to the one before it",
        ));
    }
    let inner = proto::Snapshot::decode(data).map_err(|e| unreadable(e.to_string()))?;
    let metadata = inner.metadata.unwrap_or_default();
    let (term, index) = (metadata.term.unwrap_or(0), metadata.index.unwrap_or(0));
    if (term, index) != (name.term, name.index) {
        return Err(problem(
            name,
            ProblemKind::SnapFileNameMismatch,
            format!("term {} and index {}, as the name has it", name.term, name.index),
            format!("term {term} and index {index}"),
            "the snapshot file has another one's name",
        ));
    }
    Ok(SnapFile {
        name: name.name.clone(),
        term,
        index,
        conf_state: metadata.conf_state.map(Into::into),
        data: inner.data.unwrap_or_default(),
    })
}
