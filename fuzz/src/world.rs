//! A few addresses, ports and VLANs, so that claims and packets meet; claims drawn from the input.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use port_api::{ClaimSpec, Kind, Protocol, What};
use switch::classify::Nic;
use switch::flow_table::{Full, Seed};
use switch::key::Subject;
use switch::tables::{Holder, Tables};
use wire::{MacAddr, Vlan};

use crate::input::Input;
use crate::model::{Model, Place};

/// The vports that stacks are on.
pub const VPORTS: [u16; 3] = [1, 2, 3];

/// Addresses that packets come from and go to.
pub const ADDRS: [IpAddr; 10] = [
    v4([192, 0, 2, 1]),
    v4([192, 0, 2, 2]),
    v4([192, 0, 2, 9]),
    v4([198, 51, 100, 7]),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9]),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 1]),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 9]),
    v6([0xfd00, 0, 0, 0, 0, 0, 0, 7]),
];

/// Of these, the host's.
pub const HOSTS: [IpAddr; 4] = [ADDRS[0], ADDRS[1], ADDRS[4], ADDRS[7]];

/// Multicast groups.
pub const GROUPS: [IpAddr; 4] = [
    v4([224, 0, 0, 1]),
    v4([239, 1, 1, 1]),
    v6([0xff02, 0, 0, 0, 0, 0, 0, 1]),
    v6([0xff05, 0, 0, 0, 0, 0, 1, 3]),
];

/// The broadcast address of the host's subnet.
pub const BROADCAST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 255);

/// Ports.
pub const PORTS: [u16; 4] = [7, 53, 5000, 49152];

/// Protocols without ports, beside ICMP.
pub const PROTOS: [u8; 6] = [1, 58, 47, 50, 17, 132];

/// The MACs of the two NIC ports.
pub const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];

/// The VLANs' outer and inner ids.
pub const VLANS: [(u16, u16); 4] = [(0, 0), (5, 0), (5, 7), (7, 0)];

const PROTOCOLS: [Protocol; 3] = [Protocol::Udp, Protocol::Tcp, Protocol::Sctp];

/// The secret of the tables' hashes.
pub const SEED: Seed = Seed([0x1234_5678_9abc_def1, 0xfedc_ba98_7654_3211]);

/// Claims at most; tables are a quarter full then.
const CLAIMS: u32 = 16;

/// Entries in a bucket of a table.
const WAYS: usize = 8;

const fn v4(octets: [u8; 4]) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_octets(octets))
}

const fn v6(words: [u16; 8]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_segments(words))
}

/// A pair of [`VLANS`] as the switch has it.
pub fn vlan(ids: (u16, u16)) -> Vlan {
    Vlan::new(ids.0, ids.1).unwrap_or(Vlan::NONE)
}

/// NIC ports and claims.
pub struct World {
    /// The ports.
    pub nics: [Nic; 2],
    /// The claims, in the switch's tables.
    pub tables: Tables,
    /// The same claims.
    pub model: Model,
}

impl World {
    /// Claims and releases from the input: how many, then five bytes for each.
    pub fn new(input: &mut Input<'_>) -> Self {
        let mut world = Self {
            nics: [0, 1].map(nic),
            tables: Tables::new(CLAIMS * 2, SEED),
            model: Model::default(),
        };
        for _ in 0..u32::from(input.byte()) % (CLAIMS + 1) {
            if input.is_empty() {
                break;
            }
            world.change(input);
        }
        world
    }

    fn change(&mut self, input: &mut Input<'_>) {
        let change = draw(input);
        let Some((subject, holder)) = change else {
            let at = usize::from(input.byte());
            if at < self.model.0.len() {
                let (subject, holder) = self.model.0.swap_remove(at);
                let removed = self.tables.remove(&subject, holder.vport);
                assert_eq!(removed.map(|was| was.vport), Some(holder.vport));
            }
            return;
        };
        match self.tables.insert(&subject, holder) {
            Ok(before) => assert_eq!(self.model.insert(subject, holder), before),
            // In so small a table nine keys may happen to share a bucket.
            Err(Full) => assert!(self.model.0.len() >= WAYS),
        }
    }

    /// Compares all that can be asked of tables and model.
    pub fn assert_equal(&self) {
        for (nic, vlan) in VLANS
            .iter()
            .flat_map(|ids| [(0, vlan(*ids)), (1, vlan(*ids))])
        {
            let place = Place { vlan, nic };
            for addr in ADDRS {
                let zone = switch::key::zone_of(addr, nic);
                let on: Vec<u16> = self.tables.on_address(addr, zone, vlan).collect();
                let expected = self.model.on_address(addr, place);
                assert_eq!(sorted(on), expected.into_iter().collect::<Vec<_>>());
                assert_eq!(
                    self.tables.owner_of_address(addr, zone, vlan),
                    self.model.owner_of_address(addr, place)
                );
            }
            for port in PORTS {
                let on: Vec<u16> = self.tables.on_port(false, port, vlan).collect();
                let expected = self.model.on_port(port, place);
                assert_eq!(sorted(on), expected.into_iter().collect::<Vec<_>>());
                for group in GROUPS {
                    let group = SocketAddr::new(group, port);
                    let members: Vec<u16> = self.tables.members(group, vlan).collect();
                    let expected = self.model.members(group, place);
                    assert_eq!(sorted(members), expected.into_iter().collect::<Vec<_>>());
                }
            }
        }
        for (subject, holder) in &self.model.0 {
            let exact = self.tables.exact(subject);
            let expected = (subject.spec.what.kind() != Kind::Group).then_some(*holder);
            assert_eq!(exact, expected);
        }
        assert_eq!(self.tables.is_empty(), self.model.0.is_empty());
    }
}

fn sorted(mut vports: Vec<u16>) -> Vec<u16> {
    vports.sort_unstable();
    vports
}

/// A NIC port.
pub fn nic(id: u8) -> Nic {
    Nic {
        id,
        mac: MACS[usize::from(id)],
        broadcasts: [BROADCAST.to_bits()].into_iter().collect(),
        hosts: HOSTS.into_iter().collect(),
    }
}

/// A claim; None for a release.
pub fn draw(input: &mut Input<'_>) -> Option<(Subject, Holder)> {
    let (kind, who) = (input.byte(), input.byte());
    if kind % 7 == 6 {
        return None;
    }
    let (addr, ports, remote) = (input.byte(), input.byte(), input.byte());
    let port = |at: u8| PORTS[usize::from(at % 4)];
    let protocol = PROTOCOLS[usize::from(ports >> 2) % 3];
    let local = SocketAddr::new(ADDRS[usize::from(addr) % ADDRS.len()], port(ports));
    let group = GROUPS[usize::from(addr) % GROUPS.len()];
    let what = match kind % 7 {
        0 => What::Connection {
            protocol,
            local,
            remote: SocketAddr::new(peer_of(local.ip(), remote), port(ports >> 4)),
        },
        1 => What::Tuple { protocol, local },
        2 => What::Tuple {
            protocol,
            local: SocketAddr::new(unspecified(local.ip()), local.port()),
        },
        3 => What::Protocol {
            proto: PROTOS[usize::from(ports) % PROTOS.len()],
            addr: local.ip(),
        },
        4 => What::Address { addr: local.ip() },
        _ => What::Tuple {
            protocol: Protocol::Udp,
            local: SocketAddr::new(group, local.port()),
        },
    };
    let vport = VPORTS[usize::from(who % 4) % 3];
    let before = usize::from(who >> 2 & 3);
    let verify = who & 0x10 != 0;
    let spec = ClaimSpec {
        what,
        vlan: vlan(VLANS[usize::from(who >> 6)]),
        verify,
    };
    let subject = Subject {
        spec,
        nic: who >> 5 & 1,
    };
    let holder = Holder {
        vport,
        before: VPORTS.get(before).copied().filter(|v| *v != vport),
        verify,
    };
    Some((subject, holder))
}

/// An address of the same family.
pub fn peer_of(addr: IpAddr, at: u8) -> IpAddr {
    let same: Vec<IpAddr> = ADDRS
        .into_iter()
        .filter(|other| other.is_ipv4() == addr.is_ipv4())
        .collect();
    same[usize::from(at) % same.len()]
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
