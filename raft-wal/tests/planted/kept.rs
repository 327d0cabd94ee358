//! The kept logs: written again, and opened again, in the thread that asks for it.

#[path = "../golden/listing.rs"]
mod listing;
#[path = "../golden/logs.rs"]
mod logs;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use raft_vfs::SimVfs;
use raft_wal::{Error, Wal};

use self::logs::{DIR, LOGS, options};

type Files = BTreeMap<String, Vec<u8>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn files_of(dir: &Path) -> Files {
    let mut files = Files::new();
    for sub in ["", "wal"] {
        let Ok(entries) = fs::read_dir(dir.join(sub)) else { continue };
        for e in entries.map(Result::unwrap).filter(|e| e.file_type().unwrap().is_file()) {
            let name = Path::new(sub).join(e.file_name()).display().to_string();
            files.insert(name, fs::read(e.path()).unwrap());
        }
    }
    files
}

/// Today's code writes these bytes.
pub(crate) fn write() -> Result<(), String> {
    for log in &LOGS {
        let disk = log.make();
        let kept = files_of(&root().join("v1").join(log.name).join("log"));
        for (name, bytes) in &kept {
            if disk.read_file(format!("{DIR}/{name}")).as_ref() != Some(bytes) {
                return Err(format!("{}: {name} is written differently", log.name));
            }
        }
    }
    Ok(())
}

fn outcome(disk: &SimVfs) -> String {
    let dir = Path::new(DIR);
    match Wal::open(disk.clone(), dir, &options()) {
        Ok((wal, report)) => listing::contents(&wal) + &listing::report(dir, &report),
        Err(e) if matches!(e, Error::Corrupt(_)) => {
            let degraded = Wal::open_degraded(disk.clone(), dir, &options());
            let degraded = degraded.map_or(String::new(), |d| listing::degraded(&d));
            listing::error(dir, &e) + &degraded
        }
        Err(e) => listing::error(dir, &e),
    }
}

/// Every kept log, sound or damaged, opens as expected.
pub(crate) fn open() -> Result<(), String> {
    for kind in ["v1", "v1-damaged"] {
        for case in fs::read_dir(root().join(kind)).unwrap() {
            let case = case.unwrap().path();
            let disk = SimVfs::new(7);
            for (name, bytes) in files_of(&case.join("log")) {
                disk.write_file(format!("{DIR}/{name}"), &bytes);
            }
            let expected = fs::read_to_string(case.join("expected.txt")).unwrap();
            let found = outcome(&disk);
            if found != expected {
                let differs = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
                return Err(format!("{}: {differs:?}", case.display()));
            }
        }
    }
    Ok(())
}
