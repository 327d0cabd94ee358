//! The end of a run: everything is healed, and the cluster has to become quiet and useful.

use std::fmt::Write as _;

use raft_core::{BasicStatus, ConfState};

use crate::checker::{Checked, Violation, broken};
use crate::cluster::{Cluster, Event};
use crate::queue::TICK;
use crate::store::Store;

/// Ticks that a cluster has to become quiet in: hundreds of election timeouts.
const PATIENCE: u64 = 3000;

impl<S: Store> Cluster<S> {
    /// Heals everything and waits until there is one leader, all members have its log, and what is
    /// proposed then is applied everywhere.
    ///
    /// # Errors
    /// The rule that is broken, which may be that it takes for ever.
    pub fn settle(&mut self) -> Checked {
        match self.heal() {
            Err(Violation { rule: "liveness", .. }) if self.is_orphaned() => {
                self.stats.orphaned += 1;
                Ok(())
            }
            Err(Violation { rule: "liveness", .. }) if self.is_unheard() => {
                self.stats.unheard += 1;
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn heal(&mut self) -> Checked {
        self.calm = true;
        self.network.heal();
        for n in 0..self.nodes.len() {
            self.nodes[n].store.calm();
            if self.nodes[n].raw.is_none() {
                self.queue.after(1, Event::Restart { node: n });
            }
        }
        self.become_quiet()?;
        for _ in 0..3 {
            let Some(leader) = self.leader() else {
                return broken("liveness", "the leader of a quiet cluster is gone");
            };
            let (before, accepted) = (self.checker.last_applied(), self.stats.proposals);
            self.propose(leader)?;
            let accepted = self.stats.proposals - accepted;
            self.become_quiet()?;
            if accepted == 0 || self.checker.last_applied() < before + accepted {
                let detail = format!("{accepted} proposals accepted, not all applied");
                return broken("liveness", detail);
            }
        }
        self.read_everywhere()?;
        self.equal_logs()
    }

    fn leader(&self) -> Option<usize> {
        let mut leaders = (0..self.nodes.len()).filter(|n| self.nodes[*n].is_leader());
        let first = leaders.next();
        if leaders.next().is_none() { first } else { None }
    }

    /// Every member is told a read index that covers everything.
    fn read_everywhere(&mut self) -> Checked {
        let members = self.members();
        for n in members {
            let answered = self.stats.reads_answered;
            let mut tries = 0;
            while self.stats.reads_answered == answered {
                tries += 1;
                if tries > 20 {
                    let id = self.nodes[n].id;
                    let detail = format!("a read of {id} is never answered: {}", self.describe());
                    return broken("liveness", detail);
                }
                self.read(n)?;
                self.pass(4 * TICK)?;
            }
        }
        self.become_quiet()
    }

    fn pass(&mut self, time: u64) -> Checked {
        let until = self.queue.now() + time;
        while self.queue.now() < until {
            self.step()?;
            self.stats.settling += 1;
        }
        Ok(())
    }

    fn become_quiet(&mut self) -> Checked {
        let patience = self.queue.now() + PATIENCE * TICK;
        let mut round = 0;
        while self.queue.now() < patience {
            self.pass(5 * TICK)?;
            self.retire()?;
            if self.is_quiet() {
                return Ok(());
            }
            round += 1;
            if round % 8 == 0 {
                self.help(round)?;
            }
        }
        broken("liveness", self.describe())
    }

    /// What applications and operators do where a cluster does not get on by itself. Snapshots: one
    /// that is older than the membership of a node is of no use to it, and to a damaged node not
    /// one that ends in the damage. A proposal, that brings the commit index beyond it. And in the
    /// end the lost entries themselves.
    fn help(&mut self, round: u64) -> Checked {
        for n in 0..self.nodes.len() {
            self.snapshot(n)?;
        }
        if let Some(leader) = self.leader()
            && self.nodes[leader].raw.as_ref().is_some_and(|raw| raw.status().config.auto_leave)
        {
            // Leaving was dropped during a transfer, and is tried again when something is applied.
            self.propose(leader)?;
        }
        let stuck = self.nodes.iter().position(|node| node.seen.damaged || node.seen.waiting);
        let Some(stuck) = stuck else { return Ok(()) };
        if round < 32 {
            return self.leader().map_or(Ok(()), |leader| self.propose(leader));
        }
        let node = &mut self.nodes[stuck];
        if node.seen.waiting {
            // It gives up, and starts again with what it has.
            self.crash(stuck)?;
            return self.start(stuck);
        }
        node.store.damage(None);
        node.shadow.refill(&node.store);
        node.seen.damaged = false;
        self.stats.mended += 1;
        self.call(stuck, raft_core::RawNode::mark_whole)
    }

    /// Members of the newest configuration.
    fn members(&self) -> Vec<usize> {
        let now = self.checker.newest_conf_state();
        (0..self.nodes.len()).filter(|n| is_member(now, self.nodes[*n].id)).collect()
    }

    /// Nodes that were removed are stopped once every member knows of it; before, their votes may
    /// be needed. Those that were added again are started again.
    fn retire(&mut self) -> Checked {
        let members = self.members();
        for n in 0..self.nodes.len() {
            let id = self.nodes[n].id;
            let member = members.contains(&n);
            let known = members.iter().all(|m| {
                let node = &self.nodes[*m];
                node.raw.is_some() && !is_member(&node.machine.now.conf_state, id)
            });
            let up = self.nodes[n].raw.is_some();
            if up && !member && known {
                self.trace.note(self.queue.now(), || format!("{id} is stopped"));
                self.crash(n)?;
                self.nodes[n].retired = true;
            } else if !up && member && self.nodes[n].retired {
                self.nodes[n].retired = false;
                self.start(n)?;
            }
        }
        Ok(())
    }

    /// Whether nobody can lead any more, as it may be: those who may campaign, by the configuration
    /// that they have applied, need the vote of one that knows that it has none any more, and has a
    /// longer log. It had left, or stepped down, before it could tell them.
    fn is_orphaned(&self) -> bool {
        let end = |n: &usize| {
            let log = &self.nodes[*n].shadow;
            (log.term(log.last()), log.last())
        };
        let votes_in = |of: usize, id: u64| {
            let ConfState { voters, voters_outgoing, .. } = &self.nodes[of].machine.now.conf_state;
            voters.contains(&id) || voters_outgoing.contains(&id)
        };
        let up = (0..self.nodes.len()).filter(|n| self.nodes[*n].raw.is_some());
        let (may, may_not): (Vec<_>, Vec<_>) = up.partition(|n| votes_in(*n, self.nodes[*n].id));
        let Some(best) = may.into_iter().max_by_key(end) else { return true };
        may_not.iter().any(|n| votes_in(best, self.nodes[*n].id) && end(n) > end(&best))
    }

    /// Whether somebody leads, or campaigns, in a term that others have left behind and do not say
    /// so, as it may be without pre-vote: votes of a lower term are answered only if they are
    /// pre-votes, a leader of a lower term only with pre-vote or check-quorum.
    fn is_unheard(&self) -> bool {
        if self.options.config.pre_vote && !self.options.mixed_pre_vote {
            return false;
        }
        let up = self.nodes.iter().filter_map(|node| node.raw.as_ref());
        let mut terms = up.map(|raw| raw.basic_status().hard_state.term);
        terms.next().is_some_and(|first| terms.any(|term| term != first))
    }

    /// One leader, nobody with work to do, and everybody as far as the leader.
    fn is_quiet(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let Some(raw) = self.nodes[leader].raw.as_ref() else { return false };
        let BasicStatus { last_index: last, lead_transferee, .. } = raw.basic_status();
        lead_transferee == 0
            && !raw.status().config.auto_leave
            && self.members().into_iter().all(|n| {
                let node = &self.nodes[n];
                let Some(raw) = node.raw.as_ref() else { return false };
                let status = raw.basic_status();
                let there = status.last_index == last && status.applied == last;
                there && node.machine.now.applied == last && node.jobs.is_empty()
            })
    }

    /// Members have the leader's log, entry by entry.
    fn equal_logs(&self) -> Checked {
        let Some(leader) = self.leader() else { return broken("liveness", "no leader") };
        let log = &self.nodes[leader].shadow;
        for n in self.members() {
            let node = &self.nodes[n];
            let same = |index| match (log.term(index), node.shadow.term(index)) {
                (Some(a), Some(b)) => a == b,
                _ => true,
            };
            if node.shadow.last() != log.last() || !(1..=log.last()).all(same) {
                return broken("equal logs", format!("{} differs from its leader", node.id));
            }
        }
        Ok(())
    }

    /// Every node in a line.
    fn describe(&self) -> String {
        let mut out = format!("newest configuration {:?}", self.checker.newest_conf_state());
        for node in &self.nodes {
            let status = node.raw.as_ref().map(raft_core::RawNode::status);
            let line = status.map_or_else(
                || format!("\n  {} down", node.id),
                |s| {
                    let whole = if s.damaged { "damaged" } else { "" };
                    let mut line = format!("\n  {} {whole} {:?} {}", node.id, s.basic, s.config);
                    for (id, progress) in &s.progress {
                        let _ = write!(line, "\n      {id}: {progress}");
                    }
                    line
                },
            );
            out.push_str(&line);
        }
        out
    }
}

fn is_member(conf_state: &ConfState, id: u64) -> bool {
    let ConfState { voters, learners, voters_outgoing, learners_next, .. } = conf_state;
    [voters, learners, voters_outgoing, learners_next].into_iter().any(|ids| ids.contains(&id))
}
