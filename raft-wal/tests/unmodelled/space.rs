//! A disk without room: nothing is half done, and everything goes on when there is room again.

use raft_vfs::SimVfs;
use raft_vfs::sim::{KeepNothing, RandomCrash};
use raft_wal::{Error, Options};

use crate::support::lab::{Lab, blob, compact, entries, judge, small, state};
use crate::support::sim::{open, read_all};

/// What all files have together.
fn used(disk: &SimVfs) -> u64 {
    let len = |p: &std::path::PathBuf| disk.read_file(p).map_or(0, |b| b.len() as u64);
    disk.paths().iter().map(len).sum()
}

fn fill(disk: &SimVfs, more: u64) {
    disk.set_space(Some(used(disk) + more));
}

fn is_full<T: std::fmt::Debug>(result: &Result<T, Error>) {
    assert!(matches!(result, Err(Error::NoSpace { .. })), "{result:?}");
}

#[test]
fn a_batch_for_which_there_is_no_segment_changes_nothing_and_fits_when_there_is_room() {
    let options = Options::new().segment_bytes(64 << 10);
    for more in [0, 1, 4095, 12_288, 40_000, 65_535] {
        let mut lab = Lab::new(options.clone());
        lab.put(&state(1, 1, 0));
        lab.sync();
        fill(&lab.disk, more);
        let mut refused = 0;
        while refused == 0 {
            let next = lab.log().next();
            match lab.wal.append(&entries(next, 1, 1, 900)) {
                Ok(_) => {
                    let mut after = lab.log().clone();
                    after.apply(&entries(next, 1, 1, 900));
                    lab.issued.states.push(after);
                }
                Err(Error::NoSpace { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(lab.log().difference(&read_all(&lab.wal).unwrap()), None);
        assert_eq!(lab.wal.poisoned(), None);
        // Hard state, values and a compaction still go through, and are durable.
        for n in 0..8 {
            let last = lab.log().next() - 1;
            lab.put(&state(2 + n, 2, last));
            lab.put(&blob("term", &[n as u8; 8]));
            lab.sync();
        }
        lab.put(&compact(lab.log().next() - 5));
        lab.sync();
        for seed in 0..8 {
            let disk = lab.disk.power_cut(&mut RandomCrash::new(seed));
            judge(&disk, &options, &lab.issued);
        }
        let next = lab.log().next();
        is_full(&lab.wal.append(&entries(next, 1, 10, 900)));
        lab.disk.set_space(None);
        lab.add_synced(3, 900);
        judge(&lab.disk.power_cut(&mut KeepNothing), &options, &lab.issued);
    }
}

/// The reserve is for batches without entries, and it is not for ever.
#[test]
fn a_full_segment_on_a_full_disk_refuses_even_a_hard_state_and_loses_nothing() {
    let mut lab = Lab::new(small());
    lab.add_synced(1, 100);
    fill(&lab.disk, 0);
    let mut kept = 0;
    loop {
        let commit = lab.log().next() - 1;
        match lab.wal.append(&state(1 + kept, 1, commit)) {
            Ok(_) => {
                let mut after = lab.log().clone();
                after.apply(&state(1 + kept, 1, commit));
                lab.issued.states.push(after);
                kept += 1;
            }
            Err(Error::NoSpace { .. }) => break,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(kept > 20, "{kept} hard states fitted");
    lab.sync();
    judge(&lab.disk.power_cut(&mut KeepNothing), &small(), &lab.issued);
    lab.disk.set_space(None);
    lab.put(&state(kept + 9, 0, 1));
    lab.sync();
    judge(&lab.disk.power_cut(&mut KeepNothing), &small(), &lab.issued);
}

#[test]
fn an_open_that_must_write_again_and_cannot_serves_reads_and_heals_when_there_is_room() {
    for more in [0, 5000, 16_000] {
        let mut lab = Lab::new(small());
        lab.put(&state(2, 1, 0));
        lab.add_synced(3, 200);
        lab.add(1, 100);
        lab.wal.write_through().unwrap();
        let issued = lab.issued.clone();
        let (disk, last) = (lab.disk.fork(), lab.log().clone());
        drop(lab);
        fill(&disk, more);
        let (mut wal, report) = open(&disk, &small()).unwrap();
        assert!(!report.recovered_durable && !wal.recovered_durable());
        assert!(report.carried > 0);
        assert_eq!(last.difference(&read_all(&wal).unwrap()), None);
        let next = wal.next_index();
        is_full(&wal.append(&entries(next, 1, 2, 10)));
        is_full(&wal.append(&state(3, 1, 0)));
        is_full(&wal.sync());
        assert!(wal.durable().last_index < next, "{:?}", wal.durable());
        assert_eq!(last.difference(&read_all(&wal).unwrap()), None);
        // Whatever the disk loses now was never said to be durable.
        for seed in 0..10 {
            judge(&disk.power_cut(&mut RandomCrash::new(seed)), &small(), &issued);
        }
        // A second process finds the same.
        drop(wal);
        let (mut wal, report) = open(&disk, &small()).unwrap();
        assert!(!report.recovered_durable);
        disk.set_space(None);
        wal.sync().unwrap();
        assert!(wal.recovered_durable());
        let lab = Lab { disk, options: small(), wal, issued, report };
        let (got, report) =
            judge(&lab.disk.power_cut(&mut KeepNothing), &small(), &lab.issued.clone());
        assert_eq!((last.difference(&got), report.carried), (None, 0));
    }
}

#[test]
fn an_append_after_such_an_open_writes_again_first() {
    let mut lab = Lab::new(small());
    lab.add_synced(2, 200);
    lab.add(2, 100);
    lab.wal.write_through().unwrap();
    let disk = lab.disk.fork();
    fill(&disk, 0);
    let mut lab = Lab::on(disk, small());
    assert!(!lab.report.recovered_durable);
    lab.disk.set_space(None);
    let carried = lab.log().clone();
    lab.add(1, 30);
    assert!(lab.wal.recovered_durable());
    // The new batch is not synced, but what the open found is durable by now.
    let (got, _) = judge(&lab.disk.power_cut(&mut KeepNothing), &small(), &lab.issued);
    assert_eq!(carried.difference(&got), None);
}

#[test]
fn a_new_log_on_a_full_disk_is_refused_and_made_when_there_is_room() {
    for space in [0, 100, 16_384, 20_000] {
        let disk = SimVfs::new(1);
        disk.set_space(Some(space));
        match open(&disk, &small()) {
            Ok((mut wal, _)) => is_full(&wal.append(&entries(1, 1, 1, 10))),
            Err(Error::Io { .. } | Error::NoSpace { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        disk.set_space(None);
        let mut lab = Lab::on(disk, small());
        lab.add_synced(1, 10);
        judge(&lab.disk.power_cut(&mut KeepNothing), &small(), &lab.issued);
    }
}
