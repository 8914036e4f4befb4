//! The checksums S3 clients send, computed while a body passes.

use crate::fault::{Fault, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Every checksum header, in lower case.
pub const HEADERS: &[&str] = &[
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
];

/// One checksum under way. The header it belongs to is its name.
pub enum Checksum {
    Crc32(crc32fast::Hasher),
    Crc32c(u32),
    Crc64Nvme(u64),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Checksum {
    pub fn of_header(name: &str) -> Option<Self> {
        Some(match name {
            "x-amz-checksum-crc32" => Self::Crc32(crc32fast::Hasher::new()),
            "x-amz-checksum-crc32c" => Self::Crc32c(0),
            "x-amz-checksum-crc64nvme" => Self::Crc64Nvme(0),
            "x-amz-checksum-sha1" => Self::Sha1(Sha1::new()),
            "x-amz-checksum-sha256" => Self::Sha256(Sha256::new()),
            _ => return None,
        })
    }

    pub fn header(&self) -> &'static str {
        match self {
            Self::Crc32(_) => HEADERS[0],
            Self::Crc32c(_) => HEADERS[1],
            Self::Crc64Nvme(_) => HEADERS[2],
            Self::Sha1(_) => HEADERS[3],
            Self::Sha256(_) => HEADERS[4],
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(hasher) => hasher.update(bytes),
            Self::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
            Self::Crc64Nvme(crc) => *crc = crc64_nvme(*crc, bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    /// In base64, as it stands in a header.
    pub fn finish(self) -> String {
        match self {
            Self::Crc32(hasher) => STANDARD.encode(hasher.finalize().to_be_bytes()),
            Self::Crc32c(crc) => STANDARD.encode(crc.to_be_bytes()),
            Self::Crc64Nvme(crc) => STANDARD.encode(crc.to_be_bytes()),
            Self::Sha1(hasher) => STANDARD.encode(hasher.finalize()),
            Self::Sha256(hasher) => STANDARD.encode(hasher.finalize()),
        }
    }
}

/// The checksum a head declares: as a header with its value, or as a trailer to come. More than one is refused.
pub fn declared(headers: &HeaderMap) -> Result<Option<(Checksum, Option<String>)>> {
    let mut found = None;
    for name in HEADERS {
        if let Some(value) = headers.get(*name) {
            let value = value.to_str().map_err(|_| Fault::invalid_request("a checksum header is not ASCII"))?;
            let checksum = Checksum::of_header(name).ok_or_else(Fault::internal)?;
            if found.replace((checksum, Some(value.to_owned()))).is_some() {
                return Err(Fault::invalid_request("Expecting a single x-amz-checksum- header."));
            }
        }
    }
    if let Some(trailer) = headers.get("x-amz-trailer").and_then(|value| value.to_str().ok()) {
        let trailer = trailer.trim().to_ascii_lowercase();
        let checksum = Checksum::of_header(&trailer);
        let checksum = checksum.ok_or_else(|| {
            Fault::invalid_request("The value specified in the x-amz-trailer header is not supported")
        })?;
        if found.replace((checksum, None)).is_some() {
            return Err(Fault::invalid_request("Expecting a single x-amz-checksum- header."));
        }
    }
    Ok(found)
}

/// What is said of an object's checksum: computed over the whole, or over the checksums of its parts.
pub const TYPE: &str = "x-amz-checksum-type";
pub const FULL_OBJECT: &str = "FULL_OBJECT";
pub const COMPOSITE: &str = "COMPOSITE";

/// The checksum over the checksums of the parts, and how many there are.
pub fn composite(header: &str, parts: &[(&str, u64)]) -> Option<String> {
    let mut checksum = Checksum::of_header(header)?;
    for (part, _) in parts {
        checksum.update(&STANDARD.decode(part).ok()?);
    }
    Some(format!("{}-{}", checksum.finish(), parts.len()))
}

/// The checksum of the whole from those of its parts and their lengths: known for CRCs, which are linear.
pub fn full_object(header: &str, parts: &[(&str, u64)]) -> Option<String> {
    let (polynomial, bytes): (u64, usize) = match header {
        "x-amz-checksum-crc32" => (0xedb8_8320, 4),
        "x-amz-checksum-crc32c" => (0x82f6_3b78, 4),
        "x-amz-checksum-crc64nvme" => (CRC64_NVME_POLYNOMIAL, 8),
        _ => return None,
    };
    let mut whole = 0;
    for (part, len) in parts {
        let part = STANDARD.decode(part).ok().filter(|part| part.len() == bytes)?;
        let crc = part.iter().fold(0, |crc: u64, byte| (crc << 8) | u64::from(*byte));
        whole = append_zeros(whole, *len, polynomial, 8 * bytes as u32) ^ crc;
    }
    Some(STANDARD.encode(&whole.to_be_bytes()[8 - bytes..]))
}

/// A CRC times x^(8 * len) modulo the polynomial, all reflected (as zlib's `crc32_combine`).
fn append_zeros(crc: u64, mut len: u64, polynomial: u64, width: u32) -> u64 {
    let multiply = |a: u64, mut b: u64| {
        let mut product = 0;
        for bit in (0..width).rev() {
            if a >> bit & 1 == 1 {
                product ^= b;
            }
            b = if b & 1 == 1 { (b >> 1) ^ polynomial } else { b >> 1 };
        }
        product
    };
    // x^8, then its squares.
    let mut power = 1 << (width - 9);
    let mut shifted = crc;
    while len > 0 {
        if len & 1 == 1 {
            shifted = multiply(power, shifted);
        }
        power = multiply(power, power);
        len >>= 1;
    }
    shifted
}

/// Reflected.
const CRC64_NVME_POLYNOMIAL: u64 = 0x9a6c_9329_ac4b_c9b5;

/// CRC-64/NVME: reflected, polynomial 0xad93d23594c93659, all ones in and out (NVM Express, 5.2.1.3.4).
fn crc64_nvme(crc: u64, bytes: &[u8]) -> u64 {
    const TABLE: [u64; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut crc = index as u64;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ CRC64_NVME_POLYNOMIAL } else { crc >> 1 };
                bit += 1;
            }
            table[index] = crc;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!crc, |crc, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of each algorithm's definition: the checksum of "123456789".
    #[test]
    fn check_values_are_right() {
        for (header, expected) in [
            ("x-amz-checksum-crc32", "cbf43926"),
            ("x-amz-checksum-crc32c", "e3069283"),
            ("x-amz-checksum-crc64nvme", "ae8b14860a799888"),
            ("x-amz-checksum-sha1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            ("x-amz-checksum-sha256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ] {
            let mut checksum = Checksum::of_header(header).unwrap();
            checksum.update(b"1234");
            checksum.update(b"56789");
            assert_eq!(checksum.header(), header);
            assert_eq!(hex::encode(STANDARD.decode(checksum.finish()).unwrap()), expected, "{header}");
        }
    }

    #[test]
    fn the_whole_s_checksum_follows_from_its_parts() {
        let data: Vec<u8> = (0..100_000u32).map(|number| (number * 7) as u8).collect();
        let of = |header: &str, bytes: &[u8]| {
            let mut checksum = Checksum::of_header(header).unwrap();
            checksum.update(bytes);
            checksum.finish()
        };
        for header in &HEADERS[..3] {
            let cuts = [&data[..1], &data[1..70_000], &data[70_000..70_000], &data[70_000..]];
            let parts: Vec<(String, u64)> = cuts.iter().map(|part| (of(header, part), part.len() as u64)).collect();
            let parts: Vec<(&str, u64)> = parts.iter().map(|(value, len)| (value.as_str(), *len)).collect();
            assert_eq!(full_object(header, &parts), Some(of(header, &data)), "{header}");
        }
        assert_eq!(full_object("x-amz-checksum-sha1", &[]), None);
    }
}
