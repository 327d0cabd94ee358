//! The newest frames, kept in memory so that followers which keep up are served without a read.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::encode::Pieces;
use crate::format::{RecordHead, RecordKind, entry_seed, get, is_around};
use crate::segment::entry_in;
use crate::types::Entry;

/// The pieces of the current segment's frames by file offset, oldest dropped first.
///
/// Invariant: pieces are adjacent and ascending; a piece that is not written to the file yet is
/// never dropped.
#[derive(Debug, Default)]
pub(crate) struct TailCache {
    pieces: VecDeque<(u64, Bytes)>,
    bytes: u64,
    limit: u64,
}

impl TailCache {
    /// A cache of about `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Adds the newest frame.
    pub(crate) fn push(&mut self, mut offset: u64, frame: &Pieces) {
        for piece in frame.iter() {
            self.pieces.push_back((offset, piece.clone()));
            offset += piece.len() as u64;
            self.bytes += piece.len() as u64;
        }
    }

    /// Drops the oldest pieces beyond the limit, of those that end at or below `written`.
    pub(crate) fn trim(&mut self, written: u64) {
        while self.bytes > self.limit
            && let Some((at, piece)) = self.pieces.front()
            && at + piece.len() as u64 <= written
        {
            self.bytes -= piece.len() as u64;
            self.pieces.pop_front();
        }
    }

    /// Everything goes: the segment is closed.
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.bytes = 0;
    }

    /// Entry `index`, whose record begins at `offset` under this salt. `None` if it is not here.
    pub(crate) fn entry(&self, salt: u32, index: u64, offset: u64) -> Option<Entry> {
        let at = self.pieces.partition_point(|(at, _)| *at <= offset).checked_sub(1)?;
        let (start, piece) = self.pieces.get(at)?;
        let from = usize::try_from(offset - start).ok()?;
        let raw = piece.get(from..)?;
        if raw.len() != RecordHead::LEN {
            return entry_in(piece, salt, index, from);
        }
        // The payload is a piece of its own; the next begins with the rest of the record.
        let head = RecordHead::parse(&get(raw, 0));
        let RecordKind::Entry(kind) = head.kind else { return None };
        let (_, data) = self.pieces.get(at + 1).filter(|(_, d)| d.len() == head.len as usize)?;
        let (_, next) = self.pieces.get(at + 2)?;
        let rest = next.get(..head.record_len() as usize - RecordHead::LEN - data.len())?;
        let entry = Entry { index, term: head.term, kind, data: data.clone() };
        is_around(entry_seed(salt, index), raw, data, rest).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{At, Encoder, SHARED_MIN};
    use crate::types::EntryKind;

    const AT: At = At {
        salt: 7,
        offset: 16 << 10,
        batch_seq: 1,
        chain: 0,
        durable_to: 0,
        flags: 0,
        first_index: 1,
    };

    /// Payloads on both sides of the size from which they are shared.
    fn entries() -> Vec<Entry> {
        let sizes = [1, SHARED_MIN, SHARED_MIN - 1, SHARED_MIN + 1, SHARED_MIN + 5, 3, 9000];
        let of = |(i, &len): (usize, &usize)| Entry {
            index: 1 + i as u64,
            term: 3,
            kind: EntryKind::Normal,
            data: (0..len).map(|b| (b * 31 + i) as u8).collect(),
        };
        sizes.iter().enumerate().map(of).collect()
    }

    #[test]
    fn pieces_hold_the_bytes_of_records_that_can_be_read_back() {
        let entries = entries();
        let frame = Encoder::default().frame(AT, &[], &entries);
        let bytes: Bytes = frame.pieces.iter().flatten().copied().collect();
        assert_eq!(bytes.len() as u64, frame.pieces.len());
        for (e, at) in entries.iter().zip(&frame.offsets) {
            let at = u64::from(*at) * 8 - AT.offset;
            assert_eq!(entry_in(&bytes, AT.salt, e.index, at as usize).as_ref(), Some(e));
        }
    }

    #[test]
    fn entries_are_served_with_the_memory_they_came_in_or_not_at_all() {
        let entries = entries();
        let frame = Encoder::default().frame(AT, &[], &entries);
        let end = AT.offset + frame.pieces.len();
        let mut served = 0;
        for limit in 0..=frame.pieces.len() {
            let mut cache = TailCache::new(limit);
            cache.push(AT.offset, &frame.pieces);
            cache.trim(AT.offset);
            assert_eq!(cache.bytes, frame.pieces.len(), "nothing is written yet");
            cache.trim(end);
            assert!(cache.bytes <= limit);
            for (e, at) in entries.iter().zip(&frame.offsets) {
                let Some(got) = cache.entry(AT.salt, e.index, u64::from(*at) * 8) else { continue };
                assert_eq!(&got, e);
                assert_eq!(
                    got.data.as_ptr() == e.data.as_ptr(),
                    e.data.len() >= SHARED_MIN,
                    "large payloads are shared, small ones copied"
                );
                served += 1;
            }
            assert!(cache.entry(AT.salt, 1, end).is_none());
        }
        println!("{served} entries served");
        assert!(served > 0);
    }
}
