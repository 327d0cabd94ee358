//! The one segment that is written: its queue of frames, its syncs, its marks.
//!
//! Nothing here decides what is written; this is where bytes meet the file. Every error is final:
//! the caller poisons the log.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use raft_vfs::{VfsFile, VfsFileExt};

use crate::encode::{At, Encoded, Encoder};
use crate::format::{
    Control, FIRST_FRAME, FRAME_HEADER_LEN, Mark, PAGE, SEAL_FRAME_LEN, SegmentHeader, flags,
};
use crate::planted::{Bug, planted};
use crate::segment::Cut;
use crate::types::{Entry, HardState};

/// A segment being written.
///
/// Invariants: `durable <= written <= pos`. Bytes below `written` were handed to the file, bytes
/// below `durable` were so before a sync began that returned success. `queue` is exactly
/// `[written, pos)`, less what a [`Flush`] in flight holds. There is at most one flush in flight,
/// and nothing else is written then. A mark never overwrites the slot of the newest durable mark.
#[derive(Debug)]
pub(crate) struct SegmentWriter<F> {
    pub(crate) file: Arc<F>,
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    /// Where the log ended when the segment began.
    pub(crate) start_next: u64,
    pos: u64,
    written: u64,
    durable: u64,
    /// The pieces of frames.
    queue: Vec<Bytes>,
    /// A flush was begun and has not ended.
    in_flight: bool,
    /// The last batch, at `pos`.
    last: Cut,
    /// The last batch at `durable`.
    last_durable: Cut,
    marks: MarkSlots,
    /// Where the hard state was last written, and its term and vote.
    state_off: u64,
    state: HardState,
    /// A promise was written (in a frame or a mark) but not synced.
    promised: u64,
    /// The furthest promise that is itself durable.
    promised_durable: u64,
}

/// Which mark page may be written next.
#[derive(Debug, Default)]
struct MarkSlots {
    mark_no: u64,
    /// Page of the newest mark known durable; `None` before the first.
    durable: Option<u32>,
    /// Page of the newest mark written.
    written: Option<u32>,
    /// Term or vote changed in a frame that no mark repeats yet.
    due: bool,
    /// `durable_to` of the newest mark.
    durable_to: u64,
}

impl<F: VfsFile> SegmentWriter<F> {
    /// A published segment in which nothing is written yet; `last` is the batch before its first.
    pub(crate) fn new(
        file: F,
        path: PathBuf,
        header: SegmentHeader,
        last: Cut,
        start_next: u64,
    ) -> Self {
        let last = Cut { end: FIRST_FRAME, ..last };
        Self {
            file: Arc::new(file),
            path,
            header,
            start_next,
            pos: FIRST_FRAME,
            written: FIRST_FRAME,
            durable: FIRST_FRAME,
            queue: Vec::new(),
            in_flight: false,
            last,
            last_durable: last,
            marks: MarkSlots::default(),
            state_off: 0,
            state: HardState::default(),
            promised: 0,
            promised_durable: 0,
        }
    }

    /// Offset behind the last frame that was handed to the file.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// The last batch put.
    pub(crate) fn last(&self) -> Cut {
        self.last
    }

    /// The last durable batch; at the first frame's place if there is none in this segment.
    pub(crate) fn last_durable(&self) -> Cut {
        self.last_durable
    }

    /// Bytes put but not durable.
    pub(crate) fn unsynced(&self) -> u64 {
        self.pos - self.durable
    }

    /// Whether a durable promise covers the segment's first batch: what it steps over may go.
    pub(crate) fn start_is_proven(&self) -> bool {
        self.promised_durable > FIRST_FRAME
    }

    /// Whether a durable promise covers everything put.
    pub(crate) fn all_proven(&self) -> bool {
        self.promised_durable == self.pos
    }

    /// Bytes left for frames, the closing one and one padding set aside.
    pub(crate) fn room(&self) -> u64 {
        let padding = if self.header.align > 1 { self.header.align + FRAME_HEADER_LEN } else { 0 };
        self.header.capacity.saturating_sub(self.pos + SEAL_FRAME_LEN + padding)
    }

    /// Whether more than half of the segment is used.
    pub(crate) fn half_full(&self) -> bool {
        self.pos > self.header.capacity / 2
    }

    /// The next frame's place.
    fn at(&self, flags: u16, first_index: u64) -> At {
        let durable = if planted(Bug::PromiseTooHigh) { self.pos } else { self.durable };
        At {
            salt: self.header.salt,
            offset: self.pos,
            batch_seq: self.last.batch_seq + 1,
            chain: self.last.chain,
            // A promise about nothing would be a promise about the header pages.
            durable_to: if durable > FIRST_FRAME { durable } else { 0 },
            flags,
            first_index,
        }
    }

    /// Encodes a batch and queues it. The caller has made sure of the room.
    pub(crate) fn put(
        &mut self,
        encoder: &mut Encoder,
        flags: u16,
        first_index: u64,
        controls: &[(u64, Control)],
        entries: &[Entry],
    ) -> Encoded {
        let encoded = encoder.frame(self.at(flags, first_index), controls, entries);
        for (_, c) in controls {
            if let Control::State(s) = c {
                let changed = (s.term, s.vote) != (self.state.term, self.state.vote);
                if changed || self.state_off == 0 {
                    self.state_off = self.pos;
                    self.marks.due |= changed && !planted(Bug::VoteNotMarked);
                }
                self.state = *s;
            }
        }
        self.enqueue(&encoded);
        encoded
    }

    fn enqueue(&mut self, encoded: &Encoded) {
        self.pos += encoded.pieces.len();
        assert!(self.pos <= self.header.capacity, "room was checked before encoding");
        self.last =
            Cut { batch_seq: self.last.batch_seq + 1, chain: encoded.header_crc, end: self.pos };
        self.promised =
            self.promised.max(if self.durable > FIRST_FRAME { self.durable } else { 0 });
        self.queue.extend(encoded.pieces.iter().cloned());
    }

    /// Queues the frame that closes the segment.
    pub(crate) fn seal(&mut self, encoder: &mut Encoder, next_index: u64, next: (u64, u32)) {
        let control = Control::Seal { next_segment: next.0, next_salt: next.1 };
        let encoded = encoder.frame(self.at(flags::SEAL, next_index), &[(0, control)], &[]);
        self.enqueue(&encoded);
    }

    /// Fills up to the alignment, so that no durable sector is written again. Returns the frame.
    pub(crate) fn pad(&mut self, encoder: &mut Encoder, next_index: u64) -> Option<Encoded> {
        let align = self.header.align;
        let whole = self.pos.is_multiple_of(align) || planted(Bug::PaddingSkipped);
        if self.pos == self.durable || whole {
            return None;
        }
        let mut gap = self.pos.next_multiple_of(align) - self.pos;
        if gap < FRAME_HEADER_LEN {
            gap += align;
        }
        let at = self.at(flags::PAD, next_index);
        let encoded = encoder.padding(at, (gap - FRAME_HEADER_LEN) as u32);
        self.enqueue(&encoded);
        Some(encoded)
    }

    /// Whether a flush was begun and has not ended: the file belongs to it.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    /// Hands the queue to the file, without a sync.
    pub(crate) fn write_queue(&mut self) -> io::Result<()> {
        assert!(!self.in_flight, "a flush in flight has the file for itself");
        write_frames(&*self.file, &self.queue, self.written, self.end_mark())?;
        self.queue.clear();
        self.written = self.pos;
        Ok(())
    }

    /// How many zeros follow the queue. In a file that is used again they keep a scan from meeting
    /// what it held before where the next frame will stand: the end of the log looks like one.
    fn end_mark(&self) -> usize {
        let room = self.header.capacity.saturating_sub(self.pos).min(FRAME_HEADER_LEN);
        if self.header.reused { room as usize } else { 0 }
    }

    /// Takes what is queued, and a mark if term or vote changed, to be written and synced by
    /// [`Flush::run`]. What the sync covers is fixed here, before it begins. `None` if everything
    /// is durable.
    pub(crate) fn begin_flush(&mut self) -> Option<Flush<F>> {
        assert!(!self.in_flight, "one flush at a time");
        if self.pos == self.durable && !self.marks.due {
            return None;
        }
        self.in_flight = true;
        let mark = self.marks.due.then(|| self.next_mark(false));
        Some(Flush {
            file: self.file.clone(),
            frames: std::mem::take(&mut self.queue),
            at: self.written,
            mark,
            end_mark: self.end_mark(),
            covers: self.last,
            promised: self.promised,
            mark_page: self.marks.written,
        })
    }

    /// The flush has returned success.
    pub(crate) fn end_flush(&mut self, flush: &Flush<F>) {
        assert!(self.in_flight, "a flush that ends was begun");
        self.in_flight = false;
        self.written = flush.covers.end;
        self.durable = flush.covers.end;
        self.last_durable = flush.covers;
        self.promised_durable = self.promised_durable.max(flush.promised);
        self.marks.durable = flush.mark_page;
    }

    /// Writes what is queued and syncs it, and a mark with it if term or vote changed. Does
    /// nothing if everything is durable.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Some(flush) = self.begin_flush() else { return Ok(()) };
        flush.run()?;
        self.end_flush(&flush);
        Ok(())
    }

    /// Whether a mark would promise more than the newest one does.
    pub(crate) fn mark_is_stale(&self) -> bool {
        self.durable > FIRST_FRAME && self.marks.durable_to < self.durable
    }

    /// Writes a mark that promises what is durable, without a sync.
    pub(crate) fn write_mark(&mut self, clean: bool) -> io::Result<()> {
        assert!(!self.in_flight, "a flush in flight has the file for itself");
        self.next_mark(clean).write(&*self.file)
    }

    /// The next mark, counted as written: an error in writing it is final.
    fn next_mark(&mut self, clean: bool) -> MarkWrite {
        let page =
            if (self.marks.durable == Some(1)) == planted(Bug::MarkOverwritten) { 1 } else { 2 };
        self.marks.mark_no += 1;
        let durable = if planted(Bug::MarkTooHigh) { self.pos } else { self.durable };
        let durable_to = if durable > FIRST_FRAME { durable } else { 0 };
        let mark = Mark {
            header: self.header,
            mark_no: self.marks.mark_no,
            durable_to,
            batch_seq: self.last_durable.batch_seq,
            chain: self.last_durable.chain,
            clean,
            state_off: self.state_off,
            term: self.state.term,
            vote: self.state.vote,
        };
        self.marks.written = Some(page);
        self.marks.due = false;
        self.marks.durable_to = durable_to;
        self.promised = self.promised.max(durable_to);
        MarkWrite { bytes: mark.encode(page), at: u64::from(page) * PAGE }
    }

    /// Makes a promise about everything durable, and makes the promise durable.
    pub(crate) fn mark_synced(&mut self, clean: bool) -> io::Result<()> {
        debug_assert_eq!(self.pos, self.durable, "a promise follows a sync");
        self.write_mark(clean)?;
        self.file.sync_data()?;
        self.promised_durable = self.promised_durable.max(self.promised);
        self.marks.durable = self.marks.written;
        Ok(())
    }
}

/// A group of frames on its way to the disk: one write, perhaps a mark, one sync. It can be run
/// while further batches are queued.
#[derive(Debug)]
pub(crate) struct Flush<F> {
    file: Arc<F>,
    frames: Vec<Bytes>,
    /// Offset of the first frame.
    at: u64,
    mark: Option<MarkWrite>,
    end_mark: usize,
    /// The last batch that the sync covers.
    covers: Cut,
    promised: u64,
    mark_page: Option<u32>,
}

impl<F: VfsFile> Flush<F> {
    /// Writes and syncs. Blocks until the disk says so. Every error is final.
    pub(crate) fn run(&self) -> io::Result<()> {
        write_frames(&*self.file, &self.frames, self.at, self.end_mark)?;
        if let Some(mark) = &self.mark {
            mark.write(&*self.file)?;
        }
        self.file.sync_data()
    }
}

/// A mark page, ready to be written.
#[derive(Debug)]
struct MarkWrite {
    bytes: [u8; Mark::LEN],
    at: u64,
}

impl MarkWrite {
    fn write<F: VfsFile>(&self, file: &F) -> io::Result<()> {
        file.write_all_at(&self.bytes, self.at)
    }
}

fn write_frames<F: VfsFile>(
    file: &F,
    frames: &[Bytes],
    at: u64,
    end_mark: usize,
) -> io::Result<()> {
    if frames.is_empty() {
        return Ok(());
    }
    let zeros = [0; FRAME_HEADER_LEN as usize];
    let mut slices: Vec<_> = frames.iter().map(|b| IoSlice::new(b)).collect();
    slices.push(IoSlice::new(&zeros[..end_mark]));
    file.write_all_vectored_at(&mut slices, at)
}
