//! Fields of responses, written: literals that no table keeps, with names of the static one (RFC 7541 §6.2.2).

use super::statics;

/// A literal that is kept in no table; with this bit, on no hop of its way (RFC 7541 §6.2.3).
const NEVER: u8 = 0x10;
const INDEXED: u8 = 0x80;
/// RFC 7541 §6.3, with the size 0.
const NO_TABLE: u8 = 0x20;

/// Says that no dynamic table is used. It is said once, before the first field, so that no setting of the client's is waited
/// for (RFC 7541 §4.2).
pub(crate) fn put_no_table(out: &mut Vec<u8>) {
    out.push(NO_TABLE);
}

/// 100 to 999.
pub(crate) fn put_status(out: &mut Vec<u8>, status: u16) {
    if let Some(index) = statics::status(status) {
        return out.push(INDEXED | index);
    }
    let digit = |place: u16| b'0' + (status / place % 10) as u8;
    out.extend_from_slice(&[statics::STATUS, 3, digit(100), digit(10), digit(1)]);
}

/// A field whose name may have upper case.
pub(crate) fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let index = statics::name(name);
    // What says who somebody is should not be guessed by how well it is compressed (RFC 7541 §7.1.3).
    let first = if index == statics::SET_COOKIE { NEVER } else { 0 };
    put_number(out, first, 4, index as usize);
    if index == 0 {
        put_number(out, 0, 7, name.len());
        out.extend(name.iter().map(u8::to_ascii_lowercase));
    }
    put_number(out, 0, 7, value.len());
    out.extend_from_slice(value);
}

/// A number that begins in the last `bits` of a byte (RFC 7541 §5.1).
fn put_number(out: &mut Vec<u8>, first: u8, bits: u32, number: usize) {
    let mask = (1 << bits) - 1;
    if number < mask {
        return out.push(first | number as u8);
    }
    out.push(first | mask as u8);
    let mut rest = number - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::Decoder;
    use proptest::prelude::*;

    fn decoded(block: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut fields = Vec::new();
        Decoder::new()
            .decode(block, usize::MAX, |field| fields.push((field.name.to_vec(), field.value.to_vec())))
            .unwrap();
        fields
    }

    #[test]
    fn statuses_are_read_as_they_are() {
        for status in 100..=999 {
            let mut block = Vec::new();
            put_status(&mut block, status);
            assert_eq!(decoded(&block), [(b":status".to_vec(), status.to_string().into_bytes())]);
        }
    }

    proptest! {
        #[test]
        fn fields_are_read_as_they_are(
            fields in prop::collection::vec(
                (prop_oneof!["[A-Za-z-]{1,20}", "Date|Server|Set-Cookie|Content-Type|WWW-Authenticate"], "[ -~]{0,300}"),
                0..9,
            ),
        ) {
            let mut block = Vec::new();
            put_no_table(&mut block);
            for (name, value) in &fields {
                put_field(&mut block, name.as_bytes(), value.as_bytes());
            }
            let expected = fields.iter().map(|(name, value)| (name.to_lowercase().into_bytes(), value.clone().into_bytes()));
            prop_assert_eq!(decoded(&block), expected.collect::<Vec<_>>());
        }
    }
}
