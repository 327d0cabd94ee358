//! The thread that does what can wait: publishes the next segment, writes idle marks and index
//! files, removes and recycles, reads again. It calls the same steps as anybody would, and keeps
//! the log's lock only for their beginnings and ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use raft_vfs::Vfs;

use crate::error::{Error, Result};
use crate::scrub::{SCRUB_PIECE, ScrubStep};
use crate::shared::Shared;
use crate::steps::MARK_IDLE;
use crate::wal::Wal;

/// Wakes the thread when there may be something to do.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    stopped: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    /// Something was appended. Cheap when the thread is awake.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            let _stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
            self.heard.notify_one();
        }
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_one();
    }

    /// Sleeps. `false` if the thread is to end.
    fn sleep(&self, rest: Rest) -> bool {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = |stopped: &mut bool| !*stopped && !self.rung.load(Ordering::Acquire);
        let waited = match rest {
            // Somebody is at work and rings all the time: only the end interrupts.
            Rest::Short => {
                self.heard.wait_timeout_while(stopped, MARK_IDLE, |stopped: &mut bool| !*stopped)
            }
            Rest::UntilRung(Some(limit)) => self.heard.wait_timeout_while(stopped, limit, quiet),
            Rest::UntilRung(None) => {
                stopped = match self.heard.wait_while(stopped, quiet) {
                    Ok(guard) => guard,
                    Err(e) => e.into_inner(),
                };
                return !*stopped;
            }
        };
        stopped = waited.unwrap_or_else(PoisonError::into_inner).0;
        !*stopped
    }
}

/// How the thread rests.
#[derive(Clone, Copy, Debug)]
enum Rest {
    /// For a moment, whoever rings.
    Short,
    /// Until the bell rings, at most for so long.
    UntilRung(Option<Duration>),
}

/// Runs until the bell is stopped or the log has failed.
pub(crate) fn run<V: Vfs>(shared: &Shared<V>) {
    let begun = Instant::now();
    loop {
        let busy = shared.bell.rung.swap(false, Ordering::AcqRel);
        let settled = match tick(shared, begun.elapsed()) {
            Ok(settled) => settled,
            Err(Error::Closed | Error::Poisoned { .. }) => return,
            Err(e) => {
                shared.note(e);
                false
            }
        };
        // Nothing happened and nothing is due: until somebody appends there is nothing to do but
        // the next piece of the scrub.
        let rest = if busy || !settled {
            Rest::Short
        } else {
            let now = begun.elapsed();
            let wait = shared.group.now(|engine| Ok::<_, Error>(engine.wal()?.scrub_wait(now)));
            Rest::UntilRung(wait.unwrap_or(None))
        };
        if !shared.bell.sleep(rest) {
            return;
        }
    }
}

/// Every duty once. Returns whether nothing is left to be done, not even a mark.
fn tick<V: Vfs>(shared: &Shared<V>, now: Duration) -> Result<bool> {
    publish(shared)?;
    while index(shared)? {}
    remove(shared)?;
    scrub(shared, now)?;
    shared.group.grounded(|engine| {
        let wal = engine.wal()?;
        wal.step_mark(now)?;
        Ok(!wal.mark_is_due())
    })
}

fn publish<V: Vfs>(shared: &Shared<V>) -> Result<()> {
    let begun = shared.group.now(|engine| {
        let wal = engine.wal()?;
        wal.wants_next().then(|| wal.begin_publish(wal.next_capacity())).transpose()
    })?;
    let Some(mut publishing) = begun else { return Ok(()) };
    publishing.gentle = true;
    let end = publishing.run();
    let published = shared.group.now(|engine| {
        let wal = engine.wal()?;
        wal.next = Some(wal.end_publish(end)?);
        Ok(())
    });
    shared.group.notify();
    match published {
        // An append that needs the segment will say so.
        Err(Error::NoSpace { .. }) => Ok(()),
        other => other,
    }
}

fn index<V: Vfs>(shared: &Shared<V>) -> Result<bool> {
    let begun = shared.group.now(|engine| Ok::<_, Error>(engine.wal()?.begin_index()))?;
    let Some(indexing) = begun else { return Ok(false) };
    let light = indexing.run()?;
    shared.group.now(|engine| {
        engine.wal()?.end_index(light);
        Ok(true)
    })
}

fn remove<V: Vfs>(shared: &Shared<V>) -> Result<()> {
    if !shared.read(Wal::wants_removal)? {
        return Ok(());
    }
    let begun = shared.group.grounded(|engine| engine.wal()?.begin_removal())?;
    let Some(removal) = begun else { return Ok(()) };
    let end = removal.run();
    shared.group.now(|engine| engine.wal()?.end_removal(end).map(drop))
}

/// Reads a piece again, if one is due, part by part.
fn scrub<V: Vfs>(shared: &Shared<V>, now: Duration) -> Result<()> {
    let wait = shared.group.now(|engine| Ok::<_, Error>(engine.wal()?.scrub_wait(now)))?;
    if wait != Some(Duration::ZERO) {
        return Ok(());
    }
    let mut piece = ScrubStep::default();
    let mut outcome = Ok(());
    while outcome.is_ok() && piece.bytes < SCRUB_PIECE && !piece.pass_done {
        outcome = scrub_part(shared, &mut piece);
    }
    // What failed is not tried again before it is due, either.
    let is_over = piece.pass_done || outcome.is_err();
    shared.group.now(|engine| {
        engine.wal()?.charge_scrub(now, piece.bytes, is_over);
        outcome
    })
}

fn scrub_part<V: Vfs>(shared: &Shared<V>, piece: &mut ScrubStep) -> Result<()> {
    let left = SCRUB_PIECE - piece.bytes;
    let part = shared.group.now(|engine| Ok::<_, Error>(engine.wal()?.begin_scrub(left)))?;
    let end = part.run()?;
    let step = shared.group.grounded(|engine| engine.wal()?.end_scrub(end))?;
    piece.bytes += step.bytes;
    piece.pass_done = step.pass_done;
    Ok(())
}
