//! What goes wrong at the start: one clear line, a failure, and nothing left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::net_tools::ping;
use crate::process::{Ended, Process};
use crate::testbed::{HOST_V4, Testbed, program};

/// A port that needs nothing.
const NULL: [&str; 3] = ["--no-pci", "--vdev", "net_null0"];

/// Runs a primary that must fail, and checks how it does. Returns its one line.
#[track_caller]
fn fails(bed: &Testbed, command: &mut Command, expected: &str) {
    let Ended {
        status,
        stdout,
        stderr,
    } = Process::spawn("multistack", command).wait();
    let code = status.code();
    assert!(code.is_some_and(|code| code > 0), "{status}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "one line:\n{stderr}");
    assert!(stderr.starts_with("multistack: "), "{stderr}");
    assert!(
        stderr.contains(expected),
        "{expected:?} is not in: {stderr}"
    );
    assert_eq!(stdout, "");
    assert_eq!(bed.left_behind(), [""; 0], "after: {stderr}");
}

/// A primary on lcores `lcores` with these EAL and application arguments.
fn switch(bed: &Testbed, lcores: &str, eal: &[&str], app: &[&str]) -> Command {
    let prefix = format!("--file-prefix={}", bed.name);
    let basic = ["-l", lcores, &prefix];
    let eal: Vec<_> = basic.iter().chain(eal).map(|&arg| arg.to_owned()).collect();
    let socket = bed.socket.to_str().unwrap();
    let app: Vec<_> = ["--socket", socket].iter().chain(app).copied().collect();
    bed.switch_command(&eal, &app)
}

#[test]
fn bad_arguments() {
    let bed = Testbed::without_switch();
    let null = |app: &[&str]| switch(&bed, "0-1", &NULL, app);
    let eal = |args: &[&str]| switch(&bed, "0-1", args, &[]);
    let cases = [
        (eal(&["--no-pci", "--no-such-option"]), "--no-such-option"),
        (eal(&[]), "no port: name a NIC (-a "),
        (
            eal(&["--no-pci", "--vdev", "no_such_driver0"]),
            "no_such_driver0",
        ),
        (eal(&["-a", "0000:ff:1f.7"]), "0000:ff:1f.7"),
        (eal(&["--no-pci"]), "no port"),
        (switch(&bed, "0-999", &NULL, &[]), "lcores"),
        (switch(&bed, "0", &NULL, &[]), "lcore"),
        (null(&["--no-such-option"]), "--no-such-option"),
        (null(&["--max-vports", "many"]), "many"),
        (null(&["--max-vports", "0"]), "max-vports"),
        (null(&["--ring-size", "100"]), "100"),
        (null(&["--mbufs", "1"]), "--mbufs 1"),
        (null(&["stray"]), "stray"),
        (null(&["--host-addr", "10.77.0.1"]), "10.77.0.1"),
        (null(&["--host-addr", "10.77.0.1/33"]), "10.77.0.1/33"),
        (null(&["--host-addr", "1:10.77.0.1/24"]), "no such port"),
        (
            null(&["--host-netdev", "a-name-that-is-too-long"]),
            "a-name-that-is-too-long",
        ),
        (null(&["--config", "/no/such/file"]), "/no/such/file"),
        (null(&["--policy", "/no/such/file"]), "/no/such/file"),
        (null(&["--socket-mode", "rw"]), "not a mode in octal"),
        (null(&["--socket-group", "no-such-group"]), "no-such-group"),
        (null(&["--socket-owner", "no-such-user"]), "no-such-user"),
    ];
    for (mut command, expected) in cases {
        fails(&bed, &mut command, expected);
    }
}

#[test]
fn bad_config_files() {
    let bed = Testbed::without_switch();
    let path = bed.dir.join("config.toml");
    let cases = [
        ("quota = 256\nquotta = 1\n", "line 2"),
        ("quota = \"many\"\n", "line 1"),
        ("quota = 1\n", "quota"),
        ("host-addr = [\"10.77.0.1\"]\n", "10.77.0.1"),
        ("[switch\n", "line 1"),
    ];
    for (text, expected) in cases {
        fs::write(&path, text).unwrap();
        let app = ["--config", path.to_str().unwrap()];
        fails(&bed, &mut switch(&bed, "0-1", &NULL, &app), expected);
    }
}

#[test]
fn bad_policy_files() {
    let bed = Testbed::without_switch();
    let path = bed.dir.join("policy.toml");
    let cases = [
        ("[[rule]]\naction = \"perhaps\"\n", "line 2"),
        (
            "[[rule]]\naction = \"allow\"\nports = [\"9-7\"]\n",
            "line 3",
        ),
        (
            "[[rule]]\naction = \"allow\"\naddress = [\"10.0.0.0/8\"]\n",
            "line 3",
        ),
        ("rule = 1\n", "line 1"),
        ("[[user]]\nuids = [0]\nattach = 1\n", "line 3"),
        ("[[user]]\nquota = 1\n", "line 2"),
    ];
    for (text, expected) in cases {
        fs::write(&path, text).unwrap();
        let app = ["--policy", path.to_str().unwrap()];
        fails(&bed, &mut switch(&bed, "0-1", &NULL, &app), expected);
    }
}

#[test]
fn a_config_file_does_as_the_command_line_does() {
    let mut bed = Testbed::without_switch();
    let path = bed.dir.join("config.toml");
    fs::write(
        &path,
        "max-vports = 2\nquota = 256\nfill = 64\nhost-addr = [\"10.77.0.9/24\"]\n",
    )
    .unwrap();
    // The addresses of the command line win.
    bed.start_switch(&["--config", path.to_str().unwrap()]);
    ping(&bed.client, HOST_V4, 3, 56);
    let addresses = bed.port().addresses;
    assert!(
        !addresses.iter().any(|a| a.contains("10.77.0.9")),
        "{addresses:?}"
    );
    let mut probe = bed.probe("probe", &["claim", "udp", &format!("{HOST_V4}:0")]);
    probe.expect("claimed");
    assert_eq!(bed.stacks()[0].quota, 256);
    bed.finish();
}

#[test]
fn a_second_primary_with_the_same_file_prefix() {
    let mut bed = Testbed::start();
    let other_socket = bed.dir.join("other.sock");
    let app = [
        "--socket",
        other_socket.to_str().unwrap(),
        "--host-netdev",
        "other",
    ];
    let prefix = format!("--file-prefix={}", bed.name);
    let eal = ["-l", "0-1", &prefix, "--no-pci", "--vdev", "net_null0"];
    let mut command = bed.switch_command(&eal.map(str::to_owned), &app);
    let Ended { status, stderr, .. } = Process::spawn("second", &mut command).wait();
    assert!(!status.success());
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(&bed.switch().pid().to_string()), "{stderr}");
    assert!(!other_socket.exists());
    // The first one is as before, and new stacks find it.
    ping(&bed.client, HOST_V4, 10, 56);
    let _echo = bed.echo(&format!("{HOST_V4}:7"));
    bed.finish();
}

#[test]
fn a_second_primary_with_the_same_control_socket() {
    let bed = Testbed::start();
    let prefix = format!("--file-prefix={}n", bed.name);
    let eal = ["-l", "0-1", &prefix, "--no-pci", "--vdev", "net_null0"];
    let app = [
        "--socket",
        bed.socket.to_str().unwrap(),
        "--host-netdev",
        "other",
    ];
    let mut command = bed.switch_command(&eal.map(str::to_owned), &app);
    let Ended { status, stderr, .. } = Process::spawn("second", &mut command).wait();
    assert!(!status.success());
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("switch.sock"), "{stderr}");
    assert_eq!(bed.stacks(), [], "the first one answers");
    bed.finish();
}

#[test]
fn the_netdevs_name_is_taken() {
    let bed = Testbed::without_switch();
    bed.host.ip("tuntap add taken0 mode tap");
    let app = ["--host-netdev", "taken"];
    fails(&bed, &mut switch(&bed, "0-1", &NULL, &app), "taken0");
    assert!(
        bed.host.ip("-br link").contains("taken0"),
        "it is not ours to remove"
    );
}

#[test]
fn the_control_sockets_place_is_taken() {
    let bed = Testbed::without_switch();
    let path = bed.dir.join("file");
    fs::write(&path, "precious").unwrap();
    let prefix = format!("--file-prefix={}", bed.name);
    let eal = ["-l", "0-1", &prefix, "--no-pci", "--vdev", "net_null0"];
    let app = ["--socket", path.to_str().unwrap()];
    fails(
        &bed,
        &mut bed.switch_command(&eal.map(str::to_owned), &app),
        "file",
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn not_root() {
    let bed = Testbed::without_switch();
    // Where anyone may read it.
    let copy = bed.dir.join("multistack");
    fs::copy(program("multistack"), &copy).unwrap();
    fs::set_permissions(&bed.dir, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = bed.host.command("setpriv");
    command.args([
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--",
    ]);
    command.arg(&copy).args(["-l", "0-1"]);
    command
        .arg(format!("--file-prefix={}", bed.name))
        .args(NULL);
    command.arg("--").arg("--socket").arg(&bed.socket);
    fails(&bed, &mut command, "run as root");
}

/// A primary in a mount namespace of its own, which `prepare` (sh) changes first.
fn in_mounts(bed: &Testbed, prepare: &str) -> Command {
    let mut command = bed.host.command("unshare");
    command.args([
        "--mount",
        "sh",
        "-c",
        &format!("{prepare} && exec \"$0\" \"$@\""),
    ]);
    command.arg(program("multistack")).args(["-l", "0-1"]);
    command
        .arg(format!("--file-prefix={}", bed.name))
        .args(NULL);
    command.arg("--").arg("--socket").arg(&bed.socket);
    command
}

#[test]
fn no_hugepages() {
    let bed = Testbed::without_switch();
    let zero = bed.dir.join("zero");
    fs::write(&zero, "0\n").unwrap();
    let none_free = format!(
        "for size in /sys/kernel/mm/hugepages/*; do \
            mount --bind {} $size/free_hugepages || exit 99; \
         done",
        zero.display()
    );
    fails(&bed, &mut in_mounts(&bed, &none_free), "hugepages");
    fails(
        &bed,
        &mut in_mounts(&bed, "umount -a -t hugetlbfs"),
        "hugetlbfs",
    );
}

#[test]
fn too_few_hugepages() {
    let bed = Testbed::without_switch();
    // Rings and buffers for so many take more than any test machine has.
    let app = ["--max-vports", "4000", "--quota", "1000"];
    fails(&bed, &mut switch(&bed, "0-1", &NULL, &app), "hugepages");
}
