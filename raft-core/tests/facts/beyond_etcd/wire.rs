//! Bytes on the wire and on disk: etcd's, by number.

use bytes::Bytes;
use prost::Message as _;
use raft_core::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
    Entry, EntryType, HardState, Message, MessageType, Snapshot, SnapshotMetadata,
};

use crate::hand::entry;

/// The value encodes to these bytes, and they decode to the value.
fn golden<M: prost::Message + Default + PartialEq + std::fmt::Debug>(value: &M, bytes: &[&[u8]]) {
    let bytes = bytes.concat();
    assert_eq!(value.encode_to_vec(), bytes, "{value:?}");
    assert_eq!(&M::decode(bytes.as_slice()).expect("its own bytes"), value);
    assert_eq!(value.encoded_len(), bytes.len());
}

fn an_entry() -> (Entry, &'static [u8]) {
    let mut entry = entry(4, 8, "a");
    entry.set_entry_type(EntryType::ConfChange);
    (entry, &[0x08, 1, 0x10, 4, 0x18, 8, 0x22, 1, b'a'])
}

fn a_conf_state() -> (ConfState, &'static [u8]) {
    let state = ConfState {
        voters: vec![1, 2],
        learners: vec![3],
        voters_outgoing: vec![4],
        learners_next: vec![5],
        auto_leave: true,
    };
    (state, &[0x08, 1, 0x08, 2, 0x10, 3, 0x18, 4, 0x20, 5, 0x28, 1])
}

fn a_snapshot() -> (Snapshot, Vec<u8>) {
    let (conf_state, bytes) = a_conf_state();
    let metadata = SnapshotMetadata { conf_state: Some(conf_state), index: 8, term: 4 };
    let metadata_bytes = [&[0x0a, 12], bytes, &[0x10, 8, 0x18, 4]].concat();
    let snapshot = Snapshot { data: Bytes::from_static(b"d"), metadata: Some(metadata) };
    (snapshot, [&[0x0a, 1, b'd', 0x12, 18], metadata_bytes.as_slice()].concat())
}

#[test]
fn entries_and_hard_states() {
    let (entry, bytes) = an_entry();
    golden(&entry, &[bytes]);
    golden(&HardState { term: 1, vote: 2, commit: 300 }, &[&[0x08, 1, 0x10, 2, 0x18, 0xac, 0x02]]);
    let max = HardState { term: u64::MAX, vote: 0, commit: 0 };
    golden(&max, &[&[0x08], &[0xff; 9], &[0x01]]);
}

#[test]
fn snapshots_and_configurations() {
    let (conf_state, bytes) = a_conf_state();
    golden(&conf_state, &[bytes]);
    let (snapshot, bytes) = a_snapshot();
    golden(&snapshot, &[&bytes]);
    // Packed lists, as newer writers may make them, are read as well.
    let packed: &[u8] = &[0x0a, 2, 1, 2, 0x12, 1, 3, 0x1a, 1, 4, 0x22, 1, 5, 0x28, 1];
    assert_eq!(ConfState::decode(packed).expect("packed lists"), conf_state);
}

#[test]
fn messages() {
    let (entry, entry_bytes) = an_entry();
    let (snapshot, snapshot_bytes) = a_snapshot();
    let response = Message { msg_type: 4, to: 3, ..Message::default() };
    let message = Message {
        msg_type: 3,
        to: 2,
        from: 1,
        term: 5,
        log_term: 4,
        index: 7,
        entries: vec![entry],
        commit: 6,
        snapshot: Some(Box::new(snapshot)),
        reject: true,
        reject_hint: 9,
        context: Bytes::from_static(b"c"),
        vote: 10,
        responses: vec![response],
        priority: -3,
        request_snapshot: 8,
    };
    golden(
        &message,
        &[
            &[0x08, 3, 0x10, 2, 0x18, 1, 0x20, 5, 0x28, 4, 0x30, 7],
            &[0x3a, 9],
            entry_bytes,
            &[0x40, 6, 0x4a, 23],
            &snapshot_bytes,
            &[0x50, 1, 0x58, 9, 0x62, 1, b'c', 0x68, 10],
            &[0x72, 4, 0x08, 4, 0x10, 3],
            // Field 1001 (zigzag) and field 1002: our own.
            &[0xc8, 0x3e, 5, 0xd0, 0x3e, 8],
        ],
    );
}

#[test]
fn configuration_changes() {
    let mut first = ConfChange { id: 7, node_id: 2, context: "x".into(), ..ConfChange::default() };
    first.set_change_type(ConfChangeType::AddLearnerNode);
    golden(&first, &[&[0x08, 7, 0x10, 3, 0x18, 2, 0x22, 1, b'x']]);

    let mut single = ConfChangeSingle { node_id: 2, ..ConfChangeSingle::default() };
    single.set_change_type(ConfChangeType::RemoveNode);
    golden(&single, &[&[0x08, 1, 0x10, 2]]);
    let mut second =
        ConfChangeV2 { changes: vec![single], context: "x".into(), ..ConfChangeV2::default() };
    second.set_transition(ConfChangeTransition::JointExplicit);
    golden(&second, &[&[0x08, 2, 0x12, 4, 0x08, 1, 0x10, 2, 0x1a, 1, b'x']]);
    // The one that leaves a joint configuration is nothing at all.
    golden(&ConfChangeV2::default(), &[]);
}

#[test]
fn numbers_of_types() {
    let numbers = |kinds: &[MessageType]| kinds.iter().map(|k| *k as i32).collect::<Vec<_>>();
    let order = [
        MessageType::Hup,
        MessageType::Beat,
        MessageType::Propose,
        MessageType::Append,
        MessageType::AppendResponse,
        MessageType::Vote,
        MessageType::VoteResponse,
        MessageType::Snapshot,
        MessageType::Heartbeat,
        MessageType::HeartbeatResponse,
        MessageType::Unreachable,
        MessageType::SnapshotStatus,
        MessageType::CheckQuorum,
        MessageType::TransferLeader,
        MessageType::TimeoutNow,
        MessageType::ReadIndex,
        MessageType::ReadIndexResponse,
        MessageType::PreVote,
        MessageType::PreVoteResponse,
        MessageType::StorageAppend,
        MessageType::StorageAppendResponse,
        MessageType::StorageApply,
        MessageType::StorageApplyResponse,
        MessageType::ForgetLeader,
    ];
    assert_eq!(numbers(&order), (0..24).collect::<Vec<_>>());
    assert_eq!(
        [EntryType::Normal, EntryType::ConfChange, EntryType::ConfChangeV2].map(|k| k as i32),
        [0, 1, 2]
    );
    let changes = [
        ConfChangeType::AddNode,
        ConfChangeType::RemoveNode,
        ConfChangeType::UpdateNode,
        ConfChangeType::AddLearnerNode,
    ];
    assert_eq!(changes.map(|k| k as i32), [0, 1, 2, 3]);
    let transitions = [
        ConfChangeTransition::Auto,
        ConfChangeTransition::JointImplicit,
        ConfChangeTransition::JointExplicit,
    ];
    assert_eq!(transitions.map(|k| k as i32), [0, 1, 2]);
}

#[test]
fn fields_that_older_writers_write_though_they_are_empty_are_read_as_empty() {
    let old: &[u8] = &[0x08, 0, 0x10, 1, 0x18, 1, 0x22, 0];
    let decoded = Entry::decode(old).expect("an entry of etcd 3.5");
    assert_eq!((decoded.entry_type(), decoded.term, decoded.index), (EntryType::Normal, 1, 1));
    assert_eq!(Entry::decode(decoded.encode_to_vec().as_slice()).expect("its own"), decoded);
    let old: &[u8] = &[0x08, 0, 0x10, 0, 0x18, 0];
    assert_eq!(HardState::decode(old).expect("an empty hard state"), HardState::default());
    // And what later writers may add is skipped.
    let new: &[u8] = &[0x08, 1, 0x10, 2, 0x18, 3, 0xfa, 0x7f, 1, 0xff];
    let state = HardState { term: 1, vote: 2, commit: 3 };
    assert_eq!(HardState::decode(new).expect("with a field that is not known"), state);
}

#[test]
fn whether_a_type_was_written_is_kept_since_it_counts_in_sizes() {
    let absent = entry(1, 1, "x");
    let mut present = absent.clone();
    present.set_entry_type(EntryType::Normal);
    assert_ne!(absent, present);
    assert_eq!(present.encoded_len(), absent.encoded_len() + 2);
    let again = Entry::decode(present.encode_to_vec().as_slice()).expect("its own bytes");
    assert_eq!(again, present);
}

#[test]
fn payloads_are_decoded_without_a_copy() {
    let data = Bytes::from(vec![7; 1_000]);
    let entries = vec![Entry { term: 1, index: 1, data, ..Entry::default() }; 3];
    let message = Message { msg_type: 3, entries, ..Message::default() };
    let bytes = Bytes::from(message.encode_to_vec());
    let whole = bytes.as_ptr_range();
    let decoded = Message::decode(bytes.clone()).expect("its own bytes");
    assert_eq!(decoded, message);
    for entry in &decoded.entries {
        assert!(whole.contains(&entry.data.as_ptr()));
    }
}

#[test]
fn bytes_that_are_no_message_are_an_error() {
    let (snapshot, _) = a_snapshot();
    let message = Message { snapshot: Some(Box::new(snapshot)), term: 9, ..Message::default() };
    let bytes = message.encode_to_vec();
    for end in 1..bytes.len() {
        // A cut between two fields leaves a message; one inside of a field does not.
        if let Ok(shorter) = Message::decode(&bytes[..end]) {
            assert_ne!(shorter, message);
        }
    }
    let bad: [&[u8]; 4] = [&[0x08], &[0x3a, 5, 1], &[0x0f], &[0xff; 11]];
    for bytes in bad {
        assert!(Message::decode(bytes).is_err(), "{bytes:?}");
    }
}

/// A record of etcd's write-ahead log.
#[derive(Clone, PartialEq, prost::Message)]
struct Record {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(uint32, tag = "2")]
    crc: u32,
    #[prost(bytes = "bytes", tag = "3")]
    data: Bytes,
}

/// A snapshot file of etcd's.
#[derive(Clone, PartialEq, prost::Message)]
struct SnapFile {
    #[prost(uint32, tag = "1")]
    crc: u32,
    #[prost(bytes = "bytes", tag = "2")]
    data: Bytes,
}

/// The records of a file, up to the zeros behind them.
fn records(file: &[u8]) -> Vec<Record> {
    let mut found = Vec::new();
    let mut rest = file;
    while let Some((head, tail)) = rest.split_first_chunk::<8>() {
        let head = u64::from_le_bytes(*head);
        let (length, padding) = ((head & ((1 << 56) - 1)) as usize, (head >> 56 & 7) as usize);
        if length == 0 || tail.len() < length + padding {
            break;
        }
        found.push(Record::decode(&tail[..length]).expect("a record"));
        rest = &tail[length + padding..];
    }
    found
}

fn round_trip<M: prost::Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> M {
    let value = M::decode(bytes).expect("written by etcd");
    assert_eq!(M::decode(value.encode_to_vec().as_slice()).expect("its own bytes"), value);
    value
}

/// The number behind `"name":` in a line of JSON.
fn number(line: &str, name: &str) -> Option<u64> {
    let at = line.find(&format!("\"{name}\":"))? + name.len() + 3;
    let digits: String = line[at..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "directories that etcd wrote are real files")]
fn what_etcd_wrote_decodes_and_encodes_to_an_equal_value() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/etcd-data");
    let Ok(directories) = std::fs::read_dir(&root) else {
        println!("skipped: there is no {}", root.display());
        return;
    };
    let (mut entries, mut states, mut snapshots) = (0, 0, 0);
    for directory in directories {
        let directory = directory.expect("a readable directory").path();
        let files = |of: &str| {
            let found = std::fs::read_dir(directory.join(of)).expect("a directory of etcd's");
            let mut files: Vec<_> = found.map(|file| file.expect("a file").path()).collect();
            files.sort();
            files.into_iter().map(|file| std::fs::read(file).expect("a file of etcd's"))
        };
        let mut found = Vec::new();
        for record in files("wal").flat_map(|file| records(&file)) {
            if record.kind == 2 {
                let entry: Entry = round_trip(&record.data);
                found.push((entry.index, entry.term));
                entries += 1;
            } else if record.kind == 3 {
                let state: HardState = round_trip(&record.data);
                found.push((state.commit, state.term));
                states += 1;
            }
        }
        for file in files("snap") {
            let file = SnapFile::decode(file.as_slice()).expect("a snapshot file");
            let snapshot: Snapshot = round_trip(&file.data);
            assert!(snapshot.index() > 0 && !snapshot.conf_state().voters.is_empty());
            snapshots += 1;
        }
        let listed = std::fs::read_to_string(directory.join("expected.jsonl")).expect("the list");
        let listed: Vec<(u64, u64)> = listed
            .lines()
            .filter(|l| l.contains("\"type\":\"entry\"") || l.contains("\"type\":\"state\""))
            .filter_map(|line| {
                let place = number(line, "index").or(number(line, "commit"))?;
                Some((place, number(line, "term")?))
            })
            .collect();
        assert_eq!(found, listed, "{}", directory.display());
    }
    println!("{entries} entries, {states} hard states, {snapshots} snapshots");
    assert!(entries > 1_000 && states > 100 && snapshots > 5);
}
