//! Tests of options and the file.

use super::*;

fn parse(args: &str) -> Result<Config, ConfigError> {
    Config::parse(args.split_whitespace().map(str::to_owned))
}

#[test]
fn host_addresses_may_name_a_port() {
    let config = parse("--host-addr 192.0.2.1/24 --host-addr 1:2001:db8::1/64").unwrap();
    assert_eq!(config.host_addrs[0].port, 0);
    assert_eq!(config.host_addrs[1].port, 1);
    assert_eq!(config.host_addrs[1].cidr.to_string(), "2001:db8::1/64");
    let plain: HostAddr = "2001:db8::1/64".parse().unwrap();
    assert_eq!(plain.port, 0);
    assert!("192.0.2.1".parse::<HostAddr>().is_err());
}

#[test]
fn the_command_line_wins_over_the_file() {
    let path = std::env::temp_dir().join(format!("multistack-{}.toml", std::process::id()));
    std::fs::write(
        &path,
        "quota = 256\nring-size = 64\nhost-addr = [\"192.0.2.9/24\"]\n",
    )
    .unwrap();
    let args = format!("--config {} --quota 512", path.display());
    let config = parse(&args).unwrap();
    assert_eq!((config.quota, config.ring_size), (512, 64));
    assert_eq!(config.host_addrs[0].cidr.to_string(), "192.0.2.9/24");
    std::fs::write(&path, "quota = 256\nquotta = 1\n").unwrap();
    let error = parse(&args).unwrap_err().to_string();
    assert!(
        error.contains("line 2") && error.contains("quotta"),
        "{error}"
    );
    std::fs::remove_file(&path).unwrap();
    assert!(
        parse(&args)
            .unwrap_err()
            .to_string()
            .contains("No such file")
    );
}

#[test]
fn what_is_read_again_is_told_from_what_takes_a_restart() {
    let path = std::env::temp_dir().join(format!("multistack-{}-2.toml", std::process::id()));
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write("quota = 256\n");
    let before = parse(&format!("--config {} --fill 16", path.display())).unwrap();
    assert_eq!(before.reread().unwrap(), before);
    write("quota = 512\nfill = 32\npolicy = \"p\"\nsocket-mode = \"0660\"\npoll = true\n");
    let after = before.reread().unwrap();
    assert_eq!(before.fixed_in(&after), ["quota", "poll"]);
    assert_eq!(after.policy.as_deref(), Some(Path::new("p")));
    assert_ne!(after.access, before.access);
    write("quota = 15\n");
    assert!(before.reread().is_err());
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn numbers_out_of_range_are_refused() {
    for args in [
        "--ring-size 100",
        "--quota 1",
        "--fill 1000",
        "--mtu 9000",
        "--max-vports 0",
    ] {
        assert!(parse(args).is_err(), "{args}");
    }
}
