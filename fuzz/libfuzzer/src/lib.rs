//! What the programs share.

use std::alloc::System;

/// Ends the program where more than this is in use at once: nothing that a target does needs it,
/// whatever lengths an input claims. (libFuzzer's own limit works with sanitizers only.)
const HEAP_MAX: usize = 128 << 20;

#[global_allocator]
static ALLOCATOR: cap::Cap<System> = cap::Cap::new(System, HEAP_MAX);

/// Makes libFuzzer use the mutator of this name.
#[macro_export]
macro_rules! mutator {
    ($name:ident) => {
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
            let plain = &mut |data: &mut [u8], size| {
                let max = data.len();
                libfuzzer_sys::fuzzer_mutate(data, size, max)
            };
            raft_fuzz::mutate::$name(&mut data[..max], size, seed, plain)
        });
    };
}
