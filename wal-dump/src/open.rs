//! Tells what kind of log a path is.

use std::io;
use std::path::Path;

use raft_vfs::{DirEntry, FileKind, Vfs};

use crate::source::{Failure, Source};
use crate::{etcd, native};

/// Opens the log at `path`, whichever kind it is.
///
/// A directory with a file `IDENT`, or segments named as raft-wal does, is native; all else is
/// left to the etcd reader, which says what it expected if it finds nothing.
pub(crate) fn open<V: Vfs>(
    vfs: &V,
    path: &Path,
    effective: bool,
) -> Result<Box<dyn Source>, Failure> {
    match (is_native(vfs, path)?, effective) {
        (true, true) => Ok(Box::new(native::Effective::open(vfs, path)?)),
        (true, false) => Ok(Box::new(native::Physical::open(vfs, path)?)),
        (false, true) => Ok(Box::new(etcd::Effective::open(vfs, path)?)),
        (false, false) => Ok(Box::new(etcd::Physical::open(vfs, path)?)),
    }
}

fn is_native<V: Vfs>(vfs: &V, path: &Path) -> Result<bool, Failure> {
    let names = match vfs.list(path) {
        Ok(names) => names,
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Ok(native::is_segment(path)),
        Err(e) => return Err(Failure::Io(format!("cannot list {}: {e}", path.display()))),
    };
    let is_segment = |e: &DirEntry| native::is_segment(Path::new(&e.name));
    let ident = |e: &DirEntry| e.name == "IDENT" && e.kind == FileKind::File;
    if names.iter().any(|e| ident(e) || is_segment(e)) {
        return Ok(true);
    }
    // Segments whose IDENT was lost: the native reader has a word for that.
    let inner = vfs.list(&path.join("wal")).unwrap_or_default();
    Ok(inner.iter().any(is_segment))
}
