//! What both sides say of themselves, and of windows (RFC 9113 §6.5, §6.9).

use super::{Connection, WINDOW_BYTES};
use crate::frame::{Head, MASK_31, PAYLOAD_BYTES_MAX, flag, kind};
use crate::reason::{Fault, Reason};

/// RFC 9113 §6.5.2, RFC 8441 §3.
mod id {
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

const SETTING_BYTES: usize = 6;
/// RFC 9113 §6.9.1.
const WINDOW_BYTES_MAX: i64 = MASK_31 as i64;
/// RFC 9113 §6.5.2.
const FRAME_BYTES_MAX: u32 = (1 << 24) - 1;

impl Connection {
    pub(super) fn put_settings(&mut self) {
        let limits = &self.limits;
        let settings = [
            (id::MAX_CONCURRENT_STREAMS, limits.streams_max as u32),
            (id::INITIAL_WINDOW_SIZE, limits.stream_window_bytes),
            (id::MAX_HEADER_LIST_SIZE, limits.head_bytes_max as u32),
            (id::ENABLE_CONNECT_PROTOCOL, 1),
        ];
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| {
                let ([a, b], [c, d, e, f]) = (id.to_be_bytes(), value.to_be_bytes());
                [a, b, c, d, e, f]
            })
            .collect();
        self.out.frame(kind::SETTINGS, 0, 0, &payload);
        let more = i64::from(limits.connection_window_bytes) - WINDOW_BYTES;
        if more > 0 {
            self.out.window_update(0, more as usize);
        }
    }

    pub(super) fn settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(Fault::Connection(Reason::Protocol));
        }
        if head.has(flag::ACK) {
            return if payload.is_empty() { Ok(()) } else { Err(Fault::Connection(Reason::FrameSize)) };
        }
        if !payload.len().is_multiple_of(SETTING_BYTES) {
            return Err(Fault::Connection(Reason::FrameSize));
        }
        for setting in payload.chunks_exact(SETTING_BYTES) {
            let &[a, b, c, d, e, f] = setting else { continue };
            self.set(u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f])).map_err(Fault::Connection)?;
        }
        self.peer.has_settled = true;
        self.out.frame(kind::SETTINGS, flag::ACK, 0, &[]);
        Ok(())
    }

    /// What nobody knows is ignored (RFC 9113 §6.5.2). Its table is not used, its limit of headers is advice, and it is pushed
    /// nothing.
    fn set(&mut self, id: u16, value: u32) -> Result<(), Reason> {
        match id {
            id::ENABLE_PUSH if value > 1 => Err(Reason::Protocol),
            id::INITIAL_WINDOW_SIZE => self.set_window(i64::from(value)),
            id::MAX_FRAME_SIZE if !(PAYLOAD_BYTES_MAX as u32..=FRAME_BYTES_MAX).contains(&value) => {
                Err(Reason::Protocol)
            }
            _ => Ok(()),
        }
    }

    /// Changes every stream's by the difference, below nothing, too (RFC 9113 §6.9.2).
    fn set_window(&mut self, window: i64) -> Result<(), Reason> {
        if window > WINDOW_BYTES_MAX {
            return Err(Reason::FlowControl);
        }
        let more = window - self.peer.window;
        self.peer.window = window;
        let mut is_over = false;
        self.streams.each(|stream| {
            stream.send_window += more;
            is_over |= stream.send_window > WINDOW_BYTES_MAX;
        });
        if is_over {
            return Err(Reason::FlowControl);
        }
        if more > 0 {
            self.begin_round();
        }
        Ok(())
    }

    pub(super) fn window_update(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        let &[a, b, c, d] = payload else { return Err(Fault::Connection(Reason::FrameSize)) };
        let more = i64::from(u32::from_be_bytes([a, b, c, d]) & MASK_31);
        if head.stream == 0 {
            let window = self.send_window + more;
            if more == 0 || window > WINDOW_BYTES_MAX {
                let reason = if more == 0 { Reason::Protocol } else { Reason::FlowControl };
                return Err(Fault::Connection(reason));
            }
            self.send_window = window;
            self.begin_round();
            return Ok(());
        }
        self.not_idle(head.stream)?;
        let Some(key) = self.streams.find(head.stream) else { return Ok(()) };
        let Some(stream) = self.streams.get(key).filter(|stream| stream.is_open()) else { return Ok(()) };
        if more == 0 {
            return Err(Fault::Stream(head.stream, Reason::Protocol));
        }
        stream.send_window += more;
        if stream.send_window > WINDOW_BYTES_MAX {
            return Err(Fault::Stream(head.stream, Reason::FlowControl));
        }
        if stream.waits_for_room {
            stream.waits_for_room = false;
            stream.wake();
        }
        Ok(())
    }
}
