use super::*;
use proptest::prelude::*;

const BYTES_MAX: usize = 10_000;

fn fields(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, BadBlock> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    decoder.decode(block, BYTES_MAX, |field| fields.push((text(field.name), text(field.value))))?;
    Ok(fields)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn table(decoder: &Decoder) -> Vec<String> {
    (0..).map_while(|index| decoder.table.get(index)).map(|found| said(found.name, found.value)).collect()
}

fn said(name: &[u8], value: &[u8]) -> String {
    format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
}

/// RFC 7541 §C.3 and §C.4: three requests on one connection, as they are and in Huffman's code.
#[test]
fn the_rfcs_requests_are_read() {
    let plain = [
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ];
    let huffman = [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ];
    for blocks in [plain, huffman] {
        let mut decoder = Decoder::new();
        let asked = blocks.map(|block| fields(&mut decoder, &hex(block)).unwrap());
        let say = |fields: &[(String, String)]| -> Vec<String> {
            fields.iter().map(|(name, value)| format!("{name}: {value}")).collect()
        };
        let first = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
        assert_eq!(say(&asked[0]), first);
        assert_eq!(say(&asked[1]), [&first[..], &["cache-control: no-cache"]].concat());
        let third = [":method: GET", ":scheme: https", ":path: /index.html", first[3], "custom-key: custom-value"];
        assert_eq!(say(&asked[2]), third);
        assert_eq!(table(&decoder), [third[4], "cache-control: no-cache", first[3]]);
        assert_eq!(decoder.table.get(1).unwrap().kind, Kind::Other);
    }
}

#[test]
fn a_table_holds_what_there_is_room_for() {
    let mut decoder = Decoder::new();
    // Room for two fields of two bytes.
    let block = [&[0x3f, 37][..], &hex("4001610131 4001620132 4001630133")].concat();
    fields(&mut decoder, &block).unwrap();
    assert_eq!(table(&decoder), ["c: 3", "b: 2"]);
    // One that is too large is read, and empties it.
    let large = [&hex("400161")[..], &[60], &[b'x'; 60]].concat();
    assert_eq!(fields(&mut decoder, &large).unwrap()[0].1.len(), 60);
    assert!(table(&decoder).is_empty());
    assert_eq!(fields(&mut decoder, &[0x20, 0x82]).unwrap().len(), 1);
    assert_eq!(fields(&mut decoder, &hex("4001610131")).unwrap().len(), 1);
    assert!(table(&decoder).is_empty());
}

/// RFC 7541 §2.3.3, §4.2, §5 and §6.
#[test]
fn what_cannot_be_read_is_said() {
    for (block, bad) in [
        ("80", BadBlock::Index),
        ("be", BadBlock::Index),
        ("7f00 00", BadBlock::Index),
        ("ff ffffffff ff", BadBlock::Number),
        ("82 20", BadBlock::TableSize),
        ("3fe21f", BadBlock::TableSize),
        ("40", BadBlock::End),
        ("4001", BadBlock::End),
        ("400161", BadBlock::End),
        ("40016105 31", BadBlock::End),
        ("ff", BadBlock::End),
        ("400161 81 ff", BadBlock::Huffman),
    ] {
        assert_eq!(fields(&mut Decoder::new(), &hex(block)), Err(bad), "{block}");
    }
    assert!(fields(&mut Decoder::new(), &hex("3fe11f")).is_ok(), "4096");
    assert!(fields(&mut Decoder::new(), &hex("2020 82")).is_ok(), "twice before the first");
}

/// What a field is to a request is known from a table, too.
#[test]
fn kinds_come_along() {
    let mut decoder = Decoder::new();
    let mut kinds = Vec::new();
    let mut look = |block: &str, decoder: &mut Decoder| {
        decoder.decode(&hex(block), BYTES_MAX, |field| kinds.push(field.kind)).unwrap();
    };
    // A value with a line's end, the name of it with a good one, and the same again.
    look("4001780161 4001780a610d0a623a20630d0a7a", &mut decoder);
    look("be bf 7e0162", &mut decoder);
    assert_eq!(kinds, [Kind::Other, Kind::Malformed, Kind::Malformed, Kind::Other, Kind::Other]);
}

/// A field of the table is two bytes of a block, again and again.
#[test]
fn a_small_block_of_large_fields_is_not_read_to_its_end() {
    let mut decoder = Decoder::new();
    let name = [&[0x40, 0x7f, 0xa1, 0x1e][..], &[b'x'; 4000], &[0]].concat();
    assert_eq!(fields(&mut decoder, &name).unwrap()[0].0.len(), 4000);
    let (mut seen, again) = (0, [0x7e, 0].repeat(8000));
    assert_eq!(decoder.decode(&again, BYTES_MAX, |_| seen += 1), Err(BadBlock::TooLarge));
    assert_eq!(seen, 2);
    // And nothing of a large string is kept.
    let string = huffman::encode(&[b'0'; 9000]);
    let length = string.len() - 127;
    let block = [&[0x00, 0xff, length as u8 | 0x80, (length >> 7) as u8][..], &string, &[0]].concat();
    assert_eq!(fields(&mut decoder, &block).unwrap()[0].0.len(), 9000);
    assert!(decoder.name.capacity() <= KEPT_BYTES_MAX && decoder.value.capacity() <= KEPT_BYTES_MAX);
}

proptest! {
    #[test]
    fn any_bytes_are_a_block_or_none(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..5)) {
        let mut decoder = Decoder::new();
        for block in blocks {
            let _whichever = fields(&mut decoder, &block);
            prop_assert!(table(&decoder).iter().map(|text| text.len() - 2 + 32).sum::<usize>() <= TABLE_BYTES_MAX);
        }
    }

    /// Literals in both forms, kept or not, and what the table has then.
    #[test]
    fn what_is_written_is_read(
        pairs in prop::collection::vec(("[a-z]{1,9}", "[ -~]{0,30}", any::<bool>(), any::<bool>()), 1..20),
    ) {
        let mut block = Vec::new();
        let put = |text: &str, is_huffman: bool, block: &mut Vec<u8>| {
            let string = if is_huffman { huffman::encode(text.as_bytes()) } else { text.as_bytes().to_vec() };
            block.push(string.len() as u8 | if is_huffman { 0x80 } else { 0 });
            block.extend(string);
        };
        for (name, value, is_kept, is_huffman) in &pairs {
            block.push(if *is_kept { 0x40 } else { 0x10 });
            put(name, *is_huffman, &mut block);
            put(value, *is_huffman, &mut block);
        }
        let mut decoder = Decoder::new();
        let read = fields(&mut decoder, &block).unwrap();
        let written: Vec<_> = pairs.iter().map(|(name, value, ..)| (name.clone(), value.clone())).collect();
        prop_assert_eq!(&read, &written);
        let kept: Vec<_> = pairs.iter().rev().filter(|pair| pair.2).map(|(name, value, ..)| format!("{name}: {value}")).collect();
        prop_assert_eq!(table(&decoder), kept);
    }
}
