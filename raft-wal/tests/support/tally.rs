//! What random histories went through, counted, so that a run which tested nothing fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Counts of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) histories: u64,
    /// Disks as a crash left them, each opened and judged.
    pub(crate) states: u64,
    /// Seeds and fingerprints of those disks.
    pub(crate) distinct: BTreeSet<(u64, u64)>,
    pub(crate) opens: u64,
    pub(crate) carries: u64,
    pub(crate) raised: u64,
    pub(crate) poisonings: u64,
    pub(crate) no_space: u64,
    /// Opens that found no space for what they had to write again.
    pub(crate) not_durable: u64,
    pub(crate) crashes_inside: u64,
    pub(crate) rotations: u64,
    pub(crate) jumbos: u64,
    pub(crate) removed: u64,
    pub(crate) indexed: u64,
    pub(crate) rejected: u64,
    pub(crate) locked: u64,
    pub(crate) clean_closes: u64,
    /// Where the process died: operation and call.
    pub(crate) sites: BTreeMap<String, u64>,
    /// How each damaged log ended.
    pub(crate) damage: BTreeMap<String, u64>,
    pub(crate) failures: Vec<String>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { histories, states, opens, carries, raised, poisonings, no_space, .. } = other;
        self.histories += histories;
        self.states += states;
        self.opens += opens;
        self.carries += carries;
        self.raised += raised;
        self.poisonings += poisonings;
        self.no_space += no_space;
        self.not_durable += other.not_durable;
        self.crashes_inside += other.crashes_inside;
        self.rotations += other.rotations;
        self.jumbos += other.jumbos;
        self.removed += other.removed;
        self.indexed += other.indexed;
        self.rejected += other.rejected;
        self.locked += other.locked;
        self.clean_closes += other.clean_closes;
        self.distinct.extend(&other.distinct);
        for (site, n) in &other.sites {
            *self.sites.entry(site.clone()).or_default() += n;
        }
        for (outcome, n) in &other.damage {
            *self.damage.entry(outcome.clone()).or_default() += n;
        }
        self.failures.extend(other.failures.iter().cloned());
    }

    /// How often the process died where `part` names.
    pub(crate) fn died_at(&self, part: &str) -> u64 {
        self.sites.iter().filter(|(site, _)| site.contains(part)).map(|(_, n)| n).sum()
    }

    /// Names of what never happened; empty if everything did.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let counts = [
            ("carry", self.carries),
            ("raised term or vote", self.raised),
            ("poisoning", self.poisonings),
            ("no space", self.no_space),
            ("open without space", self.not_durable),
            ("rotation", self.rotations),
            ("jumbo segment", self.jumbos),
            ("removal of segments", self.removed),
            ("open by index file", self.indexed),
            ("refused batch", self.rejected),
            ("second opener", self.locked),
            ("clean close", self.clean_closes),
            ("crash in open", self.died_at("open:")),
            ("crash in a carry", self.died_at("open: Write")),
            ("crash in an append", self.died_at("append:")),
            ("crash in publishing", self.died_at("Rename segment")),
            ("crash at HEAD", self.died_at("Write IDENT")),
            ("crash in removal", self.died_at("Remove segment")),
            ("crash at an index file", self.died_at("idx")),
            ("crash at a directory sync", self.died_at("SyncDir")),
        ];
        counts.into_iter().filter(|&(_, n)| n == 0).map(|(what, _)| what).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |kind: &str| self.failures.iter().filter(|f| f.starts_with(kind)).count();
        write!(
            f,
            "crash states: {} ({} distinct), histories: {}, opens: {}, carries: {}, raised: {}, \
             poisonings: {}, no space: {}, crashes inside an operation: {}, rotations: {}, jumbo \
             segments: {}, segments removed: {}, {} illegal, {} refused, {} panics",
            self.states,
            self.distinct.len(),
            self.histories,
            self.opens,
            self.carries,
            self.raised,
            self.poisonings,
            self.no_space,
            self.crashes_inside,
            self.rotations,
            self.jumbos,
            self.removed,
            of("ILLEGAL"),
            of("REFUSED"),
            of("PANIC"),
        )
    }
}
