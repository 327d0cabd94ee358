//! A copy of a log in use is the log as it was durable at one moment, whole or not a log at all,
//! whatever the writer does meanwhile and wherever the copying stops.

mod support;

#[path = "backup/crash.rs"]
mod crash;
#[path = "backup/moments.rs"]
mod moments;
#[path = "backup/threads.rs"]
mod threads;
