//! The whole: survey the source, import it under kills, compare after each, and at the end.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use etcd_reader::RecordKind;
use raft_vfs::OsVfs;
use raft_wal::Wal;

use crate::Error;
use crate::compare::{Equal, compare};
use crate::import::{LogOptions, Pace, position};
use crate::model::Model;
use crate::rounds::{Life, Plan, live};
use crate::source::Saves;

/// The longest that a group of saves is stretched to, so that kills find the importer at work.
const GROUP_TIME_MAX: Duration = Duration::from_millis(6);
/// How long the import of a small log is to take, all kills together.
const IMPORT_TIME: Duration = Duration::from_secs(2);
/// At most so many saves are made durable by one sync.
const GROUP_MAX: u64 = 3;
/// A kill that does not wait for progress comes at most so long after the importer's start.
const EARLY_KILL_MAX: Duration = Duration::from_millis(20);

/// What to demonstrate.
#[derive(Clone, Debug)]
pub struct Demo {
    /// The etcd log.
    pub source: PathBuf,
    /// Where the native log goes, or already is.
    pub dir: PathBuf,
    /// How often the importer is killed before it may finish.
    pub kills: u32,
    /// Seed of everything random but time.
    pub seed: u64,
    /// Capacity of a native segment in bytes; by default a tenth of the source's payload.
    pub segment_bytes: Option<u64>,
}

/// What was demonstrated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How often the importer was killed.
    pub kills: u32,
    /// What the log holds, equal to its source.
    pub equal: Equal,
}

/// Runs the demonstration and tells `out` about it. `importer` makes the command that runs
/// [`crate::import::import`] in a process of its own.
///
/// # Errors
/// Any difference between log and source, damage of either, or a failure of the system.
pub fn run(
    demo: &Demo,
    importer: &dyn Fn(LogOptions, Pace) -> Command,
    out: &mut impl Write,
) -> Result<Outcome, Error> {
    let survey = Survey::of(&demo.source)?;
    let log = LogOptions {
        segment_bytes: demo.segment_bytes.unwrap_or_else(|| survey.segment_bytes()),
        votes_unchecked: survey.second_vote.is_some(),
    };
    writeln!(out, "etcd log    {}\n{survey}", demo.source.display()).map_err(Error::Pipe)?;
    writeln!(out, "native log  {}, seed {}\n", demo.dir.display(), demo.seed)
        .map_err(Error::Pipe)?;
    let mut rng = fastrand::Rng::with_seed(demo.seed);
    let mut checker = Checker::new(demo, log, rng.fork())?;
    let mut kills = 0;
    checker.resume(out)?;
    while checker.model.saves() < survey.saves {
        let left = survey.saves - checker.model.saves();
        let pace = Pace { seed: rng.u64(..), group_max: GROUP_MAX, least: survey.group_time() };
        let plan = plan(demo.kills.saturating_sub(kills), left, pace.least, &mut rng);
        let life = live(&mut importer(log, pace), plan)?;
        if life.finished.is_none() {
            kills += 1;
            write!(out, "kill {kills:2}").map_err(Error::Pipe)?;
        } else {
            write!(out, "finished").map_err(Error::Pipe)?;
        }
        checker.check(&life, out)?;
    }
    Ok(Outcome { kills, equal: checker.recover(out)? })
}

/// When to kill next, so that the kills left spread over the saves left.
fn plan(kills_left: u32, saves_left: u64, group_time: Duration, rng: &mut fastrand::Rng) -> Plan {
    let micros = |rng: &mut fastrand::Rng, max: Duration| {
        Duration::from_micros(rng.u64(0..=max.as_micros() as u64))
    };
    if kills_left == 0 {
        return Plan::Never;
    }
    if rng.u8(0..4) == 0 {
        return Plan::AfterStart(micros(rng, EARLY_KILL_MAX));
    }
    let share = (saves_left / (u64::from(kills_left) + 1)).max(1);
    Plan::AfterAcks(rng.u64(1..=share), micros(rng, group_time))
}

/// What a first pass over the source finds.
#[derive(Clone, Debug)]
struct Survey {
    saves: u64,
    entries: u64,
    markers: u64,
    overwritten: u64,
    payload: u64,
    second_vote: Option<u64>,
}

impl Survey {
    fn of(source: &Path) -> Result<Self, Error> {
        let mut saves = Saves::open(source)?;
        let mut model = Model::new(saves.starts_late());
        let (mut entries, mut markers, mut payload) = (0, 0, 0);
        while let Some(save) = saves.next_save()? {
            for record in &save.records {
                match record {
                    RecordKind::Entry(e) => {
                        entries += 1;
                        payload += e.data.len() as u64;
                    }
                    RecordKind::Snapshot(_) => markers += 1,
                    _ => {}
                }
            }
            model.apply(&save)?;
        }
        Ok(Self {
            saves: model.saves(),
            entries,
            markers,
            overwritten: model.overwritten(),
            payload,
            second_vote: model.second_vote(),
        })
    }

    /// Small enough that the import crosses segments.
    fn segment_bytes(&self) -> u64 {
        (self.payload / 10).clamp(24 << 10, 64 << 20)
    }

    /// The least time a group of saves takes, so that a small log is not in before it can be
    /// killed.
    fn group_time(&self) -> Duration {
        let groups = (self.saves / GROUP_MAX).max(1);
        (IMPORT_TIME / u32::try_from(groups).unwrap_or(u32::MAX)).min(GROUP_TIME_MAX)
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { saves, entries, markers, overwritten, payload, second_vote } = self;
        write!(
            f,
            "            {saves} saves: {entries} entries with {payload} bytes of payload \
             ({overwritten} of them overwritten later), {markers} snapshot markers"
        )?;
        if let Some(term) = second_vote {
            write!(
                f,
                "\n            It changes its vote inside term {term}, which Raft forbids: the \
                 native log is opened with VoteRule::Unchecked."
            )?;
        }
        Ok(())
    }
}

/// Recovers the native log as a node would, and holds it against the source.
struct Checker<'a> {
    demo: &'a Demo,
    log: LogOptions,
    /// The source, as far as `model` has it.
    saves: Saves,
    model: Model,
    rng: fastrand::Rng,
}

impl<'a> Checker<'a> {
    fn new(demo: &'a Demo, log: LogOptions, rng: fastrand::Rng) -> Result<Self, Error> {
        let saves = Saves::open(&demo.source)?;
        let model = Model::new(saves.starts_late());
        Ok(Self { demo, log, saves, model, rng })
    }

    /// Takes over what an earlier run left in the directory.
    fn resume(&mut self, out: &mut impl Write) -> Result<(), Error> {
        match Wal::open(OsVfs, &self.demo.dir, &self.log.options().create(false)) {
            Ok((wal, report)) => {
                let found = position(&wal)?;
                self.advance(found)?;
                let equal = compare(&wal, &self.model)?;
                writeln!(out, "found {found} saves from an earlier run: {report}\n  equal: {equal}")
                    .map_err(Error::Pipe)
            }
            Err(raft_wal::Error::NoLog { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Recovers the log after one life of the importer.
    fn check(&mut self, life: &Life, out: &mut impl Write) -> Result<(), Error> {
        let before = self.model.saves();
        let (acked, tried) = (life.acked.max(before), life.tried.max(before));
        if let Some(found) = life.found.filter(|&n| n != before) {
            return Err(Error::Position { acked: before, tried: before, found });
        }
        let ms = life.lived.as_secs_f64() * 1000.0;
        writeln!(out, " after {ms:.1} ms: {acked} saves acknowledged, {tried} tried")
            .map_err(Error::Pipe)?;
        let (wal, report) = Wal::open(OsVfs, &self.demo.dir, &self.log.options())?;
        writeln!(out, "  {report}").map_err(Error::Pipe)?;
        let found = position(&wal)?;
        if found < acked || found > tried {
            return Err(Error::Position { acked, tried, found });
        }
        self.advance(found)?;
        let equal = compare(&wal, &self.model)?;
        writeln!(out, "  equal to the source after {found} saves: {equal}").map_err(Error::Pipe)?;
        if self.rng.bool() {
            wal.close()?;
        }
        Ok(())
    }

    /// Recovers the log a last time.
    fn recover(&mut self, out: &mut impl Write) -> Result<Equal, Error> {
        let (wal, report) = Wal::open(OsVfs, &self.demo.dir, &self.log.options())?;
        writeln!(out, "at the end\n  {report}").map_err(Error::Pipe)?;
        let equal = compare(&wal, &self.model)?;
        wal.close()?;
        Ok(equal)
    }

    /// Applies the source to the model up to save `number`.
    fn advance(&mut self, number: u64) -> Result<(), Error> {
        while self.model.saves() < number {
            let held = self.model.saves();
            let save = self.saves.next_save()?.ok_or_else(|| Error::NotOurs {
                found: format!("{number} saves, where the source has {held}"),
            })?;
            self.model.apply(&save)?;
        }
        Ok(())
    }
}
