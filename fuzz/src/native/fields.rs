//! Where the fields of a log's files stand: what a mutation aims at.

use super::walk::{Frame, frames};
use super::{FIRST_FRAME, PAGE};

/// A field: offset and width in bytes.
pub(crate) type Field = (usize, usize);

/// Places and widths from `at` on, one field after another.
fn row(at: usize, widths: &[usize], out: &mut Vec<Field>) {
    let mut at = at;
    for &width in widths {
        out.push((at, width));
        at += width;
    }
}

const SEGMENT_HEADER: [usize; 13] = [8, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8, 8];
const MARK: [usize; 8] = [8, 8, 8, 4, 4, 8, 8, 8];
const IDENTITY: [usize; 10] = [8, 2, 2, 4, 4, 4, 8, 8, 8, 8];
const SLOT: [usize; 7] = [8, 8, 8, 8, 8, 8, 8];
const INDEX: [usize; 15] = [8, 2, 2, 4, 8, 8, 8, 8, 4, 4, 8, 8, 8, 8, 8];
const FRAME: [usize; 10] = [4, 4, 8, 8, 8, 4, 4, 2, 1, 1];
const BASE: [usize; 18] = [8, 4, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 4, 1];

/// The fields of a segment's pages, but not of its frames.
pub(crate) fn pages(segment: &[u8]) -> Vec<Field> {
    let mut out = Vec::new();
    if segment.len() >= FIRST_FRAME {
        row(0, &SEGMENT_HEADER, &mut out);
        for page in [PAGE, 2 * PAGE] {
            row(page, &SEGMENT_HEADER, &mut out);
            row(page + 128, &MARK, &mut out);
        }
    }
    out
}

/// The fields of a frame and its records.
pub(crate) fn frame(f: &Frame, out: &mut Vec<Field>) {
    row(f.span.start, &FRAME, out);
    for r in &f.records {
        row(r.span.start, &[8, 4], out);
        let at = r.data().start;
        match (r.kind, r.len) {
            (6, 24) => row(at, &[8, 8, 8], out),
            (7, 60..) => row(at, &[8, 8, 8, 8, 8, 8, 8, 4], out),
            (8, 136) => {
                row(at, &BASE, out);
                out.push((at + 125, 1));
            }
            (9, 8) => row(at, &[8], out),
            (10, 17) => row(at, &[8, 8, 1], out),
            (11, 25) => row(at, &[8, 8, 1, 8], out),
            (14, 12) => row(at, &[8, 4], out),
            (_, 1..) => out.push((at, 1)),
            _ => {}
        }
    }
}

/// The fields of the file of this name.
pub(crate) fn of_file(name: &[u8], bytes: &[u8]) -> Vec<Field> {
    let mut out = Vec::new();
    if name == b"IDENT" && bytes.len() >= 4 * PAGE {
        for page in [0, PAGE] {
            row(page, &IDENTITY, &mut out);
        }
        for page in [2 * PAGE, 3 * PAGE] {
            row(page, &SLOT, &mut out);
        }
    } else if name.ends_with(b".idx") && bytes.len() >= 128 {
        row(0, &INDEX, &mut out);
        let words = (bytes.len() - 128) / 4;
        row(128, &vec![4; words.min(64)], &mut out);
    } else if name.ends_with(b".seg") {
        out = pages(bytes);
        for f in &frames(bytes) {
            frame(f, &mut out);
        }
    }
    out
}
