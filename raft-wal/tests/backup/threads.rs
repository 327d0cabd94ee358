//! Copies of a log that threads append to, rotate and compact meanwhile.
#![allow(clippy::disallowed_methods, reason = "real files are looked at")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use raft_vfs::{OsVfs, SimVfs, Vfs};
use raft_wal::{Options, SharedWal, Wal};

use crate::support::lab::{entries, entry};
use crate::support::sim::announce;

fn options() -> Options {
    Options::new().segment_bytes(32 << 10).scrub_bytes_per_second(64 << 20)
}

/// Writers append, one of them compacts; meanwhile `copies` copies are made and opened.
fn copies_beside_writers<V: Vfs>(vfs: &V, dir: &Path, to: &Path, copies: usize) {
    let wal = SharedWal::open(vfs.clone(), dir, &options()).unwrap().0;
    let (over, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut behind = 0;
    std::thread::scope(|s| {
        let (log, over, acknowledged) = (&wal, &over, &acknowledged);
        s.spawn(move || {
            let mut next = 1;
            while !over.load(Ordering::Relaxed) {
                let count = 1 + next % 4;
                let len = 100 + (next * 37 % 900) as usize;
                let ticket = log.append(&entries(next, count, 1, len)).unwrap();
                next += count;
                if next.is_multiple_of(3) {
                    log.wait(ticket).unwrap();
                    acknowledged.store(next - 1, Ordering::SeqCst);
                }
                if next % 64 < 4 && next > 200 {
                    log.compact_to(next - 100).unwrap();
                }
            }
        });
        for n in 0..copies {
            let target = acknowledged.load(Ordering::SeqCst) + 50;
            while acknowledged.load(Ordering::SeqCst) < target {
                std::thread::yield_now();
            }
            let promised = acknowledged.load(Ordering::SeqCst);
            let backup = log.backup().unwrap();
            let to = to.join(n.to_string());
            backup.copy_to(vfs, &to).unwrap();
            behind += u64::from(log.durable() != backup.durable());
            let (copy, report) = Wal::open(vfs.clone(), &to, &options().create(false)).unwrap();
            assert_eq!((report.carried, &report.discarded), (0, &None), "{report}");
            let (first, next) = (copy.first_index(), copy.next_index());
            assert_eq!(next, backup.durable().last_index + 1);
            assert!(next > promised, "{next} after {promised}");
            for got in copy.entries(first, next, u64::MAX).unwrap() {
                let data_len = got.data.len();
                assert_eq!(got, entry(got.index, 1, data_len));
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(wal.take_trouble().is_none());
    assert!(wal.scrub_status().unwrap().findings.is_empty());
    announce(&format!("backup: {copies} copies beside a writer, {behind} outrun by it"));
    wal.close().unwrap();
}

#[test]
fn copies_are_whole_while_others_write_and_compact() {
    let disk = SimVfs::new(1);
    copies_beside_writers(&disk, Path::new("/data/log"), Path::new("/backup"), 12);
}

#[test]
fn copies_of_real_files_are_whole_while_others_write_and_compact() {
    let dir = tempfile::tempdir().unwrap();
    copies_beside_writers(&OsVfs, &dir.path().join("log"), &dir.path().join("copies"), 6);
    let names = std::fs::read_dir(dir.path().join("copies/0")).unwrap();
    let mut names: Vec<_> = names.map(|n| n.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["IDENT", "LOCK", "wal"]);
}
