//! The tables of quorums and of configuration changes: one call a directive.

use crate::changes;
use crate::datadriven::Directive;
use raft_core::confchange::Changer;
use raft_core::describe::describe_progress_map;
use raft_core::progress::ProgressStatus;
use raft_core::quorum::{JointConfig, MajorityConfig, VoteResult};
use raft_core::tracker::Tracker;
use std::collections::BTreeMap;

/// `committed` and `vote`.
pub(crate) fn quorum(directive: &Directive) -> Result<String, String> {
    let incoming = ids(directive, "cfg")?;
    let zero_joint = directive.value("cfgj") == Some("zero");
    let outgoing = if zero_joint { Vec::new() } else { ids(directive, "cfgj")? };

    // The values are those of the voters as they are written, each named once.
    let mut order = incoming.clone();
    order.extend(outgoing.iter().filter(|id| !incoming.contains(id)));
    let key = if directive.command == "vote" { "votes" } else { "idx" };
    let values = directive.values(key).unwrap_or_default();
    // `key=()` is one empty value.
    let values = if values == [""] { &[] } else { values };
    if values.len() != order.len() {
        return Err(mismatch(order, values));
    }
    let values: BTreeMap<u64, &str> =
        order.into_iter().zip(values.iter().map(String::as_str)).collect();
    let config = JointConfig {
        incoming: incoming.into_iter().collect(),
        outgoing: outgoing.into_iter().collect(),
    };
    match directive.command.as_str() {
        "committed" => committed(&config, &values),
        "vote" => vote(&config, &values),
        _ => Err("unknown command".to_owned()),
    }
}

/// As Go prints a map and a list; of votes it keeps numbers.
fn mismatch(mut voters: Vec<u64>, values: &[String]) -> String {
    voters.sort_unstable();
    let voters: Vec<String> = voters.iter().map(|id| format!("{id}:{{}}")).collect();
    let number = |value: &String| match value.as_str() {
        "_" => "0".to_owned(),
        "n" => "1".to_owned(),
        "y" => "2".to_owned(),
        other => other.to_owned(),
    };
    let values: Vec<String> = values.iter().map(number).collect();
    let (voters, values) = (voters.join(" "), values.join(" "));
    format!("error: mismatched input (explicit or _) for voters map[{voters}]: [{values}]")
}

fn ids(directive: &Directive, key: &str) -> Result<Vec<u64>, String> {
    let given = directive.values(key).unwrap_or_default();
    let given = given.iter().filter(|id| !id.is_empty());
    given.map(|id| id.parse().map_err(|_| format!("{key}: {id} is no id"))).collect()
}

fn committed(config: &JointConfig, values: &BTreeMap<u64, &str>) -> Result<String, String> {
    let mut known = BTreeMap::new();
    for (id, value) in values.iter().filter(|(_, value)| **value != "_") {
        let index: u64 = value.parse().map_err(|_| format!("{value} is no index"))?;
        known.insert(*id, index);
    }
    let acked = |id| known.get(&id).copied();
    let index = config.committed_index(acked);

    let swapped =
        JointConfig { incoming: config.outgoing.clone(), outgoing: config.incoming.clone() };
    assert_eq!(swapped.committed_index(acked), index, "the halves are not equals");
    for half in [&config.incoming, &config.outgoing] {
        let twice = JointConfig { incoming: half.clone(), outgoing: half.clone() };
        let alone = JointConfig { incoming: half.clone(), outgoing: MajorityConfig::new() };
        let plain = half.committed_index(acked);
        assert_eq!(twice.committed_index(acked), plain, "joint with itself");
        assert_eq!(alone.committed_index(acked), plain, "joint with nothing");
        assert_eq!(by_definition(half, acked), plain, "by definition");
    }
    let shown = if index == u64::MAX { "\u{221e}".to_owned() } else { index.to_string() };
    Ok(format!("{}{shown}\n", config.describe(acked)))
}

/// The largest index that somebody has, or 0, such that more than half have it.
fn by_definition(voters: &MajorityConfig, acked: impl Fn(u64) -> Option<u64>) -> u64 {
    let has = |index: u64| voters.iter().filter(|id| acked(*id).unwrap_or(0) >= index).count();
    let indexes = voters.iter().filter_map(&acked).chain([0]);
    let majority = indexes.filter(|index| has(*index) * 2 > voters.len()).max();
    if voters.is_empty() { u64::MAX } else { majority.unwrap_or(0) }
}

fn vote(config: &JointConfig, values: &BTreeMap<u64, &str>) -> Result<String, String> {
    let mut known = BTreeMap::new();
    for (id, value) in values {
        match *value {
            "_" => {}
            "y" => drop(known.insert(*id, true)),
            "n" => drop(known.insert(*id, false)),
            _ => return Err(format!("{value} is no vote")),
        }
    }
    let votes = |id| known.get(&id).copied();
    let result = config.vote_result(votes);
    let swapped =
        JointConfig { incoming: config.outgoing.clone(), outgoing: config.incoming.clone() };
    assert_eq!(swapped.vote_result(votes), result, "the halves are not equals");
    let result = match result {
        VoteResult::Pending => "VotePending",
        VoteResult::Lost => "VoteLost",
        VoteResult::Won => "VoteWon",
    };
    Ok(format!("{result}\n"))
}

/// A configuration that the directives of a file change.
pub(crate) struct Changes {
    tracker: Tracker,
    /// Goes up with every directive.
    last_index: u64,
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self { tracker: Tracker::new(10, 0), last_index: 0 }
    }

    /// `simple`, `enter-joint` and `leave-joint`.
    pub(crate) fn run(&mut self, directive: &Directive) -> Result<String, String> {
        let last_index = self.last_index;
        self.last_index += 1;
        let changes = changes::parse(&directive.input)?;
        let changer = Changer::new(&self.tracker, last_index);
        let next = match directive.command.as_str() {
            "simple" => changer.simple(&changes),
            "enter-joint" => changer.enter_joint(flag(directive, "autoleave")?, &changes),
            "leave-joint" if changes.is_empty() => changer.leave_joint(),
            "leave-joint" => return Err("this command takes no input".to_owned()),
            _ => return Err("unknown command".to_owned()),
        };
        (self.tracker.config, self.tracker.progress) = next.map_err(|error| error.to_string())?;
        let members: Vec<(u64, ProgressStatus)> =
            self.tracker.progress.iter().map(|(id, member)| (id, member.into())).collect();
        let members = members.iter().map(|(id, member)| (*id, member));
        Ok(format!("{}\n{}", self.tracker.config, describe_progress_map(members)))
    }
}

/// A boolean as Go reads it; false if it is not there.
pub(crate) fn flag(directive: &Directive, key: &str) -> Result<bool, String> {
    match directive.value(key) {
        None | Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
        Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
        Some(other) => Err(format!("{key}: {other} is no boolean")),
    }
}
