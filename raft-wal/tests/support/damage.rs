//! Damage at rest: after a random history one file of the log is damaged once, and the log must
//! come back the same, or refuse with the name of the file, or, where no promise but the damaged
//! one existed, as after a crash, and say that it is not certain.

use std::ops::Range;
use std::path::PathBuf;

use fastrand::Rng;
use raft_vfs::SimVfs;
use raft_wal::error::CorruptKind;
use raft_wal::format::{FIRST_FRAME, Mark, PAGE};
use raft_wal::inspect::Segment;
use raft_wal::scan::Step;
use raft_wal::{Error, Options, RecoveryReport};

use super::history::{History, Plan};
use super::model::Model;
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
    /// Promises in the newest segment and in younger ones: where they stand, and how far.
    promises: Vec<(u64, Range<u64>, u64)>,
}

impl Chart {
    fn draw(disk: &SimVfs) -> Self {
        let mut chart = Self::default();
        let mut previous = 0;
        for seq in segments(disk).into_iter().rev() {
            let Ok(s) = Segment::open(disk, &segment_path(seq)) else { continue };
            let bytes = disk.read_file(segment_path(seq)).unwrap_or_default();
            for page in [1_u32, 2] {
                let at = u64::from(page) * PAGE;
                let raw = bytes.get(at as usize..at as usize + Mark::LEN);
                let raw = raw.and_then(|raw| raw.try_into().ok());
                if let Some(mark) = raw.and_then(|raw| Mark::decode(raw, page)) {
                    chart.promises.push((seq, at..at + 256, mark.durable_to));
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
                chart.promises.push((seq, header, frame.header.durable_to));
                chart.frames.push(frame.offset..frame.end);
            }
            if started {
                chart.newest = seq;
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

    /// Whether something that was not hit vouches for the first frame that was.
    fn vouched(&self, hit: &Hit) -> bool {
        let overlaps = |r: &Range<u64>| r.start < hit.bytes.end && hit.bytes.start < r.end;
        let in_newest = hit.file == segment_path(self.newest);
        let Some(first) = self.frames.iter().find(|f| overlaps(f)).filter(|_| in_newest) else {
            return false;
        };
        self.promises.iter().any(|(seq, at, to)| {
            *seq == self.newest && *to > first.start && !overlaps(at) && at.start != first.start
        })
    }

    /// Whether any promise, hit or not, covered the first frame that was hit.
    fn promised(&self, hit: &Hit) -> bool {
        let overlaps = |r: &Range<u64>| r.start < hit.bytes.end && hit.bytes.start < r.end;
        let first = self.frames.iter().find(|f| overlaps(f));
        first.is_some_and(|f| {
            self.promises.iter().any(|(s, _, to)| *s == self.newest && *to > f.start)
        })
    }
}

/// A random history, then `rounds` times one damage to its disk.
pub(crate) fn run(seed: u64, rounds: usize, tally: &mut Tally, trace: bool) {
    let plan = Plan { samples: 1, ..Plan::of(seed) };
    let mut history = History::new(seed, plan, tally, trace);
    if let Err(problem) = history.eras() {
        tally.failures.push(format!("{problem}\n  replay: RAFT_WAL_SEED={seed}"));
        return;
    }
    let options = history.options();
    // Write-back is over; nothing is pending.
    let disk = history.disk.power_cut(&mut raft_vfs::sim::KeepAll);
    let (earlier, issued) = (history.earlier.clone(), history.issued.clone());
    let mut rng = history.rng.clone();
    let whole = disk.fork();
    let (model, _) = match look(&whole, &options) {
        Ok(found) => found,
        Err(error) => {
            tally.failures.push(format!("REFUSED {error}\n  replay: RAFT_WAL_SEED={seed}"));
            return;
        }
    };
    let chart = Chart::draw(&disk);
    for round in 0..rounds {
        let damaged = disk.fork();
        let Some(hit) = strike(&damaged, &earlier, &chart, &mut rng) else { continue };
        let outcome = judge(&damaged, &options, &hit, &chart, &model, &|m| issued.legal(m).is_ok());
        let outcome = outcome.and_then(|what| match what {
            "ambiguous" if !issued.states.iter().any(|s| alike(s, &damaged, &options)) => {
                Err("a state that never was".to_owned())
            }
            what => Ok(what),
        });
        match outcome {
            Ok(what) => *tally.damage.entry(format!("{}: {what}", hit.kind)).or_default() += 1,
            Err(why) => {
                let all = format!("DAMAGE {why}\n  {hit:?} in round {round}\n  {chart:?}");
                tally.failures.push(format!("{all}\n  replay: RAFT_WAL_SEED={seed}"));
            }
        }
        tally.states += 1;
    }
}

/// Whether a log opens as `state`, term and vote aside.
fn alike(state: &Model, disk: &SimVfs, options: &Options) -> bool {
    let Ok((mut got, _)) = look(&disk.fork(), options) else { return false };
    got.hard_state.term = state.hard_state.term;
    got.hard_state.vote = state.hard_state.vote;
    got == *state
}

fn look(disk: &SimVfs, options: &Options) -> Result<(Model, RecoveryReport), Error> {
    let (wal, report) = open(disk, options)?;
    Ok((read_all(&wal)?, report))
}

fn judge(
    disk: &SimVfs,
    options: &Options,
    hit: &Hit,
    chart: &Chart,
    before: &Model,
    legal: &dyn Fn(&Model) -> bool,
) -> Result<&'static str, String> {
    let fork = disk.fork();
    let fingerprint = fork.fingerprint();
    let opened = open(&fork, options);
    let (wal, report) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            if fork.fingerprint() != fingerprint {
                return Err(format!("a refused open changed the disk: {error}"));
            }
            return named(&error, hit).map(|()| "refused by name");
        }
    };
    let got = match read_all(&wal) {
        Ok(got) => got,
        Err(error) => return named(&error, hit).map(|()| "found on reading"),
    };
    if got == *before {
        return Ok("no change");
    }
    if legal(&got) {
        return Ok("legal as after a crash");
    }
    let seq = |seq: u64| hit.file == segment_path(seq);
    let difference = before.difference(&got).unwrap_or_default();
    if !seq(chart.newest) {
        return Err(format!("silent: {difference}"));
    }
    if chart.vouched(hit) {
        return Err(format!("silent although promised: {difference}"));
    }
    if report.certain {
        return Err(format!("certain, and wrong: {difference}"));
    }
    Ok(if chart.promised(hit) { "ambiguous: its only promise was hit too" } else { "ambiguous" })
}

/// Whether an error names the damaged file. What vouches for a missing newest segment may be older
/// than the segment itself; then the error names the one that it replaced.
fn named(error: &Error, hit: &Hit) -> Result<(), String> {
    let file = match error {
        Error::Corrupt(c) if c.kind == CorruptKind::MissingSegment && c.path < hit.file => {
            return Ok(());
        }
        Error::Corrupt(c) => &c.path,
        Error::IdentMissing { dir, .. } if hit.file.starts_with(dir) => &hit.file,
        _ => return Err(format!("an error of another kind: {error}")),
    };
    if *file == hit.file { Ok(()) } else { Err(format!("names another file: {error}")) }
}

/// Damages one file; `None` if the damage would change nothing.
fn strike(disk: &SimVfs, earlier: &SimVfs, chart: &Chart, rng: &mut Rng) -> Option<Hit> {
    let all = segments(disk);
    let live = if rng.u8(..8) == 0 { &all } else { &chart.walk };
    let seq = *live.get(rng.usize(..live.len().max(1)))?;
    let segment = segment_path(seq);
    match rng.u8(..16) {
        0 => return Some(remove(disk, segment)),
        1 if rng.bool() => return Some(remove(disk, path("IDENT"))),
        1 | 2 => {
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
    let place = if rng.u8(..4) == 0 { rng.u64(..FIRST_FRAME) } else { rng.u64(..used) };
    let sector = place & !511;
    match rng.u8(..7) {
        0 | 1 => {
            let mut byte = vec![bytes[place as usize]];
            byte[0] ^= 1 << rng.u8(..8);
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
        _ => {
            let from = disk.read_file(segment_path(all[rng.usize(..all.len())]))?;
            let at = rng.usize(..from.len() / 512) * 512;
            let strange = from.get(at..at + 512)?.to_vec();
            overwrite(disk, "misdirected write", segment, sector, strange)
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
