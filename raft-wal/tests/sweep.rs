//! Damage at rest, swept: every bit, every byte, every length, every sector, every number and every
//! file of logs of every kind, one damage at a time and two.
//!
//! What must come of a damage is worked out from a chart of the log (`sweep/chart.rs`,
//! `sweep/expect.rs`), drawn from `docs/FORMAT.md` and the log's history, not from the code under
//! test: bytes that nobody looks at and bytes that have a copy leave the log the same; bytes that
//! something sound vouches for are an error that names the file and the batch; and what nothing
//! vouches for ends as after a crash, and the report says that it is not certain.
//!
//! | variable | |
//! |---|---|
//! | `RAFT_WAL_SWEEP=full` | everything there is, instead of a slice of it |
//! | `RAFT_WAL_SWEEP_LOG=name` | only this log |
//! | `RAFT_WAL_SEED=S` | another slice |
//! | `RAFT_WAL_SWEEP_CASE="log family number"` | one case again, as a failure names it |

#[path = "sweep/alloc.rs"]
mod alloc;
#[path = "sweep/chart.rs"]
mod chart;
#[path = "sweep/damage.rs"]
mod damage;
#[path = "sweep/expect.rs"]
mod expect;
#[path = "sweep/harm.rs"]
mod harm;
#[path = "sweep/history.rs"]
mod history;
#[path = "sweep/judge.rs"]
mod judge;
#[path = "sweep/logs.rs"]
mod logs;
#[allow(dead_code, reason = "shared with the tests of the format, which use more of it")]
#[path = "format/page.rs"]
mod page;
#[allow(dead_code, reason = "as above")]
#[path = "format/reader.rs"]
mod reader;
#[path = "sweep/run.rs"]
mod run;
mod support;
#[path = "sweep/tally.rs"]
mod tally;

use crate::damage::Family;
use crate::harm::Harm;
use crate::judge::{Judge, Sight};
use crate::page::Page;
use crate::support::model::Model;
use crate::support::sim::announce;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

fn the_page() -> Page {
    Page::parse(include_str!("../../docs/FORMAT.md").to_owned())
}

#[test]
fn damage_gives_the_same_log_or_an_error_that_names_it_or_a_doubt_that_is_told() {
    let page = the_page();
    let logs = logs::all(&page);
    if let Ok(case) = std::env::var("RAFT_WAL_SWEEP_CASE") {
        return run::replay(&logs, &case);
    }
    for log in &logs {
        assert!(log.is_what_it_is_called(), "{}", log.name);
    }
    let tally = run::sweep(&logs);
    for line in tally.to_string().lines() {
        announce(line);
    }
    assert_eq!(tally.failed, 0, "\n{}", tally.failures.join("\n"));
    assert_eq!(tally.panics, 0);
    assert!(tally.peak < judge::MEMORY_MAX, "{} bytes", tally.peak);
    // Microseconds; the rest is for a machine that does other things.
    assert!(tally.slowest.as_secs() < 10, "an open took {:?}", tally.slowest);
    if std::env::var_os("RAFT_WAL_SWEEP_LOG").is_some() {
        return;
    }
    assert!(tally.cases > 100_000, "{} cases", tally.cases);
    for how in ["slack", "a copy", "sealed", "evidenced", "ambiguous", "names: refused"] {
        assert!(tally.ended(how) > 100, "{how}: {}", tally.ended(how));
    }
}

fn sight(model: &Model, certain: bool) -> Sight {
    Sight { model: model.clone(), certain, noted: Vec::new() }
}

/// The sweep can fail: a log that lies is found out.
#[test]
fn a_log_that_came_back_shorter_or_was_refused_for_nothing_would_be_noticed() {
    let page = the_page();
    let logs = logs::all(&page);
    let log = &logs[0];
    let nothing = Harm::default();
    let judge = Judge::new(log, &nothing, &log.disk);
    assert!(judge.rule(Ok(sight(log.last(), true))).is_ok());
    let shorter = &log.states[log.states.len() - 2];
    assert!(judge.rule(Ok(sight(shorter, false))).is_err());
    // A frame that a mark promises: neither silence nor an error elsewhere will do.
    let catalogue = damage::Catalogue::new(log, &logs);
    let segment = &log.chart.segments[0];
    let position = catalogue.position(segment.file, segment.frames[3].at + 20);
    let harm = catalogue.harm(Family::Bit, position as u64 * 8);
    let judge = Judge::new(log, &harm, &log.disk);
    assert!(judge.rule(Ok(sight(log.last(), false))).is_err());
    let elsewhere = catalogue.harm(Family::Bit, (position as u64 + 600) * 8);
    let error = match support::sim::open(&elsewhere.disk(log, &log.disk), &log.options) {
        Ok((_, report)) => panic!("opened: {report}"),
        Err(error) => error,
    };
    assert!(judge.rule(Err(error)).is_err());
    assert!(judge.open().is_ok());
}
