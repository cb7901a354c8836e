//! What the device receives, over and over: a pcap file for `net_pcap` with `infinite_rx=1`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use wire::MacAddr;
use wire::emit::{Eth, Udp};

use crate::lab::Lab;

/// Packets in a file, each a flow of its own, unless there are to be more.
pub const PACKETS: u32 = 1024;
/// Bytes of the smallest frame: 64, less the 4 of the FCS, which DPDK does not see.
pub const SMALLEST: u16 = 60;
/// Packets in the file of [`Target::Connections`].
const MANY_PACKETS: u32 = 256 << 10;
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
/// From here on, no stack claims anything.
const UNCLAIMED_PORT: u16 = 40_000;
/// What Ethernet, IPv4 and UDP headers take of a frame.
const HEADERS: usize = 14 + 20 + 8;

/// What packets are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Ports of the host's address that stacks have claimed.
    Tuples,
    /// Connections, each of one packet, with addresses that stacks have wholly claimed.
    Connections,
    /// Ports of the host's address that no one has claimed.
    Unclaimed,
}

/// A file's content: UDP packets, the first for the first of `stacks` stacks, the next for the
/// next: no two neighbours have one owner, which is the hardest order to demultiplex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of a frame, without FCS.
    pub frame: u16,
    /// How many stacks it is for, or would be.
    pub stacks: u16,
    /// What the stacks have claimed.
    pub target: Target,
}

impl Traffic {
    /// The smallest frames.
    pub const fn smallest(stacks: u16) -> Self {
        Self {
            frame: SMALLEST,
            stacks,
            target: Target::Tuples,
        }
    }

    /// The same for something else.
    #[must_use]
    pub const fn to(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// Packets in the file. The device holds as many buffers.
    pub const fn packets(self) -> u32 {
        match self.target {
            Target::Connections => MANY_PACKETS,
            Target::Tuples | Target::Unclaimed => PACKETS,
        }
    }

    /// Writes the file into the lab's folder, and tells where it is.
    pub fn write(self, lab: &Lab) -> io::Result<PathBuf> {
        let name = format!("{:?}-{}-{}.pcap", self.target, self.frame, self.stacks);
        let path = lab.dir.join(name);
        if !path.exists() {
            self.write_to(&path)?;
        }
        Ok(path)
    }

    fn write_to(self, path: &Path) -> io::Result<()> {
        let payload = vec![0; usize::from(self.frame) - HEADERS];
        let mut frame = vec![0; self.frame.into()];
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&file_header())?;
        for number in 0..self.packets() {
            let (src, dst) = self.ends(number);
            let packet = Udp {
                eth: Eth {
                    dst: NIC,
                    src: CLIENT_MAC,
                },
                src,
                dst,
                payload: &payload,
            };
            let len = packet.write(&mut frame);
            debug_assert_eq!(len, Some(frame.len()));
            for field in [number, 0, self.frame.into(), self.frame.into()] {
                file.write_all(&field.to_le_bytes())?;
            }
            file.write_all(&frame)?;
        }
        file.flush()
    }

    /// Source and destination of a packet.
    fn ends(self, number: u32) -> (SocketAddr, SocketAddr) {
        let stack = low(number % u32::from(self.stacks));
        let client = (CLIENT, CLIENT_PORT + low(number)).into();
        match self.target {
            Target::Tuples => (client, claim_of(stack)),
            Target::Unclaimed => (client, (HOST, UNCLAIMED_PORT + stack).into()),
            Target::Connections => {
                let (local, remote) = connection(number, self.stacks);
                (remote, local)
            }
        }
    }
}

/// The device that gives the packets in `pcap` forever, by so many queues, for EAL's `--vdev` and
/// OVS.
pub fn device(pcap: &Path, queues: u16) -> String {
    let queue = format!("rx_pcap={},", pcap.display());
    format!("net_pcap0,{}infinite_rx=1", queue.repeat(queues.into()))
}

/// Local and remote end of connection `number`, which is one of stack `number % stacks`. The local
/// address is that stack's alone.
pub fn connection(number: u32, stacks: u16) -> (SocketAddr, SocketAddr) {
    let stack = low(number % u32::from(stacks));
    let remote = Ipv4Addr::from_bits(Ipv4Addr::new(10, 97, 0, 1).to_bits() + number / 0x8000);
    (
        (own_address(stack), FIRST_PORT).into(),
        (remote, CLIENT_PORT + low(number)).into(),
    )
}

/// The address that is wholly stack `number`'s.
pub fn own_address(number: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 98, 0, 1).to_bits() + u32::from(number))
}

/// The low 15 bits: what can be added to a port.
fn low(number: u32) -> u16 {
    u16::try_from(number % 0x8000).unwrap_or(0)
}

/// What stack `number` claims.
pub fn claim_of(number: u16) -> SocketAddr {
    SocketAddr::from((HOST, FIRST_PORT + number))
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
        let traffic = Traffic {
            frame: 128,
            ..Traffic::smallest(64)
        };
        traffic.write_to(&path).unwrap();
        let file = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (header, records) = file.split_at(24);
        assert_eq!(header[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
        let mut ports = BTreeMap::new();
        for record in records.chunks(16 + 128) {
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

    #[test]
    fn connections_differ() {
        let ends = |number| Traffic::smallest(64).to(Target::Connections).ends(number);
        let all: std::collections::BTreeSet<_> = (0..MANY_PACKETS).map(ends).collect();
        assert_eq!(all.len(), 256 << 10);
        assert_eq!(ends(65).1.ip(), own_address(1));
    }
}
