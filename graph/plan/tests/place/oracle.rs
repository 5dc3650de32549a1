//! The meaning of an assignment, written a second time and as plainly as it can be, and every assignment of a small problem.

use tandem_plan::place::{Candidate, Objective, Request, Spec};

/// What an assignment costs.
pub struct Costs {
    pub latency: f64,
    pub period: f64,
    pub energy: f64,
    pub bytes: Vec<u64>,
}

impl Costs {
    pub fn value(&self, objective: Objective) -> f64 {
        match objective {
            Objective::Latency => self.latency,
            Objective::Period => self.period,
            Objective::Energy => self.energy,
        }
    }
}

/// For each value the last node that reads it, or makes it.
fn last_steps(spec: &Spec) -> Vec<usize> {
    let last = |v: usize| spec.nodes.iter().rposition(|node| node.reads.contains(&v)).or(spec.values[v].maker);
    (0..spec.values.len()).map(|v| last(v).unwrap_or(0)).collect()
}

/// Costs of an assignment of a description whose nodes stand in order; `None` where it does not run.
fn costs(spec: &Spec, last: &[usize], assignment: &[usize]) -> Option<Costs> {
    let machine = &spec.machine;
    let devices = machine.devices.len();
    let link = |a: usize, b: usize| machine.links.iter().find(|l| l.from == a && l.to == b);
    let mut arrival: Vec<Vec<Option<f64>>> = vec![vec![None; devices]; spec.values.len()];
    // The node in whose turn a value came to a device.
    let mut since: Vec<Vec<usize>> = vec![vec![0; devices]; spec.values.len()];
    for (v, value) in spec.values.iter().enumerate() {
        if value.maker.is_none() {
            arrival[v][machine.host] = Some(0.0);
        }
    }
    let home = |v: usize| spec.values[v].maker.map_or(machine.host, |m| assignment[m]);
    let mut device_busy = vec![0.0; devices];
    let mut device_free: Vec<f64> = vec![0.0; devices];
    let mut link_free: Vec<Vec<f64>> = vec![vec![0.0; devices]; devices];
    let mut link_busy = vec![vec![0.0; devices]; devices];
    let (mut end, mut joules): (f64, f64) = (0.0, 0.0);
    let mut held = vec![0; devices];
    for (n, node) in spec.nodes.iter().enumerate() {
        let here = assignment[n];
        let Candidate::Runs(cost) = &node.candidates[here] else { return None };
        let mut turns: Vec<(usize, usize)> = Vec::new();
        for &v in &node.reads {
            if !turns.contains(&(v, here)) {
                turns.push((v, here));
            }
        }
        let reads = turns.len();
        for (v, value) in spec.values.iter().enumerate() {
            if value.maker == Some(n) {
                turns.push((v, machine.host));
            }
        }
        for (k, &(v, to)) in turns.iter().enumerate() {
            if k == reads {
                break;
            }
            transfer(spec, &link, home(v), v, to, &mut arrival, &mut link_free, &mut link_busy, &mut joules, &mut end)
                .then(|| since[v][to] = n);
            arrival[v][to]?;
        }
        let ready = turns[..reads].iter().fold(0.0, |t: f64, &(v, _)| t.max(arrival[v][here].unwrap_or(0.0)));
        let enters = reads == 0 || turns[..reads].iter().any(|&(v, _)| home(v) != here);
        let launch = if enters { machine.devices[here].launch_seconds } else { 0.0 };
        let seconds = cost.seconds + launch;
        let done = ready.max(device_free[here]) + seconds;
        device_free[here] = done;
        device_busy[here] += seconds;
        joules += cost.joules + (machine.devices[here].busy_watts - machine.devices[here].idle_watts) * seconds;
        held[here] += cost.held_bytes;
        end = end.max(done);
        for &(v, to) in &turns[reads..] {
            arrival[v][here] = Some(done);
            since[v][here] = n;
            if spec.outputs.contains(&v) {
                transfer(spec, &link, here, v, to, &mut arrival, &mut link_free, &mut link_busy, &mut joules, &mut end)
                    .then(|| since[v][to] = n);
                arrival[v][to]?;
            }
        }
    }
    let idle: f64 = machine.devices.iter().map(|d| d.idle_watts).sum();
    let period = link_busy.iter().flatten().chain(&device_busy).fold(0.0, |m: f64, &b| m.max(b));
    let callers = |v: usize| spec.values[v].maker.is_none() || spec.outputs.contains(&v);
    held[machine.host] +=
        spec.values.iter().enumerate().filter(|(v, _)| callers(*v)).map(|(_, v)| v.bytes).sum::<u64>();
    let mut bytes = held.clone();
    for d in 0..devices {
        let at = |n: usize| {
            let Candidate::Runs(cost) = &spec.nodes[n].candidates[d] else { return 0 };
            let there = |v: &usize| {
                arrival[*v][d].is_some() && since[*v][d] <= n && n <= last[*v] && !(callers(*v) && d == machine.host)
            };
            cost.work_bytes + (0..spec.values.len()).filter(there).map(|v| spec.values[v].bytes).sum::<u64>()
        };
        bytes[d] += (0..spec.nodes.len()).filter(|&n| assignment[n] == d).map(at).max().unwrap_or(0);
    }
    Some(Costs { latency: end, period, energy: joules + idle * end, bytes })
}

/// Sends a value unless it is there; whether it did.
#[allow(clippy::too_many_arguments)]
fn transfer<'a>(
    spec: &Spec,
    link: &impl Fn(usize, usize) -> Option<&'a tandem_plan::place::Link>,
    from: usize,
    value: usize,
    to: usize,
    arrival: &mut [Vec<Option<f64>>],
    link_free: &mut [Vec<f64>],
    link_busy: &mut [Vec<f64>],
    joules: &mut f64,
    end: &mut f64,
) -> bool {
    if arrival[value][to].is_some() {
        return false;
    }
    let (Some(link), Some(made)) = (link(from, to), arrival[value][from]) else { return false };
    let bytes = spec.values[value].bytes as f64;
    let seconds = link.latency_seconds + bytes / link.bytes_per_second;
    let done = made.max(link_free[from][to]) + seconds;
    link_free[from][to] = done;
    link_busy[from][to] += seconds;
    *joules += link.joules_per_byte * bytes;
    *end = end.max(done);
    arrival[value][to] = Some(done);
    true
}

/// Costs of every assignment that runs, with the assignment.
pub fn every(spec: &Spec) -> Vec<(Vec<usize>, Costs)> {
    let devices = spec.machine.devices.len();
    let mut assignment = vec![0; spec.nodes.len()];
    let mut all = Vec::new();
    let last = last_steps(spec);
    let runs = |n: usize, d: usize| matches!(spec.nodes[n].candidates[d], Candidate::Runs(_));
    'next: loop {
        if (0..assignment.len()).all(|n| runs(n, assignment[n]))
            && let Some(costs) = costs(spec, &last, &assignment)
        {
            all.push((assignment.clone(), costs));
        }
        for (n, at) in assignment.iter_mut().enumerate() {
            loop {
                *at += 1;
                if *at == devices || runs(n, *at) {
                    break;
                }
            }
            if *at < devices {
                continue 'next;
            }
            *at = (0..devices).find(|&d| runs(n, d)).unwrap_or(0);
        }
        return all;
    }
}

/// Whether an assignment keeps a request.
pub fn keeps(spec: &Spec, request: &Request, assignment: &[usize], costs: &Costs) -> bool {
    let name = |d: usize| &spec.machine.devices[d].name;
    let pinned =
        assignment.iter().zip(&spec.nodes).all(|(&d, n)| request.pins.get(&n.name).is_none_or(|p| p == name(d)));
    let allowed = assignment.iter().all(|&d| !request.forbidden.contains(name(d)));
    let fits = costs.bytes.iter().enumerate().all(|(d, &b)| {
        b <= spec.machine.devices[d].memory_bytes && request.memory_bytes.get(name(d)).is_none_or(|&m| b <= m)
    });
    pinned && allowed && fits && request.latency_seconds.is_none_or(|l| costs.latency <= l)
}
