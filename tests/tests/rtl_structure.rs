//! Memories, state machines and instances of the hardware builder, through the Verilog it prints.

use tandem_rtl::{MemoryStyle, Module, clog2};
use tandem_tests::block::{Block, Verilator};
use tandem_tests::random::Random;

fn build(verilator: &Verilator, module: &Module) -> Block {
    assert_eq!(verilator.lint(module.name(), &module.verilog(), &[]).unwrap(), "");
    Block::build(verilator, module).unwrap()
}

fn mask(width: u32) -> u128 {
    u128::MAX >> (128 - width)
}

fn wide(random: &mut Random, width: u32) -> u128 {
    (0..4).fold(0, |value, _| value << 32 | u128::from(random.bits())) & mask(width)
}

/// A memory with a write port of lanes, two read ports that take a cycle and two that do not.
fn memory(log_depth: u32, width: u32, lanes: u32, style: MemoryStyle) -> Module {
    let m = Module::new(format!("memory_{log_depth}_{width}_{lanes}"));
    let memory = m.memory("words", log_depth, width, style);
    let enable = m.input("write_enable", lanes);
    let (address, data) = (m.input("write_address", log_depth), m.input("write_data", width));
    memory.write(enable, address, data);
    for port in 0..2 {
        let (enable, address) = (m.input(format!("enable_{port}"), 1), m.input(format!("address_{port}"), log_depth));
        m.output(format!("read_{port}"), memory.read(&format!("word_{port}"), enable, address));
        // An address that is an expression, and one that is used twice.
        let now = memory.read_now(&format!("now_word_{port}"), if port == 0 { !address } else { address });
        m.output(format!("now_{port}"), now);
    }
    m
}

#[test]
fn memories_write_lanes_and_hold_what_they_read() {
    let Some(verilator) = Verilator::find() else { return };
    let shapes = [
        (1, 1, 1, MemoryStyle::Distributed),
        (3, 8, 1, MemoryStyle::Block),
        (4, 24, 3, MemoryStyle::Block),
        (2, 5, 5, MemoryStyle::Distributed),
        (5, 128, 16, MemoryStyle::Block),
    ];
    for (log_depth, width, lanes, style) in shapes {
        let mut random = Random::new(u64::from(width));
        let mut block = build(&verilator, &memory(log_depth, width, lanes, style));
        let depth = 1usize << log_depth;
        let mut words = vec![0u128; depth];
        (0..2).for_each(|port| block.set(&format!("enable_{port}"), 0));
        block.set("write_enable", mask(lanes));
        for (address, word) in words.iter_mut().enumerate() {
            *word = wide(&mut random, width);
            block.set("write_address", address as u128);
            block.set("write_data", *word);
            block.clock();
        }
        let mut held = [None; 2];
        for _ in 0..400 {
            let (enable, write, data) = (wide(&mut random, lanes), random.within(0, depth), wide(&mut random, width));
            let enable = if random.once_in(3) { 0 } else { enable };
            block.set("write_enable", enable);
            block.set("write_address", write as u128);
            block.set("write_data", data);
            let reads = [(); 2].map(|()| (random.once_in(2), random.within(0, depth)));
            for (port, (read, address)) in reads.iter().enumerate() {
                // A word that is written in this cycle is not read by a port that takes a cycle.
                let read = *read && (enable == 0 || *address != write);
                block.set(&format!("enable_{port}"), read.into());
                block.set(&format!("address_{port}"), *address as u128);
                if read {
                    held[port] = Some(words[*address]);
                }
            }
            block.eval();
            assert_eq!(block.get("now_0"), words[!reads[0].1 & (depth - 1)]);
            assert_eq!(block.get("now_1"), words[reads[1].1]);
            block.clock();
            let lane = width / lanes;
            let written = (0..lanes).filter(|at| enable >> at & 1 == 1);
            let taken = written.fold(0, |taken, at| taken | mask(lane) << (at * lane));
            words[write] = words[write] & !taken | data & taken;
            for (port, word) in held.iter().enumerate() {
                if let Some(word) = word {
                    assert_eq!(block.get(&format!("read_{port}")), *word, "port {port} of {log_depth} {width} {lanes}");
                }
            }
        }
    }
}

#[test]
fn a_state_machine_goes_where_its_conditions_say() {
    let Some(verilator) = Verilator::find() else { return };
    let m = Module::new("machine");
    let (go, stop) = (m.input("go", 1), m.input("stop", 1));
    let fsm = m.fsm("state", &["idle", "first", "second", "last", "end_of_all"]);
    let count = m.var("count", m.lit(0, 4));
    m.when(fsm.at("idle") & go, || fsm.go("first"));
    m.when(fsm.at("first"), || {
        count.set_to(1);
        m.when_else(go, || fsm.go("second"), || m.when(stop, || fsm.go("idle")));
    });
    m.when(fsm.at("second"), || {
        count.set_to(2);
        fsm.go("last");
        m.when(stop, || fsm.go("end_of_all"));
    });
    m.when(fsm.at("last"), || fsm.go("end_of_all"));
    m.when(fsm.at("end_of_all") & go & stop, || fsm.go("idle"));
    m.output("now", fsm.state());
    m.output("counted", count);
    let mut block = build(&verilator, &m);
    let (mut random, mut state) = (Random::new(7), 0);
    for _ in 0..500 {
        let (go, stop) = (random.once_in(2), random.once_in(2));
        block.set("go", go.into());
        block.set("stop", stop.into());
        block.eval();
        assert_eq!((block.get("now"), block.get("counted")), (state, if state < 3 { state } else { 0 }));
        state = match (state, go, stop) {
            (0, true, _) => 1,
            (1, true, _) => 2,
            (1, false, true) => 0,
            (2, _, stop) => 3 + u128::from(stop),
            (3, ..) => 4,
            (4, true, true) => 0,
            (state, ..) => state,
        };
        block.clock();
    }
}

#[test]
fn instances_are_wired_as_asked_at_every_depth() {
    let Some(verilator) = Verilator::find() else { return };
    // Without a clock, with registers, with instances of both.
    let adder = Module::new("adder");
    adder.output("sum", adder.input("a", 70) + adder.input("b", 70));
    let total = Module::new("total");
    let (add, value) = (total.input("add", 1), total.input("value", 70));
    let so_far = total.reg("so_far", 70, 5);
    let next = total.instance("plus", &adder, &[("a", so_far), ("b", value)]).get("sum");
    total.when(add, || so_far.set(next));
    total.output("now", so_far);
    total.output("soon", next);
    let top = Module::new("top");
    let (x, y, add) = (top.input("x", 70), top.input("y", 70), top.input("add", 2));
    let left = top.instance("left", &total, &[("value", x), ("add", add.bit(0))]);
    let right = top.instance("right", &total, &[("add", add.bit(1)), ("value", x ^ y)]);
    let both = top.instance("both", &adder, &[("a", left.get("now")), ("b", right.get("soon"))]);
    top.output("all", both.get("sum"));
    let mut block = build(&verilator, &top);
    let (mut random, mut sums) = (Random::new(9), [5u128; 2]);
    for _ in 0..300 {
        let (x, y, add) = (wide(&mut random, 70), wide(&mut random, 70), wide(&mut random, 2));
        block.set("x", x);
        block.set("y", y);
        block.set("add", add);
        block.eval();
        assert_eq!(block.get("all"), (sums[0] + sums[1] + (x ^ y)) & mask(70));
        let reset = random.once_in(20);
        block.set("reset", reset.into());
        block.clock();
        for (at, value) in [x, x ^ y].into_iter().enumerate() {
            let next = if add >> at & 1 == 1 { (sums[at] + value) & mask(70) } else { sums[at] };
            sums[at] = if reset { 5 } else { next };
        }
    }
}

#[test]
fn an_index_has_the_bits_that_it_needs() {
    let bits: Vec<u32> = [0, 1, 2, 3, 4, 5, 8, 9, 1024, 1025].map(clog2).into();
    assert_eq!(bits, [1, 1, 1, 2, 2, 3, 3, 4, 10, 11]);
}
