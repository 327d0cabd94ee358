//! The work of the processor in single operations, by Criterion: encoding and queueing a batch,
//! finding and checking an entry, and the checksum that both cannot do without.

use std::hint::black_box;
use std::time::{Duration, Instant};

use benches::count::Counting;
use benches::{fill, full_or, scratch_in_memory};
use criterion::{Criterion, Throughput};
use fastrand::Rng;
use raft_vfs::OsVfs;
use raft_wal::{Options, Wal};

/// The log is compacted when it has grown by so much.
const KEPT_BYTES: u64 = 256 << 20;

fn main() {
    let mut criterion = Criterion::default()
        .configure_from_args()
        .sample_size(full_or(50, 10))
        .warm_up_time(Duration::from_millis(full_or(1000, 50)))
        .measurement_time(Duration::from_millis(full_or(3000, 100)))
        .without_plots();
    append(&mut criterion);
    read(&mut criterion);
    checksum(&mut criterion);
    criterion.final_summary();
}

/// `append` alone: the batch is judged, encoded and queued. Making the batch, writing the queue and
/// the duties of a background thread are not timed.
fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    for (count, len) in [(1, 256), (64, 256), (1, 4096), (16, 64 << 10)] {
        let dir = scratch_in_memory();
        let vfs = Counting::without_syncs();
        let opened = Wal::open(vfs, dir.path(), &Options::new());
        let mut wal = opened.expect("a new log in a new directory").0;
        let payloads = fill::payload(count * len);
        let (mut appended, frame) = (0, fill::frame_len(count, len));
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} x {len} B"), |b| {
            b.iter_custom(|iterations| {
                let mut took = Duration::ZERO;
                for _ in 0..iterations {
                    let batch = fill::batch(wal.next_index(), &payloads, len);
                    let begun = Instant::now();
                    wal.append(black_box(&batch)).expect("room");
                    took += begun.elapsed();
                    wal.sync().expect("memory");
                    wal.step_publish().expect("memory");
                    wal.step_index().expect("memory");
                    appended += frame;
                    if appended > KEPT_BYTES {
                        appended = 0;
                        wal.compact_to(wal.next_index() - 1).expect("memory");
                    }
                }
                took
            });
        });
    }
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let dir = scratch_in_memory();
    let entries = fill::log(dir.path(), full_or(256 << 20, 16 << 20), 256).expect("a log");
    let (mut wal, _) = Wal::open(OsVfs, dir.path(), &Options::new()).expect("it opens");
    let first = wal.next_index();
    for i in 0..100 {
        wal.append(&fill::batch(first + i * 64, &fill::payload(64 * 256), 256)).expect("room");
    }
    wal.sync().expect("memory");
    let mut group = criterion.benchmark_group("read");
    let mut rng = Rng::with_seed(1);
    let closed = entries / 2;
    group.bench_function("entry of 256 B, closed segment, random", |b| {
        b.iter(|| black_box(wal.entry(rng.u64(1..closed)).expect("it is there")));
    });
    group.bench_function("entry of 256 B, just appended, random", |b| {
        b.iter(|| black_box(wal.entry(first + rng.u64(..6400)).expect("it is there")));
    });
    group.bench_function("term, closed segment, random", |b| {
        b.iter(|| black_box(wal.term(rng.u64(1..closed)).expect("it is there")));
    });
    group.bench_function("64 entries of 256 B, closed segment, random", |b| {
        b.iter(|| {
            let low = rng.u64(1..closed - 64);
            black_box(wal.entries(low, low + 64, u64::MAX).expect("they are there"))
        });
    });
    group.finish();
}

fn checksum(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("CRC-32");
    for len in [64, 256, 4096, 64 << 10] {
        let bytes = fill::payload(len);
        group.throughput(Throughput::Bytes(len));
        group.bench_function(format!("{len} B"), |b| b.iter(|| crc32fast::hash(black_box(&bytes))));
    }
    group.finish();
}
