//! The log after replay: what a node that starts from it would have.

use std::path::Path;

use bytes::Bytes;
use crc32c::crc32c_append;
use raft_vfs::{Access, Vfs, VfsFile, VfsFileExt};

use crate::check::Effect;
use crate::frame::{HEAD_MAX, Head, WORD};
use crate::layout::Layout;
use crate::problem::Findings;
use crate::reader::{ReadOptions, Reader, Step};
use crate::scan::Frame;
use crate::snap::SnapFile;
use crate::types::{Entry, EntryKind, Record, RecordKind};
use crate::{Error, record};

/// One entry of the replayed log, without its payload: 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef {
    /// Position in the log.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// What its payload is.
    pub kind: EntryKind,
    /// Place of its file in [`Layout::segments`].
    pub segment: u32,
    /// Where its length word stands in that file.
    pub offset: u64,
    /// Length word, record and padding together, in bytes; at most the file's length.
    pub frame_len: u64,
    /// The rolling checksum before it and including it, by which it is verified again when it is
    /// fetched. The stored one may be damaged beside sound data.
    seed: u32,
    crc: u32,
}

/// A replayed log: overwritten suffixes gone, entries before a received snapshot gone.
///
/// Entries up to the node's own snapshots are still in it, as far as their segments are. If the
/// log is damaged ([`Replay::findings`]), entries may be missing; their indexes are then not
/// consecutive.
#[derive(Debug)]
pub struct Replay<V: Vfs> {
    vfs: V,
    layout: Layout,
    findings: Findings,
    metadata: Option<Record>,
    hard_state: Option<Record>,
    marker: Option<Record>,
    snap: Option<SnapFile>,
    entries: Vec<EntryRef>,
    /// The file that was fetched from last.
    open: Option<(u32, V::File)>,
}

impl<V: Vfs> Replay<V> {
    /// Replays the log at `path` in one pass. Blocks on reads.
    ///
    /// # Errors
    /// As [`Reader::open`] and [`Reader::step`]. Damage is no error, see [`Replay::findings`].
    pub fn read(vfs: V, path: &Path, options: ReadOptions) -> Result<Self, Error> {
        let mut reader = Reader::open(vfs.clone(), path, options)?;
        let mut replay = Self {
            vfs,
            layout: reader.layout().clone(),
            findings: Findings::default(),
            metadata: None,
            hard_state: None,
            marker: None,
            snap: None,
            entries: Vec::new(),
            open: None,
        };
        while let Some(step) = reader.step()? {
            match step {
                Step::Record(record) => replay.apply(record),
                Step::SnapFile(file) => {
                    let committed = file.index <= reader.hard_state().commit;
                    if committed && reader.has_marker(file.term, file.index) {
                        replay.snap = Some(file);
                    }
                }
                Step::Problem(_) => {}
            }
        }
        replay.findings = reader.findings().clone();
        Ok(replay)
    }

    fn apply(&mut self, record: Record) {
        match &record.kind {
            RecordKind::Crc(_) => {}
            RecordKind::Metadata(_) => self.metadata = Some(record),
            RecordKind::HardState(_) => self.hard_state = Some(record),
            RecordKind::Snapshot(_) => {
                if record.effect == Effect::Reset {
                    self.entries.clear();
                }
                self.marker = Some(record);
            }
            RecordKind::Entry(entry) => {
                let keep = self.entries.partition_point(|e| e.index < entry.index);
                self.entries.truncate(keep);
                self.entries.push(EntryRef {
                    index: entry.index,
                    term: entry.term,
                    kind: entry.kind,
                    segment: record.segment_number,
                    offset: record.offset,
                    frame_len: record.frame_len,
                    seed: record.seed,
                    crc: record.crc,
                });
            }
        }
    }

    /// The log's files.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What is wrong with the log.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// The last metadata record: opaque bytes that name node and cluster.
    pub fn metadata(&self) -> Option<&Record> {
        self.metadata.as_ref()
    }

    /// The last hard state record.
    pub fn hard_state(&self) -> Option<&Record> {
        self.hard_state.as_ref()
    }

    /// The last snapshot marker record.
    pub fn marker(&self) -> Option<&Record> {
        self.marker.as_ref()
    }

    /// The snapshot file etcd would start from: the newest readable one that a marker names and
    /// the commit index covers.
    pub fn snap(&self) -> Option<&SnapFile> {
        self.snap.as_ref()
    }

    /// The entries in order of index.
    pub fn entries(&self) -> &[EntryRef] {
        &self.entries
    }

    /// Reads an entry's payload and verifies its checksum again. Blocks on reads.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Changed`] if the entry is not there any more.
    pub fn fetch(&mut self, entry: &EntryRef) -> Result<Entry, Error> {
        let changed = |path: &Path| Error::Changed {
            path: path.to_path_buf(),
            offset: entry.offset,
            term: entry.term,
            index: entry.index,
        };
        let name = self.layout.segments.get(entry.segment as usize);
        let path = self.layout.wal_dir.join(name.map_or("", |n| &n.name));
        if self.open.as_ref().is_none_or(|open| open.0 != entry.segment) {
            let file = self.vfs.open(&path, Access::Read);
            self.open = Some((entry.segment, file.map_err(|e| Error::io("open", &path, e))?));
        }
        let Some((_, file)) = &self.open else { return Err(changed(&path)) };
        let len = file.len().map_err(|e| Error::io("read", &path, e))?;
        if entry.offset.checked_add(entry.frame_len).is_none_or(|end| end > len) {
            return Err(changed(&path));
        }
        let mut buffer = vec![0; (entry.frame_len - WORD) as usize];
        file.read_exact_at(&mut buffer, entry.offset + WORD)
            .map_err(|e| Error::io("read", &path, e))?;
        decode(&Bytes::from(buffer), entry)
            .filter(|e| (e.index, e.term) == (entry.index, entry.term))
            .ok_or_else(|| changed(&path))
    }
}

/// The entry in a frame without its length word, if it is the one that was there before.
fn decode(bytes: &Bytes, entry: &EntryRef) -> Option<Entry> {
    let head = Head::parse(&bytes[..bytes.len().min(HEAD_MAX)]).ok()?;
    let end = usize::try_from(head.record_len()).ok().filter(|&end| end <= bytes.len())?;
    let data = bytes.slice(head.len..end);
    if crc32c_append(entry.seed, &data) != entry.crc {
        return None;
    }
    let frame = Frame {
        offset: entry.offset,
        len: entry.frame_len,
        position: 2,
        kind: head.kind,
        seed: entry.seed,
        crc: entry.crc,
        data: Some(data),
    };
    match record::decode(&frame) {
        Ok(RecordKind::Entry(entry)) => Some(entry),
        _ => None,
    }
}
