//! Many groups of which nobody wants anything.

use crate::cluster::{Cluster, Node, Options};

/// Ticks between heartbeats: every other tick is one.
const HEARTBEAT_TICK: u32 = 2;

/// Groups of three nodes, each with its leader.
pub struct IdleGroups<N: Node> {
    groups: Vec<Cluster<N>>,
}

impl<N: Node> IdleGroups<N> {
    /// `count` groups, of which the next tick is without a heartbeat.
    pub fn new(count: usize) -> Self {
        let options = Options { batch_append: false, heartbeat_tick: HEARTBEAT_TICK };
        Self { groups: (0..count).map(|_| Cluster::new(3, options, false)).collect() }
    }

    /// Lets a tick pass on every node of every group.
    pub fn tick(&mut self) {
        self.groups.iter_mut().for_each(Cluster::tick);
    }

    /// How many groups have kept their leader.
    pub fn led(&self) -> usize {
        self.groups.iter().filter(|group| group.is_led()).count()
    }
}
