//! Hexadecimal encoding of bit sets, in which a log stores patterns.

use crate::{Error, Result};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Encodes a bit set over `places` places in two lowercase hexadecimal digits a byte. Place `p` is bit `p % 32` of word `p / 32`,
/// the layout of sets on the device, and bit `p % 8` of byte `p / 8` of the text.
pub fn to_hex(words: &[u32], places: usize) -> String {
    let bytes = words.iter().flat_map(|word| word.to_le_bytes()).chain(std::iter::repeat(0));
    bytes
        .take(places.div_ceil(8))
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Decodes the words of a bit set that [`to_hex`] encoded.
///
/// # Errors
/// [`Error::Argument`] if the text does not encode a set over `places` places.
pub fn from_hex(text: &str, places: usize) -> Result<Vec<u32>> {
    let bad = |wanted: String, found: String| Error::argument("set", "hex", wanted, found);
    let wanted = 2 * places.div_ceil(8);
    if text.len() != wanted {
        return Err(bad(format!("{wanted} digits"), format!("{} long", text.len())));
    }
    let mut words = vec![0; places.div_ceil(32)];
    for (index, digit) in text.bytes().enumerate() {
        let value = DIGITS
            .iter()
            .position(|&known| known == digit)
            .ok_or_else(|| bad("digits from 0 to f".to_owned(), format!("{digit:#04x} at {index}")))?;
        // The first digit of a byte holds its upper four bits.
        let place = 4 * (index ^ 1);
        if value >> places.saturating_sub(place).min(4) != 0 {
            return Err(bad(format!("a set over {places} places"), "one over more".to_owned()));
        }
        if value != 0 {
            words[place / 32] |= (value as u32) << (place % 32);
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_by_place() {
        // Places 0, 9 and 34 of 35.
        let words = [1 | 1 << 9, 1 << 2];
        assert_eq!(to_hex(&words, 35), "0102000004");
        assert_eq!(from_hex("0102000004", 35).unwrap(), words);
        assert_eq!(to_hex(&[], 9), "0000");
        assert_eq!(from_hex("", 0).unwrap(), [0u32; 0]);
    }

    #[test]
    fn what_is_no_set() {
        for (text, places) in [("01", 9), ("0100", 8), ("0G", 8), ("0A", 8), ("+1", 8), ("20", 5), ("é", 8)]
        {
            assert!(from_hex(text, places).is_err(), "{text} over {places}");
        }
        assert!(from_hex("1f", 5).is_ok());
    }
}
