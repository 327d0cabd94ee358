//! Making IDENT whole again from what is sound in it.
//!
//! The new file is complete and durable before it takes the name, and the one it replaces was
//! copied to quarantine: no copy of the identity is ever written over.

use std::io;
use std::path::Path;

use raft_vfs::{Access, Vfs, VfsFile, VfsFileExt};

use crate::dir::Ident;
use crate::error::Result;
use crate::format::{HeadSlot, IdentPage, PAGE, get};
use crate::paths::{Paths, io_error};

/// The whole file as it should be, if it is not so. Changes nothing.
///
/// # Errors
/// Those of reading.
pub(super) fn mended<V: Vfs>(vfs: &V, paths: &Paths, ident: &Ident) -> Result<Option<Vec<u8>>> {
    let path = &paths.ident;
    let file = vfs.open(path, Access::Read).map_err(|e| io_error("open", path, None, e))?;
    let mut raw = vec![0; IdentPage::FILE_LEN as usize];
    let got = file.read_up_to_at(&mut raw, 0).map_err(|e| io_error("read", path, Some(0), e))?;
    let mut bad = got < raw.len();
    let page = ident.page.encode();
    for at in [0, PAGE as usize] {
        bad |= IdentPage::decode(&get(&raw, at)) != Ok(ident.page);
        raw[at..at + IdentPage::LEN].copy_from_slice(&page);
    }
    for n in [2_u32, 3] {
        let at = n as usize * PAGE as usize;
        let slot = HeadSlot::decode(&get(&raw, at), n);
        let ours = slot.is_some_and(|s| s.uuid_half[..] == ident.page.wal_uuid[..8]);
        let slot = &mut raw[at..at + HeadSlot::LEN];
        if !ours && slot.iter().any(|&b| b != 0) {
            bad = true;
            slot.fill(0);
        }
    }
    Ok(bad.then_some(raw))
}

/// Puts `raw` in the place of IDENT. Blocks for a sync and a directory sync.
///
/// # Errors
/// Those of writing; IDENT is the old file or the new one.
pub(super) fn replace<V: Vfs>(vfs: &V, paths: &Paths, raw: &[u8]) -> Result<()> {
    let fault = |op, path: &Path, e| io_error(op, path, None, e);
    let tmp = &paths.ident_tmp;
    match vfs.remove(tmp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fault("remove", tmp, e)),
        _ => {}
    }
    let file = vfs.create_excl(tmp).map_err(|e| fault("create", tmp, e))?;
    file.write_all_at(raw, 0).map_err(|e| fault("write", tmp, e))?;
    file.sync_data().map_err(|e| fault("sync", tmp, e))?;
    vfs.rename(tmp, &paths.ident).map_err(|e| fault("rename", tmp, e))?;
    vfs.sync_dir(&paths.dir).map_err(|e| fault("sync directory", &paths.dir, e))
}
