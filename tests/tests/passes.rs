//! The passes on whole models: the same outputs from the interpreter and from the accelerator, and how many nodes go.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use tandem_driver::Device as VtaDevice;
use tandem_graph::pass::{self, PASSES, Row, groups, memory};
use tandem_graph::{Graph, ValueId, interpret};
use tandem_import::{ImportOptions, import};
use tandem_isa::HwConfig;
use tandem_ops::{Act, BinaryKind, Op, PadMode, UnaryKind};
use tandem_plan::{Device, partition};
use tandem_runtime::{Backend, CpuBackend, Executor, VtaBackend};
use tandem_sim::FsimBus;
use tandem_tensor::{DType, QuantParams, Tensor, TensorType};
use tandem_tests::models;

/// A batch normalisation in the weights is rounded anew at every layer: a part of the largest element of a result.
const ROUNDED_ANEW: f64 = 1e-5;

fn graph(path: &Path) -> Option<Graph> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    // Some small models are there to be refused.
    let mut graph = import(&bytes, &ImportOptions::default()).ok()?;
    graph.prune();
    Some(graph)
}

/// The model files in a folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let is_model = |path: &PathBuf| path.extension().is_some_and(|e| e == "tflite" || e == "onnx");
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(is_model).collect();
    files.sort();
    files
}

fn own_models() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = files(&root.join("../models/digits"));
    all.extend(files(&root.join("models/tflite")));
    all.extend(files(&root.join("models/onnx")));
    all
}

fn inputs(graph: &Graph) -> Vec<Tensor> {
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as i32 - 128
    };
    let of = |&id: &ValueId| {
        let ty = graph.ty(id);
        let shift = if ty.dtype == DType::U8 { 128.0 } else { 0.0 };
        let scale = if ty.dtype.is_float() { 1.0 / 64.0 } else { 1.0 };
        let values: Vec<f64> = (0..ty.elements()).map(|_| f64::from(next()) * scale + shift).collect();
        Tensor::from_f64(ty.dtype, ty.shape.clone(), &values).unwrap()
    };
    graph.inputs.iter().map(of).collect()
}

/// How far two lists of results are apart, as a part of the largest element.
fn distance(a: &[Tensor], b: &[Tensor]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |far, (a, b)| {
        let (a, b) = (a.to_f64(), b.to_f64());
        let scale = a.iter().fold(f64::MIN_POSITIVE, |m, x| m.max(x.abs()));
        a.iter().zip(&b).filter(|(x, y)| x != y).fold(far, |far: f64, (x, y)| far.max((x - y).abs() / scale))
    })
}

fn nodes(rows: &[Row]) -> String {
    let mut text = format!("{} nodes", rows[0].before);
    for row in rows.iter().filter(|row| row.before != row.after || row.changed > 0) {
        let _ = write!(text, ", {} {} ({} changed)", row.pass, row.after, row.changed);
    }
    text
}

fn judge(path: &Path, found: &mut String) {
    let Some(graph) = graph(path) else { return };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let inputs = inputs(&graph);
    let expected = interpret(&graph, &inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
    let (exact, rows) = pass::run(&graph, pass::exact()).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(
        distance(&expected, &interpret(&exact, &inputs).unwrap()),
        0.0,
        "{name}: the exact passes change an output"
    );
    let (all, all_rows) = pass::run(&graph, PASSES.iter().map(|pass| pass.name)).unwrap();
    let far = distance(&expected, &interpret(&all, &inputs).unwrap());
    let integers = graph.outputs.iter().all(|&id| !graph.ty(id).dtype.is_float());
    assert!(far <= if integers { 0.0 } else { ROUNDED_ANEW }, "{name}: all passes are off by {far}");
    for graph in [&graph, &exact] {
        let options = memory::Options::default();
        let plan = memory::plan(graph, &options);
        assert!(plan.bound <= plan.peak && plan.peak <= plan.sum, "{name}");
        let grouped = memory::plan_groups(graph, &groups::groups(graph), &options);
        assert!(grouped.bound <= grouped.peak && grouped.sum <= plan.sum, "{name}");
    }
    if all_rows.iter().any(|row| row.before != row.after || row.changed > 0) {
        let _ = writeln!(found, "{name}: {}", nodes(&rows));
    }
}

/// The graph as a converter without passes would write it: padding, activations and identities as nodes of their own, activations
/// channels first, and for every node one that nobody reads.
fn scattered(graph: &Graph) -> Graph {
    let mut out = Graph { nodes: Vec::new(), ..graph.clone() };
    for node in &graph.nodes {
        let mut node = node.clone();
        let &[result] = node.outputs.as_slice() else {
            out.nodes.push(node);
            continue;
        };
        let ty = graph.ty(result).clone();
        for id in &mut node.inputs {
            *id = step(&mut out, Op::Unary(UnaryKind::Identity), *id, graph.ty(*id).clone());
        }
        if let Op::Conv(conv) = &mut node.op {
            let pads = std::mem::replace(&mut conv.pad, vec![(0, 0); conv.stride.len()]);
            let mut amount = vec![(0, 0)];
            amount.extend(pads.iter().map(|&(before, after)| (before as i64, after as i64)));
            amount.push((0, 0));
            let mut padded = out.ty(node.inputs[0]).clone();
            for (extent, (before, after)) in padded.shape.0.iter_mut().zip(&amount) {
                *extent += (before + after) as usize;
            }
            node.inputs[0] = step(&mut out, Op::Pad { amount, mode: PadMode::Constant }, node.inputs[0], padded);
        }
        let act = match &mut node.op {
            Op::Conv(c) => std::mem::take(&mut c.act),
            Op::Pool(p) => std::mem::take(&mut p.act),
            Op::Dense { act } => std::mem::take(act),
            Op::Binary { kind: BinaryKind::Add | BinaryKind::Sub | BinaryKind::Mul, act } => std::mem::take(act),
            _ => Act::None,
        };
        let kind = match act {
            Act::None => UnaryKind::Identity,
            Act::Relu => UnaryKind::Relu,
            Act::Relu6 => UnaryKind::Relu6,
            Act::ReluN1To1 => UnaryKind::ReluN1To1,
        };
        let mut last = out.add_value(format!("{}/plain", graph.value(result).name), ty.clone());
        node.outputs = vec![last];
        out.nodes.push(node);
        let whole = ty.quant.as_ref().is_none_or(QuantParams::is_per_tensor);
        let (there, back) = match ty.shape.rank() {
            4 if whole => (vec![0, 3, 1, 2], vec![0, 2, 3, 1]),
            rank => ((0..rank).collect(), (0..rank).collect()),
        };
        let turned = TensorType { shape: there.iter().map(|&axis| ty.shape[axis]).collect::<Vec<_>>().into(), ..ty };
        last = step(&mut out, Op::Transpose { perm: there }, last, turned.clone());
        last = step(&mut out, Op::Unary(kind), last, turned.clone());
        step(&mut out, Op::Unary(UnaryKind::Identity), last, turned);
        out.add_node("back", Op::Transpose { perm: back }, [last], [result]);
    }
    out
}

/// Adds a node of one operand.
fn step(graph: &mut Graph, op: Op, x: ValueId, ty: TensorType) -> ValueId {
    let name = format!("step{}", graph.values.len());
    let id = graph.add_value(name.clone(), ty);
    graph.add_node(name, op, [x], [id]);
    id
}

#[test]
fn a_model_in_scattered_form_comes_back_as_small_as_it_was() {
    let mut paths = own_models();
    if let Some(folder) = models() {
        paths
            .extend(["mlperf-tiny/models", "mlperf-tiny/onnx", "imagenet"].iter().flat_map(|p| files(&folder.join(p))));
    }
    for path in paths {
        let Some(graph) = graph(&path) else { continue };
        let wide = scattered(&graph);
        wide.verify().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (small, _) = pass::run(&graph, pass::exact()).unwrap();
        let (after, _) = pass::run(&wide, pass::exact()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let list = |g: &Graph| g.nodes.iter().map(|n| n.op.name()).collect::<Vec<_>>();
        assert_eq!(list(&after), list(&small), "{}: {} nodes before", path.display(), wide.nodes.len());
        let told = |g: &Graph| {
            let plan = memory::plan(g, &memory::Options::default());
            format!("{} nodes with {} bytes ({} without reuse)", g.nodes.len(), plan.peak, plan.sum)
        };
        eprintln!("{}: scattered {}, then {}", path.display(), told(&wide), told(&after));
        let inputs = inputs(&graph);
        let (a, b) = (interpret(&graph, &inputs).unwrap(), interpret(&after, &inputs).unwrap());
        assert_eq!(distance(&a, &b), 0.0, "{}", path.display());
    }
}

#[test]
fn small_models_keep_their_outputs_and_lose_these_nodes() {
    let mut found = String::new();
    for path in own_models() {
        judge(&path, &mut found);
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/passes.txt");
    if std::env::var("TANDEM_BLESS").is_ok_and(|bless| bless == "1") {
        std::fs::write(&golden, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(found, wanted, "{} is out of date; `cargo x bless` rewrites it", golden.display());
}

#[test]
fn real_models_keep_their_outputs() {
    let Some(folder) = models() else { return };
    let parts = ["mlperf-tiny/models", "mlperf-tiny/onnx", "imagenet", "mnist"];
    let paths: Vec<PathBuf> = parts.iter().flat_map(|part| files(&folder.join(part))).collect();
    assert!(paths.len() > 10, "only {} models in {}", paths.len(), folder.display());
    let mut found = String::new();
    paths.iter().for_each(|path| judge(path, &mut found));
    eprint!("{found}");
}

#[test]
fn the_accelerator_gives_the_same_codes_after_the_passes() {
    let config = HwConfig::preset("edge").unwrap();
    for path in own_models() {
        let Some(graph) = graph(&path) else { continue };
        let (after, rows) = pass::run(&graph, pass::exact()).unwrap();
        if rows.iter().all(|row| row.before == row.after && row.changed == 0) {
            continue;
        }
        let inputs = inputs(&graph);
        let expected = interpret(&graph, &inputs).unwrap();
        let plan = partition(&after, Device::Vta(0), |node| tandem_jit::supports(&after, node, &config));
        let device = VtaDevice::open(Box::new(FsimBus::new(&config)), &config).unwrap();
        let mut backends: Vec<Box<dyn Backend>> = vec![Box::new(VtaBackend::new(device)), Box::new(CpuBackend)];
        let mut executor = Executor::new(&after, &plan, &mut backends).unwrap();
        let found = executor.run(&[inputs]).unwrap().remove(0);
        assert_eq!(distance(&expected, &found), 0.0, "{}", path.display());
    }
}
