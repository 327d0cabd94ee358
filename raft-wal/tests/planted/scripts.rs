//! Enumerated crash states and failing calls of single scripts, in the thread that asks for them:
//! what is planted is planted in one thread.

#[path = "../enumerate/copy.rs"]
mod copy;
#[path = "../enumerate/cuts.rs"]
mod cuts;
#[path = "../enumerate/directed.rs"]
mod directed;
#[path = "../enumerate/judge.rs"]
mod judge;
#[path = "../enumerate/repair.rs"]
mod repair;
#[path = "../enumerate/run.rs"]
mod run;
#[path = "../enumerate/script.rs"]
mod script;
#[path = "../enumerate/sweep.rs"]
mod sweep;
#[path = "../enumerate/tally.rs"]
mod tally;
#[path = "../enumerate/work.rs"]
mod work;

use cuts::Budget;
use directed::Directed;
use judge::{Judge, Shared};
use script::Script;
use sweep::{Breadth, every_call, every_sync};
use tally::Tally;
use work::Starts;

/// A glance at each point.
const BUDGET: Budget = Budget { exhaustive: 6, pairs: 8, random: 8, full: false, second: 64 };

fn judging(run: impl FnOnce(&mut Judge<'_>) -> Result<(), String>) -> Result<(), String> {
    run(&mut Judge { shared: &Shared::new(BUDGET), tally: Tally::default() })
}

/// Numbers of the scripts that there are, of up to one operation.
pub(crate) fn count() -> usize {
    scripts().len()
}

fn scripts() -> Vec<Script> {
    (0..=1).flat_map(Script::all).collect()
}

/// Crashes at every point of the script with this number.
pub(crate) fn crash(number: usize) -> Result<(), String> {
    let script = &scripts()[number];
    judging(|judge| {
        let mut run = Starts::new().of(script.start);
        run.disk.set_moments(true);
        judge.untouched(&run)?;
        run.open()?;
        for &op in &script.ops {
            run.step(op, script.pace)?;
        }
        judge.points(&mut run)
    })
    .map_err(|why| format!("{why}\n  script {script}"))
}

/// Fails every call of the script with this number.
pub(crate) fn fail(number: usize) -> Result<(), String> {
    let script = &scripts()[number];
    judging(|judge| {
        let breadth = Breadth { all_faults: 0, cuts: 2 };
        every_sync(judge, &Starts::new(), script, breadth)?;
        every_call(judge, &Starts::new(), script, breadth)
    })
    .map_err(|why| format!("{why}\n  script {script}"))
}

/// Walks to what no script reaches.
pub(crate) fn walk(number: usize) -> Result<(), String> {
    let way = Directed::all(1)[number];
    judging(|judge| way.walk(judge)).map_err(|why| format!("{why}\n  {way}"))
}

/// How many such ways there are.
pub(crate) fn ways() -> usize {
    Directed::all(1).len()
}
