//! Group commit under a scheduler that tries the interleavings: `src/group.rs` itself, compiled
//! against shuttle's threads, locks and atomics in place of the standard library's.
//!
//! A schedule in which somebody waits for ever is a failure (shuttle finds the deadlock), and so is
//! one in which somebody is told of durability too early, in the wrong order, or twice.
//! `RAFT_WAL_SCHEDULES=N` tries N schedules a test.

mod sync {
    pub(crate) use shuttle::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use shuttle::thread::{Thread, current, park, yield_now};
}

#[path = "../src/group.rs"]
mod group;

use std::collections::HashSet;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicU64 as Count, Ordering as O};

use group::{Engine, Group};
use shuttle::sync::Arc;
use shuttle::thread;

/// What a log is to group commit: numbers that are given, then taken by a flight, then durable.
struct Toy {
    issued: u64,
    taken: u64,
    durable: u64,
    failed: Option<&'static str>,
    disk: Arc<Disk>,
}

/// What every thread may look at without the group's lock.
#[derive(Default)]
struct Disk {
    flying: Count,
    /// What a sync has returned for.
    synced: Count,
    flights: Count,
    /// The flight that fails; 0 none.
    fails_at: u64,
}

struct Hop {
    covers: u64,
    disk: Arc<Disk>,
}

impl Engine for Toy {
    type Flight = Hop;
    type Done = Result<(), &'static str>;
    type Error = &'static str;

    fn begin(&mut self) -> Result<Option<Hop>, &'static str> {
        if let Some(why) = self.failed {
            return Err(why);
        }
        if self.issued == self.durable {
            return Ok(None);
        }
        assert_eq!(self.disk.flying.fetch_add(1, O::SeqCst), 0, "one flight at a time");
        self.taken = self.issued;
        Ok(Some(Hop { covers: self.taken, disk: self.disk.clone() }))
    }

    fn run(hop: &Hop) -> Self::Done {
        thread::yield_now();
        let flight = hop.disk.flights.fetch_add(1, O::SeqCst) + 1;
        if flight == hop.disk.fails_at {
            return Err("this flight was to fail");
        }
        hop.disk.synced.store(hop.covers, O::SeqCst);
        Ok(())
    }

    fn end(&mut self, hop: Hop, done: Self::Done) {
        assert_eq!(self.disk.flying.fetch_sub(1, O::SeqCst), 1, "a flight that ends has begun");
        match done {
            Ok(()) => self.durable = hop.covers,
            Err(why) => self.failed = Some(why),
        }
    }

    fn durable(&self) -> u64 {
        self.durable
    }

    fn issued(&self) -> u64 {
        self.issued
    }

    fn failed(&self) -> Option<&'static str> {
        self.failed
    }

    fn fail(&mut self, why: &'static str) {
        self.failed = Some(why);
    }
}

fn toy(fails_at: u64) -> (Arc<Group<Toy>>, Arc<Disk>) {
    let disk = Arc::new(Disk { fails_at, ..Disk::default() });
    let toy = Toy { issued: 0, taken: 0, durable: 0, failed: None, disk: disk.clone() };
    (Arc::new(Group::new(toy)), disk)
}

fn append(group: &Group<Toy>) -> u64 {
    group.with(|toy| {
        toy.issued += 1;
        Some(toy.issued)
    })
}

/// Half of the schedules at random, half with few and well-placed preemptions (PCT).
fn schedules(test: impl Fn() + Send + Sync + 'static) {
    let n = std::env::var("RAFT_WAL_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(4_000);
    let test = Arc::new(test);
    let again = test.clone();
    shuttle::check_random(move || test(), n / 2);
    shuttle::check_pct(move || again(), n / 2, 3);
    println!("{n} schedules");
}

#[test]
fn nobody_is_told_too_early_and_nobody_waits_for_ever() {
    schedules(|| {
        let (group, disk) = toy(0);
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let (group, disk) = (group.clone(), disk.clone());
                thread::spawn(move || {
                    for _ in 0..2 {
                        let ticket = append(&group);
                        group.wait(ticket).expect("nothing fails");
                        assert!(disk.synced.load(O::SeqCst) >= ticket, "told too early");
                        assert!(group.durable() >= ticket, "the watermark is behind");
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("no writer panics");
        }
        assert_eq!(disk.synced.load(O::SeqCst), 6);
        assert_eq!(group.look(|toy| toy.durable), 6);
        assert!(disk.flights.load(O::SeqCst) <= 6, "a flight a batch at most");
    });
}

#[test]
fn the_watermark_is_never_ahead_of_the_disk() {
    schedules(|| {
        let (group, disk) = toy(0);
        let (seen, looks) = (group.clone(), disk.clone());
        let reader = thread::spawn(move || {
            let mut before = 0;
            for _ in 0..4 {
                let durable = seen.durable();
                assert!(durable <= looks.synced.load(O::SeqCst), "ahead of the disk");
                assert!(durable >= before, "the watermark fell");
                before = durable;
                thread::yield_now();
            }
        });
        for _ in 0..2 {
            let ticket = append(&group);
            group.wait(ticket).expect("nothing fails");
        }
        reader.join().expect("the reader does not panic");
    });
}

#[test]
fn callbacks_come_once_each_in_the_order_of_tickets_and_before_the_service_ends() {
    schedules(|| {
        let (group, disk) = toy(0);
        let service = group.clone();
        let service = thread::spawn(move || service.serve());
        let told = Arc::new(StdMutex::new(Vec::new()));
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let (group, disk, told) = (group.clone(), disk.clone(), told.clone());
                thread::spawn(move || {
                    for _ in 0..2 {
                        let ticket = append(&group);
                        let (disk, told) = (disk.clone(), told.clone());
                        let callback = move |outcome: Result<(), _>| {
                            outcome.expect("nothing fails");
                            assert!(disk.synced.load(O::SeqCst) >= ticket, "told too early");
                            told.lock().unwrap().push(ticket);
                        };
                        group.on_durable(ticket, Box::new(callback));
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("no writer panics");
        }
        group.close();
        service.join().expect("the service does not panic");
        let told = told.lock().unwrap();
        let once: HashSet<_> = told.iter().collect();
        assert_eq!(once.len(), 4, "each once: {told:?}");
    });
}

#[test]
fn callbacks_of_one_thread_come_in_its_order_whoever_flushes() {
    schedules(|| {
        let (group, _) = toy(0);
        let service = group.clone();
        let service = thread::spawn(move || service.serve());
        let waiter = group.clone();
        let waiter = thread::spawn(move || {
            let ticket = append(&waiter);
            waiter.wait(ticket).expect("nothing fails");
        });
        let told = Arc::new(StdMutex::new(Vec::new()));
        for n in 0..3 {
            let ticket = append(&group);
            let told = told.clone();
            group.on_durable(ticket, Box::new(move |_| told.lock().unwrap().push(n)));
        }
        waiter.join().expect("the waiter does not panic");
        group.close();
        service.join().expect("the service does not panic");
        assert_eq!(*told.lock().unwrap(), [0, 1, 2]);
    });
}

#[test]
fn a_callback_comes_although_nobody_waits_and_nothing_is_closed() {
    schedules(|| {
        let (group, _) = toy(0);
        let service = group.clone();
        let service = thread::spawn(move || service.serve());
        for _ in 0..2 {
            let ticket = append(&group);
            let (tell, told) = shuttle::sync::mpsc::channel();
            group.on_durable(ticket, Box::new(move |_| tell.send(()).unwrap()));
            told.recv().expect("the callback comes");
        }
        group.close();
        service.join().expect("the service does not panic");
    });
}

#[test]
fn a_failure_reaches_everybody_who_waits_and_everybody_who_comes_later() {
    schedules(|| {
        let (group, disk) = toy(2);
        let service = group.clone();
        let service = thread::spawn(move || service.serve());
        let outcomes = Arc::new(StdMutex::new(Vec::new()));
        let writers: Vec<_> = (0..3)
            .map(|who| {
                let (group, disk, outcomes) = (group.clone(), disk.clone(), outcomes.clone());
                thread::spawn(move || {
                    for _ in 0..2 {
                        let ticket = append(&group);
                        if who == 0 {
                            let outcomes = outcomes.clone();
                            let keep = move |outcome| outcomes.lock().unwrap().push(outcome);
                            group.on_durable(ticket, Box::new(keep));
                            continue;
                        }
                        let outcome = group.wait(ticket);
                        let synced = disk.synced.load(O::SeqCst);
                        assert!(outcome.is_err() || synced >= ticket, "told too early");
                        outcomes.lock().unwrap().push(outcome);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("no writer panics");
        }
        group.close();
        service.join().expect("the service does not panic");
        assert_eq!(outcomes.lock().unwrap().len(), 6, "everybody is told");
        let late = append(&group);
        let flights = disk.flights.load(O::SeqCst);
        let outcome = group.wait(late);
        assert_eq!(outcome.is_err(), flights >= 2, "a failed engine acknowledges nothing");
    });
}

#[test]
fn a_change_that_needs_the_ground_never_meets_a_flight_and_is_not_starved() {
    schedules(|| {
        let (group, disk) = toy(0);
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let group = group.clone();
                thread::spawn(move || {
                    for _ in 0..2 {
                        let ticket = append(&group);
                        group.wait(ticket).expect("nothing fails");
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            group.grounded(|_| assert_eq!(disk.flying.load(O::SeqCst), 0, "a flight is under way"));
        }
        for writer in writers {
            writer.join().expect("no writer panics");
        }
    });
}

#[test]
fn whoever_needs_what_a_job_has_in_its_hands_is_woken_when_the_job_ends() {
    schedules(|| {
        let (group, _) = toy(0);
        let at_hand = Arc::new(Count::new(0));
        let (waits, needed) = (group.clone(), at_hand.clone());
        let waiter = thread::spawn(move || {
            let ticket = waits.with(|toy| {
                (needed.load(O::SeqCst) == 1).then(|| {
                    toy.issued += 1;
                    toy.issued
                })
            });
            waits.wait(ticket).expect("nothing fails");
        });
        let other = append(&group);
        group.now(|_| at_hand.store(1, O::SeqCst));
        group.notify();
        group.wait(other).expect("nothing fails");
        waiter.join().expect("the waiter does not panic");
    });
}
