//! What a person does on the page of `pics`: uploads a picture and looks for it in the gallery.

use crate::webdriver::{Browser, DriverError};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// A large picture on a busy machine.
const UPLOAD_LIMIT: Duration = Duration::from_secs(90);
const PAGE_LIMIT: Duration = Duration::from_secs(20);

/// An uploaded picture as the gallery shows it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub key: String,
    /// Where the browser loaded it from.
    pub url: String,
    /// CSS pixels of the decoded picture; more than 0 means that it was decoded.
    pub natural_width: u64,
    /// Of the bytes behind `url`, lower-case hexadecimal.
    pub sha256: String,
    /// Method and URL of each request to the storage, as "How does it work ?" lists them.
    pub requests: Vec<String>,
    /// The host name the page shows top left.
    pub hostname: String,
}

/// Opens the page, uploads `file` into `bucket`, and waits until the page says that it has; returns the picture's key.
pub async fn upload(browser: &Browser, page_url: &str, bucket: &str, file: &Path) -> Result<String, DriverError> {
    // A page of its own each time: the address alone, with another hash, would not load it anew.
    browser.open("about:blank").await?;
    browser.open(page_url).await?;
    browser.wait("the page's script", "document.readyState === 'complete'", PAGE_LIMIT).await?;
    browser.click("#how-open").await?;
    browser.script("document.querySelector('#bucket').value = arguments[0];", json!([bucket])).await?;
    browser.choose_file("#file", file).await?;
    browser.wait("the file's size", "/bytes/.test(document.querySelector('#size').textContent)", PAGE_LIMIT).await?;
    browser.click("#send").await?;
    let answered = "!document.querySelector('#alert').hidden";
    browser.wait("the upload's end", answered, UPLOAD_LIMIT).await?;
    let uploaded = "document.querySelector('#alert').textContent === 'Picture uploaded'";
    browser.wait("\"Picture uploaded\"", uploaded, Duration::ZERO).await?;
    text(browser, "document.querySelector('#alert').dataset.key").await
}

/// Uploads as [`upload`] does, and waits until the gallery shows the picture.
pub async fn upload_and_see(browser: &Browser, page_url: &str, bucket: &str, file: &Path) -> Result<Seen, DriverError> {
    let key = upload(browser, page_url, bucket, file).await?;
    let image = format!("document.querySelector('img[data-key=\"{key}\"]')");
    browser
        .wait("the picture in the gallery", &format!("{image}?.complete && {image}.naturalWidth > 0"), PAGE_LIMIT)
        .await?;
    let url = text(browser, &format!("{image}.src")).await?;
    let natural_width = browser.script(&format!("return {image}.naturalWidth;"), json!([])).await?;
    let requests = browser.script(REQUESTS, json!([])).await?;
    let requests = requests.as_array().into_iter().flatten().filter_map(|line| line.as_str().map(str::to_owned));
    Ok(Seen {
        key,
        sha256: sha256(browser, &url).await?,
        url,
        natural_width: natural_width.as_u64().unwrap_or_default(),
        requests: requests.collect(),
        hostname: text(browser, "document.querySelector('#hostname').textContent").await?,
    })
}

const REQUESTS: &str = "return [...document.querySelectorAll('#requests li > p')].map((line) => \
    line.querySelector('strong').textContent + ' ' + line.querySelector('code').textContent);";

async fn text(browser: &Browser, expression: &str) -> Result<String, DriverError> {
    let value = browser.script(&format!("return String({expression});"), json!([])).await?;
    Ok(value.as_str().unwrap_or_default().to_owned())
}

/// Fetched by the page itself, so under the page's policy and the bucket's CORS rules.
async fn sha256(browser: &Browser, url: &str) -> Result<String, DriverError> {
    let body = "const bytes = await (await fetch(args[0])).arrayBuffer(); \
        const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)); \
        return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');";
    let digest = browser.script_async(body, json!([url])).await?;
    Ok(digest.as_str().unwrap_or_default().to_owned())
}
