//! Group commit: many threads wait for durability, one of them makes it, for all.
//!
//! Whoever waits first while no flush is under way becomes the leader: takes everything that is
//! queued, writes and syncs it without holding the lock, and wakes exactly those whose batches it
//! covered, and one more to lead the next flush. While a flush runs the queue fills, so the group
//! is as large as the disk is slow. There are no timers; a lone writer does its own flush, on its
//! own thread.
//!
//! What is flushed is behind [`Engine`], and what threads are is behind the module `sync`, so that
//! a test can run this file under a scheduler that tries the interleavings.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::sync::{
    AtomicU64, Condvar, Mutex, MutexGuard, Ordering, Thread, current, park, yield_now,
};

/// What is flushed. Every method is called with the lock held, except [`Engine::run`].
pub(crate) trait Engine {
    /// A flush in flight.
    type Flight;
    /// What running it gave.
    type Done;
    /// Why nothing will be durable any more.
    type Error: Clone;

    /// Takes everything that is queued; `None` if everything is durable. An error leaves things as
    /// they were.
    fn begin(&mut self) -> Result<Option<Self::Flight>, Self::Error>;
    /// Writes and syncs, without the lock.
    fn run(flight: &Self::Flight) -> Self::Done;
    /// What the flight carried is durable, or the engine has failed.
    fn end(&mut self, flight: Self::Flight, done: Self::Done);
    /// The last ticket that is durable. Never falls.
    fn durable(&self) -> u64;
    /// The last ticket that was given.
    fn issued(&self) -> u64;
    /// Why the engine failed, if it did. Stays.
    fn failed(&self) -> Option<Self::Error>;
    /// A callback panicked: nothing is known of its owner any more.
    fn fail(&mut self, why: &'static str);
}

/// Called once, when a ticket is durable or never will be.
pub(crate) type Callback<E> = Box<dyn FnOnce(Result<(), E>) + Send>;

/// A callback and what it is to be told.
type Due<E> = (Callback<E>, Result<(), E>);

/// The engine and who waits for it.
///
/// Invariants: `in_flight` is set exactly while somebody runs a flight, and only who set it ends
/// it. A thread in `waiting` is woken when its ticket is durable, when the engine failed, or when
/// nobody leads and it may.
struct Inner<G: Engine> {
    engine: G,
    in_flight: bool,
    waiting: Vec<(u64, Thread)>,
    /// Ordered by ticket.
    callbacks: VecDeque<(u64, Callback<G::Error>)>,
    /// Callbacks whose outcome is known already.
    refused: Vec<Due<G::Error>>,
    /// How many led or waited when the last flight ended: those who are likely to come again.
    company: usize,
    closing: bool,
}

/// A log that many threads append to.
pub(crate) struct Group<G: Engine> {
    inner: Mutex<Inner<G>>,
    /// A flight has ended, for those who need the engine without one.
    landed: Condvar,
    /// There is work for the thread that serves callbacks.
    called: Condvar,
    /// The last durable ticket, readable without the lock. Never above the engine's.
    watermark: AtomicU64,
}

/// Threads that go on once the lock is free: woken before, each would only wait for the lock.
#[must_use = "threads wait to be woken"]
struct Wake(Vec<Thread>);

impl Wake {
    fn now(self) {
        for thread in self.0 {
            thread.unpark();
        }
    }
}

impl<G: Engine> Group<G> {
    pub(crate) fn new(engine: G) -> Self {
        let watermark = AtomicU64::new(engine.durable());
        let inner = Inner {
            engine,
            in_flight: false,
            waiting: Vec::new(),
            callbacks: VecDeque::new(),
            refused: Vec::new(),
            company: 0,
            closing: false,
        };
        Self { inner: Mutex::new(inner), landed: Condvar::new(), called: Condvar::new(), watermark }
    }

    /// The lock. A thread that panicked with it has left the engine between two steps of a change
    /// that nobody can judge: nobody goes on.
    fn lock(&self) -> MutexGuard<'_, Inner<G>> {
        self.inner.lock().expect("no thread panics while it changes the log")
    }

    /// The last durable ticket, without the lock.
    pub(crate) fn durable(&self) -> u64 {
        self.watermark.load(Ordering::Acquire)
    }

    /// Lets `change` at the engine as soon as it does not answer `None`, which means that it needs
    /// what a flight has in its hands.
    pub(crate) fn with<T>(&self, mut change: impl FnMut(&mut G) -> Option<T>) -> T {
        let mut inner = self.lock();
        loop {
            if let Some(out) = change(&mut inner.engine) {
                let wake = self.publish(&mut inner);
                drop(inner);
                wake.now();
                return out;
            }
            inner = self.landed.wait(inner).expect("no thread panics while it changes the log");
        }
    }

    /// Looks at the engine, whatever is under way.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&G) -> T) -> T {
        look(&self.lock().engine)
    }

    /// Lets `change` at what no flight has in its hands.
    pub(crate) fn now<T>(&self, change: impl FnOnce(&mut G) -> T) -> T {
        let mut inner = self.lock();
        let out = change(&mut inner.engine);
        let wake = self.publish(&mut inner);
        drop(inner);
        wake.now();
        out
    }

    /// Lets `change` at the engine while no flight is under way.
    pub(crate) fn grounded<T>(&self, change: impl FnOnce(&mut G) -> T) -> T {
        let mut inner = self.lock();
        while inner.in_flight {
            inner = self.landed.wait(inner).expect("no thread panics while it changes the log");
        }
        let out = change(&mut inner.engine);
        let wake = self.publish(&mut inner);
        drop(inner);
        wake.now();
        out
    }

    /// Something besides a flight that others may wait for has ended.
    pub(crate) fn notify(&self) {
        self.landed.notify_all();
    }

    /// Blocks until `ticket` is durable, doing the flush if nobody else does.
    pub(crate) fn wait(&self, ticket: u64) -> Result<(), G::Error> {
        if self.durable() >= ticket {
            return Ok(());
        }
        let mut inner = self.lock();
        // A number that was never given would be waited for for ever.
        let ticket = ticket.min(inner.engine.issued());
        loop {
            if inner.engine.durable() >= ticket {
                return Ok(());
            }
            if let Some(e) = inner.engine.failed() {
                return Err(e);
            }
            if inner.in_flight {
                inner.waiting.push((ticket, current()));
                drop(inner);
                park();
                if self.durable() >= ticket {
                    return Ok(());
                }
                inner = self.lock();
                let me = current().id();
                inner.waiting.retain(|(_, thread)| thread.id() != me);
            } else {
                let (led, wake, result) = self.lead(inner);
                drop(led);
                wake.now();
                result?;
                if self.durable() >= ticket {
                    return Ok(());
                }
                inner = self.lock();
            }
        }
    }

    /// One flight, from a lock to a lock.
    fn lead<'a>(
        &'a self,
        inner: MutexGuard<'a, Inner<G>>,
    ) -> (MutexGuard<'a, Inner<G>>, Wake, Result<(), G::Error>) {
        let mut inner = self.gather(inner);
        let begun = inner.engine.begin();
        let result = match begun {
            Ok(Some(flight)) => {
                drop(inner);
                let done = G::run(&flight);
                inner = self.lock();
                inner.engine.end(flight, done);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(e) => Err(e),
        };
        inner.in_flight = false;
        inner.company = 1 + inner.waiting.len();
        let wake = self.publish(&mut inner);
        (inner, wake, result)
    }

    /// Takes the lead. Those whom the last flight woke are about to append again: let them, as
    /// long as each time slice brings somebody. Without that two halves take turns, each waiting
    /// for the other's sync; with more patience a machine that has other work to do stands still.
    fn gather<'a>(&'a self, mut inner: MutexGuard<'a, Inner<G>>) -> MutexGuard<'a, Inner<G>> {
        inner.in_flight = true;
        let mut waiting = inner.waiting.len();
        while 1 + waiting < inner.company {
            drop(inner);
            yield_now();
            inner = self.lock();
            let now = inner.waiting.len();
            if now <= waiting {
                break;
            }
            waiting = now;
        }
        inner
    }

    /// Finds everybody whom the engine's state concerns, to be told once the lock is free. Called
    /// with the lock held after whatever may have moved the watermark or failed the engine.
    fn publish(&self, inner: &mut Inner<G>) -> Wake {
        let durable = inner.engine.durable();
        let failed = inner.engine.failed().is_some();
        if durable > self.watermark.load(Ordering::Relaxed) {
            self.watermark.store(durable, Ordering::Release);
        }
        let concerned = |(ticket, _): &mut (u64, Thread)| *ticket <= durable || failed;
        let gone = inner.waiting.extract_if(.., concerned);
        let mut wake = Wake(gone.map(|(_, thread)| thread).collect());
        if !inner.in_flight {
            wake.0.extend(inner.waiting.first().map(|(_, thread)| thread.clone()));
            self.landed.notify_all();
        }
        if !inner.callbacks.is_empty() {
            self.called.notify_one();
        }
        wake
    }

    /// Has `callback` called, in the order of tickets, once `ticket` is durable or the engine has
    /// failed; by [`Group::serve`], never by this thread.
    pub(crate) fn on_durable(&self, ticket: u64, callback: Callback<G::Error>) {
        let mut inner = self.lock();
        let ticket = ticket.min(inner.engine.issued());
        let at = inner.callbacks.partition_point(|(t, _)| *t <= ticket);
        inner.callbacks.insert(at, (ticket, callback));
        self.called.notify_one();
    }

    /// Serves callbacks until [`Group::close`], flushing for those who do not wait themselves. Run
    /// by one thread. What is registered by the time of the close is still served.
    pub(crate) fn serve(&self) {
        let mut inner = self.lock();
        loop {
            let due = Self::due(&mut inner);
            if !due.is_empty() {
                drop(inner);
                let mut sound = true;
                for (callback, outcome) in due {
                    // One that panics must not keep the others from being told.
                    sound &= catch_unwind(AssertUnwindSafe(|| callback(outcome))).is_ok();
                }
                inner = self.lock();
                if !sound {
                    inner.engine.fail("a callback panicked");
                    let wake = self.publish(&mut inner);
                    drop(inner);
                    wake.now();
                    inner = self.lock();
                }
            } else if inner.callbacks.is_empty() {
                if inner.closing {
                    return;
                }
                inner = self.called.wait(inner).expect("no thread panics while it changes the log");
            } else if inner.in_flight {
                inner = self.landed.wait(inner).expect("no thread panics while it changes the log");
            } else {
                let (led, wake, result) = self.lead(inner);
                inner = led;
                if let Err(e) = result {
                    // Nobody else waits for these: they learn that it cannot be done now.
                    let refused = std::mem::take(&mut inner.callbacks);
                    inner.refused.extend(refused.into_iter().map(|(_, c)| (c, Err(e.clone()))));
                }
                drop(inner);
                wake.now();
                inner = self.lock();
            }
        }
    }

    /// The callbacks whose time has come, in order.
    fn due(inner: &mut Inner<G>) -> Vec<Due<G::Error>> {
        let durable = inner.engine.durable();
        let failed = inner.engine.failed();
        let mut due = std::mem::take(&mut inner.refused);
        while let Some((ticket, _)) = inner.callbacks.front() {
            let outcome = match &failed {
                _ if *ticket <= durable => Ok(()),
                Some(e) => Err(e.clone()),
                None => break,
            };
            if let Some((_, callback)) = inner.callbacks.pop_front() {
                due.push((callback, outcome));
            }
        }
        due
    }

    /// Ends [`Group::serve`] once it has nothing left to do.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.called.notify_all();
    }
}
