//! Every limit and default of the edge, in one place.

use std::time::Duration;

// ---- the engine -----------------------------------------------------------------------------------------------------

/// Threads that serve requests, one per core.
pub const THREADS_MAX: usize = 64;
/// Listeners opened and closed that a thread has not heard of yet.
pub const COMMANDS_QUEUE_MAX: usize = 256;
/// A thread's read buffer: what a system call brings at most. Everything on its way is read into it and passed on from it
/// at once; only what could not be is copied.
pub const SCRATCH_BYTES: usize = 128 * 1024;
/// What is left of a plain body goes through the kernel alone (splice) from this size on: less is not worth three system
/// calls.
pub const SPLICE_BYTES_MIN: u64 = 32 * 1024;
/// After a response that large the next one on its connection is most likely like it: at first only this much of it is read,
/// its head and little more, and the rest stays in the kernel.
pub const FIRST_BYTES_OF_MUCH: usize = 4 * 1024;
/// Of the pipe it goes through; an unprivileged user may have 16,384 pages in all pipes (pipe(7)).
pub const PIPE_BYTES: i32 = 256 * 1024;
/// Pipes that a thread keeps for the next bodies.
pub const SPARE_PIPES_MAX: usize = 32;
/// A thread looks after what it keeps this often.
pub const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);

// ---- clients --------------------------------------------------------------------------------------------------------

/// Client connections served at once, over all listeners, each thread its share; further ones wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Connections of one thread and listener that wait to be accepted; the kernel's `net.core.somaxconn` may be less.
pub const BACKLOG: i32 = 4096;
/// Bytes of one head, either side.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Headers of one head, either side, as it comes. Heads that the edge wrote itself and reads again (HTTP/2 is translated)
/// may have more, by what it and its middlewares added: `http1::HEADERS_MAX`.
pub const HEADERS_MAX: usize = 256;
/// Lines that HTTP/1 needs for a head of HTTP/2 besides its headers: Host, the framing, and three for a websocket.
pub const H2_ADDED_HEADERS_MAX: usize = 5;
/// Default of `ClientTimes::head`.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Default of `ClientTimes::stall`.
pub const CLIENT_STALL_MAX: Duration = Duration::from_secs(60);
/// A client whose request was answered before all of it had come is heard, though not listened to, for this long: closing at
/// once would reset the connection, and the answer would be lost on its way (RFC 9112 §9.6).
pub const LINGER_MAX: Duration = Duration::from_secs(2);
/// And for this many bytes.
pub const LINGER_BYTES_MAX: usize = 16 << 20;
/// How long requests in flight and tunnels may take to end after a stop.
pub const DRAIN_GRACE: Duration = Duration::from_secs(10);
/// After `accept` fails (usually: too many open files) a listener rests this long.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A client that is silent is asked for a sign of life after this time,
pub const CLIENT_KEEP_ALIVE_IDLE: Duration = Duration::from_secs(60);
/// and this often then; the kernel gives it up after nine questions (tcp(7)).
pub const CLIENT_KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// A client that acknowledges nothing of what comes through its tunnel for this long, or takes nothing, is gone
/// (TCP_USER_TIMEOUT).
pub const CLIENT_UNACKED_MAX_FOR_TUNNEL: Duration = Duration::from_secs(120);
/// Bytes that a connection moves at once; then others of its thread have their turn.
pub const SHARE_BYTES_MAX: usize = 1 << 20;
/// Listeners the store may ask for.
pub const LISTENERS_MAX: usize = 64;
/// A listener that could not be bound is tried again this often.
pub const LISTENER_RETRY: Duration = Duration::from_secs(5);

// ---- TLS ------------------------------------------------------------------------------------------------------------

/// Sessions of TLS 1.2 that a listener remembers for clients without tickets (vulcand's capacity).
pub const TLS_SESSIONS_MAX: usize = 1024;
/// Servers whose sessions can be resumed, of routes that ask for the same.
pub const TLS_SERVER_SESSIONS_MAX: usize = 1024;
/// For a server's part of the handshake.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

// ---- OCSP -----------------------------------------------------------------------------------------------------------

/// A response has some two thousand bytes, with the certificate of whoever signed it.
pub const OCSP_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// For one responder (vulcand's).
pub const OCSP_TIMEOUT: Duration = Duration::from_secs(10);
/// Responders of one certificate that are asked, one after another.
pub const OCSP_RESPONDERS_MAX: usize = 8;
/// Responders that are asked at once.
pub const OCSP_AT_ONCE_MAX: usize = 8;
/// Between two questions about a certificate, if nobody says otherwise (vulcand's),
pub const OCSP_PERIOD: Duration = Duration::from_secs(3600);
/// whatever is said; also after the first failure,
pub const OCSP_PERIOD_MIN: Duration = Duration::from_secs(1);
/// and after many.
pub const OCSP_RETRY_MAX: Duration = Duration::from_secs(3600);

// ---- TCP ------------------------------------------------------------------------------------------------------------

/// A connection in which nothing moves for this long is closed, either way (Envoy's default for TCP).
pub const TCP_IDLE_MAX: Duration = Duration::from_secs(3600);

// ---- HTTP/2 --------------------------------------------------------------------------------------------------------

/// Requests of a client's connection at once (SETTINGS_MAX_CONCURRENT_STREAMS), nginx's number; of all connections of a
/// thread together no more than it has of `CONNECTIONS_MAX`.
pub const H2_STREAMS_MAX: usize = 128;
/// Requests of a client's connection that are served, those among them that it has reset and that have not ended yet: a client
/// that resets as fast as it asks has no more than this.
pub const H2_STREAMS_SERVED_MAX: usize = 2 * H2_STREAMS_MAX;
/// What a peer may send of one body before it is read,
pub const H2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// and of all bodies of a connection.
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// What of one stream waits to be sent.
pub const H2_STREAM_UNSENT_BYTES_MAX: usize = 64 * 1024;
/// What of all streams of a connection waits to be sent; a peer that opens its windows and reads nothing has this much.
pub const H2_UNSENT_BYTES_MAX: usize = 512 * 1024;
/// Data is sent in pieces of this size, the largest frame that every peer takes (RFC 9113 §4.2).
pub const H2_PIECE_BYTES: usize = 16 * 1024;
/// Buffers that a thread keeps for what is to be sent next,
pub const H2_SPARE_PIECES_MAX: usize = 64;
/// and the largest of them.
pub const H2_SPARE_BYTES_MAX: usize = 2 * H2_WIRE_BYTES;
/// Of a connection: frames are gathered up to this, and sent together.
pub const H2_WIRE_BYTES: usize = 64 * 1024;
/// Connections that a thread makes to one server, of each patience, when the server's limit of streams asks for more than one.
pub const H2_LINKS_MAX: usize = 16;
/// Requests on one of them at once, if the server allows that many.
pub const H2_LINK_STREAMS_MAX: usize = 128;

// ---- servers --------------------------------------------------------------------------------------------------------

/// For a connection to a server when another could be asked instead: machines of one network answer within a millisecond,
/// and a machine that is gone answers nothing.
pub const DIAL_TIMEOUT: Duration = Duration::from_millis(300);
/// When there is no other: patience is all there is (vulcand's `-endpointDialTimeout`; the kernel sends a lost SYN again after
/// 1 s).
pub const LAST_DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// What a server's machine has not acknowledged for this long makes its connection dead (TCP_USER_TIMEOUT, RFC 5482): twice
/// the least retransmission timeout of Linux, so that one lost segment is none.
pub const UNACKED_MAX: Duration = Duration::from_millis(500);
/// The same for connections that carry large bodies or tunnels: there it also bounds how long a server may keep its window
/// closed, which one that is busy with its disk does.
pub const UNACKED_MAX_FOR_BODY: Duration = Duration::from_secs(30);
/// A request of a known length of at most this, with its head, fits into the window every new connection has.
pub const SMALL_REQUEST_BYTES_MAX: u64 = 16 * 1024;
/// A connection to a server that is silent is asked for a sign of life after this time, and again after as much more; a machine
/// that is gone is found out while a response is awaited, or its connection is kept.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// From the last byte of the request to the head of the response (vulcand's effective default).
pub const RESPONSE_HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// A response body must move at least once in this time.
pub const BODY_IDLE_MAX: Duration = Duration::from_secs(300);
/// Idle connections that a thread keeps per server: as many as a busy one needs at once, or it would dial for what comes above
/// them. What the load does not need grows old and is closed.
pub const IDLE_CONNECTIONS_MAX: usize = 1024;
/// Idle connections to all servers, of which each thread has its part: no more than clients can have had requests on at once,
/// however many servers they went to one after the other.
pub const IDLE_CONNECTIONS_ALL_MAX: usize = CONNECTIONS_MAX;
/// An idle connection is not used after this time: servers close theirs, and a request sent into a closing connection is lost.
pub const IDLE_CONNECTION_MAX: Duration = Duration::from_secs(30);
/// A request with a body cannot be replayed, so it takes a pooled connection only if that was in use this recently.
pub const IDLE_CONNECTION_MAX_FOR_BODY: Duration = Duration::from_secs(1);
/// A server that refused a connection, or closed one before answering, is passed over for this long while others exist; so
/// are all servers of a machine that went silent.
pub const FAILED_SERVER_PAUSE: Duration = Duration::from_secs(1);
/// The response to a GET is read whole before its head is sent on when its Content-Length is at most this and another server
/// could be asked, so that one that dies in the middle of it can be replaced. Larger ones go on as they come: to copy them
/// and to wait for their ends costs more than the rare break.
pub const READ_AHEAD_BYTES_MAX: u64 = 32 * 1024;
/// Of all interim responses (1xx) to one request; a server may send any number.
pub const INTERIM_BYTES_MAX: u64 = 256 * 1024;
/// How long a client that said `Expect: 100-continue` is left waiting for the server's word before its body is asked for.
pub const EXPECT_TIMEOUT: Duration = Duration::from_secs(1);

// ---- bodies that are kept, mirrors, checks ---------------------------------------------------------------------------

/// Of all bodies that are kept whole, in memory; what is beyond goes to disk.
pub const BUFFERED_MEMORY_BYTES_MAX: u64 = 256 << 20;
/// Of all bodies that are kept whole, on disk; what is beyond is refused with 503.
pub const BUFFERED_DISK_BYTES_MAX: u64 = 4 << 30;
/// Of one body that is kept whole; a larger one is refused with 413.
pub const BUFFERED_BODY_BYTES_MAX: u64 = 1 << 30;
/// Of all bodies that are kept whole, those that are on disk: each has a file, and on its way there as much memory as is read
/// at once. What is beyond is refused with 503.
pub const BUFFERED_FILES_MAX: u64 = 1024;
/// Of bytes and files on disk one client (an address, or a network of 64 bits) has at most this part,
pub const BUFFERED_CLIENT_PART: u64 = 4;
/// and one route at most this one; what is beyond is refused with 503.
pub const BUFFERED_ROUTE_PART: u64 = 2;
/// Threads that open, write, read and close the files.
pub const BUFFERED_DISK_THREADS: usize = 4;
/// For a piece to be written; then its request is refused with 503.
pub const BUFFERED_WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// What must come of a body that is kept in each `ClientTimes::head`, unless all of it does: about 500 bytes per second (the
/// least rate of Apache's mod_reqtimeout). Who is slower is answered 408: dripping bodies would hold the room.
pub const BUFFERED_WINDOW_BYTES_MIN: u64 = 32 * 1024;
/// For all of a body that is kept; then 408.
pub const BUFFERED_BODY_TIME_MAX: Duration = Duration::from_secs(3600);
/// What is read from the disk and sent at once.
pub const BUFFERED_PIECE_BYTES: usize = 64 * 1024;
/// Copies of one route's requests that are on their way to its mirror; further ones are dropped.
pub const MIRRORED_AT_ONCE_MAX: usize = 64;
/// Copies that a thread has not begun to send; further ones are dropped.
pub const COPIES_QUEUE_MAX: usize = 256;
/// For a mirror to take a copy and to end its answer.
pub const MIRROR_TIMEOUT: Duration = Duration::from_secs(10);
/// Of a mirror's answer; the connection of a longer one is closed.
pub const MIRROR_ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Servers that are checked, each way of checking one counted for itself.
pub const HEALTH_CHECKS_MAX: usize = 16_384;
/// Checks on their way at once; further ones wait.
pub const HEALTH_AT_ONCE_MAX: usize = 256;
/// The first checks of servers that come together are spread over at most this time.
pub const HEALTH_SPREAD_MAX: Duration = Duration::from_millis(200);
/// Of the answer to a check: its head.
pub const HEALTH_ANSWER_BYTES_MAX: usize = 16 * 1024;

// ---- middlewares ----------------------------------------------------------------------------------------------------

/// How often a request begins anew because its route was exchanged for another while its middlewares decided.
pub const ROUTE_CHANGES_MAX: usize = 8;
/// bcrypt hashes computed at once: each takes a core for up to seconds, and this many cores are the data path's, too.
pub const BCRYPT_AT_ONCE_MAX: usize = 2;
/// Requests whose password waits for that; further ones are refused.
pub const BCRYPT_WAITING_MAX: usize = 256;
/// Passwords that were right and need not be hashed again.
pub const RIGHT_PASSWORDS_MAX: usize = 4096;
/// Requests to authorizing services at once; further ones are answered 503.
pub const AUTHORIZATIONS_AT_ONCE_MAX: usize = 1024;
/// Webhooks that are on their way; further ones are dropped.
pub const WEBHOOKS_AT_ONCE_MAX: usize = 64;
/// For a webhook to be answered.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// Records of traces that wait to be sent; further ones are dropped.
pub const TRACES_QUEUE_MAX: usize = 4096;
/// Where traces go at once: sockets that are kept.
pub const SYSLOG_SOCKETS_MAX: usize = 64;
/// The name of a syslog server is looked up again, and a socket that failed is opened again, after this time.
pub const SYSLOG_SOCKET_MAX: Duration = Duration::from_secs(60);
/// Between two warnings of effects that failed.
pub const EFFECT_WARNING_INTERVAL: Duration = Duration::from_secs(10);

// ---- store and controller -------------------------------------------------------------------------------------------

/// Changes from the store that wait to be applied; the watches wait when it is full.
pub const CHANGES_QUEUE_MAX: usize = 64;
/// Pauses between attempts to reach the store or the controller: doubled from the first to the last.
pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Replaced tables that are kept until no request uses them.
pub const RETIRED_MAX: usize = 16;
/// They are looked after this often, while there are any.
pub const RETIRED_INTERVAL: Duration = Duration::from_millis(100);
/// Challenges of certificate authorities at once: the controller has one order at a time.
pub const CHALLENGES_MAX: usize = 256;
/// A source that suddenly holds nothing is read once more after this time before it is believed.
pub const EMPTY_CONFIRM: Duration = Duration::from_secs(1);
/// Everything is read again this often, beside the watches: a watch that fell silent is found out, and the applied revision
/// moves on though no route changes.
pub const RECONCILE_INTERVAL: Duration = Duration::from_secs(30);
/// The table may be behind when the store was away for this long.
pub const STALE_AFTER: Duration = Duration::from_secs(5);

// ---- the kept table -------------------------------------------------------------------------------------------------

/// Between two writings of the last good table.
pub const KEEP_INTERVAL: Duration = Duration::from_millis(500);
/// And at least this many times as long as a writing took: of a large table that changes all the time it takes a twentieth
/// of a core.
pub const KEEP_REST: u32 = 20;
/// Of the kept table: some hundred thousand servers.
pub const KEPT_BYTES_MAX: u64 = 64 << 20;

// ---- what is told of it ---------------------------------------------------------------------------------------------

/// Routes with metrics of their own; the others are summed. A histogram has two dozen lines.
pub const METRICS_ROUTES_MAX: usize = 1000;
/// The same for servers.
pub const METRICS_SERVERS_MAX: usize = 1000;
/// Lines of the access log that a thread has not handed over yet take this much, twice; further ones are dropped.
pub const ACCESS_LOG_QUEUE_BYTES_MAX: usize = 1 << 20;
/// Between two writings.
pub const ACCESS_LOG_INTERVAL: Duration = Duration::from_millis(100);
/// For its last lines.
pub const ACCESS_LOG_FINISH: Duration = Duration::from_secs(2);
/// Spans that a thread has not handed over yet, twice; those of further requests are dropped.
pub const SPANS_QUEUE_MAX: usize = 2048;
/// Between two requests to the collector (OpenTelemetry's batch processor waits 5 s).
pub const TRACES_INTERVAL: Duration = Duration::from_secs(1);
/// Spans of one request to the collector (OpenTelemetry's `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`).
pub const SPANS_PER_REQUEST_MAX: usize = 512;
/// For the collector to answer (OpenTelemetry's `OTEL_EXPORTER_OTLP_TIMEOUT`).
pub const SPANS_TIMEOUT: Duration = Duration::from_secs(10);
/// How often spans are sent again,
pub const SPANS_RETRIES_MAX: u32 = 3;
/// after this time, and then twice the time before.
pub const SPANS_RETRY_PAUSE: Duration = Duration::from_millis(500);
/// For the last spans.
pub const TRACES_FINISH: Duration = Duration::from_secs(2);
/// What `top` looks back at.
pub const TOP_WINDOW: Duration = Duration::from_secs(10);
/// Between two samples for it, while somebody asks; also how long the first asker waits.
pub const TOP_INTERVAL: Duration = Duration::from_secs(1);
/// Routes, and servers, that an answer has at most: the busiest.
pub const TOP_ROWS_MAX: usize = 1000;

// ---- readiness ------------------------------------------------------------------------------------------------------

/// How old an answer to `/ready` may be.
pub const READY_CACHE: Duration = Duration::from_millis(50);
/// For the edge's listener to answer the edge itself.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

const _: () = assert!(DIAL_TIMEOUT.as_millis() < LAST_DIAL_TIMEOUT.as_millis());
const _: () = assert!(UNACKED_MAX.as_millis() < UNACKED_MAX_FOR_BODY.as_millis());
const _: () = assert!(IDLE_CONNECTION_MAX_FOR_BODY.as_millis() < IDLE_CONNECTION_MAX.as_millis());
const _: () = assert!(
    BUFFERED_BODY_BYTES_MAX <= BUFFERED_DISK_BYTES_MAX / BUFFERED_CLIENT_PART,
    "the largest body is a client's share"
);
const _: () = assert!(HEAD_BYTES_MAX < SCRATCH_BYTES, "there is always room behind the part of a head");
const _: () = assert!(2 * HEADERS_MAX <= http1::HEADERS_MAX, "as many may be added as came");
const _: () = assert!(H2_ADDED_HEADERS_MAX < HEADERS_MAX);
