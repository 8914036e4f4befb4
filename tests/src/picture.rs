//! Pictures made for a test: valid PNG files of random pixels, so that nothing on the way can make them smaller.

use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::Write;

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
const BYTES_PER_PIXEL: usize = 3;

/// A PNG of random pixels (PNG specification, section 5): 3 bytes for each and a few thousand more.
pub fn random_png(width: u32, height: u32) -> Vec<u8> {
    let row_bytes = width as usize * BYTES_PER_PIXEL;
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::none());
    for _ in 0..height {
        let mut row = vec![0; 1 + row_bytes];
        // The first byte, 0, is the filter "none".
        getrandom::fill(&mut row[1..]).expect("the system has random bytes");
        zlib.write_all(&row).expect("writing to a Vec cannot fail");
    }
    let pixels = zlib.finish().expect("writing to a Vec cannot fail");

    let mut header = Vec::with_capacity(13);
    header.extend_from_slice(&width.to_be_bytes());
    header.extend_from_slice(&height.to_be_bytes());
    // 8 bits per sample, true colour, and the only methods there are.
    header.extend_from_slice(&[8, 2, 0, 0, 0]);

    let mut file = SIGNATURE.to_vec();
    append_chunk(&mut file, b"IHDR", &header);
    append_chunk(&mut file, b"IDAT", &pixels);
    append_chunk(&mut file, b"IEND", &[]);
    file
}

fn append_chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).expect("a test's picture is under 4 GiB");
    file.extend_from_slice(&length.to_be_bytes());
    file.extend_from_slice(kind);
    file.extend_from_slice(data);
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    file.extend_from_slice(&crc.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_picture_is_as_large_as_its_pixels_and_none_is_like_another() {
        let (one, other) = (random_png(64, 32), random_png(64, 32));
        assert!(one.len() > 64 * 32 * BYTES_PER_PIXEL);
        assert!(one.starts_with(&SIGNATURE) && one.ends_with(b"IEND\xae\x42\x60\x82"));
        assert_ne!(one, other);
    }
}
