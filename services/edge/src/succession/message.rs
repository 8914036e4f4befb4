//! What the two processes say to each other.

use super::MESSAGE_BYTES_MAX;
use crate::current::Report;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Fields that are not known are ignored, so that they can be added.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum Message {
    Hello {
        v: u32,
        /// For people.
        program: String,
    },
    Refused {
        reason: String,
    },
    /// Their descriptors follow, in this order.
    Sockets {
        v: u32,
        sockets: Vec<Described>,
        /// By which the edge knows its own requests to itself; either process may answer them.
        probe: String,
        /// What the controller said of the node last.
        is_draining: bool,
    },
    Ready,
    Report(Told),
    Serving,
    /// Instead of a hello, by one that drains and whose successor is gone; reports follow.
    Remains {
        v: u32,
    },
}

/// What is true of a process and of those before it that still drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Of all of them together.
    #[serde(flatten)]
    pub report: Report,
    /// Whose word it is.
    #[serde(default)]
    pub name: String,
    /// Of those before it, by name: it may die before they do.
    #[serde(default)]
    pub before: BTreeMap<String, Report>,
}

/// The sockets of one listener.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Described {
    pub of: super::Use,
    /// As it was asked for: its port may be 0.
    pub asked: SocketAddr,
    pub count: usize,
}

pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &Message) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    bytes[..4].copy_from_slice(&(length as u32).to_be_bytes());
    stream.write_all(&bytes).await
}

/// Reads not one byte more: descriptors may follow.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Message> {
    let length = stream.read_u32().await? as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(serde_json::from_slice(&bytes)?)
}
