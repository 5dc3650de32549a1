//! Emission of convolution, depthwise convolution, dense layers and pools.
//!
//! For every chunk of output cells and every tile of output pixels, groups of loads bring a window of the input and its
//! weights into one half of INP and WGT while the other half is computed; then the tile is requantised, or cut into bytes, and stored while
//! the next tile is computed in the other half of ACC. Where a group holds all that is summed, REQUANT is fused with the sums. On a machine that runs one instruction after another, halves are
//! wholes. Weights and parameters that fit stay. What a group computes is one iteration space (`nest.rs`): pixels, cells, taps
//! and passes, in one instruction as far as its micro-ops fit. Elements of weights that are all zero are left out.

use crate::JitError;
use crate::constants::{Constants, constants, lane_elements};
use crate::emit::{Emitter, Operands};
use crate::layout::{Dims, Geometry};
use crate::lower::{Post, Window, WindowKind};
use crate::nest::{Axis, Nest};
use crate::tile::{self, Demand, Order, Params, Parts, Tile};
use crate::transfer::{Picture, each_block};
use std::ops::Range;
use tandem_isa::{Alu, AluOpcode, Gemm, HwConfig, Insn, Lane, Load, MemoryType, Requant, Store, Uop};

/// An output tile: pixels and cells, and its place in ACC.
struct Output {
    group: usize,
    cells: Range<usize>,
    rows: Range<usize>,
    columns: Range<usize>,
    acc: usize,
}

/// A load group: input cells and taps, and its place in INP and WGT.
struct Group {
    depth: Range<usize>,
    tap_rows: Range<usize>,
    tap_columns: Range<usize>,
    inp: usize,
    wgt: usize,
}

/// What an instruction of a group visits: products that are summed, output pixels, and output vectors by cells and within one.
struct Nested {
    base: Uop,
    insn: Insn,
    sums: Vec<Axis>,
    pixels: [Axis; 2],
    vectors: [Axis; 2],
}

struct Schedule<'a> {
    layer: &'a Window,
    geometry: Geometry,
    tile: Tile,
    demand: Demand,
    passes: usize,
    lanes: bool,
    constants: Constants,
    input: u32,
    output: u32,
}

/// Emits a window layer that reads the activation at byte `input` and writes the one at byte `output`.
pub(crate) fn emit(
    emitter: &mut Emitter<'_>,
    index: usize,
    layer: &Window,
    tile: Tile,
    input: u32,
    output: u32,
) -> Result<(), JitError> {
    let geometry = Geometry::new(emitter.config());
    let demand = demand(emitter.config(), layer);
    let constants = constants(emitter, index, layer, &geometry, &demand)?;
    let (passes, lanes) = (demand.passes, demand.lanes);
    Schedule { layer, geometry, tile, demand, passes, lanes, constants, input, output }.emit(emitter);
    Ok(())
}

/// What a layer needs of the scratchpads of a machine.
pub(crate) fn demand(config: &HwConfig, layer: &Window) -> Demand {
    let (passes, lanes) = match &layer.kind {
        WindowKind::Gemm { weights } => (weights.len(), false),
        WindowKind::Lane { weights } => (weights.len(), true),
        WindowKind::Max => (0, true),
    };
    let uniform = match &layer.kind {
        WindowKind::Lane { weights } if weights.len() == 1 => weights[0].windows(2).all(|pair| pair[0] == pair[1]),
        _ => false,
    };
    let packed = match &layer.kind {
        WindowKind::Gemm { weights } => {
            config.has_packed_weights() && weights.iter().flatten().all(|weight| FOUR_BITS.contains(weight))
        }
        _ => false,
    };
    let params = match layer.post {
        Post::Requant { ref params, .. } if params.windows(2).all(|pair| pair[0] == pair[1]) => Params::Shared,
        Post::Requant { .. } => Params::PerVector,
        Post::Clamp(_) => Params::None,
        Post::Sums { bytes } => Params::Sums { bytes },
    };
    Demand { input: layer.input, output: layer.output, slide: layer.slide, passes, lanes, uniform, packed, params }
}

/// Weights of 4 bits.
const FOUR_BITS: std::ops::RangeInclusive<i8> = -8..=7;

/// A scratchpad in parts that are filled in turn.
struct Halves<K> {
    contexts: usize,
    /// Elements of a part.
    size: usize,
    loads: usize,
    held: Option<K>,
}

impl<K: PartialEq> Halves<K> {
    /// `first` tells which part is filled first.
    fn new(contexts: usize, size: usize, first: usize) -> Self {
        Self { contexts, size, loads: first, held: None }
    }

    /// First element of the part that holds `key`, and whether it must be loaded first.
    fn place(&mut self, key: K) -> (usize, bool) {
        let load = self.held.as_ref() != Some(&key);
        if load {
            self.held = Some(key);
            self.loads += 1;
        }
        ((self.loads - 1) % self.contexts * self.size, load)
    }
}

/// Cycles of the array from which on a tile is worth two more instructions at the ends of its layer: what they hide grows with the
/// tile, what they cost does not.
const LONG_TILE: usize = 4096;

/// Tiles with a short first and a short last one: nothing is computed while the first is loaded and the last is stored.
fn short_ends(outputs: Vec<Output>) -> Vec<Output> {
    const PART: usize = 4;
    let count = outputs.len();
    let mut shortened = Vec::with_capacity(count + 2);
    for (at, output) in outputs.into_iter().enumerate() {
        let Range { start, end } = output.rows;
        let part = (end - start).div_ceil(PART);
        let mut cuts = vec![start];
        if end - start >= PART && at == 0 {
            cuts.push(start + part);
        }
        if end - start >= PART && at + 1 == count {
            cuts.push(end - part);
        }
        cuts.push(end);
        let piece = |cut: &[usize]| Output {
            rows: cut[0]..cut[1],
            cells: output.cells.clone(),
            columns: output.columns.clone(),
            ..output
        };
        shortened.extend(cuts.windows(2).map(piece));
    }
    shortened
}

/// Pieces of `0..n` of `size`.
fn pieces(n: usize, size: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    (0..n).step_by(size).map(move |begin| begin..(begin + size).min(n))
}

impl Schedule<'_> {
    fn emit(&self, e: &mut Emitter<'_>) {
        let config = e.config();
        let (g, tile) = (&self.geometry, self.tile);
        let in_cells = g.blocks(self.layer.input.c);
        let held = tile::held_params(g, &self.demand, tile.cells, tile.all_params);
        let parts = Parts::new(g, &self.demand, &tile);
        // What is loaded once takes a half too where that is enough: the other one is the next layer's.
        let (inp_elements, wgt_elements) = tile::group_elements(g, &self.demand, &tile);
        let inp_size = |contexts| tile::inp_capacity(config, g, self.lanes, contexts);
        let wgt_size = |contexts| tile::wgt_capacity(config, self.lanes, contexts);
        let contexts = |wanted, fits: bool| if fits { tile.contexts } else { wanted };
        let inp_contexts = contexts(parts.inp_contexts(&tile), inp_elements <= inp_size(tile.contexts));
        let wgt_contexts = contexts(parts.wgt_contexts(&tile), wgt_elements <= wgt_size(tile.contexts));
        let mut inp = Halves::new(inp_contexts, inp_size(inp_contexts), e.tiles());
        let mut wgt = Halves::new(wgt_contexts, wgt_size(wgt_contexts), e.tiles());
        let acc_contexts = parts.acc_contexts(&tile);
        let acc_base = tile::param_vectors(held);
        let acc_cap = tile::acc_capacity(config, held, acc_contexts);
        let [kh, kw] = self.layer.slide.kernel;
        let fused = tile::fuses(config, g, &self.demand, &tile, parts.groups);
        let mut params = None;
        let mut outputs = self.outputs();
        if parts.groups == 1 && inp_contexts > 1 && tile::cycles_of_tile(g, &self.demand, &tile) >= LONG_TILE {
            outputs = short_ends(outputs);
        }
        for mut output in outputs {
            output.acc = acc_base + e.tiles() % acc_contexts * acc_cap;
            self.load_params(e, &output.cells, &mut params);
            let mut first = true;
            let image = self.vectors(&output) * output.rows.len() * output.columns.len();
            let place = output.acc..output.acc + image * self.demand.params.result_bytes();
            e.claim(&place);
            if self.adds(e.config()) && !fused {
                e.make_zero(output.acc..output.acc + image);
            }
            let depths = if self.lanes { output.cells.clone() } else { 0..in_cells };
            for depth in pieces(depths.len(), tile.depth) {
                let depth = depths.start + depth.start..depths.start + depth.end;
                for tap_rows in pieces(kh, tile.tap_rows) {
                    for tap_columns in pieces(kw, tile.tap_columns) {
                        let sum = (depth.clone(), tap_rows.clone(), tap_columns.clone());
                        let picture = (output.group, output.rows.clone(), output.columns.clone());
                        let (inp, inp_load) = inp.place((picture, sum.clone()));
                        let weights = (!self.demand.uniform).then(|| (output.cells.clone(), sum));
                        let (wgt, wgt_load) = wgt.place(weights);
                        let load = Group { depth: depth.clone(), tap_rows: tap_rows.clone(), tap_columns, inp, wgt };
                        let uses = Operands { inp: inp..inp + inp_elements, wgt: wgt..wgt + wgt_elements };
                        let loads = Operands {
                            inp: if inp_load { uses.inp.clone() } else { 0..0 },
                            wgt: if wgt_load { uses.wgt.clone() } else { 0..0 },
                        };
                        let reads = if inp_load { self.reads(&output, &load) } else { Vec::new() };
                        if inp_load && wgt_load && self.passes > 0 {
                            // Weights need not wait for the layer before to be stored.
                            e.begin_load(uses.clone(), &Operands { inp: 0..0, ..loads.clone() }, &[]);
                            self.load_weights(e, &output, &load);
                            e.begin_load(uses, &Operands { wgt: 0..0, ..loads }, &reads);
                        } else {
                            e.begin_load(uses, &loads, &reads);
                            if self.passes > 0 && wgt_load {
                                self.load_weights(e, &output, &load);
                            }
                        }
                        if inp_load {
                            self.load_input(e, &output, &load);
                        }
                        e.end_load();
                        e.begin_group();
                        if fused {
                            self.fused(e, &output, &load);
                        } else if self.lanes {
                            self.lane(e, &output, &load, first);
                        } else {
                            self.gemm(e, &output, &load);
                        }
                        e.end_group();
                        first = false;
                    }
                }
            }
            let cleared = !fused && self.post(e, &output);
            e.know_zero(place.clone(), cleared);
            e.begin_store();
            self.store(e, &output);
            e.end_store(place, self.writes(&output));
        }
    }

    /// The output tiles in the order in which they are computed, without their places.
    fn outputs(&self) -> Vec<Output> {
        let (g, tile, out) = (&self.geometry, self.tile, self.layer.output);
        let mut pictures = Vec::new();
        for group in 0..g.groups(out.n) {
            for rows in pieces(out.h, tile.height) {
                pictures.extend(pieces(out.w, tile.width).map(|columns| (group, rows.clone(), columns)));
            }
        }
        let chunks = || pieces(g.blocks(out.c), tile.cells);
        let output = |(group, rows, columns): &(usize, Range<usize>, Range<usize>), cells: Range<usize>| Output {
            group: *group,
            cells,
            rows: rows.clone(),
            columns: columns.clone(),
            acc: 0,
        };
        match tile.order {
            Order::Weights => {
                chunks().flat_map(|cells| pictures.iter().map(move |p| output(p, cells.clone()))).collect()
            }
            Order::Inputs => pictures.iter().flat_map(|p| chunks().map(move |cells| output(p, cells))).collect(),
        }
    }

    /// Whether the sums of a tile begin with what ACC holds, which must be zero.
    fn adds(&self, config: &HwConfig) -> bool {
        !self.lanes || (self.passes > 0 && config.has_requant_flags())
    }

    fn vectors(&self, out: &Output) -> usize {
        out.cells.len() * self.geometry.out_per_cell
    }

    /// Loads the parameters of a tile, where ACC holds others.
    fn load_params(&self, e: &mut Emitter<'_>, cells: &Range<usize>, held: &mut Option<Range<usize>>) {
        let per_cell = tile::param_vectors(self.geometry.out_per_cell);
        let wanted = match self.demand.params {
            Params::None | Params::Sums { .. } => return,
            Params::Shared => 0..tile::param_vectors(1),
            Params::PerVector if self.tile.all_params => 0..self.geometry.blocks(self.layer.output.c) * per_cell,
            Params::PerVector => cells.start * per_cell..cells.end * per_cell,
        };
        if held.as_ref() == Some(&wanted) {
            return;
        }
        e.claim(&(0..wanted.len()));
        e.know_zero(0..wanted.len(), false);
        let base = self.constants.params / e.config().acc_elem_bytes() as u32;
        e.issue(Load {
            memory_type: MemoryType::Acc,
            dram_base: base + wanted.start as u32,
            y_size: 1,
            x_size: wanted.len() as u32,
            x_stride: wanted.len() as u32,
            ..Load::default()
        });
        *held = Some(wanted);
    }

    /// ACC vector of the parameters of the first vector of a tile, and the step from one vector to the next.
    fn params_at(&self, out: &Output) -> (usize, usize) {
        let first = if self.tile.all_params { out.cells.start * self.geometry.out_per_cell } else { 0 };
        match self.demand.params {
            Params::None | Params::Shared | Params::Sums { .. } => (0, 0),
            Params::PerVector => (tile::param_vectors(first), tile::param_vectors(1)),
        }
    }

    fn load_weights(&self, e: &mut Emitter<'_>, out: &Output, group: &Group) {
        let (g, layer) = (&self.geometry, self.layer);
        let memory_type = self.demand.weights();
        let base = self.constants.weights / e.config().elem_bytes(memory_type) as u32;
        let [kh, kw] = layer.slide.kernel;
        let first_tap = group.tap_rows.start * kw + group.tap_columns.start;
        let taps = group.tap_rows.len() * group.tap_columns.len();
        let load = |e: &mut Emitter<'_>, sram: usize, dram: usize, rows: usize, size: usize, stride: usize| {
            each_block(rows, size, stride, |row, rows, x_stride| {
                e.issue(Load {
                    memory_type,
                    sram_base: (sram + row * size) as u32,
                    dram_base: base + (dram + row * stride) as u32,
                    y_size: rows as u32,
                    x_size: size as u32,
                    x_stride: x_stride as u32,
                    ..Load::default()
                });
            });
        };
        if self.demand.uniform {
            load(e, group.wgt, 0, 1, 1, 1);
            return;
        }
        if self.lanes {
            let per_cell = lane_elements(kh * tile::lane_row(g, &self.demand).pitch, g);
            let elements = self.lane_range(group);
            load(e, group.wgt, out.cells.start * per_cell + elements.start, out.cells.len(), elements.len(), per_cell);
            return;
        }
        let entries = g.inp_per_cell * self.passes;
        let all_entries = g.blocks(layer.input.c) * entries;
        let vectors = self.vectors(out);
        let first_vector = out.cells.start * g.out_per_cell;
        let first_entry = group.depth.start * entries;
        let count = group.depth.len() * entries;
        let at = |vector: usize, entry: usize| ((first_vector + vector) * all_entries + first_entry + entry) * kh * kw;
        if taps == kh * kw {
            load(e, group.wgt, at(0, 0), vectors, count * taps, all_entries * taps);
        } else {
            for vector in 0..vectors {
                load(e, group.wgt + vector * count * taps, at(vector, 0) + first_tap, count, taps, kh * kw);
            }
        }
    }

    /// Weight elements of a cell that hold the taps of a lane-wise group.
    fn lane_range(&self, group: &Group) -> Range<usize> {
        let (first, count) = self.lane_taps(group);
        let per_element = tile::taps_per_element(&self.geometry);
        first / per_element..(first + count).div_ceil(per_element)
    }

    /// First weight vector and number of weight vectors of a lane-wise group, in the order of its weights: `[tap][pass]`.
    fn lane_taps(&self, group: &Group) -> (usize, usize) {
        let pitch = tile::lane_row(&self.geometry, &self.demand).pitch;
        let first = group.tap_rows.start * pitch + group.tap_columns.start * self.passes;
        (first, (group.tap_rows.len() - 1) * pitch + group.tap_columns.len() * self.passes)
    }

    /// Rows and columns of the input that a group reads, relative to the image: they may begin before it or end behind it.
    fn window(&self, out: &Output, group: &Group, axis: usize) -> (isize, usize) {
        let slide = &self.layer.slide;
        let (pixels, taps) = if axis == 0 { (&out.rows, &group.tap_rows) } else { (&out.columns, &group.tap_columns) };
        let begin =
            (pixels.start * slide.stride[axis] + taps.start * slide.dilation[axis]) as isize - slide.pad[axis] as isize;
        (begin, tile::reach(pixels.len(), slide.stride[axis], taps.len(), slide.dilation[axis]))
    }

    /// Bytes of DRAM that a group reads of the input.
    fn reads(&self, out: &Output, group: &Group) -> Vec<Range<u64>> {
        let image = self.layer.input;
        let (y, rows) = self.window(out, group, 0);
        let begin = y.clamp(0, image.h as isize) as usize;
        let end = (y + rows as isize).clamp(begin as isize, image.h as isize) as usize;
        let (pitch, whole) = (self.layer.row_pitch, Dims { h: self.layer.rows_in_dram, ..image });
        self.rows_in_dram(self.input, whole, out.group, &group.depth, begin * pitch..(end * pitch).min(whole.h))
    }

    /// Bytes of DRAM that a tile writes.
    fn writes(&self, out: &Output) -> Vec<Range<u64>> {
        let image = self.layer.output;
        let groups =
            (0..self.demand.params.result_bytes()).map(|byte| byte * self.geometry.groups(image.n) + out.group);
        groups.flat_map(|group| self.rows_in_dram(self.output, image, group, &out.cells, out.rows.clone())).collect()
    }

    /// Whole rows of some cells of the activation at byte `at`.
    fn rows_in_dram(
        &self,
        at: u32,
        image: Dims,
        group: usize,
        cells: &Range<usize>,
        rows: Range<usize>,
    ) -> Vec<Range<u64>> {
        let g = &self.geometry;
        let row_bytes = (image.w * g.batch * g.cell) as u64;
        let first = group * g.blocks(image.c);
        let byte = |cell: usize, row: usize| u64::from(at) + ((first + cell) * image.h + row) as u64 * row_bytes;
        if rows.len() == image.h {
            return std::iter::once(byte(cells.start, 0)..byte(cells.end, 0)).collect();
        }
        cells.clone().map(|cell| byte(cell, rows.start)..byte(cell, rows.end)).collect()
    }

    fn load_input(&self, e: &mut Emitter<'_>, out: &Output, group: &Group) {
        let (g, image) = (&self.geometry, self.layer.input);
        let (y, rows) = self.window(out, group, 0);
        let (x, columns) = self.window(out, group, 1);
        let base = self.input as usize / e.config().inp_elem_bytes();
        let blocks = g.blocks(image.c);
        for (k, cell) in group.depth.clone().enumerate() {
            let sram = group.inp + k * rows * columns * g.inp_per_cell;
            let plane = base + (out.group * blocks + cell) * self.layer.rows_in_dram * image.w * g.inp_per_cell;
            let picture = Picture {
                plane,
                height: image.h,
                width: image.w,
                row_pitch: self.layer.row_pitch * image.w,
                unit: g.inp_per_cell,
                pad_value: self.layer.pad_value,
            };
            picture.load(e, sram, (y, rows), (x, columns));
        }
    }

    /// What GEMM visits of a group.
    fn gemm_nest(&self, out: &Output, group: &Group) -> Nested {
        let (g, slide) = (&self.geometry, &self.layer.slide);
        let (unit, vector) = (g.inp_per_cell, g.out_per_cell);
        let columns = self.window(out, group, 1).1;
        let plane = self.window(out, group, 0).1 * columns * unit;
        let taps = [group.tap_rows.len(), group.tap_columns.len()];
        let tap = taps[0] * taps[1];
        let entries = unit * self.passes;
        let count = group.depth.len() * entries;
        let (height, width) = (out.rows.len(), out.columns.len());
        let pixels = [
            Axis::new(height, width * vector, slide.stride[0] * columns * unit, 0),
            Axis::new(width, vector, slide.stride[1] * unit, 0),
        ];
        let vectors = [
            Axis::new(out.cells.len(), height * width * vector, 0, vector * count * tap),
            Axis::new(vector, 1, 0, count * tap),
        ];
        let sums = vec![
            Axis::new(group.depth.len(), 0, plane, entries * tap),
            // Passes read the same input element.
            Axis::new(self.passes, 0, 0, unit * tap),
            Axis::new(unit, 0, 1, tap),
            Axis::new(taps[0], 0, slide.dilation[0] * columns * unit, taps[1]),
            Axis::new(taps[1], 0, slide.dilation[1] * unit, 1),
        ];
        let base = Uop { dst: out.acc as u32, src: group.inp as u32, wgt: group.wgt as u32 };
        Nested { base, insn: Gemm::default().into(), sums, pixels, vectors }
    }

    /// Whether an element of the weights of a group, counted from its first, holds only zeros.
    fn is_zero(&self, out: &Output, group: &Group, element: usize) -> bool {
        let taps = [group.tap_rows.len(), group.tap_columns.len()];
        let (tap, entries) = (taps[0] * taps[1], self.geometry.inp_per_cell * self.passes);
        let count = group.depth.len() * entries;
        let [kh, kw] = self.layer.slide.kernel;
        let all_entries = self.geometry.blocks(self.layer.input.c) * entries;
        let (row, entry, at) = (element / tap / count, element / tap % count, element % tap);
        let row = (out.cells.start * self.geometry.out_per_cell + row) * all_entries;
        let [tap_row, tap_column] = [group.tap_rows.start + at / taps[1], group.tap_columns.start + at % taps[1]];
        self.constants.zero[(row + group.depth.start * entries + entry) * kh * kw + tap_row * kw + tap_column]
    }

    fn gemm(&self, e: &mut Emitter<'_>, out: &Output, group: &Group) {
        let Nested { base, insn, sums, pixels, vectors } = self.gemm_nest(out, group);
        let depth = e.config().inp_depth();
        let elements = vectors[0].count * vectors[0].wgt;
        let nest = if (0..elements).any(|element| self.is_zero(out, group, element)) {
            // Elements of zeros are left out, which only a list of micro-ops can.
            let mut nest = Nest::new(e.config(), depth, base, &pixels, &[&sums[..], &vectors].concat());
            nest.uops.retain(|uop| !self.is_zero(out, group, uop.wgt as usize - group.wgt));
            nest
        } else {
            Nest::new(e.config(), depth, base, &[&sums[..], &pixels, &vectors].concat(), &[])
        };
        let steps = nest.steps(e.config(), insn);
        e.issue_all(steps);
    }

    /// What LANE visits of a group.
    fn lane_nest(&self, out: &Output, group: &Group) -> Nested {
        let (g, slide) = (&self.geometry, &self.layer.slide);
        let (height, width) = (out.rows.len(), out.columns.len());
        let columns = self.window(out, group, 1).1;
        let unit = g.out_per_cell;
        let plane = self.window(out, group, 0).1 * columns * unit;
        let max = matches!(self.layer.kind, WindowKind::Max);
        let (first_tap, elements) = (self.lane_taps(group).0, self.lane_range(group));
        let skipped = first_tap - elements.start * tile::taps_per_element(g);
        // Weights that are all the same, and those that a maximum has not, stay where they are.
        let weight = |step: usize| if max || self.demand.uniform { 0 } else { step };
        let base = Uop {
            dst: out.acc as u32,
            src: (group.inp / g.inp_per_cell * unit) as u32,
            wgt: if max { 0 } else { group.wgt * g.block_in + weight(skipped * unit) } as u32,
        };
        let passes = self.passes.max(1);
        let row = tile::lane_row(g, &self.demand);
        let whole_row = group.tap_columns.len() == slide.kernel[1];
        let at_once = if whole_row && !max { row.at_once } else { 1 };
        let taps = [group.tap_rows.len(), group.tap_columns.len() / at_once];
        let pixels = [
            Axis::new(height, width * unit, slide.stride[0] * columns * unit, 0),
            Axis::new(width, unit, slide.stride[1] * unit, 0),
        ];
        let vectors = [
            Axis::new(out.cells.len(), height * width * unit, plane, weight(elements.len() * g.block_in)),
            Axis::new(unit, 1, 1, weight(1)),
        ];
        let sums = vec![
            Axis::new(taps[0], 0, slide.dilation[0] * columns * unit, weight(row.pitch * unit)),
            Axis::new(taps[1], 0, slide.dilation[1] * unit, weight(passes * unit)),
            Axis::new(passes, 0, 0, weight(unit)),
        ];
        let insn = Lane { max, more_taps: at_once as u32 - 1, ..Lane::default() }.into();
        Nested { base, insn, sums, pixels, vectors }
    }

    fn lane(&self, e: &mut Emitter<'_>, out: &Output, group: &Group, first: bool) {
        let Nested { base, insn, sums, pixels, vectors } = self.lane_nest(out, group);
        let part = |axis: usize, count: usize| Axis { count, ..sums[axis] };

        // Where ACC is not zero, what comes before anything is summed takes the place of what it holds; then the rest of the
        // first tap, of the first row and of the window.
        let first = first && !self.adds(e.config());
        let parts: Vec<(Uop, Vec<Axis>)> = if first {
            let from = |axis: Axis| Uop { src: base.src + axis.src as u32, wgt: base.wgt + axis.wgt as u32, ..base };
            vec![
                (base, Vec::new()),
                (from(sums[2]), vec![part(2, sums[2].count - 1)]),
                (from(sums[1]), vec![part(1, sums[1].count - 1), sums[2]]),
                (from(sums[0]), vec![part(0, sums[0].count - 1), sums[1], sums[2]]),
            ]
        } else {
            vec![(base, sums)]
        };
        let mut steps = Vec::new();
        for (part, (base, sums)) in parts.into_iter().enumerate() {
            if sums.iter().any(|axis| axis.count == 0) {
                continue;
            }
            let insn = match insn {
                Insn::Lane(insn) => Lane { overwrite: first && part == 0, ..insn }.into(),
                other => other,
            };
            let axes = [&sums[..], &pixels, &vectors].concat();
            steps.extend(Nest::new(e.config(), e.config().inp_depth(), base, &axes, &[]).steps(e.config(), insn));
        }
        e.issue_all(steps);
    }

    /// Sums the vectors of a tile one by one, each with its REQUANT.
    fn fused(&self, e: &mut Emitter<'_>, out: &Output, group: &Group) {
        let Post::Requant { mode, .. } = &self.layer.post else { return };
        let Nested { base, insn, sums, pixels, vectors: [cells, units] } =
            if self.lanes { self.lane_nest(out, group) } else { self.gemm_nest(out, group) };
        let (param, step) = self.params_at(out);
        let depth = e.config().inp_depth();
        let mut steps = Vec::new();
        for vector in 0..self.vectors(out) {
            let (cell, unit) = (vector / self.geometry.out_per_cell, vector % self.geometry.out_per_cell);
            let along = |of: fn(&Axis) -> usize| (cell * of(&cells) + unit * of(&units)) as u32;
            let base = Uop {
                dst: base.dst + along(|axis| axis.dst),
                src: base.src + along(|axis| axis.src),
                wgt: base.wgt + along(|axis| axis.wgt),
            };
            let mut nest = Nest::new(e.config(), depth, base, &pixels, &sums);
            if !self.lanes {
                // A sum has a product at least.
                let first = nest.uops[0];
                nest.uops.retain(|uop| !self.is_zero(out, group, uop.wgt as usize - group.wgt));
                if nest.uops.is_empty() {
                    nest.uops.push(first);
                }
            }
            let param = (param + vector * step) as u32;
            let requant = Requant { mode: *mode, saturate: true, fuse: true, param, ..Requant::default() };
            steps.push((Vec::new(), requant.into()));
            steps.extend(nest.steps(e.config(), insn));
        }
        e.issue_all(steps);
    }

    /// Turns the sums of a tile into results, and says whether ACC is zero then.
    fn post(&self, e: &mut Emitter<'_>, out: &Output) -> bool {
        let pixels = out.rows.len() * out.columns.len();
        let unit = self.geometry.out_per_cell;
        match &self.layer.post {
            Post::Requant { mode, .. } => {
                let clear = e.config().has_requant_flags();
                let insn = Requant { mode: *mode, saturate: true, clear, ..Requant::default() };
                let (first, step) = self.params_at(out);
                // Parameters change with the vector, and reading them takes time: pixels are the inner loop.
                let mut axes = vec![
                    Axis::new(out.cells.len(), pixels * unit, unit * step, 0),
                    Axis::new(pixels, unit, 0, 0),
                    Axis::new(unit, 1, step, 0),
                ];
                let apart = unit > 1 && pixels > 1 && step > 0;
                let instructions = if apart { axes.remove(2).count } else { 1 };
                let depth = e.config().acc_depth();
                let steps = (0..instructions).flat_map(|k| {
                    let src = first + k * step;
                    let base = Uop { dst: (out.acc + k) as u32, src: src as u32, wgt: 0 };
                    Nest::new(e.config(), depth, base, &axes, &[]).steps(e.config(), insn)
                });
                let steps = steps.collect();
                e.issue_all(steps);
                clear
            }
            Post::Clamp(None) => false,
            Post::Clamp(Some((lo, hi))) => {
                let insn =
                    Alu { alu_opcode: AluOpcode::Clamp, use_imm: true, imm: clamp_imm(*lo, *hi), ..Alu::default() };
                let base = Uop { dst: out.acc as u32, src: out.acc as u32, wgt: 0 };
                e.issue_nest(base, &[Axis::new(self.vectors(out) * pixels, 1, 1, 0)], insn);
                false
            }
            Post::Sums { bytes } => {
                let image = self.vectors(out) * pixels;
                for byte in 1..*bytes {
                    let (src, dst) = (out.acc + (byte - 1) * image, out.acc + byte * image);
                    let copy = Alu { alu_opcode: AluOpcode::Mov, ..Alu::default() };
                    let shift = Alu { alu_opcode: AluOpcode::Shr, use_imm: true, imm: 8, ..Alu::default() };
                    let axes = [Axis::new(image, 1, 1, 0)];
                    e.issue_nest(Uop { dst: dst as u32, src: src as u32, wgt: 0 }, &axes, copy);
                    e.issue_nest(Uop { dst: dst as u32, src: dst as u32, wgt: 0 }, &axes, shift);
                }
                false
            }
        }
    }

    fn store(&self, e: &mut Emitter<'_>, out: &Output) {
        let (g, image) = (&self.geometry, self.layer.output);
        let unit = g.out_per_cell;
        let base = self.output as usize / e.config().out_elem_bytes();
        let blocks = g.blocks(image.c);
        let (height, width) = (out.rows.len(), out.columns.len());
        let cells =
            (0..self.demand.params.result_bytes()).flat_map(|byte| out.cells.clone().map(move |cell| (byte, cell)));
        for (k, (byte, cell)) in cells.enumerate() {
            let plane = base + ((byte * g.groups(image.n) + out.group) * blocks + cell) * image.h * image.w * unit;
            let first = plane + (out.rows.start * image.w + out.columns.start) * unit;
            let sram = out.acc + k * height * width * unit;
            each_block(height, width * unit, image.w * unit, |row, rows, x_stride| {
                e.issue(Store {
                    memory_type: g.store,
                    sram_base: (sram + row * width * unit) as u32,
                    dram_base: (first + row * image.w * unit) as u32,
                    y_size: rows as u32,
                    x_size: (width * unit) as u32,
                    x_stride: x_stride as u32,
                    ..Store::default()
                });
            });
        }
    }
}

/// The operand of CLAMP: the bounds in its two bytes.
pub(crate) fn clamp_imm(lo: i32, hi: i32) -> i32 {
    i32::from(i16::from_le_bytes([lo as u8, hi as u8]))
}
