//! The switch: every packet to the stack that has claimed it.

use std::path::PathBuf;
use std::time::Duration;

use port_api::Client;
use port_api::protocol::{PortStats, Reply, Request};

use crate::Error;
use crate::counters::{self, Sample, per_second, timed};
use crate::drain::Totals;
use crate::lab::{LCORES, Lab};
use crate::plan::{Contender, WARM_UP};
use crate::process::Process;
use crate::traffic;

/// multistack with so many stacks, which drain and count in a process of their own.
pub struct Demux {
    stacks: u16,
    options: Vec<String>,
    version: Option<String>,
}

impl Demux {
    /// With these options of the switch.
    pub fn new(stacks: u16, options: &str) -> Self {
        Self {
            stacks,
            options: options.split_whitespace().map(str::to_owned).collect(),
            version: None,
        }
    }

    fn args(&self, lab: &Lab) -> Result<Vec<String>, Error> {
        let pcap = lab.dir.join("multistack.pcap");
        traffic::write(&pcap, self.stacks)?;
        let mut args = vec![
            format!("-l{LCORES}"),
            format!("--file-prefix={}", lab.prefix),
            "--no-pci".to_owned(),
            format!("--vdev={}", traffic::device(&pcap)),
            "--".to_owned(),
            format!("--socket={}", socket(lab).display()),
            format!("--host-addr={}", traffic::HOST_CIDR),
            format!("--max-vports={}", self.stacks),
            // The device holds this many buffers, of which the switch knows nothing otherwise.
            format!("--rxd={}", traffic::PACKETS),
        ];
        args.extend(self.options.iter().cloned());
        Ok(args)
    }
}

impl Contender for Demux {
    fn key(&self) -> String {
        format!("demux{}", self.stacks)
    }

    fn label(&self) -> String {
        let plural = if self.stacks == 1 { "" } else { "s" };
        format!("multistack, {} stack{plural}", self.stacks)
    }

    fn version(&self) -> Option<String> {
        self.version.clone()
    }

    fn measure(&mut self, lab: &Lab, time: Duration) -> Result<Sample, Error> {
        let program = sibling("multistack")?;
        let mut switch = Process::start(lab, "multistack", &program, &self.args(lab)?)?;
        let client = switch.until(lab, || Ok(Client::connect(&socket(lab), "bench")?))?;
        let greeting = client.greeting();
        self.version = Some(format!("{}, {}", greeting.switch, greeting.dpdk));
        check_mac(&client)?;
        let stacks = self.stacks.to_string();
        let drain = ["drain".into(), socket(lab).into_os_string(), stacks.into()];
        let mut drain = Process::start(lab, "drain", &std::env::current_exe()?, &drain)?;
        expect(&drain.line()?, "ready")?;
        lab.sleep(WARM_UP)?;

        let (before, start) = timed(|| counters::port(&client))?;
        lab.sleep(time)?;
        let (after, end) = timed(|| counters::port(&client))?;

        drain.tell("stop")?;
        let totals: Totals = serde_json::from_str(&drain.line()?)?;
        check_conservation(&client, &[&before, &after], &totals)?;
        drain.terminate()?;
        switch.terminate()?;
        sample(&before, &after, end - start)
    }
}

fn socket(lab: &Lab) -> PathBuf {
    lab.dir.join("control.sock")
}

/// A program in the same folder as this one.
fn sibling(name: &str) -> Result<PathBuf, Error> {
    let program = std::env::current_exe()?.with_file_name(name);
    if program.is_file() {
        Ok(program)
    } else {
        Err(format!("no {}: build the workspace first", program.display()).into())
    }
}

fn expect(line: &str, expected: &str) -> Result<(), Error> {
    if line == expected {
        Ok(())
    } else {
        Err(format!("{line:?} instead of {expected:?}").into())
    }
}

/// Packets to another MAC would not be for the stacks.
fn check_mac(client: &Client) -> Result<(), Error> {
    let Reply::Ports { ports } = client.call(&Request::Ports, &[])? else {
        return Err("no answer about ports".into());
    };
    let mac = ports.first().map_or("", |port| &port.mac);
    let ours = traffic::NIC.to_string();
    if mac == ours {
        Ok(())
    } else {
        Err(format!("the device has the MAC address {mac}, and the packets are for {ours}").into())
    }
}

/// Every packet that came in went somewhere, and every one that the switch gave to a stack is one
/// that the stack got. To be called when nothing waits in the stacks' rings any more.
fn check_conservation(
    client: &Client,
    readings: &[&PortStats],
    totals: &Totals,
) -> Result<(), Error> {
    let last = counters::port(client)?;
    for port in readings.iter().copied().chain([&last]) {
        if port.unaccounted() != 0 {
            return Err(format!("{} packets unaccounted for: {port:?}", port.unaccounted()).into());
        }
    }
    let vports = counters::vports(client)?;
    for (slot, drained) in totals {
        let vport = vports.iter().find(|vport| vport.slot == *slot);
        let given = vport.map_or(0, |vport| vport.rx_packets);
        if given != *drained {
            return Err(format!(
                "vport {slot}: the switch gave it {given} packets, it got {drained}"
            )
            .into());
        }
    }
    let drained: u64 = totals.values().sum();
    if last.to_vports != drained {
        return Err(format!(
            "the switch gave {} packets to stacks, they got {drained}",
            last.to_vports
        )
        .into());
    }
    Ok(())
}

fn sample(before: &PortStats, after: &PortStats, time: Duration) -> Result<Sample, Error> {
    let delivered = after.to_vports - before.to_vports;
    if delivered == 0 {
        return Err(format!("nothing reached the stacks: {after:?}").into());
    }
    // What a full ring drops is no throughput.
    Ok(Sample {
        delivered_pps: per_second(delivered, time),
        offered_pps: per_second(after.rx_packets - before.rx_packets, time),
    })
}
