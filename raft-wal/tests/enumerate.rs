//! Crash states one by one: every short script of operations, crashed after every call that
//! changed something, in every way that a power cut may leave what was pending; and every call
//! failed, once and for ever. What comes back is judged by the model, used, and crashed again.
//!
//! | variable | |
//! |---|---|
//! | `RAFT_WAL_ENUM_LENGTH=N` | all scripts of up to N operations (default 2) |
//! | `RAFT_WAL_ENUM_FULL=1` | more cuts of each point: all pairs, 512 random ones, all tears |
//! | `RAFT_WAL_ENUM_SECOND=N` | one in N crash states is crashed again inside its recovery |
//! | `RAFT_WAL_ENUM_RANDOM=N` | N random scripts of 30 operations instead |
//! | `RAFT_WAL_SEED=N` | the first of their seeds (default 0) |
//! | `RAFT_WAL_SCRIPT=S` | one script, as a failure names it |

#![allow(clippy::disallowed_methods, reason = "reads the sources that it is a test of")]

mod support;

#[path = "enumerate/copy.rs"]
mod copy;
#[path = "enumerate/cuts.rs"]
mod cuts;
#[path = "enumerate/directed.rs"]
mod directed;
#[path = "enumerate/judge.rs"]
mod judge;
#[path = "enumerate/repair.rs"]
mod repair;
#[path = "enumerate/run.rs"]
mod run;
#[path = "enumerate/script.rs"]
mod script;
#[path = "enumerate/sites.rs"]
mod sites;
#[path = "enumerate/sweep.rs"]
mod sweep;
#[path = "enumerate/tally.rs"]
mod tally;
#[path = "enumerate/work.rs"]
mod work;

use std::sync::{Mutex, MutexGuard, PoisonError};

use cuts::Budget;
use directed::Directed;
use judge::Shared;
use script::Script;
use support::sim::announce;
use sweep::{Breadth, every_call, every_sync};
use tally::Tally;
use work::{enumerate, fail_calls, walk};

/// What CI has time for.
const SHORT: Budget = Budget { exhaustive: 12, pairs: 32, random: 32, full: false, second: 1024 };
/// All that is worth a try at one point.
const FULL: Budget =
    Budget { exhaustive: 12, pairs: usize::MAX, random: 512, full: true, second: 64 };
/// Of random scripts, which are long.
const SPARSE: Budget = Budget { exhaustive: 6, pairs: 8, random: 32, full: false, second: 256 };

/// How often each line that changes or syncs something must have been a crash point.
const VISITS: u64 = 100;

/// Tests of this file, each of which uses two threads: one runs at a time, and the last one looks
/// at all lines.
const TESTS: usize = 4;
static DONE: Mutex<(usize, Option<Tally>)> = Mutex::new((0, None));

type Turn = MutexGuard<'static, (usize, Option<Tally>)>;

fn turn() -> Turn {
    DONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The one script to run again, if any.
fn replayed() -> Option<Vec<Script>> {
    let script = std::env::var("RAFT_WAL_SCRIPT").ok()?;
    Some(vec![script.parse().unwrap_or_else(|why| panic!("{why}"))])
}

fn longest() -> u32 {
    number("RAFT_WAL_ENUM_LENGTH").map_or(2, |n| n as u32)
}

/// Scripts by length, at most a thousand at once, so that a long run can be followed.
fn scripts() -> Vec<Vec<Script>> {
    let by_length: Vec<Vec<Script>> = match (replayed(), number("RAFT_WAL_ENUM_RANDOM")) {
        (Some(one), _) => vec![one],
        (None, Some(count)) => {
            let first = number("RAFT_WAL_SEED").unwrap_or(0);
            vec![(first..first + count).map(|seed| Script::random(seed, 30)).collect()]
        }
        (None, None) => (0..=longest()).map(Script::all).collect(),
    };
    by_length.iter().flat_map(|all| all.chunks(1000)).map(<[Script]>::to_vec).collect()
}

fn budget() -> Budget {
    let budget = if number("RAFT_WAL_ENUM_RANDOM").is_some() {
        SPARSE
    } else if number("RAFT_WAL_ENUM_FULL").is_some() || replayed().is_some() {
        FULL
    } else {
        SHORT
    };
    Budget { second: number("RAFT_WAL_ENUM_SECOND").unwrap_or(budget.second), ..budget }
}

/// Runs all scripts and prints what they went through.
fn run(name: &str, run: impl Fn(&[Script]) -> Tally) -> Tally {
    let mut all = Tally::default();
    for scripts in scripts() {
        let tally = run(&scripts);
        announce(&format!("{name}, operations {}: {tally}", scripts[0].ops.len()));
        all.add(tally);
    }
    all
}

/// Fails if anything was wrong; after the last test, if any line was forgotten.
fn conclude(mut turn: Turn, name: &str, tally: Tally) {
    announce(&format!("{name}: {tally}"));
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
    turn.0 += 1;
    turn.1.get_or_insert_default().add(tally);
    let whole = replayed().is_none() && number("RAFT_WAL_ENUM_RANDOM").is_none() && longest() > 1;
    if turn.0 == TESTS && whole {
        let table = sites::table(turn.1.as_ref().unwrap_or(&Tally::default()));
        for (site, times) in &table {
            announce(&format!("{times:>9} crash points after {site}"));
        }
        let rare: Vec<_> = table.iter().filter(|(_, times)| *times < VISITS).collect();
        assert!(rare.is_empty(), "crashed at fewer than {VISITS} times: {rare:?}");
    }
}

#[test]
fn every_crash_state_of_every_short_script_recovers() {
    let turn = turn();
    let shared = Shared::new(budget());
    let whole = number("RAFT_WAL_ENUM_RANDOM").is_some();
    let tally = run("crashes", |scripts| enumerate(scripts, &shared, whole));
    conclude(turn, "crashes", tally);
}

#[test]
fn whichever_call_fails_nothing_acknowledged_is_lost_and_the_next_open_succeeds() {
    let turn = turn();
    let shared = Shared::new(budget());
    let breadth = Breadth { all_faults: 1, cuts: 4 };
    let tally = run("failing calls", |s| fail_calls(s, &shared, breadth, every_call));
    conclude(turn, "failing calls", tally);
}

#[test]
fn after_a_failed_sync_a_restart_serves_nothing_that_a_later_crash_takes_away() {
    let turn = turn();
    let shared = Shared::new(budget());
    let breadth = Breadth { all_faults: 2, cuts: 4 };
    let tally = run("failing syncs", |s| fail_calls(s, &shared, breadth, every_sync));
    conclude(turn, "failing syncs", tally);
}

#[test]
fn what_no_script_reaches_is_crashed_at_too() {
    let turn = turn();
    let shared = Shared::new(budget());
    let tally = walk(&Directed::all(VISITS), &shared);
    conclude(turn, "directed", tally);
}
