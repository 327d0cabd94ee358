//! JSON lines. The schema is documented in `docs/WAL-DUMP.md`; fields are only ever added.

use std::fmt::Write as _;
use std::io::{self, Write};

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::source::{ConfState, Item, Note, Place, Problem, Record, Status, Verdict};

/// Version of the schema, in the last line.
const SCHEMA: u32 = 1;

/// Bytes, printed as base64 without a copy.
struct Base64<'a>(&'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

#[derive(Serialize)]
struct Conf<'a> {
    voters: &'a [u64],
    learners: &'a [u64],
    voters_outgoing: &'a [u64],
    learners_next: &'a [u64],
    auto_leave: bool,
}

impl<'a> From<&'a ConfState> for Conf<'a> {
    fn from(conf: &'a ConfState) -> Self {
        Self {
            voters: &conf.voters,
            learners: &conf.learners,
            voters_outgoing: &conf.voters_outgoing,
            learners_next: &conf.learners_next,
            auto_leave: conf.auto_leave,
        }
    }
}

/// Where a record stands, as the first fields of its line.
#[derive(Serialize)]
struct At<'a> {
    segment: &'a str,
    offset: u64,
}

/// One line: its type, its place, and what it says.
#[derive(Serialize)]
struct Line<'a, T: Serialize> {
    r#type: &'a str,
    #[serde(flatten)]
    at: Option<At<'a>>,
    #[serde(flatten)]
    fields: T,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Fields<'a> {
    Metadata {
        data: Base64<'a>,
    },
    Entry {
        term: u64,
        index: u64,
        entry_type: &'a str,
        data_len: usize,
        data: Base64<'a>,
    },
    HardState {
        term: u64,
        vote: u64,
        commit: u64,
    },
    Snapshot {
        term: u64,
        index: u64,
        conf_state: Option<Conf<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        conf_state_raw: Option<Base64<'a>>,
    },
    SnapshotFile {
        name: &'a str,
        term: u64,
        index: u64,
        conf_state: Option<Conf<'a>>,
        data_len: usize,
        data_sha256: String,
    },
    Crc {
        crc: u32,
    },
    Segment {
        name: &'a str,
        seq: u64,
        first_index: Option<u64>,
        era: u64,
        capacity: u64,
    },
    Base {
        prev_segment: u64,
        prev_end: u64,
        first_index: u64,
        next_index: u64,
        reason: &'a str,
    },
    Blob {
        key: std::borrow::Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        key_raw: Option<Base64<'a>>,
        value: Base64<'a>,
    },
    Truncate {
        from: u64,
    },
    IndexTerm {
        index: Option<u64>,
        term: Option<u64>,
    },
    Seal {
        next_segment: u64,
    },
    Dead {
        by: Option<u64>,
    },
    Problem {
        kind: &'a str,
        expected: &'a str,
        found: &'a str,
        message: &'a str,
    },
}

/// The last line of a dump and the only one of `verify`.
#[derive(Serialize)]
struct End<'a> {
    r#type: &'a str,
    schema: u32,
    format: &'a str,
    status: Status,
    records: u64,
    entries: u64,
    first_index: Option<u64>,
    last_index: Option<u64>,
    hard_state: Option<State>,
    problems: &'a [Problem],
    notes: &'a [Note],
}

#[derive(Serialize)]
struct State {
    term: u64,
    vote: u64,
    commit: u64,
}

/// Writes one item as one line.
pub(crate) fn item(item: &Item, out: &mut dyn Write) -> io::Result<()> {
    match item {
        Item::Record(place, record) => {
            let segment = place.as_ref().map_or("", |p| &p.segment);
            line(record.kind(), place.as_ref().map(at), record_fields(record, segment), out)
        }
        Item::SnapshotFile { name, term, index, conf_state, data } => {
            let fields = Fields::SnapshotFile {
                name,
                term: *term,
                index: *index,
                conf_state: conf_state.as_ref().map(Into::into),
                data_len: data.len(),
                data_sha256: hex(&Sha256::digest(data)),
            };
            line("snapshot_file", None, fields, out)
        }
        Item::Problem(p) => {
            let Problem { segment, offset, kind, expected, found, message } = p;
            let at = At { segment, offset: *offset };
            line("problem", Some(at), Fields::Problem { kind, expected, found, message }, out)
        }
    }
}

fn at(place: &Place) -> At<'_> {
    At { segment: &place.segment, offset: place.offset }
}

fn record_fields<'a>(record: &'a Record, segment: &'a str) -> Fields<'a> {
    match record {
        Record::Metadata(data) => Fields::Metadata { data: Base64(data) },
        Record::Entry { term, index, kind, data } => Fields::Entry {
            term: *term,
            index: *index,
            entry_type: kind,
            data_len: data.len(),
            data: Base64(data),
        },
        &Record::HardState { term, vote, commit } => Fields::HardState { term, vote, commit },
        Record::Snapshot { term, index, conf_state, opaque } => Fields::Snapshot {
            term: *term,
            index: *index,
            conf_state: conf_state.as_ref().map(Into::into),
            conf_state_raw: opaque.as_ref().map(|raw| Base64(raw)),
        },
        &Record::Crc(crc) => Fields::Crc { crc },
        &Record::Segment { seq, first_index, era, capacity } => {
            Fields::Segment { name: segment, seq, first_index, era, capacity }
        }
        Record::Base { prev_segment, prev_end, first_index, next_index, reason } => Fields::Base {
            prev_segment: *prev_segment,
            prev_end: *prev_end,
            first_index: *first_index,
            next_index: *next_index,
            reason,
        },
        Record::Blob { key, value } => Fields::Blob {
            key: String::from_utf8_lossy(key),
            key_raw: std::str::from_utf8(key).is_err().then_some(Base64(key)),
            value: Base64(value),
        },
        &Record::Truncate { from } => Fields::Truncate { from },
        &(Record::Reset { index, term } | Record::Compact { index, term }) => {
            Fields::IndexTerm { index, term }
        }
        &Record::Seal { next_segment } => Fields::Seal { next_segment },
        &Record::Dead { by } => Fields::Dead { by },
    }
}

/// Writes the last line: what is to be said of the whole log.
pub(crate) fn end(
    format: &str,
    verdict: &Verdict,
    records: u64,
    entries: u64,
    out: &mut dyn Write,
) -> io::Result<()> {
    let end = End {
        r#type: "end",
        schema: SCHEMA,
        format,
        status: verdict.status,
        records,
        entries,
        first_index: verdict.range.map(|r| r.0),
        last_index: verdict.range.map(|r| r.1),
        hard_state: verdict.hard_state.map(|(term, vote, commit)| State { term, vote, commit }),
        problems: &verdict.problems,
        notes: &verdict.notes,
    };
    object(&end, out)
}

fn line(kind: &str, at: Option<At<'_>>, fields: Fields<'_>, out: &mut dyn Write) -> io::Result<()> {
    object(&Line { r#type: kind, at, fields }, out)
}

/// Writes one object and the end of its line.
pub(crate) fn object(object: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    // serde_json wraps the writer's error; unwrapped again, a broken pipe is seen as one.
    serde_json::to_writer(&mut *out, object).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{b:02x}");
        text
    })
}
