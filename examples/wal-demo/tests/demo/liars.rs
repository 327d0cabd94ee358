//! The demonstration can fail: importers that lie are found out.

use std::process::Command;

use wal_demo::Error;
use wal_demo::demo::{Demo, run};

use crate::common::small;

/// Runs the demonstration with an importer that says `words` and sleeps.
fn demo_with(words: &'static str) -> Error {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo {
        source: small(),
        dir: dir.path().join("log"),
        kills: 1_000,
        seed: 3,
        segment_bytes: None,
    };
    let importer = |_, _| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("printf '{words}'; exec sleep 60")]);
        command
    };
    run(&demo, &importer, &mut Vec::new()).unwrap_err()
}

#[test]
fn saves_that_were_acknowledged_and_are_not_there_are_missed() {
    let e = demo_with("AT 0\\nTRY 9\\nACK 9\\n");
    assert!(matches!(e, Error::Position { acked: 9, tried: 9, found: 0 }), "{e}");
}

#[test]
fn an_importer_that_finds_another_log_than_the_checker_is_not_believed() {
    let e = demo_with("AT 7\\nTRY 9\\nACK 9\\n");
    assert!(matches!(e, Error::Position { acked: 0, tried: 0, found: 7 }), "{e}");
}

#[test]
fn an_importer_that_talks_nonsense_is_not_believed() {
    let e = demo_with("AT 0\\nTRY 3\\nDURABLE 3\\n");
    assert!(matches!(&e, Error::Importer(what) if what.contains("DURABLE")), "{e}");
}
