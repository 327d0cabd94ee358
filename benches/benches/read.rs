//! Reading ranges and single entries, each checked on the way, against a `pread` of the same bytes
//! and their CRC-32.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use benches::floor::segments;
use benches::pair::{Ratio, Samples, interleaved, micros};
use benches::{Outcome, fill, full_or, scratch};
use fastrand::Rng;
use raft_vfs::{Access, OsFile, OsVfs, Vfs as _, VfsFile as _, VfsFileExt as _};
use raft_wal::{Options, ReadMode, Wal};

fn main() -> Outcome {
    println!("reads, in the page cache, against pread and CRC-32 of as many bytes, in turns\n");
    println!(
        "{:>44} {:>8} {:>11} {:>11} {:>20} {:>11} {:>20}",
        "what", "samples", "floor p50", "log p50", "ratio p50", "log p99", "ratio p99"
    );
    let total = full_or(256 << 20, 16 << 20);
    let ranges = scratch();
    let entries = fill::log(ranges.path(), total, 1024)?;
    for mode in [ReadMode::Map, ReadMode::Pread] {
        let options = Options::new().read_mode(mode);
        let (wal, _) = Wal::open(OsVfs, ranges.path(), &options)?;
        let name = format!("64 x 1 KiB of closed segments, {mode:?}");
        measure(ranges.path(), &wal, &name, entries * 3 / 4, 64, 1024)?;
    }
    let singles = scratch();
    let entries = fill::log(singles.path(), total, 256)?;
    for mode in [ReadMode::Map, ReadMode::Pread] {
        let options = Options::new().read_mode(mode);
        let (wal, _) = Wal::open(OsVfs, singles.path(), &options)?;
        let name = format!("1 x 256 B of closed segments, {mode:?}");
        measure(singles.path(), &wal, &name, entries * 3 / 4, 1, 256)?;
    }
    let (mut wal, _) = Wal::open(OsVfs, singles.path(), &Options::new())?;
    let first = wal.next_index();
    for i in 0..full_or(300, 30) {
        wal.append(&fill::batch(first + i * 64, &fill::payload(64 * 256), 256))?;
    }
    wal.sync()?;
    newest(singles.path(), &wal, first, 1)?;
    newest(singles.path(), &wal, first, 64)?;
    println!();
    Ok(())
}

/// Random ranges below `limit`.
fn measure(dir: &Path, wal: &Wal<OsVfs>, name: &str, limit: u64, count: u64, len: u64) -> Outcome {
    compare(dir, wal, name, 1..limit - count, count, len)
}

/// Random ranges of what was just appended, which is in memory.
fn newest(dir: &Path, wal: &Wal<OsVfs>, first: u64, count: u64) -> Outcome {
    let range = first..wal.next_index() - count;
    compare(dir, wal, &format!("{count} x 256 B just appended"), range, count, 256)
}

fn compare(
    dir: &Path,
    wal: &Wal<OsVfs>,
    name: &str,
    indexes: std::ops::Range<u64>,
    count: u64,
    len: u64,
) -> Outcome {
    let mut floor = Floor::open(dir, fill::frame_len(count, len) - 48)?;
    let mut rng = Rng::with_seed(count);
    // A clock reading costs as much as a small read: a sample is many.
    let reads = if count == 1 { 100 } else { 10 };
    let samples = full_or(2000, 50);
    let rounds = (0..full_or(5, 1)).map(|_| {
        let mut rng = rng.fork();
        interleaved(
            samples,
            || floor.read(reads),
            || {
                let begun = Instant::now();
                for _ in 0..reads {
                    let low = rng.u64(indexes.clone());
                    let read = wal.entries(low, low + count, u64::MAX)?;
                    assert_eq!(read.len() as u64, count);
                    black_box(&read);
                }
                Ok(begun.elapsed() / reads)
            },
        )
    });
    let rounds: Vec<(Samples, Samples)> = rounds.collect::<Outcome<_>>()?;
    let (floors, logs) = (|| rounds.iter().map(|r| &r.0), || rounds.iter().map(|r| &r.1));
    println!(
        "{name:>44} {:>8} {:>9.3}us {:>9.3}us {:>20} {:>9.3}us {:>20}",
        logs().map(Samples::count).sum::<usize>(),
        micros(floors(), 50),
        micros(logs(), 50),
        Ratio::of(&rounds, 50),
        micros(logs(), 99),
        Ratio::of(&rounds, 99),
    );
    Ok(())
}

/// Random places in the log's own files, read into one buffer and checksummed.
struct Floor {
    files: Vec<(OsFile, u64)>,
    buf: Vec<u8>,
    rng: Rng,
}

impl Floor {
    fn open(dir: &Path, len: u64) -> Outcome<Self> {
        let mut files = Vec::new();
        for path in segments(dir)? {
            let file = OsVfs.open(&path, Access::Read)?;
            let size = file.len()?;
            files.push((file, size));
        }
        Ok(Self { files, buf: vec![0; len as usize], rng: Rng::with_seed(1) })
    }

    fn read(&mut self, reads: u32) -> Outcome<std::time::Duration> {
        let begun = Instant::now();
        for _ in 0..reads {
            let (file, size) = &self.files[self.rng.usize(..self.files.len())];
            let at = self.rng.u64(..size - self.buf.len() as u64) & !7;
            file.read_exact_at(&mut self.buf, at)?;
            black_box(crc32fast::hash(&self.buf));
        }
        Ok(begun.elapsed() / reads)
    }
}
