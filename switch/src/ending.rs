//! The end of the primary, in order: what it has accepted comes to where it goes, or is counted.

use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use dpdk::lcore::JoinHandle;
use port_api::protocol::{PortStats, Reply};
use rustix::net::{Shutdown, shutdown};

use crate::command::{Answer, Command, Waiting};
use crate::control::Control;
use crate::io::DpdkIo;
use crate::queries;
use crate::workers::{Stuck, Workers};

/// How long stacks and the host's kernel may take to read what waits for them.
const GRACE: Duration = Duration::from_millis(100);
/// From one look at what waits to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Ends everything. With workers that do not answer (not `in_order`), nothing is waited for.
pub fn finish(mut control: Control, running: Vec<JoinHandle<DpdkIo>>, in_order: bool) {
    tracing::info!("ending: telling {} clients", control.peers.len());
    // No one new from here on.
    let _ = shutdown(&control.socket, Shutdown::Both);
    if in_order {
        let _ = drain(&control.workers, |left| *left == Waiting::default());
    }
    control.say_farewell();
    for nic in &mut control.nics {
        nic.host.stop();
    }
    if in_order {
        let _ = drain(&control.workers, |left| left.sent == 0);
        let _ = report(&control);
    }
    let Control { nics, workers, .. } = control;
    workers.stop();
    for worker in running {
        // Dropping what it worked on lets go of the queues.
        if worker.join().is_err() {
            tracing::error!("a worker panicked");
        }
    }
    for nic in nics {
        if let Err(error) = nic.port.close() {
            tracing::warn!("{error}");
        }
    }
}

/// Receives nothing more, and waits until enough of what was received has been read, and of what was
/// sent has been taken; but no longer than [`GRACE`].
fn drain(workers: &Workers, is_enough: impl Fn(&Waiting) -> bool) -> Result<(), Stuck> {
    let deadline = Instant::now() + GRACE;
    while !is_enough(&waiting(workers)?) && Instant::now() < deadline {
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

fn waiting(workers: &Workers) -> Result<Waiting, Stuck> {
    let mut sum = Waiting::default();
    for answer in workers.ask(|_| Command::Drain)? {
        if let Answer::Waiting(waiting) = answer {
            sum.add(waiting);
        }
    }
    Ok(sum)
}

/// Logs what became of all packets, a line per port, and one of what was left in rings.
fn report(control: &Control) -> Result<(), Stuck> {
    let left = waiting(&control.workers)?;
    if let Reply::Stats(stats) = queries::stats(control, 0)? {
        for port in &stats.ports {
            tracing::info!("{}", totals(port));
        }
    }
    if left != Waiting::default() {
        tracing::warn!(
            "left in rings: {} packets that stacks and {} that the host did not read, {} not sent",
            left.stacks,
            left.hosts,
            left.sent,
        );
    }
    Ok(())
}

fn totals(port: &PortStats) -> String {
    let dropped: u64 = port.rx_dropped.values().sum();
    let mut line = format!(
        "port {} in all: received {}: {} to stacks, {} to the host, {} fragments waiting, {dropped} dropped",
        port.id, port.rx_packets, port.to_vports, port.to_host, port.waiting,
    );
    for (reason, count) in &port.rx_dropped {
        let _ = write!(line, ", {reason} {count}");
    }
    let _ = write!(
        line,
        "; sent {}, {} found the NIC full; {} refused by the host's netdev",
        port.tx_packets, port.tx_full, port.host_refused,
    );
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_port_adds_up() {
        let port = PortStats {
            rx_packets: 10,
            to_vports: 5,
            to_host: 2,
            waiting: 1,
            rx_dropped: [("quota".to_owned(), 2)].into(),
            tx_packets: 4,
            ..PortStats::default()
        };
        assert_eq!(port.unaccounted(), 0);
        assert_eq!(
            totals(&port),
            "port 0 in all: received 10: 5 to stacks, 2 to the host, 1 fragments waiting, 2 dropped, \
             quota 2; sent 4, 0 found the NIC full; 0 refused by the host's netdev"
        );
    }
}
