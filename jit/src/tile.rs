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
    /// Halves of INP and WGT: 2, or 1 where a half would hold nothing.
    pub contexts: usize,
}

/// The taps of a load group: `rows` kernel rows of `columns` taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taps {
    pub rows: usize,
    pub columns: usize,
}

/// What a layer needs of the scratchpads.
pub(crate) struct Demand {
    pub input: Dims,
    pub output: Dims,
    pub slide: Slide,
    /// Passes over the weights; 0 for a maximum.
    pub passes: usize,
    pub lanes: bool,
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

/// Vectors of one of the two contexts of ACC, beside the parameters of `cells` cells.
pub(crate) fn acc_capacity(config: &HwConfig, geometry: &Geometry, cells: usize) -> usize {
    config.acc_depth().saturating_sub(param_vectors(cells * geometry.out_per_cell)) / 2
}

/// Taps of one lane-wise weight element: an element holds BLOCK_IN vectors, a tap needs one for each vector of a cell.
pub(crate) fn taps_per_element(geometry: &Geometry) -> usize {
    geometry.block_in / geometry.out_per_cell
}

/// The cheapest tile by an estimate of cycles: bus traffic plus a charge for each instruction.
pub(crate) fn choose(config: &HwConfig, demand: &Demand) -> Tile {
    let geometry = Geometry::new(config);
    let mut best: Option<(u64, Tile)> = None;
    for contexts in [2, 1] {
        search(config, &geometry, demand, contexts, &mut best);
        if best.is_some() {
            break;
        }
    }
    // The smallest tile fits every configuration that the validating constructor lets through.
    best.map_or(
        Tile { cells: 1, height: 1, width: 1, depth: 1, taps: Taps { rows: 1, columns: 1 }, contexts: 1 },
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

fn search(config: &HwConfig, g: &Geometry, demand: &Demand, contexts: usize, best: &mut Option<(u64, Tile)>) {
    let (out, input, slide) = (demand.output, demand.input, demand.slide);
    let [kh, kw] = slide.kernel;
    let out_cells = g.blocks(out.c);
    let in_cells = g.blocks(input.c);
    let inp_cap = inp_capacity(config, g, demand.lanes, contexts);
    let wgt_cap = wgt_capacity(config, demand.lanes, contexts);
    let mut tap_cuts = vec![Taps { rows: kh, columns: kw }];
    tap_cuts.extend(cuts(kh).into_iter().filter(|&r| r < kh).map(|rows| Taps { rows, columns: kw }));
    tap_cuts.extend(cuts(kw).into_iter().filter(|&c| c < kw).map(|columns| Taps { rows: 1, columns }));
    for cells in cuts(out_cells) {
        let vectors = cells * g.out_per_cell;
        if vectors > config.uop_depth() {
            continue;
        }
        let acc_cap = acc_capacity(config, g, cells);
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
                        if inp > inp_cap || wgt > wgt_cap {
                            continue;
                        }
                        let tile = Tile { cells, height, width, depth, taps, contexts };
                        let cost = estimate(config, g, demand, &tile, inp as u64, wgt as u64);
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
fn estimate(config: &HwConfig, g: &Geometry, demand: &Demand, tile: &Tile, inp: u64, wgt: u64) -> u64 {
    const LOAD_CYCLES: u64 = 40;
    const INSN_CYCLES: u64 = 6;
    let bus = config.bus_bytes() as u64;
    let [kh, kw] = demand.slide.kernel;
    let parts = |n: usize, size: usize| n.div_ceil(size) as u64;
    let chunks = parts(g.blocks(demand.output.c), tile.cells);
    let spatial =
        parts(demand.output.h, tile.height) * parts(demand.output.w, tile.width) * g.groups(demand.output.n) as u64;
    let tap_groups = parts(kh, tile.taps.rows) * parts(kw, tile.taps.columns);
    let depth_groups = if demand.lanes { 1 } else { parts(g.blocks(demand.input.c), tile.depth) };
    let groups = tap_groups * depth_groups;
    let tiles = chunks * spatial;
    let inp_bytes = tiles * groups * inp * config.inp_elem_bytes() as u64;
    let wgt_loads = if groups == 1 { chunks } else { tiles * groups };
    let wgt_bytes = wgt_loads * wgt * config.wgt_elem_bytes() as u64;
    let count = (tile.taps.rows * tile.taps.columns * demand.passes.max(1)) as u64;
    let insns_per_group = if demand.lanes { count } else { count * (tile.depth * g.inp_per_cell) as u64 };
    let loads = tiles * groups * (tile.depth as u64) + wgt_loads;
    let vectors = (tile.cells * g.out_per_cell) as u64;
    (inp_bytes + wgt_bytes) / bus
        + loads * LOAD_CYCLES
        + tiles * (groups * insns_per_group + vectors + tile.cells as u64) * INSN_CYCLES
        + tiles * vectors * (tile.height * tile.width) as u64
}
