use super::*;
use proptest::prelude::*;

/// Feeds `framed` in pieces of `step` bytes.
pub(crate) fn decode_all(mut decoder: Decoder, framed: &[u8], step: usize) -> Result<(Vec<u8>, Trailers), ChunkError> {
    let mut data = Vec::new();
    for piece in framed.chunks(step.max(1)) {
        let mut piece = Bytes::copy_from_slice(piece);
        while let Some(part) = decoder.decode(&mut piece)? {
            data.extend_from_slice(&part);
        }
    }
    Ok((data, decoder.finish()?))
}

#[test]
fn trailers_are_read_and_a_body_cut_short_is_an_error() {
    let framed = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    let (data, trailers) = decode_all(Decoder::new(None), framed, 3).unwrap();
    assert_eq!(data, b"hello");
    assert_eq!(trailers, [("x-amz-checksum-crc32".to_owned(), "NhCmhg==".to_owned())]);
    for cut in 0..13 {
        assert_eq!(decode_all(Decoder::new(None), &framed[..cut], 3), Err(ChunkError::Incomplete), "{cut}");
    }
}

#[test]
fn malformed_framing_is_refused() {
    for framed in [
        &b"zz\r\n"[..],
        b"5\nhello",
        b"5\r\nhelloo\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"-1\r\n",
        b"0\r\nno colon\r\n\r\n",
        &[b'0'; 300],
    ] {
        assert!(decode_all(Decoder::new(None), framed, 7).is_err(), "{}", String::from_utf8_lossy(framed));
    }
}

proptest! {
    #[test]
    fn what_is_framed_is_unframed(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        step in 1usize..50,
    ) {
        let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let framed = encode(&slices, &[("x-amz-checksum-crc32", "AAAAAA==")], None);
        let (data, trailers) = decode_all(Decoder::new(None), &framed, step).unwrap();
        prop_assert_eq!(data, chunks.concat());
        prop_assert_eq!(trailers.len(), 1);
    }

    #[test]
    fn no_bytes_make_it_panic(framed in prop::collection::vec(any::<u8>(), 0..200), step in 1usize..50) {
        let _either = decode_all(Decoder::new(None), &framed, step);
    }
}
