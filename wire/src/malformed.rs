//! Why a frame was refused: one name per rule.

use core::fmt;

/// One list for the variants, their names and `ALL`, so that they cannot drift apart.
macro_rules! malformed {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// A rule that a frame breaks. `repr(u8)` and dense from 0, so that
        /// `reason as usize` indexes an array of `Malformed::ALL.len()` counters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Malformed {
            $($(#[$doc])* $variant,)*
        }

        impl Malformed {
            /// Every reason, in the order of the discriminants.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The reason's name in kebab case, as counters and logs show it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

malformed! {
    /// Fewer bytes than an Ethernet header (14). Frames between 14 and 60 bytes pass: virtual
    /// links do not pad to the 64 bytes of IEEE 802.3 clause 4.2.3.3.
    Runt => "runt",
    /// More than 65535 bytes: offsets into a frame are `u16`, as is DPDK's `data_len`.
    Oversize => "oversize",
    /// A source address with the group bit set. IEEE 802.3 section 3.2.3 reserves it, and sends
    /// it as 0, in a source: nothing can be answered to.
    SourceMac => "source-mac",
    /// An IEEE 802.1Q tag that does not lie inside the frame.
    VlanTruncated => "vlan-truncated",
    /// A third tag: IEEE 802.1ad has a service and a customer tag.
    VlanDepth => "vlan-depth",
    /// VLAN id 4095, which IEEE 802.1Q reserves: it "shall not be configured [...] or
    /// transmitted in a tag header".
    VlanId => "vlan-id",
    /// The 28 bytes of RFC 826 are not there, or they are not for Ethernet (1) and IPv4
    /// (0x0800, lengths 6 and 4): "?Do I have the hardware type in ar$hrd? [...] ?Do I speak
    /// the protocol in ar$pro?"
    ArpMalformed => "arp-malformed",
    /// Fewer than the 20 bytes that RFC 791 section 3.1 fixes.
    Ipv4Truncated => "ipv4-truncated",
    /// RFC 1122 section 3.2.1.1: "A datagram whose version number is not 4 MUST be silently
    /// discarded."
    Ipv4Version => "ipv4-version",
    /// RFC 791 section 3.1: "Note that the minimum value for a correct header is 5." Also an
    /// IHL that reaches past the frame.
    Ipv4HeaderLength => "ipv4-header-length",
    /// RFC 791 section 3.1: "Total Length is the length of the datagram, measured in octets,
    /// including internet header and data." So neither less than the header nor more than the
    /// frame holds.
    Ipv4TotalLength => "ipv4-total-length",
    /// RFC 1122 section 3.2.1.2: "A host MUST verify the IP header checksum on every received
    /// datagram and silently discard every datagram that has a bad checksum."
    Ipv4Checksum => "ipv4-checksum",
    /// Options that do not keep to RFC 791 section 3.1: "The option-length octet counts the
    /// option-type octet and the option-length octet as well as the option-data octets." So at
    /// least 2, and not past the header.
    Ipv4Options => "ipv4-options",
    /// Loose or strict source routing (option 131 or 137): the sender would pick the way of the
    /// answers. RFC 7126 sections 4.3 and 4.4 want such packets dropped by default.
    Ipv4SourceRoute => "ipv4-source-route",
    /// A fragment with another one behind it whose payload is not a multiple of 8 bytes long (RFC
    /// 791 section 3.2: fragments are "in units of 8 octets"; RFC 8200 section 4.5: it "must be
    /// discarded"), or one without payload.
    FragmentLength => "fragment-length",
    /// A fragment that ends past byte 65535 of the whole packet, its header (IPv4) or extension
    /// headers (IPv6) included: RFC 791's Total Length and RFC 8200's Payload Length have 16 bits.
    /// RFC 8200 section 4.5: "that fragment must be discarded". The "ping of death".
    FragmentTooLong => "fragment-too-long",
    /// A first fragment without the whole fixed header of TCP (20), UDP (8) or SCTP (12), or one
    /// of TCP at offset 8: RFC 1858 sections 3 and 4, attacks on filters. For IPv6 all extension
    /// headers and a TCP header's options must be there too (RFC 7112).
    FragmentTiny => "fragment-tiny",
    /// Fewer than the 40 bytes of RFC 8200 section 3.
    Ipv6Truncated => "ipv6-truncated",
    /// RFC 8200 section 3: "Version: 4-bit Internet Protocol version number = 6."
    Ipv6Version => "ipv6-version",
    /// RFC 8200 section 3: "Length of the IPv6 payload, i.e., the rest of the packet following
    /// this IPv6 header". More than the frame holds, or a jumbogram: "The Payload Length field
    /// in the IPv6 header must be set to zero in every packet that carries the Jumbo Payload
    /// option" (RFC 2675 section 3), which no frame here can be large enough for.
    Ipv6PayloadLength => "ipv6-payload-length",
    /// An extension header that reaches past the payload, an option that reaches past its header
    /// (RFC 8200 section 4.2), or more than
    /// [`MAX_EXTENSION_HEADERS`](crate::MAX_EXTENSION_HEADERS) of them; RFC 8883 is
    /// about nodes that discard packets for such limits.
    Ipv6ExtensionHeaders => "ipv6-extension-headers",
    /// RFC 8200 section 4.1: the Hop-by-Hop Options header "is restricted to appear immediately
    /// after an IPv6 header only."
    Ipv6HopByHopNotFirst => "ipv6-hop-by-hop-not-first",
    /// A routing header of type 0 with segments left: RFC 5095 section 3 forbids to act on it, as
    /// it makes a packet visit the same machines over and over.
    Ipv6RoutingType0 => "ipv6-routing-type-0",
    /// RFC 1122 section 3.2.1.3: "A host MUST silently discard an incoming datagram containing
    /// an IP source address that is invalid": loopback, multicast or limited broadcast; for
    /// IPv6 RFC 4291 sections 2.5.3 and 2.7, and an IPv4-mapped address, which RFC 6890 section
    /// 2.2.3 allows neither as source nor as destination of a packet.
    MartianSource => "martian-source",
    /// RFC 1122 section 3.2.1.3 (g): loopback addresses "MUST NOT appear outside a host"; RFC
    /// 4291 section 2.5.3: "A packet received on an interface with a destination address of
    /// loopback must be dropped"; section 2.5.2: "The unspecified address must not be used as
    /// the destination address of IPv6 packets". Also an IPv4-mapped address.
    MartianDestination => "martian-destination",
    /// The source address is the destination address (CERT CA-1997-28, "Land"): a stack that
    /// answers, answers itself. For a packet that never left this machine
    /// ([`Origin::Local`](crate::Origin::Local)) only if the ports are the same too.
    Land => "land",
    /// The fixed header of TCP (20), UDP (8), SCTP (12), ICMP or `ICMPv6` (8) is not inside the IP
    /// payload.
    L4Truncated => "l4-truncated",
    /// RFC 768: "Length is the length in octets of this user datagram including this header and
    /// the data. (This means the minimum value of the length is eight.)" More than the IP
    /// payload is refused too; less is fine (RFC 9868 puts options there).
    UdpLength => "udp-length",
    /// RFC 9293 section 3.1: "The number of 32-bit words in the TCP header. This indicates where
    /// the data begins." So at least 5, and not past the IP payload.
    TcpDataOffset => "tcp-data-offset",
    /// TCP to a multicast or broadcast address. RFC 9293 section 3.9.2.3 wants a SYN "silently
    /// discarded", and without one nothing else has a connection to belong to.
    TcpToGroup => "tcp-to-group",
    /// Port 0 is reserved (RFC 6335 section 6); RFC 9260 section 3.1 forbids it. RFC 768 allows it as a UDP source: "If not
    /// used, a value of zero is inserted."
    ZeroPort => "zero-port",
    /// Neighbour discovery that fails RFC 4861 sections 6.1, 7.1 or 8.1: "The IP Hop Limit field
    /// has a value of 255, i.e., the packet could not possibly have been forwarded by a router",
    /// code 0, a valid checksum, a long enough message, addresses that fit the kind, and "All
    /// included options have a length that is greater than zero". Also a second link-layer
    /// address option: two readers could believe different ones; and one behind a Fragment header,
    /// which RFC 6980 section 5 wants ignored.
    NdMalformed => "nd-malformed",
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl core::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn all_is_dense_and_names_are_distinct_kebab_case() {
        let names: HashSet<_> = Malformed::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Malformed::ALL.len());
        for (index, reason) in Malformed::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            assert!(
                reason
                    .name()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            );
        }
        assert_eq!(Malformed::Ipv4Checksum.name(), "ipv4-checksum");
    }
}
