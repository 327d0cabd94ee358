//! Random clusters: every rule of Raft after every event, whatever happens to them.
//!
//! `RAFT_SIM_SEEDS` runs more of them, `RAFT_SIM_SEED` one, `RAFT_SIM_EVENTS` longer.

use std::time::Instant;

use sim::{Plan, Stats, run, run_many};

/// What may not happen in a few thousand seeds, and is not meant to.
const RARE: [&str; 4] = ["stale_lease_reads", "overtaken", "orphaned", "unheard"];

fn hold(test: &str, plan: &Plan) -> Stats {
    let begun = Instant::now();
    let stats = match run_many(plan) {
        Ok(stats) => stats,
        Err(failure) => {
            println!("{}", failure.trace.join("\n"));
            let (seed, violation) = (failure.seed, failure.violation);
            panic!(
                "{violation}\nreplay: RAFT_SIM_SEED={seed} RAFT_SIM_EVENTS={} \
                 cargo test -p sim {test} -- --nocapture",
                plan.events
            );
        }
    };
    println!("{test}: {} seeds in {:.1?}: {stats}", plan.seeds, begun.elapsed());
    stats
}

#[test]
fn random_clusters() {
    let plan = Plan::from_env(5000, 500);
    let stats = hold("random_clusters", &plan);
    if plan.seeds >= 1000 {
        for (what, count) in stats.all() {
            assert!(count > 0 || RARE.contains(&what), "{what}: never happened");
        }
    }
}

#[test]
fn clusters_that_live_long() {
    let plan = Plan::from_env(100, 10_000);
    let stats = hold("clusters_that_live_long", &plan);
    assert!(stats.elections > plan.seeds / 2 && stats.commits > 10 * plan.seeds);
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    let plan = Plan { events: 2000, ..Plan::from_env(20, 2000) };
    for seed in 0..20 {
        let [first, second] = [0, 1].map(|_| run(seed, &plan).map_err(|f| f.violation));
        assert_eq!(first, second, "seed {seed}");
    }
}
