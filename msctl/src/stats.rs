//! Counters as tables: totals, or rates between two readings.

use std::time::Duration;

use port_api::protocol::{ByReason, PoolStats, PortStats, Stats, VportStats, WorkerStats};

use crate::table::{Column, Table, left, right};

/// An earlier reading of the same counters.
#[derive(Clone, Copy, Debug)]
pub struct Earlier<'a> {
    pub stats: &'a Stats,
    /// How long ago it was taken.
    pub elapsed: Duration,
}

/// All counters as text. With an earlier reading, packets, bytes and rounds are rates per second
/// since then, and busy rounds are a share of those since then; drops are totals in any case.
pub fn render(now: &Stats, earlier: Option<Earlier<'_>>) -> String {
    let drops = drops(now);
    let mut sections = vec![
        ports(now, earlier),
        vports(now, earlier),
        if drops.is_empty() {
            "no drops\n".to_owned()
        } else {
            drops.to_string()
        },
        pool(&now.pool),
        workers(now, earlier),
    ];
    let warnings = warnings(now);
    if !warnings.is_empty() {
        sections.push(format!("warning: {}\n", warnings.join("\nwarning: ")));
    }
    sections.join("\n")
}

/// A sentence for every sum of counters that does not hold.
pub fn warnings(stats: &Stats) -> Vec<String> {
    let mut found = Vec::new();
    for port in &stats.ports {
        let off = port.unaccounted();
        if off != 0 {
            found.push(format!(
                "port {} ({}): rx packets less what became of them is {off}, not 0",
                port.id, port.name
            ));
        }
    }
    for vport in &stats.vports {
        let off = vport.unaccounted();
        if off != 0 {
            found.push(format!(
                "vport {} ({}): tx packets less what became of them is {off}, not 0",
                vport.slot, vport.name
            ));
        }
    }
    let PoolStats {
        count,
        available,
        held,
        in_switch,
    } = stats.pool;
    let off = i64::from(count) - i64::from(available) - i64::from(held) - i64::from(in_switch);
    if off != 0 {
        found.push(format!("pool: buffers less where they are is {off}, not 0"));
    }
    found
}

/// A row now, and if rates are asked for, the same one earlier (unless it is new) and since when.
struct Row<'a, T> {
    now: &'a T,
    since: Option<(Option<&'a T>, Duration)>,
}

impl<'a, T> Row<'a, T> {
    fn new(
        now: &'a T,
        earlier: Option<Earlier<'a>>,
        rows: impl Fn(&'a Stats) -> &'a [T],
        is_same: impl Fn(&T) -> bool,
    ) -> Self {
        let since = earlier.map(|earlier| {
            let old = rows(earlier.stats).iter().find(|row| is_same(row));
            (old, earlier.elapsed)
        });
        Self { now, since }
    }

    /// The total, or the rate; a dash where there is no rate yet.
    fn count(&self, counter: impl Fn(&T) -> u64) -> String {
        let now = counter(self.now);
        match self.since {
            None => now.to_string(),
            Some((old, elapsed)) => old
                .and_then(|old| rate(now, counter(old), elapsed))
                .map_or_else(|| "-".to_owned(), |rate| rate.to_string()),
        }
    }
}

/// Per second, rounded. None without elapsed time, and for a counter that has gone back: a vport's
/// start again from zero when the next stack takes its slot.
fn rate(now: u64, before: u64, elapsed: Duration) -> Option<u64> {
    let counted = u128::from(now.checked_sub(before)?);
    let nanos = elapsed.as_nanos();
    let per_second = (counted * 1_000_000_000 + nanos / 2).checked_div(nanos)?;
    u64::try_from(per_second).ok()
}

/// As a percentage with one decimal.
fn percent(part: u64, whole: u64) -> Option<String> {
    let permille = (u128::from(part) * 1000).checked_div(u128::from(whole))?;
    Some(format!("{}.{}", permille / 10, permille % 10))
}

fn sum(drops: &ByReason) -> u64 {
    drops.values().sum()
}

/// A column of totals, or of rates.
const fn flow(earlier: Option<Earlier<'_>>, total: &'static str, rate: &'static str) -> Column {
    right(if earlier.is_some() { rate } else { total })
}

fn ports(now: &Stats, earlier: Option<Earlier<'_>>) -> String {
    let mut table = Table::new([
        right("PORT"),
        left("NAME"),
        flow(earlier, "RX-PKTS", "RX-PKT/s"),
        flow(earlier, "RX-BYTES", "RX-B/s"),
        flow(earlier, "TO-VPORTS", "TO-VPORTS/s"),
        flow(earlier, "TO-HOST", "TO-HOST/s"),
        right("WAITING"),
        right("RX-DROPS"),
        flow(earlier, "TX-PKTS", "TX-PKT/s"),
        flow(earlier, "TX-BYTES", "TX-B/s"),
        right("TX-DROPS"),
        right("NIC-MISSED"),
    ]);
    for port in &now.ports {
        let row = Row::new(port, earlier, |s| &s.ports, |old| old.id == port.id);
        table.push([
            port.id.to_string(),
            port.name.clone(),
            row.count(|p| p.rx_packets),
            row.count(|p| p.rx_bytes),
            row.count(|p| p.to_vports),
            row.count(|p| p.to_host),
            port.waiting.to_string(),
            sum(&port.rx_dropped).to_string(),
            row.count(|p| p.tx_packets),
            row.count(|p| p.tx_bytes),
            port.tx_full.to_string(),
            port.nic_missed.to_string(),
        ]);
    }
    table.to_string()
}

fn vports(now: &Stats, earlier: Option<Earlier<'_>>) -> String {
    let mut table = Table::new([
        right("VPORT"),
        left("NAME"),
        flow(earlier, "RX-PKTS", "RX-PKT/s"),
        flow(earlier, "RX-BYTES", "RX-B/s"),
        right("RX-DROPS"),
        flow(earlier, "TX-PKTS", "TX-PKT/s"),
        flow(earlier, "TX-BYTES", "TX-B/s"),
        flow(earlier, "TX-WIRE", "TX-WIRE/s"),
        flow(earlier, "TX-LOCAL", "TX-LOCAL/s"),
        right("TX-DROPS"),
        right("HELD"),
    ]);
    for vport in &now.vports {
        let is_same = |old: &VportStats| old.slot == vport.slot && old.name == vport.name;
        let row = Row::new(vport, earlier, |s| &s.vports, is_same);
        table.push([
            vport.slot.to_string(),
            vport.name.clone(),
            row.count(|v| v.rx_packets),
            row.count(|v| v.rx_bytes),
            sum(&vport.rx_dropped).to_string(),
            row.count(|v| v.tx_packets),
            row.count(|v| v.tx_bytes),
            row.count(|v| v.tx_wire),
            row.count(|v| v.tx_local),
            (sum(&vport.tx_dropped) + vport.tx_full).to_string(),
            vport.held.to_string(),
        ]);
    }
    table.to_string()
}

/// Every reason that has a count, in the order of ports and vports.
fn drops(now: &Stats) -> Table<5> {
    let mut table = Table::new([
        left("AT"),
        left("NAME"),
        left("DIR"),
        left("REASON"),
        right("DROPS"),
    ]);
    for port in &now.ports {
        for (direction, reason, count) in port_drops(port) {
            let at = format!("port {}", port.id);
            push_drop(&mut table, at, &port.name, direction, reason, count);
        }
    }
    for vport in &now.vports {
        for (direction, reason, count) in vport_drops(vport) {
            let at = format!("vport {}", vport.slot);
            push_drop(&mut table, at, &vport.name, direction, reason, count);
        }
    }
    table
}

fn push_drop(
    table: &mut Table<5>,
    at: String,
    name: &str,
    direction: &str,
    reason: &str,
    count: u64,
) {
    if count > 0 {
        table.push([
            at,
            name.to_owned(),
            direction.to_owned(),
            reason.to_owned(),
            count.to_string(),
        ]);
    }
}

type Drop<'a> = (&'static str, &'a str, u64);

fn by_reason<'a>(
    direction: &'static str,
    drops: &'a ByReason,
) -> impl Iterator<Item = Drop<'a>> + use<'a> {
    drops
        .iter()
        .map(move |(reason, &count)| (direction, reason.as_str(), count))
}

fn port_drops(port: &PortStats) -> impl Iterator<Item = Drop<'_>> {
    by_reason("rx", &port.rx_dropped).chain([
        ("rx", "host-refused", port.host_refused),
        ("rx", "nic-missed", port.nic_missed),
        ("rx", "nic-errors", port.nic_errors),
        ("rx", "nic-no-mbuf", port.nic_no_mbuf),
        ("tx", "tx-full", port.tx_full),
    ])
}

fn vport_drops(vport: &VportStats) -> impl Iterator<Item = Drop<'_>> {
    by_reason("rx", &vport.rx_dropped)
        .chain(by_reason("tx", &vport.tx_dropped))
        .chain([
            ("tx", "tx-full", vport.tx_full),
            // Of the `tx` ring or of the `free` ring: the switch does not tell them apart.
            ("-", "bad-entries", vport.bad_entries),
        ])
}

fn pool(pool: &PoolStats) -> String {
    format!(
        "pool: {} buffers = {} available + {} held + {} in the switch\n",
        pool.count, pool.available, pool.held, pool.in_switch
    )
}

fn workers(now: &Stats, earlier: Option<Earlier<'_>>) -> String {
    let mut table = Table::new([
        right("LCORE"),
        flow(earlier, "ROUNDS", "ROUNDS/s"),
        right("BUSY%"),
    ]);
    for worker in &now.workers {
        let row = Row::new(
            worker,
            earlier,
            |s| &s.workers,
            |old| old.lcore == worker.lcore,
        );
        table.push([
            worker.lcore.to_string(),
            row.count(|w| w.rounds),
            busy(&row).unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table.to_string()
}

fn busy(row: &Row<'_, WorkerStats>) -> Option<String> {
    let before = match row.since {
        None => WorkerStats::default(),
        Some((old, _)) => *old?,
    };
    percent(
        row.now.busy_rounds.checked_sub(before.busy_rounds)?,
        row.now.rounds.checked_sub(before.rounds)?,
    )
}

#[cfg(test)]
mod tests;
