//! Configuration and policy are read again while packets flow.

use std::fs;
use std::process::{Command, Output};

use rustix::process::Signal;

use crate::net_tools::{Pings, Questions};
use crate::raw::Probe;
use crate::testbed::{HOST_V4, Testbed, program};

fn reload(bed: &Testbed) -> Output {
    let mut msctl = Command::new(program("msctl"));
    msctl.arg("--socket").arg(&bed.socket).arg("reload");
    msctl.output().expect("msctl")
}

#[track_caller]
fn reloads(bed: &Testbed) {
    let output = reload(bed);
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
}

#[test]
fn no_packet_is_lost_and_a_bad_file_changes_nothing() {
    let mut bed = Testbed::without_switch();
    let policy = bed.dir.join("policy.toml");
    let config = bed.dir.join("config.toml");
    let allow = "[[rule]]\naction = \"allow\"\n";
    let deny = "[[rule]]\naction = \"deny\"\n";
    fs::write(&policy, allow).unwrap();
    fs::write(&config, format!("policy = {policy:?}\nmax-vports = 8\n")).unwrap();
    bed.start_switch(&["--config", config.to_str().unwrap()]);
    let _echo = bed.echo(&format!("{HOST_V4}:7"));
    let questions = Questions::start(&bed.client, &format!("{HOST_V4}:7"));
    let pings = Pings::start(&bed.client, HOST_V4);
    let mut probe = Probe::start(&bed, "probe", &["addr:10.77.0.50"]);
    for _ in 0..50 {
        fs::write(&policy, deny).unwrap();
        reloads(&bed);
        let said = probe.ask("claim addr:10.77.0.51");
        assert!(said.contains("[[rule]] 1 of the policy denies"), "{said}");
        fs::write(&policy, allow).unwrap();
        reloads(&bed);
    }
    assert_eq!(bed.claims().len(), 2, "what there was is still there");

    let (in_policy, in_config) = (policy.display(), config.display());
    for (file, text, expected) in [
        (
            &policy,
            "[[rule]]\naction = \"perhaps\"\n",
            format!("--policy {in_policy}: line 2: "),
        ),
        (&config, "quotta = 1\n", format!("{in_config}: line 1: ")),
        (
            &config,
            "max-vports = 9\n",
            "max-vports: to change this takes a restart".to_owned(),
        ),
    ] {
        let before = fs::read_to_string(file).unwrap();
        fs::write(file, text).unwrap();
        let output = reload(&bed);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            stderr.contains(&expected) && stderr.lines().count() == 1,
            "{stderr}"
        );
        bed.switch().signal(Signal::HUP);
        let logged = format!("SIGHUP: not reloaded, all stays as it was: {expected}");
        bed.switch().expect(&logged);
        fs::write(file, before).unwrap();
        let said = probe.tell("claim addr:10.77.0.51");
        let id = said
            .split("claim ")
            .nth(1)
            .and_then(|rest| rest.split(':').next());
        probe.tell(&format!("release {}", id.expect("a number")));
    }
    fs::write(&policy, deny).unwrap();
    bed.switch().signal(Signal::HUP);
    bed.switch()
        .expect("SIGHUP: configuration and policy were read again");
    assert!(probe.ask("claim addr:10.77.0.51").starts_with("error "));
    questions.end();
    pings.end();
    probe.quit();
    bed.finish();
}
