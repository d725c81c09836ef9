//! Certificates of clients, which the management listener demands where there is an authority for them, and no other listener.

use super::*;
use crate::support::tls::{Bounds, Pair};

fn site_with(clients: &Authority) -> (Site, Served) {
    let site = Site::new();
    place_authority(&site, clients);
    let served = site.serve_with(&[("KEYWHEEL_TLS_CLIENT_CA", "clients.pem")]);
    (site, served)
}

/// The status that somebody gets who asks for the metrics; `None` for a connection that is closed.
fn watch(served: &Served, client: &Arc<ClientConfig>) -> Option<u16> {
    let connection = open(served.management, client).ok();
    Some(connection?.try_send(&Request::get("/metrics"))?.status)
}

#[test]
fn the_management_listener_demands_a_certificate_of_the_named_authority() {
    let clients = Authority::new("clients");
    let (site, served) = site_with(&clients);
    let showing = |pair: &Pair| Arc::new(site.authority.trusting_and_showing(pair));
    let below = clients.below("department");
    let mut chained = below.client();
    chained.certificate += &below.pem();
    for (who, client, expected) in [
        ("certified", showing(&clients.client()), Some(200)),
        ("certified by one below", showing(&chained), Some(200)),
        ("nobody", site.client(), None),
        (
            "of another authority",
            showing(&Authority::new("others").client()),
            None,
        ),
        (
            "of one with the same name",
            showing(&Authority::new("clients").client()),
            None,
        ),
        ("of the authority of servers", showing(&site.authority.client()), None),
        ("ended", showing(&clients.client_until(2_020)), None),
        ("a server's", showing(&clients.for_servers_alone()), None),
    ] {
        assert_eq!(watch(&served, &client), expected, "{who}");
    }
    assert!(served.await_event("tls.client_refused")["cause"].is_string());
}

// S-08
#[test]
fn what_an_authority_may_not_certify_is_no_certificate() {
    let clients = Authority::new("clients");
    let (site, served) = site_with(&clients);
    let watched = |chain: &[&Authority], mut pair: Pair| {
        for authority in chain {
            pair.certificate += &authority.pem();
        }
        watch(&served, &Arc::new(site.authority.trusting_and_showing(&pair)))
    };
    let names = |permitted, excluded| clients.below_with("names", Bounds::Names { permitted, excluded });
    let permitting = names(&["watch.example"], &[]);
    assert_eq!(
        watched(&[&permitting], permitting.client_named("a.watch.example")),
        Some(200)
    );
    assert_eq!(
        watched(&[&permitting], permitting.client_named("watch.example.evil")),
        None
    );
    let excluding = names(&[], &["watch.example"]);
    assert_eq!(watched(&[&excluding], excluding.client_named("b.example")), Some(200));
    assert_eq!(watched(&[&excluding], excluding.client_named("a.watch.example")), None);
    // The bounds hold for all below, not for the next alone.
    let below = permitting.below("further");
    assert_eq!(watched(&[&below, &permitting], below.client_named("b.example")), None);
    let last = clients.below_with("last", Bounds::NoOtherBelow);
    assert_eq!(watched(&[&last], last.client()), Some(200));
    let beyond = last.below("beyond");
    assert_eq!(watched(&[&beyond, &last], beyond.client()), None);
    let nobody = clients.below_with("nobody", Bounds::Nobody);
    assert_eq!(watched(&[&nobody], nobody.client()), None);
}

// S-08: versions before it have advisories for just that.
#[test]
fn who_checks_certificates_is_of_a_version_without_known_holes_in_that() {
    let lock = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"));
    let versions: Vec<[u32; 3]> = lock
        .split("[[package]]")
        .filter(|package| package.contains("name = \"rustls-webpki\""))
        .map(|package| package.split('"').nth(3).unwrap())
        .map(|version| {
            version
                .split('.')
                .map(|part| part.parse().unwrap())
                .collect::<Vec<_>>()
                .try_into()
                .unwrap()
        })
        .collect();
    assert!(
        !versions.is_empty() && versions.iter().all(|version| *version >= [0, 103, 13]),
        "{versions:?}"
    );
}

#[test]
fn no_other_listener_asks_for_a_certificate() {
    let (site, served) = site_with(&Authority::new("clients"));
    assert_eq!(send(served.address, &site.client(), &Request::get(JWKS)).status, 200);
    // Who has one is not asked for it either, so a wrong one is not shown.
    let stranger = site.authority.trusting_and_showing(&Authority::new("others").client());
    assert_eq!(
        send(served.address, &Arc::new(stranger), &Request::get(JWKS)).status,
        200
    );
}

// S-03
#[test]
fn after_another_authority_was_named_nobody_gets_in_by_the_one_before() {
    let clients = Authority::new("clients");
    let (site, served) = site_with(&clients);
    let first = Arc::new(site.authority.trusting_and_showing(&clients.client()));
    assert_eq!(watch(&served, &first), Some(200));
    assert_eq!(open(served.management, &first).unwrap().kind(), HandshakeKind::Full);
    let others = Authority::new("others");
    place_authority(&site, &others);
    served.await_event("tls.replaced");
    assert_eq!(watch(&served, &first), None);
    let second = Arc::new(site.authority.trusting_and_showing(&others.client()));
    assert_eq!(watch(&served, &second), Some(200));
}

/// Processor time that a process has used, in milliseconds.
pub(super) fn used(served: &Served) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", served.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // The clock of these ticks a hundred times a second.
    10 * (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
}

// S-09
#[test]
fn a_chain_of_a_hundred_certificates_costs_little_more_than_the_handshake() {
    let clients = Authority::new("clients");
    let (site, served) = site_with(&clients);
    let mut authorities = vec![clients.below("0")];
    for number in 1..99 {
        authorities.push(authorities[number - 1].below(&number.to_string()));
    }
    let mut deep = authorities[98].client();
    authorities
        .iter()
        .rev()
        .for_each(|above| deep.certificate += &above.pem());
    // Each of them might have certified each other: without a bound all orders would be tried.
    let mut wide = Authority::new("same").client();
    (0..99).for_each(|_| wide.certificate += &Authority::new("same").pem());
    for (which, pair) in [("deep", deep), ("wide", wide)] {
        let client = Arc::new(site.authority.trusting_and_showing(&pair));
        let before = used(&served);
        for _ in 0..30 {
            assert_eq!(watch(&served, &client), None, "{which}");
        }
        let spent = used(&served) - before;
        assert!(spent < 30 * 10, "{which}: {spent} ms for 30");
    }
}

#[test]
fn a_health_check_needs_no_certificate() {
    for clients in [None, Some(Authority::new("clients"))] {
        let site = Site::new();
        let settings = clients.as_ref().map(|clients| {
            place_authority(&site, clients);
            ("KEYWHEEL_TLS_CLIENT_CA", "clients.pem")
        });
        let served = site.serve_with(settings.as_slice());
        let (public, management) = (served.address.to_string(), served.management.to_string());
        let asked = if clients.is_some() { &public } else { &management };
        for (arguments, path) in [
            (&["healthcheck"][..], "/readyz"),
            (&["healthcheck", "--live"], "/livez"),
        ] {
            let mut command = site.folder.command(arguments);
            command
                .env("KEYWHEEL_LISTEN", &public)
                .env("KEYWHEEL_MANAGEMENT_LISTEN", &management)
                .envs(settings);
            let output = command.output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(0), "{said}");
            assert!(said.contains(&format!("https://{asked}{path}")), "{said}");
        }
    }
}
