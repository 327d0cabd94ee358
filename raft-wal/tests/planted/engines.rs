//! The engines of the suites, cut into pieces that can be run one by one until a bug is caught.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;

use crate::damage::{Catalogue, Family};
use crate::directed;
use crate::judge::Judge;
use crate::kept;
use crate::logs::{self, Log};
use crate::page::Page;
use crate::scripts;
use crate::support::damage;
use crate::support::history::{self, Plan};
use crate::support::tally::Tally;

/// Damages of one family of one log that a piece looks at.
const SLICE: usize = 24;
/// Logs with more bytes are left to the sweep itself.
const LARGE: usize = 256 << 10;

/// One piece of one suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Try {
    /// `crash.rs`: a random history, crashed.
    Crash(u64),
    /// `crash.rs`: damages at the end of a random history.
    Damage(u64),
    /// `enumerate.rs`: every crash of a script.
    Script(usize),
    /// `enumerate.rs`: every failing call of a script.
    Failures(usize),
    /// `enumerate.rs`: places that no script reaches.
    Way(usize),
    /// `golden.rs`: the kept logs are written again.
    Written,
    /// `golden.rs`: the kept logs are opened.
    Opened,
    /// `sweep.rs`: damages of every family to the log with this number.
    Sweep(usize),
    /// A test of this directory.
    Directed(usize),
}

impl fmt::Display for Try {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Crash(seed) => write!(f, "crash.rs, history {seed}"),
            Self::Damage(seed) => write!(f, "crash.rs, damages, history {seed}"),
            Self::Script(n) => write!(f, "enumerate.rs, crashes of script {n}"),
            Self::Failures(n) => write!(f, "enumerate.rs, failing calls of script {n}"),
            Self::Way(n) => write!(f, "enumerate.rs, way {n}"),
            Self::Written => write!(f, "golden.rs, kept logs written"),
            Self::Opened => write!(f, "golden.rs, kept logs opened"),
            Self::Sweep(n) => write!(f, "sweep.rs, log {n}"),
            Self::Directed(n) => write!(f, "planted/directed.rs, {}", directed::ALL[n].0),
        }
    }
}

/// What the engines need, made by a log without a bug.
pub(crate) struct Engines {
    logs: Vec<Log>,
    swept: Vec<usize>,
}

impl Engines {
    pub(crate) fn new() -> Self {
        let page = Page::parse(include_str!("../../../docs/FORMAT.md").to_owned());
        let logs = logs::all(&page);
        let small = |log: &Log| log.files.iter().map(|f| f.bytes.len()).sum::<usize>() < LARGE;
        let swept = (0..logs.len()).filter(|&n| small(&logs[n])).collect();
        Self { logs, swept }
    }

    /// Every piece, those that catch much for little first.
    ///
    /// With `RAFT_WAL_PLANTED_DEEP` set, many more.
    pub(crate) fn tries(&self) -> Vec<Try> {
        let deep = std::env::var_os("RAFT_WAL_PLANTED_DEEP").is_some();
        let (crashes, step) = if deep { (4000, 1) } else { (200, 5) };
        let mut tries: Vec<Try> = (0..directed::QUICK).map(Try::Directed).collect();
        tries.extend((0..16).map(Try::Crash));
        tries.extend([Try::Opened, Try::Written]);
        tries.extend((0..16).map(Try::Damage));
        tries.extend(self.swept.iter().copied().map(Try::Sweep));
        tries.extend((directed::QUICK..directed::ALL.len()).map(Try::Directed));
        tries.extend((0..scripts::ways()).map(Try::Way));
        tries.extend((0..scripts::count()).step_by(step).map(Try::Script));
        tries.extend((16..crashes).map(Try::Crash));
        tries.extend((0..scripts::count()).step_by(step + 2).map(Try::Failures));
        tries
    }

    /// Runs a piece; an error says how it failed, panics included.
    pub(crate) fn run(&self, piece: Try) -> Result<(), String> {
        let ran = catch_unwind(AssertUnwindSafe(|| match piece {
            Try::Crash(seed) => by_tally(|tally| history::run(seed, Plan::of(seed), tally, false)),
            Try::Damage(seed) => by_tally(|tally| damage::run(seed, 12, 1, tally, false)),
            Try::Script(number) => scripts::crash(number),
            Try::Failures(number) => scripts::fail(number),
            Try::Way(number) => scripts::walk(number),
            Try::Written => kept::write(),
            Try::Opened => kept::open(),
            Try::Sweep(number) => self.sweep(number),
            Try::Directed(number) => {
                directed::ALL[number].1();
                Ok(())
            }
        }));
        ran.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or(panic.downcast_ref::<&str>().map(ToString::to_string));
            Err(format!("PANIC {}", text.unwrap_or_default()))
        })
    }

    fn sweep(&self, number: usize) -> Result<(), String> {
        let log = &self.logs[number];
        let catalogue = Catalogue::new(log, &self.logs);
        let disk = log.disk.fork();
        let mut rng = Rng::with_seed(100 + number as u64);
        for family in Family::ALL {
            for turn in 0..SLICE {
                if catalogue.count(family) == 0 {
                    continue;
                }
                let which = catalogue.draw(family, &mut rng);
                let harm = catalogue.harm(family, which);
                if harm.is_nothing(log) {
                    continue;
                }
                let judge = Judge::new(log, &harm, &disk);
                let looks = || match turn % 4 {
                    0 => judge.look_otherwise().map(drop),
                    _ => Ok(()),
                };
                let judged = judge.open().and_then(|_| looks());
                judged.map_err(|why| format!("{why}\n  {} {family:?} {which}", log.name))?;
            }
        }
        Ok(())
    }
}

fn by_tally(run: impl FnOnce(&mut Tally)) -> Result<(), String> {
    let mut tally = Tally::default();
    run(&mut tally);
    tally.failures.into_iter().next().map_or(Ok(()), Err)
}
