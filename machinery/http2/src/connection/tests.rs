use super::*;
use crate::frame::{HEAD_BYTES, Head as Frame, PREFACE, flag};
use crate::request::Head;
use http1::Framing;
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    streams_max: 4,
    stream_window_bytes: 100_000,
    connection_window_bytes: 200_000,
    head_bytes_max: 16_000,
    unsent_bytes_max: 100_000,
    stream_unsent_bytes_max: 40_000,
    websocket_key: || "key".to_owned(),
};

/// GET, http, /, and `a` as text.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'a'];
/// The same with POST.
const POST: &[u8] = &[0x83, 0x86, 0x84, 0x41, 1, b'a'];
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nX-A: b\r\n";
const WHOLE: u8 = flag::END_HEADERS | flag::END_STREAM;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let head = Frame { bytes: payload.len(), kind, flags, stream };
    [&head.written()[..], payload].concat()
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(kind::SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn window_update(stream: u32, more: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

/// A connection whose client is this test.
struct Peer {
    connection: Connection,
    heads: Vec<String>,
    events: Vec<Event>,
}

impl Peer {
    fn new() -> Self {
        let mut peer =
            Self { connection: Connection::new(LIMITS, Instant::now()), heads: Vec::new(), events: Vec::new() };
        peer.say(&[PREFACE, &frame(kind::SETTINGS, 0, 0, &[])].concat());
        let said = peer.hear();
        assert_eq!(
            (said[0].0.kind, said[1].0.kind, said[2].0.kind),
            (kind::SETTINGS, kind::WINDOW_UPDATE, kind::SETTINGS)
        );
        assert_eq!(said[1].1, (200_000_u32 - 65_535).to_be_bytes());
        peer
    }

    fn say(&mut self, mut bytes: &[u8]) {
        let mut head = Head::default();
        while !bytes.is_empty() {
            let (used, event) = self.connection.receive(bytes, &mut head);
            bytes = &bytes[used..];
            if let Some(Event::Request(_)) = event {
                self.heads.push(String::from_utf8_lossy(head.bytes()).into_owned());
            }
            self.events.extend(event);
        }
    }

    /// The frames that were sent since.
    fn hear(&mut self) -> Vec<(Frame, Vec<u8>)> {
        let (mut frames, mut rest) = (Vec::new(), self.connection.unsent());
        while let Some((head, after)) = rest.split_first_chunk::<HEAD_BYTES>() {
            let head = Frame::read(*head);
            frames.push((head, after[..head.bytes].to_vec()));
            rest = &after[head.bytes..];
        }
        assert!(rest.is_empty());
        let count = self.connection.unsent().len();
        self.connection.sent(count);
        frames
    }

    fn begin(&mut self, id: u32, flags: u8, fields: &[u8]) -> Key {
        self.say(&frame(kind::HEADERS, flags, id, fields));
        let Some(Event::Request(request)) = self.events.pop() else { panic!("no request: {:?}", self.hear()) };
        request.key
    }

    fn data(&mut self, key: Key) -> Vec<u8> {
        let Unread::Data(data) = self.connection.unread(key) else { panic!("{:?}", self.connection.unread(key)) };
        data.to_vec()
    }

    fn respond(&mut self, key: Key, more: &str) -> Responded {
        let lines = [OK, more.as_bytes(), b"\r\n"].concat();
        self.connection.respond(key, &lines, Asked::default()).unwrap().unwrap()
    }

    /// Why it was ended, if it was.
    fn reason(&mut self) -> Option<(u8, u32)> {
        let heard = self.hear();
        let (last, payload) = heard.iter().rfind(|(head, _)| matches!(head.kind, kind::GOAWAY | kind::RST_STREAM))?;
        Some((last.kind, u32::from_be_bytes(*payload.last_chunk()?)))
    }
}

fn goaway(reason: Reason) -> Option<(u8, u32)> {
    Some((kind::GOAWAY, reason as u32))
}

fn rst(reason: Reason) -> Option<(u8, u32)> {
    Some((kind::RST_STREAM, reason as u32))
}

#[test]
fn a_request_is_answered() {
    let mut peer = Peer::new();
    let key = peer.begin(1, flag::END_HEADERS, POST);
    assert_eq!(peer.heads, ["POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"]);
    assert_eq!(peer.connection.unread(key), Unread::Nothing);
    let padded = frame(kind::DATA, flag::PADDED, 1, b"\x03hello\0\0\0");
    peer.say(&[padded, frame(kind::DATA, 0, 1, b" you")].concat());
    assert_eq!(peer.data(key), b"hello you");
    peer.connection.read(key, 9);
    peer.say(&frame(kind::HEADERS, WHOLE, 1, &[0, 5, b'x', b'-', b's', b'u', b'm', 1, b'7']));
    assert_eq!(peer.connection.unread(key), Unread::End(b"x-sum: 7\r\n"));
    let responded = peer.respond(key, "Transfer-Encoding: chunked\r\n");
    assert_eq!((responded.framing, responded.is_all), (Framing::Chunked, false));
    peer.connection.send(key, b"yes", false).unwrap();
    peer.connection.send_trailers(key, b"X-End: 1\r\n\r\n").unwrap();
    let kinds: Vec<_> = peer.hear().iter().map(|(head, _)| (head.kind, head.flags)).collect();
    assert_eq!(kinds, [(kind::HEADERS, flag::END_HEADERS), (kind::DATA, 0), (kind::HEADERS, WHOLE)]);
    assert_eq!(peer.connection.streams.open(), 0);
    peer.connection.release(key);
    assert!(peer.hear().is_empty() && peer.connection.streams.is_empty());
}

#[test]
fn the_length_that_was_told_is_that_of_the_body() {
    let with_length = |length: u8| [POST, &[0x0f, 13, 1, length]].concat();
    let mut peer = Peer::new();
    let key = peer.begin(1, flag::END_HEADERS, &with_length(b'3'));
    peer.say(&frame(kind::DATA, 0, 1, b"abc"));
    // The last byte waits for the end.
    assert_eq!(peer.data(key), b"ab");
    peer.say(&frame(kind::DATA, flag::END_STREAM, 1, b""));
    assert_eq!(peer.data(key), b"abc");
    for (id, data, flags) in [(3, &b"abcd"[..], 0), (5, b"ab", flag::END_STREAM)] {
        let key = peer.begin(id, flag::END_HEADERS, &with_length(b'3'));
        peer.say(&frame(kind::DATA, flags, id, data));
        assert_eq!(peer.reason(), rst(Reason::Protocol));
        assert_eq!(peer.connection.unread(key), Unread::Reset(Reason::Protocol));
    }
}

#[test]
fn data_waits_for_windows_and_for_the_socket() {
    let mut peer = Peer::new();
    peer.say(&setting(4, 10));
    let key = peer.begin(1, WHOLE, GET);
    peer.respond(key, "");
    assert_eq!(peer.connection.room(key), 10);
    peer.connection.send(key, &[0; 10], false).unwrap();
    assert_eq!(peer.connection.room(key), 0);
    peer.say(&window_update(1, 5));
    assert_eq!(peer.connection.room(key), 5);
    // A smaller window counts for what was sent before, too.
    peer.say(&setting(4, 4));
    assert_eq!(peer.connection.room(key), 0);
    peer.say(&setting(4, 1 << 20));
    peer.hear();
    assert_eq!(peer.connection.room(key), 40_000);
    peer.connection.send(key, &[0; 40_000], false).unwrap();
    peer.hear();
    // Of 65,535 for the connection.
    assert_eq!(peer.connection.room(key), 25_525);
    peer.say(&window_update(0, 1 << 20));
    let others = [3, 5].map(|id| peer.begin(id, WHOLE, GET));
    for key in [key, others[0], others[1]] {
        peer.respond(key, "");
        let room = peer.connection.room(key);
        peer.connection.send(key, &vec![0; room], false).unwrap();
        assert_eq!(peer.connection.room(key), 0);
    }
    assert!(peer.connection.is_full());
    let sent = peer.hear();
    let bytes: usize = sent.iter().filter(|(head, _)| head.kind == kind::DATA).map(|(_, data)| data.len()).sum();
    assert!((99_000..=100_000).contains(&bytes), "{bytes}");
    assert!(sent.iter().all(|(head, _)| head.bytes <= PAYLOAD_BYTES_MAX));
    assert_eq!(peer.connection.room(key), 40_000);
}

/// Who counts how often it was woken.
#[derive(Default)]
struct Woken(std::sync::Mutex<Vec<u32>>);

struct Sleeper(std::sync::Arc<Woken>, u32);

impl std::task::Wake for Sleeper {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.0.lock().unwrap().push(self.1);
    }
}

/// Three that have more to send than there is room for: whether that is the socket's or the window's, each has its turn.
#[test]
fn no_stream_takes_all_the_room() {
    for is_window in [true, false] {
        let mut peer = Peer::new();
        peer.say(&setting(4, 1 << 30));
        if !is_window {
            peer.say(&window_update(0, 1 << 30));
        }
        let keys = [1, 3, 5].map(|id| peer.begin(id, WHOLE, GET));
        for key in keys {
            peer.respond(key, "");
        }
        let woken = std::sync::Arc::new(Woken::default());
        let mut sent = [0; 3];
        let mut turns = vec![1, 3, 5];
        for _ in 0..60 {
            for id in turns.drain(..) {
                let at = (id / 2) as usize;
                // The engine writes on until there is no room.
                loop {
                    let room = peer.connection.room(keys[at]);
                    if room == 0 {
                        break;
                    }
                    peer.connection.send(keys[at], &vec![0; room], false).unwrap();
                    sent[at] += room;
                }
                let sleeper = std::sync::Arc::new(Sleeper(woken.clone(), id));
                peer.connection.wait_for_room(keys[at], &sleeper.into());
            }
            if is_window {
                peer.hear();
                peer.say(&window_update(0, 30_000));
            } else {
                let some = peer.connection.unsent().len().min(60_000);
                peer.connection.sent(some);
            }
            turns = std::mem::take(&mut *woken.0.lock().unwrap());
        }
        let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
        assert!(*least > 300_000 && most - least <= 100_000, "{sent:?}");
    }
}

/// What others leave unread keeps nobody from sending what there is room for.
#[test]
fn an_upload_goes_on_beside_those_that_nobody_reads() {
    let mut peer = Peer::new();
    let key = peer.begin(1, flag::END_HEADERS, POST);
    let stuck = peer.begin(3, flag::END_HEADERS, POST);
    (0..10).for_each(|_| peer.say(&frame(kind::DATA, 0, 3, &[0; 10_000])));
    assert_eq!(peer.data(stuck).len(), 100_000);
    let (mut window, mut came) = (100_000, 0);
    while came < 1_000_000 {
        assert!(window >= 10_000, "it waits for ever after {came}");
        peer.say(&frame(kind::DATA, 0, 1, &[0; 10_000]));
        window -= 10_000;
        came += 10_000;
        peer.connection.read(key, 10_000);
        let told = peer.hear();
        for (_, more) in told.iter().filter(|(head, _)| head.kind == kind::WINDOW_UPDATE && head.stream == 0) {
            window += u32::from_be_bytes(*more.first_chunk().unwrap()) as usize;
        }
    }
}

/// A client that has us reset its streams is as one that resets them.
#[test]
fn faults_are_not_free() {
    for fault in [window_update(1, 0), frame(kind::DATA, flag::END_STREAM, 1, b"")] {
        let (now, mut peer) = (Instant::now(), Peer::new());
        for number in 0.. {
            assert!(number < 2000, "it goes on for ever");
            let id = number * 2 + 1;
            let head = [POST, &[0x0f, 13, 1, b'3']].concat();
            peer.say(&frame(kind::HEADERS, flag::END_HEADERS, id, &head));
            let mut fault = fault.clone();
            fault[5..9].copy_from_slice(&id.to_be_bytes());
            peer.say(&fault);
            if let Some(Event::Request(request)) = peer.events.pop() {
                peer.connection.release(request.key);
            }
            if peer.connection.is_flooded(|| now) {
                break;
            }
        }
        assert_eq!(peer.reason(), goaway(Reason::EnhanceYourCalm));
    }
}

#[test]
fn windows_open_as_data_is_read_and_who_sends_more_is_stopped() {
    let mut peer = Peer::new();
    let (one, two) = (peer.begin(1, flag::END_HEADERS, POST), peer.begin(3, flag::END_HEADERS, POST));
    let send = |peer: &mut Peer, id: u32, frames: usize| {
        (0..frames).for_each(|_| peer.say(&frame(kind::DATA, 0, id, &[1; 10_000])));
    };
    send(&mut peer, 1, 10);
    assert!(peer.hear().is_empty());
    peer.connection.read(one, 60_000);
    let told: Vec<_> = peer.hear().iter().map(|(head, more)| (head.stream, more.clone())).collect();
    assert_eq!(told, [(1, 60_000_u32.to_be_bytes().to_vec())]);
    send(&mut peer, 1, 6);
    peer.connection.read(one, 50_000);
    let told: Vec<_> = peer.hear().iter().map(|(head, _)| head.stream).collect();
    assert_eq!(told, [1, 0]);
    // One stream more than its window,
    send(&mut peer, 3, 11);
    assert_eq!(peer.reason(), rst(Reason::FlowControl));
    assert!(peer.connection.is_reset(two));
    // and all together more than the connection's.
    let keys = [5, 7].map(|id| peer.begin(id, flag::END_HEADERS, POST));
    send(&mut peer, 5, 10);
    send(&mut peer, 7, 10);
    assert_eq!(peer.reason(), goaway(Reason::FlowControl));
    assert!(peer.connection.is_over() && keys.iter().all(|key| peer.connection.is_reset(*key)));
}

#[test]
fn what_was_under_way_to_a_stream_that_was_reset_is_dropped_and_its_window_given_back() {
    let mut peer = Peer::new();
    for round in 0..50 {
        let id = round * 2 + 1;
        let key = peer.begin(id, flag::END_HEADERS, POST);
        peer.say(&frame(kind::DATA, 0, id, &[0; 10_000]));
        peer.respond(key, "Content-Length: 0\r\n");
        peer.connection.release(key);
        let mut heard: Vec<_> = peer.hear().iter().map(|(head, _)| head.kind).collect();
        heard.retain(|kind| *kind != kind::WINDOW_UPDATE);
        assert_eq!(heard, [kind::HEADERS, kind::RST_STREAM]);
        peer.say(&frame(kind::DATA, 0, id, &[0; 10_000]));
        peer.say(&frame(kind::HEADERS, WHOLE, id, &[0x40, 1, b'x', 1, b'y']));
        assert!(!peer.connection.is_over(), "{round}");
    }
}

#[test]
fn frames_that_may_not_come_are_answered_as_the_rfc_says() {
    use Reason::*;
    let get = |id| frame(kind::HEADERS, WHOLE, id, GET);
    let post = |id| frame(kind::HEADERS, flag::END_HEADERS, id, POST);
    for (name, said, answer) in [
        ("data of nobody", frame(kind::DATA, 0, 0, b"a"), goaway(Protocol)),
        ("data of a stream that is idle", frame(kind::DATA, 0, 1, b"a"), goaway(Protocol)),
        ("data behind the end", [get(1), frame(kind::DATA, 0, 1, b"a")].concat(), rst(StreamClosed)),
        ("more padding than frame", [post(1), frame(kind::DATA, flag::PADDED, 1, &[2, 0])].concat(), goaway(Protocol)),
        ("padding without a length", [post(1), frame(kind::DATA, flag::PADDED, 1, &[])].concat(), goaway(FrameSize)),
        ("an even stream", get(2), goaway(Protocol)),
        ("a lower stream", [get(5), get(3)].concat(), goaway(Protocol)),
        ("a head behind the end", [get(1), get(1)].concat(), rst(StreamClosed)),
        ("trailers that do not end", [post(1), post(1)].concat(), rst(Protocol)),
        ("a fifth stream", [post(1), post(3), post(5), post(7), post(9)].concat(), rst(RefusedStream)),
        (
            "a head that depends on itself",
            frame(kind::HEADERS, WHOLE | flag::PRIORITY, 1, &[&[0, 0, 0, 1, 9], GET].concat()),
            rst(Protocol),
        ),
        ("a head cut short", frame(kind::HEADERS, flag::END_HEADERS | flag::PRIORITY, 1, &[0]), goaway(Protocol)),
        ("no index", frame(kind::HEADERS, WHOLE, 1, &[0x80]), goaway(Compression)),
        ("no method", frame(kind::HEADERS, WHOLE, 1, &GET[1..]), rst(Protocol)),
        (
            "another frame within a head",
            [frame(kind::HEADERS, 0, 1, GET), frame(kind::PING, 0, 0, &[0; 8])].concat(),
            goaway(Protocol),
        ),
        (
            "another stream's within a head",
            [frame(kind::HEADERS, 0, 1, GET), frame(kind::CONTINUATION, 4, 3, GET)].concat(),
            goaway(Protocol),
        ),
        ("the rest of no head", frame(kind::CONTINUATION, 4, 1, GET), goaway(Protocol)),
        ("a reset of a stream that is idle", frame(kind::RST_STREAM, 0, 1, &[0; 4]), goaway(Protocol)),
        ("a short reset", [post(1), frame(kind::RST_STREAM, 0, 1, &[0; 3])].concat(), goaway(FrameSize)),
        ("settings of a stream", frame(kind::SETTINGS, 0, 1, &[]), goaway(Protocol)),
        ("half a setting", frame(kind::SETTINGS, 0, 0, &[0; 3]), goaway(FrameSize)),
        ("settings in an acknowledgement", frame(kind::SETTINGS, flag::ACK, 0, &[0; 6]), goaway(FrameSize)),
        ("a window beyond all", setting(4, 1 << 31), goaway(FlowControl)),
        ("frames too short", setting(5, 100), goaway(Protocol)),
        ("a push", setting(2, 2), goaway(Protocol)),
        ("a promise", frame(kind::PUSH_PROMISE, 4, 1, &[0; 4]), goaway(Protocol)),
        ("a ping of a stream", frame(kind::PING, 0, 1, &[0; 8]), goaway(Protocol)),
        ("a short ping", frame(kind::PING, 0, 0, &[0; 7]), goaway(FrameSize)),
        ("a goodbye of a stream", frame(kind::GOAWAY, 0, 1, &[0; 8]), goaway(Protocol)),
        ("no more", window_update(0, 0), goaway(Protocol)),
        ("no more for a stream", [post(1), window_update(1, 0)].concat(), rst(Protocol)),
        ("more than there can be", window_update(0, u32::MAX >> 1), goaway(FlowControl)),
        ("more for a stream", [post(1), window_update(1, u32::MAX >> 1)].concat(), rst(FlowControl)),
        ("more for a stream that is idle", window_update(1, 1), goaway(Protocol)),
        ("a frame that is too long", frame(kind::PING, 0, 0, &[0; 16_385]), goaway(FrameSize)),
        ("a priority of nobody", frame(kind::PRIORITY, 0, 0, &[0; 5]), goaway(Protocol)),
        ("a short priority", [post(1), frame(kind::PRIORITY, 0, 1, &[0; 4])].concat(), rst(FrameSize)),
    ] {
        let mut peer = Peer::new();
        peer.say(&said);
        assert_eq!(peer.reason(), answer, "{name}");
        assert_eq!(peer.connection.is_over(), answer.is_some_and(|(kind, _)| kind == kind::GOAWAY), "{name}");
    }
}

#[test]
fn a_client_that_does_not_begin_with_settings_speaks_something_else() {
    for said in [[PREFACE, &frame(kind::PING, 0, 0, &[0; 8])].concat(), b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n".to_vec()] {
        let mut connection = Connection::new(LIMITS, Instant::now());
        let (used, event) = connection.receive(&said, &mut Head::default());
        assert!(used == said.len() && event.is_none() && connection.is_over());
    }
}

#[test]
fn frames_that_nobody_knows_are_passed_over() {
    let mut peer = Peer::new();
    peer.say(&frame(99, 0xff, 7, b"whatever"));
    peer.say(&setting(99, 7));
    let key = peer.begin(1, WHOLE, GET);
    assert_eq!(peer.connection.unread(key), Unread::End(b""));
}

#[test]
fn a_head_may_come_in_parts_and_a_large_one_is_answered() {
    let mut peer = Peer::new();
    peer.say(&frame(kind::HEADERS, flag::END_STREAM, 1, &GET[..3]));
    peer.say(&frame(kind::CONTINUATION, 0, 1, &GET[3..5]));
    peer.say(&frame(kind::CONTINUATION, flag::END_HEADERS, 1, &GET[5..]));
    assert_eq!(peer.heads, ["GET / HTTP/1.1\r\nhost: a\r\n\r\n"]);
    let large = [&[0, 1, b'x', 0x7f, 0xb1, 0x6c][..], &[b'y'; 14_000]].concat();
    peer.say(&[frame(kind::HEADERS, flag::END_STREAM, 3, GET), frame(kind::CONTINUATION, 0, 3, &large)].concat());
    peer.say(&frame(kind::CONTINUATION, flag::END_HEADERS, 3, &large));
    let Some(Event::Request(request)) = peer.events.pop() else { panic!("{:?}", peer.reason()) };
    assert!(request.is_too_large);
    // And one without end is not.
    peer.say(&frame(kind::HEADERS, flag::END_STREAM, 5, GET));
    (0..3).for_each(|_| peer.say(&frame(kind::CONTINUATION, 0, 5, &large)));
    assert_eq!(peer.reason(), goaway(Reason::EnhanceYourCalm));
}

#[test]
fn an_answer_may_be_larger_than_a_frame() {
    let mut peer = Peer::new();
    let key = peer.begin(1, WHOLE, GET);
    peer.respond(key, &format!("X-Long: {}\r\nContent-Length: 0\r\n", "y".repeat(40_000)));
    let sent: Vec<_> = peer.hear().iter().map(|(head, _)| (head.kind, head.flags, head.bytes)).collect();
    assert_eq!(sent[..2], [(kind::HEADERS, flag::END_STREAM, 16_384), (kind::CONTINUATION, 0, 16_384)]);
    assert_eq!((sent.len(), sent[2].0, sent[2].1), (3, kind::CONTINUATION, flag::END_HEADERS));
}

#[test]
fn the_end_is_announced_and_what_is_under_way_is_served() {
    let mut peer = Peer::new();
    let one = peer.begin(1, WHOLE, GET);
    peer.connection.announce_end();
    let heard = peer.hear();
    assert_eq!((heard[0].0.kind, heard[1].0.kind), (kind::GOAWAY, kind::PING));
    assert_eq!(heard[0].1[..4], MASK_31.to_be_bytes());
    // It had begun another one before it heard.
    let three = peer.begin(3, WHOLE, GET);
    peer.say(&frame(kind::PING, flag::ACK, 0, &heard[1].1));
    assert_eq!(peer.hear()[0].1[..4], 3_u32.to_be_bytes());
    peer.say(&frame(kind::HEADERS, WHOLE, 5, GET));
    assert!(peer.events.is_empty() && !peer.connection.is_over());
    for key in [one, three] {
        peer.respond(key, "Content-Length: 0\r\n");
        peer.connection.release(key);
    }
    assert!(peer.connection.is_over());
}

#[test]
fn a_client_that_goes_away_is_served_to_the_end() {
    let mut peer = Peer::new();
    let key = peer.begin(1, WHOLE, GET);
    peer.say(&frame(kind::GOAWAY, 0, 0, &[0; 8]));
    assert!(!peer.connection.is_over());
    peer.connection.release(key);
    assert_eq!(peer.reason(), rst(Reason::Cancel), "it was not answered");
    assert!(peer.connection.is_over());
}

#[test]
fn interim_answers_come_before_the_answer() {
    let mut peer = Peer::new();
    let key = peer.begin(1, WHOLE, GET);
    let lines = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    assert!(peer.connection.respond(key, lines, Asked::default()).unwrap().unwrap().is_interim);
    assert!(peer.connection.respond(key, &lines[..20], Asked::default()).unwrap().is_none());
    assert!(peer.respond(key, "Content-Length: 0\r\n").is_all);
    let sent: Vec<_> = peer.hear().iter().map(|(head, _)| head.flags).collect();
    assert_eq!(sent, [flag::END_HEADERS, WHOLE]);
    assert!(peer.connection.respond(key, b"HTTP/1.1 200 OK\r\n\r\n", Asked::default()).is_err());
}

#[test]
fn who_idles_owns_nothing() {
    let mut peer = Peer::new();
    for id in [1, 3, 5] {
        let key = peer.begin(id, WHOLE, GET);
        peer.respond(key, "Content-Length: 0\r\n");
        peer.connection.release(key);
    }
    peer.hear();
    assert!(peer.connection.take_back().is_some() && peer.connection.out.take_back().is_none());
    assert!(matches!(peer.connection.input, Input::Head(..)) && peer.connection.block.is_none());
    assert_eq!(format!("{:?}", peer.connection.streams).matches("Stream {").count(), 0);
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let fields = prop_oneof![Just(GET.to_vec()), Just(POST.to_vec()), prop::collection::vec(any::<u8>(), 0..20)];
    prop_oneof![
        4 => (0..8_u32, prop_oneof![Just(WHOLE), Just(flag::END_HEADERS), any::<u8>()], fields)
            .prop_map(|(id, flags, fields)| frame(kind::HEADERS, flags, id, &fields)),
        4 => (0..8_u32, prop_oneof![Just(0), any::<u8>()], prop::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(id, flags, data)| frame(kind::DATA, flags, id, &data)),
        2 => (0..12_u8, any::<u8>(), 0..8_u32, prop::collection::vec(any::<u8>(), 0..12))
            .prop_map(|(kind, flags, id, payload)| frame(kind, flags, id, &payload)),
        1 => (0..8_u32, 1..100_u32).prop_map(|(id, more)| window_update(id, more)),
        1 => (1..7_u16, 0..70_000_u32).prop_map(|(id, value)| setting(id, value)),
    ]
}

/// What a client sees and what becomes of it, when it says this in pieces of these sizes and its streams answer at once.
fn told(said: &[u8], pieces: &[usize]) -> (Vec<(Frame, Vec<u8>)>, Vec<String>) {
    let mut peer = Peer::new();
    let (mut rest, mut heard, mut served) = (said, Vec::new(), Vec::new());
    for piece in pieces.iter().cycle() {
        let (now, later) = rest.split_at((*piece).min(rest.len()));
        rest = later;
        peer.say(now);
        for event in std::mem::take(&mut peer.events) {
            if let Event::Request(request) = event {
                served.push(request.key);
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    for key in served {
        while let Unread::Data(data) = peer.connection.unread(key) {
            let count = data.len();
            peer.heads.push(format!("{count} of {}", key.id()));
            peer.connection.read(key, count);
        }
        if !peer.connection.is_reset(key) {
            let _answered =
                peer.connection.respond(key, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Asked::default());
            if peer.connection.room(key) >= 3 {
                peer.connection.send(key, b"yes", true).unwrap();
            }
        }
        peer.connection.release(key);
    }
    heard.extend(peer.hear());
    (heard, peer.heads)
}

proptest! {
    /// Whatever a client says, in whatever pieces: the same becomes of it, and no window is ever overdrawn.
    #[test]
    fn any_frames_in_any_pieces(
        frames in prop::collection::vec(any_frame(), 1..20),
        pieces in prop::collection::vec(1..40_usize, 1..10),
    ) {
        let said = frames.concat();
        let whole = told(&said, &[said.len().max(1)]);
        let in_pieces = told(&said, &pieces);
        prop_assert_eq!(whole.1, in_pieces.1);
        prop_assert_eq!(whole.0, in_pieces.0);
    }

    #[test]
    fn any_bytes(said in prop::collection::vec(any::<u8>(), 0..300)) {
        let _whatever = told(&said, &[7]);
    }
}
