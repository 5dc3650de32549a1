//! The text form of a graph.
//!
//! ```text
//! graph "name" tflref
//! input %0 "x" i8[1,4] quant 0.5:-3
//! constant %1 "w" i8[2,4] quant axis 0 0.25:0 0.5:0 = 1 -2 3 4 5 6 7 8
//! constant %2 "table" f32[64] =
//!   | base64 of the little-endian bytes, in as many lines as it takes
//! value %3 "y" i8[1,2] quant 1:0
//! node "dense" %3 = {"Dense":{"act":"Relu"}} %0 %1
//! output %3
//! ```
//!
//! One value or node a line; `//` begins a comment line. Names are JSON strings, operators are the JSON of their fields,
//! inputs and outputs stand in order, value lines in any order. `parse(print(g))` gives `g` back, to the last bit.

use crate::{Graph, Node, Value, ValueId};
use std::fmt::Write;
use std::sync::Arc;
use tandem_ops::{Arith, Op};
use tandem_tensor::{DType, QuantParams, Tensor, TensorType};

/// Integer constants of at most this many elements are written as numbers.
const READABLE_ELEMENTS: usize = 64;
/// Bytes of a constant in one base64 line.
const BYTES_PER_LINE: usize = 84;

/// Where and why a text is not a graph.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TextError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong and what is expected.
    pub problem: String,
}

/// The text form of a graph.
pub fn print(graph: &Graph) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = Printer { graph, out: &mut out, done: vec![false; graph.values.len()] }.graph();
    out
}

/// Parses the text form. The result has consistent indices but is not verified.
///
/// # Errors
/// [`TextError`] with the line.
pub fn parse(text: &str) -> Result<Graph, TextError> {
    let mut parser = Parser::default();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((i, line)) = lines.next() {
        let at = |problem: String| TextError { line: i + 1, problem };
        let line = line.trim();
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        let mut data: Option<Vec<u8>> = None;
        while let Some((k, more)) = lines.peek()
            && let Some(base64) = more.trim_start().strip_prefix('|')
        {
            decode_base64(base64.trim(), data.get_or_insert_default())
                .map_err(|problem| TextError { line: k + 1, problem })?;
            lines.next();
        }
        parser.line(line, data).map_err(at)?;
    }
    let last = text.lines().count().max(1);
    parser.finish().map_err(|problem| TextError { line: last, problem })
}

struct Printer<'a> {
    graph: &'a Graph,
    out: &'a mut String,
    done: Vec<bool>,
}

impl Printer<'_> {
    fn graph(&mut self) -> std::fmt::Result {
        let graph = self.graph;
        writeln!(self.out, "graph {} {}", json(&graph.name), graph.arith.name())?;
        for &id in &graph.inputs {
            self.value(id, "input")?;
        }
        for node in &graph.nodes {
            for &id in node.inputs.iter().chain(&node.outputs) {
                self.value(id, "value")?;
            }
            write!(self.out, "node {}", json(&node.name))?;
            self.ids(&node.outputs)?;
            write!(self.out, " = {}", json(&node.op))?;
            self.ids(&node.inputs)?;
            self.out.push('\n');
        }
        for i in 0..graph.values.len() {
            self.value(ValueId(i), "value")?;
        }
        self.out.push_str("output");
        self.ids(&graph.outputs)?;
        self.out.push('\n');
        Ok(())
    }

    fn ids(&mut self, ids: &[ValueId]) -> std::fmt::Result {
        ids.iter().try_for_each(|id| write!(self.out, " %{}", id.0))
    }

    fn value(&mut self, id: ValueId, word: &str) -> std::fmt::Result {
        let Some(value) = self.graph.values.get(id.0) else { return Ok(()) };
        if std::mem::replace(&mut self.done[id.0], true) {
            return Ok(());
        }
        let word = if value.constant.is_some() { "constant" } else { word };
        write!(self.out, "{word} %{} {} {}", id.0, json(&value.name), value.ty)?;
        if let Some(quant) = &value.ty.quant {
            self.out.push_str(" quant");
            if let Some(axis) = quant.axis {
                write!(self.out, " axis {axis}")?;
            }
            for (scale, zero) in quant.scale.iter().zip(&quant.zero_point) {
                write!(self.out, " {scale}:{zero}")?;
            }
        }
        if let Some(tensor) = &value.constant {
            self.out.push_str(" =");
            match tensor.to_i64() {
                Some(elements) if elements.len() <= READABLE_ELEMENTS && tensor.dtype() != DType::U64 => {
                    elements.iter().try_for_each(|x| write!(self.out, " {x}"))?;
                }
                _ => {
                    for chunk in tensor.to_le_bytes().chunks(BYTES_PER_LINE) {
                        self.out.push_str("\n  | ");
                        encode_base64(chunk, self.out);
                    }
                }
            }
        }
        self.out.push('\n');
        Ok(())
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[derive(Default)]
struct Parser {
    name: Option<(String, Arith)>,
    values: Vec<(usize, Value)>,
    nodes: Vec<Node>,
    inputs: Vec<ValueId>,
    outputs: Option<Vec<ValueId>>,
}

impl Parser {
    fn line(&mut self, line: &str, data: Option<Vec<u8>>) -> Result<(), String> {
        let (word, rest) = split(line);
        if data.is_some() && word != "constant" {
            return Err("data lines ('|') may only follow a constant".into());
        }
        if self.name.is_none() && word != "graph" {
            return Err("a graph begins with: graph \"name\" tflref|xnnpack".into());
        }
        match word {
            "graph" => {
                let (name, rest) = string(rest)?;
                let arith = Arith::parse(rest.trim()).ok_or("the rounding family must be tflref or xnnpack")?;
                if self.name.replace((name, arith)).is_some() {
                    return Err("a second graph line; a text holds one graph".into());
                }
            }
            "input" | "value" | "constant" => self.value(word, rest, data)?,
            "node" => {
                let (name, rest) = string(rest)?;
                let (left, rest) = rest.split_once('=').ok_or("a node needs: results = operator operands")?;
                let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Op>();
                let op = match stream.next() {
                    Some(Ok(op)) => op,
                    Some(Err(e)) => return Err(format!("not an operator: {e}")),
                    None => return Err("the operator is missing after '='".into()),
                };
                let operands = rest.get(stream.byte_offset()..).unwrap_or_default();
                self.nodes.push(Node { name, op, inputs: ids(operands)?, outputs: ids(left)? });
            }
            "output" => {
                if self.outputs.replace(ids(rest)?).is_some() {
                    return Err("a second output line; list all outputs in one".into());
                }
            }
            _ => {
                let word: String = word.chars().take(24).collect();
                return Err(format!("'{word}' begins no line; expected input, value, constant, node or output"));
            }
        }
        Ok(())
    }

    fn value(&mut self, word: &str, rest: &str, data: Option<Vec<u8>>) -> Result<(), String> {
        let (id, rest) = split(rest);
        let id = value_id(id)?;
        let (name, rest) = string(rest)?;
        let (head, numbers) = match rest.split_once('=') {
            Some((head, numbers)) if word == "constant" => (head, Some(numbers)),
            None if word != "constant" => (rest, None),
            None => return Err("a constant needs '=' and its elements".into()),
            Some(_) => return Err(format!("an {word} line has no data")),
        };
        let (ty, quant) = split(head);
        let mut ty = tensor_type(ty)?;
        if !quant.is_empty() {
            ty.quant = Some(quant_params(quant)?);
        }
        let constant = match numbers {
            None => None,
            Some(text) => Some(Arc::new(elements(&ty, text, data)?)),
        };
        if word == "input" {
            self.inputs.push(id);
        }
        self.values.push((id.0, Value { name, ty, constant }));
        Ok(())
    }

    fn finish(mut self) -> Result<Graph, String> {
        let (name, arith) = self.name.ok_or("the text is empty; a graph begins with: graph \"name\" tflref|xnnpack")?;
        let outputs = self.outputs.ok_or("the output line is missing; is the text complete?")?;
        self.values.sort_by_key(|(id, _)| *id);
        for (i, (id, value)) in self.values.iter().enumerate() {
            if *id != i {
                return Err(format!(
                    "values must be numbered from %0 without gaps or repeats, see %{id} '{}'",
                    value.name
                ));
            }
        }
        let count = self.values.len();
        let used = self.nodes.iter().flat_map(|n| n.inputs.iter().chain(&n.outputs));
        if let Some(id) = used.chain(&outputs).find(|id| id.0 >= count) {
            return Err(format!("%{} is used but no line declares it", id.0));
        }
        let values = self.values.into_iter().map(|(_, v)| v).collect();
        Ok(Graph { name, arith, values, nodes: self.nodes, inputs: self.inputs, outputs })
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}

fn string(text: &str) -> Result<(String, &str), String> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<String>();
    match stream.next() {
        Some(Ok(s)) => Ok((s, text.get(stream.byte_offset()..).unwrap_or_default())),
        _ => Err("a name in double quotes is expected".into()),
    }
}

fn value_id(text: &str) -> Result<ValueId, String> {
    let number = text.strip_prefix('%').and_then(|n| n.parse().ok());
    let cut = || text.chars().take(24).collect::<String>();
    number.map(ValueId).ok_or_else(|| format!("'{}' is no value; expected % and a number", cut()))
}

fn ids(text: &str) -> Result<Vec<ValueId>, String> {
    text.split_whitespace().map(value_id).collect()
}

fn tensor_type(text: &str) -> Result<TensorType, String> {
    let bad = || {
        let cut: String = text.chars().take(40).collect();
        format!("'{cut}' is no type; expected a dtype and extents such as i8[1,32,32,3]")
    };
    let (dtype, extents) = text.split_once('[').ok_or_else(bad)?;
    let dtype = DType::parse(dtype).ok_or_else(bad)?;
    let extents = extents.strip_suffix(']').ok_or_else(bad)?;
    let shape = match extents {
        "" => Vec::new(),
        _ => extents.split(',').map(|d| d.parse::<usize>().map_err(|_| bad())).collect::<Result<_, _>>()?,
    };
    Ok(TensorType::new(dtype, shape))
}

fn quant_params(text: &str) -> Result<QuantParams, String> {
    const EXPECTED: &str = "expected: quant [axis N] scale:zero ..";
    let mut words = text.split_whitespace().peekable();
    if words.next() != Some("quant") {
        return Err(EXPECTED.into());
    }
    let mut quant = QuantParams { scale: Vec::new(), zero_point: Vec::new(), axis: None };
    if words.next_if_eq(&"axis").is_some() {
        quant.axis = Some(words.next().and_then(|w| w.parse().ok()).ok_or(EXPECTED)?);
    }
    for word in words {
        let (scale, zero) = word.split_once(':').ok_or(EXPECTED)?;
        quant.scale.push(scale.parse().map_err(|_| EXPECTED)?);
        quant.zero_point.push(zero.parse().map_err(|_| EXPECTED)?);
    }
    Ok(quant)
}

fn elements(ty: &TensorType, text: &str, data: Option<Vec<u8>>) -> Result<Tensor, String> {
    let written = text.trim();
    let bytes = match data {
        Some(_) if !written.is_empty() => return Err("a constant has numbers or data lines, not both".into()),
        Some(bytes) => bytes,
        None => {
            let mut bytes = Vec::new();
            let width = ty.dtype.bytes();
            for word in written.split_whitespace() {
                let x: i64 = word.parse().map_err(|_| "elements on the line must be integers; use data lines ('|')")?;
                let range = ty.dtype.integer_range().unwrap_or((0, 1));
                if ty.dtype.is_float() || !(range.0..=range.1).contains(&i128::from(x)) {
                    return Err(format!("{x} is no {} value", ty.dtype));
                }
                bytes.extend(x.to_le_bytes().iter().take(width));
            }
            bytes
        }
    };
    Tensor::from_le_bytes(ty.dtype, ty.shape.clone(), &bytes).map_err(|e| e.to_string())
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode_base64(bytes: &[u8], out: &mut String) {
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |w, (i, &b)| w | u32::from(b) << (16 - 8 * i));
        for i in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { digit as char } else { '=' });
        }
    }
}

fn decode_base64(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    const EXPECTED: &str = "a data line holds base64 in groups of four characters";
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return Err(EXPECTED.into());
    }
    for (i, group) in text.chunks(4).enumerate() {
        let last = (i + 1) * 4 == text.len();
        let digits = if last { group.iter().position(|&c| c == b'=').unwrap_or(4) } else { 4 };
        let padded = group.iter().skip(digits).all(|&c| c == b'=');
        if digits < 2 || !padded {
            return Err(EXPECTED.into());
        }
        let mut word = 0u32;
        for (k, &c) in group.iter().take(digits).enumerate() {
            let value = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return Err(EXPECTED.into()),
            };
            word |= u32::from(value) << (18 - 6 * k);
        }
        let [_, bytes @ ..] = word.to_be_bytes();
        out.extend(bytes.iter().take(digits - 1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{chain, random};
    use proptest::prelude::*;

    #[test]
    fn a_quantised_graph_comes_back_unchanged() {
        let g = chain();
        assert_eq!(parse(&print(&g)).unwrap(), g);
    }

    #[test]
    fn an_error_names_its_line() {
        let text = print(&chain()).replacen("Relu", "Rolu", 1);
        let line = text.lines().position(|l| l.contains("Rolu")).unwrap() + 1;
        let error = parse(&text).unwrap_err();
        assert_eq!(error.line, line);
        assert!(error.problem.contains("Rolu"), "{error}");
        assert!(parse("").unwrap_err().to_string().contains("line 1"));
        assert!(parse("graph \"g\" tflref\nvalue %0 \"x\" f32[1]\n").unwrap_err().problem.contains("output line"));
    }

    #[test]
    fn numbers_outside_the_dtype_and_gaps_in_the_numbering_are_refused() {
        let refuse = |line: &str| parse(&format!("graph \"g\" tflref\n{line}\noutput %0\n")).unwrap_err().problem;
        assert!(refuse("constant %0 \"c\" i8[1] = 128").contains("128"));
        assert!(refuse("constant %0 \"c\" i8[2] = 1").contains("elements"));
        assert!(refuse("constant %0 \"c\" f32[1] = 1").contains("f32"));
        assert!(refuse("value %1 \"c\" i8[2]").contains("%1"));
        assert!(refuse("value %0 \"c\" i8[2").contains("type"));
        assert!(refuse("constant %0 \"c\" i8[99999999999,99999999999] = 1").contains("elements"));
    }

    #[test]
    fn base64_of_every_length_comes_back() {
        for n in 0..80usize {
            let bytes: Vec<u8> = (0..n).map(|i| (i * 37 + 250) as u8).collect();
            let (mut text, mut back) = (String::new(), Vec::new());
            encode_base64(&bytes, &mut text);
            decode_base64(&text, &mut back).unwrap();
            assert_eq!(back, bytes);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_graph_comes_back_unchanged(seed in prop::collection::vec(any::<u8>(), 0..20)) {
            let g = random(&seed);
            prop_assert_eq!(parse(&print(&g)).unwrap(), g);
        }

        #[test]
        fn any_damaged_text_parses_or_is_refused(
            seed in prop::collection::vec(any::<u8>(), 0..6),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 1..6),
        ) {
            let mut text: Vec<char> = print(&random(&seed)).chars().collect();
            for (at, c) in cuts {
                let i = at.index(text.len());
                text[i] = c;
            }
            let text: String = text.into_iter().collect();
            if let Ok(g) = parse(&text) {
                let _ = g.verify();
            }
        }
    }
}
