//! What a snapshot directory does when nothing goes wrong, and what it refuses.

mod support;

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use raft_snap::error::{CorruptKind, Reject};
use raft_snap::{Error, Identity, Options, SnapDir, SnapInfo, SnapMeta, SnapName};
use raft_vfs::sim::{KeepNothing, Op};
use raft_vfs::{SimVfs, Vfs};

use crate::support::{
    CHUNK, DIR, IDENTITY, announcement, data, disk, id, indexes, meta, open, options, path, read,
    receive, write,
};

fn names(disk: &SimVfs) -> Vec<String> {
    let name = |p: std::path::PathBuf| p.file_name().unwrap().to_str().unwrap().to_owned();
    disk.paths().into_iter().map(name).collect()
}

#[test]
fn what_is_written_is_read_back_whatever_its_length() {
    let snaps = open(&disk(1));
    let lengths = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7];
    for (index, len) in (1..).zip(lengths) {
        let info = write(&snaps, index, len).unwrap();
        assert_eq!(info.meta, meta(index));
        assert_eq!((info.data_len, info.chunks as usize), (len as u64, len.div_ceil(CHUNK)));
        assert_eq!(read(&snaps, &info).unwrap(), data(index, len));
        snaps.verify(&info).unwrap();
        assert_eq!(snaps.newest_usable().unwrap(), Some(info.clone()));
        assert_eq!(snaps.find(id(index)).unwrap(), info);
    }
    assert_eq!(indexes(&snaps), [7, 6, 5, 4, 3, 2, 1]);
}

#[test]
fn the_size_of_the_writes_does_not_matter() {
    let snaps = open(&disk(1));
    let all = data(1, 5 * CHUNK + 100);
    let mut seen: Vec<SnapInfo> = Vec::new();
    for (n, step) in [1, 7, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, all.len()].iter().enumerate() {
        let meta = SnapMeta { index: n as u64, ..meta(1) };
        let mut writer = snaps.writer(&meta).unwrap();
        for part in all.chunks(*step) {
            writer.write_all(part).unwrap();
        }
        writer.flush().unwrap();
        assert_eq!(writer.data_len(), all.len() as u64);
        let info = writer.finish().unwrap();
        assert_eq!(read(&snaps, &info).unwrap(), all);
        assert!(
            seen.iter().all(|s| s.data_hash == info.data_hash && s.file_hash != info.file_hash)
        );
        seen.push(info);
    }
}

#[test]
fn a_conf_state_may_be_empty_or_64_kib_and_no_longer() {
    let snaps = open(&disk(1));
    for (index, len) in (1..).zip([0, 1, 379, 380, 381, 64 << 10]) {
        let meta = SnapMeta { conf_state: vec![7; len].into(), ..meta(index) };
        let info = snaps.writer(&meta).unwrap().finish().unwrap();
        assert_eq!(snaps.find(id(index)).unwrap().meta, meta);
        assert_eq!(info.file_len % 512, 96, "a header of whole sectors, and a footer");
    }
    let meta = SnapMeta { conf_state: vec![7; (64 << 10) + 1].into(), ..meta(50) };
    let refused = snaps.writer(&meta).unwrap_err();
    assert!(matches!(refused, Error::Rejected(Reject::ConfState { len: 65537, max: 65536 })));
}

#[test]
fn nothing_is_visible_before_finish_and_a_dropped_writer_leaves_nothing() {
    let disk = disk(1);
    let snaps = open(&disk);
    let mut writer = snaps.writer(&meta(5)).unwrap();
    writer.write_all(&data(5, 3 * CHUNK)).unwrap();
    let listing = snaps.list().unwrap();
    assert!(listing.usable.is_empty() && listing.unusable.is_empty());
    assert_eq!(listing.temporary.len(), 1);
    assert_eq!(snaps.clean_up().unwrap(), [], "somebody is writing it");
    drop(writer);
    assert_eq!(names(&disk), Vec::<String>::new());
}

#[test]
fn the_second_snapshot_of_an_index_and_term_is_discarded_and_the_first_kept() {
    let disk = disk(1);
    let snaps = open(&disk);
    let first = write(&snaps, 5, 700).unwrap();
    let mut second = snaps.writer(&meta(5)).unwrap();
    second.write_all(b"another state").unwrap();
    assert_eq!(second.finish().unwrap(), first);
    assert_eq!(receive(&snaps, 5, 700).unwrap(), first);
    assert_eq!(names(&disk).len(), 1);
    assert_eq!(read(&snaps, &first).unwrap(), data(5, 700));
}

#[test]
fn another_conf_state_at_the_same_index_and_term_is_a_conflict() {
    let snaps = open(&disk(1));
    let first = write(&snaps, 5, 700).unwrap();
    let other = SnapMeta { conf_state: "somebody else".into(), ..meta(5) };
    let refused = snaps.writer(&other).unwrap().finish().unwrap_err();
    assert!(matches!(refused, Error::Conflict { .. }), "{refused}");
    assert_eq!(snaps.list().unwrap().usable, [first]);
}

#[test]
fn a_damaged_snapshot_is_quarantined_before_its_successor_takes_the_name() {
    let disk = disk(1);
    let snaps = open(&disk);
    for n in 1..4 {
        let good = write(&snaps, 5, 3 * CHUNK).unwrap();
        assert_eq!(read(&snaps, &good).unwrap(), data(5, 3 * CHUNK));
        assert_eq!(snaps.list().unwrap().broken.len(), n - 1);
        // In a chunk: header and footer stay sound, so only a full look finds it.
        disk.mutate(path(5), |bytes| bytes[700] ^= 1);
    }
    let broken = snaps.list().unwrap().broken;
    assert_eq!(broken, [SnapName::Broken(id(5), 2), SnapName::Broken(id(5), 1)]);
    let first = Path::new(DIR).join(broken[1].to_string());
    assert_eq!(disk.read_file(first).unwrap().len(), disk.read_file(path(5)).unwrap().len());
}

#[test]
fn a_received_snapshot_has_the_senders_data_and_the_receivers_identity() {
    let sender = open(&disk(1));
    let info = write(&sender, 5, 3 * CHUNK + 9).unwrap();
    let reader = sender.reader(&info).unwrap();

    let other = Identity { cluster_id: 0xc1, node_id: 2 };
    let snaps = SnapDir::open(disk(2), DIR, &Options::new(other)).unwrap();
    let mut receiver = snaps.receiver(&(&info).into()).unwrap();
    assert_eq!((receiver.chunks(), receiver.next_chunk()), (4, 0));
    for n in 0..receiver.chunks() {
        receiver.put(n, &reader.chunk(n).unwrap()).unwrap();
    }
    let received = receiver.finish().unwrap();
    assert_eq!((received.identity, received.data_hash), (other, info.data_hash));
    assert_eq!(received.meta, info.meta);
    assert_ne!(received.file_hash, info.file_hash);
    assert_eq!(read(&snaps, &received).unwrap(), data(5, 3 * CHUNK + 9));
}

#[test]
fn a_transfer_goes_on_where_it_was_left() {
    let disk = disk(1);
    let len = 5 * CHUNK + 3;
    let snaps = open(&disk);
    let mut receiver = snaps.receiver(&announcement(5, len)).unwrap();
    for (n, chunk) in (0..3).zip(data(5, len).chunks(CHUNK)) {
        receiver.put(n, chunk).unwrap();
    }
    let busy = snaps.receiver(&announcement(5, len)).unwrap_err();
    assert!(matches!(busy, Error::Busy { .. }), "{busy}");
    drop(receiver);
    assert_eq!(snaps.list().unwrap().parts, [id(5)]);
    assert_eq!(snaps.clean_up().unwrap(), [], "it can be resumed");

    let reopened = open(&disk.fork());
    let receiver = reopened.receiver(&announcement(5, len)).unwrap();
    assert_eq!((receiver.next_chunk(), receiver.resumed()), (3, 3));
    drop(receiver);
    let info = receive(&reopened, 5, len).unwrap();
    assert_eq!(read(&reopened, &info).unwrap(), data(5, len));
    assert!(reopened.list().unwrap().parts.is_empty());
}

#[test]
fn an_unfinished_transfer_of_another_announcement_is_begun_anew() {
    let snaps = open(&disk(1));
    let len = 3 * CHUNK;
    let put_two = |announced| {
        let mut receiver = snaps.receiver(announced).unwrap();
        assert_eq!(receiver.resumed(), 0);
        for (n, chunk) in (0..2).zip(data(5, len).chunks(CHUNK)) {
            receiver.put(n, chunk).unwrap();
        }
    };
    let announced = announcement(5, len);
    let mut hash = announced.clone();
    hash.data_hash[0] ^= 1;
    let mut conf = announced.clone();
    conf.meta.conf_state = "another one".into();
    let mut longer = announced.clone();
    longer.data_len += 1;
    for other in [&announced, &hash, &conf, &longer] {
        put_two(other);
    }
    assert_eq!(receive(&snaps, 5, len).unwrap().data_hash, announced.data_hash);
}

#[test]
fn chunks_out_of_order_or_of_the_wrong_size_are_refused_and_change_nothing() {
    let snaps = open(&disk(1));
    let len = 2 * CHUNK + 5;
    let bytes = data(5, len);
    let mut receiver = snaps.receiver(&announcement(5, len)).unwrap();
    let refused = |result: Result<(), Error>| match result {
        Err(Error::Rejected(reject)) => reject,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused(receiver.put(1, &bytes[CHUNK..2 * CHUNK])),
        Reject::ChunkOrder { expected: 0, found: 1 }
    );
    for size in [0, CHUNK - 1, CHUNK + 1] {
        assert_eq!(
            refused(receiver.put(0, &bytes[..size])),
            Reject::ChunkSize { chunk: 0, expected: CHUNK, found: size }
        );
    }
    receiver.put(0, &bytes[..CHUNK]).unwrap();
    assert_eq!(
        refused(receiver.put(0, &bytes[..CHUNK])),
        Reject::ChunkOrder { expected: 1, found: 0 }
    );
    receiver.put(1, &bytes[CHUNK..2 * CHUNK]).unwrap();
    assert_eq!(
        refused(receiver.put(2, &bytes[..CHUNK])),
        Reject::ChunkSize { chunk: 2, expected: 5, found: CHUNK }
    );
    assert_eq!(refused(receiver.put(3, &bytes[..5])), Reject::NoSuchChunk { found: 3, chunks: 3 });
    let incomplete = receiver.finish().unwrap_err();
    assert!(matches!(incomplete, Error::Rejected(Reject::Incomplete { received: 2, chunks: 3 })));
    let mut receiver = snaps.receiver(&announcement(5, len)).unwrap();
    assert_eq!(receiver.next_chunk(), 2, "an early finish costs nothing");
    receiver.put(2, &bytes[2 * CHUNK..]).unwrap();
    receiver.finish().unwrap();
}

#[test]
fn a_chunk_that_was_damaged_or_misdirected_on_its_way_is_refused_at_once() {
    let snaps = open(&disk(1));
    let (announced, bytes) = (announcement(5, 2 * CHUNK), data(5, 2 * CHUNK));
    let crc = announced.chunk_crc(0, &bytes[..CHUNK]);
    let mut receiver = snaps.receiver(&announced).unwrap();
    let mut damaged = bytes[..CHUNK].to_vec();
    damaged[100] ^= 1;
    let other = announcement(6, 2 * CHUNK).chunk_crc(0, &bytes[..CHUNK]);
    let elsewhere = announced.chunk_crc(1, &bytes[..CHUNK]);
    for (data, crc) in [(&damaged[..], crc), (&bytes[..CHUNK], other), (&bytes[..CHUNK], elsewhere)]
    {
        let error = receiver.put_checked(0, data, crc).unwrap_err();
        assert!(matches!(error, Error::Rejected(Reject::ChunkSum { chunk: 0, .. })), "{error}");
    }
    assert_eq!(receiver.next_chunk(), 0);
    receiver.put_checked(0, &bytes[..CHUNK], crc).unwrap();
    let crc = announced.chunk_crc(1, &bytes[CHUNK..]);
    receiver.put_checked(1, &bytes[CHUNK..], crc).unwrap();
    receiver.finish().unwrap();
}

#[test]
fn a_transfer_that_was_synced_outlives_a_power_cut() {
    let disk = disk(1);
    let options = options().sync_bytes(2 * CHUNK as u64);
    let snaps = SnapDir::open(disk.clone(), DIR, &options).unwrap();
    let mut receiver = snaps.receiver(&announcement(5, 7 * CHUNK)).unwrap();
    for (n, chunk) in (0..5).zip(data(5, 7 * CHUNK).chunks(CHUNK)) {
        receiver.put(n, chunk).unwrap();
    }
    let left = open(&disk.power_cut(&mut KeepNothing));
    assert_eq!(left.receiver(&announcement(5, 7 * CHUNK)).unwrap().resumed(), 4);
}

#[test]
fn data_that_are_not_what_was_announced_are_discarded() {
    let disk = disk(1);
    let snaps = open(&disk);
    let mut receiver = snaps.receiver(&announcement(5, CHUNK)).unwrap();
    receiver.put(0, &[0; CHUNK]).unwrap();
    let error = receiver.finish().unwrap_err();
    assert!(matches!(error, Error::NotAsAnnounced { .. }), "{error}");
    assert_eq!(names(&disk), Vec::<String>::new());
    snaps.receiver(&announcement(5, CHUNK)).unwrap().abort();
    assert_eq!(names(&disk), Vec::<String>::new());
}

#[test]
fn announcements_and_options_that_cannot_be_are_refused_before_anything_is_made() {
    let disk = disk(1);
    let snaps = open(&disk);
    let announced = announcement(5, CHUNK);
    let refused = |change: &dyn Fn(&mut raft_snap::Announcement)| {
        let mut announced = announced.clone();
        change(&mut announced);
        let error = snaps.receiver(&announced).unwrap_err();
        assert!(matches!(error, Error::Rejected(_)), "{error}");
    };
    refused(&|a| a.chunk_len = 511);
    refused(&|a| a.chunk_len = (16 << 20) + 1);
    refused(&|a| a.chunk_len = 0);
    refused(&|a| a.data_len = u64::MAX);
    refused(&|a| a.data_len = 512 * u64::from(u32::MAX));
    refused(&|a| a.meta.index = u64::MAX);
    refused(&|a| a.meta.conf_state = vec![0; (64 << 10) + 1].into());
    assert!(snaps.writer(&SnapMeta { index: u64::MAX, ..meta(1) }).is_err());
    assert_eq!(names(&disk), Vec::<String>::new());
    for wrong in [
        options().retain(1),
        options().chunk_bytes(511),
        options().chunk_bytes(u32::MAX),
        options().sync_bytes(0),
    ] {
        let error = SnapDir::open(disk.clone(), "/data/other", &wrong).unwrap_err();
        assert!(matches!(error, Error::Option { .. }), "{error}");
    }
}

#[test]
fn a_reader_seeks_anywhere_and_reads_nothing_behind_the_end() {
    let snaps = open(&disk(1));
    let bytes = data(5, 3 * CHUNK + 9);
    let info = write(&snaps, 5, bytes.len()).unwrap();
    let mut reader = snaps.reader(&info).unwrap();
    assert_eq!(reader.seek(SeekFrom::End(-9)).unwrap(), 3 * CHUNK as u64);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, bytes[3 * CHUNK..]);
    for to in [SeekFrom::Start(u64::MAX), SeekFrom::End(1), SeekFrom::End(i64::MAX)] {
        reader.seek(to).unwrap();
        assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
    }
    reader.seek(SeekFrom::Start(u64::MAX)).unwrap();
    for to in [SeekFrom::Current(1), SeekFrom::End(i64::MIN)] {
        let error = reader.seek(to).unwrap_err();
        let error = Error::of(&error).expect("one of ours");
        assert!(matches!(error, Error::Rejected(Reject::Seek)), "{error}");
    }
    let error = reader.chunk(4).unwrap_err();
    assert!(matches!(error, Error::Rejected(Reject::NoSuchChunk { found: 4, chunks: 4 })));
}

#[test]
fn retention_keeps_the_newest_usable_the_floor_and_what_is_read() {
    let disk = disk(1);
    let snaps = SnapDir::open(disk.clone(), DIR, &options().retain(3)).unwrap();
    for index in 1..=8 {
        write(&snaps, index, 100).unwrap();
    }
    // One of the three newest is damaged: it does not count, and it stays.
    disk.mutate(path(7), |bytes| bytes[40] ^= 1);
    let reader = snaps.reader(&snaps.find(id(2)).unwrap()).unwrap();
    let pin = snaps.pin(&snaps.find(id(1)).unwrap()).unwrap();
    let indexes_of = |infos: &[SnapInfo]| infos.iter().map(|i| i.meta.index).collect::<Vec<_>>();

    let retained = snaps.retain(4).unwrap();
    assert_eq!(
        (indexes_of(&retained.removed), indexes_of(&retained.pinned)),
        (vec![3], vec![1, 2])
    );
    assert_eq!(indexes(&snaps), [8, 6, 5, 4, 2, 1]);
    assert_eq!(retained.unusable.iter().map(|u| u.id).collect::<Vec<_>>(), [id(7)]);
    drop((reader, pin));
    let retained = snaps.retain(u64::MAX).unwrap();
    assert_eq!((indexes_of(&retained.removed), retained.pinned.len()), (vec![1, 2, 4], 0));
    let listing = snaps.list().unwrap();
    assert_eq!(indexes_of(&listing.usable), [8, 6, 5]);
    assert_eq!(listing.unusable.iter().map(|u| u.id).collect::<Vec<_>>(), [id(7)]);
    assert!(snaps.retain(u64::MAX).unwrap().removed.is_empty());
    let left = open(&disk.power_cut(&mut KeepNothing));
    assert_eq!(indexes(&left), [8, 6, 5], "removals are durable");
}

#[test]
fn clean_up_takes_temporary_files_and_useless_transfers_and_nothing_else() {
    let disk = disk(1);
    let snaps = open(&disk);
    write(&snaps, 20, 100).unwrap();
    for index in [10, 20, 30, 40] {
        drop(snaps.receiver(&announcement(index, 100)).unwrap());
    }
    let tmp = format!("{}-00000000000000ff.tmp", id(50));
    disk.write_file(Path::new(DIR).join(&tmp), b"left over");
    disk.write_file(Path::new(DIR).join("notes.txt"), b"somebody's");
    disk.plant_special(Path::new(DIR).join(format!("{}-00000000000000fe.tmp", id(50))));
    let removed: Vec<_> = snaps.clean_up().unwrap().iter().map(ToString::to_string).collect();
    let parts = [10, 20, 30].map(|index| format!("{}.part", id(index)));
    assert_eq!(removed, [&[tmp], &parts[..]].concat());
    let listing = snaps.list().unwrap();
    assert_eq!((listing.parts, listing.temporary.len()), (vec![id(40)], 0));
    assert_eq!(listing.foreign.len(), 2);
}

#[test]
fn a_file_of_another_node_cluster_name_or_version_is_refused_with_both_named() {
    let disk = disk(1);
    let snaps = open(&disk);
    let info = write(&snaps, 5, 100).unwrap();
    for other in [Identity { cluster_id: 2, ..IDENTITY }, Identity { node_id: 2, ..IDENTITY }] {
        let theirs = SnapDir::open(disk.clone(), DIR, &Options::new(other)).unwrap();
        let error = theirs.list().unwrap().unusable.remove(0).error;
        assert!(matches!(error, Error::IdentityMismatch { .. }), "{error}");
        assert_eq!(theirs.newest_usable().unwrap(), None);
        // It is not theirs to move away either.
        let error = write(&theirs, 5, 100).unwrap_err();
        assert!(matches!(error, Error::IdentityMismatch { .. }), "{error}");
    }
    disk.rename(&path(5), &path(6)).unwrap();
    let Error::Corrupt(c) = snaps.find(id(6)).unwrap_err() else { panic!("it was renamed") };
    assert_eq!(c.kind, CorruptKind::Name);
    assert!(c.expected.contains("index 6") && c.found.contains("index 5"), "{c}");
    let error = snaps.verify(&info).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[test]
fn links_and_fifos_under_a_snapshots_name_are_refused_and_left_alone() {
    let disk = disk(1);
    let snaps = open(&disk);
    disk.plant_special(path(5));
    disk.plant_special(Path::new(DIR).join(format!("{}.part", id(6))));
    let error = snaps.list().unwrap().unusable.remove(0).error;
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    for error in [
        write(&snaps, 5, 100).unwrap_err(),
        receive(&snaps, 5, 100).unwrap_err(),
        snaps.quarantine(id(5)).unwrap_err(),
        snaps.receiver(&announcement(6, 100)).unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    }
}

#[test]
fn quarantine_moves_a_file_aside_durably_and_readers_go_on() {
    let disk = disk(1);
    let snaps = open(&disk);
    let info = write(&snaps, 5, 700).unwrap();
    let mut reader = snaps.reader(&info).unwrap();
    let to = snaps.quarantine(id(5)).unwrap();
    assert!(to.to_str().unwrap().ends_with(".snap.broken"));
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, data(5, 700));
    let error = snaps.quarantine(id(5)).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let left = open(&disk.power_cut(&mut KeepNothing)).list().unwrap();
    assert_eq!((left.usable.len(), left.broken.len()), (0, 1));
}

#[test]
fn a_read_only_directory_is_read_and_nothing_else() {
    let disk = disk(1);
    let error = SnapDir::open_read_only(disk.clone(), DIR, None).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let info = write(&open(&disk), 5, 700).unwrap();
    let disk = disk.fork();
    disk.set_trace(true);
    let snaps = SnapDir::open_read_only(disk.clone(), DIR, None).unwrap();
    assert_eq!(snaps.list().unwrap().usable, std::slice::from_ref(&info));
    assert_eq!(read(&snaps, &info).unwrap(), data(5, 700));
    snaps.verify(&info).unwrap();
    let errors = [
        snaps.writer(&meta(6)).map(drop).unwrap_err(),
        snaps.receiver(&announcement(6, 1)).map(drop).unwrap_err(),
        snaps.retain(u64::MAX).map(drop).unwrap_err(),
        snaps.clean_up().map(drop).unwrap_err(),
        snaps.quarantine(id(5)).map(drop).unwrap_err(),
    ];
    assert!(errors.iter().all(|e| matches!(e, Error::ReadOnly { .. })), "{errors:?}");
    let looks = [Op::List, Op::Open, Op::Read, Op::Stat];
    assert!(disk.take_trace().iter().all(|call| looks.contains(&call.op)));
}

#[test]
fn opening_changes_nothing_but_makes_the_directory() {
    let disk = disk(1);
    open(&disk);
    let left = disk.power_cut(&mut KeepNothing);
    assert!(left.list(Path::new(DIR)).unwrap().is_empty(), "it is durable");
    disk.write_file(Path::new(DIR).join("0.snap"), b"foreign");
    disk.write_file(path(5), b"damaged");
    disk.write_file(Path::new(DIR).join(format!("{}-00000000000000ff.tmp", id(50))), b"");
    let before = disk.fingerprint();
    open(&disk).list().unwrap();
    assert_eq!(disk.fingerprint(), before);
    let error = SnapDir::open(disk, "/none/snap", &options()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn names_are_read_as_they_are_written_and_nothing_else_is_a_name() {
    let id = id(0x1234);
    let names = [
        SnapName::Snapshot(id),
        SnapName::Part(id),
        SnapName::Temporary(id, 7),
        SnapName::Broken(id, 1),
        SnapName::Broken(id, 2),
        SnapName::Broken(id, u32::MAX),
    ];
    for name in names {
        assert_eq!(SnapName::parse(&name.to_string()), Some(name), "{name}");
    }
    let snap = SnapName::Snapshot(id).to_string();
    let wrong = [
        String::new(),
        snap.to_uppercase(),
        snap[1..].to_owned(),
        format!("{snap}x"),
        format!("{snap}.1.broken"),
        format!("{snap}.02.broken"),
        format!("{snap}.+2.broken"),
        format!("{snap}.4294967296.broken"),
        snap.replace(".snap", "-7.tmp"),
        snap.replace(".snap", ".tmp"),
        snap.replace('1', "\u{e9}"),
        snap.replace("00000000000001d3-", "00000000000001d3\u{e9}"),
    ];
    for name in wrong {
        assert_eq!(SnapName::parse(&name), None, "{name}");
    }
}
