//! Words of which some settings consist. Each complaint says what to write instead.

use std::net::IpAddr;

use ipnet::IpNet;

use super::LogSettings;
use crate::keys::RsaBits;

/// The size of a key.
pub(super) fn rsa_bits(text: &str) -> Result<RsaBits, String> {
    let bits: u32 = text
        .parse()
        .map_err(|_not_a_number| format!("\"{text}\" is no size of a key: write 2048, 3072 or 4096"))?;
    RsaBits::try_from(bits).map_err(|error| error.to_string())
}

/// A network, or a single address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let single = || text.parse::<IpAddr>().map(IpNet::from);
    let network: IpNet = text
        .parse()
        .or_else(|_not_a_network| single())
        .map_err(|_neither| format!("\"{text}\" is no network such as 10.0.0.0/8"))?;
    if network.prefix_len() == 0 {
        // Then every client could write the address that is held against it.
        return Err(format!(
            "\"{text}\" trusts everybody: name the network of your proxies, such as 10.0.0.0/8"
        ));
    }
    Ok(network)
}

/// A name or an address as `Host` has it, with a port if that is not the scheme's own.
pub(super) fn host(text: &str) -> Result<String, String> {
    let is_meant = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    match text.bytes().all(is_meant) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "\"{text}\" is no host such as auth.example.com or 10.0.0.1:8080"
        )),
    }
}

/// `json`, `text`, a level, or a format and a level separated by a comma; also directives as in `RUST_LOG`, where others stand `is_for_others`.
pub(super) fn log(text: &str, is_for_others: bool) -> Result<LogSettings, String> {
    let mut settings = LogSettings::default();
    let mut filter = Vec::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word {
            "json" => settings.json = Some(true),
            "text" => settings.json = Some(false),
            directive => {
                // Any other word would be taken for the name of a part, and all other parts would be silent.
                let level = directive.rsplit('=').next().unwrap_or_default();
                if !is_for_others && !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
                    return Err(format!(
                        "\"{level}\" is neither text nor json nor a level: write trace, debug, info, warn, error or off"
                    ));
                }
                filter.push(directive);
            }
        }
    }
    settings.filter = (!filter.is_empty()).then(|| filter.join(","));
    Ok(settings)
}

const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];
