//! The mutators: repair leaves what is right alone, and what they make gets behind the checksums
//! without breaking a promise.
//!
//! `RAFT_FUZZ_ROUNDS` says how many mutations a target gets, `RAFT_FUZZ_SEED` from which seed,
//! `RAFT_FUZZ_SAVE` where an input that fails is written to.
#![allow(clippy::disallowed_methods, reason = "an input for the corpus is a real file")]

use fastrand::Rng;
use raft_fuzz::corpus::{self, Seed};
use raft_fuzz::image::Image;
use raft_fuzz::mutate::{self, Mutator};
use raft_fuzz::native::repair::{self, Repair};
use raft_fuzz::targets;

#[test]
fn repair_changes_nothing_of_a_sound_log() {
    let mut logs = 0;
    for (name, image) in corpus::kept_logs().unwrap() {
        // The latter has a torn batch behind a cut, and so a checksum to repair.
        if name.starts_with("v1-damaged") || name == "v1-carried" {
            continue;
        }
        for how in [Repair::CHECKSUMS, Repair::ALL] {
            let mut repaired = image.clone();
            repair::log(&mut repaired, how);
            for ((file, after), (_, before)) in repaired.files.iter().zip(&image.files) {
                let file = String::from_utf8_lossy(file);
                let differs = after.iter().zip(before).position(|(a, b)| a != b);
                assert_eq!(differs, None, "{name}: {file}: first byte that {how:?} changes");
            }
        }
        logs += 1;
    }
    println!("{logs} sound logs repaired");
    assert!(logs >= 8);
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |n| n.parse().unwrap())
}

/// A stand-in for libFuzzer's own mutation.
fn plain(rng: &mut Rng, data: &mut [u8], size: usize) -> usize {
    for _ in 0..=rng.u8(..4) {
        if size > 0 {
            data[rng.usize(..size)] = rng.u8(..);
        }
    }
    if rng.u8(..8) == 0 { size - size.min(rng.usize(..8)) } else { size }
}

/// Mutates seeds, and mutants of seeds, and runs the target over each.
fn run(name: &str, target: fn(&[u8]), mutator: Mutator, seeds: &[Seed]) {
    let (rounds, from) = (number("RAFT_FUZZ_ROUNDS", 400), number("RAFT_FUZZ_SEED", 0));
    let mut changed = 0;
    for seed in from..from + rounds {
        let mut rng = Rng::with_seed(seed);
        let (origin, input) = &seeds[rng.usize(..seeds.len())];
        let mut data = input.clone();
        let mut size = data.len();
        data.resize(size + 4096, 0);
        for _ in 0..=rng.u8(..4) {
            let again = rng.u32(..);
            size = mutator(&mut data, size, again, &mut |data, size| plain(&mut rng, data, size));
        }
        changed += u64::from(data[..size] != input[..]);
        let ran = std::panic::catch_unwind(|| target(&data[..size]));
        if let Some(to) = std::env::var_os("RAFT_FUZZ_SAVE").filter(|_| ran.is_err()) {
            std::fs::write(to, &data[..size]).unwrap();
        }
        let replay = format!("RAFT_FUZZ_SEED={seed} RAFT_FUZZ_ROUNDS=1");
        assert!(ran.is_ok(), "{name} fails on a mutant of {origin}: {replay}");
    }
    println!("{name}: {rounds} mutants, {changed} of them changed");
    assert!(changed > rounds / 2, "{name}: mutants are no mutants");
}

#[test]
fn record_decode_holds_on_mutants() {
    let seeds = corpus::record_decode().unwrap();
    run("record_decode", targets::record_decode, mutate::record_decode, &seeds);
}

#[test]
fn segment_open_holds_on_mutants() {
    let seeds = corpus::segment_open().unwrap();
    run("segment_open", targets::segment_open, mutate::segment_open, &seeds);
}

#[test]
fn dir_open_holds_on_mutants() {
    run("dir_open", targets::dir_open, mutate::dir_open, &corpus::dir_open().unwrap());
}

#[test]
fn etcd_dir_holds_on_mutants() {
    run("etcd_dir", targets::etcd_dir, mutate::etcd_dir, &corpus::etcd_dir().unwrap());
}

#[test]
fn mutants_of_a_log_get_behind_its_checksums() {
    let seeds = corpus::dir_open().unwrap();
    let (mut sound, mut damaged) = (0, 0);
    for seed in 0..400 {
        let mut rng = Rng::with_seed(seed);
        let (_, input) = &seeds[rng.usize(..seeds.len())];
        let mut data = input.clone();
        let size = data.len();
        data.resize(size + 4096, 0);
        let size = mutate::dir_open(&mut data, size, rng.u32(..), &mut |_, size| size);
        if data[..size] != input[..] {
            let image = Image::parse(&data[1..size]);
            let mut repaired = image.clone();
            repair::log(&mut repaired, Repair::CHECKSUMS);
            *(if repaired == image { &mut sound } else { &mut damaged }) += 1;
        }
    }
    println!("{sound} mutants with right checksums, {damaged} with wrong ones");
    assert!(sound > damaged && damaged > 10);
}

#[test]
fn api_ops_holds_on_noise() {
    let (rounds, from) = (number("RAFT_FUZZ_ROUNDS", 400), number("RAFT_FUZZ_SEED", 0));
    for seed in from..from + rounds {
        let mut rng = Rng::with_seed(seed);
        let data: Vec<u8> = (0..rng.usize(50..1500)).map(|_| rng.u8(..)).collect();
        let ran = std::panic::catch_unwind(|| targets::api_ops(&data));
        assert!(ran.is_ok(), "api_ops fails: RAFT_FUZZ_SEED={seed} RAFT_FUZZ_ROUNDS=1");
    }
    println!("api_ops: {rounds} runs");
}

#[test]
fn raft_step_holds_on_noise() {
    let (rounds, from) = (number("RAFT_FUZZ_ROUNDS", 5000), number("RAFT_FUZZ_SEED", 0));
    for seed in from..from + rounds {
        let mut rng = Rng::with_seed(seed);
        let data: Vec<u8> = (0..rng.usize(50..4000)).map(|_| rng.u8(..)).collect();
        let ran = std::panic::catch_unwind(|| targets::raft_step(&data));
        if let Some(to) = std::env::var_os("RAFT_FUZZ_SAVE").filter(|_| ran.is_err()) {
            std::fs::write(to, &data).unwrap();
        }
        assert!(ran.is_ok(), "raft_step fails: RAFT_FUZZ_SEED={seed} RAFT_FUZZ_ROUNDS=1");
    }
    println!("raft_step: {rounds} runs");
}
