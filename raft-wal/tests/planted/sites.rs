//! The calls of the log's sources that can be forgotten, found by reading the sources: each is
//! known by its file, the function around it and what it calls, not by the number of its line.

use std::fmt;
use std::fs;
use std::path::Path;

use raft_vfs::sim::{Op, Skip};

/// What is looked for: how a call begins, what it is, and how the receiver's name ends where
/// collections have such a method too.
const CALLS: [(&str, Op, &str); 9] = [
    (".write_at(", Op::Write, ""),
    (".write_all_at(", Op::Write, ""),
    (".write_vectored_at(", Op::Write, ""),
    (".write_all_vectored_at(", Op::Write, ""),
    (".sync_data(", Op::SyncData, ""),
    (".sync_dir(", Op::SyncDir, ""),
    (".rename(", Op::Rename, "vfs"),
    (".remove(", Op::Remove, "vfs"),
    (".truncate(", Op::Truncate, "file"),
];

/// Sources that are no part of a running log, and have suites of their own.
const OTHERS: [&str; 5] = ["backup.rs", "repair.rs", "repair", "scrub.rs", "scrub"];

/// A call in the sources.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Below `src`.
    file: String,
    line: u32,
    function: String,
    op: Op,
    /// Which one of its kind in its function, counted from 1.
    nth: usize,
}

impl Site {
    pub(crate) fn skip(&self) -> Skip {
        let file = Path::new("src").join(&self.file).to_string_lossy().into_owned();
        Skip { op: self.op, file, line: self.line }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, function, op, nth, .. } = self;
        write!(f, "{file} {function} {op:?}")?;
        if *nth > 1 { write!(f, " {nth}") } else { Ok(()) }
    }
}

/// All of them, by file and line.
pub(crate) fn all() -> Vec<Site> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut todo = vec![root.clone()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if OTHERS.iter().any(|other| path.starts_with(root.join(other))) {
                continue;
            }
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                found.extend(calls(&name, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    found
}

/// The calls of one file, its own tests left out.
fn calls(file: &str, source: &str) -> Vec<Site> {
    let mut found: Vec<Site> = Vec::new();
    let (mut before, mut function) = ("", "");
    for (line, number) in source.lines().zip(1..) {
        let line = line.trim();
        if line == "#[cfg(test)]" {
            break;
        }
        if line.starts_with("//") {
            continue;
        }
        if let Some((_, name)) = line.split_once("fn ") {
            function = name.split(['(', '<']).next().unwrap_or_default();
        }
        for (call, op, receiver) in CALLS {
            let of = |at: usize| if at == 0 { before } else { &line[..at] };
            if line.match_indices(call).any(|(at, _)| of(at).ends_with(receiver)) {
                let same = |s: &&Site| (s.function.as_str(), s.op) == (function, op);
                let nth = 1 + found.iter().filter(same).count();
                let (file, function) = (file.to_owned(), function.to_owned());
                found.push(Site { file, line: number, function, op, nth });
            }
        }
        before = line;
    }
    found
}
