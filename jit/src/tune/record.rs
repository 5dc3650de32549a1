//! Logs of what was measured: a line of JSON for each schedule, appended as it is known.

use super::{Known, Workload};
use crate::tile::Tile;
use serde::{Deserialize, Serialize};

/// The version of the lines that are written. Lines of other versions are refused.
pub const VERSION: u32 = 1;

/// What tells the cycles of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Oracle {
    /// A formula or a model.
    Analytic,
    /// The simulated hardware, which counts them.
    Tsim,
}

/// A line of a log: a schedule of a layer on a machine, and what it took there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// The layer.
    pub workload: Workload,
    /// The digest of the machine's configuration, `0x` and eight digits.
    pub hardware: String,
    /// The memory of the machine, by its preset or its numbers.
    pub dram: String,
    /// What told the cycles.
    pub oracle: Oracle,
    /// The seed of the search.
    pub seed: u64,
    /// The schedule.
    pub tile: Tile,
    /// Cycles that were predicted before.
    pub predicted: f64,
    /// Cycles; absent where the schedule failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycles: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// The lines in their order.
    pub records: Vec<Record>,
    /// Bytes of the whole lines. What follows is the beginning of a line that a stopped program could not complete.
    pub whole: usize,
}

/// Why a text is no log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Invalid: a line of another version.
    #[error("line {line} is of version {found}, but this program reads version {VERSION}; tune again")]
    Version {
        /// From 1.
        line: usize,
        /// The version.
        found: u32,
    },
    /// Invalid: a line that is none of a log.
    #[error("line {line} is no record of a tuning run ({why}); remove it, or tune again")]
    Line {
        /// From 1.
        line: usize,
        /// What the parser says.
        why: String,
    },
}

/// The part of a line that every version has.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

impl Record {
    /// The digest of a configuration as records have it.
    pub fn hardware(digest: u32) -> String {
        format!("{digest:#010x}")
    }

    /// The line, with its end.
    pub fn line(&self) -> String {
        // Numbers, words and text always have a form in JSON.
        serde_json::to_string(self).map(|line| line + "\n").unwrap_or_default()
    }

    /// What a model learns from it; `None` where the schedule failed.
    pub fn known(&self) -> Option<Known> {
        Some(Known { workload: self.workload, tile: self.tile, predicted: self.predicted, cycles: self.cycles? })
    }
}

impl Log {
    /// Reads a log. A last line that has no end and is no record is left out; see [`Log::whole`].
    ///
    /// # Errors
    /// [`LogError`] for any other line that is no record of this version; empty lines count for nothing.
    pub fn read(text: &str) -> Result<Log, LogError> {
        let mut log = Log::default();
        for (number, line) in text.split_inclusive('\n').enumerate() {
            match parse(line.trim(), number + 1) {
                Ok(record) => log.records.extend(record),
                Err(_) if !line.ends_with('\n') => return Ok(log),
                Err(error) => return Err(error),
            }
            log.whole += line.len();
        }
        Ok(log)
    }

    /// Whether the text that was read had more than whole lines.
    pub fn is_cut(&self, text: &str) -> bool {
        self.whole < text.len()
    }
}

fn parse(line: &str, number: usize) -> Result<Option<Record>, LogError> {
    if line.is_empty() {
        return Ok(None);
    }
    let wrong = |e: serde_json::Error| LogError::Line { line: number, why: e.to_string() };
    let Head { version } = serde_json::from_str(line).map_err(wrong)?;
    if version != VERSION {
        return Err(LogError::Version { line: number, found: version });
    }
    serde_json::from_str(line).map(Some).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::sample;

    #[test]
    fn a_log_comes_back_line_by_line() {
        let records = sample::records(5);
        let text: String = records.iter().map(Record::line).collect();
        let log = Log::read(&text).unwrap();
        assert_eq!((&log.records, log.is_cut(&text)), (&records, false));
        assert_eq!(Log::read("\n\n"), Ok(Log { records: Vec::new(), whole: 2 }));
        assert_eq!(
            records[0].line(),
            "{\"version\":1,\"workload\":\"gemm in=1x14x14x32 out=1x14x14x64 kernel=3x3 stride=1x1 dilation=1x1 pad=1x1 \
             passes=1 params=vector\",\"hardware\":\"0x12345678\",\"dram\":\"zynq\",\"oracle\":\"tsim\",\"seed\":1,\
             \"tile\":{\"cells\":4,\"height\":14,\"width\":14,\"depth\":2,\"tap_rows\":3,\"tap_columns\":3,\
             \"contexts\":1,\"order\":\"weights\",\"all_params\":true},\"predicted\":1000.0,\"cycles\":1001}\n"
        );
    }

    #[test]
    fn the_end_of_a_log_may_be_cut_anywhere() {
        let text: String = sample::records(3).iter().map(Record::line).collect();
        let lines: Vec<usize> = text.char_indices().filter(|(_, c)| *c == '\n').map(|(at, _)| at + 1).collect();
        for end in lines[1]..text.len() {
            let cut = &text[..end];
            let log = Log::read(cut).unwrap();
            // Without its line feed the last line is whole.
            let whole = if end == text.len() - 1 { 3 } else { 2 };
            assert_eq!((log.records.len(), log.whole), (whole, if whole == 3 { end } else { lines[1] }), "{end}");
            assert_eq!(log.is_cut(cut), log.whole < end);
        }
    }

    #[test]
    fn other_lines_are_refused_by_their_number() {
        let good: String = sample::records(1).iter().map(Record::line).collect();
        let of = |line: &str| Log::read(&format!("{good}{line}\n{good}")).unwrap_err();
        assert_eq!(of("{\"version\":2}"), LogError::Version { line: 2, found: 2 });
        assert!(matches!(of("{}"), LogError::Line { line: 2, .. }));
        assert!(of("nothing").to_string().starts_with("line 2 is no record"));
        assert!(matches!(of(&good.trim().replace("\"cells\"", "\"sells\"")), LogError::Line { line: 2, .. }));
    }
}
