//! The control thread: it waits for clients, for their death, and for signals; and it alone
//! changes claims and vports.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use dpdk::{Eal, Ledger, Mempool};
use port_api::Error;
use port_api::protocol::{Greeting, Reply, Request, VERSION};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::claims::{Claims, tuple_at};
use crate::command::Event;
use crate::holder::kernel_holder;
use crate::nics::Nic;
use crate::peer::Peer;
use crate::queries;
use crate::refusal::Refusal;
use crate::stacks::{Slots, Stack};
use crate::workers::{Stuck, Workers};

mod arrival;
mod claiming;
mod lifecycle;
mod traces;

pub(crate) use arrival::Arrivals;

/// How often the control thread looks for what workers say unasked.
const EVENT_PERIOD: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Name of the memzone of rings and doorbells.
pub const MEMZONE: &str = "multistack";

/// Everything that the control thread looks after.
pub struct Control {
    pub(crate) listener: OwnedFd,
    pub(crate) signals: OwnedFd,
    pub(crate) file_prefix: String,
    pub(crate) runtime_dir: PathBuf,
    pub(crate) pool: std::sync::Arc<Mempool>,
    pub(crate) ledger: Ledger,
    pub(crate) nics: Vec<Nic>,
    pub(crate) workers: Workers,
    pub(crate) slots: Slots,
    pub(crate) claims: Claims,
    pub(crate) peers: Vec<Peer>,
    pub(crate) arrivals: Arrivals,
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

/// What poll(2) found.
#[derive(Default)]
struct Ready {
    signal: bool,
    connection: bool,
    /// Peers that said something, and peers that died.
    said: Vec<usize>,
    died: Vec<usize>,
}

impl Control {
    /// Serves until a signal asks for the end.
    ///
    /// # Errors
    /// [`Stuck`].
    pub fn run(&mut self) -> Result<(), Stuck> {
        loop {
            let ready = self.wait();
            if ready.signal {
                return Ok(());
            }
            for peer in ready.said {
                self.listen_to(peer)?;
            }
            for peer in ready.died {
                self.bury(peer)?;
            }
            while let Some(Event::Corrupt(slot)) = self.workers.event() {
                self.evict(slot, "its rings hold impossible cursors")?;
            }
            self.peers.retain(|peer| !peer.is_over());
            if ready.connection {
                self.accept();
            }
            self.nics.iter_mut().for_each(Nic::watch_link);
        }
    }

    fn wait(&self) -> Ready {
        let mut fds = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.listener, self.arrivals.interest()),
        ];
        let mut whose = Vec::with_capacity(2 * self.peers.len());
        for (at, peer) in self.peers.iter().enumerate() {
            fds.push(PollFd::new(&peer.pidfd, PollFlags::IN));
            whose.push((at, false));
            if let Some(conn) = &peer.conn {
                fds.push(PollFd::new(conn, PollFlags::IN));
                whose.push((at, true));
            }
        }
        let mut ready = Ready::default();
        // Interrupted: the signal's pipe will tell the next time.
        if poll(&mut fds, Some(&EVENT_PERIOD)).is_err() {
            return ready;
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        ready.signal = is_ready(&fds[0]);
        ready.connection = is_ready(&fds[1]);
        for (fd, (at, is_conn)) in fds[2..].iter().zip(whose) {
            if is_ready(fd) {
                let list = if is_conn {
                    &mut ready.said
                } else {
                    &mut ready.died
                };
                list.push(at);
            }
        }
        ready
    }

    fn listen_to(&mut self, at: usize) -> Result<(), Stuck> {
        let Some(conn) = &self.peers[at].conn else {
            return Ok(());
        };
        let received = match conn.recv::<Request>() {
            Ok(received) => received,
            Err(Error::Io { source, .. }) if source.raw_os_error() == Some(libc::EAGAIN) => {
                return Ok(());
            }
            Err(Error::Protocol(why)) => {
                let refusal = Refusal::new(libc::EPROTO, format!("not a request: {why}"));
                self.reply(at, &refusal.into());
                return self.hang_up(at);
            }
            Err(_) => return self.hang_up(at),
        };
        if !self.peers[at].greeted {
            return self.greet(at, &received.message);
        }
        match self.answer(at, received.message, received.fds) {
            Ok(reply) => self.reply(at, &reply),
            Err(Failure::Refused(refusal)) => {
                tracing::info!("{} was refused: {refusal}", self.peers[at].describe());
                self.reply(at, &refusal.into());
            }
            Err(Failure::Stuck(stuck)) => return Err(stuck),
        }
        Ok(())
    }

    fn reply(&mut self, at: usize, reply: &Reply) {
        let Some(conn) = &self.peers[at].conn else {
            return;
        };
        if let Err(error) = conn.send(reply, &[]) {
            // It does not read its answers: the end of the connection is all that it can be told.
            tracing::info!("cut {} off: {error}", self.peers[at].describe());
            let _ = rustix::net::shutdown(conn, rustix::net::Shutdown::Both);
        }
    }

    fn greet(&mut self, at: usize, message: &Request) -> Result<(), Stuck> {
        let Request::Hello { version, client } = message else {
            let refusal = Refusal::new(libc::EPROTO, "the first message must be a hello");
            self.reply(at, &refusal.into());
            return self.hang_up(at);
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
            tracing::warn!("{client} speaks control protocol {version}, this is {VERSION}");
            return self.hang_up(at);
        }
        self.peers[at].greeted = true;
        Ok(())
    }

    fn answer(&mut self, at: usize, request: Request, fds: Vec<OwnedFd>) -> Result<Reply, Failure> {
        match request {
            Request::Hello { .. } => {
                Err(Refusal::new(libc::EPROTO, "hello was said before").into())
            }
            Request::Attach { name } => self.attach(at, name),
            Request::Detach => self.detach(at),
            Request::Claim { claims } => self.claim(at, &claims, fds),
            Request::Release { claim } => self.release(at, claim),
            Request::Offer { claim, to } => self.offer(at, claim, to),
            Request::Take { claim } => self.take(at, claim),
            Request::Holder { protocol, addr } => {
                let subject = tuple_at(protocol, without_scope(addr), self.nic_of(addr));
                let holder = match self.claims.owner(&subject) {
                    Some(slot) => Some(queries::holder(&self.peers, slot)),
                    None => kernel_holder(protocol, addr),
                };
                Ok(Reply::Holder { holder })
            }
            Request::Trace(request) => self.trace(&request),
            Request::Ports => Ok(Reply::Ports {
                ports: queries::ports(&self.nics),
            }),
            Request::Stacks { from } => Ok(queries::stacks(self, from)?),
            Request::Claims { from } => Ok(queries::claims(self, from)),
            Request::Stats { from } => Ok(queries::stats(self, from)?),
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
