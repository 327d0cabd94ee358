//! Changes to raft-wal's files: fields, records, frames.

use fastrand::Rng;

use super::Plain;
use super::bytes::{change_field, damage, plain_in_place};
use crate::image::Image;
use crate::native::fields::{self, Field};
use crate::native::walk::{Frame, frames};
use crate::native::{FIRST_FRAME, HEADER, put, u32_at};

/// Names that mean something in a log directory, and some that nearly do.
pub(super) const NAMES: [&str; 13] = [
    "IDENT",
    "IDENT.tmp",
    "LOCK",
    "wal",
    "wal/00000000000000000000.seg",
    "wal/00000000000000000001.seg",
    "wal/00000000000000000002.seg",
    "wal/18446744073709551615.seg",
    "wal/99999999999999999999.seg",
    "wal/00000000000000000001.idx",
    "wal/00000000000000000001.idx.tmp",
    "wal/spare-2.tmp",
    "snap/note",
];

/// One change somewhere in one file of a log.
pub(super) fn file(rng: &mut Rng, image: &mut Image, plain: Plain<'_>) {
    if image.files.is_empty() {
        return;
    }
    // The newest segment is where most decisions are made; it is last in most images.
    let last = image.files.len() - 1;
    let i = if rng.u8(..3) == 0 { last } else { rng.usize(..=last) };
    let (name, bytes) = &mut image.files[i];
    match rng.u8(..20) {
        0..9 => {
            let fields = fields::of_file(name, bytes);
            any_field(rng, bytes, &fields);
        }
        9 => damage(rng, bytes),
        10 => {
            let beginning = bytes.len().min(FIRST_FRAME + 512);
            plain_in_place(rng, &mut bytes[..beginning], plain);
        }
        _ if name.ends_with(b".seg") => frames_of(rng, bytes, plain),
        _ => plain_in_place(rng, bytes, plain),
    }
}

/// Changes one of the fields.
fn any_field(rng: &mut Rng, bytes: &mut [u8], fields: &[Field]) {
    if fields.is_empty() {
        return;
    }
    let (at, width) = fields[rng.usize(..fields.len())];
    let (from, n) = fields[rng.usize(..fields.len())];
    let donor = bytes[from..from + n].to_vec();
    change_field(rng, &mut bytes[at..at + width], &donor);
}

/// One change among the frames of a segment.
pub(super) fn frames_of(rng: &mut Rng, segment: &mut Vec<u8>, plain: Plain<'_>) {
    let all = frames(segment);
    if all.is_empty() {
        let from = FIRST_FRAME.min(segment.len());
        return plain_in_place(rng, &mut segment[from..], plain);
    }
    let i = rng.usize(..all.len());
    let frame = &all[i];
    match rng.u8(..16) {
        0..6 => {
            let mut fields = Vec::new();
            fields::frame(frame, &mut fields);
            any_field(rng, segment, &fields);
        }
        6..8 => plain_in_place(rng, &mut segment[frame.span.clone()], plain),
        8..13 => {
            let body = records(rng, segment, frame);
            replace(segment, &all, i, |header| {
                let mut frame = header[..HEADER].to_vec();
                put(&mut frame, 0, &(body.len() as u32).to_le_bytes());
                frame.extend_from_slice(&body);
                frame
            });
        }
        13 => replace(segment, &all, i, |frame| frame.repeat(2)),
        14 => replace(segment, &all, i, |_| Vec::new()),
        _ => {
            let other = segment[all[rng.usize(..all.len())].span.clone()].to_vec();
            replace(segment, &all, i, |frame| [&other, frame].concat());
        }
    }
}

/// Puts other bytes in the place of a frame. What follows moves; the file keeps its length if that
/// leaves only zeros out.
fn replace(segment: &mut Vec<u8>, all: &[Frame], i: usize, with: impl FnOnce(&[u8]) -> Vec<u8>) {
    let span = all[i].span.clone();
    let end = all.last().map_or(span.end, |f| f.span.end);
    let len = segment.len();
    let new = with(&segment[span.clone()]);
    let mut out = segment[..span.start].to_vec();
    out.extend_from_slice(&new);
    out.extend_from_slice(&segment[span.end..end]);
    let tail = &segment[end..];
    if tail.iter().all(|&b| b == 0) {
        let grown = out.len().max(len);
        out.resize(grown, 0);
    } else {
        out.extend_from_slice(tail);
    }
    *segment = out;
}

/// The body of a frame with one record more, one less, or one of another size or place.
fn records(rng: &mut Rng, segment: &[u8], frame: &Frame) -> Vec<u8> {
    let mut parts: Vec<Vec<u8>> =
        frame.records.iter().map(|r| segment[r.span.clone()].to_vec()).collect();
    let at = rng.usize(..=parts.len());
    match rng.u8(..6) {
        0 if at < parts.len() => drop(parts.remove(at)),
        1 if at < parts.len() => parts.insert(at, parts[at].clone()),
        2 if at < parts.len() => {
            let old = &parts[at];
            let (word, room) = (u32_at(old, 8), old.len() - 16);
            let len = (word >> 4) as usize;
            let wanted = if rng.bool() { rng.usize(..=room) } else { len + rng.usize(..300) };
            let kind = if rng.u8(..8) == 0 { rng.u8(..16) } else { word as u8 & 15 };
            parts[at] = record(&old[..8], kind, &old[12..12 + len.min(wanted)], wanted);
        }
        3 if parts.len() > 1 => parts.swap(at % frame.records.len(), 0),
        _ => {
            let kind = rng.u8(..16);
            let len = match kind {
                6 => 24,
                7 => 60,
                8 => 136,
                9 => 8,
                10 => 17,
                11 => 25,
                14 => 12,
                _ => rng.usize(..64),
            };
            let mut data = vec![0; len];
            for byte in data.iter_mut().step_by(8) {
                *byte = rng.u8(..20);
            }
            parts.insert(at, record(&[rng.u8(..4), 0, 0, 0, 0, 0, 0, 0], kind, &data, len));
        }
    }
    parts.concat()
}

/// A record with a place for its checksum.
fn record(term: &[u8], kind: u8, data: &[u8], len: usize) -> Vec<u8> {
    let mut out = term.to_vec();
    out.extend_from_slice(&((len as u32) << 4 | u32::from(kind)).to_le_bytes());
    out.extend_from_slice(data);
    out.resize((16 + len).next_multiple_of(8), 0);
    out
}
