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

/// Longest answer, in bytes: `MAX_OUTPUT_LEN` of DPDK's `telemetry.c`.
const MAX_ANSWER: usize = 16 * 1024;

/// A connection.
pub struct Telemetry {
    socket: OwnedFd,
    /// What the program says of itself: `{"version": "DPDK 22.11.11", "pid": ...}`.
    pub greeting: Value,
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

    /// Packets that port `id` has received.
    pub fn received(&self, id: u16) -> Result<u64, Error> {
        send(
            &self.socket,
            format!("/ethdev/stats,{id}").as_bytes(),
            SendFlags::NOSIGNAL,
        )?;
        let answer = receive(&self.socket)?;
        let count = answer["/ethdev/stats"]["ipackets"].as_u64();
        count.ok_or_else(|| format!("no counters of port {id} in {answer}").into())
    }
}

fn receive(socket: &OwnedFd) -> Result<Value, Error> {
    let mut answer = vec![0; MAX_ANSWER];
    let (len, _) = recv(socket, answer.as_mut_slice(), RecvFlags::empty())?;
    Ok(serde_json::from_slice(&answer[..len])?)
}
