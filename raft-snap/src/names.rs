//! The names in a snapshot directory.

use std::fmt;

/// Index and term: which snapshot. Ordered as snapshots are: by index, then by term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapId {
    /// Last index that the snapshot covers.
    pub index: u64,
    /// Its term.
    pub term: u64,
}

impl fmt::Display for SnapId {
    /// The beginning of the file's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.term, self.index)
    }
}

/// A name that this software gives. `{id}` is `{term:016x}-{index:016x}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SnapName {
    /// `{id}.snap`: a snapshot.
    Snapshot(SnapId),
    /// `{id}.part`: a transfer that is not complete. It can be resumed.
    Part(SnapId),
    /// `{id}-{nonce:016x}.tmp`: a snapshot that is being written.
    Temporary(SnapId, u64),
    /// `{id}.snap.broken`, or from the second on `{id}.snap.{n}.broken`: quarantined.
    Broken(SnapId, u32),
}

impl SnapName {
    /// Reads a file name; `None` if it is nobody's business here.
    pub fn parse(name: &str) -> Option<Self> {
        let id = parse_id(name.get(..33)?)?;
        match name.get(33..)? {
            ".snap" => Some(Self::Snapshot(id)),
            ".part" => Some(Self::Part(id)),
            ".snap.broken" => Some(Self::Broken(id, 1)),
            rest => {
                if let Some(nonce) = rest.strip_prefix('-').and_then(|r| r.strip_suffix(".tmp")) {
                    return parse_hex(nonce).map(|nonce| Self::Temporary(id, nonce));
                }
                let number = rest.strip_prefix(".snap.")?.strip_suffix(".broken")?;
                let n: u32 = number.parse().ok().filter(|n| *n >= 2)?;
                // One file, one name: no leading zeros or signs.
                (n.to_string() == number).then_some(Self::Broken(id, n))
            }
        }
    }
}

impl fmt::Display for SnapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(id) => write!(f, "{id}.snap"),
            Self::Part(id) => write!(f, "{id}.part"),
            Self::Temporary(id, nonce) => write!(f, "{id}-{nonce:016x}.tmp"),
            Self::Broken(id, 0 | 1) => write!(f, "{id}.snap.broken"),
            Self::Broken(id, n) => write!(f, "{id}.snap.{n}.broken"),
        }
    }
}

fn parse_id(id: &str) -> Option<SnapId> {
    let (term, index) = id.split_once('-')?;
    Some(SnapId { term: parse_hex(term)?, index: parse_hex(index)? })
}

/// 16 lower-case hexadecimal digits.
fn parse_hex(s: &str) -> Option<u64> {
    let digits = s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if s.len() == 16 && digits { u64::from_str_radix(s, 16).ok() } else { None }
}
