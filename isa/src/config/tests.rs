//! Configurations: what is accepted, what is refused, what the digest covers.

use super::*;

fn facts() -> HwFacts {
    HwConfig::preset("vta").unwrap().facts().clone()
}

#[test]
fn every_preset_is_legal_and_carries_its_own_name() {
    for name in HwConfig::presets() {
        let config = HwConfig::preset(name).unwrap();
        assert_eq!(config.name(), Some(name));
        assert_eq!(HwConfig::from_toml(&config.to_toml()).unwrap(), config);
    }
    assert!(HwConfig::preset("huge").is_none());
}

#[test]
fn the_default_preset_has_upstreams_depths() {
    let c = HwConfig::preset("vta").unwrap();
    assert_eq!((c.uop_depth(), c.inp_depth(), c.wgt_depth(), c.acc_depth()), (8192, 2048, 1024, 2048));
    assert_eq!((c.inp_elem_bytes(), c.wgt_elem_bytes(), c.acc_elem_bytes(), c.out_elem_bytes()), (16, 256, 64, 16));
    assert_eq!(c.elem_bytes(MemoryType::Uop), 4);
    assert_eq!(c.elem_bytes(MemoryType::Acc8), 16);
    assert_eq!(c.depth(MemoryType::Out), 2048);
}

#[test]
fn presets_have_distinct_digests_and_the_label_takes_no_part() {
    let digests: std::collections::BTreeSet<u32> =
        HwConfig::presets().into_iter().map(|n| HwConfig::preset(n).unwrap().digest()).collect();
    assert_eq!(digests.len(), 5);
    let unnamed = HwConfig::new(HwFacts { name: None, ..facts() }).unwrap();
    assert_eq!(unnamed.digest(), HwConfig::preset("vta").unwrap().digest());
    let profile = HwConfig::new(HwFacts { profile: Profile::Vta002, ..facts() }).unwrap();
    assert_ne!(profile.digest(), unnamed.digest());
}

#[test]
fn the_digest_of_the_default_preset_does_not_change() {
    assert_eq!(HwConfig::preset("vta").unwrap().digest(), 0x685a_5d96);
}

#[test]
fn sizes_that_do_not_fit_are_refused_with_the_number_of_bits() {
    let wider = HwConfig::new(HwFacts { wgt_buffer_bytes: 1 << 19, ..facts() }).unwrap_err();
    assert_eq!(
        wider.to_string(),
        "a micro-op needs 33 bits and has 32: 1 too many \
         (dst 11 + src 11 + wgt 11; make the ACC, INP or WGT buffer smaller)"
    );
    let uops = HwConfig::new(HwFacts { uop_buffer_bytes: 1 << 17, ..facts() }).unwrap_err();
    assert!(matches!(uops, IsaError::ConfigWidth { needed: 67, available: 63, .. }), "{uops}");
    // A deep ACC with a shallow WGT: only the ALU word overflows.
    let acc = HwFacts { acc_buffer_bytes: 1 << 18, wgt_buffer_bytes: 1 << 14, ..facts() };
    let acc = HwConfig::new(acc).unwrap_err();
    assert!(matches!(acc, IsaError::ConfigWidth { what: "word 1 of ALU", needed: 68, available: 64, .. }), "{acc}");
    // A deep INP with a shallow ACC fits the micro-op, but not the 16 bits of sram_base.
    let deep = HwFacts { inp_buffer_bytes: 1 << 21, acc_buffer_bytes: 1 << 12, wgt_buffer_bytes: 1 << 14, ..facts() };
    let deep = HwConfig::new(deep).unwrap_err();
    assert!(matches!(deep, IsaError::ConfigWidth { needed: 17, available: 16, .. }), "{deep}");
}

#[test]
fn values_outside_their_lists_are_refused_by_name() {
    let cases: [(HwFacts, &str); 8] = [
        (HwFacts { batch: 3, ..facts() }, "batch"),
        (HwFacts { block_in: 64, ..facts() }, "block_in"),
        (HwFacts { block_out: 0, ..facts() }, "block_out"),
        (HwFacts { bus_bits: 32, ..facts() }, "bus_bits"),
        (HwFacts { inp_bits: 4, ..facts() }, "inp_bits"),
        (HwFacts { inp_buffer_bytes: 30_000, ..facts() }, "inp_buffer_bytes"),
        (HwFacts { acc_buffer_bytes: 0, ..facts() }, "acc_buffer_bytes"),
        (HwFacts { wgt_buffer_bytes: 256, ..facts() }, "wgt_buffer_bytes"),
    ];
    for (facts, key) in cases {
        let error = HwConfig::new(facts).unwrap_err();
        assert!(matches!(&error, IsaError::ConfigValue { field, .. } if *field == key), "{key}: {error}");
    }
    assert!(HwConfig::new(HwFacts { name: Some("a\nb".into()), ..facts() }).is_err());
}

#[test]
fn facts_at_their_defaults_are_left_out_and_others_change_the_digest() {
    let vta = HwConfig::preset("vta").unwrap();
    let same = HwFacts { alu_lanes: Some(16), ..facts() };
    assert_eq!(HwConfig::new(same).unwrap(), vta);
    let others = [
        HwFacts { dram_bits: 17, ..facts() },
        HwFacts { insn_queue_depth: 0, alu_lanes: Some(1), float_requant: false, ..facts() },
        HwFacts { alu_lanes: Some(1), ..facts() },
        HwFacts { float_requant: false, ..facts() },
        HwFacts { counters: false, ..facts() },
    ];
    for facts in others {
        let config = HwConfig::new(facts).unwrap();
        assert_ne!(config.digest(), vta.digest(), "{}", config.to_toml());
        assert_eq!(HwConfig::from_toml(&config.to_toml()).unwrap(), config);
    }
    for facts in [
        HwFacts { dram_bits: 15, ..facts() },
        HwFacts { insn_queue_depth: 8, ..facts() },
        HwFacts { insn_queue_depth: 0, alu_lanes: Some(1), ..facts() },
        HwFacts { insn_queue_depth: 0, alu_lanes: Some(1), float_requant: false, batch: 2, ..facts() },
        HwFacts { alu_lanes: Some(3), ..facts() },
        HwFacts { alu_lanes: Some(32), ..facts() },
    ] {
        assert!(matches!(HwConfig::new(facts).unwrap_err(), IsaError::ConfigValue { .. }));
    }
}

#[test]
fn registers_hold_addresses_in_dram_and_as_many_instructions_as_fit() {
    let config = HwConfig::new(HwFacts { dram_bits: 17, ..facts() }).unwrap();
    assert_eq!(config.written_bits(Reg::InpBase), 0x1_f000);
    assert_eq!(config.written_bits(Reg::InsnAddr), 0x1_ffc0);
    assert_eq!(config.written_bits(Reg::InsnCount), 0x3fff);
    assert_eq!(config.written_bits(Reg::Control), Reg::Control.written_bits());
    let wide = HwConfig::new(facts()).unwrap();
    assert!(Reg::ALL.iter().all(|&reg| wide.written_bits(reg) == reg.written_bits()));
}

#[test]
fn the_smallest_machine_is_what_its_facts_derive() {
    assert_eq!(HwConfig::new(HwConfig::SMALLEST.facts().clone()).unwrap(), HwConfig::SMALLEST);
}

#[test]
fn an_unknown_key_or_a_missing_key_is_refused() {
    let text = HwConfig::preset("tiny").unwrap().to_toml();
    let error = HwConfig::from_toml(&format!("{text}lanes = 3\n")).unwrap_err();
    assert!(error.to_string().contains("lanes"), "{error}");
    let short: String = text.lines().filter(|l| !l.starts_with("block_in")).map(|l| format!("{l}\n")).collect();
    assert!(HwConfig::from_toml(&short).unwrap_err().to_string().contains("block_in"));
    assert!(HwConfig::from_toml("batch = -1").is_err());
}
