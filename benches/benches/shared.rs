//! The log as a server uses it: behind a handle for many threads, whose own thread prepares
//! segments, writes index files, removes and recycles meanwhile.
//!
//! First what an acknowledged append of a lone writer costs over the bare `pwrite` and `fdatasync`
//! of as many bytes, in turns on the same disk, with segments so small that a run passes through
//! many of them; then how much more 16 writers get done than one.

#![allow(clippy::cast_precision_loss, reason = "figures for people, all far below 2^52")]

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use benches::count::Counting;
use benches::fill::{batch, frame_len, payload};
use benches::floor::{ZeroedFile, segments};
use benches::pair::{columns, headings, interleaved};
use benches::{Outcome, full_or, scratch, scratch_in_memory, size};
use bytes::Bytes;
use raft_wal::{Options, SharedWal};

/// Entries in a batch, their length, and the size of a segment: room for some 200 batches, of the
/// largest for 64.
const CASES: [(u64, u64, u64); 4] =
    [(1, 256, 64 << 10), (64, 256, 4 << 20), (1, 4096, 1 << 20), (16, 64 << 10, 64 << 20)];
/// With compaction, so many segments are kept.
const KEPT_SEGMENTS: u64 = 3;
/// Length of the floor's file.
const FLOOR_BYTES: u64 = 64 << 20;

const WRITERS: usize = 16;
/// Payload of a writer's batch.
const WRITERS_LEN: u64 = 256;

fn main() -> Outcome {
    if wanted("steady") {
        steady_all()?;
    }
    if wanted("writers") {
        writers_all()?;
    }
    Ok(())
}

/// `cargo bench -p benches --bench shared -- writers` measures the second table alone.
fn wanted(table: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|a| !a.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|a| a == table)
}

fn steady_all() -> Outcome {
    println!("append + wait through segment changes against pwrite + fdatasync, in turns\n");
    println!("{:>12} {:>8} {:>8} {} {:>8}", "batch", "segment", "compacts", headings(), "changes");
    for compacts in [true, false] {
        for (entries, len, segment) in CASES {
            steady(entries, len, segment, compacts)?;
        }
    }
    println!();
    Ok(())
}

fn writers_all() -> Outcome {
    println!("acknowledged batches of 1 x {WRITERS_LEN} B: 1 writer and {WRITERS} by turns\n");
    println!(
        "{:>6} {:>12} {:>10} {:>12} {:>10} {:>8}",
        "sync", "1: a second", "per sync", "16: a second", "per sync", "ratio"
    );
    writers("disk", scratch().path(), Counting::new())?;
    for micros in [100, 1000] {
        let sleeps = Counting::with_sync_latency(Duration::from_micros(micros));
        writers(&format!("{micros} us"), scratch_in_memory().path(), sleeps)?;
    }
    println!();
    Ok(())
}

/// A log with one writer.
struct Subject {
    wal: SharedWal<Counting>,
    payloads: Bytes,
    len: u64,
    next: u64,
    /// Entries that are kept; `None` keeps all.
    keeps: Option<u64>,
}

impl Subject {
    /// One acknowledged batch. Returns what it took; a compaction comes after that, and what
    /// follows from it goes on in the background.
    fn append(&mut self) -> Outcome<Duration> {
        let batch = batch(self.next, &self.payloads, self.len);
        let begun = Instant::now();
        let ticket = self.wal.append(&batch)?;
        self.wal.wait(ticket)?;
        let took = begun.elapsed();
        self.next += batch.entries.len() as u64;
        let first = self.wal.first_index()?;
        if let Some(keeps) = self.keeps
            && self.next - first > 2 * keeps
        {
            self.wal.compact_to(self.next - keeps)?;
        }
        Ok(took)
    }
}

fn steady(entries: u64, len: u64, segment: u64, compacts: bool) -> Outcome {
    let dir = scratch();
    let log = dir.path().join("log");
    let options = Options::new().segment_bytes(segment);
    let frame = frame_len(entries, len);
    let kept = KEPT_SEGMENTS * (segment / frame) * entries;
    let mut subject = Subject {
        wal: SharedWal::open(Counting::new(), &log, &options)?.0,
        payloads: payload(entries * len),
        len,
        next: 1,
        keeps: compacts.then_some(kept),
    };
    let mut floor = ZeroedFile::create(&dir.path().join("floor"), FLOOR_BYTES)?;
    let bytes = payload(frame);
    // Until segments come back the first of them must be made.
    let warm_up = if compacts { 4 * KEPT_SEGMENTS * segment / frame } else { 1 };
    for _ in 0..full_or(warm_up, 1) {
        subject.append()?;
    }
    let before = newest(&log)?;
    let rounds = (0..full_or(5, 1))
        .map(|_| interleaved(full_or(200, 20), || floor.append(&bytes, true), || subject.append()))
        .collect::<Outcome<Vec<_>>>()?;
    println!(
        "{:>12} {:>8} {:>8} {} {:>8}",
        format!("{entries} x {}", size(len)),
        size(segment),
        if compacts { "yes" } else { "no" },
        columns(&rounds),
        newest(&log)? - before,
    );
    subject.wal.close()?;
    Ok(())
}

/// The number of the newest segment: how many there ever were.
fn newest(log: &Path) -> Outcome<u64> {
    let newest = segments(log)?.pop().ok_or("a log without segments")?;
    let name = newest.file_stem().and_then(|stem| stem.to_str()).ok_or("a segment without name")?;
    Ok(name.parse()?)
}

/// What some writers got done in a while.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    batches: u64,
    syncs: u64,
    took: Duration,
}

impl Done {
    fn per_second(self) -> f64 {
        self.batches as f64 / self.took.as_secs_f64()
    }

    fn per_sync(self) -> f64 {
        self.batches as f64 / self.syncs as f64
    }
}

/// The same log, by turns with one writer and with many. Syncs sleep or are the disk's: of a disk
/// that others use the one shows what the log does with it, the other what it can do.
fn writers(sync: &str, dir: &Path, vfs: Counting) -> Outcome {
    let (wal, _) = SharedWal::open(vfs.clone(), dir.join("log"), &Options::new())?;
    let log = Log { wal, vfs, next: Mutex::new(1), payload: payload(WRITERS_LEN) };
    let slice = Duration::from_millis(full_or(250, 30));
    log.write(1, slice)?;
    let mut rounds = Vec::new();
    for _ in 0..full_or(9, 2) {
        rounds.push((log.write(1, slice)?, log.write(WRITERS, slice)?));
    }
    let ratio = |(one, many): &(Done, Done)| many.per_second() / one.per_second();
    rounds.sort_unstable_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let [least, .., most] = &rounds[..] else { return Ok(()) };
    let middle = &rounds[rounds.len() / 2];
    let (one, many) = middle;
    println!(
        "{sync:>6} {:>12.0} {:>10.2} {:>12.0} {:>10.2} {:>7.1}x ({:.1}..{:.1})",
        one.per_second(),
        one.per_sync(),
        many.per_second(),
        many.per_sync(),
        ratio(middle),
        ratio(least),
        ratio(most),
    );
    log.wal.close()?;
    Ok(())
}

/// A log with many writers. Indexes are given out in the order of appends, as a Raft leader does.
struct Log {
    wal: SharedWal<Counting>,
    vfs: Counting,
    next: Mutex<u64>,
    payload: Bytes,
}

impl Log {
    /// Lets `writers` threads append, each waiting for every batch before the next.
    fn write(&self, writers: usize, slice: Duration) -> Outcome<Done> {
        let (ended, batches) = (AtomicBool::new(false), AtomicU64::new(0));
        let syncs = self.vfs.syncs();
        let begun = Instant::now();
        let outcomes = thread::scope(|scope| {
            let writer = || {
                while !ended.load(Ordering::Relaxed) {
                    self.append().map_err(|e| e.to_string())?;
                    batches.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            };
            let threads: Vec<_> = (0..writers).map(|_| scope.spawn(writer)).collect();
            thread::sleep(slice);
            ended.store(true, Ordering::Relaxed);
            threads.into_iter().map(|t| t.join().unwrap_or(Err("a panic".into()))).collect()
        });
        let took = begun.elapsed();
        let all: Result<Vec<()>, String> = outcomes;
        all?;
        let (batches, syncs) = (batches.into_inner(), self.vfs.syncs() - syncs);
        Ok(Done { batches, syncs, took })
    }

    fn append(&self) -> Outcome {
        let ticket = {
            let mut next = self.next.lock().map_err(|_| "a writer panicked")?;
            let ticket = self.wal.append(&batch(*next, &self.payload, WRITERS_LEN))?;
            *next += 1;
            ticket
        };
        Ok(self.wal.wait(ticket)?)
    }
}
