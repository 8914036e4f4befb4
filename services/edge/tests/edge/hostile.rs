//! Hostile peers. Each ends in one defined way, holds up nobody, and leaves nothing behind: after each the gauges of
//! connections, requests and tunnels are at 0, and a good client is served.
//!
//! | a client | outcome | test |
//! |---|---|---|
//! | sends a head byte by byte, for ever | 408, closed; the time counts from its first byte | `a_head_that_drips_is_cut_when_its_time_is_over` |
//! | stops anywhere in a request and stays | 408 where something was begun, else closed | `wherever_a_client_stops_it_is_answered_or_closed` |
//! | closes, half-closes or resets anywhere in a request | its server is let go of | `wherever_a_client_leaves_nothing_is_left_of_it` |
//! | sends endless lines, headers, a line without end | 414, 431 | `heads_without_end_are_refused` |
//! | sends requests without end and reads nothing | is not read from any more, cut when it stalls | `a_flood_that_takes_no_answer_is_stopped_and_cut` |
//! | reads nothing of large responses | cut; no more than a read buffer each is held | `clients_that_do_not_read_hold_little_memory` (memory.rs) |
//! | comes and goes ten thousand times | no file, no count is left | `ten_thousand_connections_leave_nothing` |
//! | asks for lines in a response (`%0d%0a`) | gets its text back, in one line | `no_text_of_a_client_becomes_a_line` |
//! | says that it is somebody else (`X-Forwarded-For`) | what the proxy in front says last counts | `of_several_lines_of_addresses_the_last_is_believed` |
//! | sends anything but a handshake to a listener of TLS, or one without end | closed | `whatever_comes_instead_of_a_handshake_is_closed` |
//! | abandons a tunnel, in any way | the server's side ends | `however_a_tunnel_is_abandoned_both_sides_end` |
//!
//! | a server | outcome | test |
//! |---|---|---|
//! | closes, resets or stays silent before or in its head, or after 100 | 502; 504 when it stays | `wherever_a_server_stops_before_its_response_the_client_is_told` |
//! | closes or resets in a body or a chunk | the client sees the break, never an end | `wherever_a_response_breaks_off_the_client_sees_it` |
//! | sends garbage, two framings, endless heads, a switch nobody asked for | 502, nothing of it passes | `what_is_no_response_is_a_502` |
//! | closes or resets a kept connection just when a request comes | a GET is sent again | `a_connection_that_dies_as_a_get_is_sent_costs_nothing` |
//! | takes nothing of a large upload | 504 | `a_server_that_takes_no_upload_is_a_504` |
//! | answers before it has the whole upload | passes; the connection ends | `an_early_answer_passes_and_ends_the_connection` |
//!
//! And all of them at once: `nobody_hears_anothers_answer`.

mod clients;
mod handshakes;
mod mixed;
mod servers;
mod tunnels;

use crate::harness::{DEADLINE, Edge, config, eventually, exchange};
use crate::memory_store::MemoryStore;
use serde_json::Value;
use socket2::SockRef;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Of edges with clients that dawdle: for a head, and without taking anything. A busy machine takes less to let a client
/// say what it has to say.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of backends whose servers say nothing any more, until a response.
const READ: &str = "300ms";

/// How a peer ends its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Close,
    Reset,
    /// Sends nothing more, and reads.
    HalfClose,
    /// Does nothing, and reads.
    Stay,
}

impl Ending {
    /// Returns what came until the other side closed; only who reads hears it.
    async fn of(self, mut stream: TcpStream) -> String {
        match self {
            Self::Close => return String::new(),
            Self::Reset => {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                return String::new();
            }
            // Whoever was reset before cannot.
            Self::HalfClose => drop(stream.shutdown().await),
            Self::Stay => {}
        }
        let mut heard = Vec::new();
        let ended = timeout(DEADLINE, stream.read_to_end(&mut heard)).await;
        assert!(ended.is_ok(), "it was left open after {:?}", String::from_utf8_lossy(&heard));
        String::from_utf8_lossy(&heard).into_owned()
    }
}

/// An edge whose clients have little time. Whoever does not dawdle has an edge with the usual times.
async fn hurried() -> Edge {
    let store = Arc::new(MemoryStore::default());
    let client_times = edge::ClientTimes { head: PATIENCE, stall: PATIENCE };
    Edge::of(edge::Config { client_times, ..config(store.clone()) }, store).await
}

/// The statuses in what a client heard.
fn statuses(heard: &str) -> Vec<u16> {
    heard.split("HTTP/1.1 ").skip(1).map(|text| text[..3].parse().unwrap()).collect()
}

/// Nothing is left of those who came, and who behaves is served.
async fn is_well(edge: &Edge, host: &str) {
    for gauge in ["edge_connections ", "edge_requests_in_flight ", "edge_tunnels "] {
        eventually(&format!("{gauge}is 0"), || async { (edge.metric(gauge).await == 0.0).then_some(()) }).await;
    }
    // Those who left at once may still be coming in.
    eventually("nothing is in flight", || async {
        let routes: Value = edge.client.get_json(&format!("http://{}/routes", edge.api)).await.unwrap();
        let mut servers = routes["routes"].as_array()?.iter().flat_map(|route| route["servers"].as_array().unwrap());
        servers.all(|server| server["in_flight"] == 0).then_some(())
    })
    .await;
    let request = format!("GET /well HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    eventually("who behaves is served", || async {
        let answer = exchange(edge.address, &request).await;
        // The server has as little time as one that says nothing, which a busy machine may not leave it now and then.
        (!answer.starts_with("HTTP/1.1 504 ")).then(|| assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}"))
    })
    .await;
}

async fn connected(edge: &Edge, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}
