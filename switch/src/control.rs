//! The control thread: it waits for clients, for their death, and for signals; and it alone
//! changes claims and vports.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dpdk::Eal;
use port_api::protocol::{Greeting, Reply, Request, VERSION};
use port_api::{Error, MAX_MESSAGE, Received, parse};

use crate::claims::{Claims, tuple_at};
use crate::command::Event;
use crate::config::Config;
use crate::foreign::{Closer, Passed};
use crate::guests::{Guest, Tenants};
use crate::nics::Nic;
use crate::pace::Muffler;
use crate::peer::Peer;
use crate::policy::Policy;
use crate::queries;
use crate::refusal::Refusal;
use crate::signals::Signals;
use crate::socket::ControlSocket;
use crate::stacks::{Slots, Stack};
use crate::stock::Stock;
use crate::watch::{Source, Watch};
use crate::workers::{Stuck, Workers};

mod claiming;
mod clients;
mod guests;
mod lifecycle;
mod limits;
mod reload;
mod rights;
mod traces;

pub use clients::Bounds;
use clients::Clients;

/// How often the control thread looks for what workers say unasked.
const EVENT_PERIOD: Duration = Duration::from_millis(100);

/// Refusals that are logged a second, and at once after a rest.
const LOGGED: (u32, u32) = (10, 100);

/// Characters that are logged of what a client says it is.
const LONGEST_CLIENT: usize = 64;

/// Name of the memzone of rings and doorbells.
pub const MEMZONE: &str = "multistack";

/// What the control thread is given to look after.
pub struct Setup {
    /// Where clients come in.
    pub socket: ControlSocket,
    /// Where signals come in.
    pub signals: Signals,
    /// The options in force.
    pub config: Config,
    /// The policy in force.
    pub policy: Policy,
    /// EAL's, for stacks.
    pub file_prefix: String,
    /// Where EAL leaves files of stacks.
    pub runtime_dir: PathBuf,
    /// The buffers.
    pub stock: Box<dyn Stock>,
    /// The NIC ports.
    pub nics: Vec<Nic>,
    /// The workers.
    pub workers: Workers,
    /// The vports.
    pub slots: Slots,
    /// The claims.
    pub claims: Claims,
    /// How much of clients is put up with.
    pub bounds: Bounds,
}

/// Everything that the control thread looks after.
pub struct Control {
    pub(crate) socket: ControlSocket,
    signals: Signals,
    config: Config,
    policy: Policy,
    file_prefix: String,
    runtime_dir: PathBuf,
    pub(crate) stock: Box<dyn Stock>,
    pub(crate) nics: Vec<Nic>,
    pub(crate) workers: Workers,
    pub(crate) slots: Slots,
    pub(crate) claims: Claims,
    /// In the order of their ids.
    pub(crate) peers: Vec<Peer>,
    pub(crate) guests: Vec<Guest>,
    watch: Watch,
    closer: Closer,
    clients: Clients,
    refusals: Muffler,
    /// Room for a message.
    message: Box<[u8]>,
}

/// Why a request was not answered as hoped.
enum Failure {
    Refused(Refusal),
    Stuck(Stuck),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Stuck> for Failure {
    fn from(stuck: Stuck) -> Self {
        Self::Stuck(stuck)
    }
}

fn without_scope(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port())
}

/// What a request counts as, beside others: how much of the control thread's time it may take, and
/// how much of the workers'.
fn cost(request: &Request, slots: u16) -> u32 {
    match request {
        // Every worker copies the counters of all vports.
        Request::Stacks { .. } | Request::Stats { .. } => 1 + u32::from(slots) / 64,
        // New rings.
        Request::Attach { .. } | Request::AddPort(_) => 10,
        _ => 1,
    }
}

impl Control {
    /// Puts it together.
    ///
    /// # Errors
    /// No more descriptors or threads.
    pub fn new(setup: Setup) -> io::Result<Self> {
        let watch = Watch::new()?;
        watch.add(&setup.signals.end, Source::End)?;
        watch.add(&setup.signals.reload, Source::Reload)?;
        watch.add(&setup.socket, Source::Listener)?;
        let now = Instant::now();
        Ok(Self {
            socket: setup.socket,
            signals: setup.signals,
            config: setup.config,
            policy: setup.policy,
            file_prefix: setup.file_prefix,
            runtime_dir: setup.runtime_dir,
            stock: setup.stock,
            nics: setup.nics,
            workers: setup.workers,
            slots: setup.slots,
            claims: setup.claims,
            peers: Vec::new(),
            guests: Vec::new(),
            watch,
            closer: Closer::start()?,
            clients: Clients::new(setup.bounds, now),
            refusals: Muffler::new(LOGGED.0, LOGGED.1, now),
            message: vec![0; MAX_MESSAGE].into(),
        })
    }

    /// Serves until a signal asks for the end.
    ///
    /// # Errors
    /// [`Stuck`].
    pub fn run(&mut self) -> Result<(), Stuck> {
        while self.round(EVENT_PERIOD)? {}
        Ok(())
    }

    /// Waits for something to do, not longer than `patience`, and does it: of each of up to
    /// [`ROUND`](crate::watch::ROUND) clients one request. False when a signal asks for the end.
    ///
    /// # Errors
    /// [`Stuck`].
    pub fn round(&mut self, patience: Duration) -> Result<bool, Stuck> {
        let ready = self.watch.wait(self.until_due(patience));
        let now = Instant::now();
        // Deaths last: what was said before is heard.
        for source in &ready {
            match *source {
                Source::End => return Ok(false),
                Source::Reload => self.reload_at_signal(),
                Source::Said(id) => self.listen_to(id, now)?,
                Source::Listener | Source::Died(_) => {}
            }
        }
        for source in &ready {
            if let Source::Died(id) = *source
                && let Some(at) = self.place_of(id)
            {
                self.bury(at)?;
            }
        }
        while let Some(Event::Corrupt(slot)) = self.workers.event() {
            self.evict(slot, "its rings hold impossible cursors")?;
        }
        self.look_after_clients(now)?;
        self.peers.retain(|peer| !peer.is_over());
        if ready.contains(&Source::Listener) {
            self.accept(now);
        }
        self.nics.iter_mut().for_each(Nic::watch_link);
        Ok(true)
    }

    fn place_of(&self, id: u64) -> Option<usize> {
        self.peers.binary_search_by_key(&id, |peer| peer.id).ok()
    }

    fn listen_to(&mut self, id: u64, now: Instant) -> Result<(), Stuck> {
        let Some(at) = self.place_of(id) else {
            return Ok(());
        };
        let Some(conn) = &self.peers[at].conn else {
            return Ok(());
        };
        let Received { message: len, fds } = match conn.receive(&mut self.message) {
            Ok(received) => received,
            Err(Error::Io { source, .. }) if source.raw_os_error() == Some(libc::EAGAIN) => {
                return Ok(());
            }
            Err(_) => return self.hang_up(at),
        };
        let sockets = self.sockets_among(fds);
        let request = match parse::<Request>(&self.message, len) {
            Ok(request) => request,
            Err(error) => {
                let refusal = Refusal::new(libc::EPROTO, format!("not a request: {error}"));
                return self.send_away(at, refusal);
            }
        };
        if !self.peers[at].greeted {
            return self.greet(at, &request, now);
        }
        let cost = cost(&request, self.slots.region().geometry().slots);
        let answer = sockets
            .map_err(Failure::from)
            .and_then(|sockets| self.answer(at, request, sockets));
        match answer {
            Ok(reply) => self.reply(at, &reply),
            Err(Failure::Refused(refusal)) => {
                self.log(at, &format!("refused: {refusal}"), now);
                self.reply(at, &refusal.into());
            }
            Err(Failure::Stuck(stuck)) => return Err(stuck),
        }
        self.charge(at, cost, now);
        Ok(())
    }

    /// Logs what became of a client's wishes, as far as there is not too much of that.
    fn log(&mut self, at: usize, what: &str, now: Instant) {
        let Some(held_back) = self.refusals.lets_through(now) else {
            return;
        };
        if held_back > 0 {
            tracing::info!("{held_back} more refusals were not logged");
        }
        tracing::info!("{}: {what}", self.peers[at].describe());
    }

    /// Says why, and hangs up.
    fn send_away(&mut self, at: usize, refusal: Refusal) -> Result<(), Stuck> {
        self.reply(at, &refusal.into());
        self.hang_up(at)
    }

    /// The sockets that came with a message, if nothing else did.
    fn sockets_among(&self, fds: Vec<OwnedFd>) -> Result<Vec<Passed>, Refusal> {
        let mut sockets = Vec::with_capacity(fds.len());
        let mut others = 0;
        for fd in fds {
            match Passed::new(fd) {
                Ok(socket) => sockets.push(socket),
                Err(other) => {
                    others += 1;
                    self.closer.close(other);
                }
            }
        }
        if others == 0 {
            return Ok(sockets);
        }
        let message = format!("{others} of the descriptors that came with this are no IP sockets");
        Err(Refusal::new(libc::EINVAL, message))
    }

    fn reply(&mut self, at: usize, reply: &Reply) {
        let Some(conn) = &self.peers[at].conn else {
            return;
        };
        match conn.send(reply, &[]) {
            // Its end is seen when it is read from.
            Ok(()) | Err(Error::Closed) => {}
            // It does not read its answers: the end of the connection is all that it can be told.
            Err(error) => {
                let _ = rustix::net::shutdown(conn, rustix::net::Shutdown::Both);
                let why = format!("cut off: {error}");
                self.log(at, &why, Instant::now());
            }
        }
    }

    fn greet(&mut self, at: usize, message: &Request, now: Instant) -> Result<(), Stuck> {
        let Request::Hello { version, client } = message else {
            let refusal = Refusal::new(libc::EPROTO, "the first message must be a hello");
            return self.send_away(at, refusal);
        };
        // A client of another version gets this too, to see which one it should be.
        let greeting = Greeting {
            version: VERSION,
            switch: concat!("multistack ", env!("CARGO_PKG_VERSION")).to_owned(),
            dpdk: Eal::dpdk_version().to_owned(),
            file_prefix: self.file_prefix.clone(),
            pid: std::process::id(),
        };
        self.reply(at, &Reply::Hello(greeting));
        if *version != VERSION {
            let start: String = client.chars().take(LONGEST_CLIENT).collect();
            let why = format!("{start:?} speaks control protocol {version}, this is {VERSION}");
            self.log(at, &format!("sent away: {why}"), now);
            return self.hang_up(at);
        }
        self.peers[at].greeted = true;
        self.charge(at, 1, now);
        Ok(())
    }

    fn answer(
        &mut self,
        at: usize,
        request: Request,
        sockets: Vec<Passed>,
    ) -> Result<Reply, Failure> {
        self.may_ask(at, &request)?;
        match request {
            Request::Hello { .. } => {
                Err(Refusal::new(libc::EPROTO, "hello was said before").into())
            }
            Request::Attach { name } => self.attach(at, name),
            Request::Detach => self.detach(at),
            Request::Claim { claims } => self.claim(at, &claims, sockets),
            Request::Release { claim } => self.release(at, claim),
            Request::Offer { claim, to } => self.offer(at, claim, to),
            Request::Take { claim } => self.take(at, claim),
            Request::Holder { protocol, addr } => {
                let subject = tuple_at(protocol, without_scope(addr), self.nic_of(addr));
                let slot = self.claims.owner(&subject);
                let holder = slot.map(|slot| self.tenants().describe(slot));
                Ok(Reply::Holder { holder })
            }
            Request::Trace(request) => self.trace(&request),
            Request::Limit { vport, rx, tx } => Ok(self.limit(at, vport, rx, tx)?),
            Request::AddPort(spec) => self.add_port_for(at, &spec, sockets),
            Request::RemovePort { vport } => self.remove_port(at, vport),
            Request::Reload => self.reload_for(at),
            Request::Ports => Ok(Reply::Ports {
                ports: queries::ports(&self.nics),
            }),
            Request::Stacks { from } => Ok(queries::stacks(self, from)?),
            Request::Claims { from } => Ok(queries::claims(self, from)),
            Request::Stats { from } => Ok(queries::stats(self, from)?),
        }
    }

    pub(crate) fn tenants(&self) -> Tenants<'_> {
        Tenants {
            peers: &self.peers,
            guests: &self.guests,
        }
    }

    /// The NIC port of a link-local address; any for others.
    fn nic_of(&self, addr: SocketAddr) -> u8 {
        let SocketAddr::V6(v6) = addr else { return 0 };
        let mut nics = self.nics.iter();
        let nic = nics.find(|nic| nic.has_index(v6.scope_id()));
        nic.map_or(0, |nic| nic.id)
    }

    fn stack_of(&self, at: usize) -> Result<&Stack, Refusal> {
        let peer = &self.peers[at];
        match &peer.stack {
            Some(stack) if !peer.evicted => Ok(stack),
            _ => Err(Refusal::new(libc::ENOTCONN, "not attached")),
        }
    }

    /// Tells all clients that the switch ends.
    pub fn say_farewell(&mut self) {
        for at in 0..self.peers.len() {
            if let Some(stack) = &self.peers[at].stack {
                self.slots.tell_end(stack.slot);
            }
            self.reply(at, &Reply::Shutdown);
        }
        self.peers.clear();
    }
}
