//! The npz format: a zip file of npy members.
//!
//! Only what numpy writes is read: members that are stored or deflated, in one file, without encryption. The central
//! directory alone says where members lie and how long they are.
//!
//! # Source
//! PKWARE's APPNOTE.TXT 6.3, sections 4.3 and 4.5.3.

use crate::npy::format_error;
use crate::{Tensor, TensorError, read_npy, write_npy};
use flate2::{Crc, Decompress, FlushDecompress, Status};

/// Deflate cannot expand beyond about 1032 to 1, so a member that claims more is no member.
const MAX_EXPANSION: usize = 1040;
const END_LENGTH: usize = 22;
const ENTRY_LENGTH: usize = 46;
const LOCAL_LENGTH: usize = 30;

/// Reads every array of an `.npz` file (a zip of `.npy` members, stored or deflated), in file order, with its name.
///
/// # Errors
/// [`TensorError::Format`] when the bytes are not such a file.
pub fn read_npz(bytes: &[u8]) -> Result<Vec<(String, Tensor)>, TensorError> {
    let members = directory(bytes)?;
    // Members cannot overlap in an honest file; without this, many entries could name the same bytes.
    let packed = members.iter().fold(0usize, |n, m| n.saturating_add(m.packed));
    if packed > bytes.len() {
        return format_error(format!("its members claim {packed} bytes but the file has {}", bytes.len()));
    }
    let mut arrays = Vec::with_capacity(members.len());
    for member in &members {
        let name = &member.name;
        let at = |e: TensorError| match e {
            TensorError::Format(text) => TensorError::Format(format!("member '{name}': {text}")),
            other => other,
        };
        let npy = member.unpack(bytes).map_err(at)?;
        let tensor = read_npy(&npy).map_err(at)?;
        arrays.push((name.strip_suffix(".npy").unwrap_or(name).to_owned(), tensor));
    }
    Ok(arrays)
}

/// The bytes of an `.npz` file of these arrays: a zip of stored members.
///
/// # Errors
/// [`TensorError::Format`] where there are more members than such a file has, or more bytes than 32 bits count.
pub fn write_npz<'a>(arrays: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<Vec<u8>, TensorError> {
    let (mut file, mut directory, mut count) = (Vec::new(), Vec::new(), 0u16);
    let short = |n: usize| u32::try_from(n).map_err(|_| TensorError::Format("it would be too large".into()));
    for (name, tensor) in arrays {
        let (name, data) = (format!("{name}.npy"), write_npy(tensor));
        let mut crc = Crc::new();
        crc.update(&data);
        // Version, names in UTF-8, method, time and date (1 January 1980), checksum, both sizes, lengths of name and of what is extra.
        let mut entry = [20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0].to_vec();
        entry.extend(crc.sum().to_le_bytes());
        entry.extend([short(data.len())?.to_le_bytes(); 2].concat());
        entry.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        entry.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&entry);
        directory.extend([0; 10]);
        directory.extend(short(file.len())?.to_le_bytes());
        directory.extend(name.as_bytes());
        file.extend(b"PK\x03\x04");
        file.extend(&entry);
        file.extend(name.as_bytes());
        file.extend(&data);
        count = count
            .checked_add(1)
            .filter(|&n| n < u16::MAX)
            .ok_or_else(|| TensorError::Format("it would have more members than are supported".into()))?;
    }
    let begin = short(file.len())?;
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count.to_le_bytes(); 2].concat());
    file.extend(short(directory.len())?.to_le_bytes());
    file.extend(begin.to_le_bytes());
    file.extend([0, 0]);
    Ok(file)
}

/// A member as the central directory describes it.
struct Member {
    name: String,
    method: u16,
    crc: u32,
    packed: usize,
    unpacked: usize,
    offset: usize,
}

impl Member {
    fn unpack(&self, bytes: &[u8]) -> Result<Vec<u8>, TensorError> {
        let local = field(bytes, self.offset, LOCAL_LENGTH)?;
        if local.get(..4) != Some(b"PK\x03\x04") {
            return format_error(format!("no member begins at byte {}", self.offset));
        }
        let skip = usize::from(u16_at(local, 26)?) + usize::from(u16_at(local, 28)?);
        let packed = field(bytes, self.offset.saturating_add(LOCAL_LENGTH + skip), self.packed)?;
        let data = match self.method {
            0 => packed.to_vec(),
            8 => inflate(packed, self.unpacked)?,
            m => return format_error(format!("compression method {m} is not supported; stored and deflated are")),
        };
        if data.len() != self.unpacked {
            return format_error(format!("it unpacks to {} bytes instead of {}", data.len(), self.unpacked));
        }
        let mut crc = Crc::new();
        crc.update(&data);
        if crc.sum() != self.crc {
            return format_error("its checksum is wrong");
        }
        Ok(data)
    }
}

fn directory(bytes: &[u8]) -> Result<Vec<Member>, TensorError> {
    // The end record is the last thing in the file but for a comment of at most 64 KiB.
    let first = bytes.len().saturating_sub(END_LENGTH + usize::from(u16::MAX));
    let end = (first..=bytes.len().saturating_sub(END_LENGTH)).rev().find(|&i| bytes[i..].starts_with(b"PK\x05\x06"));
    let Some(end) = end else {
        return format_error("it has no zip directory");
    };
    let record = field(bytes, end, END_LENGTH)?;
    let count = usize::from(u16_at(record, 10)?);
    let mut at = size(u32_at(record, 16)?)?;
    if count == usize::from(u16::MAX) {
        return format_error("it has more members than are supported");
    }
    let mut members = Vec::with_capacity(count);
    for _ in 0..count {
        let entry = field(bytes, at, ENTRY_LENGTH)?;
        if entry.get(..4) != Some(b"PK\x01\x02") {
            return format_error(format!("no directory entry begins at byte {at}"));
        }
        let [name, extra, comment] = [28, 30, 32].map(|i| u16_at(entry, i).map(usize::from));
        let (name, extra, comment) = (name?, extra?, comment?);
        let text = field(bytes, at + ENTRY_LENGTH, name)?;
        let long = field(bytes, at + ENTRY_LENGTH + name, extra)?;
        if u16_at(entry, 8)? & 1 != 0 {
            return format_error(format!("member '{}' is encrypted", String::from_utf8_lossy(text)));
        }
        let mut wide = Wide::find(long);
        let unpacked = wide.or_short(u32_at(entry, 24)?)?;
        let packed = wide.or_short(u32_at(entry, 20)?)?;
        let offset = wide.or_short(u32_at(entry, 42)?)?;
        if unpacked > packed.saturating_mul(MAX_EXPANSION) {
            return format_error(format!(
                "member '{}' claims to unpack {packed} bytes to {unpacked}",
                String::from_utf8_lossy(text)
            ));
        }
        members.push(Member {
            name: String::from_utf8_lossy(text).into_owned(),
            method: u16_at(entry, 10)?,
            crc: u32_at(entry, 16)?,
            packed,
            unpacked,
            offset,
        });
        at += ENTRY_LENGTH + name + extra + comment;
    }
    Ok(members)
}

/// The 64-bit sizes of an entry whose 32-bit fields are all ones, in the order of those fields.
struct Wide<'a>(&'a [u8]);

impl Wide<'_> {
    fn find(mut extra: &[u8]) -> Wide<'_> {
        while let (Ok(id), Ok(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
            let end = 4 + usize::from(length);
            let Some(body) = extra.get(4..end) else { break };
            if id == 1 {
                return Wide(body);
            }
            extra = &extra[end..];
        }
        Wide(&[])
    }

    fn or_short(&mut self, short: u32) -> Result<usize, TensorError> {
        if short != u32::MAX {
            return size(short);
        }
        let Some((value, rest)) = self.0.split_first_chunk::<8>() else {
            return format_error("a directory entry lacks its 64-bit size");
        };
        self.0 = rest;
        usize::try_from(u64::from_le_bytes(*value)).map_err(|_| TensorError::Format("a member is too large".into()))
    }
}

/// Unpacks raw deflate data; stops as soon as it exceeds `expected` bytes.
fn inflate(packed: &[u8], expected: usize) -> Result<Vec<u8>, TensorError> {
    let mut out = Vec::new();
    let mut stream = Decompress::new(false);
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        let (read, written) = (stream.total_in() as usize, stream.total_out() as usize);
        let input = packed.get(read..).unwrap_or(&[]);
        let status = stream
            .decompress(input, &mut buffer, FlushDecompress::None)
            .map_err(|e| TensorError::Format(format!("its compressed data is damaged: {e}")))?;
        let fresh = stream.total_out() as usize - written;
        out.extend_from_slice(&buffer[..fresh]);
        if out.len() > expected {
            return format_error(format!("it unpacks to more than {expected} bytes"));
        }
        if status == Status::StreamEnd {
            return Ok(out);
        }
        if fresh == 0 && stream.total_in() as usize == read {
            return format_error("its compressed data is cut off");
        }
    }
}

fn field(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], TensorError> {
    match at.checked_add(length).and_then(|end| bytes.get(at..end)) {
        Some(field) => Ok(field),
        None => format_error(format!("byte {at} and {length} more are asked for but the file has {}", bytes.len())),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, TensorError> {
    field(bytes, at, 2).map(|b| u16::from_le_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, TensorError> {
    field(bytes, at, 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn size(n: u32) -> Result<usize, TensorError> {
    usize::try_from(n).map_err(|_| TensorError::Format("a member is too large".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};
    use proptest::prelude::*;

    /// A zip file of these members; `method` 0 or 8.
    fn zip(members: &[(&str, Vec<u8>)], method: u16) -> Vec<u8> {
        let (mut file, mut directory) = (Vec::new(), Vec::new());
        for (name, data) in members {
            let packed = match method {
                8 => {
                    let mut out = Vec::with_capacity(data.len() + 64);
                    let mut c = Compress::new(Compression::default(), false);
                    c.compress_vec(data, &mut out, FlushCompress::Finish).unwrap();
                    out
                }
                _ => data.clone(),
            };
            let mut crc = Crc::new();
            crc.update(data);
            let offset = file.len() as u32;
            let mut tail = Vec::new();
            tail.extend(20u16.to_le_bytes());
            tail.extend([0, 0]);
            tail.extend(method.to_le_bytes());
            tail.extend([0; 4]);
            tail.extend(crc.sum().to_le_bytes());
            tail.extend((packed.len() as u32).to_le_bytes());
            tail.extend((data.len() as u32).to_le_bytes());
            tail.extend((name.len() as u16).to_le_bytes());
            file.extend(b"PK\x03\x04");
            file.extend(&tail);
            file.extend(4u16.to_le_bytes());
            file.extend(name.as_bytes());
            file.extend([9, 9, 0, 0]);
            file.extend(&packed);
            directory.extend(b"PK\x01\x02");
            directory.extend(20u16.to_le_bytes());
            directory.extend(&tail);
            directory.extend([0; 12]);
            directory.extend(offset.to_le_bytes());
            directory.extend(name.as_bytes());
        }
        let begin = file.len() as u32;
        file.extend(&directory);
        file.extend(b"PK\x05\x06\0\0\0\0");
        file.extend((members.len() as u16).to_le_bytes());
        file.extend((members.len() as u16).to_le_bytes());
        file.extend((directory.len() as u32).to_le_bytes());
        file.extend(begin.to_le_bytes());
        file.extend([0, 0]);
        file
    }

    fn sample() -> Vec<(&'static str, Vec<u8>)> {
        let a = Tensor::from_vec([2, 2], vec![1i32, 2, 3, 4]).unwrap();
        let b = Tensor::from_vec([100], vec![0.5f32; 100]).unwrap();
        vec![("a.npy", write_npy(&a)), ("nested/b.npy", write_npy(&b))]
    }

    #[test]
    fn stored_and_deflated_members_are_read_in_order() {
        for method in [0, 8] {
            let arrays = read_npz(&zip(&sample(), method)).unwrap();
            let names: Vec<&str> = arrays.iter().map(|(n, _)| n.as_str()).collect();
            assert_eq!(names, ["a", "nested/b"]);
            assert_eq!(arrays[0].1.as_slice::<i32>().unwrap(), [1, 2, 3, 4]);
            assert_eq!(arrays[1].1.len(), 100);
        }
        assert!(read_npz(&zip(&[], 0)).unwrap().is_empty());
    }

    #[test]
    fn damage_is_named() {
        let good = zip(&sample(), 0);
        let error = |bytes: &[u8]| read_npz(bytes).unwrap_err().to_string();
        assert!(error(b"").contains("no zip directory"));
        assert!(error(&good[..good.len() - 1]).contains("no zip directory"));
        let mut flipped = good.clone();
        flipped[LOCAL_LENGTH + 5 + 4 + 128] ^= 1;
        assert_eq!(error(&flipped), "not a readable npy or npz file: member 'a.npy': its checksum is wrong");
        assert!(error(&zip(&sample(), 12)).contains("method 12"));
        assert!(error(&zip(&[("a.npy", vec![1, 2, 3])], 8)).contains("member 'a.npy': it does not begin"));
    }

    #[test]
    fn a_member_that_claims_to_be_huge_is_refused() {
        let mut bytes = zip(&sample()[..1], 8);
        let entry = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        bytes[entry + 24..entry + 28].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        assert!(read_npz(&bytes).unwrap_err().to_string().contains("claims to unpack"));
    }

    #[test]
    fn entries_that_share_their_bytes_are_refused() {
        let single = zip(&sample()[..1], 0);
        let begin = single.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        let end = single.len() - END_LENGTH;
        let mut bytes = single[..end].to_vec();
        for _ in 0..9 {
            bytes.extend_from_slice(&single[begin..end]);
        }
        let mut record = single[end..].to_vec();
        record[8] = 10;
        record[10] = 10;
        bytes.extend(record);
        // The member has 144 bytes, so ten of them would need more than the file has.
        assert!(bytes.len() < 10 * 144);
        assert!(read_npz(&bytes).unwrap_err().to_string().contains("claim"));
    }

    proptest! {
        #[test]
        fn a_damaged_file_is_read_or_refused(at in 0usize..700, value in any::<u8>(), method in prop_oneof![Just(0u16), Just(8)]) {
            let mut bytes = zip(&sample(), method);
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = read_npz(&bytes);
            bytes.truncate(at);
            let _ = read_npz(&bytes);
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let arrays = [
            ("layer.b", Tensor::from_vec([2, 3], vec![1u8, 2, 3, 4, 5, 6]).unwrap()),
            ("scale", Tensor::from_vec([0, 4], Vec::<f32>::new()).unwrap()),
            ("ü", Tensor::scalar(-7i32)),
        ];
        let bytes = write_npz(arrays.iter().map(|(name, tensor)| (*name, tensor))).unwrap();
        let back = read_npz(&bytes).unwrap();
        let expected: Vec<_> = arrays.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
        assert_eq!(back, expected);
        assert_eq!(read_npz(&write_npz([]).unwrap()).unwrap(), []);
    }
}
