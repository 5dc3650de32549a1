//! Decoded instructions: registers are dense indices, constants are registers, branches are indices of instructions.

use crate::alu::convert::Conversion;
use crate::alu::{CompareFn, LaneFn};
use crate::float::Format;
use crate::types::Type;

/// Generic addresses of global memory start here, far from 0 and from the windows below.
pub(crate) const GLOBAL_BASE: u64 = 0x2_0000_0000;
/// Generic addresses of parameters, local and shared memory.
pub(crate) const PARAM_WINDOW: u64 = 0x5000_0000_0000;
pub(crate) const LOCAL_WINDOW: u64 = 0x6000_0000_0000;
pub(crate) const SHARED_WINDOW: u64 = 0x7000_0000_0000;
/// Size of each window.
pub(crate) const WINDOW: u64 = 1 << 32;
/// Where the shared memory of a block starts: 0 is no address, and the hardware keeps the first KiB for itself.
pub(crate) const SHARED_BASE: u32 = 1024;
/// A `shared::cluster` address holds the rank of the block plus one from this bit; 0 there is the executing block.
pub(crate) const RANK_SHIFT: u32 = 24;

/// Index of a register.
pub(crate) type Reg = u32;
/// Index of a predicate.
pub(crate) type Pred = u32;

/// The value of a constant register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Const {
    Value(u64),
    /// The address of a variable of the module and an addend.
    Variable(u32, i64),
    /// The start of dynamic shared memory and an addend.
    Dynamic(i64),
}

/// An instruction.
#[derive(Clone, Debug)]
pub(crate) struct Inst {
    pub op: Op,
    /// The predicate and whether it is negated.
    pub guard: Option<(Pred, bool)>,
    pub line: u32,
    pub source: Option<(u32, u32)>,
    /// Index in the kernel's opcodes.
    pub name: u16,
}

/// The state space of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Generic,
    /// Constant memory too.
    Global,
    Shared,
    Local,
    Param,
}

/// An address: a register and an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addr {
    pub base: Reg,
    pub offset: i64,
}

/// How a memory access takes part in synchronisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Order {
    /// An ordinary access.
    #[default]
    Weak,
    /// `volatile`, `relaxed`, `acquire`, `release`: it may meet others without being a race.
    Strong,
}

#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub space: Space,
    pub addr: Addr,
    /// Bytes of one element.
    pub bytes: u32,
    /// The element is sign-extended.
    pub signed: bool,
    /// Registers and their widths in bits.
    pub to: Box<[(Reg, u32)]>,
    pub order: Order,
}

#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub space: Space,
    pub addr: Addr,
    pub bytes: u32,
    pub from: Box<[Reg]>,
    pub order: Order,
}

/// What an atomic instruction does to the old value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomicOp {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exchange,
    CompareSwap,
    Increment,
    Decrement,
}

#[derive(Clone, Debug)]
pub(crate) struct Atomic {
    pub space: Space,
    pub addr: Addr,
    pub op: AtomicOp,
    pub ty: Type,
    /// Values and, where the old ones are asked for, their registers; one element but for vectors.
    pub to: Box<[Reg]>,
    pub from: Box<[Reg]>,
    /// The new value of a compare-and-swap, whose comparand is `from`.
    pub swap: Option<Reg>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vote {
    All,
    Any,
    Uniform,
    Ballot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    Tid(usize),
    NTid(usize),
    CtaId(usize),
    NCtaId(usize),
    LaneId,
    WarpId,
    NWarpId,
    ClusterId(usize),
    NClusterId(usize),
    ClusterCtaId(usize),
    ClusterNCtaId(usize),
    ClusterCtaRank,
    ClusterNCtaRank,
    SmId,
    NSmId,
    GridId,
    Clock,
    GlobalTimer,
    DynamicShared,
    TotalShared,
    LaneMaskEq,
    LaneMaskLe,
    LaneMaskLt,
    LaneMaskGe,
    LaneMaskGt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Combine {
    And,
    Or,
    Xor,
}

/// Elements of matrix instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Float(Format),
    /// tf32 in 32 bits, of which the lower 13 are ignored.
    Tf32,
    Int {
        bits: u32,
        signed: bool,
    },
    /// Single bits, combined by `and` or `xor`, the result counted.
    Bit {
        xor: bool,
    },
}

impl Element {
    /// Bits of one element in registers and shared memory.
    pub fn bits(self) -> u32 {
        match self {
            Self::Float(f) => f.bits(),
            Self::Tf32 => 32,
            Self::Int { bits, .. } => bits,
            Self::Bit { .. } => 1,
        }
    }
}

/// What a matrix instruction accumulates in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accumulator {
    F32,
    F16,
    /// Whether sums saturate.
    S32 {
        saturate: bool,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Mma {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Element,
    pub b: Element,
    pub d: Accumulator,
    pub to: Box<[Reg]>,
    pub a_regs: Box<[Reg]>,
    pub b_regs: Box<[Reg]>,
    pub c_regs: Box<[Reg]>,
}

/// Where the A operand of a `wgmma` is.
#[derive(Clone, Debug)]
pub(crate) enum MatrixA {
    Descriptor(Reg),
    Registers(Box<[Reg]>),
}

#[derive(Clone, Debug)]
pub(crate) struct Wgmma {
    pub n: usize,
    pub k: usize,
    pub a: Element,
    pub b: Element,
    pub d: Accumulator,
    pub to: Box<[Reg]>,
    pub from: MatrixA,
    pub desc_b: Reg,
    /// Whether the accumulators count: a predicate, or a constant.
    pub accumulate: Result<(Pred, bool), bool>,
    pub negate_a: bool,
    pub negate_b: bool,
    /// The operand in shared memory is stored with its M or N dimension contiguous.
    pub transpose_a: bool,
    pub transpose_b: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct AsyncCopy {
    pub to: Addr,
    pub from: Addr,
    pub bytes: u32,
    /// Bytes that are read; the rest becomes zero.
    pub source_bytes: Option<Reg>,
    /// A predicate under which nothing is read.
    pub ignore: Option<(Pred, bool)>,
}

#[derive(Clone, Debug)]
pub(crate) struct TensorCopy {
    pub shared: Addr,
    pub map: Addr,
    pub coordinates: Box<[Reg]>,
    /// The barrier of a load.
    pub barrier: Option<Addr>,
    pub multicast: Option<Reg>,
    /// The operation of a reduction, of a store.
    pub reduce: Option<AtomicOp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BulkKind {
    GlobalToShared,
    SharedToGlobal,
    SharedToShared,
}

#[derive(Clone, Debug)]
pub(crate) struct BulkCopy {
    pub kind: BulkKind,
    pub to: Addr,
    pub from: Addr,
    pub bytes: Reg,
    pub barrier: Option<Addr>,
    pub multicast: Option<Reg>,
    /// The operation and type of a reduction.
    pub reduce: Option<(AtomicOp, Type)>,
}

/// An operation on an `mbarrier` object.
#[derive(Clone, Debug)]
pub(crate) enum Mbarrier {
    Init {
        addr: Addr,
        count: Reg,
    },
    Invalidate {
        addr: Addr,
    },
    /// Arrives `count` times, after raising the transaction count by `bytes`.
    Arrive {
        state: Option<Reg>,
        addr: Addr,
        count: Option<Reg>,
        bytes: Option<Reg>,
        drop: bool,
        relaxed: bool,
    },
    ExpectTx {
        addr: Addr,
        bytes: Reg,
    },
    CompleteTx {
        addr: Addr,
        bytes: Reg,
    },
    /// Tests or waits, by `state` or by `parity`.
    Wait {
        done: Pred,
        addr: Addr,
        value: Reg,
        parity: bool,
        blocking: bool,
        relaxed: bool,
    },
    PendingCount {
        to: Reg,
        state: Reg,
    },
    /// Arrives when this thread's earlier `cp.async` have landed.
    AsyncArrive {
        addr: Addr,
        noinc: bool,
    },
}

/// Barriers of the block, by number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Barrier {
    pub id: Reg,
    /// Threads that take part; all of the block where `None`.
    pub threads: Option<Reg>,
    /// Whether it only arrives.
    pub arrive: bool,
    /// All lanes of the warp must execute it together.
    pub aligned: bool,
    /// The result of `barrier.red`: the operation, the predicate that goes in, and the result.
    pub reduce: Option<Reduce>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Reduce {
    pub op: Vote,
    pub from: (Pred, bool),
    pub to_pred: Option<Pred>,
    pub to_count: Option<Reg>,
}

/// The instruction whose carry counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CarryOp {
    Add,
    Subtract,
    /// The lower half of a product, plus a third.
    MultiplyLow,
    MultiplyHigh,
}

#[derive(Clone, Debug)]
pub(crate) struct Carry {
    pub op: CarryOp,
    pub ty: Type,
    pub d: Reg,
    pub a: [Reg; 3],
    /// Whether the flag is taken, and whether it is set.
    pub takes: bool,
    pub sets: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Nop,
    Move {
        d: Reg,
        a: Reg,
    },
    /// `d = f(a)`.
    Lane {
        f: LaneFn,
        d: Reg,
        a: [Reg; 3],
    },
    /// The same in single precision, with subnormals flushed or the result clamped.
    Flush {
        f: LaneFn,
        d: Reg,
        a: [Reg; 3],
        ftz: bool,
        sat: bool,
    },
    Convert {
        conversion: Box<Conversion>,
        d: Reg,
        a: Reg,
        b: Reg,
    },
    Lop3 {
        d: Reg,
        a: [Reg; 3],
        lut: u8,
    },
    /// A sum, difference or product whose carry is kept in, or taken from, a flag of the lane.
    Carry(Box<Carry>),
    Bfi {
        d: Reg,
        a: [Reg; 4],
        bits: u32,
    },
    Compare {
        f: CompareFn,
        p: Pred,
        q: Option<Pred>,
        a: Reg,
        b: Reg,
        ftz: bool,
        with: Option<(Combine, Pred, bool)>,
    },
    /// The same, the result a register: `yes` where true, else 0.
    Set {
        f: CompareFn,
        d: Reg,
        yes: u64,
        a: Reg,
        b: Reg,
        with: Option<(Combine, Pred, bool)>,
    },
    /// A comparison of both halves of packed operands.
    ComparePacked {
        f: CompareFn,
        p: Pred,
        q: Pred,
        a: Reg,
        b: Reg,
    },
    SetPacked {
        f: CompareFn,
        d: Reg,
        yes: u64,
        a: Reg,
        b: Reg,
    },
    Select {
        d: Reg,
        a: Reg,
        b: Reg,
        p: Pred,
        negated: bool,
    },
    /// Selects by the sign of `c`, a float if `float`.
    SelectSign {
        d: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
        float: bool,
    },
    Logic {
        f: fn(u32, u32) -> u32,
        p: Pred,
        a: (Pred, bool),
        b: (Pred, bool),
    },
    PredConst {
        p: Pred,
        value: bool,
    },
    Special {
        d: Reg,
        which: Special,
    },
    Pack {
        d: Reg,
        parts: Box<[Reg]>,
        bits: u32,
    },
    Unpack {
        parts: Box<[Reg]>,
        a: Reg,
        bits: u32,
    },
    Branch {
        target: u32,
    },
    BranchTable {
        index: Reg,
        targets: Box<[u32]>,
    },
    Exit,
    Trap,
    Load(Box<Load>),
    Store(Box<Store>),
    /// Copies bytes within local memory: parameters of a call that was expanded in place.
    CopyLocal {
        to: u32,
        from: u32,
        bytes: u32,
    },
    Atomic(Box<Atomic>),
    /// Whether an address lies in the window of a space.
    IsSpace {
        p: Pred,
        a: Reg,
        window: u64,
    },
    /// The address in another block of the cluster.
    MapAddress {
        d: Reg,
        a: Reg,
        rank: Reg,
        generic: bool,
    },
    GetRank {
        d: Reg,
        a: Reg,
    },
    Shuffle {
        mode: Shuffle,
        d: Reg,
        p: Option<Pred>,
        a: Reg,
        b: Reg,
        c: Reg,
        mask: Reg,
    },
    Vote {
        op: Vote,
        p: Pred,
        negated: bool,
        to_pred: Pred,
        to: Reg,
        mask: Reg,
    },
    ActiveMask {
        d: Reg,
    },
    Match {
        all: bool,
        d: Reg,
        p: Option<Pred>,
        a: Reg,
        mask: Reg,
    },
    ReduceWarp {
        op: AtomicOp,
        signed: bool,
        d: Reg,
        a: Reg,
        mask: Reg,
    },
    Elect {
        d: Reg,
        p: Pred,
        mask: Reg,
    },
    WarpSync {
        mask: Reg,
    },
    Barrier(Box<Barrier>),
    ClusterArrive {
        relaxed: bool,
        aligned: bool,
    },
    ClusterWait {
        aligned: bool,
    },
    Fence,
    FenceProxy,
    /// Makes initialised `mbarrier` objects visible to the async proxy and the cluster.
    FenceInit,
    Nanosleep,
    Mbarrier(Box<Mbarrier>),
    AsyncCopy(Box<AsyncCopy>),
    AsyncCommit,
    AsyncWait {
        pending: u32,
        all: bool,
    },
    BulkCopy(Box<BulkCopy>),
    TensorCopy(Box<TensorCopy>),
    BulkCommit,
    BulkWait {
        pending: u32,
        read: bool,
    },
    MatrixLoad {
        to: Box<[Reg]>,
        addr: Addr,
        transpose: bool,
    },
    MatrixStore {
        from: Box<[Reg]>,
        addr: Addr,
        transpose: bool,
    },
    MatrixTranspose {
        d: Reg,
        a: Reg,
    },
    Mma(Box<Mma>),
    Wgmma(Box<Wgmma>),
    WgmmaFence,
    WgmmaCommit,
    WgmmaWait {
        pending: u32,
    },
    /// Nothing here counts registers; all lanes of the warp must execute it together all the same.
    SetMaxRegisters,
}
