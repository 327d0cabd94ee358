//! Planted bugs: what a driver, a disk or a network could do wrong. (One that goes by a crash only;
//! the others are where they happen.)

use raft_core::{Message, MessageType};

use crate::cluster::Cluster;
use crate::node::Job;
use crate::options::Plant;
use crate::store::{Batch, Store};

impl<S: Store> Cluster<S> {
    /// What a planted bug does to a node that has just crashed.
    pub(crate) fn plant_in_crash(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let mut hard = node.store.durable();
        let (now, durable) = (&node.machine.now, &mut node.machine.durable);
        match self.options.plant {
            Plant::ForgottenVote | Plant::UncheckedVote => hard.vote = 0,
            Plant::ForgottenTerm if hard.term > 1 => {
                hard.term -= 1;
                hard.vote = 0;
            }
            Plant::AppliedTwice if now.applied > durable.applied => durable.chain = now.chain,
            Plant::SkippedEntry if hard.commit > durable.applied && durable.applied > 0 => {
                durable.applied += 1;
            }
            Plant::LostTail => {
                let last = node.store.last_index().unwrap_or(0);
                node.store.lose_from(last.max(hard.commit + 1));
            }
            Plant::UntoldDamage => {
                let last = node.store.last_index().unwrap_or(0);
                let least =
                    durable.applied.max(node.store.newest_snapshot().map_or(0, |s| s.index()));
                if least < last {
                    hard.commit = hard.commit.min(least);
                    node.store.lose_from(self.rng.u64(least + 1..=last));
                }
            }
            _ => {}
        }
        if hard != node.store.durable() {
            // The checker is to find out by what comes of it, not by what was forgotten.
            node.synced = hard;
            let batch = Batch { hard_state: Some(hard), sync: true, ..Batch::default() };
            node.store.write(&batch).ok();
        }
    }

    /// A message that the network repeats.
    pub(crate) fn impostor(&mut self, mut message: Message) -> Message {
        let answers =
            matches!(message.kind(), Some(MessageType::AppendResponse | MessageType::VoteResponse));
        if self.options.plant == Plant::Impostor && answers {
            let other = self.rng.u64(1..=self.nodes.len() as u64);
            if other != message.to {
                message.from = other;
            }
        }
        message
    }

    /// The append thread's queue.
    pub(crate) fn plant_in_jobs(&mut self, n: usize) {
        let jobs = &mut self.nodes[n].jobs;
        if self.options.plant == Plant::UnorderedWrites && jobs.len() > 2 {
            let last = jobs.len() - 1;
            if let (Some(Job::Append(_)), Some(Job::Append(_))) =
                (jobs.get(last - 1), jobs.get(last))
            {
                jobs.swap(last - 1, last);
            }
        }
    }
}
