//! The same questions as integer programs, for an independent solver.

use good_lp::{Expression, Solution, SolverModel, Variable, constraint, microlp, variable, variables};
use tandem_plan::place::{Candidate, Spec};

/// Smallest energy of devices that take nothing when idle, or smallest period, of a description without bounds of memory.
pub fn best(spec: &Spec, period: bool) -> Option<f64> {
    let machine = &spec.machine;
    let devices = machine.devices.len();
    let mut vars = variables!();
    // Whether a node is on a device; whether it enters it; whether a value goes from one device to another.
    let on: Vec<Vec<Variable>> =
        spec.nodes.iter().map(|_| (0..devices).map(|_| vars.add(variable().binary())).collect()).collect();
    let enters: Vec<Vec<Variable>> =
        spec.nodes.iter().map(|_| (0..devices).map(|_| vars.add(variable().min(0).max(1))).collect()).collect();
    let sent: Vec<Vec<Vec<Variable>>> = (0..spec.values.len())
        .map(|_| (0..devices).map(|_| (0..devices).map(|_| vars.add(variable().min(0).max(1))).collect()).collect())
        .collect();
    let longest = vars.add(variable().min(0));
    let mut rules = Vec::new();
    let at = |value: usize, device: usize| -> Expression {
        match spec.values[value].maker {
            Some(maker) => on[maker][device].into(),
            None => Expression::from(if device == machine.host { 1.0 } else { 0.0 }),
        }
    };
    let mut busy: Vec<Expression> = (0..devices).map(|_| Expression::from(0.0)).collect();
    let mut joules = Expression::from(0.0);
    for (n, node) in spec.nodes.iter().enumerate() {
        rules.push(constraint!(on[n].iter().sum::<Expression>() == 1));
        for d in 0..devices {
            let device = &machine.devices[d];
            let Candidate::Runs(cost) = &node.candidates[d] else {
                rules.push(constraint!(on[n][d] == 0));
                continue;
            };
            if node.reads.is_empty() {
                rules.push(constraint!(enters[n][d] >= on[n][d]));
            }
            for &v in &node.reads {
                rules.push(constraint!(enters[n][d] >= on[n][d] - at(v, d)));
                for from in (0..devices).filter(|&from| from != d) {
                    rules.push(constraint!(sent[v][from][d] >= on[n][d] + at(v, from) - 1));
                }
            }
            busy[d] += cost.seconds * on[n][d] + device.launch_seconds * enters[n][d];
            joules += (device.busy_watts * cost.seconds + cost.joules) * on[n][d];
            joules += device.busy_watts * device.launch_seconds * enters[n][d];
        }
    }
    for &v in spec.outputs.iter().filter(|&&v| spec.values[v].maker.is_some()) {
        for from in (0..devices).filter(|&from| from != machine.host) {
            rules.push(constraint!(sent[v][from][machine.host] >= at(v, from)));
        }
    }
    let pairs = (0..devices * devices).map(|i| (i / devices, i % devices)).filter(|(from, to)| from != to);
    for (from, to) in pairs {
        let link = machine.links.iter().find(|l| l.from == from && l.to == to);
        let mut time = Expression::from(0.0);
        for (value, sent) in spec.values.iter().zip(&sent) {
            match link {
                None => rules.push(constraint!(sent[from][to] == 0)),
                Some(link) => {
                    let bytes = value.bytes as f64;
                    time += (link.latency_seconds + bytes / link.bytes_per_second) * sent[from][to];
                    joules += link.joules_per_byte * bytes * sent[from][to];
                }
            }
        }
        busy.push(time);
    }
    // In thousandths, so that numbers are near one.
    rules.extend(busy.into_iter().map(|b| constraint!(longest >= 1e3 * b)));
    let objective = if period { Expression::from(longest) } else { 1e3 * joules };
    let mut model = vars.minimise(objective.clone()).using(microlp);
    for rule in rules {
        model = model.with(rule);
    }
    model.solve().ok().map(|solution| solution.eval(&objective) / 1e3)
}
