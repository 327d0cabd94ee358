//! Receiving a snapshot of another node, chunk by chunk, over any number of connections and
//! processes.

use raft_vfs::{Access, Vfs};

use crate::building::{Building, new_header};
use crate::dir::{Claim, Shared, SnapDir};
use crate::error::{Error, Reject, Result, hex, io_error};
use crate::file::{RawHeader, SnapInfo, SnapMeta, check_identity, open_file, read_header};
use crate::format::{CHUNK_MAX, CHUNK_MIN, CHUNKS_MAX, Header, Layout, chunk_crc, header_len};
use crate::names::SnapName;

/// What a sender says of a snapshot before it sends the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// What it is of.
    pub meta: SnapMeta,
    /// Length of the data.
    pub data_len: u64,
    /// SHA-256 of the data.
    pub data_hash: [u8; 32],
    /// Length of every chunk but the last.
    pub chunk_len: u32,
}

impl Announcement {
    /// A checksum for a chunk on its way from sender to receiver, with which
    /// [`Receiver::put_checked`] tells a damaged or misdirected one apart at once, rather than at
    /// the end of everything. It knows the snapshot and the place.
    pub fn chunk_crc(&self, chunk: u32, data: &[u8]) -> u32 {
        let [a, b, c, d, ..] = self.data_hash;
        chunk_crc(u32::from_le_bytes([a, b, c, d]), chunk, data)
    }
}

impl From<&SnapInfo> for Announcement {
    fn from(info: &SnapInfo) -> Self {
        let SnapInfo { meta, data_len, data_hash, chunk_len, .. } = info;
        let (meta, data_len) = (meta.clone(), *data_len);
        Self { meta, data_len, data_hash: *data_hash, chunk_len: *chunk_len }
    }
}

/// Receives a snapshot. Nothing is visible before [`Receiver::finish`] has returned. Dropped
/// before, it leaves a file `.part`, from which a later receiver of the same announcement goes on,
/// also after a crash.
#[derive(Debug)]
pub struct Receiver<V: Vfs> {
    building: Building<V>,
    announced: Announcement,
    layout: Layout,
    resumed: u32,
}

impl<V: Vfs> SnapDir<V> {
    /// Begins to receive the snapshot announced, or goes on where an earlier receiver of the same
    /// announcement stopped: [`Receiver::next_chunk`] says where. What is there is read, checked
    /// and written anew, so this may block for some time. An unfinished transfer of the same index
    /// and term that is not of this announcement is discarded.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the announcement cannot be right; [`Error::Busy`] if it is being
    /// received already; [`Error::IdentityMismatch`] and [`Error::Unsupported`] if the unfinished
    /// file is not ours to discard; [`Error::Io`] and [`Error::NoSpace`]; [`Error::Poisoned`],
    /// [`Error::ReadOnly`].
    pub fn receiver(&self, announced: &Announcement) -> Result<Receiver<V>> {
        let shared = &self.shared;
        let Announcement { meta, data_len, data_hash, chunk_len } = announced;
        if !(CHUNK_MIN..=CHUNK_MAX).contains(chunk_len) {
            let (min, max) = (CHUNK_MIN, CHUNK_MAX);
            return Err(Reject::ChunkLen { found: *chunk_len, min, max }.into());
        }
        let header = new_header(shared, meta, *chunk_len, Some((*data_len, *data_hash)))?;
        let header_len = header_len(meta.conf_state.len());
        let layout = Layout::new(header_len, *chunk_len, *data_len).ok_or(Reject::TooLong {
            len: *data_len,
            chunk_len: *chunk_len,
            max: CHUNKS_MAX,
        })?;
        let claim = Claim::new(shared, SnapName::Part(meta.id()))?;
        let building = match unfinished(shared, &claim, &header)? {
            Some(found) => Building::resume(shared, claim, found, &layout)?,
            None => Building::create(shared, claim, header, false)?,
        };
        let resumed = building.chunks();
        Ok(Receiver { building, announced: announced.clone(), layout, resumed })
    }
}

impl<V: Vfs> Receiver<V> {
    /// How many chunks the snapshot has.
    pub fn chunks(&self) -> u32 {
        self.layout.chunks
    }

    /// The chunk that is to be put next; equal to [`Receiver::chunks`] when all are there.
    pub fn next_chunk(&self) -> u32 {
        self.building.chunks()
    }

    /// How many chunks an earlier receiver left.
    pub fn resumed(&self) -> u32 {
        self.resumed
    }

    /// What is received.
    pub fn announced(&self) -> &Announcement {
        &self.announced
    }

    /// Adds a chunk: the next one, of exactly the announced length. Blocks for a write, and now and
    /// then for a sync ([`Options::sync_bytes`](crate::Options::sync_bytes)). Nothing is
    /// acknowledged by that.
    ///
    /// # Errors
    /// [`Error::Rejected`] with nothing changed; [`Error::Io`] and [`Error::NoSpace`] after a
    /// failed write, which may be tried again. After a failed sync the file goes when the receiver
    /// is dropped, and every later call is [`Error::GivenUp`].
    pub fn put(&mut self, chunk: u32, data: &[u8]) -> Result<()> {
        let (next, chunks) = (self.next_chunk(), self.chunks());
        if chunk >= chunks {
            return Err(Reject::NoSuchChunk { found: chunk, chunks }.into());
        }
        if chunk != next {
            return Err(Reject::ChunkOrder { expected: next, found: chunk }.into());
        }
        let (expected, found) = (self.layout.data_of(chunk), data.len());
        if found != expected {
            return Err(Reject::ChunkSize { chunk, expected, found }.into());
        }
        self.building.push(data)
    }

    /// As [`Receiver::put`], for a chunk that came with [`Announcement::chunk_crc`].
    ///
    /// # Errors
    /// [`Reject::ChunkSum`] if the chunk is not the one that was sent, with nothing changed; as
    /// [`Receiver::put`].
    pub fn put_checked(&mut self, chunk: u32, data: &[u8], crc: u32) -> Result<()> {
        let expected = self.announced.chunk_crc(chunk, data);
        if crc != expected {
            return Err(Reject::ChunkSum { chunk, expected, found: crc }.into());
        }
        self.put(chunk, data)
    }

    /// Checks that everything is there and is what was announced, and makes the snapshot durable
    /// and visible as [`SnapWriter::finish`](crate::SnapWriter::finish) does.
    ///
    /// # Errors
    /// [`Reject::Incomplete`]; [`Error::NotAsAnnounced`], after which nothing is left to resume;
    /// as [`SnapWriter::finish`](crate::SnapWriter::finish). Unless a sync failed, the transfer can
    /// be resumed after all others, without a chunk to be sent again.
    pub fn finish(mut self) -> Result<SnapInfo> {
        let (received, chunks) = (self.next_chunk(), self.chunks());
        if received != chunks {
            return Err(Reject::Incomplete { received, chunks }.into());
        }
        debug_assert_eq!(
            self.building.data_len(),
            self.layout.data_len,
            "each chunk had its length"
        );
        let (found, expected) = (self.building.data_hash(), self.announced.data_hash);
        if found != expected {
            // Which chunk is wrong cannot be told.
            self.building.temporary = true;
            let [expected, found] = [expected, found].map(|h| hex(&h));
            let path = self.building.path.clone();
            return Err(Error::NotAsAnnounced { path, expected, found });
        }
        self.building.complete()?.publish()
    }

    /// Gives the transfer up: the unfinished file goes.
    pub fn abort(mut self) {
        self.building.temporary = true;
    }
}

/// The header of the unfinished file of this announcement. One of another announcement is removed.
fn unfinished<V: Vfs>(
    shared: &Shared<V>,
    claim: &Claim<V>,
    announced: &Header,
) -> Result<Option<Header>> {
    let path = claim.path();
    let file = match open_file(&shared.vfs, &path, Access::Read) {
        Ok(file) => file,
        Err(Error::NotFound { .. }) => return Ok(None),
        Err(e) => return Err(e),
    };
    match read_header(&file, &path) {
        Ok(RawHeader { header, .. }) => {
            check_identity(&header, shared.identity, &path)?;
            let Header { salt, created_ms, .. } = header;
            if header == (Header { salt, created_ms, ..announced.clone() }) {
                return Ok(Some(header));
            }
        }
        // A crash took the beginning; there is nothing that could be checked.
        Err(Error::Corrupt(_)) => {}
        Err(e) => return Err(e),
    }
    drop(file);
    shared.vfs.remove(&path).map_err(|e| io_error("remove", &path, None, e))?;
    Ok(None)
}
