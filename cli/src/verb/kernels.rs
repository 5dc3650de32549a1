//! `tandem kernels`: every definition with its grade on every backend, and whether implementations do what it says.

mod check;

use crate::backend::{self, Backend, BackendKind};
use crate::options::Format;
use crate::table::table;
use crate::{Outcome, stdout};
use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tandem_ops::def::{Axis, AxisKind, Dims, Grade, OpDef, Operation};
use tandem_ops::operations;

/// Options of `tandem kernels`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Tell all about this definition alone: axes, operands, results, samples.
    #[arg(long, value_name = "NAME")]
    op: Option<String>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Subcommand)]
enum Verb {
    /// Compare implementations with the reference of their definition.
    ///
    /// Without --dims on every named sample, with --dims on a random one of those extents. Exit code 1 when anything differs.
    Check(check::Options),
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    match (&options.verb, &options.op) {
        (Some(Verb::Check(options)), _) => check::run(options),
        (None, Some(name)) => describe(backend::operation(name)?, options.format),
        (None, None) => list(options.format),
    }
}

/// The grade of a definition on a backend, at its default extents.
fn grade(backend: &Backend, def: &OpDef) -> Grade {
    match backend.kernel(def.name) {
        Some(kernel) => kernel.grade(&Dims::defaults(def.axes)),
        None => Grade::ReferenceOnly("no kernel is written for it"),
    }
}

fn list(format: Format) -> Result<Outcome> {
    // Definitions grade what an accelerator makes of them.
    let kinds = BackendKind::QUICK.into_iter().filter(|kind| !kind.is_core());
    let backends: Vec<Backend> = kinds.map(backend::forms).collect();
    let mut names: Vec<&str> = backends.iter().map(|backend| backend.kind.name()).collect();
    names.push("fpga");
    let rows = operations().into_iter().map(|operation| {
        let def = operation.def();
        let mut grades: Vec<Grade> = backends.iter().map(|backend| grade(backend, def)).collect();
        grades.push(def.fpga);
        (def, grades)
    });
    let text = match format {
        Format::Json => {
            let rows: Vec<Value> = rows
                .map(|(def, grades)| {
                    let grades: serde_json::Map<String, Value> =
                        names.iter().zip(&grades).map(|(name, grade)| ((*name).to_owned(), json!(grade))).collect();
                    json!({ "name": def.name, "summary": def.summary, "agree": def.agree, "backends": grades })
                })
                .collect();
            format!("{}\n", json!({ "kernels": rows }))
        }
        Format::Table => {
            let mut reasons: Vec<&str> = Vec::new();
            let cells: Vec<Vec<String>> = rows
                .map(|(def, grades)| {
                    let shown = grades.iter().map(|grade| {
                        let (word, why) = match grade {
                            Grade::Native => return "native".to_owned(),
                            Grade::Split(why) => ("split", why),
                            Grade::ReferenceOnly(why) => ("reference", why),
                        };
                        let at = reasons.iter().position(|other| other == why).unwrap_or_else(|| {
                            reasons.push(why);
                            reasons.len() - 1
                        });
                        format!("{word} ({})", at + 1)
                    });
                    [def.name.to_owned()].into_iter().chain(shown).collect()
                })
                .collect();
            let header: Vec<&str> = ["kernel"].into_iter().chain(names.iter().copied()).collect();
            let notes = reasons.iter().enumerate().map(|(at, why)| format!("({}) {why}\n", at + 1));
            table(&header, &[], cells) + &notes.collect::<String>()
        }
    };
    stdout::emit(&text)?;
    Ok(Outcome::Good)
}

fn describe(operation: &dyn Operation, format: Format) -> Result<Outcome> {
    let (def, samples) = (operation.def(), operation.samples());
    let text = match format {
        Format::Json => {
            let port = |port: &tandem_ops::def::Port| json!({ "name": port.name, "dtype": port.dtype, "shape": port.shape(), "doc": port.doc });
            let axes: Vec<Value> = def.axes.iter().map(axis_json).collect();
            let samples: Vec<Value> = samples.iter().map(|s| json!({ "name": s.name, "dims": s.dims })).collect();
            let value = json!({
                "name": def.name,
                "summary": def.summary,
                "axes": axes,
                "inputs": def.inputs.iter().map(port).collect::<Vec<_>>(),
                "outputs": def.outputs.iter().map(port).collect::<Vec<_>>(),
                "holds": def.holds.iter().map(|rule| rule.text).collect::<Vec<_>>(),
                "agree": def.agree,
                "samples": samples,
            });
            format!("{value}\n")
        }
        Format::Table => {
            let axes = def.axes.iter().map(|axis| {
                let (kind, default) = match axis.kind {
                    AxisKind::Extent => ("extent".to_owned(), axis.default.to_string()),
                    AxisKind::Drawn => ("follows from the operands".to_owned(), String::new()),
                    AxisKind::Number => ("number".to_owned(), axis.default.to_string()),
                    AxisKind::Choice(names) => {
                        (names.join(" | "), names.get(axis.default).copied().unwrap_or_default().to_owned())
                    }
                };
                vec![axis.name.to_owned(), kind, default, axis.doc.to_owned()]
            });
            let ports = def.inputs.iter().map(|port| ("operand", port));
            let ports = ports.chain(def.outputs.iter().map(|port| ("result", port))).map(|(role, port)| {
                [role, port.name, port.dtype.name(), &port.shape(), port.doc].map(str::to_owned).to_vec()
            });
            let rows = samples.iter().map(|sample| vec![sample.name.to_owned(), sample.dims.to_string()]);
            let rules: String = def.holds.iter().map(|rule| format!("must hold: {}\n", rule.text)).collect();
            format!("{}: {}\n", def.name, def.summary)
                + &table(&["axis", "kind", "default", "what it counts"], &[], axes)
                + &table(&["port", "name", "dtype", "shape", "what it holds"], &[], ports)
                + &rules
                + &table(&["sample", "extents and choices"], &[], rows)
        }
    };
    stdout::emit(&text)?;
    Ok(Outcome::Good)
}

fn axis_json(axis: &Axis) -> Value {
    let (kind, choices) = match axis.kind {
        AxisKind::Extent => ("extent", None),
        AxisKind::Drawn => ("drawn", None),
        AxisKind::Number => ("number", None),
        AxisKind::Choice(names) => ("choice", Some(names)),
    };
    json!({ "name": axis.name, "kind": kind, "choices": choices, "default": axis.default, "doc": axis.doc })
}
