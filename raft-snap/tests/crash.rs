//! A crash at every call that changes the disk, with every set of what a power cut may keep, and
//! with killed processes; then recovery, itself crashed; and what was acknowledged must be there.
//!
//! `RAFT_SNAP_SEED=n` or `n..m` takes other seeds for what is drawn.

#[path = "crash/cuts.rs"]
mod cuts;
#[path = "crash/judge.rs"]
mod judge;
#[path = "crash/scripts.rs"]
mod scripts;
mod support;

use std::collections::{BTreeSet, HashSet};

use raft_vfs::SimVfs;
use raft_vfs::sim::{
    Fault, FsyncFailure, KeepNothing, Op, Persistence, RandomCrash, Skip, skipping,
};

use crate::judge::{Outcome, crashed, settled};
use crate::scripts::{SCRIPTS, Script};
use crate::support::{announce, seeds};

/// What was looked at.
#[derive(Default)]
struct Tally {
    points: u64,
    cuts: u64,
    states: u64,
    second: u64,
    kills: u64,
}

/// The disks after each call of the script that changed something, and whether the script was
/// done by then.
fn moments(script: &Script, start: &SimVfs) -> Vec<(SimVfs, bool)> {
    let disk = start.fork();
    disk.set_moments(true);
    let ran = (script.run)(&disk);
    ran.unwrap_or_else(|e| panic!("{}: {e}", script.name));
    let taken = disk.take_moments().into_iter().map(|m| (m.disk, false));
    taken.chain([(disk.fork(), true)]).collect()
}

/// Crashes a script at every point, by power cut and by kill. One in `second` of the different
/// states is crashed again at every point of its recovery.
fn crash_everywhere(script: &Script, seed: u64, second: u64, tally: &mut Tally) -> Outcome {
    let start = script.setup();
    for (n, (disk, done)) in moments(script, &start).into_iter().enumerate() {
        tally.points += 1;
        if done {
            let place = |why| format!("{}, done: {why}", script.name);
            settled(script, &start, &disk.power_cut(&mut KeepNothing)).map_err(place)?;
        }
        let mut seen = HashSet::new();
        cuts::for_each(&disk, seed, |cut| {
            tally.cuts += 1;
            if !seen.insert(cut.fingerprint()) {
                return Ok(());
            }
            tally.states += 1;
            let place = |why| format!("{}, point {n}, done {done}: {why}", script.name);
            if tally.states.is_multiple_of(second) {
                crash_again(script, &start, &cut, done, seed, tally).map_err(place)?;
            }
            crashed(script, &start, &cut, done).map_err(place)
        })?;
        for kill in 0..12 {
            tally.kills += 1;
            let killed = disk.kill(seed ^ kill << 32 ^ n as u64);
            let place = |why| format!("{}, point {n}, kill {kill}: {why}", script.name);
            crashed(script, &start, &killed, done).map_err(place)?;
        }
    }
    Ok(())
}

/// The work is done once more after the crash, and crashed at every point.
fn crash_again(
    script: &Script,
    start: &SimVfs,
    disk: &SimVfs,
    done: bool,
    seed: u64,
    tally: &mut Tally,
) -> Outcome {
    for (again, redone) in moments(script, disk) {
        for choice in 0..6 {
            tally.second += 1;
            let mut crash = RandomCrash::new(seed ^ choice << 40 ^ tally.second);
            crashed(script, start, &again.power_cut(&mut crash), done || redone)?;
        }
    }
    Ok(())
}

#[test]
fn every_crash_leaves_the_old_or_the_new_and_nothing_acknowledged_is_lost() {
    let mut tally = Tally::default();
    for seed in seeds(2) {
        for script in &SCRIPTS {
            let outcome = crash_everywhere(script, seed, 40, &mut tally);
            outcome.unwrap_or_else(|e| panic!("RAFT_SNAP_SEED={seed}: {e}"));
        }
    }
    let Tally { points, cuts, states, second, kills } = tally;
    announce(&format!(
        "{} scripts, {points} points, {cuts} power cuts, {states} different disks, \
         {second} crashed again, {kills} kills: 0 illegal, 0 refused",
        SCRIPTS.len()
    ));
    assert!(points > 80 && states > 1_500 && second > 1_000, "too little was looked at");
}

#[test]
fn every_failing_call_leaves_the_old_or_the_new_and_is_told() {
    let (mut runs, mut errors) = (0_u64, 0_u64);
    for script in &SCRIPTS {
        let start = script.setup();
        let probe = start.fork();
        (script.run)(&probe).unwrap();
        for call in 1..=probe.calls() {
            for fault in Fault::ALL {
                for persistence in [Persistence::Once, Persistence::Forever] {
                    let modes = [FsyncFailure::KeepCache, FsyncFailure::RevertCache];
                    let mode = modes[(call % 2) as usize];
                    runs += 1;
                    let disk = start.fork();
                    disk.set_fsync_mode(mode);
                    disk.fail_call(call, fault, persistence);
                    let ran = (script.run)(&disk);
                    errors += u64::from(ran.is_err());
                    let place = |why| {
                        format!("{}, call {call}, {fault:?} {persistence:?}: {why}", script.name)
                    };
                    failed(script, &start, &disk, ran.is_ok())
                        .map_err(place)
                        .unwrap_or_else(|e| panic!("{e}"));
                }
            }
        }
    }
    announce(&format!("{runs} runs with a fault, {errors} of them told so: 0 illegal, 0 refused"));
    assert!(runs > 4_500 && errors > 3_000, "too little was looked at");
}

/// A script has met a fault. What it left is legal, now, after a restart, and after power cuts;
/// and where it said that it succeeded, it did.
fn failed(script: &Script, start: &SimVfs, disk: &SimVfs, done: bool) -> Outcome {
    disk.clear_faults();
    for seed in 0..3 {
        let cut = disk.power_cut(&mut RandomCrash::new(seed));
        crashed(script, start, &cut, done)?;
    }
    if done {
        settled(script, start, &disk.power_cut(&mut KeepNothing))?;
    }
    crashed(script, start, &disk.kill(1), done)?;
    crashed(script, start, &disk.fork(), done)
}

/// The suite on trial: each sync is left out once, and that must be found.
#[test]
fn a_sync_that_is_forgotten_is_found() {
    let mut sites = BTreeSet::new();
    for script in &SCRIPTS {
        let disk = script.setup();
        disk.set_moments(true);
        (script.run)(&disk).unwrap();
        for m in disk.take_moments() {
            if matches!(m.op, Op::SyncData | Op::SyncDir) {
                sites.insert((m.op, m.site.file().to_owned(), m.site.line()));
            }
        }
    }
    let mut found = 0;
    for (op, file, line) in &sites {
        let skip = Skip { op: *op, file: file.clone(), line: *line };
        let caught = SCRIPTS.iter().find_map(|script| {
            let run = || crash_everywhere(script, 0, u64::MAX, &mut Tally::default());
            skipping(skip.clone(), run).0.err()
        });
        announce(&format!("without {op:?} at {file}:{line}: {}", caught.as_deref().unwrap_or("-")));
        found += usize::from(caught.is_some());
    }
    assert_eq!(found, sites.len(), "a sync that nothing depends on, or a blind suite");
    assert!(found >= 6, "{sites:?}");
}
