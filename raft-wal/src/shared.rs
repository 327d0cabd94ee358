//! The log for many threads: appends are queued, and whoever waits for one makes all of them
//! durable.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use raft_vfs::Vfs;

use crate::append::Flight;
use crate::backup::Backup;
use crate::duties::{self, Bell};
use crate::error::{Error, Result};
use crate::format::IdentPage;
use crate::group::{Engine, Group};
use crate::options::Options;
use crate::paths::io_error;
use crate::report::RecoveryReport;
use crate::scrub::ScrubStatus;
use crate::segment::Budget;
use crate::types::{Batch, Durable, Entry, HardState, SnapshotMark, Ticket};
use crate::wal::Wal;

/// A write-ahead log that threads share.
///
/// Clones are handles of the same log. Batches are ordered by the calls of [`SharedWal::append`];
/// while one thread's sync runs, the others' batches queue up and share the next one (group
/// commit). A lone writer does its own sync without any other thread in between.
///
/// Two threads belong to the log: one serves [`SharedWal::on_durable`], the other does what can
/// wait (the next segment, marks, index files, removal, the scrub). They end with
/// [`SharedWal::close`], or when the last handle is dropped.
///
/// ```
/// use raft_vfs::OsVfs;
/// use raft_wal::{Batch, Entry, EntryKind, Options, SharedWal};
///
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("log");
/// let (wal, _report) = SharedWal::open(OsVfs, &dir, &Options::new())?;
/// let entry = Entry { index: 1, term: 1, kind: EntryKind::Normal, data: "x = 1".into() };
/// let ticket = wal.append(&Batch::of_entries(vec![entry]))?;
/// let (done, outcome) = std::sync::mpsc::channel();
/// wal.on_durable(ticket, move |result| done.send(result).unwrap());
/// outcome.recv()??; // acknowledged
/// assert!(wal.is_durable(ticket));
/// wal.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SharedWal<V: Vfs> {
    shared: Arc<Shared<V>>,
    threads: Arc<Threads<V>>,
}

/// What the handles and the threads share.
pub(crate) struct Shared<V: Vfs> {
    pub(crate) group: Group<WalEngine<V>>,
    pub(crate) bell: Bell,
    /// The last error of a duty.
    trouble: Mutex<Option<Error>>,
}

impl<V: Vfs> Shared<V> {
    /// Looks at the log.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Wal<V>) -> T) -> Result<T> {
        self.group.look(|engine| engine.peek().map(look))
    }

    /// Keeps an error that no caller waits for.
    pub(crate) fn note(&self, e: Error) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
    }
}

/// Ends the threads when the last handle goes.
struct Threads<V: Vfs> {
    shared: Arc<Shared<V>>,
    duty: Mutex<Option<JoinHandle<()>>>,
    sync: Mutex<Option<JoinHandle<()>>>,
}

impl<V: Vfs> Threads<V> {
    /// Returns when no duty has its hands on a file any more.
    fn stop_duties(&self) {
        self.shared.bell.stop();
        join(&self.duty);
    }

    /// Returns when every callback was called.
    fn stop_sync(&self) {
        self.shared.group.close();
        join(&self.sync);
    }
}

fn join(thread: &Mutex<Option<JoinHandle<()>>>) {
    let handle = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
    // A callback may drop the last handle; its thread cannot wait for itself.
    if let Some(handle) = handle.filter(|h| h.thread().id() != thread::current().id()) {
        let _ = handle.join();
    }
}

impl<V: Vfs> Drop for Threads<V> {
    fn drop(&mut self) {
        self.stop_duties();
        self.stop_sync();
    }
}

/// The log as group commit sees it.
pub(crate) struct WalEngine<V: Vfs> {
    /// `None` once it is closed.
    wal: Option<Wal<V>>,
    /// As of the close: what is durable, and the last batch that was appended.
    durable: Durable,
    issued: u64,
    /// What those are told who still wait then.
    ended: Error,
}

impl<V: Vfs> WalEngine<V> {
    pub(crate) fn wal(&mut self) -> Result<&mut Wal<V>> {
        self.wal.as_mut().ok_or(Error::Closed)
    }

    fn peek(&self) -> Result<&Wal<V>> {
        self.wal.as_ref().ok_or(Error::Closed)
    }
}

impl<V: Vfs> Engine for WalEngine<V> {
    type Flight = Flight<V::File>;
    type Done = std::io::Result<()>;
    type Error = Error;

    fn begin(&mut self) -> Result<Option<Self::Flight>> {
        match &mut self.wal {
            Some(wal) => wal.begin_sync(),
            None => Ok(None),
        }
    }

    fn run(flight: &Self::Flight) -> Self::Done {
        flight.run()
    }

    fn end(&mut self, flight: Self::Flight, done: Self::Done) {
        if let Some(wal) = &mut self.wal {
            // A failure is kept by the log, and told to everybody who waits.
            let _ = wal.end_flight(&flight, done);
        }
    }

    fn durable(&self) -> u64 {
        self.wal.as_ref().map_or(self.durable, Wal::durable).batch_seq
    }

    fn issued(&self) -> u64 {
        self.wal.as_ref().map_or(self.issued, |wal| wal.tip.batch_seq)
    }

    fn failed(&self) -> Option<Error> {
        match &self.wal {
            Some(wal) => wal.healthy().err(),
            None => Some(self.ended.clone()),
        }
    }

    fn fail(&mut self, why: &'static str) {
        if let Some(wal) = &mut self.wal {
            wal.poison_because(why);
        }
    }
}

impl<V: Vfs> SharedWal<V> {
    /// Opens a log, as [`Wal::open`], and starts its threads.
    ///
    /// # Errors
    /// As [`Wal::open`]; [`Error::Io`] if a thread could not be started.
    pub fn open(
        vfs: V,
        dir: impl AsRef<Path>,
        options: &Options,
    ) -> Result<(Self, RecoveryReport)> {
        let (wal, report) = Wal::open(vfs, dir, options)?;
        Ok((Self::new(wal)?, report))
    }

    /// Shares an open log among threads.
    ///
    /// # Errors
    /// [`Error::Io`] if a thread could not be started.
    pub fn new(wal: Wal<V>) -> Result<Self> {
        let (durable, dir) = (wal.durable(), wal.paths.dir.clone());
        let shared = Arc::new(Shared {
            group: Group::new(WalEngine {
                wal: Some(wal),
                durable,
                issued: 0,
                ended: Error::Closed,
            }),
            bell: Bell::default(),
            trouble: Mutex::new(None),
        });
        let threads = Arc::new(Threads {
            shared: shared.clone(),
            duty: Mutex::new(None),
            sync: Mutex::new(None),
        });
        let spawn = |slot: &Mutex<Option<JoinHandle<()>>>, name: &str, run: fn(&Shared<V>)| {
            let shared = shared.clone();
            let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared));
            let spawned = spawned.map_err(|e| io_error("start a thread for", &dir, None, e))?;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(spawned);
            Ok::<(), Error>(())
        };
        spawn(&threads.sync, "raft-wal-sync", |shared| shared.group.serve())?;
        spawn(&threads.duty, "raft-wal-duty", duties::run)?;
        Ok(Self { shared, threads })
    }

    /// Appends one atomic batch, as [`Wal::append`]. Readable when this returns, acknowledged by
    /// [`SharedWal::wait`], [`SharedWal::on_durable`] or [`SharedWal::sync`].
    ///
    /// Blocks where a segment ends and its successor is not at hand, and for a sync where more
    /// than [`Options::max_unsynced_bytes`] wait for one. What nobody waits for is not synced.
    ///
    /// # Errors
    /// As [`Wal::append`]; [`Error::Closed`].
    pub fn append(&self, batch: &Batch) -> Result<Ticket> {
        let appended = self.shared.group.with(|engine| {
            let appended = match engine.wal() {
                Ok(wal) => {
                    wal.append_or_busy(batch).transpose()?.map(|t| (t, wal.exceeds_unsynced()))
                }
                Err(e) => Err(e),
            };
            Some(appended)
        });
        let (ticket, full) = appended?;
        self.shared.bell.ring();
        if full {
            self.wait(ticket)?;
        }
        Ok(ticket)
    }

    /// Blocks until the batch of `ticket` is durable: it is then acknowledged. The first who waits
    /// while no sync is under way makes one, for all batches appended so far.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if the log failed before that: the batch is in doubt.
    pub fn wait(&self, ticket: Ticket) -> Result<()> {
        self.shared.group.wait(ticket.0)
    }

    /// Has `callback` called once the batch of `ticket` is durable, or with the error that keeps
    /// it from ever being known to be. Callbacks are called in the order of tickets by one thread
    /// of the log, without any lock: they may append, but one that blocks delays those behind it.
    /// One that panics poisons the log.
    pub fn on_durable(&self, ticket: Ticket, callback: impl FnOnce(Result<()>) + Send + 'static) {
        self.shared.group.on_durable(ticket.0, Box::new(callback));
    }

    /// Makes everything appended so far durable.
    ///
    /// # Errors
    /// [`Error::Poisoned`]; [`Error::Closed`].
    pub fn sync(&self) -> Result<()> {
        let issued = self.read(|wal| wal.tip.batch_seq)?;
        self.shared.group.wait(issued)
    }

    /// Whether the batch of this ticket is durable. Takes no lock.
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.shared.group.durable()
    }

    /// How far the log is durable.
    pub fn durable(&self) -> Durable {
        self.shared.group.look(|engine| match engine.peek() {
            Ok(wal) => wal.durable(),
            Err(_) => engine.durable,
        })
    }

    /// Entries `[low, high)`, as [`Wal::entries`]. Files are read without a lock: nobody's append
    /// waits for this.
    ///
    /// # Errors
    /// As [`Wal::entries`]; [`Error::Closed`].
    pub fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>> {
        'again: loop {
            let (mut out, mut budget, mut at) = (Vec::new(), Budget::new(max_bytes), low);
            let mut rewrites = None;
            while at < high && !budget.exhausted {
                let piece = |wal: &Wal<V>| {
                    wal.piece(at, high, budget.left()).map(|(p, next)| (p, next, wal.rewrites))
                };
                let (piece, next, seen) = self.read(piece)??;
                if *rewrites.get_or_insert(seen) != seen {
                    // Entries were replaced between two pieces: they may be of different terms.
                    continue 'again;
                }
                piece.read(&mut budget, &mut out)?;
                at = next;
            }
            return Ok(out);
        }
    }

    /// The term of `index`, as [`Wal::term`].
    ///
    /// # Errors
    /// As [`Wal::term`]; [`Error::Closed`].
    pub fn term(&self, index: u64) -> Result<Option<u64>> {
        self.read(|wal| wal.term(index))?
    }

    /// Gives up every entry below `index`. Blocks for a sync; the files go in the background.
    ///
    /// # Errors
    /// As [`Wal::append`]; [`Error::Closed`].
    pub fn compact_to(&self, index: u64) -> Result<()> {
        let ticket = self.append(&Batch { compact: Some(index), ..Batch::default() })?;
        self.wait(ticket)
    }

    /// First index of the log.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn first_index(&self) -> Result<u64> {
        self.read(Wal::first_index)
    }

    /// One past the last index.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn next_index(&self) -> Result<u64> {
        self.read(Wal::next_index)
    }

    /// The last index; for an empty log the one before its first. `None` before index 0.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn last_index(&self) -> Result<Option<u64>> {
        self.read(Wal::last_index)
    }

    /// The hard state, durable or not.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn hard_state(&self) -> Result<HardState> {
        self.read(Wal::hard_state)
    }

    /// The newest snapshot marker.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn snapshot(&self) -> Result<Option<SnapshotMark>> {
        self.read(|wal| wal.snapshot().cloned())
    }

    /// The metadata record.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn metadata(&self) -> Result<Option<Bytes>> {
        self.read(|wal| wal.metadata().cloned())
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn blob(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.read(|wal| wal.blob(key).cloned())
    }

    /// All keyed values, by key.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn blobs(&self) -> Result<Vec<(Bytes, Bytes)>> {
        self.read(|wal| wal.blobs().map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    /// Who the log is.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn identity(&self) -> Result<IdentPage> {
        self.read(Wal::identity)
    }

    /// Whether everything that the open recovered is durable; see [`Wal::recovered_durable`].
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn recovered_durable(&self) -> Result<bool> {
        self.read(Wal::recovered_durable)
    }

    /// Why the log is poisoned, if it is.
    pub fn poisoned(&self) -> Option<String> {
        self.read(|wal| wal.poisoned().map(str::to_owned)).ok().flatten()
    }

    /// What the scrub has done and found, as [`Wal::scrub_status`]. It runs in the background, at
    /// [`Options::scrub_bytes_per_second`], until the log is closed or poisoned.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn scrub_status(&self) -> Result<ScrubStatus> {
        self.read(|wal| wal.scrub_status().clone())
    }

    /// Holds on to the log as it is durable now, to copy it, as [`Wal::backup`]. Appends,
    /// rotations and compactions go on.
    ///
    /// # Errors
    /// As [`Wal::backup`]; [`Error::Closed`].
    pub fn backup(&self) -> Result<Backup<V>> {
        self.read(Wal::backup)?
    }

    /// The last error of a background duty, if there was one since this was last asked. None of
    /// them harms the log: what is needed is tried again by whoever needs it.
    pub fn take_trouble(&self) -> Option<Error> {
        self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn read<T>(&self, look: impl FnOnce(&Wal<V>) -> T) -> Result<T> {
        self.shared.read(look)
    }

    /// Makes everything durable and lets go of the directory, as [`Wal::close`]. Callbacks that
    /// were registered are called before this returns; other handles get [`Error::Closed`].
    ///
    /// # Errors
    /// As [`Wal::close`]; [`Error::Closed`] if another handle was faster.
    pub fn close(self) -> Result<()> {
        // No duty may touch a file once the lock of the directory is gone.
        self.threads.stop_duties();
        let closed = self.shared.group.grounded(|engine| {
            let mut wal = engine.wal.take().ok_or(Error::Closed)?;
            let synced = wal.sync();
            (engine.durable, engine.issued) = (wal.durable(), wal.tip.batch_seq);
            engine.ended = synced.as_ref().err().cloned().unwrap_or(Error::Closed);
            synced.and_then(|()| wal.close())
        });
        self.threads.stop_sync();
        closed
    }
}

impl<V: Vfs> Clone for SharedWal<V> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), threads: self.threads.clone() }
    }
}

impl<V: Vfs> fmt::Debug for SharedWal<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedWal").finish_non_exhaustive()
    }
}
