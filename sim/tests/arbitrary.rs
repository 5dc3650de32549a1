//! Streams of arbitrary legal words over arbitrary memory: an answer or an error, never a panic.

use tandem_isa::{Form, HwConfig, Insn, MemoryType, Queue, forms};
use tandem_sim::cosim::Random;
use tandem_sim::{Bases, Checks, Dram, Launch, Machine, Options, Step};

/// A legal word of a form.
fn word(random: &mut Random, config: &HwConfig, form: &Form, tame: bool) -> u128 {
    // Some flags exclude one another, or are not every machine's.
    loop {
        let word = random_word(random, form, tame);
        if Insn::decode(word, config).is_ok() {
            return word;
        }
    }
}

/// Random bits, cut to what the form has. `tame` keeps loops and indices small, so that many words run.
fn random_word(random: &mut Random, form: &Form, tame: bool) -> u128 {
    let bits = u128::from(random.next()) << 64 | u128::from(random.next());
    let mut word = bits & !form.reserved() & !7 | u128::from(form.opcode);
    let mut queue = if form.name == "Store" { Queue::Store } else { Queue::Compute };
    for field in &form.fields {
        if field.name == "memory_type" {
            let types = form.memory_types();
            let memory_type: MemoryType = types[random.below(types.len() as u32) as usize];
            word = word & !field.mask() | u128::from(memory_type.code()) << field.lo;
            if queue == Queue::Compute {
                queue = memory_type.load_queue();
            }
        } else if tame && !field.flag && field.names.is_empty() && field.name != "imm" {
            word &= !field.mask() | u128::from(random.below(8)) << field.lo;
        }
    }
    // Tokens are rare: most random streams with many of them lock up at once.
    let dep = if random.below(16) == 0 { 0b1111 << 3 } else { 0 };
    match queue {
        Queue::Load => word & (!(0b1111 << 3) | dep & 0b1010 << 3),
        Queue::Compute => word & (!(0b1111 << 3) | dep),
        Queue::Store => word & (!(0b1111 << 3) | dep & 0b0101 << 3),
    }
}

#[test]
fn arbitrary_words_give_an_answer_or_an_error() {
    let (mut finished, mut stopped) = (0, 0);
    for seed in 0..1500 {
        let mut random = Random(seed);
        let config = HwConfig::sample(seed);
        let forms: Vec<Form> = forms(&config).into_iter().filter(|form| form.name != "Finish").collect();
        let tame = random.below(4) > 0;
        let mut words: Vec<u128> = (0..random.below(12))
            .map(|_| {
                let form = &forms[random.below(forms.len() as u32) as usize];
                word(&mut random, &config, form, tame)
            })
            .collect();
        words.push(3);
        let mut dram = Dram::default();
        assert!(dram.map(0, 1 << 16));
        dram.slice_mut(0, 1 << 16).unwrap().fill_with(|| random.next() as u8 & if tame { 0x03 } else { 0xff });
        let insn_addr = dram.alloc(words.len() as u64 * 16).unwrap();
        for (word, at) in words.iter().zip((u64::from(insn_addr)..).step_by(16)) {
            dram.slice_mut(at, 16).unwrap().copy_from_slice(&word.to_le_bytes());
        }
        let checks = Checks { races: random.flag(), uninitialised: random.below(4) == 0 };
        let options = Options { seed: u64::from(random.below(3)), checks, trace: random.flag(), ..Options::default() };
        let mut machine = Machine::new(&config, options);
        let bases =
            if random.flag() { Bases::default() } else { Bases { inp: random.next() as u32, ..Bases::default() } };
        machine.launch(&dram, &Launch { insn_addr, insn_count: words.len() as u32, bases }).unwrap();
        // A few random loops would run for hours, which a caller with a limit cuts off between two steps.
        for _ in 0..20 {
            match machine.step(&mut dram) {
                Ok(Step::Ran | Step::Paused) => {}
                Ok(Step::Finished) => {
                    finished += 1;
                    break;
                }
                Err(error) => {
                    assert!(!error.to_string().contains('\n'));
                    assert_ne!(error.code().code(), 0);
                    stopped += 1;
                    break;
                }
            }
        }
    }
    assert!(finished > 200 && stopped > 200, "{finished} finished, {stopped} stopped");
}
