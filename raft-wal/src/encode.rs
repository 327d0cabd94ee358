//! Turns a batch into one frame.

use bytes::{Bytes, BytesMut};

use crate::format::{
    Control, FRAME_HEADER_LEN, FrameHeader, RecordHead, RecordKind, Run, body_crc_start,
    encode_around, encode_control, encode_record, entry_seed, record_len,
};
use crate::types::Entry;

/// What memory is taken at once for encoding; frames are cut out of it without copying.
const CHUNK: usize = 1 << 20;
/// Payloads from this size on are not copied into the frame but shared.
pub(crate) const SHARED_MIN: usize = 4096;

/// Place and sequence of the frame to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) salt: u32,
    pub(crate) offset: u64,
    pub(crate) batch_seq: u64,
    pub(crate) chain: u32,
    pub(crate) durable_to: u64,
    pub(crate) flags: u16,
    pub(crate) first_index: u64,
}

/// The bytes of a frame, in order. Most are one piece; large payloads are pieces of their own, the
/// memory that the caller handed in.
#[derive(Clone, Debug)]
pub(crate) struct Pieces {
    first: Bytes,
    rest: Vec<Bytes>,
}

impl Pieces {
    /// Cuts `bytes` where each of the payloads belongs.
    fn new(mut bytes: Bytes, shared: Vec<(usize, Bytes)>) -> Self {
        let mut rest = Vec::with_capacity(2 * shared.len());
        for (at, payload) in shared.into_iter().rev() {
            rest.push(bytes.split_off(at));
            rest.push(payload);
        }
        rest.reverse();
        Self { first: bytes, rest }
    }

    /// One after another.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// Bytes in all.
    pub(crate) fn len(&self) -> u64 {
        self.iter().map(|piece| piece.len() as u64).sum()
    }
}

/// A frame, ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) pieces: Pieces,
    pub(crate) header_crc: u32,
    /// Where the entries' records will be in the file, in units of 8 bytes.
    pub(crate) offsets: Vec<u32>,
    pub(crate) runs: Vec<Run>,
}

/// Size of the frame that these records make.
pub(crate) fn frame_len(controls: &[(u64, Control)], entries: &[Entry]) -> u64 {
    let controls: u64 = controls.iter().map(|(_, c)| record_len(c.data_len())).sum();
    let entries: u64 = entries.iter().map(|e| record_len(e.data.len() as u64)).sum();
    FRAME_HEADER_LEN + controls + entries
}

/// Terms of entries, in runs.
pub(crate) fn runs_of(entries: &[Entry]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for e in entries {
        if runs.last().is_none_or(|r| r.term != e.term) {
            runs.push(Run { index: e.index, term: e.term });
        }
    }
    runs
}

/// Encodes frames into memory that is taken in chunks.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    buf: BytesMut,
    /// Payloads of the frame at hand that are not in `buf`, and where in it each belongs.
    shared: Vec<(usize, Bytes)>,
}

impl Encoder {
    /// One frame. The caller has bounded its size.
    pub(crate) fn frame(
        &mut self,
        at: At,
        controls: &[(u64, Control)],
        entries: &[Entry],
    ) -> Encoded {
        let len = frame_len(controls, entries) as usize;
        let is_shared = |e: &&Entry| e.data.len() >= SHARED_MIN;
        let shared_len: usize = entries.iter().filter(is_shared).map(|e| e.data.len()).sum();
        if self.buf.capacity() < len - shared_len {
            self.buf = BytesMut::with_capacity((len - shared_len).max(CHUNK));
        }
        debug_assert!(self.buf.is_empty(), "the last frame was cut off");
        self.buf.resize(FrameHeader::LEN, 0);
        let mut crcs = crc32fast::Hasher::new_with_initial(body_crc_start(at.salt, at.offset));
        for (ordinal, (_, c)) in controls.iter().enumerate() {
            let crc = encode_control(&mut self.buf, at.salt, ordinal as u32, c);
            crcs.update(&crc.to_le_bytes());
        }
        let mut offsets = Vec::with_capacity(entries.len());
        let mut before = 0;
        for e in entries {
            offsets.push(((at.offset + (self.buf.len() + before) as u64) / 8) as u32);
            let seed = entry_seed(at.salt, e.index);
            let kind = RecordKind::Entry(e.kind);
            let crc = if is_shared(&e) {
                self.shared.push((self.buf.len() + RecordHead::LEN, e.data.clone()));
                before += e.data.len();
                encode_around(&mut self.buf, seed, e.term, kind, &e.data)
            } else {
                encode_record(&mut self.buf, seed, e.term, kind, &e.data)
            };
            crcs.update(&crc.to_le_bytes());
        }
        debug_assert_eq!(self.buf.len() + before, len);
        let body_len = (len - FrameHeader::LEN) as u32;
        self.finish(at, body_len, entries.len() as u32, crcs.finalize(), offsets, runs_of(entries))
    }

    /// A frame of zeros that fills up to a boundary.
    pub(crate) fn padding(&mut self, at: At, body_len: u32) -> Encoded {
        self.buf.clear();
        self.buf.resize(FrameHeader::LEN + body_len as usize, 0);
        let crc =
            crc32fast::Hasher::new_with_initial(body_crc_start(at.salt, at.offset)).finalize();
        self.finish(at, body_len, 0, crc, Vec::new(), Vec::new())
    }

    fn finish(
        &mut self,
        at: At,
        body_len: u32,
        n_entries: u32,
        body_crc: u32,
        offsets: Vec<u32>,
        runs: Vec<Run>,
    ) -> Encoded {
        let header = FrameHeader {
            body_len,
            n_entries,
            batch_seq: at.batch_seq,
            durable_to: at.durable_to,
            first_index: at.first_index,
            chain: at.chain,
            body_crc,
            flags: at.flags,
            codec: 0,
            stream: 0,
            header_crc: 0,
        };
        let raw = header.encode(at.salt, at.offset);
        self.buf[..FrameHeader::LEN].copy_from_slice(&raw);
        let header_crc = FrameHeader::parse(&raw).header_crc;
        let pieces = Pieces::new(self.buf.split().freeze(), std::mem::take(&mut self.shared));
        Encoded { pieces, header_crc, offsets, runs }
    }
}
