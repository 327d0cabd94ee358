//! The log directory: making it, its identity, and what is in it.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use raft_vfs::{Access, FileKind, LockError, Vfs, VfsFile, VfsFileExt};

use crate::error::{Acked, Corrupt, CorruptKind, Error, Result};
use crate::format::{HeadSlot, HeaderFault, IdentPage, PAGE, VERSION, get};
use crate::options::Options;
use crate::paths::{Paths, WalName, io_error};
use crate::report::RecoveryReport;

/// Takes the directory's lock, making the directory first if that is asked for.
pub(crate) fn lock<V: Vfs>(vfs: &V, paths: &Paths, options: &Options) -> Result<V::Lock> {
    if options.create {
        create_dirs(vfs, &paths.dir)?;
    } else if !exists(vfs, &paths.ident)? && !exists_dir(vfs, &paths.wal) {
        return Err(Error::NoLog { dir: paths.dir.clone() });
    }
    vfs.lock(&paths.lock).map_err(|e| match e {
        LockError::Held { path, holder } => Error::Locked { path, holder },
        LockError::Io { path, source } => io_error("lock", &path, None, source),
    })
}

/// Makes `dir` and its missing ancestors, each durable in its parent before the next.
pub(crate) fn create_dirs<V: Vfs>(vfs: &V, dir: &Path) -> Result<()> {
    match vfs.list(dir) {
        Ok(_) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(io_error("list", dir, None, e)),
    }
    let parent = parent_of(dir);
    if parent != dir {
        create_dirs(vfs, parent)?;
    }
    match vfs.create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(io_error("create", dir, None, e));
        }
        _ => {}
    }
    vfs.sync_dir(parent).map_err(|e| io_error("sync directory", parent, None, e))
}

fn parent_of(dir: &Path) -> &Path {
    match dir.parent() {
        Some(p) if p.as_os_str().is_empty() => Path::new("."),
        Some(p) => p,
        None => dir,
    }
}

fn exists<V: Vfs>(vfs: &V, path: &Path) -> Result<bool> {
    match vfs.open(path, Access::Read) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(io_error("open", path, None, e)),
    }
}

fn exists_dir<V: Vfs>(vfs: &V, path: &Path) -> bool {
    vfs.list(path).is_ok()
}

/// What IDENT says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ident {
    pub(crate) page: IdentPage,
    /// The newest HEAD slot; all zero if there is none.
    pub(crate) head: HeadSlot,
    /// Which page holds it: 2 or 3.
    pub(crate) head_page: u32,
}

/// Reads IDENT; `None` if there is no such file.
pub(crate) fn read_ident<V: Vfs>(
    vfs: &V,
    paths: &Paths,
    report: &mut RecoveryReport,
) -> Result<Option<Ident>> {
    let file = match vfs.open(&paths.ident, Access::Read) {
        Ok(f) => f,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("open", &paths.ident, None, e)),
    };
    let mut raw = [0; IdentPage::FILE_LEN as usize];
    let got = file.read_up_to_at(&mut raw, 0);
    let got = got.map_err(|e| io_error("read", &paths.ident, Some(0), e))?;
    if got < raw.len() {
        report.note(&paths.ident, format!("{got} bytes long, expected {}", raw.len()));
    }
    let page = identity(&paths.ident, &raw, report)?;
    let mut ident = Ident { page, head: HeadSlot::default(), head_page: 3 };
    for p in [2_u32, 3] {
        let at = p as usize * PAGE as usize;
        let blank = raw[at..at + HeadSlot::LEN].iter().all(|&b| b == 0);
        match HeadSlot::decode(&get(&raw, at), p) {
            Some(slot) if slot.uuid_half[..] == page.wal_uuid[..8] => {
                if slot.slot_no > ident.head.slot_no {
                    (ident.head, ident.head_page) = (slot, p);
                }
            }
            Some(_) => report.note(&paths.ident, format!("HEAD slot {p} is of another log")),
            None if blank => {}
            None => report.note(&paths.ident, format!("HEAD slot {p} is not valid")),
        }
    }
    Ok(Some(ident))
}

/// The identity, from either copy.
fn identity(path: &Path, raw: &[u8], report: &mut RecoveryReport) -> Result<IdentPage> {
    let copies = [0, PAGE as usize].map(|at| IdentPage::decode(&get(raw, at)));
    let unsupported = |what, found| Error::Unsupported {
        path: path.to_owned(),
        what,
        found,
        expected: VERSION.into(),
    };
    let corrupt = |expected: &str, found: &str| Corrupt {
        kind: CorruptKind::Ident,
        path: path.to_owned(),
        offset: 0,
        batch_seq: 0,
        expected: expected.into(),
        found: found.into(),
        lost: None,
        acked: Acked::Proven,
        advice: "restore IDENT from a copy of this directory; the segments are untouched",
    };
    for copy in copies {
        match copy {
            Err(HeaderFault::Version(v)) => return Err(unsupported("format version", v)),
            Err(HeaderFault::Incompat(b)) => return Err(unsupported("feature bits", b)),
            _ => {}
        }
    }
    match copies {
        [Ok(a), Ok(b)] if a == b => Ok(a),
        [Ok(_), Ok(_)] => Err(corrupt("two equal copies", "two valid ones that differ").into()),
        [Ok(a), Err(_)] | [Err(_), Ok(a)] => {
            report.note(path, "one of the two identity copies is damaged");
            Ok(a)
        }
        _ => Err(corrupt("an identity page with its checksum", "none in either copy").into()),
    }
}

/// The error for a directory that has no IDENT and is not to be made one.
pub(crate) fn no_ident(paths: &Paths, names: &Names) -> Error {
    let dir = paths.dir.clone();
    match names.segments.first() {
        Some(seq) => Error::IdentMissing { dir, found: format!("{seq:020}.seg") },
        None => Error::NoLog { dir },
    }
}

/// Makes a new log in a directory that has none, or goes on where an earlier attempt stopped.
///
/// # Errors
/// [`Error::Foreign`] or [`Error::IdentMissing`] if the directory holds something else.
pub(crate) fn init<V: Vfs>(vfs: &V, paths: &Paths, options: &Options) -> Result<Ident> {
    refuse_foreign(vfs, paths)?;
    let fault = |op, path: &Path, e| io_error(op, path, None, e);
    match vfs.create_dir(&paths.wal) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(fault("create", &paths.wal, e));
        }
        _ => {}
    }
    match vfs.remove(&paths.ident_tmp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(fault("remove", &paths.ident_tmp, e));
        }
        _ => {}
    }
    sync_ancestors(vfs, &paths.dir)?;
    let mut uuid = [0; 16];
    for half in uuid.chunks_exact_mut(8) {
        let r = vfs.random().map_err(|e| fault("random number for", &paths.ident, e))?;
        half.copy_from_slice(&r.to_le_bytes());
    }
    let identity = options.identity.unwrap_or_default();
    let page = IdentPage {
        wal_uuid: uuid,
        cluster_id: identity.cluster_id,
        node_id: identity.node_id,
        created_ms: vfs.unix_millis(),
    };
    let mut raw = vec![0; IdentPage::FILE_LEN as usize];
    for at in [0, PAGE as usize] {
        raw[at..at + IdentPage::LEN].copy_from_slice(&page.encode());
    }
    let tmp = &paths.ident_tmp;
    let file = vfs.create_excl(tmp).map_err(|e| fault("create", tmp, e))?;
    file.write_all_at(&raw, 0).map_err(|e| fault("write", tmp, e))?;
    file.sync_data().map_err(|e| fault("sync", tmp, e))?;
    vfs.rename(tmp, &paths.ident).map_err(|e| fault("rename", tmp, e))?;
    vfs.sync_dir(&paths.dir).map_err(|e| fault("sync directory", &paths.dir, e))?;
    Ok(Ident { page, head: HeadSlot::default(), head_page: 3 })
}

/// Makes the directory's own name, and those of its ancestors, durable. Whoever made them may have
/// died before syncing them; IDENT, which comes after this, says that it was done. An ancestor
/// that this process may not open, or whose file system cannot sync a directory, was there before
/// the log (what this process makes itself, it syncs in its parent without excuse).
pub(crate) fn sync_ancestors<V: Vfs>(vfs: &V, dir: &Path) -> Result<()> {
    let mut at = dir;
    loop {
        let parent = parent_of(at);
        match vfs.sync_dir(parent) {
            Err(e) if !is_not_for_us(&e) => {
                return Err(io_error("sync directory", parent, None, e));
            }
            _ => {}
        }
        if parent == at || parent == Path::new(".") {
            return Ok(());
        }
        at = parent;
    }
}

fn is_not_for_us(e: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(e.kind(), PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported)
}

/// A directory without IDENT may hold only what an unfinished creation leaves.
fn refuse_foreign<V: Vfs>(vfs: &V, paths: &Paths) -> Result<()> {
    /// Names that other parts of a node, or a file system, keep beside the log.
    const BESIDE: [&str; 7] =
        ["LOCK", "IDENT.tmp", "wal", "snap", "quarantine", "lost+found", "STORE"];
    let foreign = |found: &str| Error::Foreign { dir: paths.dir.clone(), found: found.to_owned() };
    let entries = vfs.list(&paths.dir).map_err(|e| io_error("list", &paths.dir, None, e))?;
    for e in &entries {
        let name = e.name.to_string_lossy();
        if !BESIDE.contains(&&*name) {
            return Err(foreign(&name));
        }
    }
    let wal = match vfs.list(&paths.wal) {
        Ok(l) => l,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io_error("list", &paths.wal, None, e)),
    };
    let Some(first) = wal.first() else { return Ok(()) };
    let name = first.name.to_string_lossy();
    Err(match WalName::parse(&name) {
        Some(_) => Error::IdentMissing { dir: paths.dir.clone(), found: name.into_owned() },
        None => foreign(&format!("wal/{name}")),
    })
}

/// Compares the log's identity with the one that was asked for.
pub(crate) fn check_identity(paths: &Paths, page: &IdentPage, options: &Options) -> Result<()> {
    let Some(want) = options.identity else { return Ok(()) };
    let pairs =
        [("cluster id", want.cluster_id, page.cluster_id), ("node id", want.node_id, page.node_id)];
    for (what, expected, found) in pairs {
        if expected != found {
            return Err(Error::IdentityMismatch {
                path: paths.ident.clone(),
                what,
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
    }
    Ok(())
}

/// The names in `wal/`.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) segments: BTreeSet<u64>,
    pub(crate) indexes: Vec<u64>,
    pub(crate) temporary: Vec<std::path::PathBuf>,
}

impl Names {
    /// Highest number of a segment. Index files do not count: they are a cache, and one under any
    /// name must not keep the log from going on.
    pub(crate) fn highest(&self) -> u64 {
        self.segments.last().copied().unwrap_or(0)
    }
}

/// `wal` must be a directory of its own, not a link to one: everything that a lock protects is
/// below the directory that holds the lock.
fn refuse_linked_wal<V: Vfs>(vfs: &V, paths: &Paths) -> Result<()> {
    let entries = match vfs.list(&paths.dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io_error("list", &paths.dir, None, e)),
    };
    if entries.iter().any(|e| e.name == "wal" && e.kind != FileKind::Dir) {
        let what = io::Error::new(io::ErrorKind::NotADirectory, "not a directory of its own");
        return Err(io_error("open", &paths.wal, None, what));
    }
    Ok(())
}

/// Lists `wal/`. Unknown names are noted and left alone; a name of ours that is not a regular file
/// is an error.
pub(crate) fn list<V: Vfs>(vfs: &V, paths: &Paths, report: &mut RecoveryReport) -> Result<Names> {
    refuse_linked_wal(vfs, paths)?;
    let mut names = Names::default();
    let entries = match vfs.list(&paths.wal) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(names),
        Err(e) => return Err(io_error("list", &paths.wal, None, e)),
    };
    for e in entries {
        let path = paths.wal.join(&e.name);
        let Some(name) = e.name.to_str().and_then(WalName::parse) else {
            report.note(path, "not a file of the log; left alone");
            continue;
        };
        match name {
            // Opening it will say what it is, if the log needs it.
            WalName::Segment(n) if n != 0 => {
                names.segments.insert(n);
            }
            _ if e.kind != FileKind::File => report.note(path, "not a regular file; left alone"),
            WalName::Segment(_) => report.note(path, "segment number 0 is never used; left alone"),
            WalName::Index(n) => names.indexes.push(n),
            WalName::IndexTmp(_) | WalName::Spare(_) => names.temporary.push(path),
        }
    }
    Ok(names)
}
