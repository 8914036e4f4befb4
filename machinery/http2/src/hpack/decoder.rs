//! Blocks of header fields, read.

use super::dynamic::{Found, Table};
use super::kind::Kind;
use super::{BadBlock, huffman, statics};

/// SETTINGS_HEADER_TABLE_SIZE that clients are left with (RFC 9113 §6.5.2).
const TABLE_BYTES_MAX: usize = 4096;
/// A buffer for strings that is larger is not kept.
const KEPT_BYTES_MAX: usize = 4096;
/// No number in a block of a frame is larger, and none needs more bytes (RFC 7541 §5.1 asks for a limit).
const NUMBER_SHIFT_MAX: u32 = 21;

#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table,
    name: Vec<u8>,
    value: Vec<u8>,
}

/// A field of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    pub kind: Kind,
}

/// What is left of a block.
struct Block<'a>(&'a [u8]);

impl Decoder {
    pub fn new() -> Self {
        Self { table: Table::new(TABLE_BYTES_MAX), name: Vec::new(), value: Vec::new() }
    }

    /// Shows each field of a block. Two bytes of it may stand for a field of thousands: of fields that have more than `bytes_max`
    /// in all no more is read.
    pub fn decode(&mut self, block: &[u8], bytes_max: usize, mut visit: impl FnMut(Field<'_>)) -> Result<(), BadBlock> {
        let mut bytes_left = bytes_max;
        let decoded = self.each(Block(block), |field| {
            let left = bytes_left.checked_sub(field.name.len() + field.value.len());
            bytes_left = left.ok_or(BadBlock::TooLarge)?;
            visit(field);
            Ok(())
        });
        for scratch in [&mut self.name, &mut self.value] {
            scratch.clear();
            scratch.shrink_to(KEPT_BYTES_MAX);
        }
        decoded
    }

    fn each(
        &mut self,
        mut block: Block<'_>,
        mut visit: impl FnMut(Field<'_>) -> Result<(), BadBlock>,
    ) -> Result<(), BadBlock> {
        // RFC 7541 §4.2: before the first field.
        let mut may_resize = true;
        while let Some(first) = block.0.first().copied() {
            if first & 0xe0 == 0x20 {
                let bytes_max = block.number(5)?;
                if !may_resize || bytes_max > TABLE_BYTES_MAX {
                    return Err(BadBlock::TableSize);
                }
                self.table.resize(bytes_max);
                continue;
            }
            may_resize = false;
            if first & 0x80 != 0 {
                let Found { name, value, kind, .. } = self.found(block.number(7)?)?;
                visit(Field { name, value, kind })?;
            } else {
                let (is_kept, bits) = if first & 0x40 != 0 { (true, 6) } else { (false, 4) };
                self.literal(&mut block, bits, is_kept, &mut visit)?;
            }
        }
        Ok(())
    }

    fn found(&self, index: usize) -> Result<Found<'_>, BadBlock> {
        let index = index.checked_sub(1).ok_or(BadBlock::Index)?;
        match statics::FIELDS.get(index) {
            Some((name, value, kind)) => {
                Ok(Found { name: name.as_bytes(), value: value.as_bytes(), kind: *kind, name_kind: *kind })
            }
            None => self.table.get(index - statics::LENGTH).ok_or(BadBlock::Index),
        }
    }

    /// A field whose value is there, and maybe its name.
    fn literal(
        &mut self,
        block: &mut Block<'_>,
        bits: u32,
        is_kept: bool,
        visit: &mut impl FnMut(Field<'_>) -> Result<(), BadBlock>,
    ) -> Result<(), BadBlock> {
        let index = block.number(bits)?;
        let (mut name_scratch, mut value_scratch) = (std::mem::take(&mut self.name), std::mem::take(&mut self.value));
        let (name, name_kind) = match index {
            0 => {
                let name = block.string(&mut name_scratch)?;
                (name, Kind::of(name))
            }
            index => {
                let found = self.found(index)?;
                (found.name, found.name_kind)
            }
        };
        let value = block.string(&mut value_scratch)?;
        let kind = name_kind.with(value);
        visit(Field { name, value, kind })?;
        if is_kept {
            let text = [name, value].concat().into_boxed_slice();
            let name_bytes = name.len();
            self.table.insert(text, name_bytes, kind, name_kind);
        }
        (self.name, self.value) = (name_scratch, value_scratch);
        Ok(())
    }
}

impl<'a> Block<'a> {
    fn byte(&mut self) -> Result<u8, BadBlock> {
        let (first, rest) = self.0.split_first().ok_or(BadBlock::End)?;
        self.0 = rest;
        Ok(*first)
    }

    /// A number that begins in the last `bits` of a byte (RFC 7541 §5.1).
    fn number(&mut self, bits: u32) -> Result<usize, BadBlock> {
        let mask = (1 << bits) - 1;
        let mut number = usize::from(self.byte()?) & mask;
        if number < mask {
            return Ok(number);
        }
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
            shift += 7;
            if shift > NUMBER_SHIFT_MAX {
                return Err(BadBlock::Number);
            }
        }
    }

    /// A string, where it lies or in `scratch` (RFC 7541 §5.2).
    fn string<'s>(&mut self, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], BadBlock>
    where
        'a: 's,
    {
        let is_huffman = self.0.first().is_some_and(|first| first & 0x80 != 0);
        let length = self.number(7)?;
        if length > self.0.len() {
            return Err(BadBlock::End);
        }
        let (string, rest) = self.0.split_at(length);
        self.0 = rest;
        if !is_huffman {
            return Ok(string);
        }
        scratch.clear();
        huffman::decode(string, scratch)?;
        Ok(scratch)
    }
}

#[cfg(test)]
mod tests;
