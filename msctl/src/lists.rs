//! Ports, stacks and claims as tables.

use port_api::protocol::{ClaimRow, PortRow, StackRow, VhostRow};
use port_api::{Protocol, What};

use crate::table::{Table, left, right};

pub fn ports(rows: &[PortRow]) -> String {
    let mut table = Table::new([
        right("ID"),
        left("NAME"),
        left("DRIVER"),
        left("MAC"),
        right("MTU"),
        left("LINK"),
        right("MBIT/S"),
        right("RX-QUEUES"),
        left("OFFLOADS"),
        left("NETDEV"),
        left("ADDRESSES"),
    ]);
    for row in rows {
        table.push([
            row.id.to_string(),
            row.name.clone(),
            row.driver.clone(),
            row.mac.clone(),
            row.mtu.to_string(),
            if row.link_up { "up" } else { "down" }.to_owned(),
            match row.speed_mbps {
                0 => "-".to_owned(),
                known => known.to_string(),
            },
            row.rx_queues.to_string(),
            or_dash(row.offloads.join(",")),
            or_dash(row.host_netdev.clone()),
            or_dash(row.addresses.join(",")),
        ]);
    }
    table.to_string()
}

pub fn stacks(rows: &[StackRow]) -> String {
    let mut table = Table::new([
        right("VPORT"),
        left("NAME"),
        right("PID"),
        right("UID"),
        right("AGE"),
        right("CLAIMS"),
        right("HELD"),
        right("QUOTA"),
        left("RX-LIMIT"),
        left("TX-LIMIT"),
        left("VHOST"),
    ]);
    for row in rows {
        table.push([
            row.slot.to_string(),
            row.name.clone(),
            row.pid.to_string(),
            row.uid.to_string(),
            age(row.age_s),
            row.claims.to_string(),
            row.held.to_string(),
            row.quota.to_string(),
            row.rx_limit.to_string(),
            row.tx_limit.to_string(),
            vhost(row.vhost.as_ref()),
        ]);
    }
    table.to_string()
}

/// The socket of a vhost port, and who is there; a dash for a stack with rings.
fn vhost(row: Option<&VhostRow>) -> String {
    let Some(row) = row else {
        return or_dash(String::new());
    };
    let state = match (row.connected, row.ready) {
        (_, true) => "ready",
        (true, false) => "connected",
        (false, false) => "waiting",
    };
    format!("{state} {}", row.path.display())
}

pub fn claims(rows: &[ClaimRow]) -> String {
    let mut table = Table::new([
        right("ID"),
        left("KIND"),
        left("PROTO"),
        left("LOCAL"),
        left("REMOTE"),
        left("VLAN"),
        left("STACK"),
        right("VPORT"),
        right("PID"),
    ]);
    for row in rows {
        let what = &row.spec.what;
        table.push([
            row.id.to_string(),
            what.kind().name().to_owned(),
            protocol(what),
            match what.local() {
                Some((_, local)) => local.to_string(),
                None => what.addr().to_string(),
            },
            match what {
                What::Connection { remote, .. } => remote.to_string(),
                _ => "*".to_owned(),
            },
            if row.spec.vlan.is_none() {
                "-".to_owned()
            } else {
                row.spec.vlan.to_string()
            },
            row.stack.clone(),
            row.slot.to_string(),
            row.pid.to_string(),
        ]);
    }
    table.to_string()
}

/// The name of a protocol that stacks claim ports of, the number of others; `*` for a whole address.
fn protocol(what: &What) -> String {
    match (what.local(), what.proto()) {
        (Some((protocol, _)), _) => protocol.to_string(),
        (None, Some(number)) if number == Protocol::Sctp.number() => Protocol::Sctp.to_string(),
        (None, Some(number)) => number.to_string(),
        (None, None) => "*".to_owned(),
    }
}

fn or_dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

/// As `ps -o etime`: `[[days-]hours:]minutes:seconds`.
fn age(seconds: u64) -> String {
    let (minutes, s) = (seconds / 60, seconds % 60);
    let (hours, m) = (minutes / 60, minutes % 60);
    let (days, h) = (hours / 24, hours % 24);
    match (days, hours) {
        (0, 0) => format!("{m:02}:{s:02}"),
        (0, _) => format!("{h:02}:{m:02}:{s:02}"),
        _ => format!("{days}-{h:02}:{m:02}:{s:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_those_of_ps() {
        assert_eq!(age(0), "00:00");
        assert_eq!(age(3599), "59:59");
        assert_eq!(age(3600), "01:00:00");
        assert_eq!(age(86_399), "23:59:59");
        assert_eq!(age(86_400 + 61), "1-00:01:01");
    }

    #[test]
    fn unknown_speed_and_no_addresses_are_dashes() {
        let row = PortRow {
            id: 0,
            name: "net_null0".to_owned(),
            driver: "net_null".to_owned(),
            mac: "02:00:00:00:00:01".to_owned(),
            mtu: 1500,
            link_up: false,
            speed_mbps: 0,
            rx_queues: 1,
            offloads: Vec::new(),
            host_netdev: String::new(),
            addresses: Vec::new(),
        };
        let text = ports(&[row]);
        let cells: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            cells,
            [
                "0",
                "net_null0",
                "net_null",
                "02:00:00:00:00:01",
                "1500",
                "down",
                "-",
                "1",
                "-",
                "-",
                "-"
            ]
        );
    }
}
