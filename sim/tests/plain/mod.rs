//! A second executor, written from the manual alone: one instruction after the other in stream order, one scalar at a time,
//! arithmetic in 128 bits. Nothing of the simulator or of the shared semantics is used.

use tandem_isa::{
    Alu, AluOpcode, Compat, Gemm, HwConfig, Insn, Lane, MemoryType, Requant, RequantMode, Store, Upstream,
};

/// Scratchpads as nested arrays, and DRAM from address 0.
pub struct Plain {
    config: HwConfig,
    compat: Compat,
    pub dram: Vec<u8>,
    pub uop: Vec<u32>,
    /// `[element][batch][block_in]`
    pub inp: Vec<Vec<Vec<i8>>>,
    /// `[element][block_out][block_in]`
    pub wgt: Vec<Vec<Vec<i8>>>,
    /// `[element][batch][block_out]`
    pub acc: Vec<Vec<Vec<i32>>>,
    /// `[element][batch][block_out]`
    pub out: Vec<Vec<Vec<i8>>>,
    /// Elements whose result only OUT has, since REQUANT cleared the accumulator.
    cleared: Vec<bool>,
    /// REQUANT that the next GEMM or LANE is fused with.
    fuse: Option<Requant>,
}

struct Uop {
    dst: usize,
    src: usize,
    wgt: usize,
}

impl Plain {
    pub fn new(config: &HwConfig, compat: Compat, dram: Vec<u8>) -> Plain {
        let (batch, bi, bo) = (config.batch(), config.block_in(), config.block_out());
        Plain {
            config: config.clone(),
            compat,
            dram,
            uop: vec![0; config.uop_depth()],
            inp: vec![vec![vec![0; bi]; batch]; config.inp_depth()],
            wgt: vec![vec![vec![0; bi]; bo]; config.wgt_depth()],
            acc: vec![vec![vec![0; bo]; batch]; config.acc_depth()],
            out: vec![vec![vec![0; bo]; batch]; config.acc_depth()],
            cleared: vec![false; config.acc_depth()],
            fuse: None,
        }
    }

    pub fn run(&mut self, insns: &[Insn]) {
        for insn in insns {
            match insn {
                Insn::Load(i) => {
                    let pads = [i.y_pad_0, i.y_pad_1, i.x_pad_0, i.x_pad_1];
                    self.load(i.memory_type, i.sram_base, i.dram_base, [i.y_size, i.x_size, i.x_stride], pads, 0);
                }
                Insn::LoadPad(i) => {
                    let pads = [i.y_pad_0, i.y_pad_1, i.x_pad_0, i.x_pad_1];
                    let size = [i.y_size, i.x_size, i.x_stride];
                    self.load(i.memory_type, i.sram_base, i.dram_base, size, pads, i.pad_value);
                }
                Insn::Store(i) => self.store(i),
                Insn::Gemm(i) => self.gemm(i),
                Insn::Alu(i) => self.alu(i),
                Insn::Requant(i) if i.fuse => self.fuse = Some(*i),
                Insn::Requant(i) => self.requant(i),
                Insn::Lane(i) => self.lane(i),
                Insn::Finish(_) => self.fuse = None,
            }
        }
    }

    fn uop(&self, index: u32) -> Uop {
        let word = u64::from(self.uop[index as usize]);
        let (a, s) = (self.config.log_acc_depth(), self.config.log_acc_depth().max(self.config.log_inp_depth()));
        Uop { dst: (word % (1 << a)) as usize, src: (word >> a) as usize % (1 << s), wgt: (word >> (a + s)) as usize }
    }

    fn load(
        &mut self,
        memory_type: MemoryType,
        sram_base: u32,
        dram_base: u32,
        [y_size, x_size, x_stride]: [u32; 3],
        [top, bottom, left, right]: [u32; 4],
        pad: i32,
    ) {
        if x_size == 0 {
            return;
        }
        let mut sram = sram_base as usize;
        for y in 0..top + y_size + bottom {
            for x in 0..left + x_size + right {
                let inside = (top..top + y_size).contains(&y) && (left..left + x_size).contains(&x);
                let source = inside.then(|| (dram_base + (y - top) * x_stride + (x - left)) as usize);
                self.load_element(memory_type, sram, source, pad);
                sram += 1;
            }
        }
    }

    fn load_element(&mut self, memory_type: MemoryType, sram: usize, source: Option<usize>, pad: i32) {
        let dram = &self.dram;
        let byte = |elem: usize, at: usize| source.map_or(pad as i8, |element| dram[element * elem + at] as i8);
        let word = |elem: usize, at: usize| {
            source.map_or(pad, |element| {
                let at = element * elem + at * 4;
                i32::from_le_bytes([dram[at], dram[at + 1], dram[at + 2], dram[at + 3]])
            })
        };
        let (batch, bi, bo) = (self.config.batch(), self.config.block_in(), self.config.block_out());
        match memory_type {
            MemoryType::Uop => self.uop[sram] = word(4, 0) as u32,
            MemoryType::Inp => {
                for b in 0..batch {
                    for i in 0..bi {
                        self.inp[sram][b][i] = byte(batch * bi, b * bi + i);
                    }
                }
            }
            MemoryType::Wgt => {
                for o in 0..bo {
                    for i in 0..bi {
                        self.wgt[sram][o][i] = byte(bo * bi, o * bi + i);
                    }
                }
            }
            MemoryType::Wgt4 => {
                for o in 0..bo {
                    for i in 0..bi {
                        let at = o * bi + i;
                        self.wgt[sram][o][i] = match source {
                            None => pad as i8,
                            Some(element) => {
                                let byte = i32::from(dram[element * (bo * bi / 2) + at / 2]);
                                let code = byte >> (4 * (at % 2)) & 15;
                                (if code < 8 { code } else { code - 16 }) as i8
                            }
                        };
                    }
                }
            }
            MemoryType::Acc => {
                self.cleared[sram] = false;
                for b in 0..batch {
                    for o in 0..bo {
                        self.acc[sram][b][o] = word(batch * bo * 4, b * bo + o);
                    }
                }
            }
            MemoryType::Acc8 => {
                self.cleared[sram] = false;
                for b in 0..batch {
                    for o in 0..bo {
                        self.acc[sram][b][o] = i32::from(byte(batch * bo, b * bo + o));
                    }
                }
            }
            MemoryType::Out | MemoryType::OutInp => panic!("no such load"),
        }
    }

    fn store(&mut self, i: &Store) {
        if i.x_size == 0 {
            return;
        }
        let (batch, bi, bo) = (self.config.batch(), self.config.block_in(), self.config.block_out());
        let value = |element: usize, b: usize, o: usize| match self.compat.store_source {
            Upstream::Fsim if !self.cleared[element] => (self.acc[element][b][o] & 0xff) as u8,
            _ => self.out[element][b][o] as u8,
        };
        for y in 0..i.y_size {
            // The row as DRAM will hold it.
            let mut row = Vec::new();
            let first = (i.sram_base + y * i.x_size) as usize;
            let count = i.x_size as usize;
            if i.memory_type == MemoryType::Out {
                for e in 0..count {
                    for b in 0..batch {
                        (0..bo).for_each(|o| row.push(value(first + e, b, o)));
                    }
                }
            } else if bo >= bi {
                for e in 0..count {
                    for part in 0..bo / bi {
                        for b in 0..batch {
                            (0..bi).for_each(|l| row.push(value(first + e, b, part * bi + l)));
                        }
                    }
                }
            } else {
                let r = bi / bo;
                assert_eq!(count % r, 0);
                for group in 0..count / r {
                    for b in 0..batch {
                        for part in 0..r {
                            (0..bo).for_each(|o| row.push(value(first + group * r + part, b, o)));
                        }
                    }
                }
            }
            let at = (i.dram_base + y * i.x_stride) as usize * batch * bo;
            self.dram[at..at + row.len()].copy_from_slice(&row);
        }
    }

    fn keep_out(&mut self, element: usize) {
        self.cleared[element] = false;
        for b in 0..self.config.batch() {
            for o in 0..self.config.block_out() {
                self.out[element][b][o] = self.acc[element][b][o] as i8;
            }
        }
    }

    /// Before a fused micro-op writes accumulator `d`: OUT keeps what it has. Behind the last one of a turn OUT takes the result.
    fn keep_old_out(&mut self, d: usize) {
        if self.compat.store_source == Upstream::Fsim && !self.cleared[d] {
            self.keep_out(d);
        }
        self.cleared[d] = true;
    }

    fn fused_result(&mut self, fuse: &Requant, params: &[Vec<Vec<i32>>], d: usize) {
        for (b, row) in self.acc[d].iter().enumerate() {
            for (o, &sum) in row.iter().enumerate() {
                let words = [0, 1, 2, 3].map(|k| params[k][b][o]);
                self.out[d][b][o] = requant_lane(sum, words, fuse) as i8;
            }
        }
    }

    fn params(&self, fuse: &Requant) -> Vec<Vec<Vec<i32>>> {
        (0..4).map(|k| self.acc[fuse.param as usize + k].clone()).collect()
    }

    fn gemm(&mut self, i: &Gemm) {
        let fuse = self.fuse.take();
        for y in 0..i.iter_out {
            for x in 0..i.iter_in {
                for u in i.uop_begin..i.uop_end {
                    let uop = self.uop(u);
                    let d = uop.dst + (y * i.dst_factor_out + x * i.dst_factor_in) as usize;
                    let s = uop.src + (y * i.src_factor_out + x * i.src_factor_in) as usize;
                    let w = uop.wgt + (y * i.wgt_factor_out + x * i.wgt_factor_in) as usize;
                    let params = fuse.as_ref().map(|fuse| self.params(fuse)).unwrap_or_default();
                    if fuse.is_some() {
                        self.keep_old_out(d);
                    }
                    for b in 0..self.config.batch() {
                        for o in 0..self.config.block_out() {
                            let first = fuse.is_some() && u == i.uop_begin;
                            let mut sum = if first { 0 } else { i64::from(self.acc[d][b][o]) };
                            if i.reset {
                                sum = 0;
                            } else {
                                for l in 0..self.config.block_in() {
                                    sum += i64::from(self.inp[s][b][l]) * i64::from(self.wgt[w][o][l]);
                                }
                            }
                            self.acc[d][b][o] = wrap(sum.into());
                        }
                    }
                    if let Some(fuse) = &fuse {
                        if u + 1 == i.uop_end {
                            self.fused_result(fuse, &params, d);
                        }
                        continue;
                    }
                    let writes_out = match self.compat.store_source {
                        Upstream::Fsim => false,
                        Upstream::Chisel => !i.reset,
                        Upstream::Hls => true,
                    };
                    self.cleared[d] = false;
                    if writes_out {
                        self.keep_out(d);
                    }
                }
            }
        }
    }

    fn alu(&mut self, i: &Alu) {
        for y in 0..i.iter_out {
            for x in 0..i.iter_in {
                for u in i.uop_begin..i.uop_end {
                    let uop = self.uop(u);
                    let d = uop.dst + (y * i.dst_factor_out + x * i.dst_factor_in) as usize;
                    let s = uop.src + (y * i.src_factor_out + x * i.src_factor_in) as usize;
                    for b in 0..self.config.batch() {
                        for o in 0..self.config.block_out() {
                            let swapped = i.use_imm && self.compat.alu_imm_operand == Upstream::Chisel;
                            let left = self.acc[if swapped { s } else { d }][b][o];
                            let right = if i.use_imm { i.imm } else { self.acc[s][b][o] };
                            self.acc[d][b][o] = self.alu_lane(i, left, right);
                        }
                    }
                    self.keep_out(d);
                }
            }
        }
    }

    fn alu_lane(&self, i: &Alu, left: i32, right: i32) -> i32 {
        let (a, b) = (i128::from(left), i128::from(right));
        match i.alu_opcode {
            AluOpcode::Min => left.min(right),
            AluOpcode::Max => left.max(right),
            AluOpcode::Add => wrap(a + b),
            AluOpcode::Mul => wrap(a * b),
            AluOpcode::Mov => right,
            AluOpcode::Clamp => {
                let (lo, hi) = (i32::from(right as i8), i32::from((right >> 8) as i8));
                if left < lo { lo.min(hi) } else { left.min(hi) }
            }
            AluOpcode::Rshr if right >= 0 => wrap(round_away(a, 1 << right.min(31))),
            AluOpcode::Rshr => left_shift(left, -b),
            AluOpcode::Shr => match self.compat.shift_amount {
                Upstream::Fsim if right >= 0 => wrap(a.div_euclid(1 << right.min(31))),
                Upstream::Fsim => left_shift(left, -b),
                Upstream::Chisel if i.use_imm && right < 0 => left_shift(left, (-b).rem_euclid(32)),
                Upstream::Chisel => wrap(a.div_euclid(1 << b.rem_euclid(32))),
                Upstream::Hls => {
                    let amount = (b + 16).rem_euclid(32) - 16;
                    if amount < 0 { left_shift(left, -amount) } else { wrap(a.div_euclid(1 << amount)) }
                }
            },
        }
    }

    fn requant(&mut self, i: &Requant) {
        for y in 0..i.iter_out {
            for x in 0..i.iter_in {
                for u in i.uop_begin..i.uop_end {
                    let uop = self.uop(u);
                    let d = uop.dst + (y * i.dst_factor_out + x * i.dst_factor_in) as usize;
                    let s = uop.src + (y * i.src_factor_out + x * i.src_factor_in) as usize;
                    for b in 0..self.config.batch() {
                        for o in 0..self.config.block_out() {
                            let first = if i.from_inp { i.param as usize } else { s };
                            let words = [0, 1, 2, 3].map(|k| self.acc[first + k][b][o]);
                            let value = if i.from_inp { i32::from(self.input(s, b, o)) } else { self.acc[d][b][o] };
                            let result = requant_lane(value, words, i);
                            self.out[d][b][o] = result as i8;
                            self.acc[d][b][o] = if i.clear { 0 } else { result };
                        }
                    }
                    self.cleared[d] = i.clear;
                }
            }
        }
    }

    /// Lane `l` of input vector `s`.
    fn input(&self, s: usize, b: usize, l: usize) -> i8 {
        let (bi, bo) = (self.config.block_in(), self.config.block_out());
        if bo >= bi {
            self.inp[s * (bo / bi) + l / bi][b][l % bi]
        } else {
            self.inp[s / (bi / bo)][b][s % (bi / bo) * bo + l]
        }
    }

    fn lane(&mut self, i: &Lane) {
        let fuse = self.fuse.take();
        let (bi, bo) = (self.config.block_in(), self.config.block_out());
        for y in 0..i.iter_out {
            for x in 0..i.iter_in {
                for u in i.uop_begin..i.uop_end {
                    let uop = self.uop(u);
                    let d = uop.dst + (y * i.dst_factor_out + x * i.dst_factor_in) as usize;
                    let s = uop.src + (y * i.src_factor_out + x * i.src_factor_in) as usize;
                    let w = uop.wgt + (y * i.wgt_factor_out + x * i.wgt_factor_in) as usize;
                    let params = fuse.as_ref().map(|fuse| self.params(fuse)).unwrap_or_default();
                    if fuse.is_some() {
                        self.keep_old_out(d);
                    }
                    for b in 0..self.config.batch() {
                        for l in 0..bo {
                            let old = i64::from(self.acc[d][b][l]);
                            let product = |tap: usize| {
                                // The vectors of a weight element follow one another, the first behind the last.
                                let w = w / bi * bi + (w + tap) % bi;
                                let flat = w * bo + l;
                                let row = flat / bi;
                                i64::from(self.input(s + tap, b, l))
                                    * i64::from(self.wgt[row / bo][row % bo][flat % bi])
                            };
                            let value = if i.max {
                                i64::from(self.input(s, b, l))
                            } else {
                                (0..=i.more_taps as usize).map(product).sum()
                            };
                            let first = fuse.is_some() && u == i.uop_begin;
                            let new = match (i.overwrite || first, i.max) {
                                (true, _) => value,
                                (false, true) => old.max(value),
                                (false, false) => old + value,
                            };
                            self.acc[d][b][l] = wrap(new.into());
                        }
                    }
                    match &fuse {
                        Some(fuse) if u + 1 == i.uop_end => self.fused_result(fuse, &params, d),
                        Some(_) => {}
                        None => self.keep_out(d),
                    }
                }
            }
        }
    }
}

fn requant_lane(acc: i32, [bias, multiplier, shift, post]: [i32; 4], i: &Requant) -> i32 {
    let [zero_point, lo, hi, pre_shift] = post.to_le_bytes();
    let v = wrap(i128::from(left_shift(acc, pre_shift.into())) + i128::from(bias));
    let product = i128::from(v) * i128::from(multiplier);
    let rounded: i128 = match i.mode {
        RequantMode::DoubleRounding => {
            let scaled = i128::from(left_shift(v, i128::from(shift.clamp(0, 31)))) * i128::from(multiplier);
            // Nearest, ties up, and one case that does not fit.
            let high = (scaled + (1 << 30)).div_euclid(1 << 31).min(i128::from(i32::MAX));
            round_away(high, 1 << -i64::from(shift.clamp(-31, 0)))
        }
        RequantMode::SingleRounding => {
            let scale = 1i128 << shift.clamp(0, 62);
            (product + scale / 2).div_euclid(scale)
        }
        RequantMode::HalfAway => round_away(product, 1 << shift.clamp(0, 62)),
        RequantMode::Float => float(v, multiplier as u32),
    };
    if !i.saturate {
        return wrap(rounded);
    }
    let out = rounded + i128::from(zero_point as i8);
    let (lo, hi) = (i128::from(lo as i8), i128::from(hi as i8));
    (if out < lo { lo.min(hi) } else { out.min(hi) }) as i32
}

/// The product in binary64 is exact (24 + 24 bits), so that rounding it to binary32 is the one rounding of the definition.
fn float(v: i32, bits: u32) -> i128 {
    let product = (f64::from(v as f32) * f64::from(f32::from_bits(bits))) as f32;
    if product.is_nan() {
        return 0;
    }
    let floor = f64::from(product).floor();
    let fraction = f64::from(product) - floor;
    let up = fraction > 0.5 || (fraction == 0.5 && floor % 2.0 != 0.0);
    let nearest = floor + f64::from(u8::from(up));
    nearest.clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i128
}

fn round_away(value: i128, divisor: i128) -> i128 {
    let magnitude = (2 * value.abs() + divisor) / (2 * divisor);
    if value < 0 { -magnitude } else { magnitude }
}

fn left_shift(value: i32, amount: i128) -> i32 {
    if amount >= 32 { 0 } else { wrap(i128::from(value) << amount) }
}

fn wrap(value: i128) -> i32 {
    value as u32 as i32
}
