//! A node, its threads and its storage, as they are between two events.

use std::collections::VecDeque;

use raft_core::{HardState, Message, RawNode, Ready};

use crate::machine::Machine;
use crate::queue::{TICK, Time};
use crate::shadow::Shadow;
use crate::store::Store;

/// Work of the append thread, in order.
#[derive(Debug)]
pub(crate) enum Job {
    /// Synchronous writes: everything that is to be done.
    Ready(Box<Ready>),
    /// Asynchronous ones: a message to the thread.
    Append(Box<Message>),
}

/// What a node has shown of itself in this life.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) term: u64,
    pub(crate) commit: u64,
    pub(crate) applied: u64,
    /// The last term in which it led.
    pub(crate) led: u64,
    /// The index of the last snapshot that it was to install.
    pub(crate) restored: u64,
    pub(crate) damaged: bool,
    /// A snapshot was stepped that no `Ready` has shown yet: entries before it do not count.
    pub(crate) overtaken: bool,
    /// It has asked for a snapshot, and acknowledges nothing before that comes.
    pub(crate) waiting: bool,
}

/// A node. Down, only `store`, `machine` and `synced` count.
pub(crate) struct Node<S: Store> {
    pub(crate) id: u64,
    pub(crate) raw: Option<RawNode<S>>,
    pub(crate) store: S,
    pub(crate) machine: Machine,
    pub(crate) shadow: Shadow,
    /// How often it was started; events of earlier lives do nothing.
    pub(crate) life: u64,
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) applies: VecDeque<Box<Message>>,
    /// Whether the end of the first job is among the events.
    pub(crate) appending: bool,
    pub(crate) applying: bool,
    pub(crate) seen: Seen,
    /// The hard state that was last made durable.
    pub(crate) synced: HardState,
    /// Between two ticks.
    pub(crate) period: Time,
    /// Removed for good, and stopped.
    pub(crate) retired: bool,
}

impl<S: Store> Node<S> {
    pub(crate) fn new(id: u64, store: S, machine: Machine) -> Self {
        Self {
            id,
            raw: None,
            store,
            machine,
            shadow: Shadow::default(),
            life: 0,
            jobs: VecDeque::new(),
            applies: VecDeque::new(),
            appending: false,
            applying: false,
            seen: Seen::default(),
            synced: HardState::default(),
            period: TICK,
            retired: false,
        }
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.raw
            .as_ref()
            .is_some_and(|raw| raw.basic_status().soft_state.role == raft_core::Role::Leader)
    }

    /// Everything but what survives.
    pub(crate) fn forget(&mut self) {
        self.raw = None;
        self.life += 1;
        self.jobs.clear();
        self.applies.clear();
        self.appending = false;
        self.applying = false;
        self.seen = Seen::default();
    }
}
