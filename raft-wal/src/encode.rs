//! Turns a batch into one frame.

use bytes::{Bytes, BytesMut};

use crate::format::{
    Control, FRAME_HEADER_LEN, FrameHeader, RecordKind, Run, body_crc_start, encode_control,
    encode_record, entry_seed, record_len,
};
use crate::types::Entry;

/// What memory is taken at once for encoding; frames are cut out of it without copying.
const CHUNK: usize = 1 << 20;

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

/// A frame, ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) bytes: Bytes,
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

/// Encodes frames into memory that is reused.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    buf: BytesMut,
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
        if self.buf.capacity() < len {
            self.buf = BytesMut::with_capacity(len.max(CHUNK));
        }
        debug_assert!(self.buf.is_empty(), "the last frame was cut off");
        self.buf.resize(FrameHeader::LEN, 0);
        let mut crcs = crc32fast::Hasher::new_with_initial(body_crc_start(at.salt, at.offset));
        for (ordinal, (_, c)) in controls.iter().enumerate() {
            let crc = encode_control(&mut self.buf, at.salt, ordinal as u32, c);
            crcs.update(&crc.to_le_bytes());
        }
        let mut offsets = Vec::with_capacity(entries.len());
        for e in entries {
            offsets.push(((at.offset + self.buf.len() as u64) / 8) as u32);
            let seed = entry_seed(at.salt, e.index);
            let kind = RecordKind::Entry(e.kind);
            let crc = encode_record(&mut self.buf, seed, e.term, kind, &e.data);
            crcs.update(&crc.to_le_bytes());
        }
        debug_assert_eq!(self.buf.len(), len);
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
        Encoded { bytes: self.buf.split().freeze(), header_crc, offsets, runs }
    }
}
