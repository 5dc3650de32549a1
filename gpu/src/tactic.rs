//! Kernels of clusters of keys, and of the choice among them.
//!
//! # Against the limits
//! A choice reads, for each head of queries, the centroids of its head of keys and the keys whose weights are computed: with 32,768 keys
//! in clusters of 16, a head of a 64th and two windows of 128, 0.52 + 0.20 MB of the 8.4 MB that its keys are. Heads of a group read the
//! same centroids, at the same time as a rule, so that all but the first find them in the second-level cache. Beside memory, sorting
//! 2048 clusters is 66 steps of a barrier each and sorting 1024 weights 55, and the law is evaluated once for 16 keys.
//!
//! Assigning keys is limited by arithmetic: a difference and a multiply-add an element, in the order of the definition and so not on
//! tensor cores. A team reads 64 bytes of shared memory for each thread and 64 operations.

use crate::device::{Args, Device, Launch};
use crate::error::{GpuError, Result};
use crate::nvrtc::{Arch, Instance, Source};
use crate::planned::{Operands, Planned, Steps};
use tandem_ops::def::Dims;
use tandem_ops::sampling::weight::units;
use tandem_ops::tactic::Probe;
use tandem_tensor::DType;

pub(crate) static TACTIC: Source = Source { name: "tactic.cu", text: include_str!("../kernels/tactic.cu") };
pub(crate) static KMEANS: Source = Source { name: "kmeans.cu", text: include_str!("../kernels/kmeans.cu") };

pub(crate) const PLANS: &[Planned] = &[
    Planned { name: "kmeans.bf16", least: Arch::Sm80, steps: kmeans },
    Planned { name: "tactic_select.bf16", least: Arch::Sm80, steps: select },
];

/// Threads of a block that chooses, and of one that makes clusters.
const THREADS: [u32; 2] = [512, 256];
/// Keys of a block, and centroids in its shared memory.
const KEYS: usize = 128;
const CENTROIDS: usize = 16;

fn instance(source: &'static Source, kernel: &'static str, whole: bool) -> Instance {
    Instance::new(source, kernel, Arch::Sm80).define("VECTORS", usize::from(whole))
}

/// Whether rows of so many elements are whole vectors of 16 bytes.
fn whole(d: usize) -> bool {
    d.is_multiple_of(8)
}

fn fits(device: &Device, shared: usize, what: impl FnOnce() -> String) -> Result<u32> {
    let most = device.facts().shared_per_block as usize;
    if shared > most {
        return Err(GpuError::Unsupported(format!("{} do not fit in {most} bytes of shared memory", what())));
    }
    Ok(shared as u32)
}

fn kmeans(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let [n, hkv, d, clusters] = ["n", "hkv", "d", "clusters"].map(|axis| dims[axis]);
    if [n, hkv * clusters, d].into_iter().any(|extent| extent > i32::MAX as usize) {
        return Err(GpuError::Unsupported("an extent is beyond 31 bits".into()));
    }
    let padded = d.next_multiple_of(32);
    let shared = fits(device, padded * (2 * KEYS + 4 * CENTROIDS), || format!("{KEYS} keys of {d} elements"))?;
    let [k, keys, centroids] = ["k", "keys", "centroids"].map(|port| operands.buffer(port));
    let (k, keys, centroids) = (k?, keys?, centroids?);
    let mut steps = Steps::none();
    let labels = steps.keep(device.alloc(DType::I32, hkv * n)?);
    let extents = |args: Args, all: &[usize]| all.iter().fold(args, |args, &extent| args.i32(extent as i32));
    let of = |kernel| instance(&KMEANS, kernel, whole(d));
    let block = [THREADS[1], 1, 1];

    let args = Args::new().buffer(k).buffer(keys).buffer(operands.buffer("first")?).buffer(centroids);
    let grid = [clusters as u32, hkv as u32, 1];
    steps.step(device, &of("kmeans_first"), Launch::new(grid, block, extents(args, &[hkv, d, clusters])))?;
    // A warp is a cluster.
    let warps = [clusters.div_ceil(THREADS[1] as usize / 32) as u32, hkv as u32, 1];
    for turn in 0..=dims["iterations"] {
        if turn > 0 {
            let args = Args::new().buffer(k).buffer(keys).address(labels).buffer(centroids);
            let launch = Launch::new(warps, block, extents(args, &[n, hkv, d, clusters]));
            steps.step(device, &of("kmeans_update"), launch)?;
        }
        let args = Args::new().buffer(k).buffer(keys).buffer(centroids).address(labels);
        let grid = [n.div_ceil(KEYS) as u32, hkv as u32, 1];
        let launch = Launch::new(grid, block, extents(args, &[n, hkv, d, clusters])).shared(shared);
        steps.step(device, &of("kmeans_assign"), launch)?;
    }
    let args = Args::new().buffer(keys).address(labels);
    let args = args.buffer(operands.buffer("cluster_end")?).buffer(operands.buffer("members")?);
    steps.step(device, &of("kmeans_members"), Launch::new(warps, block, extents(args, &[n, clusters])))?;
    Ok(steps)
}

/// How many there are between the offsets of a port.
fn lengths(operands: &Operands, port: &str) -> Result<Vec<usize>> {
    Ok(operands.indices(port)?.windows(2).map(|pair| pair[1] - pair[0]).collect())
}

fn select(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let [b, hq, hkv, d] = ["b", "hq", "hkv", "d"].map(|axis| dims[axis]);
    let [clusters, slots, fresh] = ["cluster_begin", "slot_begin", "fresh_begin"].map(|port| lengths(operands, port));
    let (clusters, slots, fresh) = (clusters?, slots?, fresh?);
    let most = |all: &[usize]| all.iter().copied().max().unwrap_or(0);
    // Two at least, so that what lies behind them is aligned.
    let room = most(&clusters).next_power_of_two().max(2);
    let computed = slots
        .iter()
        .zip(&fresh)
        .map(|(&slots, fresh)| Probe::of(slots, dims["head"], dims["window"]).places().count() + fresh);
    let computed = computed.max().unwrap_or(0);
    let ranks = computed.next_power_of_two().max(2);
    let keys = slots.iter().zip(&fresh).map(|(slots, fresh)| slots + fresh).max().unwrap_or(0);
    let words = keys.div_ceil(32);
    let shared = 8 * (room + ranks) + 4 * room.max(4) + 4 * d.next_multiple_of(32);
    let what = || format!("{} clusters of a request and {computed} computed weights", most(&clusters));
    let shared = fits(device, shared, what)?;
    let pairs = u32::try_from(b * hq).ok().filter(|pairs| *pairs <= i32::MAX as u32);
    let pairs = pairs.ok_or_else(|| GpuError::Unsupported(format!("{b} requests are more than a grid has blocks")))?;

    let mut steps = Steps::none();
    let asked = steps.keep(device.alloc(DType::U32, b * hq * words)?);
    let logits = steps.keep(device.alloc(DType::F32, b * hq * computed)?);
    let mut pointers = Args::new();
    let ports =
        ["q", "k", "centroids", "cluster_begin", "cluster_end", "slot_begin", "members", "fresh_begin", "fresh_lines"];
    for name in ports.into_iter().chain(["selected", "count", "budget"]) {
        pointers = pointers.buffer(operands.buffer(name)?);
    }
    let pointers = pointers.address(asked).address(logits);
    let numbers = [
        hq,
        hkv,
        d,
        dims["slots"],
        dims["clusters"],
        dims["head"].min(i32::MAX as usize),
        dims["window"],
        words,
        computed,
        room,
        ranks,
    ];
    let extents = numbers.into_iter().fold(Args::new(), |args, number| args.i32(number as i32));
    let args = || Args::new().block(&pointers).block(&extents);
    let block = [THREADS[0], 1, 1];
    if pairs > 0 {
        let factor = units(operands.scalar("scale")?);
        let launch = Launch::new([pairs, 1, 1], block, args().f32(factor).f32(operands.scalar("target")?));
        steps.step(device, &instance(&TACTIC, "tactic_ask", whole(d)), launch.shared(shared))?;
    }
    let launch = Launch::new([(b * hkv) as u32, 1, 1], block, args());
    steps.step(device, &instance(&TACTIC, "tactic_union", whole(d)), launch)?;
    Ok(steps)
}

pub(crate) fn instances() -> Vec<Instance> {
    let of_clusters =
        ["kmeans_first", "kmeans_assign", "kmeans_update", "kmeans_members"].map(|kernel| (&KMEANS, kernel));
    let of_choice = ["tactic_ask", "tactic_union"].map(|kernel| (&TACTIC, kernel));
    let all = of_clusters.into_iter().chain(of_choice);
    all.flat_map(|(source, kernel)| [false, true].map(|whole| instance(source, kernel, whole))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_ops::tactic::CHUNK;

    #[test]
    fn the_numbers_of_the_kernels_are_those_of_the_definition_and_of_the_launches() {
        for (source, name, number) in [(&TACTIC, "CHUNK", CHUNK), (&KMEANS, "CENTROIDS", CENTROIDS)] {
            assert!(source.text.contains(&format!("#define {name} {number}\n")), "{name}");
        }
        assert_eq!(KEYS, THREADS[1] as usize / 4 * 2);
    }
}
