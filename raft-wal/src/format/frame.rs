//! The header of a frame. One frame is one atomic batch.

use super::{crc_is_last, get_u16, get_u32, get_u64, put, seal_crc};
use crate::planted::{Bug, planted};

/// Bits of [`FrameHeader::flags`].
pub mod flags {
    /// The first frame of a segment; holds Base and everything replay needs from here on.
    pub const SEG_START: u16 = 1;
    /// Holds a Truncate record.
    pub const TRUNC: u16 = 2;
    /// Holds a Reset record.
    pub const RESET: u16 = 4;
    /// The last frame of its segment; holds a Seal record.
    pub const SEAL: u16 = 8;
    /// Padding up to a boundary; the body is zero and holds no records.
    pub const PAD: u16 = 16;
    /// Repeats batches that were readable after a crash but not proven durable.
    pub const CARRY: u16 = 32;
    /// Every bit that this version knows.
    pub const ALL: u16 = 63;
}

/// A frame's header, 48 bytes, 8-aligned.
///
/// ```text
///  0 u32 body_len     multiple of 8         32 u32 chain      header_crc of the batch before
///  4 u32 n_entries                          36 u32 body_crc   over the records' crcs
///  8 u64 batch_seq    >= 1, dense           40 u16 flags
/// 16 u64 durable_to   promise               42 u8 codec 0   43 u8 stream 0
/// 24 u64 first_index  of the entries        44 u32 header_crc (seed salt ^ offset/8)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of records behind the header.
    pub body_len: u32,
    /// Entries among the records.
    pub n_entries: u32,
    /// Number of the batch; one more than that of the batch before.
    pub batch_seq: u64,
    /// The promise: bytes of this segment below here were durable when this was issued.
    pub durable_to: u64,
    /// Index of the first entry; where the next entry would go if there is none.
    pub first_index: u64,
    /// `header_crc` of the batch before it in the live log.
    pub chain: u32,
    /// Checksum over the records' checksums.
    pub body_crc: u32,
    /// See [`flags`].
    pub flags: u16,
    /// Reserved for compression; 0.
    pub codec: u8,
    /// Reserved for several logs in one; 0.
    pub stream: u8,
    /// Checksum of the header; also the next batch's `chain`.
    pub header_crc: u32,
}

/// The seed of a frame header's checksum, and the start of its body checksum.
pub(crate) const fn body_crc_start(salt: u32, offset: u64) -> u32 {
    salt ^ (offset / 8) as u32
}

impl FrameHeader {
    /// Encoded size.
    pub const LEN: usize = 48;
    /// No batch has a higher number, so that counting on never overflows.
    pub const BATCH_SEQ_MAX: u64 = u64::MAX / 2;

    /// The 48 bytes for a frame at `offset`. `header_crc` is computed, not taken.
    pub fn encode(&self, salt: u32, offset: u64) -> [u8; Self::LEN] {
        let mut b = [0; Self::LEN];
        put(&mut b, 0, &self.body_len.to_le_bytes());
        put(&mut b, 4, &self.n_entries.to_le_bytes());
        put(&mut b, 8, &self.batch_seq.to_le_bytes());
        put(&mut b, 16, &self.durable_to.to_le_bytes());
        put(&mut b, 24, &self.first_index.to_le_bytes());
        put(&mut b, 32, &self.chain.to_le_bytes());
        put(&mut b, 36, &self.body_crc.to_le_bytes());
        put(&mut b, 40, &self.flags.to_le_bytes());
        b[42] = self.codec;
        b[43] = self.stream;
        seal_crc(body_crc_start(salt, offset), &mut b);
        b
    }

    /// The fields as they stand, whether they make sense or not.
    pub fn parse(b: &[u8; Self::LEN]) -> Self {
        Self {
            body_len: get_u32(b, 0),
            n_entries: get_u32(b, 4),
            batch_seq: get_u64(b, 8),
            durable_to: get_u64(b, 16),
            first_index: get_u64(b, 24),
            chain: get_u32(b, 32),
            body_crc: get_u32(b, 36),
            flags: get_u16(b, 40),
            codec: b[42],
            stream: b[43],
            header_crc: get_u32(b, 44),
        }
    }

    /// Reads the header of a frame at `offset`; `None` unless its checksum is right and its fields
    /// can be true: a batch number, known flags, a whole number of words, a promise about bytes
    /// before it.
    pub fn decode(b: &[u8; Self::LEN], salt: u32, offset: u64) -> Option<Self> {
        let h = Self::parse(b);
        let possible = (1..=Self::BATCH_SEQ_MAX).contains(&h.batch_seq)
            && h.flags & !flags::ALL == 0
            && h.body_len.is_multiple_of(8)
            && h.durable_to <= offset
            && h.n_entries <= h.body_len / 16;
        let sound = crc_is_last(body_crc_start(salt, offset), b) || planted(Bug::HeaderUnchecked);
        (possible && sound).then_some(h)
    }

    /// Whether a flag is set.
    pub const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}
