//! The one scanner: reads a segment frame by frame and says exactly where and why it stops.
//!
//! Recovery, verification, dumping, following and fuzzing all read frames through [`Scanner`];
//! there is no second decoder. The scanner judges a frame by itself and by its place in the
//! sequence. Whether a bad frame is a torn tail or damage is not its business: that takes
//! promises, and [`look_ahead`] looks for them.

use std::io;

use raft_vfs::VfsFile;

use crate::format::{
    Control, DISCARD_CRC_MAX, FIRST_FRAME, FRAME_HEADER_LEN, FrameHeader, PAGE, RECORD_OVERHEAD,
    RecordHead, RecordKind, Run, SMALL_MAX, body_crc_start, control_seed, crc_is_last, entry_seed,
    flags, get, get_u32, get_u64,
};
use crate::planted::{Bug, planted};
use crate::window::Window;

/// One valid frame. The payloads stay in the file; `offsets` says where.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Offset of the header.
    pub offset: u64,
    /// Where the next frame begins.
    pub end: u64,
    /// The header.
    pub header: FrameHeader,
    /// Its control records in order, each with its offset.
    pub controls: Vec<(u64, Control)>,
    /// Where its entries' records stand, in units of 8 bytes; entry `i` has index
    /// `header.first_index + i`.
    pub offsets: Vec<u32>,
    /// Terms of its entries.
    pub runs: Vec<Run>,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            offset: 0,
            end: 0,
            header: FrameHeader::parse(&[0; FrameHeader::LEN]),
            controls: Vec::new(),
            offsets: Vec::new(),
            runs: Vec::new(),
        }
    }
}

impl Frame {
    /// The frame's Base record; only a segment's first frame has one.
    pub fn base(&self) -> Option<&crate::format::Base> {
        self.controls.iter().find_map(|(_, c)| match c {
            Control::Base(b) => Some(&**b),
            _ => None,
        })
    }

    /// The segment and salt that its Seal record names.
    pub fn seal(&self) -> Option<(u64, u32)> {
        self.controls.iter().find_map(|(_, c)| match c {
            Control::Seal { next_segment, next_salt } => Some((*next_segment, *next_salt)),
            _ => None,
        })
    }
}

/// Why the scanner went no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Offset of the first bad frame, or of the end.
    pub offset: u64,
    /// In what way it is bad.
    pub reason: StopReason,
    /// Its header, if that much is valid: it names what was lost.
    pub header: Option<FrameHeader>,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// In what way the frame at a [`Stop`] is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// No room is left for a frame: the segment is full, or cut exactly here.
    End,
    /// Zeros where a header would be.
    Blank,
    /// The header is not valid.
    Header,
    /// The header is valid and the body is not.
    Body,
    /// The frame is valid and is not the next one: its number or chain is another's.
    Sequence,
    /// The frame is valid and needs a newer version of this software.
    Unsupported,
}

/// What [`Scanner::step`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A valid frame; it is in the scanner's [`Scanner::frame`].
    Frame,
    /// No further.
    Stop(Stop),
}

/// Whether record checksums are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Everything.
    Full,
    /// Headers and structure only: for a second pass over frames that were checked before.
    Structure,
}

/// Reads the frames of one segment in order.
#[derive(Debug)]
pub struct Scanner<'f, F> {
    window: Window<'f, F>,
    salt: u32,
    check: Check,
    pos: u64,
    expect: Option<(u64, u32)>,
    /// Bytes of bodies that searching may still check.
    search_budget: u64,
    frame: Frame,
}

/// No control record is larger, and no batch has more of them, than a snapshot marker and the
/// keyed values can make them.
const CONTROL_MAX: u64 = SMALL_MAX + 64;
const CONTROLS_MAX: usize = 4096;

/// What is wrong with a body.
struct BadBody {
    at: u64,
    expected: String,
    found: String,
    /// Nothing is wrong with it, but this version cannot read it.
    unsupported: bool,
}

impl BadBody {
    fn new(at: u64, expected: &str, found: impl Into<String>) -> Self {
        Self { at, expected: expected.into(), found: found.into(), unsupported: false }
    }
}

/// Checksums of records on their way into the checksum of the body, a batch of them at a time.
struct BodyCrc {
    hasher: crc32fast::Hasher,
    waiting: Vec<u8>,
}

impl BodyCrc {
    const BATCH: usize = 1024;

    fn new(seed: u32) -> Self {
        Self { hasher: crc32fast::Hasher::new_with_initial(seed), waiting: Vec::new() }
    }

    fn push(&mut self, crc: [u8; 4]) {
        self.waiting.extend_from_slice(&crc);
        if self.waiting.len() >= Self::BATCH {
            self.hasher.update(&self.waiting);
            self.waiting.clear();
        }
    }

    fn finish(mut self) -> u32 {
        self.hasher.update(&self.waiting);
        self.hasher.finalize()
    }
}

impl<'f, F: VfsFile> Scanner<'f, F> {
    /// A scanner of the segment with this salt, from its first frame up to offset `end`.
    pub fn new(file: &'f F, salt: u32, end: u64, check: Check) -> Self {
        let window = Window::new(file, end);
        let (search_budget, frame) = (end.saturating_mul(4), Frame::default());
        Self { window, salt, check, pos: FIRST_FRAME, expect: None, search_budget, frame }
    }

    /// Goes on at `offset`, expecting nothing of the sequence: how a dump gets past damage.
    pub fn resume_at(&mut self, offset: u64) {
        self.pos = offset;
        self.expect = None;
    }

    /// Goes on at `offset` where another scanner stopped, expecting what it expected.
    pub(crate) fn go_on_at(&mut self, offset: u64, expect: Option<(u64, u32)>) {
        self.pos = offset;
        self.expect = expect;
    }

    /// How many bytes were read from the file so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.window.bytes_read()
    }

    /// Looks for the first wholly valid frame at or behind `from`, and goes on there: how
    /// everything but recovery gets past damage. `None` if there is none.
    ///
    /// The search is bounded: bytes that look like many headers with large bodies are given up
    /// after as much checking as four readings of the file.
    ///
    /// # Errors
    /// Those of reading.
    pub fn seek(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut at = from.max(FIRST_FRAME);
        while let Some((candidate, body_len)) = self.next_header(at)? {
            let Some(left) = self.search_budget.checked_sub(body_len) else { return Ok(None) };
            self.search_budget = left;
            self.resume_at(candidate);
            if self.step()? == Step::Frame {
                self.resume_at(candidate);
                return Ok(Some(candidate));
            }
            at = candidate + 8;
        }
        Ok(None)
    }

    /// Offset and body length of the first valid frame header at or behind `from`.
    fn next_header(&mut self, from: u64) -> io::Result<Option<(u64, u64)>> {
        let Some(mut at) = from.checked_next_multiple_of(8) else { return Ok(None) };
        let end = self.window.end();
        while end.saturating_sub(at) >= FRAME_HEADER_LEN {
            let take = (end - at).min(PAGE + FRAME_HEADER_LEN - 8);
            let bytes = self.window.bytes(at, take)?;
            let steps = (take - FRAME_HEADER_LEN) / 8 + 1;
            if !is_zero(bytes) {
                for i in 0..steps {
                    let raw = &bytes[(i * 8) as usize..(i * 8 + FRAME_HEADER_LEN) as usize];
                    if let Some(h) = FrameHeader::decode(&get(raw, 0), self.salt, at + i * 8) {
                        return Ok(Some((at + i * 8, h.body_len.into())));
                    }
                }
            }
            at += steps * 8;
        }
        Ok(None)
    }

    /// The frame that the last step found.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Offset of the next frame.
    pub fn position(&self) -> u64 {
        self.pos
    }

    /// Number and chain that the next frame must have, once there was a first.
    pub fn expected(&self) -> Option<(u64, u32)> {
        self.expect
    }

    /// Reads the next frame.
    ///
    /// # Errors
    /// Only those of reading; a file that became shorter is `UnexpectedEof`.
    pub fn step(&mut self) -> io::Result<Step> {
        let room = self.window.end().saturating_sub(self.pos);
        if room < FRAME_HEADER_LEN {
            return Ok(self.stop(StopReason::End, None, "a frame", format!("{room} bytes")));
        }
        let raw: [u8; FrameHeader::LEN] = self.window.block(self.pos)?;
        let Some(h) = FrameHeader::decode(&raw, self.salt, self.pos) else {
            let blank = raw == [0; FrameHeader::LEN];
            let reason = if blank { StopReason::Blank } else { StopReason::Header };
            let found = if blank { "zeros".into() } else { bad_header(&raw) };
            return Ok(self.stop(reason, None, "a frame header with its checksum", found));
        };
        if let Some((seq, chain)) = self.expect
            && (h.batch_seq, h.chain) != (seq, chain)
            && !planted(Bug::SequenceUnchecked)
        {
            let expected = format!("batch {seq} with chain {chain:08x}");
            let found = format!("batch {} with chain {:08x}", h.batch_seq, h.chain);
            return Ok(self.stop(StopReason::Sequence, Some(h), expected, found));
        }
        if h.codec != 0 || h.stream != 0 {
            let found = format!("codec {}, stream {}", h.codec, h.stream);
            return Ok(self.stop(StopReason::Unsupported, Some(h), "codec 0, stream 0", found));
        }
        if u64::from(h.body_len) > room - FRAME_HEADER_LEN {
            let found = format!("{} bytes of body where {room} are left", h.body_len);
            return Ok(self.stop(StopReason::Body, Some(h), "a body within the file", found));
        }
        if let Err(bad) = self.body(&h)? {
            let reason = if bad.unsupported { StopReason::Unsupported } else { StopReason::Body };
            let found = format!("{} (record at {})", bad.found, bad.at);
            return Ok(self.stop(reason, Some(h), bad.expected, found));
        }
        self.frame.offset = self.pos;
        self.frame.end = self.pos + FRAME_HEADER_LEN + u64::from(h.body_len);
        self.frame.header = h;
        self.pos = self.frame.end;
        self.expect = Some((h.batch_seq.wrapping_add(1), h.header_crc));
        Ok(Step::Frame)
    }

    fn stop(
        &self,
        reason: StopReason,
        header: Option<FrameHeader>,
        expected: impl Into<String>,
        found: String,
    ) -> Step {
        Step::Stop(Stop { offset: self.pos, reason, header, expected: expected.into(), found })
    }

    /// Reads and judges the records behind a valid header.
    fn body(&mut self, h: &FrameHeader) -> io::Result<Result<(), BadBody>> {
        self.frame.controls.clear();
        self.frame.offsets.clear();
        self.frame.runs.clear();
        let start = self.pos + FRAME_HEADER_LEN;
        let end = start + u64::from(h.body_len);
        let mut crcs = BodyCrc::new(body_crc_start(self.salt, self.pos));
        if h.has(flags::PAD) {
            if let Err(bad) = self.zero_body(start, end)? {
                return Ok(Err(bad));
            }
        } else {
            let mut at = start;
            while at < end {
                match self.record(h, at, end)? {
                    Ok((next, crc)) => {
                        crcs.push(crc);
                        at = next;
                    }
                    Err(bad) => return Ok(Err(bad)),
                }
            }
        }
        Ok(self.whole_body(h, crcs.finish()))
    }

    /// A padding frame's body has no records, and is zero so that no byte goes unchecked.
    fn zero_body(&mut self, start: u64, end: u64) -> io::Result<Result<(), BadBody>> {
        let mut at = start;
        while at < end {
            let n = (end - at).min(PAGE);
            if !is_zero(self.window.bytes(at, n)?) {
                return Ok(Err(BadBody::new(at, "zeros in padding", "other bytes")));
            }
            at += n;
        }
        Ok(Ok(()))
    }

    /// Reads one record; returns where the next begins and its checksum.
    fn record(
        &mut self,
        h: &FrameHeader,
        at: u64,
        end: u64,
    ) -> io::Result<Result<(u64, [u8; 4]), BadBody>> {
        let bad = |expected: &str, found: String| Ok(Err(BadBody::new(at, expected, found)));
        if end - at < RECORD_OVERHEAD {
            return bad("a whole record", format!("{} bytes", end - at));
        }
        let head = RecordHead::parse(&self.window.block(at)?);
        let len = head.record_len();
        if len > end - at && !planted(Bug::RecordUnbounded) {
            return bad("a record within its frame", format!("{len} bytes of {}", end - at));
        }
        let n = self.frame.offsets.len() as u64;
        let seed = match head.kind {
            RecordKind::Entry(_) => match h.first_index.checked_add(n) {
                Some(index) if index < u64::MAX => entry_seed(self.salt, index),
                _ => return bad("an index below 2^64 - 1", format!("{} + {n}", h.first_index)),
            },
            _ if n > 0 => return bad("control records before entries", "the reverse".into()),
            _ if u64::from(head.len) > CONTROL_MAX || self.frame.controls.len() >= CONTROLS_MAX => {
                return bad("few and small control records", format!("{} bytes", head.len));
            }
            _ => control_seed(self.salt, self.frame.controls.len() as u32),
        };
        let is_entry = matches!(head.kind, RecordKind::Entry(_));
        let crc: [u8; 4];
        if is_entry && self.check == Check::Structure {
            crc = self.window.block(at + len - 4)?;
        } else {
            let bytes = self.window.bytes(at, len)?;
            if !crc_is_last(seed, bytes) && !planted(Bug::RecordUnchecked) {
                return bad("a record with its checksum", "another checksum".into());
            }
            crc = get(bytes, len as usize - 4);
            if head.kind == RecordKind::Escape {
                let found = "a record of an extended kind";
                let bad = BadBody::new(at, "record kinds 0 to 14", found);
                return Ok(Err(BadBody { unsupported: true, ..bad }));
            }
            if !is_entry {
                let data = &bytes[RecordHead::LEN..RecordHead::LEN + head.len as usize];
                let Some(control) = Control::decode(head.kind, data) else {
                    return bad("a well-formed record", format!("a bad {:?} record", head.kind));
                };
                let last = self.frame.controls.last().map(|(_, c)| c.rank());
                let repeats = matches!(control, Control::Blob { .. });
                if last.is_some_and(|r| control.rank() < r || (control.rank() == r && !repeats)) {
                    return bad("records in their order", format!("{:?} late", head.kind));
                }
                self.frame.controls.push((at, control));
            }
        }
        if is_entry {
            self.frame.offsets.push((at / 8) as u32);
            if self.frame.runs.last().is_none_or(|r| r.term != head.term) {
                self.frame.runs.push(Run { index: h.first_index + n, term: head.term });
            }
        }
        Ok(Ok((at + len, crc)))
    }

    /// What can be said of the body only as a whole.
    fn whole_body(&self, h: &FrameHeader, body_crc: u32) -> Result<(), BadBody> {
        let bad = |what: &str, found: String| Err(BadBody::new(self.pos, what, found));
        let f = &self.frame;
        if f.offsets.len() as u64 != u64::from(h.n_entries) {
            let expected = format!("{} entries", h.n_entries);
            return bad(&expected, format!("{} entries", f.offsets.len()));
        }
        if self.check == Check::Full && body_crc != h.body_crc {
            let expected = format!("body checksum {:08x}", h.body_crc);
            return bad(&expected, format!("{body_crc:08x}"));
        }
        if let Some(b) = f.base() {
            let (seq, chain) = (b.prev_batch_seq.wrapping_add(1), b.prev_chain);
            if (h.batch_seq, h.chain) != (seq, chain) {
                let expected = format!("batch {seq} with chain {chain:08x}, as its Base says");
                return bad(&expected, format!("batch {} with chain {:08x}", h.batch_seq, h.chain));
            }
        }
        let kinds = |k: RecordKind| f.controls.iter().any(|(_, c)| c.kind() == k);
        let agree = h.has(flags::SEG_START) == kinds(RecordKind::Base)
            && h.has(flags::TRUNC) == kinds(RecordKind::Truncate)
            && h.has(flags::RESET) == kinds(RecordKind::Reset)
            && h.has(flags::SEAL) == kinds(RecordKind::Seal)
            && h.has(flags::SEG_START) == (self.pos == FIRST_FRAME)
            && (!h.has(flags::CARRY) || h.has(flags::SEG_START))
            && !(h.has(flags::SEAL) && (f.controls.len() > 1 || !f.offsets.is_empty()))
            && !(h.has(flags::PAD) && h.flags != flags::PAD);
        if agree { Ok(()) } else { bad("flags that fit the records", format!("{:06b}", h.flags)) }
    }
}

fn bad_header(raw: &[u8; FrameHeader::LEN]) -> String {
    let h = FrameHeader::parse(raw);
    format!("48 bytes that are not one (batch {}, length {})", h.batch_seq, h.body_len)
}

/// A promise found by looking ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Offset of the frame header that makes it.
    pub offset: u64,
    /// Bytes of the segment below here were durable when it was made.
    pub durable_to: u64,
    /// Number of the promising batch.
    pub batch_seq: u64,
}

/// What stands beyond the point where the scanner stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// The furthest promise of a valid frame header.
    pub promise: Option<Promise>,
    /// End of the last byte that is not zero; the starting point if all are.
    pub nonzero_end: u64,
    /// Checksum (seed 0) of the first 1 MiB of `[from, nonzero_end)`.
    pub crc: u32,
}

/// Looks at every 8-byte step of `[from, len)` for a valid frame header that promises more than
/// `above`, with a batch number in `(after, after + distance / 48]` where `after` is given.
///
/// The cheap conditions come before the checksum, so that bytes which only look like headers are
/// not given 2^23 chances at a 32-bit checksum.
///
/// # Errors
/// Those of reading.
pub fn look_ahead<F: VfsFile>(
    file: &F,
    salt: u32,
    len: u64,
    from: u64,
    above: u64,
    after: Option<u64>,
) -> io::Result<Beyond> {
    let mut window = Window::new(file, len);
    let mut beyond = Beyond { promise: None, nonzero_end: from, crc: 0 };
    let mut at = from;
    while at < len {
        let take = (len - at).min(PAGE);
        // A header that begins in this block may end in the next one.
        let bytes = window.bytes(at, (take + FRAME_HEADER_LEN - 8).min(len - at))?;
        if !is_zero(bytes) {
            if let Some(last) = bytes[..take as usize].iter().rposition(|&b| b != 0) {
                beyond.nonzero_end = at + last as u64 + 1;
            }
            let first = at.next_multiple_of(8) - at;
            for i in (first..take).step_by(8) {
                let Some(raw) = bytes.get(i as usize..(i + FRAME_HEADER_LEN) as usize) else {
                    break;
                };
                let offset = at + i;
                let most = after
                    .map_or(u64::MAX, |a| a.saturating_add((offset - from) / FRAME_HEADER_LEN + 1));
                let p = candidate(raw, offset, len, above, after.unwrap_or(0)..=most);
                if let Some(p) =
                    p.filter(|p| beyond.promise.is_none_or(|b| b.durable_to < p.durable_to))
                    && FrameHeader::decode(&get(raw, 0), salt, offset).is_some()
                {
                    beyond.promise = Some(p);
                }
            }
        }
        at += take;
    }
    let mut covered = from;
    let crc_end = beyond.nonzero_end.min(from.saturating_add(DISCARD_CRC_MAX));
    while covered < crc_end {
        let n = (crc_end - covered).min(PAGE);
        beyond.crc = crate::format::crc(beyond.crc, window.bytes(covered, n)?);
        covered += n;
    }
    Ok(beyond)
}

/// Whether a block of at most a page and a header is all zeros. Most of what is looked at is.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; (PAGE + FRAME_HEADER_LEN) as usize] = [0; (PAGE + FRAME_HEADER_LEN) as usize];
    bytes == &ZEROS[..bytes.len()]
}

/// What can be told of a possible header without its checksum.
fn candidate(
    raw: &[u8],
    offset: u64,
    len: u64,
    above: u64,
    numbers: std::ops::RangeInclusive<u64>,
) -> Option<Promise> {
    let batch_seq = get_u64(raw, 8);
    if batch_seq == *numbers.start() || !numbers.contains(&batch_seq) {
        return None;
    }
    let durable_to = get_u64(raw, 16);
    let body_len = u64::from(get_u32(raw, 0));
    let possible = (durable_to > above || planted(Bug::LaterFrameProves))
        && durable_to <= offset
        && body_len <= len - offset
        && !planted(Bug::LookAheadBlind);
    possible.then_some(Promise { offset, durable_to, batch_seq })
}
