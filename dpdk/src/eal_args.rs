//! What has to be known of EAL's arguments before EAL itself reads them.

use std::path::PathBuf;

use crate::eal::EalError;

/// EAL's arguments, as far as they matter here. EAL checks the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EalArgs {
    /// `--file-prefix`
    pub prefix: String,
    /// `--huge-dir`
    pub huge_dir: Option<PathBuf>,
    /// `--no-huge`: memory that no secondary can attach to.
    pub no_huge: bool,
    /// `--iova-mode` is given.
    pub iova_mode: bool,
    /// How much memory to take at the start is given: `-m`, `--socket-mem` or `--legacy-mem`.
    pub memory: bool,
    /// What of EAL's output the user wants to see.
    pub output: Output,
    /// Devices that must be there after the initialisation: the option and the device's name.
    pub devices: Vec<Device>,
    /// Which devices EAL shall probe.
    pub probed: Probed,
}

/// Which devices EAL probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probed {
    /// Nothing was said: all that are there.
    All,
    /// As `-a`, `-b`, `--vdev` and `--no-pci` say.
    Chosen,
}

/// What of EAL's output is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Output {
    /// Warnings, or one line if it fails.
    Quiet,
    /// Its log, as it comes: `--log-level`, `-v`.
    Log,
    /// Its options, and then it exits: `-h`, `--help`.
    Help,
}

/// A device that the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    /// As the user wrote it, such as `--vdev=net_null0`.
    pub option: String,
    /// As ethdev names the port.
    pub name: String,
    /// A PCI device rather than a virtual one.
    pub pci: bool,
}

/// Long options that are looked at, and whether they take a value.
const LONG: [(&str, bool); 16] = [
    ("allow", true),
    ("block", true),
    ("file-prefix", true),
    ("help", false),
    ("huge-dir", true),
    ("huge-unlink", false),
    ("in-memory", false),
    ("iova-mode", true),
    ("legacy-mem", false),
    ("log-level", true),
    ("no-huge", false),
    ("no-pci", false),
    ("no-shconf", false),
    ("proc-type", true),
    ("socket-mem", true),
    ("vdev", true),
];

/// Short options of EAL that take a value.
const SHORT_WITH_VALUE: &str = "abcdlmnrs";

impl EalArgs {
    /// `args` is argv without "--" and what follows.
    ///
    /// # Errors
    /// An option with which no stack could ever attach.
    pub fn parse(args: &[String]) -> Result<Self, EalError> {
        let mut parsed = Self {
            prefix: "rte".to_owned(),
            huge_dir: None,
            no_huge: false,
            iova_mode: false,
            memory: false,
            output: Output::Quiet,
            devices: Vec::new(),
            probed: Probed::All,
        };
        let mut args = args.iter().skip(1);
        while let Some(arg) = args.next() {
            if let Some(long) = arg.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                let Some((name, takes_value)) = long_option(name) else {
                    continue;
                };
                let value = value.or_else(|| takes_value.then(|| args.next().cloned()).flatten());
                parsed.option(name, value)?;
            } else if let Some(short) = arg.strip_prefix('-') {
                let Some(letter) = short.chars().next() else {
                    continue;
                };
                let glued = &short[letter.len_utf8()..];
                let value = match (SHORT_WITH_VALUE.contains(letter), glued.is_empty()) {
                    (true, true) => args.next().cloned(),
                    _ => Some(glued.to_owned()),
                };
                parsed.short(letter, value);
            }
        }
        Ok(parsed)
    }

    fn short(&mut self, letter: char, value: Option<String>) {
        match (letter, value) {
            ('h', _) => self.output = Output::Help,
            ('v', _) => self.output = self.output.max(Output::Log),
            ('m', _) => self.memory = true,
            ('a', Some(value)) => self.pci_device("-a ", &value),
            ('b', _) => self.probed = Probed::Chosen,
            _ => {}
        }
    }

    fn option(&mut self, name: &str, value: Option<String>) -> Result<(), EalError> {
        let refuse = |option: &str| {
            Err(EalError::new(format!(
                "{option}: stacks could not attach; leave it out"
            )))
        };
        match (name, value) {
            ("help", _) => self.output = Output::Help,
            ("log-level", _) => self.output = self.output.max(Output::Log),
            ("iova-mode", _) => self.iova_mode = true,
            ("legacy-mem" | "socket-mem", _) => self.memory = true,
            ("no-huge", _) => self.no_huge = true,
            ("no-pci" | "block", _) => self.probed = Probed::Chosen,
            ("in-memory" | "no-shconf", _) => return refuse(&format!("--{name}")),
            ("huge-unlink", value) => match value.as_deref() {
                Some("existing" | "never") => {}
                Some(value) => return refuse(&format!("--huge-unlink={value}")),
                None => return refuse("--huge-unlink"),
            },
            ("proc-type", Some(value)) if value != "primary" => {
                return Err(EalError::new(format!(
                    "--proc-type={value}: this is the primary process; leave it out"
                )));
            }
            ("file-prefix", Some(value)) => self.prefix = value,
            ("huge-dir", Some(value)) => self.huge_dir = Some(value.into()),
            ("allow", Some(value)) => self.pci_device("--allow=", &value),
            ("vdev", Some(value)) => {
                self.probed = Probed::Chosen;
                let name = value.split(',').next().unwrap_or_default();
                let option = format!("--vdev={name}");
                self.devices.push(Device {
                    option,
                    name: name.to_owned(),
                    pci: false,
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn pci_device(&mut self, option: &str, value: &str) {
        self.probed = Probed::Chosen;
        let name = value.split(',').next().unwrap_or_default();
        if let Some(address) = pci_address(name) {
            let option = format!("{option}{name}");
            self.devices.push(Device {
                option,
                name: address,
                pci: true,
            });
        }
    }
}

/// As `getopt_long` finds it: in full, or any beginning that fits only one of EAL's options. Those
/// of EAL's that are not in LONG and share a beginning with one that is differ from it by the
/// third letter at the latest, except for the ones named here.
fn long_option(name: &str) -> Option<(&'static str, bool)> {
    const OTHERS: [&str; 7] = [
        "no-hpet",
        "no-telemetry",
        "huge-worker-stack",
        "log-color",
        "log-timestamp",
        "vfio-intr",
        "socket-limit",
    ];
    if let Some(exact) = LONG.iter().find(|(long, _)| *long == name) {
        return Some(*exact);
    }
    let mut fits = LONG.iter().filter(|(long, _)| long.starts_with(name));
    let only = *fits.next()?;
    let ambiguous = fits.next().is_some() || OTHERS.iter().any(|other| other.starts_with(name));
    (!ambiguous && name.len() >= 2).then_some(only)
}

/// `[domain:]bus:device.function` with the domain filled in, as ethdev names the port.
fn pci_address(text: &str) -> Option<String> {
    let text = text.strip_prefix("pci:").unwrap_or(text);
    let (rest, function) = text.rsplit_once('.')?;
    let mut parts = rest.rsplit(':').map(|part| u32::from_str_radix(part, 16));
    let device = parts.next()?.ok()?;
    let bus = parts.next()?.ok()?;
    let domain = parts.next().unwrap_or(Ok(0)).ok()?;
    let function = function.parse::<u8>().ok().filter(|&f| f < 8)?;
    parts
        .next()
        .is_none()
        .then(|| format!("{domain:04x}:{bus:02x}:{device:02x}.{function}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<EalArgs, EalError> {
        let args: Vec<String> = ["switch"]
            .iter()
            .chain(args)
            .map(|arg| (*arg).to_owned())
            .collect();
        EalArgs::parse(&args)
    }

    #[test]
    fn prefix_in_all_its_spellings() {
        assert_eq!(parse(&[]).unwrap().prefix, "rte");
        for args in [
            &["--file-prefix=x"][..],
            &["--file-prefix", "x"],
            &["--file-p=x"],
            &["--fi", "x"],
        ] {
            assert_eq!(parse(args).unwrap().prefix, "x", "{args:?}");
        }
        assert_eq!(
            parse(&["-l", "--file-prefix=y"]).unwrap().prefix,
            "rte",
            "the value of -l"
        );
        assert_eq!(parse(&["--vdev", "--file-prefix=y"]).unwrap().prefix, "rte");
    }

    #[test]
    fn options_that_shut_stacks_out_are_refused() {
        for args in [
            &["--in-memory"][..],
            &["--no-shconf"],
            &["--huge-unlink"],
            &["--huge-unlink=always"],
            &["--proc-type=secondary"],
            &["--proc-type", "auto"],
            &["--proc=auto"],
        ] {
            let line = parse(args).unwrap_err().to_string();
            assert!(line.starts_with(args[0].split('=').next().unwrap()) && !line.contains('\n'));
        }
        for args in [
            &["--huge-unlink=never"][..],
            &["--huge-unlink=existing"],
            &["--proc-type=primary"],
        ] {
            assert!(parse(args).is_ok(), "{args:?}");
        }
    }

    #[test]
    fn devices_by_the_name_of_their_port() {
        let args = [
            "--vdev",
            "net_null0,size=64",
            "-a",
            "3:00.0",
            "-a0001:AF:1f.7,x=1",
            "--allow=auxiliary:y",
        ];
        let names: Vec<String> = parse(&args)
            .unwrap()
            .devices
            .into_iter()
            .map(|device| device.name)
            .collect();
        assert_eq!(names, ["net_null0", "0000:03:00.0", "0001:af:1f.7"]);
    }

    #[test]
    fn a_choice_of_devices_is_seen() {
        for args in [
            &["-a", "3:00.0"][..],
            &["-b3:00.0"],
            &["--allow=auxiliary:y"],
            &["--block", "3:00.0"],
            &["--vdev=net_null0"],
            &["--no-pci"],
            &["--no-p"],
        ] {
            assert_eq!(parse(args).unwrap().probed, Probed::Chosen, "{args:?}");
        }
        for args in [&["-l", "0-1"][..], &["--file-prefix", "--no-pci"]] {
            assert_eq!(parse(args).unwrap().probed, Probed::All, "{args:?}");
        }
    }

    #[test]
    fn help_and_log_level_are_seen() {
        let output = |args: &[&str]| parse(args).unwrap().output;
        assert_eq!(output(&["-h", "-v"]), Output::Help);
        assert_eq!(output(&["--help"]), Output::Help);
        assert_eq!(output(&["--log-level=8"]), Output::Log);
        let plain = parse(&["-l", "0", "-n4", "--no-pci"]).unwrap();
        assert!(!plain.no_huge && !plain.iova_mode && plain.output == Output::Quiet);
        assert!(parse(&["--iova-mode", "pa"]).unwrap().iova_mode);
        assert!(!plain.memory && parse(&["-m", "64"]).unwrap().memory);
        assert!(parse(&["--socket-mem=64,64"]).unwrap().memory);
        assert!(parse(&["--no-huge"]).unwrap().no_huge);
    }
}
