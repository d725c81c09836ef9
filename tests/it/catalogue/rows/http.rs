//! The rows below the endpoints, and those of every request to the token endpoint.

use super::rows;

rows! {
    "H-01" "A request with a length and a chunked body is 400, and the connection closes.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "transport::ambiguous_framing_is_refused_and_the_connection_closed",
        "catalogue::framing::h_01_a_length_beside_a_chunked_body_is_refused";
    "H-02" "A request with two lengths is 400, even when both are the same.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "transport::ambiguous_framing_is_refused_and_the_connection_closed",
        "catalogue::framing::h_02_a_second_length_is_refused_even_when_it_is_the_same";
    "H-03" "A length that is not plain decimal digits is 400.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "transport::ambiguous_framing_is_refused_and_the_connection_closed",
        "catalogue::framing::h_03_a_length_is_decimal_digits";
    "H-04" "A transfer coding other than chunked, or any in HTTP/1.0, is 400.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "transport::ambiguous_framing_is_refused_and_the_connection_closed",
        "catalogue::framing::h_04_no_other_transfer_coding_than_chunked_is_read_and_none_in_http_1_0";
    "H-05" "A chunk whose size line is malformed is 400.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "transport::ambiguous_framing_is_refused_and_the_connection_closed",
        "transport::a_malformed_chunk_is_refused",
        "catalogue::framing::h_05_a_chunk_begins_with_its_size_in_hexadecimal_and_a_whole_line_end";
    "H-06" "A header line with a space before its colon, no name, a fold or a control character is 400.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "transport::ambiguous_framing_is_refused_and_the_connection_closed",
        "catalogue::framing::h_06_a_header_line_has_a_name_a_colon_and_no_control_character";
    "H-07" "No host, two hosts, a list of hosts, or another one in the target is 400.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "transport::ambiguous_framing_is_refused_and_the_connection_closed",
        "catalogue::http::h_07_a_request_names_one_host_and_the_same_one_wherever_it_does";
    "H-08" "A host that is not among the allowed ones is 421, and no answer names it.":
        "transport::a_foreign_host_is_misdirected_where_hosts_are_listed_and_never_reflected",
        "catalogue::http::h_08_a_foreign_host_is_misdirected_and_never_told_of";
    "H-09" "An upgrade to websocket is 400, and what follows it is neither its body nor answered.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "transport::an_upgrade_is_refused_and_what_follows_it_is_not_answered",
        "catalogue::framing::h_09_what_follows_an_upgrade_is_neither_its_body_nor_answered";
    "H-10" "An upgrade to h2c never switches the protocol.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "transport::the_protocol_is_never_switched_to_http_2",
        "catalogue::framing::h_10_nothing_switches_to_http_2";
    "H-11" "Twenty-four smuggling requests through haproxy, nginx and apache: each client after them gets its own answer.":
        "malformed::behind_haproxy_whoever_comes_after_a_malformed_request_gets_their_own_answer",
        "malformed::behind_nginx_whoever_comes_after_a_malformed_request_gets_their_own_answer",
        "malformed::behind_apache_whoever_comes_after_a_malformed_request_gets_their_own_answer";
    "H-12" "Malformed headers of HTTP/2 end the stream."
        pending "needs HTTP/2, which is the proxy's job";
    "H-13" "The greeting of HTTP/2 is no request: HTTP/1.1 is all that is spoken.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "catalogue::framing::h_13_the_greeting_of_http_2_is_no_request",
        "tls::strangers::http_2_is_neither_chosen_nor_spoken";
    "H-14" "A head of more than 128 KiB or 96 lines is 431.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "transport::oversized_heads_and_second_names_of_paths_are_refused",
        "catalogue::framing::h_14_a_head_of_more_than_128_kib_or_96_lines_is_431";
    "H-15" "An endpoint has one name, and a target that is too long is 414.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "transport::oversized_heads_and_second_names_of_paths_are_refused",
        "catalogue::http::h_15_an_endpoint_has_one_name_and_a_long_one_is_414";
    "H-16" "A body that says it is too long is 413 before any of it is read.":
        "api::a_document_is_strict_json_and_says_that_it_is",
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "transport::a_body_beyond_the_limit_is_refused_before_it_is_read",
        "catalogue::framing::h_16_a_body_that_says_it_is_too_long_is_413_before_any_of_it_is_read";
    "H-17" "A chunked body is 413 as soon as it is too long, and nothing of it piles up.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "transport::a_body_beyond_the_limit_is_refused_before_it_is_read",
        "transport::a_chunked_body_that_has_no_end_is_not_listened_to_for_long",
        "connections::a_chunked_body_that_nobody_reads_and_nobody_sends_holds_no_connection_on_any_listener",
        "catalogue::framing::h_17_a_chunked_body_is_413_as_soon_as_it_is_too_long";
    "H-18" "A compressed body is 415 wherever it is posted.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "transport::a_body_beyond_the_limit_is_refused_before_it_is_read",
        "catalogue::framing::h_18_a_compressed_body_is_415_wherever_it_is_posted";
    "H-19" "A head that dribbles in is cut off after five seconds.":
        "transport::a_head_that_dribbles_in_is_cut_off",
        "limits::a_later_head_that_dribbles_in_is_cut_off_on_every_listener",
        "connections::an_empty_line_after_an_answer_has_the_time_of_a_head_on_every_listener",
        "tls::strangers::handshakes_that_do_not_come_to_an_end_are_cut_off_and_hold_up_nobody";
    "H-20" "A body that dribbles in is cut off after ten seconds.":
        "transport::a_body_that_dribbles_in_is_cut_off";
    "H-21" "A client that hardly reads its answer is cut off after thirty seconds.":
        "http::one_by_one::tests::behind_a_body_of_unknown_length_nothing_is_handed_on_while_nobody_waits_for_it",
        "http::pieces::tests::a_piece_ends_before_the_last_byte_of_a_second_head",
        "http::pieces::tests::it_does_not_matter_how_the_bytes_arrive",
        "limits::who_does_not_read_is_cut_off_on_every_listener",
        "pipelining::requests_are_answered_in_their_order_however_their_bytes_arrive",
        "pipelining::thousands_of_requests_before_the_first_answer_is_read_take_neither_memory_nor_time",
        "tls::strangers::who_does_not_read_is_cut_off_over_tls_too_and_takes_no_time";
    "H-22" "Connections are bounded, and the oldest idle one goes first.":
        "app::open_files::tests::as_many_connections_are_taken_as_are_wanted_or_else_as_fit_and_one_at_least",
        "http::crowd::tests::those_that_were_seen_longest_ago_leave_and_nobody_who_is_answered_or_was_just_seen",
        "connections::who_does_not_read_makes_room_for_others_too",
        "limits::idle_connections_make_room_for_others",
        "limits::more_connections_than_files_are_not_promised";
    "H-23" "Who asks before sending too much is told 413.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "catalogue::framing::h_23_who_asks_before_sending_too_much_is_refused_at_once",
        "limits::a_body_that_is_too_long_is_refused_before_it_is_asked_for";
    "H-24" "Methods that a path does not answer are 405 with Allow, and no header overrides a method.":
        "malformed::of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it",
        "token::the_token_endpoint_takes_post_alone",
        "catalogue::http::h_24_other_methods_are_405_and_nothing_overrides_a_method";
    "H-25" "The endpoints of clients answer neither GET nor HEAD.":
        "token::the_token_endpoint_takes_post_alone",
        "catalogue::http::h_25_a_token_is_not_to_be_had_with_get_or_head";
    "H-26" "What strangers say of proxies in front changes nothing.":
        "transport::headers_of_strangers_change_nothing",
        "catalogue::http::h_26_what_a_stranger_says_of_proxies_changes_nothing",
        "http::peer::tests::only_a_trusted_proxy_is_believed_and_only_up_to_the_first_stranger";
    "H-27" "An unreadable list of addresses from a trusted proxy is 400.":
        "transport::an_unreadable_address_from_a_trusted_proxy_is_refused",
        "http::peer::tests::only_a_trusted_proxy_is_believed_and_only_up_to_the_first_stranger",
        "http::peer::tests::an_unreadable_list_from_a_trusted_proxy_is_refused";
    "H-28" "A plain request to a TLS port, or the other way round, ends the connection.":
        "tls::strangers::plain_http_to_the_port_with_tls_is_closed_and_sent_nowhere";
    "H-29" "A preflight to an endpoint of clients allows no origin.":
        "token::a_preflight_allows_no_origin",
        "catalogue::http::h_29_no_origin_may_call_an_endpoint_of_clients_from_a_browser";
    "H-30" "The authorization page and the administration have no header for other origins.":
        "api::the_document_and_its_page_tell_of_every_operation",
        "catalogue::http::h_30_the_pages_and_the_administration_are_for_no_other_origin";
    "H-31" "An origin that resembles a good one is none.":
        "catalogue::http::h_31_an_origin_that_resembles_a_good_one_is_none";
    "H-32" "What a browser may post across origins changes nothing.":
        "api::a_document_is_strict_json_and_says_that_it_is",
        "registration::the_body_is_one_json_object_of_bounded_length",
        "catalogue::http::h_32_what_a_browser_may_post_across_origins_registers_nothing";
    "T-01" "JSON is not a form: 400.":
        "token::only_urlencoded_forms_in_utf_8_are_read",
        "catalogue::token::t_01_json_is_not_a_form",
        "http::form::tests::a_form_is_urlencoded_utf_8_and_says_so_once";
    "T-02" "Another content type, none or two of them: 400.":
        "token::only_urlencoded_forms_in_utf_8_are_read",
        "catalogue::sources::one",
        "catalogue::token::t_02_no_other_type_no_missing_one_and_no_second_one",
        "http::form::tests::a_form_is_urlencoded_utf_8_and_says_so_once";
    "T-03" "The content type counts in any case, and with charset=utf-8.":
        "token::only_urlencoded_forms_in_utf_8_are_read",
        "catalogue::sources::one",
        "catalogue::token::t_03_a_type_is_read_in_any_case_and_with_its_charset",
        "http::form::tests::a_form_is_urlencoded_utf_8_and_says_so_once";
    "T-04" "Another charset than UTF-8: 400.":
        "token::only_urlencoded_forms_in_utf_8_are_read",
        "catalogue::token::t_04_another_charset_than_utf_8_is_refused",
        "http::form::tests::a_form_is_urlencoded_utf_8_and_says_so_once";
    "T-05" "grant_type twice: 400.":
        "token::malformed_parameters_are_refused",
        "catalogue::token::t_05_a_grant_type_that_is_sent_twice_is_refused",
        "oauth::parameters::tests::a_known_parameter_occurs_once_even_when_one_of_the_two_is_empty";
    "T-06" "Any other known parameter twice, also when one is empty: 400.":
        "token::malformed_parameters_are_refused",
        "catalogue::token::t_06_no_parameter_that_is_known_comes_twice",
        "oauth::parameters::tests::a_known_parameter_occurs_once_even_when_one_of_the_two_is_empty";
    "T-07" "resource and audience may be repeated, up to eight times.":
        "token::audiences_must_be_registered_and_one_of_them_is_a_string",
        "catalogue::scope::t_07_resource_and_audience_are_lists_of_at_most_eight",
        "oauth::parameters::tests::resource_and_audience_repeat_and_unknown_names_are_dropped";
    "T-08" "Unknown parameters are ignored, also when they are repeated.":
        "token::unknown_and_foreign_parameters_change_nothing",
        "catalogue::token::t_08_an_unknown_parameter_is_ignored_however_often_it_comes",
        "oauth::parameters::tests::resource_and_audience_repeat_and_unknown_names_are_dropped";
    "T-09" "No grant_type, or an empty one: invalid_request.":
        "token::malformed_parameters_are_refused",
        "catalogue::token::t_09_a_request_without_a_grant_type_is_malformed",
        "oauth::parameters::tests::a_parameter_without_a_value_is_absent";
    "T-10" "A grant_type that nobody knows, with good credentials: unsupported_grant_type.":
        "token::malformed_parameters_are_refused",
        "catalogue::token::t_10_a_grant_that_nobody_knows_is_unsupported";
    "T-11" "A grant_type that nobody knows, with bad credentials: invalid_client.":
        "token::an_unauthenticated_client_learns_nothing_about_grants",
        "catalogue::token::t_11_who_is_not_authenticated_learns_nothing_of_grants";
    "T-12" "Names and values of parameters differ in case.":
        "token::malformed_parameters_are_refused",
        "catalogue::token::t_12_names_and_values_are_compared_case_by_case",
        "oauth::parameters::tests::names_are_exact_and_only_ampersand_plus_and_percent_are_special";
    "T-13" "A grant_type is compared exactly.":
        "token::malformed_parameters_are_refused",
        "catalogue::token::t_13_a_grant_type_is_exact";
    "T-14" "A grant that the client is not registered for: unauthorized_client.":
        "token::a_grant_that_the_client_is_not_registered_for_is_unauthorized",
        "catalogue::token::t_14_a_grant_that_the_client_is_not_registered_for_is_unauthorized";
    "T-15" "A request in the query string: 400, and its secrets are in no log.":
        "logs::nothing_that_a_client_sends_makes_a_line_of_its_own",
        "token::nothing_is_taken_from_the_url_and_a_credential_in_it_is_refused",
        "catalogue::token::t_15_a_request_in_the_url_is_none";
    "T-16" "A credential in the query string beside a good body: 400.":
        "token::nothing_is_taken_from_the_url_and_a_credential_in_it_is_refused",
        "catalogue::token::t_16_a_credential_in_the_url_spoils_a_good_request";
    "T-17" "A percent sign without two hexadecimal digits: 400.":
        "token::malformed_parameters_are_refused",
        "catalogue::token::t_17_a_percent_sign_stands_before_two_hexadecimal_digits",
        "oauth::parameters::tests::broken_encodings_are_refused";
    "T-18" "A value that is not UTF-8: 400.":
        "token::malformed_parameters_are_refused",
        "catalogue::token::t_18_what_is_not_utf_8_is_refused_in_any_value",
        "oauth::parameters::tests::broken_encodings_are_refused";
    "T-19" "A NUL in scope, username or password: refused, and never a fault of the database.":
        "password::a_name_that_cannot_be_one_is_malformed",
        "token::malformed_parameters_are_refused",
        "catalogue::token::t_19_a_nul_is_refused_by_the_rules_and_never_reaches_the_database";
    "T-20" "Control characters in credentials: invalid_client.":
        "client_auth::control_characters_in_credentials_are_a_failed_authentication",
        "catalogue::token::t_20_a_control_character_in_credentials_is_a_failed_authentication";
    "T-21" "Semicolons, brackets and JSON have no special meaning in a form.":
        "token::malformed_parameters_are_refused",
        "catalogue::token::t_21_semicolons_brackets_and_json_have_no_special_meaning",
        "oauth::parameters::tests::names_are_exact_and_only_ampersand_plus_and_percent_are_special";
    "T-22" "A plus sign and %20 are both a space.":
        "token::a_scope_is_granted_whole_or_refused",
        "catalogue::scope::t_22_a_plus_and_an_encoded_space_are_both_a_space",
        "oauth::parameters::tests::names_are_exact_and_only_ampersand_plus_and_percent_are_special";
    "T-23" "Too many parameters, names or values that are too long: 400.":
        "token::malformed_parameters_are_refused",
        "catalogue::token::t_23_too_many_parameters_and_too_long_ones_are_refused",
        "oauth::parameters::tests::limits_are_kept";
    "T-24" "A scope with a double space, a tab or a character outside of its alphabet: invalid_scope.":
        "token::a_scope_is_granted_whole_or_refused",
        "catalogue::scope::t_24_a_scope_is_words_with_one_space_between",
        "oauth::scope::tests::a_scope_is_words_with_one_space_between_and_nothing_else";
    "T-25" "A scope of too many characters or words: invalid_scope, at once.":
        "token::a_scope_is_granted_whole_or_refused",
        "catalogue::scope::t_25_a_scope_of_too_many_characters_or_words_is_refused",
        "oauth::scope::tests::a_huge_scope_is_refused";
    "T-26" "An empty scope counts as none; the answer says what was granted.":
        "token::a_scope_is_granted_whole_or_refused",
        "catalogue::scope::t_26_an_empty_scope_is_none_and_the_answer_says_what_was_granted",
        "oauth::parameters::tests::a_parameter_without_a_value_is_absent";
    "T-27" "A scope that is unknown or not the client's: invalid_scope, and nothing is granted in part.":
        "token::a_scope_is_granted_whole_or_refused",
        "catalogue::scope::t_27_a_scope_is_granted_whole_or_not_at_all";
    "T-28" "Scopes differ in case.":
        "token::a_scope_is_granted_whole_or_refused",
        "catalogue::scope::t_28_scopes_differ_in_case",
        "oauth::scope::tests::scope_tokens_differ_in_case";
    "T-29" "A resource that is no absolute URI, or has a fragment or a user: invalid_target.":
        "token::audiences_must_be_registered_and_one_of_them_is_a_string",
        "catalogue::scope::t_29_a_resource_is_an_absolute_uri_without_fragment_and_user",
        "oauth::audience::tests::a_resource_is_an_absolute_uri_without_fragment_and_user";
    "T-30" "A resource that is not registered for the client: invalid_target.":
        "token::audiences_must_be_registered_and_one_of_them_is_a_string",
        "catalogue::scope::t_30_a_resource_that_is_not_registered_for_the_client_is_refused";
    "T-31" "No parameter becomes a claim.":
        "token::unknown_and_foreign_parameters_change_nothing",
        "catalogue::scope::t_31_no_parameter_becomes_a_claim";
    "T-32" "The answer has access_token, token_type, expires_in and scope, and for a service no refresh_token.":
        "token::a_client_gets_a_signed_token_with_the_claims_of_rfc_9068",
        "catalogue::scope::t_32_an_answer_has_these_members_and_no_refresh_token";
    "T-33" "The access token has the header and the claims of RFC 9068, and no more.":
        "token::a_client_gets_a_signed_token_with_the_claims_of_rfc_9068",
        "catalogue::scope::t_33_an_access_token_has_the_header_and_the_claims_of_rfc_9068_and_no_others",
        "oauth::claims::tests::the_claims_are_those_of_rfc_9068_and_times_are_whole_seconds";
    "T-34" "The subject of a service is never that of a user.":
        "oauth::client_id::tests::an_identifier_that_could_be_a_users_is_refused",
        "oauth::user::tests::a_users_identifier_is_never_a_clients";
    "T-35" "Without the database: 503 with Retry-After, never a fault of the client.":
        "outage::without_postgresql_cached_clients_and_keys_are_served_and_others_get_503_until_it_returns",
        "refresh::without_the_database_a_refresh_is_503_and_works_when_it_returns";
    "T-36" "A stored key that cannot be opened any more: the good set stays, and the server does not start again.":
        "catalogue::documents::t_36_keys_that_cannot_be_opened_any_more_change_nothing_until_the_server_starts_again";
    "T-37" "After a refusal the connection goes on.":
        "token::a_connection_goes_on_after_a_refusal",
        "catalogue::token::t_37_one_connection_carries_on_through_refusals_one_by_one_or_in_a_row",
        "limits::a_budget_that_ran_out_is_counted_and_told_once_and_ends_by_itself";
    "T-38" "Too many attempts: 429 with Retry-After.":
        "client_auth::failing_to_authenticate_again_and_again_is_slowed_down_and_locks_nobody_out",
        "password::guessing_is_slowed_down_and_never_locks_the_owner_out_for_good",
        "limits::wrong_secrets_from_many_addresses_are_slowed_down_and_the_client_is_served_from_each_of_them",
        "limits::wrong_secrets_of_many_clients_from_one_network_are_slowed_down_and_whoever_shares_it_is_served",
        "quotas::a_client_with_a_quota_is_told_what_is_left_and_waits_when_nothing_is";
    "T-39" "A panic is answered with 500 and is one request's alone.":
        "token::a_panic_is_one_requests_alone";
    "C-01" "Unknown, wrong, disabled, expired: invalid_client, byte for byte the same.":
        "client_auth::every_failure_is_answered_alike",
        "outage::without_postgresql_an_unknown_client_is_not_called_invalid",
        "catalogue::client_auth::c_01_unknown_wrong_disabled_and_expired_are_one_answer";
    "C-02" "An unknown client takes as long as a wrong secret.":
        "catalogue::client_auth::c_02_an_unknown_client_takes_as_long_as_a_wrong_secret";
    "C-03" "A client_id without a secret: invalid_client.":
        "client_auth::every_failure_is_answered_alike",
        "catalogue::client_auth::c_03_a_client_that_only_says_who_it_is_is_nobody";
    "C-04" "No client at all: invalid_client.":
        "client_auth::every_failure_is_answered_alike",
        "catalogue::client_auth::c_04_a_request_without_a_client_is_refused";
    "C-05" "HTTP Basic and client_secret: 400.":
        "client_auth::two_identities_in_one_request_are_malformed",
        "catalogue::client_auth::c_05_a_secret_in_the_body_beside_basic_is_two_methods";
    "C-06" "HTTP Basic and the same client_id: fine.":
        "client_auth::the_same_identity_said_twice_and_an_empty_secret_are_fine",
        "catalogue::client_auth::c_06_the_same_identifier_in_the_body_is_fine";
    "C-07" "HTTP Basic and another client_id: 400.":
        "client_auth::two_identities_in_one_request_are_malformed",
        "catalogue::client_auth::c_07_another_identifier_in_the_body_is_malformed";
    "C-08" "A secret and an assertion: 400.":
        "client_auth::two_identities_in_one_request_are_malformed",
        "catalogue::client_auth::c_08_an_assertion_beside_a_secret_is_two_methods";
    "C-09" "HTTP Basic and an empty client_secret: fine.":
        "client_auth::the_same_identity_said_twice_and_an_empty_secret_are_fine",
        "catalogue::client_auth::c_09_an_empty_secret_in_the_body_is_none";
    "C-10" "A method that the client is not registered for: invalid_client.":
        "client_auth::a_method_that_is_not_registered_is_refused",
        "catalogue::client_auth::c_10_a_method_that_the_client_is_not_registered_for_fails";
    "C-11" "HTTP Basic with form-encoded halves: fine.":
        "client_auth::basic_credentials_are_read_form_encoded_or_raw_and_decoded_once",
        "catalogue::client_auth::c_11_both_halves_of_basic_may_be_form_encoded",
        "server::client_auth::client_secret_basic::tests::both_halves_are_form_decoded_once_and_the_raw_pair_is_the_second_reading";
    "C-12" "Generated identifiers and secrets read the same form-encoded or not.":
        "client_auth::basic_credentials_are_read_form_encoded_or_raw_and_decoded_once",
        "catalogue::client_auth::c_12_what_is_generated_reads_the_same_encoded_or_not";
    "C-13" "Credentials are decoded once.":
        "client_auth::basic_credentials_are_read_form_encoded_or_raw_and_decoded_once",
        "catalogue::client_auth::c_13_credentials_are_decoded_once",
        "server::client_auth::client_secret_basic::tests::both_halves_are_form_decoded_once_and_the_raw_pair_is_the_second_reading";
    "C-14" "The scheme counts in any case, and one space follows it.":
        "client_auth::a_malformed_authorization_header_is_a_failed_authentication",
        "catalogue::client_auth::c_14_the_scheme_is_read_in_any_case_and_one_space_follows_it",
        "server::client_auth::client_secret_basic::tests::the_scheme_is_case_insensitive_and_followed_by_exactly_one_space";
    "C-15" "Base64 that is loosely encoded: invalid_client.":
        "client_auth::a_malformed_authorization_header_is_a_failed_authentication",
        "catalogue::client_auth::c_15_base64_is_read_strictly",
        "server::client_auth::client_secret_basic::tests::loosely_encoded_and_incomplete_credentials_are_refused";
    "C-16" "HTTP Basic without a colon, a user or a password: invalid_client.":
        "client_auth::a_malformed_authorization_header_is_a_failed_authentication",
        "catalogue::client_auth::c_16_without_a_colon_a_name_or_a_password_nobody_is_authenticated",
        "server::client_auth::client_secret_basic::tests::loosely_encoded_and_incomplete_credentials_are_refused";
    "C-17" "Two Authorization headers, or two credentials in one: 400.":
        "client_auth::two_identities_in_one_request_are_malformed",
        "catalogue::client_auth::c_17_two_identities_in_the_header_are_malformed";
    "C-18" "An Authorization header that is empty or huge: invalid_client or 431, never 500.":
        "client_auth::a_malformed_authorization_header_is_a_failed_authentication",
        "catalogue::client_auth::c_18_a_header_without_credentials_and_a_huge_one_fail_like_any_other",
        "server::client_auth::client_secret_basic::tests::loosely_encoded_and_incomplete_credentials_are_refused";
    "C-19" "Other schemes: invalid_client.":
        "client_auth::a_malformed_authorization_header_is_a_failed_authentication",
        "catalogue::client_auth::c_19_other_schemes_authenticate_nobody",
        "server::client_auth::client_secret_basic::tests::loosely_encoded_and_incomplete_credentials_are_refused";
    "C-20" "A client_id is compared byte by byte.":
        "client_auth::every_failure_is_answered_alike",
        "catalogue::client_auth::c_20_an_identifier_is_compared_byte_by_byte";
    "C-21" "Failures are slowed down for each client and each address, and lock out nobody who has the secret.":
        "client_auth::failing_to_authenticate_again_and_again_is_slowed_down_and_locks_nobody_out",
        "server::client_auth::failures::tests::a_client_is_counted_over_all_addresses_and_an_address_over_all_clients_and_a_minute_ends",
        "limits::wrong_secrets_from_many_addresses_are_slowed_down_and_the_client_is_served_from_each_of_them",
        "limits::wrong_secrets_of_many_clients_from_one_network_are_slowed_down_and_whoever_shares_it_is_served",
        "server::client_auth::budget::tests::of_many_threads_no_more_than_the_budget_are_within_it_and_one_is_the_first_beyond";
    "C-22" "The stored hash presented as the secret: invalid_client.":
        "client_auth::every_failure_is_answered_alike",
        "catalogue::client_auth::c_22_what_the_database_holds_of_a_secret_is_no_secret",
        "oauth::secret::tests::a_hash_matches_its_secret_alone";
    "C-23" "Two secrets overlap, and a revoked one is refused.":
        "api_clients::a_secret_is_replaced_without_a_refusal_and_one_in_use_is_not_revoked_by_mistake",
        "client_auth::secrets_overlap_and_a_revoked_one_is_refused",
        "secrets::when_a_secret_was_used_last_is_written_down_once_in_a_while_and_by_itself",
        "secrets::while_a_secret_is_replaced_under_load_no_token_is_refused";
    "C-24" "A huge secret is refused before it is hashed.":
        "client_auth::every_failure_is_answered_alike",
        "catalogue::client_auth::c_24_a_huge_secret_is_refused_before_it_is_hashed";
    "A-01" "A good assertion authenticates."
        pending "needs private_key_jwt";
    "A-02" "An assertion whose audience is not the issuer alone: invalid_client."
        pending "needs private_key_jwt";
    "A-03" "An audience that resembles the issuer: invalid_client."
        pending "needs private_key_jwt";
    "A-04" "An unsigned assertion: invalid_client."
        pending "needs private_key_jwt";
    "A-05" "An assertion signed with the public key as a shared secret: invalid_client."
        pending "needs private_key_jwt";
    "A-06" "An algorithm that the client is not registered for: invalid_client."
        pending "needs private_key_jwt";
    "A-07" "A key, or the address of one, in the header of an assertion is not looked at."
        pending "needs private_key_jwt";
    "A-08" "A critical header that is not understood: invalid_client."
        pending "needs private_key_jwt";
    "A-09" "A kid is a name among the client's keys and nothing else."
        pending "needs private_key_jwt";
    "A-10" "Without a kid a few keys are tried."
        pending "needs private_key_jwt";
    "A-11" "Issuer, subject and client_id are the same client."
        pending "needs private_key_jwt";
    "A-12" "An assertion without an end, or with one that is no date: invalid_client."
        pending "needs private_key_jwt";
    "A-13" "An assertion that lives too long: invalid_client."
        pending "needs private_key_jwt";
    "A-14" "A clock that is a few seconds off is forgiven, and one that is a minute off is not."
        pending "needs private_key_jwt";
    "A-15" "An assertion is used once, on all nodes and after a restart."
        pending "needs private_key_jwt";
    "A-16" "An assertion without a jti, or with a huge one: invalid_client."
        pending "needs private_key_jwt";
    "A-17" "Two clients may use the same jti."
        pending "needs private_key_jwt";
    "A-18" "A replay within the leeway after the end: invalid_client."
        pending "needs private_key_jwt";
    "A-19" "An assertion that is not strictly a JWT: invalid_client."
        pending "needs private_key_jwt";
    "A-20" "An encrypted or compressed assertion is not opened."
        pending "needs private_key_jwt";
    "A-21" "A token of another kind is no assertion."
        pending "needs private_key_jwt";
    "A-22" "An assertion without its type, or the type alone: 400."
        pending "needs private_key_jwt";
    "A-23" "A weak key of a client is refused."
        pending "needs private_key_jwt";
    "A-24" "A jwks_uri that is slow or huge costs little."
        pending "needs private_key_jwt";
    "A-25" "A key that left the client's set is refused soon."
        pending "needs private_key_jwt";
    "A-26" "A secret does not help where an assertion is required."
        pending "needs private_key_jwt";
    "G-01" "Without a secret nobody gets a token for themselves.":
        "catalogue::client_auth::g_01_nobody_gets_a_token_for_themselves_without_a_secret";
    "G-02" "Parameters of other grants are ignored.":
        "token::unknown_and_foreign_parameters_change_nothing",
        "catalogue::client_auth::g_02_what_belongs_to_other_grants_is_ignored";
    "G-03" "A disabled client is refused with its right secret.":
        "client_auth::what_the_command_line_changes_is_known_at_the_next_tick",
        "storage::families::whatever_ends_a_family_ends_it_for_good",
        "catalogue::client_auth::g_03_a_disabled_client_gets_nothing_for_its_right_secret";
    "G-04" "Parallel requests of one client are all granted, each with its own jti.":
        "token::parallel_requests_get_distinct_tokens";
}
