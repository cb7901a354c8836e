//! What must be true of a frame that a stack may send.

use std::net::IpAddr;

use port_api::Kind;
use switch::classify::Nic;
use switch::egress::{Permit, check as permit};
use switch::trace::Notes;
use switch::verdict::DropReason;
use wire::{Body, Origin, parse};

use crate::judge::{self, Ip, Seen, What};
use crate::model::{Place, Question};
use crate::received::check_reading;
use crate::world::{HOSTS, VPORTS, World, vlan};

/// Has every stack try to send a frame through NIC port `nic`.
pub fn check(world: &World, frame: &[u8], nic: usize) {
    for vport in VPORTS {
        let nic = &world.nics[nic];
        let permitted = permit(frame, nic, vport, &world.tables, &mut ());
        let traced = permit(frame, nic, vport, &world.tables, &mut Notes::default());
        assert_eq!(permitted, traced, "a trace changes the verdict");
        let sender = Sender {
            world,
            nic,
            frame,
            vport,
        };
        match permitted {
            Ok(permit) => sender.check_permit(permit),
            Err(reason) => sender.check_refusal(reason),
        }
    }
}

struct Sender<'a> {
    world: &'a World,
    nic: &'a Nic,
    frame: &'a [u8],
    vport: u16,
}

impl Sender<'_> {
    fn is_local(&self) -> bool {
        self.frame.starts_with(&self.nic.mac.0)
    }

    fn origin(&self) -> Origin {
        if self.is_local() {
            Origin::Local
        } else {
            Origin::Wire
        }
    }

    fn place(&self, seen: &Seen) -> Place {
        Place {
            vlan: vlan(seen.vlan),
            nic: self.nic.id,
        }
    }

    /// Whether the stack may speak for all of an address.
    fn owns(&self, addr: IpAddr, place: Place) -> bool {
        self.world.model.owner_of_address(addr, place) == Some(self.vport)
    }

    fn is_on(&self, addr: IpAddr, place: Place) -> bool {
        let on = self.world.model.on_address(addr, place);
        on.contains(&self.vport)
    }

    fn has(&self, question: &Question, place: Place) -> bool {
        let owner = self.world.model.owner(question, place);
        owner.is_some_and(|owner| owner.vport == self.vport || owner.before == Some(self.vport))
    }

    fn has_source(&self, ip: &Ip, place: Place) -> bool {
        let question = Question {
            local: ip.src,
            remote: ip.dst,
            ports: ip.ports,
            proto: ip.proto,
        };
        self.is_here(ip.src, place) && self.has(&question, place)
    }

    /// A tuple at any address stands for those on this machine: the host's, and those with claims.
    fn is_here(&self, addr: IpAddr, place: Place) -> bool {
        let model = &self.world.model;
        let is_claimed = !model.on_address(addr, place).is_empty();
        !model.has(Kind::AnyAddress) || HOSTS.contains(&addr) || is_claimed
    }

    fn check_permit(&self, permit: Permit) {
        let parsed = parse(self.frame, self.origin()).expect("a well-formed frame");
        let seen = judge::read(self.frame).expect("the judge reads what is well-formed");
        check_reading(self.frame, &parsed, &seen);
        assert_eq!(seen.src_mac, self.nic.mac, "another's MAC");
        let place = self.place(&seen);
        match seen.what {
            What::NotIp => panic!("neither IP nor ARP"),
            What::Arp {
                op,
                sender_mac,
                sender,
                target,
                ..
            } => {
                assert_eq!(sender_mac, self.nic.mac, "another's MAC in ARP");
                let probe = sender.is_unspecified() && self.owns(target, place) && op == 1;
                let asks = op == 1 && sender != target && self.is_on(sender, place);
                assert!(
                    probe || asks || self.owns(sender, place),
                    "another's address"
                );
                assert_eq!(permit == Permit::Question, probe || asks);
            }
            What::Ip(ip) => self.check_ip(&seen, &ip, permit),
        }
    }

    fn check_ip(&self, seen: &Seen, ip: &Ip, permit: Permit) {
        let place = self.place(seen);
        if let Some((kind, target)) = ip.neighbour(self.frame) {
            return self.check_neighbour(ip, kind, target, place);
        }
        assert!(!ip.src.is_unspecified() && self.is_here(ip.src, place));
        let to_group = ip.is_group();
        assert!(
            to_group || seen.dst_mac.0[0] & 1 == 0,
            "unicast to a group's MAC"
        );
        if let Some(part) = ip.part {
            let whole = self.world.model.sole_owner(ip.src, place) == Some(self.vport);
            let portless = ip.src.is_ipv4() && !matches!(ip.proto, 6 | 17 | 132);
            match permit {
                Permit::Fragment(fragment, vlan) => {
                    assert_eq!((fragment.offset, fragment.id), (part.offset, part.id));
                    assert_eq!(vlan, place.vlan);
                    assert!(part.offset > 0 || self.has_source(ip, place));
                }
                _ => assert!(whole || portless && self.has_source(ip, place)),
            }
            return;
        }
        assert_eq!(permit, Permit::Packet);
        if to_group {
            assert_eq!(ip.proto, 17);
        }
        match ip.icmp_type(self.frame) {
            None => assert!(self.has_source(ip, place), "another's packet"),
            Some(kind) => self.check_icmp(ip, kind, place),
        }
    }

    /// About a packet to this stack, from where that went to, back to where it came from.
    fn check_icmp(&self, ip: &Ip, kind: u8, place: Place) {
        let is_echo = match ip.src {
            IpAddr::V4(_) => [0, 8].contains(&kind),
            IpAddr::V6(_) => [128, 129].contains(&kind),
        };
        if is_echo {
            return assert!(self.has_source(ip, place), "another's echo");
        }
        let quoted = ip.quoted(self.frame).expect("an error about something");
        assert_eq!((quoted.dst, quoted.src), (ip.src, ip.dst));
        let question = Question {
            local: quoted.dst,
            remote: quoted.src,
            ports: quoted.ports.map(|(src, dst)| (dst, src)),
            proto: quoted.proto,
        };
        assert!(self.has(&question, place), "about another's packet");
    }

    fn check_neighbour(&self, ip: &Ip, kind: u8, target: Option<IpAddr>, place: Place) {
        let target = target.expect("solicitations and advertisements have one");
        match kind {
            135 => {
                let probe = ip.src.is_unspecified() && self.owns(target, place);
                let asks = ip.src != target && self.is_on(ip.src, place);
                assert!(probe || asks, "another's solicitation");
            }
            136 => {
                assert!(self.owns(target, place), "another's address");
                assert!(target == ip.src || self.is_on(ip.src, place));
            }
            _ => panic!("neighbour discovery of type {kind}"),
        }
        let options = self.frame.get(ip.l4 + 24..ip.end).unwrap_or_default();
        let wanted = if kind == 135 { 1 } else { 2 };
        let mut named = options.chunks_exact(8).filter(|option| option[0] == wanted);
        let all_of_eight = options.chunks_exact(8).all(|option| option[1] == 1);
        assert!(!all_of_eight || named.all(|option| option[2..] == self.nic.mac.0));
    }

    /// What is a stack's own is not refused.
    fn check_refusal(&self, reason: DropReason) {
        let parsed = match parse(self.frame, self.origin()) {
            Ok(parsed) => parsed,
            Err(rule) => return assert_eq!(reason, rule.into()),
        };
        let seen = judge::read(self.frame).expect("the judge reads what is well-formed");
        if seen.src_mac != self.nic.mac {
            return assert_eq!(reason, DropReason::TxSourceMac);
        }
        let What::Ip(ip) = seen.what else { return };
        let place = self.place(&seen);
        if matches!(parsed.body, Body::V4(_) | Body::V6(_)) {
            let to_group_mac = seen.dst_mac.0[0] & 1 == 1;
            let expected = match (self.has_source(&ip, place), to_group_mac) {
                (true, true) => DropReason::TxGroupMac,
                (true, false) => panic!("the stack's own packet is refused: {reason:?}"),
                (false, _) if self.any_has_source(&ip, place) => DropReason::TxForeign,
                (false, _) => DropReason::TxNotClaimed,
            };
            assert_eq!(reason, expected);
        }
    }

    fn any_has_source(&self, ip: &Ip, place: Place) -> bool {
        VPORTS.into_iter().any(|vport| {
            let other = Sender { vport, ..*self };
            other.has_source(ip, place)
        })
    }
}
