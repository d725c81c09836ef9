//! The rows of grants and tokens.

use super::rows;

rows! {
    "P-01" "Where passwords are switched off: unsupported_grant_type."
        overruled "the grant is on, and each client has to be registered for it":
        "commands::every_command_prints_one_json_document_or_a_table",
        "password::the_grant_is_for_registered_clients_and_can_be_switched_off",
        "catalogue::refresh::p_02_a_client_that_is_not_registered_for_passwords_is_unauthorized";
    "P-02" "A client that did not opt in: unauthorized_client.":
        "password::the_grant_is_for_registered_clients_and_can_be_switched_off",
        "catalogue::refresh::p_02_a_client_that_is_not_registered_for_passwords_is_unauthorized";
    "P-03" "Wrong password, unknown or disabled user: invalid_grant, the same body.":
        "password::unknown_disabled_wrong_empty_and_oversized_are_one_answer",
        "catalogue::refresh::p_03_a_wrong_password_an_unknown_and_a_disabled_user_are_one_answer";
    "P-04" "All failures take the same time, also with an empty or a huge password.":
        "storage::users::a_sample_of_hashes_is_spread_over_all_users_and_never_large",
        "server::password::decoys::tests::unknown_names_have_the_kinds_of_hashes_that_users_have_in_the_same_proportions",
        "server::password::hasher::tests::nobody_is_told_wrong_before_a_hash_was_made",
        "server::password::hasher::tests::only_the_right_password_of_a_known_user_is_right";
    "P-05" "A user has one canonical name; one that is too long is 400.":
        "password::a_name_that_cannot_be_one_is_malformed",
        "storage::users::a_user_is_found_by_whatever_form_of_the_name_and_has_one_row",
        "catalogue::refresh::p_05_a_name_of_more_than_256_characters_is_no_name",
        "oauth::user::tests::a_person_has_one_name_in_whatever_case_width_or_composition",
        "oauth::user::tests::a_name_that_is_too_long_or_cannot_be_seen_is_refused";
    "P-06" "Of parallel guesses no more than the limit are tried.":
        "password::guessing_is_slowed_down_and_never_locks_the_owner_out_for_good",
        "server::password::throttle::tests::of_parallel_guesses_no_more_than_the_free_ones_are_let_through",
        "server::client_auth::budget::tests::of_many_threads_no_more_than_the_budget_are_within_it_and_one_is_the_first_beyond";
    "P-07" "Guessing is slowed down, and nobody is locked out for good.":
        "password::guessing_is_slowed_down_and_never_locks_the_owner_out_for_good",
        "server::password::throttle::tests::another_address_block_is_not_affected_and_a_wait_ends";
    "P-08" "A disabled user is refused wherever something is redeemed.":
        "storage::families::whatever_ends_a_family_ends_it_for_good";
    "P-09" "Passwords are hashed as many at once as there are processors; who waits too long gets 503.":
        "server::password::hasher::tests::a_flood_is_turned_away_and_everybody_is_answered";
    "P-10" "A long password counts to its end.":
        "password::unknown_disabled_wrong_empty_and_oversized_are_one_answer",
        "server::password::hash::tests::a_password_is_hashed_whole_and_the_hash_says_how";
    "P-11" "Trying one password at many users from one address is slowed down.":
        "server::password::throttle::tests::a_block_that_is_turned_away_pushes_out_nobodys_counters",
        "server::password::throttle::tests::one_guess_for_each_of_many_users_is_slowed_down_by_the_block";
    "R-01" "A good refresh: a new refresh token, and the old one is used up in the same commit.":
        "refresh::a_refresh_gives_a_new_access_token_and_a_new_refresh_token",
        "storage::families::a_token_is_used_once_and_its_successor_takes_its_place",
        "catalogue::refresh::r_01_a_good_refresh_writes_one_successor_and_marks_the_old_one_in_one_commit",
        "quotas::a_refresh_beyond_the_quota_uses_up_nothing";
    "R-02" "A token that comes again later: invalid_grant, and its family ends.":
        "lost_answers::a_replay_outside_the_window_or_after_the_successor_was_used_ends_the_family",
        "remembered::what_a_node_remembers_of_a_token_does_not_decide_what_has_become_of_it",
        "outage::a_request_that_waited_for_a_node_that_stood_still_ends_no_login_and_a_replay_afterwards_does",
        "outage::what_was_exchanged_long_before_a_standstill_is_a_reuse_right_after_it_too",
        "catalogue::refresh::r_02_a_token_that_comes_again_ends_its_family_and_no_other";
    "R-03" "Then the newest token of the family: invalid_grant.":
        "lost_answers::a_replay_outside_the_window_or_after_the_successor_was_used_ends_the_family",
        "remembered::what_a_node_remembers_of_a_token_does_not_decide_what_has_become_of_it",
        "storage::families::a_family_is_revoked_once_and_the_first_reason_stays",
        "catalogue::refresh::r_02_a_token_that_comes_again_ends_its_family_and_no_other";
    "R-04" "Access tokens of a family that ended are inactive.":
        "introspection::whatever_ends_the_family_or_its_owner_ends_its_access_tokens",
        "storage::families::a_revoked_access_token_is_remembered_once_and_its_family_and_user_are_asked_about_in_the_same_statement",
        "catalogue::refresh::r_02_a_token_that_comes_again_ends_its_family_and_no_other";
    "R-05" "The same token many times at once: the same successor for all, and for a strict client one answer."
        overruled "a retry within the window gets the same successor, unless the client wants none":
        "races::a_token_has_one_successor_and_none_after_an_acknowledged_end_on_sqlite",
        "races::a_token_has_one_successor_and_none_after_an_acknowledged_end_on_postgresql",
        "lost_answers::within_the_window_a_retry_gets_the_very_same_successor",
        "lost_answers::a_strict_client_gets_one_answer_and_a_late_replay_ends_the_family",
        "remembered::what_a_node_remembers_of_a_token_does_not_decide_what_has_become_of_it",
        "remembered::many_refreshes_at_once_of_a_node_that_remembers_them_are_each_their_own",
        "storage::rotations::of_64_that_use_one_token_on_two_nodes_one_rotates_it_and_one_successor_is_stored",
        "storage::shared_rotations::rotations_that_wait_together_share_a_statement_and_each_is_told_its_own";
    "R-06" "A client that hangs up: one successor at most, which a retry gets."
        overruled "a retry within the window gets the same successor, unless the client wants none":
        "crashes::a_server_that_is_killed_at_any_step_breaks_no_promise_on_sqlite",
        "crashes::a_server_that_is_killed_at_any_step_breaks_no_promise_on_postgresql",
        "lost_answers::within_the_window_a_retry_gets_the_very_same_successor",
        "lost_answers::an_answer_that_was_lost_in_the_last_seconds_of_a_token_is_told_again",
        "lost_answers::so_it_is_by_the_node_that_gave_the_token_out_when_another_exchanged_it";
    "R-07" "Two rotations within one second, then the first token: invalid_grant.":
        "refresh::two_rotations_in_one_second_do_not_revive_the_first_token",
        "storage::families::a_token_is_used_once_and_its_successor_takes_its_place";
    "R-08" "After a restart a used token stays used.":
        "crashes::a_server_that_is_killed_at_any_step_breaks_no_promise_on_sqlite",
        "crashes::a_server_that_is_killed_at_any_step_breaks_no_promise_on_postgresql",
        "crashes::when_everything_stops_at_any_step_no_promise_is_broken",
        "refresh::a_restart_does_not_revive_a_rotated_token";
    "R-09" "After a crash of the database a used token stays used.":
        "crashes::a_postgresql_that_stops_at_any_step_breaks_no_promise_of_a_server_that_lives_on",
        "crashes::when_everything_stops_at_any_step_no_promise_is_broken",
        "power::what_was_answered_survives_a_power_cut_on_sqlite",
        "storage::rotations::what_was_answered_as_rotated_stays_rotated_when_postgresql_crashes";
    "R-10" "After a fail-over to a synchronous standby a used token stays used.":
        "clocks::a_node_whose_clock_is_behind_does_not_stand_still_for_that",
        "outage::the_time_in_which_nobody_was_answered_is_no_part_of_the_time_to_fetch_a_lost_answer",
        "outage::the_time_in_which_nothing_could_be_written_is_no_part_of_it_either",
        "outage::the_time_in_which_writes_got_no_answer_is_no_part_of_it_either_and_services_get_tokens",
        "outage::the_time_of_those_whose_turn_to_be_written_never_came_is_no_part_of_it_either",
        "outage::the_time_without_a_process_is_no_part_of_it_either",
        "clocks::the_window_is_as_long_whichever_nodes_date_and_judge_an_exchange",
        "quotas::a_lost_answer_is_fetched_whatever_is_left_of_the_quota",
        "quotas::a_lost_answer_of_another_node_is_fetched_whatever_is_left_of_the_quota",
        "refresh::after_a_fail_over_to_a_synchronous_standby_no_exchange_is_forgotten",
        "storage::fail_over::of_several_hosts_the_primary_is_taken_also_after_a_fail_over";
    "R-11" "After a backup was restored nothing of before is accepted.":
        "restore::a_server_notices_what_a_fail_over_lost_also_when_others_have_gone_on_since",
        "restore::a_restored_database_is_refused_until_it_is_finalized_and_then_no_token_of_before_is_good",
        "restore::a_running_server_notices_and_gives_out_no_refresh_token_until_it_is_finalized";
    "R-12" "A refresh that races a revocation gives nothing that outlives it.":
        "crashes::a_server_that_is_killed_at_any_step_breaks_no_promise_on_sqlite",
        "crashes::a_server_that_is_killed_at_any_step_breaks_no_promise_on_postgresql",
        "introspection::a_refresh_that_races_a_revocation_gives_nothing_that_outlives_it",
        "races::a_token_has_one_successor_and_none_after_an_acknowledged_end_on_sqlite",
        "races::a_token_has_one_successor_and_none_after_an_acknowledged_end_on_postgresql",
        "storage::rotations::after_an_acknowledged_end_no_token_is_rotated",
        "storage::rotations::a_rotation_that_waits_for_a_revocation_sees_it",
        "storage::shared_rotations::rotations_that_wait_together_share_a_statement_and_each_is_told_its_own";
    "R-13" "Once a user or a client is disabled no token follows.":
        "races::a_token_has_one_successor_and_none_after_an_acknowledged_end_on_sqlite",
        "races::a_token_has_one_successor_and_none_after_an_acknowledged_end_on_postgresql",
        "refresh::disabling_the_client_or_the_user_and_a_new_password_end_what_was_signed_in",
        "storage::families::a_login_without_a_family_is_written_down_while_client_and_user_stand",
        "storage::rotations::after_an_acknowledged_end_no_token_is_rotated",
        "storage::rotations::whatever_isolation_a_database_asks_for_an_acknowledged_end_is_one",
        "storage::rotations::an_end_is_not_acknowledged_while_a_rotation_that_did_not_see_it_is_under_way",
        "storage::shared_rotations::rotations_that_wait_together_share_a_statement_and_each_is_told_its_own";
    "R-14" "Another client's token: invalid_grant; its family lives, and the trail tells.":
        "refresh::another_clients_token_is_refused_and_lives_on",
        "catalogue::refresh::r_14_the_token_of_another_client_is_refused_and_lives_on";
    "R-15" "A public client with the token of another: invalid_grant."
        pending "needs public clients";
    "R-16" "Without client authentication: invalid_client.":
        "refresh::another_clients_token_is_refused_and_lives_on",
        "catalogue::refresh::r_16_without_client_authentication_a_refresh_token_is_worth_nothing";
    "R-17" "A narrower scope is the access token's alone.":
        "refresh::scope_narrows_for_the_access_token_alone_and_never_widens",
        "catalogue::refresh::r_17_a_narrower_scope_is_the_access_tokens_alone";
    "R-18" "Later the whole scope is to be had again.":
        "refresh::scope_narrows_for_the_access_token_alone_and_never_widens",
        "catalogue::refresh::r_17_a_narrower_scope_is_the_access_tokens_alone";
    "R-19" "A scope beyond the grant, or no longer the client's: invalid_scope.":
        "refresh::scope_narrows_for_the_access_token_alone_and_never_widens",
        "refresh::a_family_holds_what_was_granted_and_not_what_the_client_is_registered_for",
        "catalogue::refresh::r_19_a_scope_beyond_what_was_granted_or_is_registered_now_is_refused";
    "R-20" "A resource beyond the grant, or no longer the client's: invalid_target.":
        "refresh::a_family_holds_what_was_granted_and_not_what_the_client_is_registered_for",
        "refresh::a_resource_stays_within_the_grant",
        "refresh::who_signed_in_for_the_issuer_stays_out_once_the_client_has_other_audiences",
        "catalogue::refresh::r_20_a_resource_beyond_what_was_granted_is_refused";
    "R-21" "A token that was cut, extended or altered: invalid_grant.":
        "refresh::only_the_exact_token_counts",
        "catalogue::refresh::r_21_a_token_with_a_character_less_or_more_or_another_is_none";
    "R-22" "Whatever else keywheel hands out is no refresh token.":
        "refresh::only_the_exact_token_counts",
        "catalogue::refresh::r_22_nothing_else_that_keywheel_hands_out_is_a_refresh_token",
        "oauth::registration::tests::each_kind_of_token_has_a_prefix_of_its_own_and_none_can_be_printed";
    "R-23" "A family ends by idleness and by age.":
        "refresh::a_family_ends_by_idleness_and_by_age_and_no_access_token_outlives_it",
        "storage::families::neither_an_unknown_nor_an_expired_token_is_rotated";
    "R-24" "A clock that is set back revives nothing.":
        "refresh::a_clock_that_is_set_back_gives_no_token_its_life_back",
        "server::latest::tests::a_clock_that_is_set_back_brings_nothing_back_and_one_that_was_absurd_is_put_right",
        "clocks::when_a_clock_that_was_ahead_is_put_right_new_tokens_are_active_as_soon_as_the_database_agrees",
        "server::latest::tests::a_clock_that_was_ahead_is_put_right_by_the_databases";
    "R-25" "A bound token without its key: refused."
        pending "needs DPoP or mutual TLS";
    "R-26" "A new password ends what was signed in with the old one.":
        "introspection::a_users_token_without_a_refresh_token_ends_with_the_password",
        "races::a_token_has_one_successor_and_none_after_an_acknowledged_end_on_sqlite",
        "races::a_token_has_one_successor_and_none_after_an_acknowledged_end_on_postgresql",
        "refresh::disabling_the_client_or_the_user_and_a_new_password_end_what_was_signed_in",
        "storage::families::whatever_ends_a_family_ends_it_for_good",
        "storage::rotations::after_an_acknowledged_end_no_token_is_rotated",
        "catalogue::refresh::r_26_a_new_password_ends_what_was_signed_in_with_the_old_one";
    "R-27" "A million used rows slow nothing down, and vanish in batches.":
        "storage::shared_rotations::no_table_is_read_from_end_to_end_by_a_refresh_also_in_a_new_database",
        "storage::sweep::only_what_has_expired_is_swept_in_batches_and_the_rest_is_told",
        "storage::sweep::no_statement_about_a_living_token_reads_a_whole_table_however_many_are_dead",
        "storage::sweep::dead_tokens_leave_batch_by_batch_and_their_family_last",
        "storage::refresh_tokens::tests::sqlite_finds_a_token_by_indexes_alone";
    "R-28" "A client whose tokens do not rotate gets the same one."
        pending "needs bound tokens";
    "K-01" "A code used twice: invalid_grant, and its tokens end."
        pending "needs the authorization endpoint";
    "K-02" "A bad second use of a code ends nothing."
        pending "needs the authorization endpoint";
    "K-03" "Of parallel exchanges of a code one succeeds."
        pending "needs the authorization endpoint";
    "K-04" "A code of another client: invalid_grant."
        pending "needs the authorization endpoint";
    "K-05" "Another redirect_uri than in the request: invalid_grant."
        pending "needs the authorization endpoint";
    "K-06" "A code that is older than a minute: invalid_grant."
        pending "needs the authorization endpoint";
    "K-07" "A challenge without its verifier: invalid_grant."
        pending "needs the authorization endpoint";
    "K-08" "A verifier without a challenge: 400."
        pending "needs the authorization endpoint";
    "K-09" "A verifier that does not fit: invalid_grant."
        pending "needs the authorization endpoint";
    "K-10" "A verifier is compared in constant time."
        pending "needs the authorization endpoint";
    "K-11" "A code of a user who was disabled since: invalid_grant."
        pending "needs the authorization endpoint";
    "K-12" "A code that was altered: invalid_grant."
        pending "needs the authorization endpoint";
    "K-13" "A verifier twice: 400."
        pending "needs the authorization endpoint";
    "K-14" "A code bound to another key: refused."
        pending "needs the authorization endpoint";
    "K-15" "A code is in no log, and only its hash in the database."
        pending "needs the authorization endpoint";
    "V-01" "Before the approval: authorization_pending."
        pending "needs the device grant";
    "V-02" "Polling too fast: slow_down."
        pending "needs the device grant";
    "V-03" "A device code that was denied, expired or used: refused."
        pending "needs the device grant";
    "V-04" "A token of a device has the scope that was approved."
        pending "needs the device grant";
    "V-05" "User codes cannot be guessed."
        pending "needs the device grant";
    "V-06" "A user who was disabled after the approval: access_denied."
        pending "needs the device grant";
    "V-07" "A link with a user code still wants a click."
        pending "needs the device grant";
    "X-01" "A client that may not exchange tokens: unauthorized_client."
        pending "needs token exchange";
    "X-02" "A subject token that is not good: 400."
        pending "needs token exchange";
    "X-03" "Without a subject token nothing is handed out."
        pending "needs token exchange";
    "X-04" "A target that is not allowed: invalid_target."
        pending "needs token exchange";
    "X-05" "A scope beyond the subject token: invalid_scope."
        pending "needs token exchange";
    "X-06" "A chain of delegations is short and allowed."
        pending "needs token exchange";
    "X-07" "A bound token without its proof: 400."
        pending "needs token exchange";
    "W-01" "Revoking what nobody knows: 200.":
        "introspection::a_client_revokes_its_own_tokens_and_only_those",
        "catalogue::tokens::w_01_what_nobody_handed_out_needs_no_revoking";
    "W-02" "A revocation without a token: 400.":
        "introspection::a_client_revokes_its_own_tokens_and_only_those",
        "catalogue::tokens::w_02_a_revocation_names_a_token";
    "W-03" "Revoking another client's token: invalid_grant, and it lives.":
        "introspection::a_client_revokes_its_own_tokens_and_only_those",
        "catalogue::tokens::w_03_the_token_of_another_client_is_not_revoked";
    "W-04" "Revoking without client authentication: invalid_client.":
        "introspection::a_client_revokes_its_own_tokens_and_only_those",
        "catalogue::tokens::w_04_who_does_not_authenticate_revokes_nothing";
    "W-05" "A wrong hint hinders nothing.":
        "introspection::a_client_revokes_its_own_tokens_and_only_those",
        "catalogue::tokens::w_05_a_hint_that_is_wrong_or_unknown_hinders_nothing";
    "W-06" "A kind of token that cannot be revoked: unsupported_token_type."
        overruled "refresh tokens and access tokens can both be revoked";
    "W-07" "A refresh token takes its family and its access tokens along.":
        "introspection::whatever_ends_the_family_or_its_owner_ends_its_access_tokens",
        "introspection::a_client_revokes_its_own_tokens_and_only_those",
        "catalogue::tokens::w_07_a_refresh_token_takes_its_family_and_its_access_tokens_along";
    "W-08" "An access token ends alone, everywhere, until it would have expired.":
        "introspection::a_client_revokes_its_own_tokens_and_only_those",
        "introspection::the_token_of_a_service_is_looked_up_in_memory_and_ends_with_its_revocation_or_its_client",
        "storage::families::a_revoked_access_token_is_remembered_once_and_its_family_and_user_are_asked_about_in_the_same_statement",
        "storage::races::revoked_access_tokens_are_numbered_in_the_order_in_which_they_become_visible",
        "catalogue::tokens::w_08_an_access_token_ends_alone";
    "W-09" "A revocation that could not be written: 503.":
        "crashes::a_postgresql_that_stops_at_any_step_breaks_no_promise_of_a_server_that_lives_on",
        "introspection::without_the_database_nothing_is_called_active_for_long",
        "remembered::while_the_database_holds_everybody_up_a_refresh_is_refused_in_time_and_can_be_repeated";
    "W-10" "GET revokes nothing, and a callback is ignored.":
        "introspection::a_client_revokes_its_own_tokens_and_only_those",
        "catalogue::tokens::w_10_a_token_is_revoked_by_post_and_without_a_callback";
    "W-11" "Revoking again, or many times at once: 200.":
        "introspection::a_client_revokes_its_own_tokens_and_only_those",
        "storage::families::a_family_is_revoked_once_and_the_first_reason_stays",
        "storage::families::a_revoked_access_token_is_remembered_once_and_its_family_and_user_are_asked_about_in_the_same_statement",
        "catalogue::tokens::w_11_a_token_may_be_revoked_as_often_as_one_likes_and_at_once";
    "I-01" "Asking without client authentication: invalid_client.":
        "introspection::who_may_not_ask_learns_nothing",
        "catalogue::tokens::i_01_who_is_not_authenticated_learns_of_no_token";
    "I-02" "Asking without the right: 403.":
        "introspection::who_may_not_ask_learns_nothing",
        "catalogue::tokens::i_02_a_client_without_the_right_may_ask_about_its_own_tokens_alone";
    "I-03" "A token that is not good: active false and nothing else.":
        "introspection::an_access_token_is_described_to_who_may_ask",
        "introspection::what_is_dead_forged_or_foreign_is_not_active",
        "catalogue::tokens::i_03_what_is_unknown_malformed_or_revoked_is_inactive_and_no_more_is_said";
    "I-04" "A token that is not for who asks: active false and nothing else.":
        "introspection::who_may_not_ask_learns_nothing",
        "catalogue::tokens::i_04_whom_a_token_is_not_for_is_told_that_it_is_inactive";
    "I-05" "A token from before its client, user or database began anew is inactive.":
        "introspection::the_token_of_a_service_is_looked_up_in_memory_and_ends_with_its_revocation_or_its_client",
        "introspection::a_users_token_without_a_refresh_token_ends_with_the_password";
    "I-06" "A token of a disabled user or client is inactive.":
        "introspection::what_is_dead_forged_or_foreign_is_not_active",
        "introspection::whatever_ends_the_family_or_its_owner_ends_its_access_tokens";
    "I-07" "A token in the URL: 405.":
        "introspection::who_may_not_ask_learns_nothing",
        "catalogue::tokens::i_07_a_token_in_the_url_is_not_looked_at";
    "I-08" "Two tokens, or none: 400.":
        "introspection::who_may_not_ask_learns_nothing",
        "catalogue::tokens::i_08_a_question_is_about_one_token";
    "I-09" "A token of a key that is still published is active, of one that is gone not.":
        "introspection::what_is_dead_forged_or_foreign_is_not_active";
    "I-10" "A refresh token is active to its own client alone.":
        "introspection::who_may_not_ask_learns_nothing",
        "catalogue::tokens::i_10_a_refresh_token_is_active_to_its_own_client_alone";
    "I-11" "Who wants a signed answer gets plain JSON, and no more than else.":
        "introspection::who_may_not_ask_learns_nothing",
        "catalogue::tokens::i_11_who_wants_a_signed_answer_gets_a_plain_one";
    "I-12" "A forged token with claims of a wrong type is inactive.":
        "introspection::what_is_dead_forged_or_foreign_is_not_active";
}
