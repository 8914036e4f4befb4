//! HPACK (RFC 7541): how header fields are written in HTTP/2. What clients send is read in full. What is sent to them has names
//! from the static table, and nothing from a dynamic one: a search in it would cost each response more than the bytes it
//! saves on the way to a client.

mod decoder;
mod dynamic;
mod encoder;
mod huffman;
mod kind;
mod statics;

pub(crate) use decoder::{Decoder, Field};
pub(crate) use encoder::{put_field, put_no_table, put_status};
pub(crate) use kind::Kind;

/// Why a block of header fields cannot be read: what follows could not be either (RFC 7541 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadBlock {
    #[error("the block ends within a field")]
    End,
    #[error("a number is too large")]
    Number,
    #[error("a string is not what Huffman's code makes")]
    Huffman,
    #[error("no field of a table has this index")]
    Index,
    #[error("the table cannot be of this size, or not here")]
    TableSize,
    #[error("the fields are far larger than any head may be")]
    TooLarge,
}
