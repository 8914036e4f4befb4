//! Nearly the same bytes.

use crate::random::Random;

/// Bytes an input may grow to: beyond every limit that is tried, and quick to read.
pub const INPUT_BYTES_MAX: usize = 16 * 1024;
/// Changes made to one input, at most.
const CHANGES_MAX: usize = 6;
/// How often a piece is repeated, at most: to come beyond limits of counts and lengths.
const REPEATS_MAX: usize = 300;

/// What means something to many readers.
const BYTES: &[u8] = b"\0\x01\t\n\x0b\r \"#%&'(),-./:;<=>?@[\\]^`{|}~\x7f\x80\xc3\xe9\xff019aAfFzZ";
const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "-1",
    "+1",
    "00",
    "9999999999999999999",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "-9223372036854775808",
    "4294967296",
    "0x10",
    "1e400",
    "0.5",
];

/// Changes `bytes`; `other` is another input of the corpus, `words` are the target's.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], words: &[&str], random: &mut Random) {
    for _ in 0..=random.below(CHANGES_MAX) {
        change(bytes, other, words, random);
    }
    bytes.truncate(INPUT_BYTES_MAX);
}

fn change(bytes: &mut Vec<u8>, other: &[u8], words: &[&str], random: &mut Random) {
    let length = bytes.len();
    let at = random.below(length + 1);
    let (from, to) = random.piece(length);
    match random.below(16) {
        0 if at < length => bytes[at] ^= 1 << random.below(8),
        1 if at < length => bytes[at] = random.byte(),
        2 if at < length => bytes[at] = *random.one_of(BYTES),
        3 => bytes.insert(at, *random.one_of(BYTES)),
        4 if at < length => drop(bytes.remove(at)),
        5 => drop(bytes.drain(from..to)),
        6 => bytes.truncate(at),
        7 => {
            let piece = bytes[from..to].to_vec();
            insert(bytes, at, &piece);
        }
        8 => {
            let (from, to) = random.piece(other.len());
            insert(bytes, at, &other[from..to]);
        }
        9 => {
            bytes.truncate(at);
            bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
        10 | 11 if !words.is_empty() => insert(bytes, at, random.one_of(words).as_bytes()),
        12 if !words.is_empty() => {
            let word = random.one_of(words).as_bytes();
            let end = (at + word.len()).min(length);
            drop(bytes.splice(at..end, word.iter().copied()));
        }
        13 => line(bytes, random),
        14 => number(bytes, at, random),
        _ => {
            let piece = if to - from > 64 { &bytes[from..from + 64] } else { &bytes[from..to] };
            let repeated = piece.repeat(random.below(REPEATS_MAX));
            insert(bytes, at, &repeated);
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let room = INPUT_BYTES_MAX.saturating_sub(bytes.len());
    drop(bytes.splice(at..at, piece[..piece.len().min(room)].iter().copied()));
}

/// A line goes, comes twice, or changes places with another.
fn line(bytes: &mut Vec<u8>, random: &mut Random) {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    if lines.is_empty() {
        return;
    }
    let (one, two) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(3) {
        0 => drop(lines.remove(one)),
        1 => lines.insert(two, lines[one]),
        _ => lines.swap(one, two),
    }
    *bytes = lines.concat();
}

/// The number after a place becomes another.
fn number(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let Some(from) = bytes[at..].iter().position(u8::is_ascii_digit).map(|after| at + after) else { return };
    let digits = bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let known: Option<u64> = std::str::from_utf8(&bytes[from..from + digits]).ok().and_then(|text| text.parse().ok());
    let other = match (random.below(4), known) {
        (0, Some(known)) => known.wrapping_add(1).to_string(),
        (1, Some(known)) => known.wrapping_sub(1).to_string(),
        (2, Some(known)) => format!("0{known}"),
        _ => (*random.one_of(&NUMBERS)).to_owned(),
    };
    drop(bytes.splice(from..from + digits, other.into_bytes()));
}
