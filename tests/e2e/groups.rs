//! ARP, neighbour discovery, broadcast and multicast: who is asked, who answers, who gets copies.

use std::fs;
use std::net::UdpSocket;

use wire::NdKind;

use crate::frames::{arp, edited, icmp, nd, solicited_node, tagged, udp};
use crate::net_tools::{curl, ping};
use crate::scene::{Outcome, Scene};
use crate::testbed::{CLIENT_V4, CLIENT_V6, HOST_V4, HOST_V6, Testbed};

const OWN_V4: &str = "10.77.0.50";
const OWN_V6: &str = "fd77::50";

#[test]
fn who_owns_an_address_answers_for_it() {
    let (v4, v6) = (format!("addr:{OWN_V4}"), format!("addr:{OWN_V6}"));
    let on_vlan = format!("addr:{OWN_V4}%100");
    let tuples = [
        format!("udp:{HOST_V4}:5000"),
        format!("udp:[{HOST_V6}]:5000"),
    ];
    let mut scene = Scene::start(&[&[&v4, &v6], &[&on_vlan, &tuples[0], &tuples[1]]]);
    let client = scene.inward.src;
    let broadcast = scene.inward_to("ff:ff:ff:ff:ff:ff");
    let who_has = |target| arp(broadcast, wire::ARP_REQUEST, client, CLIENT_V4, target);
    let solicit = |target| {
        let (group, mac) = solicited_node(target);
        let ends = (CLIENT_V6, group.as_str());
        nd(
            scene.inward_to(&mac),
            NdKind::Solicitation,
            ends,
            target,
            client,
        )
    };
    let probe_by = |sender: &str| arp(broadcast, wire::ARP_REQUEST, client, sender, OWN_V4);
    let cases = [
        (who_has(OWN_V4), Some(0)),
        (tagged(&who_has(OWN_V4), "100"), Some(1)),
        (tagged(&who_has(OWN_V4), "101"), None),
        (probe_by("0.0.0.0"), Some(0)),
        (solicit(OWN_V6), Some(0)),
        // A claim of a port leaves the address the host's.
        (who_has(HOST_V4), None),
        (who_has("10.77.0.77"), None),
        (solicit(HOST_V6), None),
        (solicit("fd77::77"), None),
    ];
    for (frame, owner) in cases {
        let frames = [frame];
        let none = Outcome::none(&scene);
        let expected = match owner {
            Some(probe) => none.for_probe(probe, &frames),
            None => none.for_host("neighbour", &frames),
        };
        assert_eq!(scene.receive(&frames), expected);
    }
    scene.finish();
}

#[test]
fn answers_are_copied_to_who_has_asked() {
    let tuples = [
        format!("udp:{HOST_V4}:5000"),
        format!("udp:[{HOST_V6}]:5000"),
    ];
    let others = [
        format!("udp:{HOST_V4}:5001"),
        format!("udp:[{HOST_V6}]:5001"),
    ];
    let (a, b) = ([&*tuples[0], &tuples[1]], [&*others[0], &others[1]]);
    let mut scene = Scene::start(&[&a, &b]);
    let (client, port) = (scene.inward.src, scene.inward.dst);
    let (group, mac) = solicited_node(CLIENT_V6);
    let questions = [
        arp(
            scene.outward_to("ff:ff:ff:ff:ff:ff"),
            wire::ARP_REQUEST,
            port,
            HOST_V4,
            CLIENT_V4,
        ),
        nd(
            scene.outward_to(&mac),
            NdKind::Solicitation,
            (HOST_V6, &group),
            CLIENT_V6,
            port,
        ),
    ];
    let eth = scene.inward;
    let answers = [
        arp(eth, wire::ARP_REPLY, client, CLIENT_V4, HOST_V4),
        nd(
            eth,
            NdKind::Advertisement,
            (CLIENT_V6, HOST_V6),
            CLIENT_V6,
            client,
        ),
    ];
    for (question, answer) in questions.into_iter().zip(answers) {
        let (question, answer) = ([question], [answer]);
        let to_host = Outcome::none(&scene).for_host("neighbour", &answer);
        assert_eq!(scene.receive(&answer), to_host, "no one has asked");
        let asked = Outcome::none(&scene).for_client(&question);
        assert_eq!(scene.send(0, &question), asked);
        let copied = Outcome::none(&scene)
            .for_host("neighbour", &answer)
            .copied_to(0, &answer);
        assert_eq!(scene.receive(&answer), copied);
        let to_host = Outcome::none(&scene).for_host("neighbour", &answer);
        assert_eq!(scene.receive(&answer), to_host, "one question, one answer");
    }
    scene.finish();
}

#[test]
fn broadcasts_are_copied_to_claimants_of_the_port() {
    let tuple = format!("udp:{HOST_V4}:5000");
    let tcp = format!("tcp:{HOST_V4}:5000");
    let tagged_tuple = format!("udp:{OWN_V4}:5000%100");
    let any = "udp:0.0.0.0:5001";
    let mut scene = Scene::start(&[
        &[&tuple, any],
        &[&tcp, "udp:10.77.0.50:5000"],
        &[&tagged_tuple],
    ]);
    let eth = scene.inward_to("ff:ff:ff:ff:ff:ff");
    let from = format!("{CLIENT_V4}:1000");
    let to = |to: &str| udp(eth, &from, to, b"all of you");
    let copies = |scene: &Scene, probes: &[usize], frame: &[u8]| {
        let frames = [frame.to_vec()];
        let to_host = Outcome::none(scene).for_host("group", &frames);
        probes
            .iter()
            .fold(to_host, |outcome, probe| outcome.copied_to(*probe, &frames))
    };
    let cases = [
        (to("255.255.255.255:5000"), &[0, 1][..]),
        (to("10.77.0.255:5000"), &[0, 1]),
        (to("255.255.255.255:5001"), &[0]),
        (to("255.255.255.255:5002"), &[]),
        (tagged(&to("255.255.255.255:5000"), "100"), &[2]),
        // DHCP: from no address yet.
        (
            udp(eth, "0.0.0.0:68", "255.255.255.255:5000", b"offer?"),
            &[0, 1],
        ),
    ];
    for (frame, probes) in cases {
        let expected = copies(&scene, probes, &frame);
        assert_eq!(scene.receive(&[frame]), expected);
    }
    scene.finish();
}

#[test]
fn groups_are_shared_by_their_members_and_the_host() {
    let (v4, v6) = ("udp:239.1.1.1:5000", "udp:[ff02::1234]:5000");
    // Who has the port at an address is no member.
    let tuple = format!("udp:{HOST_V4}:5000");
    let mut scene = Scene::start(&[&[v4, v6], &[v4], &[&tuple]]);
    let from = [format!("{CLIENT_V4}:1000"), format!("[{CLIENT_V6}]:1000")];
    let v4_to = |to: &str| {
        udp(
            scene.inward_to("01:00:5e:01:01:01"),
            &from[0],
            to,
            b"members",
        )
    };
    let v6_to = |to: &str| {
        udp(
            scene.inward_to("33:33:00:00:12:34"),
            &from[1],
            to,
            b"members",
        )
    };
    let cases = [
        (v4_to("239.1.1.1:5000"), &[0, 1][..]),
        (v4_to("239.1.1.1:5001"), &[]),
        (v4_to("239.1.1.2:5000"), &[]),
        (tagged(&v4_to("239.1.1.1:5000"), "100"), &[]),
        (v6_to("[ff02::1234]:5000"), &[0]),
        (v6_to("[ff02::1235]:5000"), &[]),
    ];
    for (frame, probes) in cases {
        let frames = [frame];
        let to_host = Outcome::none(&scene).for_host("group", &frames);
        let copied = |outcome: Outcome, probe: &usize| outcome.copied_to(*probe, &frames);
        let expected = probes.iter().fold(to_host, copied);
        assert_eq!(scene.receive(&frames), expected);
    }
    // The kernel has joined for them, so that switches and routers on the way know.
    let groups = scene.bed.host.ip("maddr show dev msh0");
    assert!(
        groups.contains("239.1.1.1") && groups.contains("ff02::1234"),
        "{groups}"
    );
    scene.finish();
}

#[test]
fn the_hosts_own_neighbour_discovery_goes_on() {
    let claims = [format!("tcp:[{HOST_V6}]:80"), format!("addr:{OWN_V6}")];
    let mut scene = Scene::start(&[&[&claims[0], &claims[1]]]);
    let all_nodes = scene.inward_to("33:33:00:00:00:01");
    // A router advertisement of a prefix, as RFC 4861 section 4.2 has it.
    let prefix = [
        &[0; 8][..],
        &[3, 4, 64, 0xc0, 0, 0, 0xff, 0, 0, 0, 0xff, 0, 0, 0, 0, 0],
        &[0xfd, 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let advertisement = icmp(all_nodes, ("fe80::254", "ff02::1"), 134, 0, &prefix);
    let advertisement = edited(&advertisement, |frame| frame[14 + 7] = 255);
    // Duplicate address detection of someone else for the host's address (RFC 4862).
    let (group, mac) = solicited_node(HOST_V6);
    let eth = scene.inward_to(&mac);
    let duplicate = nd(eth, NdKind::Solicitation, ("::", &group), HOST_V6, eth.src);
    for frame in [advertisement, duplicate] {
        let frames = [frame];
        let to_host = Outcome::none(&scene).for_host("neighbour", &frames);
        assert_eq!(scene.receive(&frames), to_host);
    }
    scene.finish();
}

#[test]
fn the_clients_kernel_finds_a_stack_at_its_own_address() {
    let bed = Testbed::start();
    let root = bed.dir.join("www");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("index.html"), "my own address\n").unwrap();
    let (v4, v6) = (format!("{OWN_V4}:80"), format!("[{OWN_V6}]:80"));
    let socket = bed.socket.to_str().unwrap();
    let root = root.to_str().unwrap();
    for (addr, ip, bits) in [(&v4, OWN_V4, "24"), (&v6, OWN_V6, "64")] {
        let args = ["--socket", socket, "--addr", addr, "--root", root];
        let args = [&args[..], &["--prefix-len", bits]].concat();
        let mut http = bed.stack("stack-http", &args);
        http.expect("serving");
        // Both kernels: the one on the wire, and the one behind the switch.
        for netns in [&bed.client, &bed.host] {
            ping(netns, ip, 5, 56);
            let page = curl(netns, &[&format!("http://{addr}/")]);
            assert_eq!(page, "my own address\n");
        }
        let neighbour = bed.client.ip(&format!("neigh show {ip}"));
        assert!(neighbour.contains(&bed.port().mac), "{neighbour}");
        // The host's address beside it is the kernel's as ever.
        ping(&bed.client, HOST_V4, 3, 56);
        let bound = bed.host.enter(|| UdpSocket::bind((HOST_V4, 80)));
        assert!(bound.is_ok(), "{bound:?}");
        let stats = bed.stats();
        let http_stats = bed.vport("http");
        assert!(http_stats.tx_local > 0, "{http_stats:?}");
        let host = stats.vports.iter().find(|vport| vport.name == "msh0");
        assert!(host.is_some_and(|host| host.tx_local > 0), "{stats:?}");
        http.terminate();
        bed.expect_no_stacks();
    }
    bed.finish();
}
