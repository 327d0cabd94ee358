//! A raft-wal directory, whatever is in it.

use raft_vfs::SimVfs;
use raft_wal::Options;

use super::judge;
use crate::image::Image;
use crate::support::sim::DIR;

/// The disk that an input stands for, with the log in `/data/log`, and how it is opened.
pub fn disk_of_dir(data: &[u8]) -> Option<(SimVfs, Options)> {
    let (&byte, rest) = data.split_first()?;
    let disk = SimVfs::new(1);
    Image::parse(rest).plant(&disk, DIR);
    Some((disk, judge::options(byte)))
}

/// Input: one byte of options, and an [`Image`]. Asserts all that holds of any directory: see
/// `judge.rs`.
///
/// # Panics
/// If it does not hold.
pub fn dir_open(data: &[u8]) {
    if let Some((disk, options)) = disk_of_dir(data) {
        judge::log(&disk, &options, data);
    }
}
