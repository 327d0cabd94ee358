//! Every byte of a snapshot file. `docs/FORMAT.md` draws the same boxes; a test ties the two.
//!
//! ```text
//! file     | header | chunk 0 | chunk 1 | ... | footer 96 |
//! header   | fixed part 128 | conf state | zeros to a multiple of 512, less 4 | crc 4 |
//! chunk    | len 4 | data | crc 4 |                     all full but the last; none is empty
//! ```
//!
//! Integers are little-endian. Checksums are CRC-32 (IEEE) with a start value, the *seed*; each is
//! the last field of what it covers. A chunk's seed is its file's random salt and its own number,
//! so that a chunk at another place, or of another file, never validates. The two hashes of the
//! footer are SHA-256: one over the data, for those who send and receive; one over everything
//! else, so that the whole file has a strong one.

use sha2::{Digest as _, Sha256};

use crate::error::{Reject, hex};

/// Version of the format that this code writes.
pub const VERSION: u16 = 1;
/// The header's length is a multiple of this.
pub const HEADER_UNIT: usize = 512;
/// Length of the header's fixed part.
pub const HEADER_FIXED: usize = 128;
/// Longest conf state.
pub const CONF_STATE_MAX: usize = 64 << 10;
/// Longest header.
pub const HEADER_MAX: usize = header_len(CONF_STATE_MAX);
/// Bytes of a chunk besides its data.
pub const CHUNK_OVERHEAD: u64 = 8;
/// Shortest data of a full chunk.
pub const CHUNK_MIN: u32 = 512;
/// Longest data of a full chunk: what a reader must be ready to hold in memory.
pub const CHUNK_MAX: u32 = 16 << 20;
/// Most chunks of a file.
pub const CHUNKS_MAX: u32 = u32::MAX - 1;
/// Length of the footer.
pub const FOOTER_LEN: usize = 96;
/// Of the footer, what [`file_hash`] covers.
const FOOTER_HASHED: usize = 56;

/// The flag of a header that says that length and hash of the data were known beforehand.
pub const ANNOUNCED: u32 = 1;

/// The first eight bytes of a file.
pub const MAGIC: [u8; 8] = *b"RFTSNAP\x01";
/// The first eight bytes of a footer.
pub const FOOTER_MAGIC: [u8; 8] = *b"RFTSEND\x01";

const _: () = assert!(HEADER_FIXED + 4 <= HEADER_UNIT);
const _: () = assert!(HEADER_MAX == 66_048);

/// Length of a header with `conf_len` bytes of conf state.
pub const fn header_len(conf_len: usize) -> usize {
    (HEADER_FIXED + conf_len + 4).next_multiple_of(HEADER_UNIT)
}

/// The header: what the snapshot is and whose.
///
/// ```text
///   0  8  magic "RFTSNAP" 01             40 u64 term            112 u32 conf_len
///   8 u16 version = 1                    48 [16] cluster_id     116 u32 flags
///  10 u16 0                              64 u64 node_id         120 u64 created_ms
///  12 u32 compat      16 u32 incompat    72 u64 data_len        128 conf state
///  20 u32 header_len  24 u32 chunk_len   80 [32] data_hash      ... zeros
///  28 u32 salt        32 u64 index                              last 4: crc (seed 0)
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the data of every chunk but the last.
    pub chunk_len: u32,
    /// Random per file: bytes of another file never validate.
    pub salt: u32,
    /// Last index that the snapshot covers.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The cluster.
    pub cluster_id: u128,
    /// The node that wrote the file.
    pub node_id: u64,
    /// When it was begun, in milliseconds since 1970; information only.
    pub created_ms: u64,
    /// Length and hash of the data, where they were announced before the first byte.
    pub announced: Option<(u64, [u8; 32])>,
    /// The membership at `index`; opaque here.
    pub conf_state: Vec<u8>,
}

/// Why a header or footer was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Damaged, or no such thing at all.
    Bad {
        /// Where, from the beginning of the block.
        offset: usize,
        /// What should have been there.
        expected: String,
        /// What was there.
        found: String,
    },
    /// Of a version that this code does not know.
    Version(u64),
    /// With features that this code does not know.
    Incompat(u64),
}

fn bad(offset: usize, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Fault {
    Fault::Bad { offset, expected: expected.to_string(), found: found.to_string() }
}

fn check_magic(b: &[u8], magic: [u8; 8]) -> Result<(), Fault> {
    if b.starts_with(&magic) {
        return Ok(());
    }
    let found = &b[..magic.len().min(b.len())];
    Err(bad(0, format!("magic {}", hex(&magic)), hex(found)))
}

fn check_crc(seed: u32, block: &[u8]) -> Result<(), Fault> {
    let at = block.len().saturating_sub(4);
    let (computed, stored) = (crc(seed, &block[..at]), get_u32(block, at));
    if computed == stored {
        return Ok(());
    }
    Err(bad(at, format!("checksum {computed:08x} of the bytes before it"), format!("{stored:08x}")))
}

impl Header {
    /// The encoded header; its length is [`header_len`] of the conf state's.
    ///
    /// # Errors
    /// [`Reject::ConfState`] if that is too long.
    pub fn encode(&self) -> Result<Vec<u8>, Reject> {
        let conf_len = self.conf_state.len();
        if conf_len > CONF_STATE_MAX {
            return Err(Reject::ConfState { len: conf_len, max: CONF_STATE_MAX });
        }
        let mut b = vec![0; header_len(conf_len)];
        let len = b.len() as u32;
        put(&mut b, 0, &MAGIC);
        put(&mut b, 8, &VERSION.to_le_bytes());
        put(&mut b, 20, &len.to_le_bytes());
        put(&mut b, 24, &self.chunk_len.to_le_bytes());
        put(&mut b, 28, &self.salt.to_le_bytes());
        put(&mut b, 32, &self.index.to_le_bytes());
        put(&mut b, 40, &self.term.to_le_bytes());
        put(&mut b, 48, &self.cluster_id.to_le_bytes());
        put(&mut b, 64, &self.node_id.to_le_bytes());
        if let Some((data_len, data_hash)) = &self.announced {
            put(&mut b, 72, &data_len.to_le_bytes());
            put(&mut b, 80, data_hash);
            put(&mut b, 116, &ANNOUNCED.to_le_bytes());
        }
        put(&mut b, 112, &(conf_len as u32).to_le_bytes());
        put(&mut b, 120, &self.created_ms.to_le_bytes());
        put(&mut b, HEADER_FIXED, &self.conf_state);
        seal_crc(0, &mut b);
        Ok(b)
    }

    /// The header's length, from the fixed part: bounded, but not yet covered by a checksum.
    ///
    /// # Errors
    /// [`Fault::Bad`] if the magic is wrong or the length impossible.
    pub fn peek_len(fixed: &[u8; HEADER_FIXED]) -> Result<usize, Fault> {
        check_magic(fixed, MAGIC)?;
        let len = get_u32(fixed, 20) as usize;
        if len == 0 || len > HEADER_MAX || !len.is_multiple_of(HEADER_UNIT) {
            return Err(bad(
                20,
                format!(
                    "a header length that is a multiple of {HEADER_UNIT}, at most {HEADER_MAX}"
                ),
                len,
            ));
        }
        Ok(len)
    }

    /// Reads a header. An unknown version is told apart from damage.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn decode(b: &[u8]) -> Result<Self, Fault> {
        let Some(fixed) = b.first_chunk::<HEADER_FIXED>() else {
            return Err(bad(0, "a header", format!("{} bytes", b.len())));
        };
        let len = Self::peek_len(fixed)?;
        if len != b.len() {
            return Err(bad(20, format!("header length {}", b.len()), len));
        }
        check_crc(0, b)?;
        if get_u16(b, 8) != VERSION {
            return Err(Fault::Version(get_u16(b, 8).into()));
        }
        if get_u32(b, 16) != 0 {
            return Err(Fault::Incompat(get_u32(b, 16).into()));
        }
        let flags = get_u32(b, 116);
        if flags & !ANNOUNCED != 0 {
            return Err(bad(116, "flags 0 or 1", flags));
        }
        let (chunk_len, conf_len) = (get_u32(b, 24), get_u32(b, 112) as usize);
        if !(CHUNK_MIN..=CHUNK_MAX).contains(&chunk_len) {
            return Err(bad(24, format!("chunk length {CHUNK_MIN} to {CHUNK_MAX}"), chunk_len));
        }
        if conf_len > CONF_STATE_MAX || header_len(conf_len) != len {
            return Err(bad(112, "a conf state that the header has room for", conf_len));
        }
        Ok(Self {
            chunk_len,
            salt: get_u32(b, 28),
            index: get_u64(b, 32),
            term: get_u64(b, 40),
            cluster_id: u128::from_le_bytes(get(b, 48)),
            node_id: get_u64(b, 64),
            created_ms: get_u64(b, 120),
            announced: (flags & ANNOUNCED != 0).then(|| (get_u64(b, 72), get(b, 80))),
            conf_state: b[HEADER_FIXED..HEADER_FIXED + conf_len].to_vec(),
        })
    }
}

/// The footer: that the file is complete, and its hashes.
///
/// ```text
///  0  8  magic "RFTSEND" 01     16 u64 data_len        56 [32] file_hash
///  8 u32 chunks                 24 [32] data_hash      88 u32 0
/// 12 u32 0                                             92 u32 crc (seed: ~salt)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// How many chunks there are.
    pub chunks: u32,
    /// Length of the data, the chunks' frames not counted.
    pub data_len: u64,
    /// SHA-256 of the data.
    pub data_hash: [u8; 32],
    /// SHA-256 of the header and of the footer's fields in front of this one.
    pub file_hash: [u8; 32],
}

impl Footer {
    /// The footer of a file with this encoded header and data.
    pub fn new(header: &[u8], chunks: u32, data_len: u64, data_hash: [u8; 32]) -> Self {
        let mut footer = Self { chunks, data_len, data_hash, file_hash: [0; 32] };
        footer.file_hash = file_hash(header, &footer.encode(0));
        footer
    }

    /// The 96 bytes, for a file with this salt.
    pub fn encode(&self, salt: u32) -> [u8; FOOTER_LEN] {
        let mut b = [0; FOOTER_LEN];
        put(&mut b, 0, &FOOTER_MAGIC);
        put(&mut b, 8, &self.chunks.to_le_bytes());
        put(&mut b, 16, &self.data_len.to_le_bytes());
        put(&mut b, 24, &self.data_hash);
        put(&mut b, FOOTER_HASHED, &self.file_hash);
        seal_crc(!salt, &mut b);
        b
    }

    /// Reads the footer of the file with this encoded header and salt.
    ///
    /// # Errors
    /// [`Fault::Bad`].
    pub fn decode(b: &[u8; FOOTER_LEN], header: &[u8], salt: u32) -> Result<Self, Fault> {
        check_magic(b, FOOTER_MAGIC)?;
        check_crc(!salt, b)?;
        let (found, computed) = (get::<32>(b, FOOTER_HASHED), file_hash(header, b));
        if found != computed {
            let [found, computed] = [found, computed].map(|h| hex(&h));
            return Err(bad(FOOTER_HASHED, format!("file hash {computed}"), found));
        }
        Ok(Self {
            chunks: get_u32(b, 8),
            data_len: get_u64(b, 16),
            data_hash: get(b, 24),
            file_hash: found,
        })
    }
}

/// What the footer's `file_hash` is: with the data's hash in it, it names the whole file.
fn file_hash(header: &[u8], footer: &[u8; FOOTER_LEN]) -> [u8; 32] {
    Sha256::new().chain_update(header).chain_update(&footer[..FOOTER_HASHED]).finalize().into()
}

/// The seed of a chunk's checksum. For fixed bytes two seeds never give the same one.
pub const fn chunk_seed(salt: u32, chunk: u32) -> u32 {
    salt ^ chunk
}

/// The checksum at the end of chunk number `chunk`.
pub fn chunk_crc(salt: u32, chunk: u32, data: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(chunk_seed(salt, chunk));
    crc.update(&(data.len() as u32).to_le_bytes());
    crc.update(data);
    crc.finalize()
}

/// Where everything stands in a file of a given size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Length of the header.
    pub header_len: u32,
    /// Length of the data of every chunk but the last.
    pub chunk_len: u32,
    /// Length of the data.
    pub data_len: u64,
    /// How many chunks.
    pub chunks: u32,
}

impl Layout {
    /// `None` if there would be too many chunks, or `chunk_len` is out of bounds.
    pub fn new(header_len: usize, chunk_len: u32, data_len: u64) -> Option<Self> {
        if !(CHUNK_MIN..=CHUNK_MAX).contains(&chunk_len) || header_len > HEADER_MAX {
            return None;
        }
        let chunks = u32::try_from(data_len.div_ceil(chunk_len.into())).ok()?;
        let header_len = header_len as u32;
        (chunks <= CHUNKS_MAX).then_some(Self { header_len, chunk_len, data_len, chunks })
    }

    /// Offset of a chunk, or behind the last of the footer. At most 2^57: no sum overflows.
    pub fn offset(&self, chunk: u32) -> u64 {
        let data = (u64::from(chunk) * u64::from(self.chunk_len)).min(self.data_len);
        u64::from(self.header_len) + data + u64::from(chunk.min(self.chunks)) * CHUNK_OVERHEAD
    }

    /// Length of a chunk's data; 0 behind the last.
    pub fn data_of(&self, chunk: u32) -> usize {
        let at = u64::from(chunk) * u64::from(self.chunk_len);
        self.data_len.saturating_sub(at).min(self.chunk_len.into()) as usize
    }

    /// Length of the whole file.
    pub fn file_len(&self) -> u64 {
        self.offset(self.chunks) + FOOTER_LEN as u64
    }
}

fn crc(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// Puts the checksum of everything before them into the last four bytes.
fn seal_crc(seed: u32, bytes: &mut [u8]) {
    let at = bytes.len() - 4;
    let sum = crc(seed, &bytes[..at]);
    put(bytes, at, &sum.to_le_bytes());
}

/// Fixed-offset fields of a block whose size was checked. Out of range is a bug here, not a matter
/// of input.
fn get<const N: usize>(b: &[u8], at: usize) -> [u8; N] {
    b[at..at + N].try_into().expect("a slice of N bytes is an array of N bytes")
}

fn get_u16(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(get(b, at))
}

fn get_u32(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(get(b, at))
}

fn get_u64(b: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(get(b, at))
}

fn put(b: &mut [u8], at: usize, v: &[u8]) {
    b[at..at + v.len()].copy_from_slice(v);
}
