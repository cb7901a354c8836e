//! One line out of EAL's many.

use std::{fs, io, path::Path};

use crate::{
    capture::{Captured, LogLine},
    cleanup::{self, Primary},
    eal::EalError,
    eal_args::{Device, EalArgs, Probed},
};

/// `RTE_LOG_ERR`
const ERROR: u8 = 4;

/// What would make a primary fail, found before EAL is asked.
pub(crate) fn check_primary(args: &EalArgs, runtime_dir: &Path) -> Result<(), EalError> {
    if args.probed == Probed::All {
        // EAL would take every NIC that it can have.
        return Err(EalError::new(
            "no port: name a NIC (-a 0000:03:00.0, see dpdk-devbind.py --status-dev net) or a \
             virtual device (--vdev)"
                .to_owned(),
        ));
    }
    match cleanup::find_primary(runtime_dir) {
        Ok(Primary::None) => Ok(()),
        Ok(Primary::Running(pid)) => Err(taken(&args.prefix, pid)),
        Err(error) => Err(no_access(&runtime_dir.join("config"), &error)),
    }
}

/// What would make a primary fail for want of hugepages, found before EAL is asked, and after a
/// killed primary's were given back.
pub(crate) fn check_hugepages(args: &EalArgs) -> Result<(), EalError> {
    if args.no_huge {
        return Ok(());
    }
    let dirs = cleanup::huge_dirs_of(args.huge_dir.as_deref());
    let Some(dir) = dirs.first() else {
        return Err(EalError::new(
            "no hugetlbfs is mounted: mount -t hugetlbfs none /dev/hugepages".to_owned(),
        ));
    };
    if let Err(error) = is_writable(dir) {
        return Err(no_access(dir, &error));
    }
    if free_hugepages() == 0 {
        return Err(no_hugepages());
    }
    Ok(())
}

/// What would make a secondary fail, found before EAL is asked.
pub(crate) fn check_secondary(prefix: &str, runtime_dir: &Path) -> Result<(), EalError> {
    match cleanup::find_primary(runtime_dir) {
        Ok(Primary::Running(_)) => Ok(()),
        Ok(Primary::None) => Err(EalError::new(format!(
            "no primary with --file-prefix={prefix} is running (none in {}): start the switch first, \
             give the stack the same --file-prefix, and run both as the same user",
            runtime_dir.display()
        ))),
        Err(error) => Err(no_access(&runtime_dir.join("config"), &error)),
    }
}

pub(crate) fn taken(prefix: &str, pid: Option<i32>) -> EalError {
    let pid = pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    EalError::new(format!(
        "a primary with --file-prefix={prefix} is already running{pid}: choose another \
         --file-prefix or stop it"
    ))
}

fn no_access(path: &Path, error: &io::Error) -> EalError {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => ": run as root, or give this user access",
        _ => "",
    };
    EalError::new(format!("{}: {error}{hint}", path.display()))
}

fn no_hugepages() -> EalError {
    EalError::new(
        "no free hugepages: echo 512 > /proc/sys/vm/nr_hugepages (or stop who holds them)"
            .to_owned(),
    )
}

fn is_writable(dir: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: the string outlives the call.
    match unsafe { libc::access(path.as_ptr(), libc::W_OK | libc::X_OK) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Free hugepages of all sizes.
fn free_hugepages() -> u64 {
    let sizes = fs::read_dir("/sys/kernel/mm/hugepages")
        .into_iter()
        .flatten()
        .flatten();
    sizes
        .filter_map(|size| fs::read_to_string(size.path().join("free_hugepages")).ok())
        .filter_map(|count| count.trim().parse::<u64>().ok())
        .sum()
}

/// Why EAL's initialisation failed.
pub(crate) fn explain(args: &[String], captured: Option<&Captured>, errno: &str) -> EalError {
    let Some(captured) = captured else {
        return EalError::new(format!(
            "EAL initialisation failed: {errno} (EAL's log says why)"
        ));
    };
    let reason = telling(captured).unwrap_or_else(|| errno.to_owned());
    if reason.contains("Invalid 'command line' arguments") {
        // EAL does not say which; but it has printed all those that it knows.
        let given = unknown_option(args, &captured.out)
            .map_or_else(|| args[1..].join(" "), ToOwned::to_owned);
        return EalError::new(format!(
            "EAL does not understand {given}: -h lists its options"
        ));
    }
    let hint = HINTS
        .iter()
        .find(|(text, _)| reason.contains(text))
        .map_or("", |(_, hint)| hint);
    EalError::new(format!("EAL initialisation failed: {reason}{hint}"))
}

/// The first long option that EAL's list of options does not have.
fn unknown_option<'a>(args: &'a [String], usage: &str) -> Option<&'a str> {
    let known = |name: &str| {
        usage
            .split(|c: char| c.is_whitespace() || c == '=')
            .any(|word| word.starts_with(name))
    };
    let names = args.iter().filter(|arg| arg.starts_with("--"));
    names
        .filter_map(|arg| arg.split('=').next())
        .find(|name| usage.contains("--") && !known(name))
}

/// What to do about the lines that say only what happened.
const HINTS: [(&str, &str); 6] = [
    (
        "Too many open files",
        ": raise the limit (ulimit -n, LimitNOFILE=); each hugepage takes one",
    ),
    (
        "version mismatch",
        ": link the stack and the switch with the same DPDK",
    ),
    (
        "failed to parse device",
        ": no driver has that name, or it refuses the arguments",
    ),
    (
        "Cannot init memory",
        ": reserve more hugepages (/proc/sys/vm/nr_hugepages)",
    ),
    (
        "Not enough memory available",
        ": reserve more hugepages (/proc/sys/vm/nr_hugepages)",
    ),
    (
        "unavailable",
        ": choose from the CPUs in /sys/devices/system/cpu/online",
    ),
];

/// The first error that EAL logged is the cause, and the later ones say that it gave up; "FATAL"
/// comes last and says least. getopt's complaint goes to standard error instead.
fn telling(captured: &Captured) -> Option<String> {
    let errors = || {
        captured
            .log
            .iter()
            .filter(|line| line.level <= ERROR)
            .map(text)
    };
    let getopt = || captured.err.lines().find(|line| line.contains("option"));
    let fatal = || captured.err.lines().find(|line| line.contains("FATAL"));
    errors()
        .find(|line| !line.contains("FATAL"))
        .or_else(getopt)
        .or_else(|| errors().next())
        .or_else(fatal)
        .map(|line| {
            line.trim_start_matches("EAL: ")
                .trim_start_matches("FATAL: ")
                .to_owned()
        })
}

/// Why a device that the user asked for is not there.
pub(crate) fn missing_device(device: &Device, log: &[LogLine]) -> EalError {
    let Device { option, name, pci } = device;
    let hint = if *pci && !Path::new("/sys/bus/pci/devices").join(name).exists() {
        "there is no such PCI device"
    } else if *pci {
        "bind the device to vfio-pci (dpdk-devbind.py) or use a vdev"
    } else {
        "no driver has that name, or it refuses the arguments"
    };
    let reason = driver_error(name, log).unwrap_or(hint);
    EalError::new(format!("{option}: no port came of it: {reason}"))
}

/// What the driver logged right before EAL said that the device failed, if it logged anything.
fn driver_error<'a>(name: &str, log: &'a [LogLine]) -> Option<&'a str> {
    let failed = format!("failed to initialize {name} device");
    let errors: Vec<&LogLine> = log.iter().filter(|line| line.level <= ERROR).collect();
    let at = errors.iter().position(|line| line.text.contains(&failed))?;
    let before = errors.get(at.checked_sub(1)?)?;
    (!before.text.contains("failed to initialize")).then_some(before.text.as_str())
}

fn text(line: &LogLine) -> &str {
    &line.text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: u8, text: &str) -> LogLine {
        LogLine {
            level,
            text: text.to_owned(),
        }
    }

    #[test]
    fn the_first_error_is_the_reason_and_fatal_is_not() {
        let mut captured = Captured {
            log: vec![
                line(7, "EAL: Detected CPU lcores: 2"),
                line(4, "EAL: Not enough memory available!"),
                line(4, "EAL: FATAL: Cannot init memory"),
            ],
            ..Captured::default()
        };
        assert_eq!(telling(&captured).unwrap(), "Not enough memory available!");
        captured.log.remove(1);
        assert_eq!(telling(&captured).unwrap(), "Cannot init memory");
        captured.log.clear();
        assert_eq!(telling(&captured), None);
    }

    #[test]
    fn an_option_that_the_usage_lacks_is_named() {
        let args = ["switch", "-l", "0", "--file-p=x", "--foo=1"].map(ToOwned::to_owned);
        let usage = "  -l CORELIST  List\n  --file-prefix       Prefix\n";
        assert_eq!(unknown_option(&args, usage), Some("--foo"));
        assert_eq!(unknown_option(&args[..4], usage), None);
        assert_eq!(unknown_option(&args, ""), None, "no list to compare with");
    }

    #[test]
    fn a_missing_device_gets_its_own_drivers_error() {
        let device = |name: &str| Device {
            option: format!("--vdev={name}"),
            name: name.to_owned(),
            pci: false,
        };
        let log = [
            line(4, "open_single_rx_pcap(): Couldn't open x"),
            line(4, "vdev_probe(): failed to initialize net_pcap0 device"),
            line(4, "vdev_probe(): failed to initialize net_null0 device"),
        ];
        let text = missing_device(&device("net_pcap0"), &log).to_string();
        assert!(text.ends_with("Couldn't open x"), "{text}");
        let text = missing_device(&device("net_null0"), &log).to_string();
        assert!(text.ends_with("refuses the arguments"), "{text}");
    }
}
