//! Modules under construction: ports, registers, conditions, instances.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::keyword::is_keyword;
use crate::memory::MemoryText;
use crate::net::{Net, Node};
use crate::print;

/// A hardware module, built by calls and printed as Verilog.
pub struct Module {
    pub(crate) inner: RefCell<Inner>,
    name: String,
}

/// A port of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its bits.
    pub width: u32,
    /// Whether it is an input.
    pub input: bool,
}

/// The outputs of an instance, by port name.
pub struct Outputs<'m> {
    instance: String,
    nets: BTreeMap<String, Net<'m>>,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub nodes: Vec<NodeInfo>,
    /// What is no declaration, by what it is and its width.
    pub expressions: HashMap<(Node, u32), u32>,
    pub names: BTreeSet<String>,
    pub ports: Vec<Port>,
    /// Output port and the net that drives it.
    pub outputs: Vec<(String, u32)>,
    pub storage: Vec<Storage>,
    pub statements: Vec<Vec<Statement>>,
    pub memories: Vec<MemoryText>,
    pub instances: Vec<Instance>,
    pub children: BTreeMap<String, String>,
    pub properties: Vec<Property>,
    pub comments: Vec<String>,
}

pub(crate) struct NodeInfo {
    pub node: Node,
    pub width: u32,
    pub name: Option<String>,
    /// Synthesis keeps it as a net of its own.
    pub kept: bool,
}

/// Something that statements assign.
pub(crate) struct Storage {
    pub id: u32,
    pub kind: StorageKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StorageKind {
    /// A register with its value after reset.
    Register(u128),
    /// A register that reset leaves alone.
    Data,
    /// A combinational variable with its default.
    Variable(u32),
}

pub(crate) enum Statement {
    Assign(u32, u32),
    If(u32, Vec<Statement>, Vec<Statement>),
}

pub(crate) struct Instance {
    pub name: String,
    pub module: String,
    /// Of a cell that is described elsewhere; it has no reset.
    pub foreign: Option<Foreign>,
    pub clocked: bool,
    pub pins: Vec<(String, u32)>,
    pub outputs: Vec<(String, u32)>,
    /// Outputs that nothing reads.
    pub open: Vec<String>,
}

/// What a cell of an FPGA has that a module has not.
pub(crate) struct Foreign {
    pub parameters: Vec<(String, String)>,
    /// The pin of its clock.
    pub clock: Option<String>,
}

pub(crate) struct Property {
    pub name: String,
    pub assumed: bool,
    pub net: u32,
}

impl Module {
    /// An empty module.
    #[track_caller]
    pub fn new(name: impl Into<String>) -> Module {
        let (inner, name) = (Inner { statements: vec![Vec::new()], ..Inner::default() }, name.into());
        assert!(is_name(&name), "`{name}` is no name in Verilog");
        Module { inner: RefCell::new(inner), name }
    }

    /// The module's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A line of comment at the top of the printed body.
    pub fn comment(&self, text: &str) {
        self.inner.borrow_mut().comments.push(text.to_owned());
    }

    /// An input port.
    #[track_caller]
    pub fn input(&self, name: impl Into<String>, width: u32) -> Net<'_> {
        let name = name.into();
        let net = self.declare(&name, width);
        self.inner.borrow_mut().ports.push(Port { name, width, input: true });
        net
    }

    /// An output port and what drives it.
    #[track_caller]
    pub fn output(&self, name: impl Into<String>, net: Net<'_>) {
        let name = name.into();
        let already = self.node_name(self.own(net)) == name;
        assert!(!already, "{}: output {name} has the name of what drives it", self.name);
        self.claim(&name);
        let mut inner = self.inner.borrow_mut();
        inner.ports.push(Port { name: name.clone(), width: net.width(), input: false });
        inner.outputs.push((name, net.id));
    }

    /// A number.
    #[track_caller]
    pub fn lit(&self, value: u128, width: u32) -> Net<'_> {
        assert!(width >= 128 || value >> width == 0, "{}: {value} does not fit in {width} bits", self.name);
        self.node(Node::Const(value), width)
    }

    /// A register that reset sets to `init`.
    #[track_caller]
    pub fn reg(&self, name: impl Into<String>, width: u32, init: u128) -> Net<'_> {
        assert!(width >= 128 || init >> width == 0, "{}: {init} does not fit in {width} bits", self.name);
        self.store(&name.into(), width, StorageKind::Register(init))
    }

    /// A register of a data path, which reset leaves alone: something else says whether it holds anything.
    #[track_caller]
    pub fn data_reg(&self, name: impl Into<String>, width: u32) -> Net<'_> {
        self.store(&name.into(), width, StorageKind::Data)
    }

    /// A combinational variable: it has the default where no condition assigns it.
    #[track_caller]
    pub fn var<'m>(&'m self, name: impl Into<String>, default: Net<'m>) -> Net<'m> {
        self.store(&name.into(), default.width(), StorageKind::Variable(self.own(default)))
    }

    /// A register that follows a net one cycle later.
    #[track_caller]
    pub fn delay<'m>(&'m self, name: impl Into<String>, net: Net<'m>) -> Net<'m> {
        let reg = self.reg(name, net.width(), 0);
        reg.set(net);
        reg
    }

    /// Values side by side, the first one least significant.
    #[track_caller]
    pub fn cat<'m>(&'m self, least_first: &[Net<'m>]) -> Net<'m> {
        assert!(!least_first.is_empty(), "{}: nothing to concatenate", self.name);
        let parts = least_first.iter().rev().map(|net| self.own(*net)).collect();
        if let [only] = least_first {
            return *only;
        }
        let width = least_first.iter().map(|net| net.width()).sum();
        self.node(Node::Cat(parts), width)
    }

    /// The one of equally wide values that a number names; beyond the last, the last.
    #[track_caller]
    pub fn choose<'m>(&'m self, index: Net<'m>, values: &[Net<'m>]) -> Net<'m> {
        assert!(!values.is_empty(), "{}: nothing to choose from", self.name);
        let last = values.len() - 1;
        let start = values[last];
        values[..last].iter().enumerate().rev().fold(start, |rest, (at, value)| index.is(at as u128).mux(*value, rest))
    }

    /// Whether any of these bits is set.
    pub fn any_of<'m>(&'m self, bits: &[Net<'m>]) -> Net<'m> {
        bits.iter().copied().reduce(|a, b| a | b).unwrap_or_else(|| self.lit(0, 1))
    }

    /// Whether all of these bits are set.
    pub fn all_of<'m>(&'m self, bits: &[Net<'m>]) -> Net<'m> {
        bits.iter().copied().reduce(|a, b| a & b).unwrap_or_else(|| self.lit(1, 1))
    }

    /// What `body` assigns happens only where `condition` holds.
    #[track_caller]
    pub fn when(&self, condition: Net<'_>, body: impl FnOnce()) {
        self.when_else(condition, body, || {});
    }

    /// As [`Module::when`], with what happens elsewhere.
    #[track_caller]
    pub fn when_else(&self, condition: Net<'_>, body: impl FnOnce(), otherwise: impl FnOnce()) {
        assert!(condition.width() == 1, "{}: a condition of {} bits", self.name, condition.width());
        let condition = self.own(condition);
        let (yes, no) = (self.block(body), self.block(otherwise));
        self.push(Statement::If(condition, yes, no));
    }

    /// An instance of another module; every input of it needs a net.
    #[track_caller]
    pub fn instance<'m>(&'m self, name: &str, child: &Module, pins: &[(&str, Net<'m>)]) -> Outputs<'m> {
        self.claim(name);
        let child_ports = child.ports();
        for (pin, _) in pins {
            let known = child_ports.iter().any(|port| port.input && port.name == *pin);
            assert!(known, "{}: {} has no input {pin}", self.name, child.name);
            let once = pins.iter().filter(|(other, _)| other == pin).count() == 1;
            assert!(once, "{}: input {pin} of {name} is connected twice", self.name);
        }
        let mut instance = Instance {
            name: name.to_owned(),
            module: child.name.clone(),
            foreign: None,
            clocked: child.is_clocked(),
            pins: Vec::new(),
            outputs: Vec::new(),
            open: Vec::new(),
        };
        let mut nets = BTreeMap::new();
        for port in child_ports {
            if port.input {
                let pin = pins.iter().find(|(pin, _)| *pin == port.name);
                let (_, net) = pin.unwrap_or_else(|| panic!("{}: input {} of {name} is open", self.name, port.name));
                assert!(
                    net.width() == port.width,
                    "{}: {} bits on input {} of {name}, which has {}",
                    self.name,
                    net.width(),
                    port.name,
                    port.width
                );
                instance.pins.push((port.name, self.own(*net)));
            } else {
                let net = self.declare(&format!("{name}_{}", port.name), port.width);
                instance.outputs.push((port.name.clone(), net.id));
                nets.insert(port.name, net);
            }
        }
        let mut children = child.children();
        children.insert(child.name.clone(), print::module(child));
        let mut inner = self.inner.borrow_mut();
        for (module, text) in children {
            let old = inner.children.insert(module.clone(), text.clone());
            assert!(old.is_none_or(|old| old == text), "two different modules are called {module}");
        }
        inner.instances.push(instance);
        Outputs { instance: name.to_owned(), nets }
    }

    /// An instance of a cell that is described elsewhere, such as a block of an FPGA: its parameters as Verilog writes them, the
    /// pin that takes the clock, its inputs, and its outputs with their widths.
    #[track_caller]
    pub fn cell<'m>(
        &'m self,
        name: &str,
        cell: &str,
        parameters: &[(&str, &str)],
        clock: Option<&str>,
        pins: &[(&str, Net<'m>)],
        outputs: &[(&str, u32)],
    ) -> Outputs<'m> {
        self.claim(name);
        assert!(is_name(cell), "{}: `{cell}` is no name in Verilog", self.name);
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut instance = Instance {
            name: name.to_owned(),
            module: cell.to_owned(),
            foreign: Some(Foreign {
                parameters: parameters.iter().map(own).collect(),
                clock: clock.map(str::to_owned),
            }),
            clocked: clock.is_some(),
            pins: pins.iter().map(|(pin, net)| ((*pin).to_owned(), self.own(*net))).collect(),
            outputs: Vec::new(),
            open: Vec::new(),
        };
        let mut nets = BTreeMap::new();
        for (port, width) in outputs {
            let net = self.declare(&format!("{name}_{port}"), *width);
            instance.outputs.push(((*port).to_owned(), net.id));
            nets.insert((*port).to_owned(), net);
        }
        self.inner.borrow_mut().instances.push(instance);
        Outputs { instance: name.to_owned(), nets }
    }

    /// An instance of a module with a clock and a reset whose text comes from elsewhere. An output of no bits stays open.
    #[track_caller]
    pub fn module<'m>(
        &'m self,
        name: &str,
        module: &str,
        pins: &[(&str, Net<'m>)],
        outputs: &[(&str, u32)],
    ) -> Outputs<'m> {
        let (used, open): (Vec<_>, Vec<_>) = outputs.iter().copied().partition(|(_, width)| *width > 0);
        let outputs = self.cell(name, module, &[], None, pins, &used);
        let mut inner = self.inner.borrow_mut();
        if let Some(instance) = inner.instances.last_mut() {
            instance.foreign = None;
            instance.clocked = true;
            instance.open = open.iter().map(|(port, _)| (*port).to_owned()).collect();
        }
        drop(inner);
        outputs
    }

    /// A property that holds in every cycle outside reset: for proofs, and printed under `FORMAL` alone.
    #[track_caller]
    pub fn assert_always(&self, name: &str, net: Net<'_>) {
        self.property(name, false, net);
    }

    /// What a proof may take for granted in every cycle.
    #[track_caller]
    pub fn assume_always(&self, name: &str, net: Net<'_>) {
        self.property(name, true, net);
    }

    /// The ports, in the order of their declaration, without clock and reset.
    pub fn ports(&self) -> Vec<Port> {
        self.inner.borrow().ports.clone()
    }

    /// Whether the module has a clock and a reset.
    pub fn is_clocked(&self) -> bool {
        let inner = self.inner.borrow();
        let registers = inner.storage.iter().any(|s| !matches!(s.kind, StorageKind::Variable(_)));
        let memories = inner.memories.iter().any(|memory| memory.write.is_some());
        registers || memories || inner.instances.iter().any(|i| i.clocked) || !inner.properties.is_empty()
    }

    /// The module and everything that it instantiates, as Verilog.
    pub fn verilog(&self) -> String {
        let mut text: String = self.children().into_values().map(|child| child + "\n").collect();
        text.push_str(&print::module(self));
        text
    }

    /// What stands between the header and `endmodule`, for a framework that prints the ports itself.
    pub fn body(&self) -> String {
        print::body(self)
    }

    /// The modules that this one instantiates, by name, as Verilog.
    pub fn children(&self) -> BTreeMap<String, String> {
        self.inner.borrow().children.clone()
    }

    /// The number of a value, which must be of this module.
    #[track_caller]
    pub(crate) fn own(&self, net: Net<'_>) -> u32 {
        assert!(std::ptr::eq(self, net.module), "{}: a value of module {}", self.name, net.module.name);
        net.id
    }

    #[track_caller]
    pub(crate) fn node(&self, node: Node, width: u32) -> Net<'_> {
        assert!(width > 0, "{}: a value without bits", self.name);
        let mut inner = self.inner.borrow_mut();
        let declared = node == Node::Declared;
        // The same expression is the same net.
        if let Some(&known) = inner.expressions.get(&(node.clone(), width)) {
            return Net::new(self, known, width);
        }
        let id = inner.nodes.len() as u32;
        inner.nodes.push(NodeInfo { node: node.clone(), width, name: None, kept: false });
        if !declared {
            inner.expressions.insert((node, width), id);
        }
        Net::new(self, id, width)
    }

    #[track_caller]
    pub(crate) fn declare(&self, name: &str, width: u32) -> Net<'_> {
        self.claim(name);
        let net = self.node(Node::Declared, width);
        self.inner.borrow_mut().nodes[net.id as usize].name = Some(name.to_owned());
        net
    }

    #[track_caller]
    pub(crate) fn name_node(&self, id: u32, name: &str) {
        let named = self.inner.borrow().nodes[id as usize].name.is_some();
        if !named {
            self.claim(name);
            self.inner.borrow_mut().nodes[id as usize].name = Some(name.to_owned());
        }
    }

    pub(crate) fn keep_node(&self, id: u32) {
        self.inner.borrow_mut().nodes[id as usize].kept = true;
    }

    pub(crate) fn node_name(&self, id: u32) -> String {
        print::name(&self.inner.borrow(), id)
    }

    #[track_caller]
    pub(crate) fn assign(&self, target: u32, value: u32) {
        let known = self.inner.borrow().storage.iter().any(|storage| storage.id == target);
        assert!(known, "{}: {} is neither register nor variable", self.name, self.node_name(target));
        self.push(Statement::Assign(target, value));
    }

    pub(crate) fn add_memory(&self, memory: MemoryText) -> usize {
        self.claim(&memory.name);
        let mut inner = self.inner.borrow_mut();
        inner.memories.push(memory);
        inner.memories.len() - 1
    }

    pub(crate) fn with_memory(&self, index: usize, change: impl FnOnce(&mut MemoryText)) {
        change(&mut self.inner.borrow_mut().memories[index]);
    }

    #[track_caller]
    fn store(&self, name: &str, width: u32, kind: StorageKind) -> Net<'_> {
        let net = self.declare(name, width);
        self.inner.borrow_mut().storage.push(Storage { id: net.id, kind });
        net
    }

    #[track_caller]
    fn property(&self, name: &str, assumed: bool, net: Net<'_>) {
        self.claim(name);
        assert!(net.width() == 1, "{}: property {name} of {} bits", self.name, net.width());
        self.inner.borrow_mut().properties.push(Property { name: name.to_owned(), assumed, net: self.own(net) });
    }

    fn block(&self, body: impl FnOnce()) -> Vec<Statement> {
        self.inner.borrow_mut().statements.push(Vec::new());
        body();
        self.inner.borrow_mut().statements.pop().unwrap_or_default()
    }

    fn push(&self, statement: Statement) {
        if let Some(block) = self.inner.borrow_mut().statements.last_mut() {
            block.push(statement);
        }
    }

    #[track_caller]
    fn claim(&self, name: &str) {
        assert!(is_name(name), "{}: `{name}` is no name in Verilog", self.name);
        let made =
            name.strip_prefix('n').is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()));
        assert!(!made, "{}: names like `{name}` are kept for values without a name", self.name);
        let taken = ["clock", "reset", "unused_reset", "formal_started"].contains(&name);
        assert!(!taken, "{}: every module has `{name}` already", self.name);
        let new = self.inner.borrow_mut().names.insert(name.to_owned());
        assert!(new, "{}: `{name}` is declared twice", self.name);
    }
}

impl<'m> Outputs<'m> {
    /// The net of an output port.
    #[track_caller]
    pub fn get(&self, port: &str) -> Net<'m> {
        *self.nets.get(port).unwrap_or_else(|| panic!("{} has no output {port}", self.instance))
    }
}

/// Whether Verilog takes it for a name; a `$` or `_` may not come first.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
        && !is_keyword(name)
}
