//! The pool of sockets and the body of the loop.

use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use smoltcp::iface::{Config as InterfaceConfig, Interface, PollIngressSingleResult, PollResult};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::phy::Device;
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use crate::connection::{Connection, Site};
use crate::files::Root;

/// Most addresses of a server.
pub const MAX_ADDRESSES: usize = 8;

const RX_BUFFER: usize = 64 * 1024;
const TX_BUFFER: usize = 256 * 1024;
/// Packets taken in before the sockets are looked at.
const BURST: usize = port_api::BURST;
/// Sockets kept listening per port, since smoltcp has no backlog: as many as one burst can use up.
const SPARE: usize = BURST;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// Where a server is to be found.
#[derive(Clone, Debug)]
pub struct Config {
    /// The port's MAC address.
    pub mac: EthernetAddress,
    /// Its addresses, with the prefixes of the networks that they lie in; up to [`MAX_ADDRESSES`].
    pub addresses: Vec<IpCidr>,
    /// Next hops to everywhere else: up to one for each IP version.
    pub gateways: Vec<IpAddr>,
    /// The TCP ports; each is served at every address that frames come for.
    pub ports: Vec<u16>,
    /// Most sockets, in equal shares for the ports: listening, connected, and waiting for the end
    /// of TIME-WAIT. Each has 320 KiB of buffers, touched only when used.
    pub sockets: usize,
}

/// A server of static files.
pub struct Server {
    config: Config,
    iface: Interface,
    sockets: SocketSet<'static>,
    slots: Vec<Slot>,
    ports: Vec<Port>,
    site: Site,
    /// When smoltcp has work even if nothing comes.
    next_poll: Instant,
    next_sweep: Instant,
}

struct Slot {
    handle: SocketHandle,
    /// Index into the server's ports.
    port: usize,
    connection: Option<Connection>,
}

struct Port {
    number: u16,
    sockets: usize,
    listening: usize,
    max_sockets: usize,
}

impl Server {
    /// A server of what is below `root`. `seed` is what initial sequence numbers are derived from:
    /// nobody else should know it.
    ///
    /// # Errors
    /// A sentence about what in `config` does not fit.
    pub fn new<D: Device>(
        config: &Config,
        root: Root,
        seed: u64,
        device: &mut D,
        now: Instant,
    ) -> Result<Self, String> {
        let iface = interface(config, seed, device, now)?;
        if config.ports.contains(&0) || config.ports.is_empty() {
            return Err("a server needs a port other than 0".to_owned());
        }
        let max_sockets = config.sockets / config.ports.len();
        if max_sockets == 0 {
            return Err(format!("{} ports need as many sockets", config.ports.len()));
        }
        let port = |&number| Port {
            number,
            sockets: 0,
            listening: 0,
            max_sockets,
        };
        let mut server = Self {
            config: config.clone(),
            iface,
            sockets: SocketSet::new(vec![]),
            slots: vec![],
            ports: config.ports.iter().map(port).collect(),
            site: Site {
                root,
                date: String::new(),
            },
            next_poll: now,
            next_sweep: now,
        };
        server.keep_listening();
        Ok(server)
    }

    /// Goes on with what the device can do now; connections stay. `seed` is as for
    /// [`new`](Self::new), and another one.
    ///
    /// # Errors
    /// None, as the configuration was good before.
    pub fn renew<D: Device>(
        &mut self,
        seed: u64,
        device: &mut D,
        now: Instant,
    ) -> Result<(), String> {
        // smoltcp asks a device for its MTU only here. Sockets live apart, and know no MTU.
        self.iface = interface(&self.config, seed, device, now)?;
        self.next_poll = now;
        Ok(())
    }

    /// One round: takes in up to a burst of frames, answers what can be answered, hands out
    /// frames as long as the device takes them. `now` never goes back. True if anything moved.
    pub fn round<D: Device>(&mut self, device: &mut D, now: Instant) -> bool {
        let received = self.receive(device, now);
        let is_sweep = now >= self.next_sweep;
        if !received && !is_sweep && now < self.next_poll {
            return false;
        }
        if is_sweep {
            self.next_sweep = now + SWEEP;
            self.site.date = httpdate::fmt_http_date(SystemTime::now());
        }
        let more = self.serve(now, is_sweep);
        self.keep_listening();
        let sent = self.send(device, now);
        let timer = self.iface.poll_at(now, &self.sockets);
        self.next_poll = match timer {
            _ if more => now,
            Some(timer) => timer,
            None => self.next_sweep,
        };
        received || more || sent
    }

    fn receive<D: Device>(&mut self, device: &mut D, now: Instant) -> bool {
        let mut count = 0;
        while count < BURST
            && self
                .iface
                .poll_ingress_single(now, device, &mut self.sockets)
                != PollIngressSingleResult::None
        {
            count += 1;
        }
        count > 0
    }

    fn send<D: Device>(&mut self, device: &mut D, now: Instant) -> bool {
        let mut sent = false;
        while self.iface.poll_egress(now, device, &mut self.sockets)
            == PollResult::SocketStateChanged
        {
            sent = true;
        }
        sent
    }

    /// Looks at every socket; true if a connection has more to do without the peer's help.
    fn serve(&mut self, now: Instant, is_sweep: bool) -> bool {
        let mut more = false;
        for port in &mut self.ports {
            port.listening = 0;
        }
        for slot in &mut self.slots {
            let socket = self.sockets.get_mut(slot.handle);
            let port = &mut self.ports[slot.port];
            more |= slot.serve(socket, port.number, &self.site, now, is_sweep);
            port.listening += usize::from(socket.is_listening());
        }
        more
    }

    /// Sees to it that each port has enough sockets that listen, and not many more: every packet
    /// passes them all.
    fn keep_listening(&mut self) {
        for index in 0..self.ports.len() {
            let port = &self.ports[index];
            if port.listening > 2 * SPARE {
                self.remove_socket(index);
            } else if port.listening < SPARE {
                let free = port.max_sockets - port.sockets;
                for _ in 0..free.min(SPARE - port.listening) {
                    self.add_socket(index);
                }
                if self.ports[index].listening < SPARE {
                    self.recycle(index);
                }
            }
        }
    }

    fn add_socket(&mut self, port: usize) {
        let mut socket = Socket::new(
            SocketBuffer::new(vec![0; RX_BUFFER]),
            SocketBuffer::new(vec![0; TX_BUFFER]),
        );
        // What is to be sent is in the buffer as a whole, so waiting for more gains nothing.
        socket.set_nagle_enabled(false);
        listen(&mut socket, self.ports[port].number);
        self.slots.push(Slot {
            handle: self.sockets.add(socket),
            port,
            connection: None,
        });
        self.ports[port].sockets += 1;
        self.ports[port].listening += 1;
    }

    /// Cuts TIME-WAIT short where sockets are scarce: a stray old segment then gets a reset, which
    /// beats resetting new connections.
    fn recycle(&mut self, index: usize) {
        let port = &mut self.ports[index];
        for slot in self.slots.iter().filter(|slot| slot.port == index) {
            let socket: &mut Socket<'_> = self.sockets.get_mut(slot.handle);
            if socket.state() == State::TimeWait {
                listen(socket, port.number);
                port.listening += 1;
            }
        }
    }

    fn remove_socket(&mut self, port: usize) {
        let is_spare = |slot: &Slot| {
            slot.port == port && self.sockets.get::<Socket<'_>>(slot.handle).is_listening()
        };
        if let Some(last) = self.slots.iter().rposition(is_spare) {
            let slot = self.slots.swap_remove(last);
            self.sockets.remove(slot.handle);
            self.ports[port].sockets -= 1;
            self.ports[port].listening -= 1;
        }
    }

    /// Resets all connections.
    pub fn shut_down<D: Device>(&mut self, device: &mut D, now: Instant) {
        for slot in &mut self.slots {
            self.sockets.get_mut::<Socket<'_>>(slot.handle).abort();
        }
        self.send(device, now);
    }

    /// Sockets that do not listen: those that have a peer, and TIME-WAIT.
    pub fn busy_sockets(&self) -> usize {
        let busy = |port: &Port| port.sockets - port.listening;
        self.ports.iter().map(busy).sum()
    }
}

impl Slot {
    fn serve(
        &mut self,
        socket: &mut Socket<'_>,
        port: u16,
        site: &Site,
        now: Instant,
        is_sweep: bool,
    ) -> bool {
        match socket.state() {
            State::Listen | State::SynReceived => false,
            State::TimeWait => {
                self.connection = None;
                false
            }
            State::Closed => {
                self.connection = None;
                // An aborted one may still have a reset to send, but not forever: perhaps nobody
                // answers for the peer's address.
                if socket.remote_endpoint().is_none() || is_sweep {
                    listen(socket, port);
                }
                false
            }
            _ => {
                let connection = self.connection.get_or_insert_with(|| {
                    // From here on the connection's own deadline counts.
                    socket.set_timeout(None);
                    Connection::new(now)
                });
                let more = connection.serve(socket, site, now);
                if is_sweep {
                    connection.check_deadline(socket, now);
                }
                more
            }
        }
    }
}

/// Makes a socket that is closed listen on `port`, at every address.
fn listen(socket: &mut Socket<'_>, port: u16) {
    // smoltcp keeps the window of a socket's last connection otherwise.
    socket.set_congestion_control(CongestionControl::Cubic);
    socket.set_timeout(Some(HANDSHAKE));
    let listening = socket.listen(port);
    debug_assert!(listening.is_ok(), "{listening:?}");
}

fn interface<D: Device>(
    config: &Config,
    seed: u64,
    device: &mut D,
    now: Instant,
) -> Result<Interface, String> {
    let mut interface = InterfaceConfig::new(HardwareAddress::Ethernet(config.mac));
    interface.random_seed = seed;
    let mut iface = Interface::new(interface, device, now);
    add_addresses(&mut iface, config)?;
    Ok(iface)
}

fn add_addresses(iface: &mut Interface, config: &Config) -> Result<(), String> {
    if config.addresses.len() > MAX_ADDRESSES {
        return Err(format!("at most {MAX_ADDRESSES} addresses are possible"));
    }
    if let Some(cidr) = config
        .addresses
        .iter()
        .find(|cidr| !cidr.address().is_unicast())
    {
        return Err(format!("{} is not a unicast address", cidr.address()));
    }
    iface.update_ip_addrs(|addresses| {
        // Checked: there is room for all of them.
        addresses.extend(config.addresses.iter().copied());
    });
    for gateway in &config.gateways {
        let routes = iface.routes_mut();
        let added = match *gateway {
            IpAddr::V4(gateway) => routes.add_default_ipv4_route(gateway),
            IpAddr::V6(gateway) => routes.add_default_ipv6_route(gateway),
        };
        added.map_err(|_| "too many gateways: one for each IP version is possible".to_owned())?;
    }
    Ok(())
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("sockets", &self.slots.len())
            .finish_non_exhaustive()
    }
}
