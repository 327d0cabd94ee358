//! What [`crate::group`] takes from the standard library. A test puts a scheduler's own types in
//! its place.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::thread::{Thread, current, park, yield_now};
