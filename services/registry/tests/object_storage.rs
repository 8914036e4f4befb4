//! The registry's S3 client against our own object storage.

#[path = "support/platform.rs"]
mod platform;

use platform::{BUCKET, Platform};
use s3client::{CorsRule, PART_BYTES};

#[tokio::test]
async fn the_s3_client_and_the_object_storage_understand_each_other() {
    let platform = Platform::start().await;
    let s3 = &platform.s3;
    s3.create_bucket("second").await.unwrap();
    s3.create_bucket("second").await.unwrap();
    assert_eq!(s3.list_buckets().await.unwrap(), [BUCKET, "second"]);

    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
    let rule = CorsRule {
        allowed_origins: list(&["http://page.example"]),
        allowed_methods: list(&["GET", "PUT"]),
        allowed_headers: list(&["*"]),
        expose_headers: list(&["ETag"]),
        max_age_seconds: Some(60),
    };
    s3.put_bucket_cors("second", &[rule]).await.unwrap();

    let key = "a b/ü+%2F/~";
    s3.put("second", key, "text/plain", "0123456789").await.unwrap();
    s3.put("second", "other", "text/plain", "").await.unwrap();
    let head = s3.head("second", key).await.unwrap().unwrap();
    assert_eq!((head.bytes, head.content_type.as_str()), (10, "text/plain"));
    assert_eq!(s3.get("second", key, Some(2..=4)).await.unwrap().head.bytes, 3);
    let page = s3.list("second", "a b/", None, None).await.unwrap();
    assert_eq!(page.objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), [key]);
    assert_eq!(s3.list("second", "", Some("/"), None).await.unwrap().prefixes, ["a b/"]);

    let mut upload = s3.upload("second", "large", "x/y");
    upload.write(&vec![7; PART_BYTES + 1]).await.unwrap();
    assert!(upload.multipart_id().is_some());
    assert_eq!(upload.finish().await.unwrap(), PART_BYTES as u64 + 1);
    assert_eq!(s3.head("second", "large").await.unwrap().unwrap().bytes, PART_BYTES as u64 + 1);
    let mut given_up = s3.upload("second", "given up", "x/y");
    given_up.write(&vec![7; PART_BYTES]).await.unwrap();
    given_up.abort().await.unwrap();
    assert_eq!(s3.head("second", "given up").await.unwrap(), None);

    assert_eq!(s3.delete_bucket("second").await.unwrap_err().code(), Some("BucketNotEmpty"));
    for key in [key, "other", "large", "absent"] {
        s3.delete("second", key).await.unwrap();
    }
    s3.delete_bucket("second").await.unwrap();
    assert!(s3.list("second", "", None, None).await.unwrap_err().is_not_found());
    platform.end().await;
}
