//! Each in a process of its own: what is given up is given up for good.

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::{getpid, getppid, test_kill_process};
use rustix::thread::{
    LinkNameSpaceType, capabilities, move_into_link_name_space, set_capabilities,
};

use super::*;

/// Set in the process of its own, to a folder that is there for it.
const ALONE: &str = "MULTISTACK_TEST_ALONE";

#[track_caller]
fn alone(name: &str, test: impl FnOnce(&Path)) {
    if let Some(folder) = env::var_os(ALONE) {
        return test(Path::new(&folder));
    }
    let folder = env::temp_dir().join(format!("multistack-{name}-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "--nocapture"]);
    command.arg(format!("confinement::tests::{name}"));
    let output = command.env(ALONE, &folder).output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error)
}

#[test]
fn what_no_switch_does_is_no_system_call() {
    alone("what_no_switch_does_is_no_system_call", |_| {
        let netns = File::open("/proc/self/ns/net").unwrap();
        let (sender, orders) = mpsc::channel::<()>();
        let earlier = thread::spawn(move || {
            let _ = orders.recv();
            Command::new("true").exec()
        });
        calls::confine(false).unwrap();
        let spawned = Command::new("true").spawn().unwrap_err();
        assert_eq!(errno(&spawned), Some(Errno::NOSYS), "a process");
        let executed = Command::new("true").exec();
        assert_eq!(errno(&executed), Some(Errno::NOSYS), "a program");
        drop(sender);
        let executed = earlier.join().unwrap();
        assert_eq!(errno(&executed), Some(Errno::NOSYS), "in any thread");
        let entered = move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network));
        assert_eq!(entered, Err(Errno::NOSYS), "a namespace");
        let parent = getppid().unwrap();
        assert_eq!(test_kill_process(parent), Err(Errno::NOSYS), "a signal");
        for family in [
            AddressFamily::PACKET,
            AddressFamily::from_raw(38),
            AddressFamily::VSOCK,
        ] {
            let made = socket(family, SocketType::DGRAM, None);
            assert_eq!(made.unwrap_err(), Errno::NOSYS, "{family:?}");
        }
    });
}

#[test]
fn what_a_switch_does_it_still_can() {
    alone("what_a_switch_does_it_still_can", |base| {
        calls::confine(false).unwrap();
        assert_eq!(thread::spawn(|| 7).join().unwrap(), 7);
        let fewer = thread::spawn(|| set_capabilities(None, capabilities(None).unwrap()));
        fewer.join().unwrap().unwrap();
        test_kill_process(getpid()).unwrap();
        UdpSocket::bind("[::1]:0").unwrap();
        socket(AddressFamily::NETLINK, SocketType::RAW, None).unwrap();
        assert!(nix::unistd::User::from_name("root").unwrap().is_some());
        let folder = base.join("new");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a"), "a").unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
        assert!(std::panic::catch_unwind(|| panic!("with a backtrace, or not")).is_err());
    });
}

#[test]
fn every_thread_is_confined() {
    alone("every_thread_is_confined", |base| {
        let all = ["open", "sockets", "emptied", "closed"];
        let [open, sockets, emptied, closed] = all.map(|name| base.join(name));
        for folder in [&open, &sockets, &emptied, &closed] {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join("old"), "old").unwrap();
        }
        let denied = |result: io::Result<()>| {
            assert_eq!(errno(&result.unwrap_err()), Some(Errno::ACCESS));
        };
        let attempt = {
            let folders = [&open, &sockets, &emptied, &closed];
            let [open, sockets, emptied, closed] = folders.map(Clone::clone);
            move || {
                fs::write(open.join("new"), "new").unwrap();
                fs::remove_file(open.join("new")).unwrap();
                UnixListener::bind(sockets.join("new")).unwrap();
                fs::remove_file(sockets.join("new")).unwrap();
                denied(fs::write(sockets.join("new"), "new"));
                denied(fs::write(emptied.join("new"), "new"));
                denied(UnixListener::bind(emptied.join("new")).map(drop));
                denied(fs::write(closed.join("new"), "new"));
                denied(fs::write(closed.join("old"), "new"));
                denied(fs::remove_file(closed.join("old")));
                denied(Command::new("true").spawn().map(drop));
                assert_eq!(fs::read_to_string(closed.join("old")).unwrap(), "old");
                capabilities(None).unwrap()
            }
        };
        let (sender, orders) = mpsc::channel::<()>();
        let (running, runs) = mpsc::channel::<()>();
        let earlier = {
            let attempt = attempt.clone();
            let named = thread::Builder::new().name("ms-host7".to_owned());
            named.spawn(move || {
                drop(running);
                let _ = orders.recv();
                attempt()
            })
        };
        // It has its name then.
        let _ = runs.recv();
        let before = capabilities(None).unwrap().effective;
        seal().unwrap();
        let folders = Folders {
            changed: vec![open],
            sockets: vec![sockets],
            emptied: vec![emptied.clone()],
        };
        let ruleset = files::ruleset(&folders).unwrap();
        let Some(ruleset) = ruleset else {
            return eprintln!("this kernel has no Landlock");
        };
        let host = |name: &str| u64::from(name == "ms-host7") * HOST.bits();
        threads::confine(CONTROL.bits(), host, Some(ruleset.as_fd())).unwrap();
        let own = attempt();
        assert_eq!(own.effective, before & CONTROL);
        assert_eq!(own.permitted, before & CONTROL);
        assert_eq!(own.inheritable, CapabilitySet::empty());
        fs::remove_file(emptied.join("old")).unwrap();
        drop(sender);
        let earlier = earlier.unwrap().join().unwrap();
        assert_eq!(earlier.effective, before & HOST);
        assert_eq!(earlier.permitted, before & HOST);
    });
}

#[test]
fn a_missing_capability_is_named() {
    alone("a_missing_capability_is_named", |_| {
        let mut sets = capabilities(None).unwrap();
        sets.effective -= CapabilitySet::NET_ADMIN;
        set_capabilities(None, sets).unwrap();
        let args = ["multistack", "--no-pci", "--vdev", "net_null0"].map(str::to_owned);
        let refusal = Confinement::begin(&args, false).map(drop).unwrap_err();
        let line = refusal.to_string();
        assert!(
            line.starts_with("missing capabilities: CAP_NET_ADMIN: "),
            "{line}"
        );
    });
}

#[test]
fn folders_of_what_devices_are_given() {
    let args = [
        "multistack",
        "--huge-dir=/dev/hugepages",
        "-d/usr/lib/pmds",
        "--vdev=net_pcap0,rx_pcap=/tmp/in/a.pcap,tx_pcap=b.pcap",
        "--vdev",
        "net_memif0,id=0,socket=/run/memif.sock",
        "--vdev=net_virtio_user0,path=/dev/vhost-net,mac=00:01:02:03:04:05",
        "--vdev=net_vhost0,iface=/sock",
    ];
    let folders = files::named_in(&args.map(str::to_owned));
    let expected = ["/tmp/in", "/run", "/dev/vhost-net", "/sock"];
    assert_eq!(folders, expected.map(PathBuf::from));
}
