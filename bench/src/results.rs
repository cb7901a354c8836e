//! results.json: an entry for each experiment. What is measured alone replaces its own entry, and
//! leaves the others'; each says when, with what and beside whom it was measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::Error;
use crate::machine::Machine;
use crate::svg;

/// The file's content.
pub struct Results {
    path: PathBuf,
    all: Value,
}

impl Results {
    /// Those of earlier runs in `dir`, if there are any.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let path = dir.join("results.json");
        let all = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|_| json!({})),
            Err(_) => json!({}),
        };
        Ok(Self { path, all })
    }

    /// Puts an entry in the place of an earlier one, and writes the file.
    pub fn put(
        &mut self,
        key: &str,
        mut entry: Value,
        settings: &Value,
        versions: &Value,
    ) -> Result<(), Error> {
        entry["measured_at"] = json!(seconds_since_1970());
        self.all[key] = entry;
        self.all["machine"] = json!(Machine::this());
        self.all["settings"][key] = settings.clone();
        for (program, version) in versions.as_object().into_iter().flatten() {
            self.all["versions"][program] = version.clone();
        }
        write(&self.path, &format!("{:#}\n", self.all))?;
        match svg::draw(&self.all) {
            Some(picture) => write(&self.path.with_file_name("throughput.svg"), &picture),
            None => Ok(()),
        }
    }

    /// Writes the file of a contender's times beside results.json.
    pub fn put_times(&self, key: &str, contender: &str, hgrm: &str) -> Result<(), Error> {
        write(
            &self.path.with_file_name(format!("{key}-{contender}.hgrm")),
            hgrm,
        )
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn seconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_is_replaced_and_the_others_stay() {
        let dir = std::env::temp_dir().join(format!("msperf-results-{}", std::process::id()));
        let mut results = Results::open(&dir).unwrap();
        let none = json!({});
        let version = |version: &str| json!({ "testpmd": version });
        results
            .put("demux64", json!({"value": 1}), &none, &version("1"))
            .unwrap();
        let mut results = Results::open(&dir).unwrap();
        results
            .put(
                "echo",
                json!({"value": 2}),
                &json!({"seconds": 2}),
                &version("2"),
            )
            .unwrap();
        results
            .put("echo", json!({"value": 3}), &none, &none)
            .unwrap();
        let all = Results::open(&dir).unwrap().all;
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(all["demux64"]["value"], 1);
        assert_eq!(all["echo"]["value"], 3);
        assert_eq!(all["settings"], json!({"demux64": {}, "echo": {}}));
        assert_eq!(all["versions"], version("2"));
        assert!(all["machine"]["cpus"].is_u64());
    }
}
