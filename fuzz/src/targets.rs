//! The targets: functions of bytes that panic where a promise is broken.

mod api_ops;
mod dir_open;
mod dump;
mod etcd_dir;
mod judge;
mod raft_step;
mod record_decode;
mod repaired;
mod segment_open;

pub use api_ops::api_ops;
pub use dir_open::{dir_open, disk_of_dir};
pub use etcd_dir::{disk_of_etcd, etcd_dir};
pub use raft_step::raft_step;
pub use record_decode::record_decode;
pub use segment_open::{Host, disk_of_segment, hosts, segment_open};
