//! Page 0 of a segment.

use super::{VERSION, crc_is_last, get, get_u16, get_u32, get_u64, put, seal_crc};

/// The segment header, 128 bytes; the rest of its page is zero.
///
/// ```text
///   0  8  magic 52 46 54 57 41 4C 00 01     40 u64 seq               72 u64 era
///   8 u16 version = 1                       48 u64 capacity          80 u64 era_nonce
///  10 u16 reserved 0                        56 u64 created_ms        88 .. 124 zero
///  12 u32 compat     16 u32 incompat        64 u64 align
///  20 u32 salt       24 [16] wal_uuid                               124 u32 crc (seed 0)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Random per life of the file: bytes of an earlier life never validate.
    pub salt: u32,
    /// The log that the segment belongs to.
    pub wal_uuid: [u8; 16],
    /// Number of the segment, the same as in its name.
    pub seq: u64,
    /// Size of the file as published.
    pub capacity: u64,
    /// When it was published; information only.
    pub created_ms: u64,
    /// 1, 512 or 4096: what every flush group was padded to.
    pub align: u64,
    /// The process lifetime that published the file, and the only one that writes it.
    pub era: u64,
    /// Random per era.
    pub era_nonce: u64,
    /// The file had an earlier life: what no batch of this one covers is not zero but of that one.
    pub reused: bool,
}

/// The bit of `compat` that says [`SegmentHeader::reused`].
const COMPAT_REUSED: u32 = 1;

/// Why a header was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// Not a header, or a damaged one.
    Bad,
    /// Of a version that this code does not know.
    Version(u64),
    /// With features that this code does not know.
    Incompat(u64),
}

/// What a segment header and an identity page have in common: magic, version, features, and a
/// checksum that comes before all of them in importance: without it nothing is believed.
pub(super) fn check_page(b: &[u8; 128], magic: [u8; 8]) -> Result<(), HeaderFault> {
    if get::<8>(b, 0) != magic || !crc_is_last(0, b) {
        return Err(HeaderFault::Bad);
    }
    if get_u16(b, 8) != VERSION {
        return Err(HeaderFault::Version(get_u16(b, 8).into()));
    }
    match get_u32(b, 16) {
        0 => Ok(()),
        unknown => Err(HeaderFault::Incompat(unknown.into())),
    }
}

impl SegmentHeader {
    /// Encoded size.
    pub const LEN: usize = 128;
    /// No segment is larger: offsets in units of 8 bytes fit 32 bits with room to spare.
    pub const CAPACITY_MAX: u64 = 8 << 30;
    /// The first eight bytes.
    pub const MAGIC: [u8; 8] = *b"RFTWAL\x00\x01";

    /// The 128 bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut b = [0; Self::LEN];
        put(&mut b, 0, &Self::MAGIC);
        put(&mut b, 8, &VERSION.to_le_bytes());
        put(&mut b, 12, &if self.reused { COMPAT_REUSED } else { 0 }.to_le_bytes());
        put(&mut b, 20, &self.salt.to_le_bytes());
        put(&mut b, 24, &self.wal_uuid);
        put(&mut b, 40, &self.seq.to_le_bytes());
        put(&mut b, 48, &self.capacity.to_le_bytes());
        put(&mut b, 56, &self.created_ms.to_le_bytes());
        put(&mut b, 64, &self.align.to_le_bytes());
        put(&mut b, 72, &self.era.to_le_bytes());
        put(&mut b, 80, &self.era_nonce.to_le_bytes());
        seal_crc(0, &mut b);
        b
    }

    /// Reads a header. An unknown version is told apart from damage.
    ///
    /// # Errors
    /// [`HeaderFault`].
    pub fn decode(b: &[u8; Self::LEN]) -> Result<Self, HeaderFault> {
        check_page(b, Self::MAGIC)?;
        let h = Self {
            salt: get_u32(b, 20),
            wal_uuid: get(b, 24),
            seq: get_u64(b, 40),
            capacity: get_u64(b, 48),
            created_ms: get_u64(b, 56),
            align: get_u64(b, 64),
            era: get_u64(b, 72),
            era_nonce: get_u64(b, 80),
            reused: get_u32(b, 12) & COMPAT_REUSED != 0,
        };
        let possible = [1, 512, 4096].contains(&h.align) && h.capacity <= Self::CAPACITY_MAX;
        if possible { Ok(h) } else { Err(HeaderFault::Bad) }
    }
}
