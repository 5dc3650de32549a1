//! Attention: `attention.*.bf16` and `attention.merge`.
//!
//! # Form
//! Persistent blocks go through the lists of a [`Plan`]: one kernel for large tiles of 128 packed rows (`attention_prefill.cu`, 384
//! threads, one block a multiprocessor), one for small tiles of at most 16 (`attention.cu`, 128 threads), and one that merges rows
//! that were split. A workspace says which tiles it has room for, and kernels of others are not launched. All forms of attention
//! are these kernels: they read lines of keys and values that a table of pages names, or that follow each other. Variants are
//! compiled in, see [`tandem_ops::attention::Variant`].
//!
//! # Against the limits
//! Decoding is limited by memory: 4.3 TB/s for some 0.7 us are 3 MB on their way, 23 kB for each of 132 multiprocessors.
//! A warp of a small tile has [`Form::slots`] buffers of 16 rows, all but one of which are on their way while it computes: with
//! heads of 128 elements `2 blocks * 4 warps * 5 * 4 kB = 160 kB` on a multiprocessor, see [`Form::bytes_in_flight`]. Every 16 lanes
//! copy a row of 256 bytes, so a request of a warp is of whole sectors: 16 of them for 512 bytes, the least there can be. Over a
//! whole decoding step the simulator counts 1.02 times the sectors of the operands and results, 14 a request, and 3.8 cycles of the
//! banks for an access to shared memory, where a matrix load takes 4 at least. Of the registers of a multiprocessor, 65,536, two
//! blocks take `2 * 128 * 255` at most, and of its shared memory of 228 kB two blocks with [`Form::shared`] bytes; heads of 256
//! elements leave room for one. A run of 16 positions, 8 kB with heads of 128 elements, takes a warp some 700 instructions of PTX,
//! 48 of them products, a third of which are for the second half of the weights: 175 cycles on four schedulers, where memory takes
//! 430.
//!
//! Of codes of four bits, memory moves a run of 16 positions, 2.2 kB with heads of 128 elements, in 115 cycles. A lane reads words of eight
//! codes and makes two numbers of a shift, a mask and two products with a sum: 16 instructions a word, of which a run has 16 a lane. Copies
//! are a fourth of those of numbers, and nothing is read as matrices. In all some 850 instructions of PTX a run, 210 cycles on four
//! schedulers: issue limits, at twice the speed of numbers and some 55 % of memory (projected). Half of a tile's rows are of no query
//! where eight heads share keys; products with codes as the left operand would be half as many, and are not written.
//!
//! Merging is limited by memory too, or by launching it: states are read once, 512 bytes a request, and their logarithms twice, 1.1
//! times the bytes of operands and results.
//!
//! Prefill is limited by arithmetic. None of what follows is measured on a GPU: cycles are projected from the rates of a
//! multiprocessor (2048 multiply-accumulates of bfloat16, 16 exponentials, 4 instructions of warps, 128 bytes of shared memory a
//! cycle), instructions are counted in the machine code of the plain variant with heads of 128 elements, and traffic in the simulator.
//!
//! - **Products.** A run, 128 rows by 128 positions, is `2 * 128^3 = 4.2 M` multiply-accumulates: 2048 cycles, 1024 a consumer.
//!   Where rows of a consumer see different positions of a run, as on the diagonal of a causal mask, what rounding its weights leaves
//!   is added by as many products again as its values take: 512 cycles of that consumer, for one run or two of a tile.
//! - **Softmax.** Its 16,384 exponentials take 1024 cycles, 512 a consumer. A consumer's warp executes some 450 instructions a run, 64
//!   more each where a mask or larger scores ask for it; a scheduler has two such warps, so 900 of its 2048 cycles. That is less than
//!   the products take, so it has to be done beside them: consumers take turns, so that one weighs while the other's products run,
//!   and one's own values are added while its next scores are weighed. To reach 600 TFLOP/s where products alone would run at 790, as
//!   large ones of matrices do within the power limit, a run may take 2700 cycles.
//! - **Shared memory.** Scores read 6 kB a step of 64 cycles, values 4 kB, as weights stay in registers: 80 bytes a cycle on the mean.
//!   64 kB of keys and values a run are 32 bytes a cycle more.
//! - **Copies.** A slot of keys or values is 32 kB, and there are two of each, half of them in use: 64 kB are on their way where 32
//!   bytes a cycle for 700 cycles of latency are 22 kB. Both consumers use one copy. From pages, a run takes 128 copies of a warp, some
//!   13 instructions each: 420 more of a scheduler's 2048 cycles. The simulator counts 1.02 times the sectors that pages of keys and
//!   values, queries and results have, 13 a request with the words of the plan among them, and 3.9 wavefronts a request of 512 bytes.
//! - **Room.** Consumers have 232 registers (sums 64, scores 64, weights 32), producers 40: 64,512 of 65,536. Shared memory is
//!   [`Form::shared`]: 165 kB, 181 kB and 214 kB with heads of 64, 128 and 256 elements. Wide heads take 64 positions at a time.
//! - **Ends.** A tile begins and ends with a product that its own softmax does not hide, some 3000 cycles, under which the next
//!   tile's first copies run: 2 % of a tile with 64 runs, the mean of 16k causal positions, but a fourth with 4.

mod kernels;
pub mod plan;

pub use kernels::{attend, grade};
pub(crate) use kernels::{instances, kernels};
pub use plan::{Layout, Maxima, Plan, Problem, Resources, Task};

use crate::device::{Args, Buffer, Device, Facts, Function, Launch, Swizzle, TensorMap};
use crate::error::{GpuError, Result};
use crate::nvrtc::{Arch, Instance, Source};
use tandem_ops::attention::{Operand, Snippet};
use tandem_tensor::{DType, Data, Tensor};

/// The kernel of large tiles.
pub(crate) static PREFILL: Source =
    Source { name: "attention_prefill.cu", text: include_str!("../../kernels/attention_prefill.cu") };
/// The kernel of small tiles.
pub(crate) static ATTENTION: Source = Source { name: "attention.cu", text: include_str!("../../kernels/attention.cu") };
/// Merging and appending.
pub(crate) static STATES: Source =
    Source { name: "attention_merge.cu", text: include_str!("../../kernels/attention_merge.cu") };

/// Packed rows of a large tile, and threads of its block: a producer warpgroup and two consumer warpgroups with half of the rows.
const LARGE: usize = 128;
const LARGE_THREADS: usize = 384;
const THREADS: usize = 128;
const WARPS: usize = 4;

/// What the kernels are compiled for, which follows from the elements of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Elements of a head: a multiple of 16, 256 at most.
    pub d: usize,
    /// Positions that a large tile takes at a time.
    pub positions: usize,
    /// Slots for as many keys, and for as many values.
    pub stages: usize,
    /// Buffers of 16 rows of a warp, for small tiles.
    pub slots: usize,
    /// Blocks of a multiprocessor for small tiles; for large ones there is one.
    pub blocks: usize,
    /// Whether keys and values are codes of four bits. All tiles are small then.
    pub codes: bool,
}

impl Form {
    /// The form for heads of so many elements.
    ///
    /// # Errors
    /// Unsupported, where there is none.
    pub fn new(d: usize) -> Result<Form> {
        if d == 0 || d > 256 || !d.is_multiple_of(16) {
            let text = format!("heads of {d} elements: the kernel is for multiples of 16 up to 256");
            return Err(GpuError::Unsupported(text));
        }
        Ok(match d {
            ..=64 => Form { d, positions: 128, stages: 4, slots: 8, blocks: 2, codes: false },
            65..=128 => Form { d, positions: 128, stages: 2, slots: 6, blocks: 2, codes: false },
            _ => Form { d, positions: 64, stages: 2, slots: 6, blocks: 1, codes: false },
        })
    }

    /// The form for heads of so many elements whose keys and values are codes of four bits.
    ///
    /// # Errors
    /// Unsupported, where there is none.
    pub fn of_codes(d: usize) -> Result<Form> {
        if d == 0 || d > 256 || !d.is_multiple_of(64) {
            let text = format!("heads of {d} elements: the kernel of codes is for multiples of 64 up to 256");
            return Err(GpuError::Unsupported(text));
        }
        // Eight buffers have room for the state that takes their place.
        Form::new(d).map(|form| Form { slots: 8, codes: true, ..form })
    }

    /// Bytes of a row in shared memory.
    fn row(&self) -> usize {
        self.d.div_ceil(64) * 128
    }

    /// Bytes of a buffer of 16 rows of a warp: of codes, with a scale and a zero for each row.
    fn slot(&self) -> usize {
        16 * if self.codes { (self.d / 2).next_power_of_two() + 4 } else { self.row() }
    }

    /// Bytes of shared memory of a block.
    pub fn shared(&self, task: Task) -> usize {
        match task {
            Task::Large => {
                // Behind queries, keys and values are results on their way out and pairs of barriers; the first begins at a
                // multiple of 1024.
                let slots = 2 * self.stages;
                1024 + (LARGE + slots * self.positions) * self.row() + LARGE * 128 + (slots + 1) * 16
            }
            Task::Small => {
                let queries = if self.d > 128 { plan::SMALL * self.row() } else { 0 };
                WARPS * self.slots * self.slot() + WARPS * plan::SMALL * 8 + plan::SMALL * 16 + queries
            }
        }
    }

    /// Bytes of keys and values that small tiles have on their way on a multiprocessor while they compute.
    pub fn bytes_in_flight(&self) -> usize {
        let row = if self.codes { self.d / 2 + 4 } else { 2 * self.d };
        self.blocks * WARPS * (self.slots - 1) * 16 * row
    }

    /// What a plan may use on a device.
    pub fn resources(&self, facts: &Facts) -> Resources {
        let large = if self.codes { plan::SMALL } else { LARGE };
        Resources { blocks: [facts.shares(), self.blocks * facts.shares()], large }
    }

    /// The kernel of this form with a variant.
    pub fn instance(&self, task: Task, variant: &Snippet<'_>) -> Instance {
        let instance = match task {
            Task::Large => Instance::new(&PREFILL, "attention_prefill", Arch::Sm90a)
                .define("D", self.d)
                .define("POSITIONS", self.positions)
                .define("STAGES", self.stages),
            Task::Small => Instance::new(&ATTENTION, "attention", Arch::Sm90a)
                .define("D", self.d)
                .define("SLOTS", self.slots)
                .define("BLOCKS", self.blocks),
        };
        let instance = if self.codes { instance.define("CODES", 1) } else { instance };
        instance.with_variant(variant.text())
    }
}

/// A plan in device memory, with room for partial states. Plans can be exchanged between launches.
pub struct Workspace {
    maxima: Maxima,
    words: Buffer,
    partial_o: Buffer,
    partial_lse: Buffer,
}

impl Workspace {
    /// Room for plans within these bounds, for heads of `d` elements.
    ///
    /// # Errors
    /// Exhausted, where the device has no room.
    pub fn new(device: &Device, maxima: Maxima, d: usize) -> Result<Workspace> {
        Ok(Workspace {
            maxima,
            words: device.zeros(DType::I32, maxima.layout().words)?,
            partial_o: device.alloc(DType::F32, maxima.partial_rows * d)?,
            partial_lse: device.alloc(DType::F32, maxima.partial_rows)?,
        })
    }

    /// Puts a plan in the place of the one before; one copy.
    ///
    /// # Errors
    /// Exhausted, where it is beyond the bounds.
    pub fn set(&self, problem: &Problem, plan: &Plan) -> Result<()> {
        let words = plan.words(problem, &self.maxima)?;
        self.words.write(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>())
    }
}

/// A variant's numbers in device memory.
pub struct VariantOperands {
    scalars: [f32; Snippet::SCALARS],
    buffers: Vec<Buffer>,
    softmax: bool,
}

impl VariantOperands {
    /// Copies what a variant reads.
    ///
    /// # Errors
    /// Unsupported, where a variant has more scalars or operands than the kernel has places; Exhausted, where there is no room.
    pub fn upload(device: &Device, variant: &Snippet<'_>) -> Result<VariantOperands> {
        let (scalars, operands) = (variant.scalars(), variant.operands());
        if scalars.len() > Snippet::SCALARS || operands.len() > Snippet::OPERANDS {
            let (most, places) = (Snippet::SCALARS, Snippet::OPERANDS);
            let text = format!("{} scalars and {} operands", scalars.len(), operands.len());
            return Err(GpuError::Unsupported(format!("a variant with {text}, where there are {most} and {places}")));
        }
        let upload = |operand: &Operand<'_>| {
            let data = match *operand {
                Operand::F32(all) => Data::F32(all.to_vec()),
                Operand::I32(all) => Data::I32(all.to_vec()),
                Operand::Bytes(all) => Data::U8(all.to_vec()),
            };
            device.upload(&tensor(data)?)
        };
        let mut all = [0.0; Snippet::SCALARS];
        all[..scalars.len()].copy_from_slice(scalars);
        let buffers = operands.iter().map(upload).collect::<Result<_>>()?;
        Ok(VariantOperands { scalars: all, buffers, softmax: variant.has_softmax() })
    }

    fn args(&self) -> Args {
        let args = self.scalars.iter().fold(Args::new(), |args, &scalar| args.f32(scalar));
        (0..Snippet::OPERANDS).fold(args, |args, at| args.optional(self.buffers.get(at)))
    }
}

/// Operands in device memory.
pub struct Operands<'a> {
    /// `[rows, q_heads, d]`.
    pub q: &'a Buffer,
    /// The address of the first key.
    pub k: u64,
    /// The address of the first value.
    pub v: u64,
    /// Those of the first scales of keys and of values, where keys and values are codes.
    pub scales: Option<[u64; 2]>,
    /// The table of pages of all levels; none where positions follow each other.
    pub table: Option<&'a Buffer>,
    /// Elements of a line.
    pub line: usize,
    /// Lines of keys, and of values, where there is no table.
    pub lines: usize,
    /// Positions of a page.
    pub page: usize,
    /// Lines from a page to the next.
    pub page_lines: usize,
    /// Factor of every score.
    pub scale: f32,
    /// Heads of queries.
    pub q_heads: usize,
    /// Heads of queries to a head of keys.
    pub group: usize,
    /// What the variant reads.
    pub variant: &'a VariantOperands,
    /// `[rows, q_heads, d]`.
    pub o: &'a Buffer,
    /// `[rows, q_heads]`.
    pub lse: &'a Buffer,
}

impl Operands<'_> {
    /// Keys and values as TMA sees them: elements of a head, heads, lines. Of pages, which it does not copy, there are none.
    fn maps(&self, device: &Device, d: usize, positions: usize) -> Result<Args> {
        let map = |address| {
            if self.table.is_some() || self.lines == 0 {
                return Ok([0; 128]);
            }
            device.tensor_map(&TensorMap {
                dtype: DType::BF16,
                address,
                extents: &[d as u64, (self.line / d) as u64, self.lines as u64],
                strides: &[(d * 2) as u64, (self.line * 2) as u64],
                box_extents: &[64, 1, positions as u32],
                swizzle: Swizzle::Bytes128,
            })
        };
        Ok(Args::new().tensor_map(&map(self.k)?).tensor_map(&map(self.v)?))
    }
}

/// Attention whose kernels are ready, so that it can be launched many times and captured.
pub struct Attention {
    form: Form,
    functions: [Option<Function>; 2],
    merge: Function,
}

impl Attention {
    /// Makes the kernels for a variant ready that workspaces of these bounds take; they are compiled once for every text.
    ///
    /// # Errors
    /// Those of [`Form::new`] and [`Device::function`].
    pub fn new(device: &Device, d: usize, variant: &Snippet<'_>, maxima: &Maxima) -> Result<Attention> {
        Attention::of(device, Form::new(d)?, variant, maxima)
    }

    /// The same for a form.
    ///
    /// # Errors
    /// Those of [`Device::function`].
    pub fn of(device: &Device, form: Form, variant: &Snippet<'_>, maxima: &Maxima) -> Result<Attention> {
        let ready = |task: Task| match maxima.blocks[task as usize] {
            0 => Ok(None),
            _ => device.function(&form.instance(task, variant)).map(Some),
        };
        let functions = [ready(Task::Large)?, ready(Task::Small)?];
        let merge = device.function(&Instance::new(&STATES, "attention_merge", Arch::Sm80))?;
        Ok(Attention { form, functions, merge })
    }

    /// What the kernels are compiled for.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Launches it with the plan that the workspace has when it runs; it may still be running when this returns.
    ///
    /// The launches depend on the bounds of the workspace alone, not on the plan.
    ///
    /// # Errors
    /// Unsupported for lines beyond 31 bits; those of [`Device::launch`].
    pub fn launch(&self, device: &Device, workspace: &Workspace, operands: &Operands<'_>) -> Result<()> {
        let Form { d, positions, .. } = self.form;
        let layout = workspace.maxima.layout();
        let resources = self.form.resources(device.facts());
        let numbers = [operands.line, operands.page, operands.page_lines];
        if numbers.iter().any(|&number| number > i32::MAX as usize) {
            return Err(GpuError::Unsupported(format!("lines and pages of {numbers:?} are beyond 31 bits")));
        }
        if self.form.codes != operands.scales.is_some() {
            return Err(GpuError::Invalid(
                "scales are operands where keys and values are codes, and only there".into(),
            ));
        }
        let [k_scales, v_scales] = operands.scales.unwrap_or_default();
        let word = |at: usize| workspace.words.at(at);
        let parameters = |task: Task| {
            Args::new()
                .buffer(operands.q)
                .address(operands.k)
                .address(operands.v)
                .address(k_scales)
                .address(v_scales)
                .optional(operands.table)
                .address(word(layout.requests))
                .address(word(layout.lists[task as usize]))
                .address(word(layout.items))
                .buffer(operands.o)
                .buffer(operands.lse)
                .buffer(&workspace.partial_o)
                .buffer(&workspace.partial_lse)
                .f32(operands.scale)
                .i32(operands.q_heads as i32)
                .i32(operands.group as i32)
                .i32(operands.line as i32)
                .i32(operands.page as i32)
                .i32(operands.page_lines as i32)
                .block(&operands.variant.args())
        };
        for task in Task::ALL {
            let blocks = workspace.maxima.blocks[task as usize];
            if blocks == 0 {
                continue;
            }
            let most = resources.blocks[task as usize];
            let function = self.functions[task as usize].as_ref().filter(|_| blocks == most).ok_or_else(|| {
                let text = "blocks, and the kernels that are ready are for another number";
                GpuError::Invalid(format!("the workspace is for {blocks} of {most} {text}"))
            })?;
            let (args, threads) = match task {
                Task::Large => (operands.maps(device, d, positions)?, LARGE_THREADS),
                Task::Small => (Args::new(), THREADS),
            };
            let args = args.block(&parameters(task));
            let launch = Launch::new([blocks as u32, 1, 1], [threads as u32, 1, 1], args);
            device.launch(function, &launch.shared(self.form.shared(task) as u32))?;
        }
        if workspace.maxima.partial_rows == 0 {
            return Ok(());
        }
        let args = Args::new()
            .buffer(&workspace.partial_o)
            .buffer(&workspace.partial_lse)
            .address(word(layout.merges))
            .address(word(layout.merge_indptr))
            .address(word(layout.merge_rows))
            .address(word(layout.merge_entries))
            .buffer(operands.o)
            .buffer(operands.lse)
            .i32(d as i32)
            .i32(operands.variant.softmax.into());
        device.launch(&self.merge, &warps(device, workspace.maxima.partial_rows, args))
    }
}

/// A launch with a warp for each of so many rows, which take more where these are many.
fn warps(device: &Device, rows: usize, args: Args) -> Launch {
    let most = 16 * device.facts().shares();
    Launch::new([rows.div_ceil(WARPS).clamp(1, most) as u32, 1, 1], [THREADS as u32, 1, 1], args)
}

fn tensor(data: Data) -> Result<Tensor> {
    Tensor::new([data.len()], data).map_err(|error| GpuError::Invalid(error.to_string()))
}
