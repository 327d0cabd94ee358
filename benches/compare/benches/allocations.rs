//! How often memory is allocated for a proposal, a tick and a heartbeat. The counting allocator
//! takes time for each, so this is not where time is measured.

use std::alloc::System;

use benches::full_or;
use compare::{CASES, Case, CoreNode, Driven, IdleGroups, Node, TikvNode};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    println!("{:<34} {:>16} {:>16}", "nodes / batch, a proposal", "raft", "core");
    for case in CASES {
        let (tikv, core) = (of_proposals::<TikvNode>(case), of_proposals::<CoreNode>(case));
        println!("{:<34} {tikv:>16} {core:>16}", case.name());
    }
    println!("\n{:<34} {:>16} {:>16}", "a group of 3", "raft", "core");
    let (tikv, core) = (of_ticks::<TikvNode>(), of_ticks::<CoreNode>());
    for (at, name) in ["tick", "tick with a round of heartbeats"].iter().enumerate() {
        println!("{name:<34} {:>16} {:>16}", tikv[at], core[at]);
    }
}

/// Allocations and bytes, each over `count`.
fn of(count: u64, work: impl FnOnce()) -> String {
    let region = Region::new(COUNTING);
    work();
    let change = region.change();
    let allocations = (change.allocations + change.reallocations) as f64 / count as f64;
    let bytes = change.bytes_allocated as f64 / count as f64;
    format!("{allocations:.2} ({bytes:.0} B)")
}

fn of_proposals<N: Node>(case: Case) -> String {
    let mut driven = Driven::<N>::new(case, full_or(25_000, 500));
    let proposals = full_or(64_000, 640);
    of(proposals, || {
        driven.run(proposals);
    })
}

fn of_ticks<N: Node>() -> [String; 2] {
    let groups = full_or(1_000, 20);
    let mut idle = IdleGroups::<N>::new(groups);
    for _ in 0..100 {
        idle.tick();
    }
    [(); 2].map(|()| of(groups as u64, || idle.tick()))
}
