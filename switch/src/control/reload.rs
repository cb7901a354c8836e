//! Configuration and policy are read again.

use port_api::protocol::Reply;

use super::rights::may_change;
use super::{Control, Failure};
use crate::plan::allowances;
use crate::policy::Policy;
use crate::refusal::Refusal;

const RELOADED: &str = "configuration and policy were read again";

impl Control {
    pub(super) fn reload_at_signal(&mut self) {
        self.signals.reload.empty();
        match self.reload() {
            Ok(()) => tracing::info!("SIGHUP: {RELOADED}"),
            Err(why) => tracing::warn!("SIGHUP: not reloaded, all stays as it was: {why}"),
        }
    }

    pub(super) fn reload_for(&mut self, at: usize) -> Result<Reply, Failure> {
        let user = self.peers[at].user;
        may_change(user, "reload the configuration")?;
        match self.reload() {
            Ok(()) => {
                tracing::info!("{}: {RELOADED}", self.peers[at].describe());
                Ok(Reply::Done)
            }
            Err(why) => Err(Refusal::new(libc::EINVAL, why).into()),
        }
    }

    /// All of it takes force, or nothing: then one line says why. Vports and claims stay, whatever
    /// the new policy says of them; limits of stacks stay too.
    fn reload(&mut self) -> Result<(), String> {
        let config = self.config.reread().map_err(|error| error.to_string())?;
        let fixed = self.config.fixed_in(&config);
        if !fixed.is_empty() {
            let options = fixed.join(", ");
            return Err(format!("{options}: to change this takes a restart"));
        }
        let policy = Policy::of(&config).map_err(|error| error.to_string())?;
        self.socket.admit(&config.access).map_err(|error| {
            // As it was; what was possible then is possible now.
            let _ = self.socket.admit(&self.config.access);
            format!("control socket: {error}")
        })?;
        self.slots.allow(allowances(&config));
        (self.config, self.policy) = (config, policy);
        Ok(())
    }
}
