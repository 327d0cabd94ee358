//! A file that is being written: header, chunks, footer, one after another. What writers and
//! receivers have in common.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_vfs::{Access, Vfs, VfsFile, VfsFileExt};
use sha2::{Digest as _, Sha256};

use crate::dir::{Claim, Shared};
use crate::error::{CorruptKind, Error, Reject, Result, corrupt, io_error};
use crate::file::{ChunkBuf, SnapInfo, SnapMeta, info};
use crate::format::{CHUNKS_MAX, CONF_STATE_MAX, Footer, Header, Layout, chunk_crc};
use crate::names::{SnapId, SnapName};

/// A file under a temporary name. Dropped, it goes, unless it is a transfer to be resumed.
#[derive(Debug)]
pub(crate) struct Building<V: Vfs> {
    pub(crate) shared: Arc<Shared<V>>,
    pub(crate) header: Header,
    pub(crate) path: PathBuf,
    header_bytes: Vec<u8>,
    file: V::File,
    hasher: Sha256,
    chunks: u32,
    data_len: u64,
    /// Where the next chunk stands.
    end: u64,
    /// Bytes since the last sync.
    unsynced: u64,
    /// Whether the file goes when this is dropped.
    ///
    /// Invariant: true once a sync has failed. The bytes in the cache may then be the last copy of
    /// what the disk has lost, and nobody may take them for written.
    pub(crate) temporary: bool,
    /// Whether the file's name is durable, so that a transfer outlives a power cut.
    named: bool,
    /// Why nothing more can be done with the file.
    given_up: Option<Arc<str>>,
    /// Dropped last: nobody else may take the name before the file is gone.
    _claim: Claim<V>,
}

/// A file that is complete and synced, and has not its name yet.
#[derive(Debug)]
pub(crate) struct Complete<V: Vfs> {
    pub(crate) building: Building<V>,
    pub(crate) info: SnapInfo,
}

impl<V: Vfs> Building<V> {
    /// Begins a file that must not exist under the claimed name.
    pub(crate) fn create(
        shared: &Arc<Shared<V>>,
        claim: Claim<V>,
        header: Header,
        temporary: bool,
    ) -> Result<Self> {
        let (path, bytes) = (claim.path(), header.encode()?);
        let file = shared.vfs.create_excl(&path).map_err(|e| io_error("create", &path, None, e))?;
        let mut building = Self::on(shared, claim, file, (header, bytes), temporary);
        if let Err(e) = building.write_header() {
            // Without a header there is nothing to resume.
            building.temporary = true;
            return Err(e);
        }
        Ok(building)
    }

    /// Goes on with a file that begins with `header` and has the layout that it announces: takes
    /// over every chunk up to the first that is not sound, and cuts off the rest.
    ///
    /// What is taken over is written once more. It may be in the cache only, by a write-back that
    /// failed before anybody asked, and then no sync would ever bring it to the disk.
    pub(crate) fn resume(
        shared: &Arc<Shared<V>>,
        claim: Claim<V>,
        header: Header,
        layout: &Layout,
    ) -> Result<Self> {
        let (path, bytes) = (claim.path(), header.encode()?);
        let file = shared.vfs.open(&path, Access::ReadWrite);
        let file = file.map_err(|e| io_error("open", &path, None, e))?;
        let mut building = Self::on(shared, claim, file, (header, bytes), false);
        building.write_header()?;
        let mut buf = ChunkBuf::default();
        for chunk in 0..layout.chunks {
            match buf.read(&building.file, &path, layout, building.header.salt, chunk) {
                Ok(()) => building.push(buf.data())?,
                Err(Error::Corrupt(_)) => break,
                Err(e) => return Err(e),
            }
        }
        let fault = |op, e| io_error(op, &path, None, e);
        if building.file.len().map_err(|e| fault("look at", e))? > building.end {
            building.file.truncate(building.end).map_err(|e| fault("truncate", e))?;
        }
        Ok(building)
    }

    fn on(
        shared: &Arc<Shared<V>>,
        claim: Claim<V>,
        file: V::File,
        (header, header_bytes): (Header, Vec<u8>),
        temporary: bool,
    ) -> Self {
        Self {
            shared: shared.clone(),
            path: claim.path(),
            end: header_bytes.len() as u64,
            header,
            header_bytes,
            file,
            hasher: Sha256::new(),
            chunks: 0,
            data_len: 0,
            unsynced: 0,
            temporary,
            named: false,
            given_up: None,
            _claim: claim,
        }
    }

    fn write_header(&mut self) -> Result<()> {
        let written = self.file.write_all_at(&self.header_bytes, 0);
        written.map_err(|e| io_error("write", &self.path, Some(0), e))
    }

    /// How many chunks there are.
    pub(crate) fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Length of their data.
    pub(crate) fn data_len(&self) -> u64 {
        self.data_len
    }

    /// SHA-256 of the data so far.
    pub(crate) fn data_hash(&self) -> [u8; 32] {
        self.hasher.clone().finalize().into()
    }

    /// Adds a chunk: full, or the last. After an error it is not there, and may be added again,
    /// unless a sync failed. Syncs now and then.
    pub(crate) fn push(&mut self, data: &[u8]) -> Result<()> {
        self.usable()?;
        let full = self.header.chunk_len as usize;
        debug_assert!(!data.is_empty() && data.len() <= full, "chunks are cut by the caller");
        debug_assert_eq!(self.data_len, u64::from(self.chunks) * full as u64, "all were full");
        if self.chunks >= CHUNKS_MAX {
            let (len, chunk_len) = (self.data_len + data.len() as u64, self.header.chunk_len);
            return Err(Reject::TooLong { len, chunk_len, max: CHUNKS_MAX }.into());
        }
        let len = (data.len() as u32).to_le_bytes();
        let sum = chunk_crc(self.header.salt, self.chunks, data).to_le_bytes();
        let mut parts = [&len[..], data, &sum].map(IoSlice::new);
        let written = self.file.write_all_vectored_at(&mut parts, self.end);
        written.map_err(|e| io_error("write", &self.path, Some(self.end), e))?;
        let size = (len.len() + data.len() + sum.len()) as u64;
        self.hasher.update(data);
        self.chunks += 1;
        self.data_len += data.len() as u64;
        self.end += size;
        self.unsynced += size;
        if self.unsynced >= self.shared.sync_bytes() {
            self.sync()?;
            self.sync_name()?;
        }
        Ok(())
    }

    /// Writes the footer and syncs. The data are complete.
    pub(crate) fn complete(mut self) -> Result<Complete<V>> {
        self.usable()?;
        let footer = Footer::new(&self.header_bytes, self.chunks, self.data_len, self.data_hash());
        let bytes = footer.encode(self.header.salt);
        let written = self.file.write_all_at(&bytes, self.end);
        written.map_err(|e| io_error("write", &self.path, Some(self.end), e))?;
        self.sync()?;
        let file_len = self.end + bytes.len() as u64;
        self.check_len(file_len)?;
        let info = info(self.header.clone(), &footer, file_len);
        Ok(Complete { building: self, info })
    }

    /// Whether the file is as long as was written; somebody else's doing if it is not.
    fn check_len(&self, expected: u64) -> Result<()> {
        let layout = Layout::new(self.header_bytes.len(), self.header.chunk_len, self.data_len);
        debug_assert_eq!(layout.map(|l| l.file_len()), Some(expected), "chunks are full");
        let found = self.file.len().map_err(|e| io_error("look at", &self.path, None, e))?;
        if found == expected {
            return Ok(());
        }
        Err(corrupt(CorruptKind::Length, &self.path, found, expected, found))
    }

    fn sync(&mut self) -> Result<()> {
        let Err(e) = self.file.sync_data() else {
            self.unsynced = 0;
            return Ok(());
        };
        self.given_up = Some(format!("sync failed: {e}").into());
        self.temporary = true;
        Err(io_error("sync", &self.path, None, e))
    }

    /// Once, and only for a file that somebody will look for.
    fn sync_name(&mut self) -> Result<()> {
        if !self.temporary && !self.named {
            self.shared.sync_names(&self.shared.changes())?;
            self.named = true;
        }
        Ok(())
    }

    fn usable(&self) -> Result<()> {
        self.shared.writable()?;
        match &self.given_up {
            Some(cause) => Err(Error::GivenUp { path: self.path.clone(), cause: cause.clone() }),
            None => Ok(()),
        }
    }
}

impl<V: Vfs> Drop for Building<V> {
    fn drop(&mut self) {
        if self.temporary {
            // Best effort: a name that stays means nothing, and goes with the next clean-up.
            let _ = self.shared.vfs.remove(&self.path);
        }
    }
}

/// A header for a new file.
pub(crate) fn new_header<V: Vfs>(
    shared: &Shared<V>,
    meta: &SnapMeta,
    chunk_len: u32,
    announced: Option<(u64, [u8; 32])>,
) -> Result<Header> {
    let identity = shared.writable()?.identity;
    if meta.index == u64::MAX {
        return Err(Reject::Index(meta.index).into());
    }
    if meta.conf_state.len() > CONF_STATE_MAX {
        return Err(Reject::ConfState { len: meta.conf_state.len(), max: CONF_STATE_MAX }.into());
    }
    Ok(Header {
        chunk_len,
        salt: random(shared, &shared.dir)? as u32,
        index: meta.index,
        term: meta.term,
        cluster_id: identity.cluster_id,
        node_id: identity.node_id,
        created_ms: shared.vfs.unix_millis(),
        announced,
        conf_state: meta.conf_state.to_vec(),
    })
}

/// A temporary name that nobody has: it is drawn, not counted, so that a file whose sync failed is
/// never taken up again.
pub(crate) fn temporary_name<V: Vfs>(shared: &Shared<V>, header: &Header) -> Result<SnapName> {
    let id = SnapId { index: header.index, term: header.term };
    Ok(SnapName::Temporary(id, random(shared, &shared.dir)?))
}

fn random<V: Vfs>(shared: &Shared<V>, path: &Path) -> Result<u64> {
    loop {
        match shared.vfs.random() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            drawn => return drawn.map_err(|e| io_error("random number for", path, None, e)),
        }
    }
}
