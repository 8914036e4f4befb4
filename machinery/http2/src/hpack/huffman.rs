//! Strings in Huffman's code (RFC 7541 §5.2), four bits at a time. The code is canonical, so that the lengths of its codes say
//! all of it (RFC 7541 Appendix B); the automaton is made of them when this is compiled.

use super::BadBlock;

/// Bytes, and the end of the string, which is never sent.
const SYMBOLS: usize = 257;
const END: u16 = 256;
/// Of a tree with as many leaves as there are symbols.
const NODES: usize = SYMBOLS - 1;
const LEAF: u16 = 0x8000;
/// A string is filled up to a whole byte with ones, fewer than eight (RFC 7541 §5.2).
const PADDING_BITS_MAX: usize = 7;

/// Bits of the code of each symbol.
#[rustfmt::skip]
pub(super) const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// What four bits lead to.
#[derive(Clone, Copy)]
struct Step {
    /// The node after them.
    next: u8,
    symbol: u8,
    /// They end a symbol. No code is shorter than five bits, so they never end two.
    emits: bool,
    /// They end what is no symbol of a string.
    fails: bool,
}

static STEPS: [[Step; 16]; NODES] = steps(&tree());
/// Whether a string may end at a node.
static MAY_END: [bool; NODES] = ends(&tree());

/// Appends what a string says.
pub(super) fn decode(string: &[u8], out: &mut Vec<u8>) -> Result<(), BadBlock> {
    // Five bits a symbol at least.
    out.reserve(string.len() * 8 / 5);
    let mut node = 0;
    for byte in string {
        for nibble in [byte >> 4, byte & 15] {
            let step = STEPS[node as usize][nibble as usize];
            if step.fails {
                return Err(BadBlock::Huffman);
            }
            if step.emits {
                out.push(step.symbol);
            }
            node = step.next;
        }
    }
    if MAY_END[node as usize] { Ok(()) } else { Err(BadBlock::Huffman) }
}

/// The code of each symbol.
pub(super) const fn codes() -> [u32; SYMBOLS] {
    let mut codes = [0; SYMBOLS];
    let (mut code, mut length) = (0, 1);
    while length <= 30 {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] == length {
                codes[symbol] = code;
                code += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        length += 1;
    }
    codes
}

/// Where a zero and a one lead from each node: to another, or to a symbol.
const fn tree() -> [[u16; 2]; NODES] {
    let codes = codes();
    let mut tree = [[0; 2]; NODES];
    let (mut nodes, mut symbol) = (1, 0);
    while symbol < SYMBOLS {
        let (mut at, mut bit) = (0, LENGTHS[symbol]);
        while bit > 1 {
            bit -= 1;
            let side = (codes[symbol] >> bit & 1) as usize;
            if tree[at][side] == 0 {
                tree[at][side] = nodes;
                nodes += 1;
            }
            at = tree[at][side] as usize;
        }
        tree[at][(codes[symbol] & 1) as usize] = LEAF | symbol as u16;
        symbol += 1;
    }
    tree
}

const fn steps(tree: &[[u16; 2]; NODES]) -> [[Step; 16]; NODES] {
    let mut steps = [[Step { next: 0, symbol: 0, emits: false, fails: false }; 16]; NODES];
    let mut node = 0;
    while node < NODES {
        let mut nibble = 0;
        while nibble < 16 {
            let (mut at, mut bit) = (node, 4);
            let step = &mut steps[node][nibble];
            while bit > 0 {
                bit -= 1;
                let child = tree[at][nibble >> bit & 1];
                at = if child & LEAF != 0 { 0 } else { child as usize };
                if child == LEAF | END {
                    step.fails = true;
                } else if child & LEAF != 0 {
                    (step.emits, step.symbol) = (true, child as u8);
                }
            }
            step.next = at as u8;
            nibble += 1;
        }
        node += 1;
    }
    steps
}

const fn ends(tree: &[[u16; 2]; NODES]) -> [bool; NODES] {
    let mut ends = [false; NODES];
    let (mut at, mut bits) = (0, 0);
    while bits <= PADDING_BITS_MAX {
        ends[at] = true;
        at = tree[at][1] as usize;
        bits += 1;
    }
    ends
}

#[cfg(test)]
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let (codes, mut bits, mut out) = (codes(), Vec::new(), Vec::new());
    for symbol in text.iter().map(|byte| *byte as usize) {
        bits.extend((0..LENGTHS[symbol]).rev().map(|bit| codes[symbol] >> bit & 1));
    }
    bits.resize(bits.len().next_multiple_of(8), 1);
    out.extend(bits.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(string: &[u8]) -> Result<Vec<u8>, BadBlock> {
        let mut out = Vec::new();
        decode(string, &mut out).map(|()| out)
    }

    /// RFC 7541 §C.4 and §C.6.
    #[test]
    fn the_rfcs_examples_are_read() {
        for (string, text) in [
            (&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..], "www.example.com"),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf], "custom-value"),
            (&[0xae, 0xc3, 0x77, 0x1a, 0x4b], "private"),
        ] {
            assert_eq!(decoded(string).unwrap(), text.as_bytes());
            assert_eq!(encode(text.as_bytes()), string);
        }
    }

    #[test]
    fn padding_is_ones_and_less_than_a_byte() {
        // 'a' is 00011.
        assert_eq!(decoded(&[0b0001_1111]).unwrap(), b"a");
        assert_eq!(decoded(&[0b0001_1110]), Err(BadBlock::Huffman));
        assert_eq!(decoded(&[0b0001_1111, 0xff]), Err(BadBlock::Huffman));
        assert_eq!(decoded(&[0xff]), Err(BadBlock::Huffman));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xfc]), Err(BadBlock::Huffman), "the end of a string");
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decoded(&encode(&text)).unwrap(), text);
        }

        #[test]
        fn any_bytes_are_a_string_or_none(string in prop::collection::vec(any::<u8>(), 0..200)) {
            // Of what is one, the code is the only one.
            if let Ok(text) = decoded(&string) {
                prop_assert_eq!(encode(&text), string);
            }
        }
    }
}
