//! The plainest encoder of frames, to hold against what the scanner read.

use raft_wal::Entry;
use raft_wal::format::{Base, Control, FrameHeader};

use super::{HEADER, control_seed, entry_seed, frame_seed, put, seal};

/// The bytes of a frame at `offset` of a segment with this salt. Lengths and checksums are
/// computed, the rest of the header is taken as it is.
pub(crate) fn frame(
    salt: u32,
    offset: usize,
    header: &FrameHeader,
    controls: &[Control],
    entries: &[Entry],
    padding: usize,
) -> Vec<u8> {
    let mut out = vec![0; HEADER];
    let mut crcs = Vec::new();
    for (n, control) in controls.iter().enumerate() {
        let seed = control_seed(salt, n);
        record(&mut out, &mut crcs, seed, 0, kind(control), &data(control));
    }
    for e in entries {
        record(&mut out, &mut crcs, entry_seed(salt, e.index), e.term, e.kind as u8, &e.data);
    }
    out.resize(out.len() + padding, 0);
    let body_len = (out.len() - HEADER) as u32;
    put(&mut out, 0, &body_len.to_le_bytes());
    put(&mut out, 4, &(entries.len() as u32).to_le_bytes());
    put(&mut out, 8, &header.batch_seq.to_le_bytes());
    put(&mut out, 16, &header.durable_to.to_le_bytes());
    put(&mut out, 24, &header.first_index.to_le_bytes());
    put(&mut out, 32, &header.chain.to_le_bytes());
    put(&mut out, 36, &super::crc(frame_seed(salt, offset), &crcs).to_le_bytes());
    put(&mut out, 40, &header.flags.to_le_bytes());
    seal(frame_seed(salt, offset), &mut out[..HEADER]);
    out
}

fn record(out: &mut Vec<u8>, crcs: &mut Vec<u8>, seed: u32, term: u64, kind: u8, data: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&term.to_le_bytes());
    out.extend_from_slice(&((data.len() as u32) << 4 | u32::from(kind)).to_le_bytes());
    out.extend_from_slice(data);
    out.resize(start + (16 + data.len()).next_multiple_of(8), 0);
    let c = seal(seed, &mut out[start..]);
    crcs.extend_from_slice(&c.to_le_bytes());
}

fn kind(control: &Control) -> u8 {
    match control {
        Control::State(_) => 6,
        Control::Snap(_) => 7,
        Control::Base(_) => 8,
        Control::Truncate(_) => 9,
        Control::Reset(_) => 10,
        Control::Compact { .. } => 11,
        Control::Metadata(_) => 12,
        Control::Blob { .. } => 13,
        Control::Seal { .. } => 14,
    }
}

/// The data of a control record.
pub(crate) fn data(control: &Control) -> Vec<u8> {
    let mut out = Vec::new();
    let mut words =
        |words: &[u64]| words.iter().for_each(|w| out.extend_from_slice(&w.to_le_bytes()));
    match control {
        Control::State(s) => words(&[s.term, s.vote, s.commit]),
        Control::Truncate(from) => words(&[*from]),
        Control::Reset(r) => {
            words(&[r.first_index, r.base_term.unwrap_or(0)]);
            out.push(r.base_term.is_some().into());
        }
        Control::Compact { first_index, base_term, floor_seq } => {
            words(&[*first_index, base_term.unwrap_or(0)]);
            out.push(base_term.is_some().into());
            out.extend_from_slice(&floor_seq.to_le_bytes());
        }
        Control::Snap(s) => {
            words(&[s.index, s.term, s.file_len]);
            out.extend_from_slice(&s.file_hash);
            out.extend_from_slice(&(s.conf_state.len() as u32).to_le_bytes());
            out.extend_from_slice(&s.conf_state);
        }
        Control::Metadata(m) => out.extend_from_slice(m),
        Control::Blob { key, value } => {
            out.push(key.len() as u8);
            out.extend_from_slice(key);
            out.extend_from_slice(value);
        }
        Control::Seal { next_segment, next_salt } => {
            words(&[*next_segment]);
            out.extend_from_slice(&next_salt.to_le_bytes());
        }
        Control::Base(b) => base(b, &mut out),
    }
    out
}

fn base(b: &Base, out: &mut Vec<u8>) {
    out.extend_from_slice(&b.prev_segment.to_le_bytes());
    out.extend_from_slice(&b.prev_salt.to_le_bytes());
    out.extend_from_slice(&b.prev_chain.to_le_bytes());
    let words = [
        b.prev_batch_seq,
        b.prev_end,
        b.first_index,
        b.base_term.unwrap_or(0),
        b.next_index,
        b.last_term,
        b.floor_seq,
        b.era,
        b.nonce,
        b.carried,
        b.disc_segment,
        b.disc_from,
        b.disc_len,
    ];
    out.extend(words.iter().flat_map(|w| w.to_le_bytes()));
    out.extend_from_slice(&b.disc_crc.to_le_bytes());
    out.push(b.reason as u8);
    out.push(b.base_term.is_some().into());
    out.resize(136, 0);
}
