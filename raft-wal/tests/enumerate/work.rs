//! Scripts dealt to threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::directed::Directed;
use super::judge::{Judge, Shared};
use super::run::{Outcome, Run};
use super::script::{Script, Start};
use super::sweep::Breadth;
use super::tally::Tally;

/// More failures than these say nothing new.
const FAILURES_MAX: usize = 5;

/// The logs that scripts begin with.
#[derive(Debug)]
pub(crate) struct Starts {
    fresh: Run,
    used: Run,
}

impl Starts {
    pub(crate) fn new() -> Self {
        let make = |start| Run::new(start).unwrap_or_else(|why| panic!("{why}"));
        Self { fresh: make(Start::Fresh), used: make(Start::Used) }
    }

    pub(crate) fn of(&self, start: Start) -> Run {
        match start {
            Start::Fresh => self.fresh.fork(),
            Start::Used => self.used.fork(),
        }
    }
}

/// Runs `job` for each item, on two threads at most. Panics of the job are failures; `name` says
/// how to replay an item.
pub(crate) fn share<T: Sync, R: Send>(
    items: &[T],
    fresh: impl Fn() -> R + Sync,
    job: impl Fn(&mut R, &Starts, &T) -> Outcome + Sync,
    name: impl Fn(&T) -> String + Sync,
    finish: impl Fn(R, Vec<String>) -> Tally + Sync,
) -> Tally {
    let begun = Instant::now();
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, |n| n.get().min(2));
    let worker = || {
        let (mut state, starts, mut failures) = (fresh(), Starts::new(), Vec::new());
        while failures.len() < FAILURES_MAX
            && let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let ran = catch_unwind(AssertUnwindSafe(|| job(&mut state, &starts, item)));
            let problem = match ran {
                Ok(outcome) => outcome.err(),
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or(panic.downcast_ref::<&str>().map(ToString::to_string));
                    Some(format!("PANIC {}", text.unwrap_or_default()))
                }
            };
            failures.extend(problem.map(|why| format!("{why}\n  replay: {}", name(item))));
        }
        finish(state, failures)
    };
    let mut all = Tally::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            all.add(worker.join().expect("a worker catches panics"));
        }
    });
    all.time = begun.elapsed();
    all
}

/// How to run one script again.
pub(crate) fn replay_of(script: &Script) -> String {
    format!("RAFT_WAL_SCRIPT={script} cargo test -p raft-wal --test enumerate")
}

/// Crashes every script at each point of its last operation: those before are the last of shorter
/// scripts.
///
/// With `whole`, at each point of every operation.
pub(crate) fn enumerate(scripts: &[Script], shared: &Shared, whole: bool) -> Tally {
    share(
        scripts,
        || Judge { shared, tally: Tally::default() },
        |judge, starts, script| run_script(judge, starts, script, whole),
        replay_of,
        |judge, failures| Tally { failures, ..judge.tally },
    )
}

/// Fails calls of every script.
pub(crate) fn fail_calls(
    scripts: &[Script],
    shared: &Shared,
    breadth: Breadth,
    sweep: impl Fn(&mut Judge<'_>, &Starts, &Script, Breadth) -> Outcome + Sync,
) -> Tally {
    share(
        scripts,
        || Judge { shared, tally: Tally::default() },
        |judge, starts, script| sweep(judge, starts, script, breadth),
        replay_of,
        |judge, failures| Tally { failures, ..judge.tally },
    )
}

/// Walks to every place.
pub(crate) fn walk(ways: &[Directed], shared: &Shared) -> Tally {
    share(
        ways,
        || Judge { shared, tally: Tally::default() },
        |judge, _, way| way.walk(judge),
        ToString::to_string,
        |judge, failures| Tally { failures, ..judge.tally },
    )
}

fn run_script(judge: &mut Judge<'_>, starts: &Starts, script: &Script, whole: bool) -> Outcome {
    judge.tally.scripts += 1;
    let mut run = starts.of(script.start);
    let last = script.ops.len();
    run.disk.set_moments(whole || last == 0);
    if last == 0 {
        judge.untouched(&run)?;
    }
    run.open()?;
    for (n, &op) in script.ops.iter().enumerate() {
        if n + 1 == last {
            run.disk.set_moments(true);
        }
        run.step(op, script.pace)?;
        judge.points(&mut run).map_err(|why| format!("{why}\n  in operation {n}"))?;
    }
    judge.points(&mut run)
}
