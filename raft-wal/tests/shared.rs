//! The log shared by threads: whoever was told that a batch is durable finds it after a crash, in
//! the order in which it was appended; whoever reads gets entries of one log; closing ends
//! everything.

#[path = "shared/cuts.rs"]
mod cuts;
#[path = "shared/ends.rs"]
mod ends;
#[path = "shared/stress.rs"]
mod stress;
#[path = "shared/support.rs"]
mod support;
