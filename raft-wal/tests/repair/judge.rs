//! Whether a plan is right, and whether executing it does what it says.

use std::path::{Path, PathBuf};

use raft_vfs::SimVfs;
use raft_vfs::sim::{KeepAll, KeepNothing, RandomCrash};
use raft_wal::repair::{Kept, Outline, RepairCut};
use raft_wal::{Batch, Error, Options, RepairPlan, RepairPolicy, Tail, Wal, plan_repair};

use crate::log::bytes;
use crate::support::model::Model;
use crate::support::sim::{DIR, open, path, read_all};

/// How a damaged log ended.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent findings, each named")]
pub(crate) struct Verdict {
    /// An open refused it.
    pub(crate) refused: bool,
    /// It was cut.
    pub(crate) repaired: bool,
    /// The kept log is exactly a state that the log once had, term and vote aside.
    pub(crate) exact: bool,
    /// Term and vote are certain.
    pub(crate) certain: bool,
    /// Entries that were kept, and given up.
    pub(crate) kept: usize,
    pub(crate) given_up: usize,
    /// Disks that a crash left.
    pub(crate) crashes: usize,
}

/// The plan for a log. Planning changes nothing.
pub(crate) fn plan(disk: &SimVfs, options: &Options) -> Result<RepairPlan<SimVfs>, Error> {
    let before = bytes(disk);
    let plan = plan_repair(disk.clone(), DIR, options);
    assert_eq!(bytes(disk), before, "planning changes nothing");
    plan
}

/// Executes a plan, whatever becomes of the vote.
pub(crate) fn execute(plan: RepairPlan<SimVfs>) -> Result<raft_wal::RepairReport, Error> {
    plan.policy(RepairPolicy::AcceptLostVote).execute()
}

/// Reads the log on a copy of the disk.
pub(crate) fn read(disk: &SimVfs, options: &Options) -> Result<Model, Error> {
    let (wal, _) = open(&disk.fork(), options)?;
    read_all(&wal)
}

/// Plans and executes the repair of a log whose past is known, and judges both.
pub(crate) fn judge(disk: &SimVfs, options: &Options, states: &[Model]) -> Result<Verdict, String> {
    let refused = open(&disk.fork(), options).err();
    let planned = match (plan(disk, options), &refused) {
        (Ok(plan), _) => plan,
        (Err(Error::Corrupt(p)), Some(Error::Corrupt(c))) if p.kind == c.kind => {
            return Ok(Verdict { refused: true, ..Verdict::default() });
        }
        (Err(e), Some(o)) if std::mem::discriminant(&e) == std::mem::discriminant(o) => {
            return Ok(Verdict { refused: true, ..Verdict::default() });
        }
        (Err(e), o) => return Err(format!("not planned: {e}; the open says {o:?}")),
    };
    let outline = planned.outline().clone();
    let printed = planned.to_string();
    if outline.cut.is_some() != refused.is_some() {
        return Err(format!("the open says {refused:?}, the plan:\n{printed}"));
    }
    let Some(cut) = &outline.cut else {
        return Ok(Verdict::default());
    };
    let first = refused.as_ref().map(ToString::to_string);
    if outline.damage.first().map(ToString::to_string) != first {
        return Err(format!("the open says {first:?}, the plan:\n{printed}"));
    }
    let before = bytes(disk);
    let repaired = disk.fork();
    drop(planned);
    let plan = plan(&repaired, options).expect("it was planned before");
    execute(plan).map_err(|e| format!("{e}; the plan:\n{printed}"))?;
    untouched(&before, &repaired)?;
    set_aside(&before, &repaired, &outline)?;
    let mut verdict = Verdict { refused: true, repaired: true, ..Verdict::default() };
    opens(&repaired, options, &cut.kept).map_err(|e| format!("{e}; the plan:\n{printed}"))?;
    let got = read(&repaired, options).map_err(|e| e.to_string())?;
    history(cut, &got, states, &mut verdict).map_err(|e| format!("{e}; the plan:\n{printed}"))?;
    if is_raft(states) {
        degraded(disk, options, cut, &got)?;
    }
    goes_on(&repaired, options, got)?;
    Ok(verdict)
}

/// Whether a log is the one that was planned.
pub(crate) fn is_planned(kept: &Kept, got: &Model) -> bool {
    (kept.first_index, kept.next_index) == (got.first, got.next())
        && (kept.hard_state, &kept.snapshot) == (got.hard_state, &got.snapshot)
        && kept.last_term == got.last_term()
}

/// The repaired log opens, certain and clean, as planned, and there is nothing more to repair.
fn opens(disk: &SimVfs, options: &Options, kept: &Kept) -> Result<(), String> {
    let again = plan(&disk.fork(), options).map_err(|e| format!("planned again: {e}"))?;
    if again.is_needed() {
        return Err(format!("there is more to repair:\n{again}"));
    }
    drop(again);
    let before = bytes(disk);
    let (wal, report) = open(disk, options).map_err(|e| format!("not repaired: {e}"))?;
    if !report.certain || report.tail != Tail::Clean || report.carried != 0 {
        return Err(format!("not certain: {report}"));
    }
    let got = read_all(&wal).map_err(|e| e.to_string())?;
    drop(wal);
    let lasting = |all: Vec<(PathBuf, Vec<u8>)>| {
        let kept = |p: &Path| p.ends_with("IDENT") || p.extension().is_some_and(|e| e == "seg");
        all.into_iter().filter(|(p, _)| kept(p)).collect::<Vec<_>>()
    };
    if lasting(bytes(disk)) != lasting(before) {
        return Err("the open of the repaired log changed it".into());
    }
    if is_planned(kept, &got) { Ok(()) } else { Err(format!("not as planned: {got:?}")) }
}

/// No segment is touched.
fn untouched(before: &[(PathBuf, Vec<u8>)], disk: &SimVfs) -> Result<(), String> {
    for (file, old) in before {
        if file.ends_with("IDENT") || file.extension().is_some_and(|e| e == "idx" || e == "tmp") {
            continue;
        }
        if disk.read_file(file).as_ref() != Some(old) {
            return Err(format!("{} was touched", file.display()));
        }
    }
    Ok(())
}

/// Every copy is whole, and every damaged file that is there was copied.
fn set_aside(
    before: &[(PathBuf, Vec<u8>)],
    disk: &SimVfs,
    outline: &Outline,
) -> Result<(), String> {
    let old = |file| before.iter().find(|(p, _)| p == file).map(|(_, b)| b);
    for c in &outline.copies {
        let same = c.to.starts_with(path("quarantine"))
            && disk.durable_file(&c.to).as_ref() == old(&c.from)
            && disk.durable_file(&c.to).map(|b| b.len() as u64) == Some(c.bytes);
        if !same {
            return Err(format!("{c:?} is not the file"));
        }
    }
    let there = outline.damage.iter().filter(|c| old(&c.path).is_some());
    match there.map(|d| &d.path).find(|d| !outline.copies.iter().any(|c| c.from == **d)) {
        Some(missing) => Err(format!("{} was not copied", missing.display())),
        None => Ok(()),
    }
}

/// The kept log is of the past, and what is missing of the last state is said to be given up.
fn history(
    cut: &RepairCut,
    got: &Model,
    states: &[Model],
    verdict: &mut Verdict,
) -> Result<(), String> {
    let last = states.last().expect("the first one");
    let (given, newest) = (got.hard_state, last.hard_state);
    verdict.certain = cut.kept.hard_state_is_certain;
    if given.term > newest.term {
        return Err(format!("term {} was never reached", given.term));
    }
    if verdict.certain && (given.term, given.vote) != (newest.term, newest.vote) {
        return Err(format!("certain of {given:?} where it is {newest:?}"));
    }
    verdict.exact = states.iter().any(|s| s.is_but_for_vote(got));
    // A log that begins later than the state did, because the beginning was compacted away.
    let is_part = |s: &Model| {
        s.first <= got.first
            && s.next() == got.next()
            && got.entries.iter().all(|e| s.entry(e.index) == Some(e))
    };
    if !verdict.exact && !got.entries.is_empty() && !states.iter().any(is_part) {
        return Err(format!("the log was never so: {got:?}"));
    }
    let is_raft = is_raft(states);
    let holds = |r: &raft_wal::error::LostRange, i| r.first <= i && r.last.is_none_or(|l| i <= l);
    for e in &last.entries {
        // In Raft, an index and a term are an entry.
        if got.entry(e.index).is_some_and(|found| found.term == e.term) {
            verdict.kept += 1;
            continue;
        }
        verdict.given_up += 1;
        if !is_raft && (e.index <= given.commit || e.index < got.first) {
            continue;
        }
        let is_said = cut.given_up.entries.is_some_and(|r| holds(&r, e.index))
            || cut.given_up.outdated.iter().any(|r| holds(r, e.index))
            || cut.given_up.covered.is_some_and(|r| holds(&r, e.index));
        if !is_said {
            return Err(format!("entry {} is gone without a word", e.index));
        }
    }
    Ok(())
}

/// Whether Raft could have made this log. Random resets may move it down or change what is
/// committed, and then nothing that is lost can be told from what is kept.
fn is_raft(states: &[Model]) -> bool {
    states.windows(2).all(|w| {
        let (before, after) = (&w[0], &w[1]);
        let commit = before.hard_state.commit;
        let mut committed = before.entries.iter().filter(|e| commit != 0 && e.index <= commit);
        after.first >= before.first
            && after.hard_state.commit >= commit
            && committed.all(|e| e.index < after.first || after.entry(e.index) == Some(e))
    })
}

/// What a degraded opening serves and the repaired log has are the same entries.
fn degraded(disk: &SimVfs, options: &Options, cut: &RepairCut, got: &Model) -> Result<(), String> {
    let g = Wal::open_degraded(disk.fork(), DIR, options).map_err(|e| e.to_string())?;
    for e in &got.entries {
        let holds = |r: &&raft_wal::error::LostRange| {
            r.first <= e.index && r.last.is_none_or(|l| e.index <= l)
        };
        let outdated = cut.given_up.outdated.iter().any(|r| holds(&r));
        match g.entries(e.index, e.index + 1, u64::MAX) {
            Ok(found) if found.first().map(|f| f.term) != Some(e.term) && !outdated => {
                return Err(format!("entry {} is another one to a degraded opening", e.index));
            }
            Err(Error::Corrupt(_)) if e.index > got.hard_state.commit && !outdated => {
                return Err(format!("entry {} is doubted by a degraded opening", e.index));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The repaired log takes appends and opens with them.
fn goes_on(disk: &SimVfs, options: &Options, mut log: Model) -> Result<(), String> {
    let term = log.hard_state.term.max(log.last_term().unwrap_or(0)).max(1);
    let entry = crate::support::lab::entry(log.next(), term, 50);
    let batch = Batch::of_entries(vec![entry]);
    let (mut wal, _) = open(disk, options).map_err(|e| e.to_string())?;
    wal.append(&batch).map_err(|e| format!("append: {e}"))?;
    log.apply(&batch);
    wal.close().map_err(|e| e.to_string())?;
    match read(&disk.power_cut(&mut KeepNothing), options) {
        Ok(got) => log.difference(&got).map_or(Ok(()), Err),
        Err(e) => Err(format!("after an append: {e}")),
    }
}

/// Crashes at every call of the execution, in several ways each: the damage is as it was, or the
/// log is repaired. Where it is as it was, it can be repaired as planned.
pub(crate) fn crash_everywhere(
    disk: &SimVfs,
    options: &Options,
    cuts: u64,
) -> Result<usize, String> {
    let refused = open(&disk.fork(), options).err().map(|e| e.to_string());
    let on = disk.fork();
    let planned = plan(&on, options).map_err(|e| e.to_string())?;
    let kept = planned.outline().cut.as_ref().map(|c| c.kept.clone());
    on.set_moments(true);
    execute(planned).map_err(|e| e.to_string())?;
    let mut states = 0;
    for moment in on.take_moments() {
        let at = || format!("crash at call {} ({:?}, {})", moment.call, moment.op, moment.site);
        let mut left =
            vec![moment.disk.power_cut(&mut KeepNothing), moment.disk.power_cut(&mut KeepAll)];
        left.push(moment.disk.kill(moment.call));
        left.extend(
            (0..cuts).map(|n| moment.disk.power_cut(&mut RandomCrash::new(moment.call * 1000 + n))),
        );
        for disk in left {
            states += 1;
            as_before_or_repaired(&disk, options, refused.as_ref(), kept.as_ref())
                .map_err(|e| format!("{}: {e}", at()))?;
        }
    }
    Ok(states)
}

/// Fails every call of the execution in turn.
pub(crate) fn fail_everywhere(disk: &SimVfs, options: &Options) -> Result<usize, String> {
    let refused = open(&disk.fork(), options).err().map(|e| e.to_string());
    for n in 1.. {
        let on = disk.fork();
        let planned = plan(&on, options).map_err(|e| e.to_string())?;
        let kept = planned.outline().cut.as_ref().map(|c| c.kept.clone());
        let fault = [raft_vfs::sim::Fault::Eio, raft_vfs::sim::Fault::Enospc][n as usize % 2];
        on.fail_call(n, fault, raft_vfs::sim::Persistence::Once);
        let before = on.calls();
        let done = execute(planned);
        let reached = on.calls() - before >= n;
        on.clear_faults();
        for left in [on.fork(), on.power_cut(&mut KeepNothing)] {
            as_before_or_repaired(&left, options, refused.as_ref(), kept.as_ref())
                .map_err(|e| format!("{fault:?} at call {n} ({done:?}): {e}"))?;
        }
        if !reached {
            return done.map(|_| n as usize).map_err(|e| e.to_string());
        }
    }
    unreachable!("some call is the last")
}

fn as_before_or_repaired(
    disk: &SimVfs,
    options: &Options,
    refused: Option<&String>,
    kept: Option<&Kept>,
) -> Result<(), String> {
    let is_kept = |got: &Model| kept.is_none_or(|k| is_planned(k, got));
    match (read(disk, options), refused) {
        (Ok(got), _) if is_kept(&got) => Ok(()),
        (Ok(got), _) => Err(format!("another log: {got:?}")),
        (Err(e), Some(r)) if e.to_string() == *r => {
            let on = disk.fork();
            let planned = plan(&on, options).map_err(|e| format!("planned again: {e}"))?;
            execute(planned).map_err(|e| format!("executed again: {e}"))?;
            match read(&on, options) {
                Ok(got) if is_kept(&got) => Ok(()),
                other => Err(format!("executed again: {other:?}")),
            }
        }
        (Err(e), r) => Err(format!("refused otherwise: {e}; before: {r:?}")),
    }
}
