//! The consensus core, fed with anything by anybody.

#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| raft_fuzz::targets::raft_step(data));
use raft_fuzz_libfuzzer as _; // for its allocator
