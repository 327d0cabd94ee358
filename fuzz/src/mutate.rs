//! The custom mutators: they change what means something, and then make the checksums right.

mod bytes;
mod etcd;
mod native;

use fastrand::Rng;

use crate::image::Image;
use crate::native::repair::{self, Repair};
use crate::native::{FIRST_FRAME, put};

/// The fuzzer's own mutation: changes the first `size` bytes of a buffer, which may grow to all of
/// it, and returns how many it left.
pub type Plain<'a> = &'a mut dyn FnMut(&mut [u8], usize) -> usize;

/// A mutator as libFuzzer calls it: `size` bytes of `data` are the input, the whole of `data` may
/// be used, and the result is the new size.
pub type Mutator = fn(data: &mut [u8], size: usize, seed: u32, plain: Plain<'_>) -> usize;

/// Three times in four the structured change `of`, else the fuzzer's own.
fn mutated(
    data: &mut [u8],
    size: usize,
    seed: u32,
    plain: Plain<'_>,
    of: impl FnOnce(&mut Rng, &[u8], Plain<'_>) -> Vec<u8>,
) -> usize {
    let mut rng = Rng::with_seed(seed.into());
    let max = data.len();
    if rng.u8(..4) > 0 {
        let out = of(&mut rng, &data[..size], plain);
        if !out.is_empty() && out.len() <= max {
            put(data, 0, &out);
            return out.len();
        }
    }
    plain(data, size)
}

/// How thoroughly to repair: mostly so that only what was changed is wrong.
fn thoroughness(rng: &mut Rng) -> Option<Repair> {
    match rng.u8(..10) {
        0 => None,
        1 => Some(Repair::CHECKSUMS),
        2..5 => Some(Repair {
            copies: rng.bool(),
            sequence: rng.bool(),
            links: rng.bool(),
            flags: rng.bool(),
        }),
        _ => Some(Repair::ALL),
    }
}

/// For [`crate::targets::record_decode`].
pub fn record_decode(data: &mut [u8], size: usize, seed: u32, plain: Plain<'_>) -> usize {
    mutated(data, size, seed, plain, |rng, input, plain| {
        let Some((salt, rest)) = input.split_first_chunk::<4>() else { return Vec::new() };
        let Some((&cut, area)) = rest.split_first() else { return Vec::new() };
        let mut segment = vec![0; FIRST_FRAME];
        put(&mut segment, 20, salt);
        segment.extend_from_slice(area);
        for _ in 0..=rng.u8(..3) {
            native::frames_of(rng, &mut segment, plain);
        }
        if let Some(how) = thoroughness(rng) {
            repair::segment(&mut segment, how);
        }
        let cut = if rng.u8(..16) == 0 { rng.u8(..) } else { cut };
        let mut out = segment[20..24].to_vec();
        out.push(cut);
        out.extend_from_slice(&segment[FIRST_FRAME..]);
        out
    })
}

/// For [`crate::targets::segment_open`]: the first byte of an input names the log around.
pub fn segment_open(data: &mut [u8], size: usize, seed: u32, plain: Plain<'_>) -> usize {
    mutated(data, size, seed, plain, |rng, input, plain| {
        let Some((&host, rest)) = input.split_first() else { return Vec::new() };
        let mut image = Image::parse(rest);
        image.files.truncate(1);
        for _ in 0..=rng.u8(..3) {
            native::file(rng, &mut image, plain);
        }
        if let Some(how) = thoroughness(rng) {
            // The neighbours are not at hand: what a Base says of them stays as it is.
            repair::log(&mut image, Repair { links: false, ..how });
        }
        let host = if rng.u8(..16) == 0 { rng.u8(..) } else { host };
        [&[host][..], &image.encode()].concat()
    })
}

/// For [`crate::targets::dir_open`].
pub fn dir_open(data: &mut [u8], size: usize, seed: u32, plain: Plain<'_>) -> usize {
    mutated(data, size, seed, plain, |rng, input, plain| {
        let Some((&options, rest)) = input.split_first() else { return Vec::new() };
        let mut image = Image::parse(rest);
        for _ in 0..=rng.u8(..3) {
            if rng.u8(..6) == 0 {
                bytes::directory(rng, &mut image, &native::NAMES);
            } else {
                native::file(rng, &mut image, plain);
            }
        }
        if let Some(how) = thoroughness(rng) {
            repair::log(&mut image, how);
        }
        let options = if rng.u8(..16) == 0 { rng.u8(..) } else { options };
        [&[options][..], &image.encode()].concat()
    })
}

/// For [`crate::targets::etcd_dir`].
pub fn etcd_dir(data: &mut [u8], size: usize, seed: u32, plain: Plain<'_>) -> usize {
    mutated(data, size, seed, plain, |rng, input, plain| {
        let mut image = Image::parse(input);
        for _ in 0..=rng.u8(..3) {
            if rng.u8(..8) == 0 {
                bytes::directory(rng, &mut image, &etcd::NAMES);
            } else {
                etcd::file(rng, &mut image, plain);
            }
        }
        if rng.u8(..8) > 0 {
            etcd::repair(&mut image);
        }
        image.encode()
    })
}
