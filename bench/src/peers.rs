//! The peers, each in the configuration that is best for it: tried out once, when first needed.

use std::cell::OnceCell;
use std::time::Duration;

use crate::Error;
use crate::experiment::Contender;
use crate::lab::Lab;
use crate::ovs::Ovs;
use crate::testpmd::Testpmd;

/// How long each configuration is tried for.
const TRIAL: Duration = Duration::from_millis(500);

/// What was found out.
pub struct Peers<'a> {
    lab: &'a Lab,
    testpmd: OnceCell<Result<Testpmd, String>>,
    ovs: OnceCell<Result<Ovs, String>>,
}

impl<'a> Peers<'a> {
    /// Nothing yet.
    pub const fn new(lab: &'a Lab) -> Self {
        Self {
            lab,
            testpmd: OnceCell::new(),
            ovs: OnceCell::new(),
        }
    }

    /// testpmd, or why there is none.
    pub fn testpmd(&self) -> Result<Testpmd, String> {
        let choose = || best(self.lab, Testpmd::candidates()?);
        self.testpmd.get_or_init(choose).clone()
    }

    /// OVS, or why there is none.
    pub fn ovs(&self) -> Result<Ovs, String> {
        let choose = || best(self.lab, Ovs::candidates()?);
        self.ovs.get_or_init(choose).clone()
    }

    /// The fastest of some candidates for other work, or why there is none.
    pub fn fastest<C: Contender>(&self, candidates: Result<Vec<C>, String>) -> Result<C, String> {
        best(self.lab, candidates?)
    }
}

/// The fastest; one that does not run is out of the race.
fn best<C: Contender>(lab: &Lab, candidates: Vec<C>) -> Result<C, String> {
    let mut failure = String::new();
    let mut best: Option<(f64, C)> = None;
    for mut candidate in candidates {
        match try_out(lab, &mut candidate) {
            Ok(value) if best.as_ref().is_none_or(|(most, _)| value > *most) => {
                best = Some((value, candidate));
            }
            Ok(_) => {}
            Err(error) => failure = error.to_string(),
        }
    }
    best.map(|(_, candidate)| candidate).ok_or(failure)
}

fn try_out(lab: &Lab, candidate: &mut impl Contender) -> Result<f64, Error> {
    let result = candidate.measure(lab, TRIAL);
    let (label, settings) = (candidate.label(), candidate.settings());
    match &result {
        Ok(sample) => eprintln!("trial: {label} {settings}: {:.2} Mpps", sample.value),
        Err(error) => eprintln!("trial: {label} {settings}: {error}"),
    }
    Ok(result?.value)
}
