//! One frame: length word, record, padding.
//!
//! ```text
//! offset 0    u64, little-endian   bits 0..55  length of the record in bytes
//!                                  bits 56..58 length of the padding
//!                                  bits 59..62 zero
//!                                  bit 63      set if there is padding
//! offset 8    the record           protobuf {1: type, 2: crc, 3: data}
//! then        the padding          zeros up to a multiple of eight
//! ```
//!
//! No checksum covers the length word. But it is redundant: the padding follows from the length,
//! and the record, whose fields stand in ascending order, says itself how long it is
//! ([`Head::record_len`]). All of this is checked, and if the word is damaged, the record's own
//! length replaces it.

use crate::wire::{VarintError, varint};

/// Size of a length word.
pub(crate) const WORD: u64 = 8;

/// The most bytes a record has before its data: three tags, and varints of 10, 5 and 10 bytes.
pub(crate) const HEAD_MAX: usize = 28;

/// Record types.
pub(crate) mod record_type {
    pub(crate) const METADATA: u64 = 1;
    pub(crate) const ENTRY: u64 = 2;
    pub(crate) const HARD_STATE: u64 = 3;
    pub(crate) const CRC: u64 = 4;
    pub(crate) const SNAPSHOT: u64 = 5;
}

/// A length word, taken apart but not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LengthWord {
    /// Length of the record, less than 2^56.
    pub(crate) record: u64,
    /// The highest byte: padding and flags.
    pub(crate) top: u8,
}

impl LengthWord {
    /// Takes a word apart.
    pub(crate) fn new(word: u64) -> Self {
        Self { record: word & ((1 << 56) - 1), top: (word >> 56) as u8 }
    }

    /// The word for a record of `record` bytes.
    pub(crate) fn for_record(record: u64) -> u64 {
        record | (u64::from(top_byte(record)) << 56)
    }

    /// The padding that follows from the record's length.
    pub(crate) fn padding(self) -> u64 {
        padding(self.record)
    }

    /// Whether the highest byte is the one that follows from the record's length.
    pub(crate) fn top_is_right(self) -> bool {
        self.top == top_byte(self.record)
    }

    /// The highest byte that would be right.
    pub(crate) fn right_top(self) -> u8 {
        top_byte(self.record)
    }
}

/// Bytes of padding behind a record of `record` bytes.
pub(crate) fn padding(record: u64) -> u64 {
    record.wrapping_neg() % 8
}

fn top_byte(record: u64) -> u8 {
    match padding(record) {
        0 => 0,
        pad => 0x80 | pad as u8,
    }
}

/// A record up to its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The record type, 0 if the field is absent.
    pub(crate) kind: u64,
    /// The rolling checksum including this record, 0 if the field is absent.
    pub(crate) crc: u32,
    /// Length of the head itself: the data begins here.
    pub(crate) len: usize,
    /// Length of the data, if there is such a field.
    pub(crate) data: Option<u64>,
}

/// Why there is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// The bytes end inside it; so far they look like one.
    Incomplete,
    /// It is not what etcd writes.
    Invalid(&'static str),
}

impl From<VarintError> for HeadError {
    fn from(e: VarintError) -> Self {
        match e {
            VarintError::Incomplete => Self::Incomplete,
            VarintError::TooLong => Self::Invalid("a number of more than 64 bits"),
        }
    }
}

impl Head {
    /// Reads the head at the start of `bytes`, which holds the record or its first
    /// [`HEAD_MAX`] bytes.
    ///
    /// # Errors
    /// [`HeadError::Incomplete`] if `bytes` ends inside a field, [`HeadError::Invalid`] if the
    /// fields are not type, checksum and data, in this order.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        let mut head = Self { kind: 0, crc: 0, len: 0, data: None };
        if bytes.is_empty() {
            return Err(HeadError::Incomplete);
        }
        if let Some(kind) = head.field(bytes, 0x08)? {
            head.kind = kind;
        }
        if let Some(crc) = head.field(bytes, 0x10)? {
            head.crc =
                u32::try_from(crc).map_err(|_| HeadError::Invalid("a checksum of over 32 bits"))?;
        }
        head.data = head.field(bytes, 0x1a)?;
        if head.len == 0 {
            return Err(HeadError::Invalid("no type, checksum or data"));
        }
        Ok(head)
    }

    /// Reads the varint behind `tag`, if that is the next tag.
    fn field(&mut self, bytes: &[u8], tag: u8) -> Result<Option<u64>, HeadError> {
        if bytes.get(self.len) != Some(&tag) {
            return Ok(None);
        }
        let (value, len) = varint(&bytes[self.len + 1..])?;
        self.len += 1 + len;
        Ok(Some(value))
    }

    /// The whole record's length, as the record itself has it.
    pub(crate) fn record_len(&self) -> u64 {
        (self.len as u64).saturating_add(self.data.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_words_carry_their_padding() {
        assert_eq!(LengthWord::for_record(4), 0x8400_0000_0000_0004);
        assert_eq!(LengthWord::for_record(0x12), 0x8600_0000_0000_0012);
        assert_eq!(LengthWord::for_record(16), 16);
        for record in 1..64 {
            let word = LengthWord::new(LengthWord::for_record(record));
            assert_eq!(word.record, record);
            assert!(word.top_is_right());
            assert_eq!((record + word.padding()) % 8, 0);
        }
        assert!(!LengthWord::new(0x8500_0000_0000_0004).top_is_right());
        assert!(!LengthWord::new(0xc400_0000_0000_0004).top_is_right());
        assert!(!LengthWord::new(4).top_is_right());
    }

    #[test]
    fn a_head_says_how_long_its_record_is() {
        let record = b"\x08\x01\x10\x83\x8c\x8d\x83\x03\x1a\x08metadata";
        let head = Head::parse(record).unwrap();
        assert_eq!((head.kind, head.crc, head.data), (1, 0x3063_4603, Some(8)));
        assert_eq!(head.record_len(), record.len() as u64);
    }

    #[test]
    fn a_head_cut_anywhere_is_incomplete_or_shorter_but_never_longer() {
        let record = b"\x08\x01\x10\x83\x8c\x8d\x83\x03\x1a\x08";
        for cut in 0..record.len() {
            match Head::parse(&record[..cut]) {
                Err(HeadError::Incomplete) => {}
                Ok(head) => assert!(head.record_len() as usize == cut, "{cut}"),
                Err(e) => panic!("cut at {cut}: {e:?}"),
            }
        }
    }

    #[test]
    fn fields_out_of_order_or_unknown_are_not_part_of_a_head() {
        assert_eq!(Head::parse(b"\x10\x01\x08\x01").unwrap().len, 2);
        assert!(matches!(Head::parse(b"\x22\x01\x00"), Err(HeadError::Invalid(_))));
        assert!(matches!(
            Head::parse(b"\x10\xff\xff\xff\xff\xff\xff\x01"),
            Err(HeadError::Invalid(_))
        ));
    }
}
