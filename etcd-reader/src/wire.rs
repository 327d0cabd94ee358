//! Protobuf's wire format, as far as reading in place and checking a message's shape need it.
//!
//! etcd's checksum does not cover a record's type. A hard state read as an entry would decode
//! without a word, since protobuf skips what it does not know. So before a message is decoded,
//! [`check_shape`] sees to it that it has the fields of its type and no others.

/// Reads a varint at the start of `bytes`: the value and its length, 1 to 10.
///
/// # Errors
/// See [`VarintError`].
pub(crate) fn varint(bytes: &[u8]) -> Result<(u64, usize), VarintError> {
    let mut value = 0_u64;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        let low = u64::from(byte & 0x7f);
        // The tenth byte holds the highest bit and nothing else.
        if i == 9 && byte > 1 {
            return Err(VarintError::TooLong);
        }
        value |= low << (7 * i);
        if byte & 0x80 == 0 {
            return Ok((value, i + 1));
        }
    }
    Err(if bytes.len() < 10 { VarintError::Incomplete } else { VarintError::TooLong })
}

/// Why there is no varint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VarintError {
    /// The bytes end before it does.
    Incomplete,
    /// It has more than 64 bits.
    TooLong,
}

/// How a field is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Wire type 0.
    Varint,
    /// Wire type 2: bytes or a message.
    Bytes,
}

/// Checks that `message` consists of `fields` (number and storage) only, each at most once.
///
/// # Errors
/// A sentence that says what is there instead.
pub(crate) fn check_shape(message: &[u8], fields: &[(u64, Wire)]) -> Result<(), String> {
    let mut rest = message;
    let mut seen = 0_u64;
    while !rest.is_empty() {
        let (number, wire) = take_tag(&mut rest)?;
        match fields.iter().find(|f| f.0 == number) {
            None => return Err(format!("field {number}, which this type does not have")),
            Some(&(_, want)) if want != wire => {
                return Err(format!("field {number} stored as {wire:?} instead of {want:?}"));
            }
            Some(_) if seen & (1 << number) != 0 => {
                return Err(format!("field {number} twice"));
            }
            Some(_) => seen |= 1 << number,
        }
        skip_value(&mut rest, wire)?;
    }
    Ok(())
}

/// Takes a field's number and storage off the front of `rest`.
fn take_tag(rest: &mut &[u8]) -> Result<(u64, Wire), String> {
    let (tag, len) = varint(rest).map_err(|_| "a cut or overlong field tag".to_owned())?;
    *rest = &rest[len..];
    let wire = match tag & 7 {
        0 => Wire::Varint,
        2 => Wire::Bytes,
        other => return Err(format!("wire type {other}, which etcd does not use")),
    };
    Ok((tag >> 3, wire))
}

/// Takes a field's value off the front of `rest`.
fn skip_value(rest: &mut &[u8], wire: Wire) -> Result<(), String> {
    let (value, len) = varint(rest).map_err(|_| "a cut or overlong number".to_owned())?;
    *rest = &rest[len..];
    if wire == Wire::Bytes {
        *rest = usize::try_from(value)
            .ok()
            .and_then(|n| rest.get(n..))
            .ok_or_else(|| format!("a field of {value} bytes where {} are left", rest.len()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: &[(u64, Wire)] = &[(1, Wire::Varint), (4, Wire::Bytes)];

    #[test]
    fn a_varint_has_at_most_sixty_four_bits() {
        assert_eq!(varint(&[0x96, 0x01]), Ok((150, 2)));
        assert_eq!(varint(&[0x80]), Err(VarintError::Incomplete));
        let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(varint(&max), Ok((u64::MAX, 10)));
        let over = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(varint(&over), Err(VarintError::TooLong));
        assert_eq!(varint(&[0x80; 12]), Err(VarintError::TooLong));
    }

    #[test]
    fn a_message_must_have_the_fields_of_its_type_and_no_others() {
        assert_eq!(check_shape(&[], SHAPE), Ok(()));
        assert_eq!(check_shape(&[0x08, 7, 0x22, 2, 1, 2], SHAPE), Ok(()));
        assert!(check_shape(&[0x10, 7], SHAPE).unwrap_err().contains("field 2"));
        assert!(check_shape(&[0x0a, 0], SHAPE).unwrap_err().contains("stored as Bytes"));
        assert!(check_shape(&[0x08, 7, 0x08, 7], SHAPE).unwrap_err().contains("twice"));
        assert!(check_shape(&[0x22, 9, 1], SHAPE).unwrap_err().contains("1 are left"));
        assert!(check_shape(&[0x0d, 0, 0, 0, 0], SHAPE).unwrap_err().contains("wire type 5"));
    }
}
