//! A group of nodes in one thread: messages are passed by value, or encoded and decoded.

use std::mem;

use crate::PAYLOAD;

/// What both kinds of node are told. Everything else is set to the same in both, too.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether appends that wait to be sent are lengthened rather than followed by another.
    pub batch_append: bool,
    /// Ticks between heartbeats; ten times as many are an election timeout.
    pub heartbeat_tick: u32,
}

/// How a batch is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proposing {
    /// Each proposal by itself.
    Each,
    /// All in one message.
    Together,
}

/// One member of a group, with its storage in memory and a state machine. Every method expects
/// success: in these groups nothing can fail.
pub trait Node: Sized {
    /// What nodes say to each other.
    type Message;

    /// A follower of a new group.
    fn new(id: u64, voters: &[u64], options: Options) -> Self;
    /// Begins an election.
    fn campaign(&mut self);
    /// Lets a tick pass.
    fn tick(&mut self);
    /// Proposes one entry.
    fn propose(&mut self, payload: Vec<u8>);
    /// Proposes several entries in one message.
    fn propose_together(&mut self, payloads: impl Iterator<Item = Vec<u8>>);
    /// Takes a message.
    fn step(&mut self, message: Self::Message);
    /// Whether there is something to do.
    fn has_ready(&self) -> bool;
    /// Does it, once: writes, sends, applies, advances, compacts when that is due.
    fn work(&mut self, send: impl FnMut(Self::Message));
    /// How many proposals this node has applied, and what it saw in them.
    fn applied(&self) -> (u64, u64);
    /// Whether it leads.
    fn leads(&self) -> bool;
    /// To whom a message goes.
    fn receiver(message: &Self::Message) -> u64;
    /// Encodes a message and decodes it, as on its way through a network.
    fn travel(message: Self::Message) -> Self::Message;
}

/// A group with ids from 1, of which the first leads.
pub struct Cluster<N: Node> {
    nodes: Vec<N>,
    inboxes: Vec<Vec<N::Message>>,
    encode: bool,
}

impl<N: Node> Cluster<N> {
    /// A group that has elected its first node.
    ///
    /// # Panics
    /// If that is not so.
    pub fn new(nodes: u64, options: Options, encode: bool) -> Self {
        let ids: Vec<u64> = (1..=nodes).collect();
        let mut cluster = Self {
            nodes: ids.iter().map(|id| N::new(*id, &ids, options)).collect(),
            inboxes: ids.iter().map(|_| Vec::new()).collect(),
            encode,
        };
        cluster.nodes[0].campaign();
        cluster.settle();
        assert!(cluster.nodes[0].leads(), "the first node campaigned and does not lead");
        cluster
    }

    /// Proposes `batches` batches of `size`, each when everybody has applied the one before.
    pub fn propose(&mut self, batches: u64, size: u64, how: Proposing) {
        for batch in 0..batches {
            let payload = || vec![batch as u8; PAYLOAD];
            let leader = &mut self.nodes[0];
            match how {
                Proposing::Each => (0..size).for_each(|_| leader.propose(payload())),
                Proposing::Together => leader.propose_together((0..size).map(|_| payload())),
            }
            self.settle();
        }
    }

    /// Lets a tick pass, and whatever it brings about.
    pub fn tick(&mut self) {
        self.nodes.iter_mut().for_each(N::tick);
        self.settle();
    }

    /// Runs until nobody has anything to do: in turns, each takes all its messages, then does what
    /// they amount to.
    fn settle(&mut self) {
        let mut busy = true;
        while mem::take(&mut busy) {
            for at in 0..self.nodes.len() {
                let node = &mut self.nodes[at];
                for message in self.inboxes[at].drain(..) {
                    node.step(message);
                }
                if !node.has_ready() {
                    continue;
                }
                busy = true;
                let (inboxes, encode) = (&mut self.inboxes, self.encode);
                node.work(|message| {
                    let to = N::receiver(&message) as usize - 1;
                    inboxes[to].push(if encode { N::travel(message) } else { message });
                });
            }
        }
    }

    /// How many proposals everybody has applied, and what was in them.
    ///
    /// # Panics
    /// If the nodes have applied different things.
    pub fn applied(&self) -> (u64, u64) {
        let of_leader = self.nodes[0].applied();
        assert!(self.nodes.iter().all(|node| node.applied() == of_leader), "followers lag behind");
        of_leader
    }

    /// Whether the first node leads still.
    pub fn is_led(&self) -> bool {
        self.nodes[0].leads()
    }
}
