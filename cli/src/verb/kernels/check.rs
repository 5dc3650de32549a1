//! `tandem kernels check`: implementations beside the reference of their definition.

use crate::backend::{self, Backend, BackendKind, CoreOptions};
use crate::options::Format;
use crate::table::table;
use crate::{Outcome, stdout};
use anyhow::{Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tandem_ops::def::{Agreement, Grade, Operation, Sample, Verdict, conform};
use tandem_ops::operations;

/// Options of `tandem kernels check`.
#[derive(Args)]
pub struct Options {
    /// Check this definition alone [default: all].
    #[arg(long, value_name = "NAME")]
    op: Option<String>,
    /// Check these backends, with commas between them [default: all that there are here, but for tsim].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "BACKEND,..")]
    device: Vec<BackendKind>,
    /// Where FPGA forms run.
    #[command(flatten)]
    core: CoreOptions,
    /// Chooses the operands, and the order of events on the PTX simulator.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Extents and choices of a random sample, as m=64,n=48,act=relu; what is not named has its default. Needs --op.
    #[arg(long, value_name = "AXIS=EXTENT,..", requires = "op", conflicts_with = "sample")]
    dims: Option<String>,
    /// Check on this named sample alone.
    #[arg(long, value_name = "NAME")]
    sample: Option<String>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// One comparison.
struct Row {
    op: &'static str,
    backend: BackendKind,
    sample: Sample,
    found: Result<Verdict, String>,
}

impl Row {
    fn agrees(&self) -> bool {
        self.found.as_ref().is_ok_and(|verdict| verdict.agrees)
    }

    /// The result that is farthest off.
    fn worst(&self) -> Option<&(&'static str, Agreement)> {
        let results = self.found.as_ref().ok()?.results.iter();
        results.max_by(|(_, a), (_, b)| {
            (a.wrong, a.max).partial_cmp(&(b.wrong, b.max)).unwrap_or(std::cmp::Ordering::Equal)
        })
    }
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let operations: Vec<&'static dyn Operation> = match &options.op {
        Some(name) => vec![backend::operation(name)?],
        None => operations(),
    };
    let mut samples = Vec::new();
    for operation in operations {
        samples.extend(samples_of(options, operation)?.into_iter().map(|sample| (operation.def().name, sample)));
    }
    let backends = chosen(options)?;
    let mut jobs = Vec::new();
    for (name, sample) in &samples {
        for backend in &backends {
            let Some(kernel) = backend.kernel(name) else { continue };
            match kernel.grade(&sample.dims) {
                Grade::ReferenceOnly(why) => {
                    stdout::complain(&format!("left out: {name} {} on {}: {why}", sample.name, backend.kind.name()));
                }
                Grade::Native | Grade::Split(_) => jobs.push((*name, backend.kind, sample.clone(), kernel)),
            }
        }
    }
    if jobs.is_empty() {
        let names: Vec<&str> = backends.iter().map(|backend| backend.kind.name()).collect();
        bail!("there is nothing to check: no kernel of {} computes that, or no sample has that name", names.join(", "));
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?;
    let bar = ProgressBar::new(jobs.len() as u64).with_style(style);
    let mut rows = Vec::new();
    for (op, backend, sample, kernel) in jobs {
        bar.set_message(format!("{op} on {}", backend.name()));
        let found = conform(kernel, &sample, options.seed).map_err(|error| error.to_string());
        rows.push(Row { op, backend, sample, found });
        bar.inc(1);
    }
    bar.finish_and_clear();
    let wrong = rows.iter().filter(|row| !row.agrees()).count();
    let text = match options.format {
        Format::Json => format!("{}\n", as_json(options.seed, wrong, &rows)),
        Format::Table => {
            as_table(&rows) + &format!("{wrong} of {} comparisons differ, seed {}\n", rows.len(), options.seed)
        }
    };
    stdout::emit(&text)?;
    Ok(if wrong == 0 { Outcome::Good } else { Outcome::Negative })
}

/// The backends that were asked for, or all that there are.
fn chosen(options: &Options) -> Result<Vec<Backend>> {
    options.core.check(if options.device.is_empty() { &BackendKind::QUICK } else { &options.device })?;
    if !options.device.is_empty() {
        return options.device.iter().map(|&kind| backend::open(kind, options.seed, &options.core)).collect();
    }
    let mut all = Vec::new();
    for kind in BackendKind::QUICK {
        match backend::open(kind, options.seed, &options.core) {
            Ok(backend) => all.push(backend),
            Err(error) if kind.is_core() && options.core.is_given() => return Err(error),
            Err(error) => stdout::complain(&format!("left out: {error:#}")),
        }
    }
    Ok(all)
}

fn samples_of(options: &Options, operation: &'static dyn Operation) -> Result<Vec<Sample>> {
    if let Some(text) = &options.dims {
        return Ok(vec![Sample { name: "random", dims: backend::dims(operation.def(), text)? }]);
    }
    let all = operation.samples().into_iter();
    Ok(all.filter(|sample| options.sample.as_ref().is_none_or(|name| name == sample.name)).collect())
}

fn as_table(rows: &[Row]) -> String {
    let cells = rows.iter().map(|row| {
        let number =
            |pick: fn(&Agreement) -> f64| row.worst().map_or_else(String::new, |(_, a)| format!("{:.1e}", pick(a)));
        let verdict = match &row.found {
            Ok(verdict) if verdict.agrees => "agrees".to_owned(),
            Ok(_) => row.worst().map_or_else(String::new, |(port, a)| match a.wrong {
                0 => format!("differs: {port}[{}] is too far off", a.at),
                wrong => format!("differs: {wrong} elements of {port}, the first at {}", a.at),
            }),
            Err(error) => format!("failed: {error}"),
        };
        let (rms, max) = (number(|a| a.rms), number(|a| a.max));
        [row.op, row.backend.name(), row.sample.name, &rms, &max, &verdict].map(str::to_owned).to_vec()
    });
    table(&["kernel", "backend", "sample", "rms", "max", "verdict"], &[3, 4], cells)
}

fn as_json(seed: u64, wrong: usize, rows: &[Row]) -> Value {
    let values = rows.iter().map(|row| {
        let dims = row.found.as_ref().map_or(&row.sample.dims, |verdict| &verdict.dims);
        json!({
            "kernel": row.op,
            "backend": row.backend.name(),
            "sample": row.sample.name,
            "dims": dims,
            "agrees": row.agrees(),
            "results": row.found.as_ref().ok().map(|verdict| {
                verdict.results.iter().map(|(port, a)| json!({ "port": port, "agreement": a })).collect::<Vec<_>>()
            }),
            "error": row.found.as_ref().err(),
        })
    });
    json!({ "seed": seed, "comparisons": rows.len(), "wrong": wrong, "rows": values.collect::<Vec<_>>() })
}
