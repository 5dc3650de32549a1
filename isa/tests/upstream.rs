//! Bit compatibility with VTA HW_VER 0.0.2 at upstream's default sizes, and the pinned choices where upstream disagrees.

use tandem_isa::{
    Alu, AluOpcode, Dep, Finish, Gemm, HwConfig, HwFacts, Insn, IsaError, Lane, Load, LoadPad, MemoryType, Profile,
    Queue, Requant, Rule, Store, Uop, forms, lint,
};

fn upstream() -> HwConfig {
    let facts = HwConfig::preset("vta").unwrap().facts().clone();
    HwConfig::new(HwFacts { profile: Profile::Vta002, ..facts }).unwrap()
}

fn load(memory_type: MemoryType, sram_base: u32, dram_base: u32, x_size: u32, dep: Dep) -> Insn {
    let size = Load { y_size: 1, x_size, x_stride: x_size, ..Load::default() };
    Insn::Load(Load { dep, memory_type, sram_base, dram_base, ..size })
}

const NONE: Dep = Dep { pop_prev: false, pop_next: false, push_prev: false, push_next: false };

/// The instructions of upstream's 16x16 matrix product, with their words.
fn matmul() -> Vec<(Insn, u64, u64)> {
    let loops = Gemm { iter_out: 1, iter_in: 16, dst_factor_in: 1, ..Gemm::default() };
    let gemm = Gemm { uop_begin: 1, uop_end: 2, src_factor_in: 1, ..loops };
    let relu = Alu {
        dep: Dep { push_next: true, ..NONE },
        uop_begin: 1,
        uop_end: 2,
        iter_out: 1,
        iter_in: 16,
        dst_factor_in: 1,
        src_factor_in: 1,
        alu_opcode: AluOpcode::Max,
        use_imm: true,
        ..Alu::default()
    };
    let store = Store {
        dep: Dep { pop_prev: true, push_prev: true, ..NONE },
        memory_type: MemoryType::Out,
        dram_base: 0x300,
        y_size: 1,
        x_size: 16,
        x_stride: 16,
        ..Store::default()
    };
    vec![
        (load(MemoryType::Uop, 0, 0x1000, 1, NONE), 0x0000004000000000, 0x0000000100010001),
        (
            Insn::Gemm(Gemm { dep: Dep { push_prev: true, ..NONE }, reset: true, uop_end: 1, ..loops }),
            0x00200008002000a2,
            0x0000000000000800,
        ),
        (load(MemoryType::Inp, 0, 0x100, 16, Dep { pop_next: true, ..NONE }), 0x0000000400000110, 0x0000001000100001),
        (load(MemoryType::Wgt, 0, 0x20, 1, Dep { push_next: true, ..NONE }), 0x00000000800000c0, 0x0000000100010001),
        (load(MemoryType::Uop, 1, 0x1001, 1, Dep { pop_prev: true, ..NONE }), 0x0000004004000408, 0x0000000100010001),
        (Insn::Gemm(Gemm { dep: Dep { push_next: true, ..NONE }, ..gemm }), 0x0020000800400142, 0x0000000200000800),
        (Insn::Alu(relu), 0x0020000800400144, 0x0000900200000800),
        (Insn::Store(store), 0x0000000c00000229, 0x0000001000100001),
        (Insn::nop(Queue::Load, Dep { push_next: true, ..NONE }), 0x0000000000000140, 0),
        (Insn::nop(Queue::Compute, Dep { pop_prev: true, pop_next: true, ..NONE }), 0x0000000000000018, 0),
        (Insn::Finish(Finish::default()), 0x0000000000000003, 0),
    ]
}

#[test]
fn the_words_of_upstreams_matrix_product_encode_and_decode_exactly() {
    for config in [upstream(), HwConfig::preset("vta").unwrap()] {
        for (insn, lo, hi) in matmul() {
            let word = u128::from(hi) << 64 | u128::from(lo);
            assert_eq!(insn.encode(&config).unwrap(), word, "{insn}: {:#034x}", insn.encode(&config).unwrap());
            assert_eq!(Insn::decode(word, &config).unwrap(), insn);
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&lo.to_le_bytes());
            bytes[8..].copy_from_slice(&hi.to_le_bytes());
            assert_eq!(insn.to_bytes(&config).unwrap(), bytes);
            assert_eq!(Insn::from_bytes(bytes, &config).unwrap(), insn);
        }
    }
}

#[test]
fn field_positions_at_the_default_sizes_are_upstreams() {
    type Position = (&'static str, u32, u32);
    let table: [(&str, &[Position]); 4] = [
        (
            "Load",
            &[
                ("memory_type", 9, 7),
                ("sram_base", 25, 10),
                ("dram_base", 57, 26),
                ("y_size", 79, 64),
                ("x_size", 95, 80),
                ("x_stride", 111, 96),
                ("y_pad_0", 115, 112),
                ("y_pad_1", 119, 116),
                ("x_pad_0", 123, 120),
                ("x_pad_1", 127, 124),
            ],
        ),
        (
            "Store",
            &[
                ("memory_type", 9, 7),
                ("sram_base", 25, 10),
                ("dram_base", 57, 26),
                ("y_size", 79, 64),
                ("x_size", 95, 80),
                ("x_stride", 111, 96),
            ],
        ),
        (
            "Gemm",
            &[
                ("reset", 7, 7),
                ("uop_begin", 20, 8),
                ("uop_end", 34, 21),
                ("iter_out", 48, 35),
                ("iter_in", 62, 49),
                ("dst_factor_out", 74, 64),
                ("dst_factor_in", 85, 75),
                ("src_factor_out", 96, 86),
                ("src_factor_in", 107, 97),
                ("wgt_factor_out", 117, 108),
                ("wgt_factor_in", 127, 118),
            ],
        ),
        (
            "Alu",
            &[
                ("reset", 7, 7),
                ("uop_begin", 20, 8),
                ("uop_end", 34, 21),
                ("iter_out", 48, 35),
                ("iter_in", 62, 49),
                ("dst_factor_out", 74, 64),
                ("dst_factor_in", 85, 75),
                ("src_factor_out", 96, 86),
                ("src_factor_in", 107, 97),
                ("alu_opcode", 110, 108),
                ("use_imm", 111, 111),
                ("imm", 127, 112),
            ],
        ),
    ];
    let forms = forms(&upstream());
    for (name, expected) in table {
        let form = forms.iter().find(|form| form.name == name).unwrap();
        let found: Vec<(&str, u32, u32)> = form.fields.iter().map(|field| (field.name, field.hi(), field.lo)).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn the_extension_stands_where_the_contract_says() {
    let config = HwConfig::preset("vta").unwrap();
    let lane = Insn::Lane(Lane { max: true, overwrite: true, ..Lane::default() });
    assert_eq!(lane.encode(&config).unwrap(), 1 << 63 | 1 << 7 | 6);
    let requant = Insn::Requant(Requant { saturate: true, uop_begin: 1, ..Requant::default() });
    assert_eq!(requant.encode(&config).unwrap(), 1 << 110 | 1 << 8 | 5);
    let pad = LoadPad { memory_type: MemoryType::Inp, pad_value: -1, dram_base: 1, sram_base: 1, ..LoadPad::default() };
    assert_eq!(Insn::LoadPad(pad).encode(&config).unwrap(), 0xff << 56 | 1 << 26 | 1 << 10 | 2 << 7 | 7);
    let store = Store { memory_type: MemoryType::OutInp, x_size: 1, ..Store::default() };
    assert_eq!(Insn::Store(store).encode(&config).unwrap(), 1 << 80 | 6 << 7 | 1);
}

#[test]
fn the_upstream_profile_refuses_every_part_of_the_extension_both_ways() {
    let (tandem, plain) = (HwConfig::preset("vta").unwrap(), upstream());
    let alu = |alu_opcode| Insn::Alu(Alu { alu_opcode, ..Alu::default() });
    let store = Store { memory_type: MemoryType::OutInp, x_size: 1, ..Store::default() };
    let cases = [
        (Insn::Requant(Requant::default()), "opcode 5 (Requant)"),
        (Insn::Lane(Lane::default()), "opcode 6 (Lane)"),
        (Insn::LoadPad(LoadPad { memory_type: MemoryType::Inp, ..LoadPad::default() }), "opcode 7 (LoadPad)"),
        (alu(AluOpcode::Rshr), "ALU opcode 5 (rshr)"),
        (alu(AluOpcode::Clamp), "ALU opcode 6 (clamp)"),
        (alu(AluOpcode::Mov), "ALU opcode 7 (mov)"),
        (Insn::Store(store), "memory type 6 (outinp)"),
        (Insn::Store(Store { x_size: 0, ..store }), "memory type 6 (outinp)"),
    ];
    for (insn, what) in cases {
        let word = insn.encode(&tandem).unwrap();
        let refused = IsaError::Extension { what: what.to_owned() };
        assert_eq!(insn.encode(&plain).unwrap_err(), refused);
        assert_eq!(Insn::decode(word, &plain).unwrap_err(), refused);
        assert_eq!(refused.class(), tandem_isa::ErrorClass::Unsupported);
    }
}

#[test]
fn overflow_is_refused_with_field_value_and_width() {
    let config = HwConfig::preset("tiny").unwrap();
    let gemm = Gemm { uop_begin: 1024, ..Gemm::default() };
    assert_eq!(
        Insn::Gemm(gemm).encode(&config).unwrap_err().to_string(),
        "Gemm.uop_begin is 1024, which does not fit in 10 unsigned bits"
    );
    for imm in [-32769, 32768] {
        let alu = Alu { use_imm: true, imm, ..Alu::default() };
        let message = format!("Alu.imm is {imm}, which does not fit in 16 signed bits");
        assert_eq!(Insn::Alu(alu).encode(&config).unwrap_err().to_string(), message);
    }
    // One more than the deepest micro-op is a legal end.
    assert!(Insn::Gemm(Gemm { uop_end: 1024, ..Gemm::default() }).encode(&config).is_ok());
    assert!(Insn::Gemm(Gemm { iter_in: 1 << 14, ..Gemm::default() }).encode(&config).is_err());
}

#[test]
fn reserved_bits_and_unknown_codes_are_refused_by_their_bits() {
    let config = upstream();
    let decode = |word: u128| Insn::decode(word, &config).unwrap_err().to_string();
    assert_eq!(decode(3 | 1 << 7 | 7 << 90), "Finish has reserved bits set: 7, 92:90");
    assert_eq!(decode(2 | 1 << 63), "Gemm has reserved bits set: 63");
    assert_eq!(decode(1 | 4 << 7 | 1 << 112), "Store has reserved bits set: 112");
    assert_eq!(decode(2 << 7 | 1 << 58), "Load has reserved bits set: 58");
    assert_eq!(
        decode(7 << 7),
        "memory type 7 (wgt4) belongs to the Tandem extension, which profile vta-0.0.2 does not have"
    );
    assert_eq!(decode(4 << 7), "Load cannot use memory type out: use one of uop, wgt, inp, acc, acc8");
    assert_eq!(
        decode(2 << 7 | 1 << 3),
        "Load runs in the load queue, which cannot pop_prev (bit 3): it accepts pop_next and push_next"
    );
    assert_eq!(
        decode(1 | 1 << 6),
        "Store runs in the store queue, which cannot push_next (bit 6): it accepts pop_prev and push_prev"
    );
    let tiny = HwConfig::preset("tiny").unwrap();
    assert_eq!(Insn::decode(5 | 1 << 7, &tiny).unwrap_err().to_string(), "Requant has reserved bits set: 7");
}

#[test]
fn queues_follow_the_memory_type() {
    let queue = |memory_type| load(memory_type, 0, 0, 1, NONE).queue();
    assert_eq!([queue(MemoryType::Inp), queue(MemoryType::Wgt)], [Queue::Load; 2]);
    assert_eq!([queue(MemoryType::Uop), queue(MemoryType::Acc), queue(MemoryType::Acc8)], [Queue::Compute; 3]);
    assert_eq!(Insn::Finish(Finish::default()).queue(), Queue::Compute);
    let pad = |memory_type| Insn::LoadPad(LoadPad { memory_type, ..LoadPad::default() }).queue();
    assert_eq!([pad(MemoryType::Inp), pad(MemoryType::Acc8)], [Queue::Load, Queue::Compute]);
}

/// Items d, e, f and g: what fsim does and some hardware does not is legal here.
#[test]
fn padding_everywhere_deep_micro_ops_mul_and_acc8_are_legal_in_the_upstream_profile() {
    let config = upstream();
    for memory_type in [MemoryType::Uop, MemoryType::Wgt, MemoryType::Inp, MemoryType::Acc, MemoryType::Acc8] {
        let padded =
            Load { memory_type, y_size: 2, x_size: 3, x_stride: 9, y_pad_0: 15, x_pad_1: 15, ..Load::default() };
        let word = Insn::Load(padded).encode(&config).unwrap();
        assert_eq!(Insn::decode(word, &config).unwrap(), Insn::Load(padded));
    }
    let deep = Insn::Gemm(Gemm { uop_begin: 8191, uop_end: 8192, ..Gemm::default() });
    assert_eq!(Insn::decode(deep.encode(&config).unwrap(), &config).unwrap(), deep);
    let mul = Insn::Alu(Alu { alu_opcode: AluOpcode::Mul, ..Alu::default() });
    assert_eq!(mul.encode(&config).unwrap(), 4 << 108 | 4);
    assert_eq!(MemoryType::Acc8.code(), 5);
}

/// Item h: an encoder written from the symbolic tables alone agrees on configurations other than the default.
#[test]
fn field_positions_follow_the_configuration() {
    fn pack(fields: &[(u32, u32)]) -> u128 {
        let (word, bits) =
            fields.iter().fold((0u128, 0), |(word, at), &(value, width)| (word | u128::from(value) << at, at + width));
        assert!(bits <= 64);
        word
    }
    for seed in 0..200 {
        let c = HwConfig::sample(seed);
        let (u, i, w, a) = (c.log_uop_depth(), c.log_inp_depth(), c.log_wgt_depth(), c.log_acc_depth());
        let gemm = Gemm {
            dep: Dep { pop_next: true, ..NONE },
            reset: true,
            uop_begin: 3,
            uop_end: 1 << u,
            iter_out: 5,
            iter_in: 16383,
            dst_factor_out: (1 << a) - 1,
            dst_factor_in: 2,
            src_factor_out: (1 << i) - 1,
            src_factor_in: 3,
            wgt_factor_out: (1 << w) - 1,
            wgt_factor_in: 4,
        };
        let low = pack(&[(2, 3), (2, 4), (1, 1), (3, u), (1 << u, u + 1), (5, 14), (16383, 14)]);
        let high = pack(&[((1 << a) - 1, a), (2, a), ((1 << i) - 1, i), (3, i), ((1 << w) - 1, w), (4, w)]);
        assert_eq!(Insn::Gemm(gemm).encode(&c).unwrap(), high << 64 | low, "seed {seed}");
        let alu = Alu {
            uop_end: 1 << u,
            dst_factor_out: 1,
            dst_factor_in: (1 << a) - 1,
            src_factor_out: 2,
            src_factor_in: (1 << a) - 1,
            alu_opcode: AluOpcode::Shr,
            use_imm: true,
            imm: -2,
            ..Alu::default()
        };
        let low = pack(&[(4, 3), (0, 5), (0, u), (1 << u, u + 1)]);
        let high = pack(&[(1, a), ((1 << a) - 1, a), (2, a), ((1 << a) - 1, a), (3, 3), (1, 1), (0xfffe, 16)]);
        assert_eq!(Insn::Alu(alu).encode(&c).unwrap(), high << 64 | low, "seed {seed}");
        let uop = Uop { dst: 1, src: 2, wgt: 3 };
        assert_eq!(uop.encode(&c).unwrap(), 1 | 2 << a | 3 << (a + a.max(i)), "seed {seed}");
    }
}

fn rules(insns: &[Insn], uops: &[Uop]) -> Vec<Rule> {
    let mut rules: Vec<Rule> = lint(&upstream(), insns, uops).into_iter().map(|departure| departure.rule).collect();
    rules.dedup();
    rules
}

fn finish() -> Insn {
    Insn::Finish(Finish::default())
}

#[test]
fn upstreams_own_program_has_no_departures() {
    let program: Vec<Insn> = matmul().into_iter().map(|(insn, _, _)| insn).collect();
    assert_eq!(lint(&upstream(), &program, &vec![Uop::default(); 0x1002]), []);
}

#[test]
fn a_store_of_what_was_only_loaded_or_reset_is_a_departure() {
    let store =
        Insn::Store(Store { memory_type: MemoryType::Out, y_size: 1, x_size: 1, x_stride: 1, ..Store::default() });
    let uop = load(MemoryType::Uop, 0, 0, 1, NONE);
    let acc = load(MemoryType::Acc, 0, 0, 1, NONE);
    let once = Gemm { uop_end: 1, iter_out: 1, iter_in: 1, ..Gemm::default() };
    let gemm = Insn::Gemm(once);
    let reset = Insn::Gemm(Gemm { reset: true, ..once });
    let copy = Insn::Alu(Alu {
        alu_opcode: AluOpcode::Shr,
        use_imm: true,
        uop_end: 1,
        iter_out: 1,
        iter_in: 1,
        ..Alu::default()
    });
    let uops = [Uop::default()];
    assert_eq!(rules(&[uop, acc, store, finish()], &uops), [Rule::StoreSource]);
    assert_eq!(rules(&[uop, reset, store, finish()], &uops), [Rule::StoreSource]);
    assert_eq!(rules(&[uop, gemm, store, finish()], &uops), []);
    assert_eq!(rules(&[uop, acc, copy, store, finish()], &uops), []);
    assert_eq!(rules(&[uop, gemm, acc, store, finish()], &uops), [Rule::StoreSource]);
}

#[test]
fn every_other_departure_is_found() {
    let uop = load(MemoryType::Uop, 0, 0, 4, NONE);
    let apart = [Uop::default(), Uop { dst: 1, ..Uop::default() }, Uop { dst: 2, ..Uop::default() }, Uop::default()];
    let same = [Uop::default(), Uop { dst: 1, src: 1, wgt: 0 }, Uop::default(), Uop::default()];
    let alu = Alu { uop_end: 1, iter_out: 1, iter_in: 2, dst_factor_in: 1, src_factor_in: 1, ..Alu::default() };
    let imm = |alu_opcode, imm| Insn::Alu(Alu { alu_opcode, use_imm: true, imm, ..alu });
    let gemm = |uop_begin, uop_end| Insn::Gemm(Gemm { uop_begin, uop_end, iter_out: 1, iter_in: 1, ..Gemm::default() });
    let pad = Load { y_size: 1, x_size: 1, x_pad_0: 1, ..Load::default() };
    let cases: [(Vec<Insn>, &[Uop], &[Rule]); 14] = [
        (vec![uop, imm(AluOpcode::Add, 1)], &apart, &[]),
        (vec![uop, Insn::Alu(Alu { use_imm: true, uop_end: 2, ..alu })], &apart, &[Rule::ImmediateSource]),
        (vec![uop, Insn::Alu(Alu { use_imm: true, src_factor_in: 0, ..alu })], &apart, &[Rule::ImmediateSource]),
        (vec![uop, imm(AluOpcode::Shr, 15), imm(AluOpcode::Shr, -15)], &apart, &[]),
        (vec![uop, imm(AluOpcode::Shr, 16)], &apart, &[Rule::ShiftAmount]),
        (vec![uop, Insn::Alu(Alu { alu_opcode: AluOpcode::Shr, ..alu })], &apart, &[Rule::ShiftAmount]),
        (vec![Insn::Load(Load { memory_type: MemoryType::Wgt, ..pad })], &apart, &[Rule::Padding]),
        (vec![Insn::Load(Load { memory_type: MemoryType::Inp, ..pad })], &apart, &[]),
        (
            vec![Insn::Load(Load { memory_type: MemoryType::Uop, y_size: 2, x_size: 1, ..Load::default() })],
            &apart,
            &[Rule::Padding],
        ),
        (vec![gemm(2048, 2049)], &apart, &[Rule::UopDepth]),
        (vec![uop, imm(AluOpcode::Mul, 3)], &apart, &[Rule::Mul]),
        (vec![load(MemoryType::Acc8, 0, 0, 1, NONE)], &apart, &[Rule::Acc8]),
        (vec![uop, gemm(0, 3)], &same, &[Rule::DstDistance]),
        (vec![uop, gemm(0, 4)], &apart, &[]),
    ];
    for (mut insns, uops, expected) in cases {
        insns.push(finish());
        assert_eq!(rules(&insns, uops), expected, "{insns:?}");
    }
    assert_eq!(rules(&[], &[]), [Rule::FinishLast]);
    assert_eq!(rules(&[finish(), finish()], &[]), [Rule::FinishLast]);
    assert_eq!(rules(&[Insn::Lane(Lane::default()), finish()], &[]), [Rule::Extension]);
    let tiny = HwConfig::preset("tiny").unwrap();
    assert_eq!(lint(&tiny, &[finish()], &[])[0].rule, Rule::Config);
}

#[test]
fn the_lint_ends_on_loops_of_any_size() {
    let uop = load(MemoryType::Uop, 0, 0, 8192, NONE);
    let gemm = Insn::Gemm(Gemm { uop_end: 8192, iter_out: 16383, iter_in: 16383, ..Gemm::default() });
    let store = Insn::Store(Store { memory_type: MemoryType::Out, y_size: 65535, x_size: 65535, ..Store::default() });
    let insns = [uop, gemm, gemm, store, finish()];
    let found = lint(&upstream(), &insns, &[Uop::default(); 8192]);
    assert!(found.iter().any(|departure| departure.rule == Rule::DstDistance));
    assert!(!found.iter().any(|departure| departure.rule == Rule::StoreSource));
}
