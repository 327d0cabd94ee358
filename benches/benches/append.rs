//! What an acknowledged append costs over the bare `pwrite` and `fdatasync` of as many bytes on a
//! file of zeros, in turns on the same disk; then the same without any sync, in memory, which
//! leaves the work of the processor.
//!
//! Timed is `append` and `wait`, rotation included. Not timed, but counted, are the duties that a
//! background thread has: preparing the next segment, index files, removing compacted segments.

#![allow(clippy::cast_precision_loss, reason = "figures for people, all far below 2^52")]

use std::time::{Duration, Instant};

use benches::count::Counting;
use benches::fill::{batch, frame_len, payload};
use benches::floor::ZeroedFile;
use benches::pair::{Samples, columns, headings, interleaved, micros};
use benches::{Outcome, full_or, scratch, scratch_in_memory, size};
use bytes::Bytes;
use raft_wal::{Options, Wal};

/// Length of the floor's file: that of a segment.
const FLOOR_BYTES: u64 = 64 << 20;
/// The log is compacted when it has grown by so much.
const KEPT_BYTES: u64 = 128 << 20;

/// A floor slower than this waits for the processor, or for a disk that lets few syncs through.
const THROTTLED_MICROS: f64 = 2000.0;

/// Entries in a batch, and their length.
const CASES: [(u64, u64); 4] = [(1, 256), (64, 256), (1, 4096), (16, 64 << 10)];

fn main() -> Outcome {
    durable()?;
    processor()
}

/// A log that is appended to, and what its appends and its duties took.
struct Subject {
    wal: Wal<Counting>,
    vfs: Counting,
    payloads: Bytes,
    entries: u64,
    len: u64,
    appends: u64,
    append_syncs: u64,
    append_bytes: u64,
    duties: Duration,
    since_compaction: u64,
}

impl Subject {
    fn new(dir: &std::path::Path, vfs: Counting, entries: u64, len: u64) -> Outcome<Self> {
        let (wal, _) = Wal::open(vfs.clone(), dir.join("log"), &Options::new())?;
        let mut new = Self {
            wal,
            vfs,
            payloads: payload(entries * len),
            entries,
            len,
            appends: 0,
            append_syncs: 0,
            append_bytes: 0,
            duties: Duration::ZERO,
            since_compaction: 0,
        };
        // The first append of a process starts a segment; it is no append like the others.
        new.append()?;
        (new.appends, new.append_syncs, new.append_bytes) = (0, 0, 0);
        Ok(new)
    }

    /// One acknowledged batch. Returns what it took; duties come after that.
    fn append(&mut self) -> Outcome<Duration> {
        let batch = batch(self.wal.next_index(), &self.payloads, self.len);
        let (syncs, bytes) = (self.vfs.syncs(), self.vfs.bytes());
        let begun = Instant::now();
        let ticket = self.wal.append(&batch)?;
        self.wal.wait(ticket)?;
        let took = begun.elapsed();
        self.appends += 1;
        self.append_syncs += self.vfs.syncs() - syncs;
        self.append_bytes += self.vfs.bytes() - bytes;
        self.since_compaction += self.vfs.bytes() - bytes;
        let begun = Instant::now();
        self.wal.step_publish()?;
        self.wal.step_index()?;
        if self.since_compaction > KEPT_BYTES {
            self.since_compaction = 0;
            self.wal.compact_to(self.wal.next_index() - 1)?;
        }
        self.duties += begun.elapsed();
        Ok(took)
    }
}

/// Table 1: with syncs, on the disk.
fn durable() -> Outcome {
    println!("append + wait against pwrite + fdatasync of as many bytes, in turns, p50 and p99\n");
    header();
    let mut throttled = false;
    for (entries, len) in CASES {
        let dir = scratch();
        let mut subject = Subject::new(dir.path(), Counting::new(), entries, len)?;
        let mut floor = ZeroedFile::create(&dir.path().join("floor"), FLOOR_BYTES)?;
        let rounds = measure(&mut subject, &mut floor, len, full_or(5, 1), full_or(150, 20), true)?;
        row(&subject, &rounds, len);
        throttled |= micros(rounds.iter().map(|r| &r.0), 50) > THROTTLED_MICROS;
    }
    if throttled {
        println!(
            "\nA floor of milliseconds waits for other work on the machine, or for a disk that \
             lets few syncs\nthrough. The log waits alike, and a ratio of 1 says only that it \
             syncs once. \
             Run this again\non a quiet machine."
        );
    }
    println!();
    Ok(())
}

/// Table 2: without syncs, in memory.
fn processor() -> Outcome {
    println!("the same in memory, nobody syncs: append + wait against pwrite\n");
    header();
    for (entries, len) in CASES {
        let dir = scratch_in_memory();
        let mut subject = Subject::new(dir.path(), Counting::without_syncs(), entries, len)?;
        let mut floor = ZeroedFile::create(&dir.path().join("floor"), FLOOR_BYTES)?;
        let turns = if len > 4096 { full_or(200, 20) } else { full_or(20_000, 200) };
        let rounds = measure(&mut subject, &mut floor, len, full_or(7, 1), turns, false)?;
        row(&subject, &rounds, len);
    }
    println!();
    Ok(())
}

fn measure(
    subject: &mut Subject,
    floor: &mut ZeroedFile,
    len: u64,
    rounds: usize,
    turns: usize,
    sync: bool,
) -> Outcome<Vec<(Samples, Samples)>> {
    let bytes = payload(frame_len(subject.entries, len));
    (0..rounds)
        .map(|_| interleaved(turns, || floor.append(&bytes, sync), || subject.append()))
        .collect()
}

fn header() {
    println!("{:>12} {} {:>8} {:>7} {:>8}", "batch", headings(), "syncs", "bytes", "duties");
}

fn row(subject: &Subject, rounds: &[(Samples, Samples)], len: u64) {
    let turns: usize = rounds.iter().map(|r| r.0.count()).sum();
    let floor_bytes = turns as u64 * frame_len(subject.entries, len);
    println!(
        "{:>12} {} {:>7.3}x {:>6.3}x {:>6.1}us",
        format!("{} x {}", subject.entries, size(len)),
        columns(rounds),
        subject.append_syncs as f64 / subject.appends as f64,
        subject.append_bytes as f64 / floor_bytes as f64,
        subject.duties.as_secs_f64() * 1e6 / subject.appends as f64,
    );
}
