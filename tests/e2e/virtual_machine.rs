//! A virtual machine with Linux in it, as `tests/guest/make` makes it: QEMU, by interpretation, so that
//! there need be no KVM.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::guests::{GUEST_V4, GUEST_V6};
use crate::process::{PATIENCE, Process, within};
use crate::testbed::Testbed;

/// How long the kernel may take, on a machine that is busy with other things.
const BOOT: Duration = Duration::from_mins(1);

/// Folder of kernel and initramfs.
fn folder() -> PathBuf {
    let primary = Path::new(env!("CARGO_BIN_EXE_multistack"));
    // target/debug/multistack
    let folder = primary.ancestors().nth(2).expect("a folder").join("guest");
    assert!(
        folder.join("initramfs").exists(),
        "{} is not made: make guest",
        folder.display()
    );
    folder
}

/// One that runs. It is killed with its value.
pub struct VirtualMachine {
    qemu: Process,
    at: usize,
    lines: Vec<String>,
}

impl VirtualMachine {
    /// Boots one at a vhost port, with the guests' addresses and the NIC port's MAC; it runs a web server.
    #[track_caller]
    pub fn boot(bed: &Testbed, name: &str) -> Self {
        let socket = bed.guest_socket(name);
        let (folder, mac) = (folder(), bed.port().mac);
        let chardev = format!("socket,id=c0,reconnect=1,path={}", socket.display());
        // With MSI-X, QEMU 7.2 ends by itself where it interprets.
        let device = format!("virtio-net-pci,netdev=n0,mac={mac},vectors=0,romfile=");
        let kernel = "console=ttyS0 pci=nomsi panic=-1 quiet";
        let append = format!("{kernel} ms4={GUEST_V4}/24 ms6={GUEST_V6}/64");
        let mut command = bed.host.command("qemu-system-x86_64");
        command.args(["-accel", "tcg", "-m", "128", "-no-reboot"]);
        command.args(["-display", "none", "-monitor", "none", "-serial", "stdio"]);
        let memory = "memory-backend-memfd,id=mem,size=128M,share=on";
        command.args(["-object", memory, "-numa", "node,memdev=mem"]);
        command.args(["-chardev", &chardev]);
        command.args(["-netdev", "vhost-user,id=n0,chardev=c0"]);
        command.args(["-device", &device, "-append", &append]);
        command.arg("-kernel").arg(folder.join("vmlinuz"));
        command.arg("-initrd").arg(folder.join("initramfs"));
        let mut machine = Self {
            qemu: Process::spawn("qemu", &mut command),
            at: 0,
            lines: Vec::new(),
        };
        machine.await_line("the guest is up", BOOT);
        machine
    }

    /// Runs a command of its shell; what is printed, and whether it succeeds.
    #[track_caller]
    pub fn run(&mut self, command: &str) -> (String, bool) {
        self.begin(command);
        self.end()
    }

    /// Runs a command that is to succeed, and to print a number.
    #[track_caller]
    pub fn number(&mut self, command: &str) -> u64 {
        let (said, _) = self.run(command);
        said.trim().parse().unwrap_or_else(|_| panic!("{said}"))
    }

    /// Runs a command, and does not wait for its end.
    pub fn begin(&mut self, command: &str) {
        self.lines.clear();
        self.qemu.tell(command);
    }

    /// Waits for the end of it.
    #[track_caller]
    pub fn end(&mut self) -> (String, bool) {
        let status = self.await_line("status ", 2 * PATIENCE);
        (self.lines.join("\n"), status == "status 0")
    }

    /// SIGKILL.
    pub fn kill(self) {
        self.qemu.kill();
    }

    /// Waits for a line that starts so, and keeps those before it.
    #[track_caller]
    fn await_line(&mut self, start: &str, limit: Duration) -> String {
        let mut found = None;
        within(limit, || {
            let mut new = self.qemu.new_lines(&mut self.at).into_iter();
            found = new.find_map(|line| {
                if line.starts_with(start) {
                    return Some(line);
                }
                self.lines.push(line);
                None
            });
            found.is_some() || !self.qemu.is_running()
        });
        found.unwrap_or_else(|| panic!("no {start:?} of the guest: {:?}", self.lines))
    }
}
