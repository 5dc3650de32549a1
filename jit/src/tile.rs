//! Tile sizes that fit the scratchpads.
//!
//! A window layer is cut along its output channels, its output pixels and, where the scratchpads ask for it, its input
//! channels and its taps. Every configuration has a smallest tile that fits: one cell by one pixel by one tap.

use crate::layout::{Dims, Geometry};
use crate::lower::Slide;
use tandem_isa::HwConfig;

/// How a layer is cut. Channels count in cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    /// Output cells; for lanes also the input cells.
    pub cells: usize,
    /// Output rows.
    pub height: usize,
    /// Output columns.
    pub width: usize,
    /// Input cells of a load group.
    pub depth: usize,
    /// Taps of a load group: all of them, some whole rows of the kernel, or some taps of one row.
    pub taps: Taps,
    /// Parts of INP: 2, or 1 where a half would hold nothing or nothing runs beside it.
    pub contexts: usize,
    /// Parts of WGT: as many, or 1 where the weights of the layer stay.
    pub wgt_contexts: usize,
    /// Whether ACC holds the parameters of all output cells, not of one chunk.
    pub all_params: bool,
}

/// The taps of a load group: `rows` kernel rows of `columns` taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taps {
    pub rows: usize,
    pub columns: usize,
}

/// Parts into which a schedule that fills one while another is computed divides the scratchpads.
pub(crate) fn contexts(config: &HwConfig) -> usize {
    // Where instructions run one after another, a second part would only make tiles smaller.
    if config.insn_queue_depth().is_some() { 2 } else { 1 }
}

/// What a layer needs of the scratchpads.
pub(crate) struct Demand {
    pub input: Dims,
    pub output: Dims,
    pub slide: Slide,
    /// Passes over the weights; 0 for a maximum.
    pub passes: usize,
    pub lanes: bool,
    /// Parameter sets of REQUANT: one for each output vector, or a single one for all of them.
    pub params: Params,
}

/// How many parameters a layer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Params {
    None,
    Shared,
    PerVector,
}

/// Rows or columns of input that `extent` outputs and `taps` taps touch.
pub(crate) fn reach(extent: usize, stride: usize, taps: usize, dilation: usize) -> usize {
    (extent - 1) * stride + (taps - 1) * dilation + 1
}

/// Elements of one context of INP.
pub(crate) fn inp_capacity(config: &HwConfig, geometry: &Geometry, lanes: bool, contexts: usize) -> usize {
    let mut elements = config.inp_depth();
    if lanes {
        // A micro-op reaches only so many vectors of BLOCK_OUT lanes.
        let vectors = 1usize << config.log_src_depth();
        elements = elements.min(vectors / geometry.out_per_cell * geometry.inp_per_cell);
    }
    elements / contexts / geometry.inp_per_cell * geometry.inp_per_cell
}

/// Elements of one context of WGT.
pub(crate) fn wgt_capacity(config: &HwConfig, lanes: bool, contexts: usize) -> usize {
    // LANE indexes vectors, of which an element holds BLOCK_IN, with an index made for elements.
    let elements = if lanes { (config.wgt_depth() / config.block_in()).max(1) } else { config.wgt_depth() };
    elements / contexts
}

/// ACC vectors that hold the parameters of `vectors` output vectors.
pub(crate) fn param_vectors(vectors: usize) -> usize {
    4 * vectors
}

/// Output vectors whose parameters are in ACC at once.
pub(crate) fn held_params(g: &Geometry, demand: &Demand, cells: usize, all_params: bool) -> usize {
    match demand.params {
        Params::None => 0,
        Params::Shared => 1,
        Params::PerVector if all_params => g.blocks(demand.output.c) * g.out_per_cell,
        Params::PerVector => cells * g.out_per_cell,
    }
}

/// Vectors of one context of ACC, beside the parameters of `held` vectors.
pub(crate) fn acc_capacity(config: &HwConfig, held: usize) -> usize {
    config.acc_depth().saturating_sub(param_vectors(held)) / contexts(config)
}

/// Taps of one lane-wise weight element: an element holds BLOCK_IN vectors, a tap needs one for each vector of a cell.
pub(crate) fn taps_per_element(geometry: &Geometry) -> usize {
    geometry.block_in / geometry.out_per_cell
}

/// The cheapest tile by an estimate of cycles: bus traffic plus a charge for each instruction.
pub(crate) fn choose(config: &HwConfig, demand: &Demand) -> Tile {
    let geometry = Geometry::new(config);
    let mut best: Option<(u64, Tile)> = None;
    for contexts in (1..=contexts(config)).rev() {
        for all_params in [true, false] {
            search(config, &geometry, demand, contexts, all_params, &mut best);
        }
        if best.is_some() {
            break;
        }
    }
    // The smallest tile fits every configuration that the validating constructor lets through.
    best.map_or(
        Tile {
            cells: 1,
            height: 1,
            width: 1,
            depth: 1,
            taps: Taps { rows: 1, columns: 1 },
            contexts: 1,
            wgt_contexts: 1,
            all_params: false,
        },
        |(_, tile)| tile,
    )
}

/// Extents that cut `n` into 1, 2, 3, .. nearly equal parts.
fn cuts(n: usize) -> Vec<usize> {
    let parts = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 4096];
    let mut cuts: Vec<usize> = parts.iter().filter(|&&p| p <= n).map(|p| n.div_ceil(*p)).collect();
    cuts.push(1);
    cuts.dedup();
    cuts
}

fn search(
    config: &HwConfig,
    g: &Geometry,
    demand: &Demand,
    contexts: usize,
    all_params: bool,
    best: &mut Option<(u64, Tile)>,
) {
    let (out, input, slide) = (demand.output, demand.input, demand.slide);
    let [kh, kw] = slide.kernel;
    let out_cells = g.blocks(out.c);
    let in_cells = g.blocks(input.c);
    let inp_cap = inp_capacity(config, g, demand.lanes, contexts);
    let mut tap_cuts = vec![Taps { rows: kh, columns: kw }];
    tap_cuts.extend(cuts(kh).into_iter().filter(|&r| r < kh).map(|rows| Taps { rows, columns: kw }));
    tap_cuts.extend(cuts(kw).into_iter().filter(|&c| c < kw).map(|columns| Taps { rows: 1, columns }));
    for cells in cuts(out_cells) {
        let vectors = cells * g.out_per_cell;
        if vectors > config.uop_depth() {
            continue;
        }
        let acc_cap = acc_capacity(config, held_params(g, demand, cells, all_params));
        for height in cuts(out.h) {
            for width in cuts(out.w) {
                if vectors * height * width > acc_cap {
                    continue;
                }
                for &taps in &tap_cuts {
                    let whole = taps == Taps { rows: kh, columns: kw };
                    let rows = reach(height, slide.stride[0], taps.rows, slide.dilation[0]);
                    let columns = reach(width, slide.stride[1], taps.columns, slide.dilation[1]);
                    let step = |unit: usize| {
                        (height == 1 || slide.stride[0] * columns * unit < config.inp_depth())
                            && (width == 1 || slide.stride[1] * unit < config.inp_depth())
                    };
                    if !step(if demand.lanes { g.out_per_cell } else { g.inp_per_cell }) {
                        continue;
                    }
                    let depths = if demand.lanes {
                        vec![cells]
                    } else if whole {
                        cuts(in_cells)
                    } else {
                        vec![1]
                    };
                    for depth in depths {
                        let inp = depth * rows * columns * g.inp_per_cell;
                        let count = taps.rows * taps.columns;
                        let wgt = if demand.lanes {
                            // Some taps out of many may begin inside an element.
                            let straddle = usize::from(!whole && count > 1);
                            cells * ((count * demand.passes).div_ceil(taps_per_element(g)) + straddle)
                        } else {
                            vectors * depth * g.inp_per_cell * demand.passes * count
                        };
                        // Weights that are loaded once share WGT with none that come later.
                        let stay = whole && (demand.lanes || depth >= in_cells) && cells >= out_cells;
                        let wgt_contexts = if stay { 1 } else { contexts };
                        if inp > inp_cap || wgt > wgt_capacity(config, demand.lanes, wgt_contexts) {
                            continue;
                        }
                        let tile = Tile { cells, height, width, depth, taps, contexts, wgt_contexts, all_params };
                        let cost = estimate(config, g, demand, &tile, wgt as u64);
                        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                            *best = Some((cost, tile));
                        }
                    }
                }
            }
        }
    }
}

/// A rough count of cycles, to compare tiles of one layer.
fn estimate(config: &HwConfig, g: &Geometry, demand: &Demand, tile: &Tile, wgt: u64) -> u64 {
    /// Of a transfer beside its data, and of an instruction of GEMM or LANE or of the tensor ALU beside its loops.
    const TRANSFER: u64 = 40;
    const GEMM: u64 = 8;
    const ALU: u64 = 16;
    /// What does not overlap where it could.
    const SLACK: u64 = 8;
    let (out, image, slide) = (demand.output, demand.input, &demand.slide);
    let [kh, kw] = slide.kernel;
    let parts = |n: usize, size: usize| n.div_ceil(size) as u64;
    let chunks = parts(g.blocks(out.c), tile.cells);
    let spatial = parts(out.h, tile.height) * parts(out.w, tile.width) * g.groups(out.n) as u64;
    let tap_groups = parts(kh, tile.taps.rows) * parts(kw, tile.taps.columns);
    let depth_groups = if demand.lanes { 1 } else { parts(g.blocks(image.c), tile.depth) };
    let groups = tap_groups * depth_groups;
    let tiles = chunks * spatial;
    let bus = config.bus_bytes();
    // A transfer of some blocks, each of rows of pixels: how many instructions, and how many words of the bus.
    let transfer = |blocks: usize, rows: usize, columns: usize, contiguous: bool, pixel: usize| {
        let (pieces, bytes) = if contiguous { (1, rows * columns * pixel) } else { (rows, columns * pixel) };
        let instructions = if contiguous { 1 } else { blocks };
        (instructions as u64, (blocks * pieces * bytes.div_ceil(bus)) as u64)
    };
    let rows = reach(tile.height, slide.stride[0], tile.taps.rows, slide.dilation[0]);
    let columns = reach(tile.width, slide.stride[1], tile.taps.columns, slide.dilation[1]);
    let padded = slide.pad != [0, 0] || rows > image.h || columns > image.w;
    let pixel = g.batch * g.cell;
    let (loads, load_words) = transfer(tile.depth, rows, columns, !padded && (columns == image.w || rows == 1), pixel);
    let whole_rows = tile.width == out.w || tile.height == 1;
    let (stores, store_words) = transfer(tile.cells, tile.height, tile.width, whole_rows, pixel);
    let stay = tap_groups * depth_groups == 1;
    let wgt_loads = if stay { chunks } else { tiles * groups };
    let wgt_words = wgt * (config.wgt_elem_bytes().div_ceil(bus)) as u64;
    // The longest two axes are loops, and micro-ops enumerate the others.
    let pixels = tile.height * tile.width;
    let one_axis = tile.height == 1 || tile.width == 1 || slide.stride[0] * columns == slide.stride[1] * tile.width;
    let mut axes = [
        if one_axis { pixels } else { tile.height },
        if one_axis { 1 } else { tile.width },
        if demand.lanes { 1 } else { tile.depth },
        if demand.lanes { 1 } else { g.inp_per_cell },
        demand.passes.max(1),
        tile.taps.rows,
        tile.taps.columns,
        tile.cells,
        g.out_per_cell,
    ];
    axes.sort_unstable();
    let uops: usize = axes[..axes.len() - 2].iter().product();
    let kernels = uops.div_ceil(config.uop_depth()) as u64;
    let sweeps = kernels + u64::from(demand.lanes);
    // Each context has micro-ops of its own, which are loaded again where they do not stay.
    let variants = (tile.contexts * contexts(config)).min((tiles * groups) as usize);
    let kernel_loads = if uops * variants <= config.uop_depth() { variants as u64 } else { tiles * groups * kernels };
    let kernel_words = (uops * 4).div_ceil(bus) as u64;
    let vectors = tile.cells * g.out_per_cell;
    let reset = if demand.lanes { 0 } else { GEMM + (vectors * pixels) as u64 };
    let param_loads = match demand.params {
        Params::None => 0,
        Params::PerVector if !tile.all_params => chunks,
        Params::Shared | Params::PerVector => 1,
    };
    let requant = if demand.params == Params::None { 0 } else { vectors as u64 * (ALU + pixels as u64) };
    let sums = kh * kw * demand.passes.max(1) * if demand.lanes { 1 } else { g.blocks(image.c) * g.inp_per_cell };
    let work = g.groups(out.n) * out.h * out.w * g.blocks(out.c) * g.out_per_cell * sums;
    let load = loads * TRANSFER + load_words;
    let store = stores * TRANSFER + store_words;
    let queues = [
        tiles * groups * load + wgt_loads * (TRANSFER + wgt_words),
        work as u64
            + tiles * (groups * sweeps * GEMM + reset + requant)
            + kernel_loads * (TRANSFER + kernel_words)
            + param_loads * TRANSFER,
        tiles * store,
    ];
    let one_after_another = queues.iter().sum::<u64>();
    match config.insn_queue_depth() {
        None => one_after_another,
        // The queues overlap, but not the first load, the last store and what comes before it.
        Some(_) => {
            queues.into_iter().max().unwrap_or(0) + load + wgt_words + requant + store + one_after_another / SLACK
        }
    }
}
