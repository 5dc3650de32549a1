//! Pictures and pixels to the tensors that a model takes.

use crate::options::Normalize;
use anyhow::{Result, anyhow, bail};
use image::imageops::FilterType;
use image::{DynamicImage, ImageReader};
use std::io::Cursor;
use std::path::Path;
use tandem_tensor::{DType, Data, Tensor, TensorType};

/// How a picture lies in an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    height: usize,
    width: usize,
    channels: usize,
    /// Channels stand before rows, as in an ONNX model whose input was left as it was.
    channels_first: bool,
}

/// Whether the file name says that it is a picture.
pub fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    ["png", "jpg", "jpeg", "bmp"].contains(&extension.as_str())
}

/// A picture, resized to the input's height and width.
///
/// # Errors
/// A file that does not decode, an input that is no picture, options that do not apply.
pub fn load(bytes: &[u8], ty: &TensorType, input: &str, normalize: Option<&Normalize>) -> Result<Tensor> {
    let frame = frame(ty)
        .ok_or_else(|| anyhow!("a picture was given but input '{input}' is {ty}, not [1,height,width,1 or 3]"))?;
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| anyhow!("{e}"))?;
    let picture = reader.decode().map_err(|e| anyhow!("the picture does not decode ({e}); use PNG, JPEG or BMP"))?;
    let pixels = pixels(&picture, frame)?;
    tensor(&pixels, ty, input, normalize)
}

/// Pixels in the order of the input to its elements.
///
/// # Errors
/// A dtype that takes no pixels, or options that do not apply.
pub fn tensor(pixels: &[u8], ty: &TensorType, input: &str, normalize: Option<&Normalize>) -> Result<Tensor> {
    if normalize.is_some() && !ty.dtype.is_float() {
        bail!("--normalize is for float inputs, and input '{input}' is {ty}; leave it out");
    }
    let floats = || {
        let normalize = normalize.unwrap_or(&Normalize::None);
        let channel = channel_of(ty);
        pixels.iter().enumerate().map(|(i, &p)| f64::from(normalize.apply(p, channel(i)))).collect::<Vec<f64>>()
    };
    let tensor = match ty.dtype {
        DType::U8 => Tensor::new(ty.shape.clone(), Data::U8(pixels.to_vec())),
        DType::I8 => Tensor::new(ty.shape.clone(), Data::I8(pixels.iter().map(|&p| (p ^ 0x80) as i8).collect())),
        dtype if dtype.is_float() => Tensor::from_f64(dtype, ty.shape.clone(), &floats()),
        dtype => bail!("input '{input}' is {dtype}, which takes no pixels; give a .npy or raw file"),
    };
    Ok(tensor?)
}

/// The channel of the element of that index.
fn channel_of(ty: &TensorType) -> impl Fn(usize) -> usize {
    let (step, channels) = match frame(ty) {
        Some(f) if f.channels_first => (f.height * f.width, f.channels),
        Some(f) => (1, f.channels),
        None => (1, 1),
    };
    move |i| i / step.max(1) % channels.max(1)
}

fn frame(ty: &TensorType) -> Option<Frame> {
    let few = |c: usize| c == 1 || c == 3;
    let (height, width, channels, channels_first) = match ty.shape[..] {
        [1, h, w, c] if few(c) => (h, w, c, false),
        [1, c, h, w] if few(c) => (h, w, c, true),
        [h, w, c] if few(c) => (h, w, c, false),
        [c, h, w] if few(c) => (h, w, c, true),
        [h, w] if h > 1 => (h, w, 1, false),
        _ => return None,
    };
    (height > 0 && width > 0).then_some(Frame { height, width, channels, channels_first })
}

fn pixels(picture: &DynamicImage, frame: Frame) -> Result<Vec<u8>> {
    let (Ok(width), Ok(height)) = (u32::try_from(frame.width), u32::try_from(frame.height)) else {
        bail!("the input is larger than any picture");
    };
    let grey = frame.channels == 1;
    // Colour first, so that the filter works on the numbers that the model sees.
    let picture = if grey { DynamicImage::from(picture.to_luma8()) } else { DynamicImage::from(picture.to_rgb8()) };
    let picture = if (picture.width(), picture.height()) == (width, height) {
        picture
    } else {
        picture.resize_exact(width, height, FilterType::Triangle)
    };
    let rows = if grey { picture.to_luma8().into_raw() } else { picture.to_rgb8().into_raw() };
    if !frame.channels_first {
        return Ok(rows);
    }
    let channel = |c: usize| rows.iter().copied().skip(c).step_by(frame.channels);
    Ok((0..frame.channels).flat_map(channel).collect())
}
