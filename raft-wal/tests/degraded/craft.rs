//! Batches changed under checksums that are right again: what only the rules can tell.

use raft_vfs::SimVfs;
use raft_wal::format::{
    FRAME_HEADER_LEN, FrameHeader, RECORD_OVERHEAD, RecordHead, RecordKind, control_seed, crc,
    entry_seed,
};
use raft_wal::inspect::Segment;

use crate::log::{Place, frames, segment};

/// Where the first record's data stands in a frame.
pub(crate) const DATA: usize = FrameHeader::LEN + RecordHead::LEN;
/// Where the header has the index of the first entry, and the codec.
pub(crate) const FIRST_INDEX: usize = 24;
pub(crate) const CODEC: usize = 42;

pub(crate) fn put(frame: &mut [u8], at: usize, number: u64) {
    frame[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

/// Changes the `nth` batch of a segment, and makes its checksums right and each later batch the
/// successor of the one before.
pub(crate) fn craft(disk: &SimVfs, seq: u64, nth: usize, change: impl FnOnce(&mut [u8])) -> Place {
    let all = frames(disk, seq);
    let salt = Segment::open(disk, &segment(seq)).unwrap().header().unwrap().salt;
    disk.mutate(segment(seq), |b| {
        let mut change = Some(change);
        let mut chain = None;
        for place in &all[nth..] {
            let frame = &mut b[place.offset as usize..place.end as usize];
            if let Some(change) = change.take() {
                change(frame);
            }
            let mut header = header_of(frame);
            header.body_crc = seal_records(frame, salt, place.offset, header.first_index);
            header.chain = chain.unwrap_or(header.chain);
            frame[..FrameHeader::LEN].copy_from_slice(&header.encode(salt, place.offset));
            chain = Some(header_of(frame).header_crc);
        }
    });
    all[nth]
}

fn header_of(frame: &[u8]) -> FrameHeader {
    FrameHeader::parse(frame[..FRAME_HEADER_LEN as usize].try_into().unwrap())
}

/// Makes the checksums of a frame's records right; gives the body's.
fn seal_records(frame: &mut [u8], salt: u32, offset: u64, first_index: u64) -> u32 {
    let mut body = salt ^ (offset / 8) as u32;
    let (mut at, mut controls, mut index) = (FrameHeader::LEN, 0, first_index);
    while frame.len() - at >= RECORD_OVERHEAD as usize {
        let head = RecordHead::parse(frame[at..at + RecordHead::LEN].try_into().unwrap());
        let end = at + head.record_len() as usize;
        let seed = if let RecordKind::Entry(_) = head.kind {
            index += 1;
            entry_seed(salt, index - 1)
        } else {
            controls += 1;
            control_seed(salt, controls - 1)
        };
        let sum = crc(seed, &frame[at..end - 4]);
        frame[end - 4..end].copy_from_slice(&sum.to_le_bytes());
        body = crc(body, &sum.to_le_bytes());
        at = end;
    }
    body
}
