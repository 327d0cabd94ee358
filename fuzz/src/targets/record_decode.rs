//! Bytes as the frames of a segment, through the scanner that everything else reads with.

use bytes::Bytes;
use raft_vfs::SimVfs;
use raft_wal::format::{Control, FrameHeader, RecordKind, flags};
use raft_wal::scan::{Check, Frame, Scanner, Step, Stop, look_ahead};
use raft_wal::{Batch, Entry, Error, Options, Wal};

use crate::native::walk::frames;
use crate::native::{FIRST_FRAME, HEADER, encode, repair};
use crate::slice_file::SliceFile;
use crate::support::model::Model;
use crate::support::sim::{DIR, read_all};

/// Input: a salt of four bytes, one byte that says how much of the segment counts, and the bytes
/// of a segment from its first frame on.
///
/// Asserts, of whatever the scanner makes of them:
///
/// - it never asks for a byte beyond the end that it was given, and reads each byte a bounded
///   number of times;
/// - a frame lies within the file and behind the frame before it; its entries are as many as its
///   header says, in place and in order, with the terms that their records have;
/// - written once more by an encoder made from the document alone, a frame comes out byte for
///   byte, up to bytes that the document calls reserved;
/// - a pass without checksums sees the same frames;
/// - searching for a frame from anywhere ends at a frame that can be read there;
/// - appended to a fresh log, what was decoded is refused by a rule or read back equal, before and
///   after a reopen.
///
/// # Panics
/// If any of that does not hold.
pub fn record_decode(data: &[u8]) {
    let Some((&salt, rest)) = data.split_first_chunk::<4>() else { return };
    let Some((&cut, area)) = rest.split_first() else { return };
    let salt = u32::from_le_bytes(salt);
    let mut segment = vec![0; FIRST_FRAME];
    segment.extend_from_slice(area);
    // Mostly all of it: a cut in the middle is the rarer case.
    let lost = if cut < 192 { 0 } else { area.len() * usize::from(cut - 192) / 64 };
    let bound = (segment.len() - lost) as u64;
    let file = SliceFile::new(segment.clone(), bound);

    let (decoded, stop) = scan(&file, salt, bound, Check::Full);
    assert!(file.bytes_read() <= 2 * bound + (1 << 20), "{} bytes read", file.bytes_read());
    in_place(&decoded, &stop, bound);
    for frame in &decoded {
        same_bytes(&segment, salt, frame);
    }
    let (structure, _) = scan(&file, salt, bound, Check::Structure);
    assert!(structure.len() >= decoded.len(), "fewer frames without checksums");
    for (a, b) in decoded.iter().zip(&structure) {
        let same = (a.offset, a.end, a.header, &a.offsets, &a.runs, &a.controls)
            == (b.offset, b.end, b.header, &b.offsets, &b.runs, &b.controls);
        assert!(same, "another frame without checksums: {a:?} {b:?}");
    }
    search(&file, salt, bound, cut.into());
    beyond(&file, salt, bound, &stop);
    append_again(&segment, &decoded);
}

/// Reads frames until there is no further one.
fn scan(file: &SliceFile, salt: u32, bound: u64, check: Check) -> (Vec<Frame>, Stop) {
    let mut scanner = Scanner::new(file, salt, bound, check);
    let mut frames = Vec::new();
    loop {
        match scanner.step().expect("a file in memory is readable up to its bound") {
            Step::Frame => frames.push(scanner.frame().clone()),
            Step::Stop(stop) => return (frames, stop),
        }
    }
}

/// Frames lie one behind the other, and say of their entries what is so.
fn in_place(frames: &[Frame], stop: &Stop, bound: u64) {
    let mut at = FIRST_FRAME as u64;
    let mut before: Option<FrameHeader> = None;
    for f in frames {
        assert_eq!(f.offset, at, "frames stand back to back");
        assert!(f.end <= bound && f.end - f.offset >= HEADER as u64 && f.end.is_multiple_of(8));
        assert_eq!(f.end - f.offset - HEADER as u64, u64::from(f.header.body_len));
        assert_eq!(f.offsets.len() as u64, u64::from(f.header.n_entries));
        assert!(f.header.durable_to <= f.offset, "a promise of what is not written yet");
        if let Some(b) = before {
            assert_eq!((f.header.batch_seq, f.header.chain), (b.batch_seq + 1, b.header_crc));
        }
        let body = f.offset + HEADER as u64..f.end;
        let places = f.controls.iter().map(|(at, _)| *at);
        let places = places.chain(f.offsets.iter().map(|&o| u64::from(o) * 8));
        assert!(places.clone().is_sorted_by(|a, b| a < b), "records in order");
        assert!(places.into_iter().all(|at| body.contains(&at)), "records within their frame");
        let indexes = f.header.first_index..f.header.first_index + f.offsets.len() as u64;
        let runs = f.runs.iter().map(|r| r.index);
        assert!(runs.clone().is_sorted_by(|a, b| a < b), "runs in order");
        assert!(runs.into_iter().all(|i| indexes.contains(&i)), "runs of entries that are there");
        assert_eq!(f.runs.first().map(|r| r.index), f.offsets.first().map(|_| indexes.start));
        (at, before) = (f.end, Some(f.header));
    }
    assert_eq!(stop.offset, at, "the scanner stops where it cannot go on");
}

/// The entries of a frame, read from the bytes by the offsets that the scanner gave.
fn entries(segment: &[u8], f: &Frame) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (&at, index) in f.offsets.iter().zip(f.header.first_index..) {
        let at = at as usize * 8;
        let head = raft_wal::format::RecordHead::parse(
            segment[at..at + 12].try_into().expect("twelve bytes"),
        );
        let RecordKind::Entry(kind) = head.kind else { panic!("no entry at {at}: {head:?}") };
        let run = f.runs.iter().rev().find(|r| r.index <= index).expect("each entry is in a run");
        assert_eq!(run.term, head.term, "the term of entry {index}");
        let data = Bytes::copy_from_slice(&segment[at + 12..at + 12 + head.len as usize]);
        entries.push(Entry { index, term: head.term, kind, data });
    }
    entries
}

/// The frame, encoded again.
fn same_bytes(segment: &[u8], salt: u32, f: &Frame) {
    let span = f.offset as usize..f.end as usize;
    let pads = if f.header.has(flags::PAD) { f.header.body_len as usize } else { 0 };
    let controls: Vec<Control> = f.controls.iter().map(|(_, c)| c.clone()).collect();
    let entries = entries(segment, f);
    let encoded = encode::frame(salt, span.start, &f.header, &controls, &entries, pads);
    if encoded == segment[span.clone()] {
        return;
    }
    // What is reserved may be anything; blank it, and the rest must be the same.
    let mut blanked = segment[..span.end].to_vec();
    for frame in frames(&blanked.clone()).iter().filter(|g| g.span == span) {
        for r in &frame.records {
            if !r.is_entry() {
                blanked[r.span.start..r.span.start + 8].fill(0);
            }
            if r.kind == 8 {
                blanked[r.data().end - 10..r.data().end].fill(0);
            }
            blanked[r.data().end..r.span.end - 4].fill(0);
        }
    }
    blanked[20..24].copy_from_slice(&salt.to_le_bytes());
    repair::frame_at(&mut blanked, span.start);
    assert_eq!(blanked[span], encoded, "{f:?} is encoded otherwise");
}

/// Looking for a frame, from a few places.
fn search(file: &SliceFile, salt: u32, bound: u64, from: u64) {
    for from in [0, FIRST_FRAME as u64 + from, bound / 2, bound, u64::MAX - from] {
        let mut scanner = Scanner::new(file, salt, bound, Check::Full);
        let before = file.bytes_read();
        if let Some(at) = scanner.seek(from).expect("readable") {
            assert!(at >= from.max(FIRST_FRAME as u64) && at < bound);
            assert_eq!(scanner.position(), at);
            assert_eq!(scanner.step().expect("readable"), Step::Frame, "found at {at}");
        }
        // The search gives up after four readings; each of its steps may fill a window.
        let read = file.bytes_read() - before;
        assert!(read <= 64 * bound + (1 << 20), "a search read {read} bytes of {bound}");
    }
}

/// Looking ahead for promises.
fn beyond(file: &SliceFile, salt: u32, bound: u64, stop: &Stop) {
    for after in [None, Some(0), stop.header.map(|h| h.batch_seq), Some(u64::MAX)] {
        let found = look_ahead(file, salt, stop.offset, bound, stop.offset, after);
        let found = found.expect("readable");
        assert!(found.nonzero_end <= bound.max(stop.offset));
        if let Some(p) = found.promise {
            assert!(p.durable_to > stop.offset && p.durable_to <= p.offset && p.offset < bound);
        }
    }
}

/// What was decoded as batches of a fresh log.
fn append_again(segment: &[u8], decoded: &[Frame]) {
    let Some(first) = decoded.first() else { return };
    let initial = first.base().map_or(first.header.first_index, |b| b.first_index);
    let disk = SimVfs::new(1);
    let options = Options::new().segment_bytes(16 << 10).initial_index(initial.min(u64::MAX - 1));
    let (mut wal, _) = Wal::open(disk.clone(), DIR, &options).expect("a fresh log");
    let mut model = Model::new(wal.first_index());
    for f in decoded {
        let batch = batch(f, entries(segment, f));
        if batch.is_empty() {
            continue;
        }
        match wal.append(&batch) {
            Ok(_) => model.apply(&batch),
            Err(Error::Rejected(_) | Error::TooLarge { .. }) => {}
            Err(e) => panic!("a sound disk, and yet {e}"),
        }
    }
    wal.sync().expect("a sound disk");
    assert_eq!(read_all(&wal).expect("just written"), model, "before the reopen");
    drop(wal);
    let (wal, _) = Wal::open(disk, DIR, &options).expect("what was accepted opens again");
    assert_eq!(read_all(&wal).expect("written and synced"), model, "after the reopen");
}

/// What the records of a frame ask of a log.
fn batch(f: &Frame, entries: Vec<Entry>) -> Batch {
    let mut batch = Batch::of_entries(entries);
    for (_, control) in &f.controls {
        match control.clone() {
            Control::Base(_) | Control::Seal { .. } => {}
            Control::Metadata(m) => batch.metadata = Some(m),
            Control::Blob { key, value } => batch.blobs.push((key, value)),
            Control::Compact { first_index, .. } => batch.compact = Some(first_index),
            Control::Snap(s) => batch.snapshot = Some(s),
            Control::Reset(r) => batch.reset = Some(r),
            Control::Truncate(from) => batch.truncate = Some(from),
            Control::State(s) => batch.hard_state = Some(s),
        }
    }
    batch
}
