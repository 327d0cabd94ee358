//! What is measured.

use crate::cluster::{Cluster, Node, Options, Proposing};

/// One line of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Members of the group.
    pub nodes: u64,
    /// Proposals between two rounds of work.
    pub batch: u64,
    /// How they are proposed.
    pub how: Proposing,
    /// Whether waiting appends are lengthened.
    pub batch_append: bool,
    /// Whether messages are encoded and decoded on their way.
    pub encode: bool,
}

const fn case(nodes: u64, batch: u64, encode: bool) -> Case {
    Case { nodes, batch, how: Proposing::Each, batch_append: false, encode }
}

const fn lengthened(encode: bool) -> Case {
    Case { batch_append: true, ..case(3, 64, encode) }
}

const fn together(nodes: u64, encode: bool) -> Case {
    Case { how: Proposing::Together, ..case(nodes, 64, encode) }
}

/// All lines.
pub const CASES: [Case; 11] = [
    case(1, 1, false),
    case(1, 64, false),
    together(1, false),
    case(3, 1, false),
    case(3, 64, false),
    lengthened(false),
    together(3, false),
    case(3, 1, true),
    case(3, 64, true),
    lengthened(true),
    together(3, true),
];

impl Case {
    /// The beginning of its line.
    pub fn name(&self) -> String {
        let how = match (self.how, self.batch_append) {
            (Proposing::Together, _) => ", one message",
            (Proposing::Each, true) => ", batch_append",
            (Proposing::Each, false) => "",
        };
        let encoded = if self.encode { ", encoded" } else { "" };
        format!("{} / {}{how}{encoded}", self.nodes, self.batch)
    }
}

/// A group on which a case is run.
pub struct Driven<N: Node> {
    case: Case,
    cluster: Cluster<N>,
}

impl<N: Node> Driven<N> {
    /// A group that has gone through as many proposals as two compactions need.
    pub fn new(case: Case, warm_up: u64) -> Self {
        let options = Options { batch_append: case.batch_append, heartbeat_tick: 1 };
        let mut driven = Self { case, cluster: Cluster::new(case.nodes, options, case.encode) };
        driven.run(warm_up);
        driven
    }

    /// Proposes about `proposals` proposals, until everybody has applied them. Returns how many
    /// there were.
    ///
    /// # Panics
    /// If some are not applied.
    pub fn run(&mut self, proposals: u64) -> u64 {
        let batches = proposals.div_ceil(self.case.batch);
        let (before, _) = self.cluster.applied();
        self.cluster.propose(batches, self.case.batch, self.case.how);
        let (after, _) = self.cluster.applied();
        assert_eq!(after - before, batches * self.case.batch, "proposals that were not applied");
        after - before
    }
}
