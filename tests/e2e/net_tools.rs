//! What the client's side does.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType, recv, socket};
use rustix::process::Signal;

use crate::netns::Netns;
use crate::process::Process;

/// The answers come within a fraction of this, or never.
pub const ANSWER: Duration = Duration::from_millis(500);

/// A UDP socket in `netns` that talks to `peer` and waits up to [`ANSWER`].
pub fn udp(netns: &Netns, peer: &str) -> UdpSocket {
    let peer: SocketAddr = peer.parse().expect("an address");
    let any = if peer.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = netns.enter(|| UdpSocket::bind(any)).expect("a socket");
    socket.connect(peer).expect("a route");
    socket.set_read_timeout(Some(ANSWER)).expect("a timeout");
    socket
}

/// Sends `payload` and returns what comes back. None if nothing does, or an ICMP error.
pub fn ask(socket: &UdpSocket, payload: &[u8]) -> Option<Vec<u8>> {
    // An earlier ICMP error is reported here, once.
    if socket.send(payload).is_err() {
        socket.send(payload).ok()?;
    }
    let mut answer = vec![0; 65_536];
    let len = socket.recv(&mut answer).ok()?;
    answer.truncate(len);
    Some(answer)
}

/// Whether the echo stack at `addr` answers the client.
pub fn echoes(client: &Netns, addr: &str) -> bool {
    let socket = udp(client, addr);
    (0u8..3).any(|try_number| ask(&socket, &[try_number]) == Some(vec![try_number]))
}

/// Pings `addr` from the client so often, every 10 ms, with so many bytes of payload.
#[track_caller]
pub fn ping(client: &Netns, addr: &str, count: u32, bytes: u32) {
    let (count, bytes) = (count.to_string(), bytes.to_string());
    let args = [
        "-q", "-i", "0.01", "-W", "2", "-c", &count, "-s", &bytes, "-M", "do", addr,
    ];
    let stdout = client.run("ping", &args);
    assert!(stdout.contains(" 0% packet loss"), "{stdout}");
}

/// A ping every 10 ms until [`Pings::end`].
pub struct Pings(Process);

impl Pings {
    pub fn start(client: &Netns, addr: &str) -> Self {
        let mut command = client.command("ping");
        command.args(["-n", "-i", "0.01", addr]);
        Self(Process::spawn("ping", &mut command))
    }

    /// None was lost; those of the last 100 ms may be on their way still.
    #[track_caller]
    pub fn end(self) {
        let lost = self.lost();
        assert!(lost.is_empty(), "pings without an answer: {lost:?}");
    }

    /// Ends it, and tells which were lost; those of the last 100 ms may be on their way still.
    #[track_caller]
    pub fn lost(self) -> Vec<u32> {
        self.0.signal(Signal::INT);
        let ended = self.0.wait();
        let sequence = |line: &str| {
            let (_, rest) = line.split_once("icmp_seq=")?;
            rest.split(' ').next()?.parse::<u16>().ok()
        };
        let mut last = 0u32;
        let mut answered = BTreeSet::new();
        for number in ended.stdout.lines().filter_map(sequence) {
            // 16 bits, of which there are several rounds; one or the other answer may be late.
            #[allow(clippy::cast_possible_truncation)]
            let more = i32::from(number.wrapping_sub(last as u16).cast_signed());
            last = last.wrapping_add_signed(more);
            answered.insert(last);
        }
        let sent = ended
            .stdout
            .lines()
            .find(|line| line.contains("packets transmitted"));
        let sent = sent.and_then(|line| line.split(' ').next()?.parse().ok());
        let sent: u32 = sent.unwrap_or_else(|| panic!("{ended:?}"));
        assert!(!answered.is_empty(), "{ended:?}");
        (1..sent.saturating_sub(10))
            .filter(|number| !answered.contains(number))
            .collect()
    }
}

/// A stream of small datagrams, some ten thousand a second, until dropped.
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    pub fn start(client: &Netns, addr: &str) -> Self {
        let socket = udp(client, addr);
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                for _ in 0..20 {
                    // Refused by ICMP once nobody is there: all the same.
                    let _ = socket.send(&[b'x'; 100]);
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Questions to an echo stack, one after the other, until [`Questions::end`], but no fewer than a few.
pub struct Questions {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u32, u32)>,
}

impl Questions {
    pub fn start(client: &Netns, addr: &str) -> Self {
        let socket = udp(client, addr);
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut sent, mut answered) = (0u32, 0);
            while sent <= 10 || !asked.load(Ordering::Relaxed) {
                let payload = sent.to_be_bytes();
                sent += 1;
                answered += u32::from(ask(&socket, &payload).as_deref() == Some(&payload));
            }
            (sent, answered)
        });
        Self { stop, thread }
    }

    /// All were answered.
    #[track_caller]
    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (sent, answered) = self.thread.join().expect("no panic");
        assert_eq!(sent, answered);
    }
}

/// Frames that pass a namespace from now on.
pub struct Sniffer {
    socket: OwnedFd,
    destination: Vec<u8>,
}

impl Sniffer {
    /// All of them.
    pub fn all(netns: &Netns) -> Self {
        let all = Protocol::from_raw(u32::from(0x0003u16.to_be()).try_into().expect("not 0"));
        let open = || socket(AddressFamily::PACKET, SocketType::RAW, Some(all));
        let socket = netns.enter(open).expect("a packet socket");
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER)).expect("a timeout");
        Self {
            socket,
            destination: Vec::new(),
        }
    }

    /// Those to the MAC of `netdev`; not what goes out: ICMP errors quote what they are about.
    pub fn addressed_to(netns: &Netns, netdev: &str) -> Self {
        let mac = netns.mac(netdev);
        let mac = mac.split(':').map(|byte| u8::from_str_radix(byte, 16));
        Self {
            destination: mac.collect::<Result<_, _>>().expect("a MAC"),
            ..Self::all(netns)
        }
    }

    /// Frames until there are none for [`ANSWER`].
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut frame = vec![0; 65_536];
        while let Ok((len, _)) = recv(&self.socket, &mut frame[..], RecvFlags::empty()) {
            if frame.starts_with(&self.destination) {
                frames.push(frame[..len].to_vec());
            }
        }
        frames
    }

    /// How many of the [`frames`](Self::frames) have `text` in them.
    pub fn count(&self, text: &str) -> usize {
        let has = |frame: &Vec<u8>| {
            frame
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        self.frames().iter().filter(|frame| has(frame)).count()
    }
}

/// `curl URL` on the client: the body.
#[track_caller]
pub fn curl(client: &Netns, args: &[&str]) -> String {
    let mut all = vec!["-sS", "--fail", "--max-time", "30"];
    all.extend(args);
    client.run("curl", &all)
}

/// wrk on the client with 64 connections for so many seconds: the number of requests. No error of
/// any kind may be among them.
#[track_caller]
pub fn wrk(client: &Netns, url: &str, seconds: u32) -> u64 {
    let duration = format!("{seconds}s");
    let stdout = client.run("wrk", &["-t", "1", "-c", "64", "-d", &duration, url]);
    assert!(
        !stdout.contains("errors") && !stdout.contains("Non-2xx"),
        "{stdout}"
    );
    let line = stdout.lines().find(|line| line.contains("requests in"));
    let count = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    count.unwrap_or_else(|| panic!("{stdout}"))
}

/// sha256sum of a file.
#[track_caller]
pub fn sha256(path: &std::path::Path) -> String {
    let output = Command::new("sha256sum")
        .arg(path)
        .output()
        .expect("sha256sum");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split(' ').next().unwrap_or_default().to_owned()
}
