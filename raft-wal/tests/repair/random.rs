//! Random damage of random logs.

use fastrand::Rng;

use crate::judge::{Verdict, crash_everywhere, fail_everywhere, judge};
use crate::support::sim::announce;
use crate::{harm, log};

fn seeds(n: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|s| s.parse::<u64>().ok());
    match number("RAFT_WAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RAFT_WAL_REPAIRS").unwrap_or(n),
    }
}

/// Damages the log of a seed and judges its repair.
fn repaired(seed: u64) -> Result<Verdict, String> {
    let mut rng = Rng::with_seed(seed);
    let log = log::random(&mut rng);
    let harmed = harm::random(&mut rng, &log.disk, &log.earlier);
    let mut verdict = judge(&log.disk, &log.options, &log.states)
        .map_err(|why| format!("{why}; damaged {harmed:?}"))?;
    if verdict.repaired && seed.is_multiple_of(16) {
        verdict.crashes = crash_everywhere(&log.disk, &log.options, 1)?;
    }
    if verdict.repaired && seed % 64 == 1 {
        fail_everywhere(&log.disk, &log.options)?;
    }
    Ok(verdict)
}

#[test]
fn whatever_is_damaged_the_plan_keeps_a_state_of_the_past_and_says_what_it_gives_up() {
    let seeds = seeds(1200);
    let mut sum = Verdict::default();
    let (mut refused, mut repaired_logs, mut exact, mut certain) = (0, 0, 0, 0);
    let mut failures = Vec::new();
    for seed in seeds.clone() {
        match std::panic::catch_unwind(|| repaired(seed)) {
            Ok(Ok(v)) => {
                refused += usize::from(v.refused);
                repaired_logs += usize::from(v.repaired);
                exact += usize::from(v.exact);
                certain += usize::from(v.repaired && v.certain);
                sum.kept += v.kept;
                sum.given_up += v.given_up;
                sum.crashes += v.crashes;
            }
            Ok(Err(why)) => failures.push(format!("RAFT_WAL_SEED={seed}: {why}")),
            Err(_) => failures.push(format!("RAFT_WAL_SEED={seed}: panic")),
        }
        if failures.len() >= 5 {
            break;
        }
    }
    announce(&format!(
        "repair: {refused} refused, {repaired_logs} repaired ({exact} to a state of their past, \
         {certain} certain of their vote), {} entries kept, {} given up, {} crashes",
        sum.kept, sum.given_up, sum.crashes
    ));
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    if seeds.end - seeds.start > 1 {
        let enough = repaired_logs > 200 && exact * 2 > repaired_logs && certain > 20;
        assert!(enough && sum.kept > 500 && sum.given_up > 500, "too little happened");
    }
}
