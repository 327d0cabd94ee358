//! Decodes what a frame carries. The type is not covered by the checksum, so that data of another
//! type's shape is refused by name instead of being read as something it is not.

use bytes::Bytes;
use prost::Message;

use crate::frame::record_type;
use crate::problem::{Problem, ProblemKind};
use crate::proto;
use crate::scan::Frame;
use crate::types::{Entry, EntryKind, HardState, Marker, RecordKind};
use crate::wire::{Wire, check_shape};

const ENTRY: &[(u64, Wire)] =
    &[(1, Wire::Varint), (2, Wire::Varint), (3, Wire::Varint), (4, Wire::Bytes)];
const HARD_STATE: &[(u64, Wire)] = &[(1, Wire::Varint), (2, Wire::Varint), (3, Wire::Varint)];
const MARKER: &[(u64, Wire)] = &[(1, Wire::Varint), (2, Wire::Varint), (3, Wire::Bytes)];

/// What is wrong with a record, before it is known where.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: ProblemKind,
    expected: String,
    found: String,
    message: &'static str,
}

impl Fault {
    pub(crate) fn new(
        kind: ProblemKind,
        expected: impl Into<String>,
        found: impl Into<String>,
        message: &'static str,
    ) -> Self {
        Self { kind, expected: expected.into(), found: found.into(), message }
    }

    /// The problem, now that it is known where.
    pub(crate) fn at(self, segment: &str, offset: u64) -> Problem {
        let Self { kind, expected, found, message } = self;
        let (segment, message) = (segment.to_owned(), message.to_owned());
        Problem { segment, offset, kind, expected, found, message }
    }
}

/// Decodes a frame whose checksum holds.
pub(crate) fn decode(frame: &Frame) -> Result<RecordKind, Fault> {
    let data = frame.data.clone().unwrap_or_default();
    match frame.kind {
        record_type::METADATA => Ok(RecordKind::Metadata(data)),
        record_type::ENTRY => entry(data),
        record_type::HARD_STATE => hard_state(&data),
        record_type::SNAPSHOT => marker(data),
        record_type::CRC if frame.data.is_none() => Ok(RecordKind::Crc(frame.crc)),
        record_type::CRC => {
            let found = format!("{} bytes of data", data.len());
            Err(Fault::new(ProblemKind::WrongType, "no data in a crc record", found, WRONG_TYPE))
        }
        other => Err(Fault::new(
            ProblemKind::UnknownType,
            "a record type from 1 to 5",
            other.to_string(),
            "the record's type is none of etcd's (no checksum covers it); its data is intact",
        )),
    }
}

const WRONG_TYPE: &str =
    "the data does not fit the record's type (no checksum covers the type); the data is intact";

fn shape(data: &[u8], name: &str, fields: &[(u64, Wire)]) -> Result<(), Fault> {
    check_shape(data, fields).map_err(|found| {
        Fault::new(ProblemKind::WrongType, format!("the fields of {name}"), found, WRONG_TYPE)
    })
}

fn unreadable(name: &str, e: &prost::DecodeError) -> Fault {
    Fault::new(
        ProblemKind::UnreadableData,
        format!("{name} in protobuf"),
        e.to_string(),
        "the record's checksum holds, but its data cannot be decoded",
    )
}

fn entry(data: Bytes) -> Result<RecordKind, Fault> {
    shape(&data, "an entry", ENTRY)?;
    let wire = proto::Entry::decode(data).map_err(|e| unreadable("an entry", &e))?;
    let kind = match wire.kind.unwrap_or(0) {
        0 => EntryKind::Normal,
        1 => EntryKind::ConfChange,
        2 => EntryKind::ConfChangeV2,
        other => {
            return Err(Fault::new(
                ProblemKind::UnknownEntryKind,
                "an entry kind from 0 to 2",
                other.to_string(),
                "the entry's kind is none of etcd's",
            ));
        }
    };
    let entry = Entry {
        index: wire.index.unwrap_or(0),
        term: wire.term.unwrap_or(0),
        kind,
        data: wire.data.unwrap_or_default(),
    };
    if entry.index == 0 || entry.term == 0 {
        return Err(Fault::new(
            ProblemKind::BadEntry,
            "an index and a term of at least 1",
            format!("index {}, term {}", entry.index, entry.term),
            "Raft writes no such entry; a record of another type may have been read as one (no \
             checksum covers the type)",
        ));
    }
    Ok(RecordKind::Entry(entry))
}

fn hard_state(data: &Bytes) -> Result<RecordKind, Fault> {
    shape(data, "a hard state", HARD_STATE)?;
    let wire =
        proto::HardState::decode(data.clone()).map_err(|e| unreadable("a hard state", &e))?;
    let state = HardState {
        term: wire.term.unwrap_or(0),
        vote: wire.vote.unwrap_or(0),
        commit: wire.commit.unwrap_or(0),
    };
    if state.term == 0 {
        return Err(Fault::new(
            ProblemKind::BadHardState,
            "a term of at least 1",
            format!("term 0, vote {:x}, commit {}", state.vote, state.commit),
            "Raft writes no such hard state; a record of another type may have been read as one \
             (no checksum covers the type)",
        ));
    }
    Ok(RecordKind::HardState(state))
}

fn marker(data: Bytes) -> Result<RecordKind, Fault> {
    shape(&data, "a snapshot marker", MARKER)?;
    let wire = proto::Marker::decode(data).map_err(|e| unreadable("a snapshot marker", &e))?;
    Ok(RecordKind::Snapshot(Marker {
        index: wire.index.unwrap_or(0),
        term: wire.term.unwrap_or(0),
        conf_state: wire.conf_state.map(Into::into),
    }))
}
