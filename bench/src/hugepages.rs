//! Hugepages of 2 MiB: more of them while the benchmark needs more.

use std::cell::Cell;
use std::fs;

use crate::Error;

const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
/// As many as the benchmark may make of them, in all.
const MOST: u64 = 3000;

/// What was added. Dropping it takes that away again.
#[derive(Default)]
pub struct Hugepages {
    added: Cell<u64>,
}

impl Hugepages {
    /// Sees to `wanted` free pages.
    pub fn ensure(&self, wanted: u64) -> Result<(), Error> {
        let (all, free) = (read("nr_hugepages")?, read("free_hugepages")?);
        if free >= wanted {
            return Ok(());
        }
        let target = all + wanted - free;
        if target > MOST {
            return Err(format!(
                "{wanted} free hugepages of 2 MiB are needed, {free} of {all} are free, and the \
                 benchmark makes at most {MOST} of them"
            )
            .into());
        }
        write(target)?;
        self.added
            .set(self.added.get() + read("nr_hugepages")?.saturating_sub(all));
        let free = read("free_hugepages")?;
        if free < wanted {
            return Err(format!("the kernel has {free} free hugepages, not {wanted}").into());
        }
        Ok(())
    }
}

impl Drop for Hugepages {
    fn drop(&mut self) {
        if self.added.get() > 0 {
            // Nothing can be done about a failure, and nothing breaks by it.
            let _ =
                read("nr_hugepages").and_then(|all| write(all.saturating_sub(self.added.get())));
        }
    }
}

fn read(file: &str) -> Result<u64, Error> {
    let path = format!("{POOL}/{file}");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    Ok(text.trim().parse()?)
}

fn write(pages: u64) -> Result<(), Error> {
    let path = format!("{POOL}/nr_hugepages");
    fs::write(&path, pages.to_string()).map_err(|error| format!("{path}: {error}"))?;
    Ok(())
}
