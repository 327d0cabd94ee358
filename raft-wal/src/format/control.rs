//! Control records: everything in a batch that is not an entry.

use bytes::{BufMut, Bytes, BytesMut};

use super::{RecordKind, SMALL_MAX, control_seed, encode_record, get, get_u32, get_u64};
use crate::types::{HardState, Reset, SnapshotMark};

/// Size of a Base record's data.
pub(crate) const BASE_LEN: u64 = 136;

/// Why a segment was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseReason {
    /// Its predecessor was full.
    Rotation = 0,
    /// A log was opened for writing.
    Open = 1,
    /// A repair cut the log.
    Repair = 2,
    /// A lost range was refilled.
    Refill = 3,
}

/// Where a segment's predecessor ends: the live log before this segment is everything up to and
/// including batch `prev_batch_seq`, which ends at `prev_end` in `prev_segment`.
///
/// ```text
///   0 u64 prev_segment   24 u64 prev_end     48 u64 next_index   80 u64 nonce         112 u64 disc_len
///   8 u32 prev_salt      32 u64 first_index  56 u64 last_term    88 u64 carried       120 u32 disc_crc
///  12 u32 prev_chain     40 u64 base_term    64 u64 floor_seq    96 u64 disc_segment  124 u8 reason, u8 has_base
///  16 u64 prev_batch_seq                     72 u64 era         104 u64 disc_from     128 u64 reserved
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// The predecessor; 0 at the beginning of a log.
    pub prev_segment: u64,
    /// Its salt.
    pub prev_salt: u32,
    /// `header_crc` of its last live batch.
    pub prev_chain: u32,
    /// Number of its last live batch.
    pub prev_batch_seq: u64,
    /// Where that batch ends.
    pub prev_end: u64,
    /// First index of the log at the cut.
    pub first_index: u64,
    /// Term of `first_index - 1`, where there is such an entry.
    pub base_term: Option<u64>,
    /// One past the last index of the log at the cut.
    pub next_index: u64,
    /// Term of the last entry at the cut; the base term, or 0, of an empty log; 0 also where the
    /// entry is below the floor and its term was not known.
    pub last_term: u64,
    /// Segments below this number are garbage.
    pub floor_seq: u64,
    /// The era that writes this segment; the header's.
    pub era: u64,
    /// The era's nonce.
    pub nonce: u64,
    /// Batches whose net effect this frame repeats.
    pub carried: u64,
    /// Segment whose tail was given up; 0 is none.
    pub disc_segment: u64,
    /// Where the given-up bytes begin.
    pub disc_from: u64,
    /// How many there are, up to the last that is not zero.
    pub disc_len: u64,
    /// Checksum of the first 1 MiB of them.
    pub disc_crc: u32,
    /// Why the segment was started.
    pub reason: BaseReason,
}

impl Base {
    fn encode(&self) -> [u8; BASE_LEN as usize] {
        let mut b = BytesMut::with_capacity(BASE_LEN as usize);
        b.put_u64_le(self.prev_segment);
        b.put_u32_le(self.prev_salt);
        b.put_u32_le(self.prev_chain);
        b.put_u64_le(self.prev_batch_seq);
        b.put_u64_le(self.prev_end);
        b.put_u64_le(self.first_index);
        b.put_u64_le(self.base_term.unwrap_or(0));
        b.put_u64_le(self.next_index);
        b.put_u64_le(self.last_term);
        b.put_u64_le(self.floor_seq);
        b.put_u64_le(self.era);
        b.put_u64_le(self.nonce);
        b.put_u64_le(self.carried);
        b.put_u64_le(self.disc_segment);
        b.put_u64_le(self.disc_from);
        b.put_u64_le(self.disc_len);
        b.put_u32_le(self.disc_crc);
        b.put_u8(self.reason as u8);
        b.put_u8(u8::from(self.base_term.is_some()));
        b.put_u16_le(0);
        b.put_u64_le(0);
        get(&b, 0)
    }

    /// Where there is no predecessor, there is no batch of it either.
    fn is_rooted(&self) -> bool {
        let before = (self.prev_batch_seq, self.prev_chain, self.prev_end);
        self.prev_segment != 0 || before == (0, 0, 0)
    }

    fn decode(b: &[u8]) -> Option<Self> {
        if b.len() as u64 != BASE_LEN {
            return None;
        }
        Some(Self {
            prev_segment: get_u64(b, 0),
            prev_salt: get_u32(b, 8),
            prev_chain: get_u32(b, 12),
            prev_batch_seq: get_u64(b, 16),
            prev_end: get_u64(b, 24),
            first_index: get_u64(b, 32),
            base_term: optional(b[125], get_u64(b, 40)).ok()?,
            next_index: get_u64(b, 48),
            last_term: get_u64(b, 56),
            floor_seq: get_u64(b, 64),
            era: get_u64(b, 72),
            nonce: get_u64(b, 80),
            carried: get_u64(b, 88),
            disc_segment: get_u64(b, 96),
            disc_from: get_u64(b, 104),
            disc_len: get_u64(b, 112),
            disc_crc: get_u32(b, 120),
            reason: match b[124] {
                0 => BaseReason::Rotation,
                1 => BaseReason::Open,
                2 => BaseReason::Repair,
                3 => BaseReason::Refill,
                _ => return None,
            },
        })
        .filter(|base| base.first_index <= base.next_index && base.is_rooted())
    }
}

/// A decoded control record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Where the predecessor ends.
    Base(Box<Base>),
    /// The log's metadata.
    Metadata(Bytes),
    /// One keyed value; empty deletes.
    Blob {
        /// The key, 1 to 255 bytes.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// The log begins at `first_index`; segments below `floor_seq` are garbage.
    Compact {
        /// The new first index.
        first_index: u64,
        /// Term of the entry before it.
        base_term: Option<u64>,
        /// The lowest segment that still matters; 0 leaves it as it was.
        floor_seq: u64,
    },
    /// A snapshot marker.
    Snap(SnapshotMark),
    /// The log is emptied and moved.
    Reset(Reset),
    /// Entries from here on go.
    Truncate(u64),
    /// The hard state.
    State(HardState),
    /// The segment ends.
    Seal {
        /// The segment that follows.
        next_segment: u64,
        /// Its salt.
        next_salt: u32,
    },
}

/// Reads a value that has a flag beside it; `Err` if the two contradict each other.
fn optional(has: u8, value: u64) -> Result<Option<u64>, ()> {
    match (has, value) {
        (0, 0) => Ok(None),
        (1, v) => Ok(Some(v)),
        _ => Err(()),
    }
}

impl Control {
    /// Its record kind.
    pub const fn kind(&self) -> RecordKind {
        match self {
            Self::Base(_) => RecordKind::Base,
            Self::Metadata(_) => RecordKind::Metadata,
            Self::Blob { .. } => RecordKind::Blob,
            Self::Compact { .. } => RecordKind::Compact,
            Self::Snap(_) => RecordKind::Snap,
            Self::Reset(_) => RecordKind::Reset,
            Self::Truncate(_) => RecordKind::Truncate,
            Self::State(_) => RecordKind::State,
            Self::Seal { .. } => RecordKind::Seal,
        }
    }

    /// Place in a batch: controls come in ascending rank, before the entries. Only blobs repeat.
    pub(crate) const fn rank(&self) -> u8 {
        match self {
            Self::Base(_) => 0,
            Self::Metadata(_) => 1,
            Self::Blob { .. } => 2,
            Self::Compact { .. } => 3,
            Self::Snap(_) => 4,
            Self::Reset(_) => 5,
            Self::Truncate(_) => 6,
            Self::State(_) => 7,
            Self::Seal { .. } => 8,
        }
    }

    /// Bytes of data it takes.
    pub(crate) fn data_len(&self) -> u64 {
        match self {
            Self::Base(_) => BASE_LEN,
            Self::Metadata(m) => m.len() as u64,
            Self::Blob { key, value } => (1 + key.len() + value.len()) as u64,
            Self::Compact { .. } => 25,
            Self::Snap(s) => 60 + s.conf_state.len() as u64,
            Self::Reset(_) => 17,
            Self::Truncate(_) => 8,
            Self::State(_) => 24,
            Self::Seal { .. } => 12,
        }
    }

    fn encode_data(&self, out: &mut BytesMut) {
        match self {
            Self::Base(b) => out.put_slice(&b.encode()),
            Self::Metadata(m) => out.put_slice(m),
            Self::Blob { key, value } => {
                out.put_u8(key.len() as u8);
                out.put_slice(key);
                out.put_slice(value);
            }
            Self::Compact { first_index, base_term, floor_seq } => {
                out.put_u64_le(*first_index);
                out.put_u64_le(base_term.unwrap_or(0));
                out.put_u8(u8::from(base_term.is_some()));
                out.put_u64_le(*floor_seq);
            }
            Self::Snap(s) => {
                out.put_u64_le(s.index);
                out.put_u64_le(s.term);
                out.put_u64_le(s.file_len);
                out.put_slice(&s.file_hash);
                out.put_u32_le(s.conf_state.len() as u32);
                out.put_slice(&s.conf_state);
            }
            Self::Reset(r) => {
                out.put_u64_le(r.first_index);
                out.put_u64_le(r.base_term.unwrap_or(0));
                out.put_u8(u8::from(r.base_term.is_some()));
            }
            Self::Truncate(from) => out.put_u64_le(*from),
            Self::State(s) => {
                out.put_u64_le(s.term);
                out.put_u64_le(s.vote);
                out.put_u64_le(s.commit);
            }
            Self::Seal { next_segment, next_salt } => {
                out.put_u64_le(*next_segment);
                out.put_u32_le(*next_salt);
            }
        }
    }

    /// Reads a control record's data; `None` if it has not the shape of its kind.
    pub fn decode(kind: RecordKind, b: &[u8]) -> Option<Self> {
        let exact = |n: usize| (b.len() == n).then_some(());
        Some(match kind {
            RecordKind::Base => Self::Base(Box::new(Base::decode(b)?)),
            RecordKind::Metadata if b.len() as u64 <= SMALL_MAX => {
                Self::Metadata(Bytes::copy_from_slice(b))
            }
            RecordKind::Blob if b.len() as u64 <= SMALL_MAX => {
                let (&n, rest) = b.split_first()?;
                let (key, value) = rest.split_at_checked(n.into())?;
                let key = (!key.is_empty()).then(|| Bytes::copy_from_slice(key))?;
                Self::Blob { key, value: Bytes::copy_from_slice(value) }
            }
            RecordKind::Compact => {
                exact(25)?;
                Self::Compact {
                    first_index: get_u64(b, 0),
                    base_term: optional(b[16], get_u64(b, 8)).ok()?,
                    floor_seq: get_u64(b, 17),
                }
            }
            RecordKind::Snap if b.len() >= 60 => {
                let conf = &b[60..];
                if get_u32(b, 56) as usize != conf.len() || conf.len() as u64 > SMALL_MAX {
                    return None;
                }
                Self::Snap(SnapshotMark {
                    index: get_u64(b, 0),
                    term: get_u64(b, 8),
                    file_len: get_u64(b, 16),
                    file_hash: get(b, 24),
                    conf_state: Bytes::copy_from_slice(conf),
                })
            }
            RecordKind::Reset => {
                exact(17)?;
                Self::Reset(Reset {
                    first_index: get_u64(b, 0),
                    base_term: optional(b[16], get_u64(b, 8)).ok()?,
                })
            }
            RecordKind::Truncate => {
                exact(8)?;
                Self::Truncate(get_u64(b, 0))
            }
            RecordKind::State => {
                exact(24)?;
                Self::State(HardState {
                    term: get_u64(b, 0),
                    vote: get_u64(b, 8),
                    commit: get_u64(b, 16),
                })
            }
            RecordKind::Seal => {
                exact(12)?;
                Self::Seal { next_segment: get_u64(b, 0), next_salt: get_u32(b, 8) }
            }
            _ => return None,
        })
    }
}

/// Appends a control record and returns its checksum.
pub(crate) fn encode_control(out: &mut BytesMut, salt: u32, ordinal: u32, c: &Control) -> u32 {
    let mut data = BytesMut::with_capacity(c.data_len() as usize);
    c.encode_data(&mut data);
    debug_assert_eq!(data.len() as u64, c.data_len());
    encode_record(out, control_seed(salt, ordinal), 0, c.kind(), &data)
}
