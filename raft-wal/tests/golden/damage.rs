//! The damaged logs: a golden log and one thing that a disk, or a person, did to it.

use raft_vfs::sim::SimVfs;
use raft_wal::format::{FIRST_FRAME, FRAME_HEADER_LEN, PAGE, SegmentHeader, control_seed, crc};

use crate::logs::{DIR, frames, log, segment};

/// One damaged log.
pub(crate) struct Damaged {
    pub(crate) name: &'static str,
    /// The golden log it is made of.
    pub(crate) of: &'static str,
    harm: fn(&SimVfs),
}

impl Damaged {
    /// A disk that holds it.
    pub(crate) fn make(&self) -> SimVfs {
        let disk = log(self.of).make();
        let before = disk.fingerprint();
        (self.harm)(&disk);
        assert_ne!(disk.fingerprint(), before, "{} changes something", self.name);
        disk
    }
}

/// All of them. The names say what is damaged; `expected.txt` says what an open makes of it.
pub(crate) const DAMAGED: [Damaged; 26] = [
    // Evidence says that these were durable: an error that names them.
    Damaged { name: "batch-bit-flip", of: "not-closed", harm: batch_bit_flip },
    Damaged { name: "batch-header-bit-flip", of: "not-closed", harm: batch_header_bit_flip },
    Damaged { name: "batch-zeroed", of: "one-segment", harm: batch_zeroed },
    Damaged { name: "records-swapped", of: "not-closed", harm: records_swapped },
    Damaged { name: "closed-segment-bit-flip", of: "segments", harm: closed_segment_bit_flip },
    Damaged { name: "closed-segment-cut-short", of: "segments", harm: closed_segment_cut_short },
    Damaged { name: "newest-segment-cut-short", of: "one-segment", harm: newest_cut_short },
    Damaged { name: "first-batch-bit-flip", of: "one-segment", harm: first_batch_bit_flip },
    Damaged { name: "older-segment-missing", of: "segments", harm: older_segment_missing },
    Damaged { name: "sealed-successor-missing", of: "segments", harm: newest_segment_missing },
    Damaged { name: "started-segment-missing", of: "carried", harm: second_segment_missing },
    Damaged { name: "only-segment-missing", of: "one-segment", harm: only_segment_missing },
    Damaged { name: "segments-swapped", of: "carried", harm: segments_swapped },
    Damaged { name: "segment-foreign", of: "one-segment", harm: segment_foreign },
    Damaged { name: "headers-all-damaged", of: "one-segment", harm: headers_all_damaged },
    Damaged { name: "ident-both-copies-damaged", of: "one-segment", harm: ident_both_copies },
    Damaged { name: "ident-missing", of: "one-segment", harm: ident_missing },
    // Not damage: written by something newer.
    Damaged { name: "version-unknown", of: "one-segment", harm: version_unknown },
    Damaged { name: "record-kind-unknown", of: "one-segment", harm: record_kind_unknown },
    // Nothing is lost: there is a second copy, or it was a cache.
    Damaged { name: "header-page-damaged", of: "one-segment", harm: header_page_damaged },
    Damaged { name: "ident-one-copy-damaged", of: "one-segment", harm: ident_one_copy },
    Damaged { name: "head-slot-damaged", of: "carried", harm: head_slot_damaged },
    Damaged { name: "index-file-damaged", of: "segments", harm: index_file_damaged },
    Damaged { name: "promise-zeroed", of: "one-segment", harm: promise_zeroed },
    // What a crash looks like: the tail is cut, and said to be uncertain.
    Damaged { name: "tail-torn", of: "carried", harm: tail_torn },
    Damaged { name: "vote-torn", of: "not-closed", harm: vote_torn },
];

fn flip(disk: &SimVfs, path: &str, at: u64) {
    assert!(disk.mutate(path, |b| b[at as usize] ^= 0x10));
}

fn ident() -> String {
    format!("{DIR}/IDENT")
}

/// Where the n-th frame of a segment begins and ends.
fn frame(disk: &SimVfs, seq: u64, n: usize) -> (u64, u64) {
    let (at, end, _) = frames(disk, &segment(seq))[n];
    (at, end)
}

/// The same of the last one.
fn last_frame(disk: &SimVfs, seq: u64) -> (u64, u64) {
    frame(disk, seq, frames(disk, &segment(seq)).len() - 1)
}

/// The second batch, two entries; the fourth promises it.
fn batch_bit_flip(disk: &SimVfs) {
    let (at, _) = frame(disk, 1, 1);
    flip(disk, &segment(1), at + 48 + 40 + 20);
}

/// The same batch, its length: even how much is lost is known from the promise alone.
fn batch_header_bit_flip(disk: &SimVfs) {
    let (at, _) = frame(disk, 1, 1);
    flip(disk, &segment(1), at);
}

/// The only entry becomes what looks like the end of the log; the closing mark knows better.
fn batch_zeroed(disk: &SimVfs) {
    let (from, to) = frame(disk, 1, 1);
    disk.mutate(segment(1), |b| b[from as usize..to as usize].fill(0));
}

/// Two whole records, valid as they are, at each other's place.
fn records_swapped(disk: &SimVfs) {
    let (at, end) = frame(disk, 1, 1);
    // A State record of 40 bytes stands before the two entries.
    let (at, end) = ((at + 48 + 40) as usize, end as usize);
    let half = (end - at) / 2;
    disk.mutate(segment(1), |b| {
        let (one, two) = b[at..end].split_at_mut(half);
        one.swap_with_slice(two);
    });
}

fn closed_segment_bit_flip(disk: &SimVfs) {
    let (at, _) = frame(disk, 2, 1);
    flip(disk, &segment(2), at + 200);
}

fn closed_segment_cut_short(disk: &SimVfs) {
    let (at, _) = frame(disk, 2, 2);
    disk.mutate(segment(2), |b| b.truncate(at as usize + 100));
}

fn newest_cut_short(disk: &SimVfs) {
    let (at, _) = frame(disk, 1, 1);
    disk.mutate(segment(1), |b| b.truncate(at as usize));
}

fn first_batch_bit_flip(disk: &SimVfs) {
    flip(disk, &segment(1), FIRST_FRAME + 100);
}

fn older_segment_missing(disk: &SimVfs) {
    disk.delete(segment(2));
}

fn newest_segment_missing(disk: &SimVfs) {
    disk.delete(segment(3));
}

fn second_segment_missing(disk: &SimVfs) {
    disk.delete(segment(2));
}

fn only_segment_missing(disk: &SimVfs) {
    disk.delete(segment(1));
}

fn segments_swapped(disk: &SimVfs) {
    let [one, two] = [1, 2].map(|seq| disk.read_file(segment(seq)).unwrap());
    disk.write_file(segment(1), &two);
    disk.write_file(segment(2), &one);
}

/// A segment of the same number from another log.
fn segment_foreign(disk: &SimVfs) {
    let other = log("not-closed").make().read_file(segment(1)).unwrap();
    disk.write_file(segment(1), &other);
}

fn header_page_damaged(disk: &SimVfs) {
    disk.mutate(segment(1), |b| b[..512].fill(0xff));
}

fn headers_all_damaged(disk: &SimVfs) {
    disk.mutate(segment(1), |b| {
        for page in 0..3 {
            b[page * PAGE as usize..][..512].fill(0xff);
        }
    });
}

fn ident_one_copy(disk: &SimVfs) {
    flip(disk, &ident(), 30);
}

fn ident_both_copies(disk: &SimVfs) {
    flip(disk, &ident(), 30);
    flip(disk, &ident(), PAGE + 30);
}

fn ident_missing(disk: &SimVfs) {
    disk.delete(ident());
}

fn version_unknown(disk: &SimVfs) {
    disk.mutate(segment(1), |b| {
        b[8] = 2;
        seal(0, &mut b[..SegmentHeader::LEN]);
    });
}

/// The entry's record becomes one of a later version, its checksums right.
fn record_kind_unknown(disk: &SimVfs) {
    let (at, end) = frame(disk, 1, 1);
    disk.mutate(segment(1), |b| {
        let salt = u32::from_le_bytes(b[20..24].try_into().unwrap());
        let frame = &mut b[at as usize..end as usize];
        let (header, body) = frame.split_at_mut(FRAME_HEADER_LEN as usize);
        // A State record of 40 bytes, then the entry.
        body[40 + 8] |= 15;
        seal(control_seed(salt, 1), &mut body[40..]);
        let seed = salt ^ (at / 8) as u32;
        let sums = [&body[36..40], &body[body.len() - 4..]].concat();
        header[4..8].fill(0);
        header[36..40].copy_from_slice(&crc(seed, &sums).to_le_bytes());
        seal(seed, header);
    });
}

/// Puts the checksum of a block into its last four bytes.
fn seal(seed: u32, block: &mut [u8]) {
    let at = block.len() - 4;
    let sum = crc(seed, &block[..at]);
    block[at..].copy_from_slice(&sum.to_le_bytes());
}

/// The slot of the second era; the first era's remains.
fn head_slot_damaged(disk: &SimVfs) {
    flip(disk, &ident(), 3 * PAGE + 8);
}

fn index_file_damaged(disk: &SimVfs) {
    flip(disk, &format!("{DIR}/wal/{:020}.idx", 2), 140);
}

/// The closing mark, the only promise about the last batch.
fn promise_zeroed(disk: &SimVfs) {
    disk.mutate(segment(1), |b| b[2 * PAGE as usize..3 * PAGE as usize].fill(0));
}

/// The second era's mark is gone with its last batch: as if the power had failed in the flush.
fn tail_torn(disk: &SimVfs) {
    let (_, end) = last_frame(disk, 2);
    disk.mutate(segment(2), |b| {
        b[end as usize - 100..end as usize].fill(0);
        b[PAGE as usize..3 * PAGE as usize].fill(0);
    });
}

/// The last batch, a vote, is torn; the mark of the same flush repeats it.
fn vote_torn(disk: &SimVfs) {
    let (at, _) = last_frame(disk, 1);
    flip(disk, &segment(1), at + 60);
}
