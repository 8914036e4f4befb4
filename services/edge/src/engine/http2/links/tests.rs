//! Who waits for a place is woken when there is one, and nobody else is.

use super::super::super::dial::Patience;
use super::*;
use crate::servers::Servers;
use routing::ServerUrl;
use std::future::{Future, poll_fn};
use std::pin::pin;
use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};
use tokio::time::timeout;

const WANT: Want<'_> = Want { upstream: None, patience: Patience::Short, switches: false };
const DEADLINE: Duration = Duration::from_secs(30);
const MANY: usize = 200;

/// A server with one connection, which has no more places than it is said to.
struct Setting {
    links: Rc<RefCell<Links>>,
    server: Arc<Server>,
    polls: Rc<Cell<usize>>,
    _connection: Box<dyn std::any::Any>,
}

impl Setting {
    async fn new() -> Self {
        let server = Servers::default().get(&ServerUrl::parse("h2c://a:1").unwrap());
        let links = Rc::new(RefCell::new(Links::default()));
        let queue = links.borrow_mut().of(&server).kind(WANT).queue.clone();
        let (link, connection) = Link::to_nobody(WANT, queue).await;
        links.borrow_mut().of(&server).kind(WANT).keep(link);
        Self { links, server, polls: Rc::default(), _connection: Box::new(connection) }
    }

    fn has_places(&self, streams_max: usize) {
        self.links.borrow_mut().of(&self.server).kind(WANT).links[0].has_places(streams_max);
    }

    /// Waits for what there is, and looks at it once.
    fn wait(&self) -> JoinHandle<Found> {
        let (links, server, polls) = (self.links.clone(), self.server.clone(), self.polls.clone());
        spawn_local(async move {
            let mut found = pin!(find(&links, &server, WANT, Instant::now() + DEADLINE));
            let found = poll_fn(|context| {
                polls.set(polls.get() + 1);
                found.as_mut().poll(context)
            });
            found.await.unwrap_or_else(|failure| panic!("{failure}"))
        })
    }

    /// The same, and lets go of it a moment later.
    fn pass_by(&self) -> JoinHandle<()> {
        let found = self.wait();
        spawn_local(async move {
            let found = found.await.unwrap();
            yield_now().await;
            drop(found);
        })
    }

    /// All that can run now has run.
    async fn settle(&self) {
        for _ in 0..3 {
            yield_now().await;
        }
    }
}

async fn in_time<T>(task: JoinHandle<T>) -> T {
    timeout(DEADLINE, task).await.expect("somebody is forgotten").unwrap()
}

#[tokio::test]
async fn a_place_that_is_freed_wakes_one_of_those_who_wait() {
    let test = async {
        let setting = Setting::new().await;
        let waiting: Vec<_> = (0..MANY).map(|_| setting.pass_by()).collect();
        for task in waiting {
            in_time(task).await;
        }
        assert!(setting.polls.get() <= 3 * MANY, "{} polls of {MANY}", setting.polls.get());
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn places_that_come_together_are_all_taken() {
    let test = async {
        let setting = Setting::new().await;
        let waiting: Vec<_> = (0..MANY).map(|_| setting.wait()).collect();
        setting.settle().await;
        setting.has_places(MANY);
        let mut taken = Vec::new();
        for task in waiting {
            taken.push(in_time(task).await);
        }
        assert!(taken.iter().all(|found| matches!(found, Found::Place(_))));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn one_that_was_woken_and_leaves_passes_that_on() {
    let test = async {
        let setting = Setting::new().await;
        let taken = in_time(setting.wait()).await;
        let mut waiting: Vec<_> = (0..MANY).map(|_| setting.wait()).collect();
        setting.settle().await;
        let last = waiting.pop().unwrap();
        // The first one is woken by this, and each by the one before it that leaves.
        drop(taken);
        for task in waiting {
            task.abort();
        }
        assert!(matches!(in_time(last).await, Found::Place(_)));
    };
    LocalSet::new().run_until(test).await;
}

/// Each makes a connection and fails, one after the other.
#[tokio::test]
async fn those_who_wait_for_a_server_that_leaves_the_table_each_have_their_turn() {
    let test = async {
        let setting = Setting::new().await;
        let taken = in_time(setting.wait()).await;
        let waiting: Vec<_> = (0..MANY).map(|_| setting.pass_by()).collect();
        setting.settle().await;
        setting.links.borrow_mut().forget_unlisted();
        for task in waiting {
            in_time(task).await;
        }
        assert!(setting.polls.get() <= 4 * MANY, "{} polls of {MANY}", setting.polls.get());
        drop(taken);
    };
    LocalSet::new().run_until(test).await;
}
