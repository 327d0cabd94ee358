//! Records: what a frame's body is made of.

use bytes::{BufMut, BytesMut};

use super::{RECORD_OVERHEAD, crc, get_u32, get_u64, record_len};
use crate::types::EntryKind;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A log entry (0 to 5).
    Entry(EntryKind),
    /// Hard state (6).
    State,
    /// Snapshot marker (7).
    Snap,
    /// Where the segment's predecessor ends (8).
    Base,
    /// Entries from an index on go (9).
    Truncate,
    /// The log is emptied and moved (10).
    Reset,
    /// Entries below an index, and files below a number, are no longer needed (11).
    Compact,
    /// Opaque metadata (12).
    Metadata,
    /// One keyed value (13).
    Blob,
    /// The segment ends; names the next (14).
    Seal,
    /// Room for more kinds (15); nothing uses it in this version.
    Escape,
}

impl RecordKind {
    /// The number in the format.
    pub const fn number(self) -> u8 {
        match self {
            Self::Entry(k) => k as u8,
            Self::State => 6,
            Self::Snap => 7,
            Self::Base => 8,
            Self::Truncate => 9,
            Self::Reset => 10,
            Self::Compact => 11,
            Self::Metadata => 12,
            Self::Blob => 13,
            Self::Seal => 14,
            Self::Escape => 15,
        }
    }

    /// The kind with the number in the lowest four bits of `n`.
    pub const fn from_low_bits(n: u32) -> Self {
        match n & 15 {
            6 => Self::State,
            7 => Self::Snap,
            8 => Self::Base,
            9 => Self::Truncate,
            10 => Self::Reset,
            11 => Self::Compact,
            12 => Self::Metadata,
            13 => Self::Blob,
            14 => Self::Seal,
            15 => Self::Escape,
            low => match EntryKind::from_number(low as u8) {
                Some(k) => Self::Entry(k),
                None => Self::Escape,
            },
        }
    }
}

/// The first 12 bytes of a record.
///
/// ```text
/// 0 u64 term | 8 u32 len*16 + kind | 12 data[len] | zero pad | last 4 bytes: u32 crc
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// Term of an entry; 0 in control records.
    pub term: u64,
    /// Bytes of data.
    pub len: u32,
    /// What it is.
    pub kind: RecordKind,
}

impl RecordHead {
    /// Encoded size.
    pub const LEN: usize = 12;

    /// Reads the head.
    pub fn parse(b: &[u8; Self::LEN]) -> Self {
        let word = get_u32(b, 8);
        Self { term: get_u64(b, 0), len: word >> 4, kind: RecordKind::from_low_bits(word) }
    }

    /// Size of the whole record on disk.
    pub const fn record_len(&self) -> u64 {
        record_len(self.len as u64)
    }
}

/// Seed of an entry's checksum: an entry under another index or salt never validates.
pub const fn entry_seed(salt: u32, index: u64) -> u32 {
    salt ^ index as u32 ^ (index >> 32) as u32
}

/// Seed of a control record's checksum; `ordinal` counts the records of the batch from 0.
pub const fn control_seed(salt: u32, ordinal: u32) -> u32 {
    salt ^ !ordinal
}

/// Appends a record's head. The caller has bounded `len` below 2^28 bytes.
fn put_head(out: &mut BytesMut, term: u64, kind: RecordKind, len: usize) {
    assert!(len < 1 << 28, "record lengths are checked before encoding");
    out.put_u64_le(term);
    out.put_u32_le((len as u32) << 4 | u32::from(kind.number()));
}

/// Zeros between a record's data and its checksum.
const fn padding_len(len: usize) -> usize {
    (record_len(len as u64) - RECORD_OVERHEAD) as usize - len
}

/// Appends a record and returns its checksum.
///
/// The caller has bounded `data` below 2^28 bytes and reserved room.
pub(crate) fn encode_record(
    out: &mut BytesMut,
    seed: u32,
    term: u64,
    kind: RecordKind,
    data: &[u8],
) -> u32 {
    let start = out.len();
    put_head(out, term, kind, data.len());
    out.put_slice(data);
    out.put_bytes(0, padding_len(data.len()));
    let c = crc(seed, &out[start..]);
    out.put_u32_le(c);
    debug_assert_eq!((out.len() - start) as u64, record_len(data.len() as u64));
    c
}

/// [`encode_record`] without the data: they belong between the first [`RecordHead::LEN`] bytes that
/// this appends and the rest. Reads them once, for the checksum.
pub(crate) fn encode_around(
    out: &mut BytesMut,
    seed: u32,
    term: u64,
    kind: RecordKind,
    data: &[u8],
) -> u32 {
    let start = out.len();
    put_head(out, term, kind, data.len());
    out.put_bytes(0, padding_len(data.len()));
    let (head, padding) = out[start..].split_at(RecordHead::LEN);
    let c = crc_of_parts(seed, &[head, data, padding]);
    out.put_u32_le(c);
    c
}

/// The checksum of a record whose data are elsewhere, if its last four bytes agree with it.
/// `head` and `rest` are what [`encode_around`] appends.
pub(crate) fn is_around(seed: u32, head: &[u8], data: &[u8], rest: &[u8]) -> bool {
    rest.split_last_chunk::<4>().is_some_and(|(padding, c)| {
        crc_of_parts(seed, &[head, data, padding]) == u32::from_le_bytes(*c)
    })
}

fn crc_of_parts(seed: u32, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}
