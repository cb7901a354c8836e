//! What [`parse`](crate::parse) says of a well-formed frame.

use core::net::IpAddr;

use crate::{Arp, Fragment, Icmp, NeighborDiscovery, Vlan};

/// Where a frame comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a NIC.
    Wire,
    /// From a stack or the host on this machine, to another one on it: source and destination
    /// address may be the same there, but not the ports too.
    Local,
}

/// A well-formed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The tags in front of the packet.
    pub vlan: Vlan,
    /// What is behind them.
    pub body: Body,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Whole TCP, UDP or SCTP over IPv4.
    V4(L4<TupleV4>),
    /// Whole TCP, UDP or SCTP over IPv6.
    V6(L4<TupleV6>),
    /// Well-formed, but nothing with a unicast tuple to look up.
    Other(Other),
}

/// The two ends and the protocol of an IPv4 packet. Host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TupleV4 {
    /// Source address.
    pub src: u32,
    /// Destination address.
    pub dst: u32,
    /// Source port; 0 only for UDP.
    pub src_port: u16,
    /// Destination port, never 0.
    pub dst_port: u16,
    /// [`TCP`](crate::proto::TCP), [`UDP`](crate::proto::UDP) or [`SCTP`](crate::proto::SCTP).
    pub proto: u8,
}

/// The two ends and the protocol of an IPv6 packet. Host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TupleV6 {
    /// Source address.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// Source port; 0 only for UDP.
    pub src_port: u16,
    /// Destination port, never 0.
    pub dst_port: u16,
    /// [`TCP`](crate::proto::TCP), [`UDP`](crate::proto::UDP) or [`SCTP`](crate::proto::SCTP).
    pub proto: u8,
}

/// A whole (unfragmented) TCP, UDP or SCTP packet from a specified to a unicast address. All
/// offsets are in bytes from the start of the frame, and
/// `l3_offset < l4_offset < payload_offset <= end <= frame.len()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L4<T> {
    /// Who talks to whom.
    pub tuple: T,
    /// Where the IP header starts: 14, 18 behind one tag, 22 behind two.
    pub l3_offset: u16,
    /// Where the TCP, UDP or SCTP header starts.
    pub l4_offset: u16,
    /// Where the TCP or UDP payload starts, or SCTP's first chunk.
    pub payload_offset: u16,
    /// End of the IP packet; what follows is Ethernet padding.
    pub end: u16,
}

/// What a frame without a unicast tuple is. Where several fit, the earlier one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// Neither IP nor ARP.
    NotIp {
        /// As in the frame, behind any tags; host byte order. Below 0x0600 it is an IEEE 802.3
        /// length.
        ethertype: u16,
    },
    /// ARP for IPv4 over Ethernet.
    Arp(Arp),
    /// A fragment of an IP packet, from and to whatever address. An IPv6 packet that is its own
    /// only fragment ("atomic", RFC 6946) is taken for the whole packet that it is.
    Fragment(Fragment),
    /// Neighbour discovery, to whatever address.
    Neighbor(NeighborDiscovery),
    /// To a group, or from nobody yet.
    Group(Group),
    /// ICMP or `ICMPv6` to a unicast address, other than neighbour discovery.
    Icmp(Icmp),
    /// IP to a unicast address with a protocol that has no ports.
    Proto(Proto),
}

/// A whole IP packet to a multicast group, to 255.255.255.255 or to 0.0.0.0 (4.2BSD's
/// broadcast), or from 0.0.0.0 or ::, as DHCP and multicast listener reports are sent. A directed
/// broadcast cannot be told from unicast here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// IP source, possibly unspecified.
    pub src: IpAddr,
    /// IP destination.
    pub dst: IpAddr,
    /// As in [`Proto`].
    pub proto: u8,
    /// Source and destination port of UDP, TCP or SCTP, whose headers are checked as for unicast.
    pub ports: Option<(u16, u16)>,
    /// Where the IP payload starts in the frame, behind any IPv6 extension headers.
    pub l4_offset: u16,
    /// End of the IP packet in the frame.
    pub end: u16,
}

/// A whole IP packet whose payload this crate does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proto {
    /// IP source.
    pub src: IpAddr,
    /// IP destination.
    pub dst: IpAddr,
    /// See [`proto`](crate::proto). With IPv6 extension headers it is the last of the chain;
    /// [`ROUTING`](crate::proto::ROUTING) if the packet has segments left to visit, as its
    /// destination is another one then.
    pub proto: u8,
    /// Where that protocol's header starts in the frame; `end` if there is nothing.
    pub l4_offset: u16,
    /// End of the IP packet in the frame.
    pub end: u16,
}
