//! The checks of the distribution specification that matter, over real sockets: what its conformance suite asks, written
//! from the specification.

#[path = "support/platform.rs"]
mod platform;

use http::Method;
use oci::{Algorithm, Digest, Hasher, media_type};
use platform::{BUCKET, Platform};
use registry::Graces;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use web::Credentials;

/// Bytes that do not repeat soon.
fn content(count: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn sha512(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(bytes);
    hasher.finish()
}

#[tokio::test]
async fn credentials_are_asked_for_in_the_way_docker_understands() {
    let platform = Platform::start().await;
    let call =
        async |credentials, method: Method, path: &str| platform.call_as(credentials, method, path, &[], "").await;
    let anonymous = call(Credentials::None, Method::GET, "/v2/").await;
    assert_eq!(anonymous.status, 401);
    assert!(anonymous.header("www-authenticate").starts_with("Basic realm="));
    assert_eq!(anonymous.header("docker-distribution-api-version"), "registry/2.0");
    assert_eq!(anonymous.code(), "UNAUTHORIZED");

    let basic = |token: &identity::Token| Credentials::Basic { user: "u".into(), password: token.reveal().into() };
    let viewer = basic(&platform.viewer);
    assert_eq!(call(viewer.clone(), Method::GET, "/v2/").await.status, 200);
    let denied = call(viewer, Method::POST, "/v2/a/blobs/uploads/").await;
    assert_eq!((denied.status, denied.code().as_str()), (403, "DENIED"));
    assert_eq!(call(basic(&platform.edge), Method::GET, "/v2/").await.status, 403);
    let bearer = Credentials::Bearer(platform.admin.reveal().into());
    assert_eq!(call(bearer, Method::POST, "/v2/a/blobs/uploads/").await.status, 202);
    platform.end().await;
}

#[tokio::test]
async fn a_blob_is_pushed_in_chunks_and_read_in_ranges() {
    let platform = Platform::start().await;
    let bytes = content(1000);
    let digest = Digest::sha256(&bytes);
    let begun = platform.call("POST", "/v2/a/b/blobs/uploads/", &[], "").await;
    assert_eq!((begun.status, begun.header("range")), (202, "0-0"));
    let location = begun.header("location").to_owned();

    let first = platform.call("PATCH", &location, &[("content-range", "0-99")], bytes[..100].to_vec()).await;
    assert_eq!((first.status, first.header("range")), (202, "0-99"));
    let again = platform.call("PATCH", &location, &[("content-range", "0-99")], bytes[..100].to_vec()).await;
    assert_eq!((again.status, again.header("range"), again.header("location")), (416, "0-99", location.as_str()));
    let ahead = platform.call("PATCH", &location, &[("content-range", "500-599")], bytes[500..600].to_vec()).await;
    assert_eq!((ahead.status, ahead.code().as_str()), (416, "BLOB_UPLOAD_INVALID"));
    let wrong_length =
        platform.call("PATCH", &location, &[("content-range", "100-120")], bytes[100..200].to_vec()).await;
    assert_eq!((wrong_length.status, wrong_length.code().as_str()), (400, "SIZE_INVALID"));
    // Docker sends no Content-Range: what comes is what follows.
    assert_eq!(platform.call("PATCH", &location, &[], bytes[100..400].to_vec()).await.status, 202);
    let status = platform.get(&location).await;
    assert_eq!((status.status, status.header("range")), (204, "0-399"));
    let path = format!("{location}?digest={digest}");
    let done = platform.call("PUT", &path, &[("content-range", "400-999")], bytes[400..].to_vec()).await;
    assert_eq!((done.status, done.header("docker-content-digest")), (201, digest.to_string().as_str()));
    let blob = format!("/v2/a/b/blobs/{digest}");
    assert_eq!(done.header("location"), blob);
    assert_eq!(platform.get(&location).await.code(), "BLOB_UPLOAD_UNKNOWN");

    let head = platform.call("HEAD", &blob, &[], "").await;
    assert_eq!((head.status, head.header("content-length")), (200, "1000"));
    assert_eq!(platform.get(&blob).await.body, bytes);
    for (range, status, covers, expected) in [
        ("bytes=0-9", 206, "bytes 0-9/1000", &bytes[..10]),
        ("bytes=990-", 206, "bytes 990-999/1000", &bytes[990..]),
        ("bytes=990-5000", 206, "bytes 990-999/1000", &bytes[990..]),
        ("bytes=-3", 206, "bytes 997-999/1000", &bytes[997..]),
        ("bytes=0-1,5-6", 200, "", &bytes[..]),
    ] {
        let part = platform.call("GET", &blob, &[("range", range)], "").await;
        assert_eq!((part.status, part.header("content-range")), (status, covers), "{range}");
        assert_eq!(part.body, expected, "{range}");
    }
    let beyond = platform.call("GET", &blob, &[("range", "bytes=1000-")], "").await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */1000"));
    platform.end().await;
}

#[tokio::test]
async fn a_layer_is_one_object_under_its_uploads_id_and_its_duplicate_none() {
    let platform = Platform::start().await;
    // Three parts of a multipart upload.
    let bytes = content(2 * s3client::PART_BYTES + 12345);
    let digest = Digest::sha256(&bytes);
    let begun = platform.call("POST", "/v2/a/blobs/uploads/", &[], "").await;
    let location = begun.header("location").to_owned();
    let id = begun.header("docker-upload-uuid").to_owned();
    for piece in bytes.chunks(5_000_000) {
        assert_eq!(platform.call("PATCH", &location, &[], piece.to_vec()).await.status, 202);
    }
    assert_eq!(platform.objects().await, Vec::<String>::new(), "nothing is visible before the commit");
    assert_eq!(platform.call("PUT", &format!("{location}?digest={digest}"), &[], "").await.status, 201);
    let object = format!("uploads/{id}");
    assert_eq!(platform.objects().await, std::slice::from_ref(&object));
    assert!(platform.object(&object).await == bytes);

    assert_eq!(platform.upload("b", &bytes).await, digest);
    assert_eq!(platform.objects().await, [object], "the second upload of a digest leaves no object");
    assert!(platform.get(&format!("/v2/b/blobs/{digest}")).await.body == bytes);
    platform.end().await;
}

#[tokio::test]
async fn a_blob_comes_in_one_request_or_by_mount() {
    let platform = Platform::start().await;
    let digest = Digest::sha256(b"at once");
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    assert_eq!(platform.call("POST", &path, &[], "at once").await.status, 201);

    for (from, repository) in [("&from=a", "b"), ("", "c")] {
        let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}{from}");
        let mounted = platform.call("POST", &path, &[], "").await;
        assert_eq!(mounted.status, 201, "{from}");
        assert_eq!(mounted.header("location"), format!("/v2/{repository}/blobs/{digest}"));
        assert_eq!(platform.get(mounted.header("location")).await.body, "at once");
    }
    let empty = platform.upload("a", b"").await;
    assert_eq!(platform.get(&format!("/v2/a/blobs/{empty}")).await.header("content-length"), "0");
    let unknown = Digest::sha256(b"unknown");
    for query in
        [format!("mount={unknown}&from=a"), format!("mount={digest}&from=else"), format!("mount={digest}&from=NO")]
    {
        let fallback = platform.call("POST", &format!("/v2/d/blobs/uploads/?{query}"), &[], "").await;
        assert_eq!(fallback.status, 202, "{query}: the client is to upload it");
    }
    let elsewhere = platform.get(&format!("/v2/d/blobs/{digest}")).await;
    assert_eq!((elsewhere.status, elsewhere.code().as_str()), (404, "BLOB_UNKNOWN"));
    platform.end().await;
}

#[tokio::test]
async fn bytes_of_another_digest_are_refused_and_leave_nothing() {
    let platform = Platform::start().await;
    let digest = Digest::sha256(b"expected");
    let refused = platform.call("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), &[], "something").await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "DIGEST_INVALID"));
    let other_kind = platform.call("POST", "/v2/a/blobs/uploads/", &[], "").await;
    let path = format!("{}?digest={}", other_kind.header("location"), sha512(b"expected"));
    assert_eq!(platform.call("PUT", &path, &[], "something").await.code(), "DIGEST_INVALID");
    for query in ["", "?digest=", "?digest=sha256:1", "?digest=md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let begun = platform.call("POST", "/v2/a/blobs/uploads/", &[], "").await;
        let put = platform.call("PUT", &format!("{}{query}", begun.header("location")), &[], "x").await;
        assert_eq!((put.status, put.code().as_str()), (400, "DIGEST_INVALID"), "{query}");
        assert_eq!(platform.call("DELETE", begun.header("location"), &[], "").await.status, 204);
        assert_eq!(platform.call("PATCH", begun.header("location"), &[], "x").await.status, 404);
    }
    assert_eq!(platform.objects().await, Vec::<String>::new());
    assert_eq!(platform.get(&format!("/v2/a/blobs/{digest}")).await.status, 404);
    platform.end().await;
}

#[tokio::test]
async fn sha512_names_blobs_and_manifests() {
    let platform = Platform::start().await;
    let digest = sha512(b"wide");
    for (repository, announced) in [("a", "?digest-algorithm=sha512"), ("b", "")] {
        let begun = platform.call("POST", &format!("/v2/{repository}/blobs/uploads/{announced}"), &[], "").await;
        assert_eq!(begun.status, 202);
        let path = format!("{}?digest={digest}", begun.header("location"));
        assert_eq!(platform.call("PUT", &path, &[], "wide").await.status, 201);
        assert_eq!(platform.get(&format!("/v2/{repository}/blobs/{digest}")).await.body, "wide");
    }
    let bad = platform.call("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", &[], "").await;
    assert_eq!((bad.status, bad.code().as_str()), (400, "DIGEST_INVALID"));
    let manifest = platform.image_manifest("a", b"layer", "").await;
    let digest = sha512(manifest.as_bytes());
    assert_eq!(platform.put_manifest("a", &digest.to_string(), &manifest).await.status, 201);
    assert_eq!(platform.get(&format!("/v2/a/manifests/{digest}")).await.body, manifest);
    platform.end().await;
}

#[tokio::test]
async fn manifests_are_kept_byte_exact() {
    let platform = Platform::start().await;
    let (manifest, digest) = platform.push_image("a/b", "1.0", b"layer").await;
    for version in ["1.0".to_owned(), digest.to_string()] {
        let path = format!("/v2/a/b/manifests/{version}");
        let got = platform.get(&path).await;
        assert_eq!((got.status, got.body.as_ref()), (200, manifest.as_bytes()));
        assert_eq!(got.header("content-type"), media_type::OCI_MANIFEST);
        assert_eq!(got.header("docker-content-digest"), digest.to_string());
        let head = platform.call("HEAD", &path, &[], "").await;
        assert_eq!(head.header("content-length"), manifest.len().to_string());
        assert!(head.body.is_empty());
    }
    let tagged = platform.put_manifest("a/b", &format!("{digest}?tag=x&tag=y&tag=x"), &manifest).await;
    assert_eq!((tagged.status, tagged.headers.get_all("oci-tag").iter().count()), (201, 2));
    assert_eq!(platform.get("/v2/a/b/manifests/y").await.body, manifest);

    for (path, status, code) in [
        ("/v2/a/b/manifests/2.0", 404, "MANIFEST_UNKNOWN"),
        ("/v2/a/b/manifests/.INVALID", 404, "MANIFEST_UNKNOWN"),
        ("/v2/a/b/manifests/sha256:1", 400, "DIGEST_INVALID"),
        ("/v2/a/c/manifests/1.0", 404, "MANIFEST_UNKNOWN"),
    ] {
        let answer = platform.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
    }
    platform.end().await;
}

#[tokio::test]
async fn a_manifest_that_cannot_be_right_is_refused() {
    let platform = Platform::start().await;
    let put = async |content_type: &str, version: &str, body: String| {
        let path = format!("/v2/a/manifests/{version}");
        let answer = platform.call("PUT", &path, &[("content-type", content_type)], body).await;
        (answer.status, answer.code())
    };
    let absent = Digest::sha256(b"absent");
    let descriptor = |kind: &str| format!(r#"{{"mediaType":"{kind}","digest":"{absent}","size":1}}"#);
    let lacking = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[]}}"#,
        media_type::OCI_MANIFEST,
        descriptor(media_type::OCI_CONFIG)
    );
    assert_eq!(put(media_type::OCI_MANIFEST, "1", lacking.clone()).await, (404, "MANIFEST_BLOB_UNKNOWN".into()));
    assert_eq!(put(media_type::OCI_INDEX, "1", lacking.clone()).await, (400, "MANIFEST_INVALID".into()));
    assert_eq!(put(media_type::OCI_MANIFEST, "1", "not JSON".into()).await, (400, "MANIFEST_INVALID".into()));
    assert_eq!(put(media_type::OCI_MANIFEST, "-bad", lacking.clone()).await, (400, "MANIFEST_INVALID".into()));
    assert_eq!(put(media_type::OCI_MANIFEST, &absent.to_string(), lacking).await, (400, "DIGEST_INVALID".into()));
    let huge = format!("{{{}", " ".repeat(oci::MANIFEST_BYTES_MAX));
    assert_eq!(put(media_type::OCI_MANIFEST, "1", huge).await, (413, "SIZE_INVALID".into()));
    assert_eq!(platform.objects().await, Vec::<String>::new(), "what is refused leaves no object");

    // An index may list what comes later, and a layer that may not be distributed is elsewhere.
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        media_type::OCI_INDEX,
        descriptor(media_type::OCI_MANIFEST)
    );
    assert_eq!(put(media_type::OCI_INDEX, "index", index).await.0, 201);
    let config = platform.upload("a", b"{}").await;
    let foreign = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{config}","size":2}},"layers":[{}]}}"#,
        media_type::OCI_EMPTY,
        descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
    );
    assert_eq!(put(media_type::OCI_MANIFEST, "foreign", foreign).await.0, 201);
    platform.end().await;
}

#[tokio::test]
async fn a_manifest_of_four_mebibytes_is_kept() {
    let platform = Platform::start().await;
    let small = platform.image_manifest("a", b"layer", r#" "annotations": {"filler": "FILLER"},"#).await;
    let manifest = small.replace("FILLER", &"x".repeat(oci::MANIFEST_BYTES_MAX - small.len() + "FILLER".len()));
    assert_eq!(manifest.len(), oci::MANIFEST_BYTES_MAX);
    assert_eq!(platform.put_manifest("a", "big", &manifest).await.status, 201);
    assert_eq!(platform.get("/v2/a/manifests/big").await.body, manifest);
    platform.end().await;
}

#[tokio::test]
async fn lists_are_in_order_and_in_pages() {
    let platform = Platform::start().await;
    let (manifest, _) = platform.push_image("b", "10", b"layer").await;
    for tag in ["2", "A", "a", "9"] {
        platform.put_manifest("b", tag, &manifest).await;
    }
    platform.push_image("a/x", "1", b"layer").await;
    let list = async |path: &str| {
        let answer = platform.get(path).await;
        let key = if path.contains("_catalog") { "repositories" } else { "tags" };
        let names: Vec<String> = serde_json::from_value(answer.json()[key].clone()).unwrap();
        (names.join(" "), answer.header("link").to_owned())
    };
    assert_eq!(list("/v2/b/tags/list").await, ("10 2 9 A a".into(), String::new()));
    assert_eq!(
        list("/v2/b/tags/list?n=2").await,
        ("10 2".into(), r#"</v2/b/tags/list?n=2&last=2>; rel="next""#.into())
    );
    assert_eq!(list("/v2/b/tags/list?n=2&last=2").await.0, "9 A");
    assert_eq!(list("/v2/b/tags/list?n=5&last=9").await, ("A a".into(), String::new()));
    assert_eq!(list("/v2/b/tags/list?n=0").await, (String::new(), String::new()));
    assert_eq!(list("/v2/b/tags/list?last=a").await.0, "");
    assert_eq!(list("/v2/_catalog").await.0, "a/x b");
    assert_eq!(list("/v2/_catalog?n=1").await, ("a/x".into(), r#"</v2/_catalog?n=1&last=a%2Fx>; rel="next""#.into()));
    assert_eq!(list("/v2/_catalog?n=1&last=a%2Fx").await.0, "b");
    let unknown = platform.get("/v2/c/tags/list").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "NAME_UNKNOWN"));
    let repository = "b".parse().unwrap();
    assert_eq!(platform.client().tags(&platform.address.to_string(), &repository).await.unwrap().len(), 5);
    platform.end().await;
}

#[tokio::test]
async fn referrers_are_listed_and_never_missing() {
    let platform = Platform::start().await;
    let (_, subject) = platform.push_image("a", "1", b"layer").await;
    let list = async |query: &str| platform.get(&format!("/v2/a/referrers/{subject}{query}")).await;
    let none = list("").await;
    assert_eq!((none.status, none.header("content-type")), (200, media_type::OCI_INDEX));
    assert_eq!(none.json()["manifests"], serde_json::json!([]));

    for (kind, note) in [("application/x.signature", "one"), ("application/x.sbom", "two")] {
        let extra = format!(
            r#" "artifactType": "{kind}", "annotations": {{"note": "{note}"}}, "subject": {{"mediaType":"{}","digest":"{subject}","size":1}},"#,
            media_type::OCI_MANIFEST
        );
        let manifest = platform.image_manifest("a", b"layer", &extra).await;
        let digest = Digest::sha256(manifest.as_bytes());
        let put = platform.put_manifest("a", &digest.to_string(), &manifest).await;
        assert_eq!((put.status, put.header("oci-subject")), (201, subject.to_string().as_str()));
    }
    let all = list("").await.json();
    assert_eq!(all["manifests"].as_array().unwrap().len(), 2);
    let filtered = list("?artifactType=application/x.sbom").await;
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    let manifests = filtered.json()["manifests"].clone();
    assert_eq!(manifests.as_array().unwrap().len(), 1);
    assert_eq!(manifests[0]["annotations"]["note"], "two");
    assert_eq!(manifests[0]["artifactType"], "application/x.sbom");

    let digest = manifests[0]["digest"].as_str().unwrap();
    assert_eq!(platform.call("DELETE", &format!("/v2/a/manifests/{digest}"), &[], "").await.status, 202);
    assert_eq!(list("").await.json()["manifests"].as_array().unwrap().len(), 1);
    let absent = Digest::sha256(b"absent");
    assert_eq!(platform.get(&format!("/v2/nobody/referrers/{absent}")).await.status, 200);
    assert_eq!(platform.get("/v2/a/referrers/x").await.status, 400);
    platform.end().await;
}

#[tokio::test]
async fn tags_manifests_and_blobs_are_deleted() {
    let platform = Platform::start().await;
    let (manifest, digest) = platform.push_image("a", "1", b"layer").await;
    platform.put_manifest("a", "2", &manifest).await;
    let delete = async |path: String| platform.call("DELETE", &path, &[], "").await.status;
    assert_eq!(delete("/v2/a/manifests/1".into()).await, 202);
    assert_eq!(delete("/v2/a/manifests/1".into()).await, 404);
    assert_eq!(platform.get("/v2/a/manifests/2").await.status, 200);
    assert_eq!(delete(format!("/v2/a/manifests/{digest}")).await, 202);
    for version in ["2".to_owned(), digest.to_string()] {
        assert_eq!(platform.get(&format!("/v2/a/manifests/{version}")).await.status, 404);
    }
    assert_eq!(platform.get("/v2/a/tags/list").await.json()["tags"], serde_json::json!([]));
    let layer = Digest::sha256(b"layer");
    assert_eq!(delete(format!("/v2/a/blobs/{layer}")).await, 202);
    assert_eq!(delete(format!("/v2/a/blobs/{layer}")).await, 404);
    assert_eq!(platform.call("HEAD", &format!("/v2/a/blobs/{layer}"), &[], "").await.status, 404);
    platform.end().await;
}

#[tokio::test]
async fn other_methods_and_paths_are_refused_in_the_registrys_form() {
    let platform = Platform::start().await;
    for (method, path, status, code) in [
        ("PUT", "/v2/a/tags/list", 405, "UNSUPPORTED"),
        ("POST", "/v2/", 405, "UNSUPPORTED"),
        ("GET", "/v2/a", 404, "NOT_FOUND"),
        ("GET", "/v1/_ping", 404, "NOT_FOUND"),
        ("GET", "/v2/A/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/a/blobs/uploads/nothing", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("GET", "/v2/a/tags/list?n=x", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/_catalog?n=x", 400, "SIZE_INVALID"),
    ] {
        let answer = platform.call(method, path, &[], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
    }
    let metrics = platform.get("/metrics").await;
    assert!(String::from_utf8(metrics.body.to_vec()).unwrap().contains("roadstead_registry_requests_total"));
    platform.end().await;
}

/// A client that dies in the middle of a PATCH asks where it stands, and goes on.
#[tokio::test]
async fn an_upload_goes_on_after_its_connection_broke() {
    let platform = Platform::start().await;
    let bytes = content(300_000);
    let begun = platform.call("POST", "/v2/a/blobs/uploads/", &[], "").await;
    let location = begun.header("location").to_owned();
    let mut stream = tokio::net::TcpStream::connect(platform.address).await.unwrap();
    let authorization = platform.credentials().header().unwrap();
    let head = format!(
        "PATCH {location} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Length: {}\r\n\r\n",
        platform.address,
        authorization.to_str().unwrap(),
        bytes.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&bytes[..100_000]).await.unwrap();
    stream.flush().await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _closed_or_answered = stream.read_to_end(&mut rest).await;

    let mut offset = 0;
    platform
        .eventually("the upload stands somewhere", async || {
            let status = platform.get(&location).await;
            offset = status.header("range").trim_start_matches("0-").parse::<usize>().unwrap() + 1;
            status.status == 204 && offset > 1
        })
        .await;
    assert!(offset <= 100_000);
    let range = format!("{offset}-{}", bytes.len() - 1);
    let resumed = platform.call("PATCH", &location, &[("content-range", &range)], bytes[offset..].to_vec()).await;
    assert_eq!(resumed.status, 202);
    let digest = Digest::sha256(&bytes);
    assert_eq!(platform.call("PUT", &format!("{location}?digest={digest}"), &[], "").await.status, 201);
    assert_eq!(platform.get(&format!("/v2/a/blobs/{digest}")).await.body, bytes);
    platform.end().await;
}

#[tokio::test]
async fn images_outlive_a_restart_and_a_cut_off_upload_is_said() {
    let platform = Platform::start().await;
    let (manifest, _) = platform.push_image("a", "1", b"layer").await;
    let begun = platform.call("POST", "/v2/a/blobs/uploads/", &[], "").await;
    let location = begun.header("location").to_owned();
    platform.call("PATCH", &location, &[], "half").await;

    let platform = platform.restart(Graces::default()).await;
    assert_eq!(platform.get("/v2/a/manifests/1").await.body, manifest);
    let layer = Digest::sha256(b"layer");
    assert_eq!(platform.get(&format!("/v2/a/blobs/{layer}")).await.body, "layer");
    let cut_off = platform.get(&location).await;
    assert_eq!((cut_off.status, cut_off.code().as_str()), (404, "BLOB_UPLOAD_UNKNOWN"));
    assert!(cut_off.json()["errors"][0]["message"].as_str().unwrap().contains("restart"));
    platform.end().await;
}

fn no_grace() -> Graces {
    Graces { unreferenced: Duration::ZERO, upload: Duration::ZERO, orphan: Duration::ZERO }
}

#[tokio::test]
async fn what_nobody_references_is_collected_and_what_is_shared_stays() {
    let platform = Platform::start().await;
    let (_, gone) = platform.push_image("a", "1", b"shared layer").await;
    let own = platform.image_manifest("a", b"own layer", "").await;
    platform.put_manifest("a", "own", &own).await;
    let (manifest, _) = platform.push_image("b", "1", b"shared layer").await;
    platform.s3.put(BUCKET, "uploads/0123", "x/y", "nobody's bytes").await.unwrap();
    let begun = platform.call("POST", "/v2/a/blobs/uploads/", &[], "").await;
    platform.call("PATCH", begun.header("location"), &[], "half").await;

    // The restart cuts the upload off; with graces of zero everything unneeded goes at once.
    let platform = platform.restart(no_grace()).await;
    let own = Digest::sha256(own.as_bytes());
    assert_eq!(platform.call("DELETE", &format!("/v2/a/manifests/{gone}"), &[], "").await.status, 202);
    assert_eq!(platform.call("DELETE", &format!("/v2/a/manifests/{own}"), &[], "").await.status, 202);
    // What image b:1 needs: its manifest, its configuration, the shared layer.
    platform.eventually("three objects are left", async || platform.objects().await.len() == 3).await;
    assert_eq!(platform.get("/v2/b/manifests/1").await.body, manifest);
    let shared = Digest::sha256(b"shared layer");
    assert_eq!(platform.get(&format!("/v2/b/blobs/{shared}")).await.body, "shared layer");
    assert_eq!(platform.get(&format!("/v2/a/blobs/{shared}")).await.status, 404);
    platform
        .eventually("the empty repository is gone", async || {
            platform.get("/v2/_catalog").await.json()["repositories"] == serde_json::json!(["b"])
        })
        .await;
    platform.end().await;
}

/// Twenty pushes of images that share a layer, and twenty pulls of each, at the same instant.
#[tokio::test]
async fn many_push_and_pull_at_once() {
    let platform = Platform::start().await;
    let shared = content(200_000);
    let push = async |number: usize| {
        let repository = format!("many/{}", number % 4);
        platform.push_image(&repository, &format!("t{number}"), &shared).await.1
    };
    let digests = futures::future::join_all((0..20).map(push)).await;
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "the same image has the same digest everywhere");
    let layer = Digest::sha256(&shared);
    let pulls = (0..20).map(|number| {
        let platform = &platform;
        let path = format!("/v2/many/{}/blobs/{layer}", number % 4);
        async move { platform.get(&path).await.body }
    });
    for body in futures::future::join_all(pulls).await {
        assert!(body == shared);
    }
    // One layer, one configuration, one manifest: whatever the order was.
    assert_eq!(platform.objects().await.len(), 3);
    platform.end().await;
}
