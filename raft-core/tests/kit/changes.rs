//! Configuration changes as tokens: `v1 l2 r3 u4`.

use prost::Message as _;
use raft_core::{ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2, Entry, EntryType};

/// Reads them, separated by blanks.
pub(crate) fn parse(input: &str) -> Result<Vec<ConfChangeSingle>, String> {
    input.split_whitespace().map(token).collect()
}

fn token(token: &str) -> Result<ConfChangeSingle, String> {
    if token.len() < 2 {
        return Err(format!("unknown token {token}"));
    }
    let change_type = match token.as_bytes()[0] {
        b'v' => ConfChangeType::AddNode,
        b'l' => ConfChangeType::AddLearnerNode,
        b'r' => ConfChangeType::RemoveNode,
        b'u' => ConfChangeType::UpdateNode,
        _ => return Err(format!("unknown input: {token}")),
    };
    let digits = &token[1..];
    let syntax = |_| format!("strconv.ParseUint: parsing {digits:?}: invalid syntax");
    let node_id = digits.parse().map_err(syntax)?;
    Ok(ConfChangeSingle::new(change_type, node_id))
}

/// The change that an entry carries, of either kind.
pub(crate) fn from_entry(entry: &Entry) -> Result<ConfChangeV2, String> {
    let change = if entry.entry_type() == EntryType::ConfChange {
        ConfChange::decode(&entry.data[..]).map(ConfChangeV2::from)
    } else {
        ConfChangeV2::decode(&entry.data[..])
    };
    change.map_err(|error| error.to_string())
}
