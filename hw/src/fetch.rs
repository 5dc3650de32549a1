//! Instruction fetch and dispatch: reads the stream in order and hands each instruction to its unit's queue.
//!
//! ```text
//!  start --> burst --> request_*      data_* --> [ 32 words ] --> [ 128 bits ] --> decode --> to_load, to_compute, to_store
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `start` | 1 | begin: `address` is a multiple of 64, `count` the number of instructions |
//! | `request_*`, `data_valid`, `data` | | a client of the read engine that always has room for what it asked for |
//! | `ready_load`, `ready_compute`, `ready_store` | 1 | the queue has room |
//! | `halt` | 1 | dispatch nothing more |
//! | `to_load`, `to_compute`, `to_store` | 1 | `entry` is an instruction for this queue |
//! | `entry` | 128 + index | the instruction, and its index above it |
//! | `complete`, `blocked` | 1 | everything has been dispatched; the next instruction waits for room in its queue |
//! | `at` | 32 | the index of the next instruction |
//! | `illegal`, `misplaced` | 1 | the instruction `at` does not decode; it is a FINISH before the end |
//! | `out_of_reach` | 1 | the stream begins or runs beyond the last address |
//! | `state` | 3 | 0 idle, 1 busy, 4 waits for data, 7 waits for room in a queue |
//!
//! Latency four cycles and the memory's; an instruction every two cycles.

use tandem_isa::{MemoryType, Queue, forms};
use tandem_rtl::{Module, Net};

use crate::burst::burst;
use crate::queue::queue;
use crate::size::{BURST_BITS, INDEX_BITS, INSN_BITS, Sizes};

/// Words that wait to be decoded, as a power of two: two bursts.
const LOG_WORDS: u32 = 5;

/// The block.
pub fn fetch(sizes: &Sizes) -> Module {
    let m = Module::new("fetch");
    let start = m.input("start", 1);
    let address = m.input("address", 32);
    let count = m.input("count", 32);
    let request_ready = m.input("request_ready", 1);
    let data_valid = m.input("data_valid", 1);
    let data = m.input("data", sizes.bus);
    let room = ["ready_load", "ready_compute", "ready_store"].map(|name| m.input(name, 1));
    let halt = m.input("halt", 1);

    // Requests, as far as the words have room.
    let low = sizes.log_bus_bytes;
    // A stream that is longer than memory is not begun.
    let (bits, stream) = (sizes.config.dram_bits(), sizes.index);
    let mut too_long = m.lit(0, 1);
    if stream < 32 {
        too_long = count.bits(stream, 32 - stream).any() | address.bits(bits, 32 - bits).any();
    }
    let far = m.reg("far", 1, 0);
    m.when(start, || far.set(too_long));
    let bytes = m.cat(&[m.lit(0, 4), count.bits(0, stream)]);
    let rounding = m.lit((1 << low) - 1, stream + 4);
    let beats = (bytes + rounding).named("rounded").bits(low, stream + 4 - low);
    let reserved = m.reg("reserved", LOG_WORDS + 1, 0);
    let fits = reserved.le(m.lit(16, LOG_WORDS + 1)).named("fits");
    let bursts = m.instance(
        "bursts",
        &burst("fetch_burst", sizes.word_address, beats.width()),
        &[
            ("start", start & !too_long),
            ("address", address.bits(low, sizes.word_address)),
            ("beats", beats),
            ("burst_ready", request_ready),
        ],
    );
    let take = m.var("take", m.lit(0, 1));
    let words = m.instance(
        "words",
        &queue("fetch_words", sizes.bus, LOG_WORDS, sizes.small()),
        &[("in_valid", data_valid), ("in_data", data), ("out_ready", take), ("flush", m.lit(0, 1))],
    );
    let there = words.get("out_valid");
    let word = words.get("out_data");
    let asked = request_ready.mux(bursts.get("burst_beats"), m.lit(0, BURST_BITS)).zext(LOG_WORDS + 1);
    reserved.set(reserved + asked - (take & there).zext(LOG_WORDS + 1));

    // One instruction at a time, from the words into a register.
    let left = m.reg("left", stream, 0);
    let index = m.reg("index", stream, 0);
    let moves = m.var("moves", m.lit(0, 1));
    let (whole, next) = if sizes.bus < INSN_BITS {
        let low_half = m.data_reg("low_half", sizes.bus);
        let has_low = m.reg("has_low", 1, 0);
        m.when(there & !has_low, || {
            low_half.set(word);
            has_low.set_to(1);
        });
        m.when(moves, || has_low.set_to(0));
        take.set(!has_low | moves);
        (there & has_low, m.cat(&[low_half, word]))
    } else if sizes.bus == INSN_BITS {
        take.set(moves);
        (there, word)
    } else {
        let log = (sizes.bus / INSN_BITS).trailing_zeros();
        let sub = m.reg("sub", log, 0);
        m.when(start, || sub.set_to(0));
        m.when(moves, || sub.set(sub.inc()));
        // The last word may hold fewer instructions.
        take.set(moves & (sub.all() | left.is(1)));
        (there, word.pick(sub, INSN_BITS))
    };
    let accept = m.var("accept", m.lit(0, 1));
    let full = m.reg("full", 1, 0);
    let (insn, last) = (m.data_reg("insn", INSN_BITS), m.data_reg("last", 1));
    moves.set(whole & left.any() & !full);
    m.when(accept, || {
        full.set_to(0);
        index.set(index.inc());
    });
    m.when(moves, || {
        full.set_to(1);
        insn.set(next);
        last.set(left.is(1));
        left.set(left.dec());
    });
    m.when(start, || {
        left.set(count.bits(0, stream));
        index.set_to(0);
    });

    let Decoded { target, illegal } = decode(&m, sizes, insn);
    let illegal = m.any_of(&illegal).named("undecodable");
    let finish = insn.bits(0, 3).is(3).named("finish");
    let misplaced = (finish & !last).named("misplaced_finish");
    let open = m.any_of(&[0, 1, 2].map(|unit| target[unit] & room[unit])).named("open");
    let fine = (full & !halt & !illegal & !misplaced).named("fine");
    accept.set(fine & open);

    m.output("request_valid", bursts.get("burst_valid") & fits);
    m.output("request_address", bursts.get("burst_address"));
    m.output("request_beats", bursts.get("burst_beats"));
    for (unit, name) in ["to_load", "to_compute", "to_store"].into_iter().enumerate() {
        m.output(name, fine & target[unit]);
    }
    m.output("entry", m.cat(&[insn, index]));
    m.output("at", index.resize(INDEX_BITS));
    m.output("out_of_reach", (left.any() & far) | bursts.get("beyond"));
    // Only what has room is asked for.
    m.output("data_ready", m.lit(1, 1));
    m.output("complete", !left.any() & !full);
    m.output("blocked", full & !open);
    // What does not decode stays, so that it may be told a cycle later.
    m.output("illegal", m.delay("was_illegal", full & illegal));
    m.output("misplaced", m.delay("was_misplaced", full & misplaced & !illegal));
    let state = full.mux(open.mux(m.lit(1, 3), m.lit(7, 3)), left.any().mux(m.lit(4, 3), m.lit(0, 3)));
    m.output("state", state);
    m
}

pub(crate) struct Decoded<'m> {
    /// The unit: load, compute, store.
    pub target: [Net<'m>; 3],
    /// It is none if one of these holds.
    pub illegal: Vec<Net<'m>>,
}

/// Which queue an instruction belongs to, and whether it is none, from the instruction table.
pub(crate) fn decode<'m>(m: &'m Module, sizes: &Sizes, insn: Net<'m>) -> Decoded<'m> {
    let opcode = insn.bits(0, 3);
    let extension = sizes.config.profile().has_extension();
    let memory_type = sizes.field(insn, "Load", "memory_type");
    let moves_nothing = !sizes.field(insn, "Load", "x_size").any();
    let mut illegal = Vec::new();
    for form in forms(&sizes.config) {
        let mine = opcode.is(form.opcode.into()).named(&format!("is_{}", form.mnemonic));
        let mut wrong = Vec::new();
        if form.extension && !extension {
            illegal.push(mine);
            continue;
        }
        let reserved: Vec<Net<'_>> =
            (0..INSN_BITS).filter(|bit| form.reserved() >> bit & 1 == 1).map(|bit| insn.bit(bit)).collect();
        if !reserved.is_empty() {
            wrong.push(m.cat(&reserved).any());
        }
        let known = |types: &[MemoryType]| {
            let usable = types.iter().filter(|&&t| sizes.config.has_memory_type(t));
            m.any_of(&usable.map(|t| memory_type.is(t.code().into())).collect::<Vec<_>>())
        };
        if !form.memory_types().is_empty() {
            // A NOP may carry any type that exists.
            wrong.push(!(known(form.memory_types()) | (moves_nothing & known(MemoryType::ALL))));
        }
        if form.name == "Alu" && !extension {
            wrong.push(m.lit(4, 3).lt(sizes.field(insn, "Alu", "alu_opcode")));
        }
        if form.name == "Requant" && !sizes.config.has_requant_flags() {
            wrong.push(sizes.field(insn, "Requant", "clear") | sizes.field(insn, "Requant", "from_inp"));
        }
        if form.name == "Requant" && !sizes.config.has_fused_requant() {
            wrong.push(sizes.field(insn, "Requant", "fuse"));
        }
        if form.name == "Lane" {
            let more = sizes.field(insn, "Lane", "more_taps").any();
            let takes_one = if sizes.config.lane_taps() == 1 { m.lit(1, 1) } else { sizes.field(insn, "Lane", "max") };
            wrong.push(more & takes_one);
        }
        illegal.push(mine & m.any_of(&wrong));
    }
    let loads = opcode.is(0) | opcode.is(7);
    let for_load =
        MemoryType::ALL.iter().filter(|&&t| sizes.config.has_memory_type(t) && t.load_queue() == Queue::Load);
    let to_load = loads & m.any_of(&for_load.map(|t| memory_type.is(t.code().into())).collect::<Vec<_>>());
    let to_store = opcode.is(1);
    // The load unit has no neighbour before it and the store unit none behind it.
    illegal.push(to_load & (insn.bit(3) | insn.bit(5)));
    illegal.push(to_store & (insn.bit(4) | insn.bit(6)));
    let target = [to_load.named("for_load"), (!to_load & !to_store).named("for_compute"), to_store.named("for_store")];
    Decoded { target, illegal }
}
