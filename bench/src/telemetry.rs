//! A client of DPDK's telemetry socket, which every DPDK program has (DPDK's howto "DPDK
//! Telemetry User Guide").

use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use serde_json::Value;

use crate::Error;
use crate::stacks::Moved;

/// Longest answer, in bytes: `MAX_OUTPUT_LEN` of DPDK's `telemetry.c`.
const MAX_ANSWER: usize = 16 * 1024;

/// A connection.
pub struct Telemetry {
    socket: OwnedFd,
    /// What the program says of itself: `{"version": "DPDK 22.11.11", "pid": ...}`.
    greeting: Value,
}

/// What a forwarder has moved since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Packets received from `net_pcap`.
    pub received: u64,
    /// Packets that any other device has taken.
    pub sent: u64,
}

impl Telemetry {
    /// Connects to the program with this EAL runtime directory.
    pub fn connect(runtime_dir: &Path) -> Result<Self, Error> {
        let address = SocketAddrUnix::new(runtime_dir.join("dpdk_telemetry.v2"))?;
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &address)?;
        let greeting = receive(&socket)?;
        Ok(Self { socket, greeting })
    }

    /// The ids of the ports that receive from `net_pcap`, and of the others.
    pub fn ports(&self) -> Result<(Vec<u64>, Vec<u64>), Error> {
        let list = self.ask("/ethdev/list")?;
        let ids = list.as_array().into_iter().flatten();
        let (mut sources, mut sinks) = (Vec::new(), Vec::new());
        for id in ids.filter_map(Value::as_u64) {
            let info = self.ask(&format!("/ethdev/info,{id}"))?;
            let is_source = info["name"]
                .as_str()
                .is_some_and(|n| n.starts_with("net_pcap"));
            (if is_source { &mut sources } else { &mut sinks }).push(id);
        }
        Ok((sources, sinks))
    }

    /// What has gone from the ones to the others.
    pub fn forwarded(&self, sources: &[u64], sinks: &[u64]) -> Result<Forwarded, Error> {
        Ok(Forwarded {
            received: self.sum(sources, "ipackets")?,
            sent: self.sum(sinks, "opackets")?,
        })
    }

    /// What has come from, and gone to, these ports.
    pub fn moved(&self, ids: &[u64]) -> Result<Moved, Error> {
        Ok(Moved {
            received: self.sum(ids, "ipackets")?,
            sent: self.sum(ids, "opackets")?,
        })
    }

    /// DPDK's release, as the program says it.
    pub fn version(&self) -> String {
        self.greeting["version"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    fn sum(&self, ids: &[u64], counter: &str) -> Result<u64, Error> {
        let mut sum = 0;
        for id in ids {
            let stats = self.ask(&format!("/ethdev/stats,{id}"))?;
            let count = stats[counter].as_u64();
            sum += count.ok_or_else(|| format!("no {counter} of port {id} in {stats}"))?;
        }
        Ok(sum)
    }

    fn ask(&self, command: &str) -> Result<Value, Error> {
        send(&self.socket, command.as_bytes(), SendFlags::NOSIGNAL)?;
        let mut answer = receive(&self.socket)?;
        let topic = command.split(',').next().unwrap_or(command);
        Ok(answer[topic].take())
    }
}

fn receive(socket: &OwnedFd) -> Result<Value, Error> {
    let mut answer = vec![0; MAX_ANSWER];
    let (len, _) = recv(socket, answer.as_mut_slice(), RecvFlags::empty())?;
    Ok(serde_json::from_slice(&answer[..len])?)
}
