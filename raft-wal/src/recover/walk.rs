//! Step 7: the older segments, each cut where its successor's Base says.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use raft_vfs::{Vfs, VfsFile};

use super::segment_file::{SegmentFile, header_of};
use super::tail::Newest;
use super::{DEGRADED, Recovery, Segments, missing, refuse_unsupported};
use crate::error::{Acked, Corrupt, CorruptKind, Error, LostRange, Result};
use crate::format::{Base, FIRST_FRAME, SegmentHeader};
use crate::gc::DeadTail;
use crate::paths::io_error;
use crate::planted::{Bug, planted};
use crate::scan::{Check, Scanner, Step};
use crate::segment::{ClosedSegment, Cut, SegmentId, scan_to_cut};

/// What the walk finds.
#[derive(Debug)]
pub(super) struct Older<V: Vfs> {
    /// The older segments of the log, oldest first.
    pub(super) segments: Vec<Arc<ClosedSegment<V>>>,
    /// Where their files go on behind the cut.
    pub(super) dead_tails: Vec<DeadTail>,
}

/// Step 7: the older segments of the log.
pub(super) fn walk_back<V: Vfs>(
    r: &mut Recovery<'_, V>,
    newest: &Newest<V::File>,
    segments: &mut Segments,
    full: bool,
) -> Result<Older<V>> {
    let mut older = VecDeque::new();
    let mut dead_tails = Vec::new();
    let mut base = newest.base;
    let mut successor = newest.segment.seq;
    let is_live = |seq: u64| seq >= newest.floor_seq || planted(Bug::FloorIgnored);
    while base.prev_segment != 0 && is_live(base.prev_segment) {
        let seq = base.prev_segment;
        let Some(s) = segments.remove(&seq) else {
            let why = format!("segment {successor} was built on it");
            let lost = (newest.first_index, base.next_index.checked_sub(1));
            return Err(missing(r.paths, seq, &why, Some(lost)));
        };
        let s = s?.open(r.vfs)?;
        if seq >= successor {
            return Err(succession(
                &s.path,
                format!("a segment below {successor}"),
                seq.to_string(),
            ));
        }
        let (closed, its_base) = closed_segment(r, &s, &base, newest.first_index, full)?;
        dead_tails.extend(DeadTail::of(seq, &s.path, base.prev_end, s.file_len));
        older.push_front(Arc::new(closed));
        (base, successor) = (its_base, seq);
    }
    Ok(Older { segments: older.into(), dead_tails })
}

fn succession(path: &Path, expected: String, found: String) -> Error {
    Corrupt {
        kind: CorruptKind::Succession,
        path: path.to_owned(),
        offset: FIRST_FRAME,
        batch_seq: 0,
        expected,
        found,
        lost: None,
        acked: Acked::Proven,
        advice: DEGRADED,
    }
    .into()
}

/// One step of the walk: `s` as its successor's `base` cut it, and its own Base.
fn closed_segment<V: Vfs>(
    r: &mut Recovery<'_, V>,
    s: &SegmentFile<V::File>,
    base: &Base,
    first_index: u64,
    full: bool,
) -> Result<(ClosedSegment<V>, Base)> {
    let header = header_of(r, s)?;
    if header.salt != base.prev_salt {
        let expected = format!("salt {:08x}, as its successor names it", base.prev_salt);
        return Err(succession(&s.path, expected, format!("salt {:08x}", header.salt)));
    }
    let its_base = first_base(s, &header, base, first_index)?;
    let id = SegmentId {
        path: s.path.clone(),
        seq: s.seq,
        salt: header.salt,
        cut: Cut { batch_seq: base.prev_batch_seq, chain: base.prev_chain, end: base.prev_end },
        start_next: its_base.next_index,
        life: Arc::default(),
    };
    let mode = r.options.read_mode;
    let index_path = r.paths.index(s.seq);
    let uuid = &r.ident.page.wal_uuid;
    let by_file = ClosedSegment::with_index_file(r.vfs, id.clone(), mode, index_path, uuid)
        .filter(|_| s.len >= base.prev_end);
    if let Some(closed) = by_file {
        if !full {
            r.report.indexed += 1;
            return Ok((closed, its_base));
        }
        let index = scan_to_cut(&s.file, &id, Check::Full)?;
        r.report.scanned_bytes += base.prev_end;
        if closed.agrees_with(&index) {
            return Ok((closed, its_base));
        }
        r.report.note(r.paths.index(s.seq), "not what the segment holds; not used");
        return Ok((ClosedSegment::indexed(r.vfs.clone(), id, mode, index), its_base));
    }
    let index = scan_to_cut(&s.file, &id, Check::Full)?;
    r.report.scanned_bytes += base.prev_end;
    Ok((ClosedSegment::indexed(r.vfs.clone(), id, mode, index), its_base))
}

/// The Base record in a closed segment's first batch.
fn first_base<F: VfsFile>(
    s: &SegmentFile<F>,
    header: &SegmentHeader,
    successor: &Base,
    first_index: u64,
) -> Result<Base> {
    let fault = |e| io_error("read", &s.path, Some(FIRST_FRAME), e);
    let mut scanner = Scanner::new(&s.file, header.salt, s.len, Check::Full);
    let (expected, found) = match scanner.step().map_err(fault)? {
        Step::Frame => match scanner.frame().base() {
            Some(b) if b.era == header.era => return Ok(*b),
            _ => ("the segment's first batch, of its own era".into(), "another batch".into()),
        },
        Step::Stop(stop) => {
            refuse_unsupported(&s.path, Some(&stop))?;
            (stop.expected, stop.found)
        }
    };
    Err(Corrupt {
        kind: CorruptKind::SegmentStart,
        path: s.path.clone(),
        offset: FIRST_FRAME,
        batch_seq: 0,
        expected,
        found,
        lost: Some(LostRange {
            first: first_index,
            last: successor.next_index.checked_sub(1),
            term: None,
        }),
        acked: Acked::Proven,
        advice: DEGRADED,
    }
    .into())
}
