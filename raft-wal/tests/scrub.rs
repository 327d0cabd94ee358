//! The scrub of an open log: every flipped bit is found where it is, nothing else is, whatever the
//! log does between two steps, and no faster than it may read. And what an open verifies.

mod support;

#[path = "scrub/bits.rs"]
mod bits;
#[path = "scrub/opening.rs"]
mod opening;
#[path = "scrub/pace.rs"]
mod pace;
#[path = "scrub/steps.rs"]
mod steps;
