//! Whether a directory is one that the script may have left.

use std::collections::BTreeSet;
use std::path::Path;

use raft_snap::{Error, SnapDir};
use raft_vfs::sim::KeepNothing;
use raft_vfs::{SimVfs, Vfs};

use crate::scripts::{LEN, Script, damaged_bytes, leftover, places};
use crate::support::{DIR, data, id, open, options, read};

/// What must not be, in words.
pub(crate) type Outcome = Result<(), String>;

/// Judges what is seen through `snaps`: nothing that is listed as usable does not verify, nothing
/// is unusable but what was, and what is usable is within the bounds.
pub(crate) fn visible(
    snaps: &SnapDir<SimVfs>,
    damaged: Option<u64>,
    (must, may): &(BTreeSet<u64>, BTreeSet<u64>),
) -> Outcome {
    let listing = snaps.list().map_err(|e| format!("REFUSED list: {e}"))?;
    let mut seen = BTreeSet::new();
    for info in &listing.usable {
        let index = info.meta.index;
        match (snaps.verify(info), read(snaps, info)) {
            (Ok(()), Ok(bytes)) if bytes == data(index, LEN) => {
                seen.insert(index);
            }
            (Ok(()), Ok(_)) => return Err(format!("ILLEGAL {index} is usable with other data")),
            // Whose chunks are damaged shows only here.
            (Err(Error::Corrupt(_)), Err(Error::Corrupt(_))) if damaged == Some(index) => {}
            (verified, read) => {
                let read = read.map(|_| "some bytes");
                return Err(format!("ILLEGAL {index} is usable: {verified:?}, {read:?}"));
            }
        }
    }
    if let Some(unusable) = listing.unusable.first() {
        return Err(format!("ILLEGAL {} is there: {}", unusable.id, unusable.error));
    }
    if !must.is_subset(&seen) || !seen.is_subset(may) {
        return Err(format!("ILLEGAL usable are {seen:?}, expected {must:?} to {may:?}"));
    }
    Ok(())
}

/// Judges a disk as a crash left it: opens it, looks, does the script's work, and sees whether
/// that is there for good.
pub(crate) fn crashed(script: &Script, start: &SimVfs, disk: &SimVfs, done: bool) -> Outcome {
    if !done && disk.list(Path::new(DIR)).is_err() {
        // Not made yet; to open it makes it.
        assert!(script.from_scratch, "an existing directory does not vanish");
    }
    let snaps = SnapDir::open(disk.clone(), DIR, &options());
    let snaps = snaps.map_err(|e| format!("REFUSED open: {e}"))?;
    visible(&snaps, script.damaged, &script.bounds(done))?;
    still_there(script, start, disk)?;
    snaps.clean_up().map_err(|e| format!("REFUSED clean up: {e}"))?;
    let listing = snaps.list().map_err(|e| format!("REFUSED list: {e}"))?;
    if !listing.temporary.is_empty() {
        return Err("ILLEGAL temporary files after a clean-up".into());
    }
    drop(snaps);
    (script.run)(disk).map_err(|e| format!("REFUSED the work: {e}"))?;
    settled(script, start, &disk.power_cut(&mut KeepNothing))
}

/// Judges a disk on which the script's work was done and acknowledged, after a power cut.
pub(crate) fn settled(script: &Script, start: &SimVfs, disk: &SimVfs) -> Outcome {
    if disk.read_file(leftover()).is_some() {
        return Err("ILLEGAL a temporary file that was cleaned up is back".into());
    }
    visible(&open(disk), script.damaged, &script.bounds(true))?;
    still_there(script, start, disk)
}

/// The bytes of the damaged file are somewhere: nothing is deleted in silence.
fn still_there(script: &Script, start: &SimVfs, disk: &SimVfs) -> Outcome {
    let Some(index) = script.damaged else { return Ok(()) };
    let bytes = damaged_bytes(start, index);
    let found = places(disk, index);
    if found.iter().any(|place| disk.read_file(place).as_ref() == Some(&bytes)) {
        return Ok(());
    }
    Err(format!("ILLEGAL the damaged {} is gone; there are {found:?}", id(index)))
}
