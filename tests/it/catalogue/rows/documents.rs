//! The rows of documents, of the administration and of registration.

use super::rows;

rows! {
    "J-01" "The key set is JSON, may be kept for a while, and has the public members alone."
        overruled "application/json, and max-age by the time to the next change":
        "documents::the_jwk_set_holds_public_members_alone",
        "catalogue::documents::j_01_the_key_set_is_json_that_may_be_kept_for_a_while_and_has_these_members",
        "oauth::jwk::tests::only_public_members_are_published_and_numbers_are_minimal",
        "keys::jwks::tests::the_document_is_the_set_of_published_keys_with_public_members_alone";
    "J-02" "No document holds a private member.":
        "documents::the_jwk_set_holds_public_members_alone",
        "catalogue::documents::j_02_no_document_has_a_private_member",
        "oauth::jwk::tests::only_public_members_are_published_and_numbers_are_minimal",
        "keys::jwks::tests::the_document_is_the_set_of_published_keys_with_public_members_alone",
        "keys::signing_key::tests::printing_a_signing_key_shows_no_private_byte";
    "J-03" "A kid is the thumbprint of its key.":
        "documents::the_jwk_set_holds_public_members_alone",
        "catalogue::documents::j_03_a_kid_is_the_thumbprint_of_its_key_and_nobody_elses",
        "keys::ring::tests::a_kid_names_one_key_and_a_key_has_one_kid";
    "J-04" "A certificate that does not fit its key is never served.":
        "key_damage::a_certificate_that_was_altered_refuses_to_start",
        "keys::signing_key::tests::a_key_whose_parts_do_not_agree_is_refused",
        "keys::signing_key::tests::the_certificate_in_x5c_is_of_the_published_key",
        "keys::trust_anchors::tests::a_certificate_that_was_altered_is_disowned_by_the_authority_that_it_names";
    "J-05" "The kid of a presented token is looked up in memory.":
        "introspection::a_kid_is_looked_up_in_memory_and_whatever_it_holds_is_no_address";
    "J-06" "Unknown kids cost neither a fetch nor a statement.":
        "catalogue::tokens::j_06_hundreds_of_unknown_keys_cost_no_look_at_anything_but_memory";
    "J-07" "The key set is served while the database is down.":
        "outage::without_postgresql_cached_clients_and_keys_are_served_and_others_get_503_until_it_returns",
        "keys::jwks::tests::the_set_is_never_empty_while_a_key_may_sign";
    "J-08" "Who has the key set gets 304.":
        "documents::the_jwk_set_is_cached_by_its_tag_and_ignores_everything_else_in_a_request",
        "catalogue::documents::j_08_who_has_the_key_set_is_told_so_and_may_keep_it",
        "http::entity_tag::tests::a_condition_names_the_tags_in_its_list_and_an_asterisk_alone_all";
    "J-09" "Nothing of a request ends up in a document that is kept.":
        "documents::the_jwk_set_is_cached_by_its_tag_and_ignores_everything_else_in_a_request",
        "catalogue::documents::j_09_no_request_puts_anything_of_its_own_into_a_document_that_is_kept";
    "J-10" "Documents are read only: 405.":
        "documents::the_jwk_set_is_cached_by_its_tag_and_ignores_everything_else_in_a_request",
        "catalogue::documents::j_10_a_document_is_read_and_nothing_else";
    "M-01" "The issuer is the configured one, at the place of RFC 8414.":
        "documents::both_metadata_documents_are_one_and_say_what_is_served",
        "documents::an_issuer_with_a_path_is_found_in_every_form_that_clients_try",
        "catalogue::documents::m_01_the_issuer_is_the_configured_one_whatever_the_request_says";
    "M-02" "What is announced is served, and what is switched off is not announced.":
        "documents::both_metadata_documents_are_one_and_say_what_is_served",
        "catalogue::documents::m_02_what_is_announced_is_served_and_what_is_switched_off_is_not_announced";
    "M-03" "No algorithm without a signature, or with a shared secret, is announced.":
        "documents::both_metadata_documents_are_one_and_say_what_is_served",
        "catalogue::documents::m_03_no_signature_algorithm_is_announced_that_needs_none_or_a_shared_secret";
    "M-04" "The metadata says that authorization responses name their issuer."
        pending "needs the authorization endpoint";
    "M-05" "The metadata has one address and the issuer one spelling.":
        "documents::an_issuer_with_a_path_is_found_in_every_form_that_clients_try",
        "catalogue::documents::m_05_the_metadata_has_one_spelling_of_its_path",
        "oauth::issuer::tests::an_issuer_in_another_spelling_is_refused_and_the_normal_form_named";
    "D-01" "The administration without a good token: 401.":
        "api::every_operation_opens_to_the_scope_that_it_names_and_to_nothing_else",
        "http::bearer::tests::a_bearer_token_is_one_word_after_its_scheme";
    "D-02" "A token without the scope: 403 that names it.":
        "api::every_operation_opens_to_the_scope_that_it_names_and_to_nothing_else";
    "D-03" "A token in query, form or cookie is not looked at.":
        "api::a_token_comes_in_the_authorization_header_once_and_nowhere_else";
    "D-04" "Two tokens: 400.":
        "api::a_token_comes_in_the_authorization_header_once_and_nowhere_else",
        "http::bearer::tests::a_bearer_token_is_one_word_after_its_scheme";
    "D-05" "No answer about a client holds its secret or a hash of it.":
        "api_clients::a_client_lives_from_registration_to_deletion",
        "api_clients::no_answer_but_the_first_ever_holds_a_secret";
    "D-06" "An unknown or read-only member: 400 that names it, and nothing is stored.":
        "api::a_document_is_strict_json_and_says_that_it_is";
    "D-07" "Every operation opens to its scope and to nothing else.":
        "api::every_operation_opens_to_the_scope_that_it_names_and_to_nothing_else";
    "D-08" "What the path names counts, and what is not there is 404.":
        "api::a_query_has_the_parameters_of_its_operation_once_each_and_within_their_bounds";
    "D-09" "A cursor that was altered: 400.":
        "api_clients::a_list_is_read_page_by_page_and_its_cursors_are_good_for_nothing_else",
        "server::admin::cursor::tests::a_cursor_is_good_for_its_own_list_alone";
    "D-10" "A query has its parameters once each, within their bounds.":
        "api::a_query_has_the_parameters_of_its_operation_once_each_and_within_their_bounds",
        "interop::schemathesis_finds_no_answer_of_the_api_that_its_document_does_not_tell_of";
    "D-11" "A filter that is nested too deep: 400."
        pending "needs filters in the administration";
    "D-12" "A document that is not strict JSON: 400, and a huge one 413.":
        "api::a_document_is_strict_json_and_says_that_it_is",
        "interop::schemathesis_finds_no_answer_of_the_api_that_its_document_does_not_tell_of";
    "D-13" "Nothing in a parameter becomes SQL.":
        "interop::schemathesis_finds_no_answer_of_the_api_that_its_document_does_not_tell_of";
    "D-14" "An update on what was changed since: 412.":
        "api_clients::of_two_administrators_who_change_one_client_the_second_is_told",
        "http::entity_tag::tests::a_condition_names_the_tags_in_its_list_and_an_asterisk_alone_all";
    "D-15" "Rules apply to what a change results in.":
        "api_clients::rules_hold_for_what_comes_out_and_name_the_member";
    "D-16" "A token ends with its client; the last administrator stays.":
        "api::a_token_that_was_revoked_or_whose_client_is_gone_opens_nothing_a_second_later",
        "api::the_last_administrator_cannot_take_away_its_own_ground",
        "api::of_two_administrators_who_delete_each_other_one_is_left";
    "D-17" "A client that is registered anew inherits nothing.":
        "api::a_token_that_was_revoked_or_whose_client_is_gone_opens_nothing_a_second_later",
        "client_auth::what_the_command_line_changes_is_known_at_the_next_tick",
        "introspection::a_client_registered_anew_under_an_old_name_inherits_nothing",
        "storage::clients::a_client_registered_again_is_another_client";
    "D-18" "The first administrator's secret is made at random and shown once.":
        "api_clients::no_answer_but_the_first_ever_holds_a_secret";
    "D-19" "Where the administration has a listener of its own the public one knows nothing of it.":
        "process::the_api_of_the_administration_may_have_a_listener_of_its_own";
    "D-20" "Metrics and health tell of no secret and no client.":
        "catalogue::documents::d_20_metrics_and_health_tell_of_no_secret_and_no_client_and_not_to_everybody";
    "D-21" "Names are printed with their control characters escaped.":
        "app::output::tests::a_name_cannot_drive_the_terminal";
    "D-22" "A setting that becomes a header cannot hold a line break.":
        "app::config::telemetry::tests::headers_are_pairs_and_their_values_may_be_encoded";
    "D-23" "Every change is in the audit trail.":
        "api_clients::a_client_lives_from_registration_to_deletion",
        "api_others::the_trail_says_with_which_secret_from_where_and_in_which_request_somebody_signed_in",
        "storage::audit_events_are_read_as_they_were_recorded_newest_first";
    "D-24" "A fault of the database is told without its words.":
        "api::a_database_that_does_not_answer_is_503_and_nothing_is_told_of_it";
    "Y-01" "Registering without an initial access token: 401.":
        "registration::without_a_token_nobody_registers_and_nothing_is_said_of_one";
    "Y-02" "A token that is garbage or used up: invalid_token, never 500.":
        "registration::a_malformed_unknown_foreign_used_expired_or_revoked_token_is_invalid",
        "http::bearer::tests::a_bearer_token_is_one_word_after_its_scheme";
    "Y-03" "A good registration: 201, and the secret once.":
        "registration::a_client_registers_itself_and_is_told_everything_that_is_registered";
    "Y-04" "Members that give rights are ignored; a scope that is not allowed is 400.":
        "registration::metadata::members_that_nobody_may_choose_are_ignored_and_not_echoed",
        "registration::metadata::no_client_gets_a_grant_scope_or_audience_beyond_its_token",
        "registration::tokens::no_token_is_made_that_would_register_administrators_or_nothing",
        "oauth::registration::tests::a_policy_allows_parts_of_itself_and_nothing_beyond",
        "oauth::registration::tests::no_policy_gives_a_scope_that_administers_the_server";
    "Y-05" "Grants that the token does not allow: 400.":
        "registration::metadata::no_client_gets_a_grant_scope_or_audience_beyond_its_token",
        "oauth::registration::tests::a_policy_allows_parts_of_itself_and_nothing_beyond";
    "Y-06" "Redirection URIs that are dangerous: 400.":
        "registration::metadata::a_redirect_uri_is_refused_whatever_it_is_for_nobody_is_redirected";
    "Y-07" "Links that are dangerous: 400.":
        "registration::metadata::pages_of_a_client_are_https_and_neither_kept_nor_fetched";
    "Y-08" "Addresses in the metadata are never fetched.":
        "registration::metadata::keys_of_clients_are_refused_unread_and_none_is_fetched";
    "Y-09" "A logo is never fetched.":
        "registration::metadata::pages_of_a_client_are_https_and_neither_kept_nor_fetched";
    "Y-10" "Further addresses are unsupported.":
        "registration::metadata::pages_of_a_client_are_https_and_neither_kept_nor_fetched";
    "Y-11" "jwks and jwks_uri at once: 400.":
        "registration::metadata::keys_of_clients_are_refused_unread_and_none_is_fetched";
    "Y-12" "Keys in the metadata that are malformed or private: 400.":
        "registration::metadata::keys_of_clients_are_refused_unread_and_none_is_fetched";
    "Y-13" "A software statement: 400.":
        "registration::metadata::a_software_statement_is_invalid_or_unapproved";
    "Y-14" "A name is bounded and without tricks.":
        "registration::metadata::a_name_is_kept_as_it_is_within_128_characters",
        "app::output::tests::a_name_cannot_drive_the_terminal";
    "Y-15" "Registrations are bounded for each token.":
        "registration::a_token_registers_so_many_clients_in_an_hour_and_no_more";
    "Y-16" "Another client's registration token: 401.":
        "registration::management::the_token_of_another_client_opens_nothing_and_stays_good_for_its_own";
    "Y-17" "A change of what is not the client's to change: 400.":
        "registration::management::an_update_names_its_client_and_chooses_nothing_that_is_the_servers";
    "Y-18" "A change cannot widen the rights.":
        "registration::management::the_rights_of_the_initial_token_bound_every_result_also_when_it_is_gone",
        "oauth::registration::tests::a_policy_allows_parts_of_itself_and_nothing_beyond";
    "Y-19" "A deleted registration ends its tokens.":
        "registration::management::a_deleted_registration_takes_secrets_tokens_and_its_own_token_with_it";
    "Y-20" "Reading it afterwards: 401.":
        "registration::management::a_deleted_registration_takes_secrets_tokens_and_its_own_token_with_it";
    "Y-21" "Nobody keeps the answer.":
        "registration::a_client_registers_itself_and_is_told_everything_that_is_registered";
}
