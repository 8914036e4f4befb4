//! The scenarios of vulcand's own suites, on the embedded store.
//!
//! | there | here |
//! |---|---|
//! | **systest** FrontendCRUD | `a_frontend_is_made_moved_and_deleted` |
//! | FrontendPathParam | `a_part_of_a_path_is_a_parameter` |
//! | NoBackendServers | `a_backend_without_servers_answers_503` |
//! | UnhealthyServers | `a_failover_predicate_passes_by_unhealthy_servers` |
//! | FrontendUpdateLimits | `a_limit_of_bodies_comes_and_goes_live` |
//! | FrontendUpdateBackend | `a_frontend_changes_its_backend` |
//! | HTTPListenerCRUD | `listeners_are_made_scoped_and_deleted` |
//! | ExpiringServer | `a_server_ends_with_its_lease_unless_it_is_written_again` |
//! | BackendUpdateSettings | `a_backends_timeouts_change_live` |
//! | InvalidConfigDoesNotAbortStartup | `an_edge_starts_from_what_is_there_whatever_is_wrong_with_parts_of_it` |
//! | **mux** StartStop | every test here |
//! | BackendCRUD, BackendUpdate, BackendUpdateOptions, SwitchBackendOptions | `a_backends_timeouts_change_live`, `a_frontend_changes_its_backend` |
//! | ServerCRUD, ServerUpsertURL | `servers_are_added_moved_and_removed` |
//! | ServerUpsertSame | `a_server_that_is_written_again_has_one_turn` |
//! | ServerDefaultListener | every test here: the edge's own |
//! | TwoHosts | `two_hosts_have_their_own_frontends` |
//! | ListenerCRUD, ListenerScope, ListenerScopeUpdate | `listeners_are_made_scoped_and_deleted` |
//! | ServerNoBody | `responses_without_a_body_end_with_their_heads` |
//! | MiddlewareCRUD, MiddlewareUpdate | `a_middleware_comes_changes_and_goes` |
//! | MiddlewareOrder | `middlewares_are_asked_in_the_order_of_their_priorities` |
//! | FrontendOptionsCRUD | `a_frontends_options_change_live` |
//! | FrontendSwitchBackend | `a_frontend_changes_its_backend` |
//! | FrontendUpdateRoute, FrontendRestoreRoute | `a_route_comes_back` |
//! | ServerAddBad | `what_is_bad_changes_nothing_until_it_is_right` |
//! | NotFound | `a_frontend_is_made_moved_and_deleted` |
//! | NoBackendServers | `a_backend_without_servers_answers_503` |
//! | Aliases | `a_frontend_is_reached_by_its_aliases_too` (core/vulcand) |
//! | CustomNotFound | nothing: that is a Go package compiled in |
//! | **engine** EmptyParams, MiddlewareBadType, FrontendBadBackend | `an_edge_starts_from_what_is_there_whatever_is_wrong_with_parts_of_it`, `what_is_bad_changes_nothing_until_it_is_right` |
//! | ListenerCRUD, ListenerSettingsCRUD | `listeners_are_made_scoped_and_deleted` |
//! | BackendCRUD, BackendDeleteUsed, BackendDeleteUnused | `a_backend_that_goes_while_it_is_used_is_reported_and_may_come_back` |
//! | ServerCRUD, ServerExpire | `servers_are_added_moved_and_removed`, `a_server_ends_with_its_lease_unless_it_is_written_again` |
//! | FrontendCRUD, FrontendExpire | `a_frontend_is_made_moved_and_deleted`, `a_frontend_ends_with_its_lease` |
//! | MiddlewareCRUD, MiddlewareExpire | `a_middleware_comes_changes_and_goes`, `a_middleware_ends_with_its_lease` |
//! | MiddlewareBadFrontend | `a_middleware_may_come_before_its_frontend` |
//! | (a fault of engine v3: deletion by prefix) | `names_that_begin_alike_are_different_things` |
//! | (a fault of mux: routes keyed by text) | `a_route_that_two_frontends_have_is_served_until_both_are_gone` |
//! | **supervisor** StartStopEmpty, InitFromExistingConfig, InitOnTheFly | every test here; `an_edge_starts_from_what_is_there_whatever_is_wrong_with_parts_of_it` |
//! | GracefulShutdown | `a_stop_lets_the_request_in_flight_end` |
//! | RestartOnBackendErrors | `a_lost_store_changes_nothing_and_is_read_anew_when_it_is_back`, `a_restart_and_a_compaction_lose_nothing` |
//!
//! Those of hosts, certificates and OCSP (HTTPSListenerCRUD, SNI, …), of the API, and of sockets handed over (TakeFiles,
//! TransferFiles) are beside what they try.

use crate::scenarios::{self, Scene};
use std::sync::Arc;
use store::Embedded;

macro_rules! on_the_embedded_store {
    ($($scenario:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $scenario() {
            let directory = tempfile::tempdir().unwrap();
            let store = Arc::new(Embedded::open(directory.path().to_owned()).await.unwrap());
            scenarios::$scenario(&Scene::on(store).await).await;
        }
    )*};
}

scenarios::each!(on_the_embedded_store);
