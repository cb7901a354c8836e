//! smoltcp's view of a vport.

use std::ops::DerefMut;

use port_api::{Burst, Packet, RingPort};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::ETHERNET_HEADER_LEN;

use crate::path_mtu::{self, PathMtu};

/// The longest frame of an Ethernet without jumbo frames, in bytes.
const ETHERNET_FRAME: usize = 1500 + ETHERNET_HEADER_LEN;

/// A vport as a smoltcp device: smoltcp reads frames where the switch put them, and writes them
/// where the switch takes them.
///
/// Frames leave in bursts: [`flush`](Self::flush) is to be called at the end of each round.
pub struct RingDevice<P> {
    port: P,
    /// Received frames, the first `seen` of which smoltcp is done with.
    rx: Burst,
    seen: usize,
    tx: Transmit,
    /// The link's.
    max_frame: usize,
    path_mtu: PathMtu,
}

/// Frames on their way out.
struct Transmit {
    burst: Burst,
    /// A buffer for the next frame.
    spare: Option<Packet>,
    /// For a frame that there is no buffer for.
    lost: Vec<u8>,
}

impl<P: DerefMut<Target = RingPort>> RingDevice<P> {
    /// `mtu` is that of the NIC port: the longest IP packet in bytes.
    pub fn new(mut port: P, mtu: u16) -> Self {
        let spare = port.alloc();
        // Buffers may be shorter than the NIC's frames, which then span several of them; here a
        // frame has one. DPDK's buffers hold what Ethernet needs.
        let room = spare.as_ref().map_or(ETHERNET_FRAME, Packet::capacity);
        let max_frame = (usize::from(mtu) + ETHERNET_HEADER_LEN).min(room);
        Self {
            port,
            rx: Burst::new(),
            seen: 0,
            tx: Transmit {
                burst: Burst::new(),
                spare,
                lost: vec![0; max_frame],
            },
            max_frame,
            path_mtu: PathMtu::default(),
        }
    }

    /// Takes over what routers have said of the MTU on the way to peers, and forgets it again after
    /// some minutes. True if frames have another size from now on:
    /// [`Server::renew`](crate::Server::renew) is to follow.
    pub fn adapt(&mut self, now: Instant) -> bool {
        self.path_mtu
            .adapt(self.max_frame - ETHERNET_HEADER_LEN, now)
    }

    /// The vport. Frames are to be left to the device.
    pub fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }

    /// Gives the vport back.
    pub fn into_port(mut self) -> P {
        self.flush();
        self.port
    }

    /// Sends what smoltcp has written, as far as the rings have room; the rest stays for the next
    /// time. Gives back what smoltcp has read.
    pub fn flush(&mut self) {
        self.port.tx_burst(&mut self.tx.burst);
        if self.seen == self.rx.len() {
            self.release();
        }
    }

    fn release(&mut self) {
        self.seen = 0;
        if !self.rx.is_empty() {
            self.port.release(&mut self.rx);
        }
    }

    /// True if a frame can be written.
    fn make_room(&mut self) -> bool {
        if self.tx.burst.is_full() {
            self.port.tx_burst(&mut self.tx.burst);
        }
        if self.tx.spare.is_none() {
            self.tx.spare = self.port.alloc();
        }
        !self.tx.burst.is_full() && self.tx.spare.is_some()
    }
}

impl<P: DerefMut<Target = RingPort>> phy::Device for RingDevice<P> {
    type RxToken<'a>
        = RxToken<'a>
    where
        P: 'a;
    type TxToken<'a>
        = TxToken<'a>
    where
        P: 'a;

    fn receive(&mut self, _: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        if self.seen == self.rx.len() {
            self.release();
            self.port.rx_burst(&mut self.rx);
        }
        // With no room for an answer the frame is still taken, and the answer is lost if there is
        // one: else frames that hold all of the vport's buffers would wait for a buffer.
        self.make_room();
        let packet = self.rx.get(self.seen)?;
        self.seen += 1;
        if let Some(mtu) = path_mtu::told_by(packet.data()) {
            self.path_mtu.hear(mtu);
        }
        Some((RxToken(packet), TxToken(&mut self.tx)))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        self.make_room().then_some(TxToken(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        let on_the_way = self.path_mtu.get().map(|mtu| mtu + ETHERNET_HEADER_LEN);
        capabilities.max_transmission_unit =
            on_the_way.map_or(self.max_frame, |frame| frame.min(self.max_frame));
        capabilities
    }
}

/// A received frame.
pub struct RxToken<'a>(&'a Packet);

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0.data())
    }
}

/// Room for a frame.
pub struct TxToken<'a>(&'a mut Transmit);

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let Transmit { burst, spare, lost } = self.0;
        if !burst.is_full()
            && let Some(mut packet) = spare.take()
        {
            if packet.set_len(len) {
                let result = write(packet.data_mut());
                burst.push(packet);
                return result;
            }
            *spare = Some(packet);
        }
        if lost.len() < len {
            lost.resize(len, 0);
        }
        write(&mut lost[..len])
    }
}
