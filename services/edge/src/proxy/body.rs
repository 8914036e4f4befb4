//! Bodies on their way through: streamed frame by frame, counted, bounded.

use super::answer::Failure;
use super::upstream::Connection;
use crate::limits::{BODY_IDLE_MAX, EXPECT_TIMEOUT};
use crate::servers::{InFlight, lock};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use lifecycle::BoxError;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

/// How far the body of a request has come; shared with whoever waits for the response.
#[derive(Debug)]
pub(crate) struct Progress {
    last_moved: Mutex<Instant>,
    ended: AtomicBool,
    too_large: AtomicBool,
    client_failed: AtomicBool,
}

impl Progress {
    pub fn last_moved(&self) -> Instant {
        *lock(&self.last_moved)
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(SeqCst)
    }

    /// The client's part in a failed exchange.
    pub fn fault(&self) -> Option<Failure> {
        if self.too_large.load(SeqCst) {
            return Some(Failure::BodyTooLarge);
        }
        self.client_failed.load(SeqCst).then_some(Failure::ClientBody)
    }
}

/// A request's body as a server receives it.
pub(crate) struct RequestBody {
    /// `None`: the request has no body.
    inner: Option<Incoming>,
    /// Until the server, or a timeout, says that it wants the body.
    gate: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pub progress: Arc<Progress>,
    bytes: u64,
    /// 0: no limit.
    bytes_max: u64,
    counter: Counter,
}

impl RequestBody {
    pub fn new(inner: Option<Incoming>, bytes_max: u64, counter: Counter) -> Self {
        let progress = Progress {
            last_moved: Mutex::new(Instant::now()),
            ended: AtomicBool::new(inner.is_none()),
            too_large: AtomicBool::new(false),
            client_failed: AtomicBool::new(false),
        };
        Self { inner, gate: None, progress: Arc::new(progress), bytes: 0, bytes_max, counter }
    }

    /// Holds the body back until `asked_for` is notified, but not for long: servers may keep silent.
    pub fn wait_for(&mut self, asked_for: Arc<Notify>) {
        self.gate = Some(Box::pin(async move {
            let _either = tokio::time::timeout(EXPECT_TIMEOUT, asked_for.notified()).await;
        }));
    }

    pub fn into_inner(self) -> Option<Incoming> {
        self.inner
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Some(gate) = &mut this.gate {
            ready!(gate.as_mut().poll(context));
            this.gate = None;
        }
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *inner).poll_frame(context));
        *lock(&this.progress.last_moved) = Instant::now();
        Poll::Ready(match frame {
            None => {
                this.progress.ended.store(true, SeqCst);
                None
            }
            Some(Err(error)) => {
                this.progress.client_failed.store(true, SeqCst);
                Some(Err(error.into()))
            }
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.bytes += length;
                if this.bytes_max > 0 && this.bytes > this.bytes_max {
                    this.progress.too_large.store(true, SeqCst);
                    return Poll::Ready(Some(Err(Failure::BodyTooLarge.into())));
                }
                this.counter.inc_by(length);
                if inner.is_end_stream() {
                    this.progress.ended.store(true, SeqCst);
                }
                Some(Ok(frame))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// A response's body as the client receives it.
pub(crate) struct ResponseBody {
    content: Content,
    counted: Option<CountedIn>,
}

enum Content {
    Whole(Option<Bytes>),
    Stream(Box<Stream>),
}

/// Counts a request in a gauge for as long as it lives.
pub(crate) struct CountedIn(Gauge);

impl CountedIn {
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for CountedIn {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A response that is still coming. Dropped at its end it gives the connection back; dropped before, it closes it.
pub(crate) struct Stream {
    inner: Incoming,
    connection: Option<Connection>,
    in_flight: InFlight,
    counter: Counter,
    stalled: Pin<Box<Sleep>>,
}

impl Stream {
    pub fn new(inner: Incoming, connection: Connection, in_flight: InFlight, counter: Counter) -> Self {
        let stalled = Box::pin(tokio::time::sleep(BODY_IDLE_MAX));
        Self { inner, connection: Some(connection), in_flight, counter, stalled }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.counter.inc_by(frame.data_ref().map_or(0, |data| data.len() as u64));
                self.stalled.as_mut().reset(Instant::now() + BODY_IDLE_MAX);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.connection = None;
                Poll::Ready(Some(Err(Failure::ResponseBody(error))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                ready!(self.stalled.as_mut().poll(context));
                self.connection = None;
                Poll::Ready(Some(Err(Failure::ResponseStalled)))
            }
        }
    }

    /// Reads all of it, at most `bytes_max`, which the caller knows it has.
    pub async fn read_whole(mut self, bytes_max: u64) -> Result<Bytes, Failure> {
        let mut whole = Vec::with_capacity(bytes_max as usize);
        while let Some(frame) = std::future::poll_fn(|context| self.poll_frame(context)).await {
            if let Ok(data) = frame?.into_data() {
                whole.extend_from_slice(&data);
            }
        }
        Ok(whole.into())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.inner.is_end_stream()
            && let Some(connection) = self.connection.take()
        {
            connection.release(&self.in_flight.0);
        }
    }
}

impl ResponseBody {
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Whole(Some(bytes.into())), counted: None }
    }

    pub fn stream(stream: Stream) -> Self {
        Self { content: Content::Stream(Box::new(stream)), counted: None }
    }

    pub fn counted(mut self, counted: CountedIn) -> Self {
        self.counted = Some(counted);
        self
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.content {
            Content::Whole(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Content::Stream(stream) => stream.poll_frame(context).map_err(BoxError::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Stream(stream) => stream.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Stream(stream) => stream.inner.size_hint(),
        }
    }
}
