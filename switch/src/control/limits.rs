//! Limits of vports, changed at run time.

use port_api::protocol::{Limit, Reply};

use super::Control;
use super::rights::may_change;
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
        may_change(user, "set limits")?;
        let is_host = usize::from(vport) < self.nics.len();
        if !is_host && self.tenants().on(vport).is_none() {
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
