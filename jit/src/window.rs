//! Emission of convolution, depthwise convolution, dense layers and pools.
//!
//! For every chunk of output cells and every tile of output pixels, groups of loads bring a window of the input and its
//! weights into one half of INP and WGT while the other half is computed; then the tile is requantised and stored while
//! the next tile is computed in the other half of ACC. Consecutive iterations of an instruction write different
//! accumulators: one instruction covers one tap of one input element over all pixels of the tile.

use crate::JitError;
use crate::emit::Emitter;
use crate::layout::Geometry;
use crate::lower::{Post, Window, WindowKind};
use crate::tile::{self, Demand, Taps, Tile};
use crate::transfer::{Picture, each_block};
use std::ops::Range;
use tandem_isa::{Alu, AluOpcode, Gemm, Insn, Lane, Load, MemoryType, Requant, Role, Store, Uop};

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

/// The constants of a layer in DRAM: byte offsets of the sections, and which weight elements hold only zeros.
struct Constants {
    weights: u32,
    params: u32,
    zero: Vec<bool>,
}

struct Schedule<'a> {
    layer: &'a Window,
    geometry: Geometry,
    tile: Tile,
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
    input: u32,
    output: u32,
) -> Result<(), JitError> {
    let config = emitter.config();
    let geometry = Geometry::new(config);
    let (passes, lanes) = match &layer.kind {
        WindowKind::Gemm { weights } => (weights.len(), false),
        WindowKind::Lane { weights } => (weights.len(), true),
        WindowKind::Max => (0, true),
    };
    let demand = Demand { input: layer.input, output: layer.output, slide: layer.slide, passes, lanes };
    let tile = tile::choose(config, &demand);
    let constants = constants(emitter, index, layer, &geometry)?;
    Schedule { layer, geometry, tile, passes, lanes, constants, input, output }.emit(emitter);
    Ok(())
}

/// Pieces of `0..n` of `size`.
fn pieces(n: usize, size: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    (0..n).step_by(size).map(move |begin| begin..(begin + size).min(n))
}

impl Schedule<'_> {
    fn emit(&self, e: &mut Emitter<'_>) {
        let config = e.config();
        let (g, tile, out) = (&self.geometry, self.tile, self.layer.output);
        let out_cells = g.blocks(out.c);
        let in_cells = g.blocks(self.layer.input.c);
        let param_vectors = if matches!(self.layer.post, Post::Requant { .. }) { tile.cells } else { 0 };
        let acc_base = tile::param_vectors(param_vectors * g.out_per_cell);
        let acc_cap = tile::acc_capacity(config, g, tile.cells);
        let inp_cap = tile::inp_capacity(config, g, self.lanes, tile.contexts);
        let wgt_cap = tile::wgt_capacity(config, self.lanes, tile.contexts);
        let [kh, kw] = self.layer.slide.kernel;
        let whole = tile.taps == Taps { rows: kh, columns: kw } && (self.lanes || tile.depth >= in_cells);
        let (mut tiles, mut groups) = (0, 0);
        for (chunk, cells) in pieces(out_cells, tile.cells).enumerate() {
            self.load_params(e, &cells);
            for group in 0..g.groups(out.n) {
                for rows in pieces(out.h, tile.height) {
                    for columns in pieces(out.w, tile.width) {
                        let output = Output {
                            group,
                            cells: cells.clone(),
                            rows: rows.clone(),
                            columns,
                            acc: acc_base + (tiles % 2) * acc_cap,
                        };
                        e.begin_tile(tiles);
                        let first_of_chunk = group == 0 && rows.start == 0 && output.columns.start == 0;
                        let mut first = true;
                        if !self.lanes {
                            self.reset(e, &output);
                        }
                        let depths = if self.lanes { cells.clone() } else { 0..in_cells };
                        for depth in pieces(depths.len(), tile.depth) {
                            let depth = depths.start + depth.start..depths.start + depth.end;
                            for tap_rows in pieces(kh, tile.taps.rows) {
                                for tap_columns in pieces(kw, tile.taps.columns) {
                                    let context = groups % tile.contexts;
                                    // Weights that cover the whole reduction stay for all tiles of a chunk.
                                    let wgt_context = if whole { chunk % tile.contexts } else { context };
                                    let load = Group {
                                        depth: depth.clone(),
                                        tap_rows: tap_rows.clone(),
                                        tap_columns,
                                        inp: context * inp_cap,
                                        wgt: wgt_context * wgt_cap,
                                    };
                                    e.begin_load(groups, tile.contexts);
                                    if self.passes > 0 && (!whole || first_of_chunk) {
                                        self.load_weights(e, &output, &load);
                                    }
                                    self.load_input(e, &output, &load);
                                    e.end_load();
                                    e.begin_group();
                                    if self.lanes {
                                        self.lane(e, &output, &load, first);
                                    } else {
                                        self.gemm(e, &output, &load);
                                    }
                                    e.end_group();
                                    groups += 1;
                                    first = false;
                                }
                            }
                        }
                        self.post(e, &output);
                        e.begin_store();
                        self.store(e, &output);
                        e.end_store();
                        tiles += 1;
                    }
                }
            }
        }
    }

    /// ACC vector of a vector of the tile, at its first pixel.
    fn acc(&self, out: &Output, vector: usize) -> usize {
        let (cell, k) = (vector / self.geometry.out_per_cell, vector % self.geometry.out_per_cell);
        out.acc + cell * out.rows.len() * out.columns.len() * self.geometry.out_per_cell + k
    }

    fn vectors(&self, out: &Output) -> usize {
        out.cells.len() * self.geometry.out_per_cell
    }

    fn load_params(&self, e: &mut Emitter<'_>, cells: &Range<usize>) {
        if !matches!(self.layer.post, Post::Requant { .. }) {
            return;
        }
        let per_cell = tile::param_vectors(self.geometry.out_per_cell);
        let elem = e.config().acc_elem_bytes();
        let count = (cells.len() * per_cell) as u32;
        e.issue(Load {
            memory_type: MemoryType::Acc,
            sram_base: 0,
            dram_base: self.constants.params / elem as u32 + (cells.start * per_cell) as u32,
            y_size: 1,
            x_size: count,
            x_stride: count,
            ..Load::default()
        });
    }

    fn reset(&self, e: &mut Emitter<'_>, out: &Output) {
        let count = out.rows.len() * out.columns.len() * self.vectors(out);
        let uop = e.kernel(&[Uop { dst: out.acc as u32, src: 0, wgt: 0 }]);
        e.issue(Gemm {
            reset: true,
            uop_begin: uop,
            uop_end: uop + 1,
            iter_out: 1,
            iter_in: count as u32,
            dst_factor_in: u32::from(count > 1),
            ..Gemm::default()
        });
    }

    fn load_weights(&self, e: &mut Emitter<'_>, out: &Output, group: &Group) {
        let (g, layer) = (&self.geometry, self.layer);
        let base = self.constants.weights / e.config().wgt_elem_bytes() as u32;
        let [kh, kw] = layer.slide.kernel;
        let first_tap = group.tap_rows.start * kw + group.tap_columns.start;
        let taps = group.tap_rows.len() * group.tap_columns.len();
        let load = |e: &mut Emitter<'_>, sram: usize, dram: usize, rows: usize, size: usize, stride: usize| {
            each_block(rows, size, stride, |row, rows, x_stride| {
                e.issue(Load {
                    memory_type: MemoryType::Wgt,
                    sram_base: (sram + row * size) as u32,
                    dram_base: base + (dram + row * stride) as u32,
                    y_size: rows as u32,
                    x_size: size as u32,
                    x_stride: x_stride as u32,
                    ..Load::default()
                });
            });
        };
        if self.lanes {
            let per_cell = lane_elements(kh * kw * self.passes, g);
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

    /// First tap and number of taps of a lane-wise group in the order of its weights: `[tap][pass]`.
    fn lane_taps(&self, group: &Group) -> (usize, usize) {
        let kw = self.layer.slide.kernel[1];
        let first = (group.tap_rows.start * kw + group.tap_columns.start) * self.passes;
        (first, group.tap_rows.len() * group.tap_columns.len() * self.passes)
    }

    /// Rows and columns of the input that a group reads, relative to the image: they may begin before it or end behind it.
    fn window(&self, out: &Output, group: &Group, axis: usize) -> (isize, usize) {
        let slide = &self.layer.slide;
        let (pixels, taps) = if axis == 0 { (&out.rows, &group.tap_rows) } else { (&out.columns, &group.tap_columns) };
        let begin =
            (pixels.start * slide.stride[axis] + taps.start * slide.dilation[axis]) as isize - slide.pad[axis] as isize;
        (begin, tile::reach(pixels.len(), slide.stride[axis], taps.len(), slide.dilation[axis]))
    }

    fn load_input(&self, e: &mut Emitter<'_>, out: &Output, group: &Group) {
        let (g, image) = (&self.geometry, self.layer.input);
        let (y, rows) = self.window(out, group, 0);
        let (x, columns) = self.window(out, group, 1);
        let base = self.input as usize / e.config().inp_elem_bytes();
        let blocks = g.blocks(image.c);
        for (k, cell) in group.depth.clone().enumerate() {
            let sram = group.inp + k * rows * columns * g.inp_per_cell;
            let plane = base + (out.group * blocks + cell) * image.h * image.w * g.inp_per_cell;
            let picture = Picture {
                plane,
                height: image.h,
                width: image.w,
                unit: g.inp_per_cell,
                pad_value: self.layer.pad_value,
            };
            picture.load(e, sram, (y, rows), (x, columns));
        }
    }

    fn gemm(&self, e: &mut Emitter<'_>, out: &Output, group: &Group) {
        let (g, slide) = (&self.geometry, &self.layer.slide);
        let (height, width) = (out.rows.len(), out.columns.len());
        let rows = self.window(out, group, 0).1;
        let columns = self.window(out, group, 1).1;
        let taps = group.tap_rows.len() * group.tap_columns.len();
        let entries = g.inp_per_cell * self.passes;
        let count = group.depth.len() * entries;
        let vectors = self.vectors(out);
        if height * width == 1 && rows * columns == 1 && self.passes == 1 {
            // One pixel: input elements are the outer loop and output vectors the inner one.
            let uop = e.kernel(&[Uop { dst: out.acc as u32, src: group.inp as u32, wgt: group.wgt as u32 }]);
            e.issue(Gemm {
                uop_begin: uop,
                uop_end: uop + 1,
                iter_out: count as u32,
                iter_in: vectors as u32,
                dst_factor_in: u32::from(vectors > 1),
                src_factor_out: u32::from(count > 1),
                wgt_factor_out: u32::from(count > 1),
                wgt_factor_in: if vectors > 1 { count as u32 } else { 0 },
                ..Gemm::default()
            });
            return;
        }
        let unit = g.inp_per_cell;
        let [kh, kw] = slide.kernel;
        let all_entries = g.blocks(self.layer.input.c) * entries;
        let sweep = Gemm {
            iter_out: height as u32,
            iter_in: width as u32,
            dst_factor_out: factor(height, width * g.out_per_cell),
            dst_factor_in: factor(width, g.out_per_cell),
            src_factor_out: factor(height, slide.stride[0] * columns * unit),
            src_factor_in: factor(width, slide.stride[1] * unit),
            ..Gemm::default()
        };
        let mut steps: Vec<(Vec<Uop>, Insn)> = Vec::new();
        for entry in 0..count {
            let (cell, within) = (entry / entries, entry % entries);
            // Passes read the same input element.
            let k = within % g.inp_per_cell;
            for (a, tap_row) in group.tap_rows.clone().enumerate() {
                for (b, tap_column) in group.tap_columns.clone().enumerate() {
                    let src = group.inp
                        + ((cell * rows + a * slide.dilation[0]) * columns + b * slide.dilation[1]) * unit
                        + k;
                    let tap = a * group.tap_columns.len() + b;
                    let element = |vector: usize| {
                        let row = (out.cells.start * g.out_per_cell + vector) * all_entries;
                        (row + group.depth.start * entries + entry) * kh * kw + tap_row * kw + tap_column
                    };
                    let kernel: Vec<Uop> = (0..vectors)
                        .filter(|&vector| !self.constants.zero[element(vector)])
                        .map(|vector| Uop {
                            dst: self.acc(out, vector) as u32,
                            src: src as u32,
                            wgt: (group.wgt + (vector * count + entry) * taps + tap) as u32,
                        })
                        .collect();
                    if !kernel.is_empty() {
                        steps.push((kernel, sweep.into()));
                    }
                }
            }
        }
        e.issue_all(steps);
    }

    fn lane(&self, e: &mut Emitter<'_>, out: &Output, group: &Group, first: bool) {
        let (g, slide) = (&self.geometry, &self.layer.slide);
        let (height, width) = (out.rows.len(), out.columns.len());
        let rows = self.window(out, group, 0).1;
        let columns = self.window(out, group, 1).1;
        let unit = g.out_per_cell;
        let max = matches!(self.layer.kind, WindowKind::Max);
        let inp = group.inp / g.inp_per_cell * unit;
        let (first_tap, elements) = (self.lane_taps(group).0, self.lane_range(group));
        let skipped = first_tap - elements.start * tile::taps_per_element(g);
        let mut steps: Vec<(Vec<Uop>, Insn)> = Vec::new();
        let tap_columns = group.tap_columns.len();
        for tap in 0..group.tap_rows.len() * tap_columns {
            let (a, b) = (tap / tap_columns, tap % tap_columns);
            for pass in 0..self.passes.max(1) {
                let weight = skipped + tap * self.passes + pass;
                let kernel: Vec<Uop> = (0..self.vectors(out))
                    .map(|vector| {
                        let (cell, k) = (vector / unit, vector % unit);
                        let src = ((cell * rows + a * slide.dilation[0]) * columns + b * slide.dilation[1]) * unit + k;
                        let wgt = (group.wgt + cell * elements.len()) * g.block_in + weight * unit + k;
                        Uop {
                            dst: self.acc(out, vector) as u32,
                            src: (inp + src) as u32,
                            wgt: if max { 0 } else { wgt as u32 },
                        }
                    })
                    .collect();
                let insn = Lane {
                    overwrite: first && steps.is_empty(),
                    max,
                    iter_out: height as u32,
                    iter_in: width as u32,
                    dst_factor_out: factor(height, width * unit),
                    dst_factor_in: factor(width, unit),
                    src_factor_out: factor(height, slide.stride[0] * columns * unit),
                    src_factor_in: factor(width, slide.stride[1] * unit),
                    ..Lane::default()
                };
                steps.push((kernel, insn.into()));
            }
        }
        e.issue_all(steps);
    }

    fn post(&self, e: &mut Emitter<'_>, out: &Output) {
        let (vectors, pixels) = (self.vectors(out), out.rows.len() * out.columns.len());
        let unit = self.geometry.out_per_cell;
        match &self.layer.post {
            Post::Requant { mode, .. } if pixels == 1 => {
                let insn = Requant {
                    mode: *mode,
                    saturate: true,
                    iter_out: 1,
                    iter_in: vectors as u32,
                    dst_factor_in: factor(vectors, 1),
                    src_factor_in: factor(vectors, tile::param_vectors(1)),
                    ..Requant::default()
                };
                e.issue_all(vec![(vec![Uop { dst: out.acc as u32, src: 0, wgt: 0 }], insn.into())]);
            }
            Post::Requant { mode, .. } => {
                let insn = Requant {
                    mode: *mode,
                    saturate: true,
                    iter_out: 1,
                    iter_in: pixels as u32,
                    dst_factor_in: unit as u32,
                    ..Requant::default()
                };
                let step = |vector: usize| {
                    let uop =
                        Uop { dst: self.acc(out, vector) as u32, src: tile::param_vectors(vector) as u32, wgt: 0 };
                    (vec![uop], insn.into())
                };
                e.issue_all((0..vectors).map(step).collect());
            }
            Post::Clamp(None) => {}
            Post::Clamp(Some((lo, hi))) => {
                let count = vectors * pixels;
                let insn = Alu {
                    alu_opcode: AluOpcode::Clamp,
                    use_imm: true,
                    imm: clamp_imm(*lo, *hi),
                    iter_out: 1,
                    iter_in: count as u32,
                    dst_factor_in: factor(count, 1),
                    src_factor_in: factor(count, 1),
                    ..Alu::default()
                };
                let uop = Uop { dst: out.acc as u32, src: out.acc as u32, wgt: 0 };
                e.issue_all(vec![(vec![uop], insn.into())]);
            }
        }
    }

    fn store(&self, e: &mut Emitter<'_>, out: &Output) {
        let (g, image) = (&self.geometry, self.layer.output);
        let unit = g.out_per_cell;
        let base = self.output as usize / e.config().out_elem_bytes();
        let blocks = g.blocks(image.c);
        let (height, width) = (out.rows.len(), out.columns.len());
        for (k, cell) in out.cells.clone().enumerate() {
            let plane = base + (out.group * blocks + cell) * image.h * image.w * unit;
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

/// Weight elements that a cell's lane-wise taps occupy.
fn lane_elements(taps: usize, g: &Geometry) -> usize {
    taps.div_ceil(tile::taps_per_element(g))
}

fn constants(e: &mut Emitter<'_>, index: usize, layer: &Window, g: &Geometry) -> Result<Constants, JitError> {
    let [kh, kw] = layer.slide.kernel;
    let taps = kh * kw;
    let (in_cells, out_cells) = (g.blocks(layer.input.c), g.blocks(layer.output.c));
    let mut zero = Vec::new();
    let bytes = match &layer.kind {
        WindowKind::Gemm { weights } => {
            let elem = g.block_out * g.block_in;
            let (channels, outputs) = (layer.input.c, layer.output.c);
            let mut bytes = Vec::with_capacity(out_cells * g.out_per_cell * in_cells * weights.len() * taps * elem);
            for vector in 0..out_cells * g.out_per_cell {
                for cell in 0..in_cells {
                    for pass in weights {
                        for k in 0..g.inp_per_cell {
                            let first = cell * g.cell + k * g.block_in;
                            for tap in 0..taps {
                                let begin = bytes.len();
                                bytes.resize(begin + elem, 0u8);
                                for lane in 0..g.block_out {
                                    let o = vector * g.block_out + lane;
                                    if o >= outputs || first >= channels {
                                        break;
                                    }
                                    let count = g.block_in.min(channels - first);
                                    let from = (o * taps + tap) * channels + first;
                                    let to = begin + lane * g.block_in;
                                    for (byte, w) in bytes[to..to + count].iter_mut().zip(&pass[from..from + count]) {
                                        *byte = *w as u8;
                                    }
                                }
                                zero.push(bytes[begin..].iter().all(|&b| b == 0));
                            }
                        }
                    }
                }
            }
            bytes
        }
        WindowKind::Lane { weights } => {
            let per_cell = lane_elements(taps * weights.len(), g) * g.block_in * g.block_out;
            let mut bytes = vec![0u8; out_cells * per_cell];
            for channel in 0..layer.output.c {
                let (cell, within) = (channel / g.cell, channel % g.cell);
                for tap in 0..taps {
                    for (pass, weights_of_pass) in weights.iter().enumerate() {
                        let slot = tap * weights.len() + pass;
                        bytes[cell * per_cell + slot * g.cell + within] = weights_of_pass[channel * taps + tap] as u8;
                    }
                }
            }
            bytes
        }
        WindowKind::Max => Vec::new(),
    };
    let weights = if bytes.is_empty() { 0 } else { e.constants(format!("wgt{index}"), Role::Wgt, bytes)? };
    let params = match &layer.post {
        Post::Requant { params, .. } => {
            let mut words = Vec::with_capacity(out_cells * g.cell * 4 * g.batch * 4);
            for vector in 0..out_cells * g.out_per_cell {
                let lanes: Vec<[i32; 4]> = (0..g.block_out)
                    .map(|lane| params.get(vector * g.block_out + lane).copied().unwrap_or_default().to_words())
                    .collect();
                for word in 0..4 {
                    for _ in 0..g.batch {
                        lanes.iter().for_each(|w| words.extend_from_slice(&w[word].to_le_bytes()));
                    }
                }
            }
            e.constants(format!("acc{index}"), Role::Acc, words)?
        }
        Post::Clamp(_) => 0,
    };
    Ok(Constants { weights, params, zero })
}

/// A loop factor, zero where the loop runs once.
fn factor(iterations: usize, step: usize) -> u32 {
    if iterations > 1 { step as u32 } else { 0 }
}
