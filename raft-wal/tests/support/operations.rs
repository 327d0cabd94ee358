//! The operations of a random history: what a node does with its log between two crashes.

use std::time::Duration;

use raft_vfs::SimVfs;
use raft_wal::{Batch, Durable, Error, Options, Tail, Wal};

use super::batches::forbidden;
use super::history::{End, History, Outcome, failed};
use super::oracle::Issued;
use super::sim::{DIR, open, segment_path, segments};

impl History<'_> {
    /// Whatever the log calls durable is acknowledged.
    pub(super) fn acknowledge(&mut self, wal: &Wal<SimVfs>) {
        while let Some(&(ticket, state)) = self.tickets.first() {
            if !wal.is_durable(ticket) {
                return;
            }
            self.issued.acked = self.issued.acked.max(state);
            self.tickets.remove(0);
        }
    }

    /// A sync of everything returned.
    fn all_acknowledged(&mut self, durable: Durable) -> Outcome {
        self.issued.acked = self.issued.states.len() - 1;
        self.tickets.clear();
        let log = self.issued.last();
        let expected = (log.next().saturating_sub(1), log.last_term().unwrap_or(0));
        if (durable.last_index, durable.term) != expected {
            return failed("ILLEGAL", format!("{durable:?} of {log:?}"));
        }
        Ok(())
    }

    /// One random operation.
    pub(super) fn operation(&mut self, wal: &mut Wal<SimVfs>) -> Outcome {
        let before = segments(&self.disk);
        let kind = self.rng.u8(..100);
        let result = match kind {
            0..50 => self.append(wal),
            50..56 => {
                self.append(wal)?;
                self.duty("write_through", |_| wal.write_through())
            }
            56..68 => self.sync(wal),
            68..71 => self.duty("write_through", |_| wal.write_through()),
            71..75 => self.duty("publish", |_| wal.step_publish().map(drop)),
            75..82 => {
                self.now += Duration::from_millis(self.rng.u64(..10));
                let now = self.now;
                self.duty("mark", |_| wal.step_mark(now).map(drop))
            }
            82..85 => self.duty("index", |_| wal.step_index().map(drop)),
            85..88 => self.duty("gc", |_| wal.step_gc().map(drop)),
            88..90 => {
                let now = self.now;
                self.duty("all duties", |_| wal.step_all(now))
            }
            90..95 => self.compact_to(wal),
            95..97 => self.refused(wal),
            97..98 => self.second_opener(),
            98..99 if self.plan.full => {
                self.fill_disk();
                Ok(())
            }
            _ => {
                self.make_room();
                Ok(())
            }
        };
        self.observe_files(&before);
        result?;
        if self.disk.crashed() { Err(End::Crashed) } else { Ok(()) }
    }

    /// Rotations, jumbo segments and removals, by the files that came and went.
    fn observe_files(&mut self, before: &[u64]) {
        let after = segments(&self.disk);
        for &seq in after.iter().filter(|seq| !before.contains(seq)) {
            self.tally.rotations += u64::from(!before.is_empty());
            let len = self.disk.read_file(segment_path(seq)).map_or(0, |b| b.len());
            self.tally.jumbos += u64::from(len > 24 << 10);
        }
        self.tally.removed += before.iter().filter(|seq| !after.contains(seq)).count() as u64;
    }

    fn duty(
        &mut self,
        name: &'static str,
        run: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Outcome {
        self.doing = name;
        self.say(|| name.to_owned());
        match run(self) {
            Ok(()) => Ok(()),
            Err(error) => self.explain(&error),
        }
    }

    fn append(&mut self, wal: &mut Wal<SimVfs>) -> Outcome {
        if self.rng.u8(..12) == 0 {
            let newest = segments(&self.disk).pop();
            let bytes = newest.and_then(|seq| self.disk.read_file(segment_path(seq)));
            self.batches.lure =
                bytes.map(|b| b[12_288.min(b.len())..].to_vec()).unwrap_or_default();
        }
        let batch = self.batches.random(&mut self.rng, self.issued.last());
        self.put(wal, &batch)
    }

    fn put(&mut self, wal: &mut Wal<SimVfs>, batch: &Batch) -> Outcome {
        self.doing = "append";
        let mut state = self.issued.last().clone();
        state.apply(batch);
        self.say(|| format!("append {} -> {state:?}", describe(batch)));
        self.issued.states.push(state);
        let before = Self::unsettled(wal);
        let appended = wal.append(batch);
        self.settle(before, wal, 1);
        match appended {
            Ok(ticket) => {
                self.appended = true;
                self.tickets.push((ticket, self.issued.states.len() - 1));
            }
            Err(error) => {
                self.explain(&error)?;
                // Nothing was written, or the batch would be in doubt.
                self.issued.states.pop();
            }
        }
        Ok(())
    }

    /// How far the log was durable, if what the open found was not.
    fn unsettled(wal: &Wal<SimVfs>) -> Option<Durable> {
        (!wal.recovered_durable()).then(|| wal.durable())
    }

    /// If what the open found was not durable and is now, nothing else of before can come back.
    /// `since` batches were issued meanwhile.
    fn settle(&mut self, before: Option<Durable>, wal: &Wal<SimVfs>, since: usize) {
        if before.is_some_and(|before| before != wal.durable()) {
            let states = self.issued.states.split_off(self.issued.states.len() - 1 - since);
            self.issued = Issued { states, acked: 0 };
            self.settled = true;
            self.tickets.clear();
        }
    }

    fn sync(&mut self, wal: &mut Wal<SimVfs>) -> Outcome {
        self.doing = "sync";
        self.say(|| "sync".into());
        let pick = self.rng.usize(..=self.tickets.len());
        let Some(&(ticket, _)) = self.tickets.get(pick) else {
            let before = Self::unsettled(wal);
            let synced = wal.sync();
            self.settle(before, wal, 0);
            return match synced {
                Ok(()) => self.all_acknowledged(wal.durable()),
                Err(error) => self.explain(&error),
            };
        };
        match wal.wait(ticket) {
            Ok(()) if wal.is_durable(ticket) => Ok(()),
            Ok(()) => failed("ILLEGAL", "wait returned before its batch was durable"),
            Err(error) => self.explain(&error),
        }
    }

    fn compact_to(&mut self, wal: &mut Wal<SimVfs>) -> Outcome {
        self.doing = "compact_to";
        let log = self.issued.last();
        let committed = (log.hard_state.commit + 1).clamp(log.first, log.next());
        let index = self.rng.u64(log.first..=committed);
        let mut state = log.clone();
        state.apply(&Batch { compact: Some(index), ..Batch::default() });
        self.say(|| format!("compact_to {index} -> {state:?}"));
        let first = log.first;
        self.issued.states.push(state);
        let before = Self::unsettled(wal);
        let compacted = wal.compact_to(index);
        self.settle(before, wal, 1);
        match compacted {
            Ok(()) => Ok(()),
            Err(error) => {
                self.explain(&error)?;
                if wal.first_index() == first {
                    self.issued.states.pop();
                }
                Ok(())
            }
        }
    }

    /// A batch that breaks a rule changes nothing.
    fn refused(&mut self, wal: &mut Wal<SimVfs>) -> Outcome {
        self.doing = "refused append";
        let batch = forbidden(&mut self.rng, self.issued.last());
        self.say(|| format!("forbidden {}", describe(&batch)));
        match wal.append(&batch) {
            Err(Error::Rejected(_)) => {
                self.tally.rejected += 1;
                Ok(())
            }
            Err(error) => self.explain(&error),
            Ok(_) => failed("ILLEGAL", format!("accepted {batch:?}")),
        }
    }

    fn second_opener(&mut self) -> Outcome {
        self.doing = "second open";
        match Wal::open(self.disk.clone(), DIR, &Options::new()) {
            Err(Error::Locked { .. }) => {
                self.tally.locked += 1;
                Ok(())
            }
            Err(error) => self.explain(&error),
            Ok(_) => failed("ILLEGAL", "opened twice"),
        }
    }

    /// Compares the live log with the model now and then.
    pub(super) fn look(&mut self, wal: &Wal<SimVfs>) -> Outcome {
        if self.rng.u8(..5) > 0 {
            return Ok(());
        }
        self.doing = "read";
        let got = self.read(wal)?;
        match self.issued.last().difference(&got) {
            Some(why) => failed("ILLEGAL", format!("the open log: expected {why}")),
            None => Ok(()),
        }
    }

    /// What a poisoned log still serves is what was durable, and all of that.
    pub(super) fn observe_poisoned(&mut self, wal: &Wal<SimVfs>, end: &End) -> Outcome {
        if !matches!(end, End::Poisoned) {
            return Ok(());
        }
        self.disk.clear_faults();
        let doubt = &self.issued.states[self.issued.acked..];
        let durable = &doubt[0];
        for entry in &durable.entries {
            let certain = self.settled && doubt.iter().all(|s| s.entry(entry.index) == Some(entry));
            match wal.entry(entry.index) {
                Ok(e) if e == *entry => {}
                // A compaction or a truncation may be what is in doubt.
                Err(
                    Error::Poisoned { .. } | Error::Compacted { .. } | Error::Unavailable { .. },
                ) if !certain => {}
                other => {
                    let why = format!("poisoned, entry {} (certain: {certain})", entry.index);
                    return failed("ILLEGAL", format!("{why}: {other:?}"));
                }
            }
        }
        let doubtful = durable.next()..wal.next_index();
        match doubtful.clone().find(|&i| wal.entry(i).is_ok()) {
            Some(i) => failed("ILLEGAL", format!("poisoned, yet entry {i} of {doubtful:?}")),
            None => Ok(()),
        }
    }

    pub(super) fn close(&mut self, mut wal: Wal<SimVfs>) -> Outcome {
        self.doing = "close";
        self.say(|| "close".into());
        let synced = wal.sync();
        let durable = wal.durable();
        match synced.and_then(|()| wal.close()) {
            Ok(()) if !self.disk.crashed() => {
                self.tally.clean_closes += 1;
                self.all_acknowledged(durable)
            }
            Ok(()) => Err(End::Crashed),
            Err(error) => self.explain(&error),
        }
    }

    /// Ends the process without a crash of the disk, with or without a close, and starts another.
    pub(super) fn reopen(&mut self, wal: Wal<SimVfs>) -> Outcome<Wal<SimVfs>> {
        let closes = self.rng.bool();
        let closed = self.tally.clean_closes;
        if closes {
            self.close(wal)?;
        } else {
            drop(wal);
        }
        self.tickets.clear();
        let options = self.options();
        self.say(|| format!("reopen {options:?}"));
        if self.tally.clean_closes > closed && self.appended {
            let opened = open(&self.disk.fork(), &options);
            let (_, report) = opened.map_err(|e| End::Failed(format!("REFUSED {e}")))?;
            let clean = report.tail == Tail::Clean && report.certain && report.carried == 0;
            if !clean || report.discarded.is_some() {
                return failed("ILLEGAL", format!("after a close: {report}"));
            }
        }
        self.open(&options)
    }
}

/// A batch in a few words.
fn describe(batch: &Batch) -> String {
    let mut words = Vec::new();
    let first = batch.entries.first().map(|e| e.index);
    let sizes: Vec<usize> = batch.entries.iter().map(|e| e.data.len()).collect();
    words.extend(first.map(|i| format!("entries from {i} of {sizes:?}")));
    words.extend(batch.truncate.map(|i| format!("truncate {i}")));
    words.extend(batch.hard_state.map(|h| format!("{}/{}/{}", h.term, h.vote, h.commit)));
    words.extend(batch.snapshot.as_ref().map(|s| format!("snapshot {}", s.index)));
    words.extend(batch.reset.map(|r| format!("reset {}", r.first_index)));
    words.extend(batch.compact.map(|i| format!("compact {i}")));
    words.extend(batch.metadata.as_ref().map(|_| "metadata".to_owned()));
    words.extend((!batch.blobs.is_empty()).then(|| format!("{} blobs", batch.blobs.len())));
    words.join(", ")
}
