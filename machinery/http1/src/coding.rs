//! Data that came without framing, as the bytes of a body.

use crate::chunk::ChunkHead;

/// How the bytes of a body are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Not at all: the head told their number, or they are those of a tunnel. Trailers have no place in it.
    Plain,
    Chunked,
}

/// What a chunk has beside its data, and more.
const FRAMING_BYTES: usize = 32;

/// What was written of some data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coded {
    /// Of the data.
    pub taken: usize,
    /// Bytes of the body.
    pub written: usize,
}

impl Coding {
    /// Writes data to `room`, as far as there is some.
    pub fn put(self, data: &[u8], room: &mut [u8]) -> Coded {
        let framing = if self == Self::Chunked { FRAMING_BYTES } else { 0 };
        let taken = data.len().min(room.len().saturating_sub(framing));
        let data = &data[..taken];
        let written = match self {
            _ if taken == 0 => 0,
            Self::Plain => {
                room[..taken].copy_from_slice(data);
                taken
            }
            Self::Chunked => put_chunk(data, room),
        };
        Coded { taken, written }
    }
}

fn put_chunk(data: &[u8], room: &mut [u8]) -> usize {
    let head = ChunkHead::new(data.len());
    let mut at = 0;
    for part in [head.as_bytes(), data, b"\r\n"] {
        room[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_written_as_far_as_there_is_room() {
        assert!(ChunkHead::new(usize::MAX).as_bytes().len() + 2 <= FRAMING_BYTES);
        let mut room = [0; FRAMING_BYTES + 3];
        assert_eq!(Coding::Chunked.put(b"hello", &mut room), Coded { taken: 3, written: 8 });
        assert_eq!(&room[..8], b"3\r\nhel\r\n");
        assert_eq!(Coding::Chunked.put(b"hello", &mut room[..9]), Coded { taken: 0, written: 0 });
        assert_eq!(Coding::Plain.put(b"hello", &mut room[..4]), Coded { taken: 4, written: 4 });
        assert_eq!(&room[..4], b"hell");
    }
}
