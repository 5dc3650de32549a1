//! What a layer took, beside its roofs and with what held it up.

use super::network::Layer;
use crate::bottleneck::{Account, Roofs, Work, array};
use crate::placing::shortened;
use crate::solo::{Prepared, Ran, Solo};
use crate::table::{grouped, percent, table};
use serde_json::{Value, json};
use tandem_isa::HwConfig;

/// Characters of a name in a table; the JSON has all.
const NAME: usize = 21;

/// A layer that was run once, or several of them together.
///
/// # Units
/// Cycles and bytes of a run, which takes so many samples.
#[derive(Default)]
pub struct Row {
    name: String,
    /// Its number among the layers.
    pub number: usize,
    op: &'static str,
    count: u64,
    /// Samples of a run.
    pub samples: usize,
    work: Work,
    cycles: u64,
    instructions: u64,
    roofs: Roofs,
    read_bytes: u64,
    write_bytes: u64,
    account: Account,
    /// Bytes of the result that differ, and all of them.
    mismatches: (usize, usize),
}

impl Row {
    /// Of a layer; of several together, whose own rows are given.
    pub fn of(layer: &Layer, prepared: &Prepared, ran: &Ran, solo: &Solo, parts: Option<&[&Row]>) -> Row {
        let roofs = match parts {
            None => ran.roofs(prepared, solo),
            Some(parts) => {
                let mut sum = Roofs::default();
                parts.iter().for_each(|part| sum.add(&part.roofs, 1));
                sum
            }
        };
        Row {
            name: layer.name.clone(),
            number: layer.number,
            op: layer.op,
            count: layer.count,
            samples: prepared.samples(),
            work: prepared.work(),
            cycles: ran.activity.cycles,
            instructions: ran.counters.instructions,
            roofs,
            read_bytes: ran.activity.read_bytes,
            write_bytes: ran.activity.write_bytes,
            account: ran.account(&roofs, solo),
            mismatches: ran.mismatches,
        }
    }

    /// Of all layers, each as often as the network has it.
    pub fn sum(rows: &[Row]) -> Row {
        let mut sum = Row { name: "sum".to_owned(), op: "-", ..Row::default() };
        for row in rows {
            let times = row.count;
            sum.count += times;
            sum.samples = row.samples;
            sum.work.macs += row.work.macs * times;
            sum.work.element_ops += row.work.element_ops * times;
            sum.work.read_bytes += row.work.read_bytes * times;
            sum.work.write_bytes += row.work.write_bytes * times;
            sum.cycles += row.cycles * times;
            sum.instructions += row.instructions * times;
            sum.roofs.add(&row.roofs, times);
            sum.read_bytes += row.read_bytes * times;
            sum.write_bytes += row.write_bytes * times;
            sum.account.add(&row.account, times);
            sum.mismatches.0 += row.mismatches.0;
            sum.mismatches.1 += row.mismatches.1;
        }
        sum
    }

    /// What was asked of the accelerator over what its array could have done.
    fn utilisation(&self, config: &HwConfig) -> f64 {
        utilisation(self.work.macs, self.cycles, config)
    }

    fn of_roof(&self) -> f64 {
        ratio(self.roofs.cycles, self.cycles)
    }

    /// Whether its result is wrong.
    pub fn differs(&self) -> bool {
        self.mismatches.0 > 0
    }

    /// The sentence on that.
    pub fn complaint(&self) -> Option<String> {
        let (wrong, all) = self.mismatches;
        self.differs().then(|| complaint(&self.name, wrong, all))
    }

    /// For programs.
    pub fn json(&self, config: &HwConfig) -> Value {
        let mut value = json!({
            "name": self.name,
            "number": self.number,
            "op": self.op,
            "count": self.count,
            "samples": self.samples,
            "macs": self.work.macs,
            "element_ops": self.work.element_ops,
            "cycles": self.cycles,
            "instructions": self.instructions,
            "utilisation": self.utilisation(config),
            "dram_read_bytes": self.read_bytes,
            "dram_write_bytes": self.write_bytes,
            "least_bytes": self.work.bytes(),
            "compute_roof_cycles": self.roofs.compute(),
            "memory_roof_cycles": self.roofs.memory,
            "roof_cycles": self.roofs.cycles,
            "roof": self.roofs.name(),
            "of_roof": self.of_roof(),
            "mismatches": self.mismatches.0,
        });
        if let (Value::Object(value), Value::Object(account)) = (&mut value, self.account.json()) {
            value.extend(account);
        }
        value
    }
}

/// What differs, as a sentence.
pub fn complaint(name: &str, wrong: usize, all: usize) -> String {
    format!("mismatch: {name}: {wrong} of {all} bytes differ from the functional simulator's")
}

/// Multiply-accumulates over those that the array could have done.
pub fn utilisation(macs: u64, cycles: u64, config: &HwConfig) -> f64 {
    ratio(macs, cycles.saturating_mul(array(config)))
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Two tables: cycles beside roofs, and what the cycles went to that was not asked for.
pub fn tables(rows: &[Row], sum: &Row, config: &HwConfig) -> String {
    let all = || rows.iter().chain([sum]);
    let name = |row: &Row| match row.count {
        times if times > 1 && row.number > 0 => format!("{} x{times}", row.name),
        _ => shortened(&row.name, NAME),
    };
    let number = |row: &Row| if row.number == 0 { "-".to_owned() } else { row.number.to_string() };
    let measured = all().map(|row| {
        vec![
            number(row),
            name(row),
            format!("{:.3}", row.work.macs as f64 / 1e6),
            grouped(row.cycles),
            percent(Some(row.utilisation(config))),
            grouped(row.read_bytes + row.write_bytes),
            grouped(row.roofs.compute()),
            grouped(row.roofs.memory),
            percent(Some(row.of_roof())),
        ]
    });
    let header =
        ["#", "layer", "M MACs", "cycles", "utilisation", "DRAM bytes", "compute roof", "memory roof", "of roof"];
    let held = all().map(|row| {
        let (part, cycles) = row.account.largest();
        vec![
            number(row),
            name(row),
            row.op.to_owned(),
            part.words().to_owned(),
            grouped(cycles),
            percent(Some(ratio(cycles, row.cycles))),
            row.account.remedy().to_owned(),
        ]
    });
    let why = ["#", "layer", "operator", "largest stall", "cycles", "of all", "what would remove it"];
    table(&header, &[0, 2, 3, 4, 5, 6, 7, 8], measured) + &table(&why, &[0, 4, 5], held)
}

/// The sentences on what ran in one go.
pub fn together(rows: &[Row], config: &HwConfig) -> String {
    let each = rows.iter().map(|row| {
        let (part, cycles) = row.account.largest();
        format!(
            "In one run, {}: {} cycles, utilisation {}, {} of the roof; largest stall: {}, {} cycles.\n",
            row.name,
            grouped(row.cycles),
            percent(Some(row.utilisation(config))),
            percent(Some(row.of_roof())),
            part.words(),
            grouped(cycles)
        )
    });
    let all = Row::sum(rows);
    let total = (rows.len() > 1).then(|| {
        let share = percent(Some(all.utilisation(config)));
        format!("All {} segments: {} cycles, utilisation {share}.\n", rows.len(), grouped(all.cycles))
    });
    each.chain(total).collect()
}
