//! What the primary gives up for good once all is set up: capabilities, writing to files, system
//! calls. So that a hole in it is worth less to who finds it.

use std::os::fd::AsFd;
use std::path::PathBuf;

use dpdk::threads;
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use crate::error::{RunError, setup};

mod calls;
mod files;

pub use files::Folders;

/// What the control thread keeps: the XDP programs and the netdevs under the NICs are put back at
/// the end, and the control socket, the configuration and the folders may be other users'.
const CONTROL: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::DAC_OVERRIDE);

/// What it keeps besides with `AF_XDP`: libxdp finds its own program by number when the port is closed.
const CONTROL_XDP: CapabilitySet = CapabilitySet::SYS_ADMIN;

/// What the exception path's threads keep: they make a lost netdev anew.
const HOST: CapabilitySet = CapabilitySet::NET_ADMIN;

/// What their names start with.
const HOST_THREADS: &str = "ms-host";

/// Where libxdp keeps its locks and programs.
const XDP_FOLDERS: [&str; 2] = ["/run/xdp", "/sys/fs/bpf"];

/// What is left to this process once it serves.
pub struct Confinement {
    /// A NIC port is an `AF_XDP` socket.
    xdp: bool,
    /// Folders in which drivers have files.
    named: Vec<PathBuf>,
    /// The user wants none of it.
    off: bool,
}

impl Confinement {
    /// Sees to it that no capability can be got any more. For the start, before there are any
    /// other threads.
    ///
    /// # Errors
    /// A capability is missing without which the start would fail later on.
    pub fn begin(eal_args: &[String], off: bool) -> Result<Self, RunError> {
        let uses = |driver: &str| eal_args.iter().any(|arg| arg.contains(driver));
        let xdp = uses("net_af_xdp");
        let mut needed = CapabilitySet::NET_ADMIN;
        if xdp || uses("net_af_packet") {
            needed |= CapabilitySet::NET_RAW;
        }
        if xdp {
            needed |= CapabilitySet::SYS_ADMIN;
        }
        let sets = capabilities(None).map_err(failed("capget"))?;
        let missing = needed - sets.effective;
        if !missing.is_empty() {
            return Err(setup(format!(
                "missing capabilities: {}: run as root, or give them to this user \
                 (AmbientCapabilities= of systemd, setpriv --ambient-caps)",
                names(missing)
            )));
        }
        if !off {
            seal().map_err(failed("no_new_privs"))?;
        }
        Ok(Self {
            xdp,
            named: files::named_in(eal_args),
            off,
        })
    }

    /// Has all threads give up what they do not need any more, and change files only in these folders.
    ///
    /// What the kernel does not know is done without, and logged.
    ///
    /// # Errors
    /// A thread could not.
    pub fn complete(self, mut folders: Folders) -> Result<(), RunError> {
        if self.off {
            tracing::warn!("--unconfined: all rights of the start are kept");
            return Ok(());
        }
        let mut control = CONTROL;
        folders.changed.extend(self.named);
        if self.xdp {
            control |= CONTROL_XDP;
            folders.changed.extend(XDP_FOLDERS.map(PathBuf::from));
        }
        let ruleset = files::ruleset(&folders).map_err(|error| RunError::Io {
            what: "Landlock",
            source: std::io::Error::other(error),
        })?;
        if ruleset.is_none() {
            tracing::warn!(
                "this kernel has no Landlock: what files may be written to is not confined"
            );
        }
        let others = |name: &str| {
            let is_host = name.starts_with(HOST_THREADS);
            if is_host {
                HOST
            } else {
                CapabilitySet::empty()
            }
            .bits()
        };
        let ruleset = ruleset.as_ref().map(AsFd::as_fd);
        threads::confine(control.bits(), others, ruleset)?;
        if let Err(error) = calls::confine(self.xdp) {
            tracing::warn!("system calls are not confined: {error}");
        }
        let kept = capabilities(None).map_err(failed("capget"))?.effective;
        tracing::info!(
            "rights given up: capabilities but {} (control) and {} (host netdevs), writing to other \
             files than needed, system calls not needed",
            names(kept),
            names(kept & HOST),
        );
        Ok(())
    }
}

/// Now and for all threads to come: no program that is executed has more rights, and none are inherited.
fn seal() -> Result<(), Errno> {
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    for number in 0..u64::BITS {
        // Beyond the kernel's last one; or without the right to, and then no_new_privs has to do.
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number));
    }
    let mut sets = capabilities(None)?;
    sets.inheritable = CapabilitySet::empty();
    set_capabilities(None, sets)
}

fn failed(what: &'static str) -> impl Fn(Errno) -> RunError {
    move |error| RunError::Io {
        what,
        source: error.into(),
    }
}

/// As in capabilities(7).
fn names(set: CapabilitySet) -> String {
    let names: Vec<_> = set
        .iter_names()
        .map(|(name, _)| format!("CAP_{name}"))
        .collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}

#[cfg(test)]
mod tests;
