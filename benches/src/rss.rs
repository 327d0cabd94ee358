//! How much memory a process holds.

use std::process::Command;

use crate::Outcome;

/// The environment variable that tells a bench to be its own child.
const CHILD: &str = "BENCH_CHILD";

/// What `/proc/self/status` says of this process, in KiB: all resident memory, and what of it is
/// not a mapping of a file. `None` where there is no such file.
#[expect(clippy::disallowed_methods, reason = "the kernel's account of this process, not data")]
pub fn resident() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some((field("VmRSS:")?, field("RssAnon:")?))
}

/// Runs this bench again as a child that gets `argument`, and returns what it prints: a process
/// that has done nothing else yet.
///
/// # Errors
/// If it cannot be run or fails.
pub fn in_a_child(argument: &str) -> Outcome<String> {
    let out = Command::new(std::env::current_exe()?).env(CHILD, argument).output()?;
    if !out.status.success() {
        return Err(format!("{}: {}", out.status, String::from_utf8_lossy(&out.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// The argument, if this process is such a child.
pub fn child_argument() -> Option<String> {
    std::env::var(CHILD).ok()
}
