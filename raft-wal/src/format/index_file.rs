//! Index files: where the entries of a closed segment are. A cache; a scan gives the same.

use super::{VERSION, crc_is_last, get, get_u16, get_u32, get_u64, put, seal_crc};

/// Entries from `index` on, up to the next run, have `term`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First index of the run.
    pub index: u64,
    /// Its term.
    pub term: u64,
}

/// The head of an index file, 128 bytes. Behind it stand `u32 offset/8 [n]`, zero padding to 8,
/// and `{u64 index, u64 term}[runs]`.
///
/// ```text
///  0 magic "RFTINDEX"  24 [16] wal_uuid   56 u64 cut_batch_seq   88 u64 low
///  8 u16 version       40 u64 seq         64 u64 cut_end         96 u32 runs
/// 12 u32 salt          48 u32 cut_chain   72 u64 first          100 u32 tables_crc (seed salt)
/// 16 u64 reserved 0    52 u32 flags       80 u64 n              104 .. 124 zero   124 u32 crc
/// ```
/// `flags`: 1 = the segment holds a Reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexHead {
    /// The log.
    pub wal_uuid: [u8; 16],
    /// The segment.
    pub seq: u64,
    /// Its salt.
    pub salt: u32,
    /// The last live batch, as the successor's Base has it.
    pub cut_batch_seq: u64,
    /// Its header checksum.
    pub cut_chain: u32,
    /// Where it ends.
    pub cut_end: u64,
    /// Index of the first entry.
    pub first: u64,
    /// Number of entries.
    pub n: u64,
    /// Lowest index written, truncated or reset to in this segment; `u64::MAX` if none.
    pub low: u64,
    /// Number of term runs.
    pub runs: u32,
    /// Whether the segment holds a Reset: everything older is gone.
    pub had_reset: bool,
    /// Checksum of the tables.
    pub tables_crc: u32,
}

impl IndexHead {
    /// Encoded size.
    pub const LEN: usize = 128;
    /// The first eight bytes.
    pub const MAGIC: [u8; 8] = *b"RFTINDEX";

    /// The 128 bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut b = [0; Self::LEN];
        put(&mut b, 0, &Self::MAGIC);
        put(&mut b, 8, &VERSION.to_le_bytes());
        put(&mut b, 12, &self.salt.to_le_bytes());
        put(&mut b, 24, &self.wal_uuid);
        put(&mut b, 40, &self.seq.to_le_bytes());
        put(&mut b, 48, &self.cut_chain.to_le_bytes());
        put(&mut b, 52, &u32::from(self.had_reset).to_le_bytes());
        put(&mut b, 56, &self.cut_batch_seq.to_le_bytes());
        put(&mut b, 64, &self.cut_end.to_le_bytes());
        put(&mut b, 72, &self.first.to_le_bytes());
        put(&mut b, 80, &self.n.to_le_bytes());
        put(&mut b, 88, &self.low.to_le_bytes());
        put(&mut b, 96, &self.runs.to_le_bytes());
        put(&mut b, 100, &self.tables_crc.to_le_bytes());
        seal_crc(0, &mut b);
        b
    }

    /// Reads a head; `None` if it is not one of this version, intact.
    pub fn decode(b: &[u8; Self::LEN]) -> Option<Self> {
        let ok = get::<8>(b, 0) == Self::MAGIC
            && get_u16(b, 8) == VERSION
            && get_u32(b, 52) <= 1
            && crc_is_last(0, b);
        ok.then(|| Self {
            salt: get_u32(b, 12),
            wal_uuid: get(b, 24),
            seq: get_u64(b, 40),
            cut_chain: get_u32(b, 48),
            had_reset: get_u32(b, 52) == 1,
            cut_batch_seq: get_u64(b, 56),
            cut_end: get_u64(b, 64),
            first: get_u64(b, 72),
            n: get_u64(b, 80),
            low: get_u64(b, 88),
            runs: get_u32(b, 96),
            tables_crc: get_u32(b, 100),
        })
    }

    /// Bytes of the tables behind the head; `None` if the counts cannot be true.
    pub fn tables_len(&self) -> Option<u64> {
        let offsets = self.n.checked_mul(4)?.checked_next_multiple_of(8)?;
        offsets.checked_add(u64::from(self.runs) * 16)
    }
}
