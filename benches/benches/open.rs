//! Opening and verifying logs that are in the page cache, against reading through one CRC-32 what
//! has to be read; and what memory a process holds after an open.
//!
//! An open that trusts index files has to read the newest segment, every other way the whole log.
//! `BENCH_FULL=1` adds a log of 8 GiB.

#![allow(clippy::cast_precision_loss, reason = "figures for people, all far below 2^52")]

use std::alloc::System;
use std::path::Path;
use std::time::Duration;

use benches::floor::{read_and_checksum, segments};
use benches::pair::{Ratio, interleaved, micros, timed};
use benches::rss::{child_argument, in_a_child, resident};
use benches::{Outcome, fill, full_or, scratch, size};
use raft_vfs::{FileKind, OsVfs, Vfs as _};
use raft_wal::{Options, ReadOnly, Status, Verify, Wal, verify};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

/// Bytes of a log, and the length of its entries.
const CASES: [(u64, u64); 4] =
    [(64 << 20, 1024), (256 << 20, 1024), (1 << 30, 1024), (256 << 20, 128)];
const QUICK_CASES: [(u64, u64); 1] = [(16 << 20, 1024)];
const HUGE: (u64, u64) = (8 << 30, 1024);

/// Counts what is on the heap.
#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Outcome {
    if let Some(dir) = child_argument() {
        return memory_of_an_open(Path::new(&dir));
    }
    println!("open, in the page cache, against read() and CRC-32 of what must be read, in turns\n");
    println!(
        "{:>8} {:>8} {:>9} {:>24} {:>10} {:>10} {:>22} {:>9} {:>9}",
        "log", "entries", "of", "what", "floor", "log", "ratio", "read", "GB/s"
    );
    let mut cases = full_or(&CASES[..], &QUICK_CASES[..]).to_vec();
    cases.extend(std::env::var_os("BENCH_FULL").map(|_| HUGE));
    let mut memory = Vec::new();
    for (total, len) in cases {
        let dir = scratch();
        let entries = fill::log(dir.path(), total, len)?;
        let ways = if total > 1 << 30 { Way::TAIL } else { Way::ALL };
        for way in ways {
            let name = format!("{:>8} {entries:>8} {:>9}", size(total), size(len));
            way.measure(dir.path(), &name, if total > 256 << 20 { 2 } else { 4 })?;
        }
        let said = in_a_child(dir.path().to_str().ok_or("a path that is not UTF-8")?)?;
        memory.push(format!("{:>8} of {}: {said}", size(total), size(len)));
    }
    println!(
        "\nmemory of a process after an open that trusts index files, then after a full one\n"
    );
    for line in memory {
        println!("{line}");
    }
    println!();
    Ok(())
}

/// One way of opening.
#[derive(Clone, Copy)]
enum Way {
    /// For writing, trusting index files: every sync of an open included.
    WriterTail,
    /// Read-only, trusting index files.
    ReaderTail,
    /// Read-only, without index files: every segment is scanned.
    ReaderScan,
    /// Read-only, reading everything although there are index files.
    ReaderFull,
    /// The verification that `wal-dump verify` is.
    Verify,
}

impl Way {
    const ALL: &[Self] =
        &[Self::WriterTail, Self::ReaderTail, Self::ReaderFull, Self::Verify, Self::ReaderScan];
    const TAIL: &[Self] = &[Self::WriterTail, Self::ReaderTail];

    fn name(self) -> &'static str {
        match self {
            Self::WriterTail => "Wal::open Tail",
            Self::ReaderTail => "ReadOnly::open Tail",
            Self::ReaderScan => "ReadOnly::open, no .idx",
            Self::ReaderFull => "ReadOnly::open Full",
            Self::Verify => "verify",
        }
    }

    fn measure(self, dir: &Path, log: &str, turns: usize) -> Outcome {
        if let Self::ReaderScan = self {
            remove_indexes(dir)?;
        }
        let mut files = segments(dir)?;
        if let Self::WriterTail | Self::ReaderTail = self {
            files.drain(..files.len() - 1);
        }
        let mut scanned = 0;
        let mut round = || {
            let floor = || Ok(timed(|| Ok(read_and_checksum(&files)?))?.1);
            interleaved(turns, floor, || {
                let (bytes, took) = self.open(dir)?;
                scanned = bytes;
                Ok(took)
            })
        };
        let rounds = (0..full_or(5, 1)).map(|_| round()).collect::<Outcome<Vec<_>>>()?;
        let floor = micros(rounds.iter().map(|r| &r.0), 50) / 1000.0;
        let open = micros(rounds.iter().map(|r| &r.1), 50) / 1000.0;
        println!(
            "{log} {:>24} {floor:>8.2}ms {open:>8.2}ms {:>22} {:>9} {:>9.2}",
            self.name(),
            Ratio::of(&rounds, 50),
            size(scanned),
            scanned as f64 / open / 1e6,
        );
        Ok(())
    }

    /// Opens once. Returns the bytes of segments that were read, and the time.
    fn open(self, dir: &Path) -> Outcome<(u64, Duration)> {
        let tail = Options::new().create(false).verify(Verify::Tail);
        match self {
            Self::WriterTail => {
                let ((wal, report), took) = timed(|| Ok(Wal::open(OsVfs, dir, &tail)?))?;
                drop(wal);
                Ok((report.scanned_bytes, took))
            }
            Self::ReaderTail | Self::ReaderScan | Self::ReaderFull => {
                let full = matches!(self, Self::ReaderFull);
                let options = if full { tail.verify(Verify::Full) } else { tail };
                let ((_, report), took) = timed(|| Ok(ReadOnly::open(OsVfs, dir, &options)?))?;
                Ok((report.scanned_bytes, took))
            }
            Self::Verify => {
                let (seen, took) = timed(|| Ok(verify(OsVfs, dir, &tail)?))?;
                if seen.status != Status::Intact {
                    return Err(format!("the log is {:?}", seen.status).into());
                }
                Ok((seen.report.map_or(0, |r| r.scanned_bytes), took))
            }
        }
    }
}

fn remove_indexes(dir: &Path) -> Outcome {
    let wal = dir.join("wal");
    for e in OsVfs.list(&wal)? {
        let path = wal.join(e.name);
        if e.kind == FileKind::File && path.extension().is_some_and(|ending| ending == "idx") {
            OsVfs.remove(&path)?;
        }
    }
    Ok(())
}

/// The child: opens the log and says what that costs in memory.
fn memory_of_an_open(dir: &Path) -> Outcome {
    let Some(before) = resident() else {
        println!("not told by this system");
        return Ok(());
    };
    for (mode, name) in [(Verify::Tail, "Tail"), (Verify::Full, "Full")] {
        let options = Options::new().create(false).verify(mode);
        let heap = Region::new(HEAP);
        let (log, report) = ReadOnly::open(OsVfs, dir, &options)?;
        let held = heap.change();
        let (all, private) = resident().unwrap_or_default();
        let entries = log.next_index() - log.first_index();
        let grown = private.saturating_sub(before.1);
        print!(
            "{name}: {all} KiB resident, {private} KiB of it private ({grown} KiB more than before), \
             {} on the heap for {entries} entries in {} segments; ",
            size((held.bytes_allocated - held.bytes_deallocated) as u64),
            report.segments
        );
    }
    println!();
    Ok(())
}
