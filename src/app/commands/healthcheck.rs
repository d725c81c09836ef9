use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use ureq::Agent;

use crate::app::config::Config;
use crate::app::output;

/// `keywheel healthcheck`: for whatever runs a program to learn whether a server is well, such as a container's runtime. It needs no
/// shell beside it, and neither database nor master key.
pub(super) fn run(config: &Config, url: Option<&str>) -> anyhow::Result<()> {
    let url = url.map_or_else(|| readiness(config.management_listen), str::to_owned);
    if !url.starts_with("http://") {
        bail!(
            "{url} is no http:// URL: ask the management listener, or look at the server from outside with \"keywheel doctor\""
        );
    }
    let agent = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build()
        .new_agent();
    let mut answer = agent
        .get(&url)
        .call()
        .with_context(|| format!("{url} does not answer"))?;
    let status = answer.status();
    if !status.is_success() {
        let said = answer.body_mut().with_config().limit(LARGEST).read_to_string();
        bail!("{url} answers {status}: {}", said.unwrap_or_default().trim());
    }
    output::message(&format!("{url} answers {status}"));
    Ok(())
}

/// Where a server with this configuration says whether it is ready. One that listens everywhere is asked on this machine.
fn readiness(mut listening: SocketAddr) -> String {
    if listening.ip().is_unspecified() {
        listening.set_ip(match listening {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{listening}/readyz")
}

/// Less than those who ask wait for the command itself.
const PATIENCE: Duration = Duration::from_secs(2);
const LARGEST: u64 = 4 * 1_024;
