//! A process that writes a log is killed with SIGKILL at random moments, again and again. Each time
//! the log holds what was acknowledged, nothing that was not issued, and nothing in between.
//!
//! `RAFT_WAL_KILL_ROUNDS` sets the number of rounds (default 100), `RAFT_WAL_KILL_SEED` the seed.

use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use raft_wal::{Options, Tail};

use crate::child::{self, Running};
use crate::support::model::Model;
use crate::support::oracle::Issued;
use crate::workload::{announce, digest, look, open, random_batch, read_all};

const ROUNDS: u64 = 100;
/// Rounds on one directory before a new one is begun.
const ROUNDS_PER_LOG: u64 = 25;

/// The options of a log follow from its seed; those of a round from the round's.
fn options(log_seed: u64, seed: u64) -> Options {
    let mut rng = Rng::with_seed(seed);
    let segment = [64 << 10, 256 << 10, 1 << 20][rng.usize(..3)];
    let unsynced = [16 << 10, 8 << 20][rng.usize(..2)];
    let align = [1, 1, 512, 4096][rng.usize(..4)];
    let initial = [1, 0, u64::MAX - (1 << 40)][(log_seed % 3) as usize];
    let sized = Options::new().segment_bytes(segment).max_unsynced_bytes(unsynced);
    sized.align(align).initial_index(initial)
}

/// The seeds of a child, packed into one number: that of its log and that of its round.
fn seeds(packed: u64) -> (u64, u64) {
    (packed >> 32, packed)
}

/// The child: appends for ever, and says what it is about to do and what was acknowledged.
pub(crate) fn work(dir: &Path, packed: u64) {
    child::say("UP");
    let (log_seed, seed) = seeds(packed);
    let (mut wal, _) = open(dir, &options(log_seed, seed)).expect("a log opens after any kill");
    let mut log = read_all(&wal).expect("what was recovered is readable");
    child::say(&format!("OPEN {}", digest(&log)));
    let (mut batches, mut habits) = (Rng::with_seed(seed), Rng::with_seed(!seed));
    let begun = std::time::Instant::now();
    for n in 1.. {
        let batch = random_batch(&mut batches, &log);
        child::say(&format!("TRY {n}"));
        let ticket = wal.append(&batch).expect("the batch keeps the rules");
        log.apply(&batch);
        match habits.u8(..16) {
            0..=7 => {
                wal.wait(ticket).expect("the disk works");
                child::say(&format!("ACK {n}"));
            }
            8 => wal.write_through().expect("the disk works"),
            9 => drop(wal.step_publish().expect("there is room")),
            10 => drop(wal.step_index().expect("closed segments are readable")),
            11 => drop(wal.step_mark(begun.elapsed()).expect("the disk works")),
            12 => drop(wal.step_gc().expect("the disk works")),
            _ => {}
        }
    }
}

/// What a run of kills amounted to.
#[derive(Default)]
struct Totals {
    before_the_first_batch: u64,
    at_work: u64,
    with_batches_in_flight: u64,
    issued: u64,
    acked: u64,
    beyond_acked: u64,
    carried: u64,
    torn: u64,
    bytes_given_up: u64,
}

#[test]
fn after_every_sigkill_the_log_holds_what_was_acknowledged_and_nothing_else() {
    let rounds = number("RAFT_WAL_KILL_ROUNDS").unwrap_or(ROUNDS);
    let mut rng = Rng::with_seed(number("RAFT_WAL_KILL_SEED").unwrap_or(20_261_101));
    let mut totals = Totals::default();
    let mut left = rounds;
    while left > 0 {
        let now = left.min(ROUNDS_PER_LOG);
        kill_again_and_again(&mut rng, now, &mut totals);
        left -= now;
    }
    let t = totals;
    announce(&format!(
        "killed {rounds} times: {} before the first batch, {} at work, {} with batches in flight; \
         {} batches issued, {} acknowledged, {} recovered beyond that; {} carried, {} torn tails, \
         {} bytes given up; 0 lost",
        t.before_the_first_batch,
        t.at_work,
        t.with_batches_in_flight,
        t.issued,
        t.acked,
        t.beyond_acked,
        t.carried,
        t.torn,
        t.bytes_given_up,
    ));
    assert!(t.at_work > 0, "no kill hit a child at work: nothing was tested");
    assert!(t.with_batches_in_flight > 0, "no kill hit an unacknowledged batch");
    assert!(t.acked > 0, "nothing was acknowledged: nothing could have been lost");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|v| v.parse().expect("a number"))
}

/// Some rounds on one log.
fn kill_again_and_again(rng: &mut Rng, rounds: u64, totals: &mut Totals) {
    let mut temp = tempfile::tempdir().expect("a directory");
    // Kept unless the rounds come to their end: what a failure leaves is worth a look.
    temp.disable_cleanup(true);
    let (dir, journal) = (temp.path().join("log"), temp.path().join("journal"));
    let log_seed = rng.u64(..) >> 40;
    let initial = open(&dir, &options(log_seed, 0)).expect("a new log").0.first_index();
    let mut log = Model::new(initial);
    for _ in 0..rounds {
        let packed = log_seed << 32 | u64::from(rng.u32(..));
        let mut child = Running::start(child::command("work", &dir, packed), journal.clone());
        child.wait_for("UP");
        std::thread::sleep(Duration::from_micros(rng.u64(1_000..60_000)));
        let said = child.kill();
        log = judge(&dir, packed, log, &said, totals);
    }
    temp.disable_cleanup(false);
}

/// Reopens the log after a kill and compares it with all that it may hold. Returns what it holds.
fn judge(dir: &Path, packed: u64, log: Model, said: &[String], totals: &mut Totals) -> Model {
    let (log_seed, seed) = seeds(packed);
    let context = format!("round with seed {packed:#x} in {}", dir.display());
    if let Some(opened) = said.iter().find_map(|l| l.strip_prefix("OPEN ")) {
        assert_eq!(opened, digest(&log), "{context}: opened as left");
    }
    let highest = |word: &str| {
        let numbers = said.iter().filter_map(|l| l.strip_prefix(word)?.parse().ok());
        numbers.max().unwrap_or(0_usize)
    };
    let (tried, acked) = (highest("TRY "), highest("ACK "));
    let mut issued = Issued::after(log);
    let mut batches = Rng::with_seed(seed);
    for _ in 0..tried {
        let mut next = issued.last().clone();
        next.apply(&random_batch(&mut batches, &next));
        issued.states.push(next);
    }
    issued.acked = acked;

    let options = options(log_seed, seed);
    let both = look(dir, &options).and_then(|seen| Ok((seen.0, open(dir, &options)?)));
    let (seen, (wal, report)) = both.unwrap_or_else(|e| panic!("{context}: refused: {e}"));
    let got = read_all(&wal).expect("everything recovered is readable");
    issued.legal(&got).unwrap_or_else(|e| panic!("{context}: {e}\n{report}"));
    assert_eq!(seen, got, "{context}: a read-only opening sees what the recovery then keeps");
    assert!(report.recovered_durable, "{context}: {report}");

    let recovered = issued.states.iter().rposition(|s| *s == got).unwrap_or(acked);
    totals.before_the_first_batch += u64::from(tried == 0);
    totals.at_work += u64::from(tried > 0);
    totals.with_batches_in_flight += u64::from(tried > acked);
    totals.issued += tried as u64;
    totals.acked += acked as u64;
    totals.beyond_acked += (recovered - acked) as u64;
    totals.carried += report.carried;
    totals.torn += u64::from(matches!(report.tail, Tail::Torn { .. } | Tail::Unknown));
    totals.bytes_given_up += report.discarded.as_ref().map_or(0, |d| d.bytes);
    if seed.is_multiple_of(3) {
        wal.close().expect("the log closes");
    } else {
        drop(wal);
    }
    let (again, _) = look(dir, &options).unwrap_or_else(|e| panic!("{context}: refused: {e}"));
    let changed = again.entries.iter().zip(&got.entries).find(|(a, b)| a != b);
    assert_eq!(changed, None, "{context}: an entry that the recovery wrote again\n{report}");
    assert_eq!(again, got, "{context}: what the recovery left");
    got
}
