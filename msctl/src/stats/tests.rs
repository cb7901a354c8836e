use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn by(drops: &[(&str, u64)]) -> ByReason {
    drops.iter().map(|&(r, n)| (r.to_owned(), n)).collect()
}

fn reading() -> Stats {
    Stats {
        ports: vec![PortStats {
            id: 0,
            name: "net_af_xdp0".to_owned(),
            rx_packets: 1000,
            rx_bytes: 60_000,
            to_vports: 900,
            to_host: 86,
            waiting: 2,
            rx_dropped: by(&[("ring-full", 10), ("runt", 2)]),
            tx_packets: 500,
            tx_bytes: 30_000,
            tx_full: 3,
            nic_missed: 4,
            ..PortStats::default()
        }],
        vports: vec![VportStats {
            slot: 1,
            name: "http".to_owned(),
            rx_packets: 900,
            rx_bytes: 54_000,
            rx_dropped: by(&[("ring-full", 10)]),
            tx_packets: 514,
            tx_bytes: 30_600,
            tx_wire: 500,
            tx_local: 4,
            tx_full: 3,
            tx_dropped: by(&[("tx-foreign", 7)]),
            bad_entries: 5,
            held: 128,
            ..VportStats::default()
        }],
        next: None,
        pool: PoolStats {
            count: 16_383,
            available: 15_000,
            held: 128,
            in_switch: 1255,
        },
        workers: vec![WorkerStats {
            lcore: 1,
            rounds: 4000,
            busy_rounds: 1001,
        }],
    }
}

/// The cells of the table's line that starts with these cells.
fn line<'a>(text: &'a str, start: &[&str]) -> Vec<&'a str> {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|cells| cells.starts_with(start))
        .unwrap_or_else(|| panic!("no line {start:?} in\n{text}"))
}

#[test]
fn totals() {
    let expected = "\
PORT  NAME         RX-PKTS  RX-BYTES  TO-VPORTS  TO-HOST  WAITING  RX-DROPS  TX-PKTS  TX-BYTES  TX-DROPS  NIC-MISSED
   0  net_af_xdp0     1000     60000        900       86        2        12      500     30000         3           4

VPORT  NAME  RX-PKTS  RX-BYTES  RX-DROPS  TX-PKTS  TX-BYTES  TX-WIRE  TX-LOCAL  TX-DROPS  HELD
    1  http      900     54000        10      514     30600      500         4        10   128

AT       NAME         DIR  REASON       DROPS
port 0   net_af_xdp0  rx   ring-full       10
port 0   net_af_xdp0  rx   runt             2
port 0   net_af_xdp0  rx   nic-missed       4
port 0   net_af_xdp0  tx   tx-full          3
vport 1  http         rx   ring-full       10
vport 1  http         tx   tx-foreign       7
vport 1  http         tx   tx-full          3
vport 1  http         -    bad-entries      5

pool: 16383 buffers = 15000 available + 128 held + 1255 in the switch

LCORE  ROUNDS  BUSY%
    1    4000   25.0
";
    assert_eq!(render(&reading(), None), expected);
}

#[test]
fn with_an_earlier_reading_flows_are_rates_and_drops_are_totals() {
    let before = reading();
    let mut now = reading();
    now.ports[0].rx_packets += 300;
    now.ports[0].rx_bytes += 18_000;
    now.ports[0].to_vports += 200;
    now.ports[0].rx_dropped.insert("runt".to_owned(), 102);
    now.vports[0].tx_packets += 50;
    now.vports[0].tx_wire += 50;
    now.workers[0].rounds += 1000;
    now.workers[0].busy_rounds += 999;
    let earlier = Earlier {
        stats: &before,
        elapsed: 2 * SECOND,
    };
    let text = render(&now, Some(earlier));
    assert_eq!(
        line(&text, &["PORT"])[2..6],
        ["RX-PKT/s", "RX-B/s", "TO-VPORTS/s", "TO-HOST/s"]
    );
    assert_eq!(
        line(&text, &["0", "net_af_xdp0"])[2..],
        ["150", "9000", "100", "0", "2", "112", "0", "0", "3", "4"]
    );
    assert_eq!(
        line(&text, &["1", "http"])[2..],
        ["0", "0", "10", "25", "0", "25", "0", "10", "128"]
    );
    assert_eq!(
        line(&text, &["port", "0", "net_af_xdp0", "rx", "runt"])[5],
        "102"
    );
    assert_eq!(line(&text, &["1", "500"]), ["1", "500", "99.9"]);
    assert!(!text.contains("warning"));
}

#[test]
fn what_is_new_or_went_back_has_no_rate() {
    let before = reading();
    let mut now = reading();
    now.vports[0].rx_packets = 5;
    now.vports.push(VportStats {
        slot: 2,
        name: "echo".to_owned(),
        rx_packets: 7,
        ..VportStats::default()
    });
    let mut other_name = now.vports[0].clone();
    other_name.slot = 3;
    now.vports.push(other_name);
    let earlier = Earlier {
        stats: &before,
        elapsed: SECOND,
    };
    let text = render(&now, Some(earlier));
    assert_eq!(line(&text, &["1", "http"])[2..4], ["-", "0"]);
    assert_eq!(line(&text, &["2", "echo"])[2..4], ["-", "-"]);
    assert_eq!(line(&text, &["3", "http"])[2..4], ["-", "-"]);
}

#[test]
fn rates_are_rounded_and_never_overflow() {
    assert_eq!(rate(3, 0, 2 * SECOND), Some(2));
    assert_eq!(rate(1, 0, 3 * SECOND), Some(0));
    assert_eq!(rate(7, 7, SECOND), Some(0));
    assert_eq!(rate(6, 7, SECOND), None);
    assert_eq!(rate(6, 5, Duration::ZERO), None);
    assert_eq!(rate(u64::MAX, 0, SECOND), Some(u64::MAX));
    assert_eq!(rate(u64::MAX, 0, SECOND / 2), None);
}

#[test]
fn shares_have_one_decimal() {
    assert_eq!(percent(0, 10).as_deref(), Some("0.0"));
    assert_eq!(percent(1, 3).as_deref(), Some("33.3"));
    assert_eq!(percent(u64::MAX, u64::MAX).as_deref(), Some("100.0"));
    assert_eq!(percent(0, 0), None);
}

#[test]
fn sums_that_do_not_hold_are_warned_of() {
    let mut stats = reading();
    assert_eq!(warnings(&stats), [""; 0]);
    stats.ports[0].to_host += 1;
    stats.vports[0].tx_packets += 2;
    stats.pool.held -= 3;
    assert_eq!(
        warnings(&stats),
        [
            "port 0 (net_af_xdp0): rx packets less what became of them is -1, not 0",
            "vport 1 (http): tx packets less what became of them is 2, not 0",
            "pool: buffers less where they are is 3, not 0",
        ]
    );
    let text = render(&stats, None);
    assert!(text.ends_with("\nwarning: pool: buffers less where they are is 3, not 0\n"));
}

#[test]
fn without_drops_it_says_so() {
    let text = render(&Stats::default(), None);
    assert!(text.contains("\nno drops\n"));
}
