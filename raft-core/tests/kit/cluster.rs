//! Nodes and the messages between them, moved by hand: nothing happens that no directive asked for.

use crate::datadriven::Directive;
use crate::node::{Node, number};
use crate::output::Output;
use raft_core::describe::{describe_message, describe_ready, quoted};
use raft_core::{
    Error, HardState, LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, Message, MessageType, Ready,
};
use std::collections::VecDeque;
use std::fmt::Write as _;

/// A cluster that is not quiet after so many rounds never will be.
const MAX_ROUNDS: usize = 10_000;

/// Who receives messages, or loses them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recipient {
    pub(crate) id: u64,
    pub(crate) drop: bool,
}

/// The work of a storage thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thread {
    Append,
    Apply,
}

impl Thread {
    fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Apply => "apply",
        }
    }

    fn work(self, node: &mut Node) -> &mut VecDeque<Message> {
        match self {
            Self::Append => &mut node.append_work,
            Self::Apply => &mut node.apply_work,
        }
    }
}

#[derive(Default)]
pub(crate) struct Cluster {
    /// The node with id 1 is the first.
    nodes: Vec<Node>,
    /// All that is under way, in the order in which it was sent.
    pub(crate) messages: Vec<Message>,
    pub(crate) output: Output,
    /// Errors are shown in our own words, not in etcd's.
    pub(crate) explain: bool,
}

impl Cluster {
    /// Runs a directive, and gives what it has to say.
    pub(crate) fn run(&mut self, directive: &Directive) -> String {
        let result = self.dispatch(directive);
        let mut text = self.output.take();
        if let Err(error) = result {
            if self.output.is_quiet() {
                return error;
            }
            text.push_str(&error);
        }
        if text.is_empty() { "ok".to_owned() } else { text }
    }

    pub(crate) fn add(&mut self, node: Node) {
        self.nodes.push(node);
    }

    /// The ids of all nodes.
    pub(crate) fn ids(&self) -> Vec<u64> {
        (1..=self.nodes.len() as u64).collect()
    }

    pub(crate) fn node(&mut self, id: u64) -> Result<&mut Node, String> {
        let at = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        at.and_then(|at| self.nodes.get_mut(at)).ok_or_else(|| format!("there is no node {id}"))
    }

    /// The node that the `nth` argument names.
    pub(crate) fn node_of(
        &mut self,
        directive: &Directive,
        nth: usize,
    ) -> Result<&mut Node, String> {
        self.node(number(directive.nth(nth)?)?)
    }

    /// The text of an error, if etcd has it; where that says nothing, there is none.
    pub(crate) fn error(&self, error: &Error) -> Option<String> {
        if self.explain {
            return Some(error.to_string());
        }
        match error {
            Error::LocalMessage { .. } => Some("raft: cannot step raft local message".to_owned()),
            Error::PeerNotFound { .. } => Some("raft: cannot step as peer not found".to_owned()),
            Error::ProposalDropped(_) => Some("raft proposal dropped".to_owned()),
            Error::Storage(error) => Some(error.to_string()),
            Error::ReadDropped(_) | Error::Refused(_) => None,
            _ => Some(error.to_string()),
        }
    }

    /// The result of a call as that of a directive.
    pub(crate) fn result(&self, result: Result<(), Error>) -> Result<(), String> {
        result.or_else(|error| self.error(&error).map_or(Ok(()), Err))
    }

    /// Shows a Ready, and does all that it asks for.
    pub(crate) fn process_ready(&mut self, id: u64) -> Result<(), String> {
        let node = self.node(id)?;
        let ready = node.raw.ready().map_err(|error| error.to_string())?;
        self.output.push(&describe_ready(&ready, &quoted));
        self.handle(id, ready)
    }

    fn handle(&mut self, id: u64, mut ready: Ready) -> Result<(), String> {
        let node = self.node(id)?;
        let is_async = node.is_async();
        if !is_async {
            let hard_state = ready.hard_state.unwrap_or_default();
            node.store(hard_state, &ready.entries, ready.snapshot.as_ref())?;
            node.apply(&ready.committed_entries)?;
        }
        let mut sent = Vec::new();
        for message in std::mem::take(&mut ready.messages) {
            match message.to {
                LOCAL_APPEND_THREAD if is_async => node.append_work.push_back(message),
                LOCAL_APPLY_THREAD if is_async => node.apply_work.push_back(message),
                LOCAL_APPEND_THREAD | LOCAL_APPLY_THREAD => {
                    return Err("a message to a storage thread without such threads".to_owned());
                }
                _ => sent.push(message),
            }
        }
        if !is_async {
            node.raw.advance(ready).map_err(|error| error.to_string())?;
        }
        self.messages.append(&mut sent);
        Ok(())
    }

    /// Does the next work of a storage thread, and sends its responses.
    pub(crate) fn process_thread(&mut self, id: u64, thread: Thread) -> Result<(), String> {
        let node = self.node(id)?;
        let Some(mut message) = thread.work(node).pop_front() else {
            self.output.push(&format!("no {} work to perform", thread.name()));
            return Ok(());
        };
        let mut responses = std::mem::take(&mut message.responses);
        let mut text = format!("Processing:\n{}\n", describe_message(&message, &quoted));
        text.push_str("Responses:\n");
        for response in &responses {
            let _ = writeln!(text, "{}", describe_message(response, &quoted));
        }
        match thread {
            Thread::Append => {
                let Message { term, vote, commit, .. } = message;
                let snapshot = message.snapshot.as_deref();
                node.store(HardState { term, vote, commit }, &message.entries, snapshot)?;
            }
            Thread::Apply => node.apply(&message.entries)?,
        }
        self.output.push(&text);
        self.messages.append(&mut responses);
        Ok(())
    }

    /// Delivers or drops what is under way to each recipient, of one type or of all.
    pub(crate) fn deliver(
        &mut self,
        recipients: &[Recipient],
        kind: Option<MessageType>,
    ) -> Result<(), String> {
        let mut any = false;
        for recipient in recipients {
            for message in self.take_messages(*recipient, kind) {
                any = true;
                let dropped = if recipient.drop { "dropped: " } else { "" };
                self.output.push(&format!("{dropped}{}\n", describe_message(&message, &quoted)));
                if recipient.drop {
                    continue;
                }
                let raw = &mut self.node(recipient.id)?.raw;
                // A transfer that a follower passes on comes in the name of the node that is to
                // lead, which may be the receiver.
                let passed_on = message.kind() == Some(MessageType::TransferLeader);
                let local = is_local(&message) && !passed_on;
                let kind = message.kind();
                let own = local && message.from == message.to;
                let stepped = if local { raw.step_local(message) } else { raw.step(message) };
                // etcd complains of a node that was removed and hears of itself; the core does not.
                let config = raw.status().config;
                let member =
                    config.voters.contains(recipient.id) || config.learners.contains(recipient.id);
                let stepped = match kind {
                    Some(kind) if own && !member && stepped.is_ok() => {
                        Err(Error::PeerNotFound { kind, from: recipient.id })
                    }
                    _ => stepped,
                };
                if let Some(text) = stepped.err().and_then(|error| self.error(&error)) {
                    self.output.push(&format!("{text}\n"));
                }
            }
        }
        if !any {
            self.output.push("no messages\n");
        }
        Ok(())
    }

    /// Takes out what is under way to `recipient`. Messages of a node to itself cannot be lost.
    fn take_messages(&mut self, recipient: Recipient, kind: Option<MessageType>) -> Vec<Message> {
        let wanted = |message: &Message| {
            message.to == recipient.id
                && kind.is_none_or(|kind| message.kind() == Some(kind))
                && !(recipient.drop && is_local(message))
        };
        let all = std::mem::take(&mut self.messages);
        let (taken, rest) = all.into_iter().partition(wanted);
        self.messages = rest;
        taken
    }

    /// Lets the nodes go on by themselves until there is nothing left to do.
    pub(crate) fn stabilize(&mut self, ids: &[u64]) -> Result<(), String> {
        for _ in 0..MAX_ROUNDS {
            let mut busy = false;
            for id in ids {
                if self.node(*id)?.raw.has_ready() {
                    self.output.push(&format!("> {id} handling Ready\n"));
                    self.indented(|cluster| cluster.process_ready(*id))?;
                    busy = true;
                }
            }
            for id in ids {
                if self.messages.iter().any(|message| message.to == *id) {
                    self.output.push(&format!("> {id} receiving messages\n"));
                    let recipient = Recipient { id: *id, drop: false };
                    self.indented(|cluster| cluster.deliver(&[recipient], None))?;
                    busy = true;
                }
            }
            for thread in [Thread::Append, Thread::Apply] {
                for id in ids {
                    busy |= self.drain(*id, thread)?;
                }
            }
            if !busy {
                return Ok(());
            }
        }
        Err(format!("not quiet after {MAX_ROUNDS} rounds"))
    }

    /// Does all the work of a storage thread; false if there was none.
    fn drain(&mut self, id: u64, thread: Thread) -> Result<bool, String> {
        if thread.work(self.node(id)?).is_empty() {
            return Ok(false);
        }
        self.output.push(&format!("> {id} processing {} thread\n", thread.name()));
        while !thread.work(self.node(id)?).is_empty() {
            self.indented(|cluster| cluster.process_thread(id, thread))?;
        }
        Ok(true)
    }

    /// Does something for each id, under a header if there are several.
    pub(crate) fn each(
        &mut self,
        ids: &[u64],
        header: &str,
        act: impl Fn(&mut Self, u64) -> Result<(), String>,
    ) -> Result<(), String> {
        if let [id] = ids {
            return act(self, *id);
        }
        for id in ids {
            self.output.push(&format!("> {id} {header}\n"));
            self.indented(|cluster| act(cluster, *id))?;
        }
        Ok(())
    }

    fn indented(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let outer = self.output.begin();
        let result = act(self);
        self.output.end(outer);
        result
    }
}

/// Whether a message does not travel: to oneself, or from or to a storage thread.
fn is_local(message: &Message) -> bool {
    let thread = |id| id == LOCAL_APPEND_THREAD || id == LOCAL_APPLY_THREAD;
    message.from == message.to || thread(message.from) || thread(message.to)
}
