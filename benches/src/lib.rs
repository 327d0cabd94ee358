//! Measuring the log against the machine it runs on.
//!
//! Absolute times on a shared or virtual disk say little: the same sync takes 0.15 ms in one
//! second and 4 ms in the next, when others want the processor or the disk. So every figure here
//! is a ratio. The log and its *floor*, the least that could do the same job with the same bytes,
//! take turns in one loop ([`pair::interleaved`]), and whatever slows the machine slows both.
//!
//! `BENCH_QUICK=1` makes every bench a smoke test of a few seconds, as does running one by other
//! means than `cargo bench`. `BENCH_DIR` says where files are made (default: the system's directory
//! for temporary files).

#![allow(clippy::cast_precision_loss, reason = "figures for people, all far below 2^52")]

pub mod count;
pub mod fill;
pub mod floor;
pub mod pair;
pub mod rss;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Whether this run only shows that the benches work.
pub fn quick() -> bool {
    let asked = std::env::var_os("BENCH_QUICK").is_some_and(|v| !v.is_empty() && v != "0");
    asked || !std::env::args().any(|a| a == "--bench")
}

/// The first value, or in a quick run the second.
pub fn full_or<T>(full: T, quick_run: T) -> T {
    if quick() { quick_run } else { full }
}

/// A fresh directory on the disk to be measured. Removed when dropped.
///
/// # Panics
/// If it cannot be made.
pub fn scratch() -> TempDir {
    let parent = std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    scratch_in(&parent)
}

/// A fresh directory in memory where the system has such a thing (`/dev/shm`), else on disk.
///
/// # Panics
/// If it cannot be made.
pub fn scratch_in_memory() -> TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { scratch_in(shm) } else { scratch() }
}

fn scratch_in(parent: &Path) -> TempDir {
    let made = tempfile::Builder::new().prefix("raft-wal-bench-").tempdir_in(parent);
    made.unwrap_or_else(|e| panic!("no directory in {}: {e}", parent.display()))
}

/// Bytes with their unit, short.
pub fn size(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 30 && b.is_multiple_of(1 << 30) => format!("{} GiB", b >> 30),
        b if b >= 1 << 20 => format!("{:.0} MiB", b as f64 / f64::from(1 << 20)),
        b if b >= 1 << 10 => format!("{:.0} KiB", b as f64 / f64::from(1 << 10)),
        b => format!("{b} B"),
    }
}

/// What can go wrong in a bench: anything, and then it ends.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;
