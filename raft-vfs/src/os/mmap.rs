//! Read-only maps: the only `unsafe` of the project.
//!
//! # UNSAFE
//!
//! A `&[u8]` over a mapped file is sound only while nobody changes the mapped bytes, and safe from
//! `SIGBUS` only while the file is not shorter than the map. What makes both true here:
//!
//! 1. The length is checked by `fstat` on the same descriptor, just before mapping: a map never
//!    reaches beyond the end of its file, so no page of it is without a file behind it.
//! 2. Callers map closed segments and sealed files only, and only their live length. No process
//!    writes to a closed segment again (one writer per segment, by exclusive lock), and none
//!    shortens one below its live length. One is recycled only by the very handle that made it,
//!    and only while no map of it is held: nobody else can have mapped it, since one handle writes
//!    at a time and those that only read do not map.
//! 3. A file under a live name is never rewritten in place: a new version is a new file and a
//!    rename. Removing the name of a mapped file leaves the map whole.
//! 4. The map is private and read-only: no write through it, and no `&mut` to it, can exist.
//!
//! The hole: another process with the right to write the file can break 2, by truncating it
//! (`SIGBUS` on the next access) or by writing into it (the checksum of a record and its use may
//! see different bytes). A read error of the device also arrives as `SIGBUS`. Files are mode 0600
//! to keep strangers out. Whoever cannot rule the rest out reads with `pread` instead of maps:
//! the log's `ReadMode::Pread`.

#![allow(unsafe_code, reason = "see UNSAFE above")]

use std::fmt;
use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions};

/// A read-only map of the beginning of a file. Unmapped when dropped.
pub struct OsMap {
    map: Mmap,
}

impl OsMap {
    /// Maps the first `len` bytes of `file`.
    pub(super) fn new(file: &File, len: u64) -> io::Result<Self> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        if len == 0 {
            return Err(invalid("an empty map"));
        }
        if file.metadata()?.len() < len {
            return Err(invalid("the file is shorter than the map"));
        }
        let size =
            usize::try_from(len).map_err(|_| invalid("the map exceeds the address space"))?;
        // SAFETY: the file has at least `len` bytes (just checked), and by the contract of
        // `VfsFile::map`, argued above, nobody shortens it below `len` or rewrites it while the
        // map lives.
        let map = unsafe { MmapOptions::new().len(size).map(file)? };
        Ok(Self { map })
    }
}

impl AsRef<[u8]> for OsMap {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl fmt::Debug for OsMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OsMap").field("len", &self.map.len()).finish_non_exhaustive()
    }
}
