//! Where the cycles of work on simulated hardware went, and what the hardware could have done at most: one account for all reports.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tandem_driver::Counters;
use tandem_graph::{Graph, Node};
use tandem_isa::{HwConfig, Queue};
use tandem_ops::Op;
use tandem_sim::tsim::{Activity, DramModel, Timeline, UnitCycles, UnitState};

/// The part of a run in which memory is as good as always busy.
const SATURATED: f64 = 0.9;

/// What nodes ask of a machine in one run.
///
/// # Units
/// Multiply-accumulates, operations on elements, and bytes of each operand and each result once, which is the least that must move;
/// of an operand that windows pass over in part, what they read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Multiply-accumulates, without padding.
    pub macs: u64,
    /// Other operations on elements.
    pub element_ops: u64,
    /// Bytes of operands.
    pub read_bytes: u64,
    /// Bytes of results.
    pub write_bytes: u64,
    /// Whether the lanes of an accelerator do it, and not its array.
    pub on_lanes: bool,
}

/// What a machine needs for some work at the least, in cycles; of several nodes one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roofs {
    /// Of its array.
    pub array: u64,
    /// Of its lanes, for what these do.
    pub lanes: u64,
    /// Of its memory.
    pub memory: u64,
    /// The lower roof, of each node its own.
    pub cycles: u64,
}

/// What the compute unit, through which all work goes, did in a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What was asked for.
    Useful,
    /// Multiply-accumulates of lanes that hold no channel.
    Padding,
    /// What GEMM takes beside its micro-ops.
    Gemm,
    /// Clearing sums before GEMM.
    Clear,
    /// LANE beside what was asked for.
    Lane,
    /// ALU instructions.
    Alu,
    /// REQUANT.
    Requant,
    /// Loads of micro-ops.
    Uop,
    /// Loads of ACC: parameters of REQUANT, operands of the ALU.
    Acc,
    /// Instructions that only order others.
    Order,
    /// Waits for an element in its own pipeline.
    Hazard,
    /// Waits for tokens of the load unit.
    Load,
    /// Waits for tokens of the store unit.
    Store,
    /// Waits for room for tokens.
    Room,
    /// There was no instruction.
    Idle,
}

/// The cycles of one or several runs by what the compute unit did; they add up to the cycles of the runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    parts: BTreeMap<Part, u64>,
    /// States of the load and the store unit, which say why compute waited for them.
    load: UnitCycles,
    store: UnitCycles,
    /// Cycles that memory needs for what was moved.
    traffic: u64,
}

impl Work {
    /// What a node asks for, of so many samples that share its constants. One that only moves data asks for nothing.
    pub fn of(graph: &Graph, node: &Node, samples: u64) -> Work {
        let operands: Vec<_> = node.inputs.iter().map(|&id| graph.ty(id)).collect();
        let cost = tandem_ops::cost(&node.op, &operands).unwrap_or_default();
        if cost.macs == 0 && cost.element_ops == 0 {
            return Work { on_lanes: true, ..Work::default() };
        }
        let read = node.inputs.iter().enumerate().map(|(at, &id)| match graph.constant(id) {
            Some(_) => graph.ty(id).bytes() as u64,
            None => read_bytes(graph, node, at) * samples,
        });
        Work {
            macs: cost.macs * samples,
            element_ops: cost.element_ops * samples,
            read_bytes: read.sum(),
            write_bytes: node.outputs.iter().map(|&id| graph.ty(id).bytes() as u64).sum::<u64>() * samples,
            on_lanes: cost.macs == 0 || tandem_plan::kind(graph, node) == "depthwise_conv",
        }
    }

    /// Operations, of which a multiply-accumulate is two.
    pub fn operations(&self) -> f64 {
        2.0 * self.macs as f64 + self.element_ops as f64
    }

    /// Bytes that must move.
    pub fn bytes(&self) -> u64 {
        self.read_bytes + self.write_bytes
    }
}

/// Bytes of an operand that a node cannot do without: windows whose step is larger than they are pass over the rest.
fn read_bytes(graph: &Graph, node: &Node, at: usize) -> u64 {
    let ty = graph.ty(node.inputs[at]);
    let bytes = ty.bytes() as u64;
    let (kernel, stride, dilation, pad) = match (&node.op, node.inputs.get(1), node.outputs.first()) {
        (Op::Conv(conv), Some(&weights), Some(_)) if at == 0 => {
            // Output channels, the axes of the kernel, input channels.
            let kernel = graph.ty(weights).shape.iter().skip(1).copied().collect();
            (kernel, &conv.stride, &conv.dilation, &conv.pad)
        }
        (Op::Pool(pool), _, Some(_)) => (pool.kernel.clone(), &pool.stride, &pool.dilation, &pool.pad),
        _ => return bytes,
    };
    let results = &graph.ty(node.outputs[0]).shape;
    let axes = kernel.iter().zip(stride).zip(dilation).zip(pad).zip(ty.shape.iter().zip(results.iter()).skip(1));
    axes.fold(bytes, |bytes, ((((&taps, step), apart), (before, _)), (&extent, &windows))| {
        let mut read = vec![false; extent];
        for place in (0..windows).flat_map(|window| (0..taps).map(move |tap| window * step + tap * apart)) {
            if let Some(read) = place.checked_sub(*before).and_then(|place| read.get_mut(place)) {
                *read = true;
            }
        }
        bytes / extent.max(1) as u64 * read.iter().filter(|read| **read).count() as u64
    })
}

/// Multiply-accumulates that the array does in a cycle.
pub fn array(config: &HwConfig) -> u64 {
    vector(config) * config.block_in() as u64
}

/// Multiply-accumulates that the lanes do in a cycle.
pub fn lanes(config: &HwConfig) -> u64 {
    vector(config) * config.lane_taps() as u64
}

/// Lanes.
fn vector(config: &HwConfig) -> u64 {
    (config.batch() * config.block_out()) as u64
}

/// Cycles that the memory of a machine needs for so many bytes: each direction has the width of the bus, both share what the memory has.
pub fn memory_cycles(read: u64, write: u64, config: &HwConfig, dram: &DramModel) -> u64 {
    let bus = config.bus_bytes() as u64;
    let shared = match dram.bits_per_cycle {
        DramModel::UNLIMITED => 0,
        bits => ((read + write) * 8).div_ceil(u64::from(bits).max(1)),
    };
    read.div_ceil(bus).max(write.div_ceil(bus)).max(shared)
}

impl Roofs {
    /// Those of a node, of which GEMM ran so many micro-ops: weights that are zero need none, and there are fewer than products then.
    pub fn of(work: &Work, counters: &Counters, config: &HwConfig, dram: &DramModel) -> Roofs {
        let (array, lanes) = match (work.on_lanes, work.macs) {
            (false, macs) if counters.gemm_uops > 0 => (macs.div_ceil(array(config)).min(counters.gemm_uops), 0),
            (false, macs) => (macs.div_ceil(array(config)), 0),
            (true, 0) => (0, work.element_ops.div_ceil(vector(config))),
            (true, macs) => (0, macs.div_ceil(lanes(config))),
        };
        let memory = memory_cycles(work.read_bytes, work.write_bytes, config, dram);
        Roofs { array, lanes, memory, cycles: (array + lanes).max(memory) }
    }

    /// That of what computes.
    pub fn compute(&self) -> u64 {
        self.array + self.lanes
    }

    /// Which of both is lower.
    pub fn name(&self) -> &'static str {
        if self.compute() >= self.memory { "compute" } else { "memory" }
    }

    /// Adds so many runs of others.
    pub fn add(&mut self, other: &Roofs, times: u64) {
        self.array += other.array * times;
        self.lanes += other.lanes * times;
        self.memory += other.memory * times;
        self.cycles += other.cycles * times;
    }
}

impl Part {
    /// Every part.
    const ALL: [Part; 15] = [
        Part::Useful,
        Part::Padding,
        Part::Gemm,
        Part::Clear,
        Part::Lane,
        Part::Alu,
        Part::Requant,
        Part::Uop,
        Part::Acc,
        Part::Order,
        Part::Hazard,
        Part::Load,
        Part::Store,
        Part::Room,
        Part::Idle,
    ];

    /// For programs.
    pub fn name(self) -> &'static str {
        match self {
            Part::Useful => "useful",
            Part::Padding => "padding",
            Part::Gemm => "gemm_overhead",
            Part::Clear => "gemm_reset",
            Part::Lane => "lane_overhead",
            Part::Alu => "alu",
            Part::Requant => "requant",
            Part::Uop => "load_uop",
            Part::Acc => "load_acc",
            Part::Order => "order",
            Part::Hazard => "hazard",
            Part::Load => "wait_load",
            Part::Store => "wait_store",
            Part::Room => "queue_room",
            Part::Idle => "no_instruction",
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Part::Useful => "useful work",
            Part::Padding => "padding lanes",
            Part::Gemm => "GEMM beside its micro-ops",
            Part::Clear => "clearing sums",
            Part::Lane => "LANE beside the work",
            Part::Alu => "ALU work",
            Part::Requant => "REQUANT work",
            Part::Uop => "loads of micro-ops",
            Part::Acc => "loads of ACC",
            Part::Order => "instructions that only order",
            Part::Hazard => "own pipeline",
            Part::Load => "waits for load",
            Part::Store => "waits for store",
            Part::Room => "waits for room for tokens",
            Part::Idle => "no instruction",
        }
    }
}

impl Account {
    /// Of one run with these roofs, whose timeline has nothing else in it.
    pub fn of(roofs: &Roofs, run: &Timeline, counters: &Counters, traffic: u64) -> Account {
        let activity: &Activity = run.activity();
        let compute = activity.unit(Queue::Compute);
        let mut parts = BTreeMap::new();
        for (name, cycles) in run.by_instruction(Queue::Compute) {
            // Busy cycles, and those of data on its way into UOP and ACC.
            let own = cycles.of(UnitState::Busy) + cycles.of(UnitState::ReadData) + cycles.of(UnitState::WriteChannel);
            *parts.entry(part(name)).or_default() += own;
        }
        for (part, state) in [
            (Part::Hazard, UnitState::Hazard),
            (Part::Load, UnitState::TokenFromPrev),
            (Part::Store, UnitState::TokenFromNext),
            (Part::Room, UnitState::QueueRoom),
            (Part::Idle, UnitState::Idle),
        ] {
            *parts.entry(part).or_default() += compute.of(state);
        }
        let mut account =
            Account { parts, load: *activity.unit(Queue::Load), store: *activity.unit(Queue::Store), traffic };
        let array = account.shift(Part::Gemm, Part::Useful, roofs.array);
        account.shift(Part::Gemm, Part::Padding, counters.gemm_uops.saturating_sub(array));
        let by_lane = account.shift(Part::Lane, Part::Useful, roofs.lanes);
        account.shift(Part::Lane, Part::Padding, counters.lane_uops.saturating_sub(by_lane));
        let mut lanes = roofs.lanes - by_lane;
        for part in [Part::Alu, Part::Requant] {
            lanes -= account.shift(part, Part::Useful, lanes);
        }
        account
    }

    /// Makes at most so many cycles of a part those of another, and tells how many.
    fn shift(&mut self, from: Part, to: Part, most: u64) -> u64 {
        let there = self.parts.entry(from).or_default();
        let moved = most.min(*there);
        *there -= moved;
        *self.parts.entry(to).or_default() += moved;
        moved
    }

    /// The cycles of a part.
    pub fn of_part(&self, part: Part) -> u64 {
        self.parts.get(&part).copied().unwrap_or_default()
    }

    /// All cycles.
    pub fn cycles(&self) -> u64 {
        self.parts.values().sum()
    }

    /// What most cycles went to that was not asked for.
    pub fn largest(&self) -> (Part, u64) {
        let lost = Part::ALL.into_iter().filter(|&part| part != Part::Useful);
        lost.map(|part| (part, self.of_part(part))).max_by_key(|&(_, cycles)| cycles).unwrap_or((Part::Idle, 0))
    }

    /// What would take the largest of them away, as a phrase.
    pub fn remedy(&self) -> &'static str {
        match self.largest().0 {
            Part::Useful => "nothing",
            Part::Padding => "channels in multiples of the blocks, or smaller blocks",
            Part::Gemm => "fewer GEMM instructions with longer loops",
            Part::Clear => "a GEMM whose first pass overwrites sums",
            Part::Lane => "longer loops of LANE",
            Part::Alu => "more ALU lanes, or ALU work beside GEMM",
            Part::Requant => "more ALU lanes, or REQUANT beside GEMM",
            Part::Uop => "micro-ops that stay in the scratchpad, or a UOP load ahead of its use",
            Part::Acc => "parameters that stay in ACC, or an ACC load ahead of its use",
            Part::Order => "fewer instructions that only carry tokens",
            Part::Hazard => "longer loops between two writes of a sum",
            Part::Load => self.why_load(),
            Part::Store => self.why_store(),
            Part::Room => "longer token queues",
            Part::Idle => "fewer or longer instructions, so that fetch keeps up",
        }
    }

    fn is_saturated(&self) -> bool {
        self.traffic as f64 >= SATURATED * self.cycles() as f64
    }

    fn why_load(&self) -> &'static str {
        let of = |state| self.load.of(state);
        let works = of(UnitState::Busy) + of(UnitState::ReadData);
        if self.is_saturated() {
            "a wider memory, or tiles that load less again"
        } else if of(UnitState::TokenFromNext) > works {
            "loads that run ahead: more or smaller parts of INP and WGT"
        } else if of(UnitState::ReadData) > of(UnitState::Busy) {
            "memory that answers sooner, or more bursts in flight"
        } else {
            "a wider bus, or tiles that load less again"
        }
    }

    fn why_store(&self) -> &'static str {
        if self.is_saturated() {
            "a wider memory"
        } else if self.store.of(UnitState::WriteChannel) > self.store.of(UnitState::Busy) {
            "a write channel that does not wait for responses, or a second part of ACC"
        } else {
            "a wider store, or a second part of ACC"
        }
    }

    /// Adds so many runs of another one.
    pub fn add(&mut self, other: &Account, times: u64) {
        for (&part, cycles) in &other.parts {
            *self.parts.entry(part).or_default() += cycles * times;
        }
        for (own, states) in [(&mut self.load, &other.load), (&mut self.store, &other.store)] {
            own.0.iter_mut().zip(states.0).for_each(|(sum, cycles)| *sum += cycles * times);
        }
        self.traffic += other.traffic * times;
    }

    /// All parts and the largest of them, for programs.
    pub fn json(&self) -> Value {
        let (part, cycles) = self.largest();
        let parts: Map<String, Value> =
            Part::ALL.iter().map(|&part| (part.name().to_owned(), json!(self.of_part(part)))).collect();
        json!({
            "compute_unit_cycles": parts,
            "traffic_cycles": self.traffic,
            "largest_stall": { "name": part.name(), "cycles": cycles, "remedy": self.remedy() },
        })
    }
}

/// What an instruction of this name is for.
fn part(name: &str) -> Part {
    match name.split_once('.').unwrap_or((name, "")) {
        ("gemm", _) => Part::Gemm,
        ("gemm reset", _) => Part::Clear,
        ("lane", _) => Part::Lane,
        ("alu", _) => Part::Alu,
        ("requant", _) => Part::Requant,
        ("load" | "loadpad", "uop") => Part::Uop,
        ("load" | "loadpad", _) => Part::Acc,
        _ => Part::Order,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vta() -> HwConfig {
        HwConfig::preset("vta").unwrap()
    }

    #[test]
    fn memory_carries_the_bus_each_way_and_no_more_than_it_has() {
        let cycles = |read, write, dram| memory_cycles(read, write, &vta(), &dram);
        assert_eq!(cycles(800, 400, DramModel::ideal()), 100);
        assert_eq!(cycles(800, 400, DramModel::zynq()), 150);
        assert_eq!(cycles(8, 1600, DramModel::ideal()), 200);
        assert_eq!(cycles(0, 0, DramModel::zynq()), 0);
        // The bus is the limit of a wider memory.
        assert_eq!(cycles(800, 0, DramModel { bits_per_cycle: 512, ..DramModel::zynq() }), 100);
    }

    #[test]
    fn what_windows_pass_over_need_not_be_read() {
        use tandem_graph::workload::RESNET18;
        let least = |name: &str| {
            let layer = RESNET18.iter().find(|layer| layer.name == name).unwrap();
            let graph = layer.graph(1);
            let work = Work::of(&graph, &graph.nodes[0], 2);
            assert_eq!(work.macs, 2 * layer.macs());
            (work.read_bytes - (layer.kernel * layer.kernel * layer.inputs * layer.outputs + 4 * layer.outputs) as u64)
                / 2
        };
        // One tap of every second row and column; three taps of every row and column.
        assert_eq!((least("C4"), least("C3"), least("C2")), (28 * 28 * 64, 56 * 56 * 64, 56 * 56 * 64));
    }

    #[test]
    fn the_lower_roof_is_the_limit() {
        let of = |work: &Work, gemm_uops: u64, dram: DramModel| {
            Roofs::of(work, &Counters { gemm_uops, ..Counters::default() }, &vta(), &dram)
        };
        let work = Work { macs: 2560, read_bytes: 160, write_bytes: 80, ..Work::default() };
        let mut roofs = of(&work, 12, DramModel::zynq());
        assert_eq!((roofs, roofs.name()), (Roofs { array: 10, lanes: 0, memory: 30, cycles: 30 }, "memory"));
        let lanes = of(&Work { on_lanes: true, ..work }, 0, DramModel::ideal());
        assert_eq!((lanes.compute(), lanes.memory, lanes.cycles, lanes.name()), (160, 20, 160, "compute"));
        let pool = Work { macs: 0, element_ops: 1600, on_lanes: true, ..work };
        assert_eq!(of(&pool, 0, DramModel::ideal()).lanes, 100);
        // Weights that are zero are not multiplied.
        assert_eq!(of(&work, 7, DramModel::ideal()).array, 7);
        roofs.add(&lanes, 2);
        assert_eq!(roofs, Roofs { array: 10, lanes: 320, memory: 70, cycles: 350 });
    }

    #[test]
    fn the_largest_part_is_told_with_its_reason() {
        let states = |list: &[(UnitState, u64)]| {
            let mut cycles = UnitCycles::default();
            list.iter().for_each(|&(state, count)| cycles.0[state as usize] = count);
            cycles
        };
        let account = |load: &[(UnitState, u64)], traffic| Account {
            parts: [(Part::Useful, 600), (Part::Load, 300), (Part::Hazard, 100)].into(),
            load: states(load),
            store: UnitCycles::default(),
            traffic,
        };
        let busy = account(&[(UnitState::Busy, 500), (UnitState::ReadData, 100)], 500);
        assert_eq!((busy.cycles(), busy.largest()), (1000, (Part::Load, 300)));
        assert!(busy.remedy().starts_with("a wider bus"));
        let late = account(&[(UnitState::Busy, 100), (UnitState::ReadData, 500)], 100);
        assert!(late.remedy().contains("bursts in flight"));
        let waits = account(&[(UnitState::Busy, 100), (UnitState::TokenFromNext, 800)], 100);
        assert!(waits.remedy().contains("run ahead"));
        assert!(account(&[], 950).remedy().starts_with("a wider memory"));
        let mut both = busy.clone();
        both.add(&late, 2);
        assert_eq!((both.cycles(), both.traffic, both.of_part(Part::Hazard)), (3000, 700, 300));
    }

    #[test]
    fn instructions_have_their_parts() {
        let of = |name: &str| part(name);
        assert_eq!([of("gemm"), of("gemm reset"), of("lane")], [Part::Gemm, Part::Clear, Part::Lane]);
        assert_eq!([of("alu.add"), of("requant.double"), of("load.uop")], [Part::Alu, Part::Requant, Part::Uop]);
        assert_eq!([of("load.acc8"), of("nop.compute"), of("finish")], [Part::Acc, Part::Order, Part::Order]);
    }
}
