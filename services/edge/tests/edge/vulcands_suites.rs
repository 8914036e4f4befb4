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
//! | **oxy** forward: DefaultErrHandler | `errors_have_vulcands_statuses` |
//! | XForwardedHostHeader, ForwardedProto, ipv6fix | `without_pass_host_header_the_server_sees_its_own_name`, `a_frontends_options_change_live`, `ipv6_clients_have_buckets_of_their_own` (core/middleware) |
//! | WebSocketEcho, PingPong, TransferTraffic, RequestWithOrigin, QueryParams, EncodedChar, HeadersInResponseWriter | `a_tunnel_changes_nothing_of_what_passes` |
//! | WebSocketTCPClose, UpgradeFailed, PassHost | `however_a_tunnel_is_abandoned_both_sides_end`, `a_refused_upgrade_is_a_response`, `host_and_raw_path_pass_byte_for_byte` |
//! | buffer, stream: simple, chunkedEncodingSuccess, chunkedResponse, emptyChunkedResponse | `chunked_bodies_pass_also_empty_ones` |
//! | chunkedEncodingLimitReached, requestLimitReached | `bodies_over_the_limit_are_refused_with_413`, `a_limit_of_bodies_comes_and_goes_live` |
//! | fileStreamingResponse, notModified, noBody | `a_large_response_streams`, `responses_without_a_body_end_with_their_heads` |
//! | retryOnError, retryExceedAttempts | `a_failover_predicate_passes_by_unhealthy_servers`, `the_predicate_decides_about_response_codes` |
//! | responseLimitReached, customErrorHandler, GRPC | nothing: vulcand sets none of these |
//! | roundrobin (11), stickysessions (9) | core/routing's `a_full_round_is_proportional`, `turns_survive_a_change_of_servers`, `nobody_is_picked_from_nothing`, `a_cookie_keeps_a_client_until_its_server_leaves`; `a_server_that_is_written_again_has_one_turn`, `a_sticky_client_stays_at_its_server_and_is_told_of_another_when_that_left` |
//! | rebalancer (10) | core/routing's `the_limit_is_oxys`, `the_better_server_grows_by_four_each_ten_seconds_and_shrinks_again`, `what_all_suffer_from_changes_nothing`, `what_was_earned_stays_when_servers_change_and_a_newcomer_is_measured_first` |
//! | cbreaker (9) | core/middleware's `the_full_cycle_with_its_webhooks`, `errors_during_recovery_trip_it_again`, `redirects_with_and_without_the_path`, `oxys_table`, `the_share_grows_from_nothing_to_a_half`; `a_breaker_trips_tells_and_recovers` |
//! | ratelimit (35) | core/middleware's `all_buckets_are_charged_and_refilled_at_their_own_rates`, `the_longest_wait_counts_and_nothing_is_charged`, `other_rates_keep_the_tokens_of_the_periods_that_stay`, `fractions_of_a_token_are_kept`, `never_more_than_the_burst_and_the_rate`, `keys_are_limited_apart`, `a_request_may_bring_its_rates` |
//! | connlimit (3) | core/middleware's `one_key_has_so_many_requests_at_once_and_gives_them_back`, `zero_connections_refuse_everything` |
//! | trace (3) | core/middleware's `an_exchange_is_recorded_when_it_is_over`; `every_exchange_is_traced_when_it_is_over` |
//! | memmetrics (24) | core/middleware's `quantiles`, `a_value_is_in_its_bucket_within_one_percent`, `what_is_old_does_not_count`; core/routing's `a_meter_forgets` |
//! | **TLS** HTTPSListenerCRUD, ServerHTTPS, ServerUpdateHTTPS | `a_listener_asks_clients_for_what_its_settings_say_and_takes_new_ones_as_it_stands` |
//! | SNI, HostCRUD, HostWithKeyPair | `a_client_is_shown_the_certificate_of_the_name_it_asks_for` |
//! | HostKeyPairUpdate, HostUpsertKeyPair | `a_certificate_is_exchanged_and_connections_go_on` |
//! | BackendHTTPS | `vulcands_backends_speak_tls_as_their_settings_say` |
//! | OCSPStapling, OCSPResponderDown, HostWithOCSP | `what_the_authority_says_goes_along_with_a_hosts_certificate`, `openssl_is_asked_and_openssl_sees_the_answer` |
//!
//! Those of the API, and of sockets handed over (TakeFiles, TransferFiles), are beside what they try.

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
