//! Step 2: a segment's header and marks.

use std::path::PathBuf;

use raft_vfs::{Access, Vfs, VfsFile, VfsFileExt};

use super::Recovery;
use crate::error::{Acked, Corrupt, CorruptKind, Error, Result};
use crate::format::{FIRST_FRAME, HeaderFault, Mark, PAGE, SegmentHeader, VERSION, get};
use crate::paths::{Paths, io_error};
use crate::planted::{Bug, planted};

/// What a segment's first three pages say.
#[derive(Clone, Debug)]
pub(crate) struct SegmentInfo {
    pub(crate) seq: u64,
    pub(crate) path: PathBuf,
    /// Length of the file in bytes.
    pub(crate) file_len: u64,
    /// Bytes that can hold frames: the file's length, at most its capacity.
    pub(crate) len: u64,
    /// Pages of the first three that hold no valid copy of the header.
    pub(crate) bad_pages: Vec<u32>,
    /// The majority of the three copies; `None` if there is none.
    pub(crate) header: Option<SegmentHeader>,
    /// The valid mark pages that belong to this header.
    pub(crate) marks: Vec<Mark>,
}

/// A segment with its file open. Few are at a time: a log may have more segments than a process
/// may have open files.
#[derive(Debug)]
pub(crate) struct SegmentFile<F> {
    pub(crate) info: SegmentInfo,
    pub(crate) file: F,
}

impl<F> std::ops::Deref for SegmentFile<F> {
    type Target = SegmentInfo;

    fn deref(&self) -> &SegmentInfo {
        &self.info
    }
}

impl SegmentInfo {
    /// The newest mark.
    pub(super) fn newest_mark(&self) -> Option<&Mark> {
        self.marks.iter().max_by_key(|m| m.mark_no)
    }

    /// Opens the file.
    pub(crate) fn open<V: Vfs>(&self, vfs: &V) -> Result<SegmentFile<V::File>> {
        let file = vfs.open(&self.path, Access::Read);
        let file = file.map_err(|e| io_error("open", &self.path, None, e))?;
        Ok(SegmentFile { info: self.clone(), file })
    }
}

/// Step 2: reads a segment's header and marks.
pub(crate) fn load_segment<V: Vfs>(vfs: &V, paths: &Paths, seq: u64) -> Result<SegmentInfo> {
    load_segment_at(vfs, paths.segment(seq), seq).map(|s| s.info)
}

/// The same for a file anywhere, which stays open.
pub(crate) fn load_segment_at<V: Vfs>(
    vfs: &V,
    path: PathBuf,
    seq: u64,
) -> Result<SegmentFile<V::File>> {
    let file = vfs.open(&path, Access::Read).map_err(|e| io_error("open", &path, None, e))?;
    let file_len = file.len().map_err(|e| io_error("stat", &path, None, e))?;
    let mut raw = vec![0; FIRST_FRAME as usize];
    file.read_up_to_at(&mut raw, 0).map_err(|e| io_error("read", &path, Some(0), e))?;
    let page0 = SegmentHeader::decode(&get(&raw, 0));
    let unsupported = |what, found| {
        Err(Error::Unsupported { path: path.clone(), what, found, expected: VERSION.into() })
    };
    match page0 {
        Err(HeaderFault::Version(v)) => return unsupported("format version", v),
        Err(HeaderFault::Incompat(b)) => return unsupported("feature bits", b),
        _ => {}
    }
    let marks = [1_u32, 2].map(|page| {
        let at = u64::from(page) * PAGE;
        Mark::decode(&get(&raw, at as usize), page)
    });
    let copies = [page0.ok(), marks[0].map(|m| m.header), marks[1].map(|m| m.header)];
    let header = majority(&copies);
    let bad_pages = (0..3_u32).zip(copies).filter(|(_, c)| c.is_none() || *c != header);
    let bad_pages = bad_pages.map(|(page, _)| page).collect();
    // A mark of an earlier life of the file promises nothing about this one.
    let marks = marks.into_iter().flatten().filter(|m| Some(m.header) == header).collect();
    // Frames never stand beyond the capacity, however long a file was made.
    let len = header.map_or(file_len, |h| file_len.min(h.capacity));
    let info = SegmentInfo { seq, path, file_len, len, bad_pages, header, marks };
    Ok(SegmentFile { info, file })
}

/// A lost write can leave a valid header of the file's earlier life, so one copy against another
/// decides nothing.
fn majority(copies: &[Option<SegmentHeader>]) -> Option<SegmentHeader> {
    let valid: Vec<_> = copies.iter().flatten().collect();
    let first = valid.first()?;
    if valid.iter().all(|c| c == first) || planted(Bug::FirstCopyWins) {
        return Some(**first);
    }
    valid.iter().find(|c| valid.iter().filter(|d| d == c).count() >= 2).map(|c| **c)
}

/// Checks that a segment is what its name says and belongs to this log.
pub(super) fn header_of(r: &Recovery<'_, impl Vfs>, s: &SegmentInfo) -> Result<SegmentHeader> {
    let corrupt = |kind, expected: String, found: String| {
        Error::from(Corrupt {
            kind,
            path: s.path.clone(),
            offset: 0,
            batch_seq: 0,
            expected,
            found,
            lost: None,
            acked: Acked::Possible,
            advice: "restore this file from a copy, or open degraded to read what is sound",
        })
    };
    let Some(h) = s.header else {
        let expected = "a header in page 0 or in a mark page, two of them alike".into();
        return Err(corrupt(CorruptKind::Header, expected, format!("none in {} bytes", s.len)));
    };
    let uuid = r.ident.page.wal_uuid;
    if h.wal_uuid != uuid {
        return Err(Error::IdentityMismatch {
            path: s.path.clone(),
            what: "log uuid",
            expected: hex(&uuid),
            found: hex(&h.wal_uuid),
        });
    }
    if h.seq != s.seq && !planted(Bug::NameUnchecked) {
        let (expected, found) = (format!("segment {}", s.seq), format!("segment {}", h.seq));
        return Err(corrupt(CorruptKind::Name, expected, found));
    }
    Ok(h)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}
