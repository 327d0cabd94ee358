//! Messages with every field free: mostly near what the node has, so that they get somewhere.

use arbitrary::{Arbitrary as _, Result, Unstructured};
use bytes::Bytes;
use prost::Message as _;
use raft_core::{
    BasicStatus, ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2,
    ConfState, Entry, EntryType, LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, Message, Snapshot,
    SnapshotMetadata,
};

/// A number near `base`, or any.
pub(super) fn near(u: &mut Unstructured<'_>, base: u64) -> Result<u64> {
    Ok(match u.int_in_range(0..=31)? {
        0 => 0,
        1 => u64::MAX,
        2 => u64::MAX - u64::from(u.int_in_range(0u8..=4)?),
        3 => u.arbitrary()?,
        4 => base.saturating_add(u.int_in_range(0..=100)?),
        5..=16 => base,
        17..=20 => base.saturating_add(1),
        21..=24 => base.saturating_sub(1),
        _ => base.saturating_add(u.int_in_range(0..=8)?).saturating_sub(4),
    })
}

pub(super) fn node(u: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match u.int_in_range(0..=15)? {
        0 => 0,
        1 => LOCAL_APPEND_THREAD,
        2 => LOCAL_APPLY_THREAD,
        3 => u.arbitrary()?,
        n => n % 6 + 1,
    })
}

fn payload(u: &mut Unstructured<'_>) -> Result<Bytes> {
    let size = u.int_in_range(0..=40)?;
    Ok(vec![u.arbitrary()?; size].into())
}

/// Of a heartbeat the count of reads, of a vote the word for a transfer, or anything.
fn context(u: &mut Unstructured<'_>) -> Result<Bytes> {
    Ok(match u.int_in_range(0..=7)? {
        0..=3 => Bytes::new(),
        4 => Bytes::from_static(b"CampaignTransfer"),
        5 | 6 => Bytes::copy_from_slice(&near(u, 1)?.to_le_bytes()),
        _ => payload(u)?,
    })
}

pub(super) fn change(u: &mut Unstructured<'_>) -> Result<ConfChangeV2> {
    let mut change = ConfChangeV2 { context: payload(u)?, ..ConfChangeV2::default() };
    let transitions = [
        ConfChangeTransition::Auto,
        ConfChangeTransition::JointImplicit,
        ConfChangeTransition::JointExplicit,
    ];
    change.set_transition(*u.choose(&transitions)?);
    for _ in 0..u.int_in_range(0..=4)? {
        change.changes.push(single(u)?);
    }
    if u.ratio(1, 16)? {
        change.transition = Some(u.arbitrary()?);
    }
    Ok(change)
}

fn single(u: &mut Unstructured<'_>) -> Result<ConfChangeSingle> {
    let kinds = [
        ConfChangeType::AddNode,
        ConfChangeType::RemoveNode,
        ConfChangeType::UpdateNode,
        ConfChangeType::AddLearnerNode,
    ];
    let mut single = ConfChangeSingle { node_id: node(u)?, ..ConfChangeSingle::default() };
    single.set_change_type(*u.choose(&kinds)?);
    Ok(single)
}

pub(super) fn change_v1(u: &mut Unstructured<'_>) -> Result<ConfChange> {
    let ConfChangeSingle { change_type, node_id } = single(u)?;
    Ok(ConfChange { id: u.arbitrary()?, change_type, node_id, context: payload(u)? })
}

pub(super) fn conf_state(u: &mut Unstructured<'_>) -> Result<ConfState> {
    let mut some = |most: usize| -> Result<Vec<u64>> {
        (0..u.int_in_range(0..=most)?).map(|_| node(u)).collect()
    };
    let (mut voters, learners, voters_outgoing, learners_next) =
        (some(4)?, some(2)?, some(3)?, some(1)?);
    if u.ratio(3, 4)? {
        voters.push(1);
    }
    let joint = u.ratio(1, 3)?;
    Ok(ConfState {
        voters,
        learners,
        voters_outgoing: if joint { voters_outgoing } else { Vec::new() },
        learners_next: if joint { learners_next } else { Vec::new() },
        auto_leave: joint && u.arbitrary()?,
    })
}

pub(super) fn snapshot(u: &mut Unstructured<'_>, now: &BasicStatus) -> Result<Snapshot> {
    if u.ratio(1, 16)? {
        return Ok(Snapshot::default());
    }
    let commit = now.hard_state.commit;
    let about = if u.arbitrary()? { commit + 1 } else { now.last_index };
    let index = near(u, about)?;
    let conf_state = if u.ratio(15, 16)? { Some(conf_state(u)?) } else { None };
    let metadata = SnapshotMetadata { conf_state, index, term: near(u, now.hard_state.term)? };
    Ok(Snapshot { data: payload(u)?, metadata: Some(metadata) })
}

/// An entry that could be, or is somewhat off.
pub(super) fn entry(u: &mut Unstructured<'_>, index: u64, term: u64) -> Result<Entry> {
    let mut entry = Entry { index, term, ..Entry::default() };
    match u.int_in_range(0..=15)? {
        0 => entry.entry_type = Some(u.arbitrary()?),
        1 => {
            entry.set_entry_type(EntryType::ConfChange);
            entry.data = change_v1(u)?.encode_to_vec().into();
        }
        2 | 3 => {
            entry.set_entry_type(EntryType::ConfChangeV2);
            entry.data = change(u)?.encode_to_vec().into();
        }
        4 => {
            entry.set_entry_type(EntryType::ConfChangeV2);
            entry.data = payload(u)?;
        }
        _ => entry.data = payload(u)?,
    }
    if u.ratio(1, 32)? {
        entry.index = near(u, index)?;
    }
    if u.ratio(1, 16)? {
        entry.term = near(u, term)?;
    }
    Ok(entry)
}

/// A message to node 1.
pub(super) fn message(u: &mut Unstructured<'_>, now: &BasicStatus) -> Result<Message> {
    if u.ratio(1, 32)? {
        // As the network would have it.
        let bytes = Vec::<u8>::arbitrary(u)?;
        return Ok(Message::decode(&bytes[..]).unwrap_or_default());
    }
    let (last, commit) = (now.last_index, now.hard_state.commit);
    let index = if u.arbitrary()? { last } else { commit };
    let term = now.hard_state.term;
    let mut m = Message {
        msg_type: u.int_in_range(0..=24)?,
        to: if u.ratio(15, 16)? { 1 } else { node(u)? },
        from: node(u)?,
        term: near(u, term)?,
        log_term: near(u, term)?,
        index: near(u, index)?,
        commit: near(u, commit)?,
        reject: u.ratio(1, 4)?,
        reject_hint: near(u, index)?,
        context: context(u)?,
        priority: i64::from(u.int_in_range(-1..=1)?),
        ..Message::default()
    };
    if u.ratio(1, 3)? {
        m.log_term = m.term.min(term);
    }
    let mut at = m.index;
    for _ in 0..u.int_in_range(0..=3)? {
        at = at.wrapping_add(1);
        let entry_term = m.log_term.max(1).min(m.term);
        m.entries.push(entry(u, at, entry_term)?);
    }
    if u.ratio(1, 4)? {
        m.snapshot = Some(Box::new(snapshot(u, now)?));
    }
    if u.ratio(1, 16)? {
        m.request_snapshot = near(u, index)?;
    }
    if u.ratio(1, 16)? {
        m.vote = node(u)?;
    }
    Ok(m)
}
