//! Which pictures exist: their types, their keys and their sizes.

use std::fmt;
use std::str::FromStr;

/// A file up to this size goes up in one PUT; S3 lets no part but the last be smaller.
pub const SINGLE_PUT_BYTES_MAX: u64 = 5 << 20;
/// Bytes of one part of a multipart upload (the last may hold fewer).
pub const PART_BYTES: u64 = 5 << 20;
/// The largest picture that is signed for.
pub const PICTURE_BYTES_MAX: u64 = 1 << 30;
/// Parts of the largest picture.
pub const PARTS_MAX: u64 = PICTURE_BYTES_MAX.div_ceil(PART_BYTES);
/// S3's own limit on parts.
const _: () = assert!(PARTS_MAX <= 10_000);

/// Every picture's key begins with this, as in the article.
pub const KEY_PREFIX: &str = "pictures/";
/// Random characters in a key: 62^16 is about 2^95.
const KEY_RANDOM_CHARACTERS: usize = 16;
const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A picture's type. SVG is none: it can carry scripts, which would run under the storage's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureType {
    Png,
    Jpeg,
    Gif,
    Webp,
}

impl PictureType {
    pub const ALL: [Self; 4] = [Self::Png, Self::Jpeg, Self::Gif, Self::Webp];

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }

    pub fn from_content_type(given: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.content_type().eq_ignore_ascii_case(given))
    }

    /// The extension of new keys.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Gif => "gif",
            Self::Webp => "webp",
        }
    }

    fn from_extension(given: &str) -> Option<Self> {
        if given == "jpeg" {
            return Some(Self::Jpeg);
        }
        Self::ALL.into_iter().find(|kind| kind.extension() == given)
    }
}

/// A picture's key: `pictures/` and 16 random letters and digits with an extension. The server draws it, so no caller can
/// write over another's picture or outside the prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureKey(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key {given:?} is not {KEY_PREFIX}<{KEY_RANDOM_CHARACTERS} letters or digits>.<png, jpg, jpeg, gif or webp>")]
pub struct KeyError {
    given: String,
}

impl PictureKey {
    pub fn generate(kind: PictureType) -> Result<Self, getrandom::Error> {
        let mut name = String::with_capacity(KEY_RANDOM_CHARACTERS);
        while name.len() < KEY_RANDOM_CHARACTERS {
            let mut bytes = [0; 2 * KEY_RANDOM_CHARACTERS];
            getrandom::fill(&mut bytes)?;
            name.extend(characters(&bytes).take(KEY_RANDOM_CHARACTERS - name.len()));
        }
        Ok(Self(format!("{KEY_PREFIX}{name}.{}", kind.extension())))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Each byte's character; a byte past the last whole alphabet is left out, so that no character is likelier.
fn characters(bytes: &[u8]) -> impl Iterator<Item = char> {
    let whole = u8::MAX - u8::MAX % ALPHANUMERIC.len() as u8;
    bytes
        .iter()
        .filter(move |byte| **byte < whole)
        .map(|byte| ALPHANUMERIC[*byte as usize % ALPHANUMERIC.len()] as char)
}

impl FromStr for PictureKey {
    type Err = KeyError;

    fn from_str(given: &str) -> Result<Self, KeyError> {
        let valid =
            given.strip_prefix(KEY_PREFIX).and_then(|file| file.split_once('.')).is_some_and(|(name, extension)| {
                name.len() == KEY_RANDOM_CHARACTERS
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
                    && PictureType::from_extension(extension).is_some()
            });
        if valid { Ok(Self(given.to_owned())) } else { Err(KeyError { given: given.to_owned() }) }
    }
}

impl fmt::Display for PictureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn generated_keys_are_valid_and_differ() {
        let mut seen = HashSet::new();
        for kind in PictureType::ALL {
            for _ in 0..100 {
                let key = PictureKey::generate(kind).unwrap();
                assert_eq!(key.as_str().parse(), Ok(key.clone()));
                assert!(key.as_str().ends_with(kind.extension()));
                assert!(seen.insert(key.to_string()), "a key repeats");
            }
        }
    }

    #[test]
    fn every_character_is_equally_likely() {
        let every_byte: Vec<u8> = (0..=255).collect();
        let mut counts = std::collections::HashMap::new();
        for character in characters(&every_byte) {
            *counts.entry(character).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 62);
        assert!(counts.values().all(|count| *count == 4), "{counts:?}");
    }

    #[test]
    fn a_key_outside_the_prefix_or_of_another_shape_is_refused() {
        assert!("pictures/B6C3OuVCIAEfwmjx.jpeg".parse::<PictureKey>().is_ok());
        for key in [
            "",
            "B6C3OuVCIAEfwmjx.jpg",
            "pictures/../secret/aaaaaa.jpg",
            "pictures/B6C3OuVCIAEfwmj.jpg",
            "pictures/B6C3OuVCIAEfwmjx.svg",
            "pictures/B6C3OuVCIAEfwmjx",
            "pictures/B6C3OuVCIAEfwmjx.jpg.png",
            "pictures/B6C3OuVCIAEfwm%2F.jpg",
        ] {
            assert!(key.parse::<PictureKey>().is_err(), "{key}");
        }
    }

    #[test]
    fn svg_is_no_picture() {
        assert_eq!(PictureType::from_content_type("image/PNG"), Some(PictureType::Png));
        assert_eq!(PictureType::from_content_type("image/svg+xml"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_key_panics_and_a_valid_one_needs_no_encoding(text in "\\PC*|pictures/[A-Za-z0-9]{14,18}\\.[a-z]{2,4}") {
            if let Ok(key) = text.parse::<PictureKey>() {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'/' || byte == b'.';
                proptest::prop_assert!(key.as_str().bytes().all(plain));
            }
        }
    }
}
