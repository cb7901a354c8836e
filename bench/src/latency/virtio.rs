//! Through a vhost-user socket, behind which a peer sends back what it gets: this process is a DPDK
//! primary of its own, with a `net_virtio_user` device.

use std::path::Path as FilePath;

use dpdk::ethdev::{Port, PortConfig};
use dpdk::mempool::HEADROOM;
use dpdk::{Burst, Eal, Mempool};
use wire::emit::Eth;

use super::{Path, to_itself};
use crate::Error;
use crate::lab::CONTROL_CPU;
use crate::traffic::NIC;

const MBUFS: u32 = 4095;
const DATA_ROOM: u16 = 2048;

/// The device's queues.
pub struct Virtio {
    pool: Mempool,
    // Queues go before their port, and all before EAL.
    rx: dpdk::ethdev::RxQueue,
    tx: dpdk::ethdev::TxQueue,
    burst: Burst,
    queued: Burst,
    _port: Port,
    _eal: Eal,
}

impl Virtio {
    /// Connects to the socket, which the peer has made.
    pub fn connect(socket: &FilePath) -> Result<Self, Error> {
        let args = [
            "bench".to_owned(),
            format!("-l{CONTROL_CPU}"),
            "--no-pci".to_owned(),
            format!("--file-prefix=msvirtio{}", std::process::id()),
            // vhost-user can pass on few regions of memory.
            "--single-file-segments".to_owned(),
            format!("--vdev=net_virtio_user0,path={}", socket.display()),
        ];
        let eal = Eal::primary(&args)?;
        let pool = Mempool::create("bench_pool", MBUFS, 256, DATA_ROOM + HEADROOM, -1, None)?;
        let (port, mut rx, mut tx) = Port::start(0, &PortConfig::default(), &pool)?;
        Ok(Self {
            pool,
            rx: rx.pop().ok_or("no RX queue")?,
            tx: tx.pop().ok_or("no TX queue")?,
            burst: Burst::new(),
            queued: Burst::new(),
            _port: port,
            _eal: eal,
        })
    }
}

impl Path for Virtio {
    fn queue(&mut self, frame: &[u8]) -> bool {
        if self.queued.is_full() {
            return false;
        }
        let Some(mut mbuf) = self.pool.alloc() else {
            return false;
        };
        let fits = mbuf.append(frame);
        self.queued.push(mbuf);
        fits
    }

    fn turn(&mut self) {
        self.tx.tx_burst(&mut self.queued);
    }

    fn receive(&mut self, each: &mut dyn FnMut(&[u8])) {
        self.rx.rx_burst(&mut self.burst);
        for mbuf in &self.burst {
            each(mbuf.data());
        }
        dpdk::free_bulk(&mut self.burst);
    }

    fn eth(&self) -> Eth {
        to_itself(NIC)
    }
}
