//! What the node hands out, and what it learns when that is done.

use std::mem;

use super::RawNode;
use crate::error::{Error, Result};
use crate::log::payload_size;
use crate::message::{Entry, HardState, Message, MessageType, Snapshot};
use crate::ready::Ready;
use crate::storage::Storage;
use crate::{LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD};

/// Vectors of up to this many elements are kept from one `Ready` to the next.
const KEPT_CAPACITY: usize = 1024;

/// What an [`RawNode::advance`] says is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outstanding {
    number: u64,
    /// The leader's term, and how many of its own appends were written in it.
    own_appends: (u64, usize),
    /// Of the log and the term when it was handed out.
    written: Option<Written>,
    /// Last index, encoded and payload bytes of what was to be applied.
    applied: Option<(u64, u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    term: u64,
    /// Last index and term; 0 for no entries.
    last: (u64, u64),
    /// The index of the snapshot.
    snapshot: Option<u64>,
}

impl<S: Storage> RawNode<S> {
    /// Whether [`RawNode::ready`] has something to say.
    pub fn has_ready(&self) -> bool {
        let raft = &self.raft;
        let hard_state = raft.hard_state();
        raft.soft_state() != self.last_soft_state
            || (hard_state != HardState::default() && hard_state != self.last_hard_state)
            || raft.log.unstable.next_snapshot().is_some()
            || !raft.msgs.is_empty()
            || !raft.msgs_after_append.is_empty()
            || raft.log.unstable.has_next_entries()
            || raft.log.has_next_committed(self.applies_unstable())
            || !raft.read_states.is_empty()
            || raft.read_error.is_some()
    }

    /// Whether entries may be applied before they are known to be durable here: in one `Ready` they
    /// are written first.
    fn applies_unstable(&self) -> bool {
        !self.raft.config.async_storage_writes
    }

    /// Everything that is to be done now, see [`Ready`]. May be empty.
    ///
    /// # Errors
    /// [`Error::ReadyOutstanding`] if the last was not given back; [`Error::Storage`] if committed
    /// entries, or since the last call entries to be sent, could not be read: nothing is handed out
    /// then, and the next call tries again.
    pub fn ready(&mut self) -> Result<Ready> {
        if self.outstanding.is_some() {
            return Err(Error::ReadyOutstanding);
        }
        if let Some(e) = self.raft.read_error.take() {
            return Err(Error::Storage(e));
        }
        let unstable = self.applies_unstable();
        let mut committed_entries = mem::take(&mut self.spare_committed);
        let applying_bytes = match self.raft.log.next_committed(&mut committed_entries, unstable) {
            // They come when they are there; everything else need not wait.
            Err(e) if e.is_temporary() => {
                self.raft.log.set_apply_away(true);
                0
            }
            read => read?,
        };
        if let Some(last) = committed_entries.last() {
            self.raft.log.accept_applying(last.index, applying_bytes, unstable);
        }
        let raft = &mut self.raft;
        let mut entries = mem::take(&mut self.spare_entries);
        for part in raft.log.unstable.next_entries() {
            entries.extend_from_slice(part);
        }
        let mut messages = mem::take(&mut raft.msgs);
        let (hard_state, must_sync) = self.changed_hard_state(!entries.is_empty());
        let soft_state = self.raft.soft_state();
        let changed = soft_state != mem::replace(&mut self.last_soft_state, soft_state);
        self.readies += 1;
        if self.raft.config.async_storage_writes {
            self.address_append(&mut messages, &entries, hard_state);
            self.address_apply(&mut messages, &committed_entries);
        } else {
            self.hold_back(&mut messages, &committed_entries, applying_bytes);
        }
        let snapshot = self.raft.log.unstable.next_snapshot().is_some();
        self.raft.log.unstable.accept();
        self.checked(Ok(()))?;
        // Made where the caller finds it: it is large, and would be moved otherwise.
        Ok(Ready {
            soft_state: changed.then_some(soft_state),
            hard_state,
            read_states: mem::take(&mut self.raft.read_states),
            entries,
            snapshot: self.raft.log.unstable.snapshot().filter(|_| snapshot).cloned(),
            committed_entries,
            messages,
            must_sync,
            number: self.readies,
        })
    }

    /// The hard state if it changed since it was last handed out, and whether it must be synced,
    /// with entries or without.
    fn changed_hard_state(&mut self, entries: bool) -> (Option<HardState>, bool) {
        let (now, last) = (self.raft.hard_state(), self.last_hard_state);
        let must_sync = entries || now.term != last.term || now.vote != last.vote;
        if now == HardState::default() || now == last {
            return (None, must_sync);
        }
        self.last_hard_state = now;
        (Some(now), must_sync)
    }

    /// What must hold of the log when the writes of a `Ready` are acknowledged; `None` if nothing
    /// depends on them.
    fn written(&self) -> Option<Written> {
        let log = &self.raft.log;
        let (entries, snapshot) = (log.unstable.has_entries(), log.unstable.next_snapshot());
        if !entries && snapshot.is_none() {
            return None;
        }
        // Also of a write without entries: an acknowledgement that is overtaken by a change of term
        // does not count, and then no other would come.
        let last = if entries { (log.last_index(), log.last_term()) } else { (0, 0) };
        Some(Written { term: self.raft.term, last, snapshot: snapshot.map(Snapshot::index) })
    }

    /// Asynchronous writes: work for the append thread, with what is to be said when it is done.
    fn address_append(
        &mut self,
        messages: &mut Vec<Message>,
        entries: &[Entry],
        hard_state: Option<HardState>,
    ) {
        let written = self.written();
        let snapshot = self.raft.log.unstable.next_snapshot().cloned().map(Box::new);
        let (me, after) = (self.raft.id(), mem::take(&mut self.raft.msgs_after_append));
        if entries.is_empty() && hard_state.is_none() && snapshot.is_none() && after.is_empty() {
            return;
        }
        let mut append = local(MessageType::StorageAppend, me, LOCAL_APPEND_THREAD);
        append.entries = entries.to_vec();
        if let Some(hard_state) = hard_state {
            (append.term, append.vote) = (hard_state.term, hard_state.vote);
            append.commit = hard_state.commit;
        }
        append.responses = after;
        append.responses.extend(written.map(|w| {
            let answer = local(MessageType::StorageAppendResponse, LOCAL_APPEND_THREAD, me);
            let (index, log_term) = w.last;
            let snapshot = snapshot.clone();
            Message { term: w.term, index, log_term, snapshot, ..answer }
        }));
        append.snapshot = snapshot;
        messages.push(append);
    }

    /// Asynchronous writes: work for the apply thread.
    fn address_apply(&self, messages: &mut Vec<Message>, committed: &[Entry]) {
        if committed.is_empty() {
            return;
        }
        let me = self.raft.id();
        let mut apply = local(MessageType::StorageApply, me, LOCAL_APPLY_THREAD);
        apply.entries = committed.to_vec();
        let mut answer = local(MessageType::StorageApplyResponse, LOCAL_APPLY_THREAD, me);
        answer.entries = committed.to_vec();
        apply.responses.push(answer);
        messages.push(apply);
    }

    /// Synchronous writes: promises to peers go out with this `Ready`, whose driver writes first;
    /// those to itself wait for [`RawNode::advance`].
    fn hold_back(&mut self, messages: &mut Vec<Message>, committed: &[Entry], bytes: u64) {
        let written = self.written();
        let (me, after) = (self.raft.id(), &mut self.raft.msgs_after_append);
        if messages.is_empty() && after.iter().all(|m| m.to != me) {
            mem::swap(messages, after);
        } else {
            for message in after.drain(..) {
                let own = message.to == me;
                if own { &mut self.own_votes } else { &mut *messages }.push(message);
            }
        }
        let applied = committed.last().map(|last| (last.index, bytes, payload_size(committed)));
        let own_appends = (self.raft.term, self.raft.own_appends.len());
        let number = self.readies;
        self.outstanding = Some(Outstanding { number, own_appends, written, applied });
    }

    /// Says that everything in `ready` is done: written, sent and applied. Only with synchronous
    /// storage writes.
    ///
    /// # Errors
    /// [`Error::NoReadyOutstanding`] if this is not the last `Ready`, or storage writes are
    /// asynchronous.
    pub fn advance(&mut self, ready: Ready) -> Result<()> {
        let Some(done) = self.outstanding.take_if(|o| o.number == ready.number) else {
            return Err(Error::NoReadyOutstanding);
        };
        self.reuse(ready);
        let mut outcome = Ok(());
        // Promises first: while the entries are still at hand, their terms are.
        for mut vote in mem::take(&mut self.own_votes) {
            let stepped = self.raft.step(&mut vote);
            outcome = outcome.and(stepped);
        }
        let (term, count) = done.own_appends;
        self.raft.own_appends_written(term, count);
        if let Some(written) = done.written {
            self.raft.written(written.term, written.last, written.snapshot);
        }
        if let Some((index, encoded, payload)) = done.applied {
            self.raft.applied(index, encoded, payload);
        }
        self.checked(outcome)
    }

    /// Keeps vectors for the next time.
    fn reuse(&mut self, ready: Ready) {
        let Ready { entries, committed_entries, messages, .. } = ready;
        if self.raft.msgs.capacity() == 0 {
            self.raft.msgs = emptied(messages);
        }
        self.spare_entries = emptied(entries);
        self.spare_committed = emptied(committed_entries);
    }
}

fn local(kind: MessageType, from: u64, to: u64) -> Message {
    Message { msg_type: kind as i32, from, to, ..Message::default() }
}

/// An empty vector: the same one, unless it has become unusually large.
fn emptied<T>(mut vector: Vec<T>) -> Vec<T> {
    if vector.capacity() > KEPT_CAPACITY {
        return Vec::new();
    }
    vector.clear();
    vector
}
