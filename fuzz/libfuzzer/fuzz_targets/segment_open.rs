//! The bytes of one segment in an otherwise sound log.

#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| raft_fuzz::targets::segment_open(data));
raft_fuzz_libfuzzer::mutator!(segment_open);
