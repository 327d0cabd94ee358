//! The lines of the log's sources that change or sync something: each must have been crashed at.

use std::fs;
use std::path::{Path, PathBuf};

use super::tally::{Site, Tally};

/// Calls that nothing but a file has.
const OF_FILES: [&str; 5] = [
    ".write_at(",
    ".write_all_at(",
    ".write_vectored_at(",
    ".write_all_vectored_at(",
    ".sync_data(",
];

/// Calls that others have too, and how the receiver's name ends if it is the file system's.
const SHARED: [(&str, &str); 7] = [
    (".create_excl(", "vfs"),
    (".create_dir(", "vfs"),
    (".sync_dir(", "vfs"),
    (".rename(", "vfs"),
    (".remove(", "vfs"),
    (".lock(", "vfs"),
    (".truncate(", "file"),
];

/// Where the sources are.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// File (below `src`) and line of every changing or syncing call in the sources.
pub(crate) fn scan() -> Vec<(String, u32)> {
    let root = root();
    let mut found = Vec::new();
    let mut todo = vec![root.clone()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                let lines = calls(&fs::read_to_string(&path).unwrap());
                found.extend(lines.into_iter().map(|line| (name.clone(), line)));
            }
        }
    }
    found.sort();
    found
}

/// Numbers of the lines that hold a call.
fn calls(source: &str) -> Vec<u32> {
    let mut found = Vec::new();
    let mut before = "";
    for (line, number) in source.lines().zip(1..) {
        let line = line.trim();
        if line == "#[cfg(test)]" {
            break;
        }
        if line.starts_with("//") {
            continue;
        }
        let shared = SHARED.iter().any(|(call, receiver)| {
            let of = |at: usize| if at == 0 { before } else { &line[..at] };
            line.match_indices(call).any(|(at, _)| of(at).ends_with(receiver))
        });
        if shared || OF_FILES.iter().any(|call| line.contains(call)) {
            found.push(number);
        }
        before = line;
    }
    found
}

/// The part of a recorded site's file below the log's `src`; `None` if it is elsewhere.
fn below_src(site: &Site) -> Option<&'static str> {
    site.0.replace('\\', "/").contains("raft-wal").then_some(())?;
    site.0.split_once("src/").map(|(_, name)| name)
}

/// How often each call in the sources was a crash point. Fails if a recorded one was not found in
/// the sources: then the scan has a hole.
pub(crate) fn table(tally: &Tally) -> Vec<(String, u64)> {
    let scanned = scan();
    let times = |name: &str, line: u32| {
        let same = |site: &&Site| site.1 == line && below_src(site) == Some(name);
        tally.sites.iter().filter(|(site, _)| same(site)).map(|(_, n)| n).sum()
    };
    for site in tally.sites.keys() {
        if let Some(name) = below_src(site) {
            let known = scanned.contains(&(name.to_owned(), site.1));
            assert!(known, "{}:{} changes something unseen by the scan", site.0, site.1);
        }
    }
    scanned.iter().map(|(name, line)| (format!("{name}:{line}"), times(name, *line))).collect()
}
