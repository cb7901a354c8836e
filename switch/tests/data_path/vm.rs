//! A guest with real virtqueues, in memory of its own, and the vport that it has.

use std::sync::Arc;

use switch::vport::Peer;
use vhost_port::{Port, feature};

use crate::common::Bench;
use crate::mock::{self, Driver, Part};

pub const VM: u16 = 5;
const FEATURES: u64 = feature::VERSION_1
    | feature::MRG_RXBUF
    | feature::CSUM
    | feature::GUEST_CSUM
    | feature::HOST_TSO4
    | feature::INDIRECT_DESC;
/// In a header's flags: the checksum is right.
pub const DATA_VALID: u8 = 2;
/// Bytes of a virtio-net header.
const HEADER: usize = 12;
/// Entries of a queue.
const SIZE: u16 = 128;
/// Bytes of a buffer in the guest's memory.
const ROOM: u64 = 4096;
/// Where the guest's frames to be sent are.
const TO_SEND: u64 = mock::BUFFERS + 0x80_0000;

/// A guest, and the vport that it has.
pub struct Vm {
    pub port: Arc<Port>,
    pub memory: mock::Guest,
    rx: Driver,
    pub tx: Driver,
    /// Where each buffer that it has given is, by its id.
    at: Vec<u64>,
    sent: u64,
}

impl Vm {
    pub fn attach(bench: &mut Bench) -> Self {
        Self::attach_behind(bench, 0)
    }

    pub fn attach_behind(bench: &mut Bench, nic: u8) -> Self {
        let mut vm = Self::absent(bench, nic);
        vm.connect();
        vm
    }

    /// A port in service to which no one is connected.
    pub fn absent(bench: &mut Bench, nic: u8) -> Self {
        let port = Arc::new(Port::new(1).unwrap());
        let peer = Peer::Guest {
            port: port.clone(),
            pair: 0,
            nic,
        };
        bench.open(VM, 1, peer);
        let memory = mock::Guest::new();
        let rx = Driver::new(&memory, 0, SIZE, FEATURES, 0);
        let tx = Driver::new(&memory, 1, SIZE, FEATURES, 0);
        Self {
            port,
            memory,
            rx,
            tx,
            at: vec![0; SIZE.into()],
            sent: 0,
        }
    }

    pub fn connect(&mut self) {
        let pair = mock::pair(&self.memory, FEATURES, Some(&self.rx), Some(&self.tx));
        assert!(self.port.put(0, pair).is_none());
    }

    /// Gives so many buffers to receive into.
    pub fn give(&mut self, count: u16) {
        for number in 0..count {
            let addr = mock::BUFFERS + u64::from(number) * ROOM;
            let part = Part {
                addr,
                len: 2048,
                write: true,
            };
            let id = self.rx.add(&self.memory, &[part], None).expect("room");
            self.at[usize::from(id)] = addr;
        }
    }

    /// What it has received, without headers; and the flags of each header.
    pub fn received(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut received = Vec::new();
        while let Some((id, len)) = self.rx.used(&self.memory) {
            let bytes = self.memory.read(self.at[usize::from(id)], len as usize);
            assert_eq!(&bytes[10..HEADER], [1, 0], "one buffer");
            received.push((bytes[0], bytes[HEADER..].to_vec()));
        }
        received
    }

    pub fn frames(&mut self) -> Vec<Vec<u8>> {
        let received = self.received().into_iter();
        received.map(|(_, frame)| frame).collect()
    }

    /// Sends a frame behind a header of these flags, `gso_type`, and 16-bit fields.
    pub fn send_with(&mut self, flags: u8, gso: u8, fields: [u16; 4], frame: &[u8]) {
        let fields = fields.iter().flat_map(|field| field.to_le_bytes());
        let header: Vec<u8> = [flags, gso]
            .into_iter()
            .chain(fields)
            .chain([0, 0])
            .collect();
        let addr = TO_SEND + self.sent % 64 * 0x1_0000;
        self.sent += 1;
        self.memory.write(addr, &header);
        self.memory.write(addr + HEADER as u64, frame);
        let part = Part {
            addr,
            len: u32::try_from(HEADER + frame.len()).unwrap(),
            write: false,
        };
        while self.tx.used(&self.memory).is_some() {}
        self.tx.add(&self.memory, &[part], None).expect("room");
    }

    pub fn send(&mut self, frame: &[u8]) {
        self.send_with(0, 0, [0; 4], frame);
    }
}
