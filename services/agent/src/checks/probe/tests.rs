use super::*;
use async_trait::async_trait;
use runtime::{ContainerSpec, Error, Exit, Found, Kind, LogSlice, Status, Stream};
use std::io::Write as _;
use std::net::TcpListener;
use tokio::io::AsyncWriteExt;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Answers `exec` with the number the command names.
struct ExecOnly;

#[async_trait]
impl Runtime for ExecOnly {
    fn kind(&self) -> Kind {
        Kind::Process
    }
    fn limits(&self) -> Vec<String> {
        Vec::new()
    }
    async fn prepare(&self, _: &ContainerSpec) -> Result<(), Error> {
        Ok(())
    }
    async fn start(&self, _: &ContainerSpec) -> Result<(), Error> {
        Ok(())
    }
    async fn list(&self) -> Result<Vec<Found>, Error> {
        Ok(Vec::new())
    }
    async fn find(&self, _: &str) -> Result<Option<Status>, Error> {
        Ok(None)
    }
    async fn wait(&self, id: &str) -> Result<Exit, Error> {
        Err(Error::Unknown { id: id.to_owned() })
    }
    async fn stop(&self, _: &str, _: Duration) -> Result<(), Error> {
        Ok(())
    }
    async fn exec(&self, id: &str, command: &str, _: Duration) -> Result<Executed, Error> {
        match command.parse() {
            Ok(status) => Ok(Executed::Status(status)),
            Err(_) => Err(Error::NotRunning { id: id.to_owned() }),
        }
    }
    async fn logs(&self, id: &str, _: Stream, _: Option<u64>, _: usize) -> Result<LogSlice, Error> {
        Err(Error::Unknown { id: id.to_owned() })
    }
    async fn remove(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }
}

fn prober() -> Prober {
    Prober::new(Arc::new(ExecOnly), "127.0.0.1")
}

fn check(protocol: &str, port: u16) -> Check {
    Check { protocol: protocol.to_owned(), path: "/health".to_owned(), host_port: port.into(), ..Check::default() }
}

/// Serves one connection with these bytes; the request is what it gives back.
fn serve_once(answer: &'static str) -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let length = std::io::Read::read(&mut stream, &mut request).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    (port, served)
}

async fn http(answer: &'static str) -> Result<(), String> {
    let (port, served) = serve_once(answer);
    let outcome = prober().probe("t", &check("HTTP", port), TIMEOUT).await;
    let request = served.join().unwrap();
    assert!(request.starts_with("GET /health HTTP/1.1\r\n"), "{request}");
    outcome
}

#[tokio::test]
async fn http_is_healthy_from_200_to_399_and_redirects_are_not_followed() {
    http("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    // Followed, it would be refused: nobody listens on port 1.
    http("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert!(http("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.unwrap_err().contains("404"));
    assert!(http("HTTP/1.1 500 No\r\n\r\n").await.is_err());
    assert!(http("hello\r\n\r\n").await.is_err());
    assert!(http("").await.is_err());
}

#[tokio::test]
async fn a_server_that_says_nothing_runs_into_the_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let outcome = prober().probe("t", &check("HTTP", port), Duration::from_millis(100)).await;
    assert!(outcome.unwrap_err().contains("no answer"));
}

#[tokio::test]
async fn an_endless_head_is_cut() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let flood = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        while stream.write_all(&[b'a'; 1024]).await.is_ok() {}
    });
    let outcome = prober().probe("t", &check("HTTP", port), TIMEOUT).await;
    assert!(!outcome.unwrap_err().contains("no answer"));
    flood.await.unwrap();
}

#[tokio::test]
async fn tcp_needs_a_connection_that_lasts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    prober().probe("t", &check("TCP", port), TIMEOUT).await.unwrap();
    drop(listener);
    assert!(prober().probe("t", &check("TCP", port), TIMEOUT).await.is_err());
    // A forwarder with nobody behind it accepts and closes.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { drop(listener.accept().await) });
    assert!(prober().probe("t", &check("TCP", port), TIMEOUT).await.is_err());
}

#[tokio::test]
async fn commands_and_what_we_do_not_know() {
    let command = |line: &str| Check { command: line.to_owned(), ..check("COMMAND", 0) };
    prober().probe("t", &command("0"), TIMEOUT).await.unwrap();
    assert!(prober().probe("t", &command("3"), TIMEOUT).await.unwrap_err().contains("status 3"));
    assert!(prober().probe("t", &command("?"), TIMEOUT).await.unwrap_err().contains("not running"));
    assert!(prober().probe("t", &check("GOPHER", 1), TIMEOUT).await.unwrap_err().contains("GOPHER"));
    assert!(prober().probe("t", &check("TCP", 0), TIMEOUT).await.unwrap_err().contains("no host port"));
    let hostile = Check { path: "/\r\nx: y".to_owned(), ..check("HTTP", 1) };
    assert!(prober().probe("t", &hostile, TIMEOUT).await.unwrap_err().contains("path"));
}
