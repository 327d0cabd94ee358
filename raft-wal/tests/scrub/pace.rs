//! How fast it reads: by the options and the caller's clock, or by the thread of a shared log.

use std::time::{Duration, Instant};

use raft_wal::{Options, SharedWal, Wal};

use crate::support::lab::{Lab, entries, flip, frames, small, state};
use crate::support::sim::{DIR, announce, segment_path, segments};

const MIB: u64 = 1 << 20;

#[test]
fn steps_by_the_clock_read_no_faster_than_the_options_say() {
    let options = Options::new().segment_bytes(MIB).scrub_bytes_per_second(2 * MIB);
    let mut lab = Lab::new(options);
    for _ in 0..100 {
        lab.add_synced(1, 60_000);
    }
    for (every, seconds) in [(1, 20_u64), (700, 60), (3000, 60)] {
        let before = lab.wal.scrub_status().bytes;
        let start = Duration::from_secs(1000 * every);
        lab.wal.step_all(start).unwrap();
        for tick in 1..=seconds * 1000 / every {
            lab.wal.step_all(start + Duration::from_millis(tick * every)).unwrap();
        }
        let read = lab.wal.scrub_status().bytes - before;
        let allowed = 2 * MIB * seconds + 3 * MIB;
        announce(&format!("scrub: {read} bytes in {seconds} s by ticks of {every} ms"));
        assert!(read <= allowed, "{read} of {allowed}");
        if every < 500 {
            assert!(read > allowed / 2, "{read} of {allowed}");
        }
    }
    assert!(lab.wal.scrub_status().passes > 2);
}

#[test]
fn a_small_log_is_not_read_all_the_time_and_none_is_where_that_is_off() {
    for (rate, most) in [(MIB, 61), (0, 0)] {
        let mut lab = Lab::new(small().scrub_bytes_per_second(rate));
        lab.put(&state(1, 1, 0));
        lab.add_synced(1, 100);
        for tick in 0..60_000 {
            lab.wal.step_all(Duration::from_millis(tick)).unwrap();
        }
        let passes = lab.wal.scrub_status().passes;
        assert!(passes <= most && (most == 0 || passes > 50), "{passes} passes at {rate}");
    }
}

#[test]
fn the_thread_of_a_shared_log_scrubs_while_it_is_written_and_while_it_is_idle() {
    let disk = raft_vfs::SimVfs::new(3);
    let options = small().scrub_bytes_per_second(64 * MIB);
    let wal = SharedWal::open(disk.clone(), DIR, &options).unwrap().0;
    let passes = |wal: &SharedWal<_>| wal.scrub_status().unwrap().passes;
    let begun = Instant::now();
    let mut index = 1;
    while passes(&wal) < 5 {
        let ticket = wal.append(&entries(index, 1, 1, 500)).unwrap();
        wal.wait(ticket).unwrap();
        index += 1;
        if index.is_multiple_of(100) {
            wal.compact_to(index - 20).unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", wal.scrub_status());
    }
    let status = wal.scrub_status().unwrap();
    assert!(status.findings.is_empty(), "{:?}", status.findings);
    // Nobody rings from here on.
    let before = passes(&wal);
    while passes(&wal) < before + 3 {
        std::thread::sleep(Duration::from_millis(5));
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", wal.scrub_status());
    }
    let seq = *segments(&disk).iter().rfind(|&&seq| !frames(&disk, seq).is_empty()).unwrap();
    let at = frames(&disk, seq)[0].offset;
    flip(&disk, segment_path(seq), at + 60);
    while !wal.scrub_status().unwrap().is_damaged() {
        std::thread::sleep(Duration::from_millis(5));
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", wal.scrub_status());
    }
    let found = &wal.scrub_status().unwrap().findings[0];
    assert_eq!((found.path(), found.offset()), (&*segment_path(seq), at));
    assert_eq!(wal.poisoned(), None);
    let ticket = wal.append(&entries(index, 1, 1, 500)).unwrap();
    wal.wait(ticket).unwrap();
    announce(&format!("scrub: {} passes beside {index} entries", passes(&wal)));
    wal.close().unwrap();
}

#[test]
fn a_shared_log_does_not_scrub_where_that_is_off() {
    let disk = raft_vfs::SimVfs::new(3);
    let wal = Wal::open(disk, DIR, &small().scrub_bytes_per_second(0)).unwrap().0;
    let wal = SharedWal::new(wal).unwrap();
    wal.append(&entries(1, 1, 1, 500)).unwrap();
    wal.sync().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(wal.scrub_status().unwrap().bytes, 0);
    wal.close().unwrap();
}
