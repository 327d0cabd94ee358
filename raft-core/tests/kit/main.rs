//! Transcripts: files of directives with the output that each must have.
//!
//! The project's own are in `tests/scenarios`; README.md there says how they are written. With the
//! conformance kit at hand, which holds what etcd prints, its files run as well: `RAFT_KIT_DIR`
//! names it, or it is `../shared/raft-kit` beside the workspace.
//!
//! `cargo test --test kit -- NAME` runs the files whose path contains NAME. With
//! `RAFT_KIT_REWRITE=1` the project's own files are given the output that came: read the diff.

#![allow(clippy::disallowed_methods, reason = "transcripts are files of the repository")]

mod changes;
mod cluster;
mod datadriven;
mod diff;
mod directives;
mod node;
mod options;
mod output;
mod tables;

use options::{Options, Scenario};
use std::cell::RefCell;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

thread_local! {
    /// What a panic said, and where.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(options) => options,
        Err(error) => {
            println!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if options.list {
        for scenario in &options.scenarios {
            println!("{}: test", scenario.name);
        }
        return ExitCode::SUCCESS;
    }
    std::panic::set_hook(Box::new(|info| {
        PANIC.with_borrow_mut(|text| *text = Some(info.to_string()));
    }));
    let (mut passed, mut failed) = (0, Vec::new());
    for scenario in &options.scenarios {
        match run_caught(scenario, options.rewrite) {
            Ok(()) => passed += 1,
            Err(report) => {
                println!("---- {} ----\n{report}", scenario.name);
                failed.push(&scenario.name);
            }
        }
    }
    if !failed.is_empty() {
        println!("failures:");
    }
    for name in &failed {
        println!("    {name}");
    }
    println!("{passed} passed, {} failed", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a file. A panic is its failure and nobody else's.
fn run_caught(scenario: &Scenario, rewrite: bool) -> Result<(), String> {
    let mut at = String::new();
    catch_unwind(AssertUnwindSafe(|| run(scenario, rewrite, &mut at)))
        .unwrap_or_else(|_| Err(format!("{at}\n{}\n", last_panic())))
}

fn last_panic() -> String {
    PANIC.take().unwrap_or_else(|| "a panic that said nothing".to_owned())
}

/// Runs a file; `at` always names the directive that runs.
fn run(scenario: &Scenario, rewrite: bool, at: &mut String) -> Result<(), String> {
    let text = fs::read_to_string(&scenario.path).map_err(|error| error.to_string())?;
    let cases = datadriven::parse(&text)?;
    if cases.is_empty() {
        return Err("there is no directive in it\n".to_owned());
    }
    let mut group = Group::of(scenario);
    let (mut report, mut differing) = (String::new(), 0);
    let mut outputs = Vec::new();
    for case in &cases {
        *at = format!("line {}: {}", case.line, case.text);
        let mut actual = group.run(&case.directive);
        if !actual.is_empty() && !actual.ends_with('\n') {
            actual.push('\n');
        }
        if actual != case.expected {
            if differing == 0 {
                report = format!("{at}\n{}", diff::unified(&case.expected, &actual));
            }
            differing += 1;
        }
        outputs.push(actual);
    }
    if differing == 0 {
        return Ok(());
    }
    if rewrite && scenario.own {
        let new = datadriven::rewrite(&text, &cases, &outputs);
        return fs::write(&scenario.path, new).map_err(|error| error.to_string());
    }
    Err(format!("{report}({differing} of {} directives differ)\n", cases.len()))
}

/// What the directives of a file work on.
enum Group {
    Quorum,
    Changes(tables::Changes),
    Cluster(Box<cluster::Cluster>),
}

impl Group {
    fn of(scenario: &Scenario) -> Self {
        match scenario.group.as_str() {
            "quorum" => Self::Quorum,
            "confchange" => Self::Changes(tables::Changes::new()),
            _ => Self::Cluster(Box::default()),
        }
    }

    fn run(&mut self, directive: &datadriven::Directive) -> String {
        match self {
            Self::Quorum => tables::quorum(directive).unwrap_or_else(|error| error),
            Self::Changes(changes) => changes.run(directive).unwrap_or_else(|error| error),
            Self::Cluster(cluster) => cluster.run(directive),
        }
    }
}
