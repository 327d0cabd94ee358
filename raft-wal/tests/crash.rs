//! Random crash tests: histories over every operation of the log on a simulated disk, crashed at
//! random calls, and an independent model as the oracle of what may be there afterwards.
//!
//! `RAFT_WAL_CRASH_HISTORIES=N` runs N histories a test instead of the default number of crash
//! states; `RAFT_WAL_SEED=S` replays one history with a trace.

mod support;

use std::sync::Mutex;

use support::damage;
use support::history::{Plan, run};
use support::sim::announce;
use support::tally::Tally;

/// Histories are dealt to this many tests, so that every core has work.
const SHARES: u64 = 4;
/// Different disks left by crashes that each test opens and judges at least.
const STATES: usize = 5_500;
/// Damaged disks that each test opens and judges at least, so many of them a history.
const DAMAGES: u64 = 6_000;
const ROUNDS: usize = 12;

static TOTAL: Mutex<(u64, Option<Tally>)> = Mutex::new((0, None));

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Histories of one test, from the seeds dealt to it, until `enough`.
fn histories(which: u64, enough: impl Fn(&Tally) -> bool, run: impl Fn(u64, &mut Tally)) -> Tally {
    let most = number("RAFT_WAL_CRASH_HISTORIES");
    let mut tally = Tally::default();
    for n in 0.. {
        let done = most.map_or_else(|| enough(&tally), |most| n >= most);
        if done || tally.failures.len() >= 5 {
            break;
        }
        run(n * SHARES + which, &mut tally);
    }
    tally
}

/// Replays one history if that is asked for. Returns whether it was.
fn replay(which: u64, run: impl Fn(u64, &mut Tally)) -> bool {
    let Some(seed) = number("RAFT_WAL_SEED") else { return false };
    if seed % SHARES == which {
        let mut tally = Tally::default();
        run(seed, &mut tally);
        announce(&tally.to_string());
        assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
    }
    true
}

fn crashes(which: u64) {
    if replay(which, |seed, tally| run(seed, Plan::of(seed), tally, true)) {
        return;
    }
    let enough = |tally: &Tally| tally.distinct.len() >= STATES;
    let tally = histories(which, enough, |seed, tally| run(seed, Plan::of(seed), tally, false));
    announce(&format!("share {which}: {tally}"));
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
    let mut total = TOTAL.lock().unwrap();
    total.0 += 1;
    total.1.get_or_insert_default().add(&tally);
    if total.0 == SHARES {
        let sum = total.1.take().unwrap_or_default();
        announce(&format!("all shares: {sum}"));
        announce(&format!("  died in {} different calls", sum.sites.len()));
        assert_eq!(sum.missing(), Vec::<&str>::new(), "never happened");
    }
}

fn damages(which: u64) {
    if replay(which, |seed, tally| damage::run(seed, ROUNDS, 1, tally, true)) {
        return;
    }
    let enough = |tally: &Tally| tally.damage.values().sum::<u64>() >= DAMAGES;
    let tally = histories(which, enough, |seed, tally| damage::run(seed, ROUNDS, 1, tally, false));
    for (outcome, n) in &tally.damage {
        announce(&format!("damage, share {which}: {n} times {outcome}"));
    }
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
}

#[test]
fn every_crash_leaves_an_issued_state_first_share() {
    crashes(0);
}

#[test]
fn every_crash_leaves_an_issued_state_second_share() {
    crashes(1);
}

#[test]
fn every_crash_leaves_an_issued_state_third_share() {
    crashes(2);
}

#[test]
fn every_crash_leaves_an_issued_state_fourth_share() {
    crashes(3);
}

#[test]
fn damage_is_named_or_harmless_or_beyond_every_promise_first_share() {
    damages(0);
}

#[test]
fn damage_is_named_or_harmless_or_beyond_every_promise_second_share() {
    damages(1);
}
