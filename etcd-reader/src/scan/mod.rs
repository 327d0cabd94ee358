//! Walks the frames of one segment, verifies the rolling checksum, and finds its way behind
//! damage.
//!
//! What a frame's bytes say is judged here; what records mean together is [`crate::check`]'s.
//!
//! A frame that cannot be taken as it stands is one of four things, tried in this order:
//! 1. the torn end of the log: in the last segment, behind its head, a frame whose end was never
//!    written ([`Scan::is_torn`]);
//! 2. a damaged length word: the record behind it has its own length and the checksum holds, so
//!    the record is good and only the word is reported;
//! 3. damage with records behind it: reading goes on at the first place where two records follow
//!    each other by length and checksum ([`Scan::resync`]);
//! 4. damage up to the end of the segment.

mod resync;
mod torn;
mod window;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use crc32c::crc32c_append;
use raft_vfs::VfsFile;

use self::window::Window;
use crate::frame::{HEAD_MAX, Head, HeadError, LengthWord, WORD, record_type};
use crate::problem::{Findings, NoteKind, Problem, ProblemKind};

/// A record whose checksum holds, not yet decoded.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// Which record of the segment it is, from 0. At least 2 behind damage.
    pub(crate) position: u64,
    pub(crate) kind: u64,
    pub(crate) seed: u32,
    pub(crate) crc: u32,
    /// `None` if the record has no such field.
    pub(crate) data: Option<Bytes>,
}

/// A frame as it stands, its checksum not yet verified.
#[derive(Clone, Debug)]
struct Parsed {
    offset: u64,
    frame_len: u64,
    head: Head,
    data: Option<Bytes>,
    padding_is_zero: bool,
}

impl Parsed {
    fn next(&self) -> u64 {
        self.offset + self.frame_len
    }

    /// The rolling checksum behind this record, if it was `seed` before.
    fn roll(&self, seed: u32) -> u32 {
        self.data.as_ref().map_or(seed, |data| crc32c_append(seed, data))
    }
}

/// Why a frame cannot be taken as it stands.
#[derive(Clone, Debug)]
struct Bad {
    kind: ProblemKind,
    expected: String,
    found: String,
    message: &'static str,
}

/// How the scan of a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// Everything was read; the rolling checksum is known.
    Ended,
    /// The rest of the segment is torn or damaged.
    Lost,
}

/// A segment being read.
#[derive(Debug)]
pub(crate) struct Scan<F> {
    name: Arc<str>,
    window: Window<F>,
    /// Whether no segment follows, so that the end may be torn and zeros may follow it.
    is_last: bool,
    max_record: u64,
    offset: u64,
    position: u64,
    /// The rolling checksum before `offset`; unknown until the segment's first record.
    seed: Option<u32>,
    /// The previous segment's last checksum, if that is known.
    carried: Option<u32>,
    state: State,
}

impl<F: VfsFile> Scan<F> {
    /// Begins to read `file`.
    pub(crate) fn new(
        name: Arc<str>,
        file: F,
        is_last: bool,
        carried: Option<u32>,
        max_record: u64,
    ) -> io::Result<Self> {
        Ok(Self {
            name,
            window: Window::new(file)?,
            is_last,
            max_record,
            offset: 0,
            position: 0,
            seed: None,
            carried,
            state: State::Reading,
        })
    }

    /// The rolling checksum at the segment's end, if it was read to its end.
    pub(crate) fn final_crc(&self) -> Option<u32> {
        self.seed.filter(|_| self.state == State::Ended)
    }

    /// The segment's name.
    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Whether the segment was read to its end.
    pub(crate) fn is_at_end(&self) -> bool {
        self.state == State::Ended
    }

    /// The offset behind the last record read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// How many records were read.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next record whose checksum holds, or `None` at the segment's end. What is wrong on the
    /// way goes into `findings`.
    pub(crate) fn next(&mut self, findings: &mut Findings) -> io::Result<Option<Frame>> {
        while self.state == State::Reading {
            let left = self.window.len() - self.offset;
            if left < WORD {
                self.end_of_file(left, findings)?;
                continue;
            }
            let frame = match self.window.word(self.offset)? {
                0 => self.zero_word(findings)?,
                word => match self.parse(self.offset, word)? {
                    Ok(parsed) => self.verify(&parsed, findings)?,
                    Err(bad) => self.bad_frame(&bad, findings)?,
                },
            };
            if frame.is_some() {
                return Ok(frame);
            }
        }
        Ok(None)
    }

    /// Fewer bytes are left than a length word has.
    fn end_of_file(&mut self, left: u64, findings: &mut Findings) -> io::Result<()> {
        if self.window.last_nonzero(self.offset)?.is_none() {
            self.state = State::Ended;
            return Ok(());
        }
        let bad = Bad {
            kind: ProblemKind::BadLength,
            expected: "a length word of 8 bytes".to_owned(),
            found: format!("the end of the file after {left} bytes"),
            message: "the file ends inside a length word",
        };
        if self.is_torn()? {
            self.torn(findings)?;
        } else {
            self.report(&bad, "", findings);
            self.state = State::Lost;
        }
        Ok(())
    }

    /// A length word of zero: the end, if nothing but zeros follows.
    fn zero_word(&mut self, findings: &mut Findings) -> io::Result<Option<Frame>> {
        let Some(last) = self.window.last_nonzero(self.offset)? else {
            if !self.is_last {
                let zeros = self.window.len() - self.offset;
                let message = format!("{zeros} zero bytes at the end of a closed segment");
                let kind = NoteKind::ZeroTailInClosedSegment;
                findings.note(&self.name, self.offset, kind, message);
            }
            self.state = State::Ended;
            return Ok(None);
        };
        let bad = Bad {
            kind: ProblemKind::ZeroedLength,
            expected: "a record's length, or zeros up to the end of the file".to_owned(),
            found: format!("a length of 0, and data up to offset {last}"),
            message: "a zero length hides records; etcd would take it for the end of the log",
        };
        if let Some(parsed) = self.parse_by_head(self.offset)? {
            return Ok(Some(self.repaired(&parsed, &bad, findings)));
        }
        if !self.resync(&bad, findings)? {
            let bad = Bad {
                kind: ProblemKind::DataAfterEnd,
                message: "the log ends here, but behind it stands what is neither zero nor a \
                          record: a lost write or foreign data",
                ..bad
            };
            self.report(&bad, "", findings);
            self.state = State::Lost;
        }
        Ok(None)
    }

    /// A frame that cannot be taken as it stands.
    fn bad_frame(&mut self, bad: &Bad, findings: &mut Findings) -> io::Result<Option<Frame>> {
        if self.is_torn()? {
            self.torn(findings)?;
            return Ok(None);
        }
        if let Some(parsed) = self.parse_by_head(self.offset)? {
            return Ok(Some(self.repaired(&parsed, bad, findings)));
        }
        if !self.resync(bad, findings)? {
            self.report(bad, "nothing behind it is readable", findings);
            self.state = State::Lost;
        }
        Ok(None)
    }

    /// A record that is good although its length word is not.
    fn repaired(&mut self, parsed: &Parsed, bad: &Bad, findings: &mut Findings) -> Frame {
        let detail = "the record behind it has its own length and its checksum holds";
        self.report(bad, detail, findings);
        let crc = parsed.head.crc;
        self.take(parsed, crc, findings)
    }

    /// Reads the frame at `offset`, which begins with `word`.
    fn parse(&mut self, offset: u64, word: u64) -> io::Result<Result<Parsed, Bad>> {
        let word = LengthWord::new(word);
        let bad = |kind, expected, found, message| Ok(Err(Bad { kind, expected, found, message }));
        let room = self.window.len() - offset - WORD;
        if word.record == 0 || word.record > room || word.padding() > room - word.record {
            let expected = format!("a length from 1 to {room}, what the file has left");
            let message = "the length word is impossible";
            return bad(ProblemKind::BadLength, expected, word.record.to_string(), message);
        }
        if word.record > self.max_record {
            let expected = format!("at most {} bytes", self.max_record);
            let message = "the record is longer than this reader was told to accept";
            return bad(ProblemKind::RecordTooLarge, expected, word.record.to_string(), message);
        }
        let start = self.window.bytes(offset + WORD, word.record.min(HEAD_MAX as u64))?;
        let head = match Head::parse(&start) {
            Ok(head) if head.record_len() == word.record => head,
            Ok(head) => {
                let expected = format!("{}, as the record itself has it", head.record_len());
                let message = "the length word and the record disagree";
                return bad(ProblemKind::BadLength, expected, word.record.to_string(), message);
            }
            Err(e) => {
                let expected = "type, checksum and data".to_owned();
                let message = "the record's fields cannot be read";
                return bad(ProblemKind::UnreadableRecord, expected, head_error(e), message);
            }
        };
        if !word.top_is_right() {
            let expected = format!("{:#04x} for a length of {}", word.right_top(), word.record);
            let found = format!("{:#04x}", word.top);
            let message = "the length word's padding and reserved bits do not fit its length";
            return bad(ProblemKind::BadPaddingBits, expected, found, message);
        }
        self.body(offset, head).map(Ok)
    }

    /// Reads the frame whose head was read already; the caller has checked that it is there.
    fn body(&mut self, offset: u64, head: Head) -> io::Result<Parsed> {
        let record = head.record_len();
        let padding = LengthWord::new(record).padding();
        let bytes = self.window.bytes(offset + WORD, record + padding)?;
        // Shorter only if somebody cuts the file at this moment: then the checksum will not hold.
        let end = bytes.len().min(record as usize);
        Ok(Parsed {
            offset,
            frame_len: WORD + record + padding,
            head,
            data: head.data.map(|_| bytes.slice(head.len.min(end)..end)),
            padding_is_zero: bytes[end..].iter().all(|&b| b == 0),
        })
    }

    /// Reads the frame at `offset` without its length word, if the record's own length and the
    /// checksum say that there is one.
    fn parse_by_head(&mut self, offset: u64) -> io::Result<Option<Parsed>> {
        let Some(seed) = self.seed else { return Ok(None) };
        let room = self.window.len() - offset - WORD;
        let start = self.window.bytes(offset + WORD, room.min(HEAD_MAX as u64))?;
        let Ok(head) = Head::parse(&start) else { return Ok(None) };
        let record = head.record_len();
        // Without data the checksum says nothing.
        if head.data.is_none_or(|len| len == 0) || record > room || record > self.max_record {
            return Ok(None);
        }
        if LengthWord::new(record).padding() > room - record {
            return Ok(None);
        }
        let parsed = self.body(offset, head)?;
        Ok(Some(parsed).filter(|p| p.roll(seed) == p.head.crc))
    }

    /// Verifies the checksum of a frame that reads well.
    fn verify(&mut self, parsed: &Parsed, findings: &mut Findings) -> io::Result<Option<Frame>> {
        if parsed.head.kind == record_type::CRC {
            return Ok(Some(self.crc_record(parsed, findings)));
        }
        let Some(seed) = self.seed else {
            // A segment without its first record: this one's checksum is all there is to go on
            // with, and says nothing of this one.
            let bad = Bad {
                kind: ProblemKind::MisplacedRecord,
                expected: "a crc record at the start of the segment".to_owned(),
                found: format!("a record of type {}", parsed.head.kind),
                message: "the segment lacks its head; its first record cannot be verified and \
                          is left out",
            };
            self.report(&bad, "", findings);
            self.skip(parsed, parsed.head.crc);
            return Ok(None);
        };
        let computed = parsed.roll(seed);
        if computed == parsed.head.crc {
            return Ok(Some(self.take(parsed, computed, findings)));
        }
        if self.is_torn()? {
            self.torn(findings)?;
            return Ok(None);
        }
        self.crc_mismatch(parsed, computed, findings)
    }

    /// A record that reads well but whose checksum does not hold. Its successor shows which of
    /// the two is damaged, the data or the stored checksum.
    fn crc_mismatch(
        &mut self,
        parsed: &Parsed,
        computed: u32,
        findings: &mut Findings,
    ) -> io::Result<Option<Frame>> {
        let stored = parsed.head.crc;
        let next = self.peek(parsed.next())?.filter(|n| n.data.is_some());
        let proves = |seed| next.as_ref().is_some_and(|n| n.roll(seed) == n.head.crc);
        let stored_is_wrong = !proves(stored) && proves(computed);
        let bad = Bad {
            kind: ProblemKind::CrcMismatch,
            expected: format!("{stored:#010x}"),
            found: format!("{computed:#010x}"),
            message: "the record's checksum does not hold",
        };
        let verdict = if stored_is_wrong {
            "its successor shows that the data is right and the stored checksum is not"
        } else if proves(stored) {
            "its successor shows that the data is damaged"
        } else {
            "either its data or the stored checksum is damaged"
        };
        let detail = format!("{verdict}{}", self.torn_to_etcd(parsed)?);
        self.report(&bad, &detail, findings);
        if stored_is_wrong {
            return Ok(Some(self.take(parsed, computed, findings)));
        }
        self.skip(parsed, stored);
        Ok(None)
    }

    /// The record that carries the checksum over from the previous segment.
    fn crc_record(&mut self, parsed: &Parsed, findings: &mut Findings) -> Frame {
        let crc = parsed.head.crc;
        let expected = if parsed.offset == 0 { self.carried } else { self.seed };
        if let Some(expected) = expected
            && expected != crc
        {
            let bad = Bad {
                kind: ProblemKind::CrcChainBroken,
                expected: format!("{expected:#010x}"),
                found: format!("{crc:#010x}"),
                message: "the segment does not go on from the one before it: records at that \
                          one's end, or a whole segment, are missing or foreign",
            };
            self.report(&bad, "", findings);
        }
        self.take(parsed, crc, findings)
    }

    /// The frame at `offset`, if one reads well there.
    fn peek(&mut self, offset: u64) -> io::Result<Option<Parsed>> {
        if self.window.len() - offset < WORD {
            return Ok(None);
        }
        match self.window.word(offset)? {
            0 => Ok(None),
            word => Ok(self.parse(offset, word)?.ok()),
        }
    }

    /// Goes on behind a good record.
    fn take(&mut self, parsed: &Parsed, crc: u32, findings: &mut Findings) -> Frame {
        if !parsed.padding_is_zero {
            let bad = Bad {
                kind: ProblemKind::NonzeroPadding,
                expected: "zeros".to_owned(),
                found: "other bytes".to_owned(),
                message: "the padding behind the record is not zero",
            };
            self.report(&bad, "", findings);
        }
        let frame = Frame {
            offset: parsed.offset,
            len: parsed.frame_len,
            position: self.position,
            kind: parsed.head.kind,
            seed: self.seed.unwrap_or(crc),
            crc,
            data: parsed.data.clone(),
        };
        self.skip(parsed, crc);
        frame
    }

    /// Goes on behind a record, `crc` being the rolling checksum there.
    fn skip(&mut self, parsed: &Parsed, crc: u32) {
        self.offset = parsed.next();
        self.position += 1;
        self.seed = Some(crc);
    }

    /// Files a problem with the frame at the current offset.
    fn report(&self, bad: &Bad, detail: &str, findings: &mut Findings) {
        let message = match detail {
            "" => bad.message.to_owned(),
            detail => format!("{}; {detail}", bad.message),
        };
        findings.problem(Problem {
            segment: self.name.to_string(),
            offset: self.offset,
            kind: bad.kind,
            expected: bad.expected.clone(),
            found: bad.found.clone(),
            message,
        });
    }
}

fn head_error(e: HeadError) -> String {
    match e {
        HeadError::Incomplete => "a field that is longer than the record".to_owned(),
        HeadError::Invalid(what) => what.to_owned(),
    }
}
