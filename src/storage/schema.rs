//! The tables of `migrations/`, as diesel sees them. Both backends have the same.

diesel::table! {
    clients (id) {
        id -> BigInt,
        client_id -> Text,
        name -> Text,
        grant_types -> Text,
        auth_methods -> Text,
        scope -> Text,
        audiences -> Text,
        access_ttl -> Nullable<BigInt>,
        token_reuse_window -> Nullable<BigInt>,
        token_type -> Text,
        claim_profile -> Text,
        introspect -> Bool,
        enabled -> Bool,
        created_at -> BigInt,
        updated_at -> BigInt,
        epoch -> BigInt,
        refresh_ttl -> Nullable<BigInt>,
        refresh_absolute_ttl -> Nullable<BigInt>,
        refresh_retry_window -> Nullable<BigInt>,
        owner -> Nullable<Text>,
        signing_alg -> Nullable<Text>,
        token_quota -> Nullable<Text>,
    }
}

diesel::table! {
    users (id) {
        id -> BigInt,
        user_id -> Text,
        username -> Text,
        canonical -> Text,
        password_hash -> Text,
        enabled -> Bool,
        epoch -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    token_families (id) {
        id -> Text,
        client -> BigInt,
        client_epoch -> BigInt,
        owner -> Nullable<BigInt>,
        owner_epoch -> Nullable<BigInt>,
        scope -> Text,
        audiences -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
        revoked_at -> Nullable<BigInt>,
        revoked_reason -> Nullable<Text>,
    }
}

diesel::table! {
    refresh_tokens (hash) {
        hash -> Binary,
        family -> Text,
        generation -> BigInt,
        issued_at -> BigInt,
        expires_at -> BigInt,
        rotated_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    revoked_access_tokens (jti) {
        jti -> Text,
        expires_at -> BigInt,
        number -> BigInt,
    }
}

diesel::table! {
    /// Always empty; its lock is what matters.
    family_gate (id) {
        id -> BigInt,
    }
}

diesel::table! {
    client_secrets (id) {
        id -> Text,
        client -> BigInt,
        hash -> Binary,
        hint -> Text,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        not_before -> Nullable<BigInt>,
        last_used_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    creations (name) {
        name -> Binary,
        salt -> Binary,
        content -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    data_keys (id) {
        id -> BigInt,
        master_key_id -> Text,
        wrapped -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    coming_data_key (id) {
        id -> BigInt,
        master_key_id -> Text,
        wrapped -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    certificate_authorities (id) {
        id -> BigInt,
        certificate -> Binary,
        sealed_private_key -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    authority_certificates (sha256) {
        sha256 -> Binary,
        certificate -> Binary,
        added_at -> BigInt,
    }
}

diesel::table! {
    signing_keys (kid) {
        kid -> Text,
        alg -> Text,
        slot -> BigInt,
        published_at -> BigInt,
        activates_at -> BigInt,
        certificate -> Binary,
        sealed_private_key -> Nullable<Binary>,
        longest_token_life -> BigInt,
        tainted_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
        withdrawn_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    algorithm_uses (alg) {
        alg -> Text,
        wanted_at -> BigInt,
        served_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    jwks_fetchers (user_agent, address_block, newest_key_at) {
        user_agent -> Text,
        address_block -> Text,
        newest_key_at -> BigInt,
        fetches -> BigInt,
        last_fetched_at -> BigInt,
    }
}

diesel::table! {
    database_identity (id) {
        id -> BigInt,
        uid -> Text,
        finalized -> BigInt,
    }
}

diesel::table! {
    changes (id) {
        id -> BigInt,
        kind -> Text,
        subject -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    audit_events (id) {
        id -> BigInt,
        at -> BigInt,
        event -> Text,
        actor -> Text,
        client_id -> Nullable<Text>,
        kid -> Nullable<Text>,
        detail -> Text,
    }
}

diesel::table! {
    client_usage (client, day) {
        client -> BigInt,
        day -> BigInt,
        tokens -> BigInt,
        reused -> BigInt,
    }
}

diesel::table! {
    initial_access_tokens (id) {
        id -> Text,
        hash -> Binary,
        hint -> Text,
        name -> Text,
        uses_left -> BigInt,
        grant_types -> Text,
        scope -> Text,
        audiences -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
        last_hour -> BigInt,
        uses_in_hour -> BigInt,
    }
}

diesel::table! {
    registrations (client) {
        client -> BigInt,
        hash -> Binary,
        registered_with -> Text,
        grant_types -> Text,
        scope -> Text,
        audiences -> Text,
    }
}

diesel::table! {
    audit_seals (number) {
        number -> BigInt,
        last_id -> BigInt,
        events -> BigInt,
        mac -> Binary,
        sealed_at -> BigInt,
        pruned -> Bool,
        row_mac -> Binary,
    }
}

diesel::table! {
    schema_compat (id) {
        id -> BigInt,
        needs -> Text,
    }
}

diesel::table! {
    /// Kept by diesel's migration harness.
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(database_identity, changes, audit_events);
diesel::joinable!(client_secrets -> clients (client));
diesel::joinable!(client_usage -> clients (client));
diesel::joinable!(registrations -> clients (client));
diesel::joinable!(token_families -> clients (client));
diesel::joinable!(token_families -> users (owner));
diesel::joinable!(refresh_tokens -> token_families (family));
diesel::allow_tables_to_appear_in_same_query!(
    clients,
    client_secrets,
    client_usage,
    registrations,
    users,
    token_families,
    refresh_tokens,
    revoked_access_tokens,
    family_gate,
);
