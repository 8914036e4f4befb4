//! A small WebDriver client: Debian's chromedriver and chromium, on a port and with a profile of their own.
//!
//! Only what the stories need of the W3C protocol. Nothing waits for a fixed time: [`Browser::wait`] polls a named
//! condition with a deadline.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use web::{Client, ClientError};

const CHROMEDRIVER: &str = "/usr/bin/chromedriver";
const CHROMIUM: &str = "/usr/bin/chromium";
/// Chromium's start on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long chromium may take to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a script may take.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(60);
/// The rest between two looks at a condition.
const POLL_PAUSE: Duration = Duration::from_millis(50);
/// W3C WebDriver section 11: the field that holds an element's reference.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Headless, without a sandbox (tests run as root), silent in the background, and with every `*.localhost` on loopback.
const CHROMIUM_FLAGS: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP *.localhost 127.0.0.1",
];

#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error("start {}", program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("make a profile directory")]
    Profile { source: io::Error },
    #[error("chromedriver did not answer within {START_TIMEOUT:?}")]
    Silent,
    #[error("call chromedriver")]
    Call { source: ClientError },
    #[error("{command}: {message}")]
    Command { command: String, message: String },
    #[error("waited {waited:?} for {condition}; last seen: {last}")]
    Wait { condition: String, waited: Duration, last: String },
    #[error("write {}", path.display())]
    Screenshot { path: PathBuf, source: io::Error },
}

/// How the browser looks at pages.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// CSS pixels.
    pub width: u32,
    pub height: u32,
    pub dark: bool,
    /// Whether the page's viewport is the screen's width, as it is on a phone.
    pub phone: bool,
}

impl View {
    pub const DESK: Self = Self { width: 1280, height: 900, dark: false, phone: false };
    pub const DARK: Self = Self { dark: true, ..Self::DESK };
    pub const PHONE: Self = Self { width: 390, height: 844, dark: false, phone: true };
}

/// A browser with one window. Dropping it, a failed test's way too, ends chromium and chromedriver.
pub struct Browser {
    client: Client,
    /// `http://127.0.0.1:PORT/session/ID`
    session: String,
    port: u16,
    _driver: Child,
    _profile: TempDir,
}

/// An element of the page.
#[derive(Clone, Debug)]
pub struct Element(String);

impl Browser {
    pub async fn start() -> Result<Self, DriverError> {
        let profile = tempfile::tempdir().map_err(|source| DriverError::Profile { source })?;
        let port = free_port().map_err(|source| DriverError::Profile { source })?;
        let start = |source| DriverError::Start { program: CHROMEDRIVER.into(), source };
        let driver = Command::new(CHROMEDRIVER)
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let client = Client::default();
        let base = format!("http://127.0.0.1:{port}");
        until_ready(&client, &base).await?;
        let flags: Vec<String> = CHROMIUM_FLAGS.into_iter().map(str::to_owned).collect();
        let flags = [flags, vec![format!("--user-data-dir={}", profile.path().display())]].concat();
        let options = json!({"binary": CHROMIUM, "args": flags});
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": SCRIPT_TIMEOUT.as_millis() as u64},
        }}});
        let made = call(&client, Method::POST, &format!("{base}/session"), Some(&capabilities)).await?;
        let id = made["sessionId"].as_str().unwrap_or_default();
        let session = format!("{base}/session/{id}");
        Ok(Self { client, session, port, _driver: driver, _profile: profile })
    }

    pub async fn open(&self, url: &str) -> Result<(), DriverError> {
        self.command(Method::POST, "/url", Some(json!({"url": url}))).await.map(|_| ())
    }

    pub async fn look(&self, view: View) -> Result<(), DriverError> {
        let View { width, height, dark, phone } = view;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await?;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", features).await?;
        Ok(())
    }

    /// Sends these headers with every request, as a browser does with credentials once they are typed.
    pub async fn send_headers(&self, headers: Value) -> Result<(), DriverError> {
        self.devtools("Network.enable", json!({})).await?;
        self.devtools("Network.setExtraHTTPHeaders", json!({"headers": headers})).await.map(|_| ())
    }

    /// Whether pages may run scripts of their own.
    pub async fn allow_scripts(&self, allowed: bool) -> Result<(), DriverError> {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({"value": !allowed})).await.map(|_| ())
    }

    /// The first element of a CSS selector.
    pub async fn find(&self, selector: &str) -> Result<Element, DriverError> {
        let query = json!({"using": "css selector", "value": selector});
        let found = self.command(Method::POST, "/element", Some(query)).await?;
        Ok(Element(found[ELEMENT].as_str().unwrap_or_default().to_owned()))
    }

    pub async fn click(&self, selector: &str) -> Result<(), DriverError> {
        let Element(id) = self.find(selector).await?;
        self.command(Method::POST, &format!("/element/{id}/click"), Some(json!({}))).await.map(|_| ())
    }

    /// Types into a field; into a file field, a file's path.
    pub async fn fill(&self, selector: &str, text: &str) -> Result<(), DriverError> {
        let Element(id) = self.find(selector).await?;
        let path = format!("/element/{id}/value");
        self.command(Method::POST, &path, Some(json!({"text": text}))).await.map(|_| ())
    }

    pub async fn choose_file(&self, selector: &str, file: &Path) -> Result<(), DriverError> {
        self.fill(selector, &file.display().to_string()).await
    }

    /// Runs a function's body; what it returns comes back as JSON.
    pub async fn script(&self, body: &str, arguments: Value) -> Result<Value, DriverError> {
        let script = json!({"script": body, "args": arguments});
        self.command(Method::POST, "/execute/sync", Some(script)).await
    }

    /// As [`Self::script`], with an `async` function's body.
    pub async fn script_async(&self, body: &str, arguments: Value) -> Result<Value, DriverError> {
        let body = format!(
            "const done = arguments[arguments.length - 1]; \
             (async (...args) => {{ {body} }})(...[...arguments].slice(0, -1)) \
             .then((value) => done({{value}}), (error) => done({{error: String(error)}}));"
        );
        let script = json!({"script": body, "args": arguments});
        let outcome = self.command(Method::POST, "/execute/async", Some(script)).await?;
        match outcome["error"].as_str() {
            Some(message) => Err(DriverError::Command { command: "async script".into(), message: message.into() }),
            None => Ok(outcome["value"].clone()),
        }
    }

    /// Looks until an expression is true; on giving up the error shows what `document.body` says.
    pub async fn wait(&self, condition: &str, expression: &str, limit: Duration) -> Result<(), DriverError> {
        let started = Instant::now();
        loop {
            let seen = self.script(&format!("return Boolean({expression});"), json!([])).await?;
            if seen == json!(true) {
                return Ok(());
            }
            if started.elapsed() > limit {
                let text = self.script("return document.body.innerText;", json!([])).await?;
                let log = self.console_log().await?;
                let last = format!("{}\nbrowser log: {log}", text.as_str().unwrap_or_default());
                return Err(DriverError::Wait { condition: condition.into(), waited: limit, last });
            }
            tokio::time::sleep(POLL_PAUSE).await;
        }
    }

    /// What pages and the browser itself have logged since the last call: script errors, policy violations.
    pub async fn console_log(&self) -> Result<String, DriverError> {
        let entries = self.command(Method::POST, "/se/log", Some(json!({"type": "browser"}))).await?;
        let lines = entries.as_array().into_iter().flatten().filter_map(|entry| entry["message"].as_str());
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    /// The whole page as a PNG file.
    pub async fn screenshot(&self, path: &Path) -> Result<(), DriverError> {
        let options = json!({"format": "png", "captureBeyondViewport": true});
        let shot = self.devtools("Page.captureScreenshot", options).await?;
        let write = |source| DriverError::Screenshot { path: path.to_owned(), source };
        let bytes = STANDARD.decode(shot["data"].as_str().unwrap_or_default());
        let bytes = bytes.map_err(|error| write(io::Error::other(error)))?;
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(write)?;
        }
        std::fs::write(path, bytes).map_err(write)
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Result<Value, DriverError> {
        let call = json!({"cmd": command, "params": parameters});
        self.command(Method::POST, "/goog/cdp/execute", Some(call)).await
    }

    async fn command(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, DriverError> {
        call(&self.client, method, &format!("{}{path}", self.session), body.as_ref()).await
    }
}

impl Drop for Browser {
    /// chromium outlives a chromedriver that is killed, so chromedriver is asked to end both, by a plain blocking call.
    fn drop(&mut self) {
        let shutdown = || -> io::Result<()> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(SHUTDOWN_TIMEOUT))?;
            write!(stream, "GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
            stream.read_to_end(&mut Vec::new()).map(|_| ())
        };
        if let Err(error) = shutdown() {
            eprintln!("chromedriver did not shut down: {error}");
        }
    }
}

async fn until_ready(client: &Client, base: &str) -> Result<(), DriverError> {
    let started = Instant::now();
    while started.elapsed() < START_TIMEOUT {
        if let Ok(status) = call(client, Method::GET, &format!("{base}/status"), None).await
            && status["ready"] == json!(true)
        {
            return Ok(());
        }
        tokio::time::sleep(POLL_PAUSE).await;
    }
    Err(DriverError::Silent)
}

/// Every answer is `{"value": …}`; an error's value has a message.
async fn call(client: &Client, method: Method, url: &str, body: Option<&Value>) -> Result<Value, DriverError> {
    let content = body.map_or(web::empty_body(), |body| web::full_body(body.to_string()));
    let command = format!("{method} {url}");
    let answer = client.call(method, url, body.map(|_| "application/json"), content).await;
    let answer = answer.map_err(|source| DriverError::Call { source })?;
    let mut document: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let value = document.get_mut("value").map(Value::take).unwrap_or_default();
    if answer.status().is_success() {
        return Ok(value);
    }
    let message = value["message"].as_str().unwrap_or("no message").to_owned();
    Err(DriverError::Command { command, message })
}

/// chromedriver cannot be told to take any port and say which; another process may take this one first, rarely.
fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
