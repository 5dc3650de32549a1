//! Attention and rotary embeddings.

use super::{Item, Lower, Results, one};
use crate::ImportError;
use crate::onnx::tensor::Elem;
use tandem_graph::ValueId;
use tandem_ops::{BinaryKind, Op, PadMode, ReduceKind, UnaryKind};
use tandem_tensor::{DType, Shape};

pub(super) fn lower<'m>(l: &mut Lower<'m>, n: &Item<'m>) -> Option<Results> {
    Some(match n.op() {
        "Attention" if !n.is_microsoft() => attention(l, n),
        "RotaryEmbedding" if !n.is_microsoft() => rotary(l, n),
        _ => return None,
    })
}

/// Queries, keys and values as `[batch, heads, length, size]`.
struct Heads {
    q: ValueId,
    k: ValueId,
    v: ValueId,
    batch: usize,
    heads: usize,
    /// Length of the queries.
    rows: usize,
    /// Length of the keys, those of the past included.
    columns: usize,
    /// Keys that precede the queries.
    past: usize,
}

fn attention(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let flat = l.shape(n.input(0)?).rank() == 3;
    let dtype = l.dtype(n.input(0)?);
    let h = heads(l, n)?;
    let (present_k, present_v) = (h.k, h.v);
    let (k, v) = repeat_heads(l, n, &h)?;
    let size = l.shape(h.q).last().copied().unwrap_or(1);
    let scale = match n.attribute("scale").and_then(|a| a.f) {
        Some(s) => f64::from(s),
        None => 1.0 / (size as f64).sqrt(),
    };
    if !(scale.is_finite() && scale >= 0.0) {
        return Err(n.malformed(format!("its scale is {scale}; it must be finite and not negative")));
    }
    // Both factors get the root of the scale, so that products of half precision do not overflow.
    let root = scale.sqrt();
    let q = l.with_scalar(BinaryKind::Mul, h.q, root)?;
    let k = l.with_scalar(BinaryKind::Mul, k, root)?;
    let raw = l.emit(Op::MatMul { transpose_a: false, transpose_b: true }, &[q, k], dtype)?;
    let cap = f64::from(n.float("softcap", 0.0));
    let capped = if cap > 0.0 {
        let y = l.with_scalar(BinaryKind::Div, raw, cap)?;
        let y = l.unary(UnaryKind::Tanh, y)?;
        l.with_scalar(BinaryKind::Mul, y, cap)?
    } else {
        raw
    };
    let bias = bias(l, n, &h, dtype)?;
    let biased = match bias {
        Some(bias) => l.binary(BinaryKind::Add, capped, bias)?,
        None => capped,
    };
    let precision = i32::try_from(n.int("softmax_precision", 0)).ok().filter(|&t| t != 0).and_then(Elem::of);
    let wide = match precision {
        Some(Elem::Plain(wide)) if wide.is_float() => l.cast(biased, wide)?,
        Some(_) => return Err(n.malformed("its softmax_precision is no floating-point type")),
        None => biased,
    };
    let wide_dtype = l.dtype(wide);
    let mut weights = l.emit(Op::Softmax { axis: 3, beta: 1.0, log: false }, &[wide], wide_dtype)?;
    if let Some(bias) = bias {
        weights = zero_masked_rows(l, weights, bias)?;
    }
    let weights = l.cast(weights, dtype)?;
    let y = l.emit(Op::MatMul { transpose_a: false, transpose_b: false }, &[weights, v], dtype)?;
    let y = if flat { join_heads(l, y)? } else { y };
    let matrix = match n.int("qk_matmul_output_mode", 0) {
        0 => raw,
        1 => capped,
        2 => biased,
        3 => weights,
        mode => return Err(n.malformed(format!("its qk_matmul_output_mode {mode} does not exist"))),
    };
    Ok(vec![Some(y), Some(present_k), Some(present_v), Some(matrix)])
}

fn heads(l: &mut Lower<'_>, n: &Item<'_>) -> Result<Heads, ImportError> {
    let (q, k, v) = (n.input(0)?, n.input(1)?, n.input(2)?);
    let rank = l.shape(q).rank();
    if !(rank == 3 || rank == 4) || [k, v].iter().any(|&x| l.shape(x).rank() != rank) {
        return Err(n.malformed("its operands have neither three axes nor four"));
    }
    let (q, k, v) = match rank {
        4 => (q, k, v),
        _ => {
            let count = |name: &str| usize::try_from(n.int(name, 0)).ok().filter(|&c| c > 0);
            let (Some(own), Some(shared)) = (count("q_num_heads"), count("kv_num_heads")) else {
                return Err(n.malformed("operands of three axes need q_num_heads and kv_num_heads"));
            };
            (split_heads(l, n, q, own)?, split_heads(l, n, k, shared)?, split_heads(l, n, v, shared)?)
        }
    };
    let (k, v, past) = match (n.optional(4), n.optional(5)) {
        (Some(past_k), Some(past_v)) => {
            let past = l.shape(past_k).get(2).copied().unwrap_or(0);
            (l.concat(&[past_k, k], 2)?, l.concat(&[past_v, v], 2)?, past)
        }
        (None, None) => (k, v, 0),
        _ => return Err(n.malformed("past_key and past_value come together or not at all")),
    };
    let (qs, ks) = (l.shape(q), l.shape(k));
    let (&[batch, heads, rows, _], &[_, _, columns, _]) = (qs.as_slice(), ks.as_slice()) else {
        return Err(n.malformed("its operands have not four axes"));
    };
    Ok(Heads { q, k, v, batch, heads, rows, columns, past })
}

/// `[batch, length, heads * size]` to `[batch, heads, length, size]`.
fn split_heads(l: &mut Lower<'_>, n: &Item<'_>, x: ValueId, heads: usize) -> Result<ValueId, ImportError> {
    let shape = l.shape(x);
    let &[batch, length, hidden] = shape.as_slice() else {
        return Err(n.malformed(format!("its operand {shape} has not three axes")));
    };
    if hidden % heads != 0 {
        return Err(n.malformed(format!("{heads} heads do not divide the extent {hidden}")));
    }
    let x = l.reshape(x, [batch, length, heads, hidden / heads])?;
    l.transpose(x, vec![0, 2, 1, 3])
}

fn join_heads(l: &mut Lower<'_>, x: ValueId) -> Result<ValueId, ImportError> {
    let x = l.transpose(x, vec![0, 2, 1, 3])?;
    let shape = l.shape(x);
    let tail = Shape(shape[2..].to_vec()).elements();
    l.reshape(x, [shape[0], shape[1], tail])
}

/// Keys and values of grouped heads, each head beside its copies.
fn repeat_heads(l: &mut Lower<'_>, n: &Item<'_>, h: &Heads) -> Result<(ValueId, ValueId), ImportError> {
    let shared = l.shape(h.k).get(1).copied().unwrap_or(0);
    if shared == h.heads {
        return Ok((h.k, h.v));
    }
    if shared == 0 || !h.heads.is_multiple_of(shared) {
        return Err(n.malformed(format!("{shared} heads of keys do not divide {} heads of queries", h.heads)));
    }
    let mut repeat = |x: ValueId| -> Result<ValueId, ImportError> {
        let shape = l.shape(x);
        let &[batch, heads, length, size] = shape.as_slice() else {
            return Err(n.malformed(format!("its operand {shape} has not four axes")));
        };
        let x = l.reshape(x, [batch, heads, 1, length, size])?;
        let x = l.expand(x, [batch, heads, h.heads / shared, length, size])?;
        l.reshape(x, [batch, h.heads, length, size])
    };
    Ok((repeat(h.k)?, repeat(h.v)?))
}

/// Everything that is added to the products: 0 where a key may be attended to, negative infinity where not.
fn bias(l: &mut Lower<'_>, n: &Item<'_>, h: &Heads, dtype: DType) -> Result<Option<ValueId>, ImportError> {
    let mut parts = Vec::new();
    if let Some(mask) = n.optional(3) {
        let mask = pad_mask(l, n, mask, h.columns)?;
        parts.push(if l.dtype(mask) == DType::Bool { gate(l, mask, dtype)? } else { mask });
    }
    let lengths = n.optional(6);
    let window = |name: &str| {
        let w = n.int(name, -1);
        if w < -1 { Err(n.malformed(format!("its {name} {w} is neither -1 nor a length"))) } else { Ok(w) }
    };
    let (left, right) = (window("left_window_size")?, window("right_window_size")?);
    let causal = n.flag("is_causal");
    // Position of a query less position of a key; with an outer cache it also counts the batch's filled keys.
    let start = if lengths.is_some() { -(h.rows as i64) } else { h.past as i64 };
    let lengths = match lengths {
        Some(lengths) => Some(l.reshape(lengths, [h.batch, 1, 1, 1])?),
        None => None,
    };
    l.charge(n, h.rows.saturating_add(h.columns).saturating_mul(32))?;
    let mut bounds: Vec<(BinaryKind, i64)> = Vec::new();
    if causal {
        bounds.push((BinaryKind::GreaterEqual, 0));
    }
    if left >= 0 {
        bounds.push((BinaryKind::LessEqual, left));
    }
    if right >= 0 {
        bounds.push((BinaryKind::GreaterEqual, -right));
    }
    for (kind, bound) in bounds {
        let rows = l.integers([h.rows, 1], (0..h.rows as i64).map(|i| i + start).collect())?;
        let columns = l.integers([1, h.columns], (0..h.columns as i64).collect())?;
        let mut lead = l.binary(BinaryKind::Sub, rows, columns)?;
        if let Some(lengths) = lengths {
            lead = l.binary(BinaryKind::Add, lead, lengths)?;
        }
        let bound = l.scalar(DType::I64, bound as f64)?;
        let allowed = l.binary(kind, lead, bound)?;
        parts.push(gate(l, allowed, dtype)?);
    }
    if let Some(lengths) = lengths {
        let positions = l.integers([h.columns], (0..h.columns as i64).collect())?;
        let filled = l.binary(BinaryKind::Less, positions, lengths)?;
        parts.push(gate(l, filled, dtype)?);
    }
    let mut parts = parts.into_iter();
    let Some(mut sum) = parts.next() else { return Ok(None) };
    for part in parts {
        sum = l.binary(BinaryKind::Add, sum, part)?;
    }
    Ok(Some(sum))
}

/// A mask may be shorter than the keys; the keys beyond it are not attended to.
fn pad_mask(l: &mut Lower<'_>, n: &Item<'_>, mask: ValueId, columns: usize) -> Result<ValueId, ImportError> {
    let shape = l.shape(mask);
    let Some(&width) = shape.last() else { return Err(n.malformed("its mask has no axes")) };
    if width >= columns {
        return Ok(mask);
    }
    let dtype = l.dtype(mask);
    let mut amount = vec![(0, 0); shape.rank()];
    if let Some(last) = amount.last_mut() {
        last.1 = (columns - width) as i64;
    }
    let off = l.scalar(dtype, if dtype == DType::Bool { 0.0 } else { f64::NEG_INFINITY })?;
    l.emit(Op::Pad { amount, mode: PadMode::Constant }, &[mask, off], dtype)
}

fn gate(l: &mut Lower<'_>, allowed: ValueId, dtype: DType) -> Result<ValueId, ImportError> {
    let open = l.scalar(dtype, 0.0)?;
    let shut = l.scalar(dtype, f64::NEG_INFINITY)?;
    l.select(allowed, open, shut)
}

/// A query that may attend to nothing gets zeros, where the softmax alone would give no number.
fn zero_masked_rows(l: &mut Lower<'_>, weights: ValueId, bias: ValueId) -> Result<ValueId, ImportError> {
    let rank = l.shape(bias).rank();
    let best = l.reduce(ReduceKind::Max, bias, vec![rank.saturating_sub(1)], true)?;
    let shut = l.scalar(l.dtype(bias), f64::NEG_INFINITY)?;
    let masked = l.binary(BinaryKind::Equal, best, shut)?;
    // A mask that is known never to shut a whole row needs no test at run time.
    let harmless = l.builder.graph.constant(masked).and_then(|t| t.to_i64()).is_some_and(|v| v.iter().all(|&b| b == 0));
    if harmless {
        return Ok(weights);
    }
    let zero = l.scalar(l.dtype(weights), 0.0)?;
    l.select(masked, zero, weights)
}

/// Rotates pairs of elements by the angles of their positions.
fn rotary(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let shape = l.shape(x);
    let (x, flat) = match shape.rank() {
        4 => (x, false),
        3 => {
            let heads = usize::try_from(n.int("num_heads", 0)).ok().filter(|&h| h > 0);
            let heads = heads.ok_or_else(|| n.malformed("an operand of three axes needs num_heads"))?;
            (split_heads(l, n, x, heads)?, true)
        }
        _ => return Err(n.malformed(format!("its operand {shape} has neither three axes nor four"))),
    };
    let heads = l.shape(x);
    let &[batch, count, length, size] = heads.as_slice() else {
        return Err(n.malformed("its operand has not four axes"));
    };
    let turned = match usize::try_from(n.int("rotary_embedding_dim", 0)) {
        Ok(0) => size,
        Ok(d) if d <= size => d,
        _ => return Err(n.malformed(format!("its rotary_embedding_dim does not fit {size} elements"))),
    };
    if turned % 2 != 0 {
        return Err(n.malformed(format!("it turns {turned} elements, which are no pairs")));
    }
    let half = turned / 2;
    let mut angle = |index: usize| -> Result<ValueId, ImportError> {
        let mut cache = n.input(index)?;
        if let Some(positions) = n.optional(3) {
            let dtype = l.dtype(cache);
            cache = l.emit(Op::Gather { axis: 0 }, &[cache, positions], dtype)?;
        }
        let width = l.shape(cache).last().copied().unwrap_or(0);
        if width < half {
            return Err(n.malformed(format!("its angles have {width} elements, {half} are needed")));
        }
        let shape = l.shape(cache);
        let &[b, s, _] = shape.as_slice() else {
            return Err(n.malformed(format!("its angles {shape} have not three axes; position_ids may be missing")));
        };
        let cache = if width > half { l.slice(cache, 2, 0, half)? } else { cache };
        l.reshape(cache, [b, 1, s, half])
    };
    let (cos, sin) = (angle(1)?, angle(2)?);
    let head = if turned < size { l.slice(x, 3, 0, turned)? } else { x };
    let interleaved = n.flag("interleaved");
    let (a, b) = if interleaved {
        let pairs = l.reshape(head, [batch, count, length, half, 2])?;
        let a = l.slice(pairs, 4, 0, 1)?;
        let b = l.slice(pairs, 4, 1, 1)?;
        (l.reshape(a, [batch, count, length, half])?, l.reshape(b, [batch, count, length, half])?)
    } else {
        (l.slice(head, 3, 0, half)?, l.slice(head, 3, half, half)?)
    };
    let product = |l: &mut Lower<'_>, p, q| l.binary(BinaryKind::Mul, p, q);
    let (ac, bs) = (product(l, a, cos)?, product(l, b, sin)?);
    let (as_, bc) = (product(l, a, sin)?, product(l, b, cos)?);
    let first = l.binary(BinaryKind::Sub, ac, bs)?;
    let second = l.binary(BinaryKind::Add, as_, bc)?;
    let mut y = if interleaved {
        let first = l.reshape(first, [batch, count, length, half, 1])?;
        let second = l.reshape(second, [batch, count, length, half, 1])?;
        let pairs = l.concat(&[first, second], 4)?;
        l.reshape(pairs, [batch, count, length, turned])?
    } else {
        l.concat(&[first, second], 3)?
    };
    if turned < size {
        let rest = l.slice(x, 3, turned, size - turned)?;
        y = l.concat(&[y, rest], 3)?;
    }
    one(if flat { join_heads(l, y)? } else { y })
}
