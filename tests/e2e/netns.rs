//! Network namespaces.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace, which goes when the value goes.
pub struct Netns {
    pub name: String,
}

impl Netns {
    pub fn new(name: String) -> Self {
        run("ip", &["netns", "add", &name]);
        let netns = Self { name };
        netns.ip("link set lo up");
        netns
    }

    /// `program`, to be run in here. It dies with the thread that starts it, so that a killed
    /// test leaves no processes behind.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]);
        command.args(["setpriv", "--pdeathsig", "KILL", "--"]);
        command.arg(program.as_ref());
        command
    }

    /// Runs a program of the system's in here that must succeed; its stdout.
    #[track_caller]
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        let mut command = self.command(program);
        succeed(command.args(args))
    }

    /// Configures this namespace: `ip -n NAME ...`.
    #[track_caller]
    pub fn ip(&self, args: &str) -> String {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name]).args(args.split(' '));
        succeed(&mut command)
    }

    /// The MAC address of a netdev in here.
    #[track_caller]
    pub fn mac(&self, netdev: &str) -> String {
        let path = format!("/sys/class/net/{netdev}/address");
        self.run("cat", &[&path]).trim().to_owned()
    }

    /// What the kernel counts of a netdev in here: `tx_dropped` and the like.
    #[track_caller]
    pub fn count(&self, netdev: &str, what: &str) -> u64 {
        let path = format!("/sys/class/net/{netdev}/statistics/{what}");
        let count = self.run("cat", &[&path]);
        count.trim().parse().expect("a number")
    }

    /// Calls `f` on a thread in here. Sockets that it opens stay in here.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let file = File::open(Path::new("/run/netns").join(&self.name)).expect("a namespace");
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("setns");
                f()
            });
            inside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

/// Runs a program that must succeed; its stdout.
#[track_caller]
pub fn run(program: &str, args: &[&str]) -> String {
    succeed(Command::new(program).args(args))
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    assert!(
        status.success(),
        "{command:?}: {status}\n{stdout}{}",
        String::from_utf8_lossy(&stderr)
    );
    stdout
}
