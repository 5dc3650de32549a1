//! Tile sizes that fit the scratchpads.
//!
//! A window layer is cut along its output channels, its output pixels and, where the scratchpads ask for it, its input
//! channels and its taps. Every configuration has a smallest tile that fits: one cell by one pixel by one tap.

use crate::layout::{Dims, Geometry};
use crate::lower::Slide;
use serde::{Deserialize, Serialize};
use tandem_isa::{HwConfig, MemoryType};

/// How a layer is cut, and in which order its parts are computed. Channels count in cells of `max(BLOCK_IN, BLOCK_OUT)`.
///
/// # Units
/// Cells, pixels and taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tile {
    /// Output cells; for lanes also the input cells.
    pub cells: usize,
    /// Output rows.
    pub height: usize,
    /// Output columns.
    pub width: usize,
    /// Input cells of a load group; for lanes as many as `cells`.
    pub depth: usize,
    /// Kernel rows of a load group.
    pub tap_rows: usize,
    /// Kernel columns of a load group: all of them, or some of a single row.
    pub tap_columns: usize,
    /// Parts of INP, WGT and ACC: 2, or 1 where a half would hold nothing or nothing runs beside it.
    pub contexts: usize,
    /// Which of its parts the layer visits first.
    pub order: Order,
    /// Whether ACC holds the parameters of all output cells, not of one chunk.
    pub all_params: bool,
}

/// The order of the output tiles of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// All pixels of some output cells, then the next cells: weights that cover the reduction are loaded once.
    Weights,
    /// All output cells of some pixels, then the next pixels: inputs that cover the reduction are loaded once.
    Inputs,
}

impl Tile {
    /// The names of the choices that make a tile, in the order of [`Tile::knobs`].
    pub const KNOBS: [&str; 9] =
        ["cells", "height", "width", "depth", "tap_rows", "tap_columns", "contexts", "order", "all_params"];

    /// The choices that make a tile, as numbers: what a search changes and a cost model learns from.
    pub fn knobs(&self) -> [usize; Tile::KNOBS.len()] {
        let Tile { cells, height, width, depth, tap_rows, tap_columns, contexts, order, all_params } = *self;
        [cells, height, width, depth, tap_rows, tap_columns, contexts, order as usize, usize::from(all_params)]
    }
}

/// Parts into which a schedule that fills one while another is computed divides the scratchpads.
pub(crate) fn contexts(config: &HwConfig) -> usize {
    // Where instructions run one after another, a second part would only make tiles smaller.
    if config.insn_queue_depth().is_some() { 2 } else { 1 }
}

/// What a layer needs of the scratchpads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Demand {
    pub input: Dims,
    pub output: Dims,
    pub slide: Slide,
    /// Passes over the weights; 0 for a maximum.
    pub passes: usize,
    pub lanes: bool,
    /// Whether all weights are one number, so that an element of WGT serves every tap of every cell.
    pub uniform: bool,
    /// Whether they lie in DRAM with 4 bits each.
    pub packed: bool,
    /// Parameter sets of REQUANT: one for each output vector, a single one for all of them, or none.
    pub params: Params,
}

impl Demand {
    /// What loads of weights move.
    pub fn weights(&self) -> MemoryType {
        if self.packed { MemoryType::Wgt4 } else { MemoryType::Wgt }
    }
}

/// How many parameters a layer has, and what its results are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Params {
    None,
    Shared,
    PerVector,
    /// None: results are whole sums, of which so many bytes are stored, one by one.
    Sums {
        bytes: usize,
    },
}

impl Params {
    /// Bytes of a result, for each of which an accumulator is stored.
    pub fn result_bytes(self) -> usize {
        if let Params::Sums { bytes } = self { bytes } else { 1 }
    }
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
        Params::None | Params::Sums { .. } => 0,
        Params::Shared => 1,
        Params::PerVector if all_params => g.blocks(demand.output.c) * g.out_per_cell,
        Params::PerVector => cells * g.out_per_cell,
    }
}

/// Vectors of one context of ACC, beside the parameters of `held` vectors.
pub(crate) fn acc_capacity(config: &HwConfig, held: usize, contexts: usize) -> usize {
    config.acc_depth().saturating_sub(param_vectors(held)) / contexts
}

/// Taps of one lane-wise weight element: an element holds BLOCK_IN vectors, a tap needs one for each vector of a cell.
pub(crate) fn taps_per_element(geometry: &Geometry) -> usize {
    geometry.block_in / geometry.out_per_cell
}

/// How many parts a tile makes of a layer, and how often their operands are loaded.
pub(crate) struct Parts {
    /// Pieces of the output cells.
    pub chunks: usize,
    /// Pieces of the pixels.
    pub pictures: usize,
    /// Load groups of an output tile.
    pub groups: usize,
    /// Windows of the input that are loaded.
    pub inp_loads: usize,
    /// Blocks of weights that are loaded.
    pub wgt_loads: usize,
}

impl Parts {
    pub fn new(g: &Geometry, demand: &Demand, tile: &Tile) -> Parts {
        let (out, [kh, kw]) = (demand.output, demand.slide.kernel);
        let chunks = g.blocks(out.c).div_ceil(tile.cells);
        let pictures = g.groups(out.n) * out.h.div_ceil(tile.height) * out.w.div_ceil(tile.width);
        let depths = if demand.lanes { 1 } else { g.blocks(demand.input.c).div_ceil(tile.depth) };
        let groups = kh.div_ceil(tile.tap_rows) * kw.div_ceil(tile.tap_columns) * depths;
        let all = chunks * pictures * groups;
        // What covers the reduction stays as long as nothing else is asked for.
        let inp_loads = if groups > 1 || demand.lanes {
            all
        } else if pictures == 1 {
            1
        } else {
            if tile.order == Order::Inputs { pictures } else { all }
        };
        let wgt_loads = if demand.passes == 0 {
            0
        } else if demand.uniform {
            1
        } else if groups > 1 {
            all
        } else if chunks == 1 {
            1
        } else {
            if tile.order == Order::Weights { chunks } else { all }
        };
        Parts { chunks, pictures, groups, inp_loads, wgt_loads }
    }

    /// Parts of INP.
    pub fn inp_contexts(&self, tile: &Tile) -> usize {
        tile.contexts.min(self.inp_loads)
    }

    /// Parts of WGT.
    pub fn wgt_contexts(&self, tile: &Tile) -> usize {
        tile.contexts.min(self.wgt_loads.max(1))
    }

    /// Parts of ACC beside the parameters.
    pub fn acc_contexts(&self, tile: &Tile) -> usize {
        tile.contexts.min(self.chunks * self.pictures)
    }
}

/// INP and WGT elements of a load group.
pub(crate) fn group_elements(g: &Geometry, demand: &Demand, tile: &Tile) -> (usize, usize) {
    let slide = &demand.slide;
    let count = tile.tap_rows * tile.tap_columns;
    let rows = reach(tile.height, slide.stride[0], tile.tap_rows, slide.dilation[0]);
    let columns = reach(tile.width, slide.stride[1], tile.tap_columns, slide.dilation[1]);
    let depth = if demand.lanes { tile.cells } else { tile.depth };
    let wgt = if demand.uniform {
        1
    } else if demand.lanes {
        // Some taps out of many may begin inside an element.
        let straddle = usize::from([tile.tap_rows, tile.tap_columns] != slide.kernel && count > 1);
        let vectors = (tile.tap_rows - 1) * lane_row(g, demand).pitch + tile.tap_columns * demand.passes;
        tile.cells * (vectors.div_ceil(taps_per_element(g)) + straddle)
    } else {
        tile.cells * g.out_per_cell * depth * g.inp_per_cell * demand.passes * count
    };
    (depth * rows * columns * g.inp_per_cell, wgt)
}

/// Whether a tile cuts the layer into parts that the scratchpads hold and the instructions can address.
pub(crate) fn fits(config: &HwConfig, demand: &Demand, tile: &Tile) -> bool {
    let g = Geometry::new(config);
    let (out, slide, [kh, kw]) = (demand.output, demand.slide, demand.slide.kernel);
    let within = |n: usize, most: usize| (1..=most).contains(&n);
    let in_cells = if demand.lanes { tile.cells } else { g.blocks(demand.input.c) };
    let sound = within(tile.cells, g.blocks(out.c))
        && within(tile.height, out.h)
        && within(tile.width, out.w)
        && within(tile.depth, in_cells)
        && within(tile.tap_rows, kh)
        && within(tile.tap_columns, kw)
        && within(tile.contexts, contexts(config))
        && (!demand.lanes || tile.depth == tile.cells)
        && (tile.tap_columns == kw || tile.tap_rows == 1);
    if !sound {
        return false;
    }
    let vectors = tile.cells * g.out_per_cell;
    let parts = Parts::new(&g, demand, tile);
    let columns = reach(tile.width, slide.stride[1], tile.tap_columns, slide.dilation[1]);
    let unit = if demand.lanes { g.out_per_cell } else { g.inp_per_cell };
    let steps = (tile.height == 1 || slide.stride[0] * columns * unit < config.inp_depth())
        && (tile.width == 1 || slide.stride[1] * unit < config.inp_depth());
    let held = held_params(&g, demand, tile.cells, tile.all_params);
    let (inp, wgt) = group_elements(&g, demand, tile);
    steps
        && vectors <= config.uop_depth()
        && vectors * tile.height * tile.width * demand.params.result_bytes()
            <= acc_capacity(config, held, parts.acc_contexts(tile))
        && inp <= inp_capacity(config, &g, demand.lanes, parts.inp_contexts(tile))
        && wgt <= wgt_capacity(config, demand.lanes, parts.wgt_contexts(tile))
}

/// A row of taps of a lane-wise layer.
pub(crate) struct LaneRow {
    /// Weight vectors from one row to the next.
    pub pitch: usize,
    /// Taps that LANE multiplies at once.
    pub at_once: usize,
}

/// How a lane-wise layer has its rows of taps: at once where the machine can and the row is short enough. Then a row lies
/// within a weight element.
pub(crate) fn lane_row(g: &Geometry, demand: &Demand) -> LaneRow {
    let columns = demand.slide.kernel[1];
    let neighbours = demand.passes == 1 && demand.slide.dilation[1] == 1 && g.out_per_cell == 1;
    if neighbours && (2..=g.lane_taps).contains(&columns) {
        LaneRow { pitch: columns.next_power_of_two(), at_once: columns }
    } else {
        LaneRow { pitch: columns * demand.passes, at_once: 1 }
    }
}

/// Micro-ops of a sum: products of an output vector.
pub(crate) fn products(g: &Geometry, demand: &Demand) -> usize {
    let [kh, kw] = demand.slide.kernel;
    let sums = if demand.lanes {
        kh * kw.div_ceil(lane_row(g, demand).at_once)
    } else {
        kh * kw * g.blocks(demand.input.c) * g.inp_per_cell
    };
    sums * demand.passes.max(1)
}

/// Cycles of the array for an output tile.
pub(crate) fn cycles_of_tile(g: &Geometry, demand: &Demand, tile: &Tile) -> usize {
    tile.cells * g.out_per_cell * tile.height * tile.width * products(g, demand)
}

/// Whether sums are requantised as they end: where the machine can, a load group holds all that is summed, and the micro-ops of
/// a tile, each vector's own, leave room for those of its neighbours. The sum of a lane-wise layer's only pixel is a loop that
/// needs no list of micro-ops, unless it is fused.
pub(crate) fn fuses(config: &HwConfig, g: &Geometry, demand: &Demand, tile: &Tile, groups: usize) -> bool {
    const SHARE: usize = 4;
    config.has_fused_requant()
        && matches!(demand.params, Params::Shared | Params::PerVector)
        && demand.passes > 0
        && groups == 1
        && !(demand.lanes && tile.height * tile.width == 1)
        && tile.cells * g.out_per_cell * products(g, demand) * SHARE <= config.uop_depth()
}

/// The cheapest tile by an estimate of cycles: bus traffic plus a charge for each instruction.
pub(crate) fn choose(config: &HwConfig, demand: &Demand, contexts: usize) -> Tile {
    // The smallest tile fits every configuration that the validating constructor lets through.
    let mut best = (
        u64::MAX,
        Tile {
            cells: 1,
            height: 1,
            width: 1,
            depth: 1,
            tap_rows: 1,
            tap_columns: 1,
            contexts: 1,
            order: Order::Weights,
            all_params: false,
        },
    );
    let g = Geometry::new(config);
    for contexts in (1..=contexts).rev() {
        each(config, demand, contexts, |tile| {
            best = best.min((estimate(config, &g, demand, &tile), tile));
        });
        if best.0 < u64::MAX {
            break;
        }
    }
    best.1
}

/// Every tile of a layer that fits, with extents that cut it into nearly equal parts.
pub(crate) fn space(config: &HwConfig, demand: &Demand) -> Vec<Tile> {
    let mut tiles = Vec::new();
    for contexts in 1..=contexts(config) {
        each(config, demand, contexts, |tile| tiles.push(tile));
    }
    tiles
}

/// Extents that cut `n` into 1, 2, 3, .. nearly equal parts.
fn cuts(n: usize) -> Vec<usize> {
    let parts = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 4096];
    let mut cuts: Vec<usize> = parts.iter().filter(|&&p| p <= n).map(|p| n.div_ceil(*p)).collect();
    cuts.push(1);
    cuts.dedup();
    cuts
}

/// Calls back with the tiles of so many contexts that fit.
fn each(config: &HwConfig, demand: &Demand, contexts: usize, mut found: impl FnMut(Tile)) {
    let g = Geometry::new(config);
    let (out, [kh, kw]) = (demand.output, demand.slide.kernel);
    let mut taps = vec![(kh, kw)];
    taps.extend(cuts(kh).into_iter().filter(|&rows| rows < kh).map(|rows| (rows, kw)));
    taps.extend(cuts(kw).into_iter().filter(|&columns| columns < kw).map(|columns| (1, columns)));
    let params = if demand.params == Params::PerVector { &[true, false][..] } else { &[true] };
    for cells in cuts(g.blocks(out.c)) {
        let depths = if demand.lanes { vec![cells] } else { cuts(g.blocks(demand.input.c)) };
        // What does not differ where there is one chunk.
        let params = if cells == g.blocks(out.c) { &params[..1] } else { params };
        let orders = if cells == g.blocks(out.c) { &[Order::Weights][..] } else { &[Order::Weights, Order::Inputs] };
        for height in cuts(out.h) {
            for width in cuts(out.w) {
                for &(tap_rows, tap_columns) in &taps {
                    for &depth in &depths {
                        for &order in orders {
                            for &all_params in params {
                                let tile = Tile {
                                    cells,
                                    height,
                                    width,
                                    depth,
                                    tap_rows,
                                    tap_columns,
                                    contexts,
                                    order,
                                    all_params,
                                };
                                if fits(config, demand, &tile) {
                                    found(tile);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A rough count of cycles, to compare tiles of one layer.
pub(crate) fn estimate(config: &HwConfig, g: &Geometry, demand: &Demand, tile: &Tile) -> u64 {
    /// Of a transfer beside its data, and of an instruction of GEMM or LANE or of the tensor ALU beside its loops.
    const TRANSFER: u64 = 40;
    const GEMM: u64 = 8;
    const ALU: u64 = 16;
    /// Of a fused vector beside its sums: REQUANT, and the parameters that are read.
    const FUSED: u64 = 18;
    /// What does not overlap where it could.
    const SLACK: u64 = 8;
    let (out, image, slide) = (demand.output, demand.input, &demand.slide);
    let parts = Parts::new(g, demand, tile);
    let (chunks, groups) = (parts.chunks as u64, parts.groups as u64);
    let tiles = chunks * parts.pictures as u64;
    let bus = config.bus_bytes();
    // A transfer of some blocks, each of rows of pixels: how many instructions, and how many words of the bus.
    let transfer = |blocks: usize, rows: usize, columns: usize, contiguous: bool, pixel: usize| {
        let (pieces, bytes) = if contiguous { (1, rows * columns * pixel) } else { (rows, columns * pixel) };
        let instructions = if contiguous { 1 } else { blocks };
        (instructions as u64, (blocks * pieces * bytes.div_ceil(bus)) as u64)
    };
    let rows = reach(tile.height, slide.stride[0], tile.tap_rows, slide.dilation[0]);
    let columns = reach(tile.width, slide.stride[1], tile.tap_columns, slide.dilation[1]);
    let padded = slide.pad != [0, 0] || rows > image.h || columns > image.w;
    let pixel = g.batch * g.cell;
    let (loads, load_words) = transfer(tile.depth, rows, columns, !padded && (columns == image.w || rows == 1), pixel);
    let whole_rows = tile.width == out.w || tile.height == 1;
    let (stores, store_words) = transfer(tile.cells, tile.height, tile.width, whole_rows, pixel);
    let bytes = demand.params.result_bytes() as u64;
    let (stores, store_words) = (bytes * stores, bytes * store_words);
    let wgt = group_elements(g, demand, tile).1 as u64;
    let wgt_words = wgt * (config.elem_bytes(demand.weights())).div_ceil(bus) as u64;
    // The longest two axes are loops, and micro-ops enumerate the others.
    let pixels = tile.height * tile.width;
    let one_axis = tile.height == 1 || tile.width == 1 || slide.stride[0] * columns == slide.stride[1] * tile.width;
    let mut axes = [
        if one_axis { pixels } else { tile.height },
        if one_axis { 1 } else { tile.width },
        if demand.lanes { 1 } else { tile.depth },
        if demand.lanes { 1 } else { g.inp_per_cell },
        demand.passes.max(1),
        tile.tap_rows,
        tile.tap_columns,
        tile.cells,
        g.out_per_cell,
    ];
    axes.sort_unstable();
    let uops: usize = axes[..axes.len() - 2].iter().product();
    let kernels = uops.div_ceil(config.uop_depth()) as u64;
    let sweeps = kernels + u64::from(demand.lanes);
    // Each context has micro-ops of its own, which are loaded again where they do not stay.
    let variants = (tile.contexts * tile.contexts).min((tiles * groups) as usize);
    let kernel_loads = if uops * variants <= config.uop_depth() { variants as u64 } else { tiles * groups * kernels };
    let kernel_words = (uops * 4).div_ceil(bus) as u64;
    let vectors = tile.cells * g.out_per_cell;
    let reset = if demand.lanes { 0 } else { GEMM + (vectors * pixels) as u64 };
    let param_loads = match demand.params {
        Params::None | Params::Sums { .. } => 0,
        Params::PerVector if !tile.all_params => chunks,
        Params::Shared | Params::PerVector => 1,
    };
    let fused = fuses(config, g, demand, tile, parts.groups);
    let reset = if fused { 0 } else { reset };
    let requant = match demand.params {
        Params::None => 0,
        // Each byte but the first is a copy that is shifted.
        Params::Sums { .. } => 2 * (bytes - 1) * (ALU + (vectors * pixels) as u64),
        _ if fused => vectors as u64 * FUSED,
        _ => vectors as u64 * (ALU + pixels as u64),
    };
    let work = g.groups(out.n) * out.h * out.w * g.blocks(out.c) * g.out_per_cell * products(g, demand);
    let load = loads * TRANSFER + load_words;
    let store = stores * TRANSFER + store_words;
    let queues = [
        parts.inp_loads as u64 * load + parts.wgt_loads as u64 * (TRANSFER + wgt_words),
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
