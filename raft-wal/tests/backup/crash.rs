//! The copying stops at any of its calls: what is there opens as the whole log, or not at all.

use raft_vfs::SimVfs;
use raft_vfs::sim::{Fault, KeepAll, KeepNothing, Persistence, RandomCrash};
use raft_wal::{Backup, Error, Wal};

use super::moments::{TO, restored};
use crate::support::lab::{Lab, small, state};
use crate::support::model::Model;
use crate::support::sim::announce;

fn log() -> (Lab, Model) {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    lab.rotate();
    lab.rotate();
    lab.add_synced(2, 300);
    let model = lab.log().clone();
    lab.add(1, 100);
    (lab, model)
}

/// Whether there is a whole log. One that is made anew is allowed where nothing was begun.
fn is_whole(disk: &SimVfs, model: &Model, what: &str) -> bool {
    for create in [false, true] {
        let disk = disk.fork();
        let begun = disk.paths().iter().any(|p| p.starts_with(TO));
        match Wal::open(disk.clone(), TO, &small().create(create)) {
            Ok((_, report)) if report.created => assert!(!begun, "{what}: made anew"),
            Ok((wal, _)) => {
                drop(wal);
                assert_eq!(model.difference(&restored(&disk).0), None, "{what}");
                return true;
            }
            Err(Error::NoLog { .. } | Error::IdentMissing { .. } | Error::Foreign { .. }) => {}
            Err(other) => panic!("{what}: {other}"),
        }
    }
    false
}

fn calls(backup: &Backup<SimVfs>) -> u64 {
    let disk = SimVfs::new(5);
    backup.copy_to(&disk, TO).unwrap();
    disk.calls()
}

#[test]
fn a_copy_that_is_cut_off_by_a_crash_at_any_call_is_whole_or_no_log() {
    let (lab, model) = log();
    let backup = lab.wal.backup().unwrap();
    let all = calls(&backup);
    let (mut whole, mut none) = (0, 0);
    for n in 1..=all {
        let disk = SimVfs::new(5);
        disk.crash_at_call(n);
        backup.copy_to(&disk, TO).unwrap_err();
        let mut after = vec![disk.power_cut(&mut KeepNothing), disk.power_cut(&mut KeepAll)];
        after.extend((0..30).map(|seed| disk.power_cut(&mut RandomCrash::new(seed))));
        after.push(disk.kill(n));
        for (i, disk) in after.iter().enumerate() {
            let is_whole = is_whole(disk, &model, &format!("call {n} of {all}, crash {i}"));
            *if is_whole { &mut whole } else { &mut none } += 1;
        }
    }
    announce(&format!("backup: {all} crash points, {whole} whole copies, {none} without a log"));
    assert!(all > 40 && whole > 30 && none > 500);
}

#[test]
fn a_copy_is_durable_when_the_call_returns() {
    let (lab, model) = log();
    let disk = SimVfs::new(5);
    lab.wal.backup().unwrap().copy_to(&disk, TO).unwrap();
    assert_eq!(disk.pending_units(), []);
    assert!(is_whole(&disk.power_cut(&mut KeepNothing), &model, "after the copy"));
}

#[test]
fn a_copy_that_fails_at_any_call_is_whole_or_no_log() {
    let (lab, model) = log();
    let backup = lab.wal.backup().unwrap();
    let all = calls(&backup);
    let mut failed = 0;
    for n in 1..=all {
        for fault in [Fault::Eio, Fault::Enospc, Fault::Emfile] {
            let disk = SimVfs::new(5);
            disk.fail_call(n, fault, Persistence::Once);
            let copied = backup.copy_to(&disk, TO);
            disk.clear_faults();
            let is_whole = is_whole(&disk, &model, &format!("call {n} fails with {fault:?}"));
            match copied {
                Ok(_) => assert!(is_whole, "call {n}, {fault:?}"),
                Err(Error::Io { .. } | Error::NoSpace { .. }) => failed += 1,
                Err(other) => panic!("call {n}, {fault:?}: {other}"),
            }
        }
    }
    announce(&format!("backup: {failed} failed copies of {}", 3 * all));
    assert!(failed > 2 * all);
    // Out of space is said so.
    let disk = SimVfs::new(5);
    disk.set_space(Some(20_000));
    assert!(matches!(backup.copy_to(&disk, TO), Err(Error::NoSpace { .. })));
}
