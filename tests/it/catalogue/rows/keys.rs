//! The rows of keys, connections, storage and logs.

use super::rows;

rows! {
    "Q-01" "While keys turn no verifier that honours max-age refuses a token.":
        "live::through_three_turns_real_verifiers_with_default_caches_accept_every_token",
        "rotation::for_six_periods_every_token_verifies_until_it_expires_and_every_key_was_published_before_it_signed",
        "rotation::the_wheel_turns_from_one_size_of_rsa_to_another_and_back_and_every_token_verifies_throughout",
        "keys::due::tests::a_next_key_that_was_published_too_late_for_new_settings_is_postponed_unless_it_may_sign_already",
        "keys::simulation::in_ten_thousand_turns_no_verifier_within_the_bounds_refuses_a_token",
        "keys::simulation::signatures::no_verifier_refuses_a_token_in_seven_turns";
    "Q-02" "After a crash at any step of a rotation one key is active and nothing is left over.":
        "key_crashes::a_crash_at_any_step_of_a_key_leaves_one_that_signs_and_nothing_over_on_sqlite",
        "key_crashes::a_crash_at_any_step_of_a_key_leaves_one_that_signs_and_nothing_over_on_postgresql",
        "key_crashes::a_crash_while_a_key_is_withdrawn_leaves_it_to_be_withdrawn_once_and_no_other",
        "master_key_crashes::a_crash_at_any_step_of_a_change_of_the_master_key_loses_no_key_and_leaves_none_over_on_sqlite",
        "master_key_crashes::a_crash_at_any_step_of_a_change_of_the_master_key_loses_no_key_and_leaves_none_over_on_postgresql";
    "Q-03" "Two nodes that turn at once make one key.":
        "rotation::two_nodes_on_one_database_make_one_next_key_and_agree",
        "storage::races::of_many_that_create_the_key_of_one_slot_one_does_and_none_fails";
    "Q-04" "A node without its database signs as long as its key is published.":
        "outage::a_node_that_is_cut_off_turns_with_the_others_and_stops_issuing_before_its_keys_do";
    "Q-05" "A key stays published until the last token that it may have signed has expired.":
        "storage::keys::the_longest_token_life_of_keys_that_can_sign_is_raised_and_never_lowered",
        "keys::due::tests::a_key_that_a_node_with_a_shorter_token_life_published_learns_of_the_longer_one",
        "keys::simulation::in_ten_thousand_turns_no_verifier_within_the_bounds_refuses_a_token";
    "Q-06" "A key in foreign hands leaves all sets at once and never signs again."
        overruled "the commands are keys taint and keys revoke":
        "keys::due::tests::when_nothing_can_sign_a_key_is_made_that_signs_at_once",
        "keys::ring::tests::a_revoked_key_is_neither_used_nor_published_from_that_moment",
        "keys::simulation::signatures::a_compromise_costs_one_command";
    "Q-07" "A backup cannot bring a barred key back.":
        "restore::a_restored_database_is_refused_until_it_is_finalized_and_then_no_token_of_before_is_good",
        "restore::a_running_server_notices_and_gives_out_no_refresh_token_until_it_is_finalized";
    "Q-08" "A clock that is off turns no keys.":
        "clocks::a_node_whose_clock_is_off_from_the_databases_is_not_ready_and_says_so",
        "app::clock::tests::a_clock_that_is_set_goes_on_evenly_until_the_databases_says_the_same",
        "app::clock::tests::where_there_is_no_other_clock_a_step_is_believed_when_it_has_lasted";
    "Q-09" "A certificate that would end before its key is refused.":
        "certificates::a_certificate_that_would_end_before_its_key_is_renewed_by_the_wheel_before_the_key_signs",
        "keys::policy::tests::a_certificate_outlasts_a_turn_that_is_a_period_late";
    "Q-10" "A master key that is wrong, missing or open to others refuses to start.":
        "process::a_wrong_missing_or_readable_master_key_refuses_to_start_and_says_how_to_mend_it",
        "keys::sealing::tests::another_master_key_is_refused_by_name";
    "Q-11" "A sealed key that was altered or swapped refuses to start.":
        "backup::a_damaged_backup_and_one_without_its_master_key_are_refused_with_the_reason",
        "key_damage::a_stored_key_that_was_flipped_truncated_or_emptied_refuses_to_start_and_names_what_is_wrong",
        "key_damage::a_sealed_private_half_or_a_certificate_of_another_key_refuses_to_start",
        "keys::sealing::tests::a_sealed_key_that_was_swapped_truncated_or_altered_does_not_open";
    "Q-12" "A faulty signature never leaves.":
        "keys::private_key::tests::no_key_with_a_flipped_bit_makes_a_signature_that_does_not_verify";
    "Q-13" "Without random numbers: 503, and nothing weak.":
        "randomness::without_random_numbers_a_token_is_503_and_the_keys_are_served",
        "randomness::a_server_that_gets_no_random_numbers_gives_no_token_lives_and_recovers",
        "randomness::a_command_that_gets_no_random_numbers_from_some_moment_on_makes_a_whole_client_or_none";
    "Q-14" "More signatures than can be made: 503, and the key set is served on.":
        "flood::a_flood_of_token_requests_is_bounded_and_keeps_nobody_from_the_key_set",
        "http::line::tests::a_full_line_refuses_and_a_place_given_back_is_taken",
        "http::line::tests::others_are_served_after_a_few_turns_and_not_after_all";
    "S-01" "Only TLS 1.2 and 1.3 with good ciphers.":
        "tls::strangers::versions_before_1_2_and_suites_that_were_broken_are_refused",
        "tls::tokens_are_given_over_tls_1_2_and_1_3_and_every_answer_says_to_come_no_other_way";
    "S-02" "Odd handshakes are handled, and there is no early data.":
        "tls::strangers::a_hello_in_pieces_is_understood_and_one_that_breaks_off_ends",
        "tls::who_comes_again_is_spared_the_signature_and_can_send_nothing_before_the_handshake";
    "S-03" "A certificate is reloaded whole, and a bad one keeps the old.":
        "tls::certificates::a_certificate_is_replaced_under_load_and_no_request_fails",
        "tls::certificates::a_file_that_cannot_be_used_keeps_the_certificate_before_and_is_told_once",
        "tls::clients::after_another_authority_was_named_nobody_gets_in_by_the_one_before";
    "S-04" "A client certificate that is not the registered one: invalid_client."
        pending "needs mutual TLS";
    "S-05" "A self-signed certificate whose key is not registered: invalid_client."
        pending "needs mutual TLS";
    "S-06" "A certificate in a header counts from a trusted proxy alone."
        pending "needs mutual TLS";
    "S-07" "A bound token without its certificate: 401."
        pending "needs mutual TLS";
    "S-08" "Certificates at the edge of the rules are refused.":
        "tls::clients::what_an_authority_may_not_certify_is_no_certificate",
        "tls::clients::who_checks_certificates_is_of_a_version_without_known_holes_in_that";
    "S-09" "A long chain costs little.":
        "tls::clients::a_chain_of_a_hundred_certificates_costs_little_more_than_the_handshake",
        "tls::strangers::a_handshake_of_ten_megabytes_is_refused_at_its_first_record";
    "S-10" "Without a good certificate of PostgreSQL there is no connection.":
        "storage::tls::the_server_is_verified_whatever_the_kind_of_encryption_is_called",
        "storage::url::tests::a_remote_server_is_reached_encrypted_unless_told_otherwise";
    "B-01" "A proof that is not good: invalid_dpop_proof."
        pending "needs DPoP";
    "B-02" "A proof without the nonce: use_dpop_nonce."
        pending "needs DPoP";
    "B-03" "A clock that is a few seconds off is forgiven."
        pending "needs DPoP";
    "B-04" "A proof is used once."
        pending "needs DPoP";
    "B-05" "The address of a proof is compared as an address."
        pending "needs DPoP";
    "B-06" "A bound token as a plain one: 401."
        pending "needs DPoP";
    "N-01" "A flood of failures writes a bounded log.":
        "connections::what_cannot_be_read_is_no_line_of_the_log",
        "logs::a_flood_of_refusals_is_counted_whole_and_logged_in_part",
        "logs::a_log_that_cannot_be_written_stops_no_answer_and_its_lines_are_counted",
        "logs::a_log_that_nobody_reads_stops_no_answer_and_goes_on_when_it_is_read",
        "app::log_lines::tests::who_logs_never_waits_and_what_does_not_fit_is_counted",
        "http::sampled::tests::a_second_has_so_many_lines_and_the_next_tells_of_those_left_out",
        "logs::a_log_that_cannot_be_written_stops_nothing";
    "N-02" "With a full disk: 503 for what is written, and the key set is served.":
        "disk_errors::a_disk_that_fails_now_and_then_is_not_now_and_never_a_lost_or_a_second_token",
        "logs::a_log_that_cannot_be_written_stops_no_answer_and_its_lines_are_counted",
        "app::log_lines::tests::lines_that_cannot_be_written_are_counted_and_the_thread_lives_on",
        "storage::writer::tests::a_full_database_is_unavailable_and_works_again_when_there_is_room";
    "N-03" "What is kept of revoked tokens is bounded by their number and their life.":
        "server::revoked_tokens::tests::more_revocations_than_are_kept_are_left_to_the_database_and_memory_stays_bounded",
        "server::client_auth::budget::tests::nobody_is_within_the_budget_once_it_is_spent_whoever_else_spends",
        "server::client_auth::failures::tests::whoever_has_many_addresses_does_not_fill_the_trail";
    "N-04" "With all connections hung: 503 within seconds, and the key set is served.":
        "storage::fail_over::while_the_database_is_away_everybody_is_told_at_once_and_nobody_has_to_ask_for_it_to_be_back",
        "storage::fail_over::while_writes_get_no_answer_one_waits_and_all_others_are_told_at_once_and_read",
        "storage::outages::a_lock_that_somebody_holds_is_waited_for_no_longer_than_a_statement_may_take";
    "N-05" "No secret is in logs, and none in what the database refuses to take.":
        "process::no_credential_is_ever_in_the_log",
        "storage::url::tests::no_password_is_ever_shown",
        "canaries::no_secret_is_anywhere_but_where_it_belongs",
        "http::admin::problem::tests::what_is_said_of_a_document_repeats_names_and_no_values",
        "app::config::tests::a_line_that_is_no_toml_is_named_and_not_shown",
        "canaries::a_master_key_in_the_environment_stays_there_and_goes_nowhere_else",
        "canaries::tls::the_private_key_of_tls_is_nowhere_but_in_its_file",
        "traces::a_request_is_a_span_with_its_work_below_it";
    "N-06" "Nothing that is logged breaks its line.":
        "logs::nothing_that_a_client_sends_makes_a_line_of_its_own",
        "logs::nor_does_it_in_a_log_for_people";
    "N-07" "No secret can be printed.":
        "oauth::chosen_secret::tests::neither_a_print_nor_the_hint_shows_a_character_of_the_secret",
        "oauth::refresh_token::tests::neither_token_nor_key_can_be_printed",
        "oauth::registration::tests::each_kind_of_token_has_a_prefix_of_its_own_and_none_can_be_printed",
        "oauth::secret::tests::no_secret_can_be_printed",
        "keys::private_key::tests::no_private_byte_can_be_printed",
        "keys::sealing::tests::no_key_can_be_printed",
        "keys::signing_key::tests::printing_a_signing_key_shows_no_private_byte";
    "N-08" "Files are for their owner alone.":
        "storage::races::the_files_of_sqlite_are_their_owners_alone";
    "N-09" "A row of a wrong type is an error.":
        "storage::a_row_that_cannot_be_is_named_and_never_taken_for_an_absent_one",
        "storage::users::a_user_that_cannot_be_is_named_and_never_taken_for_an_absent_one";
    "N-10" "The database holds hashes of what clients present.":
        "refresh::the_database_holds_nothing_that_a_client_presents";
    "N-11" "No huge parameter reaches the database.":
        "catalogue::framing::h_16_a_body_that_says_it_is_too_long_is_413_before_any_of_it_is_read";
    "N-12" "What could panic in the way of a request does not compile.":
        "catalogue::complete::n_12_what_could_panic_is_denied_by_the_lints_that_every_change_has_to_pass";
    "N-13" "A server that ran out of memory comes back, and accepts nothing twice."
        pending "needs a supervisor in the tests";
}
