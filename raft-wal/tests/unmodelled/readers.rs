//! Readers of a running log: whatever the writer does between any two of a reader's calls, the
//! reader sees a state that the log went through, or says that it is busy; and changes nothing.

use std::sync::{Arc, Mutex};

use raft_vfs::SimVfs;
use raft_vfs::sim::Op;
use raft_wal::{Batch, Error, Options, ReadOnly};

use crate::support::hook::Hooked;
use crate::support::lab::{Lab, compact, entries, small, state};
use crate::support::model::Model;
use crate::support::sim::DIR;

/// Everything that a reader can be asked for.
fn read_only(log: &ReadOnly<Hooked>) -> Result<Model, Error> {
    let (first, next) = (log.first_index(), log.next_index());
    let base_term = match first.checked_sub(1) {
        Some(before) => log.term(before)?,
        None => None,
    };
    Ok(Model {
        first,
        base_term,
        entries: log.entries(first, next, u64::MAX)?,
        hard_state: log.hard_state(),
        snapshot: log.snapshot().cloned(),
        metadata: log.metadata().cloned(),
        blobs: log.blobs().map(|(k, v)| (k.clone(), v.clone())).collect(),
    })
}

/// What a writer does while somebody reads.
type Act = fn(&mut Lab);

fn start() -> Lab {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    lab.rotate();
    lab.rotate();
    lab.add_synced(1, 300);
    lab
}

/// Runs `act` before each call of a reader in turn. The reader begins with the log as it is, or
/// with un-synced frames in front of it.
fn between_any_two_calls(prepare: Act, act: Act) {
    let mut at = 0;
    let mut busy = 0;
    loop {
        let mut lab = start();
        prepare(&mut lab);
        let disk = lab.disk.clone();
        let lab = Arc::new(Mutex::new(lab));
        let writer = Arc::clone(&lab);
        let hooked = Hooked::new(&disk, at, move || act(&mut writer.lock().unwrap()));
        let seen = look(&hooked);
        let lab = lab.lock().unwrap();
        match seen {
            Ok(model) => {
                let known = lab.issued.states.contains(&model);
                assert!(known, "call {at}: {model:?}");
            }
            Err(Error::Busy { .. }) => busy += 1,
            Err(other) => panic!("call {at}: {other}"),
        }
        if !hooked.has_run() {
            break;
        }
        at += 1;
    }
    assert!(at > 20, "only {at} calls");
    assert!(busy < at, "busy at each of {at} calls");
}

fn look(disk: &Hooked) -> Result<Model, Error> {
    let (log, _) = ReadOnly::open(disk.clone(), DIR, &small())?;
    read_only(&log)
}

fn nothing(_: &mut Lab) {}

fn unsynced(lab: &mut Lab) {
    lab.add(2, 200);
    lab.wal.write_through().unwrap();
}

#[test]
fn a_reader_sees_a_state_of_the_log_while_batches_are_appended() {
    for prepare in [nothing as Act, unsynced] {
        between_any_two_calls(prepare, |lab| {
            lab.add_synced(2, 400);
            lab.add_synced(1, 100);
            lab.put(&state(2, 2, 1));
            lab.sync();
        });
    }
}

#[test]
fn a_reader_sees_a_state_of_the_log_while_segments_change() {
    for prepare in [nothing as Act, unsynced] {
        between_any_two_calls(prepare, |lab| {
            lab.rotate();
            lab.rotate();
            while lab.wal.step_index().unwrap() {}
        });
    }
}

#[test]
fn a_reader_sees_a_state_of_the_log_while_its_prefix_is_removed() {
    for prepare in [nothing as Act, unsynced] {
        between_any_two_calls(prepare, |lab| {
            let next = lab.log().next();
            lab.put(&compact(next - 1));
            lab.wal.step_gc().unwrap();
        });
    }
}

#[test]
fn a_reader_sees_a_state_of_the_log_while_it_is_truncated_and_reset() {
    between_any_two_calls(unsynced, |lab| {
        let next = lab.log().next();
        lab.put(&entries(next - 3, 1, 2, 30));
        lab.sync();
        let reset = raft_wal::Reset { first_index: next + 10, base_term: Some(2) };
        lab.put(&Batch { reset: Some(reset), ..state(2, 0, next + 9) });
        lab.wal.step_gc().unwrap();
        lab.add_synced(1, 40);
    });
}

/// The writer is closed and another process starts, with something to write again.
#[test]
fn a_reader_sees_a_state_of_the_log_while_another_process_takes_over() {
    let mut at = 0;
    loop {
        let mut lab = start();
        unsynced(&mut lab);
        let (disk, issued) = lab.die();
        let (second, states) = (disk.clone(), Arc::new(Mutex::new(issued.states)));
        let known = Arc::clone(&states);
        let hooked = Hooked::new(&disk, at, move || {
            let mut lab = Lab::on(second, small());
            assert!(lab.report.carried > 0);
            lab.add_synced(1, 50);
            known.lock().unwrap().extend(lab.issued.states);
        });
        match look(&hooked) {
            Ok(model) => assert!(states.lock().unwrap().contains(&model), "call {at}: {model:?}"),
            Err(Error::Busy { .. }) => {}
            Err(other) => panic!("call {at}: {other}"),
        }
        if !hooked.has_run() {
            break;
        }
        at += 1;
    }
    assert!(at > 20);
}

#[test]
fn a_reader_needs_no_lock_and_changes_nothing() {
    let mut lab = start();
    unsynced(&mut lab);
    let before = (lab.disk.fingerprint(), lab.disk.pending_units());
    let disk: SimVfs = lab.disk.clone();
    disk.set_trace(true);
    let (log, _) = ReadOnly::open(disk.clone(), DIR, &Options::new()).unwrap();
    assert_eq!(log.next_index(), lab.log().next());
    log.entries(log.first_index(), log.next_index(), u64::MAX).unwrap();
    let reads = [Op::Open, Op::Read, Op::List, Op::Stat];
    let calls = disk.take_trace();
    assert!(calls.iter().all(|call| reads.contains(&call.op)), "{calls:?}");
    assert_eq!((lab.disk.fingerprint(), lab.disk.pending_units()), before);
    lab.add_synced(1, 10);
}

#[test]
fn a_reader_of_a_log_that_is_not_there_says_so() {
    let error = ReadOnly::open(SimVfs::new(1), DIR, &Options::new()).map(drop).unwrap_err();
    assert!(matches!(error, Error::NoLog { .. } | Error::Io { .. }), "{error}");
}
