//! One call: who is asked, for how long, and who next.

use super::EtcdClient;
use super::doubt::{Answer, NoHope};
use super::endpoints::{Chosen, Endpoints};
use crate::StoreError;
use crate::refusal::error_of;
use futures::future::BoxFuture;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

/// A read is given up at one of several endpoints after this time, at the latest, and goes to the next.
const READ_MAX: Duration = Duration::from_secs(1);
/// A write at one of several endpoints is given up, its fate unknown, after this time, at the latest (see `doubt`). A flush
/// takes much less.
const WRITE_MAX: Duration = Duration::from_millis(1500);
/// With one endpoint there is nobody else to ask. etcd itself gives up after 7 s (5 s and two election timeouts).
const ONLY_ENDPOINT_MAX: Duration = Duration::from_secs(10);
/// A change of the members, of users or of roles.
const ADMINISTRATION_MAX: Duration = Duration::from_secs(10);
/// Members without a leader are asked again for this long ...
const LEADERLESS_MAX: Duration = Duration::from_secs(2);
/// ... with pauses of this length. An election among our members takes 0.5 s to 1 s.
const LEADERLESS_PAUSE: Duration = Duration::from_millis(50);

/// A member that has no leader refuses at once instead of keeping the call until its own timeout, and ends watches.
const REQUIRE_LEADER_METADATA: &str = "hasleader";

/// Refusals by which nothing was done, and which another member or another moment does not give (etcd 3.4,
/// etcdserver/api/v3rpc/rpctypes/error.go).
const UNDONE: [&str; 4] = [
    "etcdserver: no leader",
    "etcdserver: rpc not supported for learner",
    "etcdserver: revision of auth store is old",
    "raft proposal dropped",
];

/// What a call does, and so whether it may be repeated when its fate is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Read,
    Write,
    Administration,
}

/// What is known of a call that brought no answer.
enum Failure {
    /// It never left, or was refused in a way that says so; `is_leaderless` when time mends it.
    Undone {
        error: StoreError,
        is_leaderless: bool,
    },
    Unknown {
        error: StoreError,
        is_silent: bool,
    },
    Refused(StoreError),
    /// The token was refused.
    Unauthenticated(StoreError),
}

impl EtcdClient {
    pub(super) async fn call<Q, A: Answer>(
        &self,
        kind: Kind,
        request: impl Fn() -> Q,
        send: impl Fn(Channel, Request<Q>) -> BoxFuture<'static, Result<Response<A>, Status>>,
    ) -> Result<A, StoreError> {
        self.call_somewhere(kind, request, send).await.map(|(answer, ..)| answer)
    }

    /// The answer, and whose it is.
    pub(super) async fn call_somewhere<Q, A: Answer>(
        &self,
        kind: Kind,
        request: impl Fn() -> Q,
        send: impl Fn(Channel, Request<Q>) -> BoxFuture<'static, Result<Response<A>, Status>>,
    ) -> Result<(A, Arc<Endpoints>, Chosen), StoreError> {
        let began = Instant::now();
        let endpoints = self.endpoints.load_full();
        let mut may_authenticate = true;
        let mut asked = 0;
        let mut was_leaderless = false;
        loop {
            let chosen = endpoints.choose();
            let is_one_of_many = endpoints.len() > 1;
            let failure = match self.attempt(chosen.channel(), kind, is_one_of_many, request(), &send).await {
                Ok(answer) => {
                    chosen.heard();
                    return Ok((answer, endpoints, chosen));
                }
                Err(failure) => failure,
            };
            let error = match failure {
                Failure::Refused(error) => return Err(error),
                Failure::Unauthenticated(error) => {
                    if !may_authenticate || !self.token.forget().await {
                        return Err(error);
                    }
                    may_authenticate = false;
                    continue;
                }
                Failure::Undone { error, is_leaderless } => {
                    endpoints.move_on(&chosen);
                    was_leaderless |= is_leaderless;
                    error
                }
                Failure::Unknown { error, is_silent } => {
                    if is_silent {
                        chosen.renew();
                    }
                    endpoints.move_on(&chosen);
                    if kind != Kind::Read {
                        return Err(error);
                    }
                    error
                }
            };
            asked += 1;
            if asked % endpoints.len() == 0 {
                if !was_leaderless || LEADERLESS_MAX < began.elapsed() {
                    return Err(error);
                }
                tokio::time::sleep(LEADERLESS_PAUSE).await;
            }
        }
    }

    async fn attempt<Q, A: Answer>(
        &self,
        channel: Channel,
        kind: Kind,
        is_one_of_many: bool,
        request: Q,
        send: impl Fn(Channel, Request<Q>) -> BoxFuture<'static, Result<Response<A>, Status>>,
    ) -> Result<A, Failure> {
        let mut request = Request::new(request);
        request.metadata_mut().insert(REQUIRE_LEADER_METADATA, MetadataValue::from_static("true"));
        let sent = async {
            self.token.attach(&channel, &mut request).await?;
            send(channel.clone(), request).await
        };
        let no_hope = async {
            match is_one_of_many && kind != Kind::Administration {
                true => self.term.lost_hope(channel.clone()).await,
                false => std::future::pending().await,
            }
        };
        let patience = kind.patience(is_one_of_many);
        let (error, is_silent) = tokio::select! {
            answer = sent => match answer {
                Ok(response) => {
                    let answer = response.into_inner();
                    self.term.heard(answer.term().unwrap_or(0));
                    return Ok(answer);
                }
                Err(status) => return Err(failure_of(&status)),
            },
            no_hope = no_hope => (no_hope.to_string(), no_hope == NoHope::Silent),
            () = tokio::time::sleep(patience) => (format!("no answer within {patience:?}"), true),
        };
        Err(Failure::Unknown { error: StoreError::Unavailable { message: error }, is_silent })
    }
}

impl Kind {
    fn patience(self, is_one_of_many: bool) -> Duration {
        match self {
            Self::Administration => ADMINISTRATION_MAX,
            _ if !is_one_of_many => ONLY_ENDPOINT_MAX,
            Self::Read => READ_MAX,
            Self::Write => WRITE_MAX,
        }
    }
}

fn failure_of(status: &Status) -> Failure {
    let error = error_of(status);
    if UNDONE.contains(&status.message()) {
        let error = StoreError::Unavailable { message: status.message().to_owned() };
        return Failure::Undone { error, is_leaderless: true };
    }
    if status.code() == Code::Unauthenticated {
        return Failure::Unauthenticated(error);
    }
    match error {
        StoreError::Unavailable { .. } if is_unsent(status) => Failure::Undone { error, is_leaderless: false },
        StoreError::Unavailable { .. } => Failure::Unknown { error, is_silent: false },
        _ => Failure::Refused(error),
    }
}

/// Whether the request never reached a connection: connecting failed or took too long, or the connection had ended.
fn is_unsent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            // A request that hyper still held when its connection ended is "cancelled"; one that was sent never is.
            return error.is_canceled();
        }
        let timed_out =
            error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut);
        if timed_out || error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_want_of_a_leader_leaves_nothing_done() {
        let failure = failure_of(&Status::unavailable("etcdserver: no leader"));
        assert!(matches!(failure, Failure::Undone { is_leaderless: true, .. }));
        let failure = failure_of(&Status::unavailable("etcdserver: request timed out"));
        assert!(matches!(failure, Failure::Unknown { is_silent: false, .. }));
        let failure = failure_of(&Status::permission_denied("etcdserver: permission denied"));
        assert!(matches!(failure, Failure::Refused(StoreError::Refused { .. })));
    }
}
