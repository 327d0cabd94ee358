//! The least that does the same job: a write and a sync on a file that is there already, a read
//! and a checksum.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use raft_vfs::{Access, FileKind, OsFile, OsVfs, Vfs as _, VfsFile as _, VfsFileExt as _};

use crate::Outcome;

/// A file of zeros, synced once, that is then written again and again from its beginning: no block
/// is allocated and no size changes, so a sync is one write and one flush.
#[derive(Debug)]
pub struct ZeroedFile {
    file: OsFile,
    len: u64,
    at: u64,
}

impl ZeroedFile {
    /// Makes one of `len` bytes.
    ///
    /// # Errors
    /// The system's.
    pub fn create(path: &Path, len: u64) -> io::Result<Self> {
        let file = OsVfs.create_excl(path)?;
        let zeros = vec![0; 1 << 20];
        for at in (0..len).step_by(zeros.len()) {
            let n = (len - at).min(zeros.len() as u64);
            file.write_all_at(&zeros[..n as usize], at)?;
        }
        file.sync_data()?;
        Ok(Self { file, len, at: 0 })
    }

    /// One `pwrite` and, if asked for, one `fdatasync`. Returns what they took.
    ///
    /// # Errors
    /// The system's.
    pub fn append(&mut self, bytes: &[u8], sync: bool) -> Outcome<Duration> {
        if self.at + bytes.len() as u64 > self.len {
            self.at = 0;
        }
        let begun = Instant::now();
        self.file.write_all_at(bytes, self.at)?;
        if sync {
            self.file.sync_data()?;
        }
        let took = begun.elapsed();
        self.at += bytes.len() as u64;
        Ok(took)
    }
}

/// The segment files of the log in `dir`, in order.
///
/// # Errors
/// The system's.
pub fn segments(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let wal = dir.join("wal");
    let names = OsVfs.list(&wal)?.into_iter().filter(|e| e.kind == FileKind::File);
    let paths = names.map(|e| wal.join(e.name));
    Ok(paths.filter(|p| p.extension().is_some_and(|ending| ending == "seg")).collect())
}

/// Reads files from beginning to end, 256 KiB at a time, through one CRC-32. Returns the bytes read
/// and the checksum.
///
/// # Errors
/// The system's.
pub fn read_and_checksum(paths: &[PathBuf]) -> io::Result<(u64, u32)> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buf = vec![0; 256 << 10];
    let mut total = 0;
    for path in paths {
        let file = OsVfs.open(path, Access::Read)?;
        let mut at = 0;
        loop {
            let n = file.read_up_to_at(&mut buf, at)?;
            hasher.update(&buf[..n]);
            at += n as u64;
            if n < buf.len() {
                break;
            }
        }
        total += at;
    }
    Ok((total, hasher.finalize()))
}
