//! The protobuf messages inside records, as etcd declares them: proto2, every field optional.
//!
//! Written by hand, since five small messages need neither a compiler nor a build script. The
//! outer record is not here: [`crate::frame`] reads it in place.

use bytes::Bytes;
use prost::Message;

/// `raftpb.Entry`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(int32, optional, tag = "1")]
    pub(crate) kind: Option<i32>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) term: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) index: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(crate) data: Option<Bytes>,
}

/// `raftpb.HardState`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct HardState {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) term: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) vote: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) commit: Option<u64>,
}

/// `raftpb.ConfState`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConfState {
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub(crate) voters: Vec<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub(crate) learners: Vec<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub(crate) voters_outgoing: Vec<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub(crate) learners_next: Vec<u64>,
    #[prost(bool, optional, tag = "5")]
    pub(crate) auto_leave: Option<bool>,
}

/// `walpb.Snapshot`: a marker in the log.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Marker {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) term: Option<u64>,
    #[prost(message, optional, tag = "3")]
    pub(crate) conf_state: Option<ConfState>,
}

/// `raftpb.SnapshotMetadata`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotMetadata {
    #[prost(message, optional, tag = "1")]
    pub(crate) conf_state: Option<ConfState>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) index: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) term: Option<u64>,
}

/// `raftpb.Snapshot`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Snapshot {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(crate) data: Option<Bytes>,
    #[prost(message, optional, tag = "2")]
    pub(crate) metadata: Option<SnapshotMetadata>,
}

/// `snappb.snapshot`: the whole of a `.snap` file.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapFile {
    #[prost(uint32, optional, tag = "1")]
    pub(crate) crc: Option<u32>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(crate) data: Option<Bytes>,
}

impl From<ConfState> for crate::ConfState {
    fn from(wire: ConfState) -> Self {
        Self {
            voters: wire.voters,
            learners: wire.learners,
            voters_outgoing: wire.voters_outgoing,
            learners_next: wire.learners_next,
            auto_leave: wire.auto_leave.unwrap_or(false),
        }
    }
}

impl From<&crate::ConfState> for ConfState {
    fn from(plain: &crate::ConfState) -> Self {
        Self {
            voters: plain.voters.clone(),
            learners: plain.learners.clone(),
            voters_outgoing: plain.voters_outgoing.clone(),
            learners_next: plain.learners_next.clone(),
            auto_leave: Some(plain.auto_leave),
        }
    }
}
