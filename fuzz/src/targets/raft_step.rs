//! The consensus core, fed with anything by anybody: peers, its own storage and its driver.

mod messages;
mod run;
mod storage;

use arbitrary::Unstructured;

/// Input: choices, read by `arbitrary`: a stored state and knobs, then operations until the bytes
/// end. Operations are messages of every type with every field free (drawn around what the node
/// has, or from anywhere), answers of storage threads (right, twice, late, made up), calls of the
/// interface, `Ready`s done, left or dropped, storage that errs or answers wrongly, crashes.
///
/// Asserts:
///
/// - no panic, and [`raft_core::Config::check_invariants`] never finds anything;
/// - after an error status and `has_ready` are what they were before;
/// - term, commit and applied index never fall in a life;
/// - what is handed out to be written fits the log, what is to be applied comes in order, once;
/// - a damaged node grants nothing.
///
/// # Panics
/// If any of that does not hold.
pub fn raft_step(data: &[u8]) {
    let mut u = Unstructured::new(data);
    // An input that ends early has said all it has to say.
    let _ = run::Run::begin(&mut u).and_then(|mut run| run.until_the_end(&mut u));
}
