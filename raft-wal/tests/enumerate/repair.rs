//! A repair that is crashed, or fails, at each of its calls: what is left is either the damage as
//! it was, named by an open and repaired by another attempt, or the repaired log.

use raft_vfs::SimVfs;
use raft_vfs::sim::{Call, Fault, KeepAll, KeepNothing, Moment, Op, Persistence};
use raft_wal::format::PAGE;
use raft_wal::{Error, RepairPolicy, plan_repair};

use super::judge::{Judge, hash, random_cut};
use super::run::{Outcome, Run};
use super::script::{self, Pace, options};
use crate::support::lab::frames;
use crate::support::model::Model;
use crate::support::sim::{DIR, open, path, read_all, segment_path, segments};

/// Random cuts of each point.
const CUTS: u64 = 2;
/// One in so many points of the repair after such a cut is one, too; and each removal.
const THIRD: u64 = 32;

/// Damages a log, or with `all` loses its segments, and repairs it with a crash at each point, and
/// with each write and sync failing.
pub(crate) fn damage_and_repair(judge: &mut Judge<'_>, mut run: Run, all: bool) -> Outcome {
    run.open()?;
    for op in [script::Op::Append3, script::Op::AppendBig, script::Op::HardState] {
        run.step(op, Pace::Duties)?;
    }
    run.step(script::Op::Append3, Pace::Synced)?;
    run.kill();
    let disk = &run.disk;
    if all {
        disk.delete(path("wal"));
    } else {
        damage(disk)?;
    }
    let (calls, repaired) = plain(judge, disk)?;
    for (call, n) in calls.iter().zip(1..) {
        if matches!(call.op, Op::Write | Op::SyncData) {
            fail(judge, disk, n, &repaired).map_err(|why| format!("{why}\n  failing {call:?}"))?;
        }
    }
    Ok(())
}

/// One bit of a batch that was promised, and one of a copy of the identity.
fn damage(disk: &SimVfs) -> Outcome {
    let newest = segments(disk).into_iter().rfind(|&seq| !frames(disk, seq).is_empty());
    let newest = newest.ok_or("no segment was begun")?;
    let batches = frames(disk, newest);
    let at = batches[batches.len().saturating_sub(2)].offset as usize + 60;
    let flipped = disk.mutate(segment_path(newest), |bytes| bytes[at] ^= 1)
        && disk.mutate(path("IDENT"), |bytes| bytes[PAGE as usize + 30] ^= 1);
    if flipped { Ok(()) } else { Err("nothing to damage".into()) }
}

/// Plans and executes a repair.
fn repair(disk: &SimVfs) -> Result<(), Error> {
    let plan = plan_repair(disk.clone(), DIR, &options())?;
    plan.policy(RepairPolicy::AcceptLostVote).execute().map(drop)
}

fn look(disk: &SimVfs) -> Result<Model, Error> {
    let (wal, _) = open(disk, &options())?;
    read_all(&wal)
}

/// A repair on which nothing fails, crashed at each point. Returns its calls and its result.
fn plain(judge: &mut Judge<'_>, disk: &SimVfs) -> Outcome<(Vec<Call>, Model)> {
    match look(&disk.fork()) {
        Err(Error::Corrupt(_)) => {}
        other => return Err(format!("ILLEGAL the damage was not seen: {other:?}")),
    }
    let fork = disk.fork();
    fork.set_trace(true);
    fork.set_moments(true);
    repair(&fork).map_err(|e| format!("REFUSED repair: {e}"))?;
    let calls = fork.take_trace();
    let moments = fork.take_moments();
    let repaired = look(&fork).map_err(|e| format!("REFUSED after a repair: {e}"))?;
    for moment in moments {
        crash(judge, &moment, &repaired)?;
    }
    Ok((calls, repaired))
}

/// A repair of which one call fails, and then another one.
fn fail(judge: &mut Judge<'_>, disk: &SimVfs, n: u64, repaired: &Model) -> Outcome {
    let fork = disk.fork();
    fork.set_moments(true);
    fork.fail_call(n, Fault::Eio, Persistence::Once);
    judge.tally.faults += 1;
    judge.tally.errors += u64::from(repair(&fork).is_err());
    for moment in fork.take_moments().iter().filter(|moment| moment.call >= n) {
        crash(judge, moment, repaired)?;
    }
    judge.tally.restarts += 1;
    again(judge, &fork.fork(), repaired)
}

/// Some crash states of a point.
fn crash(judge: &mut Judge<'_>, moment: &Moment, repaired: &Model) -> Outcome {
    judge.tally.sampled += 1;
    judge.note_site(moment);
    let disk = &moment.disk;
    let (print, pending) = (disk.fingerprint(), disk.pending_units().len());
    let mut states =
        vec![disk.fork(), disk.power_cut(&mut KeepNothing), disk.power_cut(&mut KeepAll)];
    if pending > 0 {
        let cut = |n| disk.power_cut(&mut &random_cut(hash(&(print, n)), pending));
        states.extend((0..CUTS).map(cut));
    }
    for state in states {
        judge.tally.cuts += 1;
        again(judge, &state, repaired)
            .map_err(|why| format!("{why}\n  after {:?} {}", moment.op, moment.site))?;
    }
    Ok(())
}

/// The damage is as it was, and can be repaired again; or the log is repaired.
fn again(judge: &mut Judge<'_>, disk: &SimVfs, repaired: &Model) -> Outcome {
    if !third(judge, disk, repaired)? {
        disk.set_moments(true);
        repair(disk).map_err(|e| format!("REFUSED another repair: {e}"))?;
        let moments = disk.take_moments();
        disk.set_moments(false);
        for moment in moments {
            let print = moment.disk.fingerprint();
            if moment.op == Op::Remove || print.is_multiple_of(THIRD) {
                judge.tally.inner += 1;
                judge.tally.second += 1;
                judge.tally.cuts += 1;
                judge.note_site(&moment);
                third(judge, &moment.disk.power_cut(&mut KeepNothing), repaired)?;
            }
        }
    }
    if third(judge, disk, repaired)? { Ok(()) } else { Err("REFUSED a repaired log".into()) }
}

/// Whether the log opens; it is repaired then, and damaged otherwise.
fn third(judge: &mut Judge<'_>, disk: &SimVfs, repaired: &Model) -> Outcome<bool> {
    judge.tally.judged += 1;
    match look(disk) {
        Ok(got) if got == *repaired => Ok(true),
        Ok(got) => Err(format!("ILLEGAL {got:?} after a repair, expected {repaired:?}")),
        Err(Error::Corrupt(_)) => Ok(false),
        Err(error) => Err(format!("REFUSED after a crash in a repair: {error}")),
    }
}
