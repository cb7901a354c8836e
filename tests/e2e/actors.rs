//! What goes on beside everything else in a soak (`soak`), each on a thread of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use wire::emit::Eth;

use crate::frames::{fragments, udp};
use crate::malformed;
use crate::net_tools::{curl, sha256, udp as udp_socket};
use crate::process::{PATIENCE, within};
use crate::random::Random;
use crate::raw::{Packets, Probe};
use crate::testbed::{CLIENT_V4, HOST_V4, HOST_V6, Testbed};
use crate::victim::{KINDS, Kind};

/// What was done, and how often.
pub type Tally = Vec<(&'static str, u64)>;

/// Does the same until told to stop; ends with a panic if something is not as it should be.
pub type Actor = fn(&Testbed, &AtomicBool) -> Tally;

pub const ALL: [Actor; 6] = [
    download,
    talk_to_the_kernel,
    bend_frames,
    torture,
    keep_coming,
    hand_over,
];

/// Longest life of a stack that does not leave in order.
const LIFE: Duration = Duration::from_millis(300);
/// From one batch of bad frames to the next, and from one hand-over to the next.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a page.
const PAGE: usize = 4 << 20;

fn goes_on(stop: &AtomicBool) -> bool {
    !stop.load(Ordering::Relaxed)
}

/// So many processes attach and detach, one after the other.
#[track_caller]
pub fn come_and_go(bed: &Testbed, times: u32) {
    let times = times.to_string();
    let ended = bed.probe("cycler", &["attach", "--times", &times]).wait();
    assert!(ended.status.success(), "{ended:?}");
}

/// Pages from the user-level web server, compared byte by byte.
fn download(bed: &Testbed, stop: &AtomicBool) -> Tally {
    let (source, copy) = (bed.dir.join("www/page"), bed.dir.join("page"));
    let mut random = Random::new();
    let page: Vec<u8> = (0..PAGE / 8)
        .flat_map(|_| random.next().to_be_bytes())
        .collect();
    fs::write(&source, page).expect("a page");
    let sum = sha256(&source);
    let mut count = 0;
    while goes_on(stop) {
        let host = if count % 2 == 0 { HOST_V4 } else { "[fd77::1]" };
        let url = format!("http://{host}/page");
        curl(&bed.client, &["-o", copy.to_str().expect("UTF-8"), &url]);
        assert_eq!(sha256(&copy), sum);
        count += 1;
    }
    vec![("pages downloaded from a stack", count)]
}

/// A connection to the host's kernel after the other.
fn talk_to_the_kernel(bed: &Testbed, stop: &AtomicBool) -> Tally {
    let addr = format!("[{HOST_V6}]:8080");
    let listener = bed.host.enter(|| TcpListener::bind(&addr)).expect("a port");
    let mut count = 0;
    while goes_on(stop) {
        let mut stream = bed
            .client
            .enter(|| TcpStream::connect(&addr))
            .expect("a connection");
        let (mut peer, _) = listener.accept().expect("a connection");
        let sent = vec![7; PAGE];
        thread::scope(|scope| {
            scope.spawn(|| {
                peer.write_all(&sent).expect("it is taken");
                drop(peer);
            });
            let mut received = Vec::new();
            stream.read_to_end(&mut received).expect("it comes");
            assert!(received == sent, "not what was sent");
        });
        count += 1;
    }
    vec![("connections to the host's kernel", count)]
}

/// A frame for each rule that can be broken, and datagrams in fragments: whole ones, out of order, and some
/// that lack their first or their last.
fn bend_frames(bed: &Testbed, stop: &AtomicBool) -> Tally {
    let mac = |text: &str| text.parse().expect("a MAC");
    let eth = Eth {
        dst: mac(&bed.port().mac),
        src: mac(&bed.client.mac("msx1")),
    };
    let mut client = Packets::blind(&bed.client, "msx1");
    let cases = malformed::cases(eth);
    let (mut bad, mut pieces) = (0, 0);
    for id in 0.. {
        if !goes_on(stop) {
            break;
        }
        for (_, frame) in &cases {
            client.send(frame);
            bad += 1;
        }
        let port = if id % 2 == 0 { 7 } else { 5001 };
        let (from, to) = (format!("{CLIENT_V4}:1000"), format!("{HOST_V4}:{port}"));
        let mut parts = fragments(&udp(eth, &from, &to, &[0; 1200]), id, 400);
        match id % 5 {
            0 => parts.reverse(),
            1 => drop(parts.remove(0)),
            2 => drop(parts.pop()),
            3 => parts.push(parts[1].clone()),
            _ => {}
        }
        for part in &parts {
            client.send(part);
            pieces += 1;
        }
        thread::sleep(PAUSE);
    }
    vec![("malformed frames", bad), ("fragments", pieces)]
}

/// Stacks that end at a random moment, in one way after the other.
fn torture(bed: &Testbed, stop: &AtomicBool) -> Tally {
    let mut random = Random::new();
    let mut ends = [0; 5];
    for number in 0.. {
        if !goes_on(stop) {
            break;
        }
        let kind = KINDS[number % KINDS.len()];
        let mut victim = kind.start(bed, &format!("{HOST_V4}:9"));
        let how = number % ends.len();
        if how > 0 {
            victim.expect("as vport");
        }
        thread::sleep(random.up_to(LIFE));
        match how {
            0 | 1 => victim.kill(),
            2 => {
                victim.signal(Signal::STOP);
                thread::sleep(random.up_to(LIFE));
                victim.kill();
            }
            // The echo has no handler.
            3 if kind != Kind::Echo => {
                victim.signal(Signal::USR1);
                assert_eq!(victim.wait().status.code(), Some(3));
            }
            _ => drop(victim.terminate()),
        }
        ends[how] += 1;
    }
    let names = [
        "stacks killed, some while they attached",
        "stacks killed",
        "stacks stopped, then killed",
        "stacks that exited in a signal handler",
        "stacks ended by SIGTERM",
    ];
    names.into_iter().zip(ends).collect()
}

/// Processes that attach and detach.
fn keep_coming(bed: &Testbed, stop: &AtomicBool) -> Tally {
    const AT_ONCE: u32 = 5;
    let mut count = 0;
    while goes_on(stop) {
        come_and_go(bed, AT_ONCE);
        count += u64::from(AT_ONCE);
        thread::sleep(PAUSE);
    }
    vec![("stacks attached and detached", count)]
}

/// A claim that goes from one stack to another and back, with datagrams at every moment.
fn hand_over(bed: &Testbed, stop: &AtomicBool) -> Tally {
    const EACH: usize = 5;
    let addr = format!("{HOST_V4}:5000");
    let mut probes = [
        Probe::start(bed, "a", &[&format!("udp:{addr}")]),
        Probe::start(bed, "b", &[]),
    ];
    let claims = bed.claims();
    let id = claims
        .iter()
        .find(|claim| claim.stack == "a")
        .expect("its claim")
        .id;
    let socket = udp_socket(&bed.client, &addr);
    let (mut sent, mut seen, mut count) = (0, 0, 0);
    let (mut lost, before) = (0, missed(bed));
    while goes_on(stop) {
        let (from, to) = ((count % 2) as usize, ((count + 1) % 2) as usize);
        let slot = probes[to].slot;
        probes[from].tell(&format!("offer {id} {slot}"));
        probes[to].order(&format!("take {id}"));
        for _ in 0..EACH {
            socket.send(b"to either").expect("a way there");
            sent += 1;
        }
        count += 1;
        let all_come = within(PATIENCE, || {
            seen += probes
                .iter_mut()
                .map(|probe| probe.take_seen().len())
                .sum::<usize>();
            seen + lost >= sent
        });
        assert!(seen + lost <= sent, "none comes twice");
        lost = sent - seen;
        // What has not come to the switch it has not lost.
        assert!(
            all_come || lost as u64 <= missed(bed) - before,
            "{seen} of {sent} datagrams: {}",
            where_packets_went(bed)
        );
        thread::sleep(PAUSE);
    }
    probes.into_iter().for_each(Probe::quit);
    vec![("claims handed over", count)]
}

/// Packets that the kernel had to drop at either end of the wire: the worker and the kernel share their CPUs with
/// all else here, and so may come too late.
pub fn missed(bed: &Testbed) -> u64 {
    let ends = [(&bed.client, "msx1"), (&bed.host, "msx0")];
    let dropped = ends.map(|(side, netdev)| {
        ["rx_dropped", "tx_dropped"].map(|counter| side.count(netdev, counter))
    });
    dropped.as_flattened().iter().sum()
}

/// All that counts packets, from the client's kernel to the stacks, and to the host's in their place.
pub fn where_packets_went(bed: &Testbed) -> String {
    let wire = [(&bed.client, "msx1"), (&bed.host, "msx0")].map(|(side, netdev)| {
        let link = side.ip(&format!("-s link show {netdev}"));
        link + &side.run("ethtool", &["-S", netdev])
    });
    let counters = ["/proc/net/udp", "/proc/net/snmp", "/proc/net/softnet_stat"];
    let kernels = [&bed.client, &bed.host].map(|side| side.run("cat", &counters));
    format!(
        "{:?}\n{}\n{}",
        bed.stats(),
        wire.join("\n"),
        kernels.join("\n")
    )
}
