//! From a module to Verilog text.
//!
//! A value that is used once is printed where it is used; one that is used more often, sliced or named gets a `wire`. Products
//! and arithmetic shifts always get one, because their signs would leak into the expression around them.

use std::fmt::Write;

use crate::memory::{MemoryStyle, MemoryText};
use crate::module::{Foreign, Inner, Instance, Module, Statement, StorageKind};
use crate::net::{Binary, Node, Reduce};
use crate::place::{Branch, MODULE, Placed, Places, Region};

/// The whole module.
pub(crate) fn module(module: &Module) -> String {
    let mut ports: Vec<String> = Vec::new();
    if module.is_clocked() {
        ports.extend(["input wire clock".to_owned(), "input wire reset".to_owned()]);
    }
    for port in module.ports() {
        let direction = if port.input { "input" } else { "output" };
        ports.push(format!("{direction} wire {}{}", range(port.width), port.name));
    }
    format!("module {} (\n    {}\n);\n{}endmodule\n", module.name(), ports.join(",\n    "), body(module))
}

/// Everything between the header and `endmodule`.
pub(crate) fn body(module: &Module) -> String {
    let inner = module.inner.borrow();
    Printer::new(&inner, module.is_clocked()).print()
}

/// The name of a net, given or made.
pub(crate) fn name(inner: &Inner, id: u32) -> String {
    inner.nodes[id as usize].name.clone().unwrap_or_else(|| format!("n{id}"))
}

/// An `always` block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Process {
    /// The combinational one of a variable.
    Variable(u32),
    /// The clocked one of all registers.
    Registers,
}

struct Printer<'i> {
    inner: &'i Inner,
    clocked: bool,
    /// Places where a net's text would stand.
    uses: Vec<u32>,
    /// Nets with a `wire` of their own, or a local `reg` within a condition.
    wired: Vec<bool>,
    places: Places,
    out: String,
}

impl<'i> Printer<'i> {
    fn new(inner: &'i Inner, clocked: bool) -> Printer<'i> {
        let count = inner.nodes.len();
        let places = Places::new(inner);
        let (uses, wired) = (vec![0; count], vec![false; count]);
        let mut printer = Printer { inner, clocked, uses, wired, places, out: String::new() };
        printer.count_uses();
        for (id, info) in inner.nodes.iter().enumerate() {
            let cheap = matches!(info.node, Node::Const(_) | Node::Slice(..));
            printer.wired[id] = printer.uses[id] > 0
                && match info.node {
                    Node::Declared => false,
                    Node::Binary(Binary::MulSigned | Binary::ShrSigned, ..) => true,
                    _ => printer.wired[id] || info.name.is_some() || (printer.uses[id] > 1 && !cheap),
                };
        }
        printer
    }

    /// Counts from what has an effect, so that what nothing needs is not printed.
    fn count_uses(&mut self) {
        let inner = self.inner;
        let mut roots: Vec<u32> = inner.outputs.iter().map(|(_, net)| *net).collect();
        for storage in &inner.storage {
            if let StorageKind::Variable(default) = storage.kind {
                roots.push(default);
            }
        }
        inner.statements.iter().for_each(|block| statement_nets(block, &mut roots));
        for memory in &inner.memories {
            // A memory's text names these several times.
            for net in memory.write.iter().flat_map(|(enable, address, data)| [*enable, *address, *data]) {
                self.wired[net as usize] = true;
                roots.push(net);
            }
            roots.extend(memory.reads.iter().flat_map(|(_, enable, address)| enable.iter().chain([address]).copied()));
        }
        inner.instances.iter().for_each(|instance| roots.extend(instance.pins.iter().map(|(_, net)| *net)));
        roots.extend(inner.properties.iter().map(|property| property.net));
        while let Some(id) = roots.pop() {
            self.uses[id as usize] += 1;
            if self.uses[id as usize] > 1 {
                continue;
            }
            let node = &inner.nodes[id as usize].node;
            if let Node::Slice(a, _) | Node::SignExtend(a) | Node::Pick(a, _) = node {
                self.wired[*a as usize] = true;
            }
            roots.extend(node.operands());
        }
    }

    fn print(mut self) -> String {
        let inner = self.inner;
        for comment in &inner.comments {
            self.line(1, &format!("// {comment}"));
        }
        for storage in &inner.storage {
            let (width, name) = (self.width(storage.id), self.name(storage.id));
            self.line(1, &format!("reg {}{name};", range(width)));
            // An initial value in the declaration draws a warning of Verilator; one in an `initial` block does not.
            if let StorageKind::Register(init) = storage.kind {
                self.line(1, &format!("initial {name} = {width}'h{init:x};"));
            }
        }
        inner.memories.iter().for_each(|memory| self.declare_memory(memory));
        for instance in &inner.instances {
            for (_, net) in &instance.outputs {
                self.line(1, &format!("wire {}{};", range(self.width(*net)), self.name(*net)));
            }
        }
        for id in 0..inner.nodes.len() as u32 {
            if self.wired[id as usize] && self.places.region[id as usize] == Some(MODULE) {
                let keep = if inner.nodes[id as usize].kept { "(* keep *) " } else { "" };
                let (width, name) = (range(self.width(id)), self.name(id));
                let text = format!("{keep}wire {width}{name} = {};", bare(self.expression(id)));
                self.line(1, &text);
            }
        }
        inner.instances.iter().for_each(|instance| self.instance(instance));
        for storage in &inner.storage {
            if let StorageKind::Variable(default) = storage.kind {
                self.variable(storage.id, default);
            }
        }
        self.registers();
        inner.memories.iter().enumerate().for_each(|(index, memory)| self.memory(index, memory));
        self.properties();
        let resets = inner.storage.iter().any(|storage| matches!(storage.kind, StorageKind::Register(_)));
        let passes = |instance: &Instance| instance.clocked && instance.foreign.is_none();
        let passed_on = inner.instances.iter().any(passes) || !inner.memories.is_empty();
        if self.clocked && !resets && !passed_on && inner.properties.is_empty() {
            // Every clocked module has a reset; this name tells linters that it is not used on purpose.
            self.line(1, "wire unused_reset = reset;");
        }
        for (port, net) in &inner.outputs {
            self.line(1, &format!("assign {port} = {};", bare(self.text(*net))));
        }
        self.out
    }

    fn variable(&mut self, id: u32, default: u32) {
        self.line(1, "always @* begin");
        self.line(2, &format!("{} = {};", self.name(id), bare(self.text(default))));
        let text = self.statements(&self.places.statements, 2, Process::Variable(id));
        self.out.push_str(&text);
        self.line(1, "end");
    }

    fn registers(&mut self) {
        let inner = self.inner;
        if inner.storage.iter().all(|storage| matches!(storage.kind, StorageKind::Variable(_))) {
            return;
        }
        self.line(1, "always @(posedge clock) begin");
        let text = self.statements(&self.places.statements, 2, Process::Registers);
        self.out.push_str(&text);
        let resets: Vec<String> = inner
            .storage
            .iter()
            .filter_map(|storage| match storage.kind {
                StorageKind::Register(init) => {
                    Some(format!("{} <= {}'h{init:x};", self.name(storage.id), self.width(storage.id)))
                }
                _ => None,
            })
            .collect();
        if !resets.is_empty() {
            self.line(2, "if (reset) begin");
            resets.iter().for_each(|reset| self.line(3, reset));
            self.line(2, "end");
        }
        self.line(1, "end");
    }

    fn statements(&self, block: &[Placed], depth: usize, process: Process) -> String {
        let indent = "    ".repeat(depth);
        let mut out = String::new();
        for statement in block {
            match statement {
                Placed::Assign(target, value) => {
                    if let Some(operator) = self.operator(process, *target) {
                        let _ = writeln!(out, "{indent}{} {operator} {};", self.name(*target), bare(self.text(*value)));
                    }
                }
                Placed::If(condition, yes, no) => {
                    let [yes, no] = [yes, no].map(|branch| self.branch(branch, depth + 1, process));
                    let condition = bare(self.text(*condition));
                    let _ = match (&yes, &no) {
                        (None, None) => Ok(()),
                        (Some(yes), None) => writeln!(out, "{indent}if ({condition}) {yes}{indent}end"),
                        (None, Some(no)) => writeln!(out, "{indent}if (!({condition})) {no}{indent}end"),
                        (Some(yes), Some(no)) => {
                            writeln!(out, "{indent}if ({condition}) {yes}{indent}end else {no}{indent}end")
                        }
                    };
                }
            }
        }
        out
    }

    /// A branch from `begin` up to its `end`; `None` where nothing happens in it.
    fn branch(&self, branch: &Branch, depth: usize, process: Process) -> Option<String> {
        let statements = self.statements(&branch.statements, depth, process);
        if statements.is_empty() {
            return None;
        }
        // Expressions within conditions belong to registers; variables are computed in every cycle.
        let locals = if process == Process::Registers { self.locals(branch.region, depth) } else { None };
        Some(match locals {
            Some(locals) => format!("begin : when_{}\n{locals}{statements}", branch.region),
            None => format!("begin\n{statements}"),
        })
    }

    /// How a process assigns a target, where it does.
    fn operator(&self, process: Process, target: u32) -> Option<&'static str> {
        match process {
            Process::Variable(id) => (target == id).then_some("="),
            Process::Registers => {
                let storage = self.inner.storage.iter().find(|storage| storage.id == target)?;
                (!matches!(storage.kind, StorageKind::Variable(_))).then_some("<=")
            }
        }
    }

    /// Declarations and values of the expressions that are evaluated in a region.
    fn locals(&self, region: Region, depth: usize) -> Option<String> {
        let indent = "    ".repeat(depth);
        let (mut declarations, mut values) = (String::new(), String::new());
        for id in 0..self.inner.nodes.len() as u32 {
            if self.wired[id as usize] && self.places.region[id as usize] == Some(region) {
                let (width, name) = (self.width(id), self.name(id));
                let _ = writeln!(declarations, "{indent}reg {}{name};", range(width));
                let _ = writeln!(values, "{indent}{name} = {};", bare(self.expression(id)));
            }
        }
        (!declarations.is_empty()).then_some(declarations + &values)
    }

    fn declare_memory(&mut self, memory: &MemoryText) {
        let style = match memory.style {
            MemoryStyle::Block => "(* no_rw_check, ram_style = \"block\" *) ",
            MemoryStyle::Distributed => "(* ram_style = \"distributed\" *) ",
            MemoryStyle::Registers => "(* ram_style = \"registers\" *) ",
        };
        self.line(1, &format!("{style}reg {}{} [0:{}];", range(memory.width), memory.name, memory.depth - 1));
        for (out, enable, _) in &memory.reads {
            let kind = if enable.is_some() { "reg" } else { "wire" };
            self.line(1, &format!("{kind} {}{};", range(memory.width), self.name(*out)));
        }
    }

    fn memory(&mut self, index: usize, memory: &MemoryText) {
        for (out, enable, address) in &memory.reads {
            if enable.is_none() {
                let text = format!("assign {} = {}[{}];", self.name(*out), memory.name, bare(self.text(*address)));
                self.line(1, &text);
            }
        }
        let Some((enable, address, data)) = memory.write else { panic!("nothing writes memory {}", memory.name) };
        self.line(1, "always @(posedge clock) begin");
        for (out, read_enable, read_address) in &memory.reads {
            if let Some(read_enable) = read_enable {
                let text = format!(
                    "if ({}) {} <= {}[{}];",
                    bare(self.text(*read_enable)),
                    self.name(*out),
                    memory.name,
                    bare(self.text(*read_address))
                );
                self.line(2, &text);
            }
        }
        let lanes = self.width(enable);
        let lane = memory.width / lanes;
        let region = self.places.writes[index];
        let locals = self.locals(region, 3);
        let any = if lanes == 1 { bare(self.text(enable)) } else { format!("|{}", self.name(enable)) };
        match &locals {
            Some(locals) => {
                self.line(2, &format!("if ({any}) begin : write_{region}"));
                self.out.push_str(locals);
            }
            None if lanes == 1 => self.line(2, &format!("if ({any}) begin")),
            None => {}
        }
        let depth = if locals.is_some() || lanes == 1 { 3 } else { 2 };
        for at in 0..lanes {
            let text = if lanes == 1 {
                format!("{}[{}] <= {};", memory.name, self.text(address), self.text(data))
            } else {
                let bits = format!("{}:{}", (at + 1) * lane - 1, at * lane);
                format!(
                    "if ({}[{at}]) {}[{}][{bits}] <= {}[{bits}];",
                    self.name(enable),
                    memory.name,
                    self.text(address),
                    self.name(data)
                )
            };
            self.line(depth, &text);
        }
        if depth == 3 {
            self.line(2, "end");
        }
        self.line(1, "end");
        let collisions: Vec<String> = memory
            .reads
            .iter()
            .filter_map(|(_, read_enable, read_address)| {
                let read_enable = self.text((*read_enable)?);
                Some(format!("({read_enable} && {} == {})", self.text(*read_address), self.text(address)))
            })
            .collect();
        if !collisions.is_empty() {
            self.line(0, "`ifdef VERILATOR");
            let any = if lanes == 1 { self.text(enable) } else { format!("(|{})", self.name(enable)) };
            let condition = format!("{any} && ({})", collisions.join(" || "));
            self.line(1, &format!("always @(posedge clock) if (!reset && {condition})"));
            self.line(2, &format!("$stop; // a word of {} is read and written in the same cycle", memory.name));
            self.line(0, "`endif");
        }
    }

    fn instance(&mut self, instance: &Instance) {
        let mut pins: Vec<String> = Vec::new();
        let mut parameters = String::new();
        match &instance.foreign {
            None if instance.clocked => pins.extend([".clock(clock)".to_owned(), ".reset(reset)".to_owned()]),
            None => {}
            Some(Foreign { parameters: values, clock }) => {
                pins.extend(clock.iter().map(|pin| format!(".{pin}(clock)")));
                let values: Vec<String> = values.iter().map(|(name, value)| format!(".{name}({value})")).collect();
                if !values.is_empty() {
                    parameters = format!(" #({})", values.join(", "));
                }
            }
        }
        pins.extend(instance.pins.iter().map(|(port, net)| format!(".{port}({})", bare(self.text(*net)))));
        pins.extend(instance.outputs.iter().map(|(port, net)| format!(".{port}({})", self.name(*net))));
        pins.extend(instance.open.iter().map(|port| format!(".{port}()")));
        let text = format!(
            "{}{parameters} {} (\n        {}\n    );",
            instance.module,
            instance.name,
            pins.join(",\n        ")
        );
        self.line(1, &text);
    }

    fn properties(&mut self) {
        let inner = self.inner;
        if inner.properties.is_empty() {
            return;
        }
        self.line(0, "`ifdef FORMAL");
        self.line(1, "reg formal_started = 1'h0;");
        self.line(1, "always @(posedge clock) formal_started <= 1'h1;");
        self.line(1, "always @* if (!formal_started) assume (reset);");
        for property in &inner.properties {
            let verb = if property.assumed { "assume" } else { "assert" };
            let text = self.text(property.net);
            self.line(
                1,
                &format!("always @* if (formal_started && !reset) {}: {verb} ({});", property.name, bare(text)),
            );
        }
        self.line(0, "`endif");
    }

    fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.out, "{}{text}", "    ".repeat(depth));
    }

    fn name(&self, id: u32) -> String {
        name(self.inner, id)
    }

    fn width(&self, id: u32) -> u32 {
        self.inner.nodes[id as usize].width
    }

    /// What stands where a net is used.
    fn text(&self, id: u32) -> String {
        match self.inner.nodes[id as usize].node {
            Node::Declared => self.name(id),
            _ if self.wired[id as usize] => self.name(id),
            _ => self.expression(id),
        }
    }

    fn expression(&self, id: u32) -> String {
        let info = &self.inner.nodes[id as usize];
        match &info.node {
            Node::Declared => self.name(id),
            Node::Const(value) => format!("{}'h{value:x}", info.width),
            Node::Not(a) => format!("(~{})", self.text(*a)),
            Node::Reduce(reduce, a) => {
                let sign = match reduce {
                    Reduce::Or => '|',
                    Reduce::And => '&',
                    Reduce::Xor => '^',
                };
                format!("({sign}{})", self.text(*a))
            }
            Node::Binary(op, a, b) => {
                let (a, b) = (self.text(*a), self.text(*b));
                match op {
                    Binary::Add => format!("({a} + {b})"),
                    Binary::Sub => format!("({a} - {b})"),
                    Binary::And => format!("({a} & {b})"),
                    Binary::Or => format!("({a} | {b})"),
                    Binary::Xor => format!("({a} ^ {b})"),
                    Binary::Eq => format!("({a} == {b})"),
                    Binary::Ne => format!("({a} != {b})"),
                    Binary::Lt => format!("({a} < {b})"),
                    Binary::Le => format!("({a} <= {b})"),
                    Binary::LtSigned => format!("($signed({a}) < $signed({b}))"),
                    Binary::LeSigned => format!("($signed({a}) <= $signed({b}))"),
                    Binary::MulSigned => format!("$signed({a}) * $signed({b})"),
                    Binary::Shl => format!("({a} << {b})"),
                    Binary::Shr => format!("({a} >> {b})"),
                    Binary::ShrSigned => format!("$signed({a}) >>> {b}"),
                }
            }
            Node::Mux(condition, yes, no) => {
                format!("({} ? {} : {})", self.text(*condition), self.text(*yes), self.text(*no))
            }
            Node::Slice(a, lo) => self.slice(*a, *lo, info.width),
            Node::Pick(a, index) => {
                let zeros = info.width.trailing_zeros();
                let index = self.text(*index);
                let first = if zeros == 0 { index } else { format!("{{{index}, {zeros}'h0}}") };
                if info.width == 1 {
                    format!("{}[{first}]", self.name(*a))
                } else {
                    format!("{}[{first}+:{}]", self.name(*a), info.width)
                }
            }
            Node::Cat(parts) => {
                let parts: Vec<String> = parts.iter().map(|part| bare(self.text(*part))).collect();
                format!("{{{}}}", parts.join(", "))
            }
            Node::Repeat(a, count) => format!("{{{count}{{{}}}}}", bare(self.text(*a))),
            Node::SignExtend(a) => {
                let width = self.width(*a);
                let sign = self.slice(*a, width - 1, 1);
                format!("{{{{{}{{{sign}}}}}, {}}}", info.width - width, self.name(*a))
            }
        }
    }

    fn slice(&self, a: u32, lo: u32, width: u32) -> String {
        match (self.width(a), width) {
            (1, _) => self.name(a),
            (_, 1) => format!("{}[{lo}]", self.name(a)),
            _ => format!("{}[{}:{lo}]", self.name(a), lo + width - 1),
        }
    }
}

fn statement_nets(block: &[Statement], nets: &mut Vec<u32>) {
    for statement in block {
        match statement {
            Statement::Assign(_, value) => nets.push(*value),
            Statement::If(condition, yes, no) => {
                nets.push(*condition);
                statement_nets(yes, nets);
                statement_nets(no, nets);
            }
        }
    }
}

fn range(width: u32) -> String {
    if width == 1 { String::new() } else { format!("[{}:0] ", width - 1) }
}

/// The text without the pair of parentheses around all of it.
fn bare(text: String) -> String {
    let Some(within) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else { return text };
    let mut depth = 0i32;
    for c in within.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return text;
        }
    }
    within.to_owned()
}
