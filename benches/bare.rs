//! What keywheel is measured against: a signature and an answer with nothing around them. `scripts/bench` runs it.
//!
//! `bare sign` signs for as many seconds as each line of its input says, and answers with a line each.
//! `bare serve ADDRESS FILE` serves the bytes of a file, whatever the path, with one worker.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;

/// As long as what is signed of an access token: header, dot and claims.
const SIGNED_BYTES: usize = 411;
/// Signatures between two looks at the clock.
const BATCH: u32 = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["sign"] => sign(),
        ["serve", address, file] => serve(address, std::fs::read(file)?.into()),
        // `cargo bench` and `cargo test --benches` run every bench; alone this one measures nothing.
        _ => writeln!(
            std::io::stderr(),
            "run scripts/bench, which drives: bare sign | bare serve ADDRESS FILE"
        )
        .map_err(Into::into),
    }
}

/// Answers each line of seconds with the number of signatures and the seconds that they took. Between two lines it sleeps,
/// so that its processor time can be read from outside, in the way it is read of a server.
fn sign() -> Result<(), Box<dyn Error>> {
    let key = KeyPair::generate(KeySize::Rsa2048)?;
    let random = SystemRandom::new();
    let message = [b'a'; SIGNED_BYTES];
    let mut signature = vec![0; key.public_modulus_len()];
    for line in std::io::stdin().lock().lines() {
        let enough = Duration::from_secs_f64(line?.trim().parse()?);
        let begun = Instant::now();
        let mut signatures = 0_u32;
        while begun.elapsed() < enough {
            for _ in 0..BATCH {
                key.sign(&RSA_PKCS1_SHA256, &random, &message, &mut signature)?;
            }
            signatures += BATCH;
        }
        writeln!(std::io::stdout(), "{signatures} {}", begun.elapsed().as_secs_f64())?;
    }
    Ok(())
}

fn serve(address: &str, body: web::Bytes) -> Result<(), Box<dyn Error>> {
    let server = HttpServer::new(move || {
        let body = body.clone();
        App::new().default_service(web::to(move || {
            let body = body.clone();
            async move { HttpResponse::Ok().content_type("application/json").body(body) }
        }))
    });
    Ok(actix_web::rt::System::new().block_on(server.workers(1).bind(address)?.run())?)
}
