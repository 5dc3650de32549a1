//! Reads PTX text: directives, variables, functions and statements. Opcodes are checked later, by the decoder.

use crate::error::ParseError;
use crate::lex::{Spanned, Token, tokens};
use crate::syntax::{Body, Function, Operand, Scope, Space, Statement, Unit, Variable};

/// Most bytes one variable may have: all of shared memory many times over.
const LARGEST_VARIABLE: u64 = 1 << 28;

pub(crate) fn unit(text: &str) -> Result<Unit, ParseError> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, source: None };
    let mut unit = Unit::default();
    while let Some(next) = parser.peek() {
        let line = next.line;
        let Token::Word(word) = next.token.clone() else {
            return Err(ParseError::new(line, "a directive is expected"));
        };
        match word.as_str() {
            ".version" | ".target" | ".address_size" => parser.skip_line(line),
            ".file" => {
                parser.at += 1;
                let number = parser.int()? as u32;
                if let Some(Token::Text(name)) = parser.peek().map(|t| t.token.clone()) {
                    unit.files.push((number, name));
                }
                parser.skip_line(line);
            }
            ".section" => parser.skip_braces()?,
            ".pragma" => parser.skip_to(';')?,
            ".visible" | ".extern" | ".weak" | ".common" => {
                parser.at += 1;
            }
            ".alias" => parser.skip_to(';')?,
            ".entry" | ".func" => {
                let function = parser.function(word == ".entry")?;
                // A later definition replaces an earlier declaration.
                unit.functions.retain(|f| f.name != function.name || f.body.is_some());
                unit.functions.push(function);
            }
            ".global" | ".const" | ".shared" => {
                unit.variables.extend(parser.variables()?);
            }
            _ => return Err(ParseError::new(line, format!("`{word}` is no directive known here"))),
        }
    }
    Ok(unit)
}

struct Parser {
    tokens: Vec<Spanned>,
    at: usize,
    /// Depth of nested lists, bounded so that hostile text cannot exhaust the stack.
    depth: u32,
    source: Option<(u32, u32)>,
}

impl Parser {
    fn peek(&self) -> Option<&Spanned> {
        self.tokens.get(self.at)
    }

    fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |t| t.line)
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError::new(self.line(), message))
    }

    fn next(&mut self) -> Result<Token, ParseError> {
        match self.tokens.get(self.at) {
            Some(t) => {
                self.at += 1;
                Ok(t.token.clone())
            }
            None => self.fail("the text ends within a statement"),
        }
    }

    fn is(&self, c: char) -> bool {
        self.peek().is_some_and(|t| t.token == Token::Punct(c))
    }

    fn accept(&mut self, c: char) -> bool {
        let found = self.is(c);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, c: char) -> Result<(), ParseError> {
        if self.accept(c) { Ok(()) } else { self.fail(format!("`{c}` is expected")) }
    }

    fn word(&mut self) -> Result<String, ParseError> {
        match self.peek().map(|t| t.token.clone()) {
            Some(Token::Word(w)) => {
                self.at += 1;
                Ok(w)
            }
            _ => self.fail("a name is expected"),
        }
    }

    fn directive(&self) -> Option<&str> {
        match self.peek() {
            Some(Spanned { token: Token::Word(w), .. }) if w.starts_with('.') => Some(w),
            _ => None,
        }
    }

    fn int(&mut self) -> Result<u64, ParseError> {
        let minus = self.accept('-');
        match self.peek().map(|t| t.token.clone()) {
            Some(Token::Int(n)) => {
                self.at += 1;
                Ok(if minus { n.wrapping_neg() } else { n })
            }
            _ => self.fail("an integer is expected"),
        }
    }

    fn skip_line(&mut self, line: u32) {
        while self.peek().is_some_and(|t| t.line == line) {
            self.at += 1;
        }
    }

    fn skip_to(&mut self, c: char) -> Result<(), ParseError> {
        while !self.is(c) {
            self.next()?;
        }
        self.expect(c)
    }

    fn skip_braces(&mut self) -> Result<(), ParseError> {
        while !self.is('{') {
            self.next()?;
        }
        let mut depth = 0;
        loop {
            match self.next()? {
                Token::Punct('{') => depth += 1,
                Token::Punct('}') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Up to three numbers, one where left out.
    fn triple(&mut self) -> Result<[u32; 3], ParseError> {
        let mut out = [1; 3];
        for (i, n) in out.iter_mut().enumerate() {
            if i > 0 && !self.accept(',') {
                break;
            }
            *n = self.int()? as u32;
        }
        Ok(out)
    }

    fn function(&mut self, entry: bool) -> Result<Function, ParseError> {
        let line = self.line();
        self.at += 1;
        let mut function = Function { entry, line, ..Function::default() };
        if !entry && self.is('(') {
            function.results = self.parameters()?;
        }
        function.name = self.word()?;
        if self.is('(') {
            function.params = self.parameters()?;
        }
        while let Some(directive) = self.directive().map(str::to_owned) {
            self.at += 1;
            match directive.as_str() {
                ".maxntid" => function.max_threads = Some(self.triple()?),
                ".reqntid" => function.required_threads = Some(self.triple()?),
                ".reqnctapercluster" => function.required_cluster = Some(self.triple()?),
                ".minnctapersm" | ".maxnctapersm" | ".maxnreg" | ".maxclusterrank" => {
                    self.int()?;
                }
                ".explicitcluster" | ".noreturn" | ".blocksareclusters" => {}
                ".pragma" => self.skip_to(';')?,
                _ => return self.fail(format!("`{directive}` is no directive of a function known here")),
            }
        }
        if self.accept(';') {
            return Ok(function);
        }
        self.expect('{')?;
        self.source = None;
        let mut body = Body { scopes: vec![Scope::default()], ..Body::default() };
        self.block(&mut body, 0)?;
        function.body = Some(body);
        Ok(function)
    }

    fn parameters(&mut self) -> Result<Vec<Variable>, ParseError> {
        self.expect('(')?;
        let mut out = Vec::new();
        while !self.accept(')') {
            if self.directive().is_some_and(|d| d == ".reg") {
                return self.fail("parameters in registers are not supported");
            }
            out.push(self.variable(Space::Param)?);
            if !self.is(')') {
                self.expect(',')?;
            }
        }
        Ok(out)
    }

    /// A declaration with its semicolon.
    fn variables(&mut self) -> Result<Vec<Variable>, ParseError> {
        let space = match self.directive() {
            Some(".global") => Space::Global,
            Some(".const") => Space::Const,
            Some(".shared") => Space::Shared,
            Some(".local") => Space::Local,
            _ => Space::Param,
        };
        let mut out = vec![self.variable(space)?];
        while self.accept(',') {
            let first = &out[0];
            let mut next = Variable { name: self.word()?, init: Vec::new(), pointers: Vec::new(), ..first.clone() };
            if self.is('[') {
                return self.fail("a list of declarations may hold no arrays here");
            }
            next.dynamic = false;
            out.push(next);
        }
        self.expect(';')?;
        Ok(out)
    }

    fn variable(&mut self, space: Space) -> Result<Variable, ParseError> {
        let (mut align, mut unit, mut vector) = (0u32, 0u32, 1u32);
        while let Some(directive) = self.directive().map(str::to_owned) {
            self.at += 1;
            match directive.as_str() {
                ".param" | ".global" | ".const" | ".shared" | ".local" | ".ptr" | ".managed" => {}
                ".align" => {
                    // `.ptr .space .align n` of a parameter speaks of what it points to.
                    let n = self.int()? as u32;
                    if unit == 0 {
                        align = n;
                    }
                }
                ".v2" => vector = 2,
                ".v4" => vector = 4,
                _ => match width(&directive) {
                    Some(bits) => unit = bits.div_ceil(8),
                    None => return self.fail(format!("`{directive}` is no type of a variable")),
                },
            }
        }
        let name = self.word()?;
        if unit == 0 {
            return self.fail(format!("variable `{name}` has no type"));
        }
        let (mut count, mut dynamic) = (1u64, false);
        while self.accept('[') {
            if self.accept(']') {
                dynamic = true;
                count = 0;
            } else {
                count = count.saturating_mul(self.int()?);
                self.expect(']')?;
            }
        }
        let element = unit * vector;
        let bytes = count.saturating_mul(element.into());
        if bytes > LARGEST_VARIABLE {
            return self.fail(format!("variable `{name}` is too large"));
        }
        let align = if align == 0 { element } else { align };
        if !align.is_power_of_two() {
            return self.fail(format!("the alignment of variable `{name}` is no power of two"));
        }
        let mut out =
            Variable { name, space, align, bytes: bytes as u32, dynamic, init: Vec::new(), pointers: Vec::new() };
        if self.accept('=') {
            self.initial(&mut out, unit)?;
            // An array without a size takes that of its values.
            if dynamic {
                out.bytes = out.init.len() as u32;
                out.dynamic = false;
            }
            if out.init.len() > out.bytes as usize {
                return self.fail(format!("variable `{}` has more initial values than room", out.name));
            }
        }
        Ok(out)
    }

    fn initial(&mut self, out: &mut Variable, unit: u32) -> Result<(), ParseError> {
        if self.accept('{') {
            self.depth += 1;
            if self.depth > 8 {
                return self.fail("initial values are nested too deeply");
            }
            while !self.accept('}') {
                self.initial(out, unit)?;
                if !self.is('}') {
                    self.expect(',')?;
                }
            }
            self.depth -= 1;
            return Ok(());
        }
        let value = match self.operand()? {
            Operand::Int(n) => n,
            Operand::F32(n) => u64::from(n),
            Operand::F64(n) => n,
            Operand::Name(symbol) => {
                // `generic(symbol)` is the address of a variable in the generic space, as all are here.
                let symbol = if symbol == "generic" && self.accept('(') {
                    let inner = self.word()?;
                    self.expect(')')?;
                    inner
                } else {
                    symbol
                };
                out.pointers.push((out.init.len() as u32, symbol, 0));
                0
            }
            Operand::Sum(symbol, addend) => {
                out.pointers.push((out.init.len() as u32, symbol, addend));
                0
            }
            _ => return self.fail("an initial value is expected"),
        };
        out.init.extend(&value.to_le_bytes()[..unit as usize]);
        Ok(())
    }

    /// Statements up to the closing brace of `scope`.
    fn block(&mut self, body: &mut Body, scope: usize) -> Result<(), ParseError> {
        loop {
            let line = self.line();
            if self.accept('}') {
                body.end = line;
                return Ok(());
            }
            if self.accept('{') {
                if body.scopes.len() > 1 << 20 {
                    return self.fail("too many blocks");
                }
                // The nesting of real code is shallow, and each level is a call here.
                let depth = std::iter::successors(Some(scope), |s| body.scopes[*s].parent).count();
                if depth > 64 {
                    return self.fail("blocks are nested too deeply");
                }
                body.scopes.push(Scope { parent: Some(scope), ..Scope::default() });
                let inner = body.scopes.len() - 1;
                self.block(body, inner)?;
                continue;
            }
            if self.accept(';') {
                continue;
            }
            if let Some(directive) = self.directive().map(str::to_owned) {
                match directive.as_str() {
                    ".reg" => self.registers(&mut body.scopes[scope])?,
                    ".shared" | ".local" | ".param" | ".global" | ".const" => {
                        let variables = self.variables()?;
                        body.scopes[scope].variables.extend(variables);
                    }
                    ".loc" => {
                        self.at += 1;
                        self.source = Some((self.int()? as u32, self.int()? as u32));
                        self.skip_line(line);
                    }
                    ".pragma" => self.skip_to(';')?,
                    _ => return self.fail(format!("`{directive}` is no directive known here")),
                }
                continue;
            }
            let labelled = matches!(self.peek(), Some(Spanned { token: Token::Word(_), .. }))
                && self.tokens.get(self.at + 1).is_some_and(|t| t.token == Token::Punct(':'));
            if labelled {
                let label = self.word()?;
                self.at += 1;
                if self.directive() == Some(".branchtargets") {
                    self.at += 1;
                    let mut targets = vec![self.word()?];
                    while self.accept(',') {
                        targets.push(self.word()?);
                    }
                    self.expect(';')?;
                    body.scopes[scope].targets.push((label, targets));
                } else {
                    let at = body.statements.len();
                    body.scopes[scope].labels.push((label, at));
                }
                continue;
            }
            let statement = self.statement(scope)?;
            body.statements.push(statement);
        }
    }

    fn registers(&mut self, scope: &mut Scope) -> Result<(), ParseError> {
        self.at += 1;
        let kind = self.word()?;
        let Some(bits) = width(&kind) else { return self.fail(format!("`{kind}` is no type of a register")) };
        loop {
            let name = self.word()?;
            let count = if self.accept('<') {
                let n = self.int()?;
                self.expect('>')?;
                Some(n as u32)
            } else {
                None
            };
            scope.registers.push((name, count, bits));
            if !self.accept(',') {
                return self.expect(';');
            }
        }
    }

    fn statement(&mut self, scope: usize) -> Result<Statement, ParseError> {
        let line = self.line();
        let mut guard = None;
        if self.accept('@') {
            let negated = self.accept('!');
            guard = Some((self.word()?, negated));
        }
        let opcode = self.word()?;
        let mut operands = Vec::new();
        while !self.accept(';') {
            if !operands.is_empty() {
                self.expect(',').map_err(|e| e.within(&opcode))?;
            }
            operands.push(self.operand().map_err(|e| e.within(&opcode))?);
        }
        Ok(Statement { line, scope, guard, opcode, operands, source: self.source })
    }

    fn operand(&mut self) -> Result<Operand, ParseError> {
        let minus = self.accept('-');
        if minus {
            return match self.next()? {
                Token::Int(n) => Ok(Operand::Int(n.wrapping_neg())),
                Token::F32(n) => Ok(Operand::F32(n ^ 1 << 31)),
                Token::F64(n) => Ok(Operand::F64(n ^ 1 << 63)),
                _ => self.fail("a number is expected after the minus sign"),
            };
        }
        match self.next()? {
            Token::Int(n) => Ok(Operand::Int(n)),
            Token::F32(n) => Ok(Operand::F32(n)),
            Token::F64(n) => Ok(Operand::F64(n)),
            Token::Word(name) => {
                if self.accept('+') {
                    return Ok(Operand::Sum(name, self.int()? as i64));
                }
                if self.is('-') {
                    return Ok(Operand::Sum(name, self.int()? as i64));
                }
                if self.accept('|') {
                    return Ok(Operand::Pair(name, self.word()?));
                }
                Ok(Operand::Name(name))
            }
            Token::Punct('!') => Ok(Operand::Not(self.word()?)),
            Token::Punct('{') => Ok(Operand::Vector(self.list('}')?)),
            Token::Punct('[') => Ok(Operand::Address(self.list(']')?)),
            Token::Punct('(') => Ok(Operand::Group(self.list(')')?)),
            _ => self.fail("an operand is expected"),
        }
    }

    fn list(&mut self, close: char) -> Result<Vec<Operand>, ParseError> {
        let mut out = Vec::new();
        self.depth += 1;
        if self.depth > 4 {
            return self.fail("operands are nested too deeply");
        }
        while !self.accept(close) {
            if !out.is_empty() {
                self.expect(',')?;
            }
            out.push(self.operand()?);
        }
        self.depth -= 1;
        Ok(out)
    }
}

/// Bits of a type's register; 1 of a predicate.
fn width(kind: &str) -> Option<u32> {
    Some(match kind {
        ".pred" => 1,
        ".b8" | ".u8" | ".s8" => 8,
        ".b16" | ".u16" | ".s16" | ".f16" | ".bf16" => 16,
        ".b32" | ".u32" | ".s32" | ".f32" | ".f16x2" | ".bf16x2" => 32,
        ".b64" | ".u64" | ".s64" | ".f64" => 64,
        ".b128" => 128,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
.version 9.0
.target sm_90a
.address_size 64
.file 1 "k.cu"
.extern .shared .align 1024 .b8 sm[];
.global .align 4 .b8 table[8] = {1, 0, 0, 0, 2};
.visible .entry k(
	.param .align 64 .b8 k_param_0[128],
	.param .u32 k_param_1
)
.maxntid 384, 1, 1
.minnctapersm 1
{
	.reg .pred %p<3>;
	.reg .b32 %r<4>;
	.loc 1 7 3
	@!%p1 bra $L__1;
	{
.reg .pred p;
L: mbarrier.try_wait.parity.shared::cta.b64 p, [%r1+-8], 0;
@p bra L;
}
$L__1:
	ret;
}
"#;

    #[test]
    fn a_kernel_is_read_with_its_scopes_and_lines() {
        let unit = unit(TEXT).unwrap();
        assert_eq!(unit.files, [(1, "k.cu".to_owned())]);
        assert!(unit.variables[0].dynamic);
        assert_eq!(unit.variables[1].init, [1, 0, 0, 0, 2]);
        let k = &unit.functions[0];
        assert_eq!((k.params[0].align, k.params[0].bytes, k.max_threads), (64, 128, Some([384, 1, 1])));
        let body = k.body.as_ref().unwrap();
        assert_eq!(body.scopes[1].labels, [("L".to_owned(), 1)]);
        assert_eq!(body.scopes[0].labels, [("$L__1".to_owned(), 3)]);
        assert_eq!(body.statements[0].guard, Some(("%p1".to_owned(), true)));
        assert_eq!(body.statements[1].operands[1], Operand::Address(vec![Operand::Sum("%r1".into(), -8)]));
        assert_eq!(body.statements[0].source, Some((1, 7)));
        assert_eq!(body.statements[3].line, 25);
    }

    #[test]
    fn an_error_names_its_line() {
        let error = unit(".version 9.0\n.nonsense x;").unwrap_err();
        assert_eq!((error.line, error.message.contains(".nonsense")), (2, true));
        assert!(unit(".visible .entry k() {").is_err());
        assert!(unit(".global .b32 x[99999999999];").is_err());
    }

    #[test]
    fn no_cut_of_a_text_panics() {
        for end in 0..TEXT.len() {
            let _ = unit(&TEXT[..end]);
        }
    }
}
