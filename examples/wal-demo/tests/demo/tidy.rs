//! The rules of `CONTRIBUTING.md` that a machine can check, over every source file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::workspace;

/// About 600, as the rule has it.
const LINES_MAX: usize = 640;
/// Tests are long lists of short things.
const TEST_LINES_MAX: usize = 800;
const COLUMNS_MAX: usize = 100;
/// What marks something as unfinished, in two parts so that this line is no complaint.
const UNFINISHED: [(&str, &str); 4] = [("TO", "DO"), ("FIX", "ME"), ("dbg", "!("), ("todo", "!(")];

/// Every `.rs` file of the workspace.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![workspace()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                let made = name.starts_with('.') || name.starts_with("target");
                dirs.extend((!made).then_some(path));
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 50, "{files:?}");
    files
}

/// Messages, attributes and drawings stay in one line, as rustfmt leaves them.
fn cannot_be_broken(line: &str) -> bool {
    let drawing = line.starts_with("///  ") || line.starts_with("//!  ");
    line.contains('"') || line.trim_start().starts_with('#') || drawing
}

fn complaints(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let mut out = Vec::new();
    let mut complain = |line: usize, what: &str| {
        out.push(format!("{}:{}: {what}", path.display(), line + 1));
    };
    if !text.starts_with("//! ") {
        complain(0, "the file does not begin with what it is for");
    }
    for (number, line) in text.lines().enumerate() {
        if line.len() > COLUMNS_MAX && !cannot_be_broken(line) {
            complain(number, "the line is too long");
        }
        if !line.is_ascii() {
            complain(number, "the line is not ASCII");
        }
        if UNFINISHED.iter().any(|(a, b)| line.contains(&format!("{a}{b}"))) {
            complain(number, "something is unfinished");
        }
    }
    let tests = path.components().any(|c| c.as_os_str() == "tests");
    let lines_max = if tests { TEST_LINES_MAX } else { LINES_MAX };
    if text.lines().count() > lines_max {
        complain(lines_max, "the file is too long");
    }
    out
}

#[test]
fn every_source_file_keeps_the_rules() {
    let all: Vec<String> = sources().iter().flat_map(|path| complaints(path)).collect();
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}
