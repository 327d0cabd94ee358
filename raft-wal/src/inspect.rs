//! Looking at a log's files one by one: what a dump, a diff or a fuzzer needs.
//!
//! Nothing here judges the log as a whole; [`crate::verify`] does. Nothing takes a lock or writes.

use std::path::{Path, PathBuf};

use raft_vfs::Vfs;

use crate::dir;
use crate::error::{Error, Result};
use crate::format::{IdentPage, Mark, RecordHead, SegmentHeader, get};
use crate::paths::{Paths, WalName, io_error};
use crate::recover::{SegmentFile, load_segment_at};
use crate::report::{Note, RecoveryReport};
use crate::scan::{Check, Frame, Scanner};
use crate::segment::{RecordReader, bad_record};
use crate::types::Entry;

/// What is in a log directory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Layout {
    /// Who the log is.
    pub ident: IdentPage,
    /// The segments in order: number and path.
    pub segments: Vec<(u64, PathBuf)>,
    /// Segments that have an index file.
    pub indexed: Vec<u64>,
    /// Everything odd about the names and the identity.
    pub notes: Vec<Note>,
}

/// Lists the log in `dir`.
///
/// # Errors
/// [`Error::NoLog`], [`Error::IdentMissing`], [`Error::Corrupt`] for an unreadable identity,
/// [`Error::Unsupported`], [`Error::Io`].
pub fn layout<V: Vfs>(vfs: &V, dir: &Path) -> Result<Layout> {
    let paths = Paths::new(dir);
    let mut report = RecoveryReport::new();
    let ident = dir::read_ident(vfs, &paths, &mut report)?;
    let names = dir::list(vfs, &paths, &mut report)?;
    let ident = ident.ok_or_else(|| dir::no_ident(&paths, &names))?;
    Ok(Layout {
        ident: ident.page,
        segments: names.segments.iter().map(|&seq| (seq, paths.segment(seq))).collect(),
        indexed: names.indexes,
        notes: report.notes,
    })
}

/// One segment file, open for looking.
#[derive(Debug)]
pub struct Segment<V: Vfs> {
    inner: SegmentFile<V::File>,
}

impl<V: Vfs> Segment<V> {
    /// Opens a segment file. A damaged header is not an error; see [`Segment::header`].
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Unsupported`].
    pub fn open(vfs: &V, path: &Path) -> Result<Self> {
        let name = path.file_name().and_then(|n| n.to_str()).and_then(WalName::parse);
        let seq = if let Some(WalName::Segment(n)) = name { n } else { 0 };
        Ok(Self { inner: load_segment_at(vfs, path.to_owned(), seq)? })
    }

    /// Number in the name; 0 if the name has none.
    pub fn seq(&self) -> u64 {
        self.inner.seq
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Its length in bytes.
    pub fn file_len(&self) -> u64 {
        self.inner.file_len
    }

    /// The header, by majority of its three copies; `None` if there is none.
    pub fn header(&self) -> Option<&SegmentHeader> {
        self.inner.header.as_ref()
    }

    /// The valid mark pages.
    pub fn marks(&self) -> &[Mark] {
        &self.inner.marks
    }

    /// A scanner from the first frame on; `None` without a header, whose salt it needs.
    pub fn scanner(&self) -> Option<Scanner<'_, V::File>> {
        let salt = self.inner.header?.salt;
        Some(Scanner::new(&self.inner.file, salt, self.inner.len, Check::Full))
    }

    /// The `i`-th entry of a frame.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the bytes changed since the frame was scanned, [`Error::Io`].
    pub fn entry(&self, frame: &Frame, i: usize) -> Result<Entry> {
        let (path, salt) = (&self.inner.path, self.inner.header.map_or(0, |h| h.salt));
        let index = frame.header.first_index.saturating_add(i as u64);
        let at = frame.offsets.get(i).map(|&o| u64::from(o) * 8);
        let at = at.ok_or(Error::Unavailable { index, next_index: index })?;
        let read = RecordReader::file(&self.inner.file, frame.end).entry(salt, index, at);
        let read = read.map_err(|e| io_error("read", path, Some(at), e))?;
        read.ok_or_else(|| bad_record(path, index, at, frame.header.batch_seq, "the entry").into())
    }

    /// Length of the record at `offset` on disk, whatever it is.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn record_len(&self, offset: u64) -> Result<u64> {
        use raft_vfs::VfsFileExt as _;
        let mut head = [0; RecordHead::LEN];
        let read = self.inner.file.read_exact_at(&mut head, offset);
        read.map_err(|e| io_error("read", &self.inner.path, Some(offset), e))?;
        Ok(RecordHead::parse(&get(&head, 0)).record_len())
    }

    /// Offset of the first wholly valid frame at or behind `from`, for going on past damage.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn next_frame(&self, from: u64) -> Result<Option<u64>> {
        let Some(mut scanner) = self.scanner() else { return Ok(None) };
        scanner.seek(from).map_err(|e| io_error("read", &self.inner.path, Some(from), e))
    }
}
