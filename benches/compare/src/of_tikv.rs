//! `raft` of `TiKV`, with its `MemStorage`, driven as in its own example.

use prost_of_raft::Message as _;
use raft::prelude::{ConfState, Config, Entry, Message, MessageType};
use raft::storage::MemStorage;
use raft::{RawNode, StateRole};
use slog::{Discard, Logger, o};

use crate::applied::Applied;
use crate::cluster::{Node, Options};

/// A node of `raft`.
pub struct TikvNode {
    raw: RawNode<MemStorage>,
    storage: MemStorage,
    applied: Applied,
}

impl TikvNode {
    fn apply(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.applied.apply(entry.index, &entry.data);
        }
    }
}

impl Node for TikvNode {
    type Message = Message;

    fn new(id: u64, voters: &[u64], options: Options) -> Self {
        let config = Config {
            id,
            election_tick: 10 * options.heartbeat_tick as usize,
            heartbeat_tick: options.heartbeat_tick as usize,
            max_size_per_msg: 1 << 20,
            max_committed_size_per_ready: 1 << 20,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            batch_append: options.batch_append,
            ..Config::default()
        };
        let storage = MemStorage::new_with_conf_state(ConfState::from((voters.to_vec(), vec![])));
        let logger = Logger::root(Discard, o!());
        let raw = RawNode::new(&config, storage.clone(), &logger).expect("a new group");
        Self { raw, storage, applied: Applied::default() }
    }

    fn campaign(&mut self) {
        self.raw.campaign().expect("a sound log");
    }

    fn tick(&mut self) {
        self.raw.tick();
    }

    fn propose(&mut self, payload: Vec<u8>) {
        self.raw.propose(Vec::new(), payload).expect("a leader takes proposals");
    }

    fn propose_together(&mut self, payloads: impl Iterator<Item = Vec<u8>>) {
        let entries = payloads.map(|data| Entry { data, ..Entry::default() }).collect();
        let from = self.raw.raft.id;
        let mut message = Message { from, entries, ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        self.raw.step(message).expect("a leader takes proposals");
    }

    fn step(&mut self, message: Message) {
        self.raw.step(message).expect("a message of a sound peer");
    }

    fn has_ready(&self) -> bool {
        self.raw.has_ready()
    }

    fn work(&mut self, mut send: impl FnMut(Message)) {
        let mut ready = self.raw.ready();
        ready.take_messages().into_iter().for_each(&mut send);
        if !ready.snapshot().is_empty() {
            let snapshot = ready.snapshot().clone();
            self.storage.wl().apply_snapshot(snapshot).expect("a newer snapshot");
        }
        self.apply(ready.committed_entries());
        if !ready.entries().is_empty() {
            self.storage.wl().append(ready.entries()).expect("entries in order");
        }
        if let Some(hard_state) = ready.hs() {
            self.storage.wl().set_hardstate(hard_state.clone());
        }
        ready.take_persisted_messages().into_iter().for_each(&mut send);
        let mut light = self.raw.advance(ready);
        if let Some(commit) = light.commit_index() {
            self.storage.wl().mut_hard_state().commit = commit;
        }
        light.take_messages().into_iter().for_each(&mut send);
        self.apply(light.committed_entries());
        self.raw.advance_apply();
        if let Some(index) = self.applied.compaction_due() {
            self.storage.wl().compact(index).expect("applied entries");
        }
    }

    fn applied(&self) -> (u64, u64) {
        (self.applied.proposals(), self.applied.sum())
    }

    fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    fn receiver(message: &Message) -> u64 {
        message.to
    }

    fn travel(message: Message) -> Message {
        Message::decode(message.encode_to_vec().as_slice()).expect("it was encoded just now")
    }
}
