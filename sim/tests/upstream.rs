//! Upstream's 16x16 matrix product, executed from its raw words with its data at its addresses.

use tandem_isa::timing::DramModel;
use tandem_isa::{Event, HwConfig, HwFacts, Profile, Queue};
use tandem_sim::{Bases, Checks, Dram, Kernel, Launch, Machine, Options, SimError};

const LOAD_UOP: [u64; 2] = [0x0000004000000000, 0x0000000100010001];
const GEMM_RESET: [u64; 2] = [0x00200008002000a2, 0x0000000000000800];
const LOAD_INP: [u64; 2] = [0x0000000400000110, 0x0000001000100001];
const LOAD_WGT: [u64; 2] = [0x00000000800000c0, 0x0000000100010001];
const LOAD_UOP_1: [u64; 2] = [0x0000004004000408, 0x0000000100010001];
const GEMM: [u64; 2] = [0x0020000800400142, 0x0000000200000800];
/// As `GEMM`, without the token to the store unit, which ALU gives in its place.
const GEMM_BEFORE_RELU: [u64; 2] = [0x0020000800400102, 0x0000000200000800];
const RELU: [u64; 2] = [0x0020000800400144, 0x0000900200000800];
const STORE: [u64; 2] = [0x0000000c00000229, 0x0000001000100001];
const NOP_LOAD: [u64; 2] = [0x0000000000000140, 0];
const NOP_COMPUTE: [u64; 2] = [0x0000000000000018, 0];
const FINISH: [u64; 2] = [0x0000000000000003, 0];

const MATMUL: [[u64; 2]; 10] =
    [LOAD_UOP, GEMM_RESET, LOAD_INP, LOAD_WGT, LOAD_UOP_1, GEMM, STORE, NOP_LOAD, NOP_COMPUTE, FINISH];
const MATMUL_RELU: [[u64; 2]; 11] = [
    LOAD_UOP,
    GEMM_RESET,
    LOAD_INP,
    LOAD_WGT,
    LOAD_UOP_1,
    GEMM_BEFORE_RELU,
    RELU,
    STORE,
    NOP_LOAD,
    NOP_COMPUTE,
    FINISH,
];

fn config() -> HwConfig {
    let facts = HwConfig::preset("vta").unwrap().facts().clone();
    HwConfig::new(HwFacts { profile: Profile::Vta002, ..facts }).unwrap()
}

/// Inputs at 0x1000, weights at 0x2000, results at 0x3000, two micro-ops of zeros at 0x4000, instructions at 0x5000.
fn memory(words: &[[u64; 2]]) -> (Dram, Launch) {
    let mut dram = Dram::default();
    assert!(dram.map(0x1000, 0x5000));
    let mut state = 12345u32;
    for byte in dram.slice_mut(0x1000, 0x2000).unwrap() {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        *byte = (state >> 24) as u8;
    }
    dram.slice_mut(0x4000, 8).unwrap().fill(0);
    for (word, at) in words.iter().flatten().zip((0x5000..).step_by(8)) {
        dram.slice_mut(at, 8).unwrap().copy_from_slice(&word.to_le_bytes());
    }
    (dram, Launch { insn_addr: 0x5000, insn_count: words.len() as u32, bases: Bases::default() })
}

/// The product as plain integers, cut to eight bits.
fn expected(dram: &Dram, relu: bool) -> Vec<u8> {
    let at = |addr: u64, index: usize| i32::from(dram.slice(addr + index as u64, 1).unwrap()[0] as i8);
    let mut product = Vec::new();
    for row in 0..16 {
        for column in 0..16 {
            let sum: i32 = (0..16).map(|k| at(0x1000, row * 16 + k) * at(0x2000, column * 16 + k)).sum();
            product.push((if relu { sum.max(0) } else { sum }) as u8);
        }
    }
    product
}

#[test]
fn the_matrix_product_runs_from_raw_words_under_every_seed_and_kernel() {
    for (words, relu) in [(&MATMUL[..], false), (&MATMUL_RELU[..], true)] {
        let (dram, launch) = memory(words);
        let expected = expected(&dram, relu);
        for kernel in Kernel::available() {
            for seed in 0..20 {
                let checks = Checks { races: true, uninitialised: true };
                let mut machine = Machine::new(&config(), Options { seed, kernel, checks, ..Options::default() });
                let mut dram = dram.clone();
                let counters = machine.run(&mut dram, &launch).unwrap();
                assert_eq!(dram.slice(0x3000, 256).unwrap(), expected);
                assert_eq!(counters.instructions, [3, words.len() as u64 - 4, 1]);
                assert_eq!((counters.gemm_uops, counters.reset_uops, counters.macs), (16, 16, 4096));
                assert_eq!(counters.alu_ops, if relu { 256 } else { 0 });
                assert_eq!((counters.inp_bytes, counters.wgt_bytes, counters.uop_bytes), (256, 256, 8));
                assert_eq!(counters.out_bytes, 256);
                // The second run finds the scratchpads as the first left them.
                assert_eq!(machine.run(&mut dram, &launch).unwrap(), counters);
                assert_eq!(dram.slice(0x3000, 256).unwrap(), expected);
            }
        }
    }
}

#[test]
fn the_cycle_estimate_waits_for_the_memory_as_often_as_the_tokens_say() {
    let (mut dram, launch) = memory(&MATMUL);
    let mut cycles = |latency| {
        let setup = DramModel { latency, ..DramModel::ideal() }.into();
        Machine::new(&config(), Options { setup, ..Options::default() })
            .run(&mut dram, &launch)
            .unwrap()
            .cycles_estimate
    };
    // One after the other: the instructions, LOAD UOP, LOAD INP behind the reset's token, LOAD WGT, the second LOAD UOP behind
    // both, and STORE behind GEMM.
    assert_eq!(cycles(1000) - cycles(900), 6 * 100);
}

#[test]
fn the_trace_of_every_unit_is_the_same_under_every_seed() {
    let run = |seed| {
        let (mut dram, launch) = memory(&MATMUL);
        let mut machine = Machine::new(&config(), Options { seed, trace: true, ..Options::default() });
        machine.run(&mut dram, &launch).unwrap();
        (machine.trace().clone(), dram)
    };
    let (first, dram) = run(0);
    for seed in 1..10 {
        assert_eq!(first.compare(&run(seed).0), None);
    }
    let store: Vec<Event> = first.unit(Queue::Store).copied().collect();
    let digest = Event::digest(dram.slice(0x3000, 256).unwrap());
    let expected = [
        Event::Pop { unit: Queue::Store, insn: 6, from: Queue::Compute },
        Event::Begin { unit: Queue::Store, insn: 6 },
        Event::Write { insn: 6, addr: 0x3000, bytes: 256, digest },
        Event::Finish { unit: Queue::Store, insn: 6 },
        Event::Push { unit: Queue::Store, insn: 6, to: Queue::Compute },
    ];
    assert_eq!(store, expected);
}

#[test]
fn base_registers_are_added_to_every_address() {
    let (mut dram, launch) = memory(&MATMUL);
    let mut moved = Dram::default();
    assert!(moved.map(0x1000, 0x9000));
    for (from, to) in [(0x1000u64, 0x6000u64), (0x2000, 0x7000), (0x4000, 0x9000), (0x5000, 0x5000)] {
        let bytes = dram.slice(from, 0x1000).unwrap().to_vec();
        moved.slice_mut(to, 0x1000).unwrap().copy_from_slice(&bytes);
    }
    let bases = Bases { uop: 0x5000, inp: 0x5000, wgt: 0x5000, acc: 0, out: 0x5000 };
    let mut machine = Machine::new(&config(), Options::default());
    machine.run(&mut moved, &Launch { bases, ..launch }).unwrap();
    machine.run(&mut dram, &launch).unwrap();
    assert_eq!(moved.slice(0x8000, 256), dram.slice(0x3000, 256));
}

fn run_words(words: &[[u64; 2]]) -> SimError {
    let (mut dram, launch) = memory(words);
    Machine::new(&config(), Options::default()).run(&mut dram, &launch).unwrap_err()
}

#[test]
fn every_token_of_the_program_is_needed() {
    // Clearing any dependence flag leaves a token over or somebody waiting; no seed hides it.
    let mut cleared = 0;
    for (index, word) in MATMUL.iter().enumerate() {
        for bit in 3..7 {
            if word[0] >> bit & 1 == 0 {
                continue;
            }
            cleared += 1;
            let mut words = MATMUL;
            words[index][0] &= !(1 << bit);
            for seed in 0..5 {
                let (mut dram, launch) = memory(&words);
                let mut machine = Machine::new(&config(), Options { seed, ..Options::default() });
                let error = machine.run(&mut dram, &launch).unwrap_err();
                match (bit < 5, &error) {
                    (true, SimError::Surplus { .. }) | (false, SimError::Deadlock { .. }) => {}
                    _ => panic!("instruction {index}, bit {bit}: {error}"),
                }
            }
        }
    }
    assert_eq!(cleared, 10);
}

#[test]
fn a_missing_token_names_instruction_queue_and_sender() {
    let mut words = MATMUL;
    words[5][0] &= !(1 << 6);
    let error = run_words(&words);
    assert_eq!(
        error.to_string(),
        "deadlock: store waits at instruction 6 (`store.out sram=0 dram=0x300 size=1x16 stride=16 pop_prev push_prev`) \
         for a token from compute; compute waits at instruction 8 (`nop.compute pop_prev pop_next`) for a token from store"
    );
    assert_eq!(error.insn(), Some(6));
}

#[test]
fn a_surplus_token_names_queue_count_and_the_instruction_that_pushed_it() {
    let mut words = MATMUL;
    words[4][0] |= 1 << 6;
    let error = run_words(&words);
    // The first token is popped by the store; the one that GEMM pushes stays.
    assert_eq!(
        error.to_string(),
        "1 surplus token from compute to store when the program has finished; nobody pops the one that instruction 5 \
         (`gemm uop=1..2 loop=1x16 dst=0,1 src=0,1 wgt=0,0 push_next`) pushes"
    );
}

#[test]
fn finish_must_be_there_and_last() {
    assert_eq!(
        run_words(&MATMUL[..9]).to_string(),
        "there is no FINISH among 9 instructions: the device would never be done"
    );
    assert_eq!(run_words(&[FINISH, NOP_LOAD]).to_string(), "FINISH is instruction 0 of 2, but it must be the last");
    assert!(matches!(run_words(&[]), SimError::NoFinish { finish: None, count: 0 }));
}

#[test]
fn a_word_that_does_not_decode_is_named() {
    let error = run_words(&[LOAD_UOP, [5, 0], FINISH]);
    assert_eq!(
        error.to_string(),
        "instruction 1 (0x00000000000000000000000000000005) does not decode: opcode 5 (Requant) belongs to the Tandem \
         extension, which profile vta-0.0.2 does not have"
    );
    let (mut dram, launch) = memory(&MATMUL);
    let mut machine = Machine::new(&config(), Options::default());
    for launch in [
        Launch { insn_addr: 0, ..launch },
        Launch { insn_count: u32::MAX, ..launch },
        Launch { insn_addr: u32::MAX, ..launch },
    ] {
        assert!(matches!(machine.run(&mut dram, &launch).unwrap_err(), SimError::Fetch { .. }));
    }
}
