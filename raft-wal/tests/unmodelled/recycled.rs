//! Readers of a log whose segment files are removed, renamed and written again under them: they
//! see a state of the log that is not older than their opening, or are told to open again, and
//! never that it is damaged.

use std::sync::{Arc, Mutex};

use raft_wal::{Error, Options, ReadOnly, Verify};

use crate::support::hook::Hooked;
use crate::support::lab::{Lab, compact, entries, flip, frames, small, state};
use crate::support::sim::{DIR, announce, segment_path, segments};

/// A log whose next segment will be made of a removed one.
fn start() -> Lab {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    for _ in 0..4 {
        lab.rotate();
    }
    shrink(&mut lab);
    lab.rotate();
    lab.add_synced(2, 300);
    lab
}

/// All but the newest segments go, to be used again.
fn shrink(lab: &mut Lab) {
    let next = lab.log().next();
    lab.put(&compact(next - 1));
    lab.wal.step_gc().unwrap();
}

/// Enough to write every spare file again.
fn churn(lab: &mut Lab) {
    for _ in 0..3 {
        lab.rotate();
    }
    shrink(lab);
    lab.rotate();
    lab.rotate();
    while lab.wal.step_index().unwrap() {}
}

/// A little of that.
fn trickle(lab: &mut Lab) {
    let next = lab.log().next();
    lab.put(&entries(next, 2, 1, 900));
    lab.sync();
    if next.is_multiple_of(4) {
        shrink(lab);
    }
}

/// What readers were told.
#[derive(Debug, Default)]
struct Tally {
    seen: u64,
    busy: u64,
    entries: u64,
}

/// Opens and reads everything with `act` before call `at`, and before each `every`-th after it.
/// Returns whether it ran at all.
fn read_beside(act: fn(&mut Lab), at: u64, every: u64, verify: Verify, tally: &mut Tally) -> bool {
    let lab = start();
    let disk = lab.disk.clone();
    let durable_before = lab.issued.acked;
    let lab = Arc::new(Mutex::new(lab));
    let writer = Arc::clone(&lab);
    let hooked = Hooked::repeating(&disk, at, every, move || act(&mut writer.lock().unwrap()));
    let options = small().verify(verify);
    let read = || -> Result<(), Error> {
        let (log, _) = ReadOnly::open(hooked.clone(), DIR, &options)?;
        let (first, next) = (log.first_index(), log.next_index());
        tally.seen += 1;
        let known: Vec<_> = {
            let lab = lab.lock().unwrap();
            let here = lab.issued.states[durable_before..].iter();
            here.filter(|m| (m.first, m.next()) == (first, next)).cloned().collect()
        };
        assert!(!known.is_empty(), "call {at}: [{first}, {next}) is no state since the opening");
        for index in first..next {
            let entry = log.entries(index, index + 1, u64::MAX)?.remove(0);
            assert_eq!(log.term(index)?, Some(entry.term));
            let place = (index - first) as usize;
            assert!(known.iter().any(|m| m.entries[place] == entry), "call {at}: {entry:?}");
            tally.entries += 1;
        }
        Ok(())
    };
    match { read }() {
        Ok(()) => {}
        Err(Error::Busy { .. }) => tally.busy += 1,
        Err(other) => panic!("call {at}, every {every}: {other}"),
    }
    hooked.has_run()
}

#[test]
fn a_reader_never_takes_a_file_that_is_used_again_for_damage() {
    for verify in [Verify::Full, Verify::Tail] {
        let mut tally = Tally::default();
        let mut at = 0;
        while read_beside(churn, at, u64::MAX / 2, verify, &mut tally) {
            at += 1;
        }
        announce(&format!("readers, one change at each of {at} calls, {verify:?}: {tally:?}"));
        assert!(at > 30 && tally.seen > at / 2 && tally.busy > 0);
    }
}

#[test]
fn a_reader_never_takes_a_file_for_damage_though_the_writer_goes_on_between_any_two_calls() {
    let mut tally = Tally::default();
    for act in [churn as fn(&mut Lab), trickle] {
        for every in [1, 2, 3, 5, 9, 17, 40] {
            for at in 0..6 {
                read_beside(act, at, every, Verify::Auto, &mut tally);
            }
        }
    }
    announce(&format!("readers, changes all the time: {tally:?}"));
    assert!(tally.seen > 10 && tally.busy > 10);
}

/// The re-judging must not explain damage away.
#[test]
fn a_reader_is_told_of_damage_in_a_segment_that_is_where_it_was() {
    let lab = start();
    let (log, _) = ReadOnly::open(lab.disk.clone(), DIR, &Options::new()).unwrap();
    let mut hurt = 0;
    for seq in segments(&lab.disk) {
        for f in frames(&lab.disk, seq).iter().filter(|f| !f.offsets.is_empty()) {
            let index = f.header.first_index;
            if index < log.first_index() {
                continue;
            }
            flip(&lab.disk, segment_path(seq), f.end - 20);
            let read = log.entries(index, index + u64::from(f.header.n_entries), u64::MAX);
            assert!(matches!(read, Err(Error::Corrupt(c)) if c.path == segment_path(seq)));
            hurt += 1;
        }
    }
    announce(&format!("readers: {hurt} damaged batches told"));
    assert!(hurt > 3);
}
