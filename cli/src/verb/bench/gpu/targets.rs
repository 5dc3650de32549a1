//! What kernels are to reach, and whether they did.

use serde_json::{Value, json};

/// What is held against a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The fraction of the device's measured bandwidth.
    Bandwidth,
    /// Floating-point operations a second.
    Flops,
    /// Integer operations a second.
    IntOps,
}

/// What a kernel is to reach on a workload.
pub struct Target {
    /// The target in words.
    pub name: &'static str,
    /// The definition.
    pub kernel: &'static str,
    /// The workload, or the named sample whose way of drawing operands it has.
    pub workload: &'static str,
    /// Extents and choices, as `--dims` takes them.
    pub dims: &'static str,
    /// What is held against it.
    pub measure: Measure,
    /// The least that meets it.
    pub least: f64,
}

/// All of them, for an H200.
pub const ALL: &[Target] = &[
    Target {
        name: "decode attention, equal lengths",
        kernel: "attention.decode.bf16",
        workload: "equal",
        dims: "b=16,kv=1024,hq=32,hkv=32,d=128",
        measure: Measure::Bandwidth,
        least: 0.85,
    },
    Target {
        name: "decode attention, Zipf lengths",
        kernel: "attention.decode.bf16",
        workload: "zipf",
        dims: "b=16,kv=1024,hq=32,hkv=32,d=128",
        measure: Measure::Bandwidth,
        least: 0.75,
    },
    Target {
        name: "prefill attention, 16k causal, contiguous",
        kernel: "attention.ragged.bf16",
        workload: "causal",
        dims: "b=1,lq=16384,kv=16384,hq=32,hkv=8,d=128,mask=causal",
        measure: Measure::Flops,
        least: 600e12,
    },
    Target {
        name: "prefill attention, 16k causal, paged",
        kernel: "attention.prefill.bf16",
        workload: "causal",
        dims: "b=1,lq=16384,kv=16384,hq=32,hkv=8,d=128,mask=causal",
        measure: Measure::Flops,
        least: 540e12,
    },
    Target {
        name: "bf16 product, 8192 cubed",
        kernel: "gemm.bf16",
        workload: "square_8192",
        dims: "m=8192,n=8192,k=8192",
        measure: Measure::Flops,
        least: 700e12,
    },
    Target {
        name: "int8 product, 8192 cubed",
        kernel: "gemm.i8",
        workload: "square_8192",
        dims: "m=8192,n=8192,k=8192",
        measure: Measure::IntOps,
        least: 1300e12,
    },
    // 16.8 MB in 8 us, at 4.3 TB/s.
    Target {
        name: "64 adapters of rank 16, a row each",
        kernel: "sgmv.bf16",
        workload: "distinct",
        dims: "s=64,rows=1,adapters=64,rank=16,h1=4096,h2=4096,page=4096",
        measure: Measure::Bandwidth,
        least: 0.49,
    },
    Target {
        name: "private retrieval, 64 requests",
        kernel: "pir_scan.u64",
        workload: "batch",
        dims: "buckets=1048576,words=128,queries=64",
        measure: Measure::Bandwidth,
        least: 0.80,
    },
    Target {
        name: "scan of lists, one query",
        kernel: "ivf_scan.bf16",
        workload: "pool",
        dims: "n=262144,d=768,lists=512,q=1,nprobe=512",
        measure: Measure::Bandwidth,
        least: 0.85,
    },
];

/// Each target with what a report has of it.
pub fn judge(report: &Value) -> Value {
    ALL.iter().map(|target| verdict(target, report)).collect()
}

fn verdict(target: &Target, report: &Value) -> Value {
    let found = measured(target, report);
    let unit = match target.measure {
        Measure::Bandwidth => "of the measured bandwidth",
        Measure::Flops => "FLOP/s",
        Measure::IntOps => "operations/s",
    };
    let (value, why) = found.map_or_else(|why| (None, Some(why)), |value| (Some(value), None));
    json!({
        "name": target.name,
        "kernel": target.kernel,
        "workload": target.workload,
        "dims": target.dims,
        "unit": unit,
        "least": target.least,
        "measured": value,
        "met": value.map(|value| value >= target.least),
        "missed_by": value.filter(|value| *value < target.least).map(|value| 1.0 - value / target.least),
        "not_measured": why,
    })
}

/// What was measured, or why it was not.
fn measured(target: &Target, report: &Value) -> Result<f64, String> {
    let rows = report["kernels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = rows.iter().find(|row| is_of(target, row)).ok_or("the run has no such workload")?;
    if let Some(error) = row["error"].as_str() {
        return Err(error.to_owned());
    }
    let seconds = row["median_us"].as_f64().filter(|&us| us > 0.0).ok_or("it has no time")? / 1e6;
    let work = |name: &str| row["work"][name].as_f64().ok_or("its work is not known");
    Ok(match target.measure {
        Measure::Flops => work("flops")? / seconds,
        Measure::IntOps => work("int_ops")? / seconds,
        Measure::Bandwidth => {
            let bandwidth = report["limits"]["memory_bytes"].as_f64().filter(|_| report["limits_are_measured"] == true);
            work("dram_bytes")? / seconds / bandwidth.ok_or("the device's bandwidth was not measured")?
        }
    })
}

/// Whether a row is of the target's workload: the same kernel, name and extents.
fn is_of(target: &Target, row: &Value) -> bool {
    let same = |part: &str| {
        let Some((axis, extent)) = part.split_once('=') else { return false };
        let found = &row["dims"][axis];
        match extent.parse::<u64>() {
            Ok(extent) => found.as_u64() == Some(extent),
            // The only choice of a target is the mask, whose names are in this order.
            Err(_) => found.as_u64() == ["none", "causal"].iter().position(|name| *name == extent).map(|at| at as u64),
        }
    };
    row["kernel"] == target.kernel && row["workload"] == target.workload && target.dims.split(',').all(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend;

    #[test]
    fn every_target_is_of_a_definition_that_can_draw_its_operands() {
        for target in ALL {
            let operation = backend::operation(target.kernel).unwrap();
            let dims = backend::dims(operation.def(), target.dims).unwrap();
            let names = operation.samples().into_iter().chain(operation.workloads(tandem_ops::def::Size::Gpu));
            assert!(names.map(|sample| sample.name).any(|name| name == target.workload), "{}", target.name);
            let row = json!({ "kernel": target.kernel, "workload": target.workload, "dims": dims });
            assert!(is_of(target, &row), "{}", target.name);
            let (axis, _) = target.dims.split_once('=').unwrap();
            let other = dims.clone().with(axis, dims[axis] + 1);
            assert!(!is_of(target, &json!({ "kernel": target.kernel, "workload": target.workload, "dims": other })));
        }
    }

    fn report(median_us: f64) -> Value {
        let product = json!({
            "kernel": "gemm.bf16", "workload": "square_8192", "dims": { "m": 8192, "n": 8192, "k": 8192 },
            "median_us": median_us, "work": { "flops": 2u64 << 39, "int_ops": 0, "dram_bytes": 3u64 << 27 }, "error": null,
        });
        let decode = json!({
            "kernel": "attention.decode.bf16", "workload": "equal",
            "dims": { "b": 16, "kv": 1024, "hq": 32, "hkv": 32, "d": 128 },
            "median_us": 100.0, "work": { "flops": 1, "int_ops": 0, "dram_bytes": 270_000_000 }, "error": null,
        });
        json!({ "kernels": [product, decode], "limits": { "memory_bytes": 4e12 }, "limits_are_measured": true })
    }

    #[test]
    fn a_target_is_met_or_missed_by_how_much_or_not_measured_with_the_reason() {
        let met = judge(&report(1500.0));
        let of = |judged: &Value, at: usize| judged[at].clone();
        assert_eq!((&of(&met, 4)["met"], &of(&met, 4)["missed_by"]), (&json!(true), &Value::Null));
        let missed = of(&judge(&report(3000.0)), 4);
        let by = missed["missed_by"].as_f64().unwrap();
        assert!(missed["met"] == false && (by - (1.0 - 2f64.powi(40) / 3e-3 / 700e12)).abs() < 1e-9, "{missed}");
        let decode = of(&met, 0);
        assert!((decode["measured"].as_f64().unwrap() - 0.675).abs() < 1e-9 && decode["met"] == false, "{decode}");
        assert!(of(&met, 5)["not_measured"].as_str().unwrap().contains("no such workload"));
        let told = json!({ "limits_are_measured": null });
        let mut report = report(1500.0);
        report["limits_are_measured"] = told["limits_are_measured"].clone();
        assert!(of(&judge(&report), 0)["not_measured"].as_str().unwrap().contains("bandwidth"));
    }
}
