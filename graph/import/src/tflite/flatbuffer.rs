//! A flatbuffer walker for files that cannot be trusted.
//!
//! Every read is checked against the end of the file and nothing is followed further than asked for, so that a damaged
//! file gives an error instead of a panic, a loop or an allocation. Alignment does not matter.

use crate::ImportError;

/// Longer strings are cut.
const MAX_STRING: usize = 1000;

/// A table: a position and the vtable that says where its fields are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    file: &'a [u8],
    at: usize,
    vtable: usize,
    vtable_len: usize,
}

/// A vector of elements of a fixed width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vector<'a> {
    file: &'a [u8],
    at: usize,
    len: usize,
    width: usize,
}

impl<'a> Table<'a> {
    /// The root table of a file.
    pub fn root(file: &'a [u8]) -> Result<Self, ImportError> {
        let at = offset_at(file, 0, "the root table")?;
        Table::at(file, at)
    }

    fn at(file: &'a [u8], at: usize) -> Result<Self, ImportError> {
        let back = i32::from_le_bytes(array(file, at, "a table")?);
        let vtable = i64::try_from(at).ok().and_then(|a| usize::try_from(a - i64::from(back)).ok());
        let vtable = vtable.ok_or_else(|| bad(at, "a table whose vtable lies before the file"))?;
        let vtable_len = usize::from(u16::from_le_bytes(array(file, vtable, "a vtable")?));
        if vtable_len < 4 {
            return Err(bad(vtable, "a vtable that is too short"));
        }
        bytes(file, vtable, vtable_len, "a vtable")?;
        Ok(Table { file, at, vtable, vtable_len })
    }

    /// Position of a field, by its number in the schema; `None` when the file leaves it at its default.
    fn field(&self, id: usize) -> Result<Option<usize>, ImportError> {
        let entry = 4 + 2 * id;
        if entry + 2 > self.vtable_len {
            return Ok(None);
        }
        let offset = u16::from_le_bytes(array(self.file, self.vtable + entry, "a vtable")?);
        Ok(if offset == 0 { None } else { Some(self.at + usize::from(offset)) })
    }

    fn scalar<const N: usize>(&self, id: usize) -> Result<Option<[u8; N]>, ImportError> {
        self.field(id)?.map(|at| array(self.file, at, "a field")).transpose()
    }

    /// A field of one byte.
    pub fn i8(&self, id: usize, default: i8) -> Result<i8, ImportError> {
        Ok(self.scalar::<1>(id)?.map_or(default, i8::from_le_bytes))
    }

    /// A boolean field, false by default.
    pub fn bool(&self, id: usize) -> Result<bool, ImportError> {
        Ok(self.i8(id, 0)? != 0)
    }

    /// A field of 32 bits.
    pub fn i32(&self, id: usize, default: i32) -> Result<i32, ImportError> {
        Ok(self.scalar::<4>(id)?.map_or(default, i32::from_le_bytes))
    }

    /// A field of 64 bits, 0 by default.
    pub fn u64(&self, id: usize) -> Result<u64, ImportError> {
        Ok(self.scalar::<8>(id)?.map_or(0, u64::from_le_bytes))
    }

    /// A float field, 0 by default.
    pub fn f32(&self, id: usize) -> Result<f32, ImportError> {
        Ok(self.scalar::<4>(id)?.map_or(0.0, f32::from_le_bytes))
    }

    /// A table field.
    pub fn table(&self, id: usize) -> Result<Option<Table<'a>>, ImportError> {
        let Some(at) = self.field(id)? else { return Ok(None) };
        Table::at(self.file, offset_at(self.file, at, "a table")?).map(Some)
    }

    /// A vector field whose elements have `width` bytes; an absent vector is empty.
    pub fn vector(&self, id: usize, width: usize) -> Result<Vector<'a>, ImportError> {
        let Some(at) = self.field(id)? else {
            return Ok(Vector { file: self.file, at: 0, len: 0, width });
        };
        let at = offset_at(self.file, at, "a vector")?;
        let len = u32::from_le_bytes(array(self.file, at, "a vector")?) as usize;
        let size = len.checked_mul(width).ok_or_else(|| bad(at, "a vector of absurd length"))?;
        bytes(self.file, at + 4, size, "a vector")?;
        Ok(Vector { file: self.file, at: at + 4, len, width })
    }

    /// A string field of at most [`MAX_STRING`] bytes, fit for a message of one line: bytes that are not UTF-8 and
    /// control characters are replaced.
    pub fn string(&self, id: usize) -> Result<String, ImportError> {
        let bytes = self.vector(id, 1)?.bytes();
        let bytes = bytes.get(..MAX_STRING).unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes);
        Ok(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
    }
}

impl<'a> Vector<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The packed little-endian elements.
    pub fn bytes(&self) -> &'a [u8] {
        let end = self.at.saturating_add(self.len.saturating_mul(self.width));
        self.file.get(self.at..end).unwrap_or_default()
    }

    /// Elements as 32-bit integers.
    pub fn i32s(&self) -> impl Iterator<Item = i32> + use<'a> {
        self.bytes().as_chunks::<4>().0.iter().map(|c| i32::from_le_bytes(*c))
    }

    /// Elements as 64-bit integers.
    pub fn i64s(&self) -> impl Iterator<Item = i64> + use<'a> {
        self.bytes().as_chunks::<8>().0.iter().map(|c| i64::from_le_bytes(*c))
    }

    /// Elements as floats.
    pub fn f32s(&self) -> impl Iterator<Item = f32> + use<'a> {
        self.bytes().as_chunks::<4>().0.iter().map(|c| f32::from_le_bytes(*c))
    }

    /// The table that element `i` points to; `None` behind the end.
    pub fn table(&self, i: usize) -> Result<Option<Table<'a>>, ImportError> {
        if i >= self.len {
            return Ok(None);
        }
        let at = offset_at(self.file, self.at + 4 * i, "a table")?;
        Table::at(self.file, at).map(Some)
    }
}

fn bytes<'a>(file: &'a [u8], at: usize, len: usize, what: &str) -> Result<&'a [u8], ImportError> {
    let end = at.checked_add(len);
    end.and_then(|end| file.get(at..end)).ok_or_else(|| ImportError::Truncated {
        offset: at,
        len: file.len(),
        what: what.into(),
    })
}

fn array<const N: usize>(file: &[u8], at: usize, what: &str) -> Result<[u8; N], ImportError> {
    let mut out = [0; N];
    out.copy_from_slice(bytes(file, at, N, what)?);
    Ok(out)
}

/// Follows the offset stored at `at`.
fn offset_at(file: &[u8], at: usize, what: &str) -> Result<usize, ImportError> {
    let offset = u32::from_le_bytes(array(file, at, what)?) as usize;
    if offset == 0 {
        return Err(bad(at, format!("{what} with offset 0")));
    }
    Ok(at.saturating_add(offset))
}

fn bad(at: usize, what: impl Into<String>) -> ImportError {
    ImportError::malformed(format!("byte {at}"), format!("{}; the file is damaged, get a whole copy", what.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_and_wild_offsets_are_refused() {
        assert!(Table::root(&[]).is_err());
        assert!(Table::root(&[0; 16]).is_err());
        assert!(Table::root(&[0xff; 16]).is_err());
        let text = Table::root(&[8, 0, 0, 0, 0, 0]).unwrap_err().to_string();
        assert!(text.contains("byte 8") && text.contains("6 bytes"), "{text}");
    }

    #[test]
    fn fields_vectors_and_defaults_are_read() {
        // Vtable at 4 (three fields, the second absent), table at 14, vector at 24.
        let mut file = vec![14, 0, 0, 0];
        for x in [10u16, 12, 4, 0, 8] {
            file.extend(x.to_le_bytes());
        }
        file.extend(10i32.to_le_bytes());
        file.extend((-7i32).to_le_bytes());
        file.extend(4u32.to_le_bytes());
        file.extend(2u32.to_le_bytes());
        file.extend([1, 0, 0, 0, 2, 0, 0, 0]);
        let t = Table::root(&file).unwrap();
        assert_eq!(t.i32(0, 1).unwrap(), -7);
        assert_eq!(t.i32(1, 5).unwrap(), 5);
        assert_eq!(t.i32(9, 6).unwrap(), 6);
        assert_eq!(t.vector(2, 4).unwrap().i32s().collect::<Vec<_>>(), [1, 2]);
        file.pop();
        assert!(Table::root(&file).unwrap().vector(2, 4).is_err());
    }
}
