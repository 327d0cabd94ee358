//! The tests are tested: bugs are planted in the log, one at a time, and the engines of the suites
//! must catch each of them, and none where none is planted.
//!
//! Two kinds are planted: calls that are forgotten (every sync, write, rename, removal and cut
//! that the sources make, found by reading them), and wrong decisions (`raft_wal::planted::Bug`,
//! behind the feature `planted-bugs`).
//!
//! `RAFT_WAL_PLANTED_BUG=name` plants one bug and prints how each piece of the suites takes it.

#![allow(clippy::disallowed_methods, reason = "reads the sources that it is a test of")]
#![allow(dead_code, reason = "modules of other tests, which use more of them")]

#[path = "sweep/alloc.rs"]
mod alloc;
#[path = "sweep/chart.rs"]
mod chart;
#[path = "sweep/damage.rs"]
mod damage;
#[path = "planted/directed.rs"]
mod directed;
#[path = "planted/engines.rs"]
mod engines;
#[path = "sweep/expect.rs"]
mod expect;
#[path = "sweep/harm.rs"]
mod harm;
#[path = "sweep/history.rs"]
mod history;
#[path = "sweep/judge.rs"]
mod judge;
#[path = "planted/kept.rs"]
mod kept;
#[path = "sweep/logs.rs"]
mod logs;
#[path = "format/page.rs"]
mod page;
#[path = "format/reader.rs"]
mod reader;
#[path = "planted/scripts.rs"]
mod scripts;
#[path = "planted/sites.rs"]
mod sites;
mod support;

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use raft_vfs::sim::skipping;
use raft_wal::planted::{self, Bug};

use engines::{Engines, Try};
use sites::Site;
use support::sim::announce;

/// Calls whose loss is no bug, and why.
const HARMLESS: [(&str, &str); 9] = [
    ("dir.rs init SyncDir", "the open goes on with a sync of the same directory"),
    ("gc.rs run SyncDir", "a name that comes back is dead, and no later handle writes to its file"),
    ("gc.rs sync_wal_dir SyncDir", "names that come back are removed by the next open"),
    ("publish.rs make Remove", "what is left of a failed attempt goes with the next open"),
    ("publish.rs zero_fill SyncData", "spreads the writing; the whole file is synced later"),
    ("steps.rs run Remove", "what is left of a failed attempt goes with the next one"),
    ("steps.rs write Remove", "an index file is a cache: without it the segment is scanned"),
    ("steps.rs write SyncData", "an index file proves itself: a torn one is not used"),
    ("wal.rs sync_names SyncDir 2", "nothing is written behind a name before it is durable"),
];

thread_local! {
    /// Whether a panic of this thread is what is hoped for.
    static HOPED: Cell<bool> = const { Cell::new(false) };
}

/// Panics that catch a bug say nothing.
fn hush() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !HOPED.get() {
            loud(info);
        }
    }));
}

/// What came of a bug.
struct Caught {
    by: Option<(Try, String)>,
    /// Pieces that were run.
    tries: usize,
    /// How often the bug was met.
    met: u64,
}

fn hunt(engines: &Engines, first: Option<Try>, plant: impl Fn(&dyn Fn()) -> u64) -> Caught {
    let mut caught = Caught { by: None, tries: 0, met: 0 };
    for piece in first.into_iter().chain(engines.tries()) {
        let found = Cell::new(Ok(()));
        HOPED.set(true);
        caught.met += plant(&|| found.set(engines.run(piece)));
        HOPED.set(false);
        caught.tries += 1;
        if let Err(why) = found.into_inner() {
            caught.by = Some((piece, why));
            break;
        }
    }
    caught
}

/// Runs `job` for every item on two threads.
fn deal<T: Sync, R: Send>(items: &[T], job: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(n) else { break };
                    let result = job(item);
                    done.lock().unwrap().push((n, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, result)| result).collect()
}

fn tell(bug: &str, caught: &Caught) {
    let Caught { by, tries, met } = caught;
    let first = |why: &str| why.lines().next().unwrap_or_default().chars().take(90).collect();
    let by = by.as_ref().map(|(piece, why)| (piece.to_string(), first(why)));
    let (piece, why): (String, String) = by.unwrap_or(("NOTHING".into(), String::new()));
    announce(&format!("planted: {bug}: {piece} ({tries} tries, met {met} times): {why}"));
}

#[test]
fn without_a_bug_nothing_is_caught() {
    let engines = Engines::new();
    let begun = Instant::now();
    let tries = engines.tries();
    let failed = deal(&tries, |&piece| {
        let begun = Instant::now();
        let ran = engines.run(piece);
        if std::env::var_os("RAFT_WAL_PLANTED_TIMES").is_some() {
            announce(&format!("{piece}: {} ms", begun.elapsed().as_millis()));
        }
        ran.err().map(|why| format!("{piece}: {why}"))
    });
    let failed: Vec<_> = failed.into_iter().flatten().collect();
    announce(&format!("planted: nothing, {} tries, {:?}", tries.len(), begun.elapsed()));
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_forgotten_call_is_caught() {
    hush();
    let engines = Engines::new();
    let begun = Instant::now();
    let is_bug = |site: &Site| HARMLESS.iter().all(|(name, _)| *name != site.to_string());
    let only = std::env::var("RAFT_WAL_PLANTED_BUG").ok();
    let wanted = |site: &Site| only.as_ref().is_none_or(|only| *only == site.to_string());
    let all = sites::all();
    let bugs: Vec<_> = all.iter().filter(|s| is_bug(s) && wanted(s)).collect();
    let missed = deal(&bugs, |site| {
        let caught = hunt(&engines, None, |run| skipping(site.skip(), run).1);
        tell(&site.to_string(), &caught);
        caught.by.is_none().then(|| site.to_string())
    });
    let missed: Vec<_> = missed.into_iter().flatten().collect();
    announce(&format!("planted: {} forgotten calls, {:?}", bugs.len(), begun.elapsed()));
    assert!(missed.is_empty(), "not caught: {missed:#?}");
    for (name, _) in HARMLESS {
        assert!(all.iter().any(|s| s.to_string() == name), "there is no {name}");
    }
}

#[test]
fn every_wrong_decision_is_caught() {
    hush();
    let engines = Engines::new();
    let begun = Instant::now();
    let only = std::env::var("RAFT_WAL_PLANTED_BUG").ok();
    let wanted = |bug: &&Bug| only.as_ref().is_none_or(|only| *only == format!("{bug:?}"));
    let bugs: Vec<Bug> = Bug::ALL.iter().filter(wanted).copied().collect();
    let missed = deal(&bugs, |&bug| {
        let caught = hunt(&engines, None, |run| planted::with(bug, run).1);
        tell(&format!("{bug:?}"), &caught);
        caught.by.is_none().then_some(bug)
    });
    let missed: Vec<_> = missed.into_iter().flatten().collect();
    announce(&format!("planted: {} wrong decisions, {:?}", bugs.len(), begun.elapsed()));
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
