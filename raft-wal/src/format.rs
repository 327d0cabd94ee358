//! Every byte of the log on disk. `docs/FORMAT.md` draws the same boxes; a test ties the two.
//!
//! ```text
//! IDENT    | identity | identity | HEAD slot 0 | HEAD slot 1 |            4 pages of 4096 bytes
//! segment  | header   | mark 0   | mark 1      | frame | frame | ...      frames from 12288 on
//! frame    | header 48 | record | record | ...                            one atomic batch
//! record   | term 8 | len*16+kind 4 | data | zero pad to 8 | crc 4 |
//! ```
//!
//! Integers are little-endian. Checksums are CRC-32 (IEEE) with a start value, the *seed*; each is
//! the last field of what it covers and covers it without a gap, so that every burst of up to 32
//! bits is caught for certain. For fixed bytes the map from seed to checksum is injective, so the
//! same bytes under another salt or at another place never validate.

mod control;
mod frame;
mod header;
mod ident;
mod index_file;
mod mark;
mod record;

pub use control::{Base, BaseReason, Control};
pub use frame::{FrameHeader, flags};
pub use header::{HeaderFault, SegmentHeader};
pub use ident::{HeadSlot, IdentPage};
pub use index_file::{IndexHead, Run};
pub use mark::Mark;
pub use record::{RecordHead, RecordKind, control_seed, entry_seed};

pub(crate) use control::encode_control;
pub(crate) use frame::body_crc_start;
pub(crate) use record::{encode_around, encode_record, is_around};

/// The unit of headers, marks and identity copies.
pub const PAGE: u64 = 4096;
/// Where the first frame of a segment stands: behind the header and two mark pages.
pub const FIRST_FRAME: u64 = 3 * PAGE;
/// Size of a frame's header.
pub const FRAME_HEADER_LEN: u64 = 48;
/// Bytes of a record besides its data and padding.
pub const RECORD_OVERHEAD: u64 = 16;
/// Size of the frame that closes a segment: its header and one Seal record.
pub const SEAL_FRAME_LEN: u64 = FRAME_HEADER_LEN + record_len(12);
/// Version of the format that this code writes.
pub const VERSION: u16 = 1;
/// Largest conf state, metadata record, or set of live blobs.
pub const SMALL_MAX: u64 = 64 << 10;
/// Most live blob keys.
pub const BLOBS_MAX: usize = 32;
/// Most bytes of a given-up tail that its checksum covers.
pub const DISCARD_CRC_MAX: u64 = 1 << 20;

const _: () = assert!(FIRST_FRAME.is_multiple_of(8) && FRAME_HEADER_LEN.is_multiple_of(8));
const _: () = assert!(SEAL_FRAME_LEN == 80);

/// Size on disk of a record with `len` bytes of data.
pub const fn record_len(len: u64) -> u64 {
    (RECORD_OVERHEAD + len).next_multiple_of(8)
}

/// CRC-32 (IEEE) of `bytes`, started from `seed`.
pub fn crc(seed: u32, bytes: &[u8]) -> u32 {
    let mut h = crc32fast::Hasher::new_with_initial(seed);
    h.update(bytes);
    h.finalize()
}

/// Whether the last four bytes of `bytes` are the checksum of all before them.
pub(crate) fn crc_is_last(seed: u32, bytes: &[u8]) -> bool {
    bytes.split_last_chunk::<4>().is_some_and(|(rest, c)| crc(seed, rest) == u32::from_le_bytes(*c))
}

/// Puts the checksum of everything before them into the last four bytes.
pub(crate) fn seal_crc(seed: u32, bytes: &mut [u8]) {
    let at = bytes.len() - 4;
    let c = crc(seed, &bytes[..at]);
    bytes[at..].copy_from_slice(&c.to_le_bytes());
}

/// Fixed-offset fields of a block whose size is known by its type. Out of range is a bug here, not
/// a matter of input.
pub(crate) fn get<const N: usize>(b: &[u8], at: usize) -> [u8; N] {
    b[at..at + N].try_into().expect("a slice of N bytes is an array of N bytes")
}
pub(crate) fn get_u16(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(get(b, at))
}
pub(crate) fn get_u32(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(get(b, at))
}
pub(crate) fn get_u64(b: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(get(b, at))
}
pub(crate) fn put(b: &mut [u8], at: usize, v: &[u8]) {
    b[at..at + v.len()].copy_from_slice(v);
}
