//! What must be true of a received frame's verdict.

use std::net::{IpAddr, SocketAddr};

use dpdk::mbuf::Checksum as Hardware;
use port_api::Kind;
use switch::classify::{Arrival, Nic, classify};
use switch::command::{Fate, Trace};
use switch::explain::{Names, explain};
use switch::tables::Holder;
use switch::trace::{MAX_NOTES, Notes};
use switch::verdict::{Copies, DropReason, Owner, Verdict};
use wire::{Body, Checksum, MacAddr, Origin, Other, Parsed, fill_l4, parse, verify_l4};

use crate::groups;
use crate::judge::{self, Ip, Seen, Sum, What};
use crate::model::{Place, Question};
use crate::world::{BROADCAST, World, vlan};

/// Classifies a frame that came to NIC port `nic`, and compares all that is said of it with the
/// judge and the model.
pub fn check(world: &World, frame: &[u8], nic: usize, origin: Origin, checksum: Hardware) {
    groups::check(frame);
    let nic = &world.nics[nic];
    let arrival = Arrival {
        frame,
        origin,
        checksum,
    };
    let verdict = classify(&arrival, nic, &world.tables, &mut ());
    let mut notes = Notes::default();
    let traced = classify(&arrival, nic, &world.tables, &mut notes);
    assert_eq!(verdict, traced, "a trace changes the verdict");
    assert!(notes.0.len() < MAX_NOTES);
    check_words(frame, verdict, notes);
    let parsed = match parse(frame, origin) {
        Ok(parsed) => parsed,
        Err(rule) => return assert_eq!(verdict, Verdict::Drop(rule.into())),
    };
    let seen = judge::read(frame).expect("the judge reads what is well-formed");
    check_reading(frame, &parsed, &seen);
    let sum = check_sums(frame, origin, &parsed, &seen);
    let expected = Expected {
        world,
        nic,
        frame,
        origin,
        place: Place {
            vlan: parsed.vlan,
            nic: nic.id,
        },
        sum,
        is_good: checksum == Hardware::Good,
    };
    expected.compare(&seen, verdict);
}

fn check_words(frame: &[u8], verdict: Verdict, notes: Notes) {
    let trace = Trace {
        nic: 0,
        from: None,
        frame: frame.to_vec(),
        notes,
        fate: Some(Fate::Received(verdict, None)),
    };
    let names = Names {
        of: &|slot| (slot == 1).then(|| "one".to_owned()),
        host: "msh0",
        sender: None,
    };
    let words = explain(&trace, &names).expect("there is a fate");
    if let Verdict::Vport { slot, .. } = verdict {
        assert!(words.verdict.starts_with(&format!("to vport {slot}")));
    }
}

/// What `wire` says is what the judge says, and lies inside the frame.
pub fn check_reading(frame: &[u8], parsed: &Parsed, seen: &Seen) {
    assert_eq!(parsed.vlan, vlan(seen.vlan));
    let inside = |start: u16, end: u16| {
        assert!(start <= end && usize::from(end) <= frame.len());
        (usize::from(start), usize::from(end))
    };
    let ip = match (&parsed.body, &seen.what) {
        (Body::Other(Other::NotIp { .. }), What::NotIp) => return,
        (Body::Other(Other::Arp(arp)), What::Arp { .. }) => {
            let What::Arp {
                op,
                sender_mac,
                sender,
                target_mac,
                target,
            } = seen.what
            else {
                unreachable!()
            };
            assert_eq!(
                (arp.op, arp.sender_mac, arp.target_mac),
                (op, sender_mac, target_mac)
            );
            assert_eq!(
                (arp.sender_ip, arp.target_ip),
                (only_v4(sender), only_v4(target))
            );
            return;
        }
        (_, What::Ip(ip)) => ip,
        _ => panic!("{parsed:?} is not {seen:?}"),
    };
    let whole = |proto, src: IpAddr, dst: IpAddr, ports, place| {
        assert_eq!((src, dst, proto), (ip.src, ip.dst, ip.proto));
        assert_eq!((ports, place), (ip.ports, (ip.l4, ip.end)));
        assert_eq!(ip.part, None);
    };
    match parsed.body {
        Body::V4(l4) => {
            let t = l4.tuple;
            let (src, dst) = (IpAddr::V4(t.src.into()), IpAddr::V4(t.dst.into()));
            let place = inside(l4.l4_offset, l4.end);
            whole(t.proto, src, dst, Some((t.src_port, t.dst_port)), place);
            assert!(l4.l3_offset < l4.l4_offset && l4.l4_offset < l4.payload_offset);
            inside(l4.payload_offset, l4.end);
        }
        Body::V6(l4) => {
            let t = l4.tuple;
            let (src, dst) = (IpAddr::V6(t.src.into()), IpAddr::V6(t.dst.into()));
            let place = inside(l4.l4_offset, l4.end);
            whole(t.proto, src, dst, Some((t.src_port, t.dst_port)), place);
            assert!(l4.l3_offset < l4.l4_offset && l4.l4_offset < l4.payload_offset);
            inside(l4.payload_offset, l4.end);
        }
        Body::Other(Other::Group(g)) => {
            whole(g.proto, g.src, g.dst, g.ports, inside(g.l4_offset, g.end));
            assert!(ip.is_group());
        }
        Body::Other(Other::Icmp(i)) => {
            let proto = if i.src.is_ipv4() { 1 } else { 58 };
            whole(proto, i.src, i.dst, None, inside(i.l4_offset, i.end));
            assert_eq!(Some(i.kind), ip.icmp_type(frame));
            if let Some(about) = i.about {
                let quoted = ip.quoted(frame).expect("a quoted packet");
                assert_eq!((about.src, about.dst), (quoted.src, quoted.dst));
                assert_eq!((about.proto, about.ports), (quoted.proto, quoted.ports));
            }
        }
        Body::Other(Other::Proto(p)) => {
            whole(p.proto, p.src, p.dst, None, inside(p.l4_offset, p.end));
        }
        Body::Other(Other::Neighbor(nd)) => {
            let (_, target) = ip.neighbour(frame).expect("neighbour discovery");
            assert_eq!((IpAddr::V6(nd.src), IpAddr::V6(nd.dst)), (ip.src, ip.dst));
            assert_eq!(nd.target.map(IpAddr::V6), nd.target.and(target));
        }
        Body::Other(Other::Fragment(f)) => {
            let part = ip.part.expect("a fragment");
            assert_eq!((f.src, f.dst, f.proto), (ip.src, ip.dst, ip.proto));
            assert_eq!((f.id, f.offset, f.more), (part.id, part.offset, part.more));
            assert_eq!(
                (f.ports, part.start + usize::from(f.len)),
                (ip.ports, ip.end)
            );
            assert!(f.len > 0 && ip.end <= frame.len());
        }
        Body::Other(Other::NotIp { .. } | Other::Arp(_)) => panic!("{parsed:?} is not {seen:?}"),
    }
}

fn only_v4(addr: IpAddr) -> std::net::Ipv4Addr {
    match addr {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => panic!("ARP for {addr}"),
    }
}

/// Verifying agrees with the judge; filling in makes the checksum right and changes nothing else.
fn check_sums(frame: &[u8], origin: Origin, parsed: &Parsed, seen: &Seen) -> Option<Sum> {
    let verified = verify_l4(frame, parsed);
    let found = match seen.what {
        What::Ip(ip) => ip.sum(frame),
        _ => None,
    };
    // A message to a group may be too short to have one.
    let found = found.filter(|_| verified.is_some() || !is_short_group(parsed));
    let expected = found.map(|(sum, _)| match sum {
        Sum::Good => Checksum::Good,
        Sum::Bad => Checksum::Bad,
        Sum::Absent => Checksum::Absent,
    });
    assert_eq!(verified, expected);
    let mut filled = frame.to_vec();
    assert_eq!(fill_l4(&mut filled, parsed), verified.is_some());
    assert_eq!(filled.len(), frame.len());
    match found {
        Some((_, at)) => {
            assert_eq!(parse(&filled, origin).as_ref(), Ok(parsed));
            assert_eq!(verify_l4(&filled, parsed), Some(Checksum::Good));
            let mut differing = (0..frame.len()).filter(|i| frame[*i] != filled[*i]);
            assert!(differing.all(|i| (at..at + 4).contains(&i)));
        }
        None => assert_eq!(filled, frame),
    }
    found.map(|(sum, _)| sum)
}

fn is_short_group(parsed: &Parsed) -> bool {
    matches!(parsed.body, Body::Other(Other::Group(g)) if g.end - g.l4_offset < 8)
}

struct Expected<'a> {
    world: &'a World,
    nic: &'a Nic,
    frame: &'a [u8],
    origin: Origin,
    place: Place,
    sum: Option<Sum>,
    /// The NIC says that the layer 4 checksum is right.
    is_good: bool,
}

impl Expected<'_> {
    fn compare(&self, seen: &Seen, verdict: Verdict) {
        match seen.what {
            What::NotIp => assert!(matches!(verdict, Verdict::Host(_))),
            // The NIC may be promiscuous.
            _ if seen.dst_mac.0[0] & 1 == 0 && seen.dst_mac != self.nic.mac => {
                assert!(matches!(verdict, Verdict::Host(_)));
            }
            What::Arp {
                op,
                sender,
                target_mac,
                target,
                ..
            } => {
                // An answer to a probe (RFC 5227) has no one to name as its target.
                let target = if target.is_unspecified() {
                    sender
                } else {
                    target
                };
                let answers = op == 2 && target_mac == self.nic.mac;
                self.compare_neighbour(target, answers, verdict);
            }
            What::Ip(ip) => self.compare_ip(seen, &ip, verdict),
        }
    }

    fn compare_ip(&self, seen: &Seen, ip: &Ip, verdict: Verdict) {
        match ip.neighbour(self.frame) {
            Some((135, Some(target))) => return self.compare_neighbour(target, false, verdict),
            Some((136, Some(target))) if ip.dst.is_multicast() => {
                return self.compare_neighbour(target, false, verdict);
            }
            Some((136, _)) => return self.compare_neighbour(ip.dst, true, verdict),
            Some(_) => return assert!(matches!(verdict, Verdict::Host(_))),
            None => {}
        }
        if ip.part.is_some() {
            return self.compare_fragment(seen, ip, verdict);
        }
        if ip.is_group() {
            return self.compare_group(ip, verdict);
        }
        if seen.dst_mac != self.nic.mac {
            let to_all = ip.dst == IpAddr::V4(BROADCAST) && seen.dst_mac == MacAddr::BROADCAST;
            return if to_all && ip.ports.is_some() {
                self.compare_group(ip, verdict);
            } else {
                assert!(matches!(verdict, Verdict::Host(_)));
            };
        }
        let owner = match self.about(ip) {
            Some(question) => self.world.model.owner(&question, self.place),
            None => self.owner(ip),
        };
        self.compare_owner(owner, verdict);
    }

    fn owner(&self, ip: &Ip) -> Option<Holder> {
        let question = Question {
            local: ip.dst,
            remote: ip.src,
            ports: ip.ports.map(|(src, dst)| (dst, src)),
            proto: ip.proto,
        };
        self.world.model.owner(&question, self.place)
    }

    /// What is asked of the packet that an ICMP error is about, if that came from here. Whether
    /// what is quoted is sound enough is `wire`'s say.
    fn about(&self, ip: &Ip) -> Option<Question> {
        let parsed = parse(self.frame, self.origin).ok()?;
        let Body::Other(Other::Icmp(icmp)) = parsed.body else {
            return None;
        };
        icmp.about?;
        let quoted = ip.quoted(self.frame)?;
        (quoted.src == ip.dst).then_some(Question {
            local: quoted.src,
            remote: quoted.dst,
            ports: quoted.ports,
            proto: quoted.proto,
        })
    }

    fn compare_owner(&self, owner: Option<Holder>, verdict: Verdict) {
        let Some(owner) = owner else {
            return assert!(matches!(verdict, Verdict::Host(_)), "{verdict:?}");
        };
        let bad = self.sum == Some(Sum::Bad) && owner.verify && !self.is_good;
        let verified = owner.verify && self.sum == Some(Sum::Good);
        let expected = if bad {
            Verdict::Drop(DropReason::L4Checksum)
        } else {
            Verdict::Vport {
                slot: owner.vport,
                checksum: self.is_good || verified,
            }
        };
        assert_eq!(verdict, expected);
    }

    fn compare_neighbour(&self, addr: IpAddr, answers: bool, verdict: Verdict) {
        let owner = self.world.model.owner_of_address(addr, self.place);
        let is_on = !self.world.model.on_address(addr, self.place).is_empty();
        match (owner, verdict) {
            (Some(owner), Verdict::Vport { slot, .. }) => assert_eq!(slot, owner),
            (None, Verdict::HostAndCopies(_, Copies::Askers { addr: of, vlan, .. })) => {
                assert!(answers && is_on && of == addr && vlan == self.place.vlan);
            }
            (None, Verdict::Host(_)) => assert!(!answers || !is_on),
            _ => panic!("{verdict:?} for {owner:?}"),
        }
    }

    fn compare_group(&self, ip: &Ip, verdict: Verdict) {
        let ports = ip.ports.filter(|_| ip.proto == 17);
        let to = ports.map(|(_, port)| SocketAddr::new(ip.dst, port));
        let model = &self.world.model;
        let (members, port) = match to {
            Some(to) if ip.dst.is_multicast() => (model.members(to, self.place), to.port()),
            Some(to) => {
                let to_all = match ip.dst {
                    IpAddr::V4(ip) => ip.is_broadcast() || ip.is_unspecified() || ip == BROADCAST,
                    IpAddr::V6(_) => false,
                };
                let on = || model.on_port(to.port(), self.place);
                (to_all.then(on).unwrap_or_default(), to.port())
            }
            None => Default::default(),
        };
        match verdict {
            Verdict::Host(_) => assert!(members.is_empty()),
            Verdict::HostAndCopies(_, Copies::Members { group, vlan }) => {
                assert!(!members.is_empty() && ip.dst.is_multicast());
                assert_eq!((Some(group), vlan), (to, self.place.vlan));
            }
            Verdict::HostAndCopies(_, Copies::Port { port: of, vlan }) => {
                assert!(!members.is_empty() && !ip.dst.is_multicast());
                assert_eq!((of, vlan), (port, self.place.vlan));
            }
            _ => panic!("{verdict:?} for a group"),
        }
    }

    fn compare_fragment(&self, seen: &Seen, ip: &Ip, verdict: Verdict) {
        let model = &self.world.model;
        let part = ip.part.expect("a fragment");
        if ip.is_group() || seen.dst_mac != self.nic.mac {
            return assert!(matches!(verdict, Verdict::Host(_)));
        }
        let owner = self.owner(ip);
        let owner = owner.map_or(Owner::Host, |owner| Owner::Vport(owner.vport));
        match verdict {
            Verdict::Fragment(of) => {
                assert_eq!(of.owner, (part.offset == 0).then_some(owner));
            }
            Verdict::Vport { slot, checksum } => {
                let alone = model.sole_owner(ip.dst, self.place) == Some(slot);
                // With ports that are elsewhere, only all of the address is enough to know.
                let portless = ip.dst.is_ipv4() && !matches!(ip.proto, 6 | 17 | 132);
                assert!(!checksum && (alone || portless && owner == Owner::Vport(slot)));
            }
            Verdict::Host(_) => {
                let no_one = model.on_address(ip.dst, self.place).is_empty();
                let portless = ip.dst.is_ipv4() && !matches!(ip.proto, 6 | 17 | 132);
                let any = model.has(Kind::AnyAddress);
                assert!(owner == Owner::Host && (portless || no_one && !any));
            }
            _ => panic!("{verdict:?} for a fragment"),
        }
    }
}
