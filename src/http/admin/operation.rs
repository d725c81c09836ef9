use actix_web::HttpResponse;
use actix_web::http::header::{ETAG, HeaderValue, REFERRER_POLICY};
use actix_web::http::{Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{Call, Reply};
use super::problem::Problem;
use crate::http::response::oauth;
use crate::server::Reach;
use crate::server::admin::Right;

/// A row of the table: one method at one path, what it needs, what it reads and writes, and the function that does it.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// Its name in the document.
    pub(super) id: &'static str,
    /// What it does, in a sentence.
    pub(super) summary: &'static str,
    pub(super) right: Right,
    pub(super) reach: Reach,
    pub(super) query: fn(&mut SchemaGenerator) -> Schema,
    pub(super) body: Option<fn(&mut SchemaGenerator) -> Schema>,
    pub(super) answer: Option<fn(&mut SchemaGenerator) -> Schema>,
    pub(super) success: StatusCode,
    /// Takes `If-Match`.
    pub(super) conditional: bool,
    /// Takes an `Idempotency-Key`.
    pub(super) repeatable: bool,
    /// May find things in a state that does not allow it.
    pub(super) conflicts: bool,
    act: Act,
}

type Act = Box<dyn Fn(&mut Call<'_, '_>) -> Result<Answer, Problem> + Send + Sync>;

/// What is answered, as bytes. It may hold a secret, so it cannot be printed.
pub(super) struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    etag: Option<String>,
}

impl Answer {
    /// The response.
    pub(super) fn response(self) -> HttpResponse {
        let mut response = oauth(self.status);
        response.insert_header((REFERRER_POLICY, HeaderValue::from_static("no-referrer")));
        if let Some(etag) = self.etag {
            response.insert_header((ETAG, etag));
        }
        if self.status == StatusCode::NO_CONTENT {
            let mut response = response.finish();
            response.headers_mut().remove(actix_web::http::header::CONTENT_TYPE);
            return response;
        }
        response.body(self.body)
    }
}

impl Operation {
    /// Looks at something.
    pub(super) fn get<Q, A>(path: &'static str, id: &'static str, summary: &'static str, handler: Handler<Q, A>) -> Self
    where
        Q: DeserializeOwned + JsonSchema + 'static,
        A: Serialize + JsonSchema + 'static,
    {
        Operation {
            right: Right::Read,
            ..Operation::act(Method::GET, path, id, summary, handler)
        }
    }

    /// Does something that needs no words.
    pub(super) fn act<Q, A>(
        method: Method,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        handler: Handler<Q, A>,
    ) -> Self
    where
        Q: DeserializeOwned + JsonSchema + 'static,
        A: Serialize + JsonSchema + 'static,
    {
        let act = move |call: &mut Call<'_, '_>| handler(call, query(&call.sent.query)?);
        Operation::row::<Q, A>(method, path, id, summary, act)
    }

    /// Does something with the document that is sent.
    pub(super) fn send<Q, B, A>(
        method: Method,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        handler: BodyHandler<Q, B, A>,
    ) -> Self
    where
        Q: DeserializeOwned + JsonSchema + 'static,
        B: DeserializeOwned + JsonSchema + 'static,
        A: Serialize + JsonSchema + 'static,
    {
        let act = move |call: &mut Call<'_, '_>| {
            let body = serde_json::from_slice(&call.sent.body).map_err(|error| Problem::malformed(&error))?;
            handler(call, query(&call.sent.query)?, body)
        };
        Operation {
            body: Some(|generator| generator.subschema_for::<B>()),
            ..Operation::row::<Q, A>(method, path, id, summary, act)
        }
    }

    fn row<Q, A>(
        method: Method,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        act: impl Fn(&mut Call<'_, '_>) -> Result<Reply<A>, Problem> + Send + Sync + 'static,
    ) -> Self
    where
        Q: JsonSchema + 'static,
        A: Serialize + JsonSchema + 'static,
    {
        Operation {
            method,
            path,
            id,
            summary,
            right: Right::Admin,
            reach: Reach::Storage,
            query: |generator| Q::json_schema(generator),
            body: None,
            answer: Some(|generator| generator.subschema_for::<A>()),
            success: StatusCode::OK,
            conditional: false,
            repeatable: false,
            conflicts: false,
            act: Box::new(move |call| {
                let Reply { body, etag } = act(call)?;
                let body = serde_json::to_vec(&body).map_err(|_unwritable| Problem::bug())?;
                Ok(Answer {
                    status: StatusCode::OK,
                    body,
                    etag,
                })
            }),
        }
    }

    /// It makes something: 201.
    pub(super) fn creating(self) -> Self {
        Operation {
            success: StatusCode::CREATED,
            repeatable: true,
            conflicts: true,
            ..self
        }
    }

    /// It has nothing to say: 204.
    pub(super) fn silent(self) -> Self {
        Operation {
            success: StatusCode::NO_CONTENT,
            answer: None,
            ..self
        }
    }

    /// It takes `If-Match` (RFC 9110 §13.1.1).
    pub(super) fn conditional(self) -> Self {
        Operation {
            conditional: true,
            ..self
        }
    }

    /// It may find things in a state that does not allow it: 409.
    pub(super) fn conflicting(self) -> Self {
        Operation {
            conflicts: true,
            ..self
        }
    }

    /// It hashes a password.
    pub(super) fn with_password(self) -> Self {
        Operation {
            reach: Reach::Passwords,
            ..self
        }
    }

    /// It is for the client itself.
    pub(super) fn own(self) -> Self {
        Operation {
            right: Right::Own,
            ..self
        }
    }

    /// Does it.
    pub(super) fn run(&self, call: &mut Call<'_, '_>) -> Result<Answer, Problem> {
        let answer = match (self.act)(call) {
            Err(problem) if problem.comes_again() => (self.act)(call)?,
            answered => answered?,
        };
        Ok(Answer {
            status: self.success,
            ..answer
        })
    }
}

/// A function of the query.
pub(super) type Handler<Q, A> = fn(&mut Call<'_, '_>, Q) -> Result<Reply<A>, Problem>;
/// A function of the query and the body.
pub(super) type BodyHandler<Q, B, A> = fn(&mut Call<'_, '_>, Q, B) -> Result<Reply<A>, Problem>;

fn query<Q: DeserializeOwned>(text: &str) -> Result<Q, Problem> {
    serde_urlencoded::from_str(text).map_err(|error| Problem::malformed_query(&error))
}
