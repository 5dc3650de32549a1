//! Kernels of invariant bit packing: rows fetched from packed ones.
//!
//! # Against the limits
//! Packed rows lie in memory of the host, or of the device. From the host, the link's 55 GB/s with a latency of some 1.5 us ask for
//! 80 kB on their way; unpacking 70 GB/s, and up to nine times that of sparse rows, is the work of a few multiprocessors, and the others
//! are somebody else's. So 32 blocks of 16 warps share the rows, a warp a row: 512 rows, each with its participation or up to eight lines
//! of 128 bytes on their way, 130 to 520 kB. Each line of a packed row is read once, and none behind its end: the length of the stream is
//! added up from the participation before any of it is asked for.
//!
//! A word takes some 60 instructions, the network of the deposit among them, whatever its mask; tables of a column stay in shared memory
//! where they fit (`STAGED`), else in the first-level cache. Counted by the simulator, a thousand rows of 4 kB move 1.2 times the bytes of
//! packed rows, masks and results with one set of masks: lines that rows share, and the tables of every block.

use crate::device::{Args, Device, Launch};
use crate::error::{GpuError, Result};
use crate::nvrtc::{Arch, Instance, Source};
use crate::planned::{Operands, Planned, Steps};
use tandem_ops::def::Dims;
use tandem_tensor::DType;

pub(crate) static IBP: Source = Source { name: "ibp.cu", text: include_str!("../kernels/ibp.cu") };

pub(crate) const PLANS: &[Planned] = &[
    Planned { name: "ibp_unpack.u32", least: Arch::Sm80, steps: unpack },
    Planned { name: "ibp_unpack.u64", least: Arch::Sm80, steps: unpack },
];

/// Blocks that share the rows, however many multiprocessors there are.
const BLOCKS: usize = 32;
/// Warps of a block.
const WARPS: usize = 16;
/// Bytes of tables that are copied to shared memory, at most: two blocks have room on a multiprocessor.
const STAGED: usize = 96 << 10;

/// Words of the tables of a column.
fn tables(dtype: DType) -> usize {
    2 + (dtype.bytes() * 8).ilog2() as usize
}

fn instance(kernel: &'static str, dtype: DType, staged: bool) -> Instance {
    Instance::new(&IBP, kernel, Arch::Sm80).define("BITS", dtype.bytes() * 8).define("STAGED", usize::from(staged))
}

fn unpack(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let [rows, columns, clusters, fetch] = ["rows", "columns", "clusters", "fetch"].map(|axis| dims[axis]);
    let packed = operands.buffer("packed")?;
    let dtype = packed.dtype();
    let places = clusters * columns;
    if places > i32::MAX as usize || fetch > i32::MAX as usize {
        let text = format!("{places} masks and {fetch} rows at a time are more than kernels count");
        return Err(GpuError::Unsupported(text));
    }
    let bytes = tables(dtype) * places * dtype.bytes();
    let staged = bytes <= STAGED;
    let mut steps = Steps::none();
    let table = steps.keep(device.alloc(dtype, tables(dtype) * places)?);
    let args = Args::new().buffer(operands.buffer("mask")?).buffer(operands.buffer("bitval")?).address(table);
    let args = args.i32(clusters as i32).i32(columns as i32);
    let blocks = places.div_ceil(256).clamp(1, 4 * device.facts().shares());
    let launch = Launch::new([blocks as u32, 1, 1], [256, 1, 1], args);
    steps.step_of_weights(device, &instance("ibp_tables", dtype, false), launch)?;
    let args = Args::new().buffer(packed).buffer(operands.buffer("kept")?).address(table);
    let args = args.buffer(operands.buffer("cluster")?).buffer(operands.buffer("index")?);
    let args = args.buffer(operands.buffer("out")?).u64(rows as u64);
    let args = args.i32(clusters as i32).i32(columns as i32).i32(fetch as i32);
    let blocks = fetch.div_ceil(WARPS).clamp(1, BLOCKS);
    let launch = Launch::new([blocks as u32, 1, 1], [(32 * WARPS) as u32, 1, 1], args);
    let launch = launch.shared(if staged { bytes as u32 } else { 0 });
    steps.step(device, &instance("ibp_unpack", dtype, staged), launch)?;
    Ok(steps)
}

pub(crate) fn instances() -> Vec<Instance> {
    let both = [DType::U32, DType::U64].into_iter();
    both.flat_map(|dtype| {
        let unpack = [false, true].map(|staged| instance("ibp_unpack", dtype, staged));
        unpack.into_iter().chain([instance("ibp_tables", dtype, false)])
    })
    .collect()
}
