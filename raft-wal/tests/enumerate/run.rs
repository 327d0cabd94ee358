//! Running a script on a simulated disk, beside a model; with or without a fault on the way.

use std::sync::Arc;
use std::time::Duration;

use raft_vfs::SimVfs;
use raft_vfs::sim::Moment;
use raft_wal::format::SEAL_FRAME_LEN;
use raft_wal::{Batch, Error, Options, RecoveryReport, Ticket, Wal};

use super::script::{Batches, Op, Pace, SEGMENT, Start, compaction, options};
use crate::support::lab::frames;
use crate::support::model::Model;
use crate::support::oracle::Issued;
use crate::support::sim::{open, read_all, segments};

/// A place to crash, and what was issued and acknowledged by then.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) moment: Moment,
    pub(crate) issued: Arc<Issued>,
}

/// What must not be, in words.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// A process and its log.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) disk: SimVfs,
    pub(crate) options: Options,
    /// `None` where an open failed.
    pub(crate) wal: Option<Wal<SimVfs>>,
    pub(crate) issued: Issued,
    /// Places to crash since the moments of the disk are kept.
    pub(crate) points: Vec<Point>,
    /// Whether a planned fault may explain an error.
    pub(crate) faulty: bool,
    pub(crate) poisoned: bool,
    /// Errors that a fault led to.
    pub(crate) errors: u64,
    batches: Batches,
    tickets: Vec<(Ticket, usize)>,
    now: Duration,
    /// Whether this process has begun a segment.
    appended: bool,
}

impl Run {
    /// A disk on which no process is running, and on which nothing was ever acknowledged.
    pub(crate) fn on(disk: SimVfs) -> Self {
        Self {
            disk,
            options: options(),
            wal: None,
            issued: Issued::after(Model::new(1)),
            points: Vec::new(),
            faulty: false,
            poisoned: false,
            errors: 0,
            batches: Batches::default(),
            tickets: Vec::new(),
            now: Duration::ZERO,
            appended: false,
        }
    }

    /// A disk with a log as it is at the beginning of a script; no process is running.
    pub(crate) fn new(start: Start) -> Outcome<Self> {
        let mut run = Self::on(SimVfs::new(11));
        if start == Start::Used {
            run.open()?;
            for op in [Op::Append3, Op::HardState, Op::AppendBig, Op::Append3] {
                run.step(op, Pace::Synced)?;
            }
            let extras = run.batches.extras(run.issued.last());
            run.put(&extras)?;
            run.step(Op::HardState, Pace::Synced)?;
            run.kill();
        }
        Ok(run)
    }

    /// The same log on a copy of the disk; the model goes on from where it is.
    pub(crate) fn fork(&self) -> Self {
        assert!(self.wal.is_none(), "a process cannot be copied");
        Self {
            disk: self.disk.fork(),
            options: self.options.clone(),
            wal: None,
            issued: self.issued.clone(),
            points: Vec::new(),
            batches: self.batches.clone(),
            tickets: Vec::new(),
            ..*self
        }
    }

    /// The process ends; what it handed to the files stays in the cache.
    pub(crate) fn kill(&mut self) {
        self.wal = None;
        self.tickets.clear();
        self.disk = self.disk.fork();
    }

    /// Takes the places to crash inside the call that has just returned, before anything that it
    /// acknowledged counts as such.
    pub(crate) fn keep_points(&mut self) {
        let moments = self.disk.take_moments();
        if !moments.is_empty() {
            let issued = Arc::new(self.issued.clone());
            let point = |moment| Point { moment, issued: issued.clone() };
            self.points.extend(moments.into_iter().map(point));
        }
    }

    /// Whether a fault explains the error; if so, whether the log is as it was before.
    fn explain(&mut self, doing: &str, error: &Error) -> Outcome {
        if !self.faulty {
            return Err(format!("REFUSED {doing}: {error}"));
        }
        self.errors += 1;
        match error {
            Error::Poisoned { .. } => {
                self.poisoned = true;
                Ok(())
            }
            Error::NoSpace { .. } | Error::Io { .. } => Ok(()),
            _ => Err(format!("REFUSED {doing}: {error}")),
        }
    }

    /// Opens the log and judges what comes back.
    pub(crate) fn open(&mut self) -> Outcome<Option<RecoveryReport>> {
        let opened = open(&self.disk, &self.options);
        self.keep_points();
        let (wal, report) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.explain("open", &error)?;
                return Ok(None);
            }
        };
        let got = match read_all(&wal) {
            Ok(got) => got,
            Err(error) => {
                self.explain("read", &error)?;
                // The next read succeeds, or the fault lasts.
                self.disk.clear_faults();
                read_all(&wal).map_err(|e| format!("REFUSED a second read: {e}"))?
            }
        };
        self.issued.legal(&got).map_err(|why| format!("ILLEGAL {why}"))?;
        if report.recovered_durable {
            self.issued = Issued::after(got);
        } else {
            // Nothing was written: all that was possible still is, and this in any case.
            self.issued.states.push(got);
        }
        self.appended = false;
        self.poisoned = false;
        self.wal = Some(wal);
        Ok(Some(report))
    }

    /// One operation, and what the pace has after it. Does nothing without a process.
    pub(crate) fn step(&mut self, op: Op, pace: Pace) -> Outcome {
        match op {
            Op::AppendBig => {
                self.put_made(|batches, log| Some(batches.append(log, &[3072, 3072])))?;
                self.put_made(|batches, log| Some(batches.append(log, &[3072, 3072, 3072])))?;
            }
            Op::Boundary => self.fill_segment()?,
            Op::Compact => self.compact()?,
            Op::Reopen => {
                self.close()?;
                self.open()?;
            }
            _ => self.put_made(|batches, log| batches.of(op, log))?,
        }
        match pace {
            Pace::Written => self.call("write", |wal, _| wal.write_through()).map(drop),
            Pace::Synced => self.sync(),
            Pace::Duties => {
                self.sync()?;
                for pause in [0, 10] {
                    self.now += Duration::from_millis(pause);
                    self.call("duties", Wal::step_all)?;
                }
                Ok(())
            }
        }
    }

    pub(crate) fn put_made(
        &mut self,
        make: impl Fn(&mut Batches, &Model) -> Option<Batch>,
    ) -> Outcome {
        match make(&mut self.batches, self.issued.last()) {
            Some(batch) => self.put(&batch),
            None => Ok(()),
        }
    }

    /// A call that changes nothing of what the log holds. Returns whether it succeeded.
    fn call(
        &mut self,
        doing: &str,
        run: impl FnOnce(&mut Wal<SimVfs>, Duration) -> Result<(), Error>,
    ) -> Outcome<bool> {
        let Some(wal) = &mut self.wal else { return Ok(false) };
        let unsettled = !wal.recovered_durable();
        let done = run(wal, self.now);
        self.keep_points();
        self.settle(unsettled, 0);
        self.acknowledge();
        match done {
            Ok(()) => Ok(true),
            Err(error) => self.explain(doing, &error).map(|()| false),
        }
    }

    /// Appends.
    pub(crate) fn put(&mut self, batch: &Batch) -> Outcome {
        let Some(wal) = &mut self.wal else { return Ok(()) };
        let mut after = self.issued.last().clone();
        after.apply(batch);
        self.issued.states.push(after);
        let (unsettled, was_poisoned) = (!wal.recovered_durable(), self.poisoned);
        let appended = wal.append(batch);
        self.keep_points();
        self.settle(unsettled, 1);
        match appended {
            Ok(ticket) => {
                self.appended = true;
                self.tickets.push((ticket, self.issued.states.len() - 1));
            }
            Err(error) => {
                self.explain("append", &error)?;
                if was_poisoned || !self.poisoned {
                    // Nothing was written, or the batch would be in doubt.
                    self.issued.states.pop();
                }
            }
        }
        self.acknowledge();
        self.compare()
    }

    /// The open log is the model, unless a batch is in doubt.
    fn compare(&mut self) -> Outcome {
        let Some(wal) = self.wal.as_ref().filter(|_| !self.poisoned) else { return Ok(()) };
        let log = self.issued.last();
        let same = wal.next_index() == log.next()
            && wal.first_index() == log.first
            && wal.hard_state() == log.hard_state
            && wal.snapshot() == log.snapshot.as_ref();
        if same {
            return Ok(());
        }
        let found = (wal.first_index(), wal.next_index(), wal.hard_state());
        Err(format!("ILLEGAL the open log is {found:?}, expected {log:?}"))
    }

    fn compact(&mut self) -> Outcome {
        let Some(wal) = &mut self.wal else { return Ok(()) };
        let log = self.issued.last();
        let (index, first) = (compaction(log), log.first);
        let mut after = log.clone();
        after.apply(&Batch { compact: Some(index), ..Batch::default() });
        self.issued.states.push(after);
        let (unsettled, was_poisoned) = (!wal.recovered_durable(), self.poisoned);
        let compacted = wal.compact_to(index);
        let changed = wal.first_index() != first;
        self.keep_points();
        self.settle(unsettled, 1);
        match compacted {
            Ok(()) => self.appended = true,
            Err(error) => {
                self.explain("compact", &error)?;
                if was_poisoned || !(self.poisoned || changed) {
                    self.issued.states.pop();
                }
            }
        }
        self.acknowledge();
        self.compare()
    }

    /// Appends what is still missing for a full segment.
    fn fill_segment(&mut self) -> Outcome {
        if !self.appended {
            // The first batch of a process begins a segment of its own.
            self.put_made(|batches, log| Some(batches.append(log, &[8])))?;
        }
        self.call("write", |wal, _| wal.write_through())?;
        if self.poisoned || self.wal.is_none() {
            return Ok(());
        }
        let newest = segments(&self.disk).into_iter().rev().map(|seq| frames(&self.disk, seq));
        let end = newest.into_iter().find_map(|frames| frames.last().map(|f| f.end));
        let room = (SEGMENT - SEAL_FRAME_LEN).saturating_sub(end.unwrap_or(SEGMENT));
        let one = |batches: &mut Batches, log: &Model| batches.append(log, &[200]);
        self.put_made(|b, log| Some(b.filling(log, room).unwrap_or_else(|| one(b, log))))
    }

    pub(crate) fn sync(&mut self) -> Outcome {
        let synced = self.call("sync", |wal, _| wal.sync())?;
        let Some(wal) = self.wal.as_ref().filter(|_| synced) else { return Ok(()) };
        let (durable, log) = (wal.durable(), self.issued.last());
        if durable.last_index != log.next().saturating_sub(1) {
            return Err(format!("ILLEGAL {durable:?} after a sync of {log:?}"));
        }
        // Also of what has no ticket, as a compaction.
        self.issued.acked = self.issued.states.len() - 1;
        Ok(())
    }

    /// Closes the log, if it is open. Everything is acknowledged then.
    pub(crate) fn close(&mut self) -> Outcome {
        let Some(wal) = self.wal.take() else { return Ok(()) };
        let unsettled = !wal.recovered_durable();
        let closed = wal.close();
        self.keep_points();
        self.tickets.clear();
        match closed {
            Ok(()) => {
                if unsettled {
                    self.issued.states = vec![self.issued.last().clone()];
                }
                self.issued.acked = self.issued.states.len() - 1;
                Ok(())
            }
            Err(error) => self.explain("close", &error),
        }
    }

    /// If what the open found was not durable and is now, nothing else of before can come back.
    /// `since` batches were issued meanwhile.
    fn settle(&mut self, unsettled: bool, since: usize) {
        let settled = self.wal.as_ref().is_some_and(Wal::recovered_durable);
        if unsettled && settled {
            let states = self.issued.states.split_off(self.issued.states.len() - 1 - since);
            self.issued = Issued { states, acked: 0 };
            self.tickets.clear();
        }
    }

    /// Whatever the log calls durable is acknowledged.
    fn acknowledge(&mut self) {
        let Some(wal) = &self.wal else { return };
        while let Some(&(_, state)) =
            self.tickets.first().filter(|(ticket, _)| wal.is_durable(*ticket))
        {
            self.issued.acked = self.issued.acked.max(state);
            self.tickets.remove(0);
        }
    }
}
