//! Registers, spills and shared memory of every kernel, held against `budget.json`.

mod place;

use std::collections::BTreeMap;
use std::path::Path;
use tandem_gpu::instances;

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    registers: u32,
    shared: u32,
}

#[test]
fn every_kernel_compiles_without_spills_within_its_budget() {
    let Some(compiler) = place::compiler() else { return };
    let mut found = BTreeMap::new();
    for instance in instances() {
        let compiled = compiler.compile(&instance).unwrap_or_else(|error| panic!("{}: {error}", instance.id()));
        let usage = compiled.usage(instance.kernel).unwrap();
        let local = (usage.spill_stores, usage.spill_loads, usage.stack);
        assert_eq!(local, (0, 0, 0), "{}: spill stores, loads, local memory", instance.id());
        for line in compiled.log.lines() {
            assert!(
                !line.contains("warning") && !line.contains("Potential Performance Loss"),
                "{}: {line}",
                instance.id()
            );
        }
        let budget = Budget { registers: usage.registers, shared: usage.shared };
        assert!(found.insert(instance.id(), budget).is_none(), "{} twice", instance.id());
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("budget.json");
    if std::env::var_os("TANDEM_BLESS").is_some() {
        std::fs::write(&file, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
    let budgets: BTreeMap<String, Budget> = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let (major, minor) = compiler.version().unwrap();
    let unlisted: Vec<_> = found.keys().filter(|id| !budgets.contains_key(*id)).collect();
    let absent: Vec<_> = budgets.keys().filter(|id| !found.contains_key(*id)).collect();
    assert!(unlisted.is_empty() && absent.is_empty(), "budget.json lacks {unlisted:#?} and lists {absent:#?}");
    for (id, used) in &found {
        let budget = &budgets[id];
        assert!(
            used.registers <= budget.registers && used.shared <= budget.shared,
            "{id} uses {used:?} with NVRTC {major}.{minor}, and its budget is {budget:?}"
        );
    }
}
