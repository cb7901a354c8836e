//! Stacks serve a kernel client.

use std::fs;
use std::io::Write;
use std::time::Duration;

use crate::net_tools::{Pings, ask, curl, sha256, udp, wrk};
use crate::netns::Netns;
use crate::process::Process;
use crate::testbed::{HOST_V4, HOST_V6, Testbed, is_long};

/// The kernel's count of UDP datagrams that it saw, over IPv4 or IPv6, whoever they were for.
pub fn kernel_datagrams(host: &Netns) -> u64 {
    host.enter(|| {
        let v4 = fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
        let mut rows = v4.lines().filter_map(|line| line.strip_prefix("Udp: "));
        let names = rows.next().unwrap().split(' ');
        let counts = rows.next().unwrap().split(' ');
        let v6 = fs::read_to_string("/proc/thread-self/net/snmp6").unwrap();
        let v6 = v6
            .lines()
            .filter_map(|line| line.strip_prefix("Udp6")?.split_once(char::is_whitespace));
        let all = names
            .zip(counts)
            .chain(v6.map(|(name, count)| (name, count.trim())));
        all.filter(|(name, _)| ["InDatagrams", "NoPorts", "InErrors"].contains(name))
            .map(|(_, count)| count.parse::<u64>().unwrap())
            .sum()
    })
}

#[test]
fn an_echo_stack_gives_the_bytes_back() {
    let bed = Testbed::start();
    let before = kernel_datagrams(&bed.host);
    for addr in [format!("{HOST_V4}:7"), format!("[{HOST_V6}]:7")] {
        let echo = bed.echo(&addr);
        let socket = udp(&bed.client, &addr);
        for len in [0, 1, 17, 18, 19, 63, 64, 512, 1000, 1452] {
            let payload: Vec<u8> = (0..len).map(|n: u32| (n % 251) as u8).collect();
            assert_eq!(ask(&socket, &payload), Some(payload), "{addr}, {len} bytes");
        }
        echo.terminate();
    }
    assert_eq!(kernel_datagrams(&bed.host), before, "the kernel saw none");
    bed.expect_no_stacks();
    assert_eq!(bed.stats().ports[0].to_vports, 20);
    bed.finish();
}

#[test]
fn what_a_stack_gives_up_is_the_kernels_again() {
    let bed = Testbed::start();
    let addr = format!("{HOST_V4}:7");
    let echo = bed.echo(&addr);
    assert_eq!(
        ask(&udp(&bed.client, &addr), b"stack"),
        Some(b"stack".to_vec())
    );
    echo.terminate();
    bed.expect_no_stacks();
    let before = kernel_datagrams(&bed.host);
    assert_eq!(ask(&udp(&bed.client, &addr), b"kernel"), None);
    assert!(kernel_datagrams(&bed.host) > before);
    bed.finish();
}

/// The http stack, on port 80 of the host's addresses, and with these options.
#[track_caller]
pub fn serve_http(bed: &Testbed, options: &[&str]) -> Process {
    let mut http = start_http(bed, options);
    http.expect("serving");
    http
}

/// The same, without waiting for it.
pub fn start_http(bed: &Testbed, options: &[&str]) -> Process {
    let root = bed.dir.join("www");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("index.html"), "a page\n").unwrap();
    let socket = bed.socket.to_str().unwrap();
    let (v4, v6) = (format!("{HOST_V4}:80"), format!("[{HOST_V6}]:80"));
    let root = root.to_str().unwrap();
    let args = [
        "--socket", socket, "--addr", &v4, "--addr", &v6, "--root", root,
    ];
    bed.stack("stack-http", &[&args, options].concat())
}

#[test]
fn the_http_stack_serves_curl() {
    let bed = Testbed::start();
    let http = serve_http(&bed, &[]);
    for host in [HOST_V4, "[fd77::1]"] {
        let url = format!("http://{host}/");
        assert_eq!(curl(&bed.client, &[&url]), "a page\n");
        // Two requests over one connection.
        assert_eq!(curl(&bed.client, &[&url, &url]), "a page\na page\n");
        let head = curl(&bed.client, &["-I", &url]);
        assert!(
            head.contains("Content-Length: 7") || head.contains("content-length: 7"),
            "{head}"
        );
        let missing = format!("http://{host}/missing");
        let status = bed.client.run(
            "curl",
            &["-sS", "-o", "/dev/null", "-w", "%{http_code}", &missing],
        );
        assert_eq!(status, "404");
    }
    http.terminate();
    bed.expect_no_stacks();
    bed.finish();
}

#[test]
fn a_download_of_100_mb_arrives_unharmed() {
    let bed = Testbed::start();
    let http = serve_http(&bed, &[]);
    let (source, copy) = (bed.dir.join("www/100M"), bed.dir.join("copy"));
    let mut file = fs::File::create(&source).unwrap();
    let mut word = 0x9e37_79b9_7f4a_7c15u64;
    let mut chunk = vec![0; 1 << 20];
    for _ in 0..100 {
        for bytes in chunk.chunks_exact_mut(8) {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        file.write_all(&chunk).unwrap();
    }
    for host in [HOST_V4, "[fd77::1]"] {
        let url = format!("http://{host}/100M");
        curl(&bed.client, &["-o", copy.to_str().unwrap(), &url]);
        assert_eq!(sha256(&copy), sha256(&source));
    }
    http.terminate();
    bed.expect_no_stacks();
    bed.finish();
}

#[test]
fn wrk_with_64_connections_sees_no_error() {
    let bed = Testbed::start();
    let http = serve_http(&bed, &[]);
    let pings = Pings::start(&bed.client, HOST_V4);
    let seconds = if is_long() { 60 } else { 4 };
    let requests = wrk(&bed.client, &format!("http://{HOST_V4}/"), seconds);
    assert!(requests > 1000 * u64::from(seconds), "{requests} requests");
    pings.end();
    let v6 = wrk(&bed.client, &format!("http://[{HOST_V6}]/"), 2);
    assert!(v6 > 2000, "{v6} requests");
    // Connections that wrk has left open may time out meanwhile.
    std::thread::sleep(Duration::from_millis(200));
    bed.assert_conserved();
    http.terminate();
    bed.expect_no_stacks();
    bed.finish();
}
