//! A directory of a log: opened, verified, degraded, repaired, dumped.

#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| raft_fuzz::targets::dir_open(data));
raft_fuzz_libfuzzer::mutator!(dir_open);
