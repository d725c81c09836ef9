use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::url::{Address, PostgresTarget};

/// The servers that a URL names, of which one is the primary. They are asked in turn, first the one that was it last: so one that
/// is gone costs its timeout once and not for every connection.
#[derive(Debug)]
pub(super) struct Servers {
    each: Vec<Server>,
    first: AtomicUsize,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Server {
    /// Host and port, for messages.
    pub(super) name: String,
    pub(super) config: Config,
    place: usize,
}

impl Servers {
    /// `tcp_user_timeout` is how long a host that vanished without a word may keep silent until the kernel gives the connection up.
    pub(super) fn of(target: &PostgresTarget, connect_timeout: Duration, tcp_user_timeout: Duration) -> Self {
        let all = &target.config;
        let server = |(place, host): (usize, &Host)| {
            let port = all.get_ports().get(place).or_else(|| all.get_ports().first()).copied();
            let mut config = without_hosts(all);
            match host {
                Host::Tcp(name) => config.host(name),
                Host::Unix(directory) => config.host_path(directory),
            };
            if let Some(address) = all.get_hostaddrs().get(place) {
                config.hostaddr(*address);
            }
            if let Some(port) = port {
                config.port(port);
            }
            config
                .connect_timeout(connect_timeout)
                .tcp_user_timeout(tcp_user_timeout)
                .keepalives_idle(Duration::from_secs(30));
            Server {
                name: Address(host, port).to_string(),
                config,
                place,
            }
        };
        Servers {
            each: all.get_hosts().iter().enumerate().map(server).collect(),
            first: AtomicUsize::new(0),
        }
    }

    /// All of them, in the order in which to ask.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = &Server> {
        let first = self.first.load(Ordering::Relaxed);
        let (before, from) = self.each.split_at(first.min(self.each.len()));
        from.iter().chain(before)
    }

    /// Whether there is a choice.
    pub(super) fn are_several(&self) -> bool {
        self.each.len() > 1
    }

    /// This one was what was wanted.
    pub(super) fn found(&self, server: &Server) {
        self.first.store(server.place, Ordering::Relaxed);
    }
}

/// What is the same for all hosts.
fn without_hosts(all: &Config) -> Config {
    let mut config = Config::new();
    if let Some(user) = all.get_user() {
        config.user(user);
    }
    if let Some(password) = all.get_password() {
        config.password(password);
    }
    if let Some(database) = all.get_dbname() {
        config.dbname(database);
    }
    if let Some(options) = all.get_options() {
        config.options(options);
    }
    if let Some(name) = all.get_application_name() {
        config.application_name(name);
    }
    config
        .ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .channel_binding(all.get_channel_binding())
        .keepalives(all.get_keepalives());
    // What waits for a commit that has to wait has to learn that its server is gone.
    config.keepalives_interval(all.get_keepalives_interval().unwrap_or(Duration::from_secs(5)));
    if let Some(retries) = all.get_keepalives_retries() {
        config.keepalives_retries(retries);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::super::url::{DatabaseUrl, Target};
    use super::*;

    fn servers(url: &str) -> Servers {
        let Target::Postgres(target) = DatabaseUrl::parse(url).unwrap().0 else {
            panic!("not PostgreSQL")
        };
        Servers::of(&target, Duration::from_secs(3), Duration::from_secs(6))
    }

    #[test]
    fn each_host_has_its_own_port_and_all_else_in_common_and_the_last_primary_is_asked_first() {
        let servers = servers(
            "postgres://u:p@a:1,[::1]:2,c/k?application_name=n&options=-cgeqo%3Doff&keepalives_retries=4&sslmode=require",
        );
        let order = || -> Vec<&str> { servers.in_turn().map(|server| server.name.as_str()).collect() };
        assert_eq!(order(), ["a:1", "[::1]:2", "c:5432"]);
        for server in servers.in_turn() {
            let config = &server.config;
            assert_eq!((config.get_hosts().len(), config.get_ports().len()), (1, 1));
            let common = (config.get_user(), config.get_password(), config.get_dbname());
            assert_eq!(common, (Some("u"), Some(&b"p"[..]), Some("k")));
            assert_eq!(
                (config.get_application_name(), config.get_options()),
                (Some("n"), Some("-cgeqo=off"))
            );
            assert_eq!(config.get_keepalives_retries(), Some(4));
            assert_eq!(config.get_keepalives_interval(), Some(Duration::from_secs(5)));
        }
        let second = servers.in_turn().nth(1).unwrap();
        servers.found(second);
        assert_eq!(order(), ["[::1]:2", "c:5432", "a:1"]);
    }
}
