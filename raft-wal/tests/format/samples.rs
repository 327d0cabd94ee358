//! Blocks and control records as the code encodes them, with values that cannot be mistaken for
//! each other.

use bytes::Bytes;
use raft_wal::format::{
    self, Base, BaseReason, Control, FrameHeader, HeadSlot, IdentPage, IndexHead, Mark,
    SegmentHeader, flags,
};
use raft_wal::{HardState, Reset, SnapshotMark};

/// The fields of a block by name.
pub(crate) type Values = Vec<(&'static str, Value)>;

/// What decoding a block gives, shown; `None` if it is refused.
pub(crate) type Decode = Box<dyn Fn(&[u8]) -> Option<String>>;

/// What a field of an encoded block must be.
pub(crate) enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Self::Number(n)
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(b: [u8; N]) -> Self {
        Self::Bytes(b.to_vec())
    }
}

/// A block as the code encodes it, what its fields are, and how the code reads it.
pub(crate) struct Sample {
    pub(crate) table: &'static str,
    pub(crate) block: Vec<u8>,
    pub(crate) seed: u32,
    pub(crate) values: Values,
    pub(crate) decode: Decode,
}

fn array<const N: usize>(block: &[u8]) -> [u8; N] {
    block.try_into().expect("a block of its own size")
}

/// Numbers of which every byte differs from every other, so that no field passes for another.
pub(crate) fn distinct(n: u64) -> u64 {
    u64::from_le_bytes([1, 2, 3, 4, 5, 6, 7, 8].map(|k| (n * 8) as u8 | k))
}

pub(crate) const SALT: u32 = 0xa1b2_c3d4;
const UUID: [u8; 16] = *b"0123456789abcdef";

fn header() -> SegmentHeader {
    SegmentHeader {
        salt: SALT,
        wal_uuid: UUID,
        seq: distinct(1),
        capacity: 0x1_0203_0000,
        created_ms: distinct(2),
        align: 512,
        era: distinct(3),
        era_nonce: distinct(4),
        reused: true,
    }
}

fn header_values() -> Values {
    vec![
        ("magic", SegmentHeader::MAGIC.into()),
        ("version", u64::from(format::VERSION).into()),
        ("compat", 1.into()),
        ("incompat", 0.into()),
        ("salt", u64::from(SALT).into()),
        ("wal_uuid", UUID.into()),
        ("seq", distinct(1).into()),
        ("capacity", 0x1_0203_0000.into()),
        ("created_ms", distinct(2).into()),
        ("align", 512.into()),
        ("era", distinct(3).into()),
        ("era_nonce", distinct(4).into()),
    ]
}

fn header_sample() -> Sample {
    Sample {
        table: "segment_header",
        block: header().encode().to_vec(),
        seed: 0,
        values: header_values(),
        decode: Box::new(|b| SegmentHeader::decode(&array(b)).ok().map(|h| format!("{h:?}"))),
    }
}

fn mark_sample(page: u32) -> Sample {
    let mark = Mark {
        header: header(),
        mark_no: distinct(1),
        durable_to: distinct(2),
        batch_seq: distinct(3),
        chain: 0x0102_0304,
        clean: true,
        state_off: distinct(4),
        term: distinct(5),
        vote: distinct(6),
    };
    Sample {
        table: "mark",
        block: mark.encode(page).to_vec(),
        seed: SALT ^ page,
        values: vec![
            ("header", header().encode().into()),
            ("mark_no", distinct(1).into()),
            ("durable_to", distinct(2).into()),
            ("batch_seq", distinct(3).into()),
            ("chain", 0x0102_0304.into()),
            ("flags", 1.into()),
            ("state_off", distinct(4).into()),
            ("term", distinct(5).into()),
            ("vote", distinct(6).into()),
        ],
        decode: Box::new(move |b| Mark::decode(&array(b), page).map(|m| format!("{m:?}"))),
    }
}

fn identity_sample() -> Sample {
    let page = IdentPage {
        wal_uuid: UUID,
        cluster_id: distinct(1),
        node_id: distinct(2),
        created_ms: distinct(3),
    };
    Sample {
        table: "identity",
        block: page.encode().to_vec(),
        seed: 0,
        values: vec![
            ("magic", IdentPage::MAGIC.into()),
            ("version", u64::from(format::VERSION).into()),
            ("compat", 0.into()),
            ("incompat", 0.into()),
            ("wal_uuid", UUID.into()),
            ("cluster_id", distinct(1).into()),
            ("node_id", distinct(2).into()),
            ("created_ms", distinct(3).into()),
        ],
        decode: Box::new(|b| IdentPage::decode(&array(b)).ok().map(|p| format!("{p:?}"))),
    }
}

fn head_sample(page: u32) -> Sample {
    let slot = HeadSlot {
        slot_no: distinct(1),
        start_seq: distinct(2),
        live_seq: distinct(3),
        proven_seq: distinct(4),
        era: distinct(5),
        nonce: distinct(6),
        uuid_half: *b"01234567",
    };
    Sample {
        table: "head_slot",
        block: slot.encode(page).to_vec(),
        seed: page,
        values: vec![
            ("slot_no", distinct(1).into()),
            ("start_seq", distinct(2).into()),
            ("live_seq", distinct(3).into()),
            ("proven_seq", distinct(4).into()),
            ("era", distinct(5).into()),
            ("nonce", distinct(6).into()),
            ("uuid_half", (*b"01234567").into()),
        ],
        decode: Box::new(move |b| HeadSlot::decode(&array(b), page).map(|s| format!("{s:?}"))),
    }
}

fn frame_sample() -> Sample {
    let offset = 0x1_2345_6788;
    let frame = FrameHeader {
        body_len: 0x0102_0308,
        n_entries: 0x0001_0203,
        batch_seq: distinct(1),
        durable_to: 0x1_0304_0506,
        first_index: distinct(2),
        chain: 0x1112_1314,
        body_crc: 0x2122_2324,
        flags: flags::TRUNC | flags::SEG_START,
        codec: 0x31,
        stream: 0x32,
        header_crc: 0,
    };
    Sample {
        table: "frame_header",
        block: frame.encode(SALT, offset).to_vec(),
        seed: SALT ^ (offset / 8) as u32,
        values: vec![
            ("body_len", 0x0102_0308.into()),
            ("n_entries", 0x0001_0203.into()),
            ("batch_seq", distinct(1).into()),
            ("durable_to", 0x1_0304_0506.into()),
            ("first_index", distinct(2).into()),
            ("chain", 0x1112_1314.into()),
            ("body_crc", 0x2122_2324.into()),
            ("flags", 3.into()),
            ("codec", 0x31.into()),
            ("stream", 0x32.into()),
        ],
        decode: Box::new(move |b| {
            FrameHeader::decode(&array(b), SALT, offset)
                .map(|h| format!("{:?}", FrameHeader { header_crc: 0, ..h }))
        }),
    }
}

fn index_sample() -> Sample {
    let head = IndexHead {
        wal_uuid: UUID,
        seq: distinct(1),
        salt: SALT,
        cut_batch_seq: distinct(2),
        cut_chain: 0x0102_0304,
        cut_end: distinct(3),
        first: distinct(4),
        n: distinct(5),
        low: distinct(6),
        runs: 0x1112_1314,
        had_reset: true,
        tables_crc: 0x2122_2324,
    };
    Sample {
        table: "index_head",
        block: head.encode().to_vec(),
        seed: 0,
        values: vec![
            ("magic", IndexHead::MAGIC.into()),
            ("version", u64::from(format::VERSION).into()),
            ("salt", u64::from(SALT).into()),
            ("wal_uuid", UUID.into()),
            ("seq", distinct(1).into()),
            ("cut_chain", 0x0102_0304.into()),
            ("flags", 1.into()),
            ("cut_batch_seq", distinct(2).into()),
            ("cut_end", distinct(3).into()),
            ("first", distinct(4).into()),
            ("n", distinct(5).into()),
            ("low", distinct(6).into()),
            ("runs", 0x1112_1314.into()),
            ("tables_crc", 0x2122_2324.into()),
        ],
        decode: Box::new(|b| IndexHead::decode(&array(b)).map(|h| format!("{h:?}"))),
    }
}

/// One of each block, and of those that know their page one for each page.
pub(crate) fn samples() -> Vec<Sample> {
    vec![
        header_sample(),
        mark_sample(1),
        mark_sample(2),
        identity_sample(),
        head_sample(2),
        head_sample(3),
        frame_sample(),
        index_sample(),
    ]
}

/// A control record of each kind, and its fields.
pub(crate) fn control_samples() -> Vec<(&'static str, Control, Values)> {
    let base = Base {
        prev_segment: distinct(1),
        prev_salt: 0x0102_0304,
        prev_chain: 0x1112_1314,
        prev_batch_seq: distinct(2),
        prev_end: distinct(3),
        first_index: distinct(4),
        base_term: Some(distinct(5)),
        next_index: distinct(6),
        last_term: distinct(7),
        floor_seq: distinct(8),
        era: distinct(9),
        nonce: distinct(10),
        carried: distinct(11),
        disc_segment: distinct(12),
        disc_from: distinct(13),
        disc_len: distinct(14),
        disc_crc: 0x2122_2324,
        reason: BaseReason::Refill,
    };
    let base_values = vec![
        ("prev_segment", distinct(1).into()),
        ("prev_salt", 0x0102_0304.into()),
        ("prev_chain", 0x1112_1314.into()),
        ("prev_batch_seq", distinct(2).into()),
        ("prev_end", distinct(3).into()),
        ("first_index", distinct(4).into()),
        ("base_term", distinct(5).into()),
        ("next_index", distinct(6).into()),
        ("last_term", distinct(7).into()),
        ("floor_seq", distinct(8).into()),
        ("era", distinct(9).into()),
        ("nonce", distinct(10).into()),
        ("carried", distinct(11).into()),
        ("disc_segment", distinct(12).into()),
        ("disc_from", distinct(13).into()),
        ("disc_len", distinct(14).into()),
        ("disc_crc", 0x2122_2324.into()),
        ("reason", 3.into()),
        ("has_base", 1.into()),
    ];
    let snap = SnapshotMark {
        index: distinct(1),
        term: distinct(2),
        file_len: distinct(3),
        file_hash: *b"a hash of thirty-two bytes here.",
        conf_state: Bytes::from_static(b"conf"),
    };
    let snap_values = vec![
        ("index", distinct(1).into()),
        ("term", distinct(2).into()),
        ("file_len", distinct(3).into()),
        ("file_hash", (*b"a hash of thirty-two bytes here.").into()),
        ("conf_len", 4.into()),
        ("conf_state", (*b"conf").into()),
    ];
    let blob =
        Control::Blob { key: Bytes::from_static(b"key"), value: Bytes::from_static(b"value") };
    let blob_values =
        vec![("key_len", 3.into()), ("key", (*b"key").into()), ("value", (*b"value").into())];
    let compact = Control::Compact {
        first_index: distinct(1),
        base_term: Some(distinct(2)),
        floor_seq: distinct(3),
    };
    let compact_values = vec![
        ("first_index", distinct(1).into()),
        ("base_term", distinct(2).into()),
        ("has_base", 1.into()),
        ("floor_seq", distinct(3).into()),
    ];
    let reset = Reset { first_index: distinct(1), base_term: Some(distinct(2)) };
    let reset_values = vec![
        ("first_index", distinct(1).into()),
        ("base_term", distinct(2).into()),
        ("has_base", 1.into()),
    ];
    let state = HardState { term: distinct(1), vote: distinct(2), commit: distinct(3) };
    let state_values = vec![
        ("term", distinct(1).into()),
        ("vote", distinct(2).into()),
        ("commit", distinct(3).into()),
    ];
    let seal = Control::Seal { next_segment: distinct(1), next_salt: 0x0102_0304 };
    let seal_values = vec![("next_segment", distinct(1).into()), ("next_salt", 0x0102_0304.into())];
    let metadata = Control::Metadata(Bytes::from_static(b"any bytes"));
    vec![
        ("Base", Control::Base(Box::new(base)), base_values),
        ("Snap", Control::Snap(snap), snap_values),
        ("Blob", blob, blob_values),
        ("Compact", compact, compact_values),
        ("Reset", Control::Reset(reset), reset_values),
        ("Truncate", Control::Truncate(distinct(1)), vec![("from", distinct(1).into())]),
        ("State", Control::State(state), state_values),
        ("Seal", seal, seal_values),
        ("Metadata", metadata, vec![("data", (*b"any bytes").into())]),
    ]
}
