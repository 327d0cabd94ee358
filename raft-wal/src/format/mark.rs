//! Pages 1 and 2 of a segment: a second copy of the header, a promise, a copy of term and vote.

use super::{SegmentHeader, crc_is_last, get, get_u32, get_u64, put, seal_crc};

/// A mark page; 256 bytes are used.
///
/// ```text
///   0 [128] copy of the header              160 u64 state_off
/// 128 u64 mark_no                           168 u64 term   176 u64 vote
/// 136 u64 durable_to                        184 .. 252 zero
/// 144 u64 batch_seq
/// 152 u32 chain
/// 156 u32 flags  1 CLEAN                    252 u32 crc (seed salt ^ page number)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The segment's header, again.
    pub header: SegmentHeader,
    /// 1, 2, ...; 0 as published.
    pub mark_no: u64,
    /// The promise: bytes of this segment below here are durable. 0 is none.
    pub durable_to: u64,
    /// Last batch below `durable_to`.
    pub batch_seq: u64,
    /// Its header checksum.
    pub chain: u32,
    /// The segment was closed here; nothing follows.
    pub clean: bool,
    /// Offset of the frame that holds the hard state repeated here; 0 is none.
    pub state_off: u64,
    /// Term of that hard state.
    pub term: u64,
    /// Vote of that hard state.
    pub vote: u64,
}

impl Mark {
    /// Encoded size.
    pub const LEN: usize = 256;
    const CLEAN: u32 = 1;

    /// The mark as a segment is published: no promise, no state.
    pub fn blank(header: SegmentHeader) -> Self {
        Self {
            header,
            mark_no: 0,
            durable_to: 0,
            batch_seq: 0,
            chain: 0,
            clean: false,
            state_off: 0,
            term: 0,
            vote: 0,
        }
    }

    /// The 256 bytes, for mark page `page` (1 or 2).
    pub fn encode(&self, page: u32) -> [u8; Self::LEN] {
        let mut b = [0; Self::LEN];
        put(&mut b, 0, &self.header.encode());
        put(&mut b, 128, &self.mark_no.to_le_bytes());
        put(&mut b, 136, &self.durable_to.to_le_bytes());
        put(&mut b, 144, &self.batch_seq.to_le_bytes());
        put(&mut b, 152, &self.chain.to_le_bytes());
        put(&mut b, 156, &(if self.clean { Self::CLEAN } else { 0 }).to_le_bytes());
        put(&mut b, 160, &self.state_off.to_le_bytes());
        put(&mut b, 168, &self.term.to_le_bytes());
        put(&mut b, 176, &self.vote.to_le_bytes());
        seal_crc(self.header.salt ^ page, &mut b);
        b
    }

    /// Reads mark page `page`; `None` if it is not valid there.
    pub fn decode(b: &[u8; Self::LEN], page: u32) -> Option<Self> {
        let header = SegmentHeader::decode(&get(b, 0)).ok()?;
        let flags = get_u32(b, 156);
        if !crc_is_last(header.salt ^ page, b) || flags & !Self::CLEAN != 0 {
            return None;
        }
        Some(Self {
            header,
            mark_no: get_u64(b, 128),
            durable_to: get_u64(b, 136),
            batch_seq: get_u64(b, 144),
            chain: get_u32(b, 152),
            clean: flags & Self::CLEAN != 0,
            state_off: get_u64(b, 160),
            term: get_u64(b, 168),
            vote: get_u64(b, 176),
        })
    }
}
