//! What a proposal, a tick and a heartbeat cost the processor, and what of each there is in a
//! second.

use std::time::{Duration, Instant};

use benches::pair::{Ratio, Samples, interleaved, micros};
use benches::{Outcome, full_or};
use compare::{CASES, Case, CoreNode, CpuTimer, Driven, IdleGroups, Node, TikvNode};

const ROUNDS: usize = 7;
const TURNS: usize = 10;
const GROUPS: usize = 1_000;

fn main() -> Outcome {
    let named: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|n| n == name);
    println!(
        "{:<34} {:>10} {:>10} {:>10} {:>10} {:>20}",
        "nodes / batch", "raft /s", "core /s", "raft", "core", "core / raft, CPU"
    );
    for case in CASES.into_iter().filter(|case| wanted(&case.name())) {
        proposals(case)?;
    }
    if wanted("idle") { idle() } else { Ok(()) }
}

fn proposals(case: Case) -> Outcome {
    let (mut tikv, mut core) = (Side::<TikvNode>::new(case), Side::<CoreNode>::new(case));
    let mut rounds = Vec::new();
    for _ in 0..full_or(ROUNDS, 1) {
        rounds.push(interleaved(full_or(TURNS, 2), || Ok(tikv.turn()), || Ok(core.turn()))?);
    }
    println!(
        "{:<34} {:>10.0} {:>10.0} {:>7.0} ns {:>7.0} ns {:>20}",
        case.name(),
        tikv.rate(),
        core.rate(),
        tikv.nanos(rounds.iter().map(|r| &r.0)),
        core.nanos(rounds.iter().map(|r| &r.1)),
        Ratio::of(&rounds, 50),
    );
    Ok(())
}

/// One of the two, and how it did so far.
struct Side<N: Node> {
    driven: Driven<N>,
    per_turn: u64,
    wall: Samples,
}

impl<N: Node> Side<N> {
    fn new(case: Case) -> Self {
        // Two compactions, and every buffer as large as it will be.
        let driven = Driven::new(case, full_or(25_000, 500));
        Self { driven, per_turn: 0, wall: Samples::default() }
    }

    /// Some proposals. Returns the time of the processor.
    fn turn(&mut self) -> Duration {
        let (begun, cpu) = (Instant::now(), CpuTimer::start());
        self.per_turn = self.driven.run(full_or(12_800, 640));
        let took = cpu.elapsed();
        self.wall.push(begun.elapsed());
        took
    }

    /// Proposals in a second of a turn as long as the median.
    fn rate(&self) -> f64 {
        self.per_turn as f64 * 1e9 / self.wall.median() as f64
    }

    /// Nanoseconds of the processor for one proposal, by the median of the rounds' medians.
    fn nanos<'a>(&self, rounds: impl Iterator<Item = &'a Samples>) -> f64 {
        micros(rounds, 50) * 1e3 / self.per_turn as f64
    }
}

/// Ticks of many groups, of which every other one is a heartbeat.
fn idle() -> Outcome {
    let count = full_or(GROUPS, 20);
    let mut tikv = IdleGroups::<TikvNode>::new(count);
    let mut core = IdleGroups::<CoreNode>::new(count);
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..full_or(ROUNDS, 1) {
        let mut beats = (Samples::default(), Samples::default());
        // A turn is a pair of ticks, of which the second is the heartbeat.
        let quiet = interleaved(
            full_or(50, 4),
            || Ok(two_ticks(&mut tikv, &mut beats.0)),
            || Ok(two_ticks(&mut core, &mut beats.1)),
        )?;
        rounds[0].push(quiet);
        rounds[1].push(beats);
    }
    println!("\n{:<34} {:>10} {:>10} {:>20}", "a group of 3", "raft", "core", "core / raft, CPU");
    for (name, rounds) in ["tick", "tick with a round of heartbeats"].iter().zip(rounds) {
        let each = |micros: f64| micros * 1e3 / count as f64;
        println!(
            "{name:<34} {:>7.0} ns {:>7.0} ns {:>20}",
            each(micros(rounds.iter().map(|r| &r.0), 50)),
            each(micros(rounds.iter().map(|r| &r.1), 50)),
            Ratio::of(&rounds, 50),
        );
    }
    assert_eq!((tikv.led(), core.led()), (count, count), "leaders were lost");
    Ok(())
}

/// Returns the time of the first tick, and notes that of the second, the heartbeat.
fn two_ticks<N: Node>(groups: &mut IdleGroups<N>, beats: &mut Samples) -> Duration {
    let quiet = CpuTimer::start();
    groups.tick();
    let quiet = quiet.elapsed();
    let beat = CpuTimer::start();
    groups.tick();
    beats.push(beat.elapsed());
    quiet
}
