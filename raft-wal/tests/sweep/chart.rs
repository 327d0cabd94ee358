//! What each byte of a log is for, by `docs/FORMAT.md` alone: the tables of the page, its own
//! checksum and the page-only reader. Nothing here comes from the code under test.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::page::{Page, is_sealed};
use crate::reader::{Frame, Reader};

/// A file of a log: its name in the directory, its bytes, and what these were before.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// Other contents under this name, oldest first.
    pub(crate) older: Vec<Vec<u8>>,
}

/// A mark page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MarkInfo {
    pub(crate) number: u64,
    pub(crate) durable_to: usize,
    pub(crate) state_off: usize,
    pub(crate) term: u64,
    pub(crate) vote: u64,
}

/// A frame that counts, or did before a cut.
#[derive(Clone, Debug)]
pub(crate) struct FrameInfo {
    pub(crate) at: usize,
    pub(crate) end: usize,
    pub(crate) durable_to: usize,
    /// The segment that its Seal record names.
    pub(crate) seal: Option<u64>,
    /// Floor that it sets, by record or by a Reset.
    pub(crate) floor: u64,
}

/// What a segment's Base record says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BaseInfo {
    pub(crate) previous: u64,
    pub(crate) end: usize,
}

/// A segment.
#[derive(Clone, Debug)]
pub(crate) struct Seg {
    /// Its place among the files.
    pub(crate) file: usize,
    pub(crate) seq: u64,
    pub(crate) salt: u32,
    pub(crate) capacity: usize,
    pub(crate) marks: [Option<MarkInfo>; 2],
    pub(crate) frames: Vec<FrameInfo>,
    /// Of the first frame; `None` if the segment was never started.
    pub(crate) base: Option<BaseInfo>,
}

/// A HEAD slot: the segments that it says must exist.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) number: u64,
    pub(crate) start: u64,
    pub(crate) named: [u64; 3],
}

/// The whole directory.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    /// Place of IDENT among the files.
    pub(crate) ident: usize,
    pub(crate) slots: [Option<Slot>; 2],
    /// Ascending.
    pub(crate) segments: Vec<Seg>,
    /// For each file the bytes that are looked at: nothing of dead segments, or behind a cut.
    pub(crate) used: Vec<Vec<Range<usize>>>,
}

/// The header of a segment and its two copies, each with the rest of its mark.
pub(crate) const COPIES: [Range<usize>; 3] = [0..128, 4096..4352, 8192..8448];
/// Where a segment's frames begin.
pub(crate) const FIRST_FRAME: usize = 12288;
/// The two copies of the identity.
pub(crate) const IDENTITIES: [Range<usize>; 2] = [0..128, 4096..4224];
/// The HEAD slots.
pub(crate) const SLOTS: [Range<usize>; 2] = [8192..8256, 12288..12352];

/// Whether a name is that of an index file.
pub(crate) fn is_index(name: &str) -> bool {
    name.strip_prefix("wal/").and_then(|n| n.split_once('.')).is_some_and(|(_, end)| end == "idx")
}

/// The number in a segment's name.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    name.strip_prefix("wal/")?.strip_suffix(".seg")?.parse().ok()
}

fn u(page: &Page, table: &str, block: &[u8], field: &str) -> u64 {
    page.table(table).number(block, field)
}

impl FrameInfo {
    fn of(reader: &Reader<'_>, seq: u64, f: &Frame) -> Self {
        let page = reader.page;
        let record = |kind: &str| f.records.iter().find(|r| r.kind == page.kinds[kind]);
        let field = |kind: &str, name: &str| record(kind).map(|r| u(page, kind, &r.data, name));
        let floors = [
            field("Base", "floor_seq"),
            field("Compact", "floor_seq"),
            record("Reset").map(|_| seq),
        ];
        Self {
            at: f.at,
            end: f.end,
            durable_to: f.durable_to as usize,
            seal: field("Seal", "next_segment"),
            floor: floors.into_iter().flatten().max().unwrap_or(0),
        }
    }
}

impl Seg {
    fn of(reader: &Reader<'_>, file: usize, seq: u64, bytes: &[u8]) -> Self {
        let page = reader.page;
        let read = reader.segment(bytes);
        let mark = |copy: &Range<usize>| {
            let block = &bytes[copy.clone()];
            let number = (copy.start / 4096) as u32;
            let m = |name| u(page, "mark", block, name);
            is_sealed(read.salt ^ number, block).then(|| MarkInfo {
                number: m("mark_no"),
                durable_to: m("durable_to") as usize,
                state_off: m("state_off") as usize,
                term: m("term"),
                vote: m("vote"),
            })
        };
        let base = read.frames.first().map(|f| {
            let data = &f.records[0].data;
            let b = |name| u(page, "Base", data, name);
            BaseInfo { previous: b("prev_segment"), end: b("prev_end") as usize }
        });
        Self {
            file,
            seq,
            salt: read.salt,
            capacity: u(page, "segment_header", &bytes[COPIES[0].clone()], "capacity") as usize,
            marks: [mark(&COPIES[1]), mark(&COPIES[2])],
            frames: read.frames.iter().map(|f| FrameInfo::of(reader, seq, f)).collect(),
            base,
        }
    }
}

impl Chart {
    /// Draws the chart of a sound log.
    pub(crate) fn draw(page: &Page, files: &[File]) -> Self {
        let reader = Reader { page };
        let numbered =
            files.iter().enumerate().filter_map(|(i, f)| Some((segment_number(&f.name)?, i)));
        let numbered: BTreeMap<u64, usize> = numbered.collect();
        let seg = |(&seq, &file): (&u64, &usize)| Seg::of(&reader, file, seq, &files[file].bytes);
        let segments: Vec<Seg> = numbered.iter().map(seg).collect();
        let ident = files.iter().position(|f| f.name == "IDENT").expect("a log has an IDENT");
        let slot = |at: &Range<usize>| {
            let block = &files[ident].bytes[at.clone()];
            let n = |name| u(page, "head_slot", block, name);
            is_sealed((at.start / 4096) as u32, block).then(|| Slot {
                number: n("slot_no"),
                start: n("start_seq"),
                named: [n("start_seq"), n("live_seq"), n("proven_seq")],
            })
        };
        let slots = [slot(&SLOTS[0]), slot(&SLOTS[1])];
        let mut chart = Self { ident, slots, segments, used: Vec::new() };
        let cuts: BTreeMap<u64, usize> = chart.walk().collect();
        let mut used = vec![Vec::new(); files.len()];
        used[ident] = IDENTITIES.into_iter().chain(SLOTS).collect();
        for s in &chart.segments {
            let is_young = chart.newest().is_none_or(|newest| s.seq > newest.seq);
            if !is_young && !cuts.contains_key(&s.seq) {
                continue;
            }
            let cut = cuts.get(&s.seq).copied().unwrap_or(0);
            let frames = s.frames.iter().map(|f| f.at..f.end).take_while(|f| f.end <= cut);
            used[s.file] = COPIES.into_iter().chain(frames).collect();
        }
        chart.used = used;
        chart
    }

    /// The newest segment that was started.
    pub(crate) fn newest(&self) -> Option<&Seg> {
        self.segments.iter().rfind(|s| s.base.is_some())
    }

    pub(crate) fn segment(&self, seq: u64) -> Option<&Seg> {
        self.segments.iter().find(|s| s.seq == seq)
    }

    /// The segments that make up the log, newest first, and where each was cut.
    fn walk(&self) -> impl Iterator<Item = (u64, usize)> {
        let newest = self.newest();
        let floors = newest.into_iter().flat_map(|s| s.frames.iter().map(|f| f.floor));
        let floor = floors.max().unwrap_or(0);
        std::iter::successors(newest.map(|s| (s, usize::MAX)), move |(s, _)| {
            let BaseInfo { previous, end } = s.base?;
            let s = self.segment(previous).filter(|_| previous != 0 && previous >= floor)?;
            Some((s, end))
        })
        .map(|(s, cut)| (s.seq, cut))
    }
}
