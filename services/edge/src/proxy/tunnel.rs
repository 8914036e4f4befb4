//! Upgraded connections (WebSockets and others): bytes both ways until either side ends, counted as in flight at their
//! server all the while.

use super::body::CountedIn;
use crate::metrics::RouteMetrics;
use crate::servers::InFlight;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use lifecycle::Stop;

pub(crate) struct Tunnel {
    pub client: OnUpgrade,
    pub server: OnUpgrade,
    pub metrics: RouteMetrics,
    pub in_flight: InFlight,
    pub counted: CountedIn,
}

impl Tunnel {
    /// Works until either side ends or `cut` is requested.
    pub async fn run(self, cut: Stop) {
        let Self { client, server, metrics, in_flight, counted } = self;
        let copied = cut.or(async {
            let (client, server) = tokio::try_join!(client, server).ok()?;
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            tokio::io::copy_bidirectional(&mut client, &mut server).await.ok()
        });
        if let Some(Some((sent, received))) = copied.await {
            metrics.request_bytes.inc_by(sent);
            metrics.response_bytes.inc_by(received);
        }
        drop((in_flight, counted));
    }
}
