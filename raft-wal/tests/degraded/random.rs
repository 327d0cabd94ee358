//! Random damage of random logs.

use fastrand::Rng;

use crate::judge::{Verdict, judge};
use crate::{harm, history};

/// Damages the log of a seed and judges what is said of it.
fn random_damage(seed: u64) -> Result<Verdict, String> {
    let mut rng = Rng::with_seed(seed);
    let history = history::random(&mut rng);
    let harmed = harm::random(&mut rng, &history.log.disk, &history.earlier);
    judge(&history.log, &harmed, &history.committed)
        .map_err(|why| format!("{why}; damaged {harmed:?}, {:?}", history.log.disk.paths()))
}

#[test]
fn whatever_is_damaged_nothing_stale_is_sound_and_nothing_is_lost_in_silence() {
    let seed = std::env::var("RAFT_WAL_SEED").ok().and_then(|s| s.parse().ok());
    let seeds = seed.map_or(0..6000, |s: u64| s..s + 1);
    let (mut refused, mut sound, mut lost, mut certain) = (0, 0, 0, 0);
    let mut failures = Vec::new();
    for seed in seeds.clone() {
        let judged = std::panic::catch_unwind(|| random_damage(seed));
        match judged {
            Ok(Ok(v)) => {
                refused += usize::from(v.refused);
                sound += v.sound;
                lost += v.lost;
                certain += usize::from(v.refused && v.certain);
            }
            Ok(Err(why)) => failures.push(format!("RAFT_WAL_SEED={seed}: {why}")),
            Err(_) => failures.push(format!("RAFT_WAL_SEED={seed}: panic")),
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    println!(
        "{refused} refused, {sound} entries sound, {lost} lost, {certain} certain of their state"
    );
    if seeds.end - seeds.start > 1 {
        assert!(
            refused > 200 && sound > 1000 && lost > 1000 && certain > 20,
            "too little happened"
        );
    }
}
