//! Changes that need no format: values, sectors, names.

use fastrand::Rng;

use super::Plain;
use crate::image::{FILES_MAX, Image};

/// Where field tests tend to go wrong.
const EDGES: [u64; 14] =
    [0, 1, 2, 7, 8, 16, 47, 48, 4096, 12_288, 1 << 16, u32::MAX as u64, 1 << 40, u64::MAX];

/// Another value for a field of `width` bytes. `donor` is some other field.
pub(super) fn change_field(rng: &mut Rng, field: &mut [u8], donor: &[u8]) {
    let mut raw = [0; 8];
    let width = field.len().min(8);
    raw[..width].copy_from_slice(&field[..width]);
    let old = u64::from_le_bytes(raw);
    let new = match rng.u8(..9) {
        0 => EDGES[rng.usize(..EDGES.len())],
        1 => u64::MAX >> rng.u8(..64),
        2 => old.wrapping_add(1),
        3 => old.wrapping_sub(1),
        4 => old ^ 1 << rng.u8(..(width * 8) as u8),
        5 => rng.u64(..16),
        6 => old.wrapping_add(rng.u64(..64) * 8).wrapping_sub(256),
        7 => rng.u64(..),
        _ => {
            let take = width.min(donor.len());
            field[..take].copy_from_slice(&donor[..take]);
            return;
        }
    };
    field[..width].copy_from_slice(&new.to_le_bytes()[..width]);
}

/// The fuzzer's own mutation of a few bytes in place.
pub(super) fn plain_in_place(rng: &mut Rng, bytes: &mut [u8], plain: Plain<'_>) {
    if bytes.is_empty() {
        return;
    }
    let from = rng.usize(..bytes.len());
    let to = bytes.len().min(from + 64);
    plain(&mut bytes[from..to], to - from);
}

/// Sectors as a disk damages them, and files cut or grown.
pub(super) fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let unit = [8, 512, 4096][rng.usize(..3)];
    let units = bytes.len() / unit;
    if units == 0 {
        return;
    }
    let at = rng.usize(..units) * unit;
    match rng.u8(..6) {
        0 => bytes[at..at + unit].fill(0),
        1 => rng.fill(&mut bytes[at..at + unit]),
        2 => {
            let from = rng.usize(..units) * unit;
            bytes.copy_within(from..from + unit, at);
        }
        3 => bytes.truncate(at),
        4 => bytes[at..].fill(0),
        _ => bytes.resize(at + unit * rng.usize(1..8), 0),
    }
}

/// Files lost, doubled, renamed and exchanged.
pub(super) fn directory(rng: &mut Rng, image: &mut Image, names: &[&str]) {
    let files = &mut image.files;
    if files.is_empty() {
        return;
    }
    let (i, j) = (rng.usize(..files.len()), rng.usize(..files.len()));
    match rng.u8(..8) {
        0 => drop(files.remove(i)),
        1 => {
            let bytes = files[j].1.clone();
            files[i].1 = bytes;
        }
        2 => {
            let (a, b) = (files[i].0.clone(), files[j].0.clone());
            (files[i].0, files[j].0) = (b, a);
        }
        3 if files.len() < FILES_MAX => {
            let mut file = files[i].clone();
            neighbour(rng, &mut file.0);
            files.push(file);
        }
        4 => neighbour(rng, &mut files[i].0),
        5 => files[i].0 = names[rng.usize(..names.len())].as_bytes().to_vec(),
        6 => files[i].1.clear(),
        _ => {
            let name = &mut files[i].0;
            if !name.is_empty() {
                let at = rng.usize(..name.len());
                name[at] ^= 1 << rng.u8(..8);
            }
        }
    }
}

/// Changes a digit of a name: the next file's, perhaps.
fn neighbour(rng: &mut Rng, name: &mut [u8]) {
    let digits: Vec<usize> = (0..name.len()).filter(|&i| name[i].is_ascii_digit()).collect();
    // Mostly the last one.
    let i = if rng.u8(..4) > 0 { digits.len() } else { rng.usize(..=digits.len()) };
    if let Some(&at) = i.checked_sub(1).and_then(|i| digits.get(i)) {
        name[at] = b'0' + rng.u8(..6);
    }
}
