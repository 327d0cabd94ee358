//! A directory of etcd: read, replayed, dumped.

#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| raft_fuzz::targets::etcd_dir(data));
raft_fuzz_libfuzzer::mutator!(etcd_dir);
