//! Today's agent and a controller of the version before: its words are replayed byte by byte on the wire, and what the agent
//! says is read as that version reads it. See `machinery/protocol/tests/previous/README.md`.

use crate::config_for;
use crate::fake_runtime::FakeRuntime;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::Response;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use lifecycle::Stop;
use protox::prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

const RECORDING: &[u8] = include_bytes!("../../../../machinery/protocol/tests/previous/controller-to-agent.frames");
const SESSION_PATH: &str = "/roadstead.sessions.v0.Sessions/Agent";
/// Of a message in its stream: a flag and the length.
const HEAD_BYTES: usize = 5;
const DEADLINE: Duration = Duration::from_secs(20);

/// Takes the next message, with its head, from the front.
fn take_frame(bytes: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(bytes.get(1..HEAD_BYTES)?.try_into().ok()?) as usize;
    (bytes.len() >= HEAD_BYTES + length).then(|| bytes.split_to(HEAD_BYTES + length).freeze())
}

/// The controller's side of a session.
type Answers = mpsc::Sender<Result<Bytes, Infallible>>;

/// A controller that says what the test takes from the recording, and keeps what it hears.
struct Recorded {
    address: SocketAddr,
    script: VecDeque<Bytes>,
    session: Arc<Mutex<Option<Answers>>>,
    heard: Arc<Mutex<Vec<Bytes>>>,
    previous: MessageDescriptor,
}

impl Recorded {
    async fn start() -> Self {
        let (mut recording, mut script) = (BytesMut::from(RECORDING), VecDeque::new());
        while let Some(frame) = take_frame(&mut recording) {
            script.push_back(frame);
        }
        let (session, heard) = (Arc::<Mutex<_>>::default(), Arc::<Mutex<Vec<Bytes>>>::default());
        let (opened, hearing) = (session.clone(), heard.clone());
        let router = Router::new().fallback(move |request: Request| {
            assert_eq!(request.uri().path(), SESSION_PATH);
            let (sender, answers) = mpsc::channel(16);
            *opened.lock().unwrap() = Some(sender);
            tokio::spawn(hear(request.into_body(), hearing.clone()));
            let answer = Response::builder().header(CONTENT_TYPE, "application/grpc");
            std::future::ready(answer.body(Body::from_stream(ReceiverStream::new(answers))).unwrap())
        });
        let listener = web::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(web::serve(listener, router, web::Bounds::default(), Stop::new()));
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../machinery/protocol/tests/previous");
        let files = protox::compile([directory.join("sessions.proto")], [directory]).unwrap();
        let schema = DescriptorPool::from_file_descriptor_set(files).unwrap();
        let previous = schema.get_message_by_name("roadstead.sessions.v0.FromAgent").unwrap();
        Self { address, script, session, heard, previous }
    }

    /// Says the next `count` messages of the recording.
    async fn say(&mut self, count: usize) {
        let session = eventually("a session", || self.session.lock().unwrap().clone()).await;
        for frame in self.script.drain(..count) {
            session.send(Ok(frame)).await.unwrap();
        }
    }

    /// Everything the agent said, as the previous version reads it.
    fn heard(&self) -> Vec<DynamicMessage> {
        let decode = |frame: &Bytes| DynamicMessage::decode(self.previous.clone(), frame.slice(HEAD_BYTES..)).unwrap();
        self.heard.lock().unwrap().iter().map(decode).collect()
    }

    /// The states in the last report, by number.
    fn states(&self) -> Option<Vec<i32>> {
        let heard = self.heard();
        let report = heard.iter().rfind(|message| message.has_field_by_name("reports"))?;
        let report = report.get_field_by_name("reports")?.into_owned();
        let tasks = report.as_message()?.get_field_by_name("tasks")?.into_owned();
        let state = |task: &protox::prost_reflect::Value| {
            task.as_message().and_then(|task| task.get_field_by_name("state")?.as_enum_number())
        };
        tasks.as_list()?.iter().map(state).collect()
    }
}

async fn hear(mut body: Body, heard: Arc<Mutex<Vec<Bytes>>>) {
    let mut bytes = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
        while let Some(frame) = take_frame(&mut bytes) {
            heard.lock().unwrap().push(frame);
        }
    }
}

async fn eventually<T>(name: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "never: {name}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn an_agent_works_for_a_controller_of_the_previous_version() {
    const RUNNING: i32 = 2;
    let (data, mut controller, runtime) = (tempfile::tempdir().unwrap(), Recorded::start().await, FakeRuntime::new());
    let stop = Stop::new();
    let config = config_for(data.path(), format!("http://{}", controller.address));
    let started = agent::start_with(config, runtime.clone(), stop.clone()).await.unwrap();

    // An empty set, then one of two tasks.
    controller.say(2).await;
    eventually("both are told to run", || (controller.states()? == [RUNNING; 2]).then_some(())).await;
    assert_eq!(runtime.ids().len(), 2);
    assert!(controller.heard()[0].has_field_by_name("hello"));
    // Two requests for a log.
    controller.say(2).await;
    let logs =
        |controller: &Recorded| controller.heard().iter().filter(|message| message.has_field_by_name("log")).count();
    eventually("both logs are answered", || (logs(&controller) == 2).then_some(())).await;
    // One of two is to stop; then it is listed no more; then the other is to stop; then nothing is listed.
    controller.say(1).await;
    eventually("one is stopped", || (runtime.stopped.lock().unwrap().len() == 1).then_some(())).await;
    controller.say(1).await;
    eventually("one is forgotten", || (controller.states()? == [RUNNING]).then_some(())).await;
    controller.say(2).await;
    eventually("nothing is left", || (controller.states()?.is_empty() && runtime.ids().is_empty()).then_some(())).await;
    assert_eq!(runtime.started.lock().unwrap().len(), 2, "each was started once");
    // The previous version ends the session of an agent that says nothing it knows for five seconds.
    let heartbeats = |controller: &Recorded| {
        controller.heard().iter().filter(|message| message.has_field_by_name("heartbeat")).count()
    };
    let before = heartbeats(&controller);
    eventually("a heartbeat", || (heartbeats(&controller) > before).then_some(())).await;
    stop.request();
    tokio::time::timeout(DEADLINE, started.finished()).await.unwrap().unwrap();
}
