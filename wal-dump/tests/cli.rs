//! The program's manners: what it does with wrong arguments, full disks and readers that leave.

#![allow(clippy::disallowed_methods, reason = "tests prepare real files")]

mod common;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use common::{copy_of, run, small, wal_dump};

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    for args in [&["dump"][..], &["dump", "--format", "json"]] {
        let mut command = wal_dump(args, &small());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut head = [0; 100];
        child.stdout.take().unwrap().read_exact(&mut head).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(output.stderr, b"");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn an_output_that_cannot_be_written_is_an_io_error() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = wal_dump(&["dump"], &small()).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot write the output"));
}

#[test]
fn wrong_arguments_end_with_1_and_help_with_0() {
    for args in [&[][..], &["dmp"], &["dump", "--format", "xml"], &["dump", "--no-such"]] {
        let (code, output) = run(args, Path::new(if args.is_empty() { "x" } else { "." }));
        assert_eq!((code, output.stdout.len()), (1, 0), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
    let (code, output) = run(&["dump"], Path::new("--help"));
    assert_eq!((code, output.stderr.len()), (0, 0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("--effective"));
}

#[test]
fn what_is_no_log_ends_with_1_and_says_what_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), b"hello").unwrap();
    for path in [dir.path().to_path_buf(), dir.path().join("notes.txt")] {
        for command in ["dump", "verify", "stat"] {
            let (code, output) = run(&[command], &path);
            let message = String::from_utf8(output.stderr).unwrap();
            assert_eq!((code, output.stdout.len()), (1, 0), "{message}");
            assert!(message.contains("expected") && message.contains("IDENT"), "{message}");
        }
    }
}

#[test]
fn a_path_that_is_not_there_ends_with_4() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&["dump"], &dir.path().join("nothing")).0, 4);
}

#[test]
fn a_fifo_among_the_segments_is_named_and_not_waited_for() {
    let copy = copy_of(&small());
    let wal = copy.path().join("member/wal");
    let fifo = wal.join("0000000000000004-0000000000000127.wal");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let (code, output) = run(&["verify"], copy.path());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(code, 3);
    assert!(text.contains("not_a_file"), "{text}");
    assert_eq!(run(&["dump"], &fifo).0, 4);
}
