//! Seeds as files: one per line, with escapes for what is no text.

use anyhow::{Context, bail};
use std::path::PathBuf;

/// Where seeds and findings are kept.
pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The seeds of a target. There is one at least.
pub fn read(target: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let path = directory().join(target);
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with("# "));
    let seeds: Vec<Vec<u8>> = lines
        .map(|(index, line)| unescape(line).with_context(|| format!("{}:{}", path.display(), index + 1)))
        .collect::<Result<_, _>>()?;
    if seeds.is_empty() {
        bail!("{} has no seed", path.display());
    }
    Ok(seeds)
}

/// As a line of the file.
pub fn escape(bytes: &[u8]) -> String {
    let mut line = String::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        // Text as it is, whatever is none byte by byte.
        let (text, broken) = match std::str::from_utf8(rest) {
            Ok(text) => (text, 0),
            Err(error) => {
                let text = std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default();
                (text, error.error_len().unwrap_or(rest.len() - error.valid_up_to()))
            }
        };
        for (place, character) in text.char_indices() {
            match character {
                '\\' => line.push_str("\\\\"),
                '\n' => line.push_str("\\n"),
                '\r' => line.push_str("\\r"),
                '\t' => line.push_str("\\t"),
                '#' if place == 0 && line.is_empty() => line.push_str("\\x23"),
                character if character.is_control() => {
                    let mut encoded = [0; 4];
                    character.encode_utf8(&mut encoded).bytes().for_each(|byte| line.push_str(&hex(byte)));
                }
                character => line.push(character),
            }
        }
        rest[text.len()..text.len() + broken].iter().for_each(|byte| line.push_str(&hex(*byte)));
        rest = &rest[text.len() + broken..];
    }
    line
}

fn hex(byte: u8) -> String {
    format!("\\x{byte:02x}")
}

pub fn unescape(line: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = std::str::from_utf8(&digits).unwrap_or_default();
                let byte = u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2);
                byte.with_context(|| format!("`\\x{digits}` is no byte"))?
            }
            other => bail!("an escape of {:?}", other.map(char::from)),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_read_as_it_was_written() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in [b"# \r\n\t\\x\0".as_slice(), "é`\u{85}".as_bytes(), b"\xc3", b"a\xff\xfe\xc3\xa9", &all] {
            let line = escape(bytes);
            assert!(!line.contains('\n') && !line.starts_with('#'), "{line}");
            assert_eq!(unescape(&line).unwrap(), bytes, "{line}");
        }
        assert!(unescape("\\q").is_err() && unescape("\\x4").is_err() && unescape("\\").is_err());
    }
}
