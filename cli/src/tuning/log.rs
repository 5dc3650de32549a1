//! Log files of tuning runs.

use crate::{file, stdout};
use anyhow::{Result, anyhow, bail};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use tandem_jit::tune::{Log, Record, Tuned};

/// A log that grows by a line for each schedule that is measured.
pub struct LogFile {
    path: PathBuf,
    file: File,
    /// What it held when it was opened.
    pub records: Vec<Record>,
}

impl LogFile {
    /// Opens a log to go on with it, or begins one. What a stopped program left of its last line is removed.
    ///
    /// # Errors
    /// One sentence naming the file: it cannot be written, or it is no log.
    pub fn open(path: &Path) -> Result<LogFile> {
        if std::fs::metadata(path).is_ok_and(|kind| !kind.is_file()) {
            bail!("{}: it is no file that could be written; give another path", path.display());
        }
        let log = if path.exists() { read_whole(path)? } else { (Log::default(), None) };
        let (log, cut) = log;
        let unwritable = |e| anyhow!("{}: it cannot be written ({e})", path.display());
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(unwritable)?;
        if cut.is_some() {
            file.set_len(log.whole as u64).map_err(unwritable)?;
        }
        if log.whole > 0 && cut.is_none() && !file::read(path)?.ends_with(b"\n") {
            file.write_all(b"\n").map_err(unwritable)?;
        }
        Ok(LogFile { path: path.to_owned(), file, records: log.records })
    }

    /// Appends a line, which is then on its way to the disk whatever becomes of this program.
    ///
    /// # Errors
    /// One sentence naming the file.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let written = self.file.write_all(record.line().as_bytes());
        written.map_err(|e| anyhow!("{}: it cannot be written ({e})", self.path.display()))
    }
}

/// The records of a log. What a stopped program left of its last line is told and left out.
///
/// # Errors
/// One sentence naming the file.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    Ok(read_whole(path)?.0.records)
}

/// The best schedules of a log, for the compiler.
///
/// # Errors
/// One sentence naming the file, also where nothing was measured in it.
pub fn tuned(path: &Path) -> Result<Tuned> {
    let records = read(path)?;
    if !records.iter().any(|record| record.cycles.is_some()) {
        bail!("{}: it holds no schedule; `tandem tune --log` writes some", path.display());
    }
    Ok(Tuned::new(&records))
}

/// A log, and how many bytes of an incomplete last line follow.
fn read_whole(path: &Path) -> Result<(Log, Option<usize>)> {
    let bytes = file::read(path)?;
    // A line may be cut inside of a character.
    let valid = match std::str::from_utf8(&bytes) {
        Ok(_) => bytes.len(),
        Err(e) if e.error_len().is_none() => e.valid_up_to(),
        Err(e) => bail!("{}: it is not UTF-8 text at byte {}", path.display(), e.valid_up_to()),
    };
    let text = String::from_utf8_lossy(&bytes[..valid]);
    let log = Log::read(&text).map_err(|e| anyhow!("{}: {e}", path.display()))?;
    let cut = (log.whole < bytes.len()).then(|| bytes.len() - log.whole);
    if let Some(bytes) = cut {
        stdout::complain(&format!(
            "warning: {}: its last {bytes} bytes are the beginning of a line that was never completed, and are left out",
            path.display()
        ));
    }
    Ok((log, cut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_jit::tune::{Oracle, VERSION};

    fn record(seed: u64) -> Record {
        let workload =
            "gemm in=1x8x8x16 out=1x8x8x16 kernel=3x3 stride=1x1 dilation=1x1 pad=1x1 passes=1 params=vector";
        let tile = serde_json::from_str(
            "{\"cells\":1,\"height\":8,\"width\":8,\"depth\":1,\"tap_rows\":3,\"tap_columns\":3,\"contexts\":2,\
             \"order\":\"inputs\",\"all_params\":true}",
        );
        Record {
            version: VERSION,
            workload: workload.parse().unwrap(),
            hardware: Record::hardware(1),
            dram: "ideal".into(),
            oracle: Oracle::Tsim,
            seed,
            tile: tile.unwrap(),
            predicted: 10.0,
            cycles: Some(seed),
            error: None,
        }
    }

    #[test]
    fn a_log_that_was_cut_goes_on_where_it_was_whole() {
        let path = std::env::temp_dir().join(format!("tandem-log-{}.jsonl", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let write = |seeds: std::ops::Range<u64>| {
            let mut log = LogFile::open(&path).unwrap();
            seeds.for_each(|seed| log.append(&record(seed)).unwrap());
        };
        write(0..3);
        let whole = std::fs::read(&path).unwrap();
        let all = |count: u64| (0..count).map(record).collect::<Vec<_>>();
        assert_eq!(read(&path).unwrap(), all(3));
        for end in [whole.len() - 1, whole.len() - 40, whole.len()] {
            std::fs::write(&path, &whole[..end]).unwrap();
            let next = LogFile::open(&path).unwrap().records.len() as u64;
            assert_eq!(next, if end == whole.len() - 40 { 2 } else { 3 });
            write(next..5);
            assert_eq!(read(&path).unwrap(), all(5), "{end}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
