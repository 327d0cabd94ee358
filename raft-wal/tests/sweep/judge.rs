//! One damaged log, opened in every way and compared with what must come of it.

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use raft_vfs::SimVfs;
use raft_wal::error::{Corrupt, CorruptKind};
use raft_wal::{
    Error, ReadMode, ReadOnly, RecoveryReport, Status, TailPolicy, Verify, Wal, verify,
};

use crate::alloc::{self, Need};
use crate::chart::{Seg, is_index};
use crate::expect::{Case, Expect, Place};
use crate::harm::Harm;
use crate::logs::Log;
use crate::support::model::Model;
use crate::support::sim::{DIR, open, read_all};

/// What an open and the reads after it gave.
pub(crate) type Seen = Result<Sight, Error>;

/// The log as it was seen.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub(crate) model: Model,
    /// Whether the report is certain that nothing is missing.
    pub(crate) certain: bool,
    /// Files that the report finds odd.
    pub(crate) noted: Vec<PathBuf>,
}

impl Sight {
    fn of(report: RecoveryReport, model: Model) -> Self {
        let noted = report.notes.into_iter().map(|note| note.path).collect();
        Self { model, certain: report.certain, noted }
    }
}

/// Everything that an open gives, and the reads after it.
fn read(opened: Result<(Wal<SimVfs>, RecoveryReport), Error>) -> Seen {
    let (wal, report) = opened?;
    Ok(Sight::of(report, read_all(&wal)?))
}

/// One way of looking.
type Look<'a> = fn(&Judge<'a>) -> Result<&'static str, String>;

/// A damaged log and what must come of it.
pub(crate) struct Judge<'a> {
    log: &'a Log,
    harm: &'a Harm,
    base: &'a SimVfs,
    case: Case<'a>,
    pub(crate) expect: Expect,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ruling {
    pub(crate) outcome: &'static str,
    pub(crate) need: Need,
    pub(crate) took: Duration,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(log: &'a Log, harm: &'a Harm, base: &'a SimVfs) -> Self {
        let case = Case::new(log, harm);
        let expect = case.expect();
        Self { log, harm, base, case, expect }
    }

    fn disk(&self) -> SimVfs {
        self.harm.disk(self.log, self.base)
    }

    /// The case in words.
    pub(crate) fn describe(&self) -> String {
        let opened = open(&self.disk(), &self.log.options)
            .and_then(|(wal, report)| Ok((read_all(&wal)?, report)));
        let changed = self.harm.changed.iter().map(|c| {
            let now = c.now.as_ref().map(Vec::len);
            (&self.log.files[c.file].name, &c.within, now)
        });
        let changed: Vec<_> = changed.collect();
        let added: Vec<_> = self.harm.added.iter().map(|(name, _)| name).collect();
        let (expect, places) = (&self.expect, self.case.places(true));
        let head = format!("{changed:?} {added:?}\nexpected {expect:?} at {places:?}");
        let chart = format!("{:#?}", self.log.chart);
        match opened {
            Ok((model, report)) => format!("{chart}\n{head}\ngot {model:?}\n{report:?}"),
            Err(e) => format!("{chart}\n{head}\ngot {e}"),
        }
    }

    /// Opens the log as a node would and reads all of it.
    pub(crate) fn open(&self) -> Result<Ruling, String> {
        let disk = self.disk();
        let before = alloc::start();
        let begun = Instant::now();
        let opened = open(&disk, &self.log.options);
        let refused = opened.is_err();
        let seen = read(opened);
        let (need, took) = (alloc::since(before), begun.elapsed());
        if refused && !self.harm.is_on(self.log, &disk) {
            return Err("a refused open changed the disk".to_owned());
        }
        let outcome = self.rule(seen)?;
        Ok(Ruling { outcome, need, took })
    }

    /// Whether what was seen is what must come of the damage.
    pub(crate) fn rule(&self, seen: Seen) -> Result<&'static str, String> {
        self.rule_by(seen, false)
    }

    /// The same for who reads entry by entry, and meets `any_frame` first.
    fn rule_by(&self, seen: Seen, any_frame: bool) -> Result<&'static str, String> {
        let named = |e: &Error| {
            self.named_among(e, &self.case.places(any_frame)).map_err(|why| format!("{why}: {e}"))
        };
        match (&self.expect, seen) {
            (Expect::Slack, Ok(got)) => {
                if self.log.certain && !got.certain && !self.case.may_be_begun() {
                    return Err("in doubt for nothing".to_owned());
                }
                self.same(&got.model).map(|()| "slack: the same")
            }
            (Expect::Copy, Ok(got)) => {
                self.same(&got.model)?;
                let mut bad = self.case.to_be_noted().peekable();
                let any = bad.peek().is_some();
                if !bad.all(|file| got.noted.contains(&self.log.paths[file])) {
                    return Err("a bad copy is not noted".to_owned());
                }
                let mut changed = self.harm.changed.iter();
                let caches = changed.all(|c| is_index(&self.log.files[c.file].name));
                Ok(match (any, caches) {
                    (true, _) => "a copy: the same, and noted",
                    (false, true) => "a cache: the same",
                    (false, false) => "a copy: the same",
                })
            }
            (Expect::Names, Ok(got)) => self.same(&got.model).map(|()| "names: the same"),
            (Expect::Names, Err(e)) => named(&e).map(|()| "names: refused by name"),
            (Expect::Sealed, Err(e)) => named(&e).map(|()| "sealed: refused by name"),
            (Expect::Evidenced, Err(e)) => named(&e).map(|()| "evidenced: refused by name"),
            (Expect::Ambiguous(..), Ok(got)) if got.certain => Err(format!("certain of {got:?}")),
            (&Expect::Ambiguous(state, raised), Ok(got)) => {
                let earlier = self.earlier(&got.model, state, raised);
                earlier.map(|()| "ambiguous: an earlier state, said so")
            }
            (&Expect::DoubleFault(state, raised), Ok(got)) => {
                let earlier = self.earlier(&got.model, state, raised);
                earlier.map(|()| "double fault: an earlier state")
            }
            (Expect::Ambiguous(..) | Expect::DoubleFault(..), Err(e)) if self.harm.moved => {
                named(&e).map(|()| "moved: refused by name")
            }
            (Expect::Copy, Err(e)) if self.case.may_mislead() => {
                named(&e).map(|()| "moved: refused by name")
            }
            (_, Ok(got)) => Err(format!("SILENT: {:?}", got.model)),
            (_, Err(e)) => Err(format!("REFUSED: {e}")),
        }
    }

    fn same(&self, got: &Model) -> Result<(), String> {
        match self.log.last().difference(got) {
            None => Ok(()),
            Some(difference) => Err(format!("SILENT: {difference}")),
        }
    }

    /// Whether this is the state with that number, term and vote raised to those that a mark saved.
    fn earlier(&self, got: &Model, state: usize, raised: Option<(u64, u64)>) -> Result<(), String> {
        let mut want = self.log.states[state].clone();
        if let Some((term, vote)) = raised {
            (want.hard_state.term, want.hard_state.vote) = (term, vote);
        }
        let given = (got.hard_state.term, got.hard_state.vote);
        let known = |m: &Model| (m.hard_state.term, m.hard_state.vote) == given;
        if self.harm.moved && got.is_but_for_vote(&want) && self.log.states.iter().any(known) {
            return Ok(());
        }
        match want.difference(got) {
            None => Ok(()),
            Some(difference) => Err(format!("SILENT: not state {state}: {difference}")),
        }
    }

    /// Whether an error is typed, names a place that was damaged, and says so in words.
    fn named(&self, e: &Error) -> Result<(), String> {
        self.named_among(e, &self.case.places(false))
    }

    fn named_among(&self, e: &Error, places: &[Place]) -> Result<(), String> {
        let (path, offset) = match e {
            Error::Corrupt(c) => (c.path.clone(), Some(c.offset)),
            Error::IdentityMismatch { path, .. } | Error::Unsupported { path, .. } => {
                (path.clone(), None)
            }
            Error::IdentMissing { dir, .. } => (dir.join("IDENT"), None),
            _ => return Err("UNNAMED: not an error of a file".to_owned()),
        };
        let name = path.strip_prefix(DIR).map(|p| p.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let here = |p: &Place| {
            let inside = |r: &Range<usize>| offset.is_some_and(|at| r.contains(&(at as usize)));
            p.file == name && p.bytes.as_ref().is_none_or(inside)
        };
        // Who has the IDENT of another log finds everything else to be foreign.
        let foreign = self.harm.names && places.iter().any(|p| p.file == "IDENT");
        let other = matches!(e, Error::Corrupt(c) if self.may_be_named(c, &name));
        if !(foreign || other || places.iter().any(here)) {
            return Err(format!("UNNAMED: the damage is at {places:?}"));
        }
        let (text, offset) = (e.to_string(), offset.map_or(String::new(), |at| format!("+{at}")));
        if text.contains(&format!("{}{offset}", path.display())) && !text.contains('\n') {
            Ok(())
        } else {
            Err("UNNAMED: not in the words".to_owned())
        }
    }

    /// Whether a finding names a file that was not touched, for want of what vouched for another.
    fn may_be_named(&self, c: &Corrupt, name: &str) -> bool {
        let cut = |s: &Seg| self.log.files[s.file].bytes.len() < s.capacity;
        let named = self.log.chart.segments.iter().find(|s| self.log.files[s.file].name == name);
        match c.kind {
            CorruptKind::MissingSegment => self.case.may_be_missed() && named.is_none(),
            CorruptKind::Length => self.case.may_be_blamed() && named.is_some_and(cut),
            _ => false,
        }
    }

    /// Other ways of looking at the same damage; what each gave.
    pub(crate) fn look_otherwise(&self) -> Result<Vec<&'static str>, String> {
        let looks: [(&str, Look<'a>); 7] = [
            ("opened twice", Self::open_twice),
            ("by tail, mapped", |judge| judge.open_by_tail(ReadMode::Map)),
            ("by tail, read", |judge| judge.open_by_tail(ReadMode::Pread)),
            ("refusing doubt", Self::open_strictly),
            ("read only", Self::read_only),
            ("verified", Self::verified),
            ("degraded", Self::degraded),
        ];
        let outcome =
            |(name, look): (&str, Look<'a>)| look(self).map_err(|why| format!("{name}: {why}"));
        looks.into_iter().map(outcome).collect()
    }

    /// Once open, the log opens again and is the same.
    fn open_twice(&self) -> Result<&'static str, String> {
        let disk = self.disk();
        let look = |disk: &SimVfs| {
            open(disk, &self.log.options)
                .and_then(|(wal, _)| read_all(&wal))
                .map_err(|e| e.to_string())
        };
        let Ok(first) = look(&disk) else { return Ok("opened twice: refused") };
        if look(&disk)? == first { Ok("opened twice: the same") } else { Err("CHANGED".to_owned()) }
    }

    /// Index files are trusted, so damage in a closed segment is found by the read that meets it.
    fn open_by_tail(&self, mode: ReadMode) -> Result<&'static str, String> {
        let options = self.log.options.clone().verify(Verify::Tail).read_mode(mode);
        let disk = self.disk();
        let opened = open(&disk, &options);
        let late = opened.is_ok();
        let seen = read(opened);
        match (&self.expect, &seen) {
            (Expect::Sealed, Ok(got)) => {
                match self.case.expect_by_tail() {
                    Expect::Slack | Expect::Copy => self.same(&got.model)?,
                    Expect::Ambiguous(state, raised) if !got.certain => {
                        self.earlier(&got.model, state, raised)?;
                    }
                    Expect::DoubleFault(state, raised) => {
                        self.earlier(&got.model, state, raised)?;
                    }
                    expect => return Err(format!("SILENT: {:?}, not {expect:?}", got.model)),
                }
                Ok("by tail: the damage is not read")
            }
            (_, Err(_)) if late => self.rule_by(seen, true).map(|_| "by tail: found on reading"),
            (_, Err(_)) => self.rule_by(seen, true).map(|_| "by tail: refused by name"),
            (_, Ok(_)) => self.rule_by(seen, true).map(|_| "by tail: as expected"),
        }
    }

    /// Where something was given up and it is not certain what, this policy refuses.
    fn open_strictly(&self) -> Result<&'static str, String> {
        let options = self.log.options.clone().tail_policy(TailPolicy::RefuseAmbiguous);
        let disk = self.disk();
        let seen = open(&disk, &options);
        let refused = seen.is_err();
        let outcome = match seen {
            Err(Error::AmbiguousTail { path, .. }) => {
                if self.log.paths.contains(&path) {
                    Ok("refusing doubt: a doubtful tail")
                } else {
                    Err(format!("UNNAMED: {}", path.display()))
                }
            }
            Err(e) => self.rule(Err(e)).map(|_| "refusing doubt: refused by name"),
            opened => self.rule(read(opened)).map(|_| "refusing doubt: as expected"),
        };
        if refused && !self.harm.is_on(self.log, &disk) {
            return Err("a refused open changed the disk".to_owned());
        }
        outcome
    }

    fn read_only(&self) -> Result<&'static str, String> {
        let disk = self.disk();
        let seen = ReadOnly::open(disk.clone(), DIR, &self.log.options);
        let seen = seen.and_then(|(log, report)| Ok(Sight::of(report, model_of(&log)?)));
        if !self.harm.is_on(self.log, &disk) {
            return Err("a reader changed the disk".to_owned());
        }
        match seen {
            // A reader makes no log where there is none.
            Err(Error::NoLog { .. }) if self.case.is_all_gone() => Ok("read only: no log"),
            seen => self.rule(seen).map(|_| "read only: as expected"),
        }
    }

    fn verified(&self) -> Result<&'static str, String> {
        let disk = self.disk();
        let seen = verify(disk.clone(), DIR, &self.log.options);
        if !self.harm.is_on(self.log, &disk) {
            return Err("a verification changed the disk".to_owned());
        }
        let found = match seen {
            Err(Error::NoLog { .. }) if self.case.is_all_gone() => {
                return Ok("verified: no log");
            }
            Err(e) => return self.named(&e).map(|()| "verified: not to be judged"),
            Ok(found) => found,
        };
        let sound = match self.expect {
            Expect::Sealed | Expect::Evidenced => Some(false),
            Expect::Names => None,
            _ => (!self.harm.moved).then_some(true),
        };
        match found.status {
            Status::LiveTail => Err("nobody writes".to_owned()),
            Status::Corrupt if sound == Some(true) => Err(format!("{:?}", found.problems)),
            Status::Corrupt => {
                let first = found.problems.first().ok_or("no problem named")?;
                self.named(&Error::from(first.clone())).map(|()| "verified: corrupt, by name")
            }
            _ if sound == Some(false) => Err("SILENT".to_owned()),
            Status::Intact => Ok("verified: intact"),
            Status::TornTail => Ok("verified: a torn tail"),
        }
    }

    /// What is said to be sound is what was written, and damage is spoken of.
    fn degraded(&self) -> Result<&'static str, String> {
        let disk = self.disk();
        let seen = Wal::open_degraded(disk.clone(), DIR, &self.log.options);
        if !self.harm.is_on(self.log, &disk) {
            return Err("a degraded open changed the disk".to_owned());
        }
        let log = match seen {
            Err(Error::NoLog { .. }) if self.case.is_all_gone() => {
                return Ok("degraded: no log");
            }
            Err(e) => return self.named(&e).map(|()| "degraded: refused by name"),
            Ok(log) => log,
        };
        let state = self.case.readable_state();
        let mut lost = 0;
        for index in log.first_index()..log.next_index() {
            let Ok(entries) = log.entries(index, index + 1, u64::MAX) else {
                lost += 1;
                continue;
            };
            // What was committed once is so for ever, also where a snapshot has covered it since.
            let known = |(n, m): (usize, &Model)| {
                let counts = n >= state || index <= m.hard_state.commit;
                counts && m.entry(index) == entries.first()
            };
            if !self.log.states.iter().enumerate().any(known) {
                return Err(format!("STALE: entry {index} of term {:?}", log.term(index)));
            }
        }
        let loud = !log.problems().is_empty() || !log.lost().is_empty();
        if matches!(self.expect, Expect::Sealed | Expect::Evidenced) && !loud {
            return Err("SILENT".to_owned());
        }
        Ok(if lost > 0 { "degraded: entries lost" } else { "degraded: every entry" })
    }
}

/// Everything that a reader can be asked for.
fn model_of(log: &ReadOnly<SimVfs>) -> Result<Model, Error> {
    let (first, next) = (log.first_index(), log.next_index());
    let entries = log.entries(first, next, u64::MAX)?;
    let base_term = match first.checked_sub(1) {
        Some(before) => log.term(before)?,
        None => None,
    };
    Ok(Model {
        first,
        base_term,
        entries,
        hard_state: log.hard_state(),
        snapshot: log.snapshot().cloned(),
        metadata: log.metadata().cloned(),
        blobs: log.blobs().map(|(k, v)| (k.clone(), v.clone())).collect(),
    })
}

/// The most memory that an open may need.
pub(crate) const MEMORY_MAX: u64 = (16 << 20) + 2 * crate::logs::RECORD_MAX;
