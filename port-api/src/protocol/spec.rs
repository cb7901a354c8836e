//! What can be claimed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use wire::Vlan;

use super::Protocol;

/// Most claims in one request: each may bring a socket, and the kernel passes no more than 253 file
/// descriptors in a message (`SCM_MAX_FD`).
pub const MAX_BATCH: usize = 250;

/// A claim, as a stack asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClaimSpec {
    /// What is claimed.
    #[serde(flatten)]
    pub what: What,
    /// On which VLAN; untagged if none.
    #[serde(
        with = "vlan_text",
        default,
        skip_serializing_if = "vlan_text::is_none"
    )]
    pub vlan: Vlan,
    /// Have the switch verify layer 4 checksums that the NIC has not, and drop what is wrong.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verify: bool,
}

/// The kinds of claims. Where several fit a packet, the most specific decides: a connection, then a
/// tuple at one address, a tuple at any address, a protocol, an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum What {
    /// As connect(2): what one remote end sends to one local end.
    Connection {
        /// TCP, UDP or SCTP.
        protocol: Protocol,
        /// Local address and port.
        local: SocketAddr,
        /// Remote address and port.
        remote: SocketAddr,
    },
    /// As bind(2): a local address and port. The unspecified address stands for any address of
    /// its family; a multicast group (UDP only) is shared with the host and other stacks.
    Tuple {
        /// TCP, UDP or SCTP.
        protocol: Protocol,
        /// Local address and port.
        local: SocketAddr,
    },
    /// All packets of an IP protocol to an address that no connection or tuple covers.
    Protocol {
        /// IANA protocol number.
        proto: u8,
        /// Local address.
        addr: IpAddr,
    },
    /// An address as a whole, ARP and neighbour discovery included. Not one of the host's.
    Address {
        /// Local address.
        addr: IpAddr,
    },
}

/// A kind of claim, for a rule, a table or a message. In the order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A connection.
    Connection,
    /// A tuple at one address.
    Tuple,
    /// A tuple at any address.
    AnyAddress,
    /// A protocol at an address.
    Protocol,
    /// An address.
    Address,
    /// A UDP port of a multicast group.
    Group,
}

impl Kind {
    /// The kind's name, in kebab case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Tuple => "tuple",
            Self::AnyAddress => "any-address",
            Self::Protocol => "protocol",
            Self::Address => "address",
            Self::Group => "group",
        }
    }
}

impl What {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Connection { .. } => Kind::Connection,
            Self::Tuple { local, .. } if local.ip().is_unspecified() => Kind::AnyAddress,
            Self::Tuple { local, .. } if local.ip().is_multicast() => Kind::Group,
            Self::Tuple { .. } => Kind::Tuple,
            Self::Protocol { .. } => Kind::Protocol,
            Self::Address { .. } => Kind::Address,
        }
    }

    /// The local address.
    pub const fn addr(&self) -> IpAddr {
        match self {
            Self::Connection { local, .. } | Self::Tuple { local, .. } => local.ip(),
            Self::Protocol { addr, .. } | Self::Address { addr } => *addr,
        }
    }

    /// The IANA protocol number, if it is for one.
    pub const fn proto(&self) -> Option<u8> {
        match self {
            Self::Connection { protocol, .. } | Self::Tuple { protocol, .. } => {
                Some(protocol.number())
            }
            Self::Protocol { proto, .. } => Some(*proto),
            Self::Address { .. } => None,
        }
    }

    /// The local end, of those kinds that have one.
    pub const fn local(&self) -> Option<(Protocol, SocketAddr)> {
        match *self {
            Self::Connection {
                protocol, local, ..
            }
            | Self::Tuple { protocol, local } => Some((protocol, local)),
            _ => None,
        }
    }
}

impl ClaimSpec {
    /// An untagged claim whose packets' layer 4 checksums are the stack's business.
    pub const fn new(what: What) -> Self {
        Self {
            what,
            vlan: Vlan::NONE,
            verify: false,
        }
    }

    /// A local address and port of `protocol`; see [`What::Tuple`].
    pub const fn tuple(protocol: Protocol, local: SocketAddr) -> Self {
        Self::new(What::Tuple { protocol, local })
    }

    /// One connection.
    pub const fn connection(protocol: Protocol, local: SocketAddr, remote: SocketAddr) -> Self {
        Self::new(What::Connection {
            protocol,
            local,
            remote,
        })
    }

    /// A protocol at an address.
    pub const fn protocol(proto: u8, addr: IpAddr) -> Self {
        Self::new(What::Protocol { proto, addr })
    }

    /// A whole address.
    pub const fn address(addr: IpAddr) -> Self {
        Self::new(What::Address { addr })
    }

    /// On this VLAN.
    #[must_use]
    pub const fn on_vlan(mut self, vlan: Vlan) -> Self {
        self.vlan = vlan;
        self
    }

    /// With layer 4 checksums verified by the switch.
    #[must_use]
    pub const fn verified(mut self) -> Self {
        self.verify = true;
        self
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection {
                protocol,
                local,
                remote,
            } => write!(f, "{protocol} {local} with {remote}"),
            Self::Tuple { protocol, local } => write!(f, "{protocol} {local}"),
            Self::Protocol { proto, addr } => write!(f, "protocol {proto} at {addr}"),
            Self::Address { addr } => write!(f, "all of {addr}"),
        }
    }
}

impl fmt::Display for ClaimSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.vlan.is_none() {
            write!(f, "{}", self.what)
        } else {
            write!(f, "{} on VLAN {}", self.what, self.vlan)
        }
    }
}

/// `"100"`, or `"100.200"` for an inner tag 200.
mod vlan_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use wire::Vlan;

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub const fn is_none(vlan: &Vlan) -> bool {
        vlan.is_none()
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub fn serialize<S: Serializer>(vlan: &Vlan, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(vlan)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vlan, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(|_| D::Error::custom("not a VLAN"))
    }
}
