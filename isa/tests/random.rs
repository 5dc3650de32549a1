//! Random words, programs and text: round trips over random legal configurations, and no input that does harm.

use proptest::prelude::*;
use tandem_isa::{
    Form, HwConfig, HwFacts, Insn, Lane, Load, LoadPad, MemoryType, Profile, Program, Queue, Requant, Role, Section,
    Store, Trace, Uop, forms, parse, semantics,
};

/// A legal word for a form: random bits, cut to what the form has, with a legal memory type and legal flags.
fn legal_word(config: &HwConfig, form: &Form, bits: u128) -> u128 {
    let mut word = bits & !form.reserved() & !7 | u128::from(form.opcode);
    let mut queue = if form.name == "Store" { Queue::Store } else { Queue::Compute };
    if let Some(field) = form.field("memory_type") {
        let types: Vec<MemoryType> =
            form.memory_types().iter().copied().filter(|&memory_type| config.has_memory_type(memory_type)).collect();
        let memory_type: MemoryType = types[(bits >> field.lo & 7) as usize % types.len()];
        word = word & !field.mask() | u128::from(memory_type.code()) << field.lo;
        if queue == Queue::Compute {
            queue = memory_type.load_queue();
        }
    }
    // Taps beside the first are left to a test of their own: most machines have none.
    if let Some(field) = form.field("more_taps") {
        word &= !field.mask();
    }
    match queue {
        Queue::Load => word & !(0b0101 << 3),
        Queue::Compute => word,
        Queue::Store => word & !(0b1010 << 3),
    }
}

#[test]
fn only_machines_with_packed_weights_load_weights_of_four_bits() {
    let vta = HwConfig::preset("vta").unwrap();
    let packed = HwConfig::new(HwFacts { packed_weights: true, ..vta.facts().clone() }).unwrap();
    let insn = Insn::Load(Load { memory_type: MemoryType::Wgt4, x_size: 1, y_size: 1, ..Load::default() });
    let word = insn.encode(&packed).unwrap();
    assert_eq!(Insn::decode(word, &packed).unwrap(), insn);
    let refusal = "this machine loads no weights of 4 bits (wgt4): its configuration says packed_weights = false";
    assert_eq!(Insn::decode(word, &vta).unwrap_err().to_string(), refusal);
    assert_eq!(insn.encode(&vta).unwrap_err().to_string(), refusal);
    // A store has none, and one that moves nothing has only what there is.
    let store = |x_size| Insn::Store(Store { memory_type: MemoryType::Wgt4, x_size, y_size: 1, ..Store::default() });
    assert!(store(1).encode(&packed).is_err() && store(0).encode(&packed).is_ok());
    assert_eq!(store(0).encode(&vta).unwrap_err().to_string(), refusal);
    let pad = Insn::LoadPad(LoadPad { memory_type: MemoryType::Wgt4, x_size: 1, ..LoadPad::default() });
    assert!(pad.encode(&packed).unwrap_err().to_string().contains("wgt, inp, acc8"));

    assert_eq!(HwConfig::from_toml(&packed.to_toml()).unwrap(), packed);
    assert!(packed.to_toml().contains("packed_weights = true") && !vta.to_toml().contains("packed_weights"));
    let bare = vta.without_queues();
    for facts in [bare.facts(), &HwFacts { profile: Profile::Vta002, ..vta.facts().clone() }] {
        let error = HwConfig::new(HwFacts { packed_weights: true, ..facts.clone() }).unwrap_err().to_string();
        assert!(error.contains("packed_weights") && error.contains("profile tandem"), "{error}");
    }
}

#[test]
fn taps_and_flags_are_refused_where_the_machine_has_none() {
    let tiny = HwConfig::preset("tiny").unwrap();
    let wide = HwConfig::new(HwFacts { lane_taps: 4, ..tiny.facts().clone() }).unwrap();
    let lane = Lane { more_taps: 2, ..Lane::default() };
    let refused = |insn: Insn, config: &HwConfig| insn.encode(config).is_err();
    assert!(refused(lane.into(), &tiny) && !refused(lane.into(), &wide));
    assert!(refused(Lane { max: true, ..lane }.into(), &wide));
    assert_eq!(Insn::decode(Insn::from(lane).encode(&wide).unwrap(), &wide).unwrap(), lane.into());
    let requant = Requant { clear: true, from_inp: true, param: 5, ..Requant::default() };
    let program = Program { config: wide.clone(), sections: Vec::new(), insns: vec![lane.into(), requant.into()] };
    assert_eq!(parse(&program.to_string()).unwrap().insns, program.insns);
    assert!(refused(requant.into(), &tiny.without_queues()) && !refused(requant.into(), &tiny));
    let fuse = Insn::from(Requant { fuse: true, param: 5, ..Requant::default() });
    let narrow = HwConfig::new(HwFacts { alu_lanes: Some(1), ..tiny.facts().clone() }).unwrap();
    assert!(refused(fuse, &narrow) && refused(fuse, &tiny.without_queues()) && !refused(fuse, &tiny));
    let program = Program { config: tiny.clone(), sections: Vec::new(), insns: vec![fuse] };
    assert_eq!(parse(&program.to_string()).unwrap().insns, program.insns);
    assert!(HwConfig::new(HwFacts { lane_taps: 2, ..tiny.facts().clone() }).is_err());
    assert!(HwConfig::new(HwFacts { lane_taps: 4, block_out: 8, ..tiny.facts().clone() }).is_err());
}

#[test]
fn nesting_and_length_do_no_harm() {
    for text in ["[".repeat(100_000), "{".repeat(100_000), "a.".repeat(100_000), "[[".repeat(50_000)] {
        assert!(HwConfig::from_toml(&text).is_err());
        assert!(parse(&format!(".config {text}")).is_err());
        assert!(parse(&format!(".config {{ a = {text}")).is_err());
    }
    let name = "\\u{41}".repeat(100_000);
    let text = format!(".preset tiny\n.section \"{name}\" const 0 0\n");
    assert_eq!(parse(&text).unwrap().sections[0].name, "A".repeat(100_000));
}

fn config() -> impl Strategy<Value = HwConfig> {
    prop_oneof![
        any::<u64>().prop_map(HwConfig::sample),
        proptest::sample::select(HwConfig::presets().to_vec()).prop_map(|name| HwConfig::preset(name).unwrap()),
    ]
}

fn insn(config: &HwConfig, choice: u8, bits: u128) -> Insn {
    let forms = forms(config);
    let form = &forms[usize::from(choice) % forms.len()];
    Insn::decode(legal_word(config, form, bits), config).unwrap()
}

fn section() -> impl Strategy<Value = Section> {
    let bytes = prop_oneof![
        Just(Vec::new()),
        proptest::collection::vec(any::<u8>(), 0..200),
        (0usize..10000, any::<u8>()).prop_map(|(len, last)| {
            let mut bytes = vec![0; len];
            bytes.extend([last]);
            bytes
        }),
    ];
    (".{0,12}", 0usize..7, any::<u32>(), any::<u32>(), bytes).prop_map(|(name, role, offset, size, data)| Section {
        name,
        role: Role::ALL[role],
        offset,
        size: if data.is_empty() { size } else { data.len() as u32 },
        data,
    })
}

fn program() -> impl Strategy<Value = Program> {
    let words = proptest::collection::vec(any::<(u8, u128)>(), 0..20);
    (config(), proptest::collection::vec(section(), 0..4), words).prop_map(|(config, sections, words)| {
        let insns = words.into_iter().map(|(choice, bits)| insn(&config, choice, bits)).collect();
        Program { config, sections, insns }
    })
}

proptest! {
    #[test]
    fn every_legal_word_survives_decoding_and_encoding(config in config(), bits in any::<u128>()) {
        for form in forms(&config) {
            let word = legal_word(&config, &form, bits);
            let insn = Insn::decode(word, &config).unwrap();
            prop_assert_eq!(insn.encode(&config).unwrap(), word, "{}", insn);
            prop_assert_eq!(insn.opcode(), form.opcode);
        }
    }

    #[test]
    fn any_word_decodes_to_its_instruction_or_is_refused(config in config(), word in any::<u128>(), sparse in any::<u128>()) {
        for word in [word, word & sparse, word & 0xffff_ffff, word & 7] {
            if let Ok(insn) = Insn::decode(word, &config) {
                prop_assert_eq!(insn.encode(&config).unwrap(), word);
            }
        }
    }

    #[test]
    fn any_reserved_bit_is_refused(config in config(), bits in any::<u128>(), bit in 0u32..128) {
        for form in forms(&config) {
            let word = legal_word(&config, &form, bits);
            if form.reserved() >> bit & 1 == 1 {
                let message = Insn::decode(word | 1 << bit, &config).unwrap_err().to_string();
                prop_assert_eq!(message, format!("{} has reserved bits set: {bit}", form.name));
            }
        }
    }

    #[test]
    fn micro_ops_survive_encoding(config in config(), word in any::<u32>()) {
        match Uop::decode(word, &config) {
            Ok(uop) => prop_assert_eq!(uop.encode(&config).unwrap(), word),
            Err(_) => {
                let used = config.log_acc_depth() + config.log_src_depth() + config.log_wgt_depth();
                prop_assert!(u64::from(word) >> used != 0);
            }
        }
    }

    #[test]
    fn configurations_survive_toml(config in config()) {
        prop_assert_eq!(&HwConfig::from_toml(&config.to_toml()).unwrap(), &config);
    }

    #[test]
    fn programs_survive_their_text(program in program()) {
        let text = program.to_string();
        let back = parse(&text);
        prop_assert_eq!(back.as_ref(), Ok(&program), "{}", text);
    }

    #[test]
    fn damaged_text_parses_or_is_refused_and_what_parses_survives(
        program in program(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..4, any::<char>(), any::<prop::sample::Index>()), 1..6),
    ) {
        let mut text: Vec<char> = program.to_string().chars().collect();
        for (place, kind, with, other) in damage {
            if text.is_empty() {
                break;
            }
            let at = place.index(text.len());
            match kind {
                0 => text[at] = with,
                1 => text.insert(at, with),
                2 => { text.remove(at); }
                _ => { let from = other.index(text.len()); text[at] = text[from]; }
            }
        }
        let text: String = text.into_iter().collect();
        match parse(&text) {
            Ok(program) => prop_assert_eq!(parse(&program.to_string()), Ok(program)),
            Err(error) => prop_assert!(error.line >= 1 && error.column >= 1 && !error.message.contains('\n'), "{}", error),
        }
    }

    #[test]
    fn arbitrary_text_is_no_program_and_does_no_harm(
        text in ".{0,80}",
        words in "(\\.preset vta\n)?((\\.section|\\.hex|\\.zero|\\.uop|\\.config|load\\.inp|gemm|alu\\.add|nop\\.load|a|\"|\\\\u\\{|uop=|0x|-|1|\\.\\.|x|,|=| |\n|;)){0,40}",
    ) {
        for text in [text, words] {
            if let Ok(program) = parse(&text) {
                prop_assert_eq!(parse(&program.to_string()), Ok(program));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_configuration_and_no_trace(text in ".{0,200}") {
        let _ = HwConfig::from_toml(&text);
        let _ = text.parse::<Trace>();
    }

    #[test]
    fn checks_of_random_programs_end(program in program(), base in any::<u32>()) {
        let _ = program.validate();
        let _ = program.relocated(base & !4095);
        let _ = program.lint();
    }

    #[test]
    fn a_permuted_group_holds_every_byte_once(config in config()) {
        let mut order = semantics::out_inp_order(&config);
        prop_assert_eq!(order.len(), semantics::out_inp_group(&config) * config.out_elem_bytes());
        prop_assert_eq!(order.len() % config.inp_elem_bytes(), 0);
        if config.batch() == 1 || config.block_in() == config.block_out() {
            prop_assert!(order.is_sorted());
        }
        order.sort_unstable();
        prop_assert!(order.iter().enumerate().all(|(index, &byte)| index == byte));
    }

    #[test]
    fn every_input_byte_is_one_lane_of_one_vector(config in config(), vector in any::<prop::sample::Index>()) {
        let vector = vector.index(config.inp_vectors());
        for lane in 0..config.block_out() {
            let (element, at) = semantics::lane_input(&config, vector, lane);
            prop_assert!(element < config.inp_depth() && at < config.block_in());
            prop_assert_eq!(element * config.block_in() + at, vector * config.block_out() + lane);
        }
    }

    #[test]
    fn rounding_agrees_with_exact_arithmetic(a in any::<i32>(), b in any::<i32>(), shift in 0i32..=62, n in 0u32..=31) {
        // The exact values in 128 bits; floor((2 p + d) / (2 d)) is the nearest integer to p / d, half up.
        let half_up = |p: i128, d: i128| (2 * p + d).div_euclid(2 * d);
        let product = i128::from(a) * i128::from(b);
        let away = |p: i128, d: i128| p.signum() * half_up(p.abs(), d);
        prop_assert_eq!(i128::from(semantics::single_rounding(a, b, shift)), half_up(product, 1 << shift));
        prop_assert_eq!(i128::from(semantics::half_away(a, b, shift)), away(product, 1 << shift));
        prop_assert_eq!(i128::from(semantics::rdbpot(a, n)), away(i128::from(a), 1 << n));
        let high = half_up(product, 1 << 31).min(i128::from(i32::MAX));
        prop_assert_eq!(i128::from(semantics::srdhm(a, b)), high);
    }
}
