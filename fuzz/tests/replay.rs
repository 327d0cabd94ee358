//! Every target over every kept input, on any toolchain.
//!
//! `RAFT_FUZZ_REWRITE=1` writes the inputs made from fixtures again, for the difference to be read
//! before it is committed.
#![allow(clippy::disallowed_methods, reason = "the corpus is real files")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use raft_fuzz::corpus::{self, Seed};
use raft_fuzz::targets;

/// A target, and the inputs made for it.
type Target = (&'static str, fn(&[u8]), fn() -> io::Result<Vec<Seed>>);

const TARGETS: [Target; 6] = [
    ("record_decode", targets::record_decode, corpus::record_decode),
    ("segment_open", targets::segment_open, corpus::segment_open),
    ("dir_open", targets::dir_open, corpus::dir_open),
    ("etcd_dir", targets::etcd_dir, corpus::etcd_dir),
    ("api_ops", targets::api_ops, corpus::api_ops),
    ("raft_step", targets::raft_step, corpus::raft_step),
];

fn directory(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The kept inputs of a target, by name.
fn kept(target: &str) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(directory(target)) else { return BTreeMap::new() };
    let paths = entries.map(|e| e.unwrap().path());
    let named = paths.map(|p| (p.file_name().unwrap().to_str().unwrap().to_owned(), p));
    named.map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

/// Inputs made from fixtures have names that begin so.
const SEED: &str = "seed-";

fn replay((name, run, seeds): Target) {
    let made: BTreeMap<String, Vec<u8>> =
        seeds().unwrap().into_iter().map(|(n, bytes)| (format!("{SEED}{n}"), bytes)).collect();
    if std::env::var_os("RAFT_FUZZ_REWRITE").is_some() {
        fs::create_dir_all(directory(name)).unwrap();
        for old in kept(name).keys().filter(|n| n.starts_with(SEED)) {
            fs::remove_file(directory(name).join(old)).unwrap();
        }
        for (seed, bytes) in &made {
            fs::write(directory(name).join(seed), bytes).unwrap();
        }
    }
    let kept = kept(name);
    let mut slowest = (Duration::ZERO, "");
    let mut failed = Vec::new();
    for (input, bytes) in &kept {
        let begun = Instant::now();
        if std::panic::catch_unwind(|| run(bytes)).is_err() {
            failed.push(input);
        }
        slowest = slowest.max((begun.elapsed(), input));
    }
    assert!(failed.is_empty(), "{name} fails on these of corpus/{name}: {failed:?}");
    let total: usize = kept.values().map(Vec::len).sum();
    println!("{name}: {} inputs, {total} bytes, slowest {slowest:?}", kept.len());
    assert!(made.len() >= 5, "{name}: {} seeds", made.len());
    let seeds: BTreeMap<_, _> = kept.into_iter().filter(|(n, _)| n.starts_with(SEED)).collect();
    assert!(seeds == made, "{name}: the kept seeds are not what the fixtures make");
}

#[test]
fn record_decode_holds_on_every_kept_input() {
    replay(TARGETS[0]);
}

#[test]
fn segment_open_holds_on_every_kept_input() {
    replay(TARGETS[1]);
}

#[test]
fn dir_open_holds_on_every_kept_input() {
    replay(TARGETS[2]);
}

#[test]
fn etcd_dir_holds_on_every_kept_input() {
    replay(TARGETS[3]);
}

#[test]
fn api_ops_holds_on_every_kept_input() {
    replay(TARGETS[4]);
}

#[test]
fn raft_step_holds_on_every_kept_input() {
    replay(TARGETS[5]);
}
