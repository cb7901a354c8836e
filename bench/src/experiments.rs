//! The experiments, by name.

use crate::Error;
use crate::experiment::Experiment;
use crate::peers::Peers;

mod attach;
mod demux;
mod echo;
mod fairness;
mod flows;
mod host;
mod latency;
mod ports;
mod scale;
mod validate;
mod vhost;
mod workers;

/// Sets an experiment up: who takes part depends on what is installed.
type SetUp = fn(&Peers) -> Experiment;

/// All of them, in the order in which they are measured.
pub const ALL: [(&str, SetUp); 14] = [
    ("demux64", demux::many),
    ("demux1", demux::one),
    ("demux_flows", flows::set_up),
    ("demux_ports", ports::set_up),
    ("echo", echo::set_up),
    ("sizes", scale::sizes),
    ("scale", scale::stacks),
    ("workers2", workers::set_up),
    ("vhost", vhost::set_up),
    ("validate_cost", validate::set_up),
    ("attach", attach::set_up),
    ("host", host::set_up),
    ("latency", latency::set_up),
    ("fairness", fairness::set_up),
];

/// Those called `names`; all if none is.
pub fn chosen(names: &[String]) -> Result<Vec<(&'static str, SetUp)>, Error> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
    }
    let find = |name: &String| {
        let known = ALL.iter().find(|(known, _)| known == name);
        known.copied().ok_or_else(|| {
            let known = ALL.map(|(known, _)| known).join(", ");
            format!("no experiment {name:?}: there are {known}").into()
        })
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experiments_are_found_by_name() {
        let chosen = |name: &str| super::chosen(&[name.to_owned()]);
        assert_eq!(chosen("demux1").unwrap()[0].0, "demux1");
        assert!(
            chosen("demux2")
                .unwrap_err()
                .to_string()
                .contains("demux64")
        );
        assert_eq!(super::chosen(&[]).unwrap().len(), ALL.len());
    }
}
