//! Attaching to the switch.

use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut, RangeInclusive};
use std::os::fd::AsFd;
use std::path::Path;

use dpdk::{Eal, Memzone, PoolLayout};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;

use crate::Protocol;
use crate::backoff::{Backoff, sharpen_sleeps};
use crate::claim::{Claim, with_sockets};
use crate::client::{self, Client, unexpected};
use crate::error::Error;
use crate::holder::kernel_holder;
use crate::protocol::{Attachment, ClaimSpec, PortRow, Reply, Request};
use crate::raw::{Buffers, Region};
use crate::ring_port::RingPort;

/// When to look whether the primary is still there, which takes a system call: in idle moments, and for
/// who has none, after so many rounds that it is not felt.
#[derive(Default)]
struct Lookout {
    rounds: u32,
}

impl Lookout {
    const ROUNDS: u32 = 256;

    fn is_due(&mut self, idle: bool) -> bool {
        self.rounds = self.rounds.wrapping_add(1);
        idle || self.rounds.is_multiple_of(Self::ROUNDS)
    }
}

/// An attached vport: a stack's place on the switch. Bursts are [`RingPort`]'s methods.
///
/// Dropping it detaches: claims end, and the switch takes every buffer back. While the process
/// still has [`Packet`](crate::Packet)s in hand it could write to them, so then the switch takes
/// the vport out of service at once, but keeps its buffers and its place until the process ends.
pub struct Vport {
    client: Client,
    attachment: Attachment,
    rings: RingPort,
    backoff: Backoff,
    lookout: Lookout,
    detached: bool,
    // Last: rings and buffers lie in its memory, which stays mapped for the life of the process.
    _eal: Eal,
}

impl Vport {
    /// Attaches to the multistack whose control socket is at `path`, as a stack called `name` (up
    /// to 32 printable ASCII characters without spaces).
    ///
    /// Initialises DPDK's EAL as a secondary process, once per process: a process can attach
    /// several times, but only to one primary. Takes some 60 ms the first time.
    ///
    /// # Errors
    /// [`Error::Connect`] if no primary answers, [`Error::Closed`] if it ends meanwhile,
    /// [`Error::Version`] if it is of another version or runs with another DPDK, [`Error::Eal`], or
    /// [`Error::Refused`]: a bad name (`EINVAL`), no vport left (`ENOSPC`), the policy does not let this
    /// user attach (`EPERM`), or not once more (`EDQUOT`).
    pub fn attach(path: &Path, name: &str) -> Result<Self, Error> {
        let client = Client::connect(path, client::STACK)?;
        let theirs = &client.greeting().dpdk;
        if theirs != Eal::dpdk_version() {
            return Err(Error::Version {
                ours: Eal::dpdk_version().to_owned(),
                theirs: theirs.clone(),
            });
        }
        let eal = Eal::secondary(&client.greeting().file_prefix).map_err(|error| {
            // With the primary gone in the middle of it, that is the reason.
            if client.is_connected() {
                Error::Eal(error.to_string())
            } else {
                Error::Closed
            }
        })?;
        let attach = Request::Attach {
            name: name.to_owned(),
        };
        let attachment = match client.call(&attach, &[])? {
            Reply::Attached(attachment) => *attachment,
            other => return Err(unexpected(other)),
        };
        let rings = map(&attachment)?;
        sharpen_sleeps();
        Ok(Self {
            client,
            attachment,
            rings,
            backoff: Backoff::new(false),
            lookout: Lookout::default(),
            detached: false,
            _eal: eal,
        })
    }

    /// Claims `addr` for this stack: packets to it come here and not to the kernel, and this stack
    /// may send from it. Port 0 takes a free port of the kernel's choice, an unspecified address
    /// stands for any. What goes to a multicast group is shared with the host and other stacks;
    /// the kernel joins it, on the first NIC port's netdev.
    ///
    /// # Errors
    /// As [`claim_all`](Self::claim_all).
    pub fn claim(&self, protocol: Protocol, addr: SocketAddr) -> Result<Claim, Error> {
        self.claim_as(&ClaimSpec::tuple(protocol, addr))
    }

    /// Claims what `spec` says.
    ///
    /// # Errors
    /// As [`claim_all`](Self::claim_all).
    pub fn claim_as(&self, spec: &ClaimSpec) -> Result<Claim, Error> {
        let mut claims = self.claim_all(std::slice::from_ref(spec))?;
        claims
            .pop()
            .ok_or_else(|| Error::Protocol("no claim in the answer".to_owned()))
    }

    /// Claims all of `ports` at one address, up to [`MAX_BATCH`](crate::protocol::MAX_BATCH), or none.
    ///
    /// # Errors
    /// As [`claim_all`](Self::claim_all).
    pub fn claim_ports(
        &self,
        protocol: Protocol,
        addr: IpAddr,
        ports: RangeInclusive<u16>,
    ) -> Result<Vec<Claim>, Error> {
        let specs: Vec<_> = ports
            .map(|port| ClaimSpec::tuple(protocol, (addr, port).into()))
            .collect();
        self.claim_all(&specs)
    }

    /// Claims all of `specs`, up to [`MAX_BATCH`](crate::protocol::MAX_BATCH), or none. Every worker begins to treat all of
    /// them so between two bursts.
    ///
    /// Each TCP or UDP tuple on an address of the host's takes a kernel socket that this call binds
    /// and the switch keeps; see the README on what else needs a rule in the switch's policy.
    ///
    /// # Errors
    /// [`Error::InUse`] (`EADDRINUSE`) with the holder, if the kernel or another stack has one of
    /// them; [`Error::Io`] with what else bind(2) says; [`Error::Refused`] by the switch: no such
    /// claim is possible (`EINVAL`), the policy does not allow it (`EPERM`) or not so many
    /// (`EDQUOT`), or the table of claims is full (`ENOSPC`).
    pub fn claim_all(&self, specs: &[ClaimSpec]) -> Result<Vec<Claim>, Error> {
        let (wanted, sockets) = match with_sockets(specs, self.netdev_index()) {
            Ok(both) => both,
            Err((spec, Errno::ADDRINUSE)) => return Err(self.in_use(&spec)?),
            Err((spec, error)) => return Err(Error::io(format!("bind {}", spec.what), error)),
        };
        let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        let reply = self.client.call(&Request::Claim { claims: wanted }, &fds)?;
        claimed(reply)
    }

    /// The index of the first port's netdev; 0, which the kernel takes for "any", if it is gone.
    fn netdev_index(&self) -> u32 {
        let port = self.ports().first();
        port.and_then(|port| name_to_index(&self.client, &port.host_netdev).ok())
            .unwrap_or(0)
    }

    fn in_use(&self, spec: &ClaimSpec) -> Result<Error, Error> {
        let Some((protocol, addr)) = spec.what.local() else {
            return Err(Error::Protocol("a claim without a port in use".to_owned()));
        };
        match self.client.call(&Request::Holder { protocol, addr }, &[])? {
            Reply::Holder { holder } => Ok(Error::InUse {
                protocol,
                addr,
                holder: holder
                    .or_else(|| kernel_holder(protocol, addr))
                    .unwrap_or_else(|| {
                        "a kernel socket that is bound, and does not listen".to_owned()
                    }),
            }),
            other => Err(unexpected(other)),
        }
    }

    /// Offers a claim to the stack on vport `to`, which takes it over with
    /// [`take_claim`](Self::take_claim). Until then nothing changes. The offer lasts until it is
    /// taken, the claim ends, or another offer of the same claim replaces it.
    ///
    /// # Errors
    /// [`Error::Refused`]: the claim is not this stack's (`ENOENT`), or there is no such vport
    /// (`ENODEV`).
    pub fn offer_claim(&self, claim: &Claim, to: u16) -> Result<(), Error> {
        self.done(&Request::Offer {
            claim: claim.id,
            to,
        })
    }

    /// Takes over a claim that was offered. From one burst of a worker to the next, its packets
    /// come here: none is lost, and none comes twice. What the other stack has received before is
    /// still its to deal with, and it may still send from the tuple until it releases the claim
    /// or detaches.
    ///
    /// # Errors
    /// [`Error::Refused`]: there is no such offer to this stack (`ENOENT`).
    pub fn take_claim(&self, claim: u64) -> Result<Claim, Error> {
        let reply = self.client.call(&Request::Take { claim }, &[])?;
        let mut claims = claimed(reply)?;
        claims
            .pop()
            .ok_or_else(|| Error::Protocol("no claim in the answer".to_owned()))
    }

    /// Ends a claim. Packets that came before may still wait in the rings.
    ///
    /// # Errors
    /// [`Error::Closed`] and [`Error::Io`]; [`Error::Refused`] (`ECONNABORTED`) with the reason if the
    /// switch has shut this vport.
    pub fn release_claim(&self, claim: &Claim) -> Result<(), Error> {
        self.done(&Request::Release { claim: claim.id })
    }

    /// Gives up the vport, as dropping does, and tells whether the switch was still there.
    ///
    /// # Errors
    /// [`Error::Closed`] and [`Error::Io`]; [`Error::Refused`] (`ECONNABORTED`) with the reason if the
    /// switch has shut this vport.
    pub fn detach(mut self) -> Result<(), Error> {
        self.detached = true;
        self.let_go()
    }

    fn let_go(&self) -> Result<(), Error> {
        if self.in_hand() > 0 {
            // Not a detach: the end of the connection, which follows, is what is true.
            return Ok(());
        }
        self.done(&Request::Detach)
    }

    fn done(&self, request: &Request) -> Result<(), Error> {
        match self.client.call(request, &[])? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// The vport's number, as in `msctl stacks`.
    pub const fn slot(&self) -> u16 {
        self.attachment.slot
    }

    /// Most buffers that this stack may hold per worker: received and not given back, or to be
    /// sent from. Beyond it, packets for this stack are dropped.
    pub const fn quota(&self) -> u32 {
        self.attachment.quota
    }

    /// The NIC ports, as they were at the time of attaching.
    pub fn ports(&self) -> &[PortRow] {
        &self.attachment.ports
    }

    /// To be called once per round of a stack's loop, with whether there was anything to do: an
    /// idle stack pauses, then sleeps up to 100 µs ([`Backoff`]). False when the switch has ended
    /// or died, or has shut this vport: then it is time to leave, and [`why_over`](Self::why_over)
    /// tells which.
    ///
    /// A switch that ends in order says so in shared memory, seen in the same round. The death of one
    /// that is killed is seen when the stack next sleeps, or after 256 busy rounds: within 100 ms
    /// if a round takes no longer than 390 µs.
    pub fn idle(&mut self, worked: bool) -> bool {
        self.backoff.after_poll(worked);
        if self.lookout.is_due(self.backoff.is_asleep()) && !self.client.is_connected() {
            return false;
        }
        self.rings.is_open()
    }

    /// Why [`idle`](Self::idle) said that it is over: [`Error::Closed`] if the switch has ended or died;
    /// [`Error::Refused`] (`ECONNABORTED`) with the reason if it has shut this vport, or another
    /// error if it does not say within 10 s. Waits for what it says.
    pub fn why_over(&self) -> Error {
        self.client.farewell()
    }
}

impl Drop for Vport {
    fn drop(&mut self) {
        if !self.detached {
            // A switch that is gone has taken everything back already.
            let _ = self.let_go();
        }
    }
}

impl Deref for Vport {
    type Target = RingPort;

    fn deref(&self) -> &RingPort {
        &self.rings
    }
}

impl DerefMut for Vport {
    fn deref_mut(&mut self) -> &mut RingPort {
        &mut self.rings
    }
}

fn claimed(reply: Reply) -> Result<Vec<Claim>, Error> {
    match reply {
        Reply::Claimed { first, claims } => Ok((first..)
            .zip(claims)
            .map(|(id, spec)| Claim { id, spec })
            .collect()),
        other => Err(unexpected(other)),
    }
}

fn map(attachment: &Attachment) -> Result<RingPort, Error> {
    let lookup = |name: &str| {
        Memzone::lookup(name).map_err(|error| Error::Eal(format!("shared memory: {error}")))
    };
    let region = Region::in_memzone(&lookup(&attachment.memzone)?, attachment.geometry)?;
    let pool = &attachment.pool;
    let layout = PoolLayout {
        memzone: pool.memzone.clone(),
        base: pool.base,
        stride: pool.stride,
        count: pool.count,
        buf_len: pool.buf_len,
    };
    let buffers = Buffers::in_memzone(&lookup(&pool.memzone)?, &layout)?;
    if attachment.slot >= attachment.geometry.slots {
        return Err(Error::Protocol(format!("no vport {}", attachment.slot)));
    }
    let port = attachment.ports.first().map_or(0, |port| port.id);
    Ok(RingPort::new(&region, buffers, attachment.slot, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_never_idle_looks_all_the_same() {
        let mut lookout = Lookout::default();
        let looks = (0..10 * Lookout::ROUNDS).filter(|_| lookout.is_due(false));
        assert_eq!(looks.count(), 10);
        assert!(lookout.is_due(true));
    }
}
