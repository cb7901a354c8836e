//! Who in the kernel has a port, as `ss -p` would say; as far as this process may look.

use std::net::SocketAddr;

use procfs::process::{FDTarget, all_processes};

use crate::protocol::Protocol;

/// The process with a kernel socket on `addr`, or on its port at any address: its name and pid.
/// None if none is listed: the kernel lists no TCP sockets that are bound and nothing more.
pub fn kernel_holder(protocol: Protocol, addr: SocketAddr) -> Option<String> {
    let (uid, inode) = sockets(protocol)
        .into_iter()
        .find(|(local, ..)| overlaps(*local, addr))
        .map(|(_, uid, inode)| (uid, inode))?;
    process_with(inode).or_else(|| Some(format!("a kernel socket of uid {uid}")))
}

fn overlaps(held: SocketAddr, wanted: SocketAddr) -> bool {
    let (held_ip, wanted_ip) = (held.ip().to_canonical(), wanted.ip().to_canonical());
    let all_of_it = wanted_ip.is_unspecified() && held_ip.is_ipv4() == wanted_ip.is_ipv4();
    held.port() == wanted.port() && (held_ip.is_unspecified() || all_of_it || held_ip == wanted_ip)
}

fn sockets(protocol: Protocol) -> Vec<(SocketAddr, u32, u64)> {
    match protocol {
        Protocol::Tcp => procfs::net::tcp()
            .into_iter()
            .chain(procfs::net::tcp6())
            .flatten()
            .map(|entry| (entry.local_address, entry.uid, entry.inode))
            .collect(),
        Protocol::Udp => procfs::net::udp()
            .into_iter()
            .chain(procfs::net::udp6())
            .flatten()
            .map(|entry| (entry.local_address, entry.uid, entry.inode))
            .collect(),
        // Stacks claim SCTP without the kernel.
        Protocol::Sctp => Vec::new(),
    }
}

fn process_with(inode: u64) -> Option<String> {
    all_processes().ok()?.flatten().find_map(|process| {
        let has = process
            .fd()
            .ok()?
            .flatten()
            .any(|fd| matches!(fd.target, FDTarget::Socket(found) if found == inode));
        if !has {
            return None;
        }
        let name = process.stat().ok()?.comm;
        Some(format!("{name} (pid {})", process.pid()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn finds_this_process() {
        let me = format!("(pid {})", std::process::id());
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = kernel_holder(Protocol::Tcp, tcp.local_addr().unwrap()).unwrap();
        assert!(holder.ends_with(&me), "{holder}");
        let udp = UdpSocket::bind("[::]:0").unwrap();
        let mut addr: SocketAddr = "[::1]:1".parse().unwrap();
        addr.set_port(udp.local_addr().unwrap().port());
        let holder = kernel_holder(Protocol::Udp, addr).unwrap();
        assert!(holder.ends_with(&me), "{holder}");
    }

    #[test]
    fn finds_no_one() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = udp.local_addr().unwrap();
        drop(udp);
        assert_eq!(kernel_holder(Protocol::Udp, addr), None);
    }
}
