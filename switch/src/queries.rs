//! Answers about what there is: ports, stacks, claims, counters.

use std::collections::BTreeMap;

use port_api::protocol::{
    ByReason, ClaimRow, PAGE, PoolStats, PortRow, PortStats, Reply, StackRow, Stats, VportStats,
    WorkerStats,
};

use crate::command::{Answer, Command};
use crate::control::Control;
use crate::counters::{Drops, NicCounters, Snapshot, VportCounters};
use crate::guests::Tenant;
use crate::nics::Nic;
use crate::verdict::{DROP_REASONS, DropReason, HostReason};
use crate::workers::Stuck;

/// `msctl ports`
pub fn ports(nics: &[Nic]) -> Vec<PortRow> {
    nics.iter().map(Nic::row).collect()
}

/// `msctl claims`
pub fn claims(control: &Control, from: u64) -> Reply {
    let tenants = control.tenants();
    let mut rows = control.claims.from(from).map(|(id, claim)| {
        let tenant = tenants.on(claim.slot);
        ClaimRow {
            id,
            spec: claim.subject.spec,
            stack: tenants.name(claim.slot),
            slot: claim.slot,
            pid: tenant.map_or(0, Tenant::pid),
        }
    });
    let claims: Vec<_> = rows.by_ref().take(PAGE).collect();
    let next = rows.next().map(|row| row.id);
    Reply::Claims { claims, next }
}

/// `msctl stacks`
pub fn stacks(control: &Control, from: u16) -> Result<Reply, Stuck> {
    let counts = Counts::take(control)?;
    let workers = u32::try_from(control.workers.len()).unwrap_or(u32::MAX);
    let row = |tenant: Tenant<'_>| {
        let stack = tenant.stack();
        let rates = control.slots.rates(stack.slot);
        StackRow {
            slot: stack.slot,
            name: stack.name.clone(),
            pid: tenant.pid(),
            uid: tenant.uid(),
            age_s: stack.since.elapsed().as_secs(),
            claims: u32::try_from(control.claims.count(stack.slot)).unwrap_or(u32::MAX),
            held: match counts.vports.get(&stack.slot) {
                Some((_, held)) => *held,
                None => control.stock.lent_to(stack.slot),
            },
            quota: stack.quota * workers,
            rx_limit: rates.rx,
            tx_limit: rates.tx,
            vhost: tenant.vhost(),
        }
    };
    let tenants = control.tenants().all();
    let listed = tenants.filter(|tenant| tenant.stack().slot >= from);
    let mut rows: Vec<_> = listed.map(row).collect();
    rows.sort_unstable_by_key(|row| row.slot);
    let next = rows.get(PAGE).map(|row| row.slot);
    rows.truncate(PAGE);
    Ok(Reply::Stacks { stacks: rows, next })
}

/// `msctl stats`
pub fn stats(control: &Control, from: u16) -> Result<Reply, Stuck> {
    let counts = Counts::take(control)?;
    let mut vports: Vec<_> = counts
        .vports
        .range(from..)
        .take(PAGE + 1)
        .map(|(slot, (counters, held))| vport_stats(control, *slot, counters, *held))
        .collect();
    let next = vports.get(PAGE).map(|vport| vport.slot);
    vports.truncate(PAGE);
    Ok(Reply::Stats(Box::new(Stats {
        ports: control
            .nics
            .iter()
            .zip(&counts.nics)
            .map(|(nic, counters)| port_stats(nic, counters))
            .collect(),
        vports,
        next,
        pool: pool_stats(control, &counts),
        workers: counts.workers,
    })))
}

/// All workers' counters, summed.
struct Counts {
    nics: Vec<NicCounters>,
    vports: BTreeMap<u16, (VportCounters, u32)>,
    workers: Vec<WorkerStats>,
}

impl Counts {
    fn take(control: &Control) -> Result<Self, Stuck> {
        let (nics, slots) = (control.nics.len(), control.slots.region().geometry().slots);
        let room = || Box::new(Snapshot::with_room(nics, slots.into()));
        let answers = control.workers.ask(|_| Command::Count(room()))?;
        let mut counts = Self {
            nics: vec![NicCounters::default(); nics],
            vports: BTreeMap::new(),
            workers: Vec::new(),
        };
        for (answer, lcore) in answers.into_iter().zip(control.workers.lcores()) {
            if let Answer::Counted(snapshot) = answer {
                counts.add(&snapshot, lcore);
            }
        }
        Ok(counts)
    }

    fn add(&mut self, snapshot: &Snapshot, lcore: u32) {
        for (sum, counters) in self.nics.iter_mut().zip(&snapshot.nics) {
            sum.add(counters);
        }
        for (slot, counters, held) in &snapshot.vports {
            let sum = self.vports.entry(*slot).or_default();
            sum.0.add(counters);
            sum.1 += held;
        }
        self.workers.push(WorkerStats {
            lcore,
            rounds: snapshot.rounds,
            busy_rounds: snapshot.busy_rounds,
        });
    }
}

fn by_reason(drops: &Drops) -> ByReason {
    let names: [_; DROP_REASONS] = std::array::from_fn(DropReason::name_of);
    named(&names, &drops.0)
}

fn named(names: &[&str], counts: &[u64]) -> ByReason {
    let counted = names.iter().zip(counts).filter(|(_, count)| **count > 0);
    counted
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

fn port_stats(nic: &Nic, counters: &NicCounters) -> PortStats {
    let device = nic.stats();
    PortStats {
        id: nic.id,
        name: nic.port.name().to_owned(),
        rx_packets: counters.rx_packets,
        rx_bytes: counters.rx_bytes,
        to_vports: counters.to_vports,
        to_host: counters.to_host,
        host_reasons: named(&HostReason::NAMES, &counters.host_reasons),
        rx_dropped: by_reason(&counters.dropped),
        waiting: counters.waiting,
        copies: counters.copies,
        tx_packets: counters.tx_packets,
        tx_bytes: counters.tx_bytes,
        tx_waiting: counters.tx_waiting,
        tx_full: counters.tx_full,
        host_refused: nic.host.counters().refused,
        nic_missed: device.imissed,
        nic_errors: device.ierrors,
        nic_no_mbuf: device.rx_nombuf,
    }
}

fn vport_stats(control: &Control, slot: u16, counters: &VportCounters, held: u32) -> VportStats {
    let name = match control.nics.get(usize::from(slot)) {
        Some(nic) => nic.host.netdev().to_owned(),
        None => control.tenants().name(slot),
    };
    VportStats {
        slot,
        name,
        rx_packets: counters.rx_packets,
        rx_bytes: counters.rx_bytes,
        rx_dropped: by_reason(&counters.rx_dropped),
        rx_copies: counters.rx_copies,
        tx_packets: counters.tx_packets,
        tx_bytes: counters.tx_bytes,
        tx_wire: counters.tx_wire,
        tx_local: counters.tx_local,
        tx_waiting: counters.tx_waiting,
        tx_full: counters.tx_full,
        tx_dropped: by_reason(&counters.tx_dropped),
        bad_entries: counters.bad_entries,
        held,
    }
}

fn pool_stats(control: &Control, counts: &Counts) -> PoolStats {
    let count = control.stock.layout().count;
    let available = control.stock.available();
    let evicted: u32 = control
        .peers
        .iter()
        .filter(|peer| peer.evicted)
        .filter_map(|peer| peer.stack.as_ref())
        .map(|stack| control.stock.lent_to(stack.slot))
        .sum();
    let held = evicted + counts.vports.values().map(|(_, held)| held).sum::<u32>();
    PoolStats {
        count,
        available,
        held,
        in_switch: count.saturating_sub(available).saturating_sub(held),
    }
}
