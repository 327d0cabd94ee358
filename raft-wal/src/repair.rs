//! Repairing a log that an open refuses: first a plan, then its execution.
//!
//! [`plan_repair`] changes nothing. It says what is damaged, up to which batch the log can be kept,
//! and what is given up; the lock is held until the plan is dropped, so that what was planned is
//! what is executed. [`RepairPlan::execute`] copies every file that is damaged or given up to
//! `quarantine/`, and then does what every process does that starts to write: it begins a new
//! segment, which names the last good batch of its predecessor and steps over everything behind
//! it. No byte of a damaged file is overwritten, and the file stays where it is as long as its
//! good part is live.
//!
//! A repair keeps the log as it was after its last good batch: entries, marker, values. Where all
//! that is damaged lies in front of the newest snapshot marker, the log begins behind the marker
//! and nothing younger is given up. Term and vote are the newest that are readable anywhere. Where
//! a lost batch may have held a still newer one, nobody can say whether this node voted; that has
//! to be accepted explicitly ([`RepairPolicy`]).
//!
//! Restoring the damaged file from a copy is always better: it loses nothing. Next best is to open
//! degraded ([`crate::Wal::open_degraded`]) and to bring back what is lost from a peer.
//!
//! ```
//! use raft_vfs::OsVfs;
//! use raft_wal::{Options, Wal, plan_repair};
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path().join("log");
//! # Wal::open(OsVfs, &dir, &Options::new())?.0.close()?;
//! let plan = plan_repair(OsVfs, &dir, &Options::new())?;
//! print!("{plan}");
//! if plan.is_needed() && plan.hard_state_is_certain() {
//!     let report = plan.execute()?;
//!     print!("{report}");
//! } else {
//!     drop(plan); // lets go of the lock
//! }
//! let (wal, _) = Wal::open(OsVfs, &dir, &Options::new())?;
//! # drop(wal);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod identity;
mod keep;
mod outline;
mod quarantine;

use std::fmt;
use std::path::{Path, PathBuf};

use raft_vfs::Vfs;

use self::keep::Site;
pub use self::outline::{GivenUp, Kept, Outline, RepairCut};
pub use self::quarantine::SetAside;
use crate::dir::{self, Ident, Names};
use crate::error::{Acked, Corrupt, CorruptKind, Error, LostRange, Result};
use crate::options::{Options, Verify};
use crate::paths::{Paths, io_error};
use crate::publish::number_above;
use crate::recover::{Newest, Recovered, Recovery, recover};
use crate::report::{Discarded, RecoveryReport};
use crate::scan::look_ahead;
use crate::survey::{Survey, survey};
use crate::wal::{Wal, sync_names};

/// What a repair may lose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RepairPolicy {
    /// Entries, which the cluster has elsewhere; never a vote.
    #[default]
    KeepVote,
    /// A vote too. Right only for a node that will not vote in any term in which it may have voted
    /// before: one that joins the cluster again as a new member.
    AcceptLostVote,
}

/// What a repair will do. Holds the directory's lock.
#[derive(Debug)]
pub struct RepairPlan<V: Vfs> {
    vfs: V,
    paths: Paths,
    options: Options,
    ident: Ident,
    names: Names,
    outline: Outline,
    policy: RepairPolicy,
    /// IDENT as it will be, if it changes.
    whole_ident: Option<Vec<u8>>,
    /// The log that is kept, if it is cut.
    kept: Option<Recovered<V>>,
    discarded: Option<Discarded>,
    lock: V::Lock,
}

/// What a repair did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RepairReport {
    /// What was planned; all of it was done.
    pub outline: Outline,
    /// The segment that the log goes on in; `None` if it was not cut.
    pub segment: Option<u64>,
}

impl fmt::Display for RepairReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outline.fmt(f)?;
        self.segment.map_or(Ok(()), |n| writeln!(f, "repaired: the log goes on in segment {n}"))
    }
}

/// Plans the repair of the log in `dir`. Reads all of it and changes nothing, but for a lock file
/// where there was none; blocks for the reading. For a log that opens, the plan is empty, or mends
/// IDENT.
///
/// # Errors
/// What no repair can mend is the error that an open gives, with what to do in its place:
/// [`Error::Corrupt`] with [`CorruptKind::Ident`] (no copy of the identity is left) or
/// [`CorruptKind::Name`] (give the file its name back), [`Error::IdentMissing`],
/// [`Error::IdentityMismatch`], [`Error::Unsupported`], [`Error::Foreign`], [`Error::NoLog`];
/// and [`Error::NumbersEnd`], as the repaired log would go on in a new segment. [`Error::Locked`]
/// and [`Error::Io`] as in an open.
pub fn plan_repair<V: Vfs>(
    vfs: V,
    dir: impl AsRef<Path>,
    options: &Options,
) -> Result<RepairPlan<V>> {
    let options = options.validated()?.create(false).verify(Verify::Full);
    let paths = Paths::new(dir.as_ref());
    let lock = dir::lock(&vfs, &paths, &options)?;
    let mut report = RecoveryReport::new();
    let ident = dir::read_ident(&vfs, &paths, &mut report)?;
    let names = dir::list(&vfs, &paths, &mut report)?;
    let ident = ident.ok_or_else(|| dir::no_ident(&paths, &names))?;
    dir::check_identity(&paths, &ident.page, &options)?;
    let whole_ident = identity::mended(&vfs, &paths, &ident)?;
    let refused = refusal(&vfs, &paths, &options, &ident, &names, &mut report)?;
    let outline = Outline {
        notes: report.notes,
        mends_identity: whole_ident.is_some(),
        ..Outline::default()
    };
    let mut plan = RepairPlan {
        vfs,
        paths,
        options,
        ident,
        names,
        outline,
        policy: RepairPolicy::default(),
        whole_ident,
        kept: None,
        discarded: None,
        lock,
    };
    if let Some(c) = refused {
        plan.cut(c)?;
    }
    plan.set_aside()?;
    Ok(plan)
}

/// Why an open refuses the log, if damage is the reason.
fn refusal<V: Vfs>(
    vfs: &V,
    paths: &Paths,
    options: &Options,
    ident: &Ident,
    names: &Names,
    report: &mut RecoveryReport,
) -> Result<Option<Corrupt>> {
    match recover(Recovery { vfs, paths, options, ident, names, report, live: false }) {
        Ok(_) => Ok(None),
        Err(Error::Corrupt(c)) if c.kind == CorruptKind::Name => {
            let advice = "nothing is lost yet: give this file the name of the segment that it is, \
                          and the segment of this name its own";
            Err(Corrupt { advice, ..*c }.into())
        }
        Err(Error::Corrupt(c)) => Ok(Some(*c)),
        Err(e) => Err(e),
    }
}

impl<V: Vfs> RepairPlan<V> {
    /// What is damaged, what will be done, and what it costs.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// Whether there is anything to repair.
    pub fn is_needed(&self) -> bool {
        self.outline.is_needed()
    }

    /// Whether term and vote will be what they were. If not, only a plan with
    /// [`RepairPolicy::AcceptLostVote`] can be executed.
    pub fn hard_state_is_certain(&self) -> bool {
        self.outline.cut.as_ref().is_none_or(|c| c.kept.hard_state_is_certain)
    }

    /// Sets what may be lost; [`RepairPolicy::KeepVote`] by default.
    #[must_use]
    pub fn policy(mut self, policy: RepairPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Decides where the log is cut.
    fn cut(&mut self, refused: Corrupt) -> Result<()> {
        let (vfs, paths, options) = (&self.vfs, &self.paths, &self.options);
        let mut survey = survey(vfs, paths, &self.ident, &self.names, options.vote_rule)?;
        survey.take_over(&refused);
        let site = Site::look(vfs, paths, options, &self.ident, &self.names, &survey)?;
        let kept = site.keep()?;
        number_above(paths, kept.highest)?;
        let last = kept.newest.as_ref().map_or(0, |n| n.segment.seq);
        let promised = refused.acked == Acked::Proven || site.started_above(last).next().is_some();
        let acked = if promised { Acked::Proven } else { Acked::Possible };
        let given_up = given_up(&kept, &survey, acked)?;
        let certain = site.vote_is_certain(&refused)?;
        self.discarded = kept.newest.as_ref().map(discarded).transpose()?.flatten();
        let younger: Vec<PathBuf> = site.started_above(last).map(|n| paths.segment(n)).collect();
        let other = |p: &&Corrupt| (&p.path, p.offset) != (&refused.path, refused.offset);
        let others: Vec<_> = survey.problems().iter().filter(other).cloned().collect();
        let outline = &mut self.outline;
        outline.damage = std::iter::once(refused).chain(others).collect();
        outline.more_damage = survey.more_problems();
        outline.cut = Some(RepairCut { kept: outline_of(&kept, certain), given_up });
        outline.copies =
            younger.into_iter().map(|from| SetAside { from, ..SetAside::default() }).collect();
        self.kept = Some(kept);
        Ok(())
    }

    /// Names the copies: of each file that is damaged, or given up.
    fn set_aside(&mut self) -> Result<()> {
        let exists = |path: &PathBuf| {
            *path == self.paths.ident
                || self.names.segments.iter().any(|&n| self.paths.segment(n) == *path)
        };
        let damaged = self.outline.damage.iter().map(|c| c.path.clone());
        let cut_short = self.discarded.iter().map(|d| d.path.clone());
        let ident = self.whole_ident.as_ref().map(|_| self.paths.ident.clone());
        let mut files: std::collections::BTreeMap<PathBuf, bool> =
            self.outline.copies.iter().map(|c| (c.from.clone(), false)).collect();
        let harmed = damaged.chain(cut_short).chain(ident).filter(exists);
        files.extend(harmed.map(|path| (path, true)));
        self.outline.copies = quarantine::plan(&self.vfs, &self.paths, files)?;
        Ok(())
    }

    /// Does what was planned. Afterwards the log opens, and is what the plan says. A plan for which
    /// there is nothing to do changes nothing.
    ///
    /// Blocks for the copying, a few syncs, and one more reading of the log. A crash at any moment
    /// leaves the damage as it was or the repaired log; then plan again.
    ///
    /// # Errors
    /// [`Error::VoteInDoubt`] before anything is changed, unless the policy accepts that.
    /// [`Error::NoSpace`] and [`Error::Io`] before the log is changed. [`Error::Poisoned`] if a
    /// write or sync failed later, or if the log is not what was planned: plan again.
    pub fn execute(mut self) -> Result<RepairReport> {
        if !self.is_needed() {
            return Ok(RepairReport { outline: self.outline, segment: None });
        }
        self.refuse_lost_vote()?;
        sync_names(&self.vfs, &self.paths, &self.ident)?;
        self.make_wal_dir()?;
        quarantine::copy(&self.vfs, &self.paths, &self.outline.copies)?;
        if let Some(raw) = &self.whole_ident {
            identity::replace(&self.vfs, &self.paths, raw)?;
        }
        match self.kept.take() {
            Some(kept) => self.write(kept),
            None => Ok(RepairReport { outline: self.outline, segment: None }),
        }
    }

    /// The directory of the segments may be what is lost. Made again, it is as empty as it was
    /// missing: IDENT says which segment was in it.
    fn make_wal_dir(&self) -> Result<()> {
        let (wal, dir) = (&self.paths.wal, &self.paths.dir);
        match self.vfs.list(wal) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            _ => return Ok(()),
        }
        self.vfs.create_dir(wal).map_err(|e| io_error("create", wal, None, e))?;
        self.vfs.sync_dir(dir).map_err(|e| io_error("sync directory", dir, None, e))
    }

    fn refuse_lost_vote(&self) -> Result<()> {
        match &self.outline.cut {
            Some(c) if !self.hard_state_is_certain() && self.policy == RepairPolicy::KeepVote => {
                let hs = c.kept.hard_state;
                let dir = self.paths.dir.clone();
                Err(Error::VoteInDoubt { dir, term: hs.term, vote: hs.vote })
            }
            _ => Ok(()),
        }
    }

    /// Starts the segment that steps over what is given up, and reads the log back.
    fn write(self, kept: Recovered<V>) -> Result<RepairReport> {
        let nonce = self.vfs.random();
        let nonce = nonce.map_err(|e| io_error("random number for", &self.paths.dir, None, e))?;
        let mut report = RecoveryReport::new();
        report.discarded = self.discarded;
        let Self { vfs, paths, options, ident, lock, mut outline, .. } = self;
        let mut wal = Wal::assemble(vfs, paths, options, ident, kept, &mut report, nonce, lock);
        let segment = wal.write_repair()?;
        wal.check_repair(&outline)?;
        outline.notes.append(&mut report.notes);
        Ok(RepairReport { outline, segment: Some(segment) })
    }
}

impl<V: Vfs> fmt::Display for RepairPlan<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outline.fmt(f)
    }
}

impl<V: Vfs> Wal<V> {
    /// Starts the segment of a repair, with a durable promise about it. Returns its number.
    fn write_repair(&mut self) -> Result<u64> {
        if let Some(start) = &mut self.start {
            start.repairs = true;
        }
        self.start_era(None)?;
        let segment = self.walk.last().copied().unwrap_or(0);
        if let Some(writer) = &mut self.writer
            && let Err(e) = writer.mark_synced(true)
        {
            let path = writer.path.clone();
            return Err(self.poison("write the closing mark of", &path, &e));
        }
        Ok(segment)
    }

    /// Recovers the log from its files: it must be what was planned.
    fn check_repair(&mut self, outline: &Outline) -> Result<()> {
        let mut report = RecoveryReport::new();
        let names = dir::list(&self.vfs, &self.paths, &mut report)?;
        let found = recover(Recovery {
            vfs: &self.vfs,
            paths: &self.paths,
            options: &self.options,
            ident: &self.ident,
            names: &names,
            report: &mut report,
            live: false,
        })?;
        let planned = outline.cut.as_ref().map(|c| &c.kept);
        let same = planned.is_none_or(|k| {
            let view = &found.state.view;
            (k.first_index, k.next_index) == (view.first_index, view.next_index)
                && (k.hard_state, &k.snapshot) == (found.state.hard_state, &found.state.snapshot)
        });
        if same {
            return Ok(());
        }
        self.poison_because("the repaired log is not what was planned");
        self.healthy()
    }
}

/// The kept log, as the plan says it.
fn outline_of<V: Vfs>(kept: &Recovered<V>, hard_state_is_certain: bool) -> Kept {
    let view = &kept.state.view;
    let last = kept.newest.as_ref().map(|n| (n.segment.seq, n.last));
    Kept {
        segment: last.map_or(0, |(seq, _)| seq),
        offset: last.map_or(0, |(_, cut)| cut.end),
        batch_seq: last.map_or(0, |(_, cut)| cut.batch_seq),
        first_index: view.first_index,
        next_index: view.next_index,
        last_term: view.last_term,
        hard_state: kept.state.hard_state,
        hard_state_is_certain,
        snapshot: kept.state.snapshot.clone(),
    }
}

/// What a survey knows of and the kept log has not.
fn given_up<V: Vfs>(kept: &Recovered<V>, survey: &Survey<V>, acked: Acked) -> Result<GivenUp> {
    let view = &kept.state.view;
    let next = view.next_index;
    let known = survey.bounds().1;
    let open = survey.lost_ranges().last().is_some_and(|r| r.last.is_none());
    let entries = match known.checked_sub(1) {
        _ if open => Some(LostRange { first: next, last: None, term: None }),
        Some(last) if known > next => {
            Some(LostRange { first: next, last: Some(last), term: survey.term(last) })
        }
        _ => None,
    };
    let commit = kept.state.hard_state.commit;
    let from = if commit == 0 { 0 } else { commit.saturating_add(1) };
    let mut outdated: Vec<LostRange> = Vec::new();
    for index in from.max(view.first_index)..next {
        let term = view.term(index)?;
        if survey.term(index) == term {
            continue;
        }
        match outdated.last_mut() {
            Some(r) if r.last.is_some_and(|last| last + 1 == index) && r.term == term => {
                r.last = Some(index);
            }
            _ => outdated.push(LostRange { first: index, last: Some(index), term }),
        }
    }
    let (first, was) = (view.first_index, survey.bounds().0);
    let covered = first.checked_sub(1).filter(|last| was <= *last && kept.state.snapshot.is_some());
    let covered = covered.map(|last| LostRange { first: was, last: Some(last), term: None });
    let snapshot = survey.snapshot().filter(|m| kept.state.snapshot.as_ref() != Some(m));
    Ok(GivenUp { entries, acked, covered, outdated, snapshot: snapshot.cloned() })
}

/// The bytes behind the last kept batch.
fn discarded<F: raft_vfs::VfsFile>(n: &Newest<F>) -> Result<Option<Discarded>> {
    let (s, from) = (&n.segment, n.last.end);
    let beyond = look_ahead(&s.file, n.header.salt, s.file_len, from, from, None);
    let beyond = beyond.map_err(|e| io_error("read", &s.path, Some(from), e))?;
    Ok((beyond.nonzero_end > from).then(|| Discarded {
        segment: s.seq,
        path: s.path.clone(),
        offset: from,
        bytes: beyond.nonzero_end - from,
        crc: beyond.crc,
    }))
}
