//! What users, operators and nature do to a cluster.

use prost::Message as _;
use raft_core::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, DamagedRange,
    ReadOnlyOption, ReadState,
};

use crate::checker::{Checked, broken};
use crate::cluster::{Cluster, Event};
use crate::options::{Options, Plant};
use crate::queue::TICK;
use crate::store::{Batch, Store};

/// Something that is done to a node, or to it and another one.
type Act<S> = fn(&mut Cluster<S>, usize, u64) -> Checked;

impl<S: Store> Cluster<S> {
    /// Does one thing, drawn by the weights of the seed.
    pub(crate) fn act(&mut self) -> Checked {
        let weights = self.options.weights;
        let n = self.somebody();
        let other = self.rng.u64(1..=self.nodes.len() as u64);
        let acts: [(u32, Act<S>); 12] = [
            (weights.propose, |c, n, _| c.propose(n)),
            (weights.change, |c, n, _| c.change(n)),
            (weights.transfer, |c, n, to| {
                c.stats.transfers += 1;
                c.call(n, |raw| raw.transfer_leader(to))
            }),
            (weights.campaign, |c, n, _| c.call(n, raft_core::RawNode::campaign)),
            (weights.forget, |c, n, _| c.call(n, raft_core::RawNode::forget_leader)),
            (weights.read, |c, n, _| c.read(n)),
            (weights.crash, |c, n, _| c.crash_for_a_while(n, false)),
            (weights.damage, |c, n, _| c.crash_for_a_while(n, true)),
            (weights.partition, |c, _, _| {
                c.part();
                Ok(())
            }),
            (weights.snapshot, |c, n, _| c.snapshot(n)),
            (weights.flush, |c, n, _| c.flush(n).map(drop)),
            (weights.request, |c, n, _| c.request_snapshot(n)),
        ];
        let total: u32 = acts.iter().map(|(weight, _)| weight).sum();
        let mut drawn = self.rng.u32(..total);
        for (weight, act) in acts {
            if drawn < weight {
                return act(self, n, other);
            }
            drawn -= weight;
        }
        Ok(())
    }

    /// A node, mostly one that leads.
    fn somebody(&mut self) -> usize {
        let leader = self.nodes.iter().position(crate::node::Node::is_leader);
        match leader {
            Some(n) if self.rng.bool() => n,
            _ => self.rng.usize(..self.nodes.len()),
        }
    }

    /// The next number, for a proposal or a read.
    fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    fn payload(&mut self) -> bytes::Bytes {
        let mut data = self.number().to_le_bytes().to_vec();
        data.resize(8 + self.rng.usize(..self.options.payload_max), 0xaa);
        data.into()
    }

    pub(crate) fn propose(&mut self, n: usize) -> Checked {
        let Some(raw) = self.nodes[n].raw.as_mut() else { return Ok(()) };
        let proposed = if self.rng.u8(..4) == 0 {
            let count = self.rng.usize(1..5);
            let batch: Vec<_> = (0..count).map(|_| self.payload()).collect();
            let Some(raw) = self.nodes[n].raw.as_mut() else { return Ok(()) };
            raw.propose_batch(batch)
        } else {
            self.numbered += 1;
            let mut data = self.numbered.to_le_bytes().to_vec();
            data.resize(8 + self.rng.usize(..self.options.payload_max), 0xaa);
            raw.propose(data)
        };
        self.stats.proposals += u64::from(proposed.is_ok());
        self.tolerate(n, proposed)?;
        self.pump(n)
    }

    /// Proposes a change of the configuration, sensible or not.
    fn change(&mut self, n: usize) -> Checked {
        let now = self.checker.newest_conf_state();
        let joint = !now.voters_outgoing.is_empty();
        let few = now.voters.len() <= 2;
        let nodes = self.nodes.len() as u64;
        let rng = &mut self.rng;
        let mut single = || {
            let node_id = rng.u64(1..=nodes);
            let kinds = if few {
                [ConfChangeType::AddNode, ConfChangeType::AddLearnerNode, ConfChangeType::AddNode]
            } else {
                [
                    ConfChangeType::AddNode,
                    ConfChangeType::AddLearnerNode,
                    ConfChangeType::RemoveNode,
                ]
            };
            let kind = rng.choice(kinds).unwrap_or(ConfChangeType::AddNode);
            let mut single = ConfChangeSingle { node_id, ..ConfChangeSingle::default() };
            single.set_change_type(kind);
            single
        };
        let (first, more) = (single(), [single(), single(), single()]);
        let id = self.number();
        let context = bytes::Bytes::copy_from_slice(&id.to_le_bytes());
        if !joint && self.rng.u8(..3) == 0 {
            let ConfChangeSingle { change_type, node_id } = first;
            let change = ConfChange { id, change_type, node_id, context };
            return self.call(n, |raw| raw.propose_conf_change_v1(&change));
        }
        let kinds = [
            ConfChangeTransition::Auto,
            ConfChangeTransition::JointImplicit,
            ConfChangeTransition::JointExplicit,
        ];
        let leave = joint && self.rng.u8(..4) != 0;
        let mut change = ConfChangeV2 { context, ..ConfChangeV2::default() };
        if !leave {
            change.set_transition(self.rng.choice(kinds).unwrap_or_default());
            change.changes.push(first);
            change.changes.extend(&more[..self.rng.usize(..=more.len())]);
        }
        debug_assert!(change.encoded_len() > 0);
        self.call(n, |raw| raw.propose_conf_change(&change))
    }

    /// Begins a read.
    pub(crate) fn read(&mut self, n: usize) -> Checked {
        if self.nodes[n].raw.is_none() {
            return Ok(());
        }
        let (context, id) = (self.number(), self.nodes[n].id);
        self.checker.read_begins(context, id, self.checker.last_committed(), self.queue.now());
        self.stats.reads += 1;
        if self.options.plant == Plant::LocalReads {
            let index = self.nodes[n].seen.commit;
            let context = context.to_le_bytes().to_vec().into();
            return self.read_answered(n, &ReadState { index, context });
        }
        self.call(n, |raw| raw.read_index(context.to_le_bytes().to_vec()))
    }

    /// An answer to a read is as new as it has to be. One by a lease may be older, even where
    /// clocks are right: a leader that is cut off just after it has looked at its quorum goes on
    /// for two election timeouts, and others may elect after one.
    pub(crate) fn read_answered(&mut self, n: usize, read: &ReadState) -> Checked {
        let Ok(context) = <[u8; 8]>::try_from(read.context.as_ref()) else {
            return broken("answers to what was asked", format!("{read:?}"));
        };
        let (context, id) = (u64::from_le_bytes(context), self.nodes[n].id);
        self.stats.reads_answered += 1;
        let Options { config, network, skew, .. } = &self.options;
        let fresh = self.checker.read_answered(context, id, read.index, 0)?;
        let lease = config.read_only_option == ReadOnlyOption::LeaseBased;
        self.stats.stale_lease_reads += u64::from(lease && !fresh);
        let timeout = u64::from(config.election_tick + 1) * TICK;
        let slack = 2 * timeout + 2 * network.delay_max * if network.straggle > 0 { 50 } else { 1 };
        let within = match lease {
            true if *skew > 0 => true,
            true => self.checker.read_answered(context, id, read.index, slack)?,
            false => fresh,
        };
        if within {
            return Ok(());
        }
        let detail = format!(
            "{id} is told {} for read {context}: {:?}",
            read.index, config.read_only_option
        );
        broken("linearizable reads", detail)
    }

    fn part(&mut self) {
        if self.rng.bool() {
            self.network.heal();
        } else {
            self.stats.partitions += 1;
            self.network.partition(&mut self.rng);
        }
    }

    fn crash_for_a_while(&mut self, n: usize, damage: bool) -> Checked {
        if self.nodes[n].raw.is_none() {
            return Ok(());
        }
        self.crash(n)?;
        if damage {
            self.damage(n)?;
        }
        let away = self.rng.u64(1..TICK * 6);
        self.queue.after(away, Event::Restart { node: n });
        Ok(())
    }

    /// Whether the cluster gets on without one more member: all others answer, and they are enough.
    fn can_spare_one(&self) -> bool {
        let now = self.checker.newest_conf_state();
        let few = now.voters.len() < 3 || (1..3).contains(&now.voters_outgoing.len());
        let others =
            self.nodes.iter().any(|node| node.store.damaged().is_some() || node.seen.waiting);
        !few && !others
    }

    /// The application wants its state again.
    fn request_snapshot(&mut self, n: usize) -> Checked {
        let node = &mut self.nodes[n];
        if node.raw.is_none() || node.is_leader() || !self.can_spare_one() {
            return Ok(());
        }
        self.stats.requests += 1;
        let node = &mut self.nodes[n];
        node.seen.waiting = true;
        let least = node.machine.now.applied;
        self.call(n, |raw| raw.request_snapshot(least))
    }

    /// Loses a range of a log, but never where others could not make up for it.
    fn damage(&mut self, n: usize) -> Checked {
        if !self.can_spare_one() {
            return Ok(());
        }
        let node = &mut self.nodes[n];
        let last = node.store.last_index().or_else(|e| broken("storage", e.to_string()))?;
        let first = node.store.first_index().or_else(|e| broken("storage", e.to_string()))?;
        let first = first.max(node.machine.durable.applied + 1);
        if first >= last {
            return Ok(());
        }
        let low = self.rng.u64(first..last);
        let high = self.rng.u64(low..last);
        self.stats.damaged += 1;
        node.store.damage(Some(DamagedRange { low, high }));
        Ok(())
    }

    /// Makes the state machine durable, as far as the log's own commit index is.
    pub(crate) fn flush(&mut self, n: usize) -> Checked<bool> {
        let node = &mut self.nodes[n];
        if node.raw.is_none() {
            return Ok(false);
        }
        let synced = node.store.write(&Batch { sync: true, ..Batch::default() });
        synced.or_else(|e| broken("storage", e.to_string()))?;
        node.synced = node.store.durable();
        if node.synced.commit < node.machine.now.applied {
            return Ok(false);
        }
        node.machine.durable = node.machine.now.clone();
        Ok(true)
    }

    /// Makes a snapshot, and gives up what it covers, but for a few entries.
    pub(crate) fn snapshot(&mut self, n: usize) -> Checked {
        if !self.flush(n)? {
            return Ok(());
        }
        let keep = self.rng.u64(..4);
        let node = &mut self.nodes[n];
        let image = node.machine.now.clone();
        let index = image.applied;
        let newest = node.store.newest_snapshot().map_or(0, |s| s.index());
        if index <= newest {
            return Ok(());
        }
        let mut conf_state = image.conf_state.clone();
        if self.options.plant == Plant::SnapshotOfLater {
            conf_state = self.checker.newest_conf_state().clone();
        }
        self.stats.snapshots += 1;
        let kept = node.store.keep_snapshot(index, conf_state, image.data());
        let kept = kept.and_then(|()| match index.saturating_sub(keep) {
            0 => Ok(()),
            upto => node.store.compact(upto),
        });
        kept.or_else(|e| broken("storage", format!("{}: {e}", node.id)))
    }
}
