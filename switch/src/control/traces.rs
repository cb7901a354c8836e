//! `msctl trace`: a worker says what would become of a frame.

use port_api::protocol::{Reply, TraceRequest};

use super::{Control, Failure};
use crate::command::{Answer, Command, Trace};
use crate::explain::{Names, explain};
use crate::refusal::Refusal;
use crate::trace::Notes;

/// Longest frame that can be traced, in bytes: what fits a message, twice as long in hexadecimal.
const LONGEST: usize = 16_384;

impl Control {
    /// Asks the first worker: all have the same tables. Which fragments are under way each knows
    /// for itself.
    pub(super) fn trace(&self, request: &TraceRequest) -> Result<Reply, Failure> {
        let frame = from_hex(&request.frame).ok_or_else(|| {
            let message = format!("a frame is up to {LONGEST} bytes in hexadecimal digits");
            Refusal::new(libc::EINVAL, message)
        })?;
        let nic = self.nics.iter().position(|nic| nic.id == request.port);
        let no_port = || Refusal::new(libc::ENODEV, format!("no port {}", request.port));
        let nic = nic.ok_or_else(no_port)?;
        if let Some(slot) = request.from
            && self.name_of(slot).is_none()
        {
            let message = format!("vport {slot} is not in service");
            return Err(Refusal::new(libc::ENODEV, message).into());
        }
        let answers = self.workers.ask(|_| {
            Command::Trace(Box::new(Trace {
                nic,
                from: request.from,
                frame: frame.clone(),
                notes: Notes::default(),
                fate: None,
            }))
        })?;
        let traced = answers.into_iter().find_map(|answer| match answer {
            Answer::Traced(trace) => Some(trace),
            _ => None,
        });
        let traced = traced.and_then(|trace| {
            let names = Names {
                of: &|slot| self.name_of(slot),
                host: self.nics[nic].host.netdev(),
                sender: request.from,
            };
            explain(&trace, &names)
        });
        let none = || Refusal::new(libc::EIO, "the worker gave no answer".to_owned());
        Ok(Reply::Traced(traced.ok_or_else(none)?))
    }

    /// The name of the stack or the host's netdev on a vport.
    fn name_of(&self, slot: u16) -> Option<String> {
        if let Some(nic) = self.nics.get(usize::from(slot)) {
            return Some(nic.host.netdev().to_owned());
        }
        let tenant = self.tenants().on(slot)?;
        Some(tenant.stack().name.clone())
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() > 2 * LONGEST || !text.len().is_multiple_of(2) {
        return None;
    }
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    Some(
        digits?
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}
