//! raft-wal's bytes, once more: written down from `docs/FORMAT.md`, sharing no code with the log.
//!
//! An encoder of frames to compare with, and the repair of checksums that lets a mutated log past
//! its first line of defence.

pub(crate) mod encode;
pub(crate) mod fields;
pub mod repair;
pub(crate) mod walk;

/// Size of a page.
pub(crate) const PAGE: usize = 4096;
/// Where a segment's frames begin.
pub(crate) const FIRST_FRAME: usize = 3 * PAGE;
/// Size of a frame's header.
pub(crate) const HEADER: usize = 48;
/// Bytes of a record besides data and padding.
pub(crate) const OVERHEAD: usize = 16;

/// CRC-32 (IEEE) of `bytes` from a seed.
pub(crate) fn crc(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// Puts the checksum of all before them into the last four bytes of a block.
pub(crate) fn seal(seed: u32, block: &mut [u8]) -> u32 {
    let at = block.len() - 4;
    let c = crc(seed, &block[..at]);
    block[at..].copy_from_slice(&c.to_le_bytes());
    c
}

pub(crate) fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([b[at], b[at + 1]])
}

pub(crate) fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from(u16_at(b, at)) | u32::from(u16_at(b, at + 2)) << 16
}

pub(crate) fn u64_at(b: &[u8], at: usize) -> u64 {
    u64::from(u32_at(b, at)) | u64::from(u32_at(b, at + 4)) << 32
}

pub(crate) fn put(b: &mut [u8], at: usize, v: &[u8]) {
    b[at..at + v.len()].copy_from_slice(v);
}

/// Seed of a frame's header checksum and of its body's.
pub(crate) fn frame_seed(salt: u32, offset: usize) -> u32 {
    salt ^ (offset / 8) as u32
}

/// Seed of the checksum of an entry's record.
pub(crate) fn entry_seed(salt: u32, index: u64) -> u32 {
    salt ^ (index & 0xffff_ffff) as u32 ^ (index >> 32) as u32
}

/// Seed of the checksum of the `n`-th control record of a frame.
pub(crate) fn control_seed(salt: u32, n: usize) -> u32 {
    salt ^ !(n as u32)
}
