//! The netdev: made as asked, or an error that says why not, and nothing left behind.

use crate::common::{MAC, config, disable_ipv6, in_netns, ip, try_ip, wait_for};
use kni_fallback::{Config, Error, HostPath};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use wire::MacAddr;

fn error(config: &Config) -> Error {
    HostPath::create(config).map(|_| ()).unwrap_err()
}

fn exists(netdev: &str) -> bool {
    try_ip(&format!("link show dev {netdev}")).status.success()
}

/// A child that another test is just starting may hold the TAP's descriptor for a moment more.
fn vanishes(netdev: &str) {
    wait_for("the netdev's end", || (!exists(netdev)).then_some(()));
}

#[test]
fn is_as_configured_and_vanishes() {
    in_netns(|| {
        let mut config = config("msh0", &["192.0.2.1/24", "fd77::1/64"]);
        config.mtu = 1400;
        let mut host = HostPath::create(&config).unwrap();
        assert_eq!(host.netdev(), "msh0");
        let link = ip("-o link show dev msh0");
        assert!(link.contains("mtu 1400"), "{link}");
        assert!(link.contains(&format!("link/ether {MAC}")), "{link}");
        assert!(link.contains("LOWER_UP"), "{link}");
        let addresses = ip("-o -4 addr show dev msh0");
        assert!(
            addresses.contains("192.0.2.1/24 brd 192.0.2.255"),
            "{addresses}"
        );
        host.stop();
        vanishes("msh0");
    });
}

#[test]
fn tells_its_addresses() {
    in_netns(|| {
        let host = HostPath::create(&config("msh0", &["192.0.2.1/24", "fd77::1/64"])).unwrap();
        let other = HostPath::create(&config("msh1", &["198.51.100.1/24"])).unwrap();
        ip("addr add 192.0.2.130/25 dev msh0");
        let mut addresses: Vec<_> = host.addresses().iter().map(ToString::to_string).collect();
        addresses.sort_unstable();
        // RFC 4291 appendix A: the link-local address is made from the MAC.
        let expected = [
            "192.0.2.1/24",
            "192.0.2.130/25",
            "fd77::1/64",
            "fe80::ff:fe00:7701/64",
        ];
        assert_eq!(addresses, expected);
        drop(other);
        ip("link del msh0");
        assert_eq!(host.addresses(), []);
    });
}

#[test]
fn a_taken_name_is_left_alone() {
    in_netns(|| {
        let text = "a netdev msh0 exists already: choose another --host-netdev, or remove it";
        let first = HostPath::create(&config("msh0", &["192.0.2.1/24"])).unwrap();
        assert_eq!(error(&config("msh0", &[])).to_string(), text);
        assert_eq!(first.addresses().len(), 2);
        drop(first);
        vanishes("msh0");
        for make in [
            "tuntap add msh0 mode tap",
            "link add msh0 type veth peer name peer",
        ] {
            ip(make);
            assert_eq!(error(&config("msh0", &[])).to_string(), text);
            assert!(exists("msh0"));
            ip("link del msh0");
        }
    });
}

#[test]
fn a_bad_name() {
    let error = error(&config("much-too-long-a-name0", &[])).to_string();
    assert_eq!(
        error,
        "\"much-too-long-a-name0\" cannot be a netdev's name: it has more than 15 bytes; \
         choose another --host-netdev"
    );
}

#[test]
fn without_permission() {
    in_netns(|| {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).unwrap();
        assert_eq!(
            error(&config("msh0", &[])).to_string(),
            "no permission to make the netdev msh0: CAP_NET_ADMIN is needed (run as root)"
        );
    });
}

#[test]
fn what_the_kernel_refuses_leaves_nothing_behind() {
    in_netns(|| {
        let mut multicast = config("msh0", &[]);
        multicast.mac = MacAddr([1, 0, 0x5e, 0, 0, 1]);
        let mut short = config("msh0", &[]);
        short.mtu = 60;
        let twice = config("msh0", &["192.0.2.1/24", "192.0.2.1/24"]);
        for (config, start) in [
            (
                multicast,
                "the netdev msh0: MAC address 01:00:5e:00:00:01: ",
            ),
            (short, "the netdev msh0: MTU 60: Invalid argument"),
            (
                twice,
                "the kernel refuses the address 192.0.2.1/24 on the netdev msh0: File exists",
            ),
        ] {
            let error = error(&config).to_string();
            assert!(error.starts_with(start), "{error}");
            vanishes("msh0");
        }
    });
}

#[test]
fn no_ipv6() {
    in_netns(|| {
        let mut small = config("msh0", &["192.0.2.1/24", "fd77::1/64"]);
        small.mtu = 1279;
        assert_eq!(
            error(&small).to_string(),
            "no address fd77::1/64 is possible on the netdev msh0: IPv6 needs an MTU of 1280 at least"
        );
        vanishes("msh0");
        disable_ipv6();
        let refused = error(&config("msh0", &["192.0.2.1/24", "fd77::1/64"])).to_string();
        let start = "no address fd77::1/64 is possible on the netdev msh0: IPv6 is disabled";
        assert!(refused.starts_with(start), "{refused}");
        vanishes("msh0");
        let host = HostPath::create(&config("msh0", &["192.0.2.1/24"])).unwrap();
        assert_eq!(host.addresses(), ["192.0.2.1/24".parse().unwrap()]);
    });
}
