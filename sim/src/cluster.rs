//! The event loop: nodes, what happens to them, and the checks after it.

use fastrand::Rng;
use raft_core::{
    ConfState, Error, HardState, Message, MessageType, Peer, RawNode, Snapshot, SnapshotMetadata,
    SnapshotStatus,
};

use crate::checker::{Checked, Checker, broken};
use crate::machine::{Image, Machine};
use crate::network::Network;
use crate::node::{Node, Seen};
use crate::options::{Options, Plant};
use crate::queue::{Queue, TICK, Time};
use crate::shadow::Shadow;
use crate::stats::Stats;
use crate::store::{Batch, Store};
use crate::trace::Trace;

/// Something that happens to a node, or (the last) to the cluster. Those with a life happen in no
/// other.
#[derive(Debug)]
pub(crate) enum Event {
    Tick {
        node: usize,
        life: u64,
    },
    Deliver(Box<Message>),
    /// The append thread is done with a job.
    Appended {
        node: usize,
        life: u64,
    },
    /// The apply thread is done with a message.
    Applied {
        node: usize,
        life: u64,
    },
    /// Entries that were fetched for a peer are there.
    Fetched {
        node: usize,
        life: u64,
        to: u64,
    },
    /// What became of a snapshot.
    Report {
        node: usize,
        life: u64,
        to: u64,
        status: SnapshotStatus,
    },
    Unreachable {
        node: usize,
        life: u64,
        to: u64,
    },
    Restart {
        node: usize,
    },
    /// Somebody does something.
    Act,
}

/// A cluster in one thread. The same seed gives the same run.
pub struct Cluster<S: Store> {
    pub(crate) options: Options,
    pub(crate) rng: Rng,
    pub(crate) queue: Queue<Event>,
    pub(crate) network: Network,
    pub(crate) nodes: Vec<Node<S>>,
    pub(crate) checker: Checker,
    pub(crate) stats: Stats,
    pub(crate) trace: Trace,
    /// Nothing bad happens any more.
    pub(crate) calm: bool,
    /// Proposals and reads are numbered, to tell them apart.
    pub(crate) numbered: u64,
}

/// Where a cluster begins that is not bootstrapped.
const BEGIN: (u64, u64) = (5, 1);

impl<S: Store> Cluster<S> {
    /// Starts a cluster. `store` makes an empty storage for a node.
    ///
    /// # Errors
    /// If a node does not start.
    pub fn new(
        options: Options,
        mut rng: Rng,
        trace: Trace,
        store: impl Fn(&Options, Rng) -> S,
    ) -> Checked<Self> {
        let (begin, snapshot) = beginning(&options);
        let mut nodes = Vec::new();
        for id in 1..=options.nodes() {
            let store = store(&options, rng.fork());
            let mut machine = Machine::default();
            if let Some(snapshot) = snapshot.as_ref()
                && id <= options.voters + options.learners
            {
                let hard_state = HardState { term: BEGIN.1, vote: 0, commit: BEGIN.0 };
                let (snapshot, hard_state) = (Some(snapshot), Some(hard_state));
                let batch = Batch { snapshot, hard_state, entries: &[], sync: true };
                if let Err(e) = store.write(&batch) {
                    return broken("storage", e.to_string());
                }
                machine = Machine { now: begin.clone(), durable: begin.clone() };
            }
            nodes.push(Node::new(id, store, machine));
        }
        let term = if options.bootstrap { 0 } else { BEGIN.1 };
        let settled = if options.bootstrap { options.voters } else { 0 };
        let mut cluster = Self {
            checker: Checker::new(&begin, term, settled),
            network: Network::new(nodes.len()),
            queue: Queue::default(),
            stats: Stats::default(),
            calm: false,
            numbered: 0,
            options,
            rng,
            nodes,
            trace,
        };
        cluster.checker.blind_to_votes =
            matches!(cluster.options.plant, Plant::UncheckedVote | Plant::AckBeforeWrite);
        for n in 0..cluster.nodes.len() {
            cluster.start(n)?;
        }
        cluster.queue.after(1, Event::Act);
        if cluster.rng.bool() {
            // Otherwise a good part of a short run is spent on the first election.
            cluster.call(0, RawNode::campaign)?;
        }
        Ok(cluster)
    }

    /// Lets so many events happen.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn run(&mut self, events: u64) -> Checked {
        for _ in 0..events {
            self.step()?;
            self.stats.events += 1;
        }
        Ok(())
    }

    /// Counts so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Lets one event happen. There is always one: nodes tick.
    pub(crate) fn step(&mut self) -> Checked {
        let Some(event) = self.queue.take() else {
            return broken("the clock", "nothing is going to happen");
        };
        if !matches!(event, Event::Deliver(_)) {
            self.trace.note(self.queue.now(), || format!("{event:?}"));
        }
        match event {
            Event::Tick { node, life } if self.lives(node, life) => self.tick(node),
            Event::Deliver(message) => self.deliver(*message),
            Event::Appended { node, life } if self.lives(node, life) => {
                self.nodes[node].appending = false;
                self.append_done(node)?;
                self.pump(node)
            }
            Event::Applied { node, life } if self.lives(node, life) => {
                self.nodes[node].applying = false;
                self.apply_done(node)?;
                self.pump(node)
            }
            Event::Fetched { node, life, to } if self.lives(node, life) => {
                let purpose = raft_core::Fetch::Append { to };
                self.call(node, |raw| raw.on_entries_fetched(purpose))
            }
            Event::Report { node, life, to, status } if self.lives(node, life) => {
                self.call(node, |raw| raw.report_snapshot(to, status))
            }
            Event::Unreachable { node, life, to } if self.lives(node, life) => {
                self.call(node, |raw| raw.report_unreachable(to))
            }
            Event::Restart { node } if self.nodes[node].raw.is_none() => self.start(node),
            Event::Act if !self.calm => {
                let every = self.options.act_every;
                self.queue.after(1 + self.rng.u64(..every * 2), Event::Act);
                self.act()
            }
            _ => Ok(()),
        }
    }

    fn lives(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && self.nodes[node].raw.is_some()
    }

    fn tick(&mut self, n: usize) -> Checked {
        self.tick_later(n);
        self.call(n, RawNode::tick)
    }

    fn tick_later(&mut self, n: usize) {
        let node = &self.nodes[n];
        let period = if self.calm { TICK } else { node.period };
        self.queue.after(period, Event::Tick { node: n, life: node.life });
    }

    fn deliver(&mut self, message: Message) -> Checked {
        let to = message.to as usize - 1;
        self.trace.note(self.queue.now(), || {
            format!(
                "deliver {}",
                raft_core::describe::describe_message(&message, &|_| String::new())
            )
        });
        if self.nodes[to].raw.is_none() {
            self.stats.lost += 1;
            return Ok(());
        }
        self.call(to, |raw| raw.step(message))
    }

    /// Calls a node, judges the outcome, and does the work that comes of it.
    pub(crate) fn call(
        &mut self,
        n: usize,
        f: impl FnOnce(&mut RawNode<S>) -> Result<(), Error>,
    ) -> Checked {
        let Some(raw) = self.nodes[n].raw.as_mut() else { return Ok(()) };
        let outcome = f(raw);
        self.tolerate(n, outcome)?;
        self.pump(n)
    }

    /// Some calls may fail among sound nodes; most may not.
    pub(crate) fn tolerate(&mut self, n: usize, outcome: Result<(), Error>) -> Checked {
        let Err(e) = outcome else { return Ok(()) };
        let id = self.nodes[n].id;
        self.trace.note(self.queue.now(), || format!("{id}: {e}"));
        match e {
            Error::ProposalDropped(_) => self.stats.dropped += 1,
            Error::ReadDropped(_) | Error::PeerNotFound { .. } | Error::Refused(_) => {
                self.stats.refused += 1;
            }
            Error::Storage(e) if e.is_temporary() => self.stats.refused += 1,
            e => return broken("sound nodes agree", format!("{id}: {e}")),
        }
        Ok(())
    }

    /// Starts a node from what it has.
    pub(crate) fn start(&mut self, n: usize) -> Checked {
        let options = &self.options;
        let node = &mut self.nodes[n];
        node.machine.now = node.machine.durable.clone();
        if let Some(snapshot) = node.store.newest_snapshot()
            && snapshot.index() > node.machine.now.applied
        {
            let Some(image) = Image::of(&snapshot) else {
                return broken("snapshots", format!("{} has one that nobody made", node.id));
            };
            node.machine = Machine { now: image.clone(), durable: image };
        }
        node.store.set_conf_state(node.machine.now.conf_state.clone());
        let mut config = options.config_of(node.id, &mut self.rng);
        config.applied = node.machine.now.applied;
        let log = Shadow::of(&node.store).or_else(|e| broken("storage", e.to_string()))?;
        config.damaged = node.store.damaged().map(|lost| {
            // Whatever it has acknowledged, it has no more.
            raft_core::DamagedRange { low: lost.low, high: log.last() }
        });
        let damaged = config.damaged.is_some();
        if !damaged && log.last() > 0 {
            self.checker.stored(&node.store)?;
        }
        let raw = RawNode::new(&config, node.store.clone());
        let mut raw = raw.or_else(|e| broken("a node restarts", format!("{}: {e}", node.id)))?;
        if options.bootstrap && node.id <= options.voters && log == Shadow::default() {
            let peer = |id| Peer { id, context: bytes::Bytes::new() };
            let peers: Vec<Peer> = (1..=options.voters).map(peer).collect();
            let begun = raw.bootstrap(&peers);
            begun.or_else(|e| broken("a cluster begins", format!("{}: {e}", node.id)))?;
        }
        let status = raw.basic_status();
        self.checker.remembers(node.id, node.synced, status.hard_state)?;
        let skew = options.skew * TICK / 100;
        node.period = self.rng.u64(TICK - skew..=TICK + skew);
        let applied = node.machine.now.applied;
        node.seen = Seen { commit: status.hard_state.commit, applied, damaged, ..Seen::default() };
        if log == Shadow::default() {
            // What a bootstrap has committed is to be seen yet.
            node.seen.commit = 0;
        }
        node.shadow = log;
        node.raw = Some(raw);
        let first = self.rng.u64(1..=TICK);
        self.queue.after(first, Event::Tick { node: n, life: node.life });
        self.pump(n)
    }

    /// Cuts the power of a node. Writes in progress may be done or not, each whole.
    pub(crate) fn crash(&mut self, n: usize) -> Checked {
        let early = self.is_early();
        let node = &mut self.nodes[n];
        if node.raw.is_none() {
            return Ok(());
        }
        self.stats.crashes += 1;
        self.stats.unfinished_writes += node.jobs.len() as u64;
        let done = if early { 0 } else { self.rng.usize(..=node.jobs.len()) };
        for _ in 0..done {
            if let Some(job) = self.nodes[n].jobs.pop_front() {
                self.write(n, &job)?;
            }
        }
        let node = &mut self.nodes[n];
        node.store.crash(&mut self.rng);
        node.forget();
        self.plant_in_crash(n);
        Ok(())
    }

    /// When a message gets there, if it does.
    pub(crate) fn delay(&mut self) -> Time {
        let network = &self.options.network;
        if self.calm {
            return 1 + self.rng.u64(..10);
        }
        let delay = 1 + self.rng.u64(..network.delay_max);
        if self.rng.u32(..1000) < network.straggle { delay * 50 } else { delay }
    }

    /// Gives a message to the network.
    pub(crate) fn transmit(&mut self, n: usize, message: Message) {
        self.stats.messages += 1;
        let (life, to) = (self.nodes[n].life, message.to);
        let at = to as usize - 1;
        let snapshot = message.kind() == Some(MessageType::Snapshot);
        let NetworkLuck { lost, repeated, unreachable } = self.luck(n, at, snapshot);
        if lost {
            self.stats.lost += 1;
            let delay = self.delay();
            if snapshot {
                let status = SnapshotStatus::Failure;
                self.queue.after(delay, Event::Report { node: n, life, to, status });
            } else if unreachable {
                self.queue.after(delay, Event::Unreachable { node: n, life, to });
            }
            return;
        }
        if snapshot {
            self.stats.snapshots_sent += 1;
            let (delay, status) = (self.delay(), SnapshotStatus::Finish);
            self.queue.after(delay, Event::Report { node: n, life, to, status });
        }
        if repeated {
            self.stats.repeated += 1;
            let delay = self.delay();
            let message = self.impostor(message.clone());
            self.queue.after(delay, Event::Deliver(Box::new(message)));
        }
        let delay = self.delay();
        self.queue.after(delay, Event::Deliver(Box::new(message)));
    }

    fn luck(&mut self, from: usize, to: usize, snapshot: bool) -> NetworkLuck {
        let network = &self.options.network;
        let lost = !self.network.passes(from, to) || self.nodes[to].raw.is_none();
        if self.calm {
            return NetworkLuck { lost, repeated: false, unreachable: true };
        }
        let mut with = |thousandths: u32| thousandths > 0 && self.rng.u32(..1000) < thousandths;
        let lost = lost || with(network.loss) || (snapshot && with(network.snapshot_loss));
        let repeated = with(network.repeat);
        NetworkLuck { lost, repeated, unreachable: with(network.report_unreachable) }
    }
}

struct NetworkLuck {
    lost: bool,
    repeated: bool,
    unreachable: bool,
}

/// The state machine of every member, and the snapshot with it.
fn beginning(options: &Options) -> (Image, Option<Snapshot>) {
    if options.bootstrap {
        return (Image::default(), None);
    }
    let (index, term) = BEGIN;
    let voters = (1..=options.voters).collect();
    let learners = (options.voters + 1..=options.voters + options.learners).collect();
    let conf_state = ConfState { voters, learners, ..ConfState::default() };
    let image = Image { applied: index, chain: 7, conf_state: conf_state.clone() };
    let metadata = Some(SnapshotMetadata { conf_state: Some(conf_state), index, term });
    let snapshot = Snapshot { data: image.data(), metadata };
    (image, Some(snapshot))
}
