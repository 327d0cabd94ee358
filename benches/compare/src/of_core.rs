//! `raft-core`, with its `MemoryStorage`.

use bytes::Bytes;
use prost::Message as _;
use raft_core::{ConfState, Config, MemoryStorage, Message, RawNode, Role};

use crate::applied::Applied;
use crate::cluster::{Node, Options};

/// A node of `raft-core`.
pub struct CoreNode {
    raw: RawNode<MemoryStorage>,
    storage: MemoryStorage,
    applied: Applied,
}

impl Node for CoreNode {
    type Message = Message;

    fn new(id: u64, voters: &[u64], options: Options) -> Self {
        let config = Config {
            election_tick: 10 * options.heartbeat_tick,
            heartbeat_tick: options.heartbeat_tick,
            max_size_per_msg: 1 << 20,
            max_committed_size_per_ready: 1 << 20,
            max_uncommitted_size: 0,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            batch_append: options.batch_append,
            ..Config::new(id)
        };
        let members = ConfState { voters: voters.to_vec(), ..ConfState::default() };
        let storage = MemoryStorage::with_conf_state(members);
        let raw = RawNode::new(&config, storage.clone()).expect("a new group");
        Self { raw, storage, applied: Applied::default() }
    }

    fn campaign(&mut self) {
        self.raw.campaign().expect("a sound log");
    }

    fn tick(&mut self) {
        self.raw.tick().expect("a sound log");
    }

    fn propose(&mut self, payload: Vec<u8>) {
        self.raw.propose(payload).expect("a leader takes proposals");
    }

    fn propose_together(&mut self, payloads: impl Iterator<Item = Vec<u8>>) {
        self.raw.propose_batch(payloads.map(Bytes::from)).expect("a leader takes proposals");
    }

    fn step(&mut self, message: Message) {
        self.raw.step(message).expect("a message of a sound peer");
    }

    fn has_ready(&self) -> bool {
        self.raw.has_ready()
    }

    fn work(&mut self, send: impl FnMut(Message)) {
        let mut ready = self.raw.ready().expect("memory can be read");
        if let Some(snapshot) = &ready.snapshot {
            self.storage.apply_snapshot(snapshot.clone()).expect("a newer snapshot");
        }
        if !ready.entries.is_empty() {
            self.storage.append(&ready.entries).expect("entries in order");
        }
        if let Some(hard_state) = ready.hard_state {
            self.storage.set_hard_state(hard_state);
        }
        ready.messages.drain(..).for_each(send);
        for entry in &ready.committed_entries {
            self.applied.apply(entry.index, &entry.data);
        }
        self.raw.advance(ready).expect("the one handed out");
        if let Some(index) = self.applied.compaction_due() {
            self.storage.compact(index).expect("applied entries");
        }
    }

    fn applied(&self) -> (u64, u64) {
        (self.applied.proposals(), self.applied.sum())
    }

    fn leads(&self) -> bool {
        self.raw.basic_status().soft_state.role == Role::Leader
    }

    fn receiver(message: &Message) -> u64 {
        message.to
    }

    fn travel(message: Message) -> Message {
        Message::decode(Bytes::from(message.encode_to_vec())).expect("it was encoded just now")
    }
}
