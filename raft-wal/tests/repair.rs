//! Repairing damaged logs: the plan changes nothing and says what will be; its execution keeps a
//! state that the log once had and sets the rest aside; a crash or a failed call on the way leaves
//! the damage as it was or the repaired log.
//!
//! `RAFT_WAL_SEED=S` replays one random log.
#![allow(clippy::disallowed_methods, reason = "fixtures are real files")]

#[path = "repair/directed.rs"]
mod directed;
#[path = "repair/golden.rs"]
mod golden;
#[path = "degraded/harm.rs"]
mod harm;
#[path = "repair/judge.rs"]
mod judge;
#[path = "repair/log.rs"]
mod log;
#[path = "repair/random.rs"]
mod random;
#[path = "repair/real.rs"]
mod real;
mod support;
