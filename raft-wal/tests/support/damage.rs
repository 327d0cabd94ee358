//! Damage at rest: after a random history one file of the log is damaged once, and the log must
//! come back the same, or refuse with the name of the file, or, where no promise but the damaged
//! one existed, as after a crash, and say that it is not certain.

use std::ops::Range;
use std::path::PathBuf;

use fastrand::Rng;
use raft_vfs::SimVfs;
use raft_vfs::sim::KeepAll;
use raft_wal::error::CorruptKind;
use raft_wal::format::{FIRST_FRAME, Mark, PAGE};
use raft_wal::inspect::Segment;
use raft_wal::scan::Step;
use raft_wal::{Error, Options, RecoveryReport};

use super::history::{History, Plan};
use super::model::Model;
use super::oracle::Issued;
use super::sim::{index_path, indexes, open, path, read_all, segment_path, segments};
use super::tally::Tally;

/// One damage.
#[derive(Clone, Debug)]
struct Hit {
    kind: &'static str,
    file: PathBuf,
    /// The bytes hit; all of it if the file is gone.
    bytes: Range<u64>,
}

/// What an undamaged log says of itself: who vouches for which bytes.
#[derive(Debug, Default)]
struct Chart {
    newest: u64,
    /// Segments of the log, newest first.
    walk: Vec<u64>,
    /// Frames of the newest segment.
    frames: Vec<Range<u64>>,
    /// Promises in the newest segment: where they stand, and how far they go.
    promises: Vec<(Range<u64>, u64)>,
}

impl Chart {
    fn draw(disk: &SimVfs) -> Self {
        let mut chart = Self::default();
        let mut previous = 0;
        for seq in segments(disk).into_iter().rev() {
            let Ok(s) = Segment::open(disk, &segment_path(seq)) else { continue };
            let mut promises = Vec::new();
            let bytes = disk.read_file(segment_path(seq)).unwrap_or_default();
            for page in [1_u32, 2] {
                let at = u64::from(page) * PAGE;
                let raw = bytes.get(at as usize..at as usize + Mark::LEN);
                let raw = raw.and_then(|raw| raw.try_into().ok());
                if let Some(mark) = raw.and_then(|raw| Mark::decode(raw, page)) {
                    promises.push((at..at + 256, mark.durable_to));
                }
            }
            let Some(mut scanner) = s.scanner() else { continue };
            let mut started = false;
            while let Ok(Step::Frame) = scanner.step() {
                let frame = scanner.frame();
                started |= frame.base().is_some();
                if let Some(base) = frame.base() {
                    previous = base.prev_segment;
                }
                let header = frame.offset..frame.offset + 48;
                promises.push((header, frame.header.durable_to));
                chart.frames.push(frame.offset..frame.end);
            }
            if started {
                (chart.newest, chart.promises) = (seq, promises);
                break;
            }
        }
        chart.walk.push(chart.newest);
        while previous != 0 && Self::live(disk, previous) {
            chart.walk.push(previous);
            previous = Self::base_of(disk, previous);
        }
        chart
    }

    fn live(disk: &SimVfs, seq: u64) -> bool {
        disk.read_file(segment_path(seq)).is_some()
    }

    fn base_of(disk: &SimVfs, seq: u64) -> u64 {
        let Ok(s) = Segment::open(disk, &segment_path(seq)) else { return 0 };
        let Some(mut scanner) = s.scanner() else { return 0 };
        match scanner.step() {
            Ok(Step::Frame) => scanner.frame().base().map_or(0, |b| b.prev_segment),
            _ => 0,
        }
    }

    /// The first frame of the newest segment that was hit.
    fn first_hit(&self, hits: &[Hit]) -> Option<&Range<u64>> {
        self.frames.iter().find(|frame| self.is_hit(hits, frame))
    }

    /// Whether bytes of the newest segment were hit.
    fn is_hit(&self, hits: &[Hit], range: &Range<u64>) -> bool {
        let newest = segment_path(self.newest);
        let overlaps = |h: &Hit| range.start < h.bytes.end && h.bytes.start < range.end;
        hits.iter().any(|h| h.file == newest && overlaps(h))
    }

    /// Promises that cover the first frame that was hit: whether each was hit itself.
    fn covering(&self, hits: &[Hit]) -> Vec<bool> {
        let Some(first) = self.first_hit(hits) else { return Vec::new() };
        let covers = |(at, to): &&(Range<u64>, u64)| *to > first.start && at.start != first.start;
        self.promises.iter().filter(covers).map(|(at, _)| self.is_hit(hits, at)).collect()
    }
}

/// A random history, then `rounds` times so many damages to its disk.
pub(crate) fn run(seed: u64, rounds: usize, many: usize, tally: &mut Tally, trace: bool) {
    let plan = Plan { samples: 1, ..Plan::of(seed) };
    let mut history = History::new(seed, plan, tally, trace);
    let ran = history.eras();
    let options = history.options();
    // Write-back is over; nothing is pending.
    let disk = history.disk.power_cut(&mut KeepAll);
    let (earlier, issued) = (history.earlier.clone(), history.issued.clone());
    let past = std::mem::take(&mut history.past);
    let mut rng = history.rng.clone();
    let known = |m: &Model| past.iter().chain(&issued.states).any(|s| s.is_but_for_vote(m));
    let chart = Chart::draw(&disk);
    let before =
        ran.and_then(|()| look(&disk.fork(), &options).map_err(|e| format!("REFUSED {e}")));
    let case =
        before.map(|(before, _)| Case { options, chart, before, issued: &issued, known: &known });
    let case = match case {
        Ok(case) => case,
        Err(problem) => {
            tally.failures.push(format!("{problem}\n  replay: RAFT_WAL_SEED={seed}"));
            return;
        }
    };
    for round in 0..rounds {
        let damaged = disk.fork();
        let strike = |_| strike(&damaged, &earlier, &case.chart, many == 1, &mut rng);
        let hits: Vec<Hit> = (0..many).filter_map(strike).collect();
        let Some(kind) = hits.iter().map(|h| h.kind).max() else { continue };
        tally.states += 1;
        match case.judge(&damaged, &hits) {
            Ok(what) => *tally.damage.entry(format!("{kind}: {what}")).or_default() += 1,
            Err(why) => {
                let all = format!("DAMAGE {why}\n  {hits:?} in round {round}\n  {:?}", case.chart);
                tally.failures.push(format!("{all}\n  replay: RAFT_WAL_SEED={seed}"));
            }
        }
    }
}

fn look(disk: &SimVfs, options: &Options) -> Result<(Model, RecoveryReport), Error> {
    let (wal, report) = open(disk, options)?;
    Ok((read_all(&wal)?, report))
}

/// A sound log, before it is damaged.
struct Case<'a> {
    options: Options,
    chart: Chart,
    before: Model,
    issued: &'a Issued,
    /// Whether the log was ever so, the vote aside.
    known: &'a dyn Fn(&Model) -> bool,
}

impl Case<'_> {
    fn judge(&self, disk: &SimVfs, hits: &[Hit]) -> Result<&'static str, String> {
        let fingerprint = disk.fingerprint();
        let (wal, report) = match open(disk, &self.options) {
            Ok(opened) => opened,
            Err(error) => {
                if disk.fingerprint() != fingerprint {
                    return Err(format!("a refused open changed the disk: {error}"));
                }
                return self.named(&error, hits).map(|()| "refused by name");
            }
        };
        let got = match read_all(&wal) {
            Ok(got) => got,
            Err(error) => return self.named(&error, hits).map(|()| "found on reading"),
        };
        if got == self.before {
            return Ok("no change");
        }
        if self.issued.legal(&got).is_ok() {
            return Ok("legal as after a crash");
        }
        let difference = self.before.difference(&got).unwrap_or_default();
        let covering = self.chart.covering(hits);
        if self.chart.first_hit(hits).is_none() {
            return Err(format!("silent: {difference}"));
        }
        if covering.contains(&false) {
            return Err(format!("silent although promised: {difference}"));
        }
        if report.certain {
            return Err(format!("certain, and wrong: {difference}"));
        }
        if !(self.known)(&got) {
            return Err(format!("a state that never was: {difference}"));
        }
        Ok(if covering.is_empty() { "ambiguous" } else { "ambiguous: its promises were hit too" })
    }

    /// Whether an error names a damaged file. What vouches for a newest segment that is missing, or
    /// of whose first frame nothing is left, may be older; the error then names one it replaced.
    fn named(&self, error: &Error, hits: &[Hit]) -> Result<(), String> {
        let start_hit = self.chart.frames.first().is_some_and(|f| self.chart.is_hit(hits, f));
        let named = match error {
            Error::Corrupt(c) => hits.iter().any(|h| {
                let replaced = c.kind == CorruptKind::MissingSegment && c.path < h.file;
                c.path == h.file || (replaced && (h.kind == "missing file" || start_hit))
            }),
            Error::IdentMissing { dir, .. } => hits.iter().any(|h| h.file == dir.join("IDENT")),
            _ => false,
        };
        if named { Ok(()) } else { Err(format!("does not name the file: {error}")) }
    }
}

/// Damages one file; `None` if the damage would change nothing. With `files` it may also be IDENT,
/// or the loss of a whole file: two of these at once may be beyond what any log can tell.
fn strike(
    disk: &SimVfs,
    earlier: &SimVfs,
    chart: &Chart,
    files: bool,
    rng: &mut Rng,
) -> Option<Hit> {
    let all = segments(disk);
    let live = if rng.u8(..8) == 0 { &all } else { &chart.walk };
    let seq = *live.get(rng.usize(..live.len().max(1)))?;
    let segment = segment_path(seq);
    match rng.u8(..16) {
        0 if files => return Some(remove(disk, segment)),
        1 if files && rng.bool() => return Some(remove(disk, path("IDENT"))),
        1 | 2 if files => {
            let page = rng.u64(..4);
            let at = page * PAGE + rng.u64(..128);
            return overwrite(disk, "IDENT", path("IDENT"), at, vec![rng.u8(..); 8]);
        }
        3 => {
            let seq = *indexes(disk).last()?;
            let file = index_path(seq);
            let len = disk.read_file(&file)?.len() as u64;
            return overwrite(disk, "index file", file, rng.u64(..len), vec![rng.u8(..); 4]);
        }
        _ => {}
    }
    let bytes = disk.read_file(&segment)?;
    let used = bytes.iter().rposition(|&b| b != 0).unwrap_or(0) as u64 + 1;
    let place = if rng.u8(..4) == 0 { FIRST_FRAME.min(used) } else { used };
    let place = rng.u64(..place);
    let sector = place & !511;
    match rng.u8(..8) {
        0 | 1 => {
            let byte = vec![bytes[place as usize] ^ 1 << rng.u8(..8)];
            overwrite(disk, "bit flip", segment, place, byte)
        }
        2 => overwrite(disk, "zeroed sector", segment, sector, vec![0; 512]),
        3 => {
            let noise = (0..1024).map(|_| rng.u8(..)).collect();
            overwrite(disk, "two sectors of noise", segment, sector, noise)
        }
        4 => overwrite(disk, "zeroed page", segment, place & !4095, vec![0; 4096]),
        5 => {
            let old = earlier.read_file(&segment)?;
            let old = old.get(sector as usize..sector as usize + 512)?.to_vec();
            overwrite(disk, "lost write", segment, sector, old)
        }
        6 => {
            let from = disk.read_file(segment_path(all[rng.usize(..all.len())]))?;
            let at = rng.usize(..=from.len() / 512) * 512;
            let strange = from.get(at..at + 512)?.to_vec();
            overwrite(disk, "misdirected write", segment, sector, strange)
        }
        _ => {
            let len = bytes.len() as u64;
            disk.mutate(&segment, |bytes| bytes.truncate(place as usize));
            Some(Hit { kind: "cut file", file: segment, bytes: place..len })
        }
    }
}

fn remove(disk: &SimVfs, file: PathBuf) -> Hit {
    disk.delete(&file);
    Hit { kind: "missing file", file, bytes: 0..u64::MAX }
}

fn overwrite(
    disk: &SimVfs,
    kind: &'static str,
    file: PathBuf,
    at: u64,
    new: Vec<u8>,
) -> Option<Hit> {
    let mut changed: Option<Range<u64>> = None;
    disk.mutate(&file, |bytes| {
        for (i, byte) in new.into_iter().enumerate() {
            let at = at as usize + i;
            if let Some(old) = bytes.get_mut(at).filter(|old| **old != byte) {
                *old = byte;
                let from = changed.as_ref().map_or(at as u64, |c| c.start);
                changed = Some(from..at as u64 + 1);
            }
        }
    });
    Some(Hit { kind, file, bytes: changed? })
}
