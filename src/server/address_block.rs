use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network that one attacker is likely to have to himself: a /24, or a /64 of IPv6. What failures are counted by, and whoever
/// fetches keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct AddressBlock(Option<IpAddr>);

impl AddressBlock {
    /// The block of an address, as far as it is known.
    pub(super) fn of(address: Option<IpAddr>) -> Self {
        AddressBlock(address.map(|address| match address {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Ipv4Addr::new(a, b, c, 0).into()
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
        }))
    }
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("-"),
            Some(IpAddr::V4(network)) => write!(f, "{network}/24"),
            Some(IpAddr::V6(network)) => write!(f, "{network}/64"),
        }
    }
}
