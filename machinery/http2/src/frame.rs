//! What every frame begins with (RFC 9113 §4.1).

pub(crate) const HEAD_BYTES: usize = 9;

/// RFC 9113 §3.4: before the client's first frame.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// SETTINGS_MAX_FRAME_SIZE at its least (RFC 9113 §6.5.2): what everybody takes, and all that is taken here.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 16_384;

/// Of streams, windows and what adds to them, the highest bit is nobody's.
pub(crate) const MASK_31: u32 = 0x7fff_ffff;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub bytes: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

/// RFC 9113 §6.
pub(crate) mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

pub(crate) mod flag {
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

impl Head {
    pub fn read(bytes: [u8; HEAD_BYTES]) -> Self {
        let [high, middle, low, kind, flags, a, b, c, d] = bytes;
        let bytes = u32::from_be_bytes([0, high, middle, low]) as usize;
        Self { bytes, kind, flags, stream: u32::from_be_bytes([a, b, c, d]) & MASK_31 }
    }

    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub fn written(self) -> [u8; HEAD_BYTES] {
        let [_, high, middle, low] = (self.bytes as u32).to_be_bytes();
        let [a, b, c, d] = self.stream.to_be_bytes();
        [high, middle, low, self.kind, self.flags, a, b, c, d]
    }
}
