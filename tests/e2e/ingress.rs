//! Well-formed packets of every shape go to their one owner.

use port_api::Protocol;

use crate::frames::{
    L4_OF_V4, L4_OF_V6, edited, packet, refitted, sctp, tagged, tcp, udp, with_extension,
    with_options, with_tag,
};
use crate::scene::{Outcome, Scene};
use crate::testbed::{CLIENT_V4, CLIENT_V6, HOST_V4, HOST_V6};

const OWN_V4: &str = "10.77.0.50";
const OWN_V6: &str = "fd77::50";

fn from4() -> String {
    format!("{CLIENT_V4}:1000")
}

fn from6() -> String {
    format!("[{CLIENT_V6}]:1000")
}

/// The frame comes to this probe alone, or to the host alone if none is named.
#[track_caller]
fn comes_to(scene: &mut Scene, probe: Option<usize>, reason: &str, frame: &[u8]) {
    let frames = [frame.to_vec()];
    let none = Outcome::none(scene);
    let expected = match probe {
        Some(probe) => none.for_probe(probe, &frames),
        None => none.for_host(reason, &frames),
    };
    assert_eq!(scene.receive(&frames), expected);
}

#[test]
fn a_claim_is_for_one_vlan() {
    let udp_at = format!("udp:{OWN_V4}:5000");
    let (single, double) = (format!("{udp_at}%100"), format!("{udp_at}%100.200"));
    let v6 = format!("tcp:[{OWN_V6}]:5000%100");
    let mut scene = Scene::start(&[&[&udp_at], &[&single, &v6], &[&double]]);
    let frame = udp(scene.inward, &from4(), &format!("{OWN_V4}:5000"), b"tagged");
    let cases = [
        ("none", Some(0)),
        ("100", Some(1)),
        ("100.200", Some(2)),
        ("200", None),
        ("200.100", None),
        ("100.300", None),
    ];
    for (vlan, owner) in cases {
        comes_to(&mut scene, owner, "unclaimed", &tagged(&frame, vlan));
    }
    // A tag of VLAN id 0 gives a priority and no VLAN (IEEE 802.1Q).
    comes_to(&mut scene, Some(0), "", &with_tag(&frame, 0x8100, 0xe000));
    // A service tag alone is a tag like any other.
    comes_to(&mut scene, Some(1), "", &with_tag(&frame, 0x88a8, 100));
    let frame = tcp(scene.inward, &from6(), &format!("[{OWN_V6}]:5000"));
    comes_to(&mut scene, Some(1), "", &tagged(&frame, "100"));
    comes_to(&mut scene, None, "unclaimed", &frame);
    scene.finish();
}

#[test]
fn options_and_extension_headers_are_in_no_ones_way() {
    let (v4, v6) = (
        format!("udp:{HOST_V4}:5000"),
        format!("udp:[{HOST_V6}]:5000"),
    );
    let esp = format!("proto:50@{OWN_V6}");
    let mut scene = Scene::start(&[&[&v4, &v6], &[&esp]]);
    let udp4 = |port| udp(scene.inward, &from4(), &format!("{HOST_V4}:{port}"), b"v4");
    let (udp4, other4) = (udp4(5000), udp4(5001));
    let udp6 = |to: &str| udp(scene.inward, &from6(), to, b"v6");
    let (udp6, other6, own6) = (
        udp6(&format!("[{HOST_V6}]:5000")),
        udp6(&format!("[{HOST_V6}]:5001")),
        udp6(&format!("[{OWN_V6}]:5000")),
    );
    let router_alert = [148, 4, 0, 0];
    let record_route = [7, 7, 4, 0, 0, 0, 0, 0];
    for options in [&router_alert[..], &record_route] {
        comes_to(&mut scene, Some(0), "", &with_options(&udp4, options));
        let frame = with_options(&other4, options);
        comes_to(&mut scene, None, "unclaimed", &frame);
    }
    let pad = [0, 0, 1, 4, 0, 0, 0, 0];
    let hop_by_hop = |frame: &[u8]| with_extension(frame, 0, &pad);
    let destination = |frame: &[u8]| with_extension(frame, 60, &pad);
    let routing = |frame: &[u8]| with_extension(frame, 43, &[0, 0, 4, 0, 0, 0, 0, 0]);
    let atomic = |frame: &[u8]| with_extension(frame, 44, &[0, 0, 0, 0, 0, 0, 0, 7]);
    let many = |frame: &[u8]| hop_by_hop(&routing(&destination(&atomic(frame))));
    for bent in [
        &hop_by_hop as &dyn Fn(&[u8]) -> Vec<u8>,
        &destination,
        &routing,
        &atomic,
        &many,
    ] {
        comes_to(&mut scene, Some(0), "", &bent(&udp6));
        comes_to(&mut scene, None, "unclaimed", &bent(&other6));
    }
    // What is behind these is not the switch's to read.
    for number in [50, 51, 59] {
        let hidden = with_extension(&udp6, number, &pad);
        comes_to(&mut scene, None, "other-protocol", &hidden);
    }
    comes_to(&mut scene, Some(1), "", &with_extension(&own6, 50, &pad));
    comes_to(&mut scene, None, "unclaimed", &own6);
    scene.finish();
}

#[test]
fn sctp_by_protocol_and_by_tuple() {
    let by_protocol = [
        format!("proto:132@{HOST_V4}"),
        format!("proto:132@{HOST_V6}"),
    ];
    let by_protocol: Vec<_> = by_protocol.iter().map(String::as_str).collect();
    let by_tuple = format!("sctp:{OWN_V4}:5000");
    let mut scene = Scene::start(&[&by_protocol, &[&by_tuple]]);
    let eth = scene.inward;
    let to = |addr: &str| sctp(eth, &from4(), addr);
    let cases = [
        (to(&format!("{HOST_V4}:5000")), Some(0), ""),
        (sctp(eth, &from6(), &format!("[{HOST_V6}]:1")), Some(0), ""),
        (to(&format!("{OWN_V4}:5000")), Some(1), ""),
        (to(&format!("{OWN_V4}:5001")), None, "unclaimed"),
        (
            tcp(eth, &from4(), &format!("{OWN_V4}:5000")),
            None,
            "unclaimed",
        ),
        (
            tcp(eth, &from4(), &format!("{HOST_V4}:5000")),
            None,
            "unclaimed",
        ),
    ];
    for (frame, owner, reason) in cases {
        comes_to(&mut scene, owner, reason, &frame);
    }
    scene.finish();
}

#[test]
fn what_is_for_another_machine_is_not_a_stacks() {
    let claims = [
        format!("udp:{HOST_V4}:5000"),
        format!("udp:[{HOST_V6}]:5000"),
    ];
    let claims: Vec<_> = claims.iter().map(String::as_str).collect();
    let mut scene = Scene::start(&[&claims]);
    for (from, to) in [
        (from4(), format!("{HOST_V4}:5000")),
        (from6(), format!("[{HOST_V6}]:5000")),
    ] {
        for mac in [
            "02:00:00:00:00:99",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
        ] {
            let frame = udp(scene.inward_to(mac), &from, &to, b"not yours");
            comes_to(&mut scene, None, "other-mac", &frame);
        }
    }
    scene.finish();
}

#[test]
fn layer_4_checksums_are_verified_for_who_asks() {
    let verified = [
        format!("udp:{HOST_V4}:5000!"),
        format!("tcp:[{HOST_V6}]:5000!"),
        format!("sctp:{OWN_V4}:5000!"),
        format!("addr:{OWN_V6}!"),
    ];
    let verified: Vec<_> = verified.iter().map(String::as_str).collect();
    let lax = format!("udp:{HOST_V4}:5001");
    let mut scene = Scene::start(&[&verified, &[&lax]]);
    let eth = scene.inward;
    let udp4 = |port| udp(eth, &from4(), &format!("{HOST_V4}:{port}"), b"checked");
    let echo6 = crate::frames::echo(eth, CLIENT_V6, OWN_V6);
    let cases = [
        udp4(5000),
        tcp(eth, &from6(), &format!("[{HOST_V6}]:5000")),
        sctp(eth, &from4(), &format!("{OWN_V4}:5000")),
        packet(Protocol::Udp, eth, &from6(), &format!("[{OWN_V6}]:1")),
        echo6,
    ];
    for right in cases {
        let frames = [right.clone()];
        let to_a = Outcome::none(&scene).for_probe_checked(0, &frames, true);
        assert_eq!(scene.receive(&frames), to_a);
        let wrong = edited(&right, |frame| *frame.last_mut().expect("some") ^= 1);
        let dropped = Outcome::none(&scene).dropped("l4-checksum", 1);
        assert_eq!(scene.receive(&[wrong]), dropped);
    }
    // UDP over IPv4 may come without one: then no one knows.
    let none = edited(&udp4(5000), |frame| frame[L4_OF_V4 + 6..][..2].fill(0));
    comes_to(&mut scene, Some(0), "", &none);
    // Not so over IPv6 (RFC 8200 section 8.1).
    let udp6 = packet(Protocol::Udp, eth, &from6(), &format!("[{OWN_V6}]:1"));
    let none = edited(&udp6, |frame| frame[L4_OF_V6 + 6..][..2].fill(0));
    let dropped = Outcome::none(&scene).dropped("l4-checksum", 1);
    assert_eq!(scene.receive(&[none]), dropped);
    // Who does not ask gets it as it is.
    let right = udp4(5001);
    let wrong = edited(&right, |frame| *frame.last_mut().expect("some") ^= 1);
    comes_to(&mut scene, Some(1), "", &right);
    comes_to(&mut scene, Some(1), "", &wrong);
    // It is the layer 4 checksum that counts: a TTL that a router has lowered is none of it.
    let frames = [refitted(&udp4(5000), |frame| frame[L4_OF_V4 - 12] -= 1)];
    let to_a = Outcome::none(&scene).for_probe_checked(0, &frames, true);
    assert_eq!(scene.receive(&frames), to_a);
    scene.finish();
}

/// One stack claims everything that fits a packet, and hands all but the widest on to others.
#[track_caller]
fn most_specific_first(local: &str, remote: &str, any: &str) {
    let ip = local
        .rsplit_once(':')
        .expect("a port")
        .0
        .trim_matches(['[', ']']);
    let claims = [
        format!("addr:{ip}"),
        format!("proto:17@{ip}"),
        format!("udp:{any}:5000"),
        format!("udp:{local}"),
        format!("udp:{local}<{remote}"),
    ];
    let claims: Vec<_> = claims.iter().map(String::as_str).collect();
    let mut scene = Scene::start(&[&claims, &[], &[], &[], &[]]);
    let frame = udp(scene.inward, remote, local, b"for whom?");
    comes_to(&mut scene, Some(0), "", &frame);
    // The claims have been made in this order, before everything else.
    let mut ids: Vec<_> = scene.bed.claims().iter().map(|claim| claim.id).collect();
    ids.truncate(claims.len());
    for (probe, id) in ids.iter().enumerate().skip(1) {
        let slot = scene.probes[probe].slot;
        scene.probes[0].tell(&format!("offer {id} {slot}"));
        scene.probes[probe].tell(&format!("take {id}"));
    }
    for (probe, id) in ids.iter().enumerate().rev() {
        comes_to(&mut scene, Some(probe), "", &frame);
        scene.probes[probe].tell(&format!("release {id}"));
    }
    comes_to(&mut scene, None, "unclaimed", &frame);
    scene.finish();
}

#[test]
fn the_most_specific_claim_decides() {
    let local = format!("{OWN_V4}:5000");
    most_specific_first(&local, &from4(), "0.0.0.0");
}

#[test]
fn the_most_specific_claim_decides_over_ipv6() {
    let local = format!("[{OWN_V6}]:5000");
    most_specific_first(&local, &from6(), "[::]");
}

#[test]
fn a_claim_covers_what_it_says_and_no_more() {
    let claims = [
        format!("udp:{OWN_V4}:5000<{}", from4()),
        "tcp:0.0.0.0:5000".to_owned(),
        "udp:10.77.0.51:6000-6002".to_owned(),
    ];
    let mut scene = Scene::start(&[&[&claims[0]], &[&claims[1]], &[&claims[2]]]);
    let eth = scene.inward;
    let cases = [
        (udp(eth, &from4(), "10.77.0.50:5000", b""), Some(0)),
        (udp(eth, "10.77.0.2:1001", "10.77.0.50:5000", b""), None),
        (udp(eth, "10.77.0.3:1000", "10.77.0.50:5000", b""), None),
        (tcp(eth, &from4(), "10.77.0.50:5000"), Some(1)),
        (tcp(eth, &from4(), "10.77.0.77:5000"), Some(1)),
        (tcp(eth, &from4(), &format!("{HOST_V4}:5000")), Some(1)),
        (tcp(eth, &from4(), "10.77.0.50:5001"), None),
        (tcp(eth, &from6(), &format!("[{HOST_V6}]:5000")), None),
        (udp(eth, &from4(), "10.77.0.51:5999", b""), None),
        (udp(eth, &from4(), "10.77.0.51:6000", b""), Some(2)),
        (udp(eth, &from4(), "10.77.0.51:6002", b""), Some(2)),
        (udp(eth, &from4(), "10.77.0.51:6003", b""), None),
    ];
    for (frame, owner) in cases {
        comes_to(&mut scene, owner, "unclaimed", &frame);
    }
    scene.finish();
}
