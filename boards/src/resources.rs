//! What a design takes of a part: cells of the tools, counted in the units of the data sheet.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::board::{Budget, Flow};
use crate::{BoardError, Shortage};

/// Cells by type.
pub type Cells = BTreeMap<String, u64>;

/// A resource of a part: how much of it is taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// LUT, FF, DSP, BRAM or SPRAM.
    pub resource: String,
    /// How much the design takes.
    pub used: u64,
    /// How much the part has.
    pub budget: u64,
    /// Used in percent of the budget.
    pub percent: f64,
}

/// A resource and what counts towards it: beginnings of cell types, with halves of a unit for each.
type Rule = (&'static str, &'static [(&'static str, u64)]);

/// What a netlist of yosys takes at least: packing may need more, never less.
pub fn of_netlist(flow: Flow, cells: &Cells, budget: &Budget) -> Vec<Usage> {
    let rules: &[Rule] = match flow {
        Flow::Ecp5 => &[
            ("LUT", &[("LUT4", 2), ("CCU2C", 4), ("TRELLIS_DPR16X4", 8)]),
            ("FF", &[("TRELLIS_FF", 2)]),
            ("DSP", &[("MULT18X18D", 2)]),
            ("BRAM", &[("DP16KD", 2), ("PDPW16KD", 2)]),
        ],
        Flow::Ice40 => &[
            ("LUT", &[("SB_LUT4", 2)]),
            ("FF", &[("SB_DFF", 2)]),
            ("DSP", &[("SB_MAC16", 2)]),
            ("BRAM", &[("SB_RAM40", 2)]),
            ("SPRAM", &[("SB_SPRAM", 2)]),
        ],
        Flow::Gowin => &[
            ("LUT", &[("LUT", 2), ("ALU", 2), ("RAM16", 8)]),
            ("FF", &[("DFF", 2)]),
            ("DSP", &[("MULT9X9", 1), ("MULT18X18", 2), ("MULT36X36", 8), ("MULTALU", 4), ("MULTADDALU", 4)]),
            ("BRAM", &[("SP", 2), ("SDP", 2), ("DP", 2), ("pROM", 2)]),
        ],
        Flow::Vivado => &[
            ("LUT", &[("LUT", 2), ("RAM32", 8), ("RAM64", 8), ("RAM128", 8), ("SRL", 2)]),
            ("FF", &[("FD", 2)]),
            ("DSP", &[("DSP48", 2)]),
            ("BRAM", &[("RAMB36", 2), ("RAMB18", 1)]),
        ],
    };
    usages(rules, cells, budget)
}

/// What a routed design takes. `cells` is the netlist, for what nextpnr does not count by itself.
pub fn of_report(flow: Flow, utilization: &Cells, cells: &Cells, budget: &Budget) -> Vec<Usage> {
    let rules: &[Rule] = match flow {
        Flow::Ecp5 => &[
            ("LUT", &[("TRELLIS_COMB", 2)]),
            ("FF", &[("TRELLIS_FF", 2)]),
            ("DSP", &[("MULT18X18D", 2)]),
            ("BRAM", &[("DP16KD", 2)]),
        ],
        Flow::Ice40 => &[
            ("LUT", &[("ICESTORM_LC", 2)]),
            ("DSP", &[("ICESTORM_DSP", 2)]),
            ("BRAM", &[("ICESTORM_RAM", 2)]),
            ("SPRAM", &[("ICESTORM_SPRAM", 2)]),
        ],
        Flow::Gowin => &[
            ("LUT", &[("LUT4", 2), ("ALU", 2), ("RAM16SDP4", 8)]),
            ("FF", &[("DFF", 2)]),
            ("DSP", &[("MULT9X9", 1), ("MULT18X18", 2), ("MULT36X36", 8), ("MULTALU", 4), ("MULTADDALU", 4)]),
            ("BRAM", &[("BSRAM", 2)]),
        ],
        Flow::Vivado => &[],
    };
    // The accumulator of a Gowin DSP is not one of the adders that take look-up tables.
    let mut counted = utilization.clone();
    counted.remove("ALU54D");
    let mut usages = usages(rules, &counted, budget);
    if flow == Flow::Ice40 {
        // A flip-flop is a part of a logic cell, and nextpnr counts cells.
        let found = of_netlist(flow, cells, budget).into_iter().find(|usage| usage.resource == "FF");
        usages.splice(1..1, found);
    }
    usages
}

fn usages(rules: &[Rule], cells: &Cells, budget: &Budget) -> Vec<Usage> {
    let rows = rules.iter().map(|(resource, kinds)| {
        let halves: u64 = cells
            .iter()
            .map(|(kind, count)| {
                // The longest beginning that fits decides: MULT18X18 is not MULT.
                let rule = kinds.iter().filter(|(word, _)| kind.starts_with(word)).max_by_key(|(word, _)| word.len());
                rule.map_or(0, |(_, halves)| halves * count)
            })
            .sum();
        usage(resource, halves.div_ceil(2), budget)
    });
    rows.collect()
}

fn usage(resource: &str, used: u64, budget: &Budget) -> Usage {
    let budget = match resource {
        "LUT" => budget.lut,
        "FF" => budget.ff,
        "DSP" => budget.dsp,
        "BRAM" => budget.bram,
        _ => budget.spram,
    };
    let percent = if budget == 0 { 0.0 } else { 100.0 * used as f64 / budget as f64 };
    Usage { resource: resource.to_owned(), used, budget, percent: (percent * 10.0).round() / 10.0 }
}

/// Of what there is too little, the greatest lack first.
pub fn shortages(usages: &[Usage]) -> Vec<Shortage> {
    let mut over: Vec<&Usage> = usages.iter().filter(|usage| usage.used > usage.budget).collect();
    over.sort_by(|a, b| b.percent.total_cmp(&a.percent));
    let shortage =
        |usage: &Usage| Shortage { resource: usage.resource.clone(), needed: usage.used, available: usage.budget };
    over.into_iter().map(shortage).collect()
}

/// Cells by type, from the statistics that yosys writes.
///
/// # Errors
/// [`BoardError::Output`] where the text is none.
pub fn netlist_cells(text: &str) -> Result<Cells, BoardError> {
    let wrong = |what: &str| BoardError::output(crate::plan::CELLS, what);
    let json: Value = serde_json::from_str(text).map_err(|e| wrong(&e.to_string()))?;
    let cells = json["design"]["num_cells_by_type"].as_object().ok_or_else(|| wrong("there are no cells by type"))?;
    Ok(cells.iter().filter_map(|(kind, count)| Some((kind.clone(), count.as_u64()?))).collect())
}

/// Types with counts, from what nextpnr says of the part before it places: for designs that do not fit, which have no report.
pub fn log_cells(log: &str) -> Cells {
    let lines = log.lines().skip_while(|line| !line.contains("Device utilisation:")).skip(1);
    let rows = lines.map_while(|line| {
        let (kind, rest) = line.trim_start_matches("Info:").split_once(':')?;
        let (used, _) = rest.split_once('/')?;
        Some((kind.trim().to_owned(), used.trim().parse().ok()?))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { lut: 100, ff: 100, dsp: 4, bram: 4, spram: 4 };

    fn cells(list: &[(&str, u64)]) -> Cells {
        list.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
    }

    fn used(usages: &[Usage]) -> Vec<(&str, u64)> {
        usages.iter().map(|usage| (usage.resource.as_str(), usage.used)).collect()
    }

    #[test]
    fn cells_are_counted_in_units_of_the_data_sheet() {
        let ecp5 =
            cells(&[("LUT4", 10), ("CCU2C", 3), ("PFUMX", 2), ("TRELLIS_FF", 7), ("MULT18X18D", 1), ("$scopeinfo", 9)]);
        let found = of_netlist(Flow::Ecp5, &ecp5, &BUDGET);
        assert_eq!(used(&found), [("LUT", 16), ("FF", 7), ("DSP", 1), ("BRAM", 0)]);
        let gowin = cells(&[
            ("LUT4", 8),
            ("ALU", 2),
            ("MULT9X9", 3),
            ("MULT18X18", 1),
            ("SDPX9B", 1),
            ("SDPB", 1),
            ("ALU54D", 1),
        ]);
        let found = of_report(Flow::Gowin, &gowin, &gowin, &BUDGET);
        assert_eq!(used(&found), [("LUT", 10), ("FF", 0), ("DSP", 3), ("BRAM", 0)]);
        assert_eq!(used(&of_netlist(Flow::Gowin, &gowin, &BUDGET))[3], ("BRAM", 2));
        let xilinx = cells(&[("RAMB18E1", 3), ("RAMB36E1", 1), ("DSP48E2", 2), ("FDRE", 4), ("LUT6", 1), ("LUT2", 1)]);
        assert_eq!(used(&of_netlist(Flow::Vivado, &xilinx, &BUDGET)), [("LUT", 2), ("FF", 4), ("DSP", 2), ("BRAM", 3)]);
    }

    #[test]
    fn flip_flops_of_an_ice40_are_counted_in_the_netlist() {
        let netlist = cells(&[("SB_DFFE", 5), ("SB_DFFSR", 6), ("SB_LUT4", 9)]);
        let found = of_report(Flow::Ice40, &cells(&[("ICESTORM_LC", 14), ("ICESTORM_SPRAM", 4)]), &netlist, &BUDGET);
        assert_eq!(used(&found), [("LUT", 14), ("FF", 11), ("DSP", 0), ("BRAM", 0), ("SPRAM", 4)]);
    }

    #[test]
    fn what_is_short_is_named_with_the_greatest_lack_first() {
        let found = of_netlist(Flow::Ecp5, &cells(&[("LUT4", 150), ("MULT18X18D", 12), ("DP16KD", 4)]), &BUDGET);
        let short = shortages(&found);
        assert_eq!(
            short.iter().map(|s| (s.resource.as_str(), s.needed)).collect::<Vec<_>>(),
            [("DSP", 12), ("LUT", 150)]
        );
    }

    #[test]
    fn the_utilisation_in_a_log_is_read() {
        let log = "Info: x\nInfo: Device utilisation:\nInfo: \t ICESTORM_LC:  6100/  5280   115%\nInfo: \t SB_IO: 5/ 39 12%\n\nInfo: a: 1/2\n";
        assert_eq!(log_cells(log), cells(&[("ICESTORM_LC", 6100), ("SB_IO", 5)]));
        assert!(log_cells("nothing").is_empty());
    }
}
