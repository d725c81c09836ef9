use std::fmt;
use std::net::IpAddr;

/// The network that one attacker is likely to have to himself: a /24, or a /64 of IPv6. What failures are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AddressBlock(Option<IpAddr>);

impl AddressBlock {
    /// The block of an address, as far as it is known.
    pub(super) fn of(address: Option<IpAddr>) -> Self {
        AddressBlock(address)
    }
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("-"),
            Some(IpAddr::V4(address)) => {
                let [a, b, c, _] = address.octets();
                write!(f, "{a}.{b}.{c}.0/24")
            }
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                write!(f, "{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        }
    }
}
