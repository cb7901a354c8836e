//! The server over the rings of a vport, against a client over the rings of another one. What
//! stands between them moves descriptors, as the switch does, and loses frames when told to.

use std::fs;
use std::path::PathBuf;

use dpdk::{Eal, Memzone, PoolLayout};
use port_api::geometry::Geometry;
use port_api::{Buffers, Desc, Region, RingPort, SwitchSide};
use smoltcp::iface::{Config as InterfaceConfig, Interface, SocketHandle, SocketSet};
use smoltcp::phy::Device as _;
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Address};
use stack_http::{Config, RingDevice, Root, Server};

const BUFFERS: u32 = 160;
const ROOM: u16 = 2048;
const HEADROOM: u16 = 128;
const FILL: u32 = 12;
/// More than a buffer holds.
const MTU: u16 = 9000;
const GEOMETRY: Geometry = Geometry {
    workers: 1,
    slots: 2,
    ring_size: 16,
    free_size: 256,
};
const SERVER: Ipv4Address = Ipv4Address::new(10, 99, 0, 1);
const CLIENT: Ipv4Address = Ipv4Address::new(10, 99, 0, 2);
const SERVER_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
const CLIENT_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);

type Device = RingDevice<Box<RingPort>>;

/// Moves what one vport sends to the other one.
struct Switch {
    sides: [SwitchSide; 2],
    pool: Vec<u32>,
    /// Every how manieth frame is lost; 0 for none.
    loss: usize,
    frames: usize,
    lost: usize,
}

impl Switch {
    fn round(&mut self) {
        for side in 0..2 {
            self.sides[side].refresh().unwrap();
            while let Some(index) = self.sides[side].free.take() {
                self.pool.push(index);
            }
            self.sides[side].free.release();
            while let Some(raw) = self.sides[side].tx.take() {
                self.forward(raw, 1 - side);
            }
            self.sides[side].tx.release();
        }
        for side in &mut self.sides {
            while side.fill.used() < FILL
                && let Some(index) = self.pool.pop()
            {
                assert!(side.fill.stage(index));
            }
            side.fill.publish();
            side.rx.publish();
        }
    }

    fn forward(&mut self, raw: u64, to: usize) {
        self.frames += 1;
        let is_lost = self.loss > 0 && self.frames.is_multiple_of(self.loss);
        if is_lost || !self.sides[to].rx.stage(raw) {
            self.lost += 1;
            self.pool.push(Desc::unpack(raw).unwrap().index);
        }
    }
}

struct Client {
    iface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
}

impl Client {
    fn new(device: &mut Device, now: Instant) -> Self {
        let config = InterfaceConfig::new(HardwareAddress::Ethernet(CLIENT_MAC));
        let mut iface = Interface::new(config, device, now);
        iface.update_ip_addrs(|addrs| addrs.push(IpCidr::new(CLIENT.into(), 24)).unwrap());
        let buffer = || SocketBuffer::new(vec![0; 128 * 1024]);
        let mut sockets = SocketSet::new(vec![]);
        let handle = sockets.add(Socket::new(buffer(), buffer()));
        Self {
            iface,
            sockets,
            handle,
        }
    }

    fn connect(&mut self, local_port: u16) {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        socket
            .connect(self.iface.context(), (SERVER, 80), local_port)
            .unwrap();
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }
}

/// Everything, and a clock that runs as fast as it can.
struct World {
    switch: Switch,
    server: Server,
    server_device: Device,
    client: Client,
    client_device: Device,
    now: Instant,
    port: u16,
}

impl World {
    fn new(root: &str) -> Self {
        let zone = Memzone::reserve("rooms", BUFFERS as usize * usize::from(ROOM), 64).unwrap();
        let layout = PoolLayout {
            memzone: "rooms".to_owned(),
            base: zone.addr().addr().get() as u64,
            stride: ROOM.into(),
            count: BUFFERS,
            buf_len: ROOM,
        };
        let buffers = Buffers::in_memzone(&zone, &layout).unwrap();
        let region = Region::on_heap(GEOMETRY).unwrap();
        let mut switch = Switch {
            sides: [0, 1].map(|slot| SwitchSide::new(&region, slot, 0)),
            pool: (0..BUFFERS).collect(),
            loss: 0,
            frames: 0,
            lost: 0,
        };
        switch.round();
        let device = |slot| {
            let port = RingPort::new(&region, buffers.clone(), slot, 0);
            RingDevice::new(Box::new(port), MTU)
        };
        let now = Instant::from_secs(1);
        let (mut server_device, mut client_device) = (device(0), device(1));
        let max_frame = server_device.capabilities().max_transmission_unit;
        assert_eq!(max_frame, usize::from(ROOM - HEADROOM));
        let config = Config {
            mac: SERVER_MAC,
            addresses: vec![IpCidr::new(SERVER.into(), 24)],
            gateways: vec![],
            ports: vec![80],
            sockets: 4,
        };
        let root = Root::open(root.as_ref()).unwrap();
        Self {
            switch,
            server: Server::new(&config, root, 7, &mut server_device, now).unwrap(),
            client: Client::new(&mut client_device, now),
            server_device,
            client_device,
            now,
            port: 50_000,
        }
    }

    fn round(&mut self) {
        self.now += Duration::from_micros(200);
        self.switch.round();
        self.server.round(&mut self.server_device, self.now);
        self.server_device.flush();
        let client = &mut self.client;
        client
            .iface
            .poll(self.now, &mut self.client_device, &mut client.sockets);
        self.client_device.flush();
    }

    /// Sends `request` over a new connection and returns all that comes until the server closes.
    fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        self.port += 1;
        let port = self.port;
        self.client.connect(port);
        let (mut sent, mut answer, mut connected) = (0, vec![], false);
        let end = self.now + Duration::from_secs(600);
        while self.now < end {
            self.round();
            let socket = self.client.socket();
            connected |= socket.may_send();
            if socket.can_send() && sent < request.len() {
                sent += socket.send_slice(&request[sent..]).unwrap();
            }
            while socket.can_recv() {
                socket
                    .recv(|bytes| {
                        answer.extend_from_slice(bytes);
                        (bytes.len(), ())
                    })
                    .unwrap();
            }
            if connected && !socket.may_recv() {
                assert_eq!(sent, request.len());
                self.finish();
                return answer;
            }
        }
        panic!("no end after {} bytes", answer.len());
    }

    fn finish(&mut self) {
        self.client.socket().close();
        while self.client.socket().is_open() {
            self.round();
        }
        self.client.socket().abort();
    }

    /// Lets `time` pass.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.round();
        }
    }

    /// Buffers that are neither in the pool nor in a fill ring.
    fn buffers_out(&mut self) -> u32 {
        let fills: u32 = self.switch.sides.iter().map(|side| side.fill.used()).sum();
        let pool = u32::try_from(self.switch.pool.len()).unwrap();
        BUFFERS - pool - fills
    }
}

fn site() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("stack-http-rings-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("small.txt"), "small").unwrap();
    fs::write(dir.join("big"), big()).unwrap();
    dir
}

fn big() -> Vec<u8> {
    (0..3_000_000u32)
        .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect()
}

/// Splits off the first response: its head, and as much of a body as the head says.
fn response(answer: &[u8], has_body: bool) -> (String, &[u8], &[u8]) {
    let end = answer.windows(4).position(|at| at == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let length = head.split("Content-Length: ").nth(1).unwrap();
    let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
    let length = if has_body { length } else { 0 };
    let (body, rest) = answer[end..].split_at(length);
    (head, body, rest)
}

fn pipeline(world: &mut World) {
    let request = b"GET /small.txt HTTP/1.1\r\nHost: x\r\n\r\n\
        HEAD /big HTTP/1.1\r\nHost: x\r\n\r\n\
        GET /none HTTP/1.1\r\nHost: x\r\n\r\n\
        GET /big HTTP/1.1\r\nHost: x\r\n\r\n\
        DELETE /big HTTP/1.1\r\nHost: x\r\n\r\n\
        GET /small.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = world.ask(request);
    let (head, body, rest) = response(&answer, true);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/plain"), "{head}");
    assert_eq!(body, b"small");
    let (head, _, rest) = response(rest, false);
    assert!(head.contains("Content-Length: 3000000\r\n"), "{head}");
    let (head, body, rest) = response(rest, true);
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    assert_eq!(body, b"404 Not Found\n");
    let (_, body, rest) = response(rest, true);
    assert!(body == big(), "the file arrived changed");
    let (head, _, rest) = response(rest, true);
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    let (head, body, rest) = response(rest, true);
    assert!(head.contains("Connection: close\r\n"), "{head}");
    assert_eq!((body, rest), (&b"small"[..], &b""[..]));
}

#[test]
fn a_server_and_a_client_over_rings() {
    let args = format!(
        "rings --file-prefix=stack-http-{} --no-huge -m 64 --no-pci -l 0",
        std::process::id()
    );
    let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
    let eal = Eal::primary(&args).unwrap();
    let dir = site();
    let mut world = World::new(dir.to_str().unwrap());

    pipeline(&mut world);

    // More connections than sockets: TIME-WAIT must not keep new ones out.
    for _ in 0..20 {
        let answer = world.ask(b"GET /small.txt HTTP/1.0\r\n\r\n");
        assert!(answer.ends_with(b"\r\n\r\nsmall"));
    }
    let answer = world.ask(b"nonsense\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");

    // A client that says nothing is let go of.
    let before = world.now;
    assert_eq!(world.ask(b""), b"");
    assert!((29..40).contains(&(world.now - before).secs()));

    world.switch.loss = 97;
    pipeline(&mut world);
    assert!(world.switch.lost > 20, "{} frames lost", world.switch.lost);

    world.switch.loss = 0;
    world.pass(Duration::from_secs(60));
    assert_eq!(
        world.server.busy_sockets(),
        0,
        "connections that did not end"
    );
    // Each device keeps one for its next frame.
    assert_eq!(world.buffers_out(), 2, "buffers got lost");

    fs::remove_dir_all(dir).unwrap();
    eal.cleanup();
}
