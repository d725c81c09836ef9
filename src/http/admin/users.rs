use actix_web::http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::call::{Call, Nothing, Page, Reply};
use super::operation::Operation;
use super::problem::Problem;
use crate::oauth::{User, UserId, Username};
use crate::server::admin::{UserDocument, UserFilter};

/// Users.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/users", "listUsers", "Lists users in the order of their names.", list),
        Operation::send(Method::POST, "/users", "createUser", "Makes a user.", create)
            .creating()
            .with_password(),
        Operation::get("/users/{user_id}", "readUser", "Shows a user.", read),
        Operation::act(
            Method::DELETE,
            "/users/{user_id}",
            "deleteUser",
            "Deletes a user, and ends everything that they signed in to.",
            delete,
        )
        .silent(),
        Operation::act(
            Method::POST,
            "/users/{user_id}/disable",
            "disableUser",
            "Disables a user, and ends everything that they signed in to.",
            disable,
        ),
        Operation::act(
            Method::POST,
            "/users/{user_id}/enable",
            "enableUser",
            "Enables a user.",
            enable,
        ),
        Operation::send(
            Method::PUT,
            "/users/{user_id}/password",
            "setPassword",
            "Sets a user's password, and ends everything that they signed in to.",
            set_password,
        )
        .silent()
        .with_password(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only users who may sign in, or who may not.
    enabled: Option<bool>,
    /// Only the user of that name, whatever its case or width.
    username: Option<String>,
    /// At most so many: 1 to 200, and 50 if nothing is said.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

fn list(call: &mut Call<'_, '_>, query: ListQuery) -> Result<Reply<Page<UserDocument>>, Problem> {
    let username = query.username.as_deref().map(name).transpose()?;
    let list = format!(
        "users?enabled={:?}&username={:?}",
        query.enabled,
        username.as_ref().map(Username::canonical)
    );
    let limit = call.limit(query.limit)?;
    let cursor = call.cursor(query.cursor.as_deref(), &list)?;
    let key = |user: &User| vec![user.username.to_string()];
    let read = match username {
        Some(username) => {
            let of_that_name = call.users().named(&username)?;
            let wanted = |user: &User| query.enabled.is_none_or(|enabled| user.enabled == enabled);
            of_that_name.filter(wanted).into_iter().collect()
        }
        None => {
            let after = cursor.as_ref().and_then(|cursor| cursor.key().first());
            call.users().page(&UserFilter {
                enabled: query.enabled,
                after: after.and_then(|name| Username::parse(name).ok()),
                limit: limit + 1,
            })?
        }
    };
    Ok(call.page((read, limit), &list, key, |user| user.into()).into())
}

/// A user to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewUserDocument {
    username: String,
    /// 8 to 1024 bytes.
    #[schemars(with = "String")]
    password: Zeroizing<String>,
}

fn create(call: &mut Call<'_, '_>, _: Nothing, new: NewUserDocument) -> Result<Reply<UserDocument>, Problem> {
    let once = call.once("createUser")?;
    let user = call.users().once(once).create(&new.username, &new.password, call.cx)?;
    Ok(UserDocument::from(&user).into())
}

fn read(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<UserDocument>, Problem> {
    Ok(UserDocument::from(&the_user(call)?).into())
}

fn delete(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<Nothing>, Problem> {
    call.users().delete(&the_user(call)?, call.cx.now)?;
    Ok(Nothing {}.into())
}

fn disable(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<UserDocument>, Problem> {
    call.users().set_enabled(&the_user(call)?, false, call.cx.now)?;
    read(call, Nothing {})
}

fn enable(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<UserDocument>, Problem> {
    call.users().set_enabled(&the_user(call)?, true, call.cx.now)?;
    read(call, Nothing {})
}

/// A new password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PasswordDocument {
    /// 8 to 1024 bytes.
    #[schemars(with = "String")]
    password: Zeroizing<String>,
}

fn set_password(call: &mut Call<'_, '_>, _: Nothing, new: PasswordDocument) -> Result<Reply<Nothing>, Problem> {
    call.users().set_password(&the_user(call)?, &new.password, call.cx)?;
    Ok(Nothing {}.into())
}

fn the_user(call: &Call<'_, '_>) -> Result<User, Problem> {
    let id = call.part("user_id", |id| UserId::parse(id).ok())?;
    Ok(call.users().with_id(&id)?)
}

fn name(text: &str) -> Result<Username, Problem> {
    Username::parse(text).map_err(|error| Problem::invalid("username", error.to_string()))
}
