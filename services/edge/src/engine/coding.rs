//! How the framing of a response's body changes between server and client.

use http1::{BadChunk, Body, ChunkHead};

/// How the framing of the body changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    AsItCame,
    /// HTTP/1.0 knows no chunks: the connection's end says where it ends.
    OutOfChunks,
    /// It ends with the server's connection, but the client's stays.
    IntoChunks,
}

impl Coding {
    /// Takes what belongs to the body from `bytes`: how many that are, and how many of them go on as they are (after
    /// `out`); what changes is written to `out`.
    pub fn put(self, out: &mut Vec<u8>, body: &mut Body, bytes: &[u8]) -> Result<(usize, usize), BadChunk> {
        match self {
            Self::AsItCame => body.advance(bytes).map(|used| (used, used)),
            Self::IntoChunks => {
                let used = body.advance(bytes)?;
                if used > 0 {
                    out.extend_from_slice(ChunkHead::new(used).as_bytes());
                    out.extend_from_slice(&bytes[..used]);
                    out.extend_from_slice(b"\r\n");
                }
                Ok((used, 0))
            }
            Self::OutOfChunks => {
                let mut used = 0;
                while used < bytes.len() && !body.is_done() {
                    let decoded = body.decode(&bytes[used..])?;
                    out.extend_from_slice(decoded.data);
                    used += decoded.consumed;
                }
                Ok((used, 0))
            }
        }
    }
}
