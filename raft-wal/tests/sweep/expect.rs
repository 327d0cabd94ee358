//! What an open must make of a damaged log, worked out from the chart and the rules of
//! `docs/FORMAT.md`, sections 6 and 7: what is slack, what has a copy, what something sound vouches
//! for, and what nothing vouches for.

use std::ops::Range;

use crate::chart::{
    COPIES, FIRST_FRAME, FrameInfo, IDENTITIES, MarkInfo, SLOTS, Seg, Slot, is_index,
};
use crate::harm::{Changed, Harm};
use crate::logs::Log;
use crate::page::is_sealed;

/// A place that an error may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Name of the file.
    pub(crate) file: String,
    /// Where; `None` if the file as a whole is wrong or missing.
    pub(crate) bytes: Option<Range<usize>>,
}

/// What must come of a damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// The same log: nobody looks at the bytes.
    Slack,
    /// The same log: there is another copy.
    Copy,
    /// An error, here because of a closed segment or IDENT.
    Sealed,
    /// An error: a promise, a mark or a name in the newest segment or IDENT vouches for it.
    Evidenced,
    /// An earlier state of the log, and a report that is not certain: nothing vouches for the rest.
    /// Number of the state, and the term and vote that a mark saved.
    Ambiguous(usize, Option<(u64, u64)>),
    /// The same, after two damages of which one took the evidence of the other: the report may be
    /// certain.
    DoubleFault(usize, Option<(u64, u64)>),
    /// The same log, or an error that names a file whose name is wrong.
    Names,
}

/// The reasoning about one damage.
pub(crate) struct Case<'a> {
    log: &'a Log,
    harm: &'a Harm,
}

/// A verdict reached before the end.
type Verdict<T> = Result<T, Expect>;

impl<'a> Case<'a> {
    pub(crate) fn new(log: &'a Log, harm: &'a Harm) -> Self {
        Self { log, harm }
    }

    fn hit(&self, file: usize, bytes: &Range<usize>) -> bool {
        self.harm.hits(self.log, file, bytes)
    }

    fn frame_hit(&self, s: &Seg, f: &FrameInfo) -> bool {
        self.hit(s.file, &(f.at..f.end))
    }

    fn is_there(&self, seq: u64) -> bool {
        self.log.chart.segment(seq).is_some_and(|s| self.harm.now(self.log, s.file).is_some())
    }

    /// What must come of it.
    pub(crate) fn expect(&self) -> Expect {
        if self.harm.names {
            return Expect::Names;
        }
        self.recovered(true).unwrap_or_else(|verdict| verdict)
    }

    /// The same for who does not read closed segments before their entries are asked for.
    pub(crate) fn expect_by_tail(&self) -> Expect {
        self.recovered(false).unwrap_or_else(|verdict| verdict)
    }

    /// Section 6, in its order; an `Err` is damage that must be found.
    fn recovered(&self, full: bool) -> Verdict<Expect> {
        let head = self.identity()?;
        let Some((newest, young)) = self.newest()? else { return self.nothing_started(head) };
        let bad = newest.frames.iter().position(|f| self.frame_hit(newest, f));
        self.judge_end(newest, bad)?;
        self.judge_names(newest, bad, head)?;
        if full {
            self.walk(newest, bad)?;
        }
        let fell = self.log.chart.newest().is_none_or(|s| s.seq != newest.seq);
        if !fell && bad.is_none() {
            return Ok(self.unchanged());
        }
        let last = bad.map_or(newest.frames.len(), |k| k);
        let end = newest.frames[last - 1].end;
        let state = self.log.state_behind(newest.seq, end);
        let raised = self.raised(newest, &young, end, state);
        // A newest file that is gone leaves no trace of its own that something is missing.
        let traces = self.log.chart.newest().is_some_and(|s| self.is_there(s.seq));
        Ok(if traces {
            Expect::Ambiguous(state, raised)
        } else {
            Expect::DoubleFault(state, raised)
        })
    }

    /// The oldest state that the newest segment may seem to end in.
    pub(crate) fn readable_state(&self) -> usize {
        let last = self.log.states.len() - 1;
        let Ok(Some((s, _))) = self.newest() else { return last };
        let bad = s.frames.iter().position(|f| self.frame_hit(s, f));
        if self.judge_end(s, bad).is_err() {
            return last;
        }
        let sound = &s.frames[..bad.unwrap_or(s.frames.len())];
        sound.last().map_or(0, |f| self.log.state_behind(s.seq, f.end))
    }

    /// Whether sound bytes of another place or time may be evidence against the log: they can
    /// outvote a header, or promise what is not there.
    pub(crate) fn may_mislead(&self) -> bool {
        let outvoted = |s: &Seg| COPIES.iter().filter(|at| self.hit(s.file, at)).count() > 1;
        let mut segments = self.log.chart.segments.iter();
        self.harm.moved && segments.any(outvoted)
    }

    /// Whether bytes that somebody looks at were hit at all.
    fn unchanged(&self) -> Expect {
        let used =
            |(file, ranges): (usize, &Vec<Range<usize>>)| ranges.iter().any(|r| self.hit(file, r));
        let copies = self.log.chart.used.iter().enumerate().any(used);
        let indexes = self.harm.changed.iter().any(|c| is_index(&self.log.files[c.file].name));
        if copies || indexes { Expect::Copy } else { Expect::Slack }
    }

    /// Whether no file of the log is left but the lock.
    pub(crate) fn is_all_gone(&self) -> bool {
        let files = self.log.files.iter().enumerate().filter(|(_, f)| f.name != "LOCK");
        let mut there = files.filter(|(i, _)| self.harm.now(self.log, *i).is_some());
        let added = self.harm.added.iter().any(|(name, _)| name.starts_with("wal/"));
        there.next().is_none() && !added
    }

    /// Step 1: the identity from either copy, and HEAD from the slots that are left.
    fn identity(&self) -> Verdict<Option<Slot>> {
        let chart = &self.log.chart;
        if self.is_all_gone() {
            // Not even that there was a log can be told: a new one is made.
            let held_nothing = chart.segments.is_empty();
            let nothing = Expect::DoubleFault(0, None);
            return Err(if held_nothing { Expect::Copy } else { nothing });
        }
        if IDENTITIES.iter().all(|copy| self.hit(chart.ident, copy)) {
            return Err(Expect::Sealed);
        }
        let sound = SLOTS.iter().zip(chart.slots).filter(|(at, _)| !self.hit(chart.ident, at));
        Ok(sound.filter_map(|(_, slot)| slot).max_by_key(|slot| slot.number))
    }

    /// Steps 2 and 3: the newest segment whose first frame is sound, and those passed on the way.
    fn newest(&self) -> Verdict<Option<(&'a Seg, Vec<&'a Seg>)>> {
        let mut young = Vec::new();
        for s in self.log.chart.segments.iter().rev() {
            let Some(now) = self.harm.now(self.log, s.file) else { continue };
            if self.headless(s) || now.len() < s.capacity {
                return Err(Expect::Evidenced);
            }
            match s.frames.first() {
                Some(first) if !self.frame_hit(s, first) => return Ok(Some((s, young))),
                Some(first) if self.promises(s, 0).any(|to| to > first.at) => {
                    return Err(Expect::Evidenced);
                }
                _ => young.push(s),
            }
        }
        Ok(None)
    }

    /// Whether no copy of a segment's header is left. An older mark has as good a copy as a newer.
    fn headless(&self, s: &Seg) -> bool {
        let (log, harm) = (self.log, self.harm);
        let older = |at: &Range<usize>| {
            let Some(now) = harm.now(log, s.file).and_then(|b| b.get(at.clone())) else {
                return false;
            };
            let seed = s.salt ^ (at.start / 4096) as u32;
            let header = &log.files[s.file].bytes[COPIES[0].clone()];
            at.start > 0 && now[..header.len()] == *header && is_sealed(seed, now)
        };
        COPIES.iter().all(|at| self.hit(s.file, at) && !(harm.moved && older(at)))
    }

    /// The sound marks of a segment.
    fn marks(&self, s: &'a Seg) -> impl Iterator<Item = MarkInfo> + use<'_, 'a> {
        let pages = COPIES.iter().skip(1).zip(s.marks);
        pages.filter(|(at, _)| !self.hit(s.file, at)).filter_map(|(_, mark)| mark)
    }

    /// What the sound marks of a segment promise, and the sound headers behind frame `bad`.
    fn promises(&self, s: &'a Seg, bad: usize) -> impl Iterator<Item = usize> + use<'_, 'a> {
        let later = s.frames.iter().skip(bad + 1);
        let sound = later.filter(|f| !self.hit(s.file, &(f.at..f.at + 48)));
        sound.map(|f| f.durable_to).chain(self.marks(s).map(|m| m.durable_to))
    }

    /// Step 5 and section 7: whether something promises the first bad frame.
    fn judge_end(&self, s: &'a Seg, bad: Option<usize>) -> Verdict<()> {
        let Some(k) = bad else { return Ok(()) };
        if self.promises(s, k).any(|to| to > s.frames[k].at) {
            return Err(Expect::Evidenced);
        }
        Ok(())
    }

    /// Step 6: segments that HEAD and SEAL name.
    fn judge_names(&self, s: &Seg, bad: Option<usize>, head: Option<Slot>) -> Verdict<()> {
        let named = head.filter(|slot| slot.start > s.seq).map(|slot| slot.named);
        let last = if bad.is_none() { s.frames.last() } else { None };
        let sealed = last.and_then(|f| f.seal);
        let mut all = named.into_iter().flatten().filter(|&n| n != 0).chain(sealed);
        if all.any(|seq| !self.is_there(seq)) { Err(Expect::Evidenced) } else { Ok(()) }
    }

    /// Step 7: every frame in front of a cut.
    fn walk(&self, newest: &Seg, bad: Option<usize>) -> Verdict<()> {
        let sound = &newest.frames[..bad.unwrap_or(newest.frames.len())];
        let floor = sound.iter().map(|f| f.floor).max().unwrap_or(0);
        let mut base = newest.base;
        while let Some(b) = base
            && b.previous != 0
            && b.previous >= floor
        {
            let s = self.log.chart.segment(b.previous).ok_or(Expect::Sealed)?;
            let gone = !self.is_there(s.seq) || self.headless(s);
            let mut live = s.frames.iter().take_while(|f| f.end <= b.end);
            if gone || live.any(|f| self.frame_hit(s, f)) {
                return Err(Expect::Sealed);
            }
            base = s.base;
        }
        Ok(())
    }

    /// No segment is left that was started.
    fn nothing_started(&self, head: Option<Slot>) -> Verdict<Expect> {
        let named = head.into_iter().flat_map(|slot| slot.named).filter(|&n| n != 0);
        for seq in named {
            if !self.is_there(seq) {
                return Err(Expect::Evidenced);
            }
        }
        let Some(newest) = self.log.chart.newest() else { return Ok(self.unchanged()) };
        let young: Vec<&Seg> = self.log.chart.segments.iter().rev().collect();
        let raised = self.raise(young.iter().filter_map(|s| self.newest_mark(s)), 0);
        let traces = self.is_there(newest.seq);
        Ok(if traces { Expect::Ambiguous(0, raised) } else { Expect::DoubleFault(0, raised) })
    }

    fn newest_mark(&self, s: &'a Seg) -> Option<(MarkInfo, usize)> {
        Some((self.marks(s).max_by_key(|m| m.number)?, 0))
    }

    /// Step 11: term and vote that a mark saved although their frame is lost.
    fn raised(
        &self,
        s: &'a Seg,
        young: &[&'a Seg],
        end: usize,
        state: usize,
    ) -> Option<(u64, u64)> {
        let own = self.newest_mark(s).map(|(m, _)| (m, end));
        let young = young.iter().filter(|s| self.is_there(s.seq));
        self.raise(own.into_iter().chain(young.filter_map(|s| self.newest_mark(s))), state)
    }

    fn raise(
        &self,
        marks: impl Iterator<Item = (MarkInfo, usize)>,
        state: usize,
    ) -> Option<(u64, u64)> {
        let held = self.log.states[state].hard_state;
        let (mut term, mut vote) = (held.term, held.vote);
        for (m, p) in marks.filter(|(m, _)| m.state_off != 0) {
            let newer = m.term > term || (m.term == term && m.vote != 0 && vote == 0);
            if newer && m.state_off >= p {
                (term, vote) = (m.term, m.vote);
            }
        }
        ((term, vote) != (held.term, held.vote)).then_some((term, vote))
    }

    /// Every place that an error may name: the copies of a header at the beginning of the file, the
    /// first frame that was hit or, for who reads entry by entry, any of them; where a file ends;
    /// and files that are gone or have another name.
    pub(crate) fn places(&self, any_frame: bool) -> Vec<Place> {
        let mut places = Vec::new();
        let mut add = |file: &str, bytes| places.push(Place { file: file.to_owned(), bytes });
        for c in &self.harm.changed {
            let name = &self.log.files[c.file].name;
            let was = self.log.files[c.file].bytes.len();
            let now = match &c.now {
                Some(now) if !self.harm.names => now,
                _ => {
                    add(name, None);
                    continue;
                }
            };
            // Dead segments too, and frames behind a cut: where the segment that made them so is
            // lost, they count again.
            let segment = self.log.chart.segments.iter().find(|s| s.file == c.file);
            let copies = if segment.is_some() { &COPIES[..] } else { &self.log.chart.used[c.file] };
            if copies.iter().any(|r| self.hit(c.file, r)) {
                add(name, Some(0..1));
            }
            let frames = segment.into_iter().flat_map(|s| s.frames.iter().map(|f| f.at..f.end));
            let hit = frames.filter(|r| self.hit(c.file, r));
            for frame in hit.take(if any_frame { usize::MAX } else { 1 }) {
                add(name, Some(frame));
            }
            if now.len() < was {
                add(name, Some(now.len()..now.len() + 1));
            }
        }
        for (name, _) in &self.harm.added {
            add(name, None);
        }
        places
    }

    /// Files of which the report must say that a copy is bad. A HEAD slot of zeros is one that was
    /// never written, and what moved may be as good as what was there.
    pub(crate) fn to_be_noted(&self) -> impl Iterator<Item = usize> {
        let blank = |c: &Changed, r: &Range<usize>| {
            let now = c.now.as_ref().and_then(|now| now.get(r.clone()));
            c.file == self.log.chart.ident
                && SLOTS.contains(r)
                && now.is_some_and(|b| b.iter().all(|&b| b == 0))
        };
        let changed = self.harm.changed.iter().filter(|c| c.now.is_some() && !self.harm.moved);
        let bad = move |c: &&Changed| {
            let mut used = self.log.chart.used[c.file].iter();
            used.any(|r| self.hit(c.file, r) && !blank(c, r))
        };
        changed.filter(bad).map(|c| c.file)
    }

    /// Whether a segment that was never started looks as if it had been begun, or has a new name.
    pub(crate) fn may_be_begun(&self) -> bool {
        let is_new = |s: &&Seg| s.base.is_none();
        let mut new = self.log.chart.segments.iter().filter(is_new);
        let begun = new.any(|s| self.hit(s.file, &(FIRST_FRAME..s.capacity)));
        begun || !self.harm.added.is_empty()
    }

    /// Whether sound evidence may miss files that were not touched: where the first frame of a
    /// segment is lost, what stood before it may have been removed long ago.
    pub(crate) fn may_be_missed(&self) -> bool {
        self.log.chart.segments.iter().any(|s| self.has_lost_its_start(s))
    }

    /// Whether a segment lost its first frame, with all that vouched for it, and is still there:
    /// the one before it then seems to be the newest, and may have been cut short as a closed one.
    pub(crate) fn may_be_blamed(&self) -> bool {
        let mut there = self.log.chart.segments.iter().filter(|s| self.is_there(s.seq));
        there.any(|s| self.has_lost_its_start(s))
    }

    fn has_lost_its_start(&self, s: &Seg) -> bool {
        s.frames.first().is_some_and(|f| self.frame_hit(s, f))
    }
}
