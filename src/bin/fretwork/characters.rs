//! Whole characters from bytes that arrive one by one.

/// UTF-8 text in pieces. A character is withheld until its last byte has arrived.
#[derive(Debug, Default)]
pub(crate) struct Characters {
    /// Beginning of a character, at most three bytes.
    begun: Vec<u8>,
}

impl Characters {
    /// Adds bytes, and returns the characters that are complete now. A sequence that is no UTF-8 becomes U+FFFD.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.begun.extend(bytes);
        let mut whole = String::new();
        loop {
            match std::str::from_utf8(&self.begun) {
                Ok(text) => {
                    whole += text;
                    self.begun.clear();
                    return whole;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    whole += &String::from_utf8_lossy(&self.begun[..valid]);
                    // Without a length, more bytes may complete the character.
                    let invalid = error.error_len();
                    self.begun.drain(..valid + invalid.unwrap_or(0));
                    if invalid.is_none() {
                        return whole;
                    }
                    whole.push(char::REPLACEMENT_CHARACTER);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Characters;

    fn pushed(bytes: &[u8]) -> Vec<String> {
        let mut characters = Characters::default();
        bytes.iter().map(|&byte| characters.push(&[byte])).collect()
    }

    #[test]
    fn no_half_of_a_character_is_printed() {
        assert_eq!(
            pushed("a\u{e4}\u{20ac}\u{1f600}".as_bytes()),
            ["a", "", "\u{e4}", "", "", "\u{20ac}", "", "", "", "\u{1f600}"]
        );
        assert_eq!(Characters::default().push("\u{e4}\u{20ac}".as_bytes()), "\u{e4}\u{20ac}");
    }

    #[test]
    fn what_is_no_character_is_replaced() {
        // A lone continuation byte; a lead byte that a letter follows.
        assert_eq!(pushed(b"\x80a"), ["\u{fffd}", "a"]);
        assert_eq!(pushed(b"\xC3a"), ["", "\u{fffd}a"]);
        // Every text is valid, whatever the bytes.
        let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        assert!(pushed(&all).concat().starts_with("\0\u{1}"));
    }
}
