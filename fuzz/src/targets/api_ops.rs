//! The log's interface, used in any order, over a disk that fails, fills up and loses power.

mod batches;
mod rules;
mod run;

use arbitrary::Unstructured;

/// Input: choices, read by `arbitrary`: options, then operations until the bytes end. Operations
/// are appends (of what the rules allow, and of what they do not), syncs, duties, compactions,
/// closes, reopens, power cuts, kills, calls that fail, disks that fill up.
///
/// Asserts:
///
/// - a batch is accepted if and only if `docs/FORMAT.md`, section 8, says so (`rules.rs`);
/// - the open log holds what the model holds, and another process that reads it meanwhile finds a
///   log that was issued, no older than what was acknowledged;
/// - an error is explained by what was done to the disk, and changes nothing but where it says so;
/// - after a crash, in several ways, and after every reopen the log is one that was issued, no
///   older than what was acknowledged, and opening it twice gives the same;
/// - after a clean close it is the last one, and said to be clean.
///
/// # Panics
/// If any of that does not hold.
pub fn api_ops(data: &[u8]) {
    let mut u = Unstructured::new(data);
    // An input that ends early has said all it has to say.
    let _ = run::Run::begin(&mut u).and_then(|mut run| run.until_the_end(&mut u));
}
