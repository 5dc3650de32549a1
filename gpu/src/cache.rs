//! Compiled kernels on disk: one file an entry, named by the hash of all that the result depends on.
//!
//! An entry that is cut off, changed or of another format counts as absent and is written anew. Entries are written
//! beside their place and moved there, so that no reader ever sees half of one.

use crate::nvrtc::{Compiled, Usage};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: &[u8; 16] = b"tandem-cubin-1\r\n";

/// A hash of 128 bits (FNV-1a), for names of entries and for noticing damage, not against an adversary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(u128);

impl Hash {
    /// The hash of several texts; where one ends counts too.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Hash {
        let mut state: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        let mut take = |bytes: &[u8]| {
            for &byte in bytes {
                state = (state ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
            }
        };
        for part in parts {
            take(part);
            take(&(part.len() as u64).to_le_bytes());
        }
        Hash(state)
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A folder of entries.
#[derive(Clone, Debug)]
pub struct Cache(PathBuf);

#[derive(serde::Serialize, serde::Deserialize)]
struct Head {
    usage: Vec<Usage>,
    log: String,
    ptx: usize,
    cubin: usize,
    sum: String,
}

impl Cache {
    /// The cache of a folder, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Cache {
        Cache(folder.into())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Where the entry of a key is or would be.
    pub fn path(&self, key: Hash) -> PathBuf {
        self.0.join(format!("{key}.kernel"))
    }

    /// The entry, where it is there and whole.
    pub fn load(&self, key: Hash) -> Option<Compiled> {
        let bytes = std::fs::read(self.path(key)).ok()?;
        let rest = bytes.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let (head, body) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let read: Head = serde_json::from_slice(head).ok()?;
        let (ptx, cubin) = body.split_at_checked(read.ptx)?;
        if cubin.len() != read.cubin || read.sum != sum(&read.usage, &read.log, ptx, cubin) {
            return None;
        }
        let ptx = String::from_utf8(ptx.to_vec()).ok()?;
        Some(Compiled { ptx, cubin: cubin.to_vec(), log: read.log, usage: read.usage })
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn store(&self, key: Hash, compiled: &Compiled) -> std::io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let head = Head {
            usage: compiled.usage.clone(),
            log: compiled.log.clone(),
            ptx: compiled.ptx.len(),
            cubin: compiled.cubin.len(),
            sum: sum(&compiled.usage, &compiled.log, compiled.ptx.as_bytes(), &compiled.cubin),
        };
        let head = serde_json::to_vec(&head)?;
        let length = (head.len() as u64).to_le_bytes();
        let bytes = [MAGIC, &length[..], &head, compiled.ptx.as_bytes(), &compiled.cubin].concat();
        std::fs::create_dir_all(&self.0)?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let beside = self.0.join(format!("{key}.{}-{count}.new", std::process::id()));
        let moved = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, self.path(key)));
        if moved.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        moved
    }
}

fn sum(usage: &[Usage], log: &str, ptx: &[u8], cubin: &[u8]) -> String {
    let usage = format!("{usage:?}");
    Hash::of([usage.as_bytes(), log.as_bytes(), ptx, cubin]).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Compiled {
        let usage = Usage { kernel: "k".into(), registers: 12, ..Usage::default() };
        Compiled {
            ptx: ".version 9.0\n".into(),
            cubin: vec![0x7f, b'E', 0, 3],
            log: "a log".into(),
            usage: vec![usage],
        }
    }

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("tandem-gpu-cache-{name}-{}", std::process::id()))
    }

    #[test]
    fn an_entry_comes_back_as_it_was_and_a_damaged_one_is_absent() {
        let cache = Cache::new(folder("damage"));
        let key = Hash::of([b"source".as_slice()]);
        assert!(cache.load(key).is_none());
        cache.store(key, &entry()).unwrap();
        assert_eq!(cache.load(key), Some(entry()));
        let whole = std::fs::read(cache.path(key)).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(cache.path(key), &bytes).unwrap();
            assert_eq!(cache.load(key), None, "byte {at} changed");
            std::fs::write(cache.path(key), &whole[..at]).unwrap();
            assert_eq!(cache.load(key), None, "cut off at byte {at}");
        }
        cache.store(key, &entry()).unwrap();
        assert_eq!(cache.load(key), Some(entry()));
        let left: Vec<_> = std::fs::read_dir(cache.folder()).unwrap().flatten().map(|file| file.path()).collect();
        assert_eq!(left, [cache.path(key)], "files beside the entry are left");
        std::fs::remove_dir_all(cache.folder()).unwrap();
    }

    #[test]
    fn a_hash_depends_on_every_byte_and_on_where_parts_end() {
        let hash = |parts: &[&str]| Hash::of(parts.iter().map(|part| part.as_bytes()));
        let all = [hash(&[]), hash(&[""]), hash(&["ab"]), hash(&["a", "b"]), hash(&["", "ab"]), hash(&["ba"])];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
        // The test vector of the hash itself, before lengths are mixed in, is its offset basis for no text.
        assert_eq!(hash(&[]).to_string(), "6c62272e07bb014262b821756295c58d");
    }
}
