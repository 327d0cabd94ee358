//! The directives of a cluster; README.md beside the scenarios describes them.

use crate::changes;
use crate::cluster::{Cluster, Recipient, Thread};
use crate::datadriven::Directive;
use crate::node::{Node, number};
use raft_core::describe::{
    describe_conf_state, describe_entries, describe_hard_state, describe_message,
    describe_progress_map, quoted,
};
use raft_core::{
    ConfChange, ConfChangeTransition, ConfChangeV2, Fetch, Message, MessageType, SnapshotStatus,
    Storage,
};
use std::fmt::Write as _;

impl Cluster {
    pub(crate) fn dispatch(&mut self, directive: &Directive) -> Result<(), String> {
        let all = |cluster: &mut Self, header, act: fn(&mut Self, u64) -> Result<(), String>| {
            let ids = ids_of(directive)?;
            cluster.each(&ids, header, act)
        };
        match directive.command.as_str() {
            "_breakpoint" => Ok(()),
            "add-nodes" => self.add_nodes(directive),
            "process-ready" => all(self, "handling Ready", Self::process_ready),
            "process-append-thread" => all(self, "processing append thread", |cluster, id| {
                cluster.process_thread(id, Thread::Append)
            }),
            "process-apply-thread" => all(self, "processing apply thread", |cluster, id| {
                cluster.process_thread(id, Thread::Apply)
            }),
            "deliver-msgs" => self.deliver_msgs(directive),
            "stabilize" => self.stabilize_at_level(directive),
            "log-level" => self.output.set_level(directive.nth(0)?).map(drop),
            "explain" => {
                self.explain = directive.nth(0)? == "on";
                Ok(())
            }
            "send-snapshot" => self.send_snapshot(directive),
            "raft-state" => self.raft_state(),
            _ => self.show(directive).unwrap_or_else(|| self.act(directive)),
        }
    }

    /// Directives that make a node do something, and say nothing unless it fails.
    fn act(&mut self, directive: &Directive) -> Result<(), String> {
        if directive.command == "transfer-leadership" {
            let id = |key| number(directive.value(key).unwrap_or_default());
            let (from, to) = (id("from")?, id("to")?);
            let result = self.node(from)?.raw.transfer_leader(to);
            return self.result(result);
        }
        let node = self.node_of(directive, 0)?;
        let result = match directive.command.as_str() {
            "campaign" => node.raw.campaign(),
            "propose" => node.raw.propose(bytes(directive.nth(1)?)),
            "propose-batch" => {
                node.raw.propose_batch(directive.bare().skip(1).map(|data| bytes(data).into()))
            }
            "propose-conf-change" => propose_conf_change(node, directive)?,
            "read-index" => node.raw.read_index(bytes(directive.nth(1)?)),
            "request-snapshot" => {
                let committed = node.raw.basic_status().hard_state.commit;
                node.raw.request_snapshot(committed)
            }
            "mark-whole" => node.raw.mark_whole(),
            "tick" => tick(node, number(directive.nth(1)?)?),
            "tick-election" => tick(node, node.config.election_tick.into()),
            "tick-heartbeat" => tick(node, node.config.heartbeat_tick.into()),
            "report-unreachable" => node.raw.report_unreachable(number(directive.nth(1)?)?),
            "report-snapshot" => {
                let status = match directive.value("status") {
                    Some("finish") => SnapshotStatus::Finish,
                    Some("failure") => SnapshotStatus::Failure,
                    other => return Err(format!("status is finish or failure, not {other:?}")),
                };
                node.raw.report_snapshot(number(directive.nth(1)?)?, status)
            }
            "entries-fetched" => {
                let to = number(directive.nth(1)?)?;
                node.raw.on_entries_fetched(Fetch::Append { to })
            }
            "forget-leader" => {
                // What it says is of no interest: only a follower can do it.
                let _ = node.raw.forget_leader();
                Ok(())
            }
            _ => return self.act_surely(directive),
        };
        self.result(result)
    }

    /// Directives that cannot be refused.
    fn act_surely(&mut self, directive: &Directive) -> Result<(), String> {
        let node = self.node_of(directive, 0)?;
        match directive.command.as_str() {
            "set-randomized-election-timeout" => {
                let ticks = number(directive.value("timeout").unwrap_or_default())?;
                node.raw.set_randomized_election_timeout(ticks as u32);
            }
            "set-priority" => {
                let text = directive.nth(1)?;
                let priority = text.parse().map_err(|_| format!("{text} is no priority"))?;
                node.raw.set_priority(priority);
            }
            "log-away" => node.storage.log_away.set(directive.nth(1)? == "on"),
            "snapshot-away" => node.storage.snapshot_away.set(directive.nth(1)? == "on"),
            "crash-restart" => {
                node.restart(directive)?;
            }
            _ => return Err("unknown command".to_owned()),
        }
        Ok(())
    }

    /// Directives that show something of a node; `None` for others.
    fn show(&mut self, directive: &Directive) -> Option<Result<(), String>> {
        let show: fn(&mut Node) -> Result<String, String> = match directive.command.as_str() {
            "raft-log" => raft_log,
            "compact" => {
                let compacted = self.compact(directive);
                return Some(compacted.map(|text| self.output.push(&text)));
            }
            "status" => |node| Ok(status(node)),
            "node-state" => |node| Ok(node_state(node)),
            "config" => |node| Ok(config(node)),
            "hard-state" => hard_state,
            "app-state" => |node| Ok(app_state(node)),
            _ => return None,
        };
        let text = self.node_of(directive, 0).and_then(show);
        Some(text.map(|text| self.output.push(&text)))
    }

    fn add_nodes(&mut self, directive: &Directive) -> Result<(), String> {
        for _ in 0..number(directive.nth(0)?)? {
            let id = self.ids().len() as u64 + 1;
            self.add(Node::new(id, directive)?);
        }
        Ok(())
    }

    fn deliver_msgs(&mut self, directive: &Directive) -> Result<(), String> {
        let mut recipients = Vec::new();
        let mut kind = None;
        for arg in &directive.args {
            match arg.key.as_str() {
                "type" => kind = Some(message_type(arg.values.first().map_or("", String::as_str))?),
                "drop" => {
                    for id in &arg.values {
                        recipients.push(Recipient { id: number(id)?, drop: true });
                    }
                }
                id => recipients.push(Recipient { id: number(id)?, drop: false }),
            }
        }
        self.deliver(&recipients, kind)
    }

    fn stabilize_at_level(&mut self, directive: &Directive) -> Result<(), String> {
        let mut ids = ids_of(directive)?;
        if ids.is_empty() {
            ids = self.ids();
        }
        let level = directive.value("log-level");
        let before = level.map(|level| self.output.set_level(level)).transpose()?;
        let result = self.stabilize(&ids);
        if let Some(before) = before {
            self.output.set_quiet(before);
        }
        result
    }

    fn send_snapshot(&mut self, directive: &Directive) -> Result<(), String> {
        let (from, to) = (number(directive.nth(0)?)?, number(directive.nth(1)?)?);
        let node = self.node(from)?;
        let message = Message {
            msg_type: MessageType::Snapshot.into(),
            from,
            to,
            term: node.raw.basic_status().hard_state.term,
            snapshot: Some(Box::new(node.storage.latest())),
            ..Message::default()
        };
        self.output.push(&describe_message(&message, &quoted));
        self.messages.push(message);
        Ok(())
    }

    fn raft_state(&mut self) -> Result<(), String> {
        for id in self.ids() {
            let node = self.node(id)?;
            let status = node.raw.status();
            let voter = status.config.voters.contains(id);
            let voter = if voter { "(Voter)" } else { "(Non-Voter)" };
            let (role, lead) = (status.basic.soft_state.role, status.basic.soft_state.leader);
            let term = status.basic.hard_state.term;
            self.output.push(&format!("{id}: {role} {voter} Term:{term} Lead:{lead}\n"));
        }
        Ok(())
    }

    fn compact(&mut self, directive: &Directive) -> Result<String, String> {
        let node = self.node_of(directive, 0)?;
        let index = number(directive.nth(1)?)?;
        node.storage.memory.compact(index).map_err(|error| error.to_string())?;
        raft_log(node)
    }
}

fn ids_of(directive: &Directive) -> Result<Vec<u64>, String> {
    directive.bare().map(number).collect()
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn tick(node: &mut Node, times: u64) -> raft_core::Result<()> {
    (0..times).try_for_each(|_| node.raw.tick())
}

fn message_type(name: &str) -> Result<MessageType, String> {
    let named = |kind: &MessageType| {
        let message = Message { msg_type: (*kind).into(), ..Message::default() };
        describe_message(&message, &quoted).split(' ').nth(1) == Some(name)
    };
    let all = (0..).map_while(|number| MessageType::try_from(number).ok());
    all.into_iter().find(named).ok_or_else(|| format!("unknown type {name}"))
}

fn propose_conf_change(
    node: &mut Node,
    directive: &Directive,
) -> Result<raft_core::Result<()>, String> {
    let transition = match directive.value("transition") {
        None | Some("auto") => ConfChangeTransition::Auto,
        Some("implicit") => ConfChangeTransition::JointImplicit,
        Some("explicit") => ConfChangeTransition::JointExplicit,
        Some(other) => return Err(format!("unknown transition {other}")),
    };
    let given = directive.args.iter().filter(|arg| !arg.values.is_empty());
    if let Some(arg) = given.into_iter().find(|arg| arg.key != "v1" && arg.key != "transition") {
        return Err(format!("unknown command {}", arg.key));
    }
    let changes = changes::parse(&directive.input)?;
    if !crate::tables::flag(directive, "v1")? {
        let change = ConfChangeV2::new(transition, changes);
        return Ok(node.raw.propose_conf_change(&change));
    }
    match changes[..] {
        [change] if transition == ConfChangeTransition::Auto => {
            let change = ConfChange {
                change_type: change.change_type,
                node_id: change.node_id,
                ..ConfChange::default()
            };
            Ok(node.raw.propose_conf_change_v1(&change))
        }
        _ => Err("v1 conf change can only have one operation and no transition".to_owned()),
    }
}

fn raft_log(node: &mut Node) -> Result<String, String> {
    let memory = &node.storage.memory;
    let text = || {
        let (first, last) = (memory.first_index()?, memory.last_index()?);
        if last < first {
            return Ok(format!("log is empty: first index={first}, last index={last}"));
        }
        let entries = memory.entries(first, last + 1, u64::MAX, Fetch::Scan)?;
        Ok(describe_entries(&entries, &quoted))
    };
    text().map_err(|error: raft_core::StorageError| error.to_string())
}

fn status(node: &Node) -> String {
    let status = node.raw.status();
    describe_progress_map(status.progress.iter().map(|(id, member)| (*id, member)))
}

fn node_state(node: &Node) -> String {
    let status = node.raw.basic_status();
    let mut text = format!("{}: {}", status.id, status.soft_state.role);
    let state = status.hard_state;
    let _ = write!(text, " Term:{} Vote:{} Commit:{}", state.term, state.vote, state.commit);
    let (lead, transferee) = (status.soft_state.leader, status.lead_transferee);
    let _ = writeln!(text, " Applied:{} Lead:{lead} Transferee:{transferee}", status.applied);
    text
}

fn config(node: &Node) -> String {
    let mut config = node.raw.status().config;
    // What etcd shows here is a copy that lacks it.
    config.auto_leave = false;
    format!("{config}\n")
}

fn hard_state(node: &mut Node) -> Result<String, String> {
    let state = node.storage.initial_state().map_err(|error| error.to_string())?;
    let conf_state = describe_conf_state(&state.conf_state);
    Ok(format!("{}\n{conf_state}\n", describe_hard_state(&state.hard_state)))
}

fn app_state(node: &Node) -> String {
    let latest = node.storage.latest();
    format!("Index:{} Data:{}\n", latest.index(), quoted(&latest.data))
}
