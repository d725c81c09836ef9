use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::future::select_all;
use tokio::net::TcpSocket;
use tokio::task::{JoinError, JoinHandle};
use tracing::{info, warn};

use super::cli::ServeArgs;
use super::commands::{Process, issuer};
use super::exporter::Exporter;
use super::journal::{Journal, Scribe};
use super::open_files::connections_that_fit;
use super::pulse::Pulse;
use super::signals::{Asked, Signals};
use super::supervisor::Supervisor;
use super::ticker::{Ticker, Ticking};
use super::tls::TlsSource;
use super::tls_watch::TlsWatch;
use super::{demo, output};
use crate::http;
use crate::keys::CLOCK_SKEW;
use crate::server::{Server, Settings, WheelSettings};

/// `keywheel serve`: everything that can fail fails before the port opens.
pub(super) fn serve(process: &Process, args: &ServeArgs, supervisor: &Supervisor) -> anyhow::Result<()> {
    let config = &process.config;
    let tls = config.tls.as_ref().map(TlsSource::open).transpose()?;
    // Reserved first, so that the port is known from which --dev derives the issuer.
    let public = reserve(config.listen, "listen")?;
    let management = reserve(config.management_listen, "management_listen")?;
    let administration = match config.admin_listen {
        Some(address) => Some(reserve(address, "admin_listen")?),
        None => None,
    };
    let issuer = issuer(process, args, public.local_addr()?)?;
    let (store, vault) = process.open_vault()?;
    store.try_prepared_statements()?;
    let vault = Arc::new(vault);
    if !args.dev && !config.database_url.is_postgres() {
        warn!("running on SQLite: one node, one disk; set DATABASE_URL to a postgres:// URL to run several");
    }
    let forgetful = store.forgetful_settings()?;
    if !forgetful.is_empty() {
        let settings = forgetful.join(", ");
        warn!(
            event = "database.forgetful",
            settings,
            "when PostgreSQL's machine crashes, refresh tokens that were exchanged may be good again: turn these settings on"
        );
    }
    let wheel_settings = WheelSettings {
        issuer: issuer.clone(),
        policy: config.policy,
        access_ttl: config.access_ttl,
        jwks_max_age: config.jwks_max_age,
    };
    let settings = Settings {
        issuer: issuer.clone(),
        access_ttl: config.access_ttl,
        refresh_ttl: config.refresh_ttl,
        refresh_absolute_ttl: config.refresh_absolute_ttl,
        password_grant: config.password_grant,
        audit_retention: config.audit_retention,
        clock_tolerance: Some(CLOCK_SKEW),
        password_threads: config.workers,
        max_staleness: config.max_staleness,
        cached_clients: config.cached_clients,
    };
    let journal = Journal::open(&config.keys_dir)?;
    let server = process.with_context(|cx| {
        let before = journal.written();
        Server::open(settings, wheel_settings, store.clone(), Arc::clone(&vault), before, cx)
    });
    let server = Arc::new(server?);
    let welcome = if args.dev {
        Some(process.with_context(|cx| demo::seed(&store, &vault, &issuer, cx))?)
    } else {
        None
    };

    let (exporter, tracing) = match config.telemetry.clone() {
        Some(settings) => {
            let (to, sample_ratio) = (settings.endpoint.origin().ascii_serialization(), settings.sample_ratio);
            info!(event = "tracing", to, sample_ratio, "sending traces");
            let (exporter, tracing) = Exporter::start(settings, Arc::clone(&server))?;
            (Some(exporter), Some(tracing))
        }
        None => (None, None),
    };
    let web = http::Settings {
        workers: config.workers,
        max_connections: connections_that_fit(config.max_connections, config.workers, config.database_connections),
        trusted_proxies: config.trusted_proxies.clone(),
        allowed_hosts: config.allowed_hosts.clone(),
        administration_apart: administration.is_some(),
        tls: tls.as_ref().map(|source| Arc::clone(source.tls())),
        blocking: http::BlockingSettings::STORAGE,
        logins: http::BlockingSettings::logins(config.workers),
        tracing,
    };
    let state = http::State::new(Arc::clone(&server), process.edge.clone(), &web);
    let listening = (public.local_addr()?, management.local_addr()?);
    actix_web::rt::System::new().block_on(async move {
        // Signals are caught before anybody can know that the server is up.
        let mut signals = Signals::catch()?;
        // Without TLS there is nothing to read anew, and who closes the terminal means the end.
        if tls.is_some() {
            signals.catch_hangup()?;
        }
        let running = http::serve(Arc::clone(&state), public, &web)?;
        let managing = http::serve_management(Arc::clone(&state), management, &web)?;
        let mut drained = vec![running.handle()];
        let managing_handle = managing.handle();
        let mut serving = vec![actix_web::rt::spawn(running), actix_web::rt::spawn(managing)];
        if let Some(socket) = administration {
            info!(event = "serving_administration", listen = %socket.local_addr()?, "the API of the administration is served apart");
            let administering = http::serve_administration(Arc::clone(&state), socket, &web)?;
            drained.push(administering.handle());
            serving.push(actix_web::rt::spawn(administering));
        }
        let watch = tls.map(|source| TlsWatch::start(source, Arc::clone(&server), process.edge.clone()));
        let watch = watch.transpose()?;
        let _pulse = Pulse::start(Arc::clone(&server), process.edge.clone())?;
        let ticking = Ticking {
            journal: Scribe::start(journal, &server.remembered())?,
            server,
            edge: process.edge.clone(),
            clock: Arc::clone(&process.clock),
            store,
            lines: process.log.lines(),
            supervisor: supervisor.clone(),
        };
        let ticker = Ticker::start(ticking)?;
        // Each starts its threads once it is asked something.
        for handle in drained.iter().chain([&managing_handle]) {
            handle.resume().await;
        }
        if !serving.iter().any(JoinHandle::is_finished) {
            info!(event = "serving", %issuer, listen = %listening.0, management = %listening.1, "keywheel is serving");
            supervisor.ready(&format!("{issuer} on {}", listening.0));
            if let Some(welcome) = welcome {
                output::text(&welcome)?;
            }
        }
        let asked = tokio::select! {
            asked = signals.end(|| watch.iter().for_each(TlsWatch::look)) => asked,
            // Whoever supervises starts anew what ends, and nothing that serves nobody.
            (ended, _, _) = select_all(&mut serving) => {
                // What only this process knows is written down all the same.
                let _late = tokio::time::timeout(Duration::from_secs(5), ticker.stop()).await;
                return ended_by_itself(ended);
            }
        };
        let delay = match asked {
            Asked::Supervisor => Duration::from_secs(config.shutdown_delay.get().unsigned_abs()),
            Asked::Person => Duration::ZERO,
        };
        state.drain();
        supervisor.stopping("draining");
        info!(event = "draining", ?delay, "/readyz says no, so that balancers turn to others; requests are still accepted");
        let winding_up = async {
            tokio::time::sleep(delay).await;
            info!(event = "closing", "answering what is under way, accepting nothing new");
            // Each is told when its future is made, so none takes on anything while another is waited for.
            let stopping: Vec<_> = drained.iter().map(|handle| handle.stop(true)).collect();
            for stopped in stopping {
                stopped.await;
            }
            managing_handle.stop(false).await;
            ticker.stop().await;
            for server in serving {
                server.await??;
            }
            if let Some(exporter) = exporter {
                exporter.stop();
            }
            info!(event = "stopped", "bye");
            Ok(())
        };
        tokio::select! {
            ended = winding_up => ended,
            _ = signals.end(|| {}) => bail!("ended at once by a second signal: what was under way is cut off"),
        }
    })
}

/// A listener that nobody has stopped.
fn ended_by_itself(ended: Result<std::io::Result<()>, JoinError>) -> anyhow::Result<()> {
    let why = match ended {
        Ok(Ok(())) => "it ended by itself".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    bail!(
        "a listener does not serve: {why}. Does the system give this process as many threads as it needs (systemd's TasksMax, pids.max)?"
    )
}

fn reserve(address: SocketAddr, setting: &str) -> anyhow::Result<TcpSocket> {
    http::reserve(address).with_context(|| {
        format!(
            "cannot listen on {address}: is another server there? Choose another address with the setting {setting}"
        )
    })
}
