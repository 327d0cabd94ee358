//! A node, what it was told and what it has to answer for.

use std::collections::VecDeque;

use arbitrary::{Result, Unstructured};
use prost::Message as _;
use raft_core::{
    ConfChange, ConfChangeV2, ConfState, Config, DamagedRange, Entry, EntryType, Error, Fetch,
    HardState, LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, MemoryStorage, Message, MessageType, Peer,
    RawNode, ReadOnlyOption, Ready, Snapshot, SnapshotMetadata, SnapshotStatus, Storage as _,
    StorageError,
};

use super::messages::{self, near, node};
use super::storage::{FAULTS, Faulty};

/// Operations of one input: more would only be slow.
const OPERATIONS_MAX: usize = 150;

/// The node under test.
const ME: u64 = 1;

pub(super) struct Run {
    config: Config,
    storage: Faulty,
    raw: RawNode<Faulty>,
    /// Synchronous writes: what was handed out last.
    ready: Option<Ready>,
    /// Asynchronous ones: what the threads have to do.
    appends: VecDeque<Message>,
    applies: VecDeque<Message>,
    /// Answers of the threads, to be given again.
    old: Vec<Message>,
    /// The last index that was handed out to be applied.
    handed: u64,
    /// What the application has applied durably, and the configuration there.
    applied: u64,
    conf_state: ConfState,
}

fn config(u: &mut Unstructured<'_>) -> Result<Config> {
    let check_quorum = u.arbitrary()?;
    let lease = check_quorum && u.ratio(1, 3)?;
    Ok(Config {
        id: ME,
        election_tick: 3,
        async_storage_writes: u.arbitrary()?,
        max_size_per_msg: *u.choose(&[0, 50, 1 << 20])?,
        max_committed_size_per_ready: *u.choose(&[0, 1, 50])?,
        max_uncommitted_size: *u.choose(&[0, 30])?,
        max_inflight_msgs: *u.choose(&[1, 2, 256])?,
        check_quorum,
        pre_vote: u.arbitrary()?,
        read_only_option: if lease { ReadOnlyOption::LeaseBased } else { ReadOnlyOption::Safe },
        lease_from_boot: check_quorum && u.arbitrary()?,
        disable_proposal_forwarding: u.ratio(1, 4)?,
        disable_conf_change_validation: u.ratio(1, 4)?,
        step_down_on_removal: u.arbitrary()?,
        priority: u.int_in_range(-1..=1)?,
        batch_append: u.arbitrary()?,
        max_postponed_reads: *u.choose(&[1, 2, 100])?,
        seed: u.arbitrary()?,
        check_invariants: true,
        ..Config::default()
    })
}

/// Members that make the node a voter, alone, joint, a learner, or none.
fn members(u: &mut Unstructured<'_>) -> Result<ConfState> {
    let (voters, learners, outgoing, next): (&[u64], &[u64], &[u64], &[u64]) =
        match u.int_in_range(0..=7)? {
            0 => (&[1], &[], &[], &[]),
            1 => (&[2, 3], &[1], &[], &[]),
            2 => (&[2, 3, 4], &[], &[], &[]),
            3 => (&[1, 2, 4], &[], &[1, 2, 3], &[]),
            4 => (&[2, 3], &[5], &[1, 2, 3], &[1]),
            5 => (&[1], &[], &[1], &[]),
            _ => (&[1, 2, 3], &[4], &[], &[]),
        };
    Ok(ConfState {
        voters: voters.to_vec(),
        learners: learners.to_vec(),
        voters_outgoing: outgoing.to_vec(),
        learners_next: next.to_vec(),
        auto_leave: !outgoing.is_empty() && u.arbitrary()?,
    })
}

impl Run {
    /// Starts a node from a stored state that can be.
    pub(super) fn begin(u: &mut Unstructured<'_>) -> Result<Self> {
        let mut config = config(u)?;
        let log = MemoryStorage::new();
        let (mut conf_state, mut applied) = (ConfState::default(), 0);
        let bootstrap = u.ratio(1, 8)?;
        if !bootstrap {
            conf_state = members(u)?;
            let (index, term) = (u.int_in_range(1..=6)?, u.int_in_range(1..=2)?);
            let metadata = SnapshotMetadata { conf_state: Some(conf_state.clone()), index, term };
            let snapshot = Snapshot { metadata: Some(metadata), ..Snapshot::default() };
            log.apply_snapshot(snapshot).expect("the first");
            let mut entries: Vec<Entry> = Vec::new();
            let (mut at, mut log_term) = (index, term);
            for _ in 0..u.int_in_range(0..=8)? {
                at += 1;
                log_term += u64::from(u.ratio(1, 5)?);
                let entry = messages::entry(u, at, log_term)?;
                entries.push(Entry { index: at, term: log_term, ..entry });
            }
            log.append(&entries).expect("contiguous");
            let commit = u.int_in_range(index..=at)?;
            let term = log_term + u.int_in_range(0..=2)?;
            log.set_hard_state(HardState { term, vote: u.int_in_range(0..=3)?, commit });
            applied = u.int_in_range(index..=commit)?;
            log.set_conf_state(conf_state.clone());
        }
        let storage = Faulty::new(log);
        config.applied = applied;
        let last = storage.log.last_index().expect("in memory");
        if applied + 1 < last && u.ratio(1, 6)? {
            let low = u.int_in_range(applied + 1..=last - 1)?;
            storage.lost.set(Some(DamagedRange { low, high: u.int_in_range(low..=last - 1)? }));
            config.damaged = Some(DamagedRange { low, high: last });
        }
        let raw = RawNode::new(&config, storage.clone());
        let Ok(mut raw) = raw else { panic!("a state that can be is refused: {:?}", raw.err()) };
        if bootstrap {
            let peer = |id| Peer { id, context: bytes::Bytes::new() };
            let peers: Vec<Peer> = (1..=u.int_in_range(1..=3)?).map(peer).collect();
            raw.bootstrap(&peers).expect("an empty storage");
        }
        Ok(Self {
            config,
            storage,
            raw,
            ready: None,
            appends: VecDeque::new(),
            applies: VecDeque::new(),
            old: Vec::new(),
            handed: applied,
            applied,
            conf_state,
        })
    }

    pub(super) fn until_the_end(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        for _ in 0..OPERATIONS_MAX {
            if u.is_empty() {
                break;
            }
            let before = self.raw.status();
            let life = self.operation(u)?;
            let after = self.raw.status();
            let (was, is) = (before.basic, after.basic);
            if life {
                assert!(
                    is.hard_state.term >= was.hard_state.term,
                    "the term falls: {was:?} {is:?}"
                );
                assert!(is.hard_state.commit >= was.hard_state.commit, "{was:?} {is:?}");
                assert!(is.applied >= was.applied, "{was:?} {is:?}");
            }
        }
        Ok(())
    }

    /// One operation. Returns whether the node lives on.
    fn operation(&mut self, u: &mut Unstructured<'_>) -> Result<bool> {
        let now = self.raw.basic_status();
        match u.int_in_range(0..=31)? {
            0..=9 => {
                let m = messages::message(u, &now)?;
                self.call(|raw| raw.step(m));
            }
            10 => {
                let mut m = messages::message(u, &now)?;
                // Which snapshots it has handed out a node does not remember: in this the append
                // thread is believed.
                if m.kind() == Some(MessageType::StorageAppendResponse) {
                    m.snapshot = None;
                }
                self.call(|raw| raw.step_local(m));
            }
            11 => {
                // A vote or an acknowledgement that is just what a campaign or an entry waits for.
                let (from, term) = (u.int_in_range(2..=4)?, now.hard_state.term);
                let kinds = [
                    (MessageType::VoteResponse, term),
                    (MessageType::PreVoteResponse, term.saturating_add(1)),
                    (MessageType::AppendResponse, term),
                    (MessageType::HeartbeatResponse, term),
                ];
                let (kind, term) = *u.choose(&kinds)?;
                let (msg_type, index) = (kind as i32, now.last_index);
                let m = Message { msg_type, from, to: ME, term, index, ..Message::default() };
                self.call(|raw| raw.step(m));
            }
            12 => {
                for _ in 0..u.int_in_range(1..=8)? {
                    self.lenient(RawNode::tick);
                }
            }
            13 => self.call(RawNode::campaign),
            14..=19 => self.progress(u)?,
            20 => self.take(),
            21 => self.propose(u)?,
            22 => {
                let change = messages::change(u)?;
                let index = near(u, now.applied)?;
                if let Ok(Some(conf_state)) = self.raw.apply_conf_change(index, &change) {
                    self.conf_state = conf_state;
                }
            }
            23..=25 => self.request(u)?,
            26 => self.again(u)?,
            27 => self.fail(u)?,
            28 => self.compact(u)?,
            29 => self.cut(u)?,
            _ => {
                self.crash(u)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A call that changes nothing if it errs.
    fn call(&mut self, f: impl FnOnce(&mut RawNode<Faulty>) -> raft_core::Result<()>) {
        let before = (self.raw.status(), self.raw.has_ready());
        if let Err(e) = f(&mut self.raw) {
            sound(&e);
            let after = (self.raw.status(), self.raw.has_ready());
            assert_eq!(before, after, "changed by a call that failed: {e}");
        }
    }

    /// One that may have done a part.
    fn lenient(&mut self, f: impl FnOnce(&mut RawNode<Faulty>) -> raft_core::Result<()>) {
        if let Err(e) = f(&mut self.raw) {
            sound(&e);
        }
    }

    fn propose(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=3)? {
            0 => {
                let change = messages::change(u)?;
                self.call(|raw| raw.propose_conf_change(&change));
            }
            1 => {
                let change = messages::change_v1(u)?;
                self.call(|raw| raw.propose_conf_change_v1(&change));
            }
            2 => {
                let sizes: [usize; 3] = [u.int_in_range(0..=40)?, 3, 0];
                let count = u.int_in_range(0..=3)?;
                let batch: Vec<_> = sizes[..count].iter().map(|n| vec![7; *n].into()).collect();
                self.call(|raw| raw.propose_batch(batch));
            }
            _ => self.call(|raw| raw.propose(&b"something"[..])),
        }
        Ok(())
    }

    /// Other calls of the interface.
    fn request(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (id, now) = (node(u)?, self.raw.basic_status());
        match u.int_in_range(0..=9)? {
            0 => self.call(|raw| raw.transfer_leader(id)),
            1 => self.call(RawNode::forget_leader),
            2 | 3 => self.call(|raw| raw.read_index(&b"read"[..])),
            4 => self.call(|raw| raw.report_unreachable(id)),
            5 => self.call(|raw| raw.report_snapshot(id, SnapshotStatus::Finish)),
            6 => self.call(|raw| raw.report_snapshot(id, SnapshotStatus::Failure)),
            7 => {
                let index = near(u, now.applied)?;
                self.call(|raw| raw.request_snapshot(index));
            }
            8 => {
                let purpose = *u.choose(&[Fetch::Append { to: id }, Fetch::Apply, Fetch::Scan])?;
                self.call(|raw| raw.on_entries_fetched(purpose));
            }
            _ => {
                self.raw.set_priority(u.int_in_range(-2..=2)?);
                self.storage.lost.set(None);
                self.call(RawNode::mark_whole);
            }
        }
        Ok(())
    }

    /// The storage is going to err, or to lie.
    fn fail(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.storage.fault.set(*u.choose(&FAULTS)?);
        self.storage.left.set(u.int_in_range(0..=6)?);
        Ok(())
    }

    /// Takes a `Ready` and leaves it.
    fn take(&mut self) {
        let had = self.raw.has_ready();
        let ready = match self.raw.ready() {
            Ok(ready) => ready,
            Err(e) => return sound(&e),
        };
        assert!(self.ready.is_none(), "a second Ready before advance");
        self.judge(&ready, had);
        if !self.config.async_storage_writes {
            self.ready = Some(ready);
            return;
        }
        for m in ready.messages {
            match m.to {
                LOCAL_APPEND_THREAD => self.appends.push_back(m),
                LOCAL_APPLY_THREAD => self.applies.push_back(m),
                _ => {}
            }
        }
    }

    /// What is handed out must be possible.
    fn judge(&mut self, ready: &Ready, had: bool) {
        let something = ready.soft_state.is_some()
            || ready.hard_state.is_some()
            || ready.snapshot.is_some()
            || !ready.read_states.is_empty()
            || !ready.entries.is_empty()
            || !ready.committed_entries.is_empty()
            || !ready.messages.is_empty();
        assert!(had || !something, "has_ready said no");
        if let Some(snapshot) = &ready.snapshot {
            self.handed = snapshot.index();
        }
        for entry in &ready.committed_entries {
            assert_eq!(entry.index, self.handed + 1, "handed out in order, once");
            self.handed = entry.index;
        }
        let term = self.raw.basic_status().hard_state.term;
        assert!(ready.entries.iter().all(|e| e.term <= term), "an entry of a term to come");
        if self.raw.is_damaged() {
            let grants = ready.messages.iter().any(|m| {
                let kinds = [MessageType::VoteResponse, MessageType::PreVoteResponse];
                m.kind().is_some_and(|kind| kinds.contains(&kind)) && !m.reject
            });
            assert!(!grants, "a damaged node grants a vote");
        }
    }

    fn write(&mut self, snapshot: Option<&Snapshot>, entries: &[Entry], hard: Option<HardState>) {
        let log = &self.storage.log;
        if let Some(snapshot) = snapshot {
            match log.apply_snapshot(snapshot.clone()) {
                Ok(()) => self.storage.lost.set(None),
                Err(StorageError::SnapshotOutOfDate) => {}
                Err(e) => panic!("{e}"),
            }
            self.applied = snapshot.index();
            self.conf_state = snapshot.conf_state();
        }
        if let Err(e) = log.append(entries) {
            panic!("what is to be written does not fit: {e}");
        }
        if let Some(hard) = hard {
            log.set_hard_state(hard);
        }
    }

    /// Does some of the work that was handed out.
    fn progress(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if self.config.async_storage_writes {
            if self.appends.is_empty() && self.applies.is_empty() {
                self.take();
            }
            if let Some(m) = self.appends.pop_front() {
                let hard = HardState { term: m.term, vote: m.vote, commit: m.commit };
                let hard = (hard != HardState::default()).then_some(hard);
                self.write(m.snapshot.as_deref(), &m.entries, hard);
                self.respond(m.responses);
            }
            if u.arbitrary()?
                && let Some(m) = self.applies.pop_front()
            {
                self.apply(&m.entries);
                self.respond(m.responses);
            }
            return Ok(());
        }
        if self.ready.is_none() {
            self.take();
        }
        let Some(ready) = self.ready.take() else { return Ok(()) };
        self.write(ready.snapshot.as_ref(), &ready.entries, ready.hard_state);
        self.apply(&ready.committed_entries);
        self.lenient(|raw| raw.advance(ready));
        Ok(())
    }

    fn respond(&mut self, responses: Vec<Message>) {
        for m in responses {
            if m.to == ME {
                self.old.push(m.clone());
                self.lenient(|raw| raw.step_local(m));
            }
        }
    }

    fn apply(&mut self, entries: &[Entry]) {
        for entry in entries {
            if entry.index <= self.applied {
                continue;
            }
            if let Some(change) = change_of(entry)
                && let Ok(Some(conf_state)) = self.raw.apply_conf_change(entry.index, &change)
            {
                self.conf_state = conf_state;
            }
            self.applied = entry.index;
        }
    }

    /// An answer of a storage thread comes once more.
    fn again(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if self.old.is_empty() {
            return Ok(());
        }
        let m = self.old[u.choose_index(self.old.len())?].clone();
        self.call(|raw| raw.step_local(m));
        Ok(())
    }

    /// The application makes a snapshot and gives up what it covers.
    fn compact(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let upto = self.applied.min(self.raw.basic_status().applied);
        let conf_state = Some(self.conf_state.clone());
        let made = self.storage.log.create_snapshot(upto, conf_state, bytes::Bytes::new());
        if made.is_ok() {
            let keep = u.int_in_range(0..=2)?;
            // Nothing to give up is no harm.
            let _ = self.storage.log.compact(upto.saturating_sub(keep));
        }
        Ok(())
    }

    /// Gives the same `Ready` back twice, or one that is not the last: both are refused.
    fn cut(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let stale = Ready::default();
        self.call(|raw| match raw.advance(stale) {
            Ok(()) => panic!("a Ready that was never handed out was taken back"),
            refused => refused,
        });
        if u.arbitrary()? && self.ready.is_some() {
            let outcome = self.raw.ready();
            assert!(matches!(outcome, Err(Error::ReadyOutstanding)), "two at once");
        }
        Ok(())
    }

    /// Starts again from the storage: with the right applied index, or any.
    fn crash(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.storage.left.set(0);
        self.ready = None;
        self.appends.clear();
        self.applies.clear();
        self.old.clear();
        if u.ratio(1, 4)? {
            let config = Config { applied: near(u, self.applied)?, ..self.config.clone() };
            self.fail(u)?;
            if let Err(e) = RawNode::new(&config, self.storage.clone()) {
                sound(&e);
            }
            self.storage.left.set(0);
        }
        let log = &self.storage.log;
        let (first, last) =
            (log.first_index().expect("in memory"), log.last_index().expect("in memory"));
        let hard = log.initial_state().expect("in memory").hard_state;
        // The application knows how far the log was committed when it last flushed.
        self.applied = self.applied.min(hard.commit).max(first - 1);
        log.set_hard_state(HardState { commit: hard.commit.max(first - 1), ..hard });
        log.set_conf_state(self.conf_state.clone());
        self.config.applied = self.applied;
        self.config.damaged =
            self.storage.lost.get().map(|lost| DamagedRange { low: lost.low, high: last });
        if self.config.damaged.is_some_and(|d| d.low <= self.applied || d.low > d.high) {
            self.storage.lost.set(None);
            self.config.damaged = None;
        }
        match RawNode::new(&self.config, self.storage.clone()) {
            Ok(raw) => self.raw = raw,
            Err(e) => {
                // What hostile peers made it write may be no state to start from; then it says so.
                sound(&e);
                return Err(arbitrary::Error::NotEnoughData);
            }
        }
        self.handed = self.applied;
        Ok(())
    }
}

/// An error that may be: any but a bug.
fn sound(e: &Error) {
    assert!(!matches!(e, Error::Invariant(_)), "{e}");
}

/// The configuration change in an entry that has one, if it can be read.
fn change_of(entry: &Entry) -> Option<ConfChangeV2> {
    match EntryType::try_from(entry.entry_type?).ok()? {
        EntryType::Normal => None,
        EntryType::ConfChange => ConfChange::decode(&entry.data[..]).ok().map(Into::into),
        EntryType::ConfChangeV2 => ConfChangeV2::decode(&entry.data[..]).ok(),
    }
}
