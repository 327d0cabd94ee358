//! A closed segment: one that nothing is written to any more. Its entries are found by its index
//! file or by an index in memory, and read through a mapping or with `pread`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use raft_vfs::{Access, Vfs, VfsFile, VfsFileExt};

use crate::error::{Acked, Corrupt, CorruptKind, Error, LostRange, Result};
use crate::format::{
    IndexHead, PAGE, RECORD_OVERHEAD, RecordHead, RecordKind, Run, crc, crc_is_last, entry_seed,
    get, get_u32, get_u64,
};
use crate::index::SegmentIndex;
use crate::options::ReadMode;
use crate::paths::io_error;
use crate::pins::Life;
use crate::planted::{Bug, planted};
use crate::recover::refuse_unsupported;
use crate::scan::{Check, Scanner, Step};
use crate::types::Entry;

/// Where a segment was cut: its last live batch, as its successor's Base names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) batch_seq: u64,
    pub(crate) chain: u32,
    pub(crate) end: u64,
}

/// How a closed segment knows where its entries are.
#[derive(Debug)]
enum Table {
    /// `exact`: it is what a scan up to the cut gives.
    Memory { index: SegmentIndex, exact: bool },
    /// An index file whose head fits; its tables are checked at first use.
    File { head: IndexHead, path: PathBuf, loaded: OnceLock<Loaded> },
}

/// What the first use of an index file gave.
#[derive(Debug)]
enum Loaded {
    /// The file, head included, its checksum verified.
    Tables(Bytes),
    /// The tables were bad: the segment was scanned instead.
    Scanned(SegmentIndex),
}

/// A segment that is read only.
#[derive(Debug)]
pub(crate) struct ClosedSegment<V: Vfs> {
    vfs: V,
    pub(crate) path: PathBuf,
    pub(crate) seq: u64,
    pub(crate) salt: u32,
    pub(crate) cut: Cut,
    /// Number of the index that its first entry may have: where the log ended when it began.
    start_next: u64,
    mode: ReadMode,
    table: Table,
    map: OnceLock<Bytes>,
    life: Arc<Life>,
}

/// Keeps a mapping, and its file from being written again, as long as any entry points into it.
struct MapOwner<M> {
    map: M,
    _life: Arc<Life>,
}

impl<M: AsRef<[u8]>> AsRef<[u8]> for MapOwner<M> {
    fn as_ref(&self) -> &[u8] {
        self.map.as_ref()
    }
}

/// What identifies a closed segment.
#[derive(Clone, Debug)]
pub(crate) struct SegmentId {
    pub(crate) path: PathBuf,
    pub(crate) seq: u64,
    pub(crate) salt: u32,
    pub(crate) cut: Cut,
    pub(crate) start_next: u64,
    /// Who uses the file.
    pub(crate) life: Arc<Life>,
}

impl<V: Vfs> ClosedSegment<V> {
    /// With an index that may know of entries behind the cut.
    pub(crate) fn inherited(vfs: V, id: SegmentId, mode: ReadMode, index: SegmentIndex) -> Self {
        Self::new(vfs, id, mode, Table::Memory { index, exact: false })
    }

    /// With the index that a scan up to the cut has given, or every append from the segment's
    /// first on.
    pub(crate) fn indexed(vfs: V, id: SegmentId, mode: ReadMode, index: SegmentIndex) -> Self {
        Self::new(vfs, id, mode, Table::Memory { index, exact: true })
    }

    /// With the index file at `path`, if its head says that it describes exactly this cut.
    pub(crate) fn with_index_file(
        vfs: &V,
        id: SegmentId,
        mode: ReadMode,
        path: PathBuf,
        wal_uuid: &[u8; 16],
    ) -> Option<Self> {
        let file = vfs.open(&path, Access::Read).ok()?;
        let mut raw = [0; IndexHead::LEN];
        file.read_exact_at(&mut raw, 0).ok()?;
        let head = IndexHead::decode(&raw)?;
        let fits = head.wal_uuid == *wal_uuid
            && (head.seq, head.salt) == (id.seq, id.salt)
            && (Cut { batch_seq: head.cut_batch_seq, chain: head.cut_chain, end: head.cut_end }
                == id.cut
                || planted(Bug::IndexUnmatched))
            && head.first.checked_add(head.n).is_some()
            && head.n <= id.cut.end / RECORD_OVERHEAD
            && u64::from(head.runs) <= head.n;
        let len = head.tables_len()?.checked_add(IndexHead::LEN as u64)?;
        if !fits || file.len().ok()? != len {
            return None;
        }
        let table = Table::File { head, path, loaded: OnceLock::new() };
        Some(Self::new(vfs.clone(), id, mode, table))
    }

    fn new(vfs: V, id: SegmentId, mode: ReadMode, table: Table) -> Self {
        Self {
            vfs,
            path: id.path,
            seq: id.seq,
            salt: id.salt,
            cut: id.cut,
            start_next: id.start_next,
            mode,
            table,
            map: OnceLock::new(),
            life: id.life,
        }
    }

    /// Who uses the file.
    pub(crate) fn life(&self) -> &Arc<Life> {
        &self.life
    }

    /// Index of the first entry; where the log ended if there is none.
    pub(crate) fn first(&self) -> u64 {
        match &self.table {
            Table::Memory { index: i, .. } => i.first,
            Table::File { head, .. } => head.first,
        }
    }

    /// One past the last entry as of the cut.
    pub(crate) fn next(&self) -> u64 {
        match &self.table {
            Table::Memory { index: i, .. } => i.next(),
            Table::File { head, .. } => head.first + head.n,
        }
    }

    /// Lowest index that the segment touches.
    pub(crate) fn low(&self) -> u64 {
        match &self.table {
            Table::Memory { index: i, .. } => i.low,
            Table::File { head, .. } => head.low,
        }
    }

    /// Whether the segment empties the log.
    pub(crate) fn had_reset(&self) -> bool {
        match &self.table {
            Table::Memory { index: i, .. } => i.had_reset,
            Table::File { head, .. } => head.had_reset,
        }
    }

    /// Whether it stands on an index file.
    pub(crate) fn has_index_file(&self) -> bool {
        matches!(self.table, Table::File { .. })
    }

    /// The index that a scan of the segment up to its cut gives: what an index file is made of, so
    /// that the file and a scan cannot differ. Without a scan where that is known already; reading
    /// again what was just written takes longer than the writing did.
    pub(crate) fn scan(&self) -> Result<Cow<'_, SegmentIndex>> {
        let scan = || scan_to_cut(&self.open()?, &self.id(), Check::Full);
        match &self.table {
            Table::Memory { index, exact: true } => {
                debug_assert!(scan().ok().is_none_or(|s| s == *index), "as a scan gives it");
                Ok(Cow::Borrowed(index))
            }
            _ => scan().map(Cow::Owned),
        }
    }

    pub(crate) fn id(&self) -> SegmentId {
        SegmentId {
            path: self.path.clone(),
            seq: self.seq,
            salt: self.salt,
            cut: self.cut,
            start_next: self.start_next,
            life: self.life.clone(),
        }
    }

    /// Opens the file for one use: a log may have more segments than a process open files.
    fn open(&self) -> Result<V::File> {
        let opened = self.vfs.open(&self.path, Access::Read);
        opened.map_err(|e| io_error("open", &self.path, None, e))
    }

    fn loaded<'a>(
        &'a self,
        head: &IndexHead,
        path: &Path,
        cell: &'a OnceLock<Loaded>,
    ) -> Result<&'a Loaded> {
        if let Some(l) = cell.get() {
            return Ok(l);
        }
        let loaded = match self.read_tables(head, path) {
            Some(tables) => Loaded::Tables(tables),
            None => Loaded::Scanned(self.scan()?.into_owned()),
        };
        Ok(cell.get_or_init(|| loaded))
    }

    fn read_tables(&self, head: &IndexHead, path: &Path) -> Option<Bytes> {
        let file = self.vfs.open(path, Access::Read).ok()?;
        let len = head.tables_len()?.checked_add(IndexHead::LEN as u64)?;
        if file.len().ok()? != len {
            return None;
        }
        let bytes = match self.mode {
            ReadMode::Map => self.owned(file.map(len).ok()?),
            ReadMode::Pread => {
                let mut buf = vec![0; usize::try_from(len).ok()?];
                file.read_exact_at(&mut buf, 0).ok()?;
                buf.into()
            }
        };
        (crc(head.salt, &bytes[IndexHead::LEN..]) == head.tables_crc).then_some(bytes)
    }

    /// Whether the index file says what a scan has found; so without an index file.
    pub(crate) fn agrees_with(&self, scanned: &SegmentIndex) -> bool {
        let Table::File { head, path, .. } = &self.table else { return true };
        let same = (head.first, head.n) == (scanned.first, scanned.offsets.len() as u64)
            && (head.low, head.had_reset) == (scanned.low, scanned.had_reset)
            && u64::from(head.runs) == scanned.runs.len() as u64;
        let tables = || self.read_tables(head, path);
        same && tables().is_some_and(|b| {
            let offsets = b[IndexHead::LEN..].chunks_exact(4).map(|o| get_u32(o, 0));
            let runs = (0..scanned.runs.len()).map(|i| run_in_tables(head, &b, i));
            offsets.take(scanned.offsets.len()).eq(scanned.offsets.iter().copied())
                && runs.eq(scanned.runs.iter().copied())
        })
    }

    /// Offset of the record of `index`.
    fn offset(&self, index: u64) -> Result<Option<u64>> {
        match &self.table {
            Table::Memory { index: i, .. } => Ok(i.offset(index)),
            Table::File { head, path, loaded } => {
                if index < head.first || index - head.first >= head.n {
                    return Ok(None);
                }
                Ok(match self.loaded(head, path, loaded)? {
                    Loaded::Tables(b) => {
                        let at = IndexHead::LEN + (index - head.first) as usize * 4;
                        Some(u64::from(get_u32(b, at)) * 8)
                    }
                    Loaded::Scanned(i) => i.offset(index),
                })
            }
        }
    }

    /// Term of `index`.
    pub(crate) fn term(&self, index: u64) -> Result<Option<u64>> {
        match &self.table {
            Table::Memory { index: i, .. } => Ok(i.term(index)),
            Table::File { head, path, loaded } => {
                if index < head.first || index - head.first >= head.n {
                    return Ok(None);
                }
                Ok(match self.loaded(head, path, loaded)? {
                    Loaded::Tables(b) => term_in_tables(head, b, index),
                    Loaded::Scanned(i) => i.term(index),
                })
            }
        }
    }

    /// Reads entries from `index` on, below `hi`, until `budget` is used up; at least one.
    pub(crate) fn read(
        &self,
        index: u64,
        hi: u64,
        budget: &mut Budget,
        out: &mut Vec<Entry>,
    ) -> Result<()> {
        let file;
        let mut reader = match self.mode {
            ReadMode::Map => RecordReader::Mapped(self.mapped()?),
            ReadMode::Pread => {
                file = self.open()?;
                // Where the entry behind the range begins, nothing more needs to be read.
                let end = self.offset(hi)?.unwrap_or(self.cut.end);
                RecordReader::file(&file, end)
            }
        };
        for i in index..hi {
            let at = self.offset(i)?.ok_or_else(|| self.bad_record(i, 0, "an index entry"))?;
            let Some(entry) =
                reader.entry(self.salt, i, at).map_err(|e| self.read_fault(i, at, e))?
            else {
                return Err(self.bad_record(i, at, "a record with its checksum").into());
            };
            if !budget.take(&entry) {
                return Ok(());
            }
            out.push(entry);
        }
        Ok(())
    }

    fn mapped(&self) -> Result<&Bytes> {
        if let Some(m) = self.map.get() {
            return Ok(m);
        }
        let file = self.open()?;
        let fault = |e| io_error("map", &self.path, None, e);
        let len = file.len().map_err(fault)?.min(self.cut.end.next_multiple_of(PAGE));
        let map = file.map(len.max(1)).map_err(fault)?;
        Ok(self.map.get_or_init(|| self.owned(map)))
    }

    fn owned(&self, map: V::Map) -> Bytes {
        Bytes::from_owner(MapOwner { map, _life: self.life.clone() })
    }

    fn read_fault(&self, index: u64, at: u64, e: std::io::Error) -> Error {
        if e.kind() == std::io::ErrorKind::UnexpectedEof {
            return self.bad_record(index, at, "a whole record").into();
        }
        io_error("read", &self.path, Some(at), e)
    }

    fn bad_record(&self, index: u64, offset: u64, expected: &str) -> Corrupt {
        bad_record(&self.path, index, offset, self.cut.batch_seq, expected)
    }
}

/// The error of a record that is not what the index says it is.
pub(crate) fn bad_record(
    path: &Path,
    index: u64,
    offset: u64,
    batch_seq: u64,
    expected: &str,
) -> Corrupt {
    Corrupt {
        kind: CorruptKind::Record,
        path: path.to_owned(),
        offset,
        batch_seq,
        expected: expected.to_owned(),
        found: format!("other bytes where entry {index} was written"),
        lost: Some(LostRange { first: index, last: Some(index), term: None }),
        acked: Acked::Proven,
        advice: "run wal-dump verify on the directory; other entries stay readable",
    }
}

/// The `i`-th run of terms; there are as many as the head says.
fn run_in_tables(head: &IndexHead, b: &[u8], i: usize) -> Run {
    let at = IndexHead::LEN + (head.n as usize * 4).next_multiple_of(8) + i * 16;
    Run { index: get_u64(b, at), term: get_u64(b, at + 8) }
}

fn term_in_tables(head: &IndexHead, b: &Bytes, index: u64) -> Option<u64> {
    let run = |i: usize| run_in_tables(head, b, i);
    let (mut lo, mut hi) = (0, head.runs as usize);
    while lo < hi {
        let mid = lo + (hi - lo) / 2;
        if run(mid).index <= index { lo = mid + 1 } else { hi = mid }
    }
    lo.checked_sub(1).map(|i| run(i).term)
}

/// How many payload bytes a read may still return; the first entry is always allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    left: u64,
    first: bool,
    pub(crate) exhausted: bool,
}

impl Budget {
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { left: max_bytes, first: true, exhausted: false }
    }

    /// Payload bytes that may still come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Whether `entry` still fits; takes it if so.
    pub(crate) fn take(&mut self, entry: &Entry) -> bool {
        let size = entry.data.len() as u64;
        if size > self.left && !self.first {
            self.exhausted = true;
            return false;
        }
        self.left = self.left.saturating_sub(size);
        self.first = false;
        true
    }
}

/// Reads single records, each checked against index, salt and place.
pub(crate) enum RecordReader<'a, F> {
    /// From a mapping, without copying.
    Mapped(&'a Bytes),
    /// With `pread`, bounded by the segment's live end; neighbours share one read.
    File { file: &'a F, end: u64, chunk: Bytes, chunk_at: u64 },
}

/// What one `pread` takes, unless the record is larger.
const READ_AHEAD: u64 = 64 << 10;

impl<'a, F: VfsFile> RecordReader<'a, F> {
    /// Reads with `pread` below `end`.
    pub(crate) fn file(file: &'a F, end: u64) -> Self {
        Self::File { file, end, chunk: Bytes::new(), chunk_at: 0 }
    }

    /// The entry at `at`; `None` if the bytes there are not entry `index` under this salt.
    pub(crate) fn entry(
        &mut self,
        salt: u32,
        index: u64,
        at: u64,
    ) -> std::io::Result<Option<Entry>> {
        match self {
            Self::Mapped(map) => Ok(entry_in(map, salt, index, at as usize)),
            Self::File { file, end, chunk, chunk_at } => {
                let held = |chunk: &Bytes, chunk_at: u64| {
                    let from = usize::try_from(at.checked_sub(chunk_at)?).ok()?;
                    entry_in(chunk, salt, index, from)
                };
                if let Some(entry) = held(chunk, *chunk_at) {
                    return Ok(Some(entry));
                }
                let room = end.saturating_sub(at);
                if room < RecordHead::LEN as u64 {
                    return Ok(None);
                }
                let mut buf = vec![0; room.min(READ_AHEAD) as usize];
                file.read_exact_at(&mut buf, at)?;
                let len = RecordHead::parse(&get(&buf, 0)).record_len();
                if len > room {
                    return Ok(None);
                }
                if len > buf.len() as u64 {
                    buf.resize(len as usize, 0);
                    file.read_exact_at(&mut buf, at)?;
                }
                (*chunk, *chunk_at) = (buf.into(), at);
                Ok(entry_in(chunk, salt, index, 0))
            }
        }
    }
}

/// The entry whose record begins at `at` in `bytes`, if it is entry `index` under this salt.
pub(crate) fn entry_in(bytes: &Bytes, salt: u32, index: u64, at: usize) -> Option<Entry> {
    let rest = bytes.get(at..)?;
    let head = RecordHead::parse(&get(rest.get(..RecordHead::LEN)?, 0));
    let record = rest.get(..usize::try_from(head.record_len()).ok()?)?;
    let RecordKind::Entry(kind) = head.kind else { return None };
    if !crc_is_last(entry_seed(salt, index), record) && !planted(Bug::ReadUnchecked) {
        return None;
    }
    let data = at + RecordHead::LEN;
    let data = bytes.slice(data..data + head.len as usize);
    Some(Entry { index, term: head.term, kind, data })
}

/// Scans a segment up to its cut: every frame must be there and the last must be the one that the
/// successor names.
///
/// # Errors
/// [`Error::Corrupt`] that names what is lost, or [`Error::Io`].
pub(crate) fn scan_to_cut<F: VfsFile>(
    file: &F,
    id: &SegmentId,
    check: Check,
) -> Result<SegmentIndex> {
    let fault = |e: std::io::Error| io_error("read", &id.path, None, e);
    let len = file.len().map_err(fault)?;
    let end = id.cut.end.min(len);
    let mut index = SegmentIndex::new(id.start_next);
    let mut scanner = Scanner::new(file, id.salt, end, check);
    let lost_from =
        |index: &SegmentIndex| Some(LostRange { first: index.next(), last: None, term: None });
    loop {
        match scanner.step().map_err(fault)? {
            Step::Frame => {
                if !index.apply(scanner.frame()) {
                    let f = scanner.frame();
                    let at = (f.header.batch_seq, f.offset);
                    let found = format!("entries from {}", scanner.frame().header.first_index);
                    let expected = format!("entries from {}", index.next());
                    return Err(closed_fault(
                        CorruptKind::Rule,
                        id,
                        at,
                        expected,
                        found,
                        lost_from(&index),
                    ));
                }
                if scanner.position() == id.cut.end {
                    break;
                }
            }
            Step::Stop(stop) => {
                refuse_unsupported(&id.path, Some(&stop))?;
                let lost = stop.header.filter(|h| h.n_entries > 0).map_or(lost_from(&index), |h| {
                    let last = h.first_index.checked_add(u64::from(h.n_entries) - 1);
                    Some(LostRange { first: index.next(), last, term: None })
                });
                let batch_seq = scanner.expected().map_or(0, |(seq, _)| seq);
                let (at, expected) = ((batch_seq, stop.offset), stop.expected);
                return Err(closed_fault(CorruptKind::Batch, id, at, expected, stop.found, lost));
            }
        }
    }
    let last = scanner.frame().header;
    if (last.batch_seq, last.header_crc) != (id.cut.batch_seq, id.cut.chain) {
        let expected = format!("batch {} with checksum {:08x}", id.cut.batch_seq, id.cut.chain);
        let found = format!("batch {} with checksum {:08x}", last.batch_seq, last.header_crc);
        let at = (last.batch_seq, scanner.frame().offset);
        return Err(closed_fault(CorruptKind::Succession, id, at, expected, found, None));
    }
    Ok(index)
}

fn closed_fault(
    kind: CorruptKind,
    id: &SegmentId,
    (batch_seq, offset): (u64, u64),
    expected: String,
    found: String,
    lost: Option<LostRange>,
) -> Error {
    Corrupt {
        kind,
        path: id.path.clone(),
        offset,
        batch_seq,
        expected,
        found,
        lost,
        acked: Acked::Proven,
        advice: "open degraded to read what is sound; refill the lost indexes from a peer or restore this file from a copy",
    }
    .into()
}
