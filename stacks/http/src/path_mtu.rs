//! Path MTU discovery (RFC 1191, RFC 8201), as far as it goes with smoltcp, which has none: it asks
//! the device for the MTU when its interface is made. So the least MTU that a router has told of
//! holds for all peers, until it is forgotten.

use smoltcp::time::{Duration, Instant};
use wire::{Body, Origin, Other, parse, proto};

/// RFC 1191 section 6.3: a larger MTU is to be tried no sooner than 10 minutes after "packet too big".
const LIFETIME: Duration = Duration::from_secs(600);

/// The least that is believed, in bytes of an IP packet: every IPv4 host takes 576 (RFC 791), and
/// every IPv6 link carries 1280 (RFC 8200 section 5). Less would only serve someone who lies.
const LEAST_V4: usize = 576;
const LEAST_V6: usize = 1280;

/// What is known of the paths to peers, in bytes of an IP packet.
#[derive(Debug, Default)]
pub struct PathMtu {
    /// In force, and until when.
    known: Option<(usize, Instant)>,
    /// The least that was heard of since it was last taken over.
    heard: Option<usize>,
}

impl PathMtu {
    /// A router has told of an MTU.
    pub fn hear(&mut self, mtu: usize) {
        self.heard = Some(self.heard.map_or(mtu, |least| least.min(mtu)));
    }

    /// Takes over what was heard, if it is less than what was known, or than `link`. True if the MTU
    /// changes.
    pub fn adapt(&mut self, link: usize, now: Instant) -> bool {
        let is_over = |(_, until): &(usize, Instant)| now >= *until;
        let forgotten = self.known.take_if(|known| is_over(known)).is_some();
        let now_known = self.known.map_or(link, |(mtu, _)| mtu);
        match self.heard.take() {
            Some(mtu) if mtu < now_known => {
                self.known = Some((mtu, now + LIFETIME));
                true
            }
            _ => forgotten,
        }
    }

    /// The MTU in force, if it is not the link's.
    pub fn get(&self) -> Option<usize> {
        self.known.map(|(mtu, _)| mtu)
    }
}

/// The MTU that a received frame tells of: "fragmentation needed" (RFC 1191) or "packet too big" (RFC
/// 4443 section 3.2), about a packet from here. The switch has seen to it that it is about a
/// packet of a claim of this stack's.
pub fn told_by(frame: &[u8]) -> Option<usize> {
    let by_header = match frame.get(12..14)? {
        [0x08, 0x00] => (frame.get(23)?, proto::ICMP),
        [0x86, 0xdd] => (frame.get(20)?, proto::ICMPV6),
        _ => return None,
    };
    if *by_header.0 != by_header.1 {
        return None;
    }
    let Ok(parsed) = parse(frame, Origin::Wire) else {
        return None;
    };
    let Body::Other(Other::Icmp(icmp)) = parsed.body else {
        return None;
    };
    let header = frame.get(icmp.l4_offset.into()..)?.first_chunk::<8>()?;
    let [.., high, low] = *header;
    let next_hop = usize::from(u16::from_be_bytes([high, low]));
    icmp.about.filter(|about| about.src == icmp.dst)?;
    match (icmp.dst.is_ipv4(), icmp.kind, icmp.code) {
        // Routers older than RFC 1191 say 0.
        (true, 3, 4) => Some(next_hop.max(LEAST_V4)),
        // 32 bits of which any that matter are in the lower 16.
        (false, 2, _) if header[4..6] == [0, 0] => Some(next_hop.max(LEAST_V6)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::MacAddr;
    use wire::emit::{Eth, Icmp, Udp, quote};

    const ETH: Eth = Eth {
        dst: MacAddr([2, 0, 0, 0, 0, 1]),
        src: MacAddr([2, 0, 0, 0, 0, 2]),
    };

    /// From a router at `router`, to `to`, about a packet from `from` to `peer`.
    fn too_big([router, to, from, peer]: [&str; 4], kind: u8, code: u8, rest: u32) -> Vec<u8> {
        let mut packet = vec![0; 200];
        let udp = Udp {
            eth: ETH,
            src: (from.parse::<std::net::IpAddr>().unwrap(), 80).into(),
            dst: (peer.parse::<std::net::IpAddr>().unwrap(), 1000).into(),
            payload: &[0; 50],
        };
        let len = udp.write(&mut packet).unwrap();
        let icmp = Icmp {
            eth: ETH,
            src: router.parse().unwrap(),
            dst: to.parse().unwrap(),
            kind,
            code,
            rest,
            body: quote(&packet[..len]).unwrap(),
        };
        let mut frame = vec![0; 400];
        let len = icmp.write(&mut frame).unwrap();
        frame.truncate(len);
        frame
    }

    #[test]
    fn routers_tell_of_the_mtu() {
        let v4 = ["192.0.2.9", "192.0.2.1", "192.0.2.1", "198.51.100.1"];
        let v6 = ["2001:db8::9", "2001:db8::1", "2001:db8::1", "2001:db8:1::1"];
        let other = ["192.0.2.9", "192.0.2.1", "192.0.2.2", "198.51.100.1"];
        assert_eq!(told_by(&too_big(v4, 3, 4, 1280)), Some(1280));
        assert_eq!(told_by(&too_big(v4, 3, 4, 0)), Some(LEAST_V4));
        assert_eq!(told_by(&too_big(v4, 3, 3, 1280)), None);
        assert_eq!(told_by(&too_big(v4, 11, 4, 1280)), None);
        assert_eq!(told_by(&too_big(other, 3, 4, 1280)), None);
        assert_eq!(told_by(&too_big(v6, 2, 0, 1400)), Some(1400));
        assert_eq!(told_by(&too_big(v6, 2, 0, 100)), Some(LEAST_V6));
        assert_eq!(told_by(&too_big(v6, 2, 0, 1 << 16)), None);
        assert_eq!(told_by(&too_big(v6, 1, 0, 1400)), None);
        assert_eq!(told_by(&[0; 10]), None);
    }

    #[test]
    fn the_least_mtu_holds_until_it_is_forgotten() {
        let start = Instant::from_secs(1000);
        let mut known = PathMtu::default();
        assert!(!known.adapt(1500, start));
        known.hear(1500);
        assert!(!known.adapt(1500, start), "that is no news");
        known.hear(1280);
        known.hear(1400);
        assert!(known.adapt(1500, start));
        assert_eq!(known.get(), Some(1280));
        known.hear(1300);
        assert!(!known.adapt(1500, start + Duration::from_secs(100)));
        assert_eq!(known.get(), Some(1280));
        let later = start + LIFETIME;
        assert!(known.adapt(1500, later));
        assert_eq!(known.get(), None);
        assert!(!known.adapt(1500, later));
    }
}
