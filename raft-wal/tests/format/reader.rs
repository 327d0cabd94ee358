//! A reader of logs written from `docs/FORMAT.md` alone: sections 3 to 6, in its own words. It
//! shares no code with the one under test, and reads sound logs only.

use std::collections::BTreeMap;

use crate::page::{Page, Table, crc32, is_sealed};

/// A file of the directory, by path relative to it.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A frame that was found valid.
pub(crate) struct Frame {
    pub(crate) at: usize,
    pub(crate) end: usize,
    pub(crate) batch_seq: u64,
    pub(crate) chain: u64,
    pub(crate) header_crc: u64,
    pub(crate) flags: u64,
    pub(crate) durable_to: u64,
    pub(crate) records: Vec<Record>,
}

/// One record of it.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) at: usize,
    pub(crate) size: usize,
    pub(crate) kind: u64,
    /// Index of an entry.
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) data: Vec<u8>,
}

/// A segment and what it holds up to its first bad frame.
pub(crate) struct Segment {
    pub(crate) salt: u32,
    era: u64,
    promise: u64,
    clean_at: u64,
    pub(crate) frames: Vec<Frame>,
}

/// The log as the page has it put together.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) first: u64,
    pub(crate) next: u64,
    pub(crate) base_term: Option<u64>,
    pub(crate) state: (u64, u64, u64),
    pub(crate) snapshot: Option<Vec<u8>>,
    pub(crate) metadata: Option<Vec<u8>>,
    pub(crate) blobs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Kind, term and payload by index.
    pub(crate) entries: BTreeMap<u64, (u64, u64, Vec<u8>)>,
    /// Whether a closing mark says that nothing is missing.
    pub(crate) clean: bool,
}

/// The reader.
pub(crate) struct Reader<'p> {
    pub(crate) page: &'p Page,
}

impl Reader<'_> {
    fn constant(&self, name: &str) -> usize {
        self.page.constants[name] as usize
    }

    fn flag(&self, frame: &Frame, name: &str) -> bool {
        frame.flags & self.page.flags[name] != 0
    }

    /// Section 4.1 and 4.2: the header by majority, and the promises of its marks.
    fn pages(&self, bytes: &[u8]) -> (Vec<u8>, u64, u64) {
        let (header, mark) = (self.page.table("segment_header"), self.page.table("mark"));
        let (header_len, mark_len) = (header.len.unwrap(), mark.len.unwrap());
        let copy = |page: usize| bytes[page * self.constant("PAGE")..][..header_len].to_vec();
        let mut copies: Vec<Vec<u8>> = Vec::new();
        let mut marks: Vec<&[u8]> = Vec::new();
        for page in 0..3 {
            let block = &bytes[page * self.constant("PAGE")..][..mark_len];
            let salt = header.number(&copy(page), "salt") as u32;
            let sealed = page == 0 || is_sealed(salt ^ page as u32, block);
            if sealed && is_sealed(0, &copy(page)) {
                copies.push(copy(page));
                marks.extend((page > 0).then_some(block));
            }
        }
        let alike = |c: &Vec<u8>| copies.iter().filter(|d| *d == c).count();
        let chosen = copies.iter().max_by_key(|c| alike(c)).expect("a header").clone();
        assert!(alike(&chosen) == copies.len() || alike(&chosen) >= 2, "a majority");
        marks.retain(|m| m[..header_len] == chosen);
        let promise = marks.iter().map(|m| mark.number(m, "durable_to")).max().unwrap_or(0);
        let clean = marks.iter().filter(|m| mark.number(m, "flags") == 1);
        (chosen, promise, clean.map(|m| mark.number(m, "durable_to")).max().unwrap_or(0))
    }

    /// Section 4: a segment, frame after frame.
    pub(crate) fn segment(&self, bytes: &[u8]) -> Segment {
        let (header, promise, clean_at) = self.pages(bytes);
        let table = self.page.table("segment_header");
        let salt = table.number(&header, "salt") as u32;
        let era = table.number(&header, "era");
        let mut out = Segment { salt, era, promise, clean_at, frames: Vec::new() };
        let mut at = self.constant("FIRST_FRAME");
        while let Some(frame) = self.frame(bytes, at, salt) {
            if let Some(last) = out.frames.last()
                && (frame.batch_seq, frame.chain) != (last.batch_seq + 1, last.header_crc)
            {
                break;
            }
            at = frame.end;
            let sealed = self.flag(&frame, "SEAL");
            out.frames.push(frame);
            if sealed {
                break;
            }
        }
        out
    }

    /// Section 4.3: the frame at an offset, if it is valid by itself.
    fn frame(&self, bytes: &[u8], at: usize, salt: u32) -> Option<Frame> {
        let table = self.page.table("frame_header");
        let raw = bytes.get(at..at + table.len.unwrap())?;
        let n = |name| table.number(raw, name);
        let seed = salt ^ (at / 8) as u32;
        if !is_sealed(seed, raw) || n("batch_seq") == 0 {
            return None;
        }
        let (start, end) = (at + raw.len(), at + raw.len() + n("body_len") as usize);
        let pad = n("flags") & self.page.flags["PAD"] != 0;
        let mut records = Vec::new();
        let mut sums = Vec::new();
        let (mut pos, mut entries) = (start, 0);
        while pos < end && !pad {
            let index = n("first_index") + entries;
            let record =
                self.record(bytes.get(pos..end)?, pos, salt, records.len() as u32, index)?;
            entries += u64::from(record.kind <= self.page.kinds["App5"]);
            pos += record.size;
            sums.extend_from_slice(&bytes[pos - 4..pos]);
            records.push(record);
        }
        assert!(!pad || bytes[start..end].iter().all(|&b| b == 0), "padding is zeros");
        assert_eq!(entries, n("n_entries"));
        assert_eq!(u64::from(crc32(seed, &sums)), n("body_crc"), "body_crc at {at}");
        Some(Frame {
            at,
            end,
            batch_seq: n("batch_seq"),
            chain: n("chain"),
            header_crc: n("header_crc"),
            flags: n("flags"),
            durable_to: n("durable_to"),
            records,
        })
    }

    /// Section 4.4.
    fn record(&self, b: &[u8], at: usize, salt: u32, ordinal: u32, index: u64) -> Option<Record> {
        let word = u32::from_le_bytes(b.get(8..12)?.try_into().unwrap());
        let (len, kind) = ((word >> 4) as usize, u64::from(word & 15));
        let size = (self.constant("RECORD_OVERHEAD") + len).next_multiple_of(8);
        let is_entry = kind <= self.page.kinds["App5"];
        let seed = if is_entry { index as u32 ^ (index >> 32) as u32 } else { !ordinal };
        if !is_sealed(salt ^ seed, b.get(..size)?) {
            return None;
        }
        let term = u64::from_le_bytes(b[..8].try_into().unwrap());
        Some(Record { at, size, kind, index, term, data: b[12..12 + len].to_vec() })
    }

    fn is(&self, record: &Record, kind: &str) -> bool {
        record.kind == self.page.kinds[kind]
    }

    /// The control record of this kind in a frame, as its table divides it.
    fn control<'a>(&'a self, frame: &'a Frame, kind: &str) -> Option<(&'a Table, &'a [u8])> {
        let record = frame.records.iter().find(|r| self.is(r, kind))?;
        Some((self.page.table(kind), &record.data))
    }

    /// Section 6.
    pub(crate) fn log(&self, files: &Files, initial: u64) -> Log {
        let number = |name: &str| name.strip_prefix("wal/")?.strip_suffix(".seg")?.parse().ok();
        let segments = files.iter().filter_map(|(name, b)| Some((number(name)?, self.segment(b))));
        let segments: BTreeMap<u64, Segment> = segments.collect();
        let started = |s: &Segment| {
            let first = s.frames.first();
            let base = first.and_then(|f| self.control(f, "Base"));
            base.is_some_and(|(t, b)| t.number(b, "era") == s.era)
        };
        let mut log = Log { first: initial, next: initial, clean: true, ..Log::default() };
        let Some((&newest, h)) = segments.iter().rev().find(|(_, s)| started(s)) else {
            return log;
        };
        let mut floor = 0;
        for f in &h.frames {
            let says = |k| self.control(f, k).map_or(0, |(t, b)| t.number(b, "floor_seq"));
            let reset = if self.flag(f, "RESET") { newest } else { 0 };
            floor = floor.max(says("Base")).max(says("Compact")).max(reset);
        }
        let mut walk = vec![(newest, h.frames.len())];
        loop {
            let from = &segments[&walk.last().unwrap().0];
            let (t, base) = self.control(&from.frames[0], "Base").unwrap();
            let n = |name| t.number(base, name);
            let first = &from.frames[0];
            assert_eq!((first.batch_seq, first.chain), (n("prev_batch_seq") + 1, n("prev_chain")));
            if n("prev_segment") == 0 || n("prev_segment") < floor {
                break;
            }
            let prev = &segments[&n("prev_segment")];
            assert_eq!(u64::from(prev.salt), n("prev_salt"));
            let cut = prev.frames.iter().position(|f| f.end as u64 == n("prev_end"));
            let cut = cut.expect("a frame that ends at the cut");
            let last = &prev.frames[cut];
            assert_eq!((last.batch_seq, last.header_crc), (n("prev_batch_seq"), n("prev_chain")));
            walk.push((n("prev_segment"), cut + 1));
        }
        for (seq, frames) in walk.iter().rev() {
            for f in &segments[seq].frames[..*frames] {
                self.entries(&mut log, f);
            }
        }
        self.state(&mut log, h);
        let promised = h.frames.iter().map(|f| f.durable_to).max().unwrap_or(0).max(h.promise);
        let end = h.frames.last().unwrap().end as u64;
        assert!(promised <= end, "nothing durable is missing");
        log.clean = h.clean_at == end;
        log.entries.retain(|&index, _| index >= log.first);
        assert!(log.entries.keys().copied().eq(log.first..log.next), "entries are dense");
        log
    }

    /// Section 6, step 8.
    fn entries(&self, log: &mut Log, frame: &Frame) {
        if self.flag(frame, "RESET") {
            log.entries.clear();
        }
        if let Some((t, b)) = self.control(frame, "Truncate") {
            log.entries.split_off(&t.number(b, "from"));
        }
        for r in frame.records.iter().filter(|r| r.kind <= self.page.kinds["App5"]) {
            log.entries.insert(r.index, (r.kind, r.term, r.data.clone()));
        }
    }

    /// Section 6, step 9.
    fn state(&self, log: &mut Log, h: &Segment) {
        let optional =
            |t: &Table, b: &[u8]| (t.number(b, "has_base") == 1).then(|| t.number(b, "base_term"));
        for f in &h.frames {
            for r in &f.records {
                let name = self.page.kinds.iter().find(|(_, k)| **k == r.kind).unwrap().0;
                if r.kind <= self.page.kinds["App5"] {
                    log.next = r.index + 1;
                    continue;
                }
                let (t, b) = (self.page.table(name), &r.data[..]);
                let n = |field| t.number(b, field);
                match &**name {
                    "Base" => {
                        (log.first, log.next) = (n("first_index"), n("next_index"));
                        log.base_term = optional(t, b);
                    }
                    "Metadata" => log.metadata = Some(b.to_vec()),
                    "Blob" => {
                        let (key, value) = (t.field(b, "key").bytes, t.field(b, "value").bytes);
                        log.blobs.insert(key.to_vec(), value.to_vec());
                        log.blobs.retain(|_, value| !value.is_empty());
                    }
                    "Compact" if n("first_index") > log.first => {
                        (log.first, log.base_term) = (n("first_index"), optional(t, b));
                    }
                    "Snap" => log.snapshot = Some(b.to_vec()),
                    "Reset" => {
                        (log.first, log.next) = (n("first_index"), n("first_index"));
                        log.base_term = optional(t, b);
                        let snap = self.page.table("Snap");
                        let above = |s: &Vec<u8>| snap.number(s, "index") >= log.first;
                        if self.control(f, "Snap").is_none()
                            && log.snapshot.as_ref().is_some_and(above)
                        {
                            log.snapshot = None;
                        }
                    }
                    "Truncate" => log.next = n("from"),
                    "State" => log.state = (n("term"), n("vote"), n("commit")),
                    _ => {}
                }
            }
        }
    }
}
