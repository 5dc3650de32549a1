//! The instruction table: every instruction, its fields in order, their widths and their meaning.
//!
//! The macro `instruction_table!` turns one row per field into the structs, [`Insn`], and the [`Form`]s that encoder, decoder,
//! assembler, disassembler and manual walk. Fields are packed from the low end of each 64-bit word in the order written;
//! `@ n` moves on to bit n of the word, and what no field covers is reserved and zero.

use std::fmt;

use crate::config::{HwConfig, ITER_BITS, LANE_ITER_BITS, SRAM_BITS};
use crate::encode::{Field, FieldType, Form, place};

/// The dependence flags of an instruction: bits 3 to 6.
///
/// `prev` and `next` are the neighbours in the order load, compute, store. Pops happen before execution, pushes after
/// completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dep {
    /// Wait for a token from the previous queue (bit 3).
    pub pop_prev: bool,
    /// Wait for a token from the next queue (bit 4).
    pub pop_next: bool,
    /// Give a token to the previous queue (bit 5).
    pub push_prev: bool,
    /// Give a token to the next queue (bit 6).
    pub push_next: bool,
}

/// Instructions that each of the three queues holds.
///
/// Instructions are fetched in order, so one is visible to its unit only once every earlier one has entered its own queue. An
/// instruction leaves its queue when it begins. A program that needs to see further ahead locks up.
pub const INSN_QUEUE_DEPTH: usize = 512;

/// Tokens that each of the four token queues holds. An instruction that pushes into a full one waits for room.
pub const TOKEN_QUEUE_DEPTH: u32 = 65_535;

/// One of the three in-order units, each with an instruction queue of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    /// Loads of INP and WGT.
    Load,
    /// Loads of UOP and ACC, and all arithmetic.
    Compute,
    /// Stores.
    Store,
}

/// A coded field: names, codes and meaning in one place.
macro_rules! coded {
    ($(#[$meta:meta])* $Name:ident { $( $(#[$vmeta:meta])* $Variant:ident = $code:literal, $text:literal, $ext:literal, $doc:literal; )* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $Name { $( $(#[$vmeta])* #[doc = $doc] $Variant = $code, )* }

        impl $Name {
            /// Every value, in the order of the codes.
            pub const ALL: &'static [$Name] = &[$($Name::$Variant),*];

            /// The word used in assembly text.
            pub fn name(self) -> &'static str {
                match self { $($Name::$Variant => $text),* }
            }

            /// The value encoded by a code.
            pub fn from_code(code: u32) -> Option<Self> {
                match code { $($code => Some($Name::$Variant),)* _ => None }
            }

            /// The code.
            pub fn code(self) -> u32 {
                self as u32
            }

            /// Whether it belongs to the Tandem extension.
            pub fn is_extension(self) -> bool {
                match self { $($Name::$Variant => $ext),* }
            }

            /// What it means, in one sentence.
            pub fn doc(self) -> &'static str {
                match self { $($Name::$Variant => $doc),* }
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FieldType for $Name {
            const SIGNED: bool = false;
            const NAMES: &'static [&'static str] = &[$($text),*];
            fn to_raw(self) -> i64 {
                self as i64
            }
            fn from_raw(raw: i64) -> Option<Self> {
                u32::try_from(raw).ok().and_then(Self::from_code)
            }
        }
    };
}

coded! {
    /// What a LOAD or a STORE moves; it decides the unit of `dram_base` and the scratchpad.
    MemoryType {
        #[default]
        Uop = 0, "uop", false, "Micro-ops, 4 bytes each.";
        Wgt = 1, "wgt", false, "Weights `[block_out][block_in]`.";
        Inp = 2, "inp", false, "Inputs `[batch][block_in]`.";
        Acc = 3, "acc", false, "Accumulators `[batch][block_out]` of 32 bits.";
        Out = 4, "out", false, "The low 8 bits of accumulators `[batch][block_out]`; stores only.";
        Acc8 = 5, "acc8", false, "Bytes `[batch][block_out]` in DRAM, sign-extended into accumulators; loads only.";
        OutInp = 6, "outinp", true, "As OUT, permuted so that DRAM holds INP elements; stores only.";
        Wgt4 = 7, "wgt4", true, "Weights of 4 bits in DRAM, two a byte, that of even index along `block_in` in the low half, sign-extended into weights; loads with `packed_weights` only.";
    }
}

coded! {
    /// The operation of an ALU instruction, on accumulators as 32-bit two's complement.
    AluOpcode {
        #[default]
        Min = 0, "min", false, "`acc[d] = min(acc[d], operand)`.";
        Max = 1, "max", false, "`acc[d] = max(acc[d], operand)`.";
        Add = 2, "add", false, "`acc[d] = acc[d] + operand`; wraps.";
        Shr = 3, "shr", false, "Arithmetic shift right by the operand; a negative operand shifts left by its magnitude.";
        Mul = 4, "mul", false, "`acc[d] = acc[d] * operand`; wraps.";
        Rshr = 5, "rshr", true, "As SHR, but a right shift rounds to nearest, half away from zero.";
        Clamp = 6, "clamp", true, "`acc[d] = min(max(acc[d], lo), hi)`; lo is the operand's signed byte 0, hi its signed byte 1.";
        Mov = 7, "mov", true, "`acc[d] = operand`.";
    }
}

coded! {
    /// The arithmetic of REQUANT.
    RequantMode {
        #[default]
        DoubleRounding = 0, "double", true, "Saturating rounding doubling high multiply, then rounding shift (TFLite reference).";
        SingleRounding = 1, "single", true, "One 64-bit product, one rounding, half up (XNNPACK).";
        HalfAway = 2, "half_away", true, "One 64-bit product, one rounding, half away from zero (average pooling).";
        Float = 3, "float", true, "One binary32 product, rounded to an integer half to even (ONNX Runtime).";
    }
}

/// Declares the instructions; see the module's documentation.
macro_rules! instruction_table {
    ($c:ident; $(
        $(#[doc = $doc:literal])*
        $Name:ident = $opcode:literal, $mnemonic:literal, $ext:literal {
            low { $( $lf:ident : $lt:ty = $lw:expr $(, @ $lat:literal)? ; $ld:literal )* }
            high { $( $hf:ident : $ht:ty = $hw:expr ; $hd:literal )* }
        }
    )*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
            pub struct $Name {
                /// Dependence flags.
                pub dep: Dep,
                $( #[doc = $ld] pub $lf: $lt, )*
                $( #[doc = $hd] pub $hf: $ht, )*
            }

            impl $Name {
                const FIELDS: usize = { const NAMES: &[&str] = &[$(stringify!($lf),)* $(stringify!($hf),)*]; NAMES.len() };

                pub(crate) fn fields($c: &HwConfig) -> [Field; Self::FIELDS] {
                    let _ = $c;
                    let mut low = 7;
                    let mut high = 64;
                    let _ = (&mut low, &mut high);
                    [
                        $( place::<$lt>(stringify!($lf), &mut low, $lw, 0 $(+ $lat)?, $ld), )*
                        $( place::<$ht>(stringify!($hf), &mut high, $hw, 0, $hd), )*
                    ]
                }

                pub(crate) fn to_raw(self) -> [i64; Self::FIELDS] {
                    [ $( FieldType::to_raw(self.$lf), )* $( FieldType::to_raw(self.$hf), )* ]
                }

                /// The instruction with these field values, in the order of the table, or the number of the field without meaning.
                pub(crate) fn from_raw(dep: Dep, raw: &[i64]) -> Result<Self, usize> {
                    let mut position = 0;
                    let mut take = || { position += 1; (position - 1, raw.get(position - 1).copied().unwrap_or_default()) };
                    let _ = &mut take;
                    Ok($Name {
                        dep,
                        $( $lf: { let (at, value) = take(); FieldType::from_raw(value).ok_or(at)? }, )*
                        $( $hf: { let (at, value) = take(); FieldType::from_raw(value).ok_or(at)? }, )*
                    })
                }
            }

            impl From<$Name> for Insn {
                fn from(insn: $Name) -> Insn {
                    Insn::$Name(insn)
                }
            }
        )*

        /// An instruction: 128 bits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Insn { $( $(#[doc = $doc])* $Name($Name), )* }

        impl Insn {
            /// The dependence flags.
            pub fn dep(&self) -> Dep {
                match self { $(Insn::$Name(insn) => insn.dep),* }
            }

            /// The dependence flags, to change them.
            pub fn dep_mut(&mut self) -> &mut Dep {
                match self { $(Insn::$Name(insn) => &mut insn.dep),* }
            }

            /// The opcode: bits 0 to 2.
            pub fn opcode(&self) -> u32 {
                match self { $(Insn::$Name(_) => $opcode),* }
            }

            /// The name of the struct, as error messages use it.
            pub fn name(&self) -> &'static str {
                match self { $(Insn::$Name(_) => stringify!($Name)),* }
            }

            /// The first word in assembly text.
            pub fn mnemonic(&self) -> &'static str {
                match self { $(Insn::$Name(_) => $mnemonic),* }
            }

            /// Calls back with the fields under a configuration and this instruction's values.
            pub(crate) fn with_fields<R>(&self, config: &HwConfig, visit: impl FnOnce(&[Field], &[i64]) -> R) -> R {
                match self { $(Insn::$Name(insn) => visit(&$Name::fields(config), &insn.to_raw())),* }
            }

            /// Calls back with the name and the fields of an opcode.
            pub(crate) fn with_opcode<R>(
                opcode: u32,
                config: &HwConfig,
                visit: impl FnOnce(&'static str, &[Field]) -> R,
            ) -> Option<R> {
                match opcode { $($opcode => Some(visit(stringify!($Name), &$Name::fields(config))),)* _ => None }
            }

            pub(crate) fn from_raw(opcode: u32, dep: Dep, raw: &[i64]) -> Option<Result<Insn, usize>> {
                match opcode { $($opcode => Some($Name::from_raw(dep, raw).map(Insn::$Name)),)* _ => None }
            }
        }

        /// Every instruction form under a configuration, in the order of the opcodes: the table as a value.
        pub fn forms(config: &HwConfig) -> Vec<Form> {
            vec![ $( Form {
                name: stringify!($Name),
                mnemonic: $mnemonic,
                opcode: $opcode,
                extension: $ext,
                doc: concat!($($doc, "\n"),*),
                fields: $Name::fields(config).to_vec(),
            }, )* ]
        }
    };
}

instruction_table! { c;
    /// Copies rows from DRAM into a scratchpad, surrounded by zeros.
    ///
    /// The scratchpad is written contiguously from `sram_base`: `y_pad_0` rows of zeros, then `y_size` rows, each of
    /// `x_pad_0` zeros, `x_size` elements and `x_pad_1` zeros, then `y_pad_1` rows of zeros. Row r comes from DRAM elements
    /// `dram_base + r * x_stride ..` of `x_size`. With `x_size` 0 nothing is copied and nothing is padded: a NOP that carries
    /// flags. INP, WGT and WGT4 run in the load queue, UOP, ACC and ACC8 in the compute queue.
    Load = 0, "load", false {
        low {
            memory_type: MemoryType = 3; "What is moved, and in which unit."
            sram_base: u32 = SRAM_BITS; "First scratchpad element."
            dram_base: u32 = 32; "First DRAM element."
        }
        high {
            y_size: u32 = 16; "Rows."
            x_size: u32 = 16; "Elements in a row; 0 makes a NOP."
            x_stride: u32 = 16; "DRAM elements between the starts of two rows."
            y_pad_0: u32 = 4; "Padding rows before the first."
            y_pad_1: u32 = 4; "Padding rows after the last."
            x_pad_0: u32 = 4; "Padding elements before each row."
            x_pad_1: u32 = 4; "Padding elements after each row."
        }
    }

    /// Copies rows of accumulators to DRAM, each value cut to its low 8 bits.
    ///
    /// There is no saturation: clip first. ACC is read contiguously from `sram_base`, DRAM is written with `x_stride`. The
    /// padding bits of LOAD must be zero. Memory types are OUT and OUTINP; with `x_size` 0 it is a NOP of any type.
    Store = 1, "store", false {
        low {
            memory_type: MemoryType = 3; "What is moved, and in which order of bytes."
            sram_base: u32 = SRAM_BITS; "First scratchpad element."
            dram_base: u32 = 32; "First DRAM element."
        }
        high {
            y_size: u32 = 16; "Rows."
            x_size: u32 = 16; "Elements in a row; 0 makes a NOP."
            x_stride: u32 = 16; "DRAM elements between the starts of two rows."
        }
    }

    /// Multiplies an input element by a weight element and adds to an accumulator, for every micro-op of two nested loops.
    ///
    /// `acc[d][b][o] += sum over i of inp[s][b][i] * wgt[w][o][i]`, wrapping at 32 bits; with `reset`, `acc[d] = 0`.
    Gemm = 2, "gemm", false {
        low {
            reset: bool = 1; "Clear the accumulators instead."
            uop_begin: u32 = c.log_uop_depth(); "First micro-op."
            uop_end: u32 = c.log_uop_depth() + 1; "One after the last micro-op."
            iter_out: u32 = ITER_BITS; "Repetitions of the outer loop."
            iter_in: u32 = ITER_BITS; "Repetitions of the inner loop."
        }
        high {
            dst_factor_out: u32 = c.log_acc_depth(); "Step of the ACC index in the outer loop."
            dst_factor_in: u32 = c.log_acc_depth(); "Step of the ACC index in the inner loop."
            src_factor_out: u32 = c.log_inp_depth(); "Step of the INP index in the outer loop."
            src_factor_in: u32 = c.log_inp_depth(); "Step of the INP index in the inner loop."
            wgt_factor_out: u32 = c.log_wgt_depth(); "Step of the WGT index in the outer loop."
            wgt_factor_in: u32 = c.log_wgt_depth(); "Step of the WGT index in the inner loop."
        }
    }

    /// Ends the program: the device reports that it is done once this instruction has run.
    ///
    /// It must be the last instruction.
    Finish = 3, "finish", false {
        low {}
        high {}
    }

    /// Combines accumulators with an immediate or with other accumulators, for every micro-op of two nested loops.
    ///
    /// `acc[d] = op(acc[d], use_imm ? imm : acc[s])`, lane by lane.
    Alu = 4, "alu", false {
        low {
            reset: bool = 1; "Kept, and ignored when the instruction runs."
            uop_begin: u32 = c.log_uop_depth(); "First micro-op."
            uop_end: u32 = c.log_uop_depth() + 1; "One after the last micro-op."
            iter_out: u32 = ITER_BITS; "Repetitions of the outer loop."
            iter_in: u32 = ITER_BITS; "Repetitions of the inner loop."
        }
        high {
            dst_factor_out: u32 = c.log_acc_depth(); "Step of the destination index in the outer loop."
            dst_factor_in: u32 = c.log_acc_depth(); "Step of the destination index in the inner loop."
            src_factor_out: u32 = c.log_acc_depth(); "Step of the source index in the outer loop."
            src_factor_in: u32 = c.log_acc_depth(); "Step of the source index in the inner loop."
            alu_opcode: AluOpcode = 3; "The operation."
            use_imm: bool = 1; "The operand is `imm`, and no accumulator is read for it."
            imm: i32 = 16; "The immediate operand."
        }
    }

    /// Turns sums into quantised values, with parameters per lane, for every micro-op of two nested loops.
    ///
    /// Four consecutive accumulators from `s` hold the parameters of each lane: bias, multiplier, shift and post. With
    /// `from_inp` the values are the bytes of input vector `s`, seen as in LANE, and the parameters those from `param` on. With
    /// `clear` the result goes to OUT alone, and `acc[d] = 0`: the next sum begins there. Machines without instruction queues
    /// have neither.
    ///
    /// With `fuse` it does nothing itself, and nothing but `mode`, `saturate` and `param` counts: the next GEMM or LANE is
    /// fused with it. There, in every turn of the loops, the first micro-op ignores what its accumulator held, and behind the
    /// last one `acc[d]` is requantised for OUT alone, with the parameters that stood from `param` on before that micro-op ran:
    /// ACC keeps the sum, and OUT what it had for other accumulators. Only machines have it whose tensor ALU has a lane for
    /// each lane of a vector. FINISH forgets it.
    Requant = 5, "requant", true {
        low {
            uop_begin: u32 = c.log_uop_depth(), @ 8; "First micro-op."
            uop_end: u32 = c.log_uop_depth() + 1; "One after the last micro-op."
            iter_out: u32 = ITER_BITS; "Repetitions of the outer loop."
            iter_in: u32 = ITER_BITS; "Repetitions of the inner loop."
        }
        high {
            dst_factor_out: u32 = c.log_acc_depth(); "Step of the destination index in the outer loop."
            dst_factor_in: u32 = c.log_acc_depth(); "Step of the destination index in the inner loop."
            src_factor_out: u32 = c.log_acc_depth(); "Step of the parameter index in the outer loop."
            src_factor_in: u32 = c.log_acc_depth(); "Step of the parameter index in the inner loop."
            mode: RequantMode = 2; "The arithmetic."
            saturate: bool = 1; "Add the zero point and clamp."
            clear: bool = 1; "Leave zero in the accumulator: STORE sees the result, arithmetic does not."
            from_inp: bool = 1; "Requantise input vectors instead of accumulators."
            param: u32 = c.log_acc_depth(); "First accumulator of the parameters of `from_inp` and `fuse`; ignored without."
            fuse: bool = 1; "Requantise the sums of the next GEMM or LANE as they end."
        }
    }

    /// Multiplies, accumulates or compares lane by lane, for every micro-op of two nested loops: depthwise convolution, pooling.
    ///
    /// INP and WGT are seen as vectors of `block_out` lanes. `p = max ? inp[s][b][l] : sum over t = 0..=more_taps of
    /// inp[s + t][b][l] * wgt[w + t][l]`, where weight vectors follow one another within a WGT element, from its last to its
    /// first; `acc[d][b][l] = overwrite ? p : max ? max(acc[d][b][l], p) : acc[d][b][l] + p`. `more_taps` is below the
    /// configuration's `lane_taps`, and 0 with `max`.
    Lane = 6, "lane", true {
        low {
            overwrite: bool = 1; "Ignore what the accumulator held."
            uop_begin: u32 = c.log_uop_depth(); "First micro-op."
            uop_end: u32 = c.log_uop_depth() + 1; "One after the last micro-op."
            iter_out: u32 = LANE_ITER_BITS; "Repetitions of the outer loop."
            more_taps: u32 = ITER_BITS - LANE_ITER_BITS; "Taps beside the first: the input and weight vectors behind it."
            iter_in: u32 = ITER_BITS; "Repetitions of the inner loop."
            max: bool = 1, @ 63; "Maximum of the input lanes, without weights."
        }
        high {
            dst_factor_out: u32 = c.log_acc_depth(); "Step of the ACC index in the outer loop."
            dst_factor_in: u32 = c.log_acc_depth(); "Step of the ACC index in the inner loop."
            src_factor_out: u32 = c.log_inp_depth(); "Step of the input vector index in the outer loop."
            src_factor_in: u32 = c.log_inp_depth(); "Step of the input vector index in the inner loop."
            wgt_factor_out: u32 = c.log_wgt_depth(); "Step of the weight vector index in the outer loop."
            wgt_factor_in: u32 = c.log_wgt_depth(); "Step of the weight vector index in the inner loop."
        }
    }

    /// As LOAD, but padding holds `pad_value` in every lane: a zero point is not zero.
    ///
    /// Memory types are INP and WGT (load queue) and ACC8 (compute queue; the value is sign-extended).
    LoadPad = 7, "loadpad", true {
        low {
            memory_type: MemoryType = 3; "What is moved, and in which unit."
            sram_base: u32 = SRAM_BITS; "First scratchpad element."
            dram_base: u32 = 30; "First DRAM element."
            pad_value: i32 = 8; "The value of every padding lane."
        }
        high {
            y_size: u32 = 16; "Rows."
            x_size: u32 = 16; "Elements in a row; 0 makes a NOP."
            x_stride: u32 = 16; "DRAM elements between the starts of two rows."
            y_pad_0: u32 = 4; "Padding rows before the first."
            y_pad_1: u32 = 4; "Padding rows after the last."
            x_pad_0: u32 = 4; "Padding elements before each row."
            x_pad_1: u32 = 4; "Padding elements after each row."
        }
    }
}

impl Dep {
    /// The flags with their names, in the order of the bits from bit 3.
    pub fn flags(self) -> [(&'static str, bool); 4] {
        [
            ("pop_prev", self.pop_prev),
            ("pop_next", self.pop_next),
            ("push_prev", self.push_prev),
            ("push_next", self.push_next),
        ]
    }

    /// The flags as bits 0 to 3, `pop_prev` lowest.
    pub fn bits(self) -> u32 {
        self.flags().iter().enumerate().fold(0, |bits, (i, (_, set))| bits | u32::from(*set) << i)
    }

    /// The flags from bits 0 to 3.
    pub fn from_bits(bits: u32) -> Dep {
        Dep { pop_prev: bits & 1 != 0, pop_next: bits & 2 != 0, push_prev: bits & 4 != 0, push_next: bits & 8 != 0 }
    }
}

impl Queue {
    /// The three queues, in the order of the flow.
    pub const ALL: [Queue; 3] = [Queue::Load, Queue::Compute, Queue::Store];

    /// The word used in text forms.
    pub fn name(self) -> &'static str {
        match self {
            Queue::Load => "load",
            Queue::Compute => "compute",
            Queue::Store => "store",
        }
    }

    /// The queue that `pop_prev` and `push_prev` speak of.
    pub fn prev(self) -> Option<Queue> {
        match self {
            Queue::Load => None,
            Queue::Compute => Some(Queue::Load),
            Queue::Store => Some(Queue::Compute),
        }
    }

    /// The queue that `pop_next` and `push_next` speak of.
    pub fn next(self) -> Option<Queue> {
        match self {
            Queue::Load => Some(Queue::Compute),
            Queue::Compute => Some(Queue::Store),
            Queue::Store => None,
        }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl MemoryType {
    /// The queue that runs a LOAD of this type.
    pub fn load_queue(self) -> Queue {
        match self {
            MemoryType::Inp | MemoryType::Wgt | MemoryType::Wgt4 => Queue::Load,
            _ => Queue::Compute,
        }
    }
}

impl Insn {
    /// The queue that runs this instruction.
    pub fn queue(&self) -> Queue {
        match self {
            Insn::Load(Load { memory_type, .. }) | Insn::LoadPad(LoadPad { memory_type, .. }) => {
                memory_type.load_queue()
            }
            Insn::Store(_) => Queue::Store,
            Insn::Gemm(_) | Insn::Finish(_) | Insn::Alu(_) | Insn::Requant(_) | Insn::Lane(_) => Queue::Compute,
        }
    }

    /// The instruction that only carries flags through a queue, in the form upstream's runtime emits.
    pub fn nop(queue: Queue, dep: Dep) -> Insn {
        match queue {
            Queue::Load => Insn::Load(Load { dep, memory_type: MemoryType::Inp, ..Load::default() }),
            Queue::Compute => Insn::Load(Load { dep, memory_type: MemoryType::Uop, ..Load::default() }),
            Queue::Store => Insn::Store(Store { dep, memory_type: MemoryType::Uop, ..Store::default() }),
        }
    }

    /// Whether it moves nothing and only carries flags: a LOAD or a STORE with `x_size` 0.
    pub fn is_nop(&self) -> bool {
        match self {
            Insn::Load(insn) => insn.x_size == 0,
            Insn::Store(insn) => insn.x_size == 0,
            Insn::LoadPad(insn) => insn.x_size == 0,
            _ => false,
        }
    }

    /// Whether it needs the Tandem extension, by its opcode, its ALU opcode or its memory type.
    pub fn is_extension(&self) -> bool {
        match self {
            Insn::Requant(_) | Insn::Lane(_) | Insn::LoadPad(_) => true,
            Insn::Alu(insn) => insn.alu_opcode.is_extension(),
            Insn::Load(insn) => insn.memory_type.is_extension(),
            Insn::Store(insn) => insn.memory_type.is_extension(),
            Insn::Gemm(_) | Insn::Finish(_) => false,
        }
    }
}
