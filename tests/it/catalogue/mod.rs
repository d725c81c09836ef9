//! The catalogue of exact answers: what each request is answered, row by row. [`rows`] says what the rows are and which tests hold
//! them; a row that is about one request has a test of its own here, named after it.

mod client_auth;
mod complete;
mod documents;
mod framing;
mod http;
mod refresh;
mod rows;
mod scope;
mod sources;
mod stage;
mod token;
mod tokens;
