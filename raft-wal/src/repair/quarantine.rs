//! Setting files aside before a repair gives up what is in them.
//!
//! A copy gets a number that no name in `quarantine/` has, is written under a temporary name,
//! synced, renamed, and its name synced. Nothing in the directory is ever overwritten or removed,
//! but for the unfinished copy of a run that has no room for it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_vfs::{Access, FileKind, Vfs, VfsFile, VfsFileExt};

use crate::error::{Error, Result};
use crate::paths::{Paths, io_error, is_no_space};

/// What is copied at once.
const STEP: u64 = 1 << 20;

/// A file that a repair sets aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetAside {
    /// The file. It stays where it is.
    pub from: PathBuf,
    /// The copy, below `quarantine/`.
    pub to: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// Whether it is damaged, or sound and given up.
    pub is_damaged: bool,
}

/// Names for copies of `files`, each with whether it is damaged. Changes nothing.
///
/// # Errors
/// [`Error::Io`]; also if `quarantine` is not a directory of its own.
pub(super) fn plan<V: Vfs>(
    vfs: &V,
    paths: &Paths,
    files: impl IntoIterator<Item = (PathBuf, bool)>,
) -> Result<Vec<SetAside>> {
    let mut taken = names(vfs, paths)?;
    let dir = dir_of(paths);
    let mut all = Vec::new();
    for (from, is_damaged) in files {
        let file = vfs.open(&from, Access::Read).map_err(|e| io_error("open", &from, None, e))?;
        let bytes = file.len().map_err(|e| io_error("stat", &from, None, e))?;
        let stem = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let free = |n: &u64| {
            let name = format!("{stem}.{n}");
            !taken.contains(&format!("{name}.part")) && !taken.contains(&name)
        };
        // There are more numbers than names.
        let Some(n) = (1..=taken.len() as u64 + 1).find(free) else { continue };
        let name = format!("{stem}.{n}");
        taken.insert(name.clone());
        all.push(SetAside { from, to: dir.join(name), bytes, is_damaged });
    }
    Ok(all)
}

/// Makes the copies, each durable with its name before the next. Blocks for the writing and two
/// syncs a file.
///
/// # Errors
/// [`Error::NoSpace`] and [`Error::Io`]; the log is as it was.
pub(super) fn copy<V: Vfs>(vfs: &V, paths: &Paths, files: &[SetAside]) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let dir = dir_of(paths);
    match vfs.create_dir(&dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(fault("create", &dir, e));
        }
        _ => {}
    }
    // Also where it exists: an earlier run may have died before this.
    vfs.sync_dir(&paths.dir).map_err(|e| fault("sync directory", &paths.dir, e))?;
    for file in files {
        copy_one(vfs, &dir, file)?;
    }
    Ok(())
}

fn copy_one<V: Vfs>(vfs: &V, dir: &Path, file: &SetAside) -> Result<()> {
    let mut part = file.to.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let from = vfs.open(&file.from, Access::Read).map_err(|e| fault("open", &file.from, e))?;
    let to = vfs.create_excl(&part).map_err(|e| fault("create", &part, e))?;
    let written = copy_bytes(&from, &file.from, &to, &part, file.bytes);
    if let Err(e) = written {
        // Gives the room back; what cannot be removed has a name that says what it is.
        let _ = vfs.remove(&part);
        return Err(e);
    }
    refuse_taken(vfs, &file.to)?;
    vfs.rename(&part, &file.to).map_err(|e| fault("rename", &part, e))?;
    vfs.sync_dir(dir).map_err(|e| fault("sync directory", dir, e))
}

fn copy_bytes<F: VfsFile>(
    from: &F,
    from_path: &Path,
    to: &F,
    to_path: &Path,
    len: u64,
) -> Result<()> {
    let mut buf = vec![0; len.min(STEP) as usize];
    let mut at = 0;
    while at < len {
        let n = (len - at).min(STEP) as usize;
        let read = from.read_exact_at(&mut buf[..n], at);
        read.map_err(|e| io_error("read", from_path, Some(at), e))?;
        to.write_all_at(&buf[..n], at).map_err(|e| fault("write", to_path, e))?;
        at += n as u64;
    }
    to.sync_data().map_err(|e| fault("sync", to_path, e))
}

/// A rename would replace what is there.
fn refuse_taken<V: Vfs>(vfs: &V, path: &Path) -> Result<()> {
    match vfs.open(path, Access::Read) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(fault("rename a copy to", path, io::ErrorKind::AlreadyExists.into())),
        Err(e) => Err(fault("look at", path, e)),
    }
}

fn dir_of(paths: &Paths) -> PathBuf {
    paths.dir.join("quarantine")
}

/// What stands in `quarantine/`, which must be a directory of its own.
fn names<V: Vfs>(vfs: &V, paths: &Paths) -> Result<BTreeSet<String>> {
    let entries = vfs.list(&paths.dir).map_err(|e| io_error("list", &paths.dir, None, e))?;
    let dir = dir_of(paths);
    let Some(it) = entries.into_iter().find(|e| e.name == "quarantine") else {
        return Ok(BTreeSet::new());
    };
    if it.kind != FileKind::Dir {
        let what = io::Error::new(io::ErrorKind::NotADirectory, "not a directory of its own");
        return Err(io_error("list", &dir, None, what));
    }
    let entries = vfs.list(&dir).map_err(|e| io_error("list", &dir, None, e))?;
    Ok(entries.into_iter().map(|e| e.name.to_string_lossy().into_owned()).collect())
}

fn fault(op: &'static str, path: &Path, e: io::Error) -> Error {
    if is_no_space(&e) {
        Error::NoSpace { what: "a copy in quarantine", source: Arc::new(e) }
    } else {
        io_error(op, path, None, e)
    }
}
