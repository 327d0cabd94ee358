//! Where inputs come from: the logs kept with the tests, and what etcd's writer makes.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use etcd_reader::writer::{Writer, write_snap};
use etcd_reader::{ConfState, Entry, EntryKind, HardState, Marker};
use raft_vfs::{Access, FileKind, OsVfs, SimVfs, Vfs, VfsFile as _, VfsFileExt as _};

use crate::image::Image;
use crate::native::FIRST_FRAME;

/// An input and its name.
pub type Seed = (String, Vec<u8>);

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Reads a whole file.
///
/// # Errors
/// The system's.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = OsVfs.open(path, Access::Read)?;
    let mut bytes = vec![0; file.len()? as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// All files below `dir`, by relative path.
fn files(dir: &Path, below: &str, image: &mut Image) -> io::Result<()> {
    for entry in OsVfs.list(&dir.join(below))? {
        let name = Path::new(below).join(&entry.name).display().to_string();
        match entry.kind {
            FileKind::Dir => files(dir, &name, image)?,
            FileKind::File => {
                let bytes = read(&dir.join(&name))?;
                image.files.push((name.into_bytes(), bytes));
            }
            FileKind::Other => {}
        }
    }
    Ok(())
}

/// The files of a directory as an image.
///
/// # Errors
/// The system's.
pub fn directory(dir: &Path) -> io::Result<Image> {
    let mut image = Image::default();
    files(dir, "", &mut image)?;
    Ok(image)
}

/// The logs kept with raft-wal's tests, sound and damaged.
///
/// # Errors
/// The system's.
pub fn kept_logs() -> io::Result<Vec<(String, Image)>> {
    let root = workspace().join("raft-wal/tests/fixtures");
    let mut logs = Vec::new();
    for kind in ["v1", "v1-damaged"] {
        for entry in OsVfs.list(&root.join(kind))? {
            let name = entry.name.to_string_lossy().into_owned();
            let image = directory(&root.join(kind).join(&name).join("log"))?;
            logs.push((format!("{kind}-{name}"), image));
        }
    }
    Ok(logs)
}

/// For [`crate::targets::record_decode`]: the frames of each kept segment.
///
/// # Errors
/// The system's.
pub fn record_decode() -> io::Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    for (log, image) in kept_logs()? {
        for (i, (name, bytes)) in image.files.iter().enumerate() {
            if !name.ends_with(b".seg") || bytes.len() <= FIRST_FRAME {
                continue;
            }
            let used = bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
            let end = (used.max(FIRST_FRAME) + 64).min(bytes.len());
            let input = [&bytes[20..24], &[0], &bytes[FIRST_FRAME..end]].concat();
            seeds.push((format!("{log}-{i}"), input));
        }
    }
    Ok(seeds)
}

/// For [`crate::targets::segment_open`]: each host's own segment.
///
/// # Errors
/// The system's.
pub fn segment_open() -> io::Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    for (n, host) in crate::targets::hosts().iter().enumerate() {
        let own = host.image.files.iter().find(|(name, _)| name == host.segment.as_bytes());
        let file = own.map(|(_, bytes)| (host.segment.as_bytes().to_vec(), bytes.clone()));
        let image = Image { files: file.into_iter().collect() };
        seeds.push((format!("host-{n}"), [&[n as u8][..], &image.encode()].concat()));
    }
    Ok(seeds)
}

/// For [`crate::targets::dir_open`]: the kept logs.
///
/// # Errors
/// The system's.
pub fn dir_open() -> io::Result<Vec<Seed>> {
    let logs = kept_logs()?.into_iter().enumerate();
    let seed = |(n, (name, image)): (usize, (String, Image))| {
        (name, [&[n as u8][..], &image.encode()].concat())
    };
    Ok(logs.map(seed).collect())
}

/// For [`crate::targets::etcd_dir`]: the directory kept with etcd-reader's tests, and small ones
/// of every sort.
///
/// # Errors
/// The system's.
///
/// # Panics
/// If etcd's writer fails on a simulated disk.
pub fn etcd_dir() -> io::Result<Vec<Seed>> {
    let kept = directory(&workspace().join("etcd-reader/tests/fixtures/small"))?;
    let mut seeds = vec![("kept".to_owned(), kept.encode())];
    for (name, make) in ETCD_LOGS {
        let disk = SimVfs::new(1);
        for dir in ["/data", "/data/member", "/data/member/wal", "/data/member/snap"] {
            disk.create_dir(Path::new(dir))?;
        }
        make(&disk).expect("a sound disk");
        let mut image = Image::default();
        for path in disk.paths() {
            let name = path.strip_prefix("/data").expect("everything is below").display();
            let bytes = disk.read_file(&path).expect("listed");
            image.files.push((name.to_string().into_bytes(), bytes));
        }
        seeds.push((name.to_owned(), image.encode()));
    }
    Ok(seeds)
}

/// For [`crate::targets::api_ops`]: noise, which means operations like anything else.
///
/// # Errors
/// None.
pub fn api_ops() -> io::Result<Vec<Seed>> {
    Ok(noise())
}

/// For [`crate::targets::raft_step`]: noise, too.
///
/// # Errors
/// None.
pub fn raft_step() -> io::Result<Vec<Seed>> {
    Ok(noise())
}

fn noise() -> Vec<Seed> {
    let noise = |seed: u64| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let bytes = (0..rng.usize(100..800)).map(|_| rng.u8(..)).collect();
        (format!("noise-{seed}"), bytes)
    };
    (0..40).map(noise).collect()
}

type Maker = fn(&SimVfs) -> Result<(), etcd_reader::Error>;

const WAL: &str = "/data/member/wal";
const SNAP: &str = "/data/member/snap";

/// etcd logs in a few records.
const ETCD_LOGS: [(&str, Maker); 5] = [
    ("one-segment", |disk| {
        let mut w = Writer::create(disk.clone(), WAL.as_ref(), b"node and cluster")?;
        run(&mut w, 1, 1..=4)?;
        w.extend(4096)
    }),
    ("segments", |disk| {
        let mut w = Writer::create(disk.clone(), WAL.as_ref(), b"m")?;
        for first in [1, 4, 7] {
            run(&mut w, first, first..=first + 2)?;
            w.cut()?;
        }
        run(&mut w, 8, 10..=10)
    }),
    ("overwritten", |disk| {
        let mut w = Writer::create(disk.clone(), WAL.as_ref(), b"m")?;
        run(&mut w, 1, 1..=3)?;
        for index in 4..=8 {
            w.entry(&entry(2, index))?;
        }
        run(&mut w, 3, 5..=6)
    }),
    ("snapshots", |disk| {
        let mut w = Writer::create(disk.clone(), WAL.as_ref(), b"m")?;
        run(&mut w, 2, 1..=5)?;
        let conf_state = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
        write_snap(disk, SNAP.as_ref(), (2, 4), &conf_state, b"the state at 4")?;
        w.marker(&Marker { index: 4, term: 2, conf_state: Some(conf_state.clone()) })?;
        run(&mut w, 2, 6..=7)?;
        w.cut()?;
        write_snap(disk, SNAP.as_ref(), (5, 20), &conf_state, b"received")?;
        w.marker(&Marker { index: 20, term: 5, conf_state: Some(conf_state) })?;
        w.hard_state(HardState { term: 5, vote: 0, commit: 20 })?;
        run(&mut w, 5, 21..=22)
    }),
    ("begun", |disk| Writer::create(disk.clone(), WAL.as_ref(), b"").map(drop)),
];

fn entry(term: u64, index: u64) -> Entry {
    let kind = if index % 5 == 2 { EntryKind::ConfChangeV2 } else { EntryKind::Normal };
    let data = if index.is_multiple_of(4) { Bytes::new() } else { vec![index as u8; 20].into() };
    Entry { index, term, kind, data }
}

/// Entries, each with the hard state that commits it.
fn run(
    w: &mut Writer<SimVfs>,
    term: u64,
    indexes: std::ops::RangeInclusive<u64>,
) -> Result<(), etcd_reader::Error> {
    for index in indexes {
        w.entry(&entry(term, index))?;
        w.hard_state(HardState { term, vote: 1, commit: index })?;
    }
    Ok(())
}
