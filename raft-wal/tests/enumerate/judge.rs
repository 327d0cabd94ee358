//! Crashing at a point in all ways of the budget, recovering what is left, and judging it; then
//! crashing again inside that recovery.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::Location;
use std::sync::Arc;

use raft_vfs::SimVfs;
use raft_vfs::sim::{KeepAll, KeepNothing, Moment, Op, PendingUnit};
use raft_wal::Error;

use super::cuts::{Budget, Cut, Fill, for_each};
use super::run::{Outcome, Point, Run};
use super::script::{Batches, options};
use super::tally::{Seen, Tally};
use crate::support::model::Model;
use crate::support::oracle::Issued;
use crate::support::sim::{open, read_all};

/// What all threads of a run have seen.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) budget: Budget,
    /// Disks together with what may be on them.
    pub(crate) states: Seen,
    /// Disks.
    pub(crate) disks: Seen,
    /// Disks with what is pending on them.
    pub(crate) runs: Seen,
}

impl Shared {
    pub(crate) fn new(budget: Budget) -> Self {
        Self { budget, states: Seen::new(), disks: Seen::new(), runs: Seen::new() }
    }
}

/// One thread's judge.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) tally: Tally,
}

/// What a recovery found, and the places to crash on its way.
pub(crate) struct Recovered {
    got: Model,
    pub(crate) after: Model,
    opening: Vec<Moment>,
    appending: Vec<Moment>,
}

/// Random cuts of each point inside a recovery.
const SECOND_CUTS: u64 = 8;

impl Judge<'_> {
    /// The crash before the first call.
    #[track_caller]
    pub(crate) fn untouched(&mut self, run: &Run) -> Outcome {
        let moment =
            Moment { call: 0, op: Op::Open, site: Location::caller(), disk: run.disk.fork() };
        self.point(&Point { moment, issued: Arc::new(run.issued.clone()) })
    }

    /// All crash states of all points that a run went through.
    pub(crate) fn points(&mut self, run: &mut Run) -> Outcome {
        for (n, point) in std::mem::take(&mut run.points).into_iter().enumerate() {
            self.point(&point).map_err(|why| {
                format!(
                    "{why}
  after changing call {n}, {:?} {}",
                    point.moment.op, point.moment.site
                )
            })?;
        }
        Ok(())
    }

    /// All crash states of a point.
    pub(crate) fn point(&mut self, point: &Point) -> Outcome {
        let Point { moment, issued } = point;
        self.note_site(moment);
        let units = moment.disk.pending_units();
        if units.len() <= self.shared.budget.exhaustive {
            self.tally.exhaustive += 1;
        } else {
            self.tally.sampled += 1;
        }
        let key = key_of(issued);
        let budget = self.shared.budget;
        for_each(&units, &budget, key ^ moment.disk.fingerprint(), |cut| {
            let mut choice = cut;
            let disk = moment.disk.power_cut(&mut choice);
            self.state(&disk, issued, key).map_err(|why| format!("{why}\n  {}", tell(cut, &units)))
        })?;
        // The process dies alone: everything is still seen, and pending.
        self.tally.cuts += 1;
        let killed = moment.disk.fork();
        self.tally.distinct += u64::from(self.shared.disks.insert(killed.fingerprint()));
        self.recover_twice(&killed, issued, key).map_err(|why| format!("{why}\n  killed"))
    }

    pub(crate) fn note_site(&mut self, moment: &Moment) {
        let site = (moment.site.file(), moment.site.line());
        *self.tally.sites.entry(site).or_default() += 1;
    }

    /// Whether this disk was not yet seen where the same may be on it.
    fn is_new(&mut self, disk: &SimVfs, key: u64) -> Option<u64> {
        self.tally.cuts += 1;
        let print = disk.fingerprint();
        self.tally.distinct += u64::from(self.shared.disks.insert(print));
        let state = hash(&(print, key));
        self.shared.states.insert(state).then_some(state)
    }

    /// One disk as a crash left it.
    pub(crate) fn state(&mut self, disk: &SimVfs, issued: &Issued, key: u64) -> Outcome {
        let Some(state) = self.is_new(disk, key) else { return Ok(()) };
        // What follows depends on nothing but the state.
        disk.reseed(state);
        if state.is_multiple_of(self.shared.budget.second) {
            return self.recover_twice(disk, issued, key);
        }
        self.recover(disk, issued).map(drop)
    }

    /// Recovers, judges, and appends.
    pub(crate) fn recover(&mut self, disk: &SimVfs, issued: &Issued) -> Outcome<Recovered> {
        self.tally.judged += 1;
        let refused = |doing: &str, error: Error| format!("REFUSED {doing}: {error}");
        let (mut wal, report) = open(disk, &options()).map_err(|e| refused("recovery", e))?;
        let opening = disk.take_moments();
        self.tally.carries += u64::from(report.carried > 0);
        let got = read_all(&wal).map_err(|e| refused("reading", e))?;
        issued.legal(&got).map_err(|why| format!("ILLEGAL {why}"))?;
        let batch = Batches::default().append(&got, &[100]);
        let ticket = wal.append(&batch).map_err(|e| refused("append", e))?;
        wal.wait(ticket).map_err(|e| refused("sync", e))?;
        let appending = disk.take_moments();
        let last = wal.entry(got.next()).map_err(|e| refused("reading back", e))?;
        if [last] != batch.entries[..] || wal.next_index() != got.next() + 1 {
            return Err(format!("ILLEGAL read back {} after {got:?}", wal.next_index()));
        }
        let mut after = got.clone();
        after.apply(&batch);
        Ok(Recovered { got, after, opening, appending })
    }

    /// Recovers and appends, with a crash at every point of that.
    pub(crate) fn recover_twice(&mut self, disk: &SimVfs, issued: &Issued, key: u64) -> Outcome {
        let fork = disk.fork();
        fork.set_moments(true);
        let Recovered { got, after, opening, appending } = self.recover(&fork, issued)?;
        self.second(opening, issued, key).map_err(|why| format!("{why} of the open"))?;
        // The open has returned: what it found is durable.
        let issued = Issued { states: vec![got, after.clone()], acked: 0 };
        let key = key_of(&issued);
        self.second(appending, &issued, key).map_err(|why| format!("{why} of the append"))?;
        self.third(&fork.power_cut(&mut KeepNothing), &Issued::after(after))
    }

    /// Samples of the crash states of all points inside a recovery.
    fn second(&mut self, moments: Vec<Moment>, issued: &Issued, key: u64) -> Outcome {
        for (n, moment) in moments.into_iter().enumerate() {
            self.tally.inner += 1;
            self.note_site(&moment);
            self.second_cuts(&moment.disk, issued, key).map_err(|why| {
                format!(
                    "{why}
  after changing call {n}"
                )
            })?;
        }
        Ok(())
    }

    /// A few crash states of a point.
    pub(crate) fn sample(&mut self, point: &Point) -> Outcome {
        self.tally.sampled += 1;
        self.note_site(&point.moment);
        self.second_cuts(&point.moment.disk, &point.issued, key_of(&point.issued))
            .map_err(|why| format!("{why}\n  after {:?} {}", point.moment.op, point.moment.site))
    }

    fn second_cuts(&mut self, disk: &SimVfs, issued: &Issued, key: u64) -> Outcome {
        let mut cuts = vec![disk.power_cut(&mut KeepNothing)];
        let pending = disk.pending_units().len();
        if pending > 0 {
            cuts.push(disk.power_cut(&mut KeepAll));
            let print = disk.fingerprint();
            for n in 0..SECOND_CUTS {
                cuts.push(disk.power_cut(&mut &random_cut(hash(&(print, n)), pending)));
            }
        }
        for cut in cuts {
            self.tally.second += 1;
            if let Some(state) = self.is_new(&cut, key) {
                cut.reseed(state);
                self.third(&cut, issued)?;
            }
        }
        // The process dies alone.
        self.tally.second += 1;
        self.tally.cuts += 1;
        self.third(disk, issued)
    }

    /// The recovery after a crash in a recovery.
    pub(crate) fn third(&mut self, disk: &SimVfs, issued: &Issued) -> Outcome {
        self.look(disk, issued).map(drop)
    }

    /// Recovers and judges.
    pub(crate) fn look(&mut self, disk: &SimVfs, issued: &Issued) -> Outcome<Model> {
        self.tally.judged += 1;
        let (wal, _) = open(disk, &options()).map_err(|e| format!("REFUSED again: {e}"))?;
        let got = read_all(&wal).map_err(|e| format!("REFUSED reading again: {e}"))?;
        issued.legal(&got).map_err(|why| format!("ILLEGAL again: {why}"))?;
        Ok(got)
    }
}

/// A random cut. Without old bytes of other files, so that it depends on what is seen only.
pub(crate) fn random_cut(seed: u64, units: usize) -> Cut {
    let mut rng = fastrand::Rng::with_seed(seed);
    let chance = [2, 8, 8, 14][rng.usize(..4)];
    let keep = (0..units).map(|_| rng.u8(..16) < chance).collect();
    let tear = (rng.u8(..3) == 0).then(|| (rng.usize(..units), rng.u64(1..512)));
    Cut { keep, fill: [Fill::Old, Fill::Zero, Fill::Garbage][rng.usize(..3)], tear }
}

pub(crate) fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// A hash of all states that may be on the disk.
pub(crate) fn key_of(issued: &Issued) -> u64 {
    let mut hasher = DefaultHasher::new();
    for state in &issued.states[issued.acked..] {
        (state.first, state.base_term, state.hard_state).hash(&mut hasher);
        let mark = state.snapshot.as_ref().map(|s| (s.index, s.term));
        (mark, &state.metadata, &state.blobs).hash(&mut hasher);
        for entry in &state.entries {
            (entry.index, entry.term, entry.kind, &entry.data).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// A cut in words.
fn tell(cut: &Cut, units: &[PendingUnit]) -> String {
    let kept: Vec<String> = units
        .iter()
        .zip(&cut.keep)
        .map(|(unit, keep)| format!("{} {unit}", if *keep { "kept" } else { "lost" }))
        .collect();
    format!("{:?} instead, torn {:?}\n    {}", cut.fill, cut.tear, kept.join("\n    "))
}
