//! Where each expression is evaluated.
//!
//! An expression that only registers under one condition need is printed within that condition. The hardware is the same; a
//! simulator, which computes every `wire` in every cycle, then does nothing for a part of the design that stands still.

use crate::module::{Inner, Statement, StorageKind};

/// A place of evaluation: the module itself, a branch of a condition, or the write port of a memory.
pub(crate) type Region = usize;

/// Evaluated in every cycle.
pub(crate) const MODULE: Region = 0;

/// A statement with the regions of its branches.
pub(crate) enum Placed {
    Assign(u32, u32),
    If(u32, Branch, Branch),
}

/// One side of a condition.
pub(crate) struct Branch {
    pub region: Region,
    pub statements: Vec<Placed>,
}

/// The statements of a module in regions, and the region of every net.
pub(crate) struct Places {
    pub statements: Vec<Placed>,
    /// The write port's region, by memory.
    pub writes: Vec<Region>,
    /// By net; `None` where nothing needs it.
    pub region: Vec<Option<Region>>,
    /// By region: the one around it, and how deep it lies.
    parents: Vec<(Region, usize)>,
}

impl Places {
    pub fn new(inner: &Inner) -> Places {
        let mut places = Places {
            statements: Vec::new(),
            writes: Vec::new(),
            region: vec![None; inner.nodes.len()],
            parents: vec![(MODULE, 0)],
        };
        let is_variable = |id: u32| {
            let storage = inner.storage.iter().find(|storage| storage.id == id);
            storage.is_some_and(|storage| matches!(storage.kind, StorageKind::Variable(_)))
        };
        let merged = merge(&inner.statements[0]);
        places.statements = places.place(merged, MODULE, &is_variable);
        for memory in &inner.memories {
            let region = places.child(MODULE);
            places.writes.push(region);
            if let Some((enable, address, data)) = memory.write {
                places.need(enable, MODULE);
                places.need(data, region);
                // Simulation compares the address with those of the reads.
                places.need(address, if memory.reads.iter().any(|(_, e, _)| e.is_some()) { MODULE } else { region });
            }
            for net in memory.reads.iter().flat_map(|(_, enable, address)| enable.iter().chain([address])) {
                places.need(*net, MODULE);
            }
        }
        for storage in &inner.storage {
            if let StorageKind::Variable(default) = storage.kind {
                places.need(default, MODULE);
            }
        }
        // What is kept is a wire of the module.
        (0..inner.nodes.len() as u32)
            .filter(|&id| inner.nodes[id as usize].kept)
            .for_each(|id| places.need(id, MODULE));
        let outputs = inner.outputs.iter().map(|(_, net)| *net);
        let pins = inner.instances.iter().flat_map(|instance| instance.pins.iter().map(|(_, net)| *net));
        let properties = inner.properties.iter().map(|property| property.net);
        outputs.chain(pins).chain(properties).for_each(|net| places.need(net, MODULE));
        // An operand is older than what uses it.
        for id in (0..inner.nodes.len()).rev() {
            if let Some(region) = places.region[id] {
                inner.nodes[id].node.operands().into_iter().for_each(|operand| places.need(operand, region));
            }
        }
        places
    }

    /// Notes that a region needs a net: it moves outwards as far as all that need it.
    fn need(&mut self, net: u32, region: Region) {
        let joined = self.region[net as usize].map_or(region, |old| self.common(old, region));
        self.region[net as usize] = Some(joined);
    }

    fn common(&self, mut a: Region, mut b: Region) -> Region {
        while a != b {
            if self.parents[a].1 >= self.parents[b].1 {
                a = self.parents[a].0;
            } else {
                b = self.parents[b].0;
            }
        }
        a
    }

    fn child(&mut self, parent: Region) -> Region {
        self.parents.push((parent, self.parents[parent].1 + 1));
        self.parents.len() - 1
    }

    fn place(&mut self, block: Vec<Merged>, region: Region, is_variable: &dyn Fn(u32) -> bool) -> Vec<Placed> {
        let mut placed = Vec::new();
        for statement in block {
            match statement {
                Merged::Assign(target, value) => {
                    self.need(value, if is_variable(target) { MODULE } else { region });
                    placed.push(Placed::Assign(target, value));
                }
                Merged::If(condition, yes, no) => {
                    let targets = targets(&yes).into_iter().chain(targets(&no));
                    let for_variable = targets.fold(false, |any, target| any | is_variable(target));
                    self.need(condition, if for_variable { MODULE } else { region });
                    let [yes, no] = [yes, no].map(|block| {
                        let region = self.child(region);
                        Branch { region, statements: self.place(block, region, is_variable) }
                    });
                    placed.push(Placed::If(condition, yes, no));
                }
            }
        }
        placed
    }
}

/// Statements in which conditions that say the same have become one.
enum Merged {
    Assign(u32, u32),
    If(u32, Vec<Merged>, Vec<Merged>),
}

fn merge(block: &[Statement]) -> Vec<Merged> {
    fn copy(block: &[Statement]) -> Vec<Merged> {
        let statements = block.iter().map(|statement| match statement {
            Statement::Assign(target, value) => Merged::Assign(*target, *value),
            Statement::If(condition, yes, no) => Merged::If(*condition, copy(yes), copy(no)),
        });
        statements.collect()
    }
    join(copy(block))
}

fn join(block: Vec<Merged>) -> Vec<Merged> {
    let mut joined: Vec<Merged> = Vec::new();
    for statement in block {
        let Merged::If(condition, yes, no) = statement else {
            joined.push(statement);
            continue;
        };
        let mine: Vec<u32> = targets(&yes).into_iter().chain(targets(&no)).collect();
        // The last assignment of a target wins, so nothing in between may assign what is moved.
        let mut earlier = None;
        for (at, other) in joined.iter_mut().enumerate().rev() {
            match other {
                Merged::If(same, ..) if *same == condition => {
                    earlier = Some(at);
                    break;
                }
                Merged::Assign(target, _) if mine.contains(target) => break,
                Merged::If(_, a, b) if targets(a).iter().chain(&targets(b)).any(|target| mine.contains(target)) => {
                    break;
                }
                _ => {}
            }
        }
        match earlier.and_then(|at| joined.get_mut(at)) {
            Some(Merged::If(_, old_yes, old_no)) => {
                old_yes.extend(yes);
                old_no.extend(no);
            }
            _ => joined.push(Merged::If(condition, yes, no)),
        }
    }
    let inner = joined.into_iter().map(|statement| match statement {
        Merged::If(condition, yes, no) => Merged::If(condition, join(yes), join(no)),
        assign => assign,
    });
    inner.collect()
}

fn targets(block: &[Merged]) -> Vec<u32> {
    let mut found = Vec::new();
    for statement in block {
        match statement {
            Merged::Assign(target, _) => found.push(*target),
            Merged::If(_, yes, no) => {
                found.extend(targets(yes));
                found.extend(targets(no));
            }
        }
    }
    found
}
