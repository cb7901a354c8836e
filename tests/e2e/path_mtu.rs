//! A path with a smaller MTU: routers say so, and the stack hears it.

use std::fs;

use crate::net_tools::{curl, sha256};
use crate::netns::{self, Netns};
use crate::testbed::{CLIENT_V4, CLIENT_V6, HOST_V4, HOST_V6, Testbed};

/// What the router can forward to the far network, in bytes of an IP packet.
const PATH_MTU: &str = "1280";

/// A network behind the client, which becomes its router.
fn far_network(bed: &Testbed) -> Netns {
    let far = Netns::new(format!("{}-far", bed.name));
    let router = &bed.client;
    let (near_end, far_end) = (&router.name, &far.name);
    let wire = format!("link add near0 netns {near_end} type veth peer name far0 netns {far_end}");
    netns::run("ip", &wire.split(' ').collect::<Vec<_>>());
    // The far end believes in 1500 bytes, and so does the stack: only the router knows better.
    router.ip(&format!("link set near0 mtu {PATH_MTU}"));
    router.ip("addr add 10.78.0.1/24 dev near0");
    router.ip("addr add fd78::1/64 dev near0 nodad");
    router.ip("link set near0 up");
    far.ip("addr add 10.78.0.2/24 dev far0");
    far.ip("addr add fd78::2/64 dev far0 nodad");
    far.ip("link set far0 up");
    far.ip("route add default via 10.78.0.1");
    far.ip("-6 route add default via fd78::1");
    for family in ["ipv4", "ipv6"] {
        let forwarding = format!("net.{family}.conf.all.forwarding=1");
        router.run("sysctl", &["-q", "-w", &forwarding]);
    }
    far
}

/// How often the router has said that a packet is too big.
fn complaints(router: &Netns) -> u64 {
    let stdout = router.run(
        "nstat",
        &["-asz", "IcmpOutDestUnreachs", "Icmp6OutPktTooBigs"],
    );
    let count = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    stdout.lines().filter_map(count).sum()
}

#[test]
fn a_download_over_a_path_with_a_smaller_mtu() {
    let bed = Testbed::start();
    let far = far_network(&bed);
    let root = bed.dir.join("www");
    fs::create_dir(&root).unwrap();
    let content: Vec<u8> = (0..2_000_000u32)
        .map(|n| (n % 251).to_le_bytes()[0])
        .collect();
    fs::write(root.join("file"), content).unwrap();
    let (v4, v6) = (format!("{HOST_V4}:80"), format!("[{HOST_V6}]:80"));
    let (socket, copy) = (bed.socket.to_str().unwrap(), bed.dir.join("copy"));
    for addr in [&v4, &v6] {
        let mut args = vec!["--socket", socket, "--root", root.to_str().unwrap()];
        args.extend([
            "--addr",
            addr,
            "--gateway",
            CLIENT_V4,
            "--gateway",
            CLIENT_V6,
        ]);
        // A new one each time, as one that knows needs not be told.
        let mut http = bed.stack("stack-http", &args);
        http.expect("serving");
        let before = complaints(&bed.client);
        let url = format!("http://{addr}/file");
        curl(&far, &["-o", copy.to_str().unwrap(), &url]);
        assert_eq!(sha256(&copy), sha256(&root.join("file")));
        assert!(complaints(&bed.client) > before, "it was too big at first");
        let icmp = bed.stats().ports[0].host_reasons.get("icmp").copied();
        assert_eq!(icmp, None, "the host got none of it");
        http.terminate();
        bed.expect_no_stacks();
    }
    bed.finish();
}
