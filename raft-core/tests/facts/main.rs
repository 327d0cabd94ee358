//! The facts of Raft, one sentence a test: what etcd's core does and a port gets wrong, the rules
//! of the paper and of the thesis, and what this core promises beyond.
//!
//! A number in a comment is that of the fact in the table of docs/TESTING.md.

mod beyond_etcd;
mod flow;
mod hand;
mod log;
mod membership;
mod paper;
mod quorum_and_lease;
mod reads;
mod ready;
mod restart;
mod table;
mod terms_and_votes;
mod thesis;
mod transfer;
