//! The way to a server: a connection that is kept, or a new one, with the request on it.

use super::super::client::Client;
use super::super::dial::{Connection, DialTimes, Want};
use super::super::http2;
use super::super::journey::Journey;
use super::super::tcp::write_header;
use super::super::thread::Worker;
use super::super::upload::{NotSent, Sent, reuse};
use super::{End, Failure};
use crate::current::Admitted;
use crate::limits::{DIAL_TIMEOUT, LAST_DIAL_TIMEOUT, TLS_HANDSHAKE_TIMEOUT};
use crate::servers::Server;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::time::Instant;

/// Sends the request on a connection that is kept, or new.
pub(super) async fn send(
    worker: &Worker,
    client: &mut Client,
    journey: &Journey,
    admitted: &Admitted,
    mut is_fresh: bool,
) -> Result<Sent, End> {
    let (server, want, send_proxy) = (admitted.server(), journey.want(admitted), admitted.route().send_proxy);
    loop {
        let kept = match is_fresh || send_proxy.is_some() {
            true => None,
            false => worker.kept(server, want, reuse(journey), Instant::now()),
        };
        let times = dial_times(journey, admitted);
        let connection = match (kept, send_proxy) {
            (Some(connection), _) => connection,
            (None, None) => unless_gone(client, dial(worker, server, want, times)).await?,
            (None, Some(version)) => {
                let (peer, at, mut header) = (&client.peer, client.line.local_address(), Vec::new());
                write_header(version, peer.socket_address(), at.unwrap_or(peer.face.address), &mut header);
                let dialling = async {
                    let dialled = Connection::dial_plain(&server.url, want.patience, times.dial).await?;
                    let introduced = dialled.introduced(worker, &server.url, want, times, &header).await?;
                    match want.takes_http2(&server.url) && introduced.is_http2() {
                        // The header speaks for one client, so requests of others have connections of their own.
                        true => http2::alone(worker, server, introduced).await,
                        false => Ok(introduced),
                    }
                };
                unless_gone(client, dialling).await?
            }
        };
        let is_reused = connection.is_reused;
        let (peer, rest) = (&client.peer, client.leftover.bytes());
        let sent = journey.read(|request| Sent::send(worker, peer, request, journey, admitted, connection, rest));
        match sent {
            Ok((sent, used)) => {
                client.leftover.advance(used);
                return Ok(sent);
            }
            Err(NotSent::Closed(_)) if is_reused && !is_fresh => is_fresh = true,
            Err(NotSent::Closed(error)) => return Err(Failure::before_head(error).into()),
            Err(NotSent::Faulty(failure)) => return Err(failure.into()),
        }
    }
}

/// A connection, unless the client is known to leave before there is one.
async fn unless_gone(
    client: &mut Client,
    dialling: impl Future<Output = Result<Connection, Failure>>,
) -> Result<Connection, End> {
    let mut dialling = pin!(dialling);
    poll_fn(|context| match dialling.as_mut().poll(context) {
        Poll::Ready(dialled) => Poll::Ready(dialled.map_err(End::from)),
        Poll::Pending if client.line.poll_gone(context) => Poll::Ready(Err(End::ClientLeft)),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// A new connection to a server.
pub(in super::super) async fn dial(
    worker: &Worker,
    server: &Arc<Server>,
    want: Want<'_>,
    times: DialTimes,
) -> Result<Connection, Failure> {
    match want.takes_http2(&server.url) {
        true => http2::connect(worker, server, want, times).await,
        false => Connection::dial(worker, &server.url, want, times).await,
    }
}

fn dial_times(journey: &Journey, admitted: &Admitted) -> DialTimes {
    let route = admitted.route();
    let is_last = journey.tried.len() + 1 >= route.servers.len();
    let asked = journey.orders.as_ref().and_then(|orders| orders.limits.timeouts.dial);
    let dial = asked.or(route.dial_timeout).unwrap_or(if is_last { LAST_DIAL_TIMEOUT } else { DIAL_TIMEOUT });
    DialTimes { dial, handshake: route.handshake_timeout.unwrap_or(TLS_HANDSHAKE_TIMEOUT) }
}
