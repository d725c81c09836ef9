//! What a client does about its own secrets, with a token of its own that has the scope `keywheel:self`.

use actix_web::http::Method;

use super::call::{Call, Nothing, Reply};
use super::clients::{
    CreatedSecretDocument, NewSecretDocument, RevokeQuery, add_secret_of, revoke_secret_of, secrets_of,
};
use super::operation::Operation;
use super::problem::Problem;
use crate::server::admin::SecretDocument;

/// A client's own secrets.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(
            "/self/secrets",
            "listOwnSecrets",
            "Lists the secrets of the client that asks.",
            list,
        )
        .own(),
        Operation::send(
            Method::POST,
            "/self/secrets",
            "addOwnSecret",
            "Makes a further secret of the client that asks, which is shown this once.",
            add,
        )
        .creating()
        .own(),
        Operation::act(
            Method::DELETE,
            "/self/secrets/{secret_id}",
            "revokeOwnSecret",
            "Revokes a secret of the client that asks. One that was used in the last seven days only with force=true.",
            revoke,
        )
        .silent()
        .conflicting()
        .own(),
    ]
}

fn list(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<Vec<SecretDocument>>, Problem> {
    secrets_of(call, &call.admitted.client_id)
}

fn add(call: &mut Call<'_, '_>, _: Nothing, new: NewSecretDocument) -> Result<Reply<CreatedSecretDocument>, Problem> {
    let own = call.admitted.client_id.clone();
    add_secret_of(call, &own, &new)
}

fn revoke(call: &mut Call<'_, '_>, query: RevokeQuery) -> Result<Reply<Nothing>, Problem> {
    revoke_secret_of(call, &call.admitted.client_id, &query)
}
