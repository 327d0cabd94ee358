//! The IDENT file: who the log is, and which segment was started last.

use super::header::check_page;
use super::{HeaderFault, PAGE, VERSION, crc_is_last, get, get_u64, put, seal_crc};

/// Pages 0 and 1 of IDENT, the same in both; 128 bytes are used.
///
/// ```text
/// 0 magic "RFTIDENT" | 8 u16 version | 12 u32 compat | 16 u32 incompat | 24 [16] wal_uuid
/// 40 u64 cluster_id | 48 u64 node_id | 56 u64 created_ms | 124 u32 crc (seed 0)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentPage {
    /// Random name of the log; every segment repeats it.
    pub wal_uuid: [u8; 16],
    /// The cluster.
    pub cluster_id: u64,
    /// The node.
    pub node_id: u64,
    /// When the log was made; information only.
    pub created_ms: u64,
}

impl IdentPage {
    /// Encoded size.
    pub const LEN: usize = 128;
    /// Size of the IDENT file.
    pub const FILE_LEN: u64 = 4 * PAGE;
    /// The first eight bytes.
    pub const MAGIC: [u8; 8] = *b"RFTIDENT";

    /// The 128 bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut b = [0; Self::LEN];
        put(&mut b, 0, &Self::MAGIC);
        put(&mut b, 8, &VERSION.to_le_bytes());
        put(&mut b, 24, &self.wal_uuid);
        put(&mut b, 40, &self.cluster_id.to_le_bytes());
        put(&mut b, 48, &self.node_id.to_le_bytes());
        put(&mut b, 56, &self.created_ms.to_le_bytes());
        seal_crc(0, &mut b);
        b
    }

    /// Reads a copy.
    ///
    /// # Errors
    /// [`HeaderFault`].
    pub fn decode(b: &[u8; Self::LEN]) -> Result<Self, HeaderFault> {
        check_page(b, Self::MAGIC)?;
        Ok(Self {
            wal_uuid: get(b, 24),
            cluster_id: get_u64(b, 40),
            node_id: get_u64(b, 48),
            created_ms: get_u64(b, 56),
        })
    }
}

/// Pages 2 and 3 of IDENT: that a segment is about to be started, and what it stands on. Evidence
/// of what must exist, never data.
///
/// ```text
/// 0 u64 slot_no | 8 u64 start_seq | 16 u64 live_seq | 24 u64 proven_seq | 32 u64 era
/// 40 u64 nonce | 48 [8] wal_uuid | 56 u32 0 | 60 u32 crc (seed page number)
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadSlot {
    /// Counts the writes of either slot; the highest is in force.
    pub slot_no: u64,
    /// The segment that the era starts.
    pub start_seq: u64,
    /// The newest segment with a valid start at that moment; 0 none.
    pub live_seq: u64,
    /// The predecessor that the new segment's Base names; 0 none.
    pub proven_seq: u64,
    /// The era.
    pub era: u64,
    /// Its nonce.
    pub nonce: u64,
    /// The first half of the log's uuid.
    pub uuid_half: [u8; 8],
}

impl HeadSlot {
    /// Encoded size.
    pub const LEN: usize = 64;

    /// The 64 bytes for page `page` (2 or 3).
    pub fn encode(&self, page: u32) -> [u8; Self::LEN] {
        let mut b = [0; Self::LEN];
        put(&mut b, 0, &self.slot_no.to_le_bytes());
        put(&mut b, 8, &self.start_seq.to_le_bytes());
        put(&mut b, 16, &self.live_seq.to_le_bytes());
        put(&mut b, 24, &self.proven_seq.to_le_bytes());
        put(&mut b, 32, &self.era.to_le_bytes());
        put(&mut b, 40, &self.nonce.to_le_bytes());
        put(&mut b, 48, &self.uuid_half);
        seal_crc(page, &mut b);
        b
    }

    /// Reads the slot of page `page`; `None` unless it is valid there.
    pub fn decode(b: &[u8; Self::LEN], page: u32) -> Option<Self> {
        // A count that high was never reached by counting.
        let possible = get_u64(b, 0) <= u64::MAX / 2;
        (possible && crc_is_last(page, b)).then(|| Self {
            slot_no: get_u64(b, 0),
            start_seq: get_u64(b, 8),
            live_seq: get_u64(b, 16),
            proven_seq: get_u64(b, 24),
            era: get_u64(b, 32),
            nonce: get_u64(b, 40),
            uuid_half: get(b, 48),
        })
    }
}
