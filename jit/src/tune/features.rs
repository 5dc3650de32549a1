//! What a cost model sees of a schedule: the bytes that its loops touch and how often they are used again.
//!
//! A schedule is a nest of loops over parts of the output channels, rows, columns, input channels and taps. At each loop an
//! operand has the bytes that one run of the loop touches, and its reuse: how often it reads each of them. Own features are the
//! knobs and these numbers loop by loop. Curves are the same numbers without the loops: the largest reuse within so many bytes
//! and how often a scope of that size is entered. They mean the same for every layer, so what is learned from one holds for
//! others. All sizes are logarithms to base 2.
//!
//! # Source
//! Chen et al., Learning to Optimize Tensor Programs, NeurIPS 2018: context features and their relation curves.

use super::Workload;
use crate::layout::Geometry;
use crate::tile::{Demand, Order, Parts, Tile, acc_capacity, held_params, inp_capacity, reach, wgt_capacity};
use tandem_isa::HwConfig;

/// Where curves are sampled, as logarithms of bytes.
const SIZES: [u32; 6] = [8, 10, 12, 14, 16, 18];
/// Inputs, weights and results.
const OPERANDS: usize = 3;

/// What a cost model sees of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// For models of the same layer.
    pub own: Vec<f32>,
    /// For models of any layer of the same machine.
    pub curve: Vec<f32>,
}

/// The axes that loops run over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Axis {
    Cells,
    Rows,
    Columns,
    Depth,
    TapRows,
    TapColumns,
}

const AXES: [Axis; 6] = [Axis::Cells, Axis::Rows, Axis::Columns, Axis::Depth, Axis::TapRows, Axis::TapColumns];

/// A loop: what one run of it, with everything inside, does.
struct Scope {
    iterations: f32,
    /// Runs of it in the layer.
    entered: f32,
    touched: [f32; OPERANDS],
    reuse: [f32; OPERANDS],
}

/// The features of a schedule for which a formula or a model predicts so many cycles.
pub fn features(workload: &Workload, config: &HwConfig, tile: &Tile, predicted: f64) -> Features {
    let (g, demand) = (Geometry::new(config), &workload.0);
    let scopes = scopes(config, &g, demand, tile);
    let shape = shape(config, &g, demand, tile, predicted);
    let mut own: Vec<f32> = tile.knobs().iter().map(|&knob| log2(knob as f64 + 1.0)).collect();
    own.push(log2(predicted));
    own.extend_from_slice(&shape);
    // In the order of the axes and not of the loops, so that a feature means the same in either order.
    for axis in AXES {
        let at = axes(tile).into_iter().position(|other| other == axis).unwrap_or(0);
        let scope = &scopes[at];
        own.push(scope.iterations);
        own.extend_from_slice(&scope.touched);
        own.extend_from_slice(&scope.reuse);
    }
    let mut curve = shape;
    for operand in 0..OPERANDS {
        for size in SIZES {
            let within = scopes.iter().filter(|scope| scope.touched[operand] <= size as f32);
            let most = |of: fn(&Scope, usize) -> f32| within.clone().map(|s| of(s, operand)).fold(0.0, f32::max);
            let least = within.clone().map(|scope| scope.entered).fold(f32::INFINITY, f32::min);
            curve.push(most(|scope, operand| scope.reuse[operand]));
            curve.push(if least.is_finite() { least } else { -1.0 });
        }
    }
    Features { own, curve }
}

fn log2(x: f64) -> f32 {
    x.max(f64::MIN_POSITIVE).log2() as f32
}

/// The axes of the loops, outermost first.
fn axes(tile: &Tile) -> [Axis; 6] {
    use Axis::{Cells, Columns, Depth, Rows, TapColumns, TapRows};
    match tile.order {
        Order::Weights => [Cells, Rows, Columns, Depth, TapRows, TapColumns],
        Order::Inputs => [Rows, Columns, Cells, Depth, TapRows, TapColumns],
    }
}

/// Elements of an axis: in the layer, and in a tile.
fn extents(g: &Geometry, demand: &Demand, tile: &Tile, axis: Axis) -> (usize, usize) {
    let (out, [kh, kw]) = (demand.output, demand.slide.kernel);
    match axis {
        Axis::Cells => (g.blocks(out.c), tile.cells),
        Axis::Rows => (out.h, tile.height),
        Axis::Columns => (out.w, tile.width),
        Axis::Depth if demand.lanes => (1, 1),
        Axis::Depth => (g.blocks(demand.input.c), tile.depth),
        Axis::TapRows => (kh, tile.tap_rows),
        Axis::TapColumns => (kw, tile.tap_columns),
    }
}

/// Bytes that these extents touch of the operands, as the scratchpads hold them, and of the results.
fn touched(config: &HwConfig, g: &Geometry, demand: &Demand, groups: usize, cover: [usize; 6]) -> [f64; OPERANDS] {
    let [cells, rows, columns, depth, tap_rows, tap_columns] = cover;
    let slide = &demand.slide;
    let pixel = g.batch * g.cell;
    let high = reach(rows, slide.stride[0], tap_rows, slide.dilation[0]).min(demand.input.h);
    let wide = reach(columns, slide.stride[1], tap_columns, slide.dilation[1]).min(demand.input.w);
    let taps = tap_rows * tap_columns * demand.passes;
    let inputs = if demand.lanes { cells } else { depth };
    let weights = if demand.uniform {
        config.wgt_elem_bytes()
    } else if demand.lanes {
        cells * g.cell * taps
    } else {
        cells * g.out_per_cell * depth * g.inp_per_cell * taps * config.wgt_elem_bytes()
    };
    let results = cells * groups * rows * columns * pixel * demand.params.result_bytes();
    [inputs * groups * high * wide * pixel, weights, results].map(|bytes| bytes as f64)
}

/// The loops of a schedule, outermost first.
fn scopes(config: &HwConfig, g: &Geometry, demand: &Demand, tile: &Tile) -> Vec<Scope> {
    let order = axes(tile);
    let samples = g.groups(demand.output.n);
    let once = touched(config, g, demand, 1, AXES.map(|axis| extents(g, demand, tile, axis).1));
    let iterations = |axis: Axis| {
        let (all, part) = extents(g, demand, tile, axis);
        let groups = if axis == Axis::Rows { samples } else { 1 };
        (groups * all.div_ceil(part)) as f64
    };
    (0..order.len())
        .map(|at| {
            let (outside, inside) = order.split_at(at);
            let cover = AXES.map(|axis| {
                let (all, part) = extents(g, demand, tile, axis);
                if inside.contains(&axis) { all } else { part }
            });
            let groups = if inside.contains(&Axis::Rows) { samples } else { 1 };
            let touched = touched(config, g, demand, groups, cover);
            let runs: f64 = inside.iter().map(|&axis| iterations(axis)).product();
            let mut reuse = [0.0; OPERANDS];
            for operand in 0..OPERANDS {
                if touched[operand] > 0.0 {
                    reuse[operand] = log2(runs * once[operand] / touched[operand]);
                }
            }
            Scope {
                iterations: log2(iterations(order[at])),
                entered: log2(outside.iter().map(|&axis| iterations(axis)).product()),
                touched: touched.map(|bytes| log2(bytes + 1.0)),
                reuse,
            }
        })
        .collect()
}

/// What a schedule makes of the machine: parts, loads, how full the scratchpads are, and the prediction over the ideal.
fn shape(config: &HwConfig, g: &Geometry, demand: &Demand, tile: &Tile, predicted: f64) -> Vec<f32> {
    let parts = Parts::new(g, demand, tile);
    let held = held_params(g, demand, tile.cells, tile.all_params);
    let [inp, wgt, out] = touched(config, g, demand, 1, AXES.map(|axis| extents(g, demand, tile, axis).1));
    let capacity = [
        inp_capacity(config, g, demand.lanes, parts.inp_contexts(tile)) * config.inp_elem_bytes(),
        wgt_capacity(config, demand.lanes, parts.wgt_contexts(tile)) * config.wgt_elem_bytes(),
        acc_capacity(config, held, parts.acc_contexts(tile)) * config.out_elem_bytes(),
    ];
    let fill = [inp, wgt, out].into_iter().zip(capacity).map(|(bytes, all)| log2((bytes + 1.0) / (all as f64 + 1.0)));
    let [kh, kw] = demand.slide.kernel;
    let pixels = tile.height * tile.width;
    let sums = |depth: usize, taps: usize| {
        (depth * taps * demand.passes.max(1)) as f64 * if demand.lanes { 1.0 } else { g.inp_per_cell as f64 }
    };
    let depth = if demand.lanes { 1 } else { g.blocks(demand.input.c) };
    let layer = g.groups(demand.output.n) * demand.output.h * demand.output.w * g.blocks(demand.output.c);
    let ideal = (layer * g.out_per_cell) as f64 * sums(depth, kh * kw);
    let vectors = (tile.cells * g.out_per_cell * pixels) as f64;
    let taps = tile.tap_rows * tile.tap_columns;
    let group = vectors * sums(if demand.lanes { 1 } else { tile.depth }, taps);
    let bus = config.bus_bytes() as f64;
    let mut shape = vec![
        log2(predicted / ideal.max(1.0)),
        // Cycles of a group of loads, computed and loaded, and of a tile that is stored.
        log2(group),
        log2((inp + wgt) / bus / group),
        log2(out / bus / (vectors * sums(depth, kh * kw))),
        log2((parts.chunks * parts.pictures) as f64),
        log2(parts.groups as f64),
        log2(parts.inp_loads as f64),
        log2(parts.wgt_loads as f64 + 1.0),
        log2(tile.width as f64 / demand.output.w as f64),
        log2(pixels as f64),
        tile.contexts as f32,
        if tile.order == Order::Weights { 0.0 } else { 1.0 },
    ];
    shape.extend(fill);
    shape
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::sample;

    #[test]
    fn features_of_all_schedules_of_all_layers_are_numbers_of_the_same_count() {
        let (a, b) = (sample::task(), sample::other());
        let first = features(a.workload(), a.config(), &a.space().tiles()[0], 1e4);
        for task in [&a, &b] {
            for tile in task.space().tiles().iter().step_by(97) {
                let found = features(task.workload(), task.config(), tile, 1e4);
                assert_eq!((found.own.len(), found.curve.len()), (first.own.len(), first.curve.len()));
                assert!(found.own.iter().chain(&found.curve).all(|x| x.is_finite()), "{tile:?}: {found:?}");
            }
        }
    }

    #[test]
    fn outer_loops_touch_all_bytes_of_the_layer() {
        let task = sample::task();
        let (config, Workload(demand)) = (task.config(), task.workload());
        let g = Geometry::new(config);
        for tile in task.space().tiles().iter().step_by(97) {
            let all = &scopes(config, &g, demand, tile)[0];
            // 14 x 14 pixels of 32 channels, 9 taps from 32 to 64 channels, 14 x 14 pixels of 64 channels.
            let layer = [14 * 14 * 32, 9 * 32 * 64, 14 * 14 * 64].map(|bytes| log2(f64::from(bytes) + 1.0));
            assert_eq!(all.touched, layer);
            assert_eq!(all.entered, 0.0);
        }
    }

    #[test]
    fn weights_that_stay_are_reused_by_every_picture() {
        let task = sample::task();
        let (config, Workload(demand)) = (task.config(), task.workload());
        let g = Geometry::new(config);
        let whole = |tile: &&Tile| tile.cells == 2 && tile.depth == 2 && tile.tap_rows == 3 && tile.tap_columns == 3;
        let rows = |tile: &&Tile| tile.order == Order::Weights && tile.height == 7 && tile.width == 14;
        let tile = task.space().tiles().iter().filter(whole).find(rows).unwrap();
        // Two chunks of output cells, and two pictures of seven rows each.
        let scopes = scopes(config, &g, demand, tile);
        assert_eq!((scopes[0].iterations, scopes[1].iterations), (1.0, 1.0));
        assert_eq!((scopes[1].reuse[1], scopes[0].reuse[1]), (1.0, 1.0));
        assert_eq!(scopes[0].reuse[2], 0.0);
    }
}
