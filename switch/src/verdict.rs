//! What can become of a packet.

use std::net::{IpAddr, SocketAddr};

use wire::{Fragment, Malformed, Vlan};

/// Where a received packet goes: exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To the stack that owns it.
    Vport {
        /// The stack's vport.
        slot: u16,
        /// Whether the layer 4 checksum is known to be right.
        checksum: bool,
    },
    /// To the host's kernel.
    Host(HostReason),
    /// To the host's kernel, and a copy to stacks that have a part in it.
    HostAndCopies(HostReason, Copies),
    /// To whoever gets the first fragment of the same packet.
    Fragment(FragmentOf),
    /// To no one.
    Drop(DropReason),
}

/// Who gets a copy beside the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// The stacks with a claim on this address that have asked for a neighbour: it is an ARP reply
    /// or a neighbour advertisement.
    Askers {
        /// Whom the answer is for.
        addr: IpAddr,
        /// Of a link-local address.
        zone: u8,
        /// Where.
        vlan: Vlan,
    },
    /// The members of a multicast group.
    Members {
        /// Group and UDP port.
        group: SocketAddr,
        /// Where.
        vlan: Vlan,
    },
    /// The stacks with a claim on the UDP port of an IPv4 broadcast.
    Port {
        /// The port.
        port: u16,
        /// Where.
        vlan: Vlan,
    },
}

/// A fragment that may be a stack's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentOf {
    /// What its headers say.
    pub fragment: Fragment,
    /// Where.
    pub vlan: Vlan,
    /// Of a first fragment, who gets the packet; None for others.
    pub owner: Option<Owner>,
}

/// Who gets a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The stack on this vport.
    Vport(u16),
    /// The host's kernel.
    Host,
}

/// Why a packet is the host's. Counted under its [`name`](Self::name).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HostReason {
    /// No one has claimed the tuple.
    Unclaimed,
    /// To a MAC that is not the port's.
    OtherMac,
    /// To a multicast group or broadcast, or from an unspecified address.
    Group,
    /// A fragment of a packet that is the host's.
    Fragment,
    /// ICMP or `ICMPv6`, not an error about a stack's packet.
    Icmp,
    /// A protocol without ports.
    OtherProtocol,
    /// ARP, IPv6 neighbour discovery.
    Neighbour,
    /// Neither IP nor ARP.
    NotIp,
}

impl HostReason {
    /// Names, in the order of the variants.
    pub const NAMES: [&'static str; 8] = [
        "unclaimed",
        "other-mac",
        "group",
        "fragment",
        "icmp",
        "other-protocol",
        "neighbour",
        "not-ip",
    ];

    /// The reason's name, in kebab case.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

macro_rules! own_reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a packet went to no one. Counted under its [`name`](Self::name).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum DropReason {
            /// The frame breaks a rule of its protocol.
            Malformed(Malformed),
            $($(#[$doc])* $variant,)*
        }

        /// Order gives the counters' indexes, behind those of [`Malformed`].
        #[derive(Clone, Copy)]
        enum Own { $($variant,)* }

        const OWN_NAMES: &[&str] = &[$($name,)*];

        impl DropReason {
            /// Index of the reason's counter, below [`DROP_REASONS`].
            #[inline]
            pub const fn index(self) -> usize {
                match self {
                    Self::Malformed(rule) => rule as usize,
                    $(Self::$variant => Malformed::ALL.len() + Own::$variant as usize,)*
                }
            }
        }
    };
}

own_reasons! {
    /// The vport's `rx` ring has no room: the stack does not keep up.
    RingFull = "ring-full",
    /// The stack holds as many buffers as its quota allows.
    Quota = "quota",
    /// The vport's limit on what it receives.
    RateLimit = "rate-limit",
    /// The vport is not in service: its stack broke the rings and is being taken out, or the host's
    /// is not yet in.
    VportShut = "vport-shut",
    /// No one is connected to the vhost port, or its driver is not ready.
    NotConnected = "not-connected",
    /// The vhost port's driver has no buffer that the packet fits into.
    GuestBuffers = "guest-buffers",
    /// The driver spread the packet over several buffers, or shares its buffer.
    Unfit = "unfit",
    /// The layer 4 checksum is wrong, and the claim asks for it to be verified.
    L4Checksum = "l4-checksum",
    /// A fragment of bytes that have come already (RFC 8200 section 4.5, RFC 5722: duplicates may be
    /// dropped).
    FragmentDuplicate = "fragment-duplicate",
    /// A fragment that overlaps an earlier one in part, or comes after one that did: the whole packet
    /// is given up (RFC 5722 section 4).
    FragmentOverlap = "fragment-overlap",
    /// The first fragment of the packet has not come in time, or at all.
    FragmentTimeout = "fragment-timeout",
    /// Too many fragments wait for their first one; this was the oldest.
    FragmentFlood = "fragment-flood",
    /// A descriptor's offset or length leaves its buffer, or the frame is too long for the port.
    TxBounds = "tx-bounds",
    /// A guest leaves a checksum or segmentation to the switch that cannot be done: it does not fit the frame.
    TxOffload = "tx-offload",
    /// To a NIC port that does not exist, or that this worker does not serve.
    TxPort = "tx-port",
    /// The source MAC is not the port's.
    TxSourceMac = "tx-source-mac",
    /// IP unicast in a link-layer broadcast or multicast (RFC 1122 section 3.3.6).
    TxGroupMac = "tx-group-mac",
    /// No one has claimed the source tuple.
    TxNotClaimed = "tx-not-claimed",
    /// Another stack has claimed the source tuple.
    TxForeign = "tx-foreign",
    /// ARP in another name than that of a claimed address and the port's MAC, or other than a
    /// request where the address is the host's too.
    TxArp = "tx-arp",
    /// Neighbour discovery in another name than that of a claimed address and the port's MAC, or
    /// other than a solicitation where the address is the host's too.
    TxNeighbour = "tx-neighbour",
    /// An ICMP message that is neither an error about a packet to this stack nor an echo from an
    /// address that is wholly its own.
    TxIcmp = "tx-icmp",
    /// To a multicast group or broadcast, other than UDP from a claimed tuple.
    TxMulticast = "tx-multicast",
    /// A fragment whose first one has not been sent by this stack.
    TxFragment = "tx-fragment",
    /// From an unspecified address.
    TxUnspecifiedSource = "tx-unspecified-source",
    /// Neither IP nor ARP.
    TxNotIp = "tx-not-ip",
    /// To the port's own MAC, and no one on this machine wants it but its sender.
    TxLocal = "tx-local",
}

/// How many drop reasons there are.
pub const DROP_REASONS: usize = Malformed::ALL.len() + OWN_NAMES.len();

impl DropReason {
    /// The name of the reason with this [`index`](Self::index).
    ///
    /// # Panics
    /// If there is none.
    pub fn name_of(index: usize) -> &'static str {
        match index.checked_sub(Malformed::ALL.len()) {
            None => Malformed::ALL[index].name(),
            Some(own) => OWN_NAMES[own],
        }
    }

    /// The reason's name, in kebab case.
    pub fn name(self) -> &'static str {
        Self::name_of(self.index())
    }
}

impl From<Malformed> for DropReason {
    fn from(rule: Malformed) -> Self {
        Self::Malformed(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: HashSet<_> = (0..DROP_REASONS).map(DropReason::name_of).collect();
        assert_eq!(names.len(), DROP_REASONS);
        assert_eq!(DropReason::RingFull.name(), "ring-full");
        assert_eq!(HostReason::NotIp.name(), "not-ip");
        assert_eq!(HostReason::Fragment.name(), "fragment");
        assert_eq!(DropReason::TxLocal.index(), DROP_REASONS - 1);
        assert_eq!(
            DropReason::from(Malformed::Runt).name(),
            Malformed::Runt.name()
        );
    }
}
