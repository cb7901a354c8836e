//! The program against a switch that is a thread of this test.

mod fake;
mod trace;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use fake::FakeSwitch;
use port_api::protocol::Reply;

fn msctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_msctl"));
    command.env_remove("MULTISTACK_SOCKET");
    command
}

fn ask(switch: &FakeSwitch, args: &[&str]) -> Output {
    msctl()
        .arg("--socket")
        .arg(switch.path())
        .args(args)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    assert_eq!(std::str::from_utf8(&output.stderr).unwrap(), "");
    std::str::from_utf8(&output.stdout).unwrap()
}

/// The one line of an error, of which no stdout may come.
fn failure(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = std::str::from_utf8(&output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim_end()
}

#[test]
fn ports_as_a_table() {
    let switch = FakeSwitch::start();
    let output = ask(&switch, &["ports"]);
    let expected = "\
ID  NAME         DRIVER      MAC                 MTU  LINK  MBIT/S  RX-QUEUES  OFFLOADS                 NETDEV  ADDRESSES
 0  net_af_xdp0  net_af_xdp  02:00:00:00:00:01  1500  up     10000          1  rx-checksum,tx-checksum  msh0    10.77.0.1/24,fd77::1/64
";
    assert_eq!(stdout(&output), expected);
}

#[test]
fn reload_says_nothing_if_all_went_well_and_else_why() {
    let switch = FakeSwitch::start();
    assert_eq!(stdout(&ask(&switch, &["reload"])), "");
    let why = "--policy /etc/p.toml: line 3: 99999 is not a port";
    let switch = FakeSwitch::with(|reply| {
        if *reply == Reply::Done {
            *reply = Reply::Refused {
                errno: 22,
                message: "--policy /etc/p.toml: line 3: 99999 is not a port".to_owned(),
            };
        }
    });
    let output = ask(&switch, &["reload"]);
    assert!(failure(&output).contains(why), "{output:?}");
}

#[test]
fn stacks_of_all_pages() {
    let switch = FakeSwitch::start();
    let output = ask(&switch, &["stacks"]);
    let text = stdout(&output);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 1 + fake::STACKS);
    assert_eq!(
        lines[0],
        "VPORT  NAME      PID  UID    AGE  CLAIMS  HELD  QUOTA  RX-LIMIT  TX-LIMIT     VHOST"
    );
    assert_eq!(
        lines[1],
        "    1  stack1   1001    0  01:05       2   128   1024  none      1Mpps,2Gbps  -"
    );
    assert_eq!(
        lines[70],
        "   70  stack70  1070    0  01:05       2   128   1024  none      1Mpps,2Gbps  connected /run/vm.sock"
    );
}

#[test]
fn claims_of_all_pages() {
    let switch = FakeSwitch::start();
    let output = ask(&switch, &["claims"]);
    let text = stdout(&output);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 1 + fake::CLAIMS);
    let expected = [
        " ID  KIND         PROTO  LOCAL            REMOTE          VLAN     STACK  VPORT   PID",
        "  1  connection   tcp    [fd77::1]:80     [fd77::2]:5000  -        http       1  1001",
        "  2  any-address  udp    0.0.0.0:9        *               -        http       1  1001",
        "  3  protocol     sctp   10.77.0.1        *               -        http       1  1001",
        "  4  protocol     47     10.77.0.1        *               -        http       1  1001",
        "  5  address      *      10.77.0.50       *               100.200  http       1  1001",
        "  6  group        udp    239.1.1.1:5000   *               -        http       1  1001",
        "  7  tuple        tcp    [fd77::1]:7      *               -        http       1  1001",
    ];
    assert_eq!(lines[..8], expected);
    assert_eq!(
        lines[200],
        "200  tuple        udp    10.77.0.1:10200  *               -        http       1  1001"
    );
}

#[test]
fn json_is_one_document_with_the_rows_of_all_pages() {
    let switch = FakeSwitch::start();
    for (what, rows) in [
        ("ports", 1),
        ("stacks", fake::STACKS),
        ("claims", fake::CLAIMS),
    ] {
        let output = ask(&switch, &[what, "--json"]);
        assert_eq!(stdout(&output).lines().count(), 1);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document.as_array().unwrap().len(), rows, "{what}");
    }
    let output = ask(&switch, &["claims", "--json"]);
    let document: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(document[0]["kind"], "connection");
    assert_eq!(document[0]["remote"], "[fd77::2]:5000");
    assert_eq!(document[4]["vlan"], "100.200");
    assert_eq!(document[5]["verify"], true);
    assert_eq!(document[199]["protocol"], "udp");
}

#[test]
fn stats_as_tables_and_as_json() {
    let switch = FakeSwitch::start();
    let output = ask(&switch, &["stats"]);
    let text = stdout(&output);
    let vports = text.lines().filter(|line| line.contains("  stack")).count();
    assert_eq!(vports, fake::STACKS);
    for line in [
        "port 0  net_af_xdp0  rx   runt        5",
        "pool: 8191 buffers = 8000 available + 128 held + 63 in the switch",
        "    1    1000   50.0",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line:?} in\n{text}");
    }
    assert!(!text.contains("warning"));

    let output = ask(&switch, &["stats", "--json"]);
    let document: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(document["vports"].as_array().unwrap().len(), fake::STACKS);
    assert_eq!(document["ports"].as_array().unwrap().len(), 1);
    assert_eq!(document["ports"][0]["rx_dropped"]["runt"], 5);
    assert_eq!(document["pool"]["in_switch"], 63);
    assert_eq!(document.get("next"), None);
}

#[test]
fn sums_that_do_not_hold_are_warned_of() {
    let switch = FakeSwitch::with(|reply| {
        if let port_api::protocol::Reply::Stats(stats) = reply {
            stats.ports[0].to_host += 2;
        }
    });
    let warning =
        "warning: port 0 (net_af_xdp0): rx packets less what became of them is -2, not 0\n";
    let output = ask(&switch, &["stats"]);
    assert!(stdout(&output).ends_with(warning));
    let output = ask(&switch, &["stats", "--json"]);
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!("msctl: {warning}")
    );
    serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
}

#[test]
fn watched_stats_are_rates_until_the_switch_ends() {
    let switch = FakeSwitch::start();
    let mut child = msctl()
        .arg("--socket")
        .arg(switch.path())
        .args(["stats", "--watch", "0.1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let heading = format!("{}: stats every 0.1 s", switch.path().display());
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    for _ in 0..2 {
        assert_eq!(lines.find(|line| line.contains("every")).unwrap(), heading);
        assert!(lines.next().unwrap().contains("  RX-PKT/s  "));
        let row = lines.next().unwrap();
        let rates: Vec<u64> = row
            .split_whitespace()
            .skip(2)
            .map(|cell| cell.parse().unwrap())
            .collect();
        // The fake port receives 1000 packets of 60 bytes between two readings at least 100 ms
        // apart, and its 5 drops do not change.
        assert!((1..=10_000).contains(&rates[0]), "{row}");
        assert!(rates[1].abs_diff(rates[0] * 60) <= 60, "{row}");
        assert_eq!(rates[5], 5, "{row}");
    }
    let ended = Instant::now();
    drop(switch);
    let status = child.wait().unwrap();
    assert!(ended.elapsed() < Duration::from_secs(5));
    assert_eq!(status.code(), Some(1));
    let mut text = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "msctl: the switch closed the connection\n");
}

#[test]
fn watched_json_is_a_document_a_line_with_totals() {
    let switch = FakeSwitch::start();
    let mut child = msctl()
        .arg("--socket")
        .arg(switch.path())
        .args(["stats", "--json", "--watch", "0.1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let totals: Vec<_> = lines
        .take(3)
        .map(|line| {
            let document: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            document["ports"][0]["rx_packets"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(totals, [1005, 2005, 3005]);
    // Its stdout is closed now: it ends at the next line, quietly.
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_long_interval_does_not_hide_the_end_of_the_switch() {
    let switch = FakeSwitch::start();
    let mut child = msctl()
        .arg("--socket")
        .arg(switch.path())
        .args(["ports", "--watch=1000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().ends_with("every 1000 s"));
    drop(switch);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn the_socket_may_come_from_the_environment() {
    let switch = FakeSwitch::start();
    let output = msctl()
        .env("MULTISTACK_SOCKET", switch.path())
        .arg("ports")
        .output()
        .unwrap();
    assert!(stdout(&output).contains("net_af_xdp0"));
}

#[test]
fn errors_are_one_line_and_status_1() {
    let output = msctl()
        .args(["--socket", "/nonexistent/rte.sock", "ports"])
        .output()
        .unwrap();
    assert!(failure(&output).starts_with("msctl: /nonexistent/rte.sock: "));

    let switch = FakeSwitch::with(|reply| {
        if let port_api::protocol::Reply::Hello(greeting) = reply {
            greeting.version += 1;
        }
    });
    let output = ask(&switch, &["ports"]);
    assert!(failure(&output).starts_with("msctl: version mismatch: "));

    let switch = FakeSwitch::with(|reply| {
        if let port_api::protocol::Reply::Ports { .. } = reply {
            *reply = port_api::protocol::Reply::Refused {
                errno: 1,
                message: "not you".to_owned(),
            };
        }
    });
    assert_eq!(failure(&ask(&switch, &["ports"])), "msctl: not you");

    let switch = FakeSwitch::with(|reply| {
        if let port_api::protocol::Reply::Claims { next, .. } = reply {
            *next = Some(3);
        }
    });
    let output = ask(&switch, &["claims"]);
    assert_eq!(
        failure(&output),
        "msctl: control protocol: a list's pages go in circles"
    );
}

#[test]
fn wrong_arguments_are_status_2() {
    for args in [
        &["nonsense"][..],
        &["stats", "--watch", "0"],
        &["ports", "--socket"],
        &[],
    ] {
        let output = msctl().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}
