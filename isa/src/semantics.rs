//! What the machine computes, one lane at a time: pure functions shared by every simulator and test.
//!
//! The architectural reference is upstream's functional simulator (fsim). Amounts and parameters that no legal program uses
//! still have one defined result here, so that two implementations cannot differ on them.

use crate::{AluOpcode, HwConfig, RequantMode};

/// Whose behaviour a switch of [`Compat`] follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// The functional simulator: the architectural reference.
    #[default]
    Fsim,
    /// The Chisel hardware.
    Chisel,
    /// The HLS hardware.
    Hls,
}

/// Where upstream's implementations disagree on legal programs, and which one to follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Compat {
    /// What STORE reads. Fsim: ACC itself. Chisel: a separate OUT buffer written by GEMM without `reset` and by ALU.
    /// Hls: a separate OUT buffer written by every GEMM and by ALU. See [`Compat::gemm_writes_out`].
    pub store_source: Upstream,
    /// The left operand of an ALU instruction with an immediate. Chisel: `acc[s]`; otherwise `acc[d]`.
    pub alu_imm_operand: Upstream,
    /// The amount of SHR. Fsim: the whole operand. Chisel: its low 5 bits, to the left only for a negative immediate.
    /// Hls: its low 5 bits as a signed number.
    pub shift_amount: Upstream,
}

/// The parameters of one lane of REQUANT, as four accumulators hold them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequantParam {
    /// Added first: `acc[s]`.
    pub bias: i32,
    /// The multiplier, or the bits of a binary32 number in mode `float`: `acc[s + 1]`.
    pub multiplier: i32,
    /// `acc[s + 2]`. Mode `double`: positive shifts left before, negative right after the multiplication, -31 to 31. Modes
    /// `single` and `half_away`: right shift of the product, 0 to 62. Mode `float`: ignored.
    pub shift: i32,
    /// Added to the result where `saturate` is set: byte 0 of `acc[s + 3]`.
    pub zero_point: i8,
    /// Lower bound where `saturate` is set: byte 1.
    pub lo: i8,
    /// Upper bound where `saturate` is set: byte 2.
    pub hi: i8,
    /// Left shift of the accumulator before the bias is added, 0 to 31: byte 3.
    pub pre_shift: u8,
}

impl Compat {
    /// Every switch set to one implementation.
    pub fn all(upstream: Upstream) -> Compat {
        Compat { store_source: upstream, alu_imm_operand: upstream, shift_amount: upstream }
    }

    /// Whether STORE reads a separate OUT buffer, and if so whether a GEMM with or without `reset` writes it.
    /// `None`: STORE reads ACC. ALU always writes the buffer, loads never do.
    pub fn gemm_writes_out(&self, reset: bool) -> Option<bool> {
        match self.store_source {
            Upstream::Fsim => None,
            Upstream::Chisel => Some(!reset),
            Upstream::Hls => Some(true),
        }
    }

    /// Whether the left operand of an ALU instruction with an immediate is `acc[s]` instead of `acc[d]`.
    pub fn imm_reads_src(&self) -> bool {
        self.alu_imm_operand == Upstream::Chisel
    }

    /// One lane of ALU. `imm` is the instruction's immediate where it is used, and `left` the lane that
    /// [`Compat::imm_reads_src`] chooses.
    #[inline]
    pub fn alu(&self, opcode: AluOpcode, left: i32, operand: i32, imm: Option<i32>) -> i32 {
        if opcode != AluOpcode::Shr {
            return alu(opcode, left, operand);
        }
        match self.shift_amount {
            Upstream::Fsim => shr(left, operand),
            Upstream::Chisel if imm.is_some_and(|imm| imm < 0) => left.wrapping_shl(operand.wrapping_neg() as u32 & 31),
            Upstream::Chisel => left >> (operand & 31),
            // Five bits, two's complement: -16 to 15.
            Upstream::Hls => shr(left, operand << 27 >> 27),
        }
    }
}

/// One lane of ALU: `left` is `acc[d]`, `operand` the immediate or `acc[s]`.
#[inline]
pub fn alu(opcode: AluOpcode, left: i32, operand: i32) -> i32 {
    match opcode {
        AluOpcode::Min => left.min(operand),
        AluOpcode::Max => left.max(operand),
        AluOpcode::Add => left.wrapping_add(operand),
        AluOpcode::Shr => shr(left, operand),
        AluOpcode::Mul => left.wrapping_mul(operand),
        AluOpcode::Rshr => rshr(left, operand),
        AluOpcode::Clamp => {
            let [lo, hi, _, _] = operand.to_le_bytes();
            left.max(i32::from(lo as i8)).min(i32::from(hi as i8))
        }
        AluOpcode::Mov => operand,
    }
}

/// Arithmetic shift right; a negative amount shifts left. Beyond 31 a right shift leaves the sign and a left shift zero.
#[inline]
pub fn shr(value: i32, amount: i32) -> i32 {
    if amount >= 0 { value >> amount.min(31) } else { shl(value, amount.unsigned_abs()) }
}

/// Rounding arithmetic shift right, half away from zero; amounts beyond 31 act as 31. A negative amount shifts left.
#[inline]
pub fn rshr(value: i32, amount: i32) -> i32 {
    if amount >= 0 { rdbpot(value, amount.min(31) as u32) } else { shl(value, amount.unsigned_abs()) }
}

/// Left shift; bits that leave the word are lost, and 32 or more leaves zero.
#[inline]
pub fn shl(value: i32, amount: u32) -> i32 {
    value.checked_shl(amount).unwrap_or(0)
}

/// Saturating rounding doubling high multiply: the product doubled, its high word, rounded to nearest.
///
/// # Source
/// gemmlowp `fixedpoint.h`, `SaturatingRoundingDoublingHighMul`: the nudge follows the sign of the product and the division by
/// 2^31 truncates, so that ties go away from zero for positive and towards zero for negative products.
#[inline]
pub fn srdhm(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    let product = i64::from(a) * i64::from(b);
    let nudge = if product >= 0 { 1i64 << 30 } else { 1 - (1i64 << 30) };
    ((product + nudge) / (1i64 << 31)) as i32
}

/// Division by 2^exponent, rounded to nearest, half away from zero. `exponent` is 0 to 31; greater ones act as 31.
///
/// # Source
/// gemmlowp `fixedpoint.h`, `RoundingDivideByPOT`.
#[inline]
pub fn rdbpot(value: i32, exponent: u32) -> i32 {
    let exponent = exponent.min(31);
    let mask = ((1i64 << exponent) - 1) as i32;
    let remainder = value & mask;
    let threshold = (mask >> 1) + i32::from(value < 0);
    (value >> exponent) + i32::from(remainder > threshold)
}

/// `(value * multiplier + 2^(shift - 1)) >> shift` in 64 bits: nearest, half up. `shift` is clamped to 0 to 62; 0 shifts and
/// rounds nothing.
///
/// # Source
/// XNNPACK's `rndnu` requantisation.
#[inline]
pub fn single_rounding(value: i32, multiplier: i32, shift: i32) -> i64 {
    let product = i64::from(value) * i64::from(multiplier);
    let shift = shift.clamp(0, 62);
    if shift == 0 { product } else { (product + (1i64 << (shift - 1))) >> shift }
}

/// As [`single_rounding`], rounding half away from zero.
#[inline]
pub fn half_away(value: i32, multiplier: i32, shift: i32) -> i64 {
    let product = i64::from(value) * i64::from(multiplier);
    let shift = shift.clamp(0, 62);
    if shift == 0 {
        return product;
    }
    let magnitude = (product.abs() + (1i64 << (shift - 1))) >> shift;
    if product < 0 { -magnitude } else { magnitude }
}

/// `value` as binary32, times the binary32 number with these bits, rounded to an integer half to even. NaN gives 0; the result
/// saturates to 32 bits.
#[inline]
pub fn float_rounding(value: i32, multiplier_bits: i32) -> i32 {
    let product = value as f32 * f32::from_bits(multiplier_bits as u32);
    // A float-to-integer cast saturates and sends NaN to zero.
    product.round_ties_even() as i32
}

impl RequantParam {
    /// Reads the four accumulators of a lane.
    #[inline]
    pub fn from_words(words: [i32; 4]) -> RequantParam {
        let [bias, multiplier, shift, post] = words;
        let [zero_point, lo, hi, pre_shift] = post.to_le_bytes();
        RequantParam { bias, multiplier, shift, zero_point: zero_point as i8, lo: lo as i8, hi: hi as i8, pre_shift }
    }

    /// The four accumulators of a lane.
    pub fn to_words(self) -> [i32; 4] {
        let post = [self.zero_point as u8, self.lo as u8, self.hi as u8, self.pre_shift];
        [self.bias, self.multiplier, self.shift, i32::from_le_bytes(post)]
    }
}

/// One lane of REQUANT: the new value of an accumulator.
///
/// `v = (acc << pre_shift) + bias`, wrapping; the mode gives `r`; with `saturate` the result is
/// `min(max(r + zero_point, lo), hi)`, computed in 64 bits, and without it the low 32 bits of `r`.
#[inline]
pub fn requant(acc: i32, param: &RequantParam, mode: RequantMode, saturate: bool) -> i32 {
    let value = shl(acc, u32::from(param.pre_shift)).wrapping_add(param.bias);
    let rounded = match mode {
        RequantMode::DoubleRounding => {
            let shift = param.shift.clamp(-31, 31);
            let scaled = shl(value, shift.max(0) as u32);
            i64::from(rdbpot(srdhm(scaled, param.multiplier), (-shift).max(0) as u32))
        }
        RequantMode::SingleRounding => single_rounding(value, param.multiplier, param.shift),
        RequantMode::HalfAway => half_away(value, param.multiplier, param.shift),
        RequantMode::Float => i64::from(float_rounding(value, param.multiplier)),
    };
    if !saturate {
        return rounded as i32;
    }
    // |rounded| is at most 2^62, so adding a byte cannot overflow.
    let shifted = rounded + i64::from(param.zero_point);
    shifted.max(i64::from(param.lo)).min(i64::from(param.hi)) as i32
}

/// One lane of LANE: the new value of an accumulator.
#[inline]
pub fn lane(acc: i32, inp: i8, wgt: i8, max: bool, overwrite: bool) -> i32 {
    match (max, overwrite) {
        (true, true) => i32::from(inp),
        (true, false) => acc.max(i32::from(inp)),
        (false, true) => i32::from(inp) * i32::from(wgt),
        (false, false) => acc.wrapping_add(i32::from(inp) * i32::from(wgt)),
    }
}

/// The INP element, and the lane in a batch row of it, that is lane `lane` of vector `vector` as LANE sees INP.
///
/// With `block_out = r * block_in` a vector is r consecutive elements; with `block_in = r * block_out` an element is r
/// consecutive vectors.
#[inline]
pub fn lane_input(config: &HwConfig, vector: usize, lane: usize) -> (usize, usize) {
    let (block_in, block_out) = (config.block_in(), config.block_out());
    if block_out >= block_in {
        (vector * (block_out / block_in) + lane / block_in, lane % block_in)
    } else {
        let parts = block_in / block_out;
        (vector / parts, (vector % parts) * block_out + lane)
    }
}

/// The WGT element, and the byte in it, that is lane `lane` of vector `vector` as LANE sees WGT.
#[inline]
pub fn lane_weight(config: &HwConfig, vector: usize, lane: usize) -> (usize, usize) {
    let byte = vector * config.block_out() + lane;
    (byte / config.wgt_elem_bytes(), byte % config.wgt_elem_bytes())
}

/// What STORE writes of an accumulator: its low 8 bits, without saturation.
#[inline]
pub fn truncate_out(acc: i32) -> i8 {
    acc as i8
}

/// What a load of ACC8, or the padding of LOADPAD, leaves in an accumulator.
#[inline]
pub fn extend_acc8(byte: u8) -> i32 {
    i32::from(byte as i8)
}

/// The byte of WGT4 with two weights of -8 to 7, the one of even index along `block_in` first.
#[inline]
pub fn pack_weights([even, odd]: [i8; 2]) -> u8 {
    even as u8 & 15 | (odd as u8) << 4
}

/// The two weights in a byte of WGT4, the one of even index along `block_in` first.
#[inline]
pub fn unpack_weights(byte: u8) -> [i8; 2] {
    [(byte << 4) as i8 >> 4, byte as i8 >> 4]
}

/// How many OUT elements STORE OUTINP permutes together: `x_size` must be a multiple of it.
pub fn out_inp_group(config: &HwConfig) -> usize {
    (config.block_in() / config.block_out()).max(1)
}

/// The byte order of STORE OUTINP over one group of [`out_inp_group`] OUT elements: byte i in DRAM is byte `order[i]` of the
/// group as STORE OUT would write it.
///
/// With `block_out = r * block_in` an element `[batch][r][block_in]` becomes `[r][batch][block_in]`; with
/// `block_in = r * block_out` a group `[r][batch][block_out]` becomes `[batch][r][block_out]`. The order is the identity
/// where `batch` is 1 or the blocks are equal.
pub fn out_inp_order(config: &HwConfig) -> Vec<usize> {
    let (batch, block_in, block_out) = (config.batch(), config.block_in(), config.block_out());
    let run = block_in.min(block_out);
    let ratio = block_in.max(block_out) / run;
    // Both directions exchange the two outer of three dimensions around runs of the narrower block.
    let (rows, columns) = if block_out >= block_in { (batch, ratio) } else { (ratio, batch) };
    let mut order = Vec::with_capacity(batch * ratio * run);
    for column in 0..columns {
        for row in 0..rows {
            let start = (row * columns + column) * run;
            order.extend(start..start + run);
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HwFacts;

    #[test]
    fn srdhm_saturates_only_the_most_negative_square() {
        assert_eq!(srdhm(i32::MIN, i32::MIN), i32::MAX);
        assert_eq!(srdhm(i32::MIN, i32::MAX), -i32::MAX);
        assert_eq!(srdhm(i32::MAX, i32::MAX), i32::MAX - 1);
        assert_eq!(srdhm(i32::MIN, 1), -1);
        assert_eq!(srdhm(0, i32::MIN), 0);
    }

    #[test]
    fn srdhm_ties_go_up_on_both_sides_of_zero() {
        // The doubled product is exactly half of 2^32 above an integer.
        assert_eq!(srdhm(1 << 30, 1), 1);
        assert_eq!(srdhm(-(1 << 30), 1), 0);
        assert_eq!(srdhm(3 << 29, 2), 2);
        assert_eq!(srdhm(-(3 << 29), 2), -1);
        assert_eq!(srdhm((1 << 30) - 1, 1), 0);
        assert_eq!(srdhm(-(1 << 30) - 1, 1), -1);
    }

    #[test]
    fn rdbpot_rounds_half_away_from_zero() {
        let cases = [
            (5, 1, 3),
            (-5, 1, -3),
            (-6, 2, -2),
            (6, 2, 2),
            (-5, 2, -1),
            (5, 2, 1),
            (7, 0, 7),
            (i32::MAX, 31, 1),
            (i32::MIN, 31, -1),
            (1 << 30, 31, 1),
            ((1 << 30) - 1, 31, 0),
            (-(1 << 30), 31, -1),
            (i32::MIN, 1, -(1 << 30)),
            (i32::MAX, 1, 1 << 30),
            (9, 40, 0),
        ];
        for (value, exponent, expected) in cases {
            assert_eq!(rdbpot(value, exponent), expected, "{value} / 2^{exponent}");
        }
    }

    #[test]
    fn shifts_are_defined_for_every_amount() {
        assert_eq!(shr(-8, 1), -4);
        assert_eq!(shr(-7, 1), -4);
        assert_eq!(shr(-1, 31), -1);
        assert_eq!(shr(-1, 1000), -1);
        assert_eq!(shr(i32::MAX, i32::MAX), 0);
        assert_eq!(shr(3, -30), 3 << 30);
        assert_eq!(shr(1, -31), i32::MIN);
        assert_eq!(shr(1, -32), 0);
        assert_eq!(shr(1, i32::MIN), 0);
        assert_eq!(rshr(-7, 1), -4);
        assert_eq!(rshr(7, 1), 4);
        assert_eq!(rshr(i32::MIN, 500), -1);
        assert_eq!(rshr(5, -2), 20);
    }

    #[test]
    fn alu_wraps_and_clamps_by_signed_bytes() {
        assert_eq!(alu(AluOpcode::Add, i32::MAX, 1), i32::MIN);
        assert_eq!(alu(AluOpcode::Mul, 1 << 20, 1 << 12), 0);
        assert_eq!(alu(AluOpcode::Mul, i32::MIN, -1), i32::MIN);
        assert_eq!(alu(AluOpcode::Mov, 5, -9), -9);
        assert_eq!(alu(AluOpcode::Min, -3, 2), -3);
        assert_eq!(alu(AluOpcode::Max, -3, 2), 2);
        let bounds = i32::from_le_bytes([(-128i8) as u8, 127, 0xff, 0xff]);
        assert_eq!(alu(AluOpcode::Clamp, 1000, bounds), 127);
        assert_eq!(alu(AluOpcode::Clamp, -1000, bounds), -128);
        assert_eq!(alu(AluOpcode::Clamp, 5, bounds), 5);
        // Bounds in the wrong order give the upper one.
        assert_eq!(alu(AluOpcode::Clamp, 0, i32::from_le_bytes([10, 3, 0, 0])), 3);
    }

    #[test]
    fn the_three_upstream_shifts_differ_where_the_facts_say_so() {
        let shift = |upstream, left, amount, imm: bool| {
            Compat::all(upstream).alu(AluOpcode::Shr, left, amount, imm.then_some(amount))
        };
        for upstream in [Upstream::Fsim, Upstream::Chisel, Upstream::Hls] {
            for amount in -15..=15 {
                assert_eq!(shift(upstream, -12345, amount, true), shr(-12345, amount), "{upstream:?} {amount}");
            }
        }
        // An amount of 16 is negative in five signed bits; 33 keeps its low five bits.
        assert_eq!(shift(Upstream::Fsim, 1 << 20, 16, true), 16);
        assert_eq!(shift(Upstream::Chisel, 1 << 20, 16, true), 16);
        assert_eq!(shift(Upstream::Hls, 1, 16, true), 1 << 16);
        assert_eq!(shift(Upstream::Chisel, 8, 33, true), 4);
        assert_eq!(shift(Upstream::Fsim, 8, 33, true), 0);
        // A negative tensor operand shifts right on Chisel, by its low five bits.
        assert_eq!(shift(Upstream::Chisel, 1 << 30, -1, false), 0);
        assert_eq!(shift(Upstream::Fsim, 1 << 29, -1, false), 1 << 30);
        assert_eq!(shift(Upstream::Hls, 1 << 29, -1, false), 1 << 30);
    }

    #[test]
    fn the_compat_switches_choose_the_store_source_and_the_left_operand() {
        let gemm = |upstream, reset| Compat::all(upstream).gemm_writes_out(reset);
        assert_eq!((gemm(Upstream::Fsim, false), gemm(Upstream::Fsim, true)), (None, None));
        assert_eq!((gemm(Upstream::Chisel, false), gemm(Upstream::Chisel, true)), (Some(true), Some(false)));
        assert_eq!((gemm(Upstream::Hls, false), gemm(Upstream::Hls, true)), (Some(true), Some(true)));
        assert!(Compat::all(Upstream::Chisel).imm_reads_src());
        assert!(!Compat::default().imm_reads_src() && !Compat::all(Upstream::Hls).imm_reads_src());
    }

    fn param(multiplier: i32, shift: i32) -> RequantParam {
        RequantParam { bias: 0, multiplier, shift, zero_point: 0, lo: -128, hi: 127, pre_shift: 0 }
    }

    #[test]
    fn the_families_round_ties_differently() {
        // 5 * 0.5 and -5 * 0.5, with the multiplier 0.5 in each family's form.
        let double = |v| requant(v, &param(1 << 30, 0), RequantMode::DoubleRounding, true);
        let single = |v| requant(v, &param(1 << 30, 31), RequantMode::SingleRounding, true);
        let away = |v| requant(v, &param(1 << 30, 31), RequantMode::HalfAway, true);
        let float = |v| requant(v, &param(0.5f32.to_bits() as i32, 99), RequantMode::Float, true);
        assert_eq!((double(5), double(-5)), (3, -2));
        assert_eq!((single(5), single(-5)), (3, -2));
        assert_eq!((away(5), away(-5)), (3, -3));
        assert_eq!((float(5), float(-5)), (2, -2));
        assert_eq!((float(7), float(-7)), (4, -4));
    }

    #[test]
    fn double_rounding_rounds_twice() {
        // 6 * 0.75 * 2^-1: the high multiply rounds 4.5 to 5, the shift 2.5 to 3; one rounding takes 2.25 to 2.
        let three_quarters = 3 << 29;
        assert_eq!(requant(6, &param(three_quarters, -1), RequantMode::DoubleRounding, true), 3);
        assert_eq!(requant(6, &param(three_quarters, 32), RequantMode::SingleRounding, true), 2);
        assert_eq!(requant(3, &param(1 << 30, 2), RequantMode::DoubleRounding, true), 6);
    }

    #[test]
    fn requant_applies_pre_shift_bias_zero_point_and_bounds_in_order() {
        let p = RequantParam { bias: 10, multiplier: 1, shift: 0, zero_point: -3, lo: -5, hi: 100, pre_shift: 2 };
        assert_eq!(requant(1, &p, RequantMode::SingleRounding, true), 11);
        assert_eq!(requant(1, &p, RequantMode::SingleRounding, false), 14);
        assert_eq!(requant(1000, &p, RequantMode::SingleRounding, true), 100);
        assert_eq!(requant(-1000, &p, RequantMode::SingleRounding, true), -5);
        assert_eq!(
            requant(i32::MAX, &RequantParam { bias: 1, pre_shift: 0, ..p }, RequantMode::SingleRounding, false),
            i32::MIN
        );
        assert_eq!(requant(77, &RequantParam { pre_shift: 255, ..p }, RequantMode::SingleRounding, false), 10);
    }

    #[test]
    fn requant_is_defined_for_every_parameter() {
        let extremes = [i32::MIN, i32::MIN + 1, -1, 0, 1, 31, 32, 62, 63, i32::MAX];
        for &acc in &extremes {
            for &multiplier in &extremes {
                for &shift in &extremes {
                    for &mode in RequantMode::ALL {
                        for saturate in [false, true] {
                            let p = RequantParam { bias: acc, pre_shift: 1, ..param(multiplier, shift) };
                            let out = requant(acc, &p, mode, saturate);
                            assert!(!saturate || (-128..=127).contains(&out));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn float_mode_saturates_and_sends_nan_to_zero() {
        let float = |v: i32, m: f32| float_rounding(v, m.to_bits() as i32);
        assert_eq!(float(1, f32::NAN), 0);
        assert_eq!(float(0, f32::INFINITY), 0);
        assert_eq!(float(1, f32::INFINITY), i32::MAX);
        assert_eq!(float(-1, f32::INFINITY), i32::MIN);
        assert_eq!(float(i32::MAX, 1.0), i32::MAX);
        // 2^24 + 1 is not a binary32 number: the conversion rounds to even first.
        assert_eq!(float((1 << 24) + 1, 1.0), 1 << 24);
        assert_eq!(float((1 << 24) + 3, 1.0), (1 << 24) + 4);
    }

    #[test]
    fn parameters_survive_their_four_words() {
        let p = RequantParam {
            bias: -7,
            multiplier: i32::MIN,
            shift: -3,
            zero_point: -128,
            lo: -1,
            hi: 127,
            pre_shift: 31,
        };
        assert_eq!(RequantParam::from_words(p.to_words()), p);
        assert_eq!(p.to_words()[3], i32::from_le_bytes([0x80, 0xff, 0x7f, 31]));
    }

    fn blocks(batch: u32, block_in: u32, block_out: u32) -> HwConfig {
        let base = HwConfig::preset("tiny").unwrap().facts().clone();
        let facts = HwFacts { name: None, batch, block_in, block_out, ..base };
        HwConfig::new(facts).unwrap()
    }

    #[test]
    fn lane_vectors_are_cut_from_elements_in_both_directions() {
        let wide = blocks(1, 4, 8);
        assert_eq!(lane_input(&wide, 3, 0), (6, 0));
        assert_eq!(lane_input(&wide, 3, 5), (7, 1));
        assert_eq!(wide.inp_vectors(), wide.inp_depth() / 2);
        let narrow = blocks(1, 8, 4);
        assert_eq!(lane_input(&narrow, 3, 2), (1, 6));
        assert_eq!(narrow.inp_vectors(), narrow.inp_depth() * 2);
        assert_eq!(lane_weight(&narrow, 9, 1), (1, 5));
        assert_eq!(narrow.wgt_vectors(), narrow.wgt_depth() * 8);
    }

    #[test]
    fn lane_operations_multiply_accumulate_or_compare() {
        assert_eq!(lane(100, -128, -128, false, false), 16484);
        assert_eq!(lane(100, -128, 127, false, true), -16256);
        assert_eq!(lane(100, -128, 9, true, true), -128);
        assert_eq!(lane(-200, -128, 9, true, false), -128);
        assert_eq!(lane(i32::MAX, 1, 1, false, false), i32::MIN);
    }

    #[test]
    fn the_outinp_order_exchanges_batch_and_block_parts() {
        assert_eq!(out_inp_order(&blocks(1, 4, 8)), (0..8).collect::<Vec<_>>());
        assert_eq!(out_inp_order(&blocks(2, 4, 4)), (0..8).collect::<Vec<_>>());
        // [batch 2][r 2][4] -> [r 2][batch 2][4]
        assert_eq!(out_inp_order(&blocks(2, 4, 8)), [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15]);
        // [r 4][batch 2][4] -> [batch 2][r 4][4]: DRAM runs 0..4 are the runs 0, 2, 4, 6 of the group.
        let narrow = blocks(2, 16, 4);
        assert_eq!(out_inp_group(&narrow), 4);
        let runs: Vec<usize> = out_inp_order(&narrow).into_iter().step_by(4).map(|b| b / 4).collect();
        assert_eq!(runs, [0, 2, 4, 6, 1, 3, 5, 7]);
        let identity = out_inp_order(&blocks(1, 16, 4));
        assert_eq!(identity, (0..16).collect::<Vec<_>>());
    }

    #[test]
    fn weights_of_four_bits_come_back() {
        for (even, odd) in (-8..8).flat_map(|even| (-8..8).map(move |odd| (even, odd))) {
            assert_eq!(unpack_weights(pack_weights([even, odd])), [even, odd]);
        }
        assert_eq!(pack_weights([1, -8]), 0x81);
    }
}
