//! Messages, entries and states as text for people: what etcd's tools print, to the byte.
//!
//! Where entries are shown, the caller says how their payload is; [`quoted`] is the usual way.

use crate::message::{
    ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType,
    HardState, Message, MessageType, Snapshot,
};
use crate::progress::ProgressStatus;
use crate::{LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, ReadState, Ready, SoftState};
use prost::Message as _;
use std::fmt::Write as _;

/// How the payload of an [`EntryType::Normal`] is shown.
pub type Payload<'a> = &'a dyn Fn(&[u8]) -> String;

/// Appends formatted text to a string, which cannot fail.
macro_rules! push {
    ($out:expr, $($text:tt)*) => {{
        let _ = write!($out, $($text)*);
    }};
}

/// Bytes between double quotes as Go writes them: UTF-8 as it is, if it can be seen, and escapes
/// for the rest.
pub fn quoted(data: &[u8]) -> String {
    let mut out = String::with_capacity(data.len() + 2);
    out.push('"');
    for chunk in data.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_quoted(&mut out, c);
        }
        for byte in chunk.invalid() {
            push!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

fn push_quoted(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        ' '..='~' => out.push(c),
        '\0'..='\x7f' => push!(out, "\\x{:02x}", u32::from(c)),
        _ if can_be_seen(c) => out.push(c),
        ..='\u{ffff}' => push!(out, "\\u{:04x}", u32::from(c)),
        _ => push!(out, "\\U{:08x}", u32::from(c)),
    }
}

/// Whether a character outside of ASCII is a letter, mark, number, punctuation or symbol.
fn can_be_seen(c: char) -> bool {
    // The standard library has the table, but shows it only so. Behind another character, since
    // at the start of a string it escapes combining marks as well.
    let text = ['a', c];
    let text: String = text.iter().collect();
    text.escape_debug().nth(1) == Some(c)
}

/// A node id as sender or receiver: hexadecimal, or the name of a storage thread, or `None` for 0.
pub fn describe_target(id: u64) -> String {
    match id {
        0 => "None".to_owned(),
        LOCAL_APPEND_THREAD => "AppendThread".to_owned(),
        LOCAL_APPLY_THREAD => "ApplyThread".to_owned(),
        _ => format!("{id:x}"),
    }
}

/// `Term:1 Vote:2 Commit:3`, without a vote that was not given.
pub fn describe_hard_state(state: &HardState) -> String {
    let mut out = format!("Term:{}", state.term);
    if state.vote != 0 {
        push!(out, " Vote:{}", state.vote);
    }
    push!(out, " Commit:{}", state.commit);
    out
}

/// `Voters:[1 2] VotersOutgoing:[] Learners:[3] LearnersNext:[] AutoLeave:false`.
pub fn describe_conf_state(state: &ConfState) -> String {
    let list = |ids: &[u64]| {
        let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
        ids.join(" ")
    };
    format!(
        "Voters:[{}] VotersOutgoing:[{}] Learners:[{}] LearnersNext:[{}] AutoLeave:{}",
        list(&state.voters),
        list(&state.voters_outgoing),
        list(&state.learners),
        list(&state.learners_next),
        state.auto_leave,
    )
}

/// `Index:4 Term:1 ConfState:...`; nothing of its data.
pub fn describe_snapshot(snapshot: &Snapshot) -> String {
    let conf_state = describe_conf_state(&snapshot.conf_state());
    format!("Index:{} Term:{} ConfState:{conf_state}", snapshot.index(), snapshot.term())
}

/// `v1 l2 r3 u4`: voter, learner, removed, updated.
pub fn describe_conf_change(changes: &[ConfChangeSingle]) -> String {
    let token = |change: &ConfChangeSingle| {
        let kind = match change.kind() {
            Some(ConfChangeType::AddNode) => "v",
            Some(ConfChangeType::AddLearnerNode) => "l",
            Some(ConfChangeType::RemoveNode) => "r",
            Some(ConfChangeType::UpdateNode) => "u",
            None => "unknown",
        };
        format!("{kind}{}", change.node_id)
    };
    changes.iter().map(token).collect::<Vec<_>>().join(" ")
}

/// `1/4 EntryNormal "payload"`: term, index, kind, and the payload or the changes.
pub fn describe_entry(entry: &Entry, payload: Payload<'_>) -> String {
    let changes = |decoded: Result<ConfChangeV2, prost::DecodeError>| match decoded {
        Ok(change) => describe_conf_change(&change.changes),
        Err(error) => error.to_string(),
    };
    let number = entry.entry_type.unwrap_or_default();
    let (kind, text) = match EntryType::try_from(number) {
        Ok(EntryType::Normal) => ("EntryNormal", payload(&entry.data)),
        Ok(EntryType::ConfChange) => {
            let decoded = ConfChange::decode(&entry.data[..]).map(ConfChangeV2::from);
            ("EntryConfChange", changes(decoded))
        }
        Ok(EntryType::ConfChangeV2) => {
            ("EntryConfChangeV2", changes(ConfChangeV2::decode(&entry.data[..])))
        }
        Err(_) => ("EntryUnknown", payload(&entry.data)),
    };
    let space = if text.is_empty() { "" } else { " " };
    format!("{}/{} {kind}{space}{text}", entry.term, entry.index)
}

/// [`describe_entry`] of each, a line each.
pub fn describe_entries(entries: &[Entry], payload: Payload<'_>) -> String {
    entries.iter().map(|entry| describe_entry(entry, payload) + "\n").collect()
}

/// `1->2 MsgApp Term:1 Log:1/3 Commit:3 Entries:[...]`: sender and receiver, kind, term, the log
/// term and index it speaks of, and what else is in it. More than one entry, a snapshot and
/// responses are on lines of their own; the last line is not ended.
pub fn describe_message(message: &Message, payload: Payload<'_>) -> String {
    let mut out = String::new();
    push_message(&mut out, "", message, payload);
    out
}

fn push_message(out: &mut String, indent: &str, message: &Message, payload: Payload<'_>) {
    let (from, to) = (describe_target(message.from), describe_target(message.to));
    let kind = message.kind().map_or("MsgUnknown", message_type);
    push!(out, "{indent}{from}->{to} {kind} Term:{}", message.term);
    push!(out, " Log:{}/{}", message.log_term, message.index);
    if message.reject {
        push!(out, " Rejected (Hint: {})", message.reject_hint);
    }
    if message.commit != 0 {
        push!(out, " Commit:{}", message.commit);
    }
    if message.vote != 0 {
        push!(out, " Vote:{}", message.vote);
    }
    if message.priority != 0 {
        push!(out, " Priority:{}", message.priority);
    }
    if message.request_snapshot != 0 {
        push!(out, " RequestSnapshot:{}", message.request_snapshot);
    }
    match &message.entries[..] {
        [] => {}
        [entry] => push!(out, " Entries:[{}]", describe_entry(entry, payload)),
        entries => {
            out.push_str(" Entries:[");
            for entry in entries {
                push!(out, "\n{indent}  {}", describe_entry(entry, payload));
            }
            push!(out, "\n{indent}]");
        }
    }
    if let Some(snapshot) = message.snapshot.as_deref().filter(|snapshot| !snapshot.is_empty()) {
        push!(out, "\n{indent}  Snapshot: {}", describe_snapshot(snapshot));
    }
    if !message.responses.is_empty() {
        out.push_str(" Responses:[");
        let deeper = format!("{indent}  ");
        for response in &message.responses {
            out.push('\n');
            push_message(out, &deeper, response, payload);
        }
        push!(out, "\n{indent}]");
    }
}

/// `Lead:1 State:StateLeader`.
pub fn describe_soft_state(state: &SoftState) -> String {
    format!("Lead:{} State:{}", state.leader, state.role)
}

/// All that is in it, a part after the other; `<empty Ready>` for one that asks for nothing.
pub fn describe_ready(ready: &Ready, payload: Payload<'_>) -> String {
    let mut out = String::new();
    if let Some(state) = &ready.soft_state {
        push!(out, "{}\n", describe_soft_state(state));
    }
    if let Some(state) = ready.hard_state.filter(|state| *state != HardState::default()) {
        push!(out, "HardState {}\n", describe_hard_state(&state));
    }
    if !ready.read_states.is_empty() {
        let state = |state: &ReadState| {
            let context: Vec<String> = state.context.iter().map(u8::to_string).collect();
            format!("{{{} [{}]}}", state.index, context.join(" "))
        };
        let states: Vec<String> = ready.read_states.iter().map(state).collect();
        push!(out, "ReadStates [{}]\n", states.join(" "));
    }
    if !ready.entries.is_empty() {
        push!(out, "Entries:\n{}", describe_entries(&ready.entries, payload));
    }
    if let Some(snapshot) = ready.snapshot.as_ref().filter(|snapshot| !snapshot.is_empty()) {
        push!(out, "Snapshot {}\n", describe_snapshot(snapshot));
    }
    if !ready.committed_entries.is_empty() {
        let entries = describe_entries(&ready.committed_entries, payload);
        push!(out, "CommittedEntries:\n{entries}");
    }
    if !ready.messages.is_empty() {
        out.push_str("Messages:\n");
        for message in &ready.messages {
            push!(out, "{}\n", describe_message(message, payload));
        }
    }
    if out.is_empty() {
        return "<empty Ready>".to_owned();
    }
    format!("Ready MustSync={}:\n{out}", ready.must_sync)
}

/// A line for each member: `1: StateReplicate match=4 next=5`.
pub fn describe_progress_map<'a>(
    members: impl IntoIterator<Item = (u64, &'a ProgressStatus)>,
) -> String {
    let mut out = String::new();
    for (id, member) in members {
        push!(out, "{id}: {member}\n");
    }
    out
}

fn message_type(kind: MessageType) -> &'static str {
    match kind {
        MessageType::Hup => "MsgHup",
        MessageType::Beat => "MsgBeat",
        MessageType::Propose => "MsgProp",
        MessageType::Append => "MsgApp",
        MessageType::AppendResponse => "MsgAppResp",
        MessageType::Vote => "MsgVote",
        MessageType::VoteResponse => "MsgVoteResp",
        MessageType::Snapshot => "MsgSnap",
        MessageType::Heartbeat => "MsgHeartbeat",
        MessageType::HeartbeatResponse => "MsgHeartbeatResp",
        MessageType::Unreachable => "MsgUnreachable",
        MessageType::SnapshotStatus => "MsgSnapStatus",
        MessageType::CheckQuorum => "MsgCheckQuorum",
        MessageType::TransferLeader => "MsgTransferLeader",
        MessageType::TimeoutNow => "MsgTimeoutNow",
        MessageType::ReadIndex => "MsgReadIndex",
        MessageType::ReadIndexResponse => "MsgReadIndexResp",
        MessageType::PreVote => "MsgPreVote",
        MessageType::PreVoteResponse => "MsgPreVoteResp",
        MessageType::StorageAppend => "MsgStorageAppend",
        MessageType::StorageAppendResponse => "MsgStorageAppendResp",
        MessageType::StorageApply => "MsgStorageApply",
        MessageType::StorageApplyResponse => "MsgStorageApplyResp",
        MessageType::ForgetLeader => "MsgForgetLeader",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_quoted_as_go_does() {
        let cases: [(&[u8], &str); 12] = [
            (b"", r#""""#),
            (b"prop 1", r#""prop 1""#),
            (b"\"\\'", r#""\"\\'""#),
            (b"\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            (b"\0\x1f\x7f", r#""\x00\x1f\x7f""#),
            (b"\xff\xc3", r#""\xff\xc3""#),
            // A cut character, a surrogate half, a character that is too long: byte by byte.
            (b"\xe2\x82a", r#""\xe2\x82a""#),
            (b"\xed\xa0\x80", r#""\xed\xa0\x80""#),
            (b"\xc0\x80", r#""\xc0\x80""#),
            ("\u{e4}\u{20ac}\u{1f600}\u{301}".as_bytes(), "\"\u{e4}\u{20ac}\u{1f600}\u{301}\""),
            ("\u{80}\u{a0}\u{ad}\u{2028}".as_bytes(), r#""\u0080\u00a0\u00ad\u2028""#),
            ("\u{fffd}\u{e000}\u{10ffff}".as_bytes(), "\"\u{fffd}\\ue000\\U0010ffff\""),
        ];
        for (data, expected) in cases {
            assert_eq!(quoted(data), expected, "{data:?}");
        }
    }

    #[test]
    fn an_entry_shows_its_changes_and_one_that_cannot_be_read_says_why() {
        let line = |kind: EntryType, data: &[u8]| {
            let data = data.to_vec().into();
            let entry = Entry { entry_type: Some(kind.into()), term: 2, index: 7, data };
            describe_entry(&entry, &quoted)
        };
        assert_eq!(line(EntryType::Normal, b""), r#"2/7 EntryNormal """#);
        assert_eq!(line(EntryType::ConfChangeV2, b""), "2/7 EntryConfChangeV2");
        assert!(line(EntryType::ConfChangeV2, b"\x12").len() > "2/7 EntryConfChangeV2 ".len());
        let single = |n, node_id| ConfChangeSingle { change_type: Some(n), node_id };
        let changes = vec![single(0, 1), single(3, 2), single(1, 3), single(2, 4), single(9, 5)];
        let change = ConfChangeV2 { changes, ..ConfChangeV2::default() };
        assert_eq!(
            line(EntryType::ConfChangeV2, &change.encode_to_vec()),
            "2/7 EntryConfChangeV2 v1 l2 r3 u4 unknown5"
        );
        let change = ConfChange::new(ConfChangeType::RemoveNode, 3);
        assert_eq!(line(EntryType::ConfChange, &change.encode_to_vec()), "2/7 EntryConfChange r3");
    }

    #[test]
    fn a_message_nests_its_entries_snapshot_and_responses() {
        let entry = |index| Entry { term: 1, index, ..Entry::default() };
        let metadata = crate::SnapshotMetadata { index: 9, term: 1, conf_state: None };
        let inner = Message {
            msg_type: MessageType::AppendResponse.into(),
            to: 2,
            from: 0x1f,
            term: 1,
            reject: true,
            reject_hint: 4,
            entries: vec![entry(4), entry(5)],
            ..Message::default()
        };
        let outer = Message {
            msg_type: MessageType::StorageAppend.into(),
            to: LOCAL_APPEND_THREAD,
            from: 0,
            commit: 3,
            vote: 2,
            entries: vec![entry(3)],
            snapshot: Some(Box::new(Snapshot { metadata: Some(metadata), ..Snapshot::default() })),
            responses: vec![inner],
            ..Message::default()
        };
        let expected = [
            "None->AppendThread MsgStorageAppend Term:0 Log:0/0 Commit:3 Vote:2",
            " Entries:[1/3 EntryNormal \"\"]\n  Snapshot: Index:9 Term:1 ConfState:",
            "Voters:[] VotersOutgoing:[] Learners:[] LearnersNext:[] AutoLeave:false",
            " Responses:[\n",
            "  1f->2 MsgAppResp Term:1 Log:0/0 Rejected (Hint: 4) Entries:[\n",
            "    1/4 EntryNormal \"\"\n    1/5 EntryNormal \"\"\n  ]\n]",
        ];
        assert_eq!(describe_message(&outer, &quoted), expected.concat());
    }
}
