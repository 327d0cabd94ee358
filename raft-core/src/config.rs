//! The knobs of a node.

use crate::error::{Error, Result};
use crate::log::MAX_INDEX;
use crate::{LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD};

/// How a read index is confirmed (thesis, section 6.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReadOnlyOption {
    /// By a round of heartbeats: linearizable whatever the clocks do.
    #[default]
    Safe,
    /// By the leader's lease: no round (but one once leadership was to be handed over). Needs
    /// [`Config::check_quorum`]. The leader looks at its quorum once in an election timeout, so one
    /// that is cut off can serve reads up to one election timeout after another was elected,
    /// longer if its clock stands still; and after a quorum restarts, unless
    /// [`Config::lease_from_boot`] is on. It is etcd's lease. Not for reads that must be
    /// linearizable.
    LeaseBased,
}

/// Entries that the storage had and has lost, as a degraded recovery names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DamagedRange {
    /// The first lost index.
    pub low: u64,
    /// The last lost index; where the log's end is lost, the last that may have been there. If
    /// nobody knows that, the member is lost: remove it, and add it under another id.
    pub high: u64,
}

/// What a node is told when it is made. [`Config::default`] gives every knob but the id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent knobs, each switched by itself")]
pub struct Config {
    /// Who the node is: not 0, nor one of the storage threads' ids.
    pub id: u64,
    /// Ticks without a leader after which a follower campaigns, drawn anew from
    /// `[election_tick, 2 * election_tick)` each time. Default 10.
    pub election_tick: u32,
    /// Ticks between the leader's heartbeats, fewer than `election_tick`. Default 1.
    pub heartbeat_tick: u32,
    /// With `max_election_tick`: the range `[min, max)` to draw from instead. 0: as above.
    pub min_election_tick: u32,
    /// See `min_election_tick`.
    pub max_election_tick: u32,
    /// The last index that the application has applied durably; entries above it are handed out
    /// again. 0: what the log's snapshot covers.
    pub applied: u64,
    /// Storage work goes out as messages to the storage threads, with the messages to be sent when
    /// it is done inside. Default off: [`crate::RawNode::advance`] says that it is done.
    pub async_storage_writes: bool,
    /// Bytes of encoded entries in one append message; at least one entry always. Default 1 MiB.
    pub max_size_per_msg: u64,
    /// Bytes of encoded entries handed out for application and not applied yet; at least one entry
    /// always. 0: `max_size_per_msg`.
    pub max_committed_size_per_ready: u64,
    /// Payload bytes proposed and not yet applied above which proposals are dropped. 0: no limit.
    /// Default 0. A proposal is accepted whatever its size where nothing is uncommitted.
    pub max_uncommitted_size: u64,
    /// Append messages in flight to one follower. Default 256.
    pub max_inflight_msgs: usize,
    /// Payload bytes in flight to one follower, exceeded by at most one message. 0: no limit.
    /// Default 0.
    pub max_inflight_bytes: u64,
    /// A leader that does not hear from a quorum for an election timeout steps down, and members
    /// that hear from a leader ignore candidates (thesis, sections 6.2 and 4.2.3). Default on.
    pub check_quorum: bool,
    /// Candidates ask first whether they would win, without disturbing anybody (thesis, section
    /// 9.6). Default on.
    pub pre_vote: bool,
    /// How reads are confirmed. Default [`ReadOnlyOption::Safe`].
    pub read_only_option: ReadOnlyOption,
    /// After a start the node ignores candidates for `election_tick` ticks, as if it had just heard
    /// from a leader: what leases need when a quorum restarts. Needs `check_quorum`. Default off.
    pub lease_from_boot: bool,
    /// Followers drop proposals instead of forwarding them. Default off.
    pub disable_proposal_forwarding: bool,
    /// The leader accepts configuration changes that are sure or likely to fail. Default off.
    pub disable_conf_change_validation: bool,
    /// A leader that is removed or demoted steps down at once. Default off: it goes on, without a
    /// vote of its own, until the others know that it is removed and somebody else campaigns or the
    /// application stops it. On, it may leave before it has told anybody that its removal is
    /// committed, and if its log is the longest then the rest cannot elect: transfer leadership
    /// before removing a leader.
    pub step_down_on_removal: bool,
    /// A voter refuses candidates of a lower priority whose log is no better than its own, if it
    /// could lead itself and no leader hands over to them. Default 0; the same everywhere means
    /// none.
    pub priority: i64,
    /// Appends that wait to be sent are lengthened rather than followed by another. Default off.
    pub batch_append: bool,
    /// Requests for a read index that wait for the first commit of the term, or for a quorum.
    /// Default 4096.
    pub max_postponed_reads: usize,
    /// Of the random election timeouts, mixed with the id. Best another one at each start, such as
    /// the time; tests need the same each time.
    pub seed: u64,
    /// The log has a hole: the node neither votes nor campaigns nor acknowledges appends until a
    /// snapshot covers the whole log or [`crate::RawNode::mark_whole`] is called. Default none.
    pub damaged: Option<DamagedRange>,
    /// After every call the node looks whether it is in a possible state, and says
    /// [`Error::Invariant`] if not. Costs some hundred nanoseconds a call. Default off.
    pub check_invariants: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            id: 0,
            election_tick: 10,
            heartbeat_tick: 1,
            min_election_tick: 0,
            max_election_tick: 0,
            applied: 0,
            async_storage_writes: false,
            max_size_per_msg: 1 << 20,
            max_committed_size_per_ready: 0,
            max_uncommitted_size: 0,
            max_inflight_msgs: 256,
            max_inflight_bytes: 0,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ReadOnlyOption::Safe,
            lease_from_boot: false,
            disable_proposal_forwarding: false,
            disable_conf_change_validation: false,
            step_down_on_removal: false,
            priority: 0,
            batch_append: false,
            max_postponed_reads: 4096,
            seed: 0,
            damaged: None,
            check_invariants: false,
        }
    }
}

impl Config {
    /// The defaults for a node, with the seed that its id gives.
    pub fn new(id: u64) -> Self {
        Self { id, seed: id, ..Self::default() }
    }

    /// Whether the knobs go together. [`crate::RawNode::new`] asks.
    ///
    /// # Errors
    /// [`Error::Config`] with the rule that is broken.
    pub fn validate(&self) -> Result<()> {
        let (low, high) = self.election_range();
        let broken = [
            (self.id == 0, "the id must not be 0"),
            (
                self.id == LOCAL_APPEND_THREAD || self.id == LOCAL_APPLY_THREAD,
                "the id is that of a storage thread",
            ),
            (self.heartbeat_tick == 0, "heartbeat_tick must not be 0"),
            (
                self.election_tick <= self.heartbeat_tick,
                "election_tick must be greater than heartbeat_tick",
            ),
            (
                (self.min_election_tick == 0) != (self.max_election_tick == 0),
                "min_election_tick and max_election_tick go together",
            ),
            (
                self.min_election_tick != 0 && self.min_election_tick < self.election_tick,
                "min_election_tick must be at least election_tick",
            ),
            (low >= high, "max_election_tick must be greater than min_election_tick"),
            (self.max_inflight_msgs == 0, "max_inflight_msgs must not be 0"),
            (
                self.max_inflight_bytes != 0 && self.max_inflight_bytes < self.max_size_per_msg,
                "max_inflight_bytes must be at least max_size_per_msg",
            ),
            (
                self.read_only_option == ReadOnlyOption::LeaseBased && !self.check_quorum,
                "lease-based reads need check_quorum",
            ),
            (self.lease_from_boot && !self.check_quorum, "lease_from_boot needs check_quorum"),
            (self.max_postponed_reads == 0, "max_postponed_reads must not be 0"),
            (
                self.damaged.is_some_and(|d| d.low == 0 || d.low > d.high || d.high > MAX_INDEX),
                "a damaged range begins at 1 or above, is not empty, and has an end",
            ),
        ];
        match broken.into_iter().find(|(broken, _)| *broken) {
            Some((_, rule)) => Err(Error::Config(rule)),
            None => Ok(()),
        }
    }

    /// Election timeouts are drawn from `[low, high)`.
    pub(crate) fn election_range(&self) -> (u32, u32) {
        if self.min_election_tick != 0 || self.max_election_tick != 0 {
            return (self.min_election_tick, self.max_election_tick);
        }
        (self.election_tick, self.election_tick.saturating_mul(2))
    }
}
