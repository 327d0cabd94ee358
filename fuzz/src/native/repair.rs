//! Makes the checksums of a mutated log right again, and, if asked, what else follows from other
//! bytes: so that a fuzzer meets the code behind the checksums. The checks themselves stay on.

use super::walk::{Frame, PAD, frames};
use super::{
    FIRST_FRAME, HEADER, PAGE, control_seed, crc, entry_seed, frame_seed, put, seal, u16_at,
    u32_at, u64_at,
};
use crate::image::Image;

/// How much is repaired besides checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent choices, each named")]
pub struct Repair {
    /// Copies follow the original: header copies in marks, the second identity.
    pub copies: bool,
    /// Numbers and chain from frame to frame, counts of entries, the promises of marks.
    pub sequence: bool,
    /// What one file says of another: Base, Seal, index files.
    pub links: bool,
    /// Flags and number of entries fit the records.
    pub flags: bool,
}

impl Repair {
    /// Everything.
    pub const ALL: Self = Self { copies: true, sequence: true, links: true, flags: true };
    /// Checksums only.
    pub const CHECKSUMS: Self = Self { copies: false, sequence: false, links: false, flags: false };
}

/// The segment whose name this is.
fn segment_number(name: &[u8]) -> Option<u64> {
    let digits = name.strip_prefix(b"wal/")?.strip_suffix(b".seg")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Repairs all files of a log.
pub fn log(image: &mut Image, how: Repair) {
    let mut segments: Vec<(u64, usize)> = Vec::new();
    for (i, (name, bytes)) in image.files.iter_mut().enumerate() {
        if name == b"IDENT" {
            ident(bytes, how);
        } else if let Some(seq) = segment_number(name) {
            segments.push((seq, i));
            pages(bytes, how);
        }
    }
    segments.sort_unstable();
    // Older segments first: what a Base says of its predecessor is then settled.
    for &(seq, i) in &segments {
        let mut bytes = std::mem::take(&mut image.files[i].1);
        if how.links {
            links(&mut bytes, |wanted| {
                let found = segments.iter().find(|&&(n, _)| n == wanted && n != seq);
                found.map(|&(_, i)| image.files[i].1.as_slice())
            });
        }
        segment(&mut bytes, how);
        image.files[i].1 = bytes;
    }
    if how.links {
        for i in 0..image.files.len() {
            index_file(image, i, &segments);
        }
    }
}

fn ident(bytes: &mut [u8], how: Repair) {
    for page in 0..(bytes.len() / PAGE).min(4) {
        let len = if page < 2 { 128 } else { 64 };
        if page == 1 && how.copies {
            bytes.copy_within(..128, PAGE);
        }
        let seed = if page < 2 { 0 } else { page as u32 };
        let block = &mut bytes[page * PAGE..page * PAGE + len];
        // A slot that was never written has no checksum.
        if block.iter().any(|&b| b != 0) {
            seal(seed, block);
        }
    }
}

/// A segment's header and marks, but for what marks say of frames.
fn pages(bytes: &mut [u8], how: Repair) {
    if bytes.len() < FIRST_FRAME {
        return;
    }
    seal(0, &mut bytes[..128]);
    for at in [PAGE, 2 * PAGE] {
        if how.copies {
            bytes.copy_within(..128, at);
        }
        seal(0, &mut bytes[at..at + 128]);
        seal_mark(bytes, at);
    }
}

fn seal_mark(bytes: &mut [u8], at: usize) {
    let seed = u32_at(bytes, at + 20) ^ (at / PAGE) as u32;
    seal(seed, &mut bytes[at..at + 256]);
}

/// Frames of a segment, and its marks.
pub fn segment(bytes: &mut [u8], how: Repair) {
    if bytes.len() < FIRST_FRAME {
        return;
    }
    let salt = u32_at(bytes, 20);
    let frames = frames(bytes);
    let mut before = frames.first().and_then(|f| base_says(bytes, f));
    for f in &frames {
        let at = f.span.start;
        if let Some((seq, chain)) = before.filter(|_| how.sequence) {
            put(bytes, at + 8, &(seq.wrapping_add(1)).to_le_bytes());
            put(bytes, at + 32, &chain.to_le_bytes());
        }
        let header_crc = frame(bytes, f, salt, how);
        before = Some((u64_at(bytes, at + 8), header_crc));
        for page in [PAGE, 2 * PAGE] {
            if how.sequence && u64_at(bytes, page + 136) == f.span.end as u64 {
                bytes.copy_within(at + 8..at + 16, page + 144);
                put(bytes, page + 152, &header_crc.to_le_bytes());
                seal_mark(bytes, page);
            }
        }
    }
    // One that claims more than there is has at least a right header.
    let end = frames.last().map_or(FIRST_FRAME, |f| f.span.end);
    if bytes.len() - end >= HEADER && bytes[end..end + HEADER].iter().any(|&b| b != 0) {
        seal(frame_seed(salt, end), &mut bytes[end..end + HEADER]);
    }
}

/// The checksums of the frame at `at`, and nothing else.
pub(crate) fn frame_at(bytes: &mut [u8], at: usize) {
    let salt = u32_at(bytes, 20);
    for f in frames(bytes).iter().filter(|f| f.span.start == at) {
        frame(bytes, f, salt, Repair::CHECKSUMS);
    }
}

/// Number and chain that a first frame's Base gives to the batch before it.
fn base_says(bytes: &[u8], first: &Frame) -> Option<(u64, u32)> {
    let base = first.records.first().filter(|r| r.kind == 8 && r.len == 136)?.data().start;
    Some((u64_at(bytes, base + 16), u32_at(bytes, base + 12)))
}

/// One frame's checksums; returns that of its header.
fn frame(bytes: &mut [u8], f: &Frame, salt: u32, how: Repair) -> u32 {
    let at = f.span.start;
    let first_index = u64_at(bytes, at + 24);
    let mut crcs = Vec::new();
    let mut entries: u64 = 0;
    for (n, r) in f.records.iter().enumerate() {
        let seed = if r.is_entry() {
            entry_seed(salt, first_index.wrapping_add(entries))
        } else {
            control_seed(salt, n)
        };
        entries += u64::from(r.is_entry());
        crcs.extend_from_slice(&seal(seed, &mut bytes[r.span.clone()]).to_le_bytes());
    }
    if how.flags && !f.records.is_empty() {
        let (mut flags, has) = (u16_at(bytes, at + 40), |k| f.records.iter().any(|r| r.kind == k));
        for (bit, kind) in [(1, 8), (2, 9), (4, 10), (8, 14)] {
            flags = if has(kind) { flags | bit } else { flags & !bit };
        }
        put(bytes, at + 40, &(flags & !PAD).to_le_bytes());
        put(bytes, at + 4, &(entries as u32).to_le_bytes());
    }
    let seed = frame_seed(salt, at);
    put(bytes, at + 36, &crc(seed, &crcs).to_le_bytes());
    seal(seed, &mut bytes[at..at + HEADER])
}

/// Makes a segment's Base and Seals agree with the segments that they name.
fn links<'a>(bytes: &mut [u8], other: impl Fn(u64) -> Option<&'a [u8]>) {
    if bytes.len() < FIRST_FRAME {
        return;
    }
    for (n, f) in frames(bytes).iter().enumerate() {
        for r in &f.records {
            let at = r.data().start;
            match (r.kind, r.len) {
                (8, 136) if n == 0 => {
                    let era: Vec<u8> = bytes[72..88].to_vec();
                    put(bytes, at + 72, &era);
                    if u64_at(bytes, at) == 0 {
                        // The log begins here: nothing stands before it.
                        bytes[at + 8..at + 32].fill(0);
                    }
                    let Some(prev) = other(u64_at(bytes, at)) else { continue };
                    if prev.len() < FIRST_FRAME {
                        continue;
                    }
                    put(bytes, at + 8, &prev[20..24]);
                    let end = u64_at(bytes, at + 24);
                    if let Some(last) = frames(prev).iter().find(|f| f.span.end as u64 == end) {
                        let from = last.span.start;
                        put(bytes, at + 12, &prev[from + 44..from + 48]);
                        put(bytes, at + 16, &prev[from + 8..from + 16]);
                    }
                }
                (14, 12) => {
                    if let Some(next) = other(u64_at(bytes, at)).filter(|b| b.len() >= 128) {
                        put(bytes, at + 8, &next[20..24]);
                    }
                }
                _ => {}
            }
        }
    }
}

/// An index file's checksums, and the cut that it must repeat.
fn index_file(image: &mut Image, i: usize, segments: &[(u64, usize)]) {
    let name = &image.files[i].0;
    if !name.ends_with(b".idx") || image.files[i].1.len() < 128 {
        return;
    }
    let mut bytes = std::mem::take(&mut image.files[i].1);
    let seq = u64_at(&bytes, 40);
    if let Some(&(_, own)) = segments.iter().find(|&&(n, _)| n == seq)
        && image.files[own].1.len() >= 128
    {
        put(&mut bytes, 12, &image.files[own].1[20..24]);
    }
    for &(_, next) in segments {
        let next = &image.files[next].1;
        if next.len() < FIRST_FRAME {
            continue;
        }
        let Some(first) = frames(next).into_iter().next() else { continue };
        let Some(r) = first.records.first().filter(|r| r.kind == 8 && r.len == 136) else {
            continue;
        };
        let base = r.data().start;
        if u64_at(next, base) == seq {
            put(&mut bytes, 48, &next[base + 12..base + 16]);
            put(&mut bytes, 56, &next[base + 16..base + 32]);
        }
    }
    let salt = u32_at(&bytes, 12);
    let tables = crc(salt, &bytes[128..]);
    put(&mut bytes, 100, &tables.to_le_bytes());
    seal(0, &mut bytes[..128]);
    image.files[i].1 = bytes;
}
