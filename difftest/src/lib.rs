//! Differential tests of [`wire::parse`] and [`switch::classify`]: every packet of a folder of
//! captures is read and decided on by them and by independent judges, and what they say is compared.
//!
//! The judges are the rules themselves, written down a second time ([`rules`]), the etherparse
//! crate, tshark for a sample, and one that knows who is to get a packet ([`verdict`]). A difference
//! counts as explained only if it is in [`known`].

#![forbid(unsafe_code)]

pub mod capture;
pub mod judge;
pub mod known;
mod packet;
pub mod report;
pub mod rules;
pub mod seen;
pub mod verdict;

use std::{
    io,
    panic::catch_unwind,
    path::{Path, PathBuf},
    sync::Arc,
};

use pcap_parser::Linktype;
use wire::{Malformed, Origin, Parsed, parse, verify_l4};

use judge::{Judge, Verdict, etherparse, tshark};
use known::Difference;
use report::{Outcome, Report};
use verdict::{Ends, Worlds};

/// Name of the judge that knows the rules and nothing else.
const RULES: &str = "rules";

/// Name of the judge that knows who is to get a packet.
const VERDICT: &str = "verdict";

/// Frames that one tshark gets.
const BATCH_LEN: usize = 20_000;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Packets per file that tshark is asked about, from the first on; 0 for none.
    pub tshark: u64,
}

/// Compares all packets of the captures under `path`.
///
/// # Errors
/// The folder cannot be read, or tshark fails.
pub fn run(path: &Path, options: Options) -> io::Result<Report> {
    let (files, ignored_files) = capture::find(path)?;
    let mut run = Run {
        report: Report {
            ignored_files,
            ..Report::default()
        },
        sample: Vec::new(),
        tshark: options.tshark,
    };
    if run.tshark > 0 && !tshark::installed() {
        run.report.missing_judge = Some("tshark is not installed".to_owned());
        run.tshark = 0;
    }
    for file in files {
        run.file(&Arc::new(file))?;
    }
    run.ask_tshark()?;
    Ok(run.report)
}

struct Run {
    report: Report,
    /// What tshark is still to be asked about.
    sample: Vec<Sampled>,
    tshark: u64,
}

struct Sampled {
    file: Arc<PathBuf>,
    number: u64,
    frame: Vec<u8>,
}

impl Run {
    fn file(&mut self, file: &Arc<PathBuf>) -> io::Result<()> {
        self.report.files += 1;
        let worlds = worlds(file);
        let mut sampled = 0;
        let read = capture::read(file, |record| {
            self.report.packets += 1;
            if record.truncated {
                self.report.truncated += 1;
                self.survives(&worlds, (file, record.number), record.data);
                return;
            }
            let Some(frame) = ethernet(record.link_type, record.data) else {
                *self.report.skipped.entry(record.link_type.0).or_default() += 1;
                return;
            };
            self.packet(&worlds, (file, record.number), &frame);
            if sampled < self.tshark {
                sampled += 1;
                self.sample.push(Sampled {
                    file: Arc::clone(file),
                    number: record.number,
                    frame,
                });
            }
        });
        if let Err(reason) = read {
            self.report.broken_files.insert(file.to_path_buf(), reason);
        }
        if self.sample.len() >= BATCH_LEN {
            self.ask_tshark()?;
        }
        Ok(())
    }

    /// Whether reading the frame does not panic, nor deciding on it.
    fn survives(&mut self, worlds: &Worlds, place: (&Path, u64), frame: &[u8]) -> bool {
        let survived = catch_unwind(|| {
            worlds.survive(frame);
            for origin in [Origin::Wire, Origin::Local] {
                if let Ok(parsed) = parse(frame, origin) {
                    verify_l4(frame, &parsed);
                }
            }
        });
        if survived.is_ok() {
            return true;
        }
        let outcome = Outcome {
            unexplained: vec!["panic".to_owned()],
            ..Outcome::default()
        };
        self.report
            .add(RULES, outcome, place, || ("panic".to_owned(), hex(frame)));
        false
    }

    fn packet(&mut self, worlds: &Worlds, place: (&Path, u64), frame: &[u8]) {
        self.report.judged += 1;
        if !self.survives(worlds, place, frame) {
            return;
        }
        let ours = parse(frame, Origin::Wire);
        if let Err(rule) = ours {
            *self.report.refused.entry(rule.name()).or_default() += 1;
        }
        let outcome = by_rules(frame, ours);
        self.report
            .add(RULES, outcome, place, || (format!("{ours:?}"), hex(frame)));
        let verdict = etherparse::judge(frame);
        self.judged(Judge::Etherparse, place, frame, &verdict);
        self.verdict(worlds, place, frame);
    }

    fn verdict(&mut self, worlds: &Worlds, place: (&Path, u64), frame: &[u8]) {
        let mut outcome = Outcome::default();
        let mut examples = Vec::new();
        for compared in worlds.compare(frame) {
            *(self.report.verdicts.entry(compared.expected.row)).or_default() += 1;
            if let Some(kind) = compared.difference()
                && !outcome.unexplained.contains(&kind)
            {
                let ours = format!("{:?}", compared.verdict);
                let theirs = format!("{:?} {}", compared.expected, hex(frame));
                outcome.unexplained.push(kind);
                examples.push((ours, theirs));
            }
        }
        let mut examples = examples.into_iter();
        self.report.add(VERDICT, outcome, place, || {
            examples.next().unwrap_or_default()
        });
    }

    fn judged(&mut self, judge: Judge, place: (&Path, u64), frame: &[u8], verdict: &Verdict) {
        let ours = parse(frame, Origin::Wire);
        let outcome = compare(judge, frame, ours, verdict);
        self.report.add(judge.name(), outcome, place, || {
            let ours = ours.map(|parsed| seen::ours(frame, &parsed));
            (format!("{ours:?}"), format!("{verdict:?}"))
        });
    }

    fn ask_tshark(&mut self) -> io::Result<()> {
        let sample = std::mem::take(&mut self.sample);
        for batch in sample.chunks(BATCH_LEN) {
            let frames: Vec<_> = batch.iter().map(|it| it.frame.clone()).collect();
            for (it, verdict) in batch.iter().zip(tshark::judge(&frames)?) {
                self.judged(Judge::Tshark, (&it.file, it.number), &it.frame, &verdict);
            }
        }
        Ok(())
    }
}

/// From a first look at a capture. What cannot be read is told on the second.
fn worlds(file: &Path) -> Worlds {
    let mut ends = Ends::default();
    let _ = capture::read(file, |record| {
        if !record.truncated
            && let Some(frame) = ethernet(record.link_type, record.data)
        {
            ends.see(&frame);
        }
    });
    Worlds::new(&ends)
}

/// An Ethernet frame, if the link type is Ethernet, or IP to put a header in front of.
fn ethernet(link_type: Linktype, data: &[u8]) -> Option<Vec<u8>> {
    const ETHERNET: i32 = 1;
    // DLT_RAW is 12, or 14 on OpenBSD; LINKTYPE_RAW is 101.
    const RAW: [i32; 3] = [12, 14, 101];
    const IPV4: i32 = 228;
    const IPV6: i32 = 229;

    let version = data.first().map(|byte| byte >> 4);
    let ethertype: u16 = match (link_type.0, version) {
        (ETHERNET, _) => return Some(data.to_vec()),
        (IPV4, _) => 0x0800,
        (IPV6, _) => 0x86dd,
        (it, Some(4)) if RAW.contains(&it) => 0x0800,
        (it, Some(6)) if RAW.contains(&it) => 0x86dd,
        _ => return None,
    };
    let mut frame = vec![2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(data);
    Some(frame)
}

/// Our verdict against the rules, each on its own: a frame is refused for a rule that it breaks,
/// and accepted only if it breaks none.
pub fn by_rules(frame: &[u8], ours: Result<Parsed, Malformed>) -> Outcome {
    let mut outcome = Outcome::default();
    match ours {
        Err(rule) if rules::breaks(rule, frame) => {}
        Err(rule) => outcome.unexplained.push(format!("does not break {rule}")),
        Ok(_) => {
            let broken = Malformed::ALL
                .into_iter()
                .filter(|it| rules::breaks(*it, frame));
            outcome
                .unexplained
                .extend(broken.map(|it| format!("breaks {it}")));
        }
    }
    outcome
}

/// Our verdict against a judge's.
pub fn compare(
    judge: Judge,
    frame: &[u8],
    ours: Result<Parsed, Malformed>,
    verdict: &Verdict,
) -> Outcome {
    let mut outcome = Outcome::default();
    let parsed = match (ours, verdict) {
        (Err(_), Verdict::Refuses(_)) => return outcome,
        (Err(rule), Verdict::Reads(_)) => {
            if rules::breaks(rule, frame) {
                outcome.explained.push(known::stricter(rule));
            } else {
                outcome.unexplained.push(format!("only we refuse: {rule}"));
            }
            return outcome;
        }
        (Ok(parsed), _) => parsed,
    };
    let mut note = |difference: Difference, kind: &dyn Fn() -> String| match known::explain(
        judge, frame, &parsed, difference,
    ) {
        Some(known) if !outcome.explained.contains(&known) => outcome.explained.push(known),
        Some(_) => {}
        None => outcome.unexplained.push(kind()),
    };
    match verdict {
        Verdict::Refuses(reason) => {
            note(Difference::Refusal, &|| format!("only we accept: {reason}"));
        }
        Verdict::Reads(theirs) => {
            for field in seen::differences(&seen::ours(frame, &parsed), theirs) {
                note(Difference::Field(field), &|| field.to_owned());
            }
        }
    }
    outcome
}

/// The first 128 bytes.
fn hex(frame: &[u8]) -> String {
    let shown = frame.iter().take(128).map(|byte| format!("{byte:02x}"));
    shown.collect()
}
