//! A backup that is crashed at each of its calls: what is left is no log, or all of the copy.

use raft_vfs::SimVfs;
use raft_vfs::sim::{KeepAll, KeepNothing};
use raft_wal::{Error, Wal};

use super::judge::{Judge, hash, random_cut};
use super::run::{Outcome, Run};
use super::script::{self, Pace, options};
use crate::support::model::Model;
use crate::support::sim::read_all;

const DEST: &str = "/copy/log";
/// Random cuts of each point.
const CUTS: u64 = 4;

/// Copies a log to another disk, crashed at each point; if `sealed`, a log whose newest segment is
/// closed, and the next one not begun.
pub(crate) fn copy(judge: &mut Judge<'_>, mut run: Run, sealed: bool) -> Outcome {
    run.open()?;
    run.step(script::Op::Append3, Pace::Synced)?;
    run.step(script::Op::HardState, Pace::Synced)?;
    run.step(script::Op::AppendBig, if sealed { Pace::Written } else { Pace::Synced })?;
    let wal = run.wal.as_ref().ok_or("the log is closed")?;
    let backup = wal.backup().map_err(|e| format!("REFUSED a backup: {e}"))?;
    let last = backup.durable().last_index;
    let copied = run.issued.states.iter().rev().find(|state| state.next() == last + 1);
    let copied = copied.ok_or("ILLEGAL durable is no state of the log")?;
    let disk = SimVfs::new(3);
    disk.set_moments(true);
    backup.copy_to(&disk, DEST).map_err(|e| format!("REFUSED a copy: {e}"))?;
    for moment in disk.take_moments() {
        judge.tally.sampled += 1;
        judge.note_site(&moment);
        let (print, pending) = (moment.disk.fingerprint(), moment.disk.pending_units().len());
        let cut = |n| moment.disk.power_cut(&mut &random_cut(hash(&(print, n)), pending));
        let mut states: Vec<_> = (0..if pending > 0 { CUTS } else { 0 }).map(cut).collect();
        states.push(moment.disk.power_cut(&mut KeepNothing));
        states.push(moment.disk.power_cut(&mut KeepAll));
        states.push(moment.disk);
        for state in states {
            judge.tally.cuts += 1;
            look(judge, &state, copied)
                .map_err(|why| format!("{why}\n  after {:?} {}", moment.op, moment.site))?;
        }
    }
    let opens = look(judge, &disk.power_cut(&mut KeepNothing), copied)?;
    if opens { Ok(()) } else { Err("REFUSED a finished copy".into()) }
}

/// Whether the copy opens; it is whole then.
fn look(judge: &mut Judge<'_>, disk: &SimVfs, copied: &Model) -> Outcome<bool> {
    judge.tally.judged += 1;
    match Wal::open(disk.clone(), DEST, &options().create(false)) {
        Ok((wal, _)) => match read_all(&wal) {
            Ok(got) if got == *copied => Ok(true),
            other => Err(format!("ILLEGAL a copy holds {other:?}, expected {copied:?}")),
        },
        Err(Error::NoLog { .. } | Error::Foreign { .. } | Error::IdentMissing { .. }) => Ok(false),
        Err(error) => Err(format!("REFUSED an unfinished copy: {error}")),
    }
}
