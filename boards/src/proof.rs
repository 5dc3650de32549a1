//! What is known of how far a design was compared with what the tools made of it, kept beside what they made.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::BoardError;
use crate::folder;
use crate::sha256::sha256;

/// A comparison that found no difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// What ran in the design's place.
    pub level: Level,
    /// How much of it.
    pub extent: Extent,
    /// SHA-256 of the bitstream, where it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitstream: Option<String>,
    /// Random programs that ran.
    pub programs: u64,
    /// Their seed.
    pub seed: u64,
    /// The network that ran too, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

/// What ran in the design's place, the furthest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The netlist after synthesis.
    Synthesised,
    /// The netlist after place and route.
    Routed,
    /// The netlist that the bits say.
    Bits,
}

/// How much of a design ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// The accelerator alone.
    Core,
    /// All of it, driven over its serial line.
    Board,
}

impl Level {
    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Level::Synthesised => "as synthesised",
            Level::Routed => "as routed",
            Level::Bits => "from its bits",
        }
    }
}

impl Proof {
    /// In words.
    pub fn describe(&self) -> String {
        let what = match self.extent {
            Extent::Core => "core",
            Extent::Board => "board",
        };
        let programs = (self.programs > 0).then(|| format!("{} programs", self.programs));
        let ran: Vec<String> = programs.into_iter().chain(self.network.clone()).collect();
        format!("{what} {}: {}", self.level.describe(), ran.join(" and "))
    }
}

/// All of some proofs in words.
pub fn describe(proofs: &[Proof]) -> String {
    match proofs {
        [] => "not compared".to_owned(),
        proofs => proofs.iter().map(Proof::describe).collect::<Vec<_>>().join("; "),
    }
}

/// The proofs of a design, the furthest last; none where there are none yet.
///
/// # Errors
/// [`BoardError::Io`], [`BoardError::Output`] where the file was tampered with.
pub fn proofs(cache: &Path, design: &str) -> Result<Vec<Proof>, BoardError> {
    let path = cache.join(name(design));
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path).map_err(BoardError::io(&path))?;
    serde_json::from_str(&text).map_err(|e| BoardError::output(path.display().to_string(), e.to_string()))
}

/// Keeps a proof of a design, in the place of an earlier one of the same level, extent and bitstream unless that one says more.
///
/// # Errors
/// As [`proofs`].
pub fn record(cache: &Path, design: &str, proof: Proof) -> Result<(), BoardError> {
    let mut all = proofs(cache, design)?;
    let key = |proof: &Proof| (proof.extent, proof.level, proof.bitstream.clone());
    let rank = |proof: &Proof| (proof.network.is_some(), proof.programs);
    match all.iter_mut().find(|known| key(known) == key(&proof)) {
        Some(known) if rank(known) > rank(&proof) => return Ok(()),
        Some(known) => *known = proof,
        None => all.push(proof),
    }
    all.sort_by_key(key);
    let text = serde_json::to_string_pretty(&all).unwrap_or_default() + "\n";
    folder::write(cache, &[], &[(name(design), text.into_bytes())])
}

/// The file of a design's proofs.
fn name(design: &str) -> String {
    format!("proofs-{}.json", &sha256(design.as_bytes())[..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_more_stays_and_proofs_are_of_one_design() {
        let cache = std::env::temp_dir().join(format!("tandem-proofs-{}", std::process::id()));
        let proof = |level, programs, network: Option<&str>| Proof {
            level,
            extent: Extent::Core,
            bitstream: None,
            programs,
            seed: 1,
            network: network.map(str::to_owned),
        };
        record(&cache, "a", proof(Level::Routed, 3, None)).unwrap();
        record(&cache, "a", proof(Level::Synthesised, 20, Some("kws"))).unwrap();
        record(&cache, "a", proof(Level::Synthesised, 30, None)).unwrap();
        record(&cache, "a", proof(Level::Routed, 5, None)).unwrap();
        let words = describe(&proofs(&cache, "a").unwrap());
        assert_eq!(words, "core as synthesised: 20 programs and kws; core as routed: 5 programs");
        assert_eq!(describe(&proofs(&cache, "b").unwrap()), "not compared");
        fs::remove_dir_all(&cache).unwrap();
    }
}
