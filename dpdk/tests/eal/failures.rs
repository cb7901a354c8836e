//! Every failure is one line that says what to do, and leaves nothing behind.

use std::process::{Command, ExitCode, Output};

use dpdk::Eal;

use crate::run::{Primary, assert_nothing_left, command, left_behind, prefix, run, text};

/// Initialises EAL with the rest of the arguments.
pub fn primary(args: &[String]) -> ExitCode {
    match Eal::primary(args) {
        Ok(eal) => {
            eal.cleanup();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Arguments, and what the line must contain.
const FAILURES: [(&[&str], &str); 16] = [
    (&["--foo"], "does not understand --foo"),
    (&["-Z"], "does not understand --no-pci"),
    (&["-l", "4000"], "lcore"),
    (&["-l", "x"], "core list"),
    (
        &["-a", "0000:fe:1f.7"],
        "-a 0000:fe:1f.7: no port came of it: there is no such PCI device",
    ),
    (
        &["--vdev=net_foo0"],
        "\"net_foo0\": no driver has that name",
    ),
    (
        &["--vdev=net_null0,bad=1"],
        "--vdev=net_null0: no port came of it",
    ),
    (
        &["--vdev=net_pcap0,rx_pcap=/nonexistent"],
        "/nonexistent: No such file or directory",
    ),
    (&["--vdev=net_af_packet0,iface=nonesuch0"], "No such device"),
    (
        &["--vdev=net_null0", "--vdev=net_pcap1,rx_pcap=/nonexistent"],
        "--vdev=net_pcap1",
    ),
    (&["-m", "10000000"], "reserve more hugepages"),
    (
        &["--huge-dir=/nonexistent"],
        "/nonexistent: No such file or directory",
    ),
    (&["--in-memory"], "--in-memory: stacks could not attach"),
    (&["--huge-unlink"], "--huge-unlink: stacks could not attach"),
    (&["--no-shconf"], "--no-shconf: stacks could not attach"),
    (&["--proc-type=secondary"], "this is the primary process"),
];

pub fn all() {
    let prefix = prefix("fail");
    let option = format!("--file-prefix={prefix}");
    let base = ["primary", "--no-pci", &option];
    for (args, wanted) in FAILURES {
        // A later -a excludes --no-pci.
        let base = if args[0] == "-a" {
            &["primary", &option][..]
        } else {
            &base
        };
        assert_one_line(&run(&[base, args].concat()), wanted);
        assert_nothing_left(&prefix);
    }
    help_is_not_swallowed(&base);
    surroundings(&base);
    taken_prefix_is_left_alone();
    let out = run(&base);
    let err = text(&out.stderr);
    assert!(out.status.success(), "without a mistake it starts: {err}");
    assert_eq!(
        (text(&out.stdout), err),
        (String::new(), String::new()),
        "and is quiet"
    );
    assert_nothing_left(&prefix);
}

fn assert_one_line(out: &Output, wanted: &str) {
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    assert_eq!(out.status.code(), Some(1), "{stdout}{stderr}");
    assert_eq!(stdout, "");
    assert_eq!(stderr.lines().count(), 1, "one line:\n{stderr}");
    assert!(stderr.contains(wanted), "{stderr} lacks {wanted}");
}

fn help_is_not_swallowed(base: &[&str]) {
    for help in ["-h", "--help"] {
        let out = run(&[base, &[help]].concat());
        assert!(text(&out.stdout).contains("EAL common options"), "{help}");
    }
    let out = run(&[base, &["--log-level=lib.eal:info"]].concat());
    assert!(
        text(&out.stderr).contains("Detected CPU lcores"),
        "{}",
        text(&out.stderr)
    );
}

/// A machine without hugepages, and a user without rights, both of them made believe.
fn surroundings(base: &[&str]) {
    let own = std::env::current_exe().expect("own path");
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "sh",
            "-ec",
            &format!("{script}; exec \"$@\""),
            "sh",
        ]);
        command.arg(&own).args(base).output().expect("unshare")
    };
    let out = in_namespace("mount -t tmpfs none /sys/kernel/mm/hugepages");
    assert_one_line(
        &out,
        "no free hugepages: echo 512 > /proc/sys/vm/nr_hugepages",
    );
    let out = in_namespace("umount -a -t hugetlbfs");
    assert_one_line(
        &out,
        "no hugetlbfs is mounted: mount -t hugetlbfs none /dev/hugepages",
    );
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&own)
        .args(base);
    assert_one_line(&command.output().expect("setpriv"), "run as root");
}

fn taken_prefix_is_left_alone() {
    let other = Primary::start("taken");
    let before = left_behind(&other.prefix);
    let option = format!("--file-prefix={}", other.prefix);
    let out = command(&["primary", "--no-pci", &option])
        .output()
        .expect("runs itself");
    assert_one_line(&out, &format!("is already running (pid {})", other.pid()));
    assert_eq!(left_behind(&other.prefix), before);
    other.stop();
}
