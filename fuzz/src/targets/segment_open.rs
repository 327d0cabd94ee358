//! One segment, whatever is in it, in an otherwise sound log.

use std::sync::OnceLock;

use raft_vfs::SimVfs;
use raft_wal::Options;

use super::judge;
use crate::corpus;
use crate::image::Image;
use crate::support::sim::{DIR, path};

/// A sound log, and the segment of it that an input replaces.
#[derive(Clone, Debug)]
pub struct Host {
    /// The log.
    pub image: Image,
    /// The segment's name.
    pub segment: String,
}

/// The sound logs kept with raft-wal's tests, once for each of their segments.
///
/// # Panics
/// If they cannot be read.
pub fn hosts() -> &'static [Host] {
    static HOSTS: OnceLock<Vec<Host>> = OnceLock::new();
    HOSTS.get_or_init(|| {
        let logs = corpus::kept_logs().expect("fixtures are in the repository");
        let sound = logs.into_iter().filter(|(name, _)| !name.starts_with("v1-damaged"));
        let mut hosts = Vec::new();
        for (_, image) in sound {
            for (name, _) in &image.files {
                if name.ends_with(b".seg") {
                    let segment = String::from_utf8_lossy(name).into_owned();
                    hosts.push(Host { image: image.clone(), segment });
                }
            }
        }
        hosts
    })
}

/// The disk that an input stands for, with the log in `/data/log`, and how it is opened.
pub fn disk_of_segment(data: &[u8]) -> Option<(SimVfs, Options)> {
    let (&byte, rest) = data.split_first()?;
    let (_, segment) = Image::parse(rest).files.into_iter().next()?;
    let host = &hosts()[usize::from(byte & 31) % hosts().len()];
    let disk = SimVfs::new(1);
    host.image.plant(&disk, DIR);
    disk.write_file(path(&host.segment), &segment);
    Some((disk, judge::options(byte >> 5)))
}

/// Input: one byte that names a [`Host`] and, in its highest bits, options, and an [`Image`] whose
/// first file is the segment; its name does not matter. Asserts all that holds of any directory:
/// see `judge.rs`.
///
/// # Panics
/// If it does not hold.
pub fn segment_open(data: &[u8]) {
    if let Some((disk, options)) = disk_of_segment(data) {
        judge::log(&disk, &options, data);
    }
}
