//! Random histories: eras of appends, duties and reopens on one disk, each ended by a crash, a
//! kill, a poisoning, a full disk or a close; and every way that the disk may look afterwards is
//! opened and judged by the oracle.

use std::time::Duration;

use fastrand::Rng;
use raft_vfs::SimVfs;
use raft_vfs::sim::{
    Change, Fate, Fault, FsyncFailure, KeepAll, KeepNothing, Op, PendingUnit, Persistence,
    RandomCrash,
};
use raft_wal::format::FIRST_FRAME;
use raft_wal::{Error, Options, ReadMode, RecoveryReport, Tail, Ticket, Verify, Wal};

use super::batches::Batches;
use super::model::Model;
use super::oracle::Issued;
use super::sim::{announce, is_death, open, path, read_all};
use super::tally::Tally;

/// What a history does besides appending and crashing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Crash states judged at each crash.
    pub(crate) samples: usize,
    /// Failing syncs, writes and reads.
    pub(crate) faults: bool,
    /// Full disks.
    pub(crate) full: bool,
    /// A disk that damages whole sectors around an un-synced write.
    pub(crate) unsafe_overwrite: bool,
}

impl Plan {
    /// Everything, as the seed has it.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(!seed);
        Self {
            samples: 4,
            faults: rng.bool(),
            full: rng.u8(..4) == 0,
            unsafe_overwrite: rng.u8(..4) == 0,
        }
    }
}

/// How an operation or an era ended.
pub(crate) enum End {
    /// The process died at a call that was chosen to kill it.
    Crashed,
    /// The log is poisoned.
    Poisoned,
    /// Something that must not be; starts with its kind.
    Failed(String),
}

pub(crate) type Outcome<T = ()> = Result<T, End>;

pub(crate) fn failed<T>(kind: &str, what: impl std::fmt::Display) -> Outcome<T> {
    Err(End::Failed(format!("{kind} {what}")))
}

/// One history.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one process")]
pub(crate) struct History<'t> {
    pub(super) seed: u64,
    pub(super) plan: Plan,
    pub(crate) rng: Rng,
    pub(crate) disk: SimVfs,
    pub(crate) issued: Issued,
    pub(super) batches: Batches,
    /// Tickets whose batches are not known durable, with the state each led to.
    pub(super) tickets: Vec<(Ticket, usize)>,
    pub(super) initial: u64,
    pub(super) now: Duration,
    /// Every state that the log ever went through before the last open.
    pub(crate) past: Vec<Model>,
    /// The disk at some earlier moment.
    pub(crate) earlier: SimVfs,
    pub(super) tally: &'t mut Tally,
    pub(super) trace: bool,
    /// What is being done, for the place of a crash.
    pub(super) doing: &'static str,
    /// Whether a planned fault may explain an error.
    pub(super) faulty: bool,
    /// Whether the disk may be full.
    pub(super) tight: bool,
    /// Whether this process appended anything.
    pub(super) appended: bool,
    /// Whether what the open found is durable.
    pub(super) settled: bool,
}

/// Runs the history of a seed; what is wrong goes into the tally.
pub(crate) fn run(seed: u64, plan: Plan, tally: &mut Tally, trace: bool) {
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut part = Tally::default();
        let mut history = History::new(seed, plan, &mut part, trace);
        let result = history.eras();
        (part, result)
    }));
    let problem = match ran {
        Ok((part, result)) => {
            tally.add(&part);
            result.err()
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or(panic.downcast_ref::<&str>().map(ToString::to_string));
            Some(format!("PANIC {}", text.unwrap_or_default()))
        }
    };
    tally.histories += 1;
    if let Some(problem) = problem {
        tally.failures.push(format!("{problem}\n  replay: RAFT_WAL_SEED={seed}"));
    }
}

impl<'t> History<'t> {
    pub(crate) fn new(seed: u64, plan: Plan, tally: &'t mut Tally, trace: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let disk = SimVfs::new(rng.u64(..));
        disk.set_powersafe_overwrite(!plan.unsafe_overwrite);
        let initial = [1, 1, 1, 0, 77, 1 << 40][rng.usize(..6)];
        Self {
            seed,
            plan,
            rng,
            earlier: disk.fork(),
            disk,
            issued: Issued::after(Model::new(initial)),
            batches: Batches::new(),
            past: Vec::new(),
            tickets: Vec::new(),
            initial,
            now: Duration::ZERO,
            tally,
            trace,
            doing: "",
            faulty: false,
            tight: false,
            appended: false,
            settled: true,
        }
    }

    pub(super) fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            announce(&format!("[{}] {}", self.seed, what()));
        }
    }

    pub(crate) fn options(&mut self) -> Options {
        let rng = &mut self.rng;
        let align = if self.plan.unsafe_overwrite {
            [512, 4096][rng.usize(..2)]
        } else {
            [1, 1, 1, 512, 4096][rng.usize(..5)]
        };
        Options::new()
            .initial_index(self.initial)
            .segment_bytes([16, 20, 24, 24][rng.usize(..4)] << 10)
            .max_unsynced_bytes([0, 4096, 8 << 20, 8 << 20][rng.usize(..4)])
            .tail_cache_bytes([0, 4096, 8 << 20][rng.usize(..3)])
            .align(align)
            .verify([Verify::Tail, Verify::Full, Verify::Auto][rng.usize(..3)])
            .read_mode(if rng.bool() { ReadMode::Map } else { ReadMode::Pread })
    }

    /// All eras, then a last look at the disk.
    pub(crate) fn eras(&mut self) -> Result<(), String> {
        for era in 0..self.rng.usize(2..7) {
            self.say(|| format!("era {era}: {:?}", self.plan));
            match self.era() {
                Ok(()) => {}
                Err(End::Failed(why)) => return Err(format!("{why}\n  in {}", self.doing)),
                Err(End::Poisoned) => self.tally.poisonings += 1,
                Err(End::Crashed) => {
                    self.tally.crashes_inside += 1;
                    self.note_site();
                }
            }
            self.disk.clear_faults();
            self.make_room();
            self.tickets.clear();
            self.after_crash()?;
        }
        Ok(())
    }

    /// Where the process died: the operation, the call, the file.
    fn note_site(&mut self) {
        let Some(call) = self.disk.take_trace().pop() else { return };
        let name = call.path.file_name().unwrap_or_default().to_string_lossy();
        let file = match name.rsplit('.').next() {
            // A handle keeps the name under which its file was made.
            _ if name.starts_with("spare") => "own segment",
            Some("idx") => "idx",
            Some("seg") => "segment",
            Some("tmp") if name.contains("idx") => "idx.tmp",
            _ => &name,
        };
        let site = format!("{}: {:?} {file}", self.doing, call.op);
        self.say(|| format!("died at {site}"));
        *self.tally.sites.entry(site).or_default() += 1;
    }

    /// Plans what is to go wrong from now on.
    fn plan_faults(&mut self, in_open: bool) {
        let rng = &mut self.rng;
        self.disk.set_trace(false);
        self.disk.set_trace(true);
        self.disk.clear_faults();
        self.faulty = false;
        let once = Persistence::Once;
        match rng.u8(..10) {
            0..2 => self.disk.crash_at_call(rng.u64(1..if in_open { 60 } else { 300 })),
            2..5 => {
                let ops =
                    [Op::Write, Op::SyncData, Op::SyncDir, Op::Rename, Op::Remove, Op::Create];
                let op = ops[rng.usize(..ops.len())];
                let n = rng.u64(1..if in_open { 6 } else { 25 });
                self.disk.fail_op(op, n, Fault::Crash, once);
            }
            5..9 if self.plan.faults => {
                let modes = [FsyncFailure::KeepCache, FsyncFailure::RevertCache];
                self.disk.set_fsync_mode(modes[rng.usize(..2)]);
                let ops =
                    [Op::SyncData, Op::SyncData, Op::Write, Op::SyncDir, Op::Read, Op::Create];
                let op = ops[rng.usize(..ops.len())];
                let fault = match op {
                    Op::Write => Fault::ALL[rng.usize(..Fault::ALL.len())],
                    _ => [Fault::Eio, Fault::Enospc, Fault::Emfile][rng.usize(..3)],
                };
                let n = rng.u64(1..if in_open { 8 } else { 30 });
                self.disk.fail_op(op, n, fault, once);
                self.faulty = true;
                self.say(|| format!("fault: {op:?} number {n} fails: {fault:?}"));
            }
            _ => {}
        }
    }

    fn era(&mut self) -> Outcome {
        let options = self.options();
        self.say(|| format!("open {options:?}"));
        self.plan_faults(true);
        let full = self.plan.full && self.rng.u8(..4) == 0;
        if full {
            self.fill_disk();
            // Nothing can be created on a full disk; what is there must open.
            self.faulty |= self.disk.read_file(path("IDENT")).is_none();
        }
        let mut wal = self.open(&options)?;
        if full {
            self.make_room();
        }
        self.plan_faults(false);
        for _ in 0..self.rng.usize(..26) {
            let done = self.operation(&mut wal);
            let done = done.and_then(|()| self.look(&wal));
            self.acknowledge(&wal);
            if let Err(end) = done {
                self.observe_poisoned(&wal, &end)?;
                return Err(end);
            }
            if self.rng.u8(..24) == 0 {
                self.earlier = self.disk.fork();
            }
            if self.rng.u8(..20) == 0 {
                wal = self.reopen(wal)?;
            }
        }
        if self.rng.u8(..6) == 0 {
            self.close(wal)?;
        }
        Ok(())
    }

    /// Only a little more fits on the disk.
    pub(super) fn fill_disk(&mut self) {
        let used: usize =
            self.disk.paths().iter().filter_map(|p| self.disk.read_file(p)).map(|b| b.len()).sum();
        let more = self.rng.u64(..40_000);
        self.disk.set_space(Some(used as u64 + more));
        self.tight = true;
        self.say(|| format!("disk full but for {more}"));
    }

    pub(super) fn make_room(&mut self) {
        self.disk.set_space(None);
        self.tight = false;
    }

    /// Turns an error that the history explains into its end; others are failures.
    pub(super) fn explain(&mut self, error: &Error) -> Outcome {
        self.say(|| format!("  {error}"));
        if self.disk.crashed() || is_death(error) {
            return Err(End::Crashed);
        }
        match error {
            Error::Poisoned { .. } if self.faulty => Err(End::Poisoned),
            Error::NoSpace { .. } if self.tight || self.faulty => {
                self.tally.no_space += 1;
                Ok(())
            }
            Error::Io { .. } if self.faulty => Ok(()),
            _ => failed("REFUSED", format!("{}: {error}", self.doing)),
        }
    }

    /// Opens the log and judges what comes back.
    pub(super) fn open(&mut self, options: &Options) -> Outcome<Wal<SimVfs>> {
        self.doing = "open";
        let opened = match open(&self.disk, options) {
            Ok(opened) => opened,
            Err(error) => {
                self.explain(&error)?;
                // A fault stopped the open; without it the same disk opens.
                self.disk.clear_faults();
                self.make_room();
                match open(&self.disk, options) {
                    Ok(opened) => opened,
                    Err(error) => return failed("REFUSED", format!("second open: {error}")),
                }
            }
        };
        let (wal, report) = opened;
        self.say(|| format!("  {report}"));
        if self.disk.crashed() {
            return Err(End::Crashed);
        }
        self.count(&report);
        let got = self.read(&wal)?;
        self.judge(&got, &report)?;
        if wal.recovered_durable() != report.recovered_durable {
            return failed("ILLEGAL", "report and handle differ on what is durable");
        }
        self.appended = false;
        self.settled = report.recovered_durable;
        if report.recovered_durable {
            self.past.append(&mut self.issued.states);
            self.issued = Issued::after(got);
        } else {
            // Nothing was written: all that was possible still is, and this in any case.
            self.tally.not_durable += 1;
            self.issued.states.push(got);
        }
        Ok(wal)
    }

    fn count(&mut self, report: &RecoveryReport) {
        self.tally.opens += 1;
        self.tally.carries += u64::from(report.carried > 0);
        self.tally.raised += u64::from(report.state_raised);
        self.tally.indexed += report.indexed as u64;
        self.tally.removed += report.removed as u64;
    }

    pub(super) fn read(&mut self, wal: &Wal<SimVfs>) -> Outcome<Model> {
        loop {
            match read_all(wal) {
                Ok(model) => return Ok(model),
                Err(error) => {
                    self.explain(&error)?;
                }
            }
        }
    }

    fn judge(&self, got: &Model, report: &RecoveryReport) -> Outcome {
        if let Err(why) = self.issued.legal(got) {
            return failed("ILLEGAL", why);
        }
        let said = (report.first_index, report.next_index, report.hard_state);
        if said != (got.first, got.next(), got.hard_state) {
            return failed("ILLEGAL", format!("the report says {said:?} of {got:?}"));
        }
        Ok(())
    }

    /// Judges what the disk may look like now, and goes on with one of these disks.
    fn after_crash(&mut self) -> Result<(), String> {
        for sample in 0..self.plan.samples {
            let disk = self.crash(sample);
            self.judge_disk(&disk).map_err(|end| match end {
                End::Failed(why) => format!("{why}\n  in sample {sample}"),
                End::Crashed | End::Poisoned => "PANIC: no fault was planned".into(),
            })?;
            if sample + 1 == self.plan.samples {
                self.disk = disk;
            }
        }
        Ok(())
    }

    fn crash(&mut self, sample: usize) -> SimVfs {
        let rng = &mut self.rng;
        match (sample, rng.u8(..10)) {
            (0, 0..=2) => self.disk.power_cut(&mut KeepNothing),
            (0, 3..=5) => self.disk.power_cut(&mut KeepAll),
            (0 | 1, 9) => self.disk.power_cut(&mut keep_marks),
            (_, 6..=8) => self.disk.kill(rng.u64(..)),
            _ => self.disk.power_cut(&mut RandomCrash::new(rng.u64(..))),
        }
    }

    /// Opens copies of a crashed disk in every way.
    fn judge_disk(&mut self, disk: &SimVfs) -> Outcome {
        self.doing = "recovery";
        let options = self.options();
        let fork = disk.fork();
        let first = self.recover(&fork, &options)?;
        // What was recovered is durable, whatever comes.
        let again = [
            self.recover(&fork.power_cut(&mut KeepNothing), &options)?,
            self.recover(&fork, &options)?,
        ];
        if let Some(why) = again.iter().find_map(|again| first.difference(again)) {
            return failed("ILLEGAL", format!("recovered twice: {why}"));
        }
        if self.rng.bool() {
            self.crash_in_recovery(disk, &options)?;
        }
        Ok(())
    }

    /// A crash inside recovery, then another recovery.
    fn crash_in_recovery(&mut self, disk: &SimVfs, options: &Options) -> Outcome {
        let fork = disk.fork();
        fork.set_trace(true);
        if self.rng.bool() {
            fork.crash_at_call(self.rng.u64(1..50));
        } else {
            let ops = [Op::Write, Op::SyncData, Op::SyncDir, Op::Rename, Op::Remove];
            let op = ops[self.rng.usize(..ops.len())];
            fork.fail_op(op, self.rng.u64(1..5), Fault::Crash, Persistence::Once);
        }
        let opened = open(&fork, options);
        if !fork.crashed() {
            return Ok(());
        }
        drop(opened);
        self.tally.crashes_inside += 1;
        let whole = std::mem::replace(&mut self.disk, fork);
        self.doing = "open";
        self.note_site();
        self.doing = "recovery after a crash in recovery";
        let crashed = self.crash(1);
        self.disk = whole;
        self.recover(&crashed, options).map(drop)
    }

    /// Opens a disk, judges it, and leaves it as the open left it.
    fn recover(&mut self, disk: &SimVfs, options: &Options) -> Outcome<Model> {
        self.tally.states += 1;
        self.tally.distinct.insert((self.seed, disk.fingerprint()));
        let (wal, report) = match open(disk, options) {
            Ok(opened) => opened,
            Err(error) => return failed("REFUSED", error),
        };
        self.count(&report);
        let got = match read_all(&wal) {
            Ok(got) => got,
            Err(error) => return failed("REFUSED", format!("unreadable: {error}")),
        };
        self.judge(&got, &report)?;
        if report.tail == Tail::Clean && !report.certain {
            return failed("ILLEGAL", "clean and yet uncertain");
        }
        Ok(got)
    }
}

/// Of the un-synced writes, only those in front of a segment's frames survive.
fn keep_marks(_: usize, unit: &PendingUnit) -> Fate {
    match unit.change {
        Change::Write { offset, .. } if offset >= FIRST_FRAME => Fate::Drop,
        _ => Fate::Keep,
    }
}
