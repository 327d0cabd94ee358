//! Bytes changed under checksums that are right again: only the rules are left to judge a log by.

use std::collections::BTreeMap;
use std::ops::Range;

use fastrand::Rng;
use raft_vfs::SimVfs;
use raft_wal::format::{
    FRAME_HEADER_LEN, FrameHeader, RECORD_OVERHEAD, RecordHead, RecordKind, control_seed, crc,
    entry_seed, flags,
};
use raft_wal::inspect::Segment;
use raft_wal::scan::Frame;

use crate::support::lab::frames;
use crate::support::sim::{segment_path, segments};

/// A Base's data in its record, and where it says what its predecessor's last frame is.
const BASE: Range<u64> = 12..148;
const PREV_SEGMENT: usize = 12;
const PREV_CHAIN: usize = 24;
const PREV_END: usize = 36;

/// Changes a byte or two in one frame of the log and makes every checksum and chain right again.
/// Gives the place, or nothing where the log has no frame.
pub(crate) fn change(rng: &mut Rng, disk: &SimVfs) -> Option<String> {
    let mut all: BTreeMap<u64, Vec<Frame>> = BTreeMap::new();
    for seq in segments(disk) {
        if Segment::open(disk, &segment_path(seq)).ok()?.header().is_some() {
            all.insert(seq, frames(disk, seq));
        }
    }
    let places: Vec<_> =
        all.iter().flat_map(|(seq, fs)| (0..fs.len()).map(move |i| (*seq, i))).collect();
    let &(seq, mut nth) = rng.choice(&places)?;
    let in_base = rng.u8(..3) == 0;
    if in_base {
        nth = 0;
    }
    let (from, to) = (all[&seq][nth].offset, all[&seq][nth].end);
    let body = from + FRAME_HEADER_LEN;
    let place = match rng.u8(..3) {
        _ if in_base => body + BASE.start..body + BASE.end,
        0 => from..body,
        // Where control records are.
        1 => from..to.min(from + 400),
        _ => from..to,
    };
    let at = rng.u64(place) as usize;
    let how = rng.u8(..6);
    disk.mutate(segment_path(seq), |b| {
        b[at] = match how {
            0 => 0,
            1 => 0xff,
            2 => b[at].wrapping_add(1),
            3 => b[at].wrapping_sub(1),
            _ => b[at] ^ 1 << (at % 8),
        };
    });
    // Younger segments name the frame that they follow by its checksum.
    let mut changed = BTreeMap::from([(seq, nth)]);
    for (seq, fs) in &all {
        let patched = follow(disk, *seq, &changed, &all);
        let from = changed.get(seq).copied().or(patched.then_some(0));
        if let Some(from) = from {
            reseal(disk, *seq, &fs[from..]);
            changed.insert(*seq, from);
        }
    }
    Some(format!("{seq}+{at} changed ({how})"))
}

/// Gives the Base of segment `seq` the chain of a frame that was changed, if it stands on one.
fn follow(
    disk: &SimVfs,
    seq: u64,
    changed: &BTreeMap<u64, usize>,
    all: &BTreeMap<u64, Vec<Frame>>,
) -> bool {
    let Some(first) = all[&seq].first() else { return false };
    let bytes = disk.read_file(segment_path(seq)).unwrap();
    let record = (first.offset + FRAME_HEADER_LEN) as usize;
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (prev, end) = (number(record + PREV_SEGMENT), number(record + PREV_END));
    let Some(cut) = all.get(&prev).and_then(|fs| fs.iter().position(|f| f.end == end)) else {
        return false;
    };
    if changed.get(&prev).is_none_or(|from| *from > cut) || prev >= seq {
        return false;
    }
    let older = disk.read_file(segment_path(prev)).unwrap();
    let chain = all[&prev][cut].offset as usize + 44;
    disk.mutate(segment_path(seq), |b| {
        b[record + PREV_CHAIN..record + PREV_CHAIN + 4].copy_from_slice(&older[chain..chain + 4]);
        b[first.offset as usize + 32..][..4].copy_from_slice(&older[chain..chain + 4]);
    });
    true
}

/// Makes the checksums of these frames right, and each the successor of the one before.
fn reseal(disk: &SimVfs, seq: u64, fs: &[Frame]) {
    let salt = Segment::open(disk, &segment_path(seq)).unwrap().header().unwrap().salt;
    disk.mutate(segment_path(seq), |b| {
        let mut chain = None;
        for f in fs {
            let (from, to) = (f.offset as usize, f.end as usize);
            let frame = &mut b[from..to];
            let mut h = header(frame);
            if h.flags & flags::PAD == 0 {
                h.body_crc = records(frame, salt, f.offset, h.first_index);
            }
            h.chain = chain.unwrap_or(h.chain);
            let encoded = h.encode(salt, f.offset);
            frame[..FrameHeader::LEN].copy_from_slice(&encoded);
            chain = Some(header(frame).header_crc);
        }
    });
}

fn header(frame: &[u8]) -> FrameHeader {
    FrameHeader::parse(frame[..FrameHeader::LEN].try_into().unwrap())
}

/// Makes the checksums of a frame's records right, as far as their lengths lead; gives the body's.
fn records(frame: &mut [u8], salt: u32, offset: u64, first_index: u64) -> u32 {
    let mut body = salt ^ (offset / 8) as u32;
    let (mut at, mut controls, mut entries) = (FrameHeader::LEN, 0, 0);
    while frame.len() - at >= RECORD_OVERHEAD as usize {
        let head = RecordHead::parse(frame[at..at + RecordHead::LEN].try_into().unwrap());
        let Some(end) = Some(at + head.record_len() as usize).filter(|e| *e <= frame.len()) else {
            break;
        };
        let seed = if let RecordKind::Entry(_) = head.kind {
            entries += 1;
            entry_seed(salt, first_index.wrapping_add(entries - 1))
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
