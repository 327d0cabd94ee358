//! Who can reach whom.

use fastrand::Rng;

/// Links between nodes, each one way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    nodes: usize,
    /// By sender and receiver: whether nothing passes.
    cut: Vec<bool>,
}

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { nodes, cut: vec![false; nodes * nodes] }
    }

    /// Whether messages pass from one node to another.
    pub(crate) fn passes(&self, from: usize, to: usize) -> bool {
        !self.cut[from * self.nodes + to]
    }

    pub(crate) fn heal(&mut self) {
        self.cut.fill(false);
    }

    fn cut_where(&mut self, cut: impl Fn(usize, usize) -> bool) {
        for from in 0..self.nodes {
            for to in 0..self.nodes {
                self.cut[from * self.nodes + to] |= cut(from, to);
            }
        }
    }

    /// Cuts some links: two halves from each other, one node off, one direction, one link, or all
    /// but one node from each other.
    pub(crate) fn partition(&mut self, rng: &mut Rng) {
        let one = rng.usize(..self.nodes);
        let other = rng.usize(..self.nodes);
        match rng.u8(..6) {
            0 | 1 => {
                let side: Vec<bool> = (0..self.nodes).map(|_| rng.bool()).collect();
                self.cut_where(|from, to| side[from] != side[to]);
            }
            2 => self.cut_where(|from, to| (from == one) != (to == one)),
            3 if rng.bool() => self.cut_where(|from, to| from == one && to != one),
            3 => self.cut_where(|from, to| from != one && to == one),
            4 => self.cut_where(|from, to| from == one && to == other),
            _ => {
                let side: Vec<bool> = (0..self.nodes).map(|_| rng.bool()).collect();
                self.cut_where(|from, to| from != one && to != one && side[from] != side[to]);
            }
        }
    }
}
