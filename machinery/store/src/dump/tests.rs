use super::*;
use crate::{Embedded, PAGE_KEYS, PutRequest};
use futures::executor::block_on;
use proptest::prelude::*;
use std::io::Cursor;

async fn store() -> (tempfile::TempDir, Embedded) {
    let data = tempfile::tempdir().unwrap();
    let store = Embedded::open(data.path().to_owned()).await.unwrap();
    (data, store)
}

async fn dumped(store: &dyn Store) -> (Summary, Vec<u8>) {
    let mut bytes = Vec::new();
    let summary = export(store, &mut bytes).await.unwrap();
    (summary, bytes)
}

/// Keys and values, without what is the store's own.
async fn contents(store: &dyn Store) -> Pairs {
    let (_, kvs) = store.read_prefix("", 0).await.unwrap();
    kvs.into_iter().map(|kv| (kv.key.to_vec(), kv.value.to_vec())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_filled_from_a_dump_holds_the_same_and_is_another() {
    let (_data, old) = store().await;
    // More than one page, more than one transaction, and bytes that are no text.
    let count = u16::try_from(PAGE_KEYS).unwrap() + 1;
    for number in 0..count {
        Store::put(&old, &format!("/roadstead/apps/{number}"), number.to_be_bytes().to_vec().into()).await.unwrap();
    }
    let long = vec![0xff; REQUEST_BYTES_MAX - 100];
    Store::put(&old, "vulcand/long", long.into()).await.unwrap();
    let (summary, bytes) = dumped(&old).await;
    assert_eq!(summary.keys, u64::from(count) + 1);
    assert_eq!((summary.cluster_id, summary.revision), (old.status().cluster_id, old.revision()));

    let (_data, new) = store().await;
    assert_eq!(import(&new, &mut Cursor::new(bytes), Existing::Refuse).await.unwrap(), summary);
    assert_eq!(contents(&new).await, contents(&old).await);
    assert_ne!(Store::cluster_id(&new).await.unwrap(), summary.cluster_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_is_of_one_revision_and_without_what_is_on_a_lease() {
    let (_data, old) = store().await;
    let lease = Store::lease_grant(&old, Duration::from_secs(60)).await.unwrap();
    let leased =
        PutRequest { key: "/roadstead/controller".into(), value: "me".into(), lease: lease.id, prev_kv: false };
    let success = vec![Operation::put("/roadstead/a", "1"), Operation::Put(leased)];
    Store::txn(&old, TxnRequest { success, ..TxnRequest::default() }).await.unwrap();
    let (_, bytes) = dumped(&old).await;
    let (_data, new) = store().await;
    import(&new, &mut Cursor::new(bytes), Existing::Refuse).await.unwrap();
    assert_eq!(contents(&new).await, [(b"/roadstead/a".to_vec(), b"1".to_vec())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_use_is_not_written_over_unasked() {
    let (_data, old) = store().await;
    Store::put(&old, "/roadstead/a", "old".into()).await.unwrap();
    let (_, bytes) = dumped(&old).await;
    let (_data, new) = store().await;
    Store::put(&new, "/roadstead/a", "new".into()).await.unwrap();
    Store::put(&new, "/roadstead/b", "stays".into()).await.unwrap();
    let refused = import(&new, &mut Cursor::new(bytes.clone()), Existing::Refuse).await;
    assert!(matches!(refused, Err(DumpError::InUse { key }) if key == "/roadstead/a"));
    assert_eq!(Store::get(&new, "/roadstead/a").await.unwrap().unwrap().value, "new");
    import(&new, &mut Cursor::new(bytes), Existing::Overwrite).await.unwrap();
    assert_eq!(Store::get(&new, "/roadstead/a").await.unwrap().unwrap().value, "old");
    assert_eq!(Store::get(&new, "/roadstead/b").await.unwrap().unwrap().value, "stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_damaged_dump_is_written() {
    let (_data, old) = store().await;
    for number in 0..300 {
        Store::put(&old, &format!("/roadstead/{number}"), "v".into()).await.unwrap();
    }
    let (_, mut bytes) = dumped(&old).await;
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    let (_data, new) = store().await;
    let refused = import(&new, &mut Cursor::new(bytes), Existing::Refuse).await;
    assert!(matches!(refused, Err(DumpError::Damaged { .. })), "{refused:?}");
    assert!(contents(&new).await.is_empty());
}

#[tokio::test]
async fn something_else_is_no_dump() {
    for bytes in [&b""[..], b"roadstead dump 2\n", b"SQLite format 3\0 and so on, and so on"] {
        assert!(matches!(verify(&mut Cursor::new(bytes)).await, Err(DumpError::NotADump)));
    }
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn written(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    block_on(async {
        let mut writer = Writer::begin(&mut bytes, 7, 9).await.unwrap();
        for (key, value) in pairs {
            writer.pair(Pair { key: key.clone().into(), value: value.clone().into() }).await.unwrap();
        }
        writer.end().await.unwrap();
    });
    bytes
}

fn read(bytes: &[u8]) -> Result<Pairs, DumpError> {
    block_on(async {
        let mut input = Cursor::new(bytes);
        let (mut reader, head) = Reader::begin(&mut input).await?;
        assert_eq!((head.cluster_id, head.revision), (7, 9));
        let mut pairs = Vec::new();
        while let Some(pair) = reader.pair().await? {
            pairs.push((pair.key.to_vec(), pair.value.to_vec()));
        }
        Ok(pairs)
    })
}

fn pairs() -> impl Strategy<Value = Pairs> {
    let bytes = |least| prop::collection::vec(any::<u8>(), least..40);
    prop::collection::vec((bytes(1), bytes(0)), 0..8)
}

proptest! {
    #[test]
    fn what_was_written_is_read(pairs in pairs()) {
        prop_assert_eq!(read(&written(&pairs)).unwrap(), pairs);
    }

    #[test]
    fn one_changed_bit_is_found_out(pairs in pairs(), place in any::<prop::sample::Index>(), bit in 0..8) {
        let mut bytes = written(&pairs);
        let place = place.index(bytes.len());
        bytes[place] ^= 1u8 << bit;
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn a_dump_that_was_cut_off_is_found_out(pairs in pairs(), place in any::<prop::sample::Index>()) {
        let bytes = written(&pairs);
        prop_assert!(read(&bytes[..place.index(bytes.len())]).is_err());
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut dump = written(&[]);
        dump.truncate(dump.len() - 10);
        dump.extend_from_slice(&bytes);
        let _whatever = read(&dump);
    }
}

#[test]
fn frames_that_changed_places_are_found_out() {
    let pair = |name: &str| (name.as_bytes().to_vec(), b"v".to_vec());
    let bytes = written(&[pair("a"), pair("b")]);
    let frame_bytes = bytes.len() - written(&[pair("a")]).len();
    let begin = b"roadstead dump 1\n".len() + head_bytes();
    let (first, second) = (begin..begin + frame_bytes, begin + frame_bytes..begin + 2 * frame_bytes);
    let swapped = [&bytes[..begin], &bytes[second], &bytes[first], &bytes[begin + 2 * frame_bytes..]].concat();
    assert_ne!(swapped, bytes);
    assert!(matches!(read(&swapped), Err(DumpError::Damaged { what: "a checksum is wrong", .. })));
}

/// Length of the first frame with its header.
fn head_bytes() -> usize {
    let bytes = written(&[]);
    let length = &bytes[b"roadstead dump 1\n".len()..][..4];
    8 + u32::from_le_bytes(length.try_into().unwrap()) as usize
}
