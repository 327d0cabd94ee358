//! The thread that does what can wait: publishes the next segment, writes idle marks and index
//! files, removes and recycles. It calls the same steps as anybody would, and keeps the log's lock
//! only for their beginnings and ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use raft_vfs::Vfs;

use crate::error::{Error, Result};
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

    /// Sleeps until the bell rings, or for `at_most`. `false` if the thread is to end.
    fn sleep(&self, at_most: Option<Duration>) -> bool {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = |stopped: &mut bool| !*stopped && !self.rung.load(Ordering::Acquire);
        if let Some(limit) = at_most {
            // Somebody is at work and rings all the time: only the end interrupts.
            let until_stopped = |stopped: &mut bool| !*stopped;
            stopped = match self.heard.wait_timeout_while(stopped, limit, until_stopped) {
                Ok((guard, _)) => guard,
                Err(e) => e.into_inner().0,
            };
        } else {
            let waited = self.heard.wait_while(stopped, quiet);
            stopped = waited.unwrap_or_else(PoisonError::into_inner);
        }
        !*stopped
    }
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
        // Nothing happened and nothing is due: until somebody appends there is nothing to do.
        let rest = (busy || !settled).then_some(MARK_IDLE);
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
