//! Emission of element-wise layers.
//!
//! Such a layer treats every lane alike, so an activation is one run of cells, cut to what fits. Operands come in through
//! INP; each has a region of the tile in ACC, into which REQUANT brings it, or LANE where another operation comes first. The
//! result is region 0.

use crate::JitError;
use crate::emit::{Emitter, Operands};
use crate::layout::Geometry;
use crate::lower::{Eltwise, Step};
use crate::tile;
use crate::window::clamp_imm;
use std::ops::Range;
use tandem_isa::{Alu, AluOpcode, Insn, Lane, Load, MemoryType, Requant, Role, Store, Uop};

/// Emits an element-wise layer that reads the activations at bytes `inputs` and writes the one at byte `output`.
pub(crate) fn emit(
    e: &mut Emitter<'_>,
    index: usize,
    layer: &Eltwise,
    inputs: &[u32],
    output: u32,
) -> Result<(), JitError> {
    let config = e.config();
    let contexts = e.contexts();
    let g = Geometry::new(config);
    let params = params(layer, &g);
    let param_count = params.len() / config.acc_elem_bytes();
    if param_count > 0 {
        let offset = e.constants(format!("acc{index}"), Role::Acc, params)?;
        e.claim(&(0..param_count));
        e.issue(Load {
            memory_type: MemoryType::Acc,
            dram_base: offset / config.acc_elem_bytes() as u32,
            y_size: 1,
            x_size: param_count as u32,
            x_stride: param_count as u32,
            ..Load::default()
        });
        e.know_zero(0..param_count, false);
    }
    let regions = inputs.len();
    let inp_cap = tile::inp_capacity(config, &g, true, contexts);
    let acc_cap = (config.acc_depth() - param_count) / contexts;
    let cells = (inp_cap / g.inp_per_cell / regions).min(acc_cap / g.out_per_cell / regions).max(1);
    let total = g.groups(layer.dims.n) * g.blocks(layer.dims.c) * layer.dims.h * layer.dims.w;
    for Range { start: begin, end } in runs(total, cells) {
        let context = e.tiles() % contexts;
        let run = Run { g: &g, cells: end - begin, inp: context * inp_cap, acc: param_count + context * acc_cap };
        let count = regions * run.cells * g.inp_per_cell;
        let operands = Operands { inp: run.inp..run.inp + count, wgt: 0..0 };
        let bytes = |at: u32| {
            let cell = (g.batch * g.cell) as u64;
            u64::from(at) + begin as u64 * cell..u64::from(at) + (begin + run.cells) as u64 * cell
        };
        let reads: Vec<_> = inputs.iter().map(|&input| bytes(input)).collect();
        e.begin_load(operands.clone(), &operands, &reads);
        for (region, &input) in inputs.iter().enumerate() {
            let count = (run.cells * g.inp_per_cell) as u32;
            e.issue(Load {
                memory_type: MemoryType::Inp,
                sram_base: (run.inp + region * run.cells * g.inp_per_cell) as u32,
                dram_base: input / config.inp_elem_bytes() as u32 + (begin * g.inp_per_cell) as u32,
                y_size: 1,
                x_size: count,
                x_stride: count,
                ..Load::default()
            });
        }
        e.end_load();
        let place = run.acc..run.acc + regions * run.vectors();
        e.claim(&place);
        let Steps { from_inp, rest, clears } = run.steps(layer, e.config().has_requant_flags());
        e.begin_group();
        e.issue_all(from_inp);
        e.end_group();
        e.issue_all(rest);
        e.know_zero(place.clone(), false);
        e.know_zero(run.acc..run.acc + run.vectors(), clears);
        e.begin_store();
        let count = (run.cells * g.out_per_cell) as u32;
        e.issue(Store {
            memory_type: g.store,
            sram_base: run.acc as u32,
            dram_base: output / config.out_elem_bytes() as u32 + (begin * g.out_per_cell) as u32,
            y_size: 1,
            x_size: count,
            x_stride: count,
            ..Store::default()
        });
        e.end_store(place, vec![bytes(output)]);
    }
    Ok(())
}

/// Runs of at most `most` cells, which grow from a short first one and shrink to a short last one: nothing is computed while the
/// first is loaded and the last is stored.
fn runs(total: usize, most: usize) -> Vec<Range<usize>> {
    const SHORT: usize = 4;
    let ramp = || std::iter::successors(Some(most.div_ceil(SHORT)), |size| (2 * size < most).then_some(2 * size));
    let (mut front, mut back) = (Vec::new(), Vec::new());
    let (mut begin, mut end) = (0, total);
    for size in ramp().chain(std::iter::repeat(most)) {
        if begin == end {
            break;
        }
        let next = begin + size.min(end - begin);
        front.push(begin..next);
        begin = next;
        if size < most && begin < end {
            let last = end - size.min(end - begin);
            back.push(last..end);
            end = last;
        }
    }
    front.extend(back.into_iter().rev());
    front
}

/// A run of cells in one context.
struct Run<'a> {
    g: &'a Geometry,
    cells: usize,
    inp: usize,
    acc: usize,
}

/// The instructions of a tile.
struct Steps {
    /// Those that read INP come first.
    from_inp: Vec<(Vec<Uop>, Insn)>,
    rest: Vec<(Vec<Uop>, Insn)>,
    /// Whether the accumulators of the result are zero in the end.
    clears: bool,
}

impl Run<'_> {
    /// The instructions of the layer. With `flags` REQUANT reads INP itself and leaves zero behind.
    fn steps(&self, layer: &Eltwise, flags: bool) -> Steps {
        let mut steps = Steps { from_inp: Vec::new(), rest: Vec::new(), clears: false };
        let requants = |step: &Step, wanted: usize| matches!(step, Step::Requant { region, .. } if *region == wanted);
        let direct: Vec<bool> = (0..layer.operands.len())
            .map(|region| {
                flags && layer.steps.iter().find(|step| step.touches(region)).is_some_and(|step| requants(step, region))
            })
            .collect();
        let spread = (0..direct.len()).filter(|&region| !direct[region]).map(|region| self.spread(region));
        steps.from_inp.extend(spread);
        let (mut waiting, mut param) = (direct, 0);
        for (at, step) in layer.steps.iter().enumerate() {
            match *step {
                Step::Requant { region, mode, saturate, .. } => {
                    let from_inp = std::mem::take(&mut waiting[region]);
                    let last = flags && at + 1 == layer.steps.len();
                    let insn = Requant {
                        mode,
                        saturate,
                        clear: last,
                        from_inp,
                        param: if from_inp { param } else { 0 },
                        iter_out: 1,
                        iter_in: self.vectors() as u32,
                        dst_factor_in: 1,
                        src_factor_in: u32::from(from_inp),
                        ..Requant::default()
                    };
                    let src = if from_inp { self.input(region) } else { param };
                    let uop = Uop { dst: self.region(region), src, wgt: 0 };
                    let list = if from_inp { &mut steps.from_inp } else { &mut steps.rest };
                    list.push((vec![uop], insn.into()));
                    steps.clears |= last;
                    param += tile::param_vectors(1) as u32;
                }
                _ => self.step(step, &mut steps.rest),
            }
        }
        steps
    }

    /// First input vector of an operand.
    fn input(&self, region: usize) -> u32 {
        (self.inp / self.g.inp_per_cell * self.g.out_per_cell + region * self.vectors()) as u32
    }

    fn vectors(&self) -> usize {
        self.cells * self.g.out_per_cell
    }

    fn region(&self, region: usize) -> u32 {
        (self.acc + region * self.vectors()) as u32
    }

    /// The step that brings an operand from INP into its region.
    fn spread(&self, region: usize) -> (Vec<Uop>, Insn) {
        let insn = Lane {
            overwrite: true,
            max: true,
            iter_out: 1,
            iter_in: self.vectors() as u32,
            dst_factor_in: 1,
            src_factor_in: 1,
            ..Lane::default()
        };
        (vec![Uop { dst: self.region(region), src: self.input(region), wgt: 0 }], insn.into())
    }

    /// A step of the ALU.
    fn step(&self, step: &Step, steps: &mut Vec<(Vec<Uop>, Insn)>) {
        let mut alu = |dst: usize, src: usize, alu_opcode: AluOpcode, imm: Option<i32>| {
            let insn = Alu {
                alu_opcode,
                use_imm: imm.is_some(),
                imm: imm.unwrap_or(0),
                iter_out: 1,
                iter_in: self.vectors() as u32,
                dst_factor_in: 1,
                src_factor_in: 1,
                ..Alu::default()
            };
            steps.push((vec![Uop { dst: self.region(dst), src: self.region(src), wgt: 0 }], insn.into()));
        };
        match *step {
            Step::AddImm { region, imm } => alu(region, region, AluOpcode::Add, Some(imm)),
            Step::Add => alu(0, 1, AluOpcode::Add, None),
            Step::Sub => {
                alu(1, 1, AluOpcode::Mul, Some(-1));
                alu(0, 1, AluOpcode::Add, None);
            }
            Step::Mul => alu(0, 1, AluOpcode::Mul, None),
            Step::Clamp { lo, hi } => alu(0, 0, AluOpcode::Clamp, Some(clamp_imm(lo, hi))),
            Step::Requant { .. } => {}
        }
    }
}

/// The parameter vectors of the layer's REQUANT steps, in order.
fn params(layer: &Eltwise, g: &Geometry) -> Vec<u8> {
    let mut bytes = Vec::new();
    for step in &layer.steps {
        if let Step::Requant { param, .. } = step {
            for word in param.to_words() {
                (0..g.batch * g.block_out).for_each(|_| bytes.extend_from_slice(&word.to_le_bytes()));
            }
        }
    }
    bytes
}
