use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use ureq::Agent;
use ureq::tls::TlsConfig;

use crate::app::config::Config;
use crate::app::output;

/// The path at which a server says whether it is ready.
pub(super) const READY: &str = "/readyz";
/// The path at which it says that it lives. It does not look at the database, without which a server that runs is of more use than one
/// that starts.
pub(super) const LIVE: &str = "/livez";

/// `keywheel healthcheck`: for whatever runs a program to learn whether a server is well, such as a container's runtime. It needs no
/// shell beside it, and neither database nor master key. It asks for `path`, or else what `url` says.
pub(super) fn run(config: &Config, url: Option<&str>, path: &str) -> anyhow::Result<()> {
    let url = url.map_or_else(|| format!("{}{path}", here(config)), str::to_owned);
    let mut question = agent().get(&url);
    // The public listener may want to be called by its name.
    if let Some(host) = config.allowed_hosts.first() {
        question = question.header("Host", host);
    }
    let mut answer = question.call().with_context(|| format!("{url} does not answer"))?;
    let status = answer.status();
    if !status.is_success() {
        let said = answer.body_mut().with_config().limit(LARGEST).read_to_string();
        bail!("{url} answers {status}: {}", said.unwrap_or_default().trim());
    }
    output::message(&format!("{url} answers {status}"));
    Ok(())
}

/// Where a server with this configuration says on this machine how it is: on the management listener, unless that wants certificates
/// of clients.
fn here(config: &Config) -> String {
    let (scheme, mut listening) = match &config.tls {
        None => ("http", config.management_listen),
        Some(tls) if tls.client_ca.is_none() => ("https", config.management_listen),
        Some(_) => ("https", config.listen),
    };
    if listening.ip().is_unspecified() {
        listening.set_ip(match listening {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("{scheme}://{listening}")
}

/// It asks by address, which no certificate names. Nothing is told that others may not know, and whoever could answer in the
/// server's place on this machine could do worse.
fn agent() -> Agent {
    let tls = TlsConfig::builder()
        .disable_verification(true)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build()
        .new_agent()
}

/// Less than those who ask wait for the command itself.
const PATIENCE: Duration = Duration::from_secs(2);
const LARGEST: u64 = 4 * 1_024;
