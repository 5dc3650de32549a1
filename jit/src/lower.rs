//! Which nodes become which layers, with their constants.

use crate::layout::{Dims, SUM_BYTES, dims};
use tandem_graph::{Graph, Node};
use tandem_isa::RequantMode;
use tandem_isa::semantics::RequantParam;
use tandem_ops::arith::{self, Requant};
use tandem_ops::{Act, BinaryKind, Op, Pool, PoolKind, UnaryKind};
use tandem_tensor::{DType, QuantParams, TensorType};

/// What a node becomes.
pub(crate) enum Layer {
    /// The result has the bytes of the operand.
    Alias,
    /// A window slides over the input.
    Window(Window),
    /// Whole activations are combined element by element.
    Eltwise(Eltwise),
}

/// Spatial geometry of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slide {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Rows and columns of padding before the image.
    pub pad: [usize; 2],
}

/// A convolution, depthwise convolution, dense layer or pool.
pub(crate) struct Window {
    pub input: Dims,
    pub output: Dims,
    pub slide: Slide,
    /// Rows of the activation in DRAM from one row of `input` to the next.
    pub row_pitch: usize,
    /// Rows of the activation in DRAM.
    pub rows_in_dram: usize,
    /// The byte that stands for zero (or for minus infinity) outside the image.
    pub pad_value: i32,
    pub kind: WindowKind,
    /// What follows the window.
    pub post: Post,
}

pub(crate) enum WindowKind {
    /// Sums over the input channels: weights are passes of bytes `[pass][o][h][w][i]`, whose sum is the weight.
    Gemm { weights: Vec<Vec<i8>> },
    /// Each channel on its own lane: weights are passes of bytes `[pass][c][h][w]`.
    Lane { weights: Vec<Vec<i8>> },
    /// Maximum over the window.
    Max,
}

/// What turns accumulators into results.
pub(crate) enum Post {
    /// REQUANT with these parameters for each output channel, or one for all of them.
    Requant { mode: RequantMode, params: Vec<RequantParam> },
    /// CLAMP to a range of codes; `None` where every code passes.
    Clamp(Option<(i32, i32)>),
    /// Nothing: they are the results, whole, of which so many bytes say all.
    Sums { bytes: usize },
}

/// An element-wise layer.
pub(crate) struct Eltwise {
    pub dims: Dims,
    /// Which of the node's operands are loaded, in order.
    pub operands: Vec<usize>,
    pub steps: Vec<Step>,
}

/// One pass over the accumulators of a tile. Regions are numbered as the operands; the result is region 0.
pub(crate) enum Step {
    /// Requantises a region in place; one parameter set for every lane.
    Requant { region: usize, mode: RequantMode, param: RequantParam, saturate: bool },
    /// Adds a constant to a region.
    AddImm { region: usize, imm: i32 },
    /// Region 0 plus region 1.
    Add,
    /// Region 0 minus region 1 (which is negated).
    Sub,
    /// Region 0 times region 1.
    Mul,
    /// Clamps region 0.
    Clamp { lo: i32, hi: i32 },
}

impl Window {
    /// Leaves out the rows between those that a kernel of one row visits.
    pub fn skip_rows(&mut self) {
        let (slide, rows) = (&mut self.slide, self.output.h);
        let [stride, _] = slide.stride;
        if slide.kernel[0] == 1 && slide.pad[0] == 0 && stride > 1 && (rows - 1) * stride < self.input.h {
            (self.input.h, slide.stride[0], self.row_pitch) = (rows, 1, stride);
        }
    }
}

impl Step {
    /// Whether it reads or writes a region.
    pub fn touches(&self, wanted: usize) -> bool {
        match *self {
            Step::Requant { region, .. } | Step::AddImm { region, .. } => region == wanted,
            Step::Add | Step::Sub | Step::Mul => wanted < 2,
            Step::Clamp { .. } => wanted == 0,
        }
    }
}

impl Layer {
    /// Bytes of a result: those of a sum that say all, or that of a code.
    pub fn result_bytes(&self) -> usize {
        match self {
            Layer::Window(Window { post: Post::Sums { bytes }, .. }) => *bytes,
            _ => 1,
        }
    }

    /// The REQUANT modes that the layer needs.
    pub fn modes(&self) -> Vec<RequantMode> {
        let post = |post: &Post| match post {
            Post::Requant { mode, .. } => Some(*mode),
            Post::Clamp(_) | Post::Sums { .. } => None,
        };
        match self {
            Layer::Alias => Vec::new(),
            Layer::Window(window) => post(&window.post).into_iter().collect(),
            Layer::Eltwise(eltwise) => {
                let mode = |step: &Step| match step {
                    Step::Requant { mode, .. } => Some(*mode),
                    _ => None,
                };
                eltwise.steps.iter().filter_map(mode).collect()
            }
        }
    }
}

/// True for operators whose result has the bytes of their operand wherever the layout agrees.
pub(crate) fn is_alias(op: &Op) -> bool {
    matches!(op, Op::Reshape { .. })
}

/// The signed form of a code of `dtype`: what the machine sees.
fn offset(dtype: DType) -> i32 {
    if dtype == DType::U8 { 128 } else { 0 }
}

/// Lowers one node.
///
/// # Errors
/// Why it cannot run on the accelerator.
pub(crate) fn lower(graph: &Graph, node: &Node) -> Result<Layer, String> {
    let ty = |k: usize| -> Result<&TensorType, String> {
        node.inputs.get(k).map(|&id| graph.ty(id)).ok_or_else(|| format!("operand {k} is missing"))
    };
    let [output] = node.outputs[..] else { return Err("it has several results".into()) };
    let (x, y) = (ty(0)?, graph.ty(output));
    if node.inputs.first().is_some_and(|&id| graph.constant(id).is_some()) {
        return Err("its operand is a constant".into());
    }
    // Products of plain bytes have no quantisation.
    if !(matches!(node.op, Op::Conv(_) | Op::Dense { .. }) && y.dtype == DType::I32) {
        quantised(x)?;
        quantised(y)?;
    }
    let (x_dims, y_dims) = (extents(x)?, extents(y)?);
    if x_dims.n != y_dims.n {
        return Err("it changes the leading extent".into());
    }
    match &node.op {
        Op::Reshape { .. } => {
            let same = (x_dims.h * x_dims.w, x_dims.c) == (y_dims.h * y_dims.w, y_dims.c);
            if !same || x.quant != y.quant || x.dtype != y.dtype {
                return Err("the reshape moves channels".into());
            }
            Ok(Layer::Alias)
        }
        Op::Conv(conv) => {
            let pair = |v: &[usize]| match *v {
                [a, b] => Ok([a, b]),
                [b] => Ok([1, b]),
                _ => Err(format!("{} spatial axes; the accelerator slides over one or two", v.len())),
            };
            let w = ty(1)?;
            let kernel = pair(&w.shape[1..w.shape.rank().saturating_sub(1).max(1)])?;
            let pad = match conv.pad[..] {
                [a, b] => [a.0, b.0],
                [b] => [0, b.0],
                _ => return Err("padding of another rank".into()),
            };
            let slide = Slide { kernel, stride: pair(&conv.stride)?, dilation: pair(&conv.dilation)?, pad };
            weighted(graph, node, conv.act, slide, conv.groups)
        }
        Op::Dense { act } => {
            let slide = Slide { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0, 0] };
            weighted(graph, node, *act, slide, 1)
        }
        Op::Pool(pool) => pooled(pool, x, y, x_dims, y_dims),
        Op::Binary { kind: kind @ (BinaryKind::Add | BinaryKind::Sub | BinaryKind::Mul), act } => {
            let b = ty(1)?;
            if graph.constant(node.inputs[1]).is_some() {
                return Err("its second operand is a constant".into());
            }
            quantised(b)?;
            extents(b)?;
            if x.shape != y.shape || b.shape != y.shape {
                return Err("its operands broadcast".into());
            }
            if x.dtype != y.dtype || b.dtype != y.dtype {
                return Err("its operands have different dtypes".into());
            }
            let (qa, qb, qy) = (quant(x)?, quant(b)?, quant(y)?);
            let off = offset(y.dtype);
            let steps = if *kind == BinaryKind::Mul {
                let p = arith::mul_params(graph.arith, qa, qb, qy, y.dtype, *act);
                let (mode, param) = requant_param(&p.requant, 0, p.zero_point - off, p.lo - off, p.hi - off, 0);
                vec![
                    Step::AddImm { region: 0, imm: off - p.a_zero_point },
                    Step::AddImm { region: 1, imm: off - p.b_zero_point },
                    Step::Mul,
                    Step::Requant { region: 0, mode, param, saturate: true },
                ]
            } else {
                let p = arith::add_params(graph.arith, qa, qb, qy, y.dtype, *act, *kind == BinaryKind::Sub);
                let side = |region: usize, s: &arith::AddOperand| {
                    let bias = (off - s.zero_point).wrapping_shl(s.pre_shift);
                    let (mode, param) = requant_param(&s.requant, bias, 0, 0, 0, s.pre_shift);
                    Step::Requant { region, mode, param, saturate: false }
                };
                let (mode, param) = requant_param(&p.output, 0, p.zero_point - off, p.lo - off, p.hi - off, 0);
                vec![
                    side(0, &p.a),
                    side(1, &p.b),
                    if p.subtract { Step::Sub } else { Step::Add },
                    Step::Requant { region: 0, mode, param, saturate: true },
                ]
            };
            Ok(Layer::Eltwise(Eltwise { dims: y_dims, operands: vec![0, 1], steps }))
        }
        Op::Requantize | Op::Unary(UnaryKind::Relu | UnaryKind::Relu6 | UnaryKind::ReluN1To1) => {
            if x.dtype != y.dtype {
                return Err("it changes the dtype".into());
            }
            let act = match node.op {
                Op::Unary(UnaryKind::Relu) => Act::Relu,
                Op::Unary(UnaryKind::Relu6) => Act::Relu6,
                Op::Unary(UnaryKind::ReluN1To1) => Act::ReluN1To1,
                _ => Act::None,
            };
            let (qx, qy) = (quant(x)?, quant(y)?);
            let off = offset(y.dtype);
            let step = if qx == qy && act != Act::None {
                let (lo, hi) = arith::activation_range(act, y.dtype, qy);
                Step::Clamp { lo: lo - off, hi: hi - off }
            } else {
                let ratio = qx.scale() / qy.scale();
                if !(1.0 / 256.0..=128.0).contains(&ratio) {
                    return Err("its scales are too far apart for one requantisation".into());
                }
                let p = arith::requantize_params(graph.arith, qx, qy, y.dtype, act);
                let (mode, param) =
                    requant_param(&p.requant, off - p.input_zero_point, p.zero_point - off, p.lo - off, p.hi - off, 0);
                Step::Requant { region: 0, mode, param, saturate: true }
            };
            Ok(Layer::Eltwise(Eltwise { dims: y_dims, operands: vec![0], steps: vec![step] }))
        }
        Op::Softmax { .. } => Err("exponentials need a float unit".into()),
        Op::ConvTranspose(_) => Err("transposed convolution is not lowered to the accelerator yet".into()),
        op => Err(format!("{} has no accelerator form", op.name())),
    }
}

/// That an activation is of 8-bit codes with one scale.
fn quantised(ty: &TensorType) -> Result<(), String> {
    if !matches!(ty.dtype, DType::I8 | DType::U8) {
        return Err(format!("{} activations; the accelerator computes 8-bit integers", ty.dtype));
    }
    quant(ty)?;
    Ok(())
}

/// The extents of an activation that has a place in memory.
fn extents(ty: &TensorType) -> Result<Dims, String> {
    let d = dims(&ty.shape).ok_or_else(|| format!("shape {} has no place in its layout", ty.shape))?;
    // Element indices and strides stay far inside 32 bits.
    if ty.shape.elements() > 1 << 28 {
        return Err(format!("{ty} is larger than its address space"));
    }
    Ok(d)
}

fn quant(ty: &TensorType) -> Result<&QuantParams, String> {
    match &ty.quant {
        Some(q) if q.is_per_tensor() => {
            let (lo, hi) = arith::code_range(ty.dtype);
            if (lo..=hi).contains(&q.zero_point()) { Ok(q) } else { Err("its zero point is outside the codes".into()) }
        }
        Some(_) => Err("its activations have several scales".into()),
        None => Err("its activations are not quantised".into()),
    }
}

fn requant_param(
    requant: &Requant,
    bias: i32,
    zero_point: i32,
    lo: i32,
    hi: i32,
    pre_shift: u32,
) -> (RequantMode, RequantParam) {
    let (mode, multiplier, shift) = match *requant {
        Requant::DoubleRounding { multiplier, shift } => (RequantMode::DoubleRounding, multiplier, shift),
        Requant::SingleRounding { multiplier, shift } => (RequantMode::SingleRounding, multiplier, shift as i32),
        Requant::HalfAway { multiplier, shift } => (RequantMode::HalfAway, multiplier, shift as i32),
        Requant::Float { scale } => (RequantMode::Float, scale.to_bits() as i32, 0),
    };
    // Zero points and bounds are signed codes here: `quant` has checked that they fit their dtype.
    let (zero_point, lo, hi) = (zero_point as i8, lo as i8, hi as i8);
    (mode, RequantParam { bias, multiplier, shift, zero_point, lo, hi, pre_shift: pre_shift as u8 })
}

fn weighted(graph: &Graph, node: &Node, act: Act, slide: Slide, groups: usize) -> Result<Layer, String> {
    let (x, w, y) = (graph.ty(node.inputs[0]), graph.ty(node.inputs[1]), graph.ty(node.outputs[0]));
    if y.dtype == DType::I32 {
        return sums(graph, node, act, slide, groups);
    }
    let (x_dims, y_dims) = (extents(x)?, extents(y)?);
    if x.dtype != y.dtype {
        return Err("its input and result have different dtypes".into());
    }
    let weights = graph.constant(node.inputs[1]).ok_or("its weights are not a constant")?;
    let wq = w.quant.as_ref().ok_or("its weights are not quantised")?;
    let codes = match (w.dtype, weights.to_i64()) {
        (DType::I8 | DType::U8, Some(codes)) => codes,
        _ => return Err(format!("{} weights; the accelerator multiplies 8-bit integers", w.dtype)),
    };
    if !(wq.is_per_tensor() || wq.axis == Some(0)) {
        return Err("its weights are quantised along an axis other than the output channels".into());
    }
    let (xq, yq) = (quant(x)?, quant(y)?);
    let outputs = y_dims.c;
    let taps = slide.kernel[0] * slide.kernel[1];
    let per_output = codes.len() / outputs.max(1);
    let inner = per_output / taps.max(1);
    if outputs * taps * inner != codes.len() || inner * groups != x_dims.c || outputs % groups.max(1) != 0 {
        return Err("its weights do not fit its activations".into());
    }
    let bias: Vec<i64> = match node.inputs.get(2) {
        None => vec![0; outputs],
        Some(&id) => {
            let bias = graph.constant(id).ok_or("its bias is not a constant")?;
            bias.to_i64().filter(|b| b.len() == outputs).ok_or("its bias is not one integer per output channel")?
        }
    };
    let requants = arith::weight_requants(&node.op, graph.arith, x, w, y).map_err(|e| e.to_string())?;
    let (lo, hi) = arith::activation_range(act, y.dtype, yq);
    let (in_off, out_off) = (offset(x.dtype), offset(y.dtype));
    let input_zero = xq.zero_point() - in_off;
    let mut mode = None;
    let mut params = Vec::with_capacity(outputs);
    for (o, requant) in requants.iter().enumerate() {
        let zero = i64::from(wq.at(o).1);
        let sum: i64 = codes[o * per_output..(o + 1) * per_output].iter().map(|c| c - zero).sum();
        // Accumulators wrap at 32 bits on every side, so the folded bias may wrap too.
        let folded = (bias[o] - i64::from(input_zero) * sum) as i32;
        let (m, param) = requant_param(requant, folded, yq.zero_point() - out_off, lo - out_off, hi - out_off, 0);
        if mode.is_some_and(|known| known != m) {
            return Err("its channels need different roundings".into());
        }
        mode = Some(m);
        params.push(param);
    }
    let mode = mode.ok_or("it has no output channel")?;
    // Where a code minus its zero point exceeds a byte, the rest goes into a second pass.
    let mut passes: Vec<Vec<i8>> = Vec::new();
    let wide: Vec<i32> = codes.iter().enumerate().map(|(i, &c)| c as i32 - wq.at(i / per_output).1).collect();
    let first: Vec<i8> = wide.iter().map(|&v| v.clamp(-128, 127) as i8).collect();
    let rest: Vec<i8> = wide.iter().map(|&v| (v - v.clamp(-128, 127)) as i8).collect();
    passes.push(first);
    if rest.iter().any(|&v| v != 0) {
        passes.push(rest);
    }
    let kind = kind(passes, outputs, taps, inner, groups);
    let (row_pitch, rows_in_dram) = (1, x_dims.h);
    let post = Post::Requant { mode, params };
    let (input, output) = (x_dims, y_dims);
    Ok(Layer::Window(Window { input, output, slide, row_pitch, rows_in_dram, pad_value: input_zero, kind, post }))
}

/// A product of plain bytes whose sums are the results.
fn sums(graph: &Graph, node: &Node, act: Act, slide: Slide, groups: usize) -> Result<Layer, String> {
    let types = [node.inputs[0], node.inputs[1], node.outputs[0]].map(|id| graph.ty(id));
    let [x, w, y] = types;
    if types.iter().any(|ty| ty.quant.is_some()) || [x.dtype, w.dtype] != [DType::I8; 2] || act != Act::None {
        return Err(
            "its results are 32-bit integers; the accelerator gives them of plain int8 without activation".into()
        );
    }
    if node.inputs.len() > 2 {
        return Err("its sums have a bias, which the accelerator adds to none that it stores whole".into());
    }
    let weights = graph.constant(node.inputs[1]).ok_or("its weights are not a constant")?;
    let weights = weights.as_slice::<i8>().map_err(|e| e.to_string())?.to_vec();
    let (input, output) = (extents(x)?, extents(y)?);
    let (outputs, taps) = (output.c, slide.kernel[0] * slide.kernel[1]);
    let inner = input.c / groups.max(1);
    if outputs * taps * inner != weights.len() || inner * groups != input.c || outputs % groups.max(1) != 0 {
        return Err("its weights do not fit its activations".into());
    }
    let largest = weights.chunks_exact((taps * inner).max(1)).map(largest_sum).max().unwrap_or(0);
    // In two's complement; what does not fit into four bytes wraps, as it does in ACC.
    let bytes = (1..SUM_BYTES).find(|bytes| largest < 1 << (8 * bytes - 1)).unwrap_or(SUM_BYTES);
    let kind = kind(vec![weights], outputs, taps, inner, groups);
    let (row_pitch, rows_in_dram, post) = (1, input.h, Post::Sums { bytes });
    Ok(Layer::Window(Window { input, output, slide, row_pitch, rows_in_dram, pad_value: 0, kind, post }))
}

/// The largest magnitude that a sum of products of these weights and any bytes has.
fn largest_sum(weights: &[i8]) -> u64 {
    weights.iter().map(|w| 128 * u64::from(w.unsigned_abs())).sum()
}

/// How weights `[o][tap][i]`, in passes whose sum they are, are multiplied: channel by channel where each has a group of its own.
fn kind(passes: Vec<Vec<i8>>, outputs: usize, taps: usize, inner: usize, groups: usize) -> WindowKind {
    if groups > 1 && inner == 1 && outputs == groups {
        return WindowKind::Lane { weights: passes };
    }
    let weights = match groups {
        0 | 1 => passes,
        _ => passes.iter().map(|p| ungrouped(p, outputs, taps, inner, groups)).collect(),
    };
    WindowKind::Gemm { weights }
}

/// Grouped weights as ungrouped ones, zero between the groups.
fn ungrouped(weights: &[i8], outputs: usize, taps: usize, inner: usize, groups: usize) -> Vec<i8> {
    let channels = inner * groups;
    let per_group = outputs / groups;
    let mut full = vec![0i8; outputs * taps * channels];
    for o in 0..outputs {
        let begin = o / per_group * inner;
        for t in 0..taps {
            let to = (o * taps + t) * channels + begin;
            let from = (o * taps + t) * inner;
            full[to..to + inner].copy_from_slice(&weights[from..from + inner]);
        }
    }
    full
}

fn pooled(pool: &Pool, x: &TensorType, y: &TensorType, input: Dims, output: Dims) -> Result<Layer, String> {
    let pair = |v: &[usize]| match *v {
        [a, b] => Ok([a, b]),
        [b] => Ok([1, b]),
        _ => Err(format!("{} spatial axes; the accelerator slides over one or two", v.len())),
    };
    let pads: Vec<(usize, usize)> = match pool.pad[..] {
        [a, b] => vec![a, b],
        [b] => vec![(0, 0), b],
        _ => return Err("padding of another rank".into()),
    };
    if x.quant != y.quant || x.dtype != y.dtype {
        return Err("its input and result have different quantisation".into());
    }
    let slide = Slide {
        kernel: pair(&pool.kernel)?,
        stride: pair(&pool.stride)?,
        dilation: pair(&pool.dilation)?,
        pad: [pads[0].0, pads[1].0],
    };
    let extents = [(input.h, output.h), (input.w, output.w)];
    // A window that reaches beyond the image sees padding there, whatever the attributes call it.
    let padded = (0..2).any(|a| {
        let last = (extents[a].1 - 1) * slide.stride[a] + (slide.kernel[a] - 1) * slide.dilation[a] + 1;
        slide.pad[a] > 0 || last > extents[a].0
    });
    let (lo, hi) = arith::activation_range(pool.act, y.dtype, quant(y)?);
    let off = offset(y.dtype);
    let (lo, hi) = (lo - off, hi - off);
    let (kind, pad_value, post) = match pool.kind {
        PoolKind::Max => {
            let clamp = (lo > -128 || hi < 127).then_some((lo, hi));
            (WindowKind::Max, -128, Post::Clamp(clamp))
        }
        PoolKind::Average => {
            if padded {
                return Err("its windows at the border average fewer elements".into());
            }
            let taps = slide.kernel[0] * slide.kernel[1];
            let count = u32::try_from(taps).map_err(|_| "its window is too large")?;
            // The sum of signed codes is the sum of unsigned ones less 128 for each tap; the bias restores it.
            let bias = i32::try_from(taps * off as usize).map_err(|_| "its window is too large")?;
            let requant = arith::average_requant(count);
            let (mode, param) = requant_param(&requant, bias, -off, lo, hi, 0);
            let weights = vec![vec![1i8; input.c * taps]];
            (WindowKind::Lane { weights }, 0, Post::Requant { mode, params: vec![param; output.c] })
        }
    };
    if slide.pad.iter().zip(&slide.kernel).zip(&slide.dilation).any(|((p, k), d)| *p > (k - 1) * d) {
        return Err("its padding reaches beyond its window".into());
    }
    let (row_pitch, rows_in_dram) = (1, input.h);
    Ok(Layer::Window(Window { input, output, slide, row_pitch, rows_in_dram, pad_value, kind, post }))
}
