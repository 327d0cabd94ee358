//! Inputs that stand for a directory: names and bytes, with zeros left out.
//!
//! Segments are mostly zeros, so that 64 KiB of files are two or three KiB of input, and a fuzzer
//! spends its mutations on bytes that mean something. Every input is an image: what cannot be read
//! ends it.
//!
//! ```text
//! file:  u8 name length | name | u32 file length | run ... | two zero varints
//! run:   varint zeros skipped | varint n | n bytes
//! ```

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use raft_vfs::SimVfs;

/// No file of an image is longer.
pub const FILE_MAX: usize = 256 << 10;
/// No image has more files.
pub const FILES_MAX: usize = 24;
/// Zeros shorter than this are written out.
const SHORT: usize = 6;

/// A list of files, by relative path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The files, in no particular order. A name that comes twice means the last one.
    pub files: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Image {
    /// Reads as much of `input` as is an image.
    pub fn parse(input: &[u8]) -> Self {
        let mut input = Input(input);
        let mut files = Vec::new();
        while files.len() < FILES_MAX
            && let Some(file) = input.file()
        {
            files.push(file);
        }
        Self { files }
    }

    /// The input that parses to this image.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, bytes) in &self.files {
            out.push(name.len().min(255) as u8);
            out.extend_from_slice(&name[..name.len().min(255)]);
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            put_runs(bytes, &mut out);
        }
        out
    }

    /// The file of that name.
    pub fn get(&self, name: &str) -> Option<&Vec<u8>> {
        self.files.iter().rfind(|(n, _)| n == name.as_bytes()).map(|(_, bytes)| bytes)
    }

    /// Writes the files below `dir` of a simulated disk. Names that are no relative paths, and
    /// those below the name of a file, are left out.
    pub fn plant(&self, disk: &SimVfs, dir: &str) {
        let mut planted: Vec<PathBuf> = Vec::new();
        for (name, bytes) in &self.files {
            let name = Path::new(OsStr::from_bytes(name));
            let normal = name.components().all(|c| matches!(c, Component::Normal(_)));
            let depth = name.components().count();
            let clash = |p: &PathBuf| p != name && (p.starts_with(name) || name.starts_with(p));
            if normal && (1..=3).contains(&depth) && !planted.iter().any(clash) {
                disk.write_file(Path::new(dir).join(name), bytes);
                planted.push(name.to_owned());
            }
        }
    }
}

/// Writes `bytes` as runs.
fn put_runs(bytes: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(zeros) = bytes[at..].iter().position(|&b| b != 0) {
        let from = at + zeros;
        let mut to = from;
        // The run ends where enough zeros follow, or nothing but zeros.
        while let Some(next) = bytes[to..].iter().position(|&b| b == 0) {
            let gap = bytes[to + next..].iter().position(|&b| b != 0);
            to += next;
            match gap {
                Some(gap) if gap < SHORT => to += gap,
                _ => break,
            }
        }
        let to = if bytes[to] == 0 { to } else { bytes.len() };
        put_varint((from - at) as u64, out);
        put_varint((to - from) as u64, out);
        out.extend_from_slice(&bytes[from..to]);
        at = to;
    }
    out.extend_from_slice(&[0, 0]);
}

fn put_varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// What is left of an input.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn varint(&mut self) -> Option<usize> {
        let mut n = 0;
        for shift in (0..28).step_by(7) {
            let byte = self.byte()?;
            n |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    /// A file. Its runs may end early, with the input.
    fn file(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let name_len = self.byte()?;
        let name = self.take(name_len.into())?.to_vec();
        let len: [u8; 4] = self.take(4)?.try_into().ok()?;
        let len = (u32::from_le_bytes(len) as usize).min(FILE_MAX);
        let mut bytes = vec![0; len];
        let mut at = 0;
        while let (Some(zeros), Some(n)) = (self.varint(), self.varint()) {
            if (zeros, n) == (0, 0) {
                break;
            }
            let data = &self.0[..n.min(self.0.len())];
            self.0 = &self.0[data.len()..];
            at = (at + zeros).min(len);
            let fits = data.len().min(len - at);
            bytes[at..at + fits].copy_from_slice(&data[..fits]);
            at += fits;
        }
        Some((name, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_what_its_encoding_parses_to() {
        let zeros = |n| vec![0; n];
        let files = [
            vec![],
            zeros(1),
            zeros(5000),
            vec![1],
            [zeros(3), vec![7, 0, 0, 7], zeros(100), vec![9], zeros(2)].concat(),
            [vec![1, 2, 3], zeros(4096), vec![0xff; 300]].concat(),
        ];
        for some in 0..files.len() {
            let named = files[..=some].iter().enumerate();
            let named = named.map(|(i, bytes)| (format!("wal/{i}").into_bytes(), bytes.clone()));
            let image = Image { files: named.collect() };
            assert_eq!(Image::parse(&image.encode()), image);
        }
    }

    #[test]
    fn any_bytes_are_an_image() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let bytes: Vec<u8> = (0..rng.usize(..60)).map(|_| rng.u8(..)).collect();
            let image = Image::parse(&bytes);
            assert_eq!(Image::parse(&image.encode()), image, "{bytes:?}");
            image.plant(&SimVfs::new(1), "/log");
        }
    }
}
