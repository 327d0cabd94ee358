//! Where frames and records stand in a segment, as far as their lengths say so.

use std::ops::Range;

use super::{FIRST_FRAME, HEADER, OVERHEAD, u16_at, u32_at};

/// Flag of a frame of padding.
pub(crate) const PAD: u16 = 16;

/// A record, right or wrong.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Its bytes.
    pub(crate) span: Range<usize>,
    /// Bytes of data.
    pub(crate) len: usize,
    /// The number of its kind.
    pub(crate) kind: u8,
}

impl Record {
    pub(crate) fn is_entry(&self) -> bool {
        self.kind < 6
    }

    /// Its data.
    pub(crate) fn data(&self) -> Range<usize> {
        self.span.start + 12..self.span.start + 12 + self.len
    }
}

/// A frame, right or wrong.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Its bytes.
    pub(crate) span: Range<usize>,
    /// Its records; none in padding.
    pub(crate) records: Vec<Record>,
}

/// The frames of a segment, up to zeros or to one that does not fit.
pub(crate) fn frames(segment: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut at = FIRST_FRAME;
    while segment.len().saturating_sub(at) >= HEADER {
        let body = u32_at(segment, at) as usize & !7;
        if segment[at..at + HEADER].iter().all(|&b| b == 0) || segment.len() - at - HEADER < body {
            break;
        }
        let span = at..at + HEADER + body;
        let pads = u16_at(segment, at + 40) & PAD != 0;
        let records = if pads { Vec::new() } else { records(segment, at + HEADER..span.end) };
        at = span.end;
        frames.push(Frame { span, records });
    }
    frames
}

/// The records of a body, up to one that does not fit.
fn records(segment: &[u8], body: Range<usize>) -> Vec<Record> {
    let mut records = Vec::new();
    let mut at = body.start;
    while body.end - at >= OVERHEAD {
        let word = u32_at(segment, at + 8);
        let (len, kind) = ((word >> 4) as usize, (word & 15) as u8);
        let size = (OVERHEAD + len).next_multiple_of(8);
        if size > body.end - at {
            break;
        }
        records.push(Record { span: at..at + size, len, kind });
        at += size;
    }
    records
}
