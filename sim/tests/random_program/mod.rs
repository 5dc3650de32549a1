//! Random legal programs for a configuration: every opcode, memory type and mode, all indices in range.

use super::draw::Random;
use tandem_isa::{
    Alu, AluOpcode, Dep, Finish, Gemm, HwConfig, Insn, Lane, Load, LoadPad, MemoryType, Profile, Queue, Requant,
    RequantMode, Store, Uop, semantics,
};

/// Size of the DRAM image.
pub const DRAM_BYTES: usize = 1 << 18;
/// Micro-ops lie below, data up to the half, and stores go above it.
const UOP_BYTES: usize = 1 << 14;

pub struct RandomProgram {
    pub config: HwConfig,
    pub insns: Vec<Insn>,
    pub dram: Vec<u8>,
}

/// The loops of an arithmetic instruction and where its micro-ops go.
struct Loops {
    uop_begin: u32,
    uop_end: u32,
    iter_out: u32,
    iter_in: u32,
    /// `dst`, `src`, `wgt`: outer and inner factor.
    factors: [[u32; 2]; 3],
}

/// A program without tokens: in stream order it is legal.
pub fn generate(config: HwConfig, seed: u64, length: usize) -> RandomProgram {
    let mut random = Random(seed);
    let mut dram: Vec<u8> = (0..DRAM_BYTES).map(|_| random.next() as u8).collect();
    // Words of small magnitude now and then, so that shifts and clamps see more than extremes.
    for word in dram.as_chunks_mut::<4>().0 {
        if random.below(3) == 0 {
            let small = random.below(2000) as i32 - 1000;
            *word = small.to_le_bytes();
        }
    }
    // Full scratchpads, so that no arithmetic works on zeros.
    let mut insns: Vec<Insn> = [MemoryType::Inp, MemoryType::Wgt, MemoryType::Acc]
        .map(|memory_type| fill(&mut random, &config, memory_type))
        .into();
    let length = length + insns.len();
    let mut uops = 0;
    while insns.len() < length {
        let insn = match random.below(10) {
            0..=2 => load(&mut random, &config),
            3 => store(&mut random, &config),
            _ => {
                let (insn, words) = arithmetic(&mut random, &config);
                let begin = uop_begin(&insn);
                if (uops + words.len()) * 4 > UOP_BYTES {
                    break;
                }
                for (word, at) in words.iter().zip((uops * 4..).step_by(4)) {
                    dram[at..at + 4].copy_from_slice(&word.to_le_bytes());
                }
                let (x_size, dram_base) = (words.len() as u32, uops as u32);
                let size = Load { y_size: 1, x_size, x_stride: x_size, ..Load::default() };
                insns.push(Load { memory_type: MemoryType::Uop, sram_base: begin, dram_base, ..size }.into());
                uops += words.len();
                insn
            }
        };
        insns.push(insn);
    }
    insns.push(Insn::Finish(Finish::default()));
    RandomProgram { config, insns, dram }
}

/// Adds tokens so that every instruction waits for the one before it.
pub fn serialise(insns: &[Insn]) -> Vec<Insn> {
    let mut serial: Vec<Insn> = Vec::new();
    for insn in insns {
        let mut insn = *insn;
        if let Some(last) = serial.last() {
            let (from, to) = (last.queue(), insn.queue());
            if from != to && from != Queue::Compute && to != Queue::Compute {
                hand_over(&mut serial, Insn::nop(Queue::Compute, Dep::default()));
            }
            if from != to {
                hand_over(&mut serial, insn);
                continue;
            }
        }
        *insn.dep_mut() = Dep::default();
        serial.push(insn);
    }
    serial
}

/// Appends an instruction of a neighbouring queue with a token from the last one.
fn hand_over(serial: &mut Vec<Insn>, mut insn: Insn) {
    let Some(last) = serial.last_mut() else { return };
    let forward = last.queue().next() == Some(insn.queue());
    if forward {
        last.dep_mut().push_next = true;
        insn.dep_mut().pop_prev = true;
    } else {
        last.dep_mut().push_prev = true;
        insn.dep_mut().pop_next = true;
    }
    serial.push(insn);
}

fn uop_begin(insn: &Insn) -> u32 {
    match insn {
        Insn::Gemm(i) => i.uop_begin,
        Insn::Alu(i) => i.uop_begin,
        Insn::Requant(i) => i.uop_begin,
        Insn::Lane(i) => i.uop_begin,
        _ => 0,
    }
}

/// Fills a scratchpad: rows of 32 elements, each one element further on in DRAM than the one before.
fn fill(random: &mut Random, config: &HwConfig, memory_type: MemoryType) -> Insn {
    let (elem, rows) = (config.elem_bytes(memory_type) as u32, config.depth(memory_type) as u32 / 32);
    let (first, last) = ((UOP_BYTES as u32).div_ceil(elem), DRAM_BYTES as u32 / elem - rows - 32);
    let dram_base = first + random.below(last - first);
    Load { memory_type, dram_base, y_size: rows, x_size: 32, x_stride: 1, ..Load::default() }.into()
}

fn load(random: &mut Random, config: &HwConfig) -> Insn {
    let extension = config.profile() == Profile::Tandem;
    let padded = extension && random.below(3) == 0;
    let memory_type = if padded {
        pick(random, &[MemoryType::Inp, MemoryType::Wgt, MemoryType::Acc8])
    } else {
        pick(random, &[MemoryType::Inp, MemoryType::Wgt, MemoryType::Inp, MemoryType::Acc, MemoryType::Acc8])
    };
    let depth = config.depth(memory_type) as u32;
    loop {
        let [y_size, x_size] = [random.below(6), random.below(8)];
        let pads: [u32; 4] = std::array::from_fn(|_| if random.below(3) == 0 { random.below(4) } else { 0 });
        let elements = (y_size + pads[0] + pads[1]) * (x_size + pads[2] + pads[3]);
        if elements > depth {
            continue;
        }
        let x_stride = if random.flag() { x_size } else { random.below(12) };
        let elem = config.elem_bytes(memory_type) as u32;
        let (first, last) = ((UOP_BYTES as u32).div_ceil(elem), (DRAM_BYTES as u32 / elem) - y_size * 12 - x_size);
        let dram_base = first + random.below(last - first);
        let sram_base = random.below(depth - elements + 1);
        let [y_pad_0, y_pad_1, x_pad_0, x_pad_1] = pads;
        let dep = Dep::default();
        return if padded {
            let pad_value = random.below(256) as i32 - 128;
            LoadPad {
                dep,
                memory_type,
                sram_base,
                dram_base,
                pad_value,
                y_size,
                x_size,
                x_stride,
                y_pad_0,
                y_pad_1,
                x_pad_0,
                x_pad_1,
            }
            .into()
        } else {
            Load {
                dep,
                memory_type,
                sram_base,
                dram_base,
                y_size,
                x_size,
                x_stride,
                y_pad_0,
                y_pad_1,
                x_pad_0,
                x_pad_1,
            }
            .into()
        };
    }
}

fn store(random: &mut Random, config: &HwConfig) -> Insn {
    let permuted = config.profile() == Profile::Tandem && random.flag();
    let memory_type = if permuted { MemoryType::OutInp } else { MemoryType::Out };
    let (y_size, mut x_size) = (random.below(6), random.below(9));
    if permuted {
        x_size *= semantics::out_inp_group(config) as u32;
    }
    let (y_size, x_size) = if y_size * x_size > 64 { (1, x_size) } else { (y_size, x_size) };
    let x_stride = if random.flag() { x_size } else { random.below(80) };
    let elem = config.out_elem_bytes() as u32;
    let (first, last) = (DRAM_BYTES as u32 / 2 / elem, DRAM_BYTES as u32 / elem - y_size * 80 - x_size);
    let dram_base = first + random.below(last - first);
    let sram_base = random.below(config.acc_depth() as u32 - y_size * x_size);
    Store { dep: Dep::default(), memory_type, sram_base, dram_base, y_size, x_size, x_stride }.into()
}

fn arithmetic(random: &mut Random, config: &HwConfig) -> (Insn, Vec<u32>) {
    let dep = Dep::default();
    let acc = config.acc_depth() as u32;
    let kinds = if config.profile() == Profile::Tandem { 8 } else { 4 };
    match random.below(kinds) {
        0 | 1 => {
            let limits = [acc, config.inp_depth() as u32, config.wgt_depth() as u32];
            let (l, words) = loops(random, config, limits);
            let reset = random.below(6) == 0;
            let [[dst_factor_out, dst_factor_in], [src_factor_out, src_factor_in], [wgt_factor_out, wgt_factor_in]] =
                l.factors;
            let Loops { uop_begin, uop_end, iter_out, iter_in, .. } = l;
            let insn = Gemm {
                dep,
                reset,
                uop_begin,
                uop_end,
                iter_out,
                iter_in,
                dst_factor_out,
                dst_factor_in,
                src_factor_out,
                src_factor_in,
                wgt_factor_out,
                wgt_factor_in,
            };
            (insn.into(), words)
        }
        2 | 3 => {
            let (l, words) = loops(random, config, [acc, acc, 1]);
            let [[dst_factor_out, dst_factor_in], [src_factor_out, src_factor_in], _] = l.factors;
            let Loops { uop_begin, uop_end, iter_out, iter_in, .. } = l;
            let opcodes = if config.profile() == Profile::Tandem { AluOpcode::ALL } else { &AluOpcode::ALL[..5] };
            let imm = if random.flag() { random.below(65536) as i32 - 32768 } else { random.below(80) as i32 - 40 };
            let insn = Alu {
                dep,
                reset: random.flag(),
                uop_begin,
                uop_end,
                iter_out,
                iter_in,
                dst_factor_out,
                dst_factor_in,
                src_factor_out,
                src_factor_in,
                alu_opcode: pick(random, opcodes),
                use_imm: random.flag(),
                imm,
            };
            (insn.into(), words)
        }
        4 | 5 => {
            let (l, words) = loops(random, config, [acc, acc - 3, 1]);
            let [[dst_factor_out, dst_factor_in], [src_factor_out, src_factor_in], _] = l.factors;
            let Loops { uop_begin, uop_end, iter_out, iter_in, .. } = l;
            let insn = Requant {
                dep,
                uop_begin,
                uop_end,
                iter_out,
                iter_in,
                dst_factor_out,
                dst_factor_in,
                src_factor_out,
                src_factor_in,
                mode: pick(random, RequantMode::ALL),
                saturate: random.below(3) > 0,
            };
            (insn.into(), words)
        }
        _ => {
            let limits = [acc, config.inp_vectors() as u32, config.wgt_vectors() as u32];
            let (l, words) = loops(random, config, limits);
            let [[dst_factor_out, dst_factor_in], [src_factor_out, src_factor_in], [wgt_factor_out, wgt_factor_in]] =
                l.factors;
            let Loops { uop_begin, uop_end, iter_out, iter_in, .. } = l;
            let insn = Lane {
                dep,
                overwrite: random.flag(),
                uop_begin,
                uop_end,
                iter_out,
                iter_in,
                max: random.below(3) == 0,
                dst_factor_out,
                dst_factor_in,
                src_factor_out,
                src_factor_in,
                wgt_factor_out,
                wgt_factor_in,
            };
            (insn.into(), words)
        }
    }
}

/// Loops whose three indices stay below `limits`, and the micro-ops for them.
fn loops(random: &mut Random, config: &HwConfig, limits: [u32; 3]) -> (Loops, Vec<u32>) {
    let (iter_out, iter_in, count) = (random.below(5), random.below(7), random.below(5));
    // The fields of micro-op and factors are as wide as the scratchpads' depths, also where LANE sees more vectors.
    let widths = [config.log_acc_depth(), config.log_src_depth(), config.log_wgt_depth()];
    let factor_widths =
        [config.log_acc_depth(), config.log_inp_depth().min(config.log_acc_depth()), config.log_wgt_depth()];
    let turns = [iter_out.saturating_sub(1), iter_in.saturating_sub(1)];
    let mut factors = [[0; 2]; 3];
    let mut firsts = [0; 3];
    for (index, &limit) in limits.iter().enumerate() {
        // Half of the space for the loops, so that the micro-ops differ; reductions have factors of zero.
        let mut room = limit / 2;
        for (axis, &turns) in turns.iter().enumerate() {
            let most = (room / turns.max(1)).min((1 << factor_widths[index]) - 1);
            let small = random.flag();
            let factor =
                if random.below(4) == 0 { 0 } else { random.below(most.min(if small { 4 } else { most }) + 1) };
            factors[index][axis] = factor;
            room -= (factor * turns).min(room);
        }
        let reach = factors[index][0] * turns[0] + factors[index][1] * turns[1];
        firsts[index] = limit.saturating_sub(reach).min(1 << widths[index]);
    }
    let uop_begin = random.below(config.uop_depth() as u32 - count);
    let close = random.flag();
    let words = (0..count)
        .map(|_| {
            let [dst, src, wgt] = firsts.map(|first| random.below(if close { first.min(6) } else { first }));
            Uop { dst, src, wgt }.encode(config).unwrap()
        })
        .collect();
    (Loops { uop_begin, uop_end: uop_begin + count, iter_out, iter_in, factors }, words)
}

fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[random.below(choices.len() as u32) as usize]
}
