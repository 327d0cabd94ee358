//! Step 2: a segment's header and marks.

use std::path::PathBuf;

use raft_vfs::{Access, Vfs, VfsFile, VfsFileExt};

use super::Recovery;
use crate::error::{Acked, Corrupt, CorruptKind, Error, Result};
use crate::format::{FIRST_FRAME, HeaderFault, Mark, PAGE, SegmentHeader, VERSION, get};
use crate::paths::{Paths, io_error};

/// A segment file with what its first three pages say.
#[derive(Debug)]
pub(crate) struct SegmentFile<F> {
    pub(crate) seq: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: F,
    /// Bytes that can hold frames: the file's length, at most its capacity.
    pub(crate) len: u64,
    /// Pages of the first three that hold no valid copy of the header.
    pub(crate) bad_pages: Vec<u32>,
    /// The majority of the three copies; `None` if there is none.
    pub(crate) header: Option<SegmentHeader>,
    /// The valid mark pages that belong to this header.
    pub(crate) marks: Vec<Mark>,
}

impl<F> SegmentFile<F> {
    /// The newest mark.
    pub(super) fn newest_mark(&self) -> Option<&Mark> {
        self.marks.iter().max_by_key(|m| m.mark_no)
    }
}

/// Step 2: opens a segment and reads its header and marks.
pub(crate) fn load_segment<V: Vfs>(
    vfs: &V,
    paths: &Paths,
    seq: u64,
) -> Result<SegmentFile<V::File>> {
    load_segment_at(vfs, paths.segment(seq), seq)
}

/// The same for a file anywhere.
pub(crate) fn load_segment_at<V: Vfs>(
    vfs: &V,
    path: PathBuf,
    seq: u64,
) -> Result<SegmentFile<V::File>> {
    let file = vfs.open(&path, Access::Read).map_err(|e| io_error("open", &path, None, e))?;
    let len = file.len().map_err(|e| io_error("stat", &path, None, e))?;
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
    let mut marks = Vec::with_capacity(2);
    for page in [1_u32, 2] {
        let at = u64::from(page) * PAGE;
        marks.extend(Mark::decode(&get(&raw, at as usize), page));
    }
    let copies: Vec<_> = page0.ok().into_iter().chain(marks.iter().map(|m| m.header)).collect();
    let header = majority(&copies);
    let mut bad_pages: Vec<u32> = Vec::new();
    for page in 0..3 {
        let at = (u64::from(page) * PAGE) as usize;
        let copy = match page {
            0 => page0.ok(),
            _ => Mark::decode(&get(&raw, at), page).map(|m| m.header),
        };
        if copy.is_none() || copy != header {
            bad_pages.push(page);
        }
    }
    // A mark of an earlier life of the file promises nothing about this one.
    marks.retain(|m| Some(m.header) == header);
    // Frames never stand beyond the capacity, however long a file was made.
    let len = header.map_or(len, |h| len.min(h.capacity));
    Ok(SegmentFile { seq, path, file, len, bad_pages, header, marks })
}

/// A lost write can leave a valid header of the file's earlier life, so one copy against another
/// decides nothing.
fn majority(copies: &[SegmentHeader]) -> Option<SegmentHeader> {
    let first = *copies.first()?;
    if copies.iter().all(|c| *c == first) {
        return Some(first);
    }
    copies.iter().find(|c| copies.iter().filter(|d| d == c).count() >= 2).copied()
}

/// Checks that a segment is what its name says and belongs to this log.
pub(super) fn header_of<F>(
    r: &Recovery<'_, impl Vfs>,
    s: &SegmentFile<F>,
) -> Result<SegmentHeader> {
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
    if h.seq != s.seq {
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
