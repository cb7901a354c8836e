//! What can become of a packet.

use std::net::IpAddr;

use wire::Malformed;

/// Where a received packet goes: exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To the stack that claimed the tuple, by its vport.
    Vport(u16),
    /// To the host's kernel.
    Host(HostReason),
    /// To the host's kernel, and a copy to the stacks that asked for it: an ARP reply or a
    /// neighbour advertisement about this address of theirs.
    HostAndAskers(IpAddr),
    /// To no one.
    Drop(DropReason),
}

/// Why a packet is the host's. Counted under its [`name`](Self::name).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HostReason {
    /// No one has claimed the tuple.
    Unclaimed,
    /// To a MAC that is not the port's.
    OtherMac,
    /// To a multicast group, or broadcast.
    Multicast,
    /// A fragment: its owner cannot be told from it.
    Fragment,
    /// ICMP or `ICMPv6`.
    Icmp,
    /// A protocol without ports.
    OtherProtocol,
    /// From an unspecified address: DHCP, duplicate address detection.
    UnspecifiedSource,
    /// ARP, IPv6 neighbour discovery.
    Neighbour,
    /// VLAN-tagged.
    Vlan,
    /// Neither IP nor ARP.
    NotIp,
}

impl HostReason {
    /// Names, in the order of the variants.
    pub const NAMES: [&'static str; 10] = [
        "unclaimed",
        "other-mac",
        "multicast",
        "fragment",
        "icmp",
        "other-protocol",
        "unspecified-source",
        "neighbour",
        "vlan",
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
    /// The vport is not in service: its stack broke the rings and is being taken out, or the host's
    /// is not yet in.
    VportShut = "vport-shut",
    /// The driver spread the packet over several buffers, or shares its buffer.
    Unfit = "unfit",
    /// A descriptor's offset or length leaves its buffer, or the frame is too long for the port.
    TxBounds = "tx-bounds",
    /// To a NIC port that does not exist, or that this worker does not serve.
    TxPort = "tx-port",
    /// The source MAC is not the port's.
    TxSourceMac = "tx-source-mac",
    /// No one has claimed the source tuple.
    TxNotClaimed = "tx-not-claimed",
    /// Another stack has claimed the source tuple.
    TxForeign = "tx-foreign",
    /// ARP other than a request that truly names a claimed address and the port's MAC.
    TxArp = "tx-arp",
    /// Neighbour discovery other than a solicitation that truly names a claimed address and the
    /// port's MAC.
    TxNeighbour = "tx-neighbour",
    /// ICMP or `ICMPv6`: only the host may speak for the address as a whole.
    TxIcmp = "tx-icmp",
    /// To a multicast group, or broadcast.
    TxMulticast = "tx-multicast",
    /// A fragment: its source port cannot be told from it.
    TxFragment = "tx-fragment",
    /// A protocol that cannot be claimed.
    TxProtocol = "tx-protocol",
    /// From an unspecified address.
    TxUnspecifiedSource = "tx-unspecified-source",
    /// VLAN-tagged.
    TxVlan = "tx-vlan",
    /// Neither IP nor ARP.
    TxNotIp = "tx-not-ip",
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
        assert_eq!(DropReason::TxNotIp.index(), DROP_REASONS - 1);
        assert_eq!(
            DropReason::from(Malformed::Runt).name(),
            Malformed::Runt.name()
        );
    }
}
