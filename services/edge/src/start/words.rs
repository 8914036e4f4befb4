//! What this process says of itself: to the process after it, to people, and to the controller.

use crate::activity::Activity;
use crate::api::{self, Api};
use crate::engine::House;
use crate::listeners::ListenerProblems;
use crate::ready::{Listener, Readiness};
use crate::session::{CONTROLLERS_FILE, Session, Standing, Voice};
use crate::sources::Contact;
use crate::succession::{Giver, HEAR_TIME, Predecessors, Reports};
use crate::vulcands::{self, Onward, Recent};
use crate::{Config, Error};
use axum::Router;
use lifecycle::Stop;
use protocol::dial::{self, Dialer};
use std::mem;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The way to them.
pub(super) struct Controllers {
    pub dialer: Dialer,
    client: web::Client,
}

impl Controllers {
    pub fn of(config: &mut Config) -> Result<Self, Error> {
        let token = config.token.take();
        let credentials = token.map(|token| web::Credentials::Bearer(token.reveal().to_owned())).unwrap_or_default();
        let tls = config.tls.take();
        let mut client = web::Client::default();
        if let Some(tls) = &tls {
            client = client.with_tls(tls.client(Some(identity::Role::Controller)));
        }
        let dialer = Dialer::new(dial::Config {
            controllers: mem::take(&mut config.controllers),
            remembered: config.data.as_ref().map(|data| data.join(CONTROLLERS_FILE)),
            tls,
            credentials,
        })?;
        Ok(Self { dialer, client })
    }
}

pub(super) struct Words {
    reports: Reports,
    standing: Arc<Standing>,
    voice: Arc<Voice>,
    /// Where the controller is that leads.
    leader: watch::Sender<Option<String>>,
}

impl Words {
    pub fn new(reports: Reports, is_draining: bool) -> Self {
        let standing = Arc::new(Standing::new(is_draining));
        Self { reports, standing, voice: Arc::default(), leader: watch::Sender::new(None) }
    }

    pub fn for_the_next_process(
        &self,
        data: &Path,
        house: &House,
        predecessors: Predecessors,
        retired: watch::Sender<bool>,
        over: &Stop,
        background: &mut JoinSet<()>,
    ) {
        let listener = match Giver::listen(data) {
            Ok(listener) => listener,
            Err(error) => {
                return tracing::warn!(%error, data = %data.display(), "nobody can take over from this process");
            }
        };
        let giver = Giver {
            listener,
            data: data.to_owned(),
            sockets: house.sockets.clone(),
            probe: house.probe.secret().to_owned(),
            standing: self.standing.clone(),
            voice: self.voice.clone(),
            reports: self.reports.clone(),
            predecessors,
            retired,
            over: over.clone(),
        };
        background.spawn(giver.run());
    }

    pub fn readiness(&self, house: &House, contact: Arc<Contact>, listener: Listener) -> Arc<Readiness> {
        let (current, probe) = (house.current.clone(), house.probe.clone());
        Arc::new(Readiness::new(current, self.standing.clone(), contact, probe, listener))
    }

    pub fn for_people(
        &self,
        config: &mut Config,
        house: &House,
        controllers: &Controllers,
        listeners: ListenerProblems,
        readiness: Arc<Readiness>,
    ) -> Router {
        let Controllers { dialer, client } = controllers;
        let activity = Arc::new(Activity::new(house.metrics.clone(), config.edge_id.clone()));
        let recent = Recent { activity: activity.clone(), current: house.current.clone() };
        let onward =
            dialer.knows_a_controller().then(|| Onward { leader: self.leader.subscribe(), client: client.clone() });
        let vulcands = config.vulcand.api.take().map(|make| vulcands::api(make, Arc::new(recent), onward));
        let api = Api {
            current: house.current.clone(),
            reports: self.reports.clone(),
            listeners,
            activity,
            metrics: house.metrics.clone(),
            readiness,
            quiesce: house.quiesce.clone(),
            edge_id: config.edge_id.clone(),
        };
        api::router(api, vulcands, config.verifier.clone())
    }

    /// `address` is where clients reach this edge.
    pub fn for_the_controller(
        self,
        config: Config,
        house: &House,
        controllers: Controllers,
        address: SocketAddr,
    ) -> Session {
        let Self { reports, standing, voice, leader } = self;
        let Config { edge_id, node_id, .. } = config;
        let (dialer, address, challenges) = (controllers.dialer, address.to_string(), house.challenges.clone());
        Session { dialer, edge_id, node_id, address, reports, challenges, standing, voice, leader }
    }
}

/// One that drains is given a moment to speak before this process does for it.
pub(super) async fn after(somebody_remains: bool, session: Session) {
    if somebody_remains {
        tokio::time::sleep(HEAR_TIME).await;
    }
    session.run().await;
}
