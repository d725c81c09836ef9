//! What comes to a port with TLS and is none, or none that is taken.

use super::clients::used;
use super::*;
use crate::support::http::has_another_end;

/// The first message of a handshake as old clients send it: no extension says which later versions they know.
fn hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend((2 * suites.len() as u16).to_be_bytes());
    suites.iter().for_each(|suite| body.extend(suite.to_be_bytes()));
    body.extend([1, 0]);
    // Groups P-256 and X25519, points uncompressed, signatures with RSA and ECDSA.
    let extensions = [
        &[0, 10, 0, 6, 0, 4, 0, 23, 0, 29][..],
        &[0, 11, 0, 2, 1, 0],
        &[0, 13, 0, 8, 0, 6, 4, 1, 4, 3, 8, 4],
    ]
    .concat();
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut message = vec![1, 0];
    message.extend((body.len() as u16).to_be_bytes());
    message.extend(body);
    record(&message)
}

/// A record of a handshake.
fn record(content: &[u8]) -> Vec<u8> {
    let mut record = vec![22, 3, 1];
    record.extend((content.len() as u16).to_be_bytes());
    record.extend(content);
    record
}

/// All that comes back until the server closes the connection.
fn answered(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // Closed with some of ours unread, it ends in an error.
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// The reason of a fatal alert (RFC 8446 §6), which has to be all of an answer.
fn alert(answer: &[u8]) -> u8 {
    assert!(answer.len() == 7 && answer[0] == 21 && answer[5] == 2, "{answer:?}");
    answer[6]
}

const PROTOCOL_VERSION: u8 = 70;
const HANDSHAKE_FAILURE: u8 = 40;
const NO_APPLICATION_PROTOCOL: u8 = 120;
/// TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 and the same with ECDSA.
const GOOD: [u16; 2] = [0xc02f, 0xc02b];

// S-01
#[test]
fn versions_before_1_2_and_suites_that_were_broken_are_refused() {
    let site = Site::new();
    let served = site.serve();
    for address in [served.address, served.management] {
        for version in [0x0300, 0x0301, 0x0302] {
            assert_eq!(
                alert(&answered(address, &hello(version, &GOOD))),
                PROTOCOL_VERSION,
                "{version:x}"
            );
        }
        // RC4, 3DES, CBC with SHA-1, without forward secrecy, export, none at all.
        for suite in [0x0005, 0x000a, 0xc012, 0x002f, 0xc013, 0xc014, 0x009c, 0x0003, 0x0001] {
            assert_eq!(
                alert(&answered(address, &hello(0x0303, &[suite]))),
                HANDSHAKE_FAILURE,
                "{suite:x}"
            );
        }
    }
    let mut stream = connect(served.address);
    stream.write_all(&hello(0x0303, &GOOD)).unwrap();
    let mut first = [0; 6];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(
        (first[0], first[5]),
        (22, 2),
        "the same message with good suites is answered"
    );
}

// H-13
#[test]
fn http_2_is_neither_chosen_nor_spoken() {
    let site = Site::new();
    let served = site.serve();
    let offering = |protocols: &[&str]| {
        let mut client = site.authority.trusting();
        client.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        open(served.address, &Arc::new(client))
    };
    let chosen = |protocols: &[&str]| {
        offering(protocols)
            .unwrap()
            .stream()
            .conn
            .alpn_protocol()
            .map(<[u8]>::to_vec)
    };
    assert_eq!(chosen(&["h2", "http/1.1"]), Some(b"http/1.1".to_vec()));
    assert_eq!(chosen(&[]), None);
    let refused = offering(&["h2"]).unwrap_err().to_string();
    assert!(
        refused.contains("NoApplicationProtocol"),
        "{NO_APPLICATION_PROTOCOL}: {refused}"
    );

    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut connection = open(served.address, &site.client()).unwrap();
    let status = connection.send_raw(preface).map(|response| response.status);
    assert_eq!(status, Some(400));
    assert!(connection.is_closed());
}

// H-28
#[test]
fn plain_http_to_the_port_with_tls_is_closed_and_sent_nowhere() {
    let site = Site::new();
    let served = site.serve();
    for address in [served.address, served.management] {
        let request = format!("GET {JWKS} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        alert(&answered(address, request.as_bytes()));
    }
    let plain = Folder::empty().serve(&["--dev"]);
    let answer = String::from_utf8(answered(plain.address, &hello(0x0303, &GOOD))).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

// S-02
#[test]
fn a_hello_in_pieces_is_understood_and_one_that_breaks_off_ends() {
    let site = Site::new();
    let served = site.serve();
    let mut client = site.authority.trusting();
    client.max_fragment_size = Some(32);
    assert_eq!(send(served.address, &Arc::new(client), &Request::get(JWKS)).status, 200);

    let mut stream = connect(served.address);
    for byte in hello(0x0303, &GOOD) {
        stream.write_all(&[byte]).unwrap();
    }
    let mut first = [0; 6];
    stream.read_exact(&mut first).unwrap();
    assert_eq!((first[0], first[5]), (22, 2));
    // close_notify in the middle of the handshake.
    stream.write_all(&[21, 3, 3, 0, 2, 1, 0]).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);

    let half = &hello(0x0303, &GOOD)[..20];
    let close = [half, &[21, 3, 3, 0, 2, 1, 0]].concat();
    let mut stream = connect(served.address);
    stream.write_all(&close).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(send(served.address, &site.client(), &Request::get(JWKS)).status, 200);
}

// S-09
#[test]
fn a_handshake_of_ten_megabytes_is_refused_at_its_first_record() {
    let site = Site::new();
    let served = site.serve();
    for address in [served.address, served.management] {
        let mut content = vec![1, 0xa0, 0, 0];
        content.resize(16_384, 0);
        let begun = Instant::now();
        let answer = answered(address, &record(&content));
        // What it leaves unread resets the connection, which may overtake the alert.
        if !answer.is_empty() {
            alert(&answer);
        }
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
}

// H-19
#[test]
fn handshakes_that_do_not_come_to_an_end_are_cut_off_and_hold_up_nobody() {
    let site = Site::new();
    let served = site.serve_with(&[("KEYWHEEL_WORKERS", "1")]);
    let begun = Instant::now();
    let mut silent: Vec<_> = (0..400).map(|_| connect(served.address)).collect();
    for (number, stream) in silent.iter_mut().enumerate() {
        // Some say nothing at all.
        let said = &hello(0x0303, &GOOD)[..number % 50];
        stream.write_all(said).unwrap();
    }
    let asked = Instant::now();
    assert_eq!(send(served.address, &site.client(), &Request::get(JWKS)).status, 200);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    for mut stream in silent {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{rest:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
}

// H-21: TLS takes an answer that the other end does not, so that writing it says nothing.
#[test]
fn who_does_not_read_is_cut_off_over_tls_too_and_takes_no_time() {
    let site = Site::new();
    let served = site.serve();
    let client = site.client();
    let open_and_send = |last: &str| {
        let mut connection = open(served.address, &client).unwrap();
        let requests = format!("GET {JWKS} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(300) + last;
        connection.send_raw_unanswered(requests.as_bytes()).unwrap();
        connection
    };
    let last = "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let connections: Vec<_> = (0..10)
        .map(|n| open_and_send(if n % 2 == 0 { "" } else { last }))
        .collect();
    let begun = used(&served);
    std::thread::sleep(Duration::from_secs(2));
    let spent = used(&served) - begun;
    assert!(spent < 500, "{spent} ms in two seconds");
    let deadline = Instant::now() + Duration::from_secs(60);
    while connections
        .iter()
        .any(|connection| has_another_end(connection.stream().get_ref(), served.address))
    {
        assert!(
            Instant::now() < deadline,
            "a connection is still there that nobody reads"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}
