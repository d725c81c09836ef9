//! Floor 3: bytes in, bytes out.
//!
//! actix-web and nothing of the protocol: requests become values of the floors below, and what those decide becomes a response.
//! One list of routes (`routes`), one place that maps errors to responses (`response`).

mod admin;
mod authorize;
mod bearer;
mod blocking;
mod body;
mod cache_control;
mod crowd;
mod documents;
mod door;
mod entity_tag;
mod expectation;
mod form;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guard;
mod health;
mod hsts;
mod in_hand;
mod line;
mod link;
mod listener;
mod one_by_one;
mod pace;
mod peer;
mod pieces;
mod register;
mod response;
mod routes;
mod sampled;
mod span;
mod tag;
mod tls;
mod token;
mod trace;
mod trace_context;
mod unread;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Instant;

use actix_web::dev::Server as HttpServerHandle;
use actix_web::{App, web};
use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::net::TcpSocket;
use tracing::error;

pub use self::blocking::{Blocking, BlockingSettings};
use self::cache_control::CacheControls;
use self::in_hand::InHand;
use self::line::Line;
use self::listener::Bounds;
pub use self::routes::ENDPOINTS;
use self::sampled::Sampled;
pub use self::span::{Attribute, FinishedTrace, Span, SpanKind};
use self::tag::Tag;
pub use self::tls::{Tls, TlsError, TlsIdentity, TlsText};
pub use self::trace::Tracing;
use crate::server::{Context, Edge, Failure, Load, Reach, Server};

/// What the web floor needs to know of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Threads that answer requests.
    pub workers: usize,
    /// Most connections of the public listener.
    pub max_connections: usize,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Values of `Host` that are answered; empty for all.
    pub allowed_hosts: Vec<String>,
    /// Whether the API of the administration has a listener of its own, and the public one knows nothing of it.
    pub administration_apart: bool,
    /// What the listeners show in a handshake; `None` for plain HTTP behind a proxy.
    pub tls: Option<Arc<Tls>>,
    /// Bounds of the work that waits for the database.
    pub blocking: BlockingSettings,
    /// Bounds of the work that waits for passwords.
    pub logins: BlockingSettings,
    /// Which requests are traced; `None` for none.
    pub tracing: Option<Tracing>,
}

impl Settings {
    /// Threads for work that waits.
    const fn blocking_threads(&self) -> usize {
        self.blocking.permits.saturating_add(self.logins.permits)
    }

    /// How a listener begins its connections; `None` for plain HTTP.
    fn handshake(
        &self,
        configuration: impl Fn(&Arc<Tls>) -> Result<rustls::ServerConfig, rustls::Error>,
    ) -> std::io::Result<Option<Arc<rustls::ServerConfig>>> {
        let configuration = self.tls.as_ref().map(configuration).transpose();
        Ok(configuration.map_err(std::io::Error::other)?.map(Arc::new))
    }
}

/// Everything a handler needs.
#[derive(Debug)]
pub struct State {
    server: Arc<Server>,
    edge: Edge,
    blocking: Blocking,
    logins: Blocking,
    in_hand: InHand,
    refusals: Sampled,
    failures: Sampled,
    /// By how much the next answer with the JWK set differs from others in how long it may be kept.
    jitter: AtomicU8,
    /// Whether the server is about to stop.
    draining: AtomicBool,
    trusted_proxies: Vec<IpNet>,
    allowed_hosts: Vec<String>,
    tracing: Option<Tracing>,
    jwks: ArcSwap<documents::Written>,
    cache_controls: CacheControls,
    metadata: ArcSwap<documents::Written>,
    api: Arc<admin::Api>,
}

impl State {
    /// Joins the rules with the edge of the process.
    pub fn new(server: Arc<Server>, edge: Edge, settings: &Settings) -> Arc<Self> {
        let issuer = server.issuer().clone();
        Arc::new(State {
            server,
            edge,
            blocking: Blocking::new(settings.blocking),
            logins: Blocking::new(settings.logins),
            in_hand: InHand::default(),
            refusals: Sampled::new(LINES_A_SECOND),
            failures: Sampled::new(LINES_A_SECOND),
            jitter: AtomicU8::new(0),
            draining: AtomicBool::new(false),
            trusted_proxies: settings.trusted_proxies.clone(),
            allowed_hosts: settings.allowed_hosts.clone(),
            tracing: settings.tracing.clone(),
            jwks: ArcSwap::default(),
            cache_controls: CacheControls::new(),
            metadata: ArcSwap::default(),
            api: admin::Api::new(&issuer),
        })
    }
}

impl State {
    /// From now on the server says that it is not ready, and closes each connection after the next answer, so that clients and balancers
    /// turn to others. Requests are answered as before.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// How busy this node is.
    fn load(&self) -> Load {
        Load {
            connections: self.in_hand.connections.load(Ordering::Relaxed),
            signatures: self.in_hand.in_lines(),
            exchanges: self.in_hand.exchanges.load(Ordering::Relaxed),
            storage: self.blocking.waiting(),
            passwords: self.logins.waiting(),
        }
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Does `work` with the present time and this thread's generator. A panic is this request's alone: the process and the connection
    /// live on.
    fn attempt<T, E: From<Failure>>(
        &self,
        tag: &Tag,
        reach: Reach,
        work: impl FnOnce(&mut Context<'_>) -> Result<T, E>,
    ) -> Result<Result<T, E>, Panicked> {
        let attempt = AssertUnwindSafe(|| {
            let mut rng = self.edge.rng()?;
            work(&mut Context {
                now: self.edge.now(),
                rng: &mut rng,
                reach,
            })
        });
        let attempted = tag.watched(|| catch_unwind(attempt));
        attempted.map_err(|_payload| {
            if let Some(suppressed) = self.failures.admit(Instant::now()) {
                error!(event = "request.panicked", request_id = %tag.id(), suppressed, "a request panicked");
            }
            Panicked
        })
    }
}

/// Work did not come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Panicked;

/// Serves the public endpoints on a reserved address until the returned handle stops it.
pub fn serve(state: Arc<State>, socket: TcpSocket, settings: &Settings) -> std::io::Result<HttpServerHandle> {
    let prefix = state.server.issuer().path().to_owned();
    let api = (!settings.administration_apart).then(|| Arc::clone(&state.api));
    let state = web::Data::from(state);
    let bounds = Bounds {
        workers: settings.workers,
        connections: settings.max_connections,
        blocking_threads: settings.blocking_threads(),
    };
    let tls = settings.handshake(Tls::for_everybody)?;
    let is_over_tls = tls.is_some();
    let connections = Arc::clone(&state.in_hand.connections);
    listener::serve(socket, bounds, connections, tls, move || {
        App::new()
            .app_data(state.clone())
            // Made here, so that each worker has its own.
            .app_data(web::Data::new(Line::new(state.in_hand.line())))
            .wrap_fn(guard::guard)
            .wrap_fn(move |request, next| hsts::strictly(is_over_tls, request, next))
            .configure(|app| routes::public(app, &prefix, api.as_ref()))
            .default_service(web::to(response::not_found))
    })
}

/// Serves the API of the administration on a reserved address of its own.
pub fn serve_administration(
    state: Arc<State>,
    socket: TcpSocket,
    settings: &Settings,
) -> std::io::Result<HttpServerHandle> {
    let (prefix, api) = (state.server.issuer().path().to_owned(), Arc::clone(&state.api));
    let state = web::Data::from(state);
    let tls = settings.handshake(Tls::for_everybody)?;
    let is_over_tls = tls.is_some();
    listener::serve(socket, few(settings), Arc::default(), tls, move || {
        App::new()
            .app_data(state.clone())
            .wrap_fn(guard::guard)
            .wrap_fn(move |request, next| hsts::strictly(is_over_tls, request, next))
            .configure(|app| routes::administration(app, &prefix, &api))
            .default_service(web::to(response::not_found))
    })
}

/// Serves health and metrics on a reserved address, on a thread of its own: it answers while the workers are busy. Over TLS it may
/// be for those alone who have a certificate.
pub fn serve_management(
    state: Arc<State>,
    socket: TcpSocket,
    settings: &Settings,
) -> std::io::Result<HttpServerHandle> {
    let state = web::Data::from(state);
    let tls = settings.handshake(Tls::for_certified)?;
    let is_over_tls = tls.is_some();
    listener::serve(socket, few(settings), Arc::default(), tls, move || {
        App::new()
            .app_data(state.clone())
            .wrap_fn(unread::hold)
            .wrap_fn(move |request, next| hsts::strictly(is_over_tls, request, next))
            .configure(routes::management)
            .default_service(web::to(response::not_found))
    })
}

/// Reserves an address without listening on it: its port is known, and nobody is kept waiting for a server that may not come up.
pub fn reserve(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Refused requests, and failed ones, that are logged in a second.
const LINES_A_SECOND: u32 = 20;
/// Of the listeners that administrators and machines use. The sum stands in [`OTHER_CONNECTIONS`].
const fn few(settings: &Settings) -> Bounds {
    Bounds {
        workers: 1,
        connections: FEW_CONNECTIONS,
        blocking_threads: settings.blocking_threads(),
    }
}

const FEW_CONNECTIONS: usize = 256;
/// Most connections of all listeners but the public one.
pub const OTHER_CONNECTIONS: usize = 2 * FEW_CONNECTIONS;
