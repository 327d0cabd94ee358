//! Running the cases: a slice of them, all of them, or one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use raft_vfs::SimVfs;

use crate::damage::{Catalogue, Family};
use crate::judge::Judge;
use crate::logs::Log;
use crate::support::sim::announce;
use crate::tally::Tally;

/// How many damages of each family and log a slice has.
const SLICE: u64 = 3_000;
/// How many pairs of each log a full run has.
const PAIRS: u64 = 100_000;
/// A log with more bytes than this takes as long as ten others.
const LARGE: usize = 1 << 20;
/// An open that takes longer is measured again.
const SLOW: Duration = Duration::from_millis(500);
/// Cases that one worker takes at once.
const SHARE: u64 = 20_000;

/// A share of the work: numbers of one family of one log.
struct Share {
    log: usize,
    family: Family,
    numbers: Numbers,
    /// One in so many is looked at in every other way too.
    sample: u64,
}

enum Numbers {
    All(std::ops::Range<u64>),
    Drawn { seed: u64, many: u64 },
}

fn shares(catalogues: &[Catalogue<'_>], full: bool, seed: u64) -> Vec<Share> {
    let mut shares = Vec::new();
    for (log, catalogue) in catalogues.iter().enumerate() {
        let sample = if full { 64 } else { 16 };
        let large = catalogue.log.files.iter().map(|f| f.bytes.len()).sum::<usize>() > LARGE;
        let (slice, pairs) = if large { (SLICE / 10, PAIRS / 10) } else { (SLICE, PAIRS) };
        for family in Family::ALL {
            let count = catalogue.count(family);
            let all = if full { count.min(u64::MAX - 1) } else { 0 };
            let all = if family == Family::Pair { all.min(pairs) } else { all };
            if full || count <= slice {
                let all = if full { all } else { count };
                let ranges = (0..all).step_by(SHARE as usize).map(|at| at..(at + SHARE).min(all));
                shares.extend(ranges.map(|r| Share {
                    log,
                    family,
                    numbers: Numbers::All(r),
                    sample,
                }));
            } else {
                let seed = seed ^ (log as u64) << 32 ^ (family as u64) << 48;
                let numbers = Numbers::Drawn { seed, many: slice };
                shares.push(Share { log, family, numbers, sample });
            }
        }
    }
    shares
}

/// Runs a slice, or everything where `RAFT_WAL_SWEEP` says so, on two threads at most.
pub(crate) fn sweep(logs: &[Log]) -> Tally {
    let full = std::env::var("RAFT_WAL_SWEEP").is_ok_and(|v| v == "full");
    let seed = std::env::var("RAFT_WAL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let only = std::env::var("RAFT_WAL_SWEEP_LOG").ok();
    let catalogues: Vec<_> = logs.iter().map(|log| Catalogue::new(log, logs)).collect();
    let mut shares = shares(&catalogues, full, seed);
    shares.retain(|share| only.as_ref().is_none_or(|name| name == logs[share.log].name));
    let (next, total) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(2));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // Each worker has disks of its own, so that they do not wait for one another.
                let disks: Vec<SimVfs> = logs.iter().map(|log| log.disk.fork()).collect();
                while let Some(share) = shares.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut tally = Tally::default();
                    run(share, &catalogues[share.log], &disks[share.log], &mut tally);
                    let mut total = total.lock().expect("no worker panics");
                    total.add(tally);
                    if full {
                        let Share { log, family, .. } = share;
                        let name = logs[*log].name;
                        announce(&format!("sweep: {} cases; {name}, {family:?}", total.cases));
                    }
                }
            });
        }
    });
    total.into_inner().expect("no worker panics")
}

fn run(share: &Share, catalogue: &Catalogue<'_>, disk: &SimVfs, tally: &mut Tally) {
    match &share.numbers {
        Numbers::All(range) => {
            for number in range.clone() {
                one(catalogue, share, number, disk, tally);
            }
        }
        Numbers::Drawn { seed, many } => {
            let mut rng = Rng::with_seed(*seed);
            for _ in 0..*many {
                let number = catalogue.draw(share.family, &mut rng);
                one(catalogue, share, number, disk, tally);
            }
        }
    }
}

/// Whether a case is one of the sample, which is one in `sample`.
fn is_sampled(number: u64, sample: u64) -> bool {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).is_multiple_of(sample)
}

/// One case, and on a sample of them all that can be looked at.
fn one(c: &Catalogue<'_>, share: &Share, number: u64, disk: &SimVfs, tally: &mut Tally) {
    let (family, sample) = (share.family, share.sample);
    let log = c.log;
    let harm = c.harm(family, number);
    if harm.is_nothing(log) {
        tally.idle += 1;
        return;
    }
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let judge = Judge::new(log, &harm, disk);
        let mut ruling = judge.open();
        for _ in 0..3 {
            // Who did not get the processor was slow once; what takes long takes long again.
            if let Ok(slow) = &mut ruling
                && slow.took > SLOW
                && let Ok(again) = judge.open()
            {
                slow.took = slow.took.min(again.took);
            }
        }
        let ruling = ruling.map_err(|why| format!("{why}; expected {:?}", judge.expect));
        let looks = if is_sampled(number, sample) || family == Family::File {
            judge.look_otherwise().map_err(|why| format!("{why}; expected {:?}", judge.expect))
        } else {
            Ok(Vec::new())
        };
        (ruling, looks)
    }));
    let replay = || format!("replay: RAFT_WAL_SWEEP_CASE='{} {family:?} {number}'", log.name);
    let Ok((ruling, looks)) = judged else {
        tally.panics += 1;
        tally.fail(format!("PANIC; {}", replay()));
        return;
    };
    match ruling {
        Ok(ruling) => tally.count(log.name, family, &ruling),
        Err(why) => tally.fail(format!("{why}\n  {}", replay())),
    }
    match looks {
        Ok(looks) => looks.into_iter().for_each(|look| *tally.looks.entry(look).or_default() += 1),
        Err(why) => tally.fail(format!("{why}\n  {}", replay())),
    }
}

/// One case again, in detail.
pub(crate) fn replay(logs: &[Log], case: &str) {
    let words: Vec<&str> = case.split_whitespace().collect();
    let [name, family, number] = words[..] else { panic!("log, family and number: {case}") };
    let log = logs.iter().find(|l| l.name == name).expect("the name of a log");
    let family = Family::ALL.into_iter().find(|f| format!("{f:?}") == family);
    let family = family.expect("the name of a family");
    let catalogue = Catalogue::new(log, logs);
    let harm = catalogue.harm(family, number.parse().expect("a number"));
    let judge = Judge::new(log, &harm, &log.disk);
    announce(&judge.describe());
    announce(&format!("{:?}", judge.open()));
    announce(&format!("{:?}", judge.look_otherwise()));
}
