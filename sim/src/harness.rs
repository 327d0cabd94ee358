//! Runs of seeds, and the line that replays one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;

use crate::checker::{Checked, Violation};
use crate::cluster::Cluster;
use crate::options::{Options, Plant};
use crate::stats::Stats;
use crate::store::MemoryStore;
use crate::trace::Trace;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first seed.
    pub from: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Events of each, before the cluster is healed.
    pub events: u64,
    /// A bug to be found.
    pub plant: Plant,
}

impl Plan {
    /// As many as given, unless the environment says otherwise: `RAFT_SIM_SEED` for that seed only,
    /// `RAFT_SIM_SEEDS` for so many, `RAFT_SIM_EVENTS` for so many events of each.
    ///
    /// # Panics
    /// If one of them is no number.
    pub fn from_env(seeds: u64, events: u64) -> Self {
        let number = |name: &str| {
            let value = std::env::var(name).ok()?;
            Some(value.parse().unwrap_or_else(|e| panic!("{name}={value}: {e}")))
        };
        let seed = number("RAFT_SIM_SEED");
        let seeds =
            if seed.is_some() { Some(1) } else { number("RAFT_SIM_SEEDS") }.unwrap_or(seeds);
        let events = number("RAFT_SIM_EVENTS").unwrap_or(events);
        Self { from: seed.unwrap_or(0), seeds, events, plant: Plant::Nothing }
    }
}

/// A seed that failed, and its last events.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What it broke.
    pub violation: Violation,
    /// The last events before.
    pub trace: Vec<String>,
}

/// Runs one seed.
///
/// # Errors
/// The first rule that is broken, with a trace: the seed is run once more for it.
pub fn run(seed: u64, plan: &Plan) -> Result<Stats, Box<Failure>> {
    match attempt(seed, plan, &Trace::default()) {
        Ok(stats) => Ok(stats),
        Err(violation) => {
            let trace = Trace::kept();
            let again = attempt(seed, plan, &trace);
            let violation = again.err().unwrap_or(violation);
            Err(Box::new(Failure { seed, violation, trace: trace.lines() }))
        }
    }
}

/// Runs the seeds of a plan, and counts.
///
/// # Errors
/// The first that fails.
pub fn run_many(plan: &Plan) -> Result<Stats, Box<Failure>> {
    let mut total = Stats::default();
    for seed in plan.from..plan.from + plan.seeds {
        total.add(&run(seed, plan)?);
    }
    Ok(total)
}

fn attempt(seed: u64, plan: &Plan, trace: &Trace) -> Checked<Stats> {
    let life = || {
        let mut rng = Rng::with_seed(seed);
        let options = Options::draw(&mut rng, plan.plant);
        trace.note(0, || format!("{options:?}"));
        let store = |options: &Options, rng| {
            let store = MemoryStore::new(options.fetch_one_in, rng);
            if options.plant == Plant::NoTruncation { store.keeping_tails() } else { store }
        };
        let mut cluster = Cluster::new(options, rng, trace.clone(), store)?;
        cluster.run(plan.events)?;
        cluster.settle()?;
        Ok(*cluster.stats())
    };
    catch_unwind(AssertUnwindSafe(life)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
        Err(Violation { rule: "no panic", detail: text.to_owned() })
    })
}
