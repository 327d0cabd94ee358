//! What is going to happen, and when: the only order there is.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Simulated time. A tick of a node is about [`TICK`] of it.
pub type Time = u64;

/// How much time a tick takes on a clock that is right.
pub const TICK: Time = 100;

#[derive(Debug)]
struct Timed<E> {
    at: Time,
    number: u64,
    event: E,
}

impl<E> PartialEq for Timed<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Timed<E> {}

impl<E> PartialOrd for Timed<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Timed<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Events by time, and those of one time in the order in which they were put in.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<Timed<E>>>,
    now: Time,
    number: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), now: 0, number: 0 }
    }
}

impl<E> Queue<E> {
    /// When the last event was.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Puts in an event that is to happen `delay` from now.
    pub fn after(&mut self, delay: Time, event: E) {
        self.number += 1;
        self.heap.push(Reverse(Timed { at: self.now + delay, number: self.number, event }));
    }

    /// Takes the next event out. Time passes until it happens.
    pub fn take(&mut self) -> Option<E> {
        let Reverse(next) = self.heap.pop()?;
        self.now = next.at;
        Some(next.event)
    }
}
