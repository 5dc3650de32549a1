//! `tandem bench gpu`: all that a GPU is measured for, in one run and one file.
//!
//! Every part is done by another process of this program, a kernel or a workload at a time, so that one that hangs or leaves the
//! device in disorder is a row with its error and nothing else. What is known so far is written after each part.

mod rivals;
mod tables;
mod targets;

use super::kernels::Extent;
use crate::backend::{self, Backend, BackendKind};
use crate::limits::told_of;
use crate::options::Format;
use crate::process::{self, Scratch};
use crate::{Outcome, date, file, smi, stdout};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tandem_gpu::{Compiler, Device, Facts, GpuError};
use tandem_ops::def::{Dims, Grade, Operation, Sample};
use tandem_ops::operations;

/// Options of `tandem bench gpu`.
#[derive(Args)]
pub struct Options {
    /// Write everything to this file, which is whole whenever it is there; beside it the measured limits, as NAME.limits.json, and
    /// what single instructions do, as NAME.vectors.json.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Only these definitions, with commas between them [default: all that have CUDA kernels].
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    op: Vec<String>,
    /// Leave these parts out, with commas between them.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART,..")]
    skip: Vec<Part>,
    /// How large workloads are: simulator does as little as shows that it works.
    #[arg(long, value_enum, default_value = "gpu")]
    size: Extent,
    /// A Python that imports torch, to measure it on the same shapes [default: python3 on the path].
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// Seconds after which a process that has written nothing is stopped.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    patience_s: u64,
    /// What the program was built from, to be kept in the file [default: the checkout's commit, where this is run in one].
    #[arg(long, value_name = "TEXT")]
    revision: Option<String>,
    /// Chooses operands.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Form of what is written to stdout.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Parts of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What the device can do at most.
    Peaks,
    /// Every kernel on every named sample, beside the reference.
    Check,
    /// Single instructions, beside the simulator.
    Vectors,
    /// How long kernels take on workloads.
    Kernels,
    /// How long others take on the same.
    Rivals,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Peaks => "peaks",
            Part::Check => "check",
            Part::Vectors => "vectors",
            Part::Kernels => "kernels",
            Part::Rivals => "rivals",
        }
    }
}

/// A run under way.
struct Run<'a> {
    options: &'a Options,
    operations: Vec<&'static dyn Operation>,
    /// The kernels for this device, to ask for grades.
    forms: Backend,
    scratch: Scratch,
    program: PathBuf,
    /// Where the limits are, once there are any.
    limits: Option<PathBuf>,
    report: Value,
    bar: ProgressBar,
    /// Why the report could not be written the last time.
    unwritten: Option<anyhow::Error>,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let operations = chosen(options)?;
    let (facts, device) = facts().context("`bench gpu` measures a GPU, and there is none to measure")?;
    let forms = backend::forms_on(BackendKind::Cuda, facts);
    let scratch = Scratch::new()?;
    let pci = device["details"]["pci"].as_str().unwrap_or_default().to_owned();
    let report = json!({
        "benchmark": "gpu",
        "complete": false,
        "date": date::now(),
        "version": env!("CARGO_PKG_VERSION"),
        "revision": options.revision.clone().or_else(|| revision(&scratch)),
        "seed": options.seed,
        "size": options.size.name(),
        "device": device,
        "nvidia_smi": smi::facts(&pci, &scratch),
        "parts": [],
    });
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template("{elapsed} {bar:30} {pos}/{len} {msg}")?);
    let program = std::env::current_exe().context("this program's own file is not to be found")?;
    let mut run = Run { options, operations, forms, scratch, program, limits: None, report, bar, unwritten: None };
    run.save();
    // Before an hour of measuring rather than after it.
    if let Some(error) = run.unwritten.take() {
        return Err(error);
    }
    run.part(Part::Peaks, Run::peaks);
    run.part(Part::Check, Run::check);
    run.part(Part::Vectors, Run::vectors);
    run.part(Part::Kernels, Run::kernels);
    run.part(Part::Rivals, Run::rivals);
    run.bar.finish_and_clear();
    run.report["targets"] = targets::judge(&run.report);
    run.report["complete"] = true.into();
    run.save();
    let text = match options.format {
        Format::Json => format!("{}\n", run.report),
        Format::Table => tables::all(&run.report) + &format!("Everything is in {}.\n", options.out.display()),
    };
    stdout::emit(&text)?;
    match run.unwritten.take() {
        Some(error) => Err(error),
        None if run.is_good() => Ok(Outcome::Good),
        None => Ok(Outcome::Negative),
    }
}

/// The definitions that were asked for and have kernels.
fn chosen(options: &Options) -> Result<Vec<&'static dyn Operation>> {
    let forms = backend::forms(BackendKind::Cuda);
    let has = |operation: &&'static dyn Operation| forms.kernel(operation.def().name).is_some();
    if options.op.is_empty() {
        return Ok(operations().into_iter().filter(has).collect());
    }
    let named = options.op.iter().map(|name| backend::operation(name)).collect::<Result<Vec<_>>>()?;
    match named.iter().find(|operation| !has(operation)) {
        Some(operation) => bail!("--op {}: there is no CUDA kernel for it", operation.def().name),
        None => Ok(named),
    }
}

/// What there is to measure. The device is let go again, since others may not share it.
fn facts() -> Result<(Facts, Value)> {
    let none = Compiler::absent(GpuError::Unavailable("a compiler was not asked for".to_owned()));
    let device = Device::cuda(0, Arc::new(none))?;
    let (major, minor) = backend::compiler()?.version()?;
    let facts = device.facts().clone();
    let value = json!({
        "name": facts.name,
        "capability": [facts.capability.0, facts.capability.1],
        "multiprocessors": facts.multiprocessors,
        "shared_per_block": facts.shared_per_block,
        "l2": facts.l2,
        "details": device.details()?,
        "nvrtc": format!("{major}.{minor}"),
    });
    Ok((facts, value))
}

/// The commit of the checkout that this is run in.
fn revision(scratch: &Scratch) -> Option<String> {
    let mut command = Command::new("git");
    let ended = process::run(command.args(["rev-parse", "HEAD"]), scratch, Duration::from_secs(10)).ok()?;
    (ended.code == Some(0)).then(|| ended.stdout.trim().to_owned())
}

impl Run<'_> {
    /// Does a part; that it fails is kept, and others go on.
    fn part(&mut self, part: Part, work: fn(&mut Self) -> Result<()>) {
        if self.options.skip.contains(&part) {
            return;
        }
        let begin = Instant::now();
        let error = work(self).err().map(|error| format!("{error:#}"));
        if let Some(error) = &error {
            stdout::complain(&format!("{}: {error}", part.name()));
        }
        let row = json!({ "part": part.name(), "seconds": begin.elapsed().as_secs_f64(), "error": error });
        self.push("parts", row);
        self.save();
    }

    /// Writes what is known so far.
    fn save(&mut self) {
        let text = serde_json::to_string_pretty(&self.report).unwrap_or_default() + "\n";
        self.unwritten = file::replace(&self.options.out, text.as_bytes()).err();
    }

    fn push(&mut self, list: &str, row: Value) {
        match &mut self.report[list] {
            Value::Array(rows) => rows.push(row),
            other => *other = json!([row]),
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.options.patience_s)
    }

    /// The JSON that this program writes for these arguments, or why there is none.
    fn tandem(&self, arguments: &[&str]) -> std::result::Result<Value, String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--seed", &self.options.seed.to_string(), "--format", "json"]);
        let ended = process::run(&mut command, &self.scratch, self.patience()).map_err(|error| format!("{error:#}"))?;
        match ended.code {
            Some(0 | 1) => {
                serde_json::from_str(&ended.stdout).map_err(|error| format!("what it wrote is no JSON: {error}"))
            }
            _ => Err(ended.reason()),
        }
    }

    fn begin(&self, steps: usize) {
        self.bar.set_length(steps as u64);
        self.bar.set_position(0);
    }

    fn peaks(&mut self) -> Result<()> {
        self.begin(1);
        self.bar.set_message("peaks of the device");
        let found = self.tandem(&["bench", "peaks", "--size", self.options.size.name()]);
        let measured = found.as_ref().map_or(Value::Null, |found| found["limits"].clone());
        let why = found
            .as_ref()
            .map_or_else(Clone::clone, |found| found["no_limits"].as_str().unwrap_or_default().to_owned());
        if let Ok(found) = found {
            self.report["peaks"] = found["figures"].clone();
        }
        let name = self.report["device"]["name"].as_str().unwrap_or_default().to_owned();
        let is_measured = !measured.is_null();
        let limits = match measured {
            Value::Null => {
                let told =
                    tandem_gpu::Limits::of(&name).with_context(|| format!("its peaks cannot be measured: {why}"))?;
                serde_json::to_value(told_of(told, &why))?
            }
            limits => limits,
        };
        let path = self.options.out.with_extension("limits.json");
        file::replace(&path, format!("{}\n", serde_json::to_string_pretty(&limits)?).as_bytes())?;
        self.report["limits"] = limits;
        self.report["limits_are_measured"] = is_measured.into();
        self.limits = Some(path);
        if !is_measured {
            bail!("its peaks cannot be measured, so that told figures take their place: {why}");
        }
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        self.begin(self.operations.len());
        for operation in self.operations.clone() {
            let name = operation.def().name;
            self.bar.set_message(format!("check {name}"));
            let found = self.tandem(&["kernels", "check", "--op", name, "--device", "cuda"]);
            let rows = found.as_ref().ok().and_then(|found| found["rows"].as_array().cloned()).unwrap_or_default();
            for sample in operation.samples() {
                if self.is_left_out(name, &sample) {
                    continue;
                }
                let row = rows.iter().find(|row| row["sample"] == sample.name && row["error"].is_null()).cloned();
                let row = row.unwrap_or_else(|| self.check_alone(name, &sample));
                self.push("check", row);
            }
            self.save();
            self.bar.inc(1);
        }
        Ok(())
    }

    /// Whether no kernel computes a sample on this device, which is kept with the reason.
    fn is_left_out(&mut self, kernel: &str, sample: &Sample) -> bool {
        let why = match self.forms.kernel(kernel).map(|kernel| kernel.grade(&sample.dims)) {
            Some(Grade::Native | Grade::Split(_)) => return false,
            Some(Grade::ReferenceOnly(why)) => why,
            None => "no kernel is written for it",
        };
        self.push("left_out", json!({ "kernel": kernel, "sample": sample.name, "why": why }));
        true
    }

    /// A sample in a process of its own: in one with others it may be their device that failed.
    fn check_alone(&self, kernel: &str, sample: &Sample) -> Value {
        let found = self.tandem(&["kernels", "check", "--op", kernel, "--device", "cuda", "--sample", sample.name]);
        match found.map(|found| found["rows"][0].clone()) {
            Ok(row) if row.is_object() => row,
            found => {
                let error = found.err().unwrap_or_else(|| "it told of no comparison".to_owned());
                json!({ "kernel": kernel, "sample": sample.name, "dims": sample.dims, "agrees": false, "error": error })
            }
        }
    }

    fn vectors(&mut self) -> Result<()> {
        self.begin(1);
        self.bar.set_message("single instructions");
        let path = self.options.out.with_extension("vectors.json");
        let path = path.to_str().context("--out: the name of the file is no UTF-8 text")?;
        let found = self.tandem(&["ptx", "vectors", "--device", "cuda", "--out", path]);
        self.report["vectors"] = found.map_err(|error| anyhow!(error))?;
        Ok(())
    }

    fn kernels(&mut self) -> Result<()> {
        let jobs = self.jobs()?;
        self.begin(jobs.len());
        for (kernel, sample, chosen) in jobs {
            self.bar.set_message(format!("{kernel} {}", sample.name));
            self.bar.inc(1);
            if self.is_left_out(kernel, &sample) {
                continue;
            }
            let limits = self.limits.clone();
            let mut arguments = vec!["bench", "kernels", "--op", kernel, "--workload", sample.name, "--device", "cuda"];
            arguments.extend(["--size", self.options.size.name()]);
            if let Some(dims) = chosen {
                arguments.extend(["--dims", dims]);
            }
            match limits.as_deref().and_then(Path::to_str) {
                Some(limits) => arguments.extend(["--limits", limits]),
                None => arguments.push("--no-limits"),
            }
            let row = match self.tandem(&arguments).map(|found| found["rows"][0].clone()) {
                Ok(row) if row.is_object() => row,
                found => {
                    let error = found.err().unwrap_or_else(|| "it told of no time".to_owned());
                    json!({ "kernel": kernel, "workload": sample.name, "dims": sample.dims, "error": error })
                }
            };
            self.push("kernels", row);
            self.save();
        }
        Ok(())
    }

    /// Workloads: those of the definitions, and of the targets what is not among them, with the extents as the command line has
    /// them.
    fn jobs(&self) -> Result<Vec<(&'static str, Sample, Option<&'static str>)>> {
        let mut jobs = Vec::new();
        for operation in &self.operations {
            let def = operation.def();
            let usual = operation.workloads(self.options.size.size());
            let mut more: Vec<(Sample, &'static str)> = Vec::new();
            if self.options.size == Extent::Gpu {
                for target in targets::ALL.iter().filter(|target| target.kernel == def.name) {
                    let dims =
                        backend::dims(def, target.dims).map_err(|error| anyhow!("{}: {error:#}", target.name))?;
                    let same = |sample: &Sample| sample.name == target.workload && sample.dims == dims;
                    if !usual.iter().any(same) && !more.iter().any(|(sample, _)| same(sample)) {
                        more.push((Sample { name: target.workload, dims }, target.dims));
                    }
                }
            }
            jobs.extend(usual.into_iter().map(|sample| (def.name, sample, None)));
            jobs.extend(more.into_iter().map(|(sample, dims)| (def.name, sample, Some(dims))));
        }
        Ok(jobs)
    }

    fn rivals(&mut self) -> Result<()> {
        let rows = self.report["kernels"].as_array().cloned().unwrap_or_default();
        let cases: Vec<Value> = rows.iter().enumerate().filter_map(|(at, row)| rivals::case(at, row)).collect();
        self.begin(cases.len());
        let (patience, python) = (self.patience(), self.options.python.as_deref());
        let simulated = self.options.size == Extent::Simulator;
        let (bar, scratch) = (self.bar.clone(), &self.scratch);
        let said = |case: &str| {
            bar.set_message(format!("others: {case}"));
            bar.inc(1);
        };
        let found = rivals::measure(python, cases, simulated, self.options.seed, scratch, patience, said);
        self.report["rivals"] = found;
        Ok(())
    }

    /// Whether every comparison agrees and every workload has a figure.
    fn is_good(&self) -> bool {
        let rows = |list: &str| self.report[list].as_array().cloned().unwrap_or_default();
        rows("parts").iter().chain(&rows("kernels")).all(|row| row["error"].is_null())
            && rows("check").iter().all(|row| row["agrees"] == true)
            && self.report["vectors"]["mistakes"].as_u64().unwrap_or(0) == 0
    }
}

/// Extents as numbers and choices by their names, as other programs read them.
fn named(operation: &dyn Operation, dims: &Dims) -> Value {
    let value = |name: &'static str, extent: usize| {
        let axis = operation.def().axes.iter().find(|axis| axis.name == name);
        match axis.map(|axis| axis.kind) {
            Some(tandem_ops::def::AxisKind::Choice(names)) => names.get(extent).map_or(Value::Null, |name| json!(name)),
            _ => json!(extent),
        }
    };
    dims.iter().map(|(name, extent)| (name.to_owned(), value(name, extent))).collect::<serde_json::Map<_, _>>().into()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use clap::Parser;
    use std::os::unix::fs::PermissionsExt;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    /// A run whose other processes are this script instead of this program.
    fn with_script(name: &str, script: &str, work: impl FnOnce(&mut Run<'_>)) -> Value {
        let folder = std::env::temp_dir().join(format!("tandem-bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (program, out) = (folder.join("program"), folder.join("out.json"));
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let line =
            ["x", "--out", out.to_str().unwrap(), "--op", "gemm.i8,add.i8", "--size", "simulator", "--patience-s", "2"];
        let options = Line::parse_from(line).options;
        let operations = chosen(&options).unwrap();
        let forms = backend::forms(BackendKind::Cuda);
        let scratch = Scratch::in_folder(folder.join("scratch")).unwrap();
        let report = json!({ "device": { "name": "NVIDIA H200" }, "parts": [] });
        let bar = ProgressBar::hidden();
        let mut run =
            Run { options: &options, operations, forms, scratch, program, limits: None, report, bar, unwritten: None };
        work(&mut run);
        let written: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
        assert!(!run.is_good() && written == run.report, "what is known is not what was written");
        drop(run);
        std::fs::remove_dir_all(folder).unwrap();
        written
    }

    #[test]
    fn a_kernel_that_ends_its_process_is_a_row_with_its_error_and_the_run_goes_on() {
        // Products end whatever process they are in; the first sample of sums fails in company and agrees by itself.
        let script = r#"case "$*" in
            *gemm.i8*) echo 'error: the device was lost' >&2; kill -9 $$ ;;
            *--workload*) echo '{"rows": [{"kernel": "add.i8", "median_us": 3.0, "error": null}]}' ;;
            *--sample*) echo '{"rows": [{"sample": "alone", "agrees": true, "error": null}]}' ;;
            *) echo '{"rows": [{"sample": "one", "agrees": false, "error": "in company"}]}' ;;
        esac"#;
        let report = with_script("lost", script, |run| {
            run.part(Part::Check, Run::check);
            run.part(Part::Kernels, Run::kernels);
        });
        let (check, kernels) = (report["check"].as_array().unwrap(), report["kernels"].as_array().unwrap());
        let of = |rows: &[Value], kernel: &str| {
            rows.iter().filter(|row| row["kernel"] == kernel).cloned().collect::<Vec<_>>()
        };
        let lost = of(check, "gemm.i8");
        assert!(
            lost.len() > 4 && lost.iter().all(|row| row["error"].as_str().unwrap().contains("the device was lost"))
        );
        assert!(check.iter().filter(|row| row["sample"] == "alone").count() > 2, "{check:?}");
        assert!(of(kernels, "gemm.i8").iter().all(|row| row["error"].is_string() && row["dims"].is_object()));
        assert!(of(kernels, "add.i8").iter().all(|row| row["median_us"] == 3.0) && !of(kernels, "add.i8").is_empty());
        assert!(report["parts"].as_array().unwrap().iter().all(|part| part["error"].is_null()));
    }

    #[test]
    fn peaks_that_hang_are_stopped_and_told_figures_take_their_place_with_a_label() {
        let report = with_script("hang", "while :; do :; done", |run| run.part(Part::Peaks, Run::peaks));
        let source = report["limits"]["source"].as_str().unwrap();
        assert!(source.starts_with("told, not measured (it did not end in time"), "{source}");
        let error = report["parts"][0]["error"].as_str().unwrap();
        assert!(report["limits_are_measured"] == false && error.contains("told figures take their place"), "{error}");
    }
}
