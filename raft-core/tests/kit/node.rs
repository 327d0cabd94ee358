//! A node of a cluster: the state machine, its storage, and an application that appends.

use crate::changes::from_entry;
use crate::datadriven::Directive;
use crate::tables::flag;
use raft_core::{
    ConfState, Config, DamagedRange, Entry, EntryType, Fetch, HardState, InitialState,
    MemoryStorage, Message, RawNode, ReadOnlyOption, Snapshot, SnapshotMetadata, Storage,
    StorageError,
};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// The log in memory, with the application's latest state as the snapshot.
#[derive(Clone)]
pub(crate) struct NodeStorage {
    pub(crate) memory: MemoryStorage,
    /// The application's states, oldest first; never empty.
    pub(crate) history: Rc<RefCell<Vec<Snapshot>>>,
    /// Whether entries for followers come later, see [`StorageError::LogTemporarilyUnavailable`].
    pub(crate) log_away: Rc<Cell<bool>>,
    /// Whether a snapshot cannot be had for now.
    pub(crate) snapshot_away: Rc<Cell<bool>>,
}

impl NodeStorage {
    /// The application's latest state.
    pub(crate) fn latest(&self) -> Snapshot {
        self.history.borrow().last().cloned().unwrap_or_default()
    }
}

impl Storage for NodeStorage {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.memory.initial_state()
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_bytes: u64,
        purpose: Fetch,
    ) -> Result<Vec<Entry>, StorageError> {
        if self.log_away.get() && matches!(purpose, Fetch::Append { .. }) {
            return Err(StorageError::LogTemporarilyUnavailable);
        }
        self.memory.entries(low, high, max_bytes, purpose)
    }

    fn term(&self, index: u64) -> Result<u64, StorageError> {
        self.memory.term(index)
    }

    fn first_index(&self) -> Result<u64, StorageError> {
        self.memory.first_index()
    }

    fn last_index(&self) -> Result<u64, StorageError> {
        self.memory.last_index()
    }

    fn snapshot(&self, at_least: u64, _to: u64) -> Result<Snapshot, StorageError> {
        let latest = self.latest();
        if self.snapshot_away.get() || latest.index() < at_least {
            return Err(StorageError::SnapshotTemporarilyUnavailable);
        }
        Ok(latest)
    }
}

/// A node, and what waits for its storage threads.
pub(crate) struct Node {
    pub(crate) raw: RawNode<NodeStorage>,
    pub(crate) storage: NodeStorage,
    pub(crate) config: Config,
    pub(crate) append_work: VecDeque<Message>,
    pub(crate) apply_work: VecDeque<Message>,
}

impl Node {
    /// The node `id` as `add-nodes` describes it.
    pub(crate) fn new(id: u64, directive: &Directive) -> Result<Self, String> {
        let mut config = base_config(id);
        let mut bootstrap = SnapshotMetadata { index: 0, term: 1, conf_state: None };
        let mut members = ConfState::default();
        let mut bootstrapped = false;
        for arg in &directive.args {
            let Some(value) = arg.values.first() else { continue };
            match arg.key.as_str() {
                "voters" => members.voters = numbers(&arg.values)?,
                "learners" => members.learners = numbers(&arg.values)?,
                "index" => {
                    bootstrap.index = number(value)?;
                    config.applied = bootstrap.index;
                }
                _ => set_option(&mut config, directive, &arg.key, &arg.values)?,
            }
            bootstrapped |= matches!(arg.key.as_str(), "voters" | "learners" | "index");
        }
        let mut first = Snapshot::default();
        let memory = MemoryStorage::new();
        if bootstrapped {
            if bootstrap.index <= 1 {
                return Err("index must be specified as > 1 due to bootstrap".to_owned());
            }
            bootstrap.conf_state = Some(members);
            first.metadata = Some(bootstrap);
            memory.apply_snapshot(first.clone()).map_err(|error| error.to_string())?;
        }
        let storage = NodeStorage {
            memory,
            history: Rc::new(RefCell::new(vec![first])),
            log_away: Rc::default(),
            snapshot_away: Rc::default(),
        };
        let raw = RawNode::new(&config, storage.clone()).map_err(|error| error.to_string())?;
        Ok(Self { raw, storage, config, append_work: VecDeque::new(), apply_work: VecDeque::new() })
    }

    /// Whether its storage threads are messages.
    pub(crate) fn is_async(&self) -> bool {
        self.config.async_storage_writes
    }

    /// Stores what a Ready, or a message to the append thread, says is to be durable.
    pub(crate) fn store(
        &self,
        hard_state: HardState,
        entries: &[Entry],
        snapshot: Option<&Snapshot>,
    ) -> Result<(), String> {
        let memory = &self.storage.memory;
        if hard_state != HardState::default() {
            memory.set_hard_state(hard_state);
        }
        let stored = match snapshot.filter(|snapshot| !snapshot.is_empty()) {
            Some(_) if !entries.is_empty() => {
                return Err("can't apply snapshot and entries at the same time".to_owned());
            }
            Some(snapshot) => memory.apply_snapshot(snapshot.clone()),
            None => memory.append(entries),
        };
        stored.map_err(|error| error.to_string())
    }

    /// Applies committed entries: the state grows by the payload of each.
    pub(crate) fn apply(&mut self, entries: &[Entry]) -> Result<(), String> {
        for entry in entries {
            let mut state = self.storage.latest();
            let mut conf_state = state.conf_state();
            let mut grown = state.data.to_vec();
            if entry.entry_type() == EntryType::Normal {
                grown.extend_from_slice(&entry.data);
            } else {
                let change = from_entry(entry)?;
                grown.extend_from_slice(&change.context);
                let applied = self.raw.apply_conf_change(entry.index, &change);
                conf_state = applied
                    .map_err(|error| error.to_string())?
                    .unwrap_or_else(|| self.raw.status().config.conf_state());
            }
            state.data = grown.into();
            let (index, term) = (entry.index, entry.term);
            state.metadata = Some(SnapshotMetadata { conf_state: Some(conf_state), index, term });
            self.storage.history.borrow_mut().push(state);
        }
        Ok(())
    }

    /// Begins again with what is stored, and the application's state at `applied`, or the latest.
    pub(crate) fn restart(&mut self, directive: &Directive) -> Result<(), String> {
        self.append_work.clear();
        self.apply_work.clear();
        let applied = match directive.value("applied") {
            Some(applied) => number(applied)?,
            None => self.storage.latest().index(),
        };
        self.storage.history.borrow_mut().retain(|state| state.index() <= applied);
        self.config.applied = applied;
        self.config.damaged = None;
        if let Some(range) = directive.values("damaged") {
            set_option(&mut self.config, directive, "damaged", range)?;
        }
        if directive.value("members") == Some("applied") {
            self.storage.memory.set_conf_state(self.storage.latest().conf_state());
        }
        let raw = RawNode::new(&self.config, self.storage.clone());
        self.raw = raw.map_err(|error| error.to_string())?;
        Ok(())
    }
}

fn base_config(id: u64) -> Config {
    Config {
        id,
        seed: id,
        election_tick: 3,
        heartbeat_tick: 1,
        max_size_per_msg: u64::MAX,
        max_inflight_msgs: i32::MAX as usize,
        check_quorum: false,
        pre_vote: false,
        step_down_on_removal: false,
        check_invariants: true,
        ..Config::default()
    }
}

/// Sets one option; keys that are not known are none of ours.
fn set_option(
    config: &mut Config,
    directive: &Directive,
    key: &str,
    values: &[String],
) -> Result<(), String> {
    let value = values[0].as_str();
    match key {
        "inflight" => config.max_inflight_msgs = number(value)? as usize,
        "max-inflight-bytes" => config.max_inflight_bytes = number(value)?,
        "max-size-per-msg" => config.max_size_per_msg = number(value)?,
        "max-committed-size-per-ready" => config.max_committed_size_per_ready = number(value)?,
        "max-uncommitted-size" => config.max_uncommitted_size = number(value)?,
        "election-tick" => config.election_tick = number(value)? as u32,
        "min-election-tick" => config.min_election_tick = number(value)? as u32,
        "max-election-tick" => config.max_election_tick = number(value)? as u32,
        "max-postponed-reads" => config.max_postponed_reads = number(value)? as usize,
        "priority" => {
            config.priority = value.parse().map_err(|_| format!("{value} is no priority"))?;
        }
        "damaged" => {
            let range = numbers(values)?;
            let [low, high] = range[..] else { return Err("damaged=(low,high)".to_owned()) };
            config.damaged = Some(DamagedRange { low, high });
        }
        "async-storage-writes" => config.async_storage_writes = flag(directive, key)?,
        "prevote" => config.pre_vote = flag(directive, key)?,
        "checkquorum" => config.check_quorum = flag(directive, key)?,
        "lease-from-boot" => config.lease_from_boot = flag(directive, key)?,
        "batch-append" => config.batch_append = flag(directive, key)?,
        "step-down-on-removal" => config.step_down_on_removal = flag(directive, key)?,
        "disable-proposal-forwarding" => {
            config.disable_proposal_forwarding = flag(directive, key)?;
        }
        "disable-conf-change-validation" => {
            config.disable_conf_change_validation = flag(directive, key)?;
        }
        "read-only" => {
            config.read_only_option = match value {
                "safe" => ReadOnlyOption::Safe,
                "lease-based" => ReadOnlyOption::LeaseBased,
                _ => return Err(format!("invalid read-only option {value:?}")),
            }
        }
        _ => {}
    }
    Ok(())
}

/// A number without sign.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn numbers(texts: &[String]) -> Result<Vec<u64>, String> {
    texts.iter().filter(|text| !text.is_empty()).map(|text| number(text)).collect()
}
