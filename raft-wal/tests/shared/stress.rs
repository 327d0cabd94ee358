//! Many threads, real and simulated disks.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use raft_vfs::sim::RandomCrash;
use raft_vfs::{OsVfs, SimVfs, Vfs};
use raft_wal::{Options, SharedWal, Ticket, Wal};

use crate::support::{author, batch, entry};

const WRITERS: u64 = 6;
const EACH: u64 = 400;

fn options() -> Options {
    Options::new().segment_bytes(64 << 10).max_unsynced_bytes(256 << 10).tail_cache_bytes(8 << 10)
}

/// Appends under a lock of its own, so that indexes are in order.
struct Sequencer<V: Vfs> {
    wal: SharedWal<V>,
    next: Mutex<u64>,
}

impl<V: Vfs> Sequencer<V> {
    fn append(&self, writer: u64, n: u64) -> Result<(u64, Ticket), raft_wal::Error> {
        let mut next = self.next.lock().unwrap();
        let index = *next;
        let len = 16 + (writer * 131 + n * 17) as usize % 900;
        let ticket = self.wal.append(&batch(entry(index, writer, n, len)))?;
        *next += 1;
        Ok((index, ticket))
    }
}

/// Every writer appends and waits, readers read and one compacts. Returns the index up to which
/// everything was acknowledged.
fn turmoil<V: Vfs>(wal: &SharedWal<V>) -> u64 {
    let log = Sequencer { wal: wal.clone(), next: Mutex::new(1) };
    let acknowledged = AtomicU64::new(0);
    let called = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| read_all_the_time(wal, &over));
        s.spawn(|| compact_all_the_time(wal, &over));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (log, acknowledged) = (&log, &acknowledged);
                s.spawn(move || {
                    for n in 0..EACH {
                        let (index, ticket) = log.append(writer, n).unwrap();
                        log.wal.wait(ticket).unwrap();
                        assert!(log.wal.is_durable(ticket));
                        acknowledged.fetch_max(index, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    // What nobody waits for is served in the order of tickets.
    let last = std::sync::Arc::new(called);
    for n in 0..50 {
        let (_, ticket) = log.append(99, n).unwrap();
        let last = last.clone();
        wal.on_durable(ticket, move |result| {
            result.unwrap();
            assert_eq!(last.swap(n + 1, Ordering::SeqCst), n, "callbacks come in order");
        });
    }
    wal.sync().unwrap();
    while last.load(Ordering::SeqCst) < 50 {
        std::thread::yield_now();
    }
    let next = *log.next.lock().unwrap();
    assert!(acknowledged.load(Ordering::Relaxed) < next);
    next - 1
}

fn read_all_the_time<V: Vfs>(wal: &SharedWal<V>, over: &AtomicBool) {
    let mut read = 0_u64;
    while !over.load(Ordering::Relaxed) || read == 0 {
        let (low, high) = (wal.first_index().unwrap(), wal.next_index().unwrap());
        match wal.entries(low, high, 1 << 20) {
            Ok(entries) => {
                read += entries.len() as u64;
                assert!(entries.iter().zip(low..).all(|(e, index)| e.index == index));
            }
            Err(raft_wal::Error::Compacted { .. }) => {}
            Err(e) => panic!("{e}"),
        }
    }
}

fn compact_all_the_time<V: Vfs>(wal: &SharedWal<V>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let (first, next) = (wal.first_index().unwrap(), wal.next_index().unwrap());
        if next - first > 300 {
            wal.compact_to(next - 150).unwrap();
        }
        std::thread::yield_now();
    }
}

/// Each writer's entries are there in the order of its appends, none twice and none missing.
fn check<V: Vfs>(wal: &Wal<V>, last: u64) {
    assert_eq!(wal.next_index(), last + 1);
    let entries = wal.entries(wal.first_index(), last + 1, u64::MAX).unwrap();
    assert!(entries.len() > 100, "{} entries left", entries.len());
    let mut seen = std::collections::BTreeMap::new();
    for e in &entries {
        let (writer, n) = author(e);
        if let Some(before) = seen.insert(writer, n) {
            assert_eq!(n, before + 1, "writer {writer}");
        }
    }
    assert!(seen.contains_key(&99), "the newest entries are there");
    assert!(seen.iter().all(|(w, n)| *n == if *w == 99 { 49 } else { EACH - 1 }));
}

#[test]
fn on_a_real_disk_every_writer_finds_its_entries_in_order_after_a_close() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let (wal, _) = SharedWal::open(OsVfs, &dir, &options()).unwrap();
    let last = turmoil(&wal);
    assert!(wal.take_trouble().is_none());
    wal.close().unwrap();
    let (wal, report) = Wal::open(OsVfs, &dir, &options()).unwrap();
    assert!(report.certain, "{report}");
    check(&wal, last);
}

#[test]
fn on_a_simulated_disk_the_same_and_a_power_cut_afterwards_loses_nothing() {
    for seed in 0..6 {
        let disk = SimVfs::new(seed);
        let dir = Path::new("/data/log");
        let (wal, _) = SharedWal::open(disk.clone(), dir, &options()).unwrap();
        let last = turmoil(&wal);
        let crashed = disk.power_cut(&mut RandomCrash::new(seed));
        drop(wal);
        let (wal, _) = Wal::open(crashed, dir, &options()).unwrap();
        check(&wal, last);
    }
}
