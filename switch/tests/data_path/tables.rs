//! The tables of claims equal a list that is searched from front to back.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use proptest::sample::select;
use switch::key::{Ends, Subject, zone_of};
use switch::tables::{Holder, Tables};

use crate::common::model::{Model, Packet};
use crate::common::recipe::{local, port, remote, subject, vlan};
use crate::common::{SEED, spec_of};

#[derive(Clone, Debug)]
enum Change {
    Insert(Subject, Holder),
    Remove(Subject, u16),
}

fn change() -> impl Strategy<Value = Change> {
    let before = prop::option::of(2u16..6);
    let insert = (subject(), 2u16..6, before).prop_map(|(subject, vport, before)| {
        let is_group = subject.spec.what.addr().is_multicast();
        let holder = Holder {
            vport,
            before: before.filter(|_| !is_group),
            verify: subject.spec.verify,
        };
        Change::Insert(subject, holder)
    });
    prop_oneof![
        3 => insert,
        1 => (subject(), 2u16..6).prop_map(|(subject, vport)| Change::Remove(subject, vport)),
    ]
}

fn packet() -> impl Strategy<Value = Packet> {
    let ends = any::<bool>().prop_flat_map(|is_v4| (local(is_v4), remote(is_v4)));
    let proto = select(&[6u8, 17, 132, 1, 47, 58][..]);
    let ports = (port(), port(), any::<bool>());
    let all = (ends, proto, ports, vlan(), 0u8..2);
    all.prop_map(
        |((local, remote), proto, (ours, theirs, is_first), vlan, nic)| {
            let has_ports = matches!(proto, 6 | 17 | 132) && is_first;
            Packet {
                proto,
                local,
                remote,
                ports: has_ports.then_some((ours, theirs)),
                vlan,
                nic,
            }
        },
    )
}

fn find(tables: &Tables, packet: &Packet) -> Option<Holder> {
    let (local_port, remote_port) = packet.ports.unwrap_or_default();
    let ends = Ends {
        local: packet.local,
        remote: packet.remote,
        local_port,
        remote_port,
        proto: packet.proto,
        vlan: packet.vlan,
        zone: zone_of(packet.local, packet.nic),
    };
    tables.find(&ends, packet.ports.is_some(), &mut ())
}

fn set(vports: impl ExactSizeIterator<Item = u16>) -> BTreeSet<u16> {
    let count = vports.len();
    let set: BTreeSet<_> = vports.collect();
    assert_eq!(set.len(), count, "each once");
    set
}

proptest! {
    #[test]
    fn they_equal_a_list(
        changes in prop::collection::vec(change(), 1..50),
        packets in prop::collection::vec(packet(), 40),
    ) {
        let mut tables = Tables::new(64, SEED);
        let mut model = Model::default();
        for change in changes {
            match change {
                Change::Insert(subject, holder) => {
                    let before = tables.insert(&subject, holder);
                    prop_assert_eq!(before, Ok(model.insert(subject, holder)));
                }
                Change::Remove(subject, vport) => {
                    let before = tables.remove(&subject, vport);
                    let expected = model.remove(&subject, vport);
                    if !subject.spec.what.addr().is_multicast() {
                        prop_assert_eq!(before, expected);
                    }
                }
            }
            for packet in &packets {
                prop_assert_eq!(find(&tables, packet), model.owner(packet), "{:?}", packet);
                compare_places(&tables, &model, packet)?;
            }
            let nothing = model.claims.is_empty();
            prop_assert_eq!(tables.is_empty(), nothing);
        }
    }
}

/// What is asked beside who owns a packet.
fn compare_places(tables: &Tables, model: &Model, packet: &Packet) -> Result<(), TestCaseError> {
    let Packet {
        local, vlan, nic, ..
    } = *packet;
    let zone = zone_of(local, nic);
    let owner = model.owner_of_address(local, vlan, nic);
    let on_address = model.on_address(local, vlan, nic);
    prop_assert_eq!(tables.owner_of_address(local, zone, vlan), owner);
    prop_assert_eq!(&set(tables.on_address(local, zone, vlan)), &on_address);
    let has_any = model
        .claims
        .iter()
        .any(|(subject, _)| subject.spec.what.addr().is_unspecified());
    let sole = owner.filter(|_| on_address.len() == 1 && !has_any);
    prop_assert_eq!(tables.sole_owner(local, zone, vlan), sole);
    let concerns = has_any || !on_address.is_empty();
    prop_assert_eq!(tables.concerns(local, zone, vlan), concerns);
    let port = packet.ports.map_or(7, |(port, _)| port);
    for group in ["239.1.1.1", "ff02::5"] {
        let group = SocketAddr::new(group.parse::<IpAddr>().unwrap(), port);
        let members = set(tables.members(group, vlan));
        prop_assert_eq!(members, model.members(group, vlan));
    }
    let on_port = set(tables.on_port(false, port, vlan));
    prop_assert_eq!(on_port, model.on_udp_port(port, vlan));
    Ok(())
}

/// For every choice among the five kinds the most specific one decides: the order is total, and no
/// kind changes the order of two others.
#[test]
fn precedence_is_a_total_order() {
    for [local, remote, any, addr] in [
        ["192.0.2.1:7", "192.0.2.9:8", "0.0.0.0:7", "192.0.2.1"],
        [
            "[2001:db8::1]:7",
            "[2001:db8::9]:8",
            "[::]:7",
            "2001:db8::1",
        ],
        ["[fe80::1]:7", "[fe80::9]:8", "[::]:7", "fe80::1"],
    ] {
        for (name, proto) in [("tcp", 6), ("udp", 17), ("sctp", 132)] {
            let kinds = [
                format!("{name} {local} {remote}"),
                format!("{name} {local}"),
                format!("{name} {any}"),
                format!("{proto} {addr}"),
                format!("all {addr}"),
            ];
            let (local, remote): (SocketAddr, SocketAddr) =
                (local.parse().unwrap(), remote.parse().unwrap());
            let hit = Packet {
                proto,
                local: local.ip(),
                remote: remote.ip(),
                ports: Some((local.port(), remote.port())),
                vlan: wire::Vlan::NONE,
                nic: 0,
            };
            for chosen in 0u16..1 << kinds.len() {
                let mut tables = Tables::new(8, SEED);
                // From the least specific on in half of the cases.
                let mut slots: Vec<u16> = (0..5).filter(|kind| chosen >> kind & 1 == 1).collect();
                if chosen & 1 == 0 {
                    slots.reverse();
                }
                for slot in &slots {
                    let spec = spec_of(&kinds[usize::from(*slot)]);
                    let holder = Holder::new(*slot, false);
                    tables.insert(&Subject { spec, nic: 0 }, holder).unwrap();
                }
                let found = find(&tables, &hit).map(|holder| holder.vport);
                assert_eq!(found, slots.iter().min().copied(), "{slots:?}");
            }
        }
    }
}

/// A packet that differs in anything that a claim names misses it.
#[test]
fn a_miss_stays_a_miss() {
    let hit = |local: &str, remote: &str| Packet {
        proto: 17,
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
        ports: Some((7, 8)),
        vlan: wire::Vlan::NONE,
        nic: 0,
    };
    let v4 = hit("192.0.2.1", "192.0.2.9");
    let v6 = hit("fe80::1", "fe80::9");
    // What each kind names: remote end, local port, address, protocol.
    for (spec, packet, names) in [
        ("udp 192.0.2.1:7 192.0.2.9:8", v4, [true, true, true, true]),
        ("udp 192.0.2.1:7", v4, [false, true, true, true]),
        ("udp 0.0.0.0:7", v4, [false, true, false, true]),
        ("17 192.0.2.1", v4, [false, false, true, true]),
        ("all 192.0.2.1", v4, [false, false, true, false]),
        ("udp [fe80::1]:7 [fe80::9]:8", v6, [true, true, true, true]),
        ("udp [fe80::1]:7", v6, [false, true, true, true]),
        ("udp [::]:7", v6, [false, true, false, true]),
        ("17 fe80::1", v6, [false, false, true, true]),
        ("all fe80::1", v6, [false, false, true, false]),
    ] {
        let mut tables = Tables::new(8, SEED);
        let spec = spec_of(spec);
        let holder = Holder::new(3, false);
        tables.insert(&Subject { spec, nic: 0 }, holder).unwrap();
        let found = |packet: Packet| find(&tables, &packet).is_some();
        assert!(found(packet), "{spec}");
        let [remote, local_port, address, protocol] = names;
        let other = |v4: &str, v6: &str| -> IpAddr {
            let is_v4 = packet.local.is_ipv4();
            if is_v4 { v4 } else { v6 }.parse().unwrap()
        };
        let elsewhere = other("192.0.2.2", "fe80::2");
        let family = other("::192.0.2.1", "192.0.2.1");
        let with = |change: &dyn Fn(&mut Packet)| {
            let mut miss = packet;
            change(&mut miss);
            miss
        };
        let is_v6 = packet.local.is_ipv6();
        for (miss, named) in [
            (with(&|p| p.remote = elsewhere), remote),
            (with(&|p| p.ports = Some((7, 9))), remote),
            (with(&|p| p.ports = Some((9, 8))), local_port),
            (with(&|p| p.ports = None), local_port),
            (with(&|p| p.local = elsewhere), address),
            (with(&|p| (p.local, p.remote) = (family, family)), true),
            (with(&|p| p.proto = 6), protocol),
            (with(&|p| p.proto = 132), protocol),
            (with(&|p| p.vlan = "100".parse().unwrap()), true),
            (with(&|p| p.nic = 1), address && is_v6),
        ] {
            assert_eq!(found(miss), !named, "{spec}: {miss:?}");
        }
    }
}
