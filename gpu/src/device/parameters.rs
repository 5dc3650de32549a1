//! The parameters of a kernel as its PTX declares them, to hold the arguments of a launch against.

use super::Launch;
use crate::error::{GpuError, Result};
use crate::nvrtc::Compiled;

/// Offset and size of each parameter of a kernel.
pub(super) fn parameters(compiled: &Compiled, kernel: &str) -> Result<Vec<(usize, usize)>> {
    read(&compiled.ptx, kernel)
        .ok_or_else(|| GpuError::Fault(format!("the PTX has no parameters of {kernel} that could be read")))
}

fn read(ptx: &str, kernel: &str) -> Option<Vec<(usize, usize)>> {
    let heads = ptx.match_indices(".entry ").map(|(at, word)| ptx[at + word.len()..].trim_start());
    let mut bodies = heads.filter_map(|head| head.strip_prefix(kernel).map(str::trim_start));
    let body = bodies.find_map(|body| body.strip_prefix('('))?;
    // A list without parameters has no line between, and the next one may be that of another kernel.
    let (list, _) = if body.starts_with(')') { ("", body) } else { body.split_once("\n)")? };
    let mut places = Vec::new();
    let mut end = 0usize;
    for declaration in list.split(',').map(str::trim).filter(|declaration| !declaration.is_empty()) {
        // `.param .u64 name`, `.param .align 64 .b8 name[128]`, with `.ptr` attributes of any kind between.
        let mut words = declaration.strip_prefix(".param")?.split_whitespace();
        let (mut size, mut align) = (None, None);
        while let Some(word) = words.next() {
            match word {
                ".align" => align = Some(words.next()?.parse::<usize>().ok()?),
                // What follows describes what it points to, and the name.
                ".ptr" => break,
                _ if word.starts_with(".b")
                    || word.starts_with(".u")
                    || word.starts_with(".s")
                    || word.starts_with(".f") =>
                {
                    size = word[2..].parse::<usize>().ok().map(|bits| bits / 8).or(size);
                }
                name => {
                    if let Some((_, count)) = name.split_once('[') {
                        size = Some(size? * count.strip_suffix(']')?.parse::<usize>().ok()?);
                        align = align.or(Some(1));
                    }
                }
            }
        }
        let size = size?;
        let offset = end.next_multiple_of(align.unwrap_or(size).max(1));
        places.push((offset, size));
        end = offset + size;
    }
    Some(places)
}

/// Refuses arguments that are not laid out as the parameters are.
pub(super) fn fits(parameters: &[(usize, usize)], launch: &Launch) -> Result<()> {
    if launch.args.places() == parameters {
        return Ok(());
    }
    Err(GpuError::Invalid(format!(
        "arguments at (offset, size) {:?} are not the kernel's parameters at {parameters:?}",
        launch.args.places()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_of_every_form_are_read() {
        let ptx = ".visible .entry first()\n{\n}\n.visible .entry other(\n\t.param .u32 other_param_0\n)\n{\n}\n\
                   .visible .entry k(\n\t.param .align 64 .b8 k_param_0[128],\n\t.param .u64 .ptr .align 1 k_param_1,\n\
                   \t.param .u8 k_param_2,\n\t.param .f32 k_param_3,\n\t.param .align 4 .b8 k_param_4[12]\n)\n\
                   .maxntid 384, 1, 1\n{\n}\n.visible .entry none()\n{\n}\n";
        let expected = [(0, 128), (128, 8), (136, 1), (140, 4), (144, 12)];
        assert_eq!(read(ptx, "k").unwrap(), expected);
        assert_eq!(read(ptx, "other").unwrap(), [(0, 4)]);
        assert_eq!((read(ptx, "first").unwrap(), read(ptx, "none").unwrap()), (vec![], vec![]));
        assert_eq!(read(ptx, "absent"), None);
    }
}
