//! Egress, rule by rule: what a stack may not send reaches no one, and is counted.

use wire::{MacAddr, NdKind};

use crate::frames::{arp, echo, icmp, nd, not_ip, sctp, solicited_node, tagged, tcp, too_big, udp};
use crate::raw::hex;
use crate::scene::{Outcome, Scene};
use crate::testbed::{CLIENT_V4, CLIENT_V6, HOST_V4, HOST_V6};

const A: usize = 0;

/// A stack has a tuple of each family at the host's addresses and all of two addresses; b the same
/// with other numbers, SCTP at the host's address, and a VLAN.
#[track_caller]
fn scene() -> Scene {
    let of_a = claims(5000, 50);
    let mut of_b = claims(5001, 51);
    of_b.push(format!("proto:132@{HOST_V4}"));
    of_b.push("udp:10.77.0.60:5000%100".to_owned());
    let (of_a, of_b): (Vec<_>, Vec<_>) = (
        of_a.iter().map(String::as_str).collect(),
        of_b.iter().map(String::as_str).collect(),
    );
    Scene::start(&[&of_a, &of_b])
}

fn claims(port: u16, number: u8) -> Vec<String> {
    vec![
        format!("udp:{HOST_V4}:{port}"),
        format!("tcp:[{HOST_V6}]:{port}"),
        format!("addr:10.77.0.{number}"),
        format!("addr:fd77::{number}"),
    ]
}

fn to4() -> String {
    format!("{CLIENT_V4}:1000")
}

fn to6() -> String {
    format!("[{CLIENT_V6}]:1000")
}

/// Probe a must not send these.
#[track_caller]
fn refused(scene: &mut Scene, reason: &str, frames: impl IntoIterator<Item = Vec<u8>>) {
    for (number, frame) in frames.into_iter().enumerate() {
        let expected = Outcome::none(scene).refused("a", reason, 1);
        let slot = scene.probes[A].slot.to_string();
        let traced = scene.bed.trace(&["--from", &slot, &hex(&frame)]).verdict;
        assert_eq!(scene.send(A, &[frame]), expected, "{reason}, {number}");
        assert_eq!(traced, format!("drop: {reason}"), "{number}");
    }
}

/// Probe a may send these, to the client.
#[track_caller]
fn passes(scene: &mut Scene, frames: impl IntoIterator<Item = Vec<u8>>) {
    for (number, frame) in frames.into_iter().enumerate() {
        let frames = [frame];
        let expected = Outcome::none(scene).for_client(&frames);
        assert_eq!(scene.send(A, &frames), expected, "{number}");
    }
}

/// Probe a may send these to a group, from an address of its own: the host gets copies.
#[track_caller]
fn passes_to_all(scene: &mut Scene, frames: impl IntoIterator<Item = Vec<u8>>) {
    for (number, frame) in frames.into_iter().enumerate() {
        let frames = [frame];
        let mut expected = Outcome::none(scene).for_client(&frames);
        expected.host.extend_from_slice(&frames);
        expected.copies = 1;
        assert_eq!(scene.send(A, &frames), expected, "{number}");
    }
}

#[test]
fn from_its_own_claims_and_no_others() {
    let mut scene = scene();
    let eth = scene.outward;
    let udp4 = |from: &str| udp(eth, from, &to4(), b"from me?");
    let own = udp4(&format!("{HOST_V4}:5000"));
    let of_b = udp4(&format!("{HOST_V4}:5001"));
    passes(
        &mut scene,
        [
            own.clone(),
            tcp(eth, &format!("[{HOST_V6}]:5000"), &to6()),
            udp4("10.77.0.50:1"),
            tcp(eth, "[fd77::50]:1", &to6()),
            sctp(eth, "10.77.0.50:1", &to4()),
            echo(eth, "10.77.0.50", CLIENT_V4),
            echo(eth, "fd77::50", CLIENT_V6),
        ],
    );
    let not_claimed = [
        udp4(&format!("{HOST_V4}:22")),
        udp4("10.77.0.99:5000"),
        tcp(eth, &format!("{HOST_V4}:5000"), &to4()),
        udp(eth, &format!("[{HOST_V6}]:5000"), &to6(), b""),
        tagged(&own, "100"),
        tagged(&udp4("10.77.0.50:1"), "100.200"),
    ];
    refused(&mut scene, "tx-not-claimed", not_claimed);
    let foreign = [
        of_b,
        tcp(eth, &format!("[{HOST_V6}]:5001"), &to6()),
        udp4("10.77.0.51:1"),
        tcp(eth, "[fd77::51]:1", &to6()),
        sctp(eth, &format!("{HOST_V4}:1"), &to4()),
        tagged(&udp4("10.77.0.60:5000"), "100"),
    ];
    refused(&mut scene, "tx-foreign", foreign);
    // In no one's name.
    let no_source = [
        udp(
            scene.outward_to("ff:ff:ff:ff:ff:ff"),
            "0.0.0.0:68",
            "255.255.255.255:67",
            b"dhcp",
        ),
        udp(
            scene.outward_to("33:33:00:00:00:01"),
            "[::]:1",
            "[ff02::1]:1",
            b"v6",
        ),
    ];
    refused(&mut scene, "tx-unspecified-source", no_source);
    scene.finish();
}

#[test]
fn from_its_port_in_frames_of_its_own() {
    let mut scene = scene();
    let (eth, mac) = (scene.outward, scene.inward.src);
    let from = format!("{HOST_V4}:5000");
    let forged = wire::emit::Eth { src: mac, ..eth };
    refused(
        &mut scene,
        "tx-source-mac",
        [udp(forged, &from, &to4(), b"")],
    );
    let to_all = [
        "ff:ff:ff:ff:ff:ff",
        "01:00:5e:00:00:01",
        "33:33:00:00:00:01",
    ]
    .map(|mac| udp(scene.outward_to(mac), &from, &to4(), b"unicast"));
    refused(&mut scene, "tx-group-mac", to_all);
    let lldp = wire::emit::Eth {
        dst: MacAddr([1, 0x80, 0xc2, 0, 0, 0x0e]),
        ..eth
    };
    let strange = [not_ip(eth, b"hello"), not_ip(lldp, b"I am a switch")];
    refused(&mut scene, "tx-not-ip", strange);
    // A trace knows neither lengths nor ports.
    let long = [udp(eth, &from, &to4(), &[0; 1500])];
    let bounds = Outcome::none(&scene).refused("a", "tx-bounds", 1);
    assert_eq!(scene.send(A, &long), bounds);
    let elsewhere = udp(eth, &from, &to4(), b"port 7");
    scene.probes[A].tell(&format!("sendport 7 {}", hex(&elsewhere)));
    let no_port = Outcome::none(&scene).refused("a", "tx-port", 1);
    assert_eq!(scene.fence(&[elsewhere]), no_port);
    // To the port's own MAC, where no one is but who sends it: only the host can do that.
    let to_itself = [not_ip(scene.local(), b"to myself")];
    scene.host.send(&to_itself[0]);
    let mut no_one = Outcome::none(&scene).refused("msh0", "tx-local", 1);
    no_one.host = Vec::new();
    assert_eq!(scene.fence(&to_itself), no_one);
    scene.finish();
}

#[test]
fn no_answers_to_arp_and_neighbours_for_others() {
    let mut scene = scene();
    let (eth, port, client) = (scene.outward, scene.outward.src, scene.inward.src);
    let all = scene.outward_to("ff:ff:ff:ff:ff:ff");
    let (question, answer) = (wire::ARP_REQUEST, wire::ARP_REPLY);
    passes(
        &mut scene,
        [
            // Asking, in the name of an address with a claim.
            arp(all, question, port, HOST_V4, CLIENT_V4),
            // An answer and a probe, for what is wholly its own.
            arp(eth, answer, port, "10.77.0.50", CLIENT_V4),
            arp(all, question, port, "0.0.0.0", "10.77.0.50"),
        ],
    );
    let asked = arp(all, question, port, "10.77.0.50", CLIENT_V4);
    passes_to_all(&mut scene, [asked]);
    let forged = [
        arp(eth, answer, port, HOST_V4, CLIENT_V4),
        arp(eth, answer, port, "10.77.0.51", CLIENT_V4),
        arp(eth, answer, port, "10.77.0.99", CLIENT_V4),
        arp(eth, answer, client, "10.77.0.50", CLIENT_V4),
        arp(all, question, port, HOST_V4, HOST_V4),
        arp(all, question, port, "10.77.0.51", CLIENT_V4),
        arp(all, question, port, "10.77.0.99", CLIENT_V4),
        arp(all, question, client, HOST_V4, CLIENT_V4),
        arp(all, question, port, "0.0.0.0", "10.77.0.51"),
        arp(all, 3, port, "10.77.0.50", CLIENT_V4),
        tagged(&arp(eth, answer, port, "10.77.0.50", CLIENT_V4), "100"),
    ];
    refused(&mut scene, "tx-arp", forged);

    let all_nodes = scene.outward_to("33:33:00:00:00:01");
    let ask = |src, target, mac| {
        nd(
            all_nodes,
            NdKind::Solicitation,
            (src, "ff02::1"),
            target,
            mac,
        )
    };
    let say = |src, target, mac| nd(eth, NdKind::Advertisement, (src, CLIENT_V6), target, mac);
    let asked = ask("fd77::50", CLIENT_V6, port);
    passes(
        &mut scene,
        [
            ask(HOST_V6, CLIENT_V6, port),
            say("fd77::50", "fd77::50", port),
        ],
    );
    passes_to_all(&mut scene, [asked]);
    let probe = |target| {
        let (group, mac) = solicited_node(target);
        let ends = ("::", group.as_str());
        nd(
            scene.outward_to(&mac),
            NdKind::Solicitation,
            ends,
            target,
            port,
        )
    };
    let own_probe = probe("fd77::50");
    let forged = [
        say(HOST_V6, HOST_V6, port),
        say("fd77::51", "fd77::51", port),
        say("fd77::50", "fd77::51", port),
        say("fd77::50", HOST_V6, port),
        say("fd77::50", "fd77::50", client),
        say("fd77::51", "fd77::50", port),
        ask("fd77::51", CLIENT_V6, port),
        ask("fd77::99", CLIENT_V6, port),
        ask(HOST_V6, CLIENT_V6, client),
        ask(HOST_V6, HOST_V6, port),
        probe("fd77::51"),
        probe(HOST_V6),
    ];
    passes(&mut scene, [own_probe]);
    refused(&mut scene, "tx-neighbour", forged);
    scene.finish();
}

#[test]
fn no_icmp_about_others() {
    let mut scene = scene();
    let (eth, sent) = (scene.outward, scene.inward);
    let received4 = |to: &str| udp(sent, &to4(), to, b"too much");
    let received6 = |to: &str| tcp(sent, &to6(), to);
    let own = format!("{HOST_V4}:5000");
    passes(
        &mut scene,
        [
            too_big(eth, (HOST_V4, CLIENT_V4), &received4(&own)),
            too_big(
                eth,
                (HOST_V6, CLIENT_V6),
                &received6(&format!("[{HOST_V6}]:5000")),
            ),
            too_big(eth, ("10.77.0.50", CLIENT_V4), &received4("10.77.0.50:7")),
        ],
    );
    let of_b = received4(&format!("{HOST_V4}:5001"));
    let of_host = received4(&format!("{HOST_V4}:22"));
    let forged = [
        // About packets to b or the host,
        too_big(eth, (HOST_V4, CLIENT_V4), &of_b),
        too_big(eth, (HOST_V4, CLIENT_V4), &of_host),
        too_big(
            eth,
            (HOST_V6, CLIENT_V6),
            &received6(&format!("[{HOST_V6}]:5001")),
        ),
        too_big(eth, ("10.77.0.51", CLIENT_V4), &received4("10.77.0.51:7")),
        // about its own, but not from where that went, or not to where it came from,
        too_big(eth, ("10.77.0.50", CLIENT_V4), &received4(&own)),
        too_big(eth, (HOST_V4, "10.77.0.3"), &received4(&own)),
        // about what it has sent itself,
        too_big(eth, (HOST_V4, CLIENT_V4), &udp(eth, &own, &to4(), b"")),
        // echo from what is not wholly its own, and what nobody needs from a stack.
        echo(eth, HOST_V4, CLIENT_V4),
        echo(eth, HOST_V6, CLIENT_V6),
        echo(eth, "10.77.0.51", CLIENT_V4),
        icmp(eth, (HOST_V4, CLIENT_V4), 0, 0, b"an answer"),
        icmp(
            eth,
            ("10.77.0.50", CLIENT_V4),
            5,
            1,
            &received4("10.77.0.50:7")[14..],
        ),
        icmp(eth, ("10.77.0.50", CLIENT_V4), 13, 0, b"timestamp"),
        icmp(eth, ("10.77.0.50", CLIENT_V4), 9, 0, b"router"),
    ];
    refused(&mut scene, "tx-icmp", forged);
    let routers = [nd(
        eth,
        NdKind::Advertisement,
        (HOST_V6, CLIENT_V6),
        CLIENT_V6,
        eth.src,
    )];
    refused(&mut scene, "tx-neighbour", routers);
    scene.finish();
}

#[test]
fn to_groups_only_udp_of_its_own() {
    let mut scene = scene();
    let to_group = scene.outward_to("01:00:5e:01:01:01");
    let broadcast = scene.outward_to("ff:ff:ff:ff:ff:ff");
    let own = format!("{HOST_V4}:5000");
    passes(
        &mut scene,
        [
            udp(to_group, &own, "239.1.1.1:5000", b"to whom it concerns"),
            udp(broadcast, &own, "255.255.255.255:5000", b"to all"),
        ],
    );
    let v6 = scene.outward_to("33:33:00:00:12:34");
    let v6 = udp(v6, "[fd77::50]:1", "[ff02::1234]:5000", b"v6");
    passes_to_all(&mut scene, [v6]);
    let igmp = [0x16, 0, 0, 0, 239, 1, 1, 1];
    let mut report = udp(to_group, "10.77.0.50:1", "239.1.1.1:1", b"");
    report[23] = 2;
    report[34..42].copy_from_slice(&igmp);
    let report = crate::frames::refitted(&report, |_| {});
    let ping_all = icmp(broadcast, ("10.77.0.50", "255.255.255.255"), 8, 0, b"smurf");
    refused(&mut scene, "tx-multicast", [report, ping_all]);
    let of_b = udp(to_group, &format!("{HOST_V4}:5001"), "239.1.1.1:5000", b"");
    refused(&mut scene, "tx-foreign", [of_b]);
    let of_host = udp(
        to_group,
        &format!("{HOST_V4}:5353"),
        "224.0.0.251:5353",
        b"",
    );
    refused(&mut scene, "tx-not-claimed", [of_host]);
    scene.finish();
}
