//! The server against the kernel's TCP: over a TAP, in a network namespace of its own.
//!
//! Needs root, iproute2, curl and wrk: `cargo test -p stack-http --release --test tap -- --ignored`

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use port_api::Backoff;
use smoltcp::phy::{Medium, TunTapInterface};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr};
use stack_http::{Config, Root, Server};

const IN_NETNS: &str = "STACK_HTTP_TEST_IN_NETNS";
const MAC: &str = "02:00:00:00:00:01";

/// Runs a program, which must succeed, and returns what it prints.
fn run(line: &str) -> String {
    run_words(&line.split_whitespace().collect::<Vec<_>>())
}

fn run_words(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {text}{errors}");
    text
}

struct Running {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    dir: PathBuf,
}

impl Running {
    fn start() -> Self {
        let dir = std::env::temp_dir().join(format!("stack-http-tap-{}", std::process::id()));
        fs::create_dir_all(dir.join("root/sub")).unwrap();
        fs::create_dir_all(dir.join("got")).unwrap();
        fs::write(dir.join("root/index.html"), "<p>hello</p>\n").unwrap();
        fs::write(dir.join("root/sub/index.html"), "<p>sub</p>\n").unwrap();
        let big: Vec<u8> = (0..20_000_000u32)
            .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect();
        fs::write(dir.join("root/big.bin"), big).unwrap();

        run("ip tuntap add tap0 mode tap");
        run("ip link set tap0 up");
        run("ip addr add 10.99.0.2/24 dev tap0");
        run("ip addr add fd99::2/64 dev tap0 nodad");
        // As behind the switch: the host answers for the address, so the server hears no question
        // from which it could learn its clients' addresses.
        run(&format!("ip neigh add 10.99.0.1 lladdr {MAC} dev tap0"));
        run(&format!("ip neigh add fd99::1 lladdr {MAC} dev tap0"));

        let end = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (end, root) = (Arc::clone(&end), dir.join("root"));
            move || serve(&root, &end)
        });
        Self {
            end,
            thread: Some(thread),
            dir,
        }
    }

    fn big(&self) -> Vec<u8> {
        fs::read(self.dir.join("root/big.bin")).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        let removed = fs::remove_dir_all(&self.dir);
        if !thread::panicking() {
            ended.unwrap();
            removed.unwrap();
        }
    }
}

fn serve(root: &Path, end: &AtomicBool) {
    let now = || Instant::from(std::time::Instant::now());
    let mut device = TunTapInterface::new("tap0", Medium::Ethernet).unwrap();
    let config = Config {
        mac: MAC.parse::<EthernetAddress>().unwrap(),
        addresses: ["10.99.0.1/24", "fd99::1/64"]
            .map(|cidr| cidr.parse::<IpCidr>().unwrap())
            .to_vec(),
        gateways: vec![],
        ports: vec![80, 8080],
        sockets: 512,
    };
    let root = Root::open(root).unwrap();
    let mut server = Server::new(&config, root, 7, &mut device, now()).unwrap();
    let mut backoff = Backoff::new(false);
    while !end.load(Ordering::Relaxed) {
        let worked = server.round(&mut device, now());
        backoff.after_poll(worked);
    }
    server.shut_down(&mut device, now());
}

fn status(options: &str, url: &str) -> String {
    run(&format!(
        "curl -s -m 10 -o /dev/null -w %{{http_code}} {options} {url}"
    ))
}

fn with_curl(running: &Running) {
    let got = running.dir.join("got/big").display().to_string();
    for host in ["10.99.0.1", "[fd99::1]", "10.99.0.1:8080"] {
        run(&format!("curl -s -m 30 -o {got} http://{host}/big.bin"));
        assert!(fs::read(&got).unwrap() == running.big(), "{host}");
    }
    let url = "http://10.99.0.1";
    assert_eq!(run(&format!("curl -s {url}/")), "<p>hello</p>\n");
    assert_eq!(run(&format!("curl -sL {url}/sub?q")), "<p>sub</p>\n");
    assert_eq!(
        run(&format!(
            "curl -s -o /dev/null -w %{{redirect_url}} {url}//sub?q"
        )),
        format!("{url}/sub/?q")
    );
    let head = run(&format!("curl -sI {url}/big.bin"));
    assert!(head.contains("Content-Length: 20000000\r\n"), "{head}");
    assert_eq!(status("", &format!("{url}/none")), "404");
    let path = "../../../../etc/passwd";
    assert_eq!(status("--path-as-is", &format!("{url}/{path}")), "400");
    assert_eq!(status("", &format!("{url}/%2e%2e/root/index.html")), "400");
    assert_eq!(status("-d body", &format!("{url}/")), "405");
    assert_eq!(status("-X DELETE", &format!("{url}/")), "405");
    assert_eq!(status("--http1.0", &format!("{url}/")), "200");
    let long = "a".repeat(9000);
    assert_eq!(status(&format!("-H X:{long}"), &format!("{url}/")), "431");
    let connects = run(&format!(
        "curl -s -o /dev/null -o /dev/null -o /dev/null -w %{{num_connects}} {url}/ {url}/none {url}/"
    ));
    assert_eq!(connects, "100", "connections are kept");
    // A body that is not read: the answer comes nevertheless.
    let upload = format!("-H Expect: --data-binary @{got}");
    assert_eq!(status(&upload, &format!("{url}/")), "405");
}

fn parallel(running: &Running) {
    let got = running.dir.join("got/p").display().to_string();
    run(&format!(
        "curl -s -Z --parallel-max 16 -m 60 -o {got}#1 http://10.99.0.1/big.bin?[1-16]"
    ));
    let big = running.big();
    for i in 1..=16 {
        assert!(
            fs::read(format!("{got}{i}")).unwrap() == big,
            "download {i}"
        );
    }
}

fn connect() -> TcpStream {
    let stream = TcpStream::connect("10.99.0.1:80").unwrap();
    let timeout = Some(Duration::from_secs(10));
    stream.set_read_timeout(timeout).unwrap();
    stream
}

fn raw_sockets() {
    // Half closed.
    let mut stream = connect();
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\n<p>hello</p>\n"), "{answer}");

    // Byte by byte.
    let mut stream = connect();
    stream.set_nodelay(true).unwrap();
    for byte in request {
        stream.write_all(&[*byte]).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    let mut start = [0; 15];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");

    // More requests in one go than are answered in one go.
    let mut stream = connect();
    stream.write_all(&request.repeat(200)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.matches("<p>hello</p>").count(), 200);

    // Gone with a download under way: closing with unread data sends a reset.
    for _ in 0..100 {
        let mut stream = connect();
        stream.write_all(b"GET /big.bin HTTP/1.0\r\n\r\n").unwrap();
        stream.read_exact(&mut start).unwrap();
    }
    assert_eq!(status("", "http://10.99.0.1/"), "200");
}

/// Handshakes from an address that nobody answers for take up all sockets, but not for good.
fn unreachable_peers() {
    run("ip addr add 10.99.0.3/24 dev tap0");
    fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "8").unwrap();
    let flood = "-s -Z --parallel-immediate --parallel-max 300 -m 2 --interface 10.99.0.3";
    let flood = Command::new("curl")
        .args(flood.split(' '))
        .arg("http://10.99.0.1/?[1-300]")
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!flood.success());
    assert!(TcpStream::connect("10.99.0.1:80").is_err(), "no flood");
    assert_eq!(
        status("", "http://10.99.0.1:8080/"),
        "200",
        "the other port"
    );
    thread::sleep(Duration::from_secs(9));
    assert_eq!(status("", "http://10.99.0.1/"), "200", "after the flood");
    fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "0").unwrap();
}

/// TCP connections that this network namespace has opened so far.
fn connections_opened() -> u64 {
    let snmp = fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut rows = snmp.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
    let mut columns = names.split(' ').zip(values.split(' '));
    let opened = columns.find(|(name, _)| *name == "ActiveOpens");
    opened.unwrap().1.parse().unwrap()
}

fn load() {
    for connections in [1, 64, 200] {
        let report = run(&format!(
            "wrk -t 1 -c {connections} -d 3s --latency http://10.99.0.1/"
        ));
        println!("{report}");
        assert!(!report.contains("Socket errors"), "{report}");
        assert!(!report.contains("Non-2xx"), "{report}");
    }
    let before = connections_opened();
    let mut words: Vec<_> = "wrk -t 1 -c 64 -d 3s -H".split(' ').collect();
    words.extend(["Connection: close", "http://10.99.0.1/"]);
    let report = run_words(&words);
    let opened = connections_opened() - before;
    println!("{opened} connections\n{report}");
    assert!(!report.contains("Socket errors"), "{report}");
    assert!(!report.contains("Non-2xx"), "{report}");
    assert!(opened > 1000, "{opened} connections: not one per request");
}

#[test]
#[ignore = "needs root, iproute2, curl and wrk"]
fn the_kernel_as_client() {
    if std::env::var_os(IN_NETNS).is_none() {
        let this = std::env::current_exe().unwrap();
        let status = Command::new("unshare")
            .arg("--net")
            .arg(this)
            .args([
                "--exact",
                "the_kernel_as_client",
                "--ignored",
                "--nocapture",
            ])
            .env(IN_NETNS, "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let running = Running::start();
    with_curl(&running);
    parallel(&running);
    raw_sockets();
    unreachable_peers();
    load();
}
