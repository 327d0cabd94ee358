//! Damage at rest: what disks and people do to files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use fastrand::Rng;
use raft_vfs::SimVfs;
use raft_wal::format::FIRST_FRAME;

use crate::log::{frames, segment, started};

const SECTOR: usize = 512;

/// Damages files of a log, so that what was promised about its end stays promised: the newest
/// segment loses its marks or its batches, not both, and a file that is lost is all that is lost.
/// Returns the paths that are not what they were.
pub(crate) fn random(rng: &mut Rng, disk: &SimVfs, earlier: &SimVfs) -> BTreeSet<PathBuf> {
    let whole = disk.fork();
    let mut harmed = BTreeSet::new();
    let segments = started(disk);
    let Some(&newest) = segments.last() else { return harmed };
    if rng.u8(..6) == 0 {
        harmed.insert(whole_file(rng, disk, &segments));
        return harmed;
    }
    // Marks of the newest segment, or batches of it.
    let marks = rng.u8(..4) == 0;
    for _ in 0..rng.usize(1..4) {
        let seq = segments[rng.usize(..segments.len())];
        let end = frames(&whole, seq).last().map_or(FIRST_FRAME, |f| f.end);
        let (low, high) = match (seq == newest, marks) {
            (true, true) => (0, FIRST_FRAME),
            (true, false) => (FIRST_FRAME, end),
            (false, _) => (if rng.u8(..4) == 0 { 0 } else { FIRST_FRAME }, end),
        };
        let old = earlier.read_file(segment(seq));
        disk.mutate(segment(seq), |b| part(rng, b, low as usize..high as usize, old.as_deref()));
        harmed.insert(segment(seq));
    }
    harmed.retain(|path| disk.read_file(path) != whole.read_file(path));
    harmed
}

/// Damages bytes of a file within `range`.
fn part(rng: &mut Rng, bytes: &mut [u8], range: std::ops::Range<usize>, old: Option<&[u8]>) {
    let at = rng.usize(range.clone());
    let sector = at - at % SECTOR;
    let sector = sector.max(range.start)..(sector + SECTOR).min(range.end);
    match rng.u8(..9) {
        0 | 1 => bytes[at] ^= 1 << rng.u8(..8),
        2 => bytes[at] = rng.u8(..),
        3 => bytes[sector].fill(0),
        4 => rng.fill(&mut bytes[sector]),
        5 => {
            let until = (at + rng.usize(1..5000)).min(range.end);
            bytes[at..until].fill(if rng.bool() { 0 } else { 0xff });
        }
        6 => {
            // A write that was lost: the sector is as it was at some earlier time.
            if let Some(old) = old.and_then(|old| old.get(sector.clone())) {
                bytes[sector].copy_from_slice(old);
            }
        }
        7 => {
            // A write that went astray.
            let from = rng.usize(range.clone());
            let from = (from - from % SECTOR).max(range.start);
            let len = sector.len().min(range.end - from);
            bytes.copy_within(from..from + len, sector.start);
        }
        _ => {
            let until = (at + rng.usize(1..64)).min(range.end);
            rng.fill(&mut bytes[at..until]);
        }
    }
}

/// Removes a segment, cuts it, or puts another's bytes in its place.
fn whole_file(rng: &mut Rng, disk: &SimVfs, segments: &[u64]) -> PathBuf {
    let seq = segments[rng.usize(..segments.len())];
    let path = segment(seq);
    let len = disk.read_file(&path).map_or(0, |b| b.len());
    match rng.u8(..4) {
        0 | 1 => disk.delete(&path),
        2 => {
            disk.mutate(&path, |b| b.truncate(rng.usize(..len)));
        }
        _ => {
            let other = segments[rng.usize(..segments.len())];
            let bytes = disk.read_file(segment(other)).unwrap_or_default();
            disk.mutate(&path, |b| *b = bytes);
        }
    }
    path
}
