//! RFC 4861's validation of neighbour discovery.

use std::net::Ipv6Addr;

use crate::support::{A6, B6, body, ones_complement, other, refused, v6_hops};
use wire::{MAX_ND_OPTIONS, MacAddr, Malformed, NdKind, NeighborDiscovery, Other};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const SOURCE_LLA: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 0xa];
const TARGET_LLA: [u8; 8] = [2, 1, 2, 0, 0, 0, 0, 0xa];
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const SOLICITED: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 7);

#[derive(Clone)]
struct Nd {
    src: Ipv6Addr,
    dst: Ipv6Addr,
    hop_limit: u8,
    message: Vec<u8>,
}

impl Nd {
    fn new(src: Ipv6Addr, dst: Ipv6Addr, icmp_type: u8, body: &[&[u8]]) -> Self {
        let mut message = vec![icmp_type, 0, 0, 0];
        message.extend(body.concat());
        Self {
            src,
            dst,
            hop_limit: 255,
            message,
        }
    }

    /// The frame, with a right `ICMPv6` checksum.
    fn frame(&self) -> Vec<u8> {
        let mut message = self.message.clone();
        let mut summed = [self.src.octets(), self.dst.octets()].concat();
        summed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        summed.extend([0, 0, 0, 58]);
        summed.extend(&message);
        let sum = ones_complement(&summed);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        v6_hops(self.src, self.dst, 58, self.hop_limit, &message)
    }

    #[track_caller]
    fn is(&self, kind: NdKind, target: Option<Ipv6Addr>, link_layer: Option<[u8; 6]>) {
        let expected = NeighborDiscovery {
            kind,
            src: self.src,
            dst: self.dst,
            target,
            link_layer: link_layer.map(MacAddr),
            hop_limit: 255,
        };
        other(&self.frame(), Other::Neighbor(expected));
    }

    #[track_caller]
    fn refused(&self) {
        refused(&self.frame(), Malformed::NdMalformed);
    }
}

fn solicitation(options: &[u8]) -> Nd {
    Nd::new(A6, SOLICITED, 135, &[&[0; 4], &B6.octets(), options])
}

fn advertisement(flags: u8, dst: Ipv6Addr, options: &[u8]) -> Nd {
    Nd::new(A6, dst, 136, &[&[flags, 0, 0, 0], &A6.octets(), options])
}

fn redirect(target: Ipv6Addr, destination: Ipv6Addr) -> Nd {
    Nd::new(
        ROUTER,
        B6,
        137,
        &[
            &[0; 4],
            &target.octets(),
            &destination.octets(),
            &TARGET_LLA,
        ],
    )
}

#[test]
fn the_five_messages() {
    solicitation(&SOURCE_LLA).is(NdKind::Solicitation, Some(B6), Some(MAC));
    solicitation(&[]).is(NdKind::Solicitation, Some(B6), None);
    advertisement(0x60, B6, &TARGET_LLA).is(NdKind::Advertisement, Some(A6), Some(MAC));
    Nd::new(A6, NODES, 133, &[&[0; 4], &SOURCE_LLA]).is(
        NdKind::RouterSolicitation,
        None,
        Some(MAC),
    );
    let mtu = [5, 1, 0, 0, 0, 0, 5, 0xdc];
    Nd::new(ROUTER, NODES, 134, &[&[0; 12], &mtu, &SOURCE_LLA]).is(
        NdKind::RouterAdvertisement,
        None,
        Some(MAC),
    );
    redirect(ROUTER, A6).is(NdKind::Redirect, Some(ROUTER), Some(MAC));
}

#[test]
fn hop_limit_code_and_checksum() {
    for hop_limit in [0, 1, 64, 254] {
        Nd {
            hop_limit,
            ..solicitation(&[])
        }
        .refused();
    }
    let mut nd = solicitation(&[]);
    nd.message[1] = 1;
    nd.refused();
    let mut frame = solicitation(&[]).frame();
    *frame.last_mut().unwrap() ^= 1;
    refused(&frame, Malformed::NdMalformed);
}

#[test]
fn minimum_lengths() {
    for (nd, least) in [
        (Nd::new(A6, NODES, 133, &[&[0; 4]]), 8),
        (Nd::new(ROUTER, NODES, 134, &[&[0; 12]]), 16),
        (solicitation(&[]), 24),
        (advertisement(0, B6, &[]), 24),
        (redirect(ROUTER, A6), 40),
    ] {
        for len in 4..least {
            let mut short = nd.clone();
            short.message.truncate(len);
            short.refused();
        }
        let mut enough = nd;
        enough.message.truncate(least);
        assert!(body(&enough.frame()).is_ok(), "{least}");
    }
}

#[test]
fn options() {
    // Length zero, anywhere.
    solicitation(&[1, 0, 2, 0, 0, 0, 0, 0xa]).refused();
    solicitation(&[SOURCE_LLA, [14, 0, 0, 0, 0, 0, 0, 0]].concat()).refused();
    // Past the end of the message.
    solicitation(&[14, 2, 0, 0, 0, 0, 0, 0]).refused();
    solicitation(&SOURCE_LLA[..7]).refused();
    solicitation(&[1]).refused();
    // An address that is not 6 bytes, or two of them.
    solicitation(&[&[1, 2][..], &[0; 14]].concat()).refused();
    solicitation(&[SOURCE_LLA, SOURCE_LLA].concat()).refused();
    // Unknown ones, and the other side's, are skipped.
    solicitation(&[&[14, 2][..], &[0; 14], &SOURCE_LLA].concat()).is(
        NdKind::Solicitation,
        Some(B6),
        Some(MAC),
    );
    solicitation(&TARGET_LLA).is(NdKind::Solicitation, Some(B6), None);
    advertisement(0, B6, &SOURCE_LLA).is(NdKind::Advertisement, Some(A6), None);
}

#[test]
fn option_count_is_bounded() {
    let filler = [14, 1, 0, 0, 0, 0, 0, 0];
    let most = vec![filler; MAX_ND_OPTIONS];
    solicitation(&most.concat()).is(NdKind::Solicitation, Some(B6), None);
    solicitation(&[&most.concat()[..], &filler].concat()).refused();
}

#[test]
fn duplicate_address_detection() {
    let dad = |dst, options: &[u8]| {
        Nd::new(
            Ipv6Addr::UNSPECIFIED,
            dst,
            135,
            &[&[0; 4], &B6.octets(), options],
        )
    };
    dad(SOLICITED, &[]).is(NdKind::Solicitation, Some(B6), None);
    dad(SOLICITED, &SOURCE_LLA).refused();
    dad(NODES, &[]).refused();
    dad(B6, &[]).refused();
    dad("ff02::1:fe00:7".parse().unwrap(), &[]).refused();
    dad("ff02::1:ffab:cdef".parse().unwrap(), &[]).is(NdKind::Solicitation, Some(B6), None);
}

#[test]
fn addresses_fit_the_kind() {
    let unspecified = Ipv6Addr::UNSPECIFIED;
    Nd::new(unspecified, NODES, 133, &[&[0; 4]]).is(NdKind::RouterSolicitation, None, None);
    Nd::new(unspecified, NODES, 133, &[&[0; 4], &SOURCE_LLA]).refused();
    Nd::new(A6, NODES, 134, &[&[0; 12]]).refused();
    Nd::new(A6, SOLICITED, 135, &[&[0; 4], &NODES.octets()]).refused();
    Nd::new(A6, B6, 136, &[&[0; 4], &NODES.octets()]).refused();
    advertisement(0x40, NODES, &[]).refused();
    advertisement(0x20, NODES, &[]).is(NdKind::Advertisement, Some(A6), None);
    redirect(A6, A6).is(NdKind::Redirect, Some(A6), Some(MAC));
    redirect(B6, A6).refused();
    redirect(ROUTER, NODES).refused();
    Nd {
        src: A6,
        ..redirect(ROUTER, A6)
    }
    .refused();
}

#[test]
fn not_behind_a_fragment_header() {
    // RFC 6980 section 5; an atomic one counts.
    let good = solicitation(&[]).frame();
    let mut frame = good[..54].to_vec();
    frame[20] = 44;
    let len = u16::try_from(good.len() - 54 + 8).unwrap();
    frame[18..20].copy_from_slice(&len.to_be_bytes());
    frame.extend([58, 0, 0, 0, 0, 0, 0, 1]);
    frame.extend(&good[54..]);
    refused(&frame, Malformed::NdMalformed);
}
