//! One process after another on one disk.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use raft_vfs::SimVfs;
use raft_vfs::sim::{
    Fault, FsyncFailure, KeepAll, KeepNothing, Op, Persistence, RandomCrash, is_crashed,
};
use raft_wal::{Backup, Batch, Error, Options, ReadMode, ReadOnly, Tail, Ticket, Verify, Wal};

use super::batches;
use super::rules::lawful;
use crate::support::model::Model;
use crate::support::oracle::Issued;
use crate::support::sim::{DIR, open, read_all};

/// Operations of one input: more would only be slow.
const OPERATIONS_MAX: usize = 60;

/// Whether the process lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    GoesOn,
    /// Killed by a planned fault, or with a poisoned log.
    Ends,
}

/// A disk, what was issued, and what may go wrong.
pub(super) struct Run {
    disk: SimVfs,
    initial: u64,
    options: Options,
    issued: Issued,
    /// Batches not known durable, with the state each led to.
    tickets: Vec<(Ticket, usize)>,
    now: Duration,
    /// Whether a planned fault may explain an error.
    faulty: bool,
    /// Whether the disk may be full.
    tight: bool,
    /// Whether this process appended anything.
    appended: bool,
    /// A hold for a copy, and what the copy may be.
    held: Option<(Backup<SimVfs>, Issued)>,
}

fn options(u: &mut Unstructured<'_>, initial: u64) -> Result<Options> {
    Ok(Options::new()
        .initial_index(initial)
        .segment_bytes([16, 20, 24][u.choose_index(3)?] << 10)
        .max_unsynced_bytes([0, 4096, 8 << 20][u.choose_index(3)?])
        .tail_cache_bytes([0, 4096, 8 << 20][u.choose_index(3)?])
        .align([1, 1, 512, 4096][u.choose_index(4)?])
        .spare_segments([2, 2, 0, 5][u.choose_index(4)?])
        .verify([Verify::Tail, Verify::Full, Verify::Auto][u.choose_index(3)?])
        .read_mode([ReadMode::Map, ReadMode::Pread][u.choose_index(2)?]))
}

impl Run {
    pub(super) fn begin(u: &mut Unstructured<'_>) -> Result<Self> {
        let initial = [1, 1, 0, 77, 1 << 40][u.choose_index(5)?];
        let options = options(u, initial)?;
        let disk = SimVfs::new(u.arbitrary()?);
        let modes = [FsyncFailure::KeepCache, FsyncFailure::RevertCache];
        disk.set_fsync_mode(modes[u.choose_index(2)?]);
        Ok(Self {
            disk,
            initial,
            options,
            issued: Issued::after(Model::new(initial)),
            tickets: Vec::new(),
            now: Duration::ZERO,
            faulty: false,
            tight: false,
            appended: false,
            held: None,
        })
    }

    pub(super) fn until_the_end(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (wal, _) = open(&self.disk, &self.options).expect("a new log on a sound disk");
        let mut process = Some(wal);
        for _ in 0..OPERATIONS_MAX {
            let Some(mut wal) = process.take() else {
                process = self.start(u)?;
                continue;
            };
            if u.is_empty() {
                process = Some(wal);
                break;
            }
            let kind = u.int_in_range(0..=31_u8)?;
            let life = match kind {
                0..14 => self.append(u, &mut wal)?,
                14..18 => self.sync(u, &mut wal)?,
                18..22 => self.duty(u, &mut wal)?,
                22 => self.compact_to(u, &mut wal)?,
                23 => {
                    self.read(u, &wal)?;
                    Life::GoesOn
                }
                24 | 25 => self.plan(u)?,
                26 | 27 => {
                    self.crash(u)?;
                    Life::Ends
                }
                28 => {
                    self.held = None;
                    self.close(wal);
                    continue;
                }
                29 => Life::Ends,
                30 => {
                    self.fill(u)?;
                    Life::GoesOn
                }
                _ => {
                    self.mend();
                    self.options = options(u, self.initial)?;
                    Life::GoesOn
                }
            };
            self.acknowledge(&wal);
            if life == Life::GoesOn {
                process = Some(wal);
            } else {
                self.held = None;
            }
        }
        if let Some(wal) = process {
            self.mend();
            if wal.poisoned().is_none() && !self.disk.crashed() {
                self.compare(&wal);
            }
            self.close(wal);
        }
        self.mend();
        self.judge(&self.disk.kill(7));
        Ok(())
    }

    /// Takes back everything that was to go wrong.
    fn mend(&mut self) {
        self.disk.clear_faults();
        self.disk.set_space(None);
        (self.faulty, self.tight) = (false, false);
    }

    /// What an error means for the process. One that nothing explains is a finding.
    fn explain(&self, doing: &str, error: &Error) -> Life {
        let death = matches!(error, Error::Io { source, .. } if is_crashed(source));
        match error {
            _ if death || self.disk.crashed() => Life::Ends,
            Error::Poisoned { .. } if self.faulty || self.tight => Life::Ends,
            Error::NoSpace { .. } | Error::Io { .. } if self.faulty || self.tight => Life::GoesOn,
            _ => panic!("{doing}: {error}"),
        }
    }

    /// Opens the log with another process. Its errors are retried on a sound disk.
    fn start(&mut self, u: &mut Unstructured<'_>) -> Result<Option<Wal<SimVfs>>> {
        self.tickets.clear();
        self.appended = false;
        if u.ratio(1, 4)? {
            self.plan(u)?;
        } else {
            self.mend();
        }
        let opened = open(&self.disk, &self.options);
        if self.disk.crashed() {
            drop(opened);
            self.crash(u)?;
            return Ok(None);
        }
        let opened = opened.ok().filter(|(_, report)| report.recovered_durable);
        let (wal, report) = opened.unwrap_or_else(|| {
            assert!(self.faulty || self.tight, "an open fails on a sound disk");
            self.mend();
            open(&self.disk, &self.options).expect("the disk is sound again")
        });
        assert!(report.recovered_durable && wal.recovered_durable(), "the disk has room");
        self.mend();
        let got = read_all(&wal).expect("just recovered");
        self.legal(&got);
        self.issued = Issued::after(got);
        Ok(Some(wal))
    }

    #[track_caller]
    fn legal(&self, got: &Model) {
        if let Err(why) = self.issued.legal(got) {
            panic!("{why}");
        }
    }

    fn append(&mut self, u: &mut Unstructured<'_>, wal: &mut Wal<SimVfs>) -> Result<Life> {
        let before = self.issued.last().clone();
        let batch = batches::batch(u, &before)?;
        let allowed = lawful(&before, &batch);
        if allowed {
            let mut after = before.clone();
            after.apply(&batch);
            self.issued.states.push(after);
        }
        match wal.append(&batch) {
            Ok(ticket) => {
                assert!(allowed, "accepted {batch:?} on {before:?}");
                self.appended = true;
                self.tickets.push((ticket, self.issued.states.len() - 1));
                Ok(Life::GoesOn)
            }
            Err(Error::Rejected(_) | Error::TooLarge { .. }) if !allowed => Ok(Life::GoesOn),
            Err(error) => {
                let life = self.explain(&format!("append {batch:?} on {before:?}"), &error);
                if life == Life::GoesOn && allowed {
                    // Nothing was written.
                    self.issued.states.pop();
                }
                Ok(life)
            }
        }
    }

    fn sync(&mut self, u: &mut Unstructured<'_>, wal: &mut Wal<SimVfs>) -> Result<Life> {
        let pick = u.int_in_range(0..=self.tickets.len())?;
        let done = if let Some(&(ticket, _)) = self.tickets.get(pick) {
            let done = wal.wait(ticket);
            assert!(done.is_err() || wal.is_durable(ticket), "a wait that did not wait");
            done
        } else {
            wal.sync().map(|()| self.all_durable(wal))
        };
        Ok(done.map_or_else(|e| self.explain("sync", &e), |()| Life::GoesOn))
    }

    fn all_durable(&mut self, wal: &Wal<SimVfs>) {
        self.issued.acked = self.issued.states.len() - 1;
        self.tickets.clear();
        let (log, durable) = (self.issued.last(), wal.durable());
        let expected = (log.next().saturating_sub(1), log.last_term().unwrap_or(0));
        assert_eq!((durable.last_index, durable.term), expected, "durable, of {log:?}");
    }

    /// Whatever the log calls durable is acknowledged.
    fn acknowledge(&mut self, wal: &Wal<SimVfs>) {
        while let Some(&(_, state)) = self.tickets.first().filter(|(t, _)| wal.is_durable(*t)) {
            self.issued.acked = self.issued.acked.max(state);
            self.tickets.remove(0);
        }
    }

    fn duty(&mut self, u: &mut Unstructured<'_>, wal: &mut Wal<SimVfs>) -> Result<Life> {
        self.now += Duration::from_millis(u.int_in_range(0..=9)?);
        let done = match u.int_in_range(0..=6_u8)? {
            0 => wal.write_through(),
            1 => wal.step_publish().map(drop),
            2 => wal.step_mark(self.now).map(drop),
            3 => wal.step_index().map(drop),
            4 => wal.step_gc().map(drop),
            5 => wal.step_scrub(u.int_in_range(1..=40_000)?).map(|step| {
                let damage = step.found.iter().find(|f| f.is_damage());
                let sound = !self.faulty && !self.disk.crashed();
                assert!(!sound || damage.is_none(), "damage on a sound disk: {damage:?}");
            }),
            _ => wal.step_all(self.now),
        };
        Ok(done.map_or_else(|e| self.explain("a duty", &e), |()| Life::GoesOn))
    }

    fn compact_to(&mut self, u: &mut Unstructured<'_>, wal: &mut Wal<SimVfs>) -> Result<Life> {
        let log = self.issued.last().clone();
        let committed = log.hard_state.commit.saturating_add(1).clamp(log.first, log.next());
        let index = u.int_in_range(log.first..=committed)?;
        let mut after = log.clone();
        after.apply(&Batch { compact: Some(index), ..Batch::default() });
        self.issued.states.push(after);
        let Err(error) = wal.compact_to(index) else { return Ok(Life::GoesOn) };
        let life = self.explain("compact_to", &error);
        if life == Life::GoesOn && wal.first_index() == log.first {
            self.issued.states.pop();
        }
        Ok(life)
    }

    /// One of the ways to read a log that is in use.
    fn read(&mut self, u: &mut Unstructured<'_>, wal: &Wal<SimVfs>) -> Result<()> {
        match (u.int_in_range(0..=3_u8)?, self.held.take()) {
            (0, held) => {
                self.held = held;
                self.compare(wal);
            }
            (1, held) => {
                self.held = held;
                self.look();
            }
            (_, None) => {
                let held = wal.backup().map_err(|e| self.explain("backup", &e)).ok();
                self.held = held.map(|held| (held, self.issued.clone()));
            }
            (_, Some((held, issued))) => self.copy(&held, &issued),
        }
        Ok(())
    }

    /// Copies the log as it was durable when the hold was taken.
    fn copy(&self, held: &Backup<SimVfs>, issued: &Issued) {
        let to = SimVfs::new(3);
        if let Err(error) = held.copy_to(&to, DIR) {
            self.explain("copy", &error);
            return;
        }
        let (wal, report) = open(&to, &self.options).expect("a copy on a sound disk");
        assert!(report.discarded.is_none() && report.carried == 0, "a copy: {report}");
        let usual = if held.durable().batch_seq == 0 { Tail::Empty } else { Tail::Clean };
        assert!(report.tail == usual && report.certain, "a copy is closed: {report}");
        let got = read_all(&wal).expect("just copied");
        assert!(issued.states[issued.acked..].contains(&got), "no state of that time: {got:?}");
        let durable = held.durable();
        assert_eq!(durable.last_index, got.next().saturating_sub(1), "durable then, of {got:?}");
    }

    /// Compares the open log with the model.
    fn compare(&self, wal: &Wal<SimVfs>) {
        match read_all(wal) {
            Ok(got) => {
                let difference = self.issued.last().difference(&got);
                assert_eq!(difference, None, "the open log, of {:?}", self.issued.last());
            }
            Err(error) => drop(self.explain("read", &error)),
        }
    }

    /// Another process reads the log meanwhile: it sees one that was issued, no older than what
    /// was acknowledged.
    fn look(&self) {
        let opened = ReadOnly::open(self.disk.clone(), DIR, &self.options);
        let read = opened.and_then(|(log, _)| {
            let (first, next) = (log.first_index(), log.next_index());
            let base_term = first.checked_sub(1).map(|before| log.term(before)).transpose()?;
            Ok(Model {
                first,
                base_term: base_term.flatten(),
                entries: log.entries(first, next, u64::MAX)?,
                hard_state: log.hard_state(),
                snapshot: log.snapshot().cloned(),
                metadata: log.metadata().cloned(),
                blobs: log.blobs().map(|(k, v)| (k.clone(), v.clone())).collect(),
            })
        });
        match read {
            Ok(seen) => self.legal(&seen),
            Err(error) => drop(self.explain("another process reads", &error)),
        }
    }

    /// A call that will fail, or at which the process will die.
    fn plan(&mut self, u: &mut Unstructured<'_>) -> Result<Life> {
        const OPS: [Op; 7] =
            [Op::Write, Op::SyncData, Op::SyncDir, Op::Rename, Op::Remove, Op::Create, Op::Read];
        let op = OPS[u.choose_index(OPS.len())?];
        let n = u.int_in_range(1..=12)?;
        let fault = if u.ratio(1, 3)? {
            Fault::Crash
        } else {
            Fault::ALL[u.choose_index(Fault::ALL.len())?]
        };
        let how = if u.ratio(1, 4)? { Persistence::Forever } else { Persistence::Once };
        self.disk.fail_op(op, n, fault, how);
        self.faulty |= fault != Fault::Crash;
        Ok(Life::GoesOn)
    }

    /// Only a little more fits on the disk.
    fn fill(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let used = |p: &std::path::PathBuf| self.disk.read_file(p).map_or(0, |b| b.len() as u64);
        let used: u64 = self.disk.paths().iter().map(used).sum();
        self.disk.set_space(Some(used + u.int_in_range(0..=40_000)?));
        self.tight = true;
        Ok(())
    }

    /// The power goes, or only the process; what may be left is judged, and one of it stays.
    fn crash(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.tickets.clear();
        self.mend();
        let seed = u.arbitrary()?;
        let disk = match u.int_in_range(0..=3_u8)? {
            0 => self.disk.power_cut(&mut KeepNothing),
            1 => self.disk.power_cut(&mut KeepAll),
            2 => self.disk.kill(seed),
            _ => self.disk.power_cut(&mut RandomCrash::new(seed)),
        };
        self.judge(&disk);
        self.disk = disk;
        Ok(())
    }

    /// A disk with nobody at work must open, hold what was issued, and open again the same.
    fn judge(&self, disk: &SimVfs) {
        let mut disk = disk.fork();
        let mut first = None;
        for _ in 0..2 {
            let opened = Wal::open(disk.clone(), DIR, &self.options);
            let (wal, report) = opened.unwrap_or_else(|e| panic!("after a crash: {e}"));
            let got = read_all(&wal).expect("just recovered");
            self.legal(&got);
            assert!(report.tail != Tail::Clean || report.certain, "clean, and not certain");
            let first = first.get_or_insert_with(|| got.clone());
            assert_eq!(first.difference(&got), None, "recovered twice");
            // What was recovered is durable, whatever comes.
            disk = disk.power_cut(&mut KeepNothing);
        }
    }

    fn close(&mut self, wal: Wal<SimVfs>) {
        if let Err(error) = wal.close() {
            self.explain("close", &error);
            return;
        }
        if self.disk.crashed() {
            return;
        }
        self.issued.acked = self.issued.states.len() - 1;
        self.tickets.clear();
        if self.appended && !self.faulty {
            let opened = Wal::open(self.disk.fork(), DIR, &self.options);
            let (_, report) = opened.unwrap_or_else(|e| panic!("after a close: {e}"));
            assert!(report.tail == Tail::Clean && report.certain, "after a close: {report}");
        }
    }
}
