//! Limits of vports, changed at run time.

use port_api::protocol::{Limit, Reply};

use super::Control;
use crate::refusal::Refusal;
use crate::stacks::Rates;

impl Control {
    pub(super) fn limit(
        &mut self,
        at: usize,
        vport: u16,
        rx: Option<Limit>,
        tx: Option<Limit>,
    ) -> Result<Reply, Refusal> {
        let user = self.peers[at].user;
        if !user.is_trusted() {
            let message = format!("user {} may not set limits", user.uid);
            return Err(Refusal::new(libc::EPERM, message));
        }
        let is_host = usize::from(vport) < self.nics.len();
        let mut stacks = self.peers.iter().filter_map(|peer| peer.stack.as_ref());
        if !is_host && !stacks.any(|stack| stack.slot == vport) {
            let message = format!("vport {vport} has no stack");
            return Err(Refusal::new(libc::ENODEV, message));
        }
        let before = self.slots.rates(vport);
        let rates = Rates {
            rx: rx.unwrap_or(before.rx),
            tx: tx.unwrap_or(before.tx),
        };
        if rates != before {
            self.slots.limit(vport, rates);
            tracing::info!("limits of vport {vport}: rx {}, tx {}", rates.rx, rates.tx);
        }
        Ok(Reply::Limits {
            rx: rates.rx,
            tx: rates.tx,
        })
    }
}
