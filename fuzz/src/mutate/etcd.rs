//! Changes to etcd's files, record by record, and the rolling checksum made right again.

use crc32c::{crc32c, crc32c_append};
use etcd_reader::writer::frame;
use fastrand::Rng;

use super::Plain;
use super::bytes::{change_field, damage, plain_in_place};
use crate::image::Image;

/// Names that mean something in an etcd directory, and some that nearly do.
pub(super) const NAMES: [&str; 9] = [
    "member/wal/0000000000000000-0000000000000000.wal",
    "member/wal/0000000000000001-0000000000000003.wal",
    "member/wal/ffffffffffffffff-ffffffffffffffff.wal",
    "member/wal/0.tmp",
    "member/wal/0000000000000000-0000000000000000.wal.broken",
    "member/snap/0000000000000001-0000000000000002.snap",
    "member/snap/db",
    "wal/0000000000000000-0000000000000000.wal",
    "member/wal",
];

/// One record: its type, and its data if it has any.
type Record = (u64, Option<Vec<u8>>);

const ENTRY: u64 = 2;
const STATE: u64 = 3;
const CRC: u64 = 4;
const MARKER: u64 = 5;

/// A number as protobuf has it, and how many bytes it took.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut n = 0;
    for (i, &b) in bytes.iter().take(10).enumerate() {
        n |= u64::from(b & 0x7f) << (7 * i);
        if b < 0x80 {
            return Some((n, i + 1));
        }
    }
    None
}

fn put_varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Takes `tag` and the number behind it from the beginning of `bytes`.
fn field(bytes: &mut &[u8], tag: u8) -> Option<u64> {
    let rest = bytes.strip_prefix(&[tag])?;
    let (n, len) = varint(rest)?;
    *bytes = &rest[len..];
    Some(n)
}

/// One record without its frame.
fn record(mut bytes: &[u8]) -> Option<Record> {
    let kind = field(&mut bytes, 0x08)?;
    field(&mut bytes, 0x10)?;
    let Some(len) = field(&mut bytes, 0x1a) else { return Some((kind, None)) };
    let data = bytes.get(..usize::try_from(len).ok()?)?;
    Some((kind, Some(data.to_vec())))
}

/// The records of a segment, and the bytes behind them.
fn parse(segment: &[u8]) -> (Vec<Record>, Vec<u8>) {
    let (mut records, mut at) = (Vec::new(), 0);
    while let Some(word) = segment.get(at..at + 8) {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        let len = (word & ((1 << 56) - 1)) as usize;
        let padded = len.saturating_add(7) & !7;
        let bytes = segment.get(at + 8..).and_then(|rest| rest.get(..padded));
        let Some(found) = bytes.filter(|_| len > 0).and_then(|b| record(&b[..len])) else { break };
        records.push(found);
        at += 8 + padded;
    }
    (records, segment[at..].to_vec())
}

/// The segment of these records; `crc` rolls on.
fn build(records: &[Record], tail: &[u8], crc: &mut u32) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, data) in records {
        *crc = data.as_ref().map_or(*crc, |data| crc32c_append(*crc, data));
        out.extend_from_slice(&frame(*kind, *crc, data.as_deref()));
    }
    out.extend_from_slice(tail);
    out
}

fn is_segment(name: &[u8]) -> bool {
    name.ends_with(b".wal")
}

/// Makes the checksums of all segments and snapshot files right, in the order of their names.
pub(super) fn repair(image: &mut Image) {
    let mut order: Vec<usize> = (0..image.files.len()).collect();
    order.sort_by_key(|&i| image.files[i].0.clone());
    let mut crc = 0;
    for i in order {
        let (name, bytes) = &mut image.files[i];
        if is_segment(name) {
            let (records, tail) = parse(bytes);
            *bytes = build(&records, &tail, &mut crc);
        } else if name.ends_with(b".snap") {
            snap(bytes);
        }
    }
}

/// A snapshot file: `{1: checksum, 2: data}`.
fn snap(bytes: &mut Vec<u8>) {
    let mut rest = bytes.as_slice();
    let parsed = field(&mut rest, 0x08).and_then(|_| field(&mut rest, 0x12));
    let Some(data) = parsed.and_then(|len| rest.get(..usize::try_from(len).ok()?)) else { return };
    let mut out = vec![0x08];
    put_varint(crc32c(data).into(), &mut out);
    out.push(0x12);
    put_varint(data.len() as u64, &mut out);
    out.extend_from_slice(data);
    *bytes = out;
}

/// One change somewhere in one file.
pub(super) fn file(rng: &mut Rng, image: &mut Image, plain: Plain<'_>) {
    if image.files.is_empty() {
        return;
    }
    let i = rng.usize(..image.files.len());
    let (name, bytes) = &mut image.files[i];
    let (records, tail) = parse(bytes);
    if !is_segment(name) || records.is_empty() || rng.u8(..8) == 0 {
        return match rng.u8(..4) {
            0 => damage(rng, bytes),
            1 => length_word(rng, bytes),
            _ => plain_in_place(rng, bytes, plain),
        };
    }
    let (mut records, mut tail) = (records, tail);
    change(rng, &mut records, &mut tail, plain);
    // The checksums are the repair's business.
    *bytes = build(&records, &tail, &mut 0);
}

/// Changes a word where one may stand: lengths, and what surrounds them.
fn length_word(rng: &mut Rng, bytes: &mut [u8]) {
    if let Some(words) = (bytes.len() / 8).checked_sub(1).filter(|&n| n > 0) {
        let at = rng.usize(..words) * 8;
        change_field(rng, &mut bytes[at..at + 8], &[1]);
    }
}

/// One change among the records of a segment.
fn change(rng: &mut Rng, records: &mut Vec<Record>, tail: &mut Vec<u8>, plain: Plain<'_>) {
    let i = rng.usize(..records.len());
    let j = rng.usize(..records.len());
    match rng.u8(..16) {
        0 => drop(records.remove(i)),
        1 => {
            let twice = records[j].clone();
            records.insert(i, twice);
        }
        2 => records.swap(i, j),
        3 => records.truncate(i + 1),
        4 => records[i].0 = rng.u64(..8),
        5 => records[i].1 = None,
        6 => tail.resize(if rng.bool() { 0 } else { tail.len() + rng.usize(..300) }, 0),
        7..10 => records.insert(i, random(rng)),
        10..12 => {
            if let Some(data) = &mut records[i].1 {
                plain_in_place(rng, data, plain);
            }
        }
        _ => {
            if let Some(data) = &mut records[i].1 {
                number(rng, data);
            }
        }
    }
}

/// Changes one of the numbers of a protobuf message.
fn number(rng: &mut Rng, data: &mut Vec<u8>) {
    let (mut at, mut numbers) = (0, Vec::new());
    while let Some(&tag) = data.get(at) {
        let Some((value, len)) = data.get(at + 1..).and_then(varint) else { break };
        if tag % 8 == 0 {
            numbers.push((at + 1..at + 1 + len, value));
        }
        at += 1 + len + if tag % 8 == 2 { value.min(data.len() as u64) as usize } else { 0 };
    }
    if let Some((span, value)) =
        (!numbers.is_empty()).then(|| numbers.swap_remove(rng.usize(..numbers.len())))
    {
        let mut raw = value.to_le_bytes();
        change_field(rng, &mut raw, &[]);
        let mut new = Vec::new();
        put_varint(u64::from_le_bytes(raw), &mut new);
        data.splice(span, new);
    }
}

/// A record of small numbers.
fn random(rng: &mut Rng) -> Record {
    let kind = [ENTRY, ENTRY, ENTRY, STATE, STATE, MARKER, CRC, 1, 6][rng.usize(..9)];
    let mut data = Vec::new();
    let tags: &[u8] = match kind {
        ENTRY | STATE => &[0x08, 0x10, 0x18],
        MARKER => &[0x08, 0x10],
        _ => &[],
    };
    for &tag in tags {
        data.push(tag);
        put_varint(rng.u64(..if tag == 0x08 && kind == ENTRY { 3 } else { 8 }), &mut data);
    }
    (kind, (kind != CRC).then_some(data))
}
