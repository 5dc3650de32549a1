//! What the parser makes of the text: variables, functions and their statements, names not yet resolved.

/// An operand as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand {
    /// A register, special register, variable or label; `_` is the sink.
    Name(String),
    /// A variable or register and a number of bytes.
    Sum(String, i64),
    /// `!p`.
    Not(String),
    /// `a|b`: two results.
    Pair(String, String),
    Int(u64),
    F32(u32),
    F64(u64),
    /// `{a, b}`.
    Vector(Vec<Operand>),
    /// `[a]`, or `[a, {x, y}]` of tensor copies.
    Address(Vec<Operand>),
    /// `(a, b)` of calls.
    Group(Vec<Operand>),
}

/// One instruction as written.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub line: u32,
    /// Index of the scope in [`Body::scopes`] in which its names are looked up.
    pub scope: usize,
    /// The predicate that guards it, and whether it is negated.
    pub guard: Option<(String, bool)>,
    /// Opcode and modifiers.
    pub opcode: String,
    pub operands: Vec<Operand>,
    /// Index in [`crate::Module`]'s files and line there, where `.loc` said so.
    pub source: Option<(u32, u32)>,
}

/// State spaces of variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Global,
    Const,
    Shared,
    Local,
    Param,
}

/// A variable.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Variable {
    pub name: String,
    pub space: Space,
    pub align: u32,
    pub bytes: u32,
    /// Declared without a size: the dynamic shared memory of the launch.
    pub dynamic: bool,
    /// Initial bytes, zero beyond.
    pub init: Vec<u8>,
    /// Names of variables whose address stands in `init`, with the offset of their place there and the addend.
    pub pointers: Vec<(u32, String, i64)>,
}

/// A block of statements in braces: the names declared in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub parent: Option<usize>,
    /// Registers: name or prefix, count where a range was declared, width in bits; 1 is a predicate.
    pub registers: Vec<(String, Option<u32>, u32)>,
    pub variables: Vec<Variable>,
    /// Labels and the index of the statement that follows.
    pub labels: Vec<(String, usize)>,
    /// Lists of branch targets.
    pub targets: Vec<(String, Vec<String>)>,
}

/// The statements of a function and their scopes; scope 0 is the outermost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    pub scopes: Vec<Scope>,
    pub statements: Vec<Statement>,
    /// Line of the closing brace.
    pub end: u32,
}

/// A kernel or a device function.
#[derive(Clone, Debug, Default)]
pub(crate) struct Function {
    pub name: String,
    pub line: u32,
    pub entry: bool,
    pub params: Vec<Variable>,
    pub results: Vec<Variable>,
    pub max_threads: Option<[u32; 3]>,
    pub required_threads: Option<[u32; 3]>,
    pub required_cluster: Option<[u32; 3]>,
    /// `None` where the function is only declared.
    pub body: Option<Body>,
}

/// A whole text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unit {
    pub variables: Vec<Variable>,
    pub functions: Vec<Function>,
    /// Names of source files by their number in `.loc`.
    pub files: Vec<(u32, String)>,
}
