//! The page, as in the article: the host name top left, the endpoint bottom left, upload, gallery, "How does it work ?".
//!
//! Rendered once at the start. What the script needs to know is in `data-` attributes of the body, so that no inline script
//! is ever allowed.

use crate::picture::{KEY_PREFIX, PART_BYTES, PICTURE_BYTES_MAX, PictureType, SINGLE_PUT_BYTES_MAX};
use crate::{Config, SignatureVersion};
use maud::{DOCTYPE, Markup, html};

/// Scripts and styles come from here only; images and requests go to the offered buckets only.
pub fn content_security_policy(config: &Config) -> String {
    let mut origins: Vec<String> =
        config.buckets.iter().map(|bucket| config.endpoint.bucket(bucket).origin).map(expressible).collect();
    origins.sort();
    origins.dedup();
    let origins = origins.join(" ");
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: {origins}; \
         connect-src 'self' {origins}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// A policy's grammar has no IPv6 addresses (CSP3 section 2.3.1); the scheme is the narrowest it can say.
fn expressible(origin: String) -> String {
    match origin.split_once("://[") {
        Some((scheme, _)) => format!("{scheme}:"),
        None => origin,
    }
}

pub fn render(config: &Config, hostname: &str) -> Markup {
    let accepted = PictureType::ALL.map(PictureType::content_type).join(",");
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "s3pics" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/assets/pics.css";
                script src="/assets/pics.js" defer {}
            }
            body data-single-put-bytes-max=(SINGLE_PUT_BYTES_MAX) data-part-bytes=(PART_BYTES)
                data-picture-bytes-max=(PICTURE_BYTES_MAX) data-key-prefix=(KEY_PREFIX) {
                header {
                    p.host { "Application running on " strong #hostname { (hostname) } }
                    button #how-open.link type="button" aria-controls="how" aria-expanded="false" {
                        "How does it work ?"
                    }
                }
                main {
                    div.panels {
                        (upload_panel(config, &accepted))
                        (bucket_panel(config))
                    }
                    (explanation(config))
                    (gallery())
                    noscript { p.alert.danger { "Uploads and pictures need JavaScript: the browser itself talks to the storage." } }
                }
                footer { p { "Amazon S3 endpoint " code #endpoint { (config.endpoint) } } }
            }
        }
    }
}

fn upload_panel(config: &Config, accepted: &str) -> Markup {
    html! {
        section.panel aria-labelledby="upload-title" {
            h2 #upload-title { "Upload a new picture" }
            p.subtitle { "Uploading from client using Amazon S3 Multipart upload" }
            form #upload {
                label.file for="file" {
                    input #file type="file" accept=(accepted) required;
                    span #file-name { "No file selected." }
                }
                div.field {
                    label for="bucket" { "Bucket Name" }
                    select #bucket { @for bucket in &config.buckets { option { (bucket) } } }
                }
                div.field {
                    span { "File size" }
                    output #size for="file" { "will be filled when a file will be selected" }
                }
                button #send.primary type="submit" disabled { "Upload" }
                progress #progress max="1" value="0" hidden aria-label="Upload progress" {}
                p #progress-text.hint role="status" aria-live="polite" {}
                p #alert.alert role="alert" hidden {}
            }
        }
    }
}

fn bucket_panel(config: &Config) -> Markup {
    html! {
        section.panel aria-labelledby="buckets-title" {
            h2 #buckets-title { "Show pictures stored in the following buckets" }
            ul #buckets.buckets {
                @for bucket in &config.buckets { li { a href={ "#" (bucket) } data-bucket=(bucket) { (bucket) } } }
            }
            p.hint { "The browser lists a bucket and loads its pictures directly from the object storage." }
        }
    }
}

fn gallery() -> Markup {
    html! {
        section #gallery hidden aria-labelledby="gallery-title" {
            h2 #gallery-title {}
            p #gallery-note.hint role="status" aria-live="polite" {}
            div #pictures.pictures {}
            button #more type="button" hidden { "More pictures" }
        }
    }
}

fn explanation(config: &Config) -> Markup {
    let version = match config.signature {
        SignatureVersion::V4 => "version 4",
        SignatureVersion::V2 => "version 2",
    };
    html! {
        section #how.panel.how hidden aria-labelledby="how-title" {
            h2 #how-title { "How does it work ?" }
            p {
                "This application is not in the data path. For each request below, the browser asked it for a signature ("
                (version) ", a few hundred bytes) and then sent the request straight to "
                code { (config.endpoint) } ". A file of up to " (SINGLE_PUT_BYTES_MAX >> 20) " MiB is one PUT; a larger one is a "
                "multipart upload: a POST that starts it, a PUT for each part of " (PART_BYTES >> 20)
                " MiB, three at a time, and a POST that completes it."
            }
            p #requests-empty.hint { "Upload or show a picture, and the very requests that were sent appear here." }
            ol #requests.requests {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: &str) -> Config {
        Config {
            listen: ([127, 0, 0, 1], 0).into(),
            endpoint: endpoint.parse().unwrap(),
            credentials: s3sign::Credentials::new("denis@ad.forest", "a-secret").unwrap(),
            buckets: vec!["bucket1".parse().unwrap(), "bucket2".parse().unwrap()],
            signature: SignatureVersion::V2,
        }
    }

    #[test]
    fn the_page_says_what_the_articles_page_says() {
        let page = render(&config("http://s3.localhost:8181"), "74f32a25d7ad").into_string();
        for text in [
            "Application running on <strong id=\"hostname\">74f32a25d7ad</strong>",
            "Upload a new picture",
            "Uploading from client using Amazon S3 Multipart upload",
            "No file selected.",
            "Bucket Name",
            "<option>bucket1</option><option>bucket2</option>",
            "will be filled when a file will be selected",
            "Show pictures stored in the following buckets",
            "href=\"#bucket2\"",
            "How does it work ?",
            "http://s3.localhost:8181",
        ] {
            assert!(page.contains(text), "the page lacks {text}");
        }
        assert!(!page.contains("a-secret") && !page.contains("denis@ad.forest"), "no key leaves the server");
        assert!(!page.contains("style=") && !page.contains("<script>"), "nothing inline, as the policy wants");
    }

    #[test]
    fn a_host_name_is_escaped() {
        let page = render(&config("http://s3.localhost"), "<img src=x>").into_string();
        assert!(page.contains("&lt;img src=x&gt;"));
    }

    #[test]
    fn the_policy_names_the_buckets_origins_and_nothing_else() {
        let policy = content_security_policy(&config("http://s3.localhost:8181"));
        assert!(policy.contains(
            "connect-src 'self' http://bucket1.s3.localhost:8181 http://bucket2.s3.localhost:8181; base-uri"
        ));
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; "));
        let policy = content_security_policy(&config("http://127.0.0.1:9000"));
        assert!(policy.contains("connect-src 'self' http://127.0.0.1:9000; "));
        let policy = content_security_policy(&config("http://[::1]:9000"));
        assert!(policy.contains("connect-src 'self' http:; "));
    }
}
