//! Who leads, as the faces see it. Faces live as long as the process; what they reach is a [`Term`], one stretch of
//! leading, while there is one here, and another controller otherwise.

use crate::acme::{self, Keeper, Vault};
use crate::api;
use crate::cluster::registrar::{Registrar, Shared};
use crate::cluster::{keeper, revocation};
use crate::desk::Desk;
use crate::election::Seen;
use crate::history::{self, History};
use crate::leader::{Clock, Fence, Leader, LeaderError, Settings};
use crate::load;
use crate::service::MakeVulcandApi;
use crate::sessions::{MESSAGES_QUEUED_MAX, Message};
use crate::uuids::Uuids;
use axum::Router;
use identity::SealKey;
use lifecycle::Stop;
use model::NodeId;
use std::sync::Arc;
use store::StoreError;
use tokio::sync::{mpsc, watch};

/// One stretch of leading.
pub(crate) struct Term {
    pub desk: Desk,
    /// The API over this term's desk, without a gate.
    pub face: Router,
    /// Where sessions pass on what their peers say.
    pub messages: mpsc::Sender<Message>,
    /// Sessions and streams end when it is requested.
    pub stop: Stop,
}

/// Somebody else's term, or nobody's.
pub(crate) struct Following {
    pub leader: Option<Seen>,
    /// The machine of the leader that was followed last.
    former: Option<NodeId>,
    /// Requested when the leader changes: what was proxied to it ends.
    pub stop: Stop,
}

#[derive(Clone)]
pub(crate) enum Standing {
    Leads(Arc<Term>),
    Follows(Arc<Following>),
}

/// The standing of this controller: one writes it, the faces read it.
#[derive(Clone)]
pub(crate) struct Lead(Arc<watch::Sender<Standing>>);

/// What a term is made of.
#[derive(Clone)]
pub(crate) struct TermSettings {
    pub leader: Settings,
    pub context: api::Context,
    pub seal_key: Option<SealKey>,
    /// How this machine's operator has certificates asked for.
    pub acme: Option<acme::Settings>,
    /// `None`: one machine.
    pub cluster: Option<Arc<Shared>>,
    pub vulcand: Option<MakeVulcandApi>,
}

/// A term that the faces reach already.
pub(crate) struct OpenTerm {
    leader: Leader,
    registrar: Option<Arc<Registrar>>,
    history: Arc<History>,
    keeper: Keeper,
    lead: Lead,
    stop: Stop,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TermError {
    #[error("draw random bits")]
    Random(#[source] getrandom::Error),
    #[error("load the state")]
    Load(#[source] StoreError),
    #[error(transparent)]
    Lead(#[from] LeaderError),
}

impl Lead {
    pub(crate) fn none() -> Self {
        Self(Arc::new(watch::Sender::new(Standing::follows(None, None))))
    }

    pub(crate) fn standing(&self) -> Standing {
        self.0.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Standing> {
        self.0.subscribe()
    }

    pub(crate) fn term(&self) -> Option<Arc<Term>> {
        match self.standing() {
            Standing::Leads(term) => Some(term),
            Standing::Follows(_) => None,
        }
    }

    /// What hung on the old standing ends.
    pub(crate) fn set(&self, standing: Standing) {
        self.0.send_replace(standing).stop().request();
    }

    /// Whom this controller followed until the lead became vacant.
    fn former(&self) -> Option<NodeId> {
        match self.standing() {
            Standing::Leads(_) => None,
            Standing::Follows(following) => following.former.clone(),
        }
    }

    /// Follows a leader (`None`: nobody leads), unless it is followed already.
    pub(crate) fn follow(&self, leader: Option<&Seen>) {
        if let Standing::Follows(following) = &*self.0.borrow()
            && following.leader.as_ref() == leader
        {
            return;
        }
        let former = leader.map(|leader| NodeId::new(leader.record.node.clone())).or_else(|| self.former());
        self.set(Standing::follows(leader.cloned(), former));
    }
}

impl Standing {
    fn follows(leader: Option<Seen>, former: Option<NodeId>) -> Self {
        Self::Follows(Arc::new(Following { leader, former, stop: Stop::new() }))
    }

    pub(crate) fn stop(&self) -> &Stop {
        match self {
            Self::Leads(term) => &term.stop,
            Self::Follows(following) => &following.stop,
        }
    }
}

/// Reads the state and opens the term to the faces; it does not plan before it [runs](OpenTerm::run). `stop` ends the
/// term's sessions and streams, too.
pub(crate) async fn open(settings: TermSettings, fence: Fence, lead: &Lead, stop: Stop) -> Result<OpenTerm, TermError> {
    let uuids = Uuids::new().map_err(TermError::Random)?;
    let loaded = load::load(settings.leader.store.as_ref()).await.map_err(TermError::Load)?;
    let (desk, inbox) = Desk::open(loaded.world.clone());
    let (messages, messages_receiver) = mpsc::channel(MESSAGES_QUEUED_MAX);
    let registrar = settings.cluster.map(|shared| Arc::new(Registrar::new(shared, fence.clone())));
    let history = Arc::new(History::new(settings.leader.store.clone(), fence.compare(), history::LIMITS));
    let vault = Arc::new(Vault::new(settings.leader.store.clone(), fence.clone(), settings.seal_key));
    let context = api::Context {
        framework_id: fence.framework_id.clone(),
        registrar: registrar.clone(),
        history: Some(history.clone()),
        vulcand: settings.vulcand.map(|make| make(fence.compare())),
        vault: Some(vault.clone()),
        stop: stop.clone(),
        ..settings.context
    };
    let face = api::router(desk.clone(), context);
    let domain = settings.leader.domain.clone();
    let keeper = Keeper { vault, desk: desk.clone(), domain, settings: settings.acme, clock: Clock::System };
    let leader = Leader::new(settings.leader, fence, uuids, loaded, inbox, messages_receiver).succeeding(lead.former());
    lead.set(Standing::Leads(Arc::new(Term { desk, face, messages, stop: stop.clone() })));
    Ok(OpenTerm { leader, registrar, history, keeper, lead: lead.clone(), stop })
}

impl OpenTerm {
    /// Leads until the term's stop. Without error: it was asked to end.
    pub(crate) async fn run(self) -> Result<(), TermError> {
        let Self { leader, registrar, history, keeper, lead, stop } = self;
        tokio::spawn(history::keep(history, stop.clone()));
        tokio::spawn(keeper.keep(stop.clone()));
        if let Some(registrar) = registrar {
            tokio::spawn(keeper::keep(registrar.clone(), stop.clone()));
            tokio::spawn(revocation::keep(registrar, stop.clone()));
        }
        let ended = leader.run(stop.clone()).await;
        stop.request();
        lead.follow(None);
        Ok(ended?)
    }
}
