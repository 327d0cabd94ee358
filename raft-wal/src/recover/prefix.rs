//! The log as it is if everything behind a place is given up: what a repair keeps.
//!
//! The steps are those of an ordinary recovery from `prove` on, with a segment that is told where
//! to end in place of the newest one. Nothing is judged about what stands behind that end.

use raft_vfs::Vfs;

use super::replay::replay_batches;
use super::segment_file::header_of;
use super::tail::prove;
use super::walk::{Older, walk_back};
use super::{Recovered, Recovery, Segments, missing};
use crate::error::Result;

/// Where a log is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// The last segment that is kept.
    pub(crate) seq: u64,
    /// Its batches end here at the latest.
    pub(crate) end: u64,
    /// A sound successor, or a promise, proves what stands below `end`.
    pub(crate) proven: bool,
    /// Segments below this may be gone: a batch behind the cut let go of them.
    pub(crate) floor: u64,
}

/// Recovers the log up to the last good batch below `bound`. Beyond what recovery demands, entries
/// at the beginning may be missing where the floor was raised: see `LogView::covered_from`.
///
/// # Errors
/// As recovery: the first damage that is met on the way down from `bound`.
pub(crate) fn recover_prefix<V: Vfs>(
    mut r: Recovery<'_, V>,
    segments: &Segments,
    bound: &Bound,
) -> Result<Recovered<V>> {
    let mut segments = segments.clone();
    let Some(info) = segments.remove(&bound.seq) else {
        return Err(missing(r.paths, bound.seq, "the log was to end there", None));
    };
    let info = info?;
    let header = header_of(&r, &info)?;
    let mut segment = info.open(r.vfs)?;
    segment.info.len = info.len.min(bound.end);
    let mut newest = prove(&mut r, segment, header)?;
    if bound.proven {
        (newest.proven, newest.unproven) = (Some(newest.last), 0);
    }
    newest.floor_seq = newest.floor_seq.max(bound.floor);
    let Older { segments: older, dead_tails } = walk_back(&mut r, &newest, &mut segments, true)?;
    let mut walk: Vec<u64> = older.iter().map(|s| s.seq).collect();
    walk.push(bound.seq);
    let extents = older.iter().map(|s| (s.seq, s.id().into())).collect();
    let (mut state, cut, carry) = replay_batches(&r, &newest, older, true)?;
    state.floor_seq = state.floor_seq.max(bound.floor);
    let (era, highest) = (r.ident.head.era, r.names.highest().max(r.ident.head.start_seq));
    Ok(Recovered {
        state,
        newest: Some(newest),
        cut,
        carry,
        walk,
        extents,
        young: Vec::new(),
        dead_tails,
        era,
        highest,
    })
}
