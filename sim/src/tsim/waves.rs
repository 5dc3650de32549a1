//! Waveforms: the text that Verilator dumps (VCD) goes into a compressed file (FST) as it comes, so that no text is kept.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fst_writer::{
    FstBodyWriter, FstFileType, FstHeaderWriter, FstInfo, FstScopeType, FstSignalId, FstSignalType, FstVarDirection,
    FstVarType, open_fst,
};

use super::TsimError;

/// Value changes are written out when they take so many bytes.
const FLUSH_BYTES: usize = 32 << 20;
/// Exponent of the unit of time: a dump has two steps a cycle, which are drawn as nanoseconds.
const TIMESCALE: i8 = -9;

/// A file of waveforms that is being written.
pub(crate) struct Waves {
    path: PathBuf,
    writer: Mutex<Writer>,
}

struct Writer {
    /// The part of a line that came last.
    line: Vec<u8>,
    part: Part,
    signals: HashMap<Vec<u8>, Signal>,
    value: Vec<u8>,
    failed: Option<String>,
}

#[derive(Clone, Copy)]
struct Signal {
    id: FstSignalId,
    width: usize,
}

enum Part {
    Header(FstHeaderWriter<BufWriter<File>>),
    Body(FstBodyWriter<BufWriter<File>>),
    Done,
}

impl Waves {
    pub fn create(path: &Path) -> Result<Waves, TsimError> {
        let info = FstInfo {
            start_time: 0,
            timescale_exponent: TIMESCALE,
            version: "tandem".to_owned(),
            date: String::new(),
            file_type: FstFileType::Verilog,
        };
        let header = open_fst(path, &info).map_err(|e| TsimError::File {
            action: "write",
            path: path.to_path_buf(),
            detail: e.to_string(),
        })?;
        let (line, value, signals) = (Vec::new(), Vec::new(), HashMap::new());
        let writer = Writer { line, part: Part::Header(header), signals, value, failed: None };
        Ok(Waves { path: path.to_path_buf(), writer: Mutex::new(writer) })
    }

    /// Takes a piece of the dump.
    pub fn feed(&self, text: &[u8]) {
        let mut writer = self.lock();
        let mut rest = text;
        while let Some(at) = rest.iter().position(|&byte| byte == b'\n') {
            let (head, tail) = rest.split_at(at);
            let mut line = std::mem::take(&mut writer.line);
            line.extend_from_slice(head);
            // An error stays and is told when the file is finished; a simulation is not stopped by its picture.
            if writer.failed.is_none()
                && let Err(error) = writer.take(&line)
            {
                writer.failed = Some(error);
            }
            line.clear();
            writer.line = line;
            rest = tail.get(1..).unwrap_or_default();
        }
        writer.line.extend_from_slice(rest);
    }

    /// Completes the file; whatever comes later is dropped.
    pub fn finish(&self) -> Result<(), TsimError> {
        let mut writer = self.lock();
        let done = match std::mem::replace(&mut writer.part, Part::Done) {
            Part::Header(header) => header.finish().and_then(|body| body.finish().map(drop)),
            Part::Body(body) => body.finish().map(drop),
            Part::Done => Ok(()),
        };
        let failed = writer.failed.take().map_or(done.map_err(|e| e.to_string()), Err);
        failed.map_err(|detail| TsimError::File { action: "write", path: self.path.clone(), detail })
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waves {
    fn drop(&mut self) {
        // Whoever wants to know of an error has called `finish` before.
        let _ = self.finish();
    }
}

impl Writer {
    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        match &self.part {
            Part::Header(_) => self.declare(&String::from_utf8_lossy(line)),
            Part::Body(_) => self.change(line.trim_ascii()),
            Part::Done => Ok(()),
        }
    }

    /// A line of the header: one declaration, ended by `$end`.
    fn declare(&mut self, line: &str) -> Result<(), String> {
        let Part::Header(header) = &mut self.part else { return Ok(()) };
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["$scope", _, name, ..] => header.scope(name, "", FstScopeType::Module).map_err(|e| e.to_string()),
            ["$upscope", ..] => header.up_scope().map_err(|e| e.to_string()),
            ["$var", _, width, code, name @ ..] => {
                let width: u32 = width.parse().map_err(|_| format!("a signal has width {width}"))?;
                let name: Vec<&str> = name.iter().copied().take_while(|&word| word != "$end").collect();
                let alias = self.signals.get(code.as_bytes()).map(|signal| signal.id);
                let (shape, wire, dir) = (FstSignalType::bit_vec(width), FstVarType::Wire, FstVarDirection::Implicit);
                let id = header.var(name.join(" "), shape, wire, dir, alias).map_err(|e| e.to_string())?;
                self.signals.insert(code.as_bytes().to_vec(), Signal { id, width: width as usize });
                Ok(())
            }
            ["$enddefinitions", ..] => {
                if let Part::Header(header) = std::mem::replace(&mut self.part, Part::Done) {
                    self.part = Part::Body(header.finish().map_err(|e| e.to_string())?);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A line of the body: `#TIME`, `BIT CODE` without a space, or `bBITS CODE`.
    fn change(&mut self, line: &[u8]) -> Result<(), String> {
        let Part::Body(body) = &mut self.part else { return Ok(()) };
        let (bits, code) = match line {
            [b'#', time @ ..] => {
                if body.size() > FLUSH_BYTES {
                    body.flush().map_err(|e| e.to_string())?;
                }
                let time = std::str::from_utf8(time).ok().and_then(|time| time.parse().ok());
                let time = time.ok_or_else(|| "a time is no number".to_owned())?;
                return body.time_change(time).map_err(|e| e.to_string());
            }
            [b'b' | b'B', rest @ ..] => {
                let Some(at) = rest.iter().position(|&byte| byte == b' ') else { return Ok(()) };
                (&rest[..at], rest[at..].trim_ascii())
            }
            [b'0' | b'1' | b'x' | b'z', ..] => line.split_at(1),
            _ => return Ok(()),
        };
        let Some(&Signal { id, width }) = self.signals.get(code) else { return Ok(()) };
        // Leading zeros may be left out.
        self.value.clear();
        self.value.resize(width.saturating_sub(bits.len()), b'0');
        self.value.extend_from_slice(bits);
        body.signal_change(id, &self.value).map_err(|e| e.to_string())
    }
}

impl std::fmt::Debug for Waves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waves").field("path", &self.path).finish_non_exhaustive()
    }
}
