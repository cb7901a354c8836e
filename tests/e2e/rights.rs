//! What is left to the primary's threads once it serves; and that all of it still works.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
use rustix::process::Signal;

use crate::net_tools::{Questions, echoes, ping};
use crate::netns::Netns;
use crate::process::{Process, eventually};
use crate::testbed::{HOST_V4, HOST_V6, Testbed, program};

/// Bits of capabilities(7).
const CHOWN: u64 = 1 << 0;
const DAC_OVERRIDE: u64 = 1 << 1;
const FOWNER: u64 = 1 << 3;
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const IPC_LOCK: u64 = 1 << 14;
const SYS_ADMIN: u64 = 1 << 21;

/// With a port over `AF_XDP`.
const CONTROL: u64 = CHOWN | DAC_OVERRIDE | FOWNER | NET_ADMIN | SYS_ADMIN;

/// The least to start with a port over `AF_XDP`.
const GIVEN: u64 = NET_ADMIN | NET_RAW | IPC_LOCK | SYS_ADMIN;

/// The capabilities that are left to a thread. Those of EAL have other names in each release.
fn left_to(thread: &str) -> u64 {
    match thread {
        "multistack" => CONTROL,
        "ms-host0" => NET_ADMIN,
        _ => 0,
    }
}

/// A line of `/proc/PID/task/TID/status`.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.strip_prefix(':'))
        .expect("a line")
        .trim()
}

fn capabilities(status: &str, set: &str) -> u64 {
    u64::from_str_radix(field(status, set), 16).expect("a number")
}

/// What the kernel says of each thread, by name; not of those that end meanwhile.
fn threads(pid: u32) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let threads = tasks.filter_map(|task| {
        let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        Some((field(&status, "Name").to_owned(), status))
    });
    threads.collect()
}

/// Every thread has what it needs, as far as that is among what `given` was at the start; and is confined.
/// `bounding` is what a program could be given that is executed, were it not for `no_new_privs`.
#[track_caller]
fn expect_confined(pid: u32, given: u64, bounding: u64) {
    let threads = threads(pid);
    let count = |name: &str| threads.iter().filter(|(found, _)| found == name).count();
    assert_eq!(["multistack", "ms-host0", "ms-closer"].map(count), [1; 3]);
    assert!(threads.len() >= 7, "and a worker, and EAL's: {threads:?}");
    for (name, status) in threads {
        let sets = ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"];
        let found = sets.map(|set| capabilities(&status, set));
        let kept = left_to(&name) & given;
        assert_eq!(found, [kept, kept, 0, bounding, 0], "{name}: {found:x?}");
        assert_eq!(field(&status, "NoNewPrivs"), "1", "{name}");
        assert_eq!(field(&status, "Seccomp"), "2", "{name}");
    }
}

/// Asks EAL's telemetry, which answers on a thread of its own.
fn telemetry(bed: &Testbed) -> String {
    let path = format!("/var/run/dpdk/{}/dpdk_telemetry.v2", bed.name);
    let socket: OwnedFd = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    let mut answer = vec![0; 4096];
    let len = fs::File::from(socket).read(&mut answer).unwrap();
    String::from_utf8(answer[..len].to_vec()).unwrap()
}

/// All that the switch does after its start.
fn works(bed: &mut Testbed) {
    let addr = format!("{HOST_V4}:7");
    let echo = bed.echo(&addr);
    let questions = Questions::start(&bed.client, &addr);
    ping(&bed.client, HOST_V6, 5, 1400);
    let mut msctl = Command::new(program("msctl"));
    let reload = msctl
        .arg("--socket")
        .arg(&bed.socket)
        .arg("reload")
        .output();
    assert!(reload.unwrap().status.success());
    bed.switch().signal(Signal::HUP);
    bed.switch()
        .expect("SIGHUP: configuration and policy were read again");
    bed.host.ip("link del msh0");
    bed.switch().expect("the netdev msh0 is there again");
    eventually("the new netdev has its address", || {
        bed.host.ip("-br addr").contains(HOST_V4)
    });
    ping(&bed.client, HOST_V4, 5, 56);
    assert!(telemetry(bed).contains("version"));
    // One that dies leaves files of EAL's behind, which are removed.
    let before = bed.runtime_files();
    let more = bed.echo(&format!("[{HOST_V6}]:7"));
    assert_ne!(bed.runtime_files(), before);
    more.kill();
    eventually("a dead stack's files are gone", || {
        bed.runtime_files() == before
    });
    questions.end();
    assert!(echoes(&bed.client, &addr));
    echo.terminate();
    bed.expect_no_stacks();
}

/// Whether a program is on the port's netdev.
fn has_xdp(host: &Netns) -> bool {
    host.ip("-d link show msx0").contains("xdp")
}

#[test]
fn only_what_is_needed_is_left() {
    let mut bed = Testbed::without_switch();
    // Others' files, read again; and a socket that is given to them.
    let config = bed.dir.join("config.toml");
    fs::write(
        &config,
        "socket-owner = \"nobody\"\nsocket-mode = \"0660\"\n",
    )
    .unwrap();
    std::os::unix::fs::chown(&config, Some(65_534), None).unwrap();
    fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    bed.start_switch(&["--config", config.to_str().unwrap()]);
    let pid = bed.switch().pid();
    expect_confined(pid, u64::MAX, 0);
    bed.switch().expect("rights given up");
    works(&mut bed);
    expect_confined(pid, u64::MAX, 0);
    assert!(has_xdp(&bed.host));
    bed.end();
    assert!(!has_xdp(&bed.host), "the port's netdev has a program");
}

#[test]
fn a_service_manager_has_taken_most_before() {
    let mut bed = Testbed::without_switch();
    let few = [
        "setpriv",
        "--bounding-set",
        "-all,+net_admin,+net_raw,+sys_admin,+ipc_lock",
    ];
    bed.start_switch_under(&few, &[]);
    let pid = bed.switch().pid();
    // To take anything from the bounding set would need one more.
    expect_confined(pid, GIVEN, GIVEN);
    works(&mut bed);
    bed.finish();
}

#[test]
fn what_is_missing_is_said_in_a_line() {
    let bed = Testbed::without_switch();
    let app = ["--socket", bed.socket.to_str().unwrap()];
    for (bounding, expected) in [
        (
            "-net_admin",
            "missing capabilities: CAP_NET_ADMIN: run as root",
        ),
        (
            "-net_raw,-sys_admin",
            "missing capabilities: CAP_NET_RAW, CAP_SYS_ADMIN: run as root",
        ),
    ] {
        let less = ["setpriv", "--bounding-set", bounding];
        let mut command = bed.switch_command_under(&less, &bed.eal_args(), &app);
        let ended = Process::spawn("multistack", &mut command).wait();
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains(expected), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert_eq!(bed.left_behind(), [""; 0]);
    }
}

#[test]
fn nothing_is_given_up_where_that_is_asked_for() {
    let mut bed = Testbed::start_with(&["--unconfined"]);
    for (name, status) in threads(bed.switch().pid()) {
        assert_eq!(field(&status, "Seccomp"), "0", "{name}");
        assert_ne!(capabilities(&status, "CapEff") & SYS_ADMIN, 0, "{name}");
    }
    bed.switch()
        .expect("--unconfined: all rights of the start are kept");
    bed.finish();
}
