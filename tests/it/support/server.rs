//! The service in this process, on a real socket, with a clock that a test moves and ticks that a test makes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use keywheel::http;
use keywheel::keys::{MasterKey, RotationPolicy, RotationSettings, RsaBits};
use keywheel::oauth::{
    Audiences, ClaimProfile, ClientAuthMethod, ClientId, ClientMetadata, GrantType, IssuerUrl, NumericDate, Scope,
    Seconds, SigningAlgorithm, TokenType,
};
use keywheel::server::admin::{ClientAdmin, NewClientRequest, UserAdmin, user_import};
use keywheel::server::{Context, Edge, Failure, Reach, Remembered, Server, Settings, Vault, WheelSettings};
use keywheel::storage::{self, AuditFilter, DatabaseUrl, Store};
use rand::rngs::SysError;
use zeroize::Zeroizing;

use super::http::{Request, Response, send};

/// Noon of a day on which every test begins.
pub(crate) const START: NumericDate = NumericDate::from_epoch(1_900_000_800);
/// A clock that shows this panics: how a test makes the rules panic.
pub(crate) const BROKEN: i64 = i64::MIN;
/// The issuer of every test.
pub(crate) const ISSUER: &str = "https://auth.example";
/// The token endpoint.
pub(crate) const TOKEN: &str = "/oauth2/token";
/// The JWK set.
pub(crate) const JWKS: &str = "/.well-known/jwks.json";

/// How a test server differs from the usual one.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) issuer: &'static str,
    pub(crate) period: Seconds,
    pub(crate) algorithm: SigningAlgorithm,
    pub(crate) rsa_bits: RsaBits,
    pub(crate) slowest_verifier: Seconds,
    pub(crate) wait_for_fetchers: Seconds,
    pub(crate) jwks_max_age: Seconds,
    pub(crate) access_ttl: Seconds,
    pub(crate) password_grant: bool,
    pub(crate) max_staleness: Seconds,
    pub(crate) max_connections: usize,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) trusted_proxies: Vec<&'static str>,
    pub(crate) clock: Arc<AtomicI64>,
    /// Whether the system gives no random numbers.
    pub(crate) without_randomness: Arc<AtomicBool>,
    /// The clocks of tests are far from the database's.
    pub(crate) clock_tolerance: Option<Seconds>,
    /// What a server before this one remembered.
    pub(crate) before: Option<Remembered>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            issuer: ISSUER,
            period: Seconds::days(30),
            algorithm: SigningAlgorithm::Rs256,
            rsa_bits: RsaBits::default(),
            slowest_verifier: Seconds::hours(24),
            wait_for_fetchers: Seconds::new(0),
            jwks_max_age: Seconds::new(300),
            access_ttl: Seconds::minutes(10),
            password_grant: true,
            max_staleness: Seconds::new(60),
            max_connections: 1_000,
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            clock: Arc::new(AtomicI64::new(START.epoch())),
            without_randomness: Arc::default(),
            clock_tolerance: None,
            before: None,
        }
    }
}

/// A running service.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) management: SocketAddr,
    pub(crate) store: Store,
    pub(crate) server: Arc<Server>,
    pub(crate) url: String,
    pub(crate) policy: RotationPolicy,
    vault: Arc<Vault>,
    edge: Edge,
    clock: Arc<AtomicI64>,
    handles: Vec<ServerHandle>,
    thread: Option<JoinHandle<()>>,
}

/// A client's identifier and secret.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// The master key of every test.
pub(crate) fn master_key() -> MasterKey {
    MasterKey::parse(&"42".repeat(32)).unwrap()
}

/// Metadata of a client that may do what most tests do.
pub(crate) fn metadata() -> ClientMetadata {
    ClientMetadata {
        name: "Test".to_owned(),
        grant_types: vec![GrantType::ClientCredentials],
        auth_methods: ClientAuthMethod::ALL.to_vec(),
        scope: Scope::parse("read write").unwrap(),
        audiences: Audiences::parse("https://api.example https://other.example orders").unwrap(),
        access_ttl: None,
        token_reuse_window: None,
        token_quota: None,
        refresh_ttl: None,
        refresh_absolute_ttl: None,
        refresh_retry_window: None,
        token_type: TokenType::AtJwt,
        claim_profile: ClaimProfile::Rfc9068,
        signing_alg: None,
        introspect: false,
    }
}

impl TestServer {
    pub(crate) fn start(url: &str) -> Self {
        TestServer::with(url, Options::default())
    }

    pub(crate) fn with(url: &str, options: Options) -> Self {
        TestServer::try_with(url, options).unwrap()
    }

    pub(crate) fn try_with(url: &str, options: Options) -> Result<Self, Failure> {
        let clock = Arc::clone(&options.clock);
        let reading = Arc::clone(&clock);
        let without_randomness = Arc::clone(&options.without_randomness);
        #[expect(clippy::disallowed_methods, reason = "the edge of the test")]
        let edge = Edge::new(
            move || match reading.load(Ordering::SeqCst) {
                BROKEN => panic!("the clock of this test is broken on purpose"),
                now => NumericDate::from_epoch(now),
            },
            move || match without_randomness.load(Ordering::SeqCst) {
                true => Err(SysError::UNSUPPORTED),
                false => Ok(rand::rng()),
            },
        );
        let store = Store::open(&storage::Settings::new(DatabaseUrl::parse(url).unwrap()))?;
        store.migrate()?;
        let issuer = IssuerUrl::parse(options.issuer).unwrap();
        let policy = RotationPolicy::new(RotationSettings {
            algorithm: options.algorithm,
            rsa_bits: options.rsa_bits,
            period: options.period,
            jwks_max_age: options.jwks_max_age,
            slowest_verifier: options.slowest_verifier,
            longest_access_ttl: options.access_ttl,
            wait_for_fetchers: options.wait_for_fetchers,
        })
        .unwrap();
        let wheel_settings = WheelSettings {
            issuer: issuer.clone(),
            policy,
            access_ttl: options.access_ttl,
            jwks_max_age: options.jwks_max_age,
        };
        let settings = Settings {
            issuer,
            access_ttl: options.access_ttl,
            refresh_ttl: Seconds::days(14),
            refresh_absolute_ttl: Seconds::days(90),
            password_grant: options.password_grant,
            audit_retention: Seconds::days(365),
            clock_tolerance: options.clock_tolerance,
            password_threads: 2,
            max_staleness: options.max_staleness,
            cached_clients: 1_000,
        };
        let mut rng = edge.rng().unwrap();
        let mut cx = Context {
            now: edge.now(),
            rng: &mut rng,
            reach: Reach::Storage,
        };
        let vault = Arc::new(Vault::open(&store, &[master_key()], &mut cx)?);
        let before = options.before.as_ref();
        let server = Server::open(
            settings,
            wheel_settings,
            store.clone(),
            Arc::clone(&vault),
            before,
            &mut cx,
        )?;
        let server = Arc::new(server);
        let web = http::Settings {
            workers: 2,
            max_connections: options.max_connections,
            trusted_proxies: options
                .trusted_proxies
                .iter()
                .map(|network| network.parse().unwrap())
                .collect(),
            administration_apart: false,
            tls: None,
            allowed_hosts: options.allowed_hosts.clone(),
            blocking: http::BlockingSettings::STORAGE,
            logins: http::BlockingSettings::logins(2),
            tracing: None,
        };
        let state = http::State::new(Arc::clone(&server), edge.clone(), &web);
        let (ready, started) = channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let any = "127.0.0.1:0".parse().unwrap();
                let (public, management) = (http::reserve(any).unwrap(), http::reserve(any).unwrap());
                let addresses = (public.local_addr().unwrap(), management.local_addr().unwrap());
                let public = http::serve(Arc::clone(&state), public, &web).unwrap();
                let management = http::serve_management(state, management, &web).unwrap();
                ready
                    .send((addresses, vec![public.handle(), management.handle()]))
                    .unwrap();
                let management = actix_web::rt::spawn(management);
                public.await.unwrap();
                management.await.unwrap().unwrap();
            });
        });
        let ((address, management), handles) = started.recv().unwrap();
        Ok(TestServer {
            address,
            management,
            store,
            server,
            url: url.to_owned(),
            vault,
            edge,
            clock,
            policy,
            handles,
            thread: Some(thread),
        })
    }

    /// For another node with the same clock.
    pub(crate) fn options(&self) -> Options {
        Options {
            clock: Arc::clone(&self.clock),
            ..Options::default()
        }
    }

    /// The same for one that differs from the usual one.
    pub(crate) fn options_of(&self, options: Options) -> Options {
        Options {
            clock: Arc::clone(&self.clock),
            ..options
        }
    }

    /// All metrics, as the management listener shows them.
    pub(crate) fn metrics(&self) -> String {
        send(self.management, &Request::get("/metrics")).text().to_owned()
    }

    pub(crate) fn remembered(&self) -> Remembered {
        self.server.remembered()
    }

    pub(crate) fn now(&self) -> NumericDate {
        self.edge.now()
    }

    /// Lets time pass; nothing ticks by itself.
    pub(crate) fn advance(&self, span: Seconds) {
        self.clock.fetch_add(span.get(), Ordering::SeqCst);
    }

    /// Sets the clock, and returns what it showed.
    pub(crate) fn set_clock(&self, now: i64) -> i64 {
        self.clock.swap(now, Ordering::SeqCst)
    }

    pub(crate) fn tick(&self) -> Result<(), Failure> {
        let mut rng = self.edge.rng().unwrap();
        self.server.tick(&mut Context {
            now: self.edge.now(),
            rng: &mut rng,
            reach: Reach::Storage,
        })
    }

    pub(crate) fn admin(&self) -> ClientAdmin<'_> {
        ClientAdmin::new(&self.store, "test")
    }

    /// Registers a client.
    pub(crate) fn client(&self, id: &str, metadata: ClientMetadata) -> Credentials {
        let mut rng = self.edge.rng().unwrap();
        let mut cx = Context {
            now: self.edge.now(),
            rng: &mut rng,
            reach: Reach::Storage,
        };
        let request = NewClientRequest {
            client_id: Some(ClientId::parse(id).unwrap()),
            metadata,
        };
        let created = self.admin().create(request, &self.vault, &mut cx).unwrap();
        Credentials {
            id: id.to_owned(),
            secret: created.secret.secret.expose().to_owned(),
        }
    }

    /// Makes a further secret.
    pub(crate) fn add_secret(&self, id: &str, expires_at: Option<NumericDate>) -> (String, String) {
        self.add_secret_for(id, (None, expires_at))
    }

    /// The same from an instant on, and until another.
    pub(crate) fn add_secret_for(
        &self,
        id: &str,
        span: (Option<NumericDate>, Option<NumericDate>),
    ) -> (String, String) {
        let mut rng = self.edge.rng().unwrap();
        let mut cx = Context {
            now: self.edge.now(),
            rng: &mut rng,
            reach: Reach::Storage,
        };
        let added = self
            .admin()
            .add_secret(&ClientId::parse(id).unwrap(), span, &self.vault, &mut cx)
            .unwrap();
        (added.record.id.clone(), added.secret.expose().to_owned())
    }

    pub(crate) fn users(&self) -> UserAdmin<'_> {
        UserAdmin::new(&self.store, "test")
    }

    pub(crate) fn with_context<T>(&self, work: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let mut rng = self.edge.rng().unwrap();
        work(&mut Context {
            now: self.edge.now(),
            rng: &mut rng,
            reach: Reach::Storage,
        })
    }

    /// Makes a user.
    pub(crate) fn user(&self, name: &str, password: &str) {
        let password = Zeroizing::new(password.to_owned());
        self.with_context(|cx| self.users().create(name, &password, cx))
            .unwrap();
    }

    pub(crate) fn set_password(&self, name: &str, password: &str) {
        let user = self.users().show(name).unwrap();
        let password = Zeroizing::new(password.to_owned());
        self.with_context(|cx| self.users().set_password(&user, &password, cx))
            .unwrap();
    }

    /// Takes users over from a file.
    pub(crate) fn import(&self, file: &str) {
        let users = user_import::read(file.as_bytes()).unwrap();
        self.with_context(|cx| self.users().import(users, cx)).unwrap();
    }

    /// The names of all audit events, the newest first.
    pub(crate) fn audit(&self) -> Vec<String> {
        let filter = AuditFilter {
            limit: 1_000,
            ..AuditFilter::default()
        };
        self.store
            .audit_events(&filter)
            .unwrap()
            .into_iter()
            .map(|event| event.event)
            .collect()
    }

    /// How many rows a table has.
    pub(crate) fn count(&self, table: &str) -> i64 {
        super::count(&self.url, table)
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    pub(crate) fn send(&self, request: &Request) -> Response {
        send(self.address, request)
    }

    pub(crate) fn get(&self, target: &str) -> Response {
        self.send(&Request::get(target))
    }

    /// Asks for a token with HTTP Basic and further parameters.
    pub(crate) fn token(&self, client: &Credentials, parameters: &[(&str, &str)]) -> Response {
        let mut all = vec![("grant_type", "client_credentials")];
        all.extend_from_slice(parameters);
        self.send(&Request::form(TOKEN, &all).basic(&client.id, &client.secret))
    }

    /// A token that must be granted.
    pub(crate) fn granted(&self, client: &Credentials, parameters: &[(&str, &str)]) -> String {
        let response = self.token(client, parameters);
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["access_token"].as_str().unwrap().to_owned()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        for handle in self.handles.drain(..) {
            std::mem::drop(handle.stop(false));
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
