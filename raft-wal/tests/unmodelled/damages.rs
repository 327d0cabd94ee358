//! More than one run of damage.

use crate::support::damage;
use crate::support::sim::announce;
use crate::support::tally::Tally;

#[test]
fn several_damages_are_named_or_harmless_or_beyond_every_promise() {
    let mut tally = Tally::default();
    for seed in 0.. {
        let enough = tally.damage.values().sum::<u64>() >= 4_000;
        if enough || tally.failures.len() >= 5 {
            break;
        }
        let hits = 2 + (seed % 3) as usize;
        damage::run(seed, 12, hits, &mut tally, false);
    }
    for (outcome, n) in &tally.damage {
        announce(&format!("several damages: {n} times {outcome}"));
    }
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
}
