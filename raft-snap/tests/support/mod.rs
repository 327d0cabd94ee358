//! What the tests share: a directory on a simulated disk, snapshots with data that tell which they
//! are, and how a crashed directory is judged.

#![allow(dead_code, reason = "not every test target uses everything")]

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fastrand::Rng;
use raft_snap::{Announcement, Error, Identity, Options, SnapDir, SnapId, SnapInfo, SnapMeta};
use raft_vfs::{SimVfs, Vfs};

/// The snapshot directory on every simulated disk.
pub(crate) const DIR: &str = "/data/snap";
/// Length of chunks, unless a test says otherwise: the shortest.
pub(crate) const CHUNK: usize = 512;
/// Whose the snapshots are.
pub(crate) const IDENTITY: Identity = Identity { cluster_id: 0xc1, node_id: 1 };

pub(crate) fn options() -> Options {
    Options::new(IDENTITY).chunk_bytes(CHUNK as u32)
}

/// A disk on which the parent of the directory is durable.
pub(crate) fn disk(seed: u64) -> SimVfs {
    let disk = SimVfs::new(seed);
    disk.create_dir(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

pub(crate) fn open(disk: &SimVfs) -> SnapDir<SimVfs> {
    SnapDir::open(disk.clone(), DIR, &options()).unwrap()
}

/// Bytes that name the snapshot they are of.
pub(crate) fn data(index: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    Rng::with_seed(index).fill(&mut data);
    data
}

pub(crate) fn id(index: u64) -> SnapId {
    SnapId { index, term: index / 10 + 1 }
}

pub(crate) fn meta(index: u64) -> SnapMeta {
    let conf_state = Bytes::from(format!("conf state at {index}"));
    SnapMeta { index, term: id(index).term, conf_state }
}

pub(crate) fn path(index: u64) -> PathBuf {
    Path::new(DIR).join(format!("{}.snap", id(index)))
}

/// Writes a snapshot of `len` bytes.
pub(crate) fn write<V: Vfs>(snaps: &SnapDir<V>, index: u64, len: usize) -> Result<SnapInfo, Error> {
    let mut writer = snaps.writer(&meta(index))?;
    let written = writer.write_all(&data(index, len));
    written.map_err(|e| Error::of(&e).expect("every error is one of ours").clone())?;
    writer.finish()
}

pub(crate) fn read<V: Vfs>(snaps: &SnapDir<V>, info: &SnapInfo) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    let read = snaps.reader(info)?.read_to_end(&mut data);
    read.map_err(|e| Error::of(&e).expect("every error is one of ours").clone())?;
    Ok(data)
}

/// What a sender would announce of the snapshot that [`write`] makes.
pub(crate) fn announcement(index: u64, len: usize) -> Announcement {
    use sha2::{Digest as _, Sha256};
    let data_hash = Sha256::digest(data(index, len)).into();
    let data_len = len as u64;
    Announcement { meta: meta(index), data_len, data_hash, chunk_len: CHUNK as u32 }
}

/// Receives what is missing of an announced snapshot.
pub(crate) fn receive<V: Vfs>(
    snaps: &SnapDir<V>,
    index: u64,
    len: usize,
) -> Result<SnapInfo, Error> {
    let data = data(index, len);
    let mut receiver = snaps.receiver(&announcement(index, len))?;
    for (n, chunk) in data.chunks(CHUNK).enumerate().skip(receiver.next_chunk() as usize) {
        receiver.put(n as u32, chunk)?;
    }
    receiver.finish()
}

/// Indexes of the usable snapshots, newest first.
pub(crate) fn indexes<V: Vfs>(snaps: &SnapDir<V>) -> Vec<u64> {
    snaps.list().unwrap().usable.iter().map(|info| info.meta.index).collect()
}

/// The seeds of a random test: the first `count`, or what `RAFT_SNAP_SEED` says: one (`7`), or a
/// range (`0..100`).
pub(crate) fn seeds(count: u64) -> std::ops::Range<u64> {
    let Ok(wanted) = std::env::var("RAFT_SNAP_SEED") else { return 0..count };
    let number = |text: &str| text.parse::<u64>().expect("RAFT_SNAP_SEED is n or n..m");
    match wanted.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&wanted)..number(&wanted) + 1,
    }
}

/// Prints a line that stands in the test's output whether it passes or not.
pub(crate) fn announce(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
