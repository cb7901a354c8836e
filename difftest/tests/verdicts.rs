//! The verdict judge: that it knows the rules, that every one of them comes up, and that it sees
//! what is wrong.

mod frames;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process,
};

use difftest::{
    Options, run,
    verdict::{Claim, Ends, Fate, ROWS, Reading, World, Worlds},
};
use port_api::{ClaimSpec, Kind, Protocol};
use switch::classify::Broadcasts;
use wire::{MacAddr, NdKind, Vlan, emit};

use frames::{
    A4, A6, B4, B6, ETH, extension, fragment, icmp, segment, tagged,
    traffic::{self, SUBNET, arp, damaged, error, error_about, esp, neighbour, to_mac},
    with_extensions,
};

#[test]
fn all_rows_of_the_table() {
    let frames = traffic::all();
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for frame in &frames {
        let len = u32::try_from(frame.len()).unwrap();
        for word in [0, 0, len, len] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    let path = env::temp_dir().join(format!("difftest-{}-rows.pcap", process::id()));
    fs::write(&path, bytes).unwrap();
    let report = run(&path, Options { tshark: 0 });
    fs::remove_file(&path).unwrap();
    let report = report.unwrap();
    assert!(report.is_clean(), "{report}");
    let tally = &report.judges["verdict"];
    assert_eq!((tally.judged, tally.agreed), (report.judged, report.judged));
    let seen: BTreeSet<_> = report.verdicts.keys().copied().collect();
    assert_eq!(seen, ROWS.iter().copied().collect());
    let judged: u64 = report.verdicts.values().sum();
    assert_eq!(judged, 3 * report.judged);
    assert!(report.to_string().contains("vport: icmp error"));
}

const WRONGS: [&str; 5] = ["missing", "of another", "on a VLAN", "verify", "nic"];

fn make_wrong(claim: &mut Claim, how: &str) {
    match how {
        "missing" => claim.spec = ClaimSpec::address([9; 4].into()),
        "of another" => claim.vport += 100,
        "on a VLAN" => claim.spec.vlan = Vlan::new(77, 0).unwrap(),
        "verify" => claim.spec.verify ^= true,
        _ => claim.nic ^= 1,
    }
}

/// Every claim once more, each wrong in one way in the tables only.
#[test]
fn wrong_tables_are_noticed() {
    let frames = traffic::all();
    let mut ends = Ends::default();
    for frame in &frames {
        ends.see(frame);
    }
    let readings: Vec<_> = frames.iter().map(|it| (it, Reading::of(it))).collect();
    let broadcasts = Broadcasts::from_iter([SUBNET.to_bits()]);
    let noticed = |tables: &[Claim], book: &[Claim]| {
        let world = World::with(tables, book, &broadcasts);
        readings.iter().any(|(frame, reading)| {
            let compared = world.compare(frame, reading.as_ref(), ETH.dst);
            compared.difference().is_some()
        })
    };
    let claims = ends.claims(true);
    assert!(!noticed(&claims, &claims));
    let mut found: BTreeMap<_, BTreeSet<Kind>> = BTreeMap::new();
    for (at, claim) in claims.iter().enumerate() {
        for name in WRONGS {
            let mut tables = claims.clone();
            make_wrong(&mut tables[at], name);
            if noticed(&tables, &claims) {
                let spec = claim.spec.what;
                assert!(name != "nic" || is_link_local(spec.addr()), "{claim:?}");
                found.entry(name).or_default().insert(spec.kind());
            }
        }
    }
    let all: BTreeSet<_> = claims.iter().map(|it| it.spec.what.kind()).collect();
    assert_eq!(all.len(), 6);
    for name in ["missing", "of another", "on a VLAN"] {
        assert_eq!(found[name], all, "{name}");
    }
    let shared = |kind: &Kind| matches!(kind, Kind::Group);
    let owned: BTreeSet<_> = all.into_iter().filter(|kind| !shared(kind)).collect();
    assert_eq!(found["verify"], owned);
    assert!(found["nic"].len() > 1, "{found:?}");
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn claim(vport: u16, spec: ClaimSpec) -> Claim {
    Claim {
        spec,
        nic: 0,
        vport,
    }
}

/// What the judge says, and so does the switch.
#[track_caller]
fn fate(claims: &[Claim], frame: &[u8]) -> Fate {
    let broadcasts = Broadcasts::from_iter([SUBNET.to_bits()]);
    let world = World::new(claims, &broadcasts);
    let compared = world.compare(frame, Reading::of(frame).as_ref(), ETH.dst);
    assert_eq!(compared.difference(), None, "{compared:?}");
    compared.expected.fate
}

const fn vport(vport: u16) -> Fate {
    let checksum = false;
    Fate::Vport { vport, checksum }
}

#[test]
fn precedence() {
    for (remote, local, any) in [
        (
            IpAddr::V4(A4),
            IpAddr::V4(B4),
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ),
        (A6.into(), B6.into(), Ipv6Addr::UNSPECIFIED.into()),
    ] {
        let end = SocketAddr::new(local, 2000);
        let other = SocketAddr::new(remote, 1000);
        let specs = [
            ClaimSpec::address(local),
            ClaimSpec::protocol(6, local),
            ClaimSpec::tuple(Protocol::Tcp, SocketAddr::new(any, 2000)),
            ClaimSpec::tuple(Protocol::Tcp, end),
            ClaimSpec::connection(Protocol::Tcp, end, other),
        ];
        let ends = (remote, local);
        let frame = segment(6, ends, (1000, 2000), b"abc");
        let mut claims = Vec::new();
        assert_eq!(fate(&claims, &frame), Fate::Host);
        for (slot, spec) in (1..).zip(specs) {
            claims.push(claim(slot, spec));
            assert_eq!(fate(&claims, &frame), vport(slot));
            assert_eq!(fate(&claims, &error(6, ends, (1000, 2000))), vport(slot));
            let first = fragment(&segment(6, ends, (1000, 2000), &[0; 60]), 0, 32);
            let later = fragment(&segment(6, ends, (1000, 2000), &[0; 60]), 32, 32);
            let expected = match slot {
                1 => [vport(1), vport(1)],
                _ => [Fate::FirstFragment(Some(slot)), Fate::LaterFragment],
            };
            assert_eq!([fate(&claims, &first), fate(&claims, &later)], expected);
        }
        // What only one of them differs in.
        assert_eq!(
            fate(&claims, &segment(6, ends, (1001, 2000), b"")),
            vport(4)
        );
        let elsewhere = if local.is_ipv4() {
            A4.octets().map(|it| it ^ 1).into()
        } else {
            "2001:db8::9".parse().unwrap()
        };
        assert_eq!(
            fate(&claims, &segment(6, (remote, elsewhere), (1001, 2000), b"")),
            vport(3)
        );
        assert_eq!(
            fate(&claims, &segment(6, ends, (1000, 2001), b"")),
            vport(2)
        );
        assert_eq!(
            fate(&claims, &segment(17, ends, (1000, 2000), b"")),
            vport(1)
        );
        assert_eq!(fate(&claims, &esp(ends)), vport(1));
        assert_eq!(fate(&claims, &tagged(&frame, 5, 0)), Fate::Host);
        assert_eq!(fate(&claims, &to_mac(&frame, [2; 6])), Fate::Host);
        assert_eq!(fate(&claims, &to_mac(&frame, [0xff; 6])), Fate::Host);
        claims[4].spec.vlan = Vlan::new(5, 6).unwrap();
        assert_eq!(fate(&claims, &tagged(&frame, 5, 6)), vport(5));
        assert_eq!(fate(&claims, &tagged(&frame, 5, 7)), Fate::Host);
        claims[3].spec.verify = true;
        let right = Fate::Vport {
            vport: 4,
            checksum: true,
        };
        assert_eq!(fate(&claims, &frame), right);
        assert_eq!(fate(&claims, &damaged(frame)), Fate::BadChecksum);
    }
}

#[test]
fn errors_go_to_whom_they_are_about() {
    let ends = (IpAddr::V4(A4), IpAddr::V4(B4));
    let claims = [
        claim(1, ClaimSpec::tuple(Protocol::Udp, (B4, 2000).into())),
        claim(2, ClaimSpec::protocol(1, B4.into())),
    ];
    assert_eq!(fate(&claims, &error(17, ends, (1000, 2000))), vport(1));
    // About no claim; about a packet that another machine sent; with less than 8 bytes quoted.
    assert_eq!(fate(&claims, &error(17, ends, (1000, 2001))), Fate::Host);
    let cause = segment(17, (SUBNET.into(), A4.into()), (2000, 1000), &[0; 20]);
    let foreign = icmp(ends, 3, emit::quote(&cause).unwrap());
    assert_eq!(fate(&claims, &foreign), vport(2));
    let cause = segment(17, (B4.into(), A4.into()), (2000, 1000), &[0; 20]);
    let short = icmp(ends, 3, &emit::quote(&cause).unwrap()[..27]);
    assert_eq!(fate(&claims, &short), vport(2));
    assert_eq!(fate(&claims, &icmp(ends, 8, b"ping")), vport(2));
}

/// A fragment inside a fragment has no ports to tell, nor more than that it is one.
#[test]
fn errors_about_nested_fragments() {
    let six = segment(6, (B6.into(), A6.into()), (2000, 1000), &[0; 40]);
    let part = |id| extension(44, [0, 0, 1, 0, 0, 0, id]);
    let cause = with_extensions(&six, &[part(1), part(2)]);
    let error = error_about(&cause, B6.into());
    let claims = [
        claim(1, ClaimSpec::tuple(Protocol::Tcp, (B6, 2000).into())),
        claim(2, ClaimSpec::protocol(6, B6.into())),
        claim(3, ClaimSpec::protocol(44, B6.into())),
    ];
    assert_eq!(fate(&claims, &error), vport(3));
    assert_eq!(fate(&claims[..2], &error), Fate::Host);
}

#[test]
fn neighbours_and_groups() {
    let tuple = |vport, port| claim(vport, ClaimSpec::tuple(Protocol::Udp, (B4, port).into()));
    let six = SocketAddr::new(B6.into(), 5);
    let mut claims = vec![
        tuple(1, 67),
        tuple(2, 68),
        claim(3, ClaimSpec::tuple(Protocol::Udp, six)),
    ];
    let advertisement = neighbour(NdKind::Advertisement, B6, A6);
    let solicitation = neighbour(NdKind::Solicitation, B6, B6);
    assert_eq!(fate(&claims, &arp(1, B4)), Fate::Host);
    assert_eq!(
        fate(&claims, &arp(2, B4)),
        Fate::HostAndAskers([1, 2].into())
    );
    assert_eq!(fate(&claims, &arp(2, SUBNET)), Fate::Host);
    assert_eq!(fate(&claims, &solicitation), Fate::Host);
    assert_eq!(
        fate(&claims, &advertisement),
        Fate::HostAndAskers([3].into())
    );
    claims.push(claim(4, ClaimSpec::address(B4.into())));
    claims.push(claim(5, ClaimSpec::address(B6.into())));
    assert_eq!(
        [1, 2].map(|op| fate(&claims, &arp(op, B4))),
        [vport(4), vport(4)]
    );
    assert_eq!(fate(&claims, &solicitation), vport(5));
    assert_eq!(fate(&claims, &advertisement), vport(5));

    let group = Ipv4Addr::new(239, 1, 1, 1);
    for member in [6, 7] {
        claims.push(claim(
            member,
            ClaimSpec::tuple(Protocol::Udp, (group, 67).into()),
        ));
    }
    let any = (Ipv4Addr::UNSPECIFIED, 67).into();
    claims.push(claim(8, ClaimSpec::tuple(Protocol::Udp, any)));
    let to = |dst: Ipv4Addr, port, mac| {
        let frame = segment(17, (A4.into(), dst.into()), (9, port), b"abc");
        to_mac(&frame, mac)
    };
    let multicast = [1, 0, 0x5e, 1, 1, 1];
    let copies = |vports: &[u16]| Fate::HostAndCopies(vports.iter().copied().collect());
    assert_eq!(fate(&claims, &to(group, 67, multicast)), copies(&[6, 7]));
    assert_eq!(fate(&claims, &to(group, 68, multicast)), Fate::Host);
    for broadcast in [Ipv4Addr::BROADCAST, Ipv4Addr::UNSPECIFIED, SUBNET] {
        let all = MacAddr::BROADCAST.0;
        assert_eq!(fate(&claims, &to(broadcast, 67, all)), copies(&[1, 8]));
        assert_eq!(fate(&claims, &to(broadcast, 68, all)), copies(&[2]));
        assert_eq!(fate(&claims, &to(broadcast, 69, all)), Fate::Host);
    }
    let tagged_group = tagged(&to(group, 67, multicast), 5, 0);
    assert_eq!(fate(&claims, &tagged_group), Fate::Host);
    let on_vlan = Vlan::new(5, 0).unwrap();
    let spec = ClaimSpec::tuple(Protocol::Udp, (group, 67).into()).on_vlan(on_vlan);
    claims.insert(0, claim(9, spec));
    assert_eq!(fate(&claims, &tagged_group), copies(&[9]));
    // Any address that is claimed keeps fragments from going their way at once.
    let part = fragment(
        &segment(17, (A4.into(), SUBNET.into()), (1, 2), &[0; 60]),
        32,
        32,
    );
    assert_eq!(fate(&claims, &part), Fate::LaterFragment);
    claims.pop();
    assert_eq!(fate(&claims, &part), Fate::Host);
}

#[test]
fn claims_are_bounded_and_the_same_in_every_run() {
    let mut ends = [Ends::default(), Ends::default()];
    for n in 0..30_000u16 {
        let src = Ipv4Addr::from_bits(0x0a00_0000 + u32::from(n));
        let dst = Ipv4Addr::from_bits(0x0b00_0000 + u32::from(n));
        let frame = segment(17, (src.into(), dst.into()), (n, n.max(1)), b"");
        for it in &mut ends {
            it.see(&frame);
        }
    }
    let claims = ends.each_ref().map(|it| it.claims(true));
    assert!((4000..=10_000).contains(&claims[0].len()));
    let text = claims.map(|it| format!("{it:?}"));
    assert_eq!(text[0], text[1]);
    // And the tables hold them.
    let worlds = Worlds::new(&ends[0]);
    for n in [1, 5000, 12_345] {
        let src = Ipv4Addr::from_bits(0x0a00_0000 + u32::from(n));
        let dst = Ipv4Addr::from_bits(0x0b00_0000 + u32::from(n));
        let frame = segment(17, (src.into(), dst.into()), (n, n), b"");
        assert!(
            worlds
                .compare(&frame)
                .iter()
                .all(|it| it.difference().is_none())
        );
    }
}
