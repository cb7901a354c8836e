//! What the policy says of a client, before it gets what it asks for.

use port_api::protocol::Request;

use super::Control;
use crate::peer::Peer;
use crate::policy::{Rights, User};
use crate::refusal::Refusal;

impl Control {
    fn rights_of(&self, at: usize) -> (User, Rights) {
        let user = self.peers[at].user;
        (user, self.policy.rights(user))
    }

    /// Checks that a client may look at what it asks for. What is for stacks is checked where it is
    /// done.
    pub(super) fn may_ask(&self, at: usize, request: &Request) -> Result<(), Refusal> {
        let (user, rights) = self.rights_of(at);
        let may = match request {
            // A stack that cannot bind asks who can.
            Request::Holder { .. } => rights.observe || rights.attach,
            Request::Trace(_)
            | Request::Ports
            | Request::Stacks { .. }
            | Request::Claims { .. }
            | Request::Stats { .. } => rights.observe,
            _ => true,
        };
        if may {
            return Ok(());
        }
        let message = format!("user {} may not observe the switch: {rights}", user.uid);
        Err(Refusal::new(libc::EPERM, message))
    }

    /// Checks that a client may have one more vport.
    pub(super) fn may_attach(&self, at: usize) -> Result<Rights, Refusal> {
        let (user, rights) = self.rights_of(at);
        if !rights.attach {
            let message = format!("user {} may not attach: {rights}", user.uid);
            return Err(Refusal::new(libc::EPERM, message));
        }
        let vports = self.slots_of(user).count();
        if vports >= rights.max_vports as usize {
            let most = rights.max_vports;
            return Err(over(
                user,
                &format!("{vports} vports"),
                "max-vports",
                most,
                &rights,
            ));
        }
        Ok(rights)
    }

    /// Checks that a stack may have so many more claims.
    pub(super) fn may_claim(&self, at: usize, more: usize) -> Result<(), Refusal> {
        let (user, rights) = self.rights_of(at);
        if rights.max_claims == u32::MAX {
            return Ok(());
        }
        let claims: usize = self
            .slots_of(user)
            .map(|slot| self.claims.count(slot))
            .sum();
        if claims + more > rights.max_claims as usize {
            let most = rights.max_claims;
            let has = format!("{claims} claims and wants {more} more");
            return Err(over(user, &has, "max-claims", most, &rights));
        }
        Ok(())
    }

    /// The vports of a user, also those that are out of service and not yet given up.
    fn slots_of(&self, user: User) -> impl Iterator<Item = u16> {
        let is_theirs = move |peer: &&Peer| peer.user.uid == user.uid;
        let stacks = self.peers.iter().filter(is_theirs);
        stacks.filter_map(|peer| Some(peer.stack.as_ref()?.slot))
    }
}

/// Checks that a user is root or the switch's own.
pub(super) fn may_change(user: User, what: &str) -> Result<(), Refusal> {
    if user.is_trusted() {
        return Ok(());
    }
    let message = format!("user {} may not {what}", user.uid);
    Err(Refusal::new(libc::EPERM, message))
}

fn over(user: User, has: &str, limit: &str, most: u32, rights: &Rights) -> Refusal {
    let message = format!("user {} has {has}: {limit} is {most} ({rights})", user.uid);
    Refusal::new(libc::EDQUOT, message)
}
