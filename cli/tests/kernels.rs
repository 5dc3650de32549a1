//! `tandem kernels`, `tandem bench kernels` and `tandem ptx`, as far as no GPU is needed.

#[allow(dead_code, reason = "no model and no file is needed here")]
mod command;

use command::{good, refused, tandem_with};

#[test]
fn every_kernel_has_a_grade_on_every_backend() {
    let value: serde_json::Value = serde_json::from_str(&good(&["kernels", "--format", "json"])).unwrap();
    let kernels = value["kernels"].as_array().unwrap();
    assert!(kernels.len() >= 25, "{}", kernels.len());
    for kernel in kernels {
        for backend in ["cpu-scalar", "cpu-simd", "ptx", "cuda", "fpga"] {
            let grade = &kernel["backends"][backend];
            let reason = grade["why"].as_str().is_some_and(|why| why.len() > 10);
            assert!(grade["grade"] == "native" || reason, "{kernel}");
        }
    }
    let text = good(&["kernels", "--op", "attention.decode.bf16"]);
    assert!(text.contains("last_page_len") && text.contains("one_token_page"), "{text}");
}

#[test]
fn kernels_are_checked_on_named_samples_and_on_extents_of_ones_own() {
    let text = good(&["kernels", "check", "--op", "gemm.i8", "--device", "cpu-scalar,cpu-simd"]);
    assert!(text.contains("empty_sum") && text.contains("0 of 30 comparisons differ, seed 1"), "{text}");
    let arguments = ["kernels", "check", "--op", "gemm.f32", "--device", "cpu-simd", "--seed", "9"];
    let json = good(&[&arguments[..], &["--dims", "m=5,n=33,k=70,act=gelu", "--format", "json"]].concat());
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((value["wrong"].as_u64(), value["rows"][0]["dims"]["k"].as_u64()), (Some(0), Some(70)), "{json}");
}

#[test]
fn fpga_forms_are_checked_and_counted() {
    let check = ["kernels", "check", "--op", "gemm.w4a8", "--device", "fsim", "--hw"];
    let text = good(&[&check[..], &["tiny", "--seed", "5"]].concat());
    assert!(text.contains("extreme_codes") && text.contains("0 of 18 comparisons differ, seed 5"), "{text}");
    let bench = ["bench", "kernels", "--op", "gemm.w4a8", "--dims", "m=1,n=64,k=256,group=128,outliers=0"];
    let json = good(&[&bench[..], &["--device", "fsim", "--schedule", "search", "--format", "json"]].concat());
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let core = &value["rows"][0]["core"];
    assert_eq!((core["estimated"].as_bool(), core["bound"].as_str()), (Some(true), Some("memory")), "{json}");
    assert_eq!(core["products_over_work"].as_f64(), Some(1.0), "{json}");
    assert!(core["fraction_of_limit"].as_f64().is_some_and(|part| part > 0.0 && part < 1.0), "{json}");
    let text = good(&[&bench[..], &["--device", "fsim", "--hw", "edge"]].concat());
    assert!(text.contains("Estimated by the functional simulator of edge"), "{text}");

    refused(&[&check[..], &["no_such"]].concat(), &["no_such", "tiny, edge"]);
    refused(&["kernels", "check", "--op", "softmax.f32", "--device", "fsim"], &["nothing to check", "fsim"]);
    for (option, value) in [("--hw", "tiny"), ("--schedule", "search"), ("--dram", "ideal")] {
        refused(&[&bench[..], &["--device", "cpu", option, value]].concat(), &[option, "leave it out"]);
    }
    refused(&[&bench[..], &["--device", "fsim", "--dram", "ideal"]].concat(), &["--dram", "tsim"]);
    refused(&[&bench[..], &["--device", "fsim", "--plot", "/nonexistent/x.svg"]].concat(), &["--plot", "fsim"]);
}

#[test]
fn what_is_no_kernel_axis_or_extent_is_refused() {
    let of = |dims| ["kernels", "check", "--op", "gemm.i8", "--device", "cpu-simd", "--dims", dims];
    refused(&["kernels", "check", "--op", "gemm.i9"], &["gemm.i9", "gemm.i8"]);
    refused(&of("q=3"), &["no such axis", "m, n, k"]);
    refused(&of("m=-1"), &["whole number"]);
    refused(&of("act=tanh"), &["none, relu"]);
    refused(&of("m=1000000,k=1000000"), &["[m, k]", "elements"]);
    refused(&["kernels", "check", "--sample", "no_such", "--device", "cpu-simd"], &["nothing to check"]);
    let of = |dims| ["kernels", "check", "--op", "attention.decode.bf16", "--device", "cpu-simd", "--dims", dims];
    refused(&of("d=0"), &["hkv > 0 and d > 0"]);
    refused(&of("hq=7,hkv=2"), &["hq % hkv == 0"]);
    refused(&["ptx", "run", "--kernel", "gemm_absent"], &["gemm_absent", "gemm_tma"]);
    refused(&["ptx", "vectors", "--device", "cpu"], &["cpu-simd", "cuda or ptx"]);
}

#[test]
fn a_machine_without_nvrtc_says_what_to_do_and_does_the_rest() {
    let nothing = [("TANDEM_TOOLS", "/nonexistent"), ("LD_LIBRARY_PATH", "")];
    for arguments in [&["ptx", "run", "--planted"][..], &["kernels", "check", "--device", "ptx"]] {
        let output = tandem_with(&nothing, arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("NVRTC is missing") && text.contains("cargo x setup"), "{text}");
    }
    let output = tandem_with(&nothing, &["doctor", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding =
        |name: &str| value["findings"].as_array().unwrap().iter().find(|f| f["name"] == name).unwrap().clone();
    assert_eq!(finding("NVRTC")["found"], false);
    assert!(finding("SIMD")["enables"].as_str().unwrap().contains("cpu-simd"));
}

#[test]
fn speeds_are_told_beside_the_peaks_of_the_same_run() {
    let arguments = ["bench", "kernels", "--op", "gemm.i8", "--dims", "m=64,n=64,k=64", "--threads", "1"];
    let json = good(&[&arguments[..], &["--format", "json"]].concat());
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let row = &value["rows"][0];
    assert!(value["limits"]["f32_flops"].as_f64() > Some(1e6) && row["median_us"].as_f64() > Some(0.0), "{json}");
    assert_eq!((row["work"]["int_ops"].as_u64(), value["threads"].as_u64()), (Some(2 * 64 * 64 * 64), Some(1)));
    assert!(good(&arguments).contains("of limit"));
}

#[test]
fn options_that_mean_nothing_on_a_device_are_refused() {
    let of = |more: &[&'static str]| [&["bench", "kernels", "--op", "gemm.i8"], more].concat();
    refused(&of(&["--limits", "h200.json"]), &["--limits", "cpu-simd"]);
    refused(&of(&["--device", "ptx", "--threads", "2"]), &["--threads", "ptx"]);
    refused(&of(&["--workload", "square_9"]), &["square_9", "square_512"]);
    refused(&of(&["--plot", "x.svg", "--no-limits"]), &["--plot", "--no-limits"]);
    refused(&["bench", "kernels", "--op", "add.i8,gemm.i8", "--dims", "m=1"], &["--dims", "2"]);
}

#[test]
fn times_of_several_definitions_are_drawn_beside_their_limits() {
    let folder = command::Folder::new("bench-plot");
    let plot = folder.path("limits.svg");
    let arguments = ["bench", "kernels", "--op", "pir_scan.u64,kmeans.bf16", "--size", "simulator", "--threads", "1"];
    let json = good(&[&arguments[..], &["--plot", &plot, "--format", "json"]].concat());
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let rows = value["rows"].as_array().unwrap();
    let picture = std::fs::read_to_string(plot).unwrap();
    assert!(rows.len() > 1 && picture.matches("<circle").count() == rows.len(), "{json}");
    assert!(picture.contains("kmeans.bf16 context") && picture.contains("pir_scan.u64"));
}

#[test]
fn a_workload_lends_its_way_of_drawing_operands_to_other_extents() {
    let arguments = ["bench", "kernels", "--device", "cpu", "--op", "attention.decode.bf16", "--workload", "zipf"];
    let dims = ["--dims", "b=4,kv=25,hq=2,hkv=1,d=64", "--no-limits", "--threads", "1", "--format", "json"];
    let value: serde_json::Value = serde_json::from_str(&good(&[&arguments[..], &dims].concat())).unwrap();
    let row = &value["rows"][0];
    let mut lengths: Vec<u64> = row["lengths"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    lengths.sort_unstable();
    // Four shares of 100 positions as 1, 1/2, 1/3, 1/4.
    assert_eq!((row["workload"].as_str(), lengths), (Some("zipf"), vec![12, 16, 24, 48]));
    assert!(row["fraction_of_limit"].is_null() && row["median_us"].as_f64() > Some(0.0) && value["limits"].is_null());
}

#[test]
fn models_are_looked_for_where_tests_look_for_them() {
    let folder = command::Folder::new("models_beside");
    for path in ["checkout/models", "shared/models"] {
        std::fs::create_dir_all(folder.path(path)).unwrap();
    }
    folder.file("checkout/Cargo.lock", "");
    let found = |variables: &[(&str, &str)], place: &str| -> serde_json::Value {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_tandem"));
        program.args(["doctor", "--format", "json"]).env_remove("TANDEM_MODELS").envs(variables.iter().copied());
        let output = program.current_dir(folder.path(place)).output().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        value["findings"].as_array().unwrap().iter().find(|f| f["name"] == "models folder").unwrap().clone()
    };
    assert!(found(&[], "checkout")["detail"].as_str().unwrap().ends_with("models_beside/shared/models"));
    assert_eq!(found(&[("TANDEM_MODELS", "/nonexistent")], "checkout")["found"], false);
}
