//! What a driver does with what a node hands out, as the documentation of [`raft_core::Ready`] has
//! it, and the checks on the way.

use prost::Message as _;
use raft_core::{
    ConfChange, ConfChangeV2, Entry, EntryType, Error, HardState, LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD, Message, MessageType, Ready, Role, Snapshot,
};

use crate::checker::{Checked, broken};
use crate::cluster::{Cluster, Event};
use crate::machine::{Image, entry_hash};
use crate::node::Job;
use crate::options::{Options, Plant};
use crate::store::{Batch, Store};

impl<S: Store> Cluster<S> {
    /// Takes what a node hands out, until that is nothing, and looks at the node.
    pub(crate) fn pump(&mut self, n: usize) -> Checked {
        let synchronous = !self.options.config.async_storage_writes;
        loop {
            // Work may be left over from before, and what is done at once may bring new.
            self.work(n)?;
            let node = &mut self.nodes[n];
            let Some(raw) = node.raw.as_mut() else { return Ok(()) };
            if !raw.has_ready() || (synchronous && !node.jobs.is_empty()) {
                break;
            }
            match raw.ready() {
                Ok(ready) => self.take(n, ready)?,
                Err(e) => return broken("a sound storage is enough", e.to_string()),
            }
        }
        let life = self.nodes[n].life;
        for to in self.nodes[n].store.take_fetches() {
            self.stats.fetches += 1;
            let delay = 1 + self.rng.u64(..50);
            self.queue.after(delay, Event::Fetched { node: n, life, to });
        }
        self.observe(n)
    }

    /// What a node shows of itself does not go back.
    fn observe(&mut self, n: usize) -> Checked {
        let node = &mut self.nodes[n];
        let Some(raw) = node.raw.as_ref() else { return Ok(()) };
        let status = raw.basic_status();
        let hard = status.hard_state;
        let seen = &mut node.seen;
        if hard.term < seen.term || hard.commit < seen.commit || status.applied < seen.applied {
            let detail = format!("{} had {seen:?} and shows {status:?}", node.id);
            return broken("term, commit and applied index never fall", detail);
        }
        (seen.term, seen.applied) = (hard.term, status.applied);
        if seen.damaged && !raw.is_damaged() {
            seen.damaged = false;
            self.stats.healed += 1;
        }
        if status.soft_state.role == Role::Leader && seen.led < hard.term {
            seen.led = hard.term;
            self.stats.elections += 1;
            self.checker.leader(node.id, hard.term, &node.shadow)?;
        }
        Ok(())
    }

    fn take(&mut self, n: usize, mut ready: Ready) -> Checked {
        self.note_log(n, &ready)?;
        for read in &ready.read_states {
            self.read_answered(n, read)?;
        }
        let early = self.is_early();
        if self.options.config.async_storage_writes {
            for message in ready.messages {
                self.route(n, message)?;
            }
        } else {
            if early {
                for message in std::mem::take(&mut ready.messages) {
                    self.send(n, message)?;
                }
            }
            self.nodes[n].jobs.push_back(Job::Ready(Box::new(ready)));
        }
        Ok(())
    }

    /// A message of an asynchronous `Ready`: to a thread, or to a peer.
    fn route(&mut self, n: usize, mut message: Message) -> Checked {
        match message.to {
            LOCAL_APPEND_THREAD => {
                if self.is_early() {
                    for response in std::mem::take(&mut message.responses) {
                        self.respond(n, response)?;
                    }
                }
                self.nodes[n].jobs.push_back(Job::Append(Box::new(message)));
                self.plant_in_jobs(n);
            }
            LOCAL_APPLY_THREAD => self.nodes[n].applies.push_back(Box::new(message)),
            _ => self.send(n, message)?,
        }
        Ok(())
    }

    /// Whether messages leave before anything is written: a bug.
    pub(crate) fn is_early(&self) -> bool {
        matches!(self.options.plant, Plant::AckBeforeWrite | Plant::UnsyncedPromise)
    }

    /// Lets the threads do their work: at once, or as an event to come.
    fn work(&mut self, n: usize) -> Checked {
        let Options { append_delay, apply_delay, .. } = self.options;
        let (append, apply) = if self.calm { (0, 0) } else { (append_delay, apply_delay) };
        while !self.nodes[n].jobs.is_empty() && !self.nodes[n].appending {
            if append == 0 {
                self.append_done(n)?;
            } else {
                self.nodes[n].appending = true;
                let (delay, life) = (1 + self.rng.u64(..append), self.nodes[n].life);
                self.queue.after(delay, Event::Appended { node: n, life });
            }
        }
        while !self.nodes[n].applies.is_empty() && !self.nodes[n].applying {
            if apply == 0 {
                self.apply_done(n)?;
            } else {
                self.nodes[n].applying = true;
                let (delay, life) = (1 + self.rng.u64(..apply), self.nodes[n].life);
                self.queue.after(delay, Event::Applied { node: n, life });
            }
        }
        Ok(())
    }

    /// Follows the node's log, and what it says is committed.
    fn note_log(&mut self, n: usize, ready: &Ready) -> Checked {
        let node = &mut self.nodes[n];
        if node.seen.overtaken && ready.snapshot.is_none() {
            let detail = format!("{} was told of a snapshot that there is not", node.id);
            return broken("equal configurations", detail);
        }
        if let Some(snapshot) = &ready.snapshot {
            node.shadow.restore(snapshot.index(), snapshot.term());
            node.seen.restored = snapshot.index();
            node.seen.waiting = false;
            node.seen.overtaken = false;
        }
        if let Some(first) = ready.entries.first() {
            let before = node.shadow.term(first.index - 1).unwrap_or(0);
            if before != 0 || first.index == 1 {
                self.checker.entries(before, &ready.entries)?;
            }
            if !node.shadow.append(&ready.entries) {
                let last = node.shadow.last();
                let detail = format!("{} writes {} behind {last}", node.id, first.index);
                return broken("contiguous log", detail);
            }
        }
        if let Some(hard) = ready.hard_state
            && hard.commit != node.seen.commit
        {
            let range = (node.seen.commit, hard.commit);
            let by = (hard.term, self.queue.now());
            self.stats.commits += self.checker.committed(node.id, range, by, &node.shadow)?;
            node.seen.commit = hard.commit;
        }
        Ok(())
    }

    /// Makes a job's writes durable, and nothing else.
    pub(crate) fn write(&mut self, n: usize, job: &Job) -> Checked {
        let batch = match job {
            Job::Ready(ready) => Batch {
                snapshot: ready.snapshot.as_ref(),
                entries: &ready.entries,
                hard_state: ready.hard_state,
                sync: ready.needs_sync(),
            },
            Job::Append(m) => Batch {
                snapshot: m.snapshot.as_deref(),
                entries: &m.entries,
                hard_state: hard_state_of(m),
                sync: !m.responses.is_empty() || !m.entries.is_empty(),
            },
        };
        let node = &mut self.nodes[n];
        let written = node.store.write(&batch);
        written.or_else(|e| broken("storage", format!("{}: {e}", node.id)))?;
        if batch.sync {
            node.synced = node.store.durable();
            self.checker.vote(node.id, node.synced.term, node.synced.vote)?;
        }
        Ok(())
    }

    /// The append thread has done its first job.
    pub(crate) fn append_done(&mut self, n: usize) -> Checked {
        let Some(job) = self.nodes[n].jobs.pop_front() else { return Ok(()) };
        self.write(n, &job)?;
        match job {
            Job::Append(m) => {
                if let Some(snapshot) = &m.snapshot {
                    self.install(n, snapshot)?;
                }
                for response in m.responses {
                    self.respond(n, response)?;
                }
                Ok(())
            }
            Job::Ready(ready) => self.ready_written(n, *ready),
        }
    }

    fn ready_written(&mut self, n: usize, mut ready: Ready) -> Checked {
        for message in std::mem::take(&mut ready.messages) {
            self.send(n, message)?;
        }
        if let Some(snapshot) = &ready.snapshot {
            self.install(n, snapshot)?;
        }
        for entry in &ready.committed_entries {
            self.apply(n, entry)?;
        }
        let Some(raw) = self.nodes[n].raw.as_mut() else { return Ok(()) };
        let outcome = raw.advance(ready);
        self.tolerate(n, outcome)
    }

    /// The apply thread has done its first message.
    pub(crate) fn apply_done(&mut self, n: usize) -> Checked {
        let Some(m) = self.nodes[n].applies.pop_front() else { return Ok(()) };
        for entry in &m.entries {
            self.apply(n, entry)?;
        }
        for response in m.responses {
            self.respond(n, response)?;
        }
        Ok(())
    }

    /// Delivers what was to be said when work is done.
    fn respond(&mut self, n: usize, response: Message) -> Checked {
        let node = &mut self.nodes[n];
        if response.to != node.id {
            return self.send(n, response);
        }
        let Some(raw) = node.raw.as_mut() else { return Ok(()) };
        let outcome = raw.step_local(response);
        self.tolerate(n, outcome)
    }

    /// The state machine becomes what the snapshot says.
    fn install(&mut self, n: usize, snapshot: &Snapshot) -> Checked {
        let node = &mut self.nodes[n];
        let Some(image) = Image::of(snapshot) else {
            return broken("snapshots", format!("{} got one that nobody made", node.id));
        };
        if image.applied < node.machine.now.applied {
            let detail =
                format!("{}: {} after {}", node.id, image.applied, node.machine.now.applied);
            return broken("snapshots do not go back", detail);
        }
        self.stats.snapshots_installed += 1;
        self.stats.applied += 1;
        self.checker.applied(node.id, &image)?;
        node.machine.now = image.clone();
        node.machine.durable = image;
        Ok(())
    }

    /// Applies an entry: each once in a life, in order.
    fn apply(&mut self, n: usize, entry: &Entry) -> Checked {
        let node = &mut self.nodes[n];
        if entry.index <= node.seen.restored || node.seen.overtaken {
            // A snapshot that has come meanwhile covers it.
            return Ok(());
        }
        let now = &node.machine.now;
        if entry.index != now.applied + 1 {
            let detail = format!("{} applies {} after {}", node.id, entry.index, now.applied);
            return broken("apply in order, once", detail);
        }
        let chain = now.chain_with(entry);
        node.machine.now.applied = entry.index;
        node.machine.now.chain = chain;
        if entry.entry_type() != EntryType::Normal {
            self.apply_change(n, entry)?;
        }
        let node = &self.nodes[n];
        if node.seen.overtaken {
            return Ok(());
        }
        self.stats.applied += 1;
        self.checker.applied(node.id, &node.machine.now)
    }

    /// The application lets one change in sixteen be.
    fn apply_change(&mut self, n: usize, entry: &Entry) -> Checked {
        let change = match entry.entry_type() {
            EntryType::ConfChange => ConfChange::decode(entry.data.clone()).map(Into::into),
            _ => ConfChangeV2::decode(entry.data.clone()),
        };
        let Ok(change) = change else {
            return broken("proposals", "a configuration change that cannot be decoded");
        };
        let unwanted = !change.context.is_empty()
            && !change.leaves_joint()
            && entry_hash(entry).is_multiple_of(16);
        let planted = self.options.plant == Plant::UnappliedChange && self.rng.u8(..4) == 0;
        let node = &mut self.nodes[n];
        let Some(raw) = node.raw.as_mut() else { return Ok(()) };
        if unwanted || planted {
            self.stats.refused_changes += 1;
            return Ok(());
        }
        match raw.apply_conf_change(entry.index, &change) {
            // A snapshot has brought the configuration already, and is to be seen next.
            Ok(None) => {
                self.stats.overtaken += 1;
                node.seen.overtaken = true;
                Ok(())
            }
            Ok(Some(conf_state)) => {
                self.stats.conf_changes += 1;
                self.stats.joint += u64::from(!conf_state.voters_outgoing.is_empty());
                node.machine.now.conf_state = conf_state;
                Ok(())
            }
            Err(Error::ConfChange(_)) => {
                self.stats.refused_changes += 1;
                Ok(())
            }
            Err(e) => broken("sound nodes agree", format!("{}: {e}", node.id)),
        }
    }

    /// A message leaves a node: what it promises must be so.
    pub(crate) fn send(&mut self, n: usize, message: Message) -> Checked {
        let node = &self.nodes[n];
        let id = node.id;
        let damaged = node.raw.as_ref().is_some_and(raft_core::RawNode::is_damaged);
        let grants = match message.kind() {
            Some(MessageType::VoteResponse | MessageType::PreVoteResponse) => !message.reject,
            Some(MessageType::AppendResponse) => !message.reject && message.index > 0,
            _ => false,
        };
        if grants && damaged {
            return broken("a damaged node promises nothing", format!("{id}: {message:?}"));
        }
        let early = self.options.plant == Plant::AckBeforeWrite;
        if grants && !early {
            self.promised(n, &message)?;
        }
        match message.kind() {
            Some(MessageType::VoteResponse) if grants => {
                self.checker.vote(id, message.term, message.to)?;
            }
            Some(MessageType::Append) => {
                self.checker.entries(message.log_term, &message.entries)?;
            }
            _ => {}
        }
        if message.to == 0 || message.to > self.nodes.len() as u64 || message.to == id {
            return broken("messages go to members", format!("{id}: {message:?}"));
        }
        self.transmit(n, message);
        Ok(())
    }

    /// What a node promises is durable. In a later term it may have been overwritten: the promise
    /// was kept as long as it counted.
    fn promised(&mut self, n: usize, message: &Message) -> Checked {
        let node = &self.nodes[n];
        let durable = node.store.durable();
        let last = node.store.last_index().or_else(|e| broken("storage", e.to_string()))?;
        let kept = match message.kind() {
            Some(MessageType::VoteResponse) => {
                durable.term > message.term
                    || (durable.term == message.term && durable.vote == message.to)
            }
            Some(MessageType::AppendResponse) => {
                durable.term > message.term
                    || (durable.term == message.term && last >= message.index)
            }
            _ => true,
        };
        if kept {
            return Ok(());
        }
        let detail = format!("{} has {durable:?}, {last} entries, and says {message:?}", node.id);
        broken("promises are durable", detail)
    }
}

/// The hard state in a message to the append thread, if there is one.
fn hard_state_of(m: &Message) -> Option<HardState> {
    let hard = HardState { term: m.term, vote: m.vote, commit: m.commit };
    (hard != HardState::default()).then_some(hard)
}
