//! One frame, through everything that decodes it.

#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| raft_fuzz::targets::record_decode(data));
raft_fuzz_libfuzzer::mutator!(record_decode);
