//! One part of a pass: reading it and judging it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_vfs::{Access, Vfs, VfsFile, VfsFileExt};

use super::{Cursor, Finding};
use crate::dir::Ident;
use crate::error::{Acked, Corrupt, CorruptKind, Error, LostRange, Result};
use crate::format::{
    FIRST_FRAME, FRAME_HEADER_LEN, HeadSlot, IdentPage, IndexHead, PAGE, crc, get,
};
use crate::paths::io_error;
use crate::pins::{Extent, Pin};
use crate::publish::is_out_of_descriptors;
use crate::recover::load_segment_at;
use crate::scan::{Check, Scanner, Step, Stop, StopReason};

/// What is read of an index file at once.
const CHUNK: u64 = 256 << 10;

const RESTORE: &str =
    "entries elsewhere stay readable; refill from a peer or restore this file from a copy";

/// What a part is about.
#[derive(Debug)]
pub(super) enum Part {
    /// IDENT, as the open read or wrote it.
    Ident(PathBuf, Ident),
    Segment(Target),
    /// Nothing is left of what the pass began with.
    End,
}

/// A segment.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) seq: u64,
    pub(super) path: PathBuf,
    pub(super) index: PathBuf,
    pub(super) wal_uuid: [u8; 16],
    pub(super) salt: u32,
    /// What of it is durable; `None` if it was not begun.
    pub(super) extent: Option<Extent>,
    /// It, and its marks, may be written at any time.
    pub(super) is_newest: bool,
    pub(super) _pin: Pin,
}

/// A part on its way.
#[derive(Debug)]
pub(crate) struct Scrubbing<V: Vfs> {
    pub(super) vfs: V,
    pub(super) part: Part,
    pub(super) cursor: Cursor,
    pub(super) budget: u64,
}

/// What came of a part.
#[derive(Debug)]
pub(crate) struct ScrubEnd {
    /// Where it began, and where the next one begins.
    pub(super) from: Cursor,
    pub(super) to: Cursor,
    /// What it was about: a segment, or 0.
    pub(super) seq: u64,
    pub(super) bytes: u64,
    pub(super) found: Vec<Finding>,
    /// Something is wrong with pages that may have been written meanwhile.
    pub(super) is_doubtful: bool,
}

impl<V: Vfs> Scrubbing<V> {
    /// Reads and judges. Blocks for that.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no descriptor left to open a file with.
    pub(crate) fn run(self) -> Result<ScrubEnd> {
        let mut report = Report::default();
        let from = self.cursor;
        let (seq, to) = match &self.part {
            Part::Ident(path, ident) => {
                self.ident(path, ident, &mut report)?;
                report.may_change = true;
                (0, Cursor::segment(1))
            }
            Part::Segment(target) if target.seq == from.seq && from.at > 0 => {
                (target.seq, self.frames(target, from, &mut report)?)
            }
            Part::Segment(target) => {
                report.may_change = target.is_newest;
                (target.seq, self.head(target, &mut report)?)
            }
            Part::End => (from.seq, from),
        };
        let Report { bytes, found, may_change } = report;
        let is_doubtful = may_change && !found.is_empty();
        Ok(ScrubEnd { from, to, seq, bytes, found, is_doubtful })
    }

    /// Opens a file of the log; `None`, and the finding, if that cannot be done.
    fn open(
        &self,
        path: &Path,
        missing: CorruptKind,
        report: &mut Report,
    ) -> Result<Option<V::File>> {
        match self.vfs.open(path, Access::Read) {
            Ok(file) => Ok(Some(file)),
            Err(e) if is_out_of_descriptors(&e) => Err(io_error("open", path, None, e)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let expected = "a file that is part of the log";
                report.damage(path, (missing, 0), expected, "no such file");
                Ok(None)
            }
            Err(e) => {
                report.unreadable(path, 0, e);
                Ok(None)
            }
        }
    }

    /// Both copies of the identity and both HEAD slots, against what the open read or wrote.
    fn ident(&self, path: &Path, ident: &Ident, report: &mut Report) -> Result<()> {
        let Some(file) = self.open(path, CorruptKind::Ident, report)? else { return Ok(()) };
        let mut raw = [0; IdentPage::FILE_LEN as usize];
        match file.read_up_to_at(&mut raw, 0) {
            Ok(got) => report.bytes += got as u64,
            Err(e) => {
                report.unreadable(path, 0, e);
                return Ok(());
            }
        }
        let is_bad =
            |at: u64| IdentPage::decode(&get(&raw, at as usize)).as_ref() != Ok(&ident.page);
        let bad: Vec<u64> = [0, PAGE].into_iter().filter(|&at| is_bad(at)).collect();
        if bad.len() == 2 {
            let expected = "the identity that this log was opened with";
            report.damage(path, (CorruptKind::Ident, 0), expected, "other bytes in both copies");
        } else {
            report.spares(path, &bad, "this copy of the identity is not valid; the other one is");
        }
        for slot in [2_u32, 3] {
            let at = u64::from(slot) * PAGE;
            let raw: [u8; HeadSlot::LEN] = get(&raw, at as usize);
            let found = HeadSlot::decode(&raw, slot);
            let is_right = if ident.head.slot_no > 0 && slot == ident.head_page {
                found == Some(ident.head)
            } else {
                found.is_some() || raw == [0; HeadSlot::LEN]
            };
            if !is_right {
                let what =
                    "this HEAD slot is not valid; the log needs none until a segment is lost";
                report.spares(path, &[at], what);
            }
        }
        Ok(())
    }

    /// Header, marks and index file.
    fn head(&self, target: &Target, report: &mut Report) -> Result<Cursor> {
        let done = Cursor::segment(target.seq + 1);
        let path = &target.path;
        if self.open(path, CorruptKind::MissingSegment, report)?.is_none() {
            return Ok(done);
        }
        let info = match load_segment_at(&self.vfs, path.clone(), target.seq) {
            Ok(segment) => segment.info,
            Err(Error::Io { source, .. }) => {
                report.unreadable_shared(path, 0, source);
                return Ok(done);
            }
            Err(e) => {
                let found = e.to_string();
                report.damage(path, (CorruptKind::Header, 0), "a header of this version", &found);
                return Ok(done);
            }
        };
        report.bytes += FIRST_FRAME.min(info.file_len);
        match info.header.filter(|h| (h.salt, h.seq) == (target.salt, target.seq)) {
            None => {
                let expected = format!("two copies of the header with salt {:08x}", target.salt);
                report.damage(path, (CorruptKind::Header, 0), &expected, "other bytes");
            }
            Some(header) => {
                let bad: Vec<u64> = info.bad_pages.iter().map(|&p| u64::from(p) * PAGE).collect();
                report.spares(path, &bad, "this copy of the header is not valid; another one is");
                let cut = target.extent.map_or(0, |e| e.cut.end);
                let len = if target.is_newest { header.capacity } else { cut };
                if info.file_len < len {
                    let (expected, found) = (format!("{len} bytes"), info.file_len.to_string());
                    let at = (CorruptKind::Length, info.file_len);
                    report.damage(path, at, &expected, &found);
                }
            }
        }
        if let Some(extent) = target.extent.filter(|_| !target.is_newest) {
            self.index(target, &extent, report)?;
        }
        Ok(if target.extent.is_some() {
            Cursor { seq: target.seq, at: FIRST_FRAME, expect: None }
        } else {
            done
        })
    }

    /// The index file, if there is one.
    fn index(&self, target: &Target, extent: &Extent, report: &mut Report) -> Result<()> {
        let path = &target.index;
        let file = match self.vfs.open(path, Access::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if is_out_of_descriptors(&e) => return Err(io_error("open", path, None, e)),
            Err(e) => {
                report.unreadable(path, 0, e);
                return Ok(());
            }
        };
        let what = match index_is_right(&file, target, extent, report) {
            Ok(true) => return Ok(()),
            Ok(false) => "this index file is not valid; a scan of the segment gives the same",
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                "this index file is cut short; a scan of the segment gives the same"
            }
            Err(e) => {
                report.unreadable(path, 0, e);
                return Ok(());
            }
        };
        report.spares(path, &[0], what);
        Ok(())
    }

    /// Frames from the cursor on, until the budget or the segment ends.
    fn frames(&self, target: &Target, from: Cursor, report: &mut Report) -> Result<Cursor> {
        let done = Cursor::segment(target.seq + 1);
        let Some(extent) = target.extent else { return Ok(done) };
        let file = self.open(&target.path, CorruptKind::MissingSegment, report)?;
        let Some(file) = file else { return Ok(done) };
        let len = match file.len() {
            Ok(len) => len,
            Err(e) => {
                report.unreadable(&target.path, 0, e);
                return Ok(done);
            }
        };
        let end = extent.cut.end;
        let mut scanner = Scanner::new(&file, target.salt, end.min(len), Check::Full);
        scanner.go_on_at(from.at, from.expect);
        let mut walk = Walk { target, scanner, report, end };
        let outcome = walk.go(self.budget, extent);
        let (at, read) = (walk.scanner.position(), walk.scanner.bytes_read());
        let expect = walk.scanner.expected();
        report.bytes += read;
        match outcome {
            Ok(true) => Ok(done),
            Ok(false) => Ok(Cursor { seq: target.seq, at, expect }),
            Err(e) => {
                report.unreadable(&target.path, at, e);
                Ok(done)
            }
        }
    }
}

/// Whether an index file describes exactly this segment.
fn index_is_right<F: VfsFile>(
    file: &F,
    target: &Target,
    extent: &Extent,
    report: &mut Report,
) -> io::Result<bool> {
    let mut raw = [0; IndexHead::LEN];
    file.read_exact_at(&mut raw, 0)?;
    report.bytes += raw.len() as u64;
    let Some(head) = IndexHead::decode(&raw) else { return Ok(false) };
    let cut = extent.cut;
    let fits = head.wal_uuid == target.wal_uuid
        && (head.seq, head.salt) == (target.seq, extent.salt)
        && (head.cut_batch_seq, head.cut_chain) == (cut.batch_seq, cut.chain)
        && head.cut_end == cut.end;
    let Some(len) = head.tables_len().filter(|_| fits) else { return Ok(false) };
    let end = len.saturating_add(IndexHead::LEN as u64);
    if file.len()? != end {
        return Ok(false);
    }
    let (mut at, mut sum) = (IndexHead::LEN as u64, head.salt);
    let mut buf = vec![0; CHUNK.min(len) as usize];
    while at < end {
        let take = (end - at).min(CHUNK) as usize;
        file.read_exact_at(&mut buf[..take], at)?;
        sum = crc(sum, &buf[..take]);
        (at, report.bytes) = (at + take as u64, report.bytes + take as u64);
    }
    Ok(sum == head.tables_crc)
}

/// A scan past what is bad.
struct Walk<'a, 'f, F> {
    target: &'a Target,
    scanner: Scanner<'f, F>,
    report: &'a mut Report,
    end: u64,
}

impl<F: VfsFile> Walk<'_, '_, F> {
    /// Whether it got to the end; `false` if the budget ended before.
    fn go(&mut self, budget: u64, extent: Extent) -> io::Result<bool> {
        loop {
            if self.scanner.position() >= self.end {
                self.judge_end(extent);
                return Ok(true);
            }
            if self.scanner.bytes_read() >= budget {
                return Ok(false);
            }
            if let Step::Stop(stop) = self.scanner.step()?
                && !self.pass(&stop)?
            {
                return Ok(true);
            }
        }
    }

    /// The last frame must be the one that the successor, or the handle, knows.
    fn judge_end(&mut self, extent: Extent) {
        let cut = extent.cut;
        let Some((next, chain)) = self.scanner.expected() else { return };
        if (next, chain) != (cut.batch_seq.wrapping_add(1), cut.chain) {
            let expected = format!("batch {} with checksum {:08x}", cut.batch_seq, cut.chain);
            let found = format!("batch {} with checksum {chain:08x}", next.wrapping_sub(1));
            let at = (CorruptKind::Succession, cut.end);
            self.report.damage(&self.target.path, at, &expected, &found);
        }
    }

    /// Notes a bad frame and goes on behind it; `false` if nothing sound follows.
    fn pass(&mut self, stop: &Stop) -> io::Result<bool> {
        let named = stop.header.filter(|h| h.n_entries > 0 && stop.reason == StopReason::Body);
        let lost = named.map(|h| LostRange {
            first: h.first_index,
            last: h.first_index.checked_add(u64::from(h.n_entries) - 1),
            term: None,
        });
        let path = self.target.path.clone();
        self.report.found.push(if stop.reason == StopReason::Unsupported {
            let newer = io::Error::new(io::ErrorKind::Unsupported, "it needs a newer version");
            Finding::Unreadable { path, offset: stop.offset, source: Arc::new(newer) }
        } else {
            Finding::Damage(Corrupt {
                kind: CorruptKind::Batch,
                path,
                offset: stop.offset,
                batch_seq: self.scanner.expected().map_or(0, |(seq, _)| seq),
                expected: stop.expected.clone(),
                found: stop.found.clone(),
                lost,
                acked: Acked::Proven,
                advice: RESTORE,
            })
        });
        match (stop.reason, stop.header) {
            (StopReason::End, _) => Ok(false),
            // The frame is sound; its place in the sequence is not.
            (StopReason::Sequence, _) => {
                self.scanner.resume_at(stop.offset);
                Ok(true)
            }
            (_, Some(h)) => {
                let next = stop.offset + FRAME_HEADER_LEN + u64::from(h.body_len);
                let after = (h.batch_seq.wrapping_add(1), h.header_crc);
                self.scanner.go_on_at(next, Some(after));
                Ok(next <= self.end)
            }
            (_, None) => Ok(self.scanner.seek(stop.offset + 8)?.is_some()),
        }
    }
}

/// What a part has read and found.
#[derive(Debug, Default)]
struct Report {
    bytes: u64,
    found: Vec<Finding>,
    /// The pages that were read may have been written meanwhile.
    may_change: bool,
}

impl Report {
    fn damage(&mut self, path: &Path, at: (CorruptKind, u64), expected: &str, found: &str) {
        self.found.push(Finding::Damage(Corrupt {
            kind: at.0,
            path: path.to_owned(),
            offset: at.1,
            batch_seq: 0,
            expected: expected.to_owned(),
            found: found.to_owned(),
            lost: None,
            acked: Acked::Proven,
            advice: RESTORE,
        }));
    }

    fn unreadable(&mut self, path: &Path, offset: u64, e: io::Error) {
        self.unreadable_shared(path, offset, Arc::new(e));
    }

    fn unreadable_shared(&mut self, path: &Path, offset: u64, source: Arc<io::Error>) {
        self.found.push(Finding::Unreadable { path: path.to_owned(), offset, source });
    }

    fn spares(&mut self, path: &Path, offsets: &[u64], what: &'static str) {
        let spare = |&offset: &u64| Finding::Spare { path: path.to_owned(), offset, what };
        self.found.extend(offsets.iter().map(spare));
    }
}
