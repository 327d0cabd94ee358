//! Runs seeds on after failures, and says which rules broke how often: `census FROM SEEDS
//! [EVENTS]`.

use std::collections::BTreeMap;

use sim::{Plan, Plant, Stats, run};

fn main() {
    let mut numbers = std::env::args().skip(1).map(|n| n.parse().expect("a number"));
    let from = numbers.next().unwrap_or(0);
    let seeds = numbers.next().unwrap_or(1000);
    let events = numbers.next().unwrap_or(500);
    let plan = Plan { from, seeds, events, plant: Plant::Nothing };
    std::panic::set_hook(Box::new(|_| {}));
    let mut broken: BTreeMap<&str, Vec<(u64, String)>> = BTreeMap::new();
    let mut total = Stats::default();
    for seed in from..from + seeds {
        match run(seed, &plan) {
            Ok(stats) => total.add(&stats),
            Err(failure) => broken
                .entry(failure.violation.rule)
                .or_default()
                .push((seed, failure.violation.detail)),
        }
    }
    println!("{seeds} seeds: {total}");
    for (rule, seeds) in broken {
        println!("{rule}: {} seeds", seeds.len());
        for (seed, detail) in seeds.iter().take(5) {
            println!("  {seed}: {}", detail.lines().next().unwrap_or_default());
        }
    }
}
