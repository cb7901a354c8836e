//! What a run found.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::known::Known;

/// Examples kept of every kind of disagreement.
const MAX_EXAMPLES: usize = 3;

/// Counts of a run, and examples.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Captures that were opened.
    pub files: u64,
    /// Files whose names are not those of captures.
    pub ignored_files: u64,
    /// Captures that could not be read to their end, and why.
    pub broken_files: BTreeMap<PathBuf, String>,
    /// Records in all of them.
    pub packets: u64,
    /// Records with less than the whole packet: read for no panic only.
    pub truncated: u64,
    /// Records of other link types, by number.
    pub skipped: BTreeMap<i32, u64>,
    /// Packets that were compared.
    pub judged: u64,
    /// By judge.
    pub judges: BTreeMap<&'static str, Tally>,
    /// Rules that were broken, by name, over all packets judged.
    pub refused: BTreeMap<&'static str, u64>,
    /// What is to become of packets, by row of the table, over the ways that each was judged.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// A judge that was asked for but could not be had.
    pub missing_judge: Option<String>,
}

/// What one judge said.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    /// Packets that it was asked about.
    pub judged: u64,
    /// Packets of which both say the same.
    pub agreed: u64,
    /// Differences that are meant, by kind. One packet may have several.
    pub explained: BTreeMap<&'static str, Explained>,
    /// Differences that are not, by kind. One packet may have several.
    pub unexplained: BTreeMap<String, Unexplained>,
}

/// Differences of one kind that are meant.
#[derive(Debug, Serialize)]
pub struct Explained {
    /// How many.
    pub count: u64,
    /// The rule.
    pub why: &'static str,
}

/// Differences of one kind that are not meant.
#[derive(Debug, Default, Serialize)]
pub struct Unexplained {
    /// How many.
    pub count: u64,
    /// The first ones.
    pub examples: Vec<Example>,
}

/// A packet that a judge and we do not agree on.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    /// The capture.
    pub file: PathBuf,
    /// From 1 on.
    pub packet: u64,
    /// What we say.
    pub ours: String,
    /// What the judge says.
    pub theirs: String,
}

/// What comparing one packet gave.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Differences that are meant.
    pub explained: Vec<Known>,
    /// Kinds of differences that are not.
    pub unexplained: Vec<String>,
}

impl Report {
    /// Whether nothing is left to explain.
    pub fn is_clean(&self) -> bool {
        let clean = |tally: &Tally| tally.unexplained.is_empty();
        self.judges.values().all(clean)
    }

    /// Counts one packet. `example` is made only if it is needed.
    pub fn add(
        &mut self,
        judge: &'static str,
        outcome: Outcome,
        (file, packet): (&Path, u64),
        mut example: impl FnMut() -> (String, String),
    ) {
        let tally = self.judges.entry(judge).or_default();
        tally.judged += 1;
        if outcome.explained.is_empty() && outcome.unexplained.is_empty() {
            tally.agreed += 1;
        }
        for Known { name, why } in outcome.explained {
            let found = tally.explained.entry(name);
            found.or_insert(Explained { count: 0, why }).count += 1;
        }
        for kind in outcome.unexplained {
            let found = tally.unexplained.entry(kind).or_default();
            found.count += 1;
            if found.examples.len() < MAX_EXAMPLES {
                let (ours, theirs) = example();
                found.examples.push(Example {
                    file: file.to_owned(),
                    packet,
                    ours,
                    theirs,
                });
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "files      {}", self.files)?;
        writeln!(
            f,
            "ignored    {} files with other names",
            self.ignored_files
        )?;
        for (file, reason) in &self.broken_files {
            writeln!(f, "broken     {}: {reason}", file.display())?;
        }
        writeln!(f, "packets    {}", self.packets)?;
        writeln!(f, "truncated  {}", self.truncated)?;
        for (link_type, count) in &self.skipped {
            writeln!(f, "skipped    {count} of link type {link_type}")?;
        }
        writeln!(f, "judged     {}", self.judged)?;
        for (rule, count) in &self.refused {
            writeln!(f, "refused    {count} for {rule}")?;
        }
        for (row, count) in &self.verdicts {
            writeln!(f, "verdict    {count} {row}")?;
        }
        for (name, tally) in &self.judges {
            writeln!(
                f,
                "\n{name}: agrees on {} of {}",
                tally.agreed, tally.judged
            )?;
            for (kind, Explained { count, why }) in &tally.explained {
                writeln!(f, "  explained    {count:8} {kind}: {why}")?;
            }
            for (kind, Unexplained { count, examples }) in &tally.unexplained {
                writeln!(f, "  UNEXPLAINED  {count:8} {kind}")?;
                for it in examples {
                    writeln!(f, "    {} packet {}", it.file.display(), it.packet)?;
                    writeln!(f, "      ours    {}\n      theirs  {}", it.ours, it.theirs)?;
                }
            }
        }
        if let Some(reason) = &self.missing_judge {
            writeln!(f, "\nnot asked  {reason}")?;
        }
        Ok(())
    }
}
