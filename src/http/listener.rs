use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{ConnectionType, HttpService, Request, Response};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, apply_fn_factory, fn_service, map_config,
};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Server};
use actix_web::rt::net::TcpStream;
use futures_util::{FutureExt as _, TryFutureExt as _};
use rustls::ServerConfig;
use tokio::net::TcpSocket;

use super::body;
use super::crowd::{Crowd, Progress};
use super::expectation;
use super::link::Link;
use super::pace::Paced;

/// How much a listener takes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Threads that answer requests.
    pub(super) workers: usize,
    /// Most connections, of all workers together. Who comes later waits to be accepted.
    pub(super) connections: usize,
    /// Most threads of each worker for work that waits: as many as there are permits for it, so that whoever has one waits for nobody.
    pub(super) blocking_threads: usize,
}

/// Serves an application on a reserved address, over TLS where it has a configuration, until the returned handle stops it. What `HttpServer` of actix does, but over
/// connections that are held to a pace, which it has no room for.
pub(super) fn serve<F, I, S, B>(
    socket: TcpSocket,
    bounds: Bounds,
    connections: Arc<AtomicUsize>,
    tls: Option<Arc<ServerConfig>>,
    app: F,
) -> std::io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let most = bounds.connections.div_ceil(bounds.workers).max(1);
    let builder = Server::build()
        .workers(bounds.workers)
        .max_concurrent_connections(most)
        .worker_max_blocking_threads(bounds.blocking_threads)
        .shutdown_timeout(10)
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let on_each_worker = move || {
        let (stopping, crowd) = (stopping.clone(), Crowd::of(most, Arc::clone(&connections)));
        let app = app().into_factory().map_err(|error| error.into().error_response());
        let noted = apply_fn_factory(app, |mut request: Request, app| {
            let progress = request.conn_data::<Rc<Progress>>().cloned();
            if let Some(progress) = &progress {
                progress.has_request(body::coming(&mut request));
            }
            let bulky = progress.clone();
            let answer = app.call(request).map_ok(move |answer| {
                let mut answer: Response<B> = answer.into();
                if bulky.is_some_and(|progress| progress.is_bulky()) {
                    answer.head_mut().set_connection_type(ConnectionType::Close);
                }
                answer
            });
            answer.inspect(move |_| progress.iter().for_each(|progress| progress.is_answered()))
        });
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            // `Paced` sees to it.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(Duration::from_secs(1))
            .keep_alive(KEEP_ALIVE)
            .expect(expectation::answer)
            .on_connect_ext(|connection: &Paced<Link>, extensions| {
                extensions.insert(connection.progress());
            })
            .h1(map_config(noted, |()| AppConfig::default()));
        let tls = tls.clone();
        fn_service(move |stream: TcpStream| {
            crowd.watch();
            let (crowd, tls) = (Rc::clone(&crowd), tls.clone());
            async move {
                let peer = stream.peer_addr().ok();
                let link = Link::begin(stream, tls).await.map_err(DispatchError::Io)?;
                let paced = Paced::new(link, Rc::clone(&crowd));
                // Handshakes may have filled the room meanwhile.
                crowd.watch();
                Ok((paced, peer))
            }
        })
        .and_then(http)
    };
    Ok(builder.listen("keywheel", listen(socket)?, on_each_worker)?.run())
}

/// Begins to listen on a reserved address. Called inside the runtime. Connections inherit what is set here.
fn listen(socket: TcpSocket) -> std::io::Result<std::net::TcpListener> {
    // So much of its answers may wait in the kernel for a peer that does not read. What is beyond it waits here and has a deadline.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    // For as long the kernel tries to hand them over, also when the connection is closed here; without it, for ever to a peer that
    // acknowledges everything and reads nothing.
    #[cfg(target_os = "linux")]
    rustix::net::sockopt::set_tcp_user_timeout(&socket, u32::try_from(WRITE_DEADLINE.as_millis()).unwrap_or(u32::MAX))?;
    socket.listen(BACKLOG)?.into_std()
}

/// The head of a request arrives within this time.
pub(super) const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// What is sent is taken within this time.
pub(super) const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// Longer than a proxy keeps its side open, so that the proxy closes first and no request meets a closing socket.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// In bytes; the kernel takes the double.
const SEND_BUFFER: u32 = 64 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
