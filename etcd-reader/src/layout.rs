//! Which files a path stands for.
//!
//! ```text
//! DATA/member/wal/SEQ-INDEX.wal      DATA/member/snap/TERM-INDEX.snap
//! DIR/wal/SEQ-INDEX.wal              DIR/snap/TERM-INDEX.snap
//! DIR/SEQ-INDEX.wal                  (a wal directory of its own)
//! SEQ-INDEX.wal                      (one segment)
//! TERM-INDEX.snap                    (one snapshot file)
//! ```
//!
//! All numbers in names are sixteen lower-case hexadecimal digits. Copies that etcd sets aside
//! (`.broken`), its prepared segments (`N.tmp`) and the backend (`db`) are no part of the log.

use std::io;
use std::path::{Path, PathBuf};

use raft_vfs::{DirEntry, FileKind, Vfs};

use crate::Error;

/// A segment's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentName {
    /// Place in the log, from 0.
    pub seq: u64,
    /// The first index that could stand in the segment when it was begun.
    pub index: u64,
    /// The file's name.
    pub name: String,
}

impl SegmentName {
    /// Reads a name `SEQ-INDEX.wal`.
    pub fn parse(name: &str) -> Option<Self> {
        let (seq, index) = parse_pair(name.strip_suffix(".wal")?)?;
        Some(Self { seq, index, name: name.to_owned() })
    }

    /// The name of segment `seq` whose first index is `index`.
    pub fn new(seq: u64, index: u64) -> Self {
        Self { seq, index, name: format!("{seq:016x}-{index:016x}.wal") }
    }
}

/// A snapshot file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapName {
    /// Term of the last entry covered.
    pub term: u64,
    /// Index of the last entry covered.
    pub index: u64,
    /// The file's name.
    pub name: String,
}

impl SnapName {
    /// Reads a name `TERM-INDEX.snap`.
    pub fn parse(name: &str) -> Option<Self> {
        let (term, index) = parse_pair(name.strip_suffix(".snap")?)?;
        Some(Self { term, index, name: name.to_owned() })
    }

    /// The name of the snapshot file of everything up to `term`/`index`.
    pub fn new(term: u64, index: u64) -> Self {
        Self { term, index, name: format!("{term:016x}-{index:016x}.snap") }
    }
}

/// Reads two numbers of sixteen lower-case hexadecimal digits with a hyphen between them.
fn parse_pair(text: &str) -> Option<(u64, u64)> {
    let number = |digits: &str| {
        let right = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (digits.len() == 16 && digits.bytes().all(right))
            .then(|| u64::from_str_radix(digits, 16).ok())?
    };
    let (a, b) = text.split_once('-')?;
    Some((number(a)?, number(b)?))
}

/// The files of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Where the segments are.
    pub wal_dir: PathBuf,
    /// Where the snapshot files are, if the path has such a directory.
    pub snap_dir: Option<PathBuf>,
    /// The segments in log order.
    pub segments: Vec<SegmentName>,
    /// The snapshot files in order of term and index.
    pub snaps: Vec<SnapName>,
    /// Names like those of segments or snapshots that are no regular files.
    pub not_files: Vec<String>,
    /// Names that were passed over.
    pub ignored: Vec<String>,
    /// Whether the path is one file, which says nothing of the files before and behind it.
    pub single: bool,
}

impl Layout {
    /// Finds out what `path` is and lists its files. Opens none of them.
    ///
    /// # Errors
    /// [`Error::NotEtcd`] if it is none of the layouts above, [`Error::Io`] if it cannot be
    /// listed.
    pub fn detect<V: Vfs>(vfs: &V, path: &Path) -> Result<Self, Error> {
        let entries = match vfs.list(path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Self::one_file(path),
            Err(e) => return Err(Error::io("list", path, e)),
        };
        let has = |entries: &[DirEntry], name: &str| {
            entries.iter().any(|e| e.name == name && e.kind != FileKind::File)
        };
        if has(&entries, "member") {
            let member = path.join("member");
            let inner = vfs.list(&member).map_err(|e| Error::io("list", &member, e))?;
            if has(&inner, "wal") || has(&inner, "snap") {
                return Self::two_dirs(vfs, &member, &inner);
            }
        }
        if has(&entries, "wal") {
            return Self::two_dirs(vfs, path, &entries);
        }
        let mut layout = Self { wal_dir: path.to_path_buf(), ..Self::default() };
        layout.add(&entries);
        if layout.segments.is_empty() && layout.snaps.is_empty() && layout.not_files.is_empty() {
            return Err(Error::NotEtcd { path: path.to_path_buf(), found: describe(&entries) });
        }
        if !layout.snaps.is_empty() {
            layout.snap_dir = Some(path.to_path_buf());
        }
        Ok(layout)
    }

    /// A path to one segment or snapshot file.
    fn one_file(path: &Path) -> Result<Self, Error> {
        let not_etcd = |found: &str| Error::NotEtcd {
            path: path.to_path_buf(),
            found: format!("a file {found}"),
        };
        let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(|| not_etcd("unnamed"))?;
        let dir = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let mut layout = Self { wal_dir: dir.clone(), single: true, ..Self::default() };
        if let Some(snap) = SnapName::parse(name) {
            layout.snap_dir = Some(dir);
            layout.snaps.push(snap);
        } else if let Some(segment) = SegmentName::parse(name) {
            layout.segments.push(segment);
        } else {
            return Err(not_etcd("whose name is not one of etcd's"));
        }
        Ok(layout)
    }

    /// A directory that holds `wal` and perhaps `snap`.
    fn two_dirs<V: Vfs>(vfs: &V, dir: &Path, entries: &[DirEntry]) -> Result<Self, Error> {
        let mut layout = Self { wal_dir: dir.join("wal"), ..Self::default() };
        if entries.iter().any(|e| e.name == "wal") {
            let list = vfs.list(&layout.wal_dir);
            layout.add(&list.map_err(|e| Error::io("list", &layout.wal_dir, e))?);
        }
        if layout.segments.is_empty() && layout.not_files.is_empty() {
            return Err(Error::NotEtcd {
                path: dir.to_path_buf(),
                found: "no segment in wal/: no log was ever begun here, or it is gone".to_owned(),
            });
        }
        if entries.iter().any(|e| e.name == "snap") {
            let snap_dir = dir.join("snap");
            layout.add(&vfs.list(&snap_dir).map_err(|e| Error::io("list", &snap_dir, e))?);
            layout.snap_dir = Some(snap_dir);
        }
        Ok(layout)
    }

    /// Sorts the names of one directory into the layout.
    fn add(&mut self, entries: &[DirEntry]) {
        for entry in entries {
            let name = entry.name.to_string_lossy().into_owned();
            let segment = SegmentName::parse(&name);
            let snap = SnapName::parse(&name);
            match (segment, snap, entry.kind) {
                (Some(segment), _, FileKind::File) => self.segments.push(segment),
                (_, Some(snap), FileKind::File) => self.snaps.push(snap),
                (Some(_), ..) | (_, Some(_), _) => self.not_files.push(name),
                _ if is_etcds_own(&name) => {}
                _ => self.ignored.push(name),
            }
        }
        self.segments.sort_unstable_by_key(|s| (s.seq, s.index));
        self.snaps.sort_unstable_by_key(|s| (s.term, s.index));
    }
}

/// Whether a name is one that etcd leaves beside its log in everyday work.
#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "etcd's names are exact")]
fn is_etcds_own(name: &str) -> bool {
    name == "db" || name.ends_with(".tmp") || name.ends_with(".snap.db") || name == ".touch"
}

/// The first few names, for a message.
fn describe(entries: &[DirEntry]) -> String {
    let escape = |e: &DirEntry| e.name.to_string_lossy().escape_debug().to_string();
    let names: Vec<String> = entries.iter().take(4).map(escape).collect();
    match (names.len(), entries.len()) {
        (0, _) => "an empty directory".to_owned(),
        (shown, all) if shown < all => format!("{} and {} more", names.join(", "), all - shown),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sixteen_lower_case_digits_each() {
        let name = "0000000000000005-00000000000002d4.wal";
        let parsed = SegmentName::parse(name).unwrap();
        assert_eq!((parsed.seq, parsed.index), (5, 0x2d4));
        assert_eq!(SegmentName::new(5, 0x2d4), parsed);
        let snap = SnapName::new(0x19, 0x332);
        assert_eq!(snap.name, "0000000000000019-0000000000000332.snap");
        assert_eq!(SnapName::parse(&snap.name), Some(snap));
        for bad in [
            "0000000000000005-00000000000002D4.wal",
            "0000000000000005-00000000000002d4.wal.broken",
            "0000000000000005-00000000000002d4.snap",
            "5-2d4.wal",
            "+000000000000005-00000000000002d4.wal",
            "0000000000000005_00000000000002d4.wal",
            "0.tmp",
            "",
        ] {
            assert_eq!(SegmentName::parse(bad), None, "{bad}");
        }
    }
}
