//! Web pages for people: apps, deployments and nodes, as Marathon's pages showed them in the article.
//!
//! The console has no power of its own. It reads the controller's Marathon API with its own token, which may only read;
//! whoever scales or destroys does so with the token they signed in with, which is passed on. Pages are rendered here and
//! work without JavaScript; a few lines of script fetch the same page again and put its main element in place.
//!
//! Reading order: [`controller`] (what is read and asked) → `status`, `standing` (what it means) → `pages` (how it looks) → `action`
//! (what a form asks for) → `face` (routes).

mod action;
pub mod controller;
mod face;
mod pages;
mod standing;
mod status;

use controller::Controller;
use lifecycle::{Started, Stop};
use std::io;
use std::net::SocketAddr;

#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    /// The controller's Marathon API: `http://HOST:PORT`.
    pub controller: String,
    /// The console's own, for reads.
    pub credentials: web::Credentials,
    /// Whom the pages let in.
    pub verifier: identity::Verifier,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Exposed(#[from] identity::OpenBeyondLoopback),
    #[error("bind the console's listener")]
    Bind { source: io::Error },
}

/// Binds the console's listener and serves the pages until the stop.
pub async fn start(config: Config, stop: Stop) -> Result<Started, Error> {
    config.verifier.may_guard(config.listen)?;
    let listener = web::bind(config.listen).await.map_err(|source| Error::Bind { source })?;
    let address = listener.local_addr().map_err(|source| Error::Bind { source })?;
    let router = face::router(Controller::new(&config.controller, config.credentials), config.verifier);
    let done = async move {
        web::serve(listener, router, web::Bounds::default(), stop).await;
        Ok(())
    };
    Ok(Started::new(done).listening("", address))
}
