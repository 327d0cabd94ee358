//! What was tried and what came of it, counted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::damage::Family;
use crate::judge::Ruling;

/// Counts of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Damages that changed something, each opened and judged.
    pub(crate) cases: u64,
    /// Damages that would have changed nothing.
    pub(crate) idle: u64,
    pub(crate) outcomes: BTreeMap<(Family, &'static str), u64>,
    pub(crate) logs: BTreeMap<&'static str, u64>,
    /// Other ways of looking, on a sample.
    pub(crate) looks: BTreeMap<&'static str, u64>,
    pub(crate) panics: u64,
    pub(crate) peak: u64,
    pub(crate) largest: usize,
    pub(crate) slowest: Duration,
    pub(crate) opening: Duration,
    /// The first of them, in words.
    pub(crate) failures: Vec<String>,
    pub(crate) failed: u64,
    /// Failures in which the log was another one and said nothing.
    pub(crate) silent: u64,
    /// Failures in which an error did not name what was damaged.
    pub(crate) unnamed: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, log: &'static str, family: Family, ruling: &Ruling) {
        self.cases += 1;
        *self.outcomes.entry((family, ruling.outcome)).or_default() += 1;
        *self.logs.entry(log).or_default() += 1;
        self.peak = self.peak.max(ruling.need.peak);
        self.largest = self.largest.max(ruling.need.largest);
        self.slowest = self.slowest.max(ruling.took);
        self.opening += ruling.took;
    }

    pub(crate) fn fail(&mut self, why: String) {
        self.failed += 1;
        self.silent += u64::from(why.contains("SILENT"));
        self.unnamed += u64::from(why.contains("UNNAMED"));
        if self.failures.len() < 40 {
            self.failures.push(why);
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.idle += other.idle;
        self.panics += other.panics;
        self.failed += other.failed;
        self.silent += other.silent;
        self.unnamed += other.unnamed;
        for (key, n) in other.outcomes {
            *self.outcomes.entry(key).or_default() += n;
        }
        for (key, n) in other.logs {
            *self.logs.entry(key).or_default() += n;
        }
        for (key, n) in other.looks {
            *self.looks.entry(key).or_default() += n;
        }
        self.peak = self.peak.max(other.peak);
        self.largest = self.largest.max(other.largest);
        self.slowest = self.slowest.max(other.slowest);
        self.opening += other.opening;
        self.failures.extend(other.failures);
    }

    /// How many cases ended so, in all families.
    pub(crate) fn ended(&self, how: &str) -> u64 {
        self.outcomes.iter().filter(|((_, o), _)| o.starts_with(how)).map(|(_, n)| n).sum()
    }

    fn of_family(&self, family: Family) -> u64 {
        self.outcomes.iter().filter(|((f, _), _)| *f == family).map(|(_, n)| n).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for family in Family::ALL {
            write!(f, "sweep: {}: {}", family.name(), self.of_family(family))?;
            for ((_, outcome), n) in self.outcomes.iter().filter(|((of, _), _)| *of == family) {
                write!(f, "; {outcome} {n}")?;
            }
            writeln!(f)?;
        }
        for (log, n) in &self.logs {
            writeln!(f, "sweep: log {log}: {n}")?;
        }
        for (look, n) in &self.looks {
            writeln!(f, "sweep: sample: {look} {n}")?;
        }
        write!(
            f,
            "sweep: {} cases ({} that changed nothing left out): {} slack and {} with a copy the \
             same, {} refused by name, {} found beyond every promise and said so, {} double \
             faults; {} failed, {} silent, {} unnamed, {} panics; at most {} KiB and {} us an \
             open, largest request {} KiB, {} us on average",
            self.cases,
            self.idle,
            self.ended("slack"),
            self.ended("a copy") + self.ended("a cache") + self.ended("names: the same"),
            self.ended("sealed")
                + self.ended("evidenced")
                + self.ended("moved")
                + self.ended("names: refused"),
            self.ended("ambiguous"),
            self.ended("double"),
            self.failed,
            self.silent,
            self.unnamed,
            self.panics,
            self.peak >> 10,
            self.slowest.as_micros(),
            self.largest >> 10,
            self.opening.as_micros() / u128::from(self.cases.max(1)),
        )
    }
}
