//! Operations with crashes and faults, against the model.

#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| raft_fuzz::targets::api_ops(data));
use raft_fuzz_libfuzzer as _; // for its allocator
