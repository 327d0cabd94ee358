//! Power cuts while every thread is at work: appends, group flushes, and the duties' jobs between
//! their beginnings and ends.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use raft_vfs::SimVfs;
use raft_vfs::sim::{KeepAll, KeepNothing, RandomCrash};
use raft_wal::{Options, SharedWal, Wal};

use crate::support::{author, batch, entry};

const WRITERS: u64 = 4;
const EACH: u64 = 150;

fn options() -> Options {
    Options::new().segment_bytes(24 << 10).tail_cache_bytes(4 << 10)
}

/// What was issued, in order: who wrote the entry of index i + 1, and as which of its own.
type Issued = Mutex<Vec<(u64, u64)>>;

/// How far a run has come.
#[derive(Default)]
struct Progress {
    /// The highest index that was acknowledged.
    acknowledged: AtomicU64,
    /// How many moments were taken.
    taken: AtomicU64,
    over: AtomicBool,
}

impl Progress {
    /// Waits for another moment, so that there are some however busy the machine is.
    fn let_sample(&self) {
        let before = self.taken.load(Ordering::SeqCst);
        while self.taken.load(Ordering::SeqCst) == before {
            std::thread::yield_now();
        }
    }
}

fn write(wal: &SharedWal<SimVfs>, writer: u64, issued: &Issued, progress: &Progress) {
    for n in 0..EACH {
        if n % 10 == 0 {
            progress.let_sample();
        }
        let (index, ticket) = {
            let mut issued = issued.lock().unwrap();
            let index = issued.len() as u64 + 1;
            let len = 16 + (writer * 131 + n * 37) as usize % 700;
            let ticket = wal.append(&batch(entry(index, writer, n, len))).unwrap();
            issued.push((writer, n));
            (index, ticket)
        };
        wal.wait(ticket).unwrap();
        progress.acknowledged.fetch_max(index, Ordering::SeqCst);
    }
}

/// Disks as they were at some moment, each with what had been acknowledged just before it.
fn sample(disk: &SimVfs, progress: &Progress) -> Vec<(u64, SimVfs)> {
    let mut taken = Vec::new();
    while !progress.over.load(Ordering::SeqCst) {
        let before = progress.acknowledged.load(Ordering::SeqCst);
        taken.push((before, disk.fork()));
        progress.taken.fetch_add(1, Ordering::SeqCst);
        std::thread::yield_now();
    }
    taken
}

fn compact(wal: &SharedWal<SimVfs>, over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        let durable = wal.durable().last_index;
        let first = wal.first_index().unwrap();
        if durable > first + 80 {
            wal.compact_to(durable - 40).unwrap();
        }
        std::thread::yield_now();
    }
}

/// One run; returns how many moments were judged.
fn run(seed: u64) -> usize {
    let disk = SimVfs::new(seed);
    let dir = Path::new("/data/log");
    let (wal, _) = SharedWal::open(disk.clone(), dir, &options()).unwrap();
    let (issued, progress) = (Issued::default(), Progress::default());
    let moments = std::thread::scope(|s| {
        let sampler = s.spawn(|| sample(&disk, &progress));
        let compactor = s.spawn(|| compact(&wal, &progress.over));
        let (wal, issued, progress) = (&wal, &issued, &progress);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| s.spawn(move || write(wal, writer, issued, progress)))
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        progress.over.store(true, Ordering::SeqCst);
        compactor.join().unwrap();
        sampler.join().unwrap()
    });
    drop(wal);
    let issued = issued.into_inner().unwrap();
    let step = (moments.len() / 150).max(1);
    let judged: Vec<_> = moments.into_iter().step_by(step).collect();
    for (n, (acknowledged, moment)) in judged.iter().enumerate() {
        for how in 0..3 {
            let crashed = match how {
                0 => moment.power_cut(&mut KeepNothing),
                1 => moment.power_cut(&mut KeepAll),
                _ => moment.power_cut(&mut RandomCrash::new(seed * 1000 + n as u64)),
            };
            judge(crashed, dir, *acknowledged, &issued);
        }
    }
    judged.len()
}

fn judge(disk: SimVfs, dir: &Path, acknowledged: u64, issued: &[(u64, u64)]) {
    let (wal, report) = match Wal::open(disk, dir, &options()) {
        Ok(opened) => opened,
        Err(e) => panic!("REFUSED {e}"),
    };
    assert!(wal.next_index() > acknowledged, "{acknowledged} was acknowledged: {report}");
    let entries = wal.entries(wal.first_index(), wal.next_index(), u64::MAX).unwrap();
    for e in &entries {
        assert_eq!(author(e), issued[e.index as usize - 1], "entry {}", e.index);
    }
}

#[test]
fn a_power_cut_at_any_moment_of_many_threads_loses_nothing_that_was_acknowledged() {
    let moments: usize = (0..4).map(run).sum();
    println!("{moments} moments, each cut three ways");
    assert!(moments > 40, "only {moments} moments");
}
