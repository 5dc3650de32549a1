//! Turns statements into instructions: names become dense indices, constants become registers, calls of device
//! functions are expanded in place.

mod allocate;
mod copies;
mod memory;
mod modifiers;
mod names;
mod scalar;
mod sync;
mod tensor;

use std::collections::HashMap;

use self::modifiers::Modifiers;
use self::names::{Frame, Jump};
use crate::error::ParseError;
use crate::module::{Kernel, Param};
use crate::op::{Const, Inst, Op, Pred, Reg, SHARED_BASE};
use crate::opcodes;
use crate::syntax::{Body, Function, Operand, Space, Statement, Unit, Variable};
use crate::types::{Kind, Type};

const U16: Option<Type> = Some(Type { kind: Kind::U, bits: 16 });
const U32: Option<Type> = Some(Type { kind: Kind::U, bits: 32 });
const U64: Option<Type> = Some(Type { kind: Kind::U, bits: 64 });

/// Calls within calls; a function that calls itself cannot be expanded in place.
const DEEPEST_CALL: usize = 32;
/// Bytes of local memory of a thread, of shared memory of a block (many times what the hardware has), of parameters.
const MOST_LOCAL: u32 = 512 * 1024;
const MOST_SHARED: u32 = 1 << 24;
const MOST_PARAMS: u32 = 32764;
/// Instructions of a kernel after expansion.
const LARGEST_CODE: usize = 1 << 20;
/// Calls that a kernel may expand.
const MOST_CALLS: usize = 4096;

/// The variables of the module that live in global memory.
pub(crate) fn module_variables(unit: &Unit) -> Vec<Variable> {
    unit.variables.iter().filter(|v| matches!(v.space, Space::Global | Space::Const)).cloned().collect()
}

/// Decodes the kernel `function`.
pub(crate) fn kernel(unit: &Unit, function: &Function) -> Result<Kernel, ParseError> {
    let Some(body) = &function.body else {
        return Err(ParseError::new(function.line, format!("kernel `{}` has no body", function.name)));
    };
    let mut decoder = Decoder::new(unit);
    let mut params = Vec::new();
    let mut end = 0u32;
    for p in &function.params {
        let offset = end.next_multiple_of(p.align.min(1 << 16));
        params.push(Param { offset, size: p.bytes, align: p.align });
        end = offset.saturating_add(p.bytes);
        if end > MOST_PARAMS {
            return Err(ParseError::new(function.line, format!("kernel `{}` has too many parameters", function.name)));
        }
    }
    decoder.params = function.params.iter().zip(&params).map(|(v, p)| (v.name.clone(), p.offset)).collect();
    decoder.body(body)?;
    decoder.emit(Op::Exit, body.end, None)?;
    if decoder.local_end > MOST_LOCAL || decoder.shared_end > MOST_SHARED {
        return Err(ParseError::new(
            function.line,
            format!("kernel `{}` has too much memory of its own", function.name),
        ));
    }
    let wgmma = decoder.code.iter().any(|i| matches!(i.op, Op::Wgmma(_)));
    let (map, registers) = decoder.allocate();
    let mut constants: Vec<(u32, Const)> = decoder.constants.iter().map(|(c, r)| (map[*r as usize], *c)).collect();
    constants.sort_by_key(|c| c.0);
    // Where registers share a place, the last name stands; those of a `wgmma` do not share.
    let mut register_names = vec![String::new(); registers];
    for (name, r) in decoder.registers.iter().zip(&map) {
        register_names[*r as usize].clone_from(name);
    }
    Ok(Kernel {
        name: function.name.clone(),
        params,
        param_bytes: end,
        static_end: decoder.shared_end,
        dynamic_align: decoder.dynamic_align,
        local_bytes: decoder.local_end.next_multiple_of(16),
        max_threads: function.max_threads,
        required_threads: function.required_threads,
        required_cluster: function.required_cluster,
        mentions: if wgmma { decoder.code.iter_mut().map(mentions).collect() } else { Vec::new() },
        code: decoder.code,
        names: decoder.names,
        registers: registers as u32,
        predicates: decoder.predicates,
        constants,
        wgmma,
        register_names,
    })
}

/// The registers of an instruction and whether it writes them; none for a `wgmma`, which its own checks follow.
fn mentions(inst: &mut Inst) -> Box<[(Reg, bool)]> {
    let mut out = Vec::new();
    if !matches!(inst.op, Op::Wgmma(_)) {
        inst.op.each_register(&mut |r, written| out.push((*r, written)));
    }
    out.into()
}

pub(super) struct Decoder<'u> {
    unit: &'u Unit,
    code: Vec<Inst>,
    names: Vec<String>,
    name_index: HashMap<String, u16>,
    /// Names of registers, by index.
    registers: Vec<String>,
    predicates: u32,
    constants: HashMap<Const, Reg>,
    /// Offsets of shared variables by the identity of their declaration.
    shared: HashMap<(usize, usize, String), u32>,
    shared_end: u32,
    dynamic_align: u32,
    local_end: u32,
    params: HashMap<String, u32>,
    frames: Vec<Frame<'u>>,
    /// Functions expanded so far.
    calls: usize,
    /// Places of parameters for the frame that is made next.
    homes_of_next: HashMap<String, u32>,
    /// The opcode being decoded, for extra instructions that one statement needs.
    current: (u16, u32, Option<(u32, u32)>),
}

impl<'u> Decoder<'u> {
    fn new(unit: &'u Unit) -> Self {
        Self {
            unit,
            code: Vec::new(),
            names: Vec::new(),
            name_index: HashMap::new(),
            // Register 0 is the sink of results that nobody wants.
            registers: vec!["_".to_owned()],
            predicates: 1,
            constants: HashMap::new(),
            shared: HashMap::new(),
            shared_end: SHARED_BASE,
            dynamic_align: 16,
            local_end: 0,
            params: HashMap::new(),
            frames: Vec::new(),
            calls: 0,
            homes_of_next: HashMap::new(),
            current: (0, 0, None),
        }
    }

    /// Renumbers the registers; the sink, constants and what a `wgmma` works on have places of their own.
    fn allocate(&mut self) -> (Vec<Reg>, usize) {
        let mut pinned = vec![false; self.registers.len()];
        pinned[0] = true;
        self.constants.values().for_each(|r| pinned[*r as usize] = true);
        for inst in &mut self.code {
            if matches!(inst.op, Op::Wgmma(_)) {
                inst.op.each_register(&mut |r, _| pinned[*r as usize] = true);
            }
        }
        allocate::allocate(&mut self.code, &pinned)
    }

    fn emit(&mut self, op: Op, line: u32, guard: Option<(Pred, bool)>) -> Result<(), ParseError> {
        if self.code.len() >= LARGEST_CODE {
            return Err(ParseError::new(line, "the kernel has too many instructions"));
        }
        let (name, _, source) = self.current;
        self.code.push(Inst { op, guard, line, source, name });
        Ok(())
    }

    /// An instruction that the current statement needs before its own.
    fn before(&mut self, op: Op) -> Result<(), ParseError> {
        let line = self.current.1;
        self.emit(op, line, None)
    }

    fn name(&mut self, opcode: &str) -> u16 {
        if let Some(i) = self.name_index.get(opcode) {
            return *i;
        }
        let i = self.names.len() as u16;
        self.names.push(opcode.to_owned());
        self.name_index.insert(opcode.to_owned(), i);
        i
    }

    /// Decodes the statements of a function into the code; returns from it go to its end.
    fn body(&mut self, body: &'u Body) -> Result<(), ParseError> {
        let homes = std::mem::take(&mut self.homes_of_next);
        self.frames.push(Frame::new(body, homes));
        let mut starts = Vec::with_capacity(body.statements.len() + 1);
        for statement in &body.statements {
            starts.push(self.code.len() as u32);
            self.statement(statement).map_err(|mut e| {
                e.line = if e.line == 0 { statement.line } else { e.line };
                e.within(&text(statement))
            })?;
        }
        starts.push(self.code.len() as u32);
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        for Jump { at, scope, label, line } in frame.jumps {
            let target = match label {
                None => starts.last().copied(),
                Some(ref label) => frame.body.label(scope, label).and_then(|s| starts.get(s).copied()),
            };
            let Some(target) = target else {
                return Err(ParseError::new(line, format!("label `{}` is not declared", label.unwrap_or_default())));
            };
            match &mut self.code[at.0].op {
                Op::Branch { target: t } => *t = target,
                Op::BranchTable { targets, .. } => targets[at.1] = target,
                _ => {}
            }
        }
        Ok(())
    }

    fn statement(&mut self, s: &'u Statement) -> Result<(), ParseError> {
        if opcodes::family(&s.opcode).is_none() {
            return Err(fail(format!("opcode `{}` is not known to the simulator", s.opcode)));
        }
        let name = self.name(&s.opcode);
        self.current = (name, s.line, s.source);
        let guard = match &s.guard {
            Some((p, negated)) => Some((self.predicate_named(s.scope, p)?, *negated)),
            None => None,
        };
        if s.opcode.split('.').next() == Some("call") {
            if guard.is_some() {
                return Err(fail("a call under a predicate is not supported"));
            }
            return self.call(s);
        }
        let mut m = Modifiers::new(&s.opcode);
        let op = self.op(s, &mut m)?;
        if let Some(word) = m.left() {
            return Err(fail(format!("modifier `.{word}` is not known to the simulator here")));
        }
        self.emit(op, s.line, guard)
    }

    fn op(&mut self, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        let head = s.opcode.split('.').next().unwrap_or_default();
        match head {
            "ld" | "ldu" | "st" | "atom" | "red" | "cvta" | "isspacep" | "mapa" | "getctarank" | "prefetch"
            | "prefetchu" | "discard" | "applypriority" | "createpolicy" => self.memory_op(head, s, m),
            "cp" => self.copy_op(s, m),
            "bar" | "barrier" | "membar" | "fence" | "vote" | "match" | "shfl" | "redux" | "activemask" | "elect"
            | "mbarrier" | "nanosleep" | "griddepcontrol" | "setmaxnreg" => self.sync_op(head, s, m),
            "ldmatrix" | "stmatrix" | "movmatrix" | "mma" | "wgmma" => self.tensor_op(head, s, m),
            "bra" => {
                m.take("uni");
                let label = self.label(s, 0)?;
                self.jump(0, s.scope, Some(label), s.line);
                Ok(Op::Branch { target: 0 })
            }
            "brx" => {
                m.take_any(&["idx", "uni"]);
                let index = self.source(s, 0, U32)?;
                let list = self.label(s, 1)?;
                let body = self.frame().body;
                let Some(labels) = body.targets(s.scope, &list) else {
                    return Err(fail(format!("list of targets `{list}` is not declared")));
                };
                for (i, label) in labels.iter().enumerate() {
                    self.jump(i, s.scope, Some(label.clone()), s.line);
                }
                Ok(Op::BranchTable { index, targets: vec![0; labels.len()].into() })
            }
            "ret" => {
                m.take("uni");
                if self.frames.len() == 1 {
                    return Ok(Op::Exit);
                }
                self.jump(0, s.scope, None, s.line);
                Ok(Op::Branch { target: 0 })
            }
            "exit" => Ok(Op::Exit),
            "trap" => Ok(Op::Trap),
            _ => self.scalar_op(head, s, m),
        }
    }

    /// Notes that the instruction to be emitted next jumps to `label`, to the end of the function if `None`.
    fn jump(&mut self, slot: usize, scope: usize, label: Option<String>, line: u32) {
        let at = (self.code.len(), slot);
        self.frame_mut().jumps.push(Jump { at, scope, label, line });
    }

    fn label(&self, s: &Statement, at: usize) -> Result<String, ParseError> {
        match s.operands.get(at) {
            Some(Operand::Name(n)) => Ok(n.clone()),
            _ => Err(fail("a label is expected")),
        }
    }

    /// Expands a call: parameters and results are copied between the variables of both sides, in local memory.
    fn call(&mut self, s: &'u Statement) -> Result<(), ParseError> {
        let (results, rest) = match s.operands.first() {
            Some(Operand::Group(results)) => (results.as_slice(), &s.operands[1..]),
            _ => (&[][..], &s.operands[..]),
        };
        let (name, arguments) = match rest {
            [Operand::Name(name)] => (name, &[][..]),
            [Operand::Name(name), Operand::Group(arguments)] => (name, arguments.as_slice()),
            _ => return Err(fail("an indirect call is not supported")),
        };
        let unit = self.unit;
        let function = unit.functions.iter().find(|f| f.name == *name && !f.entry);
        let Some((function, Some(body))) = function.map(|f| (f, f.body.as_ref())) else {
            return Err(fail(format!("function `{name}` has no body here; the simulator has no device library")));
        };
        self.calls += 1;
        if self.calls > MOST_CALLS {
            return Err(fail("the kernel makes too many calls to expand them"));
        }
        if self.frames.len() > DEEPEST_CALL {
            return Err(fail(format!("function `{name}` calls itself, or calls are nested too deeply")));
        }
        if arguments.len() != function.params.len() || results.len() != function.results.len() {
            return Err(fail(format!("function `{name}` takes another number of parameters")));
        }
        let mut homes = HashMap::new();
        for variable in function.params.iter().chain(&function.results) {
            homes.insert(variable.name.clone(), self.local_room(variable.align.max(8), variable.bytes));
        }
        let width = |v: &Variable| v.bytes;
        for (argument, variable) in arguments.iter().zip(&function.params) {
            let from = self.parameter_home(s, argument)?;
            self.before(Op::CopyLocal { to: homes[&variable.name], from, bytes: width(variable) })?;
        }
        let returned: Vec<(u32, u32, u32)> = results
            .iter()
            .zip(&function.results)
            .map(|(result, v)| self.parameter_home(s, result).map(|to| (to, homes[&v.name], width(v))))
            .collect::<Result<_, _>>()?;
        let current = self.current;
        self.pending_homes(homes);
        self.body(body)?;
        self.current = current;
        for (to, from, bytes) in returned {
            self.before(Op::CopyLocal { to, from, bytes })?;
        }
        Ok(())
    }
}

/// An error of the current statement, whose line its caller fills in.
pub(super) fn fail(message: impl Into<String>) -> ParseError {
    ParseError::new(0, message)
}

/// The statement as text, roughly, for errors.
fn text(s: &Statement) -> String {
    s.opcode.clone()
}
