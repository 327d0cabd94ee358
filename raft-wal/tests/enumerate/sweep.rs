//! The n-th call fails: for every n, with every fault, once and for ever; then the process goes on
//! as far as it can, dies or closes, and the disk is judged after a restart and after power cuts.

use raft_vfs::SimVfs;
use raft_vfs::sim::{Call, Fault, FsyncFailure, KeepAll, KeepNothing, Op, Persistence};

use super::judge::{Judge, hash, key_of, random_cut};
use super::run::{Outcome, Run};
use super::script::Script;
use super::work::Starts;
use crate::support::oracle::Issued;

/// One failing call of one script.
#[derive(Clone, Copy, Debug)]
struct Failure {
    /// Which call, counted from 1.
    n: u64,
    fault: Fault,
    persistence: Persistence,
    mode: FsyncFailure,
}

/// How many of the failures are tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Breadth {
    /// Scripts up to this length meet every fault at every call of their operations; longer ones
    /// one fault a call, in turns. (All faults in an open are met by the script without operations,
    /// and in turns by those up to this length.)
    pub(crate) all_faults: usize,
    /// Random power cuts after each.
    pub(crate) cuts: u64,
}

const MODES: [FsyncFailure; 2] = [FsyncFailure::KeepCache, FsyncFailure::RevertCache];
const BOTH: [Persistence; 2] = [Persistence::Once, Persistence::Forever];

/// The calls of a script on which nothing fails, and how many of them are the first open's.
fn calls_of(starts: &Starts, script: &Script) -> Outcome<(Vec<Call>, u64)> {
    let mut run = starts.of(script.start);
    run.disk.set_trace(true);
    run.open()?;
    let opening = run.disk.calls();
    for step in 0..=script.ops.len() {
        step_of(&mut run, script, step)?;
    }
    Ok((run.disk.take_trace(), opening))
}

/// The operations of a script, then a close.
fn step_of(run: &mut Run, script: &Script, step: usize) -> Outcome {
    let Some(&op) = script.ops.get(step) else {
        run.doubt()?;
        return run.close();
    };
    run.step(op, script.pace)?;
    // An open inside the operation may have failed.
    if run.wal.is_none() { open_somehow(run) } else { Ok(()) }
}

/// Opens; if a fault stops that, opens again, at last without faults: this must succeed.
fn open_somehow(run: &mut Run) -> Outcome {
    if run.open()?.is_some() || run.open()?.is_some() {
        return Ok(());
    }
    run.disk.clear_faults();
    match run.open()? {
        Some(_) => Ok(()),
        None => Err("REFUSED an open without a fault".into()),
    }
}

/// Whether this fault does something to this kind of call, when it comes once.
fn strikes(fault: Fault, op: Op) -> bool {
    !matches!(fault, Fault::ShortByte | Fault::ShortHalf) || matches!(op, Op::Read | Op::Write)
}

/// Every failure of every call of a script.
pub(crate) fn every_call(
    judge: &mut Judge<'_>,
    starts: &Starts,
    script: &Script,
    breadth: Breadth,
) -> Outcome {
    judge.tally.scripts += 1;
    let (calls, opening) = calls_of(starts, script)?;
    for (call, n) in calls.iter().zip(1..) {
        let mode = MODES[n as usize % 2];
        let opens = n <= opening;
        if script.ops.len() <= if opens { 0 } else { breadth.all_faults } {
            for fault in Fault::ALL {
                for persistence in BOTH {
                    let failure = Failure { n, fault, persistence, mode };
                    fail(judge, starts, script, call, failure, breadth)?;
                }
            }
        } else if !opens || script.ops.len() <= breadth.all_faults {
            let turn = hash(&(script.to_string(), n));
            let fault = Fault::ALL[turn as usize % Fault::ALL.len()];
            let persistence = BOTH[(turn >> 32) as usize % 2];
            fail(judge, starts, script, call, Failure { n, fault, persistence, mode }, breadth)?;
        }
    }
    Ok(())
}

/// Every failing sync of a script, with what either kind of file system leaves of it.
pub(crate) fn every_sync(
    judge: &mut Judge<'_>,
    starts: &Starts,
    script: &Script,
    breadth: Breadth,
) -> Outcome {
    judge.tally.scripts += 1;
    let (calls, opening) = calls_of(starts, script)?;
    for (call, n) in calls.iter().zip(1..) {
        let known = script.ops.len() > breadth.all_faults && n <= opening;
        if known || !matches!(call.op, Op::SyncData | Op::SyncDir) {
            continue;
        }
        for mode in MODES {
            for persistence in BOTH {
                let failure = Failure { n, fault: Fault::Eio, persistence, mode };
                fail(judge, starts, script, call, failure, breadth)?;
            }
        }
    }
    Ok(())
}

/// One failure, its aftermath wherever the process may die while it deals with it, and that at the
/// end of the script.
fn fail(
    judge: &mut Judge<'_>,
    starts: &Starts,
    script: &Script,
    call: &Call,
    failure: Failure,
    breadth: Breadth,
) -> Outcome {
    let Failure { n, fault, persistence, mode } = failure;
    let slow = fault == Fault::ShortByte && persistence == Persistence::Forever;
    if slow || !strikes(fault, call.op) {
        return Ok(());
    }
    let mut run = starts.of(script.start);
    run.faulty = true;
    run.disk.set_fsync_mode(mode);
    run.disk.fail_call(n, fault, persistence);
    run.disk.set_moments(true);
    let mut sweep = || {
        open_somehow(&mut run)?;
        let mut step = 0;
        loop {
            if run.disk.calls() >= n {
                run.disk.set_moments(false);
            }
            for point in std::mem::take(&mut run.points) {
                // Those before are places to crash without a failure.
                if point.moment.call >= n {
                    judge.note_site(&point.moment);
                    aftermath(judge, &point.moment.disk, &point.issued, breadth.cuts)?;
                }
            }
            if step > script.ops.len() {
                break;
            }
            step_of(&mut run, script, step)?;
            step += 1;
        }
        judge.tally.faults += 1;
        judge.tally.errors += run.errors;
        aftermath(judge, &run.disk.fork(), &run.issued, breadth.cuts)
    };
    sweep().map_err(|why| format!("{why}\n  {failure:?} in {:?} {}", call.op, call.path.display()))
}

/// All that may follow the end of a process: a restart, one after the cache was dropped, and power
/// cuts.
fn aftermath(judge: &mut Judge<'_>, disk: &SimVfs, issued: &Issued, cuts: u64) -> Outcome {
    let key = key_of(issued);
    let none = disk.power_cut(&mut KeepNothing);
    let all = disk.power_cut(&mut KeepAll);
    let whole = hash(&(disk.fingerprint(), none.fingerprint(), all.fingerprint(), key));
    if !judge.shared.runs.insert(whole) {
        return Ok(());
    }
    judge.tally.restarts += 2;
    let evicted = disk.fork();
    evicted.drop_caches();
    restart(judge, &evicted, issued).map_err(|why| format!("{why}\n  restarted, evicted"))?;
    restart(judge, &disk.fork(), issued).map_err(|why| format!("{why}\n  restarted"))?;
    judge.state(&none, issued, key).map_err(|why| format!("{why}\n  none kept"))?;
    judge.state(&all, issued, key).map_err(|why| format!("{why}\n  all kept"))?;
    let pending = disk.pending_units().len();
    for n in 0..if pending == 0 { 0 } else { cuts } {
        let cut = random_cut(hash(&(whole, n)), pending);
        let left = disk.power_cut(&mut &cut);
        judge.state(&left, issued, key).map_err(|why| format!("{why}\n  {cut:?}"))?;
    }
    Ok(())
}

/// A process starts on what the cache has. What it serves is durable, with and without an append:
/// neither an eviction of the cache nor a power cut takes it away.
fn restart(judge: &mut Judge<'_>, disk: &SimVfs, issued: &Issued) -> Outcome {
    let served = disk.fork();
    let got = Issued::after(judge.look(&served, issued)?);
    let recovered = judge.recover(disk, issued)?;
    for (disk, durable) in [(&served, got), (disk, Issued::after(recovered.after))] {
        judge.third(&disk.power_cut(&mut KeepNothing), &durable)?;
        disk.drop_caches();
        judge.third(disk, &durable)?;
    }
    Ok(())
}

impl Run {
    /// What a poisoned log still serves is what was durable.
    fn doubt(&mut self) -> Outcome {
        let Some(wal) = self.wal.as_ref().filter(|_| self.poisoned) else { return Ok(()) };
        self.disk.clear_faults();
        let possible = &self.issued.states[self.issued.acked..];
        let acknowledged = &possible[0];
        for entry in &acknowledged.entries {
            let certain = possible.iter().all(|s| s.entry(entry.index) == Some(entry));
            match wal.entry(entry.index) {
                Ok(found) if found == *entry => {}
                Err(_) if !certain || !wal.recovered_durable() => {}
                other => {
                    return Err(format!("ILLEGAL poisoned, entry {}: {other:?}", entry.index));
                }
            }
        }
        let unread = |index: &u64| wal.entry(*index).is_ok();
        match (acknowledged.next()..wal.next_index()).find(unread) {
            Some(index) => Err(format!("ILLEGAL poisoned, yet entry {index} is read")),
            None => Ok(()),
        }
    }
}
