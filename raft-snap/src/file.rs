//! The one decoder of snapshot files: header, footer and chunks, each checked before it is used.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use raft_vfs::{Access, Vfs, VfsFile, VfsFileExt};
use sha2::{Digest as _, Sha256};

use crate::dir::{Identity, Shared};
use crate::error::{CorruptKind, Error, Result, corrupt, hex, io_error};
use crate::format::{
    CHUNK_OVERHEAD, FOOTER_LEN, Fault, Footer, HEADER_FIXED, Header, Layout, VERSION, chunk_crc,
};
use crate::names::{SnapId, SnapName};

/// What a snapshot is of: given by who makes one, and kept in its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapMeta {
    /// Last index that the snapshot covers.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The membership at `index`, opaque here; at most 64 KiB.
    pub conf_state: Bytes,
}

impl SnapMeta {
    /// Index and term.
    pub fn id(&self) -> SnapId {
        SnapId { index: self.index, term: self.term }
    }
}

/// A snapshot that is complete, as its header and footer say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapInfo {
    /// What it is of.
    pub meta: SnapMeta,
    /// Whose it is.
    pub identity: Identity,
    /// When it was begun, in milliseconds since 1970; information only.
    pub created_ms: u64,
    /// Length of the data of every chunk but the last.
    pub chunk_len: u32,
    /// How many chunks there are.
    pub chunks: u32,
    /// Length of the data.
    pub data_len: u64,
    /// SHA-256 of the data.
    pub data_hash: [u8; 32],
    /// Length of the file.
    pub file_len: u64,
    /// SHA-256 over header and footer, `data_hash` among them: names this very file.
    pub file_hash: [u8; 32],
}

impl SnapInfo {
    /// Index and term.
    pub fn id(&self) -> SnapId {
        self.meta.id()
    }
}

/// An open snapshot whose header and footer are sound.
#[derive(Debug)]
pub(crate) struct SnapFile<V: Vfs> {
    pub(crate) info: SnapInfo,
    pub(crate) path: PathBuf,
    pub(crate) layout: Layout,
    salt: u32,
    file: V::File,
}

/// A header, and the bytes that it was read from.
pub(crate) struct RawHeader {
    pub(crate) header: Header,
    pub(crate) bytes: Vec<u8>,
}

impl<V: Vfs> SnapFile<V> {
    /// Opens the file of a snapshot and checks everything but its chunks.
    pub(crate) fn open(shared: &Shared<V>, id: SnapId) -> Result<Self> {
        let path = shared.path(SnapName::Snapshot(id));
        shared.check_not_in_doubt(id)?;
        let file = open_file(&shared.vfs, &path, Access::Read)?;
        let len = file.len().map_err(|e| io_error("look at", &path, None, e))?;
        let raw = read_header(&file, &path)?;
        check_identity(&raw.header, shared.identity, &path)?;
        check_name(&raw.header, id, &path)?;
        let footer = read_footer(&file, &path, &raw, len)?;
        let layout = check_layout(&raw, &footer, len, &path)?;
        let info = info(raw.header.clone(), &footer, len);
        Ok(Self { info, path, layout, salt: raw.header.salt, file })
    }

    /// Reads and checks a chunk, which must exist.
    pub(crate) fn read_chunk(&self, chunk: u32, buf: &mut ChunkBuf) -> Result<()> {
        buf.read(&self.file, &self.path, &self.layout, self.salt, chunk)
    }

    /// Compares the hash of all the data with the footer's.
    pub(crate) fn check_hash(&self, hasher: Sha256) -> Result<()> {
        let found: [u8; 32] = hasher.finalize().into();
        if found == self.info.data_hash {
            return Ok(());
        }
        let at = self.layout.offset(self.layout.chunks);
        let expected = hex(&self.info.data_hash);
        Err(corrupt(CorruptKind::DataHash, &self.path, at, expected, hex(&found)))
    }

    /// Reads every chunk and compares the hash.
    pub(crate) fn verify(&self) -> Result<()> {
        let (mut hasher, mut buf) = (Sha256::new(), ChunkBuf::default());
        for chunk in 0..self.layout.chunks {
            self.read_chunk(chunk, &mut buf)?;
            hasher.update(buf.data());
        }
        self.check_hash(hasher)
    }
}

/// Opens a file of ours.
pub(crate) fn open_file<V: Vfs>(vfs: &V, path: &Path, access: Access) -> Result<V::File> {
    vfs.open(path, access).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path: path.to_owned() },
        io::ErrorKind::InvalidInput => Error::NotAFile { path: path.to_owned() },
        _ => io_error("open", path, None, e),
    })
}

/// Reads and checks the header of a file.
pub(crate) fn read_header<F: VfsFile>(file: &F, path: &Path) -> Result<RawHeader> {
    let mut bytes = vec![0; HEADER_FIXED];
    read_header_part(file, path, &mut bytes, 0)?;
    let fixed = bytes.first_chunk().expect("it was made with that length");
    let fault = |fault| header_fault(path, fault);
    let len = Header::peek_len(fixed).map_err(fault)?;
    bytes.resize(len, 0);
    read_header_part(file, path, &mut bytes, HEADER_FIXED)?;
    let header = Header::decode(&bytes).map_err(fault)?;
    Ok(RawHeader { header, bytes })
}

fn read_header_part<F: VfsFile>(file: &F, path: &Path, bytes: &mut [u8], at: usize) -> Result<()> {
    let got = file.read_up_to_at(&mut bytes[at..], at as u64);
    let got = got.map_err(|e| io_error("read", path, Some(at as u64), e))? + at;
    if got == bytes.len() {
        return Ok(());
    }
    let expected = format!("a header of {} bytes or more", bytes.len());
    let found = format!("a file of {got} bytes");
    Err(corrupt(CorruptKind::Header, path, got as u64, expected, found))
}

fn header_fault(path: &Path, fault: Fault) -> Error {
    match fault {
        Fault::Bad { offset, expected, found } => {
            corrupt(CorruptKind::Header, path, offset as u64, expected, found)
        }
        Fault::Version(found) => {
            let (path, what) = (path.to_owned(), "format version");
            Error::Unsupported { path, what, found, expected: VERSION.into() }
        }
        Fault::Incompat(found) => {
            Error::Unsupported { path: path.to_owned(), what: "feature set", found, expected: 0 }
        }
    }
}

/// Whether the file is of this cluster and node.
pub(crate) fn check_identity(
    header: &Header,
    identity: Option<Identity>,
    path: &Path,
) -> Result<()> {
    let Some(identity) = identity else { return Ok(()) };
    let mismatch = |what, expected, found| {
        Err(Error::IdentityMismatch { path: path.to_owned(), what, expected, found })
    };
    if header.cluster_id != identity.cluster_id {
        let [expected, found] = [identity.cluster_id, header.cluster_id].map(|c| format!("{c:x}"));
        return mismatch("the cluster", expected, found);
    }
    if header.node_id != identity.node_id {
        let [expected, found] = [identity.node_id, header.node_id].map(|n| format!("{n:x}"));
        return mismatch("the node", expected, found);
    }
    Ok(())
}

fn check_name(header: &Header, id: SnapId, path: &Path) -> Result<()> {
    let found = SnapId { index: header.index, term: header.term };
    if found == id {
        return Ok(());
    }
    let of = |id: SnapId| format!("a snapshot of term {} index {}", id.term, id.index);
    Err(corrupt(CorruptKind::Name, path, 32, of(id), of(found)))
}

fn read_footer<F: VfsFile>(
    file: &F,
    path: &Path,
    raw: &RawHeader,
    file_len: u64,
) -> Result<Footer> {
    let at = file_len.saturating_sub(FOOTER_LEN as u64);
    let bad = |offset, expected: &str, found: &str| {
        let found = format!("{found}, at the end of a file of {file_len} bytes");
        Err(corrupt(CorruptKind::Footer, path, offset, expected, found))
    };
    if at < raw.bytes.len() as u64 {
        return bad(at, "a footer behind the header", "none");
    }
    let mut bytes = [0; FOOTER_LEN];
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            return bad(at, "a footer", "the file became shorter");
        }
        Err(e) => return Err(io_error("read", path, Some(at), e)),
    }
    match Footer::decode(&bytes, &raw.bytes, raw.header.salt) {
        Ok(footer) => Ok(footer),
        Err(Fault::Bad { offset, expected, found }) => {
            bad(at + offset as u64, &format!("a footer with {expected}"), &found)
        }
        Err(other) => Err(header_fault(path, other)),
    }
}

/// Whether header, footer and length of the file are about the same thing.
fn check_layout(raw: &RawHeader, footer: &Footer, file_len: u64, path: &Path) -> Result<Layout> {
    let Header { chunk_len, announced, .. } = &raw.header;
    let (data_len, data_hash) = (footer.data_len, footer.data_hash);
    let layout = Layout::new(raw.bytes.len(), *chunk_len, data_len);
    let fits = |l: &Layout| l.file_len() == file_len && l.chunks == footer.chunks;
    let Some(layout) = layout.filter(fits) else {
        let expected = match layout {
            Some(l) => {
                format!("{} bytes, {} chunks, for {data_len} of data", l.file_len(), l.chunks)
            }
            None => format!("fewer than {data_len} bytes of data in chunks of {chunk_len}"),
        };
        let found = format!("{file_len} bytes, {} chunks", footer.chunks);
        return Err(corrupt(CorruptKind::Length, path, file_len, expected, found));
    };
    if let Some((len, hash)) = announced.filter(|a| *a != (data_len, data_hash)) {
        let of = |len: u64, hash: &[u8; 32]| format!("{len} bytes of data with hash {}", hex(hash));
        let at = layout.offset(layout.chunks);
        let (expected, found) = (of(len, &hash), of(data_len, &data_hash));
        return Err(corrupt(CorruptKind::Footer, path, at, expected, found));
    }
    Ok(layout)
}

pub(crate) fn info(header: Header, footer: &Footer, file_len: u64) -> SnapInfo {
    let Header { index, term, cluster_id, node_id, created_ms, chunk_len, conf_state, .. } = header;
    SnapInfo {
        meta: SnapMeta { index, term, conf_state: conf_state.into() },
        identity: Identity { cluster_id, node_id },
        created_ms,
        chunk_len,
        chunks: footer.chunks,
        data_len: footer.data_len,
        data_hash: footer.data_hash,
        file_len,
        file_hash: footer.file_hash,
    }
}

/// A chunk as it stands in the file; empty before the first was read.
#[derive(Debug, Default)]
pub(crate) struct ChunkBuf {
    raw: Vec<u8>,
}

impl ChunkBuf {
    /// The data, without its frame.
    pub(crate) fn data(&self) -> &[u8] {
        self.raw.get(4..self.raw.len().saturating_sub(4)).unwrap_or_default()
    }

    /// The data, without copying it.
    pub(crate) fn into_data(self) -> Bytes {
        let end = self.raw.len().saturating_sub(4);
        Bytes::from(self.raw).slice(end.min(4)..end)
    }

    /// Reads a chunk that the layout has and checks it. After an error nothing is in the buffer.
    pub(crate) fn read<F: VfsFile>(
        &mut self,
        file: &F,
        path: &Path,
        layout: &Layout,
        salt: u32,
        chunk: u32,
    ) -> Result<()> {
        assert!(chunk < layout.chunks, "callers ask for chunks that exist");
        let read = self.read_raw(file, path, layout, chunk);
        let checked = read.and_then(|()| self.check(path, layout, salt, chunk));
        if checked.is_err() {
            self.raw.clear();
        }
        checked
    }

    fn read_raw<F: VfsFile>(
        &mut self,
        file: &F,
        path: &Path,
        layout: &Layout,
        chunk: u32,
    ) -> Result<()> {
        let at = layout.offset(chunk);
        let fault = |e| io_error("read", path, Some(at), e);
        let whole = layout.data_of(chunk) + CHUNK_OVERHEAD as usize;
        self.raw.clear();
        self.raw.try_reserve_exact(whole).map_err(|_| fault(io::ErrorKind::OutOfMemory.into()))?;
        self.raw.resize(whole, 0);
        let got = file.read_up_to_at(&mut self.raw, at).map_err(fault)?;
        if got == whole {
            return Ok(());
        }
        let expected = format!("{whole} bytes of chunk {chunk}");
        let found = format!("the end of the file after {got}");
        Err(corrupt(CorruptKind::Chunk, path, at + got as u64, expected, found))
    }

    fn check(&self, path: &Path, layout: &Layout, salt: u32, chunk: u32) -> Result<()> {
        let (at, len) = (layout.offset(chunk), layout.data_of(chunk) as u32);
        let number = |at: usize| {
            let bytes = self.raw.get(at..at + 4).and_then(|b| b.first_chunk());
            u32::from_le_bytes(*bytes.expect("a chunk is longer than its frame"))
        };
        if number(0) != len {
            let expected = format!("chunk {chunk} of {len} bytes");
            let found = format!("one of {} bytes", number(0));
            return Err(corrupt(CorruptKind::Chunk, path, at, expected, found));
        }
        let (sum, end) = (chunk_crc(salt, chunk, self.data()), self.raw.len() - 4);
        if number(end) != sum {
            let expected = format!("checksum {sum:08x} of chunk {chunk}, {len} bytes from {at} on");
            let found = format!("{:08x}", number(end));
            return Err(corrupt(CorruptKind::Chunk, path, at + end as u64, expected, found));
        }
        Ok(())
    }
}
