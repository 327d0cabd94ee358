//! What one seed draws before anything happens: the cluster, its knobs, its network and its luck.

use fastrand::Rng;
use raft_core::{Config, ReadOnlyOption};

use crate::queue::Time;

/// A bug that a driver, a disk or a network could have. Planted, so that the checker is seen to
/// find it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Plant {
    /// None.
    #[default]
    Nothing,
    /// A restarted node does not remember for whom it voted.
    ForgottenVote,
    /// The same, where nobody looks at single votes.
    UncheckedVote,
    /// Promises leave before they are written, where nobody knows of it.
    UnsyncedPromise,
    /// A restarted node has the term that it had when it was made.
    ForgottenTerm,
    /// Messages leave, and own acknowledgements count, before anything is written.
    AckBeforeWrite,
    /// A crash takes the last entry, though it was durable.
    LostTail,
    /// A crash loses a range of the log and everything behind, and nobody tells the node.
    UntoldDamage,
    /// A repeated answer is taken for one of another node.
    Impostor,
    /// Reads are answered by whoever is asked, with its own commit index.
    LocalReads,
    /// A state machine leaves out an entry after a restart.
    SkippedEntry,
    /// A state machine begins again where it had been before a flush.
    AppliedTwice,
    /// A snapshot has the configuration of a later index.
    SnapshotOfLater,
    /// A node does not switch to a configuration that it applies.
    UnappliedChange,
    /// The append thread does its work in another order.
    UnorderedWrites,
    /// A write of entries leaves what was behind them where it was.
    NoTruncation,
}

/// How likely things are that somebody, or nature, does to the cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weights {
    pub(crate) propose: u32,
    pub(crate) change: u32,
    pub(crate) transfer: u32,
    pub(crate) campaign: u32,
    pub(crate) forget: u32,
    pub(crate) read: u32,
    pub(crate) crash: u32,
    pub(crate) damage: u32,
    pub(crate) partition: u32,
    pub(crate) snapshot: u32,
    pub(crate) flush: u32,
    pub(crate) request: u32,
}

/// The network's luck. Probabilities are in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkOptions {
    pub(crate) loss: u32,
    pub(crate) repeat: u32,
    pub(crate) straggle: u32,
    pub(crate) delay_max: Time,
    pub(crate) snapshot_loss: u32,
    pub(crate) report_unreachable: u32,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) voters: u64,
    pub(crate) learners: u64,
    pub(crate) spares: u64,
    /// Members are bootstrapped; else they begin with a snapshot.
    pub(crate) bootstrap: bool,
    pub(crate) config: Config,
    /// Nodes draw these for themselves, as in the middle of a change of the configuration.
    pub(crate) mixed_pre_vote: bool,
    pub(crate) priorities: bool,
    /// Of a clock, in hundredths.
    pub(crate) skew: u64,
    pub(crate) network: NetworkOptions,
    /// Of the append and of the apply thread; 0 is at once.
    pub(crate) append_delay: Time,
    pub(crate) apply_delay: Time,
    pub(crate) fetch_one_in: u32,
    pub(crate) act_every: Time,
    pub(crate) weights: Weights,
    pub(crate) payload_max: usize,
    pub(crate) plant: Plant,
}

impl Options {
    /// Draws everything.
    pub fn draw(rng: &mut Rng, plant: Plant) -> Self {
        let voters = rng.choice([1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7]).unwrap_or(3);
        let mut options = Self {
            voters,
            learners: rng.choice([0, 0, 0, 1, 1, 2]).unwrap_or(0),
            spares: rng.choice([0, 1, 1, 2, 3]).unwrap_or(1),
            bootstrap: rng.u8(..3) == 0,
            config: config(rng),
            mixed_pre_vote: rng.u8(..10) == 0,
            priorities: rng.u8(..5) == 0,
            skew: if rng.bool() { 0 } else { rng.u64(1..40) },
            network: network(rng),
            append_delay: rng.choice([0, 0, 10, 50, 200]).unwrap_or(0),
            apply_delay: rng.choice([0, 0, 10, 50, 300]).unwrap_or(0),
            fetch_one_in: rng.choice([0, 0, 0, 3]).unwrap_or(0),
            act_every: rng.choice([15, 30, 60, 100]).unwrap_or(50),
            weights: weights(rng),
            payload_max: rng.choice([8, 40, 300]).unwrap_or(40),
            plant,
        };
        if options.config.read_only_option == ReadOnlyOption::LeaseBased {
            options.mixed_pre_vote = false;
        }
        if options.bootstrap {
            options.learners = 0;
        }
        plant_needs(plant, rng, &mut options);
        options
    }

    /// How many nodes there are, members or not.
    pub(crate) fn nodes(&self) -> u64 {
        self.voters + self.learners + self.spares
    }

    /// The knobs of one node, but for what it remembers.
    pub(crate) fn config_of(&self, id: u64, rng: &mut Rng) -> Config {
        let mut config = Config { id, seed: rng.u64(..), ..self.config.clone() };
        if self.mixed_pre_vote {
            config.pre_vote = rng.bool();
        }
        if self.priorities {
            config.priority = rng.i64(-1..=1);
        }
        config
    }
}

fn config(rng: &mut Rng) -> Config {
    let election_tick = rng.u32(2..=8);
    let (min, max) = match rng.u8(..6) {
        0 => (election_tick, election_tick + rng.u32(2..10)),
        _ => (0, 0),
    };
    let check_quorum = rng.bool();
    let lease = check_quorum && rng.u8(..3) == 0;
    let max_size_per_msg = rng.choice([0, 60, 200, 1 << 20]).unwrap_or(0);
    Config {
        election_tick,
        heartbeat_tick: if election_tick > 3 { rng.u32(1..3) } else { 1 },
        min_election_tick: min,
        max_election_tick: max,
        async_storage_writes: rng.bool(),
        max_size_per_msg,
        max_committed_size_per_ready: rng.choice([0, 0, 1, 100]).unwrap_or(0),
        max_uncommitted_size: rng.choice([0, 0, 64, 1000]).unwrap_or(0),
        max_inflight_msgs: rng.choice([1, 2, 4, 256]).unwrap_or(4),
        max_inflight_bytes: if rng.bool() { 0 } else { max_size_per_msg.max(1) * 2 },
        check_quorum,
        pre_vote: rng.bool(),
        read_only_option: if lease { ReadOnlyOption::LeaseBased } else { ReadOnlyOption::Safe },
        lease_from_boot: check_quorum && rng.bool(),
        disable_proposal_forwarding: rng.u8(..6) == 0,
        step_down_on_removal: rng.bool(),
        batch_append: rng.bool(),
        max_postponed_reads: rng.choice([1, 3, 4096]).unwrap_or(3),
        check_invariants: true,
        ..Config::default()
    }
}

fn network(rng: &mut Rng) -> NetworkOptions {
    let mut rare = |max: u32| if rng.bool() { 0 } else { rng.u32(..max) };
    let (loss, repeat, straggle) = (rare(300), rare(200), rare(50));
    NetworkOptions {
        loss,
        repeat,
        straggle,
        snapshot_loss: rare(500),
        report_unreachable: rare(1000),
        delay_max: rng.choice([1, 5, 10, 10, 30, 30, 100, 300]).unwrap_or(10),
    }
}

/// Each thing happens often, seldom or never.
fn weights(rng: &mut Rng) -> Weights {
    let mut some = |max: u32| rng.choice([0, 1, max / 4 + 1, max]).unwrap_or(1);
    Weights {
        propose: 20 + some(60),
        change: some(20),
        transfer: some(6),
        campaign: some(4),
        forget: some(4),
        read: some(30),
        crash: some(6),
        damage: some(3),
        partition: some(6),
        snapshot: some(10),
        flush: some(10),
        request: some(3),
    }
}

/// What has to happen for a planted bug to matter.
fn plant_needs(plant: Plant, rng: &mut Rng, options: &mut Options) {
    let Options { weights, config, .. } = options;
    match plant {
        Plant::Nothing => return,
        Plant::NoTruncation => weights.partition = 20,
        Plant::LocalReads => {
            config.read_only_option = ReadOnlyOption::Safe;
            weights.read = 40;
        }
        Plant::SnapshotOfLater | Plant::UnappliedChange => {
            weights.change = 40;
            weights.snapshot = 20;
        }
        Plant::UnorderedWrites => {
            config.async_storage_writes = true;
            options.append_delay = 300;
        }
        Plant::AckBeforeWrite | Plant::UnsyncedPromise => options.append_delay = 300,
        _ => {}
    }
    weights.crash = weights.crash.max(10 + rng.u32(..20));
    weights.campaign = weights.campaign.max(5);
}
