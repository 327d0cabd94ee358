//! Two things measured in turns, and how they compare.

use std::time::{Duration, Instant};

use crate::Outcome;

/// How long one side took, once for each turn.
#[derive(Debug, Default)]
pub struct Samples {
    nanos: Vec<u64>,
}

impl Samples {
    /// Adds one.
    pub fn push(&mut self, took: Duration) {
        self.nanos.push(took.as_nanos() as u64);
    }

    /// The sample that `percent` of all do not exceed, in nanoseconds; 0 if there is none.
    pub fn percentile(&self, percent: usize) -> u64 {
        let mut sorted = self.nanos.clone();
        sorted.sort_unstable();
        let rank = (percent * sorted.len()).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }

    /// The median, in nanoseconds.
    pub fn median(&self) -> u64 {
        self.percentile(50)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.nanos.len()
    }
}

/// Runs `floor` and `log` in turns, `turns` times each. Who goes first changes every time, so that
/// neither always finds the disk as the other left it. Each does its own timing and returns what
/// it took: what belongs to neither is done outside.
///
/// # Errors
/// The first error of either.
pub fn interleaved(
    turns: usize,
    mut floor: impl FnMut() -> Outcome<Duration>,
    mut log: impl FnMut() -> Outcome<Duration>,
) -> Outcome<(Samples, Samples)> {
    let (mut floors, mut logs) = (Samples::default(), Samples::default());
    for turn in 0..turns {
        if turn % 2 == 0 {
            floors.push(floor()?);
            logs.push(log()?);
        } else {
            logs.push(log()?);
            floors.push(floor()?);
        }
    }
    Ok((floors, logs))
}

/// Times one call.
///
/// # Errors
/// The call's.
pub fn timed<T>(f: impl FnOnce() -> Outcome<T>) -> Outcome<(T, Duration)> {
    let begun = Instant::now();
    let value = f()?;
    Ok((value, begun.elapsed()))
}

/// The ratio `log / floor` of a percentile over several rounds: its median, least and greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The median of the rounds.
    pub middle: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub most: f64,
}

impl Ratio {
    /// Compares round by round.
    pub fn of(rounds: &[(Samples, Samples)], percent: usize) -> Self {
        let ratio = |(floor, log): &(Samples, Samples)| {
            log.percentile(percent) as f64 / floor.percentile(percent) as f64
        };
        let mut all: Vec<f64> = rounds.iter().map(ratio).collect();
        all.sort_unstable_by(f64::total_cmp);
        let at = |i: usize| all.get(i).copied().unwrap_or(f64::NAN);
        Self { middle: at(all.len() / 2), least: at(0), most: at(all.len().saturating_sub(1)) }
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { middle, least, most } = self;
        f.pad(&format!("{middle:.2} ({least:.2}..{most:.2})"))
    }
}

/// The median over rounds of a percentile of one side, in microseconds.
pub fn micros<'a>(rounds: impl Iterator<Item = &'a Samples>, percent: usize) -> f64 {
    let mut all: Vec<f64> = rounds.map(|s| s.percentile(percent) as f64 / 1000.0).collect();
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The headings of [`columns`].
pub fn headings() -> String {
    format!(
        "{:>7} {:>9} {:>9} {:>20} {:>9} {:>9} {:>20}",
        "turns", "floor p50", "log p50", "ratio p50", "floor p99", "log p99", "ratio p99"
    )
}

/// How log and floor compare: turns, p50 and p99 of both, and their ratios.
pub fn columns(rounds: &[(Samples, Samples)]) -> String {
    let (floors, logs) = (|| rounds.iter().map(|r| &r.0), || rounds.iter().map(|r| &r.1));
    format!(
        "{:>7} {:>7.1}us {:>7.1}us {:>20} {:>7.1}us {:>7.1}us {:>20}",
        floors().map(Samples::count).sum::<usize>(),
        micros(floors(), 50),
        micros(logs(), 50),
        Ratio::of(rounds, 50),
        micros(floors(), 99),
        micros(logs(), 99),
        Ratio::of(rounds, 99),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(nanos: &[u64]) -> Samples {
        Samples { nanos: nanos.to_vec() }
    }

    #[test]
    fn a_percentile_is_the_sample_that_so_many_do_not_exceed() {
        let s = samples(&[50, 10, 40, 20, 30]);
        assert_eq!((s.percentile(0), s.median(), s.percentile(99)), (10, 30, 50));
        assert_eq!(samples(&[]).median(), 0);
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        let rounds = [
            (samples(&[100]), samples(&[200])),
            (samples(&[1000]), samples(&[1100])),
            (samples(&[10]), samples(&[30])),
        ];
        assert_eq!(Ratio::of(&rounds, 50), Ratio { middle: 2.0, least: 1.1, most: 3.0 });
    }

    #[test]
    fn the_two_sides_take_turns_at_going_first() {
        let order = std::cell::RefCell::new(String::new());
        let side = |name: char| {
            order.borrow_mut().push(name);
            Ok(Duration::ZERO)
        };
        interleaved(3, || side('f'), || side('l')).unwrap();
        assert_eq!(*order.borrow(), "fllffl");
    }
}
