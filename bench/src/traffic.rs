//! What the device receives, over and over: a pcap file for `net_pcap` with `infinite_rx=1`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use wire::MacAddr;
use wire::emit::{Eth, Udp};

/// Packets in the file, each a flow of its own. The device holds as many buffers.
pub const PACKETS: u16 = 1024;
/// Bytes of a packet: the smallest Ethernet frame, 64 bytes, less the 4 of the FCS.
pub const FRAME: u16 = 60;
/// The host's address, which the stacks share.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The host's address as `--host-addr` wants it.
pub const HOST_CIDR: &str = "10.99.0.1/24";
/// Where `net_pcap` numbers its devices' addresses from (`eth_mac` in its source).
pub const NIC: MacAddr = MacAddr([0x02, 0x70, 0x63, 0x61, 0x70, 0x00]);

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const CLIENT_MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x02]);
const CLIENT_PORT: u16 = 1024;
const FIRST_PORT: u16 = 20_000;
/// What Ethernet, IPv4 and UDP headers leave of a [`FRAME`].
const PAYLOAD: usize = FRAME as usize - 14 - 20 - 8;

/// The device that gives the packets in `pcap` forever, for EAL's `--vdev`.
pub fn device(pcap: &Path) -> String {
    format!("net_pcap0,rx_pcap={},infinite_rx=1", pcap.display())
}

/// What stack `number` claims.
pub fn claim_of(number: u16) -> SocketAddr {
    SocketAddr::from((HOST, FIRST_PORT + number))
}

/// Writes [`PACKETS`] UDP packets to `path`, the first for the first of `stacks` stacks, the next
/// for the next: no two neighbours have one owner, which is the hardest order to demultiplex.
pub fn write(path: &Path, stacks: u16) -> io::Result<()> {
    let mut file = file_header();
    for number in 0..PACKETS {
        let packet = Udp {
            eth: Eth {
                dst: NIC,
                src: CLIENT_MAC,
            },
            src: (CLIENT, CLIENT_PORT + number).into(),
            dst: claim_of(number % stacks),
            payload: &[0; PAYLOAD],
        };
        let mut frame = [0; FRAME as usize];
        let len = packet.write(&mut frame);
        debug_assert_eq!(len, Some(frame.len()));
        for field in [u32::from(number), 0, FRAME.into(), FRAME.into()] {
            file.extend(field.to_le_bytes());
        }
        file.extend(frame);
    }
    std::fs::write(path, file)
}

/// The file header of libpcap's savefile format, pcap-savefile(5): version 2.4, Ethernet.
fn file_header() -> Vec<u8> {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const SNAP_LEN: u32 = 65_535;
    const LINKTYPE_ETHERNET: u32 = 1;
    let mut header = Vec::new();
    header.extend(MAGIC.to_le_bytes());
    header.extend(2u16.to_le_bytes());
    header.extend(4u16.to_le_bytes());
    for field in [0, 0, SNAP_LEN, LINKTYPE_ETHERNET] {
        header.extend(field.to_le_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn packets_are_right_and_evenly_spread() {
        let path = std::env::temp_dir().join(format!("msperf-test-{}", std::process::id()));
        write(&path, 64).unwrap();
        let file = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (header, records) = file.split_at(24);
        assert_eq!(header[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
        let mut ports = BTreeMap::new();
        for record in records.chunks(16 + usize::from(FRAME)) {
            let frame = &record[16..];
            let wire::Body::V4(l4) = wire::parse(frame, wire::Origin::Wire).unwrap().body else {
                panic!("not a packet of IPv4 with ports");
            };
            assert_eq!(Ipv4Addr::from(l4.tuple.dst), HOST);
            *ports.entry(l4.tuple.dst_port).or_insert(0) += 1;
        }
        assert_eq!(ports.len(), 64);
        assert!(ports.values().all(|count| *count == PACKETS / 64));
    }
}
