//! The PTX that a cubin with line numbers holds.

/// The text of the section `.nv_debug_ptx_txt`, whose lines end in zero bytes.
pub fn ptx(cubin: &[u8]) -> Option<String> {
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let field = cubin.get(at..at.checked_add(bytes)?)?;
        field.iter().rev().try_fold(0usize, |value, &byte| value.checked_mul(256)?.checked_add(byte.into()))
    };
    if !cubin.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    // The ELF header of 64 bits: offset of the section headers, their size and number, the section of the names.
    let (headers, size, count, names) = (number(0x28, 8)?, number(0x3a, 2)?, number(0x3c, 2)?, number(0x3e, 2)?);
    let section = |index: usize| -> Option<(usize, &[u8])> {
        let header = headers.checked_add(index.checked_mul(size)?)?;
        let (name, begin, length) = (number(header, 4)?, number(header + 0x18, 8)?, number(header + 0x20, 8)?);
        Some((name, cubin.get(begin..begin.checked_add(length)?)?))
    };
    let (_, names) = section(names)?;
    (0..count).find_map(|index| {
        let (name, text) = section(index)?;
        names.get(name..)?.starts_with(b".nv_debug_ptx_txt\0").then(|| {
            let lines: Vec<u8> = text.iter().map(|&byte| if byte == 0 { b'\n' } else { byte }).collect();
            String::from_utf8_lossy(&lines).into_owned()
        })
    })
}

/// How many bytes the image has: a cubin ends with its section or program headers, whichever come last.
///
/// # Safety
/// `image` points to a whole ELF file of 64 bits.
pub unsafe fn image<'a>(image: *const u8) -> Option<&'a [u8]> {
    // SAFETY: the file has at least its header.
    let header = unsafe { std::slice::from_raw_parts(image, 64) };
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |at: usize, bytes: usize| {
        header[at..at + bytes].iter().rev().fold(0usize, |value, &byte| value * 256 + usize::from(byte))
    };
    let programs = number(0x20, 8) + number(0x36, 2) * number(0x38, 2);
    let sections = number(0x28, 8) + number(0x3a, 2) * number(0x3c, 2);
    // SAFETY: the file has all its headers.
    Some(unsafe { std::slice::from_raw_parts(image, programs.max(sections)) })
}
