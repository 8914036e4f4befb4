use super::*;
use crate::sessions_client::SessionsClient;
use crate::sessions_server::{Sessions, SessionsServer};
use crate::{FromAgent, FromEdge, ToAgent, ToEdge};
use identity::{Ca, CertificateFiles, ClientCertificates, Subject};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Response, Streaming};

const DEADLINE: Duration = Duration::from_secs(20);

type Answers<T> = ReceiverStream<Result<T, Status>>;

/// A controller that takes sessions, or refuses them and names another.
#[derive(Clone)]
struct Controller {
    leader: Option<String>,
}

#[tonic::async_trait]
impl Sessions for Controller {
    type AgentStream = Answers<ToAgent>;
    type EdgeStream = Answers<ToEdge>;

    async fn agent(&self, _: Request<Streaming<FromAgent>>) -> Result<Response<Self::AgentStream>, Status> {
        Err(Status::unimplemented("edges only"))
    }

    async fn edge(&self, _: Request<Streaming<FromEdge>>) -> Result<Response<Self::EdgeStream>, Status> {
        if let Some(leader) = &self.leader {
            let mut status = Status::failed_precondition("another controller leads");
            status.metadata_mut().insert(LEADER_METADATA, leader.parse().unwrap());
            return Err(status);
        }
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        // Held for as long as the peer stays.
        tokio::spawn(async move { sender.closed().await });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

impl Controller {
    async fn serve(leader: Option<String>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tonic::transport::Server::builder().add_service(SessionsServer::new(Self { leader }));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }
}

/// An address that answers nothing, not even a refusal: its queue of connections is full.
struct BlackHole {
    address: SocketAddr,
    _listener: socket2::Socket,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    fn new() -> Self {
        use socket2::{Domain, Socket, Type};
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
            queued.push(stream);
        }
        Self { address, _listener: listener, _queued: queued }
    }
}

/// An address where nobody listens.
async fn absent() -> String {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

fn dialer(controllers: Vec<String>, remembered: Option<PathBuf>) -> Dialer {
    let credentials = web::Credentials::Bearer("rs_test".to_owned());
    Dialer::new(Config { controllers, remembered, tls: None, credentials }).unwrap()
}

/// Dials until a session is open; returns whom with and the messages of the session.
async fn open(dialer: &mut Dialer) -> (String, Streaming<ToEdge>) {
    let opening = async {
        loop {
            let channel = dialer.dial().await;
            let request = dialer.request(tokio_stream::pending());
            match SessionsClient::new(channel).edge(request).await {
                Ok(response) => {
                    dialer.opened();
                    return (dialer.dialled.as_ref().unwrap().to_string(), response.into_inner());
                }
                Err(status) => dialer.ended(&status.into()),
            }
        }
    };
    tokio::time::timeout(DEADLINE, opening).await.expect("a session")
}

#[tokio::test]
async fn dead_controllers_are_passed_over() {
    let hole = BlackHole::new();
    let alive = Controller::serve(None).await;
    let mut dialer = dialer(vec![absent().await, hole.address.to_string(), alive.clone()], None);
    let begun = Instant::now();
    assert_eq!(open(&mut dialer).await.0, alive);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn who_does_not_lead_names_who_does() {
    let leader = Controller::serve(None).await;
    let follower = Controller::serve(Some(leader.clone())).await;
    let hole = BlackHole::new();
    // The black hole would come next.
    let mut dialer = dialer(vec![follower, hole.address.to_string()], None);
    let begun = Instant::now();
    assert_eq!(open(&mut dialer).await.0, leader);
    assert!(begun.elapsed() < CONNECT_TIMEOUT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_a_controller_said_outlives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let remembered = directory.path().join("controllers.json");
    let (old, new) = (absent().await, Controller::serve(None).await);
    let mut first = dialer(vec![old.clone()], Some(remembered.clone()));
    first.told(&Controllers { addresses: vec![new.clone()] }).await;
    first.told(&Controllers { addresses: vec![] }).await;
    let mut second = dialer(vec![old], Some(remembered));
    assert_eq!(open(&mut second).await.0, new);
}

/// A node's certificate of a role, on disk as it is after joining.
fn tls(ca: &Ca, directory: &Path, role: Role) -> Tls {
    let request = identity::Request::generate().unwrap();
    let subject = Subject { role, node: "node-1".to_owned(), addresses: vec![[127, 0, 0, 1].into()] };
    let certificate = ca.sign(&request.csr_pem, &subject).unwrap();
    let files = CertificateFiles::of(directory, role);
    files.install(ca.certificate_pem(), &certificate, &request.key_pem).unwrap();
    Tls::open(directory, role).unwrap()
}

#[tokio::test]
async fn between_machines_both_sides_show_certificates_and_only_a_controller_will_do() {
    let (directory, ca) = (tempfile::tempdir().unwrap(), Ca::create("test").unwrap());
    let serve = async |role| {
        let listener = web::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = SessionsServer::new(Controller { leader: None });
        let router = tonic::service::Routes::new(service).prepare().into_axum_router();
        let server = tls(&ca, directory.path(), role).server(ClientCertificates::Required);
        tokio::spawn(web::serve_tls(listener, router, web::Bounds::default(), server, lifecycle::Stop::new()));
        address
    };
    let (impostor, genuine) = (serve(Role::Edge).await, serve(Role::Controller).await);
    let mut dialer = Dialer::new(Config {
        controllers: vec![impostor, format!("https://{genuine}")],
        remembered: None,
        tls: Some(tls(&ca, directory.path(), Role::Agent)),
        credentials: web::Credentials::None,
    })
    .unwrap();
    assert_eq!(open(&mut dialer).await.0, genuine);
}

/// Its process is suspended, say: connections stand, nothing comes.
#[tokio::test]
async fn a_controller_that_goes_silent_is_left_within_a_second() {
    let inner: SocketAddr = Controller::serve(None).await.parse().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let silence = lifecycle::Stop::new();
    let silenced = silence.clone();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = tokio::net::TcpStream::connect(inner).await.unwrap();
        silenced.or(tokio::io::copy_bidirectional(&mut near, &mut far)).await;
        std::future::pending::<()>().await;
    });
    let mut dialer = dialer(vec![address], None);
    let (_, mut messages) = open(&mut dialer).await;
    silence.request();
    let begun = Instant::now();
    let ended = tokio::time::timeout(DEADLINE, messages.message()).await.unwrap();
    assert!(ended.is_err());
    let bound = PING_INTERVAL + PONG_TIMEOUT + Duration::from_millis(500);
    assert!(begun.elapsed() < bound, "{:?}", begun.elapsed());
}
