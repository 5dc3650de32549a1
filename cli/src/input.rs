//! Input files to samples.

use crate::options::{InputDType, InputOptions};
use crate::{file, picture};
use anyhow::{Result, anyhow, bail};
use std::path::{Path, PathBuf};
use tandem_graph::Graph;
use tandem_tensor::{DType, Shape, Tensor, TensorType, read_npy, read_npz};

/// The samples of the files behind `--input`: a list of files separated by commas, one for every input of the model, or for a
/// model with one input any number of files whose samples follow each other. At most `limit` samples are kept.
///
/// # Errors
/// One sentence naming the file.
pub fn samples(graph: &Graph, list: &str, options: &InputOptions, limit: Option<usize>) -> Result<Vec<Vec<Tensor>>> {
    let paths = split(list);
    let inputs: Vec<(&str, &TensorType)> =
        graph.inputs.iter().map(|&id| (graph.value(id).name.as_str(), graph.ty(id))).collect();
    let mut columns: Vec<Vec<Tensor>> = match (&inputs[..], &paths[..]) {
        ([], _) => bail!("the model has no inputs, so it takes no --input"),
        ([(name, ty)], files) => {
            let mut samples = Vec::new();
            for path in files {
                samples.append(&mut column(path, name, ty, options, limit)?);
            }
            vec![samples]
        }
        (many, [path]) if extension(path) == "npz" => npz_columns(path, many, options)?,
        (many, files) if many.len() == files.len() => {
            let each = many.iter().zip(files).map(|((name, ty), path)| column(path, name, ty, options, limit));
            each.collect::<Result<_>>()?
        }
        (many, files) => {
            let names: Vec<String> = many.iter().map(|(name, ty)| format!("'{name}' {ty}")).collect();
            bail!(
                "the model has {} inputs ({}) but {} files were given; list one file for each, separated by commas",
                many.len(),
                names.join(", "),
                files.len()
            )
        }
    };
    let counts: Vec<usize> = columns.iter().map(Vec::len).collect();
    let count = counts.iter().copied().min().unwrap_or(0);
    // A file with one sample serves all samples of the others.
    let most = counts.iter().copied().max().unwrap_or(0);
    if counts.iter().any(|&c| c != most && c != 1) || count == 0 {
        bail!("the input files hold {counts:?} samples; give the same number in each");
    }
    for column in &mut columns {
        if let [one] = &column[..] {
            *column = vec![one.clone(); most];
        }
    }
    let kept = limit.unwrap_or(most).min(most);
    let mut samples: Vec<Vec<Tensor>> = vec![Vec::with_capacity(columns.len()); kept];
    for column in columns {
        for (sample, tensor) in samples.iter_mut().zip(column) {
            sample.push(tensor);
        }
    }
    Ok(samples)
}

/// The samples of a directory's files, in the order of the names, for a model with one input.
///
/// # Errors
/// One sentence naming the file.
pub fn from_directory(
    graph: &Graph,
    directory: &Path,
    names: &[String],
    options: &InputOptions,
) -> Result<Vec<Vec<Tensor>>> {
    let [id] = graph.inputs[..] else { bail!("a directory of inputs needs a model with one input") };
    let (name, ty) = (graph.value(id).name.as_str(), graph.ty(id));
    let mut samples = Vec::with_capacity(names.len());
    for file in names {
        let path = directory.join(file);
        let mut tensors = column(&path, name, ty, options, None)?;
        match (tensors.pop(), tensors.len()) {
            (Some(tensor), 0) => samples.push(vec![tensor]),
            (_, more) => bail!("{}: it holds {} samples, and a labelled file holds one", path.display(), more + 1),
        }
    }
    Ok(samples)
}

fn split(list: &str) -> Vec<PathBuf> {
    // A comma may be part of a name.
    if Path::new(list).exists() {
        return vec![PathBuf::from(list)];
    }
    list.split(',').map(PathBuf::from).collect()
}

fn extension(path: &Path) -> String {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase()
}

/// All samples of one file for one input.
fn column(
    path: &Path,
    name: &str,
    ty: &TensorType,
    options: &InputOptions,
    limit: Option<usize>,
) -> Result<Vec<Tensor>> {
    let bytes = file::read(path)?;
    let read = || -> Result<Vec<Tensor>> {
        if picture::is_picture(path) {
            if options.input_quant.is_some() {
                bail!("--input-quant is for files of codes, and this is a picture; use --normalize");
            }
            return Ok(vec![picture::load(&bytes, ty, name, options.normalize.as_ref())?]);
        }
        match extension(path).as_str() {
            "npy" => from_array(&read_npy(&bytes)?, name, ty, options),
            "npz" => {
                let arrays = read_npz(&bytes)?;
                let found = match &arrays[..] {
                    [one] => Some(one),
                    many => many.iter().find(|(n, _)| n == name),
                };
                let (_, array) = found.ok_or_else(|| no_array(name, &arrays))?;
                from_array(array, name, ty, options)
            }
            _ => from_raw(&bytes, name, ty, options, limit),
        }
    };
    read().map_err(|e| anyhow!("{}: {e}", path.display()))
}

fn npz_columns(path: &Path, inputs: &[(&str, &TensorType)], options: &InputOptions) -> Result<Vec<Vec<Tensor>>> {
    let bytes = file::read(path)?;
    let read = || -> Result<Vec<Vec<Tensor>>> {
        let arrays = read_npz(&bytes)?;
        let each = inputs.iter().map(|(name, ty)| {
            let (_, array) = arrays.iter().find(|(n, _)| n == name).ok_or_else(|| no_array(name, &arrays))?;
            from_array(array, name, ty, options)
        });
        each.collect()
    };
    read().map_err(|e| anyhow!("{}: {e}", path.display()))
}

fn no_array(name: &str, arrays: &[(String, Tensor)]) -> anyhow::Error {
    let names: Vec<&str> = arrays.iter().map(|(n, _)| n.as_str()).collect();
    anyhow!("no array is named '{name}'; the file has {}", names.join(", "))
}

/// Raw bytes: any number of samples behind each other.
fn from_raw(
    bytes: &[u8],
    name: &str,
    ty: &TensorType,
    options: &InputOptions,
    limit: Option<usize>,
) -> Result<Vec<Tensor>> {
    let dtype = file_dtype(options).unwrap_or(ty.dtype);
    let size = ty.elements().saturating_mul(dtype.bytes());
    if size == 0 || bytes.is_empty() || !bytes.len().is_multiple_of(size) {
        let type_of = if dtype == ty.dtype { String::new() } else { format!(" as {dtype}") };
        bail!(
            "it has {} bytes but a sample of input '{name}' {ty}{type_of} has {size}; expected a multiple of {size} bytes",
            bytes.len()
        );
    }
    let samples = bytes.chunks_exact(size).take(limit.unwrap_or(usize::MAX));
    samples.map(|chunk| convert(&Tensor::from_le_bytes(dtype, ty.shape.clone(), chunk)?, name, ty, options)).collect()
}

/// An array with the shape of the input, or with one more extent, or a larger first extent, for several samples.
fn from_array(array: &Tensor, name: &str, ty: &TensorType, options: &InputOptions) -> Result<Vec<Tensor>> {
    let (found, wanted) = (array.shape(), &ty.shape);
    let trimmed = |shape: &[usize]| shape.iter().copied().skip_while(|&d| d == 1).collect::<Vec<_>>();
    let inner = trimmed(wanted);
    let outer = found.len().checked_sub(inner.len()).map(|k| (&found[..k], &found[k..]));
    let fits = outer.is_some_and(|(_, rest)| rest == &inner[..]);
    let size = ty.elements();
    if !fits || size == 0 || array.is_empty() {
        bail!(
            "the array is {}{found} but input '{name}' is {ty}; give that shape, or a leading extent for several samples",
            array.dtype()
        );
    }
    if let Some(dtype) = file_dtype(options)
        && dtype != array.dtype()
    {
        bail!(
            "the array is {} but --input-dtype says {dtype}; leave the option out or save the array as {dtype}",
            array.dtype()
        );
    }
    let bytes = array.to_le_bytes();
    let chunks = bytes.chunks_exact(size * array.dtype().bytes());
    chunks
        .map(|chunk| convert(&Tensor::from_le_bytes(array.dtype(), wanted.clone(), chunk)?, name, ty, options))
        .collect()
}

fn file_dtype(options: &InputOptions) -> Option<DType> {
    options.input_dtype.map(|dtype| match dtype {
        InputDType::U8 => DType::U8,
        InputDType::I8 => DType::I8,
        InputDType::F32 => DType::F32,
    })
}

/// A sample in the file's dtype to the model's.
fn convert(tensor: &Tensor, name: &str, ty: &TensorType, options: &InputOptions) -> Result<Tensor> {
    if let Some((scale, zero)) = options.input_quant {
        if !ty.dtype.is_float() || tensor.dtype().is_float() || options.normalize.is_some() {
            bail!(
                "--input-quant makes reals of integer codes, and the numbers are {} for input '{name}' {ty}{}; leave it out",
                tensor.dtype(),
                if options.normalize.is_some() { ", normalised as pixels" } else { "" }
            );
        }
        let reals: Vec<f64> = tensor.to_f64().into_iter().map(|code| (code - zero) * scale).collect();
        return Ok(Tensor::from_f64(ty.dtype, ty.shape.clone(), &reals)?);
    }
    let pixels = options.input_dtype == Some(InputDType::U8);
    if pixels && (ty.dtype == DType::I8 || ty.dtype.is_float()) {
        return picture::tensor(tensor.as_slice::<u8>()?, ty, name, options.normalize.as_ref());
    }
    if options.normalize.is_some() {
        bail!(
            "--normalize applies to pixels, and these are {} numbers; add --input-dtype u8 if they are pixels",
            tensor.dtype()
        );
    }
    if tensor.dtype() == ty.dtype {
        return Ok(tensor.clone());
    }
    let shape: Shape = ty.shape.clone();
    if tensor.dtype().is_float() && ty.is_quantized() {
        return quantize(tensor, name, ty);
    }
    if tensor.dtype().is_float() == ty.dtype.is_float() && tensor.dtype() != DType::Bool {
        // Between integers only where every value keeps its meaning; u8 and i8 codes are not the same thing.
        let values = tensor.to_f64();
        let range = ty.dtype.integer_range();
        let inside = |v: &f64| range.is_none_or(|(lo, hi)| *v >= lo as f64 && *v <= hi as f64);
        let eight = |d: DType| matches!(d, DType::I8 | DType::U8);
        if !(eight(tensor.dtype()) && eight(ty.dtype)) && values.iter().all(inside) {
            return Ok(Tensor::from_f64(ty.dtype, shape, &values)?);
        }
    }
    let remedy = match (tensor.dtype(), ty.dtype) {
        (DType::U8, _) => "; add --input-dtype u8 if these are pixels",
        _ => "; convert the file",
    };
    bail!("the numbers are {} but input '{name}' is {ty}{remedy}", tensor.dtype())
}

/// Reals to codes of a quantised input.
fn quantize(tensor: &Tensor, name: &str, ty: &TensorType) -> Result<Tensor> {
    let (Some(quant), Some((lo, hi))) = (&ty.quant, ty.dtype.integer_range()) else {
        bail!("input '{name}' has no scale");
    };
    let (scale, zero_point) = (f64::from(quant.scale()), f64::from(quant.zero_point()));
    let values = tensor.to_f64();
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        bail!("element {at} is {}, which has no code; input '{name}' is {ty}", values.get(at).copied().unwrap_or(0.0));
    }
    let code = |v: &f64| ((v / scale).round() + zero_point).clamp(lo as f64, hi as f64);
    Ok(Tensor::from_f64(ty.dtype, ty.shape.clone(), &values.iter().map(code).collect::<Vec<_>>())?)
}
